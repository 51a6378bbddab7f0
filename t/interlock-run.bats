#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git interlock run: one run at a time of what has a name, by a kernel lock.
#
# shellcheck disable=SC2154 # set by try(): output, stderr, lines
# shellcheck disable=SC2016 # text that is for another shell

load helpers

events() { sed 's/^1 [0-9a-f]* //' .git/interlock/ledger | json "$@"; }

# Starts a run that says "up" and stays until let_run_go. <option>... -- is added.
start_run() { # <option>...
    mkfifo "$BATS_TEST_TMPDIR/up" "$BATS_TEST_TMPDIR/go"
    bg git-interlock run "$@" -- sh -c 'echo up >"$1"; read -r _ <"$2"; exit 7' nightly \
        "$BATS_TEST_TMPDIR/up" "$BATS_TEST_TMPDIR/go"
    RUN_PID=${BG_PIDS[-1]}
    read -r _ <"$BATS_TEST_TMPDIR/up"
}
let_run_go() {
    echo >"$BATS_TEST_TMPDIR/go"
    local status=0
    wait "$RUN_PID" || status=$?
    assert_equal "$status" 7 'status of the run'
}

runs() { find .git/interlock/runs -type f 2>/dev/null; }

# ---- statuses ------------------------------------------------------------------------

@test "run: the status is the command's, and nothing is left (B9)" {
    make_repo
    must git interlock run -- true
    must_exit 7 git interlock run -- sh -c 'exit 7'
    must_exit 143 git interlock run -- sh -c 'kill -TERM $$'
    must git interlock run --mutex nightly/one -- echo 'a  b' '$(c)'
    assert_equal "$output" 'a  b $(c)'
    assert_equal "$stderr" ''
    assert_equal "$(runs)" '' 'records of runs'
    assert_equal "$(events event mutex | paste -sd' ')" \
        'start default finish default start default finish default start default finish default start nightly/one finish nightly/one'
    assert_equal "$(events reason | sed -n 4p)" 'status 7'
    # A finish closes its start, by the id of the run (E4).
    assert_equal "$(events lease | uniq -c | awk '{ print $1 }' | paste -sd' ')" '2 2 2 2'
}

@test "run: a command that is not there is 128, and -E has another status for it" {
    make_repo
    must_exit 128 git interlock run -- no-such-command-anywhere
    assert_match "$stderr" "run 'no-such-command-anywhere'"
    must_exit 9 git interlock run -E 9 -- no-such-command-anywhere
    must_exit 75 git interlock run -E 9 -- sh -c 'exit 75'
    assert_equal "$(events event | paste -sd' ')" 'start finish start finish start finish'
    assert_equal "$(runs)" ''
}

@test "run: usage" {
    make_repo
    must_exit 129 git interlock
    must_exit 129 git interlock no-such-verb
    must_exit 129 git interlock run
    must_exit 129 git interlock run true
    must_exit 129 git interlock run --
    must_exit 129 git interlock run --no-wait --timeout 1s -- true
    must_exit 129 git interlock run --timeout soon -- true
    assert_match "$stderr" 'option --timeout: '
    must_exit 129 git interlock run -E 256 -- true
    local name
    for name in '' -x a/../b '$(x)' "$(printf '%0201d' 0)"; do
        must_exit 129 git interlock run "--mutex=$name" -- true
        assert_match "$stderr" 'option --mutex'
    done
    assert_absent .git/interlock
}

@test "run: works in a bare repository, from a subdirectory and from a linked worktree" {
    make_repo --bare bare
    must git interlock run -- true
    cd ..
    make_repo
    git worktree add -q ../other
    start_run
    cd ../other
    must_exit 75 git interlock run -- true
    cd ../repo/src
    must_exit 75 git interlock run -- true
    must git interlock run --mutex other -- pwd
    assert_equal "$output" "$BATS_TEST_TMPDIR/repo/src"
    let_run_go
}

# ---- a peer ------------------------------------------------------------------------------

@test "A3: a peer is running: 75 at once, it is named, an event tells of it, and nothing is left" {
    make_repo
    start_run --mutex tick
    local before
    before=$(runs)
    within 10000 must_exit 75 git interlock run --mutex tick -- touch ran
    assert_match "$stderr" "mutex 'tick' is held by pid $RUN_PID \(sh -c .*nightly.*\), since 20..-..-..T..:..:..Z, for [0-9]+s"
    assert_absent ran
    must_exit 3 git interlock run --mutex tick -E 3 -- touch ran
    assert_equal "$(events event mutex | tail -n 2 | paste -sd' ')" 'run-deferred tick'
    assert_match "$(events reason | tail -n 1)" "is held by pid $RUN_PID "
    assert_equal "$(runs)" "$before" 'records of runs'
    # Another mutex is nobody's business.
    must git interlock run --mutex tock -- true
    let_run_go
    assert_equal "$(runs)" ''
    must git interlock run --mutex tick -- touch ran
    assert_file ran ''
}

@test "A2: a decoy whose command line looks like ours changes nothing" {
    make_repo
    bg bash -c 'exec -a "git-interlock run --mutex tick -- make nightly" sleep 60'
    bg bash -c 'exec -a git-interlock sleep 60'
    must git interlock run --mutex tick -- true
    # Nor do our own parents, who have all of that in their command line.
    must sh -c 'git interlock run --mutex tick -- true; exit $? # git interlock run --mutex tick'
}

@test "A2: a peer under another name is seen" {
    make_repo
    mkdir ../elsewhere
    cp "$BIN/git-interlock" ../elsewhere/harmless
    mkfifo up go
    bg ../elsewhere/harmless run --mutex tick -- sh -c 'echo >up; read -r _ <go'
    read -r _ <up
    must_exit 75 git interlock run --mutex tick -- true
    assert_match "$stderr" "held by pid ${BG_PIDS[-1]} "
    echo >go
    wait "${BG_PIDS[-1]}"
    # So is one that has nothing of ours but the lock.
    hold flock .git/interlock/locks/mutex-tick
    must_exit 75 git interlock run --mutex tick -- true
    assert_match "$stderr" "held by pid $HOLD_PID \(hold\)"
    unhold
    must git interlock run --mutex tick -- true
}

@test "run: --timeout waits for the peer, says for whom within a second, and once (B5)" {
    make_repo
    start_run
    within 4000 must_exit 75 git interlock run --timeout 900ms -- true
    assert_equal "$(grep -c '^waiting for ' <<<"$stderr")" 1 'lines about the wait'
    assert_match "$stderr" "waiting for mutex 'default', held by pid $RUN_PID \(sh "
    must_exit 75 git interlock run -q --timeout 600ms -- true
    assert_equal "$(grep -c '^waiting for ' <<<"$stderr")" 0
    git-interlock run --timeout 60s -- touch ran 2>waiting 3>&- &
    local waiter=$!
    await 10 grep -q '^waiting for mutex' waiting
    assert_absent ran
    let_run_go
    wait "$waiter"
    assert_file ran ''
}

@test "A3: of many at once exactly one runs, and the others name it" {
    make_repo
    local i pids=() status won=0
    mkfifo go
    for i in 1 2 3 4 5 6 7 8; do
        git-interlock run --mutex tick -- sh -c 'echo >>ran; read -r _ <go' 2>"err.$i" 3>&- &
        pids+=($!)
    done
    # Seven have their answer while the one runs.
    all_but_one() { [ "$(cat err.? | grep -c "mutex 'tick' is held by pid")" = 7 ]; }
    await 30 all_but_one
    echo >go
    for i in "${pids[@]}"; do
        status=0
        wait "$i" || status=$?
        case $status in
            0) won=$((won + 1)) ;;
            75) ;;
            *) flunk "status $status" ;;
        esac
    done
    assert_equal "$won" 1
    assert_equal "$(wc -l <ran)" 1 'runs'
}

# ---- a descendant ------------------------------------------------------------------------

@test "A3: what the holder starts is no peer, and takes no lock of its own" {
    make_repo
    must_exit 5 git interlock run --mutex tick -- git interlock run -v --mutex tick -- sh -c \
        'ls .git/interlock/runs | wc -l; exit 5'
    assert_equal "$output" 1
    assert_match "$stderr" "held by the run that this belongs to"
    assert_equal "$(events event | paste -sd' ')" 'start finish'
    # The inner one's end does not free it.
    must git interlock run --mutex tick -- sh -c \
        'git interlock run --mutex tick -- true
        (cd .. && cd repo && exec setsid -w true)
        ls .git/interlock/runs | wc -l'
    assert_equal "$output" 1
    # Another mutex inside is another lock.
    must git interlock run --mutex tick -- git interlock run --mutex tock -- sh -c \
        'ls .git/interlock/runs | wc -l'
    assert_equal "$output" 2
}

# A child that has left its session and lost its parent; also one without any
# descriptor of ours: it is the supervisor's child then.
@test "A3: a descendant that was re-parented is none, with and without the inherited descriptor" {
    make_repo
    cat >../daemon <<-'SH'
	#!/bin/bash
	# daemon <close|keep> <result>: the shell above us ends at once
	(
	    me=$BASHPID
	    exec 0<&- 1>/dev/null 2>"$2.err"
	    if [ "$1" = close ]; then
	        for fd in /proc/self/fd/*; do
	            fd=${fd##*/}
	            [ "$fd" -lt 3 ] || eval "exec $fd>&-"
	        done
	    fi
	    # A pid of four digits comes with a space, which ps itself does not take.
	    while [ "$(ps -o comm= -p $(($(ps -o ppid= -p $me))))" != git-interlock ]; do sleep 0.02; done
	    setsid -w git-interlock run --mutex tick -- true
	    echo $? >"$2.tmp"
	    mv "$2.tmp" "$2"
	) &
	SH
    chmod +x ../daemon
    local how
    for how in keep close; do
        must git interlock run --mutex tick -- sh -c \
            "../daemon $how $how; while [ ! -e $how ]; do sleep 0.02; done"
        assert_file "$how" 0
    done
}

@test "A3: a descendant in a PID namespace of its own is none: it has the inherited descriptor" {
    requires root
    make_repo
    unshare -p -f --mount-proc true 2>/dev/null || skip 'requires pid namespaces'
    must git interlock run --mutex tick -- unshare -p -f --mount-proc \
        "$BIN/git-interlock" run -v --mutex tick -- true
    assert_match "$stderr" 'held by the run that this belongs to'
    # From there a peer is one: nothing was inherited.
    start_run --mutex tick
    must_exit 75 unshare -p -f --mount-proc "$BIN/git-interlock" run --mutex tick -- true
    assert_match "$stderr" "mutex 'tick' is held by "
    let_run_go
}

@test "A3: an open descriptor of the record is no descent" {
    make_repo
    start_run --mutex tick
    local record
    record=$(runs)
    must_exit 75 bash -c 'exec 9<"$1" 8<"$2"; git-interlock run --mutex tick -- true' - \
        "$record" .git/interlock/locks/mutex-tick
    let_run_go
}

# ---- a lock that cannot be judged -----------------------------------------------------

@test "A4: a lock that cannot be judged is 128 with the reason, neither free nor busy" {
    requires strace
    make_repo
    must git interlock run --mutex tick -- true
    must_exit 128 strace -qq -o trace -e trace=flock -e inject=flock:error=ENOLCK:when=1 \
        git-interlock run --mutex tick -- touch ran
    assert_match "$stderr" "^fatal: lock 'mutex-tick': No locks available"
    local nth
    must strace -qq -o trace -e trace=openat git-interlock run --mutex tick -- true
    nth=$(grep -n '"mutex-tick"' trace | head -n 1 | cut -d: -f1)
    must_exit 128 strace -qq -o trace -e trace=openat -e inject=openat:error=EACCES:when="$nth" \
        git-interlock run --mutex tick -- touch ran
    assert_match "$stderr" "^fatal: open 'mutex-tick': Permission denied"
    assert_absent ran
    assert_equal "$(runs)" ''
    # F5: something else in its place is refused, too.
    rm .git/interlock/locks/mutex-tick
    mkfifo .git/interlock/locks/mutex-tick
    within 5000 must_exit 128 git interlock run --mutex tick -- touch ran
    ln -sf "$PWD/README" .git/interlock/locks/mutex-tick
    must_exit 128 git interlock run --mutex tick -- touch ran
    assert_absent ran
}

# ---- killed ---------------------------------------------------------------------------------

@test "run: the holder killed with SIGKILL frees the mutex, and the next one cleans up (B8)" {
    make_repo
    start_run --mutex tick
    assert_equal "$(runs | wc -l)" 1
    kill -KILL "$RUN_PID"
    must git interlock run --mutex tick --timeout 10s -- sh -c 'ls .git/interlock/runs | wc -l'
    assert_equal "$output" 1
    assert_equal "$(runs)" ''
}

# The command does not end when its supervisor is killed, so the work goes on, and a
# second run would be a second tick. The main lock alone would call it free.
@test "run: work that outlives a killed holder is still a peer" {
    make_repo
    mkfifo up go
    bg git-interlock run --mutex tick -- \
        bash -c 'trap "" TERM; echo >up; until read -r _ <go; do :; done'
    local holder=${BG_PIDS[-1]}
    read -r _ <up
    kill -KILL "$holder"
    must_exit 75 git interlock run --mutex tick -- touch ran
    assert_match "$stderr" "mutex 'tick' is held by pid [0-9]+ \(bash\), left by the run \(bash -c "
    assert_absent ran
    git-interlock run --mutex tick --timeout 60s -- touch ran 2>waiting 3>&- &
    local waiter=$!
    await 10 grep -q "^waiting for mutex 'tick', held by pid [0-9]* (bash), left by" waiting
    assert_absent ran
    echo >go
    wait "$waiter"
    assert_file ran ''
    assert_equal "$(runs)" ''
}

@test "run: the work itself goes on within its own run when its holder was killed" {
    make_repo
    mkfifo up go
    bg git-interlock run --mutex tick -- bash -c 'trap "" TERM; echo >up; until read -r _ <go; do :; done
        git-interlock run --mutex tick -- true; echo $? >result.tmp; mv result.tmp result'
    local holder=${BG_PIDS[-1]}
    read -r _ <up
    kill -KILL "$holder"
    echo >go
    await 10 test -e result
    assert_file result 0
}

@test "run: SIGKILL at every step: the next run succeeds by itself (F1)" {
    requires ptrace
    make_repo
    local n=1
    while :; do
        try "$HELPER/killat" -n "$n" -o trace -- git-interlock run --mutex tick -- true
        [ "$status" != 0 ] || break
        must git interlock run --mutex tick --timeout 10s -- true
        assert_equal "$(runs)" '' "records of runs after a kill at $n"
        n=$((n + 7))
    done
    assert_at_least "$n" 20 'points of a kill'
}

# ---- deadline and signals -------------------------------------------------------------

@test "B7: the deadline is an option, a variable and a setting, and 60m without" {
    make_repo
    over() { within 8000 must_exit 142 "$@" -- sleep 60; }
    over git interlock run --deadline 200ms
    assert_match "$stderr" 'time is over'
    assert_equal "$(events reason | tail -n 1)" 'its time was over; status 142'
    over env GIT_INTERLOCK_RUN_DEADLINE=200ms git interlock run
    git config interlock.runDeadline 200ms
    over git interlock run
    must env GIT_INTERLOCK_RUN_DEADLINE=never git interlock run -- sleep 0.5
    must git interlock run --deadline 10s -- sleep 0.5
    git config --unset interlock.runDeadline
    requires strace
    # The wait for the command is one for at most an hour.
    must strace -qq -o trace -e trace=ppoll git-interlock run -- sleep 0.2
    assert_match "$(cat trace)" '\{tv_sec=(3600|3599), tv_nsec='
}

@test "B6: SIGTERM to the holder ends the command, once, with 143" {
    make_repo
    mkfifo up
    bg git-interlock run --mutex tick -- \
        bash -c 'trap "echo term >>got; sleep 0.5; exit 1" TERM; echo >up; while :; do sleep 0.05; done'
    local holder=${BG_PIDS[-1]} status=0 i
    read -r _ <up
    for i in 1 2 3; do kill -TERM "$holder"; done
    wait "$holder" || status=$?
    assert_equal "$status" 143
    assert_file got term
    assert_equal "$(events event | paste -sd' ')" 'start finish'
    assert_equal "$(runs)" ''
}

@test "run: names map to files one to one" {
    make_repo
    start_run --mutex a/b
    must git interlock run --mutex a -- true
    must git interlock run --mutex a/b.0193f3aa0000000000000000000000ff -- true
    must_exit 75 git interlock run --mutex a/b -- true
    let_run_go
}
