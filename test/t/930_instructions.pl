# What appending and reading cost in instructions, against the baseline in
# test/instructions: a count, not a time, so that a busy machine does not matter.
# A server in single-user mode runs under callgrind; a call of pg_backend_pid()
# before and after each statement cuts its count out.  Every statement has run once
# before it counts.  "make baseline" writes the baseline anew.
#
# Preloaded, as the store is meant to be run; single-user mode has no publisher, and
# what it costs is not in the count.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsPublish;
use EsTest;

my $room = 1.05;    # runs differ by less than 1 %: what is random in a store must not be seen here

plan skip_all => 'valgrind is not installed' if system('valgrind --version > /dev/null 2>&1');
plan skip_all => 'the baseline is for x86_64' if `uname -m` ne "x86_64\n";

# Name, how many calls or events a statement has, and the statement.  It is run
# twice; in between, what it says of versions goes on from 100 to 101.
my @figures = (
	['append', 100, loop(q(PERFORM es_append('append-' || i, VERSION, 'T', '{"a": 1}')))],
	['append_any', 100, loop(q(PERFORM es_append('any-' || i, -1, 'T', '{"a": 1}')))],
	['append_new', 100, loop(q(PERFORM es_append('new-VERSION-' || i, 0, 'T', '{"a": 1}')))],
	['append_id', 100, loop(q(PERFORM es_append('id-' || i, VERSION, 'T', '{"a": 1}', id => md5('VERSION' || i)::uuid)))],
	['append_in_transaction', 100,
		q(SELECT count(es_append('tx-' || i, VERSION, 'T', '{"a": 1}')) FROM generate_series(1, 100) i)],
	['append_batch', 1000, q(SELECT * FROM es_append_batch('batch-VERSION', 0,
		array_fill('T'::text, ARRAY[1000]), array_fill('{"a": 1}'::jsonb, ARRAY[1000])))],
	['load_10', 100, loop(q(PERFORM version, data FROM es_load('ten-' || i)))],
	['load', 10000, q(SELECT count(data), max(position) FROM es_load('long-1'))],
	['load_limit', 1, q(SELECT count(data) FROM (SELECT data FROM es_load('long-1') LIMIT 10) e)],
	['read', 10000, q(SELECT count(data), max(position) FROM es_read(max_count => 10000))],
);

# A hundred transactions.
sub loop
{
	my ($statement) = @_;
	return "DO \$\$BEGIN FOR i IN 1..100 LOOP $statement; COMMIT; END LOOP; END\$\$";
}

# Streams of a hundred events, of ten, and of ten thousand.
sub fill
{
	my ($node) = @_;

	$node->safe_psql('postgres', qq(
		SELECT count(es_append('$_-' || i % 100 + 1, i / 100, 'T', '{"a": 1}')) FROM generate_series(0, 9999) i))
	  for qw(append any id tx);
	$node->safe_psql('postgres', q(
		SELECT count(es_append('ten-' || i % 100 + 1, i / 100, 'T', '{"a": 1}')) FROM generate_series(0, 999) i;
		SELECT * FROM es_append_batch('long-1', 0, array_fill('T'::text, ARRAY[10000]),
			array_fill('{"a": 1}'::jsonb, ARRAY[10000]))));
	$node->safe_psql('postgres', 'SELECT es_wait(es_head())');
	$node->safe_psql('postgres', 'VACUUM (FREEZE, ANALYZE)');
	return;
}

# The statements for the server's standard input, one in a line.
sub script
{
	my $mark = 'SELECT pg_backend_pid()';
	my @lines = ($mark, $mark);

	for my $figure (@figures)
	{
		for my $version (100, 101)
		{
			my $statement = $figure->[2] =~ s/VERSION/$version/gr =~ s/\s+/ /gr;
			push @lines, $statement, $mark;
		}
	}
	return join "\n", @lines, '';
}

# Runs the script; answers the instructions between each two marks.
sub run_counted
{
	my ($node) = @_;
	my $out = $node->basedir . '/calls';
	my ($in, $printed) = (script(), '');
	my $ok = IPC::Run::run([ 'valgrind', '-q', '--tool=callgrind', "--callgrind-out-file=$out",
			'--dump-before=pg_backend_pid', $node->config_data('--bindir') . '/postgres', '--single', '-D',
			$node->data_dir, 'postgres' ], '<', \$in, '>&', \$printed);
	my @counts;

	note $printed;
	ok($ok && $printed !~ /ERROR|FATAL|PANIC/, 'the statements have run');
	# the first count is the start's
	for my $i (2 .. 2 + 2 * @figures)
	{
		push @counts, slurp_file("$out.$i") =~ /^summary: (\d+)$/m;
	}
	return @counts;
}

# The figures that the baseline has for a major version.
sub baseline
{
	my ($major) = @_;

	return map { /^$major\s+(\w+)\s+(\d+)$/ ? ($1, $2) : () }
	  split /\n/, slurp_file("$FindBin::RealBin/../instructions");
}

my $node = es_preloaded('counted', conf => "autovacuum = off\nfsync = off\njit = off\n");
my $major = int $node->safe_psql('postgres', 'SHOW server_version_num') / 10000;
my %baseline = baseline($major);

fill($node);
$node->stop;
my ($empty, @counts) = run_counted($node);
my @report;

for my $figure (@figures)
{
	my ($name, $n) = @$figure;
	my (undef, $count) = splice @counts, 0, 2;
	my $cost = int(($count - $empty) / $n);

	push @report, "$major $name $cost\n";
  SKIP:
	{
		skip "no baseline for PostgreSQL $major: $name", 1 if !$baseline{$name} && !$ENV{ES_INSTRUCTIONS};
		my $most = int($room * ($ENV{ES_INSTRUCTIONS} ? $cost : $baseline{$name}));
		cmp_ok($cost, '<=', $most, "$name: $cost instructions, at most $most");
	}
}
append_to_file($ENV{ES_INSTRUCTIONS}, join '', @report) if $ENV{ES_INSTRUCTIONS};
note join '', @report;

done_testing();
