# Statements about databases work while a publisher runs there, without FORCE:
# DROP, RENAME, SET TABLESPACE, CREATE DATABASE ... TEMPLATE.  The publisher comes
# back whatever the statement's end, a copy gets its own, and an epoch of its own
# (P6); and who may not run the statement cannot stop publishing by trying (P4).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsClient;
use EsPublish;
use EsTest;

my $node = es_preloaded('databases', conf => "allow_in_place_tablespaces = on\n");

sub run_ok
{
	my ($sql, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(es_sqlstate($node, $sql), '00000', "$name works while a publisher runs: $sql");
	return;
}

sub refused_ok
{
	my ($sql, $state, $db, $name) = @_;
	my $pid = es_publisher_pid($node, $db);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	isnt($pid, '', "a publisher runs in $db");
	is(es_sqlstate($node, $sql), $state, "$name: $state");
	is(es_publisher_pid($node, $db), $pid, 'P4: the publisher has not been stopped by it');
	return;
}

sub make
{
	my ($db) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	es_create($node, $db);
	es_publishes_ok($node, "$db has a publisher", $db);
	return;
}

make('a');
$node->safe_psql('postgres', q(CREATE ROLE bob CREATEDB; CREATE ROLE anna; CREATE TABLESPACE ts LOCATION ''));

# who may not, cannot
refused_ok('SET ROLE bob; DROP DATABASE a', '42501', 'a', 'a stranger drops');
refused_ok('SET ROLE bob; DROP DATABASE a WITH (FORCE)', '42501', 'a', 'a stranger drops by force');
refused_ok('SET ROLE bob; ALTER DATABASE a RENAME TO b', '42501', 'a', 'a stranger renames');
refused_ok('SET ROLE bob; ALTER DATABASE a SET TABLESPACE ts', '42501', 'a', 'a stranger moves');
refused_ok('SET ROLE bob; CREATE DATABASE b TEMPLATE a', '42501', 'a', 'a stranger copies');
refused_ok('SET ROLE anna; CREATE DATABASE b TEMPLATE a', '42501', 'a', 'who may not make databases copies');
refused_ok('SET ROLE anna; DROP DATABASE IF EXISTS a', '42501', 'a', 'a stranger drops if it exists');
es_publishes_ok($node, 'P4: publishing has gone on', 'a');

# who may, but fails: the publisher comes back
my @failing = (
	[ 'BEGIN; DROP DATABASE a', '25001' ],
	[ 'BEGIN; CREATE DATABASE b TEMPLATE a', '25001' ],
	[ 'ALTER DATABASE a RENAME TO postgres', '42P04' ],
	[ 'ALTER DATABASE a SET TABLESPACE nowhere', '42704' ],
	[ 'CREATE DATABASE postgres TEMPLATE a', '42P04' ],
	[ 'BEGIN; ALTER DATABASE a RENAME TO b; ROLLBACK', '00000' ]);
foreach my $case (@failing)
{
	my ($sql, $state) = @$case;

	is(es_sqlstate($node, $sql), $state, "$state: $sql");
	es_publishes_ok($node, 'the publisher is back', 'a');
	es_has_publisher_ok($node, 'a', 'as one process');
}
my $client = EsClient->new($node, db => 'a');
is(es_sqlstate($node, 'DROP DATABASE a'), '55006', 'a database that is in use is not dropped');
es_has_publisher_ok($node, 'a', 'and its publisher is back');
es_publishes_ok($node, 'and publishes', 'a');

# what is appended while the publisher is kept away is published when it may come back
my $dropper = EsClient->new($node);
$dropper->tell('DROP DATABASE a');
es_no_publisher_ok($node, 'a', 'while a statement waits for the last session, none');
$client->run(q(SELECT es_append('held-1', -1, 'T', '{}')));
is($dropper->answer->{state}, '55006', 'the session has stayed');
is($client->value(q(SELECT es_wait(es_head(), '30s') = es_head())), 't', 'what it has appended is published');
$_->close foreach $client, $dropper;
$client = EsClient->new($node);
$client->run('BEGIN');
$client->run('ALTER DATABASE a RENAME TO b');
es_no_publisher_ok($node, 'a', 'while a transaction that renames is open, none');
is($node->safe_psql('postgres', q(SELECT state FROM es_stat_workers WHERE database = 'a')), 'held', 'the view says so');
$client->run('ROLLBACK');
es_has_publisher_ok($node, 'a', 'it comes with the rollback');
$client->run('BEGIN');
$client->run('ALTER DATABASE a RENAME TO b');
es_no_publisher_ok($node, 'a', 'again none');
$client->close;
es_has_publisher_ok($node, 'a', 'it comes with the end of the session');

# they work
run_ok('ALTER DATABASE a RENAME TO b', 'RENAME');
es_has_publisher_ok($node, 'b', 'under the new name there is a publisher');
es_publishes_ok($node, 'which publishes', 'b');
is($node->safe_psql('b', 'SELECT count(*) FROM es.epochs'), '1', 'P6: a rename opens no epoch');
run_ok('ALTER DATABASE b SET TABLESPACE ts', 'SET TABLESPACE');
es_has_publisher_ok($node, 'b', 'in the new place there is a publisher');
es_publishes_ok($node, 'which publishes', 'b');
is($node->safe_psql('b', 'SELECT count(*) FROM es.epochs'), '1', 'P6: nor does a move');
run_ok('ALTER DATABASE b CONNECTION LIMIT 50', 'another ALTER DATABASE');

my $last = $node->safe_psql('b', 'SELECT es_head()');
foreach my $strategy ('wal_log', 'file_copy')
{
	my $copy = "copy_$strategy";

	run_ok("CREATE DATABASE $copy TEMPLATE b STRATEGY $strategy", 'TEMPLATE');
	es_has_publisher_ok($node, 'b', 'the copied database has its publisher back');
	es_has_publisher_ok($node, $copy, 'the copy has its own');
	my $listener = es_listener($node, $copy, 'es_events');
	es_publishes_ok($node, 'which publishes', $copy);
	is($node->safe_psql($copy, 'SELECT count(*), count(DISTINCT database) FROM es.epochs'), '2|2', 'P6: the copy has an epoch of its own');
	is($node->safe_psql($copy, "SELECT count(*) FILTER (WHERE position > $last), min(position) FILTER (WHERE position > $last) > 1::bigint << 32 FROM es_read()"),
		'1|t', 'and what is appended there has positions of its own');
	my $upto = $node->safe_psql($copy, 'SELECT es_head()');
	ok($listener->await_upto($upto), 'its listeners are told of it');
	is_deeply([ map { $_->{count} } $listener->told ], [1], 'O1: and of nothing else');
	$listener->close;
	is($node->safe_psql('b', 'SELECT count(*) FROM es.epochs'), '1', 'the copied database has no new epoch');
}
es_publishes_ok($node, 'the copied database goes on', 'b');
is($node->safe_psql('b', 'SELECT es_head() < 1000'), 't', 'with its own positions');

run_ok('DROP DATABASE copy_wal_log', 'DROP');
run_ok('DROP DATABASE copy_file_copy WITH (FORCE)', 'DROP');
is($node->safe_psql('postgres', q(SELECT string_agg(database, ' ' ORDER BY database) FROM es_stat_workers WHERE kind = 'publisher')), 'b postgres',
	'the view knows the dropped ones no more');
make('copy_wal_log');
is($node->safe_psql('copy_wal_log', 'SELECT es_head()'), '1', 'a new database of an old name begins anew');

# an owner who is no superuser
$node->safe_psql('postgres', 'ALTER DATABASE copy_wal_log OWNER TO bob');
run_ok('SET ROLE bob; ALTER DATABASE copy_wal_log RENAME TO bobs', 'RENAME by the owner');
es_publishes_ok($node, 'it is published', 'bobs');
run_ok('SET ROLE bob; CREATE DATABASE bobs2 TEMPLATE bobs', 'TEMPLATE by the owner');
es_has_publisher_ok($node, 'bobs2', 'the copy has a publisher');
run_ok('SET ROLE bob; DROP DATABASE bobs', 'DROP by the owner');
run_ok('ALTER DATABASE bobs2 WITH is_template true', 'a template with a store');
es_publishes_ok($node, 'is published like any other', 'bobs2');
run_ok('SET ROLE bob; CREATE DATABASE bobs TEMPLATE bobs2', 'TEMPLATE of a template');
es_publishes_ok($node, 'and again', 'bobs');

# a store in template1, which CREATE DATABASE copies unasked
es_create($node, 'template1');
es_publishes_ok($node, 'template1 has a publisher when it has a store', 'template1');
run_ok('CREATE DATABASE plain', 'CREATE DATABASE');
es_has_publisher_ok($node, 'plain', 'the new database has one, too');
es_publishes_ok($node, 'which publishes', 'plain');
run_ok('CREATE DATABASE plain2', 'CREATE DATABASE');

# a database that nobody may connect to has none
run_ok('ALTER DATABASE plain ALLOW_CONNECTIONS false', 'ALLOW_CONNECTIONS');
$node->restart;
es_has_publisher_ok($node, 'plain2', 'after a restart a database that is open has a publisher');
es_publishes_ok($node, 'which publishes', 'plain2');
is(es_publisher_pid($node, 'plain'), '', 'one that is closed has none');
run_ok('DROP DATABASE plain', 'DROP');
run_ok('DROP DATABASE b', 'DROP');

$node->stop;
done_testing();
