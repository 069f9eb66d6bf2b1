# O4: without shared_preload_libraries everything works: es_start_worker() starts a
# worker, es_publish() alone publishes.  Where the server has no room for workers,
# that is said, and stores take turns.

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

my $node = es_server('plain', conf => "restart_after_crash = on\nmax_logical_replication_workers = 0\nmax_worker_processes = 2\n");

sub value
{
	my ($sql, $db) = @_;
	return $node->safe_psql($db || 'postgres', $sql);
}

# by hand, with no worker at all
is(es_publisher_pid($node), '', 'without preloading no worker comes by itself');
is(value(q(SELECT string_agg(topic || ' ' || status, ', ' ORDER BY topic) FROM es_status())), 'horizon ok, notifications ok, preload notice, publisher notice, store ok, tenants ok',
	'es_status() says so');
value(q(SELECT es_append('a-1', 0, 'T', '{}')));
is(value('SELECT count(*) FROM es_read()'), '0', 'nothing is published by itself');
like(value(q(EXPLAIN (COSTS OFF) SELECT * FROM es_load('a-1'))), qr/^Custom Scan \(es_load\)$/m, 'the first statement of a session is planned with the library');
is(value(q(SELECT string_agg(topic || ' ' || status, ', ' ORDER BY topic) FROM es_status() WHERE hint LIKE '%es_start_worker()%es_publish()%')),
	'horizon error, publisher error', 'F3: es_status() says in both rows that nothing is published, and what to do');
is(value(q(SELECT detail FROM es_status() WHERE topic = 'horizon')), 'The horizon is at 0, the newest event at 1; 1 event waits to be published, and no publisher runs.',
	'F3, F9: in a sentence');
my $waiter = EsClient->new($node, name => 'waiter');
$waiter->tell(q(SELECT es_wait(1, '1h')));
es_poll_in($node, 'postgres', q(SELECT state = 'active' AND wait_event_type = 'Extension' FROM pg_stat_activity WHERE application_name = 'waiter'), 'es_wait() waits');
is(value('SELECT es_publish()'), '1', 'O4: es_publish() publishes');
is($waiter->answer->{rows}[0][0], '1', 'and wakes who waits');
is(value('SELECT count(*) FROM es_read()'), '1', 'what is published is read');

# eight appenders that overlap, and es_publish() now and then: it is bounded by them
my @appenders = map { EsClient->new($node, name => "appender $_") } 0 .. 7;
my $behind = 0;
foreach my $step (0 .. 79)
{
	my $appender = $appenders[$step % 8];

	$appender->run('COMMIT') if $step >= 8;
	$appender->run('BEGIN');
	$appender->run("SELECT es_append('overlap-' || $step, 0, 'T', '{}')");
	next if $step % 3;
	my $lag = value(q(SELECT last_value FROM es.events_position_seq)) - value('SELECT es_publish()');
	$behind = $lag if $lag > $behind;
}
cmp_ok($behind, '<=', 8 + 3, 'P1: without a worker and a moment of rest, es_publish() stays close behind');
$_->run('COMMIT') foreach @appenders;
$_->close foreach @appenders;
is(value('SELECT es_publish() = es_head()'), 't', 'and is there when they rest');

# a worker by hand
value('CREATE ROLE reader; GRANT USAGE ON SCHEMA es TO reader; GRANT SELECT ON es.events TO reader');
es_state_ok($node, 'SET ROLE reader; SELECT es_start_worker()', '42501', 'who does not own the store starts no worker');
es_state_ok($node, 'SET ROLE reader; SELECT es_publish()', '00000', 'who reads may publish');
my $listener = es_listener($node, 'postgres', 'es_events');
my $pid = value('SELECT es_start_worker()');
is(es_publisher_pid($node), $pid, 'es_start_worker() starts one and answers its pid');
is(value('SELECT es_start_worker()'), $pid, 'again: the same');
es_publishes_ok($node, 'O4: it publishes');
ok($listener->await_upto(value('SELECT es_head()')), 'and tells listeners');
is(value(q(SELECT string_agg(status, ' ') FROM es_status() WHERE topic IN ('publisher', 'horizon'))), 'ok ok', 'es_status() says that it is well');
is(value(q(SELECT kind, state FROM es_stat_workers)), 'publisher|idle', 'es_stat_workers shows no launcher');
my @both = map { EsClient->new($node) } 0 .. 1;
kill 'TERM', $pid;
es_no_publisher_ok($node, 'postgres', 'terminated, it stays away');
is(value(q(SELECT es_append('a-2', 0, 'T', '{}') = 1)), 't', 'an append does not mind');
$_->tell('SELECT es_start_worker()') foreach @both;
my @pids = map { $_->answer->{rows}[0][0] } @both;
is($pids[0], $pids[1], 'two who start one at once start one');
is(es_publisher_pid($node), $pids[0], 'and there is one');
is(value(q(SELECT es_wait(es_position('a-2'), '60s') >= es_position('a-2'))), 't', 'it publishes what was appended meanwhile');
$_->close foreach @both;
kill 'KILL', $pids[0];
es_poll_crashed($node, 'SELECT true');
is(es_publisher_pid($node), '', 'after a crash there is none');
value(q(SELECT es_append('a-3', 0, 'T', '{}')));
is(value('SELECT es_publish() = es_head()'), 't', 'O4: es_publish() goes on');
$listener->close;
$waiter->close;

# no room
foreach my $db (qw(b c))
{
	value("CREATE DATABASE $db");
	es_create($node, $db);
}
isnt(value('SELECT es_start_worker()', $_), '', "a worker in $_") foreach qw(b c);
my ($state, $detail) = es_error_detail($node, 'SELECT es_start_worker()');
is($state, '53400', 'with two workers of two there is no room for a third');
is($detail, 'max_worker_processes is 2.', 'as the error says');
$node->psql('postgres', 'DROP DATABASE b');
es_publishes_ok($node, 'a database that is not dropped is published', 'b');
is(es_sqlstate($node, 'DROP DATABASE c WITH (FORCE)'), '00000', 'DROP DATABASE WITH (FORCE) drops it');
isnt(value('SELECT es_start_worker()'), '', 'then there is room');
es_publishes_ok($node, 'for a worker');

# shared memory has room for 16 databases; one that is dropped gives its place back
value('CREATE DATABASE seed');
es_create($node, 'seed');
# a statement about the first of them, which has failed, holds its place until the transaction ends
my $holding = EsClient->new($node);
my $inside = EsClient->new($node, db => 'seed');
$inside->run(q(SELECT es_append('a-1', -1, 'T', '{}')));
$holding->run($_) for q(LOAD 'pg_eventstore'), 'BEGIN', 'SAVEPOINT s';
is($holding->run('ALTER DATABASE seed RENAME TO other')->{state}, '55006', 'a database in use is not renamed');
$holding->run('ROLLBACK TO s');
$inside->close;
value('CREATE DATABASE held TEMPLATE seed');
value('DROP DATABASE seed');
value('ALTER DATABASE held RENAME TO seed');
for my $i (1 .. 16)
{
	value('CREATE DATABASE dropped TEMPLATE seed');
	value(q(SELECT es_append('a-1', -1, 'T', '{}')), 'dropped');
	value('DROP DATABASE dropped');
}
value('CREATE DATABASE dropped TEMPLATE seed');
isnt(value('SELECT state FROM es_stat_publisher', 'dropped'), 'no slot', 'O4: after sixteen that are gone another database has a place');
$holding->run('COMMIT');
$holding->close;
value('SELECT pg_terminate_backend(pid) FROM es_stat_publisher', 'b');
es_no_publisher_ok($node, 'b', 'there is room for a worker');
my $started = value('SELECT es_start_worker()', 'dropped');
es_publishes_ok($node, 'it has a worker', 'dropped');
value("SELECT pg_terminate_backend($started)");
es_no_publisher_ok($node, 'dropped', 'which ends');
isnt(value('SELECT es_start_worker()', 'dropped'), '', 'and starts again: its place is nobody else\'s');
value('SELECT pg_terminate_backend(pid) FROM es_stat_publisher', 'dropped');
es_no_publisher_ok($node, 'dropped', 'and ends');
value("DROP DATABASE $_") foreach qw(dropped seed);

# preloaded, with room for one publisher of three
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_eventstore'\nmax_worker_processes = 2\n");
value('CREATE DATABASE c');
es_create($node, 'c');
$node->restart;
my @dbs = qw(postgres b c);
foreach my $round (1 .. 3)
{
	value(q(SELECT es_append('turn-1', -1, 'T', '{}')), $_) foreach @dbs;
	foreach my $db (@dbs)
	{
		is(value(q(SELECT es_wait(es_head(), '60s') = es_head()), $db), 't', "round $round: stores take turns: $db is published");
	}
}

# one that always has something to do makes room too
my $busy = EsClient->new($node, db => 'b');
my $pid = $busy->value('SELECT pg_backend_pid()');
$busy->tell(q(DO $$BEGIN LOOP PERFORM es_append('busy-1', -1, 'T', '{}'); COMMIT; END LOOP; END$$));
es_poll_in($node, 'b', q(SELECT es_stream_version('busy-1') > 100), 'b is busy');
foreach my $db (qw(postgres c))
{
	value(q(SELECT es_append('turn-1', -1, 'T', '{}')), $db);
	is(value(q(SELECT es_wait(es_head(), '60s') = es_head()), $db), 't', "stores take turns: $db is published while b is busy");
}
value("SELECT pg_terminate_backend($pid)");
$busy->close;

# one that has still something to do when it makes room comes back to it
my $listener = es_listener($node, 'b', 'es_events');
value(q(SELECT es_create_channel('broken')), 'b');
value(q(UPDATE es.channels SET options = '1'), 'b');
value(q(SELECT es_append('put-off-1', -1, 'T', '{}')), 'b');
es_poll_in($node, 'b', q(SELECT notifications_skipped > 0 FROM es_stat_publisher), 'notifying is put off');
value(q(SELECT es_append('turn-2', -1, 'T', '{}')), 'c');
is(value(q(SELECT es_wait(es_head(), '60s') = es_head()), 'c'), 't', 'meanwhile another store has its turn');
value(q(UPDATE es.channels SET options = '{}'), 'b');
ok($listener->await_upto(value('SELECT es_head()', 'b')), 'listeners are told when it has its turn again');
$listener->close;

# the one publisher does not give up its place: that is said
my $one = value(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_eventstore publisher'));
if ($one eq '')
{
	value(q(SELECT es_append('turn-2', -1, 'T', '{}')), 'b');
	es_poll_in($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'pg_eventstore publisher'), 'one publisher');
	$one = value(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_eventstore publisher'));
}
kill 'STOP', $one;
my $in = value("SELECT datname FROM pg_stat_activity WHERE pid = $one");
foreach my $db (grep { $_ ne $in } @dbs)
{
	value(q(SELECT es_append('turn-3', -1, 'T', '{}')), $db);
	es_poll_in($node, $db, q(SELECT status = 'error' AND detail LIKE '%no room%max_worker_processes is 2%' AND hint LIKE '%es_publish()%'
		FROM es_status() WHERE topic = 'publisher'), "es_status() says that there is no room for $db");
	is(value(qq(SELECT state FROM es_stat_workers WHERE database = '$db'), $db), 'no room', 'and so does es_stat_workers');
	is(value(q(SELECT status, detail ~ '1 event waits to be published, the first for 0' FROM es_status() WHERE topic = 'horizon'), $db), 'error|t', 'F3: and the horizon says what waits');
	is(value('SELECT es_publish() >= es_head()', $db), 't', 'O4: es_publish() publishes there');
	value(q(SELECT es_append('turn-4', -1, 'T', '{}')), $db);
}
kill 'CONT', $one;
foreach my $db (@dbs)
{
	is(value(q(SELECT es_wait(es_head(), '60s') = es_head()), $db), 't', "when there is room again, $db is published");
	es_publishes_ok($node, "and goes on", $db);
}

$node->stop;
done_testing();
