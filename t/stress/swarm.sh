#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# swarm.sh: many sessions save in one worktree at once; is anything lost? (D1-D4, D10)
#
#   --procs N --saves M --rounds R   N sessions, each M saves, in each round
#   --mode whole|path                all of the tree, or each session its own file
#   --writer ours|blind|cas|retry|stale   ours, or one of the naive twins
#   --beside LIST    of outsider (git update-ref on the same ref), gc
#                    (git gc --prune=now), pack-refs, restore, expire
#   --engine native|git  --hash sha1|sha256  --refs files|reftable
#   --gate step|start    meet at a barrier before every save, or once a round
#   --timeout S          --lock-timeout of the saves (60 times TEST_SLOW)
#
# Each session writes its number into its own file and saves. Afterwards every
# acknowledged checkpoint must be there, once, with its session's own number in
# it, and the repository must be sound. A run in which no save was overtaken by
# another (the tip moved between its start and its swap) has proved nothing and
# fails too.
#
# KEEP=1 leaves the repository and what each session said behind.
#
# Prints one line of figures. Exit status: 0 nothing lost, 1 something lost or
# wrong, 2 no collision happened, 3 a save failed.
set -u
# shellcheck source=t/isolate.bash
. "$(dirname "${BASH_SOURCE[0]}")/../isolate.bash"

procs=8 saves=4 rounds=3 mode=whole writer=ours beside='' engine=native hash=sha1
refs=files
gate=step timeout=$((60 * ${TEST_SLOW:-1}))
while [ $# -gt 0 ]; do
    case $1 in
        --procs) procs=$2 ;;
        --saves) saves=$2 ;;
        --rounds) rounds=$2 ;;
        --mode) mode=$2 ;;
        --writer) writer=$2 ;;
        --beside) beside=$2 ;;
        --engine) engine=$2 ;;
        --hash) hash=$2 ;;
        --refs) refs=$2 ;;
        --gate) gate=$2 ;;
        --timeout) timeout=$2 ;;
        *) echo "swarm.sh: no option $1" >&2 && exit 129 ;;
    esac
    shift 2
done

work=$(mktemp -d "${TMPDIR:-/tmp}/swarm.XXXXXX")
trap '[ -n "${KEEP-}" ] && echo "kept $work" || rm -rf "$work"' EXIT
isolate_in "$work"
export GIT_INTERLOCK_ENGINE=$engine
ref=refs/shadow/main/b/main

new_repository() {
    local init=(git init -q --object-format="$hash")
    # An older git has no such option, and no such choice.
    [ "$refs" = files ] || init+=(--ref-format="$refs")
    "${init[@]}" "$work/repo"
    cd "$work/repo" || exit
    local k
    for k in $(seq "$procs"); do echo "s$k 0" >"s$k.txt"; done
    mkdir -p src doc
    for k in $(seq 20); do echo "source $k" >"src/$k.c"; done
    git add -A
    git commit -qm base
    mkdir "$work/outside"
    echo "$work/outside" >.git/objects/info/alternates
}

# The tip as a session sees it just before it starts.
tip() { git rev-parse -q --verify "$ref" || echo none; }

# One save; leaves the id in `commit`, and what the line says in `line`.
save() { # <session> <number>
    local args=(-m "$1 $2")
    case $writer-$mode in
        ours-whole) args+=(--allow-unchanged) ;;
        *-path) args+=(-- "$1.txt") ;;
    esac
    if [ "$writer" = ours ]; then
        line=$(git-shadow-commit save --json -v --session "$1" --lock-timeout "${timeout}s" \
            "${args[@]}" 2>>"$work/err.$1") || return
        [[ $line =~ \"commit\":\ ?\"([0-9a-f]+)\" ]] || return 3
        commit=${BASH_REMATCH[1]}
    else
        commit=$("$TWIN/naive-save" "$writer" "${args[@]}" 2>>"$work/err.$1") || return
    fi
}

session() { # <name> <round>
    local name=$1 i number before commit line status start ms attempts parent
    for i in $(seq "$saves"); do
        number=$((($2 - 1) * saves + i))
        printf '%s %s\n' "$name" "$number" >"$name.txt"
        case $gate-$i in
            step-* | start-1) "$HELPER/barrier" "$work/gate.$2.$i" "$procs" || exit ;;
        esac
        before=$(tip)
        start=${EPOCHREALTIME/./}
        save "$name" "$number"
        status=$?
        ms=$(((${EPOCHREALTIME/./} - start) / 1000))
        if [ "$status" != 0 ]; then
            echo "$name $number $status $ms" >>"$work/failed.$name"
            continue
        fi
        echo "$name $number $commit" >>"$work/acks.$name"
        attempts=1
        if [ "$writer" = ours ] && [[ $line =~ \"attempts\":\ ?([0-9]+) ]]; then
            attempts=${BASH_REMATCH[1]}
        fi
        parent=$(git rev-parse -q --verify "$commit^" || echo none)
        echo "$ms $attempts $([ "$parent" = "$before" ] && echo 0 || echo 1)" >>"$work/figures.$name"
    done
}

# ---- what goes on beside --------------------------------------------------------

# Another tool that follows the rules: a commit on top of the tip, by compare
# and swap. Its objects are in an alternate: as loose objects here, git's own prune would take them between
# commit-tree and update-ref, which is a race of git's and not ours.
outsider() {
    local old new GIT_OBJECT_DIRECTORY=$work/outside GIT_ALTERNATE_OBJECT_DIRECTORIES=$work/repo/.git/objects
    export GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
    while [ ! -e "$work/stop" ]; do
        old=$(git rev-parse -q --verify "$ref") || { sleep 0.01 && continue; }
        new=$(git commit-tree -m 'from outside' -p "$old" "$old^{tree}") || continue
        if git update-ref "$ref" "$new" "$old" 2>/dev/null; then
            echo "outsider - $new" >>"$work/acks.outsider"
        fi
        sleep 0.03
    done
}

# D10: restore's safety save goes through the same lock and swap.
restorer() {
    local i=0 first line
    while [ ! -e "$work/stop" ]; do
        i=$((i + 1))
        printf 'restorer %s\n' "$i" >restorer.txt
        line=$(git-shadow-commit save --json --session restorer --allow-unchanged \
            --lock-timeout "${timeout}s" -- restorer.txt 2>>"$work/err.restorer") || {
            echo "restorer save $i $?" >>"$work/failed.restorer"
            continue
        }
        [[ $line =~ \"commit\":\ ?\"([0-9a-f]+)\" ]] || continue
        first=${BASH_REMATCH[1]}
        echo "restorer - $first" >>"$work/acks.restorer"
        printf 'restorer changed %s\n' "$i" >restorer.txt
        line=$(git-shadow-commit restore --json "$first" -- restorer.txt 2>>"$work/err.restorer") || {
            echo "restorer restore $i $?" >>"$work/failed.restorer"
            continue
        }
        [[ $line =~ \"undo\":\ ?\"([0-9a-f]+)\" ]] &&
            echo "restorer - ${BASH_REMATCH[1]}" >>"$work/acks.restorer"
        [ "$(cat restorer.txt)" = "restorer $i" ] ||
            echo "restorer content $i" >>"$work/failed.restorer"
        sleep 0.02
    done
}

loop() { # <name> <command>...
    local name=$1
    shift
    while [ ! -e "$work/stop" ]; do
        "$@" >/dev/null 2>>"$work/err.$name" && echo >>"$work/runs.$name"
        sleep 0.05
    done
}

start_beside() {
    beside_pids=()
    local what
    for what in ${beside//,/ }; do
        case $what in
            outsider) outsider & ;;
            restore) restorer & ;;
            gc) loop gc git gc --prune=now --quiet & ;;
            pack-refs) loop pack-refs git pack-refs --all --prune & ;;
            expire) loop expire git-shadow-commit expire --keep 1000000 & ;;
            *) echo "swarm.sh: beside '$what'?" >&2 && exit 129 ;;
        esac
        beside_pids+=($!)
    done
}

# ---- run, verify, report ---------------------------------------------------------

new_repository
# So that no session's first save has to take in everybody's files.
commit='' line=''
save s1 0 || { cat "$work"/err.* >&2 && exit 3; }
started=$EPOCHREALTIME
start_beside
for round in $(seq "$rounds"); do
    pids=()
    for k in $(seq "$procs"); do
        session "s$k" "$round" &
        pids+=($!)
    done
    wait "${pids[@]}"
done
: >"$work/stop"
[ ${#beside_pids[@]} = 0 ] || wait "${beside_pids[@]}"
seconds=$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $started }")

log=-
if [ "$writer" = ours ]; then
    log=$work/log
    git-shadow-commit log --json >"$log" || { echo "swarm.sh: log failed" >&2 && exit 3; }
fi
touch "$work/acks.none" "$work/failed.none" "$work/figures.none"
ordered=''
# restore's safety save takes all of the tree, as it was when it looked.
case $mode,$beside in path*restore*) ;; path*) ordered=--ordered ;; esac
verdict=0
account=$(perl "$TOP/t/stress/verify-chain.pl" $ordered refs/shadow "$log" "$work"/acks.*) || verdict=1
sound='sound'
if ! git fsck --strict --full --no-dangling --no-progress >"$work/fsck" 2>&1; then
    sound='NOT SOUND'
    verdict=1
    head -5 "$work/fsck" >&2
fi
failed=$(cat "$work"/failed.* | wc -l)
figures=$(cat "$work"/figures.* | awk '
    { n++; if ($1 > max) max = $1; lost += $2 - 1; over += $3 }
    END { printf "overtaken %d, lost swaps %d, slowest %d ms", over, lost, max }')
waits=$(cat "$work"/err.* 2>/dev/null | grep -c -i 'wait' || :)
wanted=$((procs * saves * rounds))
runs=''
for what in ${beside//,/ }; do
    case $what in
        gc | pack-refs | expire) runs+=", $what $(wc -l 2>/dev/null <"$work/runs.$what" || echo 0)" ;;
        outsider) runs+=", outsider's $(wc -l 2>/dev/null <"$work/acks.outsider" || echo 0)" ;;
        restore) runs+=", restorer's $(wc -l 2>/dev/null <"$work/acks.restorer" || echo 0)" ;;
    esac
done
mine=$(cat "$work"/acks.s* 2>/dev/null | wc -l)
echo "$writer $engine $hash $refs $mode ${procs}x${saves}x${rounds} in $seconds s:" \
    "$mine of $wanted saved, $failed failed; $account; $figures, waits $waits$runs; fsck $sound"
if [ "$writer" = ours ] && { [ "$failed" != 0 ] || [ "$mine" != "$wanted" ]; }; then
    # Without what -v says about every save.
    cat "$work"/failed.* >&2
    grep -hvE '^(engine|chain): |^waiting for ' "$work"/err.* 2>/dev/null | tail -n 20 >&2
    exit 3
fi
[ "$verdict" = 0 ] || exit 1
[ "$mine" = "$wanted" ] || exit 1
for what in ${beside//,/ }; do # a loop that never got through has shown nothing
    case $what in
        outsider | restore) count=$(wc -l 2>/dev/null <"$work/acks.${what/%re/rer}" || echo 0) ;;
        *) count=$(wc -l 2>/dev/null <"$work/runs.$what" || echo 0) ;;
    esac
    if [ "$count" = 0 ]; then
        echo "swarm.sh: $what never got through" >&2
        tail -n 5 "$work/err.$what" >&2
        exit 2
    fi
done
[[ $figures =~ overtaken\ 0, ]] && [ "$procs" -gt 1 ] && exit 2
exit 0
