# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
# shellcheck shell=bash disable=SC2154,SC2016  # run's variables; pair's expressions
#
# hooks.sh: the rows about hooks. Sourced by run.
#
# What git pays for a hook is first of all a process. So each of ours is measured against a
# static program that does nothing, in its place; what no hook at all would cost is told
# beside it. GIT_NEW names the directory of another git, with which the rows are run again.

HOOK_ROWS=(hooks hookfetch hookcommit)
FETCH_REFS=10000

hook_names() {
    local program
    for program in "$build"/hooks/*; do
        case ${program##*/} in
        *.* | chain) ;;
        *) echo "${program##*/}" ;;
        esac
    done
}

# Ours as they are installed, in $hooked, and in $still what does nothing under the name of
# each hook. Both are copies: the kernel starts what a linker has just written, here and
# there, in more and smaller steps than a file that was written from its beginning to its end.
make_programs() {
    local hook
    hooked=$scratch/prefix/libexec/interlock still=$scratch/prefix/still
    [ ! -d "$still" ] || return 0
    mkdir -p "$hooked" "$still" "$scratch/prefix/bin" &&
        install -m 755 "$build"/git-* "$scratch/prefix/bin" &&
        install -m 755 "$build/hooks/chain" "$hooked" &&
        cc -O2 -g -static -o "$scratch/nothing" "$here/noop.c" || die "cannot build noop"
    for hook in $(hook_names); do
        install -m 755 "$build/hooks/$hook" "$hooked" &&
            install -m 755 "$scratch/nothing" "$still/$hook" || die "cannot copy the programs"
    done
}

# A repository with a commit, in which both sides of a row work in turn: two would lie in two
# places of the disk, and one may be slower for what was deleted there. Kept in it are, for
# take_side, the hooks and settings with ours as they are installed (ours), with ours that
# save (saves), with what does nothing in the place of each (noop), and as they were (none).
hook_repo() { # <name>
    local dir=$scratch/$1 link
    make_programs
    rm -rf "$dir" && new_repo "$dir" && cd "$dir" && echo x >file && git add file &&
        git commit -qm one || die "cannot make the repository '$1'"
    git config interlock.autoSave false
    keep_as none
    "$scratch/prefix/bin/git-interlock" install -q || die "install failed"
    keep_as ours
    git config interlock.autoSave true
    keep_as saves
    git config interlock.autoSave false
    sed -i "s|'$hooked/|'$still/|" .git/config
    for link in .git/hooks/*; do
        [ ! -L "$link" ] || ln -sf "$still/${link##*/}" "$link"
    done
    keep_as noop
}
keep_as() { # <kind>
    mkdir -p ".git/kinds/$1" && cp -a .git/config .git/hooks ".git/kinds/$1" ||
        die "cannot keep the hooks of row '$ROW'"
}

# inform <work> <compared with> <ours> <theirs> <ratio>: a figure without a reach.
inform() {
    printf '%s\t%s\t%s\t-\t%s\t%s\t%s\t-\t-\n' "$ROW" "$1" "$2" "$3" "$4" "$5" >>"$scratch/results"
    printf '%-11s %12s %14s   %7s ×\n' "$ROW" "$3" "$4" "$5"
}
inform_times() { # <work> <compared with>
    inform "$1" "$2" "$(pairs_median '$1 / 1e6' "$scratch/times" | milliseconds)" \
        "$(pairs_median '$2 / 1e6' "$scratch/times" | milliseconds)" \
        "$(pairs_median '$1 / $2' "$scratch/times" | awk '{ printf "%.3f", $1 }')"
}

# Runs a function with the git that is there and, with GIT_NEW, with that one too.
each_git() { # <function>
    local git name row=$ROW before=$PATH
    for git in '' ${GIT_NEW:+"$GIT_NEW"}; do
        PATH=${git:+$git:}$before
        name=$(git version | sed 's/^git version //; s/\([0-9]*\.[0-9]*\).*/git \1/')
        ROW=$row${git:+-new} GIT_NAME=$name "$1"
    done
    PATH=$before ROW=$row
}

# Each program by itself, called as git calls it, with nothing of ours to do.
row_hooks() {
    local hook row=$ROW id zero
    local -a args
    hook_repo hooks
    id=$(git rev-parse HEAD) zero=${id//?/0}
    for hook in $(hook_names); do
        args=()
        case $hook in
        reference-transaction) args=(prepared) ;;
        post-checkout) args=("$id" "$id" 1) ;;
        post-merge) args=(0) ;;
        post-rewrite) args=(rebase) ;;
        esac
        echo "$zero $id refs/heads/other" >"$scratch/hook.in"
        ROW=$hook times -w 20 -n "$((10 * fast_rounds))" -i "$scratch/hook.in" \
            ::: "$hooked/$hook" "${args[@]}" ::: "$still/$hook" "${args[@]}"
        ROW=$hook timed_row 'the hook, nothing of ours concerned' 'a static program that does nothing' '<= 1.15'
    done
    ROW=$row
}

make_fetch_source() {
    local n id
    new_repo "$1" && cd "$1" && echo x >file && git add file && git commit -qm one || return
    id=$(git rev-parse HEAD)
    for ((n = 0; n < FETCH_REFS; n++)); do
        echo "create refs/heads/topic/$n $id"
    done | git update-ref --stdin && git pack-refs --all --prune && cd "$top" || return
}

# A fetch that brings 10,000 refs.
row_hookfetch() {
    each_git fetch_with_hook
}
fetch_with_hook() {
    local fetch=(git fetch -q "$BENCH_DIR/fetch-$FETCH_REFS" '+refs/heads/*:refs/remotes/origin/*')
    local again="$steps take_side && rm -rf .git/refs/remotes .git/packed-refs"
    [ -z "$quick" ] || FETCH_REFS=200 fetch[3]=$BENCH_DIR/fetch-200
    make_once "fetch-$FETCH_REFS" make_fetch_source
    hook_repo fetch
    KIND_A=ours KIND_B=noop times -w 0 -n 1 -p "$again" -c "$steps check_fetch" \
        ::: "${fetch[@]}" ::: "${fetch[@]}"
    timed_row "$GIT_NAME: fetch of $FETCH_REFS refs, our hooks" 'hooks that do nothing' '<= 1.15'
    KIND_A=ours KIND_B=none times -w 0 -n 1 -p "$again" -c "$steps check_fetch" \
        ::: "${fetch[@]}" ::: "${fetch[@]}"
    inform_times "$GIT_NAME: fetch of $FETCH_REFS refs, our hooks" 'no hook at all'
}

# A commit goes through pre-commit, reference-transaction, post-commit, and more by git's own.
row_hookcommit() {
    each_git commit_with_hooks
}
commit_with_hooks() {
    local commit=(git commit -q --allow-empty -m x)
    hook_repo commit
    KIND_A=ours KIND_B=noop times -w 3 -n "$fast_rounds" -p "$steps take_side" \
        ::: "${commit[@]}" ::: "${commit[@]}"
    timed_row "$GIT_NAME: commit, all our hooks, automatic saves off" 'hooks that do nothing' '<= 1.15'
    KIND_A=ours KIND_B=none times -w 3 -n "$fast_rounds" -p "$steps take_side" \
        ::: "${commit[@]}" ::: "${commit[@]}"
    inform_times "$GIT_NAME: commit, all our hooks, automatic saves off" 'no hook at all'
    KIND_A=saves KIND_B=none times -w 3 -n "$fast_rounds" \
        -p "$steps take_side && echo \"\$SIDE \$ROUND\" >file" \
        ::: "${commit[@]}" -a ::: "${commit[@]}" -a
    inform_times "$GIT_NAME: commit, all our hooks, each saves a checkpoint" 'no hook at all'
}
