/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * nonetwork: libgit2's network entry points, answered here.
 *
 * The suite never talks to a remote. Debian's libgit2.a reaches its TLS, SSH
 * and Kerberos code only through the few functions below; because they are
 * defined here, the linker leaves those members, and the dozen shared libraries
 * behind them, out. git_libgit2_init() then parses no certificate bundle:
 * start-up falls from about 6 ms to under 1 ms. Linked only with LIBGIT2=static.
 *
 * The shapes are those of libgit2 1.5's internal headers; none is ever called
 * with a meaning, so pointers are void here.
 */
#include "prelude.h"

int git_mbedtls_stream_global_init(void);
int git_mbedtls_stream_new(void **out, const char *host, const char *port);
int git_mbedtls_stream_wrap(void **out, void *in, const char *host);
int git_mbedtls__set_cert_location(const char *file, const char *path);
int git_transport_ssh_global_init(void);
int git_smart_subtransport_ssh(void **out, void *owner, void *param);
int git_transport_ssh_with_paths(void **out, void *owner, void *param);
int git_http_auth_negotiate(void **out, const void *url);

int git_mbedtls_stream_global_init(void)
{
	return 0;
}

int git_mbedtls_stream_new(void **out, UNUSED const char *host, UNUSED const char *port)
{
	*out = NULL;
	return -1;
}

int git_mbedtls_stream_wrap(void **out, UNUSED void *in, UNUSED const char *host)
{
	*out = NULL;
	return -1;
}

int git_mbedtls__set_cert_location(UNUSED const char *file, UNUSED const char *path)
{
	return -1;
}

int git_transport_ssh_global_init(void)
{
	return 0;
}

int git_smart_subtransport_ssh(void **out, UNUSED void *owner, UNUSED void *param)
{
	*out = NULL;
	return -1;
}

int git_transport_ssh_with_paths(void **out, UNUSED void *owner, UNUSED void *param)
{
	*out = NULL;
	return -1;
}

int git_http_auth_negotiate(void **out, UNUSED const void *url)
{
	*out = NULL;
	return -1;
}
