#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git interlock events: the ledger for people and programs.
#
# shellcheck disable=SC2154 # set by try(): output, stderr, lines

load helpers

L=.git/interlock/ledger

# A line of the ledger as it should be, with this text as its object.
line() { # <JSON>
    perl -MCompress::Zlib -e 'printf "1 %08x %s\n", crc32($ARGV[0]), $ARGV[0]' "$1"
}
event() { # <time> <event>
    line "{\"v\":1,\"time\":\"$1\",\"event\":\"$2\",\"slot\":null,\"lease\":null,\"mutex\":null,\"pid\":1,\"ref\":null,\"session\":null,\"reason\":null}"
}
make_ledger() {
    make_repo
    mkdir .git/interlock
    event 2026-01-01T00:00:00Z one >$L
    event 2026-01-02T00:00:00Z two >>$L
}
names() { git interlock events --json 2>/dev/null | json event | paste -sd' '; }

@test "events: what the suite did, for people and as JSON" {
    make_repo
    must git interlock events
    assert_equal "$output$stderr" ''
    assert_absent .git/interlock
    must git interlock run --mutex tick -- true
    must git worktree-claim -q
    must git interlock events
    assert_match "${lines[0]}" '^20[0-9-]{8}T[0-9:]{8}Z start +[0-9]+ +tick: true$'
    assert_match "${lines[1]}" '^20[0-9-]{8}T[0-9:]{8}Z finish +[0-9]+ +tick: status 0$'
    assert_match "$output" 'birth +[0-9]+ +default-1'
    must git interlock events --json
    assert_equal "$(json v event mutex slot <<<"${lines[0]}" | paste -sd' ')" '1 start tick null'
    must_exit 129 git interlock events more
}

@test "events: --since takes a duration or a date" {
    make_ledger
    event "$(date -u -d '1 hour ago' +%FT%TZ)" three >>$L
    must git interlock events --since 2026-01-02T00:00:00Z --json
    assert_equal "$(json event <<<"$output" | paste -sd' ')" 'two three'
    must git interlock events --since 2h --json
    assert_equal "$(json event <<<"$output")" three
    must git interlock events --since 10m
    assert_equal "$output" ''
    must git interlock events --since never --json
    assert_equal "$(json event <<<"$output" | paste -sd' ')" 'one two three'
    must_exit 129 git interlock events --since 'no such date'
}

@test "E7: a torn or corrupt line is skipped, counted and reported" {
    make_ledger
    local good
    good=$(event 2026-01-03T00:00:00Z bad)
    { # another checksum, cut short, no object, garbage, another version, a long one
        echo "1 00000000 ${good#1 * }"
        echo "${good:0:40}"
        line 7
        printf '\0\0\0\377\n\n'
        echo "2${good#1}"
        head -c 3000000 /dev/zero | tr '\0' x
        echo
        event 2026-01-04T00:00:00Z three
        printf '%s' "${good:0:40}"
    } >>$L
    must git interlock events --json
    assert_equal "$(json event <<<"$output" | paste -sd' ')" 'one two three'
    assert_match "$stderr" 'warning: 7 line\(s\) of the ledger passed over: torn or corrupt'
    assert_match "$stderr" 'warning: 1 line\(s\) of the ledger passed over: written by another version'
    # The next writer ends the torn line, and only that is lost.
    must git interlock run -- true
    assert_equal "$(names)" 'one two three start finish'
    must git interlock events
    assert_match "$stderr" 'warning: 7 line'
}

@test "E7: text in the ledger reaches no terminal as it is" {
    make_ledger
    line '{"v":1,"time":"2026-01-03T00:00:00Z","event":"x\u001b[2J","reason":"a\nb\u009b","extra":[1]}' >>$L
    must git interlock events
    assert_no_match "$output" $'\033|\302\233'
    assert_equal "${#lines[@]}" 3
    must git interlock events --json
    assert_equal "$(json slot extra <<<"${lines[2]}" | paste -sd' ')" 'null null'
}

follow() { # starts it; what it prints is in the file "seen"
    bg git-interlock events --follow --json >seen 2>followed.err
    FOLLOWER=${BG_PIDS[-1]}
}
has_seen() { [ "$(json event <seen | paste -sd' ')" = "$1" ]; }

@test "events: --follow tells what comes, also when there was no ledger" {
    make_repo
    follow
    await 10 test -e seen
    must git interlock run -- true
    await 10 has_seen 'start finish'
    # A line that is not whole yet is waited for.
    local whole
    whole=$(event 2026-01-03T00:00:00Z halves)
    printf '%s' "${whole:0:50}" >>$L
    event_count() { [ "$(wc -l <seen)" = "$1" ]; }
    event_count 2
    printf '%s\n' "${whole:50}" >>$L
    await 10 has_seen 'start finish halves'
    echo garbage >>$L
    await 10 grep -q '1 line(s) of the ledger passed over' followed.err
    # The folder goes, and comes back.
    rm -r .git/interlock
    must git interlock run -- true
    await 10 has_seen 'start finish halves start finish'
    kill "$FOLLOWER"
}

@test "events: --follow sleeps until something happens, and ends with its reader" {
    requires strace
    make_ledger
    bg strace -f -qq -o trace -e trace=poll,read \
        sh -c 'echo $$ >follower; exec git-interlock events --follow' >seen
    await 20 grep -q 'poll(' trace
    local before
    before=$(wc -l <trace)
    sleep 0.5
    assert_equal "$(wc -l <trace)" "$before" 'system calls while nothing happens'
    # strace itself is deaf to signals that would end it.
    kill "$(cat follower)"
    mkfifo pipe
    git-interlock events --follow >pipe 3>&- &
    local follower=$!
    head -n 1 <pipe >first
    wait "$follower" || assert_equal $? 141
    assert_match "$(cat first)" ' one '
}

@test "events: ledgerKeep sets the ledger aside, and drops what was set aside before" {
    make_ledger
    # Both events are older than 30 days: the next writer sets them aside.
    touch -d '2026-01-02' $L
    must git interlock run -- true
    assert_equal "$(names)" 'one two start finish'
    assert_equal "$(wc -l <$L.old)" 2
    # What was set aside stays until nothing was written to it for as long.
    touch $L.old
    event 2026-01-05T00:00:00Z early >$L
    must git interlock run -- true
    assert_equal "$(names)" 'one two early start finish'
    touch -d '2026-01-02' $L.old
    must git interlock run -- true
    assert_equal "$(names)" 'early start finish start finish'
    touch -d '2026-01-02' $L.old
    event 2026-01-06T00:00:00Z later >$L
    must env GIT_INTERLOCK_LEDGER_KEEP=never git interlock run -- true
    assert_equal "$(names)" 'early start finish later start finish'
    must git interlock run -- true
    assert_equal "$(names)" 'later start finish start finish'
    # The setting, and the variable before it.
    touch -d '2 hours ago' $L.old
    event "$(date -u -d '2 hours ago' +%FT%TZ)" hour >$L
    must git interlock run -- true
    assert_equal "$(wc -l <$L)" 3
    git config interlock.ledgerKeep 1h
    must env GIT_INTERLOCK_LEDGER_KEEP=3h git interlock run -- true
    assert_equal "$(wc -l <$L)" 5
    must git interlock run -- true
    assert_equal "$(wc -l <$L)" 2
}

@test "events: a follower misses nothing and tells nothing twice when the ledger is set aside" {
    make_ledger
    git config interlock.ledgerKeep 0
    follow
    await 10 has_seen 'one two'
    local i want='one two'
    for i in 1 2 3 4 5 6 7 8; do
        # So that each writer sets aside what is there.
        touch -d '2026-01-02' $L $L.old 2>/dev/null || :
        kill -STOP "$FOLLOWER"
        must git interlock run -- true
        kill -CONT "$FOLLOWER"
        want+=' start finish'
        await 20 has_seen "$want"
    done
    [ -e $L.old ]
    kill "$FOLLOWER"
}
