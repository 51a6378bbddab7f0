#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git shadow-commit expire: H4, D10.
#
# shellcheck disable=SC1010,SC2030,SC2031,SC2103,SC2164,SC2154 # run sets its variables in each test

load helpers

# A chain of n checkpoints, two in a segment, each with a file of 20 kB of its own.
make_chain() { # <n>
    git config interlock.segmentMax 2
    local n
    for n in $(seq "$1"); do
        random_file big "$n"
        must git-shadow-commit save -m "cp$n"
    done
}
random_file() { # <name> <seed>: the same bytes for the same seed
    perl -e 'srand unpack "%31C*", $ARGV[0] x 7; print pack "L*", map { int rand 2**32 } 1 .. 5000' "$2" >"$1"
}
# expire leaves packs that git has used within the hour.
age_packs() { find .git/objects/pack -type f -exec touch -d '3 hours ago' {} +; }
everything() {
    git for-each-ref
    find .git -type f ! -name ledger | sort
}
disk() { du -sb .git/objects | cut -f1; }
expire() { must git-shadow-commit expire "$@"; }
assert_log() { # <subjects>
    must git-shadow-commit log --format=%s
    # shellcheck disable=SC2154
    assert_equal "$(tr '\n' ' ' <<<"$output" | sed 's/ *$//')" "$1" log
    must git-shadow-commit log --json
    assert_equal "$(json message <<<"$output" | tr '\n' ' ' | sed 's/ *$//')" "$1" 'log --json'
}

@test "H4: --keep drops whole old segments, and their bytes; ids that stay do not change" {
    every_variant keep
}
keep() {
    make_repo
    make_chain 9
    local ids before after
    ids=$(git-shadow-commit log --format=%H -5)
    age_packs
    before=$(disk)
    expire --keep 4
    assert_match "$output" 'done refs/shadow-old/main/b/main/000002: 2 checkpoints'
    assert_no_match "$output" '000003'
    after=$(disk)
    assert_at_most "$after" $((before - 60000)) 'bytes of objects'
    assert_equal "$(sed -n 's/^freed \([0-9]*\) bytes$/\1/p' <<<"$output")" $((before - after)) 'bytes freed'
    assert_log 'cp9 cp8 cp7 cp6 cp5'
    assert_equal "$(git-shadow-commit log --format=%H)" "$ids"
    must_exit 1 git-shadow-commit show '@{5}'
    must git-shadow-commit show --stat '@{4}'
    must git-shadow-commit restore '@{4}'
    random_file ../want 5
    cmp big ../want
    fsck
    assert_equal "$(debris)" ''
    # and it goes on
    put more more
    must git-shadow-commit save -m more
    fsck
}

@test "H4: naively, without the pins, gc gives nothing back: our packs are kept ones" {
    make_repo
    make_chain 9
    git for-each-ref --format='delete %(refname)' refs/shadow-old | git update-ref --stdin
    age_packs
    git gc -q --prune=now
    local n
    for n in 1 2 3 4 5 6 7 8 9; do
        random_file ../check "$n"
        git cat-file -e "$(git hash-object ../check)"
    done
}

@test "H4: packs used within the hour are left, and the next expire finishes" {
    both_engines grace
}
grace() {
    make_repo
    make_chain 9
    local before
    before=$(disk)
    expire --keep 1
    assert_match "$stderr" 'within the last hour'
    # the history is short at once, although the objects are there
    assert_log 'cp9'
    must_exit 1 git-shadow-commit show '@{1}'
    assert_at_least "$(disk)" "$before" 'bytes of objects'
    age_packs
    expire --keep 1
    assert_at_most "$(disk)" $((before - 100000)) 'bytes of objects'
    fsck
}

@test "H4: --older-than, alone and with --keep" {
    both_engines older
}
older() {
    make_repo
    git config interlock.segmentMax 2
    local n
    for n in 1 2 3 4 5 6 7; do
        put f "$n"
        GIT_COMMITTER_DATE="2026-01-0${n}T12:00:00Z" must git-shadow-commit save -m "cp$n"
    done
    expire --older-than 2026-01-01 --dry-run
    assert_equal "$output" ''
    expire --older-than 2026-01-03T00:00:00Z --keep 6
    assert_log 'cp7 cp6 cp5 cp4 cp3 cp2 cp1'
    expire --older-than 2026-01-03T00:00:00Z --keep 5
    assert_log 'cp7 cp6 cp5 cp4 cp3'
    expire --older-than never
    assert_log 'cp7 cp6 cp5 cp4 cp3'
    expire --older-than '2026-01-04 11:00:00 +0000'
    assert_log 'cp7 cp6 cp5 cp4 cp3'
    # the present segment is never dropped
    expire --older-than 0
    assert_log 'cp7'
    expire --older-than now --keep 0
    assert_log 'cp7'
}

@test "H4: --dry-run prints what the real run drops, and changes nothing" {
    both_engines dry
}
dry() {
    make_repo
    make_chain 6
    local before plan
    before=$(everything)
    expire --keep 2 --dry-run --json
    plan=$output
    assert_equal "$(json v ref checkpoints action result <<<"$plan" | tr '\n' ' ')" \
        '1 refs/shadow-old/main/b/main/000001 2 drop planned 1 refs/shadow-old/main/b/main/000002 2 drop planned '
    assert_equal "$(everything)" "$before"
    expire --keep 2 --json
    assert_equal "$(head -n 2 <<<"$output")" "${plan//planned/done}"
    assert_equal "$(json v freed <<<"$(tail -n 1 <<<"$output")")" $'1\n0'
}

@test "H4: each chain by itself, or one with --ref; chains that are gone, too" {
    both_engines chains
}
chains() {
    make_repo
    make_chain 5
    git checkout -q -b topic
    make_chain 5
    expire --keep 1 --ref main/b/main --dry-run
    assert_equal "$(wc -l <<<"$output")" 2
    assert_no_match "$output" topic
    expire --keep 1 --ref refs/shadow/main/b/main
    assert_log 'cp5 cp4 cp3 cp2 cp1'
    git update-ref -d refs/shadow/main/b/topic
    expire --keep 2
    assert_equal "$(git for-each-ref --format='%(refname)' refs/shadow-old)" \
        refs/shadow-old/main/b/topic/000002
    expire --keep 0
    assert_equal "$(git for-each-ref refs/shadow-old)" ''
}

@test "H4: bad usage drops nothing" {
    both_engines usage
}
usage() {
    make_repo
    make_chain 5
    must_exit 129 git-shadow-commit expire
    must_exit 129 git-shadow-commit expire --keep -1
    must_exit 129 git-shadow-commit expire --keep few
    must_exit 129 git-shadow-commit expire --older-than soon
    must_exit 129 git-shadow-commit expire --older-than ''
    must_exit 129 git-shadow-commit expire --older-than '2 fortnights'
    must_exit 129 git-shadow-commit expire --keep 1 --ref refs/heads/main
    must_exit 129 git-shadow-commit expire --keep 1 main
    assert_log 'cp5 cp4 cp3 cp2 cp1'
}

# ---- what must stay ----------------------------------------------------------------------

@test "H4: what anything else reaches stays: branches, indexes, stashes, worktrees, what git is in the middle of" {
    every_variant reached
}
# git writes no second copy of what it finds in our packs, so all of these hang on them.
reached() {
    make_repo
    git config interlock.segmentMax 2
    git worktree add -q --detach ../linked
    local name
    for name in committed staged stashed tagged there_staged there_committed merge bisect reflogged lost; do
        random_file "$name" "$name"
        must git-shadow-commit save
    done
    local saved=$PWD
    store() { git hash-object -w "$saved/$1"; }
    git add committed
    git commit -q -m committed
    cp stashed README
    git stash -q
    git add reflogged
    git commit -q -m 'thrown away'
    git reset -q HEAD^
    rm -f .git/ORIG_HEAD
    git add staged
    git tag blob "$(store tagged)"
    cd ../linked
    git commit -q --allow-empty -m detached
    git update-ref --no-deref HEAD "$(git commit-tree -p HEAD -m there \
        "$(printf '100644 blob %s\tx\n' "$(store there_committed)" | git mktree)")"
    git update-index --add --cacheinfo "100644,$(store there_staged),x"
    git update-ref refs/bisect/bad "$(git commit-tree -m bisect \
        "$(printf '100644 blob %s\tx\n' "$(store bisect)" | git mktree)")"
    cd "$saved"
    git commit-tree -m merge "$(printf '100644 blob %s\tx\n' "$(store merge)" | git mktree)" >.git/MERGE_HEAD
    # forget the checkpoints that had all this
    rm -f committed staged stashed tagged there_staged there_committed merge bisect reflogged lost
    git checkout -q HEAD -- committed
    put end 1
    must git-shadow-commit save
    put end 2
    must git-shadow-commit save
    put end 3
    must git-shadow-commit save
    age_packs
    expire --keep 1
    assert_match "$output" 'freed [1-9]'
    fsck
    local id
    for name in committed staged stashed tagged there_staged there_committed merge bisect reflogged; do
        random_file ../check "$name"
        id=$(git hash-object ../check)
        git cat-file -e "$id" || flunk "the blob of '$name' is gone"
    done
    random_file ../check lost
    refute git cat-file -e "$(git hash-object ../check)"
    git -C ../linked fsck --strict --no-dangling
}

@test "H4: a replaced object and its replacement stay" {
    make_repo
    make_chain 5
    random_file one 77
    must git-shadow-commit save
    git add one
    git commit -q -m one
    git rm -q one
    git commit -q -m 'without'
    git replace --graft HEAD
    git reflog expire --expire=now --all
    must git-shadow-commit save
    put more 1
    must git-shadow-commit save
    put more 2
    must git-shadow-commit save
    age_packs
    expire --keep 1
    git replace -d HEAD
    fsck
    random_file ../check 77
    git cat-file -e "$(git hash-object ../check)"
}

@test "H4: a commit-graph that lists what went is written anew" {
    both_engines graph
}
graph() {
    make_repo
    make_chain 7
    git commit-graph write --reachable --split
    age_packs
    expire --keep 1
    fsck
    git commit-graph verify
}

@test "H4: in a repository with a missing object nothing is dropped" {
    make_repo
    make_chain 7
    local blob before
    blob=$(git rev-parse HEAD:doc/guide.txt)
    git commit -q --allow-empty -m more
    rm -f ".git/objects/$(git rev-parse "HEAD^^{tree}" | sed 's,^..,&/,')"
    age_packs
    before=$(disk)
    must_exit 128 git-shadow-commit expire --keep 1
    assert_match "$stderr" 'no object was dropped'
    assert_equal "$(disk)" "$before"
    : "$blob"
}

# ---- others --------------------------------------------------------------------------------

@test "D10: a save under way: 75, its objects stay, and the next expire finishes" {
    both_engines busy
}
busy() {
    make_repo
    make_chain 7
    age_packs
    local before
    before=$(disk)
    git config interlock.lockTimeout 200ms
    hold flock .git/interlock/locks/objects
    must_exit 75 git-shadow-commit expire --keep 1
    assert_match "$stderr" 'saves are under way'
    unhold
    assert_equal "$(disk)" "$before"
    assert_log cp7
    expire --keep 1
    assert_at_most "$(disk)" $((before - 80000)) 'bytes of objects'
    fsck
}

@test "F1: expire, killed at any point: nothing that stays is damaged, and the next run finishes" {
    requires ptrace
    make_repo
    make_chain 7
    age_packs
    local kept calls n clean
    kept=$(git-shadow-commit log --format=%H -1)
    cp -a . ../count
    (cd ../count && "$HELPER/killat" -o ../report -- git-shadow-commit expire --keep 1)
    calls=$(sed -n 's/^calls //p' ../report)
    assert_at_least "$calls" 500
    clean=$(cd ../count && disk)
    for n in $(seq $((RANDOM % 97 + 1)) 97 "$calls"); do
        rm -rf ../again
        cp -a . ../again
        cd ../again
        "$HELPER/killat" -n "$n" -- git-shadow-commit expire --keep 1 >/dev/null 2>&1 || :
        fsck
        assert_equal "$(git-shadow-commit log --format=%H -1)" "$kept" "tip after a kill at $n"
        age_packs
        expire --keep 1
        fsck
        assert_log cp7
        assert_at_most "$(disk)" $((clean + 10000)) "bytes after a kill at $n"
        assert_equal "$(debris)" ''
        cd ../repo
    done
}

@test "D10: a segment that ends while its pin is judged: nothing is lost" {
    both_engines meanwhile
}
meanwhile() {
    make_repo
    make_chain 4
    local n pids=()
    for n in 1 2 3; do
        (for _ in 1 2 3 4 5 6 7 8; do git-shadow-commit save --allow-unchanged --session "s$n" >>"../ids.$n"; done) 3>&- &
        pids+=("$!")
    done
    for n in 1 2 3 4 5; do git-shadow-commit expire --keep 1000 >/dev/null; done
    wait "${pids[@]}"
    must git-shadow-commit log --format=%H
    sort ../ids.? >../ids
    assert_equal "$(sort -u ../ids | wc -l)" 24
    assert_equal "$(sort <<<"$output" | comm -13 - ../ids)" '' 'lost checkpoints'
}

@test "H4: with extensions.preciousObjects the history gets shorter, and no object goes" {
    make_repo
    git config core.repositoryFormatVersion 1
    git config extensions.preciousObjects true
    make_chain 9
    local old ids
    old=$(git-shadow-commit log --format=%H | tail -n 1)
    ids=$(git cat-file --batch-all-objects --batch-check | sort)
    age_packs
    expire --keep 4
    assert_match "$output" 'done refs/shadow-old/main/b/main/000001'
    assert_match "$output" 'freed 0 bytes'
    assert_match "$stderr" 'preciousObjects'
    assert_log 'cp9 cp8 cp7 cp6 cp5'
    assert_equal "$(git cat-file --batch-all-objects --batch-check | sort)" "$ids" objects
    git rev-list --objects --quiet "$old"
    # Whoever takes the extension away gets the space with the next one.
    git config --unset extensions.preciousObjects
    expire --keep 4
    refute git cat-file -e "$old"
    fsck
}
