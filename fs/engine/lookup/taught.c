/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A boot set is had from another node: asked for on the fetch thread, as the first byte of the image is but for a header, and kept by the rows
 * thread. It is a hint like any other: what does not parse is dropped, and nobody is told but the log.
 */
#include "config-auto.h"

#include "engine/lookup/taught.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "engine/bootset/boots.h"
#include "engine/images/images.h"
#include "origin/room.h"

struct taught {
    struct engine *engine;
    char name[IMAGE_ID_MAX + 1];
    unsigned endpoint;
    struct transfer *transfer;
    size_t length;
    char text[BOOTSET_TEXT_MAX];
};

static int on_head(void *context, const struct transfer_head *head)
{
    const char *type = transfer_head_get(head, "Content-Type");
    (void)context;
    return head->status == 200 && type != NULL && strcasecmp(type, TAUGHT_TYPE) == 0 ? 0 : -ENOTSUP;
}

static int on_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    struct taught *t = context;
    (void)head;
    if (length > sizeof(t->text) - t->length)
        return -EFBIG;
    memcpy(t->text + t->length, data, length);
    t->length += length;
    return 0;
}

/* On the rows thread. Who reads the image already goes on with it. */
static void keep(void *context)
{
    struct taught *t = context;
    struct engine *e = t->engine;
    unsigned line = 0;
    int r = boots_put(e->boots, t->name, t->text, t->length, &line);
    if (r < 0)
        log_warning("%s: the boot set of another node is not taken: %s", t->name, r == -EBADMSG ? "it is none" : error_text(r));
    int64_t row = r < 0 ? 0 : boots_offer(e->boots, t->name);
    struct image *image = row == 0 ? NULL : image_find(e, row);
    if (image != NULL) {
        image_changed(image);
        image_put(image);
    }
    free(t);
}

static void on_done(void *context, int error, const struct transfer_result *result)
{
    struct taught *t = context;
    (void)result;
    room_aside_ends(t->engine->origin);
    if (error != 0 && error != -ECANCELED)
        log_debug("%s: the boot set of another node could not be had: %s", t->name, error_text(error));
    if (error == 0 && !atomic_load(&t->engine->stopping))
        tasks_add(t->engine->rows, keep, t);
    else
        free(t);
}

static const struct transfer_ops ops = {.on_head = on_head, .on_data = on_data, .on_done = on_done};

/* On the fetch thread. */
static void ask(void *context)
{
    struct taught *t = context;
    struct engine *e = t->engine;
    struct transfer_request request = {0};
    int r = e->ops->describe(e->backend, t->endpoint, t->name, 1, &request);
    request.ranged = false;
    if (r == 0)
        r = transfer_request_header(&request, TAUGHT_WANT, "bootset");
    if (r == 0)
        r = transfer_start(e->transfers, &request, &ops, t, &t->transfer);
    transfer_request_clear(&request);
    if (r == 0)
        room_aside_begins(e->origin);
    else
        free(t);
}

void taught_ask(struct engine *e, const char *name, unsigned endpoint)
{
    struct store_file file;
    if (e->config->bootset_max == 0 || strcmp(e->ops->type, "http") != 0 || store_stat_bootset(e->store, name, &file) != -ENOENT)
        return;
    struct taught *t = malloc(sizeof(*t));
    if (t == NULL)
        return;
    t->engine = e;
    t->endpoint = endpoint;
    t->length = 0;
    memcpy(t->name, name, strlen(name) + 1);
    if (transfers_post(e->transfers, ask, t) < 0)
        free(t);
}
