/*
 * privilege.h
 *		What direct access to a table of the store skips.
 */
#ifndef ES_PRIVILEGE_H
#define ES_PRIVILEGE_H

extern void es_privilege_check_read(Oid relid);
extern void es_privilege_check_write(Oid relid, const char *function);

#endif
