#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git shadow-commit save: what a save of named paths takes from where, and edits
# that stat data do not tell.
#
# shellcheck disable=SC1010,SC2030,SC2031,SC2103,SC2164,SC2154 # run sets its variables in each test

load helpers

saved() { git cat-file blob "$(shadow_ref):$1"; }
assert_saved() { # <path> <content>
    assert_equal "$(saved "$1")" "$2" "'$1' in the checkpoint"
}
assert_not_saved() { refute git cat-file -e "$(shadow_ref):$1" 2>/dev/null; }

# ---- named paths: what is added, and to which state ------------------------------------

# Two branches that changed the same file, merged: README has three stages.
make_conflict() {
    make_repo
    git checkout -q -b other
    put README theirs
    git commit -q -a -m theirs
    git checkout -q main
    put README ours
    git commit -q -a -m ours
    refute git merge -q other >/dev/null 2>&1
    [ -n "$(git ls-files -u)" ]
}

@test "D12: a path save in a conflict knows the flags of the index" {
    both_engines flags_in_conflict
}
flags_in_conflict() {
    [ "$VARIANT" != native-sha1 ] || use_engine auto
    make_conflict
    git update-index --skip-worktree src/main.c
    git update-index --assume-unchanged doc/guide.txt
    must git-shadow-commit save
    put src/main.c 'kept out of sight'
    put doc/guide.txt assumed
    put src/lib/util.c edited
    must git-shadow-commit save -- src doc
    assert_saved src/main.c 'int main(void) { return 0; }'
    assert_saved doc/guide.txt 'a guide'
    assert_saved src/lib/util.c edited
    put README resolved
    put src/lib/util.c 'edited again'
    must git-shadow-commit save -- README
    assert_saved README resolved
    assert_saved src/lib/util.c edited
    rm README
    must git-shadow-commit save -- README
    assert_not_saved README
    [ -n "$(git ls-files -u)" ]
}

@test "D12: a pathspec in a sparse checkout deletes nothing that is not checked out" {
    both_engines sparse_pathspec
}
sparse_pathspec() {
    [ "$VARIANT" != native-sha1 ] || use_engine auto
    local how
    for how in --no-sparse-index --sparse-index; do
        make_repo "repo$how"
        git sparse-checkout set --cone "$how" src
        assert_absent doc/guide.txt
        must git-shadow-commit save
        assert_saved doc/guide.txt 'a guide'
        put src/lib/util.c edited
        put src/new.c new
        must git-shadow-commit save -- '*.c' '*.txt'
        assert_saved doc/guide.txt 'a guide'
        assert_saved src/lib/util.c edited
        assert_saved src/new.c new
        cd ..
    done
}

@test "D12: what git does not look at is gone all the same where a file is in its way" {
    both_engines in_the_way
}
in_the_way() {
    [ "$VARIANT" != native-sha1 ] || use_engine auto
    local how
    for how in skip-worktree assume-unchanged; do
        make_repo "repo-$how"
        git update-index "--$how" src/lib/util.c
        must git-shadow-commit save
        rm -r src/lib
        put src/lib 'in the way'
        must git-shadow-commit save -- '*.c'
        assert_not_saved src/lib/util.c
        assert_not_saved src/lib
        put src/main.c edited
        must git-shadow-commit save
        assert_saved src/lib 'in the way'
        put src/main.c 'edited again'
        must git-shadow-commit save -- '*.c'
        assert_saved src/main.c 'edited again'
        assert_saved src/lib 'in the way'
        put src/main.c 'edited once more'
        must git-shadow-commit save -- src/lib/util.c src/main.c
        assert_saved src/main.c 'edited once more'
        assert_saved src/lib 'in the way'
        cd ..
    done
}

@test "D12: a pathspec takes what the index and the last checkpoint have of it" {
    both_engines pathspec_everywhere
}
pathspec_everywhere() {
    [ "$VARIANT" != native-sha1 ] || use_engine auto
    make_repo
    git update-index --assume-unchanged src/main.c
    put src/a.tmp 'never in the index'
    put src/b.tmp 'this one stays'
    must git-shadow-commit save
    assert_saved src/a.tmp 'never in the index'
    rm src/a.tmp
    put src/main.c assumed
    put src/lib/util.c edited
    put README 'edited, and not named'
    # It is nowhere but in the last checkpoint.
    must git-shadow-commit save -- '*a.tmp'
    assert_not_saved src/a.tmp
    assert_saved src/b.tmp 'this one stays'
    assert_saved src/lib/util.c 'static int x;'
    must git-shadow-commit save -- '*.c' ':(exclude)src/n*'
    assert_saved src/main.c 'int main(void) { return 0; }'
    assert_saved src/lib/util.c edited
    assert_saved README 'read me'
    # What is only left out is left out of everything, wherever one stands.
    put src/new.c new
    (cd doc && must git-shadow-commit save -- ':(exclude)../src')
    assert_saved README 'edited, and not named'
    assert_not_saved src/new.c
    (cd doc && must git-shadow-commit save -- ':!../README')
    assert_saved src/new.c new
    must_exit 128 git-shadow-commit save -- '*.nowhere'
    assert_match "$stderr" "pathspec '\*.nowhere' did not match"
    # git takes a .gitmodules that became a link, and no index that begins with one.
    echo >.gitmodules
    git add .gitmodules
    ln -sf somewhere .gitmodules
    must git-shadow-commit save -- '.gitm*'
    put src/main.c assumed
    put src/lib/util.c 'edited again'
    must git-shadow-commit save -- '*.c'
    assert_saved src/lib/util.c 'edited again'
    assert_saved .gitmodules somewhere
    git rm -q -f --cached .gitmodules
    rm .gitmodules
    must git-shadow-commit save -- '.gitm*'
    # A file and a directory change places.
    rm -r src/lib
    put src/lib 'a file now'
    rm README
    put README/now 'a directory'
    must git-shadow-commit save -- 'src/l*' '*READ*'
    assert_saved src/lib 'a file now'
    assert_saved README/now 'a directory'
    assert_equal "$(git ls-tree -r --name-only "$(shadow_ref)" | tr '\n' ' ')" \
        '.gitignore README/now doc/guide.txt src/b.tmp src/lib src/main.c src/new.c '
}

@test "D13: a path save that cannot add a path names that path only" {
    use_engine git
    make_repo
    git config filter.broken.clean false
    git config filter.broken.required true
    put .gitattributes '*.bad filter=broken'
    must git-shadow-commit save
    put src/x.bad broken
    put README 'edited, and not named'
    put new 'new, and not named'
    put src/lib/util.c edited
    must git-shadow-commit save --json -- src
    assert_equal "$(json 'skipped.#' skipped.0.path <<<"$output" | tr '\n' ' ')" '1 src/x.bad '
    assert_saved src/lib/util.c edited
    must git-shadow-commit save --json -- src/x.bad src/lib
    assert_equal "$(json 'skipped.#' skipped.0.path <<<"$output" | tr '\n' ' ')" '1 src/x.bad '
}

@test "D13: what a path save in a conflict cannot add stays as the last checkpoint has it" {
    use_engine git
    make_conflict
    git config filter.broken.clean false
    git config filter.broken.required true
    must git-shadow-commit save
    local was
    was=$(saved README)
    put .gitattributes 'README filter=broken'
    must git-shadow-commit save --json -- README
    assert_equal "$(json 'skipped.#' skipped.0.path <<<"$output" | tr '\n' ' ')" '1 README '
    assert_saved README "$was"
}

@test "D13: what a path save could not record is as in the last checkpoint" {
    both_engines left_out
}
left_out() {
    make_repo
    put README 'second state'
    put src/lib/util.c 'second state'
    put a.o 'ignored from now on'
    echo '!a.o' >>.gitignore
    must git-shadow-commit save
    assert_saved a.o 'ignored from now on'
    git config interlock.maxFileSize 100
    local how
    printf '%0200d\n' 0 | tee README src/lib/util.c >big
    for how in README src/lib/util.c src big; do
        must git-shadow-commit save --json --allow-unchanged -- "$how"
        assert_match "$output" '"too large"'
        assert_saved README 'second state'
        assert_saved src/lib/util.c 'second state'
        assert_not_saved big
    done
    put .gitignore '*.o'
    put a.o 'ignored now'
    put doc/guide.txt 'beside it'
    must git-shadow-commit save --json -- a.o doc
    assert_equal "$(json 'skipped.#' skipped.0.path skipped.0.reason <<<"$output" | tr '\n' ' ')" \
        '1 a.o ignored '
    assert_saved a.o 'ignored from now on'
    assert_saved doc/guide.txt 'beside it'
    put b.o 'never saved'
    must git-shadow-commit save --json --allow-unchanged -- b.o
    assert_equal "$(json skipped.0.path skipped.0.reason <<<"$output" | tr '\n' ' ')" 'b.o ignored '
    rm a.o
    must git-shadow-commit save -- a.o
    assert_not_saved a.o
}

# ---- attributes that are gone ----------------------------------------------------------

@test "D12: a .gitattributes that is gone, or a link, converts nothing in a path save" {
    both_engines attributes_gone
}
attributes_gone() {
    [ "$VARIANT" != native-sha1 ] || use_engine auto
    make_repo
    put .gitattributes '*.up filter=up'
    put src/.gitattributes '*.id ident'
    git config filter.up.clean 'tr a-z A-Z'
    put a.up one
    put src/b.id "\$Id: 1 \$"
    git add -A
    git commit -q -m attributes
    must git-shadow-commit save
    assert_saved a.up ONE
    assert_saved src/b.id "\$Id\$"
    rm .gitattributes src/.gitattributes
    ln -s somewhere src/.gitattributes
    put a.up two
    put src/b.id "\$Id: 2 \$"
    must git-shadow-commit save -- a.up src/b.id
    assert_saved a.up two
    assert_saved src/b.id "\$Id: 2 \$"
    # The files were not named: they are as in the last checkpoint.
    assert_saved .gitattributes '*.up filter=up'
    # An entry as old as the index is converted anew, as git does.
    git checkout -q -- .
    put a.up one
    touch -d @1700000000 a.up
    git add a.up
    touch -d @1700000000 .git/index
    rm .gitattributes
    must git-shadow-commit save -- a.up
    assert_saved a.up one
}

# ---- edits that stat data do not tell ----------------------------------------------------

@test "D14: an edit within a second is saved, also when the index was copied since" {
    both_engines index_copied
}
index_copied() {
    local how
    for how in plain split sparse cone; do
        if [ "$how" != plain ]; then
            [ "$VARIANT" != native-sha1 ] || use_engine auto
        fi
        make_repo "repo-$how"
        git config core.trustctime false
        local guide='a guide'
        touch -d '@1700000000.100000000' README src/main.c src/lib/util.c doc/guide.txt
        git update-index --refresh
        case $how in
            split) git update-index --split-index ;;
            sparse) git sparse-checkout set --cone --sparse-index src ;;
            cone)
                git config core.checkStat minimal
                git sparse-checkout set --cone --no-sparse-index src
                ;;
        esac
        git update-index --assume-unchanged src/lib/util.c
        printf 'READ ME\n' >README
        printf 'int main(void) { return 1; }\n' >src/main.c
        printf 'static int y;\n' >src/lib/util.c
        touch -d '@1700000000.600000000' README src/main.c src/lib/util.c
        if [ "$how" = cone ]; then # git looks at what came back
            guide='A GUIDE'
            put doc/guide.txt 'A GUIDE'
            touch -d '@1700000000.600000000' doc/guide.txt
        fi
        cp .git/index copy
        mv copy .git/index
        # git itself is sure that nothing has changed.
        assert_equal "$(git status --porcelain)" ''
        must git-shadow-commit save
        assert_saved README 'READ ME'
        assert_saved src/main.c 'int main(void) { return 1; }'
        assert_saved src/lib/util.c 'static int x;'
        assert_saved doc/guide.txt "$guide"
        printf 'Read Me\n' >README
        touch -d '@1700000000.800000000' README
        must git-shadow-commit save -- README
        assert_saved README 'Read Me'
        cd ..
    done
}
