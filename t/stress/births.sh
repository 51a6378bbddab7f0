#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# births.sh: many births at once, while git prunes, lists and collects beside them.
#
#   --procs N     births at the same time (24)
#   --rounds N    how often (20)
#   --naive       with `git worktree add` in our place: the loops must find it out; the
#                 first round with a failure is the last one
#
# Each birth makes a worktree with files and attaches a new branch; afterwards each must
# be whole, and be removed without a trace. Prints one line; status 1 when anything
# failed, of ours or of git's.
#
# One failure is counted apart: `git worktree list` asks whether a worktree's "locked"
# is there and then opens it, reads its "commondir" and then resolves its directory, and
# dies when the worktree, or the last one of all, is removed between the two. No way to
# remove a locked worktree spares it that. While worktrees are only born it has no excuse.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=t/isolate.bash
. "$here/../isolate.bash"
procs=24 rounds=20 naive=''
while [ $# -gt 0 ]; do
    case $1 in
        --procs) procs=$2 && shift 2 ;;
        --rounds) rounds=$2 && shift 2 ;;
        --naive) naive=1 && shift ;;
        *) sed -n '4,18s/^# \{0,1\}//p' "$0" >&2 && exit 129 ;;
    esac
done
work=$(mktemp -d "${TMPDIR:-/tmp}/interlock-births.XXXXXX")
isolate_in "$work"
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 128
git init -q main && cd main || exit 128
for i in $(seq 60); do
    mkdir -p "d$((i % 6))" && echo "$i" >"d$((i % 6))/f$i"
done
git add . && git commit -q -m files || exit 128
pool=$work/pool
mkdir "$pool"

# ---- what runs beside them ------------------------------------------------------

# A failure of git's own counts as much as one of ours.
beside() { # <name> <command>...
    local name=$1 before after said
    shift
    while [ ! -e "$work/stop" ]; do
        before=$(<"$work/step")
        "$@" >/dev/null 2>"$work/err-$name" || {
            after=$(<"$work/step") said="$name: $(head -n 1 "$work/err-$name")"
            # Between one step of births and the next there is one of removals.
            if [[ ($before != "$after" || $before = *gone) &&
                $said =~ ^"list: fatal: "("failed to read"|"Invalid path")" "\'?.*"/worktrees"[^\']*\'?": No such file or directory"$ ]]; then
                echo "$said" >>"$work/excused"
            else
                echo "$before to $after: $said" >>"$work/theirs"
            fi
        }
    done
}
: >"$work/theirs"
: >"$work/ours"
: >"$work/excused"
echo '1 birth' >"$work/step"
beside prune git worktree prune --expire=now &
beside prune-again git worktree prune --expire=now &
beside list git worktree list --porcelain &
beside gc git -c gc.auto=1 -c gc.autoDetach=false gc -q --auto &
helpers=$(jobs -p)

# ---- births ------------------------------------------------------------------------

birth() { # <round> <number>
    local path
    if [ -n "$naive" ]; then
        git worktree add -q -b "b-$1-$2" "$pool/p-$2" 2>"$work/said-$2"
    else
        path=$("$HELPER/birth" make p "$2" "$pool" HEAD "refs/heads/b-$1-$2" new 2>"$work/said-$2") &&
            [ "$path" = "$pool/p-$2" ]
    fi || {
        echo "round $1, $2: $(head -n 1 "$work/said-$2")" >>"$work/ours"
        return
    }
    [ "$(git -C "$pool/p-$2" status --porcelain --branch 2>&1)" = "## b-$1-$2" ] ||
        echo "round $1, $2: not whole" >>"$work/ours"
}
gone() { # <round> <number>
    if [ -n "$naive" ]; then
        git worktree remove --force "$pool/p-$2" 2>/dev/null
    else
        "$HELPER/birth" remove "p-$2" 2>"$work/said-$2" ||
            echo "round $1, removal of $2: $(head -n 1 "$work/said-$2")" >>"$work/ours"
    fi
}

total=0
for round in $(seq "$rounds"); do
    for step in birth gone; do
        pids=()
        echo "$round $step" >"$work/step.new" && mv "$work/step.new" "$work/step"
        for n in $(seq "$procs"); do
            "$step" "$round" "$n" &
            pids+=($!)
        done
        wait "${pids[@]}"
    done
    total=$((total + procs))
    # That it fails is all that is to be seen.
    [ -z "$naive" ] || [ ! -s "$work/ours" ] || break
done
touch "$work/stop"
# shellcheck disable=SC2086
wait $helpers

# ---- what is left ------------------------------------------------------------------

if [ -z "$naive" ]; then
    "$HELPER/birth" sweep >/dev/null
    # Trash is deleted apart; whoever does it holds its lock. Not `flock <name> true`: that
    # makes a file of this name when the directory goes just before.
    for trash in .git/interlock/trash-*; do
        { flock 9 9<"$trash"; } 2>/dev/null
    done
    find "$pool" .git/worktrees .git/interlock -mindepth 1 -maxdepth 1 ! -name locks ! -name git \
        -printf 'left: %p (%y, %n links)\n' 2>/dev/null >>"$work/ours"
    git fsck --no-dangling >/dev/null 2>&1 || echo 'git fsck' >>"$work/ours"
fi
ours=$(wc -l <"$work/ours") theirs=$(wc -l <"$work/theirs")
excused=$(wc -l <"$work/excused")
sort "$work/ours" "$work/theirs" | head -n 20 >&2
echo "$total births, $ours failures of ours, $theirs of git's, $excused of a list that met a removal"
[ $((ours + theirs)) = 0 ]
