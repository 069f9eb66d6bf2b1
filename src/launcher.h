/*
 * launcher.h
 *		The launcher: starts a publisher for each database that has a store.
 */
#ifndef ES_LAUNCHER_H
#define ES_LAUNCHER_H

extern PGDLLEXPORT void es_launcher_main(Datum arg);

extern void es_launcher_init(void);

#endif
