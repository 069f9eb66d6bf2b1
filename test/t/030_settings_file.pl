# A value that only a file can bring (F8): the postmaster reads it too, and an error of its
# check would end the server.  It is refused, the log says why, and the server lives (O5).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsTest;

my $node = es_server('settings_file', conf => "shared_preload_libraries = 'pg_eventstore'\npg_eventstore.metadata = ''\n");
my $postmaster = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');

# The file brings the value; the sentence is in the log, and the server is the same.
sub refused_ok
{
	my ($value, $detail, $name) = @_;
	my $offset = -s $node->logfile;

	$node->adjust_conf('postgresql.conf', 'pg_eventstore.metadata', "'$value'");
	$node->reload;
	ok($node->wait_for_log(qr/invalid value for parameter "pg_eventstore.metadata".*DETAIL:  $detail/s, $offset), "F8: $name: the log says why");
	is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $postmaster, "F8: $name: the server lives");
	is($node->safe_psql('postgres', q(SELECT current_setting('pg_eventstore.metadata'))), '', "F8: $name: the value is not taken");
}

sub nested
{
	my $depth = shift;
	return '{"a": ' . '[' x ($depth - 1) . ']' x ($depth - 1) . '}';
}

my $deep = 'Its arrays and objects are nested more than 1000 deep.';
refused_ok(nested(20_000), $deep, '20,000 arrays');
refused_ok(nested(1001), $deep, 'one too many');
refused_ok('{"a": ' x 1001 . '1' . '}' x 1001, $deep, 'objects');
refused_ok('[' x 1_000_000, $deep, 'not even JSON');
refused_ok('{"a": }', 'The value is not a JSON object.', 'a typing error');
refused_ok("{\"a\": \"\xe2\x82", 'The value is not a JSON object.', 'a character that is cut off');

# Brackets in a string nest nothing, and what is allowed is used.
foreach my $value ('{"a": "\\\\"' . '[{' x 2000 . '"}', nested(1000))
{
	$node->adjust_conf('postgresql.conf', 'pg_eventstore.metadata', "'$value'");
	$node->reload;
	ok($node->poll_query_until('postgres', q(SELECT current_setting('pg_eventstore.metadata') <> '')), 'a value that is deep enough is taken');
	$node->safe_psql('postgres', q(SELECT es_append('a-1', -1, 'T', '{}')));
	is($node->safe_psql('postgres', q(SELECT metadata = current_setting('pg_eventstore.metadata')::jsonb
		FROM es_load('a-1', backwards => true, max_count => 1))), 't', 'and is merged');
	$node->adjust_conf('postgresql.conf', 'pg_eventstore.metadata', "''");
	$node->reload;
	ok($node->poll_query_until('postgres', q(SELECT current_setting('pg_eventstore.metadata') = '')), 'until it is taken away');
}

# The least stack that a server may have: what the parser raises there is caught.
$node->append_conf('postgresql.conf', "max_stack_depth = 100kB\n");
$node->restart;
$postmaster = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
$node->adjust_conf('postgresql.conf', 'pg_eventstore.metadata', q(') . nested(1000) . q('));
my $offset = -s $node->logfile;
$node->reload;
ok($node->wait_for_log(qr/parameter "pg_eventstore.metadata"/, $offset), 'with little stack a reload ends');
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $postmaster, 'F8: and not the server');

$node->stop;
done_testing();
