/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to Glance. State: its answers about a caller and an image. */
#include "config-auto.h"

#include "api/access/permission.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/api.h"
#include "base/clock.h"
#include "api/access/flights.h"
#include "image/id.h"
#include "base/log.h"

enum { REFUSED_TTL = 10 };

struct permission_of {
    const struct config_api *config;
    struct endpoints *own; /* of image_url; NULL: Glance is where upstream says */
    struct service *glance;
    struct flights *flights;
    struct verdicts *known; /* the statuses; with each, of which image */
    struct verdicts *lasting; /* of scopes that may: for when Glance is away; none without stale_if_error */
    atomic_ullong changes;  /* of images, that were told */
};

struct permission_of *permission_new(const struct config_api *config, struct endpoints *upstream)
{
    struct permission_of *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return NULL;
    p->config = config;
    p->own = config->image_url != NULL ? endpoints_new(&config->image_url, 1) : NULL;
    p->glance = service_new_at("Glance", p->own != NULL ? p->own : upstream, config->auth_ca_file);
    p->flights = flights_new();
    p->known = verdicts_new();
    p->lasting = verdicts_new();
    if (p->glance == NULL || p->flights == NULL || p->known == NULL || p->lasting == NULL) {
        permission_free(p);
        return NULL;
    }
    return p;
}

void permission_free(struct permission_of *p)
{
    if (p == NULL)
        return;
    service_free(p->glance);
    endpoints_free(p->own);
    flights_free(p->flights);
    if (p->known != NULL)
        verdicts_free(p->known);
    if (p->lasting != NULL)
        verdicts_free(p->lasting);
    free(p);
}

static int get(struct permission_of *p, const struct caller *caller, const char *rest, const char *range, bool head_only, bool hurried,
               struct service_answer *ret)
{
    char path[URI_MAX + 64];
    snprintf(path, sizeof(path), "/v2%s", rest);
    struct service_question q = {.path = path, .token = caller->token, .service_token = caller->service, .request_id = caller->request_id,
                                 .range = range, .head_only = head_only, .hurried = hurried};
    return service_ask(p->glance, &q, ret);
}

int permission_relay(struct permission_of *p, const struct caller *caller, const char *rest, bool hurried, struct service_answer *ret)
{
    return get(p, caller, rest, NULL, false, hurried, ret);
}

/* What a status of GET …/file means, or 0: nothing. Glance asks its policy before it looks at the range, so that 416 is a yes. */
static unsigned meaning(unsigned status)
{
    switch (status) {
    case 200:
    case 206:
    case 416:
        return 200;
    case 204:
    case 401:
    case 403:
    case 404:
        return status;
    case 410:
        return 404;
    default:
        return 0;
    }
}

/*
 * Asks for the first byte. A store that knows no ranges is 400: then for all, of which nothing is taken. When the store behind Glance fails,
 * for a range that no image has: that opens no store, so that what is cached here can be had meanwhile.
 */
static int ask_for_bytes(struct permission_of *p, const struct caller *caller, const char *rest, bool hurried, unsigned *ret_status)
{
    static const char first[] = "bytes=0-0", beyond[] = "bytes=9223372036854775806-";
    struct service_answer a;
    int r = get(p, caller, rest, first, true, hurried, &a);
    if (r == 0 && (a.status == 400 || a.status >= 500)) {
        free(a.body);
        r = get(p, caller, rest, a.status == 400 ? NULL : beyond, true, hurried, &a);
    }
    if (r < 0)
        return r;
    free(a.body);
    *ret_status = a.status;
    return 0;
}

struct asking {
    struct permission_of *p;
    const struct caller *caller;
    const char *id, *key;
    char lasting[VERDICT_KEY]; /* the key of scope and image */
    bool hurried; /* there was a yes before */
};

static void keep(const struct asking *q, unsigned found)
{
    char image[VERDICT_KEY];
    int64_t now = clock_monotonic(), lasts = (int64_t)q->p->config->stale_if_error;
    int64_t ttl = found == 200 ? (int64_t)q->p->config->auth_ttl : REFUSED_TTL;
    if (!verdict_key(q->id, NULL, image))
        return;
    if (found != 401) /* that is about the token, which may be renewed or found good after all */
        verdicts_put_with(q->p->known, q->key, (int)found, image, sizeof(image), now + ttl * NS_PER_S);
    if (found == 200 && lasts > 0)
        verdicts_put_with(q->p->lasting, q->lasting, (int)found, image, sizeof(image), now + lasts * NS_PER_S);
    else if (found != 401)
        verdicts_drop(q->p->lasting, q->lasting);
}

static int ask(void *context, void *answer, size_t size)
{
    const struct asking *q = context;
    char encoded[3 * IMAGE_ID_MAX + 1], rest[sizeof(encoded) + 32];
    unsigned status;
    unsigned long long changes = atomic_load(&q->p->changes);
    text_encode(q->id, encoded);
    snprintf(rest, sizeof(rest), "/images/%s/file", encoded);
    int r = ask_for_bytes(q->p, q->caller, rest, q->hurried, &status);
    if (r < 0)
        return r;
    unsigned found = meaning(status);
    if (found == 0) {
        log_debug("Glance answers a request for image %s with status %u", q->id, status);
        return -EIO;
    }
    keep(q, found);
    if (changes != atomic_load(&q->p->changes)) { /* it may be from before the change */
        verdicts_drop(q->p->known, q->key);
        verdicts_drop(q->p->lasting, q->lasting);
    }
    memcpy(answer, &found, size);
    return 0;
}

void permission_forget(struct permission_of *p, const char *id)
{
    char image[VERDICT_KEY];
    atomic_fetch_add(&p->changes, 1); /* before: what is put from now on and asked before is dropped by who puts it */
    if (!verdict_key(id, NULL, image))
        return;
    verdicts_drop_with(p->known, image, sizeof(image));
    verdicts_drop_with(p->lasting, image, sizeof(image));
}

int permission_ask(struct permission_of *p, const struct caller *caller, const char *id, unsigned *ret_status, bool *ret_stale)
{
    char key[VERDICT_KEY];
    int known, before = 0;
    struct asking q = {.p = p, .caller = caller, .id = id, .key = key};
    *ret_stale = false;
    if (!verdict_key(caller->key, id, key) || !verdict_key(caller->scope, id, q.lasting))
        return -ENOMEM;
    if (verdicts_get(p->known, key, &known)) {
        *ret_status = (unsigned)known;
        return 0;
    }
    q.hurried = verdicts_get(p->lasting, q.lasting, &before);
    int r = flights_ask(p->flights, key, ask, &q, ret_status, sizeof(*ret_status));
    if (r < 0 && r != -ENOMEM && q.hurried) {
        *ret_status = (unsigned)before;
        *ret_stale = true;
        return 0;
    }
    return r;
}
