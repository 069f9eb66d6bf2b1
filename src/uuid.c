/*
 * uuid.c
 *		Event ids: UUIDv7 (RFC 9562), monotonic within a backend.
 *
 * An id that would not sort behind its predecessor is made from it by adding
 * one, the method of RFC 9562 6.2 for monotonic random values; so are all ids of
 * the same millisecond.  The random bytes of the others are PostgreSQL's, asked for
 * 64 ids at a time: asking costs much, how many bytes next to nothing.
 */
#include "postgres.h"

#include <sys/time.h>
#include <uuid/uuid.h>

#include "uuid.h"

#define ES_UUID_TIME_BYTES   6 /* 48 bits of milliseconds, big endian */
#define ES_UUID_RANDOM_BYTES (UUID_LEN - ES_UUID_TIME_BYTES)

static pg_uuid_t last; /* all zeros in a new backend */

static void
put_time(pg_uuid_t *id, uint64 milliseconds)
{
	for (int i = 0; i < ES_UUID_TIME_BYTES; i++)
		id->data[i] = (unsigned char) (milliseconds >> (8 * (ES_UUID_TIME_BYTES - 1 - i)));
}

/* Random bytes for one id; none is given twice. */
static const unsigned char *
random_bytes(void)
{
	static unsigned char bytes[64][ES_UUID_RANDOM_BYTES];
	static int           left = 0;

	if (left == 0)
	{
		if (!pg_strong_random(bytes, sizeof(bytes)))
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("could not generate random bytes for an event id")));
		left = lengthof(bytes);
	}
	return bytes[--left];
}

static void
fresh(pg_uuid_t *id, uint64 milliseconds)
{
	put_time(id, milliseconds);
	memcpy(id->data + ES_UUID_TIME_BYTES, random_bytes(), ES_UUID_RANDOM_BYTES);
	id->data[6] = (id->data[6] & 0x0F) | 0x70; /* the version */
	id->data[8] = (id->data[8] & 0x3F) | 0x80; /* the variant */
}

/* Adds one to the 74 random bits, and carries into the time. */
static void
increment(pg_uuid_t *id)
{
	for (int i = UUID_LEN - 1; i >= 0; i--)
	{
		/* the bits of this byte that count: all but variant and version */
		unsigned char mask = i == 8 ? 0x3F : i == 6 ? 0x0F : 0xFF;
		unsigned char next = (id->data[i] + 1) & mask;

		id->data[i] = (id->data[i] & ~mask) | next;
		if (next != 0)
			return;
	}
}

/* Makes the next id. */
void
es_uuid_generate(pg_uuid_t *id)
{
	struct timeval now;
	pg_uuid_t      time = {{0}};
	uint64         milliseconds;

	gettimeofday(&now, NULL);
	milliseconds = (uint64) now.tv_sec * 1000 + now.tv_usec / 1000;
	put_time(&time, milliseconds);
	if (memcmp(time.data, last.data, ES_UUID_TIME_BYTES) > 0)
	{
		fresh(id, milliseconds);
		if (memcmp(id->data, last.data, UUID_LEN) > 0)
		{
			last = *id;
			return;
		}
	}
	increment(&last);
	*id = last;
}

/* Reads the 36-character form; false where the text is not one. */
bool
es_uuid_parse(const char *text, pg_uuid_t *id)
{
	return uuid_parse(text, id->data) == 0;
}

/* The 36-character form, palloc'd. */
char *
es_uuid_text(const pg_uuid_t *id)
{
	char *text = palloc(UUID_STR_LEN);

	uuid_unparse_lower(id->data, text);
	return text;
}
