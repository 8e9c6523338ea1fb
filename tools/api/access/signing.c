/* SPDX-License-Identifier: Apache-2.0 */
/* Signed links. State: the key. */
#include "config-auto.h"

#include "api/access/signing.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/access/verdicts.h"
#include "base/log.h"
#include "base/secret.h"
#include "image/digest.h"

struct signing {
    const char *path;
    pthread_rwlock_t lock;
    char *key; /* protected by lock; NULL: none */
};

static int read_key(const char *path, char **ret)
{
    int r = secret_read(path, ret);
    if (r < 0)
        log_error("cannot read temp_url_key_file = %s: %s", path, secret_error(r));
    return r;
}

int signing_new(const char *path, struct signing **ret)
{
    struct signing *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->path = path;
    int r = path != NULL ? read_key(path, &s->key) : 0;
    if (r < 0) {
        free(s);
        return r;
    }
    pthread_rwlock_init(&s->lock, NULL);
    *ret = s;
    return 0;
}

void signing_free(struct signing *s)
{
    if (s == NULL)
        return;
    secret_free(s->key);
    pthread_rwlock_destroy(&s->lock);
    free(s);
}

int signing_reload(struct signing *s)
{
    char *key;
    int r = s->path != NULL ? read_key(s->path, &key) : 0;
    if (r < 0 || s->path == NULL)
        return r;
    pthread_rwlock_wrlock(&s->lock);
    char *old = s->key;
    s->key = key;
    pthread_rwlock_unlock(&s->lock);
    secret_free(old);
    return 0;
}

bool signing_has_key(struct signing *s)
{
    return s->path != NULL;
}

/* Seconds since 1970, or a time as 2026-11-22T05:05:27Z. */
static bool read_expiry(const char *text, long long *ret)
{
    struct tm parts = {0};
    char *end;
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    if (rest != NULL && *rest == '\0') {
        *ret = timegm(&parts);
        return true;
    }
    errno = 0;
    *ret = strtoll(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

static enum digest_algorithm algorithm_of(const char *signature)
{
    static const enum digest_algorithm all[] = {DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA512};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strlen(signature) == digest_hex_length(all[i]))
            return all[i];
    }
    return DIGEST_NONE;
}

struct link {
    char signature[DIGEST_HEX_MAX + 1], expires[64], prefix[512];
    bool has_prefix;
    long long until;
};

static const char *read_link(const struct request *r, struct link *ret)
{
    char range[64];
    if (request_argument(r, "temp_url_sig", ret->signature, sizeof(ret->signature)) <= 0)
        return "this needs a signature, as temp_url_sig in hex";
    if (request_argument(r, "temp_url_expires", ret->expires, sizeof(ret->expires)) <= 0 || !read_expiry(ret->expires, &ret->until))
        return "this needs a time, as temp_url_expires";
    int prefix = request_argument(r, "temp_url_prefix", ret->prefix, sizeof(ret->prefix));
    ret->has_prefix = prefix > 0 || (prefix == 0 && strstr(r->query, "temp_url_prefix=") != NULL);
    if (prefix < 0 || (ret->has_prefix && strncmp(r->id, ret->prefix, strlen(ret->prefix)) != 0))
        return "the link is for other images";
    if (request_argument(r, "temp_url_ip_range", range, sizeof(range)) != 0) /* it would be signed, and is not looked at */
        return "links for some addresses only are not known here";
    return NULL;
}

static bool is_signed(const char *key, const struct request *r, const struct link *l, const char *method)
{
    struct digest given, right;
    char text[2048];
    enum digest_algorithm algorithm = algorithm_of(l->signature);
    int n = snprintf(text, sizeof(text), "%s\n%lld\n%s/v1/%s/%s/%s", method, l->until, l->has_prefix ? "prefix:" : "", r->segments[1],
                     r->segments[2], l->has_prefix ? l->prefix : r->id);
    return n < (int)sizeof(text) && digest_set(algorithm, l->signature, strlen(l->signature), &given) == 0 &&
           digest_hmac(algorithm, key, text, &right) == 0 && secret_same(given.hex, right.hex);
}

const char *signing_refuses(struct signing *s, const struct request *r)
{
    struct link l = {.has_prefix = false};
    const char *wrong = read_link(r, &l);
    if (wrong != NULL)
        return wrong;
    pthread_rwlock_rdlock(&s->lock);
    bool good = s->key != NULL && (is_signed(s->key, r, &l, "GET") || (request_is(r, "HEAD") && is_signed(s->key, r, &l, "HEAD")));
    pthread_rwlock_unlock(&s->lock);
    if (!good)
        return "the signature is not that of this link";
    return l.until < (long long)time(NULL) ? "the link has expired" : NULL;
}
