# What the TAP tests of publishing share: servers that publish by themselves,
# clients that listen, and bounded polling in any database.

package EsPublish;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use EsClient;
use EsTest;

our @EXPORT = qw(es_preloaded es_poll_in es_publisher_pid es_has_publisher_ok es_no_publisher_ok
  es_publishes_ok es_crash es_error_detail es_logged es_listener);

# A server that publishes by itself.
sub es_preloaded
{
	my ($name, %opt) = @_;

	$opt{conf} = "shared_preload_libraries = 'pg_eventstore'\n" . ($opt{conf} || '');
	return es_server($name, %opt);
}

# Bounded polling, in any database.
sub es_poll_in
{
	my ($node, $db, $query, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($node->poll_query_until($db, $query), $name);
	return;
}

my $of_db = q(backend_type = 'pg_eventstore publisher' AND datname = '%s');

# The pid of a database's publisher, as PostgreSQL itself sees it; '' where there is none.
sub es_publisher_pid
{
	my ($node, $db) = @_;

	return $node->safe_psql('postgres',
		'SELECT pid FROM pg_stat_activity WHERE ' . sprintf $of_db, $db || 'postgres');
}

# A publisher comes, another one than before where that is given; answers its pid.
sub es_has_publisher_ok
{
	my ($node, $db, $name, $before) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	es_poll_in($node, 'postgres',
		sprintf("SELECT count(*) = 1 FROM pg_stat_activity WHERE $of_db AND pid <> %d", $db, $before || 0), $name);
	return es_publisher_pid($node, $db);
}

# The publisher goes, and the launcher brings none.
sub es_no_publisher_ok
{
	my ($node, $db, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	es_poll_in($node, 'postgres', sprintf("SELECT count(*) = 0 FROM pg_stat_activity WHERE $of_db", $db), $name);
	return;
}

# What is appended from now on is published, by whoever does.
sub es_publishes_ok
{
	my ($node, $name, $db) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $node->safe_psql($db || 'postgres', q(
			SELECT es_append('live-1', -1, 'T', '{}') > 0;
			SELECT es_wait(es_position('live-1'), '60s') >= es_position('live-1');)),
		"t\nt", $name);
	return;
}

# The server loses its memory, so whatever it has not flushed.  It runs with
# restart_after_crash.
sub es_crash
{
	my ($node) = @_;
	my $walwriter = q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter');
	my $pid = $node->safe_psql('postgres', $walwriter);

	kill 'KILL', $pid;
	return es_poll_crashed($node, "SELECT EXISTS ($walwriter AND pid <> $pid)");
}

# SQLSTATE and DETAIL of a statement that fails; a DETAIL that is JSON is decoded.
sub es_error_detail
{
	my ($node, $sql, $db) = @_;
	my ($ret, $out, $err) =
	  $node->psql($db || 'postgres', $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	my ($state) = $err =~ /ERROR:\s+([0-9A-Z]{5}):/;
	my ($detail) = $err =~ /DETAIL:\s+(.*)/;

	$detail = decode_json($detail) if defined $detail && $detail =~ /^\{/;
	return ($state || '00000', $detail);
}

# How often the server has logged something since an offset of its log.
sub es_logged
{
	my ($node, $pattern, $offset) = @_;
	my @found = substr(slurp_file($node->logfile), $offset || 0) =~ /$pattern/g;

	return scalar @found;
}

# A client that listens, and keeps what it is told: [channel, text, decoded text].
sub es_listener
{
	my ($node, $db, @channels) = @_;
	my $self = bless { client => EsClient->new($node, db => $db || 'postgres', name => 'listener'), told => [] },
	  'EsPublish::Listener';

	$self->run(qq(LISTEN "$_")) foreach @channels;
	return $self;
}

package EsPublish::Listener;

use Time::HiRes qw(time usleep);

# Runs a statement; what has come meanwhile is kept.
sub run
{
	my ($self, $sql) = @_;
	my $answer = $self->{client}->run($sql);
	my @rows;

	foreach my $row (@{ $answer->{rows} })
	{
		my $line = join '|', @$row;

		if ($line =~ /^Asynchronous notification "(.*?)"(?: with payload "(.*)")? received from/)
		{
			push @{ $self->{told} }, [ $1, $2, JSON::PP::decode_json($2) ];
		}
		else
		{
			push @rows, $row;
		}
	}
	$answer->{rows} = \@rows;
	return $answer;
}

# What it has been told on a channel so far.
sub told
{
	my ($self, $channel) = @_;

	$self->run('SELECT');
	return map { $_->[2] } grep { !defined $channel || $_->[0] eq $channel } @{ $self->{told} };
}

# Waits, within bounds, until what it has been told fits; answers whether it does.
sub await
{
	my ($self, $fits) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($fits->($self->told))
	{
		return 0 if time > $deadline;
		usleep(20_000);
	}
	return 1;
}

# Is it told of everything up to this position on es_events?
sub await_upto
{
	my ($self, $upto) = @_;

	return $self->await(sub { grep { exists $_->{to} && $_->{to} >= $upto } @_ });
}

sub forget
{
	my ($self) = @_;

	$self->told;
	$self->{told} = [];
	return;
}

sub close { return $_[0]{client}->close }

1;
