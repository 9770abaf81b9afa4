/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * power.c: the system's power policy.
 *
 * Files (Documentation/admin-guide/pm/cpufreq.rst, intel_pstate.rst, amd-pstate.rst): each CPU has under
 * sys/devices/system/cpu its cpufreq/scaling_driver and scaling_governor. The governors powersave and conservative
 * want to save power. But the drivers that choose the frequency in hardware (intel_pstate in its active mode,
 * amd-pstate-epp) know two governors only, of which powersave is the usual one, good for full speed: what these want is
 * told by cpufreq/energy_performance_preference, and by the platform's profile, sys/firmware/acpi/platform_profile.
 */
#define _GNU_SOURCE
#include "power.h"

#include <stdio.h>
#include <string.h>

static bool is(const char *word, const char *other)
{
	return strcmp(word, other) == 0;
}

static void judge(struct power *p)
{
	bool in_hardware = is(p->driver, "intel_pstate") || is(p->driver, "amd-pstate-epp");
	const char *what = NULL, *value = NULL;

	if (!in_hardware && (is(p->governor, "powersave") || is(p->governor, "conservative"))) {
		what = "governor";
		value = p->governor;
	} else if (in_hardware && is(p->profile, "low-power")) {
		what = "platform profile";
		value = p->profile;
	} else if (in_hardware && is(p->preference, "power")) {
		what = "energy performance preference";
		value = p->preference;
	}
	p->saves = what != NULL;
	p->why[0] = '\0';
	if (what)
		snprintf(p->why, sizeof(p->why), "%s %s", what, value);
}

static void close_all(struct power_files *files)
{
	kept_close(&files->driver);
	kept_close(&files->governor);
	kept_close(&files->preference);
	kept_close(&files->profile);
}

void power_open(struct power_files *files, int cpu)
{
	char directory[64];

	close_all(files);
	snprintf(directory, sizeof(directory), "sys/devices/system/cpu/cpu%d/cpufreq", cpu);
	if (!fsroot_exists("%s", directory)) /* a link to this, where the kernel made them */
		snprintf(directory, sizeof(directory), "sys/devices/system/cpu/cpufreq/policy%d", cpu);
	kept_open(&files->driver, "%s/scaling_driver", directory);
	kept_open(&files->governor, "%s/scaling_governor", directory);
	kept_open(&files->preference, "%s/energy_performance_preference", directory);
	kept_open(&files->profile, "sys/firmware/acpi/platform_profile");
}

static void read_word(const struct kept_file *file, char *word)
{
	if (!kept_read(file, word, POWER_WORD))
		word[0] = '\0';
	word[strcspn(word, " \n")] = '\0';
}

bool power_changed_hands(const struct power_files *files)
{
	char word[POWER_WORD];

	return files->driver.open && !kept_read(&files->driver, word, sizeof(word));
}

void power_read(const struct power_files *files, struct power *power)
{
	read_word(&files->driver, power->driver);
	read_word(&files->governor, power->governor);
	read_word(&files->preference, power->preference);
	read_word(&files->profile, power->profile);
	judge(power);
}
