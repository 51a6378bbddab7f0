#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# What a save leaves for the next one, so that its work does not grow with the number
# of checkpoints: the note in interlock/tips, and the .keep files that are links.
#
# shellcheck disable=SC2030,SC2031,SC2164,SC2154 # run sets its variables in each test

load helpers

# Saves, and compares the tree with git's.
save_right() { # [<what>]
    local want
    want=$(git_tree)
    must git-shadow-commit save -q
    assert_equal "$(git rev-parse "$output^{tree}")" "$want" "tree ${1-}"
}

many_saves() { # <count>
    local n
    make_repo
    for ((n = 0; n < $1; n++)); do
        put src/main.c "save $n"
        must git-shadow-commit save -q
    done
}

find_note() {
    note=$(echo .git/interlock/tips/*)
    [ -f "$note" ] || flunk "no note"
    tip_pack=.git/objects/pack/$(sed -n '2s/^[0-9a-f]* \(pack-[0-9a-f]*\) .*/\1/p' "$note")
    [ -f "$tip_pack.pack" ] || flunk "the note names no pack: '$tip_pack'"
}

@test "the note: a save opens no pack, however many there are" {
    requires strace
    in_variant native sha1 opens_none
}
opens_none() {
    many_saves 12
    assert_at_least "$(find .git/objects/pack -name '*.idx' | wc -l)" 4 packs
    put src/main.c 'one more'
    strace -f -e trace=open,openat,openat2 -o ../trace git-shadow-commit save -q >../id
    assert_equal "$(grep -c 'pack-[0-9a-f]*\.\(idx\|pack\)"' ../trace)" 0 'packs opened'
    assert_equal "$(git rev-parse "$(cat ../id)^{tree}")" "$(git_tree)"
    # The same work without the note does open them: the trace would show it.
    rm .git/interlock/tips/*
    put src/main.c 'and another'
    strace -f -e trace=open,openat,openat2 -o ../trace git-shadow-commit save -q >../id
    assert_at_least "$(grep -c 'pack-[0-9a-f]*\.\(idx\|pack\)"' ../trace)" 2 'packs opened'
}

@test "the note: whatever stands in its place, what is saved is right" {
    every_variant damaged
}
damaged() {
    local how byte
    many_saves 3
    for how in none empty half garbage old symlink fifo folder zeros flipped; do
        find_note
        cp "$note" ../note
        rm "$note"
        case $how in
            none) ;;
            empty) : >"$note" ;;
            half) head -c 200 ../note >"$note" ;;
            garbage) head -c 3000 /dev/urandom >"$note" ;;
            old) printf 'interlock-tip 1\n%s\n' "$(git rev-parse HEAD)" >"$note" ;;
            symlink) cp ../note ../planted && ln -s "$PWD/../planted" "$note" ;;
            fifo) mkfifo "$note" ;;
            folder) mkdir "$note" ;;
            zeros) sed 's/[1-9a-f]/0/g' ../note >"$note" ;;
            flipped)
                cp ../note "$note"
                for ((byte = 150; byte < $(stat -c %s "$note"); byte += 7)); do
                    printf X | dd of="$note" bs=1 seek=$byte conv=notrunc status=none
                done
                ;;
        esac
        put src/main.c "after $how"
        save_right "after $how"
        [ "$how" != symlink ] || assert_file ../planted "$(cat ../note)"
        rm -rf "$note"
        put src/main.c "again after $how"
        save_right "again after $how"
    done
    fsck
}

@test "the note: trees of another chain or time are of no harm" {
    every_variant swapped
}
swapped() {
    many_saves 2
    find_note
    cp "$note" ../early
    put src/main.c two
    put new/file new
    git add -A && git commit -q -m two
    save_right
    git checkout -q -b other HEAD~1
    save_right
    cp ../early .git/interlock/tips/refs%2Fshadow%2Fmain%2Fb%2Fother
    put src/lib/util.c changed
    save_right
    cp ../early "$note"
    git checkout -q -f "$(git branch --format='%(refname:short)' | grep -v other)"
    put doc/guide.txt changed
    save_right
    fsck
}

@test "the note: a tip whose pack was lost is missed" {
    every_variant lost
}
lost() {
    many_saves 2
    find_note
    rm -f "$tip_pack".*
    put src/main.c more
    must_exit 1 git-shadow-commit save -q
}

@test "the note: a file that has another name is not written to" {
    in_variant native sha1 linked
}
linked() {
    many_saves 2
    find_note
    ln "$note" ../outside
    cp ../outside ../before
    put src/main.c more
    save_right
    cmp ../outside ../before
    refute cmp -s "$note" ../before
}

@test "D19: a corrupt ref goes on from the note" {
    every_variant corrupt
}
corrupt() {
    local ref tip
    many_saves 3
    tip=$output
    ref=$(git for-each-ref --format='%(refname)' refs/shadow)
    : >".git/$ref"
    put src/main.c more
    must git-shadow-commit save -q
    assert_equal "$(git rev-parse "$output^")" "$tip" parent
}

# ---- .keep ------------------------------------------------------------------------------

keeps() { find .git/objects/pack -name '*.keep' "$@"; }

@test "keep: all of a level are one file, and mean the same without it" {
    every_variant one_file
}
one_file() {
    many_saves 10
    assert_equal "$(keeps -printf '%i\n' | sort -u | wc -l)" \
        "$(find .git/interlock/keep -type f | wc -l)" 'inodes'
    assert_equal "$(cat .git/interlock/keep/0)" 'interlock 1 0'
    assert_at_most "$(keeps | wc -l)" 8 packs
    local n how
    for how in gone other longer; do
        case $how in
            gone) rm -r .git/interlock/keep ;;
            other) chmod u+w .git/interlock/keep/0 && echo 'interlock 1 x' >.git/interlock/keep/0 ;;
            longer) rm -f .git/interlock/keep/0 && echo 'mine, not yours' >.git/interlock/keep/0 ;;
        esac
        for ((n = 0; n < 9; n++)); do
            put src/main.c "$how $n"
            must git-shadow-commit save -q
        done
        for n in $(keeps); do [ -f "${n%.keep}.idx" ] || flunk "$n stands alone"; done
    done
    git gc -q --prune=now
    fsck
}

@test "keep: with durability = full each is a file of its own" {
    in_variant native sha1 own_files
}
own_files() {
    make_repo
    git config interlock.durability full
    put src/main.c 1
    save_right
    put src/main.c 2
    save_right
    assert_equal "$(keeps -links 1 | wc -l)" 2
}
