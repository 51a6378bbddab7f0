# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
# shellcheck shell=bash disable=SC2154,SC2016  # run's variables; pair's expressions
#
# leases.sh: the rows about worktrees. Sourced by run.

LEASE_ROWS=(warmclaim birth release reapdry cycles wake)
reap_slots=1000
CYCLE_PROCESSES=8 CYCLE_POOL=4 CYCLES=12
wake_rounds=200

# The linux tree again, with a place for worktrees and two bases that are 50 files apart.
reset_linux_for_leases() {
    local -a paths
    local index=.git/bench-index tree
    reset_linux
    put_away_worktrees
    mapfile -t paths < <(git ls-files '*.h' | awk 'NR % 400 == 1' | head -50)
    cp -p .git/index "$index"
    for path in "${paths[@]}"; do
        { cat "$path" && echo "/* 50 files away */"; } >"$scratch/blob"
        printf '100644 %s\t%s\n' "$(git hash-object -w "$scratch/blob")" "$path"
    done | GIT_INDEX_FILE=$index git update-index --index-info
    tree=$(GIT_INDEX_FILE=$index git write-tree)
    rm "$index"
    NEAR=$(git rev-parse HEAD)
    FAR=$(git commit-tree -p HEAD -m '50 files away' "$tree")
    git update-ref refs/bench/far "$FAR"
    export NEAR FAR
}

# See drop_theirs.
put_away_worktrees() {
    local tree
    export THEIRS=$scratch/theirs TRASH=$scratch/trash
    mkdir -p "$TRASH" || die "cannot make '$TRASH'"
    for tree in "$linux.worktrees" "$THEIRS"; do
        [ ! -d "$tree" ] || mv "$tree" "$(mktemp -u "$TRASH/XXXXXX")" || die "cannot move '$tree'"
    done
    git worktree prune --expire=now
}

row_warmclaim() {
    reset_linux_for_leases
    git-worktree-claim -q >/dev/null && git-worktree-claim release -q default-1 >/dev/null ||
        die "the first claim failed"
    times -w 0 -n 1 -p "$steps move_base && drop_theirs && give_back_ours" \
        -c "$steps check_claim" \
        ::: git-worktree-claim -q --max 1 --base refs/bench/base \
        ::: git worktree add -q --detach "$THEIRS" refs/bench/base
    timed_row "claim of a warm slot, base 50 files away, $linux_files files" \
        '`git worktree add`' '<= 0.05'
    put_away_worktrees
}

# Each of our claims is held, so the next one finds no free slot.
row_birth() {
    reset_linux_for_leases
    git update-ref refs/bench/base "$NEAR"
    times -w 0 -n 1 -p "$steps drop_theirs" -c "$steps check_claim" \
        ::: git-worktree-claim -q --base refs/bench/base \
        ::: git worktree add -q --detach "$THEIRS" refs/bench/base
    timed_row "claim that must give birth, $linux_files files" '`git worktree add`' '<= 1.0'
    put_away_worktrees
}

row_release() {
    reset_linux_for_leases
    git update-ref refs/bench/base "$NEAR"
    times -w 0 -n 1 -p "$steps dirty_worktree" -c "$steps check_release" \
        ::: git-worktree-claim release -q default-1 \
        ::: git worktree remove --force "$THEIRS"
    timed_row "release, 100 files dirty + 100 untracked, rescued, $linux_files files" \
        '`git worktree remove --force`' '<= 0.5'
    put_away_worktrees
}

row_reapdry() {
    local n
    rm -rf "$scratch/many" "$scratch/many.worktrees"
    new_repo "$scratch/many" && cd "$scratch/many" && echo x >file && git add file &&
        git commit -qm one || die "cannot make the repository of row '$ROW'"
    [ -z "$quick" ] || reap_slots=50
    for ((n = 0; n < reap_slots; n++)); do
        git-worktree-claim -q --ttl never >/dev/null || die "claim $n of row '$ROW' failed"
    done
    times -w 2 -n "$fast_rounds" ::: git-worktree-reap --dry-run -q ::: git worktree list
    timed_row "reap \`--dry-run\` over $reap_slots slots" '`git worktree list`' '<= 1.0'
    cd "$top" && rm -rf "$scratch/many" "$scratch/many.worktrees"
}

# The same number of cycles, by eight processes and by one.
row_cycles() {
    fresh_small cycles
    export CYCLE_PROCESSES CYCLE_POOL CYCLES
    [ -z "$quick" ] || CYCLES=2
    sh "$here/cycles.sh" "$CYCLE_POOL" 1 || die "row '$ROW' failed"
    times -w 0 -n "$((quick ? 1 : 3))" \
        ::: sh "$here/cycles.sh" "$CYCLE_PROCESSES" "$CYCLES" \
        ::: sh "$here/cycles.sh" 1 "$((CYCLE_PROCESSES * CYCLES))"
    report "claim/release cycles by $CYCLE_PROCESSES processes, pool of $CYCLE_POOL, small tree" \
        'one process' '>= 1.5' \
        "$(pairs_median "$((CYCLE_PROCESSES * CYCLES)) * 1e9 / \$1" "$scratch/times" |
            awk '{ printf "%.0f/s", $1 }')" \
        "$(pairs_median "$((CYCLE_PROCESSES * CYCLES)) * 1e9 / \$2" "$scratch/times" |
            awk '{ printf "%.0f/s", $1 }')" \
        "$(pairs_median '$2 / $1' "$scratch/times" | awk '{ printf "%.2f", $1 }')"
}

# From the holder's SIGKILL to the path on the waiter's standard output.
row_wake() {
    local p50 p99
    fresh_small wake
    [ -z "$quick" ] || wake_rounds=5
    perl "$here/wake.pl" "$wake_rounds" | sort -g >"$scratch/wake.ms" || die "row '$ROW' failed"
    p50=$(awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }' "$scratch/wake.ms")
    p99=$(awk '{ v[NR] = $1 } END { print v[int(NR * 0.99 + 0.999)] }' "$scratch/wake.ms")
    report "waiter has the slot after its holder's SIGKILL, p99 of $wake_rounds" '100 ms' '<= 1.0' \
        "$p99 ms" "100 ms" "$(awk "BEGIN { printf \"%.3f\", $p99 / 100 }")" "median $p50 ms"
}
