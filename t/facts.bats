#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# What libgit2 1.5.1 gets wrong, a test for each: where a repository or a feature
# is git's, `engine` says "git", -v gives the reason, and the tree is git's; where
# it is about refs, what happens to the ref is right.

load helpers

# Nobody forces an engine here: the choice is what is tested.
setup() {
    isolate
    use_engine auto
}

# Saves, and expects the git engine for a reason that matches, and git's tree.
by_git() { # <regex of the reason> [<save argument>...]
    local reason=$1
    shift
    try git-shadow-commit save --json -v "$@"
    # shellcheck disable=SC2154
    assert_equal "$status" 0 status
    # shellcheck disable=SC2154
    local line=$output said=$stderr
    assert_equal "$(json engine <<<"$line")" git engine
    assert_match "$said" "$reason" 'reason on -v'
    assert_equal "$(json tree <<<"$line")" "$(git_tree)" tree
    git rev-list --objects --quiet "$(json commit <<<"$line")"
}

by_native() {
    must git-shadow-commit save --json -v "$@"
    # shellcheck disable=SC2154
    assert_equal "$(json engine <<<"$output")" native engine
    assert_equal "$(json tree <<<"$output")" "$(git_tree)" tree
}

edit() { # something of each kind has changed
    put src/main.c 'int main(void) { return 1; }'
    put src/new.c 'int y;'
    rm doc/guide.txt
}

@test "facts: an ordinary repository is native" {
    make_repo
    edit
    by_native
}

# ---- what libgit2 refuses to open, or must not -------------------------------------

@test "facts: SHA-256" {
    requires sha256
    make_repo --hash sha256
    edit
    by_git 'sha256'
}

@test "facts: reftable (refStorage)" {
    requires reftable
    make_repo --ref-format reftable
    edit
    by_git 'reftable'
    must git-cas-ref refs/test/x HEAD ''
    assert_equal "$(git rev-parse refs/test/x)" "$(git rev-parse HEAD)"
    assert_absent .git/refs/test
    must_exit 1 git-cas-ref refs/test/x HEAD ''
    must git-cas-ref --delete refs/test/x HEAD
    refute git rev-parse -q --verify refs/test/x
}

@test "facts: a repository that only git can open is never forced open (refStorage)" {
    requires reftable
    make_repo --ref-format reftable
    edit
    use_engine native
    try git-shadow-commit save
    refute [ "$status" = 0 ]
    assert_match "$stderr" 'forced.*reftable'
    # A ref is git's to write there, whatever is forced.
    try git-cas-ref refs/test/x HEAD ''
    assert_absent .git/refs/test
    assert_absent .git/refs/shadow
    if [ "$status" = 0 ]; then assert_equal "$(git rev-parse refs/test/x)" "$(git rev-parse HEAD)"; fi
}

@test "facts: reftable: a chain from its first save to expire, in the main and in a linked worktree" {
    requires reftable
    make_repo --ref-format reftable
    git config interlock.segmentMax 2
    git worktree add -q ../linked
    local place n
    for place in repo linked; do
        cd "../$place"
        for n in 1 2 3 4 5; do
            put src/main.c "$n in $place"
            must git-shadow-commit save -m "$n" --session "$place"
        done
        must git-shadow-commit log --format=%s
        assert_equal "$(tr '\n' ' ' <<<"$output")" '5 4 3 2 1 '
        must git-shadow-commit show --no-patch --format=%s '@{3}'
        assert_equal "$output" 2
        must git-shadow-commit restore '@{4}' -- src/main.c
        assert_file src/main.c "1 in $place"
        must git-shadow-commit expire --keep 2 --ref "$(shadow_ref)"
        must git-shadow-commit log --format=%s
        assert_no_match "$output" '^1$'
        must git-cas-ref refs/worktree/x HEAD ''
        assert_equal "$(git rev-parse refs/worktree/x)" "$(git rev-parse HEAD)"
        must git-cas-ref HEAD "$(git commit-tree -p HEAD -m next 'HEAD^{tree}')" HEAD
        fsck
    done
    assert_equal "$(git for-each-ref --format='%(refname)' refs/shadow)" \
        $'refs/shadow/main/b/main\nrefs/shadow/wt/linked/b/linked'
    assert_absent .git/refs/shadow
    assert_equal "$(debris)" ''
}

@test "facts: reftable: a chain goes on when the refs migrate" {
    requires git-2.48
    make_repo
    put src/main.c 'one'
    must git-shadow-commit save -m one
    git refs migrate --ref-format=reftable
    put src/main.c 'two'
    by_git 'reftable' -m two
    must git-shadow-commit log --format=%s
    assert_equal "$output" $'two\none'
    git refs migrate --ref-format=files
    put src/main.c 'three'
    by_native -m three
    must git-shadow-commit log --format=%s
    assert_equal "$output" $'three\ntwo\none'
    must git-shadow-commit restore '@{2}' -- src/main.c
    assert_file src/main.c 'one'
}

@test "facts: worktreeConfig in format 1" {
    make_repo
    git config core.repositoryFormatVersion 1
    git config extensions.worktreeConfig true
    git config --worktree core.autocrlf true
    edit
    printf 'one\r\ntwo\r\n' >crlf.txt
    by_git 'worktree[cC]onfig'
    assert_equal "$(git show "$(shadow_ref):crlf.txt" | od -c | grep -c '\\r')" 0
}

@test "facts: worktreeConfig in format 0 is read as git reads it" {
    make_repo
    git config extensions.worktreeConfig true
    git config core.repositoryFormatVersion 0
    git config --file .git/config.worktree core.autocrlf true
    edit
    printf 'one\r\ntwo\r\n' >crlf.txt
    by_git 'worktree[cC]onfig'
}

@test "facts: relativeWorktrees" {
    requires git-2.48
    make_repo
    git -c worktree.useRelativePaths=true worktree add -q ../linked
    assert_equal "$(git config extensions.relativeWorktrees)" true
    cd ../linked
    edit
    by_git 'relative[wW]orktrees'
}

@test "facts: relativeWorktrees: refs, log and restore in the worktree that it was set for" {
    requires git-2.48
    make_repo
    git -c worktree.useRelativePaths=true worktree add -q ../linked
    assert_match "$(cat ../linked/.git)" '^gitdir: \.\./repo/'
    cd ../linked
    put src/main.c 'first'
    must git-shadow-commit save -m one
    put src/main.c 'second'
    must git-shadow-commit save -m two
    must git-shadow-commit log --format=%s
    assert_equal "$output" $'two\none'
    must git-shadow-commit restore '@{1}' -- src/main.c
    assert_file src/main.c 'first'
    must git-cas-ref refs/worktree/x HEAD ''
    refute git -C ../repo rev-parse -q --verify refs/worktree/x
    # The main worktree is of the same repository.
    cd ../repo
    edit
    by_git 'relative[wW]orktrees'
    # Both moved together: the links still lead to each other.
    cd ..
    mkdir elsewhere
    mv repo linked elsewhere/
    cd elsewhere/linked
    must git-shadow-commit log -1 --format=%s
    put src/main.c 'third'
    must git-shadow-commit save -m three
    assert_equal "$(git log -1 --format=%s "$(shadow_ref)")" three
}

@test "facts: preciousObjects" {
    make_repo
    git config core.repositoryFormatVersion 1
    git config extensions.preciousObjects true
    edit
    by_git 'precious[oO]bjects'
}

@test "facts: a partial clone" {
    make_repo
    git config uploadpack.allowFilter true
    cd ..
    git clone -q --filter=blob:none "file://$PWD/repo" clone
    cd clone
    edit
    by_git 'partial'
}

@test "facts: a partial clone: no blob is fetched to save, and one that is needed comes by itself" {
    make_repo
    git config uploadpack.allowFilter true
    put doc/guide.txt 'a second edition'
    git commit -qam 'second edition'
    cd ..
    git clone -q --filter=blob:none --no-checkout "file://$PWD/repo" clone
    cd clone
    git sparse-checkout set --cone src
    git checkout -q
    local missing
    missing=$(git rev-list --objects --missing=print --all | grep -c '^?')
    assert_at_least "$missing" 2 'missing blobs'
    put src/new.c 'int y;'
    must git-shadow-commit save --json
    assert_equal "$(json engine <<<"$output")" git
    assert_equal "$(git rev-list --objects --missing=print --all | grep -c '^?')" "$missing" 'missing blobs'
    # As if checked out and lost: restore needs what was never here.
    mkdir -p doc
    must git-shadow-commit restore "$(shadow_ref)" -- doc
    assert_equal "$(git show "$(shadow_ref):doc/guide.txt")" 'a second edition'
}

# `git sparse-checkout` also turns worktreeConfig on, a row of its own.
sparse() {
    git sparse-checkout set "$@"
    local name
    for name in core.sparseCheckout core.sparseCheckoutCone index.sparse; do
        git config "$name" "$(git config --worktree "$name" || echo false)"
    done
    git config --unset extensions.worktreeConfig
    git config core.repositoryFormatVersion 0
    rm -f .git/config.worktree
}

# ---- the index ---------------------------------------------------------------------------

@test "facts: a sparse index" {
    make_repo
    sparse --cone --sparse-index doc
    assert_equal "$(git ls-files --sparse | grep -c '/$')" 1 'sparse directories'
    put doc/guide.txt 'another guide'
    by_git 'sparse'
}

@test "facts: a split index" {
    make_repo
    git update-index --split-index
    edit
    by_git 'split'
    # Changed in the part that is not shared.
    git add src/new.c
    put src/new.c 'int z;'
    by_git 'split'
}

@test "facts: a sparse checkout with a full index keeps what is not checked out" {
    make_repo
    sparse --no-cone --no-sparse-index '/doc/'
    put doc/guide.txt 'another guide'
    by_git 'sparse|skip-worktree'
    assert_equal "$(git show "$(shadow_ref):src/main.c")" 'int main(void) { return 0; }'
}

@test "facts: skip-worktree without a sparse checkout" {
    make_repo
    git update-index --skip-worktree src/main.c
    put src/main.c 'hidden'
    put src/new.c 'int y;'
    by_git 'skip-worktree|sparse'
}

@test "facts: the index is not written: the untracked cache stays (git_index_write)" {
    make_repo
    git config core.untrackedCache true
    git update-index --untracked-cache
    git status >/dev/null
    grep -q UNTR .git/index
    local before
    before=$(user_state)
    edit
    before=$(user_state)
    by_native
    assert_equal "$(user_state)" "$before"
    grep -q UNTR .git/index
}

# ---- attributes -----------------------------------------------------------------------------

@test "facts: filter= with clean" {
    make_repo
    git config filter.upper.clean 'tr a-z A-Z'
    put .gitattributes '*.up filter=upper'
    put x.up 'lower case'
    by_git 'filter'
    assert_equal "$(git show "$(shadow_ref):x.up")" 'LOWER CASE'
}

@test "facts: filter= with a long-running process" {
    make_repo
    git config filter.proc.process "perl '$TWIN/filter-process.pl'"
    put .gitattributes '*.up filter=proc'
    put x.up 'lower case'
    by_git 'filter'
    assert_equal "$(git show "$(shadow_ref):x.up")" 'LOWER CASE'
}

@test "facts: filter= in info/attributes and in core.attributesFile" {
    make_repo
    git config filter.upper.clean 'tr a-z A-Z'
    mkdir -p .git/info
    echo '*.up filter=upper' >.git/info/attributes
    put x.up 'lower case'
    by_git 'filter'
    rm .git/info/attributes
    echo '*.also filter=upper' >"$HOME/attributes"
    git config core.attributesFile '~/attributes'
    put x.also 'also lower'
    by_git 'filter'
    assert_equal "$(git show "$(shadow_ref):x.also")" 'ALSO LOWER'
}

@test "facts: working-tree-encoding" {
    make_repo
    put .gitattributes '*.u16 text working-tree-encoding=UTF-16'
    printf '\376\377\0w\0i\0d\0e\0\n' >x.u16
    by_git 'working-tree-encoding'
    assert_equal "$(git show "$(shadow_ref):x.u16")" 'wide'
}

@test "facts: a conflict in a file that git cannot convert: git fails, and so does a save, with 128" {
    make_repo
    put .gitattributes '*.u16 text working-tree-encoding=UTF-16'
    git add .gitattributes
    git commit -q -m attributes
    local blob
    blob=$(git hash-object -w --stdin <<<'text')
    printf '100644 %s %d\tx.u16\n' "$blob" 1 "$blob" 2 "$blob" 3 | git update-index --index-info
    printf 'no byte order mark' >x.u16
    refute git_tree
    must_exit 128 git-shadow-commit save
    assert_match "$stderr" 'unmerged entries'
    refute git rev-parse -q --verify "$(shadow_ref)"
}

# ---- nested repositories -----------------------------------------------------------------------

@test "facts: a nested repository with a commit is a gitlink" {
    make_repo
    git init -q nested
    git -C nested commit -q --allow-empty -m inside
    put nested/file 'inside'
    by_git 'nested'
    assert_match "$(git ls-tree "$(shadow_ref)" nested)" '^160000 commit'
}

@test "facts: a nested repository that was recorded is recorded anew, whatever wildcard names it" {
    make_repo
    mkdir sub
    git init -q sub/nested
    git -C sub/nested commit -q --allow-empty -m inside
    must git-shadow-commit save
    local spec
    # git add passes over it where the wildcard ends in its name.
    for spec in '*/nested' 'sub/*' 'sub/neste?' ':(glob)**/nested' ':!src'; do
        git -C sub/nested commit -q --allow-empty -m "for $spec"
        must git-shadow-commit save --json -- "$spec"
        assert_equal "$(json skipped.0.reason <<<"$output")" 'nested repository'
        assert_equal "$(git rev-parse "$(shadow_ref):sub/nested")" "$(git -C sub/nested rev-parse HEAD)" "with $spec"
    done
    # One that cannot be added stays, and is told of; one that is gone is gone.
    local before
    before=$(git rev-parse "$(shadow_ref):sub/nested")
    git -C sub/nested update-ref -d HEAD
    must git-shadow-commit save --json --allow-unchanged -- '*/nested'
    assert_match "$output" '"path": ?"sub/nested"'
    assert_equal "$(git rev-parse "$(shadow_ref):sub/nested")" "$before"
    rm -rf sub/nested
    must git-shadow-commit save -- '*/nested'
    assert_equal "$(git ls-tree "$(shadow_ref)" sub/nested)" ''
}

@test "facts: a nested repository without a commit is left out and listed" {
    make_repo
    git init -q nested
    put nested/file 'inside'
    put src/new.c 'int y;'
    try git-shadow-commit save --json -v
    assert_equal "$status" 0
    assert_equal "$(json engine <<<"$output")" git
    assert_match "$output" '"path": ?"nested/?"'
    assert_equal "$(git ls-tree "$(json commit <<<"$output")" nested)" ''
    assert_equal "$(git show "$(json commit <<<"$output"):src/new.c")" 'int y;'
    must_exit 3 git-shadow-commit save --strict --allow-unchanged
}

@test "facts: from the folder of a submodule that is not there, as from anywhere (D8)" {
    ENGINES=git every_variant from_unpopulated
}

from_unpopulated() {
    make_repo
    git update-index --add --cacheinfo "160000,$(git rev-parse HEAD),deep/sub"
    git commit -qm 'a submodule'
    mkdir -p deep/sub
    put src/new.c 'int y;'
    # A conflict whose file is gone, for which a sparse checkout has no place: path by path, git
    # does not add what is not there.
    git sparse-checkout set --no-cone '/*' '!/gone.c'
    printf '100644 %s 3\tgone.c\n' "$(git hash-object -w src/new.c)" | git update-index --index-info
    # git refuses to add anything from there.
    refute sh -c 'cd deep/sub && git add -A :/'
    must sh -c 'cd deep/sub && git-shadow-commit save'
    assert_equal "$(git rev-parse "$(shadow_ref)^{tree}")" "$(git_tree)"
}

# ---- work inside a submodule -------------------------------------------------------------------

# The reasons of the last save, "path:reason ...".
skips() { json skipped <<<"$output" | perl -ne 'print "$1:$2 " while /"path": ?"(.*?)", ?"reason": ?"(.*?)"/g'; }

@test "facts: uncommitted work inside a submodule is listed, and its commit recorded" {
    every_variant dirty_submodule
}
dirty_submodule() {
    git init -q --object-format="$HASH" inner
    (cd inner && put file one && git add file && git commit -qm one)
    make_repo
    git -c protocol.file.allow=always submodule --quiet add ../inner "sub mod"
    git -c protocol.file.allow=always submodule --quiet add ../inner dir/other
    git commit -qm 'two submodules'
    must git shadow-commit --strict --json
    assert_equal "$(skips)" ''
    # Changed, staged, untracked: each is work that no tree of ours holds.
    put "sub mod/file" two
    must_exit 3 git shadow-commit --strict --json --allow-unchanged
    assert_equal "$(skips)" 'sub mod:dirty submodule '
    assert_match "$(git log -1 --format=%B "$(shadow_ref)")" 'Shadow-Skipped: "sub mod" dirty submodule'
    assert_equal "$(git rev-parse "$(shadow_ref):sub mod")" "$(git -C "sub mod" rev-parse HEAD)"
    git -C "sub mod" add file
    put dir/other/new 'untracked'
    git config status.showUntrackedFiles no
    must git shadow-commit --json --allow-unchanged
    assert_equal "$(skips)" 'dir/other:dirty submodule sub mod:dirty submodule '
    # By name only what is named; what is committed in there is none any more.
    must git shadow-commit --json --allow-unchanged -- README
    assert_equal "$(skips)" ''
    must git shadow-commit --json --allow-unchanged -- dir README
    assert_equal "$(skips)" 'dir/other:dirty submodule '
    git -C "sub mod" commit -qm two
    rm dir/other/new
    must git shadow-commit --strict --json
    assert_equal "$(skips)" ''
    assert_equal "$(git rev-parse "$(shadow_ref):sub mod")" "$(git -C "sub mod" rev-parse HEAD)"
    # One that is not populated has nothing in it.
    git submodule --quiet deinit -f dir/other
    must git shadow-commit --strict --json --allow-unchanged
    # What the user does not want to hear of is not told.
    put "sub mod/file" three
    [ "$GIT_INTERLOCK_ENGINE" = native ] ||
        must git -c "submodule.sub mod.ignore=dirty" shadow-commit --strict --json --allow-unchanged
    # The user's files are as they were: the index of neither was refreshed.
    local before
    before=$(sha256sum .git/index "$(git -C "sub mod" rev-parse --absolute-git-dir)/index")
    touch -d '2001-02-03' "sub mod/file" README
    must git shadow-commit --json --allow-unchanged
    assert_equal "$(sha256sum .git/index "$(git -C "sub mod" rev-parse --absolute-git-dir)/index")" "$before"
}

@test "facts: a submodule in which git fails hides no other" {
    git init -q inner
    (cd inner && put file one && git add file && git commit -qm one)
    make_repo
    git -c protocol.file.allow=always submodule --quiet add ../inner a
    git -c protocol.file.allow=always submodule --quiet add ../inner b
    git commit -qm 'two submodules'
    put b/file two
    rm .git/modules/a/index && mkdir .git/modules/a/index
    must git shadow-commit --json
    assert_equal "$(skips)" 'a:unreadable b:dirty submodule '
}

@test "facts: a moved submodule is git's to judge while .gitmodules may ignore it" {
    git init -q sub
    git -C sub commit -q --allow-empty -m one
    make_repo
    git submodule --quiet add ../sub module
    git config --file .gitmodules submodule.module.Ignore all
    git commit -q -a -m 'a submodule'
    git -C module commit -q --allow-empty -m two
    by_git 'submodule'
    # git takes the index's, then HEAD's, when the file is gone.
    rm .gitmodules
    git -C module commit -q --allow-empty -m three
    by_git 'submodule'
    git rm -q --cached .gitmodules
    git -C module commit -q --allow-empty -m four
    by_git 'submodule'
    # Nowhere any more: nothing to ask.
    git commit -q -m 'no .gitmodules'
    git -C module commit -q --allow-empty -m five
    by_native
    assert_equal "$(git rev-parse "$(shadow_ref):module")" "$(git -C module rev-parse HEAD)"
}

# ---- where refs are -------------------------------------------------------------------------------

@test "facts: refs/worktree/ and refs/rewritten/ belong to the worktree" {
    make_repo
    git worktree add -q ../linked
    local one two
    one=$(git rev-parse HEAD)
    two=$(git commit-tree -m two 'HEAD^{tree}')
    must git-cas-ref refs/worktree/x "$one" ''
    cd ../linked
    # Not there yet: what the main worktree made is not ours.
    must git-cas-ref refs/worktree/x "$two" ''
    must git-cas-ref refs/rewritten/y "$two" ''
    assert_equal "$(git rev-parse refs/worktree/x)" "$two"
    assert_equal "$(git -C ../repo rev-parse refs/worktree/x)" "$one"
    refute git -C ../repo rev-parse -q --verify refs/rewritten/y
    must_exit 1 git-cas-ref refs/worktree/x "$two" "$one"
    must git-cas-ref --delete refs/worktree/x "$two"
    assert_equal "$(git -C ../repo rev-parse refs/worktree/x)" "$one"
}

# ---- settings that libgit2 ignores -------------------------------------------------------------------

@test "facts: core.sharedRepository governs the mode of what we create" {
    umask 077
    make_repo
    git config core.sharedRepository group
    edit
    by_git 'sharedRepository'
    local wrong
    wrong=$(find .git/interlock .git/refs/shadow -type d ! -perm -070 -print)
    assert_equal "$wrong" '' 'folders without the group'
    wrong=$(find .git/refs/shadow .git/objects/pack -type f -newer .git/config ! -perm -040 -print)
    assert_equal "$wrong" '' 'files without the group'
    must git-cas-ref refs/test/x HEAD ''
    assert_equal "$(find .git/refs/test -type f ! -perm -060)" ''
}

@test "facts: core.fsync" {
    make_repo
    git config core.fsync all
    edit
    by_git 'fsync'
}

@test "facts: git -c (GIT_CONFIG_PARAMETERS) is honoured" {
    make_repo
    printf 'one\r\ntwo\r\n' >crlf.txt
    must git -c core.autocrlf=true shadow-commit save --json
    local tree=$output
    tree=$(json tree <<<"$tree")
    assert_equal "$(git cat-file -p "$tree:crlf.txt" | od -c | grep -c '\\r')" 0
    must git -c core.autocrlf=true shadow-commit save --json -v --allow-unchanged
    assert_equal "$(json engine <<<"$output")" git
    assert_equal "$(json tree <<<"$output")" "$tree"
}

@test "facts: GIT_CONFIG_COUNT is honoured" {
    make_repo
    printf 'one\r\ntwo\r\n' >crlf.txt
    export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.autocrlf GIT_CONFIG_VALUE_0=true
    by_git 'GIT_CONFIG|config'
    assert_equal "$(git show "$(shadow_ref):crlf.txt" | od -c | grep -c '\\r')" 0
}

@test "facts: GIT_AUTHOR_* and GIT_COMMITTER_* are honoured" {
    both_engines names_in_environment
}
names_in_environment() {
    make_repo
    edit
    export GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@example.com GIT_AUTHOR_DATE='1000000000 +0200'
    export GIT_COMMITTER_NAME=Con GIT_COMMITTER_EMAIL=con@example.com
    must git-shadow-commit save
    assert_equal "$(git log -1 --format='%an %ae %cn %ce' "$output")" 'Ann ann@example.com Con con@example.com'
    assert_equal "$(git log -1 --format='%at' "$output")" 1000000000
    must git-cas-ref -m because --create-reflog refs/test/x HEAD ''
    assert_match "$(cat .git/logs/refs/test/x)" 'Con <con@example.com>'
    unset "${!GIT_AUTHOR_@}" "${!GIT_COMMITTER_@}"
}

@test "facts: no identity anywhere: the checkpoint is made all the same" {
    both_engines no_identity
}
no_identity() {
    make_repo
    edit
    mv "$HOME/.gitconfig" "$HOME/.gitconfig.away"
    try git-shadow-commit save
    mv "$HOME/.gitconfig.away" "$HOME/.gitconfig"
    assert_equal "$status" 0
}

@test "facts: core.fsync: a ref that git-cas-ref writes is synced" {
    requires strace
    make_repo
    strace -f -y -e trace=fsync,fdatasync -o ../trace git-cas-ref refs/test/x HEAD ''
    refute grep -q 'refs/test/x' ../trace
    git config core.fsync reference
    strace -f -y -e trace=fsync,fdatasync -o ../trace git-cas-ref refs/test/y HEAD ''
    grep -q 'sync([0-9]*<[^>]*refs/test/y.lock' ../trace
}

@test "facts: includeIf: a condition that libgit2 does not know is git's" {
    make_repo
    git config --file ../more core.autocrlf true
    printf 'one\r\ntwo\r\n' >crlf.txt
    # gitdir and onbranch it knows.
    git config --global "includeIf.gitdir:$PWD/.path" "$PWD/../more"
    by_native
    assert_equal "$(git show "$(shadow_ref):crlf.txt" | od -c | grep -c '\\r')" 0
    git config --global --unset "includeIf.gitdir:$PWD/.path"
    git config --global includeIf.onbranch:main.path "$PWD/../more"
    put crlf2.txt $'one\r'
    by_native
    git config --global --unset includeIf.onbranch:main.path
    # Newer git knows this one, an older one passes it over: the tree is git's.
    git config --global "includeIf.worktree:$PWD/.path" "$PWD/../more"
    put crlf3.txt $'one\r'
    by_git 'includeIf'
}

@test "facts: attr.tree" {
    make_repo
    put .gitattributes '*.txt text eol=crlf'
    git add .gitattributes
    git commit -q -m attributes
    rm .gitattributes
    put .gitattributes '*.txt -text'
    git config attr.tree HEAD
    printf 'one\r\ntwo\r\n' >crlf.txt
    by_git 'attr.tree'
}

# ---- the environment ------------------------------------------------------------------------------------

@test "facts: GIT_WORK_TREE and GIT_DIR, as in a hook" {
    make_repo
    edit
    local tree
    tree=$(git_tree)
    cd ..
    try env GIT_DIR="$PWD/repo/.git" GIT_WORK_TREE="$PWD/repo" git-shadow-commit save --json -v
    assert_equal "$status" 0
    assert_equal "$(json engine <<<"$output")" git
    assert_equal "$(json tree <<<"$output")" "$tree"
    cd repo/src
    try env GIT_DIR=../.git GIT_WORK_TREE=.. git-shadow-commit save --json
    assert_equal "$status" 0
    assert_equal "$(json tree <<<"$output")" "$tree"
}

@test "facts: GIT_COMMON_DIR" {
    make_repo
    git worktree add -q ../linked
    cd ../linked
    edit
    local tree
    tree=$(git_tree)
    try env GIT_DIR="$PWD/../repo/.git/worktrees/linked" GIT_COMMON_DIR="$PWD/../repo/.git" \
        GIT_WORK_TREE="$PWD" git-shadow-commit save --json -v
    assert_equal "$status" 0
    assert_equal "$(json engine <<<"$output")" git
    assert_equal "$(json tree <<<"$output")" "$tree"
    assert_equal "$(git rev-parse refs/shadow/wt/linked/b/linked)" "$(json commit <<<"$output")"
}

@test "facts: a relative GIT_INDEX_FILE is not an empty index" {
    make_repo
    git update-index --assume-unchanged src/main.c
    put src/main.c 'assumed'
    mv .git/index .git/other
    local index
    for index in .git/other ./.git/other "$PWD/.git/other"; do
        export GIT_INDEX_FILE=$index
        put again "$index"
        by_native
        assert_equal "$(git show "$(json commit <<<"$output"):src/main.c")" 'int main(void) { return 0; }'
    done
    # From below, git takes it from the top of the work tree.
    export GIT_INDEX_FILE=.git/other
    put src/again 'below'
    cd src
    by_native
    cd ..
    # Where git does not go to the top of a work tree, it is asked.
    cd .git
    must git-cas-ref -v refs/heads/in HEAD ''
    assert_match "$stderr" 'engine: git \(relative GIT_INDEX_FILE\)'
    cd ..
    GIT_INDEX_FILE='' must git-cas-ref -v refs/heads/in HEAD HEAD
    assert_match "$stderr" 'engine: git \(relative GIT_INDEX_FILE\)'
    unset GIT_INDEX_FILE
}

@test "facts: safe.directory: a foreign owner is refused, '*' and a path allow it" {
    requires root
    make_repo
    edit
    chown -R 12345:12345 .
    must_exit 128 git-shadow-commit save
    assert_match "$stderr" 'safe\.directory|owner'
    must_exit 128 git-cas-ref refs/test/x HEAD ''
    git config --global safe.directory '*'
    try git-shadow-commit save --json -v
    assert_equal "$status" 0
    assert_equal "$(json engine <<<"$output")" git
    assert_equal "$(json tree <<<"$output")" "$(git_tree)"
    git config --global safe.directory "$PWD"
    must git-shadow-commit save
    git config --global safe.directory /somewhere/else
    must_exit 128 git-shadow-commit save
}

@test "facts: safe.directory: a glob" {
    requires root git-2.46
    mkdir sub
    cd sub
    make_repo
    edit
    chown -R 12345:12345 .
    git config --global safe.directory "${PWD%/*/*}/*"
    try git-shadow-commit save --json -v
    assert_equal "$status" 0
    assert_equal "$(json engine <<<"$output")" git
    assert_equal "$(json tree <<<"$output")" "$(git_tree)"
    must git-cas-ref refs/test/x HEAD ''
    git config --global safe.directory "${PWD%/*}/other/*"
    must_exit 128 git-shadow-commit save
    must_exit 128 git-cas-ref refs/test/y HEAD ''
}

@test "facts: GIT_REFERENCE_BACKEND says where refs are" {
    requires git-2.54
    make_repo plain
    cd ..
    mkdir store
    export GIT_REFERENCE_BACKEND="reftable://$PWD/store"
    make_repo
    edit
    by_git 'GIT_REFERENCE_BACKEND'
    must git-cas-ref refs/test/x HEAD ''
    assert_equal "$(git rev-parse refs/test/x)" "$(git rev-parse HEAD)"
    must_exit 1 git-cas-ref refs/test/x HEAD ''
    assert_absent .git/refs/test
    assert_absent .git/refs/shadow
    must git-shadow-commit log --format=%s
    assert_equal "${#lines[@]}" 1
    unset GIT_REFERENCE_BACKEND
}

@test "facts: GIT_CONFIG_NOSYSTEM is a boolean: when it is false, the system's settings count" {
    requires strace
    make_repo
    local value
    for value in 0 false no '' 1 true; do
        GIT_CONFIG_NOSYSTEM=$value must strace -f -o ../trace -e trace=%file \
            git-cas-ref refs/heads/main HEAD HEAD
        case $value in
            1 | true) refute grep -q /etc/gitconfig ../trace ;;
            *) grep -q /etc/gitconfig ../trace ;;
        esac
    done
    refute env GIT_CONFIG_NOSYSTEM=perhaps git rev-parse HEAD
    must_exit 128 env GIT_CONFIG_NOSYSTEM=perhaps git-cas-ref refs/test/x HEAD ''
}

# ---- hooks and refs ---------------------------------------------------------------------------------------

@test "facts: a reference-transaction hook runs for a swap, and can veto it" {
    both_engines transaction_hook
}
transaction_hook() {
    make_repo
    cat >.git/hooks/reference-transaction <<HOOK
#!/bin/sh
sed "s/^/\$1 /" >>'$PWD/../seen'
[ "\$1" != prepared ] || [ ! -e '$PWD/../veto' ]
HOOK
    chmod +x .git/hooks/reference-transaction
    must git-cas-ref refs/test/x HEAD ''
    grep -q 'committed .*refs/test/x' ../seen
    touch ../veto
    refute git-cas-ref refs/test/y HEAD ''
    refute git rev-parse -q --verify refs/test/y
    rm ../veto
    edit
    must git-shadow-commit save
    grep -q 'committed .*refs/shadow/' ../seen
}

@test "facts: hooks of git's config: none runs for a save, a reference-transaction one for a swap" {
    requires git-2.54
    both_engines config_hooks
}
config_hooks() {
    make_repo
    git config hook.spy.command "echo >>'$PWD/../ran'"
    local event
    for event in post-index-change pre-commit post-commit post-checkout pre-auto-gc; do
        git config --add hook.spy.event "$event"
    done
    git read-tree HEAD # writes the index, whether or not an entry of it is racy
    [ -s ../ran ] # they are there, and git runs them
    rm ../ran
    edit
    must git-shadow-commit save
    put src/main.c 'int main(void) { return 2; }'
    must git-shadow-commit save -- src/main.c
    must git-shadow-commit restore '@{1}'
    assert_absent ../ran
    printf '#!/bin/sh\ncat >>../seen\ntest ! -e ../veto\n' >../guard
    chmod +x ../guard
    git config hook.guard.event reference-transaction
    git config hook.guard.command ../guard
    put src/main.c 'int main(void) { return 3; }'
    must git-shadow-commit save
    grep -q 'refs/shadow/' ../seen
    touch ../veto
    refute git-cas-ref refs/test/x HEAD ''
    refute git rev-parse -q --verify refs/test/x
    rm ../veto
    must git-cas-ref refs/test/x HEAD ''
    grep -q 'refs/test/x' ../seen
    assert_absent ../ran
}

@test "facts: delete does not destroy an unrelated ref (git_reference_delete and pack-refs)" {
    both_engines unrelated_ref
}
unrelated_ref() {
    make_repo
    local i head
    head=$(git rev-parse HEAD)
    for i in $(seq 8); do git update-ref "refs/test/$i" "$head"; done
    git pack-refs --all --prune
    # Packed and loose refs come and go beside the deletes.
    (
        i=0
        while [ ! -e ../stop ]; do
            i=$((i + 1))
            git update-ref "refs/keep/$i" "$head" && echo "$i" >>../kept
            git pack-refs --all --prune 2>/dev/null || :
        done
    ) 3>&- &
    BG_PIDS+=($!)
    for i in $(seq 8); do
        must git-cas-ref --timeout 20s --delete "refs/test/$i" "$head"
    done
    touch ../stop
    wait
    assert_at_least "$(wc -l <../kept)" 3 'rounds beside'
    echo "# note: ${VARIANT}: 8 deletes beside $(wc -l <../kept) new refs packed" >&3
    while read -r i; do
        assert_equal "$(git rev-parse -q --verify "refs/keep/$i")" "$head" "refs/keep/$i"
    done <../kept
    assert_equal "$(git for-each-ref refs/test)" ''
    rm ../stop
}

@test "facts: several refs at once: all or none, D/F and old values checked (git_transaction)" {
    both_engines several_refs
}
several_refs() {
    make_repo
    local one two
    one=$(git rev-parse HEAD)
    two=$(git commit-tree -m two 'HEAD^{tree}')
    git update-ref refs/test/a "$one"
    # The second one's old value is wrong.
    must_exit 1 git-cas-ref --stdin < <(printf 'create refs/test/new %s\nupdate refs/test/a %s %s\n' "$two" "$two" "$two")
    refute git rev-parse -q --verify refs/test/new
    assert_equal "$(git rev-parse refs/test/a)" "$one"
    # The second one is below the first.
    refute git-cas-ref --stdin < <(printf 'create refs/test/d %s\ncreate refs/test/d/e %s\n' "$two" "$two")
    refute git rev-parse -q --verify refs/test/d
    # And below one that exists.
    refute git-cas-ref refs/test/a/b "$two" ''
    # The target must exist.
    refute git-cas-ref refs/test/z "${one//[0-9]/1}" ''
}

@test "facts: a held <ref>.lock is waited for" {
    both_engines waits_for_lock
}
waits_for_lock() {
    make_repo
    git update-ref refs/test/x HEAD
    local new
    new=$(git commit-tree -m new 'HEAD^{tree}')
    hold dotlock .git/refs/test/x
    git-cas-ref --update --timeout 20s refs/test/x -- echo "$new" >../late 2>&1 3>&- &
    local pid=$!
    BG_PIDS+=("$pid")
    sleep 0.5
    assert_equal "$(git rev-parse refs/test/x)" "$(git rev-parse HEAD)"
    unhold
    wait "$pid"
    assert_equal "$(git rev-parse refs/test/x)" "$new"
}

@test "facts: a missing ref with an old value is a lost race: 1, and says what is there" {
    both_engines missing_ref
}
missing_ref() {
    make_repo
    local new
    new=$(git commit-tree -m new 'HEAD^{tree}')
    must_exit 1 git-cas-ref refs/test/x "$new" HEAD
    refute git rev-parse -q --verify refs/test/x
    must_exit 1 git-cas-ref --delete refs/test/x HEAD
    # The value it holds is on stdout.
    git update-ref refs/test/x HEAD
    must_exit 1 git-cas-ref refs/test/x "$new" "$new"
    assert_match "$output" "$(git rev-parse HEAD)"
}

@test "facts: the same value is a success" {
    both_engines same_value
}
same_value() {
    make_repo
    git update-ref refs/test/x HEAD
    must git-cas-ref refs/test/x HEAD HEAD
    # It compares all the same.
    must_exit 1 git-cas-ref refs/test/x HEAD "$(git commit-tree -m other 'HEAD^{tree}')"
}

@test "facts: an object that only a cruft pack has survives a gc after the save" {
    both_engines cruft
}
cruft() {
    make_repo
    put doomed 'only in the cruft pack'
    git add doomed
    git reset -q
    rm doomed
    git gc -q --cruft --prune=never
    assert_at_least "$(find .git/objects/pack -name '*.mtimes' | wc -l)" 1 'cruft packs'
    find .git/objects/pack -name '*.mtimes' -exec touch -d '1 month ago' {} +
    put doomed 'only in the cruft pack'
    must git-shadow-commit save
    git gc -q --cruft --prune=now
    git gc -q --prune=now
    fsck
    assert_equal "$(git show "$output:doomed")" 'only in the cruft pack'
}

@test "facts: SIGTERM leaves no lock behind" {
    requires ptrace
    both_engines terminated
}
terminated() {
    make_repo
    git update-ref refs/test/x HEAD
    local new n total left
    new=$(git commit-tree -m new 'HEAD^{tree}')
    "$HELPER/killat" -o ../report -- git-cas-ref refs/test/x "$new" HEAD
    total=$(sed -n 's/^calls //p' ../report)
    for ((n = 1; n <= total; n += 1 + total / 20)); do
        git update-ref refs/test/x HEAD
        "$HELPER/killat" -n "$n" --signal=TERM -- git-cas-ref refs/test/x "$new" HEAD || :
        # Whatever it left, the next one heals.
        must git-cas-ref --timeout 5s refs/test/x HEAD "$(git rev-parse refs/test/x)"
        left=$(debris)
        assert_equal "$left" '' "left behind by SIGTERM at call $n"
    done
}
