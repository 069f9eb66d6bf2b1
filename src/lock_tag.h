/*
 * lock_tag.h
 *		What our locks are about: a part of their tags.
 */
#ifndef ES_LOCK_TAG_H
#define ES_LOCK_TAG_H

/* What a lock is about; a part of its tag. */
typedef enum EsLockKind
{
	ES_LOCK_STREAM = 0xE501,   /* appends to one stream */
	ES_LOCK_SNAPSHOT = 0xE502, /* changes of one stream's snapshots */
	ES_LOCK_STORE = 0xE503,    /* creation and migration of the store */
	ES_LOCK_EPOCH = 0xE504,    /* opening of an epoch */
	ES_LOCK_ALL = 0xE505,      /* the coarse lock, on all streams at once */
	ES_LOCK_CHANNELS = 0xE506  /* how many channels a role has */
} EsLockKind;

/* With a kind: the gate where those wait for whom the lock's queue is too long. */
#define ES_LOCK_GATE 0x10

#endif
