/* SPDX-License-Identifier: BSD-3-Clause */
/* /proc/self/cgroup, /proc/self/mountinfo and cpu.max: whatever they say, paths stay within bounds and below the mount. */
#define _GNU_SOURCE
#include "cgroup.h"

#include <stdlib.h>
#include <string.h>

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void mount_line(const char *line, const char *controller, const char *path)
{
	struct cgroup_mount mount;
	const char *below;

	if (!cgroup_parse_mount(line, controller, &mount))
		return;
	require(strlen(mount.root) < FSROOT_PATH && strlen(mount.point) < FSROOT_PATH);
	below = cgroup_below(path, mount.root);
	if (!below)
		return;
	require(*below == '\0' || *below == '/');
	require(strcmp(below, "/..") != 0 && strncmp(below, "/../", 4) != 0);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	char *text = malloc(size + 1), path[FSROOT_PATH];
	uint64_t usec, period;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (cgroup_parse_max(text, &usec, &period))
		require(period > 0);
	for (int i = 0; i < 3; i++) {
		const char *controller = i == 0 ? "cpu" : i == 1 ? "memory" : NULL;
		char *copy;

		if (!cgroup_parse_membership(text, controller, path))
			continue;
		require(strlen(path) < FSROOT_PATH && !strchr(path, '\n'));
		copy = strdup(text);
		for (char *line = copy ? strtok(copy, "\n") : NULL; line; line = strtok(NULL, "\n"))
			mount_line(line, controller, path);
		free(copy);
	}
	free(text);
	return 0;
}
