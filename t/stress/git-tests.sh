#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# git-tests.sh: git's own tests, without our hooks and with all of them (G1).
#
#   GIT_SRC=<git's source, built> t/stress/git-tests.sh [-k] [-l] [<script>...]
#
# Runs each of git's test scripts twice: as it is, and with our hooks installed for all of
# the user's repositories, so in every one that the tests make; automatic saves are off, for
# the refs that git's tests count. Then each test's result is compared with its twin's. A
# difference has to show in a second run as well. Those that are known, and right, stand at
# the end of this file with their reasons.
#
# The hooks are put in by our own installer. What it writes as the user's settings is given
# to the tests as the system's: their own library reads none, and is told otherwise in a
# copy. With an older git that is a core.hooksPath and a folder of ours, behind which the
# hooks of each repository run, those that the tests write themselves included; with a newer
# one it is git's settings. Every call of a hook is counted.
#
#   <script>   names or beginnings of names: t1400, t24; all of the list below
#   -k         keep what each test has said
#   -l         list the scripts
#   B          build folder (build)       JOBS       scripts at once (2)
#   LIMIT      seconds for one script (1200)
#
# Exit status: 0 the same, 1 a difference that is not listed, 2 nothing was proved.
set -u
caller_path=$PATH
# shellcheck source=t/isolate.bash
. "$(dirname "${BASH_SOURCE[0]}")/../isolate.bash"
caller_src=${GIT_SRC:-}

# refs, reflogs, hooks, worktrees, notes, rebase, stash, push and fetch, gc, submodules
SCRIPTS=(t060 t061 t1400 t1401 t1403 t1404 t1405 t1406 t1407 t1408 t1409 t141 t142 t143 t146
    t1800 t240 t3200 t3210 t330 t3311 t34 t3903 t3904 t3905 t3906 t3907 t3908 t3909
    t540 t541 t550 t551 t552 t553 t554 t557 t6500 t6501 t7400 t7402 t7403 t7406 t7407 t7408
    t7412 t7501 t7502 t7503 t7504 t7505 t7507 t7600 t7900)

die() {
    echo "git-tests.sh: $*" >&2
    exit 2
}

# ---- one script, one way -----------------------------------------------------------------

# run_one <way> <script>: its TAP in $work/<way>/<script>.tap, the calls beside it.
run_one() {
    local way=$1 script=$2 out=$work/$1/$2
    rm -f "$out.calls"
    : >"$out.calls"
    mkdir -p "$work/$way/results" "$work/$way/trash.$script"
    (
        cd "$work/git/t" || exit
        exec 3>&- </dev/null
        export HOOKCOUNT=$out.calls TEST_SYSTEM_CONFIG=$work/$way/system
        export TEST_OUTPUT_DIRECTORY=$work/$way/results
        exec timeout "$limit" sh "./$script" --root="$work/$way/trash.$script"
    ) >"$out.tap" 2>&1
    echo "# exit status $?" >>"$out.tap"
    chmod -R u+rwx "$work/$way/trash.$script" 2>/dev/null
    rm -rf "$work/$way/trash.$script"
}

# "<result> <number> - <title>" of each test, results that count: ok, not ok, skipped, known.
results() { # <tap>
    awk '
        /^ok [0-9]+ .*# skip/ { sub(/^ok /, ""); sub(/ *# skip.*/, ""); print "skipped", $0; next }
        /^not ok [0-9]+ .*# TODO/ { sub(/^not ok /, ""); print "known", $0; next }
        /^ok [0-9]+ / { sub(/^ok /, ""); sub(/ *# TODO.*/, ""); print "ok", $0; next }
        /^not ok [0-9]+ / { sub(/^not ok /, ""); print "failed", $0; next }
        /^# exit status (124|137)/ { print "failed", "- the time was up" }
        /^1\.\.0/ { print "skipped", "- all of it" }' "$1" |
        sed "s|$work/[a-z]*/||" # a title that names the place
}

# Differences between the two ways: "<title>: <without> <with>".
differences() { # <script>
    results "$work/plain/$1.tap" >"$work/plain/$1.results"
    results "$work/hooks/$1.tap" >"$work/hooks/$1.results"
    awk '{ result = $1; sub(/^[^ ]+ /, "") }
        FNR == NR { plain[$0] = result; next }
        { hooks[$0] = result }
        END {
            for (t in plain) if (plain[t] != hooks[t])
                printf "%s: %s without, %s with\n", t, plain[t], t in hooks ? hooks[t] : "missing"
            for (t in hooks) if (!(t in plain)) printf "%s: missing without, %s with\n", t, hooks[t]
        }' "$work/plain/$1.results" "$work/hooks/$1.results" | sort -n
}

# Both ways, and once more when they differ: a test of git's that is unsteady is none of ours.
judge() { # <script>
    local script=$1
    run_one plain "$script"
    run_one hooks "$script"
    differences "$script" >"$work/$script.differs"
    if [ -s "$work/$script.differs" ]; then
        cp "$work/hooks/$script.tap" "$work/hooks/$script.first"
        mv "$work/$script.differs" "$work/$script.once"
        run_one plain "$script"
        run_one hooks "$script"
        differences "$script" | grep -Fx -f "$work/$script.once" >"$work/$script.differs"
    fi
    printf '%-42s %5d tests %4d failed either way %7d calls%s\n' "$script" \
        "$(wc -l <"$work/plain/$script.results")" \
        "$(cat "$work/plain/$script.results" "$work/hooks/$script.results" | sort | uniq -d |
            grep -c '^failed')" \
        "$(wc -l <"$work/hooks/$script.calls")" \
        "$([ ! -s "$work/$script.differs" ] || printf '  %d differ' "$(wc -l <"$work/$script.differs")")"
}

if [ "${1-}" = --one ]; then # from ourselves, through xargs
    work=$GIT_TESTS_WORK limit=$GIT_TESTS_LIMIT
    judge "$2"
    exit 0
fi

# ---- what is run, and with what ------------------------------------------------------------

keep='' list=''
while getopts kl opt; do
    case $opt in
        k) keep=1 ;;
        l) list=1 ;;
        *) exit 129 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -eq 0 ] || SCRIPTS=("$@")
limit=${LIMIT:-1200}

[ -n "$caller_src" ] && [ -x "$caller_src/git" ] ||
    die "GIT_SRC='$caller_src' is no source tree of git's that was built (make NO_CURL=1 all)"
src=$(cd "$caller_src" && pwd)
scripts=()
for beginning in "${SCRIPTS[@]}"; do
    for script in "$src/t/$beginning"*.sh; do
        [ ! -f "$script" ] || scripts+=("${script##*/}")
    done
done
[ ${#scripts[@]} -gt 0 ] || die 'no such script'
if [ -n "$list" ]; then
    printf '%s\n' "${scripts[@]}"
    exit 0
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/git-tests.XXXXXX") || exit
end() {
    cd /
    chmod -R u+rwx "$work" 2>/dev/null
    [ -n "$keep" ] && echo "kept: $work" || rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM
isolate_in "$work"
mkdir "$work/plain" "$work/hooks" "$work/git" "$work/interlock"

# git's tree as it is, but for a copy of its tests, whose library reads the settings it is given.
for entry in "$src"/* "$src"/.[!.]*; do
    [ "${entry##*/}" = t ] || ln -s "$entry" "$work/git/"
done
cp -a "$src/t" "$work/git/t" || exit
rm -rf "$work"/git/t/trash* "$work/git/t/test-results"
sed -i 's/^GIT_CONFIG_NOSYSTEM=1$/unset GIT_CONFIG_NOSYSTEM; GIT_CONFIG_SYSTEM=$TEST_SYSTEM_CONFIG; export GIT_CONFIG_SYSTEM/
    s/^export PATH \(.*\) GIT_CONFIG_NOSYSTEM/export PATH \1/' "$work/git/t/test-lib.sh"
grep -q '^unset GIT_CONFIG_NOSYSTEM' "$work/git/t/test-lib.sh" ||
    die "the library of git's tests is another one than this knows"

# Our own installer puts the hooks in, and each of them behind a counter.
export PATH=$src/bin-wrappers:$BIN:$caller_path
[ -x "$HELPER/hookcount" ] || die "build first: make test-build"
for program in "$BIN"/hooks/*; do
    case ${program##*/} in *.*) ;; *) cp "$HELPER/hookcount" "$work/interlock/${program##*/}" ;; esac
done
echo "$BIN/hooks" >"$work/interlock/programs"
git config --global --unset-all user.name
git-interlock install --global >"$work/installed" 2>&1 || die "install: $(cat "$work/installed")"
: >"$work/plain/system"
# Only what the install has put there.
git config --global -z --list | perl -0ne '
    chomp; my ($key, $value) = split /\n/, $_, 2;
    next unless $key =~ /^(core\.hookspath|hook\.|transfer\.)/;
    $value =~ s!\Q'"$BIN"'/hooks/\E!'"$work"'/interlock/!g;
    system("git", "config", "--file", "'"$work"'/hooks/system", "--add", $key, $value)' || exit
git config --file "$work/hooks/system" interlock.autoSave false
folder=$(git config --file "$work/hooks/system" core.hooksPath) && for link in "$folder"/*; do
    [ ! -L "$link" ] || ln -sf "$work/interlock/$(basename "$(readlink "$link")")" "$link"
done
git version
cat "$work/hooks/system"

# ---- run and compare -------------------------------------------------------------------------

export GIT_TESTS_WORK=$work GIT_TESTS_LIMIT=$limit
printf '%s\0' "${scripts[@]}" | xargs -0 -n 1 -P "${JOBS:-2}" bash "${BASH_SOURCE[0]}" --one

total() { cat "$work"/plain/*.results | grep -c "$@"; }
echo
echo "${#scripts[@]} scripts, $(total '') tests: $(total '^ok') ok, $(total '^skipped') skipped," \
    "$(total '^known') known to fail, $(total '^failed') failed without our hooks"
echo "calls of our hooks, by name and first argument:"
cat "$work"/hooks/*.calls | awk '
    { key = $1 == "reference-transaction" ? $1 " " $2 : $1; n[key]++ }
    END { for (key in n) printf "  %8d %s\n", n[key], key }' | sort -k2
[ "$(cat "$work"/hooks/*.calls | grep -c '^reference-transaction prepared')" -gt 0 ] ||
    die 'our hooks were never called: nothing was proved'

# <script> <tab> <regular expression for the title> <tab> <reason>
known() {
    sed -n '/^: <<.KNOWN.$/,/^KNOWN$/p' "${BASH_SOURCE[0]}" | grep -v '^:\|^KNOWN$\|^$'
}

status=0
for script in "${scripts[@]}"; do
    while IFS= read -r line; do
        reason=$(known | while IFS=$'\t' read -r of title why; do
            [[ $script == "$of"* && $line =~ $title ]] && echo "$why" && break
        done)
        if [ -n "$reason" ]; then
            printf 'listed  %s %s\n        %s\n' "$script" "$line" "$reason"
        else
            printf 'DIFFERS %s %s\n' "$script" "$line"
            status=1
        fi
    done <"$work/$script.differs"
done
[ "$status" != 0 ] || echo 'the same with our hooks as without'
exit "$status"

# ---- what differs, and is right to do so -------------------------------------------------------

: <<'KNOWN'
t1416	interleaving hook calls succeed	a hook prints $0: git calls ours by its path in the folder, and ours calls it by an absolute one
t1800	git hook run: (basic|stdout|exit code)|pass arguments|core.hooksPath=<PATH> hook run	with an older git, `git hook run <name>` looks in the folder, which has the names that git itself calls
t1800	git hook list|by hook_exists|configured hooks run before hookdir hook	they ask for all pre-commit hooks that there are, and ours is one
t5411	proc-receive: no hook, (fail to push|all failed)	with an older git: the push fails as it should, in other words, as the folder has the name of that hook
KNOWN
