# The stress of publishing (P1, P2, P3, O4): appenders that do everything that
# takes positions, with savepoints, rollbacks, two-phase commits, all isolation
# levels and synchronous_commit = off, and consumers of all kinds, on the primary
# and on a hot standby.  Each must see all that is committed, once, in position
# order.  Published by who consumes, by the worker, and by both while the worker is
# killed and the server is stopped at once: nothing that was seen is gone.
#
# First of all the harness is proven: it convicts readers that lose events.
#
# The seed is in the tests' names; ES_STRESS_SEED repeats one.  The long form is
# ES_STRESS=long, or make stress; ES_STRESS_REPORT names a file for its figures.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsStress;
use EsTest;

my $long = ($ENV{ES_STRESS} || '') eq 'long';
my $wanted = $long ? 2_000_000 : 150_000;
my $wanted_undone = $long ? 10_000 : 1_000;
my $seed = stress_seed();
my $dir = PostgreSQL::Test::Utils::tempdir();
my %total = (events => 0, undone => 0, rolled_back => 0, prepared => 0, crashes => 0);
my $phase = 0;

# Room for the load.
my $conf = q(
restart_after_crash = on
log_statement = none
max_connections = 60
shared_buffers = 128MB
max_wal_size = 2GB
wal_buffers = 64MB
wal_keep_size = 8GB
bgwriter_lru_maxpages = 0
max_worker_processes = 16
hot_standby_feedback = on
);

sub report
{
	my ($text) = @_;

	note $text;
	append_to_file($ENV{ES_STRESS_REPORT}, "$text\n") if $ENV{ES_STRESS_REPORT};
	return;
}

sub consumer_file { return "$dir/seen.$_[0]" }

# Each consumer against es.events.
sub seen_ok
{
	my ($node, $db, $name, @consumers) = @_;
	my $expected = stress_expected($node, $db, "$dir/expected");
	my $there = $node->safe_psql($db, 'SELECT count(*) FROM es.events');
	my @verdicts = stress_judge_all($expected, map { $_->{file} } @consumers);

	for my $consumer (@consumers)
	{
		my $verdict = shift @verdicts;

		is(stress_mean($verdict) . ", $verdict->{seen} seen",
			"0 missed, 0 twice, 0 disorder, 0 gone, 0 versions, $there seen",
			"P1, P2, P3: $name: $consumer->{name}");
	}
	is($node->safe_psql($db, q(SELECT count(*) FROM es.events WHERE type = 'Gone')), '0',
		"A2: $name: nothing is stored that was rolled back");
	return;
}

report("seed $seed: run again with ES_STRESS_SEED=$seed");
my $primary = es_server('primary', init => { allows_streaming => 1 }, conf => $conf);
stress_prepare($primary, 'postgres');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# -- the judge itself

subtest 'the judge is proven' => sub {
	my @lines = map { "$_|id$_|s-" . $_ % 2 . '|' . (1 + int(($_ - 1) / 2)) . "\n" } 1 .. 10;
	my %case = (
		'all of it' => [ [ 0 .. 9 ], '0 missed, 0 twice, 0 disorder, 0 gone, 0 versions' ],
		'one is missing' => [ [ 0 .. 8 ], '1 missed, 0 twice, 0 disorder, 0 gone, 0 versions' ],
		'one is missing in the middle' => [ [ 0 .. 3, 5 .. 9 ], '1 missed, 0 twice, 0 disorder, 0 gone, 2 versions' ],
		'one comes twice' => [ [ 0 .. 9, 9 ], '0 missed, 1 twice, 0 disorder, 0 gone, 1 versions' ],
		'two are exchanged' => [ [ 0 .. 7, 9, 8 ], '0 missed, 0 twice, 1 disorder, 0 gone, 0 versions' ]);

	append_to_file("$dir/judge.all", join '', @lines);
	for my $name (sort keys %case)
	{
		my ($which, $verdict) = @{ $case{$name} };

		unlink "$dir/judge.seen";
		append_to_file("$dir/judge.seen", join '', @lines[@$which]);
		is(stress_mean(stress_judge("$dir/judge.all", "$dir/judge.seen")), $verdict, $name);
	}
	append_to_file("$dir/judge.gone", join '', @lines, "11|id11|s-1|6\n");
	is(stress_mean(stress_judge("$dir/judge.all", "$dir/judge.gone")),
		'0 missed, 0 twice, 0 disorder, 1 gone, 0 versions', 'one is gone');
	append_to_file("$dir/judge.other", join('', @lines[ 0 .. 8 ]) . "10|other|s-0|5\n");
	is(stress_mean(stress_judge("$dir/judge.all", "$dir/judge.other")),
		'0 missed, 0 twice, 0 disorder, 1 gone, 0 versions', 'one is another event now');
};

# -- the harness, with readers that lose events

$primary->safe_psql('postgres', 'CREATE DATABASE proof');
es_create($primary, 'proof');
stress_prepare($primary, 'proof');
my @suspects = map { { %$_, node => $primary, file => consumer_file($_->{name}) } } (
	{ name => 'by-position', read => 'position' },
	{ name => 'by-xmin', read => 'xmin' });
my @honest = map { { %$_, node => $primary, file => consumer_file($_->{name}) } } (
	{ name => 'by-horizon', read => 'function', publishes => 1 });
stress_phase('proof',
	node => $primary, db => 'proof', dir => "$dir/phase.proof", seed => $seed,
	appenders => 2, quota => 1000, seconds => 120,
	consumers => [ @suspects, @honest ],
	# the second transaction stays open until all suspects are past it
	rounds => 4,
	until => sub {
		my ($position) = @_;
		return stress_poll(60, sub { !grep { stress_last($_->{file}) < $position } @suspects });
	});
stress_expected($primary, 'proof', "$dir/expected");
for my $suspect (@suspects)
{
	my $verdict = stress_judge("$dir/expected", $suspect->{file});

	report("proof: $suspect->{name}: " . stress_mean($verdict) . ", $verdict->{seen} seen");
	cmp_ok($verdict->{missed} + $verdict->{disorder}, '>=', 3, "proof: $suspect->{name} is convicted of loss");
}
seen_ok($primary, 'proof', "seed $seed: proof", @honest);

# -- the store

# Consumers of all kinds; who publishes depends on the phase.
my @consumers = map { { db => 'postgres', node => $primary, %$_, file => consumer_file($_->{name}) } } (
	{ name => 'read-committed', read => 'function', setup => 'SET synchronous_commit = off' },
	{ name => 'repeatable-read', read => 'function', level => 'REPEATABLE READ' },
	{ name => 'serializable', read => 'function', level => 'SERIALIZABLE', setup => 'SET synchronous_commit = off' },
	{ name => 'view', read => 'view' },
	{ name => 'view-repeatable-read', read => 'view', level => 'REPEATABLE READ, READ ONLY', reads_only => 1 },
	{ name => 'waiting', read => 'function', waits => 1 },
	{ name => 'standby', read => 'function', node => $standby, reads_only => 1 },
	{ name => 'standby-view', read => 'view', node => $standby, level => 'REPEATABLE READ', reads_only => 1 },
	{ name => 'standby-waiting', read => 'function', node => $standby, waits => 1, reads_only => 1 });

# One phase: a share of the events, and the judgement.
sub phase_ok
{
	my ($name, $share, %opt) = @_;
	my $publishes = delete $opt{publishes};
	my $appenders = 4;

	# what comes after a failure says nothing, and may take long
	return unless Test::More->builder->is_passing;
	my $sum = stress_phase("seed $seed: $name",
		node => $primary, db => 'postgres', dir => "$dir/phase." . ++$phase, seed => $seed + 1000 * $phase,
		appenders => $appenders, quota => int($wanted * $share / $appenders), preparers => 2,
		rounds => $long ? 200 : 20, seconds => $long ? 900 : 150,
		consumers => [ map { { %$_, publishes => $publishes && !$_->{reads_only} } } @consumers ],
		%opt);

	seen_ok($primary, 'postgres', "seed $seed: $name", @consumers);
	$total{$_} += $sum->{$_} || 0 for keys %total;
	report(sprintf '%s: %d events told, %d savepoints and %d transactions rolled back, %d prepared, %d calls ended by a conflict or a crash; %.0f s appending, %.0f s until all was seen',
		$name, map { $sum->{$_} || 0 } qw(events undone rolled_back prepared failed appending all));
	return;
}

# Waits until a consumer has seen so many positions more.
sub wait_for_progress
{
	my ($consumer, $positions) = @_;
	my $from = stress_last($consumer->{file});

	ok(stress_poll(120, sub { stress_last($consumer->{file}) >= $from + $positions }), 'consumers see what comes');
	return;
}

my $is_worker = q(backend_type = 'pg_eventstore publisher' AND datname = 'postgres');
my $is_appender = q(application_name = 'stress appender1');
my $is_wal_writer = q(backend_type = 'walwriter');

# Waits until there is such a process, and answers with its pid.
sub pid_of
{
	my ($what) = @_;
	my $query = "SELECT pid FROM pg_stat_activity WHERE $what LIMIT 1";

	es_poll_ok($primary, "SELECT EXISTS ($query)", 'there is somebody to send a signal to');
	return $primary->safe_psql('postgres', $query) || die "no process where $what";
}

# Stops the WAL writer while it sleeps, and so holds no lock.
sub stop_wal_writer
{
	my $pid = pid_of($is_wal_writer);
	my $is_asleep = sub {
		kill 'STOP', $pid;
		return 1 if stress_poll(1, sub { slurp_file("/proc/$pid/stat") =~ /\) T / })
		  && $primary->safe_psql('postgres', "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid") =~ /^WalWriterMain$/i;
		kill 'CONT', $pid;
		return 0;
	};

	ok(stress_poll(60, $is_asleep), 'the WAL writer is stopped');
	return $pid;
}

# Does the server answer, with another WAL writer?  psql may be gone before it has
# been told what to do, which is an exception then.
sub is_back
{
	my ($old) = @_;
	my $answer = eval {
		$primary->safe_psql('postgres',
			"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $is_wal_writer AND pid <> $old)");
	};
	return ($answer || '') eq 't';
}

# Kills processes, and stops the server at once, while consumers are at work.  The
# appenders commit asynchronously, and the WAL writer is stopped: WAL stays in
# memory until somebody must flush it, so a crash loses what nobody had to flush.
sub crash
{
	my ($victim) = @_;
	my $some = 1500;

	for my $round (1 .. ($long ? 10 : 2))
	{
		my $wal_writer = stop_wal_writer();
		wait_for_progress($consumers[0], $some);
		kill 'KILL', pid_of($victim);
		kill 'KILL', $wal_writer;
		ok(stress_poll(60, sub { is_back($wal_writer) }), 'the server is back');

		$wal_writer = stop_wal_writer();
		wait_for_progress($consumers[5], $some);
		# it could not obey
		kill 'KILL', $wal_writer;
		$primary->stop('immediate');
		$primary->start;
		$total{crashes} += 2;
	}
	return;
}

sub crashes_ok
{
	my ($name, $share, $victim, %opt) = @_;
	phase_ok($name, $share, %opt, crashes => 1, commit => 'off', harm => sub { crash($victim) });
	return;
}

phase_ok('published by who consumes', 0.25, publishes => 1);
crashes_ok('published by who consumes, with crashes', 0.15, $is_appender, publishes => 1);
$primary->safe_psql('postgres', 'SELECT es_start_worker()');
phase_ok('published by a worker that was started', 0.1);

for my $node ($primary, $standby)
{
	$node->append_conf('postgresql.conf', q(shared_preload_libraries = 'pg_eventstore'));
	$node->restart;
}
es_poll_ok($primary, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $is_worker)",
	'O4: preloaded, a worker starts by itself');
phase_ok('published by the worker', 0.25);
phase_ok('published by both', 0.1, publishes => 1);
crashes_ok('published by the worker, with crashes', 0.15, $is_worker);
crashes_ok('published by both, with crashes', 0.1, $is_worker, publishes => 1);

# -- all of it

sub all_ok
{
	my $stored = $primary->safe_psql('postgres', 'SELECT count(*) FROM es.events');

	es_oracle_ok($primary, "seed $seed");
	is($primary->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '0', 'nothing is left prepared');
	cmp_ok($stored, '>=', $wanted, "there are at least $wanted events");
	cmp_ok($total{undone}, '>=', $wanted_undone, "at least $wanted_undone savepoints were rolled back");
	report("$stored events, $total{undone} savepoints and $total{rolled_back} transactions rolled back, $total{prepared} prepared, $total{crashes} crashes");
	return;
}

all_ok() if Test::More->builder->is_passing;
$standby->stop;
$primary->stop;
done_testing();
