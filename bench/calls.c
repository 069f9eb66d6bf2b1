/*
 * calls.c
 *		The calls of a round: which streams, versions and data, the same for every
 *		contender of a row.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

/* A number of a sequence that is the same in every run (splitmix64). */
static uint64_t
mix(uint64_t n)
{
	n = (n + 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u;
	n = (n ^ (n >> 27)) * 0x94D049BB133111EBu;
	return n ^ (n >> 31);
}

/*
 * A UUIDv7 in its text form that sorts behind all before it, as ours do within a
 * backend: ids in random order would make the others look slow.
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

/* A JSON object of exactly so many bytes; its filler does not compress well. */
static void
make_data(char *data, int64_t number, int bytes)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyz0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ.,";
	int      used = snprintf(data, bytes,
							 "{\"account\": \"DE%018" PRId64 "\", \"amount\": %" PRId64 ".50, "
								  "\"currency\": \"EUR\", \"fee\": 0, \"final\": true, \"tags\": [\"cash\", "
								  "\"branch\"], \"note\": \"",
							 number, number % 100000);
	uint64_t random = 0;

	for (int i = 0; used < bytes - 2; i++)
	{
		if (i % 10 == 0)
			random = mix((uint64_t) number * 1000 + i);
		data[used++] = letters[random & 63];
		random >>= 6;
	}
	strcpy(data + used, "\"}");
}

static void
choose_stream(Side *side, const Row *row, Event *event)
{
	int streams = row->streams > 0 ? row->streams : STREAMS;
	int number = (int) (mix(side->random++) % streams);

	if (row->fresh)
		snprintf(event->stream, sizeof(event->stream), FRESH_CATEGORY "-%016" PRIx64,
				 mix(side->nfresh++));
	else
		snprintf(event->stream, sizeof(event->stream), "%s-%04d",
				 row->category == NULL ? CATEGORY : row->category, number);
	event->version = row->fresh || row->reads ? 0 : side->contender->table->versions[number];
	if (!row->fresh && !row->reads)
		side->contender->table->versions[number] += row->batch;
}

void
bench_make_events(Side *side, const Row *row, Call *call)
{
	call->nevents = row->reads ? 1 : row->batch;
	call->events = bench_allocate(NULL, call->nevents * sizeof(Event));
	choose_stream(side, row, call->events);
	for (int i = 0; i < call->nevents && !row->reads; i++)
	{
		Event *event = &call->events[i];

		strcpy(event->stream, call->events->stream);
		event->version = i == 0 ? event->version + 1 : event[-1].version + 1;
		event->position = ++side->position;
		make_id(event->id);
		make_data(event->data, event->position, row->bytes > 0 ? row->bytes : DATA_BYTES);
	}
}

Call *
bench_make_calls(Side *side, const Row *row)
{
	Call *calls = bench_allocate(NULL, row->calls * sizeof(Call));

	memset(calls, 0, row->calls * sizeof(Call));
	for (int i = 0; i < row->calls; i++)
	{
		bench_make_events(side, row, &calls[i]);
		side->contender->fill(&calls[i]);
	}
	return calls;
}

/* One call about a stream, whose events begin at a version. */
void
bench_make_call(const Contender *contender, const char *stream, int64_t version, int batch,
				bool any, Call *call)
{
	call->nevents = batch;
	call->any = any;
	call->nparams = 0;
	call->events = bench_allocate(NULL, batch * sizeof(Event));
	for (int i = 0; i < batch; i++)
	{
		Event *event = &call->events[i];

		snprintf(event->stream, sizeof(event->stream), "%s", stream);
		event->version = version + i;
		event->position = 0;
		make_id(event->id);
		make_data(event->data, event->version, DATA_BYTES);
	}
	contender->fill(call);
}

void
bench_free_call(Call *call)
{
	for (int i = 0; i < call->nparams; i++)
		free(call->params[i]);
	free(call->events);
}

void
bench_free_calls(Call *calls, const Row *row)
{
	for (int i = 0; i < row->calls; i++)
		bench_free_call(&calls[i]);
	free(calls);
}
