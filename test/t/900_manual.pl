# README.md and the manual tell the truth.
#
# The ```sql blocks of README.md are run in their order in one new database, those of
# each page of docs/manual in a new one that has a store.  All blocks of a page are
# typed into one psql (F1), but for those of another window: ```sql window 1.  All of
# it is done on a server that preloads the library and on one that does not; ```sql
# preloaded and ```sql not preloaded are for one of them (F2).  A ```text block that
# follows is what psql must print, errors and notifications included; a block without
# one must run without an error.  UUIDs, times, pids and the width of columns may
# differ.  A page leaves nothing behind that outlives its database.
#
# Snippets in other languages stand in examples/, which 910_examples.pl and
# 911_listeners.pl run.
#
# ES_PAGES is a pattern for the names of the pages, for tries.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsManual;

my $top = "$FindBin::RealBin/../..";
my $pattern = $ENV{ES_PAGES} || '.';
my @pages = grep { /$pattern/ } 'README.md', es_manual_pages($top);
my %blocks = map { $_ => [ es_manual_blocks(slurp_file("$top/$_")) ] } @pages;
my ($node, $preloaded, $server, $control, %windows, %has_run);

sub normalise
{
	my ($text) = @_;
	my $hex = qr/[0-9a-f]/;

	$text =~ s/\b$hex{8}-$hex{4}-$hex{4}-$hex{4}-$hex{12}\b/<uuid>/g;
	$text =~ s/\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d(:\d\d)?/<time>/g;
	$text =~ s/\b\d\d:\d\d:\d\d(\.\d+)?\b/<interval>/g;
	$text =~ s/\bpid \d+/pid <pid>/gi;
	$text =~ s/\bprocess \d+/process <pid>/gi;
	$text =~ s/-{3,}/---/g;
	$text =~ s/[ \t]+/ /g;
	$text =~ s/^ | $//mg;
	$text =~ s/\n\n+/\n/g;
	$text =~ s/^\n+|\n+$//g;
	return $text;
}

# A psql that goes on, with what goes in and what has come out of it.
sub open_window
{
	my ($database, @options) = @_;
	my %window = (in => '', out => '');
	my @psql = ('psql', '-XqPnull=', '-v', 'SHOW_CONTEXT=never', @options, '-d', $node->connstr($database));

	$window{timer} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	$window{run} = IPC::Run::start(\@psql, '<', \$window{in}, '>&', \$window{out}, $window{timer});
	return \%window;
}

# What it prints at once, and what has arrived for it before.
sub type
{
	my ($window, $sql) = @_;

	$window->{timer}->start;
	$window->{out} = '';
	$window->{in} .= "$sql\\echo (done)\n";
	eval { $window->{run}->pump until $window->{out} =~ s/^\(done\)\n//m; 1 }
	  or return "$window->{out}\nFATAL:  psql has ended\n";
	return $window->{out};
}

sub close_window
{
	my ($window) = @_;

	$window->{timer}->start;
	return eval { $window->{run}->finish };
}

# The test's own statements: in one session for the server, and in one for each page.
sub ask
{
	my ($window, $sql) = @_;
	my $out = type($window, "$sql;\n");

	die "$sql: $out" if $out =~ /^(ERROR|FATAL)/m;
	return split /\n/, $out;
}

# Waits until what was appended is published, and listeners have been told, where
# anything publishes, and no transaction is left open that has appended.
sub settle
{
	my ($where) = @_;
	my $query = sprintf q{
		SELECT (horizon = given AND notified = given) OR NOT (%s OR pid IS NOT NULL) OR holder_gid IS NOT NULL
			OR EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = holder_pid AND a.state LIKE 'idle in%%')
		FROM es_stat_publisher, (SELECT last_value - (NOT is_called)::int FROM es.events_position_seq) s(given)},
	  $preloaded ? 'true' : 'false';

	foreach (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $answer = type($windows{own}, "$query;\n");

		# no extension, no store, or one that is not ready
		return if $answer =~ /^t$|does not exist|ERROR: .*event store/m;
		select(undef, undef, undef, 0.01);
	}
	die "$where: what is appended is not published";
}

# What does not belong to one database.
sub cluster_state
{
	return ask($control, q{
		SELECT 'role ' || rolname FROM pg_roles
		UNION ALL SELECT 'database ' || datname FROM pg_database
		UNION ALL SELECT 'tablespace ' || spcname FROM pg_tablespace
		UNION ALL SELECT 'setting ' || setdatabase || ' ' || setrole || ' ' || setconfig::text FROM pg_db_role_setting
		UNION ALL SELECT 'setting ' || name FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf'
		UNION ALL SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts
		UNION ALL SELECT 'subscription ' || subname FROM pg_subscription
		UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots
		ORDER BY 1});
}

# A worker that was started by es_start_worker() would keep the database from being dropped.
sub end_worker
{
	my $worker = q(FROM pg_stat_activity WHERE datname = 'shop' AND backend_type LIKE 'pg_eventstore%');

	return if $preloaded;
	ask($control, "SELECT pg_terminate_backend(pid) $worker");
	foreach (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my ($gone) = ask($control, "SELECT count(*) = 0 $worker");

		return if $gone eq 't';
		select(undef, undef, undef, 0.01);
	}
	die 'the worker goes on';
}

sub has_sql
{
	my ($page) = @_;
	return grep { $_->{language} eq 'sql' } @{ $blocks{$page} };
}

sub run_block
{
	my ($page, $block, $next) = @_;
	my $where = "$page, line $block->{line}, $server";
	my $window = $windows{ defined $block->{window} ? $block->{window} : 'main' } ||= open_window('shop');

	settle($where);
	my $out = type($window, $block->{body});
	$has_run{"$page, line $block->{line}"} = 1;
	if (defined $next && $next->{language} eq 'text')
	{
		is(normalise($out), normalise($next->{body}), "$where: prints what it says");
	}
	else
	{
		unlike($out, qr/^(ERROR|FATAL|PANIC|WARNING):/m, "$where: runs without an error");
	}
	return;
}

sub run_page
{
	my ($page) = @_;
	my @blocks = @{ $blocks{$page} };
	my %before = map { $_ => 1 } cluster_state();

	ask($control, 'CREATE DATABASE shop');
	$windows{own} = open_window('shop', '-At');
	if ($page ne 'README.md')
	{
		ask($windows{own}, 'CREATE EXTENSION pg_eventstore');
		ask($windows{own}, 'SELECT es_init()');
		ask($windows{own}, 'SELECT es_start_worker()') unless $preloaded;
	}
	foreach my $i (0 .. $#blocks)
	{
		my $only = $blocks[$i]{only} || '';

		next if $blocks[$i]{language} ne 'sql';
		next if $only eq ($preloaded ? 'not preloaded' : 'preloaded');
		run_block($page, $blocks[$i], $blocks[ $i + 1 ]);
	}
	close_window($_) foreach values %windows;
	%windows = ();
	end_worker();
	ask($control, 'DROP DATABASE shop');
	my @left = cluster_state();
	is(join('; ', grep { !delete $before{$_} } @left), '', "F1: $page, $server: leaves no role, database or setting behind");
	is(join('; ', sort keys %before), '', "$page, $server: takes none away");
	return;
}

# whose name the pages print, and what psql calls itself
$ENV{PGUSER} = 'postgres';
delete $ENV{PGAPPNAME};
foreach (1, 0)
{
	$preloaded = $_;
	$server = $preloaded ? 'preloaded' : 'not preloaded';
	$node = PostgreSQL::Test::Cluster->new($preloaded ? 'preloaded' : 'plain');
	$node->init(extra => [ '-U', 'postgres' ]);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_eventstore'") if $preloaded;
	$node->start;
	$control = open_window('postgres', '-At');
	run_page($_) foreach grep { has_sql($_) } @pages;
	close_window($control);
	$node->stop;
}

# nothing is passed over
foreach my $page (@pages)
{
	my @blocks = @{ $blocks{$page} };
	my @sql = map { "$page, line $_->{line}" } grep { $_->{language} eq 'sql' } @blocks;

	is(join('; ', map { "line $_->{line}: $_->{error}" } grep { $_->{error} } @blocks), '',
		"$page: all blocks are understood");
	is(join('; ', grep { !$has_run{$_} } @sql), '', "$page: all SQL was run on one of the servers");
	is( join(', ', map { "line $blocks[$_]{line}" }
			  grep { $blocks[$_]{language} eq 'text' && ($_ == 0 || $blocks[ $_ - 1 ]{language} !~ /^(sql|sh)$/) } 0 .. $#blocks),
		'', "$page: all printed text follows what prints it");
}
cmp_ok(scalar keys %has_run, '>', 20, 'there is SQL that was run') unless $ENV{ES_PAGES};

# snippets in other languages
my %source = (
	python => [ glob "$top/examples/psycopg/*.py" ],
	js => [ glob "$top/examples/node-pg/*.js" ],
	c => [ glob "$top/examples/libpq/*.c" ]);

foreach my $page (@pages)
{
	foreach my $block (grep { $source{ $_->{language} } } @{ $blocks{$page} })
	{
		ok((grep { index(slurp_file($_), $block->{body}) >= 0 } @{ $source{ $block->{language} } }),
			"$page, line $block->{line}: the $block->{language} snippet stands in examples/");
	}
}

done_testing();
