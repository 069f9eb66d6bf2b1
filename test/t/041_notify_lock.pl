# P4: a login without any right on the store does not stop publishing by NOTIFY, whose
# commits take turns with one lock of the whole server: the publisher puts off telling
# listeners, and ticks.  The stranger is stopped while it has the lock.

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

my $node = es_preloaded('notify');
my $has_lock = q(SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 1262 AND objid = 0 AND granted AND pid = %d);

$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN');
my $stranger = EsClient->new($node, name => 'stranger');
$stranger->run('SET SESSION AUTHORIZATION stranger');
my $watcher = EsClient->new($node, name => 'watcher');
my $listener = es_listener($node, 'postgres', 'es_events');
my $pid = $stranger->pid;

# Sends it on until it is met with the lock in its hands.
sub stop_with_lock
{
	for (1 .. 100)
	{
		$stranger->tell(q(SELECT count(pg_notify('strange', i || repeat('x', 7000))) FROM generate_series(1, 20000) i));
		for (;;)
		{
			my $met = $watcher->value(sprintf $has_lock, $pid);

			last if !$met && $watcher->value("SELECT state = 'idle' FROM pg_stat_activity WHERE pid = $pid") eq 't';
			next unless $met;
			kill 'STOP', $pid;
			return 1 if $watcher->value(sprintf $has_lock, $pid);
			kill 'CONT', $pid;
			last;
		}
		$stranger->answer;
	}
	return 0;
}

ok(stop_with_lock(), 'a stranger has the lock of all that notify, and does not give it back');
foreach my $n (1 .. 3)
{
	$node->safe_psql('postgres', q(SELECT es_append('a-1', -1, 'T', '{}')));
	is($node->safe_psql('postgres', q(SELECT es_wait(es_head(), '60s') = es_head())), 't', "P4: append $n is published meanwhile");
}
es_poll_in($node, 'postgres', 'SELECT notifications_skipped > 0 FROM es_stat_publisher', 'listeners are to wait, as is counted');
is($node->safe_psql('postgres', 'SELECT last_error IS NULL FROM es_stat_publisher'), 't', 'which is no error');
kill 'CONT', $pid;
is($stranger->answer->{state}, '00000', 'the stranger goes on');
ok($listener->await_upto($node->safe_psql('postgres', 'SELECT es_head()')), 'listeners are told then');
$listener->close;
$_->close foreach $stranger, $watcher;
$node->stop;
done_testing();
