#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Brings cargo to a machine that has none: everything else is installed by a
# program that cargo builds. Nothing that the machine has is upgraded or removed.

set -eu

oldest=1.85
packages='cargo rustc rustfmt'

give_up() {
	echo "error: $1" >&2
	echo "help: install Rust $oldest or later from https://rustup.rs:" >&2
	echo "help:   curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y \\" >&2
	echo 'help:     --profile minimal --component clippy,rustfmt,rust-src' >&2
	echo "help: and a C compiler, then open a new shell, so that cargo is on PATH" >&2
	exit 1
}

command -v apt-get >/dev/null || give_up 'cargo is missing, and there is no apt-get'

if [ "$(id -u)" -eq 0 ]; then
	root=''
elif sudo -n true 2>/dev/null; then
	root='sudo -n'
else
	root=none
fi

candidate() {
	LC_ALL=C apt-cache policy "$1" | sed -n 's/^ *Candidate: //p'
}

if [ "$root" != none ] && [ "$(candidate rustc)" = '' ]; then
	# A fresh machine or container has no package lists yet.
	$root apt-get update -q
fi

version=$(candidate rustc)
if [ -z "$version" ] || [ "$version" = '(none)' ] ||
	! dpkg --compare-versions "$version" ge "$oldest"; then
	give_up "cargo is missing, and the archive's rustc is ${version:-not there}"
fi

install="apt-get install --no-remove --no-upgrade --no-install-recommends $packages"
if [ "$root" = none ]; then
	echo 'error: cargo is missing, and installing it needs root' >&2
	echo "help: sudo $install" >&2
	exit 1
fi

# Asked first: what would be upgraded comes with its old version in brackets.
plan=$(LC_ALL=C apt-get install -s --no-upgrade --no-install-recommends $packages)
changes=$(echo "$plan" | grep -E '^(Remv|Inst [^ ]+ \[)' || true)
if [ -n "$changes" ]; then
	echo "$changes" >&2
	give_up 'installing cargo would upgrade or remove the packages above'
fi

echo "installing $packages ($version)"
DEBIAN_FRONTEND=noninteractive $root $install -y -q
