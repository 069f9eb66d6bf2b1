# P4: a statement that its role may not run waits for no lock, so that nothing waits
# behind it.  CREATE RULE, CREATE TRIGGER, foreign keys, ATTACH and DETACH PARTITION lock
# the table that they name before PostgreSQL asks whether the role may: behind any
# transaction that has read or appended, two sessions of a role that can do no more than
# name the table would stop appends, reads and publishing for as long as they like; by
# the system catalogs, which any role can name, the whole database.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsClient;
use EsPublish;
use EsTest;

my $node = es_preloaded('ddl_locks');
my $fires = 'EXECUTE FUNCTION suppress_redundant_updates_trigger()';

$node->safe_psql('postgres', q(
	CREATE ROLE es_reader;
	GRANT USAGE ON SCHEMA es TO es_reader;
	GRANT SELECT ON es.events TO es_reader;
	CREATE ROLE es_stranger;
	CREATE ROLE es_trusted;
	GRANT CREATE ON SCHEMA public TO es_trusted;
	GRANT USAGE ON SCHEMA es TO es_trusted;
	GRANT TRIGGER, REFERENCES (position) ON es.events TO es_trusted;
	CREATE INDEX own_idx ON es.events (type, position);
	SELECT es_append('a-1', -1, 'T', '{}');));

# Statements on one table that a role may not run, behind whatever has it locked.  A lock
# that is waited for is not had in time: 55P03.
sub refused_ok
{
	my ($role, $table) = @_;
	my $part = 'CREATE TEMP TABLE p (x bigint) PARTITION BY LIST (x);';
	my %statements = (
		'CREATE RULE' => "CREATE RULE r AS ON INSERT TO $table DO ALSO NOTHING",
		'CREATE TRIGGER' => "CREATE TRIGGER t BEFORE INSERT ON $table FOR EACH ROW $fires",
		'a foreign key of a new table' => "CREATE TEMP TABLE f (x bigint REFERENCES $table)",
		'a foreign key, apart' => "CREATE TEMP TABLE f (x bigint); ALTER TABLE f ADD FOREIGN KEY (x) REFERENCES $table",
		'a foreign key of a new column' =>
		  "CREATE TEMP TABLE f (y bigint); ALTER TABLE f ADD COLUMN x bigint REFERENCES $table",
		'ATTACH PARTITION' => "$part ALTER TABLE p ATTACH PARTITION $table DEFAULT",
		'DETACH PARTITION' => "$part ALTER TABLE p DETACH PARTITION $table",
		'PARTITION OF' => "CREATE TEMP TABLE p PARTITION OF $table DEFAULT",
		'DETACH PARTITION FINALIZE' => "$part ALTER TABLE p DETACH PARTITION $table FINALIZE",
	);

	for my $what (sort keys %statements)
	{
		es_state_ok($node, "SET lock_timeout = '200ms'; SET SESSION AUTHORIZATION $role; $statements{$what}",
			'42501', "$what on $table is refused before it waits");
	}
	es_state_ok($node,
		"SET lock_timeout = '200ms'; SET SESSION AUTHORIZATION $role; SET search_path = es, pg_catalog; "
		  . 'CREATE RULE r AS ON INSERT TO ' . ($table =~ s/.*\.//r) . ' DO ALSO NOTHING',
		'42501', "the same without the schema's name: $table");
	return;
}

# The same on an index.
sub index_refused_ok
{
	my ($role, $index) = @_;
	my %statements = (
		'DEPENDS ON EXTENSION' => "ALTER INDEX $index DEPENDS ON EXTENSION plpgsql",
		'ATTACH PARTITION of an index' => 'CREATE TEMP TABLE p (x bigint) PARTITION BY LIST (x); CREATE INDEX i ON p (x); '
		  . "ALTER INDEX i ATTACH PARTITION $index",
	);

	for my $what (sort keys %statements)
	{
		es_state_ok($node, "SET lock_timeout = '200ms'; SET SESSION AUTHORIZATION $role; $statements{$what}",
			'42501', "$what: $index is refused before it waits");
	}
	return;
}

# A role that can name the store's tables.  Whoever has read, or appended, is in the way;
# and nextval() locks what it is given before it looks what that is.
my $holder = EsClient->new($node, name => 'holder');
$holder->run($_)
  for 'BEGIN', q(SELECT es_append('h-1', -1, 'T', '{}')), 'SELECT count(*) FROM es_read()',
  'SAVEPOINT s', q(SELECT nextval('es.ticks')), 'ROLLBACK TO s', q(SELECT nextval('es.bindings')), 'ROLLBACK TO s';
refused_ok('es_reader', $_) for 'es.events', 'es.ticks', 'es.bindings';
index_refused_ok('es_reader', 'es.own_idx');
$holder->run('ROLLBACK');

# one that can name nothing but the system catalogs
$holder->run($_) for 'BEGIN', 'LOCK TABLE pg_class, pg_database IN ROW EXCLUSIVE MODE';
refused_ok('es_stranger', $_) for 'pg_catalog.pg_class', 'pg_catalog.pg_database';
index_refused_ok('es_stranger', 'pg_catalog.pg_class_relname_nsp_index');
$holder->run('ROLLBACK');
$holder->close;
es_publishes_ok($node, 'appends and publishing go on');

# who may, may as before
my $own = 'CREATE TABLE public.mine (x bigint PRIMARY KEY);';
es_state_ok($node, "SET ROLE es_trusted; BEGIN; CREATE TRIGGER t AFTER INSERT ON es.events FOR EACH ROW $fires; ROLLBACK",
	'00000', 'who has the privilege TRIGGER makes a trigger');
es_state_ok($node, 'SET ROLE es_trusted; BEGIN; CREATE TABLE public.f (x bigint REFERENCES es.events); ROLLBACK',
	'00000', 'who has the privilege REFERENCES on a column refers to it');
es_state_ok($node, 'CREATE RULE r AS ON INSERT TO es.events DO ALSO NOTHING', 'SE003', 'A6: the owner makes no rule');
es_state_ok($node,
	"SET ROLE es_trusted; BEGIN; $own CREATE RULE r AS ON INSERT TO mine DO ALSO NOTHING; "
	  . "CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH ROW $fires; CREATE TABLE public.f (x bigint REFERENCES mine); "
	  . 'CREATE TABLE public.p (x bigint NOT NULL) PARTITION BY LIST (x); ALTER TABLE p ATTACH PARTITION mine DEFAULT; ROLLBACK',
	'00000', "tables that are not the store's are nobody's business");

done_testing();
