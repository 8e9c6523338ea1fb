/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of digests that must be signed: in clear, or by a file beside them. On the digests thread; nothing is kept. */
#include "config-auto.h"

#include "engine/lookup/signed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/lookup/listing.h"
#include "process/gpgv.h"

enum { SIGNATURE_MAX = 1 << 20, NAME_ROOM = 300 };

static const char in_clear[] = "-----BEGIN PGP SIGNED MESSAGE";

int signed_gather(struct signed_text *t, const void *data, size_t length, size_t most)
{
    if (length > most - t->length)
        return -EFBIG;
    if (t->length + length > t->room) {
        size_t room = 2 * (t->length + length);
        char *bytes = realloc(t->bytes, room);
        if (bytes == NULL)
            return -ENOMEM;
        t->bytes = bytes;
        t->room = room;
    }
    memcpy(t->bytes + t->length, data, length);
    t->length += length;
    return 0;
}

void signed_clear(struct signed_text *t)
{
    free(t->bytes);
    *t = (struct signed_text){0};
}

/* ---- the file beside it */

struct question {
    struct engine *e;
    unsigned endpoint;
    const char *name;
    struct signed_text text;
    struct refusal refused;
};

static int on_head(void *context, const struct transfer_head *head)
{
    (void)context;
    return backend_status_error(head->status);
}

static int on_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    struct question *q = context;
    (void)head;
    return signed_gather(&q->text, data, length, SIGNATURE_MAX);
}

static void on_done(void *context, int error, const struct transfer_result *result)
{
    struct question *q = context;
    (void)error;
    refusal_note(result, &q->refused);
}

static int ask(void *context)
{
    static const struct transfer_ops ops = {.on_head = on_head, .on_data = on_data, .on_done = on_done};
    struct question *q = context;
    struct transfer_request request = {0};
    signed_clear(&q->text);
    int r = q->e->ops->document(q->e->backend, q->endpoint, q->name, &request);
    if (r == 0)
        r = transfer_perform(q->e->transfers, &request, &ops, q);
    transfer_request_clear(&request);
    return r;
}

/* 0 and *RET; -ENOENT: there is none. */
static int read_signature(struct engine *e, unsigned endpoint, const char *name, struct signed_text *ret)
{
    static const char *const endings[] = {".gpg", ".asc", ".sign", ".sig"};
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        char beside[NAME_ROOM];
        snprintf(beside, sizeof(beside), "%s%s", name, endings[i]);
        struct question q = {.e = e, .endpoint = endpoint, .name = beside};
        int r = lister_ask(e, ask, &q, &q.refused);
        if (r == 0 && q.text.length > 0) {
            *ret = q.text;
            return 0;
        }
        signed_clear(&q.text);
        if (r < 0 && r != -ENOENT && r != -EACCES)
            return r;
    }
    return -ENOENT;
}

int signed_verify(struct engine *e, unsigned endpoint, const char *name, struct signed_text *text, char why[SIGNED_WHY_MAX])
{
    bool clear = text->length > strlen(in_clear) && memcmp(text->bytes, in_clear, strlen(in_clear)) == 0;
    struct signed_text signature = {0};
    char said[GPGV_WHY_MAX] = "", *verified = NULL;
    size_t length = 0;
    int r = clear ? 0 : read_signature(e, endpoint, name, &signature);
    if (r == -ENOENT) {
        snprintf(why, SIGNED_WHY_MAX, "%.100s is not signed: no image is verified by it", name);
        return -EBADMSG;
    }
    if (r == 0)
        r = gpgv_verify(e->config->checksum_keyring, text->bytes != NULL ? text->bytes : "", text->length, signature.bytes, signature.length, &verified, &length, said);
    signed_clear(&signature);
    if (r == -EBADMSG || r == -ENOENT) {
        snprintf(why, SIGNED_WHY_MAX, "%.60s is not signed by a key of checksum_keyring (%.100s): no image is verified by it", name,
                 r == -ENOENT ? "gpgv is not installed" : said);
        return -EBADMSG;
    }
    if (r < 0)
        return r;
    free(text->bytes);
    *text = (struct signed_text){.bytes = verified, .length = length, .room = length};
    return 0;
}

void signed_say(struct signed_trust *t, const char *why)
{
    pthread_mutex_lock(&t->lock);
    bool new = strcmp(t->why, why) != 0;
    snprintf(t->why, sizeof(t->why), "%s", why);
    pthread_mutex_unlock(&t->lock);
    if (new && why[0] != '\0')
        log_warning("%s", why);
}

void signed_why(struct signed_trust *t, char ret[SIGNED_WHY_MAX])
{
    pthread_mutex_lock(&t->lock);
    snprintf(ret, SIGNED_WHY_MAX, "%s", t->why);
    pthread_mutex_unlock(&t->lock);
}
