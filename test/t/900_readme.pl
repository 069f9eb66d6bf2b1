# README.md tells the truth.
#
# Its ```sql blocks are run in their order, in one database, each in a session of
# its own, or in that of a window: ```sql window 1.  A ```text block that follows is
# what psql must print, errors and notifications included; a block without one must
# run without an error.  UUIDs, times, pids and the width of columns may differ.
#
# Its snippets in other languages stand in examples/, which 910_examples.pl and
# 911_listeners.pl run.
# Its reference names every function with all arguments and defaults, every view
# with its columns, every setting and every SQLSTATE of the store's own (O5).
use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $readme = slurp_file("$top/README.md");

# The fenced blocks: language, window, text, and the number of the first line.
sub find_blocks
{
	my ($text) = @_;
	my @blocks;

	while ($text =~ /^```(\w+)(?: window (\d))?\n(.*?)^```$/msg)
	{
		my ($language, $window, $body, $start) = ($1, $2, $3, $-[3]);
		my $line = 1 + (substr($text, 0, $start) =~ tr/\n//);
		push @blocks, { language => $language, window => $window, body => $body, line => $line };
	}
	return @blocks;
}

sub normalise
{
	my ($text) = @_;
	my $hex = qr/[0-9a-f]/;

	$text =~ s/\b$hex{8}-$hex{4}-$hex{4}-$hex{4}-$hex{12}\b/<uuid>/g;
	$text =~ s/\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d(:\d\d)?/<time>/g;
	$text =~ s/\bpid \d+/pid <pid>/gi;
	$text =~ s/-{3,}/---/g;
	$text =~ s/[ \t]+/ /g;
	$text =~ s/^ | $//mg;
	$text =~ s/\n\n+/\n/g;
	$text =~ s/^\n+|\n+$//g;
	return $text;
}

my $node = PostgreSQL::Test::Cluster->new('readme');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_eventstore'");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE shop');

my @psql = ('psql', '-XqPnull=', '-v', 'SHOW_CONTEXT=never', '-d', $node->connstr('shop'));
my %windows;

sub run_sql
{
	my ($sql) = @_;
	my $out = '';

	IPC::Run::run(\@psql, '<', \$sql, '>&', \$out);
	return $out;
}

# A psql that goes on, with what goes in and what has come out of it.
sub open_window
{
	my %window = (in => '', out => '');

	$window{timer} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	$window{run} = IPC::Run::start(\@psql, '<', \$window{in}, '>&', \$window{out}, $window{timer});
	return \%window;
}

# What it prints at once, and what has arrived for it before.
sub run_in_window
{
	my ($number, $sql) = @_;
	my $window = $windows{$number} ||= open_window();

	$window->{timer}->start;
	$window->{out} = '';
	$window->{in} .= "$sql\\echo (done)\n";
	$window->{run}->pump until $window->{out} =~ s/^\(done\)\n//m;
	return $window->{out};
}

# Waits until what was appended is published, and listeners have been told.
sub settle
{
	my $stores = q(SELECT count(*) FROM pg_extension, pg_namespace
		WHERE extname = 'pg_eventstore' AND nspname = 'es');

	return if $node->safe_psql('shop', $stores) == 0;
	$node->poll_query_until('shop', q{
		SELECT horizon = given AND notified = given
		FROM es_stat_publisher, (SELECT last_value - (NOT is_called)::int FROM es.events_position_seq) s(given)})
	  or die 'nobody publishes';
	return;
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
	settle();
	my $out = defined $block->{window} ? run_in_window($block->{window}, $block->{body}) : run_sql($block->{body});
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
foreach my $window (values %windows)
{
	$window->{timer}->start;
	$window->{run}->finish;
}

# snippets in other languages
my %source = (
	python => [ glob "$top/examples/psycopg/*.py" ],
	js => [ glob "$top/examples/node-pg/*.js" ],
	c => [ glob "$top/examples/libpq/*.c" ]);

foreach my $block (@blocks)
{
	my $language = $block->{language};

	next if $language =~ /^(sql|text|sh)$/;
	ok((grep { index(slurp_file($_), $block->{body}) >= 0 } @{ $source{$language} || [] }),
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

# and the views: a row of a table with each column
my $views = $node->safe_psql('shop', q{
	SELECT c.relname, string_agg(a.attname, ' ' ORDER BY a.attnum)
	FROM pg_class c
	JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
	JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
	WHERE e.extname = 'pg_eventstore' GROUP BY 1 ORDER BY 1});
foreach my $view (split /\n/, $views)
{
	my ($name, $columns) = split /\|/, $view;
	my ($row) = $readme =~ /^\| `$name` \| (.*) \|$/m;

	is(join(' ', grep { ($row || '') !~ /\b$_\b/ } split / /, $columns), '',
		"O5: README.md has the view $name with its columns");
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
