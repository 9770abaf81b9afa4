/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CPU quotas, the power policy and CPUs that come and go: runs follow them, without being told within some time, and at
 * once after ktask_refresh. The machine is made up of files, but its CPUs are this one's.
 */
#include "check.h"
#include "fsroot.h"
#include "ktask.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>

enum { UNITS = 16, UNIT_NS = 100000 };

static int spin(void *start, void *end, void *arg)
{
	struct timespec t;
	uint64_t now, until = 0;

	(void)arg;
	do {
		clock_gettime(CLOCK_MONOTONIC, &t);
		now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
		if (!until)
			until = now + ((uintptr_t)end - (uintptr_t)start) * UNIT_NS;
	} while (now < until);
	return KTASK_RETURN_SUCCESS;
}

/*
 * A task of few units of a kind never seen before calls helpers at once, if there may be any. One that cannot be had just
 * now counts: the helper of the run before may not have got a CPU yet on which to say that it is idle again.
 */
static bool has_helpers(void)
{
	static const char identities[1 << 16];
	static int nr;
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, spin, NULL, 1);

	CHECK(ktask_max_threads() > 0); /* the pool stands from here on, and knows its limits */
	ktask_ctl_set_identity(&ctl, &identities[nr++ % sizeof(identities)]);
	ktask_ctl_set_report(&ctl, &report);
	CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	return report.kr_called > 0 || report.kr_why == KTASK_WHY_NONE_FREE;
}

/* Sooner or later, or the test takes too long. */
static void await_helpers(bool wanted)
{
	while (has_helpers() != wanted)
		;
}

static const char *described(void)
{
	static char text[1 << 16];

	CHECK(ktask_describe(text, sizeof(text)) < sizeof(text));
	return text;
}

static void check_described(const char *what)
{
	if (!strstr(described(), what)) {
		fprintf(stderr, "no %s in %s\n", what, described());
		_exit(1);
	}
}

static void in_root(void (*prepare)(void), void (*test)(void))
{
	fsroot_make();
	prepare();
	in_child(test);
	fsroot_remove();
}

/* The CPUs that the machine is made to have. */
static char both[32], first[16];

/* ---- quotas: version 1, version 2, both -------------------------------------------------------------------------- */

static const char *quota_file;

static void set_quota(const char *text)
{
	fsroot_write(quota_file, text);
}

static const char *little, *enough, *none;

static void version_1(void)
{
	fsroot_write("/proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/above/own\n1:name=systemd:/x\n0::/x\n");
	fsroot_write("/proc/self/mountinfo", "20 1 8:1 / / rw shared:1 master:2 - ext4 /dev/root rw\n"
					     "30 20 0:28 / /cgroup/cpu\\040time rw - cgroup cgroup rw,cpu,cpuacct\n"
					     "31 20 0:29 / /cgroup/unified rw - cgroup2 cgroup2 rw\n");
	fsroot_write("/cgroup/cpu time/above/cpu.cfs_quota_us", "-1\n");
	fsroot_write("/cgroup/cpu time/above/cpu.cfs_period_us", "50000\n");
	fsroot_write("/cgroup/cpu time/above/own/cpu.cfs_quota_us", "-1\n");
	fsroot_write("/cgroup/cpu time/above/own/cpu.cfs_period_us", "100000\n");
	quota_file = "/cgroup/cpu time/above/cpu.cfs_quota_us";
	little = "99999\n";
	enough = "100000\n";
	none = "-1\n";
}

static void version_2(void)
{
	fsroot_write("/proc/self/cgroup", "0::/above/own\n");
	fsroot_write("/proc/self/mountinfo", "31 20 0:29 / /cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n");
	fsroot_write("/cgroup/above/own/cpu.max", "max 100000\n");
	fsroot_write("/cgroup/above/cpu.max", "max 100000\n");
	quota_file = "/cgroup/above/own/cpu.max";
	little = "150000 100000\n";
	enough = "2000 1000\n";
	none = "max 100000\n";
}

/* As in a container: what is mounted begins at a cgroup that the process knows under another name or as its root. */
static void container(void)
{
	fsroot_write("/proc/self/cgroup", "0::/\n");
	fsroot_write("/proc/self/mountinfo", "31 20 0:29 /../.. /cgroup rw - cgroup2 cgroup2 rw\n");
	fsroot_write("/cgroup/cpu.max", "max 100000\n");
	quota_file = "/cgroup/cpu.max";
	little = "100000 100000\n";
	enough = "800000 100000\n";
	none = "max 100000\n";
}

static void unasked(void)
{
	CHECK(has_helpers());
	set_quota(little);
	await_helpers(false);
	set_quota(enough);
	await_helpers(true);
	set_quota(little);
	await_helpers(false);
	set_quota(none);
	await_helpers(true);
}

static void asked(void)
{
	set_quota(little);
	CHECK(!has_helpers());
	CHECK(ktask_refresh() == 0);
	CHECK(!has_helpers());
	check_described("\"enabled\": false");
	check_described("CPUs holds for the cgroup /cgroup");
	set_quota(enough);
	CHECK(ktask_refresh() == 0);
	CHECK(has_helpers());
	check_described("\"quota\": {\"cpus\": ");
	set_quota(none);
	CHECK(ktask_refresh() == 0);
	CHECK(has_helpers());
	check_described("\"quota\": null");
}

/* In the middle of a run: helpers go home when they have become too many. */
static pthread_t caller;
static atomic_long chunks_of_helpers;

static int count_helpers(void *start, void *end, void *arg)
{
	if (!pthread_equal(pthread_self(), caller))
		atomic_fetch_add(&chunks_of_helpers, 1);
	return spin(start, end, arg);
}

static int lower_and_watch(size_t done, size_t total, void *arg)
{
	static long before, polls;
	long now = atomic_load(&chunks_of_helpers);

	(void)done, (void)total, (void)arg;
	if (now == 0)
		return 0;
	if (before == 0)
		set_quota(little);
	polls = now == before ? polls + 1 : 0;
	before = now;
	return polls > 25; /* half a second without them */
}

static void in_mid_run(void)
{
	DEFINE_KTASK_CTL(ctl, count_helpers, NULL, 1);

	caller = pthread_self();
	ktask_ctl_set_poll_func(&ctl, lower_and_watch, NULL);
	CHECK(ktask_run(AT(0), 100000000, &ctl) == 1);
}

static void ignored(void)
{
	set_quota(little);
	use_helpers(2);
	CHECK(has_helpers());
	unsetenv("KTASK_HELPERS");
}

static void moved(void)
{
	CHECK(has_helpers());
	fsroot_write("/cgroup/other/cpu.max", "50000 100000\n");
	fsroot_write("/proc/self/cgroup", "0::/other\n");
	await_helpers(false);
	check_described("cgroup /cgroup/other");
	fsroot_write("/proc/self/cgroup", "0::/gone (deleted)\n");
	await_helpers(true);
}

static void forked_child(void)
{
	set_quota(little);
	await_helpers(false);
}

static void forked(void)
{
	CHECK(has_helpers());
	in_child(forked_child);
	await_helpers(false);
	set_quota(enough);
	await_helpers(true);
}

/* What a daemon does. Files of its own with the same numbers are neither read nor closed. */
static void descriptors_closed(void)
{
	enum { MANY = 200 };

	CHECK(has_helpers());
	fsroot_write("/mine", "1000 100000\n");
	/* Both unbeknown to ThreadSanitizer, who would call it a race: helpers read what they had there, or try. */
	for (int fd = 3; fd < MANY; fd++)
		syscall(SYS_close, fd);
	while (syscall(SYS_openat, AT_FDCWD, fsroot_path("/mine"), O_RDONLY) < MANY)
		;
	CHECK(ktask_refresh() == 0);
	CHECK(has_helpers());
	set_quota(little);
	CHECK(ktask_refresh() == 0);
	CHECK(!has_helpers());
	for (int fd = 3; fd < MANY; fd++)
		CHECK(fcntl(fd, F_GETFD) >= 0);
}

/* ---- power --------------------------------------------------------------------------------------------------------- */

#define CPU0 "/sys/devices/system/cpu/cpu0/cpufreq/"

static void software_governors(void)
{
	static const char *const works[] = { "performance", "ondemand", "schedutil", "userspace" };

	fsroot_write(CPU0 "scaling_governor", "powersave\n");
	CHECK(!has_helpers());
	check_described("set to save power (governor powersave)");
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
		fsroot_write(CPU0 "scaling_governor", works[i]);
		CHECK(ktask_refresh() == 0);
		CHECK(has_helpers());
	}
	fsroot_write(CPU0 "scaling_governor", "conservative\n");
	await_helpers(false);
	fsroot_write(CPU0 "scaling_governor", "schedutil\n");
	await_helpers(true);
}

static void software(void)
{
	fsroot_write("/sys/devices/system/cpu/online", both);
	fsroot_write(CPU0 "scaling_driver", "acpi-cpufreq\n");
	fsroot_write("/sys/firmware/acpi/platform_profile", "low-power\n"); /* not asked with this driver */
}

static void told_to_ignore(void)
{
	setenv("KTASK_POWER", "ignore", 1);
	fsroot_write(CPU0 "scaling_governor", "powersave\n");
	CHECK(has_helpers());
}

static const char *driver;

static void hardware(void)
{
	fsroot_write("/sys/devices/system/cpu/online", both);
	fsroot_write(CPU0 "scaling_driver", driver);
	fsroot_write(CPU0 "scaling_governor", "powersave\n");
	fsroot_write(CPU0 "energy_performance_preference", "balance_performance\n");
	fsroot_write("/sys/firmware/acpi/platform_profile", "balanced\n");
}

static void hardware_preferences(void)
{
	static const char *const works[] = { "performance", "default", "balance_power", "128" };

	CHECK(has_helpers());
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
		fsroot_write(CPU0 "energy_performance_preference", works[i]);
		CHECK(ktask_refresh() == 0);
		CHECK(has_helpers());
	}
	fsroot_write(CPU0 "energy_performance_preference", "power\n");
	await_helpers(false);
	check_described("(energy performance preference power)");
	fsroot_write(CPU0 "energy_performance_preference", "balance_power\n");
	await_helpers(true);
	fsroot_write("/sys/firmware/acpi/platform_profile", "low-power\n");
	await_helpers(false);
	check_described("(platform profile low-power)");
	/* Passive mode: another driver, without preferences, and its governor is what its name says. */
	fsroot_write(CPU0 "scaling_driver", strcmp(driver, "intel_pstate") ? "amd-pstate" : "intel_cpufreq");
	fsroot_write(CPU0 "scaling_governor", "schedutil\n");
	await_helpers(true);
	fsroot_write(CPU0 "scaling_governor", "powersave\n");
	await_helpers(false);
}

/* ---- CPUs ---------------------------------------------------------------------------------------------------------- */

static void one_cpu_online(void)
{
	fsroot_write("online", "0\n");
	fsroot_write("node0/cpulist", both);
	fsroot_write("node0/distance", "10\n");
	fsroot_write("/sys/devices/system/cpu/possible", both);
	fsroot_write("/sys/devices/system/cpu/online", first);
}

static void cpus_come_and_go(void)
{
	CHECK(!has_helpers());
	check_described("\"enabled\": false");
	fsroot_write("/sys/devices/system/cpu/online", both);
	await_helpers(true);
	check_described("\"enabled\": true");
	fsroot_write("/sys/devices/system/cpu/online", first);
	await_helpers(false);
	fsroot_write("/sys/devices/system/cpu/online", both);
	CHECK(ktask_refresh() == 0);
	CHECK(has_helpers());
}

/* A node that had memory only gets CPUs: they count as its neighbour's. */
static void memory_only(void)
{
	one_cpu_online();
	fsroot_write("online", "0-1\n");
	fsroot_write("node0/cpulist", first);
	fsroot_write("node1/cpulist", "\n");
}

static void cpus_come_to_memory(void)
{
	CHECK(!has_helpers());
	fsroot_write("node1/cpulist", strchr(both, ',') + 1);
	fsroot_write("/sys/devices/system/cpu/online", both);
	await_helpers(true);
}

int main(void)
{
	void (*const hierarchies[])(void) = { version_1, version_2, container };
	const char *const drivers[] = { "intel_pstate", "amd-pstate-epp" };
	cpu_set_t cpus;
	int cpu[2], n = 0;

	CHECK(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
	for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &cpus))
			cpu[n++] = i;
	if (n < 2)
		return SKIPPED;
	snprintf(first, sizeof(first), "%d", cpu[0]);
	snprintf(both, sizeof(both), "%d,%d", cpu[0], cpu[1]);
	setenv("KTASK_WAKE_NS", "0", 1); /* not: how long helpers took to come, on a machine that others use too */

	for (int i = 0; i < rounds(3, 1); i++) {
		in_root(hierarchies[i], unasked);
		in_root(hierarchies[i], asked);
	}
	in_root(version_2, in_mid_run);
	in_root(version_2, ignored);
	in_root(version_2, moved);
	in_root(version_1, forked);
	in_root(version_2, descriptors_closed);
	if (cpu[0] == 0) {
		in_root(software, software_governors);
		in_root(software, told_to_ignore);
		for (size_t i = 0; i < 2; i++) {
			driver = drivers[i];
			in_root(hardware, hardware_preferences);
		}
	}
	in_root(one_cpu_online, cpus_come_and_go);
	in_root(memory_only, cpus_come_to_memory);
	return 0;
}
