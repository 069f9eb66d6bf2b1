# The programs in examples/ do what they print: conflicts answered by loading
# again (A3), and an append repeated with its id stored once (A5), from Python,
# Node.js and C.  The shop of README.md sells what it has, once a command, to customers
# who buy at once (A1, A3, A5), and its read model misses no sale (P1).
use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $examples = "$FindBin::RealBin/../../examples";
my $expected = slurp_file("$examples/expected.txt");

# Runs a command; returns whether it succeeded, what it printed and its errors.
sub run_command_line
{
	my (@command) = @_;
	my ($out, $err) = ('', '');
	my $ok = eval { IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err) };

	return ($ok, $out, $err || $@);
}

# The first of these commands that runs, or undef.
sub first_that_runs
{
	foreach my $command (@_)
	{
		my ($ok) = run_command_line(@$command);
		return $command->[0] if $ok;
	}
	return undef;
}

my $node = PostgreSQL::Test::Cluster->new('examples');
$node->init;
$node->start;
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;

# Runs a program on a new store, twice: it must not mind what it finds.
sub check_program
{
	my ($name, @command) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, 'CREATE EXTENSION pg_eventstore');
	$node->safe_psql($name, 'SELECT es_init()');
	local $ENV{PGDATABASE} = $name;
	foreach my $time ('first', 'second')
	{
		my ($ok, $out, $err) = run_command_line(@command);

		ok($ok, "A3, A5: $name: the $time run succeeds") or diag($err);
		is($out, $expected, "A3, A5: $name: the $time run prints what it should");
	}
	is( $node->safe_psql($name, 'SELECT count(*), count(DISTINCT stream) FROM es.events'),
		'8|2', "A5: $name: no event is stored twice");
}

# Runs the shop, twice.
sub check_shop
{
	my ($python) = @_;
	my $customers = join ', ', ('sold') x 6, ('sold out') x 2;

	$node->safe_psql('postgres', 'CREATE DATABASE shop');
	$node->safe_psql('shop', 'CREATE EXTENSION pg_eventstore');
	$node->safe_psql('shop', 'SELECT es_init()');
	$node->safe_psql('shop', 'SELECT es_start_worker()');
	local $ENV{PGDATABASE} = 'shop';
	foreach my $time ('first', 'second')
	{
		my ($ok, $out, $err) = run_command_line($python, "$examples/psycopg/shop.py");

		ok($ok, "shop: the $time run succeeds") or diag($err);
		is( $out, "customers: $customers\nevents: 4 left: 1\nread model: 9\n",
			"A3, A5: shop: the $time run sells what there is, once for each command");
	}
	is($node->safe_psql('shop', 'SELECT count(*), max(version) FROM es.events'), '8|4', 'A1: shop: no event is stored twice');
	is( $node->safe_psql('shop', q(SELECT position = (SELECT max(position) FROM es.events) FROM shop_checkpoint)),
		't', 'P1: shop: the checkpoint is at the last sale');
	is($node->safe_psql('shop', 'SELECT sum(count) FROM sold'), '18', 'P1: shop: the read model has every sale once');
	return;
}

SKIP:
{
	my @import = ('-c', 'import psycopg');
	my $python = first_that_runs(map { [ $_, @import ] }
		  grep { defined } $ENV{PYTHON}, '/usr/bin/python3', 'python3');

	skip 'FAILED TO TEST examples/psycopg: no python3 with psycopg 3 (Debian: python3-psycopg)', 5
	  unless defined $python;
	check_program('psycopg', $python, "$examples/psycopg/orders.py");
}

SKIP:
{
	my $python = first_that_runs(map { [ $_, '-c', 'import psycopg' ] }
		  grep { defined } $ENV{PYTHON}, '/usr/bin/python3', 'python3');

	skip 'FAILED TO TEST examples/psycopg/shop.py: no python3 with psycopg 3 (Debian: python3-psycopg)', 7
	  unless defined $python;
	check_shop($python);
}

SKIP:
{
	# Debian's node-pg is in a folder that other builds of Node.js do not search
	local $ENV{NODE_PATH} = join(':', grep { defined } $ENV{NODE_PATH}, '/usr/share/nodejs');
	my @require = ('-e', 'require("pg")');
	my $node_js = first_that_runs(map { [ $_, @require ] }
		  grep { defined } $ENV{NODE}, 'node', '/usr/bin/node');

	skip 'FAILED TO TEST examples/node-pg: no node with pg (Debian: nodejs and node-pg)', 5
	  unless defined $node_js;
	check_program('node_pg', $node_js, "$examples/node-pg/orders.js");
}

SKIP:
{
	my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
	my ($found, $include) = run_command_line($pg_config, '--includedir');
	chomp $include;
	my $cc = first_that_runs([ 'cc', '--version' ], [ 'gcc', '--version' ]);

	skip 'FAILED TO TEST examples/libpq: no C compiler', 6 unless defined $cc;
	skip 'FAILED TO TEST examples/libpq: no libpq-fe.h (Debian: libpq-dev)', 6
	  unless $found && -e "$include/libpq-fe.h";

	my (undef, $lib) = run_command_line($pg_config, '--libdir');
	chomp $lib;
	my $program = PostgreSQL::Test::Utils::tempdir() . '/orders';
	my ($ok, undef, $err) = run_command_line($cc, '-Wall', '-Wextra', '-Werror', "-I$include",
		'-o', $program, "$examples/libpq/orders.c", "-L$lib", '-lpq');

	ok($ok, 'libpq: the example compiles without a warning') or diag($err);
	check_program('libpq', $program);
}

$node->stop;
done_testing();
