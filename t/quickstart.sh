#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# quickstart: shows the main job on real files, and proves what it shows.
#
#   t/quickstart.sh [<build folder>]
#
# Works in a temporary folder, which it removes; KEEP=1 leaves it there.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$top" && cd "${1:-build}" && pwd)
agents=8 saves=8

bold='' plain=''
if [ -t 1 ]; then
    bold=$'\e[1m' plain=$'\e[0m'
fi

tell() {
    printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

# Shows a command as one would type it, then runs it; it has to print something.
show() {
    local word
    printf '  $'
    for word; do
        [[ $word == *[[:space:]]* ]] && word="'$word'"
        printf ' %s' "$word"
    done
    echo
    "$@" >"$place/shown"
    [ -s "$place/shown" ] || fail "'$*' printed nothing"
    sed 's/^/    /' "$place/shown"
}

proved() {
    printf '  ok  %s\n' "$*"
}

fail() {
    printf 'quickstart: %s\n' "$*" >&2
    exit 1
}

place=$(mktemp -d "${TMPDIR:-/tmp}/interlock quickstart.XXXXXX")
finish() {
    local status=$?
    cd /
    if [ -n "${KEEP:-}" ]; then
        printf '\nkept: %s\n' "$place"
    else
        rm -rf "$place"
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The repository's own settings only: not the user's hooks, signing or pager.
unset "${!GIT_@}" XDG_CONFIG_HOME
mkdir "$place/home" "$place/project" "$place/saved"
export HOME=$place/home PATH=$build:$PATH LC_ALL=C GIT_PAGER=cat
cd "$place/project"

# ---- a project of real files --------------------------------------------------

# copy_files <folder> <at most>: those nearest to the top first.
copy_files() {
    find "$1" -type f ! -name '.git*' -size -200k -readable -printf '%d %p\0' 2>/dev/null |
        sort -zn -k1,1 -k2 | cut -zd' ' -f2- | sed -zn "1,$2p" | xargs -0r cp --parents -t .
}
copy_files /usr/include 2000
copy_files /usr/share/doc 1200
copy_files /usr/share/common-licenses 100
chmod -R u+rw .
mkdir agents
for ((a = 1; a <= agents; a++)); do
    echo "agent $a: nothing done yet" >"agents/$a.txt"
done
git -c init.defaultBranch=main init -q
git config user.name 'A Newcomer'
git config user.email newcomer@example.org
git add -A
git commit -qm 'the system headers and documents'
files=$(git ls-files | wc -l)
[ "$files" -ge 2000 ] || fail "found only $files files in /usr/include and /usr/share/doc"
[ -f usr/include/stdio.h ] || fail "/usr/include/stdio.h is missing: install libc6-dev"
tell "A project: $files of this system's own headers and documents, committed."

# What no checkpoint may change. A status that refreshes the index would change it.
untouched() {
    sha256sum .git/index .git/HEAD .git/logs/HEAD .git/refs/heads/main
    stat -c '%n %y' .git/index .git/HEAD
}
untouched >"$place/before"
still_untouched() {
    untouched | cmp -s - "$place/before" || fail "the index, HEAD or its reflog changed"
}

# ---- many processes at once -----------------------------------------------------

tell "You have unsaved work, and $agents agents work in the same folder."
echo 'an idea that is not committed yet' >idea.txt
show git shadow-commit save -m 'before the agents start'

agent() {
    local s id
    for ((s = 1; s <= saves; s++)); do
        echo "agent $1: step $s" >>"agents/$1.txt"
        id=$(git shadow-commit save -q --session "agent-$1" -m "agent $1, step $s" \
            -- "agents/$1.txt")
        echo "$id $1 $s"
    done >"$place/saved/$1"
}

tell "Each agent edits its own file and saves, $saves times, all of them at once."
printf "  $ git shadow-commit save --session agent-1 -m 'agent 1, step 1' -- agents/1.txt\n"
printf '    ... and so on, by %s processes\n' "$agents"
started=$(date +%s%N)
pids=()
for ((a = 1; a <= agents; a++)); do
    agent "$a" &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid" || fail "a save failed"
done
took=$((($(date +%s%N) - started) / 1000000))

total=$((agents * saves))
cat "$place/saved"/* >"$place/acknowledged"
acknowledged=$(cut -d' ' -f1 "$place/acknowledged" | sort -u | wc -l)
[ "$acknowledged" -eq "$total" ] || fail "$acknowledged of $total saves gave a checkpoint of their own"
proved "$acknowledged checkpoints acknowledged in $took ms"

git shadow-commit log --format=%H | sort >"$place/log"
found=$(cut -d' ' -f1 "$place/acknowledged" | sort | comm -12 - "$place/log" | wc -l)
[ "$found" -eq "$total" ] || fail "$found of $total checkpoints are in the log"
proved "$found of them found in the log"

while read -r id a s; do
    last=$(git show "$id:agents/$a.txt" | tail -n 1)
    [ "$last" = "agent $a: step $s" ] || fail "checkpoint $id does not hold agent $a's step $s"
done <"$place/acknowledged"
proved 'each holds what its own agent had just written'

want=$(for ((a = 1; a <= agents; a++)); do echo " M agents/$a.txt"; done && echo '?? idea.txt')
[ "$(git --no-optional-locks status --porcelain)" = "$want" ] || fail "git status is not as expected"
still_untouched
proved 'index, HEAD and git status are as if nobody had saved'

# ---- looking back -----------------------------------------------------------------

tell 'What was saved, newest first:'
show git shadow-commit log -5 --format='%h %s'
tell 'What changed over the last three checkpoints:'
show git shadow-commit diff '@{3}' '@{0}' --stat

# ---- a disaster ---------------------------------------------------------------------

contents() {
    find . -path ./.git -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sort
}
good=$(git shadow-commit save -q -m 'all agents are done')
contents >"$place/contents"

tell "A script goes wrong: the agents' work, your idea and all documents are gone."
printf '  $ rm -rf agents idea.txt usr/share/doc; echo garbage > usr/include/stdio.h\n'
rm -rf agents idea.txt usr/share/doc
echo garbage >usr/include/stdio.h
lost=$(contents | comm -13 - "$place/contents" | wc -l)
printf '    %s files lost or damaged; git has never seen some of them\n' "$lost"
printf '  $ git shadow-commit restore %s\n' "${good:0:10}"
git shadow-commit restore "$good" >"$place/restore" 2>&1 || {
    cat "$place/restore" >&2
    fail 'restore failed'
}
grep -i undo "$place/restore" | sed 's/^/    /' || true

contents | cmp -s - "$place/contents" || fail 'what was restored differs from what was saved'
still_untouched
proved "$lost files are back, byte for byte (sha256sum)"

# ---- a worktree of one's own ------------------------------------------------------------

tell 'Each agent gets a worktree of its own, and nobody else gets that one.'
printf '  $ wt=$(git worktree-claim)\n'
started=$(date +%s%N)
wt=$(git worktree-claim) || fail 'claim failed'
took=$((($(date +%s%N) - started) / 1000000))
[ -z "$(git -C "$wt" status --porcelain)" ] || fail "'$wt' is not clean"
proved "a clean worktree with $files files in $took ms"
for ((a = 1; a <= agents; a++)); do
    git worktree-claim -q >"$place/saved/wt.$a" &
done
wait
[ "$(sort -u "$place"/saved/wt.* | wc -l)" -eq "$agents" ] || fail "$agents claims did not give $agents worktrees"
proved "$agents claims at once gave $agents more, each another one"
show git worktree-claim list

tell 'An agent is killed in the middle of its work; the next claim, or a reap, finds it.'
git worktree-claim -q --pool killed -- sh -c 'echo half-done >result.txt; kill -9 $PPID' 2>/dev/null || true
for ((t = 0; t < 200; t++)); do
    case $(git worktree-claim list --pool killed) in *orphaned*) break ;; esac
    sleep 0.05
done
show git worktree-reap
rescue=$(git for-each-ref --format='%(refname)' refs/rescue)
[ "$(git show "$rescue:result.txt")" = half-done ] || fail "the killed agent's work is lost"
proved "what it had written is under ${rescue%/*}/"

git fsck --strict --no-dangling --no-progress >"$place/fsck" 2>&1 || fail "git fsck: $(<"$place/fsck")"
[ ! -s "$place/fsck" ] || fail "git fsck: $(<"$place/fsck")"
proved 'git fsck --strict finds nothing to say'

tell "Proved: $agents processes saved $total checkpoints at once and none was lost; index, HEAD" \
    "and status were not touched; $lost destroyed files came back identical; $((agents + 2)) worktrees were" \
    "leased, none twice, and a killed agent's work was rescued."
