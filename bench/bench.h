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

#define MAX_CONTENDERS    8
#define MAX_TARGETS       6
#define MAX_PARAMS        10
#define MAX_ROUNDS        201
#define MIN_ROUNDS        5   /* even where the row's time is used up */
#define WARM_UP_ROUNDS    2   /* discarded */
#define CONTENDER_SECONDS 4.0 /* of a row; then no further round begins */

#define MAX_CLIENTS   32
#define MAX_LAGS      1000
#define LAG_SECONDS   0.05 /* between two looks at the lag */
#define QUIET_SECONDS 30.0 /* a publisher that is not done then never will be */

#define DATA_BYTES     256
#define MAX_DATA_BYTES 2048
#define EVENT_TYPE     "MoneyDeposited"
#define FRESH_CATEGORY "order"

/* The streams that are there before the first row; see tables.c. */
#define STREAMS       1000
#define FILL_EVENTS   100 /* of each stream of this category */
#define CATEGORY      "account"
#define TEN_STREAMS   1000
#define TENK_STREAMS  4
#define LONG_EVENTS   200000
#define RARE_CATEGORY "rare" /* one event in a hundred */
#define LOG_EVENTS                                                                                 \
	((STREAMS * FILL_EVENTS + TEN_STREAMS * 10 + TENK_STREAMS * 10000 + 100 + LONG_EVENTS) * 101 / \
	 100)

/* What es_load answers with, of a stream that is the text of an expression. */
#define STREAM_COLUMNS "version, type, data, metadata, recorded_at, id, position, payload"
#define SELECT_STREAM(stream)                                                         \
	"SELECT " STREAM_COLUMNS " FROM es.events WHERE tenant = '' AND stream = " stream \
	" ORDER BY version"

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

typedef enum Level
{
	QUICK = 1,
	FULL = 2,
	LONG = 4
} Level;

/* An event as it is sent. */
typedef struct Event
{
	char    stream[40];
	int64_t version;
	int64_t position;
	char    id[37];
	char    data[MAX_DATA_BYTES + 1];
} Event;

/* A statement with its parameters, about one event or a batch of one stream. */
typedef struct Call
{
	int    nevents;
	Event *events;
	bool   any; /* whatever version the stream is at */
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

/*
 * What holds events.  Nobody else writes them, so that the versions of the streams
 * of CATEGORY are known.
 */
typedef struct Table
{
	const char *database; /* NULL: that of the store */
	const char *schemas;  /* a pattern: where the contender's relations are */
	const char *name;
	const char *setting;     /* NULL, or what a connection needs */
	bool        positions;   /* COPY gives them: the sequence is brought up */
	bool        append_only; /* none of the streams can be read from it */
	int         missing;     /* 0: not looked yet, 1: is there, 2: its database is not */
	int64_t     versions[STREAMS];
} Table;

typedef struct Side Side;

/* How one side of a row does the job. */
typedef struct Contender
{
	const char        *name;
	Table             *table;
	const char        *statement; /* $1 ... where it is prepared */
	const char *const *more;      /* further statements of a call, up to NULL */
	bool               unprepared;
	const char        *channel; /* that its listener has; NULL: nobody is told */
	void (*fill)(Call *call);
	void (*send)(Side *side, const Call *call); /* NULL: executes the statement */
	bool (*appended)(const PGresult *result);   /* NULL: whatever is no error */
} Contender;

/* The first contender's figure is to be at most, or at least, so many times another's. */
typedef struct Target
{
	const Contender *against;
	double           ratio;
} Target;

typedef struct Row Row;

struct Row
{
	const char      *name;
	const char      *title;
	int              levels;          /* which runs it is part of */
	const char      *category;        /* of the streams, NULL: CATEGORY */
	int              streams;         /* how many of it, 0: STREAMS */
	bool             fresh;           /* a new stream for each call */
	bool             reads;           /* a call is about a stream, and sends no event */
	bool             inside;          /* the server; a function makes a transaction's calls */
	int              bytes;           /* of an event's data, 0: DATA_BYTES */
	int              batch;           /* events of a call */
	int              per_transaction; /* calls of a transaction; 0 or 1: no BEGIN */
	int              calls;           /* calls of a round */
	int              rounds;          /* at most; 0: as many as the time allows */
	int              clients;         /* that append at the same time */
	bool             ladder;          /* with fewer of them first */
	bool             hot;             /* all of them to one stream */
	bool             synchronous;     /* commits wait for the disk */
	double           seconds;         /* of a round, or of the row */
	double           target;          /* as the row says, where it has no list of targets */
	double           target_p99;      /* the same of the slowest hundredth */
	const Contender *contenders[MAX_CONTENDERS];
	Target           targets[MAX_TARGETS];
	void (*run)(const Row *row, const char *info, PGconn *admin);
};

/* A contender at work in a row; all of them draw the same random numbers. */
struct Side
{
	const Contender *contender;
	PGconn          *conn;
	uint64_t         random;
	uint64_t         nfresh;
	int64_t          position;        /* of the last event that was sent with one, or read */
	double           cpu[MAX_ROUNDS]; /* us per event */
	double           wall[MAX_ROUNDS];
};

/* What a publisher has still to do, as es_stat_publisher shows it. */
typedef struct Lag
{
	double at; /* s from the load's start */
	double events;
	double ms;
	double untold; /* positions that listeners have not been told of */
} Lag;

/* One appender; it has a stream of its own, or all have one. */
typedef struct Client
{
	PGconn          *conn;
	const Contender *contender;
	char             stream[40];
	int64_t          version;
	Call             call;
	bool             busy;
	bool             refused; /* the last call: it has to be sent again */
} Client;

/* Appenders that go on for a while, each with its next call when the last has ended. */
typedef struct Load
{
	int     nclients;
	Client  clients[MAX_CLIENTS];
	int     batch;
	bool    hot;
	int64_t hot_version;
	PGconn *listener; /* or NULL */
	PGconn *sampler;  /* or NULL */
	int     nlags;
	Lag     lags[MAX_LAGS];
	int64_t events;     /* that were appended */
	int64_t refused;    /* calls that have to be repeated */
	int64_t first_half; /* of the events */
	int64_t told;       /* notifications that the listener has received */
	double  seconds;
} Load;

/* What a target is. */
typedef enum Bound
{
	AT_MOST,
	AT_LEAST
} Bound;

/* A median and its quartiles. */
typedef struct Spread
{
	double middle;
	double low;
	double high;
} Spread;

/* rows.c */
extern const Row bench_rows[];
extern const int bench_nrows;

/* contenders.c */
extern const Contender bench_append;
extern const Contender bench_bare;
extern const Contender bench_append_notify;
extern const Contender bench_bare_notify;
extern const Contender bench_batch;
extern const Contender bench_copy;
extern void            bench_add_param(Call *call, char *param);
extern void            bench_add_string(Call *call, const char *string);
extern void            bench_add_int(Call *call, int64_t number);
extern void            bench_add_element(Text *array, const char *value);
extern const char     *bench_category_of(const Event *event, char category[40]);
extern void            bench_send(Side *side, const Call *call);

/* peers.c */
extern Table           bench_message_db_table;
extern Table           bench_emmett_table;
extern Table           bench_seed_table;
extern const Contender bench_message_db;
extern const Contender bench_emmett;
extern const Contender bench_seed;
extern const Contender bench_seed_steps;
extern const Contender bench_pgq;
extern void            bench_key_of(const Event *event, char key[64]);
extern void            bench_fill_peers(const char *info, PGconn *admin);

/* reads.c */
extern Table           bench_log_table;
extern const Contender bench_load_stream;
extern const Contender bench_select_stream;
extern const Contender bench_load_unprepared;
extern const Contender bench_select_unprepared;
extern const Contender bench_load_limit;
extern const Contender bench_select_limit;
extern const Contender bench_message_db_stream;
extern const Contender bench_rehydrate_long;
extern const Contender bench_rehydrate_short;
extern const Contender bench_read_log;
extern const Contender bench_select_log;
extern const Contender bench_read_rare;
extern const Contender bench_select_rare;
extern const Contender bench_consume_log;
extern const Contender bench_consume_outbox;
extern const Contender bench_consume_pgq;

/* inside.c */
extern const Contender bench_inside_append;
extern const Contender bench_inside_bare;
extern const Contender bench_inside_message_db;
extern const Contender bench_inside_emmett;
extern const Contender bench_inside_seed;
extern const Contender bench_inside_seed_steps;
extern const Contender bench_inside_load;
extern const Contender bench_inside_select;
extern const Contender bench_inside_message_db_stream;
extern void            bench_prepare_inside(Side *side);
extern void            bench_give_inside(Side *side, const Row *row, const Call *calls);
extern void            bench_do_inside(Side *side, const Row *row);

/* calls.c */
extern void  bench_make_events(Side *side, const Row *row, Call *call);
extern Call *bench_make_calls(Side *side, const Row *row);
extern void  bench_make_call(const Contender *contender, const char *stream, int64_t version,
							 int batch, bool any, Call *call);
extern void  bench_free_call(Call *call);
extern void  bench_free_calls(Call *calls, const Row *row);

/* tables.c */
extern Table   bench_store_table;
extern Table   bench_bare_table;
extern bool    bench_has(const Contender *contender, PGconn *admin);
extern void    bench_make_tables(PGconn *conn);
extern void    bench_append_stream(PGconn *conn, const char *stream, int64_t version, int events,
								   int batch);
extern void    bench_read_position(Side *side);
extern PGconn *bench_connect_table(const Table *table, const char *info);
extern void    bench_prepare(Side *side);

/* rounds.c */
extern void bench_share_cpu(int pid);
extern int  bench_begin_sides(Side *sides, const Row *row, const char *info, PGconn *admin);
extern int  bench_find_side(const Side *sides, int n, const Contender *contender);
extern void bench_send_calls(Side *side, const Row *row, const Call *calls);
extern void bench_time_calls(Side *side, const Row *row, Call *calls, int round);
extern void bench_run_row(const Row *row, const char *info, PGconn *admin);

/* load.c */
extern void bench_load_begin(Load *load, const Row *row, const Contender *contender,
							 const char *info, const char *synchronous_commit);
extern void bench_load_run(Load *load, int nclients, double seconds);
extern void bench_load_end(Load *load);
extern void bench_send_call(Client *client);
extern bool bench_take_result(Client *client);

/* publishing.c */
extern void       bench_make_durable(PGconn *admin);
extern PGconn    *bench_listen(const char *info);
extern int        bench_take_notifications(PGconn *listener, const char *channel);
extern void       bench_await_quiet(PGconn *admin);
extern PGconn    *bench_connect_appender(const char *info, const Contender *contender,
										 const char *synchronous_commit);
extern Lag        bench_read_lag(const PGresult *result);
extern const char bench_lag_query[];

/* latency.c, throughput.c, keepup.c, size.c, memory.c, growth.c */
extern void bench_run_latency(const Row *row, const char *info, PGconn *admin);
extern void bench_run_throughput(const Row *row, const char *info, PGconn *admin);
extern void bench_run_keep_up(const Row *row, const char *info, PGconn *admin);
extern void bench_run_size(const Row *row, const char *info, PGconn *admin);
extern void bench_run_memory(const Row *row, const char *info, PGconn *admin);
extern void bench_run_growth(const Row *row, const char *info, PGconn *admin);

/* figures.c */
extern double bench_quantile(double *figures, int n, double q);
extern Spread bench_spread(const double *figures, int n);
extern Spread bench_spread_of_ratios(const double *figures, const double *references, int n);

/* report.c */
extern void bench_report_begin(PGconn *admin, Level level);
extern void bench_report_row(const Row *row, const char *more);
extern void bench_report_columns(const char *first, ...) __attribute__((sentinel));
extern void bench_report_cell(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void bench_report_spread(int decimals, Spread spread);
extern void bench_report_line(void);
extern void bench_report_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void bench_report_target(const Row *row, double figure, Bound bound, double target,
								const char *format, ...) __attribute__((format(printf, 5, 6)));
extern void bench_report_unmeasured(const Row *row, const char *what);
extern void bench_report_missing(const Row *row, const Contender *contender);
extern void bench_report_end(const char *directory, Level level);

/* plot.c */
extern void bench_plot_bar(const char *group, const char *label, Spread spread);
extern void bench_plot_point(const char *panel, const char *line, double x, double y);
extern void bench_plot_write(const char *directory, Level level);

/* util.c */
extern void      bench_die(const char *what, const char *detail);
extern void     *bench_allocate(void *old, size_t size);
extern void      bench_text_add(Text *text, const char *bytes, size_t n);
extern void      bench_text_add_string(Text *text, const char *string);
extern void      bench_text_add_int(Text *text, int64_t number);
extern char     *bench_copy_string(const char *string);
extern double    bench_now_us(void);
extern void      bench_pause_ms(int ms);
extern PGresult *bench_check(PGconn *conn, const char *sql, PGresult *result);
extern PGresult *bench_query(PGconn *conn, const char *sql);
extern void      bench_execute(PGconn *conn, const char *sql);
extern double    bench_query_number(PGconn *conn, const char *sql);
extern PGconn   *bench_connect(const char *info, const char *database);

#endif
