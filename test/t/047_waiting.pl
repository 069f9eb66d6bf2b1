# O8: who waits for which stream can be seen, though its lock is a hash that cannot be
# turned back: by members of pg_monitor in es_stat_waiting, and by all that read the log
# or the error, in the context of whatever is reported while a session waits.  A wait is
# named whatever it is for: a stream that is new, with a tenant, several, all, its
# snapshots; at a lock, at its gate, behind a prepared transaction.  And no wait is named
# that is none: of a session that has ended, been cancelled, or waits for other things.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsClient;
use EsTest;

my $node;

sub value { return $node->safe_psql('postgres', $_[0]) }

sub append { return qq(SELECT es_append('$_[0]', -1, 'T', '{}') > 0) }

sub append_json
{
	my $entries = join ',', map { qq({"stream": "$_", "expected": -1, "events": [{"type": "T", "data": 1}]}) } @_;
	return "SELECT count(*) FROM es_append_json('[$entries]')";
}

# A new session that is told something that it has to wait with.
sub waiter
{
	my ($sql) = @_;
	my $client = EsClient->new($node);

	$client->tell($sql);
	return $client;
}

# What the view shows of such a session, once it waits (or has ended what it was told).
sub shows_ok
{
	my ($client, $expected, $name) = @_;
	my $pid = $client->pid;
	my $row = qq(SELECT concat_ws('|', kind, coalesce(stream, '-'), coalesce(tenant, '-'), waiting_since <= clock_timestamp(), blocked_by)
		FROM es_stat_waiting WHERE pid = $pid);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	es_poll_ok($node, "SELECT EXISTS (SELECT FROM es_stat_waiting WHERE pid = $pid AND waiting_since IS NOT NULL)
		OR (SELECT state LIKE 'idle%' AND query NOT LIKE '%pg_backend_pid%' FROM pg_stat_activity WHERE pid = $pid)", "$name: is seen");
	is(value($row), $expected, $name);
	return;
}

sub empty_ok
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	es_poll_ok($node, 'SELECT NOT EXISTS (SELECT FROM es_stat_waiting)', $name);
	return;
}

sub done_ok
{
	my ($name, @clients) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(join(' ', map { $_->answer->{state} } @clients), join(' ', map { '00000' } @clients), $name);
	$_->close for @clients;
	return;
}

$node = es_server('waiting', conf => "shared_preload_libraries = 'pg_eventstore'\nlog_lock_waits = on\nmax_locks_per_transaction = 64\n");

# ------------------------------------------------------------ the view

my $holder = EsClient->new($node);
my $h = $holder->pid;
$holder->run('BEGIN');
$holder->run(append('order-123'));
$holder->run(q(SELECT es_append('order-123', -1, 'T', '{}', tenant => 'acme')));
$holder->run(q(SELECT es_snapshot('order-123', 1, '{}')));

my $logged = -s $node->logfile;
my @waiters = (waiter(append('order-123')));
shows_ok($waiters[0], "append|order-123||t|{$h}", 'O8: a stream of which no event is committed yet');
push @waiters, waiter(q(SELECT es_append('order-123', -1, 'T', '{}', tenant => 'acme') > 0));
shows_ok($waiters[1], "append|order-123|acme|t|{$h}", 'O8: the same name with a tenant');
push @waiters, waiter(q(SELECT count(*) FROM es_append_json('[{"stream": "a-1", "expected": -1}, {"stream": "order-123", "expected": -1}, {"stream": "b-1", "expected": -1}]')));
shows_ok($waiters[2], "append|order-123||t|{$h," . $waiters[0]->pid . '}', 'O8: of several streams the one that is waited for');
push @waiters, waiter(q(SELECT count(*) FROM es_try_append_json('[{"stream": "order-123", "expected": -1}]')));
shows_ok($waiters[3], "append|order-123||t|{$h," . join(',', map { $_->pid } @waiters[ 0, 2 ]) . '}', 'O8: by es_try_append_json');
push @waiters, waiter(append('order-123')) for 1 .. 3;
es_poll_ok($node, 'SELECT count(*) = 7 FROM es_stat_waiting', 'some of them wait at the gate of the lock');
is(value(q(SELECT count(*) FROM es_stat_waiting WHERE kind = 'append' AND stream = 'order-123' AND tenant = '')), '6',
	'O8: where they are named, too');
push @waiters, waiter(q(SELECT es_snapshot('order-123', 1, '{}')));
shows_ok($waiters[7], "snapshot|order-123||t|{$h}", 'O8: the snapshots of a stream');
is(value('SELECT count(*) FROM es_stat_waiting'), scalar @waiters, 'and that is all');
is(value(q(SELECT count(*) FROM es_stat_waiting AS w JOIN pg_stat_activity AS a USING (pid) WHERE a.wait_event_type = 'Lock')),
	scalar @waiters, 'all of them do wait');

# other databases, other locks
value('CREATE DATABASE other');
es_create($node, 'other');
my $there = EsClient->new($node, db => 'other');
$there->run('BEGIN');
$there->run(append('order-123'));
my $waits_there = EsClient->new($node, db => 'other');
$waits_there->tell(append('order-123'));
$node->poll_query_until('other', 'SELECT count(*) = 1 FROM es_stat_waiting') or die 'it does not wait';
is($node->safe_psql('other', 'SELECT stream FROM es_stat_waiting'), 'order-123', 'a session of another database waits');
value('CREATE TABLE rows AS SELECT 1 AS x');
$holder->run($_) for 'SELECT pg_advisory_xact_lock(1)', 'UPDATE rows SET x = 2';
my @strangers = (waiter('SELECT pg_advisory_lock(1)'), waiter('UPDATE rows SET x = 3'));
my $strangers = join ',', map { $_->pid } @strangers;
es_poll_ok($node, "SELECT count(*) = 2 FROM pg_stat_activity WHERE pid IN ($strangers) AND wait_event_type = 'Lock'", 'others wait for other things');
is(value('SELECT count(*) FROM es_stat_waiting'), scalar @waiters, 'O8: which is not shown, nor another database');
$there->run('COMMIT');
done_ok('the other database goes on', $waits_there);
$there->close;

# ------------------------------------------------------------ the log

$node->wait_for_log(qr/still waiting for ExclusiveLock on advisory lock[^\n]*\n[^\n]*DETAIL: [^\n]*\n[^\n]*CONTEXT:  while waiting for stream "order-123"\n/, $logged);
$node->wait_for_log(qr/CONTEXT:  while waiting for stream "order-123" of tenant "acme"\n/, $logged);
$node->wait_for_log(qr/CONTEXT:  while waiting for snapshots of stream "order-123"\n/, $logged);
pass('O8: log_lock_waits names the stream, its tenant, its snapshots');

$logged = -s $node->logfile;
value('SELECT pg_cancel_backend(' . $waiters[0]->pid . ')');
is($waiters[0]->answer->{state}, '57014', 'one is cancelled');
$node->wait_for_log(qr/ERROR:  canceling statement due to user request\n[^\n]*CONTEXT:  while waiting for stream "order-123"\n/, $logged);
pass('O8: the context of a cancel names the stream');
is(value('SELECT count(*) FROM es_stat_waiting WHERE pid = ' . $waiters[0]->pid), '0', 'and it waits no more');
is($waiters[0]->run('SELECT 1')->{state}, '00000', 'it goes on with other things');
my $gone = $waiters[1]->pid;
value("SELECT pg_terminate_backend($gone)");
es_poll_ok($node, "SELECT NOT EXISTS (SELECT FROM es_stat_waiting WHERE pid = $gone)", 'O8: one that has ended is not shown');

for my $case ([ q(SET lock_timeout = '50ms';) => 'lock timeout' ], [ q(SET statement_timeout = '50ms';) => 'statement timeout' ])
{
	my ($setting, $what) = @$case;
	my ($ret, $out, $err) = $node->psql('postgres', "$setting " . append('order-123'));
	like($err, qr/ERROR:  canceling statement due to $what\nCONTEXT:  while waiting for stream "order-123"$/m, "O8: $what names the stream to its client");
	($ret, $out, $err) = $node->psql('postgres', "$setting " . append_json('new-1', 'order-123'));
	like($err, qr/CONTEXT:  while waiting for stream "order-123"$/m, "O8: $what, of several streams");
}
# a wait that has ended is not in the context of what comes after
my ($ret, $out, $err) = $node->psql('postgres', q(DO $$ BEGIN
	SET LOCAL lock_timeout = '50ms';
	BEGIN PERFORM es_append('order-123', -1, 'T', '{}'); EXCEPTION WHEN lock_not_available THEN NULL; END;
	RAISE EXCEPTION 'another'; END $$));
like($err, qr/another/, 'an error after a wait that has failed');
unlike($err, qr/while waiting/, 'O8: is not said to come of it');

# ------------------------------------------------------------ behind other kinds of holders

$holder->run('COMMIT');
done_ok('all that have waited go on', @waiters[ 2 .. 7 ], @strangers);
$_->close for @waiters[ 0, 1 ];
empty_ok('O8: and nobody waits');

$holder->run($_) for 'BEGIN', append('order-123');
my $all = waiter(append_json(map { "many-$_" } 1 .. 200));
shows_ok($all, "all streams|-|-|t|{$h}", 'O8: more streams than locks: it waits for all');
$holder->run('COMMIT');
done_ok('and has them', $all);
$holder->run($_) for 'BEGIN', append_json(map { "many-$_" } 1 .. 200);
my @few = (waiter(append('free-1')), waiter(append_json('x-1', 'x-2')));
shows_ok($few[0], "append|free-1||t|{$h}", 'O8: behind one that has all streams');
shows_ok($few[1], "append|-|-|t|{$h}", 'O8: several streams behind it have no one name');
$node->wait_for_log(qr/CONTEXT:  while waiting for 2 streams\n/, $logged);
$all = waiter(append_json(map { "more-$_" } 1 .. 200));
es_poll_ok($node, 'SELECT count(*) = 1 FROM es_stat_waiting WHERE kind = \'all streams\' AND pid = ' . $all->pid, 'O8: another that wants all');
$holder->run('COMMIT');
done_ok('they go on', @few, $all);

$holder->run($_) for 'BEGIN', append('order-123'), q(PREPARE TRANSACTION 'p');
my $behind = waiter(append('order-123'));
shows_ok($behind, 'append|order-123||t|{0}', 'O8: behind a prepared transaction');
$holder->run(q(COMMIT PREPARED 'p'));
done_ok('it goes on', $behind);
$holder->run($_) for 'BEGIN', append('order-123'), q(PREPARE TRANSACTION 'p');
$all = waiter(append_json(map { "most-$_" } 1 .. 200));
es_poll_ok($node, 'SELECT count(*) = 1 FROM es_stat_waiting WHERE kind = \'all streams\' AND pid = ' . $all->pid, 'O8: all streams, behind a prepared transaction');
$holder->run(q(COMMIT PREPARED 'p'));
done_ok('it goes on too', $all);

# a session that has waited for all streams, and then waits for a row
my $row = EsClient->new($node);
$all = EsClient->new($node);
$all->run('BEGIN');
$holder->run($_) for 'BEGIN', append('order-123');
$all->tell(append_json(map { "last-$_" } 1 .. 200));
es_poll_ok($node, 'SELECT count(*) = 1 FROM es_stat_waiting WHERE pid = ' . $all->pid, 'it waits for all streams');
$holder->run('COMMIT');
is($all->answer->{state}, '00000', 'and has them');
$row->run($_) for 'BEGIN', 'UPDATE rows SET x = 2';
$all->tell('UPDATE rows SET x = 3');
es_poll_ok($node, q(SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted AND pid = ) . $all->pid, 'it waits for a row');
is(value('SELECT count(*) FROM es_stat_waiting WHERE pid = ' . $all->pid), '0', 'O8: which is no wait for a stream');
$row->run('COMMIT');
is($all->answer->{state}, '00000', 'it has the row');
$_->run('COMMIT'), $_->close for $all, $row;

# ------------------------------------------------------------ a deadlock

$logged = -s $node->logfile;
my @two = map { EsClient->new($node) } 1, 2;
$_->run('BEGIN') for @two;
$two[0]->run(append('dead-1'));
$two[1]->run(append('dead-2'));
$two[0]->tell(append('dead-2'));
$two[1]->tell(append('dead-1'));
my @states = sort map { $_->answer->{state} } @two;
is("@states", '00000 40P01', 'two transactions deadlock, as row locks do');
$node->wait_for_log(qr/ERROR:  deadlock detected\n.*?CONTEXT:  while waiting for stream "dead-[12]"\n/s, $logged);
pass('O8: the context of a deadlock names the stream that its victim has waited for');
$_->close for @two;
empty_ok('O8: nobody waits');
$holder->close;
es_oracle_ok($node, 'preloaded');
$node->stop;

# ------------------------------------------------------------ not preloaded

# There are fewer entries than sessions: those that meet in one have no name, none has a wrong one.
$node = es_server('waiting_late', conf => "log_lock_waits = on\n");
my @holders = map { EsClient->new($node) } 1 .. 3;
for my $i (0 .. 2)
{
	$holders[$i]->run($_) for 'BEGIN', append("late-$i");
}
is(value('SELECT count(*) FROM es_stat_waiting'), '0', 'not preloaded: nobody waits');
my %stream;
my @late;
for my $n (1 .. 24)
{
	my $client = waiter(append('late-' . $n % 3));
	$stream{ $client->pid } = 'late-' . $n % 3;
	push @late, $client;
}
es_poll_ok($node, 'SELECT count(*) = 24 FROM es_stat_waiting', 'O8: all that wait are shown');
my @shown = map { [ split /\|/, $_, -1 ] } split /\n/, value('SELECT pid, stream FROM es_stat_waiting');
is(join(', ', grep { $_ } map { my ($pid, $name) = @$_; $name eq '' || $name eq $stream{$pid} ? '' : "$pid: $name" } @shown), '',
	'O8: none has a wrong name');
cmp_ok(scalar(grep { $_->[1] ne '' } @shown), '>=', 12, 'and many have theirs');
$_->run('COMMIT') for @holders;
done_ok('they go on', @late);
empty_ok('O8: and nobody waits');
es_oracle_ok($node, 'not preloaded');
$node->stop;

# No append fails because there is no room for names (A7).  Locks eat up what shared memory has
# to spare, before the first session waits.
$node = es_server('waiting_full', conf => "max_connections = 20\n");
is(value(append('first-1')), 't', 'the store has its own memory');
es_state_ok($node, 'SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 1000000) AS n', '53200', 'locks take all that is to spare');
$holder = EsClient->new($node);
$h = $holder->pid;
$holder->run($_) for 'BEGIN', append('order-123');
my @nameless = map { waiter(append('order-123')) } 1, 2;
shows_ok($nameless[0], "append|-|-|t|{$h}", 'A7: a session waits without a name');
value('SELECT pg_cancel_backend(' . $nameless[1]->pid . ')');
is($nameless[1]->answer->{state}, '57014', 'and can be cancelled');
$holder->run('COMMIT');
done_ok('A7: it appends', $nameless[0]);
is($nameless[1]->run(append('order-123'))->{state}, '00000', 'the other one too');
$nameless[1]->close;
es_oracle_ok($node, 'without room');
$node->stop;
done_testing();
