package Signatures;

# The functions and structures that the embedded Lua declares for LuaJIT's FFI,
# and what the Rust sources say of the same ones, both in the same words:
#
#     my $source = Signatures->new('src');
#     $source->c_signature($name)  eq  $source->rust_signature($name)
#
# Pointers are "ptr" whatever they point to, for FFI and Rust name that differently;
# everything else is its kind and width, like "u32" or "f64".  Of the members of
# structures only the width counts: LuaJIT compiles better what it reads as signed.

use v5.36;

my %C_TYPE = (
    'int' => 'i32', 'int32_t' => 'i32', 'uint32_t' => 'u32', 'int64_t' => 'i64',
    'uint64_t' => 'u64', 'size_t' => 'u64', 'double' => 'f64', 'void' => 'nothing',
    'uint8_t' => 'u8',
);

my %RUST_TYPE = (
    'usize' => 'u64', 'ngx_int_t' => 'i64', 'f64' => 'f64',
    map { ($_ => $_) } qw(i32 u32 i64 u64 u8),
);

my %SIZE = (ptr => 8, b64 => 8, f64 => 8, b32 => 4, b8 => 1);

# Structures by their name in C, then in Rust.
my %STRUCT = (
    ngx_http_lua_var_handle_t => 'HandleArg',
    ngx_http_lua_var_layout_t => 'Layout',
    ngx_http_lua_var_out_t    => 'Out',
    ngx_http_lua_var_slot_t   => 'Slot',
);

sub new ($class, $dir) {
    my $self = bless { c => {}, rust => {}, c_struct => {}, rust_struct => {} }, $class;
    $self->_read_lua($_) for glob "$dir/lua/resty/*.lua $dir/lua/resty/*/*.lua";
    $self->_read_rust($_) for glob "$dir/*.rs";
    return $self;
}

sub functions ($self) { my @names = sort keys $self->{c}->%*; return @names }
sub rust_functions ($self) { my @names = sort keys $self->{rust}->%*; return @names }
sub structs ($self) { my @names = sort grep { $self->{c_struct}{$_} } keys %STRUCT; return @names }

# The parameters as C declares them, like "const char *name".
sub c_parameters ($self, $name) { return $self->{c_parameters}{$name}->@* }
sub c_signature ($self, $name) { return $self->{c}{$name} }
sub rust_signature ($self, $name) { return $self->{rust}{$name} // 'not in the Rust sources' }
sub c_struct ($self, $name) { return $self->{c_struct}{$name} }
sub rust_struct ($self, $name) { return $self->{rust_struct}{ $STRUCT{$name} } // 'not in the Rust sources' }

# Bytes of a structure, as the C rules for repr(C) lay it out.
sub rust_size ($self, $name) {
    my ($size, $align) = (0, 1);
    for my $type (map { (split)[1] } split /\n/, $self->rust_struct($name)) {
        my $width = $SIZE{$type} // die "$name has a member of type $type";
        $size += -$size % $width + $width;
        $align = $width if $width > $align;
    }
    return $size + -$size % $align;
}

sub _slurp ($path) {
    open my $in, '<', $path or die "$path: $!";
    local $/;
    return scalar <$in>;
}

sub _read_lua ($self, $path) {
    my $lua = _slurp($path);
    for my $cdef ($lua =~ /ffi\.cdef\s*\(?\s*\[\[(.*?)\]\]/sg) {
        while ($cdef =~ /typedef struct \{(.*?)\} (\w+);/sg) {
            my ($members, $name) = ($1, $2);
            $self->{c_struct}{$name} = join "\n", map { _c_member($_) } split /;\s*/, $members =~ s/^\s+//r;
        }
        while ($cdef =~ /^(\w[\w\s]*?[\s*]+)(ngx_http_lua_var_\w+)\s*\(([^)]*)\)\s*;/mg) {
            my ($result, $name, $parameters) = ($1, $2, $3);
            $self->{c_parameters}{$name} = [ grep { $_ ne 'void' } split /\s*,\s*/, $parameters ];
            $self->{c}{$name} = join ', ', (map { _c_type(s/\w+\s*\z//r) } grep { $_ ne 'void' } split /\s*,\s*/, $parameters),
                'gives ' . _c_type($result);
        }
    }
    return;
}

sub _c_member ($text) {
    my ($type, $name) = $text =~ /^(.*?)(\w+)\s*\z/s or die "no member: $text";
    return "$name " . _width(_c_type($type));
}

sub _width ($type) { return $type =~ s/^[iu](\d+)\z/b$1/r }

sub _c_type ($text) {
    return 'ptr' if $text =~ /\*/;
    my $type = $text =~ s/\bconst\b//gr =~ s/\s+//gr;
    return $C_TYPE{$type} // "unknown C type $type";
}

sub _read_rust ($self, $path) {
    my $rust = _slurp($path) =~ s{//[^\n]*}{}gr;
    while ($rust =~ /#\[unsafe\(no_mangle\)\]\s*(?:#\[[^\]]*\]\s*)*pub (?:unsafe )?extern "C" fn (\w+)\s*\((.*?)\)\s*(?:->\s*([^{]+?)\s*)?\{/sg) {
        my ($name, $parameters, $result) = ($1, $2, $3 // 'nothing');
        $self->{rust}{$name} = join ', ', (map { _rust_type(s/^\s*\w+\s*:\s*//r) } grep { /\S/ } split /,\s*/, $parameters),
            'gives ' . _rust_type($result);
    }
    while ($rust =~ /#\[repr\(C\)\]\s*(?:#\[[^\]]*\]\s*)*pub struct (\w+) \{(.*?)^\}/smg) {
        my ($name, $members) = ($1, $2);
        $self->{rust_struct}{$name} = join "\n", map { /^\s*(?:pub(?:\(\w+\))? )?(\w+)\s*:\s*(.*?)\s*\z/s ? "$1 " . _width(_rust_type($2)) : () }
            split /,\s*\n/, $members;
    }
    return;
}

sub _rust_type ($text) {
    $text =~ s/\s+\z//;
    return $text if $text eq 'nothing';
    # an address that Rust keeps as a number is a pointer for Lua
    return 'ptr' if $text =~ /^(?:[*&]|Cell<usize>\z)/;
    $text = $1 if $text =~ /^Cell<(\w+)>\z/;
    return $RUST_TYPE{$text} // "unknown Rust type $text";
}

1;
