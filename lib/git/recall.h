/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * recall: the few objects that the next save will want, as one text.
 *
 * To add a checkpoint takes the commit at the tip, the commit of HEAD, and the
 * trees above what changed, mostly the same ones as last time. In the object
 * database they stand in as many packs as there are, and each of these would be
 * opened for it. So a save leaves them in the note of its chain, and the next one
 * finds them there whatever the number of packs is.
 *
 *	struct recall *recall = recall_new(algo);
 *
 *	recall_load(recall, text, len);
 *	odb->recall = recall;			odb_read() asks and tells it
 *	recall_put(recall, ...);		what the new checkpoint consists of
 *	recall_write(recall, &text);
 *	recall_free(recall);
 *
 * It cannot lie: an object is only given out when its content has the id that was
 * asked for. What is damaged, or cut off, counts as not there.
 *
 * It stays small: trees of the tip that were asked for are what the new ones
 * replace, and go; anything else goes when several saves in a row did not ask for
 * it; and there is a limit in bytes. Not thread-safe.
 */
#ifndef RECALL_H
#define RECALL_H

#include "bytes.h"
#include "oid.h"

#define RECALL_MAX ((size_t)192 << 10) /* bytes of a whole text; larger ones are not written */

struct recall;

struct recall *recall_new(enum hash_algo algo);
void recall_free(struct recall *recall);

/* Takes in a text, in place of the last one that was loaded. */
void recall_load(struct recall *recall, const char *text, size_t len);

/* Replaces `out` with the content; false when it is not known here. */
bool recall_get(struct recall *recall, const struct oid *oid, enum object_type *type,
		struct bytes *out);

/* An object that was read elsewhere and may be wanted again. Only commits and trees are. */
void recall_saw(struct recall *recall, const struct oid *oid, enum object_type type,
		const struct bytes *content);

/* An object that is new, and part of the new tip. */
void recall_put(struct recall *recall, const struct oid *oid, enum object_type type,
		const void *data, size_t len);

/* Appends what the next save may want. */
void recall_write(const struct recall *recall, struct bytes *out);

#endif
