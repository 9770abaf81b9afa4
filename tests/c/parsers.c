/* SPDX-License-Identifier: BSD-3-Clause */
/* What system files say, and what they might say, is understood, or refused: by the parsers that make test-fuzz tries. */
#include "check.h"

#include "../../csrc/cgroup.h"
#include "../../csrc/topology.h"

/* ---- lists and maps of CPUs -------------------------------------------------------------------------------------- */

enum { MAX = 100 };

/* nr < 0: it is refused. */
static void check_cpus(bool (*parse)(const char *, struct cpus *, int), const char *text, const int *cpus, int nr)
{
	struct cpus set;

	CHECK(parse(text, &set, MAX) == (nr >= 0));
	if (nr < 0)
		return;
	CHECK(cpus_count(&set) == nr && cpus_empty(&set) == (nr == 0));
	for (int i = 0; i < nr; i++)
		CHECK(cpus_has(&set, cpus[i]));
}

#define LIST(text, ...) check_cpus(topology_parse_list, text, (const int[]){ __VA_ARGS__ }, NR(__VA_ARGS__))
#define MAP(text, ...)	check_cpus(topology_parse_map, text, (const int[]){ __VA_ARGS__ }, NR(__VA_ARGS__))
#define NR(...)		(int)(sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int))

static void lists(void)
{
	static const char *const refused[] = {
		"a", "-1", "0-", "0-a", "1 2", "1,", ",1", "5-4", "100", "0-100", "1;2"
	};

	LIST("0", 0);
	LIST("3\n", 3);
	LIST("0-2,5\n", 0, 1, 2, 5);
	LIST("7,99 \t\n", 7, 99);
	LIST("4-4", 4);
	check_cpus(topology_parse_list, "", NULL, 0);
	check_cpus(topology_parse_list, " \n", NULL, 0);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		check_cpus(topology_parse_list, refused[i], NULL, -1);
}

static void maps(void)
{
	static const char *const refused[] = { "", "\n", "g", "1 1", "1\n1", "10,00000000,00000000,00000000" };

	MAP("1", 0);
	MAP("a\n", 1, 3);
	MAP("F0 \t\n", 4, 5, 6, 7);
	MAP("8,00000001", 0, 35);
	MAP("8,1", 0, 35); /* words may be written short */
	MAP("8,00000000,00000000,00000000", 99);
	check_cpus(topology_parse_map, "0\n", NULL, 0);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		check_cpus(topology_parse_map, refused[i], NULL, -1);
}

/* ---- control groups ---------------------------------------------------------------------------------------------- */

static void quotas(void)
{
	static const char *const none[] = { "max 100000", "", "-1 100000", "100", "100,50", "100 ", "100 x", "100 0" };
	uint64_t usec, period;

	CHECK(cgroup_parse_max("150000 100000\n", &usec, &period) && usec == 150000 && period == 100000);
	CHECK(cgroup_parse_max("0 1", &usec, &period) && usec == 0 && period == 1);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		CHECK(!cgroup_parse_max(none[i], &usec, &period));
}

/* As many times the same character; static. */
static const char *many(char c, int n)
{
	static char text[2 * FSROOT_PATH];

	memset(text, c, (size_t)n);
	text[n] = '\0';
	return text;
}

static void check_membership(const char *text, const char *controller, const char *expected)
{
	char path[FSROOT_PATH];
	bool found = cgroup_parse_membership(text, controller, path);

	CHECK(found == (expected != NULL));
	CHECK(!expected || strcmp(path, expected) == 0);
}

static void memberships(void)
{
	static const char hybrid[] = "12:pids:/p\n3:cpuset:/s\n2:cpuacct,cpu:/a:b\n1:name=systemd:/n\n0::/u\n";
	static const char nonsense[] = "0\n0:\n:::/\n00::/no\n1::/no\n0:x:/no\n\n4:cpus,acpu,cp:/no\n0::/last";
	char line[2 * FSROOT_PATH];

	check_membership(hybrid, NULL, "/u");
	check_membership(hybrid, "cpu", "/a:b");
	check_membership(hybrid, "pids", "/p");
	check_membership(nonsense, NULL, "/last");
	check_membership(nonsense, "cpu", NULL);
	check_membership("", NULL, NULL);
	check_membership("4:cpu:/only", "cpu", "/only");
	check_membership("4:cpu:/only", NULL, NULL);
	for (int length = FSROOT_PATH - 2; length <= FSROOT_PATH; length++) {
		snprintf(line, sizeof(line), "0::%s\n", many('x', length));
		check_membership(line, NULL, length < FSROOT_PATH ? many('x', length) : NULL);
	}
}

static void check_mount(const char *line, const char *controller, const char *root, const char *point)
{
	struct cgroup_mount mount;
	bool is_one = cgroup_parse_mount(line, controller, &mount);

	CHECK(is_one == (root != NULL));
	if (is_one)
		CHECK(strcmp(mount.root, root) == 0 && strcmp(mount.point, point) == 0);
}

static void mounts(void)
{
	static const char *const others[] = {
		"",
		"1",
		"1 2 3",
		"1 2 3 /",
		"1 2 3 / /mnt",
		"1 2 3 / /mnt rw",
		"1 2 3 / /mnt rw -",
		"1 2 3 / /mnt rw - ext4 /dev/sda rw",
		"1 2 3 / /mnt rw - cgroup3 none rw",
		"1 2 3 / /mnt rw - cgroup2fs none rw",
		"1 2 3 / /mnt rw -x cgroup2 none rw",
		"1 2 3 / /mnt rw - cgroup",
		"1 2 3 / /mnt rw - cgroup none",
		"1 2 3 / /mnt rw - cgroup none rw,cpuset,cpuacct",
	};
	char line[4 * FSROOT_PATH];

	check_mount("1 2 3 / /mnt rw - cgroup2 none rw", NULL, "/", "/mnt");
	check_mount("1 2 3 / /mnt rw - cgroup2", NULL, "/", "/mnt");
	check_mount("1 2 3 /a /mnt rw shared:1 master:2 - cgroup none rw,cpuacct,cpu", "cpu", "/a", "/mnt");
	check_mount("1 2 3 /a /mnt rw - cgroup none cpu rest", "cpu", "/a", "/mnt");
	check_mount("1 2 3 /a\\040b\\134 /m\\04\\9nt\\ rw - cgroup2 none", NULL, "/a b\\", "/m\\04\\9nt\\");
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		check_mount(others[i], "cpu", NULL, NULL), check_mount(others[i], NULL, NULL, NULL);
	for (int length = FSROOT_PATH - 2; length <= FSROOT_PATH; length++) {
		const char *path = length < FSROOT_PATH ? many('x', length) : NULL;

		snprintf(line, sizeof(line), "1 2 3 %s /mnt rw - cgroup2 none", many('x', length));
		check_mount(line, NULL, path, "/mnt");
		snprintf(line, sizeof(line), "1 2 3 / %s rw - cgroup2 none", many('x', length));
		check_mount(line, NULL, path ? "/" : NULL, path);
	}
}

static void check_below(const char *path, const char *root, const char *expected)
{
	const char *below = cgroup_below(path, root);

	CHECK((below != NULL) == (expected != NULL));
	CHECK(!below || strcmp(below, expected) == 0);
}

static void below(void)
{
	check_below("/", "/", "");
	check_below("/a/b", "/", "/a/b");
	check_below("/a/b", "/a", "/b");
	check_below("/a", "/a", "");
	check_below("/ab", "/a", NULL);
	check_below("/b", "/a", NULL);
	check_below("/..", "/", NULL);
	check_below("/../a", "/", NULL);
	check_below("/..a", "/", "/..a");
	check_below("/../a", "/..", "/a");
}

/* Helpers stay where they are if the hash of where they are to be is the same, in this survey of the machine and the next. */
static void hashes(void)
{
	struct cpus a = { { 0 } }, b = { { 0 } };

	cpus_add(&a, 0);
	cpus_add(&b, 1);
	for (uint64_t m = 0; m < 100; m++)
		for (uint64_t n = 0; n < 100; n++) {
			CHECK(cpus_hash(&a, m) != cpus_hash(&b, n));
			CHECK((cpus_hash(&a, m) == cpus_hash(&a, n)) == (m == n));
		}
}

int main(void)
{
	hashes();
	lists();
	maps();
	quotas();
	memberships();
	mounts();
	below();
	return 0;
}
