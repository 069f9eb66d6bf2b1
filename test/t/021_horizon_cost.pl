# The horizon costs a few pages, however many ticks there are: for a fresh snapshot,
# for one that was taken long ago and looks now for the first time, and after old
# ticks have been thinned out.  And what an old snapshot finds is the highest tick
# that it sees (P1, P3).  TRAPS: old snapshots.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsClient;
use EsLoad;
use EsPublish;
use EsTest;

my $node = es_server('cost', conf => "autovacuum = off\nshared_buffers = 64MB\nlog_statement = none\n");
srand es_seed();

# Ticks of yesterday, as a superuser may load them.
sub insert_ticks
{
	my ($from, $to) = @_;

	return qq(SET pg_eventstore.allow_maintenance = on;
		INSERT INTO es.ticks SELECT i, i, now() - interval '1 day', 1, 0, 0, NULL
		FROM generate_series($from, $to) i;);
}

# The horizon as a client sees it, and how many pages it took to find it.
sub cost
{
	my ($client) = @_;
	my $answer = $client->run('EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON, TIMING OFF) SELECT es_horizon()');
	my $plan = decode_json(join '', map { join '|', @$_ } @{ $answer->{rows} })->[0]{Plan};

	return $plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'};
}

sub cheap_ok
{
	my ($client, $bound, $name) = @_;
	my $cost = cost($client);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	cmp_ok($cost, '<=', $bound, "$name: $cost pages");
	return;
}

# A session whose catalogs are known, so that only the horizon is counted.
sub session
{
	my $client = EsClient->new($node);

	$client->run('SELECT es_horizon()');
	$client->run('EXPLAIN (ANALYZE, BUFFERS) SELECT es_horizon()');
	return $client;
}

sub old_session
{
	my $client = session();

	$client->run('BEGIN ISOLATION LEVEL REPEATABLE READ');
	$client->run('SELECT 1');
	return $client;
}

# an old snapshot, and 300,000 newer ticks
$node->safe_psql('postgres', insert_ticks(1, 1000));
my $fresh = session();
my $early = old_session();
my $late = old_session();
my $latest = old_session();
is($early->value('SELECT es_horizon()'), '1000', 'a snapshot');
cheap_ok($fresh, 10, 'a fresh snapshot');
$node->safe_psql('postgres', insert_ticks(1001, 300_000));
cheap_ok($fresh, 10, 'a fresh snapshot, after 300,000 ticks');
is($fresh->value('SELECT es_horizon()'), '300000', 'finds the newest');
cheap_ok($early, 0, 'a transaction that has looked');
is($early->value('SELECT es_horizon()'), '1000', 'keeps what it has found');
cheap_ok($late, 400, 'an old snapshot that looks for the first time');
is($late->value('SELECT es_horizon()'), '1000', 'P3: and finds what it would have found at once');
cheap_ok($late, 0, 'the second time');
is($late->value(q(SELECT count(*) FROM es_read())), '0', 'and reads by it');

# at READ COMMITTED a statement's snapshot grows old while it runs
my $cursor = session();
$cursor->run('BEGIN');
$cursor->run('DECLARE c CURSOR FOR SELECT es_horizon() FROM generate_series(1, 2)');
is($cursor->value('FETCH c'), '300000', 'a cursor');
$node->safe_psql('postgres', insert_ticks(300_001, 400_000));
is($cursor->value('FETCH c'), '300000', 'P3: shows its own prefix to its end');
$cursor->close;
$_->close foreach $early, $late;

# thinned out: a few at each tick, and the pages of those that are gone are not walked
my $holder = old_session();
$node->safe_psql('postgres', q(SELECT setval('es.events_position_seq', 400000)));
$node->safe_psql('postgres', q(DO $$ BEGIN
	FOR i IN 1 .. 1500 LOOP
		PERFORM es_append('prune-' || i % 10, -1, 'T', '{}');
		COMMIT;
		PERFORM es_publish();
		COMMIT;
	END LOOP; END $$));
is($fresh->value('SELECT es_horizon() = es_head()'), 't', '1,500 ticks are taken');
cmp_ok($fresh->value('SELECT max(pruned) FROM es.ticks'), '>', 5_000, 'old ticks are thinned out');
is($fresh->value('SELECT count(*) FROM es.ticks WHERE position BETWEEN 2 AND 5000'), '0', 'to one of a minute');
cheap_ok($fresh, 10, 'a fresh snapshot, after that');
cheap_ok($holder, 400, 'an old one');
is($holder->value('SELECT es_horizon()'), '400000', 'P3: which finds what it would have found');
cheap_ok($latest, 400, 'one that is older than the thinning out');
is($latest->value('SELECT es_horizon()'), '1000', 'P3: finds a tick that is gone for others');
my $again = old_session();
is($again->value('SELECT es_horizon() = es_head()'), 't', 'a new one finds the newest');
$_->close foreach $holder, $latest, $again;
$node->safe_psql('postgres', 'VACUUM es.ticks');
$fresh->close;
$fresh = session();
cheap_ok($fresh, 10, 'a fresh snapshot, after VACUUM');

# random constellations: ranges of ticks, wide and narrow, dense and sparse; the
# highest tick that a snapshot sees, by a plain query, is what it finds
my @snapshots;
my $position = $fresh->value('SELECT max(position) FROM es.ticks');
for my $round (1 .. 30)
{
	my $n = (1, 3, 63, 64, 65, 200, 1500, 6000)[ rand 8 ];
	my $step = (1, 1, 2, 33, 4096, 1 << 20)[ rand 6 ];

	$node->safe_psql('postgres', qq(SET pg_eventstore.allow_maintenance = on;
		INSERT INTO es.ticks SELECT $position + i::bigint * $step, 1, clock_timestamp(), 1, 0, 0, NULL FROM generate_series(1, $n) i));
	$position += $n * $step;
	push @snapshots, old_session() if rand() < 0.5;
}
my ($wrong, $dear) = (0, 0);
foreach my $snapshot (@snapshots)
{
	my $cost = cost($snapshot);
	my $truth = $snapshot->value('SELECT max(position) FROM es.ticks');
	my $found = $snapshot->value('SELECT es_horizon()');

	$wrong++ if $found != $truth;
	$dear++ if $cost > 600;
	note "$found, not $truth, at $cost pages" if $found != $truth || $cost > 600;
	$snapshot->close;
}
is($wrong, 0, 'P3: in random constellations old snapshots find the highest tick that they see');
is($dear, 0, 'at the cost of few pages');

$fresh->close;
$node->stop;
done_testing();
