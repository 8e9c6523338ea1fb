/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that are parked. One belongs to the engine until it is woken. Ctrl-C in the reader's process reaches it through libfuse's
 * interrupt call; that call runs under a lock of the request, so it only marks the waiter and the engine wakes it from a thread of its own.
 */
#include "config-auto.h"

#include "fuse/private.h"

#include <errno.h>
#include <stdlib.h>

struct fuse_world *world_of(fuse_req_t request)
{
    return fuse_req_userdata(request);
}

static void on_interrupt(fuse_req_t request, void *context)
{
    struct parked *p = context;
    (void)request;
    engine_interrupt(p->world->view.engine, &p->waiter);
}

static void wake(struct waiter *w, int status)
{
    struct parked *p = (struct parked *)w;
    fuse_req_interrupt_func(p->request, NULL, NULL); /* waits for an on_interrupt() that is under way */
    if (status == -ECANCELED && atomic_load(&p->world->handing_over)) {
        fuse_reply_none(p->request); /* unanswered: the kernel sends it to the next worker */
        free(p);
        return;
    }
    p->answer(p, status == -ECANCELED ? -ENODEV : status);
    free(p);
}

struct parked *park_new(fuse_req_t request, void (*answer)(struct parked *p, int status))
{
    struct parked *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        fuse_reply_err(request, ENOMEM);
        return NULL;
    }
    p->waiter.wake = wake;
    p->waiter.user = fuse_req_ctx(request)->uid;
    p->request = request;
    p->world = world_of(request);
    p->answer = answer;
    fuse_req_interrupt_func(request, on_interrupt, p);
    return p;
}

void park_free(struct parked *p)
{
    fuse_req_interrupt_func(p->request, NULL, NULL);
    free(p);
}
