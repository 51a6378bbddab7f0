#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# A1, A8: births beside git's own prune, list and gc. t/stress/births.sh does it with more.

load helpers

@test "A1: eight births at once, while git prunes, lists and collects" {
    try "$TOP/t/stress/births.sh" --procs 8 --rounds 2
    # shellcheck disable=SC2154
    echo "# note: $output" >&3
    assert_equal "$status" 0
}

@test "A8: git worktree add under the same loops fails" {
    # The loops have teeth only if they find out the naive way.
    try "$TOP/t/stress/births.sh" --procs 8 --rounds 10 --naive
    # shellcheck disable=SC2154
    echo "# note: naive: $output" >&3
    assert_equal "$status" 1
}
