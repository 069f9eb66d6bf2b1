/*
 * read_node.h
 *		The executor's node that reads in place of a function scan.
 */
#ifndef ES_READ_NODE_H
#define ES_READ_NODE_H

#include "nodes/extensible.h"

#include "reader.h"

/* The functions that the node reads for. */
#define ES_READ_KINDS 3

extern const EsReaderKind *const es_read_node_kinds[ES_READ_KINDS];
extern CustomScanMethods         es_read_node_methods[ES_READ_KINDS];

extern void es_read_node_init(void);

#endif
