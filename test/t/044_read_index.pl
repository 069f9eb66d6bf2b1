# NEWCOMER 2.3: es_read takes the narrowest of the indexes that serve it, and turns to
# another one where that becomes narrower, without statistics.  What is counted are
# pages and rows, not time.  Whichever index is read, and wherever the reader turns,
# the answer is the same: it is compared with a SELECT for calls at random (P1, P3).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsClient;
use EsPublish;
use EsTest;

my $node = es_server('narrow', conf => "autovacuum = off\njit = off\n");
my $category = 'events_category_position_idx';

# In the first half category x is everywhere and type T rare; in the second it is the
# other way round.  x and T together come every 500 events all along; there is a
# category that has events at the very end only.
$node->safe_psql('postgres', q(
	SELECT sum(last_version) FROM generate_series(1, 60) AS n, LATERAL (SELECT
			CASE WHEN n <= 30 THEN 'x' ELSE 'y' END || '-' || n AS stream,
			array_agg(CASE WHEN n > 30 OR i = 499 THEN 'T' ELSE 'U' END ORDER BY i) AS types
			FROM generate_series(1, 499) AS i WHERE n > 0) AS e,
		LATERAL es_append_batch(stream, 0, types, array_fill('{"some": "data that take some room"}'::jsonb, '{499}')) AS a,
		LATERAL es_append('x-each', n - 1 + 0 * a.last_version, 'T', '{}');
	SELECT es_append('last-1', 0, 'T', '{}');
	SELECT es_publish();
));
is($node->safe_psql('postgres', q(SELECT count(*), count(*) FILTER (WHERE category = 'x'), count(*) FILTER (WHERE type = 'T'),
	count(*) FILTER (WHERE category = 'x' AND type = 'T') FROM es.events)), '30001|15030|15061|90', 'the events');

# What a call of es_read did: its rows, indexes, pages, and rows looked at in vain.
sub cost
{
	my ($call) = @_;
	my $explain = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, FORMAT JSON) SELECT * FROM es_read($call)";
	my $answer = $node->safe_psql('postgres', "SELECT FROM es_read($call); $explain");
	my $plan = decode_json($answer =~ s/\A\n*//r)->[0]{Plan};

	return {
		rows => $plan->{'Actual Rows'} + 0,
		index => join(' ', @{ $plan->{Index} }),
		pages => $plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'},
		vain => $plan->{'Rows Removed by Call'} + 0,
	};
}

sub cost_ok
{
	my ($call, $rows, $index, $pages, $vain, $name) = @_;
	my $cost = cost($call);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is("$cost->{rows} $cost->{index}", "$rows $index", "$name: rows and indexes");
	cmp_ok($cost->{pages}, '<=', $pages, "$name: $cost->{pages} pages");
	cmp_ok($cost->{vain}, '<=', $vain, "$name: $cost->{vain} rows in vain");
	return;
}

my $both = q(max_count => NULL, categories => '{x}', types => '{T}');
my $half = 15000;
my $none = q(max_count => NULL, categories => '{x}', types => '{Unheard}');

# ------------------------------------------------ with the store's indexes alone

my $alone = cost($both);
my $first = cost("$both, before => $half");
is($alone->{index}, $category, 'alone: the category');
cmp_ok($alone->{vain}, '>', 14000, "alone: $alone->{vain} rows in vain, $alone->{pages} pages");

# ------------------------------------------------------- with one on (type, position)

$node->safe_psql('postgres', 'CREATE INDEX mine ON es.events (type, position)');

# Without statistics, with wrong ones, with right ones
for my $name ('no statistics', 'statistics', 'wrong statistics')
{
	if ($name eq 'wrong statistics')
	{
		# all that PostgreSQL believes of both columns is turned round
		$node->safe_psql('postgres', q(UPDATE pg_statistic SET stanullfrac = 0, stadistinct = CASE staattnum WHEN 7 THEN 10000 ELSE 1 END,
			stakind1 = 0, stakind2 = 0 WHERE starelid = 'es.events'::regclass AND staattnum IN (7, 8);
			UPDATE pg_class SET reltuples = 10, relpages = 1 WHERE oid = 'es.events'::regclass));
	}
	elsif ($name eq 'statistics')
	{
		$node->safe_psql('postgres', 'ANALYZE es.events');
	}
	cost_ok("$both, before => $half", 59, "$category mine", 120, 40, "$name: a rare type of a common category");
	cost_ok("$both, before => $half, backwards => true", 59, "$category mine", 120, 40, "$name: and backwards");
	cost_ok("$both, after => $half", 30, $category, 60, 1, "$name: a rare category, a common type");
	cost_ok($both, 90, "$category mine", 200, 140, "$name: one turn there and one back");
	cost_ok("$both, backwards => true", 90, "$category mine", 200, 140, "$name: and backwards");
	cost_ok($none, 0, "$category mine", 60, 32, "$name: a type that there is not");
	cost_ok("$both, stream_prefix => 'x-e'", 60, "$category mine", 200, 170, "$name: with a prefix");
}

# What stood costs what it did: the first page of what is common, and all of it
cost_ok(q(max_count => 10, categories => '{x}', types => '{U}'), 10, $category, 6, 0, 'a page of what is common');
cost_ok(q(max_count => NULL, categories => '{last}', types => '{T}'), 1, $category, 5, 0, 'a category with one event');
cost_ok(q(max_count => NULL, categories => '{none}', types => '{T}'), 0, $category, 5, 0, 'no such category');
my $common = cost(q(max_count => NULL, categories => '{x}', types => '{U}'));
is("$common->{rows} $common->{index}", "14940 $category", 'what is common');
cmp_ok($common->{pages}, '<=', $alone->{pages} * 1.05, "what is common: $common->{pages} pages, $alone->{pages} without a choice");

# Where both are common, and hardly ever together, the reader looks around in vain.
my $vain = cost(q(max_count => NULL, categories => '{x,y}', types => '{U,T}', until => '-infinity'));
is($vain->{vain}, 30000, 'in vain, all of it');
my $plain = cost(q(max_count => NULL, types => '{U,T}', until => '-infinity'));
cmp_ok($vain->{pages}, '<=', $plain->{pages} * 1.2, "in vain: $vain->{pages} pages, $plain->{pages} without a choice");

# --------------------------------------------------------- one that has both columns

$node->safe_psql('postgres', 'CREATE INDEX narrow ON es.events (type, category, position)');
cost_ok($both, 90, 'narrow', 110, 0, 'one for both');
cost_ok("$both, before => $half", 59, 'narrow', 80, 0, 'one for both');
cost_ok($none, 0, 'narrow', 5, 0, 'one for both');
$node->safe_psql('postgres', 'DROP INDEX es.narrow');

# -------------------------------- the index is dropped while a reader may still turn to it

my $reader = EsClient->new($node);
my $dropper = EsClient->new($node);
my $rows = $node->safe_psql('postgres', "SELECT string_agg(position::text, ',' ORDER BY position) FROM es.events WHERE category = 'x' AND type = 'T'");

$reader->run('BEGIN');
$reader->run("DECLARE c CURSOR FOR SELECT position FROM es_read(max_count => NULL, categories => '{x}', types => '{T}')");
$dropper->tell('DROP INDEX CONCURRENTLY es.mine');
es_poll_ok($node, 'SELECT NOT indisvalid FROM pg_index WHERE indexrelid = \'es.mine\'::regclass', 'an index is being dropped');
is(join(',', map { $_->[0] } @{ $reader->run('FETCH ALL FROM c')->{rows} }), $rows, 'a reader that has begun before goes on');
$reader->run('COMMIT');
is($dropper->answer->{state}, '00000', 'then it is dropped');
is(cost($both)->{index}, $category, 'and no longer read');
$_->close for $reader, $dropper;

# ----------------------------------------------------------------- calls at random

# Blocks of events, in each of which one tenant, category and type is common.
$node->safe_psql('postgres', 'CREATE DATABASE random');
es_create($node, 'random');
$node->safe_psql('random', q(
	SELECT setseed(0.5);
	SELECT count(*) FROM (SELECT es_append(c || '-' || n % 7, -1, t, '{}', tenant => nullif(w, ''))
		FROM (SELECT n, CASE WHEN random() < 0.9 THEN (ARRAY['', 'blue', 'red'])[1 + n / 700 % 3] ELSE (ARRAY['', 'blue', 'red'])[1 + floor(random() * 3)::int] END AS w,
			'c' || CASE WHEN random() < 0.9 THEN n / 500 % 3 ELSE floor(random() * 5)::int END AS c,
			'T' || CASE WHEN random() < 0.9 THEN n / 300 % 3 ELSE floor(random() * 5)::int END AS t
			FROM generate_series(1, 8000) AS n) AS e) AS a;
	SELECT es_publish();
	SELECT count(es_append('c1-1', -1, 'T1', '{}')) FROM generate_series(1, 60);
	CREATE FUNCTION names(prefix text) RETURNS text[] LANGUAGE sql VOLATILE AS $$
		SELECT CASE WHEN random() < 0.25 THEN NULL ELSE array(SELECT prefix || floor(random() * 5) FROM generate_series(1, floor(random() * 4)::int)) END $$;
	-- Calls at random: the first that is answered otherwise than a SELECT answers it, or how many rows there were.
	CREATE FUNCTION compare(calls int) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		c text[]; t text[]; w text; p text; a bigint; b bigint; m bigint; d boolean;
		read bigint[]; selected bigint[]; n bigint := 0;
	BEGIN
		FOR i IN 1 .. calls LOOP
			c := names('c'); t := names('T');
			w := (ARRAY[NULL, 'blue', 'red', '*', 'none'])[1 + floor(random() * 5)];
			p := CASE WHEN random() < 0.2 THEN 'c' || floor(random() * 3) || CASE WHEN random() < 0.7 THEN '-' || floor(random() * 7) ELSE '' END END;
			a := CASE WHEN random() < 0.6 THEN 0 ELSE floor(random() * 8000) END;
			b := CASE WHEN random() < 0.6 THEN NULL ELSE floor(random() * 9000) END;
			m := CASE WHEN random() < 0.6 THEN NULL ELSE floor(random() * 200) END;
			d := random() < 0.5;
			SELECT array_agg(position) INTO read FROM es_read(a, m, c, t, p, before => b, backwards => d, tenant => w);
			SELECT array_agg(position) INTO selected FROM (SELECT position FROM es.events WHERE position > a AND position <= es_horizon()
				AND (b IS NULL OR position < b) AND (c IS NULL OR category = ANY (c)) AND (t IS NULL OR type = ANY (t))
				AND (p IS NULL OR starts_with(stream, p)) AND (w = '*' OR tenant = coalesce(w, ''))
				ORDER BY CASE WHEN d THEN -position ELSE position END LIMIT m) AS s;
			IF read IS DISTINCT FROM selected THEN
				RETURN format('es_read(%s, %L, %L, %L, %L, before => %L, backwards => %L, tenant => %L): %s, not %s', a, m, c, t, p, b, d, w, read, selected);
			END IF;
			n := n + coalesce(cardinality(read), 0);
		END LOOP;
		RETURN n;
	END $$;
));
for my $indexes ([], ['type, position'], ['tenant, position', 'type, position'], ['tenant, type, position'], ['type, category, position', 'tenant, position'],
	['tenant, category, position', 'tenant, type, position', 'category, type, position'], ['category, tenant, type, position', 'type, position'])
{
	my $create = join '', map { "CREATE INDEX ON es.events ($_);" } @$indexes;
	my $drop = q(DO $$ DECLARE i regclass; BEGIN FOR i IN SELECT indexrelid FROM pg_index WHERE indrelid = 'es.events'::regclass
		AND indexrelid::regclass::text !~ '(pkey|_key|category_position_idx|recorded_at_idx)$' LOOP EXECUTE 'DROP INDEX ' || i; END LOOP; END $$;);
	my $compared = $node->safe_psql('random', "$drop $create SELECT setseed(0.25); SELECT compare(250)") =~ s/\A\s*//r;

	like($compared, qr/^[1-9]\d*$/, 'calls at random, with indexes on ' . (join(' and ', map { "($_)" } @$indexes) || 'nothing else'));
}
es_oracle_ok($node, 'readers of an index', 'random');

done_testing();
