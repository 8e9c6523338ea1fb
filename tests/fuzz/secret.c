/* SPDX-License-Identifier: Apache-2.0 */
/* A file with a password or token: one line of text, or refused. */
#include "config-auto.h"

#include "fuzz.h"

#include "base/log.h"
#include "base/secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *secret = NULL;
    log_set_level(LOG_EMERG);
    int r = secret_read(fuzz_file(data, size), &secret);
    assert((r == 0) == (secret != NULL) && (r == 0 || *secret_error(r)));
    if (secret) {
        size_t length = strlen(secret);
        assert(length > 0 && length <= size && length + 2 >= size && memcmp(secret, data, length) == 0);
        for (const char *c = secret; *c; c++)
            assert((unsigned char) *c >= 0x20 && *c != 0x7f);
    }
    secret_free(secret);
    return 0;
}
