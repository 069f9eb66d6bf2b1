# es_verify(): a store that is right has no finding, while sessions append to it, on a
# standby, in pieces; what is wrong is found where calls have nothing to say: an index
# that is an older copy of itself.  It takes the weakest locks, can be cancelled, and
# says 40001 where the table was rewritten after its snapshot (A1, A4, A6; O7).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsTest;

my $primary = es_server('primary',
	init => { allows_streaming => 1 },
	conf => "shared_preload_libraries = 'pg_eventstore'\n");

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# ------------------------------------------------------------ while sessions append

my $found = q(SELECT what, "where", verdict, detail FROM es_verify() WHERE verdict <> 'ok');

$primary->safe_psql('postgres', q(
	CREATE TABLE stop ();
	CREATE PROCEDURE load(who text) LANGUAGE plpgsql AS $$
	BEGIN
		FOR n IN 1..100000 LOOP
			EXIT WHEN to_regclass('stop') IS NULL;
			PERFORM es_append('shared-' || n % 5, -1, 'T', to_jsonb(n));
			PERFORM es_append_batch(who || '-' || n % 50, -1, '{A,B,C}', '{1,2,3}', tenant => who);
			BEGIN
				PERFORM es_append('gone', -1, 'T', '{}');
				RAISE EXCEPTION 'undo' USING ERRCODE = 'P0009';
			EXCEPTION WHEN SQLSTATE 'P0009' THEN
				NULL;
			END;
			PERFORM es_snapshot('shared-' || n % 5, es_stream_version('shared-' || n % 5), '{}');
			COMMIT;
		END LOOP;
	END $$;));

sub start_client
{
	my ($who) = @_;
	my %client = (out => '');

	$client{run} = IPC::Run::start([ 'psql', '-XqAt', '-d', $primary->connstr('postgres'), '-c', "CALL load('$who')" ],
		'<', \undef, '>', \$client{out}, '2>', \$client{out},
		IPC::Run::timeout(2 * $PostgreSQL::Test::Utils::timeout_default));
	return \%client;
}

my @clients = map { start_client($_) } qw(a b);

# Answers what they have printed.
sub end_clients
{
	$primary->safe_psql('postgres', 'DROP TABLE stop');
	$_->{run}->finish for @clients;
	return map { $_->{out} } @clients;
}

es_poll_ok($primary, q(SELECT count(*) > 200 FROM es.events), 'sessions append');
for my $run (1 .. 5)
{
	is($primary->safe_psql('postgres', $found), '', "while sessions append nothing is found: $run");
	is($standby->safe_psql('postgres', $found), '', "nor on the standby: $run");
}
my ($reached, $more, @wrong, @ended) = (0, 1);
for (my $piece = 0; $more; $piece++)
{
	my @rows = split /\n/, $primary->safe_psql('postgres', qq(SELECT what, "where", verdict FROM es_verify($reached, 5000)));
	my ($last) = grep { /^reached/ } @rows;

	push @wrong, grep { !/\|(?:ok|more)$/ } @rows;
	$last =~ /^reached\|(\d+)\|(\w+)$/;
	($reached, $more) = ($1, $2 eq 'more');
	# when the appenders have ended it has an end to come to
	next if @ended or ($piece == 0 and $more);
	@ended = end_clients();
	$more = 1;
}
is(join("\n", @wrong), '', 'nor in pieces, the last of which come to the end');
is($reached, $primary->safe_psql('postgres', 'SELECT max(position) FROM es.events'), 'they have come to the end');
is($_, '', 'the appenders met no error') for @ended;
es_verify_ok($primary, 'after the load');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is( $standby->safe_psql('postgres', q(SELECT what, "where", verdict FROM es_verify())),
	$primary->safe_psql('postgres', q(SELECT what, "where", verdict FROM es_verify())),
	'the standby answers as the primary does');

# ------------------------------------------------------------ memory

# The address space has the shared memory from the beginning; what a session adds to it is its own.
my $peak = q(SELECT substring(pg_read_file('/proc/self/status') FROM 'VmPeak:\s+(\d+) kB')::bigint;);
$primary->safe_psql('postgres', q(SELECT es_append_batch('long-' || n, 0, array_fill('T'::text, '{1000}'), array_fill('{"a": 1}'::jsonb, '{1000}'))
	FROM generate_series(1, 300) AS n));
for my $wrong ('', q(ALTER TABLE es.events DISABLE TRIGGER ALL; UPDATE es.events SET type = E'\n';))
{
	my @peaks = split /\n/, $primary->safe_psql('postgres', "SELECT es_head() < 0; SET pg_eventstore.allow_maintenance = on; BEGIN; $wrong
		SELECT count(*) < 0 FROM es_verify(max_count => 1000); $peak SELECT count(*) < 0 FROM es_verify(); $peak ROLLBACK");
	cmp_ok($peaks[4] - $peaks[2], '<', 16 * 1024, 'it looks at 300,000 events within bounded memory' . ($wrong ? ', with as many findings' : ''));
}

# ------------------------------------------------------------ locks, snapshots, interrupts

is( $primary->safe_psql('postgres', q(
		BEGIN; SELECT count(*) FROM es_verify() WHERE verdict = 'error';
		SELECT DISTINCT mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'; COMMIT)),
	"0\nAccessShareLock", 'it takes no lock but AccessShareLock');
es_state_ok($primary, 'SET statement_timeout = 1; SELECT * FROM es_verify()', '57014', 'it can be cancelled');

my %session = (in => '', out => '');
$session{run} = IPC::Run::start([ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $primary->connstr('postgres') ],
	'<', \$session{in}, '>', \$session{out}, '2>', \$session{out},
	IPC::Run::timeout(2 * $PostgreSQL::Test::Utils::timeout_default));
$session{in} = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'begun' FROM pg_class LIMIT 1;\n";
$session{run}->pump until $session{out} =~ /begun/;
$primary->safe_psql('postgres', 'VACUUM FULL es.events');
$session{in} = "SELECT * FROM es_verify(); ROLLBACK;\n\\q\n";
$session{run}->finish;
like($session{out}, qr/ERROR:\s+40001:/, 'where the table was rewritten after its snapshot it says so');
es_verify_ok($primary, 'after VACUUM FULL');

# ------------------------------------------------------------ older copies of an index

$standby->stop;
my $names = q(unnest('{events_pkey,events_version_key,events_id_key,events_category_position_idx}'::text[]) AS i);
my %path = map { split /\|/ } split /\n/,
  $primary->safe_psql('postgres', "SELECT i, pg_relation_filepath('es.' || i) FROM $names");
my $data = $primary->data_dir;

$primary->stop;
copy("$data/$path{$_}", "$data/$path{$_}.older") or die "could not copy: $!" for keys %path;
$primary->start;
my $late = $primary->safe_psql('postgres', q(SELECT es_append('late-1', 0, 'T', '{}'); SELECT es_position('late-1')));
$late =~ s/^1\n//;
for my $name (sort keys %path)
{
	$primary->stop;
	copy("$data/$path{$name}", "$data/$path{$name}.newer") or die "could not copy: $!";
	copy("$data/$path{$name}.older", "$data/$path{$name}") or die "could not copy: $!";
	$primary->start;
	like($primary->safe_psql('postgres', $found), qr/^indexes\|stream "late-1", version 1, position $late\|error\|Index "$name" does not lead to it\.$/m,
		"an older copy of $name is found");
	is($primary->safe_psql('postgres', q(SELECT count(*) FROM es_verify() WHERE verdict <> 'ok' AND what NOT IN ('indexes', 'index entries'))),
		'0', "$name: and nothing else");
	$primary->stop;
	copy("$data/$path{$name}.newer", "$data/$path{$name}") or die "could not copy: $!";
	$primary->start;
}
es_verify_ok($primary, 'with its files again');

# a copy of a copy in which nothing was appended: an epoch has given no position
my $copies = es_server('copies');
my $from = 'postgres';
foreach my $copy (qw(copy_1 copy_2))
{
	$copies->safe_psql('template1', "CREATE DATABASE $copy TEMPLATE $from");
	$copies->safe_psql($copy, 'SELECT es_init()');
	es_verify_ok($copies, "P6: $copy", $copy);
	$from = $copy;
}
is($copies->safe_psql('copy_2', 'SELECT count(*) FROM es.epochs'), '3', 'each copy has opened an epoch');
$copies->stop;

$primary->stop;
done_testing();
