#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git shadow-commit restore: D17, H2, H3, D10.
#
# shellcheck disable=SC1010,SC2030,SC2031,SC2103,SC2164,SC2154,SC2034 # run sets its variables in each test

load helpers

save() { # <option>...: a checkpoint, its id in $id
    must git-shadow-commit save "$@"
    # shellcheck disable=SC2154
    id=$output
}

restore() { must git-shadow-commit restore "$@"; }

# What stands there now is what the checkpoint holds, as git would store it.
assert_tree() { # <checkpoint>
    assert_equal "$(git_tree)" "$(git rev-parse "$1^{tree}")" 'tree of the work tree'
}

# HEAD, refs that are not ours, reflogs, config, index: what restore never moves.
still() {
    local dir
    dir=$(git rev-parse --absolute-git-dir)
    git for-each-ref --format='%(refname) %(objectname) %(symref)' | sed '/^refs\/shadow/d'
    find "$dir"/{HEAD,index,config,logs} -type f -printf '%p %i %m %s %T@ ' -exec sha256sum {} \;
}

refs_and_objects() {
    git for-each-ref
    find .git/objects -type f | sort
}

undo_of() { # the id in the "undo" line of the last command
    # shellcheck disable=SC2154
    sed -n 's/^undo: git shadow-commit restore //p' <<<"$stderr"
}

# "<action> <result> <path>" lines of --json
results() { grep '"path"' | json action result path | paste -d' ' - - -; }

# ---- the whole tree -------------------------------------------------------------------

@test "D17: restore brings back contents, modes, links, what was deleted and what git never knew" {
    every_variant whole
}
whole() {
    make_repo
    put untracked 'never added'
    put tool.sh 'echo tool'
    chmod +x tool.sh
    ln -s README link
    put 'odd "name' 'with a quote'
    put $'new\nline' 'with a newline'
    put :colon 'with a colon'
    put $'b\377d' 'no UTF-8'
    git add tool.sh
    save
    local first=$id before
    before=$(still)
    put README 'overwritten'
    put untracked 'overwritten'
    chmod -x tool.sh
    rm -r src link 'odd "name' $'new\nline' :colon $'b\377d'
    ln -s elsewhere link
    mkdir -p made/deep
    put made/deep/file 'new'
    local ruined
    ruined=$(git_tree)
    restore "$first"
    assert_tree "$first"
    assert_file untracked 'never added'
    [ -x tool.sh ]
    assert_equal "$(readlink link)" README
    assert_absent made
    assert_equal "$(still)" "$before"
    # and back again
    restore "$(undo_of)"
    assert_equal "$(git_tree)" "$ruined"
    assert_equal "$(still)" "$before"
    assert_equal "$(debris)" ''
    assert_equal "$(ls .git/interlock/tmp)" ''
    fsck
}

@test "D17: without a checkpoint the changes since the last one go, and a second time they come back" {
    both_engines toggle
}
toggle() {
    make_repo
    save
    put README 'a mistake'
    restore
    assert_file README 'read me'
    restore
    assert_file README 'a mistake'
}

@test "D17: nothing to restore: the undo is the tip, no checkpoint is added" {
    both_engines nothing
}
nothing() {
    make_repo
    save
    restore "$id"
    assert_equal "$(undo_of)" "$id"
    assert_equal "$(git rev-parse "$(shadow_ref)")" "$id"
}

@test "D17: a unborn branch, and a checkpoint of files that were never committed" {
    every_variant unborn
}
unborn() {
    make_repo --empty
    must_exit 1 git-shadow-commit restore
    put a one
    save
    put a two
    put b new
    restore
    assert_file a one
    assert_absent b
}

@test "D17: a file, a directory and a link take each other's place" {
    both_engines swaps
}
swaps() {
    make_repo
    put a 'a file'
    put d/x/y 'below'
    ln -s d l
    save
    local first=$id
    rm -r a d l
    put a/b/c 'now a directory'
    put d 'now a file'
    put l/m 'the link is a directory'
    save
    local second=$id
    restore "$first"
    assert_tree "$first"
    restore "$second"
    assert_tree "$second"
    restore "$first"
    assert_tree "$first"
    assert_equal "$(readlink l)" d
}

@test "D17: restored through filters, line ends, encodings and \$Id\$ as git checks them out" {
    both_engines converted
}
converted() {
    [ "$VARIANT" != native-sha1 ] || use_engine auto
    make_repo
    git config filter.large.clean "'$TWIN/lfs-clean'"
    git config filter.large.smudge "sed 's/^version/smudged/'"
    git config filter.large.required true
    put .gitattributes '*.txt text eol=crlf
*.bin filter=large
*.w text working-tree-encoding=UTF-16LE
*.id ident'
    printf 'one\r\ntwo\r\n' >lines.txt
    printf 'l\0a\0r\0g\0e\0' >big.bin
    printf 'h\0i\0\n\0' >wide.w
    # shellcheck disable=SC2016
    printf '$Id$\n' >some.id
    git add -A
    git commit -qm 'with attributes'
    git checkout-index -f --prefix=../want/ -a
    save
    local first=$id
    rm lines.txt big.bin wide.w some.id
    restore "$first"
    for name in lines.txt big.bin wide.w some.id; do
        cmp "$name" "../want/$name"
    done
}

@test "D17: the .gitattributes of the checkpoint say how its files look" {
    both_engines attributes
}
attributes() {
    make_repo
    put lines.txt 'one'
    put .gitattributes '*.txt text eol=crlf'
    save
    local first=$id
    rm .gitattributes
    put lines.txt 'two'
    save
    local second=$id
    restore "$first"
    assert_equal "$(od -An -c lines.txt | tr -s ' ')" ' o n e \r \n'
    restore "$second"
    assert_absent .gitattributes
    assert_equal "$(od -An -c lines.txt | tr -s ' ')" ' t w o \n'
}

@test "D17: core.autocrlf: what is unchanged but for line ends is known, and overwritten" {
    both_engines autocrlf
}
autocrlf() {
    make_repo
    git config core.autocrlf true
    printf 'a\r\nb\r\n' >crlf
    save
    local first=$id
    printf 'c\r\nd\r\n' >crlf
    restore "$first"
    assert_equal "$(od -An -c crlf | tr -s ' ')" ' a \r \n b \r \n'
}

@test "F3: a filter that fails is met before anything is touched" {
    make_repo
    git config filter.broken.clean cat
    git config filter.broken.smudge cat
    git config filter.broken.required true
    put .gitattributes 'x.bin filter=broken'
    put x.bin 'content'
    put README 'then'
    save
    local first=$id
    rm x.bin
    put README 'now'
    git config filter.broken.smudge false
    must_exit 128 git-shadow-commit restore "$first"
    assert_match "$stderr" 'nothing was restored'
    assert_file README now
    assert_absent x.bin
    assert_match "$stderr" 'undo: git shadow-commit restore [0-9a-f]{40}'
}

@test "D17: to and from another file system, where one of them is a tmpfs" {
    local elsewhere
    elsewhere=$(mktemp -d /dev/shm/interlock-test.XXXXXX)
    # The tests may be on it themselves.
    if [ "$(stat -c %d "$elsewhere")" = "$(stat -c %d .)" ]; then
        rm -d "$elsewhere"
        elsewhere=$(mktemp -d /var/tmp/interlock-test.XXXXXX)
    fi
    assert_differ "$(stat -c %d "$elsewhere")" "$(stat -c %d .)" 'file systems'
    across "$elsewhere" || { rm -rf "$elsewhere" && return 1; }
    rm -rf "$elsewhere"
}
across() {
    mkdir repo && cd repo || return
    git init -q --separate-git-dir="$1/git"
    put a one
    put d/tool 'echo'
    chmod +x d/tool
    ln -s a l
    save
    local first=$id
    put a two
    rm -r d l
    ln -s nowhere l
    restore "$first"
    assert_tree "$first"
    [ -x d/tool ]
    assert_equal "$(find . -name '.interlock*')" ''
}

# ---- some paths -----------------------------------------------------------------------------

@test "D17: only the named paths, from any directory" {
    both_engines named
}
named() {
    make_repo
    save
    local first=$id before
    put README changed
    put src/main.c changed
    put src/lib/util.c changed
    put doc/guide.txt changed
    cd src
    before=$(still)
    restore "$first" -- main.c ../doc
    cd ..
    assert_equal "$(still)" "$before"
    assert_file README changed
    assert_file src/lib/util.c changed
    assert_equal "$(cat src/main.c)" "$(git show HEAD:src/main.c)"
    assert_file doc/guide.txt 'a guide'
    restore "$first" src
    assert_equal "$(cat src/lib/util.c)" "$(git show HEAD:src/lib/util.c)"
    restore "$first" -- 'READ*'
    assert_file README 'read me'
}

@test "D17: paths behind -- need no checkpoint; one that is nowhere is a mistake" {
    both_engines named_tip
}
named_tip() {
    make_repo
    put 'app/[slug].js' one
    save
    put 'app/[slug].js' two
    put README changed
    restore -- 'app/[slug].js'
    assert_file 'app/[slug].js' one
    assert_file README changed
    must_exit 1 git-shadow-commit restore -- no/such/file
    assert_match "$stderr" "'no/such/file' is neither"
    must_exit 129 git-shadow-commit restore -- ../outside
    must_exit 129 git-shadow-commit restore -- ':(exclude)README'
    assert_file README changed
}

# ---- what is not deleted, H3 -------------------------------------------------------------------

@test "H3: ignored output stays, when restore takes back the rule that ignores it" {
    both_engines rule_goes
}
rule_goes() {
    make_repo
    save
    local first=$id
    printf '*.o\nout/\n' >.gitignore
    put out/artefact 'a gigabyte'
    put main.o 'object'
    put README changed
    restore "$first"
    assert_file .gitignore '*.o'
    assert_file README 'read me'
    assert_file out/artefact 'a gigabyte'
    assert_file main.o object
}

@test "H3: the naive restore, checkout and clean, deletes it" {
    make_repo
    save
    local first=$id
    printf '*.o\nout/\n' >.gitignore
    put out/artefact 'a gigabyte'
    git checkout -q "$first" -- .
    git clean -q -fd
    assert_absent out/artefact
}

@test "H3: output that a checkpoint recorded stays, when the rule that ignores it comes back" {
    both_engines rule_comes
}
rule_comes() {
    make_repo
    mkdir -p sub/keep
    printf 'out/\n!out/kept\n' >sub/.gitignore
    put sub/keep/x x
    save
    local first=$id
    rm sub/.gitignore
    put sub/out/artefact 'a gigabyte'
    put sub/fresh 'made since'
    save # records sub/out/artefact
    restore "$first"
    assert_file sub/out/artefact 'a gigabyte'
    assert_absent sub/fresh
    assert_match "$stderr" 'sub/out/artefact: ignored'
}

@test "H3: a tracked file that the present rules ignore is not deleted" {
    both_engines tracked_ignored
}
tracked_ignored() {
    make_repo
    save
    local first=$id
    printf '*.o\n*.dat\n' >.gitignore
    put forced.dat 'added by force'
    git add -f forced.dat
    put plain 'made since'
    restore "$first"
    assert_file forced.dat 'added by force'
    assert_absent plain
    assert_match "$stderr" 'forced.dat: ignored'
}

@test "H3: a rule with a negation does not protect what it names" {
    both_engines negated
}
negated() {
    make_repo
    printf '*.log\n!keep.log\n' >.gitignore
    save
    local first=$id
    put keep.log 'recorded'
    put other.log 'ignored'
    restore "$first"
    assert_absent keep.log
    assert_file other.log ignored
}

@test "H3: directories that restore emptied go; those with something in them, and the current one, stay" {
    both_engines directories
}
directories() {
    make_repo
    save
    local first=$id
    put made/a/b/c new
    put busy/file new
    put busy/cache.o ignored
    put here/file new
    mkdir empty
    cd here
    restore "$first"
    cd ..
    assert_absent made
    assert_absent busy/file
    assert_file busy/cache.o ignored
    [ -d here ]
    [ -d empty ]
}

# ---- what is not overwritten ---------------------------------------------------------------------

@test "D17: a file that the save leaves out as too large is listed and stays" {
    both_engines too_large
}
too_large() {
    make_repo
    put data small
    put README then
    save
    local first=$id
    git config interlock.maxFileSize 1k
    head -c 5000 /dev/zero >data
    put README now
    must git-shadow-commit restore --json "$first"
    assert_equal "$(results <<<"$output")" $'write done README\nwrite kept data'
    assert_match "$(json reason <<<"$(grep '"data"' <<<"$output")")" 'large'
    assert_equal "$(stat -c %s data)" 5000
    assert_file README then
    assert_match "$stderr" 'data: too large'
}

@test "D17: a change that git was told not to see is not in the save, and stays" {
    both_engines assumed
}
assumed() {
    make_repo
    put README then
    save
    local first=$id
    git update-index --assume-unchanged doc/guide.txt
    put doc/guide.txt 'my own settings'
    put README now
    git add README
    git commit -qm 'then' -- README
    restore "$first"
    assert_file README then
    # the checkpoint of another time may differ, this one does not: make it
    git update-index --no-assume-unchanged doc/guide.txt
    save
    local second=$id
    git commit -qam 'another guide'
    git update-index --assume-unchanged doc/guide.txt
    put doc/guide.txt 'my newest settings'
    restore "$first"
    assert_file doc/guide.txt 'my newest settings'
    assert_match "$stderr" 'doc/guide.txt: changed'
    restore "$second" -- README
}

@test "D17: an ignored file in the way is listed and stays" {
    both_engines in_the_way
}
in_the_way() {
    make_repo
    put data 'recorded'
    put tree/a 'recorded'
    put file 'recorded'
    save
    local first=$id
    rm -r tree file
    printf 'data\ntree\nfile\n' >.gitignore
    put data 'a secret that no checkpoint has'
    put tree 'now an ignored file'
    put file/inside 'now an ignored directory'
    restore "$first"
    assert_file data 'a secret that no checkpoint has'
    assert_file tree 'now an ignored file'
    assert_file file/inside 'now an ignored directory'
    assert_match "$stderr" 'data: an unrecorded file'
    assert_match "$stderr" 'tree/a: an unrecorded file'
    assert_match "$stderr" 'file: a directory with unrecorded files'
    assert_file .gitignore '*.o'
}

@test "D17: a FIFO in the way is neither waited for nor replaced" {
    both_engines fifo
}
fifo() {
    make_repo
    put pipe 'recorded'
    save
    local first=$id
    rm pipe
    mkfifo pipe
    within 10000 must git-shadow-commit restore "$first"
    [ -p pipe ]
}

@test "D13: nothing is written through a link to the outside" {
    both_engines outside
}
outside() {
    mkdir victim
    put victim/file 'not ours'
    make_repo
    put dir/file 'ours'
    save
    local first=$id
    rm -r dir
    ln -s ../victim dir
    put README changed
    restore "$first"
    assert_file ../victim/file 'not ours'
    assert_file dir/file ours
    [ ! -L dir ]
    # and where the link is nobody's: ignored
    rm -r dir
    ln -s ../victim dir
    put .gitignore dir
    restore "$first"
    assert_file ../victim/file 'not ours'
    [ -L dir ]
}

@test "D17: a nested repository and a submodule are left alone" {
    both_engines nested
}
nested() {
    [ "$VARIANT" != native-sha1 ] || use_engine auto
    git init -q sub
    git -C sub commit -q --allow-empty -m one
    make_repo
    put inner/file 'recorded'
    git submodule --quiet add ../sub module
    git commit -qm 'a submodule'
    save
    local first=$id
    rm -r inner
    git init -q inner
    put inner/file 'of the inner repository'
    git -C inner add file
    git -C inner commit -qm inner
    git -C module commit -q --allow-empty -m two
    local tip
    tip=$(git -C module rev-parse HEAD)
    put README changed
    restore "$first"
    assert_file README 'read me'
    assert_file inner/file 'of the inner repository'
    assert_equal "$(git -C module rev-parse HEAD)" "$tip"
    assert_match "$stderr" 'module: submodule'
    assert_match "$stderr" 'inner'
}

@test "D17: sparse checkout: what is left out stays left out" {
    sparse
}
sparse() {
    make_repo
    save
    local first=$id
    git sparse-checkout set --cone doc
    git commit -q --allow-empty -m next
    put doc/guide.txt changed
    restore "$first"
    assert_file doc/guide.txt 'a guide'
    assert_absent src
}

# ---- others write meanwhile --------------------------------------------------------------------------

@test "D17: what is written between the save and the rename stays, and is listed" {
    requires ptrace
    both_engines last_moment
}
last_moment() {
    make_repo
    put a one
    put b one
    save
    local first=$id
    put a two
    put b two
    stop_at renameat2:a git-shadow-commit restore "$first"
    put a 'by another hand'
    put b 'by another hand'
    let_go
    assert_file a 'by another hand'
    assert_file b 'by another hand'
    assert_match "$(cat "$STOPPED_OUT")" 'a: changed meanwhile'
    assert_match "$(cat "$STOPPED_OUT")" 'b: changed meanwhile'
}

@test "D17: what is written before a delete stays, and what appears where a file comes" {
    requires ptrace
    both_engines last_moment_new
}
last_moment_new() {
    make_repo
    put come 'recorded'
    save
    local first=$id
    rm come
    put go1 new
    put go2 new
    stop_at unlinkat:go1 git-shadow-commit restore "$first"
    put go2 'by another hand'
    put come 'by another hand'
    let_go
    assert_absent go1
    assert_file go2 'by another hand'
    assert_file come 'by another hand'
    assert_match "$(cat "$STOPPED_OUT")" 'go2: changed meanwhile'
    assert_match "$(cat "$STOPPED_OUT")" 'come: something is in the way'
}

@test "D17: stopped by a signal half-way it says so, and the undo brings everything back" {
    requires ptrace
    both_engines stopped
}
stopped() {
    make_repo
    local i before
    for i in 1 2 3 4 5; do put "file$i" one; done
    save
    local first=$id
    for i in 1 2 3 4 5; do put "file$i" two; done
    before=$(git_tree)
    stop_at renameat2:file3 git-shadow-commit restore "$first"
    # shellcheck disable=SC2046
    kill -TERM $(ps -o pid= --ppid "$STOPPED_PID")
    local status=0
    let_go || status=$?
    assert_equal "$status" 143
    local said
    said=$(cat "$STOPPED_OUT")
    assert_match "$said" 'stopped half-way \(3 of 5 paths are done'
    assert_match "$said" "restore [0-9a-f]{40}' brings back"
    assert_equal "$(cat file?)" $'one\none\none\ntwo\ntwo'
    restore "$(sed -n 's/^undo: git shadow-commit restore //p' <<<"$said")"
    assert_equal "$(git_tree)" "$before"
}

@test "F3: a full disk half-way is said with the undo, and nothing is lost" {
    requires ptrace
    make_repo
    local i before
    for i in 1 2 3; do put "file$i" one; done
    save
    local first=$id
    for i in 1 2 3; do put "file$i" two; done
    before=$(git_tree)
    # the calls differ from run to run in nothing that matters: find a rename
    cp -a . ../again
    local n tries=0
    (cd ../again && strace -f -o ../trace git-shadow-commit restore "$first")
    n=$(grep -n 'renameat2(.*file2' ../trace | head -n 1 | cut -d: -f1)
    [ -n "$n" ]
    for n in $(seq $((n - 200)) $((n + 200))); do
        rm -rf ../again
        cp -a . ../again
        cd ../again
        try "$HELPER/killat" -n "$n" --inject=EIO -- git-shadow-commit restore "$first"
        if [[ $stderr == *'stopped half-way'* ]]; then
            assert_equal "$status" 128
            restore "$(undo_of)"
            assert_equal "$(git_tree)" "$before"
            tries=$((tries + 1))
            [ "$tries" -lt 2 ] || break
        fi
        cd ../repo
    done
    assert_at_least "$tries" 1 'restores stopped half-way'
}

# ---- whose checkpoint ---------------------------------------------------------------------------------

@test "D17: another worktree's checkpoint needs its ref in full" {
    both_engines other_worktree
}
other_worktree() {
    make_repo
    git worktree add -q ../linked -b side
    put ../linked/README 'of the linked one'
    local theirs ref
    theirs=$(cd ../linked && git-shadow-commit save)
    ref=$(cd ../linked && shadow_ref)
    save
    must_exit 1 git-shadow-commit restore "$theirs"
    assert_match "$stderr" 'another worktree'
    assert_file README 'read me'
    restore "$ref"
    assert_file README 'of the linked one'
    restore "$ref@{0}" -- README
    # a worktree that got the id again is another one
    git worktree remove --force ../linked
    git worktree add -q ../linked side
    cd ../linked
    must_exit 1 git-shadow-commit restore "$theirs"
    assert_match "$stderr" 'another worktree'
    restore "$ref"
    assert_file README 'of the linked one'
}

@test "D17: what is no checkpoint is refused, and so is a bare repository" {
    both_engines refused
}
refused() {
    make_repo
    put new 'untracked'
    save
    must_exit 1 git-shadow-commit restore HEAD
    assert_match "$stderr" 'no checkpoint'
    must_exit 1 git-shadow-commit restore no-such-thing
    must_exit 1 git-shadow-commit restore '@{7}'
    must_exit 1 git-shadow-commit restore "$(git hash-object README)"
    must_exit 129 git-shadow-commit restore --session 'not a name'
    must_exit 129 git-shadow-commit restore --no-such-option
    assert_file new untracked
    cd ..
    make_repo --bare bare
    must_exit 128 git-shadow-commit restore
}

@test "D17: a lock that is busy: 75, and nothing is changed" {
    both_engines busy
}
busy() {
    make_repo
    save
    put README changed
    hold flock ".git/interlock/locks/objects"
    must_exit 75 git-shadow-commit restore --lock-timeout 100ms
    unhold
    assert_file README changed
}

# ---- the index ----------------------------------------------------------------------------------------

@test "D17: --staged brings back what was staged" {
    both_engines staged
}
staged() {
    make_repo
    put README 'staged'
    put added 'staged too'
    git add README added
    put README 'and changed on'
    save
    local first=$id want
    want=$(git ls-files -s)
    git rm -q --cached added
    git add README
    put doc/guide.txt 'staged later'
    git add doc
    restore "$first"
    assert_differ "$(git ls-files -s)" "$want" index
    restore --staged "$first"
    assert_equal "$(git ls-files -s)" "$want"
    assert_file README 'and changed on'
    assert_equal "$(git status --porcelain | sort)" $'A  added\nMM README'
}

@test "D17: --staged for some paths, and without a kept index" {
    both_engines staged_paths
}
staged_paths() {
    make_repo
    put README then
    put src/main.c then
    save
    local first=$id
    put README now
    put src/main.c now
    git add -A
    restore --staged "$first" -- README
    assert_equal "$(git rev-parse :README)" "$(echo then | git hash-object --stdin)"
    assert_equal "$(git rev-parse :src/main.c)" "$(echo now | git hash-object --stdin)"
    assert_equal "$(git status --porcelain)" $'M  README\nM  src/main.c'
}

@test "D17: --staged with a conflict in the index" {
    both_engines staged_conflict
}
staged_conflict() {
    make_repo
    save
    local first=$id
    git checkout -q -b side
    put README side
    git commit -qam side
    git checkout -q main
    put README main
    git commit -qam main
    git merge -q side >/dev/null 2>&1 || :
    [ -n "$(git ls-files -u)" ]
    restore --staged "$first"
    assert_equal "$(git ls-files -u)" ''
    assert_file README 'read me'
    # the merge itself is not ours to end
    [ -f .git/MERGE_HEAD ]
}

@test "D17: --staged while git holds the index: 75, and nothing is changed" {
    both_engines staged_busy
}
staged_busy() {
    make_repo
    save
    put README changed
    hold dotlock .git/index
    must_exit 75 git-shadow-commit restore --staged --lock-timeout 200ms
    assert_match "$stderr" 'index.lock'
    unhold
    assert_file README changed
}

# ---- plan and report ------------------------------------------------------------------------------------

@test "D17: --dry-run prints what the real run does, and changes nothing" {
    both_engines dry
}
dry() {
    make_repo
    put old 'goes away'
    put tool 'x'
    save
    local first=$id
    rm old
    chmod +x tool
    put README changed
    put new 'made since'
    put out/x ignored
    printf '*.o\nout\n' >.gitignore
    save
    local before plan refs
    before=$(user_state)
    refs=$(refs_and_objects)
    must git-shadow-commit restore --dry-run --json "$first"
    plan=$(results <<<"$output")
    assert_equal "$(json undo checkpoint <<<"$(tail -n 1 <<<"$output")")" "null"$'\n'"$first"
    must git-shadow-commit restore -n "$first"
    assert_equal "$(user_state)" "$before"
    assert_equal "$(refs_and_objects)" "$refs"
    must git-shadow-commit restore --json "$first"
    assert_equal "$(results <<<"$output")" "${plan//planned/done}"
    assert_equal "$(results <<<"$output")" 'write done .gitignore
write done README
delete done new
write done old
mode done tool'
    rm -r out # not ignored any more
    assert_tree "$first"
}

@test "D17: --json has the undo last, and the ids of what it names" {
    both_engines report
}
report() {
    make_repo
    save
    local first=$id
    put README changed
    must git-shadow-commit restore --json "$first"
    assert_equal "$(json v path action result reason <<<"$(head -n 1 <<<"$output")")" \
        $'1\nREADME\nwrite\ndone\nnull'
    assert_equal "$(json v undo <<<"$(tail -n 1 <<<"$output")")" \
        "1"$'\n'"$(git rev-parse "$(shadow_ref)")"
    assert_equal "$(undo_of)" "$(git rev-parse "$(shadow_ref)")"
    restore -q "$first"
    assert_equal "$stderr$output" ''
}

@test "D10 D16: the safety save is a checkpoint like any other; no hook, no pager, no editor" {
    both_engines safety
}
safety() {
    make_repo
    local hook
    mkdir -p .git/hooks
    for hook in post-checkout post-index-change pre-commit post-commit; do
        printf '#!/bin/sh\necho ran >>%q/ran\n' "$PWD/.." >".git/hooks/$hook"
        chmod +x ".git/hooks/$hook"
    done
    save --session first
    local first=$id
    put README changed
    GIT_INTERLOCK_SESSION=me GIT_PAGER='touch ../paged' restore --staged "$first"
    must git-shadow-commit show --json
    assert_equal "$(json session message <<<"$output")" "me"$'\n'"before restore of ${first:0:12}"
    assert_absent ../ran
    assert_absent ../paged
}

# ---- one session, H2 ---------------------------------------------------------------------------------------

@test "H2: --session undoes what it named in its saves, and nobody else's" {
    every_variant session
}
session() {
    make_repo
    save
    put a.txt 'by a'
    save --session a -- a.txt
    put b.txt 'by b'
    put README 'by b'
    save --session b -- b.txt README
    put src/main.c 'by a'
    put made/by-a 'by a'
    save --session a -- src made
    local before
    before=$(still)
    restore --session a
    assert_absent a.txt
    assert_absent made
    assert_equal "$(cat src/main.c)" "$(git show HEAD:src/main.c)"
    assert_file b.txt 'by b'
    assert_file README 'by b'
    assert_equal "$(still)" "$before"
    # and the undo of the undo
    restore "$(undo_of)"
    assert_file a.txt 'by a'
    assert_file made/by-a 'by a'
}

@test "H2: the naive undo, back to before the session began, reverts everyone's" {
    make_repo
    save
    local first=$id
    put a.txt 'by a'
    save --session a -- a.txt
    put b.txt 'by b'
    save --session b -- b.txt
    restore "$first"
    assert_absent b.txt
}

@test "H2: what another session or hand has changed since is listed and left alone" {
    both_engines session_since
}
session_since() {
    make_repo
    save
    local name
    for name in theirs mine unrecorded both; do put "$name" 'by a'; done
    save --session a -- theirs mine unrecorded both
    put theirs 'by b'
    put both 'by b'
    save --session b -- theirs both
    put both 'by a again'
    save --session a -- both
    put unrecorded 'by a hand'
    must git-shadow-commit restore --session a --json
    assert_equal "$(results <<<"$output")" 'delete kept both
delete done mine
delete kept theirs
delete kept unrecorded'
    assert_absent mine
    assert_file theirs 'by b'
    assert_file both 'by a again'
    assert_file unrecorded 'by a hand'
    assert_match "$stderr" 'theirs: changed since'
    assert_match "$stderr" 'unrecorded: changed since'
    assert_match "$stderr" 'both: another session'
}

@test "H2: a save of the whole tree attributes nothing to anybody" {
    both_engines session_whole
}
session_whole() {
    make_repo
    put x 'whole'
    save --session a
    must_exit 1 git-shadow-commit restore --session a
    assert_match "$stderr" "session 'a' has named no path"
    put README 'by a'
    save --session a -- README
    put doc/guide.txt 'by somebody'
    save --session a
    restore --session a
    assert_file README 'read me'
    assert_file x whole
    assert_file doc/guide.txt 'by somebody'
}

@test "H2: across segments, to a checkpoint, and for some of its paths" {
    both_engines session_segments
}
session_segments() {
    make_repo
    git config interlock.segmentMax 2
    local n middle
    for n in 1 2 3 4 5 6 7; do
        put f "version $n"
        put "g$n" 'by a'
        save --session a -- f "g$n"
        [ "$n" != 4 ] || middle=$id
        put other "$n"
        save --session b -- other
    done
    restore --session a -- g7 g6
    assert_absent g7
    assert_absent g6
    assert_file f 'version 7'
    restore --session a "$middle"
    assert_file f 'version 4'
    assert_file g4 'by a'
    assert_absent g5
    assert_file other 7
    must git-shadow-commit restore --session a --dry-run
    assert_match "$output" 'delete g1'
    assert_no_match "$output" 'other'
}

@test "H2: --session with --staged moves only the entries of what it put back" {
    both_engines session_staged
}
session_staged() {
    make_repo
    save
    put README 'by a'
    put doc/guide.txt 'by b'
    git add -A
    save --session a -- README
    save --session b -- doc
    restore --session a --staged
    assert_equal "$(git status --porcelain)" 'M  doc/guide.txt'
}
