# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
# shellcheck shell=sh disable=SC2094  # unique does not read
#
# steps.sh: what happens between timed runs, outside the clock: edits before one,
# checks after one. Sourced by run, and by the shell that pair starts, which sets
# SIDE, ROUND and OUT.

wrong() {
    echo "bench: $*" >&2
    return 1
}

# ---- edits ---------------------------------------------------------------------

# No two edits of a whole benchmark write the same content: nobody finds his objects there.
unique() {
    echo "/* ${ROW:-} ${RUN:-} ${SIDE:-} ${ROUND:-} $1 */"
}

# The 20 files of $EDITS get a line more, and each gets a new file beside it.
edit_forty() {
    while read -r path; do
        unique "$path" >>"$path"
        unique "$path" >"$path.new.c"
    done <"$EDITS"
}

# The first file of $EDITS gets a line more.
edit_one() {
    read -r path <"$EDITS"
    unique "$path" >>"$path"
}

# ---- checks --------------------------------------------------------------------

# The tree that git writes for what is there now: from a copy of the index (warm)
# or from one that was just read from HEAD (cold).
git_tree() {
    check=.git/check-index
    rm -f "$check"
    # Nothing at all would lose what is tracked though ignored, and submodules.
    if [ "$1" = cold ]; then
        GIT_INDEX_FILE=$check git read-tree HEAD
    else
        cp -p .git/index "$check"
    fi
    GIT_INDEX_FILE=$check git add -A &&
        GIT_INDEX_FILE=$check git write-tree
}

# Compares the tree of checkpoint $1 with tree $2.
same_tree() {
    saved=$(git rev-parse --verify -q "$1^{tree}") ||
        wrong "'$1' is not a checkpoint" || return 1
    [ "$saved" = "$2" ] ||
        wrong "saved tree $saved is not git's $2 in $(pwd)"
}

# After a timed save. EXPECT is set where the tree is the same in every round.
check_save() {
    [ "$SIDE" = a ] || return 0
    same_tree "$(cat "$OUT")" "${EXPECT:-$(git_tree warm)}"
}

# After a throughput run: as many different ids as there were saves, all of them held
# by a ref, and each with the file that its session had just written.
check_throughput() {
    want=$((PROCESSES * SAVES))
    cat "$NOTES"/* >"$NOTES.all"
    case $SIDE in
    a) git rev-list --glob=refs/shadow --glob=refs/shadow-old ;;
    b) git rev-list refs/bench/recipe ;;
    esac | sort -u >"$NOTES.chain"
    cut -d' ' -f1 "$NOTES.all" | sort -u | comm -12 - "$NOTES.chain" >"$NOTES.kept"
    kept=$(wc -l <"$NOTES.kept")
    [ "$kept" -eq "$want" ] || wrong "$((want - kept)) of $want saves lost" || return 1
    right=$(sed 's/\([0-9a-f]*\) \([0-9]*\) .*/\1:session-\2/' "$NOTES.all" |
        git cat-file --batch | awk 'NR % 3 == 2' | paste -d' ' - "$NOTES.all" |
        awk '$1 == $4 && $2 == $5' | wc -l)
    [ "$right" -eq "$want" ] || wrong "$((want - right)) of $want saves hold another's file"
}

check_batch() {
    made=$(git for-each-ref --format='%(refname)' refs/bench/batch | wc -l)
    [ "$made" -eq "$BATCH" ] || wrong "$made of $BATCH refs were made"
}

# ---- worktrees ---------------------------------------------------------------------

# The other of the two bases in each round, and in the first one of each run.
move_base() {
    case $(((ROUND + RUN) % 2)) in
    0) git update-ref refs/bench/base "$NEAR" ;;
    1) git update-ref refs/bench/base "$FAR" ;;
    esac
}

# Put away, to be deleted at the end of everything: ext4 without a journal is slow to
# make files for minutes after so many were deleted (it looks at every inode that it must
# not use again yet), and either side would pay for what the other had deleted.
drop_theirs() {
    [ -d "$THEIRS" ] || return 0
    mkdir -p "$TRASH" && mv "$THEIRS" "$TRASH/$ROW.$RUN.$ROUND.$SIDE" &&
        git worktree prune --expire=now
}

give_back_ours() {
    case $(git-worktree-claim list --json) in
    *'"leased"'*) git-worktree-claim release -q default-1 >/dev/null ;;
    esac
}

check_claim() {
    case $SIDE in a) tree=$(cat "$OUT") ;; b) tree=$THEIRS ;; esac
    [ -z "$(git -C "$tree" status --porcelain)" ] || wrong "'$tree' is not clean" || return 1
    [ "$(git -C "$tree" rev-parse HEAD)" = "$(git rev-parse refs/bench/base)" ] ||
        wrong "'$tree' is not at the base"
}

# A worktree for either side, with 100 files changed and 100 new ones.
dirty_worktree() {
    case $SIDE in
    a)
        tree=$(git-worktree-claim -q --max 1 --base refs/bench/base) || return 1
        ;;
    b)
        drop_theirs
        git worktree add -q --detach "$THEIRS" refs/bench/base || return 1
        tree=$THEIRS
        ;;
    esac
    git ls-files '*.c' | awk 'NR % 200 == 7' | head -100 | while read -r path; do
        unique "$path" >>"$tree/$path"
        unique "$path" >"$tree/$path.new.c"
    done
}

# Nothing that was in it is lost: the rescue has one of the new files of this round.
check_release() {
    [ "$SIDE" = a ] || return 0
    tip=$(git for-each-ref --sort=-creatordate --count=1 --format='%(objectname)' refs/rescue)
    git ls-tree -r --name-only "$tip" | grep -c '\.c\.new\.c$' | grep -qx 100 ||
        wrong "the rescue does not have the 100 new files" || return 1
    [ -z "$(git -C "$(git rev-parse --show-toplevel).worktrees/default-1" status --porcelain)" ] ||
        wrong "the slot is not clean"
}

# What hook_repo has kept for this side.
take_side() {
    case $SIDE in
    a) kind=$KIND_A ;;
    b) kind=$KIND_B ;;
    esac
    rm -rf .git/hooks && cp -a ".git/kinds/$kind/hooks" ".git/kinds/$kind/config" .git/
}

check_fetch() {
    made=$(git for-each-ref refs/remotes/origin | wc -l)
    [ "$made" -gt 0 ] || wrong 'nothing was fetched'
}
