/* SPDX-License-Identifier: Apache-2.0 */
/* An address as a header has it, and a network as the configuration has it. */
#include "config-auto.h"

#include "fuzz.h"

#include "api/http/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct peer p, again;
    char *address = fuzz_line(&in), *network = fuzz_line(&in), text[PEER_TEXT];
    char *list[] = {network};
    if (peer_parse(address, &p)) {
        peer_text(&p, text);
        assert(peer_parse(text, &again) && memcmp(&p, &again, sizeof(p)) == 0);
        bool listed = peer_listed(&p, list, 1);
        assert(!listed || peer_network_valid(network));
        char *own[] = {text};
        assert(peer_listed(&p, own, 1));
    }
    free(address);
    free(network);
    return 0;
}
