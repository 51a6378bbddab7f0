#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# ignore-cases.pl <mode> <walker> <seed> <cases>: random ignore rules and paths,
# judged by git and by us.
#
#   patterns   <cases> directories, each with one or two rules of its own, and
#              paths made to fit them or nearly so; git check-ignore judges
#   trees      <cases> working trees with rules at every place that git reads
#              them from; git ls-files and git check-ignore judge
#
# <walker> is test-ignore. The last line says what was compared. Exit 1 when one
# verdict differs, with what reproduces it.
use strict;
use warnings;
no warnings "newline"; # names end in one, on purpose
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);

my ($mode, $walker, $seed, $cases) = @ARGV;
die "usage: $0 patterns|trees <walker> <seed> <cases>\n" unless defined $cases;
srand($seed);

my $home = tempdir("interlock-ignore.XXXXXX", TMPDIR => 1, CLEANUP => 1);
delete $ENV{$_} for grep { /^(GIT|XDG)_/ } keys %ENV;
$ENV{HOME} = $home;
$ENV{GIT_CONFIG_NOSYSTEM} = 1;
$ENV{LC_ALL} = "C";
my $repo = "$home/repo";
my %count = (paths => 0, ignored => 0, doubtful => 0, differ => 0);

sub pick { return $_[int rand @_] }
sub chance { return rand() < $_[0] }
sub times_of { my ($low, $high) = @_; return $low + int rand($high - $low + 1) }

END { chdir "/" } # out of what File::Temp removes

# ---- making rules ----------------------------------------------------------------

my @letters = (split(/ /, q{a b c a b c a b x A Z 0 9 . - _ ~ ! # [ ] \\ * ? : ^}), " ", "\t", "\r",
	"\xc3\xa9", "\xff");
my @classes = qw(alnum alpha blank cntrl digit graph lower print punct space upper xdigit foo);

sub word { return join "", map { pick(qw(a b c a b c x .), pick(@letters)) } 1 .. times_of(1, 3) }

sub bracket {
	my $text = "[" . pick("", "", "", "!", "^");
	$text .= "]" if chance(0.1);
	for (1 .. times_of(1, 3)) {
		$text .= pick(
			sub { pick(qw(a b c x)) },
			sub { pick("a-c", "b-z", "0-9", "c-a", "A-Z", "a-", "-a", "!-~", "+--") },
			sub { "[:" . pick(@classes) . ":]" },
			sub { "\\" . pick(@letters) },
			sub { pick(@letters) },
			sub { pick("[:", "[:alpha", ":]", "/", "[", "\\]-a", "a-\\c", "[::]") },
		)->();
	}
	return $text . (chance(0.93) ? "]" : "");
}

sub glob_part {
	return pick(
		sub { word() }, sub { word() }, sub { word() },
		sub { "*" }, sub { "*" },
		sub { "?" },
		sub { bracket() },
		sub { "\\" . pick(@letters) },
		sub { chance(0.2) ? "**" : "*" },
	)->();
}

sub component {
	return chance(0.15) ? "**" . (chance(0.1) ? "*" : "")
		: join "", map { glob_part() } 1 .. times_of(1, 3);
}

sub rule {
	return pick("", "#" . word(), "!", "/", "//", "  ", "\\", "\0a", "**", "*", "**//", "\xef\xbb\xbfa")
		if chance(0.02);
	my $text = chance(0.12) ? "*." . word() : chance(0.12) ? word()
		: join pick(("/") x 9, "\\/"), map { component() } 1 .. pick(1, 1, 1, 2, 2, 3, 4);
	$text = "/$text" if chance(0.15);
	$text = "!$text" if chance(0.15);
	$text .= "/" if chance(0.15);
	$text .= pick(" ", "  ", "\\ ", "\\  ", "\t", "\r", " \t", "\\\\ ", "\r\r") if chance(0.08);
	return $text =~ s/\n//gr;
}

# ---- making paths that rules may match ---------------------------------------------

sub filler { return join "", map { pick(qw(a b c x), pick(@letters)) } 1 .. times_of(0, 2) }

sub from_bracket {
	my ($inside) = @_;
	return pick(qw(a b c x), split //, $inside) if chance(0.7);
	return pick(@letters, "\n");
}

sub instance {
	my ($rule) = @_;
	my $out = "";
	$rule =~ s/^!//;
	$rule =~ s{^/}{};
	$rule =~ s{/\z}{};
	$rule =~ s/ +$// if chance(0.7);
	while (length $rule) {
		if ($rule =~ s{^\*\*+/}{}) { $out .= pick("", "", "a/", "b/x/", filler() . "/") }
		elsif ($rule =~ s/^\*+//) { $out .= pick("", filler(), filler(), "a/b") }
		elsif ($rule =~ s/^\?//) { $out .= pick(@letters) }
		elsif ($rule =~ s/^\[[!^]?(\]?(?:\[:\w*:\]|\\.|[^\]])*)\]//s) { $out .= from_bracket($1) }
		elsif ($rule =~ s/^\\(.)//s) { $out .= $1 }
		else { $rule =~ s/^(.)//s; $out .= $1 }
	}
	return $out;
}

sub path_for {
	my ($rule) = @_;
	my $path = chance(0.9) ? instance($rule) : join "/", map { word() } 1 .. times_of(1, 3);
	if (chance(0.25) && length $path) {
		my $at = int rand length $path;
		substr($path, $at, pick(0, 1)) = pick("", pick(@letters), "/");
	}
	$path = pick("a/", "b/x/", word() . "/") . $path if chance(0.2);
	$path .= "/" . word() if chance(0.1);
	$path =~ tr/\0//d;
	my @parts = grep { length && $_ ne "." && $_ ne ".." && lc ne ".git" && $_ ne ".gitignore" }
		split m{/}, $path;
	return @parts && length "@parts" < 200 ? join "/", @parts : undef;
}

# ---- asking --------------------------------------------------------------------------

sub spew {
	my ($name, $text) = @_;
	open my $out, ">:raw", $name or die "write '$name': $!\n";
	print $out $text;
	close $out or die "write '$name': $!\n";
}

sub slurp {
	my ($name) = @_;
	open my $in, "<:raw", $name or return "";
	local $/;
	return scalar <$in>;
}

sub ask { # command with NUL-terminated paths on stdin
	my ($paths, @command) = @_;
	spew("$home/paths", join "", map { "$_\0" } @$paths);
	open my $saved, "<&", \*STDIN or die;
	open STDIN, "<", "$home/paths" or die;
	open my $from, "-|", @command or die "run $command[0]: $!\n";
	binmode $from;
	local $/;
	my $out = <$from>;
	close $from;
	my $status = $? >> 8;
	open STDIN, "<&", $saved or die;
	die "'@command' ended with status $status\n" if $status > 1;
	return $out;
}

sub ask_us {
	my ($paths) = @_;
	return split /\n/, ask($paths, $walker, "--walk", $repo, "$repo/.git", "$home/excludes");
}

sub ask_git {
	my ($paths) = @_;
	# git sees for itself what is a directory; "a/" would be an empty name in "a". The
	# "./" hides a leading colon from it.
	my @fields = split /\0/,
		ask([map { "./" . s{/\z}{}r } @$paths], qw(git check-ignore -v -n -z --no-index --stdin)), -1;
	my @verdicts;
	pop @fields;
	while (my ($source, $line, $rule, $path) = splice @fields, 0, 4) {
		push @verdicts, length $source && $rule !~ /^!/ ? 1 : 0;
	}
	return @verdicts;
}

sub show { return join "", map { /[!-~]/ ? $_ : sprintf "<%02x>", ord } split //, $_[0] }

sub rules_of {
	my ($path) = @_;
	my $text = "";
	my $dir = "";
	for my $name (split(m{/}, $path), "") {
		my $file = "$repo/$dir.gitignore";
		$text .= "    $dir.gitignore: " . show(slurp($file)) . "\n" if -f $file;
		$dir .= "$name/";
	}
	$text .= "    info/exclude: " . show(slurp("$repo/.git/info/exclude")) . "\n";
	return $text . "    excludes: " . show(slurp("$home/excludes")) . "\n";
}

sub compare {
	my ($paths, $us, $git) = @_;
	die "got " . @$us . " and " . @$git . " answers for " . @$paths . " paths\n"
		unless @$us == @$paths && @$git == @$paths;
	for my $i (0 .. $#$paths) {
		$count{paths}++;
		$count{ignored}++ if $git->[$i];
		if ($us->[$i] eq "?") {
			$count{doubtful}++;
		} elsif ($us->[$i] ne $git->[$i]) {
			next if $count{differ}++ > 10;
			print "seed $seed: '", show($paths->[$i]), "': git says $git->[$i], we say $us->[$i]\n",
				rules_of($paths->[$i]);
		}
	}
}

# ---- the two modes -------------------------------------------------------------------

sub fresh {
	chdir $home or die;
	remove_tree($repo);
	system(qw(git init -q), $repo) == 0 or die "git init failed\n";
	chdir $repo or die;
	system(qw(git config core.excludesFile), "$home/excludes") == 0 or die;
	spew("$home/excludes", "");
	make_path("$repo/.git/info");
	spew("$repo/.git/info/exclude", "");
}

sub patterns {
	my @paths;
	fresh();
	for my $n (1 .. $cases) {
		my @rules = map { rule() } 1 .. pick(1, 1, 1, 2);
		mkdir "$repo/d$n" or die;
		spew("$repo/d$n/.gitignore", join "", map { "$_\n" } @rules);
		push @paths, map { "d$n/$_" } grep { defined } map { path_for(pick(@rules)) } 1 .. 20;
	}
	compare(\@paths, [ask_us(\@paths)], [ask_git(\@paths)]);
}

sub rules_text {
	my ($names) = @_;
	my @rules = map {
		chance(0.5) ? rule() : pick("", "!") . pick("", "/", "**/") . pick(@$names) . pick("", "/", "/*")
	} 1 .. times_of(1, 8);
	return pick("", "", "", "\xef\xbb\xbf")
		. join(pick("\n", "\n", "\r\n"), @rules) . pick("", "\n", "\n", "\r");
}

sub tree {
	my @names = map { word() =~ s/^\.{1,2}\z/a/r } 1 .. 6;
	my (@dirs, @paths) = ("");
	fresh();
	for (1 .. 40) {
		my $path = pick(@dirs) . (chance(0.7) ? pick(@names) : path_for(rule()) // "a");
		next if $path =~ m{(^|/)\.\.?(/|\z)} || length $path > 200;
		(my $above = $path) =~ s{/?[^/]*\z}{};
		eval { make_path("$repo/$above"); 1 } or next;
		if (-e "$repo/$path") {
			next;
		} elsif (chance(0.35)) {
			mkdir "$repo/$path" or next;
			push @dirs, "$path/";
		} else {
			spew("$repo/$path", "x");
		}
	}
	for my $dir (@dirs) {
		spew("$repo/$dir.gitignore", rules_text(\@names)) if $dir eq "" || chance(0.5);
	}
	spew("$repo/.git/info/exclude", rules_text(\@names)) if chance(0.5);
	spew("$home/excludes", rules_text(\@names)) if chance(0.5);

	my @todo = ("");
	while (defined(my $dir = shift @todo)) {
		opendir my $handle, "$repo/$dir" or die;
		for my $name (grep { !/^\.\.?\z/ && ($dir ne "" || $_ ne ".git") } readdir $handle) {
			my $is_dir = -d "$repo/$dir$name";
			push @todo, "$dir$name/" if $is_dir;
			push @paths, "$dir$name" . ($is_dir ? "/" : "");
		}
	}
	my @us = ask_us(\@paths);
	compare(\@paths, \@us, [ask_git(\@paths)]);

	# What git would add: an independent way through git's rules.
	my %others = map { $_ => 1 } split /\0/, ask([], qw(git ls-files -o -z --exclude-standard));
	my @files = grep { $paths[$_] !~ m{/\z} } 0 .. $#paths;
	compare([@paths[@files]], [@us[@files]], [map { $others{$_} ? 0 : 1 } @paths[@files]]);
}

if ($mode eq "patterns") {
	patterns();
} else {
	tree() for 1 .. $cases;
}
printf "%s: seed %d, %d verdicts, %d ignored, %d left to git, %d differ\n", $mode, $seed,
	@count{qw(paths ignored doubtful differ)};
exit($count{differ} ? 1 : 0);
