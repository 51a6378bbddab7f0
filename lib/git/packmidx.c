/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "packmidx.h"

#include "file.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD_SIZE 12
#define CHUNK_ROW 12
#define NAMES_MAX ((uint64_t)64 << 20)

static const char single[] = "multi-pack-index";
static const char chain_dir[] = "multi-pack-index.d";
static const char chain_file[] = "multi-pack-index-chain";

static bool read_at(int fd, uint64_t offset, size_t len, struct bytes *out)
{
	bytes_clear(out);
	bytes_reserve(out, len);
	while (out->len < len) {
		ssize_t n =
			pread(fd, out->data + out->len, len - out->len, (off_t)(offset + out->len));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		out->len += (size_t)n;
	}
	out->data[len] = '\0';
	return true;
}

static uint64_t get64(const char *p)
{
	uint64_t big;

	memcpy(&big, p, sizeof(big));
	return be64toh(big);
}

/* Reads the chunk of pack names; false when the file is not as git writes it. */
static bool read_names(int fd, struct bytes *names)
{
	struct bytes table = BYTES_INIT;
	uint64_t from = 0, to = 0;
	size_t chunks;
	bool found = false;

	if (!read_at(fd, 0, HEAD_SIZE, &table) || memcmp(table.data, "MIDX", 4) != 0)
		goto done;
	chunks = (uint8_t)table.data[6];
	if (!read_at(fd, HEAD_SIZE, (chunks + 1) * CHUNK_ROW, &table))
		goto done;
	for (size_t i = 0; i < chunks && !found; i++)
		if (!memcmp(table.data + i * CHUNK_ROW, "PNAM", 4)) {
			from = get64(table.data + i * CHUNK_ROW + 4);
			to = get64(table.data + (i + 1) * CHUNK_ROW + 4);
			found = true;
		}
	found = found && from <= to && to - from <= NAMES_MAX &&
		read_at(fd, from, (size_t)(to - from), names);
done:
	bytes_release(&table);
	return found;
}

static bool any_name(const struct bytes *names, packmidx_test *test, void *arg)
{
	const char *p = names->data, *end = names->data + names->len;
	bool hit = false;

	/* The chunk is padded with NULs. */
	for (; p < end && !hit; p += strlen(p) + 1) {
		char *base = mem_strdup(p);
		char *dot = strrchr(base, '.');

		if (dot)
			*dot = '\0';
		hit = *base && test(arg, base);
		free(base);
	}
	return hit;
}

/* Does the file `name` name such a pack? One that is not there, or not git's, does not. */
static bool file_has(int dir, const char *name, packmidx_test *test, void *arg)
{
	struct fail ignored = FAIL_INIT;
	struct bytes names = BYTES_INIT;
	int fd = file_open(dir, name, O_RDONLY, NULL, &ignored);
	bool hit;

	if (fd < 0)
		return false;
	hit = read_names(fd, &names) && any_name(&names, test, arg);
	close(fd);
	bytes_release(&names);
	return hit;
}

static int drop(int dir, const char *name, struct fail *fail)
{
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return fail_errno(fail, "delete '%s'", name);
	return 0;
}

/* The files beside it are named after its content and mean nothing without it. */
static int drop_single(int dir, struct fail *fail)
{
	struct bytes names = BYTES_INIT;

	if (drop(dir, single, fail) < 0 || file_each_name(dir, &names, fail) < 0)
		goto done;
	for (const char *p = names.data; !fail->kind && p < names.data + names.len;
	     p += strlen(p) + 1)
		if (!strncmp(p, "multi-pack-index-", 17))
			drop(dir, p, fail);
done:
	bytes_release(&names);
	return fail->kind;
}

/* Without the list of its layers a chain is nothing; git deletes the layers. */
static int drop_chain_if(int dir, packmidx_test *test, void *arg, struct fail *fail)
{
	struct fail ignored = FAIL_INIT;
	struct bytes names = BYTES_INIT;
	int sub = file_open_dir(dir, chain_dir, &ignored);
	bool hit = false;

	if (sub < 0)
		return 0;
	if (faccessat(sub, chain_file, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
	    file_each_name(sub, &names, fail) == 0)
		for (const char *p = names.data; !hit && p < names.data + names.len;
		     p += strlen(p) + 1)
			hit = file_has(sub, p, test, arg);
	if (hit)
		drop(sub, chain_file, fail);
	close(sub);
	bytes_release(&names);
	return fail->kind;
}

int packmidx_drop_if(int dir, packmidx_test *test, void *arg, struct fail *fail)
{
	if (file_has(dir, single, test, arg) && drop_single(dir, fail) < 0)
		return fail->kind;
	return drop_chain_if(dir, test, arg, fail);
}
