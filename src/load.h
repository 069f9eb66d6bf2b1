/*
 * load.h
 *		What readers of es.events share.
 */
#ifndef ES_LOAD_H
#define ES_LOAD_H

#include "scan.h"
#include "store.h"

extern Relation es_load_open(const EsStore **store);
extern EsScan  *es_load_scan(EsScan *scan);

#endif
