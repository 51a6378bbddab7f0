#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# A long-running filter in the manner of gitattributes(5): clean turns letters
# to upper case, smudge to lower case. One process serves many files.
use strict;
use warnings;
binmode STDIN;
binmode STDOUT;
$| = 1;

sub take {
    my ($n) = @_;
    my $data = '';
    while (length $data < $n) {
        my $got = sysread STDIN, $data, $n - length $data, length $data;
        exit 0 unless $got;
    }
    return $data;
}

sub packet { # undef at a flush
    my $len = hex take(4);
    return $len ? take($len - 4) : undef;
}

sub list {
    my @lines;
    while (defined(my $line = packet())) {
        chomp $line;
        push @lines, $line;
    }
    return @lines;
}

sub say_packets {
    my $out = join '', map { sprintf '%04x%s', length($_) + 4, $_ } @_;
    print $out, '0000';
}

list();
say_packets("git-filter-server\n", "version=2\n");
list();
say_packets("capability=clean\n", "capability=smudge\n");
while (1) {
    my %head = map { /^([^=]+)=(.*)$/s ? ($1 => $2) : () } list();
    my $data = '';
    while (defined(my $part = packet())) { $data .= $part }
    $data = $head{command} eq 'clean' ? uc $data : lc $data;
    say_packets("status=success\n");
    my @parts = $data =~ /(.{1,65000})/gs;
    say_packets(@parts);
    print '0000'; # the status did not change
}
