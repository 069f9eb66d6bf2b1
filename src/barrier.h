/*
 * barrier.h
 *		Barriers: what a transaction raises that must wait for all who hold a mark.
 */
#ifndef ES_BARRIER_H
#define ES_BARRIER_H

extern void es_barrier_init(void);
extern void es_barrier_raise(void);
extern void es_barrier_await(Oid mark);
extern bool es_barrier_is_raised(void);
extern void es_barrier_settle(bool now);

#endif
