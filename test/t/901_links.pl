# README.md and the manual hold together, and are in plain English.
#
# Every link leads to a file and an anchor that are there.  docs/manual/README.md lists
# every page once.  Each page begins with a line of contents that names all its parts,
# and is not too long.  Words that hide what acts (F8) are not used.  Needs no server.
use strict;
use warnings;

use File::Basename;
use File::Spec;
use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;

use EsManual;

my $top = File::Spec->rel2abs("$FindBin::RealBin/../..");
my @pages = es_manual_pages($top);
my @manual = ('README.md', 'docs/manual/README.md', grep { -e "$top/$_" } @pages);
my %seen;
my @files = grep { !$seen{$_}++ } @manual, es_manual_files($top), glob_from('docs/*.md'),
  'bench/README.md', 'examples/README.md';
my %anchors;

sub glob_from
{
	my ($wildcard) = @_;
	return map { substr($_, 1 + length $top) } glob "$top/$wildcard";
}

# The targets of a text's links and pictures that are in the project.
sub links
{
	my ($file) = @_;
	my $text = es_manual_prose(slurp_file("$top/$file"));

	$text =~ s/`[^`\n]*`//g;
	my @links = $text =~ /\]\(([^)\s]+)\)/g;
	push @links, $text =~ /^\[[^\]]+\]:\s*(\S+)/mg;
	return grep { !/^(https?|mailto):/ } @links;
}

# What is wrong with a link, or nothing.
sub broken
{
	my ($file, $link) = @_;
	my ($path, $anchor) = $link =~ /^([^#]*)(?:#(.*))?$/;
	my $target = $path eq '' ? $file : dirname($file) . "/$path";

	1 while $target =~ s{(^|/)(?!\.\./)[^/]+/\.\./}{$1};
	$target =~ s{(^|/)\./}{$1}g;
	return "$link: no such file" unless -e "$top/$target";
	return unless defined $anchor;
	return "$link: an anchor in what is no page" unless $target =~ /\.md$/;
	$anchors{$target} ||= es_manual_anchors(slurp_file("$top/$target"));
	return $anchors{$target}{$anchor} ? () : "$link: no such anchor";
}

foreach my $file (@files)
{
	is(join('; ', map { broken($file, $_) } links($file)), '', "$file: every link leads somewhere");
}

# the list of pages
my %listed;
$listed{$_}++ foreach @pages;
is(join(', ', grep { $listed{$_} > 1 } sort keys %listed), '', 'no page is listed twice');
is(join(', ', grep { !$listed{$_} } es_manual_files($top)), '', 'docs/manual/README.md lists every page');

is(join(', ', grep { !-e "$top/$_" } sort keys %listed), '', 'every page that it lists is there');

# The links of the line of contents: the first paragraph with a link to a part of the
# page, within its first lines.
sub contents
{
	my ($text) = @_;
	my $head = join '', grep { defined } (split /^/, $text)[ 0 .. 14 ];

	return if index($head, '](#') < 0;
	foreach my $paragraph (split /\n\n/, $text)
	{
		my @links = $paragraph =~ /\]\(#([^)]+)\)/g;

		return @links if @links;
	}
	return;
}

foreach my $file (@manual)
{
	my $text = slurp_file("$top/$file");
	my $most = $file eq 'README.md' ? 400 : 500;
	my %named = map { $_ => 1 } contents($text);
	my @parts = es_manual_prose($text) =~ /^(## .*)/mg;

	cmp_ok($text =~ tr/\n//, '<=', $most, "$file: at most $most lines");
	isnt(join(', ', keys %named), '', "$file: has a line of contents");
	is(join(', ', grep { !$named{$_} } map { keys %{ es_manual_anchors($_) } } @parts), '',
		"$file: its contents name every part");
}

# Words by which a sentence hides its subject.  "Who ..." begins a question, or a
# sentence that English does not have.
my @words = (qr/\bwho(?:m|se)?ever\b/i, qr/\bno(?:body| one)\b/i, qr/\bsomebody\b/i, qr/\bwithout more ado\b/i,
	qr/(?:\b(?:for|to|of|by|with|from|than|as)|,) who (?:has|is|can|does)\b/i, qr/(?:\A|[.:;] |\n\n)Who\b[^.?;]*[.;]/);

sub hidden_subjects
{
	my ($text) = @_;
	my @found;

	$text = es_manual_prose($text);
	$text =~ s/`[^`\n]*`//g;
	$text =~ s/(?<=[^\n])\n(?=[^\n])/ /g;
	foreach my $word (@words)
	{
		push @found, $1 while $text =~ /(.{0,20}$word.{0,20})/g;
	}
	return join '; ', @found;
}

foreach my $sentence ('Who has a binding is held to it.', 'Nobody publishes.', 'It goes without more ado.',
	"A sentence. Who appends waits;", 'for whoever LISTENs', 'It waits for who has it.')
{
	isnt(hidden_subjects($sentence), '', "F8: \"$sentence\" would be found");
}
is(hidden_subjects("A user who has read this page. Who may append? `nobody`\n\n## What it is\n"), '', 'F8: and no other');
is(hidden_subjects(slurp_file("$top/$_")), '', "F8: $_: says what acts") foreach @manual;

done_testing();
