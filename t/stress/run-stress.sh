#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# run-stress.sh: what `make check-stress ROUNDS=30` runs.
#
#   ROUNDS   rounds of the 8 x 4 swarms (30)
#   BIG      sessions and saves of the big one (64)
#   CASES    cases of the differential (10000; 0 is endless), DIFF_SEED its seed
#   ENGINES  "native git"
#   BIRTHS   births at the same time (24), BIRTH_ROUNDS how often (20)
#   CYCLES   claims of the cycles (1000)
#   CLAIMS   claims of each of the eight overlapping claimers (1000)
#   PARTS    of "swarm big naive kill pack births leasekill cycles claims differential git" (all)
#   GIT_SRC  a built source tree of git: its own tests, without and with our hooks (git)
#
# The last line says how many parts passed and failed.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=t/isolate.bash
. "$here/../isolate.bash"
ROUNDS=${ROUNDS:-30} BIG=${BIG:-64} CASES=${CASES:-10000} ENGINES=${ENGINES:-native git}
PARTS=${PARTS:-swarm big naive kill pack births leasekill cycles claims differential git}
passed=0 failed=0

part() { # <expected status> <command>...
    local want=$1 status
    shift
    "$@"
    status=$?
    if [ "$status" = "$want" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED ($status, expected $want): $*"
    fi
}
has() { case " $PARTS " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
swarm() { "$here/swarm.sh" "$@"; }

for engine in $ENGINES; do
    if has swarm; then
        for mode in whole path; do
            part 0 swarm --engine "$engine" --mode "$mode" --rounds "$ROUNDS" \
                --beside outsider,gc,pack-refs
        done
        part 0 swarm --engine "$engine" --mode whole --rounds "$ROUNDS" --beside restore,expire
    fi
    if has big; then
        part 0 swarm --engine "$engine" --mode path --procs "$BIG" --saves "$BIG" --rounds 1 \
            --timeout 120 --beside outsider,gc,pack-refs
        part 0 swarm --engine "$engine" --mode whole --procs "$BIG" --saves "$BIG" --rounds 1 \
            --timeout 120
    fi
done
if has swarm; then
    part 0 swarm --engine git --hash sha256 --mode path --rounds "$ROUNDS" --beside outsider,pack-refs
fi
if has naive; then
    part 1 swarm --writer blind --rounds 3
    part 1 swarm --writer cas --rounds 3
    part 1 swarm --writer stale --mode path --rounds 3
    part 1 swarm --writer retry --procs "$BIG" --saves 2 --rounds 1
fi
if has births; then
    part 0 "$here/births.sh" --procs "${BIRTHS:-24}" --rounds "${BIRTH_ROUNDS:-20}"
    part 1 "$here/births.sh" --procs "${BIRTHS:-24}" --rounds 5 --naive
    KILL_POINTS=1000000 part 0 "$B/t/unit/test-birth"
fi
has kill && part 0 "$here/kill-sweep.sh" --all
has pack && PACK_STEP=1 part 0 bats "$here/../pack.bats"
has leasekill && part 0 "$here/lease-sweep.sh" --all
if has cycles; then
    part 0 "$here/cycles.sh" --cycles "${CYCLES:-1000}"
    part 1 "$here/cycles.sh" --cycles 40 --naive
fi
if has claims; then
    part 0 "$here/claims.sh" --procs 8 --rounds "${CLAIMS:-1000}"
    part 0 "$here/claims.sh" --procs 8 --rounds "$((${CLAIMS:-1000} / 10))" --keys 12 --kill 5
    part 1 "$here/claims.sh" --procs 8 --rounds 300 --naive
fi
has git && [ -n "${GIT_SRC:-}" ] && part 0 "$here/git-tests.sh"
has differential && part 0 perl "$here/../differential.pl" --cases "$CASES" ${DIFF_SEED:+--seed "$DIFF_SEED"}

printf '%d parts passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
