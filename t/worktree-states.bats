#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# One slot in each state, at once: whoever asks gets the same answer (E1), also after the
# records were edited to lie.

# shellcheck disable=SC2154 # set by try(): output, stderr, lines
# shellcheck disable=SC2016,SC2030,SC2031

load helpers

claim() { git worktree-claim "$@"; }

# Starts a claim that holds a slot; what keeps it is in KEEP_<pool> and PID_<pool>.
hold_in() { # <pool>
    local fifo path fd
    fifo=$(mktemp -u "$BATS_TEST_TMPDIR/slot.XXXXXX")
    mkfifo "$fifo.in" "$fifo.out"
    git-worktree-claim -q --hold --pool "$1" <"$fifo.in" >"$fifo.out" 3>&- &
    printf -v "PID_$1" %s "$!"
    BG_PIDS+=("$!")
    # shellcheck disable=SC2034 # it is kept open, that is all
    exec {fd}>"$fifo.in"
    read -r path <"$fifo.out"
    [ -d "$path" ]
}

STATES='desynced expired foreign free half-born held leased occupied orphaned unknown vanished'

# The pool's name is the state that its slot is in. Nothing may claim afterwards: it would reap.
one_of_each() {
    local pool
    make_repo
    printf '%s\n' '#!/bin/sh' 'echo $$ >>"$STARTED"' 'exec sleep 60' >"$BATS_TEST_TMPDIR/filter"
    chmod +x "$BATS_TEST_TMPDIR/filter"
    for pool in free foreign vanished leased desynced unknown; do
        must claim --pool "$pool" --ttl never
    done
    must claim release free-1
    must claim release foreign-1
    for pool in held orphaned occupied; do hold_in "$pool"; done
    # Killed while git writes its files. Before, the filter is nobody's.
    put .gitattributes 'README filter=stop'
    git add . && git commit -qm attributes
    export STARTED=$BATS_TEST_TMPDIR/started
    git config filter.stop.smudge "$BATS_TEST_TMPDIR/filter"
    git-worktree-claim -q --pool half-born 3>&- &
    PID_half=$!
    BG_PIDS+=("$PID_half")
    await 20 test -s "$STARTED"
    git config --unset filter.stop.smudge
    must claim --pool expired --ttl 1s
    # From here on things go wrong.
    kill -9 "$PID_half"
    wait "$PID_half" 2>/dev/null || :
    xargs kill -9 <"$STARTED" 2>/dev/null || :
    (cd "$PWD.worktrees/occupied-1" && exec sleep 900 3>&-) &
    BG_PIDS+=("$!")
    await 5 eval '[ "$(readlink "/proc/${BG_PIDS[-1]}/cwd")" = "$PWD.worktrees/occupied-1" ]'
    kill -9 "$PID_orphaned" "$PID_occupied"
    wait "$PID_orphaned" "$PID_occupied" 2>/dev/null || :
    git worktree unlock "$PWD.worktrees/foreign-1"
    git worktree lock --reason "a human's" "$PWD.worktrees/foreign-1"
    rm -rf "$PWD.worktrees/vanished-1"
    rm ".git/interlock/leases/$(claim list --json --pool desynced | json lease)" .git/worktrees/desynced-1/locked
    sed -i 's/^interlock 1 /interlock 9 /' .git/worktrees/unknown-1/locked
    await 5 eval '[ "$(claim list --json --pool expired | json state)" = expired ]'
    await 5 eval '[ "$(claim list --json --pool half-born | json state)" = half-born ]'
}

# "<slot> <state>" a line, as each of those who are asked sees it.
seen_by_list() { claim list --json | json slot state | paste -d' ' - - | sort; }
seen_by_people() { claim list | awk 'NR > 1 { print $1, $2 }' | sort; }
seen_by_reap() { git worktree-reap --dry-run --json "$@" | json slot state | paste -d' ' - - | sort; }
seen_by_reap_for_people() { git worktree-reap --dry-run -v | sed -n 's/^[a-z]* *\([a-z-]*-1\) (\([a-z-]*\)).*/\1 \2/p' | sort; }
seen_by_name() {
    # shellcheck disable=SC2086,SC2046 # words
    seen_by_reap $(printf '%s-1 ' $STATES)
}
seen_by_pool() {
    local pool
    for pool in $STATES; do claim list --json --pool "$pool" | json slot state | paste -d' ' - -; done | sort
}

all_agree() { # <what was done>
    local who now
    SEEN=$(seen_by_list)
    assert_equal "$(wc -l <<<"$SEEN")" 11 'slots'
    for who in seen_by_people seen_by_reap seen_by_reap_for_people seen_by_name; do
        now=$("$who")
        assert_equal "$now" "$SEEN" "$who, after $1"
    done
}

state_of() { sed -n "s/^$1-1 //p" <<<"$SEEN"; } # <pool>

# Pool by pool what would be done: what protects must do so whatever a record says.
never_acted_on() { # <pool>...
    local pool
    for pool in "$@"; do
        assert_equal "$(git worktree-reap --dry-run --remove --prune --json "$pool-1" | json action)" \
            none "$pool, $(state_of "$pool")"
    done
}

@test "E1: list, reap by all, by name and by pool agree on each state" {
    one_of_each
    all_agree nothing
    assert_equal "$(seen_by_pool)" "$SEEN" 'by pool'
    local pool
    for pool in $STATES; do assert_equal "$(state_of "$pool")" "$pool" "state of $pool-1"; done
    never_acted_on foreign held leased occupied unknown
    # What a claim says of it, which comes to nothing there, is the same word.
    for pool in held leased occupied unknown foreign; do
        must_exit 75 claim --pool "$pool" --max 1 --no-wait
        assert_match "$stderr" "$pool-1 \\(${pool}[):]"
    done
}

@test "E1: they agree, too, when every record lies" {
    one_of_each
    local lie file
    cp -a .git/worktrees truth
    cp -a .git/interlock/leases true-leases
    while read -r lie; do
        for file in .git/worktrees/*/locked .git/interlock/leases/*; do
            case $file in *.work) continue ;; esac
            sed -i "$lie" "$file"
        done
        all_agree "$lie"
        assert_equal "$(state_of held)" held "after $lie"
        never_acted_on held foreign unknown
        for file in truth/*/locked; do cp "$file" ".git/worktrees/${file#truth/}"; done
        rm -f .git/worktrees/desynced-1/locked
        cp -a true-leases/. .git/interlock/leases/
    done <<'LIES'
s/"phase":"[a-z]*"/"phase":"free"/
s/"phase":"[a-z]*"/"phase":"leased"/
s/"phase":"[a-z]*"/"phase":"releasing"/
s/"kind":"[a-z]*"/"kind":"time"/
s/"kind":"[a-z]*"/"kind":"command"/
s/"pid":[0-9]*/"pid":1/
s/"expires":[0-9]*/"expires":1/
s/"slot":"[^"]*"/"slot":"elsewhere-1"/
s/"uid":[0-9]*/"uid":4242/
s/"boot":"[^"]*"/"boot":"another"/
s/"host":"[^"]*"/"host":"another"/
s/^interlock 1 /interlock 2 /
s/[{}]//g
s/.*//
LIES
    all_agree 'all was put right'
    local pool
    for pool in $STATES; do assert_equal "$(state_of "$pool")" "$pool" "state of $pool-1"; done
}
