/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "procid.h"

#include "file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The PID namespace that every kernel begins with has this inode (PROC_PID_INIT_INO). */
#define FIRST_PID_NS UINT64_C(0xEFFFFFFC)
#define GENERATIONS 256 /* of ancestors; a chain that goes on has been reused under us */

/* ---- /proc/<pid>/stat ------------------------------------------------------------ */

struct proc_stat {
	char state;
	pid_t parent;
	long threads;
	uint64_t start;
};

/* The fields stand behind the command, which is in parentheses and may hold more of them. */
static bool parse_stat(const char *text, struct proc_stat *out)
{
	const char *p = strrchr(text, ')');
	int parent;

	if (!p ||
	    sscanf(p + 1,
		   " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d "
		   "%" SCNu64,
		   &out->state, &parent, &out->threads, &out->start) != 4)
		return false;
	out->parent = (pid_t)parent;
	return true;
}

/* 0, or -1 with errno: ENOENT or ESRCH, or what the kernel hides it with. */
static int read_stat(const char *path, struct proc_stat *out)
{
	char text[2048];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	int err;

	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	err = n < 0 ? errno : EIO;
	close(fd);
	if (n > 0) {
		text[n] = '\0';
		if (parse_stat(text, out))
			return 0;
	}
	errno = err;
	return -1;
}

static int read_stat_of(pid_t pid, struct proc_stat *out)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	return read_stat(path, out);
}

uint64_t procid_start(pid_t pid)
{
	struct proc_stat stat;

	return read_stat_of(pid, &stat) == 0 ? stat.start : 0;
}

/*
 * Has it ended? A zombie has, but not one that only leads a group of living
 * threads: its main thread is over, the process is not.
 */
static bool is_over(const struct proc_stat *stat)
{
	return (stat->state == 'Z' && stat->threads <= 1) || stat->state == 'X' ||
	       stat->state == 'x';
}

/* ---- where we are ------------------------------------------------------------------ */

/* "pid:[4026531836]" -> the number; 0 when the kernel has no such namespace. */
static uint64_t namespace_of(const char *link)
{
	char text[64];
	ssize_t n = readlink(link, text, sizeof(text) - 1);
	const char *number;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	number = strchr(text, '[');
	return number ? strtoull(number + 1, NULL, 10) : 0;
}

static void read_boot(char out[static PROCID_BOOT_MAX])
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;

	out[0] = '\0';
	if (file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, &ignored) == 0) {
		bytes_chomp(&text);
		if (text.len < PROCID_BOOT_MAX)
			memcpy(out, text.data, text.len + 1);
	}
	bytes_release(&text);
}

/*
 * "<host name>.<32 hex digits>": the hash is over machine id and host name. Machines
 * cloned from one image have one machine id, and may share a file system; taken for
 * one host, a process of the other would count as one of an earlier boot, and gone.
 * Hashed, because systemd asks not to give the machine id away.
 */
static void read_host(char out[static PROCID_HOST_MAX])
{
	struct bytes machine = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	struct utsname names;
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA2_CTX ctx;
	size_t len = 0;

	uname(&names);
	file_read(AT_FDCWD, "/etc/machine-id", 256, &machine, &ignored);
	SHA256Init(&ctx);
	SHA256Update(&ctx, (const uint8_t *)machine.data, machine.len);
	SHA256Update(&ctx, (const uint8_t *)names.nodename, strlen(names.nodename));
	SHA256Final(digest, &ctx);
	for (const char *p = names.nodename; *p && len < 31; p++)
		out[len++] = isalnum((unsigned char)*p) || *p == '-' ? *p : '_';
	out[len++] = '.';
	for (int i = 0; i < 16; i++, len += 2)
		snprintf(out + len, 3, "%02x", digest[i]);
	bytes_release(&machine);
}

/*
 * Does /proc count pids as we do? It may be one of an outer PID namespace: the line
 * NSpid then has our number there first, and ours last.
 */
static bool read_whether_proc_counts_as_we_do(void)
{
	char text[4096], link[24];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *line;
	char *end;

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	line = strstr(text, "\nNSpid:");
	if (line) {
		long first = strtol(line + strlen("\nNSpid:"), &end, 10);

		return first == getpid() && *end == '\n';
	}
	n = readlink("/proc/self", link, sizeof(link) - 1);
	if (n <= 0)
		return false;
	link[n] = '\0';
	return strtol(link, NULL, 10) == getpid();
}

/*
 * What this process has found out about where it is: none of it changes while it lives, and
 * who judges a thousand leases asks a thousand times. A child asks anew, and so does each
 * thread, which needs no lock for it.
 */
static const struct here {
	pid_t asked_by;
	struct procid common;
	bool proc_counts;
} * here_now(void)
{
	static _Thread_local struct here here;
	pid_t self = getpid();

	if (here.asked_by != self) {
		memset(&here, 0, sizeof(here));
		here.common.pid_ns = namespace_of("/proc/self/ns/pid");
		here.common.time_ns = namespace_of("/proc/self/ns/time");
		read_boot(here.common.boot);
		read_host(here.common.host);
		here.proc_counts = read_whether_proc_counts_as_we_do();
		here.asked_by = self;
	}
	return &here;
}

void procid_here(struct procid *out)
{
	*out = here_now()->common;
}

static bool proc_counts_as_we_do(void)
{
	return here_now()->proc_counts;
}

/* ---- which process ------------------------------------------------------------------- */

int procid_of(pid_t pid, struct procid *out, struct fail *fail)
{
	struct proc_stat stat;
	bool self = pid == getpid();

	procid_here(out);
	if (!self && !proc_counts_as_we_do())
		return fail_set(
			fail, FAIL_UNSUPPORTED,
			"/proc is not that of this PID namespace: process %d cannot be told "
			"from others",
			(int)pid);
	if ((self ? read_stat("/proc/self/stat", &stat) : read_stat_of(pid, &stat)) < 0) {
		if (errno == ESRCH ||
		    (errno == ENOENT && syscall(SYS_pidfd_open, pid, 0) < 0 && errno == ESRCH))
			return fail_set(fail, FAIL_GONE, "there is no process %d", (int)pid);
		return fail_set(fail, FAIL_UNSUPPORTED, "/proc does not show process %d", (int)pid);
	}
	if (!self && is_over(&stat))
		return fail_set(fail, FAIL_GONE, "process %d has ended", (int)pid);
	out->pid = pid;
	out->start = stat.start;
	return 0;
}

/* What there is under that pid, when /proc has no entry for it: hidden, or nothing? */
static enum proc_state ask_kernel(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int err = errno;

	if (fd >= 0) {
		close(fd);
		return PROC_UNKNOWN;
	}
	return err == ESRCH ? PROC_GONE : PROC_UNKNOWN;
}

enum proc_state procid_state(const struct procid *id)
{
	struct procid here;
	struct proc_stat stat;

	procid_here(&here);
	if (id->pid <= 0 || !id->boot[0] || !here.boot[0])
		return PROC_UNKNOWN;
	if (strcmp(id->boot, here.boot) != 0)
		return strcmp(id->host, here.host) == 0 ? PROC_GONE : PROC_UNKNOWN;
	/* One boot is one kernel, whatever a container's host name says. */
	if (!id->pid_ns || id->pid_ns != here.pid_ns || !proc_counts_as_we_do())
		return PROC_UNKNOWN;
	if (read_stat_of(id->pid, &stat) < 0) {
		if (errno == ESRCH)
			return PROC_GONE;
		return errno == ENOENT ? ask_kernel(id->pid) : PROC_UNKNOWN;
	}
	if (is_over(&stat))
		return PROC_GONE; /* it, or what came after it */
	if (id->time_ns != here.time_ns)
		return PROC_UNKNOWN; /* its start time was read against another clock */
	return stat.start == id->start ? PROC_ALIVE : PROC_GONE;
}

bool procid_same(const struct procid *a, const struct procid *b)
{
	return a->pid > 0 && a->pid == b->pid && a->start == b->start && a->pid_ns &&
	       a->pid_ns == b->pid_ns && a->time_ns == b->time_ns && a->boot[0] &&
	       strcmp(a->boot, b->boot) == 0;
}

bool procid_can_see(const struct procid *id)
{
	struct procid here;

	if (!id->pid)
		return true;
	procid_here(&here);
	if (!here.boot[0] || strcmp(id->boot, here.boot) != 0)
		return here.boot[0] && id->boot[0] && strcmp(id->host, here.host) == 0;
	return here.pid_ns && (id->pid_ns == here.pid_ns || here.pid_ns == FIRST_PID_NS);
}

size_t procid_ancestors(pid_t *out, size_t room)
{
	char link[24];
	ssize_t n = readlink("/proc/self", link, sizeof(link) - 1);
	size_t count = 0;
	pid_t pid;

	if (n <= 0)
		return 0;
	link[n] = '\0';
	pid = (pid_t)strtol(link, NULL, 10);
	while (pid > 0 && count < room) {
		struct proc_stat stat;

		out[count++] = pid;
		if (read_stat_of(pid, &stat) < 0)
			break;
		pid = stat.parent;
	}
	return count;
}

bool procid_is_ancestor(const struct procid *id)
{
	pid_t chain[GENERATIONS];
	struct procid one;
	size_t count;

	procid_here(&one);
	if (!proc_counts_as_we_do())
		return false;
	count = procid_ancestors(chain, ARRAY_SIZE(chain));
	for (size_t i = 0; i < count; i++) {
		if (chain[i] != id->pid)
			continue;
		one.pid = chain[i];
		one.start = procid_start(chain[i]);
		return procid_same(&one, id);
	}
	return false;
}
