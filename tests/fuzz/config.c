/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: a mistake is said in one line; what is taken can be shown, and is then taken as the same. */
#include "config-auto.h"

#include "fuzz.h"

#include "base/log.h"
#include "config/config.h"

static char *dump(const struct config *config, size_t *ret_length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_length);
    assert(out);
    config_dump(config, out);
    assert(fclose(out) == 0);
    return text;
}

static int load(const void *data, size_t size, struct config **ret, char message[CONFIG_MESSAGE_MAX])
{
    memset(message, 'x', CONFIG_MESSAGE_MAX);
    int r = config_load_copy(fuzz_file(data, size), "/etc/c.conf", ret, message);
    if (r < 0) {
        assert(!*ret && memchr(message, '\0', CONFIG_MESSAGE_MAX) && *message && !strchr(message, '\n'));
        assert(strncmp(message, "/etc/c.conf", 11) == 0);
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config = NULL, *again = NULL;
    char message[CONFIG_MESSAGE_MAX];
    log_set_level(LOG_EMERG);
    if (load(data, size, &config, message) < 0)
        return 0;
    size_t length, length_again;
    char *text = dump(config, &length);
    if (load(text, length, &again, message) < 0) {
        fprintf(stderr, "%s\n%s", message, text);
        abort();
    }
    char *text_again = dump(again, &length_again);
    assert(length == length_again && memcmp(text, text_again, length) == 0);
    free(text);
    free(text_again);
    config_free(config);
    config_free(again);
    return 0;
}
