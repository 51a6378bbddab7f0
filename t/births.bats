#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# A1, A8: births beside git's own prune, list and gc. t/stress/births.sh does it with more.
# A7: births by a git that lies.

# shellcheck disable=SC2154 # set by try(): output, stderr
# shellcheck disable=SC2016,SC2030,SC2031

load helpers

@test "A1: eight births at once, while git prunes, lists and collects" {
    try "$TOP/t/stress/births.sh" --procs 8 --rounds 2
    # shellcheck disable=SC2154
    echo "# note: $output" >&3
    assert_equal "$status" 0
}

@test "A8: git worktree add under the same loops fails" {
    # The loops have teeth only if they find out the naive way.
    try "$TOP/t/stress/births.sh" --procs 8 --rounds 100 --naive
    # shellcheck disable=SC2154
    echo "# note: naive: $output" >&3
    assert_equal "$status" 1
}

# A git that is found first. `lie <shell>` is what it does instead of populating a worktree, with
# the real one in $REAL.
lie() {
    [ -n "${REAL-}" ] || REAL=$(command -v git)
    export REAL
    mkdir -p "$BATS_TEST_TMPDIR/liar"
    printf '%s\n' '#!/bin/sh' 'case " $* " in' "*' read-tree '*) $1 ;;" '*) exec "$REAL" "$@" ;;' 'esac' \
        >"$BATS_TEST_TMPDIR/liar/git"
    chmod +x "$BATS_TEST_TMPDIR/liar/git"
}

@test "A7: a birth is confirmed before its path is printed, whatever git says of it" {
    every_variant confirmed
}
no_pool() { [ ! -e "$PWD.worktrees" ]; }
confirmed() {
    make_repo
    git commit -q --allow-empty -m second
    git tag second
    git commit -q --allow-empty -m third
    local how
    # Naive: it ended with status 0, so the worktree is there. And one that fails and says
    # nothing has not said that nothing is wrong.
    while read -r how; do
        lie "$how"
        echo "--- $how"
        must_exit 128 env PATH="$BATS_TEST_TMPDIR/liar:$PATH" git-worktree-claim -b topic
        assert_equal "$output" '' 'path'
        assert_equal "${#stderr_lines[@]}" 1 'lines of message'
        assert_match "$stderr" '^fatal: .*[a-z]{3}'
        # The files are deleted by a process that nobody waits for; git sees none of it.
        await 30 no_pool
        assert_absent .git/worktrees
        refute git rev-parse -q --verify refs/heads/topic
        assert_equal "$(git worktree list | wc -l)" 1 'worktrees'
    done <<'LIES'
exit 0
"$REAL" "$@"; : >"$GIT_DIR/index"
"$REAL" "$@"; rm "$GIT_DIR/index"
"$REAL" "$@"; truncate -s -30 "$GIT_DIR/index"
"$REAL" "$@"; echo garbage >"$GIT_DIR/index"
"$REAL" "$@"; rm "$GIT_DIR/HEAD"
"$REAL" "$@"; : >"$GIT_DIR/HEAD"
"$REAL" "$@"; echo garbage >"$GIT_DIR/HEAD"
"$REAL" "$@"; echo 'ref: refs/heads/nowhere' >"$GIT_DIR/HEAD"
"$REAL" "$@"; "$REAL" rev-parse second >"$GIT_DIR/HEAD"
exit 1
kill -9 $$
LIES
    lie 'exec "$REAL" "$@"'
    must env PATH="$BATS_TEST_TMPDIR/liar:$PATH" git-worktree-claim -b topic
    assert_equal "$(git -C "$output" status --porcelain --branch)" '## topic'
}

@test "A7: a git that fails at any of its commands is no answer, and loses no work" {
    both_engines failing
}
# In a rescue, or set aside whole.
is_kept() { # <path> <content>
    git for-each-ref --format='%(objectname)' refs/rescue | sed "s/\$/:$1/" | git cat-file --batch |
        grep -qx "$2" || grep -rqsx "$2" .git/interlock/aside || flunk "'$2' of $1 is nowhere"
}
failing() {
    make_repo
    local n total wt
    mkdir -p "$BATS_TEST_TMPDIR/failing"
    [ -n "${REAL-}" ] || REAL=$(command -v git)
    export REAL CALLS=$BATS_TEST_TMPDIR/calls FAIL_AT=0
    cat >"$BATS_TEST_TMPDIR/failing/git" <<'FAILING'
#!/bin/sh
echo "$*" >>"$CALLS"
[ "$(wc -l <"$CALLS")" != "$FAIL_AT" ] || exit 1
exec "$REAL" "$@"
FAILING
    chmod +x "$BATS_TEST_TMPDIR/failing/git"
    must git worktree-claim
    wt=$output
    must git worktree-claim release "$wt"
    for ((n = 0, total = 0; n <= total; n++)); do
        put "$wt/README" "changed in round $n"
        put "$wt/new" "made in round $n"
        git -C "$wt" add README
        : >"$CALLS"
        FAIL_AT=$n try env PATH="$BATS_TEST_TMPDIR/failing:$PATH" git-worktree-claim --max 1 --no-wait
        if [ "$n" = 0 ]; then
            total=$(wc -l <"$CALLS")
            assert_at_least "$total" 1 'commands of git'
        fi
        [ "$n" = 0 ] || sed -n "${n}s/^/--- failed: /p" "$CALLS"
        if [ "$status" = 0 ]; then
            assert_equal "$(git -C "$wt" status --porcelain)" ''
        else
            assert_equal "$output" '' 'path'
            assert_match "$stderr" '(fatal|error): .*[a-z]{3}'
            # Nobody has it; and what is in it still is, or was rescued.
            must git-worktree-claim --max 1 --no-wait
        fi
        assert_equal "$(git -C "$wt" status --porcelain)" ''
        is_kept new "made in round $n"
        is_kept README "changed in round $n"
        must git-worktree-claim release "$wt"
    done
    echo "# note: $VARIANT: $total commands of git" >&3
    fsck
}
