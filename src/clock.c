/*
 * clock.c
 *		A clock that does not step, for everything that lasts.
 *
 * The wall clock is set back and forward: by an operator, by NTP, by a host that
 * resumes a virtual machine.  A pause that ends at a time of the wall clock would then
 * last as long as the step.  So times of the wall clock are only stored and shown, and
 * each pause, time-out and turn is measured by this clock.
 *
 * A moment is a number of microseconds since some time before the server's start.  The
 * processes of a server have the same moments, so that one may stand in shared
 * memory.  It means nothing to another life of the machine and is never stored.
 * Zero is past.
 */
#include "postgres.h"

#include <limits.h>

#include "common/int.h"
#include "portability/instr_time.h"

#include "clock.h"

#define ES_CLOCK_PER_MS 1000

/* The moment that it is now. */
int64
es_clock_now(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/* The moment so many milliseconds from now; the last one there is where that is too far. */
int64
es_clock_in_ms(int64 ms)
{
	int64 length;
	int64 moment;

	if (pg_mul_s64_overflow(ms, ES_CLOCK_PER_MS, &length) ||
		pg_add_s64_overflow(es_clock_now(), length, &moment))
		return PG_INT64_MAX;
	return moment;
}

/*
 * How many milliseconds are left until a moment: rounded up, so that 0 says that it has
 * come, and no more than one sleep may take.
 */
long
es_clock_left(int64 moment)
{
	int64 now = es_clock_now();

	if (moment <= now)
		return 0;
	return (long) Min((moment - now - 1) / ES_CLOCK_PER_MS + 1, INT_MAX);
}
