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
#include "binding.h"
#include "channel.h"
#include "epoch.h"
#include "events.h"
#include "launcher.h"
#include "lock.h"
#include "marker.h"
#include "publish.h"
#include "read_plan.h"
#include "sequence.h"
#include "settings.h"
#include "shared.h"
#include "snapshot.h"
#include "store.h"
#include "table.h"
#include "tick.h"
#include "utility.h"
#include "waiting.h"

PG_MODULE_MAGIC;

/*
 * The store's relations, in the order in which they are made, looked up and locked: epochs
 * before ticks, as publishers lock them.
 */
static const EsTable *const tables[] = {
	&es_store_table, &es_events,   &es_positions,   &es_snapshots, &es_epochs, &es_ticks,
	&es_channels,    &es_bindings, &es_all_streams, &es_appending, &es_log,
};

void _PG_init(void);

void
_PG_init(void)
{
	es_table_init(tables, lengthof(tables));
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
