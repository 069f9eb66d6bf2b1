# What needs a strong lock on the store's tables waits for open transactions without
# keeping others waiting (P4): the first es_grant_tenant() turns row-level security on,
# es_init() moves a sequence that is behind.

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

my $node = es_preloaded('strong_locks', conf => "deadlock_timeout = '50ms'\n");
my %sessions;

sub session
{
	my ($name) = @_;
	return $sessions{$name} ||= EsClient->new($node, name => $name);
}

sub is_waiting_ok
{
	my ($mode, $message) = @_;
	es_poll_in($node, 'postgres',
		"SELECT count(*) > 0 FROM pg_locks WHERE relation = 'es.events'::regclass AND mode = '$mode' AND NOT granted");
	pass($message);
	return;
}

$node->safe_psql('postgres', q(
	CREATE ROLE es_acme; CREATE ROLE es_globex;
	SELECT es_append('a-1', 0, 'T', '1')));

# a session that has read is idle in its transaction
session('reader')->run($_) for 'BEGIN', 'SELECT count(*) FROM es.events';
session('grant')->tell(q(SELECT es_grant_tenant('es_acme', 'acme')));
is_waiting_ok('AccessExclusiveLock', 'the first binding waits for a reader');
session('appender')->run(q(SET lock_timeout = '20s'));    # rather than hang
for my $version (2 .. 4)
{
	is(session('appender')->value(qq(SELECT es_append('a-1', $version - 1, 'T', '1'))), $version, 'an append does not wait for it');
	is(session('appender')->value(q(SELECT count(*) FROM es_load('a-1'))), $version, 'nor does a read');
}
is($node->safe_psql('postgres', q(SELECT es_wait(es_head(), '60s') = es_head())), 't', 'nor does the publisher');
is(session('reader')->value('SELECT count(*) FROM es.events'), '4', 'the reader is still in its transaction');

# it ends by a cancel, by lock_timeout, and leaves nothing
$node->safe_psql('postgres', 'SELECT pg_cancel_backend(' . session('grant')->pid . ')');
is(session('grant')->answer->{state}, '57014', 'a cancel ends the wait');
session('grant')->run(q(SET lock_timeout = '60ms'));
is(session('grant')->run(q(SELECT es_grant_tenant('es_acme', 'acme')))->{state}, '55P03', "the session's own lock_timeout bounds it");
is($node->safe_psql('postgres', q(SELECT count(*) FROM es.bindings)), '0', 'nothing is bound');
is($node->safe_psql('postgres', q(SELECT relrowsecurity FROM pg_class WHERE oid = 'es.events'::regclass)), 'f', 'and row-level security is off');

# its end lets the call through
session('grant')->run(q(SET lock_timeout = 0));
session('grant')->tell(q(SELECT es_grant_tenant('es_acme', 'acme')));
is_waiting_ok('AccessExclusiveLock', 'it waits again');
session('reader')->run('COMMIT');
is(session('grant')->answer->{rows}[0][0], 't', 'the reader ends, the role is bound');

# two that wait for each other: one is told, the other goes on
$node->safe_psql('postgres', q(
	SELECT es_revoke_tenant('es_acme', '*');
	SET pg_eventstore.allow_maintenance = on;
	ALTER TABLE es.events DISABLE ROW LEVEL SECURITY));
session($_)->run('BEGIN'), session($_)->run('SELECT count(*) FROM es.events') for qw(reader grant);
session('reader')->tell(q(SELECT es_grant_tenant('es_acme', 'acme')));
is_waiting_ok('AccessExclusiveLock', 'the first of two waits');
session('grant')->tell(q(SELECT es_grant_tenant('es_globex', 'globex')));
my %states = map { $_ => session($_)->answer->{state} } qw(reader grant);
session($_)->run('COMMIT') for qw(reader grant);
is(join(' ', sort values %states), '00000 40P01', 'one of them is told that they deadlock, the other has its answer');

# a sequence that is behind is moved in the same way
$node->safe_psql('postgres', q(SELECT setval('es.events_position_seq', 1)));
session('reader')->run($_) for 'BEGIN', 'LOCK TABLE es.events IN ROW EXCLUSIVE MODE';
session('grant')->tell('SELECT es_init()');
is_waiting_ok('ShareRowExclusiveLock', 'es_init() waits for a transaction that may append');
session('appender')->run($_) for 'BEGIN', 'LOCK TABLE es.events IN ROW EXCLUSIVE MODE';
is(session('appender')->run('COMMIT')->{state}, '00000', 'another that takes the lock of an append does not wait for it');
session('reader')->run('COMMIT');
like(session('grant')->answer->{rows}[0][0], qr/^repaired/, 'and mends the sequence');
is(session('appender')->value(q(SELECT es_append('a-1', 4, 'T', '1'))), '5', 'appends go on');
$_->close for values %sessions;
$node->stop;
done_testing();
