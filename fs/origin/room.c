/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests the backend takes at once, see room.h; what is learned of it is crowd.c's, and has the origin's lock. */
#include "config-auto.h"

#include "base/clock.h"
#include "base/log.h"
#include "origin/private.h"
#include "origin/room.h"

enum { ENOUGH_FOR_ALL = 64 }; /* a server that takes so many has no limit that matters */

void room_taken(struct origin *o)
{
    atomic_fetch_add(&o->open, 1);
}

void room_left(struct origin *o, bool refused)
{
    if (!refused)
        atomic_store(&o->served_at, clock_monotonic());
    atomic_fetch_sub(&o->open, 1);
}

void room_aside_begins(struct origin *o)
{
    atomic_fetch_add(&o->asides, 1);
}

void room_aside_ends(struct origin *o)
{
    atomic_fetch_sub(&o->asides, 1);
    if (atomic_load(&o->most) > 0)
        transfers_post(o->transfers, o->on_room, o->context);
}

bool room_is_there(struct origin *o)
{
    if (atomic_load(&o->most) == 0)
        return true;
    unsigned open = atomic_load(&o->open) + atomic_load(&o->asides), guests = room_has_guests(o) ? 1 : 0;
    pthread_mutex_lock(&o->lock);
    bool room = (guests == 0 || open + guests < o->crowd.most) && crowd_has_room(&o->crowd, open, clock_monotonic());
    pthread_mutex_unlock(&o->lock);
    return room;
}

bool room_is_short(const struct origin *o)
{
    return atomic_load(&o->most) > 0;
}

bool room_is_free(const struct origin *o)
{
    unsigned most = atomic_load(&o->most);
    return most == 0 || atomic_load(&o->open) + atomic_load(&o->asides) < most;
}

/* On the loop. */
static void try_one_more(void *context)
{
    struct origin *o = context;
    o->room_timer = NULL;
    o->on_room(o->context);
}

/* On the loop: when it is time for one more, somebody may wait for that. */
static void set_timer(void *context)
{
    struct origin *o = context;
    pthread_mutex_lock(&o->lock);
    int64_t ms = (o->crowd.more_at - clock_monotonic()) / NS_PER_MS + 1;
    pthread_mutex_unlock(&o->lock);
    if (o->room_timer != NULL)
        transfers_timer_cancel(o->transfers, o->room_timer);
    o->room_timer = NULL;
    if (transfers_timer(o->transfers, ms > 0 ? (uint64_t)ms : 0, try_one_more, o, &o->room_timer) < 0)
        log_debug("one more request is tried when another ends");
}

bool room_refused(struct origin *o, int status, int error, unsigned retry_after, int64_t began)
{
    unsigned others = atomic_load(&o->open) + atomic_load(&o->asides), most;
    bool new = false;
    if (o->ops->endpoints(o->backend) != 1 || !crowd_is_refusal(status, error))
        return false;
    if (others == 0 && began != 0 && atomic_load(&o->served_at) >= began)
        others = 1; /* it was under way when this one was refused */
    pthread_mutex_lock(&o->lock);
    if (others == 0)
        crowd_alone(&o->crowd);
    else
        new = crowd_refused(&o->crowd, others, retry_after, clock_monotonic());
    atomic_store(&o->most, most = o->crowd.most);
    new = new && !o->crowd_told;
    o->crowd_told = o->crowd_told || new;
    pthread_mutex_unlock(&o->lock);
    if (new)
        log_notice("backend %s refuses more than %u requests at once: it is asked by so many, and now and then by one more",
                   o->ops->endpoint_name(o->backend, 0), most);
    if (others > 0)
        transfers_post(o->transfers, set_timer, o);
    return others > 0;
}

void room_answered(struct origin *o)
{
    if (atomic_load(&o->most) == 0)
        return;
    pthread_mutex_lock(&o->lock);
    crowd_answered(&o->crowd, atomic_load(&o->open) + atomic_load(&o->asides), clock_monotonic());
    if (o->crowd.most >= ENOUGH_FOR_ALL)
        crowd_alone(&o->crowd);
    atomic_store(&o->most, o->crowd.most);
    pthread_mutex_unlock(&o->lock);
}

/* ---- guests */

void room_guest_enters(struct origin *o)
{
    atomic_fetch_add(&o->guests, 1);
}

void room_guest_leaves(struct origin *o)
{
    if (atomic_fetch_sub(&o->guests, 1) == 1)
        transfers_post(o->transfers, o->on_room, o->context);
}

bool room_has_guests(const struct origin *o)
{
    return atomic_load(&o->guests) > 0;
}
