# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# What a wrapped command needs a terminal for, and what needs a tracer: the rest is in
# unit/test-lifetime. The shell at the prompt is dash, because it neither edits lines nor
# puts modes right that its jobs left wrong.

load helpers

setup() {
    isolate
    PATH=$HELPER:$PATH
    export PS1='P$ '
}

# A conversation with a command that has a terminal; it is on standard input.
talk() { # <status> <command>...
    must_exit "$1" "$HELPER/pty" "${@:2}"
}

@test "the command is the foreground; ^C reaches it once, and we live to clean up" {
    # shellcheck disable=SC2016 # typed, not meant for this shell
    talk 5 dash -i <<-'TALK'
	expect P$
	send wrap -r report perl -e '$|=1; open F,">pid"; print F $$; close F; $SIG{INT}=sub{$n++}; print "rea","dy\n"; select(undef,undef,undef,.02) until $n; select(undef,undef,undef,.3) for 1,2; print "INT x$n\n"; exit 3'\r
	expect ready
	front pid
	send ^C
	expect INT x1
	expect P$
	send echo sta''tus=$?\r
	expect status=3
	send exit 5\r
	TALK
    assert_equal "$(cat report)" \
        $'teardown\nstatus 3 deadline 0 signal 0 killed 0 left 0 survivors 0'
}

@test "a command that dies of ^C is cleaned up after, and nothing it left lingers" {
    # shellcheck disable=SC2016
    talk 0 dash -i <<-'TALK'
	expect P$
	send wrap -g 30000 -r report perl -e '$SIG{INT}="IGNORE"; exec "sleep",1000 if !fork; $SIG{INT}="DEFAULT"; open F,">pid"; print F $$; close F; $|=1; print "rea","dy\n"; sleep 1000'\r
	expect ready
	front pid
	send ^C
	expect P$
	send echo sta''tus=$?\r
	expect status=130
	send exit 0\r
	TALK
    assert_match "$(cat report)" 'status 130 deadline 0 signal 0 killed 2 left 1 survivors 0'
}

@test "^Z stops both, the modes are the shell's then; fg and bg go on with both" {
    # shellcheck disable=SC2016
    talk 5 dash -i <<-'TALK'
	expect P$
	send wrap -r report sh -c 'echo $$ >pid; stty -echo -icanon; echo rea""dy; exec cat'\r
	expect ready
	modes -echo
	front pid
	send ^Z
	expect Stopped
	expect P$
	modes echo
	modes icanon
	send echo sta''tus=$?\r
	expect status=148
	send fg\r
	front pid
	modes -icanon
	modes -echo
	send hello\r
	expect hello
	send ^Z
	expect Stopped
	expect P$
	send bg\r
	send until jobs >j; grep -q "(tty" j; do sleep 0.05; done; cat j\r
	expect Stopped (tty input)
	expect P$
	send fg\r
	front pid
	send bye\r
	expect bye
	send ^C
	expect P$
	modes echo
	send echo sta''tus=$?\r
	expect status=130
	send exit 5\r
	TALK
    assert_equal "$(cat report)" \
        $'teardown\nstatus 130 deadline 0 signal 0 killed 2 left 0 survivors 0'
}

@test "B6: SIGTERM to us while an editor has the terminal: it and its modes come back" {
    # shellcheck disable=SC2016
    talk 0 dash -i <<-'TALK'
	expect P$
	send wrap -r report sh -c 'echo $$ >pid; echo $PPID >super; stty -echo -icanon; echo rea""dy; exec cat'\r
	expect ready
	front pid
	modes -echo
	kill TERM super
	expect P$
	modes echo
	send echo sta''tus=$?\r
	expect status=143
	send exit 0\r
	TALK
    assert_match "$(cat report)" 'status 143 deadline 0 signal 15'
}

@test "a shell inside has its own jobs, and its status is ours" {
    # Before its job is the foreground, a ^C is the shell's own.
    # shellcheck disable=SC2016
    talk 0 dash -i <<-'TALK'
	expect P$
	send wrap -r report -e PS1=I'$ ' bash --norc --noprofile --noediting -i\r
	expect I$
	send sh -c 'echo $$ >job; exec sleep 1000'\r
	front job
	send ^C
	expect I$
	send cat\r
	send one\r
	expect one
	expect one
	send ^Z
	expect Stopped
	expect I$
	send fg\r
	expect cat
	send two\r
	expect two
	expect two
	send ^C
	expect I$
	send exit 7\r
	expect P$
	send echo sta''tus=$?\r
	expect status=7
	send exit 0\r
	TALK
    assert_match "$(cat report)" 'status 7 deadline 0 signal 0 killed 0 left 0'
}

@test "a shell inside that is killed gives no terminal back: we take it from its job" {
    # shellcheck disable=SC2016
    talk 0 dash -i <<-'TALK'
	expect P$
	send wrap -g 2000 -r report -e PS1=I'$ ' bash --norc --noprofile --noediting -i\r
	expect I$
	send echo $$ >inner; sh -c 'echo $$ >job; exec sleep 1000'\r
	front job
	kill KILL inner
	expect P$
	send echo sta''tus=$?\r
	expect status=137
	send exit 0\r
	TALK
    assert_match "$(cat report)" 'status 137 deadline 0 signal 0 killed 9 left 1 survivors 0'
}

@test "the size of the window, and its changes, come to the command by themselves" {
    talk 0 dash -i <<-'TALK'
	expect P$
	send wrap sh -c 'trap "stty size; exit 0" WINCH; stty size; while :; do sleep 0.05; done'\r
	expect 24 80
	size 33 99
	expect 33 99
	expect P$
	send exit 0\r
	TALK
}

@test "in a pipeline a pager behind us keeps the terminal; ^C ends all" {
    # dash makes the pipeline the foreground once for each of its commands: before the last
    # one has begun, what is lent may be taken away again.
    mkfifo up
    # shellcheck disable=SC2016
    talk 0 dash -i <<-'TALK'
	expect P$
	send wrap sh -c 'echo data; sleep 0.3; echo more' | sh -c 'echo pa""ger; read x </dev/tty; echo "got <$x>"; cat'\r
	expect pager
	send hello\r
	expect got <hello>
	expect more
	expect P$
	send wrap -r report sh -c 'echo rea""dy; exec sleep 1000' | cat\r
	expect ready
	send ^C
	expect P$
	send wrap -r report2 sh -c 'echo $$ >pid; read x <up; echo rea""dy; for i in 1 2; do read x </dev/tty; echo "read <$x>"; done' | sh -c 'echo >up; exec cat'\r
	expect ready
	front pid
	send one\r
	expect read <one>
	send ^Z
	expect Stopped
	expect P$
	send fg\r
	front pid
	send mine\r
	expect read <mine>
	expect P$
	send exit 0\r
	TALK
    await 5 grep -q status report
    assert_match "$(cat report)" 'status 130 deadline 0 signal 2'
    assert_match "$(cat report2)" 'status 0 '
}

@test "with no terminal as input nothing is lent, until the command asks for it" {
    mkfifo go
    # shellcheck disable=SC2016
    talk 0 dash -i <<-'TALK'
	expect P$
	send wrap sh -c 'echo $$ >pid; echo $PPID >super; echo rea""dy; read x <go; read x </dev/tty; echo "read <$x>"' </dev/null\r
	expect ready
	front super
	tell go
	front pid
	send mine\r
	expect read <mine>
	expect P$
	send exit 0\r
	TALK
}

@test "stopped from outside, fg gives the terminal back to the command" {
    # What is stopped must not be in the middle of a read: the kernel would give it the
    # line that is meant for the shell.
    # shellcheck disable=SC2016
    talk 0 dash -i <<-'TALK'
	expect P$
	send wrap sh -c 'echo $$ >pid; echo $PPID >super; echo rea""dy; exec sleep 100'\r
	expect ready
	front pid
	kill STOP super
	expect Stopped
	expect P$
	send fg\r
	front pid
	send ^C
	expect P$
	send wrap sh -c 'echo $$ >pid; echo rea""dy again; exec cat'\r
	expect ready again
	front pid
	send hello\r
	expect hello
	expect hello
	kill STOP pid
	expect Stopped
	expect P$
	send fg\r
	front pid
	send more\r
	expect more
	expect more
	send ^D
	expect P$
	send exit 0\r
	TALK
}

@test "^Z in the instant in which the terminal is lent stops the command" {
    requires ptrace
    # TIOCSPGRP has returned, SIGCONT is not sent yet: it would take the ^Z back.
    mkfifo go
    # shellcheck disable=SC2016
    talk 0 dash -i <<-'TALK'
	expect P$
	send killat --hold=ioctl:1=0x5410 --exit -- wrap sh -c 'echo $$ >pid; read x </dev/tty; echo "$x" >got' <>go >held\r
	filled held
	front pid
	send ^Z
	expect ^Z
	tell go
	expect Stopped
	expect P$
	send fg\r
	front pid
	send mine\r
	expect P$
	send exit 0\r
	TALK
    assert_file got mine
}

@test "a second ^Z behind the one that stopped it is not kept for the next fg" {
    # shellcheck disable=SC2016
    talk 0 dash -i <<-'TALK'
	expect P$
	send wrap sh -c 'echo $$ >pid; echo rea""dy; exec cat'\r
	expect ready
	front pid
	send one\r
	expect one
	expect one
	send ^Z
	expect Stopped
	expect P$
	kill TSTP pid
	send fg\r
	front pid
	send two\r
	expect two
	expect two
	send ^D
	expect P$
	send exit 0\r
	TALK
}

@test "^Z on the heels of fg is no sign that nobody could continue us" {
    requires ptrace
    # The command waits for the terminal, and we stand behind our own stop: the SIGCONT that
    # ended it is pending, until the SIGTSTP takes its place.
    mkfifo go up
    # shellcheck disable=SC2016
    talk 0 dash -i <<-'TALK'
	expect P$
	send killat --hold=rt_sigpending,rt_sigtimedwait -- wrap sh -c 'echo $$ >pid; echo $PPID >super; read x <up; read x </dev/tty; echo "$x" >got' <>go >held &\r
	expect P$
	tell up
	send until jobs >j; grep -q "(tty" j; do sleep 0.05; done; cat j\r
	expect Stopped (tty input)
	expect P$
	send fg\r
	filled held
	kill TSTP super
	tell go
	expect Stopped
	expect P$
	send fg\r
	front pid
	send mine\r
	expect P$
	send exit 0\r
	TALK
    assert_file got mine
}

@test "where nobody could continue us, ^Z changes nothing" {
    # shellcheck disable=SC2016
    # The line before ^Z tells that cat runs. A dash that has vforked and waits for the exec
    # cannot be stopped, but its child can: then both stand still, whoever their parent is.
    talk 3 wrap -r report sh -c 'echo $$ >pid; echo ready; cat; exit 3' <<-'TALK'
	expect ready
	front pid
	send first\r
	expect first
	expect first
	send ^Z
	send hello\r
	expect hello
	expect hello
	send ^D
	TALK
    assert_match "$(cat report)" 'status 3 deadline 0 signal 0'
}

@test "B12: the terminal is hung up: the command ends, and we clean up" {
    # shellcheck disable=SC2016
    try "$HELPER/pty" dash -i <<-'TALK'
	expect P$
	send wrap -g 2000 -r report sh -c 'echo $$ >pid; echo rea""dy; exec sleep 1000'\r
	expect ready
	front pid
	hangup
	TALK
    await 10 grep -q status report
    assert_match "$(cat report)" 'status 129 .* survivors 0'
    refute kill -0 "$(cat pid)"
}

@test "B8: a supervisor that died before the guard was armed leaves no command behind" {
    requires ptrace
    # The child stands before the prctl that arms it (PR_SET_PDEATHSIG is 1). The outer wrap
    # is where orphans go, and it is not pid 1: a comparison with 1 would not help.
    mkfifo go
    # shellcheck disable=SC2016
    wrap killat --hold=prctl:0=1 -- sh -c 'echo $$ >super; exec wrap touch ran' <>go >held 3>&- &
    BG_PIDS+=("$!")
    await 20 test -s held
    kill -KILL "$(cat super)"
    await 20 grep -q '^State:.Z' "/proc/$(cat super)/status"
    echo >go
    wait "${BG_PIDS[0]}" || :
    BG_PIDS=()
    assert_absent ran
}

@test "a run is killed at every one of its first calls: no command outlives it" {
    requires ptrace
    local n total pid
    "$HELPER/killat" -c -o count -- wrap sh -c 'exit 0'
    total=$(sed -n 's/^calls //p' count)
    for ((n = 1; n <= total; n += 1 + total / 60)); do
        rm -f pid
        # Only the process that makes that call: the supervisor, or the command. Which by
        # itself would live for longer than we wait for its end.
        timeout 60 "$HELPER/killat" -n "$n" --one -o fired -- \
            wrap -g 500 sh -c 'echo $$ >pid; exec sleep 60' >/dev/null 2>&1 || :
        pid=$(cat pid 2>/dev/null) || continue
        [ -z "$pid" ] || await 20 gone "$pid"
    done
}
gone() { ! kill -0 "$1" 2>/dev/null; }
