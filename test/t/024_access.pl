# Who may do what: roles times every function, table, view and sequence (DESIGN.md 7).
#
# 024_access.matrix has a line for each object and what is tried on it, and a
# column for each role; a cell has the number of rows where it works, or the
# SQLSTATE.  Objects are listed from the catalog: one that is new and has no line
# fails.  Each cell is tried in one session that goes from role to role, so that
# nothing may be remembered, in three ways:
#
#	the role is set; a function of the role's, SECURITY DEFINER, is called by
#	another; a statement that a superuser has prepared is run by the role
#
# and rolled back.  ES_MATRIX=file writes what was found to that file.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsCalls;
use EsTest;

my $node = es_server('access', empty => 1, conf => "log_statement = none\nlog_min_messages = fatal\n");

# Each column of the matrix: a role, and what makes it.
my @roles = (
	nobody => '',
	reader => 'GRANT SELECT ON es.events, es.log TO reader; GRANT USAGE ON SCHEMA es TO reader',
	appender => 'GRANT INSERT ON es.events TO appender; GRANT USAGE ON SCHEMA es TO appender',
	writer => 'GRANT SELECT, INSERT ON es.events TO writer; GRANT USAGE ON SCHEMA es TO writer',
	snapper => 'GRANT SELECT ON es.events TO snapper; GRANT SELECT, INSERT ON es.snapshots TO snapper; GRANT USAGE ON SCHEMA es TO snapper',
	bound_a => undef,
	bound_ac => undef,
	monitor => 'GRANT pg_monitor TO monitor',
	all_read => 'GRANT pg_read_all_data TO all_read',
	all_write => 'GRANT pg_write_all_data TO all_write',
	owner => undef,
	super => 'ALTER ROLE super SUPERUSER',
);
my %makes = @roles;
my @columns = grep { exists $makes{$_} } @roles[ grep { $_ % 2 == 0 } 0 .. $#roles ];

# ------------------------------------------------------------ PUBLIC gets nothing

# Even where default privileges would give it something.
$node->safe_psql('postgres', q(
	CREATE ROLE owner;
	ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT ALL ON TABLES TO PUBLIC;
	ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT ALL ON SEQUENCES TO PUBLIC;
	ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT ALL ON SCHEMAS TO PUBLIC;
	CREATE EXTENSION pg_eventstore;
	GRANT EXECUTE ON FUNCTION pg_eventstore_guard() TO owner;
	GRANT CREATE ON DATABASE postgres TO owner;
	ALTER DATABASE postgres SET pg_eventstore.allow_reset = on;
	SET ROLE owner;
	SELECT es_init();));
$node->safe_psql('postgres', q(
	ALTER DEFAULT PRIVILEGES FOR ROLE owner REVOKE ALL ON TABLES FROM PUBLIC;
	ALTER DEFAULT PRIVILEGES FOR ROLE owner REVOKE ALL ON SEQUENCES FROM PUBLIC;
	ALTER DEFAULT PRIVILEGES FOR ROLE owner REVOKE ALL ON SCHEMAS FROM PUBLIC));

my $ours = q(SELECT oid FROM pg_namespace WHERE nspname IN ('es', 'es_private'));
is($node->safe_psql('postgres', qq(
	SELECT 'schema', nspname, a.grantee, a.privilege_type FROM pg_namespace, aclexplode(nspacl) AS a
	WHERE oid IN ($ours) AND a.grantee <> nspowner
	UNION ALL
	SELECT 'relation', relname, a.grantee, a.privilege_type FROM pg_class, aclexplode(relacl) AS a
	WHERE relnamespace IN ($ours) AND a.grantee <> relowner
	UNION ALL
	SELECT 'column', relname || '.' || attname, a.grantee, a.privilege_type
	FROM pg_class AS c JOIN pg_attribute ON attrelid = c.oid, aclexplode(attacl) AS a
	WHERE relnamespace IN ($ours) AND a.grantee <> relowner)),
	'', 'after es_init() nobody but the owner has a right to schemas, relations and columns of the store');
is($node->safe_psql('postgres', q(
	SELECT p.proname FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension AS e ON d.refobjid = e.oid AND e.extname = 'pg_eventstore'
	WHERE NOT EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) AS a
		WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE'))),
	'pg_eventstore_guard', 'PUBLIC may execute every function but the guard');
is($node->safe_psql('postgres', q(
	SELECT p.proname FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension AS e ON d.refobjid = e.oid AND e.extname = 'pg_eventstore' WHERE p.prosecdef)),
	'', 'no function is SECURITY DEFINER');

# ------------------------------------------------------------ roles and the store

for my $role (@columns)
{
	$node->safe_psql('postgres', "CREATE ROLE $role") unless $role eq 'owner';
	$node->safe_psql('postgres', $makes{$role}) if $makes{$role};
}
es_calls_store($node, 'postgres', '', 'a', 'b', 'c');
$node->safe_psql('postgres', q(
	GRANT SELECT, INSERT ON es.events, es.snapshots TO bound_a, bound_ac;
	GRANT SELECT ON es.log, es.channels, es.bindings TO bound_a, bound_ac;
	GRANT USAGE ON SCHEMA es TO bound_a, bound_ac;
	GRANT pg_monitor, pg_write_all_data TO bound_ac;
	SELECT es_grant_tenant('bound_a', 'a'), es_grant_tenant('bound_ac', 'a'), es_grant_tenant('bound_ac', 'c')));
$node->safe_psql('postgres', q(UPDATE es.channels SET created_by = 'reader'));

# try: runs a statement as a role, rolls it back, and says how it ended.  by_*: the
# same in a function of the role's, which whoever is asked calls.
my $harness = q(
	CREATE SCHEMA t;
	GRANT USAGE ON SCHEMA t TO PUBLIC;
	CREATE FUNCTION t.try(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		n bigint;
		state text;
	BEGIN
		EXECUTE format('SET LOCAL ROLE %I', role);
		EXECUTE statement;
		GET DIAGNOSTICS n = ROW_COUNT;
		RAISE EXCEPTION USING ERRCODE = 'ZZZZZ';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
		RETURN CASE WHEN state = 'ZZZZZ' THEN n::text ELSE state END;
	END $$;
);
$harness .= qq(
	CREATE FUNCTION t.by_$_(statement text) RETURNS SETOF int LANGUAGE plpgsql SECURITY DEFINER AS \$\$
	DECLARE
		n bigint;
	BEGIN
		EXECUTE statement;
		GET DIAGNOSTICS n = ROW_COUNT;
		RETURN QUERY SELECT 1 FROM generate_series(1, n);
	END \$\$;
	ALTER FUNCTION t.by_$_(text) OWNER TO $_;) for @columns;
$node->safe_psql('postgres', $harness);

# ------------------------------------------------------------ what is tried

my @tried;    # [object, action, statement ...]: several statements must end alike

# Functions: as the caller's own tenant, as the tenants a and b, one that does not
# exist, and all of them.
for my $function (es_functions($node, 'postgres'))
{
	my ($name, $takes_tenant) = @$function;
	my $call = es_call($name);

	ok(defined $call, "$name() has a call in EsCalls.pm") or next;
	push @tried, [ "$name()", '-', $call ];
	push @tried, map { [ "$name()", $_, es_call($name, $_) ] } qw(a b none *) if $takes_tenant;
}

# Relations: all that are in the store's schemas, and the extension's views; as a
# whole, and column by column.
my %columns_of;
my %kind;
for (split /\n/, $node->safe_psql('postgres', qq(
	SELECT c.oid::regclass, relkind, attname, format_type(atttypid, atttypmod)
	FROM pg_class AS c JOIN pg_attribute AS a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
	WHERE relkind NOT IN ('i', 'I', 'c', 't') AND (relnamespace IN ($ours)
	   OR EXISTS (SELECT FROM pg_depend AS d JOIN pg_extension AS e ON d.refobjid = e.oid AND e.extname = 'pg_eventstore'
		WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
	ORDER BY c.oid::regclass::text COLLATE "C", attnum)))
{
	my ($relation, $kind, $column, $type) = split /\|/;

	$kind{$relation} = $kind;
	push @{ $columns_of{$relation} }, [ qq("$column"), $type ];
}
for my $relation (sort keys %columns_of)
{
	my @columns = @{ $columns_of{$relation} };

	push @tried, [ $relation, 'SELECT', map { "SELECT $_ FROM $relation" } '*', map { $_->[0] } @columns ];
	if ($kind{$relation} eq 'S')
	{
		push @tried, [ $relation, $_, "SELECT pg_catalog.\L$_" . "('$relation'" . ($_ eq 'SETVAL' ? ', 1000)' : ')') ]
		  for qw(NEXTVAL SETVAL);
		next;
	}
	push @tried, [ $relation, 'INSERT', map { "INSERT INTO $relation ($_->[0]) SELECT NULL::$_->[1] WHERE false" } @columns ];
	push @tried, [ $relation, 'UPDATE', map { "UPDATE $relation SET $_->[0] = NULL WHERE false" } @columns ];
	push @tried, [ $relation, 'DELETE', "DELETE FROM $relation WHERE false" ];
	push @tried, [ $relation, 'TRUNCATE', "TRUNCATE $relation" ];
	push @tried, [ $relation, 'LOCK', "LOCK TABLE $relation IN ACCESS EXCLUSIVE MODE" ];
}
# What starts a worker, which publishes, comes last.
@tried = sort { ($a->[0] =~ /^es_start_worker/) <=> ($b->[0] =~ /^es_start_worker/) } @tried;

# ------------------------------------------------------------ and how it ends

# One session tries everything, and the roles take turns.
my (@statements, @cells);
my $prepared = 0;
for my $try (@tried)
{
	my ($object, $action, @all) = @$try;

	for my $statement (@all)
	{
		my $name = 'p' . ++$prepared;
		# PREPARE rewrites, so that a view that cannot be written is found there
		my $may_be_prepared = $statement !~ /^(TRUNCATE|LOCK)|guard/
		  && ($statement =~ /^SELECT/ || $object eq 'es.log' || $kind{$object} ne 'v');

		push @statements, "PREPARE $name AS $statement;" if $may_be_prepared;
		for my $role ('super', grep { $_ ne 'super' } @columns)
		{
			my $other = $role eq 'nobody' ? 'super' : 'nobody';
			my @ways = ($statement, "SELECT t.by_$role(\$x\$$statement\$x\$)", "EXECUTE $name");

			push @statements, "SELECT t.try('$role', \$y\$$ways[0]\$y\$);";
			push @statements, "SELECT t.try('$other', \$y\$$ways[1]\$y\$);";
			push @cells, [ "$object $action", $role ], [ "$object $action", $role ];
			next unless $may_be_prepared;
			push @statements, "SELECT t.try('$role', 'EXECUTE $name');";
			push @cells, [ "$object $action", $role ];
		}
		push @statements, "DEALLOCATE $name;" if $may_be_prepared;
	}
}
my ($ret, $out, $err) = $node->psql('postgres', join("\n", @statements), on_error_stop => 0);
is($err, '', 'nothing else went wrong');
my @answers = split /\n/, $out;
is(scalar @answers, scalar @cells, 'every try has an answer');

my %found;
for my $i (0 .. $#cells)
{
	my ($line, $role) = @{ $cells[$i] };
	$found{$line}{$role}{ $answers[$i] // 'none' } = 1;
}
# Where ways, or columns, end differently, all of it is the answer.
my %answer = map { my $line = $_; $line => { map { $_ => join '/', sort keys %{ $found{$line}{$_} } } @columns } } keys %found;

# ------------------------------------------------------------ the matrix

my %expected;
open my $in, '<', "$FindBin::RealBin/024_access.matrix" or die "cannot read the matrix: $!";
while (<$in>)
{
	next if /^(#|object|\s*$)/;
	my ($object, $action, @cells) = split;
	is(scalar @cells, scalar @columns, "the matrix has all columns of $object $action") if @cells != @columns;
	$expected{"$object $action"} = { map { $columns[$_] => $cells[$_] } 0 .. $#cells };
}
close $in;

for my $try (@tried)
{
	my $line = "$try->[0] $try->[1]";
	my $wanted = delete $expected{$line};

	ok($wanted, "$line is in the matrix") or next;
	is( join(' ', map { "$_ $answer{$line}{$_}" } @columns),
		join(' ', map { "$_ $wanted->{$_}" } @columns), $line);
}
is(join(', ', sort keys %expected), '', 'the matrix has no line for what does not exist');

if ($ENV{ES_MATRIX})
{
	open my $to, '>', $ENV{ES_MATRIX} or die "cannot write $ENV{ES_MATRIX}: $!";
	my @lines = ([ 'object', 'action', @columns ]);
	my $before = '';
	for my $try (@tried)
	{
		push @lines, [] if $before ne $try->[0];
		$before = $try->[0];
		push @lines, [ @$try[ 0, 1 ], map { $answer{"$try->[0] $try->[1]"}{$_} } @columns ];
	}
	for (@lines)
	{
		my @cells = map { defined ? $_ : '' } @$_[ 0 .. $#columns + 2 ];
		my $text = sprintf '%-26s %-9s' . ' %-9s' x @columns, @cells;
		$text =~ s/ +$//;
		print $to "$text\n";
	}
	close $to;
}

done_testing();
