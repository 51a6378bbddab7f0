#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git shadow-commit log, show, diff: one history across segments, rendered by git.
#
# shellcheck disable=SC1010,SC2030,SC2031,SC2103,SC2164,SC2154 # run sets its variables in each test

load helpers

# A repository with a user's history and a chain of 7 checkpoints in 4 segments:
# cp1 .. cp7 change f, the even ones (of session even) also g.
make_chain() {
    make_repo
    put f base
    git add f
    git commit -q -m 'second commit'
    git config interlock.segmentMax 2
    local n
    for n in 1 2 3 4 5 6 7; do
        put f "version $n"
        if [ $((n % 2)) = 0 ]; then
            put g "version $n"
            must git-shadow-commit save -m "cp$n" --session even
        else
            must git-shadow-commit save -m "cp$n" --session odd
        fi
    done
    assert_equal "$(git for-each-ref refs/shadow-old | wc -l)" 3 segments
}

log() { must git-shadow-commit log "$@"; }
assert_log() { # <subjects> <log option>...
    local want=$1
    shift
    log --format=%s "$@"
    assert_equal "$(tr '\n' ' ' <<<"$output" | sed 's/ *$//')" "$want" "log $*"
}

all7='cp7 cp6 cp5 cp4 cp3 cp2 cp1'

# ---- log -------------------------------------------------------------------------------

@test "log: one history across segments, which never enters the user's" {
    every_variant across
}
across() {
    make_chain
    assert_log "$all7"
    assert_log "$all7" --reverse --reverse
    assert_log 'cp7 cp6' -2
    assert_log 'cp5 cp4' --skip=2 -n 2
    assert_log 'cp6 cp4 cp2' -- g
    assert_log 'cp4' --grep=cp4
    assert_log 'cp6 cp4' -S'version 4' -- g
    (cd src && assert_log 'cp6 cp4 cp2' -- ../g)
    log -p --format=%s -- g
    assert_match "$output" $'\n-version 4\n\\+version 6\n'
    assert_match "$output" $'\n-version 2\n\\+version 4\n'
    # the first one is shown against its base, and adds only what it added
    log -1 --skip=6 --format= --name-only
    assert_equal "$output" f
}

@test "log: naively, git log of the ref ends in the middle or enters the user's history" {
    make_chain
    run git log --first-parent --format=%s "$(shadow_ref)"
    assert_no_match "$output" cp5
    run git log --format=%s "$(shadow_ref)"
    assert_match "$output" 'first commit'
}

@test "log: a commit-graph changes nothing" {
    both_engines graph
}
graph() {
    make_chain
    git commit-graph write --reachable --changed-paths
    assert_log "$all7"
    assert_log 'cp6 cp4 cp2' -- g
}

@test "log: --json and -z, newest first, with the keys of the contract" {
    every_variant records
}
records() {
    make_chain
    log --json
    assert_equal "$(json message <<<"$output" | tr '\n' ' ')" "$all7 "
    local line parent
    line=$(sed -n 3p <<<"$output")
    assert_equal "$(json v commit tree base session skipped_count <<<"$line")" "1
$(git-shadow-commit log -1 --skip=2 --format=%H)
$(git rev-parse "$(json commit <<<"$line")^{tree}")
$(git rev-parse HEAD)
odd
0"
    # the parent crosses the segment
    parent=$(json parent <<<"$line")
    assert_equal "$parent" "$(json commit <<<"$(sed -n 4p <<<"$output")")"
    assert_equal "$(json parent <<<"$(tail -n 1 <<<"$output")")" null
    assert_match "$(json time <<<"$line")" '^20[0-9-]{8}T[0-9:]{8}Z$'
    assert_equal "$(git-shadow-commit log -z | tr -dc '\0' | wc -c)" $((7 * 8))
    assert_equal "$(git-shadow-commit log -z -1 | tr '\0' '\n' | sed -n 7p)" cp7
    # git's own options choose here, too
    log --json -2 --skip=1
    assert_equal "$(json message <<<"$output" | tr '\n' ' ')" 'cp6 cp5 '
    log --json --graph -- g
    assert_equal "$(json message <<<"$output" | tr '\n' ' ')" 'cp6 cp4 cp2 '
    log --json --session odd -1 --until=tomorrow
    assert_equal "$(json message <<<"$output")" cp7
    log --json --session even -n 2 -- ':(glob)g*'
    assert_equal "$(json message <<<"$output" | tr '\n' ' ')" 'cp6 cp4 '
}

# With a limit git would walk from each of them, in the order of their times.
@test "log: --session with a limit shows no other session's, however far apart in time" {
    both_engines sessions_apart
}
sessions_apart() {
    make_repo
    local n
    for n in 1 2 3 4 5 6; do
        put f "version $n"
        must env GIT_COMMITTER_DATE="@17000000${n}0 +0000" git-shadow-commit save -m "cp$n" --session "s$((n % 2))"
    done
    assert_log 'cp4' --session s0 --skip=1 -1
    assert_log 'cp6 cp4' --session s0 -n 2
    assert_log 'cp5 cp3' --session s1 --max-count=2
}

@test "log: --session is exact, whatever a message says and however the search is set" {
    both_engines sessions
}
sessions() {
    make_chain
    put f more
    must git-shadow-commit save -m $'about another\n\nShadow-Session: even\n\nand more' --session ev.n
    assert_log 'cp6 cp4 cp2' --session even
    assert_log 'about another' --session ev.n
    assert_log '' --session nobody
    git config grep.patternType fixed
    assert_log 'cp6 cp4 cp2' --session even
    assert_log 'cp4' --session even -F --grep=cp4
    assert_log 'cp4 cp2' --session even -i --grep=CP4 --grep=CP2
    assert_log 'cp4' --session even --skip=1 -1
    assert_log 'cp6 cp4 cp2' --session even -- g
    assert_log 'cp7 cp5 cp3 cp1' --session odd
    # each against the checkpoint before it, whoever made that
    log --session odd -1 --format=%s -p
    assert_match "$output" '-version 6'
    log --session nobody --json
    assert_equal "$output" ''
    must_exit 129 git-shadow-commit log --session 'no name'
    must_exit 129 git-shadow-commit log --session
}

@test "log: --ref and --all" {
    both_engines refs
}
refs() {
    make_chain
    must git-shadow-commit save --ref refs/shadow/named/x -m named
    git checkout -q -b topic
    put f topic
    must git-shadow-commit save -m 'on topic'
    assert_log 'on topic'
    assert_log "$all7" --ref main/b/main
    assert_log named --ref refs/shadow/named/x
    log --all --format=%s
    assert_equal "$(sort <<<"$output" | tr '\n' ' ')" 'cp1 cp2 cp3 cp4 cp5 cp6 cp7 named on topic '
    log --all --json
    assert_equal "$(json message <<<"$output" | sort | tr '\n' ' ')" \
        'cp1 cp2 cp3 cp4 cp5 cp6 cp7 named on topic '
    assert_equal "$(json message <<<"$output" | grep cp | tr '\n' ' ')" "$all7 "
    must_exit 1 git-shadow-commit log --ref refs/shadow/none
    must_exit 129 git-shadow-commit log --ref refs/heads/main
    must_exit 129 git-shadow-commit log --ref main/b/main --all
    # a chain whose base is a checkpoint of another one is no end of that
    git checkout -q -f --detach refs/shadow/main/b/main
    put f detached
    must git-shadow-commit save -m 'on a checkpoint'
    assert_log 'on a checkpoint'
    log --all --format=%s
    assert_equal "$(wc -l <<<"$output")" 10
}

@test "log: nothing saved yet" {
    both_engines nothing
}
nothing() {
    make_repo
    log
    assert_equal "$output" ''
    log --json --all
    assert_equal "$output" ''
    must_exit 1 git-shadow-commit show
    must_exit 1 git-shadow-commit diff
}

@test "log: git's own exit status and messages" {
    make_chain
    must_exit 128 git-shadow-commit log --no-such-option
    assert_match "$stderr" 'no-such-option'
    must_exit 128 git-shadow-commit log --json --no-such-option
}

@test "log: colours and pager are git's" {
    make_chain
    # shellcheck disable=SC2016
    must env TERM=xterm GIT_PAGER='sed s/^/PAGED/' script -qec 'git shadow-commit log -1 --format="%C(auto)%h %s"' /dev/null
    assert_match "$output" $'^PAGED\e\\[33m[0-9a-f]+\e\\[m cp7'
    must env TERM=xterm GIT_PAGER='sed s/^/PAGED/' script -qec 'git shadow-commit diff @{1}' /dev/null
    assert_match "$output" $'PAGED\e\\[31m-version 6'
    assert_equal "$(ls .git/interlock/tmp)" ''
}

@test "log: commits that others put on the chain are part of it; what lies behind them is not lost" {
    both_engines foreign
}
foreign() {
    make_chain
    local ref old
    ref=$(shadow_ref)
    old=$(git rev-parse "$ref")
    git update-ref "$ref" "$(git commit-tree -m foreign -p "$old" "$old^{tree}")" "$old"
    assert_log "foreign $all7"
    log --json
    assert_equal "$(json message <<<"$output" | tr '\n' ' ')" "foreign $all7 "
    put f 'version 8'
    must git-shadow-commit save -m cp8
    assert_log "cp8 foreign $all7"
    must git-shadow-commit show -s --format=%s '@{8}'
    assert_equal "$output" cp1
    # many in a row, as one makes who does not wait while others do
    local i tip
    tip=$(git rev-parse "$ref")
    for ((i = 0; i < 40; i++)); do
        tip=$(git commit-tree -m "many $i" -p "$tip" "$tip^{tree}")
    done
    git update-ref "$ref" "$tip"
    log --json
    assert_equal "$(json message <<<"$output" | grep -c '^many')" 40
    assert_equal "$(json message <<<"$output" | tail -n 9 | tr '\n' ' ')" "cp8 foreign $all7 "
    must git-shadow-commit log --format=%s
    assert_equal "${#lines[@]}" 49
    must git-shadow-commit show -s --format=%s '@{48}'
    assert_equal "$output" cp1
    # somebody forces the ref to a branch: the user's history stays out
    git update-ref "$ref" HEAD
    assert_log 'second commit'
}

# ---- what others see ------------------------------------------------------------------------

@test "shadow refs are not in git's default decoration" {
    make_chain
    git update-ref refs/shadow/extra HEAD
    git update-ref refs/shadow-old/extra/000001 HEAD
    must git log --decorate --format=%d -1
    assert_equal "$output" ' (HEAD -> main)'
    must git log --format=%s
    assert_equal "$output" $'second commit\nfirst commit'
}

# ---- names --------------------------------------------------------------------------------------

@test "a checkpoint is named by id, short id, ref, @{n} and @{time}, across segments" {
    every_variant names
}
names() {
    make_chain
    local ref id
    ref=$(shadow_ref)
    assert_shown() { # <subject> <name>
        must git-shadow-commit show -s --format=%s "$2"
        assert_equal "$output" "$1" "show $2"
    }
    must git-shadow-commit show -s --format=%s
    assert_equal "$output" cp7
    assert_shown cp7 '@{0}'
    assert_shown cp4 '@{3}'
    assert_shown cp1 '@{6}'
    assert_shown cp5 "$ref@{2}"
    assert_shown cp7 "$ref"
    assert_shown cp7 '@{now}'
    id=$(git-shadow-commit log -1 --skip=4 --format=%H)
    assert_shown cp3 "$id"
    assert_shown cp3 "${id:0:10}"
    must_exit 1 git-shadow-commit show '@{7}'
    must_exit 1 git-shadow-commit show '@{5 years ago}'
    must_exit 129 git-shadow-commit show '@{garbage}'
    must_exit 1 git-shadow-commit show 0123456789
    must_exit 1 git-shadow-commit show "$(git rev-parse HEAD:f)"
    must_exit 129 git-shadow-commit show '@{0}' '@{1}'
}

@test "@{<time>} is the newest checkpoint that is not younger" {
    both_engines times
}
times() {
    make_repo
    git config interlock.segmentMax 2
    local n
    for n in 1 2 3 4 5; do
        put f "$n"
        GIT_COMMITTER_DATE="2026-01-0${n}T12:00:00Z" must git-shadow-commit save -m "day $n"
    done
    must git-shadow-commit show -s --format=%s '@{2026-01-03T13:00:00Z}'
    assert_equal "$output" 'day 3'
    must git-shadow-commit show -s --format=%s '@{2026-01-02T11:00:00Z}'
    assert_equal "$output" 'day 1'
    must_exit 1 git-shadow-commit show '@{2026-01-01T11:00:00Z}'
}

# ---- show --------------------------------------------------------------------------------------------

@test "show: against the checkpoint before, also at the start of a segment; trailers; --json" {
    every_variant show
}
show() {
    make_chain
    local n
    for n in 0 1 2 3 4 5; do
        must git-shadow-commit show --format=%s "@{$n}" -- f
        assert_match "$output" "^cp$((7 - n))"
        assert_match "$output" "-version $((6 - n))"$'\n'"\\+version $((7 - n))"
    done
    must git-shadow-commit show --format=%s '@{6}'
    assert_match "$output" $'\n-base\n\\+version 1'
    assert_no_match "$output" 'README'
    must git-shadow-commit show --stat
    assert_match "$output" 'Shadow-Session: odd'
    assert_match "$output" 'Shadow-Segment: 4 1 '
    must git-shadow-commit show '@{1}' --json
    assert_equal "$(json message session skipped_count <<<"$output")" $'cp6\neven\n0'
    must git-shadow-commit show -S 'version 3' --format=%s '@{4}'
    assert_match "$output" '^cp3'
    # a changed HEAD makes a second parent: still no combined diff
    git commit -q --allow-empty -m third
    put f 'version 8'
    must git-shadow-commit save
    must git-shadow-commit show --format=
    assert_match "$output" $'\n-version 7\n\\+version 8'
}

# ---- diff -----------------------------------------------------------------------------------------------

@test "diff: against the work tree as it is now, untracked files included, and nothing is written" {
    every_variant diff_present
}
diff_present() {
    make_chain
    must git-shadow-commit diff
    assert_equal "$output" ''
    put f 'version 8'
    put new 'never added'
    put ignored.o 'ignored'
    rm README
    chmod +x doc/guide.txt
    local before objects
    before=$(user_state)
    objects=$(find .git/objects -type f | sort)
    must git-shadow-commit diff --name-status
    assert_equal "$output" $'D\tREADME\nM\tdoc/guide.txt\nM\tf\nA\tnew'
    must git-shadow-commit diff '@{1}' -- f
    assert_match "$output" $'\n-version 6\n\\+version 8'
    (cd src && must git-shadow-commit diff --name-only --relative -- ../f . && assert_equal "$output" '')
    (cd src && must git-shadow-commit diff --name-only -- ../f && assert_equal "$output" f)
    must_exit 1 git-shadow-commit diff --quiet
    must_exit 1 git-shadow-commit diff --exit-code
    assert_equal "$(user_state)" "$before"
    assert_equal "$(find .git/objects -type f | sort)" "$objects"
    assert_equal "$(ls .git/interlock/tmp)" ''
}

@test "diff: between two checkpoints, of any segments" {
    both_engines diff_two
}
diff_two() {
    make_chain
    must git-shadow-commit diff '@{5}' '@{0}' --stat
    assert_match "$output" '2 files changed, 2 insertions\(\+\), 2 deletions\(-\)'
    must git-shadow-commit diff '@{6}' '@{5}' --name-only
    assert_equal "$output" $'f\ng'
    must_exit 129 git-shadow-commit diff '@{6}' '@{5}' '@{4}'
    must_exit 1 git-shadow-commit diff '@{6}' '@{9}'
    # as git names what it compares, for a path that is gone
    must git-shadow-commit diff '@{0}' '@{6}' --name-status
    assert_equal "$output" $'M\tf\nD\tg'
}

@test "diff: what a save would leave out is left out, and said" {
    both_engines diff_skipped
}
diff_skipped() {
    make_repo
    must git-shadow-commit save
    git config interlock.maxFileSize 1k
    head -c 5000 /dev/zero >large
    put small new
    must git-shadow-commit diff --name-only
    assert_equal "$output" small
    assert_match "$stderr" "'large' is left out: too large"
}

@test "diff, show, log: through filters, in a bare repository, on an unborn branch" {
    both_engines odd_places
}
odd_places() {
    [ "$VARIANT" != native-sha1 ] || use_engine auto
    make_repo
    git config filter.large.clean "'$TWIN/lfs-clean'"
    put .gitattributes '*.bin filter=large'
    put a.bin large
    must git-shadow-commit save -m filtered
    put a.bin larger
    must git-shadow-commit diff
    assert_match "$output" '\+oid sha256:'
    git clone -q --bare . ../bare.git
    git -C ../bare.git fetch -q origin 'refs/shadow/*:refs/shadow/*'
    cd ../bare.git
    assert_log filtered --ref main/b/main
    must git-shadow-commit show -s --format=%s refs/shadow/main/b/main
    assert_equal "$output" filtered
    must_exit 128 git-shadow-commit diff refs/shadow/main/b/main
    cd ..
    make_repo --empty unborn
    put a one
    must git-shadow-commit save -m one
    put a two
    must git-shadow-commit save -m two
    assert_log 'two one'
    log -p --reverse --format=%s
    assert_match "$output" '\+one'
}

@test "log --json after 120 checkpoints: one history, each once" {
    both_engines many
}
many() {
    make_repo
    git config interlock.segmentMax 50
    local n
    for n in $(seq 120); do
        echo "$n" >f
        git-shadow-commit save >/dev/null
    done
    log --json
    assert_equal "$(json commit <<<"$output" | sort -u | wc -l)" 120
    must git-shadow-commit show -s --format=%H '@{119}'
    assert_equal "$output" "$(git-shadow-commit log --format=%H | tail -n 1)"
}
