# Many writers that do everything at once: calls of every kind, with every
# expectation, conflicts, retries, changed content, savepoints, rollbacks, all
# isolation levels, two-phase commit, and connections that are lost in the middle
# of a commit.  Afterwards the store is held against what each client was told
# (A1, A2, A4, A5).
#
# The decisions of each client come from a seed, which is printed; ES_SEED replays
# them.  ES_LONG=1 runs twenty times as long.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;

use EsLoad;
use EsTest;

my $seed = es_seed();
my $node = es_server('concurrency');
my $clients = es_load_start(
	$node,
	clients => 6,
	ops => $ENV{ES_LONG} ? 3000 : 150,
	streams => 8,
	seed => $seed);
my @ledgers = es_load_wait($clients);

es_load_ok($node, "seed $seed", @ledgers);
is(es_load_deadlocks(@ledgers), '', 'A7: no single call is ended by the deadlock check');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '0', 'nothing is left prepared');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM es.events'), '>', 500, 'there was something to look at');
cmp_ok($node->safe_psql('postgres', 'SELECT es_publish() - es_head()'), '>=', 0, 'P1: nobody holds the horizon any more');
es_oracle_ok($node, 'published');

$node->stop;
done_testing();
