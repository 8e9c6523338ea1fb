/* SPDX-License-Identifier: Apache-2.0 */
#include "config-auto.h"

#include "backends/object.h"

#include <errno.h>

static const struct objects *objects_of(const struct backend *b)
{
    return (const struct objects *)(const void *)b;
}

static int ask_about(struct backend *b, unsigned endpoint, const char *id, struct transfer_request *request)
{
    const struct objects *o = objects_of(b);
    return (o->ask_about != NULL ? o->ask_about : o->ask)(b, endpoint, id, request);
}

int object_describe(struct backend *b, unsigned endpoint, const char *id, uint64_t probe, struct transfer_request *request)
{
    if (backend_is_sums(objects_of(b)->config, id))
        return -ENOENT;
    int r = ask_about(b, endpoint, id, request);
    if (r == 0)
        backend_ask_first(request, probe);
    return r;
}

int object_describe_again(struct backend *b, unsigned endpoint, const char *id, struct transfer_request *request)
{
    int r = ask_about(b, endpoint, id, request);
    if (r == 0)
        request->method = "HEAD";
    return r;
}

int object_bytes(struct backend *b, unsigned endpoint, const char *id, const struct image_meta *meta, uint64_t first, uint64_t last,
                 struct transfer_request *request)
{
    const struct objects *o = objects_of(b);
    int r = o->ask(b, endpoint, id, request);
    return r < 0 ? r : backend_ask_part(request, o->abilities, endpoint, meta, first, last);
}

int object_digests(struct backend *b, unsigned endpoint, unsigned n, struct transfer_request *request, const char **ret_name,
                   enum digest_algorithm *ret_algorithm)
{
    const struct objects *o = objects_of(b);
    if (n >= o->config->checksum_file_count)
        return -ENOENT;
    const char *name = o->config->checksum_files[n];
    int r = o->ask(b, endpoint, name, request);
    if (r < 0)
        return r;
    *ret_name = name;
    *ret_algorithm = backend_sums_algorithm(name);
    return 0;
}

bool object_otherwise(struct backend *b, unsigned endpoint, unsigned extras, const struct transfer_result *result, char *why)
{
    return abilities_answered(objects_of(b)->abilities, endpoint, extras, result->status, why, BACKEND_WHY_MAX);
}

const char *object_refuses(struct backend *b, unsigned endpoint, unsigned *n)
{
    return abilities_refused(objects_of(b)->abilities, endpoint, n);
}
