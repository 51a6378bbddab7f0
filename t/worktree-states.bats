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
    printf -v "PID_${1//./_}" %s "$!"
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
seen_by_reap_for_people() { git worktree-reap --dry-run -v | sed -n 's/^[a-z]* *\([a-z.-]*-1\) (\([a-z-]*\)).*/\1 \2/p' | sort; }
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
    assert_equal "$(wc -l <<<"$SEEN")" "$(wc -w <<<"$STATES")" 'slots'
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
    # A doctor names those that somebody has to see to.
    must_exit 1 git interlock doctor --json
    assert_equal "$(json id subject <<<"$output" | paste -d' ' - - | sort | paste -sd,)" \
        'desynced desynced-1,half-born half-born-1,orphaned orphaned-1,slot-unjudged unknown-1,vanished vanished-1'
    # What a claim says of it, which comes to nothing there, is the same word.
    for pool in held leased occupied unknown foreign; do
        must_exit 75 claim --pool "$pool" --max 1 --no-wait
        assert_match "$stderr" "$pool-1 \\(${pool}[):]"
    done
}

# What is in SEEN after each lie that all records tell at once; then they tell the truth again.
every_lie() { # <pool>...: held, or protected by what is no record
    local lie file
    cp -a .git/worktrees truth
    cp -a .git/interlock/leases true-leases
    while read -r lie; do
        for file in .git/worktrees/*/locked .git/interlock/leases/*; do
            case $file in *.work) continue ;; esac
            sed -i "$lie" "$file"
        done
        all_agree "$lie"
        never_acted_on "$@"
        for file in .git/worktrees/*; do rm -f "$file/locked"; done
        for file in truth/*/locked; do cp "$file" ".git/worktrees/${file#truth/}"; done
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
}

@test "E1: they agree, too, when every record lies" {
    one_of_each
    every_lie held foreign unknown
    local pool
    for pool in $STATES; do assert_equal "$(state_of "$pool")" "$pool" "state of $pool-1"; done
}

# ---- by other ways -------------------------------------------------------------------------

# A process that sits in the slot of a pool.
sit_in() { # <pool>
    (cd "$PWD.worktrees/$1-1" && exec sleep 900 3>&-) &
    BG_PIDS+=("$!")
    await 5 eval '[ "$(readlink "/proc/${BG_PIDS[-1]}/cwd")" = "$PWD.worktrees/'"$1"'-1" ]'
}

# A command that comes to a filter in the slot of a pool and stays there.
comes_to_a_stop() { # <pool> <command>...
    local pool=$1
    shift
    "$@" >/dev/null 2>&1 3>&- &
    printf -v "PID_${pool//./_}" %s "$!"
    BG_PIDS+=("$!")
    await 20 grep -qs "/$pool-1\$" "$STARTED"
}
end_filter_of() { sed -n "s,^\([0-9]*\) .*/$1-1\$,\1,p" "$STARTED" | xargs kill -9; } # <pool>

kill_for_good() { # <pid>...
    kill -9 "$@"
    wait "$@" 2>/dev/null || :
}

forget() { # <pool>: the record is garbage, and the lease's own file gone
    rm ".git/interlock/leases/$(claim list --json --pool "$1" | json lease)"
    printf 'interlock 1 {"garbage' >".git/worktrees/$1-1/locked"
}

# The state is what stands before the dot. As above: nothing may claim once things go wrong.
other_ways() {
    STATES='desynced.contradiction desynced.garbage free.inside held.birth held.command held.owner
        leased.inside leased.unlocked occupied.born occupied.desynced occupied.expired
        orphaned.claiming orphaned.releasing unknown.gone unknown.moved unknown.watcher
        vanished.free vanished.leased'
    local pool owner watchers=()
    make_repo
    put .gitattributes 'README filter=stop'
    git add . && git commit -qm attributes
    export STARTED=$BATS_TEST_TMPDIR/started
    printf '%s\n' '#!/bin/sh' 'echo "$$ $PWD" >>"$STARTED"' 'exec sleep 900' >"$BATS_TEST_TMPDIR/filter"
    chmod +x "$BATS_TEST_TMPDIR/filter"
    for pool in desynced.garbage free.inside leased.inside leased.unlocked occupied.desynced \
        orphaned.claiming orphaned.releasing unknown.moved vanished.free vanished.leased; do
        must claim --pool "$pool" --ttl never
    done
    for pool in free.inside orphaned.claiming vanished.free; do must claim release "$pool-1"; done
    sleep 900 3>&- &
    owner=$!
    BG_PIDS+=("$owner")
    for pool in held.owner unknown.gone unknown.watcher; do
        must claim -v --pool "$pool" --owner-pid "$owner"
        [ "$pool" = held.owner ] || watchers+=("$(sed -n 's/^watcher: pid //p' <<<"$stderr")")
    done
    hold_in desynced.contradiction
    bg git-worktree-claim -q --pool held.command -- sleep 900
    await 20 eval '[ "$(claim list --json --pool held.command | json state)" = held ]'
    # Births that are at it, and one of which only its filter will be left.
    git config filter.stop.smudge "$BATS_TEST_TMPDIR/filter"
    for pool in held.birth occupied.born; do
        comes_to_a_stop "$pool" git-worktree-claim -q --pool "$pool"
    done
    git config filter.stop.smudge cat
    # The rescue of what they find, before a claim and in a release.
    git config filter.stop.clean "$BATS_TEST_TMPDIR/filter"
    for pool in orphaned.claiming orphaned.releasing; do
        put "$PWD.worktrees/$pool-1/README" work
    done
    comes_to_a_stop orphaned.claiming git-worktree-claim -q --pool orphaned.claiming --max 1
    comes_to_a_stop orphaned.releasing git-worktree-claim release -q orphaned.releasing-1
    git config --unset filter.stop.clean
    must claim --pool occupied.expired --ttl 1s
    for pool in free.inside leased.inside occupied.desynced occupied.expired; do sit_in "$pool"; done
    # From here on things go wrong.
    # shellcheck disable=SC2154 # set by name
    kill_for_good "$PID_occupied_born" "$PID_orphaned_claiming" "$PID_orphaned_releasing" \
        "$PID_desynced_contradiction"
    end_filter_of orphaned.claiming
    end_filter_of orphaned.releasing
    sed -i 's/"uid":[0-9]*/"uid":4242/' \
        ".git/interlock/leases/$(claim list --json --pool desynced.contradiction | json lease)"
    forget desynced.garbage
    forget occupied.desynced
    git worktree unlock "$PWD.worktrees/leased.unlocked-1"
    kill -9 "${watchers[@]}"
    rm -rf "$PWD.worktrees/"{vanished.free,vanished.leased,unknown.gone}-1
    mv "$PWD.worktrees/unknown.moved-1" "$PWD.worktrees/elsewhere"
    mkdir "$PWD.worktrees/unknown.moved-1"
    for pool in orphaned.claiming orphaned.releasing unknown.watcher unknown.gone occupied.expired \
        occupied.born; do
        await 5 eval '[ "$(claim list --json --pool "$pool" | json state)" = "${pool%.*}" ]'
    done
    grep -q '"phase":"claiming"' .git/worktrees/orphaned.claiming-1/locked
    grep -q '"phase":"releasing"' .git/worktrees/orphaned.releasing-1/locked
}

@test "E1: each state by other ways, of real processes too; they agree, also when every record lies" {
    other_ways
    all_agree nothing
    local pool
    for pool in $STATES; do
        assert_equal "$(state_of "$pool")" "${pool%.*}" "state of $pool-1"
        case $pool in
            held.* | leased.* | occupied.* | unknown.*) never_acted_on "$pool" ;;
        esac
    done
    # Locks that are held, and a directory that is another one: no record has a say in it.
    every_lie held.birth held.command held.owner unknown.moved
    for pool in $STATES; do
        assert_equal "$(state_of "$pool")" "${pool%.*}" "state of $pool-1, in the end"
    done
}
