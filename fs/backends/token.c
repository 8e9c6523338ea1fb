/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens. A life is counted on the monotonic clock from when the token came, so that a clock that differs from the
 * service's does no harm. The lock is a leaf.
 */
#include "config-auto.h"

#include "backends/token.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"

enum { AHEAD_MAX_S = 300, FRESH_S = 5, MARGIN_S = 2 };

struct token {
    pthread_mutex_t lock;
    /* protected by lock: */
    char *value; /* NULL: none */
    char *url;
    unsigned number;
    int64_t had, ends; /* monotonic; ends 0: not told */
    bool refused;      /* a service refused it */
};

int token_new(struct token **ret)
{
    struct token *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    pthread_mutex_init(&t->lock, NULL);
    *ret = t;
    return 0;
}

void token_free(struct token *t)
{
    if (!t)
        return;
    secret_free(t->value);
    free(t->url);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

int token_set(struct token *t, const char *value, uint64_t lifetime, const char *url)
{
    char *copy = strdup(value), *url_copy = url ? strdup(url) : NULL;
    if (!copy || (url && !url_copy)) {
        secret_free(copy);
        free(url_copy);
        return -ENOMEM;
    }
    int64_t now = clock_monotonic();
    if (lifetime > INT32_MAX)
        lifetime = INT32_MAX;
    pthread_mutex_lock(&t->lock);
    char *old = t->value, *old_url = t->url;
    t->value = copy;
    t->url = url_copy;
    t->number = t->number + 1 ? t->number + 1 : 1;
    t->had = now;
    /* Its life began when it was made, not when it came, and a request takes time, too. */
    int64_t life = (int64_t) lifetime * NS_PER_S, margin = life / 10 < MARGIN_S * NS_PER_S ? life / 10 : MARGIN_S * NS_PER_S;
    t->ends = lifetime ? now + life - margin : 0;
    t->refused = false;
    pthread_mutex_unlock(&t->lock);
    secret_free(old);
    free(old_url);
    return 0;
}

static enum auth_need need_locked(const struct token *t, int64_t now)
{
    if (!t->value || t->refused || (t->ends && now >= t->ends))
        return AUTH_NOW;
    if (!t->ends)
        return AUTH_NONE;
    int64_t ahead = (t->ends - t->had) / 5;
    if (ahead > AHEAD_MAX_S * NS_PER_S)
        ahead = AHEAD_MAX_S * NS_PER_S;
    return now >= t->ends - ahead ? AUTH_SOON : AUTH_NONE;
}

enum auth_need token_need(struct token *t)
{
    pthread_mutex_lock(&t->lock);
    enum auth_need need = need_locked(t, clock_monotonic());
    pthread_mutex_unlock(&t->lock);
    return need;
}

unsigned token_number(struct token *t)
{
    pthread_mutex_lock(&t->lock);
    unsigned number = t->number;
    pthread_mutex_unlock(&t->lock);
    return number;
}

bool token_refused(struct token *t, unsigned number)
{
    pthread_mutex_lock(&t->lock);
    bool other = number != t->number || !t->value || t->refused;
    bool fresh = !other && clock_monotonic() - t->had < FRESH_S * NS_PER_S;
    if (!other && !fresh)
        t->refused = true;
    pthread_mutex_unlock(&t->lock);
    return !fresh;
}

int token_send(struct token *t, struct transfer_request *request)
{
    pthread_mutex_lock(&t->lock);
    int r = t->value ? transfer_request_header(request, "X-Auth-Token", t->value) : -EAGAIN;
    pthread_mutex_unlock(&t->lock);
    return r;
}

char *token_url(struct token *t)
{
    pthread_mutex_lock(&t->lock);
    char *url = t->url ? strdup(t->url) : NULL;
    pthread_mutex_unlock(&t->lock);
    return url;
}
