# The publisher and es_reset(): listeners are told of what is appended to the emptied
# store from its first event on, and no tick of the store that was gets into it (P1).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;

use EsClient;
use EsPublish;
use EsTest;

my $node = es_preloaded('reset');
my $listener = es_listener($node, 'postgres', 'es_events');
my $append = q(SELECT FROM es_append_batch('a-1', -1, '{T,T,T}', '{1,2,3}'));

$node->safe_psql('postgres', 'ALTER DATABASE postgres SET pg_eventstore.allow_reset = on');
$node->safe_psql('postgres', $append);
ok($listener->await_upto(3), 'a listener is told');

# as many events as before, and more at once than there were
foreach my $batches (1, 2)
{
	$listener->forget;
	$node->safe_psql('postgres', 'BEGIN; SELECT es_reset();' . "$append;" x $batches . 'COMMIT');
	ok($listener->await_upto(3 * $batches), 'after es_reset() a listener is told again');
	is_deeply([ $listener->told ], [ { from => 1, to => 3 * $batches, count => 3 * $batches } ], 'of all there is');
}

# A publisher that has told its listeners, and would write that down, waits for
# an es_reset() that is open.  It lingers for a moment before, in which es_reset() must have
# its locks: for which it waits behind the publisher, who waits for the channels.  All
# know the store before those are locked.
my ($appender, $resetter, $blocker) = map { EsClient->new($node) } 1 .. 3;
my $waits = sub {
	my ($who, $relation) = @_;
	return "SELECT count(*) > 0 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted "
	  . "AND relation = '$relation'::regclass AND backend_type ~ '$who'";
};
my $met = 0;
for my $try (1 .. 10)
{
	$node->safe_psql('postgres', $append);
	es_poll_in($node, 'postgres', 'SELECT notified = horizon AND horizon = head FROM es_stat_publisher', "try $try: listeners have been told");
	$resetter->run('SELECT es_head()');
	$appender->run('BEGIN');
	$appender->run($append);
	$blocker->run('DELETE FROM es.channels');    # of which the publisher reads anew
	$blocker->run('BEGIN');
	$blocker->run('LOCK TABLE es.channels IN ACCESS EXCLUSIVE MODE');
	$appender->run('COMMIT');
	es_poll_in($node, 'postgres', $waits->('publisher', 'es.channels'), 'the publisher would tell them');
	$resetter->run('BEGIN');
	$resetter->tell('SELECT es_reset()');
	es_poll_in($node, 'postgres', $waits->('client', 'es.events'), 'es_reset() waits for it');
	$blocker->run('COMMIT');
	$resetter->answer;
	for (1 .. 10)
	{
		last if $met = $node->safe_psql('postgres', $waits->('publisher', 'es.ticks')) eq 't';
	}
	$resetter->run('COMMIT');
	last if $met;
}
note($met ? 'the publisher has met an open es_reset()' : 'the publisher was never late enough for an open es_reset()');
es_poll_in($node, 'postgres', $waits->('publisher', 'es.ticks') =~ s/> 0/= 0/r, 'and goes on');
es_poll_in($node, 'postgres', q(SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type ~ 'publisher' AND state = 'idle'), 'to its end');
is($node->safe_psql('postgres', 'SELECT es_horizon(), count(*) FROM es.ticks'), '0|0', 'P1: the emptied store has no tick of before');
es_publishes_ok($node, 'publishing goes on');
es_oracle_ok($node, 'afterwards');


# Whose tick is the first of an emptied store opens its epoch, and does not meet the next
# es_reset() in a deadlock.
$resetter->run('SELECT es_reset()');
$appender->run('SELECT es_horizon()');
$resetter->run('BEGIN');
$resetter->run('LOCK TABLE es.events IN ACCESS EXCLUSIVE MODE');
$appender->tell('SELECT es_publish()');
es_poll_in($node, 'postgres', $waits->('client', 'es.events'), 'es_publish() would open an epoch');
is($resetter->run('SELECT es_reset()')->{state}, '00000', 'es_reset() goes before it');
$resetter->run('COMMIT');
is($appender->answer->{state}, '00000', 'and it goes on');
is($node->safe_psql('postgres', 'SELECT count(*) FROM es.epochs'), '1', 'P6: with one epoch');

$_->close foreach $appender, $resetter, $blocker;
$node->stop;
done_testing();
