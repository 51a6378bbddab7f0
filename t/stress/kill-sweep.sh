#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# kill-sweep.sh: SIGKILL at every system call, children included (F1).
#
#   --all               every operation, engine and hash
#   --op NAME           save | path-save | restore | swap | delete | update | stdin,
#                       or update-ref: git's own swap, the naive twin
#   --engine native|git --hash sha1|sha256 --refs files|reftable
#   --sample N          about N points instead of all (--offset K: where to begin)
#   --one               kill only the process that makes the call, not all
#   --signal NAME       another signal (TERM, INT): the process may end by itself
#   --jobs J            points at a time (2)
#
# Every point starts from the same repository: history, a pack, loose objects,
# three acknowledged checkpoints, and what another writer left that was killed
# in the middle of its save. After the kill:
#
#   - every acknowledged checkpoint is there, also one that the killed run had
#     printed already, and every ref holds its old or its new value
#   - git fsck finds nothing
#   - the same command, run again without help, succeeds within 5 seconds (times TEST_SLOW)
#   - then, after an expire that drops nothing, no lock and no temporary file of
#     ours is left
#   - a restore: what was there before is in the work tree or in a checkpoint
#
# The points are counted per process and compared with what strace -f -c counts.
set -u
# shellcheck source=t/isolate.bash
. "$(dirname "${BASH_SOURCE[0]}")/../isolate.bash"

patience=$((5 * ${TEST_SLOW:-1}))
all='' op=save engine=native hash=sha1 refs=files sample=0 offset=1 kill_args=() jobs=2
while [ $# -gt 0 ]; do
    case $1 in
        --all) all=1 ;;
        --op) op=$2 && shift ;;
        --engine) engine=$2 && shift ;;
        --hash) hash=$2 && shift ;;
        --refs) refs=$2 && shift ;;
        --sample) sample=$2 && shift ;;
        --offset) offset=$2 && shift ;;
        --one) kill_args+=(--one) ;;
        --signal) kill_args+=("--signal=$2") && shift ;;
        --jobs) jobs=$2 && shift ;;
        *) echo "kill-sweep.sh: no option $1" >&2 && exit 129 ;;
    esac
    shift
done

if [ -n "$all" ]; then
    failed=0
    for variant in 'native sha1' 'git sha1' 'git sha256'; do
        read -r engine hash <<<"$variant"
        for op in save path-save restore swap delete update stdin; do
            "${BASH_SOURCE[0]}" --op "$op" --engine "$engine" --hash "$hash" --jobs "$jobs" \
                --sample "$sample" ${kill_args[@]+"${kill_args[@]}"} || failed=1
        done
    done
    exit "$failed"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/kill-sweep.XXXXXX")
trap 'rm -rf "$work"' EXIT
isolate_in "$work"
export GIT_INTERLOCK_ENGINE=$engine
shadow=refs/shadow/main/b/main

# ---- the repository that every point starts from ----------------------------------

template() {
    local init=(git init -q --object-format="$hash")
    # An older git has no such option, and no such choice.
    [ "$refs" = files ] || init+=(--ref-format="$refs")
    "${init[@]}" "$work/template"
    cd "$work/template" || exit
    local i
    mkdir -p src/lib doc
    for i in 1 2 3; do
        for k in 1 2 3 4; do echo "file $k of commit $i" >"src/lib/$k.c"; done
        echo "commit $i" >"doc/$i.txt"
        git add -A
        git commit -q -m "commit $i"
        [ "$i" != 2 ] || git gc -q
    done
    git branch side HEAD~1
    for i in 1 2 3; do
        echo "checkpoint $i" >"work$i.txt"
        git-shadow-commit save --session "s$i" || exit
    done >"$work/acknowledged"
    git update-ref --create-reflog refs/test/x HEAD~1
    git update-ref refs/test/y HEAD~1
    # Another writer's save that was killed when it was nearly through.
    echo 'unfinished' >unfinished.txt
    local total=0 at
    cp -a "$work/template" "$work/count"
    (cd "$work/count" && "$HELPER/killat" -o "$work/report" -- git-shadow-commit save >"$work/out") || exit
    total=$(sed -n 's/^calls //p' "$work/report")
    for at in 85 75 65 50; do
        rm -rf "$work/count"
        cp -a "$work/template" "$work/count"
        (cd "$work/count" && "$HELPER/killat" -n $((total * at / 100)) -- git-shadow-commit save >"$work/out" 2>/dev/null)
        [ -s "$work/out" ] || break # it had not acknowledged anything
    done
    rm -rf "$work/template"
    mv "$work/count" "$work/template"
    cd "$work/template" || exit
    rm unfinished.txt
    echo 'changed now' >work1.txt
    echo 'new now' >src/new.c
    rm doc/1.txt
    first=$(head -n 1 "$work/acknowledged")
    before_tree=$(tree_now)
    old=$(git rev-parse refs/test/x)
    new=$(git rev-parse HEAD)
    third=$(git rev-parse HEAD~2)
}

# The tree of the work tree, computed away from the repository.
tree_now() {
    local scratch result
    scratch=$(mktemp -d "$work/tree.XXXXXX")
    cp -p .git/index "$scratch/index"
    mkdir "$scratch/objects"
    result=$(GIT_INDEX_FILE=$scratch/index GIT_OBJECT_DIRECTORY=$scratch/objects \
        GIT_ALTERNATE_OBJECT_DIRECTORIES=$PWD/.git/objects sh -c 'git add -A && git write-tree')
    rm -rf "$scratch"
    echo "$result"
}

# ---- the operations ------------------------------------------------------------------

command_of() {
    case $op in
        save) run=(git-shadow-commit save --session killed) ;;
        path-save) run=(git-shadow-commit save --session killed -- work1.txt src) ;;
        restore) run=(git-shadow-commit restore "$first") ;;
        swap) run=(git-cas-ref -m reason refs/test/x "$new" "$old") ;;
        delete) run=(git-cas-ref --delete refs/test/x "$old") ;;
        update) run=(git-cas-ref --update refs/test/x -- echo "$new") ;;
        stdin) run=(git-cas-ref --stdin) ;;
        update-ref) run=(git update-ref refs/test/x "$new" "$old") ;;
        *) echo "kill-sweep.sh: no operation '$op'" >&2 && exit 129 ;;
    esac
    input=/dev/null
    if [ "$op" = stdin ]; then
        input=$work/input
        printf 'update refs/test/x %s %s\nupdate refs/test/y %s %s\ncreate refs/test/z %s\n' \
            "$new" "$old" "$new" "$old" "$new" >"$input"
    fi
}

value() { git rev-parse -q --verify "$1" || echo none; }

# What must be true right after the kill. Prints what is wrong.
check_killed() { # <what the run had printed>
    local id reachable
    reachable=$(git for-each-ref --format='%(objectname)' refs/shadow refs/shadow-old |
        git rev-list --stdin 2>&1) || echo "rev-list: $reachable"
    while read -r id; do
        case $reachable in *"$id"*) ;; *) echo "acknowledged $id is gone" ;; esac
    done <"$work/acknowledged"
    case $op in
        save | path-save)
            id=$(grep -xE '[0-9a-f]{40,64}' "$1" | tail -n 1)
            [ -z "$id" ] || case $reachable in *"$id"*) ;; *) echo "printed $id is gone" ;; esac
            ;;
        restore)
            [ "$(tree_now)" = "$before_tree" ] ||
                git for-each-ref --format='%(objectname)' refs/shadow refs/shadow-old |
                git rev-list --stdin --format=%T | grep -qx "$before_tree" ||
                echo 'what was there before the restore is nowhere'
            ;;
        swap | update | update-ref)
            case $(value refs/test/x) in "$old" | "$new") ;; *) echo "refs/test/x: $(value refs/test/x)" ;; esac
            ;;
        delete)
            case $(value refs/test/x) in "$old" | none) ;; *) echo "refs/test/x: $(value refs/test/x)" ;; esac
            ;;
        stdin)
            case $(value refs/test/x) in "$old" | "$new") ;; *) echo "refs/test/x: $(value refs/test/x)" ;; esac
            case $(value refs/test/y) in "$old" | "$new") ;; *) echo "refs/test/y: $(value refs/test/y)" ;; esac
            case $(value refs/test/z) in none | "$new") ;; *) echo "refs/test/z: $(value refs/test/z)" ;; esac
            ;;
    esac
    sound 'after the kill'
}

sound() {
    local report
    report=$(git fsck --strict --full --no-dangling --no-progress 2>&1) || echo "fsck $1: $report"
}

# The next run, without help.
check_next() {
    local out status
    case $op in
        swap | update | delete)
            # From what it holds now to something else.
            out=$(value refs/test/x)
            [ "$out" != none ] || out=''
            out=$(timeout "$patience" git-cas-ref refs/test/x "$third" "$out" 2>&1)
            ;;
        update-ref) out=$(timeout "$patience" git update-ref refs/test/x "$third" "$(value refs/test/x)" 2>&1) ;;
        stdin)
            out=$(for name in x y z; do
                id=$(value "refs/test/$name")
                if [ "$id" = none ]; then
                    echo "create refs/test/$name $third"
                else
                    echo "update refs/test/$name $third $id"
                fi
            done | timeout "$patience" git-cas-ref --stdin 2>&1)
            ;;
        *) out=$(timeout "$patience" "${run[@]}" 2>&1) ;;
    esac
    status=$?
    [ "$status" = 0 ] || echo "next run: status $status: $out"
    case $op in
        save)
            [ "$(git rev-parse "$shadow^{tree}")" = "$before_tree" ] || echo 'next save: not the tree of git'
            ;;
        path-save)
            [ "$(git rev-parse "$shadow:work1.txt")" = "$(git hash-object work1.txt)" ] ||
                echo 'next save: not the content of work1.txt'
            ;;
        restore)
            [ "$(tree_now)" = "$(git rev-parse "$first^{tree}")" ] || echo 'next restore: not the content'
            ;;
        *)
            [ "$(value refs/test/x)" = "$third" ] || echo "next swap: refs/test/x: $(value refs/test/x)"
            ;;
    esac
    # A save takes the debris of other killed saves away; a swap its own ref's.
    if [ "$op" != save ] && [ "$op" != path-save ]; then
        out=$(timeout "$patience" git-shadow-commit save 2>&1) || echo "next save: $out"
    fi
    # What no later run needs to touch, the next expire takes away.
    out=$(timeout "$patience" git-shadow-commit expire --keep 1000000 2>&1) || echo "expire: $out"
    sound 'after the next run'
    left=$(find .git \( -name '*.lock' -o -name 'tmp_interlock*' -o -name '*.intent' \) ! -path '*/interlock/locks/*.lock')
    [ -z "$left" ] || echo "debris: $left"
    for keep in .git/objects/pack/*.keep; do
        [ ! -e "$keep" ] || [ -e "${keep%.keep}.pack" ] || echo "debris: $keep"
    done
    # git's own, which its gc takes away after its grace.
    find .git/objects -name 'tmp_*' ! -name 'tmp_interlock*' >>"$here/gits-own"
}

shard() { # <first> <step>
    local n=$1 here=$work/shard.$1 wrong
    mkdir "$here"
    : >"$here/points"
    : >"$here/wrong"
    : >"$here/gits-own"
    while :; do
        rm -rf "$here/repo"
        cp -a "$work/template" "$here/repo"
        cd "$here/repo" || exit
        "$HELPER/killat" -n "$n" -o "$here/report" ${kill_args[@]+"${kill_args[@]}"} -- "${run[@]}" \
            <"$input" >"$here/out" 2>"$here/err"
        grep -q '^fired [0-9]' "$here/report" || break
        sed -n 's/^fired //p' "$here/report" >>"$here/points"
        wrong=$(check_killed "$here/out" && check_next)
        if [ -n "$wrong" ]; then
            { sed -n 's/^fired /at /p' "$here/report" && printf '%s\n' "$wrong"; } >>"$here/wrong"
        fi
        n=$((n + $2))
    done
}

# ---- run and report ---------------------------------------------------------------------

template
command_of
# How many there are, by us and by strace, each from a fresh copy.
rm -rf "$work/count" && cp -a "$work/template" "$work/count"
(cd "$work/count" && "$HELPER/killat" -c -o "$work/report" -- "${run[@]}" <"$input" >/dev/null 2>"$work/err") || {
    echo "kill-sweep.sh: $op fails without a kill: $(cat "$work/err")" >&2
    exit 3
}
total=$(sed -n 's/^calls //p' "$work/report")
returned=$(sed -n 's/^returned //p' "$work/report")
by_process=$(awk '/^process / { n[$3] += $4; c[$3]++ } 
    END { for (p in n) { printf "%s%d x %s %d", sep, c[p], p, n[p]; sep = ", " } }' "$work/report")
straced=none
if strace -o /dev/null true 2>/dev/null; then
    rm -rf "$work/count" && cp -a "$work/template" "$work/count"
    # As killat does: the leak checker of a sanitized build cannot trace what is traced.
    (cd "$work/count" && ASAN_OPTIONS=${ASAN_OPTIONS-detect_leaks=0} strace -f -c -o "$work/strace" "${run[@]}" <"$input" >/dev/null 2>&1)
    straced=$(awk '$NF == "total" { print $4 }' "$work/strace")
fi
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
own=$(cat "$work"/shard.*/gits-own | wc -l)
echo "$op $engine $hash $refs${kill_args[*]+ ${kill_args[*]}}: $points of $total points ($tried), $bad wrong;" \
    "in all $by_process; returned $returned, strace $straced; left to git's gc: $own files"
if [ "$straced" != none ]; then
    # Waiting and threads can differ by a few calls from run to run.
    awk "BEGIN { d = $returned - $straced; if (d < 0) d = -d; exit !(d <= 8 + 0.03 * $straced) }" || {
        echo "kill-sweep.sh: strace counts $straced calls, killat $returned" >&2
        bad=$((bad + 1))
    }
fi
if [ "$bad" != 0 ]; then
    cat "$work"/shard.*/wrong | head -n 40 >&2
    exit 1
fi
[ "$points" -gt 0 ]
