/*
 * compat.h
 *		What differs between PostgreSQL 15, 17 and 18, each wrapped in the
 *		newest signature.  No other file tests PG_VERSION_NUM.
 */
#ifndef ES_COMPAT_H
#define ES_COMPAT_H

#include "access/genam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "commands/explain.h"
#include "common/jsonapi.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "optimizer/paths.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/acl.h"
#include "utils/datetime.h"
#include "utils/guc.h"

#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* The running top-level transaction, as the lock manager names it. */
static inline LocalTransactionId
es_compat_my_lxid(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProc->vxid.lxid;
#else
	return MyProc->lxid;
#endif
}

/* The number of this backend, from 0 on and below MaxBackends. */
static inline int
es_compat_my_backend(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProcNumber;
#else
	return MyBackendId - 1;
#endif
}

/* The backend of a virtual transaction; -1 for none. */
static inline int
es_compat_vxid_backend(VirtualTransactionId vxid)
{
#if PG_VERSION_NUM >= 170000
	return vxid.procNumber;
#else
	return vxid.backendId;
#endif
}

static inline VirtualTransactionId
es_compat_vxid(int backend, LocalTransactionId transaction)
{
	VirtualTransactionId vxid;

#if PG_VERSION_NUM >= 170000
	vxid.procNumber = backend;
#else
	vxid.backendId = backend;
#endif
	vxid.localTransactionId = transaction;
	return vxid;
}

/* Who holds a lock, as the lock manager lists it. */
static inline VirtualTransactionId
es_compat_lock_vxid(const LockInstanceData *lock)
{
#if PG_VERSION_NUM >= 170000
	return lock->vxid;
#else
	return es_compat_vxid(lock->backend, lock->lxid);
#endif
}

/* The process that runs a virtual transaction, or 0. */
static inline int
es_compat_vxid_pid(int backend, LocalTransactionId transaction)
{
	PGPROC *proc;

	if (backend < 0)
		return 0;
#if PG_VERSION_NUM >= 170000
	proc = ProcNumberGetProc(backend);
	return proc != NULL && proc->vxid.lxid == transaction ? proc->pid : 0;
#else
	proc = BackendIdGetProc(backend);
	return proc != NULL && proc->lxid == transaction ? proc->pid : 0;
#endif
}

/* Settings of a worker that only newer versions have. */
static inline void
es_compat_pin_settings(void)
{
#if PG_VERSION_NUM >= 170000
	SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
#endif
}

static inline bool
es_compat_owns_database(Oid database, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, roleid);
#else
	return pg_database_ownercheck(database, roleid);
#endif
}

static inline bool
es_compat_owns_relation(Oid relid, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relid, roleid);
#else
	return pg_class_ownercheck(relid, roleid);
#endif
}

static inline bool
es_compat_lock_held(const LOCKTAG *tag, LOCKMODE mode)
{
#if PG_VERSION_NUM >= 170000
	return LockHeldByMe(tag, mode, false);
#else
	return LockHeldByMe(tag, mode);
#endif
}

static inline IndexScanDesc
es_compat_index_beginscan(Relation heap, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(heap, index, snapshot, nkeys, 0);
#endif
}

static inline List *
es_compat_insert_index_tuples(ResultRelInfo *rri, TupleTableSlot *slot, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	return ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL, false);
#else
	return ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL);
#endif
}

/* Ends what inserts into an index have kept for the next one. */
static inline void
es_compat_index_insert_cleanup(Relation index, IndexInfo *info)
{
#if PG_VERSION_NUM >= 170000
	index_insert_cleanup(index, info);
#endif
}

static inline bool
es_compat_may_create(Oid database, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(DatabaseRelationId, database, roleid, ACL_CREATE) == ACLCHECK_OK;
#else
	return pg_database_aclcheck(database, roleid, ACL_CREATE) == ACLCHECK_OK;
#endif
}

static inline bool
es_compat_may_execute(Oid procid, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ProcedureRelationId, procid, roleid, ACL_EXECUTE) == ACLCHECK_OK;
#else
	return pg_proc_aclcheck(procid, roleid, ACL_EXECUTE) == ACLCHECK_OK;
#endif
}

/* The order that an expression of one relation gives, if the query has a use for it. */
static inline List *
es_compat_expression_pathkey(PlannerInfo *root, Expr *expr, Oid opno, Relids rel)
{
#if PG_VERSION_NUM >= 160000
	return build_expression_pathkey(root, expr, opno, rel, false);
#else
	return build_expression_pathkey(root, expr, NULL, opno, rel, false);
#endif
}

/* DecodeDateTime without its extra facts about an error. */
static inline int
es_compat_decode_datetime(char **field, int *type, int nfields, int *dtype, struct pg_tm *tm,
						  fsec_t *fsec, int *tz)
{
#if PG_VERSION_NUM >= 160000
	DateTimeErrorExtra extra;

	return DecodeDateTime(field, type, nfields, dtype, tm, fsec, tz, &extra);
#else
	return DecodeDateTime(field, type, nfields, dtype, tm, fsec, tz);
#endif
}

/* Is the text JSON?  Raises only where it is nested too deeply for the stack. */
static inline bool
es_compat_is_json(char *text)
{
#if PG_VERSION_NUM >= 170000
	JsonLexContext *lex =
		makeJsonLexContextCstringLen(NULL, text, strlen(text), GetDatabaseEncoding(), false);
#else
	JsonLexContext *lex =
		makeJsonLexContextCstringLen(text, strlen(text), GetDatabaseEncoding(), false);
#endif
	return pg_parse_json(lex, &nullSemAction) == JSON_SUCCESS;
}

#endif
