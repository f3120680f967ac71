#!/bin/sh
# Makes sure that the tests find a Postgres: they start servers of their own
# (internal/pgtest), so its programs are all that is needed. Installs them where
# that is possible.
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
