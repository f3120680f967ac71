#!/bin/sh
# Generates all generated code, in the order in which it builds on itself: the
# connector protocol, ent's code, and then what other packages ask for in
# go:generate lines, such as migrations, which are made with ent's code.
set -eu
cd "$(dirname "$0")/.."

find sdk -name '*.proto' -exec go run ./internal/tools/protogen -python examples/python/avhub {} +
if [ -f ent/generate.go ]; then
	go generate ./ent
fi
# -e: some packages may not compile before their code is generated.
module=$(go list -m)
packages=$(go list -e ./... | grep -v "^$module/ent$" || true)
# shellcheck disable=SC2086 # one argument for each package
go generate $packages
