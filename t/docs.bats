#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# What the manual says against what the commands do: settings and where they
# come from, options, exit codes, JSON keys; and that a command starts light.

# shellcheck disable=SC2154 # set by try(): output, stderr, lines
# shellcheck disable=SC2016,SC2030,SC2031 # text that is not for the shell; bats' own subshells

load helpers

DOC=$TOP/Documentation
COMMANDS='git-cas-ref git-interlock git-shadow-commit git-worktree-claim git-worktree-reap'
VERBS='save log show diff restore expire'

# ---- reading the pages -----------------------------------------------------------

# terms <page> <section> [<subsection>] [<n>]: the terms of its definition lists,
# marks taken away, one a line. With <n> only those of the n-th list.
terms() {
    perl -e '
        my ($page, $section, $sub, $nth) = @ARGV;
        my ($in, $in_sub, $list, $block) = (0, $sub eq "", 0, 0);
        open my $f, "<", $page or die "$page: $!";
        while (<$f>) {
            $block = !$block if /^----$/;
            next if $block;
            if (/^== (.*)$/) { $in = $1 eq $section; $in_sub = $sub eq "" }
            elsif (/^=== (.*)$/) { $in_sub = $sub eq "" || $1 eq $sub }
            next unless $in && $in_sub;
            $list++ if /^\[horizontal\]$/;
            next if $nth && $list != $nth;
            next unless /^(\S.*?)::(?:\s|$)/;
            my $term = $1;
            $term =~ tr/*`+//d;
            print "$term\n";
        }' "$DOC/$1.adoc" "$2" "${3-}" "${4-}"
}

# Option names in text, each once: "-m <message>, --[no-]message" is -m and --message.
option_names() {
    perl -ne 's/\[no-\]//g; print "$1\n" while /(?:^|[\s,\[(|])(--?[A-Za-z][\w-]*)/g' | sort -u
}

# The options that a usage text shows: those of its table, and of the synopsis of that verb.
shown_options() { # <usage text> [<verb>]
    perl -0777 -e '
        my ($usage, $verb) = @ARGV;
        my ($head, $table) = split /\n\n/, $usage, 2;
        for my $line (split /\n\s+or: /, $head) {
            print "$line\n" if $verb eq "" || $line =~ /git \S+ \[?\Q$verb\E\]?(?:\s|$)/;
        }
        for my $line (split /\n/, $table // "") {
            print "$1\n" if $line =~ /^ {4}(-.*?)(?:\s{2}|$)/;
        }' "$1" "${2-}" | option_names
}

# ---- the pages ---------------------------------------------------------------------

@test "docs: every page builds without a warning, and says what it is" {
    local page
    for page in "$DOC"/git-*.adoc "$DOC"/interlock-*.adoc; do
        must asciidoctor --failure-level=WARN -b manpage -o out "$page"
        assert_equal "$output$stderr" '' "what asciidoctor says about $page"
        page=${page##*/}
        page=${page%.adoc}
        # roff writes a hyphen as \-
        assert_match "$(perl -0777 -ne 'print $1 =~ s/\\//gr if /^\.SH "NAME"\n(.*)/m' out)" \
            "^$page - [a-z]" "NAME of $page"
    done
    for page in $COMMANDS interlock-{agents,config,format,hooks,json,leases}; do
        [ -f "$DOC/$page.adoc" ] || flunk "no page for $page"
    done
}

@test "docs: every option that -h shows is in the manual, and the reverse" {
    local verb
    must git cas-ref -h
    assert_equal "$(terms git-cas-ref OPTIONS | option_names)" "$(shown_options "$output")" \
        'options of git cas-ref in its page'
    for verb in $VERBS; do
        must git shadow-commit "$verb" -h
        assert_equal "$(terms git-shadow-commit OPTIONS "$verb" | option_names)" \
            "$(shown_options "$output" "$verb")" "options of $verb in the page"
    done
    # A reader that finds nothing would agree with everything.
    assert_equal "$(terms git-shadow-commit OPTIONS expire | option_names | tr '\n' ' ')" \
        '--dry-run --json --keep --older-than --quiet --ref --verbose -n -q -v '
}

# All that the verbs of a command show, against all that the sections of its page name.
verbs_agree() { # <command> <sections> <verb>...
    local command=$1 sections=$2 shown='' named='' section verb
    shift 2
    for verb in "$@"; do
        # shellcheck disable=SC2086 # no verb is no argument
        must git "$command" $verb -h
        shown+=$(shown_options "$output")$'\n'
    done
    while IFS= read -r section; do
        named+=$(terms "git-$command" "$section" | option_names)$'\n'
    done <<<"$sections"
    assert_equal "$(sort -u <<<"$named")" "$(sort -u <<<"$shown")" "options of git $command"
    assert_at_least "$(sort -u <<<"$named" | wc -l)" 8 options
}

@test "docs: every option of git worktree-claim and git worktree-reap is in the manual" {
    verbs_agree worktree-claim $'WHO HOLDS IT\nOPTIONS\nLIST\nRELEASE\nRENEW' '' list release renew
    verbs_agree worktree-reap $'OPTIONS\nRESCUED' '' rescued
}

@test "docs: every option of git interlock is in the manual" {
    verbs_agree interlock $'INSTALL\nUNINSTALL\nRUN\nSTATUS\nDOCTOR\nEVENTS\nAGENT-HOOK' install uninstall run \
        status doctor events agent-hook
}

@test "docs: the manual knows the verbs that the command has" {
    assert_equal "$(terms git-shadow-commit VERBS | tr '\n' ' ')" "$VERBS "
    must_exit 129 git shadow-commit no-such-verb
    assert_match "$stderr" "\(${VERBS// /, }\)"
}

@test "docs: every command page has the table of exit codes" {
    local page
    for page in $COMMANDS; do
        for code in 0 1 75 128 129; do
            terms "$page" 'EXIT STATUS' | grep -qx "$code" || flunk "$page: no exit code $code"
        done
    done
    terms git-shadow-commit 'EXIT STATUS' | grep -qx 3
}

@test "docs: every room of the tree is on the map, and the reverse" {
    local map have floor header
    map=$(perl -ne '
        $floor = $1 if /^\|`lib\/(\w+)`/;
        $floor = "" if /^\|`cmd`/;
        next unless /^\|.*?\|(`.*?) \|/ && $floor;
        for my $room ($1 =~ /`([\w.]+)`/g) { print "$floor/$room\n" }' "$DOC/architecture.adoc")
    have=
    for header in "$TOP"/lib/*/*.h; do
        floor=${header%/*}
        have+=${floor##*/}/$(basename "$header" .h)$'\n'
    done
    # "pack..." is every room whose name begins with it.
    must perl -e '
        my ($map, $have) = map { [split /\n/] } @ARGV;
        my @bad;
        my $covers = sub {
            my ($m, $h) = @_;
            return $m =~ /^(.*)\.\.\.$/ ? index($h, $1) == 0 : $m eq $h;
        };
        for my $h (@$have) { push @bad, "not on the map: $h" unless grep { $covers->($_, $h) } @$map }
        for my $m (@$map) { push @bad, "not in the tree: $m" unless grep { $covers->($m, $_) } @$have }
        print "$_\n" for @bad;' "$map" "$have"
    assert_equal "$output" ''
    assert_at_least "$(wc -l <<<"$map")" 40 'rooms on the map'
}

@test "docs: the README gives a reason for each package that make installs" {
    local package packages
    packages=$(perl -0777 -ne 's/\\\n/ /g; print "$1\n" while /^DEPS_\w+ = (.*)$/mg' "$TOP/Makefile")
    assert_at_least "$(wc -w <<<"$packages")" 20 packages
    for package in $packages; do
        grep -qE "^\|[^|]*[ ,]${package}[ ,]" "$TOP/README.md" || flunk "not in the README: $package"
    done
}

# ---- settings ------------------------------------------------------------------------

# setting, variable, a malformed value, and what the message then calls the variable
settings() {
    cat <<-'TABLE'
	lockTimeout      GIT_INTERLOCK_LOCK_TIMEOUT       soon
	maxFileSize      GIT_INTERLOCK_MAX_FILE_SIZE      10kb
	maxSnapshotBytes GIT_INTERLOCK_MAX_SNAPSHOT_BYTES -1
	allowHome        GIT_INTERLOCK_ALLOW_HOME         perhaps
	durability       GIT_INTERLOCK_DURABILITY         half
	session          GIT_INTERLOCK_SESSION            a:b
	engine           GIT_INTERLOCK_ENGINE             steam
	poolDir          GIT_INTERLOCK_POOL_DIR           some/where
	poolMax          GIT_INTERLOCK_POOL_MAX           many
	claimTimeout     GIT_INTERLOCK_CLAIM_TIMEOUT      soon
	taskCap          GIT_INTERLOCK_TASK_CAP           soon
	ttl              GIT_INTERLOCK_TTL                soon
	deadline         GIT_INTERLOCK_DEADLINE           soon
	grace            GIT_INTERLOCK_GRACE              soon
	clean            GIT_INTERLOCK_CLEAN              some
	runDeadline      GIT_INTERLOCK_RUN_DEADLINE       soon
	ledgerKeep       GIT_INTERLOCK_LEDGER_KEEP        soon
	autoSave         GIT_INTERLOCK_AUTO_SAVE          perhaps
	lockWorktrees    GIT_INTERLOCK_LOCK_WORKTREES     perhaps
	TABLE
}

# Whatever it holds is a rule: nothing is malformed.
free_settings() {
    cat <<-'TABLE'
	noise            GIT_INTERLOCK_NOISE
	TABLE
}

plain_repo() {
    use_engine auto
    make_repo
}

@test "settings: the manual lists those that this file tests, each with its variable" {
    assert_equal "$(terms interlock-config SETTINGS | sort)" \
        "$({ settings && free_settings; } | awk '{ print "interlock." $1 }' | sort)" 'settings in the manual'
    assert_equal "$(sed -n 's/.*Variable: `\(GIT_INTERLOCK_[A-Z_]*\)`.*/\1/p' \
        "$DOC/interlock-config.adoc")" "$(terms interlock-config SETTINGS | while read -r name; do
            { settings && free_settings; } | awk -v name="${name#interlock.}" '$1 == name { print $2 }'
        done)" 'variables in the manual'
}

@test "settings: a malformed value is exit 129 and names its place" {
    plain_repo
    local name variable bad
    while read -r name variable bad; do
        must_exit 129 git -c "interlock.$name=$bad" shadow-commit
        assert_match "$stderr" "^fatal: config interlock.${name,,}: "
        git config "interlock.$name" "$bad"
        must_exit 129 git shadow-commit
        assert_match "$stderr" "^fatal: config interlock.${name,,}: "
        git config --unset "interlock.$name"
        must_exit 129 env "$variable=$bad" git shadow-commit
        assert_match "$stderr" "^fatal: $variable: "
    done < <(settings)
    assert_equal "$(git for-each-ref refs/shadow)" '' 'checkpoints'
}

@test "settings: a variable that is empty is malformed, except for a boolean" {
    plain_repo
    local name variable bad
    while read -r name variable bad; do
        case $name in
            allowHome | autoSave | lockWorktrees) must env "$variable=" git shadow-commit ;;
            *) must_exit 129 env "$variable=" git shadow-commit ;;
        esac
    done < <(settings)
}

@test "settings: a malformed value is an error also where a stronger place speaks" {
    plain_repo
    git config interlock.lockTimeout soon
    must_exit 129 env GIT_INTERLOCK_LOCK_TIMEOUT=1s git shadow-commit
    assert_match "$stderr" 'config interlock.locktimeout'
    git config interlock.lockTimeout 1s
    must_exit 129 env GIT_INTERLOCK_LOCK_TIMEOUT=soon git shadow-commit --lock-timeout 1s
    assert_match "$stderr" 'GIT_INTERLOCK_LOCK_TIMEOUT'
}

@test "settings: options are as strict, and are named" {
    plain_repo
    local value
    for value in '' soon 1.5s -1 '1 s' 99999999999999999999; do
        must_exit 129 git shadow-commit "--lock-timeout=$value"
        assert_match "$stderr" 'option --lock-timeout: '
        must_exit 129 git cas-ref "--timeout=$value" refs/x HEAD ''
        assert_match "$stderr" 'option --timeout: '
    done
    must_exit 129 git shadow-commit --session a:b
    assert_match "$stderr" 'option --session: '
    must_exit 129 git shadow-commit expire --keep=-1
    assert_match "$stderr" 'option --keep: '
}

@test "settings: GIT_PROGRESS_DELAY, malformed, is named" {
    plain_repo
    must_exit 129 env GIT_PROGRESS_DELAY=soon git shadow-commit
    assert_match "$stderr" 'GIT_PROGRESS_DELAY'
}

# Waits at least 300 ms for a lock that is never given back, and then says 75. The
# time that it takes to start can only be added.
waits() { # <command>...
    local start took
    start=$(now_ms)
    must_exit 75 "$@"
    took=$(($(now_ms) - start))
    assert_at_least "$took" 300 "milliseconds of '$*'"
}
at_once() { within 10000 must_exit 75 "$@"; }

lock_timeout() { # <option> <lock> <command>...
    local option=$1 lock=.git/interlock/locks/$2
    shift 2
    mkdir -p "${lock%/*}"
    hold flock "$lock"
    git config interlock.lockTimeout 0
    at_once "$@"
    git config interlock.lockTimeout 300ms
    waits "$@"
    at_once env GIT_INTERLOCK_LOCK_TIMEOUT=0 "$@"
    git config interlock.lockTimeout 0
    waits env GIT_INTERLOCK_LOCK_TIMEOUT=300ms "$@"
    git config interlock.lockTimeout 1h
    at_once env GIT_INTERLOCK_LOCK_TIMEOUT=0 "$@"
    at_once env GIT_INTERLOCK_LOCK_TIMEOUT=1h "${@:1:2}" "$option=0" "${@:3}"
    git config interlock.lockTimeout 0
    waits env GIT_INTERLOCK_LOCK_TIMEOUT=0 "${@:1:2}" "$option=300ms" "${@:3}"
    unhold
    # "never" waits for as long as it takes; here nobody holds it any more.
    must env GIT_INTERLOCK_LOCK_TIMEOUT=never "$@"
    git config --unset interlock.lockTimeout
}

@test "settings: lockTimeout, of save" {
    plain_repo
    put new file
    lock_timeout --lock-timeout 'ref-refs%2Fshadow%2Fmain%2Fb%2Fmain' \
        git shadow-commit --allow-unchanged
}

@test "settings: lockTimeout, of cas-ref" {
    plain_repo
    lock_timeout --timeout 'ref-refs%2Fx' git cas-ref refs/x HEAD ''
}

@test "settings: lockTimeout is 10s by default" {
    plain_repo
    put new file
    mkdir -p .git/interlock/locks
    hold flock '.git/interlock/locks/ref-refs%2Fshadow%2Fmain%2Fb%2Fmain'
    local start took
    start=$(now_ms)
    must_exit 75 git shadow-commit
    took=$(($(now_ms) - start))
    assert_at_least "$took" 9900 'milliseconds'
    unhold
}

reasons() { json skipped | grep -o '"reason":"[^"]*"' || :; }

@test "settings: maxFileSize" {
    both_engines max_file_size
}
max_file_size() {
    make_repo
    put big "$(printf '%0100d' 1)"
    must git shadow-commit --json
    assert_equal "$(reasons <<<"$output")" ''
    put big "$(printf '%0100d' 2)"
    git config interlock.maxFileSize 64
    must git shadow-commit --json
    assert_equal "$(reasons <<<"$output")" '"reason":"too large"'
    must env GIT_INTERLOCK_MAX_FILE_SIZE=1k git shadow-commit --json
    assert_equal "$(reasons <<<"$output")" ''
    put big "$(printf '%0100d' 3)"
    git config interlock.maxFileSize 1k
    must env GIT_INTERLOCK_MAX_FILE_SIZE=64 git shadow-commit --json
    assert_equal "$(reasons <<<"$output")" '"reason":"too large"'
}

@test "settings: maxFileSize is 100m by default" {
    plain_repo
    truncate -s $((100 * 1024 * 1024 + 1)) big
    must git shadow-commit --json
    assert_equal "$(reasons <<<"$output")" '"reason":"too large"'
    must env GIT_INTERLOCK_MAX_FILE_SIZE=101m git shadow-commit --json
    assert_equal "$(reasons <<<"$output")" ''
}

# What the index has is not new, whatever the cached stat data say. With and without
# line ends that are converted; and a change of the mode alone is a change.
@test "settings: maxFileSize is about new content" {
    both_engines unchanged_large
}
unchanged_large() {
    make_repo
    put big "$(printf '%0100d' 1)"
    put staged "$(printf '%0100d' 2)"
    put crlf "$(printf '%0100d\r\nline\r' 3)"
    git add big
    git commit -qm big
    git -c core.autocrlf=input add staged crlf
    git config interlock.maxFileSize 64
    touch -d '2001-02-03' big staged
    must git shadow-commit --json
    assert_equal "$(json skipped <<<"$output" | grep -c 'big\|staged')" 0
    git config core.autocrlf input
    touch -d '2001-02-03' big staged crlf
    must git shadow-commit --json --allow-unchanged
    assert_equal "$(reasons <<<"$output")" ''
    assert_equal "$(git rev-parse "$(shadow_ref):big" "$(shadow_ref):staged" "$(shadow_ref):crlf")" \
        "$(git rev-parse :big :staged :crlf)"
    # Again, from what the save remembers; and by name.
    must git shadow-commit --strict --allow-unchanged
    must git shadow-commit --strict --allow-unchanged -- big
    [ "$GIT_INTERLOCK_ENGINE" = native ] ||
        must git shadow-commit --strict --allow-unchanged -- ':(top)s*'
    chmod +x big
    must git shadow-commit --strict
    assert_equal "$(git ls-tree "$(shadow_ref)" big | cut -d' ' -f1)" 100755
    # As long, but other content: listed, and what the index has stays.
    put big "$(printf '%0100d' 4)"
    must_exit 3 git shadow-commit --strict --json --allow-unchanged
    assert_equal "$(reasons <<<"$output")" '"reason":"too large"'
    assert_equal "$(git rev-parse "$(shadow_ref):big")" "$(git rev-parse ":big")"
    must_exit 3 git shadow-commit --strict --json --allow-unchanged
    # Without an entry it is new, also when it once was known.
    git rm -q --cached big
    must_exit 3 git shadow-commit --strict --json --allow-unchanged
}

@test "settings: maxSnapshotBytes" {
    both_engines max_snapshot_bytes
}
max_snapshot_bytes() {
    make_repo
    put new "$(printf '%05000d' 0)"
    git config interlock.maxSnapshotBytes 4k
    must_exit 128 git shadow-commit
    assert_match "$stderr" 'interlock.maxSnapshotBytes \(4096 bytes\)'
    assert_equal "$(git for-each-ref refs/shadow)" ''
    must_exit 128 env GIT_INTERLOCK_MAX_SNAPSHOT_BYTES=3k git shadow-commit
    assert_match "$stderr" '3072'
    must env GIT_INTERLOCK_MAX_SNAPSHOT_BYTES=1m git shadow-commit
    git config --unset interlock.maxSnapshotBytes
    put new "$(printf '%06000d' 0)"
    must git shadow-commit
}

@test "settings: allowHome" {
    plain_repo
    HOME=$PWD
    git config user.name A
    git config user.email a@example.com
    must_exit 128 git shadow-commit
    assert_match "$stderr" 'interlock.allowHome'
    must env GIT_INTERLOCK_ALLOW_HOME=yes git shadow-commit
    git config interlock.allowHome true
    must git shadow-commit
    must_exit 128 env GIT_INTERLOCK_ALLOW_HOME=no git shadow-commit
    # A name alone is true.
    git config --unset interlock.allowHome
    printf '[interlock]\n\tallowHome\n' >>.git/config
    must git shadow-commit
}

syncs() { # <command>...: prints how many syncs the command made
    strace -f -qq -o trace -e trace=fsync,fdatasync,sync_file_range "$@" >/dev/null
    # Lines of a trace, without what a thread's call was interrupted by.
    grep -c 'sync.*(.*= 0' trace || :
}

@test "settings: durability" {
    requires strace
    plain_repo
    put new 1
    assert_equal "$(syncs git shadow-commit)" 0 'syncs by default'
    git config interlock.durability full
    put new 2
    assert_at_least "$(syncs git shadow-commit)" 5 'syncs of a save'
    assert_at_least "$(syncs git cas-ref refs/x HEAD '')" 2 'syncs of a swap'
    put new 3
    assert_equal "$(syncs env GIT_INTERLOCK_DURABILITY=process git shadow-commit)" 0
    git config interlock.durability process
    put new 4
    assert_at_least "$(syncs env GIT_INTERLOCK_DURABILITY=full git shadow-commit)" 5
}

@test "settings: session" {
    plain_repo
    local now
    session_of() {
        must "$@"
        now=$(json session <<<"$output")
    }
    session_of git shadow-commit --json --allow-unchanged
    assert_equal "$now" null
    git config interlock.session one
    session_of git shadow-commit --json --allow-unchanged
    assert_equal "$now" one
    session_of env GIT_INTERLOCK_SESSION=two git shadow-commit --json --allow-unchanged
    assert_equal "$now" two
    session_of env GIT_INTERLOCK_SESSION=two git shadow-commit --json --allow-unchanged \
        --session three
    assert_equal "$now" three
}

@test "settings: engine" {
    plain_repo
    local now
    engine_of() {
        must "$@"
        now=$(json engine engine_reason <<<"$output" | paste -sd' ')
    }
    engine_of git shadow-commit --json
    assert_equal "$now" 'native null'
    git config interlock.engine git
    engine_of git shadow-commit --json
    assert_equal "$now" 'git forced'
    engine_of env GIT_INTERLOCK_ENGINE=auto git shadow-commit --json
    assert_equal "$now" 'native null'
    engine_of env GIT_INTERLOCK_ENGINE=native git shadow-commit --json
    assert_equal "$now" 'native null'
    git config interlock.engine native
    engine_of env GIT_INTERLOCK_ENGINE=git git shadow-commit --json
    assert_equal "$now" 'git forced'
    # "native" is refused, with the reason, where only git reads the repository right.
    git config core.ignoreCase true
    must_exit 128 git shadow-commit
    assert_match "$stderr" 'core.ignoreCase'
}

slot_state() { git worktree-claim list --json --pool "${1-default}" | json state; }

@test "settings: poolDir" {
    plain_repo
    git config interlock.poolDir "$BATS_TEST_TMPDIR/one"
    must git worktree-claim
    assert_equal "$output" "$BATS_TEST_TMPDIR/one/default-1"
    must env GIT_INTERLOCK_POOL_DIR="$BATS_TEST_TMPDIR/two" git worktree-claim
    assert_equal "$output" "$BATS_TEST_TMPDIR/two/default-2"
}

@test "settings: poolMax" {
    plain_repo
    git config interlock.poolMax 1
    must git worktree-claim
    must_exit 75 git worktree-claim --no-wait
    must env GIT_INTERLOCK_POOL_MAX=2 git worktree-claim --no-wait
    must_exit 75 env GIT_INTERLOCK_POOL_MAX=9 git worktree-claim --no-wait --max 2
    must git worktree-claim --no-wait --max 0
}

@test "settings: ttl" {
    plain_repo
    ends() { # the seconds until the lease of the slot that was claimed runs out
        must "$@"
        echo $(($(date -d "$(json expires <<<"$output")" +%s) - $(date +%s)))
    }
    assert_at_least "$(ends git worktree-claim --json | tail -n 1)" $((24 * 3600 - 60))
    git config interlock.ttl 1h
    local left
    left=$(ends git worktree-claim --json | tail -n 1)
    assert_at_most "$left" 3600
    assert_at_least "$left" 3500
    assert_at_most "$(ends env GIT_INTERLOCK_TTL=10m git worktree-claim --json | tail -n 1)" 600
    assert_at_most "$(ends env GIT_INTERLOCK_TTL=10m git worktree-claim --json --ttl 1m | tail -n 1)" 60
    must git worktree-claim --json --ttl never
    assert_equal "$(json expires <<<"$output")" null
}

@test "settings: grace" {
    plain_repo
    local start took
    stubborn() {
        start=$(now_ms)
        must_exit 142 "$@" git worktree-claim -q --deadline 200ms -- \
            sh -c 'trap "" TERM; while :; do sleep 0.1; done'
        took=$(($(now_ms) - start))
    }
    git config interlock.grace 3s
    stubborn env
    assert_at_least "$took" 3000 'milliseconds with 3s of grace'
    stubborn env GIT_INTERLOCK_GRACE=100ms
    assert_at_most "$took" 2900 'milliseconds with 100ms of grace'
}

@test "settings: clean and noise" {
    plain_repo
    local wt
    must git worktree-claim
    wt=$output
    put "$wt/built.o" built
    put "$wt/.harness" noise
    git config interlock.noise .harness
    must git worktree-claim release default-1 --json
    assert_equal "$(json rescued <<<"$output")" null
    assert_file "$wt/built.o" built
    assert_absent "$wt/.harness"
    git config interlock.clean all
    must env GIT_INTERLOCK_CLEAN=keep-ignored git worktree-claim
    assert_file "$wt/built.o" built
    put "$wt/.harness" noise
    must env GIT_INTERLOCK_NOISE=other git worktree-claim release default-1 --json
    assert_match "$(json rescued <<<"$output")" '^refs/rescue/'
    assert_absent "$wt/built.o"
}

# ---- JSON --------------------------------------------------------------------------------

# Keys of the outermost object on each line, in order; lines with the same keys once.
keys() {
    perl -ne '
        my ($depth, @keys) = (0);
        while (/"((?:[^"\\]|\\.)*)"(\s*:)?|([\[{])|([\]}])/g) {
            $depth++ if defined $3;
            $depth-- if defined $4;
            push @keys, $1 if defined $2 && $depth == 1;
        }
        print "@keys\n" unless $seen{"@keys"}++;'
}

documented_keys() { # <section> <n-th list>...
    local n section=$1
    shift
    for n in "$@"; do
        echo "v $(terms interlock-json "$section" '' "$n" | paste -sd' ')"
    done
}

@test "JSON: save has the keys of the manual" {
    every_variant save_keys
}
save_keys() {
    make_repo --empty
    mkfifo pipe
    must git shadow-commit --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys SAVE 1)"
    assert_equal "$(json parent base session unchanged skipped.# <<<"$output" | paste -sd' ')" \
        'null null null false 1'
    must git shadow-commit --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys SAVE 1)"
    assert_equal "$(json unchanged attempts <<<"$output" | paste -sd' ')" 'true 0'
}

@test "JSON: a path that is not UTF-8 is there in base64 too" {
    both_engines odd_path
}
odd_path() {
    make_repo
    mkfifo $'caf\xe9'
    must git shadow-commit --json
    assert_equal "$(json skipped.0.path <<<"$output")" $'caf\xef\xbf\xbd'
    assert_equal "$(json skipped.0.path_b64 <<<"$output" | base64 -d)" $'caf\xe9'
    assert_no_match "$output" $'[\x80-\xff]'
}

@test "JSON: log and show have the keys of the manual, and log -z their order" {
    plain_repo
    must git shadow-commit --session one -m $'two\n\nparagraphs' --trailer Run=7
    put new file
    must git shadow-commit
    must git shadow-commit log --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys 'LOG AND SHOW' 1)"
    assert_equal "$(json message session <<<"${lines[1]}")" $'two\n\nparagraphs\none'
    assert_match "$(json time <<<"${lines[0]}")" '^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z$'
    must git shadow-commit show --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys 'LOG AND SHOW' 1)"
    assert_equal "$(git shadow-commit log -z | tr '\0' '\n' | sed -n 7p)" 'checkpoint on main'
    assert_equal "$(git shadow-commit log -z | tr -dc '\0' | wc -c)" \
        "$((2 * $(terms interlock-json 'LOG AND SHOW' | wc -l)))"
}

@test "JSON: restore has the keys of the manual" {
    plain_repo
    must git shadow-commit
    put README changed
    put new file
    must git shadow-commit restore --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys RESTORE 1 2)"
}

@test "JSON: expire has the keys of the manual" {
    plain_repo
    local i
    for ((i = 0; i < 257; i++)); do
        git shadow-commit -q --allow-unchanged >/dev/null
    done
    must git shadow-commit expire --keep 1 --dry-run --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys EXPIRE 1)"
    assert_equal "$(json checkpoints action result <<<"$output" | paste -sd' ')" '256 drop planned'
    must git shadow-commit expire --keep 1 --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys EXPIRE 1 2)"
    assert_equal "$(json result <<<"${lines[0]}")" 'done'
}

@test "JSON: claim, list, release, reap and rescued have the keys of the manual" {
    plain_repo
    local wt
    must git worktree-claim --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys 'CLAIM AND LIST' 1)"
    wt=$(json path <<<"$output")
    must git worktree-claim list --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys 'CLAIM AND LIST' 1)"
    assert_equal "$(git worktree-claim list -z | tr -dc '\0' | wc -c)" \
        "$(terms interlock-json 'CLAIM AND LIST' | wc -l)"
    put "$wt/new" work
    must git worktree-claim release default-1 --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys RELEASE 1)"
    must git worktree-reap --dry-run --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys REAP 1)"
    must git worktree-reap rescued --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys RESCUED 1)"
}

@test "JSON: status has the keys of the manual" {
    plain_repo
    must git worktree-claim -q
    must git interlock run -- git interlock status --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys STATUS 1 2 3 4)"
    assert_equal "$(json kind <<<"$output" | uniq | paste -sd' ')" 'slot run store guard'
}

@test "JSON: events have the keys of the manual, also those of a line without them" {
    plain_repo
    must git interlock run -- true
    must git interlock events --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys EVENTS 1)"
    local object='{"v":1,"time":"2026-01-01T00:00:00Z","event":"old"}'
    perl -MCompress::Zlib -e 'printf "1 %08x %s\n", crc32($ARGV[0]), $ARGV[0]' "$object" \
        >.git/interlock/ledger
    must git interlock events --json
    assert_equal "$(keys <<<"$output")" "$(documented_keys EVENTS 1)"
}

@test "JSON: a ledger line has the form and the keys of the manual" {
    plain_repo
    put new file
    mkdir -p .git/interlock/locks
    hold flock '.git/interlock/locks/ref-refs%2Fshadow%2Fmain%2Fb%2Fmain'
    must git shadow-commit --best-effort --lock-timeout 0
    unhold
    local line
    line=$(cat .git/interlock/ledger)
    assert_match "$line" '^1 [0-9a-f]{8} \{"v":1,.*"event":"save-failed".*\}$'
    assert_equal "$(keys <<<"$line" | tr ' ' '\n' | sort | paste -sd' ')" \
        "$(tr '\n' ' ' <"$DOC/interlock-format.adoc" |
            sed 's/.*The object has the keys \([^.]*\)\..*/\1/; s/ and/,/; s/[`,]//g' |
            tr -s ' ' '\n' | sort | paste -sd' ')"
}

# ---- start -------------------------------------------------------------------------------

# Names of the shared objects that a program needs, without those of sanitizers.
objects() {
    ldd "$1" | awk '{ print $1 }' | sed 's!.*/!!; s/\.so.*//' |
        grep -Ev '^(linux-vdso|ld-linux.*|lib(a|ub|t)san|libstdc\+\+|libm|libgcc_s|librt|libresolv)$' |
        sort | paste -sd' '
}

@test "start: a command needs the C library and nothing else" {
    local command
    for command in $COMMANDS; do
        if grep -q -- -lhttp_parser "$B/flags"; then
            assert_equal "$(objects "$BIN/$command")" libc "objects of $command"
        else
            # LIBGIT2=shared: that one, and whatever it brings along
            assert_match "$(objects "$BIN/$command")" 'libc .*libgit2' "objects of $command"
        fi
    done
}

@test "start: the usage costs no repository, no configuration and no process" {
    requires strace
    local command
    for command in $COMMANDS; do
        must strace -f -qq -o trace -e trace=openat,open,execve,clone,clone3,fork,vfork,chdir \
            "$BIN/$command" -h
        assert_match "$output" '^usage: git '
        assert_equal "$(grep -cE '\bexecve\(' trace)" 1 'programs'
        assert_equal "$(grep -cE '(clone3?|v?fork)\(' trace)" 0 'processes and threads'
        assert_equal "$(grep -c '\.git' trace)" 0 'looks into a repository'
        if grep -q -- -lhttp_parser "$B/flags" && ! grep -q -- -fsanitize "$B/flags"; then
            assert_at_most "$(grep -cE 'open(at)?\(' trace)" 2 'files opened'
        fi
    done
}
