# A backend is killed with -9, and the server is stopped at once, in mid-load.
# Afterwards: what clients were told is stored, what was rolled back is not, an
# unknown outcome is all or nothing and settled by a retry with the same ids
# (A1, A2, A4, A5).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsLoad;
use EsTest;

my $seed = es_seed();
my $node = es_server('crash', conf => "restart_after_crash = on\n");
my @all;

# Runs clients until there are so many events more, then does harm, and looks.
sub crash_ok
{
	my ($name, $round, $harm) = @_;
	my $enough = $node->safe_psql('postgres', 'SELECT count(*) FROM es.events') + 150;
	my $clients = es_load_start(
		$node,
		clients => 4,
		first => 4 * $round,
		ops => 1_000_000,
		kill => 0,
		mix => [ [ auto => 60 ], [ transaction => 25 ], [ retry => 15 ] ],
		seed => $seed + $round);

	es_poll_ok($node, "SELECT count(*) >= $enough FROM es.events", "$name: the load runs");
	$harm->();
	my @ledgers = es_load_wait($clients);
	ok(es_poll_crashed($node, q(SELECT true)), "$name: the server is back");

	# what no client can know: transactions that were prepared and not ended
	$node->safe_psql('postgres', "COMMIT PREPARED '$_'")
	  for split /\n/, $node->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts');
	push @all, @ledgers;
	my $unknown = grep { $_->{state} eq 'unknown' } map { @{ $_->{ops} } } @ledgers;
	note "$unknown operations of unknown outcome";
	es_load_settle($node, @ledgers);
	es_load_ok($node, $name, @all);

	# nobody is left who could hold the horizon
	my $before = $node->safe_psql('postgres', 'SELECT es_horizon()');
	cmp_ok($node->safe_psql('postgres', 'SELECT es_publish()'), '>=', $before, "$name: the horizon goes on");
	is($node->safe_psql('postgres', q(SELECT count(*) FROM es_read(max_count => NULL))),
		$node->safe_psql('postgres', 'SELECT count(*) FROM es.events'), "P1: $name: what is stored is published");
	es_oracle_ok($node, $name);
	return;
}

for my $round (0 .. 1)
{
	crash_ok("a backend is killed, round $round", 2 * $round, sub {
		my $pid = $node->safe_psql('postgres',
			q(SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'load%' ORDER BY state = 'active' DESC, pid LIMIT 1));
		kill 'KILL', $pid;
	});
	crash_ok("the server is stopped at once, round $round", 2 * $round + 1, sub {
		$node->stop('immediate');
		$node->start;
	});
}

$node->stop;
done_testing();
