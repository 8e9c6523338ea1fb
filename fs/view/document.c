/* SPDX-License-Identifier: Apache-2.0 */
/* The view's documents: .status, and one JSON line each in queued/ and invalid/. */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "view/view.h"

static json_t *invalid_document(const struct invalid_row *row)
{
    double when = (double)row->when / (double)NS_PER_S;
    return json_pack("{s:o, s:o, s:f, s:I, s:o, s:f}", "image", json_text(row->name), "error", json_text(row->reason), "failed_at", when,
                     "bytes_kept", (json_int_t)row->bytes, "reason", json_text(row->reason), "since", when);
}

static int build(const struct view *v, uint64_t node, json_t **ret)
{
    struct queue_row queued;
    struct invalid_row invalid;
    int r;

    switch (node_kind(node)) {
    case KIND_FIXED:
        if (node != NODE_STATUS)
            return -EINVAL;
        *ret = engine_status(v->engine);
        if (*ret != NULL)
            json_object_set_new(*ret, "passthrough", json_string(v->passthrough_state(v->passthrough)));
        return 0;
    case KIND_QUEUED:
        r = catalogue_queue_get(v->catalogue, node_row(node), &queued);
        if (r == 0)
            *ret = engine_queue_status(v->engine, &queued);
        return r;
    case KIND_INVALID:
        r = catalogue_invalid_get(v->catalogue, node_row(node), &invalid);
        if (r == 0)
            *ret = invalid_document(&invalid);
        return r;
    default:
        return -EINVAL;
    }
}

/* Its text is as it is: no JSON. */
static int bootset_document(const struct view *v, int64_t id, char **ret_text, size_t *ret_length)
{
    struct image_row row;
    int r = catalogue_get(v->catalogue, id, &row);
    char *text = r == 0 ? malloc(BOOTSET_TEXT_MAX + 1) : NULL;
    if (r == 0)
        r = text == NULL ? -ENOMEM : engine_bootset_text(v->engine, row.name, text);
    if (r < 0) {
        free(text);
        return r == -ENOENT ? -ESTALE : r == -EBADMSG ? -EIO : r;
    }
    *ret_text = text;
    *ret_length = (size_t)r;
    return 0;
}

int view_document(const struct view *v, uint64_t node, char **ret_text, size_t *ret_length)
{
    json_t *document = NULL;
    if (node_kind(node) == KIND_BOOTSET)
        return bootset_document(v, node_row(node), ret_text, ret_length);
    int r = build(v, node, &document);
    if (r < 0)
        return r == -ENOENT ? -ESTALE : r;
    size_t flags = JSON_PRESERVE_ORDER | (node == NODE_STATUS ? JSON_INDENT(2) : JSON_COMPACT) | JSON_REAL_PRECISION(16);
    char *text = document == NULL ? NULL : json_dumps(document, flags);
    json_decref(document);
    if (text == NULL)
        return -ENOMEM;
    size_t length = strlen(text);
    char *line = realloc(text, length + 2);
    if (line == NULL) {
        free(text);
        return -ENOMEM;
    }
    line[length] = '\n';
    line[length + 1] = '\0';
    *ret_text = line;
    *ret_length = length + 1;
    return 0;
}
