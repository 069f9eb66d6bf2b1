# pg_upgrade from PostgreSQL 15 to 17 carries the store (O1).  Needs the programs
# and the extension of both under /usr/lib/postgresql.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsTest;

my %path = (old => '/usr/lib/postgresql/15', new => '/usr/lib/postgresql/17');

for my $path (@path{qw(old new)})
{
	my $control = qx{$path/bin/pg_config --sharedir 2>/dev/null};
	chomp $control;
	$control .= '/extension/pg_eventstore.control';
	plan skip_all => "FAILED TO TEST: pg_upgrade from 15 to 17, since there is no $_"
	  for grep { !-e $_ } "$path/bin/postgres", $control;
}

# The new server first: the module warns of older ones.
my $new = PostgreSQL::Test::Cluster->new('new', install_path => $path{new});
my $old = PostgreSQL::Test::Cluster->new('old', install_path => $path{old});
# the same encoding and locale on both
my @initdb = (extra => [ '--locale=C', '--encoding=UTF8' ]);
my $id = uuid(1, 1);

$old->init(@initdb);
$old->append_conf('postgresql.conf', $EsTest::conf);
$old->start;
es_create($old);
$old->safe_psql('postgres', qq(
	CREATE INDEX own_type_idx ON es.events (type, position);
	SELECT es_append('old-1', 0, 'A', '1', '{"actor": "a"}', '$id');
	SELECT es_append_batch('old-1', 1, array_fill('B'::text, '{500}'), array_fill('{"n": [1, null]}'::jsonb, '{500}'));
	SELECT es_append('order-' || i, 0, 'A', '{}', tenant => 't') FROM generate_series(1, 20) i;
	SELECT es_snapshot('old-1', 20, '{"state": 20}');
	BEGIN; SELECT es_append('gone-1', -1, 'A', '{}') FROM generate_series(1, 5); ROLLBACK;));
$old->safe_psql('postgres', 'SELECT es_publish()');
my $content = es_dump_store($old);
my $published = q(SELECT es_horizon(), count(*), max(position) FROM es.log);
my $horizon = $old->safe_psql('postgres', $published);
$old->stop;

$new->init(@initdb);
$new->append_conf('postgresql.conf', $EsTest::conf);
chdir PostgreSQL::Test::Utils::tempdir() or die "cannot change directory: $!";
command_ok(
	[
		"$path{new}/bin/pg_upgrade", '--no-sync',
		'-d', $old->data_dir, '-D', $new->data_dir,
		'-b', "$path{old}/bin", '-B', "$path{new}/bin",
		'-s', $new->host, '-p', $old->port, '-P', $new->port,
	],
	'O1: pg_upgrade');

$new->start;
is(es_dump_store($new), $content, 'O1: events and snapshots are the same');
is($new->safe_psql('postgres', $published), $horizon, 'O1, P3: so is what is published');
is($new->safe_psql('postgres', q(SELECT count(*) FROM pg_indexes WHERE indexname = 'own_type_idx')), '1',
	'O1: indexes of the user, too');
es_after_restore_ok($new, 'after the upgrade');
like($new->safe_psql('postgres', 'SELECT es_init()'), qr/nothing to do/, 'es_init() finds a whole store');

$new->stop;
done_testing();
