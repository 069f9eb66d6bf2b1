/*
 * A full disk, without a disk that is full: preloaded into a server (LD_PRELOAD).
 *
 * While the file that ES_DISK_FULL names is there, no data file grows: what would
 * extend one fails with ENOSPC, as on a full disk.  What lies within a file is
 * written.  The log is not touched, for a server that cannot write it must stop.
 *
 * That is what ES_WAL_FULL is for: the write to the log that takes the file of this
 * name away fails, and no other.  So the server crashes once, and recovery can write.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

typedef ssize_t (*WriteAt)(int, const void *, size_t, off_t);
typedef ssize_t (*WriteVectorAt)(int, const struct iovec *, int, off_t);
typedef int (*Allocate)(int, off_t, off_t);

/*
 * The name of a flag that is up, NULL where it is down.
 */
static const char *
flag_up(const char *variable)
{
	const char *name = getenv(variable);

	return name && access(name, F_OK) == 0 ? name : NULL;
}

/*
 * Does the path of an open file have this in it?
 */
static bool
file_is_in(int fd, const char *part)
{
	char    link[64];
	char    path[PATH_MAX];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		return false;
	path[len] = '\0';
	return strstr(path, part) != NULL;
}

/*
 * Is there no room for a write that ends here?  Keeps errno.
 */
static bool
no_room(int fd, off_t end)
{
	int         saved = errno;
	const char *wal;
	struct stat st;
	bool        full;

	full = flag_up("ES_DISK_FULL") != NULL && fstat(fd, &st) == 0 && end > st.st_size &&
		   (file_is_in(fd, "/base/") || file_is_in(fd, "/pg_tblspc/"));
	wal = flag_up("ES_WAL_FULL");
	/* segments have names of digits; a new one is made under another name */
	if (wal && file_is_in(fd, "/pg_wal/0") && unlink(wal) == 0)
		full = true;
	errno = saved;
	return full;
}

static void *
original(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t offset)
{
	static WriteAt next = NULL;

	if (!next)
		next = (WriteAt) original("pwrite");
	if (no_room(fd, offset + (off_t) size))
	{
		errno = ENOSPC;
		return -1;
	}
	return next(fd, data, size, offset);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	static WriteVectorAt next = NULL;
	off_t                end = offset;
	int                  i;

	if (!next)
		next = (WriteVectorAt) original("pwritev");
	for (i = 0; i < count; i++)
		end += (off_t) parts[i].iov_len;
	if (no_room(fd, end))
	{
		errno = ENOSPC;
		return -1;
	}
	return next(fd, parts, count, offset);
}

int
posix_fallocate(int fd, off_t offset, off_t size)
{
	static Allocate next = NULL;

	if (!next)
		next = (Allocate) original("posix_fallocate");
	return no_room(fd, offset + size) ? ENOSPC : next(fd, offset, size);
}

/* What programs call that were built for large files. */
ssize_t
pwrite64(int fd, const void *data, size_t size, off_t offset)
{
	return pwrite(fd, data, size, offset);
}

ssize_t
pwritev64(int fd, const struct iovec *parts, int count, off_t offset)
{
	return pwritev(fd, parts, count, offset);
}

int
posix_fallocate64(int fd, off_t offset, off_t size)
{
	return posix_fallocate(fd, offset, size);
}
