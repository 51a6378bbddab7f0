# SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0
# shellcheck shell=bash
#
# Where things are, and an environment without the caller's settings: for the
# bats files (through helpers.bash) and for the scripts in t/stress.

TOP=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
B=${B:-build}
case $B in /*) ;; *) B=$TOP/$B ;; esac
BIN=${BIN:-$B}
case $BIN in /*) ;; *) BIN=$(cd "$BIN" && pwd) ;; esac
HELPER=$B/t/helper
TWIN=$TOP/t/twin
export TOP B BIN HELPER TWIN

# Nothing of the caller's settings gets in: a home of its own, no system
# configuration, no GIT_* variable, one identity, one language, one time zone.
isolate_in() { # <directory for a home>
    local name
    for name in ${!GIT_@} ${!CAS_REF_@} ${!XDG_@}; do unset "$name"; done
    unset EDITOR VISUAL PAGER LESS LANGUAGE SSH_ASKPASS CDPATH
    export LC_ALL=C TZ=UTC TERM=dumb
    export HOME=$1/home
    export XDG_CONFIG_HOME=$HOME/.config
    export GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
    mkdir -p "$HOME"
    cat >"$HOME/.gitconfig" <<-'CONFIG'
	[user]
		name = A U Thor
		email = author@example.com
	[init]
		defaultBranch = main
	[gc]
		auto = 0
		autoDetach = false
	[maintenance]
		auto = false
	[advice]
		detachedHead = false
		addEmbeddedRepo = false
	[protocol "file"]
		allow = always
	CONFIG
    PATH=$BIN${TEST_GIT:+:$TEST_GIT}:$REST_OF_PATH
    export PATH
}
REST_OF_PATH=${REST_OF_PATH:-$PATH}
export REST_OF_PATH
