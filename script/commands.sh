# The checks of make demo and make demo-stop, as the server's user in the copy of
# the tree.  Sourced by script/check.
# shellcheck shell=bash

command_checks() {
	check "commands: make demo shows the main job" demo_shows
	check "commands: the psql line that make demo prints works" demo_goes_on
	check "commands: make demo runs again, and one server is left" demo_again
	check "commands: make demo-stop leaves nothing" demo_stops
	check "commands: make demo-stop after a reboot ends no other process" demo_after_reboot
}

demo() {
	as_server timeout 300 make -s -C "$WORK/tree" "$@" < /dev/null
}

# The two errors that it means to show, and nothing else that went wrong.
demo_shows() {
	demo demo > "$WORK/demo.log" 2>&1 || { cat "$WORK/demo.log"; return 1; }
	diff - <(grep -E '^(ERROR|FATAL|PANIC|WARNING|psql)|: error' "$WORK/demo.log" | cut -c 1-30) <<-'END'
		ERROR:  stream "order-1" is at
		ERROR:  the log is append-only
	END
}

demo_goes_on() {
	local line

	line=$(sed -n 's/^    \(.*psql -h\)/\1/p' "$WORK/demo.log")
	# The line as it stands, for a shell.
	# shellcheck disable=SC2086
	[ "$(as_server $line -Atc 'SELECT count(*) FROM es_read()')" = 11 ]
}

demo_again() {
	demo demo > "$WORK/demo.log" 2>&1 || { cat "$WORK/demo.log"; return 1; }
	demo_goes_on && [ "$(demo_servers)" = 1 ]
}

# How many servers run in the demo's directory.
demo_servers() {
	local process count=0

	for process in /proc/[0-9]*; do
		! [[ $(tr '\0' ' ' 2> /dev/null < "$process/cmdline") =~ postgres\ -D\ $WORK/tree/.demo ]] ||
			count=$((count + 1))
	done
	say "$count"
}

demo_stops() {
	local sockets

	sockets=$(cat "$WORK/tree/.demo/sockets")
	demo demo-stop
	[ "$(demo_servers)" = 0 ] && [ ! -e "$WORK/tree/.demo" ] && [ ! -e "$sockets" ]
}

# A pid file outlives a reboot, and its number may be another process's then.
demo_after_reboot() {
	local stranger status=0

	as_server mkdir -p "$WORK/tree/.demo/data"
	exec_server sleep 300 > /dev/null 2>&1 &
	stranger=$!
	say "$stranger" > "$WORK/tree/.demo/data/postmaster.pid"
	demo demo-stop || status=1
	kill "$stranger" || { say "it has been ended"; status=1; }
	wait "$stranger" || true
	[ "$status" -eq 0 ] && [ ! -e "$WORK/tree/.demo" ]
}
