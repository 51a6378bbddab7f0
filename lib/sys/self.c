/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "self.h"

#include "prelude.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

char *self_beside(const char *relative)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	const char *slash;

	exe[n > 0 ? n : 0] = '\0';
	slash = strrchr(exe, '/');
	return slash ? mem_printf("%.*s%s", (int)(slash + 1 - exe), exe, relative) : NULL;
}
