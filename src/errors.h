/*
 * errors.h
 *		SQLSTATEs of class SE, the event store's own.
 *
 * Classes that begin with 0-4 and A-H belong to the SQL standard; a class of
 * our own is not retried blindly by frameworks and reaches every driver with
 * DETAIL and constraint name.  Wherever PostgreSQL already has a code that
 * says it (22004, 22023, 42501 ...), that one is used.
 */
#ifndef ES_ERRORS_H
#define ES_ERRORS_H

/* the stream is not at the expected version */
#define ERRCODE_ES_EXPECTED_VERSION MAKE_SQLSTATE('S', 'E', '0', '0', '1')
/* event id conflict: other content, another stream, or half a batch known */
#define ERRCODE_ES_ID_CONFLICT MAKE_SQLSTATE('S', 'E', '0', '0', '2')
/* the log is append-only */
#define ERRCODE_ES_APPEND_ONLY MAKE_SQLSTATE('S', 'E', '0', '0', '3')
/* the cursor has seen a lost tail, or is ahead of the store */
#define ERRCODE_ES_LOST_TAIL MAKE_SQLSTATE('S', 'E', '0', '0', '5')
/* no store in this database, or a store of another version */
#define ERRCODE_ES_NO_STORE MAKE_SQLSTATE('S', 'E', '0', '0', '6')
/* not allowed for this tenant */
#define ERRCODE_ES_TENANT MAKE_SQLSTATE('S', 'E', '0', '0', '7')

#endif
