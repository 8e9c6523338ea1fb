/* SPDX-License-Identifier: Apache-2.0 */
/* What servers refuse, see abilities.h. All state is atomic. */
#include "config-auto.h"

#include "backends/abilities.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

enum { TAKEN, ON_TRIAL, LEFT_OUT };
enum { AGAIN_AFTER_S = 3600, KIND_SHIFT = 16 };

static const char *const names[ABILITIES] = {
    [ABILITY_CHECKSUM_MODE] = "x-amz-checksum-mode",
    [ABILITY_CONDITION] = "If-Match and If-Range",
    [ABILITY_URL_ENCODING] = "encoding-type=url",
    [ABILITY_PAGE_LIMIT] = "a limit of pages",
    [ABILITY_LIST_V2] = "list-type=2",
};

struct state {
    atomic_int state;
    atomic_llong until; /* monotonic: with LEFT_OUT, when it is asked for again */
    atomic_bool told;
};

struct abilities {
    unsigned endpoints;
    struct state states[][ABILITIES];
};

int abilities_new(unsigned endpoints, struct abilities **ret)
{
    struct abilities *a = calloc(1, sizeof(*a) + endpoints * sizeof(a->states[0]));
    if (!a)
        return -ENOMEM;
    a->endpoints = endpoints;
    *ret = a;
    return 0;
}

void abilities_free(struct abilities *a)
{
    free(a);
}

static struct state *state_of(struct abilities *a, unsigned endpoint, unsigned ability)
{
    assert(endpoint < a->endpoints && ability < ABILITIES);
    return &a->states[endpoint][ability];
}

bool abilities_ask(struct abilities *a, unsigned endpoint, enum ability ability, unsigned *extras)
{
    struct state *s = state_of(a, endpoint, ability);
    int state = atomic_load(&s->state);
    bool wanted = state == TAKEN || (state == LEFT_OUT && atomic_load(&s->until) <= clock_monotonic());
    *extras |= 1u << (ability + KIND_SHIFT);
    if (wanted)
        *extras |= 1u << ability;
    return wanted;
}

/* Of a request for something else than is known: is this what a server says that does not know a header or parameter? */
static bool is_refusal(int status, unsigned kind)
{
    bool precondition = (kind & 1u << ABILITY_CONDITION) != 0;
    return status == 400 || status == 405 || status == 406 || status == 417 || status == 422 || status == 501 ||
           (status == 412 && !precondition);
}

static void give_up_trial(struct abilities *a, unsigned endpoint, unsigned mask)
{
    for (unsigned i = 0; i < ABILITIES; i++) {
        int trial = ON_TRIAL;
        if ((mask & 1u << i) != 0)
            atomic_compare_exchange_strong(&state_of(a, endpoint, i)->state, &trial, TAKEN);
    }
}

static void put_on_trial(struct abilities *a, unsigned endpoint, unsigned mask)
{
    for (unsigned i = 0; i < ABILITIES; i++) {
        if ((mask & 1u << i) != 0)
            atomic_store(&state_of(a, endpoint, i)->state, ON_TRIAL);
    }
}

static unsigned on_trial(struct abilities *a, unsigned endpoint, unsigned mask)
{
    unsigned found = 0;
    for (unsigned i = 0; i < ABILITIES; i++) {
        if ((mask & 1u << i) != 0 && atomic_load(&state_of(a, endpoint, i)->state) == ON_TRIAL)
            found |= 1u << i;
    }
    return found;
}

/* HAD was asked for, MISSING was left out to see whether it was that; next something else is, in the end all. */
static bool refuse(struct abilities *a, unsigned endpoint, unsigned had, unsigned missing)
{
    unsigned trial = on_trial(a, endpoint, missing);
    if (had == 0) {
        give_up_trial(a, endpoint, missing);
        return false;
    }
    give_up_trial(a, endpoint, trial);
    unsigned behind = trial != 0 ? had & ~((trial << 1) - 1) : had;
    put_on_trial(a, endpoint, behind != 0 ? behind & -behind : had | trial);
    return true;
}

static void settle(struct abilities *a, unsigned endpoint, unsigned had, unsigned missing, char *why, size_t size)
{
    for (unsigned i = 0; i < ABILITIES; i++) {
        struct state *s = state_of(a, endpoint, i);
        int trial = ON_TRIAL, left_out = LEFT_OUT;
        if ((missing & 1u << i) != 0 && atomic_load(&s->state) == ON_TRIAL) {
            atomic_store(&s->until, clock_monotonic() + AGAIN_AFTER_S * NS_PER_S);
            if (atomic_compare_exchange_strong(&s->state, &trial, LEFT_OUT) && !atomic_exchange(&s->told, true))
                snprintf(why, size, "refuses %s: asked without it from now on, and again after an hour", names[i]);
        } else if ((had & 1u << i) != 0 && atomic_compare_exchange_strong(&s->state, &left_out, TAKEN)) {
            atomic_store(&s->told, false);
            snprintf(why, size, "takes %s now", names[i]);
        }
    }
}

bool abilities_answered(struct abilities *a, unsigned endpoint, unsigned extras, int status, char *why, size_t size)
{
    unsigned kind = extras >> KIND_SHIFT, had = extras & ((1u << KIND_SHIFT) - 1), missing = kind & ~had;
    why[0] = '\0';
    if (kind == 0 || status == 0)
        return false;
    if (is_refusal(status, kind))
        return refuse(a, endpoint, had, missing);
    if (status < 400 || status == 404)
        settle(a, endpoint, had, missing, why, size);
    return false;
}

bool abilities_doubted(unsigned extras, int status)
{
    return (extras & ((1u << KIND_SHIFT) - 1)) != 0 && is_refusal(status, extras >> KIND_SHIFT);
}

const char *abilities_refused(struct abilities *a, unsigned endpoint, unsigned *n)
{
    while (*n < ABILITIES) {
        unsigned i = (*n)++;
        if (atomic_load(&state_of(a, endpoint, i)->state) == LEFT_OUT)
            return names[i];
    }
    return NULL;
}
