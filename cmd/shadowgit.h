/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * shadowgit: handing a checkpoint to git's own log, show and diff, and the
 * record that --json and -z print for one.
 */
#ifndef SHADOWGIT_H
#define SHADOWGIT_H

#include "argv.h"
#include "bytes.h"
#include "checkpoint.h"
#include "out.h"

/*
 * Becomes `git <args>` on our own streams, with the graft text (may be empty) in
 * force. Returns only when that failed.
 */
int shadow_exec_git(const struct argv *args, const struct bytes *grafts, struct fail *fail);

/* Options by which git log shows only this session's checkpoints. */
void shadow_session_filter(const char *session, struct argv *args);

/* One checkpoint as a record (CONTRACT, log). */
void shadow_record(struct out *out, const struct checkpoint *cp);

/* Does what stands at `path` (from the current directory) differ between two trees? */
int shadow_path_differs(struct odb *odb, const struct oid *a, const struct oid *b, const char *path,
			bool *differs, struct fail *fail);

#endif
