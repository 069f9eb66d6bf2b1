/*
 * settings.h
 *		The settings pg_eventstore.*.
 */
#ifndef ES_SETTINGS_H
#define ES_SETTINGS_H

#include "utils/jsonb.h"

extern bool es_settings_allow_maintenance;
extern int  es_settings_channels_per_role;

extern void   es_settings_init(void);
extern Jsonb *es_settings_metadata(void);

#endif
