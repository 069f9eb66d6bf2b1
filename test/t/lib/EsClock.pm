# Servers whose wall clock the test steps while they run (step_clock.c).

package EsClock;

use strict;
use warnings;

use Exporter 'import';
use FindBin;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(es_clock_build es_clock_preload es_clock_step es_clock_stop);

my ($library, $file);

# Builds the clock; answers what is missing where that cannot be done.
sub es_clock_build
{
	my $dir = PostgreSQL::Test::Utils::tempdir('clock');

	return 'the clock cannot be preloaded here' unless $^O eq 'linux';
	return 'there is no C compiler: cc' if system('cc --version > /dev/null 2>&1') != 0;
	($library, $file) = ("$dir/step_clock.so", "$dir/steps");
	system('cc', '-shared', '-fPIC', '-O1', '-o', $library, "$FindBin::RealBin/lib/step_clock.c") == 0
	  or die 'the clock does not compile';
	PostgreSQL::Test::Utils::append_to_file($file, pack 'qq', 0, 0);
	return;
}

# Runs what starts a server; its processes see the clock.
sub es_clock_preload
{
	my ($start) = @_;

	local ($ENV{LD_PRELOAD}, $ENV{ES_CLOCK}) = ($library, $file);
	return $start->();
}

sub _write
{
	my ($at, $us) = @_;

	open(my $steps, '+<', $file) or die "cannot open $file: $!";
	binmode $steps;
	sysseek($steps, $at, 0);
	syswrite($steps, pack('q', $us)) == 8 or die "cannot write $file: $!";
	close $steps;
	return;
}

# Sets the clock so many seconds ahead of the true time.
sub es_clock_step { return _write(0, int($_[0] * 1_000_000)) }

# Stops the clock at this second of the epoch; at 0 it goes again.
sub es_clock_stop { return _write(8, int($_[0] * 1_000_000)) }

1;
