#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
#
# The lock protocol of a slot in every interleaving (F8): t/model/slot.pml, and the
# same without one of its steps, which must fail, or the check would prove nothing.

load helpers

# verify [<option of spin>...]: builds and runs the search; its report in $output.
verify() {
    local dir
    dir=$(mktemp -d "$BATS_TEST_TMPDIR/model.XXXXXX")
    cd "$dir" || return
    spin -a "$@" "$TOP/t/model/slot.pml"
    ${CC:-cc} -O2 -w -DSAFETY -DCOLLAPSE -o pan pan.c
    run timeout 100 ./pan -m100000
    [ "$status" -eq 0 ] || return # a search that did not end proves nothing
    [[ $output == *'Full statespace search'* ]]
}

# holds <option>...: searched to the end, and nothing was found.
holds() {
    verify "$@"
    [[ $output == *'errors: 0'* ]]
    [[ $output != *'Search not completed'* && $output != *'max search depth too small'* ]]
}

# fails_with <assertion> <option>...
fails_with() {
    local what=$1
    shift
    verify "$@"
    [[ $output == *"assertion violated $what"* ]]
}

@test "F8 model: claimers, reapers and crashes: one owner, of what the name leads to, and no live work is touched" {
    holds
    holds -DCLAIMERS=3
}

@test "F8 F7 model: without the identity check it fails" {
    fails_with '(name==i)' -DNO_IDENTITY
}

@test "F8 F7 model: without asking who is inside it fails" {
    fails_with '(inside[i]==0)' -DNO_INSIDE
}

@test "F8 F7 model: without the lock, with the record alone, it fails" {
    fails_with '(owns==1)' -DNO_LOCK
}
