#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# agent.pl [--pipes] [--close] <command>: a coding agent, as far as its hooks and its tools go.
#
# Reads lines, and answers each with "<status> <last line of its output that is not empty>":
#
#	hook <file>		starts <command> with a shell, as agents do, with what the file
#				holds on its standard input, and waits until its output ends
#	tool <dir> <words>	runs the words with a shell there
#	leave <dir> <words>	the same in the background, with no stream of ours
#
# The streams of a hook are socketpairs, as Node makes them, or pipes (--pipes). Its
# input stays open until it has ended, unless --close is given.
use strict;
use warnings;
use Socket;

my ($pipes, $close) = (0, 0);
while (@ARGV && $ARGV[0] =~ /^--(pipes|close)$/) {
    $pipes = 1 if $1 eq 'pipes';
    $close = 1 if $1 eq 'close';
    shift @ARGV;
}
my $command = shift @ARGV or die "usage: agent.pl [--pipes] [--close] <command>\n";
$| = 1;
$SIG{PIPE} = 'IGNORE';

# One stream: what we keep, and what the child gets.
sub stream {
    my ($child_reads) = @_;
    my ($ours, $theirs);
    if (!$pipes) {
        socketpair($ours, $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!\n";
    } elsif ($child_reads) {
        pipe($theirs, $ours) or die "pipe: $!\n";
    } else {
        pipe($ours, $theirs) or die "pipe: $!\n";
    }
    return ($ours, $theirs);
}

sub hook {
    my ($file) = @_;
    open(my $json, '<', $file) or die "$file: $!\n";
    my $text = do { local $/; <$json> };
    my ($in, $child_in) = stream(1);
    my ($out, $child_out) = stream(0);
    my ($err, $child_err) = stream(0);
    my $pid = fork() // die "fork: $!\n";
    if (!$pid) {
        open(STDIN, '<&', $child_in) && open(STDOUT, '>&', $child_out) &&
            open(STDERR, '>&', $child_err) or exit 126;
        exec('sh', '-c', $command) or exit 127;
    }
    close($_) for $child_in, $child_out, $child_err;
    syswrite($in, $text);
    if ($close) {
        $pipes ? close($in) : shutdown($in, 1);
    }
    my ($said, $talk) = ('', '');
    while (sysread($out, $said, 4096, length $said)) { }
    while (sysread($err, $talk, 4096, length $talk)) { }
    waitpid($pid, 0);
    print STDERR $talk;
    return ($?, $said);
}

sub tool {
    my ($dir, $words) = @_;
    my $pid = open(my $out, '-|') // die "fork: $!\n";
    if (!$pid) {
        open(STDIN, '<', '/dev/null');
        chdir($dir) or exit 125;
        exec('sh', '-c', $words) or exit 127;
    }
    my $said = do { local $/; <$out> } // '';
    close($out);
    return ($?, $said);
}

sub leave {
    my ($dir, $words) = @_;
    my $pid = fork() // die "fork: $!\n";
    return (0, $pid) if $pid;
    open(STDIN, '<', '/dev/null') && open(STDOUT, '>', '/dev/null') && open(STDERR, '>', '/dev/null');
    chdir($dir) or exit 125;
    exec('sh', '-c', $words) or exit 127;
}

while (my $line = <STDIN>) {
    chomp $line;
    my ($verb, $first, $rest) = split / /, $line, 3;
    my ($status, $said) =
          $verb eq 'hook' ? hook($first)
        : $verb eq 'tool' ? tool($first, $rest)
        :                   leave($first, $rest);
    my ($last) = grep { /\S/ } reverse split /\n/, $said;
    print $status >> 8 || ($status & 127 ? 128 + ($status & 127) : 0), ' ', $last // '', "\n";
}
