/* SPDX-License-Identifier: Apache-2.0 */
/* Keystone's answer to a login: a token with a catalogue, or an error that leaves everything as it was. */
#include "config-auto.h"

#include "fuzz.h"

#include <errno.h>

#include "backends/keystone.h"

static void ask(const void *body, size_t size, const char *type, const char *region)
{
    uint64_t lifetime = 77;
    char *url = NULL;
    const char *why = NULL;
    int r = keystone_answer(body, size, type, "public", region, &lifetime, &url, &why);
    assert(r == 0 ? !type == !url : (r == -EPROTO || r == -ENXIO) && why && !url && lifetime == 77);
    assert(r != -ENXIO || type);
    free(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *body = malloc(size + 1); /* never NULL, which jansson would refuse */
    assert(body);
    memcpy(body, data, size);
    body = realloc(body, size > 0 ? size : 1);
    ask(body, size, NULL, NULL);
    ask(body, size, "image", NULL);
    ask(body, size, "object-store", "RegionOne");
    free(body);
    return 0;
}
