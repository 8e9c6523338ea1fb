/* SPDX-License-Identifier: Apache-2.0 */
/* How the threads that block on their questions, for listings and digests, ask: with a credential, and where the server takes few requests in turn. */
#include "config-auto.h"

#include <errno.h>
#include <time.h>

#include "engine/lookup/listing.h"
#include "origin/login.h"
#include "origin/room.h"

static int ask_with_credential(struct engine *e, int (*ask)(void *context), void *context, struct refusal *refusal)
{
    unsigned tries = 0;
    for (;;) {
        int r = auth_now(e->origin);
        if (r < 0)
            return r;
        unsigned credential = auth_credential(e->origin);
        *refusal = (struct refusal){0};
        room_aside_begins(e->origin);
        r = ask(context);
        room_aside_ends(e->origin);
        if (r >= 0 || !auth_again(e->origin, refusal, credential, &tries))
            return r;
    }
}

/*
 * The server refused us while bytes are fetched, as it may take few requests at once: waits until there are fewer, with room kept for us. False: it was
 * not that, or often enough.
 */
static bool wait_as_guest(struct engine *e, const struct refusal *refusal, int error, unsigned *tries)
{
    if (*tries > e->config->retries || !room_refused(e->origin, refusal->status, error, 0, 0))
        return false;
    if ((*tries)++ == 0)
        room_guest_enters(e->origin);
    for (int64_t until = clock_monotonic() + PAUSE_MAX_S * NS_PER_S; clock_monotonic() < until;) {
        nanosleep(&(struct timespec){.tv_nsec = 10 * NS_PER_MS}, NULL);
        if (room_is_free(e->origin) || atomic_load(&e->stopping))
            break;
    }
    return !atomic_load(&e->stopping);
}

int lister_ask(struct engine *e, int (*ask)(void *context), void *context, struct refusal *refusal)
{
    unsigned waits = 0;
    int r;
    do
        r = ask_with_credential(e, ask, context, refusal);
    while (r < 0 && wait_as_guest(e, refusal, r, &waits));
    if (waits > 0)
        room_guest_leaves(e->origin);
    return r;
}
