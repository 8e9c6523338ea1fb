/* SPDX-License-Identifier: Apache-2.0 */
/* The lock of a cache directory: one keeper at a time has it, from its start to its end, through any number of workers. */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

static int read_pid(int fd)
{
    char text[16];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    long pid = strtol(text, NULL, 10);
    return pid > 0 && pid <= INT_MAX ? (int)pid : 0;
}

/* Root writes into it, in a folder of another user: not into what he linked there. */
static int open_lock(int parent, int *ret_fd)
{
    struct stat st;
    int fd = openat(parent, ".lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
    if (fd < 0)
        return errno == ELOOP || errno == EISDIR ? -EINVAL : -errno;
    int r = fstat(fd, &st) < 0 ? -errno : !S_ISREG(st.st_mode) || st.st_nlink != 1 ? -EINVAL : 0;
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int store_lock(const char *dir, int *ret_fd, int *ret_pid)
{
    int parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return -errno;
    int fd = -1, r = open_lock(parent, &fd);
    close(parent);
    if (r < 0)
        return r;

    /* flock(2) belongs to the open file: whoever inherits the descriptor holds the lock with us. */
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        r = -errno;
        if (r == -EWOULDBLOCK)
            *ret_pid = read_pid(fd);
        close(fd);
        return r;
    }
    /* The pid is for people. On a full disk it is missing, and the lock holds all the same. */
    char text[16];
    int length = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)length, 0) < 0)
        errno = 0;
    *ret_fd = fd;
    return 0;
}
