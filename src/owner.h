/*
 * owner.h
 *		SQL that the store runs as its owner.
 */
#ifndef ES_OWNER_H
#define ES_OWNER_H

typedef struct EsIdentity
{
	Oid user;
	int context;
} EsIdentity;

extern int es_owner_ddl;

extern void       es_owner_check(Oid owner);
extern EsIdentity es_owner_assume(Oid owner);
extern void       es_owner_resume(EsIdentity before);

extern EsIdentity es_owner_become(Oid owner);
extern void       es_owner_become_again(EsIdentity before);
extern uint64     es_owner_run_with(const char *command, int n, Oid *types, Datum *values);
extern void       es_owner_run(const char *command);
extern void       es_owner_run_ddl(const char *command);

#endif
