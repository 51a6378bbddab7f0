#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# Waiting for somebody else: who is told, and how long it may last.

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
