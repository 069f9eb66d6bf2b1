# The listeners in examples/ miss nothing and repeat nothing (P1, O3): they read on
# from their checkpoint after the connection was lost, after events came while they
# were away, after they were killed, and after a crash of the server; a notification
# wakes them, and a cursor ahead of the log ends them (P6).
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsTest;

my $examples = "$FindBin::RealBin/../../examples";
my $node = es_server('listeners', empty => 1, conf => "shared_preload_libraries = 'pg_eventstore'\n");

# The first of these commands that runs, or undef.
sub first_that_runs
{
	foreach my $command (@_)
	{
		my ($out, $err);
		return $command->[0] if eval { IPC::Run::run($command, '<', \undef, '>', \$out, '2>', \$err) };
	}
	return undef;
}

# A listener that runs: a hash with what it has printed.
sub start_listener
{
	my ($db, @command) = @_;
	local @ENV{qw(PGHOST PGPORT PGDATABASE PGUSER)} = ($node->host, $node->port, $db, $db);
	# so that what comes is brought by a notification, or by coming back
	local $ENV{LISTENER_POLL} = 3600;
	my %listener = (
		out => '', err => '',
		timer => IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

	$listener{run} = IPC::Run::start(\@command, '<', \undef, '>', \$listener{out}, '2>', \$listener{err},
		$listener{timer});
	return \%listener;
}

# Waits until it has printed so many events.
sub await_events
{
	my ($listener, $n) = @_;

	$listener->{timer}->start;
	eval { $listener->{run}->pump while ($listener->{out} =~ tr/\n//) < $n };
	diag("$@$listener->{err}") if $@;
	return $listener->{out};
}

sub kill_listener
{
	my ($listener) = @_;

	$listener->{run}->signal('KILL');
	eval { $listener->{run}->finish };
	return;
}

# What a listener prints for everything from the n-th event on.
sub all_events
{
	my ($db, $n) = @_;

	return $node->safe_psql($db, qq(SELECT concat_ws(' ', position, stream, version, type)
		FROM es.events ORDER BY position OFFSET $n - 1)) . "\n";
}

sub append
{
	my ($db, $stream, $n) = @_;

	$node->safe_psql($db, qq(SELECT es_append('$stream', -1, 'Happened', '{}') FROM generate_series(1, $n)));
	return;
}

sub drop_connection
{
	my ($db) = @_;

	$node->safe_psql($db, qq(SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE usename = '$db' AND datname = '$db'));
	return;
}

# Each language has a database, and a role of the same name that may read.
sub check_listener
{
	my ($db, @command) = @_;
	my $listener;

	$node->safe_psql('postgres', qq(CREATE DATABASE $db));
	$node->safe_psql('postgres', qq(CREATE ROLE $db LOGIN));
	es_create($node, $db);
	$node->safe_psql($db, qq(GRANT SELECT ON es.events TO $db; GRANT CREATE ON SCHEMA public TO $db));

	append($db, 'before-1', 250);
	$listener = start_listener($db, @command);
	is(await_events($listener, 250), all_events($db, 1), 'it begins with what is there, page by page');
	append($db, 'told-1', 1);
	append($db, 'told-2', 1);
	is(await_events($listener, 252), all_events($db, 1), 'O3: a notification wakes it');

	$node->safe_psql($db, qq(ALTER ROLE $db NOLOGIN));
	drop_connection($db);
	append($db, 'away-1', 3);
	$node->safe_psql($db, qq(ALTER ROLE $db LOGIN));
	is(await_events($listener, 255), all_events($db, 1), 'P1: what came while it was away is not missed');

	$node->safe_psql($db, q(BEGIN; SELECT es_append('undone-1', 0, 'Happened', '{}'); ROLLBACK));
	append($db, 'after-1', 1);
	is(await_events($listener, 256), all_events($db, 1), 'P1: what is rolled back is not told');

	es_poll_ok($node, qq(SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = '$db' AND state = 'idle'),
		'it sleeps');
	kill_listener($listener);
	append($db, 'killed-1', 2);
	$listener = start_listener($db, @command);
	is(await_events($listener, 2), all_events($db, 257), 'P1: killed and started again, it reads on');

	$node->stop('immediate');
	$node->start;
	append($db, 'crashed-1', 2);
	is(await_events($listener, 4), all_events($db, 257), 'P1: and after a crash of the server');
	append($db, 'crashed-2', 1);
	is(await_events($listener, 5), all_events($db, 257), 'O4: a notification wakes it again');

	is( $node->safe_psql($db, q(SELECT position = es_horizon() FROM checkpoint WHERE name = 'listener')),
		't', 'its checkpoint is at the horizon');
	$node->safe_psql($db, q(UPDATE checkpoint SET position = position + 1000));
	drop_connection($db);
	$listener->{timer}->start;
	is(eval { $listener->{run}->finish }, '', 'P6: ahead of the log, it ends with an error');
	like($listener->{err}, qr/have seen what the log has lost/, 'P6: and says so');
	return;
}

SKIP:
{
	my $python = first_that_runs(map { [ $_, '-c', 'import psycopg' ] }
		  grep { defined } $ENV{PYTHON}, '/usr/bin/python3', 'python3');

	skip 'FAILED TO TEST examples/psycopg: no python3 with psycopg 3 (Debian: python3-psycopg)', 1
	  unless defined $python;
	subtest 'psycopg' => sub { check_listener('psycopg', $python, "$examples/psycopg/listener.py") };
}

SKIP:
{
	# Debian's node-pg is in a folder that other builds of Node.js do not search
	local $ENV{NODE_PATH} = join(':', grep { defined } $ENV{NODE_PATH}, '/usr/share/nodejs');
	my $node_js = first_that_runs(map { [ $_, '-e', 'require("pg")' ] }
		  grep { defined } $ENV{NODE}, 'node', '/usr/bin/node');

	skip 'FAILED TO TEST examples/node-pg: no node with pg (Debian: nodejs and node-pg)', 1
	  unless defined $node_js;
	subtest 'node-pg' => sub { check_listener('node_pg', $node_js, "$examples/node-pg/listener.js") };
}

$node->stop;
done_testing();
