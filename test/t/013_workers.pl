# A preloaded server publishes by itself (P1, O4): each database that has a store
# has one publisher, which comes with es_init(), with the server's start, after a
# crash and after its own end, and goes with the store.  Neither settings (P2), nor
# a user's triggers (O6), nor an error stop it for good.

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

my $node = es_preloaded('workers', empty => 1, conf => "restart_after_crash = on\n");
my $workers = q(SELECT string_agg(backend_type || ' ' || coalesce(datname, ''), ', ' ORDER BY backend_type COLLATE "C")
	FROM pg_stat_activity WHERE backend_type LIKE 'pg_eventstore%');

# who comes and who does not
es_poll_in($node, 'postgres', qq(SELECT ($workers) = 'pg_eventstore launcher '), 'without a store there is the launcher only');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION pg_eventstore');
es_create($node);
my $pid = es_has_publisher_ok($node, 'postgres', "es_init()'s commit brings a publisher");
es_publishes_ok($node, 'which publishes what is appended');
$node->safe_psql('postgres', q(BEGIN; SELECT es_append('gone-1', 0, 'T', '{}'); ROLLBACK));
es_poll_in($node, 'postgres', 'SELECT es_horizon() = last_value FROM es.events_position_seq',
	'P1: the horizon passes positions that were rolled back');
$node->safe_psql('postgres', q(
	BEGIN; SELECT es_append('two-1', 0, 'T', '{}'); SAVEPOINT s; SELECT es_append('two-2', 0, 'T', '{}'); ROLLBACK TO s; COMMIT;
	SELECT es_wait(es_position('two-1'), '60s')));
is($node->safe_psql('postgres', q(SELECT string_agg(stream, ' ' ORDER BY position) FROM es_read())), 'live-1 two-1',
	'consumers read what is committed');
$node->safe_psql('postgres', q(BEGIN; CREATE TABLE t (); ROLLBACK; SELECT es_init()));
is(es_publisher_pid($node), $pid, 'another es_init() leaves the publisher');
is($node->safe_psql('postgres', $workers), 'pg_eventstore launcher , pg_eventstore publisher postgres',
	'databases without a store, and templates, have none');

# a rolled back es_init() brings none, one of its own does
$node->safe_psql('other', 'BEGIN; SELECT es_init(); ROLLBACK');
es_state_ok($node, 'SELECT es_horizon()', 'SE006', 'a rolled back es_init() is none', 'other');
$node->safe_psql('other', 'SELECT es_init()');
es_has_publisher_ok($node, 'other', 'a second database has its own');
es_publishes_ok($node, 'and publishes', 'other');

# ends and comes again
kill 'TERM', $pid;
$pid = es_has_publisher_ok($node, 'postgres', 'a publisher that was terminated is followed by another', $pid);
es_publishes_ok($node, 'which publishes');
my $launcher = $node->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_eventstore launcher'));
kill 'TERM', $launcher;
es_poll_in($node, 'postgres', "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pg_eventstore launcher' AND pid <> $launcher)",
	'so is the launcher');
kill 'TERM', $pid;
$pid = es_has_publisher_ok($node, 'postgres', 'a new launcher does its work', $pid);
kill 'KILL', $pid;
es_poll_crashed($node, 'SELECT true');
$pid = es_has_publisher_ok($node, 'postgres', 'after the crash of a publisher there is another', $pid);
es_publishes_ok($node, 'which publishes');
es_has_publisher_ok($node, 'other', 'in the other database too');
my $victim = EsClient->new($node);
$victim->run('BEGIN');
$victim->run(q(SELECT es_append('victim-1', 0, 'T', '{}')));
kill 'KILL', $victim->pid;
es_poll_crashed($node, 'SELECT true');
$pid = es_has_publisher_ok($node, 'postgres', 'after the crash of a backend that has appended, too', $pid);
es_publishes_ok($node, 'P1: what the backend held, it holds no more');
is($node->safe_psql('postgres', q(SELECT count(*) FROM es_read(stream_prefix => 'victim'))), '0', 'and what it appended is nowhere');
$victim->close;
$node->restart;
$pid = es_has_publisher_ok($node, 'postgres', "the server's start brings one");
es_has_publisher_ok($node, 'other', 'in each database that has a store');
es_publishes_ok($node, 'which publishes');
$node->stop('immediate');
$node->start;
$pid = es_has_publisher_ok($node, 'postgres', 'so does a start after an immediate stop');
es_publishes_ok($node, 'which publishes');

# the store goes and comes
$node->safe_psql('other', 'DROP EXTENSION pg_eventstore CASCADE');
es_no_publisher_ok($node, 'other', 'the publisher ends with the extension');
$node->safe_psql('other', 'CREATE EXTENSION pg_eventstore; SELECT es_init()');
es_has_publisher_ok($node, 'other', 'and comes with the next one');
es_publishes_ok($node, 'which publishes', 'other');
is($node->safe_psql('other', q(SELECT count(*) > 1, count(*) = max(version) FROM es_read())), 't|t', 'O2: after what was there before');
$node->safe_psql('other', 'BEGIN; DROP EXTENSION pg_eventstore CASCADE; ROLLBACK');
es_publishes_ok($node, 'a DROP EXTENSION that is rolled back harms nothing', 'other');
$node->safe_psql('other', 'SET pg_eventstore.allow_maintenance = on; DROP SCHEMA es, es_private CASCADE');
es_no_publisher_ok($node, 'other', 'the publisher ends with the schema');
$node->safe_psql('other', 'SELECT es_init()');
es_has_publisher_ok($node, 'other', 'and comes with a new store');
es_publishes_ok($node, 'which publishes', 'other');
is($node->safe_psql('other', q(SELECT count(*) FROM es_read())), '1', 'from its beginning');

# es_reset() under a running publisher
$node->safe_psql('other', q(ALTER DATABASE other SET pg_eventstore.allow_reset = on));
$node->safe_psql('other', q(SELECT es_reset()));
es_publishes_ok($node, 'a store that has been reset is published', 'other');
is($node->safe_psql('other', q(SELECT es_horizon(), count(*) FROM es_read())), '1|1', 'from its beginning');

# O6: whatever hangs on the tables, a publisher runs none of it
$node->safe_psql('postgres', q(
	SET pg_eventstore.allow_maintenance = on; -- a rule needs it
	CREATE TABLE fired (who text, what text);
	GRANT ALL ON fired TO PUBLIC;
	CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.fired VALUES (current_user, TG_TABLE_NAME || ' ' || TG_WHEN);
		RAISE 'no';
	END $$;
	CREATE TRIGGER a BEFORE INSERT OR DELETE ON es.ticks FOR EACH ROW EXECUTE FUNCTION fire();
	CREATE TRIGGER b AFTER INSERT OR DELETE ON es.ticks FOR EACH ROW EXECUTE FUNCTION fire();
	CREATE TRIGGER c AFTER INSERT OR DELETE ON es.ticks FOR EACH STATEMENT EXECUTE FUNCTION fire();
	CREATE CONSTRAINT TRIGGER d AFTER INSERT ON es.ticks DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fire();
	ALTER TABLE es.ticks ENABLE ALWAYS TRIGGER a, ENABLE ALWAYS TRIGGER b, ENABLE ALWAYS TRIGGER c, ENABLE ALWAYS TRIGGER d;
	CREATE TRIGGER a BEFORE UPDATE ON es.channels FOR EACH ROW EXECUTE FUNCTION fire();
	ALTER TABLE es.channels ENABLE ALWAYS TRIGGER a;
	CREATE RULE r AS ON INSERT TO es.ticks DO ALSO INSERT INTO public.fired VALUES (current_user, 'rule');
	SELECT es_create_channel('all');));
es_publishes_ok($node, "a user's triggers and rules on es.ticks do not keep it from publishing");
is($node->safe_psql('postgres', q(SELECT es_append('manual-1', 0, 'T', '{}') = 1)), 't', 'an append');
is($node->safe_psql('postgres', q(SELECT es_publish() > 0)), 't', 'and es_publish()');
is($node->safe_psql('postgres', 'SELECT count(*) FROM fired'), '0', 'O6: and none of them has fired');
is(es_publisher_pid($node), $pid, 'the publisher is the same');
$node->safe_psql('postgres', q(DROP FUNCTION fire() CASCADE; DROP RULE r ON es.ticks; SELECT es_drop_channel('all')));
$node->safe_psql('postgres', q(
	CREATE FUNCTION fire(bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO public.fired VALUES (current_user, 'index'); RETURN $1; END $$;
	ALTER TABLE es.ticks ADD CONSTRAINT c CHECK (fire(position) > 0) NOT VALID;));
es_publishes_ok($node, 'nor does a constraint');
is($node->safe_psql('postgres', 'SELECT count(*) FROM fired'), '0', 'O6: nor is it evaluated');
$node->safe_psql('postgres', 'ALTER TABLE es.ticks DROP CONSTRAINT c');
$node->safe_psql('postgres', 'CREATE INDEX spy ON es.ticks (fire(position)) WHERE position < 0');
es_state_ok($node, q(SELECT es_append('spy-1', 0, 'T', '{}')), 'SE006', "with a user's index the store is not ready");
$node->safe_psql('postgres', 'DROP INDEX es.spy');
es_publishes_ok($node, 'and publishes again without it');
is($node->safe_psql('postgres', q(SELECT count(*) FROM fired)), '0', 'O6: its expression was never evaluated');

# P2 and O6: settings of the database and of the owner do not reach it
$node->safe_psql('postgres', q(CREATE ROLE bob; CREATE ROLE keeper NOLOGIN; CREATE DATABASE hostile OWNER keeper));
$node->safe_psql('hostile', q(CREATE EXTENSION pg_eventstore; GRANT EXECUTE ON FUNCTION pg_eventstore_guard() TO keeper; SET ROLE keeper; SELECT es_init()));
$node->safe_psql('postgres', qq(ALTER DATABASE hostile SET $_)) foreach (
	"synchronous_commit = off",
	"default_transaction_read_only = on",
	"default_transaction_isolation = 'serializable'",
	"default_transaction_deferrable = on",
	"statement_timeout = 1",
	"lock_timeout = 1",
	"idle_in_transaction_session_timeout = 1",
	"idle_session_timeout = 1",
	"row_security = off",
	"session_replication_role = replica",
	"search_path = public",
	"role = bob",
	"client_encoding = 'LATIN1'",
	"datestyle = 'german'");
$node->safe_psql('postgres', 'ALTER ROLE keeper SET default_transaction_read_only = on; ALTER ROLE postgres SET default_transaction_read_only = on');
my $hostile = es_publisher_pid($node, 'hostile');
kill 'TERM', $hostile;
$hostile = es_has_publisher_ok($node, 'hostile', 'a store of a NOLOGIN role has a publisher, in a database of hostile settings', $hostile);
{
	local $ENV{PGOPTIONS} = join ' ', map { "-c $_" } qw(role=keeper statement_timeout=0 lock_timeout=0 idle_in_transaction_session_timeout=0
		idle_session_timeout=0 default_transaction_read_only=off default_transaction_deferrable=off);
	is($node->safe_psql('hostile', q(SET default_transaction_isolation = 'read committed';
		SELECT es_append('a-1', 0, 'T', '{}'); SELECT es_wait(1, '60s'); SELECT es_append('a-1', 1, 'T', '{}');
		SELECT es_wait(2, '60s'))), "1\n1\n2\n2", 'P2: which publishes');
}
is($node->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_eventstore publisher' AND datname = 'hostile')),
	$hostile, 'and is the same afterwards');
$node->safe_psql('postgres', 'SET default_transaction_read_only = off; ALTER ROLE postgres RESET ALL');

# an error: logged once, shown, and over when es_init() has repaired
my $offset = -s $node->logfile;
my $gone_back = qr/ERROR:  the sequence of positions has gone back/;
$node->safe_psql('postgres', q(SELECT setval('es.events_position_seq', 1)));
isnt(es_sqlstate($node, q(SELECT es_append('live-1', -1, 'T', '{}'))), '00000', 'with the sequence set back an append fails');
es_poll_in($node, 'postgres', q(SELECT state = 'backs off' AND last_error = 'the sequence of positions has gone back'
	AND pid IS NOT NULL AND last_error_at > now() - interval '10min' FROM es_stat_publisher), 'the publisher backs off, and the view says why');
is($node->safe_psql('postgres', q(SELECT status, detail LIKE '%gone back%' FROM es_status() WHERE topic = 'publisher')), 'error|t',
	'so does es_status()');
is($node->safe_psql('postgres', q(SELECT state, last_error FROM es_stat_workers WHERE database = 'postgres')),
	'backs off|the sequence of positions has gone back', 'and es_stat_workers');
my $error_at = q(SELECT last_error_at FROM es_stat_publisher);
my $first = $node->safe_psql('postgres', $error_at);
es_sqlstate($node, q(SELECT es_append('live-1', -1, 'T', '{}')));
es_poll_in($node, 'postgres', "SELECT ($error_at) > '$first'", 'it tries again');
is(es_publisher_pid($node), $pid = $node->safe_psql('postgres', 'SELECT pid FROM es_stat_publisher'), 'it is there all the time');
is($node->safe_psql('postgres', q(SELECT es_init() ~ 'repaired')), 't', 'es_init() repairs');
es_publishes_ok($node, 'and publishing goes on');
is(es_publisher_pid($node), $pid, 'by the same publisher');
es_poll_in($node, 'postgres', q(SELECT state = 'idle' FROM es_stat_publisher), 'which rests');
is($node->safe_psql('postgres', q(SELECT status FROM es_status() WHERE topic = 'publisher')), 'ok', 'es_status() says that it is well');
my $publisher_log = qr/\[$pid\] (?:\S+ )?$gone_back/;
is(es_logged($node, $publisher_log, $offset), 1, 'the error was logged once');

# a lock on es.ticks: waits, and goes on
my $locker = EsClient->new($node, name => 'locker');
$locker->run('BEGIN');
$locker->run('LOCK TABLE es.ticks IN EXCLUSIVE MODE');
is($node->safe_psql('postgres', q(SELECT es_append('locked-1', 0, 'T', '{}'))), '1', 'P5: an append does not wait for a lock on es.ticks');
es_poll_in($node, 'postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid", 'the publisher does');
is($node->safe_psql('postgres', q(SELECT es_horizon() < es_position('locked-1'))), 't', 'nothing is published meanwhile');
$locker->run('COMMIT');
es_publishes_ok($node, 'publishing goes on when the lock is gone');
$locker->close;

# whatever another database writes or reads for long, holds nothing
my $elsewhere = EsClient->new($node, db => 'other', name => 'elsewhere');
$elsewhere->run('BEGIN ISOLATION LEVEL REPEATABLE READ');
$elsewhere->run('CREATE TABLE long_work (x int)');
es_publishes_ok($node, 'P4: a transaction that writes in another database holds nothing');
$elsewhere->run('ROLLBACK');
$elsewhere->close;

# a publisher that stands still stops nobody, and is named; not in the middle of writing
# WAL, where any process that is stopped stops all
es_poll_in($node, 'postgres', "SELECT wait_event = 'Extension' FROM pg_stat_activity WHERE pid = $pid", 'the publisher sleeps');
kill 'STOP', $pid;
is($node->safe_psql('postgres', q(SELECT es_append('stopped-1', 0, 'T', '{}'))), '1', 'P5: an append does not wait for a publisher that is stopped');
es_poll_in($node, 'postgres', qq{SELECT status = 'error' AND detail LIKE '%pid $pid) does not move%' AND hint IS NOT NULL
	FROM es_status() WHERE topic = 'publisher'}, 'es_status() names it');
is($node->safe_psql('postgres', q(SELECT es_publish() >= es_position('stopped-1'))), 't', 'O4: es_publish() publishes beside it');
$node->safe_psql('postgres', q(SELECT es_append('stopped-2', 0, 'T', '{}')));
kill 'CONT', $pid;
es_publishes_ok($node, 'and the publisher goes on');
is(es_publisher_pid($node), $pid, 'the same one');

es_oracle_ok($node, 'at the end');
$node->stop;
done_testing();
