#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# cycles.sh: claim, work, be killed, be reaped, by many at once on a small pool.
#
#   --cycles N           claims in all (100)
#   --claimers N --reapers N --max N   (8, 4, 4)
#   --hash sha1|sha256
#   --naive              claimers go by the pid in a record: the twin, which shows that two
#                        in one slot are seen
#
# Each claimer takes a slot, for a command that it wraps or for a process that owns the
# lease (--owner-pid), and is killed by SIGKILL at a random moment: while it chooses, waits,
# cleans, while its tenant works, or while it gives back. The tenant
#
#   - takes the flock of a file that is the slot's, without waiting, and keeps it, with all
#     its children, to its death. A second one in the slot, however short, does not get it
#   - finds the slot clean, and no token of somebody else's in it
#   - writes a token into it, and only then notes that in a file
#   - finds its token there, unchanged, before it goes
#
# At the end each token that was noted is below refs/rescue/<slot>/<lease>, no lease
# was reaped or given back twice (ledger), every slot is free and clean, and no process of
# the run, none of its slots' locks and no open file of its repository is left.
set -u
# shellcheck source=t/isolate.bash
. "$(dirname "${BASH_SOURCE[0]}")/../isolate.bash"

cycles=100 claimers=8 reapers=4 max=4 hash=sha1 naive=''
while [ $# -gt 0 ]; do
    case $1 in
        --cycles) cycles=$2 && shift ;;
        --claimers) claimers=$2 && shift ;;
        --reapers) reapers=$2 && shift ;;
        --max) max=$2 && shift ;;
        --hash) hash=$2 && shift ;;
        --naive) naive=1 ;;
        *) echo "cycles.sh: no option $1" >&2 && exit 129 ;;
    esac
    shift
done
slow=${TEST_SLOW:-1}

work=$(cd "$(mktemp -d "${TMPDIR:-/tmp}/cycles.XXXXXX")" && pwd -P)
trap 'rm -rf "$work"' EXIT
isolate_in "$work"
# All that this run starts can be told by it.
export CYCLES_WORK=$work
export GIT_INTERLOCK_GRACE=100ms
mkdir "$work/marker"
: >"$work/tokens"
: >"$work/wrong"
: >"$work/cycles"

git init -q --object-format="$hash" "$work/repo"
cd "$work/repo" || exit
mkdir src
for i in 1 2 3 4 5 6 7 8; do echo "file $i" >"src/$i.c"; done
git add -A
git commit -q -m first
base=$(git rev-parse HEAD)
export base

# ---- the tenant of a slot ------------------------------------------------------------

wrong() { echo "$*" >>"$CYCLES_WORK/wrong"; }

# In the slot. Each line of `tokens` is one write, so none can be torn.
tenant() { # <slot> <lease>
    local token=$2.$BASHPID.$SRANDOM status
    exec 9>>"$CYCLES_WORK/marker/$1"
    flock -n 9 || { wrong "two in slot $1: $2 came to $(tail -n 1 "$CYCLES_WORK/marker/$1")" && return; }
    echo "$2" >&9
    status=$(git status --porcelain 2>&1)
    [ -z "$status" ] || wrong "slot $1 was given to $2 unclean: $status"
    [ "$(git rev-parse HEAD)" = "$base" ] || wrong "slot $1 was given to $2 at another commit"
    # Nobody may clean what is not noted, and nothing is noted before it is there.
    echo "$token" >token.new && mv -n token.new token && echo "$1 $2 $token" >>"$CYCLES_WORK/tokens"
    sleep "0.0$((RANDOM % 10))"
    [ "$(cat token 2>&1)" = "$token" ] || wrong "slot $1 was cleaned under $2"
}
export -f tenant wrong

# Owns the lease: the watcher holds the lock until this process is gone.
owner() {
    local line slot lease path
    line=$(git-worktree-claim --json --max "$1" --timeout "$2" --owner-pid $$) || return
    slot=${line#*'"slot":"'} path=${line#*'"path":"'} lease=${line#*'"lease":"'}
    cd "${path%%\"*}" && tenant "${slot%%\"*}" "${lease%%\"*}"
}
export -f owner

# The naive twin: a slot is free when the process that its record names is gone.
believer() {
    local n pid slot
    for n in $(seq "$1"); do
        slot=$CYCLES_WORK/believed.$n
        pid=$(cat "$slot.record" 2>/dev/null)
        if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then continue; fi
        if [ -e "$slot" ]; then
            git -C "$slot" clean -qfd
        else
            git -C "$CYCLES_WORK/repo" worktree add -q --detach "$slot" 2>/dev/null
        fi
        echo $$ >"$slot.record"
        cd "$slot" && tenant "believed-$n" "$$"
        rm -f "$slot.record"
        break
    done
}
export -f believer

claimer() { # <how many>
    local n pid kind err
    err=$(mktemp "$work/err.XXXXXX")
    for n in $(seq "$1"); do
        kind=$((RANDOM % 3))
        if [ -n "$naive" ]; then
            bash -c 'believer "$1"' - "$max" 2>"$err" &
        elif [ "$kind" = 0 ]; then
            bash -c 'owner "$1" "$2"' - "$max" "$((60 * slow))" 2>"$err" &
        else
            git-worktree-claim --max "$max" --timeout "$((60 * slow))" -- \
                bash -c 'tenant "$GIT_INTERLOCK_SLOT" "$GIT_INTERLOCK_LEASE"' 2>"$err" &
        fi
        pid=$!
        # Some live; the others die anywhere between their first steps and their last.
        if [ $((RANDOM % 8)) != 0 ]; then
            sleep "$(printf '0.%03d' $((RANDOM % (RANDOM % 2 ? 250 : 1000))))"
            kill -KILL "$pid" 2>/dev/null
        fi
        wait "$pid" 2>/dev/null
        case $? in
            0) echo done ;;
            137) echo killed ;;
            *) echo "failed" && wrong "a claim failed: $(cat "$err")" ;;
        esac >>"$work/cycles"
    done
}

reaper() {
    local out status
    until [ -e "$work/over" ]; do
        out=$(git-worktree-reap -q --json 2>&1)
        status=$?
        [ "$status" = 0 ] || wrong "a reap failed ($status): $out"
        sleep "0.0$((RANDOM % 10))"
    done
}

# ---- what must be true at the end ------------------------------------------------------

# Processes that this run has started, without this one.
left_alive() {
    local dir
    for dir in /proc/[0-9]*; do
        # The variable is in the environment of what was started, not in ours.
        grep -qzsx "CYCLES_WORK=$work" "$dir/environ" || continue
        [ "${dir#/proc/}" = "$BASHPID" ] || echo "${dir#/proc/} $(tr '\0' ' ' <"$dir/cmdline" 2>/dev/null)"
    done 2>/dev/null
}

# Waits until it prints nothing; then it has printed what is left.
until_none() { # <command>...
    local left end=$((SECONDS + 10 * slow))
    while left=$("$@") && [ -n "$left" ] && [ "$SECONDS" -lt "$end" ]; do sleep 0.05; done
    [ -z "$left" ] || printf '%s\n' "$left"
}

taken_slots() { git-worktree-claim list --json | grep -v '"state":"free"'; }

check_tokens() {
    local slot lease token found
    while read -r slot lease token; do
        found=$(git cat-file -p "refs/rescue/$slot/$lease:token" 2>&1)
        [ "$found" = "$token" ] || {
            echo "token $token of slot $slot is not rescued for its lease: $found; it is in:"
            git for-each-ref --format='%(refname)' refs/rescue | while read -r found; do
                [ "$(git cat-file -p "$found:token" 2>/dev/null)" != "$token" ] || echo "  $found"
            done
            grep -F "\"$slot\"" .git/interlock/ledger | grep -A4 -F "$lease" | cut -c 12-260
        }
    done <"$work/tokens"
}

check_ledger() {
    sed 's/^1 [0-9a-f]* //' .git/interlock/ledger | grep -v '^{.*}$' | sed 's/^/torn line: /'
    sed -n 's/.*"event":"\(reap-done\|release\)".*"lease":"\([0-9a-f]*\)".*/\2/p' .git/interlock/ledger |
        sort | uniq -d | sed 's/^/ended twice: /'
}

check_end() {
    local left
    left=$(until_none left_alive)
    [ -z "$left" ] || echo "still running: $left"
    git-worktree-reap -q || echo 'the last reap failed'
    left=$(until_none taken_slots)
    [ -z "$left" ] || echo "not free: $left"
    [ "$(git-worktree-claim list --json | wc -l)" -le "$max" ] || echo "more than $max slots"
    for left in "$work"/repo.worktrees/*; do
        [ -z "$(git -C "$left" status --porcelain 2>&1)" ] || echo "not clean: $left"
    done
    # From elsewhere: find has the directory open that it begins in.
    (cd / && find /proc/[0-9]*/fd -lname "$work/repo*" 2>/dev/null) | sed 's/^/open: /'
    find .git "$work/repo.worktrees" \( -name 'birth-*' -o -name 'trash-*' -o -name '*.lock' -o -name '.interlock-*' \
        -o -path '*/interlock/leases/*' \) ! -path '*/interlock/locks/*' | sed 's/^/debris: /'
    check_tokens
    check_ledger
    git fsck --strict --full --no-dangling --no-progress 2>&1 | sed 's/^/fsck: /'
    git worktree prune -v 2>&1 | sed 's/^/prune: /'
}

# ---- run and report ----------------------------------------------------------------------

begin=$EPOCHREALTIME
reapers_pid=() claimers_pid=()
for i in $(seq "$reapers"); do
    reaper &
    reapers_pid+=($!)
done
for i in $(seq "$claimers"); do
    claimer $(((cycles + i - 1) / claimers)) &
    claimers_pid+=($!)
done
wait "${claimers_pid[@]}"
: >"$work/over"
wait "${reapers_pid[@]}"
[ -n "$naive" ] || check_end >>"$work/wrong"

count() { grep -c -- "$1" "$2" 2>/dev/null || :; }
echo "$(wc -l <"$work/cycles") cycles: $(count killed "$work/cycles") killed, $(wc -l <"$work/tokens") tokens," \
    "$(count '"event":"reap-done"' .git/interlock/ledger) reaped, $(count '"event":"release"' .git/interlock/ledger) released," \
    "$(count '"event":"claim"' .git/interlock/ledger) claims, $(wc -l <"$work/wrong") wrong, in" \
    "$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $begin }") s"
if [ -s "$work/wrong" ]; then
    head -n 40 "$work/wrong" >&2
    exit 1
fi
[ "$(wc -l <"$work/cycles")" = "$cycles" ] && [ -s "$work/tokens" ]
