/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "name.h"

#include <sha2.h>
#include <string.h>

static bool component_ok(const char *start, size_t len)
{
	if (!len || (len == 1 && start[0] == '.'))
		return false;
	return !(len == 2 && start[0] == '.' && start[1] == '.');
}

int name_check(const char *name, const char *what, struct fail *fail)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._@/-";
	size_t len = strlen(name);
	const char *start = name;

	if (!len)
		return fail_set(fail, FAIL_USAGE, "%s: the name is empty", what);
	if (len > NAME_MAX_GIVEN)
		return fail_set(fail, FAIL_USAGE, "%s: the name is longer than %d bytes", what,
				NAME_MAX_GIVEN);
	if (strspn(name, allowed) != len)
		return fail_set(fail, FAIL_USAGE,
				"%s: only letters, digits and . _ @ / - can be in a name", what);
	if (name[0] == '-')
		return fail_set(fail, FAIL_USAGE, "%s: '%s' starts with '-'", what, name);
	for (;;) {
		size_t n = strcspn(start, "/");

		if (!component_ok(start, n))
			return fail_set(fail, FAIL_USAGE,
					"%s: '%s' has an empty, '.' or '..' component", what, name);
		if (!start[n])
			return 0;
		start += n + 1;
	}
}

static void add_digest(const char *name, struct bytes *out)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, (const uint8_t *)name, strlen(name));
	SHA256Final(digest, &ctx);
	bytes_adds(out, "%~");
	for (int i = 0; i < 16; i++)
		bytes_addf(out, "%02x", digest[i]);
}

void name_encode(const char *name, struct bytes *out)
{
	const size_t head = NAME_MAX_ENCODED - 34; /* "%~" and 32 hex digits */
	size_t start = out->len;
	size_t cut = 0; /* the last length at which an encoded byte ended within `head` */

	for (const char *p = name; *p; p++) {
		if (*p == '%')
			bytes_adds(out, "%25");
		else if (*p == '/')
			bytes_adds(out, "%2F");
		else
			bytes_addc(out, *p);
		if (out->len - start <= head)
			cut = out->len - start;
	}
	if (out->len - start <= NAME_MAX_ENCODED)
		return;
	bytes_truncate(out, start + cut);
	add_digest(name, out);
}
