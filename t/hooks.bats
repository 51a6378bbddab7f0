#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# The hooks: what they forbid, what they let through, and what they do by themselves.

# shellcheck disable=SC2154 # set by try(): output, stderr, lines
# shellcheck disable=SC2016,SC2030,SC2031

load helpers

# Runs a function for every hash and every format of refs that this git has.
every_format() {
    local hash format here=$PWD
    for hash in sha1 sha256; do
        for format in files reftable; do
            [ "$format" = files ] || can reftable || continue
            echo "--- $hash $format"
            mkdir -p "$here/$hash-$format"
            cd "$here/$hash-$format" || return
            HASH=$hash REF_FORMAT=$format
            [ "$format" = reftable ] || REF_FORMAT=
            "$@"
            cd "$here" || return
        done
    done
}

# A chain of three checkpoints under the guard; its ref is in REF, the tips in T1 T2 T3.
guarded_chain() {
    make_repo
    use_hooks reference-transaction
    REF=$(shadow_ref)
    put one 1 && T1=$(git shadow-commit)
    put two 2 && T2=$(git shadow-commit)
    put three 3 && T3=$(git shadow-commit)
    assert_equal "$(git rev-parse "$REF")" "$T3"
}

vetoed() { # <command>...
    local before
    before=$(git for-each-ref)
    try "$@"
    assert_differ "$status" 0 'exit status'
    assert_match "$stderr" 'interlock: reference-transaction: .*(cas-ref|expire)'
    assert_equal "$(git for-each-ref)" "$before" refs
}

# ---- reference-transaction -----------------------------------------------------------

@test "G2: blind, backward and sideways writes and deletes of a checkpoint's ref are vetoed" {
    every_format veto_writes
}
veto_writes() {
    guarded_chain
    vetoed git update-ref "$REF" HEAD
    vetoed git update-ref "$REF" "$T2"
    vetoed git update-ref "$REF" "$T1" "$T3"
    vetoed git update-ref --no-deref "$REF" "$T2"
    vetoed git update-ref -d "$REF"
    vetoed git update-ref -d "$REF" "$T3"
    vetoed git fetch -q . "+HEAD:$REF"
    # One of many, and all of them are told.
    vetoed git update-ref --stdin <<<"create refs/heads/innocent HEAD
update $REF HEAD
delete $REF-none"
    refute git rev-parse -q --verify refs/heads/innocent
    # A commit that only has the tip somewhere among its parents would hide it.
    vetoed git update-ref "$REF" \
        "$(git commit-tree -p HEAD -p "$T3" -m sideways "HEAD^{tree}")"
    # A symbolic ref is no way around.
    git symbolic-ref refs/heads/alias "$REF"
    vetoed git update-ref refs/heads/alias HEAD
    git symbolic-ref --delete refs/heads/alias
    must git shadow-commit
    assert_equal "$output" "$T3"
}

@test "G2: what loses nothing passes: forward, the same again, a new ref" {
    every_format pass_forward
}
pass_forward() {
    local next
    guarded_chain
    must git update-ref "$REF" "$T3"
    next=$(git commit-tree -p "$T3" -m next "HEAD^{tree}")
    must git update-ref "$REF" "$next"
    must git update-ref "$REF" "$(git commit-tree -p "$next" -m next "HEAD^{tree}")" "$next"
    must git update-ref refs/shadow/main/b/other "$T2"
    must git update-ref refs/shadow/main/b/other "$T3"
    must git update-ref -d refs/shadow/main/b/none
    assert_equal "$(git rev-parse refs/shadow/main/b/other)" "$T3"
}

@test "G2: the first checkpoint of a new segment comes after the segment before" {
    every_format pass_segments
}
pass_segments() {
    local tips=() i
    make_repo
    git config interlock.segmentMax 2
    for i in 1 2 3 4 5; do
        put file "$i"
        tips+=("$(git shadow-commit)")
    done
    use_hooks reference-transaction
    # A mirror of the repository moves in steps of its own.
    must git update-ref refs/shadow/mirror "${tips[0]}"
    must git update-ref refs/shadow/mirror "${tips[2]}"
    must git update-ref refs/shadow/mirror "${tips[4]}"
    vetoed git update-ref refs/shadow/mirror "${tips[1]}"
}

@test "G2: pack-refs and gc pass, and the refs are where they were" {
    every_format pass_packing
}
pass_packing() {
    local before
    guarded_chain
    must git update-ref refs/rescue/default-1/x HEAD
    must git update-ref refs/shadow-old/main/b/main/1 "$T1"
    before=$(git for-each-ref)
    must git pack-refs --all
    assert_equal "$stderr" ''
    assert_equal "$(git for-each-ref)" "$before"
    [ -n "$REF_FORMAT" ] || assert_absent ".git/$REF"
    vetoed git update-ref "$REF" HEAD
    vetoed git update-ref -d "$REF"
    vetoed git update-ref -d "$REF" "$T3"
    # Loose again, over a packed one.
    put four 4
    must git shadow-commit
    T4=$output
    vetoed git update-ref -d "$REF" "$T4"
    must git pack-refs --all --prune
    # Loose and packed hold the same: a delete is not mistaken for pack-refs' own.
    if [ -z "$REF_FORMAT" ]; then
        mkdir -p ".git/${REF%/*}"
        echo "$T4" >".git/$REF"
        vetoed git update-ref -d "$REF" "$T4"
        vetoed git update-ref -d "$REF"
        before=$(git for-each-ref)
        must git pack-refs --all
        assert_absent ".git/$REF"
        assert_equal "$(git for-each-ref)" "$before"
    fi
    before=$(git for-each-ref)
    must git gc -q --prune=now
    assert_equal "$(git for-each-ref)" "$before"
    fsck
}

@test "G2: pack-refs passes while somebody else holds packed-refs.lock" {
    guarded_chain
    # The lock of another git between its transaction and ours: pack-refs' prune goes on.
    must git pack-refs --all --no-prune
    : >.git/packed-refs.lock
    must "$BIN/hooks/reference-transaction" prepared <<<"$T3 ${T3//?/0} $REF"
    # It has a file ready that has the ref as well: it deletes another one.
    cp .git/packed-refs .git/packed-refs.new
    must "$BIN/hooks/reference-transaction" prepared <<<"$T3 ${T3//?/0} $REF"
    grep -v "$REF" .git/packed-refs >.git/packed-refs.new
    must_exit 1 "$BIN/hooks/reference-transaction" prepared <<<"$T3 ${T3//?/0} $REF"
    rm .git/packed-refs.lock .git/packed-refs.new
}

@test "G2: in a linked worktree, a bare repository, and with GIT_DIR set" {
    guarded_chain
    git worktree add -q --detach ../linked
    cd ../linked
    vetoed git update-ref "$REF" HEAD
    must git shadow-commit
    vetoed git update-ref -d "$(shadow_ref)"
    must git pack-refs --all
    cd ..
    export GIT_DIR=repo/.git
    vetoed git update-ref "$REF" "$T1"
    GIT_DIR=$PWD/repo/.git
    vetoed git update-ref -d "$REF"
    unset GIT_DIR
    cd repo/src
    vetoed git update-ref "$REF" "$T1"
    cd ../..
    git clone -q --mirror repo bare.git
    cd bare.git
    use_hooks reference-transaction
    vetoed git update-ref "$REF" "$T1"
    must git pack-refs --all
    vetoed git update-ref -d "$REF"
    # A push that would take it back.
    vetoed git push -q . "+$T1:$REF"
}

@test "G2: where packed-refs is a symlink" {
    guarded_chain
    mkdir elsewhere
    git pack-refs --all
    mv .git/packed-refs elsewhere/packed-refs
    ln -s ../elsewhere/packed-refs .git/packed-refs
    must git shadow-commit --allow-unchanged
    must git pack-refs --all
    assert_absent ".git/$REF"
    [ -L .git/packed-refs ] || flunk 'the symlink is gone'
    vetoed git update-ref -d "$REF" "$(git rev-parse "$REF")"
}

@test "G2, D10: our own writers pass: save, a new segment, restore, expire, rescue, cas-ref" {
    every_format own_writers
}
own_writers() {
    local wt rescue i
    make_repo
    use_hooks reference-transaction
    git config interlock.segmentMax 2
    for i in 1 2 3 4 5 6 7; do
        put file "$i"
        must git shadow-commit
    done
    REF=$(shadow_ref)
    must git shadow-commit restore '@{3}'
    must git shadow-commit expire --keep 2
    refute git rev-parse -q --verify refs/shadow-old/main/b/main/1
    must git worktree-claim
    wt=$output
    put "$wt/work" 'not committed'
    must git worktree-claim release default-1 --json
    rescue=$(json rescued <<<"$output")
    assert_match "$rescue" '^refs/rescue/'
    vetoed git update-ref -d "$rescue"
    must git worktree-reap rescued --drop "$rescue"
    refute git rev-parse -q --verify "$rescue"
    # A swap that names what it expects is no blind write, also backward.
    must git cas-ref "$REF" "$REF~1" "$REF"
    must git cas-ref --delete "$REF" "$(git rev-parse "$REF")"
    assert_equal "$(git for-each-ref refs/shadow)" ''
}

@test "G2: only a live writer's own descriptor opens the door" {
    guarded_chain
    mkdir -p .git/interlock/git
    # A file of that folder that nobody holds locked; one that another process holds; one
    # that was removed.
    : >.git/interlock/git/free
    vetoed sh -c "exec 9<.git/interlock/git/free; git update-ref $REF HEAD"
    : >.git/interlock/git/held
    hold flock .git/interlock/git/held
    vetoed sh -c "exec 9<.git/interlock/git/held; git update-ref $REF HEAD"
    unhold
    : >.git/interlock/git/gone
    vetoed sh -c "exec 9<.git/interlock/git/gone; flock 9; rm .git/interlock/git/gone
        git update-ref $REF HEAD"
    vetoed env GIT_INTERLOCK_HOOK=1 git update-ref "$REF" HEAD
    rm -f .git/interlock/git/*
    must sh -c ": >.git/interlock/git/mine; exec 9<.git/interlock/git/mine; flock 9
        git update-ref $REF HEAD"
}

@test "G3: unknown states, ref: values, empty input and words that are none pass" {
    guarded_chain
    local hook=$BIN/hooks/reference-transaction zero=${T3//?/0} line
    for line in "$T3 $T1 $REF" "$T3 $zero $REF" 'x' ''; do
        must "$hook" committed <<<"$line"
        must "$hook" aborted <<<"$line"
        must "$hook" preparing <<<"$line"
        must "$hook" someday <<<"$line"
        must "$hook" <<<"$line"
    done
    must "$hook" prepared </dev/null
    must "$hook" prepared <<<''
    must "$hook" prepared <<<"$REF"
    must "$hook" prepared <<<"ref:refs/heads/main $T1 $REF"
    must "$hook" prepared <<<"$T3 ref:refs/heads/main $REF"
    must "$hook" prepared <<<"$T3 $T1 refs/heads/refs/shadow/x"
    must_exit 1 "$hook" prepared <<<"$T3 $T1 $REF"
    must "$hook" prepared < <(yes "$zero $T1 refs/heads/x" | head -n 100000)
    must_exit 1 "$hook" prepared < <(
        yes "$zero $T1 refs/heads/x" | head -n 100000
        echo "$T3 $T1 $REF"
    )
}

@test "G4: what is none of ours starts no second process and opens nothing" {
    requires strace
    guarded_chain
    local hook=$BIN/hooks/reference-transaction zero=${T3//?/0} loader
    for ((i = 0; i < 10000; i++)); do echo "$zero $T3 refs/remotes/origin/branch-$i"; done >input
    # A sanitized one is not static: the loader opens files.
    strace -f -o trace "$hook" committed </dev/null
    loader=$(grep -cE ' (open|openat|socket)\(' trace) || :
    [ "$TEST_SLOW" != 1 ] || assert_equal "$loader" 0 'files opened by the loader'
    strace -f -o trace "$hook" prepared <input
    assert_equal "$(grep -cE ' (execve|clone3?|v?fork)\(' trace)" 1 'processes'
    assert_equal "$(grep -cE ' (open|openat|socket)\(' trace)" "$loader" 'files opened'
    strace -f -o trace "$hook" committed <input
    assert_equal "$(grep -cE ' read\(0' trace)" 0 'reads'
    # pack-refs' two steps are decided there, too.
    strace -f -o trace "$hook" prepared <<<"$zero $T3 $REF"
    assert_equal "$(grep -cE ' (execve|clone3?|v?fork)\(' trace)" 1 'processes'
    git pack-refs --all --no-prune
    strace -f -o trace "$hook" prepared <<<"$T3 $zero $REF"
    assert_equal "$(grep -cE ' (execve|clone3?|v?fork)\(' trace)" 1 'processes'
}

@test "G4: the small files of a linked worktree are read without a second process" {
    requires strace
    make_repo
    # The setting stands at the very beginning of the file.
    printf '[interlock]\n\tautoSave = false\n%s\n' "$(cat .git/config)" >settings
    mv settings .git/config
    git worktree add -q ../other
    cd ../other
    local hook
    for hook in post-commit post-merge pre-commit; do
        strace -f -o ../trace "$BIN/hooks/$hook"
        assert_equal "$(grep -cE ' (execve|clone3?|v?fork)\(' ../trace)" 1 "processes of $hook"
    done
}

@test "G5: without git-interlock only what is guarded is refused, and it says why" {
    guarded_chain
    cp "$BIN/hooks/reference-transaction" .git/hooks/copy
    rm .git/hooks/reference-transaction
    mv .git/hooks/copy .git/hooks/reference-transaction
    ln -s "$(command -v git)" .git/git-only
    must env PATH="$(dirname "$(command -v git)"):/usr/bin:/bin" git branch innocent
    try env PATH="$(dirname "$(command -v git)"):/usr/bin:/bin" git update-ref "$REF" HEAD
    assert_differ "$status" 0
    assert_match "$stderr" 'git-interlock cannot be started: No such file'
    assert_equal "$(git rev-parse "$REF")" "$T3"
    # A hook that only helps does not stop anybody.
    cp "$BIN/hooks/post-commit" .git/hooks/post-commit
    put five 5 && git add five
    must env PATH="$(dirname "$(command -v git)"):/usr/bin:/bin" git commit -q -m five
    assert_match "$stderr" 'git-interlock cannot be started'
}

@test "G6: the hook that was there before runs after ours, with the same input and its own word" {
    guarded_chain
    cat >.git/hooks/reference-transaction.before-interlock <<-'HOOK'
	#!/bin/sh
	{ echo "$1"; cat; } >>"$GIT_DIR_OF_TEST/seen"
	[ ! -e "$GIT_DIR_OF_TEST/no" ]
	HOOK
    chmod +x .git/hooks/reference-transaction.before-interlock
    export GIT_DIR_OF_TEST=$PWD/.git
    must git update-ref refs/heads/x HEAD
    assert_match "$(cat .git/seen)" "prepared
0+ $(git rev-parse HEAD) refs/heads/x"
    # Also behind the slow path, and not when ours says no.
    rm .git/seen
    must git update-ref "$REF" "$(git commit-tree -p "$T3" -m x "HEAD^{tree}")"
    assert_match "$(cat .git/seen)" "prepared
0+ [0-9a-f]+ $REF"
    rm .git/seen
    vetoed git update-ref "$REF" HEAD
    refute grep -q prepared .git/seen
    touch .git/no
    must_exit 128 git update-ref refs/heads/y HEAD
    refute git rev-parse -q --verify refs/heads/y
}

# ---- pre-commit ----------------------------------------------------------------------------

lease_of() { # <slot>
    git worktree-claim list --json | grep "\"slot\":\"$1\"" | json lease
}
commit_in() { # <worktree> [<option of git commit>...]
    put "$1/change" "$RANDOM$RANDOM"
    git -C "$1" add change
    git -C "$1" commit -q -m change "${@:2}"
}
refused() { # <regular expression> <command>...
    must_exit 1 "${@:2}"
    assert_match "$stderr" "interlock: pre-commit: .*$1"
    assert_match "$stderr" 'to commit all the same:  git commit --no-verify'
}
guarded_pool() {
    make_repo
    use_hooks pre-commit
    git config interlock.autoSave false
}

@test "A12: in a slot that a process holds, only its tree or who knows the lease commits" {
    guarded_pool
    local lease
    # The wrapped command and its children.
    must git worktree-claim -- sh -c 'echo x >x && git add x && git commit -q -m x'
    must git worktree-claim -- sh -c 'unset GIT_INTERLOCK_LEASE; echo x >x; git add x
        sh -c "git commit -q -m x"'
    hold_slot
    lease=$(lease_of default-1)
    refused "slot 'default-1' is held by .*worktree-claim" commit_in "$HELD"
    assert_match "$stderr" "GIT_INTERLOCK_LEASE=$lease git commit"
    must env GIT_INTERLOCK_LEASE="$lease" git -C "$HELD" commit -q -m x
    # The override that it prints is one.
    refused 'is held by' commit_in "$HELD"
    must commit_in "$HELD" --no-verify
    # The guard is what is on disk, not a variable: a new shell meets it as well.
    refused 'is held by' env -i PATH="$PATH" HOME="$HOME" git -C "$HELD" commit -q --allow-empty -m x
    let_slot_go
    must commit_in "$HELD"
}

@test "A12: what the holder left running commits on; somebody else does not" {
    guarded_pool
    local wt=$PWD.worktrees/default-1
    mkfifo go
    bg git-worktree-claim -q -- sh -c '
        (read -r word <"$0"; echo x >x; git add x; git commit -q -m by-child 2>err; echo $? >status) &
        echo ready >ready; wait' "$PWD/go"
    local pid=${BG_PIDS[-1]}
    await 10 test -e "$wt/ready"
    kill -KILL "$pid"
    wait "$pid" || :
    # Its lock is free, and what it began works on.
    await 10 not_held
    refused 'is held by' commit_in "$wt"
    echo go >go
    await 10 test -s "$wt/status"
    assert_file "$wt/status" 0
}
not_held() { [ "$(git worktree-claim list --json | json state)" = occupied ]; }

@test "A12: a lease that is no longer current is refused, wherever its holder comes from" {
    guarded_pool
    local old
    must git worktree-claim
    old=$(lease_of default-1)
    must git worktree-claim release default-1
    refused "lease $old is not the current one of slot 'default-1'" \
        env GIT_INTERLOCK_LEASE="$old" git -C "$PWD.worktrees/default-1" commit --allow-empty -m x
    must git worktree-claim
    refused "lease $old is not the current one" \
        env GIT_INTERLOCK_LEASE="$old" git -C "$output" commit -q --allow-empty -m x
    # In a worktree that is no slot the variable says nothing.
    must env GIT_INTERLOCK_LEASE="$old" git commit -q --allow-empty -m x
    git worktree add -q --detach ../plain
    must env GIT_INTERLOCK_LEASE="$old" git -C ../plain commit -q --allow-empty -m x
}

@test "A12: a lease by time is its user's" {
    guarded_pool
    local wt records
    must git worktree-claim
    wt=$output
    must commit_in "$wt"
    # As another user's would be.
    records=("$(git -C "$wt" rev-parse --git-dir)/locked" .git/interlock/leases/*[0-9a-f])
    sed -i 's/"uid":[0-9]*/"uid":'$(($(id -u) + 1))'/' "${records[@]}"
    refused 'is leased by another user' commit_in "$wt"
    must env GIT_INTERLOCK_LEASE="$(lease_of default-1)" git -C "$wt" commit -q -m x
    # One that has run out is nobody's.
    sed -i 's/"expires":[0-9]*/"expires":1/' "${records[@]}"
    must commit_in "$wt"
}

@test "A12: a claim for a branch commits there, or in the middle of that branch's rebase" {
    guarded_pool
    local wt
    must git worktree-claim -b topic
    wt=$output
    must commit_in "$wt"
    git -C "$wt" switch -q --detach
    refused "claimed for branch 'topic', but HEAD is detached; 'git switch topic' goes back" \
        commit_in "$wt"
    git -C "$wt" switch -q -C other
    refused "claimed for branch 'topic', but HEAD is on 'other'" commit_in "$wt"
    git -C "$wt" reset -q --hard
    git -C "$wt" switch -q topic
    must commit_in "$wt"
    GIT_SEQUENCE_EDITOR="sed -i s/^pick/edit/" git -C "$wt" rebase -q -i HEAD~1
    refute git -C "$wt" symbolic-ref -q HEAD
    must commit_in "$wt"
    git -C "$wt" rebase --continue
    assert_equal "$(git -C "$wt" symbolic-ref HEAD)" refs/heads/topic
}

@test "A13: somebody else's rebase or merge in progress is named, and left as it is" {
    guarded_pool
    local wt before
    must git worktree-claim -b topic
    wt=$output
    must commit_in "$wt"
    git -C "$wt" switch -q -c theirs
    must commit_in "$wt" --no-verify
    GIT_SEQUENCE_EDITOR="sed -i s/^pick/edit/" git -C "$wt" rebase -q -i HEAD~1
    before=$(find "$(git -C "$wt" rev-parse --git-dir)/rebase-merge" -type f -exec sha256sum {} +)
    refused "claimed for branch 'topic'" commit_in "$wt"
    assert_match "$stderr" "a rebase of 'theirs' is under way here; it is left as it is"
    assert_equal "$(find "$(git -C "$wt" rev-parse --git-dir)/rebase-merge" -type f \
        -exec sha256sum {} +)" "$before"
}

@test "pre-commit: saves what is there before, in any worktree, unless told not to" {
    make_repo
    use_hooks pre-commit
    local tip
    put README 'not yet staged'
    put new 'new' && git add new
    must git commit -q -m 'only new'
    tip=$(git rev-parse "$(shadow_ref)")
    assert_equal "$(git show "$tip:README")" 'not yet staged'
    assert_equal "$(git log -1 --format=%s "$tip")" pre-commit
    git config interlock.autoSave false
    must git commit -q -a -m all
    assert_equal "$(git rev-parse "$(shadow_ref)")" "$tip"
    # Said in another place: the program cannot know, and asks.
    git config --unset interlock.autoSave
    git config --global interlock.autoSave false
    put README again
    must git commit -q -a -m again
    assert_equal "$(git rev-parse "$(shadow_ref)")" "$tip"
    must env GIT_INTERLOCK_AUTO_SAVE=true git commit -q --allow-empty -m again
    assert_differ "$(git rev-parse "$(shadow_ref)")" "$tip"
}

# ---- pre-auto-gc -------------------------------------------------------------------------------

@test "pre-auto-gc: gc waits while a save or a birth is in progress, and a lease defers nothing" {
    make_repo
    use_hooks pre-auto-gc
    git config gc.auto 1
    git config gc.autoPackLimit 1
    must git worktree-claim
    must "$BIN/hooks/pre-auto-gc"
    mkdir -p .git/interlock/locks
    : >.git/interlock/locks/objects
    must "$BIN/hooks/pre-auto-gc"
    hold flock .git/interlock/locks/objects
    must_exit 1 "$BIN/hooks/pre-auto-gc"
    assert_match "$stderr" 'gc is put off: a checkpoint is being saved'
    unhold
    must "$BIN/hooks/pre-auto-gc"
    # What a dead birth left defers nothing.
    mkdir .git/interlock/birth-0123
    must "$BIN/hooks/pre-auto-gc"
    bg sh -c 'exec 9<.git/interlock/birth-0123; flock 9; echo >held; exec sleep 1000'
    await 5 test -e held
    must_exit 1 "$BIN/hooks/pre-auto-gc"
    assert_match "$stderr" 'a worktree is being made'
    must "$BIN/git-shadow-commit"
}

@test "pre-auto-gc: git gc --auto beside a save leaves everything for later" {
    make_repo
    use_hooks pre-auto-gc
    git config gc.auto 1
    local n before
    # gc counts the loose objects in one folder, and takes that for all.
    for n in {1..600}; do echo "$n" >"f$n"; done
    git add . && git commit -q -m many
    must git shadow-commit
    before=$(git count-objects -v)
    hold flock .git/interlock/locks/objects
    must git gc --auto --quiet
    assert_match "$stderr" 'gc is put off: a checkpoint is being saved'
    assert_equal "$(git count-objects -v)" "$before"
    unhold
    must git gc --auto --quiet
    assert_differ "$(git count-objects -v)" "$before"
    fsck
}

# ---- the hooks that save -------------------------------------------------------------------------

checkpoints() { git shadow-commit log --json | grep -c .; }

@test "post-commit, post-merge: a checkpoint where HEAD has moved to" {
    make_repo
    use_hooks post-commit post-merge post-rewrite
    put a a && git add a
    must git commit -q -m a
    assert_equal "$(checkpoints)" 1
    assert_match "$(git show -s --format=%B "$(shadow_ref)")" "Shadow-Base: $(git rev-parse HEAD)"
    git branch side HEAD~
    git switch -q side
    put b b && git add b
    must git commit -q -m b
    must git merge -q --no-edit main
    assert_equal "$(git show -s --format=%s "$(shadow_ref)")" post-merge
    assert_match "$(git show -s --format=%B "$(shadow_ref)")" "Shadow-Base: $(git rev-parse HEAD)"
    # amend: post-commit and post-rewrite make one.
    local before
    before=$(checkpoints)
    must git commit -q --amend -m amended
    assert_equal "$(checkpoints)" $((before + 1))
}

@test "saves: in the hooks of a commit the native engine starts no git" {
    requires strace
    make_repo
    use_hooks pre-commit post-commit
    local how
    for how in '' -a '-o a'; do
        put a "$how" && git add a
        put src/main.c "$how"
        # shellcheck disable=SC2086
        must strace -f -qq -s 200 -o trace -e trace=execve git commit -q -m x $how
        assert_equal "$(grep -c 'git-shadow-commit", "save".* = 0$' trace)" 2
        assert_equal "$(grep -c 'core.hooksPath=/dev/null' trace)" 0 'commands of git by ours'
    done
}

@test "post-rewrite: one checkpoint a rebase, not one a pick" {
    make_repo
    local n before chain
    git branch side
    for n in 1 2 3 4 5; do put "f$n" x && git add . && git commit -q -m "$n"; done
    git switch -q side
    put base base && git add . && git commit -q -m base
    git switch -q main
    use_hooks post-commit post-merge post-rewrite pre-commit
    # git am calls the hook while HEAD is still detached.
    for backend in --merge/main/b/main --apply/main/detached; do
        must git shadow-commit
        chain=refs/shadow/${backend#*/}
        before=$(all_checkpoints)
        must git rebase -q "${backend%%/*}" side
        assert_equal "$(all_checkpoints)" $((before + 1)) "checkpoints after $backend"
        assert_equal "$(git show -s --format=%s "$chain")" post-rewrite
        assert_match "$(git show -s --format=%B "$chain")" "Shadow-Base: $(git rev-parse HEAD)"
        git reset -q --hard ORIG_HEAD
    done
}
all_checkpoints() { git rev-list --glob='refs/shadow/*' --grep=^Shadow-Base | grep -c .; }

@test "saves: with all hooks, no hook calls itself, and a lease by time is renewed" {
    make_repo
    use_hooks pre-commit post-commit post-merge post-rewrite post-checkout pre-auto-gc \
        reference-transaction
    local wt before after
    must git worktree-claim --ttl 1000s
    wt=$output
    before=$(git worktree-claim list --json | json expires)
    # A tenth of it has to be over before a use counts.
    sed -i 's/"expires":[0-9]*/"expires":'$(($(date +%s) + 500))'/' \
        "$(git -C "$wt" rev-parse --git-dir)/locked" .git/interlock/leases/*[0-9a-f]
    put "$wt/a" a
    git -C "$wt" add a
    must git -C "$wt" commit -q -m a
    after=$(git worktree-claim list --json | json expires)
    refute [ "$after" '<' "$before" ]
    must git -C "$wt" shadow-commit log --json
    assert_equal "$(grep -c . <<<"$output")" 2
    must env GIT_INTERLOCK_HOOK=1 git -C "$wt" commit -q --allow-empty -m b
    must git -C "$wt" shadow-commit log --json
    assert_equal "$(grep -c . <<<"$output")" 2
}

@test "saves: a hook never fails a commit" {
    make_repo
    use_hooks pre-commit post-commit
    git config interlock.autoSave perhaps
    must git commit -q --allow-empty -m x
    assert_match "$stderr" 'interlock: pre-commit: config interlock.autosave: .*no checkpoint is saved'
    git config interlock.autoSave true
    mkdir -p .git/interlock
    : >.git/interlock/locks
    must git commit -q --allow-empty -m x
}

# ---- post-checkout ------------------------------------------------------------------------------

# Ours after a stand-in for a prune that strikes between git's last step and the hook.
damage_first() { # <shell command, in the new worktree; $admin is its admin directory>
    cat >.git/hooks/post-checkout <<-HOOK
	#!/bin/sh
	admin=\$(git rev-parse --absolute-git-dir)
	$1
	exec "$BIN/hooks/post-checkout" "\$@"
	HOOK
    rm -f .git/hooks/post-checkout.ours
    chmod +x .git/hooks/post-checkout
}
assert_whole() { # <worktree> <branch or "detached">
    assert_clean_tree "$1"
    assert_equal "$(git -C "$1" symbolic-ref -q --short HEAD || echo detached)" "$2"
    assert_equal "$(git -C "$1" rev-parse HEAD)" "$(git rev-parse HEAD)"
    assert_match "$(git worktree list --porcelain)" "worktree $(realpath "$1")
HEAD $(git rev-parse HEAD)"
    assert_no_match "$(git worktree list --porcelain)" '(prunable|locked)'
}
assert_clean_tree() {
    assert_equal "$(git -C "$1" status --porcelain)" '' "status of $1"
}

@test "post-checkout: a worktree that a prune has damaged is made whole" {
    make_repo
    # Nothing happened.
    use_hooks post-checkout
    must git worktree add ../fine
    assert_no_match "$stderr" interlock
    assert_whole ../fine fine
    rm .git/hooks/post-checkout
    damage_first 'rm -rf "$admin"'
    must git worktree add ../gone
    assert_match "$stderr" 'made again: gitdir, commondir, HEAD, index'
    assert_whole ../gone gone
    must git worktree add -b topic ../other
    assert_match "$stderr" 'made again: gitdir, commondir, HEAD \(detached\), index'
    assert_whole ../other detached
    damage_first 'rm "$admin/gitdir" "$admin/index"'
    must git worktree add -b work ../half
    assert_match "$stderr" 'made again: gitdir, index'
    assert_whole ../half work
    damage_first 'rm -rf "$(dirname "$admin")"'
    must git worktree add --detach ../last
    assert_whole ../last detached
    fsck
    assert_equal "$(grep -c worktree-mended .git/interlock/ledger)" 4
}

@test "post-checkout: an admin directory that is somebody else's by now is left alone" {
    make_repo
    damage_first 'echo /elsewhere/.git >"$admin/gitdir"; mkdir -p ../another; git -C ../another init -q
        echo "$(realpath ../another)/.git" >"$admin/gitdir"'
    must git worktree add ../mine
    assert_match "$stderr" 'belongs to another worktree now'
    assert_file .git/worktrees/mine/gitdir "$(realpath ../another)/.git"
}

@test "post-checkout: what a prune takes where refs are in a reftable is told, and nothing half made" {
    requires reftable
    REF_FORMAT=reftable make_repo
    use_hooks post-checkout
    must git worktree add ../fine
    assert_whole ../fine fine
    rm .git/hooks/post-checkout
    damage_first 'rm -rf "$admin"'
    must git worktree add ../gone
    assert_match "$stderr" "a prune has removed what git knew of '.*/gone'; remove it with"
    assert_no_match "$stderr" 'made again'
    assert_absent .git/worktrees/gone
    assert_file ../gone/README 'read me'
    assert_equal "$(find .git/interlock -path '*tmp/*')" ''
    rm -r ../gone .git/hooks/post-checkout
    must git worktree add ../gone gone
    assert_whole ../gone gone
    # A part of it that can be told is made again.
    damage_first 'rm "$admin/gitdir" "$admin/index"'
    must git worktree add ../half
    assert_match "$stderr" 'made again: gitdir, index'
    assert_whole ../half half
}

@test "post-checkout: an ordinary checkout, a clone and an orphan are none of its business" {
    requires strace
    make_repo
    use_hooks post-checkout
    strace -f -o trace .git/hooks/post-checkout "$(git rev-parse HEAD)" "$(git rev-parse HEAD)" 1
    assert_equal "$(grep -cE ' execve\(' trace)" 1
    strace -f -o trace .git/hooks/post-checkout "$(printf '%040d' 0)" "$(git rev-parse HEAD)" 1
    assert_equal "$(grep -cE ' execve\(' trace)" 1
    must git switch -q -c x
    assert_absent .git/interlock/ledger
}

@test "post-checkout: interlock.lockWorktrees" {
    make_repo
    use_hooks post-checkout
    git config interlock.lockWorktrees true
    must git worktree add ../kept
    assert_match "$(git worktree list --porcelain)" 'locked kept by interlock.lockWorktrees'
    rm -r ../kept
    git worktree prune
    [ -d .git/worktrees/kept ] || flunk 'it was pruned'
    git worktree unlock ../kept
    must env GIT_INTERLOCK_LOCK_WORKTREES=false git worktree add ../loose
    assert_equal "$(git worktree list --porcelain | grep -c ^locked)" 0
}

@test "post-checkout: git worktree add beside a loop of prunes" {
    make_repo
    use_hooks post-checkout
    local i failed=0
    bg sh -c 'while :; do git worktree prune; done'
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
        if git worktree add -q "../race-$i" 2>>err; then
            assert_whole "../race-$i" "race-$i"
        else
            failed=$((failed + 1))
        fi
    done
    echo "git itself gave up $failed times: $(cat err)"
    git worktree prune
    for i in ../race-*; do
        [ ! -e "$i/.git" ] || git -C "$i" rev-parse HEAD
    done
}

# ---- our own swap, beside our own hook -----------------------------------------------------------

# Who writes a ref here and now: we, or git because of a hook?
assert_swap_by() { # us | git
    local old new
    old=$(git rev-parse -q --verify refs/test/who || :)
    new=$(git commit-tree -p HEAD -m "$RANDOM$RANDOM" 'HEAD^{tree}')
    must git-cas-ref -v refs/test/who "$new" "$old"
    if [ "$1" = git ]; then
        assert_match "$stderr" 'by git: reference-transaction hook'
    else
        assert_no_match "$stderr" 'by git'
    fi
    assert_equal "$(git rev-parse refs/test/who)" "$new"
}

# A reference-transaction hook of somebody else's, which writes down what it hears.
foreign_hook() { # <path>
    mkdir -p "${1%/*}"
    printf '#!/bin/sh\necho "$1" >>%q; cat >>%q\n' "$PWD/.git/heard" "$PWD/.git/heard" >"$1"
    chmod +x "$1"
}
assert_heard() {
    assert_match "$(cat .git/heard)" "prepared
0+ [0-9a-f]+ refs/|prepared
[0-9a-f]+ [0-9a-f]+ refs/test/who"
    rm .git/heard
}

# What each of our own hooks in a place goes through; `aside` runs after it.
swap_at() { # <path of our hook> <path of one that runs after it>
    local ours=$1 after=$2 program
    program=$(readlink -f "$ours")
    assert_swap_by us
    foreign_hook "$after"
    chmod -x "$after"
    assert_swap_by us
    chmod +x "$after"
    assert_swap_by git
    assert_heard
    put file "$RANDOM"
    must git-shadow-commit
    assert_heard
    rm "$after"
    assert_swap_by us
    # Another one in our place: a script, a copy, one that is called as ours is.
    rm "$ours"
    assert_swap_by us
    foreign_hook "$ours"
    assert_swap_by git
    assert_heard
    rm "$ours"
    cp "$program" "$ours"
    assert_swap_by git
    mkdir -p ../opt/interlock
    foreign_hook ../opt/interlock/reference-transaction
    ln -sf "$PWD/../opt/interlock/reference-transaction" "$ours"
    assert_swap_by git
    assert_heard
    ln -sf "$program" "$ours"
    assert_swap_by us
}

# An older git as far as install asks: its hooks are files.
files_only() {
    can git-2.54 || return 0
    mkdir ../older
    printf '#!/bin/sh\n[ "$*" != version ] || { echo git version 2.39.5; exit; }\nexec %q "$@"\n' \
        "$(command -v git)" >../older/git
    chmod +x ../older/git
    PATH=$(cd ../older && pwd):$PATH
}

@test "native swap: our hook alone does not send it to git, any other one does so at once" {
    make_repo
    files_only
    must git-interlock install
    swap_at .git/hooks/reference-transaction .git/hooks/reference-transaction.before-interlock
    cd src
    assert_swap_by us
    cd ..
    git worktree add -q --detach ../linked
    cd ../linked
    assert_swap_by us
    cd ../repo
    must git-interlock uninstall
}

@test "native swap: where core.hooksPath is somebody's, what stands there decides" {
    make_repo
    files_only
    git config core.hooksPath .team/hooks
    must git-interlock install
    swap_at .git/interlock/hooks/reference-transaction .team/hooks/reference-transaction
    foreign_hook .team/hooks/reference-transaction
    cd src
    assert_swap_by git
    cd ..
    assert_heard
    # Whose it is cannot be told from everywhere: then git knows.
    rm .team/hooks/reference-transaction
    cd .git
    assert_swap_by git
    cd ..
    chmod 000 .git/interlock/hooks/former
    [ "$(id -u)" = 0 ] || assert_swap_by git
    chmod 644 .git/interlock/hooks/former
    rm .git/interlock/hooks/former
    mkdir .git/interlock/hooks/former
    assert_swap_by git
    rmdir .git/interlock/hooks/former
    # In the forms that git expands itself, and without ours.
    local form
    for form in '~/hooks' '%(prefix)/hooks' ''; do
        git config core.hooksPath "$form"
        assert_swap_by git
    done
    git config core.hooksPath .team/hooks
    assert_swap_by us
}

@test "native swap: with our hooks in all of the user's repositories" {
    make_repo
    files_only
    must git-interlock install --global
    local folder
    folder=$(git config core.hooksPath)
    swap_at "$folder/reference-transaction" .git/hooks/reference-transaction
    # In both places: what is behind the second one counts.
    ln -s "$BIN/hooks/reference-transaction" .git/hooks/reference-transaction
    assert_swap_by us
    foreign_hook .git/hooks/reference-transaction.before-interlock
    assert_swap_by git
    assert_heard
    # Two folders that lead to each other: git finds out.
    rm .git/hooks/*
    echo "$folder" >"$folder/former"
    assert_swap_by git
}

@test "native swap: our hook in git's settings, and others there" {
    requires git-2.54
    make_repo
    must git interlock install
    local ours
    ours=$(git config hook.interlock-reference-transaction.command)
    assert_swap_by us
    foreign_hook .git/hooks/reference-transaction
    assert_swap_by git
    assert_heard
    rm .git/hooks/reference-transaction
    ln -s "$BIN/hooks/reference-transaction" .git/hooks/reference-transaction
    assert_swap_by us
    rm .git/hooks/reference-transaction
    foreign_hook ../theirs
    git config hook.theirs.event reference-transaction
    git config hook.theirs.command "$PWD/../theirs"
    assert_swap_by git
    assert_heard
    git config --remove-section hook.theirs
    git config hook.theirs.event pre-push
    git config hook.theirs.command "$PWD/../theirs"
    assert_swap_by us
    # The last command of a name is what git runs.
    git config --global hook.interlock-reference-transaction.command "$PWD/../theirs"
    assert_swap_by us
    git config --add hook.interlock-reference-transaction.command "$PWD/../theirs"
    assert_swap_by git
    assert_heard
    git config --add hook.interlock-reference-transaction.command "$ours; true"
    assert_swap_by git
    git config --add hook.interlock-reference-transaction.command "$ours"
    assert_swap_by us
}

@test "G4: with all hooks installed a save starts no process" {
    requires strace
    make_repo
    must git interlock install
    put file 1
    must git-shadow-commit
    put file 2
    strace -f -o ../trace git-shadow-commit -q
    assert_equal "$(grep -cE ' execve\(' ../trace)" 1 'programs'
    assert_equal "$(grep -cE ' v?fork\(' ../trace)" 0 'processes'
    assert_equal "$(grep -E ' clone3?\(' ../trace | grep -vc CLONE_THREAD)" 0 'processes'
    must git-shadow-commit log --json
    assert_equal "$(grep -c . <<<"$output")" 2
}
