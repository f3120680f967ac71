# Runs as the server's user, with the server's directory as its argument.
read -r _

# A server that runs has this file, and removes it when it ends. SIGQUIT is its
# immediate shutdown.
file=$1/data/postmaster.pid
pid=$(head -n 1 "$file" 2>/dev/null)
if [ -n "$pid" ]; then
	kill -QUIT "$pid" 2>/dev/null
	tries=0
	while [ -e "$file" ] && kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 200 ]; do
		tries=$((tries + 1))
		sleep 0.05
	done
fi

# An initdb that outlived the tests may still be writing.
tries=0
until rm -rf "$1" 2>/dev/null && [ ! -e "$1" ]; do
	tries=$((tries + 1))
	[ "$tries" -lt 100 ] || exit 1
	sleep 0.1
done
