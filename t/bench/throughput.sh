#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# throughput.sh: many processes, one ref. Each writes its own file and saves at
# once, again and again, and notes the id that it was given.
#
#   sh throughput.sh ours|theirs <processes> <saves> <notes folder>
side=$1 processes=$2 saves=$3 notes=$4
here=${0%/*}

save() {
    case $side in
    ours) git-shadow-commit save -q --session "p$1" --allow-unchanged ;;
    theirs) flock .git/recipe.lock sh "$here/recipe.sh" refs/bench/recipe ;;
    esac
}

session() {
    s=0
    while [ "$s" -lt "$saves" ]; do
        echo "$1 $s" >"session-$1"
        id=$(save "$1") || return 1
        echo "$id $1 $s"
        s=$((s + 1))
    done >"$notes/$1"
}

p=0 pids=
while [ "$p" -lt "$processes" ]; do
    session "$p" &
    pids="$pids $!"
    p=$((p + 1))
done
failed=0
for pid in $pids; do
    wait "$pid" || failed=1
done
exit "$failed"
