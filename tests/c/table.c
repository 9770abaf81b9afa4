/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table that processes share, when something is wrong with it: runs are right, get their helper, and say once why
 * other processes are not counted.
 */
#include "check.h"

#include "../../csrc/table.h"
#include "ktask.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>

enum { NOBODY = 65534, UNITS = 2000 };

static char dir[] = "/tmp/ktask-table-XXXXXX";
static char door[64];

/* ---- what a process can do with a door ------------------------------------------------------------------------ */

static _Thread_local int units_here;

static int add(void *start, void *end, void *sum)
{
	/* So long that a run of them is worth a helper. */
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++) {
		atomic_fetch_add((atomic_long *)sum, (long)i);
		sched_yield();
	}
	units_here++;
	return KTASK_RETURN_SUCCESS;
}

/* Until a helper has come: there is a seat for one. */
static void run_until_helped(void)
{
	unsigned threads = 0;

	while (threads < 2) {
		struct ktask_report report = KTASK_REPORT_INITIALIZER;
		atomic_long sum = 0;
		DEFINE_KTASK_CTL(ctl, add, &sum, 1);

		ktask_ctl_set_report(&ctl, &report);
		CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
		CHECK(sum == (long)UNITS * (UNITS - 1) / 2);
		threads = report.kr_threads;
	}
}

static bool describes(const char *what)
{
	static char text[1 << 16];

	CHECK(ktask_describe(text, sizeof(text)) < sizeof(text));
	return strstr(text, what);
}

static bool describes_processes(const char *what)
{
	static char text[1 << 16];

	CHECK(ktask_describe_processes(text, sizeof(text)) < sizeof(text));
	return strstr(text, what);
}

static int lines_in(const char *path)
{
	FILE *f = fopen(path, "r");
	int lines = 0;

	CHECK(f);
	for (int c; (c = fgetc(f)) != EOF;)
		lines += c == '\n';
	fclose(f);
	return lines;
}

/* In a child: works with the table, silently; or without it, and says so once: so do its own children not. */
static void use(bool joins)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/stderr-%d", dir, getpid());
	CHECK(freopen(path, "w", stderr));
	run_until_helped();
	run_until_helped();
	if (!UNDER_ASAN) /* whose search for leaks says on stderr that a child's threads are not there */
		in_child(run_until_helped);
	CHECK(describes(joins ? "\"joined\": true, \"reason\": null" : "\"joined\": false, \"reason\": \""));
	if (lines_in(path) != !joins)
		_exit(2);
	CHECK(unlink(path) == 0);
}

static void joins(void)
{
	use(true);
}

static void stays_alone(void)
{
	use(false);
}

static void become_nobody(void)
{
	CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
}

/* What a soft limit of 0 keeps it from. Sanitizers look for leaks at the end, for which they open files. */
static void stays_alone_without(int resource, const char *reason)
{
	struct rlimit before, none;

	CHECK(freopen("/dev/null", "w", stderr));
	CHECK(getrlimit(resource, &before) == 0);
	none = before;
	none.rlim_cur = 0;
	CHECK(setrlimit(resource, &none) == 0);
	run_until_helped();
	CHECK(setrlimit(resource, &before) == 0);
	CHECK(describes(reason));
}

static void without_files(void)
{
	stays_alone_without(RLIMIT_NOFILE, "\"joined\": false, \"reason\": \"open: Too many open files\"");
}

static void without_writing(void)
{
	stays_alone_without(RLIMIT_FSIZE, "\"joined\": false, \"reason\": \"this process may not write files\"");
}

/* ---- doors ---------------------------------------------------------------------------------------------------- */

static const char *at(const char *name)
{
	snprintf(door, sizeof(door), "%s/%s", dir, name);
	setenv("KTASK_TABLE", door, 1);
	return door;
}

static void write_door(const void *bytes, size_t size)
{
	int fd = open(door, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size && close(fd) == 0);
}

static void things_that_are_no_door(void)
{
	char target[64];

	at("good");
	in_child(joins);
	in_child(joins); /* left over from the one before */
	strcpy(target, door);
	CHECK(symlink(target, at("link")) == 0);
	in_child(stays_alone);
	CHECK(symlink("/nowhere/at/all", at("dangling")) == 0);
	in_child(stays_alone);
	CHECK(link(target, at("second name")) == 0);
	in_child(stays_alone);
	CHECK(mkfifo(at("fifo"), 0600) == 0);
	in_child(stays_alone);
	CHECK(mkdir(at("directory"), 0700) == 0);
	in_child(stays_alone);
	at("no such directory/door");
	in_child(stays_alone);
	at("open to others");
	write_door("", 0);
	CHECK(chmod(door, 0666) == 0);
	in_child(stays_alone);
	setenv("KTASK_TABLE", "/dev/null", 1);
	in_child(stays_alone);
	at("limited");
	in_child(without_files);
	in_child(without_writing);
	if (geteuid() != 0)
		return;
	CHECK(chmod(dir, 0711) == 0);
	at("somebody else's");
	write_door("", 0);
	CHECK(chown(door, NOBODY, NOBODY) == 0);
	in_child(stays_alone);
}

/* A place where nothing can be made, and a door of somebody else's: for those who are not allowed everything. */
static void nobody_writes_here(void)
{
	char path[64];

	become_nobody();
	snprintf(path, sizeof(path), "%s/theirs", dir);
	setenv("KTASK_TABLE", path, 1);
	CHECK(freopen("/dev/null", "w", stderr));
	run_until_helped();
	CHECK(describes("\"joined\": false, \"reason\": \"open: Permission denied\""));
}

static void off(void)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/off", dir);
	CHECK(freopen(path, "w", stderr));
	run_until_helped();
	CHECK(lines_in(path) == 0);
	CHECK(describes("\"joined\": false, \"reason\": \"KTASK_TABLE=off"));
	CHECK(describes_processes("\"reason\": \"KTASK_TABLE=off"));
}

/* ---- content -------------------------------------------------------------------------------------------------- */

/* Nobody uses the table: whatever stands in the door, it is made anew. */
static void nonsense_in_the_door(void)
{
	char bytes[200];

	at("nonsense");
	srand(1);
	for (int i = 0; i < 20; i++) {
		for (size_t j = 0; j < sizeof(bytes); j++)
			bytes[j] = (char)rand();
		if (i % 2)
			memcpy(bytes, "ktask\0\0\0\2\0\0", 12); /* of this version */
		write_door(bytes, (size_t)(i * 10));
		in_child(joins);
	}
}

/* Another table's segment, a segment of another size, one of another version. */
static void wrong_segments(void)
{
	struct {
		char magic[8];
		uint32_t version;
		int32_t segment;
		uint64_t ipc_namespace;
	} record = { "ktask", TABLE_VERSION, 0, 0 };
	struct table *t;

	at("wrong");
	record.segment = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
	write_door(&record, sizeof(record));
	in_child(joins);
	CHECK(shmctl(record.segment, IPC_RMID, NULL) == 0);

	record.segment = shmget(IPC_PRIVATE, sizeof(struct table), IPC_CREAT | 0600);
	t = shmat(record.segment, NULL, 0);
	CHECK(t != (void *)-1);
	memset(t, 0xff, sizeof(*t));
	write_door(&record, sizeof(record));
	in_child(joins);
	memcpy(t->magic, "ktask\0\0", 8);
	t->version = TABLE_VERSION;
	t->size = sizeof(*t);
	write_door(&record, sizeof(record));
	in_child(joins);
	for (int cpu = 0; cpu < MAX_CPUS; cpu++) /* nobody touched it */
		CHECK(t->seats[cpu] == UINT32_MAX);
	CHECK(shmctl(record.segment, IPC_RMID, NULL) == 0 && shmdt(t) == 0);
}

/* This process is in; the door is spoilt behind it. Then others cannot come in, and it goes on as before. */
static void spoilt_behind_a_member(void)
{
	struct member m;
	char why[TABLE_WHY];

	at("spoilt");
	CHECK(describes_processes("\"reason\": null, \"processes\": []}"));
	CHECK(table_join(&m, door, why) == TABLE_JOINED);
	CHECK(describes_processes("\"reason\": null, \"processes\": [{\"pid\": "));
	in_child(joins);
	CHECK(truncate(door, 0) == 0);
	in_child(stays_alone);
	CHECK(describes_processes("\"reason\": \"it is in use by processes of another version"));
	write_door("ktask\0\0\0\1\0\0\0\0\0\0\0", 16); /* another version */
	in_child(stays_alone);
	atomic_store(&m.table->seats[MAX_CPUS - 1], (uint32_t)m.row + 1);
	table_reclaim(&m);
	CHECK(m.table->seats[MAX_CPUS - 1] == (uint32_t)m.row + 1);
	table_leave(&m);
	CHECK(!m.table);
	in_child(joins);
}

static void hostile_seats(void)
{
	struct member m;
	char why[TABLE_WHY];

	at("hostile");
	CHECK(table_join(&m, door, why) == TABLE_JOINED);
	srand(2);
	for (int i = 0; i < 20; i++) {
		for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
			uint32_t seat = (uint32_t)rand() << 16 ^ (uint32_t)rand();

			/* Numbers of rows that nobody has, but for this process's, with and without callers; or anything. */
			if (i % 2)
				seat = (seat & SEAT_CALLER) + (seat % TABLE_ROWS) + 1;
			if ((seat & ~SEAT_CALLER) == (uint32_t)m.row + 1)
				seat = UINT32_MAX;
			atomic_store(&m.table->seats[cpu], seat);
		}
		for (int row = 0; row < TABLE_ROWS; row++)
			atomic_store(&m.table->owners[row], (uint64_t)rand() << 32 ^ (uint64_t)rand());
		in_child(joins);
		table_reclaim(&m);
		for (int cpu = 0; cpu < MAX_CPUS; cpu++)
			CHECK(m.table->seats[cpu] == 0);
	}
	table_leave(&m);
}

/* Whose row is alive keeps its seats, whatever they are. */
static void all_taken(void)
{
	atomic_long sum = 0;
	DEFINE_KTASK_CTL(ctl, add, &sum, 1);

	CHECK(freopen("/dev/null", "w", stderr));
	for (int i = 0; i < 100; i++)
		CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(sum == 100L * UNITS * (UNITS - 1) / 2);
	CHECK(units_here > 0 && describes("\"joined\": true"));
	while (!describes("\"running_helpers\": 0")) /* one may wait awake for the next run */
		sched_yield();
}

static void full_of_others(void)
{
	struct member m;
	char why[TABLE_WHY];

	at("taken");
	CHECK(table_join(&m, door, why) == TABLE_JOINED);
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		atomic_store(&m.table->seats[cpu], (uint32_t)m.row + 1);
	in_child(all_taken);
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		CHECK(m.table->seats[cpu] == (uint32_t)m.row + 1);
	table_leave(&m);
	in_child(joins);
}

/* As if there were as many processes as rows. */
static void no_row_left(void)
{
	struct member m;
	char why[TABLE_WHY];
	struct flock rows = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 0 };
	int others;

	at("full");
	CHECK(table_join(&m, door, why) == TABLE_JOINED);
	others = open(door, O_RDWR);
	rows.l_len = m.row;
	CHECK(m.row == 0 || fcntl(others, F_OFD_SETLK, &rows) == 0);
	rows.l_start = m.row + 2;
	rows.l_len = 0;
	CHECK(fcntl(others, F_OFD_SETLK, &rows) == 0);
	in_child(stays_alone);
	close(others);
	in_child(joins);
	table_leave(&m);
}

/* Somebody is on his way in for ever. Runs do not wait for him. */
static void busy(void)
{
	struct flock coming_in = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1 };
	struct member m;
	char why[TABLE_WHY];
	int other;

	at("busy");
	write_door("", 0);
	other = open(door, O_RDWR);
	CHECK(fcntl(other, F_OFD_SETLK, &coming_in) == 0);
	CHECK(table_join(&m, door, why) == TABLE_BUSY);
	in_child(stays_alone);
	close(other);
	in_child(joins);
}

/* ---- namespaces ----------------------------------------------------------------------------------------------- */

/* It knows at once, and tells before it has tried; and not only when it has waited for that table to vanish. */
static void stays_alone_in_another_ipc_namespace(void)
{
	const char *other = "\"reason\": \"it is in use by processes of another IPC namespace\"";
	struct member m;
	char why[TABLE_WHY];

	if (unshare(CLONE_NEWIPC) != 0)
		return;
	CHECK(table_join(&m, door, why) == TABLE_REFUSED);
	CHECK(describes_processes(other));
	CHECK(describes(other));
	use(false);
	CHECK(describes(other));
}

static void in_another_ipc_namespace(void)
{
	struct member m;
	char why[TABLE_WHY];

	at("ipc");
	CHECK(table_join(&m, door, why) == TABLE_JOINED);
	in_child(stays_alone_in_another_ipc_namespace);
	table_leave(&m);
}

/* Numbers of processes mean something else there; the limits hold all the same. In a child. */
static void in_another_pid_namespace(void)
{
	struct table_user users[2];
	struct member m;
	char why[TABLE_WHY];

	at("pid");
	CHECK(table_join(&m, door, why) == TABLE_JOINED);
	CHECK(table_users(door, users, 2, why) == 1 && users[0].pid == getpid());
	if (unshare(CLONE_NEWPID) == 0) {
		pid_t child = fork();

		if (child == 0) {
			/* /proc is still its parent's: a sanitizer would not find itself there at the end. */
			use(true);
			_exit(0);
		}
		check_child(child);
	}
	table_leave(&m);
	_exit(0); /* nor would one of this process, whose threads are not in its namespace */
}

int main(void)
{
	char command[64];

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return SKIPPED;
	setenv("KTASK_WAKE_NS", "0", 1);
	CHECK(mkdtemp(dir));
	things_that_are_no_door();
	if (geteuid() == 0)
		in_child(nobody_writes_here);
	setenv("KTASK_TABLE", "off", 1);
	in_child(off);
	nonsense_in_the_door();
	wrong_segments();
	spoilt_behind_a_member();
	hostile_seats();
	full_of_others();
	no_row_left();
	busy();
	if (geteuid() == 0) {
		in_another_ipc_namespace();
		in_child(in_another_pid_namespace);
	}
	snprintf(command, sizeof(command), "rm -r %s", dir);
	CHECK(system(command) == 0);
	return 0;
}
