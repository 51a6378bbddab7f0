/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * self: where the running program is, and with it what was installed or built together
 * with it.
 */
#ifndef SELF_H
#define SELF_H

/*
 * <the directory of this program>/<relative>, whether or not it is there; NULL when the
 * kernel does not say where this program is. The caller frees.
 */
char *self_beside(const char *relative);

#endif
