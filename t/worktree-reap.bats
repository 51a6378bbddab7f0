#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git worktree-reap: what is given back, by whom, and that nothing is lost.

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

# Claims that hold, with work in their slots, all killed at once: a claim would reap what
# is orphaned already. Their paths are in WTS, the first one's in WT.
orphans() { # <how many> [<option>...]
    local n count=$1 fifo pids=() fds=() fd wt
    shift
    WTS=()
    for ((n = 0; n < count; n++)); do
        fifo=$(mktemp -u "$BATS_TEST_TMPDIR/slot.XXXXXX")
        mkfifo "$fifo.in" "$fifo.out"
        git-worktree-claim -q --hold "$@" <"$fifo.in" >"$fifo.out" 3>&- &
        pids+=("$!")
        BG_PIDS+=("$!")
        exec {fd}>"$fifo.in"
        fds+=("$fd")
        read -r wt <"$fifo.out"
        put "$wt/README" 'precious work'
        put "$wt/untracked" 'more of it'
        WTS+=("$wt")
    done
    kill -9 "${pids[@]}"
    wait "${pids[@]}" 2>/dev/null || :
    for fd in "${fds[@]}"; do exec {fd}>&-; done
    WT=${WTS[0]}
}
orphan() { orphans 1 "$@"; }

assert_rescued() { # <ref>
    assert_equal "$(git show "$1:README")" 'precious work'
    assert_equal "$(git show "$1:untracked")" 'more of it'
}

# ---- one orphan ------------------------------------------------------------------------

@test "reap: an orphan is rescued, cleaned and free; restore brings its work back" {
    every_variant one_orphan
}
one_orphan() {
    make_repo
    orphan
    must reap --json
    assert_equal "$(json slot state action result <<<"${lines[0]}" | paste -sd' ')" \
        'default-1 orphaned rescue-reset done'
    local ref
    ref=$(json rescue <<<"${lines[0]}")
    assert_rescued "$ref"
    assert_equal "$(git -C "$WT" status --porcelain)" ''
    assert_equal "$(slot_is default-1 state)" free
    must git shadow-commit restore "$ref"
    assert_file README 'precious work'
    fsck
}

@test "E5: a dry run lists the same and changes nothing" {
    make_repo
    orphan
    local before plan
    before=$(find "$WT" .git -path .git/interlock/locks -prune -o -type f -printf '%p %i %T@ %s\n' | sort)
    must reap --dry-run --json
    plan=$(json slot state action <<<"$output" | paste -sd' ')
    assert_equal "$(json result <<<"$output")" planned
    assert_equal "$(find "$WT" .git -path .git/interlock/locks -prune -o -type f -printf '%p %i %T@ %s\n' | sort)" "$before"
    must reap --json
    assert_equal "$(json slot state action <<<"$output" | paste -sd' ')" "$plan"
    assert_equal "$(json result <<<"$output")" 'done'
}

# So many at once; each has a number, in $WHICH, and leaves out.<n>, err.<n> and status.<n>.
at_once() { # <how many> <command>...
    local n count=$1
    shift
    BARRIERS=$((BARRIERS + 1))
    rm -f out.* err.* status.*
    for ((n = 0; n < count; n++)); do
        bg "$HELPER/barrier" "$BATS_TEST_TMPDIR/barrier.$BARRIERS" "$count" \
            sh -c 'n=$1; shift; export WHICH=$n; "$@" >"out.$n" 2>"err.$n"; echo $? >"status.$n"' sh "$n" "$@"
    done
    for ((n = 0; n < count; n++)); do await 120 test -s "status.$n"; done
}
BARRIERS=0

# A teardown that takes its time, and tells of whom it is: the rescue runs the filter.
slow_teardown() {
    git config filter.slow.clean 'echo "$PWD $WHICH" >>"$BATS_TEST_TMPDIR/begun"; sleep 0.5; cat'
    git config filter.slow.smudge cat
    put .gitattributes 'slow filter=slow'
    put slow 'to be changed'
    git add . && git commit -qm slow
}

@test "B3: of 2 and of 64 reapers each slot is reaped by exactly one, however long it takes" {
    make_repo
    slow_teardown
    local n count slots=3
    for count in 2 64; do
        orphans "$slots"
        for ((n = 0; n < slots; n++)); do put "${WTS[n]}/slow" "precious in $n"; done
        : >"$BATS_TEST_TMPDIR/begun"
        at_once "$count" git-worktree-reap --json
        assert_equal "$(cat status.* | sort -u)" 0 'statuses'
        for ((n = 1; n <= slots; n++)); do
            assert_equal "$(cat out.* | json slot result | paste -d' ' - - | grep -c "^default-$n done")" 1 \
                "reapers of default-$n"
        done
        # Not only said: one has worked in each.
        assert_equal "$(sort -u "$BATS_TEST_TMPDIR/begun" | wc -l)" "$slots" 'teardowns'
        assert_equal "$(git for-each-ref refs/rescue | wc -l)" "$slots" 'rescues'
        for n in $(git for-each-ref --format='%(refname)' refs/rescue); do assert_rescued "$n"; done
        # Whoever came while it went on says who does it.
        if [ "$count" = 64 ]; then
            cat out.* | json result reason | paste -d' ' - - | grep -Eq '^(busy|skipped) .*pid [0-9]+'
        fi
        git for-each-ref --format='delete %(refname)' refs/rescue | git update-ref --stdin
    done
}

@test "B3: two reapers that go by the pid in the record tear down twice" {
    # What the test above looks for can be seen.
    make_repo
    orphan
    cat >naive <<'NAIVE'
#!/bin/sh
pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/' .git/worktrees/default-1/locked)
kill -0 "$pid" 2>/dev/null && exit
sleep 0.2
git -C "$1" stash -q -u 2>/dev/null
echo done
NAIVE
    chmod +x naive
    at_once 2 ./naive "$WT"
    assert_equal "$(cat out.* | grep -c done)" 2 'teardowns'
}

@test "B1: a held slot, a lease with time left and a free slot are left alone" {
    make_repo
    must claim
    put "$output/work" mine
    local wt=$output
    must reap --json
    assert_equal "$(json state action result <<<"$output" | paste -sd' ')" 'leased none skipped'
    assert_file "$wt/work" mine
    must claim -- git worktree-reap --json --pool default
    assert_equal "$(json state <<<"$output" | paste -sd' ')" 'leased held'
    must reap -v
    assert_match "$output" 'default-2 \(free\)'
}

@test "reap: a time lease that has run out is expired, or occupied while somebody is inside" {
    make_repo
    must claim --ttl 1s
    local wt=$output
    put "$wt/work" mine
    (cd "$wt" && exec sleep 60 3>&-) &
    local inside=$!
    BG_PIDS+=("$inside")
    await 10 eval '[ "$(slot_is default-1 state)" = occupied ]'
    must reap
    assert_file "$wt/work" mine
    kill "$inside"
    wait "$inside" || :
    await 10 eval '[ "$(slot_is default-1 state)" = expired ]'
    must reap --json
    assert_equal "$(json result <<<"$output")" 'done'
    assert_equal "$(git show "$(json rescue <<<"$output"):work")" mine
}

@test "reap: a process of the lease that closed every descriptor and sits inside is occupied" {
    make_repo
    local pid
    git-worktree-claim -q -- sh -c \
        'setsid sh -c "exec 0<&- 1>&- 2>&-; echo \$\$ >.git-left; exec sleep 60" & exec sleep 60' 3>&- &
    pid=$!
    BG_PIDS+=("$pid")
    await 10 test -s "$PWD.worktrees/default-1/.git-left"
    kill -9 "$pid"
    wait "$pid" || :
    await 10 eval '[ "$(slot_is default-1 state)" = occupied ]'
    must reap
    assert_equal "$(slot_is default-1 state)" occupied
    kill "$(cat "$PWD.worktrees/default-1/.git-left")"
    await 10 eval '[ "$(slot_is default-1 state)" = orphaned ]'
}

@test "F1: a rescue is named after who left the work, also when a claim was killed in between" {
    requires ptrace
    make_repo
    orphan
    local lease killat
    lease=$(slot_is default-1 lease)
    # Somebody else reconciles, so that the claim itself takes what is orphaned.
    exec {fd}<>.git/interlock/locks/reconcile
    flock -n "$fd"
    mkfifo ../in ../out
    "$HELPER/killat" --hold=open,openat,openat2,newfstatat,mkdirat:refs/rescue -- \
        git-worktree-claim --no-wait <../in >../out 2>../err {fd}>&- 3>&- &
    killat=$!
    BG_PIDS+=("$killat")
    exec {go}>../in
    read -r line <../out
    assert_equal "$line" held
    grep -q '"phase":"claiming"' .git/worktrees/default-1/locked
    kill -9 "$killat"
    wait "$killat" || :
    exec {fd}>&- {go}>&-
    await 10 eval '[ "$(slot_is default-1 state)" = orphaned ]'
    assert_differ "$(slot_is default-1 lease)" "$lease" leases
    must reap --json
    assert_equal "$(json rescue <<<"$output")" "refs/rescue/default-1/$lease"
    assert_rescued "refs/rescue/default-1/$lease"
}

# ---- removing ------------------------------------------------------------------------------

@test "reap --remove: free and reaped slots go, with their work rescued" {
    every_variant remove_slots
}
remove_slots() {
    make_repo
    must claim
    orphan
    must claim release default-1
    must reap --remove --json
    assert_equal "$(json slot action result <<<"$output" | paste -sd' ')" \
        'default-1 remove done default-2 remove done'
    assert_rescued "$(git for-each-ref --format='%(refname)' refs/rescue)"
    assert_equal "$(git worktree list | wc -l)" 1 'worktrees'
    assert_absent "$WT"
    must claim list
    assert_equal "$output" ''
}

@test "F1: a removal that was killed between its two renames is finished by the next reap" {
    make_repo
    must claim -b topic
    local wt=$output born
    must claim release "$wt"
    born=$(slot_is default-1 born)
    # What is on disk then: the worktree is aside, git still has it registered.
    mv "$wt" "$PWD.worktrees/.interlock-trash-$born"
    must reap --dry-run --json
    assert_equal "$(json state action <<<"$output" | paste -sd' ')" 'vanished unregister'
    must reap
    await 10 test ! -e "$PWD.worktrees/.interlock-trash-$born"
    assert_absent .git/worktrees/default-1
    assert_equal "$(git worktree list | wc -l)" 1
    # Somebody's directory of that name is not the one that was born.
    must claim
    wt=$output
    must claim release "$wt"
    born=$(slot_is default-1 born)
    mv "$wt" elsewhere
    mkdir "$PWD.worktrees/.interlock-trash-$born"
    must reap --json
    assert_equal "$(json state action <<<"$output" | paste -sd' ')" 'vanished none'
    [ -d "$PWD.worktrees/.interlock-trash-$born" ]
}

@test "A10: a vanished slot blocks its branch until --prune" {
    make_repo
    must claim -b topic --ttl never
    rm -rf "$output"
    must reap --json
    assert_equal "$(json state action <<<"$output" | paste -sd' ')" 'vanished none'
    refute git checkout -q topic
    must reap --prune --json
    assert_equal "$(json action result <<<"$output" | paste -sd' ')" 'unregister done'
    git checkout -q topic
}

@test "H10: many that vanish at once are reported, and acted on only by name" {
    make_repo
    local n
    for n in 1 2 3; do must claim --ttl never; done
    mv "$PWD.worktrees" "$PWD.elsewhere"
    must reap --prune --json
    assert_equal "$(json action <<<"$output" | sort -u)" none
    mv "$PWD.elsewhere" "$PWD.worktrees"
    assert_equal "$(slot_is default-2 state)" leased
    rm -rf "$PWD.worktrees"
    must reap --prune default-1 --json
    assert_equal "$(json action result <<<"$output" | paste -sd' ')" 'unregister done'
}

@test "reap: foreign worktrees are listed, and never touched" {
    make_repo
    git worktree add -q ../mine
    put ../mine/new work
    must reap --remove --prune --json
    assert_equal "$(json state action <<<"$output" | paste -sd' ')" 'foreign none'
    assert_file ../mine/new work
    must reap --remove ../mine
    assert_file ../mine/new work
}

@test "E5: one slot that cannot be rescued stays, is reported, and the others are reaped" {
    make_repo
    orphans 2
    local first=$WT
    # A rescue that cannot be written: a directory in the place of its ref.
    local lease
    lease=$(slot_is default-1 lease)
    mkdir -p ".git/refs/rescue/default-1/$lease/in-the-way"
    git update-ref "refs/rescue/default-1/$lease/in-the-way/x" HEAD
    must_exit 128 reap --json
    assert_equal "$(json slot result <<<"$output" | paste -sd' ')" \
        'default-1 failed default-2 done'
    assert_match "$stderr" "slot 'default-1' was left as it is"
    assert_file "$first/README" 'precious work'
    git update-ref -d "refs/rescue/default-1/$lease/in-the-way/x"
    must reap
    assert_rescued "refs/rescue/default-1/$lease"
}

@test "reap: named slots; one that is not there is exit 1" {
    make_repo
    orphans 2
    local first=$WT
    must reap "$first" --json
    assert_equal "$(json slot <<<"$output")" default-1
    assert_equal "$(slot_is default-2 state)" orphaned
    must_exit 1 reap no-such-slot
    must_exit 129 reap --pool a default-2
    must_exit 129 reap --json -z
}

@test "C10: a free slot that was unlocked by hand is reaped, though nothing says what it was" {
    make_repo
    must claim
    local wt=$output
    must claim release default-1
    put "$wt/new" work
    git worktree unlock "$wt"
    assert_equal "$(slot_is default-1 state)" desynced
    # Naive: no record reads as one of a birth, which has no base to be finished at.
    must reap
    assert_equal "$(slot_is default-1 state)" free
    assert_equal "$(git -C "$wt" status --porcelain)" ''
    assert_equal "$(git show "$(git for-each-ref --format='%(refname)' refs/rescue):new")" work
}

@test "A10: a slot that is unregistered leaves no record of its lease" {
    make_repo
    must claim
    rm -rf "$output"
    must reap --prune default-1
    assert_equal "$(ls .git/interlock/leases)" ''
}

# ---- what died half-way ---------------------------------------------------------------------------

@test "A9: a birth that was killed is half-born or gone, and the next claim needs no help" {
    requires ptrace
    make_repo
    local n total
    # With a command: nobody is left whose lease it could be.
    "$HELPER/killat" -c -o report -- git-worktree-claim -q -- true >/dev/null 2>&1 || :
    total=$(sed -n 's/^calls //p' report)
    must reap --remove
    for ((n = 40; n < total; n += total / 12)); do
        "$HELPER/killat" -n "$n" -- git-worktree-claim -q -- true >/dev/null 2>&1 || :
        must claim --no-wait
        assert_equal "$(git -C "$output" status --porcelain)" ''
        must claim release "$output"
        must reap --remove
        await 10 eval '[ -z "$(find .git/interlock -maxdepth 1 -name "trash-*" -o -maxdepth 1 -name "birth-*")" ]'
        assert_equal "$(git worktree list | wc -l)" 1 "worktrees after a kill at $n"
        assert_equal "$(ls "$PWD.worktrees" 2>/dev/null)" '' "left after a kill at $n"
    done
    fsck
}

@test "F1 C6: a release that was killed is finished by the next claim, with nothing lost" {
    requires ptrace
    make_repo
    local n total wt
    must claim
    wt=$output
    put "$wt/new" "round 0"
    "$HELPER/killat" -c -o report -- git-worktree-claim release -q default-1 >/dev/null 2>&1
    total=$(sed -n 's/^calls //p' report)
    for ((n = 60; n < total; n += total / 12)); do
        must claim --max 1
        put "$wt/new" "round $n"
        "$HELPER/killat" -n "$n" -- git-worktree-claim release -q default-1 >/dev/null 2>&1 || :
        # A person's lease that was not touched yet still is one.
        if [ "$(slot_is default-1 state)" = leased ]; then
            assert_file "$wt/new" "round $n"
            must claim release default-1
        fi
        must claim --max 1 --no-wait
        assert_equal "$(git -C "$wt" status --porcelain)" ''
        git for-each-ref --format='%(objectname)' refs/rescue | git rev-list --stdin |
            sed 's/$/:new/' | git cat-file --batch | grep -qx "round $n" ||
            flunk "the work of round $n is nowhere"
        must claim release default-1
    done
    fsck
}

@test "the lock that a killed git left of a write of ours is swept, once it is at rest" {
    make_repo
    local lock=$PWD/.git/refs/rescue/default-1/dead.lock
    must claim
    must claim release default-1
    mkdir -p .git/interlock/git "${lock%/*}"
    printf 'interlock-git-writer 1\n%s\0*\0' "$lock" >.git/interlock/git/dead
    : >"$lock"
    must reap --dry-run
    [ -e "$lock" ]
    swept() { git worktree-reap && [ ! -e "$lock" ]; }
    await 5 swept
    assert_equal "$(ls .git/interlock/git)" ''
    # That of somebody else stays, however old it is.
    : >"$lock"
    touch -d 2001-01-01 "$lock"
    sleep 1.1
    must reap
    [ -e "$lock" ]
}

# ---- rescued -------------------------------------------------------------------------------------------

@test "rescued: lists, drops by name and by age" {
    make_repo
    orphan
    must reap
    must reap rescued --json
    local ref
    ref=$(json ref <<<"$output")
    assert_equal "$(json slot <<<"$output")" default-1
    must_exit 1 reap rescued --drop refs/rescue/default-1/none
    must_exit 129 reap rescued --drop refs/heads/main
    must reap rescued --older-than 1h
    git rev-parse -q --verify "$ref"
    must reap rescued --drop "$ref"
    refute git rev-parse -q --verify "$ref"
    must reap rescued
    assert_equal "$output" ''
}
