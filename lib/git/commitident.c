/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Who and when, as git would put it into a commit, and the commit's text.
 */
#include "commit.h"

#include "repo.h"
#include "spawn.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Where one of the two identities is looked for. */
struct role {
	const char *name_var, *email_var, *date_var;
	const char *git_var; /* what `git var` calls it */
	const char *name, *email;
};

static struct role author_role(const struct repo *repo)
{
	return (struct role){"GIT_AUTHOR_NAME",	 "GIT_AUTHOR_EMAIL",	 "GIT_AUTHOR_DATE",
			     "GIT_AUTHOR_IDENT", repo->conf.author_name, repo->conf.author_email};
}

static struct role committer_role(const struct repo *repo)
{
	return (struct role){"GIT_COMMITTER_NAME",	"GIT_COMMITTER_EMAIL",
			     "GIT_COMMITTER_DATE",	"GIT_COMMITTER_IDENT",
			     repo->conf.committer_name, repo->conf.committer_email};
}

/* ---- names ---------------------------------------------------------------------- */

/* What git takes off both ends of a name. */
static bool is_crud(char c)
{
	return (unsigned char)c <= ' ' || strchr(".,:;<>\"\\'", c);
}

/* Appends the text as git cleans it; false when nothing would be left of it. */
static bool add_clean(const char *text, struct bytes *out)
{
	size_t len;

	if (!text)
		return false;
	while (*text && is_crud(*text))
		text++;
	len = strlen(text);
	while (len && is_crud(text[len - 1]))
		len--;
	for (size_t i = 0; i < len; i++)
		if (text[i] != '\n' && text[i] != '<' && text[i] != '>')
			bytes_addc(out, text[i]);
	return len > 0;
}

/* The first of these that says something. */
static void add_first(const char *variable, const char *own, const char *user,
		      const char *otherwise, struct bytes *out)
{
	if (!add_clean(getenv(variable), out) && !add_clean(own, out) && !add_clean(user, out))
		bytes_adds(out, otherwise);
}

/* ---- dates ---------------------------------------------------------------------- */

static void add_now(int64_t now, struct bytes *out)
{
	time_t seconds = (time_t)now;
	struct tm tm = {0};
	long minutes;

	tzset();
	localtime_r(&seconds, &tm);
	minutes = labs(tm.tm_gmtoff) / 60;
	bytes_addf(out, "%lld %c%02ld%02ld", (long long)now, tm.tm_gmtoff < 0 ? '-' : '+',
		   minutes / 60, minutes % 60);
}

static size_t digits(const char *text)
{
	return strspn(text, "0123456789");
}

/*
 * git's own form, "[@]<seconds> <zone>", taken as it is. What git may see in
 * another way is left to git: without the '@', fewer than nine digits could be a
 * calendar date, and its calendar ends in 2099.
 */
static bool add_internal_date(const char *date, struct bytes *out)
{
	bool marked = date[0] == '@';
	const char *seconds = date + marked;
	size_t n = digits(seconds);
	const char *zone = seconds + n + 1;

	if (n < (marked ? 1 : 9) || n > 10 || seconds[n] != ' ' || (n > 1 && seconds[0] == '0') ||
	    (n == 10 && seconds[0] > '3'))
		return false;
	if ((zone[0] != '+' && zone[0] != '-') || digits(zone + 1) != 4 || zone[5])
		return false;
	if (zone[1] > '1' || zone[3] > '5' || !strcmp(zone, "-0000"))
		return false;
	bytes_adds(out, seconds);
	return true;
}

/* Any other date: git's parser decides, so that both of us mean the same moment. */
static int add_date_by_git(const struct repo *repo, const struct role *role, const char *date,
			   struct bytes *out, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes answer = BYTES_INIT;
	const char *mail_end;

	/* A name that git accepts, whatever the environment has. */
	argv_pushf(&cmd.env, "%s=interlock", role->name_var);
	argv_pushf(&cmd.env, "%s=interlock@localhost", role->email_var);
	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "var", role->git_var, NULL);
	if (spawn_capture_any(&cmd, &answer, fail) < 0)
		goto done;
	bytes_chomp(&answer);
	mail_end = strrchr(answer.data, '>');
	if (cmd.status || !mail_end || mail_end[1] != ' ')
		fail_set(fail, FAIL_USAGE, "%s: git does not understand the date '%.100s'",
			 role->date_var, date);
	else
		bytes_adds(out, mail_end + 2);
done:
	spawn_release(&cmd);
	bytes_release(&answer);
	return fail->kind;
}

static int add_ident(const struct repo *repo, const struct role *role, int64_t now,
		     struct bytes *out, struct fail *fail)
{
	const struct gitconf *conf = &repo->conf;
	const char *date = getenv(role->date_var);

	add_first(role->name_var, role->name, conf->user_name, "interlock", out);
	bytes_adds(out, " <");
	add_first(role->email_var, role->email, conf->user_email, "interlock@localhost", out);
	bytes_adds(out, "> ");
	if (!date || !date[0])
		add_now(now, out);
	else if (!add_internal_date(date, out))
		return add_date_by_git(repo, role, date, out, fail);
	return 0;
}

int commit_committer(struct repo *repo, struct bytes *out, struct fail *fail)
{
	struct role role = committer_role(repo);

	return add_ident(repo, &role, (int64_t)time(NULL), out, fail);
}

/* ---- the text ---------------------------------------------------------------------- */

int commit_format(struct repo *repo, const struct oid *tree, const struct oid *parents,
		  size_t parent_count, const char *message, struct bytes *out, struct fail *fail)
{
	struct role author = author_role(repo), committer = committer_role(repo);
	int64_t now = (int64_t)time(NULL);
	char hex[OID_HEX_MAX + 1];
	size_t len = strlen(message);

	bytes_addf(out, "tree %s\n", oid_hex(tree, hex));
	for (size_t i = 0; i < parent_count; i++)
		bytes_addf(out, "parent %s\n", oid_hex(&parents[i], hex));
	bytes_adds(out, "author ");
	if (add_ident(repo, &author, now, out, fail) < 0)
		return fail->kind;
	bytes_adds(out, "\ncommitter ");
	if (add_ident(repo, &committer, now, out, fail) < 0)
		return fail->kind;
	bytes_adds(out, "\n\n");
	bytes_add(out, message, len);
	if (len && message[len - 1] != '\n')
		bytes_addc(out, '\n');
	return 0;
}
