#!/bin/sh
# Rewrites expected outputs: runs the tests of every package that declares an
# -update flag, with that flag.
set -eu
cd "$(dirname "$0")/.."

packages=$(find . -name '*_test.go' -not -path '*/testdata/*' -exec grep -lE 'flag\.Bool\("update"' {} + |
	sed 's|/[^/]*$||' | sort -u)
if [ -z "$packages" ]; then
	echo "no package has expected outputs to rewrite"
	exit 0
fi
# shellcheck disable=SC2086 # one argument for each package
go test -count=1 $packages -update
