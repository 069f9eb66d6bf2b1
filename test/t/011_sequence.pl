# The sequence of positions is set back, by a superuser or by a backup that has
# it older than the log: an append says so (55000) and stores nothing, rather than
# break the order (A4), and es_init() repairs it.  And a position that was given is
# never given again, though a batch takes many at once.
#
# F9: it is set far ahead.  No append and no tick takes a position from there, so that
# the positions are not used up; the publisher says so, and es_init() repairs that too.

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

# far ahead
my $ahead = es_preloaded('ahead');
my $append = q(SELECT es_append('a-1', -1, 'T', '{}'));
my $knows = EsClient->new($ahead);    # its limit, from an append before
is($knows->run($append)->{state}, '00000', 'a session appends');
$ahead->safe_psql('postgres', q(SELECT es_wait(es_head(), '60s')));
$ahead->safe_psql('postgres', q(BEGIN; SELECT es_append('p-1', -1, 'T', '{}'); PREPARE TRANSACTION 'p'));
my $held = $ahead->safe_psql('postgres', 'SELECT es_horizon()');
my $last = $ahead->safe_psql('postgres', 'SELECT last_value FROM es.events_position_seq');
for my $to ('9223372036854775800', '1::bigint << 52')
{
	$ahead->safe_psql('postgres', "SELECT setval('es.events_position_seq', $to)");
	is($knows->run($append)->{state}, '55000', "F9: $to: a session that has appended before is refused");
	my ($state, $detail) = es_error_detail($ahead, $append);
	is($state, '55000', "F9: $to: one that has not, too");
	like($detail, qr/^It is at position \d+, and the last one that the store knows of is $held\.$/, 'with both numbers');
	es_state_ok($ahead, 'SELECT es_publish()', '55000', "F9: $to: no tick");
	es_poll_in($ahead, 'postgres', q(SELECT last_error = 'the sequence of positions has gone ahead' FROM es_stat_publisher), 'the publisher says so');
	like($ahead->safe_psql('postgres', q(SELECT string_agg(detail, ' ') FROM es_status() WHERE topic = 'publisher' AND status <> 'ok')),
		qr/the sequence of positions has gone ahead/, 'and es_status()');
}
is($ahead->safe_psql('postgres', 'SELECT es_horizon()'), $held, 'P1: the horizon stays');
# es_init() waits for who has appended, as it does where the sequence has gone back
$knows->tell(q(SELECT es_init()));
es_poll_in($ahead, 'postgres', q(SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'es.events'::regclass), 'es_init() waits for the prepared appender');
$ahead->safe_psql('postgres', q(COMMIT PREPARED 'p'));
like(join(' ', map { @$_ } @{ $knows->answer->{rows} }), qr/repaired/, 'and repairs it');
like($ahead->safe_psql('postgres', 'SELECT es_init()'), qr/nothing to do/, 'that was all');
is($ahead->safe_psql('postgres', 'SELECT last_position FROM es.epochs ORDER BY epoch DESC LIMIT 1'), $last, 'P6: the hole begins behind the last event');
is($knows->run($append)->{state}, '00000', 'appends go on');
es_publishes_ok($ahead, 'the publisher goes on');
cmp_ok($ahead->safe_psql('postgres', 'SELECT max(position) FROM es.events'), '<', 2**44, 'P6: the positions are not used up');
is($ahead->safe_psql('postgres', "SELECT count(*) FROM es_read($held)"), 3, 'a consumer misses nothing');
$knows->close;
es_oracle_ok($ahead, 'after setval() far ahead');
$ahead->stop;
done_testing();
