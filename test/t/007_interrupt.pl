# A large batch that is cancelled, runs into statement_timeout or lock_timeout,
# or loses its connection, leaves nothing behind and the stream free (A2).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsClient;
use EsTest;

my $node = es_server('interrupt', conf => "client_connection_check_interval = 50ms\n");
my $n = 0;

# Large enough that it cannot be through before it is interrupted; a trigger
# tells from outside of the transaction, by an advisory lock, that the middle is
# reached, and goes on slowly.
$node->safe_psql('postgres', q(
	CREATE FUNCTION reached() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.version = 1001 THEN
			PERFORM pg_advisory_xact_lock(4711);
		ELSIF NEW.version > 1001 THEN
			PERFORM pg_sleep(60);
		END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER reached BEFORE INSERT ON es.events FOR EACH ROW
		WHEN (NEW.category = 'big' AND NEW.version > 1000) EXECUTE FUNCTION reached();));

my $batch = q(SELECT es_append_batch('%s', 0, array_fill('T'::text, '{100000}'), array_fill('{"some": "data"}'::jsonb, '{100000}')));
my $reached = q(SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND objsubid = 1 AND granted));

# Starts a batch, does something to it when it is in the middle, and looks.
sub interrupted_ok
{
	my ($name, $harm, $state, %opt) = @_;
	my $stream = 'big-' . ++$n;
	my $client = EsClient->new($node);
	my $pid = $client->pid;

	$client->run($opt{before}) if $opt{before};
	$client->tell(sprintf $batch, $stream);
	es_poll_ok($node, $reached, "$name: in the middle");
	$harm->($client, $pid);
	is($client->answer->{state}, $state, "$name: what the client is told") unless $client->lost;
	es_poll_ok($node, "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE pid = $pid AND locktype IN ('advisory', 'transactionid'))",
		"$name: no lock is left");
	is($node->safe_psql('postgres', "SELECT count(*) FROM es.events WHERE stream = '$stream'"), '0',
		"A2: $name: nothing is stored");
	is($node->safe_psql('postgres', "SET lock_timeout = '1s'; SELECT es_append('$stream', 0, 'T', '{}')"), '1',
		"A2: $name: the stream is free and new");
	is($client->run(q(SELECT es_append('after-1', -1, 'T', '{}') > 0))->{state}, $opt{goes_on}, "$name: the session goes on")
	  if $opt{goes_on};
	$client->close;
	return;
}

interrupted_ok('cancel', sub { $node->safe_psql('postgres', "SELECT pg_cancel_backend($_[1])") }, '57014', goes_on => '00000');
interrupted_ok('cancel in a transaction', sub { $node->safe_psql('postgres', "SELECT pg_cancel_backend($_[1])") },
	'57014', before => 'BEGIN', goes_on => '25P02');
interrupted_ok('terminate', sub { $node->safe_psql('postgres', "SELECT pg_terminate_backend($_[1])") }, 'lost');
interrupted_ok('a client that is gone', sub { $_[0]->kill9 }, 'lost');
interrupted_ok('statement_timeout', sub { }, '57014', before => q(SET statement_timeout = '4s'), goes_on => '00000');

# a savepoint keeps what was before
my $client = EsClient->new($node);
$client->run('BEGIN');
is($client->value(q(SELECT es_append('kept-1', 0, 'T', '{}'))), '1', 'an append before the savepoint');
$client->run('SAVEPOINT s');
$client->tell(sprintf $batch, 'big-s');
es_poll_ok($node, $reached, 'savepoint: in the middle');
$node->safe_psql('postgres', 'SELECT pg_cancel_backend(' . $client->pid . ')');
is($client->answer->{state}, '57014', 'savepoint: cancelled');
$client->run('ROLLBACK TO s');
is($node->safe_psql('postgres', q(SET lock_timeout = '1s'; SELECT es_append('big-s', 0, 'T', '{}'))), '1',
	'A2: the stream of the savepoint is free before the transaction ends');
is($client->run('COMMIT')->{state}, '00000', 'the transaction commits');
is($node->safe_psql('postgres', q(SELECT es_stream_version('kept-1'))), '1', 'A2: with what was before the savepoint');

# lock_timeout, while another one holds the stream
$client->run('BEGIN');
$client->run(q(SELECT es_append('held-1', 0, 'T', '{}')));
es_state_ok($node, q(SET lock_timeout = '20ms'; SELECT es_append('held-1', -1, 'T', '{}')), '55P03', 'lock_timeout');
es_state_ok($node, q(SET lock_timeout = '20ms';
	SELECT es_append_json('[{"stream": "free-1", "expected": 0, "events": [{"type": "T", "data": 1}]},
		{"stream": "held-1", "expected": -1, "events": [{"type": "T", "data": 1}]}]')), '55P03', 'lock_timeout, two streams');
es_state_ok($node, q(SET lock_timeout = '20ms';
	SELECT es_try_append_json('[{"stream": "free-1", "expected": 0, "events": [{"type": "T", "data": 1}]},
		{"stream": "held-1", "expected": -1, "events": [{"type": "T", "data": 1}]}]')), '55P03', 'lock_timeout is no conflict');
is($node->safe_psql('postgres', q(SET lock_timeout = '1s'; SELECT es_append('free-1', 0, 'T', '{}'))), '1',
	'A2: the stream that was not held is free and new');
$client->run('COMMIT');
is($node->safe_psql('postgres', q(SELECT es_stream_version('held-1'))), '1', 'only what was told is stored');

es_oracle_ok($node, 'after all of it');
$client->close;
$node->stop;
done_testing();
