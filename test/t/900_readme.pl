# README.md tells the truth.
#
# Its ```sql blocks are run in their order, in one database, each in a session of
# its own.  A ```text block that follows is what psql must print, errors included;
# a block without one must run without an error.  UUIDs, times and the width of
# columns may differ.
#
# Its snippets in other languages stand in examples/, which 910_examples.pl runs.
# Its reference names every function with all arguments and defaults, every view,
# every setting and every SQLSTATE of the store's own (O5).
use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $readme = slurp_file("$top/README.md");

# The fenced blocks: language, text, and the number of the first line.
sub find_blocks
{
	my ($text) = @_;
	my @blocks;

	while ($text =~ /^```(\w+)\n(.*?)^```$/msg)
	{
		my ($language, $body, $start) = ($1, $2, $-[2]);
		my $line = 1 + (substr($text, 0, $start) =~ tr/\n//);
		push @blocks, { language => $language, body => $body, line => $line };
	}
	return @blocks;
}

sub normalise
{
	my ($text) = @_;
	my $hex = qr/[0-9a-f]/;

	$text =~ s/\b$hex{8}-$hex{4}-$hex{4}-$hex{4}-$hex{12}\b/<uuid>/g;
	$text =~ s/\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d(:\d\d)?/<time>/g;
	$text =~ s/-{3,}/---/g;
	$text =~ s/[ \t]+/ /g;
	$text =~ s/^ | $//mg;
	$text =~ s/\n\n+/\n/g;
	$text =~ s/^\n+|\n+$//g;
	return $text;
}

my $node = PostgreSQL::Test::Cluster->new('readme');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE shop');

sub run_sql
{
	my ($sql) = @_;
	my $out = '';
	my @psql = ('psql', '-XqPnull=', '-v', 'SHOW_CONTEXT=never', '-d', $node->connstr('shop'));

	IPC::Run::run(\@psql, '<', \$sql, '>&', \$out);
	return $out;
}

my @blocks = find_blocks($readme);
my $nsql = 0;

for my $i (0 .. $#blocks)
{
	my $block = $blocks[$i];
	my $next = $blocks[ $i + 1 ];
	my $where = "README.md, line $block->{line}";

	next unless $block->{language} eq 'sql';
	$nsql++;
	my $out = run_sql($block->{body});
	if (defined $next && $next->{language} eq 'text')
	{
		is(normalise($out), normalise($next->{body}), "$where prints what it says");
	}
	else
	{
		unlike($out, qr/^(ERROR|FATAL|PANIC|WARNING):/m, "$where runs without an error");
	}
}
cmp_ok($nsql, '>', 20, 'README.md has SQL that was run');

# snippets in other languages
my %source = (
	python => "$top/examples/psycopg/orders.py",
	js => "$top/examples/node-pg/orders.js",
	c => "$top/examples/libpq/orders.c");

foreach my $block (@blocks)
{
	my $language = $block->{language};

	next if $language =~ /^(sql|text|sh)$/;
	my $file = $source{$language};
	ok(defined $file && index(slurp_file($file), $block->{body}) >= 0,
		"README.md, line $block->{line}: the $language snippet stands in examples/");
}

# the reference: signatures as PostgreSQL has them
my $signatures = $node->safe_psql('shop', q{
	SELECT p.proname || '(' || coalesce((
		SELECT string_agg(
			p.proargnames[i] ||
			CASE WHEN i > p.pronargs - p.pronargdefaults THEN ' = ' ||
				replace(regexp_replace(pg_get_function_arg_default(p.oid, i), '::.*$', ''), '00:00:05', '5s')
			ELSE '' END, ', ' ORDER BY i)
		FROM generate_series(1, p.pronargs) i), '') || ')'
	FROM pg_proc p
	JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
	WHERE e.extname = 'pg_eventstore' AND p.proname LIKE 'es\_%'
	ORDER BY 1});
foreach my $signature (split /\n/, $signatures)
{
	ok(index($readme, "`$signature`") >= 0, "O5: README.md has `$signature`");
}

# and the views
my $views = $node->safe_psql('shop', q{
	SELECT c.relname FROM pg_class c
	JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
	WHERE e.extname = 'pg_eventstore' ORDER BY 1});
foreach my $view (split /\n/, $views)
{
	ok(index($readme, "`$view`") >= 0, "O5: README.md has the view $view");
}

# a function loads the library, which defines the settings
my $settings = $node->safe_psql('shop',
	q{SELECT es_category('a-1') \g /dev/null
	SELECT name FROM pg_settings WHERE name LIKE 'pg_eventstore.%' ORDER BY 1});
foreach my $setting (split /\n/, $settings)
{
	ok(index($readme, "| `$setting` |") >= 0, "README.md has the setting $setting");
}
isnt($settings, '', 'there are settings');

my $errors = slurp_file("$top/src/errors.h");
while ($errors =~ /MAKE_SQLSTATE\('S', 'E', '(\d)', '(\d)', '(\d)'\)/g)
{
	my $sqlstate = "SE$1$2$3";
	ok($readme =~ /^\| $sqlstate \|/m, "O5: README.md has the error $sqlstate");
}

$node->stop;
done_testing();
