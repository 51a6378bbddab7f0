#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# lease-sweep.sh: SIGKILL at every system call of what gives out and takes back
# slots, children included (F1, C6).
#
#   --all               every operation, both engines, both hashes
#   --op NAME           command | dirty | birth | release | reap | remove, or
#                       add: git's own worktree add, the naive twin
#   --engine native|git --hash sha1|sha256
#   --sample N          about N points instead of all (--offset K: where to begin)
#   --one               kill only the process that makes the call, not all
#   --jobs J            points at a time (2)
#
# command   git worktree-claim -- true, in a slot that is free and clean
# dirty     a claim of a free slot in which somebody left work and a stale index.lock
# birth     a claim with a new branch, where there is no slot yet
# release   of a time lease with work in its slot
# reap      of a slot whose holder was killed over its work; remove: with --remove
#
# A slot is known by its inode, so each point's is made anew by real commands. The
# work in it is a commit on no branch, a staged and a changed file, an untracked one
# in a new directory, and a nested repository. After the kill:
#
#   - all of it is in the slot, below refs/rescue/ or set aside, to the last byte
#   - a lease that was told of is a lease, and nobody else gets its slot
#   - no slot is held, git fsck, worktree list and worktree prune find nothing to say
#   - a claim, without help, gets a clean slot within 5 seconds (times TEST_SLOW; three times
#     what the point itself took, where that is more): the same one, where nobody has a right to it
#   - after the same command again and a reap nothing of ours is left that nobody names
#
# The points are counted per process and compared with what strace -f -c counts, without
# the calls by which /proc is read: how many those are is the machine's affair.
set -u
# Whoever asks who is inside a slot reads all of /proc: in a namespace of pids of our own
# that is the same in each run, and no more than it has to be.
if [ -z "${LEASE_SWEEP_APART:-}" ]; then
    export LEASE_SWEEP_APART=1
    apart=(unshare --pid --fork --kill-child --mount-proc)
    [ "$(id -u)" = 0 ] || apart+=(--user --map-root-user)
    "${apart[@]}" true 2>/dev/null && exec "${apart[@]}" "${BASH_SOURCE[0]}" "$@"
fi
# shellcheck source=t/isolate.bash
. "$(dirname "${BASH_SOURCE[0]}")/../isolate.bash"

least_patience=$((5 * ${TEST_SLOW:-1}))
patience=$least_patience
all='' op=command engine=native hash=sha1 sample=0 offset=1 kill_args=() jobs=2
while [ $# -gt 0 ]; do
    case $1 in
        --all) all=1 ;;
        --op) op=$2 && shift ;;
        --engine) engine=$2 && shift ;;
        --hash) hash=$2 && shift ;;
        --sample) sample=$2 && shift ;;
        --offset) offset=$2 && shift ;;
        --one) kill_args+=(--one) ;;
        --jobs) jobs=$2 && shift ;;
        *) echo "lease-sweep.sh: no option $1" >&2 && exit 129 ;;
    esac
    shift
done

if [ -n "$all" ]; then
    failed=0
    for variant in 'native sha1' 'git sha256'; do
        read -r engine hash <<<"$variant"
        for op in command dirty birth release reap remove; do
            "${BASH_SOURCE[0]}" --op "$op" --engine "$engine" --hash "$hash" --jobs "$jobs" \
                --sample "$sample" --offset "$offset" ${kill_args[@]+"${kill_args[@]}"} || failed=1
        done
    done
    exit "$failed"
fi

work=$(cd "$(mktemp -d "${TMPDIR:-/tmp}/lease-sweep.XXXXXX")" && pwd -P)
trap 'rm -rf "$work"' EXIT
isolate_in "$work"
export GIT_INTERLOCK_ENGINE=$engine

# ---- what every point starts from ----------------------------------------------------

template() {
    local i k
    git init -q --object-format="$hash" "$work/template"
    cd "$work/template" || exit
    mkdir -p src/lib
    for i in 1 2; do
        for k in 1 2 3 4; do echo "file $k of commit $i" >"src/lib/$k.c"; done
        echo '*.o' >.gitignore
        git add -A
        git commit -q -m "commit $i"
    done
    git gc -q
}

# Work of all kinds, in the current directory; what it is goes to the file $1.
leave_work() {
    echo 'only a commit has this' >src/lib/1.c
    git commit -qam 'on no branch'
    echo 'only the index has this' >src/lib/2.c
    git add src/lib/2.c
    echo 'only the work tree has this' >src/lib/2.c
    echo 'changed' >src/lib/3.c
    mkdir new
    echo 'untracked' >new/file
    git init -q nested
    echo 'in a repository' >nested/inside
    echo 'product' >build.o
    {
        git rev-parse HEAD HEAD:src/lib/1.c :src/lib/2.c
        git hash-object src/lib/2.c src/lib/3.c new/file
    } >"$1"
}

slot_state() { git-worktree-claim list --json | sed -n 's/.*"slot": *"default-1".*"state": *"\([a-z-]*\)".*/\1/p'; }

# The repository "repo" in the directory $1, ready for the operation.
prepare() {
    local here=$1 wt
    rm -rf "$here/repo" "$here/repo.worktrees"
    : >"$here/work"
    cp -a "$work/template" "$here/repo"
    cd "$here/repo" || exit
    case $op in
        command) wt=$(git-worktree-claim) && git-worktree-claim release -q "$wt" >/dev/null ;;
        dirty)
            wt=$(git-worktree-claim) && git-worktree-claim release -q "$wt" >/dev/null &&
                (cd "$wt" && leave_work "$here/work") && : >.git/worktrees/default-1/index.lock
            ;;
        release) wt=$(git-worktree-claim) && (cd "$wt" && leave_work "$here/work") ;;
        reap | remove)
            # The command outlives its supervisor by a moment.
            export -f leave_work
            # shellcheck disable=SC2016 # that shell's own
            (
                git-worktree-claim -q -- bash -c 'leave_work "$1" && kill -9 "$PPID"' - "$here/work"
                :
            ) 2>/dev/null
            while [ "$(slot_state)" = occupied ]; do sleep 0.01; done
            [ "$(slot_state)" = orphaned ]
            ;;
        birth | add) ;;
    esac || { echo "lease-sweep.sh: cannot prepare '$op'" >&2 && exit 3; }
}

command_of() {
    case $op in
        command) run=(git-worktree-claim -- true) ;;
        dirty) run=(git-worktree-claim) ;;
        birth) run=(git-worktree-claim -b topic) ;;
        release) run=(git-worktree-claim release default-1) ;;
        reap) run=(git-worktree-reap) ;;
        remove) run=(git-worktree-reap --remove) ;;
        add) run=(git worktree add -q --detach ../repo.worktrees/default-1) ;;
        *) echo "lease-sweep.sh: no operation '$op'" >&2 && exit 129 ;;
    esac
}

# ---- what must be true ------------------------------------------------------------------

# Each byte of the work is somewhere. An object that is only in the slot is in its
# index or its HEAD; a file of it there has that content.
check_work() { # <when>
    local id kept slot=$here/repo.worktrees/default-1 admin=.git/worktrees/default-1
    [ -s "$here/work" ] || return
    kept=$(git for-each-ref --format='%(objectname)' refs/rescue | git rev-list --objects --stdin 2>&1) ||
        echo "rev-list $1: $kept"
    kept=$kept$'\n'$(
        git hash-object -- "$slot"/src/lib/*.c "$slot/new/file" 2>/dev/null
        [ ! -e $admin/HEAD ] || git --git-dir=$admin rev-list --objects HEAD
        [ ! -e $admin/index ] || git --git-dir=$admin ls-files -s
    )
    while read -r id; do
        case $kept in *"$id"*) ;; *) echo "lost $1: $(git cat-file -t "$id" 2>&1) $id, '$(git cat-file -p "$id" 2>&1 | tail -n 1)'" ;; esac
    done <"$here/work"
    grep -qsx 'in a repository' "$slot/nested/inside" .git/interlock/aside/*/*/inside ||
        grep -rqsx 'in a repository' .git/interlock/aside || echo "lost $1: the nested repository"
}

sound() {
    local report
    report=$(git fsck --strict --full --no-dangling --no-progress 2>&1) || echo "fsck $1: $report"
    report=$(git worktree prune -v 2>&1) && [ -z "$report" ] || echo "prune $1: $report"
    report=$(git worktree list --porcelain 2>&1) || echo "worktree list $1: $report"
}

check_killed() {
    local state
    state=$(slot_state)
    case $state in held | unknown | foreign) echo "after the kill the slot is $state" ;; esac
    case $op in
        dirty | birth)
            if [ -s "$here/out" ]; then
                [ "$state" = leased ] || echo "told of a lease, and the slot is $state"
                [ -z "$(git -C "$here/repo.worktrees/default-1" status --porcelain)" ] ||
                    echo 'told of a slot that is not clean'
            fi
            ;;
        release) [ ! -s "$here/out" ] || [ "$state" = free ] || echo "released, and $state" ;;
    esac
    check_work 'by the kill'
    sound 'after the kill'
}

check_next() {
    local before slot out
    before=$(slot_state)
    out=$(timeout "$patience" git-worktree-claim --no-wait 2>&1 >"$here/next") || echo "next claim: status $?: $out"
    slot=$(cat "$here/next")
    case $before in
        free | orphaned | half-born | expired | desynced)
            [ "$slot" = "$here/repo.worktrees/default-1" ] || echo "next claim: the slot was $before, and it got '$slot'"
            ;;
        leased)
            [ "$slot" != "$here/repo.worktrees/default-1" ] || echo "next claim: got a slot that was $before"
            ;;
    esac
    [ -n "$slot" ] && [ -z "$(git -C "$slot" status --porcelain 2>&1)" ] &&
        [ "$(git -C "$slot" rev-parse HEAD)" = "$(git rev-parse HEAD)" ] || echo "next claim: '$slot' is not clean at HEAD"
    check_work 'by the next claim'
    git-worktree-claim release "$slot" >/dev/null 2>"$here/err" || echo "next release: $(cat "$here/err")"
    # git's lock on the branch is healed by who wants that branch next (intent.h). Where
    # the lease counts already, it has the branch.
    if [ "$op" = birth ] && [ "$before" != leased ]; then
        slot=$(timeout "$patience" git-worktree-claim -q --no-wait -B topic 2>"$here/err") &&
            git-worktree-claim release "$slot" >/dev/null 2>"$here/err" || echo "next claim of the branch: $(cat "$here/err")"
    fi
    # Where there is a way to do it twice, that is how what is vanished gets finished.
    [ "$op" != remove ] || git-worktree-reap --remove >/dev/null 2>"$here/err" || echo "next removal: $(cat "$here/err")"
    timeout "$patience" git-worktree-reap >/dev/null 2>"$here/err" || echo "next reap: $(cat "$here/err")"
    check_work 'by the next reap'
    sound 'after the next reap'
    check_debris
}

debris() {
    local lease
    find .git \( -name 'birth-*' -o -name 'trash-*' -o -name '*.lock' -o -name 'tmp_interlock*' \
        -o -name '*.intent' -o -name 'interlock-found' \) ! -path '*/interlock/locks/*' ! -path '*/aside/*'
    find "$here/repo.worktrees" -name '.interlock-*' 2>/dev/null
    for lease in .git/interlock/leases/*; do
        [ -e "$lease" ] || continue
        lease=${lease##*/}
        grep -qs "${lease%%.*}" .git/worktrees/*/locked || echo ".git/interlock/leases/$lease"
    done
    for lease in $(git worktree list --porcelain | sed -n 's/^worktree //p'); do
        [ -d "$lease" ] || echo "registered, and gone: $lease"
    done
}

# What is big is deleted by a process that nobody waits for. A lock that a killed git left
# is swept when it has been at rest for a second: so these, and only these, get another reap.
check_debris() {
    local left end=$((SECONDS + patience))
    while left=$(debris) && [ -n "$left" ] && [ "$SECONDS" -lt "$end" ]; do
        case $left in *.lock*) git-worktree-reap >/dev/null 2>"$here/err" || echo "another reap: $(cat "$here/err")" ;; esac
        sleep 0.05
    done
    [ -z "$left" ] || printf 'debris: %s\n' "$left"
}

shard() { # <first> <step>
    local n=$1 here=$work/shard.$1 wrong
    mkdir "$here"
    : >"$here/points"
    : >"$here/wrong"
    local start
    while :; do
        start=$SECONDS
        prepare "$here"
        "$HELPER/killat" -n "$n" -o "$here/report" ${kill_args[@]+"${kill_args[@]}"} -- "${run[@]}" \
            >"$here/out" 2>"$here/err" </dev/null
        grep -q '^fired [0-9]' "$here/report" || break
        # Where a busy machine takes seconds for a claim and its kill, it takes more to heal.
        patience=$((3 * (SECONDS - start)))
        [ "$patience" -gt "$least_patience" ] || patience=$least_patience
        sed -n 's/^fired //p' "$here/report" >>"$here/points"
        wrong=$(check_killed && check_next)
        if [ -n "$wrong" ]; then
            { sed -n "s/^fired /at $n: /p" "$here/report" && printf '%s\n' "$wrong"; } >>"$here/wrong"
        fi
        n=$((n + $2))
    done
}

# ---- run and report ---------------------------------------------------------------------

template
command_of
mkdir "$work/count"
# As strace -c names them.
of_proc='openat|open|openat2|read|close|getdents64|readlink|readlinkat|fstat|newfstatat|statx|lseek|fcntl|mmap|munmap|brk|access'
begets='clone|clone3|fork|vfork'
# Sums over a report of killat, or of strace -c: "in all, those not on /proc, children".
sums() { # <column of the name> <column of the number> <file>
    awk -v name="$1" -v number="$2" -v skip="^($of_proc)\$" -v begets="^($begets)\$" '
        $number !~ /^[0-9]+$/ || $name == "total" || (number == 5 && $1 != "call") { next }
        { all += $number }
        $name !~ skip { rest += $number }
        $name ~ begets { children += $number }
        END { print all + 0, rest + 0, children + 0 }' "$3"
}
count_by_killat() {
    prepare "$work/count"
    "$HELPER/killat" -c -o "$work/report" -- "${run[@]}" >/dev/null 2>"$work/err" </dev/null || {
        echo "lease-sweep.sh: $op fails without a kill: $(cat "$work/err")" >&2
        exit 3
    }
    read -r returned returned_else children < <(sums 3 5 "$work/report")
}
count_by_strace() {
    prepare "$work/count"
    # As killat does: the leak checker of a sanitized build cannot trace what is traced.
    ASAN_OPTIONS=${ASAN_OPTIONS-detect_leaks=0} strace -f -c -o "$work/strace" "${run[@]}" >/dev/null 2>&1 </dev/null
    read -r straced straced_else straced_children < <(awk '{ print $NF, $4 }' "$work/strace" | sums 1 2 -)
}
count_by_killat
straced=none
if strace -o /dev/null true 2>/dev/null; then
    count_by_strace
    # These are two runs, and once in a long while one of them starts a git more than the
    # other, with its 60 calls. Such two are not compared, but counted again.
    for _ in 1 2 3; do
        [ "$children" != "$straced_children" ] || break
        count_by_killat
        count_by_strace
    done
fi
total=$(sed -n 's/^calls //p' "$work/report")
by_process=$(awk '/^process / { n[$3] += $4; c[$3]++ }
    END { for (p in n) { printf "%s%d x %s %d", sep, c[p], p, n[p]; sep = ", " } }' "$work/report")
step=1
[ "$sample" = 0 ] || step=$(((total + sample - 1) / sample))
[ "$step" -gt 0 ] || step=1
pids=()
for j in $(seq "$jobs"); do
    shard $(((offset - 1) % step + 1 + (j - 1) * step)) $((step * jobs)) &
    pids+=($!)
done
wait "${pids[@]}"

points=$(cat "$work"/shard.*/points | wc -l)
tried=$(cat "$work"/shard.*/points | awk '{ n[$3]++ }
    END { for (p in n) { printf "%s%s %d", sep, p, n[p]; sep = ", " } }')
bad=$(cat "$work"/shard.*/wrong | grep -c '^at ' || :)
echo "$op $engine $hash${kill_args[*]+ ${kill_args[*]}}: $points of $total points ($tried), $bad wrong;" \
    "in all $by_process; returned $returned, strace $straced"
if [ "$straced" != none ]; then
    # What is said through pipes comes in more pieces or fewer, and ids have other names in
    # each run. No process is missed.
    if [ "$children" != "$straced_children" ] ||
        ! awk "BEGIN { d = $returned_else - $straced_else; if (d < 0) d = -d; exit !(d <= 8 + 0.03 * $straced_else) }"; then
        echo "lease-sweep.sh: without those on /proc strace counts $straced_else calls, $straced_children children," \
            "killat $returned_else, $children" >&2
        diff <(awk '/^call / { n[$3] += $5 } END { for (c in n) if (n[c]) print c, n[c] }' "$work/report" | sort) \
            <(awk '$4 ~ /^[0-9]+$/ && $NF != "total" { print $NF, $4 }' "$work/strace" | sort) >&2
        bad=$((bad + 1))
    fi
fi
if [ "$bad" != 0 ]; then
    cat "$work"/shard.*/wrong | head -n 40 >&2
    exit 1
fi
[ "$points" -gt 0 ]
