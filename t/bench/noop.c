/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* noop: the least that git can start as a hook. Linked statically, as ours are. */
int main(void)
{
	return 0;
}
