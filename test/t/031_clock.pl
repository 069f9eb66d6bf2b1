# The wall clock is set back and forward while the server runs, by seconds, an hour and
# ten years: nothing that lasts is measured by it (P4).  The publisher publishes, the
# launcher brings it back, stores take turns, es_wait() and statements about databases come
# back, listeners are told (F2); no lag is negative; and es.ticks is thinned out, also where
# the clock was ahead, creeps or stands still (F3).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsClient;
use EsClock;
use EsPublish;
use EsTest;

my $missing = es_clock_build();
plan skip_all => $missing if $missing;

my $hour = 3600;
my $years = 3653 * 24 * $hour;
my @steps = (
	[ 'a step back of 2 s', -2 ],
	[ 'a step forward of 2 s', 0 ],
	[ 'a step back of an hour', -$hour ],
	[ 'a step forward of an hour', 0 ],
	[ 'a step forward of ten years', $years ],
	[ 'a step back of ten years', 0 ],
	[ 'a step back of ten years more', -$years ],
	[ 'a step forward of ten years, to the true time', 0 ]);

my $node = es_clock_preload(sub { es_preloaded('clock') });

sub value
{
	my ($sql, $db) = @_;
	return $node->safe_psql($db || 'postgres', $sql);
}

# Bounded polling; answers whether it holds.  What has failed once need not be waited for as
# long again.
sub poll_ok
{
	my ($query, $name, $db) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return 1 if ok($node->poll_query_until($db || 'postgres', $query), $name);
	$PostgreSQL::Test::Utils::timeout_default = 5;
	return 0;
}

# What a client is answered, undef where nothing comes.
sub answer
{
	my ($client) = @_;
	my $answer = eval { $client->answer };

	$PostgreSQL::Test::Utils::timeout_default = 5 unless $answer;
	return $answer;
}

sub rest_ok
{
	return poll_ok(q(SELECT state = 'idle' AND lag_events = 0 FROM es_stat_publisher), 'the publisher rests');
}

# Do clients wait, or have waited, in es_wait() with this remark?
sub waits
{
	my ($remark) = @_;
	return qq(SELECT bool_and(query LIKE '%/* $remark */%' AND (wait_event_type = 'Extension' OR state = 'idle'))
		FROM pg_stat_activity WHERE application_name IN ('waiter', 'patient'));
}

es_clock_step($hour);
is(value(q(SELECT clock_timestamp() - now() BETWEEN '0' AND '1min' AND extract(epoch FROM now()) > ) . (time + $hour / 2)),
	't', 'the server has the clock of this test');
es_clock_step(0);
cmp_ok(abs(value('SELECT extract(epoch FROM now())') - time), '<', $hour / 2, 'and it is the true one again');

foreach my $case (@steps)
{
	my ($what, $ahead) = @$case;

	rest_ok();
	es_clock_step($ahead);
	my $at = value(q(SELECT es_append('a-1', -1, 'T', '{}'); SELECT es_position('a-1')));
	$at =~ s/.*\n//;
	last unless poll_ok("SELECT es_horizon() >= $at", "F2, P4: after $what an append is published");
	poll_ok('SELECT last_tick_at <= clock_timestamp() FROM es_stat_publisher', 'and the view shows no tick of the future');
}
if (!Test::More->builder->is_passing)
{
	# the rest needs a publisher that publishes
	es_clock_step(0);
	$node->stop;
	done_testing();
	exit;
}

# the launcher
es_clock_step(0);
foreach my $case (@steps)
{
	my ($what, $ahead) = @$case;
	my $pid = es_publisher_pid($node);

	es_clock_step($ahead);
	value("SELECT pg_terminate_backend($pid)") if $pid ne '';
	last unless poll_ok(qq(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'pg_eventstore publisher' AND pid <> ) . ($pid || 0),
		"F2, P4: after $what a publisher that was terminated comes back");
}

# es_wait() comes back: when its time is over, and not before
es_clock_step(0);
my $waiter = EsClient->new($node, name => 'waiter');
my $patient = EsClient->new($node, name => 'patient');
my $next = 'SELECT es_wait(es_head() + 1, ';
foreach my $case (@steps)
{
	my ($what, $ahead) = @$case;

	last unless rest_ok();
	my $target = value('SELECT es_head() + 1');
	$patient->tell("$next '1 month') /* $what */");
	$waiter->tell("$next '2s') /* $what */");
	poll_ok(waits($what), 'two wait');
	es_clock_step($ahead);
	my $answer = answer($waiter);
	is($answer && $answer->{state}, '00000', "F2: after $what es_wait() with a time-out comes back") or last;
	is(value(q(SELECT state FROM pg_stat_activity WHERE application_name = 'patient')), 'active', 'F2: one that has more time waits on');
	value(q(SELECT es_append('a-1', -1, 'T', '{}')));
	$answer = answer($patient);
	cmp_ok($answer ? $answer->{rows}[0][0] : 0, '>=', $target, 'until it is there') or last;
}
es_clock_step(0);
value(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name IN ('waiter', 'patient')));
$_->close foreach $waiter, $patient;
$patient = EsClient->new($node, name => 'patient');
foreach my $timeout ('1 microsecond', '200000 years', $node->pg_version >= 17 ? 'infinity' : ())
{
	$patient->tell("$next '$timeout') /* $timeout */");
	poll_ok(waits($timeout), "es_wait() waits for $timeout");
	value(q(SELECT es_append('a-1', -1, 'T', '{}'))) if $timeout !~ /micro/;
	my $answer = answer($patient);
	is($answer && $answer->{state}, '00000', "es_wait() with a time-out of $timeout answers");
	last unless $answer;
}
is(es_sqlstate($node, "$next '-1 microsecond')"), '22023', 'a time-out that is negative is refused');
is(es_sqlstate($node, "$next '-infinity')"), '22023', 'and one that is infinitely so') if $node->pg_version >= 17;
$patient->close;

# a statement about a database: the publisher there is stopped, and cannot go
value('CREATE DATABASE held');
es_create($node, 'held');
es_publishes_ok($node, 'another database has a publisher', 'held');
my $pid = 0;
foreach my $case (@steps[0, 2, 4, 5])
{
	my ($what, $ahead) = @$case;

	$pid = es_has_publisher_ok($node, 'held', 'there is one', $pid);
	my $dropper = EsClient->new($node, name => 'dropper');

	kill 'STOP', $pid;
	$dropper->tell('DROP DATABASE held');
	poll_ok(q(SELECT state = 'held' FROM es_stat_workers WHERE database = 'held'), 'DROP DATABASE keeps the publisher away');
	es_clock_step($ahead);
	my $answer = answer($dropper);
	is($answer && $answer->{state}, '55006', "F2: after $what it comes back");
	value(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dropper')) unless $answer;
	kill 'CONT', $pid;
	$dropper->close;
	last unless $answer;
}
es_has_publisher_ok($node, 'held', 'there is one', $pid);
es_clock_step(-$hour);
is(es_sqlstate($node, 'DROP DATABASE held'), '00000', 'F2: a publisher that is not stopped goes at once');
es_clock_step(0);

# listeners that were put off
my $listener = es_listener($node, 'postgres', 'es_events');
value(q(SELECT es_create_channel('broken')));
foreach my $ahead (-2, -$hour, -$years)
{
	es_clock_step(0);
	my $skipped = value(q(UPDATE es.channels SET options = '1'; SELECT es_append('a-1', -1, 'T', '{}');
		SELECT notifications_skipped FROM es_stat_publisher));
	$skipped =~ s/.*\n//s;
	poll_ok("SELECT notifications_skipped > $skipped FROM es_stat_publisher", 'notifying is put off');
	es_clock_step($ahead);
	value(q(UPDATE es.channels SET options = '{}'));
	next if ok($listener->await_upto(value('SELECT es_head()')), "F2: after a step of $ahead s listeners are told");
	$PostgreSQL::Test::Utils::timeout_default = 5;
	last;
}
$listener->close;
value(q(SELECT es_drop_channel('broken')));

# no lag is negative
es_clock_step(0);
my $holder = EsClient->new($node, name => 'holder');
$holder->run('BEGIN');
$holder->run(q(SELECT es_append('held-1', 0, 'T', '{}')));
foreach my $ahead (2, $hour, $years)
{
	es_clock_step($ahead);
	value(q(SELECT es_append('ahead-1', -1, 'T', '{}')));
	es_clock_step(0);
	is(value(q(SELECT lag_events > 0, lag BETWEEN '0' AND '1min' FROM es_stat_publisher)), 't|t',
		"F2: no lag is negative after the clock was $ahead s ahead");
	is(value(q(SELECT string_agg(detail, ' ') FROM es_status() WHERE detail ~ '-[0-9]')), '', 'nor any in a sentence of es_status()');
	value(q(SELECT es_append('ahead-1', -1, 'T', '{}')));
	$holder->run('COMMIT');
	rest_ok();
	$holder->run('BEGIN');
	$holder->run(q(SELECT es_append('held-1', -1, 'T', '{}')));
}
$holder->close;
es_oracle_ok($node, 'after all steps');
$node->stop;

# stores that take turns: room for one publisher of three
$node = es_clock_preload(sub {
	es_preloaded('clock_turns', conf => "max_logical_replication_workers = 0\nmax_worker_processes = 2\n") });
my @dbs = qw(postgres b c);
foreach my $db (qw(b c))
{
	value("CREATE DATABASE $db");
	es_create($node, $db);
}
foreach my $case (@steps)
{
	my ($what, $ahead) = @$case;

	value(q(SELECT es_append('turn-1', -1, 'T', '{}')), $_) foreach @dbs;
	es_clock_step($ahead);
	value(q(SELECT es_append('turn-2', -1, 'T', '{}')), $_) foreach @dbs;
	last if grep { !poll_ok('SELECT es_horizon() = es_head()', "F2: after $what stores take turns: $_ is published", $_) } @dbs;
}
es_clock_step(0);
my $busy = EsClient->new($node, db => 'b', name => 'busy');
$busy->tell(q(DO $$BEGIN LOOP PERFORM es_append('busy-1', -1, 'T', '{}'); COMMIT; END LOOP; END$$));
poll_ok(q(SELECT es_stream_version('busy-1') > 100), 'b is busy', 'b');
foreach my $case (@steps)
{
	my ($what, $ahead) = @$case;

	es_clock_step($ahead);
	value(q(SELECT es_append('turn-3', -1, 'T', '{}')), $_) foreach qw(postgres c);
	last if grep { !poll_ok('SELECT es_horizon() = es_head()', "F2: after $what stores take turns: $_ is published while b is busy", $_) } qw(postgres c);
}
value(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'busy'));
$busy->close;
es_clock_step(0);
$node->stop;

# es.ticks is thinned out
$node = es_clock_preload(sub { es_server('clock_ticks', conf => "autovacuum = off\n") });

sub tick
{
	my ($n) = @_;

	value(qq(DO \$\$BEGIN FOR i IN 1..$n LOOP
		PERFORM es_append('t-1', -1, 'T', '{}'); COMMIT; PERFORM es_publish(); COMMIT; END LOOP; END\$\$));
	return;
}

sub ticks { return value('SELECT count(*) FROM es.ticks') }

sub thinned_ok
{
	my ($bound, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	cmp_ok(ticks(), '<=', $bound, "F3: ticks are thinned out $name");
	is(value('SELECT es_horizon() = es_head()'), 't', 'and the newest stays');
	is(value(q(SELECT count(*) FROM (SELECT recorded_at, lag(recorded_at) OVER (ORDER BY position) AS before FROM es.ticks) t
		WHERE recorded_at < before)), '0', 'recorded_at never goes back');
	return;
}

# Each tick was one position above the one before.
sub fresh_kept_ok
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(value(q(SELECT count(*) > 1 AND count(*) = max(position) - min(position) + 1 FROM es.ticks
		WHERE recorded_at > (SELECT max(recorded_at) FROM es.ticks) - interval '1 minute')), 't', 'those of the last minute are kept');
	return;
}

my $minute = 60;
tick(300);
fresh_kept_ok();
es_clock_step(3 * $minute);
tick(150);
thinned_ok(300, 'when they are older');
fresh_kept_ok();
es_clock_step($years);
tick(150);
my $old = EsClient->new($node, name => 'old');
my $head = value('SELECT es_head()');
$old->run('BEGIN ISOLATION LEVEL REPEATABLE READ');
$old->run('SELECT 1');
es_clock_step(6 * $minute);
tick(1000);
thinned_ok(100, 'after the clock was ten years ahead');
tick(2000);
thinned_ok(100, 'however long that is ago');
is(value('SELECT max(recorded_at) - now() > \'9 years\' FROM es.ticks'), 't', 'while recorded_at stands still');
is($old->value('SELECT es_horizon()'), $head, 'P1, P3: an old snapshot finds its horizon');
is($old->value('SELECT count(*) FROM es_read(max_count => NULL)'), $head, 'and its events');
$old->close;

# a clock that is ahead time and again, by a second more each time
foreach my $i (1 .. 40)
{
	es_clock_step($years + $i);
	tick(25);
	es_clock_step(6 * $minute);
	tick(25);
}
thinned_ok(150, 'where equal and rising times are mixed');

# one that is set back by less than a minute, time and again
my $highest = time + $years + $hour;
es_clock_stop($highest);
tick(100);
foreach my $i (1 .. 20)
{
	es_clock_stop($highest - 40 + $i / 10);
	tick(100);
}
thinned_ok(300, 'where the clock is set back by less than a minute each time');
es_clock_stop(0);

# and one that stands still
es_clock_step($years + 2 * $hour);
tick(100);
es_clock_stop(time + $years + 2 * $hour + 5);
tick(2000);
thinned_ok(100, 'where the clock stands still');
es_clock_stop(0);
es_clock_step($years + 3 * $hour);
tick(100);
tick(100);
thinned_ok(250, 'when it goes again');
fresh_kept_ok();
es_oracle_ok($node, 'after all steps');

$node->stop;
done_testing();
