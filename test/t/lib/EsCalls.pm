# One call of each function of the extension, for tests that go through all of
# them: what must hold for every function holds for one that is new, or the test
# fails for want of a call.
#
# The calls want the store of es_calls_store().  Names are qualified, for callers
# whose search_path is not to be trusted.

package EsCalls;

use strict;
use warnings;

use Exporter 'import';

use EsTest;

our @EXPORT = qw(es_calls_store es_functions es_call);

# The arguments of a call, without the tenant's, which have no schema to be named by.
my $id = uuid(1, 1);
my %arguments = (
	es_init => '',
	es_reset => '',
	es_append => q('s-1', -1, 'T', '{}'),
	es_append_batch => q('s-1', -1, '{T,T}', '{"{}","{}"}'),
	es_try_append => q('s-1', -1, '{T}', '{"{}"}'),
	es_append_json => q('[{"stream": "s-1", "expected": -1, "events": [{"type": "T", "data": {}}]}]'),
	es_try_append_json => q('[{"stream": "s-1", "expected": -1, "events": [{"type": "T", "data": {}}]}]'),
	es_load => q('s-1'),
	es_stream_version => q('s-1'),
	es_position => q('s-1'),
	es_event => qq('$id'),
	es_event_exists => qq('$id'),
	es_category => q('s-1'),
	es_key => q('s-1'),
	es_read => '',
	es_streams => '',
	es_head => '',
	es_horizon => '',
	es_wait => q(1, '0'),
	es_publish => '',
	es_start_worker => '',
	es_create_channel => q('es_new', '{"kind": "wake", "types": ["T"]}'),
	es_alter_channel => q('es_seen', '{"categories": ["s"]}'),
	es_drop_channel => q('es_seen'),
	es_snapshot => q('s-1', 2, '{}'),
	es_load_snapshot => q('s-1'),
	es_rehydrate => q('s-1'),
	es_drop_snapshots => q('s', 2),
	es_status => '',
	es_verify => '',
	pg_eventstore_guard => '',
	pg_eventstore_outbox => '',
	pg_eventstore_publisher => '',
	pg_eventstore_holders => '',
	pg_eventstore_appends => '',
	pg_eventstore_workers => '',
	pg_eventstore_waiting => '',
	pg_eventstore_loaded => q('s-1'),
	pg_eventstore_store => '',
	pg_eventstore_details => '',
	pg_eventstore_status => '',
	es_grant_tenant => q('pg_signal_backend', 'x'),
	es_revoke_tenant => q('pg_signal_backend', 'x'),
	pg_eventstore_sees => q('b', 1259, 'SELECT'),
	pg_eventstore_open => q('1259'),
	pg_eventstore_tenants => '',
);

# Events of these tenants: two published, one not, and a snapshot each, under the
# same names and ids; and a channel.  The store is empty before.
sub es_calls_store
{
	my ($node, $db, @tenants) = @_;
	my $sql = '';

	for my $tenant (@tenants)
	{
		my $named = $tenant eq '' ? '' : ", tenant => '$tenant'";
		$sql .= qq(
			SELECT es_append('s-1', 0, 'T', '{"tenant": "$tenant"}', id => '$id'$named);
			SELECT es_append('s-1', 1, 'T', '{"tenant": "$tenant"}'$named);
			SELECT es_snapshot('s-1', 1, '{"tenant": "$tenant"}'$named););
	}
	$sql .= 'SELECT es_publish();';
	$sql .= "SELECT es_append('s-1', 2, 'T', '{}'" . ($_ eq '' ? '' : ", tenant => '$_'") . ');' for @tenants;
	$node->safe_psql($db, $sql);
	$node->safe_psql($db, q(SELECT es_create_channel('es_seen')));
	return;
}

# The functions of the extension: name, and whether it is about a tenant that it need
# not be told.  (What takes the type internal cannot be called from SQL.)
sub es_functions
{
	my ($node, $db) = @_;
	my $found = $node->safe_psql($db, q(
		SET search_path = pg_catalog;
		SELECT p.proname, coalesce('tenant' = ANY (p.proargnames[p.pronargs - p.pronargdefaults + 1:p.pronargs]), false)
		FROM pg_catalog.pg_proc AS p
		JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_catalog.pg_extension AS e ON d.refobjid = e.oid AND e.extname = 'pg_eventstore'
		WHERE NOT 'internal'::regtype = ANY (p.proargtypes) ORDER BY 1));

	return map { my ($name, $takes) = split /\|/; [ $name, $takes eq 't' ] } split /\n/, $found;
}

# The call of a function, undef where nobody has written one; as this tenant.
sub es_call
{
	my ($name, $tenant) = @_;

	return undef unless exists $arguments{$name};
	my @given = grep { length } $arguments{$name}, defined $tenant ? "tenant => '$tenant'" : '';
	return "SELECT public.$name()" if $name eq 'pg_eventstore_guard';    # a trigger is no row
	return "SELECT * FROM public.$name(" . join(', ', @given) . ')';
}

1;
