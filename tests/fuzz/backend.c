/* SPDX-License-Identifier: Apache-2.0 */
/* What the backends make of an answer: a description or a listing, or one of the errors that the interface names. */
#include "config-auto.h"

#include "fuzz.h"

#include <errno.h>

#include "backends/backend.h"
#include "backends/listing/pages.h"
#include "base/log.h"
#include "transfer/private.h"

static const char *const sections[] = {
    "type = http\nurl = http://h/images/\n",
    "type = glance\nendpoint = http://g:9292\n",
    "type = swift\nendpoint = http://s/v1/AUTH_a\ncontainer = c\nprefix = p/\n",
    "type = s3\nbucket = b\nendpoint = http://s3\nprefix = p/\n",
};
enum { BACKENDS = sizeof(sections) / sizeof(sections[0]) };

static struct { struct config *config; const struct backend_ops *ops; struct backend *b; } backends[BACKENDS];

static void set_up(void)
{
    char text[512], message[CONFIG_MESSAGE_MAX];
    log_set_level(LOG_EMERG);
    for (int i = 0; i < BACKENDS; i++) {
        int length = snprintf(text, sizeof(text), "[DEFAULT]\nimage_cache_dir = /c\n[backend]\n%s", sections[i]);
        if (config_load(fuzz_file(text, (size_t) length), &backends[i].config, message) < 0 ||
            backend_open(backends[i].config, &backends[i].ops, &backends[i].b, message) < 0) {
            fprintf(stderr, "%s\n", message);
            abort();
        }
    }
}

static bool is_named(int r)
{
    return r == -ENOENT || r == -EACCES || r == -EAGAIN || r == -ESTALE || r == -EPROTO || r == -ENOTSUP;
}

static void describe(const struct backend_ops *ops, struct backend *b, const struct transfer_head *head, const void *body, size_t size)
{
    struct image_meta meta;
    struct transfer_request request = {0};
    memset(&meta, 0x55, sizeof(meta));
    int r = ops->described(b, 0, "image", head, body, size, &meta);
    assert(r == 0 || is_named(r));
    if (r < 0) {
        assert(meta.endpoint == 0x55555555);
        return;
    }
    assert(meta.endpoint == 0 && memchr(meta.etag, '\0', sizeof(meta.etag)) && memchr(meta.modified, '\0', sizeof(meta.modified)));
    assert(memchr(meta.title, '\0', sizeof(meta.title)) && memchr(meta.disk_format, '\0', sizeof(meta.disk_format)));
    assert(strlen(meta.digest.hex) == digest_hex_length(meta.digest.algorithm));
    r = ops->bytes(b, 0, "image", &meta, 5, 9, &request); /* with the etag in it */
    assert(r == 0 && request.url && request.ranged && request.first == 5 && request.last == 9);
    transfer_request_clear(&request);
}

static int tell_image(void *context, const struct listed_image *image)
{
    assert(!context && image_id_valid(image->name));
    return 0;
}

static void list(const struct backend_ops *ops, struct backend *b, const struct transfer_head *head, const void *body, size_t size)
{
    struct listing *l = NULL;
    struct transfer_request request = {0};
    const char *marker = NULL;
    int r = ops->listing(b, head, tell_image, NULL, &l);
    assert(r == 0 ? l != NULL : is_named(r) && !l);
    if (r == 0)
        r = listing_feed(l, body, size);
    if (r == 0)
        r = listing_end(l, &marker);
    assert(r >= 0 || is_named(r));
    if (r == 1) { /* the next page can be asked for */
        assert(ops->list(b, 0, marker, &request) == 0 && !strpbrk(request.url, " \r\n"));
        transfer_request_clear(&request);
    }
    listing_free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!backends[0].b)
        set_up();
    struct input in = {data, size};
    unsigned i = (unsigned) fuzz_number(&in, 1) % BACKENDS;
    struct transfer t = {0};
    struct transfer_head head = {.status = 200, .transfer = &t};
    while (in.size > 0 && *in.data != '\n') {
        char *line = fuzz_line(&in);
        int status = transfer_status_line(line, strlen(line));
        if (status != 0)
            head.status = status;
        else
            transfer_headers_add(&t.headers, line, strlen(line));
        free(line);
    }
    if (in.size > 0)
        fuzz_number(&in, 1); /* the empty line */
    transfer_head_fill(&head, &t.headers);
    char *body = malloc(in.size + 1);
    assert(body);
    memcpy(body, in.data, in.size);
    body = realloc(body, in.size > 0 ? in.size : 1);
    describe(backends[i].ops, backends[i].b, &head, body, in.size);
    list(backends[i].ops, backends[i].b, &head, body, in.size);
    free(body);
    transfer_headers_clear(&t.headers);
    return 0;
}
