/*
 * publisher.h
 *		The publisher: the background worker that publishes one database.
 */
#ifndef ES_PUBLISHER_H
#define ES_PUBLISHER_H

#include "postmaster/bgworker.h"

extern PGDLLEXPORT void es_publisher_main(Datum database);

extern void es_publisher_sleep(long ms);
extern bool es_publisher_register(Oid database, BackgroundWorkerHandle **handle);

#endif
