/*
 * snapshot.h
 *		Saved states of streams.
 */
#ifndef ES_SNAPSHOT_H
#define ES_SNAPSHOT_H

#include "table.h"

extern const EsTable es_snapshots;

#endif
