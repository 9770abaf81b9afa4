/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * table.c: one table for all processes of a user, so that they do not start more threads together than there are CPUs.
 *
 * Words
 *   seat   one for each CPU of the machine, by the CPU's number. A helper works only while it has a seat; a caller that
 *          calls helpers takes one as well, if there is one. So there are never more helpers at work than CPUs for them,
 *          and few where others' callers already use the CPUs. limits.c takes seats and gives them back.
 *   row    a process has one. The number of the row stands in its seats. Beside it stands its group: which CPU quota it
 *          is under (limits.c).
 *   door   a small file, /dev/shm/ktask-UID, by which processes find the table. It holds no state but the name of
 *          the segment; its locks are what counts.
 *
 * State
 *   door, byte 0        locked by who is on his way in.
 *   door, byte 1 + row  write-locked by the process that has the row, from then until it dies; read-locked by those who
 *                       clear up after one that died. The lock is the open file description's (F_OFD_SETLK), and the
 *                       kernel takes it away when no process has that open any more. A child of fork has it too, so it
 *                       closes it first thing.
 *   door, its content   struct record: which segment is the table.
 *   segment             struct table: a System V segment that was marked for removal at birth, so that it vanishes with the
 *                       last process that has it attached. As long as there is one, others can attach it by its number.
 *   seats[cpu]          0, or who sits there: written by compare-and-exchange only, from 0 by the process that has the row,
 *                       to 0 by who has locked it.
 *
 * Coming in (table_join)
 *   1. Open the door, and check that it is ours: no link, a plain file of this user that nobody else can write.
 *   2. Lock byte 0, or come back later.
 *   3. Attach the segment in the record, if it is ours and says that it belongs to this door.
 *   4. If that cannot be done: when some row is locked, there is a table that only this process cannot use: another
 *      version, another IPC namespace (the record tells), a damaged record. Then keep out; but if the segment is no
 *      more, come back later: the last process that had it may be on its way out. Otherwise nobody uses one: make a
 *      new one.
 *   5. Lock the first free row: its process has died, if it ever had one. Empty its seats. Unlock byte 0.
 * Clearing up (table_reclaim), by who finds no seat
 *   6. For each row that has seats, but for one's own: try to read-lock it. If that works, its process has died: empty its
 *      seats and unlock it.
 * Coming back (table_return), by who finds in 6 that the program has closed the door
 *   7. Open it anew. If it is the same, and leads to the same segment, lock byte 0 and the row that was its own; if
 *      somebody else had that meanwhile, empty its seats; unlock byte 0. Or try again later, if somebody has the row now.
 *      No other thread forks in between: its child would share the lock, and not know.
 *
 * Why it is exact. Starting a helper is one atomic operation on one word, which says both that the seat is taken and by
 * whom: there is no moment in which a process could die between the two. A row's lock goes away after the last
 * instruction of its process (the kernel takes away a dying thread's memory before its files), so who gets
 * the lock sees all that was written, and nothing more will be. Only who holds it writes the row's number, or removes
 * what another has left. While somebody clears up, nobody can have the row; who wants one goes on to the next. Two
 * may clear up after the same process: they do the same. Who dies in the middle of any step leaves a lock that the kernel
 * takes away, and seats for the next one to find. Step 4 makes at most one table at a time: making one takes byte 0, and
 * that no row is locked; rows are taken under byte 0.
 *
 * What others can do. Nobody else's processes get in: door and segment are of this user only, mode 0600. A segment has
 * its size for life, so unlike a mapped file it cannot be truncated under its users, and memory that is there does not
 * run out: touching it never faults. What is in it is not trusted: rows are looked at only within bounds, and a seat
 * with the number of no row is emptied. Nonsense in the seats or groups makes runs serial, or lets a helper too many
 * work, and no more: nothing else depends on it. All locks are only tried, so no one waits.
 *
 * A process that is stopped keeps its seats. One that closes files that are not its own loses its row, and others take it
 * for dead: until it comes back (7), which is when it next finds no seat, there may be too many helpers. A fork without
 * the C library's fork() leaves the child with its parent's row: both count as one process.
 *
 * Steps 1 to 6, with a process that dies at any of them, are explored by tests/model/table.pml.
 */
#define _GNU_SOURCE
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "ktask"

struct record {
	char magic[8];
	uint32_t version;
	int32_t segment;
	uint64_t ipc_namespace; /* where it has that number; 0: not known */
};

static int refuse(char why[TABLE_WHY], const char *what)
{
	snprintf(why, TABLE_WHY, "%s", what);
	return -1;
}

static int refuse_errno(char why[TABLE_WHY], const char *call)
{
	snprintf(why, TABLE_WHY, "%s: %s", call, strerror(errno));
	return -1;
}

/* ---- locks ------------------------------------------------------------------------------------------------------ */

enum { COMING_IN = 0, FIRST_ROW = 1, WHOLE_DOOR = 0 };

static bool lock(int door, int byte, short type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(door, F_OFD_SETLK, &l) == 0;
}

static void unlock(int door, int byte)
{
	struct flock l = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	fcntl(door, F_OFD_SETLK, &l);
}

/* Has somebody else write-locked one of so many bytes (0: all that follow)? Yes, if there is no telling. */
static bool is_locked(int door, int byte, int length)
{
	struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = length };

	return fcntl(door, F_OFD_GETLK, &l) != 0 || l.l_type != F_UNLCK;
}

/* ---- the door --------------------------------------------------------------------------------------------------- */

/* Step 1. Without O_NONBLOCK, a device of that name could make us wait. errno tells about open(2) only. */
static int open_door(const char *path, int flags, struct member *m, char why[TABLE_WHY])
{
	int door = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | flags, 0600);
	struct stat s;

	if (door < 0)
		return refuse_errno(why, "open");
	if (fstat(door, &s) != 0)
		refuse_errno(why, "fstat");
	else if (!S_ISREG(s.st_mode))
		refuse(why, "it is not a plain file");
	else if (s.st_uid != geteuid())
		snprintf(why, TABLE_WHY, "it belongs to user %u", (unsigned)s.st_uid);
	else if (s.st_mode & 077)
		snprintf(why, TABLE_WHY, "others may use it, too: its mode is %03o", (unsigned)s.st_mode & 0777);
	else if (s.st_nlink != 1)
		refuse(why, "it has other names, too, or none any more");
	else {
		*m = (struct member){ .row = -1, .door = door, .device = s.st_dev, .inode = s.st_ino };
		return door;
	}
	close(door);
	errno = 0;
	return -1;
}

/* Is the descriptor still what it was, and not another file that got its number after a closefrom(3)? */
static bool is_door(const struct member *m)
{
	struct stat s;

	return fstat(m->door, &s) == 0 && s.st_dev == m->device && s.st_ino == m->inode;
}

/* Of this process; 0: there is no telling. */
static uint64_t namespace_number(const char *path)
{
	struct stat s;

	return stat(path, &s) == 0 ? s.st_ino : 0;
}

/* ---- the segment ------------------------------------------------------------------------------------------------ */

/* Those processes can attach it that are in the same one. */
static uint64_t ipc_namespace(void)
{
	return namespace_number("/proc/self/ns/ipc");
}

static bool is_ours(int segment)
{
	struct shmid_ds s;

	return shmctl(segment, IPC_STAT, &s) == 0 && s.shm_perm.uid == geteuid() && s.shm_perm.cuid == geteuid() &&
	       (s.shm_perm.mode & 0777) == 0600 && s.shm_segsz == sizeof(struct table);
}

static bool belongs_to(const struct table *t, const struct member *m)
{
	return memcmp(t->magic, MAGIC, sizeof(MAGIC)) == 0 && t->version == TABLE_VERSION && t->size == sizeof(*t) &&
	       t->door_device == m->device && t->door_inode == m->inode;
}

static bool read_record(const struct member *m, struct record *r)
{
	return pread(m->door, r, sizeof(*r), 0) == (ssize_t)sizeof(*r) && memcmp(r->magic, MAGIC, sizeof(MAGIC)) == 0 &&
	       r->version == TABLE_VERSION;
}

/* Step 3. NULL: it cannot be done. */
static struct table *attach(struct member *m, int flags)
{
	struct record r;
	struct table *t;

	if (!read_record(m, &r) || !is_ours(r.segment))
		return NULL;
	t = shmat(r.segment, NULL, flags);
	if (t == (void *)-1)
		return NULL;
	m->segment = r.segment;
	if (belongs_to(t, m))
		return t;
	shmdt(t);
	return NULL;
}

/* Step 4. Somebody uses a table that cannot be attached. TABLE_BUSY: that may be over in a moment. */
static enum table_answer why_not(const struct member *m, char why[TABLE_WHY])
{
	uint64_t here = ipc_namespace();
	struct record r;
	struct shmid_ds s;

	if (!read_record(m, &r)) {
		refuse(why, "it is in use by processes of another version, or damaged");
	} else if (here && r.ipc_namespace && r.ipc_namespace != here) {
		refuse(why, "it is in use by processes of another IPC namespace");
	} else if (shmctl(r.segment, IPC_STAT, &s) != 0 && (errno == EINVAL || errno == EIDRM)) {
		refuse(why,
		       "its segment is not there: it is in use by a process on its way out, or of another namespace");
		return TABLE_BUSY;
	} else {
		refuse(why, "it is in use by processes of another namespace, or damaged");
	}
	return TABLE_REFUSED;
}

/* Step 4. A segment is all zeros at first: every seat free. */
static struct table *make(struct member *m, char why[TABLE_WHY])
{
	struct record r = { .magic = MAGIC, .version = TABLE_VERSION, .ipc_namespace = ipc_namespace() };
	struct table *t = (void *)-1;
	struct rlimit largest;

	/* Beyond that, writing would bring on SIGXFSZ. */
	if (getrlimit(RLIMIT_FSIZE, &largest) != 0 || largest.rlim_cur < sizeof(r)) {
		refuse(why, "this process may not write files");
		return NULL;
	}
	r.segment = shmget(IPC_PRIVATE, sizeof(struct table), IPC_CREAT | 0600);
	if (r.segment < 0) {
		refuse_errno(why, "shmget");
		return NULL;
	}
	t = shmat(r.segment, NULL, 0);
	if (t == (void *)-1)
		refuse_errno(why, "shmat");
	shmctl(r.segment, IPC_RMID, NULL);
	if (t == (void *)-1)
		return NULL;
	memcpy(t->magic, MAGIC, sizeof(MAGIC));
	t->version = TABLE_VERSION;
	t->size = sizeof(*t);
	t->door_device = m->device;
	t->door_inode = m->inode;
	m->segment = r.segment;
	if (pwrite(m->door, &r, sizeof(r), 0) == (ssize_t)sizeof(r))
		return t;
	refuse_errno(why, "write");
	shmdt(t);
	return NULL;
}

/* ---- rows ------------------------------------------------------------------------------------------------------- */

/* The row of a seat; -1 for a number that none has. */
static int row_of(uint32_t seat)
{
	uint32_t row = (seat & ~SEAT_CALLER) - 1;

	return row < TABLE_ROWS ? (int)row : -1;
}

uint64_t table_group_of(const struct table *t, uint32_t seat)
{
	int row = row_of(seat);

	return row >= 0 ? atomic_load_explicit(&t->groups[row], memory_order_relaxed) : 0;
}

/* By who has locked the row. -1: the seats of no row, which nobody can have taken. */
static void empty_seats(struct table *t, int row)
{
	for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
		uint32_t seat = atomic_load_explicit(&t->seats[cpu], memory_order_relaxed);

		if (seat && row_of(seat) == row)
			atomic_compare_exchange_strong_explicit(&t->seats[cpu], &seat, 0, memory_order_relaxed,
								memory_order_relaxed);
	}
}

/* Which numbers of processes are the same as here. */
static uint32_t pid_namespace(void)
{
	return (uint32_t)namespace_number("/proc/self/ns/pid");
}

/* This process, as it stands beside its row. */
static uint64_t owner(void)
{
	return (uint64_t)pid_namespace() << 32 | (uint32_t)getpid();
}

/* By who has locked the row: nothing is left of who had it before. */
static void move_in(struct member *m, int row)
{
	empty_seats(m->table, row);
	atomic_store_explicit(&m->table->owners[row], owner(), memory_order_relaxed);
	atomic_store_explicit(&m->table->groups[row], 0, memory_order_relaxed);
	m->row = row;
}

/* Step 5. */
static bool take_row(struct member *m)
{
	/* Numbers of processes are as good as any to begin with: most get what they try first. */
	for (int i = 0; i < TABLE_ROWS; i++) {
		int row = (int)(((unsigned)getpid() + (unsigned)i) % TABLE_ROWS);

		if (!lock(m->door, FIRST_ROW + row, F_WRLCK))
			continue;
		move_in(m, row);
		return true;
	}
	return false;
}

enum table_answer table_join(struct member *m, const char *path, char why[TABLE_WHY])
{
	int door = open_door(path, O_CREAT, m, why);
	enum table_answer answer = TABLE_REFUSED;

	if (door < 0)
		return TABLE_REFUSED;
	if (!lock(door, COMING_IN, F_WRLCK)) {
		answer = errno == EAGAIN || errno == EACCES ? TABLE_BUSY : TABLE_REFUSED;
		refuse_errno(why, "fcntl");
		goto out;
	}
	m->table = attach(m, 0);
	if (!m->table && is_locked(door, FIRST_ROW, WHOLE_DOOR)) {
		answer = why_not(m, why);
		goto out;
	}
	if (!m->table)
		m->table = make(m, why);
	if (!m->table)
		goto out;
	if (take_row(m)) {
		unlock(door, COMING_IN);
		return TABLE_JOINED;
	}
	refuse(why, "it is full");
	shmdt(m->table);
out:
	close(door); /* and with it the locks */
	m->table = NULL;
	return answer;
}

void table_leave(struct member *m)
{
	if (!m->table)
		return;
	if (is_door(m))
		close(m->door);
	shmdt(m->table);
	m->table = NULL;
}

/* Step 6. */
bool table_reclaim(struct member *m)
{
	struct table *t = m->table;
	int alive = -1; /* the last one seen: the seats of a process often lie together */

	if (!is_door(m))
		return false;
	for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
		uint32_t seat = atomic_load_explicit(&t->seats[cpu], memory_order_relaxed);
		int row = row_of(seat);

		if (!seat || row == m->row || (row >= 0 && row == alive))
			continue;
		if (row < 0) {
			empty_seats(t, row);
		} else if (lock(m->door, FIRST_ROW + row, F_RDLCK)) {
			empty_seats(t, row);
			unlock(m->door, FIRST_ROW + row);
		} else {
			alive = row;
		}
	}
	return true;
}

/* Step 7. */
bool table_return(struct member *m, const char *path)
{
	char why[TABLE_WHY];
	struct member now;
	struct record r;
	int door = open_door(path, 0, &now, why);

	if (door < 0)
		return false;
	if (now.device != m->device || now.inode != m->inode || !read_record(&now, &r) || r.segment != m->segment ||
	    !lock(door, COMING_IN, F_WRLCK) || !lock(door, FIRST_ROW + m->row, F_WRLCK)) {
		close(door);
		return false;
	}
	/* If nobody had it, these are the seats of helpers at work. */
	if (atomic_load_explicit(&m->table->owners[m->row], memory_order_relaxed) != owner())
		move_in(m, m->row);
	m->door = door;
	unlock(door, COMING_IN);
	return true;
}

/* ---- for people ------------------------------------------------------------------------------------------------- */

static void count_seats(const struct table *t, int row, struct table_user *user)
{
	for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
		uint32_t seat = atomic_load_explicit(&t->seats[cpu], memory_order_relaxed);

		if (seat && row_of(seat) == row) {
			user->callers += (seat & SEAT_CALLER) != 0;
			user->helpers += (seat & SEAT_CALLER) == 0;
		}
	}
}

int table_users(const char *path, struct table_user *users, int max, char why[TABLE_WHY])
{
	struct member me;
	const struct table *t;
	int n = 0;

	if (open_door(path, 0, &me, why) < 0)
		return errno == ENOENT ? 0 : -1;
	if (!is_locked(me.door, FIRST_ROW, WHOLE_DOOR)) {
		close(me.door);
		return 0;
	}
	t = attach(&me, SHM_RDONLY);
	if (!t && why_not(&me, why) == TABLE_REFUSED)
		n = -1;
	for (int row = 0; t && row < TABLE_ROWS; row++) {
		uint64_t owner = atomic_load_explicit(&t->owners[row], memory_order_relaxed);

		if (!owner || !is_locked(me.door, FIRST_ROW + row, 1))
			continue;
		if (n < max) {
			users[n] = (struct table_user){ .pid = owner >> 32 == pid_namespace() ? (int)owner : 0 };
			count_seats(t, row, &users[n]);
		}
		n++;
	}
	if (t)
		shmdt(t);
	close(me.door);
	return n;
}
