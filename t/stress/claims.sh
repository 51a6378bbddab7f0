#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# claims.sh: dispatchers that overlap: many claimers on few slots and few keys (C11).
#
#   --procs N     claimers at the same time (8)
#   --rounds N    how often each of them claims (1000)
#   --slots N     slots of the pool (3)
#   --keys N      different keys (5)
#   --kill N      each N-th claim is killed while it has the slot (0: none)
#   --naive       with a pool in a JSON file in our place: the claimers must find it out
#
# Whoever has a slot, or a key, makes a directory for it, which the kernel gives to one
# only; a second one at the same time is a failure. Prints one line; status 1 when there
# was any.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=t/isolate.bash
. "$here/../isolate.bash"
procs=8 rounds=1000 slots=3 keys=5 kill=0 naive=''
while [ $# -gt 0 ]; do
    case $1 in
        --procs) procs=$2 && shift 2 ;;
        --rounds) rounds=$2 && shift 2 ;;
        --slots) slots=$2 && shift 2 ;;
        --keys) keys=$2 && shift 2 ;;
        --kill) kill=$2 && shift 2 ;;
        --naive) naive=1 && shift ;;
        *) sed -n '4,15s/^# \{0,1\}//p' "$0" >&2 && exit 129 ;;
    esac
done
work=$(mktemp -d "${TMPDIR:-/tmp}/interlock-claims.XXXXXX")
isolate_in "$work"
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 128
git init -q main && cd main || exit 128
for i in 1 2 3 4 5 6; do echo "$i" >"f$i"; done
git add . && git commit -q -m files || exit 128
mkdir "$work/has"
: >"$work/failures"
export work kill

# Runs while it has the slot: `inside <slot> <key> <round>`.
cat >"$work/inside" <<'INSIDE'
#!/bin/sh
for what in "slot-$1" "key-$2"; do
    mkdir "$work/has/$what" 2>/dev/null || echo "round $3: $what twice" >>"$work/failures"
done
[ -z "$(git status --porcelain)" ] || echo "round $3: $1 is not clean" >>"$work/failures"
echo "$3" >work
rmdir "$work/has/slot-$1" "$work/has/key-$2" 2>/dev/null
if [ "$kill" != 0 ] && [ $(($3 % kill)) = 0 ]; then kill -9 "$PPID"; fi
exit 0
INSIDE
chmod +x "$work/inside"

ours() { # <key> <round>
    # shellcheck disable=SC2016
    git-worktree-claim -q --max "$slots" --timeout 60s --key "$1" -- \
        sh -c 'exec "$work/inside" "$GIT_INTERLOCK_SLOT" "$@"' - "$1" "$2"
}

theirs() { # <key> <round>
    local slot
    slot=$("$TWIN/naive-pool" claim "$work/pool.json" "$slots" "$1") || return
    for what in "slot-$slot" "key-$1"; do
        mkdir "$work/has/$what" 2>/dev/null || echo "round $2: $what twice" >>"$work/failures"
    done
    rmdir "$work/has/slot-$slot" "$work/has/key-$1" 2>/dev/null
    "$TWIN/naive-pool" release "$work/pool.json" "$slot"
}

claimer() { # <number>
    local round status how=ours
    [ -z "$naive" ] || how=theirs
    for round in $(seq "$rounds"); do
        # It has been found out: that is all that was wanted.
        [ -z "$naive" ] || [ ! -s "$work/failures" ] || break
        "$how" "k$(((round * 7 + $1) % keys))" "$round" 2>"$work/said-$1"
        status=$?
        echo "$status" >>"$work/status-$1"
        case $status in
            0 | 75) ;;
            137) [ "$kill" != 0 ] || echo "round $round, $1: status 137" >>"$work/failures" ;;
            *) echo "round $round, $1: status $status: $(head -n 1 "$work/said-$1")" >>"$work/failures" ;;
        esac
    done
}

pids=()
for n in $(seq "$procs"); do
    claimer "$n" &
    pids+=($!)
done
wait "${pids[@]}"

# ---- what is left ------------------------------------------------------------------

if [ -z "$naive" ]; then
    git-worktree-reap -q >/dev/null 2>"$work/said" || head -n 1 "$work/said" >>"$work/failures"
    git-worktree-claim list --json | grep -v '"state":"free"' | sed 's/^/left: /' >>"$work/failures"
    find .git/interlock/leases -mindepth 1 2>/dev/null | sed 's/^/left: /' >>"$work/failures"
    [ "$(git worktree list | wc -l)" -le $((slots + 1)) ] || echo 'too many slots' >>"$work/failures"
    git fsck --no-dangling >/dev/null 2>&1 || echo 'git fsck' >>"$work/failures"
fi
count() { cat "$work"/status-* | grep -cx "$1" || :; }
sort "$work/failures" | uniq -c | sort -rn | head -n 20 >&2
echo "$(count 0) leases, $(count 75) refused, $(count 137) killed, $(wc -l <"$work/failures") failures"
[ ! -s "$work/failures" ]
