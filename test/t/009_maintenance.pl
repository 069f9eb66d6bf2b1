# A superuser with pg_eventstore.allow_maintenance may load rows, and the server's
# log says who; nobody else may, and nobody may change or delete one (A6).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsTest;

my $node = es_server('maintenance');
my $row = q(INSERT INTO es.events VALUES (1000, 1, now(), gen_random_uuid(), '', 'load-1', 'load', 'T', '{}'));
my $on = 'SET pg_eventstore.allow_maintenance = on;';
my $said = qr/pg_eventstore maintenance: role "es_keeper"/;

$node->safe_psql('postgres', q(
	CREATE ROLE es_keeper SUPERUSER;
	CREATE ROLE es_writer;
	GRANT USAGE ON SCHEMA es TO es_writer;
	GRANT ALL ON es.events TO es_writer;
	SELECT es_append('old-1', 0, 'T', '{}');));
my $log = -s $node->logfile;

es_state_ok($node, $row, 'SE003', 'A6: a superuser without the setting is refused');
es_state_ok($node, "SELECT es_head(); SET ROLE es_writer; $on", '42501', 'A6: others may not set it');
es_state_ok($node, "$on SET ROLE es_writer; $row", 'SE003', 'A6: and do not inherit it');
es_state_ok($node, "$on SET session_replication_role = replica; SET ROLE es_writer; $row", 'SE003',
	'A6: as replica, neither');
unlike(slurp_file($node->logfile, $log), $said, 'nothing was loaded, nothing is said');

$log = -s $node->logfile;
es_state_ok($node, "SET ROLE es_keeper; $on $row", '00000', 'A6: a superuser with it may INSERT');
like(slurp_file($node->logfile, $log), $said, 'A6: the log says who');
$log = -s $node->logfile;
es_state_ok($node, "SET ROLE es_keeper; $on COPY es.events FROM stdin;\n"
	  . "1001\t2\t2020-01-01\t${\uuid(3, 1)}\t\tload-1\tload\tT\t{}\t\\N\t\\N\n\\.\n", '00000', 'A6: and COPY');
like(slurp_file($node->logfile, $log), $said, 'A6: the log says who, for COPY too');

for my $change (q(UPDATE es.events SET data = '0'), q(DELETE FROM es.events), q(TRUNCATE es.events),
	q(UPDATE es.events SET data = '0' WHERE false))
{
	es_state_ok($node, "$on $change", 'SE003', "A6: never $change");
	es_state_ok($node, "$on SET session_replication_role = replica; $change", 'SE003', "A6: never $change, as replica");
}
es_state_ok($node, "$on MERGE INTO es.events e USING (SELECT 1) s ON true WHEN MATCHED THEN UPDATE SET data = '0'",
	'SE003', 'A6: never MERGE with UPDATE');
es_state_ok($node, "SET ROLE es_keeper; SELECT es_append('load-1', 2, 'T', '{}')", '55000',
	'the sequence does not know what was loaded');
like($node->safe_psql('postgres', 'SELECT es_init()'), qr/^repaired/, 'es_init() mends it');
is($node->safe_psql('postgres', q(SELECT es_append('load-1', 2, 'T', '{}'))), '3', 'appends follow what was loaded');

$node->stop;
done_testing();
