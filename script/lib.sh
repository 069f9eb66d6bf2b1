# What the scripts share.  Sourced, never run.
#
# A work directory holds all that a demo or a check makes: a copy of the
# project, built there; a private installation of PostgreSQL that has the
# extension; data directories and logs.  The machine's own installation and its
# clusters are never touched, and the server never runs as root.
# shellcheck shell=bash

set -euo pipefail
umask 022

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Nothing of the caller's psql or make settings reaches what is started here.
for name in $(compgen -e); do
	case $name in
		PG_CONFIG) ;;
		PG*) unset "$name" ;;
	esac
done
unset name MAKEFLAGS MAKELEVEL MFLAGS
export LC_ALL=C.UTF-8 LANG=C.UTF-8

say() {
	printf '%s\n' "$*"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

is_root() {
	[ "$(id -u)" -eq 0 ]
}

# Runs a command as root.
as_root() {
	if is_root; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "this needs root: $*
Run it as root, or install sudo."
	fi
}

# The user that the server runs as: whoever calls, but never root.
server_user() {
	if is_root; then
		say postgres
	else
		id -un
	fi
}

# Becomes a command of the server's user, in the work directory.
exec_server() {
	local user

	user=$(server_user)
	cd "$WORK"
	set -- env HOME="$WORK" USER="$user" LOGNAME="$user" "$@"
	! is_root || set -- setpriv --reuid="$user" --regid="$user" --init-groups "$@"
	exec "$@"
}

# Runs a command as the server's user, in the work directory.
as_server() {
	(exec_server "$@")
}

# The name of this Debian release.
release_name() {
	sed -n 's/^VERSION_CODENAME=//p' /etc/os-release
}

# The release's own major version of PostgreSQL; nothing where we do not know.
release_major() {
	case $(release_name) in
		bookworm) say 15 ;;
		trixie) say 17 ;;
		forky) say 18 ;;
	esac
}

# Sets PG_CONFIG, and MAJOR from it: what is asked for, or the release's own.
find_postgres() {
	local major

	if [ -z "${PG_CONFIG:-}" ]; then
		major=$(release_major)
		PG_CONFIG=/usr/lib/postgresql/${major:-none}/bin/pg_config
		[ -x "$PG_CONFIG" ] || PG_CONFIG=$(command -v pg_config) ||
			die "there is no pg_config; name one with PG_CONFIG=..."
	fi
	# shellcheck disable=SC2034
	MAJOR=$("$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
	export PG_CONFIG
}

# Sets WORK to an empty directory .NAME of the project, or where the server's
# user cannot get there, to one under /var/tmp.  .NAME/where remembers it.
make_work_dir() {
	local place=$TOP/.$1

	if ! mkdir -p "$place" || ! [ -w "$place" ]; then
		die "$place cannot be written; remove it as its owner does"
	fi
	WORK=$place
	if is_root; then
		give "$place"
		if ! as_server_reaches "$place"; then
			chown root: "$place"
			WORK=$(mktemp -d "/var/tmp/pg_eventstore-$1.XXXXXX")
			give "$WORK"
		fi
	fi
	say "$WORK" > "$place/where"
}

as_server_reaches() {
	setpriv --reuid=postgres --regid=postgres --init-groups test -w "$1"
}

# Stops every server of the work directory .NAME and removes the directory.
remove_work_dir() {
	local place=$TOP/.$1 where

	[ -e "$place" ] || return 0
	where=$(cat "$place/where" 2>/dev/null || say "$place")
	case $where in
		"$place") ;;
		"/var/tmp/pg_eventstore-$1."*) ;;
		*) where=$place ;;	# the project has been moved
	esac
	if [ -d "$where" ]; then
		stop_servers "$where"
		remove_sockets "$where"
	fi
	rm -rf "$where" "$place" ||
		die "$place cannot be removed; remove it as its owner does"
}

# Stops the servers whose data directories are in a directory.  A process
# belongs to a data directory if that is where it runs; so a pid file that
# outlived a reboot harms nobody.
stop_servers() {
	local file data pid signal

	while IFS= read -r file; do
		data=$(cd "$(dirname "$file")" && pwd -P)
		pid=$(head -n 1 "$file")
		for signal in INT QUIT; do
			runs_in "$pid" "$data" || continue 2
			kill -"$signal" "$pid" 2>/dev/null || continue 2
			await_end "$pid" "$data" && continue 2
		done
		say "server $pid in $data does not stop" >&2
	done < <(find "$1" -name postmaster.pid 2>/dev/null)
}

runs_in() {
	[ "$(readlink "/proc/$1/cwd" 2>/dev/null)" = "$2" ]
}

# Waits until a process no longer runs in a directory, at most half a minute.
await_end() {
	local tries=300

	while runs_in "$1" "$2"; do
		[ $((tries--)) -gt 0 ] || return 1
		sleep 0.1
	done
}

# Sets SOCKETS to a new directory for sockets, with a name that is short enough
# for them wherever the project lies, and only the server's user may enter.
make_sockets() {
	SOCKETS=$(mktemp -d /tmp/es.XXXXXX)
	say "$SOCKETS" >> "$WORK/sockets"
	give "$SOCKETS"
}

remove_sockets() {
	local dir

	[ -f "$1/sockets" ] || return 0
	while IFS= read -r dir; do
		case $dir in
			/tmp/es.??????) rm -rf "$dir" ;;
		esac
	done < "$1/sockets"
}

# Copies the project, without what was built in it, to a directory.  Times keep their
# fractions, or a source that is changed in the second of its object would look older.
copy_tree() {
	mkdir -p "$1"
	tar --format=posix -C "$TOP" -cf - --exclude=./.git --exclude=./.before --exclude=./.check --exclude=./.demo \
		--exclude=./.bench --exclude='*.o' --exclude='*.so' \
		--exclude='*.bc' --exclude='./pg_eventstore--*.sql' . | tar -C "$1" -xf - --no-same-owner
}

# Hands files to the server's user.
give() {
	! is_root || chown -R postgres: "$@"
}

# Makes a private installation of PostgreSQL in a directory: copies of the
# programs, links to everything else.  The programs find what belongs to them
# relative to where they are themselves, so this is a whole installation, its
# pg_config included, and the machine's own is left alone.  Prints the path of
# its pg_config.  The headers may come from elsewhere.
private_postgres() {
	local to=$1 headers=${2:-} base bin lib share include

	bin=$("$PG_CONFIG" --bindir)
	lib=$("$PG_CONFIG" --pkglibdir)
	share=$("$PG_CONFIG" --sharedir)
	include=$("$PG_CONFIG" --includedir)
	base=$(common_path "$(common_path "$bin" "$lib")" "$(common_path "$share" "$include")")
	as_server mkdir -p "$to${bin#"$base"}" "$to${lib#"$base"}" \
		"$to${share#"$base"}/extension" "$to${include#"$base"}"
	as_server cp -a "$bin/." "$to${bin#"$base"}"
	link_all "$lib" "$to${lib#"$base"}"
	link_all "$share" "$to${share#"$base"}"
	link_all "$share/extension" "$to${share#"$base"}/extension"
	[ -z "$headers" ] || link_all "$headers" "$to${include#"$base"}"
	link_all "$include" "$to${include#"$base"}"
	say "$to${bin#"$base"}/pg_config"
}

# Links what is in one directory into another, where it is not there yet, and
# without what an installed pg_eventstore left.
link_all() {
	local from=$1 to=$2 file
	local files=()

	for file in "$from"/*; do
		case ${file##*/} in
			pg_eventstore*|bitcode) continue ;;
		esac
		[ -e "$to/${file##*/}" ] || files+=("$file")
	done
	[ ${#files[@]} -eq 0 ] || as_server ln -s -t "$to" "${files[@]}"
}

# The longest directory that two paths have in common.
common_path() {
	local path=$1

	while [ "${2#"$path"/}" = "$2" ]; do
		path=${path%/*}
	done
	say "$path"
}

# Copies the project into a directory of the work directory, builds it there and
# installs it into a private installation.  Prints the path of its pg_config.
# Further arguments are for make.  ES_OBJECTS has objects of the same build, for all
# sources that are older.
build_private() {
	local dir=$1

	shift
	copy_tree "$dir/tree"
	[ -z "${ES_OBJECTS:-}" ] || cp -p "$ES_OBJECTS"/*.o "$dir/tree/src"
	build_copy "$dir" "$@"
}

# The same with a source that is in DIR/tree already.
build_copy() {
	local dir=$1 config

	shift
	give "$dir"
	config=$(private_postgres "$dir/pg")
	# Not every machine has the compiler for bitcode, and no test needs it.
	as_server make -C "$dir/tree" PG_CONFIG="$config" with_llvm=no "$@" \
		all install > "$dir/build.log" 2>&1 ||
		{ tail -n 60 "$dir/build.log" >&2; die "the extension cannot be built"; }
	say "$config"
}

# The commit of an older version, by its name in test/before.
before_commit() {
	sed -n "s/^$1 \([0-9a-f]*\) .*/\1/p" "$TOP/test/before"
}

# Puts the source of an older version into a directory; fails where the history is not
# there.  A tree without history has it in .before.
copy_before() {
	local commit

	commit=$(before_commit "$1")
	mkdir -p "$2"
	if [ -d "$TOP/.before/$commit" ]; then
		tar -C "$TOP/.before/$commit" -cf - . | tar -C "$2" -xf - --no-same-owner
	else
		git -C "$TOP" archive "$commit" 2>/dev/null | tar -C "$2" -xf - --no-same-owner 2>/dev/null
	fi
}

# Builds in the work directory, and makes the private installation there the one
# that PG_CONFIG names and BINDIR's programs belong to.
build() {
	find_postgres
	PG_CONFIG=$(build_private "$WORK" "$@")
	BINDIR=$("$PG_CONFIG" --bindir)
}

# Starts a server on a new data directory in SOCKETS; the rest is lines for its settings.
start_server() {
	local data=$1

	shift
	as_server "$BINDIR/initdb" -D "$data" -U postgres --auth=trust --encoding=UTF8 \
		--locale=C --no-sync > "$WORK/initdb.log" 2>&1 ||
		{ cat "$WORK/initdb.log"; return 1; }
	printf '%s\n' "listen_addresses = ''" "port = 5432" \
		"unix_socket_directories = '$SOCKETS'" "unix_socket_permissions = 0700" "$@" |
		as_server tee -a "$data/postgresql.conf" > /dev/null
	as_server "$BINDIR/pg_ctl" -D "$data" -l "$data.log" -s -w start \
		< /dev/null ||
		{ tail -n 30 "$data.log"; return 1; }
}
