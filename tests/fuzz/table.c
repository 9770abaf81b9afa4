/* SPDX-License-Identifier: BSD-3-Clause */
/* The table that processes share, with anything in it and in its door: who is alive keeps his seats, and no more. */
#define _GNU_SOURCE
#include "table.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORD = 24, ENTRY = 2 + 4 };

static char door[] = "/tmp/ktask-fuzz-XXXXXX";
static char why[TABLE_WHY];
static struct member resident; /* belongs to the table all the time */
static unsigned char record[RECORD];

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void remove_door(void)
{
	unlink(door);
}

static void begin(void)
{
	int fd = mkstemp(door);

	require(fd >= 0);
	atexit(remove_door);
	require(table_join(&resident, door, why) == TABLE_JOINED);
	require(pread(fd, record, RECORD, 0) == RECORD);
	close(fd);
}

static void write_door(const unsigned char *bytes, size_t size)
{
	int fd = open(door, O_WRONLY | O_TRUNC | O_CLOEXEC);

	require(fd >= 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size);
	close(fd);
}

static uint32_t row_in(uint32_t seat)
{
	return (seat & ~SEAT_CALLER) - 1;
}

static void check_seats(const struct member *other)
{
	for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
		uint32_t seat = resident.table->seats[cpu];

		require(!seat || row_in(seat) == (uint32_t)resident.row ||
			(other && row_in(seat) == (uint32_t)other->row));
	}
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct table_user users[2];
	struct member other;
	enum table_answer answer;
	int nr_users;

	if (!resident.table)
		begin();
	for (size_t i = RECORD; i + ENTRY <= size; i += ENTRY) {
		uint16_t place;
		uint32_t value;

		memcpy(&place, data + i, sizeof(place));
		memcpy(&value, data + i + sizeof(place), sizeof(value));
		resident.table->seats[place % MAX_CPUS] = value;
		resident.table->owners[value % TABLE_ROWS] = (uint64_t)value << 32 | place;
		resident.table->groups[value % TABLE_ROWS] = place;
	}

	/* Another one comes, by whatever the door says. Beside this resident there is no other table to be had. */
	write_door(data, size < RECORD ? size : RECORD);
	answer = table_join(&other, door, why);
	require(answer != TABLE_JOINED || (size >= RECORD && !memcmp(data, record, RECORD)));
	if (answer == TABLE_JOINED)
		table_leave(&other);

	/* And by the right one. */
	write_door(record, RECORD);
	require(table_join(&other, door, why) == TABLE_JOINED);
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		require(row_in(resident.table->seats[cpu]) != (uint32_t)other.row);
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		table_group_of(resident.table, resident.table->seats[cpu]);
	nr_users = table_users(door, users, 2, why);
	require(nr_users >= 1 && nr_users <= 2);
	table_reclaim(&other);
	check_seats(&other);
	table_leave(&other);
	table_reclaim(&resident);
	check_seats(NULL);
	return 0;
}
