#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# Our reading of gitignore(5) against git's own, on random rules and paths.
# IGNORE_SEED and IGNORE_CASES choose others.

load helpers

# ignored paths must be neither rare nor the rule, and few may be left to git
compare() { # <mode> <cases> <verdicts at least>
    must perl "$TOP/t/helper/ignore-cases.pl" "$1" "$B/t/unit/test-ignore" \
        "${IGNORE_SEED:-20391}" "${IGNORE_CASES:-$2}"
    echo "# note: $output" >&3
    [[ $output =~ ,\ ([0-9]+)\ verdicts,\ ([0-9]+)\ ignored,\ ([0-9]+)\ left ]]
    [ -n "${IGNORE_CASES:-}" ] || assert_at_least "${BASH_REMATCH[1]}" "$3" verdicts
    assert_at_least "$((BASH_REMATCH[2] * 10))" "${BASH_REMATCH[1]}" 'ten times the ignored'
    assert_at_most "$((BASH_REMATCH[2] * 10))" "$((BASH_REMATCH[1] * 9))" 'ten times the ignored'
    assert_at_most "$((BASH_REMATCH[3] * 10))" "${BASH_REMATCH[1]}" 'ten times the doubtful'
}

@test "D12: every rule is read as git check-ignore reads it" {
    compare patterns 600 10000
}

@test "D12: a tree with rules at all places has the untracked files that git ls-files sees" {
    compare trees 40 2000
}
