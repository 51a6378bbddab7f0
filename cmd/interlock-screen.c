/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git interlock: what fits on a screen. */
#include "interlock.h"

#include "number.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* COLUMNS speaks before the terminal, as for other programs. */
int screen_look(struct screen *screen, struct fail *fail)
{
	const char *columns = getenv("COLUMNS"), *term = getenv("TERM"), *none = getenv("NO_COLOR");
	bool tty = isatty(STDOUT_FILENO);
	struct winsize size;
	int64_t width;

	screen->width = tty ? 80 : SIZE_MAX;
	if (columns && *columns) {
		if (number_parse(columns, "COLUMNS", 1, 100000, &width, fail) < 0)
			return fail->kind;
		screen->width = (size_t)width;
	} else if (tty && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col) {
		screen->width = size.ws_col;
	}
	if (screen->color < 0)
		screen->color = tty && !(none && *none) && term && strcmp(term, "dumb") != 0;
	return 0;
}

void screen_fold(const struct screen *screen, size_t indent, const char *text, struct bytes *out)
{
	size_t room = screen->width > indent + 20 ? screen->width - indent : 20;

	while (strlen(text) > room) {
		size_t n = room;

		while (n && text[n] != ' ')
			n--;
		if (!n)
			n = room;
		bytes_addf(out, "%.*s\n%*s", (int)n, text, (int)indent, "");
		text += n + (text[n] == ' ');
	}
	bytes_addf(out, "%s\n", text);
}
