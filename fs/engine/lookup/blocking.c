/* SPDX-License-Identifier: Apache-2.0 */
/* A look-up whose caller is a thread of its own, and waits. */
#include "config-auto.h"

#include <semaphore.h>

#include "engine/lookup/lookup.h"

struct blocking {
    struct waiter waiter; /* the first member */
    sem_t done;
    int status;
};

static void wake_blocking(struct waiter *w, int status)
{
    struct blocking *b = (struct blocking *)w;
    b->status = status;
    sem_post(&b->done);
}

int lookup_name_blocking(struct engine *e, const char *name, struct image_row *ret)
{
    struct blocking b = {.waiter = {.wake = wake_blocking}};
    sem_init(&b.done, 0, 0);
    int r = lookup_name(e, name, &b.waiter, ret);
    if (r == ENGINE_PARKED) {
        while (sem_wait(&b.done) < 0)
            ;
        r = lookup_result(e, name, b.status, ret);
    }
    sem_destroy(&b.done);
    return r;
}
