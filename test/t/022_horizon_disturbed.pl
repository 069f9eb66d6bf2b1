# The horizon is the highest tick that a snapshot sees (P1, P3), whatever ticks it
# does not see lie above, beside or below: of transactions that were rolled back, as
# a standby finds them still in the index, of one that is idle, and many of one
# position.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsClient;
use EsTest;

my $node = es_server('disturbed', init => { allows_streaming => 1 }, conf => "autovacuum = off\n");
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

# Ticks from one position to another, a plain statement of a superuser.
sub insert_ticks
{
	my ($from, $to, $each) = @_;
	$each ||= 1;
	return qq(SET pg_eventstore.allow_maintenance = on;
		INSERT INTO es.ticks SELECT i, i, now(), 1, 0, 0, NULL FROM generate_series($from, $to) i, generate_series(1, $each););
}

sub old_session
{
	my $client = EsClient->new($node);

	$client->run('BEGIN ISOLATION LEVEL REPEATABLE READ');
	$client->run('SELECT 1');
	return $client;
}

# rolled back ticks of a reader, while an append is open
foreach my $version (0, 1)
{
	$node->safe_psql('postgres', $_) foreach ("SELECT es_append('a-1', $version, 'T', '{}')", 'SELECT es_publish()');
}
$node->safe_psql('postgres', 'CREATE ROLE reader; GRANT USAGE ON SCHEMA es TO reader; GRANT SELECT ON es.events TO reader');
my $holder = EsClient->new($node);
$holder->run('BEGIN');
$holder->run(q(SELECT es_append('b-1', 0, 'T', '{}')));
$node->safe_psql('postgres', join ';', 'SET ROLE reader', ('BEGIN; SELECT es_publish(); ROLLBACK') x 200);
$node->safe_psql('postgres', 'CREATE TABLE t ()');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($_->safe_psql('postgres', 'SELECT es_horizon(), count(*) FROM es_read()'), '2|2',
	'P3: 200 ticks that were rolled back hide nothing on ' . $_->name) foreach $node, $standby;
$holder->close;

# a tick of an idle transaction, below others that are seen, where one looks
$node->safe_psql('postgres', insert_ticks(10, 975) . insert_ticks(977, 1000));
my $idle = EsClient->new($node);
$idle->run('BEGIN');
$idle->run('SET LOCAL pg_eventstore.allow_maintenance = on');
$idle->run('INSERT INTO es.ticks VALUES (976, 976, now(), 1, 0, 0, NULL)');
my $old = old_session();
$node->safe_psql('postgres', insert_ticks(1001, 2063));
is($old->value('SELECT es_horizon()'), '1000', 'P3: a tick of an idle transaction hides none above it');
$old->close;
$idle->close;

# many ticks of one position, of which the snapshot sees the first
$node->safe_psql('postgres', insert_ticks(3000, 3000, 3));
$old = old_session();
$node->safe_psql('postgres', insert_ticks(3000, 3000, 500));
is($old->value('SELECT es_horizon()'), '3000', 'P3: later ticks of one position hide no earlier one');
$old->close;

$_->stop foreach $standby, $node;
done_testing();
