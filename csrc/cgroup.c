/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cgroup.c: the tightest CPU quota of all cgroups that this process is in, and their tightest limit of memory.
 *
 * Files (cgroups(7), Documentation/admin-guide/cgroup-v2.rst, scheduler/sched-bwc.rst): /proc/self/cgroup has a line
 * ID:CONTROLLERS:PATH for each hierarchy, v2's is 0::PATH. /proc/self/mountinfo tells where hierarchies are mounted, and
 * from which cgroup on: in a container that is often the container's own. Both see paths from the process's cgroup
 * namespace; what lies above that begins with /.. there. Each directory from the process's cgroup up to the mount has
 * cpu.max (v2: "QUOTA PERIOD", or max) or cpu.cfs_quota_us (v1: -1 is none) and cpu.cfs_period_us; memory.max (v2: BYTES, or
 * max) or memory.limit_in_bytes (v1: more than any machine has is none).
 */
#define _GNU_SOURCE
#include "cgroup.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- parsers ----------------------------------------------------------------------------------------------------- */

static bool parse_number(const char **text, uint64_t *number)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	*number = strtoull(*text, &end, 10);
	*text = end;
	return true;
}

bool cgroup_parse_max(const char *text, uint64_t *usec, uint64_t *period)
{
	if (!parse_number(&text, usec) || *text++ != ' ')
		return false;
	return parse_number(&text, period) && *period > 0;
}

/* Is word one of the list's, which ends at end and is separated by commas? */
static bool list_has(const char *list, const char *end, const char *word)
{
	size_t length = strlen(word);

	while (list < end) {
		size_t n = strcspn(list, ",");

		if (n > (size_t)(end - list))
			n = (size_t)(end - list);
		if (n == length && memcmp(list, word, n) == 0)
			return true;
		list += n + 1;
	}
	return false;
}

static bool copy(char *to, const char *from, size_t length)
{
	if (length >= FSROOT_PATH)
		return false;
	memcpy(to, from, length);
	to[length] = '\0';
	return true;
}

bool cgroup_parse_membership(const char *text, const char *controller, char *path)
{
	for (const char *line = text; *line;) {
		size_t length = strcspn(line, "\n");
		const char *end = line + length, *id_end = memchr(line, ':', length), *list_end = NULL;

		if (id_end)
			list_end = memchr(id_end + 1, ':', (size_t)(end - id_end - 1));
		if (list_end && (controller ? list_has(id_end + 1, list_end, controller)
					    : id_end == line + 1 && *line == '0' && list_end == id_end + 1))
			return copy(path, list_end + 1, (size_t)(end - list_end - 1));
		line = *end ? end + 1 : end;
	}
	return false;
}

/* The next of the fields that single spaces separate; NULL at the end of the line. */
static const char *next_field(const char *field)
{
	field = strchr(field, ' ');
	return field ? field + 1 : NULL;
}

/* Copies a field, in which \040 and the like stand for characters. */
static bool unescape(char *to, const char *field)
{
	size_t n = 0;

	while (*field && *field != ' ' && *field != '\n') {
		char c = *field++;

		if (c == '\\' && strspn(field, "01234567") >= 3) {
			c = (char)((field[0] - '0') << 6 | (field[1] - '0') << 3 | (field[2] - '0'));
			field += 3;
		}
		if (n == FSROOT_PATH - 1)
			return false;
		to[n++] = c;
	}
	to[n] = '\0';
	return true;
}

static bool field_is(const char *field, const char *word)
{
	size_t length = strlen(word);

	return strncmp(field, word, length) == 0 && (field[length] == ' ' || field[length] == '\0');
}

bool cgroup_parse_mount(const char *line, const char *controller, struct cgroup_mount *mount)
{
	/* ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG ...] - TYPE SOURCE SUPER_OPTIONS */
	const char *field = line, *root, *point;

	for (int i = 0; i < 3 && field; i++)
		field = next_field(field);
	root = field;
	point = root ? next_field(root) : NULL;
	if (!point)
		return false;
	for (field = next_field(point); field && !field_is(field, "-");)
		field = next_field(field);
	field = field ? next_field(field) : NULL;
	if (!field)
		return false;
	if (!field_is(field, controller ? "cgroup" : "cgroup2"))
		return false;
	if (controller) {
		field = next_field(field);
		field = field ? next_field(field) : NULL;
		if (!field || !list_has(field, field + strcspn(field, " \n"), controller))
			return false;
	}
	return unescape(mount->root, root) && unescape(mount->point, point);
}

const char *cgroup_below(const char *path, const char *root)
{
	size_t length = strlen(root);

	if (length == 1) /* "/" */
		length = 0;
	if (strncmp(path, root, length) != 0 || (path[length] && path[length] != '/'))
		return NULL;
	path += length;
	if (strncmp(path, "/..", 3) == 0 && (path[3] == '/' || path[3] == '\0'))
		return NULL; /* above */
	return strcmp(path, "/") == 0 ? "" : path;
}

/* ---- the files --------------------------------------------------------------------------------------------------- */

/* Where the directory of the process's cgroup is, and how much of that path is the mount point. */
struct place {
	bool found;
	bool exact;
	char path[FSROOT_PATH];
	size_t point;
};

static void consider(struct place *place, const struct cgroup_mount *mount, const char *member_of)
{
	const char *below = cgroup_below(member_of, mount->root);
	size_t point = strlen(mount->point);

	/* A mount that shows part of the hierarchy, seen under another name: most likely a container's own cgroup. */
	if (!below && strcmp(mount->root, "/") != 0 && !place->found)
		below = "";
	else if (!below || place->exact)
		return;
	else
		place->exact = true;
	if (point + strlen(below) >= FSROOT_PATH)
		return;
	memcpy(place->path, mount->point, point);
	strcpy(place->path + point, below);
	place->point = point;
	place->found = true;
}

/* Calls consider for the lines of mountinfo that matter. Lines longer than all sense are passed over. */
static void find_place(const char *controller, const char *member_of, struct place *place)
{
	char buffer[8192];
	size_t length = 0;
	bool too_long = false;
	int fd = fsroot_open("proc/self/mountinfo");
	ssize_t n;

	place->found = place->exact = false;
	if (fd < 0)
		return;
	while ((n = read(fd, buffer + length, sizeof(buffer) - 1 - length)) > 0) {
		char *line = buffer, *end;

		length += (size_t)n;
		buffer[length] = '\0';
		while ((end = memchr(line, '\n', length - (size_t)(line - buffer)))) {
			struct cgroup_mount mount;

			*end = '\0';
			if (!too_long && cgroup_parse_mount(line, controller, &mount))
				consider(place, &mount, member_of);
			too_long = false;
			line = end + 1;
		}
		length -= (size_t)(line - buffer);
		memmove(buffer, line, length);
		if (length == sizeof(buffer) - 1) {
			too_long = true;
			length = 0;
		}
	}
	close(fd);
}

/* Calls look with the directory of each cgroup of the hierarchy, the innermost first, until it returns false. */
static void each_level(const char *memberships, const char *controller,
		       bool (*look)(const char *path, const char *controller, void *arg), void *arg)
{
	char member_of[FSROOT_PATH];
	struct place place;

	if (!cgroup_parse_membership(memberships, controller, member_of))
		return;
	find_place(controller, member_of, &place);
	while (place.found && look(place.path, controller, arg) && place.path[place.point])
		*strrchr(place.path + place.point, '/') = '\0';
}

static bool open_level(const char *path, const char *controller, void *arg)
{
	struct cgroup *cgroup = arg;
	struct cgroup_level *level = &cgroup->level[cgroup->nr_levels];

	if (!kept_open(&level->quota, "%s/%s", path, controller ? "cpu.cfs_quota_us" : "cpu.max"))
		return true; /* the outermost has none */
	if (controller && !kept_open(&level->period, "%s/cpu.cfs_period_us", path)) {
		kept_close(&level->quota);
		return true;
	}
	level->unified = !controller;
	strcpy(level->path, path);
	return ++cgroup->nr_levels < CGROUP_LEVELS;
}

void cgroup_open(struct cgroup *cgroup)
{
	for (int i = 0; i < cgroup->nr_levels; i++) {
		kept_close(&cgroup->level[i].quota);
		kept_close(&cgroup->level[i].period);
	}
	cgroup->nr_levels = 0;
	kept_close(&cgroup->membership);
	cgroup->member_of[0] = '\0';
	if (!kept_open(&cgroup->membership, "proc/self/cgroup") ||
	    !kept_read(&cgroup->membership, cgroup->member_of, sizeof(cgroup->member_of)))
		return;
	each_level(cgroup->member_of, "cpu", open_level, cgroup);
	if (cgroup->nr_levels < CGROUP_LEVELS)
		each_level(cgroup->member_of, NULL, open_level, cgroup);
}

/* False: it cannot be read any more. */
static bool read_level(const struct cgroup_level *level, uint64_t *usec, uint64_t *period)
{
	char text[64];

	*period = 0;
	if (!kept_read(&level->quota, text, sizeof(text)))
		return false;
	if (level->unified) {
		if (!cgroup_parse_max(text, usec, period))
			*period = 0;
		return true;
	}
	if (strtoll(text, NULL, 10) <= 0)
		return true;
	*usec = strtoull(text, NULL, 10);
	if (!kept_read(&level->period, text, sizeof(text)))
		return false;
	*period = strtoull(text, NULL, 10);
	return true;
}

bool cgroup_moved(const struct cgroup *cgroup)
{
	char text[CGROUP_MEMBERSHIP];

	if (!cgroup->membership.open)
		return false;
	return !kept_read(&cgroup->membership, text, sizeof(text)) || strcmp(text, cgroup->member_of) != 0;
}

void cgroup_quota(const struct cgroup *cgroup, struct quota *quota)
{
	quota->period = 0;
	for (int i = 0; i < cgroup->nr_levels; i++) {
		const struct cgroup_level *level = &cgroup->level[i];
		uint64_t usec, period;

		if (!read_level(level, &usec, &period) || period == 0)
			continue;
		if (quota->period && (double)usec / (double)period >= (double)quota->usec / (double)quota->period)
			continue;
		quota->usec = usec;
		quota->period = period;
		quota->cgroup = level->quota.inode;
		strcpy(quota->path, level->path);
	}
}

static bool look_at_limit(const char *path, const char *controller, void *arg)
{
	uint64_t *least = arg, limit;
	char text[64];
	const char *number = text;

	if (fsroot_read(text, sizeof(text), "%s/%s", path, controller ? "memory.limit_in_bytes" : "memory.max") &&
	    parse_number(&number, &limit) && limit < *least)
		*least = limit;
	return true;
}

uint64_t cgroup_memory_limit(void)
{
	char memberships[CGROUP_MEMBERSHIP];
	uint64_t least = UINT64_MAX;

	fsroot_init();
	if (!fsroot_read(memberships, sizeof(memberships), "proc/self/cgroup"))
		return least;
	each_level(memberships, "memory", look_at_limit, &least);
	each_level(memberships, NULL, look_at_limit, &least);
	return least;
}
