/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an answer: its numbers are within bounds whatever the headers say, and what they mean can be said again. */
#include "config-auto.h"

#include "fuzz.h"

#include <inttypes.h>

#include "backends/backend.h"
#include "backends/head_digest.h"
#include "transfer/private.h"

static void say_again(const struct transfer_head *head)
{
    struct transfer t = {0};
    struct transfer_head again = {.status = head->status, .transfer = &t};
    char line[128], total[24] = "*", range[48] = "*";
    if (head->total != TRANSFER_LENGTH_UNKNOWN)
        snprintf(total, sizeof(total), "%" PRIu64, head->total);
    if (head->first <= head->last)
        snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, head->first, head->last);
    snprintf(line, sizeof(line), "Content-Range: bytes %s/%s\r\n", range, total);
    transfer_headers_add(&t.headers, line, strlen(line));
    transfer_head_fill(&again, &t.headers);
    assert(again.ranged && again.first == head->first && again.last == head->last && again.total == head->total);
    transfer_headers_clear(&t.headers);
}

static void check(const struct transfer_head *head)
{
    const char *etag = transfer_head_get(head, "ETag");
    assert(!etag || !strpbrk(etag, "\r\n"));
    assert(head->retry_after <= 3600);
    if (head->ranged) {
        bool satisfied = head->first <= head->last;
        assert(satisfied ? head->status == 206 && head->last < head->total : head->status == 416);
        assert(!satisfied || head->length == TRANSFER_LENGTH_UNKNOWN || head->length == head->last - head->first + 1);
        say_again(head);
    }
    struct digest digest = head_digest(head);
    assert(strlen(digest.hex) == digest_hex_length(digest.algorithm));
    struct image_meta meta;
    if (backend_meta_from_head(head, 3, &meta) == 0) {
        uint64_t offset = UINT64_MAX;
        assert(meta.endpoint == 3 && memchr(meta.etag, '\0', sizeof(meta.etag)));
        int r = backend_check_bytes(head, &meta, 0, &offset);
        assert(r == 0 ? offset == 0 : offset == UINT64_MAX);
        assert(image_meta_same_version(&meta, &meta));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct transfer t = {0};
    struct transfer_head head = {.transfer = &t};
    while (in.size > 0) {
        const uint8_t *newline = memchr(in.data, '\n', in.size);
        size_t length = newline ? (size_t) (newline + 1 - in.data) : in.size;
        char *line = malloc(length);
        assert(line);
        memcpy(line, in.data, length);
        int status = transfer_status_line(line, length);
        assert(status >= 0 && status <= 999);
        if (status != 0) {
            head.status = status;
            transfer_headers_reset(&t.headers);
        } else {
            transfer_headers_add(&t.headers, line, length);
        }
        free(line);
        in.data += length;
        in.size -= length;
    }
    transfer_head_fill(&head, &t.headers);
    check(&head);
    transfer_headers_clear(&t.headers);
    return 0;
}
