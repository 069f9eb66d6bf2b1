# What roles without a right on the store can reach, and cannot stop (P4): a revocation
# waits for no stranger's lock, and no statement that only names schema es starts a worker
# where there is no store.

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

my $node = es_preloaded('strangers', conf => "log_min_messages = debug1\n");

$node->safe_psql('postgres', q(
	CREATE ROLE es_stranger;
	CREATE ROLE es_acme;
	SELECT es_grant_tenant('es_acme', 'acme'), es_grant_tenant('es_acme', 'other');
	CREATE DATABASE empty;
	CREATE DATABASE later;));

# nextval() takes its lock, which conflicts with that of LOCK TABLE ... IN SHARE ROW
# EXCLUSIVE MODE, before it looks what it is given and who asks; and keeps it.
my $bindings = $node->safe_psql('postgres', q(SELECT 'es.bindings'::regclass::oid));
my $stranger = EsClient->new($node, name => 'stranger');
$stranger->run($_)
  for 'SET SESSION AUTHORIZATION es_stranger', 'BEGIN', 'SAVEPOINT s',
  "SELECT nextval($bindings)", 'ROLLBACK TO s';
is( $node->safe_psql('postgres',
		"SELECT mode FROM pg_locks WHERE relation = 'es.bindings'::regclass AND mode <> 'AccessShareLock'"),
	'RowExclusiveLock', 'a stranger has a lock on es.bindings');
is($node->safe_psql('postgres', "SET lock_timeout = '1s'; SELECT es_revoke_tenant('es_acme', 'acme')"),
	't', 'a tenant is revoked meanwhile');
is($node->safe_psql('postgres', "SET lock_timeout = '1s'; SELECT es_grant_tenant('es_acme', 'third')"),
	't', 'and one is granted');
is($node->safe_psql('postgres', q(SELECT tenants FROM es.bindings WHERE role = 'es_acme')),
	'{other,third}', 'both are there');

# the same where names are old
$node->safe_psql('postgres', 'ALTER ROLE es_acme RENAME TO es_acme_2');
is($node->safe_psql('postgres', "SET lock_timeout = '1s'; SELECT es_revoke_tenant('es_acme_2', 'other')"),
	't', 'a tenant is revoked from a role that was renamed');
is($node->safe_psql('postgres', 'SELECT role, tenants FROM es.bindings'),
	'es_acme_2|{third}', 'its binding has its name');
$stranger->run('ROLLBACK');
$stranger->close;

# The owner writes by plain SQL while names are brought up to date: nothing of it is lost.
$node->safe_psql('postgres', 'ALTER ROLE es_acme_2 RENAME TO es_acme');
my $owner = EsClient->new($node, name => 'owner');
my $caller = EsClient->new($node, name => 'caller');
$owner->run($_) for 'BEGIN', q(UPDATE es.bindings SET tenants = '{fourth}');
$caller->tell(q(SELECT es_grant_tenant('es_acme', 'fifth')));
es_poll_in($node, 'postgres',
	q(SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = ) . $caller->pid,
	'a call waits for the row that the owner has changed');
$owner->run('COMMIT');
is($caller->answer->{state}, '00000', 'and goes on');
is($node->safe_psql('postgres', 'SELECT role, tenants FROM es.bindings'),
	'es_acme|{fourth,fifth}', 'with what the owner has written');
$_->close for $owner, $caller;

# A database where nobody has a store: its publisher would have been started before the one
# of the store that is made after.
my $empty = $node->safe_psql('postgres', q(SELECT oid FROM pg_database WHERE datname = 'empty'));
my $offset = -s $node->logfile;
$node->safe_psql('empty',
	'SET ROLE es_stranger; ALTER TABLE IF EXISTS es.nosuch ADD COLUMN x int; DROP TABLE IF EXISTS es.nosuch');
es_create($node, 'later');
es_has_publisher_ok($node, 'later', 'a store is made elsewhere, and published');
is(es_logged($node, qr/publisher for database $empty\b/, $offset),
	0, 'a statement that only names schema es starts no worker');

done_testing();
