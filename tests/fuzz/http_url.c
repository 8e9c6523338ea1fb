/* SPDX-License-Identifier: Apache-2.0 */
/* Urls of the configuration: an id that is put in comes out again, and no secret is shown. */
#include "config-auto.h"

#include "fuzz.h"

#include <errno.h>

#include "backends/http_url.h"
#include "image/id.h"
#include "transfer/transfer.h"

static void put_id_in(const struct http_url *u, const char *id)
{
    char *url = http_url_of(u, id), *escaped = transfer_escape(id);
    assert(url && escaped);
    const char *mark = strstr(u->url, "{id}");
    size_t before = (size_t) (mark - u->url), length = strlen(escaped);
    assert(strncmp(url, u->url, before) == 0 && strncmp(url + before, escaped, length) == 0);
    assert(strcmp(url + before + length, mark + 4) == 0);
    assert(!strpbrk(escaped, "/?#& ") && strcmp(escaped, ".") != 0 && strcmp(escaped, "..") != 0);
    assert(transfer_unescape(escaped) == (int) strlen(id) && strcmp(escaped, id) == 0);
    char *folder = NULL;
    if (http_url_folder(u, &folder) == 0)
        assert(folder[strlen(folder) - 1] == '/' && strncmp(folder, u->url, strlen(folder)) == 0);
    free(folder);
    free(url);
    free(escaped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    char *text = fuzz_line(&in), *id = fuzz_line(&in), *other = fuzz_line(&in);
    struct http_url a = {0}, b = {0};
    const char *why = NULL;
    int r = http_url_parse(text, true, &a, &why);
    assert(r == 0 ? a.url && a.name : r == -EINVAL && why && !a.url);
    if (r == 0) {
        const char *host = strstr(a.url, "://") + 3;
        assert(!memchr(host, '@', strcspn(host, "/?")) && !strchr(a.name, '?'));
        assert(!a.user_password || (strchr(a.user_password, ':') && !strpbrk(a.user_password, "\r\n")));
        if (image_id_valid(id))
            put_id_in(&a, id);
        assert(http_url_same_server(&a, &a));
        if (http_url_parse(other, false, &b, &why) == 0)
            assert(http_url_same_server(&a, &b) == http_url_same_server(&b, &a));
    }
    http_url_clear(&a);
    http_url_clear(&b);
    free(text);
    free(id);
    free(other);
    return 0;
}
