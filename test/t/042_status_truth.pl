# es_status() tells the truth: no row is ok while events wait and nothing publishes them (F3);
# a publisher that has made room for another store's rests, and is no error (O1 of the trial);
# where there is no store that can be used, es_status() says so in a row (O5 of the trial).
# es_wait() tells where nothing publishes (F2).

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

my $node = es_preloaded('truth', init => { allows_streaming => 1 });

sub value
{
	my ($sql, $db) = @_;
	return $node->safe_psql($db || 'postgres', $sql);
}

sub status_is
{
	my ($topic, $status, $detail, $name, $db) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($is, $text) = split /\|/, value("SELECT status, detail FROM es_status() WHERE topic = '$topic'", $db);
	is($is, $status, $name);
	like($text, $detail, 'in a sentence');
	return;
}

# The one row of a store that cannot be used.
sub only_row_ok
{
	my ($text, $hint, $name, $db, $topic) = @_;
	my $rows = value(q(SELECT topic, status, detail, hint FROM es_status()), $db);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like($rows, qr/\A@{[ $topic || 'store' ]}\|error\|$text[^\n]*\|$hint[^\n]*\z/, $name);
	return;
}

# What es_wait() says beside its answer.
sub told
{
	my ($sql, $on, $db) = @_;
	my ($ret, $out, $err) = ($on || $node)->psql($db || 'postgres', $sql);

	is($ret, 0, "$sql raises nothing");
	return $err;
}

my $rows = q(SELECT string_agg(topic || ' ' || status, ', ' ORDER BY topic) FROM es_status() WHERE topic IN ('publisher', 'horizon', 'holder'));
my $unpublished = qr/NOTICE:  no publisher runs: nothing is published until es_start_worker\(\) or es_publish\(\) is called\nHINT:/;
my ($control) = grep { s/^default_version = '(.*)'\n/$1/ } split /^/, slurp_file("$FindBin::RealBin/../../pg_eventstore.control");

# all is well: the first row has the versions
es_publishes_ok($node, 'the store publishes');
es_poll_in($node, 'postgres', q(SELECT horizon >= head FROM es_stat_publisher), 'all is published');
is(value('SELECT topic, status, detail FROM es_status() LIMIT 1'),
	"store|ok|The store is ready: the library is of version $control, its functions of version $control, the tables of version 3.",
	'O5: the first row tells the versions');
status_is('horizon', 'ok', qr/; no event waits to be published\.$/, 'F9: nothing waits');
is(value('SELECT pg_eventstore_loaded() IS NOT NULL; SHOW pg_eventstore.version'), "t\n$control", 'a session can ask for the version of its library');
es_state_ok($node, q(SELECT es_head(); SET pg_eventstore.version = '9.9.9'), '55P02', 'and not set it');
my $parallel = q(SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query'););
foreach my $begin ($parallel, 'BEGIN READ ONLY;', 'BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;', 'BEGIN ISOLATION LEVEL REPEATABLE READ;')
{
	like(value("$begin SELECT count(*) FROM es_status()"), qr/^6$/m, "es_status() answers after $begin");
}

# O5: no store, in a session that goes on
value('CREATE DATABASE bare');
value('CREATE EXTENSION pg_eventstore', 'bare');
my $none = qr/There is no event store in this database\. Table "es\.store" does not exist\./;
only_row_ok($none, 'Run SELECT es_init\(\)', 'O5: without a store es_status() says so', 'bare');
value('CREATE ROLE stranger');
like(value('SET ROLE stranger; SELECT detail FROM es_status()', 'bare'), $none, 'to any role, as every call does');
my $log = -s $node->logfile;
my $session = EsClient->new($node, db => 'bare');
$session->run('BEGIN');
is($session->value('SELECT count(*) FROM es_status()'), '1', 'O5: once') foreach 1 .. 3;
$session->run('SAVEPOINT s');
is($session->value('SELECT status FROM es_status()'), 'error', 'in a savepoint');
$session->run('ROLLBACK TO s');
is($session->run('SELECT * FROM es_status(); COMMIT')->{state}, '00000', 'and the transaction goes on');
$session->run($parallel);
is($session->value('SELECT count(*) FROM es_status()'), '1', 'O5: in a parallel query');
is($session->value('SELECT es_init() IS NOT NULL'), 't', 'in the same session a store is made');
is($session->value('SELECT status FROM es_status() LIMIT 1'), 'ok', 'and found');
es_state_ok($node, 'SET ROLE stranger; SELECT * FROM es_status()', '42501', 'errors of privilege stay errors', 'bare');
es_state_ok($node, 'SET ROLE stranger; SELECT * FROM es_status() LIMIT 1', '42501', 'from the first row on', 'bare');

# O5: a store that is not ready, or of another version
my $maintain = 'SET pg_eventstore.allow_maintenance = on;';
value("$maintain ALTER TABLE es.events DISABLE TRIGGER es_guard_row", 'bare');
only_row_ok(qr/The event store is not ready\. Trigger "es_guard_row" on table "es\.events" does not stand/, 'If a restore is running', 'O5, A6: without a guard', 'bare');
is($session->value('SELECT status FROM es_status()'), 'error', 'in an old session too');
value('SELECT es_init()', 'bare');
value("$maintain ALTER TABLE es.store DISABLE TRIGGER ALL; UPDATE es.store SET version = 2; ALTER TABLE es.store ENABLE TRIGGER ALL", 'bare');
only_row_ok(qr/The event store in this database is of another version\. The store's tables are of version 2, the library's of version 3\./,
	'Run SELECT es_init\(\), which migrates the store', 'O5: a store of another version', 'bare');
value("$maintain ALTER TABLE es.store DISABLE TRIGGER ALL; UPDATE es.store SET version = 4; ALTER TABLE es.store ENABLE TRIGGER ALL", 'bare');
only_row_ok(qr/The event store in this database is of another version\. .* version 4/, 'Install the newer version', 'O5: of a newer one', 'bare');
$session->close;
is(es_logged($node, qr/WARNING:|leak|TRAP/, $log), 0, 'nothing was left open by what es_status() has caught');
value('CREATE SCHEMA moved; ALTER EXTENSION pg_eventstore SET SCHEMA moved', 'bare');
is(value('SELECT topic, status FROM moved.es_status()', 'bare'), 'store|error', 'O5: it answers in whatever schema it is');

# O5: the library and its functions of different versions
value(q(UPDATE pg_extension SET extversion = '0.0.10' WHERE extname = 'pg_eventstore'));
is(value('SELECT topic, status, hint FROM es_status() LIMIT 1'), 'library|warning|Run ALTER EXTENSION pg_eventstore UPDATE.', 'O5: functions that are older');
is(value('SELECT count(*) FROM es_status()'), '7', 'and all the rest');
value(q(UPDATE pg_extension SET extversion = '99.0.0' WHERE extname = 'pg_eventstore'));
only_row_ok(qr/The library that this session has loaded \(version \Q$control\E\) is older than its functions \(version 99\.0\.0\)\./,
	'Install version 99\.0\.0.* restart the server', 'O5: a library that is older: the one row', 'postgres', 'library');
value("UPDATE pg_extension SET extversion = '$control' WHERE extname = 'pg_eventstore'");

# F3: a transaction holds the horizon
my $holder = EsClient->new($node, name => 'slow app');
$holder->run('BEGIN');
$holder->run(q(SELECT es_append('held-1', 0, 'T', '{}')));
is(value($rows), 'holder ok, horizon ok, publisher ok', 'a holder that keeps nothing waiting');
value(q(SELECT es_append('b-1', 0, 'T', '{}')));
is(value($rows), 'holder warning, horizon warning, publisher ok', 'F3: what waits behind one that is idle is said in both rows');
status_is('horizon', 'warning', qr/; 1 event waits to be published, the first for 0.*holds the horizon\.$/, 'F3, F9: the horizon says why');
$holder->run('ROLLBACK');
my $lock = EsClient->new($node);
$lock->run('SELECT pg_advisory_lock(1)');
$holder->run('BEGIN');
$holder->run(q(SELECT es_append('held-2', 0, 'T', '{}')));
$holder->tell('SELECT pg_advisory_lock(1)');
es_poll_in($node, 'postgres', q(SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE application_name = 'slow app'), 'one that works');
value(q(SELECT es_append('b-2', 0, 'T', '{}')));
es_poll_in($node, 'postgres', "SELECT 'holder warning, horizon warning, publisher ok' = ($rows)", 'F3: what waits for more than a second behind it is said in both rows');
$lock->close;
$holder->answer;
$holder->run('COMMIT');
$holder->close;
es_poll_in($node, 'postgres', q(SELECT horizon >= head FROM es_stat_publisher), 'all is published');

# F3: a publisher that is stopped; a standby sees it too
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('truth_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
my $pid = es_publisher_pid($node);
es_poll_in($node, 'postgres', "SELECT wait_event = 'Extension' FROM pg_stat_activity WHERE pid = $pid", 'the publisher sleeps');
kill 'STOP', $pid;
value(q(SELECT es_append_batch('b-3', 0, '{T,T}', '{1,2}')));
is(value(q(SELECT bool_and(status = 'ok' OR lag > '1s') FROM es_status(), es_stat_publisher WHERE topic IN ('horizon', 'publisher'))), 't',
	'F3: no alarm within a second');
es_poll_in($node, 'postgres', "SELECT 'horizon warning, publisher ok' = ($rows)", 'F3: after a second a warning');
es_poll_in($node, 'postgres', "SELECT 'horizon error, publisher error' = ($rows)", 'F3: then an error, in both rows');
status_is('horizon', 'error', qr/; 2 events wait to be published, the first for 00:00:\d\d\.$/, 'F3, F9: with how long');
is(value(q(SELECT count(*) FROM es_status() WHERE status <> 'ok' AND hint IS NULL)), '0', 'and what to do');
unlike(told(q(SELECT es_wait(es_head(), '10ms'))), qr/NOTICE/, 'F2: no notice where a publisher is there');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
es_poll_in($standby, 'postgres', "SELECT 'horizon warning, publisher ok' = ($rows)", 'F3: a standby tells what the primary has published');
is($standby->safe_psql('postgres', q(SELECT detail ~ '2 events wait' AND hint ~ 'primary' FROM es_status() WHERE topic = 'horizon')), 't', 'and where to look');
unlike(told(q(SELECT es_wait(es_head(), '10ms')), $standby), qr/NOTICE/, 'F2: no notice on a standby');
kill 'CONT', $pid;
es_poll_in($node, 'postgres', "SELECT 'horizon ok, publisher ok' = ($rows)", 'F3: it goes on: all is well');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
es_poll_in($standby, 'postgres', "SELECT 'horizon ok, publisher ok' = ($rows)", 'on the standby too');
$standby->stop;

# O1: eight worker slots, as the default is, two of them the launchers', and eight stores
my @dbs = map { "turn_$_" } 1 .. 7;
value('DROP DATABASE bare');
foreach my $db (@dbs)
{
	value("CREATE DATABASE $db");
	es_create($node, $db);
}
my $calm = q(SELECT count(*) = 8 AND bool_and(state IN ('idle', 'rests')) AND bool_or(state = 'rests') FROM es_stat_workers WHERE kind = 'publisher');
es_poll_in($node, 'postgres', $calm, 'O1: publishers rest where there are more stores than workers');
my ($resting) = split /\n/, value(q(SELECT database FROM es_stat_workers WHERE state = 'rests' AND database <> 'postgres' ORDER BY 1));
is(value('SELECT state, pid IS NULL FROM es_stat_publisher', $resting), 'rests|t', 'O1: es_stat_publisher says so');
status_is('publisher', 'ok', qr/^The publisher rests: another database uses its place; it comes when events wait\.$/, 'O1: no alarm', $resting);
like(value(q(SELECT hint FROM es_status() WHERE topic = 'publisher'), $resting), qr/max_worker_processes/, 'O1: but what gives each its place');
foreach my $db ('postgres', @dbs)
{
	is(value(q(SELECT string_agg(topic || ' ' || status, ', ') FROM es_status() WHERE status NOT IN ('ok', 'notice')), $db), '', "O1: no alarm in $db");
}
foreach my $round (1 .. 2)
{
	foreach my $db (@dbs)
	{
		unlike(told(q(SELECT es_append('turn-1', -1, 'T', '{}'); SELECT es_wait(es_head(), '60s')), undef, $db), qr/NOTICE/, 'F2: no notice where one comes');
		is(value(q(SELECT es_horizon() >= es_head()), $db), 't', "it has come to $db");
	}
}
es_poll_in($node, 'postgres', $calm, 'O1: all rest again but those that have a place');
is(value(q(SELECT bool_and(s.status IN ('ok', 'notice')) FROM es_status() AS s), $_), 't', "O1: no alarm in $_") foreach @dbs;
$node->stop;

# F2: not preloaded
my $plain = es_server('truth_plain');
$node = $plain;
value(q(SELECT es_append('a-1', 0, 'T', '{}')));
like(told(q(SELECT es_wait(1, '10ms'))), $unpublished, 'F2: es_wait() tells that nothing publishes');
unlike(told(q(SELECT es_wait(1, '0'))), qr/NOTICE/, 'F2: and nothing where it does not wait');
value('SELECT es_publish()');
unlike(told(q(SELECT es_wait(1))), qr/NOTICE/, 'F2: nor of what is published');
like(told(q(SELECT es_start_worker() > 0; SELECT es_append('a-1', 1, 'T', '{}'); SELECT es_wait(es_head(), '60s') = es_head())), qr/\A\z/, 'F2: nor where a publisher runs');
is(value($rows), 'horizon ok, publisher ok', 'F3: and es_status() is content');
value('SELECT pg_terminate_backend(pid) FROM es_stat_publisher');
es_no_publisher_ok($plain, 'postgres', 'it has ended');
is(value('SELECT state FROM es_stat_publisher'), 'none', 'nothing brings it back, and no state says so');
value(q(SELECT es_append('a-1', 2, 'T', '{}')));
like(told(q(SELECT es_wait(es_head(), '10ms'))), $unpublished, 'F2: es_wait() tells it again');
is(value($rows), 'horizon error, publisher error', 'F3: so does es_status()');
$plain->stop;
done_testing();
