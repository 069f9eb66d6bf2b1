/*
 * holder.h
 *		Transactions that hold RowShareLock on a relation that stands for a mark.
 */
#ifndef ES_HOLDER_H
#define ES_HOLDER_H

/* A transaction, as the lock manager names it. */
typedef struct EsHolder
{
	int64 backend; /* -1: a transaction prepared in another life of the server */
	int64 transaction;
	int64 floor; /* of a marker's holder: it has no position below this one */
} EsHolder;

extern EsHolder *es_holder_list(Oid relation, int *n);
extern int       es_holder_pid(const EsHolder *holder);
extern void      es_holder_await(const EsHolder *holder);

#endif
