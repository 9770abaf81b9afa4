/* SPDX-License-Identifier: BSD-3-Clause */
/* environment.h: settings, as the environment has them; nonsense counts as not set. */
#ifndef KTASK_ENVIRONMENT_H
#define KTASK_ENVIRONMENT_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A number from 0 to max, which stands for all that are larger. */
static inline long number_from_environment(const char *name, long otherwise, long max)
{
	const char *text = getenv(name);
	char *end;
	long n;

	if (!text || !*text)
		return otherwise;
	n = strtol(text, &end, 10);
	return *end || n < 0 ? otherwise : n > max ? max : n;
}

/* "off" or "0"; anything else is on. */
static inline bool is_off_in_environment(const char *name, bool otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strcasecmp(value, "off") == 0 || strcmp(value, "0") == 0 : otherwise;
}

#endif
