/* SPDX-License-Identifier: BSD-3-Clause */
/* Machines whose files are odd, or say nothing of use: what is known of them is what can be known, and it is described. */
#include "check.h"
#include "fsroot.h"
#include "ktask.h"

#include "../../csrc/cgroup.h"

#include <sys/syscall.h>

static const char *expected[4];

static void check_expected(void)
{
	static char text[1 << 16];

	CHECK(ktask_describe(text, sizeof(text)) < sizeof(text));
	for (const char **what = expected; *what; what++)
		if (!strstr(text, *what)) {
			fprintf(stderr, "no %s in %s\n", *what, text);
			_exit(1);
		}
}

/* The machine that was written to fsroot is described so, in a process that has not seen another. */
#define DESCRIBES(...) describes((const char *[4]){ __VA_ARGS__ })

static void describes(const char *const what[4])
{
	memcpy(expected, what, sizeof(expected));
	in_child(check_expected);
	fsroot_remove();
	fsroot_make();
}

static const char *many(char c, int n)
{
	static char text[1 << 14];

	memset(text, c, (size_t)n);
	text[n] = '\0';
	return text;
}

static char *text(const char *format, const char *filling)
{
	static char result[1 << 15];

	snprintf(result, sizeof(result), format, filling);
	return result;
}

/* ---- quotas ------------------------------------------------------------------------------------------------------ */

static void write_mounts(const char *mounts)
{
	fsroot_write("/proc/self/cgroup", "3:cpu:/c\n0::/a/b\n");
	fsroot_write("/proc/self/mountinfo", mounts);
	fsroot_write("/point/a/b/cpu.max", "50000 10000\n");
	fsroot_write("/point/a/cpu.max", "30000 10000\n");
	fsroot_write("/point/cpu.max", "40000 10000\n");
	fsroot_write("/part/cpu.max", "15000 10000\n");
	fsroot_write("/old/cpu.cfs_quota_us", "200000\n");
	fsroot_write("/old/cpu.cfs_period_us", "100000\n");
}

#define POINT "1 2 3 / /point rw - cgroup2 none rw\n"
#define PART  "1 2 3 /elsewhere /part rw - cgroup2 none rw\n"
#define OLD   "1 2 3 / /old rw - cgroup none rw,cpu\n"

static void the_tightest_quota_holds(void)
{
	write_mounts(POINT);
	DESCRIBES("\"quota\": {\"cpus\": 3, \"path\": \"/point/a\"}");
	write_mounts(POINT OLD);
	DESCRIBES("\"quota\": {\"cpus\": 2, \"path\": \"/old\"}");
	write_mounts(OLD);
	fsroot_write("/old/c/cpu.cfs_quota_us", "100000\n"); /* of no period */
	DESCRIBES("\"quota\": {\"cpus\": 2, \"path\": \"/old\"}");
}

static void mounts_that_show_the_process_count_first(void)
{
	write_mounts(PART);
	DESCRIBES("\"quota\": {\"cpus\": 1.5, \"path\": \"/part\"}");
	write_mounts(PART POINT);
	DESCRIBES("\"quota\": {\"cpus\": 3, \"path\": \"/point/a\"}");
	write_mounts(POINT PART "1 2 3 / /none rw - cgroup2 none rw\n");
	DESCRIBES("\"quota\": {\"cpus\": 3, \"path\": \"/point/a\"}");
}

static void what_is_too_long_is_passed_over(void)
{
	write_mounts(text("1 2 3 / /mnt rw - ext4 %s rw\n" POINT, many('x', 10000)));
	DESCRIBES("\"quota\": {\"cpus\": 3, \"path\": \"/point/a\"}");
	write_mounts(text("1 2 3 / /%s rw - cgroup2 none rw\n" OLD, many('x', FSROOT_PATH - 4)));
	DESCRIBES("\"quota\": {\"cpus\": 2, \"path\": \"/old\"}");
	write_mounts(POINT);
	fsroot_write("/proc/self/cgroup", text("0::/a/b\n%s", many('\n', CGROUP_MEMBERSHIP)));
	DESCRIBES("\"quota\": null");
	write_mounts(POINT);
	fsroot_write("/point/a/cpu.max", text("30000 10000%s\n", many(' ', 100)));
	DESCRIBES("\"quota\": {\"cpus\": 4, \"path\": \"/point\"}");
}

static void no_quota(void)
{
	DESCRIBES("\"quota\": null");
	fsroot_write("/proc/self/cgroup", "0::/a/b\n");
	DESCRIBES("\"quota\": null");
	fsroot_write("/proc/self/cgroup", "nonsense\n");
	DESCRIBES("\"quota\": null");
	write_mounts("nonsense\n");
	DESCRIBES("\"quota\": null");
}

/* ---- CPUs and nodes ---------------------------------------------------------------------------------------------- */

#define CPU "/sys/devices/system/cpu/"

static void cores(void)
{
	/* An old kernel: maps only. */
	fsroot_write(CPU "online", "0-3\n");
	fsroot_write(CPU "cpu0/topology/thread_siblings", "5\n");
	fsroot_write(CPU "cpu1/topology/core_cpus", "a\n");
	DESCRIBES("\"cpus\": [0, 1, 2, 3], \"cores\": [[0, 2], [1, 3]]");

	/* Of its own core each CPU is one. */
	fsroot_write(CPU "online", "0-3\n");
	fsroot_write(CPU "cpu0/topology/core_cpus_list", "1\n");
	fsroot_write(CPU "cpu0/topology/core_cpus", "2\n");
	fsroot_write(CPU "cpu1/topology/core_cpus_list", "nonsense\n");
	fsroot_write(CPU "cpu1/topology/core_cpus", "nonsense\n");
	fsroot_write(CPU "cpu1/topology/thread_siblings_list", "1,3\n");
	DESCRIBES("\"cores\": [[0], [1, 3], [2]]");
}

static void nodes(void)
{
	/* Lists that say nothing; folders do. */
	fsroot_write(CPU "online", "nonsense\n");
	fsroot_write(CPU "cpu0/online", "1\n");
	fsroot_write(CPU "cpu1/online", "0\n");
	fsroot_write(CPU "cpu2/online", "1\n");
	fsroot_write("online", "\n");
	fsroot_write("node1/cpulist", "nonsense\n");
	fsroot_write("node1/cpumap", "3\n");
	fsroot_write("node1/distance", "10 0\n");
	fsroot_write("node4/cpulist", "2\n");
	fsroot_write("node4/distance", "99999 10\n");
	DESCRIBES("\"nodes\": [{\"id\": 1, \"cpus\": [0], \"distances\": {\"1\": 10, \"4\": 20}}, "
		  "{\"id\": 4, \"cpus\": [2], \"distances\": {\"1\": 20, \"4\": 10}}]",
		  "\"cpus\": [0, 2]");

	/* Nodes without CPUs only: then the CPUs are all of one. */
	fsroot_write(CPU "online", "0-1\n");
	fsroot_write("online", "3\n");
	fsroot_write("node3/cpulist", "\n");
	DESCRIBES("\"nodes\": [{\"id\": 0, \"cpus\": [0, 1], ", "\"cpus\": [0, 1]");
}

static void allowed(void)
{
	fsroot_write(CPU "online", "0-3\n");
	fsroot_write("/proc/self/status", "Name:\tx\nCpus_allowed_list:\t1-2,9\nMems_allowed_list:\t0\n");
	DESCRIBES("\"allowed_cpus\": [1, 2],");
	fsroot_write(CPU "online", "0-3\n");
	fsroot_write("/proc/self/status", "Name:\tx\nCpus_allowed_list:\tnonsense\n");
	DESCRIBES("\"allowed_cpus\": [0, 1, 2, 3],");
}

static void change(const char *name, const char *text, const char *what)
{
	fsroot_write(name, text);
	CHECK(ktask_refresh() == 0);
	expected[0] = what;
	expected[1] = NULL;
	check_expected();
}

/* CPUs come and go. What says nothing changes nothing. */
static void changes(void)
{
	change(CPU "online", "0-3\n", "\"cpus\": [0, 1, 2, 3], \"cores\"");
	change(CPU "online", "nonsense\n", "\"cpus\": [0, 1, 2, 3], \"cores\"");
	change(CPU "online", "\n", "\"cpus\": [0, 1, 2, 3], \"cores\"");
	change(CPU "online", "2\n", "\"cpus\": [2], \"cores\"");
	for (int fd = 3; fd < 100; fd++) /* as a daemon does */
		syscall(SYS_close, fd);
	change(CPU "online", "0,2\n", "\"cpus\": [0, 2], \"cores\"");
	CHECK(remove(fsroot_path(CPU "online")) == 0);
	for (int fd = 3; fd < 100; fd++)
		syscall(SYS_close, fd);
	change(CPU "other", "1\n", "\"cpus\": [0, 2], \"cores\"");
}

static void changes_of_nodes(void)
{
	change("node0/cpulist", "0-1\n", "{\"id\": 0, \"cpus\": [0],");
	change(CPU "online", "0-1\n", "{\"id\": 0, \"cpus\": [0, 1],");
	fsroot_write("node2/cpulist", "2-3\n"); /* that had memory only: the nearest node's */
	change(CPU "online", "0-2\n", "{\"id\": 0, \"cpus\": [0, 1, 2],");
	fsroot_write("node0/cpulist", "nonsense\n");
	change(CPU "online", "0-3\n", "{\"id\": 0, \"cpus\": [0, 1, 2, 3],");
}

static void what_changes(void)
{
	fsroot_write(CPU "online", "0-1\n");
	in_child(changes);
	fsroot_remove();
	fsroot_make();
	fsroot_write(CPU "online", "0\n");
	fsroot_write("online", "0,2\n");
	fsroot_write("node0/cpulist", "0\n");
	fsroot_write("node0/distance", "10 20\n");
	fsroot_write("node2/cpulist", "\n");
	in_child(changes_of_nodes);
	fsroot_remove();
	fsroot_make();
}

/* ---- the environment --------------------------------------------------------------------------------------------- */

static void names(void)
{
	setenv("KTASK_TABLE", "/a \"b\"\\c\n\xE9", 1);
	DESCRIBES("{\"path\": \"/a \\\"b\\\"\\\\c\\u000a\\u00e9\"");
	setenv("KTASK_TABLE", "", 1);
	DESCRIBES("{\"path\": \"/dev/shm/ktask-");
	setenv("KTASK_TABLE", "Off", 1);
	DESCRIBES("{\"path\": null");
	setenv("KTASK_TABLE", "0", 1);
	DESCRIBES("{\"path\": null");
}

static void numbers(void)
{
	static const char *const nonsense[] = { "", "-1", "two", "2x" };

	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		fsroot_write(CPU "online", "0-3\n");
		setenv("KTASK_MAX_HELPERS", nonsense[i], 1);
		DESCRIBES("\"max_helpers\": 3,");
	}
	fsroot_write(CPU "online", "0-3\n");
	setenv("KTASK_MAX_HELPERS", "2", 1);
	DESCRIBES("\"max_helpers\": 2,");
	fsroot_write(CPU "online", "0-3\n");
	setenv("KTASK_MAX_HELPERS", "99999999999999999999", 1);
	DESCRIBES("\"max_helpers\": 3,");
	unsetenv("KTASK_MAX_HELPERS");
}

int main(void)
{
	fsroot_make();
	the_tightest_quota_holds();
	mounts_that_show_the_process_count_first();
	what_is_too_long_is_passed_over();
	no_quota();
	cores();
	nodes();
	allowed();
	what_changes();
	names();
	numbers();
	fsroot_remove();
	return 0;
}
