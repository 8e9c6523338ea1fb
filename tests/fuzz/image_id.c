/* SPDX-License-Identifier: Apache-2.0 */
/* Names of images: a valid one is safe as a file name, and is the same after a way through a url. */
#include "config-auto.h"

#include "fuzz.h"

#include "api/http/api.h"
#include "backends/backend.h"
#include "image/id.h"
#include "transfer/transfer.h"

static void through_urls(const char *id)
{
    char encoded[3 * IMAGE_ID_MAX + 1], *path = backend_object_path("a b/", id);
    text_encode(id, encoded);
    assert(!strpbrk(encoded, "/?#& ") && transfer_unescape(encoded) == (int) strlen(id) && strcmp(encoded, id) == 0);
    assert(path && strncmp(path, "a%20b/", 6) == 0 && !strchr(path + 6, '/'));
    assert(transfer_unescape(path) == 4 + (int) strlen(id) && strcmp(path + 4, id) == 0);
    free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    if (image_id_valid(text)) {
        assert(*text && *text != '.' && !strchr(text, '/') && strlen(text) <= IMAGE_ID_MAX);
        assert(strncmp(text, "cache.db", 8) != 0 || text[8]);
        for (const char *c = text; *c; c++)
            assert((unsigned char) *c >= 0x20 && *c != 0x7f);
        through_urls(text);
    }
    int length = transfer_unescape(text);
    assert(length < 0 || (size_t) length <= size);
    free(text);
    return 0;
}
