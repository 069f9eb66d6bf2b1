# The checks that need no server.  Sourced by script/check.
# shellcheck shell=bash

static_checks() {
	local file

	# The build that the other suites use had -Werror too.
	result pass "static: no warning with the installed headers"
	check "static: no warning with another minor release's headers" build_other_minor
	check "static: the same server symbols with both minor releases' headers" same_imports
	check "static: exported symbols carry our prefix" exports_prefixed
	check "static: one version in META.json and the control file" one_version
	check "static: every test is in its schedule" schedules_complete
	for file in "$WORK/tree/test/static"/*; do
		[ ! -x "$file" ] || check "static: ${file##*/}" as_server "$file"
	done
}

# Builds with the headers of the other minor release that the archive has.
# Newer ones declare what older servers lack.
build_other_minor() {
	local package=postgresql-server-dev-$MAJOR dir=$WORK/other version config

	version=$(other_version "$package")
	[ -n "$version" ] || { say "no other version of $package to be had"; return 77; }
	mkdir -p "$dir/package"
	(
		cd "$dir"
		apt-get download "$package=$version" &&
			dpkg -x "$package"_*.deb package
	) > "$dir/download.log" 2>&1 ||
		{ say "$package $version cannot be downloaded"; return 77; }
	copy_tree "$dir/tree"
	give "$dir"
	config=$(private_postgres "$dir/pg" "$dir/package/usr/include/postgresql")
	as_server make -C "$dir/tree" PG_CONFIG="$config" with_llvm=no WERROR=-Werror
}

# The newest version of a package in the archive that is not installed.
other_version() {
	local installed

	installed=$(dpkg-query -W -f '${Version}' "$1" 2>/dev/null) || return 0
	apt-cache madison "$1" | awk -v installed="$installed" \
		'$3 != installed { print $3; exit }'
}

same_imports() {
	local other=$WORK/other/tree/pg_eventstore.so

	[ -e "$other" ] || { say "there was no second build"; return 77; }
	diff <(symbols --undefined-only "$WORK/tree/pg_eventstore.so") \
		<(symbols --undefined-only "$other")
}

symbols() {
	nm -D "$@" | awk '{ print $NF } END { exit !NR }' | sort
}

exports_prefixed() {
	local exported

	exported=$(symbols --defined-only "$WORK/tree/pg_eventstore.so") || return 1
	! grep -vE '^(es_|pg_finfo_es_|Pg_magic_func$|_PG_init$)' <<< "$exported"
}

one_version() {
	local version

	version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$TOP/pg_eventstore.control")
	! grep '"version"' "$TOP/META.json" | grep -v '"meta-spec"' |
		grep -vF "\"version\": \"$version\""
}

# A schedule that forgets a file would leave it unrun.
schedules_complete() {
	diff <(scheduled schedule) <(cd "$TOP" && all_tests test/sql .sql schedule) &&
		diff <(scheduled isolation_schedule) \
			<(cd "$TOP" && all_tests test/specs .spec isolation_schedule)
}

scheduled() {
	[ ! -f "$TOP/test/$1" ] ||
		sed -n 's/^test: *//p' "$TOP/test/$1" | tr -s ' ' '\n' | sort
}

all_tests() {
	local file

	[ -f "test/$3" ] || return 0
	for file in "$1"/*"$2"; do
		basename "$file" "$2"
	done | sort
}
