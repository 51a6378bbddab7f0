#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git worktree-claim: what a claim promises, who holds it, how it ends.

# shellcheck disable=SC2154 # set by try(): output, stderr, lines
# shellcheck disable=SC2016,SC2030,SC2031

load helpers

claim() { git worktree-claim "$@"; }

# The value of a key of the slot's line in `list --json`.
slot_is() { # <slot> <key>
    git worktree-claim list --json | while read -r line; do
        [ "$(json slot <<<"$line")" != "$1" ] || json "$2" <<<"$line"
    done
}

assert_clean() { # <worktree>
    assert_equal "$(git -C "$1" status --porcelain)" '' "status of $1"
}

# ---- the promise --------------------------------------------------------------------

@test "claim: prints the path of a clean worktree at HEAD, and nothing else" {
    every_variant first_claim
}
first_claim() {
    make_repo
    must claim
    assert_equal "$output" "$PWD.worktrees/default-1"
    assert_equal "$stderr" ''
    assert_clean "$output"
    assert_equal "$(git -C "$output" rev-parse HEAD)" "$(git rev-parse HEAD)"
    refute git -C "$output" symbolic-ref -q HEAD
    assert_equal "$(cat "$output/README")" 'read me'
    assert_equal "$(slot_is default-1 state)" leased
    fsck
}

@test "claim: the caller's own worktree is as it was" {
    make_repo
    put README changed
    put new file
    user_state | grep -v refs/ >"$BATS_TEST_TMPDIR/before"
    must claim -b topic
    user_state | grep -v refs/ >"$BATS_TEST_TMPDIR/after"
    diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
}

@test "claim: a slot that was given back is used again, at the new base" {
    every_variant reuse
}
reuse() {
    make_repo
    must claim
    local wt=$output first
    first=$(slot_is default-1 born)
    must claim release default-1
    put README 'second version'
    git commit -qam second
    must claim
    assert_equal "$output" "$wt"
    assert_equal "$(slot_is default-1 born)" "$first" 'birth'
    assert_equal "$(cat "$wt/README")" 'second version'
    assert_clean "$wt"
}

@test "claim: --base takes what git takes" {
    make_repo
    local first
    first=$(git rev-parse HEAD)
    git tag -a v1 -m one
    put README two
    git commit -qam two
    for base in "$first" HEAD~1 v1 'v1^{commit}' ':/first'; do
        must claim --base "$base"
        assert_equal "$(git -C "$output" rev-parse HEAD)" "$first"
        must claim release "$output"
    done
    must_exit 128 claim --base no-such-thing
    must_exit 128 claim --base HEAD:README
    assert_equal "$(git worktree list | wc -l)" 2 'worktrees'
}

@test "claim: --progress shows how far git is, on standard error only; not a terminal: nothing" {
    make_repo
    export GIT_PROGRESS_DELAY=0
    must git-worktree-claim --progress
    assert_match "$stderr" '100% \(([0-9]+)/\1\)'
    assert_equal "$output" "$PWD.worktrees/default-1"
    must git-worktree-claim
    assert_equal "$stderr" ''
    # So does a slot that was left dirty and has to be cleaned.
    must git-worktree-claim release default-2
    echo left >../repo.worktrees/default-2/src/main.c
    must git-worktree-claim --progress
    assert_match "$stderr" '100% '
    must_exit 129 env GIT_PROGRESS_DELAY=soon git-worktree-claim
    assert_match "$stderr" GIT_PROGRESS_DELAY
}

@test "claim: from a subdirectory, a linked worktree, with -C, with leaked variables (D8)" {
    make_repo
    git worktree add -q ../linked
    local top=$PWD
    must git -C src worktree-claim
    assert_equal "$output" "$top.worktrees/default-1"
    must git -C ../linked worktree-claim
    assert_equal "$output" "$top.worktrees/default-2"
    cd /
    must env GIT_DIR="$top/.git" GIT_WORK_TREE="$top" GIT_INDEX_FILE="$top/.git/index" \
        GIT_PREFIX=src/ git-worktree-claim
    assert_equal "$output" "$top.worktrees/default-3"
    assert_clean "$output"
    assert_equal "$(git -C "$top" status --porcelain)" ''
}

@test "claim: a bare repository needs poolDir, and says so" {
    make_repo
    git clone -q --bare . ../bare.git
    cd ../bare.git
    must_exit 128 claim
    assert_match "$stderr" 'interlock.poolDir'
    assert_equal "$(ls worktrees 2>/dev/null)" ''
    git config interlock.poolDir "$BATS_TEST_TMPDIR/pool"
    must claim
    assert_equal "$output" "$BATS_TEST_TMPDIR/pool/default-1"
    assert_clean "$output"
}

@test "claim: no commit yet is refused, and nothing is left" {
    make_repo --empty
    must_exit 128 claim
    assert_match "$stderr" 'no commit'
    assert_absent "$PWD.worktrees"
}

# ---- branches -------------------------------------------------------------------------

@test "claim: -b makes a branch, and it is there once" {
    every_variant new_branch
}
new_branch() {
    make_repo
    must claim -b topic
    assert_equal "$(git -C "$output" symbolic-ref HEAD)" refs/heads/topic
    assert_equal "$(git rev-parse topic)" "$(git rev-parse HEAD)"
    assert_equal "$(slot_is default-1 branch)" topic
    must_exit 75 claim -B topic
    assert_match "$stderr" 'default-1'
    must claim release default-1
    refute git -C "$PWD.worktrees/default-1" symbolic-ref -q HEAD
    git rev-parse -q --verify topic
    must_exit 1 claim -b topic
    must claim -B topic
    assert_equal "$(git -C "$output" symbolic-ref HEAD)" refs/heads/topic
}

@test "claim: -B takes a branch as it is, and never moves it" {
    make_repo
    git branch topic
    put README two
    git commit -qam two
    must claim -B topic
    assert_equal "$(git -C "$output" rev-parse HEAD)" "$(git rev-parse HEAD~1)"
    must claim release default-1
    must_exit 1 claim -B topic --base HEAD
    assert_equal "$(git rev-parse topic)" "$(git rev-parse HEAD~1)"
    assert_equal "$(slot_is default-1 state)" free
}

@test "A11: a branch that is checked out is not taken" {
    make_repo
    must_exit 75 claim -B main
    assert_match "$stderr" "checked out at '$PWD'"
    assert_equal "$(git worktree list | wc -l)" 1 'worktrees'
}

@test "A11: of two claims for one existing branch one gets it, 10 of 10" {
    make_repo
    git branch topic
    local round a b
    for round in 1 2 3 4 5 6 7 8 9 10; do
        for n in 1 2; do
            bg "$HELPER/barrier" "$BATS_TEST_TMPDIR/barrier.$round" 2 \
                sh -c "git-worktree-claim -q --no-wait -B topic >out.$n 2>err.$n; echo \$? >status.$n"
        done
        await 20 test -s status.1
        await 20 test -s status.2
        a=$(cat status.1) b=$(cat status.2)
        rm status.1 status.2
        assert_equal "$(printf '%s\n' "$a" "$b" | sort -n | paste -sd' ')" '0 75' "round $round"
        must claim release "$(cat out.1 out.2)"
        rm out.? err.?
    done
}

# What git has not finished in a worktree, byte for byte, with what is there of it.
unfinished() { # <worktree>...
    local wt dir
    for wt in "$@"; do
        dir=$(git -C "$wt" rev-parse --absolute-git-dir)
        GIT_OPTIONAL_LOCKS=0 git -C "$wt" status --porcelain=v2 --branch
        find "$dir" \( -path "$dir/interlock" -o -path "$dir/objects" -o -path "$dir/worktrees" \
            -o -path "$dir/refs" -o -path "$dir/logs" \) -prune \
            -o -type f -printf '%p %i %T@ ' -exec sha256sum {} \; | sort
        find "$wt" -name .git -prune -o -type f -printf '%p %i %T@ ' -exec sha256sum {} \; | sort
    done
}

@test "A13: somebody's rebase, merge or bisect in progress is diagnosed, and never touched" {
    make_repo
    local n wt before where
    git tag start
    for n in side topic tested; do
        git checkout -q -b "$n" start
        put README "$n"
        git commit -qam "$n"
    done
    git checkout -q main
    put README main
    git commit -qam main
    # In the main worktree, in one of git's, and in a slot: with HEAD on no branch meanwhile.
    git checkout -q topic
    refute git rebase -q main >/dev/null 2>&1
    git worktree add -q ../linked side
    refute git -C ../linked merge -q main >/dev/null 2>&1
    git worktree add -q ../tester tested
    git -C ../tester bisect start tested start >/dev/null 2>&1
    git -C ../tester checkout -q --detach start
    must claim -b ours --base main --ttl 1h
    wt=$output
    git -C "$wt" reset -q --hard start
    put "$wt/README" ours
    git -C "$wt" commit -qam ours
    refute git -C "$wt" rebase -q main >/dev/null 2>&1
    where="$PWD ../linked ../tester $wt"
    # shellcheck disable=SC2086 # words
    before=$(unfinished $where)

    # Naive: no HEAD is on it, so it can be had.
    must_exit 75 claim -B topic
    assert_match "$stderr" "branch 'topic' is being rebased or bisected at '$PWD'"
    must_exit 75 claim -B tested
    assert_match "$stderr" "branch 'tested' is being rebased or bisected at '.*/tester'"
    must_exit 75 claim -B side
    assert_match "$stderr" "branch 'side' is checked out at '.*/linked'"
    must_exit 75 claim -B ours
    assert_match "$stderr" 'default-1'
    # A person who stands in one of them gets a slot of their own, and no base that is half done.
    must claim --base start
    assert_clean "$output"
    must claim release "$output"
    must git -C ../linked worktree-claim --max 2
    must claim release "$output"
    for n in ../linked ../tester; do
        must_exit 1 claim release "$n"
        must git worktree-reap --remove --prune "$n"
    done
    must_exit 1 claim release .
    must_exit 1 git worktree-reap --remove --prune .
    must git worktree-reap --remove --prune
    # shellcheck disable=SC2086
    assert_equal "$(unfinished $where)" "$before"

    # Each goes on as if nothing had been.
    put README both
    git add README
    GIT_EDITOR=true git rebase --continue >/dev/null 2>&1
    assert_equal "$(git symbolic-ref --short HEAD)" topic
    put ../linked/README both
    git -C ../linked commit -qam merged
    git -C ../tester bisect reset >/dev/null 2>&1
    assert_equal "$(git -C ../tester symbolic-ref --short HEAD)" tested
}

@test "claim: a bad branch, pool or key is exit 129, and nothing is left" {
    make_repo
    must_exit 129 claim -b 'a..b'
    must_exit 129 claim -b '-x'
    must_exit 129 claim -b HEAD
    for bad in '../x' '-x' $'a\nb' $'a\x1b[31mb' 'a b' '' "$(printf '%0201d' 1)"; do
        must_exit 129 claim "--pool=$bad"
        assert_no_match "$stderr" $'\x1b'
        must_exit 129 claim "--key=$bad"
    done
    assert_absent "$PWD.worktrees"
    assert_absent .git/worktrees
}

@test "claim: pools do not mix, and a slash in a name is no directory" {
    make_repo
    must claim --pool team/a
    assert_equal "$output" "$PWD.worktrees/team%2Fa-1"
    must claim --pool team
    must claim --pool team/a --max 2
    must_exit 75 claim --pool team/a --max 2 --no-wait
    must claim --pool team-1
    must claim list --json --pool team/a
    assert_equal "$(json slot <<<"$output" | paste -sd' ')" 'team/a-1 team/a-2'
}

# ---- wrapped commands ------------------------------------------------------------------

@test "B9: the status is the command's, and the slot is given back" {
    make_repo
    for status in 0 7 143; do
        must_exit $status claim -- sh -c "exit $status"
        assert_equal "$(slot_is default-1 state)" free
    done
    must_exit 137 claim -- sh -c 'kill -9 $$'
    must_exit 128 claim -- no-such-command
    must_exit 9 claim -E 9 -- no-such-command
    must_exit 129 claim -E 256 -- true
    assert_equal "$(slot_is default-1 state)" free
    must_exit 9 claim --pool full --max 0 -E 9 -b main -- true
}

@test "claim: a command runs in the slot, with its lease, and nothing of the caller's repository" {
    make_repo
    must claim -- sh -c 'pwd; echo "$GIT_INTERLOCK_SLOT"; git rev-parse --git-dir; env | grep ^GIT_DIR || :'
    assert_equal "${lines[0]}" "$PWD.worktrees/default-1"
    assert_equal "${lines[1]}" default-1
    assert_equal "${lines[2]}" "$PWD/.git/worktrees/default-1"
    assert_equal "${#lines[@]}" 3
    must claim -- sh -c 'git worktree-claim list --json'
    assert_equal "$(json state <<<"$output")" held
    first=$(git worktree-claim -- sh -c 'echo $GIT_INTERLOCK_LEASE')
    second=$(git worktree-claim -- sh -c 'echo $GIT_INTERLOCK_LEASE')
    assert_differ "$first" "$second" leases
}

@test "B6: a deadline is 142, with a line in the ledger" {
    make_repo
    GIT_INTERLOCK_GRACE=200ms within 8000 must_exit 142 claim --deadline 300ms -- sleep 60
    grep -q '"event":"finish".*its time was over' .git/interlock/ledger
    assert_equal "$(slot_is default-1 state)" free
}

@test "B7: the deadline is there: none unless set; by setting, variable and option" {
    make_repo
    export GIT_INTERLOCK_GRACE=200ms
    # Naive: a deadline that is documented, and read by nobody.
    ended() { within 8000 must_exit 142 "$@" -- sleep 60; }
    git config interlock.deadline 300ms
    ended git worktree-claim
    git config interlock.deadline 30s
    ended env GIT_INTERLOCK_DEADLINE=300ms git worktree-claim
    ended env GIT_INTERLOCK_DEADLINE=30s git worktree-claim --deadline 300ms
    # One step up wins in the other direction, too.
    git config interlock.deadline 1ms
    must env GIT_INTERLOCK_DEADLINE=30s git worktree-claim -- sleep 0.1
    must env GIT_INTERLOCK_DEADLINE=1ms git worktree-claim --deadline never -- sleep 0.1
    git config --unset interlock.deadline
    must git worktree-claim -- sleep 0.1
    # It is a command's: no other lease has one.
    git config interlock.deadline 1ms
    must claim
    sleep 0.1
    assert_equal "$(slot_is default-1 state)" leased
    must_exit 129 claim --deadline soon -- true
    must_exit 129 env GIT_INTERLOCK_DEADLINE=soon git worktree-claim -- true
    assert_match "$stderr" GIT_INTERLOCK_DEADLINE
}

@test "B12: SIGTERM ends the command, and the slot is clean within 10 s without the reaper" {
    make_repo
    git-worktree-claim -q -- sh -c 'echo x >dirty; : >started; sleep 60' 3>&- &
    local pid=$! start
    BG_PIDS+=("$pid")
    await 10 test -e "$PWD.worktrees/default-1/started"
    kill "$pid"
    local status=0
    start=$(now_ms)
    wait "$pid" || status=$?
    assert_equal "$status" 143
    assert_at_most $(($(now_ms) - start)) 10000 milliseconds
    assert_equal "$(slot_is default-1 state)" free
    assert_clean "$PWD.worktrees/default-1"
    assert_equal "$(git for-each-ref refs/rescue | wc -l)" 1 rescues
}

@test "B13: what a command left running is ended before the slot is given back" {
    make_repo
    GIT_INTERLOCK_GRACE=300ms must claim -- sh -c \
        'setsid sh -c "echo \$\$ >../left; trap : TERM; while :; do sleep 1; done" & while [ ! -s ../left ]; do sleep 0.05; done'
    refute kill -0 "$(cat "$PWD.worktrees/left")"
    assert_match "$stderr" 'left'
    assert_equal "$(slot_is default-1 state)" free
}

# ---- who holds it --------------------------------------------------------------------------

@test "A2: a kernel lock excludes, and no name of a process" {
    make_repo
    must claim
    must claim release default-1
    # A decoy: nothing about it is ours but its words and where it sits.
    (cd "$PWD.worktrees/default-1" && exec -a 'git-worktree-claim --hold default-1' sleep 600 3>&-) &
    local decoy=$!
    BG_PIDS+=("$decoy")
    await 5 grep -qz 'git-worktree-claim --hold' "/proc/$decoy/cmdline"
    # Naive: whoever looks for the name finds it, and defers for ever.
    pgrep -f '^git-worktree-claim --hold' | grep -qx "$decoy"
    within 5000 must claim --max 1 --no-wait
    assert_equal "$output" "$PWD.worktrees/default-1"
    must claim release default-1
    # A peer that goes by another name, which no search for ours finds, holds all the same.
    cp "$BIN/git-worktree-claim" ./innocent
    mkfifo in out
    ./innocent --hold <in >out 3>&- &
    local peer=$!
    BG_PIDS+=("$peer")
    exec {SLOT_FD}>in
    read -r HELD <out
    refute grep -qz git-worktree-claim "/proc/$peer/cmdline"
    refute grep -q git-worktree "/proc/$peer/comm"
    assert_equal "$(slot_is default-1 state)" held
    must_exit 75 claim --max 1 --no-wait
    assert_match "$stderr" "default-1 \\(held: pid $peer "
    must git worktree-reap
    assert_equal "$(slot_is default-1 state)" held
    # What holds is in the kernel, on a directory below the common one.
    refute flock -n .git/worktrees/default-1 true
    exec {SLOT_FD}>&-
    wait "$peer"
    flock -n .git/worktrees/default-1 true
    # Nor need the peer have written anything, nor be a program of ours.
    bg flock .git/worktrees/default-1 sleep 600
    await 5 is_held
    must_exit 75 claim --max 1 --no-wait
    assert_match "$stderr" 'default-1 \(held: pid [0-9]+ \((flock|sleep)\)'
    pkill -P "${BG_PIDS[-1]}" || :
    await 5 eval '! is_held'
    must claim --max 1 --no-wait
}
is_held() { [ "$(slot_is default-1 state)" = held ]; }

# All that a claim could leave. The ledger, the lock files and their folders are there to be written.
all_of_it() {
    git for-each-ref
    git worktree list --porcelain
    find "$BATS_TEST_TMPDIR" \( -path '*/interlock/ledger' -o -path '*/interlock/locks' -o \
        -path "$BATS_TEST_TMPDIR/separate-stderr-*" \) -prune \
        -o -path '*/interlock' -o -path '*/interlock/leases' -o -path '*/interlock/git' \
        -o -type f -printf '%p %i %s %T@\n' -o -type d -printf '%p\n' -o -printf '%p %i %l\n' | sort
}

is_still() { diff <(printf '%s\n' "$1") <(all_of_it) || flunk 'something was changed'; } # <what it was>

@test "A3: a peer has it: 75, the peer by pid, command and since when, and nothing is left behind" {
    make_repo
    git branch topic
    mkfifo end
    git-worktree-claim -q --key task/1 -B topic -- \
        sh -c 'echo "$PPID" >"$1/begun"; read x <"$1/end"' sh "$PWD" 3>&- &
    local run=$! before who what
    BG_PIDS+=("$run")
    await 10 test -s begun
    assert_equal "$(cat begun)" "$run"
    who="pid $run \(sh -c .*\), since 20[0-9-]+T[0-9:]+Z"
    before=$(all_of_it)
    for what in '--max 1 --no-wait' '--key task/1' '-B topic' \
        "release default-1 --lease $(slot_is default-1 lease)"; do
        # shellcheck disable=SC2086 # words
        within 5000 must_exit 75 claim $what
        assert_equal "$output" '' "path of claim $what"
        assert_equal "${#stderr_lines[@]}" 1 'lines of message'
        assert_match "$stderr" "$who"
        is_still "$before"
    done
    must_exit 1 claim release default-1
    assert_match "$stderr" "$who"
    must git worktree-reap --json
    assert_match "$(json reason <<<"$output")" "$who"
    is_still "$before"
    # Each is in the ledger, with whom it was deferred for.
    assert_equal "$(grep -c '"event":"deferred".*"reason":".*pid '"$run" .git/interlock/ledger)" 3
    echo >end
    wait "$run"
    # Other kinds of holders are named as well.
    hold_slot
    must_exit 75 claim --max 1 --no-wait
    assert_match "$stderr" "pid $SLOT_PID \(git worktree-claim --hold\), since 20"
    let_slot_go
    sleep 600 3>&- &
    BG_PIDS+=("$!")
    must claim -q --owner-pid "$!"
    must_exit 75 claim --max 1 --no-wait
    assert_match "$stderr" "pid $! \(sleep\), since 20"
}

@test "A3: a descendant of the holder is no peer of it" {
    make_repo
    # Naive: the key is taken, and the holder waits for itself.
    within 10000 must claim --max 1 --key task/1 -- \
        sh -c 'pwd; sh -c "setsid -w git worktree-claim --key task/1 | cat"'
    assert_equal "${lines[0]}" "$PWD.worktrees/default-1"
    assert_equal "${lines[1]}" "${lines[0]}"
    # Nor does it have to be told by a variable.
    within 10000 must claim --max 1 --key task/1 -- \
        env -u GIT_INTERLOCK_LEASE git worktree-claim --key task/1
    assert_equal "$output" "$PWD.worktrees/default-1"
    # Without the key it wants another slot, and is told who has this one.
    within 10000 must claim --max 1 -- sh -c 'git worktree-claim --max 1 --no-wait; echo $?'
    assert_equal "$output" 75
}

@test "A4: a lock that cannot be judged is neither free nor busy" {
    requires strace
    make_repo
    must claim
    put "$output/work" mine
    must claim release default-1
    must claim --ttl 1s
    put "$output/work" mine
    await 5 eval '[ "$(slot_is default-1 state)" = expired ]'
    local error reason before
    before=$(all_of_it)
    while read -r error reason; do
        unlocked() { strace -f -qq -o "$BATS_TEST_TMPDIR/separate-stderr-trace" -e trace=flock \
            -e "inject=flock:error=$error" "$@"; }
        # Naive: no lock was got, so it is held (75), or nobody has it.
        must_exit 128 unlocked git-worktree-claim --max 1 --no-wait
        assert_match "$stderr" "^fatal: .*$reason"
        assert_equal "${#stderr_lines[@]}" 1 'lines of message'
        must unlocked git-worktree-claim list --json
        assert_equal "$(json state <<<"$output")" unknown
        must unlocked git-worktree-reap --remove --json
        assert_equal "$(json state action <<<"$output" | paste -sd' ')" 'unknown none'
        assert_match "$(json reason <<<"$output")" "$reason"
        is_still "$before"
    done <<-'ERRORS'
	ENOLCK No locks available
	EACCES Permission denied
	EIO Input/output error
	ERRORS
    must git worktree-reap --json
    assert_equal "$(json result <<<"$output")" 'done'
}

@test "claim: --hold holds until standard input ends" {
    make_repo
    hold_slot
    assert_equal "$(slot_is default-1 state)" held
    must_exit 75 claim --max 1 --no-wait
    assert_match "$stderr" 'default-1'
    let_slot_go
    assert_equal "$(slot_is default-1 state)" free
}

@test "claim: --owner-pid holds while that process lives, and does not hold the caller's pipe" {
    make_repo
    sleep 60 3>&- &
    local owner=$! wt
    BG_PIDS+=("$owner")
    # B15: a watcher that kept stdout open would hang this.
    wt=$(timeout 20 git worktree-claim --owner-pid "$owner")
    assert_equal "$(slot_is default-1 state)" held
    put "$wt/new" work
    kill -9 "$owner"
    await 10 eval '[ "$(slot_is default-1 state)" = free ]'
    assert_clean "$wt"
    assert_equal "$(git for-each-ref refs/rescue | wc -l)" 1 rescues
}

@test "claim: the watcher killed and the owner alive is unknown, never orphaned" {
    make_repo
    sleep 60 3>&- &
    local owner=$! watcher
    BG_PIDS+=("$owner")
    must claim --owner-pid "$owner"
    watcher=$(fuser "$PWD/.git/worktrees/default-1" 2>/dev/null | tr -d ' ') || :
    [ -n "$watcher" ] || skip "requires fuser"
    kill -9 $watcher
    await 10 eval '[ "$(slot_is default-1 state)" = unknown ]'
    must_exit 75 claim --max 1 --no-wait
    must git worktree-reap
    assert_equal "$(slot_is default-1 state)" unknown
    kill -9 "$owner"
    await 10 eval '[ "$(slot_is default-1 state)" = orphaned ]'
}

@test "B1 B2: a holder that was killed is orphaned, and rescued once" {
    make_repo
    hold_slot
    put "$HELD/README" 'precious work'
    put "$HELD/new" 'more of it'
    kill -9 "$SLOT_PID"
    wait "$SLOT_PID" || :
    assert_equal "$(slot_is default-1 state)" orphaned
    # E2: the next claim gets it at once.
    within 5000 must claim --max 1 --no-wait
    assert_equal "$output" "$HELD"
    assert_clean "$HELD"
    local ref
    ref=$(git for-each-ref --format='%(refname)' refs/rescue)
    assert_equal "$(git show "$ref:README")" 'precious work'
    assert_equal "$(git show "$ref:new")" 'more of it'
}

@test "B14: the state folder deleted under a live holder gives no second holder" {
    make_repo
    hold_slot
    # It may be about to write there: until it is gone.
    await 5 rm -rf .git/interlock
    must_exit 75 claim --max 1 --no-wait
    must git worktree-reap
    assert_equal "$(slot_is default-1 state)" held
    let_slot_go
}

@test "C10: a record that was edited to lie changes nothing while the lock is held" {
    make_repo
    hold_slot
    sed -i 's/"phase":"[a-z]*"/"phase":"free"/' .git/worktrees/default-1/locked
    assert_equal "$(slot_is default-1 state)" held
    must_exit 75 claim --max 1 --no-wait
    printf 'garbage' >.git/worktrees/default-1/locked
    must_exit 75 claim --max 1 --no-wait
    let_slot_go || :
}

# ---- waiting ----------------------------------------------------------------------------------

@test "C4: pool full, timeout 2 s: 75 in under 3 s, by option, variable and setting" {
    make_repo
    hold_slot
    full() {
        local start
        start=$(now_ms)
        must_exit 75 "$@"
        assert_at_least $(($(now_ms) - start)) 1900 milliseconds
        assert_at_most $(($(now_ms) - start)) 3000 milliseconds
        assert_match "$stderr" 'waiting: .*default-1'
    }
    full git worktree-claim --max 1 --timeout 2s
    full env GIT_INTERLOCK_CLAIM_TIMEOUT=2s git worktree-claim --max 1
    git config interlock.claimTimeout 2s
    git config interlock.poolMax 1
    full git worktree-claim
    let_slot_go
}

@test "C5: a timeout that is not below the caller's cap is refused, with both numbers" {
    make_repo
    export GIT_INTERLOCK_TASK_CAP=180s
    must_exit 129 claim --timeout 10m
    assert_match "$stderr" '600s'
    assert_match "$stderr" '180s'
    must_exit 129 env GIT_INTERLOCK_CLAIM_TIMEOUT=180s git worktree-claim
    assert_match "$stderr" 'GIT_INTERLOCK_CLAIM_TIMEOUT'
    assert_absent "$PWD.worktrees"
    hold_slot
    # The default one is shortened.
    GIT_INTERLOCK_TASK_CAP=2s within 2000 must_exit 75 claim --max 1
    let_slot_go
}

@test "B5: a waiter gets the slot when its holder ends" {
    make_repo
    hold_slot
    git-worktree-claim --max 1 --timeout 60s >out 2>err 3>&- {SLOT_FD}>&- &
    local waiter=$!
    BG_PIDS+=("$waiter")
    await 10 grep -q 'waiting: .*default-1' err
    let_slot_go
    within 5000 wait "$waiter"
    assert_equal "$(cat out)" "$HELD"
}

@test "B2: a waiter gets the slot after its holder's SIGKILL" {
    make_repo
    hold_slot
    git-worktree-claim --max 1 --timeout 60s >out 2>err 3>&- {SLOT_FD}>&- &
    local waiter=$!
    BG_PIDS+=("$waiter")
    await 10 grep -q 'waiting: .*default-1' err
    kill -9 "$SLOT_PID"
    within 5000 wait "$waiter"
    assert_equal "$(cat out)" "$HELD"
}

@test "claim: a waiter is woken when a time lease is released, and when one runs out" {
    make_repo
    must claim
    git-worktree-claim --max 1 --timeout 60s >out 2>err 3>&- &
    local waiter=$!
    BG_PIDS+=("$waiter")
    await 10 grep -q 'waiting: .*default-1' err
    must claim release default-1
    within 5000 wait "$waiter"
    must claim release default-1
    must claim --ttl 2s
    within 6000 must claim --max 1 --timeout 60s
}

@test "C8: --count 5 with 3 to be had: three lines, 75, at once" {
    make_repo
    hold_slot
    within 5000 must_exit 75 claim --count 5 --max 4 --no-wait
    assert_equal "${#lines[@]}" 3
    assert_equal "$(printf '%s\n' "${lines[@]}" | sort -u | wc -l)" 3 'different paths'
    let_slot_go
}

# ---- keys ------------------------------------------------------------------------------------

@test "claim: one key is leased once, and its owner gets the slot again" {
    make_repo
    sleep 60 3>&- &
    local owner=$!
    BG_PIDS+=("$owner")
    must claim --key fix/7
    must_exit 75 claim --key fix/7
    assert_match "$stderr" 'default-1'
    must claim --key other -- sh -c 'git worktree-claim --key other'
    assert_equal "$output" "$PWD.worktrees/default-2"
    # Nor does a command inside give back what the one around it has.
    must claim --key other -- sh -c 'git worktree-claim --key other -- true && git worktree-claim list --json'
    assert_equal "$(tail -n 1 <<<"$output" | json slot state key | paste -sd' ')" 'default-2 held other'
    must_exit 129 claim --key fix/7 --resume -- true
    # One's own time lease is taken over on purpose only, under a new id.
    local lease
    lease=$(slot_is default-1 lease)
    put "$PWD.worktrees/default-1/work" 'in progress'
    must claim --key fix/7 --resume
    assert_equal "$output" "$PWD.worktrees/default-1"
    assert_file "$output/work" 'in progress'
    must_exit 1 claim release default-1 --lease "$lease"
    assert_equal "$(slot_is default-1 state)" leased
}

# ---- release ----------------------------------------------------------------------------------

@test "release: prints branch, commits ahead and the rescue; the branch stays" {
    every_variant release_report
}
release_report() {
    make_repo
    must claim -b topic
    local wt=$output
    put "$wt/one" 1
    git -C "$wt" add -A
    git -C "$wt" commit -qm one
    put "$wt/two" 2
    must claim release "$wt" --json
    assert_equal "$(json branch ahead branch_deleted <<<"$output" | paste -sd' ')" 'topic 1 false'
    local ref
    ref=$(json rescued <<<"$output")
    assert_match "$ref" '^refs/rescue/default-1/'
    assert_equal "$(git show "$ref:two")" 2
    git rev-parse -q --verify topic
    assert_clean "$wt"
    assert_equal "$(git -C "$wt" rev-parse HEAD)" "$(git rev-parse main)"
    # Brought back by one command.
    must git shadow-commit restore "$ref"
    assert_file two 2
}

@test "release: --delete-branch rescues the commits that only it has" {
    make_repo
    must claim -b topic
    local wt=$output tip
    put "$wt/one" 1
    git -C "$wt" add -A
    git -C "$wt" commit -qm one
    tip=$(git -C "$wt" rev-parse HEAD)
    must claim release "$wt" --delete-branch
    refute git rev-parse -q --verify refs/heads/topic
    git rev-list --stdin <<<"$(git for-each-ref --format='%(objectname)' refs/rescue)" | grep -qx "$tip"
}

@test "release: the caller's own only; a lease that is not current changes nothing" {
    make_repo
    hold_slot
    must_exit 1 claim release default-1
    must_exit 1 claim release default-1 --lease 00000000000000000000000000000000
    must_exit 1 claim release no-such-slot
    must_exit 1 claim release "$PWD"
    assert_equal "$(slot_is default-1 state)" held
    local lease
    lease=$(slot_is default-1 lease)
    # Whoever knows the id may; the holder lets go.
    within 8000 must claim release default-1 --lease "$lease"
    assert_equal "$(slot_is default-1 state)" free
    must_exit 1 claim release default-1 --lease "$lease"
    let_slot_go || :
}

@test "B15: release from inside the slot works; another process inside does not" {
    make_repo
    must claim
    local wt=$output
    (cd "$wt" && sleep 60 3>&-) &
    BG_PIDS+=("$!")
    await 5 pgrep -f 'sleep 60' >/dev/null
    cd "$wt"
    must_exit 75 claim release
    assert_match "$stderr" 'pid [0-9]+'
    pkill -P "${BG_PIDS[-1]}" sleep || :
    await 5 eval '! pgrep -P "${BG_PIDS[-1]}" sleep >/dev/null'
    must claim release
}

@test "renew: gives a time lease new time; one bound to a process needs none" {
    make_repo
    must claim --ttl 60s
    local before
    before=$(slot_is default-1 expires)
    must claim renew default-1 --ttl 2h
    assert_differ "$(slot_is default-1 expires)" "$before"
    must_exit 1 claim renew default-1 --lease 00000000000000000000000000000000
    must_exit 129 claim renew default-1 --ttl soon
    hold_slot
    must_exit 1 claim renew default-2
    let_slot_go
}

@test "renew: every use of the suite in the worktree gives a time lease new time" {
    make_repo
    local wt before
    must claim --ttl 100s
    wt=$output
    # Twenty seconds of it are gone.
    perl -pi -e 's/"(since|expires)":(\d+)/"\"$1\":" . ($2 - 20)/ge' \
        .git/worktrees/default-1/locked ".git/interlock/leases/$(slot_is default-1 lease)"
    before=$(slot_is default-1 expires)
    # Not from elsewhere.
    must git shadow-commit log --json
    assert_equal "$(slot_is default-1 expires)" "$before"
    must git -C "$wt" shadow-commit
    assert_differ "$(slot_is default-1 expires)" "$before"
}

# ---- what was left in a slot ---------------------------------------------------------------------

@test "C3: a free slot that is dirty, on a branch, mid-merge and index-locked is rescued and handed out" {
    every_variant dirty_free
}
dirty_free() {
    make_repo
    git branch side
    put README main-side
    git commit -qam main-side
    must claim
    local wt=$output
    must claim release "$wt"
    git -C "$wt" checkout -q -b leftover side
    put "$wt/README" 'other side'
    git -C "$wt" commit -qam other
    git -C "$wt" merge -q main >/dev/null 2>&1 || :
    put "$wt/untracked" file
    : >.git/worktrees/default-1/index.lock
    within 10000 must claim --max 1 --no-wait
    assert_equal "$output" "$wt"
    assert_clean "$wt"
    refute git -C "$wt" symbolic-ref -q HEAD
    assert_absent .git/worktrees/default-1/MERGE_HEAD
    assert_absent "$wt/untracked"
    local ref
    ref=$(git for-each-ref --format='%(refname)' refs/rescue)
    assert_equal "$(git show "$ref:untracked")" file
    git rev-parse -q --verify leftover
    fsck
}

@test "C1: skip-worktree and assume-unchanged leave nothing behind" {
    make_repo
    must claim
    local wt=$output
    git -C "$wt" update-index --skip-worktree README
    git -C "$wt" update-index --assume-unchanged src/main.c
    put "$wt/README" hidden
    put "$wt/src/main.c" 'hidden too'
    must claim release "$wt"
    assert_equal "$(git -C "$wt" ls-files -v | grep -v '^H' || :)" ''
    assert_file "$wt/README" 'read me'
    local ref
    ref=$(git for-each-ref --format='%(refname)' refs/rescue)
    assert_equal "$(git show "$ref:README")" hidden
    assert_equal "$(git show "$ref:src/main.c")" 'hidden too'
}

@test "claim: ignored files stay, or go with interlock.clean=all" {
    make_repo
    must claim
    local wt=$output
    put "$wt/cache.o" built
    must claim release "$wt"
    assert_file "$wt/cache.o" built
    must claim
    must claim release "$wt"
    assert_file "$wt/cache.o" built
    must env GIT_INTERLOCK_CLEAN=all git worktree-claim
    assert_absent "$wt/cache.o"
}

@test "H9: .worktreeinclude brings ignored files, and only those" {
    make_repo
    printf '%s\n' '.env' '*.o' >.gitignore
    git commit -qam ignore
    put .env secret
    put cache.o built
    put README 'not ignored'
    printf '%s\n' '.env' 'README' '../outside' >.worktreeinclude
    must claim
    assert_file "$output/.env" secret
    assert_absent "$output/cache.o"
    assert_file "$output/README" 'read me'
}

@test "C7: while one slot's checkout sleeps, other claims and releases go through" {
    make_repo
    printf '%s\n' '#!/bin/sh' 'sleep 30' >.git/hooks/post-checkout
    chmod +x .git/hooks/post-checkout
    bg git-worktree-claim -q
    await 10 test -e "$PWD.worktrees/default-1/README"
    rm .git/hooks/post-checkout
    within 5000 must claim
    assert_equal "$output" "$PWD.worktrees/default-2"
    within 5000 must claim release default-2
}

@test "C13: messages, keys and paths with quotes, backticks and newlines survive unharmed" {
    make_repo $'a `b` $(c) "d" \'e'
    must claim -- sh -c 'echo "$1"' - $'`x` $(y) "z"\n\'w\''
    assert_equal "$output" $'`x` $(y) "z"\n\'w\''
    must claim list
    must git worktree-reap
}

# ---- bad places -------------------------------------------------------------------------------------

# That status, nothing on stdout, one clear line (and where to read on) that says so.
says() { # <status> <pattern> <command>...
    local want=$1 pattern=$2
    shift 2
    must_exit "$want" "$@"
    assert_equal "$output" '' 'standard output'
    assert_match "${stderr_lines[0]}" "^(fatal|error): .*$pattern"
    assert_match "${stderr_lines[1]-hint: }" '^hint: '
    assert_at_most "${#stderr_lines[@]}" 2 'lines of message'
    # Control characters other than the line's end.
    refute grep -q '[[:cntrl:]]' <<<"$stderr"
}
refuses() { # the same, and nothing changed
    local before
    before=$(all_of_it)
    says "$@"
    is_still "$before"
}

@test "bad input: a pool directory that is a file, a symlink, below one, in a checkout, or no place at all" {
    make_repo
    mkdir ../elsewhere
    ln -s elsewhere ../link
    ln -s nowhere ../dangling
    : >../file
    mkfifo ../fifo
    local above=${PWD%/*} dir pattern
    while read -r dir pattern; do
        refuses 128 "$pattern" git -c "interlock.poolDir=$above/$dir" worktree-claim -b topic
    done <<-'PLACES'
	link is a symbolic link
	dangling is a symbolic link
	dangling/x is not a directory
	file is not a directory
	file/x [Nn]ot a directory
	fifo is not a directory
	repo/x inside the checkout
	repo/.git/x inside the checkout
	repo/src inside the checkout
	PLACES
    refuses 128 'cannot be the directory' git -c "interlock.poolDir=$above/a"$'\n'b worktree-claim
    refuses 128 'File name too long' git -c "interlock.poolDir=$above/$(printf '%0300d' 1)" worktree-claim
    refuses 128 'create directory' git -c interlock.poolDir=/proc/x worktree-claim
    refuses 129 'not an absolute path' git -c interlock.poolDir=x worktree-claim
    # Through a link on the way is no other place than where it leads.
    must git -c "interlock.poolDir=$above/link/pool" worktree-claim
    assert_equal "$output" "$above/elsewhere/pool/default-1"
}

@test "bad input: the pool on another file system works; read-only or full it is refused, and nothing is left" {
    requires root
    every_variant apart
}
apart() {
    make_repo
    mkdir ../apart
    mount -t tmpfs -o size=300k none ../apart 3>&- || skip "requires root"
    MOUNTED="$MOUNTED $PWD/../apart"
    local place wt ref
    place=$(realpath ../apart)
    git config interlock.poolDir "$place/pool"
    must claim -b topic
    wt=$output
    put "$wt/work" mine
    git init -q "$wt/nested"
    put "$wt/nested/file" 'of another repository'
    must claim release "$wt" --json
    ref=$(json rescued <<<"$output")
    assert_equal "$(git show "$ref:work")" mine
    # What no checkpoint holds was set aside there.
    grep -rqx 'of another repository' "$place"
    assert_clean "$wt"
    must git worktree-reap --remove
    assert_absent "$wt"
    # It goes with its rescue, and nothing that a commit only claims to be set aside.
    local lease=${ref##*/} forged
    put "$place/mine/$lease/x" mine
    mkdir "$place/pool/.interlock-aside/another"
    forged=$(git commit-tree "$ref^{tree}" -m "$(printf 'forged\n\nShadow-Aside: %s\n' \
        "$place/mine/$lease/x" "$place/pool/.interlock-aside/$lease" mine \
        "$place/pool/.interlock-aside/$lease/../another/x")")
    git update-ref "refs/rescue/forged/$lease" "$forged"
    must git worktree-reap rescued --drop "refs/rescue/forged/$lease"
    assert_file "$place/mine/$lease/x" mine
    grep -rqx 'of another repository' "$place"
    must git worktree-reap rescued --drop "$ref"
    assert_absent "$place/pool/.interlock-aside/$lease"
    rmdir "$place/pool/.interlock-aside/another"
    rm -r "$place/mine"
    git branch -q -D topic
    # Full: in git's own words which file.
    dd if=/dev/urandom of=big bs=1k count=400 2>/dev/null
    git add big && git commit -qm big
    refuses 128 'big' git worktree-claim -b topic
    dd if=/dev/zero of="$place/fill" bs=1k 2>/dev/null || :
    refuses 128 'No space left|unable to write' git worktree-claim -b topic
    rm "$place/fill"
    mount -o remount,ro "$place"
    refuses 128 'Read-only file system' git worktree-claim -b topic
    mount -o remount,rw "$place"
    must claim --base HEAD~1 -b topic
    # Read-only under a lease: nothing is lost, and it is not free either.
    put "$output/work" more
    wt=$output
    mount -o remount,ro "$place"
    must_exit 128 claim release "$wt"
    assert_equal "${#stderr_lines[@]}" 1 'lines of message'
    mount -o remount,rw "$place"
    assert_equal "$(slot_is default-1 state)" leased
    must claim release "$wt"
    git for-each-ref --format='%(objectname)' refs/rescue | sed 's/$/:work/' | git cat-file --batch | grep -qx more
}
MOUNTED=
teardown() {
    tidy
    local place
    for place in $MOUNTED; do umount "$place"; done
}

@test "bad input: bases, branches, ids, owners and names" {
    make_repo
    git branch topic
    git branch side
    git worktree add -q ../linked side
    local esc=$'\x1b[31m' bad
    must claim
    must claim release default-1
    must claim -b mine --ttl 1h --key mine
    local old
    old=$(slot_is default-1 lease)
    must claim renew default-1 --lease "$old"
    must claim --key mine --resume
    local before
    before=$(all_of_it)
    # A base that is not there.
    for bad in no-such-thing HEAD~9 '' -x .. 'HEAD..topic' HEAD:README 'HEAD^{tree}' "$esc" $'a\nb' \
        1234567890123456789012345678901234567890; do
        says 128 '(is not a revision here|does not exist)' git worktree-claim "--base=$bad"
    done
    # A branch in use, that exists, or does not.
    says 75 "checked out at '.*/linked'" git worktree-claim -B side
    says 75 "checked out at '$PWD'" git worktree-claim -B main
    says 75 "default-1 \\(leased" git worktree-claim -B mine
    says 1 'exists already' git worktree-claim -b topic
    says 75 "key 'mine' is leased: default-1" git worktree-claim --key mine
    # A stale lease, in each command that takes one.
    for bad in "$old" 00000000000000000000000000000000 '' "$esc" $'a\nb' ../x -x; do
        says 1 'is no longer current' git worktree-claim release default-1 "--lease=$bad"
        says 1 'is no longer current' git worktree-claim renew default-1 "--lease=$bad"
    done
    # A slot that is none.
    for bad in no-such ../../etc / "$esc" $'a\nb' default-99 -1 default-; do
        says 1 'no slot' git worktree-claim release -- "$bad"
        says 1 'no slot' git worktree-reap -- "$bad"
    done
    says 1 'no process' git worktree-claim --owner-pid 2147483647
    # Names.
    for bad in .. ../x x/../y -x "$esc" $'a\nb' $'a\tb' 'a b' 'a:b' 'a\b' "a'b" 'a`b`' '' "$(printf '%0201d' 1)"; do
        says 129 . git worktree-claim "--pool=$bad"
        says 129 . git worktree-claim "--key=$bad"
        says 129 . git worktree-claim list "--pool=$bad"
        says 129 . git worktree-reap "--pool=$bad"
    done
    for bad in .. ../x -x "$esc" $'a\nb' 'a b' 'a:b' a.lock 'a//b' /a a/ 'a@{b' HEAD ''; do
        says 129 . git worktree-claim -b "$bad"
        says 129 . git worktree-claim -B "$bad"
    done
    # Times.
    for bad in -1 soon '' 1y "$esc" 99999999999999999999; do
        says 129 . git worktree-claim "--timeout=$bad"
        says 129 . git worktree-claim "--ttl=$bad"
        says 129 . git worktree-claim "--deadline=$bad" -- true
    done
    says 129 '180s is not below the 180s' env GIT_INTERLOCK_TASK_CAP=180s git worktree-claim --timeout 180s
    is_still "$before"
}

@test "bad input: a slot whose records or place are bad, asked for by name" {
    make_repo
    must claim --ttl 1h
    local wt=$output file admin=.git/worktrees/default-1 before
    put "$wt/work" mine
    file=.git/interlock/leases/$(slot_is default-1 lease)
    mkdir ../good ../precious
    cp "$file" ../good/lease
    cp "$admin/locked" "$admin/interlock" ../good
    put ../precious/file content
    left_alone() { # <state> [<what a release says>]
        before=$(all_of_it)
        assert_equal "$(slot_is default-1 state)" "$1"
        says 75 "default-1 \\($1" git worktree-claim --max 1 --no-wait
        must git worktree-reap --remove --prune
        must git worktree-reap --remove --prune default-1 --json
        assert_equal "$(json action result <<<"$output" | paste -sd' ')" 'none skipped'
        is_still "$before"
        if [ $# = 2 ]; then
            says "${2%% *}" "${2#* }" git worktree-claim release default-1
        elif [ "$1" != leased ]; then
            says 1 'default-1' git worktree-claim release default-1
            says 1 'default-1' git worktree-claim renew default-1
        fi
        is_still "$before"
        cp ../good/lease "$file"
        cp ../good/{locked,interlock} "$admin"
        [ -L "$wt" ] || assert_equal "$(slot_is default-1 state)" leased
    }
    # The lease's own file: the record in the admin directory counts; a newer one is not guessed at.
    printf 'garbage' >"$file" && left_alone leased
    printf 'interlock 1 {"garbage' >"$file" && left_alone leased
    sed -i 's/"slot":"default-1"/"slot":"other-1"/' "$file" && left_alone leased
    sed -i 's/^interlock 1 /interlock 2 /' "$file" && left_alone unknown
    # The record.
    sed -i 's/^interlock 1 /interlock 2 /' "$admin/locked" && left_alone unknown
    # A record of another slot, and none: what the lease's own file says protects.
    sed -i 's/"slot":"default-1"/"slot":"other-1"/' "$admin/locked" && left_alone leased
    rm "$admin/locked" && left_alone leased
    # How it was born: elsewhere, in a newer version, garbage.
    sed -i "s#\"path\":\"[^\"]*\"#\"path\":\"$(realpath ../precious)\"#" "$admin/interlock"
    left_alone unknown '128 is not (a|the) directory'
    sed -i 's/^interlock-birth 1 /interlock-birth 2 /' "$admin/interlock" && left_alone unknown
    printf 'garbage' >"$admin/interlock" && left_alone unknown
    # A symlink in its place.
    mv "$wt" ../moved
    ln -s "$(realpath ../precious)" "$wt"
    left_alone unknown '128 is not (a|the) directory'
    rm "$wt"
    mv ../moved "$wt"
    # A human's lock.
    git worktree unlock "$wt"
    git worktree lock --reason mine "$wt"
    left_alone foreign
    must claim release default-1
    assert_clean "$wt"
    assert_file ../precious/file content
}

@test "F5: a pool directory that is a file or a symlink is refused, nothing outside is touched" {
    make_repo
    mkdir elsewhere
    ln -s "$PWD/elsewhere" "$PWD.worktrees"
    must_exit 128 claim
    assert_equal "$(ls elsewhere)" ''
    rm "$PWD.worktrees"
    : >"$PWD.worktrees"
    must_exit 128 claim
    assert_equal "$(stderr_is_one_line)" yes
}
stderr_is_one_line() { [ "${#stderr_lines[@]}" = 1 ] && echo yes; }

@test "F5: a slot that became a symlink or another directory is left alone" {
    make_repo
    must claim
    local wt=$output
    must claim release "$wt"
    mkdir precious
    put precious/file content
    mv "$wt" "$wt.moved"
    ln -s "$PWD/precious" "$wt"
    must claim
    assert_equal "$output" "$PWD.worktrees/default-2"
    must git worktree-reap --remove
    assert_file precious/file content
    rm "$wt"
    cp -a precious "$wt"
    must git worktree-reap --remove
    assert_file "$wt/file" content
    # Nor by who leased the slot that was there: a repository stands there now.
    must claim release default-2
    must claim --max 2 --ttl 1h
    wt=$output
    mv "$wt" "$wt.moved"
    git init -q "$wt"
    put "$wt/file" content
    local before
    before=$(cd "$wt" && find . -type f -printf '%p %i %T@\n' | sort)
    must_exit 128 claim release "${wt##*/}"
    assert_match "$stderr" 'not the directory in which'
    must git worktree-reap --remove
    assert_equal "$(cd "$wt" && find . -type f -printf '%p %i %T@\n' | sort)" "$before"
    assert_absent .git/interlock/aside
}

@test "claim: a human lock is never touched" {
    make_repo
    must claim
    local wt=$output
    must claim release "$wt"
    git worktree unlock "$wt"
    git worktree lock --reason 'mine now' "$wt"
    put "$wt/new" work
    must claim
    assert_equal "$output" "$PWD.worktrees/default-2"
    must git worktree-reap --remove
    assert_file "$wt/new" work
    assert_equal "$(cat .git/worktrees/default-1/locked)" 'mine now'
}

@test "claim: options that exclude each other are exit 129" {
    make_repo
    must_exit 129 claim --hold --ttl 1h
    must_exit 129 claim --hold --owner-pid 1
    must_exit 129 claim -b x -B y
    must_exit 129 claim --no-wait --timeout 1s
    must_exit 129 claim --count 0
    must_exit 129 claim --count 2 -b x
    must_exit 129 claim --deadline 1s
    must_exit 129 claim --resume
    must_exit 129 claim --
    must_exit 129 claim stray
    must_exit 129 claim --ttl 10ms
    assert_absent "$PWD.worktrees"
}
