#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # bats sets these; scripts are quoted
#
# git cas-ref --stdin: the language of git update-ref --stdin without blind writes,
# batches that are all or nothing, conversations, and reftable.

load helpers

make_commits() {
    make_repo "$@"
    A=$(git rev-parse HEAD)
    B=$(git commit-tree -p "$A" -m b "$A^{tree}")
    C=$(git commit-tree -p "$B" -m c "$A^{tree}")
    Z=${A//[0-9a-f]/0}
}

holds() { # <ref> <id, or nothing when it must not exist>
    assert_equal "$(git for-each-ref --format='%(objectname)' "$1")" "${2-}" "$1"
}

# The commands are the arguments, one a line.
feed() { # <status> <line>...
    local status=$1
    shift
    printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/in"
    must_exit "$status" git cas-ref --stdin <"$BATS_TEST_TMPDIR/in"
}

# The fields are the arguments, each ended by NUL.
feed_z() { # <status> <field>...
    local status=$1
    shift
    printf '%s\0' "$@" >"$BATS_TEST_TMPDIR/in"
    must_exit "$status" git cas-ref -z --stdin <"$BATS_TEST_TMPDIR/in"
}

nothing_written() {
    assert_equal "$(git for-each-ref --format='%(refname)')" refs/heads/main
    assert_equal "$(debris)" ""
}

@test "cas-ref --stdin: create, update, delete and verify, all or nothing" {
    every_variant verbs
}
verbs() {
    make_commits
    feed 0 "create refs/x/a $A" "create refs/x/b $B" "update refs/x/c $C $Z" "verify refs/x/none" \
        "verify refs/heads/main $A"
    assert_equal "$output$stderr" ""
    holds refs/x/a "$A"
    holds refs/x/b "$B"
    holds refs/x/c "$C"
    feed 0 "update refs/x/a $B $A" "delete refs/x/b $B" "verify refs/x/c $C" "create refs/x/d $A"
    holds refs/x/a "$B"
    holds refs/x/b
    feed 1 "update refs/x/a $C $A" "delete refs/x/c $A" "create refs/x/d $B" "verify refs/x/none $A" \
        "create refs/x/e $A" "verify refs/heads/main $A"
    assert_equal "$(sort <<<"$output")" "refs/x/a $B
refs/x/c $C
refs/x/d $A
refs/x/none $Z"
    assert_match "$stderr" '4 of 6 refs'
    holds refs/x/e
    holds refs/x/a "$B"
    must git cas-ref --stdin </dev/null
    assert_equal "$(debris)" ""
    assert_equal "$(ls .git/interlock/git)" ""
}

@test "cas-ref --stdin: values are any revision expression" {
    every_variant expressions
}
expressions() {
    make_commits
    git update-ref refs/heads/topic "$C"
    feed 0 "create refs/x/a topic~1" 'update refs/heads/main "topic" HEAD' 'create refs/x/b ":/first"' \
        'update refs/x/c main ""' 'verify refs/x/none 0'
    holds refs/x/a "$B"
    holds refs/heads/main "$C"
    holds refs/x/b "$A"
    feed 128 "create refs/x/d nonsense"
    assert_match "$stderr" "refs/x/d.*nonsense"
    feed 128 "create refs/x/d ${A//[0-9]/7}"
    feed 128 "create refs/heads/d $(git rev-parse 'HEAD^{tree}')"
    holds refs/x/d
}

@test "cas-ref --stdin: an update or delete without an old value is refused: 129" {
    every_variant blind
}
blind() {
    make_commits
    git update-ref refs/x/a "$A"
    feed 129 "create refs/x/b $A" "update refs/x/a $B"
    assert_match "$stderr" "old value"
    feed 129 "create refs/x/b $A" "delete refs/x/a"
    assert_match "$stderr" "old value"
    feed_z 129 "update refs/x/a" "$B" ""
    feed_z 129 "delete refs/x/a" ""
    feed 129 "delete refs/x/a $Z"
    feed 129 "create refs/x/b $Z"
    feed 129 "symref-update refs/x/b refs/x/a"
    feed 129 "symref-delete refs/x/b"
    holds refs/x/a "$A"
    holds refs/x/b
}

@test "cas-ref --stdin: malformed input is 129, names the line, and changes nothing" {
    both_engines malformed
}
malformed() {
    make_commits
    local bad
    for bad in '' ' create refs/x/b X' 'nonsense' 'create' 'create ' 'create refs/x/b' "create refs/x/b  $A" \
        "create refs/x/b $A extra" $'create refs/x/b\t'"$A" "create \"refs/x/b $A" \
        'create "refs/x/\q" '"$A" "create \"refs/x/b\"x $A" 'create "refs/x/\000" '"$A" "create refs/x..y $A" "create b $A" \
        "create ../x $A" 'option' 'option nonsense' 'start now' 'commit ' "verify refs/x/b $A $B" \
        "createrefs/x/b $A" "CREATE refs/x/b $A" "symref-update refs/x/a refs/x/b what refs/x/c"; do
        feed 129 "create refs/x/first $A" "$bad"
        assert_match "$stderr" '^fatal: '
        nothing_written
    done
    printf 'create refs/x/a %s\n\0' "$A" >in
    must_exit 129 git cas-ref --stdin <in
    printf 'create refs/x/a\0%s\n' "$A" >in
    must_exit 129 git cas-ref --stdin <in
    printf 'create refs/x/a %s' "$A" >in
    must_exit 129 git cas-ref --stdin <in
    printf 'create refs/x/a\0%s' "$A" >in
    must_exit 129 git cas-ref -z --stdin <in
    printf 'create refs/x/a %s\n' "$A" >in
    must_exit 129 git cas-ref -z --stdin <in
    feed 129 "create refs/x/a $A" "create refs/x/a $A"
    assert_match "$stderr" "refs/x/a"
    head -c 100000 /dev/urandom >in
    must_exit 129 git cas-ref --stdin <in
    must_exit 129 git cas-ref -z --stdin <in
    nothing_written
}

@test "cas-ref --stdin: quoted names, and -z" {
    every_variant quoting
}
quoting() {
    make_commits
    feed 0 "create \"refs/x/a\\303\\244\" $A" 'create "refs/x/q\"" '"\"$A\""
    holds $'refs/x/a\303\244' "$A"
    holds 'refs/x/q"' "$A"
    feed_z 129 "verify refs/x/q\"" "$A" "delete refs/x/q\"" "$A"
    feed_z 0 "create refs/x/z\"q" "$A" "update refs/x/a"$'\303\244' "$B" "$A" \
        "verify refs/x/none" "" "delete refs/x/q\"" "$A"
    holds 'refs/x/z"q' "$A"
    holds $'refs/x/a\303\244' "$B"
    holds 'refs/x/q"'
    feed_z 1 "update refs/x/z\"q" "$C" "$B"
    assert_equal "$output" "refs/x/z\"q $A"
}

@test "cas-ref --stdin: option no-deref is for the next command" {
    every_variant no_deref
}
no_deref() {
    make_commits
    git update-ref refs/x/real "$A"
    git symbolic-ref refs/x/one refs/x/real
    git symbolic-ref refs/x/two refs/x/other
    git update-ref refs/x/other "$A"
    feed 0 "option no-deref" "update refs/x/one $B $A" "update refs/x/two $C $A"
    refute git symbolic-ref -q refs/x/one
    holds refs/x/one "$B"
    holds refs/x/real "$A"
    assert_equal "$(git symbolic-ref refs/x/two)" refs/x/other
    holds refs/x/other "$C"
    feed 0 "update HEAD $B $A"
    holds refs/heads/main "$B"
}

@test "cas-ref --stdin: answers, states and the end of input are git's" {
    every_variant states
}
states() {
    make_commits
    feed 0 start "create refs/x/a $A" prepare commit start "create refs/x/b $B" commit
    assert_equal "$output" "start: ok
prepare: ok
commit: ok
start: ok
commit: ok"
    feed 0 "create refs/x/c $A" start commit
    holds refs/x/c "$A"
    feed 0 start "create refs/x/d $A"
    holds refs/x/d
    feed 0 start "create refs/x/d $A" prepare
    holds refs/x/d
    feed 0 "create refs/x/d $A" prepare abort start "create refs/x/e $A" commit
    holds refs/x/d
    holds refs/x/e "$A"
    feed 129 start start
    feed 129 start commit "create refs/x/f $A"
    feed 129 "create refs/x/f $A" prepare "create refs/x/g $A"
    feed 129 abort commit
    feed_z 0 start "create refs/x/f" "$A" prepare commit
    assert_equal "$output" "start: ok
prepare: ok
commit: ok"
    holds refs/x/g
    # A first transaction stays when a second one is lost.
    feed 1 start "create refs/x/h $A" commit start "create refs/x/h $B" commit
    assert_match "$output" "refs/x/h $A"
    holds refs/x/h "$A"
    assert_equal "$(debris)" ""
}

@test "cas-ref --stdin: a conversation: answers come as they are due, prepared refs are locked" {
    every_variant conversation
}
conversation() {
    make_commits
    git update-ref refs/x/a "$A"
    mkfifo to from
    git cas-ref --stdin <to >from 3>&- &
    BG_PIDS+=($!)
    local line
    exec {to}>to {from}<from
    echo start >&"$to"
    read -r -t 20 line <&"$from"
    assert_equal "$line" "start: ok"
    echo "update refs/x/a $B $A" >&"$to"
    echo prepare >&"$to"
    read -r -t 20 line <&"$from"
    assert_equal "$line" "prepare: ok"
    holds refs/x/a "$A"
    must_exit 75 git cas-ref --timeout 200ms refs/x/a "$C" "$A"
    assert_match "$stderr" 'refs/x/a.lock'
    refute git update-ref refs/x/a "$C" "$A" 2>/dev/null
    echo commit >&"$to"
    read -r -t 20 line <&"$from"
    assert_equal "$line" "commit: ok"
    holds refs/x/a "$B"
    exec {to}>&-
    wait "${BG_PIDS[@]}"
    exec {from}<&-
    rm to from
    BG_PIDS=()
    assert_equal "$(debris)" ""
}

@test "D18: a batch waits for a lock that goes away, and names one that does not: 75" {
    every_variant batch_lock
}
batch_lock() {
    make_commits
    : >.git/refs/x.lock
    mkdir -p .git/refs/x
    : >.git/refs/x/b.lock
    printf 'create refs/x/a %s\ncreate refs/x/b %s\n' "$A" "$B" >in
    within 4000 must_exit 75 git cas-ref --timeout 300ms --stdin <in
    assert_match "$stderr" 'refs/x/b.lock'
    [ -e .git/refs/x/b.lock ]
    holds refs/x/a
    bg sh -c 'sleep 0.5; rm .git/refs/x/b.lock'
    must git cas-ref --stdin <in
    holds refs/x/a "$A"
    holds refs/x/b "$B"
    rm .git/refs/x.lock
    assert_equal "$(debris)" ""
}

@test "D10: a batch takes the per-ref lock of our own refs, and of no others" {
    every_variant own_refs
}
own_refs() {
    make_commits
    feed 0 "create refs/x/a $A" "create refs/shadow/main/b/x $A"
    assert_equal "$(ls .git/interlock/locks)" "ref-refs%2Fshadow%2Fmain%2Fb%2Fx"
    hold flock .git/interlock/locks/*
    printf 'update refs/shadow/main/b/x %s %s\n' "$B" "$A" >in
    must_exit 75 git cas-ref --timeout 200ms --stdin <in
    assert_match "$stderr" 'pid [0-9]+ .hold'
    unhold
    must git cas-ref --stdin <in
    # A lock of a killed swap of ours on it is healed here too.
    can strace || return 0
    use_engine auto
    try strace -f -o trace -e inject=renameat:signal=KILL:when=1 \
        git-cas-ref refs/shadow/main/b/x "$C" "$B"
    assert_equal "$status" 137
    printf 'update refs/shadow/main/b/x %s %s\n' "$A" "$B" >in
    must git cas-ref --timeout 2s --stdin <in
    try strace -f -o trace -e inject=renameat:signal=KILL:when=1 git-cas-ref refs/x/a "$C" "$A"
    assert_equal "$status" 137
    printf 'update refs/x/a %s %s\n' "$B" "$A" >in
    must git cas-ref --timeout 2s --stdin <in
    holds refs/x/a "$B"
}

@test "cas-ref --stdin: a directory conflict inside or outside the batch is 128, nothing is written" {
    every_variant conflicts
}
conflicts() {
    make_commits
    feed 128 "create refs/x/a $A" "create refs/x/a/b $B"
    nothing_written
    git update-ref refs/x/dir/below "$A"
    feed 128 "create refs/x/e $A" "create refs/x/dir $B"
    assert_match "$stderr" 'refs/x/dir'
    git pack-refs --all
    feed 128 "create refs/x/e $A" "create refs/x/dir $B"
    holds refs/x/e
}

@test "D3: 12 processes of batches over the same refs: every batch whole, none lost" {
    every_variant racing_batches
}
racing_batches() {
    make_commits
    git update-ref refs/x/one "$A"
    git update-ref refs/x/two "$A"
    # Both refs move together, or the batch is lost and tried again from a fresh read.
    cat >worker <<-'WORKER'
	#!/bin/bash
	for k in 1 2 3 4; do
	    for try in {1..400}; do
	        one=$(git rev-parse refs/x/one) two=$(git rev-parse refs/x/two)
	        new=$(git commit-tree -p "$one" -m "$1-$k" "$one^{tree}")
	        printf 'update refs/x/%s %s %s\n' one "$new" "$one" two "$new" "$two" |
	            git cas-ref -q --timeout 60s --stdin >/dev/null
	        case $? in 0) echo >>"done.$1"; break ;; 1) echo >>"lost.$1" ;; *) echo "$1-$k" >>failed ;; esac
	    done
	done
	WORKER
    chmod +x worker
    local n pids=()
    for n in {1..12}; do
        "$HELPER/barrier" meet 12 ./worker "$n" 3>&- &
        pids+=($!)
    done
    for n in {1..20}; do git pack-refs --all; done
    wait "${pids[@]}"
    assert_absent failed
    assert_equal "$(git rev-parse refs/x/one)" "$(git rev-parse refs/x/two)"
    assert_equal "$(git log --format=%s refs/x/one | grep -c -- -)" 48
    assert_at_least "$(cat lost.* | wc -l)" 1 "lost batches"
    echo "$(cat lost.* | wc -l) batches lost and tried again"
    fsck
    assert_equal "$(debris)" ""
}

@test "F1: a batch killed at any of its system calls: the next one works, and cleans up" {
    requires ptrace
    use_engine auto
    make_commits
    git update-ref refs/x/gone "$A"
    git pack-refs --all
    printf 'create refs/x/a %s\nupdate refs/heads/main %s %s\ndelete refs/x/gone %s\n' \
        "$A" "$B" "$A" "$A" >in
    "$HELPER/killat" -c -o count -- git-cas-ref --stdin <in
    local last n slow=0 ref now
    last=$(awk '$1 == "calls" { print $2 }' count)
    # A prime step: other points are met in check-stress.
    for ((n = ${FIRST:-3}; n <= last; n += ${STEP:-7})); do
        rm -rf .git/refs/x .git/interlock/git/*
        git update-ref refs/heads/main "$A"
        git update-ref refs/x/gone "$A"
        git pack-refs --all
        "$HELPER/killat" -n "$n" -o where -- git-cas-ref --stdin <in || :
        [ -z "$(find .git -name '*.lock')" ] || slow=$((slow + 1))
        : >next
        for ref in refs/x/a refs/heads/main refs/x/gone; do
            now=$(git rev-parse -q --verify "$ref") || now=$Z
            echo "update $ref $C $now" >>next
        done
        within 5000 must git cas-ref --stdin <next
        # A lock that was in nobody's way, and too young to judge, goes a second later.
        if [ -n "$(debris)" ]; then
            sleep 1
            must git cas-ref --stdin <<<"verify refs/x/a $C"
        fi
        assert_equal "$(debris)" "" "debris after call $n"
        holds refs/x/a "$C"
        holds refs/x/gone "$C"
        git update-ref -d refs/x/a
    done
    echo "$slow of the points left locks behind"
    fsck
}

@test "cas-ref --stdin: symref commands go to a git that knows them, with an old value" {
    every_variant symref_commands
}
symref_commands() {
    make_commits
    git update-ref refs/x/a "$A"
    git update-ref refs/x/b "$B"
    if ! version_at_least "$(git version | sed 's/^git version //')" 2.46; then
        feed 128 "symref-create refs/x/link refs/x/a"
        refute git symbolic-ref -q refs/x/link
        return 0
    fi
    feed 0 "symref-create refs/x/link refs/x/a"
    assert_equal "$(git symbolic-ref refs/x/link)" refs/x/a
    feed 0 "option no-deref" "symref-update refs/x/link refs/x/b ref refs/x/a" "create refs/x/c $A"
    assert_equal "$(git symbolic-ref refs/x/link)" refs/x/b
    feed 1 "option no-deref" "symref-update refs/x/link refs/x/a ref refs/x/a" "create refs/x/d $A"
    assert_equal "$output" "refs/x/link ref:refs/x/b"
    holds refs/x/d
    feed 0 "option no-deref" "symref-verify refs/x/link refs/x/b"
    feed_z 0 "option no-deref" "symref-delete refs/x/link" refs/x/b
    refute git symbolic-ref -q refs/x/link
}

@test "cas-ref: reftable repositories go through git" {
    requires reftable
    use_engine auto
    make_commits --ref-format reftable
    must git cas-ref -v refs/x/a "$A" ''
    assert_match "$stderr" 'by git: reftable'
    must git cas-ref refs/x/a "$B" "$A"
    must_exit 1 git cas-ref refs/x/a "$C" "$A"
    assert_equal "$output" "$B"
    must_exit 1 git cas-ref refs/x/none "$C" "$A"
    assert_equal "$output" "$Z"
    must git cas-ref HEAD "$B" "$A"
    holds refs/heads/main "$B"
    git symbolic-ref refs/x/link refs/x/a
    must git cas-ref refs/x/link "$C" "$B"
    holds refs/x/a "$C"
    must git cas-ref --delete refs/x/a "$C"
    must_exit 128 git cas-ref refs/heads/main/below "$A" ''
    must git cas-ref --update refs/x/n -- echo "$A"
    feed 0 "create refs/x/a $A" "update refs/x/n $B $A"
    feed 1 "create refs/x/a $B" "update refs/x/n $C $B" "create refs/x/z $A"
    assert_equal "$output" "refs/x/a $A"
    : >.git/reftable/tables.list.lock
    within 4000 must_exit 75 git cas-ref --timeout 300ms refs/x/a "$B" "$A"
    assert_match "$stderr" 'tables.list.lock'
    rm .git/reftable/tables.list.lock
    git worktree add -q --detach ../linked
    (cd ../linked && must git cas-ref refs/worktree/w "$A" '' && must_exit 1 git cas-ref refs/worktree/w "$B" "$C")
}

@test "D18: reftable: the locks of a git that was killed while it compacted are healed" {
    requires reftable ptrace
    use_engine auto
    make_commits --ref-format reftable
    git cas-ref refs/x/a "$A" ''
    local n last lock there='' gone=''
    cd ..
    cp -a repo template
    (cd repo && "$HELPER/killat" -o ../count -- git-cas-ref refs/x/a "$B" "$A")
    last=$(awk '$1 == "calls" { print $2 }' count)
    # From the end: a table is locked, read and written anew, removed, unlocked.
    for ((n = last; n > 0; n--)); do
        rm -rf repo
        cp -a template repo
        cd repo
        "$HELPER/killat" -n "$n" -o ../where -- git-cas-ref refs/x/a "$B" "$A" || :
        for lock in .git/reftable/*.ref.lock; do
            [ -e "$lock" ] || continue
            if [ -e "${lock%.lock}" ]; then there=$n; else gone=$n; fi
        done
        if [ "$n" = "$there" ] || [ "$n" = "$gone" ]; then
            must git-cas-ref --timeout 5s refs/x/a "$C" "$(git rev-parse refs/x/a)"
            assert_equal "$(find .git -name '*.lock' ! -path '*/interlock/*')" '' "left after call $n"
            git pack-refs --all
        fi
        cd ..
        if [ -n "$there" ] && [ -n "$gone" ]; then return; fi
    done
    flunk "no table's lock was left behind with its table ($there) and without ($gone)"
}
