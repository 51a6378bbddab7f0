#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git interlock install, uninstall: the hooks that are there go on working, and what was
# there comes back to the byte.

# shellcheck disable=SC2154 # set by try(): output, stderr, lines
# shellcheck disable=SC2016,SC2030,SC2031,SC2088

load helpers

REF_HOOK=reference-transaction

# Everything in the present repository but our own folder: kinds, modes, contents, links.
everything() { # [<directory>...]
    local common
    common=$(git rev-parse --path-format=absolute --git-common-dir)
    [ $# -gt 0 ] || set -- "$common" .
    find "$@" -path '*/interlock' -prune -o -printf '%p %y %m %l ' \
        \( -type f -exec sha256sum {} \; -o -print \) | sort -u
}

hook() { # <path> <shell commands>
    mkdir -p "${1%/*}"
    printf '#!/bin/sh\n%s\n' "$2" >"$1"
    chmod +x "$1"
}

common() { git rev-parse --path-format=absolute --git-common-dir; }

active() { git-interlock status --json | grep '"guard"' | grep -c '"active":true' || :; }
guard() { # <hook> <key>
    git-interlock status --json | grep "\"hook\":\"$1\"" | json "$2"
}

# All guards are there, and what they are for happens.
assert_guarded() {
    assert_equal "$(active)" 7 'active guards'
    guard_works
}
guard_works() {
    local tip
    tip=$(git shadow-commit --allow-unchanged)
    refute git update-ref "$(shadow_ref)" HEAD
    assert_equal "$(git rev-parse "$(shadow_ref)")" "$tip"
}

# Installs, looks that a second time changes nothing; then back to what was there before.
round_trip() { # <function that looks while it is installed>
    local before between
    before=$(everything)
    must git interlock install --dry-run
    assert_equal "$(everything)" "$before" 'after a dry run'
    local planned=$output
    must git interlock install
    assert_equal "$output" "$planned" 'what was done, against the dry run'
    between=$(everything)
    must git interlock install
    assert_equal "$output" ''
    assert_match "$stderr" 'nothing to do'
    assert_equal "$(everything)" "$between" 'after a second install'
    assert_equal "$(active)" 7 'active guards'
    "$@"
    must git interlock uninstall --dry-run
    planned=$output
    must git interlock uninstall
    assert_equal "$output" "$planned" 'what was undone, against the dry run'
    UNDONE_FROM=$before
    must git interlock uninstall
    assert_match "$stderr" 'nothing to do'
    assert_equal "$(active)" 0 'active guards'
}
assert_undone() { assert_equal "$(everything)" "$UNDONE_FROM" 'after the uninstall'; }

# An older git as far as we ask: a newer one runs what such a git would find as well. (Only
# for git-interlock: to what it starts itself git gives a PATH that begins with its own.)
older_git() {
    can git-2.54 || return 0
    hook "$BATS_TEST_TMPDIR/older/git" "[ \"\$*\" != version ] || { echo git version 2.39.5; exit; }
exec '$(command -v git)' \"\$@\""
    PATH=$BATS_TEST_TMPDIR/older:$PATH
}

# ---- where it goes ------------------------------------------------------------------------

@test "G6: install and uninstall in a plain repository: twice is once, and back to the byte" {
    make_repo
    round_trip true
    assert_undone
    must git interlock install
    guard_works
    git commit -q --allow-empty -m two
    assert_equal "$(git log -1 --format=%s "$(shadow_ref)")" post-commit
    must git interlock uninstall
    git update-ref -d "$(shadow_ref)"
}

@test "G6: a repository without a hooks directory, and with a strange settings file" {
    make_repo
    rm -rf .git/hooks
    printf '# no line feed at the end\n[user]\n\tname = "A; U" ; Thor' >>.git/config
    chmod 640 .git/config
    round_trip true
    assert_undone
    assert_absent .git/hooks
}

@test "G6: hooks that are there run after ours, with arguments, input and status" {
    make_repo
    hook .git/hooks/pre-commit 'echo pre-commit "$0" >>log; test ! -e stop'
    hook .git/hooks/post-checkout 'echo post-checkout "$@" >>log'
    hook .git/hooks/$REF_HOOK 'echo "$1" >>log; cat >>log'
    hook .git/hooks/commit-msg 'echo commit-msg >>log'
    printf 'no hook\n' >.git/hooks/post-merge
    ln -s ../../outside .git/hooks/post-rewrite
    round_trip chained
    git reset -q --hard HEAD~2 && git reflog expire --expire=all --all
    assert_absent .git/hooks/pre-commit.before-interlock
    [ -x .git/hooks/pre-commit ]
    assert_equal "$(cat .git/hooks/post-merge)" 'no hook'
    assert_equal "$(readlink .git/hooks/post-rewrite)" ../../outside
    refute grep -rq interlock .git/hooks .git/config
}
chained() {
    put new 1
    git add new
    must git commit -q -m one
    assert_match "$(cat log)" 'pre-commit .*pre-commit'
    assert_match "$(cat log)" 'commit-msg'
    assert_match "$(cat log)" "prepared
[0-9a-f]{40} [0-9a-f]{40} (HEAD|refs/heads/main)"
    put stop 1
    put new 2
    refute git commit -q -am two
    rm stop
    must git commit -q -am two
    must git checkout -q -b other
    assert_match "$(cat log)" 'post-checkout [0-9a-f]{40} [0-9a-f]{40} 1'
    must git checkout -q main
    must git branch -D other
    guard_works
    # Not in a slot of somebody else's, and then theirs is not asked.
    rm -f log
}

@test "G6: core.hooksPath in the work tree: the team's files are never touched, and run" {
    make_repo
    hook .githooks/pre-commit 'echo team "$0" >>log; . "${0%/*}/lib"'
    put .githooks/lib 'echo lib >>log'
    git add .githooks && git commit -q -m hooks
    git config core.hooksPath .githooks
    round_trip team
    assert_equal "$(git config core.hooksPath)" .githooks
}
team() {
    assert_equal "$(git status --porcelain)" ''
    put new 1
    git add new
    must git commit -q -m one
    assert_match "$(cat log)" 'team .githooks/pre-commit'
    assert_match "$(cat log)" 'lib'
    # One that comes later runs, too; one that is no hook of ours as well.
    hook .githooks/post-commit 'echo later >>log'
    hook .githooks/commit-msg 'echo message >>log; grep -q good "$1"'
    refute git commit -q --allow-empty -m bad
    must git commit -q --allow-empty -m good
    assert_match "$(cat log)" later
    # From below, and in another worktree, where git takes its own copy of them.
    git add .githooks && git commit -q -m 'good hooks'
    must git worktree add -q ../other
    rm -f log
    (cd ../other && put x 1 && git add x && git commit -q -m 'good there')
    assert_match "$(cat ../other/log)" later
    git worktree remove --force ../other
    (mkdir -p sub && cd sub && must git interlock install && [ "$output" = '' ])
    guard_works
}

@test "G6: git hook run finds the team's hooks of any name behind our folder" {
    requires git-2.36
    make_repo
    older_git
    git config core.hooksPath .githooks
    hook .githooks/release-check 'echo checked "$@" >>log; exit 3'
    hook .githooks/pre-push 'echo pushed >>log'
    hook .githooks/helper.sh 'exit 1'
    must git-interlock install
    # A newer git wants to hear that no name was mistyped.
    local run=(git hook run)
    ! git hook run -h | grep -q allow-unknown || run+=(--allow-unknown-hook-name)
    must_exit 3 "${run[@]}" release-check -- one two
    assert_file log 'checked one two'
    must git hook run pre-push
    assert_absent .git/interlock/hooks/helper.sh
    must git-interlock install
    assert_equal "$output" ''
    # One that has gone leaves nothing that git would take for a hook.
    rm .githooks/release-check
    must "${run[@]}" --ignore-missing release-check
    must git-interlock uninstall
    assert_absent .git/interlock/hooks
}

@test "G6: husky: its generated folder is its own; when it is set up anew, status says so" {
    make_repo
    hook .husky/_/pre-commit 'echo husky >>log'
    put .husky/_/.gitignore '*'
    git config core.hooksPath .husky/_
    local generated
    generated=$(everything .husky)
    must git interlock install
    assert_guarded
    must git commit -q --allow-empty -m one
    assert_file log husky
    assert_equal "$(everything .husky)" "$generated"
    # What its "prepare" does at the next npm install.
    must git config core.hooksPath .husky/_
    if ! can git-2.54; then
        assert_equal "$(active)" 0
        assert_equal "$(guard pre-commit installed)" true
        assert_match "$(guard pre-commit reason)" "hooksPath .*leads to .*husky/_'; run 'git interlock install'"
        must git interlock status
        assert_match "$output" 'bypassed.*pre-commit'
        must git interlock install
    fi
    assert_guarded
    must git commit -q --allow-empty -m two
    assert_equal "$(grep -c husky log)" 2
    must git interlock uninstall
    assert_equal "$(git config core.hooksPath)" .husky/_
}

@test "G6: a core.hooksPath of the user's for all repositories" {
    make_repo
    hook "$HOME/my hooks/pre-commit" 'echo mine >>log'
    git config --global core.hooksPath '~/my hooks'
    local theirs
    theirs=$(find "$HOME" -type f -exec sha256sum {} + | sort)
    round_trip mine
    assert_equal "$(find "$HOME" -type f -exec sha256sum {} + | sort)" "$theirs"
    refute git config --local core.hooksPath
}
mine() {
    must git commit -q --allow-empty -m one
    assert_file log mine
    guard_works
}

@test "G6: the pre-commit framework takes our place, and calls us as pre-commit.legacy" {
    older_git
    make_repo
    hook .git/hooks/pre-commit 'echo mine >>log'
    must git-interlock install
    mv .git/hooks/pre-commit .git/hooks/pre-commit.legacy
    hook .git/hooks/pre-commit 'echo framework >>log; here=${0%/*}
        [ ! -x "$here/pre-commit.legacy" ] || "$here/pre-commit.legacy" "$@"'
    must git commit -q --allow-empty -m one
    assert_file log 'framework
mine'
    assert_guarded
    assert_match "$(guard pre-commit via)" 'pre-commit.legacy$'
    must git-interlock install
    assert_guarded
    rm log
    must git commit -q --allow-empty -m two
    assert_file log 'framework
mine'
    must git-interlock uninstall
    rm log
    must git commit -q --allow-empty -m three
    assert_file log 'framework
mine'
    refute grep -rq interlock .git/hooks .git/config
    assert_equal "$(find .git/hooks -type l)" ''
}

@test "G6: the pre-commit framework is set up anew over ours: nothing runs twice, or in a circle" {
    older_git
    make_repo
    framework
    must git-interlock install
    mv .git/hooks/pre-commit .git/hooks/pre-commit.legacy
    framework
    must git commit -q --allow-empty -m one
    assert_file log framework
    assert_guarded
    must git-interlock install
    must git-interlock uninstall
    rm log
    must git commit -q --allow-empty -m two
    assert_file log framework
    assert_equal "$(find .git/hooks -type l)" ''
    assert_absent .git/hooks/pre-commit.legacy
}
framework() { # as the real one: it refuses to call itself
    hook .git/hooks/pre-commit '# File generated by a framework
        [ -z "$IN_LEGACY" ] || { echo "installed twice" >&2; exit 1; }
        echo framework >>log
        here=${0%/*}
        [ ! -x "$here/pre-commit.legacy" ] || IN_LEGACY=1 "$here/pre-commit.legacy" "$@"'
}

@test "G6: a tool that replaces our hook (lefthook): status says so, install chains it" {
    older_git
    make_repo
    hook .git/hooks/pre-commit 'echo mine >>log'
    must git-interlock install
    mv .git/hooks/pre-commit .git/hooks/pre-commit.old
    hook .git/hooks/pre-commit 'echo lefthook >>log'
    assert_equal "$(active)" 6
    assert_match "$(guard pre-commit reason)" "pre-commit' is another's"
    must git-interlock install
    assert_match "$stderr" "replaced it since.*before-interlock-1' and is not run"
    assert_guarded
    must git commit -q --allow-empty -m one
    assert_file log lefthook
    # It refuses to take the place again when there is an old hook already.
    assert_absent .git/hooks/pre-commit.old
    mv .git/hooks/pre-commit .git/hooks/pre-commit.old
    hook .git/hooks/pre-commit 'echo lefthook >>log'
    must git-interlock uninstall
    assert_equal "$(find .git/hooks -type l)" ''
    must git commit -q --allow-empty -m two
    assert_equal "$(cat log)" 'lefthook
lefthook'
    assert_match "$(cat .git/hooks/pre-commit.before-interlock-1)" mine
}

# ---- kinds of repositories ----------------------------------------------------------------------

@test "G6: from a linked worktree, the hooks are those of all" {
    make_repo
    must git worktree add -q ../other
    cd ../other
    round_trip true
    assert_undone
    must git interlock install
    guard_works
    cd ../repo
    assert_guarded
}

@test "G6: a worktree with a core.hooksPath of its own" {
    make_repo
    hook "$PWD/../own/pre-commit" 'echo own >>log'
    hook .git/hooks/pre-commit 'echo common >>log'
    must git worktree add -q ../other
    git config extensions.worktreeConfig true
    git -C ../other config --worktree core.hooksPath "$(realpath ../own)"
    local before
    before=$(everything .git/hooks .git/config .git/worktrees/other/config.worktree)
    must git interlock install
    must git interlock install
    assert_equal "$output" ''
    assert_guarded
    must git commit -q --allow-empty -m one
    assert_file log common
    (
        cd ../other
        assert_guarded
        must git commit -q --allow-empty -m one
        assert_file log own
    )
    # Set anew, past ours: told from anywhere.
    if ! can git-2.54; then
        git -C ../other config --worktree core.hooksPath "$(realpath ../own)"
        must git interlock status
        assert_match "$output" "in the worktree 'other' core.hooksPath is"
        must git interlock install
    fi
    must git interlock uninstall
    assert_equal "$(git -C ../other config core.hooksPath)" "$(realpath ../own)"
    assert_equal "$(cat .git/worktrees/other/config.worktree)" "[core]
	hooksPath = $(realpath ../own)"
    assert_equal "$(find .git/interlock -name 'hooks*')" ''
    git update-ref -d "$(shadow_ref)" && git -C ../other update-ref -d "$(cd ../other && shadow_ref)"
    assert_equal "$(everything .git/hooks .git/config .git/worktrees/other/config.worktree)" "$before"
}

@test "G6: a bare repository with worktrees, and a submodule" {
    make_repo
    git clone -q --bare . ../bare.git
    make_repo ../lib
    cd ../repo
    git submodule --quiet add ../lib sub
    cd ../bare.git
    git worktree add -q ../tree
    round_trip true
    assert_undone
    must git interlock install
    cd ../tree
    assert_guarded
    cd ../repo/sub
    round_trip true
    assert_undone
    must git interlock install
    assert_guarded
    cd ..
    assert_equal "$(active)" 0
}

# ---- what is wanted ---------------------------------------------------------------------------

@test "install: --only, --except, and what was chosen is kept" {
    make_repo
    must git interlock install --except $REF_HOOK,pre-commit
    assert_equal "$(active)" 5
    assert_no_match "$stderr" 'ms a ref'
    must git interlock install
    assert_equal "$output" ''
    assert_equal "$(active)" 5
    assert_match "$(guard pre-commit reason)" 'left out'
    must git interlock install --only pre-commit
    assert_equal "$(active)" 1
    assert_equal "$(guard pre-commit active)" true
    must git interlock install --only all
    assert_guarded
    must git interlock uninstall
    must_exit 129 git interlock install --only no-such-hook
    assert_match "$stderr" no-such-hook
    must_exit 129 git interlock install --only pre-commit --except pre-commit
    must_exit 129 git interlock install --only ''
    must_exit 129 git interlock install --local --global
    must_exit 129 git interlock uninstall --only pre-commit
    must_exit 129 git interlock install now
    assert_equal "$(active)" 0
}

@test "install: what a fetch will cost is said where git starts the hook for each ref" {
    make_repo
    must git interlock install
    if can git-2.51; then
        assert_no_match "$stderr" 'ms a ref'
    else
        assert_match "$stderr" 'reference-transaction: git 2.* starts this hook twice for each ref'
        assert_match "$stderr" '--except reference-transaction'
    fi
    git config interlock.autoSave false
    must git interlock install --except pre-auto-gc
    assert_match "$stderr" 'interlock.autoSave is off'
    must git commit -q --allow-empty -m one
    refute git rev-parse -q --verify "$(shadow_ref)"
}

@test "install: our refs are hidden from others, unless the user has said something about it" {
    make_repo
    git config transfer.hideRefs refs/secret
    git config --add transfer.hideRefs '!refs/shadow-old'
    git config --global transfer.hideRefs refs/rescue
    local before
    before=$(cat .git/config)
    must git interlock install
    assert_equal "$(git config --local --get-all transfer.hideRefs)" 'refs/secret
!refs/shadow-old
refs/shadow'
    must git shadow-commit
    assert_no_match "$(git ls-remote .)" refs/shadow
    must git interlock uninstall
    assert_file .git/config "$before"
    assert_match "$(git ls-remote .)" refs/shadow
}

# ---- out again -----------------------------------------------------------------------------------

@test "uninstall: when somebody has edited since, only what is ours goes" {
    make_repo
    hook .git/hooks/pre-commit 'exit 0'
    must git interlock install
    git config remote.origin.url /elsewhere
    git config --add transfer.hideRefs refs/mine
    printf '# a comment\n' >>.git/config
    rm -f .git/hooks/post-merge
    hook .git/hooks/post-merge 'exit 0'
    must git interlock uninstall
    assert_equal "$(git config --get-all transfer.hideRefs)" refs/mine
    assert_equal "$(git config remote.origin.url)" /elsewhere
    refute grep -q interlock .git/config
    grep -q '# a comment' .git/config
    assert_equal "$(find .git/hooks -type l)" ''
    [ -x .git/hooks/post-merge ] && [ -x .git/hooks/pre-commit ]
    assert_absent .git/hooks/pre-commit.before-interlock
    must git interlock install
    assert_guarded
    must git interlock uninstall
}

@test "uninstall --purge: checkpoints, rescues and our folder go, and nothing of the user's" {
    make_repo
    local before tip
    before=$(everything)
    must git interlock install
    put new 1
    tip=$(git shadow-commit)
    git update-ref refs/rescue/default-1/x "$tip"
    must git interlock uninstall --purge --dry-run
    assert_match "$output" "delete refs/shadow/main/b/main, which holds $tip"
    assert_match "$output" 'delete refs/rescue/default-1/x'
    assert_equal "$(active)" 7
    local planned=$output
    must git interlock uninstall --purge
    assert_equal "$output" "$planned"
    assert_absent .git/interlock
    assert_equal "$(git for-each-ref refs/shadow refs/rescue)" ''
    assert_equal "$(find .git -name '*.keep')" ''
    git gc -q --prune=now
    refute git cat-file -e "$tip"
    fsck
    assert_equal "$(everything .git/hooks .git/config src)" \
        "$(grep -e '^\./\.git/hooks' -e '^\./\.git/config' -e '^\./src' <<<"$before" | sed 's,\./,,g' | sort -u)"
    must git interlock uninstall --purge
    assert_match "$stderr" 'nothing to do'
    assert_absent .git/interlock
    must_exit 129 git interlock uninstall --purge --global
}

@test "uninstall --purge: not while a slot is there, or something runs" {
    make_repo
    must git interlock install
    must git worktree-claim
    must_exit 1 git interlock uninstall --purge
    assert_match "$stderr" "default-1.*worktree-reap --remove"
    assert_equal "$(active)" 7
    must git worktree-claim release -q default-1
    must git worktree-reap --remove
    must_exit 75 git interlock run --mutex tick -- git interlock uninstall --purge
    assert_match "$stderr" tick
    must git interlock uninstall --purge
}

@test "uninstall: without the record, ours is known by its names" {
    make_repo
    hook .git/hooks/pre-commit 'exit 0'
    local before
    before=$(everything .git/hooks)
    must git interlock install
    rm -rf .git/interlock
    must git interlock uninstall
    refute grep -q hook .git/config
    assert_equal "$(everything .git/hooks)" "$before"
    must git interlock install
    rm -rf .git/interlock
    must git interlock install
    assert_guarded
    must git interlock uninstall
    refute grep -q hook .git/config
    assert_equal "$(everything .git/hooks)" "$before"
}

@test "install: a damaged record is no license: it says so and changes nothing" {
    make_repo
    must git interlock install
    local text before
    for text in '' nonsense 'interlock-installed 2 {}' 'interlock-installed 1 {"state":1}'; do
        printf '%s\n' "$text" >.git/interlock/installed
        before=$(everything)
        must_exit 128 git interlock uninstall
        assert_match "$stderr" "interlock/installed"
        must_exit 128 git interlock install
        assert_equal "$(everything)" "$before"
        must git interlock status
        assert_match "$output" 'damaged +.interlock/installed'
        assert_match "$output" '7 of 7 hooks active'
    done
    rm .git/interlock/installed
    must git interlock uninstall
}

@test "install: git's lock on the settings is respected, and one of a killed install goes" {
    make_repo
    git config interlock.lockTimeout 1s
    put .git/config.lock ''
    must_exit 75 git interlock install
    assert_match "$stderr" 'config.lock'
    assert_file .git/config.lock ''
    rm .git/config.lock
    must git interlock install
    assert_guarded
    must git interlock uninstall
    # As a kill between link and rename leaves it.
    cp .git/config .git/config.interlock
    ln .git/config.interlock .git/config.lock
    must git interlock install
    assert_absent .git/config.lock
    assert_absent .git/config.interlock
}

@test "install: settings behind a symlink stay behind it" {
    make_repo
    mv .git/config ../settings
    ln -s ../../settings .git/config
    local before
    before=$(cat ../settings)
    must git interlock install
    [ -L .git/config ]
    assert_guarded
    must git interlock uninstall
    [ -L .git/config ]
    assert_file ../settings "$before"
}

@test "F1: install and uninstall killed anywhere: the hooks of the user's run, the next one finishes" {
    requires ptrace
    make_repo
    hook .git/hooks/pre-commit 'echo mine >>log'
    hook hooks/pre-commit 'echo mine >>log'
    local before
    before=$(everything .git/hooks .git/config)
    kill_each install
    git config core.hooksPath hooks
    before=$(everything .git/hooks .git/config)
    kill_each install
}
kill_each() {
    local calls n step=${KILL_STEP:-53} i=0
    "$HELPER/killat" -c -o ../count -- git-interlock install -q
    calls=$(sed -n 's/^calls //p' ../count)
    git interlock uninstall -q
    for ((n = 1; n < calls; n += step)); do
        "$HELPER/killat" -n "$n" -o ../where -- git-interlock install -q 2>/dev/null || :
        survives "install $n"
        # By turns the next one is an install, or an uninstall.
        if [ $((i++ % 2)) = 0 ]; then
            must git interlock install -q
            assert_equal "$(active)" 7 "active after $(cat ../where)"
            "$HELPER/killat" -n "$n" -o ../where -- git-interlock uninstall -q 2>/dev/null || :
            survives "uninstall $n"
        fi
        must git interlock uninstall -q
        [ "$(everything .git/hooks .git/config)" = "$before" ] ||
            flunk "not undone after $(cat ../where): $(diff <(echo "$before") \
                <(everything .git/hooks .git/config)) $(cat .git/config)"
        assert_equal "$(find .git -maxdepth 1 -name 'config.*')" '' "debris after $(cat ../where)"
    done
}
survives() {
    rm -f log
    git commit -q --allow-empty -m x || flunk "no commit after $1: $(cat ../where)"
    [ "$(cat log)" = mine ] || flunk "the hook ran '$(cat log)' after $1: $(cat ../where)"
}

# ---- for all repositories ---------------------------------------------------------------------------

@test "G6: install --global: every repository is guarded, its own hooks run; and back" {
    make_repo
    hook .git/hooks/pre-commit 'echo own >>log'
    hook .git/hooks/commit-msg 'echo message >>log'
    local before after
    before=$(everything)
    after=$(sha256sum <"$HOME/.gitconfig")
    must git interlock install --global
    must git interlock install --global
    assert_equal "$output" ''
    assert_equal "$(everything)" "$before"
    assert_guarded
    must git commit -q --allow-empty -m one
    assert_file log 'own
message'
    must git worktree add -q ../other
    (cd ../other && must git commit -q --allow-empty -m two && assert_file log 'own
message')
    # Here as well: nothing runs twice.
    if ! can git-2.54; then
        must git interlock install
        assert_match "$stderr" 'for all repositories of this user already'
        must git interlock uninstall
    fi
    must git interlock uninstall --global
    assert_equal "$(sha256sum <"$HOME/.gitconfig")" "$after"
    assert_equal "$(active)" 0
}

@test "G6: install --global: a repository that answers pushes by itself (proc-receive) goes on" {
    make_repo
    older_git
    must git-interlock install --global
    git init -q --bare ../gate.git
    must git push -q ../gate.git HEAD:refs/heads/main
    git -C ../gate.git config receive.procReceiveRefs refs/for
    hook ../gate.git/hooks/proc-receive 'echo asked >>asked; exit 1'
    refute git push -q ../gate.git HEAD:refs/for/main
    assert_file ../gate.git/asked asked
    must git push -q ../gate.git HEAD:refs/heads/other
}

@test "G6: install --global: a push into a worktree (updateInstead) is what it was, with and without its hook" {
    make_repo
    older_git
    must git-interlock install --global
    local into=$PWD.into main
    git init -q -b main "$into"
    git -C "$into" config receive.denyCurrentBranch updateInstead
    # Into one that has no commit yet, then a change; an ignored file and an untracked one stay.
    must git push -q "$into" main
    assert_equal "$(git -C "$into" status --porcelain)" ''
    echo untracked >"$into/mine"
    put src/main.c 'int changed;'
    git commit -qam changed
    must git push -q "$into" main
    assert_file "$into/src/main.c" 'int changed;'
    assert_equal "$(git -C "$into" status --porcelain)" '?? mine'
    # What is not committed there is never overwritten, staged or not, in whatever file.
    main=$(git rev-parse main)
    git commit -q --allow-empty -m next
    echo theirs >>"$into/src/main.c"
    refute git push "$into" main
    git -C "$into" add -A
    refute git push "$into" main
    assert_equal "$(git -C "$into" rev-parse main)" "$main"
    assert_equal "$(tail -n 1 "$into/src/main.c")" theirs
    git -C "$into" rm -q --cached -r .
    refute git push "$into" main
    git -C "$into" reset -q --hard
    # A hook of its own that comes later is asked instead.
    hook "$into/.git/hooks/push-to-checkout" 'echo "asked for $1" >asked; exit 1'
    refute git push "$into" main
    assert_file "$into/.git/asked" "asked for $(git rev-parse main)"
    hook "$into/.git/hooks/push-to-checkout" 'git read-tree -u -m HEAD "$1"'
    must git push -q "$into" main
    assert_equal "$(git -C "$into" rev-parse main)" "$(git rev-parse main)"
    must git-interlock uninstall --global
}

@test "G6: installed for a repository and then for the user: each once, and in no circle" {
    make_repo
    older_git
    hook .git/hooks/pre-commit 'echo own >>log'
    hook .git/hooks/$REF_HOOK '[ "$1" != prepared ] || cat >>refs'
    must git-interlock install
    must git-interlock install --global
    # git calls the user's folder, and ours in it comes upon ours here.
    must timeout 20 git update-ref refs/heads/one HEAD
    assert_equal "$(grep -c refs/heads/one refs)" 1
    must timeout 20 git commit -q --allow-empty -m one
    assert_file log own
    must timeout 20 git checkout -q -b two
    must git-interlock uninstall
    must timeout 20 git commit -q --allow-empty -m two
    assert_file log 'own
own'
    must git-interlock uninstall --global
}

@test "install: outside of a repository it says so; --global works there" {
    must_exit 128 git interlock install
    must git interlock install --global
    must git interlock uninstall --global
}

@test "install: a git that was replaced by a newer one, and back: nothing runs twice" {
    requires git-2.54
    make_repo
    hook .git/hooks/pre-commit 'echo mine >>log'
    local before newer=$PATH
    before=$(everything .git/hooks .git/config)
    older_git
    must git-interlock install
    PATH=$newer
    [ -L .git/hooks/pre-commit ]
    must git interlock install
    [ ! -L .git/hooks/pre-commit ]
    assert_guarded
    must git commit -q --allow-empty -m one
    assert_file log mine
    older_git
    must git-interlock install
    PATH=$newer
    [ -L .git/hooks/pre-commit ]
    refute grep -q 'hook "' .git/config
    assert_guarded
    must git interlock uninstall
    assert_equal "$(everything .git/hooks .git/config)" "$before"
}
