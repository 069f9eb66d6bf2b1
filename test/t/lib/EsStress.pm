# The stress of publishing: appenders that do everything that takes positions,
# consumers that write down what they see, and the judge.
#
# A consumer is a process of its own with a file.  Each line of it is an event that
# it has seen, "position|id|stream|version", in the order in which it came; the
# last one is its checkpoint, from which it goes on after a lost connection and in
# the next phase.  In the end each file must be what es.events holds, in position
# order: what is missing there was missed, what stands there and not in es.events
# has been seen and is gone (P1, P2, P3).
#
# All decisions are drawn from the seed; what overlaps with what is the server's.
# The pauses here are load, or the interval of a bounded polling: nothing is
# synchronised by them.

package EsStress;

use strict;
use warnings;

use Exporter 'import';
use File::Compare ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

use EsClient;
use EsTest;

our @EXPORT = qw(stress_seed stress_prepare stress_phase stress_expected stress_judge
  stress_judge_all stress_mean stress_last stress_poll);
our @EXPORT_OK = qw(spawn reap end_all client consume finish touch told chance);

my $parent = $$;
my %running;	# processes of this one

# The seed of this run: ES_STRESS_SEED repeats one.
sub stress_seed
{
	return $ENV{ES_STRESS_SEED} || (time ^ $$ << 8) % 1_000_000;
}

# The store, and what appenders call.
sub stress_prepare
{
	my ($node, $db) = @_;

	(my $file = __FILE__) =~ s/EsStress\.pm$/stress.sql/;
	$node->safe_psql($db, slurp_file($file));
	return;
}

# Bounded polling; true where it came true.
sub stress_poll
{
	my ($seconds, $condition) = @_;
	my $deadline = time + $seconds;

	until ($condition->())
	{
		return 0 if time > $deadline;
		sleep 0.02;
	}
	return 1;
}

# An answer that may come: none of an error, or one of those that are allowed.
sub is_allowed
{
	my ($spec, $state, @others) = @_;

	return 1 if grep { $_ eq $state } '00000', @others;
	return $spec->{allowed} ? $spec->{allowed}->($state) : $spec->{crashes} && $state eq 'lost';
}

sub chance
{
	my ($percent) = @_;
	return rand(100) < $percent;
}

# -- processes -----------------------------------------------------------------

# Runs code in a process, which may leave lines in a file and says there what
# went wrong.
sub spawn
{
	my ($name, $seed, $dir, $code) = @_;
	my $pid = fork;

	die "could not fork: $!" unless defined $pid;
	if ($pid)
	{
		$running{$pid} = $name;
		return $pid;
	}
	%running = ();
	srand($seed);
	my $tell = sub {
		my ($text) = @_;
		open(my $out, '>>', "$dir/told.$name") or return;
		syswrite $out, "$text\n";
		return;
	};
	eval { $code->($tell); 1 } or $tell->("wrong $name: $@");
	POSIX::_exit(0);
}

# Waits until processes have ended; true where they did in time.
sub reap
{
	my ($seconds, @pids) = @_;

	return stress_poll($seconds, sub {
		for my $pid (grep { $running{$_} } @pids)
		{
			delete $running{$pid} if waitpid($pid, POSIX::WNOHANG()) != 0;
		}
		return !grep { $running{$_} } @pids;
	});
}

sub end_all
{
	kill 'KILL', keys %running;
	waitpid($_, 0) for keys %running;
	%running = ();
	return;
}

END
{
	my $status = $?;

	end_all() if $$ == $parent;
	$? = $status;
}

# A connection that is made again where it is lost.
sub client
{
	my ($spec, $old) = @_;
	my $client = $old;

	return $old if $old && !$old->lost;
	$old->close if $old;
	die "the server does not come back\n" unless stress_poll(60, sub {
		POSIX::_exit(0) if getppid() != $parent;
		$client = eval { EsClient->new($spec->{node}, db => $spec->{db}, name => "stress $spec->{name}") };
		return $client && $client->run($spec->{setup} || 'SELECT')->{state} eq '00000';
	});
	return $client;
}

# -- appenders -----------------------------------------------------------------

# What it adds up and may meet: serialization failures, deadlocks where several
# streams are locked, and a lost connection where the server is crashed.
sub append
{
	my ($spec, $tell) = @_;
	my %sum = (events => 0, undone => 0, rolled_back => 0, failed => 0);
	my $client;

	while ($sum{events} < $spec->{quota} || !-e "$spec->{dir}/harmed")
	{
		my $level = ('read committed', 'repeatable read', 'serializable')[ rand 3 ];
		my $commit = $spec->{commit} || ('on', 'off', 'local')[ rand 3 ];

		$client = client($spec, $client);
		my $answer = $client->run(sprintf "SET default_transaction_isolation = '%s'; SET synchronous_commit = %s; CALL stress.work(%d, %.9f, 20)",
			$level, $commit, $spec->{number}, rand);
		if ($answer->{state} eq '00000')
		{
			my ($events, $undone, $rolled_back) = @{ $answer->{rows}[0] };
			$sum{events} += $events;
			$sum{undone} += $undone;
			$sum{rolled_back} += $rolled_back;
		}
		else
		{
			$sum{failed}++;
			$tell->("wrong $spec->{name}: $answer->{state}")
			  unless $answer->{state} =~ /^(40001|40P01)$/ or ($spec->{crashes} and $answer->{state} eq 'lost');
		}
	}
	$tell->(join ' ', 'sum', %sum);
	return;
}

# Prepares transactions, which another session ends: the name says how.
sub prepare
{
	my ($spec, $tell) = @_;
	my %sum = (events => 0, undone => 0, prepared => 0);
	my $client;
	my $n = 0;

	until (-e "$spec->{dir}/appended")
	{
		$client = client($spec, $client);
		my $gid = sprintf 'stress-%s-%d-%s-%s', $spec->{name}, $$, ++$n, chance(30) ? 'Gone' : 'Kept';
		my ($type) = $gid =~ /(\w+)$/;
		my $level = ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')[ rand 3 ];
		my $held = $client->run('SELECT count(*) FROM pg_prepared_xacts');
		# a prepared transaction flushes WAL, which is to be lost in crashes
		sleep($spec->{crashes} ? rand 3 : 0.02) if $held->{state} ne '00000' or $held->{rows}[0][0] >= 5 or $spec->{crashes};
		next if $held->{state} ne '00000' or $held->{rows}[0][0] >= 5;
		$client->run("BEGIN ISOLATION LEVEL $level; SET LOCAL lock_timeout = '50ms'");
		my $answer = $client->run(sprintf "DO 'BEGIN PERFORM setseed(%.9f); END'; SELECT * FROM stress.steps(%d, '%s', 1)",
			rand, $spec->{number}, $type);
		# of a transaction that has failed it makes a ROLLBACK
		my $end = $client->run("PREPARE TRANSACTION '$gid'");
		if ($answer->{state} eq '00000' and $end->{state} eq '00000')
		{
			$sum{events} += $answer->{rows}[0][0] if $type eq 'Kept';
			$sum{undone} += $answer->{rows}[0][1];
			$sum{prepared}++;
		}
		for my $state ($answer->{state}, $end->{state})
		{
			$tell->("wrong $spec->{name}: $state")
			  unless $state =~ /^(00000|40001|40P01|55P03)$/ or ($spec->{crashes} and $state eq 'lost');
		}
	}
	$tell->(join ' ', 'sum', %sum);
	return;
}

# Ends what others have prepared, in no order.  While there is a file "keep" it ends
# nothing, and says so once for each of them: by a file of the name that stands in it.
sub finish
{
	my ($spec, $tell) = @_;
	my $client;

	for (;;)
	{
		my $is_last = -e "$spec->{dir}/prepared";

		$client = client($spec, $client);
		my $answer = $client->run(q(SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'stress-%' ORDER BY gid));
		next if $answer->{state} ne '00000';
		my @gids = map { $_->[0] } @{ $answer->{rows} };
		return if $is_last && !@gids;
		if (!$is_last && is_kept($spec->{dir}))
		{
			sleep 0.02;
			next;
		}
		if (@gids && ($is_last || chance($spec->{percent} || ($spec->{crashes} ? 2 : 30))))
		{
			my $gid = $gids[ rand @gids ];
			my $end = $client->run(($gid =~ /Gone$/ ? 'ROLLBACK' : 'COMMIT') . " PREPARED '$gid'")->{state};
			# 55000: who prepares it is still about it
			$tell->("wrong $spec->{name}: $end for $gid") unless is_allowed($spec, $end, '55000');
		}
		sleep 0.005;
	}
}

sub is_kept
{
	my ($dir) = @_;

	open(my $in, '<', "$dir/keep") or return 0;
	my $name = <$in>;
	touch("$dir/$name") unless -e "$dir/$name";
	return 1;
}

# The interleaving that orders by transaction lose, and orders by position too:
# A takes 1, B takes 2 and stays open, A takes 3 and commits; B commits when it has
# been overtaken, in some rounds it rolls back.
sub overtake
{
	my ($spec, $tell) = @_;
	my ($first, $second);

	for my $round (1 .. $spec->{rounds})
	{
		my @sent;
		my $told = sub {
			my ($client, $stream, $type) = @_;
			push @sent, $client->run("SELECT es_append('$stream', -1, '$type', '{}')")->{state};
		};

		$first = client($spec, $first);
		$second = client($spec, $second);
		my $type = $round % 3 == 0 ? 'Gone' : 'Kept';
		$_->run('BEGIN') for $first, $second;
		$told->($first, "overtaking-$spec->{number}", 'Kept');
		$told->($second, "overtaken-$spec->{number}", $type);
		$told->($first, "overtaking-$spec->{number}", 'Kept');
		my $position = $first->run("SELECT es_position('overtaking-$spec->{number}')")->{rows}[0][0] || 0;
		push @sent, $first->run('COMMIT')->{state};
		$tell->("wrong $spec->{name}: nobody has overtaken in round $round")
		  unless $spec->{until}->($position, $second) || $second->lost;
		push @sent, $second->run($type eq 'Gone' ? 'ROLLBACK' : 'COMMIT')->{state};
		for my $state (@sent)
		{
			$tell->("wrong $spec->{name}: $state")
			  unless $state eq '00000' or ($spec->{crashes} and $state eq 'lost');
		}
	}
	$tell->('sum overtaken ' . $spec->{rounds});
	return;
}

# -- consumers -----------------------------------------------------------------

my $columns = 'position, id, stream, version';
my %reading = (
	function => "SELECT $columns FROM es_read(after => %d, max_count => %d)",
	view => "SELECT $columns FROM es.log WHERE position > %d ORDER BY position LIMIT %d",
	category => "SELECT $columns FROM es_read(after => %d, max_count => %d, categories => '{%s}')",
	# what the harness must convict: (a) no horizon, (b) the order of transactions
	position => "SELECT $columns FROM es.events WHERE position > %d ORDER BY position LIMIT %d",
	xmin => "SELECT $columns FROM es.events WHERE position > %d
		AND xmin::text::bigint < txid_snapshot_xmin(txid_current_snapshot()) ORDER BY position LIMIT %d",
);

# The position in the last line of a file; 0 where there is none.
sub stress_last
{
	my ($file) = @_;
	my $text = '';

	open(my $in, '<', $file) or return 0;
	seek($in, -1000, 2) or seek($in, 0, 0);
	sysread($in, $text, 1000);
	return $text =~ /(?:\A|\n)(\d+)\|[^\n]*\n\z/ ? $1 : 0;
}

# A statement that must not fail but for a conflict or a lost connection.
sub ask
{
	my ($self, $sql) = @_;
	my $answer = $self->{client}->run($sql);

	$self->{failed} = $answer->{state} ne '00000';
	$self->{tell}->("wrong $self->{name}: $answer->{state} from $sql")
	  unless is_allowed($self, $answer->{state}, '40001');
	return $answer->{rows} unless $self->{listens};
	my @rows = grep { !@$_ || $_->[0] !~ /^Asynchronous notification/ } @{ $answer->{rows} };
	$self->{hints} += @{ $answer->{rows} } - @rows;
	return \@rows;
}

# Reads once and writes down what came; returns how many.
sub read_once
{
	my ($self, $limit) = @_;
	my $n = 1 + int rand(chance(20) ? 20 : 2000);
	my $sql = sprintf $reading{ $self->{read} }, $self->{last}, $n, $self->{category} ? $self->{category} : ();

	$sql =~ s/\)$/, before => $limit + 1)/ if $limit;
	my $rows = ask($self, $sql);
	return 0 if $self->{failed} || !@$rows;
	syswrite $self->{out}, join '', map { join('|', @$_) . "\n" } @$rows;
	$self->{last} = $rows->[-1][0];
	return scalar @$rows;
}

# Publishes, in one of the ways in which that may happen.
sub publish
{
	my ($self) = @_;
	my $draw = rand 100;

	ask($self, $draw < 70 ? 'SELECT es_publish()'
		: $draw < 80 ? 'BEGIN; SELECT es_publish(); ROLLBACK'
		: $draw < 90 ? 'BEGIN; SELECT pg_sleep(0.005); SELECT es_publish(); SELECT pg_sleep(0.005); COMMIT'
		: 'BEGIN; SAVEPOINT s; SELECT es_publish(); ROLLBACK TO s; COMMIT');
	return;
}

# Some reads in a transaction, which keeps one snapshot and sees none of its own
# ticks.
sub read_in_transaction
{
	my ($self) = @_;
	my $n = 0;

	ask($self, "BEGIN ISOLATION LEVEL $self->{level}");
	if (chance(50))
	{
		# the snapshot is older than the horizon then
		ask($self, 'SELECT 1');
		sleep rand 0.01;
	}
	ask($self, 'SELECT es_publish()') if $self->{publishes} && !$self->{failed} && chance(30);
	for (1 .. 1 + int rand 4)
	{
		$n += read_once($self) unless $self->{failed};
		sleep rand 0.005 if chance(20);
	}
	$self->{client}->run('COMMIT');
	return $n;
}

# Waits for what comes next, reads up to the horizon, and goes on from there: a
# horizon is a cursor too.
sub read_by_waiting
{
	my ($self) = @_;
	my $rows = ask($self, sprintf q(SELECT es_wait(%d, '100ms')), $self->{last} + 1);
	my $horizon = @$rows ? $rows->[0][0] : 0;
	my $n = 0;
	my $all = 0;

	return 0 if $self->{failed} || $horizon <= $self->{last};
	while (!$self->{failed} && ($n = read_once($self, $horizon)) > 0)
	{
		$all += $n;
	}
	$self->{last} = $horizon unless $self->{failed};
	return $all;
}

# Reads when it is told that there is something, and after a while all the same: a
# notification is a hint (O3).
sub read_by_hint
{
	my ($self) = @_;
	my $before = $self->{hints};
	my $all = 0;
	my $n;

	stress_poll(0.3, sub { ask($self, 'SELECT'); $self->{failed} || $self->{hints} > $before });
	while (!$self->{failed} && ($n = read_once($self)) > 0)
	{
		$all += $n;
	}
	return $all;
}

sub consume
{
	my ($spec, $tell) = @_;
	my $self = { %$spec, tell => $tell, last => stress_last($spec->{file}), hints => 0 };
	my $deadline;

	open($self->{out}, '>>', $spec->{file}) or die "could not write $spec->{file}: $!";
	for (;;)
	{
		POSIX::_exit(0) if getppid() != $parent;
		my $goal = -e "$spec->{dir}/goal" ? slurp_file("$spec->{dir}/goal") : undef;
		if (defined $goal && $self->{last} >= $goal)
		{
			$tell->("sum hints $self->{hints}") if $self->{listens};
			return;
		}
		$deadline = time + $spec->{seconds} if defined $goal && !$deadline;
		die "is at $self->{last} and does not come to $goal\n" if $deadline && time > $deadline;

		my $lost = $self->{client} && $self->{client}->lost;
		$self->{last} = stress_last($spec->{file}) if $lost;
		$self->{client} = client($spec, $self->{client});
		publish($self) if $self->{publishes} && !$self->{level};
		my $n = $self->{level} ? read_in_transaction($self)
		  : $self->{waits} ? read_by_waiting($self)
		  : $self->{listens} ? read_by_hint($self)
		  : read_once($self);
		sleep 0.02 if !$n && !$self->{waits};
	}
}

# -- a phase -------------------------------------------------------------------

# Starts appenders and consumers, does harm meanwhile, and waits until all events
# are appended, published and seen.
#
#	dir		of the phase's files; the consumers' files are theirs
#	appenders	how many; quota: events of each
#	consumers	what consumes: name, node, file, read, level, waits, publishes
#	harm		called when the load runs, which goes on until it has returned
#
# Returns what the processes have added up.
sub stress_phase
{
	my ($name, %opt) = @_;
	my ($node, $dir) = @opt{qw(node dir)};
	my %common = (node => $node, db => $opt{db}, dir => $dir, crashes => $opt{crashes}, commit => $opt{commit});
	my $began = time;
	my $seed = $opt{seed};
	my (@consumers, @appenders, @prepare);

	mkdir $dir or die "could not make $dir: $!";
	for my $spec (@{ $opt{consumers} })
	{
		my %all = (%common, seconds => 60, %$spec);
		push @consumers, spawn($spec->{name}, ++$seed, $dir, sub { consume(\%all, @_) });
	}
	for my $n (1 .. $opt{appenders})
	{
		my %all = (%common, name => "appender$n", number => $n, quota => $opt{quota});
		push @appenders, spawn($all{name}, ++$seed, $dir, sub { append(\%all, @_) });
	}
	for my $n (1 .. $opt{preparers} || 0)
	{
		my %all = (%common, name => "preparer$n", number => 100 + $n);
		push @prepare, spawn($all{name}, ++$seed, $dir, sub { prepare(\%all, @_) });
	}
	if ($opt{rounds})
	{
		my %all = (%common, name => 'overtaker', number => 1, rounds => $opt{rounds},
			setup => "SET synchronous_commit = off", until => $opt{until} || \&overtaken_by_many);
		push @appenders, spawn($all{name}, ++$seed, $dir, sub { overtake(\%all, @_) });
	}
	my %last = (%common, name => 'finisher', setup => 'SET synchronous_commit = off');
	my $finisher = spawn('finisher', ++$seed, $dir, sub { finish(\%last, @_) });

	$opt{harm}->() if $opt{harm};
	touch("$dir/harmed");
	my $in_time = reap($opt{seconds}, @appenders);
	touch("$dir/appended");
	$in_time &&= reap(60, @prepare);
	touch("$dir/prepared");
	$in_time &&= reap(60, $finisher);
	my $appended = time;
	ok($in_time, "$name: the appenders have ended in time");

	# whole at once: a consumer may look at any moment
	append_to_file("$dir/goal.new", $node->safe_psql($opt{db}, 'SELECT coalesce(max(position), 0) FROM es.events'));
	rename "$dir/goal.new", "$dir/goal" or die "could not name the goal: $!";
	ok(reap(90, @consumers), "$name: the consumers have ended in time");
	end_all();

	my ($sum, @wrong) = told($dir);
	is(join("\n", @wrong), '', "$name: nobody has met an error");
	$sum->{appending} = $appended - $began;
	$sum->{all} = time - $began;
	return $sum;
}

# Until some hundred positions more are taken, at most a second.
sub overtaken_by_many
{
	my ($position, $client) = @_;

	stress_poll(1, sub {
		my $answer = $client->run('SELECT es_head()');
		return $answer->{state} ne '00000' || ($answer->{rows}[0][0] || 0) > $position + 200;
	});
	return 1;
}

sub touch
{
	append_to_file($_[0], '');
	return;
}

# What the processes have left: sums, and what went wrong.
sub told
{
	my ($dir) = @_;
	my %sum;
	my @wrong;

	for my $line (map { split /\n/, slurp_file($_) } glob "$dir/told.*")
	{
		if ($line =~ s/^sum //)
		{
			my %one = split / /, $line;
			$sum{$_} += $one{$_} for keys %one;
		}
		elsif (@wrong < 20)
		{
			push @wrong, $line;
		}
	}
	return (\%sum, @wrong);
}

# -- the judge -----------------------------------------------------------------

# Writes what consumers must have seen to a file.
sub stress_expected
{
	my ($node, $db, $file) = @_;

	unlink $file;
	$node->safe_psql($db, "\\copy (SELECT $columns FROM es.events ORDER BY position) TO '$file' WITH (DELIMITER '|')");
	return $file;
}

# Compares what was seen with what there is.  Returns numbers: seen, missed, seen
# twice, out of order, gone, which are those that are not there any more or are
# another event now, and versions, which do not follow on the stream's last one.
sub stress_judge
{
	my ($expected, $seen) = @_;
	my %verdict = (seen => 0, missed => 0, twice => 0, disorder => 0, gone => 0, versions => 0);
	my (%there, %was_seen, %version);
	my $highest = 0;

	open(my $in, '<', $expected) or die "could not read $expected: $!";
	while (<$in>) { $there{$1} = $2 if /^(\d+)\|(.*)/ }
	open($in, '<', $seen) or die "could not read $seen: $!";
	while (my $line = <$in>)
	{
		chomp $line;
		my ($position, $rest) = split /\|/, $line, 2;
		my (undef, $stream, $version) = split /\|/, $rest;

		$verdict{seen}++;
		$verdict{versions}++ if $version != ++$version{$stream};
		$verdict{twice}++ if $was_seen{$position}++;
		$verdict{disorder}++ if $position < $highest;
		$verdict{gone}++ if !defined $there{$position} or $there{$position} ne $rest;
		$highest = $position if $position > $highest;
	}
	$verdict{missed} = grep { !$was_seen{$_} } keys %there;
	return \%verdict;
}

# Many judgements about the same expectation: files that are equal are judged once.
sub stress_judge_all
{
	my ($expected, @seen) = @_;
	my ($first, @verdicts);

	for my $file (@seen)
	{
		my $verdict = defined $first && File::Compare::compare($first, $file) == 0
		  ? $verdicts[0] : stress_judge($expected, $file);
		push @verdicts, $verdict;
		$first = $file unless defined $first;
	}
	return @verdicts;
}

# The verdict in words, without the number of events.
sub stress_mean
{
	my ($verdict) = @_;

	return join ', ', map { "$verdict->{$_} $_" } qw(missed twice disorder gone versions);
}

1;
