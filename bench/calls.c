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

void
bench_make_events(Side *side, const Row *row, Call *call)
{
	uint64_t number = mix(side->random++) % STREAMS;
	int64_t  version = row->fresh ? 0 : side->versions[number];
	char     stream[40];

	if (row->fresh)
		snprintf(stream, sizeof(stream), FRESH_CATEGORY "-%016" PRIx64, mix(side->nfresh++));
	else
		snprintf(stream, sizeof(stream), CATEGORY "-%04d", (int) number);
	call->nevents = row->batch;
	call->events = bench_allocate(NULL, row->batch * sizeof(Event));
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
				Call *call)
{
	call->nevents = batch;
	call->nparams = 0;
	call->events = bench_allocate(NULL, batch * sizeof(Event));
	for (int i = 0; i < batch; i++)
	{
		Event *event = &call->events[i];

		snprintf(event->stream, sizeof(event->stream), "%s", stream);
		event->version = version + i;
		event->position = 0;
		make_id(event->id);
		make_data(event->data, event->version);
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
