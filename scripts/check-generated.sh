#!/bin/sh
# Generates everything anew, in place, and fails if that changed, added or
# removed a file: then what is in the tree is not what its sources say. It
# compares with the tree as it was a moment ago rather than with a commit, so it
# needs no git and does not mistake work in progress for stale code.
set -eu
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

sums() {
	for folder in core docs ent examples sdk; do
		[ ! -d "$folder" ] || find "$folder" -type f -exec cksum {} +
	done | sort -k 3
}

sums >"$dir/before"
sh scripts/generate.sh
sums >"$dir/after"
if ! cmp -s "$dir/before" "$dir/after"; then
	echo "generated files were not current:" >&2
	diff "$dir/before" "$dir/after" | sed -n 's/^[<>] [0-9]* [0-9]* /  /p' | sort -u >&2
	echo "they are now; look at the difference and commit it (make generate does the same)" >&2
	exit 1
fi
