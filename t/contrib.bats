#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# What contrib offers is used here as it is: settings for agents, the loop for one without
# hooks, and our hooks for the pre-commit framework.

# shellcheck disable=SC2154 # set by try(): output, stderr, lines
# shellcheck disable=SC2016,SC2030,SC2031

load helpers
load agents

# "<event> <command>" for each command in a settings file; a file that does not parse fails.
commands_of() { # <file>
    perl -MJSON::PP -0777 -ne '
        my $hooks = JSON::PP->new->decode($_)->{hooks};
        for my $event (sort keys %$hooks) {
            for my $group (@{$hooks->{$event}}) {
                die "no regular expression: $group->{matcher}" unless eval { qr/$group->{matcher}/ if defined $group->{matcher}; 1 };
                for my $hook (@{$group->{hooks}}) {
                    die "type" unless $hook->{type} eq "command";
                    print "$event $hook->{command}\n";
                }
            }
        }' "$1"
}

# Each command in it, as the agent starts it, with what the agent sends.
settings_work() { # <agent> <file> <event>...
    local agent=$1 file=$2 event command input
    shift 2
    must commands_of "$file"
    assert_equal "$(cut -d' ' -f1 <<<"$output")" "$(printf '%s\n' "$@" | sort)" "events in $file"
    make_repo
    REPO=$PWD
    while read -r event command; do
        command -v "${command%% *}" >/dev/null || flunk "there is no ${command%% *}"
        for input in "$FIXTURES/$agent/$event"*.json; do
            input=${input##*/}
            case $input in SessionEnd* | Worktree*) continue ;; esac
            echo "$input" >>changed
            fixture "$agent/${input%.json}" >"$BATS_TEST_TMPDIR/event"
            must sh -c "$command" <"$BATS_TEST_TMPDIR/event"
            case $input in
                *-Write.* | *-Edit.* | *-NotebookEdit.* | *-subagent.*) ;; # their file only
                *) assert_equal "$(newest tree)" "$(git_tree)" "what $input saved" ;;
            esac
        done
    done < <(commands_of "$file" | sed '/ Session/d')
}

@test "contrib: the settings for Claude Code, each command with what it is sent" {
    settings_work claude-code "$TOP/contrib/claude-code/settings.json" WorktreeCreate \
        WorktreeRemove UserPromptSubmit PostToolUse PostToolUseFailure Stop SubagentStop SessionEnd
    local command
    command=$(commands_of "$TOP/contrib/claude-code/settings.json" | sed -n 's/^WorktreeCreate //p')
    start_agent --close "$command"
    agent_hook claude-code/WorktreeCreate
    assert_equal "$ANSWER" "$REPO.worktrees/default-1"
    assert_match "$(slot owner)" "pid $AGENT_PID"
    agent_hook claude-code/WorktreeRemove
    assert_equal "$(slot state)" free
    agent_hook claude-code/WorktreeCreate
    agent_hook claude-code/SessionEnd
    await 30 slot_is free
}

@test "contrib: the matcher names the tools that write, and no tool that only reads" {
    local tool matcher file
    for file in claude-code/settings.json codex/hooks.json; do
        must perl -MJSON::PP -0777 -ne \
            'print JSON::PP->new->decode($_)->{hooks}{PostToolUse}[0]{matcher}' "$TOP/contrib/$file"
        matcher="^($output)$"
        for tool in Bash mcp__tracker__update_issue; do assert_match "$tool" "$matcher"; done
        for tool in Read Grep Glob WebFetch TodoWrite; do assert_no_match "$tool" "$matcher"; done
    done
}

@test "contrib: the hooks for Codex, each command with what it is sent" {
    settings_work codex "$TOP/contrib/codex/hooks.json" UserPromptSubmit PostToolUse Stop \
        SubagentStop SessionEnd
    fixture codex/SessionEnd >"$BATS_TEST_TMPDIR/event"
    must sh -c "$(commands_of "$TOP/contrib/codex/hooks.json" | sed -n 's/^SessionEnd //p')" \
        <"$BATS_TEST_TMPDIR/event"
}

# ---- the loop -------------------------------------------------------------------------------------

LOOP=$TOP/contrib/agent-loop/agent-loop

@test "contrib: agent-loop: a worktree and a branch, a checkpoint a turn, until it is done" {
    make_repo
    local counter=$BATS_TEST_TMPDIR/turns
    cat >"$BATS_TEST_TMPDIR/an agent" <<-'AGENT'
	#!/bin/sh
	echo turn >>"$1"
	wc -l <"$1" >work
	[ "$(wc -l <"$1")" -ge 3 ] || exit 1
	git add work
	git commit -q -m 'all done'
	AGENT
    chmod +x "$BATS_TEST_TMPDIR/an agent"
    must "$LOOP" issue-42 "$BATS_TEST_TMPDIR/an agent" "$counter"
    assert_equal "$(wc -l <"$counter")" 3 turns
    assert_equal "$(git log -1 --format=%s agent/issue-42)" 'all done'
    assert_equal "$(slot state)" free
    must git shadow-commit log --ref wt/default-1/b/agent%2Fissue-42 --session issue-42 --format=%s
    assert_equal "$output" 'turn 3, status 0
turn 2, status 1
turn 1, status 1
before the first turn'
    # It gives up after so many turns, with the agent's status; a task is no option.
    must_exit 7 env AGENT_LOOP_TURNS=2 "$LOOP" other sh -c 'exit 7'
    must_exit 129 "$LOOP" issue-42
    must_exit 129 "$LOOP" -x true
}

@test "contrib: agent-loop: one at a time for a task; killed, its work is rescued" {
    make_repo
    mkfifo started
    bg "$LOOP" issue-42 sh -c 'echo half >work; echo here >'"'$PWD/started'"'; exec sleep 60'
    local loop=$! word
    read -r word <started
    assert_equal "$word" here
    must_exit 75 "$LOOP" issue-42 true
    assert_match "$stderr" "key 'issue-42' is leased"
    kill -KILL "$loop"
    wait "$loop" 2>/dev/null || :
    again() { "$LOOP" issue-42 true; } # its command is told to end, which takes a moment
    await 30 again
    local ref
    ref=$(git for-each-ref --format='%(refname)' refs/rescue)
    assert_equal "$(git cat-file -p "$ref:work")" half
}

# ---- the pre-commit framework ---------------------------------------------------------------------

# The framework takes hooks from a repository: ours, at the present state of its files. It
# needs nothing from the network, because the hooks' language is "system".
use_framework() {
    requires pre-commit
    local ours=$BATS_TEST_TMPDIR/ours
    git init -q "$ours"
    cp "$TOP/.pre-commit-hooks.yaml" "$ours/"
    git -C "$ours" add .pre-commit-hooks.yaml
    git -C "$ours" commit -q -m ours
    export PRE_COMMIT_HOME=$BATS_TEST_TMPDIR/framework http_proxy=http://127.0.0.1:9 \
        https_proxy=http://127.0.0.1:9
    make_repo
    REPO=$PWD
    {
        printf 'repos:\n- repo: %s\n  rev: %s\n  hooks:\n' "$ours" \
            "$(git -C "$ours" rev-parse HEAD)"
        sed -n 's/^- id: \(.*\)/  - id: \1/p' "$TOP/.pre-commit-hooks.yaml"
    } >.pre-commit-config.yaml
    git add .pre-commit-config.yaml
    git commit -q -m framework
    must pre-commit validate-manifest "$TOP/.pre-commit-hooks.yaml"
    must pre-commit install
}

@test "contrib: the pre-commit framework: the guard refuses who is not the holder, and lets the holder pass" {
    use_framework
    hold_slot
    put "$HELD/new" work
    cd "$HELD" || return
    git add new
    try git commit -q -m 'not the holder'
    assert_equal "$status" 1 'exit status'
    assert_match "$output$stderr" "interlock: pre-commit: .*GIT_INTERLOCK_LEASE"
    assert_equal "$(git log -1 --format=%s)" framework
    must env GIT_INTERLOCK_LEASE="$(cd "$REPO" && slot lease)" git commit -q -m 'with its lease'
    assert_equal "$(git log -1 --format=%s)" 'with its lease'
    cd "$REPO" || return
    let_slot_go
}

@test "contrib: the pre-commit framework: our installed hooks save before it puts anything aside" {
    use_framework
    put new 1
    git add new
    put README 'not staged'
    must git commit -q -m one
    assert_file README 'not staged'
    assert_equal "$(checkpoints)" 0
    must git interlock install
    put new 2
    git add new
    local whole
    whole=$(git_tree)
    must git commit -q -m two
    assert_match "$output$stderr" 'only the holder.*Passed'
    assert_file README 'not staged'
    assert_equal "$(git log --format=%T -n 2 "$(shadow_ref)")" "$whole
$whole" 'trees of the checkpoints before and after the commit'
    # And it can be set up over ours again.
    must pre-commit install
    put new 3
    git add new
    must git commit -q -m three
    must git interlock uninstall
}
