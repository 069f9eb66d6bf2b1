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

#define MAX_CLIENTS   16
#define MAX_LAGS      1000
#define LAG_SECONDS   0.05 /* between two looks at the lag */
#define QUIET_SECONDS 30.0 /* a publisher that is not done then never will be */

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
	const char *channel; /* that its listener has; NULL: nobody is told */
	void (*fill)(Call *call);
	void (*send)(PGconn *conn, const char *statement, const Call *call);
} Contender;

typedef struct Row Row;

struct Row
{
	const char      *name;
	const char      *title;
	bool             fresh;           /* a new stream for each call */
	int              batch;           /* events of a call */
	int              per_transaction; /* calls of a transaction; 1: no BEGIN */
	int              calls;           /* calls of a round */
	int              clients;         /* that append at the same time */
	double           seconds;         /* of a round, or of the row */
	double           target;          /* the ratio of the first to the second, or as the row says */
	double           target_p99;      /* the same of the slowest hundredth */
	const Contender *contenders[MAX_CONTENDERS];
	void (*run)(const Row *row, const char *info, PGconn *admin);
};

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

/* What a publisher has still to do, as es_stat_publisher shows it. */
typedef struct Lag
{
	double at; /* s from the load's start */
	double events;
	double ms;
	double untold; /* positions that listeners have not been told of */
} Lag;

/* One appender; it has streams of its own. */
typedef struct Client
{
	PGconn          *conn;
	const Contender *contender;
	char             stream[40];
	int64_t          version;
	Call             call;
	bool             busy;
} Client;

/* Appenders that go on for a while, each with its next call when the last has ended. */
typedef struct Load
{
	int     nclients;
	Client  clients[MAX_CLIENTS];
	int     batch;
	PGconn *listener;
	PGconn *sampler; /* or NULL */
	int     nlags;
	Lag     lags[MAX_LAGS];
	int64_t events;     /* that were appended */
	int64_t first_half; /* of these */
	int64_t told;       /* notifications that the listener has received */
	double  seconds;
} Load;

/* bench.c */
extern const Row bench_rows[];

/* contenders.c */
extern const Contender bench_append;
extern const Contender bench_bare;
extern const Contender bench_bare_random;
extern const Contender bench_append_notify;
extern const Contender bench_bare_notify;
extern const Contender bench_batch;
extern const Contender bench_copy;

/* calls.c */
extern void  bench_make_events(Side *side, const Row *row, Call *call);
extern Call *bench_make_calls(Side *side, const Row *row);
extern void  bench_make_call(const Contender *contender, const char *stream, int64_t version,
							 int batch, Call *call);
extern void  bench_free_call(Call *call);
extern void  bench_free_calls(Call *calls, const Row *row);

/* tables.c */
extern void bench_make_tables(PGconn *conn);
extern void bench_read_position(Side *side, PGconn *conn);
extern void bench_read_versions(Side *side, PGconn *conn);

/* rounds.c */
extern void bench_share_cpu(int pid);
extern void bench_run_row(const Row *row, const char *info, PGconn *admin);

/* load.c */
extern void bench_load_begin(Load *load, const Row *row, const Contender *contender,
							 const char *info, const char *synchronous_commit);
extern void bench_load_run(Load *load, double seconds);
extern void bench_load_end(Load *load);

/* publishing.c */
extern void       bench_make_durable(PGconn *admin);
extern PGconn    *bench_listen(const char *info);
extern int        bench_take_notifications(PGconn *listener, const char *channel);
extern void       bench_await_quiet(PGconn *admin);
extern PGconn    *bench_connect_appender(const char *info, const Contender *contender,
										 const char *synchronous_commit);
extern Lag        bench_read_lag(const PGresult *result);
extern const char bench_lag_query[];

/* latency.c, throughput.c, keepup.c */
extern void bench_run_latency(const Row *row, const char *info, PGconn *admin);
extern void bench_run_throughput(const Row *row, const char *info, PGconn *admin);
extern void bench_run_keep_up(const Row *row, const char *info, PGconn *admin);

/* figures.c */
extern double bench_quantile(double *figures, int n, double q);
extern double bench_print_figures(double *figures, int n);
extern void   bench_print_row(const Row *row, Side *sides, int nsides, int rounds);

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
