/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of /v2/cache: what Glance's API has from 2.14 on, and ours beside it. No state. */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/cache/manage.h"
#include "api/calls/nodes.h"
#include "api/http/api.h"
#include "base/json_text.h"
#include "base/log.h"
#include "image/id.h"

static const char *mount_of(const struct request *r)
{
    return r->api->mount;
}

static void log_change(const struct request *r, const char *what)
{
    log_info("%s%s%s, as asked over HTTP", what, r->id != NULL ? " " : "", r->id != NULL ? r->id : "");
}

/* GET /v2/cache */
enum MHD_Result cache_list(struct request *r)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL)
        return reply_errno(r, -ENOMEM, "list the cache");
    fputs("{\"cached_images\": ", out);
    int error = manage_write_cached(mount_of(r), out);
    fputs(", \"queued_images\": ", out);
    if (error == 0)
        error = manage_write_queued(mount_of(r), out);
    fputs("}", out);
    if (fclose(out) != 0 && error == 0)
        error = -ENOMEM;
    if (error == 0)
        return reply_text(r, 200, "application/json", text, length);
    free(text);
    return reply_errno(r, error, "list the cache");
}

/* PUT /v2/cache/ID */
enum MHD_Result cache_queue(struct request *r)
{
    int error = mount_queue(mount_of(r), r->id);
    if (error < 0)
        return reply_errno(r, error, "queue image");
    log_change(r, "queued");
    return reply_empty(r, 202);
}

/* DELETE /v2/cache/ID: cached or queued. 404 only when there is neither an entry nor such an image. */
enum MHD_Result cache_delete(struct request *r)
{
    struct facts f;
    int cached = mount_remove(mount_of(r), FOLDER_CACHED, r->id);
    int queued = mount_remove(mount_of(r), FOLDER_QUEUED, r->id);
    int error = cached < 0 && cached != -ENOENT ? cached : queued < 0 && queued != -ENOENT ? queued : 0;
    if (error == 0 && cached < 0 && queued < 0 && mount_facts(mount_of(r), FOLDER_IMAGES, r->id, 0, &f) == -ENOENT)
        error = -ENOENT;
    if (error < 0)
        return reply_errno(r, error, "delete image");
    if (cached == 0 || queued == 0)
        log_change(r, cached == 0 ? "evicted" : "taken off the queue:");
    return reply_empty(r, 204);
}

/* DELETE /v2/cache */
enum MHD_Result cache_clear(struct request *r)
{
    const char *target = request_header(r, "x-image-cache-clear-target");
    uint64_t cached = 0, queued = 0;
    int error = 0;
    bool all = target == NULL || target[0] == '\0' || strcmp(target, "both") == 0;
    if (!all && strcmp(target, "cache") != 0 && strcmp(target, "queue") != 0)
        return reply_error(r, 400, "x-image-cache-clear-target must be cache, queue, both or empty");
    if (all || strcmp(target, "queue") == 0) /* first: what is queued would come into the cache again */
        error = manage_clear(mount_of(r), FOLDER_QUEUED, &queued);
    if (error == 0 && (all || strcmp(target, "cache") == 0))
        error = manage_clear(mount_of(r), FOLDER_CACHED, &cached);
    if (error < 0)
        return reply_errno(r, error, "clear the cache");
    log_info("%llu images evicted and %llu taken off the queue, as asked over HTTP", (unsigned long long)cached,
             (unsigned long long)queued);
    return reply_empty(r, 204);
}

/* ---- one image */

static json_t *text_or_null(const char *text)
{
    return text[0] == '\0' ? json_null() : json_text(text);
}

static json_t *document_or_null(const struct request *r, enum mount_folder folder)
{
    json_t *document = NULL;
    return mount_document(mount_of(r), folder, r->id, &document) == 0 ? document : json_null();
}

/* GET /v2/cache/ID */
enum MHD_Result cache_show(struct request *r)
{
    struct facts f;
    int error = mount_facts(mount_of(r), FOLDER_IMAGES, r->id, FACT_ALL & ~FACT_FORMAT, &f);
    if (error < 0)
        return reply_errno(r, error, "look up image");
    json_t *algorithm = f.hash_algo[0] != '\0' ? json_text(f.hash_algo) : f.checksum[0] != '\0' ? json_string("md5") : json_null();
    json_t *digest = f.hash_value[0] != '\0' ? json_text(f.hash_value) : text_or_null(f.checksum);
    const char *state = strcmp(f.state, "complete") == 0 ? "cached" : strcmp(f.state, "partial") == 0 ? "incomplete" : f.state;
    return reply_json(r, 200, json_pack("{s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:b, s:i, s:f, s:f, s:O, s:O, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "image", json_text(r->id), "image_id", json_text(r->id), "name", text_or_null(f.name), "state", state, "size", (json_int_t)f.size, "bytes_cached",
        (json_int_t)f.bytes, "hits", (json_int_t)f.hits, "pinned", f.pinned, "open", (int)f.open, "last_accessed", f.accessed,
        "last_modified", f.modified, "os_hash_algo", algorithm, "os_hash_value", digest, "digest_algorithm", algorithm, "digest", digest, "etag", text_or_null(f.etag), "error",
        text_or_null(f.error), "map", text_or_null(f.map), "queued", document_or_null(r, FOLDER_QUEUED), "invalid",
        document_or_null(r, FOLDER_INVALID)));
}

/* GET /v2/cache/nodes/ID: this host, when it has the image, and those of its peers that have it. */
enum MHD_Result cache_nodes(struct request *r)
{
    char url[512];
    struct facts f;
    const struct config_api *config = &r->api->config->api;
    int cached = mount_facts(mount_of(r), FOLDER_CACHED, r->id, 0, &f);
    if (cached < 0 && cached != -ENOENT)
        return reply_errno(r, cached, "look up image");
    json_t *urls = json_array();
    if (cached == 0 && config->worker_self_reference_url == NULL)
        request_base_url(r, url, sizeof(url));
    else if (cached == 0)
        snprintf(url, sizeof(url), "%s", config->worker_self_reference_url);
    if (cached == 0)
        json_array_append_new(urls, json_text(url));
    nodes_ask(r->api->nodes, r, r->id, urls);
    int error = json_array_size(urls) == 0 ? mount_facts(mount_of(r), FOLDER_IMAGES, r->id, 0, &f) : 0;
    if (error == 0)
        return reply_json(r, 200, urls);
    json_decref(urls);
    return reply_errno(r, error, "look up image");
}

static enum MHD_Result pin(struct request *r, bool pinned)
{
    int error = mount_pin(mount_of(r), r->id, pinned);
    if (error < 0)
        return reply_errno(r, error, pinned ? "pin image" : "unpin image");
    log_change(r, pinned ? "pinned" : "unpinned");
    return reply_empty(r, 204);
}

enum MHD_Result cache_pin(struct request *r)
{
    return pin(r, true);
}

enum MHD_Result cache_unpin(struct request *r)
{
    return pin(r, false);
}

static enum MHD_Result remove_from(struct request *r, enum mount_folder folder, const char *what, const char *done)
{
    int error = mount_remove(mount_of(r), folder, r->id);
    if (error == -ENOENT)
        return reply_error(r, 404, "Image %s is not there.", r->id);
    if (error < 0)
        return reply_errno(r, error, what);
    log_change(r, done);
    return reply_empty(r, 204);
}

/* DELETE /v2/cache/ID/incomplete, /v2/cache/ID/invalid */
enum MHD_Result cache_stop(struct request *r)
{
    return remove_from(r, FOLDER_INCOMPLETE, "stop the fetch of", "fetch stopped, bytes dropped:");
}

enum MHD_Result cache_forget(struct request *r)
{
    return remove_from(r, FOLDER_INVALID, "forget", "forgotten that it was invalid:");
}

/* ---- housekeeping */

/* POST /v2/cache/clean */
enum MHD_Result cache_clean(struct request *r)
{
    int error = manage_clean(mount_of(r), r->api->config->image_cache_stall_time);
    return error < 0 ? reply_errno(r, error, "clean the cache") : reply_empty(r, 200);
}

/* POST /v2/cache/prune */
enum MHD_Result cache_prune(struct request *r)
{
    struct pruned pruned;
    int error = manage_prune(mount_of(r), &pruned);
    if (error < 0)
        return reply_errno(r, error, "prune the cache");
    return reply_json(r, 200, json_pack("{s:I, s:I}", "total_files_pruned", (json_int_t)pruned.images, "total_bytes_pruned",
                                        (json_int_t)pruned.bytes));
}
