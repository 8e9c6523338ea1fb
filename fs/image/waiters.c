/* SPDX-License-Identifier: Apache-2.0 */
/* Those who wait, woken. */
#include "config-auto.h"

#include <errno.h>

#include <stddef.h>

#include "image/waiters.h"

void wake_all(struct waiters *list)
{
    struct waiter *w;
    while ((w = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, w, link);
        w->wake(w, w->status);
    }
}

void waiters_take_interrupted(struct waiters *list, struct waiters *out)
{
    struct waiter *w, *next;
    for (w = TAILQ_FIRST(list); w != NULL; w = next) {
        next = TAILQ_NEXT(w, link);
        if (atomic_load(&w->interrupted)) {
            TAILQ_REMOVE(list, w, link);
            w->status = -EINTR;
            TAILQ_INSERT_TAIL(out, w, link);
        }
    }
}

void waiters_take_all(struct waiters *list, int status, struct waiters *out)
{
    struct waiter *w;
    TAILQ_FOREACH(w, list, link)
        w->status = status;
    TAILQ_CONCAT(out, list, link);
}
