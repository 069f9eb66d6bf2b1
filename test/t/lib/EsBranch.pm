# What the TAP tests of branches share.  Two branches descend from one state of the
# log, as after a dump that was restored twice.  A consumer has read in one of them
# and comes to the other with its cursor.

package EsBranch;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EsPublish;
use EsTest;

our @EXPORT = qw(es_branch_appends es_branch_read es_branch_lost_ok);

# So many events, each by a call of its own, and published.
sub es_branch_appends
{
	my ($node, $n, $db) = @_;

	return $node->safe_psql($db || 'postgres', qq(
		SELECT FROM (SELECT count(es_append('s-' || i, -1, 'T', '{}')) FROM generate_series(1, $n) AS i) AS a;
		SELECT es_publish()));
}

# A consumer reads on from its cursor; answers how many events, and its new cursor.
sub es_branch_read
{
	my ($node, $cursor, $db) = @_;

	return split /\|/, $node->safe_psql($db || 'postgres', "SELECT count(*), max(position) FROM es_read($cursor)");
}

# The cursor has seen what this branch never had: it hears so, and one from before the
# branches went apart reads all that is new.
#
# Could fail although all is well: where this branch begins is a random number below
# 2^42, and with that chance, n in 2^42 (less than 2^-34 for what the tests append),
# the cursor lies among the positions of this branch.
sub es_branch_lost_ok
{
	my ($node, $cursor, $common, $n, $name, $db) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach my $sql ("SELECT * FROM es_read($cursor)", "SELECT es_wait($cursor, '0')")
	{
		my ($state, $detail) = es_error_detail($node, $sql, $db);

		is($state, 'SE005', "P6: $name: SE005 from $sql");
		is(ref $detail eq 'HASH' && $detail->{cursor}, $cursor, 'with the cursor');
	}
	my ($count, $last) = es_branch_read($node, $common, $db);
	is($count, $n, "$name: a cursor of before reads all that is new");
	return $last;
}

1;
