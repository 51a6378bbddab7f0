#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# F1: SIGKILL at some system calls of every operation; t/stress/kill-sweep.sh
# --all does all of them. KILL_POINTS is how many for each, KILL_SEED where to begin.

load helpers

sweep() {
    requires ptrace
    local seed=${KILL_SEED:-$((RANDOM + 1))}
    try "$TOP/t/stress/kill-sweep.sh" --sample "${KILL_POINTS:-12}" --offset "$seed" "$@"
    # shellcheck disable=SC2154
    echo "# note: seed $seed: $output" >&3
    assert_equal "$status" 0
}

@test "F1: killat counts what strace -f -c counts" {
    requires ptrace strace
    make_repo
    put new content
    cp -a . ../again
    "$HELPER/killat" -c -o ../report -- git add -A
    (cd ../again && strace -f -c -o ../strace git add -A)
    local ours theirs
    ours=$(sed -n 's/^returned //p' ../report)
    theirs=$(awk '$NF == "total" { print $4 }' ../strace)
    assert_at_least "$ours" 50
    assert_equal "$ours" "$theirs" 'number of calls'
}

@test "F1: a kill at a call stops it before it is made, and all processes with it" {
    requires ptrace
    make_repo
    local total
    "$HELPER/killat" -o ../report -- mkdir made
    rmdir made
    total=$(sed -n 's/^calls //p' ../report)
    local n made=0 unmade=0
    for n in $(seq 1 "$total"); do
        "$HELPER/killat" -n "$n" -- mkdir made || :
        if [ -d made ]; then
            rmdir made
            made=$((made + 1))
        else
            unmade=$((unmade + 1))
        fi
    done
    assert_at_least "$made" 1
    assert_at_least "$unmade" 1
    # A child that outlives its killed parent would write later.
    "$HELPER/killat" -n 60 -- sh -c '(sleep 0.5; echo late >late) & sleep 1' || :
    sleep 0.7
    assert_absent late
}

@test "F1: git update-ref, killed, leaves a lock that nobody heals: the sweep sees it" {
    requires ptrace
    # The same machine on git's own swap must find what is wrong with it.
    try "$TOP/t/stress/kill-sweep.sh" --op update-ref --engine git --sample 60
    echo "# note: naive: $output" >&3
    assert_equal "$status" 1
    assert_match "$output" ' [1-9][0-9]* wrong'
    # shellcheck disable=SC2154
    assert_match "$stderr" 'x.lock'
}

@test "F1: save, killed: native" { sweep --op save --engine native; }
@test "F1: save, killed: git" { sweep --op save --engine git; }
@test "F1: save, killed: git, SHA-256" { sweep --op save --engine git --hash sha256; }
@test "F1: save, killed, the children live on: git" { sweep --op save --engine git --one; }
@test "F1: save of a path, killed: native" { sweep --op path-save --engine native; }
@test "F1: restore, killed: native" { sweep --op restore --engine native; }
@test "F1: restore, killed: git" { sweep --op restore --engine git; }
@test "F1: cas-ref, killed: native" { sweep --op swap --engine native; }
@test "F1: cas-ref, killed: git, SHA-256" { sweep --op swap --engine git --hash sha256; }
@test "F1: cas-ref --delete, killed: native" { sweep --op delete --engine native; }
@test "F1: cas-ref --update, killed: native" { sweep --op update --engine native; }
@test "F1: cas-ref --stdin, killed: native" { sweep --op stdin --engine native; }
@test "F1: save and cas-ref in a reftable repository, killed: git" {
    requires reftable
    sweep --op save --engine git --refs reftable
    sweep --op swap --engine git --refs reftable
    sweep --op stdin --engine git --refs reftable
}
@test "F1: cas-ref, ended by SIGTERM: native" { sweep --op swap --engine native --signal TERM; }
@test "F1: save, ended by SIGTERM: native" { sweep --op save --engine native --signal TERM; }

@test "killat: a call that is made to fail leaves nobody waiting for ever" {
    requires ptrace
    local total n
    must "$HELPER/killat" -c -o report -- sh -c 'echo x | cat'
    total=$(sed -n 's/^calls //p' report)
    # A close that failed and did not close would keep cat waiting.
    for ((n = 1; n <= total; n++)); do
        try timeout 20 "$HELPER/killat" -n "$n" --inject=EIO -o /dev/null -- sh -c 'echo x | cat'
        assert_differ "$status" 124 "after call $n"
    done
}
