/*
 * utility.h
 *		What the event store has to do with utility statements.
 */
#ifndef ES_UTILITY_H
#define ES_UTILITY_H

extern void es_utility_init(void);

#endif
