/*
 * read_plan.h
 *		What the planner knows of the readers.
 */
#ifndef ES_READ_PLAN_H
#define ES_READ_PLAN_H

extern void es_read_plan_init(void);

#endif
