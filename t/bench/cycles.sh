#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# cycles.sh: claim a slot, write into it, give it back, again and again.
#
#   sh cycles.sh <processes> <cycles each>     pool of $CYCLE_POOL
processes=$1 cycles=$2

session() {
    c=0
    while [ "$c" -lt "$cycles" ]; do
        git-worktree-claim -q --max "$CYCLE_POOL" --timeout 120s -- \
            sh -c 'echo built >out.o' || return 1
        c=$((c + 1))
    done
}

p=0 pids=
while [ "$p" -lt "$processes" ]; do
    session &
    pids="$pids $!"
    p=$((p + 1))
done
failed=0
for pid in $pids; do
    wait "$pid" || failed=1
done
exit "$failed"
