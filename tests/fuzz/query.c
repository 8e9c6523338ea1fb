/* SPDX-License-Identifier: Apache-2.0 */
/* The query of an image list, and two images: whatever is asked, the limits hold and the order is one. */
#include "config-auto.h"

#include "fuzz.h"

#include "api/calls/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct query q;
    char error[QUERY_ERROR] = "";
    char *text = fuzz_line(&in), *name = fuzz_line(&in), *other = fuzz_line(&in);
    json_t *a = json_pack("{s:s, s:s%, s:s, s:I, s:b, s:n, s:s}", "id", "a", "name", name, strlen(name), "status", "active", "size", (json_int_t) size,
                          "protected", 0, "owner", "created_at", "2020-01-02T03:04:05Z");
    json_t *b = json_pack("{s:s, s:s%, s:n, s:I}", "id", "b", "name", other, strlen(other), "disk_format", "size", (json_int_t) 3);
    bool good = query_parse(text, &q, error);
    assert(good || *error);
    if (good && a && b) { /* a name that is no UTF-8 makes no document */
        assert(q.limit <= 1000 && q.term_count <= QUERY_TERMS_MAX && q.key_count <= QUERY_KEYS_MAX);
        query_matches(&q, a);
        query_matches(&q, b);
        int c = query_compare(&q, a, b), d = query_compare(&q, b, a);
        assert(c != 0 && (c > 0) == (d < 0) && query_compare(&q, a, a) == 0);
    }
    query_clear(&q);
    json_decref(a);
    json_decref(b);
    free(text);
    free(name);
    free(other);
    return 0;
}
