# Many single calls that want one stream: a few wait at its lock, the others at the
# gate before it.  All get in, whoever of them is cancelled, ended or killed (A1, A7).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;

use EsClient;
use EsTest;

my $node = es_server('queue');
my $append = q(SELECT es_append('hot-1', -1, 'T', '{}'));

# who waits for the stream's lock, and who for its gate (fourth field), first come first
sub waiting
{
	my ($field) = @_;
	return split /\n/, $node->safe_psql('postgres', qq(
		SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objsubid::int & 65535 = x'$field'::int ORDER BY waitstart));
}

sub wait_for
{
	my ($field, $n) = @_;
	es_poll_ok($node, qq(SELECT count(*) = $n FROM pg_locks
		WHERE locktype = 'advisory' AND NOT granted AND objsubid::int & 65535 = x'$field'::int), "$n wait at $field");
	return;
}

my $first = EsClient->new($node);
$first->run('BEGIN');
is($first->value($append), '1', 'one has the stream');

# Two wait at the lock, and of the others one more, who has the gate.
my @queue = map { EsClient->new($node) } 1 .. 2;
for my $i (0 .. $#queue)
{
	$queue[$i]->tell($append);
	wait_for('E501', $i + 1);
}
my @others = map { EsClient->new($node) } 1 .. 6;
my %by_pid = map { ($_->pid => $_) } @others;
$_->tell($append) for @others;
wait_for('E511', 5);
wait_for('E501', 3);

# A later call of a transaction waits at the lock itself: it has what others may want.
my $later = EsClient->new($node);
$later->run('BEGIN');
$later->run(q(SELECT es_append('other-1', -1, 'T', '{}')));
$later->tell($append);
wait_for('E501', 4);

# The gate's holder is cancelled, then his successor ended: the next one has the gate.
sub at_gate { return grep { $by_pid{$_} } waiting('E501') }

my ($gate) = at_gate();
$node->safe_psql('postgres', "SELECT pg_cancel_backend($gate)");
is((delete $by_pid{$gate})->answer->{state}, '57014', 'the holder of the gate is cancelled');
wait_for('E511', 4);
wait_for('E501', 4);
($gate) = at_gate();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($gate)");
is((delete $by_pid{$gate})->answer->{state}, 'lost', 'the next one is ended');
wait_for('E511', 3);
wait_for('E501', 4);

# So is one in the middle of those before the gate.
my $middle = (waiting('E511'))[1];
$node->safe_psql('postgres', "SELECT pg_cancel_backend($middle)");
is((delete $by_pid{$middle})->answer->{state}, '57014', 'one before the gate is cancelled');
wait_for('E511', 2);

is($first->run('COMMIT')->{state}, '00000', 'the first one commits');
is($_->answer->{state}, '00000', 'one of the queue has appended') for @queue;
is($later->answer->{state}, '00000', 'the later call of a transaction has appended');
is($later->run('COMMIT')->{state}, '00000', 'and commits');
is($_->answer->{state}, '00000', 'A7: so has one from before the gate') for values %by_pid;
is($node->safe_psql('postgres', q(SELECT count(*), max(version) FROM es.events WHERE stream = 'hot-1')), '7|7',
	'A1: each has a version of its own');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), '0', 'no lock is left');
es_oracle_ok($node, 'afterwards');

$node->stop;
done_testing();
