/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend `file`: a folder of images, the default that needs no server. Requests name local files, which the
 * transfers read and answer for as an HTTP server would, so that everything above sees no difference.
 *
 * Nothing changes after open(); no lock.
 */
#include "config-auto.h"

#include "backends/backend.h"
#include "backends/object.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct backend {
    struct objects objects; /* the first */
};

static object_fn ask;

static int refuse(const struct config *config, char *message, const char *why)
{
    snprintf(message, CONFIG_MESSAGE_MAX, "%s: path: %s", config_where(config, "backend", "path"), why);
    return -EINVAL;
}

static int check_folder(const struct config *config, char *message)
{
    struct stat folder, cache;
    if (!config->directory || !*config->directory)
        return refuse(config, message, "must be set: the folder that the images are in");
    if (stat(config->directory, &folder) < 0) {
        char why[300];
        snprintf(why, sizeof(why), "%.200s: %s; create it or name another", config->directory, strerror(errno));
        return refuse(config, message, why);
    }
    if (!S_ISDIR(folder.st_mode))
        return refuse(config, message, "is not a folder; name the folder that the images are in");
    if (config->image_cache_dir && stat(config->image_cache_dir, &cache) == 0 && cache.st_dev == folder.st_dev &&
        cache.st_ino == folder.st_ino)
        return refuse(config, message, "is the cache itself (image_cache_dir); name the folder that the images are in");
    return 0;
}

static int file_open(const struct config *config, struct backend **ret, char message[CONFIG_MESSAGE_MAX])
{
    int r = check_folder(config, message);
    if (r == 0)
        r = backend_check_sums_names(config, message);
    if (r < 0)
        return r;
    struct backend *b = calloc(1, sizeof(*b));
    if (!b) {
        snprintf(message, CONFIG_MESSAGE_MAX, "out of memory");
        return -ENOMEM;
    }
    b->objects = (struct objects){.config = config, .ask = ask};
    *ret = b;
    return 0;
}

static void file_close(struct backend *b)
{
    free(b);
}

static unsigned file_endpoints(const struct backend *b)
{
    (void) b;
    return 1;
}

static const char *file_endpoint_name(const struct backend *b, unsigned endpoint)
{
    (void) endpoint;
    return b->objects.config->directory;
}

static int ask(struct backend *b, unsigned endpoint, const char *name, struct transfer_request *request)
{
    (void) endpoint;
    struct transfer_request r = { 0 };
    if (asprintf(&r.path, "%s/%s", b->objects.config->directory, name) < 0)
        return -ENOMEM;
    *request = r;
    return 0;
}

static int file_describe(struct backend *b, unsigned endpoint, const char *id, uint64_t probe,
                         struct transfer_request *request)
{
    if (backend_is_sums(b->objects.config, id))
        return -ENOENT;
    int r = ask(b, endpoint, id, request);
    if (r < 0)
        return r;
    request->ranged = true;
    request->last = probe > 0 ? probe - 1 : 0;
    return 0;
}

static int file_described(struct backend *b, unsigned endpoint, const char *id, const struct transfer_head *head,
                          const void *body, size_t length, struct image_meta *ret)
{
    (void) b, (void) id, (void) body, (void) length;
    return backend_meta_from_head(head, endpoint, ret);
}

static int file_bytes(struct backend *b, unsigned endpoint, const char *id, const struct image_meta *meta,
                      uint64_t first, uint64_t last, struct transfer_request *request)
{
    struct transfer_request q;
    int r = ask(b, endpoint, id, &q);
    if (r < 0)
        return r;
    const char *etag = endpoint == meta->endpoint ? image_meta_strong_etag(meta) : NULL;
    if (etag && (r = transfer_request_header(&q, "If-Match", etag)) < 0) {
        transfer_request_clear(&q);
        return r;
    }
    q.ranged = true;
    q.first = first;
    q.last = last;
    *request = q;
    return 0;
}

/* Tells the file NAME of the folder, when it is one. */
static int list_one(struct backend *b, int folder, const char *name, listing_fn *fn, void *context)
{
    struct stat st;
    if (!image_id_valid(name) || backend_is_sums(b->objects.config, name))
        return 0;
    if (fstatat(folder, name, &st, 0) < 0 || !S_ISREG(st.st_mode)) /* gone, a dangling link, a folder */
        return 0;
    struct listed_image image = { .name = name, .size = (uint64_t) st.st_size };
    return fn(context, &image);
}

static int file_list_here(struct backend *b, listing_fn *fn, void *context)
{
    DIR *folder = opendir(b->objects.config->directory);
    if (!folder)
        return errno == EACCES ? -EACCES : errno == ENOMEM ? -ENOMEM : -EAGAIN;
    int r = 0;
    while (r == 0) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry) {
            r = errno == 0 ? 0 : -EAGAIN;
            break;
        }
        r = list_one(b, dirfd(folder), entry->d_name, fn, context);
    }
    closedir(folder);
    return r;
}

static int file_document(struct backend *b, unsigned endpoint, const char *name, struct transfer_request *request)
{
    return ask(b, endpoint, name, request);
}

const struct backend_ops backend_file = {
    .type = "file",
    .describe_has_bytes = true,
    .open = file_open,
    .close = file_close,
    .endpoints = file_endpoints,
    .endpoint_name = file_endpoint_name,
    .describe = file_describe,
    .described = file_described,
    .bytes = file_bytes,
    .list_here = file_list_here,
    .document = file_document,
    .digests = object_digests,
};
