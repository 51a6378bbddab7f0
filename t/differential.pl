#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# differential.pl: is the tree that `git shadow-commit save` records the tree
# that git would write (D12)?
#
# Each case builds a small random repository with some of the items below,
# changes it at random, saves, and compares the recorded tree with what `git add
# -A` and `git write-tree` make of a private copy of the index. Often a second
# round of changes and a second save follow, sometimes of named paths. On the
# way it looks whether save left the index, HEAD, refs and files alone (D11) and
# whether all that it refers to exists.
#
# A case depends on its seed and number only: `--seed S --case N` repeats it.
#
#   --cases N          how many (500; 0 is endless)
#   --seed S           default: from the clock; always printed
#   --case N           only this one
#   --only ITEM        put this item into every case (may be repeated)
#   --engine E         auto, native or git (GIT_INTERLOCK_ENGINE)
#   --command PATH     instead of git-shadow-commit from $BIN or PATH
#   --naive            compare git with the obvious wrong answer, a tree from an
#                      empty index: shows that differences are found
#   --keep             leave failing repositories behind and say where
#   --stop             at the first failure
#   --show N           tell about the first N failures, number the rest (20)
#   --min-per-item N   fail when an item came up less often (2 % of the cases)
#   --fsck-every N     look at the whole repository every N cases (10)
#   --dir DIR          where to build (DIFF_DIR, or /dev/shm, or TMPDIR)
#   --tap              write TAP; --verbose: a line for every case
use strict;
use warnings;
use Cwd qw(abs_path);
use Fcntl qw(:mode);
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use Getopt::Long;
use JSON::PP;
use MIME::Base64 qw(decode_base64);
use POSIX qw(mkfifo _exit);
use Time::HiRes qw(time);

my $HERE = dirname(abs_path($0));
my %opt = (
    cases        => 500,
    engine       => 'auto',
    'fsck-every' => 10,
    show         => 20,
    # Most of a case is making small files: memory is forty times faster.
    dir => $ENV{DIFF_DIR} || (-w '/dev/shm' ? '/dev/shm' : $ENV{TMPDIR} || '/tmp'),
);
GetOptions(
    \%opt,             'cases=i', 'seed=i',         'case=i',
    'only=s@',         'engine=s', 'command=s',     'naive',
    'keep',            'stop',     'min-per-item=i', 'fsck-every=i',
    'dir=s',           'tap',      'verbose|v',      'list',
    'show=i',
) && !@ARGV or exit 129;

my $seed = defined $opt{seed} ? $opt{seed} : (int(time) ^ ($$ << 8)) & 0x7fffffff;
my $json = JSON::PP->new->utf8;

# ---- the environment -----------------------------------------------------------

my $bin = $ENV{BIN} || $ENV{B} || "$HERE/../build";
$bin = abs_path($bin) || $bin;
my $command = $opt{command} || (-x "$bin/git-shadow-commit" ? "$bin/git-shadow-commit"
                                                             : 'git-shadow-commit');
$command = abs_path($command) if $command =~ m{/};
my $test_git = $ENV{TEST_GIT};
for (keys %ENV) { delete $ENV{$_} if /^(GIT_|XDG_|CAS_REF_)/ || $_ eq 'LANGUAGE' }
my $root = tempdir('differential.XXXXXX', DIR => $opt{dir}, CLEANUP => 0);
$root = abs_path($root);
mkdir "$root/home";
@ENV{qw(LC_ALL TZ HOME GIT_CONFIG_NOSYSTEM)} = ('C', 'UTC', "$root/home", 1);
$ENV{PATH} = join ':', grep { defined } $bin, $test_git, $ENV{PATH};
$ENV{GIT_INTERLOCK_ENGINE} = $opt{engine} if $opt{engine} ne 'auto';
spew("$root/home/.gitconfig", <<'CONFIG');
[user]
	name = A U Thor
	email = author@example.com
[init]
	defaultBranch = main
[gc]
	auto = 0
[maintenance]
	auto = false
[advice]
	addEmbeddedRepo = false
	updateSparsePath = false
[core]
	safecrlf = false
CONFIG
my ($git_version) = `git version` =~ /(\d+\.\d+)/;

# ---- small tools ---------------------------------------------------------------

sub spew {
    my ($path, $data) = @_;
    open my $fh, '>', $path or die "write $path: $!";
    binmode $fh;
    print $fh $data;
    close $fh or die "write $path: $!";
}

sub slurp {
    my ($path) = @_;
    open my $fh, '<', $path or return undef;
    binmode $fh;
    local $/;
    my $data = <$fh>;
    return defined $data ? $data : '';
}

# Where the programs are, so that no PATH is searched for each of them.
my %found;
for my $name (qw(git cp rm chmod)) {
    ($found{$name}) = grep { -x $_ && !-d _ } map { "$_/$name" } split /:/, $ENV{PATH};
}

# run({dir =>, env => {}, in =>}, command...): (status, stdout, stderr)
sub run {
    my ($how, @cmd) = @_;
    pipe my $read, my $write or die "pipe: $!";
    my $in = '/dev/null';
    if (defined $how->{in}) {
        $in = "$root/in";
        spew($in, $how->{in});
    }
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        chdir $how->{dir} or _exit(126) if defined $how->{dir};
        my $env = $how->{env} || {};
        for (keys %$env) { $ENV{$_} = $env->{$_} }
        open STDIN, '<', $in or _exit(126);
        open STDOUT, '>&', $write or _exit(126);
        open STDERR, '>', "$root/err" or _exit(126);
        no warnings;
        exec { $found{ $cmd[0] } // $cmd[0] } @cmd;
        _exit(127);
    }
    close $write;
    binmode $read;
    my $out = do { local $/; <$read> };
    waitpid $pid, 0;
    my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    return ($status, defined $out ? $out : '', slurp("$root/err"));
}

sub git { # must work
    my ($c, @args) = @_;
    my $how = ref $args[0] ? shift @args : {};
    my ($status, $out, $err) = run({ dir => $c->{dir}, %$how }, 'git', @args);
    die "git @args: status $status\n$err" if $status;
    return $out;
}

sub try_git {
    my ($c, @args) = @_;
    my ($status) = run({ dir => $c->{dir} }, 'git', @args);
    return !$status;
}

sub chance { return rand() < $_[0] }
sub pick   { return $_[ int rand @_ ] }

sub some { # up to n of a list
    my ($n, @list) = @_;
    my @out;
    while ($n-- > 0 && @list) { push @out, splice @list, int rand @list, 1 }
    return @out;
}

# ---- files ---------------------------------------------------------------------

# Names that sort against directories in the ways that go wrong.
my @STEMS = qw(a b c d e f a.c a-b a0 ab x y z main util README Makefile lib test z.z .dot _u);
my @DIRS  = ('', '', '', 'a/', 'b/', 'src/', 'src/lib/', 'doc/', 'a/b/', 'a-/', 'src/lib/deep/');
my @EXTS = ('', '', '.c', '.h', '.txt', '.txt', '.md', '.bin', '.o', '.log', '.bat', '.flt', '.prc',
            '.lfs', '.u16', '.l1');

my @ODD  = ("new\nline", "tab\there", 'sp ace', ' lead', 'quo"te', 'back\\slash', '-dash', 'st*r',
            'br[ack]', '!bang', '#hash', '$(id)', ':colon', "bell\a", 'q?', "'", 'trail ');
my @RAW  = ("\xff\xfe", "caf\xe9", "\x80", "utf8-\xc3\xa9", "e\xcc\x81", "\xf0\x9f\x98\x80", "\xc0\xaf");
my @CASE = (['File', 'file'], ['READ', 'read'], ['Dir/one', 'dir/one'], ['x/Y', 'X/y'],
            ["\xc3\x89", "\xc3\xa9"]);

sub new_name {
    my ($c) = @_;
    my $name = pick(@DIRS) . pick(@STEMS) . (chance(0.5) ? int rand 30 : '') . pick(@EXTS);
    if ($c->{items}{'newline-names'} && chance(0.3)) { $name = pick(@DIRS) . pick(@ODD) . pick('', '.txt', '.c') }
    if ($c->{items}{'non-utf8-names'} && chance(0.3)) { $name = pick(@DIRS) . pick(@RAW) . pick('', '.txt', '/x') }
    return $name;
}

sub content {
    my ($c, $name) = @_;
    my $kind = int rand 12;
    my $text = join '', map { pick(qw(alpha beta gamma delta)) . ' ' . int(rand 1e6) . "\n" } 1 .. 1 + rand 6;
    return utf16($name, $text) if $name =~ /\.u16$/;
    return "na\xefve " . int(rand 1e6) . "\n" if $name =~ /\.l1$/;
    return '' if $kind == 0 && chance(0.4);
    if ($kind == 1) { $text =~ s/\n/\r\n/g }
    if ($kind == 2) { $text =~ s/\n/\r\n/ }
    if ($kind == 3) { chop $text }
    if ($kind == 4) { $text .= "nul \0 byte\n" . (chance(0.5) ? "crlf\r\n" : '') }
    if ($kind == 5) { $text = pick('$Id$', '$Id: 0123456789 $', '$Id: odd', 'x $Id$ y $Id: q $') . "\n$text" }
    if ($kind == 6) { $text = "lone\rcr\n$text" }
    if ($kind == 7 && chance(0.1)) { $text x= 3000 }
    if ($kind == 8 && chance(0.3)) { $text .= "\x1a" }
    return $text;
}

sub utf16 {
    my ($name, $text) = @_;
    my $wide = join '', map { pack 'n', ord } split //, $text;
    return "\xfe\xff$wide";
}

# Makes room for a path: what stands in the way goes.
sub clear_way {
    my ($c, $path) = @_;
    my $at = $c->{dir};
    my @parts = split m{/}, $path;
    pop @parts;
    for (@parts) {
        $at .= "/$_";
        if (-l $at || (-e $at && !-d _)) { unlink $at or return 0 }
        if (!-e $at) { mkdir $at or return 0 }
        return 0 if -e "$at/.git";
    }
    my $full = "$c->{dir}/$path";
    if (!-l $full && -d $full) {
        return 0 if has_repository($full);
        remove_tree($full);
    } elsif (-l $full || -e $full) {
        unlink $full;
    }
    return 1;
}

sub has_repository {
    my ($dir) = @_;
    return 1 if -e "$dir/.git";
    opendir my $dh, $dir or return 0;
    for (readdir $dh) {
        next if $_ eq '.' || $_ eq '..';
        return 1 if !-l "$dir/$_" && -d "$dir/$_" && has_repository("$dir/$_");
    }
    return 0;
}

sub write_file {
    my ($c, $path, $data) = @_;
    clear_way($c, $path) or return 0;
    spew("$c->{dir}/$path", defined $data ? $data : content($c, $path));
    return 1;
}

# All files and symlinks below the work tree, not those of repositories inside.
sub files {
    my ($c) = @_;
    my @out;
    my @todo = ('');
    while (defined(my $dir = shift @todo)) {
        opendir my $dh, "$c->{dir}/$dir" or next;
        for my $name (sort readdir $dh) {
            next if $name eq '.' || $name eq '..' || $name eq '.git';
            my $path = "$dir$name";
            my $full = "$c->{dir}/$path";
            if (-l $full || -f _) { push @out, $path }
            elsif (-d _ && !-e "$full/.git") { push @todo, "$path/" }
        }
    }
    return @out;
}

sub plain_files {
    my ($c) = @_;
    return grep { my $f = "$c->{dir}/$_"; !-l $f && -f _ && !/(^|\/)\.git(attributes|ignore|modules)$/ } files($c);
}

sub dirs {
    my ($c) = @_;
    my %seen;
    for (files($c)) {
        my $path = $_;
        while ($path =~ s{/[^/]*$}{}s) { $seen{$path} = 1 }
    }
    return sort keys %seen;
}

sub tracked {
    my ($c) = @_;
    my %seen;
    return grep { !$seen{$_}++ } map { /^\d+ [0-9a-f]+ 0\t(.*)$/s ? $1 : () }
        split /\0/, git($c, 'ls-files', '-s', '-z');
}

# ---- changes -------------------------------------------------------------------

my %CHANGE = (
    edit => sub {
        my ($c) = @_;
        my ($f) = some(1, plain_files($c)) or return 0;
        my $data = slurp("$c->{dir}/$f");
        return 0 unless defined $data;
        spew("$c->{dir}/$f", $f =~ /\.u16$/ ? utf16($f, 'edit ' . int(rand 1e6) . "\n")
                                             : $data . 'edit ' . int(rand 1e6) . "\n");
    },
    'same-size' => sub {
        my ($c) = @_;
        my ($f) = some(1, grep { !/\.u16$/ } plain_files($c)) or return 0;
        same_size_edit("$c->{dir}/$f");
    },
    replace => sub {
        my ($c) = @_;
        my ($f) = some(1, plain_files($c)) or return 0;
        spew("$c->{dir}/$f", content($c, $f));
        1;
    },
    create => sub { my ($c) = @_; write_file($c, new_name($c)) },
    'create-deep' => sub {
        my ($c) = @_;
        write_file($c, 'new' . int(rand 9) . '/deep/' . pick(@STEMS) . pick(@EXTS));
    },
    delete => sub {
        my ($c) = @_;
        my ($f) = some(1, files($c)) or return 0;
        unlink "$c->{dir}/$f";
    },
    'delete-dir' => sub {
        my ($c) = @_;
        my ($d) = some(1, grep { !has_repository("$c->{dir}/$_") } dirs($c)) or return 0;
        remove_tree("$c->{dir}/$d");
    },
    rename => sub {
        my ($c) = @_;
        my ($f) = some(1, files($c)) or return 0;
        my $to = new_name($c);
        return 0 if $to eq $f || index("$to/", "$f/") == 0 || index("$f/", "$to/") == 0;
        clear_way($c, $to) or return 0;
        rename "$c->{dir}/$f", "$c->{dir}/$to";
    },
    'rename-dir' => sub {
        my ($c) = @_;
        my ($d) = some(1, grep { !has_repository("$c->{dir}/$_") } dirs($c)) or return 0;
        my $to = 'moved' . int rand 1000;
        rename "$c->{dir}/$d", "$c->{dir}/$to";
    },
    'rewrite' => sub { # the same bytes again, as another inode
        my ($c) = @_;
        my ($f) = some(1, plain_files($c)) or return 0;
        my $data = slurp("$c->{dir}/$f");
        unlink "$c->{dir}/$f";
        spew("$c->{dir}/$f", $data);
        1;
    },
    touch => sub {
        my ($c) = @_;
        my @f = some(1 + rand 5, plain_files($c)) or return 0;
        my $when = pick(time, time - 3600, time - 86400 * 30, 1, time + 100);
        utime $when, $when, map { "$c->{dir}/$_" } @f;
    },
    chmod => sub {
        my ($c) = @_;
        my ($f) = some(1, plain_files($c)) or return 0;
        chmod pick(0755, 0644, 0600, 0700, 0744, 0654, 0645), "$c->{dir}/$f";
    },
    symlink => sub {
        my ($c) = @_;
        my ($f) = some(1, files($c), new_name($c)) or return 0;
        my $to = pick('a', '../b', 'src', '/nonexistent', '.', "odd\nname", 'x' x 200, some(1, dirs($c)));
        clear_way($c, $f) or return 0;
        symlink $to, "$c->{dir}/$f";
    },
    'link-to-file' => sub {
        my ($c) = @_;
        my ($l) = some(1, grep { -l "$c->{dir}/$_" } files($c)) or return 0;
        unlink "$c->{dir}/$l";
        spew("$c->{dir}/$l", pick('a', content($c, $l)));
        1;
    },
    'dir-to-link' => sub { # what was tracked below it is still to be found through it
        my ($c) = @_;
        my ($d) = some(1, grep { !has_repository("$c->{dir}/$_") } dirs($c)) or return 0;
        my $to = "$d.real";
        return 0 if -e "$c->{dir}/$to";
        rename "$c->{dir}/$d", "$c->{dir}/$to" or return 0;
        $to =~ s{.*/}{}s;
        symlink $to, "$c->{dir}/$d";
    },
    'file-to-dir' => sub {
        my ($c) = @_;
        my ($f) = some(1, files($c)) or return 0;
        unlink "$c->{dir}/$f";
        mkdir "$c->{dir}/$f";
        return 1 if chance(0.15); # an empty one
        write_file($c, "$f/" . pick(@STEMS)) for 1 .. 1 + rand 2;
        1;
    },
    'dir-to-file' => sub {
        my ($c) = @_;
        my ($d) = some(1, grep { !has_repository("$c->{dir}/$_") } dirs($c)) or return 0;
        remove_tree("$c->{dir}/$d");
        spew("$c->{dir}/$d", content($c, $d));
        1;
    },
    'empty-dir' => sub {
        my ($c) = @_;
        my $d = pick(@DIRS) . 'empty' . int rand 20;
        clear_way($c, "$d/x");
    },
    stage => sub {
        my ($c) = @_;
        my @f = some(1 + rand 3, files($c)) or return 0;
        # What is ignored or out of the sparse patterns stays out, with status 1.
        run({ dir => $c->{dir}, in => join("\0", map { ":(literal)$_" } @f) },
            'git', 'add', '--ignore-errors', '--pathspec-from-file=-', '--pathspec-file-nul');
        1;
    },
    unstage => sub {
        my ($c) = @_;
        my ($f) = some(1, tracked($c)) or return 0;
        try_git($c, 'update-index', '--force-remove', '--', $f);
    },
);

sub same_size_edit {
    my ($path) = @_;
    my $data = slurp($path);
    return 0 unless defined $data && length $data;
    my $at = int rand length $data;
    my $old = substr $data, $at, 1;
    substr($data, $at, 1) = $old eq 'q' ? 'r' : $old eq "\n" ? $old : 'q';
    spew($path, $data);
    return 1;
}

sub change {
    my ($c, $name) = @_;
    my $did = $CHANGE{$name}->($c);
    $c->{changes}{$name}++ if $did;
    push @{ $c->{story} }, $name if $did;
    return $did;
}

my @USUAL = qw(edit edit edit same-size same-size replace create create create create-deep delete rename rewrite
               chmod delete-dir stage);
my @RARE = qw(rename-dir symlink file-to-dir dir-to-file empty-dir touch link-to-file dir-to-link unstage);

sub changes {
    my ($c, $n) = @_;
    for (1 .. $n) { change($c, chance(0.85) ? pick(@USUAL) : pick(@RARE)) }
}

# ---- items ---------------------------------------------------------------------
#
# before: before the first commit (config lines, attributes, files)
# after:  once the base is committed and the index written
# then:   when the changes are made; returns false when it did not apply

sub attributes { my ($c, @lines) = @_; push @{ $c->{attributes} }, @lines; return 1 }
sub ignores    { my ($c, @lines) = @_; push @{ $c->{ignores} }, @lines;    return 1 }
sub config     { my ($c, $lines) = @_; $c->{config} .= $lines;             return 1 }

sub ignore_lines {
    return some(1 + rand 3, '*.o', '*.log', 'build/', '/a0', 'doc/', '**/deep', 'src/**/x*', '[xyz].txt', 'lib',
                '/src/lib/', 'b/*', '*.bin', "\\#hash", "\\!bang", "trail\\ ", '# only words', '', '*.l1  ',
                'a/b/', 'test*', '?', '.dot', 'ne*/', 'a-/a', "caf\xe9*");
}

my %ITEM = (
    'clean-filter' => {
        row    => 'filter',
        before => sub {
            my ($c) = @_;
            attributes($c, '*.flt filter=upper', '*.md filter=undefined');
            config($c, "[filter \"upper\"]\n\tclean = tr a-z A-Z\n\tsmudge = tr A-Z a-z\n"
                     . (chance(0.3) ? "\trequired = true\n" : ''));
            if (chance(0.2)) {
                attributes($c, '*.bin filter=broken');
                config($c, "[filter \"broken\"]\n\tclean = false\n");
            }
            write_file($c, "some$_.flt") for 1 .. 2;
            1;
        },
        then => sub { my ($c) = @_; write_file($c, 'late' . int(rand 9) . '.flt') },
    },
    'process-filter' => {
        row    => 'filter',
        before => sub {
            my ($c) = @_;
            attributes($c, '*.prc filter=proc');
            config($c, "[filter \"proc\"]\n\tprocess = perl \\\"$HERE/twin/filter-process.pl\\\"\n\trequired = true\n");
            write_file($c, "some$_.prc") for 1 .. 3;
            1;
        },
        then => sub { my ($c) = @_; write_file($c, 'late' . int(rand 9) . '.prc') },
    },
    'lfs-like' => {
        row    => 'filter',
        before => sub {
            my ($c) = @_;
            attributes($c, '*.lfs filter=lfs diff=lfs merge=lfs -text');
            config($c, "[filter \"lfs\"]\n\tclean = \\\"$HERE/twin/lfs-clean\\\" %f\n\tsmudge = cat\n\trequired = true\n");
            write_file($c, 'big.lfs', join '', map { chr rand 256 } 1 .. 3000);
            write_file($c, 'pointer.lfs', "version https://lfs.example/spec/v1\noid sha256:" . '0' x 64 . "\nsize 5\n");
        },
        then => sub { my ($c) = @_; write_file($c, 'late' . int(rand 9) . '.lfs') },
    },
    autocrlf => {
        before => sub { my ($c) = @_; config($c, "[core]\n\tautocrlf = " . pick('true', 'input') . "\n") },
        then => sub { my ($c) = @_; write_file($c, 'crlf' . int(rand 9) . '.txt', "one\r\ntwo\r\n" . rand() . "\r\n") },
    },
    eol => {
        before => sub {
            my ($c) = @_;
            attributes($c, some(1 + rand 4, '* text=auto', '*.txt text', '*.txt text eol=crlf', '*.bat eol=crlf',
                                '*.c text eol=lf', '*.bin binary', '*.md -text', '*.h !text', '*.log crlf=input',
                                '[attr]mine text eol=crlf', '*.h mine', 'src/** text', '/a -crlf', '* text eol=lf'));
            config($c, "[core]\n\teol = " . pick('lf', 'crlf', 'native') . "\n") if chance(0.4);
            write_file($c, 'src/.gitattributes', "*.txt -text\n*.c text eol=crlf\n") if chance(0.3);
            1;
        },
        then => sub {
            my ($c) = @_;
            write_file($c, 'mixed' . int(rand 9) . pick('.txt', '.c', '.bat', ''), "one\r\ntwo\n" . rand() . "\r\n");
            if (chance(0.2)) { # other rules than those under which the index was made
                write_file($c, '.gitattributes', (slurp("$c->{dir}/.gitattributes") || '') . "*.c -text\n*.md text\n");
            }
            1;
        },
    },
    ident => {
        before => sub { my ($c) = @_; attributes($c, '*.c ident', '*.txt ident') },
        then => sub { my ($c) = @_; write_file($c, 'id' . int(rand 9) . '.c', '$Id: ' . rand() . " \$\n\$Id\$\n") },
    },
    'working-tree-encoding' => {
        row    => 'working-tree-encoding',
        before => sub {
            my ($c) = @_;
            attributes($c, '*.u16 text working-tree-encoding=UTF-16', '*.l1 text working-tree-encoding=ISO-8859-1');
            write_file($c, "wide$_.u16") for 1 .. 2;
            write_file($c, 'latin.l1');
        },
        then => sub { my ($c) = @_; write_file($c, 'late' . int(rand 9) . pick('.u16', '.l1')) },
    },
    modes => {
        before => sub { my ($c) = @_; config($c, "[core]\n\tfilemode = false\n") if chance(0.2); 1 },
        then => sub {
            my ($c) = @_;
            my $did = 0;
            for (1 .. 3) { $did = 1 if change($c, 'chmod') }
            write_file($c, 'tool.sh', "#!/bin/sh\n") && chmod 0755, "$c->{dir}/tool.sh";
            return $did;
        },
    },
    symlinks => {
        before => sub {
            my ($c) = @_;
            symlink pick('a', 'src', 'nowhere', '../out'), "$c->{dir}/link$_" for 1 .. 2;
            symlink '..', "$c->{dir}/up";
            $c->{no_symlinks} = chance(0.1);
            1;
        },
        after => sub { my ($c) = @_; late_config($c, "[core]\n\tsymlinks = false\n") if $c->{no_symlinks}; 1 },
        then => sub {
            my ($c) = @_;
            my $did = change($c, pick(qw(symlink link-to-file dir-to-link)));
            return change($c, 'symlink') || $did;
        },
    },
    submodules => {
        before => sub {
            my ($c) = @_;
            for my $name (some(1 + rand 2, 'sub', 'deep/sub', 'src/mod')) {
                clear_way($c, $name) or next;
                copy_repository($c, $name, 'two') or next;
                push @{ $c->{subs} }, $name;
                (my $key = $name) =~ tr{/}{-};
                $c->{modules} .= "[submodule \"$key\"]\n\tpath = $name\n\turl = ../$key\n";
                $c->{modules} .= "\tignore = " . pick('all', 'dirty', 'none') . "\n" if chance(0.3);
            }
            return 0 unless $c->{subs};
            write_file($c, '.gitmodules', $c->{modules});
        },
        then => sub {
            my ($c) = @_;
            for my $sub (@{ $c->{subs} }) {
                my $full = "$c->{dir}/$sub";
                next unless -e "$full/.git";
                my $how = int rand 9;
                if ($how == 0) { # another commit inside
                    spew("$full/.git/refs/heads/main", slurp("$full/.git/older") );
                } elsif ($how == 1) { # dirty inside
                    spew("$full/inside", "changed " . rand() . "\n");
                    spew("$full/untracked", "x\n");
                } elsif ($how == 2) { # not checked out
                    remove_tree($full);
                    mkdir $full;
                } elsif ($how == 3) { # gone
                    remove_tree($full);
                } elsif ($how == 4) { # a file where it was
                    remove_tree($full);
                    spew($full, "file\n");
                } elsif ($how == 5) { # the repository is elsewhere, as after `submodule absorbgitdirs`
                    my $git_dir = "$c->{gitdir}/modules/" . ($sub =~ tr{/}{-}r);
                    make_path(dirname($git_dir));
                    rename "$full/.git", $git_dir or next;
                    spew("$full/.git", "gitdir: $git_dir\n");
                } elsif ($how == 6) { # only plain files are left
                    remove_tree("$full/.git");
                }
            }
            return 1;
        },
    },
    'sparse-cone' => {
        row    => 'sparse',
        after  => sub {
            my ($c) = @_;
            try_git($c, 'sparse-checkout', 'set', '--cone', '--no-sparse-index', some(1 + rand 2, 'src', 'doc', 'a', 'src/lib'));
        },
        then => \&outside_of_sparse,
    },
    'sparse-no-cone' => {
        row    => 'sparse',
        after  => sub {
            my ($c) = @_;
            try_git($c, 'sparse-checkout', 'set', '--no-cone', some(1 + rand 2, '/src/', '*.txt', '!*.c', '/a*', 'doc/*'));
        },
        then => \&outside_of_sparse,
    },
    'sparse-index' => {
        row    => 'sparse',
        after  => sub {
            my ($c) = @_;
            try_git($c, 'sparse-checkout', 'set', '--cone', '--sparse-index', some(1, 'doc', 'a', 'src/lib'));
        },
        then => \&outside_of_sparse,
    },
    'split-index' => {
        row    => 'split',
        before => sub { my ($c) = @_; config($c, "[core]\n\tsplitIndex = true\n") },
        then => sub {
            my ($c) = @_;
            change($c, 'stage');
            return scalar grep { 1 } glob "$c->{gitdir}/sharedindex.*";
        },
    },
    'index-v2' => { before => sub { my ($c) = @_; config($c, "[index]\n\tversion = 2\n") } },
    'index-v3' => { # git writes it when an entry has an extended flag
        before => sub { my ($c) = @_; config($c, "[index]\n\tversion = 3\n") },
        then => sub {
            my ($c) = @_;
            return intent_to_add($c) && index_version($c) == 3;
        },
    },
    'index-v4' => {
        before => sub { my ($c) = @_; config($c, "[index]\n\tversion = 4\n") },
        then => sub { my ($c) = @_; return index_version($c) == 4 },
    },
    'intent-to-add' => { then => \&intent_to_add },
    'skip-worktree' => {
        row  => 'skip-worktree',
        then => sub {
            my ($c) = @_;
            my @f = some(1 + rand 3, grep { !/\.git/ } tracked($c)) or return 0;
            git($c, { in => join("\0", @f) . "\0" }, 'update-index', '-z', '--skip-worktree', '--stdin');
            for (@f) {
                my $full = "$c->{dir}/$_";
                my $how = int rand 4;
                next if -l $full || !-f $full;
                if ($how == 0) { unlink $full }
                if ($how == 1) { spew($full, "kept out of sight\n") }
                if ($how == 2) { same_size_edit($full) }
            }
            1;
        },
    },
    'assume-unchanged' => {
        then => sub {
            my ($c) = @_;
            my @f = some(1 + rand 3, grep { !/\.git/ } tracked($c)) or return 0;
            git($c, { in => join("\0", @f) . "\0" }, 'update-index', '-z', '--assume-unchanged', '--stdin');
            for (@f) {
                my $full = "$c->{dir}/$_";
                my $how = int rand 4;
                next if -l $full || !-f $full;
                if ($how == 0) { unlink $full }
                if ($how == 1) { spew($full, "assumed\n") }
                if ($how == 2) { same_size_edit($full) }
            }
            1;
        },
    },
    conflicts => {
        then => sub {
            my ($c) = @_;
            my %id;
            for (split /\0/, git($c, 'ls-files', '-s', '-z')) {
                $id{$3} = [$1, $2] if /^(\d+) ([0-9a-f]+) 0\t(.*)$/s && $1 ne '160000';
            }
            my @f = some(1 + rand 3, grep { !/\.git/ } sort keys %id) or return 0;
            my @ids = map { $id{$_}[1] } sort keys %id;
            my $in = '';
            my $zero = '0' x length $ids[0];
            for my $f (@f) {
                $in .= "0 $zero\t$f\0";
                my @stages = pick([1, 2, 3], [2, 3], [1, 3], [1, 2], [2], [3]);
                for my $stage (@{ $stages[0] }) {
                    $in .= sprintf "%s %s %d\t%s\0", chance(0.9) ? $id{$f}[0] : '100755',
                        $id{$f}[0] eq '120000' ? $id{$f}[1] : pick(@ids), $stage, $f;
                }
            }
            git($c, { in => $in }, 'update-index', '-z', '--index-info');
            for (@f) {
                my $full = "$c->{dir}/$_";
                next if -l $full || !-f $full || /\.(u16|l1)$/;
                if (chance(0.2)) { unlink $full }
                elsif (chance(0.6)) { spew($full, "<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n") }
            }
            1;
        },
    },
    'unborn-head' => {},    # see build()
    'nested-repository' => {
        row  => 'nested',
        then => sub {
            my ($c) = @_;
            my $name = pick('nest', 'src/nest', 'a/nest');
            clear_way($c, $name) or return 0;
            my $how = pick(qw(two two none older bare-ish));
            if ($how eq 'bare-ish') { # a .git that is no repository: plain files
                mkdir "$c->{dir}/$name";
                mkdir "$c->{dir}/$name/.git";
                spew("$c->{dir}/$name/file", "inside\n");
                return 1;
            }
            copy_repository($c, $name, $how) or return 0;
            $c->{skips}{$name} = 1 if $how eq 'none';
            1;
        },
    },
    'case-pairs' => {
        before => sub { my ($c) = @_; case_pairs($c) },
        then => sub { my ($c) = @_; case_pairs($c) },
    },
    'newline-names' => { before => \&odd_names, then => \&odd_names },
    'non-utf8-names' => {
        before => sub { my ($c) = @_; write_file($c, pick(@DIRS) . $_) for some(2, @RAW); 1 },
        then => sub {
            my ($c) = @_;
            write_file($c, pick(@DIRS) . $_) for some(2, @RAW);
            1;
        },
    },
    'file-dir-swap' => {
        then => sub {
            my ($c) = @_;
            my $did = change($c, 'file-to-dir');
            return change($c, 'dir-to-file') || $did;
        },
    },
    'ignored-but-tracked' => {
        before => sub { my ($c) = @_; write_file($c, $_) for 'kept.o', 'doc/kept.log', 'build/kept'; 1 },
        then => sub {
            my ($c) = @_;
            ignores_now($c, '*.o', '*.log', 'build/');
            for (some(2, 'kept.o', 'doc/kept.log', 'build/kept')) { spew("$c->{dir}/$_", rand() . "\n") if -f "$c->{dir}/$_" }
            write_file($c, $_) for 'new.o', 'build/new';
            1;
        },
    },
    'negated-ignores' => {
        before => sub {
            my ($c) = @_;
            ignores($c, some(2 + rand 3, '*.txt', '!a*.txt', 'src/*', '!src/lib', '!src/lib/', 'doc/', '!doc/keep', '!*.o',
                             '/*', '!/src', '!/a', '!.git*', 'b/**', '!b/**/x', '!**/deep/'));
        },
        then => sub {
            my ($c) = @_;
            write_file($c, $_) for some(4, 'ax.txt', 'x.txt', 'doc/keep', 'src/lib/new', 'src/other', 'b/x', 'b/c/x', 'src/lib/deep/q');
            write_file($c, 'src/.gitignore', join('', map { "$_\n" } '!*', ignore_lines())) if chance(0.3);
            1;
        },
    },
    'info-exclude' => {
        before => sub { my ($c) = @_; spew("$c->{gitdir}/info/exclude", join '', map { "$_\n" } ignore_lines()) ; 1 },
        then => sub { my ($c) = @_; change($c, 'create') for 1 .. 3; 1 },
    },
    'excludes-file' => {
        before => sub {
            my ($c) = @_;
            my $path = pick("$root/home/excludes-$c->{number}", "~/excludes-$c->{number}");
            spew("$root/home/excludes-$c->{number}", join '', map { $_ . pick("\n", "\n", "\r\n") } ignore_lines());
            config($c, "[core]\n\texcludesFile = $path\n");
        },
        then => sub { my ($c) = @_; change($c, 'create') for 1 .. 3; 1 },
    },
    'racy-edits' => {
        then => sub {
            my ($c) = @_;
            # As old as the index or younger, to the second, and as long as before.
            my @f = some(3, grep { -s "$c->{dir}/$_" && !/\.(u16|l1)$/ } plain_files($c)) or return 0;
            late_config($c, "[core]\n\ttrustctime = false\n") if chance(0.3);
            late_config($c, "[core]\n\tcheckStat = minimal\n") if chance(0.2);
            my $now = int time;
            utime $now, $now, map { "$c->{dir}/$_" } @f;
            my $in = join "\0", map { ":(literal)$_" } @f;
            try_git($c, 'add', '-u') or return 0;
            utime $now, $now, "$c->{gitdir}/index";
            for (@f) { same_size_edit("$c->{dir}/$_") }
            utime $now, $now, map { "$c->{dir}/$_" } @f;
            $c->{racy} = [@f];
            1;
        },
    },
    deletions => { then => sub { my ($c) = @_; my $did = change($c, 'delete'); change($c, pick(qw(delete delete-dir))) || $did } },
    renames => { then => sub { my ($c) = @_; my $did = change($c, 'rename'); change($c, pick(qw(rename rename-dir))) || $did } },
    'empty-dirs' => { then => sub { my ($c) = @_; change($c, 'empty-dir') } },
    touched => { then => sub { my ($c) = @_; my $did = change($c, 'touch'); change($c, 'rewrite') || $did } },
    sha256 => { row => 'sha256' },    # see build()

    # Beyond D12's list.
    'linked-worktree' => {},          # see build()
    subdirectory      => {},          # see save()
    'untracked-cache' => {
        before => sub { my ($c) = @_; config($c, "[core]\n\tuntrackedCache = true\n") },
        after => sub {
            my ($c) = @_;
            my ($status) = run({ dir => $c->{dir} }, 'git', 'status', '--porcelain');
            # git 2.39 can abort over a sparse index here, and leaves its lock.
            unlink "$c->{gitdir}/index.lock" if $status > 128;
            return $status == 0;
        },
    },
    'ignore-files' => {
        before => sub {
            my ($c) = @_;
            ignores($c, ignore_lines());
            write_file($c, pick('src', 'a', 'doc', 'src/lib') . '/.gitignore',
                       join '', map { $_ . pick("\n", "\n", "\r\n") } ignore_lines(), pick('', '!*.o', '!x'));
        },
        then => sub {
            my ($c) = @_;
            change($c, 'create') for 1 .. 4;
            write_file($c, pick('', 'src/', 'a/') . '.gitignore', join '', map { "$_\n" } ignore_lines()) if chance(0.4);
            1;
        },
    },
    'env-config' => {
        row    => 'config',
        before => sub {
            my ($c) = @_;
            my @pair = @{ pick(['core.autocrlf', 'true'], ['core.fileMode', 'false'], ['core.eol', 'crlf'],
                               ['core.autocrlf', 'input']) };
            $c->{env} = { GIT_CONFIG_COUNT => 1, GIT_CONFIG_KEY_0 => $pair[0], GIT_CONFIG_VALUE_0 => $pair[1] };
            1;
        },
    },
    'index-file' => { # see build()
    },
    'special-files' => {
        then => sub {
            my ($c) = @_;
            my $name = pick('fifo', 'src/fifo');
            clear_way($c, $name) or return 0;
            mkfifo("$c->{dir}/$name", 0644) or return 0;
            $c->{skips}{$name} = 1;
            1;
        },
    },
    'odd-dot-git' => { # names that git refuses, or takes although they look like .git
        then => sub {
            my ($c) = @_;
            for my $name (some(1 + rand 2, 'git~1', '.gitfoo', 'a/.git~', '.GIT', 'b/.Git', 'git~10')) {
                write_file($c, $name, "odd\n") or next;
                $c->{maybe_skipped} = 1;
            }
            1;
        },
    },
    'worktree-config' => {
        row    => 'worktreeConfig',
        before => sub {
            my ($c) = @_;
            $c->{extensions} .= "\tworktreeConfig = true\n";
            spew("$c->{gitdir}/config.worktree", "[core]\n\tautocrlf = " . pick('true', 'false') . "\n");
            1;
        },
    },
    'partial-clone' => {
        row    => 'partial',
        before => sub {
            my ($c) = @_;
            $c->{extensions} .= "\tpartialClone = origin\n";
            config($c, "[remote \"origin\"]\n\turl = /nonexistent\n\tpromisor = true\n\tpartialclonefilter = blob:none\n");
        },
    },
);

# Not in one repository.
my @EXCLUSIVE = (
    [qw(sparse-cone sparse-no-cone sparse-index unborn-head)],
    [qw(sparse-index split-index)],
    [qw(index-v2 index-v3 index-v4)],
    [qw(split-index index-v4)],
    [qw(index-file split-index linked-worktree)],
    [qw(index-file sparse-cone sparse-no-cone sparse-index)],
    [qw(partial-clone submodules)],
);

sub late_config {
    my ($c, $lines) = @_;
    my $path = "$c->{common}/config";
    spew($path, slurp($path) . $lines);
    return 1;
}

sub ignores_now {
    my ($c, @lines) = @_;
    my $path = "$c->{dir}/.gitignore";
    my $old = -f $path && !-l $path ? slurp($path) : '';
    return write_file($c, '.gitignore', $old . join '', map { "$_\n" } @lines);
}

sub intent_to_add {
    my ($c) = @_;
    my @f = map { 'intent' . int(rand 100) . $_ } some(1 + rand 2, '', '.c', '.txt', '.flt');
    for (@f) { write_file($c, $_) }
    try_git($c, 'add', '-N', '-f', '--', @f) or return 0;
    unlink "$c->{dir}/$f[0]" if chance(0.2);
    return 1;
}

sub index_version {
    my ($c) = @_;
    open my $fh, '<', "$c->{index}" or return 0;
    read $fh, my $head, 8;
    return unpack 'x4N', $head;
}

sub case_pairs {
    my ($c) = @_;
    for my $pair (some(2, @CASE)) {
        write_file($c, $_) for some(1 + rand 2, @$pair);
    }
    return 1;
}

sub odd_names {
    my ($c) = @_;
    write_file($c, pick(@DIRS) . $_) for some(2, @ODD);
    write_file($c, pick(@ODD) . '/' . pick(@STEMS)) if chance(0.5);
    return 1;
}

sub outside_of_sparse {
    my ($c) = @_;
    # Files come back where none should be, new ones appear beside them.
    for (1 .. 1 + rand 3) { write_file($c, pick('src/', 'doc/', 'b/', 'a/', 'other/', '') . pick(@STEMS) . pick(@EXTS)) }
    return 1;
}

# ---- repositories --------------------------------------------------------------

# Small repositories to copy: "two" commits (and the first one's id), "none".
my %template;

sub template {
    my ($hash, $kind) = @_;
    return $template{"$hash-$kind"} if $template{"$hash-$kind"};
    my $dir = "$root/template-$hash-$kind";
    my $t = { dir => $dir };
    local %ENV = %ENV;
    delete $ENV{GIT_INDEX_FILE};    # the case's, not the template's
    run({}, 'git', 'init', '-q', "--object-format=$hash", $dir);
    remove_tree("$dir/.git/hooks");
    if ($kind ne 'none') {
        spew("$dir/inside", "one\n");
        git($t, 'add', '-A');
        git($t, 'commit', '-qm', 'one');
        spew("$dir/.git/older", slurp("$dir/.git/refs/heads/main"));
        if ($kind eq 'two') {
            spew("$dir/inside", "two\n");
            git($t, 'commit', '-qam', 'two');
        }
    } else {
        spew("$dir/inside", "none\n");
    }
    return $template{"$hash-$kind"} = $dir;
}

sub copy_repository {
    my ($c, $name, $kind) = @_;
    make_path(dirname("$c->{dir}/$name"));
    my ($status) = run({}, 'cp', '-a', template($c->{hash}, $kind), "$c->{dir}/$name");
    return !$status;
}

# What `git init` makes, without a process.
sub init {
    my ($c) = @_;
    my $g = $c->{common};
    make_path("$g/objects/info", "$g/objects/pack", "$g/refs/heads", "$g/refs/tags", "$g/info");
    spew("$g/HEAD", "ref: refs/heads/main\n");
}

sub write_config {
    my ($c) = @_;
    my $format = $c->{extensions} ? 1 : 0;
    spew("$c->{common}/config", "[core]\n\trepositoryformatversion = $format\n\tfilemode = true\n"
         . "\tbare = false\n\tlogallrefupdates = true\n"
         . ($c->{extensions} ? "[extensions]\n$c->{extensions}" : '') . $c->{config});
}

sub build {
    my ($c) = @_;
    my @items = sort keys %{ $c->{items} };
    $c->{hash} = $c->{items}{sha256} ? 'sha256' : 'sha1';
    $c->{extensions} = $c->{hash} eq 'sha256' ? "\tobjectFormat = sha256\n" : '';
    $c->{config} = '';
    $c->{attributes} = [];
    $c->{ignores} = chance(0.5) ? ['*.o'] : [];
    $c->{dir} = "$c->{place}/repo";
    $c->{common} = $c->{gitdir} = "$c->{dir}/.git";
    $c->{index} = "$c->{gitdir}/index";
    make_path($c->{dir});
    init($c);
    write_file($c, new_name($c)) for 1 .. 6 + rand 22;
    for (@items) {
        my $before = $ITEM{$_}{before} or next;
        $before->($c) or delete $c->{items}{$_};
    }
    write_config($c);
    write_file($c, '.gitattributes', join '', map { "$_\n" } @{ $c->{attributes} }) if @{ $c->{attributes} };
    write_file($c, '.gitignore', join '', map { "$_\n" } @{ $c->{ignores} }) if @{ $c->{ignores} };
    if (!$c->{items}{'unborn-head'} || chance(0.6)) {
        git($c, 'add', '-A');
    }
    if (!$c->{items}{'unborn-head'}) {
        git($c, 'commit', '-q', '--allow-empty', '-m', 'base');
        if (chance(0.3)) { # staged and committed are not the same
            changes($c, 3);
            # What git cannot convert it may refuse as a whole.
            run({ dir => $c->{dir} }, 'git', 'add', '-A', '--ignore-errors');
        }
    }
    link_worktree($c) if $c->{items}{'linked-worktree'};
    if ($c->{items}{'index-file'}) {
        # Relative to the top of the work tree, where we run.
        my $name = pick('.git/other-index', "$c->{place}/outside-index");
        $c->{index} = $name =~ m{^/} ? $name : "$c->{dir}/$name";
        rename "$c->{gitdir}/index", $c->{index} or $c->{items}{'index-file'} = 0;
        $ENV{GIT_INDEX_FILE} = $name;
        delete $c->{items}{subdirectory} unless $name =~ m{^/};
        delete $c->{items}{'index-file'} unless $c->{items}{'index-file'};
    }
    for (sort keys %{ $c->{items} }) {
        my $after = $ITEM{$_}{after} or next;
        $after->($c) or delete $c->{items}{$_};
    }
}

sub link_worktree {
    my ($c) = @_;
    if ($c->{items}{'unborn-head'} || $c->{subs}) {
        delete $c->{items}{'linked-worktree'};
        return;
    }
    my $to = "$c->{place}/linked";
    if (!try_git($c, 'worktree', 'add', '-q', chance(0.5) ? ('-b', 'topic/x') : '--detach', $to)) {
        delete $c->{items}{'linked-worktree'};
        return;
    }
    $c->{dir} = $to;
    $c->{gitdir} = "$c->{common}/worktrees/linked";
    $c->{index} = "$c->{gitdir}/index";
}

# ---- git's answer --------------------------------------------------------------

# The tree that git would write; objects go to a place of their own, so that
# ours cannot lean on them.
sub scratch {
    my ($c) = @_;
    my $scratch = "$c->{place}/scratch";
    remove_tree($scratch) if -e $scratch;
    make_path("$scratch/objects");
    return $scratch;
}

sub private_env {
    my ($c, $scratch) = @_;
    return {
        %{ $c->{env} || {} },
        GIT_INDEX_FILE                   => "$scratch/index",
        GIT_OBJECT_DIRECTORY             => "$scratch/objects",
        GIT_ALTERNATE_OBJECT_DIRECTORIES => "$c->{common}/objects",
    };
}

# Where a .gitattributes of the index is no file in the work tree any more, git
# goes by the index: its answer to `add -A` depends on whether it converts the
# first file before or after it takes the .gitattributes out, which depends on how
# the names sort and on which files are racy. A path save has one answer: the
# .gitattributes go first.
sub settle_attributes {
    my ($c, $env, @sparse) = @_;
    my $spec = ':(top,glob)**/.gitattributes';
    my @gone = grep { my $f = "$c->{dir}/$_"; -l $f || !-f _ }
        split /\0/, git($c, { env => $env }, 'ls-files', '-z', '--full-name', '--cached', '--', $spec);
    return unless @gone;
    my $mtime = (stat $env->{GIT_INDEX_FILE})[9];
    run({ dir => $c->{dir}, env => $env }, 'git', 'add', '-u', '--ignore-errors', @sparse, '--', $spec);
    utime $mtime, $mtime, $env->{GIT_INDEX_FILE};    # git compares whole seconds
}

# how: `paths`, of a path save; `back`, with an index so many seconds older.
sub expected {
    my ($c, %how) = @_;
    my $scratch = scratch($c);
    my $env = private_env($c, $scratch);
    my @sparse = (grep { /^sparse-/ } keys %{ $c->{items} }) ? ('--sparse') : ();
    my $copy = sub {
        unlink "$scratch/index";
        return unless -e $c->{index};
        my ($status) = run({}, 'cp', '-p', $c->{index}, "$scratch/index");
        die 'copy of the index' if $status;
        if ($how{back}) {
            my $mtime = (stat "$scratch/index")[9] - $how{back};
            utime $mtime, $mtime, "$scratch/index";
        }
        settle_attributes($c, $env, @sparse) if $how{paths};
    };
    $copy->();
    my ($status, $out, $err) = run({ dir => $c->{dir}, env => $env }, 'git', 'add', '-A', @sparse);
    if ($status) {
        $copy->();
        ($status, $out, $err) = run({ dir => $c->{dir}, env => $env }, 'git', 'add', '-A', '--ignore-errors', @sparse);
        return (undef, "git add -A: $err") if $status > 1;
        $c->{git_skipped} = 1;
    }
    ($status, $out, $err) = run({ dir => $c->{dir}, env => $env }, 'git', 'write-tree');
    return (undef, "git write-tree: $err") if $status;
    chomp $out;
    return ($out, '');
}

# The files of a tree that pathspecs match.
sub names {
    my ($c, $tree, @specs) = @_;
    my $env = { %{ private_env($c, "$c->{place}/scratch") }, GIT_INDEX_FILE => "$c->{place}/scratch/names" };
    unlink $env->{GIT_INDEX_FILE};
    # Only names matter, and a .gitmodules that is a link is refused.
    my $in = join '', map { s/^120000/100644/r . "\0" } entries($c, $env, $tree);
    git($c, { env => $env, in => $in }, 'update-index', '-z', '--index-info');
    return split /\0/, git($c, { env => $env }, 'ls-files', '-z', '--', @specs);
}

sub entries {
    my ($c, $env, $tree) = @_;
    return split /\0/, git($c, { env => $env }, 'ls-tree', '-r', '-z', '--full-tree', $tree);
}

# The last checkpoint's tree with the named paths as in the full one. What could
# not be recorded, and is in the list of that, is as it was.
sub expected_paths {
    my ($c, $full, $last, $skipped, @paths) = @_;
    my $env = private_env($c, "$c->{place}/scratch");
    my $under = sub {
        my ($path) = @_;
        for (@paths) { return 1 if $path eq $_ || index($path, "$_/") == 0 }
        return 0;
    };
    if (grep { is_magic($_) } @paths) {
        my %named = map { $_ => 1 } map { names($c, $_, @paths) } $full, $last;
        $under = sub { $named{ $_[0] } };
    }
    # A folder that is ignored, and in which nothing is tracked any more, is left out whole.
    my $left_out = sub {
        my ($path) = @_;
        do { return 1 if defined $skipped->{$path} } while ($path =~ s{/[^/]*$}{}s);
        return 0;
    };
    my %tree;
    for (entries($c, $env, $last)) {
        my ($info, $path) = split /\t/, $_, 2;
        $tree{$path} = $info if !$under->($path) || $left_out->($path);
    }
    for (entries($c, $env, $full)) {
        my ($info, $path) = split /\t/, $_, 2;
        next if !$under->($path) || (defined $skipped->{$path} && $info !~ /^160000/);
        # What stood in its way is gone.
        my $dir = $path;
        while ($dir =~ s{/[^/]*$}{}s) { delete $tree{$dir} }
        for (grep { index($_, "$path/") == 0 } keys %tree) { delete $tree{$_} }
        $tree{$path} = $info;
    }
    return make_tree($c, $env, '', map { [$_, $tree{$_}] } sort keys %tree);
}

# By mktree: update-index has its own mind about names, such as a .gitmodules that
# is a link, which git keeps where it was tracked before.
sub make_tree {
    my ($c, $env, $below, @entries) = @_;
    my (%dirs, $in);
    $in = '';
    for (@entries) {
        my ($path, $info) = @$_;
        my $name = substr $path, length $below;
        if ($name =~ m{^([^/]*)/}s) { push @{ $dirs{$1} }, $_ }
        else { $in .= "$info\t$name\0" }
    }
    for (sort keys %dirs) {
        $in .= '040000 tree ' . make_tree($c, $env, "$below$_/", @{ $dirs{$_} }) . "\t$_\0";
    }
    my $tree = git($c, { env => $env, in => $in }, 'mktree', '-z', '--missing');
    chomp $tree;
    return $tree;
}

# ---- ours ----------------------------------------------------------------------

my (%seen, %pair, %engine, %row, %problem);
my ($saves, $done, $failures, $rig_failures, $path_saves, $edges) = (0) x 6;

# All that must not change (D11).
sub state_of {
    my ($c) = @_;
    my @out;
    for my $path ($c->{index}, map { "$c->{gitdir}/$_" } qw(HEAD logs/HEAD ORIG_HEAD config.worktree)) {
        my @st = lstat $path;
        push @out, @st ? "$path @st[1,2,7,9] " . slurp($path) : "$path -";
    }
    push @out, slurp("$c->{common}/config"), slurp("$c->{common}/packed-refs") // '-';
    my @todo = ("$c->{common}/refs");
    while (defined(my $dir = shift @todo)) {
        opendir my $dh, $dir or next;
        for (sort grep { !/^\.\.?$/ && !/^shadow/ } readdir $dh) {
            -d "$dir/$_" ? push @todo, "$dir/$_" : push @out, "$dir/$_ " . slurp("$dir/$_");
        }
    }
    @todo = ($c->{dir});
    while (defined(my $dir = shift @todo)) {
        opendir my $dh, $dir or next;
        for (sort grep { !/^\.\.?$/ } readdir $dh) {
            next if $_ eq '.git' && $dir eq $c->{dir};
            my $path = "$dir/$_";
            my @st = Time::HiRes::lstat($path);
            my $type = $st[2] & S_IFMT;
            push @out, "$path @st[1,2,3,7] " . ($type == S_IFDIR && -e "$dir/.git" ? '' : $st[9])
                . ($type == S_IFLNK ? readlink $path : $type == S_IFREG && $st[7] < 1e5 ? slurp($path) : '');
            push @todo, $path if $type == S_IFDIR && $_ ne '.git';
        }
    }
    return \@out;
}

sub naive_save {
    my ($c) = @_;
    my $env = { GIT_INDEX_FILE => "$c->{place}/naive-index", %{ $c->{env} || {} } };
    unlink "$c->{place}/naive-index";
    run({ dir => $c->{dir}, env => $env }, 'git', 'add', '-A', '--ignore-errors');
    my ($status, $out) = run({ dir => $c->{dir}, env => $env }, 'git', 'write-tree');
    chomp $out;
    return { tree => $out, engine => 'naive', skipped => [] };
}

sub save { # (record, problem)
    my ($c, @args) = @_;
    return (naive_save($c), '') if $opt{naive};
    my $dir = $c->{dir};
    if ($c->{items}{subdirectory} && !@args) {
        my @d = grep { -d "$c->{dir}/$_" && !-l "$c->{dir}/$_" } dirs($c);
        $dir .= '/' . pick(@d) if @d;
    }
    my ($status, $out, $err) = run({ dir => $dir, env => $c->{env} }, $command, 'save', '--json', '-v', @args);
    $saves++;
    return (undef, "save ended with status $status: $err") if $status;
    my $record = eval { $json->decode((grep { /\S/ } split /\n/, $out)[-1] // '') };
    return (undef, "no JSON line in: $out") unless $record && $record->{tree};
    $record->{stderr} = $err;
    return ($record, '');
}

sub skipped_paths {
    my ($record) = @_;
    my %out;
    for (@{ $record->{skipped} || [] }) {
        my $path = defined $_->{path_b64} ? decode_base64($_->{path_b64}) : $_->{path};
        utf8::encode($path) if utf8::is_utf8($path);
        $path =~ s{/$}{};
        $out{$path} = $_->{reason} // '';
    }
    return \%out;
}

# The items whose row in the table of what libgit2 gets wrong is sure to apply.
sub must_be_git {
    my ($c) = @_;
    return map { $ITEM{$_}{row} } grep {
        /^(sha256|sparse-index|worktree-config|partial-clone)$/
            || ($_ eq 'split-index' && index_is_split($c))
    } sort keys %{ $c->{items} };
}

sub index_is_split {
    my ($c) = @_;
    return (slurp($c->{index}) // '') =~ /link\0\0\0/;
}

sub count_engine {
    my ($c, $record) = @_;
    my $engine = $record->{engine} // '?';
    $engine{$engine}++;
    if ($engine eq 'git') {
        my $why = $record->{engine_reason};
        ($why) = $record->{stderr} =~ /engine:? git[ :(]+([^)\n]*)/ unless defined $why;
        $row{ $why // '?' }++;
    } elsif ($engine eq 'native' && $opt{engine} eq 'auto') {
        my @rows = must_be_git($c);
        return "engine is native in a repository with: @rows" if @rows;
    }
    return '';
}

# One save, compared. Returns what is wrong, '' when nothing is.
sub round {
    my ($c, $number) = @_;
    my @paths = $number > 1 && chance(0.5) ? choose_paths($c) : ();
    my $before = state_of($c);
    my ($record, $problem) = save($c, @paths ? ('--', @paths) : ());
    my $after = state_of($c);
    if ($problem =~ /native engine cannot be forced/) {
        $engine{refused}++;
        return '';
    }
    if ($problem =~ /is empty but HEAD has files/ && !tracked($c)) {
        $problem{'nothing in the index: refused'}++; # as the contract says
        return '';
    }
    for my $i (0 .. ($#$before > $#$after ? $#$before : $#$after)) {
        my ($x, $y) = ($before->[$i] // 'nothing', $after->[$i] // 'nothing');
        return 'D11: save changed ' . (split /\n/, $x)[0] . ' to ' . (split /\n/, $y)[0] if $x ne $y;
    }
    my $head = head_of($c);
    my $partial = @paths && defined $c->{last} && $c->{last_head} eq $head;
    my ($want, $why) = expected($c, paths => $partial);
    return $problem if $problem && defined $want;
    if (!defined $want) {
        # git itself gives up here: nothing to compare with.
        return "git fails and so did we, with the wrong status: $problem"
            if $problem && $problem !~ /status 128/;
        $problem{$why =~ /^(.*)/ ? $1 : $why}++;
        return '';
    }
    if ($partial) {
        $path_saves++;
        $want = expected_paths($c, $want, $c->{last}, skipped_paths($record), @paths);
    }
    my $engine = count_engine($c, $record);
    return $engine if $engine;
    if ($record->{tree} ne $want && more_careful($c, $record, $want, $partial, @paths)) {
        $edges++;
    } elsif ($record->{tree} ne $want) {
        my $env = private_env($c, "$c->{place}/scratch");
        my (undef, $diff) = run({ dir => $c->{dir}, env => $env }, 'git', 'diff-tree', '-r', '--no-renames', $want, $record->{tree});
        return "tree $record->{tree}, git's is $want (engine $record->{engine})"
            . (@paths ? ', paths ' . join ' ', map { "'$_'" } @paths : '') . ", git's against ours:\n$diff";
    }
    if (!$opt{naive} && !@paths) {
        my $skipped = skipped_paths($record);
        for (sort keys %{ $c->{skips} }) {
            my $full = "$c->{dir}/$_";
            next if !-e $full || defined $skipped->{$_};
            next if try_git($c, 'check-ignore', '-q', '--', $_) || beyond_link($c, $_);
            return "'$_' was left out and is not in the list of skipped paths";
        }
        return 'git could not record a path, and nothing is listed as skipped'
            if delete $c->{git_skipped} && !%$skipped;
    }
    $c->{last} = $record->{tree};
    $c->{last_head} = $head;
    $c->{tip} = $record->{commit};
    return '';
}

# git reads (and so converts anew) a file whose entry is as old as the index, in
# whole seconds. We do the same, and go further where a clock's tick or a file
# system's whole seconds could hide an edit: where attributes changed meanwhile, the
# new conversion shows, and git is the one that keeps the old one for this save.
# Right is then what git says when its index is two seconds older.
sub more_careful {
    my ($c, $record, $want, $partial, @paths) = @_;
    my $env = private_env($c, "$c->{place}/scratch");
    my %plain = map { reverse split /\t/, $_, 2 } entries($c, $env, $want);
    my %ours = map { reverse split /\t/, $_, 2 } entries($c, $env, $record->{tree});
    my ($careful) = expected($c, paths => $partial, back => 2);
    return 0 unless defined $careful;
    $careful = expected_paths($c, $careful, $c->{last}, skipped_paths($record), @paths) if $partial;
    my %careful = map { reverse split /\t/, $_, 2 } entries($c, $env, $careful);
    for (keys %plain, keys %ours) {
        my ($x, $y, $z) = map { $_ // '' } $plain{$_}, $careful{$_}, $ours{$_};
        return 0 if $z ne $x && $z ne $y;
    }
    return 1;
}

sub beyond_link {
    my ($c, $path) = @_;
    while ($path =~ s{/[^/]*$}{}s) { return 1 if -l "$c->{dir}/$path" }
    return 0;
}

# More than paths: only git knows what they match.
my @SPECS = ('*.txt', '*.c', 'src/*', '*a*', ':(glob)**/*.md', ':(glob)src/**', ':(glob)*', ':(icase)README*', '?',
             '[a-m]*', ':/', ':(top)src', ':(exclude)*.c', ':!src', ':^[a-c]*');

sub is_magic { return $_[0] =~ /^:|[*?[]/ }

sub choose_specs {
    my ($c) = @_;
    my @can = some(1 + rand 3, @SPECS);
    return grep { git($c, 'ls-files', '-z', '--cached', '--others', '--', $_) ne '' || names($c, $c->{last}, $_) } @can;
}

# Paths for a path save: things that a session may have written just now.
sub choose_paths {
    my ($c) = @_;
    return unless defined $c->{last};
    return choose_specs($c) if chance(0.25);
    my $plain = qr{^(?!-)[A-Za-z0-9._/-]+$};
    my $scratch = { env => private_env($c, "$c->{place}/scratch") };
    my %kept = map { $_ => 1 } grep { /$plain/ && !m{(^|/)\.git} }
        split /\0/, git($c, $scratch, 'ls-tree', '-r', '-z', '--name-only', '--full-tree', $c->{last});
    my %tracked = map { $_ => 1 } tracked($c);
    # Files that are there and not ignored, and those that the checkpoint had.
    my @can = (sort(keys %kept), grep { $tracked{$_} && /$plain/ && !m{(^|/)\.git} } files($c));
    push @can, grep { /$plain/ && !m{(^|/)\.git} && !has_repository("$c->{dir}/$_") } dirs($c) if chance(0.3);
    my %seen;
    @can = sort grep { !$seen{$_}++ && !beyond_link($c, $_) } @can;
    return some(1 + rand 3, @can);
}

sub head_of {
    my ($c) = @_;
    my $head = slurp("$c->{gitdir}/HEAD");
    chomp $head;
    return $head unless $head =~ s/^ref: //;
    my $value = slurp("$c->{common}/$head") // 'unborn';
    chomp $value;
    return "$head $value";
}

sub connected {
    my ($c) = @_;
    return '' if $opt{naive} || !$c->{tip};
    my ($status, $out, $err) = run({ dir => $c->{dir} }, 'git', 'rev-list', '--objects', '--quiet', $c->{tip});
    return "an object of the checkpoint is missing: $err" if $status;
    if ($opt{'fsck-every'} && $c->{number} % $opt{'fsck-every'} == 0) {
        ($status, $out, $err) = run({ dir => $c->{dir} }, 'git', 'fsck', '--strict', '--connectivity-only', '--no-dangling', '--no-progress');
        return "git fsck: $out$err" if $status;
    }
    return '';
}

# ---- a case --------------------------------------------------------------------

my @ALL = grep { $_ ne 'reftable' } sort keys %ITEM;

sub choose_items {
    my @forced = @{ $opt{only} || [] };
    # Half of the cases keep to what the native engine is for.
    my $native = chance(0.5);
    my %items;
    for my $name (some(scalar @ALL, @ALL)) {
        my $p = $ITEM{$name}{row} ? ($native ? 0 : 0.16) : 0.12;
        $items{$name} = 1 if chance($p);
    }
    $items{$_} = 1 for @forced;
    for my $set (@EXCLUSIVE) {
        my @both = grep { $items{$_} } @$set;
        my ($keep) = grep { my $n = $_; grep { $n eq $_ } @forced } @both;
        $keep = pick(@both) if @both && !defined $keep;
        for (@both) { delete $items{$_} if $_ ne $keep }
    }
    return \%items;
}

sub one_case {
    my ($number) = @_;
    srand(($seed * 1000003 + $number * 7919) & 0x7fffffff);
    my $c = { number => $number, place => "$root/case-$number", story => [] };
    $c->{items} = choose_items();
    delete $ENV{GIT_INDEX_FILE};
    make_path($c->{place});
    my $problem = eval {
        build($c);
        changes($c, 1 + rand 6);
        for (some(100, sort keys %{ $c->{items} })) {
            my $then = $ITEM{$_}{then} or next;
            push @{ $c->{story} }, "[$_]";
            $then->($c) or delete $c->{items}{$_};
        }
        my $p = round($c, 1);
        if (!$p && chance(0.6)) {
            push @{ $c->{story} }, '| second save';
            if (chance(0.2) && !$c->{items}{'unborn-head'}) {
                push @{ $c->{story} }, '| commit';
                try_git($c, 'commit', '-q', '-a', '-m', 'second') if chance(0.7);
                try_git($c, 'commit', '-q', '--allow-empty', '-m', 'empty') if chance(0.3);
            }
            changes($c, rand 5);
            # A file that differed before and differs again, as long and as old.
            for (some(2, @{ $c->{racy} || [] })) {
                my $path = "$c->{dir}/$_";
                my @st = lstat $path or next;
                # An index that was written since would make git itself miss it.
                my @index = lstat $c->{index};
                next unless S_ISREG($st[2]) && @index && $index[9] <= $st[9];
                same_size_edit($path);
                utime $st[8], $st[9], $path;
            }
            $p = round($c, 2);
        }
        $p ||= connected($c);
        $p;
    };
    if ($@) { # the case could not be built: never a difference, always a failure
        $problem = "rig: $@";
        $rig_failures++;
    }
    delete $ENV{GIT_INDEX_FILE};
    $done++;
    my @items = sort keys %{ $c->{items} };
    for my $i (0 .. $#items) {
        $seen{ $items[$i] }++;
        $pair{"$items[$i] $items[$_]"}++ for $i + 1 .. $#items;
    }
    if ($problem) {
        $failures++;
        chomp $problem;
        print "# case $number (--seed $seed --case $number): $problem\n# items: @items\n# changes: @{ $c->{story} }\n" =~ s/\n(?=[^#])/\n#   /gr
            unless ($opt{naive} && $problem !~ /^rig/) || $failures > $opt{show};
        print "# ... and case $number\n" if $failures > $opt{show} && !$opt{naive};
        if ($opt{keep}) {
            print "# kept in $c->{place}\n";
            return;
        }
    } elsif ($opt{verbose}) {
        print "# case $number: @items: fine\n# changes: @{ $c->{story} }\n";
    }
    run({}, 'chmod', '-R', 'u+rwX', $c->{place}) if $> != 0;
    run({}, 'rm', '-rf', $c->{place});
    unlink "$root/home/excludes-$number";
}

# ---- the account ---------------------------------------------------------------

sub print_pairs {
    my @names = grep { $seen{$_} } @ALL;
    print "# pairs (columns are the numbered items):\n";
    for my $i (0 .. $#names) {
        my $row = join ' ', map { sprintf '%3d', $pair{"$names[$_] $names[$i]"} || 0 } 0 .. $i - 1;
        printf "# %2d %-22s %4d %s\n", $i + 1, $names[$i], $seen{ $names[$i] }, $row ? "| $row" : '';
    }
}

sub summary {
    my ($elapsed) = @_;
    my $n = $done || 1;
    printf "# note: seed %d: %d cases, %d saves (%d of named paths), %d different, %.0f ms a case\n",
        $seed, $done, $saves, $path_saves, $failures, 1000 * $elapsed / $n;
    printf "# note: %d saves were more careful than git about entries as old as the index\n", $edges if $edges;
    printf "# note: engines: %s\n", join ', ', map { "$_ $engine{$_}" } sort keys %engine;
    printf "# rows: %s\n", join ', ', map { "$_ $row{$_}" } sort keys %row if %row;
    printf "# git itself failed: %s (%d)\n", $_, $problem{$_} for sort keys %problem;
    print_pairs();
}

if ($opt{list}) {
    print "$_\n" for @ALL;
    exit 0;
}
for (@{ $opt{only} || [] }) {
    next if $ITEM{$_};
    print STDERR "differential.pl: no item '$_' (see --list)\n";
    exit 129;
}
if (!$opt{naive} && !(grep { -x } map { $command =~ m{/} ? $command : "$_/$command" } split /:/, $ENV{PATH})) {
    print STDERR "differential.pl: there is no '$command'\n";
    exit 128;
}
$| = 1;
my $stop = 0;
$SIG{INT} = $SIG{TERM} = sub { $stop = 1 };
print "# seed $seed, git $git_version, command $command\n";

# With --tap the naive answer is judged first, so that a green run means something.
my $told = 0;
if ($opt{tap}) {
    local $opt{naive} = 1;
    one_case(1000000 + $_) for 1 .. 25;
    $told = $failures - $rig_failures;
    print "# note: a tree from an empty index was found wrong in $told of 25 cases\n";
    ($saves, $done, $failures, $path_saves, $edges) = (0, 0, $rig_failures, 0, 0);
    %$_ = () for \%seen, \%pair, \%engine, \%row, \%problem;
}

my $start = time;
if (defined $opt{case}) {
    $opt{verbose} = 1;
    one_case($opt{case});
} else {
    for (my $i = 1; !$stop && (!$opt{cases} || $i <= $opt{cases}); $i++) {
        one_case($i);
        last if $failures && $opt{stop};
    }
}
summary(time - $start);
my @rare;
if (!defined $opt{case} && !$opt{only}) {
    my $min = $opt{'min-per-item'} // int($done * 0.02);
    @rare = grep { ($seen{$_} || 0) < $min } @ALL;
    print "# fewer than $min times: @rare\n" if @rare;
}
# A naive answer must be told from git's.
my $different = $opt{naive} ? $failures == $rig_failures || $rig_failures : $failures > 0;
if ($opt{tap}) {
    print "1..3\n";
    printf "%s 1 D12: the tree is the one that git writes\n", $different ? 'not ok' : 'ok';
    printf "%s 2 D12: every item occurred\n", @rare ? 'not ok' : 'ok';
    printf "%s 3 D12: a naive tree is told from git's\n", $told ? 'ok' : 'not ok';
}
chdir '/';
if ($failures && $opt{keep}) { print "# kept in $root\n" }
else { run({}, 'rm', '-rf', $root) }
exit($different || @rare || !$done || ($opt{tap} && !$told) ? 1 : 0);
