# A load of many kinds of appenders and consumers while harm is done to the server.
# EsNemesis.pm does the harm; the ledgers of the appenders are EsLoad.pm's, the
# consumers and their judge EsStress.pm's.
#
# Processes meet in a directory:
#
#	enough		the appenders stop
#	prepared	the finisher ends what is left prepared, and stops
#	goal		the consumers go as far as this position, and stop
#	keep		the finisher leaves alone what is prepared
#	crashes		a byte before each crash and one after it
#	lazy		the appenders commit asynchronously, all of them
#	was_full	from now on a call may have met a full disk
#	told.*		sums, and what went wrong
#	ledger.*	what an appender was told
#	stored.*	a byte for each event that an appender was told to be stored
#	met.STATE.*	a byte for each error that a client has met
#
# So progress is counted without asking the server, which may be down.
#
# Besides EsLoad.pm's, an operation may have the state
#
#	weak		told to be stored, with synchronous_commit = off: a crash may
#			have lost all of it
#
# and may be anonymous: its events were appended without ids.  What the store has of
# them is found by their data, which no other operation has.

package EsChaos;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;
use Storable;
use Test::More;

use EsLoad;
use EsStress;
use EsTest;

our @EXPORT = qw(chaos_start chaos_end chaos_stored chaos_met chaos_crashes chaos_resolve
  chaos_kinds chaos_reasons);

# What a client may be told, and why.  Everything else is wrong: so 23505, which must
# have become SE001 or SE002, XX000, 42883, SE005 and SE006.
my %reason = (
	'lost' => 'its session was ended, or the server crashed',
	'57014' => 'it was cancelled',
	'53100' => 'the disk was full',
	'SE001' => 'another session was first with the version that it expects',
	'SE002' => 'it sent other content under a known id, on purpose',
	'40001' => 'a transaction cannot see what it would append behind; a reader, what a table became under its snapshot, or what recovery takes away',
	'40P01' => 'a transaction locks several streams in an order of its own',
	'55000' => 'a prepared transaction is still being prepared, or ended by another session');

# Those that harm brings to any statement of a client.
my @anywhere = qw(lost 57014 53100);

# The kinds of appenders, and how many of a hand of cards are theirs.
my @kinds = ([ one => 4 ], [ batch => 3 ], [ many_streams => 1 ], [ json => 2 ], [ asynchronous => 3 ],
	[ savepoints => 2 ], [ rolled_back => 1 ], [ two_phase => 2 ], [ isolated => 2 ], [ repeated => 3 ]);

sub chaos_kinds { return map { $_->[0] } @kinds }

sub chaos_reasons { return \%reason }

sub size_of
{
	my $sum = 0;

	$sum += -s $_ || 0 for @_;
	return $sum;
}

# How many events appenders were told to be stored.
sub chaos_stored { return size_of(glob "$_[0]/stored.*") }

# How often clients have met an error.
sub chaos_met { return size_of(glob "$_[0]/met.$_[1].*") }

sub chaos_crashes { return size_of("$_[0]/crashes") }

# May a client meet this error here?  Notes it where it may.
sub may_meet
{
	my ($dir, $name, $state, @others) = @_;

	return 0 unless grep { $_ eq $state } @anywhere, @others;
	return 0 if $state eq '53100' && !-e "$dir/was_full";
	append_to_file("$dir/met.$state.$name", '.');
	return 1;
}

# Starts the load.
#
#	node, dir, seed
#	appenders	how many; those of even numbers are no superusers
#	consumers	what consumes, as EsStress.pm has it
sub chaos_start
{
	my (%opt) = @_;
	my ($node, $dir, $seed) = @opt{qw(node dir seed)};
	my $load = { node => $node, dir => $dir, seed => $seed, appenders => [], consumers => [] };

	for my $spec (@{ $opt{consumers} })
	{
		my $name = $spec->{name};
		my %all = (node => $node, db => 'postgres', dir => $dir, seconds => 120,
			allowed => sub { may_meet($dir, $name, $_[0], $spec->{is_standby} ? '40P01' : ()) }, %$spec);
		push @{ $load->{consumers} }, EsStress::spawn($name, ++$seed, $dir, sub { EsStress::consume(\%all, @_) });
	}
	for my $n (1 .. $opt{appenders})
	{
		push @{ $load->{appenders} }, EsStress::spawn("appender$n", ++$seed, $dir, sub {
			my $appender = EsChaos::Appender->new($node, $n, dir => $dir, streams => 60);
			$appender->work;
			Storable::store($appender->ledger, "$dir/ledger.$n");
		});
	}
	my %finisher = (node => $node, db => 'postgres', dir => $dir, name => 'finisher', percent => 20,
		setup => 'SET synchronous_commit = off', allowed => sub { may_meet($dir, 'finisher', $_[0]) });
	$load->{finisher} = EsStress::spawn('finisher', ++$seed, $dir, sub { EsStress::finish(\%finisher, @_) });
	return $load;
}

# Ends the load, settles what is unknown, and lets the consumers see all.  Returns
# the ledgers.
sub chaos_end
{
	my ($load, $name) = @_;
	my ($node, $dir) = @$load{qw(node dir)};
	my $in_time;

	EsStress::touch("$dir/enough");
	ok(EsStress::reap(120, @{ $load->{appenders} }), "$name: the appenders have ended in time");
	EsStress::touch("$dir/prepared");
	ok(EsStress::reap(60, $load->{finisher}), "$name: all that was prepared is ended");

	my @ledgers = map { Storable::retrieve($_) } sort glob "$dir/ledger.*";
	is(@ledgers, @{ $load->{appenders} }, "$name: each appender has left its ledger");
	note chaos_resolve(rows_by_id($node), chaos_crashes($dir), @ledgers) . ' operations with synchronous_commit = off were lost in crashes';
	note es_load_settle($node, @ledgers) . ' operations were unknown, and are settled by a retry';

	append_to_file("$dir/goal.new", $node->safe_psql('postgres', 'SELECT max(position) FROM es.events'));
	rename "$dir/goal.new", "$dir/goal" or die "could not name the goal: $!";
	ok(EsStress::reap(150, @{ $load->{consumers} }), "$name: P1: the consumers have come to the end in time");
	EsStress::end_all();
	return @ledgers;
}

# What is stored: id => [stream, version, position, data].
sub rows_by_id
{
	my ($node) = @_;
	my %row;

	for (split /\n/, $node->safe_psql('postgres', 'SELECT id, stream, version, position, data FROM es.events'))
	{
		my ($id, @rest) = split /\|/;
		$row{$id} = \@rest;
	}
	return \%row;
}

# Settles what a retry cannot settle: weak operations, and anonymous ones, whose ids
# it finds.  All of an operation is stored or nothing (A2), and only a crash may have
# lost one that was told (P2 says what of them it may not lose: what was seen).
# Returns how many it has lost.
sub chaos_resolve
{
	my ($stored, $crashes, @ledgers) = @_;
	my $lost_weak = 0;
	my %ids;

	for my $id (sort { $stored->{$a}[1] <=> $stored->{$b}[1] } keys %$stored)
	{
		push @{ $ids{"$stored->{$id}[0]|$stored->{$id}[3]"} }, $id;
	}
	for my $ledger (@ledgers)
	{
		for my $op (@{ $ledger->{ops} })
		{
			name_events($op, \%ids, $stored) if $op->{anonymous};
			next unless $op->{state} eq 'weak' or ($op->{anonymous} and $op->{state} eq 'unknown');

			my @ids = map { @{ $_->{ids} } } @{ $op->{parts} };
			my $there = grep { $stored->{$_} } @ids;
			my $lost = $there == 0 && ($op->{state} eq 'unknown' || $op->{since} < $crashes);
			push @{ $ledger->{wrong} }, "client $ledger->{client}: $there of " . @ids
			  . " events of op $op->{number} are stored, it is $op->{state}" unless $there == @ids || $lost;
			$lost_weak++ if $op->{state} eq 'weak' && !$there;
			$op->{state} = $there ? 'stored' : 'absent';
		}
	}
	return $lost_weak;
}

# Gives an anonymous operation the ids that its events have.
sub name_events
{
	my ($op, $ids, $stored) = @_;

	for my $part (@{ $op->{parts} })
	{
		my $found = $ids->{"$part->{stream}|$part->{data}"} or next;
		my $n = @$found < @{ $part->{ids} } ? @$found : @{ $part->{ids} };

		# one too many is left over then, one too few is told and not stored
		splice @{ $part->{ids} }, 0, $n, @$found[ 0 .. $n - 1 ];
		$part->{first} = $stored->{ $found->[0] }[1] unless defined $part->{first};
	}
	return;
}

package EsChaos::Appender;

use strict;
use warnings;

use parent -norequire, 'EsLoad::Worker';

my @categories = qw(load order cart);

sub new
{
	my ($class, $node, $n, %opt) = @_;
	my $self = $class->SUPER::new($node, $n, %opt);

	$self->{dir} = $opt{dir};
	return $self;
}

sub connect
{
	my ($self) = @_;

	$self->{client} = EsStress::client({ node => $self->{node}, db => 'postgres', name => "appender$self->{n}",
		setup => $self->{n} % 2 ? 'SELECT' : 'SET ROLE chaos_app' });
	return;
}

sub stream { return $categories[ $_[1] % @categories ] . "-$_[1]" }

sub ledger
{
	my ($self) = @_;
	return { %{ $self->SUPER::ledger }, kinds => $self->{kinds} };
}

# Works until there is enough.  Cards decide what: so each kind comes in each hand.
sub work
{
	my ($self) = @_;
	my @hand;

	until (-e "$self->{dir}/enough")
	{
		@hand = sort { $a->[0] <=> $b->[0] } map { my $kind = $_->[0]; map { [ rand, $kind ] } 1 .. $_->[1] } @kinds
		  unless @hand;
		my $kind = $self->{kind} = -e "$self->{dir}/lazy" ? 'asynchronous' : (shift @hand)->[1];
		if (!eval { $self->$kind; 1 } && !$self->{client}->lost)
		{
			$self->wrong("$kind: $@");
			# an answer that has not come yet would be taken for the next one
			$self->{client}->kill9;
		}
		$self->connect if $self->{client}->lost;
	}
	return;
}

sub wrong
{
	my ($self, @rest) = @_;

	$self->SUPER::wrong(@rest) if @{ $self->{wrong} } < 20;
	return;
}

sub may_meet
{
	my ($self, @rest) = @_;
	return EsChaos::may_meet($self->{dir}, "appender$self->{n}", @rest);
}

sub is_excused { return $_[0]->may_meet($_[1]{state}) }

sub check_state
{
	my ($self, $op, $answer, @allowed) = @_;

	$self->wrong('an unexpected error', $op, $answer)
	  unless $answer->{state} eq '00000' or $self->may_meet($answer->{state}, @allowed);
	return;
}

# An operation that has not been sent.  Its data are its own.
sub make
{
	my ($self, %opt) = @_;
	my $op = $self->make_op(%opt);

	$_->{data} = sprintf '%d%08d', $self->{n}, $op->{number} for @{ $op->{parts} };
	$op->{how} = $self->{kind};
	$op->{since} = EsChaos::chaos_crashes($self->{dir});
	$op->{anonymous} = $opt{anonymous};
	return $op;
}

# Without ids where it is anonymous.
sub sql
{
	my ($self, $op, $any) = @_;
	my $sql = $self->SUPER::sql($op, $any);

	if ($op->{anonymous})
	{
		$sql =~ s/, "id": "[^"]*"//g;
		$sql =~ s/, '\{?[-0-9a-f,]+\}?'\)$/)/ if $op->{kind} !~ /json/;
	}
	return $sql;
}

# Counts what was told to be stored.
sub stored
{
	my ($self, @ops) = @_;

	for my $op (grep { $_->{state} eq 'stored' } @ops)
	{
		my $n = 0;

		$n += @{ $_->{ids} } for @{ $op->{parts} };
		PostgreSQL::Test::Utils::append_to_file("$self->{dir}/stored.$self->{n}", '.' x $n);
		$self->{kinds}{ $op->{how} }++;
	}
	return;
}

sub finish
{
	my ($self, $op, $answer) = @_;

	$self->SUPER::finish($op, $answer);
	$self->stored($op);
	return;
}

sub told_end
{
	my ($self, $answer, @ops) = @_;

	$self->SUPER::told_end($answer, @ops);
	$self->stored(@ops);
	return;
}

# -- the kinds

# A call that is its own transaction.
sub call
{
	my ($self, $op) = @_;

	$self->finish($op, $self->single($op, $self->sql($op)));
	return;
}

sub one { my ($self) = @_; return $self->call($self->make(kind => 'single', anonymous => EsStress::chance(30))) }

sub batch
{
	my ($self) = @_;
	return $self->call($self->make(kind => EsStress::chance(50) ? 'batch' : 'try', anonymous => EsStress::chance(30)));
}

sub json
{
	my ($self) = @_;
	return $self->call($self->make(kind => EsStress::chance(50) ? 'json' : 'try_json', anonymous => EsStress::chance(30)));
}

# More streams than locks: all streams are locked at once.
sub many_streams { my ($self) = @_; return $self->call($self->make(kind => 'json', parts => 24)) }

# Committed, and not yet flushed.
sub asynchronous
{
	my ($self) = @_;

	$self->insists('SET synchronous_commit = off') or return;
	for (1 .. 3)
	{
		my $op = $self->make(anonymous => EsStress::chance(20));

		$self->call($op);
		$op->{state} = 'weak' if $op->{state} eq 'stored';
		return if $self->{client}->lost;
	}
	$self->insists('SET synchronous_commit = on');
	return;
}

# A statement that is sent again where it was cancelled; false where the connection
# is lost.
sub insists
{
	my ($self, $sql) = @_;

	for (1 .. 100)
	{
		my $answer = $self->{client}->run($sql);

		return 1 if $answer->{state} eq '00000';
		$self->check_state(undef, $answer);
		return 0 if $self->{client}->lost;
	}
	die "cannot $sql";
}

# A statement of a transaction; false where the transaction has failed.
sub says
{
	my ($self, $sql, $op, @allowed) = @_;

	$self->{answer} = $self->{client}->run($sql);
	$self->check_state($op, $self->{answer}, @allowed);
	return $self->{answer}{state} eq '00000';
}

# A call in a transaction.
sub appends
{
	my ($self, $op, @allowed) = @_;
	return $self->says($self->sql($op, 1), $op, '40P01', @allowed) && $self->is_told($op, $self->{answer});
}

# COMMIT, which says nothing of a transaction that has failed: its caller knows.
sub ends
{
	my ($self, $is_whole, @ops) = @_;

	return $self->{client}->run('ROLLBACK') unless $is_whole;
	return $self->told_end($self->{client}->run('COMMIT'), @ops);
}

sub savepoints
{
	my ($self) = @_;
	my @live;
	my $is_whole = $self->says('BEGIN');

	for (1 .. 2 + int rand 3)
	{
		last unless $is_whole &&= $self->says('SAVEPOINT s');
		my $op = $self->make;
		my $back = !$self->appends($op) || EsStress::chance(40);

		push @live, $op unless $back;
		$is_whole = $self->says($back ? 'ROLLBACK TO s' : 'RELEASE s');
	}
	return $self->ends($is_whole, @live);
}

sub rolled_back
{
	my ($self) = @_;
	my $is_whole = $self->says('BEGIN');

	for (1 .. 1 + int rand 3)
	{
		$is_whole &&= $self->appends($self->make);
	}
	$self->{kinds}{rolled_back}++ if $is_whole && $self->says('ROLLBACK');
	return $self->{client}->run('ROLLBACK');
}

# Prepared here and ended by the finisher, as the name says.
sub two_phase
{
	my ($self) = @_;
	my $end = EsStress::chance(70) ? 'Kept' : 'Gone';
	my $gid = "stress-$self->{n}-" . ++$self->{gid} . "-$end";
	my @ops;

	$self->says('SELECT count(*) FROM pg_prepared_xacts') or return;
	return if $self->{answer}{rows}[0][0] >= 5;
	my $is_whole = $self->says('BEGIN');
	for (1 .. 1 + int rand 2)
	{
		push @ops, $self->make;
		$is_whole &&= $self->appends($ops[-1]);
	}
	return $self->{client}->run('ROLLBACK') unless $is_whole;
	if ($end eq 'Gone')
	{
		$self->says("PREPARE TRANSACTION '$gid'");
		return;
	}
	return $self->told_end($self->{client}->run("PREPARE TRANSACTION '$gid'"), @ops);
}

# In an isolation level that may refuse it, until it does not.
sub isolated
{
	my ($self) = @_;
	my $level = ('REPEATABLE READ', 'SERIALIZABLE')[ rand 2 ];
	my $op = $self->make;
	my $stream = $op->{parts}[0]{stream};

	for (1 .. 20)
	{
		my $is_whole = $self->says("BEGIN ISOLATION LEVEL $level")
		  && $self->says("SELECT es_stream_version('$stream')", $op, '40001')
		  && $self->appends($op, '40001');

		$self->ends($is_whole, $op);
		last if $op->{state} ne 'absent' or $self->{client}->lost;
	}
	return;
}

# Ids that were sent before: as they were, those that were refused, and others' content.
sub repeated
{
	my ($self) = @_;
	my $how = (qw(retry retry again changed))[ rand 4 ];
	my $op = $self->random_op($how eq 'again' ? 'absent' : 'stored') or return $self->one;

	$self->$how;
	$self->{kinds}{repeated}++;
	return;
}

# Only what has ids can be sent again.
sub random_op
{
	my ($self, $state) = @_;
	my @ops = grep { $_->{state} eq $state && !$_->{anonymous} } @{ $self->{ops} };

	return @ops ? $ops[ rand @ops ] : undef;
}

1;
