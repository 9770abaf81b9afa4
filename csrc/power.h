/* SPDX-License-Identifier: BSD-3-Clause */
/* power.h: does the system want power to be saved rather than work to be done sooner? */
#ifndef KTASK_POWER_H
#define KTASK_POWER_H

#include "fsroot.h"

enum { POWER_WORD = 64 };

/* What the files say, each "" where it is missing. */
struct power {
	char driver[POWER_WORD];     /* cpufreq's */
	char governor[POWER_WORD];   /* of the CPU that was asked for */
	char preference[POWER_WORD]; /* energy_performance_preference */
	char profile[POWER_WORD];    /* of the platform */
	bool saves;		     /* so helpers had better sleep */
	char why[2 * POWER_WORD];    /* in words; "" if not */
};

/* The files, kept open. */
struct power_files {
	struct kept_file driver, governor, preference, profile;
};

/* Opens those of a CPU; those of before are closed. What is missing counts as not saving power. */
void power_open(struct power_files *files, int cpu);

/* Has a file gone since power_open? They do when another driver takes over. */
bool power_changed_hands(const struct power_files *files);

/* Opens nothing. */
void power_read(const struct power_files *files, struct power *power);

#endif
