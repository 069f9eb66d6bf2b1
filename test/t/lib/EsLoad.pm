# Load with a ledger: clients, each a process of its own, that append in every
# way and write down what they were told; afterwards the ledgers are held against
# the store.
#
# An operation is a call with the parts {stream, ids, first, last, position} of
# its events.  Its state is
#
#	stored		the client was told so
#	absent		refused, or rolled back: nothing of it may be stored
#	unknown		the connection was lost: all of it or nothing
#
# and an unknown one is settled by a retry with the same ids (A5), which turns it
# into a stored one.  All decisions come from a seed; what happens in between is
# the server's.

package EsLoad;

use strict;
use warnings;

use Exporter 'import';
use POSIX ();
use PostgreSQL::Test::Utils;
use Storable;
use Test::More;

use EsClient;
use EsTest;

our @EXPORT = qw(es_load_start es_load_wait es_load_ok es_load_wrong es_load_settle es_load_deadlocks es_seed);

# The seed of this run: ES_SEED replays one.
sub es_seed
{
	my $seed = $ENV{ES_SEED} || (time ^ $$ << 8) % 1_000_000;

	note "seed $seed: run again with ES_SEED=$seed";
	return $seed;
}

# Starts clients, numbered from first + 1; each leaves its ledger in a file.
sub es_load_start
{
	my ($node, %opt) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my @clients;

	for my $n (map { ($opt{first} || 0) + $_ } 1 .. $opt{clients})
	{
		my $pid = fork;
		die "could not fork: $!" unless defined $pid;
		if ($pid == 0)
		{
			my $worker = EsLoad::Worker->new($node, $n, %opt);
			$worker->work;
			$worker->{client} = $worker->{admin} = undef;
			Storable::store($worker->ledger, "$dir/$n");
			POSIX::_exit(0);
		}
		push @clients, { pid => $pid, file => "$dir/$n" };
	}
	return \@clients;
}

# Waits for the clients and returns their ledgers.
sub es_load_wait
{
	my ($clients) = @_;
	my @ledgers;

	for my $client (@$clients)
	{
		waitpid($client->{pid}, 0);
		push @ledgers, -e $client->{file} ? Storable::retrieve($client->{file}) : { wrong => ['a client has died'], deadlocks => [], ops => [] };
	}
	return @ledgers;
}

# Settles what is unknown, by new clients.
sub es_load_settle
{
	my ($node, @ledgers) = @_;
	my $settled = 0;

	for my $ledger (@ledgers)
	{
		my $worker = EsLoad::Worker->new($node, $ledger->{client}, seed => 0);

		$worker->{wrong} = $ledger->{wrong};
		$worker->{deadlocks} = $ledger->{deadlocks};
		for my $op (grep { $_->{state} eq 'unknown' } @{ $ledger->{ops} })
		{
			$worker->settle($op);
			$settled++;
		}
	}
	return $settled;
}

# Holds what the clients were told against the store.
sub es_load_ok
{
	my ($node, $name, @ledgers) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	subtest "$name: what the clients were told" => sub {
		my %stored;
		my %count;

		for (split /\n/, $node->safe_psql('postgres', q(SELECT id, stream, version, position, data FROM es.events)))
		{
			my ($id, @row) = split /\|/;
			$stored{$id} = \@row;
		}
		$count{ $_->{state} }++ for map { @{ $_->{ops} } } @ledgers;
		note join ', ', map { "$count{$_} $_" } sort keys %count;
		is(join("\n", es_load_wrong(\%stored, @ledgers)), '', 'A2, A5: all that was told is stored, nothing else of it');
		is(join(' ', sort keys %stored), '', 'nothing is stored that nobody was told');
	};
	es_oracle_ok($node, $name);
}

# What is wrong in ledgers, held against what is stored: id => [stream, version,
# position, data].  What remains there is what nobody was told.
sub es_load_wrong
{
	my ($stored, @ledgers) = @_;

	return ((map { @{ $_->{wrong} } } @ledgers),
		map { _misfits($_, $stored) } map { @{ $_->{ops} } } @ledgers);
}

# Single calls that the deadlock check has ended, as text.
sub es_load_deadlocks
{
	return join "\n", map { @{ $_->{deadlocks} } } @_;
}

# What does not fit; takes what is told out of what is stored.
sub _misfits
{
	my ($op, $stored) = @_;
	my @wrong;

	for my $part (@{ $op->{parts} })
	{
		my $n = 0;
		for my $id (@{ $part->{ids} })
		{
			my $row = delete $stored->{$id};
			my $version = defined $part->{first} ? $part->{first} + $n : undef;
			$n++;
			if ($op->{state} ne 'stored')
			{
				push @wrong, "$id is $op->{state}, and stored" if $row;
				next;
			}
			push @wrong, "$id is told and not stored" and next unless $row;
			push @wrong, "$id is $row->[0] $row->[1], told was $part->{stream} $version"
			  if $row->[0] ne $part->{stream} or $row->[1] != $version;
			push @wrong, "$id has other data" if $row->[3] ne $part->{data};
			push @wrong, "$id is at position $row->[2], told was $part->{position}"
			  if $n == @{ $part->{ids} } and defined $part->{position} and $row->[2] != $part->{position};
		}
	}
	return @wrong;
}

package EsLoad::Worker;

use strict;
use warnings;

sub new
{
	my ($class, $node, $n, %opt) = @_;
	my $self = bless {
		node => $node, n => $n, made => 0, ops => [], wrong => [], deadlocks => [],
		count => $opt{ops} || 100,
		streams => $opt{streams} || 10,
		# what the work consists of: name and weight
		mix => $opt{mix} || [ [ auto => 45 ], [ transaction => 30 ], [ retry => 10 ], [ again => 10 ], [ changed => 5 ] ],
		kill => defined $opt{kill} ? $opt{kill} : 12,
	}, $class;

	srand($opt{seed} * 1000 + $n) if $opt{seed};
	$self->connect;
	return $self;
}

sub connect
{
	my ($self) = @_;

	$self->{client} = EsClient->new($self->{node}, name => "load $self->{n}");
	return;
}

sub ledger
{
	my ($self) = @_;
	return { client => $self->{n}, ops => $self->{ops}, wrong => $self->{wrong},
		deadlocks => $self->{deadlocks} };
}

# Does the work; stops where the connection is lost for good.
sub work
{
	my ($self) = @_;
	my $total = 0;

	$total += $_->[1] for @{ $self->{mix} };
	eval {
		for (1 .. $self->{count})
		{
			my $draw = rand $total;
			my $what;
			for my $entry (@{ $self->{mix} })
			{
				$what = $entry->[0];
				last if ($draw -= $entry->[1]) < 0;
			}
			$self->$what;
			last if $self->{client}->lost;
		}
		1;
	} or $self->{client}->lost or push @{ $self->{wrong} }, "client $self->{n}: $@";
	return;
}

sub chance
{
	my ($percent) = @_;
	return rand(100) < $percent;
}

sub wrong
{
	my ($self, $text, $op, $answer) = @_;

	push @{ $self->{wrong} },
	  "client $self->{n}: $text" . ($op ? ", op $op->{number} of kind $op->{kind}" : '')
	  . ($answer ? ", answer $answer->{state} " . join(' / ', map { join '|', @$_ } @{ $answer->{rows} }) : '');
	return;
}

# A new operation, not yet sent.
sub make_op
{
	my ($self, %opt) = @_;
	my @kinds = qw(single batch json try try_json);
	my $kind = $opt{kind} || $kinds[ rand @kinds ];
	my $nparts = $kind !~ /json/ ? 1 : $opt{parts} || 2 + int rand 3;
	my $op = { kind => $kind, number => ++$self->{made}, state => 'absent', parts => [] };
	my %streams;

	$streams{ $self->stream(int rand $self->{streams}) } = 1 while keys %streams < $nparts;
	for my $stream (sort { rand() <=> 0.5 } sort keys %streams)
	{
		my $nevents = $kind eq 'single' ? 1 : 1 + int rand 5;
		my $part = { stream => $stream, ids => [], data => "$self->{n}$op->{number}" };
		push @{ $part->{ids} }, EsTest::uuid($self->{n} + 16, ++$self->{ids}) for 1 .. $nevents;
		push @{ $op->{parts} }, $part;
	}
	push @{ $self->{ops} }, $op;
	return $op;
}

sub stream { return "load-$_[1]" }

# What the call expects of a stream: mostly any; or what the client last saw.
sub expectation
{
	my ($self, $stream) = @_;

	return -1 if chance(60);
	return -2 if chance(20);
	return 0 if chance(10);
	my $answer = $self->{client}->run("SELECT es_stream_version('$stream')");
	return $answer->{state} eq '00000' ? $answer->{rows}[0][0] : -1;
}

# The statement for an operation; expected is any or what expectation() draws.
sub sql
{
	my ($self, $op, $any) = @_;
	my $part = $op->{parts}[0];
	my $n = @{ $part->{ids} };
	my $stream = $part->{stream};
	my $ids = join ',', @{ $part->{ids} };
	my $trace = qq('{"trace": ) . int(rand 1e9) . q(}');

	if ($op->{kind} =~ /json/)
	{
		my @entries = map {
			my $one = $_;
			my $expected = $any ? -1 : $self->expectation($one->{stream});
			my $events = join ',', map { qq({"type": "T", "data": $one->{data}, "id": "$_"}) } @{ $one->{ids} };
			qq({"stream": "$one->{stream}", "expected": $expected, "events": [$events]})
		} @{ $op->{parts} };
		return 'SELECT first_version, '
		  . ($op->{kind} eq 'json' ? 'last_version, last_position, repeated FROM es_append_json'
			: 'version, last_position, outcome FROM es_try_append_json') . "('[" . join(',', @entries) . "]')";
	}

	my $expected = $any ? -1 : $self->expectation($stream);
	return "SELECT es_append('$stream', $expected, 'T', '$part->{data}', $trace, '$ids')"
	  if $op->{kind} eq 'single';
	my $args = "'$stream', $expected, array_fill('T'::text, '{$n}'), array_fill('$part->{data}'::jsonb, '{$n}'), "
	  . "array_fill($trace\::jsonb, '{$n}'), '{$ids}'";
	return "SELECT first_version, version, last_position, outcome FROM es_try_append($args)"
	  if $op->{kind} eq 'try';
	return "SELECT first_version, last_version, last_position, repeated FROM es_append_batch($args)";
}

# Reads an answer into an operation; true where it says that it is stored.
sub is_told
{
	my ($self, $op, $answer) = @_;

	delete $op->{repeated};
	return 0 if $answer->{state} ne '00000';
	return 0 if $op->{kind} eq 'try' and $answer->{rows}[0][3] eq 'conflict';
	if ($op->{kind} eq 'try_json' and grep { $_->[3] eq 'conflict' } @{ $answer->{rows} })
	{
		$self->wrong('a conflict, and yet something was written', $op, $answer)
		  if grep { $_->[3] !~ /^(conflict|unwritten)$/ } @{ $answer->{rows} };
		return 0;
	}
	$self->wrong('an odd number of rows', $op, $answer) if @{ $answer->{rows} } != @{ $op->{parts} };
	for my $i (0 .. $#{ $op->{parts} })
	{
		my ($first, $last, $position, $repeated) = @{ $answer->{rows}[$i] };
		my $part = $op->{parts}[$i];

		@$part{qw(first last position)} = ($first, $op->{kind} eq 'single' ? $first : $last, $position);
		$self->wrong('versions do not fit the events', $op, $answer)
		  if $part->{last} - $part->{first} + 1 != @{ $part->{ids} };
		$op->{repeated} = $repeated =~ /^(t|repeated)$/ ? 1 : 0 if defined $repeated;
	}
	return 1;
}

# Errors that a well-behaved client may meet here.
sub check_state
{
	my ($self, $op, $answer, @allowed) = @_;
	my $state = $answer->{state};

	$self->wrong("an unexpected error", $op, $answer)
	  unless grep { $_ eq $state } '00000', 'lost', @allowed;
	return;
}

# May a call that should succeed fail like this?  Not where nobody does harm.
sub is_excused { return 0 }

# Sends, and ends the connection meanwhile: from the server's side, or from the
# client's.  Returns the answer, which may have come in time.
sub send_and_kill
{
	my ($self, $sql) = @_;
	my $client = $self->{client};
	my $pid = $client->pid;

	$self->{admin} = EsClient->new($self->{node}, name => 'admin') if !$self->{admin} or $self->{admin}->lost;
	$client->tell($sql);
	my $answer;
	if (chance(70))
	{
		$self->{admin}->run("SELECT pg_terminate_backend($pid)");
		$answer = $client->answer;
	}
	else
	{
		$client->kill9;
		$answer = { state => 'lost', rows => [] };
	}
	$self->connect;
	$self->await_gone($pid);
	return $answer;
}

# Waits until the backend has ended.
sub await_gone
{
	my ($self, $pid) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while ($self->{client}->value("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"))
	{
		die "backend $pid does not end" if time > $deadline;
	}
	return;
}

# Outside of a transaction, how many events of the operations are stored?
sub known
{
	my ($self, @ops) = @_;
	my @ids = map { @{ $_->{ids} } } map { @{ $_->{parts} } } @ops;

	return ($self->{client}->value("SELECT count(*) FROM es.events WHERE id = ANY ('{" . join(',', @ids) . "}')"), scalar @ids);
}

# A call that is its own transaction.  It never fails because of others (A7); one
# that does all the same is called again, so that the rest can be judged.
sub single
{
	my ($self, $op, $sql) = @_;
	my $answer;

	for (1 .. 100)
	{
		$answer = $self->{client}->run($sql);
		last if $answer->{state} ne '40P01';
		push @{ $self->{deadlocks} }, "client $self->{n}: op $op->{number} of kind $op->{kind}";
	}
	return $answer;
}

# A5: the retry tells what became of an unknown operation, and mends it.
sub settle
{
	my ($self, $op) = @_;
	my ($known, $of) = $self->known($op);
	$self->wrong("$known of $of events are stored", $op) if $known != 0 and $known != $of;
	my $answer = $self->single($op, $self->sql($op, 1));

	if (!$self->is_told($op, $answer))
	{
		$op->{state} = 'unknown';
		$self->wrong('the retry fails', $op, $answer);
		return;
	}
	$self->wrong('the retry does not say whether it repeats', $op, $answer)
	  if defined $op->{repeated} and $op->{repeated} != ($known ? 1 : 0);
	$op->{state} = 'stored';
	return;
}

# One call, committed by itself.
sub auto
{
	my ($self) = @_;
	my $op = $self->make_op;
	my $sql = $self->sql($op);

	if (chance($self->{kill}))
	{
		my $answer = $self->send_and_kill($sql);
		if ($answer->{state} eq 'lost')
		{
			$self->settle($op);
			return;
		}
		$self->finish($op, $answer);
		return;
	}
	$self->finish($op, $self->single($op, $sql));
	return;
}

sub finish
{
	my ($self, $op, $answer) = @_;

	if ($answer->{state} eq 'lost')
	{
		$op->{state} = 'unknown';
		return;
	}
	$self->check_state($op, $answer, 'SE001');
	$op->{state} = $self->is_told($op, $answer) ? 'stored' : 'absent';
	$self->wrong('a first call says that it repeats', $op, $answer) if $op->{repeated};
	return;
}

sub random_op
{
	my ($self, $state) = @_;
	my @ops = grep { $_->{state} eq $state } @{ $self->{ops} };

	return @ops ? $ops[ rand @ops ] : undef;
}

# A5: a retry of what is stored answers as the first call did.
sub retry
{
	my ($self) = @_;
	my $op = $self->random_op('stored') or return $self->auto;
	my @before = map { "$_->{first}..$_->{last}" } @{ $op->{parts} };
	my $answer = $self->single($op, $self->sql($op));

	return if $answer->{state} eq 'lost' or $self->is_excused($answer);
	if (!$self->is_told($op, $answer))
	{
		$self->wrong('a retry is refused', $op, $answer);
		return;
	}
	$self->wrong('a retry does not repeat', $op, $answer) if defined $op->{repeated} and !$op->{repeated};
	my @after = map { "$_->{first}..$_->{last}" } @{ $op->{parts} };
	$self->wrong("a retry answers @after, first was @before", $op, $answer) if "@before" ne "@after";
	return;
}

# What was refused or rolled back is tried again with the same ids.
sub again
{
	my ($self) = @_;
	my $op = $self->random_op('absent') or return $self->auto;

	$self->finish($op, $self->single($op, $self->sql($op, 1)));
	return;
}

# A known id with other content is SE002, and writes nothing.
sub changed
{
	my ($self) = @_;
	my $op = $self->random_op('stored') or return $self->auto;
	my $part = $op->{parts}[ rand @{ $op->{parts} } ];
	my $answer = $self->single($op,
		"SELECT es_append('$part->{stream}', -1, 'T', '\"other\"', id => '$part->{ids}[0]')");

	$self->wrong('other content passes', $op, $answer)
	  unless $answer->{state} =~ /^(SE002|lost)$/ or $self->is_excused($answer);
	return;
}

# Several calls in one transaction, with savepoints, in any isolation level.
sub transaction
{
	my ($self) = @_;
	my $client = $self->{client};
	my $level = ('READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')[ rand 4 ];
	my @live;
	my $open = 1;

	$client->run("BEGIN ISOLATION LEVEL $level");
	for (1 .. 1 + int rand 4)
	{
		$open = $self->step(\@live) or last;
	}
	return if $client->lost;
	if (!$open or chance(15))
	{
		$client->run('ROLLBACK');
		return;
	}
	$self->end_transaction(@live);
	return;
}

# One call in a transaction, perhaps in a savepoint.  False where the transaction
# has failed.
sub step
{
	my ($self, $live) = @_;
	my $client = $self->{client};
	my $savepoint = chance(40);
	my $op = $self->make_op;

	$client->run('SAVEPOINT s') if $savepoint;
	my $answer = $client->run($self->sql($op));
	# 25P02 follows where already the look at the version was refused
	$self->check_state($op, $answer, 'SE001', '40001', '40P01', '25P02');
	my $told = $self->is_told($op, $answer);
	if ($told and chance(20))
	{
		# a retry in the same transaction repeats, too
		my $second = $client->run($self->sql($op, 1));
		$self->wrong('a retry in the same transaction fails', $op, $second)
		  unless $client->lost
		  or $self->is_told($op, $second) and (!defined $op->{repeated} or $op->{repeated});
		return 0 if $client->lost;
	}
	if ($savepoint)
	{
		my $back = $answer->{state} ne '00000' || chance(40);
		$client->run($back ? 'ROLLBACK TO s' : 'RELEASE s');
		push @$live, $op if $told and !$back;
		return 1;
	}
	push @$live, $op if $told;
	return $answer->{state} eq '00000';
}

# Ends a transaction in one of the ways that there are.
sub end_transaction
{
	my ($self, @live) = @_;
	my $answer;

	if (chance(25))
	{
		$self->prepare(@live);
		return;
	}
	if (chance($self->{kill}))
	{
		$answer = $self->send_and_kill('COMMIT');
		if ($answer->{state} eq 'lost')
		{
			my ($known, $of) = @live ? $self->known(@live) : (0, 0);
			$self->wrong("A2: $known of $of events of a transaction are stored") if $known != 0 and $known != $of;
			$self->settle($_) for @live;
			return;
		}
	}
	else
	{
		$answer = $self->{client}->run('COMMIT');
	}
	$self->told_end($answer, @live);
	return;
}

sub told_end
{
	my ($self, $answer, @live) = @_;

	$self->check_state(undef, $answer, '40001');
	my $state = $answer->{state} eq '00000' ? 'stored' : $answer->{state} eq 'lost' ? 'unknown' : 'absent';
	$_->{state} = $state for @live;
	return;
}

sub prepare
{
	my ($self, @live) = @_;
	my $gid = "es_$self->{n}_$self->{made}";
	my $commit = chance(70);
	my $answer;

	$_->{state} = 'unknown' for @live;
	if (chance($self->{kill}))
	{
		$self->send_and_kill("PREPARE TRANSACTION '$gid'");
	}
	else
	{
		$answer = $self->{client}->run("PREPARE TRANSACTION '$gid'");
		$self->check_state(undef, $answer, '40001');
	}
	return if $self->{client}->lost;
	if (!$self->{client}->value("SELECT count(*) FROM pg_prepared_xacts WHERE gid = '$gid'"))
	{
		$_->{state} = 'absent' for @live;
		return;
	}
	my $end = ($commit ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$gid'";
	$self->send_and_kill($end) if chance($self->{kill});
	if ($self->{client}->value("SELECT count(*) FROM pg_prepared_xacts WHERE gid = '$gid'"))
	{
		$answer = $self->{client}->run($end);
		$self->check_state(undef, $answer);
		return if $self->{client}->lost;
	}
	$_->{state} = $commit ? 'stored' : 'absent' for @live;
	return;
}

1;
