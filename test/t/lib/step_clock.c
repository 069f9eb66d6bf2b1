/*
 * step_clock.c
 *		A wall clock that a test steps while the server runs: preloaded into it.
 *
 * The file that ES_CLOCK names has two numbers: by how many microseconds the wall
 * clock is ahead, and, if not 0, at which microsecond of the epoch it stands still.
 * Clocks that do not step are left alone.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define US_PER_S 1000000LL

static const volatile int64_t *steps;

__attribute__((constructor)) static void
find_steps(void)
{
	const char *name = getenv("ES_CLOCK");
	int         fd = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC);
	void       *map;

	if (fd < 0)
		return;
	map = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		steps = map;
}

/* What the clock shows instead of this. */
static int64_t
stepped(const struct timespec *now)
{
	int64_t us = now->tv_sec * US_PER_S + now->tv_nsec / 1000;

	if (steps == NULL)
		return us;
	return steps[1] != 0 ? steps[1] : us + steps[0];
}

static int64_t
wall_clock(void)
{
	struct timespec now;

	syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	return stepped(&now);
}

int
clock_gettime(clockid_t id, struct timespec *now)
{
	int     status = (int) syscall(SYS_clock_gettime, id, now);
	int64_t us;

	if (status != 0 || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
		return status;
	us = stepped(now);
	now->tv_sec = us / US_PER_S;
	now->tv_nsec = us % US_PER_S * 1000;
	return 0;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int64_t us = wall_clock();

	now->tv_sec = us / US_PER_S;
	now->tv_usec = us % US_PER_S;
	return 0;
}

time_t
time(time_t *now)
{
	time_t seconds = wall_clock() / US_PER_S;

	if (now != NULL)
		*now = seconds;
	return seconds;
}
