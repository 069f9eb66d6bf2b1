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

# above the bound: all streams
my $many = $bound + 1;
$node->safe_psql('postgres', qq(
	BEGIN;
	SELECT es_append('m-' || i, 0, 'T', '1') FROM generate_series(1, $many) i;
	PREPARE TRANSACTION 'many';));
$node->stop('immediate');
$node->start;
es_state_ok($node, "$timeout SELECT es_append('z-1', -1, 'T', '2')", '55P03', 'above the bound all streams are locked');
$node->safe_psql('postgres', q(COMMIT PREPARED 'many'));
is($node->safe_psql('postgres', q(SELECT es_append('z-1', -1, 'T', '2'), es_stream_version('m-1'))), '1|1',
	'and free again after COMMIT PREPARED');
es_oracle_ok($node, 'many streams');

$waiting->close;
$other->close;
$node->stop;
done_testing();
