/*
 * bench.c
 *		Measures the store against what PostgreSQL does without it, in one server
 *		and one run.
 *
 * A row is one job.  Its contenders do the job side by side: in every round
 * each of them, in turns of who is first, over a connection of its own, with
 * the same events and parameters of the same format.  A round gives each
 * contender the CPU time of its backend and the wall time, per event; of all
 * rounds the median stands, with the quartiles.  A ratio is that of one round,
 * to the row's second contender, the reference; of the ratios again the median.
 *
 * Every contender of a row writes to a table of its own with the same columns
 * and indexes; all begin with the same events and grow at the same pace.  What
 * is sent is made before the clock starts.
 *
 *		bench <connection string> [row ...]
 */
#define _GNU_SOURCE /* sched.h */

#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#define MAX_CONTENDERS 4
#define MAX_PARAMS     8
#define MAX_ROUNDS     201
#define MIN_ROUNDS     5    /* even where the row's time is used up */
#define WARM_UP_ROUNDS 2    /* discarded */
#define ROW_SECONDS    15.0 /* then no further round begins */

#define STREAMS        1000
#define FILL_EVENTS    100 /* of each stream, before the first row */
#define DATA_BYTES     256
#define EVENT_TYPE     "MoneyDeposited"
#define CATEGORY       "account"
#define FRESH_CATEGORY "order"

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

/* An event as it is sent. */
typedef struct Event
{
	char    stream[40];
	int64_t version;
	int64_t position;
	char    id[37];
	char    data[DATA_BYTES + 1];
} Event;

/* A statement with its parameters, about one event or a batch of one stream. */
typedef struct Call
{
	int    nevents;
	Event *events;
	int    nparams;
	char  *params[MAX_PARAMS];
} Call;

/* Text that grows. */
typedef struct Text
{
	char  *bytes;
	size_t used;
	size_t size;
} Text;

/* How one side of a row does the job. */
typedef struct Contender
{
	const char *name;
	const char *table;
	const char *statement; /* prepared, or run as it is by COPY */
	void (*fill)(Call *call);
	void (*send)(PGconn *conn, const char *statement, const Call *call);
} Contender;

typedef struct Row
{
	const char      *name;
	const char      *title;
	bool             fresh;           /* a new stream for each call */
	int              batch;           /* events of a call */
	int              per_transaction; /* calls of a transaction; 1: no BEGIN */
	int              calls;           /* calls of a round */
	double           target;          /* the ratio of the first to the second */
	const Contender *contenders[MAX_CONTENDERS];
} Row;

/* A contender at work in a row; all of them draw the same random numbers. */
typedef struct Side
{
	const Contender *contender;
	PGconn          *conn;
	uint64_t         random;
	uint64_t         nfresh;
	int64_t          position;
	int64_t          versions[STREAMS];
	double           cpu[MAX_ROUNDS]; /* us per event */
	double           wall[MAX_ROUNDS];
} Side;

static void fill_append(Call *call);
static void fill_bare(Call *call);
static void fill_bare_id(Call *call);
static void fill_batch(Call *call);
static void fill_copy(Call *call);
static void send_prepared(PGconn *conn, const char *statement, const Call *call);
static void send_copy(PGconn *conn, const char *statement, const Call *call);

static const Contender append = {"es_append", "es.events", "SELECT es_append($1, $2, $3, $4)",
								 fill_append, send_prepared};

/* The id comes from the client and is a UUIDv7, as ours are: the cheapest INSERT. */
static const Contender bare = {
	"bare INSERT", "bench.bare",
	"INSERT INTO bench.bare (version, recorded_at, id, tenant, stream, category, type, data)"
	" VALUES ($2, clock_timestamp(), $6, '', $1, $5, $3, $4)",
	fill_bare_id, send_prepared};

static const Contender bare_random = {
	"bare, gen_random_uuid()", "bench.bare_random",
	"INSERT INTO bench.bare_random (version, recorded_at, id, tenant, stream, category, type,"
	" data) VALUES ($2, clock_timestamp(), gen_random_uuid(), '', $1, $5, $3, $4)",
	fill_bare, send_prepared};

static const Contender batch = {"es_append_batch", "es.events",
								"SELECT * FROM es_append_batch($1, $2, $3, $4)", fill_batch,
								send_prepared};

static const Contender copy = {
	"bare COPY", "bench.bare",
	"COPY bench.bare (position, version, recorded_at, id, tenant, stream, category, type, data)"
	" FROM STDIN",
	fill_copy, send_copy};

/* The first contender is measured against the second. */
static const Row rows[] = {
	{.name = "append",
	 .title = "one event to an existing stream",
	 .batch = 1,
	 .per_transaction = 1,
	 .calls = 500,
	 .target = 1.3,
	 .contenders = {&append, &bare, &bare_random}},
	{.name = "append-new",
	 .title = "the first event of a new stream",
	 .fresh = true,
	 .batch = 1,
	 .per_transaction = 1,
	 .calls = 500,
	 .target = 1.3,
	 .contenders = {&append, &bare, &bare_random}},
	{.name = "append-tx",
	 .title = "one event to an existing stream, 1,000 such calls a transaction",
	 .batch = 1,
	 .per_transaction = 1000,
	 .calls = 1000,
	 .target = 1.3,
	 .contenders = {&append, &bare}},
	{.name = "append-new-tx",
	 .title = "the first event of a new stream, 1,000 such calls a transaction",
	 .fresh = true,
	 .batch = 1,
	 .per_transaction = 1000,
	 .calls = 1000,
	 .target = 1.3,
	 .contenders = {&append, &bare}},
	{.name = "batch-1000",
	 .title = "1,000 events to an existing stream",
	 .batch = 1000,
	 .per_transaction = 1,
	 .calls = 2,
	 .target = 1.3,
	 .contenders = {&batch, &copy}},
	{.name = "batch-100",
	 .title = "100 events to an existing stream",
	 .batch = 100,
	 .per_transaction = 1,
	 .calls = 20,
	 .target = 1.3,
	 .contenders = {&batch, &copy}},
};

static void
die(const char *what, const char *detail)
{
	fprintf(stderr, "bench: %s: %s\n", what, detail);
	exit(1);
}

/* malloc() and realloc() that do not fail. */
static void *
allocate(void *old, size_t size)
{
	void *p = realloc(old, size);

	if (p == NULL)
		die("out of memory", "give the benchmark more");
	return p;
}

static void
text_add(Text *text, const char *bytes, size_t n)
{
	if (text->used + n + 1 > text->size)
	{
		text->size = 2 * (text->used + n + 1);
		text->bytes = allocate(text->bytes, text->size);
	}
	memcpy(text->bytes + text->used, bytes, n);
	text->used += n;
	text->bytes[text->used] = '\0';
}

static void
text_add_string(Text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

static void
text_add_int(Text *text, int64_t number)
{
	char digits[32];

	snprintf(digits, sizeof(digits), "%" PRId64, number);
	text_add_string(text, digits);
}

static char *
copy_string(const char *string)
{
	return strcpy(allocate(NULL, strlen(string) + 1), string);
}

/* A number of a sequence that is the same in every run (splitmix64). */
static uint64_t
mix(uint64_t n)
{
	n = (n + 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u;
	n = (n ^ (n >> 27)) * 0x94D049BB133111EBu;
	return n ^ (n >> 31);
}

static double
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static void
pause_ms(void)
{
	struct timespec pause = {0, 1000000};

	nanosleep(&pause, NULL);
}

/*
 * A UUIDv7 in its text form that sorts behind all before it, as ours do within a
 * backend: ids in random order would make the reference look slow.
 */
static void
make_id(char *id)
{
	static uint64_t count = 0;
	struct timespec now;
	uint64_t        ms;

	clock_gettime(CLOCK_REALTIME, &now);
	ms = (uint64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
	count++;
	snprintf(id, 37, "%08x-%04x-7000-8%03x-%012" PRIx64, (unsigned) (ms >> 16),
			 (unsigned) (ms & 0xFFFF), (unsigned) (count >> 48) & 0xFFF, count & 0xFFFFFFFFFFFFu);
}

/* A JSON object of exactly DATA_BYTES bytes. */
static void
make_data(char *data, int64_t number)
{
	int used = snprintf(data, DATA_BYTES,
						"{\"account\": \"DE%018" PRId64 "\", \"amount\": %" PRId64 ".50, "
						"\"currency\": \"EUR\", \"fee\": 0, \"final\": true, \"tags\": [\"cash\", "
						"\"branch\"], \"note\": \"",
						number, number % 100000);

	memset(data + used, 'x', DATA_BYTES - 2 - used);
	strcpy(data + DATA_BYTES - 2, "\"}");
}

/* The rows a statement answers with; the connection's errors end the run. */
static PGresult *
query(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK &&
		PQresultStatus(result) != PGRES_COPY_IN)
		die(sql, PQerrorMessage(conn));
	return result;
}

static void
execute(PGconn *conn, const char *sql)
{
	PQclear(query(conn, sql));
}

static void
execute_about(PGconn *conn, const char *format, const char *table)
{
	char sql[1024];

	snprintf(sql, sizeof(sql), format, table, table, table);
	execute(conn, sql);
}

static PGconn *
open_connection(const char *info)
{
	PGconn *conn = PQconnectdb(info);

	if (PQstatus(conn) != CONNECTION_OK)
		die("could not connect", PQerrorMessage(conn));
	execute(conn, "SET client_min_messages = warning");
	return conn;
}

/* What a call sends, for each kind of contender. */

static void
add_param(Call *call, char *param)
{
	call->params[call->nparams++] = param;
}

static void
add_int_param(Call *call, int64_t number)
{
	Text text = {0};

	text_add_int(&text, number);
	add_param(call, text.bytes);
}

static const char *
category_of(const Event *event)
{
	return strncmp(event->stream, CATEGORY "-", strlen(CATEGORY "-")) == 0 ? CATEGORY
																		   : FRESH_CATEGORY;
}

static void
fill_append(Call *call)
{
	const Event *event = call->events;

	add_param(call, copy_string(event->stream));
	add_int_param(call, event->version - 1);
	add_param(call, copy_string(EVENT_TYPE));
	add_param(call, copy_string(event->data));
}

static void
fill_bare(Call *call)
{
	const Event *event = call->events;

	add_param(call, copy_string(event->stream));
	add_int_param(call, event->version);
	add_param(call, copy_string(EVENT_TYPE));
	add_param(call, copy_string(event->data));
	add_param(call, copy_string(category_of(event)));
}

static void
fill_bare_id(Call *call)
{
	fill_bare(call);
	add_param(call, copy_string(call->events->id));
}

/* An element of an array in text form. */
static void
add_element(Text *array, const char *value)
{
	text_add_string(array, array->used == 0 ? "{\"" : ",\"");
	for (; *value; value++)
	{
		if (*value == '"' || *value == '\\')
			text_add(array, "\\", 1);
		text_add(array, value, 1);
	}
	text_add(array, "\"", 1);
}

static void
fill_batch(Call *call)
{
	Text types = {0};
	Text data = {0};

	for (int i = 0; i < call->nevents; i++)
	{
		add_element(&types, EVENT_TYPE);
		add_element(&data, call->events[i].data);
	}
	text_add(&types, "}", 1);
	text_add(&data, "}", 1);
	add_param(call, copy_string(call->events->stream));
	add_int_param(call, call->events->version - 1);
	add_param(call, types.bytes);
	add_param(call, data.bytes);
}

/* The lines of a COPY; the data have nothing to be escaped. */
static void
fill_copy(Call *call)
{
	Text text = {0};
	char now[40];

	for (int i = 0; i < call->nevents; i++)
	{
		const Event *event = &call->events[i];
		time_t       seconds = time(NULL);

		strftime(now, sizeof(now), "%Y-%m-%d %H:%M:%S.123456+00", gmtime(&seconds));
		text_add_int(&text, event->position);
		text_add(&text, "\t", 1);
		text_add_int(&text, event->version);
		text_add(&text, "\t", 1);
		text_add_string(&text, now);
		text_add(&text, "\t", 1);
		text_add_string(&text, event->id);
		text_add(&text, "\t\t", 2);
		text_add_string(&text, event->stream);
		text_add(&text, "\t", 1);
		text_add_string(&text, category_of(event));
		text_add_string(&text, "\t" EVENT_TYPE "\t");
		text_add_string(&text, event->data);
		text_add(&text, "\n", 1);
	}
	add_param(call, text.bytes);
}

static void
send_prepared(PGconn *conn, const char *statement, const Call *call)
{
	PGresult *result = PQexecPrepared(conn, "call", call->nparams,
									  (const char *const *) call->params, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		die(statement, PQerrorMessage(conn));
	PQclear(result);
}

static void
send_copy(PGconn *conn, const char *statement, const Call *call)
{
	PGresult *result;

	execute(conn, statement);
	if (PQputCopyData(conn, call->params[0], (int) strlen(call->params[0])) != 1 ||
		PQputCopyEnd(conn, NULL) != 1)
		die(statement, PQerrorMessage(conn));
	while ((result = PQgetResult(conn)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			die(statement, PQerrorMessage(conn));
		PQclear(result);
	}
}

/* Where the events of a round go. */

static void
make_events(Side *side, const Row *row, Call *call)
{
	uint64_t number = mix(side->random++) % STREAMS;
	int64_t  version = row->fresh ? 0 : side->versions[number];
	char     stream[40];

	if (row->fresh)
		snprintf(stream, sizeof(stream), FRESH_CATEGORY "-%016" PRIx64, mix(side->nfresh++));
	else
		snprintf(stream, sizeof(stream), CATEGORY "-%04d", (int) number);
	call->nevents = row->batch;
	call->events = allocate(NULL, row->batch * sizeof(Event));
	for (int i = 0; i < row->batch; i++)
	{
		Event *event = &call->events[i];

		strcpy(event->stream, stream);
		event->version = ++version;
		event->position = ++side->position;
		make_id(event->id);
		make_data(event->data, event->position);
	}
	if (!row->fresh)
		side->versions[number] = version;
}

static Call *
make_calls(Side *side, const Row *row)
{
	Call *calls = allocate(NULL, row->calls * sizeof(Call));

	memset(calls, 0, row->calls * sizeof(Call));
	for (int i = 0; i < row->calls; i++)
	{
		make_events(side, row, &calls[i]);
		side->contender->fill(&calls[i]);
	}
	return calls;
}

static void
free_calls(Call *calls, const Row *row)
{
	for (int i = 0; i < row->calls; i++)
	{
		for (int j = 0; j < calls[i].nparams; j++)
			free(calls[i].params[j]);
		free(calls[i].events);
	}
	free(calls);
}

/* CPU time of a process in us, or -1 where the kernel does not count it. */
static double
read_cpu_us(int pid)
{
	char               path[64];
	FILE              *file;
	unsigned long long ns;
	unsigned long      user;
	unsigned long      system;
	int                n;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	if ((file = fopen(path, "r")) != NULL)
	{
		n = fscanf(file, "%llu", &ns);
		fclose(file);
		if (n == 1 && ns > 0)
			return ns / 1e3;
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if ((file = fopen(path, "r")) == NULL)
		return -1;
	n = fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			   &system);
	fclose(file);
	return n == 2 ? (user + system) * 1e6 / sysconf(_SC_CLK_TCK) : -1;
}

/* The same once the backend is idle: while it runs, the count lags by a clock tick. */
static double
backend_cpu_us(PGconn *conn)
{
	int    pid = PQbackendPID(conn);
	double before = read_cpu_us(pid);

	for (int i = 0; i < 100; i++)
	{
		double now;

		pause_ms();
		now = read_cpu_us(pid);
		if (now == before)
			break;
		before = now;
	}
	if (before < 0)
		die("could not read the CPU time of a backend", "/proc has none");
	return before;
}

static void
send_calls(Side *side, const Row *row, const Call *calls)
{
	for (int i = 0; i < row->calls; i++)
	{
		if (row->per_transaction > 1 && i % row->per_transaction == 0)
			execute(side->conn, "BEGIN");
		side->contender->send(side->conn, side->contender->statement, &calls[i]);
		if (row->per_transaction > 1 &&
			((i + 1) % row->per_transaction == 0 || i + 1 == row->calls))
			execute(side->conn, "COMMIT");
	}
}

/* One contender's part of a round. */
static void
run_side(Side *side, const Row *row, int round)
{
	Call  *calls = make_calls(side, row);
	double cpu = backend_cpu_us(side->conn);
	double wall = now_us();
	double events = (double) row->calls * row->batch;

	send_calls(side, row, calls);
	wall = now_us() - wall;
	cpu = backend_cpu_us(side->conn) - cpu;
	free_calls(calls, row);
	if (round >= 0)
	{
		side->cpu[round] = cpu / events;
		side->wall[round] = wall / events;
	}
}

/* Positions that COPY gave are behind the sequence; brings it up, and reads where it is. */
static void
read_position(Side *side, PGconn *conn)
{
	char      sql[1024];
	PGresult *result;

	snprintf(sql, sizeof(sql),
			 "SELECT setval(pg_get_serial_sequence('%s', 'position'), max(position)) FROM %s",
			 side->contender->table, side->contender->table);
	if (strcmp(side->contender->table, "es.events") == 0)
		strcpy(sql, "SELECT max(position) FROM es.events");
	result = query(conn, sql);
	side->position = atoll(PQgetvalue(result, 0, 0));
	PQclear(result);
}

static void
read_versions(Side *side, PGconn *conn)
{
	char      sql[1024];
	PGresult *result;

	snprintf(sql, sizeof(sql),
			 "SELECT stream, max(version) FROM %s WHERE category = '%s'"
			 " GROUP BY stream",
			 side->contender->table, CATEGORY);
	result = query(conn, sql);
	for (int i = 0; i < PQntuples(result); i++)
		side->versions[atoi(PQgetvalue(result, i, 0) + strlen(CATEGORY "-"))] =
			atoll(PQgetvalue(result, i, 1));
	PQclear(result);
}

/*
 * Puts a process on the CPU that we are on.  Client and backend take turns, so
 * neither waits for it, and no round pays for waking up another CPU.
 */
static void
share_cpu(int pid)
{
	static int cpu = -1;
	cpu_set_t  set;

	if (cpu < 0)
		cpu = sched_getcpu();
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(pid, sizeof(set), &set) != 0)
		die("could not bind a process to a CPU", "run as the server's user or as root");
}

static void
begin_side(Side *side, const Contender *contender, const Row *row, const char *info, PGconn *admin)
{
	memset(side, 0, sizeof(Side));
	side->contender = contender;
	side->random = (uint64_t) (row - rows) << 32;
	side->nfresh = (uint64_t) (row - rows) << 32;
	read_position(side, admin);
	read_versions(side, admin);
	side->conn = open_connection(info);
	share_cpu(PQbackendPID(side->conn));
	if (contender->send == send_prepared)
	{
		PGresult *result = PQprepare(side->conn, "call", contender->statement, 0, NULL);

		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			die(contender->statement, PQerrorMessage(side->conn));
		PQclear(result);
	}
}

/* Figures and how they are shown. */

static int
compare_figures(const void *a, const void *b)
{
	double difference = *(const double *) a - *(const double *) b;

	return difference < 0 ? -1 : difference > 0;
}

/* Sorts n figures; returns the median. */
static double
median(double *figures, int n)
{
	qsort(figures, n, sizeof(double), compare_figures);
	return n % 2 == 1 ? figures[n / 2] : (figures[n / 2 - 1] + figures[n / 2]) / 2;
}

static double
print_figures(double *figures, int n)
{
	double middle = median(figures, n);
	char   text[64];

	snprintf(text, sizeof(text), "%.2f (%.2f..%.2f)", middle, figures[n / 4],
			 figures[n - 1 - n / 4]);
	printf("  %-22s", text);
	return middle;
}

static void
print_row(const Row *row, Side *sides, int nsides, int rounds)
{
	double ratios[MAX_CONTENDERS][MAX_ROUNDS];
	double first = 0;

	for (int i = 0; i < nsides; i++)
	{
		for (int round = 0; round < rounds; round++)
			ratios[i][round] = sides[i].cpu[round] / sides[1].cpu[round];
	}
	printf("\n%s: %s\n", row->name, row->title);
	printf("  %-24s  %-22s  %-22s  %s\n", "contender", "CPU us/event", "wall us/event",
		   "CPU, ratio");
	for (int i = 0; i < nsides; i++)
	{
		double ratio;

		printf("  %-24s", sides[i].contender->name);
		print_figures(sides[i].cpu, rounds);
		print_figures(sides[i].wall, rounds);
		ratio = print_figures(ratios[i], rounds);
		printf("\n");
		if (i == 0)
			first = ratio;
	}
	printf("  %d rounds of %d events: ratio %.2f (target <= %.1f): %s\n", rounds,
		   row->calls * row->batch, first, row->target, first <= row->target ? "met" : "NOT met");
	fflush(stdout);
}

static void
run_row(const Row *row, const char *info, PGconn *admin)
{
	static Side sides[MAX_CONTENDERS];
	int         nsides = 0;
	int         rounds = 0;
	double      end = now_us() + ROW_SECONDS * 1e6;

	while (nsides < MAX_CONTENDERS && row->contenders[nsides] != NULL)
	{
		begin_side(&sides[nsides], row->contenders[nsides], row, info, admin);
		nsides++;
	}
	for (int round = -WARM_UP_ROUNDS; round < MAX_ROUNDS; round++)
	{
		if (round >= MIN_ROUNDS && now_us() > end)
			break;
		for (int i = 0; i < nsides; i++)
			run_side(&sides[(i + round + WARM_UP_ROUNDS) % nsides], row, round);
		rounds = round + 1;
	}
	print_row(row, sides, nsides, rounds);
	for (int i = 0; i < nsides; i++)
		PQfinish(sides[i].conn);
}

/* The store, and tables like its own with the same events in them. */

static void
fill_store(PGconn *conn)
{
	Side side = {0};
	Row  row = {.batch = FILL_EVENTS};

	side.conn = conn;
	PQclear(PQprepare(conn, "call", batch.statement, 0, NULL));
	execute(conn, "BEGIN");
	for (int i = 0; i < STREAMS; i++)
	{
		Call call = {0};

		make_events(&side, &row, &call);
		for (int j = 0; j < call.nevents; j++)
		{
			snprintf(call.events[j].stream, sizeof(call.events[j].stream), CATEGORY "-%04d", i);
			call.events[j].version = j + 1;
		}
		fill_batch(&call);
		send_prepared(conn, batch.statement, &call);
		for (int j = 0; j < call.nparams; j++)
			free(call.params[j]);
		free(call.events);
	}
	execute(conn, "COMMIT");
}

/*
 * The columns, NOT NULLs and indexes of es.events, and its events; neither its
 * guards nor its CHECK constraints.
 */
static void
make_bare(PGconn *conn, const char *table)
{
	execute_about(conn, "CREATE TABLE %s (LIKE es.events INCLUDING INDEXES)", table);
	execute_about(conn, "CREATE SEQUENCE %s_seq CACHE 1", table);
	execute_about(conn, "ALTER SEQUENCE %s_seq OWNED BY %s.position", table);
	execute_about(conn, "ALTER TABLE %s ALTER position SET DEFAULT nextval('%s_seq')", table);
	execute_about(conn, "INSERT INTO %s SELECT * FROM es.events ORDER BY position", table);
}

static void
make_tables(PGconn *conn)
{
	execute(conn, "CREATE EXTENSION pg_eventstore");
	execute(conn, "SELECT es_init()");
	fill_store(conn);
	execute(conn, "CREATE SCHEMA bench");
	make_bare(conn, bare.table);
	make_bare(conn, bare_random.table);
	execute(conn, "VACUUM FREEZE es.events, bench.bare, bench.bare_random");
	execute(conn, "CHECKPOINT");
}

static bool
is_wanted(const Row *row, char **names, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(row->name, names[i]) == 0)
			return true;
	}
	return n == 0;
}

static void
print_head(PGconn *conn)
{
	PGresult *result = query(conn, "SELECT current_setting('server_version')");

	printf("PostgreSQL %s; %d events in %d streams; %d bytes of data an event; one client\n",
		   PQgetvalue(result, 0, 0), STREAMS * FILL_EVENTS, STREAMS, DATA_BYTES);
	PQclear(result);
	printf("median (quartiles) of the rounds; ratios are to the second line, round by round\n");
}

int
main(int argc, char **argv)
{
	PGconn *admin;

	if (argc < 2)
		die("usage", "bench <connection string> [row ...]");
	admin = open_connection(argv[1]);
	share_cpu(0);
	print_head(admin);
	make_tables(admin);
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		if (is_wanted(&rows[i], argv + 2, argc - 2))
			run_row(&rows[i], argv[1], admin);
	}
	PQfinish(admin);
	return 0;
}
