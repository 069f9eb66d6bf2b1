/*
 * pg_eventstore.c
 *		The module: its magic block and its start.
 *
 * The module may be preloaded or not.  Not preloaded it is loaded by the first
 * call of one of its functions in a session, possibly inside a transaction
 * (guarantee O4).
 */
#include "postgres.h"

#include "fmgr.h"

#include "barrier.h"
#include "launcher.h"
#include "lock.h"
#include "publish.h"
#include "read_plan.h"
#include "settings.h"
#include "shared.h"
#include "utility.h"
#include "waiting.h"

PG_MODULE_MAGIC;

void _PG_init(void);

void
_PG_init(void)
{
	es_settings_init();
	es_lock_init();
	es_barrier_init();
	es_shared_init();
	es_waiting_init();
	es_publish_init();
	es_utility_init();
	es_read_plan_init();
	es_launcher_init();
}
