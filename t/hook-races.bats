#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# What plain git, and scripts around it, do to work that is under way beside them. Each race
# is forced: one side stands still at the system call where it loses. Without our hooks
# something is lost; with them it is prevented, or nothing depends on it.

# shellcheck disable=SC2154 # set by try(): output, stderr, lines
# shellcheck disable=SC2016,SC2030,SC2031

load helpers

# Runs a function without our hooks (`naive`) and with them (`guarded`).
twins() { # <function> [<arg>...]
    local here=$PWD TWIN
    for TWIN in naive guarded; do
        echo "--- $TWIN"
        mkdir "$TWIN"
        cd "$TWIN" || return
        "$@"
        cd "$here" || return
    done
}
guard_with() { # <hook>...
    [ "$TWIN" = naive ] || use_hooks "$@"
}
naive() { [ "$TWIN" = naive ]; }

# Puts a second stopped command beside the first: its own names for what stop_at() sets.
stop_second() { # <where> <command>...
    local pid=$STOPPED_PID fd=$STOPPED_FD out=$STOPPED_OUT
    stop_at "$@"
    SECOND_PID=$STOPPED_PID SECOND_FD=$STOPPED_FD
    STOPPED_PID=$pid STOPPED_FD=$fd STOPPED_OUT=$out
}

# The exit status of what stands still, when it has gone on to its end.
outcome() {
    local status=0
    let_go || status=$?
    sed 's/^/  2| /' "$STOPPED_OUT"
    echo "  => $status"
    OUTCOME=$status
}

# ---- refs ----------------------------------------------------------------------------------

@test "race: a blind update-ref that was on its way while a peer saved" {
    requires ptrace
    twins blind_write update-ref
}
@test "race: a blind update-ref of many refs that was on its way while a peer saved" {
    requires ptrace
    twins blind_write batch
}
# A session has read the tip and built on it. It stands right before it takes git's lock.
blind_write() { # <kind of writer>
    local ref first mine peers
    make_repo
    guard_with reference-transaction
    ref=$(shadow_ref)
    put one 1
    first=$(git-shadow-commit)
    mine=$(git commit-tree -p "$first" -m mine 'HEAD^{tree}')
    printf 'update refs/heads/other HEAD\nupdate %s %s\n' "$ref" "$mine" >'batch'
    case $1 in
        update-ref) stop_at "open,openat:$ref.lock" git update-ref "$ref" "$mine" ;;
        batch) stop_at "open,openat:$ref.lock" sh -c 'git update-ref --stdin <batch' ;;
    esac
    put two 2
    peers=$(git-shadow-commit)
    outcome
    if naive; then
        assert_equal "$OUTCOME" 0
        assert_equal "$(git rev-parse "$ref")" "$mine"
        refute git merge-base --is-ancestor "$peers" "$ref"
        return
    fi
    assert_differ "$OUTCOME" 0
    assert_match "$(cat "$STOPPED_OUT")" "interlock: reference-transaction: '$ref' "
    assert_equal "$(git rev-parse "$ref")" "$peers"
    [ "$1" != batch ] || refute git rev-parse -q --verify refs/heads/other
    # Who looks first gets on.
    must git cas-ref --update "$ref" -- sh -c \
        'git commit-tree -p "$CAS_REF_OLD" -m again "HEAD^{tree}"'
    must git merge-base --is-ancestor "$peers" "$ref"
    fsck
}

@test "race: a delete of a checkpoint's ref that was on its way while a peer saved" {
    requires ptrace
    twins late_delete
}
# A script drops the chain that it has merged. It knows the value that it has merged, and
# does not say so.
late_delete() {
    local ref merged peers
    make_repo
    guard_with reference-transaction
    ref=$(shadow_ref)
    put one 1
    merged=$(git-shadow-commit)
    git merge -q --no-edit -s ours "$merged"
    stop_at "open,openat:$ref.lock" git update-ref -d "$ref"
    put two 2
    peers=$(git-shadow-commit)
    outcome
    if naive; then
        assert_equal "$OUTCOME" 0
        refute git rev-parse -q --verify "$ref"
        assert_match "$(git fsck --unreachable --no-reflogs 2>/dev/null)" "$peers"
    else
        assert_differ "$OUTCOME" 0
        assert_equal "$(git rev-parse "$ref")" "$peers"
    fi
}

@test "race: two that rescue to one ref" {
    requires ptrace
    twins rescues
}
rescues() {
    local ref=refs/rescue/default-1/mine first second
    make_repo
    guard_with reference-transaction
    put work 'of one'
    git add work
    first=$(git stash create)
    put work 'of another'
    git add work
    second=$(git stash create)
    git reset -q --hard
    # Both saw that there is no rescue yet.
    stop_at "open,openat:$ref.lock" git update-ref "$ref" "$second"
    must git update-ref "$ref" "$first"
    outcome
    if naive; then
        assert_equal "$(git rev-parse "$ref")" "$second" 'the first rescue is lost'
    else
        assert_differ "$OUTCOME" 0
        assert_equal "$(git rev-parse "$ref")" "$first"
    fi
}

# ---- worktrees -------------------------------------------------------------------------------

@test "race: a worktree prune that has decided before git worktree add was done" {
    requires ptrace
    twins late_prune
}
# prune has seen an admin directory with nothing in it, and stands before it looks again to
# delete. By then git worktree add is through, but for the hook.
late_prune() {
    make_repo
    mkfifo ../struck
    stop_at open,openat:worktrees/fresh/locked git worktree add ../fresh
    stop_second open,openat:worktrees/fresh git worktree prune --expire=now
    cat >.git/hooks/post-checkout <<-HOOK
	#!/bin/sh
	echo >/proc/$$/fd/$SECOND_FD # the prune goes on now
	read -r word <"$PWD/../struck"
	$(naive || echo "exec '$BIN/hooks/post-checkout' \"\$@\"")
	HOOK
    chmod +x .git/hooks/post-checkout
    echo >&"$STOPPED_FD"
    wait "$SECOND_PID"
    echo now >../struck
    wait "$STOPPED_PID" || flunk "git worktree add: $(cat "$STOPPED_OUT")"
    if naive; then
        refute git -C ../fresh rev-parse HEAD
        return
    fi
    assert_match "$(cat "$STOPPED_OUT")" 'a prune had damaged the new worktree; made again'
    assert_equal "$(git -C ../fresh rev-parse HEAD)" "$(git rev-parse HEAD)"
    assert_equal "$(git -C ../fresh symbolic-ref HEAD)" refs/heads/fresh
    assert_equal "$(git -C ../fresh status --porcelain)" ''
    git worktree prune --expire=now
    assert_equal "$(git -C ../fresh status --porcelain)" ''
}

# ---- commits ---------------------------------------------------------------------------------

@test "race: a stranger commits in a slot between its holder's add and commit" {
    requires ptrace
    twins strangers_commit
}
strangers_commit() {
    local lease
    make_repo
    git config interlock.autoSave false
    guard_with pre-commit
    hold_slot
    lease=$(git worktree-claim list --json | json lease)
    put "$HELD/half" 'the first half'
    git -C "$HELD" add half
    # The holder commits; it stands before it takes the lock of the index.
    GIT_INTERLOCK_LEASE=$lease stop_at open,openat:index.lock git -C "$HELD" commit -q -m ours
    put "$HELD/theirs" 'a file of the stranger'
    git -C "$HELD" add theirs
    try git -C "$HELD" commit -q -m theirs
    if naive; then
        assert_equal "$status" 0
        outcome
        # What the holder wrote is under a stranger's name, and its own commit is none.
        assert_differ "$OUTCOME" 0
        assert_equal "$(git -C "$HELD" log -1 --format=%s -- half)" theirs
    else
        assert_equal "$status" 1
        assert_match "$stderr" "slot 'default-1' is held by"
        outcome
        assert_equal "$OUTCOME" 0
        assert_equal "$(git -C "$HELD" log -1 --format=%s -- half)" ours
    fi
    let_slot_go
}

@test "race: two sessions in one worktree, one cleans up after its commit" {
    twins cleans_up
}
# No slot: nobody is refused. What the first had not yet committed is in a checkpoint.
cleans_up() {
    make_repo
    guard_with pre-commit post-commit
    put README 'an hour of work, not yet staged'
    put notes 'not even known to git'
    put theirs 'a file of the second'
    git add theirs
    must git commit -q -m theirs
    git reset -q --hard
    git clean -fdq
    if naive; then
        assert_file README 'read me'
        assert_equal "$(git for-each-ref refs/shadow)" ''
        return
    fi
    must git shadow-commit restore -- README notes
    assert_file README 'an hour of work, not yet staged'
    assert_file notes 'not even known to git'
}

# ---- gc ----------------------------------------------------------------------------------------

# So many loose objects that gc --auto finds it time, and keeps none that it need not.
ripe_for_gc() {
    make_repo
    git config gc.auto 1
    git config gc.autoDetach false
    git config gc.pruneExpire now
    local n
    for n in {1..600}; do echo "$n" >"f$n"; done
    git add . && git commit -q -m many
}
loose() { git count-objects | cut -d' ' -f1; }

@test "race: gc --auto while a checkpoint is being saved" {
    requires ptrace
    twins gc_beside_save
}
gc_beside_save() {
    local ref tree before where
    ripe_for_gc
    guard_with pre-auto-gc
    ref=$(shadow_ref)
    put precious 'not committed'
    if naive; then
        # A save by hand: what it has written hangs on nothing until its last step.
        export GIT_INDEX_FILE=../index
        git add -A
        tree=$(git write-tree)
        unset GIT_INDEX_FILE
        git gc --auto --quiet
        refute git cat-file -e "$tree"
        refute git update-ref "$ref" "$(git commit-tree -p HEAD -m saved "$tree")"
    fi
    # Ours: nothing that it has written is loose, so without the hook, too, all is well.
    for where in rename,renameat,renameat2,link,linkat:.pack linkat:main.lock; do
        put precious "not committed, $where"
        stop_at "$where" git-shadow-commit
        before=$(loose)
        must git gc --auto --quiet
        if naive; then
            assert_equal "$(loose)" 0
        else
            assert_match "$stderr" 'gc is put off: a checkpoint is being saved'
            assert_equal "$(loose)" "$before"
        fi
        outcome
        assert_equal "$OUTCOME" 0
        assert_equal "$(git show "$ref:precious")" "not committed, $where"
        fsck
    done
    git gc --auto --quiet
    assert_equal "$(loose)" 0
    fsck
}

@test "race: gc --auto while a worktree is being born at a commit that nothing else holds" {
    requires ptrace
    twins gc_beside_birth
}
gc_beside_birth() {
    local base before
    ripe_for_gc
    guard_with pre-auto-gc
    if naive; then
        base=$(git commit-tree -p HEAD -m 'on no branch' 'HEAD^{tree}')
        stop_at open,openat:worktrees/plain/HEAD git worktree add --detach ../plain "$base"
        git gc --auto --quiet
        outcome
        assert_differ "$OUTCOME" 0
        refute git cat-file -e "$base"
        return
    fi
    base=$(git commit-tree -p HEAD -m 'on no branch' 'HEAD^{tree}')
    stop_at renameat2 git-worktree-claim --base "$base"
    before=$(loose)
    must git gc --auto --quiet
    assert_match "$stderr" 'gc is put off: a worktree is being made'
    assert_equal "$(loose)" "$before"
    outcome
    assert_equal "$OUTCOME" 0
    assert_equal "$(git -C "$PWD.worktrees/default-1" rev-parse HEAD)" "$base"
    assert_equal "$(git -C "$PWD.worktrees/default-1" status --porcelain)" ''
    git gc --auto --quiet
    assert_equal "$(loose)" 0
    fsck
}
