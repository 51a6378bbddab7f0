#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# wake.pl <rounds>: milliseconds from a holder's SIGKILL to the moment in which the
# waiter has its slot, one line a round.
use strict;
use warnings;
use Time::HiRes qw(time sleep);

my ($rounds) = @ARGV;

# Starts a claim that holds; gives its pid, and its standard output and error.
sub start_claim {
    pipe my $in_r,  my $in_w  or die;
    pipe my $out_r, my $out_w or die;
    pipe my $err_r, my $err_w or die;
    my $pid = fork;
    if (!$pid) {
        open STDIN,  '<&', $in_r  or die;
        open STDOUT, '>&', $out_w or die;
        open STDERR, '>&', $err_w or die;
        close $_ for $in_w, $out_r, $err_r;
        exec 'git-worktree-claim', '--max', 1, '--timeout', '60s', '--hold' or die;
    }
    close $_ for $in_r, $out_w, $err_w;
    return { pid => $pid, in => $in_w, out => $out_r, err => $err_r };
}

my $holder = start_claim();
readline $holder->{out} or die "no slot\n";
for (1 .. $rounds) {
    my $waiter = start_claim();
    while (my $line = readline $waiter->{err}) { last if $line =~ /^waiting/ }
    sleep 0.01;    # it says so just before it waits
    my $start = time;
    kill KILL => $holder->{pid};
    readline $waiter->{out} or die "the waiter got nothing\n";
    printf "%.3f\n", (time - $start) * 1000;
    waitpid $holder->{pid}, 0;
    $holder = $waiter;
}
close $holder->{in};
waitpid $holder->{pid}, 0;
