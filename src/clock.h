/*
 * clock.h
 *		A clock that does not step, for everything that lasts.
 */
#ifndef ES_CLOCK_H
#define ES_CLOCK_H

extern int64 es_clock_now(void);
extern int64 es_clock_in_ms(int64 ms);
extern long  es_clock_left(int64 moment);

#endif
