# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
# shellcheck shell=bash
#
# What every .bats file starts with:
#
#   load helpers
#
#   @test "D9: an unchanged tree makes no commit" {
#       both_engines unchanged
#   }
#   unchanged() {
#       make_repo                                # and cd into it
#       must git shadow-commit save              # status 0, or the test ends here
#       tip=$output
#       must_exit 0 git shadow-commit save
#       assert_equal "$output" "$tip"
#   }
#
# Environment that the rig reads: B (build directory), BIN (where the commands
# are, default B), TEST_GIT (directory of another git), ENGINES ("native git"),
# HASHES ("sha1 sha256"), REF_FORMAT (of every repository, where git has it).
#
# bats runs a test with `set -e`: a failing plain command ends it, a bare `! cmd`
# does not. Use refute for that. `run` and so `must` work in a subshell: they
# cannot set variables or change the directory.

bats_require_minimum_version 1.5.0

# shellcheck source=t/isolate.bash
. "${BASH_SOURCE[0]%/*}/isolate.bash"

# ---- the environment of a test -------------------------------------------------

isolate() {
    isolate_in "$BATS_TEST_TMPDIR"
    if [ -n "${ENGINE:-}" ]; then use_engine "$ENGINE"; fi
    # Keep the rig's temporary places physical: git prints real paths.
    cd -P "$BATS_TEST_TMPDIR" || return
}

# Ends what bg() started.
tidy() {
    local pid
    for pid in ${BG_PIDS[@]+"${BG_PIDS[@]}"}; do
        kill "$pid" 2>/dev/null || :
    done
    for pid in ${BG_PIDS[@]+"${BG_PIDS[@]}"}; do
        wait "$pid" 2>/dev/null || :
    done
    BG_PIDS=()
    cd /
}

setup() { isolate; }
teardown() { tidy; }

# What outlives a test (a watcher whose holder has just died, whoever deletes trash) ends
# by itself. bats must not delete the directory from under it. Those whom a test has left
# sleeping on purpose, to be found, are woken for good.
teardown_file() {
    local until=$((SECONDS + 20)) pid living
    while living=$(live_in "$BATS_RUN_TMPDIR/test") && [ -n "$living" ]; do
        for pid in $living; do
            case $(readlink "/proc/$pid/exe") in
                */sleep | */dash | */bash) kill -9 "$pid" 2>/dev/null || : ;;
            esac
        done
        # shellcheck disable=SC2086 # pids
        [ "$SECONDS" -lt "$until" ] || flunk "left running: $(ps -o pid,args $living)" || return
        sleep 0.05
    done
}

# The processes that have something open, or are, in a test's directory below this one.
live_in() { # <directory>
    find /proc/[0-9]*/cwd /proc/[0-9]*/fd -lname "$1/*/*" -printf '%p\n' 2>/dev/null |
        cut -d/ -f3 | sort -u
}

# ---- engines and hashes --------------------------------------------------------

use_engine() { # native | git | auto
    case $1 in
        auto) unset GIT_INTERLOCK_ENGINE ;;
        *) export GIT_INTERLOCK_ENGINE=$1 ;;
    esac
}

# Runs a function under each engine, in a directory of its own. ENGINES cuts the list.
both_engines() {
    local which
    for which in ${ENGINES:-native git}; do
        in_variant "$which" sha1 "$@"
    done
}

# Runs a function for each combination that exists: SHA-256 is git's only.
every_variant() {
    local which hash
    for which in ${ENGINES:-native git}; do
        for hash in ${HASHES:-sha1 sha256}; do
            [ "$which $hash" != "native sha256" ] || continue
            in_variant "$which" "$hash" "$@"
        done
    done
}

in_variant() { # <engine> <hash> <function> [<arg>...]
    local here=$PWD saved=${GIT_INTERLOCK_ENGINE:-auto} VARIANT="$1-$2"
    local HASH=$2
    use_engine "$1"
    shift 2
    echo "--- variant: $VARIANT"
    mkdir -p "$here/$VARIANT"
    cd "$here/$VARIANT" || return
    "$@"
    cd "$here" || return
    use_engine "$saved"
}

# ---- skipping: only for reasons in t/allowed-skips -----------------------------

requires() { # <capability>...
    local what
    for what in "$@"; do
        can "$what" || skip "requires $what"
    done
}

can() {
    case $1 in
        root) [ "$(id -u)" = 0 ] ;;
        ordinary-user) [ "$(id -u)" != 0 ] ;;
        strace) strace -o /dev/null true 2>/dev/null ;;
        ptrace) "$HELPER/killat" -c -o /dev/null -- true 2>/dev/null ;;
        sha256 | sha1) git init -q --object-format="$1" "$BATS_TEST_TMPDIR/can-$1" 2>/dev/null ;;
        reftable) git init -q --ref-format=reftable "$BATS_TEST_TMPDIR/can-reftable" 2>/dev/null ;;
        git-*) version_at_least "$(git version | sed 's/^git version //')" "${1#git-}" ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

version_at_least() { # <have> <want>: 2.39.5 2.41
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# ---- running and judging -------------------------------------------------------

# Runs a command with stdout and stderr apart and logs all of it (bats shows the
# log when the test fails). Sets status, output, lines, stderr, stderr_lines.
try() {
    run --separate-stderr -- "$@"
    printf '$ %s\n' "$(printf '%q ' "$@")"
    [ -z "$output" ] || printf '%s\n' "$output"
    # shellcheck disable=SC2154 # set by run
    [ -z "$stderr" ] || printf '%s\n' "$stderr" | sed 's/^/  2| /'
    # shellcheck disable=SC2154
    [ "$status" = 0 ] || echo "  => $status"
}

must() { must_exit 0 "$@"; }

must_exit() { # <status> <command>...
    local want=$1
    shift
    try "$@"
    [ "$status" = "$want" ] || flunk "expected exit status $want, got $status"
}

refute() { # the command must fail
    if "$@"; then flunk "expected to fail: $*"; fi
}

flunk() {
    printf 'FAILED: %s\n' "$*"
    return 1
}

assert_equal() { # <actual> <expected> [<what>]
    [ "$1" = "$2" ] || flunk "${3:-value}: got '$1', expected '$2'"
}
assert_differ() {
    [ "$1" != "$2" ] || flunk "${3:-values} are both '$1'"
}
assert_match() { # <text> <extended regular expression> [<what>]
    [[ $1 =~ $2 ]] || flunk "${3:-text} does not match /$2/: '$1'"
}
assert_no_match() {
    [[ ! $1 =~ $2 ]] || flunk "${3:-text} matches /$2/: '$1'"
}
assert_at_most() { # <number> <limit> [<what>]
    awk "BEGIN { exit !($1 <= $2) }" || flunk "${3:-number} $1 is over $2"
}
assert_at_least() {
    awk "BEGIN { exit !($1 >= $2) }" || flunk "${3:-number} $1 is under $2"
}
assert_file() { # <path> <content>
    [ -f "$1" ] || flunk "no file '$1'"
    [ "$(cat "$1")" = "$2" ] || flunk "'$1' holds '$(cat "$1")', expected '$2'"
}
assert_absent() {
    if [ -e "$1" ] || [ -L "$1" ]; then flunk "'$1' exists"; fi
}

# Values of keys of JSON lines on stdin, one a line; "skipped.0.path" goes inside,
# a missing key is an error, null is "null".
json() {
    perl -MJSON::PP -e '
        my $j = JSON::PP->new->canonical->allow_nonref->utf8;
        while (my $line = <STDIN>) {
            my $o = $j->decode($line);
            for my $key (@ARGV) {
                my $v = $o;
                for my $part (split /\./, $key) {
                    if (ref $v eq "ARRAY") { $v = $part eq "#" ? @$v : $v->[$part]; next }
                    die "no key \"$key\" in $line" unless ref $v eq "HASH" && exists $v->{$part};
                    $v = $v->{$part};
                }
                $v = "null" unless defined $v;
                $v = $j->encode($v) if ref $v;
                utf8::encode($v) if utf8::is_utf8($v);
                print "$v\n";
            }
        }' -- "$@"
}

# ---- processes -----------------------------------------------------------------

# Starts a background child that tidy() ends. fd 3 is bats' own: a child that
# keeps it open hangs the run.
bg() {
    "$@" 3>&- &
    BG_PIDS+=("$!")
}
BG_PIDS=()

# Holds a lock until unhold: `hold flock <file>`, `hold dotlock <file>` (git's
# <file>.lock). Returns once it is held.
hold() {
    local fifo
    fifo=$(mktemp -u "$BATS_TEST_TMPDIR/hold.XXXXXX")
    mkfifo "$fifo.in" "$fifo.out"
    "$HELPER/hold" "$@" <"$fifo.in" >"$fifo.out" 3>&- &
    HOLD_PID=$!
    BG_PIDS+=("$HOLD_PID")
    exec {HOLD_FD}>"$fifo.in"
    local word=
    read -r word <"$fifo.out" || :
    [ "$word" = held ] || flunk "hold $*: not held"
}
unhold() {
    # A line: other children may have inherited this end of the pipe.
    echo >&"$HOLD_FD"
    exec {HOLD_FD}>&-
    wait "$HOLD_PID"
}

# Runs a command and stops it right before its first such system call whose path
# holds the text: `stop_at unlink,unlinkat:objects/ git prune`. It stands still
# until let_go, whose status is the command's. Its output is in STOPPED_OUT.
stop_at() {
    local fifo word=''
    fifo=$(mktemp -u "$BATS_TEST_TMPDIR/stop.XXXXXX")
    mkfifo "$fifo.in" "$fifo.out"
    STOPPED_OUT=$fifo.log
    # killat's own stdout is the conversation: the command's goes to the log.
    "$HELPER/killat" --hold="$1" -- "${@:2}" <"$fifo.in" >"$fifo.out" 2>"$STOPPED_OUT" 3>&- &
    STOPPED_PID=$!
    BG_PIDS+=("$STOPPED_PID")
    exec {STOPPED_FD}>"$fifo.in"
    read -r word <"$fifo.out" || :
    [ "$word" = held ] || flunk "'${*:2}' never came to $1: $(cat "$STOPPED_OUT")"
}
let_go() {
    echo >&"$STOPPED_FD"
    exec {STOPPED_FD}>&-
    wait "$STOPPED_PID"
}

# Waits until a condition holds; a test's own bounded wait, never a way to win a race.
await() { # <seconds> <command>...
    local until=$((SECONDS + $1 + 1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || flunk "waited in vain for: $*" || return
        sleep 0.02
    done
}

now_ms() { # monotonic enough for a bound of seconds
    local t=${EPOCHREALTIME/[.,]/}
    echo "${t%???}"
}

# Runs a command and fails when it took longer than so many milliseconds.
within() { # <ms> <command>...
    local start limit=$(($1 * ${TEST_SLOW:-1}))
    shift
    start=$(now_ms)
    "$@"
    assert_at_most $(($(now_ms) - start)) "$limit" "milliseconds of '$*'"
}

# The leak checker of a sanitized program cannot trace what is traced already.
strace() {
    ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS} command strace "$@"
}

# ---- repositories --------------------------------------------------------------

# make_repo [--hash <h>] [--ref-format <f>] [--bare] [--empty] [<directory>]
# Makes a repository with one commit of a few files (none with --empty or
# --bare) and changes into it.
make_repo() {
    local init=(git init -q) empty='' bare='' dir=repo hash=${HASH:-sha1}
    while [ $# -gt 0 ]; do
        case $1 in
            --hash) hash=$2 && shift ;;
            --ref-format) init+=("--ref-format=$2") && shift ;;
            --bare) bare=1 && init+=(--bare) ;;
            --empty) empty=1 ;;
            *) dir=$1 ;;
        esac
        shift
    done
    [ "$hash" = sha1 ] || init+=("--object-format=$hash")
    [ -z "${REF_FORMAT-}" ] || init+=("--ref-format=$REF_FORMAT")
    "${init[@]}" "$dir"
    cd -P "$dir" || return
    [ -z "$empty$bare" ] || return 0
    put README 'read me'
    put src/main.c 'int main(void) { return 0; }'
    put src/lib/util.c 'static int x;'
    put doc/guide.txt 'a guide'
    put .gitignore '*.o'
    git add -A
    git commit -q -m 'first commit'
}

put() { # <path> <content>: a file with that one line
    case $1 in */*) mkdir -p "${1%/*}" ;; esac
    printf '%s\n' "$2" >"$1"
}

# Puts hooks into the present repository as a plain hooks directory has them.
use_hooks() { # <hook>...
    local hooks name
    hooks=$(git rev-parse --path-format=absolute --git-common-dir)/hooks
    mkdir -p "$hooks"
    for name; do ln -sf "$BIN/hooks/$name" "$hooks/$name"; done
}

# The tree that `git add -A` and `git write-tree` would make, computed in a
# private index and a private object directory: it leaves nothing that could
# hide an object that we forgot to write. Arguments go to `git add`.
git_tree() {
    local scratch objects index
    scratch=$(mktemp -d "$BATS_TEST_TMPDIR/tree.XXXXXX")
    objects=$(git rev-parse --path-format=absolute --git-path objects)
    index=$(git rev-parse --path-format=absolute --git-path index)
    [ ! -f "$index" ] || cp -p "$index" "$scratch/index"
    mkdir "$scratch/objects"
    (
        cd "$(git rev-parse --show-toplevel)" || exit
        export GIT_INDEX_FILE=$scratch/index GIT_OBJECT_DIRECTORY=$scratch/objects
        export GIT_ALTERNATE_OBJECT_DIRECTORIES=$objects
        # git calls --sparse an error nowhere: it only says "sparse ones too".
        git add -A --sparse "$@" >&2
        git write-tree
    )
}

# The ref that `save` writes in the present worktree and branch.
shadow_ref() {
    local place branch dir common
    dir=$(git rev-parse --path-format=absolute --git-dir)
    common=$(git rev-parse --path-format=absolute --git-common-dir)
    if [ "$dir" = "$common" ]; then place=main; else place=wt/${dir##*/}; fi
    if branch=$(git symbolic-ref -q --short HEAD); then
        branch=${branch//%/%25}
        echo "refs/shadow/$place/b/${branch//\//%2F}"
    else
        echo "refs/shadow/$place/detached"
    fi
}

# All that save must leave alone, as text: index, HEAD, refs, reflogs, config
# and the working tree, with content and nanosecond times (D11).
user_state() {
    local dir common
    dir=$(git rev-parse --path-format=absolute --git-dir)
    common=$(git rev-parse --path-format=absolute --git-common-dir)
    git for-each-ref --format='%(refname) %(objectname) %(symref)' |
        sed '/^refs\/shadow/d'
    find "$dir" "$common" \
        \( -path '*/objects' -o -path '*/interlock' -o -path '*/refs' -o -path '*/shadow' \
        -o -path '*/shadow-old' -o -name packed-refs -o -path '*/worktrees' \) -prune \
        -o -type f -printf '%p %i %m %s %T@ ' -exec sha256sum {} \; | sort -u
    find . -name .git -prune -o -printf '%p %i %y %m %s %T@ %l ' \
        \( -type f -exec sha256sum {} \; -o -print \) | sort
}

# Every object that a ref reaches is there and sound.
fsck() {
    local report
    report=$(git fsck --strict --full --no-dangling --no-progress "$@" 2>&1) ||
        flunk "git fsck: $report"
    case $report in *missing* | *broken* | *error*) flunk "git fsck: $report" ;; esac
}

# Names of our files and git's that a finished or healed run must not leave behind.
debris() {
    local common
    common=$(git rev-parse --path-format=absolute --git-common-dir)
    find "$common" \( -name '*.lock' -o -name 'tmp_interlock*' -o -name '*.intent' \) \
        ! -path '*/interlock/locks/*.lock' -print
    local keep
    for keep in "$common"/objects/pack/*.keep; do
        [ -e "$keep" ] || continue
        [ -e "${keep%.keep}.pack" ] || echo "$keep"
    done
}

# ---- slots ----------------------------------------------------------------------

# Starts a claim that holds a slot until let_slot_go; its path is in HELD.
hold_slot() { # <option>...
    local fifo
    fifo=$(mktemp -u "$BATS_TEST_TMPDIR/slot.XXXXXX")
    mkfifo "$fifo.in" "$fifo.out"
    git-worktree-claim -q --hold "$@" <"$fifo.in" >"$fifo.out" 2>"$fifo.err" 3>&- &
    SLOT_PID=$!
    BG_PIDS+=("$SLOT_PID")
    exec {SLOT_FD}>"$fifo.in"
    HELD=
    read -r HELD <"$fifo.out" || :
    [ -d "$HELD" ] || flunk "no slot is held: $(cat "$fifo.err")"
}
let_slot_go() {
    exec {SLOT_FD}>&-
    wait "$SLOT_PID"
}
