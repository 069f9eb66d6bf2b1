# A single call that names two streams, of which one or the other is always taken: it
# gives back what it has and waits, until at last it takes them in their order and keeps
# the first while it waits for the second.  A transaction that has the second and wants
# the first makes that a deadlock, and PostgreSQL's check chooses the single call, for
# nobody else checks here.  It gives way and comes back: it does not fail (A7).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;

use EsClient;
use EsTest;

my $node = es_server('insist');
my %client;
my %stream;    # of the client with this process

sub append { return qq(SELECT es_append('$_[0]', -1, 'T', '{}')) }

# begins a transaction that has its stream, or waits for it
sub begin
{
	my ($pid) = @_;
	$client{$pid}->run('BEGIN');
	$client{$pid}->tell(append($stream{$pid}));
	return;
}

sub has_ok
{
	my ($pid, $what) = @_;
	is($client{$pid}->answer->{state}, '00000', $what);
	return;
}

for my $name (qw(a-1 b-1))
{
	my $new = EsClient->new($node);
	$new->run(q(SET deadlock_timeout = '1h'));
	$client{ $new->pid } = $new;
	$stream{ $new->pid } = $name;
	begin($new->pid);
	has_ok($new->pid, "one has $name");
}
my $single = EsClient->new($node);
my $me = $single->pid;

# Does the single call wait for this one, or has it ended?
my $waits_for = sub {
	my ($pid, $what) = @_;
	my $state = "FROM pg_stat_activity WHERE pid = $me";
	es_poll_ok($node, "SELECT state = 'idle' OR pg_blocking_pids($me) = '{$pid}' $state", $what);
	return $node->safe_psql('postgres', "SELECT state <> 'idle' $state") eq 't';
};

$single->run(q(SET deadlock_timeout = '10ms'));
$single->tell(q(SELECT count(*) FROM es_append_json('[{"stream": "a-1", "expected": -1, "events": [{"type": "T", "data": 1}]},
	{"stream": "b-1", "expected": -1, "events": [{"type": "T", "data": 1}]}]')));
es_poll_ok($node, "SELECT cardinality(pg_blocking_pids($me)) = 1", 'it waits for one of them');

# who has the stream that comes first in the order of locks, and who has the second
my $first = $node->safe_psql('postgres', "SELECT unnest(pg_blocking_pids($me))");
my ($second) = grep { $_ != $first } keys %client;

for my $turn (1 .. 20)
{
	# He who has the second queues for the first behind the single call.  It gets that and
	# gives it back, or keeps it, while it waits for him: a deadlock from the start.
	$client{$second}->tell(append($stream{$first}));
	es_poll_ok($node, "SELECT '{$me}' <@ pg_blocking_pids($second)", "turn $turn: both want the first");
	$client{$first}->run('COMMIT');
	has_ok($second, "turn $turn: it gives way");
	last if !$waits_for->($second, "turn $turn: and waits again");

	# He who had the first comes back behind both.
	begin($first);
	es_poll_ok($node, "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $first", "turn $turn: one comes back");
	$client{$second}->run('COMMIT');
	has_ok($first, "turn $turn: and has his stream again");
	last if !$waits_for->($first, "turn $turn: the call has ended, or waits for the first");
	begin($second);
	has_ok($second, "turn $turn: the other one comes back too");
}
is_deeply($single->answer, { state => '00000', rows => [ ['2'] ] }, 'A7: the single call has appended to both');
is($client{$_}->run('COMMIT')->{state}, '00000', 'and so has who had to wait for it') foreach $first, $second;

is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), '0', 'no lock is left');
$single->run('BEGIN');
$single->run(append('a-1'));
is($single->run('PREPARE TRANSACTION \'p\'')->{state}, '00000', 'what is held is known');
is($single->run('ROLLBACK PREPARED \'p\'')->{state}, '00000', 'and ends');
es_oracle_ok($node, 'afterwards');

$node->stop;
done_testing();
