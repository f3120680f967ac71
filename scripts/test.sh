#!/bin/sh
# Everything that CI runs, cheapest first, stopping at the first failure. The
# tests come last, so that their verdict is what stands at the end of a log.
set -eu
cd "$(dirname "$0")/.."

began=$(date +%s)

# stage NAME COMMAND...: runs the command and says how long it took.
stage() {
	name=$1
	shift
	printf '\n=== %s\n' "$name"
	start=$(date +%s)
	status=0
	"$@" || status=$?
	took=$(($(date +%s) - start))
	if [ "$status" != 0 ]; then
		printf -- '--- %s: FAILED after %s s\n' "$name" "$took" >&2
		exit "$status"
	fi
	printf -- '--- %s: %s s\n' "$name" "$took"
}

# Everything but the tests is built as the product is, without cgo and with the
# same flags, so that these stages share what they compile.
plain() {
	CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -trimpath" "$@"
}

stage "test servers" sh scripts/test-servers.sh
race=$(sh scripts/race.sh)
stage "format" sh scripts/fmt-check.sh
stage "build" plain "${MAKE:-make}" --no-print-directory build
stage "vet" plain go vet ./...
stage "staticcheck" plain go tool staticcheck ./...
stage "generated code" plain sh scripts/check-generated.sh
stage "fuzz" sh scripts/fuzz.sh
if [ -n "$race" ]; then
	stage "tests, with the race detector" env CGO_ENABLED=1 go test -race -timeout 15m ./...
else
	stage "tests, WITHOUT the race detector" go test -timeout 15m ./...
fi
printf 'all passed in %s s\n' "$(($(date +%s) - began))"
