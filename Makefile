# interlock: race-safe checkpoints and leased worktrees for git.
#
#   make quickstart      install what is needed, build, and show it working
#   make check           set up, build, and run every test
#   make help            everything else
#
# Settings can be given on the command line or in config.mak:
#   V=1                  show the commands
#   DEVELOPER=1          warnings are errors
#   SANITIZE=address,undefined  (or thread)
#   LIBGIT2=static       the default: libgit2 without its network part
#   LIBGIT2=shared       the system's shared libgit2 (starts 6 ms slower)
#   prefix, DESTDIR      where install puts things
#   TEST_GIT=<dir>       run the tests with the git in this directory
#   TEST_JOBS=<n>        how many test files run at once
#   ROUNDS=<n>           rounds of check-stress
#   RUNS=<n>             inputs for each target of make fuzz
#   B=<dir>              build directory

-include config.mak

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
SHELL := /bin/sh

prefix ?= /usr/local
bindir = $(prefix)/bin
libexecdir = $(prefix)/libexec/interlock
mandir = $(prefix)/share/man
docdir = $(prefix)/share/doc/interlock

LIBGIT2 ?= static
CC ?= cc
CFLAGS ?= -O2 -g
TEST_JOBS ?= $(shell nproc)
B ?= build$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))$(if $(filter shared,$(LIBGIT2)),-shared)
comma := ,

ifndef V
Q := @
SAY = @printf '  %-5s %s\n'
else
Q :=
SAY = @:
endif

WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
       -Wwrite-strings -Wvla -Wformat=2 -Wimplicit-fallthrough
ifeq ($(DEVELOPER),1)
WARN += -Werror
endif
ifdef SANITIZE
INSTRUMENT = -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
endif
BASE_CFLAGS = -std=gnu11 -D_GNU_SOURCE -pthread $(WARN) $(INSTRUMENT)

# ---- libraries ---------------------------------------------------------------

ifeq ($(LIBGIT2),static)
GIT2_LIBS = -Wl,-Bstatic -lgit2 -lhttp_parser -lmbedcrypto -lpcre2-8 -Wl,-Bdynamic
GIT2_STUBS = $(B)/lib/git/nonetwork.o
else ifeq ($(LIBGIT2),shared)
GIT2_LIBS = -lgit2
GIT2_STUBS =
else
$(error LIBGIT2 is 'static' or 'shared', not '$(LIBGIT2)')
endif
LIBS = $(GIT2_LIBS) -Wl,-Bstatic -ljansson -lbsd -lmd -lz -Wl,-Bdynamic -pthread

# ---- floors: each sees only itself and what lies below it ----------------------

FLOORS = face work git sys base
SEES_base = base
SEES_sys  = sys base
SEES_git  = git sys base
SEES_work = work git sys base
SEES_face = face base
SEES_cmd  = face work git sys base
iquote = $(foreach f,$(SEES_$(1)),-iquote lib/$(f))

PROGRAMS = git-cas-ref git-interlock git-shadow-commit git-worktree-claim git-worktree-reap
cmd_git-cas-ref = cmd/git-cas-ref.c $(wildcard cmd/cas-ref-*.c)
cmd_git-interlock = cmd/git-interlock.c $(wildcard cmd/interlock-*.c)
cmd_git-shadow-commit = cmd/git-shadow-commit.c $(wildcard cmd/shadow*.c)
cmd_git-worktree-claim = cmd/git-worktree-claim.c $(wildcard cmd/claim-*.c)
cmd_git-worktree-reap = cmd/git-worktree-reap.c $(wildcard cmd/reap-*.c)

floor_src = $(filter-out lib/git/nonetwork.c,$(wildcard lib/$(1)/*.c))
floor_obj = $(patsubst %.c,$(B)/%.o,$(call floor_src,$(1)))
ARCHIVES = $(foreach f,$(FLOORS),$(B)/lib$(f).a)
BINARIES = $(addprefix $(B)/,$(PROGRAMS))

# The hooks: each a small static program of base, of the guard's decisions and of what runs
# after ours, which see nothing above base.
HOOKS = $(filter-out hook,$(patsubst hooks/%.c,%,$(wildcard hooks/*.c)))
HOOK_PROGRAMS = $(addprefix $(B)/hooks/,$(HOOKS))
HOOK_PARTS = $(B)/hooks/hook.o $(B)/lib/work/guard.o $(B)/lib/work/guardlook.o \
	     $(B)/lib/sys/hookchain.o $(B)/libbase.a
SEES_hooks = work sys base

all: $(BINARIES) $(HOOK_PROGRAMS)

define floor_rules
$(B)/lib/$(1)/%.o: lib/$(1)/%.c $(B)/flags
	$$(SAY) CC $$<
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(BASE_CFLAGS) $$(CFLAGS) $$(CPPFLAGS) $(call iquote,$(1)) -MMD -MP -c -o $$@ $$<
$(B)/lib$(1).a: $(call floor_obj,$(1))
	$$(SAY) AR $$@
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$^
endef
$(foreach f,$(FLOORS),$(eval $(call floor_rules,$(f))))

$(B)/cmd/%.o: cmd/%.c $(B)/flags
	$(SAY) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) $(CPPFLAGS) $(call iquote,cmd) -MMD -MP -c -o $@ $<

# A sanitizer's runtime cannot be linked statically.
$(B)/hooks/%.o: hooks/%.c $(B)/flags
	$(SAY) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) $(CPPFLAGS) -iquote hooks $(call iquote,hooks) -MMD -MP -c -o $@ $<

$(HOOK_PROGRAMS): %: %.o $(HOOK_PARTS)
	$(SAY) LINK $@
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) $(LDFLAGS) $(if $(SANITIZE),,-static) -o $@ $< $(HOOK_PARTS)

define program_rules
$(B)/$(1): $(patsubst %.c,$(B)/%.o,$(cmd_$(1))) $(ARCHIVES) $(GIT2_STUBS)
	$$(SAY) LINK $$@
	$$(Q)$$(CC) $$(BASE_CFLAGS) $$(CFLAGS) $$(LDFLAGS) -o $$@ $(patsubst %.c,$(B)/%.o,$(cmd_$(1))) \
		$$(GIT2_STUBS) $$(ARCHIVES) $$(LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rules,$(p))))

# Rebuild everything when the flags change.
FLAGS = $(CC) $(BASE_CFLAGS) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) $(LIBS)
$(B)/flags: FORCE
	$(Q)mkdir -p $(B)
	$(Q)printf '%s\n' '$(FLAGS)' | cmp -s - $@ || printf '%s\n' '$(FLAGS)' >$@

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# ---- unit tests and test helpers -----------------------------------------------

UNIT = $(patsubst t/unit/%.c,$(B)/t/unit/%,$(wildcard t/unit/test-*.c))
HELPERS = $(patsubst t/helper/%.c,$(B)/t/helper/%,$(wildcard t/helper/*.c))

$(B)/t/unit/%: t/unit/%.c $(ARCHIVES) $(GIT2_STUBS)
	$(SAY) UNIT $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) $(CPPFLAGS) $(call iquote,cmd) -MMD -MP -o $@ $< \
		$(GIT2_STUBS) $(ARCHIVES) -lcmocka $(LIBS)

$(B)/t/helper/%: t/helper/%.c $(B)/flags
	$(SAY) HELP $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) $(CPPFLAGS) -MMD -MP -o $@ $<

# Helpers that use the suite itself.
OWN_HELPERS = $(addprefix $(B)/t/helper/,wrap birth)
$(OWN_HELPERS): $(B)/t/helper/%: t/helper/%.c $(ARCHIVES) $(GIT2_STUBS)
	$(SAY) HELP $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) $(CPPFLAGS) $(call iquote,cmd) -MMD -MP -o $@ $< \
		$(GIT2_STUBS) $(ARCHIVES) $(LIBS)

test-build: all $(UNIT) $(HELPERS)

# Any bytes into what reads them; made by clang only (make fuzz).
FUZZ = $(patsubst t/fuzz/%.c,$(B)/t/fuzz/%,$(wildcard t/fuzz/fuzz-*.c))
$(B)/t/fuzz/%: t/fuzz/%.c $(ARCHIVES) $(GIT2_STUBS)
	$(SAY) FUZZ $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) -fsanitize=fuzzer $(CFLAGS) $(CPPFLAGS) $(call iquote,cmd) -MMD -MP -o $@ $< \
		$(GIT2_STUBS) $(ARCHIVES) $(LIBS)

fuzz-build: $(FUZZ)

.PHONY: FORCE all test-build fuzz-build
FORCE:

# ---- what has to be installed ------------------------------------------------------
#
# Each name with its reason is in README.md. Only what is missing is installed, so
# an ordinary user needs no rights once the packages are there.

DEPS_BUILD = gcc make git libc6-dev libgit2-dev libmbedtls-dev libhttp-parser-dev libpcre2-dev \
	     zlib1g-dev libbsd-dev libmd-dev libjansson-dev asciidoctor
DEPS_CHECK = bats libcmocka-dev parallel perl strace procps spin clang libclang-rt-dev pre-commit
DEPS_BENCH = time linux-source-6.1
missing = $(shell for p in $(1); do \
	[ "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || echo $$p; done)
as_root = $(if $(filter 0,$(shell id -u)),,sudo)

define install_missing
	$(Q)set -e; missing="$(call missing,$(1))"; \
	if [ -n "$$missing" ]; then \
		echo "installing: $$missing"; \
		command -v apt-get >/dev/null || { echo "no apt-get here: install them yourself" >&2; exit 1; }; \
		if [ "$$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null && ! [ -t 0 ]; then \
			echo "they need root or sudo: apt-get install $$missing" >&2; exit 1; fi; \
		$(as_root) apt-get update -qq; \
		$(as_root) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			$$missing >/dev/null; \
	fi
endef

deps: deps-build deps-check
deps-build:
	$(call install_missing,$(DEPS_BUILD))
deps-check: deps-build
	$(call install_missing,$(DEPS_CHECK))
deps-bench: deps-build
	$(call install_missing,$(DEPS_BENCH))

# ---- manual pages, installation ----------------------------------------------------

PAGES = $(wildcard Documentation/*.adoc)
MAN1 = $(patsubst Documentation/%.adoc,$(B)/man/%.1,$(filter Documentation/git-%.adoc,$(PAGES)))
PAGES7 = $(addprefix Documentation/interlock-,agents.adoc hooks.adoc leases.adoc)
MAN7 = $(patsubst Documentation/%.adoc,$(B)/man/%.7,$(PAGES7))
MAN5 = $(patsubst Documentation/%.adoc,$(B)/man/%.5,\
	$(filter-out $(PAGES7),$(filter Documentation/interlock-%.adoc,$(PAGES))))

define man_rules
$(B)/man/%.$(1): Documentation/%.adoc
	$$(SAY) MAN $$@
	$$(Q)mkdir -p $$(@D)
	$$(Q)asciidoctor --failure-level=WARN -b manpage -o $$@ $$<
endef
$(foreach s,1 5 7,$(eval $(call man_rules,$(s))))

man: $(MAN1) $(MAN5) $(MAN7)

install: all man
	install -d '$(DESTDIR)$(bindir)' '$(DESTDIR)$(mandir)/man1' '$(DESTDIR)$(mandir)/man5' '$(DESTDIR)$(mandir)/man7' \
		'$(DESTDIR)$(docdir)' '$(DESTDIR)$(libexecdir)'
	install -m 755 $(BINARIES) '$(DESTDIR)$(bindir)'
	install -m 555 $(HOOK_PROGRAMS) '$(DESTDIR)$(libexecdir)' # a hook that is written through our link stops here
	install -m 644 $(MAN1) '$(DESTDIR)$(mandir)/man1'
	install -m 644 $(MAN5) '$(DESTDIR)$(mandir)/man5'
	install -m 644 $(MAN7) '$(DESTDIR)$(mandir)/man7'
	install -m 644 README.md LICENSE $(PAGES) '$(DESTDIR)$(docdir)'
	for dir in claude-code codex agent-loop; do \
		install -d "$(DESTDIR)$(docdir)/contrib/$$dir" && \
		cp contrib/$$dir/* "$(DESTDIR)$(docdir)/contrib/$$dir" || exit; \
	done
	install -m 644 contrib/README.md '$(DESTDIR)$(docdir)/contrib'

uninstall:
	cd '$(DESTDIR)$(bindir)' && rm -f $(PROGRAMS)
	cd '$(DESTDIR)$(mandir)/man1' && rm -f $(notdir $(MAN1))
	cd '$(DESTDIR)$(mandir)/man5' && rm -f $(notdir $(MAN5))
	cd '$(DESTDIR)$(mandir)/man7' && rm -f $(notdir $(MAN7))
	rm -rf '$(DESTDIR)$(docdir)' '$(DESTDIR)$(libexecdir)'

# ---- running it --------------------------------------------------------------------
#
# The two commands of the README install first, then call make again: what was
# missing when this make began is there then.

quickstart:
	$(Q)$(MAKE) --no-print-directory deps-build
	$(Q)$(MAKE) --no-print-directory -j$(TEST_JOBS) all
	$(Q)t/quickstart.sh '$(B)'

check:
	$(Q)$(MAKE) --no-print-directory deps-check
	$(Q)$(MAKE) --no-print-directory -j$(TEST_JOBS) test-build
	$(Q)B='$(B)' TEST_GIT='$(TEST_GIT)' TEST_JOBS='$(TEST_JOBS)' t/run $(T)

ROUNDS ?= 30
check-stress:
	$(Q)$(MAKE) --no-print-directory deps-check
	$(Q)$(MAKE) --no-print-directory -j$(TEST_JOBS) test-build
	$(Q)B='$(B)' TEST_GIT='$(TEST_GIT)' ROUNDS='$(ROUNDS)' t/stress/run-stress.sh

fuzz:
	$(Q)$(MAKE) --no-print-directory deps-check
	$(Q)$(MAKE) --no-print-directory -j$(TEST_JOBS) CC=clang DEVELOPER=1 \
		SANITIZE=fuzzer-no-link,address,undefined B=build-fuzz fuzz-build
	$(Q)B=build-fuzz RUNS='$(RUNS)' T='$(T)' t/fuzz/run

bench:
	$(Q)$(MAKE) --no-print-directory deps-bench
	$(Q)$(MAKE) --no-print-directory -j$(TEST_JOBS) all $(B)/t/bench/pair
	$(Q)B='$(B)' t/bench/run $(BENCH_FLAGS)

$(B)/t/bench/%: t/bench/%.c $(B)/flags
	$(SAY) BENCH $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) $(CPPFLAGS) -MMD -MP -o $@ $<

format:
	clang-format -i $(shell git ls-files '*.c' '*.h')

clean:
	rm -rf build build-*

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

.PHONY: deps deps-build deps-check deps-bench man install uninstall quickstart check check-stress \
	fuzz bench format clean help
