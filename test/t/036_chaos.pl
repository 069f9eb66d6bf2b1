# A load of all kinds of appenders and consumers while all kinds of harm are done to
# the server: sessions are cancelled and ended, processes are killed, the server is
# stopped at once, the publisher stands still, tables are rewritten under it, the
# extension is made anew, the disk is full.  In the end, when all is quiet:
#
#	A1, A2, A4, A5	every append that was told is stored once, as it was told; what
#			was refused or rolled back is not; versions have no hole, and
#			positions and times rise with them
#	P1, P3		every consumer has seen every event once, in position order
#	P2		nothing that was seen is gone
#	A7		no single call was ended by the deadlock check
#	O5		no client has met an error that EsChaos.pm gives no reason for
#
# First of all the judges are proven: they convict histories that are wrong.
#
# The seed is in the tests' names; ES_SEED replays the choices, which are the order of
# the harm and what each client does.  What meets what in the server is not replayed.
# The long form is ES_STRESS=long, or make stress; ES_STRESS_REPORT names a file for
# its figures, and ES_STRESS_END the time by which all is over.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Storable;
use Test::More;
use Time::HiRes qw(time);

use EsChaos;
use EsLoad;
use EsNemesis;
use EsStress;
use EsTest;

my $long = ($ENV{ES_STRESS} || '') eq 'long';
my $wanted = $long ? 200_000 : 5_000;	# events
my $between = $long ? 1_000 : 100;	# events from one harm to the next
my $appenders = $long ? 8 : 6;
my $most = $long ? 600 : 240;	# seconds of harm, after which no round begins
my $seed = es_seed();
my $dir = PostgreSQL::Test::Utils::tempdir();
my $name = "seed $seed";
my $judging = 180;	# seconds, and those of a last round

if ($ENV{ES_STRESS_END} && $ENV{ES_STRESS_END} - time - $judging < $most)
{
	$most = $ENV{ES_STRESS_END} - time - $judging;
}

sub report
{
	my ($text) = @_;

	note $text;
	append_to_file($ENV{ES_STRESS_REPORT}, "$text\n") if $ENV{ES_STRESS_REPORT};
	return;
}

report("chaos: seed $seed: run again with ES_SEED=$seed");

# The log that no commit has to flush is flushed late, so that a crash loses it.
my $nemesis = EsNemesis->new(dir => $dir, conf => q(
max_connections = 60
max_locks_per_transaction = 16
max_worker_processes = 16
log_statement = none
log_line_prefix = '%m [%p] %e %q%a '
max_wal_size = 1GB
wal_writer_delay = 10s
wal_writer_flush_after = 100MB
wal_keep_size = 2GB
wal_retrieve_retry_interval = 100ms
hot_standby_feedback = on
autovacuum_naptime = 1s
));
my $primary = $nemesis->node;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# -- the judges

# A history of two operations, and what is stored of it; the change makes it wrong.
sub convicted
{
	my ($change, $crashes) = @_;
	my %stored = (a => [ 'load-1', 1, 7, '11' ], b => [ 'load-1', 2, 8, '12' ], c => [ 'load-1', 3, 9, '12' ]);
	my @ops = (
		{ number => 1, kind => 'single', state => 'stored', since => 2,
			parts => [ { stream => 'load-1', ids => ['a'], data => '11', first => 1, last => 1 } ] },
		{ number => 2, kind => 'batch', state => 'stored', since => 2,
			parts => [ { stream => 'load-1', ids => [ 'b', 'c' ], data => '12', first => 2, last => 3, position => 9 } ] });
	my $ledger = { client => 1, wrong => [], deadlocks => [], ops => \@ops };

	$change->(\%stored, @ops);
	chaos_resolve(\%stored, $crashes || 2, $ledger);
	my @wrong = es_load_wrong(\%stored, $ledger);
	return join '; ', @wrong, map { "$_ was told to no client" } sort keys %stored;
}

subtest 'the judge of appenders is proven' => sub {
	my $nameless = sub { my ($op) = @_; $op->{anonymous} = 1; $op->{parts}[0]{ids} = [ map { "?$_" } @{ $op->{parts}[0]{ids} } ] };
	my @cases = (
		[ 'what is right', sub { }, '' ],
		[ 'told and not stored', sub { delete $_[0]{a} }, 'a is told and not stored' ],
		[ 'refused and stored', sub { $_[1]{state} = 'absent' }, 'a is absent, and stored' ],
		[ 'unknown for ever', sub { $_[1]{state} = 'unknown' }, 'a is unknown, and stored' ],
		[ 'told to no client', sub { $_[0]{d} = [ 'load-2', 1, 10, '13' ] }, 'd was told to no client' ],
		[ 'another version', sub { $_[0]{a}[1] = 4 }, 'a is load-1 4, told was load-1 1' ],
		[ 'another stream', sub { $_[0]{a}[0] = 'load-2' }, 'a is load-2 1, told was load-1 1' ],
		[ 'another position', sub { $_[0]{c}[2] = 10 }, 'c is at position 10, told was 9' ],
		[ 'other data', sub { $_[0]{a}[3] = '99' }, 'a has other data' ],
		[ 'half of a call', sub { delete $_[0]{c} }, 'c is told and not stored' ],
		[ 'weak, and stored', sub { $_[2]{state} = 'weak' }, '' ],
		[ 'weak, and half stored', sub { $_[2]{state} = 'weak'; delete $_[0]{c} },
			'client 1: 1 of 2 events of op 2 are stored, it is weak; c is told and not stored' ],
		[ 'weak, and lost without a crash', sub { $_[2]{state} = 'weak'; delete @{ $_[0] }{qw(b c)} },
			'client 1: 0 of 2 events of op 2 are stored, it is weak' ],
		[ 'weak, and lost in a crash', sub { $_[2]{state} = 'weak'; delete @{ $_[0] }{qw(b c)} }, '', 4 ],
		[ 'weak, and stored elsewhere', sub { $_[2]{state} = 'weak'; $_[0]{c}[0] = 'load-2' },
			'c is load-2 3, told was load-1 3' ],
		[ 'anonymous, and right', sub { $nameless->($_[2]) }, '' ],
		[ 'anonymous, and not stored', sub { $nameless->($_[1]); delete $_[0]{a} }, '?a is told and not stored' ],
		[ 'anonymous, and half stored', sub { $nameless->($_[2]); delete $_[0]{c} }, '?c is told and not stored' ],
		[ 'anonymous, and stored twice', sub { $nameless->($_[1]); $_[0]{d} = [ 'load-1', 4, 10, '11' ] }, 'd was told to no client' ],
		[ 'anonymous, refused and stored', sub { $nameless->($_[1]); $_[1]{state} = 'absent' }, 'a is absent, and stored' ],
		[ 'anonymous, unknown and half stored', sub { $nameless->($_[2]); $_[2]{state} = 'unknown'; delete $_[0]{b} },
			'client 1: 1 of 2 events of op 2 are stored, it is unknown; c is load-1 3, told was load-1 2; ?c is told and not stored' ],
		[ 'anonymous, unknown and stored', sub { $nameless->($_[2]); $_[2]{state} = 'unknown' }, '' ]);

	for my $case (@cases)
	{
		my ($what, $change, $verdict, $crashes) = @$case;

		is(convicted($change, $crashes), $verdict, $what);
	}
};

# What consumers are judged by: "position|id|stream|version".
subtest 'the judge of consumers is proven' => sub {
	my @lines = map { "$_|id$_|" . ($_ % 2 ? 'order-1' : 'cart-1') . '|' . int(($_ + 1) / 2) . "\n" } 1 .. 8;
	my %case = (
		'all of it' => [ join('', @lines), '0 missed, 0 twice, 0 disorder, 0 gone, 0 versions' ],
		'nothing' => [ '', '8 missed, 0 twice, 0 disorder, 0 gone, 0 versions' ],
		'one that came late is missing' => [ join('', @lines[ 0 .. 2, 4 .. 7 ]), '1 missed, 0 twice, 0 disorder, 0 gone, 2 versions' ],
		'one comes again after a crash' => [ join('', @lines[ 0 .. 5, 5 .. 7 ]), '0 missed, 1 twice, 0 disorder, 0 gone, 2 versions' ],
		'one comes after a later one' => [ join('', @lines[ 0 .. 4, 6, 5, 7 ]), '0 missed, 0 twice, 1 disorder, 0 gone, 0 versions' ],
		'one that was seen is lost' => [ join('', @lines, "9|id9|order-1|5\n"), '0 missed, 0 twice, 0 disorder, 1 gone, 0 versions' ]);

	append_to_file("$dir/proof.all", join '', @lines);
	for my $what (sort keys %case)
	{
		unlink "$dir/proof.seen";
		append_to_file("$dir/proof.seen", $case{$what}[0]);
		is(stress_mean(stress_judge("$dir/proof.all", "$dir/proof.seen")), $case{$what}[1], $what);
	}
	of_category("$dir/proof.all", 'order', "$dir/proof.order");
	is(slurp_file("$dir/proof.order"), join('', @lines[ 0, 2, 4, 6 ]), 'of a category it expects its streams');
};

# A store that is wrong for a moment, as only a superuser can make it.
subtest 'the oracle is proven' => sub {
	my $row = q(INSERT INTO es.events VALUES (%d, %d, '2020-01-%02d', '%s', '', 's-1', 's', 'T', '{}'));
	my @cases = (
		[ [ [ 1, 1, 1 ], [ 2, 2, 1 ] ], '' ],
		[ [ [ 1, 1, 1 ], [ 2, 3, 1 ] ], 'A1: versions are 1, 2, 3 ... in each stream' ],
		[ [ [ 1, 2, 1 ] ], 'A1: versions are 1, 2, 3 ... in each stream' ],
		[ [ [ 2, 1, 1 ], [ 1, 2, 1 ] ], 'A4: position order is version order' ],
		[ [ [ 1, 1, 2 ], [ 2, 2, 1 ] ], 'A4: recorded_at never goes back within a stream' ]);

	for my $i (0 .. $#cases)
	{
		my ($rows, $finds) = @{ $cases[$i] };
		my $sql = join ';', 'SET LOCAL pg_eventstore.allow_maintenance = on', map { sprintf $row, @$_, uuid($i, $_->[0]) } @$rows;
		my ($found) = grep { /^A/ } es_oracle_finds($primary, $sql);

		is($found || '', $finds, $finds || 'a store that is right');
	}
};

# -- the load, and the harm

my @consumers = map { { node => $primary, %$_, file => "$dir/seen.$_->{name}" } } (
	{ name => 'autocommit', read => 'function' },
	{ name => 'repeatable-read', read => 'function', level => 'REPEATABLE READ' },
	{ name => 'view', read => 'view' },
	{ name => 'category', read => 'category', category => 'order', waits => 1 },
	{ name => 'waiting', read => 'function', waits => 1 },
	{ name => 'listening', read => 'function', listens => 1, setup => 'LISTEN es_events' },
	{ name => 'standby', read => 'function', node => $standby, is_standby => 1 },
	{ name => 'standby-view', read => 'view', node => $standby, level => 'REPEATABLE READ, READ ONLY', is_standby => 1 });

# The lines of a category.
sub of_category
{
	my ($all, $category, $file) = @_;

	unlink $file;
	append_to_file($file, join '', map { "$_\n" } grep { /^\d+\|[^|]*\|\Q$category\E-/ } split /\n/, slurp_file($all));
	return $file;
}

sub seen_ok
{
	my $all = stress_expected($primary, 'postgres', "$dir/expected");
	my @whole = grep { !$_->{category} } @consumers;
	my %verdict;

	@verdict{ map { $_->{name} } @whole } = stress_judge_all($all, map { $_->{file} } @whole);
	for my $consumer (@consumers)
	{
		my $expected = $consumer->{category} ? of_category($all, $consumer->{category}, "$all.category") : $all;
		my $there = () = slurp_file($expected) =~ /\n/g;
		my $verdict = $verdict{ $consumer->{name} } || stress_judge($expected, $consumer->{file});

		is(stress_mean($verdict) . ", $verdict->{seen} seen", "0 missed, 0 twice, 0 disorder, 0 gone, 0 versions, $there seen",
			"$name: P1, P2, P3: $consumer->{name}");
	}
	return;
}

# Every index has every row; where there is amcheck.
sub indexes_ok
{
	SKIP: {
		skip 'there is no amcheck', 1
		  if $primary->safe_psql('postgres', q(SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck')) ne '1';
		is(es_sqlstate($primary, q(CREATE EXTENSION amcheck;
			SELECT bt_index_parent_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
			JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'
			WHERE i.indisvalid AND i.indrelid IN ('es.events'::regclass, 'es.ticks'::regclass, 'es.epochs'::regclass))),
			'00000', "$name: amcheck finds the tables in their indexes");
	}
	is($primary->safe_psql('postgres', q(SELECT indexrelid::regclass FROM pg_index
		WHERE NOT indisvalid AND indrelid::regclass::text LIKE 'es.%')), '', "$name: no index is left invalid");
	return;
}

# What the servers have said: no internal error, no crash that the test did not make.
sub logs_ok
{
	for my $node ($primary, $standby)
	{
		my @lines = split /\n/, slurp_file($node->logfile);
		my $what = "$name: " . $node->name;
		my $panics = $node == $primary ? $nemesis->panics : 0;

		is(join("\n", grep { /\] XX\d\d\d .*(?:ERROR|FATAL|PANIC):/ } @lines), '', "$what: no internal error");
		is(join("\n", grep { /TRAP:|terminated by signal (?!6|9)/ } @lines), '', "$what: no failed assertion, no fault");
		is(scalar(grep { /terminated by signal 6/ } @lines), $panics, "$what: PANIC where the log could not be written");
	}
	return;
}

# Which errors of what kind were met.
sub met
{
	my $reason = chaos_reasons();

	return map { my $n = chaos_met($dir, $_); $n ? "$n x $_ ($reason->{$_})" : () } sort keys %$reason;
}

$standby->poll_query_until('postgres', 'SELECT es_horizon() >= 0');
my $began = time;
my $load = chaos_start(node => $primary, dir => $dir, seed => $seed, appenders => $appenders, consumers => \@consumers);
my @kinds = $nemesis->kinds;
my @harm;
my $is_whole = 1;

for my $harm ($nemesis->schedule($seed, $long ? 1000 : 1))
{
	last if @harm && @harm % @kinds == 0 && (chaos_stored($dir) >= $wanted || time - $began > $most);
	my ($what, $draw) = @$harm;

	push @harm, $what;
	$is_whole = ok($nemesis->harms($what, $draw, $between, $consumers[0]), "$name: harm " . @harm . ": $what");
	last unless $is_whole;
}
cmp_ok(scalar @harm, '>=', scalar @kinds, "$name: each kind of harm was done");
ok(stress_poll(120, sub { chaos_stored($dir) >= $wanted || $long && time - $began > $most }),
	"$name: at least $wanted events" . ($long ? ', or its time is up' : '')) if $is_whole;
SKIP: {
	skip 'there is no compiler: no full disk, and no log that cannot be written', 1 unless $nemesis->has_library;
	cmp_ok(chaos_met($dir, '53100'), '>', 0, "$name: the disk was full");
}

my @ledgers = chaos_end($load, $name);
my ($sum, @wrong) = EsStress::told($dir);

is(join("\n", @wrong), '', "$name: O5: the consumers have met no error without a reason");
cmp_ok($sum->{hints} || 0, '>', 0, "$name: a listener is told");
es_load_ok($primary, $name, @ledgers);
is(es_load_deadlocks(@ledgers), '', "$name: A7: no single call is ended by the deadlock check");
for my $kind (chaos_kinds())
{
	my $times = 0;

	$times += $_->{kinds}{$kind} || 0 for @ledgers;
	cmp_ok($times, '>', 0, "$name: $kind: $times times");
}
seen_ok();
indexes_ok();
is($primary->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '0', "$name: nothing is left prepared");
is($primary->safe_psql('postgres', 'SELECT es_horizon() >= es_head()'), 't', "$name: P4: nothing holds the horizon any more");
report(sprintf 'chaos: %d events, %d kinds of harm done %d times, %d crashes; %.0f s; met: %s',
	$primary->safe_psql('postgres', 'SELECT count(*) FROM es.events'), scalar @kinds, scalar @harm, $nemesis->crashes,
	time - $began, join ', ', met());
$standby->stop;
$primary->stop;
logs_ok();
done_testing();
