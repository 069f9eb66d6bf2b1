# The sequence of positions is set back, by a superuser or by a backup that has
# it older than the log: an append says so (55000) and stores nothing, rather than
# break the order (A4), and es_init() repairs it.  And a position that was given is
# never given again, though a batch takes many at once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsTest;

my $node = es_server('sequence');
my $id = uuid(1, 1);

$node->safe_psql('postgres', qq(
	SELECT es_append('old-1', 0, 'A', '1', id => '$id');
	SELECT es_append('old-1', -1, 'B', '{}') FROM generate_series(1, 20);));
$node->safe_psql('postgres', 'SELECT es_publish()');
my $content = es_dump_store($node);

for my $back (
	q(SELECT setval('es.events_position_seq', 5)),
	q(ALTER SEQUENCE es.events_position_seq RESTART),
	q(SELECT setval('es.events_position_seq', 21, false)))
{
	$node->safe_psql('postgres', $back);
	my ($ret, $out, $err) = $node->psql('postgres', q(SELECT es_append('old-1', -1, 'A', '{}')),
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($err, qr/55000: .*sequence of positions/, "A4: $back: the append is refused");
	like($err, qr/HINT: .*es_init\(\)/, "O5: $back: the hint names the way out");
	es_state_ok($node, q(SELECT es_append_batch('old-1', -1, '{A,A}', '{1,2}')), '55000', "A4: $back: a batch, too");
	es_state_ok($node, q(SELECT es_publish()), '55000', "P1: $back: no tick");
	is(es_dump_store($node), $content, "$back: nothing is stored");
	$node->restart;
	like($node->safe_psql('postgres', 'SELECT es_init()'), qr/^repaired/, "$back: es_init() repairs it");
	is($node->safe_psql('postgres', q(SELECT es_append('new-1', -1, 'A', '{}') > 0)), 't', "$back: appends go on");
	es_oracle_ok($node, $back);
	$content = es_dump_store($node);
	$node->safe_psql('postgres', q(SELECT es_append('old-1', -1, 'B', '{}')));
	$node->safe_psql('postgres', 'SELECT es_publish()');
	$content = es_dump_store($node);
}
$node->safe_psql('postgres', 'ALTER SEQUENCE es.events_position_seq CACHE 10 CYCLE');
like($node->safe_psql('postgres', 'SELECT es_init()'), qr/^repaired/, 'A4: es_init() undoes CACHE and CYCLE');
is($node->safe_psql('postgres', q(SELECT cache_size, cycle FROM pg_sequences WHERE sequencename = 'events_position_seq')), '1|f',
	'and it is as it was');
es_after_restore_ok($node, 'after the repairs');

# A batch of so many events, its last position, and whether lastval() is that one.
sub batch
{
	my ($stream, $n) = @_;

	return split /\|/, $node->safe_psql('postgres', qq(
		SELECT last_position, lastval() = last_position FROM es_append_batch('$stream', -1,
			array_fill('A'::text, ARRAY[$n]), array_fill('{}'::jsonb, ARRAY[$n]))));
}

for my $n (2, 3, 33, 34, 40, 500)
{
	my $first = $node->safe_psql('postgres', 'SELECT es_head()') + 1;
	my ($last, $is_lastval) = batch("batch-$n", $n);

	is($is_lastval, 't', "$n events: lastval() is the position of the last");
	is($last, $first + $n - 1, "$n events: no position is left out");
	$node->safe_psql('postgres', 'CHECKPOINT') if $n == 40;
	batch("behind-$n", 3);
	$node->stop('immediate');
	$node->start;
	($first) = batch("batch-$n", 1);
	cmp_ok($first, '>', $last + 3, "P1: $n events: after a crash no position is given again");
}
# what counts otherwise is left to nextval
$node->safe_psql('postgres', 'ALTER SEQUENCE es.events_position_seq INCREMENT 10');
batch('tens-1', 50);
is($node->safe_psql('postgres', q(SELECT count(DISTINCT position % 10), max(position) - min(position) FROM es_load('tens-1'))),
	'1|490', 'positions are as the sequence counts');
$node->safe_psql('postgres', 'ALTER SEQUENCE es.events_position_seq INCREMENT 1 MAXVALUE 100000');
$node->safe_psql('postgres', q(SELECT setval('es.events_position_seq', 99900)));
is((batch('most-1', 100))[0], 100000, 'up to the highest');
es_state_ok($node, q(SELECT es_append('most-1', -1, 'A', '{}')), '2200H', 'and not beyond');
$node->safe_psql('postgres', 'ALTER SEQUENCE es.events_position_seq NO MAXVALUE');
es_oracle_ok($node, 'after the batches');

$node->stop;
done_testing();
