/*
 * owner.c
 *		SQL that the store runs as its owner (O6): what hangs on its tables is the
 *		owner's code, whoever calls.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "owner.h"

/* The next statements are those of the store's own functions: as deep as they are nested. */
int es_owner_ddl = 0;

/* May the current role act as the owner of the store? */
void
es_owner_check(Oid owner)
{
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be owner of the event store"),
						errdetail("It belongs to role \"%s\".", GetUserNameFromId(owner, false)),
						errhint("Call it as a member of that role, or as a superuser.")));
}

/* Becomes the owner; a transaction's abort undoes it. */
EsIdentity
es_owner_assume(Oid owner)
{
	EsIdentity before;

	GetUserIdAndSecContext(&before.user, &before.context);
	SetUserIdAndSecContext(owner, before.context | SECURITY_LOCAL_USERID_CHANGE |
									  SECURITY_RESTRICTED_OPERATION);
	return before;
}

void
es_owner_resume(EsIdentity before)
{
	SetUserIdAndSecContext(before.user, before.context);
}

/* Becomes the owner, with SPI connected. */
EsIdentity
es_owner_become(Oid owner)
{
	EsIdentity before = es_owner_assume(owner);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	return before;
}

void
es_owner_become_again(EsIdentity before)
{
	SPI_finish();
	es_owner_resume(before);
}

/* Runs a command with arguments by SPI; answers how many rows it was about. */
uint64
es_owner_run_with(const char *command, int n, Oid *types, Datum *values)
{
	int result = SPI_execute_with_args(command, n, types, values, NULL, false, 0);

	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", command, SPI_result_code_string(result));
	return SPI_processed;
}

/* Runs a command by SPI. */
void
es_owner_run(const char *command)
{
	int result = SPI_execute(command, false, 0);

	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", command, SPI_result_code_string(result));
}

/* The same for a statement that changes the store's own objects, and runs nobody's code. */
void
es_owner_run_ddl(const char *command)
{
	es_owner_ddl++;
	PG_TRY();
	{
		es_owner_run(command);
	}
	PG_FINALLY();
	{
		es_owner_ddl--;
	}
	PG_END_TRY();
}
