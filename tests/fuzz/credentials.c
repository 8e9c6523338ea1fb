/* SPDX-License-Identifier: Apache-2.0 */
/* A file of shared credentials for S3: what was found in it is found again in a plain one that says the same. */
#include "config-auto.h"

#include "fuzz.h"

#include "backends/s3_credentials.h"
#include "base/log.h"

static struct config *configured(void)
{
    static const char text[] = "[DEFAULT]\nimage_cache_dir = /c\n[backend]\ntype = s3\nbucket = b\ncredentials_file = /c/f\n";
    struct config *config = NULL;
    char message[CONFIG_MESSAGE_MAX];
    log_set_level(LOG_EMERG);
    assert(config_load(fuzz_file(text, strlen(text)), &config, message) == 0);
    free(config->credentials_file);
    config->credentials_file = strdup(fuzz_file("", 0)); /* every file of ours has this path */
    return config;
}

static void read_and_compare(const struct config *config, const char *key, const char *secret, const char *token)
{
    struct s3_credentials c = {0};
    char message[CONFIG_MESSAGE_MAX], *text, *user_password;
    int length = asprintf(&text, "[default]\naws_access_key_id=%s\naws_secret_access_key=%s\naws_session_token=%s\n", key, secret, token);
    assert(length > 0 && asprintf(&user_password, "%s:%s", key, secret) > 0);
    fuzz_file(text, (size_t) length);
    assert(s3_credentials_read(config, &c, message) == 0);
    assert(strcmp(c.user_password, user_password) == 0);
    assert(*token ? strcmp(c.session_token, token) == 0 : !c.session_token);
    free(text);
    free(user_password);
    s3_credentials_clear(&c);
}

/* Any length of printable text is a token. */
static void write_token(const struct config *config, const uint8_t *data, size_t size)
{
    char token[4096];
    size_t length = 0;
    for (size_t i = 0; i < 4 * size && length < sizeof(token) - 1; i++) {
        if (data[i % size] > ' ' && data[i % size] < 0x7f)
            token[length++] = (char) data[i % size];
    }
    token[length] = '\0';
    read_and_compare(config, "AK", "S=/+", token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config *config;
    struct s3_credentials c = {0};
    char message[CONFIG_MESSAGE_MAX] = "";
    if (!config)
        config = configured();
    write_token(config, data, size);
    fuzz_file(data, size);
    int r = s3_credentials_read(config, &c, message);
    assert(r == 0 ? c.user_password != NULL : r < 0 && !c.user_password && *message && !strchr(message, '\n'));
    if (r == 0) {
        char *colon = strchr(c.user_password, ':'); /* the key ends there, as it does for the library that signs */
        *colon = '\0';
        read_and_compare(config, c.user_password, colon + 1, c.session_token ? c.session_token : "");
        *colon = ':';
    }
    s3_credentials_clear(&c);
    return 0;
}
