#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# recipe.sh: the checkpoint that a careful script makes with git alone, which is
# what git-shadow-commit is compared with.
#
#   sh recipe.sh <ref>      in the top folder of a main worktree
#
# It is written to be as fast as a script can be: the copy of the index keeps its
# stat data (and, with -p, its time, without which same-second edits are missed),
# the ref is read without starting a process, and the copy is left for the next
# call to overwrite. Two at once lose checkpoints: see throughput.sh for the lock.
set -e
ref=$1
parent=
GIT_INDEX_FILE=.git/recipe-index
export GIT_INDEX_FILE

cp -p .git/index "$GIT_INDEX_FILE"
git add -A
tree=$(git write-tree)
[ ! -f ".git/$ref" ] || read -r parent <".git/$ref"
commit=$(git commit-tree ${parent:+-p "$parent"} -m checkpoint "$tree")
git update-ref "$ref" "$commit" "$parent"
echo "$commit"
