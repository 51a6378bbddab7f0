#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git interlock agent-hook: each event, with the inputs that agents send, and with
# what they should not send.

# shellcheck disable=SC2154 # set by try(): output, stderr, lines
# shellcheck disable=SC2016,SC2030,SC2031

load helpers
load agents

HOOK='git-interlock agent-hook claude-code'
claude_hook() { git-interlock agent-hook claude-code; }

agent_repo() {
    make_repo
    REPO=$PWD
}

# ---- WorktreeCreate -------------------------------------------------------------------------

@test "WorktreeCreate: a clean worktree, its path is the last line, its key is session and name" {
    both_engines creates
}
creates() {
    agent_repo
    local wt=$REPO.worktrees/default-1
    must_hook claude-code/WorktreeCreate
    assert_equal "$output" "$wt"
    assert_equal "$(git -C "$wt" status --porcelain)" ''
    assert_equal "$(git -C "$wt" rev-parse HEAD)" "$(git rev-parse HEAD)"
    assert_equal "$(slot state)" held
    assert_equal "$(slot key)" "$CLAUDE_SESSION/bold-oak-a3f2"
    # The same once more is the same worktree; another name or session is another one.
    must_hook claude-code/WorktreeCreate-worktree_name
    assert_equal "$output" "$wt"
    must_hook claude-code/WorktreeCreate s/bold-oak/shy-fern/
    assert_equal "$output" "$REPO.worktrees/default-2"
    must_hook claude-code/WorktreeCreate "s/$CLAUDE_SESSION/another/"
    assert_equal "$output" "$REPO.worktrees/default-3"
}

@test "WorktreeCreate: what the user's hook says is not the path" {
    agent_repo
    printf '#!/bin/sh\necho hello\necho there >&2\n' >.git/hooks/post-checkout
    chmod +x .git/hooks/post-checkout
    must_hook claude-code/WorktreeCreate
    assert_equal "$output" "$REPO.worktrees/default-1"
    assert_match "$stderr" 'hello'
}

@test "WorktreeCreate: names that are no names, a name too long, and none" {
    agent_repo
    must_hook claude-code/WorktreeCreate 's|bold-oak-a3f2|../$(id) a\\nb/ü|'
    assert_match "$(slot key)" "^$CLAUDE_SESSION/@2e.@2f@24@28id@29@20a@0ab@2f@c3@bc$"
    must_hook claude-code/WorktreeCreate "s|bold-oak-a3f2|$(printf 'x%.0s' {1..3000})|"
    assert_match "$(slot key default-2)" "^$CLAUDE_SESSION/x{86}@\.[0-9a-f]{32}$"
    must_hook claude-code/WorktreeCreate 's|"name"|"nome"|'
    assert_match "$(slot key default-3)" "^$CLAUDE_SESSION/[0-9a-f]{32}$"
    must_hook claude-code/WorktreeCreate 's|"session_id"|"x"|'
    assert_equal "$(slot key default-4)" '@/bold-oak-a3f2'
}

@test "WorktreeCreate: when there is none it fails, says why, and gives no path" {
    agent_repo
    failed() {
        try_hook claude-code/WorktreeCreate "${@:2}"
        assert_equal "$status" "$1" 'exit status'
        assert_equal "$output" '' 'standard output'
        assert_match "$stderr" '^(fatal|error): '
    }
    git config interlock.poolMax 1
    git config interlock.claimTimeout 0
    must git worktree-claim
    failed 75
    assert_match "$stderr" "is full"
    failed 1 's|"cwd": "[^"]*|&/nowhere|'
    mkdir "$BATS_TEST_TMPDIR/plain"
    failed 128 "s|\"cwd\": \"[^\"]*|\"cwd\": \"$BATS_TEST_TMPDIR/plain|"
    make_repo --empty "$BATS_TEST_TMPDIR/unborn"
    failed 128 "s|\"cwd\": \"[^\"]*|\"cwd\": \"$PWD|"
    assert_match "$stderr" 'no commit yet'
}

@test "WorktreeCreate: the pool, and the agent's process, can be said" {
    agent_repo
    bg sleep 60
    fixture claude-code/WorktreeCreate >input
    must git-interlock agent-hook --pool agents --owner-pid "$!" claude-code <input
    assert_equal "$output" "$REPO.worktrees/agents-1"
    assert_match "$(slot owner agents-1)" "^pid $! \(sleep\)"
    kill "$!"
    await 30 slot_is free agents-1
}

# ---- who holds it -----------------------------------------------------------------------------

owned_by_agent() { # [<option>...] <command>
    start_agent "$@"
    agent_hook claude-code/WorktreeCreate
    assert_equal "$ANSWER" "$REPO.worktrees/default-1"
    assert_match "$(slot owner)" "^pid $AGENT_PID \(agent.pl\)"
    assert_equal "$(slot state)" held
    kill_agent
    await 30 slot_is free
}

@test "holder: the agent's process, through a shell and git, on socketpairs and on pipes" {
    agent_repo
    owned_by_agent "$HOOK"
    owned_by_agent "exec $HOOK"
    owned_by_agent 'git interlock agent-hook claude-code; exit'
    owned_by_agent --close 'git interlock agent-hook claude-code; exit'
    owned_by_agent --pipes "$HOOK; exit"
    owned_by_agent --pipes --close "$HOOK; exit"
}

@test "holder: never a wrapper that only lives for the hook" {
    agent_repo
    owned_by_agent "out=\$($HOOK); echo \"\$out\""
    owned_by_agent --pipes --close "out=\$($HOOK); echo \"\$out\""
    # It reads the input, too.
    owned_by_agent --close "in=\$(cat); out=\$(printf %s \"\$in\" | $HOOK); echo \"\$out\""
    owned_by_agent --pipes --close \
        "in=\$(cat); out=\$(printf %s \"\$in\" | $HOOK); echo \"\$out\""
    owned_by_agent --pipes --close "cat | $HOOK | cat"
}

@test "holder: where no agent can be found, time, which each save renews" {
    agent_repo
    git config interlock.ttl 1h
    fixture claude-code/WorktreeCreate >input
    "$BIN/git-interlock" agent-hook claude-code <input >out 2>err
    assert_equal "$(cat out)" "$REPO.worktrees/default-1"
    assert_equal "$(slot state)" leased
    left() { echo $(($(date -d "$(slot expires)" +%s) - $(date +%s))); }
    assert_at_least "$(left)" 3500
    assert_at_most "$(left)" 3600
    # A tenth of it has to be gone: 3 s of 30.
    (cd "$REPO.worktrees/default-1" && must git worktree-claim renew --ttl 30s)
    local before
    before=$(slot expires)
    sleep 4
    must_hook claude-code/Stop "s|\"cwd\": \"[^\"]*|&.worktrees/default-1|"
    assert_differ "$(slot expires)" "$before"
    # It is this session's: once more, the same; and its end gives it back.
    "$BIN/git-interlock" agent-hook claude-code <input >out 2>err
    assert_equal "$(cat out)" "$REPO.worktrees/default-1"
    must_hook claude-code/SessionEnd
    assert_equal "$(slot state)" free
}

# ---- WorktreeRemove -----------------------------------------------------------------------------

@test "WorktreeRemove: given back, and what was in it is rescued" {
    both_engines removes
}
removes() {
    agent_repo
    must_hook claude-code/WorktreeCreate
    local wt=$output
    put "$wt/new" work
    must_hook claude-code/WorktreeRemove
    assert_equal "$output" ''
    assert_equal "$(slot state)" free
    assert_absent "$wt/new"
    local ref
    ref=$(git for-each-ref --format='%(refname)' refs/rescue)
    assert_match "$stderr" "$ref"
    must git shadow-commit restore "$ref" -- new
    assert_file new work
    # There is nothing left to do.
    must_hook claude-code/WorktreeRemove
    quiet
}

@test "WorktreeRemove: from inside, and from a directory that is no repository" {
    agent_repo
    must_hook claude-code/WorktreeCreate
    must_hook claude-code/WorktreeRemove "s|\"cwd\": \"[^\"]*|&.worktrees/default-1|"
    assert_equal "$(slot state)" free
    must_hook claude-code/WorktreeCreate
    must_hook claude-code/WorktreeRemove 's|"cwd": "[^"]*|"cwd": "/|'
    assert_equal "$(slot state)" free
}

@test "WorktreeRemove: what is another's, or no slot, is not touched" {
    agent_repo
    must git worktree-claim --key mine
    put "$output/new" work
    try_hook claude-code/WorktreeRemove
    assert_equal "$status" 1 'exit status'
    assert_match "$stderr" "not this session's"
    assert_file "$REPO.worktrees/default-1/new" work
    git worktree add -q --detach ../other
    put ../other/new work
    try_hook claude-code/WorktreeRemove 's|app.worktrees/default-1|other|' \
        "s|$REPO.worktrees/default-1|${REPO%/*}/other|"
    assert_equal "$status" 1 'exit status'
    assert_file ../other/new work
    must_hook claude-code/WorktreeRemove 's|default-1|gone|'
    try_hook claude-code/WorktreeRemove 's|"worktree_path"|"path"|'
    assert_equal "$status" 128 'exit status'
}

@test "WorktreeRemove: a live process inside keeps it" {
    agent_repo
    must_hook claude-code/WorktreeCreate
    cd "$output" || return
    bg sleep 60
    cd "$REPO" || return
    try_hook claude-code/WorktreeRemove
    assert_equal "$status" 75 'exit status'
    assert_match "$stderr" 'live process inside'
    assert_equal "$(slot state)" held
}

# ---- saves --------------------------------------------------------------------------------------

@test "PostToolUse: a checkpoint in the agent's session, named after the tool" {
    both_engines saves_after_tool
}
saves_after_tool() {
    agent_repo
    local before
    put scratch 1
    before=$(user_state)
    must_hook claude-code/PostToolUse-Bash
    quiet
    assert_equal "$(newest message session)" "Bash
$CLAUDE_SESSION"
    assert_equal "$(newest tree)" "$(git_tree)"
    assert_match "$(git log -1 --format=%B "$(shadow_ref)")" '
Agent: claude-code'
    assert_equal "$(user_state | grep -v interlock)" "$(grep -v interlock <<<"$before")"
    # Nothing has changed: no other checkpoint.
    must_hook claude-code/PostToolUse-mcp
    assert_equal "$(checkpoints)" 1
    put scratch 2
    must_hook claude-code/PostToolUse-mcp
    assert_equal "$(newest message)" mcp__tracker__update_issue
    put scratch 3
    must_hook claude-code/PostToolUseFailure
    assert_equal "$(newest message tree)" "Bash
$(git_tree)"
}

@test "PostToolUse: a tool that says which file it wrote saves that file, as this session's" {
    both_engines saves_file
}
saves_file() {
    agent_repo
    must git shadow-commit
    put src/parser.c mine
    put src/other.c "another's"
    must_hook claude-code/PostToolUse-Write
    assert_equal "$(newest message)" 'Write src/parser.c'
    assert_equal "$(git diff-tree -r --name-only "$(shadow_ref)~" "$(shadow_ref)")" src/parser.c
    put src/main.c mine
    must_hook claude-code/PostToolUse-Edit
    put doc/plot.ipynb mine
    must_hook claude-code/PostToolUse-NotebookEdit
    assert_equal "$(git diff-tree -r --name-only "$(shadow_ref)~" "$(shadow_ref)")" doc/plot.ipynb
    # The turn's end has the rest.
    must_hook claude-code/Stop
    assert_equal "$(newest message tree)" "Stop
$(git_tree)"
    # H2: what this session wrote is undone, and nothing else.
    must git shadow-commit restore --session "$CLAUDE_SESSION"
    assert_absent src/parser.c
    assert_absent doc/plot.ipynb
    assert_file src/main.c 'int main(void) { return 0; }'
    assert_file src/other.c "another's"
}

@test "PostToolUse: a file that is gone again, ignored, nested, odd or nowhere" {
    both_engines saves_odd_file
}
saves_odd_file() {
    # Forced, it refuses what is more than a path.
    [ "$GIT_INTERLOCK_ENGINE" != native ] || use_engine auto
    agent_repo
    wrote() { must_hook claude-code/PostToolUse-Write "s|/src/parser.c|$1|g"; }
    put new 1
    wrote /src/gone.c
    assert_equal "$(newest tree)" "$(git_tree)"
    put new 1b
    wrote /src/gone.c
    assert_equal "$(newest message tree)" "Write
$(git_tree)"
    put x.o ignored
    wrote /x.o
    assert_equal "$(newest tree)" "$(git_tree)"
    put 'a/[b]*.c' odd
    wrote '/a/[b]*.c'
    assert_equal "$(newest message tree)" "Write a/[b]*.c
$(git_tree)"
    put ':(x) y' odd
    wrote '/:(x) y'
    assert_equal "$(newest message tree)" "Write :(x) y
$(git_tree)"
    put new 2
    wrote /nowhere/at/all.c
    assert_equal "$(newest message tree)" "Write
$(git_tree)"
    # Through a symbolic link to the repository.
    ln -s "$REPO" "$BATS_TEST_TMPDIR/$VARIANT-link"
    put new 3
    must_hook claude-code/PostToolUse-Write \
        "s|\"file_path\": \"[^\"]*|\"file_path\": \"$BATS_TEST_TMPDIR/$VARIANT-link/new|"
    assert_equal "$(newest message)" 'Write new'
    # Somebody else's file, far away.
    put new 4
    must_hook claude-code/PostToolUse-Write 's|"file_path": "[^"]*|"file_path": "/etc/hosts|'
    assert_equal "$(newest message tree)" "Write
$(git_tree)"
}

@test "PostToolUse: a nested repository's file" {
    agent_repo
    make_repo "$PWD/nested"
    cd "$REPO" || return
    put nested/src/parser.c new
    put here 1
    must_hook claude-code/PostToolUse-Write 's|/src/parser.c|/nested/src/parser.c|'
    assert_equal "$(git cat-file -p "$(newest tree):here")" 1
    assert_equal "$(git -C nested for-each-ref refs/shadow)" '' 'checkpoints in the nested one'
}

@test "PostToolUse: a file in another worktree of this repository is saved there" {
    agent_repo
    must_hook claude-code/WorktreeCreate
    local wt=$output
    put "$wt/src/found.c" new
    must_hook claude-code/PostToolUse-subagent
    assert_equal "$(cd "$wt" && newest message)" 'Write src/found.c'
    assert_equal "$(checkpoints)" 0
}

@test "Stop, SubagentStop, UserPromptSubmit: a checkpoint; other events: nothing, quietly" {
    agent_repo
    local event n=0
    for event in claude-code/{Stop,SubagentStop,UserPromptSubmit} \
        codex/{Stop,SubagentStop,UserPromptSubmit,PostToolUse-Bash,PostToolUse-apply_patch}; do
        put new "$event"
        must_hook "$event"
        quiet
        n=$((n + 1))
        assert_equal "$(checkpoints)" "$n" "checkpoints after $event"
    done
    assert_equal "$(newest session)" "$CODEX_SESSION"
    put new 'and no more'
    for event in claude-code/{SessionStart,PreToolUse,Notification} codex/SessionStart; do
        must_hook "$event"
        quiet
    done
    must_hook claude-code/Stop 's/"Stop"/"NotBornYet"/'
    quiet
    must_hook codex/Stop 's/"Stop"/"WorktreeCreate"/'
    quiet
    assert_equal "$(checkpoints)" "$n"
}

@test "fields: unknown ones, other types, none" {
    agent_repo
    put new 1
    must_hook claude-code/Stop 's/^{/{"unknown":{"deep":[1.5e3,{"x":null}]},/'
    quiet
    must_hook claude-code/Stop 's/"session_id": "[^"]*"/"session_id": 7/' \
        's/"permission_mode": "[^"]*"/"permission_mode": null/'
    quiet
    put new 2
    echo '{"hook_event_name":"Stop"}' >input
    must env GIT_INTERLOCK_SESSION=mine git-interlock agent-hook codex <input
    assert_equal "$(newest session)" mine
}

@test "PostToolUse: one process, and no git, on the native engine" {
    requires strace
    agent_repo
    local event
    must git shadow-commit
    for event in Bash Write; do
        put src/parser.c "$event"
        put new "$event"
        fixture "claude-code/PostToolUse-$event" >input
        must strace -f -qq -o trace -e trace=execve,clone,clone3,fork,vfork,unlinkat \
            git-interlock agent-hook claude-code <input
        assert_equal "$(newest message | head -c ${#event})" "$event"
        assert_equal "$(grep -cE '\bexecve\(' trace)" 1 'programs'
        # A thread is no process.
        assert_equal "$(grep -E '(clone3?|v?fork)\(' trace | grep -vc CLONE_THREAD)" 0 'processes'
    done
}

@test "saves: interlock.autoSave=false is obeyed by every event that saves" {
    agent_repo
    git config interlock.autoSave false
    local event
    put new 1
    for event in Stop SubagentStop UserPromptSubmit PostToolUse-Bash PostToolUse-Write \
        PostToolUseFailure SessionEnd-clear; do
        must_hook "claude-code/$event"
        quiet
    done
    must_hook claude-code/WorktreeCreate
    put "$output/new" work
    # Worktrees are another thing, and a rescue is no automatic save.
    must_hook claude-code/SessionEnd
    assert_equal "$(git for-each-ref refs/shadow)" '' 'checkpoints'
    assert_equal "$(slot state)" free
    assert_match "$(git for-each-ref refs/rescue)" refs/rescue/default-1
    must env GIT_INTERLOCK_AUTO_SAVE=true git-interlock agent-hook claude-code \
        < <(fixture claude-code/Stop)
    assert_equal "$(checkpoints)" 1
}

@test "saves: one that fails says so, by no status that stops the agent, and in the ledger" {
    agent_repo
    put new 1
    mkdir -p .git/interlock/locks
    hold flock ".git/interlock/locks/ref-refs%2Fshadow%2Fmain%2Fb%2Fmain"
    git config interlock.lockTimeout 100ms
    try_hook claude-code/Stop
    unhold
    assert_equal "$status" 75 'exit status'
    assert_match "$stderr" '^error: '
    assert_match "$(git interlock events --json | tail -n 1)" '"event":"save-failed"'
    git config interlock.lockTimeout soon
    try_hook claude-code/Stop
    assert_equal "$status" 129 'exit status'
}

# ---- SessionEnd -----------------------------------------------------------------------------------

dirty_slots() {
    must_hook claude-code/WorktreeCreate
    must_hook claude-code/WorktreeCreate s/bold-oak/shy-fern/
    local n slot
    for slot in 1 2; do
        for n in {1..50}; do put "$REPO.worktrees/default-$slot/dir-$((n % 7))/file-$n" "$n"; done
        put "$REPO.worktrees/default-$slot/README" changed
    done
}

@test "SessionEnd: saves, gives back all that the session claimed, within 1.5 s" {
    both_engines ends
}
ends() {
    agent_repo
    dirty_slots
    must_hook claude-code/WorktreeCreate "s/$CLAUDE_SESSION/another/"
    must git worktree-claim --key mine
    put new 1
    within 1500 must_hook claude-code/SessionEnd
    quiet
    await 30 slot_is free default-1
    await 30 slot_is free default-2
    assert_equal "$(slot state default-3)" held
    assert_equal "$(slot state default-4)" leased
    assert_equal "$(newest message tree)" "SessionEnd
$(git_tree)"
    local ref n=0
    for ref in $(git for-each-ref --format='%(refname)' refs/rescue); do
        assert_equal "$(git ls-tree -r --name-only "$ref" | grep -c file-)" 50
        n=$((n + 1))
    done
    assert_equal "$n" 2 'rescues'
    fsck
}

@test "SessionEnd: from inside the worktree, which is then saved, rescued and given back" {
    agent_repo
    start_agent "$HOOK"
    agent_hook claude-code/WorktreeCreate
    put "$ANSWER/new" work
    agent_hook claude-code/SessionEnd "s|\"cwd\": \"[^\"]*|&.worktrees/default-1|"
    assert_equal "$(slot state)" free
    assert_match "$(git for-each-ref --format='%(refname)')" refs/shadow/wt/default-1/detached
    assert_match "$(git for-each-ref)" refs/rescue/default-1
}

@test "SessionEnd: what takes longer is not waited for, and comes to its end" {
    agent_repo
    must_hook claude-code/WorktreeCreate
    put "$output/new" work
    put new 1
    mkdir -p .git/interlock/locks
    hold flock ".git/interlock/locks/ref-refs%2Fshadow%2Fmain%2Fb%2Fmain"
    within 1500 must_hook claude-code/SessionEnd
    quiet
    assert_equal "$(slot state)" held
    unhold
    saved() { [ "$(checkpoints)" = 1 ]; }
    await 30 saved
    await 30 slot_is free
    assert_match "$(git for-each-ref)" refs/rescue/default-1
}

@test "SessionEnd: killed in the middle, the next claim or reap does the rest" {
    agent_repo
    must_hook claude-code/WorktreeCreate
    put "$output/new" work
    fixture claude-code/SessionEnd >input
    # Its child stands still on its way into the rescue, and all of it is killed there.
    stop_at link,linkat,rename,renameat,renameat2:refs/rescue \
        sh -c 'git-interlock agent-hook claude-code <input'
    assert_equal "$(slot state)" held
    kill -KILL "$STOPPED_PID"
    wait "$STOPPED_PID" 2>/dev/null || :
    must git worktree-reap
    assert_equal "$(slot state)" free
    local ref
    ref=$(git for-each-ref --format='%(refname)' refs/rescue)
    assert_equal "$(git cat-file -p "$ref:new")" work
}

@test "SessionEnd: after /clear or /resume the agent goes on: saved, and nothing is taken from it" {
    agent_repo
    must_hook claude-code/WorktreeCreate
    put new 1
    must_hook claude-code/SessionEnd-clear
    must_hook claude-code/SessionEnd-clear 's/"clear"/"resume"/'
    assert_equal "$(slot state)" held
    assert_equal "$(newest message)" SessionEnd
    # Codex gives a second.
    within 1000 must_hook codex/SessionEnd
    assert_equal "$(slot state)" held
}

@test "SessionEnd: in a directory that is gone, the session's worktrees are given back all the same" {
    agent_repo
    must_hook claude-code/WorktreeCreate
    must_hook claude-code/SessionEnd 's|"cwd": "[^"]*|&/gone|'
    assert_equal "$(slot state)" free
}

# ---- input ----------------------------------------------------------------------------------------

# Refused aloud, by a status that no agent takes for "stop", and nothing was done.
refused() { # <words in the message>
    assert_equal "$status" 128 'exit status'
    assert_equal "$output" '' 'standard output'
    assert_match "$stderr" "^fatal: .*$1"
    assert_equal "$(git for-each-ref refs/shadow)" '' 'checkpoints'
}

@test "input: malformed, empty, cut short, binary, deep" {
    agent_repo
    put new 1
    try claude_hook < <(printf '')
    refused 'standard input is empty'
    try claude_hook < <(printf ' \n ')
    refused 'standard input is empty'
    try claude_hook < <(echo 'not json')
    refused 'no JSON object'
    try claude_hook < <(echo '[]')
    refused 'no JSON object'
    try claude_hook < <(echo '{"hook_event_name":}')
    refused 'not valid JSON'
    try claude_hook < <(echo '{}')
    refused 'hook_event_name'
    try claude_hook < <(fixture claude-code/Stop | head -c 200)
    refused 'ends inside'
    try claude_hook </bin/true
    refused 'no JSON object'
    try claude_hook < <(printf '{"hook_event_name":"Stop","x":"\377\376\001"}')
    refused 'not valid JSON'
    try claude_hook < <(printf '{"hook_event_name":"Stop","x":"\033[31m\007"}')
    refused 'not valid JSON'
    assert_no_match "$stderr" $'\033'
    try claude_hook < <(perl -e 'print "{\"a\":" x 100000')
    refused 'nested deeper'
    try claude_hook < <(perl -e 'print "[" x 100000')
    refused 'no JSON object'
}

@test "input: large ones are taken, too large ones refused" {
    agent_repo
    put new 1
    try claude_hook < <(perl -e 'print "{\"hook_event_name\":\"Nothing\",\"tool_response\":\"",
        "x" x (65 << 20), "\"}"')
    refused 'larger than 64 MiB'
    must claude_hook < <(perl -e 'print "{\"tool_response\":\"", "x" x (20 << 20),
        "\",\"hook_event_name\":\"Stop\"}"')
    assert_equal "$(checkpoints)" 1
}

@test "input: that stays open behind the object is not waited for" {
    agent_repo
    put new 1
    mkfifo fifo
    exec {pen}<>fifo
    fixture claude-code/Stop >fifo
    within 2000 must claude_hook <fifo
    rm new
    exec {pen}>&-
    assert_equal "$(git cat-file -p "$(newest tree):new")" 1
}

@test "input: that stays open and does not go on is given up" {
    agent_repo
    mkfifo fifo
    exec {pen}<>fifo
    printf '{"hook_event_name":"Stop",' >fifo
    within 8000 try claude_hook <fifo
    refused 'stays open'
    exec {pen}>&-
}

@test "input: a closed standard input, and closed standard output" {
    agent_repo
    try sh -c "$HOOK <&-"
    refused 'empty'
    fixture claude-code/WorktreeCreate >input
    try sh -c "$HOOK <input >&-"
    assert_equal "$status" 128 'exit status'
    put new 1
    fixture claude-code/Stop >input
    must sh -c "$HOOK <input >&- 2>&-"
    assert_equal "$(checkpoints)" 1
}

@test "usage: one agent that is known" {
    must_exit 129 git-interlock agent-hook
    must_exit 129 git-interlock agent-hook claude-code codex </dev/null
    must_exit 129 git-interlock agent-hook another </dev/null
    assert_match "$stderr" 'claude-code, codex'
    must_exit 129 git-interlock agent-hook --pool -x codex </dev/null
    must_exit 129 git-interlock agent-hook --owner-pid 0 codex </dev/null
    must git-interlock agent-hook -h
    assert_match "$output" '--owner-pid'
}

# ---- where ----------------------------------------------------------------------------------------

@test "where: no repository, no work tree, no directory is no failure of what only saves" {
    make_repo --bare bare
    local bare=$PWD event where
    cd ..
    make_repo
    mkdir "$BATS_TEST_TMPDIR/plain"
    cd "$BATS_TEST_TMPDIR/plain" || return
    for where in "$BATS_TEST_TMPDIR/plain" "$BATS_TEST_TMPDIR/nowhere" / "$bare" \
        "$BATS_TEST_TMPDIR/repo/.git"; do
        for event in claude-code/{PostToolUse-Bash,PostToolUse-Write,Stop,UserPromptSubmit,SessionEnd} \
            codex/{Stop,SessionEnd}; do
            must_hook "$event" "s|\"cwd\": \"[^\"]*|\"cwd\": \"$where|"
            quiet
        done
    done
    assert_equal "$(git -C "$BATS_TEST_TMPDIR/repo" for-each-ref refs/shadow)" ''
}

@test "where: the agent's directory, whatever the hook was started in and git's variables say" {
    agent_repo
    make_repo ../other
    local other=$PWD
    put "$REPO/new" 1
    must_hook claude-code/Stop
    assert_equal "$(git for-each-ref refs/shadow)" '' 'checkpoints of the other repository'
    assert_equal "$(git -C "$REPO" for-each-ref refs/shadow | wc -l)" 1
    put "$REPO/new" 2
    fixture claude-code/Stop >input
    must env GIT_DIR="$other/.git" GIT_WORK_TREE="$other" GIT_INDEX_FILE="$other/.git/index" \
        git-interlock agent-hook claude-code <input
    assert_equal "$(git for-each-ref refs/shadow)" ''
    assert_equal "$(cd "$REPO" && newest tree)" "$(cd "$REPO" && git_tree)"
    # Started there, what they say is meant.
    fixture claude-code/Stop "s|$REPO|$BATS_TEST_TMPDIR/here|" >input
    mkdir "$BATS_TEST_TMPDIR/here"
    cd "$BATS_TEST_TMPDIR/here" || return
    must env GIT_DIR="$other/.git" GIT_WORK_TREE="$other" \
        git-interlock agent-hook claude-code <"$other/input"
    assert_equal "$(git -C "$other" for-each-ref refs/shadow | wc -l)" 1
}

# ---- what is started ------------------------------------------------------------------------------

@test "streams: a background job of the user's hook holds nobody's output open" {
    agent_repo
    printf '#!/bin/sh\nsleep 30 &\necho $! >"%s/sleeper"\n' "$BATS_TEST_TMPDIR" \
        >.git/hooks/post-checkout
    chmod +x .git/hooks/post-checkout
    start_agent --pipes "$HOOK"
    within 8000 agent_hook claude-code/WorktreeCreate
    assert_equal "$ANSWER" "$REPO.worktrees/default-1"
    kill "$(cat "$BATS_TEST_TMPDIR/sleeper")"
}
