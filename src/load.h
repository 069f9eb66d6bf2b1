/*
 * load.h
 *		What readers of es.events share.
 */
#ifndef ES_LOAD_H
#define ES_LOAD_H

#include "store.h"

extern Relation es_load_open(const EsStore **store);

#endif
