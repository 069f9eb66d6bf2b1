/*
 * pg_eventstore from C with libpq: conflicts, safe retries, folding.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#define MAX_ATTEMPTS 5

/* What became of an append. */
typedef enum Outcome
{
	APPENDED,
	CONFLICT
} Outcome;

static void
fail(const char *message)
{
	fprintf(stderr, "%s", message);
	exit(1);
}

/* PGHOST and its like say where. */
static PGconn *
connect_store(void)
{
	PGconn *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		fail(PQerrorMessage(conn));
	return conn;
}

/* Runs a query that must answer with rows. */
static PGresult *
query(PGconn *conn, const char *sql, int n, const char *const *values)
{
	PGresult *result = PQexecParams(conn, sql, n, NULL, values, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail(PQresultErrorMessage(result));
	return result;
}

/* Appends one event; id may be NULL.  Sets *version where it did. */
static Outcome
append(PGconn *conn, const char *stream, long expected, const char *type, const char *data,
	   const char *id, long *version)
{
	char        number[32];
	const char *values[] = {stream, number, type, data, id};
	const char *sqlstate;
	PGresult   *result;

	snprintf(number, sizeof(number), "%ld", expected);
	result = PQexecParams(conn, "SELECT es_append($1, $2, $3, $4, id => $5)", 5, NULL, values, NULL,
						  NULL, 0);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
	{
		*version = atol(PQgetvalue(result, 0, 0));
		PQclear(result);
		return APPENDED;
	}
	sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	if (sqlstate == NULL || strcmp(sqlstate, "SE001") != 0)
		fail(PQresultErrorMessage(result));
	PQclear(result);
	return CONFLICT;
}

/* The version of a stream and its state: what a decision needs. */
typedef struct Order
{
	long        version;
	const char *status;
	long        total;
} Order;

static Order
load(PGconn *conn, const char *stream)
{
	Order     order = {0, "none", 0};
	PGresult *result = query(conn,
							 "SELECT version, type, data ->> 'price', data ->> 'quantity' "
							 "FROM es_load($1)",
							 1, &stream);

	for (int i = 0; i < PQntuples(result); i++)
	{
		const char *type = PQgetvalue(result, i, 1);

		order.version = atol(PQgetvalue(result, i, 0));
		if (strcmp(type, "OrderPlaced") == 0)
			order.status = "placed";
		else if (strcmp(type, "ItemAdded") == 0)
			order.total += atol(PQgetvalue(result, i, 2)) * atol(PQgetvalue(result, i, 3));
		else if (strcmp(type, "OrderPaid") == 0)
			order.status = "paid";
	}
	PQclear(result);
	return order;
}

/* Loads, decides, appends; where somebody was faster, does it all again. */
static long
add_item(PGconn *conn, PGconn *other, const char *stream, const char *item)
{
	long version;

	for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++)
	{
		Order order = load(conn, stream);

		/* between our load and our append somebody else appends */
		if (order.version == 1)
			append(other, stream, 1, "AddressChanged", "{\"city\": \"Graz\"}", NULL, &version);
		if (append(conn, stream, order.version, "ItemAdded", item, NULL, &version) == APPENDED)
			return version;
		printf("conflict: expected version %ld, found %ld\n", order.version,
			   load(conn, stream).version);
	}
	fail("too many conflicts\n");
	return 0;
}

/* A new id, from the server; any UUID will do. */
static void
make_id(PGconn *conn, char id[37])
{
	PGresult *result = query(conn, "SELECT pg_catalog.gen_random_uuid()", 0, NULL);

	snprintf(id, 37, "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
}

int
main(void)
{
	PGconn *conn = connect_store();
	PGconn *other = connect_store();
	char    stream[64] = "order-";
	char    id[37];
	long    version;
	Order   order;

	make_id(conn, id);
	strcat(stream, id);
	if (append(conn, stream, 0, "OrderPlaced", "{\"customer\": \"anna\"}", NULL, &version) != APPENDED)
		fail("there is such an order\n");
	printf("placed the order: version %ld\n", version);

	version = add_item(conn, other, stream, "{\"sku\": \"apple\", \"quantity\": 3, \"price\": 10}");
	printf("added an item: version %ld\n", version);

	/* With an id of ours the very same call may be repeated: nothing is stored twice. */
	make_id(conn, id);
	append(conn, stream, 3, "OrderPaid", "{\"by\": \"card\"}", id, &version);
	PQfinish(conn); /* as if it broke before the answer came */
	conn = connect_store();
	append(conn, stream, 3, "OrderPaid", "{\"by\": \"card\"}", id, &version);
	printf("paid, but the answer was lost; tried again: version %ld\n", version);

	order = load(conn, stream);
	printf("the stream has %ld events\n", order.version);
	printf("the order is %s, total %ld\n", order.status, order.total);
	PQfinish(conn);
	PQfinish(other);
	return 0;
}
