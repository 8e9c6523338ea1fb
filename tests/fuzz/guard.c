/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps web pages out: a host that is let in stays so with a port, and a foreign page never changes anything. */
#include "config-auto.h"

#include "fuzz.h"

#include "api/access/guard.h"

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    char *host = fuzz_line(&in), *origin = fuzz_line(&in), *site = fuzz_line(&in), *mode = fuzz_line(&in), *with_port;
    char *names[] = {(char *) "cache.example.org"};
    bool let_in = guard_host(host, names, 1);
    assert(let_in || !guard_host(host, names, 0));
    size_t length = strlen(host);
    if (let_in && (host[length - 1] == ']' || !strchr(host, ':'))) {
        assert(asprintf(&with_port, "%s:80", host) > 0);
        assert(guard_host(with_port, names, 1));
        free(with_port);
    }
    struct guard_request r = {.change = size % 2, .host = host, .origin = or_null(origin), .fetch_site = or_null(site),
                              .fetch_mode = or_null(mode), .custom = size % 4 > 1 ? "1" : NULL, .page = size % 8 > 3};
    const char *why = guard_site(&r);
    bool foreign = *site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
    assert(!foreign || why || (!r.change && r.page));
    assert(!(r.change && (r.origin || r.fetch_site) && !r.custom) || why);
    free(host);
    free(origin);
    free(site);
    free(mode);
    return 0;
}
