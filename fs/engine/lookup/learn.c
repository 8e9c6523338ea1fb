/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a look-up brought goes to the catalogue, on the rows thread: a new version gets a row, what is cached of another one leaves, and the
 * first bytes are kept as a probe.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "engine/evict/remove.h"
#include "engine/images/images.h"
#include "engine/lookup/private.h"
#include "engine/lookup/probes.h"
#include "engine/lookup/taught.h"
#include "image/format.h"

/* In memory, too, it was described just now. */
static void confirm(struct engine *e, int64_t row)
{
    struct image *image = image_find(e, row);
    if (image == NULL)
        return;
    image_lock(image);
    image->described = image->described != 0 ? clock_now() : 0; /* 0: what an answer told of its bytes is still to be written */
    image_unlock(image);
    image_put(image);
}

/* A cached image that the backend does not have like that any more. */
static bool evict_outdated(struct engine *e, const char *name, const char *what)
{
    if (e->config->revalidate == CONFIG_NEVER || evict_for_another_version(e, name) < 0)
        return false;
    log_notice("%s: %s at the backend, so that the cached image was evicted", name, what);
    return true;
}

/* What the first bytes say of the image, where they are here and the backend does not tell. */
static void recognise(struct lookup *l)
{
    bool first = l->engine->ops->describe_has_bytes && l->length > 0 && !l->again && l->meta.disk_format[0] == '\0';
    const char *format = first ? image_format(l->body, l->length) : NULL;
    if (format == NULL)
        return;
    snprintf(l->meta.disk_format, sizeof(l->meta.disk_format), "%s", format);
    l->meta.virtual_size = image_virtual_size(format, l->body, l->length, l->meta.size);
}

/* The backend has it: into the catalogue. */
int learn_found(struct lookup *l)
{
    struct engine *e = l->engine;
    recognise(l);
    struct image_row row, before;
    int64_t old = catalogue_find(e->catalogue, l->name, &before) == 0 ? before.row : 0;
    int r = catalogue_learn(e->catalogue, l->name, &l->meta, clock_now(), &row);
    if (r == -ESTALE) {
        if (!evict_outdated(e, l->name, "changed"))
            return 0; /* bytes of another version are on their way: their fetch finds out */
        r = catalogue_learn(e->catalogue, l->name, &l->meta, clock_now(), &row);
    }
    if (r < 0)
        return log_errno(r, "%s: what the backend says of it could not be written to the catalogue", l->name);
    if (old != 0 && old != row.row)
        teller_name(e->teller, l->name);
    confirm(e, row.row);
    if (l->teaches)
        taught_ask(e, l->name, l->endpoint);
    bool worth = l->probe == PROBE_BYTES && l->length > 0 && !l->again;
    if (row.state == IMAGE_KNOWN && e->ops->describe_has_bytes && worth && row.meta.size > 0) {
        probe_keep(e->probes, row.row, &row.meta, l->body, l->length);
        l->body = NULL;
    }
    return 0;
}

/* The backend says there is no such image: a row without bytes goes. */
void learn_gone(struct lookup *l)
{
    struct engine *e = l->engine;
    struct image_row row;
    evict_outdated(e, l->name, "gone");
    if (catalogue_find(e->catalogue, l->name, &row) == 0 && row.state == IMAGE_KNOWN && ledger_handles(e->ledger, row.row) == 0)
        catalogue_forget(e->catalogue, row.row);
}
