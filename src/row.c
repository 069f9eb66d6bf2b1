/*
 * row.c
 *		A row of any table.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"

#include "row.h"

/* Has this transaction, or one that it contains, written this row? */
bool
es_row_is_own(TupleTableSlot *slot)
{
	HeapTupleHeader header;

	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return false;
	header = ExecFetchSlotHeapTuple(slot, false, NULL)->t_data;
	/* the number in a frozen row may be anybody's by now */
	return !HeapTupleHeaderXminFrozen(header) &&
		   TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmin(header));
}
