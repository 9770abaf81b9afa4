/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fsroot.h: the files of /proc and /sys. They are looked for under the root that KTASK_FSROOT names in the environment
 * (default: /), so that another machine than this one can be read.
 */
#ifndef KTASK_FSROOT_H
#define KTASK_FSROOT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Room for a path; longer ones count as missing. */
enum { FSROOT_PATH = 1024 };

/* Looks up the environment, once and for all: other threads may change that later. */
void fsroot_init(void);

/* Is it this machine that is read? */
bool fsroot_is_ours(void);

/* Opens a file for reading; -1: there is none. */
int fsroot_open(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Reads the file into text as a string. False: there is none, or it is longer than that. */
bool fsroot_read(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

bool fsroot_exists(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * A file that stays open, to be read again and again. All zero: none. A program may close descriptors that are not its
 * own, and get the same numbers for files of its own: so it is made sure that the file is still the same.
 */
struct kept_file {
	bool open;
	int fd;
	dev_t device;
	ino_t inode;
};

bool kept_open(struct kept_file *file, const char *format, ...) __attribute__((format(printf, 2, 3)));
void kept_close(struct kept_file *file);

/* As fsroot_read, from the beginning; opens nothing. False also: the descriptor is somebody else's by now. */
bool kept_read(const struct kept_file *file, char *text, size_t size);

#endif
