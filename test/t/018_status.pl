# Who holds the horizon, and for how long, is named (P4): an appender that is idle in
# its transaction, a prepared transaction; what is counted is counted; and only
# members of pg_monitor and the store's owner see it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsClient;
use EsPublish;
use EsTest;

my $node = es_preloaded('status');

sub value
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

sub count_is
{
	my ($appends, $events, $conflicts, $repeats, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(value('SELECT appends, events, conflicts, repeats FROM es_stat_appends'), "$appends|$events|$conflicts|$repeats", "counted: $name");
	return;
}

# what is counted
my $id = uuid(1, 1);
count_is(0, 0, 0, 0, 'nothing yet');
value(qq(SELECT es_append('a-1', 0, 'T', '{}', id => '$id')));
count_is(1, 1, 0, 0, 'an append');
value(q(SELECT FROM es_append_batch('a-1', 1, '{T,T,T}', '{1,2,3}')));
count_is(2, 4, 0, 0, 'a batch');
es_state_ok($node, q(SELECT es_append('a-1', 0, 'T', '{}')), 'SE001', 'a conflict');
count_is(2, 4, 1, 0, 'a conflict');
value(q(SELECT FROM es_try_append('a-1', 0, '{T}', '{1}')));
count_is(2, 4, 2, 0, 'one that is an answer');
my $logged = -s $node->logfile;
value(q(SELECT FROM es_try_append_json('[{"stream": "a-1", "expected": 0, "events": [{"type": "T", "data": 1}]}, {"stream": "b-1", "expected": 7}]')));
count_is(2, 4, 3, 0, 'one that is an answer in rows');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile, $logged), qr/ERROR/, 'and writes nothing into the log');
value(qq(SELECT es_append('a-1', 0, 'T', '{}', id => '$id')));
count_is(2, 4, 3, 1, 'a repeated call');
value(q(BEGIN; SELECT es_append('a-2', 0, 'T', '{}'); ROLLBACK));
count_is(2, 4, 3, 1, 'nothing that was rolled back');

# all is well
es_poll_in($node, 'postgres', q(SELECT state = 'idle' AND lag_events = 0 FROM es_stat_publisher), 'the publisher rests');
es_poll_in($node, 'postgres', 'SELECT notified >= 4 FROM es_stat_publisher', 'listeners have been told');
is(value(q(SELECT horizon >= 4, head, lag_events, lag, holder_pid, holder_application, holder_age, holder_gid,
		started_at <= now(), ticks > 0, last_tick_at <= now(), notifications > 0, notifications_skipped, notifications_stuck, last_error, last_error_at
		FROM es_stat_publisher)), 't|4|0|00:00:00|||||t|t|t|t|0|f||', 'es_stat_publisher');
is(value('SELECT pid FROM es_stat_publisher'), es_publisher_pid($node), 'with the pid');
is(value(q(SELECT kind, database, pid = (SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_eventstore ' || kind), state FROM es_stat_workers ORDER BY kind)),
	"launcher||t|idle\npublisher|postgres|t|idle", 'es_stat_workers');
is(value(q(SELECT count(*) FROM es_outbox)), '0', 'es_outbox is empty');
is(value(q(SELECT string_agg(topic || ' ' || status, ', ' ORDER BY topic) FROM es_status())),
	'horizon ok, notifications ok, preload ok, publisher ok, store ok, tenants ok', 'es_status() says that all is well');
is(value(q(SELECT count(*) FROM es_status() WHERE status <> 'ok' AND hint IS NULL)), '0', 'what is not has a hint');

# an appender that is idle in its transaction
my $holder = EsClient->new($node, name => 'slow app');
$holder->run('BEGIN');
$holder->run(q(SELECT es_append('held-1', 0, 'T', '{}')));
my $low = $holder->value(q(SELECT es_position('held-1')));
my $pid = $holder->pid;
is(value(q(SELECT holder_pid, holder_application, holder_age >= '0', holder_gid, lag_events FROM es_stat_publisher)), "$pid|slow app|t||0",
	'P4: es_stat_publisher names who holds the horizon');
is(value(qq(SELECT status FROM es_status() WHERE topic = 'holder' AND detail LIKE 'Process $pid (postgres, slow app)%')), 'ok',
	'es_status() names it, with nothing to wait for as well');
value(q(SELECT es_append('b-' || i, 0, 'T', '{}') FROM generate_series(1, 3) i));
is(value(q(SELECT lag_events, lag > '0', holder_pid FROM es_stat_publisher)), "3|t|$pid", 'P4: what waits behind it is counted, in events and time');
my ($status, $detail, $hint) = split /\|/, value(q(SELECT status, detail, hint FROM es_status() WHERE topic = 'holder'));
is($status, 'warning', 'es_status() warns of one that is idle in its transaction');
like($detail, qr/Process $pid \(postgres, slow app\).*idle in transaction.*from position $low on/, 'naming it, and what it holds');
like($hint, qr/pg_terminate_backend/, 'and the way out');
is(value('SELECT string_agg(stream, \' \' ORDER BY position) FROM es_outbox'), 'b-1 b-2 b-3', 'es_outbox shows what waits');
my $second = EsClient->new($node, name => 'second app');
$second->run('BEGIN');
$second->run(q(SELECT es_append('held-2', 0, 'T', '{}')));
is(value(q(SELECT holder_pid FROM es_stat_publisher)), $pid, 'P4: of two holders the first is named');
is(value(q(SELECT count(*) FROM es_status() WHERE topic = 'holder')), '2', 'es_status() names both');

# others hold nothing
my @strangers;
value('CREATE DATABASE other');
foreach my $case (
	[ postgres => 'CREATE TABLE w AS SELECT 1' ], [ postgres => 'SELECT pg_current_xact_id()' ], [ postgres => 'SELECT * FROM es.events' ],
	[ postgres => 'SELECT nextval(\'es.events_position_seq\')' ], [ postgres => 'SELECT last_value FROM es.events_position_seq' ],
	[ postgres => 'LOCK TABLE es.events IN ROW EXCLUSIVE MODE' ], [ postgres => 'SELECT * FROM pg_sequences' ], [ other => 'SELECT pg_current_xact_id()' ])
{
	my ($db, $sql) = @$case;
	my $stranger = EsClient->new($node, db => $db, name => 'stranger');

	$stranger->run('BEGIN');
	$stranger->run('SAVEPOINT s');
	is($stranger->run($sql)->{state}, '00000', "$sql in $db");
	$stranger->run('ROLLBACK TO s') if $sql =~ /nextval/;
	push @strangers, $stranger;
}
is(value(q(SELECT count(*) FROM es_status() WHERE topic = 'holder')), '2', 'P4: who has not appended holds nothing');
$holder->run('COMMIT');
es_poll_in($node, 'postgres', "SELECT horizon > $low AND holder_pid = " . $second->pid . ' FROM es_stat_publisher', 'P4: the first has ended: the second is named');
$second->run('ROLLBACK');
es_poll_in($node, 'postgres', 'SELECT lag_events = 0 AND holder_pid IS NULL AND horizon >= head FROM es_stat_publisher', 'P4: both have ended: nobody holds');
is(value(q(SELECT count(*) FROM es_outbox)), '0', 'while all the others are open');
$_->close foreach @strangers;

# one that is ended
$holder->run('BEGIN');
$holder->run(q(SELECT es_append('held-3', 0, 'T', '{}')));
value(q(SELECT es_append('b-4', 0, 'T', '{}')));
is(value(q(SELECT pg_terminate_backend(holder_pid) FROM es_stat_publisher)), 't', 'the way out');
es_poll_in($node, 'postgres', 'SELECT horizon >= head AND holder_pid IS NULL FROM es_stat_publisher', 'P4: releases the horizon');
$holder->close;

# a prepared transaction
value(q(BEGIN; SELECT es_append('held-4', 0, 'T', '{}'); PREPARE TRANSACTION 'the gid'));
is(value(q(SELECT holder_pid, holder_gid, holder_age >= '0' FROM es_stat_publisher)), '|the gid|t', 'P4: a prepared transaction is named by its gid');
value(q(SELECT es_append('b-5', 0, 'T', '{}')));
is(value(q(SELECT status, detail ~ 'Prepared transaction "the gid".* from position [0-9]+ on', hint ~ 'ROLLBACK PREPARED' FROM es_status() WHERE topic = 'holder')),
	'warning|t|t', 'es_status() warns of it');
value(q(COMMIT PREPARED 'the gid'));
es_poll_in($node, 'postgres', 'SELECT horizon >= head AND holder_gid IS NULL FROM es_stat_publisher', 'and holds nothing when it has ended');

# who may see it
value(q(CREATE ROLE reader; CREATE ROLE monitor; GRANT pg_monitor TO monitor;
	GRANT USAGE ON SCHEMA es TO reader; GRANT SELECT ON es.events TO reader));
foreach my $view (qw(es_stat_publisher es_stat_appends es_stat_workers es_stat_waiting es_status()))
{
	es_state_ok($node, "SET ROLE reader; SELECT * FROM $view", '42501', "a reader of the log does not see $view");
	es_state_ok($node, "SET ROLE monitor; SELECT * FROM $view", '00000', "a member of pg_monitor does");
}
es_state_ok($node, 'SET ROLE reader; SELECT * FROM es_outbox', '00000', 'a reader of the log sees the outbox');
es_state_ok($node, 'SET ROLE monitor; SELECT * FROM es_outbox', '42501', 'a member of pg_monitor sees no events');
value(q(CREATE ROLE keeper; GRANT CREATE ON DATABASE other TO keeper));
$node->safe_psql('other', q(CREATE EXTENSION pg_eventstore; GRANT EXECUTE ON FUNCTION pg_eventstore_guard() TO keeper; SET ROLE keeper; SELECT es_init()));
es_has_publisher_ok($node, 'other', 'a store of another owner');
is($node->safe_psql('other', q(SET ROLE keeper; SELECT string_agg(database, ' ') FROM es_stat_workers WHERE kind = 'publisher')), 'other',
	'who sees the worker of his own store');
is($node->safe_psql('other', q(SET ROLE keeper; SELECT count(*) FROM es_stat_publisher, es_stat_appends)), '1', 'and the other views');
is($node->safe_psql('other', q(SET ROLE keeper; SELECT status FROM es_status() WHERE topic = 'publisher')), 'ok', 'and es_status()');
is($node->safe_psql('other', q(SET ROLE monitor; SELECT string_agg(database, ' ' ORDER BY database) FROM es_stat_workers WHERE kind = 'publisher')), 'other postgres',
	'a member of pg_monitor sees all');

# O3: looking writes nothing
my $before = value('SELECT count(*) FROM es.ticks');
es_state_ok($node, "BEGIN READ ONLY; SELECT * FROM $_", '00000', "O3: $_ in a READ ONLY transaction")
  foreach qw(es_stat_publisher es_stat_appends es_stat_workers es_stat_waiting es_status() es_outbox);
is(value('SELECT count(*) FROM es.ticks'), $before, 'and takes no tick');

$node->stop;
done_testing();
