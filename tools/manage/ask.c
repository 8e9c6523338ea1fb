/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts asked at once, by a few threads; the images of a host one after another. `next` is atomic, a result belongs to the thread that took
 * its host, and all else stays as it is while they run.
 */
#include "config-auto.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "manage/manage.h"

enum { AT_ONCE = 64 };

/* What is asked, of whom. Threads take a host each, and another when they are done with it. */
struct asking {
    const struct options *options;
    const struct command *command;
    struct result *results; /* by host, then by id */
    size_t hosts, ids;
    atomic_size_t next; /* host */
};

static void ask_one(const struct asking *a, struct result *r)
{
    const struct options *o = a->options;
    const struct command *c = a->command;
    char *encoded = client_encode(r->id != NULL ? r->id : ""), *path = NULL;
    answer_clear(&r->answer);
    r->answer.status = 0;
    r->asked = true;
    if (encoded == NULL || asprintf(&path, "%s%s%s", c->path, encoded, c->behind != NULL ? c->behind : "") < 0) {
        snprintf(r->answer.message, sizeof(r->answer.message), "out of memory");
        path = NULL;
    } else {
        client_ask(o, c->method, r->host->url, path, o->own_token != NULL ? o->own_token : o->token, NULL, &r->answer, NULL);
    }
    free(encoded);
    free(path);
}

static void *ask_hosts(void *context)
{
    struct asking *a = context;
    for (size_t host; (host = atomic_fetch_add(&a->next, 1)) < a->hosts;) {
        for (size_t k = host * a->ids; k < (host + 1) * a->ids; k++) {
            if (!a->results[k].asked || a->results[k].answer.status == 401)
                ask_one(a, &a->results[k]);
        }
    }
    return NULL;
}

/* All that were not asked yet, or were answered that the token is not valid. */
static void ask_all(struct asking *a)
{
    pthread_t threads[AT_ONCE - 1];
    size_t count = 0;
    atomic_store(&a->next, 0);
    while (count < AT_ONCE - 1 && count + 1 < a->hosts && pthread_create(&threads[count], NULL, ask_hosts, a) == 0)
        count++;
    ask_hosts(a);
    while (count > 0)
        pthread_join(threads[--count], NULL);
}

void ask(struct options *o, const struct command *c, struct result *results, size_t hosts, size_t ids)
{
    struct asking a = {.options = o, .command = c, .results = results, .hosts = hosts, .ids = ids};
    size_t count = hosts * ids;
    char why[512];
    if (o->own_token == NULL && o->token == NULL && identity_can(o) && !identity_get(o, why, sizeof(why))) {
        for (size_t k = 0; k < count; k++)
            snprintf(results[k].answer.message, sizeof(results[k].answer.message), "%s", why);
        return;
    }
    ask_all(&a);
    bool refused = false;
    for (size_t k = 0; k < count; k++)
        refused |= results[k].answer.status == 401;
    if (refused && o->own_token == NULL && identity_can(o) && identity_get(o, why, sizeof(why)))
        ask_all(&a);
}
