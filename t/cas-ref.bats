#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # bats sets these; scripts are quoted
#
# git cas-ref: one swap, --delete, --update, --stdin, under both engines and hashes.

load helpers

# Three commits a b c (each the other's child) in A B C; zeros in Z.
make_commits() {
    make_repo "$@"
    if [ "$(git rev-parse --is-bare-repository)" = true ]; then
        A=$(git commit-tree -m a "$(git hash-object -t tree -w /dev/null)")
    else
        A=$(git rev-parse HEAD)
    fi
    B=$(git commit-tree -p "$A" -m b "$A^{tree}")
    C=$(git commit-tree -p "$B" -m c "$A^{tree}")
    Z=${A//[0-9a-f]/0}
}

holds() { # <ref> <id, or nothing when it must not exist>
    assert_equal "$(git for-each-ref --format='%(objectname)' "$1")" "${2-}" "$1"
}

# Nothing of ours or git's that a finished run must not leave.
no_debris() {
    assert_equal "$(debris)" "" debris
    assert_equal "$(ls "$(git rev-parse --git-common-dir)/interlock/git" 2>/dev/null)" "" intents
}

# ---- one swap --------------------------------------------------------------------

@test "cas-ref: create, swap, lost swap and delete, with what the ref holds on stdout" {
    every_variant one_swap
}
one_swap() {
    make_commits
    must git cas-ref refs/x/a "$A" ''
    assert_equal "$output$stderr" ""
    holds refs/x/a "$A"
    must git cas-ref refs/x/a "$B" "$A"
    holds refs/x/a "$B"
    must_exit 1 git cas-ref refs/x/a "$C" "$A"
    assert_equal "$output" "$B"
    assert_match "$stderr" "holds $B; expected $A"
    must_exit 1 git cas-ref -q refs/x/a "$C" ''
    assert_equal "$output" "$B"
    assert_equal "$stderr" ""
    must_exit 1 git cas-ref refs/x/none "$C" "$A"
    assert_equal "$output" "$Z"
    must_exit 1 git cas-ref --delete refs/x/a "$A"
    assert_equal "$output" "$B"
    holds refs/x/a "$B"
    must git cas-ref --delete refs/x/a "$B"
    holds refs/x/a
    must_exit 1 git cas-ref --delete refs/x/a "$B"
    assert_equal "$output" "$Z"
    no_debris
}

@test "D7: must not exist is '', 0 or zeros of any width, for both hashes" {
    every_variant must_not_exist
}
must_not_exist() {
    make_commits
    local zeros
    for zeros in '' 0 "$(printf '%040d' 0)" "$(printf '%064d' 0)"; do
        must git cas-ref refs/x/new "$A" "$zeros"
        must_exit 1 git cas-ref refs/x/new "$B" "$zeros"
        assert_equal "$output" "$A"
        must_exit 129 git cas-ref refs/x/new "$zeros" "$A"
        assert_match "$stderr" '--delete'
        must_exit 129 git cas-ref --delete refs/x/new "$zeros"
        holds refs/x/new "$A"
        git update-ref -d refs/x/new
    done
    must_exit 128 git cas-ref refs/x/new "$A" 00000
}

@test "cas-ref: new and old take any revision expression" {
    every_variant expressions
}
expressions() {
    make_commits
    git update-ref refs/heads/topic "$C"
    git tag -a -m annotated v1 "$B"
    must git cas-ref refs/x/a topic~2 ''
    holds refs/x/a "$A"
    must git cas-ref refs/x/a 'v1^{commit}' "${A:0:12}"
    holds refs/x/a "$B"
    must git cas-ref refs/x/a refs/heads/topic refs/x/a
    holds refs/x/a "$C"
    must git cas-ref refs/x/a v1 topic
    holds refs/x/a "$(git rev-parse v1)"
    must git cas-ref refs/x/a ':/first' v1
    holds refs/x/a "$A"
    must git cas-ref refs/x/a HEAD @
    local bad
    for bad in nonsense '^topic' 'topic..v1' --all -q 'topic^5' "${A}0" "${A%?}z"; do
        must_exit 128 git cas-ref -- refs/x/a "$bad" "$A"
        must_exit 128 git cas-ref -- refs/x/a "$B" "$bad"
    done
    holds refs/x/a "$A"
}

@test "cas-ref: a word that is a branch and a tag is what git says it is" {
    every_variant ambiguous
}
ambiguous() {
    make_commits
    git update-ref refs/heads/both "$B"
    git update-ref refs/tags/both "$C"
    must git cas-ref refs/x/a both ''
    holds refs/x/a "$(git rev-parse -q both 2>/dev/null)"
    # A name of a ref is not looked for below refs/heads.
    git update-ref refs/heads/refs/x/b "$B"
    must git cas-ref refs/x/b "$A" ''
    must_exit 1 git cas-ref refs/x/b "$C" "$B"
    assert_equal "$output" "$A"
    must git cas-ref --delete refs/x/b "$A"
    must_exit 1 git cas-ref refs/x/b "$C" "$B"
    assert_equal "$output" "$Z"
}

@test "cas-ref: the target must exist, and be a commit under refs/heads" {
    every_variant targets
}
targets() {
    make_commits
    local missing=${A//[0-9]/7} tree
    tree=$(git rev-parse 'HEAD^{tree}')
    git tag -a -m annotated v1 "$B"
    must_exit 128 git cas-ref refs/x/a "$missing" ''
    assert_match "$stderr" "$missing"
    must_exit 128 git cas-ref refs/heads/a "$tree" ''
    must_exit 128 git cas-ref refs/heads/a "$(git rev-parse v1)" ''
    must git cas-ref refs/x/tree "$tree" ''
    must git cas-ref refs/tags/t "$(git rev-parse v1)" ''
    holds refs/x/a
    holds refs/heads/a
    no_debris
}

@test "cas-ref: usage is 129 and changes nothing" {
    both_engines usage
}
usage() {
    make_commits
    must_exit 129 git cas-ref
    must_exit 129 git cas-ref refs/x/a
    must_exit 129 git cas-ref refs/x/a "$A"
    assert_match "$stderr" "no blind write"
    must_exit 129 git cas-ref refs/x/a "$A" '' extra
    must_exit 129 git cas-ref --delete refs/x/a
    must_exit 129 git cas-ref --delete --stdin
    must_exit 129 git cas-ref -z refs/x/a "$A" ''
    must_exit 129 git cas-ref --nonsense refs/x/a "$A" ''
    must_exit 129 git cas-ref -m '' refs/x/a "$A" ''
    must_exit 129 git cas-ref --tries 3 refs/x/a "$A" ''
    must_exit 129 git cas-ref --update refs/x/a echo
    must_exit 129 git cas-ref --update refs/x/a --
    must_exit 129 git cas-ref --tries 0 --update refs/x/a -- true
    must_exit 129 git cas-ref --stdin refs/x/a
    must_exit 129 git cas-ref main "$B" "$A"
    assert_match "$stderr" "refs/heads/main"
    assert_absent .git/main
    local bad
    for bad in refs/ refs/x..y refs/x.lock 'refs/x y' refs//x refs/x/ ../x refs/../x /refs/x \
        'refs/x~1' 'refs/@{x' $'refs/x\ny' refs/.x .git/x 'a b' ''; do
        must_exit 129 git cas-ref -- "$bad" "$A" ''
    done
    must git-cas-ref -h
    assert_match "$output" "usage: git cas-ref"
    assert_equal "$(git for-each-ref --format='%(refname)')" refs/heads/main
}

@test "cas-ref: not in a repository is 128" {
    both_engines no_repository
}
no_repository() {
    must_exit 128 git-cas-ref refs/x/a HEAD ''
    assert_match "$stderr" "not a git repository"
}

# ---- symbolic refs and reflogs -----------------------------------------------------

@test "cas-ref: symbolic refs are followed, or not with --no-deref" {
    every_variant symbolic
}
symbolic() {
    make_commits
    must git cas-ref HEAD "$B" "$A"
    holds refs/heads/main "$B"
    assert_equal "$(git symbolic-ref HEAD)" refs/heads/main
    git symbolic-ref refs/x/link refs/x/real
    must git cas-ref refs/x/link "$A" ''
    holds refs/x/real "$A"
    must_exit 1 git cas-ref refs/x/link "$C" "$B"
    assert_equal "$output" "$A"
    must git cas-ref refs/x/link "$B" "$A"
    holds refs/x/real "$B"
    assert_equal "$(git symbolic-ref refs/x/link)" refs/x/real
    must git cas-ref --no-deref refs/x/link "$C" "$B"
    refute git symbolic-ref -q refs/x/link
    holds refs/x/link "$C"
    holds refs/x/real "$B"
    git symbolic-ref refs/x/link refs/x/real
    must git cas-ref --no-deref --delete refs/x/link "$B"
    refute git symbolic-ref -q refs/x/link
    holds refs/x/real "$B"
    # An unborn branch through HEAD, and HEAD detached.
    git symbolic-ref HEAD refs/heads/new
    must git cas-ref HEAD "$C" ''
    holds refs/heads/new "$C"
    git checkout -q --detach
    must git cas-ref HEAD "$A" "$C"
    assert_equal "$(git rev-parse HEAD)" "$A"
    holds refs/heads/new "$C"
    git symbolic-ref refs/x/1 refs/x/2
    git symbolic-ref refs/x/2 refs/x/1
    must_exit 128 git cas-ref refs/x/1 "$A" ''
    no_debris
}

# The same swaps by git in a twin must give the same logs.
@test "cas-ref: reflogs are those of git update-ref, for every core.logAllRefUpdates" {
    every_variant reflogs
}
reflogs() {
    export GIT_COMMITTER_DATE='1700000000 +0130'
    local setting
    for setting in unset true false always; do
        mkdir "$setting"
        (
            cd "$setting"
            make_commits a
            [ "$setting" = unset ] || git config core.logAllRefUpdates "$setting"
            cp -r . ../b
            log_steps git cas-ref
            cd ../b
            log_steps git update-ref
            cd ..
            find a/.git/logs b/.git/logs -type d -empty -delete
            diff -r a/.git/logs b/.git/logs || flunk "logs differ for $setting"
        ) || return 1
    done
    unset GIT_COMMITTER_DATE
}
log_steps() {
    local ref
    for ref in refs/heads/main refs/heads/other/deep refs/remotes/o/x refs/notes/n refs/x/a; do
        [ "$ref" = refs/heads/main ] || "$@" -m create "$ref" "$A" "$Z"
        "$@" -m $'two  words\n and a line ' "$ref" "$B" "$A"
        "$@" "$ref" "$C" "$B"
    done
    "$@" -m forced --create-reflog refs/x/forced "$A" "$Z"
    "$@" -m 'through HEAD' HEAD "$A" "$C"
    mkdir -p .git/logs/refs/heads/dir/below .git/refs/heads/dir/below
    "$@" -m 'over empty directories' refs/heads/dir "$A" "$Z"
    "$@" -d refs/x/forced "$A"
}

# ---- where it runs ------------------------------------------------------------------

@test "D8: from a subdirectory, with -C, GIT_DIR, in a linked worktree, in a hook" {
    every_variant places
}
places() {
    make_commits
    (cd src/lib && must git cas-ref refs/x/sub "$A" '')
    holds refs/x/sub "$A"
    (cd / && must git -C "$OLDPWD" cas-ref refs/x/dashc "$A" '')
    holds refs/x/dashc "$A"
    # Native is refused here: / is the work tree then, which libgit2 does not see.
    (cd / && GIT_INTERLOCK_ENGINE=auto GIT_DIR=$OLDPWD/.git must git-cas-ref refs/x/gitdir "$A" '')
    holds refs/x/gitdir "$A"
    (cd .git && must git cas-ref refs/x/inside "$A" '')
    holds refs/x/inside "$A"
    git worktree add -q --detach ../linked "$C"
    (
        cd ../linked || exit
        must git cas-ref refs/x/linked "$A" ''
        must git cas-ref HEAD "$B" "$C"
        assert_equal "$(git rev-parse HEAD)" "$B"
        must git cas-ref refs/worktree/w "$A" ''
        must git cas-ref refs/worktree/w "$B" "$A"
        must_exit 1 git cas-ref refs/worktree/w "$B" "$A"
        assert_equal "$output" "$B"
    )
    holds refs/x/linked "$A"
    holds refs/worktree/w
    assert_equal "$(git rev-parse HEAD)" "$A"
    must git cas-ref refs/worktree/w "$C" ''
    assert_equal "$(git -C ../linked rev-parse refs/worktree/w)" "$B"
    # A hook leaks GIT_DIR and GIT_INDEX_FILE, which are the repository's own.
    use_engine auto
    printf '#!/bin/sh\nexec git cas-ref refs/x/hook %s ""\n' "$A" >.git/hooks/pre-commit
    chmod +x .git/hooks/pre-commit
    git commit -q --allow-empty -m hooked
    holds refs/x/hook "$A"
    no_debris
}

@test "cas-ref: in a bare repository" {
    every_variant bare
}
bare() {
    make_commits --bare
    must git cas-ref HEAD "$A" ''
    must git cas-ref refs/heads/main "$B" "$A"
    must git cas-ref --delete refs/heads/main "$B"
    printf 'create refs/x/a %s\n' "$A" >in
    must git cas-ref --stdin <in
    holds refs/x/a "$A"
    no_debris
}

@test "cas-ref: packed refs are read, swapped and deleted" {
    every_variant packed
}
packed() {
    make_commits
    local ref
    for ref in a b b-c d/e; do git update-ref "refs/x/$ref" "$A"; done
    git tag -a -m annotated v1 "$A"
    git pack-refs --all
    must_exit 1 git cas-ref refs/x/b "$B" ''
    assert_equal "$output" "$A"
    must git cas-ref refs/x/b "$B" "$A"
    must git cas-ref --delete refs/x/a "$A"
    must git cas-ref --delete refs/x/b "$B"
    holds refs/x/b
    holds refs/x/b-c "$A"
    must git cas-ref refs/x/a "$B" ''
    # Neither sorted nor with a header: an old file, or somebody's own.
    printf '%s refs/x/zz\n%s refs/x/yy\n' "$A" "$B" >.git/packed-refs
    must_exit 1 git cas-ref refs/x/yy "$C" "$A"
    assert_equal "$output" "$B"
    must_exit 128 git cas-ref refs/x/yy/below "$C" ''
    no_debris
}

@test "cas-ref: a ref and a directory of refs never share a name" {
    every_variant directories
}
directories() {
    make_commits
    local packed
    for packed in '' --all; do
        git update-ref refs/x/file "$A"
        git update-ref refs/x/dir/below "$A"
        [ -z "$packed" ] || git pack-refs --all
        must_exit 128 git cas-ref refs/x/file/below "$B" ''
        assert_match "$stderr" "refs/x/file"
        must_exit 128 git cas-ref refs/x/dir "$B" ''
        assert_match "$stderr" "refs/x/dir"
        assert_equal "$(grep -c . <<<"$stderr")" 1 "lines of the message"
        holds refs/x/file "$A"
        holds refs/x/dir/below "$A"
    done
    # Once they are gone, empty directories do not stand in the way.
    git update-ref -d refs/x/dir/below
    mkdir -p .git/refs/x/dir/sub/sub
    must git cas-ref refs/x/dir "$A" ''
    must git cas-ref --delete refs/x/dir "$A"
    must git cas-ref refs/x/dir/below "$A" ''
    holds refs/x/dir/below "$A"
    no_debris
}

@test "cas-ref: a corrupt ref is 128 and stays as it is" {
    both_engines corrupt
}
corrupt() {
    make_commits
    local content
    for content in '' garbage "${A%?}" 'ref: ../../x' "$A$A"; do
        mkdir -p .git/refs/x
        printf '%s' "$content" >.git/refs/x/bad
        must_exit 128 git cas-ref refs/x/bad "$B" "$A"
        must_exit 128 git cas-ref refs/x/bad "$B" ''
        assert_equal "$(cat .git/refs/x/bad)" "$content"
    done
    mkfifo .git/refs/x/fifo
    within 5000 must_exit 128 git cas-ref refs/x/fifo "$B" ''
    rm .git/refs/x/*
    no_debris
}

@test "F5: a symlink, FIFO or directory where a lock of ours should be is refused" {
    both_engines planted
}
planted() {
    make_commits
    mkdir -p .git/interlock/locks
    ln -s "$PWD/victim" .git/interlock/locks/ref-refs%2Fx%2Fa
    must_exit 128 git cas-ref refs/x/a "$A" ''
    assert_absent victim
    rm .git/interlock/locks/*
    mkfifo .git/interlock/locks/ref-refs%2Fx%2Fa
    within 5000 must_exit 128 git cas-ref refs/x/a "$A" ''
    rm .git/interlock/locks/*
    mv .git/interlock ../moved
    ln -s ../../moved .git/interlock
    must_exit 128 git cas-ref refs/x/a "$A" ''
    holds refs/x/a
}

@test "cas-ref: -v says which engine and who writes the ref" {
    every_variant verbose
}
verbose() {
    make_commits
    must git cas-ref -v refs/x/a "$A" ''
    case $VARIANT in
        native-*) assert_match "$stderr" 'engine: native.*written natively' ;;
        *) assert_match "$stderr" 'engine: git .forced.*by git: forced' ;;
    esac
    use_engine auto
    must git cas-ref -v refs/x/b "$A" ''
    assert_match "$stderr" 'written natively'
    must git cas-ref -v --delete refs/x/b "$A"
    assert_match "$stderr" 'by git: delete'
    git config core.fsync all
    must git cas-ref -v refs/x/b "$A" ''
    assert_match "$stderr" 'by git: core.fsync'
}

@test "cas-ref: a swap starts no process; a full id or the name of a ref is enough" {
    requires strace
    make_commits
    git update-ref refs/heads/topic "$B"
    must strace -f -o trace -e trace=execve,clone,clone3,fork,vfork git-cas-ref refs/heads/topic main topic
    assert_equal "$(grep -cE ' execve\(' trace)" 1 'programs'
    assert_equal "$(grep -cE ' (clone3?|v?fork)\(' trace)" 0 'processes and threads'
    holds refs/heads/topic "$A"
    must strace -f -o trace -e trace=execve,clone,clone3,fork,vfork git-cas-ref HEAD "$B" "$A"
    assert_equal "$(grep -cE ' (execve|clone3?|v?fork)\(' trace)" 1 'programs, processes and threads'
    holds refs/heads/main "$B"
}

@test "cas-ref: closed standard streams are no trouble" {
    both_engines closed_streams
}
closed_streams() {
    make_commits
    git-cas-ref refs/x/a "$A" '' <&- >&- 2>&-
    holds refs/x/a "$A"
    git-cas-ref refs/x/a "$B" "$A" 2>&-
    # The answer cannot be given.
    must_exit 128 sh -c 'exec git-cas-ref "$@" >&-' - refs/x/a "$C" "$A"
    holds refs/x/a "$B"
    no_debris
}

@test "F4: interlock.durability = full syncs the ref and its directory, by either way" {
    requires strace
    both_engines durable
}
durable() {
    make_commits
    git config interlock.durability full
    must strace -f -o trace -e trace=fsync,fdatasync,syncfs,rename,renameat git-cas-ref refs/x/a "$A" ''
    # One before the ref is in place, one after it.
    assert_match "$(grep -o 'fsync\|syncfs\|rename' trace | uniq | tr '\n' ' ')" \
        'fsync rename (fsync|syncfs) $'
    git config interlock.durability process
    must strace -f -o trace -e trace=fsync,fdatasync,syncfs git-cas-ref refs/x/b "$A" ''
    refute grep -q 'sync' trace
    git config interlock.durability some
    must_exit 129 git cas-ref refs/x/a "$B" "$A"
}

# ---- locks ------------------------------------------------------------------------------

@test "D18: somebody else's lock is waited for, named, and never broken: 75" {
    every_variant foreign_lock
}
foreign_lock() {
    make_commits
    local lock
    git update-ref refs/x/a "$A"
    for lock in refs/x/a refs/heads/main HEAD; do
        local ref=$lock
        [ "$lock" != HEAD ] || ref=refs/heads/main
        hold dotlock ".git/$lock"
        within 3000 must_exit 75 git cas-ref --timeout 300ms "$ref" "$B" "$A"
        assert_match "$stderr" "$lock.lock"
        assert_match "$stderr" 'for [0-9]+ s'
        assert_match "$stderr" 'pid [0-9]+ .hold'
        [ -e ".git/$lock.lock" ] || flunk "the lock was broken"
        unhold
        # Left behind by the dead: still not ours to break, however old.
        : >".git/$lock.lock"
        touch -d '1 hour ago' ".git/$lock.lock"
        must_exit 75 git cas-ref --timeout 300ms "$ref" "$B" "$A"
        assert_match "$stderr" "$lock.lock"
        [ -e ".git/$lock.lock" ] || flunk "the lock was broken"
        rm ".git/$lock.lock"
        holds "$ref" "$A"
        must git cas-ref "$ref" "$B" "$A"
        git update-ref "$ref" "$A"
    done
    no_debris
}

@test "cas-ref: a lock that goes away within the timeout is no trouble" {
    every_variant short_lock
}
short_lock() {
    make_commits
    git update-ref refs/x/a "$A"
    : >.git/refs/x/a.lock
    bg sh -c 'sleep 0.4; rm .git/refs/x/a.lock'
    must git cas-ref --timeout 10s refs/x/a "$B" "$A"
    holds refs/x/a "$B"
}

@test "cas-ref: the timeout is option, then environment, then config, then 10s" {
    both_engines timeouts
}
timeouts() {
    make_commits
    git update-ref refs/x/a "$A"
    : >.git/refs/x/a.lock
    git config interlock.lockTimeout 60s
    GIT_INTERLOCK_LOCK_TIMEOUT=30s within 4000 must_exit 75 \
        git cas-ref --timeout 0 refs/x/a "$B" "$A"
    export GIT_INTERLOCK_LOCK_TIMEOUT=200ms
    within 4000 must_exit 75 git cas-ref refs/x/a "$B" "$A"
    unset GIT_INTERLOCK_LOCK_TIMEOUT
    git config interlock.lockTimeout 100ms
    within 4000 must_exit 75 git cas-ref refs/x/a "$B" "$A"
    git config interlock.lockTimeout soon
    must_exit 129 git cas-ref refs/x/a "$B" "$A"
    assert_match "$stderr" 'interlock.locktimeout'
    git config interlock.lockTimeout 1s
    GIT_INTERLOCK_LOCK_TIMEOUT=1x must_exit 129 git cas-ref refs/x/a "$B" "$A"
    assert_match "$stderr" GIT_INTERLOCK_LOCK_TIMEOUT
    must_exit 129 git cas-ref --timeout -5 refs/x/a "$B" "$A"
    assert_match "$stderr" '--timeout'
}

@test "cas-ref: the per-ref lock held by another of us is named: 75" {
    every_variant held_flock
}
held_flock() {
    make_commits
    must git cas-ref refs/x/a "$A" ''
    hold flock .git/interlock/locks/ref-refs%2Fx%2Fa
    within 3000 must_exit 75 git cas-ref --timeout 200ms refs/x/a "$B" "$A"
    assert_match "$stderr" 'ref-refs%2Fx%2Fa'
    assert_match "$stderr" 'pid [0-9]+ .hold'
    # Another ref is another lock.
    must git cas-ref --timeout 200ms refs/x/b "$B" ''
    unhold
    must git cas-ref refs/x/a "$B" "$A"
}

# Kills a native swap just before each of the calls that end it.
@test "D18: what a killed swap of ours left is healed by the next, at once" {
    requires strace
    make_commits
    git update-ref refs/x/a "$A"
    local call ref
    for ref in refs/x/a refs/heads/main; do
        for call in linkat:1 renameat:1 unlinkat:1 unlink:1; do
            # unlink is only called for HEAD.lock.
            [ "$ref $call" != 'refs/x/a unlink:1' ] || continue
            git update-ref "$ref" "$A"
            try strace -f -o trace -e trace="${call%:*}" \
                -e inject="${call%:*}:signal=KILL:when=${call#*:}" git-cas-ref "$ref" "$B" "$A"
            assert_equal "$status" 137 "$call in the swap of $ref"
            [ -n "$(find .git/interlock -name '*.intent')" ] || flunk "nothing was left at $call"
            local now
            now=$(git rev-parse "$ref")
            within 1000 must git cas-ref "$ref" "$C" "$now"
            holds "$ref" "$C"
            no_debris
        done
    done
}

@test "D18: HEAD.lock that a swap killed in another worktree left stands in nobody's way" {
    requires strace
    make_commits
    git worktree add -q -b topic ../linked "$A"
    (
        cd ../linked || exit
        try strace -f -o trace -e inject=renameat:signal=KILL:when=1 \
            git-cas-ref refs/heads/topic "$B" "$A"
        assert_equal "$status" 137
        [ -e "$(git rev-parse --git-dir)/HEAD.lock" ]
    )
    # Of another ref in that worktree: HEAD.lock is in the way, and the proof is in topic's intent.
    git -C ../linked symbolic-ref HEAD refs/heads/elsewhere 2>/dev/null || :
    (cd ../linked && within 1000 must git cas-ref HEAD "$B" "$A")
    no_debris
    holds refs/heads/topic "$B"
}

@test "D18: packed-refs.lock of a killed delete, which no later swap meets, goes with expire or reap" {
    requires strace
    make_commits
    local how
    for how in 'git-shadow-commit expire --keep 1' git-worktree-reap; do
        git update-ref refs/x/a "$A"
        # git's last unlink: the ref is gone, and its lock.
        try strace -f -o trace -e trace=unlink -e inject=unlink:signal=KILL:when=4 \
            git-cas-ref --delete refs/x/a "$A"
        [ -e .git/packed-refs.lock ]
        must git-cas-ref refs/x/a "$B" ''
        [ -e .git/packed-refs.lock ]
        [ "$how" != git-worktree-reap ] || sleep 1.1 # it does not wait until that is old enough
        must $how
        no_debris
        git pack-refs --all
        git update-ref -d refs/x/a
    done
}

@test "D18: the lock of a killed swap whose ref no later run names goes with expire or reap" {
    requires strace
    make_commits
    local how ref long
    long=$(printf 'n%.0s' {1..200})
    for how in 'git-shadow-commit expire --keep 1' git-worktree-reap; do
        for ref in refs/x/once "refs/x/$long"; do
            try strace -f -o trace -e inject=renameat:signal=KILL:when=1 git-cas-ref "$ref" "$A" ''
            assert_equal "$status" 137
            [ -e ".git/$ref.lock" ]
            must $how
            no_debris
            assert_equal "$(ls .git/interlock/locks | grep -c intent)" 0 'intents left'
            refute git rev-parse -q --verify "$ref"
        done
        # One that is at work is left alone.
        strace -f -o trace -e inject=renameat:delay_enter=3s git-cas-ref refs/x/busy "$A" '' 3>&- &
        until [ -e .git/refs/x/busy.lock ]; do sleep 0.01; done
        must $how
        [ -e .git/refs/x/busy.lock ] || flunk "$how took the lock of one that is at work"
        wait $!
        holds refs/x/busy "$A"
        git update-ref -d refs/x/busy
    done
}

@test "D18: git that was killed under us leaves locks that are healed within seconds" {
    requires ptrace
    use_engine git
    make_commits
    git update-ref refs/x/a "$A"
    git pack-refs --all
    git update-ref refs/x/b "$A"
    killed_git_heals refs/x/b.lock refs/x/b git-cas-ref refs/x/b "$B" "$A"
    must git cas-ref refs/x/b "$B" "$A"
    killed_git_heals packed-refs.lock refs/x/a git-cas-ref --delete refs/x/a "$A"
    must git cas-ref --delete refs/x/a "$A"
    holds refs/x/a
    no_debris
}
@test "D18: the file with the pid beside such a lock (core.lockfilePid) goes with it" {
    requires ptrace git-2.54
    use_engine git
    make_commits
    git config core.lockfilePid true
    git update-ref refs/x/a "$A"
    git update-ref refs/x/b "$A"
    killed_git_heals refs/x/b~pid.lock refs/x/b git-cas-ref refs/x/b "$B" "$A"
    no_debris
}
killed_git_heals() { # <lock> <ref> <command>...
    local lock=$1 ref=$2 n last
    shift 2
    "$HELPER/killat" -c -o count -- "$@" || :
    git update-ref refs/x/b "$A"
    git update-ref refs/x/a "$A"
    last=$(awk '$1 == "calls" { print $2 }' count)
    # From the end: the lock is there in the last quarter of the calls.
    for ((n = last; n > 0; n--)); do
        "$HELPER/killat" -n "$n" -o where -- "$@" || :
        if [ -e ".git/$lock" ] && [ -n "$(git for-each-ref "$ref")" ]; then break; fi
        rm -f .git/refs/x/*.lock .git/packed-refs.* .git/interlock/git/*
        git update-ref refs/x/b "$A"
        git update-ref refs/x/a "$A"
    done
    [ "$n" -gt 0 ] || flunk "$lock was never left behind"
    within 5000 must "$@"
    assert_absent ".git/$lock"
    git update-ref refs/x/b "$A"
    git update-ref refs/x/a "$A"
}

@test "F1: a native swap killed at every system call is done or undone, and the next one works" {
    requires ptrace
    make_commits
    git update-ref refs/heads/topic "$A"
    local ref n last now fired=0
    for ref in refs/heads/topic refs/heads/main; do
        # The first one makes the reflog, and takes other calls for it.
        git cas-ref "$ref" "$C" "$(git rev-parse "$ref")"
        git update-ref "$ref" "$A"
        "$HELPER/killat" -c -o count -- git-cas-ref "$ref" "$B" "$A"
        last=$(awk '$1 == "calls" { print $2 }' count)
        assert_at_least "$last" 60
        for ((n = 1; ; n++)); do
            git update-ref "$ref" "$A"
            "$HELPER/killat" -n "$n" -o where -- git-cas-ref "$ref" "$B" "$A" || :
            # A run may have a call more or less: memory, and the time that has passed.
            if grep -q 'fired no' where; then
                assert_at_least "$n" $((last - last / 20))
                break
            fi
            fired=$((fired + 1))
            now=$(git rev-parse "$ref")
            [ "$now" = "$A" ] || [ "$now" = "$B" ] || flunk "$ref holds $now after call $n"
            git cas-ref --timeout 2s "$ref" "$C" "$now" || flunk "call $n of the swap of $ref"
            assert_equal "$(debris)" "" "debris after call $n of the swap of $ref"
            git reflog exists "$ref"
        done
    done
    fsck
    echo "killed at $fired points"
}

@test "F2: a call that fails is a failure that is said, and nothing is half done" {
    requires strace
    make_commits
    git update-ref refs/heads/topic "$A"
    local call error
    for call in linkat renameat flock write newfstatat openat; do
        for error in EIO ENOSPC EMFILE EACCES EROFS; do
            local when=1
            [ "$call" != openat ] || when=12+
            git update-ref refs/heads/topic "$A"
            try strace -f -o trace -e inject="$call:error=$error:when=$when" \
                git-cas-ref refs/heads/topic "$B" "$A"
            case $status in
                0) holds refs/heads/topic "$B" ;;
                75 | 128) holds refs/heads/topic "$A" ;;
                *) flunk "$call $error: status $status" ;;
            esac
            assert_equal "$(find .git -name '*.lock')" ""
            git reflog exists refs/heads/topic
            refute grep -qv "^[0-9a-f]\{40,\} [0-9a-f]\{40,\} .*> [0-9]* " .git/logs/refs/heads/topic
        done
    done
}

@test "F3: on a full disk nothing is lost and nothing is left" {
    requires root
    both_engines full_disk
}
full_disk() {
    mkdir small
    mount -t tmpfs -o size=600k none small 3>&- || skip "requires root"
    MOUNTED="$MOUNTED $PWD/small"
    cd small || return
    make_commits
    git update-ref refs/x/a "$A"
    must git cas-ref refs/x/a "$B" "$A"
    dd if=/dev/zero of=fill bs=1k 2>/dev/null || :
    must_exit 128 git cas-ref refs/heads/main "$B" "$A"
    assert_match "$stderr" 'No space left'
    holds refs/heads/main "$A"
    assert_equal "$(debris)" ""
    assert_equal "$(git reflog main | wc -l)" 1
    rm fill
    must git cas-ref refs/heads/main "$B" "$A"
    cd ..
}
MOUNTED=
teardown() {
    tidy
    local place
    for place in $MOUNTED; do umount "$place"; done
}

# ---- hooks ---------------------------------------------------------------------------------

@test "cas-ref: the user's reference-transaction hook runs, once, and its veto is 128" {
    every_variant transaction_hook
}
transaction_hook() {
    make_commits
    cat >.git/hooks/reference-transaction <<-'HOOK'
	#!/bin/sh
	while read -r old new ref; do echo "$1 $old $new $ref" >>calls; done
	[ ! -e deny ] || [ "$1" != prepared ] || { echo "not on a friday" >&2; exit 1; }
	HOOK
    chmod +x .git/hooks/reference-transaction
    must git cas-ref refs/x/a "$A" ''
    assert_equal "$(grep -c "committed $Z $A refs/x/a" calls)" 1
    : >deny
    : >calls
    must_exit 128 git cas-ref refs/x/a "$B" "$A"
    assert_match "$stderr" "not on a friday"
    assert_equal "$(grep -c '^prepared' calls)" 1
    : >calls
    printf 'update refs/x/a %s %s\n' "$B" "$A" >in
    must_exit 128 git cas-ref --stdin <in
    assert_match "$stderr" "not on a friday"
    assert_equal "$(grep -c '^prepared' calls)" 1
    holds refs/x/a "$A"
    rm deny
    use_engine auto
    must git cas-ref -v refs/x/a "$B" "$A"
    assert_match "$stderr" 'by git: reference-transaction hook'
    no_debris
}

@test "D16: no editor, pager or prompt, whatever is configured" {
    every_variant no_prompt
}
no_prompt() {
    make_commits
    git config core.editor 'sh -c "touch editor"'
    git config core.pager 'sh -c "touch pager"'
    git config commit.gpgSign true
    git config gpg.program false
    GIT_EDITOR='touch editor2' must git cas-ref refs/x/a "$A" ''
    printf 'create refs/x/b %s\n' "$A" >in
    must git cas-ref --stdin <in
    assert_equal "$(ls editor* pager 2>/dev/null)" ""
}

# ---- --update --------------------------------------------------------------------------------

@test "cas-ref --update: the command's value, its status, and no change when it fails" {
    every_variant update
}
update() {
    make_commits
    must git cas-ref --update refs/x/a -- sh -c 'echo "old=$CAS_REF_OLD name=$CAS_REF_NAME" >&2; echo '"$A"
    assert_equal "$stderr" "old= name=refs/x/a"
    holds refs/x/a "$A"
    must git cas-ref --update refs/x/a -- sh -c '
        [ "$CAS_REF_OLD" = '"$A"' ] && git commit-tree -p "$CAS_REF_OLD" -m next "$CAS_REF_OLD^{tree}"'
    assert_equal "$(git rev-parse refs/x/a^)" "$A"
    local next
    next=$(git rev-parse refs/x/a)
    must_exit 7 git cas-ref --update refs/x/a -- sh -c "echo $B; exit 7"
    must_exit 143 git cas-ref --update refs/x/a -- sh -c 'kill -TERM $$'
    must_exit 128 git cas-ref --update refs/x/a -- true
    assert_match "$stderr" "no new value"
    must_exit 128 git cas-ref --update refs/x/a -- echo
    must_exit 128 git cas-ref --update refs/x/a -- echo 0
    must_exit 128 git cas-ref --update refs/x/a -- echo nonsense
    must_exit 128 git cas-ref --update refs/x/a -- ./no-such-command
    must_exit 77 git cas-ref -E 77 --update refs/x/a -- true
    must_exit 129 git cas-ref -E 256 --update refs/x/a -- true
    holds refs/x/a "$next"
    # The same value: done, and nothing is written.
    local before
    before=$(stat -c %i .git/refs/x/a)
    must git cas-ref --update refs/x/a -- sh -c 'echo $CAS_REF_OLD'
    assert_equal "$(stat -c %i .git/refs/x/a)" "$before"
    must git cas-ref --update refs/x/a -- echo "main^{commit}"
    holds refs/x/a "$A"
    # Its standard input is ours, only the first line counts.
    printf '%s\nmore\n' "$B" >in
    must git cas-ref --update refs/x/a -- cat <in
    holds refs/x/a "$B"
    must git cas-ref --update HEAD -- echo "$C"
    holds refs/heads/main "$C"
    no_debris
}

@test "D4: each try of --update starts from a fresh read; a lost race runs the command again" {
    every_variant fresh_read
}
fresh_read() {
    make_commits
    git update-ref refs/x/a "$A"
    # The first two runs lose to somebody outside.
    cat >step <<-STEP
	#!/bin/sh
	echo "\$CAS_REF_OLD" >>seen
	case \$(grep -c . seen) in
	1) git update-ref refs/x/a $B ;;
	2) git update-ref refs/x/a $C ;;
	esac
	git commit-tree -p "\$CAS_REF_OLD" -m mine "\$CAS_REF_OLD^{tree}"
	STEP
    chmod +x step
    must git cas-ref -v --update refs/x/a -- ./step
    assert_equal "$(cat seen)" "$A"$'\n'"$B"$'\n'"$C"
    assert_equal "$(git rev-parse refs/x/a^)" "$C"
    assert_match "$stderr" 'try 2 was lost'
}

@test "D5: tries are bounded, and running out is 75" {
    every_variant bounded
}
bounded() {
    make_commits
    git update-ref refs/x/a "$A"
    cat >step <<-'STEP'
	#!/bin/sh
	echo >>runs
	git update-ref refs/x/a "$(git commit-tree -p "$CAS_REF_OLD" -m theirs "$CAS_REF_OLD^{tree}")"
	git commit-tree -p "$CAS_REF_OLD" -m mine "$CAS_REF_OLD^{tree}"
	STEP
    chmod +x step
    must_exit 75 git cas-ref --tries 4 --update refs/x/a -- ./step
    assert_equal "$(wc -l <runs)" 4
    assert_match "$stderr" 'each of 4 tries'
    assert_equal "$(git log --format=%s refs/x/a | grep -c theirs)" 4
    rm runs
    must_exit 75 git cas-ref --update refs/x/a -- ./step
    assert_equal "$(wc -l <runs)" 16
}

# Everybody adds a line with his name to what was there.
@test "D3: 16 processes × 8 read-modify-writes, with git update-ref beside: none lost" {
    every_variant counters
}
counters() {
    make_commits
    git update-ref refs/x/n "$A"
    cat >step <<-'STEP'
	#!/bin/sh
	git commit-tree -p "$CAS_REF_OLD" -m "$1" "$CAS_REF_OLD^{tree}"
	STEP
    chmod +x step
    cat >worker <<-'WORKER'
	#!/bin/sh
	for k in 1 2 3 4 5 6 7 8; do
	    git cas-ref -v --timeout 120s --update refs/x/n -- ./step "$1-$k" 2>>"err.$1" || echo "$1-$k: $?" >>failed
	done
	WORKER
    chmod +x worker
    local n pids=()
    for n in {1..16}; do
        "$HELPER/barrier" meet 16 ./worker "$n" 3>&- &
        pids+=($!)
    done
    # git's own swap, from outside, between their reads and writes.
    local outside=0 old new
    for n in {1..10}; do
        old=$(git rev-parse refs/x/n)
        new=$(git commit-tree -p "$old" -m outside "$old^{tree}")
        if git update-ref refs/x/n "$new" "$old" 2>/dev/null; then outside=$((outside + 1)); fi
    done
    wait "${pids[@]}"
    assert_absent failed
    assert_equal "$(git log --format=%s refs/x/n | grep -c -- -)" 128
    assert_equal "$(git log --format=%s refs/x/n | grep -- - | sort -u | wc -l)" 128
    assert_equal "$(git log --format=%s refs/x/n | grep -c outside || :)" "$outside"
    # No race, no test.
    assert_at_least "$(cat err.* | grep -c 'was lost')" 1 "lost tries"
    echo "$(cat err.* | grep -c 'was lost') tries lost, $outside swaps from outside"
    fsck
}

@test "D3: the naive twin, read and blind write, loses updates in the same race" {
    make_commits
    git update-ref refs/x/n "$A"
    cat >worker <<-'WORKER'
	#!/bin/sh
	for k in 1 2 3 4; do
	    old=$(git rev-parse refs/x/n)
	    git update-ref refs/x/n "$(git commit-tree -p "$old" -m "$1-$k" "$old^{tree}")" 2>/dev/null
	done
	WORKER
    chmod +x worker
    local n pids=()
    for n in {1..8}; do
        "$HELPER/barrier" meet 8 ./worker "$n" 3>&- &
        pids+=($!)
    done
    wait "${pids[@]}"
    n=$(git log --format=%s refs/x/n | grep -c -- -)
    echo "naive: $n of 32"
    assert_at_most "$n" 31
}

@test "cas-ref: of 8 that create one ref one gets it, and the others are told what it holds" {
    every_variant election
}
election() {
    make_commits
    local n pids=() round
    for round in 1 2 3; do
        for n in {1..8}; do
            # shellcheck disable=SC2016
            "$HELPER/barrier" "meet$round" 8 sh -c '
                git cas-ref -q --timeout 60s refs/x/'"$round"' '"$A"' "" >"out.$1"; echo $? >"status.$1"' - "$n" 3>&- &
            pids+=($!)
        done
        wait "${pids[@]}"
        pids=()
        assert_equal "$(cat status.* | sort | uniq -c | tr -s ' \n' ' ')" " 1 0 7 1 "
        assert_equal "$(cat out.* | sort -u)" "$A"
    done
}

@test "cas-ref --update: the command does not inherit the lock, and holds nobody up on its first try" {
    every_variant not_inherited
}
not_inherited() {
    make_commits
    git update-ref refs/x/a "$A"
    # A background child of the command lives on; the ref is free at once.
    must git cas-ref --update refs/x/a -- sh -c "sleep 5 >/dev/null 2>&1 3>&- & echo $B"
    within 2000 must git cas-ref --timeout 1s refs/x/a "$C" "$B"
    # While a command runs for the first time, others swap.
    must_exit 0 git cas-ref --update refs/x/a -- sh -c "
        [ \$CAS_REF_OLD != $C ] || git cas-ref --timeout 1s refs/x/a $A $C || exit 9
        echo $B"
    holds refs/x/a "$B"
}

@test "cas-ref --update: who waits for a slow command is told who holds the lock" {
    both_engines slow_command
}
slow_command() {
    make_commits
    git update-ref refs/x/a "$A"
    mkfifo go
    cat >step <<-STEP
	#!/bin/sh
	if [ "\$CAS_REF_OLD" = $A ]; then git update-ref refs/x/a $B; else : >second; read x <go; fi
	echo $C
	STEP
    chmod +x step
    bg git cas-ref --update refs/x/a -- ./step
    await 10 test -e second
    within 3000 must_exit 75 git cas-ref --timeout 200ms refs/x/a "$A" "$B"
    assert_match "$stderr" 'pid [0-9]+ .git-cas-ref'
    echo >go
    wait "${BG_PIDS[@]}"
    holds refs/x/a "$C"
}
