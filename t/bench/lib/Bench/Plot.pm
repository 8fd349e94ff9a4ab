package Bench::Plot;

# A plot of the counted figures: bars, shorter is better, each with its value and its ratio to
# ngx.var's.

use v5.36;
use utf8;

use List::Util qw(max);

use Bench::Stats qw(median);

use constant {
    WIDTH   => 1080,
    MARGIN  => 32,
    GAP     => 48,      # between the panels
    TOP     => 132,     # where the panels begin
    BAR     => 18,
    PITCH   => 22,      # from bar to bar
    LABEL   => 150,     # room to the right of a panel's longest bar
    HEADING => 26,      # of a group
};
use constant PANEL => (WIDTH - 2 * MARGIN - GAP) / 2;

my %COLOUR = (
    'ngx.var' => '#b8bec6',
    lua_var   => '#e3b778',
    kong      => '#8fb4d9',
    ours      => '#0a7d4f',
);

# Writes the plot to a file.
sub write_to ($path, $run) {
    my @readers = ('ngx.var', (map { $_->{reader} } @{ $run->{peers} }), 'ours');
    my %title   = (
        'ngx.var' => 'ngx.var',
        ours      => 'fetch',
        map { $_->{reader} => $_->{title} } @{ $run->{peers} },
    );
    my @all     = _handlers($run, @readers);
    my $longest = max map { $_->[1] } map { @$_[ 1 .. $#$_ ] } @all;
    my @panels  = map { _panel((PANEL - LABEL) / $longest, @$_) } [ @all[ 0, 1 ] ], [ @all[ 2, 3 ] ];
    my $height = TOP + max(map { $_->{height} } @panels) + 40;

    open my $file, '>:encoding(UTF-8)', $path or die "$path: $!\n";
    print $file _head($height), _legend(\%title, @readers),
        _text(MARGIN, 110, 'unit', 'A handler that reads twenty variables, ten of which change from '
            . 'request to request: instructions per read, medians of five workers'),
        _at(MARGIN, TOP, $panels[0]{svg}), _at(MARGIN + PANEL + GAP, TOP, $panels[1]{svg}),
        _text(MARGIN, $height - 16, 'note', join ' · ', _note($run)), "</svg>\n";
    close $file or die "$path: $!\n";
    return;
}

# A group of each shape: [title, [reader, value] ...]
sub _handlers ($run, @readers) {
    my %title = (
        straight  => 'straight-line code: twenty lines',
        entry     => 'a log entry: a table with twenty keys',
        loop      => 'a loop over the names',
        metatable => 'a metatable’s __index, as APISIX’s ctx.var',
    );
    return map {
        my $shape = $_;
        [ $title{$shape}, map { [ $_, median(@{ $run->{handlers}{$_}{$shape}{reads} }) ] } @readers ]
    } qw(straight entry loop metatable);
}

sub _panel ($scale, @groups) {
    my ($svg, $y) = ('', 0);

    for my $group (@groups) {
        my ($heading, @bars) = @$group;
        my ($stock) = map { $_->[1] } grep { $_->[0] eq 'ngx.var' } @bars;
        $svg .= _text(0, $y + 15, 'group', $heading);
        $y += HEADING;
        for my $bar (@bars) {
            my ($reader, $value) = @$bar;
            my $width = max(2, $value * $scale);
            my $label = sprintf '%.0f', $value;
            $label .= ' · ' . _of($value / $stock) if $reader ne 'ngx.var';
            $svg .= sprintf qq{<rect x="0" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/>\n},
                $y, $width, BAR, $COLOUR{$reader};
            $svg .= _text($width + 8, $y + 14, $reader eq 'ours' ? 'value ours' : 'value', $label);
            $y += PITCH;
        }
        $y += 10;
    }
    return { svg => $svg, height => $y };
}

# A ratio in words.
sub _of ($ratio) {
    return $ratio < 0.95
        ? sprintf('1/%.*f of ngx.var', 1 / $ratio < 9.95 ? 1 : 0, 1 / $ratio)
        : sprintf('%.1f × ngx.var', $ratio);
}

sub _legend ($title, @readers) {
    my ($svg, $x) = ('', MARGIN);
    for my $reader (@readers) {
        $svg .= sprintf qq{<rect x="%d" y="58" width="14" height="14" rx="2" fill="%s"/>\n}, $x,
            $COLOUR{$reader};
        $svg .= _text($x + 20, 70, 'legend', $title->{$reader});
        $x += 44 + 8 * length $title->{$reader};
    }
    return $svg;
}

sub _note ($run) {
    my %about = map { @$_ } @{ $run->{machine} };
    return (
        "nginx $about{nginx}", "lua-nginx-module $about{'lua-nginx-module'}", $about{LuaJIT},
        $about{machine} =~ s/, load.*//r,
    );
}

sub _head ($height) {
    my $width = WIDTH;
    return <<"SVG" . _text(MARGIN, 40, 'title', 'Reading NGINX variables from Lua: shorter is better');
<svg xmlns="http://www.w3.org/2000/svg" width="$width" height="$height" viewBox="0 0 $width $height">
<style>
text { font-family: "DejaVu Sans", Verdana, sans-serif; font-size: 13px; fill: #30363d;
       paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
.title { font-size: 21px; font-weight: bold; }
.unit, .note { font-size: 12px; fill: #6a737d; }
.group { font-weight: bold; }
.ours { font-weight: bold; fill: #0a7d4f; }
</style>
<rect width="100%" height="100%" fill="#ffffff"/>
SVG
}

sub _text ($x, $y, $class, $text) {
    $text =~ s/&/&amp;/g;
    $text =~ s/</&lt;/g;
    return sprintf qq{<text x="%.1f" y="%.1f" class="%s">%s</text>\n}, $x, $y, $class, $text;
}

sub _at ($x, $y, $svg) {
    return qq{<g transform="translate($x $y)">\n$svg</g>\n};
}

1;
