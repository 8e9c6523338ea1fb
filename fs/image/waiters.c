/* SPDX-License-Identifier: Apache-2.0 */
/* Those who wait, woken. */
#include "config-auto.h"

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
