#!/bin/sh
# Runs every fuzz function in the tree for a short while. FUZZ_SECONDS (6) is the
# time for each, FUZZ_TOTAL (180) for all of them together, without compiling.
set -eu
cd "$(dirname "$0")/.."

targets=$(find . -name '*_test.go' -not -path '*/testdata/*' \
	-exec grep -EHo '^func Fuzz[A-Za-z0-9_]*\([a-z]+ \*testing\.F\)' {} + |
	sed -E 's|/[^/]*:func (Fuzz[A-Za-z0-9_]*)\(.*|/ \1|' | sort -u)
if [ -z "$targets" ]; then
	echo "there are no fuzz functions"
	exit 0
fi
count=$(printf '%s\n' "$targets" | wc -l)
seconds=$((${FUZZ_TOTAL:-180} / count))
[ "$seconds" -le "${FUZZ_SECONDS:-6}" ] || seconds=${FUZZ_SECONDS:-6}
[ "$seconds" -ge 1 ] || seconds=1

log=$(mktemp)
trap 'rm -f "$log"' EXIT
printf '%s\n' "$targets" | while read -r package name; do
	printf '%s %s %s s: ' "$package" "$name" "$seconds"
	tries=0
	until go test -run '^$' -fuzz "^$name\$" -fuzztime "${seconds}s" "$package" >"$log" 2>&1 </dev/null; do
		# Go before 1.27 sometimes reports the end of the fuzzing time as a
		# failure (https://go.dev/issue/75804). A finding names its input.
		tries=$((tries + 1))
		if [ "$tries" -ge 3 ] || grep -q 'Failing input' "$log" || ! grep -q 'context deadline exceeded' "$log"; then
			echo FAILED
			cat "$log" >&2
			exit 1
		fi
	done
	grep -E '^fuzz: elapsed' "$log" | tail -n 1 | sed -E 's/^fuzz: elapsed: [^,]*, //'
done
