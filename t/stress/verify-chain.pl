#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# verify-chain.pl: is everything that was acknowledged there, and right?
#
#   verify-chain.pl [--ordered] <refs> <log> <acknowledgements>...
#
# Runs in the repository. <refs> is a prefix ("refs/shadow"), <log> a file with
# the lines of `git shadow-commit log --json`, or "-" for none. A line of an
# acknowledgement file is "session number commit": that session was told that
# its file <session>.txt, which held "session number", is in that checkpoint. A
# number of "-" claims only that the commit is reachable.
#
# D1: every acknowledged commit is reachable, and in the log exactly once. D2:
# it holds its session's own number. --ordered, D4: along the chain no session's
# number goes back (right for saves of single paths, which build on the tip).
#
# Prints "acknowledged A, reachable R, lost L, wrong W, backward B".
use strict;
use warnings;
use IPC::Open2;

my $ordered = @ARGV && $ARGV[0] eq '--ordered' ? shift @ARGV : '';
my ($prefix, $log_file, @ack_files) = @ARGV;
die "usage\n" unless @ack_files;

my @acks;
for my $file (@ack_files) {
    open my $fh, '<', $file or die "$file: $!";
    while (<$fh>) { push @acks, [split] if /\S/ }
}

# What the refs reach, newest first along each chain.
my @tips = map { (split)[0] } grep { /^[0-9a-f]+ \Q$prefix\E/ } `git for-each-ref --format='%(objectname) %(refname)'`;
my (%reachable, @order);
if (@tips) {
    open my $rev, '-|', 'git', 'rev-list', '--topo-order', @tips or die;
    while (<$rev>) { chomp; $reachable{$_} = 1; push @order, $_ }
    close $rev or die "git rev-list failed\n";
}

my %logged;
if ($log_file ne '-') {
    open my $fh, '<', $log_file or die "$log_file: $!";
    my @lines = <$fh>;
    @order = ();
    for (@lines) {
        /"commit":\s*"([0-9a-f]+)"/ or die "no commit in: $_";
        $logged{$1}++;
        push @order, $1;
    }
}

# One process reads all objects: trees raw, so that each is one request.
my $pid = open2(my $from, my $to, 'git', 'cat-file', '--batch');
binmode $from;
sub object {
    my ($name) = @_;
    print $to "$name\n";
    my $head = <$from>;
    return undef unless $head =~ /^([0-9a-f]+) (\w+) (\d+)$/;
    my ($size, $data) = $3;
    read $from, $data, $size + 1;
    chop $data;
    return $data;
}
my $width = @acks ? length($acks[0][2]) / 2 : 20;
my %blob;
sub files { # "session" => number, of a commit
    my ($commit) = @_;
    my $data = object("$commit^{tree}");
    return undef unless defined $data;
    my %out;
    while ($data =~ /\G(\d+) ([^\0]+)\0(.{$width})/gs) {
        my ($name, $id) = ($2, unpack 'H*', $3);
        next unless $name =~ s/\.txt$//;
        $blob{$id} //= object($id) // 'missing';
        $out{$name} = $1 if $blob{$id} =~ /^\Q$name\E (\d+)$/;
    }
    return \%out;
}

my ($lost, $wrong, $backward, $reached) = (0, 0, 0, 0);
my %acked;
for (@acks) {
    my ($session, $number, $commit) = @$_;
    if (!$reachable{$commit}) {
        $lost++;
        print STDERR "lost: $session $number $commit\n" if $lost <= 5;
        next;
    }
    $reached++;
    next if $number eq '-';
    if ($acked{$commit}++) {
        $wrong++;
        print STDERR "acknowledged twice: $session $number $commit\n";
    }
    if ($log_file ne '-' && ($logged{$commit} || 0) != 1) {
        $wrong++;
        printf STDERR "in the log %d times: %s %s %s\n", $logged{$commit} || 0, $session, $number, $commit;
    }
    my $files = files($commit);
    if (!$files || ($files->{$session} // -1) ne $number) {
        $wrong++;
        printf STDERR "%s %s %s holds %s\n", $session, $number, $commit, $files ? $files->{$session} // 'nothing' : 'no tree';
    }
}
if ($ordered) {
    my %last;
    for my $commit (reverse @order) {
        my $files = files($commit) or next;
        for (grep { /^s\d+$/ } keys %last) {
            next if defined $files->{$_} && $files->{$_} >= $last{$_};
            # The fixed commit at which a segment starts is empty.
            next if !%$files;
            $backward++;
            printf STDERR "backward: %s went from %s to %s in %s\n", $_, $last{$_}, $files->{$_} // 'nothing', $commit
                if $backward <= 5;
        }
        $last{$_} = $files->{$_} for keys %$files;
    }
}
close $to;
waitpid $pid, 0;
printf "acknowledged %d, reachable %d, lost %d, wrong %d, backward %d\n", scalar @acks, $reached, $lost, $wrong, $backward;
exit($lost || $wrong || $backward || !@acks ? 1 : 0);
