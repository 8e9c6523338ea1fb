/* SPDX-License-Identifier: Apache-2.0 */
/* What a cached file says of itself: read, written and read again it is the same. */
#include "config-auto.h"

#include "fuzz.h"

#include <errno.h>

#include "image/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), label[IMAGE_LABEL_MAX];
    struct image_meta meta, again;
    memset(&meta, 0x55, sizeof(meta));
    int r = image_label_read(text, &meta);
    assert(r == 0 || (r == -EBADMSG && meta.endpoint == 0x55555555));
    if (r == 0) {
        assert(strlen(meta.digest.hex) == digest_hex_length(meta.digest.algorithm));
        image_label_write(&meta, label, sizeof(label));
        assert(image_label_read(label, &again) == 0 && again.size == meta.size && strcmp(again.etag, meta.etag) == 0);
        assert(again.digest.algorithm == meta.digest.algorithm && strcmp(again.digest.hex, meta.digest.hex) == 0);
        assert(image_meta_same_version(&meta, &again));
    }
    free(text);
    return 0;
}
