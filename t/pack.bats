#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# Packs: a writer and merger that is killed, or whose system calls fail, at each
# of its calls. The rest is in t/unit/test-pack.c.

load helpers

SAVES=$B/t/unit/test-pack

# The first takes every fourth call and the others every twelfth; PACK_STEP=1 takes all, as
# make check-stress does. KILL_SEED is where to begin.
STEP=${PACK_STEP:-12} FINE=${PACK_STEP:-4}

# A repository with seven saves: the first of the next ones starts a merge, and a
# multi-pack-index names what is merged.
seven_saves() {
    make_repo --empty seven
    must "$SAVES" saves 0 7
    git multi-pack-index write
    printf '%s\n' "${lines[@]}" >before
    must "$HELPER/killat" -c -o ../start -- "$SAVES" saves 0 0
    cp -r ../seven ../all
    cd ../all || return
    must "$HELPER/killat" -c -o ../all-calls -- "$SAVES" saves 8 2
    cd ..
    first=$(sed -n 's/^calls //p' start)
    last=$(sed -n 's/^calls //p' all-calls)
    assert_at_least $((last - first)) 100 'system calls'
}

# Everything that was acknowledged is there, in whole.
check_acknowledged() {
    # shellcheck disable=SC2046 # one word an id
    git fsck --strict --full --no-dangling $(cat before acked)
}

# A fresh copy, the command, and what it acknowledged. Like check_clean it is
# called plainly, never before "||": else set -e would not end it.
round() { # <command>...
    rm -rf now
    cp -r seven now
    cd now || return
    result=0
    "$@" >acked 2>err || result=$?
    cat err
    check_acknowledged
    cd ..
}

# The next run cleans up unaided, and nothing is left of the killed one.
check_clean() {
    cd now || return
    must "$SAVES" saves 20 1
    # Whole packs only: each has its three files.
    assert_equal "$(find .git/objects/pack -type f -name '*.*' | sed 's/.*[.]//' |
        sort | uniq -c | awk '{ print $1 }' | uniq | wc -l)" 1
    assert_equal "$(find .git/objects/pack -name '.tmp*')" ''
    check_acknowledged
    cd ..
}

# Where to begin, of <step> calls.
offset() { # <step>
    local seed=${KILL_SEED:-$((RANDOM + 1))}
    echo "KILL_SEED=$seed" >&2
    echo $((seed % $1))
}

killed() { # <step>
    seven_saves
    local n
    for ((n = first + $(offset "$1"); n <= last; n += $1)); do
        echo "killed at call $n"
        round "$HELPER/killat" -n "$n" -o /dev/null -- "$SAVES" saves 8 2
        check_clean
    done
}

@test "F1: killed at each system call, a pack writer loses nothing and leaves nothing" {
    requires ptrace
    HASH=sha1 in_variant native sha1 killed "$FINE"
}

@test "F1: the same with SHA-256" {
    requires ptrace sha256
    HASH=sha256 in_variant git sha256 killed "$STEP"
}

@test "F1: the same where files cannot be unnamed" {
    requires ptrace
    TEST_PACK_NAMED=1 HASH=sha1 in_variant native sha1 killed "$STEP"
}

failing() { # <step> <errno>...
    seven_saves
    local n error step=$1
    shift
    for error; do
        for ((n = first + $(offset "$step"); n <= last; n += step)); do
            echo "$error at call $n"
            round "$HELPER/killat" -n "$n" --inject="$error" -o ../report -- "$SAVES" saves 8 2
            # Memory that runs out ends a program; a brk that fails is nothing the kernel does.
            if grep -Eq ' (brk|mmap)$' report; then continue; fi
            # It may be a call whose failure changes nothing; else it is said.
            assert_at_most "$result" 1 'exit status'
            [ "$result" = 0 ] || grep '^test-pack: .' now/err
            check_clean
        done
    done
}

@test "F2: no failing system call makes a false acknowledgement" {
    requires ptrace
    HASH=sha1 in_variant native sha1 failing "$STEP" ENOSPC EIO
}

@test "F2: the same where files cannot be unnamed" {
    requires ptrace
    TEST_PACK_NAMED=1 HASH=sha1 in_variant native sha1 failing "$STEP" ENOSPC EINTR
}

# An objects/pack on a file system without room: nothing is left there.
@test "F3: no room in the pack directory leaves nothing in it" {
    requires root
    make_repo --empty small
    mount -t tmpfs -o size=300k none .git/objects/pack || skip "requires root"
    run "$SAVES" saves 9 1
    assert_equal "$(find .git/objects/pack -type f)" ''
    assert_equal "$status" 1
    assert_match "$output" 'No space left on device'
    run "$SAVES" saves 1 2
    assert_equal "$status" 0
    git fsck --strict --full
    umount .git/objects/pack
}
