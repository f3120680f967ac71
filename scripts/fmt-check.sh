#!/bin/sh
# Fails, naming them, if there are Go files that gofmt would change.
set -eu
cd "$(dirname "$0")/.."

files=$(gofmt -l .)
if [ -n "$files" ]; then
	printf '%s\n' "$files" >&2
	echo "these files are not formatted; run: make fmt" >&2
	exit 1
fi
