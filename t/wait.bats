#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# Waiting for somebody else: who is told, and how long it may last.
#
# shellcheck disable=SC2030,SC2031,SC2154 # run sets its variables in each test

load helpers

# The command ends with 75 after less than a second of waiting, and has said once whom
# it waited for; with -q it says only the error. The last arguments are -- <command>.
tells_once() { # <what> <holder> <command>...
    local what=$1 holder=$2
    shift 2
    within 4000 must_exit 75 "$@"
    assert_equal "$(grep -c '^waiting for ' <<<"$stderr")" 1 'lines about the wait'
    assert_match "$stderr" "waiting for lock '[^']*$what', held by $holder"
    must_exit 75 "$@" -q
    assert_equal "$(grep -c '^waiting for ' <<<"$stderr")" 0 'lines about the wait, with -q'
    [ -n "$stderr" ]
}

make_ref() {
    make_repo
    old=$(git rev-parse HEAD)
    new=$(git commit-tree -p "$old" -m new 'HEAD^{tree}')
    must git cas-ref refs/x/a "$old" ''
}

@test "wait: cas-ref says within a second, and once, who holds our lock" {
    every_variant swap_waits_for_us
}
swap_waits_for_us() {
    make_ref
    hold flock .git/interlock/locks/ref-refs%2Fx%2Fa
    tells_once ref-refs%2Fx%2Fa 'pid [0-9]+ .hold.' git cas-ref --timeout 900ms refs/x/a "$new" "$old"
    # A wait that is over soon is not worth a word.
    must_exit 75 git cas-ref --timeout 200ms refs/x/a "$new" "$old"
    assert_equal "$(grep -c '^waiting for ' <<<"$stderr")" 0
    unhold
}

@test "wait: cas-ref says within a second, and once, who holds git's lock" {
    every_variant swap_waits_for_git
}
swap_waits_for_git() {
    make_ref
    hold dotlock .git/refs/x/a
    tells_once refs/x/a.lock 'pid [0-9]+ .hold.' git cas-ref --timeout 900ms refs/x/a "$new" "$old"
    unhold
    # Nobody has it open: that is said as well.
    : >.git/refs/x/a.lock
    tells_once refs/x/a.lock 'nobody who can be seen' \
        git cas-ref --timeout 900ms refs/x/a "$new" "$old"
}

@test "wait: cas-ref --update and --stdin say it, too" {
    both_engines loop_and_batch_wait
}
loop_and_batch_wait() {
    make_ref
    hold dotlock .git/refs/x/a
    must_exit 75 git cas-ref --timeout 900ms --update refs/x/a -- echo "$new"
    assert_equal "$(grep -c "^waiting for lock '.*a.lock', held by pid" <<<"$stderr")" 1
    printf 'update refs/x/a %s %s\nupdate refs/x/b %s %s\n' "$new" "$old" "$new" '' >../in
    must_exit 75 git cas-ref --timeout 900ms --stdin <../in
    assert_equal "$(grep -c "^waiting for lock '.*a.lock', held by pid" <<<"$stderr")" 1
    unhold
    must git cas-ref --timeout 10s --stdin <<<"update refs/x/a $new $old"
    assert_equal "$stderr" ''
}

@test "wait: cas-ref says it where refs are a reftable" {
    requires reftable
    make_repo --ref-format reftable
    old=$(git rev-parse HEAD)
    new=$(git commit-tree -p "$old" -m new 'HEAD^{tree}')
    hold dotlock .git/reftable/tables.list
    tells_once tables.list.lock 'pid [0-9]+ .hold.' git cas-ref --timeout 900ms refs/x/a "$new" ''
    unhold
}

@test "wait: a save says within a second, and once, who holds the chain or the objects" {
    both_engines save_waits
}
save_waits() {
    make_repo
    must git shadow-commit
    put new 'new content'
    local lock=.git/interlock/locks/ref-refs%2Fshadow%2Fmain%2Fb%2Fmain
    hold flock "$lock"
    tells_once "${lock##*/}" 'pid [0-9]+ .hold.' git shadow-commit --lock-timeout 900ms
    unhold
    hold flock .git/interlock/locks/objects
    tells_once objects 'pid [0-9]+ .hold.' git shadow-commit --lock-timeout 900ms
    unhold
    hold dotlock ".git/$(shadow_ref)"
    tells_once "$(basename "$(shadow_ref)").lock" 'pid [0-9]+ .hold.' git shadow-commit --lock-timeout 900ms
    unhold
    must git shadow-commit
    assert_equal "$stderr" ''
}

@test "wait: restore and expire say it, too" {
    make_repo
    must git shadow-commit
    put README changed
    hold dotlock .git/index
    tells_once index.lock 'pid [0-9]+ .hold.' git shadow-commit restore --staged --lock-timeout 900ms
    unhold
    git config interlock.lockTimeout 900ms
    git config interlock.segmentMax 1
    put README once
    must git shadow-commit
    put README twice
    must git shadow-commit
    hold flock .git/interlock/locks/objects
    tells_once objects 'pid [0-9]+ .hold.' git shadow-commit expire --keep 1
    unhold
}

# ---- --best-effort: never a failure, never a delay ---------------------------------------------

# A best-effort save that cannot be: status 0 in good time, a line on stderr that matches,
# and one more in the ledger.
gives_up() { # <what stderr says>
    local before=0
    [ ! -e .git/interlock/ledger ] || before=$(wc -l <.git/interlock/ledger)
    within 4000 must git shadow-commit --best-effort --lock-timeout 500ms
    assert_equal "$output" ''
    assert_match "$stderr" "$1"
    [ "${2-}" != unheard ] || return 0
    assert_equal "$(wc -l <.git/interlock/ledger)" $((before + 1)) 'lines in the ledger'
    assert_match "$(tail -n 1 .git/interlock/ledger)" '"event":"save-failed"'
}

locked_repo() {
    make_repo
    must git shadow-commit
    put new 'new content'
    lock=.git/interlock/locks
    chain=ref-refs%2Fshadow%2Fmain%2Fb%2Fmain
}

@test "best effort: every lock that a save can meet" {
    both_engines meets_every_lock
}
meets_every_lock() {
    locked_repo
    hold flock "$lock/$chain"
    gives_up "$chain"
    unhold
    hold flock "$lock/objects"
    gives_up objects
    unhold
    hold dotlock ".git/$(shadow_ref)"
    gives_up 'main.lock'
    unhold
    # Nobody's lock, and the ledger's on top of it.
    : >".git/$(shadow_ref).lock"
    gives_up 'main.lock'
    hold flock "$lock/ledger"
    gives_up 'main.lock' unheard
    unhold
    rm ".git/$(shadow_ref).lock"
    # A new segment pins the end of the old one.
    git config interlock.segmentMax 1
    hold flock "$lock/ref-refs%2Fshadow-old%2Fmain%2Fb%2Fmain%2F000001"
    gives_up 'shadow-old'
    unhold
    mkdir -p .git/refs/shadow-old/main/b/main
    hold dotlock .git/refs/shadow-old/main/b/main/000001
    gives_up 'main/000001.lock'
    unhold
    # None of these is in a save's way.
    hold flock "$lock/pack"
    hold_too dotlock .git/index
    within 4000 must git shadow-commit --best-effort --lock-timeout 500ms
    assert_equal "$(git rev-parse "$output^{tree}")" "$(git_tree)"
}

# Holds one more, until the test ends.
hold_too() {
    local outer=$HOLD_FD outer_pid=$HOLD_PID
    hold "$@"
    HOLD_FD=$outer HOLD_PID=$outer_pid
}

@test "best effort: the lock for merging packs is not waited for" {
    make_repo
    local n
    for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        mkdir -p .git/interlock/locks
        [ "$n" != 2 ] || hold flock .git/interlock/locks/pack
        put new "content $n"
        within 4000 must git shadow-commit --best-effort --lock-timeout 500ms
        [ -n "$output" ]
    done
    unhold
}

@test "best effort: a hook of the user's that hangs, and one that leaves a daemon" {
    both_engines hanging_hook
}
hanging_hook() {
    locked_repo
    local tip
    tip=$(git rev-parse "$(shadow_ref)")
    mkdir -p .git/hooks
    printf '#!/bin/sh\nexec sleep 30\n' >.git/hooks/reference-transaction
    chmod +x .git/hooks/reference-transaction
    gives_up 'given up'
    assert_equal "$(git rev-parse "$(shadow_ref)")" "$tip"
    printf '#!/bin/sh\nsleep 30 &\n' >.git/hooks/reference-transaction
    within 4000 must git shadow-commit --best-effort --lock-timeout 500ms
    # With the hook gone all is as before: nothing stands in the way.
    rm .git/hooks/reference-transaction
    put new 'newer content'
    must git shadow-commit --lock-timeout 10s
    assert_equal "$(git rev-parse "$output^{tree}")" "$(git_tree)"
}

@test "best effort: a save that is killed, a full disk behind stdout, a bad call" {
    make_repo
    must git shadow-commit
    put new 'new content'
    try sh -c 'git shadow-commit --best-effort >/dev/full'
    assert_equal "$status" 0
    assert_match "$stderr" 'the checkpoint is saved, but: '
    assert_match "$(tail -n 1 .git/interlock/ledger)" '"event":"save-failed".*is saved, but'
    put new 'newer content'
    try bash -c 'git shadow-commit --best-effort >&-'
    assert_equal "$status" 0
    # A file size limit, whose signal kills.
    put big "$(head -c 300000 /dev/urandom | base64)"
    try bash -c 'ulimit -f 8 && git shadow-commit --best-effort'
    assert_equal "$status" 0
    [ -n "$stderr" ]
    must git shadow-commit --best-effort
    assert_equal "$(git rev-parse "$output^{tree}")" "$(git_tree)"
    local known
    known=$(wc -l <.git/interlock/ledger)
    must git shadow-commit --bogus --best-effort
    assert_match "$stderr" 'bogus'
    must git shadow-commit --best-effort --session '..'
    assert_match "$stderr" '--session'
    assert_equal "$(wc -l <.git/interlock/ledger)" $((known + 2))
    must env GIT_INTERLOCK_LOCK_TIMEOUT=soon git shadow-commit --best-effort
    assert_match "$stderr" 'GIT_INTERLOCK_LOCK_TIMEOUT'
    cd "$BATS_TEST_TMPDIR"
    must git shadow-commit --best-effort
    assert_match "$stderr" 'not a git repository'
    # After the '--' it is a path, and this no best effort.
    cd repo
    must_exit 128 git shadow-commit -- --best-effort
}
