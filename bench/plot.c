/*
 * plot.c
 *		The plots, as SVG: bars for the CPU time of a row's contenders, lines for what
 *		depends on a number.  All figures are relative to the store's.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

#define MAX_BARS   200
#define MAX_POINTS 400
#define WIDTH      860

#define LABEL_WIDTH  270
#define BAR_HEIGHT   16
#define GROUP_HEIGHT 30

#define PANEL_WIDTH  420
#define PANEL_HEIGHT 260

typedef struct Bar
{
	const char *group;
	const char *label;
	Spread      spread;
} Bar;

typedef struct Point
{
	const char *panel;
	const char *line;
	double      x;
	double      y;
} Point;

static Bar         bars[MAX_BARS];
static int         nbars;
static Point       points[MAX_POINTS];
static int         npoints;
static const char *lines[MAX_CONTENDERS * 2];
static int         nlines;

static const char *const colours[] = {"#1b6ca8", "#8a8a8a", "#c0392b", "#d68910",
									  "#7d3c98", "#1e8449", "#2e4053", "#a04000"};

/* The strings of a point or a bar live as long as the program. */
void
bench_plot_bar(const char *group, const char *label, Spread spread)
{
	if (nbars < MAX_BARS)
		bars[nbars++] = (Bar){group, label, spread};
}

static const char *
colour_of(const char *line)
{
	int i = 0;

	while (i < nlines && strcmp(lines[i], line) != 0)
		i++;
	if (i == nlines && nlines < (int) lengthof(lines))
		lines[nlines++] = line;
	return colours[i % lengthof(colours)];
}

void
bench_plot_point(const char *panel, const char *line, double x, double y)
{
	if (npoints < MAX_POINTS)
		points[npoints++] = (Point){panel, line, x, y};
	(void) colour_of(line);
}

static FILE *
begin(const char *directory, const char *name, int height, const char *title)
{
	char  path[1024];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	if ((file = fopen(path, "w")) == NULL)
		bench_die("could not write", path);
	fprintf(file,
			"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\""
			" font-family=\"sans-serif\" font-size=\"12\">\n"
			"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
			"<text x=\"10\" y=\"22\" font-size=\"15\">%s</text>\n",
			WIDTH, height, title);
	printf("written: %s\n", path);
	return file;
}

static void
end(FILE *file)
{
	fprintf(file, "</svg>\n");
	if (fclose(file) != 0)
		bench_die("could not write", "a plot");
}

static bool
is_in(const char *name, const char *const *names)
{
	for (; *names != NULL; names++)
	{
		if (strcmp(name, *names) == 0)
			return true;
	}
	return false;
}

/* The bars of these groups, in one scale; a thin line shows the quartiles. */
static void
write_bars(const char *directory, const char *name, const char *title, const char *const *groups)
{
	double most = 1;
	int    height = 40;
	int    y = 40;
	FILE  *file;

	for (int i = 0; i < nbars; i++)
	{
		if (!is_in(bars[i].group, groups))
			continue;
		most = fmax(most, bars[i].spread.high);
		height += BAR_HEIGHT + (i == 0 || bars[i].group != bars[i - 1].group ? GROUP_HEIGHT : 0);
	}
	file = begin(directory, name, height + 10, title);
	for (int i = 0; i < nbars; i++)
	{
		double scale = (WIDTH - LABEL_WIDTH - 70) / most;
		Spread spread = bars[i].spread;

		if (!is_in(bars[i].group, groups))
			continue;
		if (i == 0 || bars[i].group != bars[i - 1].group)
		{
			y += GROUP_HEIGHT;
			fprintf(file, "<text x=\"10\" y=\"%d\" font-weight=\"bold\">%s</text>\n", y - 8,
					bars[i].group);
		}
		fprintf(file, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", LABEL_WIDTH - 8,
				y + 11, bars[i].label);
		fprintf(file, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n",
				LABEL_WIDTH, y, spread.middle * scale, BAR_HEIGHT - 4,
				strncmp(bars[i].label, "es_", 3) == 0 ? colours[0] : colours[1]);
		fprintf(file, "<path d=\"M%.1f %dH%.1f\" stroke=\"black\"/>\n",
				LABEL_WIDTH + spread.low * scale, y + BAR_HEIGHT / 2 - 2,
				LABEL_WIDTH + spread.high * scale);
		fprintf(file, "<text x=\"%.1f\" y=\"%d\">%.2f</text>\n",
				LABEL_WIDTH + spread.high * scale + 6, y + 11, spread.middle);
		y += BAR_HEIGHT;
	}
	end(file);
}

/* A panel's frame, its scale, and its points joined line by line. */
static void
write_panel(FILE *file, const char *panel, int left, int top)
{
	double lowest = 1e300;
	double widest = 0;
	double most = 0;
	double right = left + PANEL_WIDTH - 60;
	double bottom = top + PANEL_HEIGHT - 50;

	for (int i = 0; i < npoints; i++)
	{
		if (strcmp(points[i].panel, panel) != 0)
			continue;
		most = fmax(most, points[i].y);
		lowest = fmin(lowest, points[i].x);
		widest = fmax(widest, points[i].x);
	}
	fprintf(file, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%s</text>\n", left, top - 8, panel);
	fprintf(file, "<path d=\"M%d %dV%.0fH%.0f\" fill=\"none\" stroke=\"black\"/>\n", left, top,
			bottom, right);
	for (int i = 0; i < npoints; i++)
	{
		const Point *point = &points[i];
		const Point *before = NULL;
		double       span = widest > lowest ? log(widest / lowest) : 1;
		double       x = left + 10 + log(point->x / lowest) / span * (right - left - 20);
		double       y = bottom - point->y / most * (bottom - top - 10);

		if (strcmp(point->panel, panel) != 0)
			continue;
		for (int j = i - 1; j >= 0 && before == NULL; j--)
		{
			if (strcmp(points[j].panel, panel) == 0 && strcmp(points[j].line, point->line) == 0)
				before = &points[j];
		}
		fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x, y,
				colour_of(point->line));
		if (before != NULL)
			fprintf(file, "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"%s\" stroke-width=\"2\"/>\n",
					left + 10 + log(before->x / lowest) / span * (right - left - 20),
					bottom - before->y / most * (bottom - top - 10), x, y, colour_of(point->line));
		if (strcmp(point->line, lines[0]) != 0)
			continue;
		fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.0f</text>\n", x,
				bottom + 16, point->x);
		fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.2f</text>\n", x, y - 7,
				point->y);
	}
}

/* All panels, two in a row, with the lines' names below. */
static void
write_lines(const char *directory, const char *name, const char *title)
{
	const char *panels[8];
	int         npanels = 0;
	int         height;
	FILE       *file;

	for (int i = 0; i < npoints; i++)
	{
		int j = 0;

		while (j < npanels && strcmp(panels[j], points[i].panel) != 0)
			j++;
		if (j == npanels && npanels < (int) lengthof(panels))
			panels[npanels++] = points[i].panel;
	}
	height = 70 + (npanels + 1) / 2 * PANEL_HEIGHT;
	file = begin(directory, name, height + 20, title);
	for (int i = 0; i < npanels; i++)
		write_panel(file, panels[i], 30 + i % 2 * PANEL_WIDTH, 60 + i / 2 * PANEL_HEIGHT);
	for (int i = 0; i < nlines; i++)
		fprintf(file, "<text x=\"%d\" y=\"%d\" fill=\"%s\">%s</text>\n", 20 + i % 4 * 210,
				height - 15 + i / 4 * 18, colour_of(lines[i]), lines[i]);
	end(file);
}

void
bench_plot_write(const char *directory, Level level)
{
	if (level == LONG)
	{
		write_lines(directory, "growth.svg",
					"An append as the store grows: CPU and wall time, small store = 1, by events");
		return;
	}
	write_bars(directory, "append.svg", "CPU of the backend per event appended, the store = 1",
			   (const char *const[]){"append", "append-new", "append-2k", "batch-1000", NULL});
	write_bars(directory, "read.svg", "CPU of the backend per event read, the store = 1",
			   (const char *const[]){"load-10", "load-10000", "load-unprepared", "limit",
									 "read-log", "read-category", "consume", NULL});
	write_lines(directory, "throughput.svg",
				"Events a second by clients, the store with 32 clients = 1");
}
