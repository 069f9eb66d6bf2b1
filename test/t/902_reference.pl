# docs/manual/reference.md and errors.md have exactly one entry for everything that users
# see (O5): each public function with all arguments and defaults, each view, each table of
# schema es, each of their columns, each setting, each SQLSTATE; and none for what is not
# there.  An entry is a heading, so that pages can link to it; a column's is the row of
# a table under its relation's heading.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsManual;
use EsTest;

my $top = "$FindBin::RealBin/../..";
my $reference = slurp_file("$top/docs/manual/reference.md");
my $errors = slurp_file("$top/docs/manual/errors.md");
my $node = es_server('reference');

# The lines that a query answers with.
sub rows
{
	my ($query) = @_;
	return split /\n/, $node->safe_psql('postgres', $query);
}

# Exactly these, each once.
sub same_ok
{
	my ($entries, $there, $name) = @_;
	my %count;

	$count{$_}++ foreach @$entries;
	my %there = map { $_ => 1 } @$there;
	is(join(', ', grep { !$count{$_} } @$there), '', "$name: all have an entry");
	is(join(', ', grep { $count{$_} > 1 } sort keys %count), '', "$name: none has two");
	is(join(', ', grep { !$there{$_} } sort keys %count), '', "$name: there is no entry for what is not there");
	return;
}

# The entries: functions, relations and settings, by what their names look like.
my @sections = map { [ (split /,? /, $_->[0])[0], $_->[1] ] } grep { $_->[0] =~ /^[a-z_.]+$/ } es_manual_sections($reference, 3);
my %text = map { $_->[0] => $_->[1] } @sections;
my @names = map { $_->[0] } @sections;

my $members = q{pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
	AND e.extname = 'pg_eventstore' AND d.deptype = 'e'};

# functions
my %signature = map { split /\t/ } rows(qq{
	SELECT p.proname || E'\\t' || p.proname || '(' || coalesce((
		SELECT string_agg(
			p.proargnames[i] ||
			CASE WHEN i > p.pronargs - p.pronargdefaults THEN ' = ' ||
				replace(regexp_replace(pg_get_function_arg_default(p.oid, i), '::.*\$', ''), '00:00:05', '5s')
			ELSE '' END, ', ' ORDER BY i)
		FROM generate_series(1, p.pronargs) i), '') || ')'
	FROM pg_proc p JOIN $members ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	WHERE p.proname LIKE 'es\\_%'});
my @relations = rows(qq{
	SELECT c.relname FROM pg_class c JOIN $members ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
	UNION ALL SELECT 'es.' || relname FROM pg_class WHERE relnamespace = 'es'::regnamespace AND relkind IN ('r', 'v', 'S')});
my @settings = rows(q{SELECT es_category('a-1') \g /dev/null
	SELECT name FROM pg_settings WHERE name LIKE 'pg_eventstore.%'});

same_ok(\@names, [ sort(keys %signature), @relations, @settings ], 'O5: functions, views, tables and settings');
foreach my $function (sort keys %signature)
{
	my @lines = ($text{$function} || '') =~ /^`(es_\w+\([^`]*\))`/mg;

	is(join(' ', @lines), $signature{$function}, "O5: $function has all its arguments and defaults");
}

# what functions answer with: columns are named, or those of an event row or a log row
my %columns = map { split /\|/ } rows(qq{
	SELECT p.proname, string_agg(p.proargnames[i], ' ' ORDER BY i)
	FROM pg_proc p JOIN $members ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid,
		generate_series(p.pronargs + 1, cardinality(p.proargnames)) i
	WHERE p.proname LIKE 'es\\_%' GROUP BY 1});
my %row = map { lc $_->[0] => join ' ', $_->[1] =~ /^\| `(\w+)` \|/mg } es_manual_sections($reference, 3);
foreach my $function (sort keys %columns)
{
	my $entry = $text{$function} || '';

	$entry .= $row{'event row'} if $entry =~ /#event-row/;
	$entry .= $row{'log row'} if $entry =~ /#log-row/;
	is(join(' ', grep { $entry !~ /\b$_\b/ } split / /, $columns{$function}), '',
		"O5: $function names the columns that it answers with");
}

# the columns of views and tables; a log row's are written once
my %attributes = map { split /\|/ } rows(qq{
	SELECT CASE WHEN n.nspname = 'es' THEN 'es.' ELSE '' END || c.relname,
		string_agg(a.attname, ' ' ORDER BY a.attnum)
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE c.relkind IN ('r', 'v') AND (n.nspname = 'es' OR
		c.oid IN (SELECT d.objid FROM $members WHERE d.classid = 'pg_class'::regclass))
	GROUP BY 1});
foreach my $relation (sort keys %attributes)
{
	my $entry = $text{$relation} || '';
	my @rows = $entry =~ /^\| `(\w+)` \|/mg;

	@rows = split / /, $row{'log row'} if !@rows && $entry =~ /#log-row/;
	same_ok(\@rows, [ split / /, $attributes{$relation} ], "O5: columns of $relation");
}

# SQLSTATEs: the store's own have a heading, PostgreSQL's that it raises a row
my %code;
my ($include) = `$ENV{PG_CONFIG} --includedir-server` =~ /(.*)/ if $ENV{PG_CONFIG};
($include) = `pg_config --includedir-server` =~ /(.*)/ unless defined $include;
foreach my $header ("$top/src/errors.h", "$include/utils/errcodes.h")
{
	my $text = slurp_file($header);

	$code{$1} = "$2$3$4$5$6"
	  while $text =~ /^#define (ERRCODE_\w+)\s+MAKE_SQLSTATE\('(.)',\s*'(.)',\s*'(.)',\s*'(.)',\s*'(.)'\)/mg;
}
my %raised;
foreach my $file (glob("$top/src/*.[ch] $top/src/*/*.[ch]"))
{
	my $source = slurp_file($file);

	$raised{ $code{$1} || "unknown $1" } = 1 while $source =~ /\berrcode\([^()]*?(ERRCODE_\w+)/g;
}
my @own = grep { /^SE/ } sort keys %raised;
my @entries = grep { /^[0-9A-Z]{5}$/ } map { $_->[0] } es_manual_sections($errors, 3);
same_ok(\@entries, \@own, "O5: the store's SQLSTATEs");

my %part = map { $_->[0] => $_->[1] } es_manual_sections($errors, 2);
my ($by_store) = grep { /raises/ } sort keys %part;
my ($by_others) = grep { /passes on/ } sort keys %part;
my %known = map { $_ => 1 } values %code;
my @others = ($part{ $by_others || '' } || '') =~ /^\| ([0-9A-Z]{5}) \|/mg;
same_ok([ ($part{ $by_store || '' } || '') =~ /^\| ([0-9A-Z]{5}) \|/mg ],
	[ grep { !/^SE/ } sort keys %raised ], "O5: PostgreSQL's SQLSTATEs that the store raises");
isnt(join(', ', @others), '', 'errors.md tells of errors that PostgreSQL raises in a call');
is(join(', ', grep { !$known{$_} || $raised{$_} } @others), '', 'each of them is one, and stands once');

$node->stop;
done_testing();
