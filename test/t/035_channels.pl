# F5: a role that may only read does not delay publishing, however many channels it
# makes (P4).  How many it may make is limited; a tick comes between two pieces of
# notifying, each of which is bounded; and the publisher keeps the channels that it has
# read until es.channels changes, whoever changes it, and however.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;

use EsClient;
use EsPublish;
use EsTest;

my $node = es_preloaded('channels');

sub value
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

value(qq(CREATE ROLE $_; GRANT USAGE ON SCHEMA es TO $_; GRANT SELECT ON es.events TO $_)) for qw(reader other);

# ------------------------------------------------------------------ the limit
is(value('SHOW pg_eventstore.channels_per_role'), '100', 'a role may make a hundred channels');
es_state_ok($node, 'SET ROLE reader; SET pg_eventstore.channels_per_role = 1000', '42501', 'and may not say how many');
value('ALTER DATABASE postgres SET pg_eventstore.channels_per_role = 3');

my $make = 'SET ROLE reader; SELECT es_create_channel';
es_state_ok($node, qq($make('r_' || i) FROM generate_series(1, 4) i), '53400', 'one more than the limit, in one statement: 53400');
is(value('SELECT count(*) FROM es.channels'), '0', 'and none is made');
es_state_ok($node, qq($make('r_' || i) FROM generate_series(1, 3) i), '00000', 'as many as the limit');
my (undef, undef, $error) = $node->psql('postgres', "$make('r_4')", extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($error, qr/ERROR:  53400: role "reader" may not make another channel\nDETAIL:  It has 3; pg_eventstore.channels_per_role is 3\.\nHINT:  Drop one/,
	'F5: one more is refused, and told how many there are');
is(value("$make('r_1')"), 'f', 'one that is there is there');
es_state_ok($node, "$make('r_1', '{\"types\": []}')", '42710', 'or has other options');
es_state_ok($node, q(SET ROLE reader; SELECT es_alter_channel('r_1', '{"types": []}')), '00000', 'it may be altered');
es_state_ok($node, q(SET ROLE other; SELECT es_create_channel('o_1')), '00000', 'another role has a limit of its own');
is(value(q(SELECT bool_and(es_create_channel('own_' || i)) FROM generate_series(1, 5) i)), 't', "the store's owner has none");
value(q(SET ROLE reader; SELECT es_drop_channel('r_3')));

my ($first, $second) = map { EsClient->new($node, name => $_) } qw(first second);
$_->run('SET ROLE reader') for $first, $second;
foreach my $case ([ 'COMMIT', '53400' ], [ 'ROLLBACK', '00000' ])
{
	my ($end, $state) = @$case;

	foreach my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
	{
		value(q(SELECT es_drop_channel(name) FROM es.channels WHERE name IN ('r_3', 'r_4')));
		$second->run("BEGIN ISOLATION LEVEL $level");
		$second->run('SELECT es_head()');
		$first->run('BEGIN');
		is($first->value(q(SELECT es_create_channel('r_3'))), 't', 'a role makes the last that it may');
		$second->tell(q(SELECT es_create_channel('r_4')));
		es_poll_in($node, 'postgres', q(SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'second'
			AND query ~ 'r_4' AND (wait_event_type = 'Lock' OR state <> 'active')), "another session of it at $level waits");
		$first->run($end);
		is($second->answer->{state}, $state, "after $end: $state");
		$second->run('COMMIT');
	}
}
value('ALTER DATABASE postgres SET pg_eventstore.channels_per_role = 0');
es_state_ok($node, q(SET ROLE other; SELECT es_create_channel('o_2')), '53400', '0: none may be made');
value('ALTER DATABASE postgres SET pg_eventstore.channels_per_role = -1');
es_state_ok($node, qq($make('r_' || i) FROM generate_series(5, 9) i), '00000', '-1: any number');

my $long = q('{"types": ["' || repeat('x', 8200) || '"]}');
es_state_ok($node, "$make('r_long', ($long)::jsonb)", '54000', 'F5: options that are long to read are refused');
es_state_ok($node, "SET ROLE reader; SELECT es_alter_channel('r_9', ($long)::jsonb)", '54000', 'in a change too');
es_state_ok($node, "SELECT es_create_channel('own_long', ($long)::jsonb)", '00000', "but not the owner's");
$_->close for $first, $second;
value('DELETE FROM es.channels');

# ----------------------------------------------------- a tick between two pieces
my $channels = 2000;
my $events = 4000;
my $bound = 100_000;    # events times channels, in one transaction
my $listener = es_listener($node, 'postgres', 'es_events');
my $appender = EsClient->new($node);
my $blocker = EsClient->new($node);
$appender->run(q(SELECT es_append('warm-1', 0, 'T', '{}')));
my $start = $appender->value(q(SELECT es_position('warm-1')));
ok($listener->await_upto($start), 'listeners are told');
value("$make('nothing_' || i, '{\"stream_prefix\": \"nothing\"}') FROM generate_series(1, $channels) i");

# The publisher, which has new channels to read, is stopped before its first piece.
# (Sessions that know the store do not look at es.channels: a reader who changes channels
# costs them nothing.)
$listener->forget;
$blocker->run('BEGIN');
$blocker->run('LOCK TABLE es.channels IN ACCESS EXCLUSIVE MODE');
$appender->run("SELECT FROM es_append_batch('many-1', 0, array_fill('T'::text, '{$events}'), array_fill('{}'::jsonb, '{$events}'))");
my $end = $appender->value('SELECT es_head()');
es_poll_in($node, 'postgres', q(SELECT count(*) > 0 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted
	AND relation = 'es.channels'::regclass AND backend_type ~ 'publisher'), 'the publisher would notify');
$appender->run(q(SELECT es_append('late-1', 0, 'T', '{}')));
my $late = $appender->value(q(SELECT es_position('late-1')));
$blocker->run('COMMIT');
is($appender->value("SELECT es_wait($late, '180s') >= $late"), 't', 'what is appended meanwhile is published');
my $told = value("SELECT notified FROM es.ticks WHERE position >= $late ORDER BY position, notified LIMIT 1");
cmp_ok($told - $start, '<=', $bound / $channels, 'F5: after the first piece of notifying, which is bounded');
cmp_ok($told - $start, '>', 0, 'and has told something');
ok($listener->await_upto($late), 'in the end all is told');
my @pieces = grep { $_->{to} <= $end } $listener->told;
cmp_ok(scalar @pieces, '>=', $events * $channels / $bound, 'F5: in as many pieces as it takes');
my $sum = 0;
$sum += $_->{count} foreach @pieces;
is($sum, $events, 'each event once');
$_->close for $listener, $appender, $blocker;
value('DELETE FROM es.channels');

# ------------------------------------------------------------ channels that are kept
my @names = map { "k_$_" } qw(all new hand late other prepared);
my ($ears, $session) = (es_listener($node, 'postgres', 'es_events', @names), EsClient->new($node));

# One more event; which of the channels tell of it?  The publisher keeps what it has read.
sub told_of
{
	$ears->forget;
	my $upto = value(q(SELECT es_append('k-1', -1, 'T', '{}'); SELECT es_position('k-1'))) =~ s/.*\n//sr;
	return 'not in time' unless $ears->await_upto($upto);
	$ears->told;
	return join ' ', sort { $a cmp $b } grep { /^k_/ } map { $_->[0] } @{ $ears->{told} };
}

sub tells_ok
{
	my ($told, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(told_of(), $told, $name);
	is(told_of(), $told, '... and again');
	return;
}

value(q(SELECT es_create_channel('k_all')));
tells_ok('k_all', 'a channel');
value(q(SELECT es_create_channel('k_new')));
tells_ok('k_all k_new', 'es_create_channel: a new one tells from then on');
value(q(SELECT es_alter_channel('k_new', '{"types": []}')));
tells_ok('k_all', 'es_alter_channel');
value(q(SELECT es_drop_channel('k_all')));
tells_ok('', 'es_drop_channel');

my $by_hand = q(VALUES ('k_hand', '{}', 0, 'postgres', now()));
value("INSERT INTO es.channels $by_hand");
tells_ok('k_hand', 'the owner inserts by hand');
value(q(UPDATE es.channels SET options = '{}' WHERE name = 'k_new'));
tells_ok('k_hand k_new', 'updates');
value(q(DELETE FROM es.channels WHERE name = 'k_new'));
tells_ok('k_hand', 'deletes');
value('TRUNCATE es.channels');
tells_ok('', 'truncates');
value("SET session_replication_role = replica; INSERT INTO es.channels $by_hand");
tells_ok('k_hand', 'as replica too');
value("MERGE INTO es.channels AS c USING ($by_hand) AS v(name) ON c.name = v.name WHEN MATCHED THEN DELETE");
tells_ok('', 'by MERGE');

value(q(SELECT es_create_channel('k_all')));
value(q(BEGIN; SELECT es_create_channel('k_new'); UPDATE es.channels SET options = '{"types": []}'; ROLLBACK));
tells_ok('k_all', 'what is rolled back changes nothing');
$session->run($_) for 'BEGIN', 'SAVEPOINT s', q(SELECT es_create_channel('k_new')), q(SELECT es_drop_channel('k_all'));
tells_ok('k_all', 'nor what is not committed');
$session->run($_) for 'ROLLBACK TO s', 'COMMIT';
tells_ok('k_all', 'nor what a savepoint rolls back');

# what was read while a change was open is read again when that is committed
$session->run($_) for 'BEGIN', q(SELECT es_create_channel('k_late')), q(SELECT es_drop_channel('k_all'));
value(q(SELECT es_create_channel('k_other')));
tells_ok('k_all k_other', 'while a change is open, another is made');
$session->run('COMMIT');
tells_ok('k_late k_other', 'when the first is committed it counts');
value(q(BEGIN; SELECT es_create_channel('k_prepared'); DELETE FROM es.channels WHERE name = 'k_late'; PREPARE TRANSACTION 'p'));
value(q(SELECT es_drop_channel('k_other')));
tells_ok('k_late', 'while a change is prepared');
value(q(COMMIT PREPARED 'p'));
tells_ok('k_prepared', 'when that is committed');

# rewrites, the end of a store, and a store whose es.channels has no guards
value($_) for 'VACUUM FULL es.channels', q(SELECT es_create_channel('k_new'));
tells_ok('k_new k_prepared', 'after VACUUM FULL');
value($_) for 'CLUSTER es.channels USING channels_pkey', q(SELECT es_drop_channel('k_new'));
tells_ok('k_prepared', 'after CLUSTER');
value($_) for 'REINDEX TABLE CONCURRENTLY es.channels', q(SELECT es_create_channel('k_new'));
tells_ok('k_new k_prepared', 'after REINDEX CONCURRENTLY');
value(q(ALTER DATABASE postgres SET pg_eventstore.allow_reset = on));
value('SELECT es_reset()');
tells_ok('k_new k_prepared', 'after es_reset(), of the first event on');
my $unguarded = q(SET pg_eventstore.allow_maintenance = on; DROP TRIGGER es_guard_row ON es.channels; DROP TRIGGER es_guard_statement ON es.channels);
value($unguarded);
tells_ok('k_new k_prepared', 'without guards');
value(q(DELETE FROM es.channels WHERE name = 'k_new'));
tells_ok('k_prepared', 'F5: a store that es_init() has not brought up to date reads them each time');
like(value('SELECT es_init()'), qr/^adopted/, 'es_init() puts guards on es.channels');
tells_ok('k_prepared', 'with guards again');
value("INSERT INTO es.channels $by_hand");
tells_ok('k_hand k_prepared', 'they tell again');
value('DROP EXTENSION pg_eventstore CASCADE');
value(q(DELETE FROM es.channels WHERE name = 'k_prepared'));
value($_) for 'CREATE EXTENSION pg_eventstore', 'SELECT es_init()';
tells_ok('k_hand', 'DROP EXTENSION, and a change while nothing told');

# one that somebody has broken is no longer told of, until he mends it
value(q(INSERT INTO es.channels VALUES ('k_other', '1', 0, 'postgres', now())));
value(q(SELECT es_append('k-1', -1, 'T', '{}')));
es_poll_in($node, 'postgres', 'SELECT notifications_skipped > 0 FROM es_stat_publisher', 'a broken channel puts notifying off');
value(q(DELETE FROM es.channels WHERE name = 'k_other'));
tells_ok('k_hand', 'until it is gone');
es_state_ok($node, q(GRANT ALL ON es.channels TO other; SET ROLE other; UPDATE es.channels SET options = '{}'), '42501',
	'who is not the owner changes none by hand, whatever was granted');

$_->close for $ears, $session;
es_oracle_ok($node, 'in the end');
$node->stop;
done_testing();
