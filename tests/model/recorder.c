/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recorder DISK LOG MOUNTPOINT: serves the file DISK as MOUNTPOINT/disk, and logs each write and each flush of it in the order they came.
 *
 * A loop device over MOUNTPOINT/disk sends what a disk would get: its writes, and fsync(2) where a disk is told to flush. A record of the
 * log is struct record, then, of a write, its bytes. It is in the log before the write is answered, so that the length of the log at any
 * moment stands for what the disk was told until then. Nothing is ever synced: a power cut is made from the log (powercut.py).
 *
 * One thread, so that the order of the log is that of the requests; no lock. Stays in the foreground until it is unmounted.
 */
#define FUSE_USE_VERSION 31
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct record {
    uint32_t kind; /* 'W' or 'F' */
    uint32_t length;
    uint64_t offset;
};

static int disk = -1, journal = -1;

static int log_record(uint32_t kind, const char *bytes, size_t length, off_t offset)
{
    struct record record = {.kind = kind, .length = (uint32_t)length, .offset = (uint64_t)offset};
    struct iovec parts[2] = {{&record, sizeof(record)}, {(void *)bytes, length}};
    ssize_t n = writev(journal, parts, length > 0 ? 2 : 1);
    if (n < 0)
        return -errno;
    return (size_t)n == sizeof(record) + length ? 0 : -ENOSPC;
}

static int get_attributes(const char *path, struct stat *st, struct fuse_file_info *file)
{
    (void)file;
    memset(st, 0, sizeof(*st));
    if (strcmp(path, "/") == 0) {
        st->st_mode = S_IFDIR | 0755;
        st->st_nlink = 2;
        return 0;
    }
    if (strcmp(path, "/disk") != 0)
        return -ENOENT;
    if (fstat(disk, st) < 0)
        return -errno;
    st->st_mode = S_IFREG | 0600;
    return 0;
}

static int open_disk(const char *path, struct fuse_file_info *file)
{
    if (strcmp(path, "/disk") != 0)
        return -ENOENT;
    file->direct_io = 1; /* what the loop device writes is here when it is answered */
    return 0;
}

static int read_disk(const char *path, char *bytes, size_t length, off_t offset, struct fuse_file_info *file)
{
    (void)path;
    (void)file;
    ssize_t n = pread(disk, bytes, length, offset);
    return n < 0 ? -errno : (int)n;
}

static int write_disk(const char *path, const char *bytes, size_t length, off_t offset, struct fuse_file_info *file)
{
    (void)path;
    (void)file;
    int r = log_record('W', bytes, length, offset);
    if (r < 0)
        return r;
    ssize_t n = pwrite(disk, bytes, length, offset);
    return n < 0 ? -errno : (int)n;
}

static int sync_disk(const char *path, int only_data, struct fuse_file_info *file)
{
    (void)path;
    (void)only_data;
    (void)file;
    return log_record('F', NULL, 0, 0);
}

static void *begin(struct fuse_conn_info *connection, struct fuse_config *config)
{
    (void)connection;
    config->kernel_cache = 0;
    config->entry_timeout = config->attr_timeout = 3600;
    return NULL;
}

static const struct fuse_operations operations = {
    .getattr = get_attributes, .open = open_disk, .read = read_disk, .write = write_disk, .fsync = sync_disk, .init = begin,
};

int main(int argc, char *argv[])
{
    if (argc != 4) {
        fprintf(stderr, "usage: recorder DISK LOG MOUNTPOINT\n");
        return 2;
    }
    disk = open(argv[1], O_RDWR | O_CLOEXEC);
    journal = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (disk < 0 || journal < 0) {
        perror(disk < 0 ? argv[1] : argv[2]);
        return 1;
    }
    char *arguments[] = {argv[0], "-f", "-s", "-o", "fsname=recorder", argv[3], NULL};
    return fuse_main(6, arguments, &operations, NULL);
}
