#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git interlock doctor: each broken state is made, recognised with its cause and cure, cured by
# --fix when it is ours and left alone when it is not. Then the next doctor has nothing to say
# and the next claim and save work.

# shellcheck disable=SC2154 # set by try(): output, stderr, lines
# shellcheck disable=SC2001,SC2016,SC2030,SC2031

load helpers

claim() { git worktree-claim "$@"; }

# Exactly these findings, "<id> <subject>" each: a doctor that looks, and changes nothing.
finds() { # <status> [<id> <subject>]...
    local want=$1 before common
    shift
    common=$(git rev-parse --path-format=absolute --git-common-dir)
    before=$(files "$common")
    must_exit "$want" git interlock doctor --json "${PLACES[@]}"
    FOUND=$output
    assert_equal "$([ -z "$FOUND" ] || json id subject <<<"$FOUND" | paste -d' ' - - | sort)" \
        "$([ $# = 0 ] || printf '%s %s\n' "$@" | sort)" findings
    assert_equal "$(files "$common")" "$before" 'files after a look'
}
PLACES=()
files() { find "$1" -printf '%p %i %y %m %s %T@ %C@ %l\n' | sort; }

# The value of a key of the finding with that id.
value() { # <key> <id>
    while IFS= read -r line; do
        [ "$(json id <<<"$line")" != "$2" ] || json "$1" <<<"$line"
    done <<<"$FOUND"
}

# --fix cures these, and what stays is told with the status.
cures() { # <status> [<id> <subject>]...
    local want=$1
    shift
    must_exit "$want" git interlock doctor --fix --json "${PLACES[@]}"
    FOUND=$output
    assert_equal "$(grep '"result":"cured"' <<<"$FOUND" | json id subject | paste -d' ' - - | sort)" \
        "$(printf '%s %s\n' "$@" | sort)" cured
}

# --fix changes nothing about what is found.
leaves() {
    local common before
    common=$(git rev-parse --path-format=absolute --git-common-dir)
    before=$(files "$common")
    try git interlock doctor --fix --json "${PLACES[@]}"
    assert_equal "$(files "$common")" "$before" 'files after --fix'
    assert_equal "$output" "$FOUND" 'what --fix says'
}

# Quiet, and everything works.
well() {
    finds 0
    must git interlock doctor
    assert_match "$output" '^  healthy: looked at '
    assert_equal "${#lines[@]}" 1 'lines of a healthy repository'
    works
}
works() {
    must claim --no-wait
    local wt=$output
    assert_equal "$(git -C "$wt" status --porcelain)" ''
    must claim release -q "$wt"
    echo "$RANDOM$RANDOM" >>tracked.c
    must git shadow-commit -q
    fsck
}

old() { touch -d '9 hours ago' "$@"; }

# Runs a command until it stands in a filter, and kills it and the filter.
kill_in_checkout() { # <command>...
    local started=$BATS_TEST_TMPDIR/started pid
    printf '%s\n' '#!/bin/sh' "echo \$\$ >>'$started'" 'exec sleep 60' >"$BATS_TEST_TMPDIR/filter"
    chmod +x "$BATS_TEST_TMPDIR/filter"
    rm -f "$started"
    put .gitattributes 'README filter=stop'
    git add . && git commit -qm attributes
    git config filter.stop.smudge "$BATS_TEST_TMPDIR/filter"
    "$@" >/dev/null 2>&1 3>&- &
    pid=$!
    BG_PIDS+=("$pid")
    await 20 test -s "$started"
    git config --unset filter.stop.smudge
    # shellcheck disable=SC2046 # all that it has started
    kill -9 "$pid" $(pgrep -P "$pid") $(cat "$started")
    wait "$pid" 2>/dev/null || :
    await 10 eval '! pgrep -f "$BATS_TEST_TMPDIR/filter" >/dev/null'
}

# ---- nothing is wrong --------------------------------------------------------------------

@test "doctor: a healthy repository is one line, and nothing was changed, whatever kind it is" {
    every_variant healthy
    make_repo --empty empty
    finds 0
    cd ..
    make_repo --bare bare.git
    finds 0
    git -c user.name=a -c user.email=b commit-tree -m x "$(git mktree </dev/null)" >oid
    git update-ref refs/heads/main "$(cat oid)"
    git config interlock.poolDir "$BATS_TEST_TMPDIR/pool"
    must claim -q
    finds 0
    cd "$output"
    finds 0
    cd "$BATS_TEST_TMPDIR"
    make_repo super
    git -c protocol.file.allow=always submodule --quiet add ../native-sha1/repo sub
    cd sub
    finds 0
}
healthy() {
    make_repo
    finds 0
    must git interlock doctor --fix
    assert_match "$output" '^  healthy: looked at 0 slots, 0 other worktrees, 0 refs of ours, 0 locks, 0 events; no hooks'
    assert_absent .git/interlock
    # After all that leaves something on disk.
    must claim -q
    git worktree add -q ../linked
    put new work
    must git shadow-commit -q
    must claim -q -b topic -- sh -c 'echo work >new'
    must git interlock run -- true
    must git cas-ref refs/x/a "$(git rev-parse HEAD)" ''
    must git interlock install -q
    well
    must git interlock doctor
    assert_match "$output" 'looked at 2 slots, 1 other worktree, [0-9]+ refs of ours, .* 7 of 7 hooks active; locks hold on '
    cd ../linked || return
    finds 0
    mkdir -p below
    cd below || return
    finds 0
    cd ../../repo.worktrees/default-1 || return
    finds 0
}

@test "doctor: reftable" {
    requires reftable
    make_repo --ref-format reftable
    must claim -q
    put new work
    must git shadow-commit -q
    well
}

@test "doctor: what others are doing is no finding, and it is in nobody's way" {
    make_repo
    : >stop
    worker() {
        local n
        for ((n = 0; n < 6; n++)); do
            git worktree-claim -q --timeout 60s -- sh -c 'echo x >>new; git shadow-commit -q' || return
            git cas-ref "refs/x/$1" "$(git commit-tree -m "$n" 'HEAD^{tree}')" \
                "$(git rev-parse -q --verify "refs/x/$1")" || return
            git interlock run --mutex "$1" -- true || return
        done
    }
    local pid pids=() n=0
    for n in a b c; do
        worker "$n" >"log.$n" 2>&1 3>&- &
        pids+=("$!")
        BG_PIDS+=("$!")
    done
    n=0
    while kill -0 "${pids[@]}" 2>/dev/null; do
        # An orphan or a draft would be one: everybody lives.
        finds_nothing_of_theirs
        n=$((n + 1))
    done
    assert_at_least "$n" 2 looks
    for pid in "${pids[@]}"; do wait "$pid" || flunk "a worker failed: $(tail -n 3 log.?)"; done
    await 10 eval '[ -z "$(find .git/interlock -maxdepth 1 -name "trash-*")" ]'
    finds 0
}
finds_nothing_of_theirs() {
    try git interlock doctor --json
    assert_equal "$status$output" 0 'a look beside others'
}

@test "doctor: a run that ends while it is looked at was not left behind" {
    requires ptrace
    make_repo
    mkfifo go
    bg git interlock run -- sh -c ': >go'
    await 10 eval '[ -n "$(ls .git/interlock/runs 2>/dev/null)" ]'
    # It has read the names; now the run ends as it should.
    stop_at openat:mutex-default git-interlock doctor --json
    ls .git/interlock/runs | grep -q .
    : <go
    wait "${BG_PIDS[0]}"
    assert_equal "$(ls .git/interlock/runs)" ''
    let_go
    assert_equal "$(cat "$STOPPED_OUT")" ''
}

@test "doctor: names from a repository reach no terminal; it fits in 80 and 140 columns" {
    make_repo
    mkdir -p .git/refs/heads/x
    : >".git/refs/heads/x/$(printf 'long%.0s' {1..40})"
    : >.git/index.lock
    old .git/index.lock
    echo x >$'.git/refs/heads/\303\244'
    git config interlock.ttl $'so\033[2Jon'
    local width line
    for width in 80 140; do
        try env COLUMNS=$width git interlock doctor --color
        assert_equal "$status" 1
        while IFS= read -r line; do
            line=$(sed $'s/\033\\[[0-9]*m//g' <<<"$line")
            # A name is not cut.
            case $line in *long*) ;; *) assert_at_most ${#line} $width "columns of '$line'" ;; esac
            assert_no_match "$line" $'\033'
        done <<<"$output"
        assert_match "$output" $'\033\\[31mproblem\033'
    done
    must_exit 129 git interlock doctor --no-such
    must_exit 128 git interlock doctor ../nowhere
    must_exit 129 env COLUMNS=wide git interlock doctor
}

@test "doctor: the manual has each id that there is, with a star where --fix cures it" {
    local kinds
    kinds=$(perl -0777 -ne 'print "$1$2\n" while /\[ILL_\w+\]\s*=\s*\{\s*"([\w-]+)",\s*DOCTOR_\w+,\s*(true|false)/g' \
        "$TOP/lib/work/doctorkinds.c" | sed 's/true$/ */; s/false$//' | sort)
    assert_at_least "$(wc -l <<<"$kinds")" 40 kinds
    assert_equal "$(sed -n '/^== DOCTOR/,/^== EVENTS/p' "$TOP/Documentation/git-interlock.adoc" |
        perl -ne 'next unless s/^\|(`.*?) \|.*/$1/; print "$1$2\n" while /`([\w-]+)`( \*)?/g' | sort)" "$kinds"
}

# ---- worktrees ---------------------------------------------------------------------------

@test "A9: a half-born worktree of ours" {
    make_repo
    kill_in_checkout git-worktree-claim -q -- true
    finds 1 half-born default-1
    assert_match "$(value cause half-born)" 'was killed'
    assert_equal "$(value fixable half-born)" true
    cures 0 half-born default-1
    well
}

@test "A9: what a birth that was killed early leaves, a claim's lease, and a removal's trash" {
    requires ptrace
    make_repo
    local n total how
    # shellcheck disable=SC2086 # words
    for how in 'git-worktree-claim -q -- true' 'git-worktree-reap --remove' 'git-worktree-claim release -q default-1'; do
        must claim -q
        case $how in *reap*) must claim release -q default-1 ;; esac
        "$HELPER/killat" -c -o report -- $how >/dev/null 2>&1 || :
        total=$(sed -n 's/^calls //p' report)
        for ((n = 60; n < total; n += total / 6)); do
            case $how in *release* | *reap*) claim -q --no-wait --max 1 >/dev/null 2>&1 || : ;; esac
            case $how in *reap*) claim release -q default-1 >/dev/null 2>&1 || : ;; esac
            "$HELPER/killat" -n "$n" -- $how >/dev/null 2>&1 || :
            # F1: no debris after it, from one look to the next.
            sleep 2
            try git interlock doctor --fix
            assert_equal "$status" 0 "doctor --fix after a kill of '$how' at $n"
            await 10 eval '[ -z "$(find .git/interlock -maxdepth 1 -name "trash-*" -o -maxdepth 1 -name "birth-*")" ]'
            finds 0
            assert_equal "$(debris)" '' "left after a kill of '$how' at $n"
        done
        must git worktree-reap --remove
        claim release -q default-1 2>/dev/null || :
        must git worktree-reap --remove
        await 10 eval '[ -z "$(find .git/interlock -maxdepth 1 -name "trash-*")" ]'
    done
    well
}

@test "A9: git's own half-born worktree is named with what clears it, and never touched" {
    make_repo
    kill_in_checkout git worktree add -q ../corpse
    assert_file .git/worktrees/corpse/locked initializing
    # It may be at work: who can tell?
    finds 0 git-half-born corpse
    assert_equal "$(value severity git-half-born)" note
    old .git/worktrees/corpse/*
    finds 1 git-half-born corpse
    assert_equal "$(value fixable git-half-born)" false
    leaves
    eval "$(value cure git-half-born)"
    assert_absent ../corpse
    well
    # And one that was killed before there was a worktree.
    mkdir -p .git/worktrees/early
    printf initializing >.git/worktrees/early/locked
    old .git/worktrees/early/locked
    finds 1 git-half-born early
    leaves
    local cure
    cure=$(value cure git-half-born)
    eval "${cure/; then /; }"
    well
}

@test "A10: a vanished worktree is reported and not pruned; many at once are another matter" {
    make_repo
    must claim -q -b topic
    must claim -q
    must claim release -q default-2
    git worktree add -q --detach ../theirs
    rm -rf "$PWD.worktrees/default-1"
    finds 1 vanished default-1
    assert_match "$(value cure vanished)" 'git worktree-reap --prune default-1'
    leaves
    [ -d .git/worktrees/default-1 ]
    rm -rf ../theirs
    # Two of three: so many only when there are more.
    finds 1 vanished default-1 git-vanished theirs
    leaves
    mv "$PWD.worktrees" ../unmounted
    finds 1 vanished-many '3 worktrees'
    assert_match "$(value cause vanished-many)" 'not mounted, or another mount namespace'
    leaves
    mv ../unmounted "$PWD.worktrees"
    must git worktree-reap --prune default-1
    git worktree prune
    well
}

@test "B14: the lease's record, or the whole folder, deleted under a live holder" {
    make_repo
    hold_slot
    rm .git/interlock/leases/*[0-9a-f]
    finds 0 lease-record default-1
    leaves
    # The holder may be about to write there, and make it again: until it is gone for good.
    gone_for_good() { rm -rf .git/interlock && sleep 0.5 && [ ! -e .git/interlock ]; }
    await 20 gone_for_good
    finds 0 lease-record default-1
    assert_match "$(value cause lease-record)" "with the folder 'interlock'"
    leaves
    assert_absent .git/interlock
    must_exit 75 claim --max 1 --no-wait
    let_slot_go
    well
}

@test "B14: the file that holds a leased worktree locked for git, deleted under its holder" {
    make_repo
    local how before
    for how in held leased; do
        if [ $how = held ]; then hold_slot; else must claim -q; fi
        before=$(cat .git/worktrees/default-1/locked)
        git worktree unlock "$PWD.worktrees/default-1"
        finds 1 slot-unlocked default-1
        cures 0 slot-unlocked default-1
        assert_file .git/worktrees/default-1/locked "$before"
        finds 0
        must_exit 75 claim --max 1 --no-wait
        if [ $how = held ]; then let_slot_go; else must claim release -q default-1; fi
        well
    done
}

@test "C10: a record that is gone or garbage, and nobody has the slot" {
    make_repo
    must claim -q
    must claim release -q default-1
    git worktree unlock "$PWD.worktrees/default-1"
    finds 1 desynced default-1
    cures 0 desynced default-1
    well
    printf garbage >.git/worktrees/default-1/interlock
    finds 1 slot-unjudged default-1
    leaves
    git worktree unlock "$PWD.worktrees/default-1"
    git worktree remove "$PWD.worktrees/default-1"
    well
}

@test "C6: an owner that was killed, with its work inside" {
    make_repo
    hold_slot
    put "$HELD/README" precious
    kill -9 "$SLOT_PID"
    wait "$SLOT_PID" 2>/dev/null || :
    finds 0 orphaned default-1
    cures 0 orphaned default-1
    assert_equal "$(git show "$(git for-each-ref --format='%(refname)' refs/rescue):README")" precious
    well
}

# ---- what was moved ----------------------------------------------------------------------

@test "C14: a repository that was moved with its slots" {
    both_engines moved_with_slots
}
moved_with_slots() {
    make_repo
    must claim -q -b topic
    put "$output/README" mine
    must claim -q
    must claim release -q default-2
    git worktree add -q ../linked
    cd ..
    mkdir elsewhere
    mv repo repo.worktrees linked elsewhere
    cd elsewhere/repo || return
    finds 1 slot-moved default-1 slot-moved default-2 git-vanished linked
    cures 0 slot-moved default-1 slot-moved default-2
    # As git itself sees it, too.
    assert_equal "$(git -C ../repo.worktrees/default-1 status --porcelain)" ' M README'
    assert_equal "$(git worktree list --porcelain | grep -c "^worktree $PWD.worktrees/")" 2
    assert_equal "$(claim list --json | json state path | paste -sd' ')" \
        "leased $PWD.worktrees/default-1 free $PWD.worktrees/default-2"
    # Not ours.
    git -C ../linked rev-parse 2>/dev/null && flunk "it was repaired"
    git worktree repair "$PWD/../linked" >/dev/null 2>&1
    well
    must claim release -q default-1
    assert_equal "$(git -C ../repo.worktrees/default-1 status --porcelain)" ''
}

@test "C14: a repository that was moved away from its slots" {
    make_repo
    must claim -q
    put "$output/README" mine
    local wt=$output
    git worktree add -q ../linked
    mv ../repo ../other
    cd ../other
    finds 1 slot-moved default-1 git-moved linked
    cures 1 slot-moved default-1
    assert_equal "$(git -C "$wt" status --porcelain)" ' M README'
    FOUND=$(grep -v '"cured"' <<<"$FOUND")
    eval "$(value cure git-moved)" >/dev/null 2>&1
    finds 0
    must claim release -q "$wt"
    well
}

@test "C14: a slot that was moved: found beside, told where, or named" {
    make_repo
    must claim -q
    local wt=$output
    put "$wt/README" mine
    # By another name: put back by who did it.
    mv "$wt" "$wt.moved"
    finds 1 slot-renamed default-1
    leaves
    eval "$(value cure slot-renamed)"
    finds 0
    # Its own name, somewhere else.
    mkdir "../my pools"
    mv "$wt" "../my pools"
    finds 1 vanished default-1
    leaves
    PLACES=("../my pools")
    finds 1 slot-moved default-1
    cures 0 slot-moved default-1
    PLACES=()
    assert_equal "$(git -C "../my pools/default-1" status --porcelain)" ' M README'
    finds 0
    assert_equal "$(claim list --json | json state path | paste -sd' ')" \
        "leased $(realpath "../my pools")/default-1"
    must claim release -q default-1
    # git has moved it, and knows where it is.
    git worktree move -f -f "../my pools/default-1" ../default-1
    finds 1 slot-moved default-1
    cures 0 slot-moved default-1
    well
    # The .git file was lost.
    rm ../default-1/.git
    finds 1 slot-moved default-1
    cures 0 slot-moved default-1
    well
    # Another directory in its place is not it.
    mv ../default-1 ../away
    mkdir ../default-1
    finds 1 slot-renamed default-1
    leaves
    rmdir ../default-1
    mv ../away ../default-1
    well
}

@test "C14: a copy of a repository takes no slot from the original" {
    make_repo
    must claim -q
    local wt=$output before
    put "$wt/README" mine
    cp -a ../repo ../copy
    before=$(files "$wt")
    cd ../copy
    finds 1 slot-of-other default-1
    leaves
    assert_equal "$(files "$wt")" "$before"
    eval "$(value cure slot-of-other)"
    must git worktree-reap # the copy of its lease
    well
    cd ../repo
    finds 0
    assert_equal "$(git -C "$wt" status --porcelain)" ' M README'
}

# ---- locks -------------------------------------------------------------------------------

@test "C9 H7: locks of others are named with their age and never broken" {
    make_repo
    git worktree add -q ../linked
    must claim -q
    local lock locks=(index HEAD packed-refs config refs/heads/main worktrees/linked/index
        worktrees/linked/HEAD worktrees/default-1/index) want=()
    for lock in "${locks[@]}"; do
        # As a process leaves it that is killed.
        "$HELPER/hold" litter ".git/$lock" </dev/null >/dev/null
        want+=(lock-left "$lock.lock")
    done
    # A second ago: that may be anybody at work.
    finds 0
    for lock in "${locks[@]}"; do old ".git/$lock.lock"; done
    finds 1 "${want[@]}"
    assert_match "$(value cause lock-left | head -n 1)" '9h old, and no process that can be seen has it open'
    leaves
    local cure
    while IFS= read -r cure; do eval "${cure%%,*}"; done < <(value cure lock-left)
    must claim release -q default-1
    well
}

@test "C9: a lock that somebody has is no finding, unless it takes very long" {
    make_repo
    hold dotlock .git/index
    old .git/index.lock
    finds 0 lock-held index.lock
    assert_match "$(value cause lock-held)" "held: by pid $HOLD_PID \(hold\), for 9h"
    leaves
    touch -d '1 minute ago' .git/index.lock
    finds 0
    unhold
    well
}

@test "C9: a lock that a killed git left in a free slot is removed under the slot's lock" {
    make_repo
    must claim -q
    must claim release -q default-1
    : >.git/worktrees/default-1/index.lock
    : >.git/worktrees/default-1/HEAD.lock
    old .git/worktrees/default-1/{index,HEAD}.lock
    finds 0 slot-lock worktrees/default-1/index.lock slot-lock worktrees/default-1/HEAD.lock
    # Somebody sits there: it may be theirs.
    (cd "$PWD.worktrees/default-1" && exec sleep 60 3>&-) &
    BG_PIDS+=("$!")
    await 5 eval '[ "$(readlink "/proc/${BG_PIDS[-1]}/cwd")" = "$PWD.worktrees/default-1" ]'
    must git interlock doctor --fix --json
    assert_equal "$(json result <<<"$output" | sort -u)" failed
    assert_match "$output" 'may be at work inside'
    [ -e .git/worktrees/default-1/index.lock ]
    kill "${BG_PIDS[-1]}"
    wait "${BG_PIDS[-1]}" 2>/dev/null || :
    cures 0 slot-lock worktrees/default-1/index.lock slot-lock worktrees/default-1/HEAD.lock
    well
}

@test "D18: the locks of a killed swap of ours, by either way of writing" {
    requires strace ptrace
    make_repo
    local a
    a=$(git rev-parse HEAD)
    try strace -f -o trace -e inject=renameat:signal=KILL:when=1 git-cas-ref refs/x/once "$a" ''
    assert_equal "$status" 137
    [ -e .git/refs/x/once.lock ]
    finds 1 swap-lock refs/x/once.lock intent-left interlock/locks/ref-refs%2Fx%2Fonce.intent
    cures 0 swap-lock refs/x/once.lock intent-left interlock/locks/ref-refs%2Fx%2Fonce.intent
    assert_equal "$(debris)" ''
    well
    # git's last unlink in a delete.
    git update-ref refs/x/a "$a"
    try strace -f -o trace -e trace=unlink -e inject=unlink:signal=KILL:when=4 \
        git-cas-ref --delete refs/x/a "$a"
    [ -e .git/packed-refs.lock ]
    local intent
    intent=$(ls .git/interlock/git)
    finds 1 swap-lock packed-refs.lock intent-left "interlock/git/$intent"
    cures 0 swap-lock packed-refs.lock intent-left "interlock/git/$intent"
    git pack-refs --all
    well
    # HEAD.lock of the worktree in which it was killed, asked from another one.
    git worktree add -q -b topic ../linked
    (
        cd ../linked || exit
        try strace -f -o trace -e inject=renameat:signal=KILL:when=1 \
            git-cas-ref refs/heads/topic "$(git commit-tree -m x 'HEAD^{tree}')" "$a"
        assert_equal "$status" 137
    )
    finds 1 swap-lock worktrees/linked/HEAD.lock swap-lock refs/heads/topic.lock \
        intent-left interlock/locks/ref-refs%2Fheads%2Ftopic.intent
    cures 0 swap-lock worktrees/linked/HEAD.lock swap-lock refs/heads/topic.lock \
        intent-left interlock/locks/ref-refs%2Fheads%2Ftopic.intent
    well
}

@test "D18: a swap that is at work is no finding, and --fix leaves it its lock" {
    requires strace
    make_repo
    local a
    a=$(git rev-parse HEAD)
    strace -f -o trace -e inject=renameat:delay_enter=4s git-cas-ref refs/x/busy "$a" '' 3>&- &
    BG_PIDS+=("$!")
    await 10 test -e .git/refs/x/busy.lock
    finds 0
    must git interlock doctor --fix
    [ -e .git/refs/x/busy.lock ]
    wait "${BG_PIDS[-1]}"
    assert_equal "$(git rev-parse refs/x/busy)" "$a"
    well
}

@test "G1: an install that was killed with git's lock on the settings" {
    requires ptrace
    make_repo
    local n total=0
    "$HELPER/killat" -c -o report -- git-interlock install -q >/dev/null 2>&1
    total=$(sed -n 's/^calls //p' report)
    must git interlock uninstall -q
    for ((n = total; n > 0; n--)); do
        [ ! -e .git/config.lock ] || break
        git interlock uninstall -q
        "$HELPER/killat" -n "$n" -- git-interlock install -q >/dev/null 2>&1 || :
    done
    [ -e .git/config.lock ] || flunk "the lock was never left behind"
    # Where git runs hooks from its settings they are not there yet.
    must_exit 1 git interlock doctor --json
    assert_equal "$(json id <<<"$output" | grep -vx hook-inactive | sort | paste -sd' ')" 'hooks-unfinished install-lock'
    assert_equal "$(json id subject <<<"$output" | grep -A1 install-lock | tail -n 1)" config.lock
    cures 1 install-lock config.lock
    assert_absent .git/config.lock
    must git interlock install -q
    well
}

# ---- refs --------------------------------------------------------------------------------

@test "D19: a shadow ref that is empty or holds garbage gets its last good value back" {
    both_engines damaged
}
damaged() {
    make_repo
    local tip ref how
    put README one
    must git shadow-commit -q
    tip=$output
    ref=$(shadow_ref)
    for how in empty garbage; do
        if [ $how = empty ]; then : >".git/$ref"; else echo garbage >".git/$ref"; fi
        finds 1 ref-damaged "$ref"
        assert_match "$(value cause ref-damaged)" "its last good value is $tip"
        cures 0 ref-damaged "$ref"
        assert_equal "$(git rev-parse "$ref")" "$tip"
        well
        tip=$(git rev-parse "$ref")
    done
    # And without it: the save goes on from there.
    : >".git/$ref"
    finds 1 ref-damaged "$ref"
    put README two
    must git shadow-commit -q
    assert_equal "$(git rev-parse "$output^")" "$tip"
    well
    # Nothing knows its value.
    : >".git/$ref"
    rm -r .git/interlock/tips
    finds 1 ref-lost "$ref"
    leaves
    put README three
    must git shadow-commit -q
    well
    : >".git/$ref"
    rm -r .git/interlock/tips
    finds 1 ref-lost "$ref"
    local cure
    cure=$(value cure ref-lost)
    eval "${cure%%;*}"
    well
}

@test "D19: a pin's value is told by the segment behind it; a rescue's by its note" {
    make_repo
    git config interlock.segmentMax 2
    local n pin value
    for n in 1 2 3 4 5 6 7; do
        put README "$n"
        must git shadow-commit -q
    done
    for pin in $(git for-each-ref --format='%(refname)' refs/shadow-old); do
        value=$(git rev-parse "$pin")
        : >".git/$pin"
        finds 1 ref-damaged "$pin"
        assert_match "$(value cause ref-damaged)" "$value"
        cures 0 ref-damaged "$pin"
        assert_equal "$(git rev-parse "$pin")" "$value"
    done
    assert_equal "$(git shadow-commit log --json | wc -l)" 7
    must claim -q
    put "$output/README" lost
    must claim release -q default-1
    pin=$(git for-each-ref --format='%(refname)' refs/rescue)
    value=$(git rev-parse "$pin")
    : >".git/$pin"
    finds 1 ref-damaged "$pin"
    cures 0 ref-damaged "$pin"
    assert_equal "$(git rev-parse "$pin")" "$value"
    well
}

@test "D19: a damaged ref that is not ours is named with the last value in its reflog" {
    make_repo
    git branch topic
    : >.git/refs/heads/topic
    finds 1 git-ref-damaged refs/heads/topic
    leaves
    local cure
    cure=$(value cure git-ref-damaged)
    eval "${cure% (*}"
    assert_equal "$(git rev-parse topic)" "$(git rev-parse HEAD)"
    well
}

@test "D2: a checkpoint whose commit is not there" {
    make_repo
    put README one
    must git shadow-commit -q
    printf '%040d\n' 7 >".git/$(shadow_ref)"
    finds 1 ref-dangling "$(shadow_ref)"
    leaves
}

# ---- what was left -----------------------------------------------------------------------

@test "F1: runs, folders, drafts, leases and packs that killed ones have left" {
    make_repo
    must git interlock run -- true
    put README one
    must git shadow-commit -q
    # A supervisor that is killed; its command ends with it.
    git-interlock run --mutex tick -- sleep 60 3>&- &
    local pid=$! run lease=0123456789abcdef0123456789abcdef
    BG_PIDS+=("$pid")
    await 10 eval 'run=$(ls .git/interlock/runs) && [ -n "$run" ]'
    run=$(ls .git/interlock/runs)
    finds 0
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || :
    await 10 eval 'git interlock doctor --json | grep -q run-left'
    mkdir -p .git/interlock/{tmp/0123456789abcdef/objects,leases,git}
    : >.git/interlock/tmp/0123456789abcdef.lock
    : >.git/interlock/tips/x.tmp-0123456789abcdef
    : >".git/interlock/leases/$lease.work"
    mkdir ".git/interlock/birth-$lease"
    mkdir ".git/interlock/trash-$lease"
    : >.git/interlock/git/fedcba9876543210
    : >".git/objects/pack/pack-$(printf '%040d' 1).keep"
    cp .git/interlock/keep/0 ".git/objects/pack/pack-$(printf '%040d' 2).keep"
    : >.git/objects/pack/.tmp-interlock-0123456789abcdef
    find .git/interlock .git/objects/pack -newer .git/HEAD -exec touch -d '9 hours ago' {} +
    local all=(run-left "interlock/runs/$run" tmp-left interlock/tmp/0123456789abcdef
        draft-left interlock/tips/x.tmp-0123456789abcdef lease-left "interlock/leases/$lease.work"
        birth-left "interlock/birth-$lease" trash-left "interlock/trash-$lease"
        intent-left interlock/git/fedcba9876543210 pack-left .tmp-interlock-0123456789abcdef
        pack-left "pack-$(printf '%040d' 2).keep")
    finds 0 "${all[@]}"
    cures 0 "${all[@]}"
    # A .keep that is not ours.
    [ -e ".git/objects/pack/pack-$(printf '%040d' 1).keep" ]
    await 10 eval '[ -z "$(find .git/interlock -maxdepth 1 -name "trash-*")" ]'
    well
    # A run of which something is alive is under way.
    git-interlock run --mutex tick -- sh -c 'setsid sh -c "echo \$\$ >left; exec sleep 60" & wait' 3>&- &
    pid=$!
    BG_PIDS+=("$pid")
    await 10 test -s left
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || :
    finds 0
    leaves
    kill "$(cat left)"
    await 10 eval 'git interlock doctor --json | grep -q run-left'
    must git interlock doctor --fix
    rm left
    well
}

@test "F1: a pack whose writer is through before its lock is asked for is nobody's left-over" {
    requires strace
    make_repo
    must git shadow-commit save
    local nth left
    left=".git/objects/pack/pack-$(printf '%040d' 2).keep"
    cp .git/interlock/keep/0 "$left"
    must strace -qq -y -o trace -e trace=flock git-interlock doctor --json
    nth=$(grep '^flock(' trace | grep -n 'locks/objects>' | head -n 1 | cut -d: -f1)
    strace -qq -y -o slow -e trace=flock,openat -e inject=flock:delay_enter=2s:when="$nth" \
        git-interlock doctor --json >out 3>&- &
    BG_PIDS+=("$!")
    await 10 grep -q 'locks>.*, "objects"' slow
    rm "$left"
    wait "$!"
    assert_file out ''
}

# ---- the ledger --------------------------------------------------------------------------

@test "E7: torn and corrupt lines of the ledger are counted and stay; one that cannot be written" {
    make_repo
    must claim -q
    must claim release -q default-1
    printf 'garbage\n9 00000000 {}\n1 0000' >>.git/interlock/ledger
    finds 0 ledger-damaged ledger ledger-newer ledger
    assert_match "$(value cause ledger-damaged)" '^2 lines are torn or corrupt'
    leaves
    works
    # Whoever writes now has a tail that is no tear.
    hold flock .git/interlock/locks/ledger
    truncate -s -3 .git/interlock/ledger
    finds 0 ledger-damaged ledger ledger-newer ledger
    assert_match "$(value cause ledger-damaged)" '^2 lines are'
    unhold
    rm .git/interlock/ledger
    mkdir .git/interlock/ledger
    finds 1 ledger-closed ledger
    leaves
    rmdir .git/interlock/ledger
    well
}

# ---- hooks -------------------------------------------------------------------------------

# Which hooks are found, whatever else.
hooks_found() { # <id>
    grep "\"id\":\"$1\"" <<<"$FOUND" | json subject | paste -sd' '
}

@test "G6: hooks that were installed and do not run: gone, edited, not executable, led past" {
    make_repo
    must git interlock install -q
    finds 0
    if version_at_least "$(git version | sed 's/^git version //')" 2.54; then
        git config hook.interlock-pre-commit.enabled false
        finds 1 hook-inactive pre-commit
        leaves
        git config --unset hook.interlock-pre-commit.enabled
        well
        return
    fi
    # Another tool's in its place.
    rm .git/hooks/pre-commit
    put .git/hooks/pre-commit '#!/bin/sh'
    chmod +x .git/hooks/pre-commit
    finds 1 hook-inactive pre-commit
    assert_match "$(value cause hook-inactive)" "is another's"
    leaves
    rm .git/hooks/pre-commit
    finds 1 hook-inactive pre-commit
    eval "$(value cure hook-inactive)" >/dev/null
    well
    # core.hooksPath leads past all of them.
    printf garbage >.git/interlock/installed
    try git interlock doctor --json
    assert_equal "$status" 1
    assert_match "$output" '"id":"hooks-record"'
    rm .git/interlock/installed
    must git interlock install -q
    # A worktree with a way of its own.
    git config extensions.worktreeConfig true
    git worktree add -q ../linked
    git -C ../linked config --worktree core.hooksPath .husky
    finds 1 hook-elsewhere core.hooksPath
    leaves
    git worktree remove -f ../linked
    finds 0
    git config core.hooksPath .husky
    try git interlock doctor --json
    assert_equal "$status" 1
    FOUND=$output
    assert_equal "$(hooks_found hook-inactive | wc -w)" 7
    leaves
    must git interlock install -q
    # The folder that it led to is not there: the user's own hooks.
    finds 1 hook-chained interlock/hooks
    mkdir .husky
    well
}

@test "G6: a hook whose program or git-interlock is gone; one of another build; a hook of the user's" {
    make_repo
    git-interlock -h >/dev/null
    local suite=$BATS_TEST_TMPDIR/suite
    mkdir -p "$suite/bin" "$suite/libexec/interlock"
    cp "$B"/git-* "$suite/bin"
    find "$B/hooks" -maxdepth 1 -type f -perm -100 ! -name '*.*' -exec cp {} "$suite/libexec/interlock" ';'
    put .git/hooks/pre-commit '#!/bin/sh'
    chmod +x .git/hooks/pre-commit
    must "$suite/bin/git-interlock" install -q
    must git interlock doctor --json
    FOUND=$output
    assert_equal "$(hooks_found hook-other-build | wc -w)" 7
    mv "$suite/bin/git-interlock" "$suite/gone"
    local path
    path=$(dirname "$(command -v git)"):/usr/bin:/bin
    try env PATH="$path" "$BIN/git-interlock" doctor --json
    assert_equal "$status" 1
    FOUND=$output
    if [ -x "$(dirname "$(command -v git)")/git-interlock" ]; then skip 'git-interlock beside git'; fi
    assert_equal "$(hooks_found hook-program | wc -w)" 7
    mv "$suite/gone" "$suite/bin/git-interlock"
    if [ -L .git/hooks/post-commit ]; then
        chmod -x "$suite/libexec/interlock/post-commit"
        must_exit 1 git interlock doctor --json
        FOUND=$output
        assert_equal "$(hooks_found hook-inactive)" post-commit
        assert_match "$(value cause hook-inactive)" 'not executable'
    fi
    rm -r "$suite/libexec"
    try git interlock doctor --json
    assert_equal "$status" 1
    FOUND=$output
    assert_equal "$(hooks_found hook-inactive | wc -w)" 7
    must git interlock install -q
    finds 0
    [ -e .git/hooks/pre-commit.before-interlock ] || return 0
    chmod -x .git/hooks/pre-commit.before-interlock
    finds 1 hook-chained pre-commit
    leaves
    chmod +x .git/hooks/pre-commit.before-interlock
    well
}

# ---- the place ---------------------------------------------------------------------------

@test "doctor: settings that do not parse are named, and the rest is looked at all the same" {
    both_engines settings
}
settings() {
    make_repo
    git config interlock.ttl soon
    git config interlock.poolMax many
    : >.git/index.lock
    old .git/index.lock
    finds 1 setting interlock.ttl setting interlock.poolmax lock-left index.lock
    assert_match "$(value cause setting)" 'soon'
    leaves
    rm .git/index.lock
    git config --unset interlock.ttl
    git config --unset interlock.poolMax
    must_exit 1 env GIT_INTERLOCK_GRACE=x git interlock doctor --json
    assert_equal "$(json subject <<<"$output")" GIT_INTERLOCK_GRACE
    well
}

@test "doctor: a setting that is misspelt is named; every documented one is known" {
    both_engines misspelt
}
misspelt() {
    local page=$TOP/Documentation/interlock-config.adoc key known=0

    make_repo
    git config --global interlock.autosafe false
    git config interlock.poolDirectory /nowhere
    git config --add interlock.poolDirectory /elsewhere
    git shadow-commit save -q # it is another version's, perhaps
    finds 1 setting-unknown interlock.autosafe setting-unknown interlock.pooldirectory
    assert_match "$(value cure setting-unknown)" '--get-all interlock\.autosafe'
    leaves
    git config --global --unset interlock.autosafe
    git config --unset-all interlock.poolDirectory
    while read -r key; do
        git config "${key%::}" x
        known=$((known + 1))
    done < <(grep -o '^interlock\.[A-Za-z]*::' "$page")
    [ "$known" -ge 19 ]
    run -1 --separate-stderr git interlock doctor --json
    assert_no_match "$output" setting-unknown
    git config --remove-section interlock
    well
}

@test "doctor: a pool's directory that a removal takes away between two looks is no finding" {
    requires strace
    make_repo
    mkdir "$PWD.worktrees"
    strace -qq -o slow -P "$PWD.worktrees" -e inject=access,faccessat,faccessat2:delay_enter=2s \
        git-interlock doctor --json >out 3>&- &
    BG_PIDS+=("$!")
    await 10 grep -q 'stat' slow
    sleep 0.5
    rmdir "$PWD.worktrees"
    wait "$!" || flunk "$(cat out)"
    grep -E 'access.*ENOENT.*DELAYED' slow
    assert_file out ''
}

@test "doctor: a poolDir that cannot be used" {
    make_repo
    mkdir ../real
    ln -s real ../link
    : >../file
    local dir
    for dir in "$PWD/inside" "$BATS_TEST_TMPDIR/link" "$BATS_TEST_TMPDIR/file" \
        "$BATS_TEST_TMPDIR/file/below"; do
        git config interlock.poolDir "$dir"
        finds 1 pool-dir interlock.poolDir
        leaves
        must_exit 128 claim --no-wait
    done
    git config interlock.poolDir "$BATS_TEST_TMPDIR/real/new/one"
    finds 0
    git config --unset interlock.poolDir
    ln -s "$BATS_TEST_TMPDIR/real" "$PWD.worktrees"
    finds 1 pool-dir pool
    rm "$PWD.worktrees"
    well
}

@test "doctor: a file system whose locks cannot be trusted, and locks that keep nobody out" {
    requires strace
    make_repo
    local type
    # What statfs(2) says, in the byte order of the machine; f_type comes first.
    for type in 'nfs 69690000' 'cifs 424d53ff' '9p 97190201' 'fuse 46557365'; do
        must_exit 1 strace -o trace -e trace=statfs \
            -e "inject=statfs:poke_exit=@arg2=${type#* }00000000" git-interlock doctor --json
        assert_equal "$(json id subject <<<"$output" | paste -sd' ')" 'file-system repository'
        assert_match "$output" "it is on ${type% *}, where locks"
    done
    must strace -o trace -e trace=statfs -e "inject=statfs:poke_exit=@arg2=30764c7900000000" \
        git-interlock doctor --json
    assert_equal "$(json id subject <<<"$output" | paste -sd' ')" 'overlay repository'
    # A lock that two can have.
    must_exit 1 strace -o trace -e trace=flock -e inject=flock:retval=0:when=1..2 git-interlock doctor --json
    assert_equal "$(json id subject <<<"$output" | paste -sd' ')" 'flock repository'
    assert_match "$output" 'two open files can both have it'
    must_exit 1 strace -o trace -e trace=flock -e inject=flock:error=ENOLCK:when=1 git-interlock doctor --json
    assert_match "$output" 'its lock keeps nobody out: flock: No locks available'
    well
}

@test "F5: something else where a folder or a lock of ours should be" {
    make_repo
    must claim -q
    mv .git/interlock ../moved
    ln -s "$BATS_TEST_TMPDIR/moved" .git/interlock
    try git interlock doctor --json
    assert_equal "$status" 1
    assert_match "$output" '"id":"state-folder".*it is a symbolic link'
    rm .git/interlock
    mv ../moved .git/interlock
    mkfifo .git/interlock/locks/pack
    finds 1 state-folder interlock/locks/pack
    leaves
    rm .git/interlock/locks/pack
    well
}
