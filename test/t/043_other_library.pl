# Libraries of two versions in one server (O4 of the trial): one that meets the shared memory of
# the other says so in one error, attaches to nothing, and stops nobody (P2); a session goes on
# with the library that it has loaded, and es_status() answers under it (O5 of the trial).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsClient;
use EsPublish;
use EsTest;

my $before = $ENV{ES_BEFORE} || '';

# The directories of an installation, as its pg_config tells.
sub dirs
{
	my ($config) = @_;
	my %dirs;

	foreach my $kind (qw(bindir pkglibdir sharedir))
	{
		($dirs{$kind}) = run_command([ $config, "--$kind" ]);
	}
	return \%dirs;
}

# The same directories after their root was copied to another place.
sub moved
{
	my ($dirs, $to) = @_;
	my ($root) = "$dirs->{bindir}\n$dirs->{pkglibdir}\n$dirs->{sharedir}" =~ m{\A(/.*)/.*\n\1/.*\n\1/};

	system('cp', '-a', $root, $to) == 0 or die "cannot copy $root";
	return { map { $_ => $to . substr($dirs->{$_}, length $root) } keys %$dirs };
}

my $new = dirs('pg_config');
my $base = PostgreSQL::Test::Utils::tempdir();
# an installation of our own, whose extension is now the one, now the other
my $own = moved($new, "$base/pg");

# Puts a library in the place of the one that is there, as an installation does: sessions
# that have loaded that one keep it.
sub put_library
{
	my ($file) = @_;

	copy($file, "$own->{pkglibdir}/next") or die "cannot copy $file: $!";
	chmod 0755, "$own->{pkglibdir}/next";
	rename("$own->{pkglibdir}/next", "$own->{pkglibdir}/pg_eventstore.so") or die "cannot rename: $!";
	return;
}

sub install
{
	my ($from) = @_;

	copy($_, "$own->{sharedir}/extension/") or die "cannot copy $_: $!" foreach glob("$from->{sharedir}/extension/pg_eventstore*");
	put_library("$from->{pkglibdir}/pg_eventstore.so");
	return;
}

my $node = es_server('libraries', new => { install_path => $own->{bindir} =~ s{/bin$}{}r });

# A session of its own, which loads what is installed now.
sub session
{
	my $session = EsClient->new($node);

	$session->value('SELECT es_category(\'a-1\')');
	return $session;
}

my $mismatch = "pg_eventstore's shared memory was made by another version of the library";

# The one error, with the way out.
sub mismatch_ok
{
	my ($sql, $name) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like($err, qr/ERROR:  55000: \Q$mismatch\E\nDETAIL:  .*\nHINT:  Restart the server\./, $name);
	return;
}

sub status
{
	my ($session) = @_;
	return join "\n", map { join '|', @$_ } @{ $session->run('SELECT topic, status, hint FROM es_status()')->{rows} };
}

# A server with another version of the extension, and its functions.
sub begin_with
{
	my ($from) = @_;

	unlink glob "$own->{sharedir}/extension/pg_eventstore*";
	install($from);
	$node->restart;
	$node->safe_psql('postgres', 'DROP EXTENSION pg_eventstore CASCADE; CREATE EXTENSION pg_eventstore; SELECT es_init()');
	return;
}

my $append = q(SELECT es_append('live-1', -1, 'T', '{}') > 0);
my $version = q(SELECT extversion FROM pg_extension WHERE extname = 'pg_eventstore');
my $memories = q(SELECT count(*) FROM pg_shmem_allocations WHERE name ~ 'eventstore');

# two libraries whose memory is of one size, and not of one layout; and two of other sizes
my $tree = "$base/tree";
system('cp', '-a', "$FindBin::RealBin/../..", $tree) == 0 or die 'cannot copy the source';
my $present = "$new->{pkglibdir}/pg_eventstore.so";

# Builds a library with another number for a name in shared.c.
sub build
{
	my ($define) = @_;
	my $file = "$tree/src/shared.c";
	my $source = slurp_file("$FindBin::RealBin/../../src/shared.c");

	ok($source =~ s/^#define $define (\s*)(\d+)$/"#define $define $1" . ($2 + 1)/me, "a library with another $define");
	unlink $file;
	append_to_file($file, $source);
	run_command([ 'make', '-C', $tree, "PG_CONFIG=$new->{bindir}/pg_config", 'with_llvm=no', 'pg_eventstore.so' ]);
	copy("$tree/pg_eventstore.so", "$base/$define.so") or die "cannot copy the library: $!";
	return "$base/$define.so";
}

my ($elder, $younger);
my ($layout, $size) = map { build($_) } qw(ES_LAYOUT ES_SLOTS_LATE);
foreach my $case ([ 'the present', $present, $layout ], [ 'the next', $layout, $present ], [ 'a small', $present, $size ], [ 'a large', $size, $present ])
{
	my ($name, $first, $second) = @$case;

	put_library($first);
	$node->restart;
	$elder = session();
	is($elder->value($append), 't', "a session of $name library");
	put_library($second);
	mismatch_ok($append, 'O4: a session that loads another gets one error');
	$younger = session();
	is(status($younger), 'store|error|Restart the server.', 'O5: es_status() says it');
	is($younger->run($append)->{state}, '55000', 'O4: nothing is left attached') foreach 1 .. 2;
	is($elder->value($append), 't', 'the other goes on');
	$_->close foreach $elder, $younger;
}

# the real library of the version before
SKIP:
{
	skip 'FAILED TO TEST: the library of the version before, since its commit is not here', 1 if $before eq '';
	my $old = dirs($before);
	begin_with($old);
	# not preloaded: the memory of the old library, and the new one in new sessions
	$elder = session();
	is($elder->value($append), 't', 'a session has loaded the old library');
	my $pid = $elder->value('SELECT es_start_worker()');
	install($new);
	mismatch_ok($append, 'O4: a session that loads the new one gets one error');
	mismatch_ok("$append; $append", 'the first time');
	$younger = session();
	is($younger->run($append)->{state}, '55000', 'O4: and in one session again') foreach 1 .. 3;
	is($younger->run("$_")->{state}, '55000', "O4: and from $_") foreach 'SELECT es_publish()', 'SELECT es_start_worker()', 'SELECT * FROM es_stat_publisher';
	is($younger->value(q(SELECT es_stream_version('live-1') > 0)), 't', 'it reads, for which it needs no memory');
	$younger->run('BEGIN');
	is($younger->run($append)->{state}, '55000', 'in a transaction');
	is($younger->run('SELECT 1')->{state}, '25P02', 'which has failed');
	is($younger->run('ROLLBACK')->{state}, '00000', 'and ends');
	$younger->run(q(SET statement_timeout = '50ms'));
	my $lock = EsClient->new($node);
	$lock->run('SELECT pg_advisory_lock(1)');
	is($younger->run('SELECT pg_advisory_lock(1)')->{state}, '57014', 'its statements can be cancelled as before');
	$younger->run('RESET statement_timeout');
	is($elder->value($append), 't', 'O4: the old session appends');
	is($elder->value(q(SELECT es_wait(es_position('live-1'), '60s') >= es_position('live-1'))), 't', 'P2: and the old publisher publishes');
	is($node->safe_psql('postgres', $memories), '1', 'P2: there is one memory');

	# the new SQL, in the new session
	is($younger->run('ALTER EXTENSION pg_eventstore UPDATE')->{state}, '00000', 'the extension is updated');
	is(status($younger), 'store|error|Restart the server.', 'O5: es_status() says it in a row');
	is(status($younger), 'store|error|Restart the server.', 'again');
	is($younger->run('SELECT * FROM es_stat_publisher')->{state}, '55000', 'the views raise it');
	like(status($elder), qr/\Alibrary\|error\|Install version .* restart the server\.\z/, 'O5: under the old library too');
	is($elder->value($append), 't', 'which goes on');

	# a worker of the new library
	kill 'TERM', $pid;
	es_no_publisher_ok($node, 'postgres', 'the old publisher has ended');
	my $offset = -s $node->logfile;
	is($elder->run('SELECT es_start_worker()')->{state}, '55000', 'O4: a worker that loads the new library ends at once');
	is(es_logged($node, qr/ERROR:  \Q$mismatch\E/, $offset), 1, 'and says why');
	is(es_logged($node, qr/terminated by signal|PANIC/, $offset), 0, 'cleanly');
	is($elder->value('SELECT es_publish() >= es_position(\'live-1\')'), 't', 'O4: es_publish() publishes');
	$_->close foreach $elder, $younger, $lock;
	$node->restart;
	is($node->safe_psql('postgres', 'SELECT es_init() IS NOT NULL; SELECT status FROM es_status() LIMIT 1'), "t\nok", 'O4: the restart mends it');
	es_oracle_ok($node, 'after the restart');

	# the other way round: the memory of the new library
	$younger = session();
	is($younger->value($append), 't', 'a session of the new library');
	put_library("$old->{pkglibdir}/pg_eventstore.so");
	$elder = session();
	is($elder->run($append)->{state}, 'XX000', 'the old one, which knows no better, raises an error of PostgreSQL\'s own') foreach 1 .. 2;
	like(status($elder), qr/\Alibrary\|error\|/, 'O5: and es_status() answers');
	is($younger->value($append), 't', 'the new one goes on');
	is($younger->value('SELECT es_publish() >= es_position(\'live-1\')'), 't', 'P2: and publishes');
	$_->close foreach $elder, $younger;

	# preloaded: all sessions go on with the library that the server has loaded
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_eventstore'\n");
	begin_with($old);
	my $was = $node->safe_psql('postgres', $version);
	install($new);
	es_publishes_ok($node, 'preloaded, a new session appends with the old library, and its publisher publishes');
	es_state_ok($node, 'ALTER EXTENSION pg_eventstore UPDATE', '42883', 'O4: functions that this library lacks are not made');
	is($node->safe_psql('postgres', $version), $was, 'and nothing is half updated');
	$node->restart;
	is($node->safe_psql('postgres', 'ALTER EXTENSION pg_eventstore UPDATE; SELECT es_init() IS NOT NULL; SELECT status FROM es_status() LIMIT 1'), "t\nok",
		'O4: after the restart it is updated');
	es_publishes_ok($node, 'and publishes');

	# SQL that is newer than the library, as on a standby that is not updated yet
	put_library("$old->{pkglibdir}/pg_eventstore.so");
	$node->restart;
	like($node->safe_psql('postgres', 'SELECT topic, status FROM es_status()'), qr/\Alibrary\|error\z/, 'O5: es_status() answers under a library that is older than its functions');
	es_publishes_ok($node, 'which goes on');
}
$node->stop;
done_testing();
