# The lock on all streams under load (A1, A7, F6): single calls of few streams and of more
# than the bound, beside transactions that make several calls, cross the bound in their
# course, or roll back a savepoint in which they had all streams, all on the same streams.
# No single call fails, whatever deadlocks the others make of themselves.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsTest;

my $node = es_server('barrier', conf => "max_connections = 40\ndeadlock_timeout = '100ms'\nsynchronous_commit = off\n");
my $dir = PostgreSQL::Test::Utils::tempdir();
my $many = 2 * $node->safe_psql('postgres', 'SHOW max_locks_per_transaction');
my %script = (
	one => q(\set i random(1, 20)
		SELECT es_append('s-' || :i, -1, 'T', '1');),
	few => q(SELECT count(*) FROM es_append_json(entries(5));),
	all => qq(SELECT count(*) FROM es_append_json(entries($many));),
	two => q(\set i random(1, 20)
		\set j random(1, 20)
		BEGIN;
		SELECT es_append('s-' || :i, -1, 'T', '1');
		SELECT es_append('s-' || :j, -1, 'T', '1');
		COMMIT;),
	cross => qq(BEGIN;
		SELECT count(es_append('s-' || i, -1, 'T', '1')) FROM generate_series(1, $many) i;
		COMMIT;),
	undo => qq(BEGIN;
		SAVEPOINT s;
		SELECT count(*) FROM es_append_json(entries($many));
		ROLLBACK TO s;
		SELECT es_append('s-1', -1, 'T', '1');
		COMMIT;));

$node->safe_psql('postgres', q(
	CREATE FUNCTION entries(n int) RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_agg(jsonb_build_object('stream', 's-' || i, 'expected', -1, 'events',
			jsonb_build_array(jsonb_build_object('type', 'T', 'data', i)))) FROM generate_series(1, n) i $$));
append_to_file("$dir/$_", $script{$_} =~ s/^\t+//gmr . "\n") foreach keys %script;

# Starts clients of some scripts.
sub start
{
	my ($name, $count, $options, @scripts) = @_;
	my $pid = fork;

	die "could not fork: $!" unless defined $pid;
	return { name => $name, pid => $pid } if $pid;
	open STDOUT, '>', "$dir/$name.out" or die;
	open STDERR, '>&', \*STDOUT or die;
	exec 'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', 6, '-t', $count, @$options,
		map({ ('-f', "$dir/$_") } @scripts), 'postgres';
	die "could not run pgbench: $!";
}

# A transaction of several calls may be ended by the deadlock check, and is tried again.
foreach my $run (
	start('single', 100, [], 'one@20', 'few@5', 'all@1'),
	start('several', 60, ['--max-tries=1000'], 'two@20', 'cross@1', 'undo@1'))
{
	waitpid $run->{pid}, 0;
	my $said = slurp_file("$dir/$run->{name}.out");

	is($?, 0, "$run->{name}: the load has ended");
	like($said, qr/number of failed transactions: 0 /, "A7, F6: $run->{name}: no call has failed");
	unlike($said, qr/WARNING|ERROR/, "$run->{name}: and none has warned");
	note $said;
}
unlike(slurp_file($node->logfile), qr/WARNING/, 'nothing was given back that was not had');
es_oracle_ok($node, 'all streams at once');
$node->stop;
done_testing();
