#!/bin/sh
# Makes sure that the tests find what they start: a Postgres, of which they need
# the programs (internal/pgtest), and a Python that speaks gRPC, for the connector
# of examples/python. Installs both where that is possible.
set -eu
cd "$(dirname "$0")/.."

# The same places as internal/pgtest/tools.go.
find_postgres() {
	path=$(command -v postgres 2>/dev/null || true)
	[ -z "$path" ] || path=$(readlink -f "$path")
	for dir in "${path%/*}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* \
		/opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
		if [ -n "$dir" ] && [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ]; then
			"$dir/postgres" --version
			return 0
		fi
	done
	return 1
}

# The same interpreters as internal/e2e/python_test.go.
find_python() {
	for python in "${AVHUB_TEST_PYTHON:-}" /usr/bin/python3 python3; do
		if [ -n "$python" ] && "$python" -c 'import grpc, cryptography, google.protobuf.internal.builder' 2>/dev/null; then
			echo "Python with grpcio: $python"
			return 0
		fi
	done
	return 1
}

if ! find_python && ! { sh scripts/install.sh python3 python3-grpcio python3-protobuf python3-cryptography && find_python; }; then
	echo "!! no python3 with grpcio, protobuf 3.20 or newer, and cryptography: the connector in Python will not be tested" >&2
	if [ -n "${CI:-}" ]; then
		exit 1
	fi
fi

if [ "${AVHUB_TEST_POSTGRES:-}" = skip ]; then
	echo "!! AVHUB_TEST_POSTGRES=skip: nothing will be tested on Postgres" >&2
	exit 0
fi
if find_postgres; then
	exit 0
fi
if sh scripts/install.sh postgresql && find_postgres; then
	exit 0
fi
cat >&2 <<'END'

The tests need the programs of a PostgreSQL server, 13 or newer, and found none:
  Debian, Ubuntu   apt-get install postgresql
  Fedora           dnf install postgresql-server
  Alpine           apk add postgresql
  macOS            brew install postgresql@17
Or leave out everything that is tested on Postgres: AVHUB_TEST_POSTGRES=skip make test
END
exit 1
