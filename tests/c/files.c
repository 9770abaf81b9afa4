/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of /proc and /sys are read as they are, or count as missing: ones too long for the buffer, names too long for a
 * path, directories, descriptors that the program has closed meanwhile, or uses for something else.
 */
#include "check.h"
#include "fsroot.h"

#include "../../csrc/fsroot.h"

#include <fcntl.h>

static const char *many(char c, int n)
{
	static char text[2 * FSROOT_PATH];

	memset(text, c, (size_t)n);
	text[n] = '\0';
	return text;
}

static void whole_files(void)
{
	char text[5];

	fsroot_init();
	CHECK(!fsroot_is_ours());
	CHECK(fsroot_read(text, sizeof(text), "four") && strcmp(text, "1234") == 0);
	CHECK(fsroot_read(text, sizeof(text), "%s", "empty") && strcmp(text, "") == 0);
	CHECK(!fsroot_read(text, sizeof(text), "five"));
	CHECK(!fsroot_read(text, sizeof(text), "none"));
	CHECK(!fsroot_read(text, sizeof(text), "folder"));
	CHECK(fsroot_exists("four") && fsroot_exists("folder") && !fsroot_exists("none"));
	CHECK(fsroot_open("none") == -1 && fsroot_open("%s", many('x', FSROOT_PATH)) == -1);
	CHECK(!fsroot_exists("%s", many('/', FSROOT_PATH)));
}

static void kept_files(void)
{
	struct kept_file file = { 0 }, other;
	char text[8];
	int fd;

	fsroot_init();
	CHECK(!kept_read(&file, text, sizeof(text)));
	kept_close(&file); /* there is none */
	CHECK(!kept_open(&file, "none") && !file.open);
	CHECK(kept_open(&file, "four"));
	CHECK(kept_read(&file, text, sizeof(text)) && strcmp(text, "1234") == 0);
	fsroot_write("/four", "12\n");
	CHECK(kept_read(&file, text, sizeof(text)) && strcmp(text, "12\n") == 0);
	CHECK(!kept_read(&file, text, 3));

	/* Somebody closes it; somebody else gets its number, and keeps it. */
	CHECK(close(file.fd) == 0 && !kept_read(&file, text, sizeof(text)));
	fd = open(fsroot_path("/five"), O_RDONLY);
	CHECK(fd == file.fd && !kept_read(&file, text, sizeof(text)));
	kept_close(&file);
	CHECK(!file.open && fcntl(fd, F_GETFD) >= 0);
	CHECK(close(fd) == 0);

	CHECK(kept_open(&other, "folder") && !kept_read(&other, text, sizeof(text)));
	kept_close(&other);
	CHECK(fcntl(other.fd, F_GETFD) < 0);
}

static void a_root_of_its_own(void)
{
	fsroot_make();
	fsroot_write("/four", "1234");
	fsroot_write("/five", "12345");
	fsroot_write("/empty", "");
	fsroot_write("/folder/file", "");
	in_child(whole_files);
	in_child(kept_files);
	fsroot_remove();
}

static void ours(void)
{
	fsroot_init();
	CHECK(fsroot_is_ours() && fsroot_exists("dev/null"));
}

static void nothing(void)
{
	char text[8];

	fsroot_init();
	CHECK(!fsroot_is_ours() && !fsroot_exists("dev/null") && !fsroot_read(text, sizeof(text), "dev/null"));
}

int main(void)
{
	a_root_of_its_own();
	unsetenv("KTASK_FSROOT");
	in_child(ours);
	setenv("KTASK_FSROOT", "/", 1);
	in_child(ours);
	setenv("KTASK_FSROOT", many('/', FSROOT_PATH + 1), 1); /* another that is too long is none at all */
	in_child(nothing);
	return 0;
}
