/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists and maps of CPUs: what is accepted means the same when it is written in the other way. */
#include "topology.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void write_list(const struct cpus *cpus, char *text)
{
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpus_has(cpus, cpu))
			text += sprintf(text, "%d,", cpu);
	text[text[-1] == ',' ? -1 : 0] = '\0';
}

static void write_map(const struct cpus *cpus, char *text)
{
	for (int word = MAX_CPUS / 32 - 1; word >= 0; word--)
		text += sprintf(text, "%08lx%s",
				cpus->word[word * 32 / CPUS_WORD_BITS] >> (word * 32 % CPUS_WORD_BITS) & 0xffffffffUL,
				word ? "," : "\n");
}

static void same_in_both(const struct cpus *cpus)
{
	static char text[1 + MAX_CPUS * 6];
	struct cpus again;

	text[0] = ' ';
	write_list(cpus, text + 1);
	require(topology_parse_list(text + 1, &again, MAX_CPUS));
	require(memcmp(cpus, &again, sizeof(again)) == 0);
	write_map(cpus, text);
	require(topology_parse_map(text, &again, MAX_CPUS));
	require(memcmp(cpus, &again, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	char *text = malloc(size + 1); /* so that a byte too far is noticed */
	struct cpus cpus;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (topology_parse_list(text, &cpus, MAX_CPUS))
		same_in_both(&cpus);
	if (topology_parse_map(text, &cpus, MAX_CPUS))
		same_in_both(&cpus);
	if (topology_parse_list(text, &cpus, MAX_NODES))
		for (int i = MAX_NODES; i < MAX_CPUS; i++)
			require(!cpus_has(&cpus, i));
	free(text);
	return 0;
}
