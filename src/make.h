/*
 * make.h
 *		Makes the store's relations by their descriptors.
 */
#ifndef ES_MAKE_H
#define ES_MAKE_H

extern void es_make_find_owner(Oid *owner);
extern int  es_make_tables(Oid *owner);
extern int  es_make_views(const char *functions, Oid *owner);
extern bool es_make_guards(const char *functions);

#endif
