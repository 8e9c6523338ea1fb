/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded before the libraries of the program under test: a disk that takes nothing for a while, and a clock that is set.
 *
 * $SHIM_CONTROL is a file of one struct control, shared by all processes and changed by the test at any moment. Only what lies in the
 * cache directory is denied (its path is in $SHIM_FOLDER), and not the lock, which belongs to the keeper.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct control {
    int64_t seconds;  /* the clock is ahead */
    int32_t write;    /* the errno of each write; 0: none */
    int32_t sync;     /* of each sync */
    int32_t metadata; /* of making, renaming and removing */
    int32_t read;     /* of each read of an image */
    int32_t folders;  /* of each sync of a folder */
};

static const volatile struct control *control(void)
{
    static const volatile struct control *shared;
    static const struct control none;
    if (shared == NULL) {
        const char *path = getenv("SHIM_CONTROL");
        int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *at = fd >= 0 ? mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
        shared = at != MAP_FAILED ? at : &none;
        if (fd >= 0)
            close(fd);
    }
    return shared;
}

static const char *path_of(int fd, char path[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n < 0 ? 0 : n] = '\0';
    return path;
}

static int is_catalogue(int fd)
{
    char path[PATH_MAX];
    return strstr(path_of(fd, path), "/.catalogue") != NULL;
}

/* Is FD in the cache directory, or it itself? */
static int is_ours(int fd)
{
    char path[PATH_MAX];
    const char *folder = getenv("SHIM_FOLDER");
    size_t length = folder != NULL ? strlen(folder) : 0;
    path_of(fd, path);
    return length > 0 && strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0') && strstr(path, "/.lock") == NULL;
}

/* A disk that is full still takes what is written over: the catalogue has its blocks. */
static int denied(int code, int fd)
{
    if (code == 0 || !is_ours(fd) || ((code == ENOSPC || code == EDQUOT) && is_catalogue(fd)))
        return 0;
    errno = code;
    return 1;
}

#define WRITE(name, offset_type) \
    ssize_t name(int fd, const void *bytes, size_t length, offset_type offset) \
    { \
        static ssize_t (*real)(int, const void *, size_t, offset_type); \
        if (real == NULL) \
            real = (ssize_t(*)(int, const void *, size_t, offset_type))dlsym(RTLD_NEXT, #name); \
        return denied(control()->write, fd) ? -1 : real(fd, bytes, length, offset); \
    }
WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)

#define READ(name, offset_type) \
    ssize_t name(int fd, void *bytes, size_t length, offset_type offset) \
    { \
        static ssize_t (*real)(int, void *, size_t, offset_type); \
        if (real == NULL) \
            real = (ssize_t(*)(int, void *, size_t, offset_type))dlsym(RTLD_NEXT, #name); \
        return !is_catalogue(fd) && denied(control()->read, fd) ? -1 : real(fd, bytes, length, offset); \
    }
READ(pread, off_t)
READ(pread64, off64_t)

#define SYNC(name) \
    int name(int fd) \
    { \
        static int (*real)(int); \
        if (real == NULL) \
            real = (int (*)(int))dlsym(RTLD_NEXT, #name); \
        return denied(control()->sync, fd) ? -1 : real(fd); \
    }
SYNC(fdatasync)

int fsync(int fd)
{
    static int (*real)(int);
    struct stat st;
    if (real == NULL)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (denied(control()->sync, fd) || (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && denied(control()->folders, fd)))
        return -1;
    return real(fd);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    static int (*real)(int, const char *, int, const char *);
    if (real == NULL)
        real = (int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");
    return denied(control()->metadata, from_folder) ? -1 : real(from_folder, from, to_folder, to);
}

int unlinkat(int folder, const char *name, int flags)
{
    static int (*real)(int, const char *, int);
    if (real == NULL)
        real = (int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat");
    return denied(control()->metadata, folder) ? -1 : real(folder, name, flags);
}

/* ---- the clock */

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int r = real(clock, ret);
    if (r == 0 && clock == CLOCK_REALTIME)
        ret->tv_sec += control()->seconds;
    return r;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    ret->tv_sec = now.tv_sec;
    ret->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret != NULL)
        *ret = now.tv_sec;
    return now.tv_sec;
}
