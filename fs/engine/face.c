/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h, where a room below does the whole of it. */
#include "config-auto.h"

#include <errno.h>

#include "engine/engine.h"
#include "engine/evict/remove.h"
#include "engine/lookup/listing.h"
#include "engine/lookup/lookup.h"

int engine_lookup(struct engine *e, const char *name, struct waiter *w, struct image_row *ret)
{
    return lookup_name(e, name, w, ret);
}

int engine_lookup_result(struct engine *e, const char *name, int status, struct image_row *ret)
{
    return lookup_result(e, name, status, ret);
}

bool engine_lookup_waits(struct engine *e, const char *name)
{
    return lookup_waits(e, name);
}

bool engine_revalidates(struct engine *e)
{
    return e->config->revalidate != CONFIG_NEVER;
}

int engine_revalidate(struct engine *e, int64_t row, struct waiter *w)
{
    return lookup_revalidate(e, row, w);
}

int engine_revalidate_result(struct engine *e, int64_t row, int status)
{
    return lookup_revalidate_result(e, row, status);
}

int engine_list(struct engine *e, struct waiter *w)
{
    return listing_wait(e, w);
}

int engine_list_status(struct engine *e)
{
    int64_t listed_at;
    int status = listing_status(e, &listed_at);
    return listed_at != 0 ? 0 : status;
}

int engine_evict(struct engine *e, const char *name)
{
    return evict_by_name(e, name);
}

int engine_discard(struct engine *e, const char *name, struct waiter *w)
{
    return evict_discard(e, name, w);
}

int engine_drop(struct engine *e, const char *name, struct waiter *w)
{
    return evict_drop(e, name, w);
}

int engine_quarantine(struct engine *e, const char *name, const char *reason)
{
    return evict_quarantine(e, name, reason);
}

int engine_forget_invalid(struct engine *e, const char *name)
{
    return evict_forget_invalid(e, name);
}
