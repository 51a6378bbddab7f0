#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# A whole session of an agent, with what it sends to its hooks, in order: it claims a worktree,
# saves after each tool call, is killed, is reaped, and its work is back.

# shellcheck disable=SC2154 # set by try(): output, stderr, lines
# shellcheck disable=SC2016,SC2030,SC2031,SC2153

load helpers
load agents

HOOK='git-interlock agent-hook claude-code'

agent_repo() {
    make_repo
    REPO=$PWD
    WT=$REPO.worktrees/default-1
}

# The part of the fixtures in which the agent works in its worktree. A path in them
# is the one of the main worktree; here it is the one in the slot.
slot_hook() { # <event>
    agent_hook "claude-code/$1" "s|$REPO\"|$WT\"|" "s|$REPO/|$WT/|g"
}

# From the start to the last tool call. Leaves: a committed change, two files that were
# written, one that is staged, one that is neither saved nor committed.
work() {
    agent_hook claude-code/SessionStart
    agent_hook claude-code/WorktreeCreate
    assert_equal "$ANSWER" "$WT"
    slot_hook UserPromptSubmit
    slot_hook PreToolUse
    agent "tool $WT echo 'int parse(void);' >src/parser.c"
    slot_hook PostToolUse-Write
    agent "tool $WT sed -i 's/return 0/return parse()/' src/main.c"
    slot_hook PostToolUse-Edit
    # The agent is the holder: a guard that is installed lets its commit pass.
    agent "tool $WT git add -A && git commit -q -m 'the parser'"
    assert_equal "$STATUS" 0 'status of its commit'
    slot_hook PostToolUse-Bash
    agent "tool $WT echo a >>src/list.txt; echo staged >staged; git add staged"
    slot_hook PostToolUse-Bash
    agent "tool $WT echo last >>src/list.txt"
    BEFORE=$(cd "$WT" && git_tree)
    COMMITTED=$(git -C "$WT" rev-parse HEAD)
}

saved_checkpoints() {
    git log --format=%s "refs/shadow/wt/default-1/detached" |
        grep -E '^(UserPromptSubmit|Write|Edit|Bash)' | tac | paste -sd,
}

restored() {
    local ref
    ref=$(git for-each-ref --format='%(refname)' refs/rescue)
    assert_match "$ref" "^refs/rescue/default-1/$LEASE\$"
    assert_match "$(git worktree-reap rescued)" "$ref"
    # All of it, also what no hook had saved: in a new worktree, by the next agent.
    start_agent "$HOOK"
    agent_hook claude-code/WorktreeCreate "s/$CLAUDE_SESSION/another-one/"
    assert_equal "$ANSWER" "$WT"
    assert_equal "$(git -C "$WT" status --porcelain)" '' 'what the next one finds'
    assert_equal "$(git -C "$WT" rev-parse HEAD)" "$(git rev-parse main)"
    agent "tool $WT git merge -q --ff-only $COMMITTED && git shadow-commit restore -q $ref"
    assert_equal "$STATUS" 0 'status of the restore'
    assert_equal "$(cd "$WT" && git_tree)" "$BEFORE" 'what was there when it was killed'
    # And one step before, from the checkpoints of its tool calls.
    must git shadow-commit restore 'refs/shadow/wt/default-1/detached@{1}' -- src/list.txt
    assert_file src/list.txt a
    agent_hook claude-code/SessionEnd "s/$CLAUDE_SESSION/another-one/"
    await 30 slot_is free
    fsck
}

# ---- the story --------------------------------------------------------------------------------

killed_session() { # what ends with it
    agent_repo
    [ -z "${WITH_HOOKS-}" ] || must git interlock install
    start_agent "${AGENT_OPTIONS[@]}" "$HOOK"
    work
    LEASE=$(slot lease)
    assert_match "$(slot owner)" "pid $AGENT_PID"
    "$@"
    # Nobody asks: the slot is given back as soon as its holder is gone; without its
    # watcher by the next reap or claim.
    [ -n "${WATCHER_DIES-}" ] || await 30 slot_is free
    must git worktree-reap
    assert_equal "$(slot state)" free
    assert_match "$(saved_checkpoints)" '^UserPromptSubmit,Write src/parser.c,Edit src/main.c,Bash(,Bash)?$'
    restored
    [ -z "${WITH_HOOKS-}" ] || must git interlock uninstall
}

AGENT_OPTIONS=(--close)

@test "story: a session claims, saves after each tool call, is killed, is reaped, and its work is restored" {
    killed_session kill_agent
}

@test "story: the same with our git hooks installed" {
    WITH_HOOKS=1
    killed_session kill_agent
}

@test "story: the same for an agent that speaks through pipes and keeps them open" {
    AGENT_OPTIONS=(--pipes)
    killed_session kill_agent
}

# Everything that belongs to it is killed at once, as by a container's end.
kill_all() {
    local work=$REPO/.git/interlock/leases/$LEASE.work watcher
    watcher=$(holders_of "$work")
    # shellcheck disable=SC2086 # one pid, and a failure when there are none or more
    kill -KILL $watcher "$AGENT_PID"
    wait "$AGENT_PID" 2>/dev/null || :
    # It is nobody's child that we could wait for, and holds on until it has died.
    watcher_gone() { [ -z "$(holders_of "$work")" ]; }
    await 30 watcher_gone
    exec {AGENT_IN}>&- {AGENT_OUT}<&-
}
holders_of() { # <file>
    local fd
    for fd in /proc/[0-9]*/fd/*; do
        [ "$(readlink "$fd" 2>/dev/null)" = "$1" ] || continue
        fd=${fd#/proc/}
        echo "${fd%%/*}"
    done
}

@test "story: the watcher is killed too, and the next reap does it" {
    WATCHER_DIES=1
    killed_session kill_all
}

@test "story: the watcher is killed too, with our git hooks installed" {
    WATCHER_DIES=1 WITH_HOOKS=1
    killed_session kill_all
}

# ---- what else happens in a session --------------------------------------------------------------

@test "session: what a killed agent left running keeps the worktree until it has ended" {
    agent_repo
    start_agent "$HOOK"
    work
    LEASE=$(slot lease)
    agent "leave $WT exec sleep 60"
    local sleeper=$ANSWER
    kill_agent
    gone() { ! slot_is held; }
    await 30 gone
    assert_equal "$(slot state)" occupied
    must git worktree-reap
    assert_equal "$(slot state)" occupied
    assert_equal "$(cd "$WT" && git_tree)" "$BEFORE" 'what is in it'
    kill "$sleeper"
    ended() { ! kill -0 "$sleeper" 2>/dev/null; }
    await 30 ended
    must git worktree-reap
    assert_equal "$(slot state)" free
    restored
}

@test "session: two agents in one worktree: each undoes what it wrote, and nothing of the other's" {
    make_repo
    REPO=$PWD
    must_hook claude-code/UserPromptSubmit
    must_hook codex/UserPromptSubmit
    put src/parser.c "one's"
    must_hook claude-code/PostToolUse-Write
    put src/other.c "the other's"
    must_hook claude-code/PostToolUse-Write "s/$CLAUDE_SESSION/another-one/" \
        's|src/parser.c|src/other.c|g'
    must_hook claude-code/Stop
    must_hook claude-code/Stop "s/$CLAUDE_SESSION/another-one/"
    must git shadow-commit restore --session "$CLAUDE_SESSION"
    assert_absent src/parser.c
    assert_file src/other.c "the other's"
}

@test "session: many agents at once: a worktree each, every tool call saved, none lost" {
    agent_repo
    local n=6 i pids=()
    one() { # <session>
        local i wt
        wt=$(printf '{"session_id":"s%d","cwd":"%s","hook_event_name":"WorktreeCreate","name":"w"}' \
            "$1" "$REPO" | git-interlock agent-hook claude-code) || return
        for i in 1 2 3 4; do
            echo "$1 $i" >"$wt/file-$i"
            printf '{"session_id":"s%d","cwd":"%s","hook_event_name":"PostToolUse","tool_name":"Bash"}' \
                "$1" "$wt" | git-interlock agent-hook claude-code || return
        done
        echo "$wt" >>"$BATS_TEST_TMPDIR/places"
        printf '{"session_id":"s%d","cwd":"%s","hook_event_name":"SessionEnd","reason":"other"}' \
            "$1" "$wt" | git-interlock agent-hook claude-code
    }
    # A barrier: all claim while all hold.
    for ((i = 1; i <= n; i++)); do
        one "$i" 3>&- &
        pids+=("$!")
    done
    for i in "${pids[@]}"; do wait "$i" || flunk "session $i failed"; done
    all_free() { ! git worktree-claim list --json | json state | grep -qv '^free$'; }
    await 60 all_free
    local total=0 ref
    for ref in $(git for-each-ref --format='%(refname)' refs/shadow/wt); do
        total=$((total + $(git log --format=%s "$ref" | grep -c '^Bash$')))
    done
    assert_equal "$total" $((4 * n)) 'checkpoints of tool calls'
    assert_equal "$(git for-each-ref refs/rescue | wc -l)" "$n" 'rescues'
    fsck
}
