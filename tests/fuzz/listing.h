/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is true of any parser of listings: it tells valid names only, the same ones however the body is cut into pieces, and
 * ends with what its caller said when that is not 0.
 */
#ifndef GCFS_FUZZ_LISTING_H
#define GCFS_FUZZ_LISTING_H

#include "fuzz.h"

#include <errno.h>

#include "backends/listing/pages.h"
#include "image/id.h"

typedef int make_listing(listing_fn *fn, void *context, struct listing **ret);

struct told {
    uint64_t hash;
    size_t count, stop_at; /* 0: never */
    int result;            /* of the feed that failed, or of the end */
    char *marker;
};

static int tell(void *context, const struct listed_image *image)
{
    struct told *told = context;
    assert(told->stop_at == 0 || told->count < told->stop_at); /* nothing comes after the end was asked for */
    assert(image_id_valid(image->name));
    assert(image->size == IMAGE_SIZE_UNKNOWN || image->size <= INT64_MAX);
    if (image->meta) {
        assert(image->meta->size == image->size);
        assert(strlen(image->meta->digest.hex) == digest_hex_length(image->meta->digest.algorithm));
        assert(memchr(image->meta->title, '\0', sizeof(image->meta->title)));
        assert(memchr(image->meta->disk_format, '\0', sizeof(image->meta->disk_format)));
    }
    told->hash = fuzz_hash(told->hash, image->name, strlen(image->name) + 1);
    told->hash = fuzz_hash(told->hash, &image->size, sizeof(image->size));
    return ++told->count == told->stop_at ? -ECANCELED : 0;
}

static void read_listing(make_listing *make, struct input in, size_t piece, struct told *told)
{
    struct listing *l;
    const char *marker = NULL;
    assert(make(tell, told, &l) == 0);
    told->result = 0;
    while (in.size > 0 && told->result == 0) {
        size_t length = in.size < piece ? in.size : piece;
        char *copy = malloc(length);
        assert(copy);
        memcpy(copy, in.data, length);
        told->result = listing_feed(l, copy, length);
        free(copy);
        in.data += length;
        in.size -= length;
    }
    if (told->result == 0)
        told->result = listing_end(l, &marker);
    assert(told->result <= 1 && (told->result == 1) == (marker != NULL));
    told->marker = marker ? strdup(marker) : NULL;
    listing_free(l);
}

static void check_listing(make_listing *make, const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct told whole = {0}, cut = {0}, stopped = {0};
    read_listing(make, in, SIZE_MAX, &whole);
    read_listing(make, in, 1 + size % 7, &cut);
    assert(whole.result == cut.result && whole.count == cut.count && whole.hash == cut.hash);
    assert(!whole.marker == !cut.marker && (!whole.marker || strcmp(whole.marker, cut.marker) == 0));
    stopped.stop_at = (whole.count + 1) / 2;
    if (whole.count > 0) {
        read_listing(make, in, SIZE_MAX, &stopped);
        assert(stopped.result == -ECANCELED && stopped.count == stopped.stop_at);
    }
    free(whole.marker);
    free(cut.marker);
    free(stopped.marker);
}

#endif
