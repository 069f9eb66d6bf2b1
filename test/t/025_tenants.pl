# Nobody crosses from one tenant to another (DESIGN.md 7): by arguments, settings,
# plain SQL, writing, ids, snapshots, channels, search_path, SECURITY DEFINER and
# views, prepared statements, memberships, triggers, error texts, statistics, or while
# bindings change.
#
# Tenant a's people try; what tenant b has says "secret" wherever it may, and no
# answer, notice or error that they get does.  Where they guess at something of b's,
# the answer is the same as where there is nothing.  At the end b has what it had.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsCalls;
use EsClient;
use EsTest;

my $node = es_server('tenants', conf => "shared_preload_libraries = 'pg_eventstore'\n");
my $id = uuid(1, 1);
my $secret_id = uuid(2, 1);

# What a role gets: output and errors, the latter with SQLSTATE, and what came last.
sub run_as
{
	my ($role, $sql, $db) = @_;
	my ($ret, $out, $err) = $node->psql($db || 'postgres', $sql, on_error_stop => 0,
		extra_params => [ '-U', $role, '-v', 'VERBOSITY=verbose' ]);

	$err =~ s/^LOCATION:.*\n?//mg;
	$err =~ s/^psql:<stdin>:\d+: //mg;
	return ($out, $err);
}

sub state_of
{
	my ($err) = @_;
	my @states = $err =~ /(?:ERROR|FATAL):\s+([0-9A-Z]{5}):/g;

	return @states ? $states[-1] : '00000';
}

# Runs as a role what must not tell it anything, and fail in this way, if any.
sub kept_ok
{
	my ($role, $sql, $state, $name) = @_;
	my ($out, $err) = run_as($role, $sql);
	my $said = $name || $sql;

	$said =~ s/\s+/ /g;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	unlike("$out\n$err", qr/secret/i, "$role is told nothing: $said");
	is(state_of($err), $state, "... and gets $state") if $state;
	return ($out, $err);
}

# Runs as a role, and compares all that came out.
sub gets_ok
{
	my ($role, $sql, $wanted, $name) = @_;
	my ($out, $err) = run_as($role, $sql);
	my $said = $name || $sql;

	$said =~ s/\s+/ /g;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($out . state_of($err), $wanted . '00000', "$role: $said") or diag $err;
	return;
}

# Two statements that differ in one name end alike, but for that name.
sub same_ok
{
	my ($role, $sql, $one, $other) = @_;
	my @said = map {
		my $name = $_;
		my ($out, $err) = run_as($role, $sql =~ s/%/$name/gr);
		my $said = "$out\n$err";
		# what is quoted of the statement has another length
		$said =~ s/^(LINE|CONTEXT|QUERY).*\n(\s*\^.*\n?)?//mg;
		$said =~ s/(?<!\w)\Q$name\E(?!\w)/%/g;
		$said;
	} $one, $other;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($said[0], $said[1], "$role learns nothing of '$one': " . $sql =~ s/\s+/ /gr);
	unlike($said[0], qr/secret/i, '... and is told nothing');
	return;
}

sub all_of
{
	my ($tenant) = @_;

	return $node->safe_psql('postgres', qq(
		SELECT version, stream, type, data, metadata, id FROM es.events WHERE tenant = '$tenant' ORDER BY position;
		SELECT version, stream, schema_version, state FROM es.snapshots WHERE tenant = '$tenant' ORDER BY stream, schema_version;
		SELECT name, options, created_by FROM es.channels WHERE options ->> 'tenant' = '$tenant' ORDER BY name));
}

# ------------------------------------------------------------ people and events

my %bound = (acme => ['a'], beta => ['b'], two => [ 'a', 'c' ], watcher => ['a']);
$node->safe_psql('postgres', q(
	CREATE SCHEMA work;
	GRANT ALL ON SCHEMA work TO PUBLIC;)
	. join '', map { qq(
	CREATE ROLE $_ LOGIN;
	GRANT SELECT, INSERT ON es.events, es.snapshots TO $_;
	GRANT SELECT ON es.log, es.channels, es.bindings TO $_;
	GRANT USAGE ON SCHEMA es TO $_;) } sort(keys %bound), 'reader');
$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN; GRANT USAGE ON SCHEMA es TO stranger; GRANT pg_monitor TO watcher');
es_calls_store($node, 'postgres', '', 'a', 'c');
$node->safe_psql('postgres', qq(
	SELECT es_append('s-1', 0, 'SecretType', '{"is": "secret"}', '{"of": "secret"}', '$id', tenant => 'b');
	SELECT es_append('secret-1', 0, 'SecretType', '{"is": "secret"}', '{"of": "secret"}', '$secret_id', tenant => 'b');
	SELECT es_append('s-1', 1, 'T', '{"is": "secret"}', tenant => 'b');
	SELECT es_snapshot('s-1', 2, '{"is": "secret"}', tenant => 'b');
	SELECT es_snapshot('secret-1', 1, '{"is": "secret"}', 7, tenant => 'b');
	SELECT es_create_channel('es_of_b', '{"tenant": "b", "stream_prefix": "secret"}');
	UPDATE es.channels SET created_by = 'beta' WHERE name = 'es_of_b'));
for my $role (sort keys %bound)
{
	is($node->safe_psql('postgres', "SELECT es_grant_tenant('$role', '$_')"), 't', "$role is bound to $_") for @{ $bound{$role} };
}
$node->safe_psql('postgres', 'SELECT es_wait(es_head()); ANALYZE es.events; ANALYZE es.snapshots');
my $b_has = all_of('b');
my $unnamed_has = all_of('');

# ------------------------------------------------------------ arguments

my @names = grep { $_->[1] } es_functions($node, 'postgres');
for my $function (@names)
{
	my $name = $function->[0];
	my $lists = $name =~ /^es_(read|streams)$/;

	my $one = es_call($name, '%');
	same_ok('acme', $one, 'b', 'nix');
	kept_ok('acme', es_call($name, $_), 'SE007') for 'b', '', 'c', 'A', 'a ', ' a', '"a"', q(a''), 'a%', 'public';
	kept_ok('acme', es_call($name, "a\nb"), '22023');
	kept_ok('acme', es_call($name, '*'), $lists ? '00000' : '22023');
	kept_ok('acme', es_call($name), '00000');
	kept_ok('acme', es_call($name, 'a'), '00000');
	kept_ok('two', es_call($name), 'SE007');
	kept_ok('two', es_call($name, 'c'), '00000');
	kept_ok('two', es_call($name, 'b'), 'SE007');
	same_ok('two', $one, 'b', 'nix');
}
gets_ok('acme', q(SELECT DISTINCT tenant FROM es_read(tenant => '*')), 'a');
gets_ok('two', q(SELECT DISTINCT tenant FROM es_read(tenant => '*') ORDER BY 1), "a\nc");
gets_ok('two', q(SELECT tenant, stream FROM es_streams(tenant => '*') ORDER BY 1), "a|s-1\nc|s-1");
gets_ok('reader', q(SELECT string_agg(DISTINCT tenant, ',' ORDER BY tenant) FROM es_read(tenant => '*')), ',a,b,c', 'is bound to nothing, and sees all');
kept_ok('acme', $_) for q(SELECT * FROM es_read(categories => '{secret,s}')), q(SELECT * FROM es_read(types => '{SecretType}', tenant => '*')),
  q(SELECT * FROM es_read(stream_prefix => '', max_count => NULL, tenant => '*')), q(SELECT * FROM es_read(backwards => true, tenant => '*')),
  q(SELECT * FROM es_streams(categories => '{secret}', tenant => '*')), q(SELECT * FROM es_streams(after => 'r', tenant => '*'));
kept_ok('acme', q(SELECT * FROM es_append_json('[{"stream": "s-1", "expected": -1, "tenant": "b", "events": [{"type": "T", "data": {}}]}]')), '22023');
kept_ok('acme', q(SELECT es_append_json('[{"stream": "s-1", "expected": -1, "events": [{"type": "T", "data": {}, "tenant": "b"}]}]')), '22023');
kept_ok('acme', q(SELECT es_try_append_json('[{"stream": "s-1", "expected": -1, "tenant": "b"}]')), '22023');

# ------------------------------------------------------------ ids and versions

same_ok('acme', qq(SELECT * FROM es_event('%')), $secret_id, uuid(9, 9));
same_ok('acme', qq(SELECT es_event_exists('%')), $secret_id, uuid(9, 9));
same_ok('acme', qq(BEGIN; SELECT es_append('x-1', -1, 'T', '{}', id => '%'); SELECT * FROM es_append_batch('x-1', -1, '{T,T}', '{"{}","{}"}', ids => '{%,$id}'); ROLLBACK),
	$secret_id, uuid(9, 9));
same_ok('acme', qq(BEGIN; SELECT es_append('%', 7, 'T', '{}'); ROLLBACK), 'secret-1', 'nix-1');
same_ok('acme', qq(BEGIN; SELECT * FROM es_try_append('%', 7, '{T}', '{"{}"}'); ROLLBACK), 'secret-1', 'nix-1');
same_ok('acme', qq(BEGIN; SELECT * FROM es_append_json('[{"stream": "%", "expected": 5}]'); ROLLBACK), 'secret-1', 'nix-1');
same_ok('acme', qq(BEGIN; SELECT * FROM es_try_append_json('[{"stream": "%", "expected": 5}, {"stream": "y-1", "expected": 0}]'); ROLLBACK), 'secret-1', 'nix-1');
same_ok('acme', qq(SELECT es_stream_version('%'), es_position('%'), (SELECT count(*) FROM es_load('%')), (SELECT count(*) FROM es_rehydrate('%'))),
	'secret-1', 'nix-1');
# the id that a's own event has, b's has, too: SE002 tells of a's
my ($out, $err) = kept_ok('acme', qq(SELECT es_append('x-1', -1, 'T', '{}', id => '$id')), 'SE002');
like($err, qr/"reason": "elsewhere".*"stream": "s-1"/, 'SE002 tells of the own stream');

# an index of the user's own that is unique over all tenants tells that there is something, and not what
$node->safe_psql('postgres', q(CREATE UNIQUE INDEX mine ON es.events ((data ->> 'number'), stream);
	SELECT es_append('n-1', 0, 'SecretType', '{"number": 1}', tenant => 'b')));
($out, $err) = kept_ok('acme', q(SELECT es_append('n-1', 0, 'T', '{"number": 1}')), '23505');
unlike($err, qr/DETAIL/, 'a unique violation has no DETAIL');
$node->safe_psql('postgres', 'DROP INDEX es.mine');
$b_has = all_of('b');

# ------------------------------------------------------------ snapshots

same_ok('acme', q(SELECT * FROM es_load_snapshot('%')), 'secret-1', 'nix-1');
same_ok('acme', q(SELECT * FROM es_rehydrate('%', 7)), 'secret-1', 'nix-1');
same_ok('acme', q(SELECT es_snapshot('%', 1, '{}')), 'secret-1', 'nix-1');
gets_ok('acme', q(SELECT es_drop_snapshots('secret', 100)), '0');
kept_ok('acme', q(SELECT * FROM es.snapshots), '00000');
gets_ok('acme', q(SELECT DISTINCT tenant FROM es.snapshots), 'a');
for my $clause ('', 'ON CONFLICT DO NOTHING', 'ON CONFLICT (tenant, stream, schema_version) DO NOTHING')
{
	same_ok('acme', qq(INSERT INTO es.snapshots VALUES (1, now(), 7, 'b', '%', 's', '{}') $clause), 'secret-1', 'nix-1');
	kept_ok('acme', qq(INSERT INTO es.snapshots VALUES (1, now(), 7, 'b', 'x-1', 's', '{}') $clause), '42501');
}
# one who may do more than snapshots need
$node->safe_psql('postgres', 'GRANT UPDATE, DELETE ON es.snapshots TO acme');
gets_ok('acme', q(WITH x AS (UPDATE es.snapshots SET state = '{}' WHERE tenant <> 'a' RETURNING 1) SELECT count(*) FROM x), '0');
gets_ok('acme', q(WITH x AS (DELETE FROM es.snapshots WHERE tenant <> 'a' RETURNING 1) SELECT count(*) FROM x), '0');
kept_ok('acme', q(UPDATE es.snapshots SET tenant = 'b'), '42501');
kept_ok('acme', q(INSERT INTO es.snapshots VALUES (1, now(), 7, 'b', 'secret-1', 'secret', '{}')
	ON CONFLICT (tenant, stream, schema_version) DO UPDATE SET state = excluded.state RETURNING *), '42501', 'an upsert on what b has');
kept_ok('acme', q(MERGE INTO es.snapshots AS s USING (VALUES ('b')) AS v(t) ON s.tenant = v.t WHEN MATCHED THEN DELETE), '00000');
$node->safe_psql('postgres', 'REVOKE UPDATE, DELETE ON es.snapshots FROM acme');

# ------------------------------------------------------------ plain SQL

$node->safe_psql('postgres', q(
	CREATE FUNCTION work.leak(es.events) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END $$;
	CREATE FUNCTION work.leak_text(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END $$;
	CREATE FUNCTION work.leak_texts(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'leaked % %', $1, $2; RETURN true; END $$;
	CREATE OPERATOR work.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = work.leak_texts, RESTRICT = eqsel)));
for my $table ('es.events', 'es.log', 'es_outbox')
{
	kept_ok('acme', $_, '00000') for "SELECT * FROM $table", "SELECT * FROM $table AS e WHERE tenant <> 'a'", "SELECT * FROM $table WHERE tenant = 'b'",
	  "SELECT e::text, to_jsonb(e), row(e.*) FROM $table AS e", "COPY (SELECT * FROM $table) TO STDOUT", "SELECT string_agg(e::text, '') FROM $table AS e",
	  "SELECT * FROM $table WHERE work.leak_text(data::text) AND work.leak_text(stream)", "SELECT * FROM $table WHERE stream OPERATOR(work.<<<) type",
	  "SELECT * FROM $table WHERE tenant = 'b' AND work.leak_text(stream)", "SELECT * FROM $table ORDER BY work.leak_text(stream), type",
	  "SELECT * FROM $table WHERE 1 / (CASE WHEN tenant = 'b' THEN 0 ELSE 1 END) = 1", "SELECT * FROM $table WHERE (CASE WHEN tenant <> 'a' THEN data ->> 'is' ELSE '1' END)::int = 1",
	  "BEGIN; DECLARE c SCROLL CURSOR FOR SELECT * FROM $table; FETCH ALL c; FETCH BACKWARD ALL c; COMMIT",
	  "WITH x AS MATERIALIZED (SELECT * FROM $table) SELECT * FROM x", "SELECT * FROM (SELECT * FROM $table OFFSET 0) AS x WHERE work.leak_text(type)",
	  "SELECT l.* FROM $table AS e, LATERAL es_load(e.stream) AS l", "SELECT * FROM $table AS x JOIN $table AS y ON work.leak_text(y.stream)",
	  "SELECT (SELECT count(*) FROM $table AS y WHERE y.position <> x.position AND work.leak_text(y.type)) FROM $table AS x",
	  "EXPLAIN ANALYZE VERBOSE SELECT * FROM $table WHERE work.leak_text(stream)", "EXPLAIN SELECT * FROM $table WHERE tenant = 'b' AND type = 'T'",
	  "SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SELECT * FROM $table WHERE stream IS NOT NULL",
	  "PREPARE p AS SELECT * FROM $table WHERE tenant = \$1; EXECUTE p('b'); EXECUTE p('b'); EXECUTE p('b'); EXECUTE p('b'); EXECUTE p('b'); EXECUTE p('b')",
	  "CREATE TEMP TABLE t AS SELECT * FROM $table; SELECT * FROM t", "SELECT * INTO TEMP t FROM $table; TABLE t";
	gets_ok('acme', "SELECT DISTINCT tenant FROM $table", 'a') if $table ne 'es_outbox';
	gets_ok('acme', "SELECT count(*) FROM $table WHERE tenant <> 'a'", '0');
	gets_ok('acme', "SELECT coalesce(max(position), 0) > (SELECT max(position) FROM es.events) FROM $table", 'f');
}
gets_ok('acme', 'SELECT count(*) FROM es.events', $node->safe_psql('postgres', q(SELECT count(*) FROM es.events WHERE tenant = 'a')));
kept_ok('acme', $_, '00000') for 'COPY es.events TO STDOUT', 'SELECT * FROM ONLY es.events TABLESAMPLE SYSTEM (100)', 'SELECT * FROM es.events AS e WHERE work.leak(e)',
  q(SELECT * FROM es.events WHERE ctid = ANY (ARRAY(SELECT format('(0,%s)', n)::tid FROM generate_series(1, 30) AS n))),
  q(SELECT * FROM es.events WHERE position = ANY (ARRAY(SELECT n FROM generate_series(1, 100) AS n))),
  qq(SELECT * FROM es.events WHERE tenant = 'b' AND id = '$secret_id'), 'SET enable_seqscan = off; SELECT * FROM es.events ORDER BY tenant, stream, version';
kept_ok('acme', 'SELECT * FROM es.events FOR UPDATE', '42501');
kept_ok('acme', $_, '00000') for 'TABLE es.channels', 'TABLE es.bindings';
gets_ok('acme', 'SELECT count(*) FROM es.bindings', '0', 'who else is bound is not told');
gets_ok('acme', q(SELECT count(*) FROM pg_stats WHERE schemaname = 'es' AND tablename IN ('events', 'snapshots')), '0', 'statistics of columns are not shown');
gets_ok('reader', q(SELECT count(*) FROM es.events), $node->safe_psql('postgres', 'SELECT count(*) FROM es.events'), 'an unbound reader sees all');
# writing around the functions meets the guards first, whoever's it is
kept_ok('acme', q(INSERT INTO es.events SELECT * FROM es.events), 'SE003');
kept_ok('acme', qq(INSERT INTO es.events VALUES (1, 1, now(), '$secret_id', 'b', 'secret-1', 'secret', 'T', '{}') ON CONFLICT DO NOTHING), 'SE003');
same_ok('acme', q(INSERT INTO es.events VALUES (1, 1, now(), gen_random_uuid(), 'b', '%', 'x', 'T', '{}') ON CONFLICT DO NOTHING), 'secret-1', 'nix-1');

# ------------------------------------------------------------ settings

for my $setting (split /\n/, $node->safe_psql('postgres', q(SELECT name FROM pg_settings WHERE name LIKE 'pg_eventstore.%')))
{
	kept_ok('acme', qq(SELECT set_config('$setting', '$_', false); TABLE es.events; SELECT * FROM es_read(tenant => '*')), undef, "$setting = $_")
	  for 'on', 'b', '*', '{"tenant": "b"}';
}
kept_ok('acme', qq(SET "$_->[0]" = $_->[1]; TABLE es.events; SELECT * FROM es_read(tenant => '*'); SELECT * FROM es_load('s-1', tenant => 'b')), 'SE007', "$_->[0] = $_->[1]")
  for [ 'pg_eventstore.tenant', 'b' ], [ 'pg_eventstore.tenants', q('*') ], [ session_replication_role => 'replica' ], [ role => 'beta' ],
  [ session_authorization => 'beta' ], [ row_security => 'on' ], [ plan_cache_mode => 'force_generic_plan' ], [ search_path => 'work, es, public' ];
kept_ok('acme', "SET row_security = off; $_", undef) for 'TABLE es.events', 'TABLE es.log', 'COPY es.events TO STDOUT', 'TABLE es.snapshots', 'TABLE es_outbox',
  q(SELECT * FROM es_read(tenant => '*')), q(SELECT * FROM es_load('s-1')), q(SELECT * FROM es_load_snapshot('s-1'));
kept_ok('acme', 'SET row_security = off; TABLE es.events', '42501');
kept_ok('acme', q(SET row_security = off; SELECT * FROM es_load('s-1', tenant => 'b')), undef);
# one who may set it, may not see more
$node->safe_psql('postgres', 'GRANT SET ON PARAMETER session_replication_role TO acme');
kept_ok('acme', q(SET session_replication_role = replica; TABLE es.events), '00000');
kept_ok('acme', q(SET session_replication_role = replica; SELECT es_append('s-1', -1, 'T', '{}', tenant => 'b')), 'SE007');
$node->safe_psql('postgres', 'REVOKE SET ON PARAMETER session_replication_role FROM acme');

# ------------------------------------------------------------ search_path

kept_ok('acme', q(
	CREATE SCHEMA AUTHORIZATION acme), '42501');
kept_ok('acme', q(
	CREATE FUNCTION work.pg_eventstore_sees(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
	CREATE FUNCTION work.pg_eventstore_open(oid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
	CREATE FUNCTION work.es_horizon() RETURNS bigint LANGUAGE sql AS 'SELECT 1000000::bigint';
	CREATE FUNCTION work.texteq(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
	CREATE OPERATOR work.= (LEFTARG = text, RIGHTARG = text, FUNCTION = work.texteq);
	CREATE TEMP TABLE bindings (role text, tenants text[], role_oid bigint, system_identifier bigint, changed_at timestamptz);
	INSERT INTO bindings VALUES ('acme', '{a,b}', 0, 0, now());
	SET search_path = pg_temp, work, es, pg_catalog, public;
	TABLE es.events;
	TABLE es.log;
	SELECT * FROM public.es_read(tenant => '*');
	SELECT * FROM public.es_load('s-1', tenant => 'b')), 'SE007', 'search_path');
$node->safe_psql('postgres', 'DROP OPERATOR work.= (text, text); DROP FUNCTION work.texteq(text, text), work.es_horizon(), work.pg_eventstore_sees(text), work.pg_eventstore_open(oid)');

# ------------------------------------------------------------ channels

kept_ok('acme', $_->[0], $_->[1]) for
  [ q(SELECT es_create_channel('es_x', '{"tenant": "b"}')), 'SE007' ], [ q(SELECT es_create_channel('es_x', '{"tenant": ""}')), 'SE007' ],
  [ q(SELECT es_create_channel('es_x', '{"tenant": "*"}')), '22023' ], [ q(SELECT es_create_channel('es_x', '{"kind": "event", "public": true}')), 'SE007' ],
  [ q(SELECT es_create_channel('es_x', '{"kind": "event", "public": true, "tenant": "b"}')), 'SE007' ],
  [ q(SELECT es_create_channel('es_of_b')), '42710' ], [ q(SELECT es_alter_channel('es_of_b', '{}')), '42501' ], [ q(SELECT es_drop_channel('es_of_b')), '42501' ],
  [ q(SELECT es_create_channel('es_of_b', '{"tenant": "a", "types": ["T"]}')), '42710' ];
same_ok('acme', q(SELECT es_create_channel('es_x', '{"tenant": "%"}')), 'b', 'nix');
unlike((run_as('acme', $_))[1], qr/beta/, "whose it is, is not told: $_") for q(SELECT es_drop_channel('es_of_b')), q(SELECT es_create_channel('es_of_b', '{"types": []}'));
gets_ok('acme', q(SELECT es_create_channel('es_of_a')), 't');
is($node->safe_psql('postgres', q(SELECT options ->> 'tenant' FROM es.channels WHERE name = 'es_of_a')), 'a', 'a channel of a bound role is about its tenant');
gets_ok('acme', q(SELECT name FROM es.channels), 'es_of_a', 'the channels of others are not shown');
kept_ok('acme', q(SELECT es_alter_channel('es_of_a', '{"tenant": "b"}')), 'SE007');
kept_ok('acme', q(SELECT es_alter_channel('es_of_a', '{"tenant": "*"}')), '22023');
kept_ok('acme', q(SELECT es_alter_channel('es_of_a', '{"kind": "event", "public": true}')), 'SE007');
gets_ok('acme', q(SELECT es_alter_channel('es_of_a', '{"types": ["T"]}')), '');
is($node->safe_psql('postgres', q(SELECT options ->> 'tenant' FROM es.channels WHERE name = 'es_of_a')), 'a', '... also after es_alter_channel()');
kept_ok('two', q(SELECT es_create_channel('es_x')), 'SE007');
# events for everybody, of tenants that are bound: by nobody
es_state_ok($node, qq(SELECT es_create_channel('es_x', '{"kind": "event", "public": true, "tenant": "$_"}')), 'SE007', "no channel shows the events of '$_'") for 'a', 'b', '*';
kept_ok('reader', q(SELECT es_create_channel('es_x', '{"kind": "event", "public": true, "tenant": "b"}')), 'SE007');
is($node->safe_psql('postgres', q(SELECT es_create_channel('es_open', '{"kind": "event", "public": true, "tenant": "d"}'))), 't', 'of one that is not, it does');
es_state_ok($node, q(SELECT es_grant_tenant('acme', 'd')), '55006', 'which cannot be bound then');
$node->safe_psql('postgres', q(SELECT es_drop_channel('es_open')));
# what every listener hears is numbers
my $listener = EsClient->new($node, name => 'listener');
$listener->run('SET ROLE stranger; LISTEN es_events; LISTEN es_of_b; LISTEN es_of_a; LISTEN es_late');
# What it hears up to a notification on this channel.
sub hear
{
	my ($channel) = @_;
	my $heard = '';

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$heard .= join "\n", map { join '|', @$_ } @{ $listener->run('SELECT 1')->{rows} };
		last if $heard =~ /"$channel" with payload/;
		select(undef, undef, undef, 0.1);
	}
	return $heard;
}
$node->safe_psql('postgres', q(SELECT es_append('secret-2', -1, 'SecretType', '{"is": "secret"}', tenant => 'b')));
$b_has = all_of('b');
my $heard = hear('es_of_b');
like($heard, qr/"es_of_b" with payload/, 'a listener is woken for b');
unlike($heard, qr/secret/i, 'and told nothing of it');
# A channel that carries events and a binding that meet: neither sees the other before it is committed.
my $late = EsClient->new($node, name => 'late');
is($late->run($_)->{state}, '00000', $_) for 'BEGIN', q(SELECT es_create_channel('es_late', '{"kind": "event", "public": true, "tenant": "e"}'));
is($node->safe_psql('postgres', q(CREATE ROLE of_e; SELECT es_grant_tenant('of_e', 'e'))), 't', 'meanwhile the tenant is bound');
$late->run('COMMIT');
$node->safe_psql('postgres', q(SELECT es_append('secret-1', -1, 'SecretType', '{"is": "secret"}', tenant => 'e');
	SELECT es_append('secret-2', -1, 'SecretType', '{"is": "secret"}', tenant => 'b')));
$b_has = all_of('b');
$heard = hear('es_of_b');
like($heard, qr/"es_of_b" with payload/, 'a listener is woken again');
unlike($heard, qr/secret/i, 'and told nothing of what is bound by now');
$_->close for $listener, $late;
$node->safe_psql('postgres', q(SELECT es_drop_channel('es_late'), es_revoke_tenant('of_e', '*')));

# ------------------------------------------------------------ functions and views of others

$node->safe_psql('postgres', q(
	CREATE FUNCTION work.as_definer() RETURNS SETOF text LANGUAGE sql AS $$ SELECT data::text FROM es.events UNION ALL SELECT data::text FROM es_read(tenant => '*') $$;
	CREATE FUNCTION work.append_as(t text) RETURNS bigint LANGUAGE sql AS $$ SELECT es_append('s-1', -1, 'T', '{}', tenant => t) $$;)
	. join '', map { qq(
	CREATE FUNCTION work.by_$_() RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER AS \$\$ BEGIN RETURN QUERY SELECT work.as_definer(); END \$\$;
	ALTER FUNCTION work.by_$_() OWNER TO $_;
	CREATE FUNCTION work.append_by_$_(t text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS \$\$ BEGIN RETURN work.append_as(t); END \$\$;
	ALTER FUNCTION work.append_by_$_(text) OWNER TO $_;
	CREATE VIEW work.view_of_$_ AS SELECT * FROM es.events;
	ALTER VIEW work.view_of_$_ OWNER TO $_;
	CREATE VIEW work.call_of_$_ AS SELECT * FROM es_read(tenant => '*');
	ALTER VIEW work.call_of_$_ OWNER TO $_;
	CREATE VIEW work.invoked_of_$_ WITH (security_invoker = true, security_barrier = true) AS SELECT * FROM es.events;
	ALTER VIEW work.invoked_of_$_ OWNER TO $_;
	GRANT SELECT ON work.view_of_$_, work.call_of_$_, work.invoked_of_$_ TO PUBLIC;) } qw(acme reader));
# an unbound caller in a bound owner's function is bound; a bound caller in an unbound owner's is not
kept_ok($_, 'SELECT * FROM work.by_acme()', '00000') for qw(stranger reader beta acme postgres);
kept_ok($_, q(SELECT work.append_by_acme('b')), 'SE007') for qw(stranger reader beta);
gets_ok('acme', q(SELECT count(*) > 0 FROM work.by_reader() AS x WHERE x LIKE '%secret%'), 't', 'SECURITY DEFINER lends what its owner has');
kept_ok('acme', q(SELECT FROM work.by_reader(); TABLE es.events; SELECT * FROM es_read(tenant => '*')), '00000', 'and takes it back');
# a view shows what its owner may see, and never more to somebody who may see nothing himself
kept_ok('stranger', 'TABLE work.view_of_acme');
$node->safe_psql('postgres', 'GRANT SELECT (position) ON es.events TO stranger');
kept_ok('stranger', 'TABLE work.view_of_acme', '00000', 'a view of a bound role, with the right to a column');
$node->safe_psql('postgres', 'REVOKE SELECT (position) ON es.events FROM stranger');
kept_ok('stranger', 'TABLE work.invoked_of_acme', '42501');
kept_ok('stranger', 'TABLE work.invoked_of_reader', '42501');
kept_ok('stranger', 'TABLE work.call_of_acme', '42501');
kept_ok('acme', "TABLE work.$_", '00000') for qw(view_of_acme invoked_of_acme invoked_of_reader call_of_acme call_of_reader view_of_reader);
kept_ok('acme', "COPY (SELECT * FROM work.$_ WHERE work.leak_text(stream)) TO STDOUT", '00000') for qw(view_of_acme invoked_of_reader view_of_reader);

# ------------------------------------------------------------ readers in FROM

# They are a node of the executor's where they stand alone; what looks at their rows
# may be pushed down to it.
for my $reader (q(es_read(tenant => '*')), q(es_load('s-1')), q(es_rehydrate('s-1')), q(es_streams(tenant => '*')), qq(es_event('$id')),
	q(es_load_snapshot('s-1')), 'pg_eventstore_outbox()')
{
	kept_ok('acme', $_, '00000') for "SELECT * FROM $reader AS r WHERE work.leak_text(r::text)", "SELECT r FROM $reader AS r LIMIT 1",
	  "SELECT count(*) FROM generate_series(1, 3) AS n, $reader AS r WHERE work.leak_text(r::text || n)", "SELECT $reader",
	  "EXPLAIN ANALYZE VERBOSE SELECT * FROM $reader AS r WHERE work.leak_text(r::text)",
	  "BEGIN; DECLARE c SCROLL CURSOR FOR SELECT * FROM $reader; FETCH ALL c; FETCH BACKWARD ALL c; FETCH FIRST c; COMMIT";
	kept_ok('stranger', "SELECT * FROM $reader", '42501');
}
kept_ok('acme', q(SELECT l.* FROM (VALUES ('a'), ('b')) AS t(x), LATERAL es_load('s-1', tenant => x) AS l), 'SE007');
kept_ok('acme', q(SELECT l.* FROM (VALUES ('*'), ('b')) AS t(x), LATERAL es_read(tenant => x) AS l), 'SE007');
kept_ok('acme', q(SELECT l.* FROM (VALUES ('a'), ('b')) AS t(x), LATERAL es_rehydrate('s-1', tenant => x) AS l LIMIT 1), '00000');
$node->safe_psql('postgres', q(
	CREATE FUNCTION work.open_read() RETURNS refcursor LANGUAGE plpgsql SECURITY DEFINER AS $$
	DECLARE c refcursor := 'c'; BEGIN OPEN c FOR SELECT * FROM es_read(tenant => '*'); RETURN c; END $$;
	ALTER FUNCTION work.open_read() OWNER TO reader));
kept_ok($_->[0], 'BEGIN; SELECT work.open_read(); FETCH ALL c', $_->[1], "FETCH of a reader's cursor") for [ 'stranger', '42501' ], [ 'acme', '00000' ];
# what a reader has begun with holds to its end
my $fetcher = EsClient->new($node, name => 'fetcher');
$fetcher->run($_) for 'SET ROLE two', 'BEGIN', q(DECLARE c CURSOR FOR SELECT tenant FROM es_read(tenant => '*', backwards => true)), 'FETCH 1 c';
$node->safe_psql('postgres', join ';', map { qq(SELECT es_grant_tenant('two', 'x$_'), es_revoke_tenant('two', 'x$_')) } 1 .. 20);
is(join(' ', sort keys %{ { map { $_->[0] => 1 } @{ $fetcher->run('FETCH ALL c')->{rows} } } }), 'a c', 'bindings may change while a reader reads');
$fetcher->close;

# ------------------------------------------------------------ roles that change within a session

$node->safe_psql('postgres', q(
	CREATE ROLE desk LOGIN;
	GRANT SELECT, INSERT ON es.events TO desk;
	GRANT USAGE ON SCHEMA es TO desk;
	CREATE ROLE boss LOGIN SUPERUSER;));
my $switched = q(SET ROLE acme; EXECUTE sql; EXECUTE called; SELECT count(*) FROM work.cached() AS x;);
($out, $err) = run_as('boss', q(
	CREATE FUNCTION work.cached() RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY SELECT data::text FROM es.events; END $$;
	PREPARE sql AS SELECT count(*) FROM es.events WHERE tenant = 'b';
	PREPARE called AS SELECT count(*) FROM es_read(tenant => '*') WHERE tenant = 'b';
	SELECT 'boss'; EXECUTE sql; EXECUTE called; EXECUTE sql; EXECUTE sql; EXECUTE sql; EXECUTE sql; EXECUTE sql; SELECT FROM work.cached();
	) . "SELECT 'acme'; $switched RESET ROLE; SELECT 'boss'; EXECUTE sql; EXECUTE called; SELECT 'acme'; $switched"
	. q(RESET ROLE; SELECT 'plans'; DISCARD PLANS; SET ROLE acme; EXECUTE sql; EXECUTE called;
	RESET ROLE; SET plan_cache_mode = force_generic_plan; EXECUTE sql; SET ROLE acme; EXECUTE sql;
	SELECT 'beta'; RESET ROLE; SET ROLE beta; EXECUTE sql; EXECUTE called;
	SELECT 'savepoint'; RESET ROLE; SET ROLE acme; BEGIN; SAVEPOINT s; SET LOCAL ROLE boss; EXECUTE sql; ROLLBACK TO s; EXECUTE sql; SELECT 1 / 0; ROLLBACK; EXECUTE sql;
	SELECT 'local'; BEGIN; SET LOCAL ROLE boss; EXECUTE called; COMMIT; EXECUTE called));
my $n = $node->safe_psql('postgres', q(SELECT count(*) FROM es.events WHERE tenant = 'b'));
my $cached = $node->safe_psql('postgres', q(SELECT count(*) FROM es.events WHERE tenant = 'a'));
is( join(' ', split(/\s+/, $out)),
	join(' ', 'boss', ($n) x 7, ('') x 0, 'acme 0 0', $cached, 'boss', $n, $n, 'acme 0 0', $cached, 'plans 0 0', $n, 0, 'beta', $n, $n, 'savepoint', $n, 0, 0, 'local', $n, 0),
	'nothing is remembered: prepared statements, plans and PL/pgSQL follow the role');
# A cursor that a bound role has opened shows no more to who may see nothing himself.
$node->safe_psql('postgres', q(
	CREATE FUNCTION work.open() RETURNS refcursor LANGUAGE plpgsql SECURITY DEFINER AS $$
	DECLARE c refcursor := 'c'; BEGIN OPEN c FOR SELECT data FROM es.events; RETURN c; END $$;
	ALTER FUNCTION work.open() OWNER TO acme));
kept_ok('stranger', 'BEGIN; SELECT work.open(); FETCH ALL c; COMMIT');

# ------------------------------------------------------------ membership

$node->safe_psql('postgres', q(
	CREATE ROLE member LOGIN IN ROLE acme;
	CREATE ROLE aloof LOGIN NOINHERIT IN ROLE acme;
	CREATE ROLE team NOINHERIT IN ROLE acme;
	CREATE ROLE squad NOINHERIT IN ROLE team;
	CREATE ROLE deep LOGIN NOINHERIT IN ROLE squad;
	CREATE ROLE union_of LOGIN IN ROLE acme, beta;
	CREATE ROLE bypass LOGIN BYPASSRLS IN ROLE acme;
	CREATE ROLE deputy LOGIN IN ROLE acme;
	CREATE ROLE renamed LOGIN;
	CREATE ROLE again LOGIN;)
	. join '', map { "GRANT SELECT, INSERT ON es.events TO $_; GRANT USAGE ON SCHEMA es TO $_; GRANT SELECT ON es.log TO $_;" }
	qw(member aloof deep union_of bypass deputy renamed again));
for my $role (qw(member aloof deep))
{
	gets_ok($role, 'SELECT DISTINCT tenant FROM es.events', 'a', 'a member of a bound role is bound, whether it inherits or not');
	gets_ok($role, q(SELECT DISTINCT tenant FROM es_read(tenant => '*')), 'a');
	kept_ok($role, q(SELECT * FROM es_load('s-1', tenant => 'b')), 'SE007');
	kept_ok($role, q(SELECT es_append('s-1', -1, 'T', '{}', tenant => 'b')), 'SE007');
}
gets_ok('union_of', 'SELECT DISTINCT tenant FROM es.events ORDER BY 1', "a\nb", 'of two bound roles, it may use the tenants of both');
kept_ok('union_of', q(SELECT es_append('s-1', -1, 'T', '{}')), 'SE007');
gets_ok('bypass', 'SELECT count(DISTINCT tenant) FROM es.events', '5', 'BYPASSRLS bypasses');
gets_ok('bypass', q(SELECT count(DISTINCT tenant) FROM es_read(tenant => '*')), '5', '... in the functions, too');
$node->safe_psql('postgres', q(CREATE VIEW work.view_of_aloof AS SELECT * FROM es.events; ALTER VIEW work.view_of_aloof OWNER TO aloof; GRANT SELECT ON work.view_of_aloof TO PUBLIC));
kept_ok('stranger', 'TABLE work.view_of_aloof');
$node->safe_psql('postgres', q(SELECT es_grant_tenant('renamed', 'a'), es_grant_tenant('again', 'a'); ALTER ROLE renamed RENAME TO alias));
gets_ok('alias', 'SELECT DISTINCT tenant FROM es.events', 'a', 'a role that is renamed stays bound');
kept_ok('alias', q(SELECT es_append('s-1', -1, 'T', '{}', tenant => 'b')), 'SE007');
$node->safe_psql('postgres', q(DROP OWNED BY again; DROP ROLE again; CREATE ROLE again LOGIN; GRANT SELECT, INSERT ON es.events TO again; GRANT USAGE ON SCHEMA es TO again));
gets_ok('again', 'SELECT DISTINCT tenant FROM es.events', 'a', 'and so is one that is made again by that name');
$node->safe_psql('postgres', q(CREATE ROLE renamed LOGIN; GRANT SELECT ON es.events TO renamed; GRANT USAGE ON SCHEMA es TO renamed));
gets_ok('renamed', 'SELECT DISTINCT tenant FROM es.events', 'a', 'and one that takes the name');
# Two that exchange names keep what each had, whatever is bound next.
$node->safe_psql('postgres', q(CREATE ROLE left_one; CREATE ROLE right_one; CREATE ROLE next_one;
	SELECT es_grant_tenant('left_one', 'a'), es_grant_tenant('right_one', 'b');
	ALTER ROLE left_one RENAME TO middle; ALTER ROLE right_one RENAME TO left_one; ALTER ROLE middle RENAME TO right_one;));
is($node->safe_psql('postgres', q(SELECT es_grant_tenant('next_one', 'a');
	SELECT string_agg(role || ' ' || (SELECT string_agg(t, ',' ORDER BY t) FROM unnest(tenants) t), '; ' ORDER BY role COLLATE "C")
	FROM es.bindings WHERE role IN ('left_one', 'right_one');
	SELECT count(es_revoke_tenant(r, '*')) FROM unnest('{left_one,right_one,next_one}'::text[]) r;)),
	"t\nleft_one a,b; right_one a,b\n3", 'roles that exchange names lose nothing');

# ------------------------------------------------------------ bindings that change

kept_ok('acme', $_, '42501') for q(SELECT es_grant_tenant('acme', 'b')), q(SELECT es_revoke_tenant('acme', 'a')), q(SELECT es_revoke_tenant('acme', '*')),
  'DELETE FROM es.bindings', q(UPDATE es.bindings SET tenants = '{b}');
kept_ok('acme', $_) for 'ALTER TABLE es.events DISABLE ROW LEVEL SECURITY', 'DROP POLICY es_tenant ON es.events', 'ALTER POLICY es_tenant ON es.events USING (true)';
# one who may write all tables may not write who is bound
$node->safe_psql('postgres', 'GRANT pg_write_all_data, pg_read_all_data TO acme');
kept_ok('acme', $_) for q(DELETE FROM es.bindings), q(UPDATE es.bindings SET tenants = '{a,b}'), q(INSERT INTO es.bindings SELECT 'acme', '{b}', 0, 0, now()),
  q(UPDATE es.channels SET options = '{"tenant": "b"}'), q(DELETE FROM es.channels WHERE name = 'es_of_b'), q(DELETE FROM es.snapshots WHERE tenant = 'b'),
  q(INSERT INTO es.channels VALUES ('es_x', '{"kind": "event", "public": true, "tenant": "b"}', 0, 'acme', now()));
gets_ok('acme', 'SELECT DISTINCT tenant FROM es.events', 'a', 'pg_write_all_data frees nobody');
is($node->safe_psql('postgres', q(SELECT tenants FROM es.bindings WHERE role = 'acme')), '{a}', 'the binding stands');
$node->safe_psql('postgres', 'REVOKE pg_write_all_data, pg_read_all_data FROM acme');
is(all_of('b'), $b_has, 'and so do the channels and snapshots of others');

$node->safe_psql('postgres', q(SELECT es_revoke_tenant('again', 'a')));
gets_ok('again', 'SELECT count(*) FROM es.events', '0', 'whose last tenant is taken away is bound to none');
kept_ok('again', $_, 'SE007') for q(SELECT * FROM es_load('s-1')), q(SELECT * FROM es_load('s-1', tenant => '')), q(SELECT es_append('s-1', -1, 'T', '{}')),
  q(SELECT es_append('s-1', -1, 'T', '{}', tenant => 'a')), q(SELECT es_create_channel('es_x'));
gets_ok('again', q(SELECT count(*) FROM es_read(tenant => '*')), '0');
gets_ok('again', q(SELECT count(*) FROM es_streams(tenant => '*')), '0');
gets_ok('again', q(SELECT es_head()), '0');
$node->safe_psql('postgres', q(SELECT es_revoke_tenant('again', '*')));
gets_ok('again', 'SELECT count(DISTINCT tenant) FROM es.events', '5', 'until it is released');

# In one session, from one statement to the next, rolled back and not.
($out, $err) = run_as('boss', q(
	BEGIN; SET LOCAL ROLE desk; SELECT 'before', count(DISTINCT tenant) FROM es.events; RESET ROLE; SELECT es_grant_tenant('desk', 'a');
	SET LOCAL ROLE desk; SELECT 'bound', count(DISTINCT tenant) FROM es.events; SELECT count(DISTINCT tenant) FROM es_read(tenant => '*'); RESET ROLE;
	SAVEPOINT s; SELECT es_grant_tenant('desk', 'c'); SET LOCAL ROLE desk; SELECT 'two', count(DISTINCT tenant) FROM es.events; ROLLBACK TO s;
	SET LOCAL ROLE desk; SELECT 'one', count(DISTINCT tenant) FROM es.events; SELECT count(DISTINCT tenant) FROM es_read(tenant => '*'); ROLLBACK;
	SET ROLE desk; SELECT 'none', count(DISTINCT tenant) FROM es.events; SELECT count(DISTINCT tenant) FROM es_read(tenant => '*')));
is(join(' ', split /\s+/, $out), 'before|5 t bound|1 1 t two|2 one|1 1 none|5 5', 'a binding holds at once, and is rolled back with its transaction') or diag $err;

# A session that is open notices at its next statement, in a transaction too.
my $open = EsClient->new($node, name => 'open');
$open->run('SET ROLE desk');
is($open->value('SELECT count(DISTINCT tenant) FROM es.events'), 5, 'not bound yet');
$open->run('BEGIN');
is($open->run(q(SELECT es_append('s-9', -1, 'T', '{}', tenant => 'd')))->{state}, '00000', 'it appends wherever it likes');
$node->safe_psql('postgres', q(SELECT es_grant_tenant('desk', 'a')));
is($open->run('SAVEPOINT s')->{state}, '00000', 'meanwhile it is bound');
is($open->run(q(SELECT es_append('s-9', -1, 'T', '{}', tenant => 'd')))->{state}, 'SE007', 'and its next call is refused');
$open->run('ROLLBACK TO s');
is($open->run(q(SELECT es_append('s-9', -1, 'T', '{}', tenant => 'a')))->{state}, '00000', 'but not for its own tenant');
is($open->value('SELECT count(DISTINCT tenant) FROM es.events'), 1, 'plain SQL too');
$open->run('ROLLBACK');

# What the role is, and what it is a member of, counts as it is now.
my $clerk = EsClient->new($node, name => 'clerk');
$node->safe_psql('postgres', 'CREATE ROLE clerk; GRANT SELECT, INSERT ON es.events TO clerk; GRANT USAGE ON SCHEMA es TO clerk; CREATE ROLE among IN ROLE acme');
$clerk->run('SET ROLE clerk');
sub clerk_sees
{
	my ($wanted, $name) = @_;
	my $state = $wanted == 1 ? 'SE007' : '00000';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($clerk->run(q(SELECT * FROM es_load('s-1', tenant => 'b')))->{state}, $state, "$name: by a function");
	is($clerk->value(q(SELECT count(DISTINCT tenant) FROM es.events)), $wanted, '... by plain SQL');
	is($clerk->value(q(SELECT count(DISTINCT tenant) FROM es_read(tenant => '*'))), $wanted, '... in the log');
	return;
}
clerk_sees(5, 'a role that is free');
for my $in_transaction (0, 1)
{
	$clerk->run('BEGIN') if $in_transaction;
	for ([ 'GRANT acme TO clerk', 1 ], [ 'REVOKE acme FROM clerk', 5 ], [ 'GRANT among TO clerk', 1 ], [ 'ALTER ROLE clerk BYPASSRLS', 5 ],
		[ 'ALTER ROLE clerk NOBYPASSRLS', 1 ], [ 'ALTER ROLE clerk SUPERUSER', 5 ], [ 'ALTER ROLE clerk NOSUPERUSER', 1 ],
		[ 'REVOKE acme FROM among', 5 ], [ 'GRANT acme TO among', 1 ], [ 'REVOKE among FROM clerk', 5 ],
		[ q(SELECT es_grant_tenant('pg_database_owner', 'a')), 5 ], [ 'ALTER DATABASE postgres OWNER TO clerk', 1 ],
		[ 'ALTER DATABASE postgres OWNER TO postgres', 5 ], [ q(SELECT es_revoke_tenant('pg_database_owner', '*')), 5 ])
	{
		my ($sql, $wanted) = @$_;
		$node->safe_psql('postgres', $sql);
		$clerk->run('SAVEPOINT s') if $in_transaction;
		clerk_sees($wanted, $sql) if !$in_transaction;
		if ($in_transaction)
		{
			is($clerk->run(q(SELECT * FROM es_load('s-1', tenant => 'b')))->{state}, $wanted == 1 ? 'SE007' : '00000', "$sql, in a transaction that is open");
			$clerk->run('ROLLBACK TO s');
		}
	}
	$clerk->run('ROLLBACK') if $in_transaction;
}
$clerk->close;
($out, $err) = run_as('boss', q(
	SET ROLE clerk; SELECT count(DISTINCT tenant) FROM es_read(tenant => '*'); RESET ROLE;
	BEGIN; GRANT acme TO clerk; SET LOCAL ROLE clerk; SELECT count(DISTINCT tenant) FROM es_read(tenant => '*'); ROLLBACK;
	SET ROLE clerk; SELECT count(DISTINCT tenant) FROM es_read(tenant => '*'); RESET ROLE;
	BEGIN; SAVEPOINT s; ALTER ROLE clerk SUPERUSER; GRANT acme TO clerk; ROLLBACK TO s; SET LOCAL ROLE clerk; SELECT count(DISTINCT tenant) FROM es.events; ROLLBACK;
	SET ROLE acme; SELECT count(DISTINCT tenant) FROM es_read(tenant => '*'); RESET ROLE; SET ROLE clerk; SELECT count(DISTINCT tenant) FROM es_read(tenant => '*')));
is(join(' ', split /\s+/, $out), '5 1 5 5 1 5', 'and is rolled back') or diag $err;

# One that waits for a stream's lock appends where it was to, whatever is bound meanwhile.
my $holder = EsClient->new($node, name => 'holder');
my $waiter = EsClient->new($node, name => 'waiter');
$holder->run($_) for 'BEGIN', q(SELECT es_append('held-1', -1, 'T', '{}', tenant => 'a'));
$waiter->run('SET ROLE acme');
$waiter->tell(q(SELECT es_append('held-1', -1, 'Waited', '{}')));
es_poll_ok($node, 'SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND pid = ' . $waiter->pid, 'an append waits');
for my $i (1 .. 20)
{
	$node->safe_psql('postgres', qq(CREATE ROLE extra$i; SELECT es_grant_tenant('extra$i', repeat('z', $i)), es_grant_tenant('extra$i', '$i')));
}
$node->safe_psql('postgres', q(SELECT es_grant_tenant('acme', 'zz'), es_revoke_tenant('acme', 'zz')));
$holder->run('COMMIT');
is($waiter->answer->{state}, '00000', 'and goes on');
is($node->safe_psql('postgres', q(SELECT tenant, stream, version FROM es.events WHERE type = 'Waited')), 'a|held-1|2', 'it is in its tenant');
$_->close for $holder, $waiter, $open;
$node->safe_psql('postgres', "SELECT es_revoke_tenant('extra$_', '*')") for 1 .. 20;

# ------------------------------------------------------------ triggers

$node->safe_psql('postgres', q(
	CREATE TABLE work.seen (who text, tenants text);
	GRANT INSERT ON work.seen TO PUBLIC;
	CREATE FUNCTION work.look() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO work.seen SELECT current_user, string_agg(DISTINCT tenant, ',') FROM es.events;
		IF NEW.type = 'Cross' THEN
			PERFORM es_append('s-1', -1, 'Crossed', '{}', tenant => 'b');
		END IF;
		RETURN NULL;
	END $$;
	CREATE TRIGGER look AFTER INSERT ON es.events FOR EACH ROW EXECUTE FUNCTION work.look()));
gets_ok('acme', q(SELECT es_append('t-1', 0, 'T', '{}')), '1');
is($node->safe_psql('postgres', 'SELECT * FROM work.seen'), 'acme|a', 'a trigger runs as who appends, and sees no more');
kept_ok('acme', q(SELECT es_append('t-1', 1, 'Cross', '{}')), 'SE007', 'a trigger that appends to another tenant');
$node->safe_psql('postgres', 'DROP TRIGGER look ON es.events');

# ------------------------------------------------------------ statistics

for my $view (split /\n/, $node->safe_psql('postgres', q(SELECT relname FROM pg_class WHERE relname LIKE 'es\_stat\_%' AND relkind = 'v')))
{
	kept_ok('watcher', "TABLE $view", 'SE007');
	kept_ok('acme', "TABLE $view", '42501');
}
kept_ok('watcher', 'SELECT * FROM es_status()', 'SE007');
gets_ok('acme', q(SELECT es_head() = (SELECT max(position) FROM es.events)), 't', 'es_head() is the own newest event');
gets_ok('acme', q(SELECT es_horizon() > 0 AND es_publish() > 0 AND es_wait(1) > 0), 't', 'the horizon is everybody\'s');
kept_ok('acme', q(SELECT last_value FROM es.events_position_seq), '42501');
gets_ok('acme', q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), '0');

# ------------------------------------------------------------ dump and restore

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'the store is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'and restored (O1)');
($out, $err) = run_as('acme', q(SELECT DISTINCT tenant FROM es.events; SELECT DISTINCT tenant FROM es_read(tenant => '*'); SELECT * FROM es_load('s-1', tenant => 'b')), 'restored');
is($out . ' ' . state_of($err), "a\na SE007", 'the roles are bound in the copy, too');

# ------------------------------------------------------------ nothing has changed

is(all_of('b'), $b_has, 'at the end b has what it had');
is(all_of(''), $unnamed_has, 'and so has the tenant without a name');

done_testing();
