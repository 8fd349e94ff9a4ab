package Markdown;

# A parser for the Markdown that this project's documents use.
#
#     my $document = Markdown->read('README.md');
#     $document->blocks              code blocks, in order: language, text, line
#     $document->sections            level, title, line, and text: prose, without code blocks
#     $document->section('fetch')    the one of that title; dies if there is none
#     Markdown::spans($text)         its `code spans`, without the marks
#     Markdown::rows($text)          its table rows, as lists of cells; no rulers
#     $document->links               what [text](link) and ![text](link) lead to

use v5.36;

sub read ($class, $file) {
    open my $in, '<', $file or die "$file: $!";
    my $self = bless { blocks => [], sections => [] }, $class;
    my $section = { level => 0, title => '', line => 1, text => '' };
    my $block;
    push @{ $self->{sections} }, $section;

    while (my $line = readline $in) {
        if ($block) {
            if ($line eq "```\n") { $block = undef }
            else                  { $block->{text} .= $line }
        }
        elsif ($line =~ /^\s*```(.*)/) {
            $block = { language => $1, text => '', line => $. };
            push @{ $self->{blocks} }, $block;
        }
        elsif ($line =~ /^(#+) (.+)/) {
            $section = { level => length $1, title => $2, line => $., text => '' };
            push @{ $self->{sections} }, $section;
        }
        else {
            $section->{text} .= $line;
        }
    }
    die "$file: the code block at line $block->{line} has no end\n" if $block;
    return $self;
}

sub blocks ($self) { return @{ $self->{blocks} } }

sub sections ($self) { return @{ $self->{sections} } }

sub section ($self, $title) {
    my ($section) = grep { $_->{title} eq $title } $self->sections;
    return $section // die "there is no section \"$title\"\n";
}

# The sections below the one of that title.
sub sections_of ($self, $title) {
    my ($above, @below);
    for my $section ($self->sections) {
        if ($above && $section->{level} <= $above->{level}) { last }
        push @below, $section if $above;
        $above //= $section   if $section->{title} eq $title;
    }
    die "there is no section \"$title\"\n" if !$above;
    return @below;
}

# All prose, with a single space between words.
sub prose ($self) { return _flat(join "\n", map { $_->{text} } $self->sections) }

sub links ($self) {
    return map { $_->{text} =~ /\]\(([^()\s]+)\)/g } $self->sections;
}

sub spans ($text) {
    return map { _flat($_) } $text =~ /`([^`]+)`/g;
}

sub rows ($text) {
    my @rows;
    for my $line (grep { /^\|/ } split /\n/, $text) {
        my @cells = map { s/\\\|/|/gr } split /(?<!\\)\|/, $line =~ s/^\||\|\s*$//gr, -1;
        s/^\s+|\s+$//g for @cells;
        push @rows, \@cells if grep { !/^(?:|:?-+:?)$/ } @cells;
    }
    return @rows;
}

sub _flat ($text) { return $text =~ s/\s+/ /gr }

1;
