/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probes: the first bytes that came with a look-up, kept until the image is read or others push them out. Protected by engine->lock.
 */
#include "config-auto.h"

#include <stdlib.h>

#include "engine/private.h"

void probe_keep(struct engine *e, int64_t row, unsigned char *bytes, size_t length)
{
    pthread_mutex_lock(&e->lock);
    struct probe *oldest = &e->probes[0];
    for (int i = 0; i < PROBES; i++) {
        struct probe *p = &e->probes[i];
        if (p->row == row) {
            oldest = p;
            break;
        }
        if (p->used < oldest->used)
            oldest = p;
    }
    unsigned char *old = oldest->bytes;
    *oldest = (struct probe){.row = row, .bytes = bytes, .length = length, .used = ++e->probe_clock};
    pthread_mutex_unlock(&e->lock);
    free(old);
}

unsigned char *probe_take(struct engine *e, int64_t row, size_t *ret_length)
{
    unsigned char *bytes = NULL;
    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < PROBES && bytes == NULL; i++) {
        struct probe *p = &e->probes[i];
        if (p->row == row && p->bytes != NULL) {
            bytes = p->bytes;
            *ret_length = p->length;
            *p = (struct probe){0};
        }
    }
    pthread_mutex_unlock(&e->lock);
    return bytes;
}

void probe_free_all(struct engine *e)
{
    for (int i = 0; i < PROBES; i++)
        free(e->probes[i].bytes);
}
