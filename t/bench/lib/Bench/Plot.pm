package Bench::Plot;

# A plot of the figures: bars, shorter is better, each with its value and its ratio to
# ngx.var's.

use v5.36;
use utf8;

use List::Util qw(max);

use Bench::Stats qw(median);

use constant {
    WIDTH   => 1080,
    MARGIN  => 32,
    GAP     => 48,      # between the panels
    TOP     => 118,     # where the panels begin
    BAR     => 18,
    PITCH   => 22,      # from bar to bar
    LABEL   => 150,     # room to the right of a panel's longest bar
    HEADING => 26,      # of a group
    BETWEEN => 52,      # from a panel to the one below it
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
        ours      => 'this module',
        map { $_->{reader} => $_->{title} } @{ $run->{peers} },
    );
    my @left = (
        _panel({ title => 'A handler that reads twenty variables',
                unit => 'instructions per read, worst of five restarts' },
            _handlers($run, @readers)),
        _panel({ title => 'One read, interpreted', unit => 'nanoseconds, the JIT off' },
            _interpreted($run)),
    );
    my $right = _panel({ title => 'One read in a compiled loop', unit => 'nanoseconds',
            floor => $run->{loops}{module}{'floor F'}{ns}{median} },
        _loops($run, @readers));
    my $below  = TOP + $left[0]{height} + BETWEEN;
    my $height = max($below + $left[1]{height}, TOP + $right->{height}) + 40;

    open my $file, '>:encoding(UTF-8)', $path or die "$path: $!\n";
    print $file _head($height), _legend(\%title, @readers),
        _at(MARGIN, TOP, $left[0]{svg}), _at(MARGIN, $below, $left[1]{svg}),
        _at(MARGIN + PANEL + GAP, TOP, $right->{svg}),
        _text(MARGIN, $height - 16, 'note', join ' · ', _note($run)), "</svg>\n";
    close $file or die "$path: $!\n";
    return;
}

# Groups of a panel: [title, [reader, value, format] ...]

sub _handlers ($run, @readers) {
    my %title = (
        straight  => 'straight code: twenty lines',
        entry     => 'a log entry: a table with twenty keys',
        loop      => 'a loop: four times five',
        metatable => 'a metatable’s __index, as APISIX’s ctx.var',
    );
    return map {
        my $shape = $_;
        [ $title{$shape}, map { [ $_, max(@{ $run->{handlers}{$_}{$shape} }), '%.0f' ] } @readers ]
    } qw(straight entry loop metatable);
}

sub _loops ($run, @readers) {
    my $loops = $run->{loops};
    my %worker = map { $_->{reader} => $_->{name} } @{ $run->{peers} };
    my $case   = sub ($reader, $name) {
        return $loops->{module}{"getter $name"} if $reader eq 'ours';
        return $loops->{stock}{"ngx.var $name"} if $reader eq 'ngx.var';
        return $loops->{ $worker{$reader} }{"$reader $name"};
    };
    return map {
        my $name = $_;
        [ "\$$name", map { [ $_, $case->($_, $name)->{ns}{median}, '%.1f' ] } @readers ]
    } qw(uri scheme request_time foo http_user_agent);
}

sub _interpreted ($run) {
    my $loops = $run->{loops}{'jit-off'};
    return map {
        my $name = $_;
        [ "\$$name", map { [ $_->[0], $loops->{"$_->[1] $name"}{ns}{median}, '%.0f' ] }
                [ 'ngx.var', 'ngx.var' ], [ ours => 'fetch' ] ]
    } qw(uri http_user_agent);
}

# about: title, unit, and perhaps a floor, where a line is drawn.
sub _panel ($about, @groups) {
    my $longest = max map { $_->[1] } map { @$_[ 1 .. $#$_ ] } @groups;
    my $scale   = (PANEL - LABEL) / $longest;
    my $svg     = _text(0, -22, 'panel', $about->{title}) . _text(0, -5, 'unit', $about->{unit});
    my $y       = 8;

    for my $group (@groups) {
        my ($heading, @bars) = @$group;
        my ($stock) = map { $_->[1] } grep { $_->[0] eq 'ngx.var' } @bars;
        $svg .= _text(0, $y + 15, 'group', $heading);
        $y += HEADING;
        for my $bar (@bars) {
            my ($reader, $value, $format) = @$bar;
            my $width = max(2, $value * $scale);
            my $label = sprintf $format, $value;
            $label .= ' · ' . _of($value / $stock) if $reader ne 'ngx.var';
            $svg .= sprintf qq{<rect x="0" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/>\n},
                $y, $width, BAR, $COLOUR{$reader};
            $svg .= _text($width + 8, $y + 14, $reader eq 'ours' ? 'value ours' : 'value', $label);
            $y += PITCH;
        }
        $y += 10;
    }
    if (my $floor = $about->{floor}) {
        my $x = $floor * $scale;
        # First, so that the bars and their labels cover it.
        $svg = qq{<line x1="$x" y1="6" x2="$x" y2="$y" class="mark"/>\n} . $svg;
        $svg .= _text(0, $y + 16, 'unit',
            sprintf 'dashed: the floor, a call over FFI that gives a string, %.1f', $floor);
        $y += 20;
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
.panel { font-size: 15px; font-weight: bold; }
.unit, .note { font-size: 12px; fill: #6a737d; }
.group { font-weight: bold; }
.mark { stroke: #d1242f; stroke-dasharray: 3 4; }
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
