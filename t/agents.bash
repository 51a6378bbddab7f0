# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
# shellcheck shell=bash
#
# What the tests of agents share: recorded inputs, and an agent that runs (t/agent.pl).

# shellcheck disable=SC2034,SC2154 # for, and by, those who load it

FIXTURES=$TOP/t/fixtures/agents
CLAUDE_SESSION=7c1f0b52-3b0e-4e0c-9d0a-5d3c6a1f8e24
CODEX_SESSION=019a5b1e-77d0-7c11-9f2e-4c6b1a0d2e53
export FIXTURES CLAUDE_SESSION CODEX_SESSION

# A recorded input, as if it had happened in this repository; with further changes by sed.
fixture() { # <agent>/<event> [<sed command>]...
    local args=() one
    for one in "${@:2}"; do args+=(-e "$one"); done
    sed -e "s|/home/ann/src/app|${REPO:-$PWD}|g" ${args[@]+"${args[@]}"} "$FIXTURES/$1.json"
}

# The hook with a recorded input: sets status, output and stderr.
try_hook() { # <agent>/<event> [<sed command>]...
    local input=$BATS_TEST_TMPDIR/input
    fixture "$@" >"$input"
    try git-interlock agent-hook "${1%%/*}" <"$input"
}
must_hook() {
    try_hook "$@"
    [ "$status" = 0 ] || flunk "agent-hook ended with status $status"
}

# Nothing said, nothing failed.
quiet() {
    assert_equal "$output" '' 'standard output'
    assert_equal "$stderr" '' 'standard error'
}

newest() { # <key>...: of the newest checkpoint here
    git shadow-commit log -n 1 --json | json "$@"
}
checkpoints() { git shadow-commit log --json 2>/dev/null | wc -l; }

slot() { # <key> [<slot>]
    git worktree-claim list --json | grep "\"slot\":\"${2:-default-1}\"" | json "$1"
}
slot_is() { [ "$(slot state "${2:-default-1}")" = "$1" ]; }

# ---- an agent that runs ----------------------------------------------------------------------

# Starts it here; agent() then gives it a line, and its answer is in ANSWER (and STATUS).
start_agent() { # [--pipes] [--close] <command>
    local fifo
    fifo=$(mktemp -u "$BATS_TEST_TMPDIR/agent.XXXXXX")
    mkfifo "$fifo.in" "$fifo.out"
    "$TOP/t/agent.pl" "$@" <"$fifo.in" >"$fifo.out" 2>"$fifo.err" 3>&- &
    AGENT_PID=$!
    AGENT_TALK=$fifo.err
    BG_PIDS+=("$AGENT_PID")
    exec {AGENT_IN}>"$fifo.in" {AGENT_OUT}<"$fifo.out"
}
agent() { # <line>
    local line
    echo "$1" >&"$AGENT_IN"
    IFS= read -r line <&"$AGENT_OUT" || flunk "the agent has ended: $(cat "$AGENT_TALK")"
    STATUS=${line%% *}
    ANSWER=${line#* }
    printf 'agent: %s => %s\n' "$1" "$line"
}
agent_hook() { # <agent>/<event> [<sed command>]...
    local input
    input=$(mktemp "$BATS_TEST_TMPDIR/event.XXXXXX")
    fixture "$@" >"$input"
    agent "hook $input"
    [ "$STATUS" = 0 ] || flunk "its hook ended with status $STATUS: $(cat "$AGENT_TALK")"
}
kill_agent() {
    kill -KILL "$AGENT_PID"
    wait "$AGENT_PID" 2>/dev/null || :
    exec {AGENT_IN}>&- {AGENT_OUT}<&-
}
