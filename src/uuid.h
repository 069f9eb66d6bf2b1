/*
 * uuid.h
 *		Event ids.
 */
#ifndef ES_UUID_H
#define ES_UUID_H

#include "utils/uuid.h"

extern void  es_uuid_generate(pg_uuid_t *id);
extern bool  es_uuid_parse(const char *text, pg_uuid_t *id);
extern char *es_uuid_text(const pg_uuid_t *id);

#endif
