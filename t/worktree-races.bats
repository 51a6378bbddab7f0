#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# Slots under many hands, and under bad ones: overlapping claimers, holders that are stopped,
# dead or detached, kills half-way, records that lie. t/stress/claims.sh does C11 with more.

# shellcheck disable=SC2154 # set by try(): output, stderr, lines
# shellcheck disable=SC2016,SC2030,SC2031

load helpers

claim() { git worktree-claim "$@"; }
reap() { git worktree-reap "$@"; }

slot_is() { # <slot> <key>
    git worktree-claim list --json | while read -r line; do
        [ "$(json slot <<<"$line")" != "$1" ] || json "$2" <<<"$line"
    done
}

is_in() { [ "$(slot_is "$1" state)" = "$2" ]; } # <slot> <state>

assert_clean() { # <worktree>
    assert_equal "$(git -C "$1" status --porcelain)" '' "status of $1"
}

kill_holder() {
    kill -9 "$SLOT_PID"
    wait "$SLOT_PID" 2>/dev/null || :
    exec {SLOT_FD}>&-
}

# Runs a command and sets TOOK, in ms.
measure() {
    local start
    start=$(now_ms)
    "$@"
    TOOK=$(($(now_ms) - start))
}

# A bound of time, or more where this machine is so busy that what has to be done anyhow
# takes as much.
at_least() { echo $(($1 > $2 ? $1 : $2)); } # <ms> <ms>

# ---- C11 -----------------------------------------------------------------------------

@test "C11: eight claimers on three slots: never one slot twice, never one key twice" {
    try "$TOP/t/stress/claims.sh" --procs 8 --rounds 20 --keys 12
    echo "# note: $output" >&3
    assert_equal "$status" 0
}

@test "C11 C6: the same while every fifth holder is killed in its slot" {
    try "$TOP/t/stress/claims.sh" --procs 8 --rounds 10 --keys 12 --kill 5
    echo "# note: $output" >&3
    assert_equal "$status" 0
}

@test "C11: a pool in a JSON file without a lock gives one slot twice" {
    try "$TOP/t/stress/claims.sh" --procs 8 --rounds 300 --naive
    echo "# note: naive: $output" >&3
    assert_equal "$status" 1
    assert_match "$stderr" 'twice'
}

# ---- whose file, whose lock -----------------------------------------------------------

@test "B10: a claim that fails, and one that comes and goes, touch nothing of another's run" {
    make_repo
    hold_slot --key mine
    local before
    of_the_first() {
        local lease
        lease=$(slot_is default-1 lease)
        find ".git/interlock/leases/$lease" ".git/interlock/leases/$lease.work" \
            .git/worktrees/default-1/locked .git/worktrees/default-1/interlock \
            -printf '%p %i %T@ %s '
        find "$HELD" -type f -printf '%p %i %T@ %s\n' | sort
    }
    before=$(of_the_first)
    must_exit 75 claim --key mine --no-wait
    must_exit 75 claim --max 1 --no-wait
    must claim -- sh -c 'echo x >x'
    must_exit 7 claim --key other -- sh -c 'exit 7'
    must reap
    assert_equal "$(of_the_first)" "$before"
    assert_equal "$(find .git/interlock/leases -type f | wc -l)" 2 'files of leases'
    let_slot_go
    assert_equal "$(find .git/interlock/leases -type f | wc -l)" 0 'files of leases'
}

@test "B11: different slots run at the same time" {
    make_repo
    local n
    # Each waits for the other one inside its slot: in turn they would never meet.
    for n in 1 2; do
        bg sh -c "git-worktree-claim -q -- '$HELPER/barrier' '$BATS_TEST_TMPDIR/met' 2; echo \$? >status.$n"
    done
    for n in 1 2; do await 20 test -s "status.$n"; done
    assert_equal "$(cat status.1 status.2 | paste -sd' ')" '0 0'
    assert_equal "$(git worktree list | wc -l)" 3 'worktrees'
}

@test "B11: the same slot runs one at a time" {
    make_repo
    local n
    cat >alone <<'SCRIPT'
#!/bin/sh
mkdir ../alone || echo 'two at once' >>../failures
sleep 0.1
rmdir ../alone
SCRIPT
    chmod +x alone
    for n in 1 2 3 4 5; do
        bg sh -c "git-worktree-claim -q --max 1 --timeout 60s -- '$PWD/alone'; echo \$? >status.$n"
    done
    for n in 1 2 3 4 5; do await 60 test -s "status.$n"; done
    assert_equal "$(cat status.? | sort -u)" 0 'statuses'
    assert_absent "$PWD.worktrees/failures"
    assert_equal "$(git worktree list | wc -l)" 2 'worktrees'
}

@test "B4: a waiter does not take what was removed under it, nor what was born in its place" {
    make_repo
    hold_slot
    git-worktree-claim --max 1 --timeout 60s >out 2>err 3>&- {SLOT_FD}>&- &
    local waiter=$! born
    BG_PIDS+=("$waiter")
    await 10 grep -q 'waiting: .*default-1' err
    # What a removal and a birth do to the name, while the lock is still held on the old one.
    # The waiter sees it afterwards: it would have a right to be the one who is born there.
    kill -STOP "$waiter"
    mkdir away
    mv .git/worktrees/default-1 away/admin
    mv "$HELD" away/tree
    must claim
    assert_equal "$output" "$PWD.worktrees/default-1"
    born=$(slot_is default-1 born)
    kill_holder
    kill -CONT "$waiter"
    # The waiter has the old lock now. That slot is no more; the new one is somebody's.
    must_exit 1 claim release default-1 --lease 00000000000000000000000000000000
    assert_equal "$(slot_is default-1 state)" leased
    assert_equal "$(cat out)" ''
    must claim release default-1
    within 5000 wait "$waiter"
    assert_equal "$(cat out)" "$PWD.worktrees/default-1"
    assert_equal "$(slot_is default-1 born)" "$born"
}

@test "B4: the pool's directory that goes with somebody else's last slot is made again" {
    requires ptrace
    make_repo
    local way there
    # Before it is opened, and before the newborn is made in what was opened; where it was
    # missing, and where it was there when the birth began.
    for way in "openat:$PWD.worktrees" mkdir,mkdirat:.interlock-newborn-; do
        for there in '' there; do
            [ -z "$there" ] || mkdir "$PWD.worktrees"
            stop_at "$way" git-worktree-claim
            rmdir "$PWD.worktrees"
            let_go
            assert_equal "$(cat "$STOPPED_OUT")" "$PWD.worktrees/default-1"
            assert_clean "$PWD.worktrees/default-1"
            must claim release default-1
            must reap --remove
            await 5 eval '[ ! -e "$PWD.worktrees" ]'
        done
    done
}

# ---- holders of all kinds --------------------------------------------------------------

@test "B13: a stopped holder holds" {
    make_repo
    hold_slot
    kill -STOP "$SLOT_PID"
    must_exit 75 claim --max 1 --no-wait
    must reap --json
    assert_equal "$(json state action <<<"$output" | paste -sd' ')" 'held none'
    kill -CONT "$SLOT_PID"
    let_slot_go
    assert_equal "$(slot_is default-1 state)" free
}

@test "B13: a zombie holds nothing" {
    make_repo
    # Its parent never asks how it ended.
    mkfifo slot.in
    bg perl -e 'my $pid = fork // die; if (!$pid) { open STDIN, "<", "slot.in"; open STDOUT, ">", "slot.path"; exec @ARGV } open my $o, ">", "zombie"; print $o "$pid\n"; close $o; sleep 60' \
        git-worktree-claim -q --hold
    exec {SLOT_FD}>slot.in
    await 10 test -s slot.path
    put "$(cat slot.path)/work" mine
    kill -9 "$(cat zombie)"
    await 5 grep -q '^State:.Z' "/proc/$(cat zombie)/status"
    assert_equal "$(slot_is default-1 state)" orphaned
    must reap --json
    assert_equal "$(json result <<<"$output")" 'done'
    assert_equal "$(git show "$(json rescue <<<"$output"):work")" mine
    exec {SLOT_FD}>&-
}

@test "B2 B5: a waiter learns of the end of what keeps a slot whose holder was killed" {
    make_repo
    # The watcher is gone, the owner is not: then its end is what counts.
    sleep 600 3>&- &
    local owner=$! waiter inside
    BG_PIDS+=("$owner")
    must claim --owner-pid "$owner" -q
    local watcher
    watcher=$(fuser "$PWD/.git/worktrees/default-1" 2>/dev/null | tr -d ' ') || :
    [ -n "$watcher" ] || skip "requires fuser"
    kill -9 "$watcher"
    await 10 is_in default-1 unknown
    mkfifo stdin
    git-worktree-claim --max 1 --timeout 60s --hold <stdin >out 2>err 3>&- &
    waiter=$!
    BG_PIDS+=("$waiter")
    exec {SLOT_FD}>stdin
    await 10 grep -q 'waiting: .*default-1' err
    kill -9 "$owner"
    within 5000 await 10 test -s out
    assert_equal "$(slot_is default-1 state)" held
    # A process inside that outlives the holder.
    (cd "$PWD.worktrees/default-1" && exec sleep 600 3>&- {SLOT_FD}>&-) &
    inside=$!
    BG_PIDS+=("$inside")
    await 5 eval '[ "$(readlink "/proc/$inside/cwd")" = "$PWD.worktrees/default-1" ]'
    git-worktree-claim --max 1 --timeout 60s >out.2 2>err.2 3>&- {SLOT_FD}>&- &
    local second=$!
    BG_PIDS+=("$second")
    await 10 grep -q 'waiting: .*default-1' err.2
    kill -9 "$waiter"
    await 10 is_in default-1 occupied
    kill "$inside"
    within 5000 wait "$second"
    assert_equal "$(cat out.2)" "$PWD.worktrees/default-1"
    exec {SLOT_FD}>&-
}

# A gc that detaches itself and does not come to its end: it sits in the slot, has no
# descriptor but what it inherited, and nobody waits for it.
make_gc_slow() {
    local n
    perl -e 'srand 1; for my $n (1 .. 40) { open my $o, ">", "big$n"; print $o map { chr(97 + rand 26) } 1 .. 150000 }'
    git add . && git commit -qm big
    git config gc.auto 1
    git config gc.autoDetach true
    git config gc.autoPackLimit 1
    git config pack.threads 1
    git config pack.window 100
    git config pack.depth 90
    git repack -q --window=1 -d
    git commit -q --allow-empty -m more
    git repack -q --window=1
    for n in 1 2 3; do git commit -q --allow-empty -m "more $n"; done
    # Its repack takes its time, and on a machine where that is short more of it.
    mkdir slow
    cat >slow/git <<SCRIPT
#!/bin/sh
unset GIT_EXEC_PATH
[ "\$1" = repack ] || exec '$(command -v git)' "\$@"
'$(command -v git)' "\$@"
exec sleep 1000
SCRIPT
    chmod +x slow/git
    export SLOW_GC=$PWD/slow
}

gc_runs() { [ -s .git/gc.pid ] && kill -0 "$(sed 's/ .*//' .git/gc.pid)" 2>/dev/null; }

@test "B13: a detached gc is ended before its slot is given back" {
    make_repo
    make_gc_slow
    GIT_INTERLOCK_GRACE=200ms must claim -- sh -c 'GIT_EXEC_PATH=$SLOW_GC git gc -q --auto; while [ ! -s "$(git rev-parse --git-common-dir)/gc.pid" ]; do sleep 0.01; done'
    refute gc_runs
    assert_equal "$(slot_is default-1 state)" free
    fsck
}

@test "B13: a detached gc keeps the slot of a holder that was killed from being reset" {
    make_repo
    make_gc_slow
    git-worktree-claim -q -- sh -c 'echo mine >work; GIT_EXEC_PATH=$SLOW_GC git gc -q --auto; echo >../ready; exec sleep 60' 3>&- &
    local supervisor=$! gc
    BG_PIDS+=("$supervisor")
    await 20 test -e "$PWD.worktrees/ready"
    await 20 gc_runs
    gc=$(sed 's/ .*//' .git/gc.pid)
    kill -9 "$supervisor"
    wait "$supervisor" 2>/dev/null || :
    await 10 is_in default-1 occupied
    must reap --json
    assert_equal "$(json state action <<<"$output" | paste -sd' ')" 'occupied none'
    must_exit 75 claim --max 1 --no-wait
    assert_file "$PWD.worktrees/default-1/work" mine
    # With all that it has started: it is the leader of a session.
    pkill -9 -s "$gc"
    await 10 is_in default-1 orphaned
}

# ---- kills, and what they leave ---------------------------------------------------------

@test "C6: a claim that was killed anywhere is healed by the next one" {
    requires ptrace
    make_repo
    local n total wt
    must claim
    wt=$output
    must claim release default-1
    # In a slot that is there already, dirty, with a branch.
    "$HELPER/killat" -c -o report -- git-worktree-claim -q -b count --ttl 1h >/dev/null 2>&1 || :
    total=$(sed -n 's/^calls //p' report)
    must claim release default-1
    measure must claim -b usual --max 1 --no-wait
    must claim release default-1
    for ((n = 20; n < total; n += total / 16)); do
        put "$wt/work" "round $n"
        "$HELPER/killat" -n "$n" -- git-worktree-claim -q -b "b$n" --ttl 1h >/dev/null 2>&1 || :
        # From step 5 on it counts.
        if [ "$(slot_is default-1 state)" = leased ]; then must claim release default-1; fi
        # With a rescue it is some claims' work, and waits for nothing.
        within "$(at_least 5000 $((8 * TOOK)))" must claim --max 1 --no-wait
        assert_equal "$output" "$wt"
        assert_clean "$wt"
        git for-each-ref --format='%(objectname)' refs/rescue | git rev-list --stdin |
            sed 's/$/:work/' | git cat-file --batch | grep -qx "round $n" ||
            flunk "the work of round $n is nowhere"
        must claim release default-1
        # Its branch is not blocked.
        measure must claim -B "b$n" --max 1 --no-wait
        must claim release default-1
    done
    must reap
    assert_equal "$(ls .git/interlock/leases)" ''
    fsck
}

@test "C9: empty lock files of any age block nothing" {
    make_repo
    must claim
    local wt=$output lock
    must claim release "$wt"
    for age in now '2001-01-01'; do
        for lock in slots reconcile ledger objects; do
            rm -f ".git/interlock/locks/$lock"
            touch -d "$age" ".git/interlock/locks/$lock"
        done
        touch -d "$age" .git/worktrees/default-1/index.lock .git/worktrees/default-1/HEAD.lock
        # git's own, in the repository: nothing here needs them.
        touch -d "$age" .git/index.lock .git/config.lock
        touch -d "$age" .git/interlock/leases/0123456789abcdef0123456789abcdef{,.work,.release}
        within 5000 must claim -b "topic-${age%%-*}" --max 1 --no-wait
        assert_equal "$output" "$wt"
        assert_clean "$wt"
        git -C "$wt" commit -q --allow-empty -m usable
        must claim release "$wt"
        must reap
        assert_equal "$(ls .git/interlock/leases)" ''
        # Not ours: named by doctor, never removed.
        [ -e .git/index.lock ] && [ -e .git/config.lock ]
        rm .git/index.lock .git/config.lock
    done
}

# ---- reconcile --------------------------------------------------------------------------

# An orphan whose rescue comes to no end before there is a file "go": a filter of the user's.
slow_orphan() {
    git config filter.slow.clean "until [ -e '$PWD/go' ]; do sleep 0.1; done; cat"
    git config filter.slow.smudge cat
    put .gitattributes 'slow filter=slow'
    git add -A && git commit -qm attributes
    hold_slot
    put "$HELD/slow" 'precious work'
    kill_holder
}

# Starts four claims at once: status.<n>, out.<n>.
four_starters() {
    local n
    for n in 1 2 3 4; do
        bg "$HELPER/barrier" "$1" 4 \
            sh -c "git-worktree-claim -q >out.$n 2>err.$n; echo \$? >status.$n"
    done
}

@test "E6: of four starters at once one sweeps, the others go on within 2 s" {
    make_repo
    local n
    have() { [ "$(cat status.? 2>/dev/null | wc -l)" -ge "$1" ]; }
    # What four claims take on this machine, as busy as it is, when nothing is to be swept.
    four_starters "$BATS_TEST_TMPDIR/barrier.1"
    measure await 30 have 4
    assert_equal "$(cat status.? | sort -u)" 0 'statuses'
    for n in 1 2 3 4; do must claim release "$(cat "out.$n")"; done
    must reap --remove
    rm status.? out.? err.?
    slow_orphan
    four_starters "$BATS_TEST_TMPDIR/barrier.2"
    # The sweeper is in its filter.
    within "$(at_least 3900 $((2000 + 3 * TOOK)))" await 60 have 3
    assert_equal "$(git for-each-ref refs/rescue | wc -l)" 0 'rescues so far'
    refute have 4
    : >go
    await 30 have 4
    assert_equal "$(cat status.? | sort -u)" 0 'statuses'
    assert_equal "$(cat out.? | sort -u | wc -l)" 4 'slots'
    assert_equal "$(git for-each-ref refs/rescue | wc -l)" 1 'rescues'
    assert_equal "$(git show "$(git for-each-ref --format='%(refname)' refs/rescue):slow")" 'precious work'
}

@test "E6: a slot that cannot be rescued is told of and logged, and stops no claim" {
    make_repo
    hold_slot
    put "$HELD/work" mine
    local lease
    lease=$(slot_is default-1 lease)
    kill_holder
    mkdir -p ".git/refs/rescue/default-1/$lease/in-the-way"
    git update-ref "refs/rescue/default-1/$lease/in-the-way/x" HEAD
    must claim
    assert_equal "$output" "$PWD.worktrees/default-2"
    assert_match "$stderr" 'warning: .*rescue'
    grep -q '"event":"reap-failed","slot":"default-1"' .git/interlock/ledger
    # As it was: whose it is, and what is in it.
    assert_equal "$(slot_is default-1 state)" orphaned
    assert_equal "$(slot_is default-1 lease)" "$lease"
    assert_file "$HELD/work" mine
    # With another one taken that one is worth waiting for; the spoiled one never is.
    within 6000 must_exit 75 claim --max 2 --timeout 2s
    assert_match "$stderr" 'warning: .*rescue'
    must claim release default-2
    must reap --remove default-2
    within 6000 must_exit 128 claim --max 1 --timeout 60s
    assert_match "$stderr" 'fatal: .*rescue'
    assert_equal "$(slot_is default-1 lease)" "$lease"
    assert_equal "$(ls .git/interlock/leases)" "$lease"$'\n'"$lease.work"
    git update-ref -d "refs/rescue/default-1/$lease/in-the-way/x"
    must claim --max 1 --no-wait
    assert_equal "$output" "$HELD"
    assert_equal "$(git show "refs/rescue/default-1/$lease:work")" mine
}

# ---- the ledger -------------------------------------------------------------------------

ledger() { sed 's/^1 [0-9a-f]* //' .git/interlock/ledger; }

# Starts that nothing closes, as "<slot> <lease>".
open_starts() {
    ledger | json event slot lease | paste - - - | awk '
        $1 == "start" { open[$2 " " $3] = 1 }
        $1 == "finish" || $1 == "reap-done" { delete open[$2 " " $3] }
        END { for (k in open) print k }'
}

@test "E4: a finish closes its start, by slot and lease, however it ended" {
    make_repo
    must claim -- true
    must_exit 3 claim -- sh -c 'exit 3'
    must_exit 137 claim -- sh -c 'kill -9 $$'
    must_exit 128 claim -- no-such-command
    GIT_INTERLOCK_GRACE=100ms must_exit 142 claim --deadline 100ms -- sleep 60
    must claim --key k -- sh -c 'git worktree-claim --key k -- true'
    assert_equal "$(open_starts)" ''
    assert_equal "$(ledger | json event | grep -c '^start$')" 6 'starts'
    assert_equal "$(ledger | json event | grep -c '^finish$')" 6 'finishes'
    # While it runs its start is open.
    must claim -- sh -c 'grep "\"start\"" ../../repo/.git/interlock/ledger | tail -n 1 | grep -o "\"lease\":\"[0-9a-f]*" | cut -d\" -f4; echo "$GIT_INTERLOCK_LEASE"'
    assert_equal "${lines[0]}" "${lines[1]}"
}

@test "E4: the start of a run that was killed is closed by who takes its slot" {
    make_repo
    local by
    for by in reap claim; do
        git-worktree-claim -q -- sh -c 'echo >../ready; exec sleep 60' 3>&- &
        local pid=$!
        BG_PIDS+=("$pid")
        await 10 test -e "$PWD.worktrees/ready"
        rm "$PWD.worktrees/ready"
        kill -9 "$pid"
        wait "$pid" 2>/dev/null || :
        await 10 is_in default-1 orphaned
        assert_equal "$(open_starts | wc -l)" 1 'open starts'
        if [ "$by" = claim ]; then
            # Somebody else is at the reconcile: the claim takes it by itself.
            hold flock .git/interlock/locks/reconcile
            must claim --max 1 --no-wait
            unhold
            must claim release default-1
        else
            must reap
        fi
        assert_equal "$(open_starts)" '' "open starts after $by"
    done
}

@test "E7: writers of the ledger share one lock; a torn line costs only itself" {
    make_repo
    must claim -- true
    local n before
    before=$(wc -l <.git/interlock/ledger)
    # A writer that was killed in its write.
    printf '1 0badc0de {"v":1,"time":"20' >>.git/interlock/ledger
    for n in 1 2 3 4 5 6 7 8; do
        bg "$HELPER/barrier" "$BATS_TEST_TMPDIR/barrier" 8 \
            sh -c "git-worktree-claim -q -- true; echo \$? >status.$n"
    done
    for n in 1 2 3 4 5 6 7 8; do await 30 test -s "status.$n"; done
    perl -MCompress::Zlib -ne '
        chomp; my ($crc, $text) = /^1 ([0-9a-f]{8}) (\{.*\})$/;
        defined $text && sprintf("%08x", crc32($text)) eq $crc ? $good++ : $bad++;
        END { print "$good $bad\n" }' .git/interlock/ledger >counts
    local good bad
    read -r good bad <counts
    assert_equal "$bad" 1 'torn lines'
    # Each of the eight: claim or birth, start, finish, release.
    assert_equal "$good" $((before + 32)) 'whole lines'
}

@test "E7: who cannot get the ledger's lock goes on without a line" {
    make_repo
    must claim -- true
    hold flock .git/interlock/locks/ledger
    within 20000 must claim -- true
    unhold
    assert_equal "$(slot_is default-1 state)" free
}

# ---- what people do to slots -------------------------------------------------------------

@test "C14: a branch that was deleted under a slot" {
    every_variant branch_gone
}
branch_gone() {
    make_repo
    must claim -b topic
    local wt=$output tip
    put "$wt/one" 1
    git -C "$wt" add -A
    git -C "$wt" commit -qm one
    tip=$(git -C "$wt" rev-parse HEAD)
    put "$wt/two" 2
    git update-ref -d refs/heads/topic
    must claim release "$wt" --json
    local ref
    ref=$(json rescued <<<"$output")
    assert_equal "$(git show "$ref:one")" 1
    assert_equal "$(git show "$ref:two")" 2
    assert_clean "$wt"
    must claim -b topic --max 1
    assert_clean "$wt"
    assert_equal "$(git -C "$wt" symbolic-ref HEAD)" refs/heads/topic
    git cat-file -e "$tip"
}

@test "C14: a slot that was moved is left alone, and usable again when it is back" {
    make_repo
    must claim --ttl 1h
    local wt=$output
    put "$wt/work" mine
    mv "$wt" "$wt.moved"
    must claim
    assert_equal "$output" "$PWD.worktrees/default-2"
    must reap --remove
    assert_file "$wt.moved/work" mine
    # git knows where it is: not gone, and not where it was born.
    git -C "$wt.moved" worktree repair >/dev/null 2>&1
    assert_equal "$(slot_is default-1 state)" unknown
    must reap --remove --prune
    assert_file "$wt.moved/work" mine
    mv "$wt.moved" "$wt"
    git worktree repair "$wt" >/dev/null 2>&1
    assert_equal "$(slot_is default-1 state)" leased
    must claim release default-1
    must claim --max 2 --no-wait
    assert_equal "$output" "$wt"
    assert_clean "$wt"
}

@test "C14: a repository that was moved with its slots" {
    make_repo
    must claim
    put "$output/work" mine
    cd ..
    mkdir elsewhere
    mv repo repo.worktrees elsewhere
    cd elsewhere/repo
    # Nothing is lost, whatever its state is called; a new slot can be had.
    must reap --remove
    assert_file ../repo.worktrees/default-1/work mine
    must claim --no-wait
    assert_clean "$output"
    assert_file ../repo.worktrees/default-1/work mine
    # And with it where it was, all is as before.
    must claim release "$output"
    must reap --remove
    cd ../..
    mv elsewhere/repo elsewhere/repo.worktrees .
    cd repo
    assert_equal "$(slot_is default-1 state)" leased
}

# ---- records that lie ---------------------------------------------------------------------

@test "F5: the file of a lease that is garbage, newer, elsewhere or no file decides nothing alone" {
    make_repo
    must claim --ttl 1h
    local wt=$output file
    put "$wt/work" mine
    file=.git/interlock/leases/$(slot_is default-1 lease)
    cp "$file" good
    mkdir precious
    put precious/file content
    untouched() { # <state>
        assert_equal "$(slot_is default-1 state)" "$1"
        must reap --remove --prune
        must claim --no-wait
        assert_differ "$output" "$wt"
        must claim release "$output"
        assert_file "$wt/work" mine
        assert_file precious/file content
        rm -rf "$file"
    }
    printf 'garbage' >"$file" && untouched leased
    : >"$file" && untouched leased
    sed 's/^interlock 1 /interlock 2 /' good >"$file" && untouched unknown
    sed 's/"slot":"default-1"/"slot":"default-9"/' good >"$file" && untouched leased
    ln -s "$PWD/precious/file" "$file" && untouched leased
    mkfifo "$file" && within 5000 untouched leased
    mkdir "$file" && untouched leased
    cp good "$file"
    must claim release default-1
    assert_clean "$wt"
}

@test "F5: a locked file that names another slot, path or lease gives nobody anything" {
    make_repo
    must claim --ttl 1h --key one
    local one=$output two
    put "$one/work" 'of one'
    must claim --ttl 1h --key two
    two=$output
    put "$two/work" 'of two'
    # One that says what the other says: as broken as garbage. The lease's own file speaks.
    cp .git/worktrees/default-1/locked good
    cp .git/worktrees/default-2/locked .git/worktrees/default-1/locked
    must reap --remove --prune
    assert_equal "$(slot_is default-1 state)" leased
    must_exit 1 claim release "$one" --lease "$(slot_is default-2 lease)"
    assert_file "$one/work" 'of one'
    # A newer version is not guessed at.
    sed 's/^interlock 1 /interlock 7 /' good >.git/worktrees/default-1/locked
    assert_equal "$(slot_is default-1 state)" unknown
    must reap --remove --prune
    must_exit 1 claim release "$one"
    # A symlink, a FIFO.
    cp good elsewhere
    rm .git/worktrees/default-1/locked
    ln -s "$PWD/elsewhere" .git/worktrees/default-1/locked
    assert_equal "$(slot_is default-1 state)" unknown
    must reap --remove --prune
    rm .git/worktrees/default-1/locked
    mkfifo .git/worktrees/default-1/locked
    within 5000 must reap --remove --prune
    rm .git/worktrees/default-1/locked
    cp good .git/worktrees/default-1/locked
    assert_equal "$(cat elsewhere)" "$(cat good)"
    # The birth record leads elsewhere: that directory was not born here.
    mkdir precious
    put precious/file content
    sed -i "s#\"path\":\"[^\"]*\"#\"path\":\"$PWD/precious\"#" .git/worktrees/default-1/interlock
    assert_equal "$(slot_is default-1 state)" unknown
    must reap --remove --prune
    must claim --no-wait
    assert_file precious/file content
    assert_file "$one/work" 'of one'
    assert_file "$two/work" 'of two'
}

@test "C10: a human's lock for a while does not cost a lease its time" {
    make_repo
    must claim --ttl 1h
    put "$output/work" mine
    git worktree unlock "$output"
    git worktree lock --reason 'not now' "$output"
    must reap --json
    assert_equal "$(json state action <<<"$output" | paste -sd' ')" 'foreign none'
    git worktree unlock "$PWD.worktrees/default-1"
    assert_equal "$(slot_is default-1 state)" leased
    must reap
    assert_file "$PWD.worktrees/default-1/work" mine
    must claim renew default-1
    grep -q '^interlock 1 ' .git/worktrees/default-1/locked
}

@test "claim: a command under the key of the lease it runs in ends nothing" {
    make_repo
    must claim --key k -- sh -c 'echo mine >work
        git worktree-claim --key k -- sh -c "cat work; exit 0"
        git worktree-claim list --json --pool default >../list
        cat work'
    assert_equal "${lines[*]}" 'mine mine'
    assert_equal "$(json state key <"$PWD.worktrees/list" | paste -sd' ')" 'held k'
    assert_equal "$(slot_is default-1 state)" free
}

# ---- switches ------------------------------------------------------------------------------

@test "C12: what is switched off is off in claim, release, the end of a command, and reap" {
    make_repo
    printf '%s\n' '#!/bin/sh' "echo post-checkout >>'$PWD/ran'" >.git/hooks/post-checkout
    chmod +x .git/hooks/post-checkout
    git config core.hooksPath /dev/null
    local wt way
    must claim
    wt=$output
    leave_settings() { # a lease's own, which nobody else asked for
        git config extensions.worktreeConfig true
        git -C "$wt" config --worktree core.hooksPath "$PWD/.git/hooks"
        git -C "$wt" config --worktree core.fsmonitor "$PWD/monitor"
        git -C "$wt" config --worktree filter.spy.clean "$PWD/monitor; cat"
        put "$wt/.gitattributes" '* filter=spy'
        put "$wt/work" mine
        rm -f ran
    }
    printf '%s\n' '#!/bin/sh' "echo monitor >>'$PWD/ran'" >monitor
    chmod +x monitor
    for way in release claim reap command; do
        leave_settings
        case $way in
            release) must claim release "$wt" ;;
            claim)
                must claim release "$wt"
                leave_settings
                must claim --max 1
                ;;
            reap)
                must claim release "$wt"
                must claim --max 1 --ttl 1s
                leave_settings
                await 5 is_in default-1 expired
                must reap
                ;;
            command)
                must claim release "$wt"
                must claim --max 1 -- sh -c "echo mine >work; git config --worktree core.hooksPath '$PWD/.git/hooks'; git config --worktree core.fsmonitor '$PWD/monitor'"
                ;;
        esac
        assert_absent ran
        [ "$(slot_is default-1 state)" != free ] || must claim --max 1
    done
}

@test "C12: interlock.clean is read on each of these paths" {
    make_repo
    local wt way
    must claim
    wt=$output
    must claim release "$wt"
    for way in release command reap claim; do
        git config interlock.clean keep-ignored
        for clean in keep-ignored all; do
            git config interlock.clean "$clean"
            case $way in
                release)
                    must claim --max 1
                    put "$wt/cache.o" built
                    must claim release "$wt"
                    ;;
                command) must claim --max 1 -- sh -c 'echo built >cache.o' ;;
                reap)
                    must claim --max 1 --ttl 1s
                    put "$wt/cache.o" built
                    await 5 is_in default-1 expired
                    must reap
                    ;;
                claim)
                    put "$wt/cache.o" built
                    must claim --max 1
                    ;;
            esac
            if [ "$clean" = all ]; then assert_absent "$wt/cache.o"; else assert_file "$wt/cache.o" built; fi
            [ "$(slot_is default-1 state)" = free ] || must claim release "$wt"
        done
    done
}

@test "H8: a tool's own files make no slot dirty for ever" {
    make_repo
    git config interlock.noise '.tool/settings.json'
    must claim
    local wt=$output n
    for n in 1 2 3; do
        put "$wt/.tool/settings.json" "round $n"
        must claim release "$wt"
        assert_equal "$(git for-each-ref refs/rescue | wc -l)" 0 'rescues'
        put "$wt/.tool/settings.json" "again $n"
        must claim --max 1 --no-wait
        assert_equal "$output" "$wt"
        assert_clean "$wt"
    done
    # In a rescue that there is for another reason it is, too.
    put "$wt/.tool/settings.json" 'the last'
    put "$wt/work" mine
    must claim release "$wt"
    local ref
    ref=$(git for-each-ref --format='%(refname)' refs/rescue)
    assert_equal "$(git show "$ref:work")" mine
    assert_equal "$(git show "$ref:.tool/settings.json")" 'the last'
}

# ---- reftable -------------------------------------------------------------------------------

@test "claim, reap: in a repository whose refs are a reftable" {
    requires reftable
    local REF_FORMAT=reftable hash
    for hash in sha1 sha256; do
        in_variant git "$hash" with_reftable
    done
}
with_reftable() {
    make_repo
    must claim -b topic
    local wt=$output ref
    assert_equal "$(git -C "$wt" symbolic-ref HEAD)" refs/heads/topic
    must_exit 75 claim -B topic
    put "$wt/work" mine
    must claim release "$wt" --json
    ref=$(json rescued <<<"$output")
    assert_equal "$(git show "$ref:work")" mine
    refute git -C "$wt" symbolic-ref -q HEAD
    assert_clean "$wt"
    must claim -B topic -- git symbolic-ref HEAD
    assert_equal "$output" refs/heads/topic
    hold_slot
    put "$HELD/README" 'precious work'
    kill_holder
    assert_equal "$(slot_is default-1 state)" orphaned
    must claim --max 1 --no-wait
    assert_equal "$output" "$wt"
    assert_equal "$(git for-each-ref refs/rescue | wc -l)" 2 'rescues'
    must claim release "$wt" --delete-branch
    must reap --remove
    assert_equal "$(git worktree list | wc -l)" 1 'worktrees'
    fsck
}
