#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# D1-D6, D9, D10, D15: many processes on one ref. Every race is forced (a
# barrier, a lock held, a process stopped before a system call) and is run
# against the naive version too, which must lose.

load helpers

swarm() { "$TOP/t/stress/swarm.sh" "$@"; }

# The swarm's own line goes to the log of a green run too.
swarm_must() { # <status> <options>...
    must_exit "$@"
    # shellcheck disable=SC2154
    echo "# note: $output" >&3
}

# ---- D1, D2, D4: nothing lost ----------------------------------------------------

for_engines() { # <options>...
    local engine
    for engine in ${ENGINES:-native git}; do
        swarm_must 0 swarm --engine "$engine" "$@"
    done
}

@test "D1 D2: 8 sessions x 4 saves of the whole tree, none lost" {
    for_engines --mode whole --rounds "${ROUNDS:-3}"
}

@test "D1 D2 D4: 8 sessions x 4 saves of their own file, none lost, none goes back" {
    for_engines --mode path --rounds "${ROUNDS:-3}"
}

@test "D1 D7: SHA-256" {
    swarm_must 0 swarm --engine git --hash sha256 --mode path --rounds 1
}

@test "D1: reftable" {
    requires reftable
    swarm_must 0 swarm --engine git --refs reftable --mode path --rounds 1
}

@test "D1: the naive recipe loses checkpoints (blind update-ref)" {
    swarm_must 1 swarm --writer blind --rounds 1
    assert_match "$output" 'lost [1-9]'
}

@test "D3: swap alone, without lock and retry, turns sessions away" {
    swarm_must 1 swarm --writer cas --rounds 1
    assert_match "$output" ' [1-9][0-9]* failed'
}

@test "D3: swap and retry without the lock runs out of tries" {
    swarm_must 1 swarm --writer retry --procs 48 --saves 1 --rounds 1
    assert_match "$output" ' [1-9][0-9]* failed'
}

@test "D4: a retry with the tree of the first try drops the others' files" {
    swarm_must 1 swarm --writer stale --mode path --rounds 1
    assert_match "$output" 'backward [1-9]'
}

@test "D3: with git update-ref, gc --prune=now and pack-refs beside" {
    for_engines --mode path --rounds 1 --beside outsider,gc,pack-refs
}

@test "D4: paths saved after HEAD moved leave alone what a peer saves meanwhile" {
    both_engines narrowed
}
# Ours reads everything, as nobody has saved since HEAD moved. Before it has the lock
# a peer's checkpoint is there: what it holds is newer than what was read.
narrowed() {
    make_repo
    local ref old theirs
    ref=$(shadow_ref)
    put ours 'ours, old'
    put theirs 'theirs, old'
    must git-shadow-commit save
    old=$output
    git commit -q --allow-empty -m moved
    put theirs 'theirs, new'
    must git-shadow-commit save --session peer -- theirs
    theirs=$output
    git update-ref "$ref" "$old"
    put theirs 'theirs, old'
    put ours 'ours, new'
    hold flock .git/interlock/locks/ref-*main
    git-shadow-commit save -v --session ours --lock-timeout 20s -- ours >../saved 2>../said 3>&- &
    local pid=$!
    BG_PIDS+=("$pid")
    await 20 grep -q 'pid [0-9]' ../said
    git update-ref "$ref" "$theirs"
    unhold
    wait "$pid" || flunk "$(cat ../said)"
    assert_equal "$(git rev-parse "$(cat ../saved)^")" "$theirs" parent
    assert_equal "$(git show "$(cat ../saved):theirs")" 'theirs, new'
    assert_equal "$(git show "$(cat ../saved):ours")" 'ours, new'
}

@test "D4: paths saved on a commit of another tool take all the rest from there" {
    both_engines on_foreign
}
on_foreign() {
    make_repo
    local ref top
    ref=$(shadow_ref)
    put ours 'ours, old'
    put theirs 'theirs, saved'
    must git-shadow-commit save
    for _ in 1 2 3; do
        top=$(git commit-tree -m 'another tool' -p "$ref" "$ref^{tree}")
        git update-ref "$ref" "$top"
    done
    put ours 'ours, new'
    put theirs 'theirs, half written'
    must git-shadow-commit save -- ours
    assert_equal "$(git log -1 --format=%B "$output" | sed -n 's/^Shadow-Previous: //p')" "$top" previous
    assert_equal "$(git show "$output:ours")" 'ours, new'
    assert_equal "$(git show "$output:theirs")" 'theirs, saved'
    # A ref that was set to something without a checkpoint says nothing.
    git update-ref "$ref" HEAD
    must git-shadow-commit save -- ours
    assert_equal "$(git show "$output:theirs")" 'theirs, half written'
}

@test "D3: pack-refs that removes the directory which git has just made for its lock" {
    ENGINES=git both_engines room_vanishes
}
room_vanishes() {
    make_repo
    mkdir ../between
    cat >../between/git <<SCRIPT
#!/bin/bash
# git that meets pack-refs at each of its own three tries, the first two times that it runs
if [[ " \$* " = *' update-ref '* && \$(cat '$PWD/../met' 2>/dev/null | wc -l) -lt 2 ]]; then
    echo >>'$PWD/../met'
    rmdir '$PWD/.git/refs/test' 2>/dev/null
    echo "fatal: cannot lock ref 'refs/test/x': unable to create directory" >&2
    exit 128
fi
exec "$(command -v git)" "\$@"
SCRIPT
    chmod +x ../between/git
    local old new
    old=$(git rev-parse HEAD)
    new=$(git commit-tree -p "$old" -m new 'HEAD^{tree}')
    git update-ref refs/test/x "$old"
    git pack-refs --all --prune
    mkdir -p .git/refs/test
    PATH=$(cd ../between && pwd):$PATH
    must git-cas-ref refs/test/x "$new" "$old"
    assert_equal "$(git rev-parse refs/test/x)" "$new"
    assert_equal "$(wc -l <../met)" 2 'runs that met pack-refs'
    # Several refs at once, too.
    rm ../met .git/refs/test/x
    printf 'update refs/test/x %s %s\n' "$new" "$old" >../batch
    must git-cas-ref --stdin <../batch
    assert_equal "$(git rev-parse refs/test/x)" "$new"
    assert_equal "$(wc -l <../met)" 2 'runs that met pack-refs'
}

@test "D10: restore and expire beside the saves take the same lock and swap" {
    for_engines --mode whole --rounds 1 --beside restore,expire
}

# ---- D3: between the read and the swap --------------------------------------------

@test "D3: an outside swap between our read and our swap is seen, and both stay" {
    requires ptrace
    both_engines outside_swap
}
outside_swap() {
    make_repo
    local ref tip theirs
    ref=$(shadow_ref)
    must git-shadow-commit save
    tip=$output
    put new 'new content'
    # Its last chance to be sure of what the ref holds has gone by.
    stop_at "open,openat,link,linkat:${ref##*/}.lock" \
        git-shadow-commit save --json --session us
    theirs=$(git commit-tree -m 'from outside' -p "$tip" "$tip^{tree}")
    git update-ref "$ref" "$theirs" "$tip"
    let_go
    grep -q '"session"' "$STOPPED_OUT" || flunk "no record: $(cat "$STOPPED_OUT")"
    local attempts commit
    attempts=$(grep '^{' "$STOPPED_OUT" | json attempts)
    commit=$(grep '^{' "$STOPPED_OUT" | json commit)
    echo "# note: ${VARIANT}: swap lost and repeated, $attempts attempts" >&3
    assert_at_least "$attempts" 2 attempts
    assert_equal "$(git rev-parse "$ref")" "$commit"
    # Above or below ours, or pinned as the end of a segment: it is reachable.
    git for-each-ref --format="%(objectname)" refs/shadow refs/shadow-old |
        git rev-list --stdin | grep -qx "$theirs" || flunk "the outside commit is gone"
    assert_equal "$(git rev-parse "$commit^{tree}")" "$(git_tree)"
}

@test "D3: the naive recipe overwrites the outside swap" {
    requires ptrace
    make_repo
    local ref tip theirs
    ref=$(shadow_ref)
    "$TWIN/naive-save" blind
    tip=$(git rev-parse "$ref")
    put new 'new content'
    stop_at "open,openat:${ref##*/}.lock" "$TWIN/naive-save" blind
    theirs=$(git commit-tree -m theirs -p "$tip" "$tip^{tree}")
    git update-ref "$ref" "$theirs" "$tip"
    let_go
    refute git merge-base --is-ancestor "$theirs" "$ref"
}

# ---- cas-ref ------------------------------------------------------------------------

@test "D1: cas-ref --update: 8 processes x 10 increments make 80" {
    both_engines increments cas-ref 80
}
@test "D1: the naive increment loses" {
    use_engine git
    increments naive less
}
increment() { # <how> <k>
    local i
    for i in 1 2 3 4 5 6 7 8 9 10; do
        "$HELPER/barrier" "../gate.$i" 8
        if [ "$1" = naive ]; then
            git update-ref refs/test/count "$(git commit-tree -p refs/test/count -m "$2 $i" refs/test/count^{tree})"
        else
            # shellcheck disable=SC2016
            git-cas-ref --timeout 60s --update refs/test/count -- \
                sh -c 'git commit-tree -p "$CAS_REF_OLD" -m "$1" "$CAS_REF_OLD^{tree}"' - "$2 $i" \
                >>"../out.$2" 2>&1 || echo "status $?" >>"../failed.$2"
        fi
    done
}
increments() {
    local k pids=()
    make_repo
    git update-ref refs/test/count HEAD
    for k in 1 2 3 4 5 6 7 8; do
        increment "$1" "$k" 3>&- &
        pids+=($!)
    done
    wait "${pids[@]}"
    cat ../failed.* ../out.* 2>/dev/null | tail -n 5
    local count
    count=$(git rev-list --count refs/test/count ^main)
    echo "# note: $1 ${VARIANT-}: $count of 80 increments" >&3
    if [ "$2" = less ]; then
        assert_at_most "$count" 79
    else
        assert_equal "$count" "$2"
        assert_absent ../failed.1
    fi
}

# ---- D5: bounded ----------------------------------------------------------------------

@test "D5: a lock that git's own writer holds is waited for, then named: 75" {
    both_engines held_by_git
}
held_by_git() {
    make_repo
    must git-shadow-commit save
    local ref
    ref=$(shadow_ref)
    put new 'new content'
    hold dotlock ".git/$ref"
    within 4000 try git-shadow-commit save --lock-timeout 500ms
    assert_equal "$status" 75
    # shellcheck disable=SC2154
    assert_match "$stderr" "${ref##*/}\.lock"
    within 4000 try git-cas-ref --timeout 500ms --update "$ref" -- git rev-parse HEAD
    unhold
    must git-shadow-commit save --lock-timeout 5s
    assert_equal "$(git rev-parse "$output^{tree}")" "$(git_tree)"
}

@test "D5: a lock that is let go in time is got" {
    both_engines let_go_in_time
}
let_go_in_time() {
    make_repo
    must git-shadow-commit save
    put new 'new content'
    hold dotlock ".git/$(shadow_ref)"
    git-shadow-commit save --lock-timeout 20s >../late 2>&1 3>&- &
    local pid=$!
    BG_PIDS+=("$pid")
    # It is at the lock, not before it: it has nothing more to read.
    await 10 test -e ../late
    sleep 0.3
    unhold
    wait "$pid"
    must git-shadow-commit save
    assert_equal "$(git rev-parse "$output^{tree}")" "$(git_tree)"
}

@test "D5: another save that holds our lock is waited for, then named: 75" {
    requires ptrace
    both_engines held_by_us
}
held_by_us() {
    make_repo
    must git-shadow-commit save
    local ref
    ref=$(shadow_ref)
    put new 'one'
    stop_at "open,openat,link,linkat:${ref##*/}.lock" git-shadow-commit save --session first
    put new 'two'
    within 4000 try git-shadow-commit save --session second --lock-timeout 500ms
    assert_equal "$status" 75
    assert_match "$stderr" '[0-9]+' 'message (it names the holder)'
    let_go
    must git-shadow-commit save --session second --lock-timeout 5s
    assert_equal "$(git show "$output:new")" two
}

@test "D5: an outsider that is faster twenty times in a row does not end a save that may wait" {
    ENGINES=git both_engines outrun
}
outrun() {
    make_repo
    put f one
    must git-shadow-commit save
    local ref first=$output
    ref=$(shadow_ref)
    mkdir ../between
    cat >../between/git <<SCRIPT
#!/bin/bash
# git that lets somebody else write the ref before it does, the first times
real='$(command -v git)'
if [[ " \$* " = *' update-ref '* && \$(cat '$PWD/../met' 2>/dev/null | wc -l) -lt 20 ]]; then
    echo >>'$PWD/../met'
    new=\$("\$real" commit-tree -m outside -p '$ref' '$ref^{tree}')
    "\$real" update-ref '$ref' "\$new"
fi
exec "\$real" "\$@"
SCRIPT
    chmod +x ../between/git
    put f two
    # Naive: sixteen tries are over in a second or two, whatever time there was.
    must env PATH="$(cd ../between && pwd):$PATH" git-shadow-commit save --lock-timeout 60s
    assert_equal "$(wc -l <../met)" 20 'writes of others'
    local second=$output
    assert_equal "$(git rev-parse "$ref")" "$second"
    # What lies behind twenty commits of somebody else is ours still.
    must git-shadow-commit log --format=%H
    assert_equal "${lines[0]} ${lines[21]} ${#lines[@]}" "$second $first 22"
    rm ../met
    put f three
    must_exit 75 env PATH="$(cd ../between && pwd):$PATH" git-shadow-commit save --lock-timeout 1ms
    assert_match "$stderr" 'gave up after [0-9]+ tries'
    assert_equal "$(git cat-file -p "$ref:f")" two
}

@test "D5: cas-ref --tries is a bound: 75, and the ref is as the others left it" {
    both_engines out_of_tries
}
out_of_tries() {
    make_repo
    git update-ref refs/test/busy HEAD
    # A command that is overtaken every time it runs.
    cat >../overtaken <<'SCRIPT'
#!/bin/sh
echo run >>../runs
git update-ref refs/test/busy "$(git commit-tree -p refs/test/busy -m other 'refs/test/busy^{tree}')"
git commit-tree -p "$CAS_REF_OLD" -m ours "$CAS_REF_OLD^{tree}"
SCRIPT
    chmod +x ../overtaken
    within 20000 try git-cas-ref --tries 3 --timeout 10s --update refs/test/busy -- ../overtaken
    assert_equal "$status" 75
    assert_equal "$(wc -l <../runs)" 3 'number of tries'
    assert_equal "$(git log -1 --format=%s refs/test/busy)" other
}

# ---- D6: messages are for people -------------------------------------------------------

@test "D6: with every message of git's in another language, the outcomes are the same" {
    both_engines other_language
}
other_language() {
    make_repo
    mkdir ../speak
    printf '#!/bin/sh\nexec 3>&1\n{ "%s" "$@" 2>&1 1>&3 3>&-; echo $? >&4; } 4>%s | tr a-zA-Z n-za-mN-ZA-M >&2\n' \
        "$(command -v git)" "../speak/status.\$\$" >../speak/git
    cat >../speak/git <<SCRIPT
#!/bin/bash
# git with its stderr in another language, and its own status
exec {out}>&1
set -o pipefail
{ "$(command -v git)" "\$@" 2>&1 >&"\$out" {out}>&-; } | tr a-zA-Z n-za-mN-ZA-M >&2
exit \${PIPESTATUS[0]}
SCRIPT
    chmod +x ../speak/git
    PATH=$(cd ../speak && pwd):$PATH
    local old new
    old=$(git rev-parse HEAD)
    new=$(git commit-tree -p "$old" -m new 'HEAD^{tree}')
    must git-cas-ref refs/test/x "$old" ''
    must_exit 1 git-cas-ref refs/test/x "$new" ''
    must_exit 1 git-cas-ref refs/test/x "$old" "$new"
    must_exit 1 git-cas-ref --delete refs/test/x "$new"
    must_exit 1 git-cas-ref refs/test/missing "$new" "$old"
    hold dotlock .git/refs/test/x
    must_exit 75 git-cas-ref --timeout 200ms --delete refs/test/x "$old"
    unhold
    must git-cas-ref refs/test/x "$new" "$old"
    must git-shadow-commit save
    put more content
    hold dotlock ".git/$(shadow_ref)"
    must_exit 75 git-shadow-commit save --lock-timeout 200ms
    unhold
    must git-shadow-commit save
}

# ---- D9: nothing to do -------------------------------------------------------------------

@test "D9: an unchanged tree takes no lock and makes no commit" {
    both_engines unchanged
}
unchanged() {
    make_repo
    put new 'new content'
    must git-shadow-commit save
    local tip=$output objects
    objects=$(find .git/objects -type f | sort)
    # Every lock that there is, git's and ours, is somebody else's now, but for the
    # one under which the git engine makes its private folder.
    hold dotlock ".git/$(shadow_ref)"
    local locks=()
    while IFS= read -r lock; do locks+=("$lock"); done < <(find .git/interlock/locks -type f ! -name tmp)
    assert_at_least "${#locks[@]}" 1 'our lock files'
    exec {outer}>&"$HOLD_FD"
    local outer_pid=$HOLD_PID
    hold flock "${locks[@]}"
    within 3000 must timeout 20 git-shadow-commit save
    assert_equal "$output" "$tip"
    unhold
    exec {HOLD_FD}>&"$outer" {outer}>&-
    HOLD_PID=$outer_pid
    unhold
    assert_equal "$(find .git/objects -type f | sort)" "$objects" objects
    # And with a change it does need the lock: the rig can tell.
    put new 'other content'
    hold dotlock ".git/$(shadow_ref)"
    must_exit 75 git-shadow-commit save --lock-timeout 200ms
    unhold
}

# ---- D15: prunes that began before the swap ------------------------------------------------

# Something to be deleted first: a prune goes through objects/00 before the rest.
plant_garbage() {
    local n=0 algorithm=1
    [ "${HASH:-sha1}" = sha1 ] || algorithm=256
    perl -MDigest::SHA=sha1_hex,sha256_hex -e '
        for (my $n = 0;; $n++) {
            my $text = "garbage $n\n";
            my $object = "blob " . length($text) . "\0$text";
            my $id = $ARGV[0] == 1 ? sha1_hex($object) : sha256_hex($object);
            print($text), exit if $id =~ /^00/;
        }' "$algorithm" | git hash-object -w --stdin
}

# Contents that the repository has and that nothing refers to: those that a save
# of the same content may find there, and lose.
unreachable_contents() { # loose | packed
    local i
    git checkout -q -b doomed
    for i in 1 2 3 4 5 6 7 8; do put "old$i" "content of old $i"; done
    git add -A
    git commit -q -m doomed
    git checkout -q main
    git branch -q -D doomed
    [ "$1" = loose ] || git repack -a -d -q
    git reflog expire --expire=now --all
    rm -f .git/ORIG_HEAD
}
same_contents_again() {
    local i
    for i in 1 2 3 4 5 6 7 8; do
        put "old$i" "content of old $i"
        put "new$i" "content of new $i"
    done
}

survives() { # <loose|packed> <command>...
    make_repo
    must git-shadow-commit save
    unreachable_contents "$1"
    shift
    plant_garbage
    stop_at unlink,unlinkat:objects/ "$@"
    same_contents_again
    must git-shadow-commit save
    local commit=$output
    let_go
    fsck
    local i
    for i in 1 2 3 4 5 6 7 8; do
        assert_equal "$(git show "$commit:old$i")" "content of old $i"
        assert_equal "$(git show "$commit:new$i")" "content of new $i"
    done
}

perishes() { # the same with the naive recipe, and its check after the swap passes
    make_repo
    unreachable_contents "$1"
    shift
    plant_garbage
    stop_at unlink,unlinkat:objects/ "$@"
    same_contents_again
    must "$TWIN/naive-save" blind
    git rev-list --objects "$output" >/dev/null
    let_go
    refute git fsck --full --no-dangling --no-progress
}

@test "D15: git prune --expire=now that walked before the save and deletes after it" {
    requires ptrace
    every_variant survives loose git prune --expire=now
}
@test "D15: the naive recipe loses its objects to that prune" {
    requires ptrace
    perishes loose git prune --expire=now
}
@test "D15: git repack -ad that began before the save and deletes after it" {
    requires ptrace
    every_variant survives packed git repack -a -d -q
}
@test "D15: the naive recipe loses its objects to that repack" {
    requires ptrace
    perishes packed git repack -a -d -q
}
@test "D15: git gc --prune=now that began before the save and deletes after it" {
    requires ptrace
    both_engines survives packed git gc --prune=now --quiet
}
@test "D15: git prune started after the save, with a save of the same content before it" {
    both_engines prune_after
}
prune_after() {
    make_repo
    unreachable_contents loose
    same_contents_again
    must git-shadow-commit save
    git prune --expire=now
    git repack -a -d -q
    git prune --expire=now
    fsck
    assert_equal "$(git show "$output:old8")" 'content of old 8'
}
