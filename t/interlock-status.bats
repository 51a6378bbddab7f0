#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git interlock status: one screen that a person understands.
#
# shellcheck disable=SC2154 # set by try(): output, stderr, lines

load helpers

both_widths() {
    local width
    for width in 80 140; do
        must env COLUMNS=$width git interlock status "$@"
        local line
        while IFS= read -r line; do
            line=$(sed $'s/\033\\[[0-9]*m//g' <<<"$line")
            assert_at_most ${#line} $width "columns of '$line'"
        done <<<"$output"
    done
}

@test "status: slots, runs, checkpoints and rescues on one screen, 80 and 140 columns wide" {
    make_repo
    must git interlock status
    assert_match "$output" 'no slots'
    assert_match "$output" 'checkpoints +0 chain'
    local wt branch
    branch="feature/of-a-very-long-name/$(printf '%0120d' 7)"
    must git worktree-claim -q --key task/seven
    wt=$output
    put "$wt/README" changed
    put "$wt/new/er" work
    must git shadow-commit -q
    # A slot that was given back with work in it.
    must git worktree-claim
    put "$output/lost" found
    must git worktree-claim release -q default-2
    must git worktree-claim -q -b "$branch" -- git interlock run --mutex nightly -- git interlock status
    assert_match "${lines[0]}" '^  SLOT +STATE +AGE +DIRTY +BRANCH +HOLDER$'
    assert_match "${lines[1]}" '^  default-1 +leased +[0-9]+s +2 +\([0-9a-f]{10}\) +.*left, key task/seven$'
    assert_match "${lines[2]}" "^  default-2 +held +[0-9]+s +0 +$branch +pid [0-9]+ "
    assert_match "$output" 'MUTEX +PID +AGE +COMMAND'
    assert_match "$output" 'nightly +[0-9]+ +[0-9]+s +git interlock status'
    assert_match "$output" 'checkpoints +1 chain'
    assert_match "$output" 'rescues +1  \(git worktree-reap rescued\)'
    assert_match "$output" 'on disk +[0-9.]+[KM]?B? in [0-9]+ pack'
    assert_no_match "$output" $'\033'
    git worktree-claim -q -B "$branch" -- true
    both_widths
    both_widths --color
    assert_match "$output" $'\033\\[32mleased\033'
    must_exit 129 env COLUMNS=wide git interlock status
    must_exit 129 git interlock status --watch --json
}

@test "status: the slots are asked at once, and each number is its slot's own" {
    make_repo
    local n
    for n in 1 2 3 4 5 6; do
        must git worktree-claim -q
        seq "$n" | while read -r file; do put "$output/$file" work; done
    done
    mkdir ../between ../asked
    cat >../between/git <<-SCRIPT
	#!/bin/bash
	# git whose status waits until somebody else asks as well
	if [[ " \$* " = *' status --porcelain'* ]]; then
	    : >'$PWD/../asked/'\$\$
	    for ((i = 0; i < 1000 && \$(ls '$PWD/../asked' | wc -l) < 2; i++)); do sleep 0.02; done
	    ls '$PWD/../asked' | wc -l >>'$PWD/../met'
	fi
	exec '$(command -v git)' "\$@"
	SCRIPT
    chmod +x ../between/git
    PATH=$(cd ../between && pwd):$PATH must git-interlock status --json
    assert_equal "$(grep '"slot"' <<<"$output" | json slot dirty | paste -sd' ')" \
        'default-1 1 default-2 2 default-3 3 default-4 4 default-5 5 default-6 6'
    refute grep -qx 1 ../met
}

@test "status: it changes nothing, and runs no hook of the user's" {
    make_repo
    must git worktree-claim -q
    put "$output/new" work
    local before
    before=$(find .git ../repo.worktrees -printf '%p %T@ %s\n' | sort)
    must git interlock status
    assert_equal "$(find .git ../repo.worktrees -printf '%p %T@ %s\n' | sort)" "$before" 'files'
}

@test "status: names from a repository reach no terminal as they are" {
    make_repo
    must git interlock run --mutex tick -- sh -c 'git interlock status # '$'\033[2J\n'
    assert_no_match "$output" $'\033'
    assert_match "$output" 'tick'
}

@test "status: --watch shows it again when something happens" {
    make_repo
    bg git-interlock status --watch >seen
    screens() { [ "$(grep -c 'on disk' seen)" -ge "$1" ]; }
    await 10 screens 1
    must git worktree-claim -q
    await 10 grep -q 'default-1 .*leased' seen
    must git worktree-claim release -q default-1
    released() { tail -n 8 seen | grep -q 'default-1 .*free'; }
    await 10 released
}
