/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "fsroot.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[FSROOT_PATH];

static void look_up(void)
{
	const char *name = getenv("KTASK_FSROOT");

	if (name && strcmp(name, "/") != 0)
		snprintf(root, sizeof(root), "%s", name);
}

void fsroot_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, look_up);
}

bool fsroot_is_ours(void)
{
	return root[0] == '\0';
}

/* Puts the root before the path that is asked for. False: too long. */
static bool make_path(char *path, const char *format, va_list args)
{
	int head = snprintf(path, FSROOT_PATH, "%s/", root), tail;

	if (head >= FSROOT_PATH)
		return false;
	tail = vsnprintf(path + head, (size_t)(FSROOT_PATH - head), format, args);
	return tail < FSROOT_PATH - head;
}

static int open_at(const char *format, va_list args)
{
	char path[FSROOT_PATH];

	return make_path(path, format, args) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

int fsroot_open(const char *format, ...)
{
	va_list args;
	int fd;

	va_start(args, format);
	fd = open_at(format, args);
	va_end(args);
	return fd;
}

bool fsroot_exists(const char *format, ...)
{
	char path[FSROOT_PATH];
	va_list args;
	bool ok;

	va_start(args, format);
	ok = make_path(path, format, args) && access(path, F_OK) == 0;
	va_end(args);
	return ok;
}

static ssize_t read_on(int fd, char *text, size_t size, size_t offset)
{
	(void)offset;
	return read(fd, text, size);
}

/* The descriptor's own offset may be shared with a parent or a child. */
static ssize_t read_there(int fd, char *text, size_t size, size_t offset)
{
	return pread(fd, text, size, (off_t)offset);
}

static bool read_all(ssize_t (*some)(int, char *, size_t, size_t), int fd, char *text, size_t size)
{
	size_t length = 0;
	ssize_t n;

	while (length < size && (n = some(fd, text + length, size - length, length)) != 0) {
		if (n < 0)
			return false;
		length += (size_t)n;
	}
	if (length == size)
		return false;
	text[length] = '\0';
	return true;
}

bool fsroot_read(char *text, size_t size, const char *format, ...)
{
	va_list args;
	bool ok;
	int fd;

	va_start(args, format);
	fd = open_at(format, args);
	va_end(args);
	if (fd < 0)
		return false;
	ok = read_all(read_on, fd, text, size);
	close(fd);
	return ok;
}

static bool is_same(const struct kept_file *file)
{
	struct stat now;

	return file->open && fstat(file->fd, &now) == 0 && now.st_dev == file->device && now.st_ino == file->inode;
}

bool kept_open(struct kept_file *file, const char *format, ...)
{
	struct stat stat;
	va_list args;

	va_start(args, format);
	file->fd = open_at(format, args);
	va_end(args);
	file->open = file->fd >= 0;
	if (!file->open)
		return false;
	if (fstat(file->fd, &stat) != 0) {
		close(file->fd);
		file->open = false;
		return false;
	}
	file->device = stat.st_dev;
	file->inode = stat.st_ino;
	return true;
}

void kept_close(struct kept_file *file)
{
	if (is_same(file))
		close(file->fd);
	file->open = false;
}

bool kept_read(const struct kept_file *file, char *text, size_t size)
{
	return is_same(file) && read_all(read_there, file->fd, text, size);
}
