# A hot standby shows exactly the published prefix, by every way of reading (P1, P3),
# waits for what comes, refuses to publish, and never speaks of a lost tail.  After
# its promotion publishing goes on by itself.

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

my $primary = es_preloaded('primary', init => { allows_streaming => 1 });
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

my @reads = (
	'SELECT es_horizon()',
	'SELECT position, stream, version FROM es_read()',
	'SELECT position, stream, version FROM es_read(max_count => 3, backwards => true)',
	'SELECT position, stream, version FROM es.log ORDER BY position',
	'SELECT position, stream, version FROM es_outbox ORDER BY position',
	'SELECT horizon, head, lag_events FROM es_stat_publisher');

sub same_ok
{
	my ($name) = @_;

	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($standby->safe_psql('postgres', $_), $primary->safe_psql('postgres', $_), "P3: $name: the standby shows the same: $_") foreach @reads;
	return;
}

# a prefix, though more is committed and replayed
es_publishes_ok($primary, 'the primary publishes');
same_ok('all is published');
my $holder = EsClient->new($primary, name => 'holder');
$holder->run('BEGIN');
$holder->run(q(SELECT es_append('held-1', 0, 'T', '{}')));
my $low = $holder->value(q(SELECT es_position('held-1')));
$primary->safe_psql('postgres', q(SELECT es_append('free-' || i, 0, 'T', '{}') FROM generate_series(1, 5) i));
my $head = $primary->safe_psql('postgres', 'SELECT es_head()');
same_ok('one holds the horizon');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM es.events'), '6', 'the standby has all events');
is($standby->safe_psql('postgres', 'SELECT count(*), max(position) FROM es_read()'), '1|' . ($low - 1), 'P1: and shows those below the horizon only');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM es_outbox'), '5', 'the outbox shows the others');

# an old snapshot there keeps its prefix; es_wait() there
my $reader = EsClient->new($standby, name => 'reader');
my $waiter = EsClient->new($standby, name => 'waiter');
$reader->run('BEGIN ISOLATION LEVEL REPEATABLE READ');
$reader->run('SELECT 1');
my $late = EsClient->new($standby, name => 'late');
$late->run('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($late->value('SELECT es_horizon()'), $low - 1, 'a snapshot that has looked');
$waiter->tell("SELECT es_wait($head, '1h')");
es_poll_in($standby, 'postgres', q(SELECT state = 'active' AND wait_event_type = 'Extension' FROM pg_stat_activity WHERE application_name = 'waiter'),
	'es_wait() waits on the standby');
$holder->run('COMMIT');
is($waiter->answer->{rows}[0][0], $head, 'until the primary has published');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM es_read()'), '7', 'then all of it is shown');
is($reader->value('SELECT es_horizon()'), $low - 1, 'P3: a REPEATABLE READ snapshot from before shows what it would have shown');
is($reader->value('SELECT count(*) FROM es_read()'), '1', 'and nothing of what came');
is($late->value('SELECT count(*) FROM es_read()'), '1', 'whether it has looked before or not');
is($late->value('SELECT count(*) FROM es.log'), '1', 'by the view too');
$_->close foreach $reader, $late;
same_ok('all is published again');
$waiter->tell("SELECT es_wait($head + 1, '1h')");
es_poll_in($standby, 'postgres', q(SELECT state = 'active' FROM pg_stat_activity WHERE application_name = 'waiter'), 'it waits again');
$standby->safe_psql('postgres', 'SELECT pg_cancel_backend(' . $waiter->pid . ')');
is($waiter->answer->{state}, '57014', 'and can be cancelled there');
is($waiter->value("SELECT es_wait($head + 1, '10ms')"), $head, 'it answers the horizon when its time is over');

# what a standby does not do
es_state_ok($standby, "SELECT $_", '25006', "25006 on a standby: $_")
  foreach ('es_publish()', 'es_start_worker()', q(es_create_channel('c')), q(es_alter_channel('c', '{}')), q(es_drop_channel('c')));
is($standby->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_eventstore%')), '0', 'no worker runs there');
is($standby->safe_psql('postgres', 'SELECT pid IS NULL FROM es_stat_publisher'), 't', 'as the view says');
is($standby->safe_psql('postgres', q(SELECT status, detail LIKE '%standby%' FROM es_status() WHERE topic = 'publisher')), 'ok|t', 'and es_status(), as is well');
is($standby->safe_psql('postgres', "SELECT count(*) FROM es_read($head + 1000)"), '0', 'P6: a cursor ahead of a standby is no lost tail: the primary may be ahead');
is($standby->safe_psql('postgres', "SELECT es_wait($head + 1000, '0')"), $head, 'nor is a target');
my ($state) = es_error_detail($primary, "SELECT * FROM es_read($head + 1000)");
is($state, 'SE005', 'on the primary it is');

# behind a tick that is replayed before the rest
$primary->safe_psql('postgres', q(SELECT es_append('later-' || i, 0, 'T', '{}') FROM generate_series(1, 5) i; SELECT es_wait(es_head(), '60s')));
same_ok('more is published');

# a prepared transaction goes over with the promotion: it still holds the horizon
$primary->safe_psql('postgres', q(BEGIN; SELECT es_append('two-1', 0, 'T', '{}'); PREPARE TRANSACTION 'two'));
$primary->safe_psql('postgres', q(SELECT es_append('behind-1', 0, 'T', '{}'); SELECT es_publish()));
my $horizon = $primary->safe_psql('postgres', 'SELECT es_horizon()');
is($primary->safe_psql('postgres', q(SELECT es_horizon() < es_position('behind-1'))), 't', 'P1: a prepared transaction holds the horizon');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
$primary->stop('immediate');
$waiter->close;
$holder->close;
$standby->promote;
es_has_publisher_ok($standby, 'postgres', 'after the promotion there is a publisher');
is($standby->safe_psql('postgres', q(SELECT es_append('new-1', 0, 'T', '{}'))), '1', 'appends go on');
my $new = $standby->safe_psql('postgres', q(SELECT es_position('new-1')));
is($standby->safe_psql('postgres', 'SELECT es_publish()'), $horizon, 'P1: but the prepared transaction holds the horizon still');
is($standby->safe_psql('postgres', q(SELECT status, detail LIKE '%two%' FROM es_status() WHERE topic = 'holder')), 'warning|t', 'as es_status() says');
$standby->safe_psql('postgres', q(COMMIT PREPARED 'two'));
is($standby->safe_psql('postgres', "SELECT es_wait($new, '60s') >= $new"), 't', 'its COMMIT PREPARED releases it');
is($standby->safe_psql('postgres', "SELECT string_agg(stream, ' ' ORDER BY position) FROM es_read($horizon)"), 'two-1 behind-1 new-1',
	'P1: all of it is read, in order');
es_publishes_ok($standby, 'publishing goes on');
es_oracle_ok($standby, 'after the promotion');

$standby->stop;
done_testing();
