# Logical replication: es.events can be published, to a plain table; the apply
# worker of a subscription to a store's own es.events meets the guards (A6).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsTest;

my $publisher = es_server('publisher', init => { allows_streaming => 'logical' });
my $plain = es_server('plain', empty => 1);
my $store = es_server('store');
my $connection = $publisher->connstr . ' dbname=postgres';
my $rows = 'SELECT position, version, recorded_at, id, tenant, stream, category, type, data, metadata, payload FROM es.events ORDER BY position';

$publisher->safe_psql('postgres', q(
	SELECT es_append('old-1', 0, 'A', '1');
	CREATE PUBLICATION es_log FOR TABLE es.events;));

# to a table that is no store
$plain->safe_psql('postgres', q(
	CREATE SCHEMA es;
	CREATE TABLE es.events (position bigint PRIMARY KEY, version bigint, recorded_at timestamptz, id uuid,
		tenant text, stream text, category text, type text, data jsonb, metadata jsonb, payload bytea);));
$plain->safe_psql('postgres', "CREATE SUBSCRIPTION es_plain CONNECTION '$connection' PUBLICATION es_log");
$plain->wait_for_subscription_sync($publisher, 'es_plain');
$publisher->safe_psql('postgres', q(SELECT es_append_batch('old-1', 1, '{B,C}', '{2,3}', payloads => ARRAY[NULL, '\x00']::bytea[])));
$publisher->wait_for_catchup('es_plain');
is($plain->safe_psql('postgres', $rows), $publisher->safe_psql('postgres', $rows),
	'es.events is published as it is');

# to a store: its guards refuse the apply worker
my $log = -s $store->logfile;
$store->safe_psql('postgres', q(SELECT es_append('own-1', 0, 'A', '1')));
$store->safe_psql('postgres', "CREATE SUBSCRIPTION es_store CONNECTION '$connection' PUBLICATION es_log WITH (copy_data = false)");
$publisher->safe_psql('postgres', q(SELECT es_append('old-1', 3, 'D', '4')));
ok($store->poll_query_until('postgres', q(SELECT apply_error_count > 0 FROM pg_stat_subscription_stats WHERE subname = 'es_store')),
	'A6: the apply worker fails');
$store->wait_for_log(qr/append-only: INSERT on es.events is refused/, $log);
$store->safe_psql('postgres', 'DROP SUBSCRIPTION es_store');
is($store->safe_psql('postgres', 'SELECT count(*) FROM es.events'), '1', 'A6: nothing has come around the functions');
es_oracle_ok($store, 'the store');

# UPDATE, DELETE and TRUNCATE from a table that is no store
$plain->safe_psql('postgres', 'DROP SUBSCRIPTION es_plain');
for my $change ([ update => q(UPDATE es.events SET data = '0') ], [ delete => 'DELETE FROM es.events' ],
	[ truncate => 'TRUNCATE es.events' ])
{
	my ($name, $sql) = @$change;
	my $source = es_server("source_$name", empty => 1, init => { allows_streaming => 'logical' });

	$source->safe_psql('postgres', q(
		CREATE SCHEMA es;
		CREATE TABLE es.events (position bigint PRIMARY KEY, version bigint, recorded_at timestamptz, id uuid,
			tenant text, stream text, category text, type text, data jsonb, metadata jsonb, payload bytea);
		CREATE PUBLICATION es_log FOR TABLE es.events;));
	$source->safe_psql('postgres', "INSERT INTO es.events (position) SELECT position FROM generate_series(1, 1) position");
	$log = -s $store->logfile;
	$store->safe_psql('postgres', "CREATE SUBSCRIPTION es_$name CONNECTION '${\ $source->connstr} dbname=postgres' PUBLICATION es_log WITH (copy_data = false)");
	$source->safe_psql('postgres', $sql);
	$store->wait_for_log(qr/append-only: \U$name\E on es.events is refused/, $log);
	pass("A6: \U$name\E by the apply worker is refused");
	$store->safe_psql('postgres', "DROP SUBSCRIPTION es_$name");
	is($store->safe_psql('postgres', 'SELECT stream, version, data FROM es.events'), 'own-1|1|1', "A6: $name: the store is as it was");
	$source->stop;
}

$_->stop for $plain, $store, $publisher;
done_testing();
