/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "brood.h"

#include "file.h"
#include "proc.h"
#include "quote.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST_LIMIT ((size_t)16 << 20)
#define DESCRIBED 5

void brood_add(struct brood *brood, pid_t pid)
{
	MEM_GROW(brood->pids, brood->cap, brood->count + 1);
	brood->pids[brood->count++] = pid;
}

bool brood_has(const struct brood *brood, pid_t pid)
{
	for (size_t i = 0; i < brood->count; i++)
		if (brood->pids[i] == pid)
			return true;
	return false;
}

void brood_release(struct brood *brood)
{
	free(brood->pids);
	*brood = (struct brood)BROOD_INIT;
}

/* Adds the pids of "12 13 14 ". */
static void add_all(struct brood *brood, const char *text)
{
	char *end;

	for (;;) {
		long pid = strtol(text, &end, 10);

		if (end == text)
			return;
		brood_add(brood, (pid_t)pid);
		text = end;
	}
}

/*
 * The kernel keeps a list per thread. It may skip an entry when a child is
 * waited for during the read; only the caller waits, and it is here.
 */
static int from_children(int proc, const struct bytes *threads, struct brood *out,
			 struct fail *fail)
{
	struct bytes list = BYTES_INIT;
	int r = 0;

	for (const char *t = threads->data; r == 0 && t < threads->data + threads->len;
	     t += strlen(t) + 1) {
		char path[64];

		snprintf(path, sizeof(path), "self/task/%s/children", t);
		bytes_clear(&list);
		r = file_read(proc, path, LIST_LIMIT, &list, fail);
		if (r == 0)
			add_all(out, list.data);
	}
	bytes_release(&list);
	return r;
}

/* The parent in a line of /proc/<pid>/stat; its name may hold blanks and brackets. */
static pid_t parent_in(const char *stat)
{
	const char *p = strrchr(stat, ')');
	int parent;

	return p && sscanf(p + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

/* For kernels without that list: everybody's parent is asked for. */
static int from_everybody(int proc, struct brood *out, struct fail *fail)
{
	struct bytes names = BYTES_INIT, stat = BYTES_INIT;
	int r = file_each_name(proc, &names, fail);

	for (const char *n = names.data; r == 0 && n < names.data + names.len; n += strlen(n) + 1) {
		struct fail gone = FAIL_INIT;
		char path[300];

		if (!isdigit((unsigned char)*n))
			continue;
		snprintf(path, sizeof(path), "%s/stat", n);
		bytes_clear(&stat);
		if (file_read(proc, path, 65536, &stat, &gone) == 0 &&
		    parent_in(stat.data) == getpid())
			brood_add(out, (pid_t)strtol(n, NULL, 10));
	}
	bytes_release(&names);
	bytes_release(&stat);
	return r;
}

int brood_list(struct brood *out, struct fail *fail)
{
	struct bytes threads = BYTES_INIT;
	struct fail first = FAIL_INIT;
	int proc = file_open_dir(AT_FDCWD, "/proc", &first);
	int tasks = proc < 0 ? -1 : file_open_dir(proc, "self/task", &first);
	int r = 0;

	out->count = 0;
	if (tasks < 0)
		r = fail_set(fail, FAIL_UNSUPPORTED, "list children: %s", first.message);
	else if (file_each_name(tasks, &threads, &first) < 0 ||
		 from_children(proc, &threads, out, &first) < 0) {
		out->count = 0;
		r = from_everybody(proc, out, fail);
	}
	if (tasks >= 0)
		close(tasks);
	if (proc >= 0)
		close(proc);
	bytes_release(&threads);
	return r;
}

void brood_describe(const struct brood *brood, struct bytes *out)
{
	struct bytes one = BYTES_INIT;

	for (size_t i = 0; i < size_min(brood->count, DESCRIBED); i++) {
		bytes_clear(&one);
		proc_describe(brood->pids[i], &one);
		bytes_adds(out, i ? ", " : "");
		quote_line(one.data, one.len, out);
	}
	if (brood->count > DESCRIBED)
		bytes_addf(out, " and %zu more", brood->count - DESCRIBED);
	bytes_release(&one);
}
