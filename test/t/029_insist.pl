# A single call that names two streams, of which one or the other is always taken: it
# gives back what it has and waits, until at last it takes them in their order and keeps
# the first while it waits for the second.  A transaction that has the second and wants
# the first makes that a deadlock, and PostgreSQL's check chooses the single call.  It
# gives way and comes back: it does not fail (A7).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;

use EsClient;
use EsTest;

my $node = es_server('insist');
my %stream;    # of the client with this process
my %client;

sub append { return qq(SELECT es_append('$_[0]', -1, 'T', '{}')) }

# begins a transaction that has its stream, or waits for it
sub begin
{
	my ($pid) = @_;
	$client{$pid}->run('BEGIN');
	$client{$pid}->tell(append($stream{$pid}));
	return;
}

# whom the process waits for
sub blockers { return $node->safe_psql('postgres', "SELECT unnest(pg_blocking_pids($_[0]))") }

for my $name (qw(a-1 b-1))
{
	my $new = EsClient->new($node);
	$new->run(q(SET deadlock_timeout = '100s'));
	$client{ $new->pid } = $new;
	$stream{ $new->pid } = $name;
	begin($new->pid);
	is($new->answer->{state}, '00000', "one has $name");
}
my $single = EsClient->new($node);
my $me = $single->pid;
$single->run(q(SET deadlock_timeout = '3s'));
$single->tell(q(SELECT count(*) FROM es_append_json('[{"stream": "a-1", "expected": -1, "events": [{"type": "T", "data": 1}]},
	{"stream": "b-1", "expected": -1, "events": [{"type": "T", "data": 1}]}]')));

# Whoever it waits for lets go and comes back at once, until it keeps what he let go.
my ($holder, $kept);
for my $turn (1 .. 20)
{
	es_poll_ok($node, "SELECT cardinality(pg_blocking_pids($me)) = 1", "turn $turn: it waits");
	$kept = blockers($me);
	($holder) = grep { $_ != $kept } keys %client;
	$client{$kept}->run('COMMIT');
	es_poll_ok($node, "SELECT pg_blocking_pids($me) = '{$holder}'", "turn $turn: for the other one");
	begin($kept);
	es_poll_ok($node, "SELECT state = 'idle in transaction' OR wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $kept",
		"turn $turn: who let go is back");
	last if blockers($kept) eq $me;
	is($client{$kept}->answer->{state}, '00000', "turn $turn: and has his stream");
}
is(blockers($kept), $me, 'it keeps the one while it waits for the other');

$client{$holder}->tell(append($stream{$kept}));
is($client{$kept}->answer->{state}, '00000', 'it has given way');
is($client{$kept}->run('COMMIT')->{state}, '00000', 'to him who waited');
is($client{$holder}->answer->{state}, '00000', 'and to him who had the other one');
is($client{$holder}->run('COMMIT')->{state}, '00000', 'who commits');
is_deeply($single->answer, { state => '00000', rows => [ ['2'] ] }, 'A7: the single call has appended to both');

is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), '0', 'no lock is left');
$single->run('BEGIN');
$single->run(append('a-1'));
is($single->run('PREPARE TRANSACTION \'p\'')->{state}, '00000', 'what is held is known');
is($single->run('ROLLBACK PREPARED \'p\'')->{state}, '00000', 'and ends');
es_oracle_ok($node, 'afterwards');

$node->stop;
done_testing();
