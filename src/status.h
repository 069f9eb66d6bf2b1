/*
 * status.h
 *		Who may see how the store is doing.
 */
#ifndef ES_STATUS_H
#define ES_STATUS_H

extern void es_status_check_monitor(void);

#endif
