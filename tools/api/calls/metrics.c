/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics, in the text format of Prometheus. No ids of images are in it. No state. */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/cache/mount.h"
#include "api/calls/process.h"
#include "api/http/api.h"
#include "api/http/connections.h"
#include "common/troubles.h"

#define PREFIX "glance_cache_"

static void head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
}

static void one(FILE *out, const char *name, const char *type, const char *help, double value)
{
    head(out, name, type, help);
    fprintf(out, PREFIX "%s %.17g\n", name, value);
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void write_counters(FILE *out, const json_t *status)
{
    static const struct { const char *key, *name, *help; } all[] = {
        {"hits", "hits_total", "Opens of images that were whole in the cache."},
        {"misses", "misses_total", "Opens of images that were not."},
        {"bytes_fetched", "fetched_bytes_total", "Bytes received from backends for images."},
        {"bytes_read", "read_bytes_total", "Bytes answered to readers of the mount; what the kernel reads by itself is not seen."},
        {"fetches_done", "fetches_total", "Images that became whole."},
        {"fetches_failed", "fetches_failed_total", "Fetches that failed."},
        {"verify_failed", "verify_failed_total", "Images whose digest was wrong."},
        {"evictions", "evictions_total", "Images evicted."},
        {"bytes_evicted", "evicted_bytes_total", "Their sizes together."},
        {"bytes_hit", "hit_bytes_total", "The sizes of images at the opens that hit: what the backend was spared, at most."},
        {"backend_errors", "backend_errors_total", "Failed requests to backends."},
        {"worker_starts", "worker_starts_total", "Starts of the worker; every one but the first is a restart."},
    };
    const json_t *counters = json_object_get(status, "counters");
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        one(out, all[i].name, "counter", all[i].help, number(counters, all[i].key));
    one(out, "open_handles", "gauge", "Open handles of images.", number(status, "open_handles"));
}

static void write_bootsets(FILE *out, const json_t *status)
{
    const json_t *sets = json_object_get(status, "bootsets");
    one(out, "bootsets", "gauge", "Images that have a boot set.", number(sets, "sets"));
    one(out, "boots_total", "counter", "Boots that became part of a boot set.", number(sets, "boots"));
    one(out, "replays_total", "counter", "Boots of which something was asked for ahead by a boot set.", number(sets, "replays"));
    head(out, "replayed_bytes_total", "counter", "Bytes asked for ahead by boot sets, read by that boot or not.");
    fprintf(out, PREFIX "replayed_bytes_total{read=\"yes\"} %.0f\n", number(sets, "replayed_read"));
    fprintf(out, PREFIX "replayed_bytes_total{read=\"no\"} %.0f\n", number(sets, "replayed_not_read"));
}

static void write_gauges(FILE *out, const json_t *status)
{
    static const struct { const char *group, *key, *name, *help; } all[] = {
        {"space", "limit", "limit_bytes", "What the cached images may take together."},
        {"space", "used", "used_bytes", "What they take."},
        {"space", "cached", "cached_bytes", "What the images that are whole here take."},
        {"space", "incomplete", "incomplete_bytes", "What is here of images that are not."},
        {"space", "invalid", "invalid_bytes", "What is kept of images that failed."},
        {"space", "evicted_but_open", "evicted_but_open_bytes", "What evicted images take until they are closed."},
        {"space", "pinned", "pinned_bytes", "What pinned images take, which is never evicted."},
        {"space", "disk_total", "disk_bytes", "Size of the file system that holds the cache."},
        {"space", "disk_available", "disk_available_bytes", "What is free there."},
        {"images", "incomplete", "images_incomplete", "Images partly here."},
        {"images", "queued", "images_queued", "Images waiting for prefetch."},
        {"images", "invalid", "images_invalid", "Fetches that failed verification or for good."},
        {"images", "pinned", "images_pinned", "Pinned images, whole or partly here."},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        one(out, all[i].name, "gauge", all[i].help, number(json_object_get(status, all[i].group), all[i].key));
    one(out, "fetches_under_way", "gauge", "Images being fetched.", (double)json_array_size(json_object_get(status, "fetches")));
    one(out, "oldest_queued_timestamp_seconds", "gauge", "Since when the image at the head of the queue waits; 0: none does.",
        number(status, "oldest_queued_at"));
    one(out, "mounted_timestamp_seconds", "gauge", "When the cache was mounted.", number(status, "mounted_at"));
}

/* Labels may hold anything but these three as it is. */
static void label(FILE *out, const char *name, const char *value)
{
    fprintf(out, "%s=\"", name);
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            fputs("\\n", out);
        else
            fprintf(out, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    }
    fputc('"', out);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

/* `glance_cache_images` without a label is that of cached ones, as it was before there were labels. */
static void write_states(FILE *out, const json_t *status)
{
    static const char *const states[] = {"cached", "incomplete", "queued", "invalid", "evicted_but_open"};
    const json_t *images = json_object_get(status, "images");
    one(out, "images", "gauge", "Images by what is here of them; without a label: cached.", number(images, "cached"));
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        fprintf(out, PREFIX "images{state=\"%s\"} %.17g\n", states[i], number(images, states[i]));
}

static void write_backend(FILE *out, const json_t *status)
{
    static const struct { const char *key, *name, *help; } all[] = {
        {NULL, "backend_up", "1: the endpoint answers, as far as it was asked."},
        {"last_ok", "backend_last_success_timestamp_seconds", "When it answered last as it should; 0: never."},
        {"last_error_at", "backend_last_error_timestamp_seconds", "When it failed last; 0: never."},
        {"failures_in_a_row", "backend_failures_in_a_row", "Requests to it that failed since it answered last."},
    };
    const json_t *endpoints = json_object_get(json_object_get(status, "backend"), "endpoints"), *endpoint;
    size_t k;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        head(out, all[i].name, "gauge", all[i].help);
        json_array_foreach(endpoints, k, endpoint) {
            fprintf(out, PREFIX "%s{", all[i].name);
            label(out, "endpoint", text_of(endpoint, "endpoint"));
            fprintf(out, "} %.17g\n", all[i].key != NULL ? number(endpoint, all[i].key) : strcmp(text_of(endpoint, "state"), "ok") == 0);
        }
    }
    one(out, "backend_listed_timestamp_seconds", "gauge", "When the backend was listed last; 0: never.",
        number(json_object_get(status, "backend"), "listed_at"));
}

/* Is all as it should be? */
static void write_health(FILE *out, const json_t *status)
{
    const char *disk = text_of(status, "disk");
    head(out, "build_info", "gauge", "Always 1; its labels say what runs.");
    fprintf(out, PREFIX "build_info{");
    label(out, "version", text_of(status, "version"));
    fputc(',', out);
    label(out, "backend", text_of(json_object_get(status, "backend"), "type"));
    fputs("} 1\n", out);
    json_t *troubles = troubles_of(status);
    one(out, "troubles", "gauge", "What is wrong, by number; glance-cache-top tells what.", (double)json_array_size(troubles));
    json_decref(troubles);
    one(out, "passthrough", "gauge", "1: the kernel reads cached images by itself.", strcmp(text_of(status, "passthrough"), "on") == 0);
    one(out, "disk_ok", "gauge", "1: the cache directory can be used; 0: nothing is kept.", disk[0] == '\0' || strcmp(disk, "ok") == 0);
    one(out, "left_alone_files", "gauge", "Files of the cache directory that the backend does not know, left as they are.",
        number(json_object_get(status, "left_alone"), "files"));
}

/* One histogram of DURATIONS, whose classes stand in .status, with a label KIND (NULL: none). */
static void write_histogram(FILE *out, const char *name, const char *kind, const json_t *durations)
{
    const json_t *bounds = json_object_get(durations, "at_most"), *counts = json_object_get(durations, "count");
    char with[48] = "", alone[48] = "", le[32];
    size_t n = json_array_size(bounds);
    if (n == 0 || json_array_size(counts) != n)
        return;
    if (kind != NULL) {
        snprintf(with, sizeof(with), "kind=\"%s\",", kind);
        snprintf(alone, sizeof(alone), "{kind=\"%s\"}", kind);
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *bound = json_array_get(bounds, i);
        snprintf(le, sizeof(le), "%g", json_number_value(bound));
        fprintf(out, PREFIX "%s_bucket{%sle=\"%s\"} %.17g\n", name, with, json_is_null(bound) ? "+Inf" : le,
                json_number_value(json_array_get(counts, i)));
    }
    fprintf(out, PREFIX "%s_sum%s %.17g\n" PREFIX "%s_count%s %.17g\n", name, alone, number(durations, "sum"), name, alone,
            json_number_value(json_array_get(counts, n - 1)));
}

static void write_durations(FILE *out, const json_t *status)
{
    static const char *const kinds[] = {"cold", "prefetched", "warm"};
    const json_t *counters = json_object_get(status, "counters"), *reads = json_object_get(counters, "read_seconds");
    head(out, "fetch_seconds", "histogram", "How long it took from a fetch's start until the image was whole.");
    write_histogram(out, "fetch_seconds", NULL, json_object_get(counters, "fetch_seconds"));
    head(out, "backend_first_byte_seconds", "histogram", "How long it took until a backend's answer began.");
    write_histogram(out, "backend_first_byte_seconds", NULL, json_object_get(counters, "first_byte_seconds"));
    head(out, "read_seconds", "histogram", "What readers waited: for the backend (cold), for bytes that were here already of an image "
         "that is not whole (prefetched), of a whole one (warm; what the kernel reads by itself is not seen).");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        write_histogram(out, "read_seconds", kinds[i], json_object_get(reads, kinds[i]));
}

static void write_failures(FILE *out, const json_t *status)
{
    const char *reason;
    json_t *count;
    head(out, "backend_failures_total", "counter", "Failed requests to backends, by reason.");
    json_object_foreach(json_object_get(json_object_get(status, "counters"), "backend_errors_by_reason"), reason, count) {
        fprintf(out, PREFIX "backend_failures_total{");
        label(out, "reason", reason);
        fprintf(out, "} %.17g\n", json_number_value(count));
    }
}

static void write_own(FILE *out, struct api *api)
{
    static const char *const codes[] = {NULL, "1xx", "2xx", "3xx", "4xx", "5xx"};
    head(out, "api_requests_total", "counter", "Requests answered, by class of status.");
    for (unsigned i = 2; i < 6; i++)
        fprintf(out, PREFIX "api_requests_total{code=\"%s\",status=\"%s\"} %llu\n", codes[i], codes[i], atomic_load(&api->counters.requests[i]));
    one(out, "api_sent_bytes_total", "counter", "Bytes of images sent to clients.", (double)atomic_load(&api->counters.bytes_sent));
    one(out, "api_aborted_total", "counter", "Downloads that ended before their end.", (double)atomic_load(&api->counters.aborted));
    one(out, "api_refused_total", "counter", "Requests refused because they came from pages of other sites.",
        (double)atomic_load(&api->counters.refused));
    struct connections_count connections = connections_count(api->connections);
    one(out, "api_connections", "gauge", "Clients connected.", connections.now);
    one(out, "api_connections_refused_total", "counter", "Connections refused: there was no room, or not for that address.",
        (double)connections.refused);
    one(out, "api_connections_slow_total", "counter", "Connections ended because no request came, or too little was taken.",
        (double)connections.slow);
}

enum MHD_Result metrics_show(struct request *r)
{
    json_t *status = NULL;
    char *text = NULL;
    size_t length = 0;
    int error = mount_status(r->api->mount, &status);
    FILE *out = open_memstream(&text, &length);
    if (out == NULL) {
        json_decref(status);
        return reply_errno(r, -ENOMEM, "write metrics");
    }
    one(out, "up", "gauge", "1: the cache is mounted and answers.", error == 0);
    if (error == 0) {
        write_counters(out, status);
        write_bootsets(out, status);
        write_gauges(out, status);
        write_states(out, status);
        write_backend(out, status);
        write_health(out, status);
        write_durations(out, status);
        write_failures(out, status);
    }
    write_own(out, r->api);
    process_write(out);
    json_decref(status);
    if (fclose(out) != 0) {
        free(text);
        return reply_errno(r, -ENOMEM, "write metrics");
    }
    return reply_text(r, 200, "text/plain; version=0.0.4; charset=utf-8", text, length);
}
