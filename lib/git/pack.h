/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * pack: what a save writes, in one small pack that no prune or gc may take.
 *
 * A loose object that nothing refers to yet can be deleted by a prune whose walk
 * began before the swap. A pack with a .keep beside it is touched by no prune,
 * repack or gc. So a save puts everything it needs into one pack of its own:
 *
 *	pack_begin(repo, &pack, fail);
 *	pack_add(pack, ...);			// blobs and trees, outside the lock
 *	pack_prepare(pack, 1, fail);		// one more to come: the commit
 *		// under the ref's lock:
 *		pack_add(pack, ...commit...);
 *		pack_publish(pack, fail);
 *		// swap; when it is lost: a new pack with only the new commit
 *	pack_free(pack);
 *	pack_consolidate(repo, fail);		// not under the ref's lock
 *
 * Crash story (P = "pack-<trailer hash>" in <objects>/pack):
 *   1. unnamed files grow (O_TMPFILE)      -> killed: the kernel frees them
 *      without O_TMPFILE: ".tmp-interlock-<nonce>", flocked by its writer
 *                                          -> killed: pack_sweep() gets the lock,
 *                                             so the writer is dead, and deletes
 *   2. P.keep appears, whole (packkeep.h)  -> killed: a .keep without a pack,
 *                                             deleted by pack_sweep()
 *   3. P.pack appears, whole               -> killed: nobody sees it yet;
 *                                             pack_sweep() gives it its .idx
 *   4. P.idx appears, whole                -> killed before the ref moves: a
 *                                             kept pack that nothing refers to;
 *                                             merged by consolidation, dropped
 *                                             by expire
 *   5. the caller swaps the ref            -> acknowledged
 * A failure before 4 takes back 3 and 2. After 4 nothing is ever taken back: a
 * repack may already have left an object out because it is in a kept pack.
 *
 * Consolidation and expire publish the new pack N as above, and then
 *   6. drop a multi-pack-index that names an old pack (git's repack does so too)
 *   7. unlink each old pack O: O.idx, O.pack, O.keep
 *        O.idx goes first:  a reader that starts now does not see O, but N. One
 *                           that has O.idx open finds O.pack gone and looks
 *                           again: git re-reads the directory, libgit2 1.5.1
 *                           refreshes once when an object is not found. (From a
 *                           multi-pack-index it goes to the .idx first, and says
 *                           "not found" for a missing .idx, but fails for a
 *                           missing .pack.)
 *        O.keep goes last:  as long as there is an O.pack, a repack that lists
 *                           packs sees that it is kept. Without .keep it would
 *                           copy O's objects, unreachable ones too.
 *      Killed in 7: O.pack without .idx is seen by nobody; pack_sweep() gives it
 *      back its .idx and the next merge finds only duplicates in it.
 * Between N and 7 every object is in a kept pack at every moment.
 *
 * What remains: `git gc` deletes P.idx and P.keep when its scan of the directory
 * saw P.idx but not P.pack. One read of a directory is atomic up to 32 KiB of
 * names (some 450 files), which is one more reason to keep our packs few. git's
 * own fetch has the same gap.
 *
 * Writers hold the "objects" lock shared from before they read the previous
 * checkpoint until after the swap; only expire, which drops objects, takes it
 * exclusively. Consolidation drops no object and needs only the "pack" lock.
 * Order: "objects" before "pack".
 */
#ifndef PACK_H
#define PACK_H

#include "fail.h"
#include "oid.h"

#include <time.h>

struct repo;
struct pack;

/* Starts a pack, in memory until it has grown to PACK_SPILL bytes, then in a file. */
#define PACK_SPILL ((size_t)1 << 20)
int pack_begin(struct repo *repo, struct pack **pack, struct fail *fail);

/*
 * Adds an object; one that is already in this pack is left out. After a failure
 * the pack can only be freed.
 */
int pack_add(struct pack *pack, const struct oid *oid, enum object_type type, const void *data,
	     size_t len, struct fail *fail);
bool pack_has(const struct pack *pack, const struct oid *oid);
size_t pack_count(const struct pack *pack);
uint64_t pack_bytes(const struct pack *pack);	/* of uncompressed content */
const char *pack_base(const struct pack *pack); /* "pack-<hash>"; "" until it is published */

/*
 * Does what it can of pack_publish() beforehand, outside any lock: opens the
 * files, writes (and with durability = full syncs) what is there, hashes and
 * sorts it. `more` is how many objects will still be added. Another number costs
 * time and nothing else. May be left out, and called again.
 */
int pack_prepare(struct pack *pack, size_t more, struct fail *fail);

/* Steps 2 to 4. With no object in it nothing is written. A pack is published once. */
int pack_publish(struct pack *pack, struct fail *fail);

/* Frees; what was not published is gone. NULL is fine. */
void pack_free(struct pack *pack);

/*
 * Merges our packs geometrically: a save's pack has level 0, and PACK_FAN_IN
 * packs of one level become one of the next. So n saves leave some
 * 8 * log8(n) packs of three files, and a byte is copied log8(n) times. A pack
 * over PACK_MERGE_MAX stays as it is, which bounds what one merge copies.
 *
 * Entries are copied as they are, each checked against its CRC; an object that
 * several packs have is copied once. There are no deltas in our packs, and none
 * are made: what a merge copies then never depends on anything outside it.
 *
 * Under the "pack" lock; one that is busy means that somebody else does it.
 * Never drops an object. A pack that cannot be read is left alone, the others
 * are merged, and it is reported (FAIL_CORRUPT); a save need not fail for that.
 */
#define PACK_FAN_IN 8
#define PACK_MERGE_MAX ((uint64_t)256 << 20)
int pack_consolidate(struct repo *repo, struct fail *fail);

/*
 * Rewrites our packs with only the objects for which `keep` is true. The caller
 * holds the "objects" lock exclusively.
 *
 * `keep` must be true for everything that any ref, reflog, index or HEAD reaches,
 * the user's included, wherever else it is stored: git writes no second copy of
 * an object that it finds in our packs, and a repack drops the copies in its own
 * packs. A git that found an object so a moment ago, and has not yet made
 * it reachable, has touched the .pack's mtime: packs that were used at or after
 * `used_since` are left whole. Merged packs inherit the newest mtime.
 *
 * A pack that cannot be read is left alone; the first such failure is returned
 * after the others are done. `bytes_freed` is counted in bytes on disk.
 */
typedef bool pack_keep(void *arg, const struct oid *oid);
int pack_filter(struct repo *repo, pack_keep *keep, void *arg, time_t used_since,
		uint64_t *bytes_freed, struct fail *fail);

/*
 * Removes or completes what killed writers left: temporary files, a .keep
 * without a pack, a pack without its .idx, a multi-pack-index that names packs
 * which are gone. FAIL_BUSY when a merge goes on past the lock timeout.
 *
 * What could be a live writer's next step (2 to 4) is judged only under the
 * "objects" lock: `exclusive` says that the caller has it exclusively; else it
 * is tried without waiting, and while somebody saves those are left for later.
 */
int pack_sweep(struct repo *repo, bool exclusive, struct fail *fail);

#endif
