# Listeners are told what is published, after it is published: es_events, channels
# of both kinds with filters, through restarts of the publisher; es_wait; and a
# listener that does not read stops nobody (P1, P5, O3).

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

my $node = es_preloaded('notify', init => { allows_streaming => 1 });
my $listener = es_listener($node, 'postgres', 'es_events');
my $head = 'SELECT es_head()';

sub append
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', "$sql; $head") =~ s/.*\n//sr;
}

# es_events: from, to and count
my $upto = append(q(SELECT es_append('a-1', 0, 'T', '{}')));
ok($listener->await_upto($upto), 'a listener on es_events is told');
is_deeply([ $listener->told ], [ { from => 1, to => 1, count => 1 } ], 'of a range of positions, and how many events it has');
my ($said) = map { $_->[1] } @{ $listener->{told} };
is($said, '{"from": 1, "to": 1, "count": 1}', 'as JSON');
$upto = append(q(SELECT FROM es_append_batch('a-1', 1, '{T,T,T}', '{1,2,3}')));
ok($listener->await_upto($upto), 'of a batch');
is_deeply(($listener->told)[-1], { from => 2, to => 4, count => 3 }, 'at once');
$node->safe_psql('postgres', q(BEGIN; SELECT es_append('b-1', 0, 'T', '{}'); ROLLBACK));
es_poll_in($node, 'postgres', 'SELECT es_horizon() >= 5', 'what is rolled back moves the horizon');
es_poll_in($node, 'postgres', 'SELECT notified >= 5 FROM es_stat_publisher', 'listeners have been told up to there');
is(scalar($listener->told), 2, 'of nothing, where there is no event');
$upto = append(q(BEGIN; SELECT es_append('b-1', 0, 'T', '{}'); SAVEPOINT s; SELECT es_append('b-2', 0, 'T', '{}'); ROLLBACK TO s; COMMIT));
ok($listener->await_upto($upto), 'a savepoint that was rolled back');
my $last = ($listener->told)[-1];
is($last->{count}, 1, 'is not counted');

# each event is told of once, ranges follow each other
for my $i (1 .. 5)
{
	$upto = append("SELECT es_append('many-' || i, 0, 'T', '{}') FROM generate_series(${i}00, ${i}99) i");
}
ok($listener->await_upto($upto), 'of many');
my ($sum, $to, $disorder) = (0, 0, 0);
foreach my $range ($listener->told)
{
	$disorder++ if $range->{from} <= $to || $range->{to} < $range->{from};
	($sum, $to) = ($sum + $range->{count}, $range->{to});
}
is($disorder, 0, 'P3: ranges come in order and do not overlap');
is($sum, $node->safe_psql('postgres', 'SELECT count(*) FROM es.events'), 'P1: and their counts add up to what there is');
is($node->safe_psql('postgres', 'SELECT notifications = ' . scalar(@{ $listener->{told} }) . ', notifications_skipped, notifications_stuck FROM es_stat_publisher'),
	't|0|f', 'the view counts them');

# who holds the horizon holds notifications
$listener->forget;
my $holder = EsClient->new($node, name => 'holder');
$holder->run('BEGIN');
$holder->run(q(SELECT es_append('held-1', 0, 'T', '{}')));
my $low = $holder->value(q(SELECT es_position('held-1')));
$upto = append(q(SELECT es_append('free-1', 0, 'T', '{}')));
is($node->safe_psql('postgres', 'SELECT es_publish()'), $low - 1, 'P1: an open append holds the horizon');
is(scalar($listener->told), 0, 'and nothing is told');
$holder->run('COMMIT');
ok($listener->await_upto($upto), 'until it ends');
is_deeply([ map { $_->{count} } $listener->told ], [2], 'of both');

# a notification never comes before its tick is committed: here it cannot commit,
# since no synchronous standby confirms it
$listener->forget;
$node->safe_psql('postgres', q(ALTER SYSTEM SET synchronous_standby_names = 'nobody'; SELECT pg_reload_conf()));
my $prober = EsClient->new($node, name => 'prober');
for my $try (1 .. 500)
{
	my $of_try = "FROM pg_stat_activity WHERE application_name = 'prober' AND query LIKE '%try $try%'";

	$prober->tell("SELECT pg_logical_emit_message(true, 'try $try', '')");
	$node->poll_query_until('postgres', "SELECT state = 'idle' OR wait_event = 'SyncRep' $of_try");
	last if $node->safe_psql('postgres', "SELECT state = 'active' $of_try") eq 't';
	$prober->answer;
	die 'no synchronous replication' if $try == 500;
}
my $before = es_publisher_pid($node);
kill 'TERM', $before;
es_has_publisher_ok($node, 'postgres', 'a publisher that knows of a synchronous standby', $before);
$upto = $node->safe_psql('postgres', q(SET synchronous_commit = local; SELECT es_append('sync-1', 0, 'T', '{}'); SELECT es_position('sync-1'))) =~ s/.*\n//sr;
es_poll_in($node, 'postgres', q(SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE backend_type = 'pg_eventstore publisher'),
	'P2: the tick waits for a synchronous standby');
is($node->safe_psql('postgres', "SELECT es_horizon() < $upto, count(*) FROM es_read(stream_prefix => 'sync')"), 't|0', 'it is published to nobody');
is(scalar($listener->told), 0, 'and no listener is told');
$node->safe_psql('postgres', q(SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()));
ok($listener->await_upto($upto), 'listeners are told when the tick has committed');
$prober->close;
is($listener->run(q(SELECT count(*) FROM es_read(stream_prefix => 'sync')))->{rows}[0][0], '1', 'P1: and on receipt they read the event');

# channels
my %channels = (
	w_all => '{}',
	w_order => '{"categories": ["order", "invoice"]}',
	w_type => '{"kind": "wake", "types": ["Paid"]}',
	w_prefix => '{"stream_prefix": "order-1"}',
	w_both => '{"categories": ["order"], "types": ["Paid"], "stream_prefix": "order-2"}',
	w_none => '{"categories": []}',
	w_tenant => '{"tenant": "t1"}',
	w_tenants => '{"tenant": "*", "public": false}',
	e_order => '{"kind": "event", "public": true, "categories": ["order"]}',
	e_tenants => '{"kind": "event", "public": true, "tenant": "*"}');
$node->safe_psql('postgres', "SELECT es_create_channel('$_', '$channels{$_}')") foreach sort keys %channels;
my $ears = es_listener($node, 'postgres', 'es_events', sort keys %channels);
my $long = q(jsonb_build_object('text', repeat('x', 8000)));
$upto = append(qq(BEGIN;
	SELECT es_append('order-1', 0, 'Placed', '{"n": 1, "text": "Tür \\"|\\\\"}', '{"actor": "anna"}', '${\uuid(1, 1)}');
	SELECT es_append('order-1', 1, 'Paid', '{}');
	SELECT es_append('order-2', 0, 'Paid', $long);
	SELECT es_append('invoice-1', 0, 'Paid', '{}');
	SELECT FROM es_append_batch('order-3', 0, '{Scanned}', '{null}', payloads => '{"\\\\x00ff"}');
	SELECT es_append('order-4', 0, 'Placed', '{}', jsonb_build_object('text', repeat('x', 8000)));
	SELECT es_append('order-1', 0, 'Placed', '{"n": 7}', tenant => 't1');
	SELECT es_append('other-1', 0, 'Other', '{}');
	COMMIT));
ok($ears->await_upto($upto), 'a transaction of many');
my %counts = (w_all => 7, w_order => 6, w_type => 3, w_prefix => 2, w_both => 1, w_none => 0, w_tenant => 1, w_tenants => 8);
foreach my $name (sort keys %counts)
{
	my @told = $ears->told($name);

	is(scalar(@told) ? $told[0]{count} : 0, $counts{$name}, "channel $name tells of what its filter wants");
	is(scalar(@told), $counts{$name} ? 1 : 0, "once, where there is any");
}
my @events = $ears->told('e_order');
is(join(' ', map { "$_->{stream}:$_->{version}:$_->{type}" } @events),
	'order-1:1:Placed order-1:2:Paid order-2:1:Paid order-3:1:Scanned order-4:1:Placed', 'a channel of kind event carries each, in order');
my ($first) = @events;
is_deeply([ sort keys %$first ], [qw(complete data id metadata position recorded_at stream type version)], 'with all that it is');
is_deeply($first->{data}, { n => 1, text => "T\xfcr \"|\\" }, 'its data');
is_deeply($first->{metadata}, { actor => 'anna' }, 'its metadata');
is($first->{id}, uuid(1, 1), 'its id');
is($node->safe_psql('postgres', "SELECT position = $first->{position} AND recorded_at = '$first->{recorded_at}' FROM es_load('order-1', 1, 1)"), 't',
	'its place and time');
is(join(' ', map { $_->{complete} ? 'complete' : 'place' } @events), 'complete complete place place place',
	'what is too long, or has a payload, is flagged');
ok(!exists $events[2]{data}, 'and left out');
ok(!exists $events[4]{metadata}, 'with long metadata too');
is(join(' ', map { $_->{tenant} // '' } $ears->told('e_tenants')), '      t1 ', 'over all tenants each names its own');

# options and rights
my @bad = (
	[ q('x', '[]'), '22023' ], [ q('x', '1'), '22023' ], [ q('x', '{"kind": "loud"}'), '22023' ], [ q('x', '{"kind": 1}'), '22023' ],
	[ q('x', '{"colour": "red"}'), '22023' ], [ q('x', '{"categories": "order"}'), '22023' ], [ q('x', '{"categories": [1]}'), '22023' ],
	[ q('x', '{"types": {"a": 1}}'), '22023' ], [ q('x', '{"stream_prefix": 1}'), '22023' ], [ q('x', '{"tenant": null}'), '22023' ],
	[ q('x', '{"categories": [["order"]]}'), '22023' ],
	[ q('x', '{"public": "yes"}'), '22023' ], [ q('x', '{"kind": "event"}'), '22023' ], [ q('x', '{"kind": "event", "public": false}'), '22023' ],
	[ q('', '{}'), '22023' ], [ q(repeat('x', 64), '{}'), '22023' ], [ q('es_events', '{}'), '42939' ],
	[ q(NULL, '{}'), '22004' ], [ q('x', NULL), '22004' ], [ q('w_all', '{"types": ["A"]}'), '42710' ]);
es_state_ok($node, "SELECT es_create_channel($_->[0])", $_->[1], "es_create_channel($_->[0]): $_->[1]") foreach @bad;
es_state_ok($node, q(SELECT es_alter_channel('nothing', '{}')), '42704', 'es_alter_channel of no channel: 42704');
es_state_ok($node, q(SELECT es_alter_channel('w_all', '{"kind": "event"}')), '22023', 'es_alter_channel to an event channel that is not public: 22023');
es_state_ok($node, q(SELECT es_drop_channel('nothing')), '42704', 'es_drop_channel of no channel: 42704');
is($node->safe_psql('postgres', q(SELECT es_create_channel('w_order', '{"categories": ["order", "invoice"]}'))), 'f', 'an equal channel is there already');
$node->safe_psql('postgres', q(
	CREATE ROLE stranger; CREATE ROLE reader; CREATE ROLE reader2;
	GRANT USAGE ON SCHEMA es TO reader, reader2; GRANT SELECT ON es.events TO reader, reader2));
es_state_ok($node, q(SET ROLE stranger; SELECT es_create_channel('x')), '42501', 'who may not read makes no channel');
is($node->safe_psql('postgres', q(SET ROLE reader; SELECT es_create_channel('mine'))), 't', 'who may read does');
es_state_ok($node, q(SET ROLE reader2; SELECT es_alter_channel('mine', '{"types": []}')), '42501', "another reader does not change it");
es_state_ok($node, q(SET ROLE reader2; SELECT es_drop_channel('mine')), '42501', 'nor drop it');
es_state_ok($node, q(SET ROLE reader; SELECT es_drop_channel('w_all')), '42501', "a reader does not drop the owner's");
es_state_ok($node, q(SET ROLE reader; SELECT es_alter_channel('mine', '{"types": ["A"]}')), '00000', 'its creator changes it');
es_state_ok($node, q(SELECT es_alter_channel('mine', '{"types": ["B"]}')), '00000', 'and so does the owner of the store');
es_state_ok($node, q(SET ROLE reader; SELECT es_drop_channel('mine')), '00000', 'its creator drops it');

# a change counts from the next range on
$node->safe_psql('postgres', q(SELECT es_alter_channel('w_all', '{"types": ["B"]}'); SELECT es_drop_channel('w_type')));
$ears->forget;
$upto = append(q(BEGIN; SELECT es_append('b-9', 0, 'B', '{}'); SELECT es_append('b-9', 1, 'Paid', '{}'); COMMIT));
ok($ears->await_upto($upto), 'channels were altered and dropped');
is_deeply([ map { $_->{count} } $ears->told('w_all') ], [1], 'the new options count');
is_deeply([ $ears->told('w_type') ], [], 'and who is dropped tells nothing');

# at least once, though publishers end in the middle
$ears->forget;
my %before = map { $_->{position} => 1 } $ears->told('e_order');
for my $round (1 .. 8)
{
	my $pid = es_publisher_pid($node);

	$upto = append("SELECT es_append('order-r$round-' || i, 0, 'T', '{}') FROM generate_series(1, 50) i");
	kill 'TERM', $pid if $pid;
}
$upto = append(q(SELECT es_append('order-end', 0, 'T', '{}')));
ok($ears->await_upto($upto), 'eight publishers are terminated while there is much to tell');
my %seen = map { $_->{position} => 1 } $ears->told('e_order');
is(scalar(keys %seen), 401, 'an event channel delivers every event at least once');
$sum = 0;
$sum += $_->{count} foreach $ears->told('es_events');
cmp_ok($sum, '>=', 401, 'and es_events tells of all');

# es_wait
sub wait_for
{
	my ($target, $timeout) = @_;
	return "SELECT es_wait($target, '$timeout')";
}

my $waiter = EsClient->new($node, name => 'waiter');
my $waits = q(SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'waiter' AND state = 'active' AND wait_event_type = 'Extension'));
my $next = $node->safe_psql('postgres', 'SELECT last_value + 1 FROM es.events_position_seq');
$waiter->tell(wait_for($next, '1h'));
es_poll_in($node, 'postgres', $waits, 'es_wait() waits for the next position');
append(q(SELECT es_append('wait-1', 0, 'T', '{}')));
is($waiter->answer->{rows}[0][0], $next, 'and answers the horizon when it is published');
$waiter->tell(wait_for($next + 1, '1h'));
es_poll_in($node, 'postgres', $waits, 'it waits again');
$node->safe_psql('postgres', 'SELECT pg_cancel_backend(' . $waiter->pid . ')');
is($waiter->answer->{state}, '57014', 'and can be cancelled');
$waiter->run(q(SET statement_timeout = '50ms'));
is($waiter->run(wait_for($next + 1, '1h'))->{state}, '57014', 'statement_timeout ends it');
$waiter->run('RESET statement_timeout');
is($waiter->value(wait_for($next + 1, '10ms')), $next, 'and so does its own time: the answer is the horizon');
$waiter->run('BEGIN');
$waiter->run(q(SELECT es_append('wait-2', 0, 'T', '{}')));
is($waiter->run(q(SELECT es_wait(es_position('wait-2'), '1h')))->{state}, '55000', "waiting for one's own append is an error at once");
$waiter->run('ROLLBACK');

# two-phase commit wakes
foreach my $end ('COMMIT', 'ROLLBACK')
{
	my $stream = lc "prepared-$end";

	$node->safe_psql('postgres', "BEGIN; SELECT es_append('$stream', 0, 'T', '{}'); PREPARE TRANSACTION 'p'");
	$upto = append("SELECT es_append('behind-$end', 0, 'T', '{}')");
	is($node->safe_psql('postgres', "SELECT es_publish() < $upto"), 't', 'P1: a prepared transaction holds the horizon');
	$waiter->tell("SELECT es_wait($upto, '1h') >= $upto");
	es_poll_in($node, 'postgres', $waits, 'somebody waits for what is behind it');
	$node->safe_psql('postgres', "$end PREPARED 'p'");
	is($waiter->answer->{rows}[0][0], 't', "$end PREPARED releases it");
	ok($listener->await_upto($upto), 'and listeners are told');
}
is($node->safe_psql('postgres', q(SELECT count(*) FROM es_read(stream_prefix => 'prepared-'))), '1', 'of what was committed');

# a listener that never reads fills the queue
SKIP: {
	skip 'before PostgreSQL 17 the notification queue holds 8 GB: a full one cannot be tested', 9 if $node->pg_version < 17;
	$_->close foreach $listener, $ears;
	$node->append_conf('postgresql.conf', "max_notify_queue_pages = 64\n");
	$node->restart;
	es_has_publisher_ok($node, 'postgres', 'a short notification queue');
	my $deaf = es_listener($node, 'postgres', 'e_order');
	$deaf->run('BEGIN');
	my $offset = -s $node->logfile;
	my $text = q(jsonb_build_object('text', repeat('x', 6000)));
	my $stuck = q(SELECT notifications_stuck AND notifications_skipped > 0 AND horizon = head FROM es_stat_publisher);
	for my $i (1 .. 150)
	{
		append("SELECT es_append('order-full-$i', 0, 'T', $text)");
	}
	es_poll_in($node, 'postgres', $stuck, 'a listener that does not read: notifying is put off, publishing goes on');
	es_publishes_ok($node, 'P1: and on');
	is( $node->safe_psql('postgres', q(SELECT status, detail LIKE '%' || pid || '%' AND hint IS NOT NULL FROM es_status(),
			pg_stat_activity WHERE application_name = 'listener' AND topic = 'notifications')),
		'error|t', 'es_status() names the session');
	is(es_logged($node, qr/notifying is put off/, $offset), 1, 'the log says so once');
	$deaf->close;
	es_poll_in($node, 'postgres', 'SELECT NOT notifications_stuck AND notified = horizon FROM es_stat_publisher', 'when it has gone, notifying is resumed');
	is(es_logged($node, qr/notifying is resumed/, $offset), 1, 'the log says so once');
	my $new = es_listener($node, 'postgres', 'es_events');
	$upto = append(q(SELECT es_append('after-full', 0, 'T', '{}')));
	ok($new->await_upto($upto), 'and listeners are told');
	is($node->safe_psql('postgres', q(SELECT status FROM es_status() WHERE topic = 'notifications')), 'ok', 'es_status() says that it is well');
	$new->close;
}

$_->close foreach $holder, $waiter;
$node->stop;
done_testing();
