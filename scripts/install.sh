#!/bin/sh
# install.sh PACKAGE...: installs packages with apt-get where that is possible
# without asking anybody. Fails, saying why, where it is not.
set -eu

if ! command -v apt-get >/dev/null 2>&1; then
	echo "install.sh: this is not Debian or Ubuntu (there is no apt-get)" >&2
	exit 1
fi
as=
if [ "$(id -u)" != 0 ]; then
	if ! sudo -n true 2>/dev/null; then
		echo "install.sh: need root, or a sudo that asks no password, to install: $*" >&2
		exit 1
	fi
	as="sudo -n"
fi
# Standard input is closed for CI, which has none; the lock may be held by the
# machine's own upgrades for a while.
$as apt-get update -q </dev/null >&2
$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
	-o DPkg::Lock::Timeout=120 "$@" </dev/null >&2
