#!/bin/sh
# Prints "-race" if tests can be built with the race detector, and nothing if
# not. The detector is the one thing here that needs a C compiler; it is
# installed if it is missing and that is possible.
set -eu
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/main.go" <<'END'
package main

import "C"

func main() {}
END

# Only a build tells: a compiler may be there without the headers it needs.
works() {
	CGO_ENABLED=1 go build -race -o "$dir/main" "$dir/main.go" >"$dir/log" 2>&1 && "$dir/main" >>"$dir/log" 2>&1
}

if works || { sh scripts/install.sh gcc libc6-dev && works; }; then
	echo "-race"
	exit 0
fi
{
	echo
	echo "!! THE TESTS RUN WITHOUT THE RACE DETECTOR. It needs a C compiler:"
	sed 's/^/!!   /' "$dir/log"
	echo "!! Data races will not be found here. Install gcc and the C library's headers for that."
	echo
} >&2
