/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* doctor: the table of what can be found, and its words. */
#include "doctorparts.h"

#include "bytes.h"

#include <string.h>

#define NOTHING "nothing has to be done"

/* In the order in which they are told. */
const struct doctor_kind doctor_kinds[ILL_COUNT] = {
	[ILL_UNCHECKED] = {"unchecked", DOCTOR_PROBLEM, false,
			   "this could not be looked at: {detail}", "see to that, and ask again"},
	[ILL_SETTING] =
		{"setting", DOCTOR_PROBLEM, false, "{detail}",
		 "correct it where it is set; until then commands that read it refuse to run"},
	[ILL_SETTING_UNKNOWN] =
		{"setting-unknown", DOCTOR_PROBLEM, false,
		 "no setting of this version has that name, so it does nothing",
		 "see interlock-config(5) for the names; git config --show-origin --get-all "
		 "{subject} says where it is set"},
	[ILL_POOL_DIR] = {"pool-dir", DOCTOR_PROBLEM, false, "no slot can be born here: {detail}",
			  "set interlock.poolDir to a directory that can be used"},
	[ILL_FILE_SYSTEM] = {"file-system", DOCTOR_PROBLEM, false,
			     "it is on {detail}, where locks cannot be trusted: two processes may "
			     "believe that they hold one",
			     "move it to a local file system"},
	[ILL_OVERLAY] = {"overlay", DOCTOR_NOTE, false,
			 "it is on an overlay: a lock is not seen through another overlay over the "
			 "same directory",
			 "use it through this overlay only"},
	[ILL_FLOCK] = {"flock", DOCTOR_PROBLEM, false, "its lock keeps nobody out: {detail}",
		       "move it to a local file system"},
	[ILL_STATE_FOLDER] =
		{"state-folder", DOCTOR_PROBLEM, false,
		 "our commands cannot work with it: {detail}",
		 "put it right, or move it away: it is made anew, and no work is in it"},
	[ILL_LEDGER_CLOSED] = {"ledger-closed", DOCTOR_PROBLEM, false,
			       "no event can be added to the ledger: {detail}",
			       "put it right, or move it away: a new one is begun"},
	[ILL_LEDGER_DAMAGED] = {"ledger-damaged", DOCTOR_NOTE, false,
				"{detail} torn or corrupt, left by a killed writer or a full disk",
				NOTHING ": they are passed over, and go with interlock.ledgerKeep"},
	[ILL_LEDGER_NEWER] = {"ledger-newer", DOCTOR_NOTE, false,
			      "{detail} of a version that this program does not know",
			      "read it with the newer program that wrote it"},

	[ILL_HALF_BORN] = {"half-born", DOCTOR_PROBLEM, true,
			   "the claim that was making it was killed, and its lock is free",
			   "git interlock doctor --fix, or the next claim: it is finished"},
	[ILL_ORPHANED] = {"orphaned", DOCTOR_NOTE, true,
			  "its owner was killed, and nobody is inside",
			  "git interlock doctor --fix, or the next claim: its work is rescued"},
	[ILL_DESYNCED] = {"desynced", DOCTOR_PROBLEM, true,
			  "its record is gone or garbage, and nobody has it",
			  "git interlock doctor --fix, or the next claim: its work is rescued"},
	[ILL_REMOVAL] = {"removal-interrupted", DOCTOR_PROBLEM, true,
			 "its removal was killed half-way",
			 "git interlock doctor --fix: it is finished"},
	[ILL_SLOT_MOVED] = {"slot-moved", DOCTOR_PROBLEM, true,
			    "it or its repository was moved; the links between them lead nowhere",
			    "git interlock doctor --fix {path}: it stays there"},
	[ILL_SLOT_RENAMED] = {"slot-renamed", DOCTOR_PROBLEM, false,
			      "its directory was moved to {path}, which has not the slot's name",
			      "mv {path} {detail}"},
	[ILL_SLOT_COPY] =
		{"slot-of-other", DOCTOR_PROBLEM, false,
		 "its worktree belongs to another repository, of which this one is a copy "
		 "({detail})",
		 "rm -r {path}"},
	[ILL_SLOT_VANISHED] =
		{"vanished", DOCTOR_PROBLEM, false, "its directory is gone",
		 "git worktree-reap --prune {subject}, when it does not come back; if it "
		 "was moved: git interlock doctor --fix <where it is now>"},
	[ILL_VANISHED_MANY] =
		{"vanished-many", DOCTOR_PROBLEM, false,
		 "the directories of {detail} are gone at once: a disk that is not "
		 "mounted, or another mount namespace?",
		 "mount it, or look from where they can be seen; then git worktree-reap "
		 "--prune <slot> for what is really gone"},
	[ILL_SLOT_UNJUDGED] =
		{"slot-unjudged", DOCTOR_PROBLEM, false, "it is left alone by everybody: {detail}",
		 "save what is in it; then git worktree unlock and git worktree remove"},
	[ILL_SLOT_UNLOCKED] =
		{"slot-unlocked", DOCTOR_PROBLEM, true,
		 "its lease lives, but the file that holds it locked for git is gone: "
		 "git worktree prune and remove may take it",
		 "git interlock doctor --fix: it is written again"},
	[ILL_LEASE_RECORD] =
		{"lease-record", DOCTOR_NOTE, false,
		 "the second record of its lease was deleted under its holder ({detail}); "
		 "nobody else gets the slot, its lock is held",
		 NOTHING ": the next lease writes it again"},
	[ILL_GIT_HALF_BORN] =
		{"git-half-born", DOCTOR_PROBLEM, false,
		 "a 'git worktree add' was killed{detail}; git never prunes what it left",
		 "git worktree remove -f -f {path}"},
	[ILL_GIT_VANISHED] = {"git-vanished", DOCTOR_NOTE, false,
			      "the directory of a worktree that is not ours is gone",
			      "git worktree prune, when it does not come back"},
	[ILL_GIT_MOVED] =
		{"git-moved", DOCTOR_PROBLEM, false,
		 "a worktree that is not ours leads nowhere: it or the repository was moved",
		 "git worktree repair {path}"},
	[ILL_GIT_DAMAGED] = {"git-damaged", DOCTOR_PROBLEM, false,
			     "a worktree that is not ours has no {detail} in its admin directory",
			     "git worktree prune"},

	[ILL_SWAP_LOCK] =
		{"swap-lock", DOCTOR_PROBLEM, true,
		 "a swap of ours was killed while it held git's lock, {detail} ago",
		 "git interlock doctor --fix, or the next swap that meets it: it is removed"},
	[ILL_INSTALL_LOCK] =
		{"install-lock", DOCTOR_PROBLEM, true,
		 "an install was killed while it held git's lock, {detail} ago",
		 "git interlock doctor --fix, or git interlock install: it is removed"},
	[ILL_SLOT_LOCK] = {"slot-lock", DOCTOR_NOTE, true,
			   "a git was killed in a free slot while it held a lock, {detail} ago",
			   "git interlock doctor --fix, or the next claim: it is removed"},
	[ILL_LOCK_LEFT] =
		{"lock-left", DOCTOR_PROBLEM, false,
		 "a lock that is not ours is {detail} old, and no process that can be seen "
		 "has it open",
		 "rm {path}, unless a git is at work here (while it waits for its editor it "
		 "has not, either)"},
	[ILL_LOCK_HELD] = {"lock-held", DOCTOR_NOTE, false,
			   "a lock that is not ours is held: {detail}",
			   "wait for that process, or see what it waits for"},

	[ILL_REF_DAMAGED] = {"ref-damaged", DOCTOR_PROBLEM, true, "its file {detail}",
			     "git interlock doctor --fix, or the next save: it goes on from there"},
	[ILL_REF_LOST] = {"ref-lost", DOCTOR_PROBLEM, false,
			  "its file {detail}, and its last good value is not known",
			  "rm {path}; the next save begins a new chain"},
	[ILL_REF_DANGLING] = {"ref-dangling", DOCTOR_PROBLEM, false,
			      "it names a commit that is not there: {detail}",
			      "get the object back from another copy of the repository"},
	[ILL_GIT_REF_DAMAGED] = {"git-ref-damaged", DOCTOR_PROBLEM, false,
				 "a ref that is not ours: its file {detail}",
				 "write the value that you know to be right, with git update-ref"},

	[ILL_INTENT_LEFT] = {"intent-left", DOCTOR_NOTE, true,
			     "a writer of refs was killed; what it was about to do is noted here",
			     "git interlock doctor --fix, or the next writer: it is removed"},
	[ILL_BIRTH_LEFT] = {"birth-left", DOCTOR_NOTE, true,
			    "a birth was killed before anybody could see it",
			    "git interlock doctor --fix, or git worktree-reap: it is removed"},
	[ILL_TRASH_LEFT] = {"trash-left", DOCTOR_NOTE, true,
			    "a removal was killed while it deleted files",
			    "git interlock doctor --fix, or git worktree-reap: it is removed"},
	[ILL_LEASE_LEFT] = {"lease-left", DOCTOR_NOTE, true, "no slot names this lease",
			    "git interlock doctor --fix, or git worktree-reap: it is removed"},
	[ILL_RUN_LEFT] = {"run-left", DOCTOR_NOTE, true,
			  "a run under a mutex was killed, and is over",
			  "git interlock doctor --fix, or the next run: it is removed"},
	[ILL_TMP_LEFT] = {"tmp-left", DOCTOR_NOTE, true, "a save was killed, and left its folder",
			  "git interlock doctor --fix, or the next one that needs such a folder"},
	[ILL_DRAFT_LEFT] = {"draft-left", DOCTOR_NOTE, true,
			    "the new content of a file, whose writer was killed {detail} ago",
			    "git interlock doctor --fix: it is removed"},
	[ILL_PACK_LEFT] =
		{"pack-left", DOCTOR_NOTE, true, "a writer of packs was killed: {detail}",
		 "git interlock doctor --fix, or git shadow-commit expire: it is finished or "
		 "removed"},

	[ILL_HOOKS_RECORD] = {"hooks-record", DOCTOR_PROBLEM, false, "{detail}",
			      "git interlock install"},
	[ILL_HOOKS_UNFINISHED] = {"hooks-unfinished", DOCTOR_PROBLEM, false,
				  "an install or uninstall was killed half-way",
				  "git interlock install, or git interlock uninstall"},
	[ILL_HOOK_INACTIVE] = {"hook-inactive", DOCTOR_PROBLEM, false,
			       "it was installed, and git does not run it: {detail}",
			       "git interlock install"},
	[ILL_HOOK_ELSEWHERE] = {"hook-elsewhere", DOCTOR_PROBLEM, false,
				"no hook of ours runs: {detail}", "git interlock install"},
	[ILL_HOOK_PROGRAM] = {"hook-program", DOCTOR_PROBLEM, false,
			      "the git-interlock that it asks is neither beside it nor on PATH",
			      "install the suite anew, then git interlock install"},
	[ILL_HOOK_OTHER_BUILD] = {"hook-other-build", DOCTOR_NOTE, false,
				  "git runs the hook of another build than this program's",
				  "git interlock install, with the program that is to be used"},
	[ILL_HOOK_CHAINED] = {"hook-chained", DOCTOR_PROBLEM, false,
			      "your own hooks are not run: {detail}",
			      "put them back, then git interlock install"},
};

/* As a word of a shell's command. */
static void add_shell(struct bytes *out, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_@%+=:,./-";

	if (*text && *text != '-' && strspn(text, plain) == strlen(text)) {
		bytes_adds(out, text);
		return;
	}
	bytes_addc(out, '\'');
	for (; *text; text++)
		if (*text == '\'')
			bytes_adds(out, "'\\''");
		else
			bytes_addc(out, *text);
	bytes_addc(out, '\'');
}

char *doctor_shell(const char *path)
{
	struct bytes out = BYTES_INIT;

	add_shell(&out, path);
	return bytes_take(&out);
}

char *doctor_words(const char *text, const struct doctor_finding *finding, bool shell)
{
	const struct {
		const char *word, *text;
		bool name;
	} words[] = {
		{"{subject}", finding->subject, true},
		{"{path}", finding->path, true},
		{"{detail}", finding->detail, false},
	};
	struct bytes out = BYTES_INIT;

	while (*text) {
		size_t i = 0;

		while (i < ARRAY_SIZE(words) &&
		       strncmp(text, words[i].word, strlen(words[i].word)) != 0)
			i++;
		if (i == ARRAY_SIZE(words)) {
			bytes_addc(&out, *text++);
			continue;
		}
		text += strlen(words[i].word);
		if (words[i].text && words[i].name && shell)
			add_shell(&out, words[i].text);
		else if (words[i].text && words[i].name)
			bytes_addf(&out, "'%s'", words[i].text);
		else if (words[i].text)
			bytes_adds(&out, words[i].text);
	}
	return bytes_take(&out);
}
