# A client that the tests can lose: one psql on pipes, spoken to one statement at
# a time, so that for each statement the test knows what the client was told:
#
#	a row and SQLSTATE 00000, an error's SQLSTATE, or nothing ("lost").
#
# Writing and waiting are apart: something may be done to the server in between.

package EsClient;

use strict;
use warnings;

use IO::Handle;
use IO::Select;
use IPC::Open3;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);

sub new
{
	my ($class, $node, %opt) = @_;
	my $self = bless { node => $node, buffer => '', lost => 0 }, $class;
	my $db = $opt{db} || 'postgres';
	my @psql = (
		$node->can('installed_command') ? $node->installed_command('psql') : 'psql',
		'-XAtq', '-d', $node->connstr($db), '-v', 'VERBOSITY=verbose');
	my ($in, $out);

	local $ENV{PGAPPNAME} = $opt{name} || 'es_client';
	local $SIG{PIPE} = 'IGNORE';
	open(my $err, '>>', $opt{log} || '/dev/null') or die "cannot write the client's log: $!";
	$self->{psql} = open3($in, $out, '>&' . fileno($err), @psql);
	close $err;
	$self->{in} = $in;
	$self->{out} = $out;
	$self->{in}->autoflush(1);
	$self->{select} = IO::Select->new($out);
	$self->{pid} = $self->value('SELECT pg_backend_pid()');
	return $self;
}

# The pid of the backend.
sub pid { return $_[0]->{pid} }

sub lost { return $_[0]->{lost} }

# Sends one statement.
sub tell
{
	my ($self, $sql) = @_;

	local $SIG{PIPE} = 'IGNORE';
	$self->{in}->print("$sql;\n\\echo \@done\@ :SQLSTATE\n") or $self->{lost} = 1;
	return;
}

# Waits for the answer: a hash with state and rows.
sub answer
{
	my ($self) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	for (;;)
	{
		return $self->_parsed($1, $2) if $self->{buffer} =~ s/\A(.*?)^\@done\@ (\w*)\n//ms;
		die 'no answer in time' if time > $deadline;
		next unless $self->{select}->can_read(1);
		my $n = sysread($self->{out}, $self->{buffer}, 65536, length $self->{buffer});
		if (!$n)
		{
			$self->{lost} = 1;
			return { state => 'lost', rows => [] };
		}
	}
}

sub _parsed
{
	my ($self, $text, $state) = @_;

	# The library has no code for a connection that went away; and what the
	# server says when it ends one may come after the commit.
	if ($state eq '' or $state =~ /^57P/)
	{
		$self->{lost} = 1;
		return { state => 'lost', rows => [] };
	}
	my @rows = map { [ split /\|/, $_, -1 ] } split /\n/, $text;

	return { state => $state, rows => \@rows };
}

sub run
{
	my ($self, $sql) = @_;

	$self->tell($sql);
	return $self->answer;
}

# The one value of a query that must not fail.
sub value
{
	my ($self, $sql) = @_;
	my $answer = $self->run($sql);

	die "unexpected $answer->{state} from: $sql" if $answer->{state} ne '00000';
	return @{ $answer->{rows} } ? $answer->{rows}[0][0] : undef;
}

# Ends psql; what it was doing on the server may go on.
sub close
{
	my ($self) = @_;

	return unless $self->{psql};
	local $SIG{PIPE} = 'IGNORE';
	CORE::close($self->{in});
	1 while sysread($self->{out}, my $rest, 65536);
	waitpid($self->{psql}, 0);
	delete $self->{psql};
	return;
}

# Ends psql as a crash would.
sub kill9
{
	my ($self) = @_;

	return unless $self->{psql};
	kill 'KILL', $self->{psql};
	waitpid($self->{psql}, 0);
	delete $self->{psql};
	$self->{lost} = 1;
	return;
}

sub DESTROY
{
	my ($self) = @_;

	local ($?, $@, $!);
	$self->close;
	return;
}

1;
