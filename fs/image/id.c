/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which strings may name an image. Stateless: every name that reaches the store or the catalogue has passed here, so
 * that no name can leave the cache directory or stand for one of its own files.
 */
#include "config-auto.h"

#include "image/id.h"

#include <stddef.h>
#include <string.h>

/* What the cache directory uses for itself; names with a leading dot are refused as a whole. */
static const char *const reserved[] = {
    "incomplete", "invalid", "queue", "lost+found", "cache.db", "cache.db-wal", "cache.db-shm", "cache.db-journal",
};

bool image_id_valid(const char *id)
{
    if (id[0] == '\0' || id[0] == '.')
        return false;
    size_t length = 0;
    for (; id[length] != '\0'; length++) {
        unsigned char c = (unsigned char)id[length];
        if (length == IMAGE_ID_MAX || c < 0x20 || c == 0x7f || c == '/')
            return false;
    }
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcmp(id, reserved[i]) == 0)
            return false;
    }
    return true;
}
