/* SPDX-License-Identifier: Apache-2.0 */
/* The table of backing ids, by row, and the two ioctls. */
#include "config-auto.h"

#include "keeper/backing.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "base/log.h"
#include "process/abi.h"
#include "process/link.h"

struct backing {
    int64_t row;
    int id;
    UT_hash_handle hh;
};

struct backings {
    int fuse_fd;
    dev_t device; /* of the cache directory, */
    uid_t owner;  /* and whose it is */
    struct backing *table;
};

int backings_new(int fuse_fd, const char *dir, struct backings **ret)
{
    struct stat st;
    if (stat(dir, &st) < 0)
        return -errno;
    struct backings *b = malloc(sizeof(*b));
    if (b == NULL)
        return -ENOMEM;
    *b = (struct backings){.fuse_fd = fuse_fd, .device = st.st_dev, .owner = st.st_uid};
    *ret = b;
    return 0;
}

void backings_free(struct backings *b)
{
    struct backing *entry, *next;
    if (b == NULL)
        return;
    HASH_ITER(hh, b->table, entry, next) {
        HASH_DEL(b->table, entry);
        free(entry);
    }
    free(b);
}

static struct backing *find(struct backings *b, int64_t row)
{
    struct backing *entry;
    HASH_FIND(hh, b->table, &row, sizeof(row), entry);
    return entry;
}

static void drop(struct backings *b, struct backing *entry)
{
    uint32_t id = (uint32_t)entry->id;
    if (ioctl(b->fuse_fd, GCFS_DEV_IOC_BACKING_CLOSE, &id) < 0)
        log_errno(-errno, "the kernel's id %u of a cached file cannot be given back", id);
    HASH_DEL(b->table, entry);
    free(entry);
}

static bool is_of_cache(const struct backings *b, int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_dev == b->device && st.st_uid == b->owner;
}

/* The id of ROW, which FD is the file of. A row is one version of an image, its file never changes. */
static int open_row(struct backings *b, int64_t row, int fd)
{
    struct backing *entry = find(b, row);
    if (entry != NULL)
        return entry->id;
    if (!is_of_cache(b, fd))
        return -EACCES;
    if ((entry = malloc(sizeof(*entry))) == NULL)
        return -ENOMEM;
    struct gcfs_backing_map map = {.fd = fd};
    int id = ioctl(b->fuse_fd, GCFS_DEV_IOC_BACKING_OPEN, &map);
    if (id <= 0) {
        int r = id < 0 ? -errno : -EPROTO;
        free(entry);
        return r;
    }
    *entry = (struct backing){.row = row, .id = id};
    HASH_ADD(hh, b->table, row, sizeof(entry->row), entry);
    return id;
}

static int serve_open(struct backings *b, int socket)
{
    struct link_message message;
    int fd, r = link_receive(socket, true, &message, &fd, 1);
    if (r < 0)
        return r;
    message = (struct link_message){.type = LINK_BACKING, .row = message.row, .result = open_row(b, message.row, fd)};
    close(fd);
    return link_send(socket, true, &message, NULL, 0);
}

int backings_serve(struct backings *b, int socket)
{
    enum link_type type;
    int r = link_peek(socket, &type);
    if (r < 0)
        return r;
    if (type == LINK_BACKING_OPEN)
        return serve_open(b, socket);

    struct link_message message;
    r = link_receive(socket, true, &message, NULL, 0);
    if (r < 0)
        return r;
    struct backing *entry = type == LINK_BACKING_CLOSE ? find(b, message.row) : NULL;
    if (entry != NULL)
        drop(b, entry);
    return 0;
}

void backings_sweep(struct backings *b, struct ledger *ledger)
{
    struct backing *entry, *next;
    HASH_ITER(hh, b->table, entry, next) {
        if (ledger_handles(ledger, entry->row) == 0)
            drop(b, entry);
    }
}
