# pg_dump and restore carry the store, and what of it is published, with the stock
# commands (O1): plain, custom
# with parallel restore, pg_dumpall, data only into a store that es_init() made.
# A store whose restore has not come to its end is not ready (SE006).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsTest;

my $old = es_server('old');
my $new = es_server('new', empty => 1);
my $dir = PostgreSQL::Test::Utils::tempdir();
my $id = uuid(1, 1);

$old->safe_psql('postgres', qq(
	CREATE ROLE es_reader;
	CREATE ROLE es_bound;
	GRANT USAGE ON SCHEMA es TO es_bound;
	GRANT SELECT ON es.events TO es_bound;
	SELECT es_grant_tenant('es_bound', 't');
	GRANT USAGE ON SCHEMA es TO es_reader;
	GRANT SELECT ON es.events TO es_reader;
	CREATE INDEX own_type_idx ON es.events (type, position);
	CREATE TABLE public.seen (position bigint);
	CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN INSERT INTO public.seen VALUES (NEW.position); RETURN NULL; END';
	CREATE TRIGGER see AFTER INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION public.see();
	SELECT es_append('old-1', 0, 'A', '1', '{"actor": "ä"}', '$id');
	SELECT es_append_batch('old-1', 1, array_fill('B'::text, '{500}'), array_fill('{"n": [1, null]}'::jsonb, '{500}'));
	SELECT es_append_json('[{"stream": "other-1", "expected": 0, "events": [{"type": "D", "payload": "\\\\x00ff"}]}]');
	SELECT es_append('order-' || i, 0, 'A', '{}', tenant => 't') FROM generate_series(1, 20) i;
	SELECT es_snapshot('old-1', 20, '{"state": 20}');
	BEGIN; SELECT es_append('gone-1', -1, 'A', '{}') FROM generate_series(1, 5); ROLLBACK;));
$old->safe_psql('postgres', 'SELECT es_publish()');
$old->safe_psql('postgres', q(SELECT es_append('late-1', 0, 'A', '{}', tenant => 't')));
my $content = es_dump_store($old);
my $published = q(SELECT es_horizon(), count(*), max(position) FROM es.log);
my $horizon = $old->safe_psql('postgres', $published);
# what a consumer may have seen that the dump does not know
my $tail = 'SELECT * FROM es_read(' . $old->safe_psql('postgres', 'SELECT es_head() + 1') . ')';
my $seen = $old->safe_psql('postgres', 'SELECT count(*) FROM public.seen');

# Roles are bound as they were, in the functions and by row-level security.
sub bound_ok
{
	my ($node, $name, $db) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql($db, q(SET ROLE es_bound; SELECT tenant, count(*) FROM es.events GROUP BY 1)), 't|21',
		"O1: $name: a bound role sees its tenant by plain SQL");
	is($node->safe_psql($db, q(SET ROLE es_bound; SELECT count(*) FROM es_streams())), '21', "O1: $name: and by the functions");
	es_state_ok($node, q(SET ROLE es_bound; SELECT * FROM es_load('old-1', tenant => '')), 'SE007', "O1: $name: and no other", $db);
	return;
}

sub store_ok
{
	my ($node, $name, $db) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(es_dump_store($node, $db), $content, "O1: $name: events and snapshots are the same");
	is($node->safe_psql($db, $published), $horizon, "O1, P3: $name: so is what is published");
	is($node->safe_psql($db, 'SELECT count(*) FROM public.seen'), $seen,
		"O1: $name: the restore fires no AFTER trigger");
	bound_ok($node, $name, $db);
	es_after_restore_ok($node, $name, $db);
	es_state_ok($node, $tail, 'SE005', "P6: $name: a cursor from behind the dump is refused, though the log has grown", $db);
	is($node->safe_psql($db, 'SELECT count(*) FROM public.seen'), $seen + 1, "$name: triggers fire again");
	return;
}

# Dumps as text, without what differs in each dump by nature.
sub dump_text
{
	my ($node, $db) = @_;
	my ($out, $err);

	IPC::Run::run([ 'pg_dump', '-d', $node->connstr($db) ], '>', \$out, '2>', \$err) or die $err;
	$out =~ s/^(--|\\(un)?restrict).*\n//mg;
	return $out;
}

# plain, into the empty cluster
my $plain = dump_text($old, 'postgres');
$old->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", '-d', $old->connstr('postgres') ], 'pg_dump');
$new->safe_psql('postgres', 'CREATE DATABASE plain; CREATE ROLE es_reader; CREATE ROLE es_bound');
$new->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $new->connstr('plain'), '-f', "$dir/plain.sql" ],
	'O1: psql restores into an empty cluster');
is(dump_text($new, 'plain'), $plain, 'O1: a dump of the restored store is the same dump');
is($new->safe_psql('plain', q(SET ROLE es_reader; SELECT count(*) FROM es_load('old-1'))), '501',
	'O1: grants are restored');
is($new->safe_psql('plain', q(SELECT count(*) FROM pg_indexes WHERE indexname = 'own_type_idx')), '1',
	'O1: indexes of the user, too');
store_ok($new, 'psql', 'plain');
like($new->safe_psql('plain', 'SELECT es_init()'), qr/nothing to do/, 'es_init() finds a whole store');

# custom format, parallel
$old->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", '-d', $old->connstr('postgres') ], 'pg_dump -Fc');
$new->safe_psql('postgres', 'CREATE DATABASE custom');
$new->command_ok([ 'pg_restore', '-j2', '-d', $new->connstr('custom'), "$dir/custom" ], 'O1: pg_restore -j2');
store_ok($new, 'pg_restore -j2', 'custom');

# section by section: not ready until the guards stand
$new->safe_psql('postgres', 'CREATE DATABASE half');
for my $section ('pre-data', 'data')
{
	$new->command_ok([ 'pg_restore', "--section=$section", '-d', $new->connstr('half'), "$dir/custom" ], "section $section");
	es_state_ok($new, q(SELECT es_append('old-1', -1, 'A', '{}')), 'SE006', "after $section: no append", 'half');
	es_state_ok($new, q(SELECT * FROM es_load('old-1')), 'SE006', "after $section: no load", 'half');
	es_state_ok($new, q(SELECT * FROM es_read()), 'SE006', "after $section: no read", 'half');
}
$new->command_ok([ 'pg_restore', '--section=post-data', '-d', $new->connstr('half'), "$dir/custom" ], 'section post-data');
store_ok($new, 'by sections', 'half');

# the triggers got lost: es_init() repairs
$new->safe_psql('postgres', 'CREATE DATABASE adopted');
$new->command_ok([ 'pg_restore', '--section=pre-data', '--section=data', '-d', $new->connstr('adopted'), "$dir/custom" ],
	'pre-data and data only');
SKIP: {
	my ($ret, $out) = $new->psql('adopted', 'SELECT es_init()');

	like($out, qr/^adopted the event store/, 'O1: es_init() adopts it') or skip 'nothing was adopted', 8;
	is(es_dump_store($new, 'adopted'), $content, 'O1: adopted: events and snapshots are the same');
	is($new->safe_psql('adopted', $published), $horizon, 'O1, P3: adopted: so is what is published');
	bound_ok($new, 'adopted', 'adopted');
	es_after_restore_ok($new, 'adopted', 'adopted');
	es_state_ok($new, $tail, 'SE005', 'P6: adopted: a cursor from behind the dump is refused', 'adopted');
}

# data only, into a store that es_init() has made
$new->safe_psql('postgres', 'CREATE DATABASE filled');
es_create($new, 'filled');
$new->safe_psql('filled', 'CREATE TABLE public.seen (position bigint);
	ALTER TABLE es.store DISABLE TRIGGER USER; DELETE FROM es.store;
	ALTER TABLE es.store ENABLE ALWAYS TRIGGER es_guard_row, ENABLE ALWAYS TRIGGER es_guard_statement');
my @load = ('psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '--single-transaction', '-d', $new->connstr('filled'), '-f', "$dir/data.sql");
$old->command_ok([ 'pg_dump', '--data-only', '-f', "$dir/data.sql", '-d', $old->connstr('postgres') ], 'pg_dump --data-only');
$new->command_fails_like(\@load, qr/append-only/, 'A6: a data-only restore is refused');
{
	local $ENV{PGOPTIONS} = '-c pg_eventstore.allow_maintenance=on';
	$new->command_ok(\@load, 'A6: and passes with pg_eventstore.allow_maintenance');
}
is(es_dump_store($new, 'filled'), $content, 'O1: data only: events and snapshots are the same');
is($new->safe_psql('filled', $published), $horizon, 'O1, P3: data only: so is what is published');
is($new->safe_psql('filled', q(SELECT what FROM es_verify() WHERE verdict <> 'ok')), 'bindings',
	'data only: row-level security is off until es_init() has run, and es_verify() says so');
like($new->safe_psql('filled', 'SELECT es_init()'), qr/^repaired/, 'es_init() turns row-level security on');
es_after_restore_ok($new, 'data only', 'filled');
$new->safe_psql('filled', 'GRANT USAGE ON SCHEMA es TO es_bound; GRANT SELECT ON es.events TO es_bound');
bound_ok($new, 'data only', 'filled');
es_state_ok($new, $tail, 'SE005', 'P6: data only: a cursor from behind the dump is refused', 'filled');

# everything at once
my $all = PostgreSQL::Test::Cluster->new('all');
$all->init;
$all->start;
$old->command_ok([ 'pg_dumpall', '--no-role-passwords', '-f', "$dir/all.sql", '-d', $old->connstr('postgres') ], 'pg_dumpall');
$all->run_log([ 'psql', '-XqAt', '-d', $all->connstr('postgres'), '-f', "$dir/all.sql" ]);
store_ok($all, 'pg_dumpall', 'postgres');

$_->stop for $old, $new, $all;
done_testing();
