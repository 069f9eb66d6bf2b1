# PREPARE TRANSACTION over a restart without shutdown: the stream stays locked,
# other streams are free; nothing at or above its first position is published (P1); COMMIT PREPARED and ROLLBACK PREPARED end it as they
# should (A2), also where the transaction holds the lock on all streams.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsClient;
use EsTest;

my $node = es_server('prepared');
my $bound = $node->safe_psql('postgres', 'SHOW max_locks_per_transaction');
my $timeout = q(SET lock_timeout = '20ms';);

$node->safe_psql('postgres', qq(
	SELECT es_append('a-1', 0, 'T', '0');
	SELECT es_publish();
	BEGIN;
	SELECT es_append('a-1', 1, 'T', '1', id => '${\uuid(1, 1)}');
	PREPARE TRANSACTION 'one';
	BEGIN;
	SELECT es_append('b-1', 0, 'T', '1', id => '${\uuid(1, 2)}');
	SAVEPOINT s;
	SELECT es_append('c-1', 0, 'T', '1');
	ROLLBACK TO s;
	PREPARE TRANSACTION 'two';));

sub locked_ok
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	es_state_ok($node, "$timeout SELECT es_append('a-1', -1, 'T', '2')", '55P03', "$name: the stream is locked");
	es_state_ok($node, "$timeout SELECT es_append('b-1', 0, 'T', '2')", '55P03', "$name: so is the other one");
	is($node->safe_psql('postgres', q(SELECT es_stream_version('a-1'), es_stream_version('b-1'))), '1|0',
		"$name: nothing of it is seen");
	is($node->safe_psql('postgres', "$timeout SELECT es_append('c-1', -1, 'T', '2') > 0"), 't',
		"$name: other streams are free, that of the savepoint too");
	is($node->safe_psql('postgres', q(SELECT es_publish())), '1', "P1: $name: the horizon stands below it");
	is($node->safe_psql('postgres', q(SELECT count(*) FROM es_read())), '1', "P1: $name: nothing behind it is published");
}

locked_ok('before the restart');
$node->stop('immediate');
$node->start;
locked_ok('after an immediate stop');
$node->restart;
locked_ok('after a restart');

# who waits goes on when it ends
my $waiting = EsClient->new($node);
my $other = EsClient->new($node);
my $blocked = q(SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted);
$waiting->tell(q(SELECT es_append('a-1', 2, 'T', '3')));
$other->tell(q(SELECT es_append('b-1', 0, 'T', '3')));
es_poll_ok($node, $blocked, 'two wait');
$node->safe_psql('postgres', q(COMMIT PREPARED 'one'));
is($waiting->answer->{rows}[0][0], '3', 'A1: after COMMIT PREPARED the next version follows');
$node->safe_psql('postgres', q(ROLLBACK PREPARED 'two'));
is($other->answer->{rows}[0][0], '1', 'A1: after ROLLBACK PREPARED the stream is new');
is( $node->safe_psql('postgres', qq(SELECT first_version, repeated
	FROM es_append_batch('a-1', 0, '{T}', '{1}', ids => '{${\uuid(1, 1)}}'))),
	'2|t', 'A5: a retry finds what was committed');
is( $node->safe_psql('postgres', qq(SELECT first_version, repeated
	FROM es_append_batch('b-1', -1, '{T}', '{1}', ids => '{${\uuid(1, 2)}}'))),
	'2|f', 'A5: and appends what was rolled back');
es_oracle_ok($node, 'one stream each');
is($node->safe_psql('postgres', q(SELECT es_publish() = es_head())), 't', 'P1: both have ended: everything is published');
is($node->safe_psql('postgres', q(SELECT count(*) FROM es_read())), $node->safe_psql('postgres', q(SELECT count(*) FROM es.events)),
	'P1: what was prepared is, too');

# Above the bound: all streams.  The barrier that stands for them (F6, A1) survives PREPARE
# and a restart; and it is lowered when nobody needs it: an appender then takes no lock on
# all streams.
my $many = $bound + 1;
my $takes_all = q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = -6907);

sub append_many
{
	my ($gid, $prefix) = @_;

	$node->safe_psql('postgres', qq(
		BEGIN;
		SELECT es_append('$prefix-' || i, 0, 'T', '1') FROM generate_series(1, $many) i;
		PREPARE TRANSACTION '$gid';));
	return;
}

# Appends in a transaction that has found the barrier raised before, if it is.
sub free_ok
{
	my ($name) = @_;
	my $client = EsClient->new($node);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$client->value(q(SELECT es_append('z-1', -1, 'T', '2')));
	$client->run('BEGIN');
	$client->value(q(SELECT es_append('z-1', -1, 'T', '2')));
	is($client->value($takes_all), '0', "P5: $name: the barrier is lowered");
	$client->close;
	return;
}

sub all_locked_ok
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	es_state_ok($node, "$timeout SELECT es_append('z-1', -1, 'T', '2')", '55P03', "F6: $name: above the bound all streams are locked");
	es_state_ok($node, "$timeout SELECT es_append('m-1', -1, 'T', '2')", '55P03', "F6: $name: those of the transaction too");
	es_state_ok($node, "$timeout SELECT es_append('z-1', -1, 'T', '2')", '00000', "F6: $name: but none of another database", 'other');
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE other');
es_create($node, 'other');
free_ok('nothing is prepared');
append_many('many', 'm');
all_locked_ok('prepared');
$node->stop('immediate');
$node->start;
all_locked_ok('after an immediate stop');
$node->restart;
all_locked_ok('after a restart');
# by a session that has not loaded the library
$node->safe_psql('postgres', q(COMMIT PREPARED 'many'));
is($node->safe_psql('postgres', q(SELECT es_append('z-1', -1, 'T', '2') > 1, es_stream_version('m-1'))), 't|1',
	'and free again after COMMIT PREPARED');
free_ok('after COMMIT PREPARED by a session that has not loaded the library');
append_many('many', 'n');
all_locked_ok('prepared once more');
# by one that has
$node->safe_psql('postgres', q(LOAD 'pg_eventstore'; ROLLBACK PREPARED 'many'));
free_ok('after ROLLBACK PREPARED');
is($node->safe_psql('postgres', q(SELECT es_stream_version('n-1'))), '0', 'A2: and nothing of it is there');
es_oracle_ok($node, 'many streams');

$waiting->close;
$other->close;
$node->stop;
done_testing();
