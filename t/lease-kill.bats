#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# F1, C6: SIGKILL at some system calls of claims, releases and reaps, and at random
# moments of many at once. t/stress/lease-sweep.sh --all and t/stress/cycles.sh
# --cycles 1000 do more of it. LEASE_POINTS is how many points for each, KILL_SEED where
# to begin, CYCLES how many cycles.

# shellcheck disable=SC2154 # set by try(): output, stderr
load helpers

sweep() {
    requires ptrace
    local seed=${KILL_SEED:-$((RANDOM + 1))}
    try "$TOP/t/stress/lease-sweep.sh" --sample "${LEASE_POINTS:-8}" --offset "$seed" "$@"
    echo "# note: seed $seed: $output" >&3
    assert_equal "$status" 0
}

@test "F1: git worktree add, killed, leaves what fsck complains of: the sweep sees it" {
    requires ptrace
    # The same machine on git's own command must find what is wrong with it.
    try "$TOP/t/stress/lease-sweep.sh" --op add --sample 10
    echo "# note: naive: $output" >&3
    assert_equal "$status" 1
    assert_match "$output" ' [1-9][0-9]* wrong'
}

@test "C6: a claim for a command, killed: native" { sweep --op command; }
@test "C6: a claim of a dirty slot, killed: native" { sweep --op dirty; }
@test "C6: a claim of a dirty slot, killed: git, SHA-256" { sweep --op dirty --engine git --hash sha256; }
@test "C6: a claim that makes a slot, killed: native" { sweep --op birth; }
@test "C6: a release with work, killed: native" { sweep --op release; }
@test "F1: a reap of an orphan, killed: native" { sweep --op reap; }
@test "F1: a reap that removes, killed: git, SHA-256" { sweep --op remove --engine git --hash sha256; }

@test "B2, B3, C11: claimed, killed and reaped by many: one holder, reaped once, nothing lost" {
    try "$TOP/t/stress/cycles.sh" --cycles "${CYCLES:-100}"
    echo "# note: $output" >&3
    assert_equal "$status" 0
}

@test "B2, C11: claimers that go by the pid in a record: two in one slot are seen" {
    try "$TOP/t/stress/cycles.sh" --naive --cycles 40
    assert_equal "$status" 1
    assert_match "$stderr" 'two in slot'
}
