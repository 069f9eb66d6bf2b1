# README.md and the pages of docs/manual, as the tests read them: which pages there
# are, in which order, their fenced blocks, their headings and their entries.

package EsManual;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;

our @EXPORT = qw(es_manual_blocks es_manual_files es_manual_pages es_manual_prose es_manual_anchors es_manual_sections);

# Languages of blocks that no test runs; snippets of programs stand in examples/.
our %plain = map { $_ => 1 } qw(sh conf json yaml ini);
our %program = map { $_ => 1 } qw(python js c);

# The pages that docs/manual/README.md lists, in its order, relative to the project.
sub es_manual_pages
{
	my ($top) = @_;
	my $contents = es_manual_prose(slurp_file("$top/docs/manual/README.md"));

	return map { "docs/manual/$_" } $contents =~ /^\| \[[^\]]+\]\(([^)]+\.md)\)/mg;
}

# All pages that there are, listed or not.
sub es_manual_files
{
	my ($top) = @_;
	my @files = map { substr($_, 1 + length $top) } glob("$top/docs/manual/*.md $top/docs/manual/*/*.md");

	return grep { $_ ne 'docs/manual/README.md' } @files;
}

# The fenced blocks: language, flags, text, and the number of the first line.  A fence
# that would not be seen for what it is, is an error.
sub es_manual_blocks
{
	my ($text) = @_;
	my (@blocks, $open);
	my $line = 0;

	foreach (split /^/, $text)
	{
		$line++;
		if ($open && /^```\s*$/)
		{
			$open->{error} ||= 'its last statement has no end' if $open->{language} eq 'sql' && !is_ended($open->{body});
			push @blocks, $open;
			$open = undef;
		}
		elsif ($open)
		{
			$open->{body} .= $_;
		}
		elsif (/^\s*(?:```|~~~)/)
		{
			$open = { %{ read_info($_) }, body => '', line => $line + 1 };
		}
	}
	push @blocks, { %$open, error => 'a block without an end' } if $open;
	return @blocks;
}

# Does psql run all of it?  Comments may follow the last statement.
sub is_ended
{
	my ($sql) = @_;

	$sql =~ s/^((?:[^'\n-]|-(?!-)|'[^'\n]*')*)--.*$/$1/mg;
	return $sql =~ /(?:;|^\s*\\[^\n]*)\s*\z/m;
}

# What stands behind the three backticks.
sub read_info
{
	my ($fence) = @_;
	my ($language, $rest) = $fence =~ /^```(\w+)((?: [\w ]+)?)$/;

	return { language => '', error => 'an opening that is not understood' } unless defined $language;
	my %block = (language => $language);
	if ($language eq 'sql')
	{
		$block{window} = $1 if $rest =~ s/^ window (\d)//;
		$block{only} = $1 if $rest =~ s/^ (not preloaded|preloaded)//;
	}
	$block{error} = "\"$rest\" is not understood" if $rest ne '';
	$block{error} = "no language \"$language\"" unless $language =~ /^(sql|text)$/ || $plain{$language} || $program{$language};
	return \%block;
}

# The text without its blocks, line for line.
sub es_manual_prose
{
	my ($text) = @_;

	$text =~ s{^```.*?^```$}{ "\n" x ($& =~ tr/\n//) }msge;
	return $text;
}

# The anchors of a page by GitHub's rule: a heading's text in small letters, without
# punctuation, with hyphens for blanks; one that comes again has a number.
sub es_manual_anchors
{
	my ($text) = @_;
	my $prose = es_manual_prose($text);
	my (%seen, %anchors);

	while ($prose =~ /^#{1,6} +(.*?) *#*$/mg)
	{
		my $anchor = lc $1;

		$anchor =~ s/\[([^\]]*)\]\([^)]*\)/$1/g;
		$anchor =~ s/[^\w\- ]//g;
		$anchor =~ tr/ /-/;
		my $count = $seen{$anchor}++;
		$anchors{ $count ? "$anchor-$count" : $anchor } = 1;
	}
	$anchors{$1} = 1 while $prose =~ /<a (?:id|name)="([^"]+)">/g;
	return \%anchors;
}

# The sections of a page under headings of a level: [heading, text], in their order.
sub es_manual_sections
{
	my ($text, $level) = @_;
	my (@sections, $in_block);

	foreach (split /^/, $text)
	{
		$in_block = !$in_block if /^```/;
		if (!$in_block && /^(#{1,$level}) +(.*?)\s*$/)
		{
			push @sections, [ length($1) == $level ? $2 : '', '' ];
		}
		elsif (@sections)
		{
			$sections[-1][1] .= $_;
		}
	}
	return grep { $_->[0] ne '' } @sections;
}

1;
