# Harm that is done to a server under EsChaos.pm's load, from a list that a seed
# shuffles: cancelled and ended sessions, crashes, a publisher that stands still,
# rewrites, DDL, and a full disk.
#
# Nothing here is timed.  A harm goes on until it has been felt: until so many events
# more are stored, or so many clients have met its error.

package EsNemesis;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use EsChaos;
use EsStress;
use EsTest;

my $publisher = q(backend_type = 'pg_eventstore publisher' AND datname = 'postgres');
my $launcher = q(backend_type = 'pg_eventstore launcher');
my $a_while = 40;	# events
my $patience = 120;	# seconds for anything at all

my %is_process = (
	'a backend' => q(application_name = 'stress appender1'),
	'the publisher' => $publisher,
	'the WAL writer' => q(backend_type = 'walwriter'),
	'the checkpointer' => q(backend_type = 'checkpointer'));

my $recreate = 'BEGIN; DROP EXTENSION pg_eventstore CASCADE; CREATE EXTENSION pg_eventstore; SELECT es_init(); COMMIT';

# Statements, with the load going on for a while between them.
my %statements = (
	'VACUUM FULL' => [ 'VACUUM (FULL) es.events', 'VACUUM (FULL) es.ticks' ],
	'VACUUM FREEZE' => [ 'VACUUM (FREEZE) es.events', 'VACUUM (FREEZE) es.ticks' ],
	'CLUSTER' => [ 'CLUSTER es.events USING events_version_key', 'CLUSTER es.ticks USING ticks_position_idx' ],
	'REINDEX TABLE' => [ 'REINDEX TABLE es.events', 'REINDEX TABLE es.ticks' ],
	'REINDEX CONCURRENTLY' => [ 'REINDEX TABLE CONCURRENTLY es.events', 'REINDEX TABLE CONCURRENTLY es.ticks' ],
	'SET TABLESPACE' => [ 'ALTER TABLE es.events SET TABLESPACE chaos_space', 'ALTER TABLE es.ticks SET TABLESPACE chaos_space',
		'ALTER INDEX es.events_pkey SET TABLESPACE chaos_space', 'ALTER TABLE es.events SET TABLESPACE pg_default',
		'ALTER TABLE es.ticks SET TABLESPACE pg_default', 'ALTER INDEX es.events_pkey SET TABLESPACE pg_default' ],
	'a user\'s index' => [ 'CREATE INDEX CONCURRENTLY chaos_type ON es.events (type, position)',
		'CREATE INDEX CONCURRENTLY chaos_data ON es.events ((data::text)) WHERE version % 2 = 0',
		'DROP INDEX CONCURRENTLY es.chaos_type', 'DROP INDEX es.chaos_data' ],
	'a policy' => [ 'CREATE POLICY chaos ON es.events TO chaos_app USING (true) WITH CHECK (version > 0)',
		'DROP POLICY chaos ON es.events' ],
	'a trigger' => [ 'CREATE TRIGGER chaos_after AFTER INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION chaos_pass()',
		'CREATE TRIGGER chaos_before BEFORE INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION chaos_pass()',
		'DROP TRIGGER chaos_after ON es.events', 'DROP TRIGGER chaos_before ON es.events' ],
	'a constraint' => [ 'ALTER TABLE es.events ADD CONSTRAINT chaos CHECK (version > 0)', 'ALTER TABLE es.events DROP CONSTRAINT chaos' ],
	'es_init()' => [ 'SELECT es_init()' ],
	'another extension' => [ $recreate ]);

my %harm = (
	(map { my $list = $statements{$_}; ($_ => sub { $_[0]->says(@$list) }) } keys %statements),
	(map { my $name = $_; ("kill -9 of $name" => sub { $_[0]->crash(sub { kill 'KILL', $_[0]->pid_of($is_process{$name}) }) }) } keys %is_process),
	'an immediate restart' => sub { $_[0]->crash(sub { $_[0]{node}->stop('immediate'); $_[0]->start }) },
	'appenders are cancelled' => sub { $_[0]->signal('pg_cancel_backend', 'stress appender%', '57014', $_[1]) },
	'appenders are terminated' => sub { $_[0]->signal('pg_terminate_backend', 'stress appender%', 'lost', $_[1]) },
	'all clients are cancelled' => sub { $_[0]->signal('pg_cancel_backend', 'stress %', '57014', $_[1]) },
	'all clients are terminated' => sub { $_[0]->signal('pg_terminate_backend', 'stress %', 'lost', $_[1]) },
	'the publisher is cancelled' => sub { $_[0]->says("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE $publisher") },
	'the publisher is terminated' => sub { $_[0]->ends($publisher) },
	'a crash that loses what was not flushed' => sub { $_[0]->crash_lazily },
	'the publisher stands still' => sub { $_[0]->halt($publisher) },
	'the launcher is cancelled' => sub { $_[0]->says("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE $launcher") },
	'the launcher is terminated' => sub { $_[0]->ends($launcher) });

my %needs_library = (
	'the disk is full' => sub { $_[0]->fill_disk },
	'the log cannot be written' => sub { $_[0]->crash(sub { $_[0]->fill_log }) });

# A server to be harmed, and what harm needs.
#
#	dir	where EsChaos.pm's processes meet
#	conf	further settings
sub new
{
	my ($class, %opt) = @_;
	my $dir = $opt{dir};
	my $self = bless { dir => $dir, disk_full => "$dir/disk_full", wal_full => "$dir/wal_full", kept => 0, panics => 0, fell => 0 }, $class;

	$self->{library} = library($dir);
	local %ENV = $self->environment;
	$self->{node} = es_server('chaos', init => { allows_streaming => 1 }, conf => "shared_preload_libraries = 'pg_eventstore'
		restart_after_crash = on
		allow_in_place_tablespaces = on\n" . ($opt{conf} || ''));
	$self->{node}->safe_psql('postgres', q(
		CREATE TABLESPACE chaos_space LOCATION '';
		CREATE ROLE chaos_app;
		GRANT USAGE ON SCHEMA es TO chaos_app;
		GRANT SELECT, INSERT ON es.events TO chaos_app;
		CREATE FUNCTION chaos_pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'));
	return $self;
}

# The library that makes the disk full; undef where there is no compiler for it.
sub library
{
	my ($dir) = @_;
	my ($cc) = run_command([ 'pg_config', '--cc' ]);
	my ($file) = __FILE__ =~ m{(.*/)};
	my @compile = (split(/ /, $cc || 'cc'), qw(-shared -fPIC -o), "$dir/disk_full.so", $file . 'disk_full.c', '-ldl');

	# it raises where there is no such program
	return eval { run_log(\@compile) } ? "$dir/disk_full.so" : undef;
}

sub environment
{
	my ($self) = @_;

	return %ENV unless $self->{library};
	return (%ENV, LD_PRELOAD => $self->{library}, ES_DISK_FULL => $self->{disk_full}, ES_WAL_FULL => $self->{wal_full});
}

sub start
{
	my ($self) = @_;

	local %ENV = $self->environment;
	$self->{node}->start;
	return 1;
}

sub node { return $_[0]{node} }

sub has_library { return defined $_[0]{library} }

# The names of what can be done here.
sub kinds
{
	my ($self) = @_;
	my @names = (keys %harm, $self->has_library ? keys %needs_library : ());

	return sort @names;
}

# What is done, each once in each round, in an order that the seed shuffles: pairs of
# a name and a number that it may draw from.  All of it is drawn here.
sub schedule
{
	my ($self, $seed, $rounds) = @_;

	srand($seed);
	return map { sort { $a->[2] <=> $b->[2] } map { [ $_, rand, rand ] } $self->kinds } 1 .. $rounds;
}

# Does one of the list; true where it was done, the load goes on, and what it appends
# is published.  Says what is wrong otherwise.
sub harms
{
	my ($self, $name, $draw, $events, $consumer) = @_;
	my $began = time;
	my $is_done = ($harm{$name} || $needs_library{$name})->($self, $draw);

	diag("$name: could not be done") unless $is_done;
	$is_done &&= $self->goes_on($events) || diag("$name: no more events are stored") && 0;
	$is_done &&= $self->is_published($consumer) || diag("$name: what is appended is not published") && 0;
	note sprintf '%s: %.1f s, %d events stored so far', $name, time - $began, chaos_stored($self->{dir});
	diag($self->value(q(SELECT pid, application_name, backend_type, state, wait_event_type, wait_event, pg_blocking_pids(pid),
		left(query, 200) FROM pg_stat_activity))) unless $is_done;
	return $is_done;
}

# How often processes have ended by a signal of their own making: PANIC.
sub panics { return $_[0]{panics} }

sub crashes { return $_[0]{fell} }

# Waits until so many events more are stored.
sub goes_on
{
	my ($self, $events) = @_;
	my $goal = chaos_stored($self->{dir}) + $events;

	return stress_poll($patience, sub { chaos_stored($self->{dir}) >= $goal });
}

# Waits until a consumer has seen what is appended now.
sub is_published
{
	my ($self, $consumer) = @_;
	my $head = $self->value('SELECT max(position) FROM es.events');

	return stress_poll($patience, sub { stress_last($consumer->{file}) >= $head });
}

# The one value of a query; the server may be coming back.
sub value
{
	my ($self, $query) = @_;
	my $value;

	stress_poll($patience, sub {
		my ($ret, $out) = eval { $self->{node}->psql('postgres', $query) };
		$value = $out if defined $ret && $ret == 0;
		return defined $value;
	}) or die "no answer to $query";
	return $value;
}

sub pid_of
{
	my ($self, $what) = @_;
	my $pid = '';

	stress_poll($patience, sub { $pid = $self->value("SELECT pid FROM pg_stat_activity WHERE $what LIMIT 1") })
	  or die "no process where $what";
	return $pid;
}

# Statements, one after the other.  A deadlock with transactions that append ends one
# of them, perhaps this.
sub says
{
	my ($self, @statements) = @_;

	for my $sql (@statements)
	{
		my $state = '40P01';

		for (1 .. 20)
		{
			$state = es_sqlstate($self->{node}, $sql);
			last if $state ne '40P01';
		}
		diag("$state from $sql") if $state ne '00000';
		return 0 if $state ne '00000' or !$self->goes_on($a_while);
	}
	return 1;
}

# Signals some of the clients until they have felt it.
sub signal
{
	my ($self, $function, $who, $state, $draw) = @_;
	my $goal = chaos_met($self->{dir}, $state) + 4;
	my $part = int(3 * $draw);

	return stress_poll($patience, sub {
		$self->value("SELECT count($function(pid)) FROM pg_stat_activity
			WHERE application_name LIKE '$who' AND abs(hashtext(application_name)) % 3 <> $part");
		return chaos_met($self->{dir}, $state) >= $goal;
	});
}

# Ends a process of the store's; another one comes.
sub ends
{
	my ($self, $what) = @_;
	my $pid = $self->pid_of($what);

	$self->value("SELECT pg_terminate_backend($pid)");
	return $self->{node}->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $what AND pid <> $pid)");
}

# Stops a process while it sleeps, and so holds no lock; returns its pid.
sub stops
{
	my ($self, $what) = @_;
	my $pid = $self->pid_of($what);
	my $is_asleep = sub {
		kill 'STOP', $pid;
		return 1 if stress_poll(1, sub { slurp_file("/proc/$pid/stat") =~ /\) T / })
		  && $self->value("SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid") eq 'Extension';
		kill 'CONT', $pid;
		return 0;
	};

	stress_poll($patience, $is_asleep) or die "$what does not sleep";
	return $pid;
}

# The load goes on while a process stands still.
sub halt
{
	my ($self, $what) = @_;
	my $pid = $self->stops($what);
	my $is_done = $self->goes_on(5 * $a_while);

	kill 'CONT', $pid;
	return $is_done;
}

# A crash while appenders commit asynchronously, and no tick flushes the log for them:
# so what they were told is lost, in part.
sub crash_lazily
{
	my ($self) = @_;
	my $pid = $self->stops($publisher);
	my $is_done;

	EsStress::touch("$self->{dir}/lazy");
	$is_done = $self->goes_on(10 * $a_while);
	# the publisher, which is stopped, could not obey
	$is_done &&= $self->falls(sub { kill 'KILL', $self->pid_of($is_process{'the WAL writer'}), $pid });
	unlink "$self->{dir}/lazy";
	return $is_done;
}

# A crash by some means; true where the server comes back.
sub falls
{
	my ($self, $kill) = @_;
	my $old = $self->pid_of($is_process{'the WAL writer'});

	append_to_file("$self->{dir}/crashes", '.');
	$kill->($self);
	my $is_back = es_poll_crashed($self->{node},
		"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $is_process{'the WAL writer'} AND pid <> $old)");
	append_to_file("$self->{dir}/crashes", '.');
	$self->{fell}++;
	diag('the server does not come back') unless $is_back;
	return $is_back;
}

# A crash with a transaction left prepared, which outlives it (A2).
sub crash
{
	my ($self, $kill) = @_;
	my @prepared = $self->keep;
	my $is_back = $self->falls($kill);
	my %there = map { $_ => 1 } $self->prepared;
	my @gone = grep { !$there{$_} } @prepared;

	unlink "$self->{dir}/keep";
	diag("A2: gone is what was prepared: @gone") if @gone;
	return $is_back && @prepared && !@gone;
}

# Has the finisher keep what is prepared, and waits until something is.
sub keep
{
	my ($self) = @_;
	my $said = 'kept.' . ++$self->{kept};
	my @gids;

	append_to_file("$self->{dir}/keep.new", $said);
	rename "$self->{dir}/keep.new", "$self->{dir}/keep" or die "could not name the file: $!";
	stress_poll($patience, sub { -e "$self->{dir}/$said" }) && stress_poll($patience, sub { @gids = $self->prepared })
	  or diag('nothing is left prepared');
	return @gids;
}

sub prepared
{
	my ($self) = @_;
	return split /\n/, $self->value(q(SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'stress-%' ORDER BY gid));
}

# The next write to the log fails.  All others may be waiting for what is prepared, so
# it makes one itself.
sub fill_log
{
	my ($self) = @_;

	$self->{panics}++;
	EsStress::touch($self->{wal_full});
	eval { $self->{node}->psql('postgres', q(SELECT pg_logical_emit_message(true, 'chaos', ''))) };
	return;
}

# No data file grows until some calls have failed.
sub fill_disk
{
	my ($self) = @_;
	my $goal = chaos_met($self->{dir}, '53100') + 30;

	EsStress::touch("$self->{dir}/was_full");
	EsStress::touch($self->{disk_full});
	my $is_done = stress_poll($patience, sub { chaos_met($self->{dir}, '53100') >= $goal });
	unlink $self->{disk_full};
	return $is_done;
}

1;
