# P2: what a consumer has seen survives a crash of the server, also where its appender
# ran with synchronous_commit = off; positions below the horizon are never given
# again, though those who took them have rolled back; and a prepared transaction
# holds the horizon over a restart (P1).  TRAPS: asynchronous ticks, publishers
# without memory.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use EsClient;
use EsPublish;
use EsTest;

# Nothing flushes what nobody has to flush.
my $conf = "restart_after_crash = on\nautovacuum = off\ncheckpoint_timeout = 1h\nbgwriter_lru_maxpages = 0\n";

sub value
{
	my ($node, $sql) = @_;
	return $node->safe_psql('postgres', $sql) =~ s/.*\n//sr;
}

# Stops the process that writes WAL in the background, while it waits for work: else
# it would keep locks that others need to write WAL.  The next crash ends it.
sub stop_walwriter
{
	my ($node) = @_;
	my $walwriter = q(FROM pg_stat_activity WHERE backend_type = 'walwriter');
	my $pid = value($node, "SELECT pid $walwriter");

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		kill 'STOP', $pid;
		usleep(1000) until slurp_file("/proc/$pid/stat") =~ /^\d+ \(.*\) T /s;
		return if value($node, "SELECT wait_event $walwriter AND pid = $pid") eq 'WalWriterMain';
		kill 'CONT', $pid;
		usleep(100_000);
	}
	die 'the process that writes WAL is never at rest';
}

# Whatever a consumer has seen before the crash it sees after it, and the next
# position is above it.  A tick of what its appenders have flushed may be lost itself,
# and comes again; $commit is how they commit.
sub survives_ok
{
	my ($node, $name, $publish, $commit) = @_;
	my $async = 'SET synchronous_commit = ' . ($commit || 'off') . ';';
	my $log = 'SELECT position, stream, version, id, recorded_at, data FROM es_read()';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	stop_walwriter($node);
	value($node, qq($async SELECT es_append('kept-1', -1, 'T', '{"n": 1}')));
	my $head = value($node, 'SELECT es_head()');
	$publish->($head);
	my $seen = $node->safe_psql('postgres', $log);
	like($seen, qr/^$head\|/m, "$name: a consumer sees the event");
	es_crash($node);
	$publish->($head) if $commit;
	is($node->safe_psql('postgres', "$log WHERE position <= $head"), $seen, "P2: $name: after a crash it sees the same");
	cmp_ok(value($node, 'SELECT es_horizon()'), '>=', $head, "P2: $name: the horizon has not fallen back");
	is((es_error_detail($node, "SELECT * FROM es_read($head)"))[0], '00000', "P6: $name: its cursor goes on");

	# positions that were taken and given back by nobody
	stop_walwriter($node);
	value($node, qq($async BEGIN; SELECT FROM es_append_batch('gone-1', 0, array_fill('T'::text, '{60}'), array_fill('1'::jsonb, '{60}')); ROLLBACK));
	my $given = value($node, 'SELECT last_value FROM es.events_position_seq');
	$publish->($given);
	is(value($node, 'SELECT es_horizon()'), $given, "$name: the horizon has passed positions that were rolled back");
	es_crash($node);
	value($node, q(SELECT es_append('next-1', -1, 'T', '{}')));
	cmp_ok(value($node, q(SELECT es_position('next-1'))), '>', $given, "P1: $name: after a crash the next event is above them");
	$publish->(value($node, 'SELECT es_head()'));
	is(value($node, "SELECT string_agg(stream, ' ') FROM es_read($given)"), 'next-1', "P1: $name: a consumer that was there reads it");
	return;
}

my $preloaded = es_preloaded('preloaded', conf => $conf);
my $plain = es_server('plain', conf => $conf);

# by es_publish(), though the session would not wait for the disk
survives_ok($plain, 'es_publish()', sub { value($plain, 'SET synchronous_commit = off; SELECT es_publish()') });
survives_ok($plain, 'es_publish() in a transaction', sub { value($plain, 'BEGIN; SET LOCAL synchronous_commit = off; SELECT es_publish(); COMMIT') });
survives_ok($plain, 'es_publish() in a savepoint',
	sub { value($plain, 'BEGIN; SAVEPOINT s; SELECT es_publish(); RELEASE s; SET LOCAL synchronous_commit = off; COMMIT') });

# by a worker, in a database that would not wait for the disk
foreach my $node ($plain, $preloaded)
{
	value($node, qq(ALTER DATABASE postgres SET $_)) foreach ('synchronous_commit = off', q(default_transaction_isolation = 'repeatable read'));
}
my $wait = sub {
	my ($node, $target) = @_;
	value($node, "SET default_transaction_isolation = 'read committed'; SELECT es_wait($target, '60s')");
	return;
};
survives_ok($plain, 'a worker that was started by hand', sub { value($plain, 'SELECT es_start_worker()'); $wait->($plain, @_) });
survives_ok($preloaded, 'a worker', sub { $wait->($preloaded, @_) });
survives_ok($preloaded, 'a worker, again', sub { $wait->($preloaded, @_) });
survives_ok($preloaded, 'a worker, and appenders that wait', sub { $wait->($preloaded, @_) }, 'on');

# An appender that does not wait for the disk among such as do: it has begun to end
# before a tick, and has left after it.
stop_walwriter($preloaded);
my @ends = map { EsClient->new($preloaded) } 1 .. 20;
foreach my $i (0 .. $#ends)
{
	$ends[$i]->run('SET synchronous_commit = ' . ($i % 5 == 4 ? 'off' : 'on'));
	$ends[$i]->run('BEGIN');
	$ends[$i]->run("SELECT es_append('ends-$i', 0, 'T', '{}')");
}
$_->tell('COMMIT') foreach @ends;
$_->answer foreach @ends;
my $given = value($preloaded, 'SELECT es_head()');
$wait->($preloaded, $given);
es_crash($preloaded);
is(value($preloaded, q(SELECT count(*) FROM es.events WHERE stream LIKE 'ends-%')), '20',
	'P2: after a crash every published event is there, however its appender has committed');
$_->close foreach @ends;
value($_, 'ALTER DATABASE postgres RESET ALL') foreach $plain, $preloaded;

# Where the transaction that empties the store writes no WAL of the sequence
my $minimal = es_server('minimal', conf => "${conf}wal_level = minimal\nmax_wal_senders = 0\n");
value($minimal, 'ALTER DATABASE postgres SET pg_eventstore.allow_reset = on');
value($minimal, q(BEGIN; SELECT es_reset(); SELECT es_append('first-1', 0, 'T', '{}'); COMMIT));
survives_ok($minimal, 'wal_level = minimal', sub { value($minimal, 'SELECT es_publish()') });
$minimal->stop;

# a crash in the middle of everything loses nothing that was seen
for my $round (1 .. 5)
{
	my $writer = EsClient->new($preloaded, name => 'writer');

	$writer->tell(q(SET synchronous_commit = off; DO $$ BEGIN
		FOR i IN 1 .. 1000000 LOOP
			PERFORM es_append('load-' || i % 7, -1, 'T', to_jsonb(i));
			IF i % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
		END LOOP; END $$));
	my $before = value($preloaded, 'SELECT es_horizon()');
	es_poll_in($preloaded, 'postgres', "SELECT es_horizon() > $before + 300", "round $round: the load runs");
	my $seen = $preloaded->safe_psql('postgres', "SELECT position, stream, version FROM es_read($before, 100000)");
	my ($last) = $seen =~ /(\d+)\|\S+$/;
	es_crash($preloaded);
	$writer->close;
	is($preloaded->safe_psql('postgres', "SELECT position, stream, version FROM es_read($before, 100000) WHERE position <= $last"), $seen,
		"P2: round $round: what was read before a crash is read after it");
	es_publishes_ok($preloaded, "round $round: publishing goes on");
}
es_oracle_ok($preloaded, 'after the crashes');
$plain->stop;

# a prepared transaction holds the horizon, over restarts of any kind
my $hold = q(BEGIN; SELECT es_append('%s', 0, 'T', '{}'); PREPARE TRANSACTION '%s');
value($preloaded, sprintf $hold, 'one-1', 'one');
value($preloaded, q(SELECT es_append('between-1', 0, 'T', '{}')));
value($preloaded, sprintf $hold, 'two-1', 'two');
value($preloaded, q(SELECT es_append('behind-1', 0, 'T', '{}')));
my $horizon = value($preloaded, 'SELECT es_publish()');
my $head = value($preloaded, 'SELECT es_head()');
is($horizon, $head - 4, 'P1: a prepared transaction holds the horizon');
my @restarts = (
	[ 'a restart' => sub { $preloaded->restart } ],
	[ 'an immediate stop' => sub { $preloaded->stop('immediate'); $preloaded->start } ],
	[ 'a crash' => sub { es_crash($preloaded) } ]);
foreach my $restart (@restarts)
{
	my ($name, $do) = @$restart;

	$do->();
	es_has_publisher_ok($preloaded, 'postgres', "after $name there is a publisher");
	value($preloaded, q(SELECT es_append('live-2', -1, 'T', '{}')));
	is(value($preloaded, 'SELECT es_publish()'), $horizon, "P1: after $name it holds it still");
	is(value($preloaded, q(SELECT count(*) FROM es_status() WHERE topic = 'holder' AND status = 'warning' AND detail ~ '"(one|two)"')), '2',
		'es_status() names both: which came first is not known any more');
}
value($preloaded, q(ROLLBACK PREPARED 'two'));
is(value($preloaded, 'SELECT es_publish()'), $horizon, 'one that was prepared later makes no difference');
value($preloaded, q(COMMIT PREPARED 'one'));
is(value($preloaded, "SELECT es_wait(es_head(), '60s') = es_head()"), 't', 'P1: at its COMMIT PREPARED the horizon jumps');
is(value($preloaded, "SELECT string_agg(stream, ' ' ORDER BY position) FROM es_read($horizon)"), 'one-1 between-1 behind-1 live-2 live-2 live-2',
	'P1: and all is read in order');
es_oracle_ok($preloaded, 'at the end');
$preloaded->stop;
done_testing();
