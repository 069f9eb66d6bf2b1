/*
 * bench.h
 *		What the parts of the benchmark share.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
	const char *statement; /* $1 ... where it is prepared */
	bool        prepared;
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

/* bench.c */
extern const Row bench_rows[];

/* contenders.c */
extern const Contender bench_append;
extern const Contender bench_bare;
extern const Contender bench_bare_random;
extern const Contender bench_batch;
extern const Contender bench_copy;

/* calls.c */
extern void  bench_make_events(Side *side, const Row *row, Call *call);
extern Call *bench_make_calls(Side *side, const Row *row);
extern void  bench_free_calls(Call *calls, const Row *row);

/* tables.c */
extern void bench_make_tables(PGconn *conn);
extern void bench_read_position(Side *side, PGconn *conn);
extern void bench_read_versions(Side *side, PGconn *conn);

/* rounds.c */
extern void bench_share_cpu(int pid);
extern void bench_run_row(const Row *row, const char *info, PGconn *admin);

/* figures.c */
extern void bench_print_row(const Row *row, Side *sides, int nsides, int rounds);

/* util.c */
extern void      bench_die(const char *what, const char *detail);
extern void     *bench_allocate(void *old, size_t size);
extern void      bench_text_add(Text *text, const char *bytes, size_t n);
extern void      bench_text_add_string(Text *text, const char *string);
extern void      bench_text_add_int(Text *text, int64_t number);
extern char     *bench_copy_string(const char *string);
extern double    bench_now_us(void);
extern PGresult *bench_query(PGconn *conn, const char *sql);
extern void      bench_execute(PGconn *conn, const char *sql);
extern PGconn   *bench_connect(const char *info);

#endif
