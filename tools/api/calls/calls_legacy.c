/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of glance-cache-manage: Glance's cachemanage middleware, and the API documented in 2011. All succeed with 200; those on one
 * image say null. Unlike Glance, queueing an image that the backend says does not exist is 404: it would wait forever.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/cache/manage.h"
#include "api/http/api.h"
#include "base/log.h"

static enum MHD_Result list(struct request *r, const char *key, int (*write)(const char *mount, FILE *out))
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL)
        return reply_errno(r, -ENOMEM, "list images");
    fprintf(out, "{\"%s\": ", key);
    int error = write(r->api->mount, out);
    fputs("}", out);
    if (fclose(out) != 0 && error == 0)
        error = -ENOMEM;
    if (error == 0)
        return reply_text(r, 200, "application/json", text, length);
    free(text);
    return reply_errno(r, error, "list images");
}

enum MHD_Result legacy_list_cached(struct request *r)
{
    return list(r, "cached_images", manage_write_cached);
}

enum MHD_Result legacy_list_queued(struct request *r)
{
    return list(r, "queued_images", manage_write_queued);
}

enum MHD_Result legacy_queue(struct request *r)
{
    int error = mount_queue(r->api->mount, r->id);
    if (error < 0)
        return reply_errno(r, error, "queue image");
    log_info("queued %s, as asked over HTTP", r->id);
    return reply_json(r, 200, json_null());
}

static enum MHD_Result delete_from(struct request *r, enum mount_folder folder, const char *done)
{
    int error = mount_remove(r->api->mount, folder, r->id);
    if (error < 0 && error != -ENOENT)
        return reply_errno(r, error, "delete image");
    if (error == 0)
        log_info("%s %s, as asked over HTTP", done, r->id);
    return reply_json(r, 200, json_null());
}

enum MHD_Result legacy_delete_cached(struct request *r)
{
    return delete_from(r, FOLDER_CACHED, "evicted");
}

enum MHD_Result legacy_delete_queued(struct request *r)
{
    return delete_from(r, FOLDER_QUEUED, "taken off the queue:");
}

static enum MHD_Result clear(struct request *r, enum mount_folder folder)
{
    uint64_t removed;
    int error = manage_clear(r->api->mount, folder, &removed);
    if (error < 0)
        return reply_errno(r, error, "delete images");
    log_info("%llu images %s, as asked over HTTP", (unsigned long long)removed,
             folder == FOLDER_CACHED ? "evicted" : "taken off the queue");
    return reply_json(r, 200, json_pack("{s:I}", "num_deleted", (json_int_t)removed));
}

enum MHD_Result legacy_clear_cached(struct request *r)
{
    return clear(r, FOLDER_CACHED);
}

enum MHD_Result legacy_clear_queued(struct request *r)
{
    return clear(r, FOLDER_QUEUED);
}
