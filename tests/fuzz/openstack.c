/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole login, at Keystone (an input of odd length) or TempAuth: head and body as a server may send them. Once it is taken,
 * requests for images can be made.
 */
#include "config-auto.h"

#include "fuzz.h"

#include <errno.h>

#include "backends/openstack.h"
#include "base/log.h"
#include "transfer/private.h"

static struct config *config_of(const char *auth_url)
{
    char text[512], message[CONFIG_MESSAGE_MAX];
    struct config *config = NULL;
    int length = snprintf(text, sizeof(text), "[DEFAULT]\nimage_cache_dir = /c\n[backend]\ntype = swift\ncontainer = c\n"
                          "auth_url = http://%s\nusername = u\nproject_name = p\n", auth_url);
    if (config_load(fuzz_file(text, (size_t) length), &config, message) < 0) {
        fprintf(stderr, "%s\n", message);
        abort();
    }
    return config;
}

static void login(struct openstack *o, const struct transfer_head *head, const void *body, size_t size)
{
    struct transfer_request request = {0};
    const char *why = NULL;
    unsigned before = openstack_credential(o);
    int r = openstack_auth_head(o, head, &why);
    if (r == 0)
        r = openstack_authorised(o, body, size, &why);
    assert(r <= 0 && (r < 0 ? openstack_credential(o) == before : openstack_credential(o) != before));
    if (r == 0) {
        assert(openstack_auth_needed(o) != AUTH_NOW);
        assert(openstack_ask(o, 0, "/v2/images", &request) == 0);
        assert(request.url && request.header_count == 1 && !strpbrk(request.headers[0], "\r\n"));
    }
    transfer_request_clear(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config *keystone, *tempauth;
    char message[CONFIG_MESSAGE_MAX];
    if (!keystone) {
        log_set_level(LOG_EMERG);
        setenv("OS_PASSWORD", "secret", 1);
        setenv("ST_KEY", "secret", 1);
        keystone = config_of("k/v3");
        tempauth = config_of("s/auth/v1.0");
    }
    struct openstack *o = NULL;
    assert(openstack_open(size % 2 ? keystone : tempauth, "image", "/v2", &o, message) == 0);

    struct input in = {data, size};
    struct transfer t = {0};
    struct transfer_head head = {.status = 200, .transfer = &t};
    while (in.size > 0 && *in.data != '\n') {
        char *line = fuzz_line(&in);
        transfer_headers_add(&t.headers, line, strlen(line));
        free(line);
    }
    transfer_head_fill(&head, &t.headers);
    login(o, &head, in.data, in.size);
    transfer_headers_clear(&t.headers);
    openstack_close(o);
    return 0;
}
