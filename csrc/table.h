/* SPDX-License-Identifier: BSD-3-Clause */
/* table.h: the table that the processes of one user share: which of them has a thread at work on which CPU. See table.c. */
#ifndef KTASK_TABLE_H
#define KTASK_TABLE_H

#include "topology.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

enum {
	TABLE_VERSION = 2,
	TABLE_ROWS = 4096, /* processes at a time; those that come later keep to limits of their own */
	TABLE_WHY = 160	   /* room for a reason, in words */
};

/* A seat: 0, nobody's; or bits 0 to 30 the number of a row, plus 1, and bit 31: a caller sits there, not a helper. */
#define SEAT_CALLER (UINT32_C(1) << 31)

struct table {
	char magic[8];
	uint32_t version;
	uint32_t size;
	uint64_t door_device; /* which door leads here: */
	uint64_t door_inode;
	/* Of the rows: bits 0 to 31 a pid, the others its namespace. */
	_Alignas(64) _Atomic uint64_t owners[TABLE_ROWS];
	_Alignas(64) _Atomic uint64_t groups[TABLE_ROWS]; /* of processes under the same CPU quota; 0: none */
	_Alignas(64) _Atomic uint32_t seats[MAX_CPUS];
};

/* How a process belongs to a table. */
struct member {
	struct table *table; /* NULL: it does not */
	int row;
	int segment;
	int door; /* an open file description of its own, which holds the lock of the row */
	uint64_t device;
	uint64_t inode;
};

/* One process that belongs to the table, as people see it. */
struct table_user {
	int pid; /* 0: in another namespace, where it has a number that means something else here */
	int helpers;
	int callers;
};

enum table_answer { TABLE_JOINED, TABLE_BUSY, TABLE_REFUSED };

/*
 * Joins the table behind the door at path, which is made if there is none. Never waits: TABLE_BUSY, try again later.
 * TABLE_REFUSED: there is none to be had, and why tells the reason.
 */
enum table_answer table_join(struct member *m, const char *path, char why[TABLE_WHY]);

/* Leaves the table without touching a seat: in a child after fork, whose parent it is that belongs to it. */
void table_leave(struct member *m);

/* The group of the process that has this seat; 0: none. */
uint64_t table_group_of(const struct table *t, uint32_t seat);

/*
 * Sets free the seats of processes that have died. By one thread at a time; takes system calls, but waits for nobody.
 * False: it cannot, since the program has closed the door, and the row with it.
 */
bool table_reclaim(struct member *m);

/*
 * Gets that row back, if nobody has it just now. By the same thread, and not while another one forks; opens the door at
 * path. Whoever had it meanwhile may have left a group there.
 */
bool table_return(struct member *m, const char *path);

/*
 * Lists the processes that belong to the table at path, max at most, and returns how many there are; joins nothing.
 * -1: it cannot be looked at, and why tells the reason.
 */
int table_users(const char *path, struct table_user *users, int max, char why[TABLE_WHY]);

#endif
