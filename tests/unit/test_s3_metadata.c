/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials for S3: where they come from, and what is asked of who gives them out. No network. */
#include "config-auto.h"

#include "config_file.h"

#include "answer.h"
#include "backends/s3_metadata.h"

static const char *const variables[] = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
};

/* The environment has none of the variables but those that are given, "NAME=value" each. */
static void set_environment(const char *first, const char *second)
{
    const char *given[] = { first, second };
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
    for (size_t i = 0; i < 2; i++) {
        char name[64];
        size_t length = given[i] ? strcspn(given[i], "=") : 0;
        if (length == 0)
            continue;
        snprintf(name, sizeof(name), "%.*s", (int) length, given[i]);
        setenv(name, given[i] + length + 1, 1);
    }
}

static struct config *configured(const char *options)
{
    char text[1000];
    snprintf(text, sizeof(text), "%s[backend]\ntype = s3\nbucket = b\n%s", CACHE, options);
    return load(text);
}

static void where_they_come_from(void **state)
{
    (void) state;
    static const struct { const char *options, *first, *second; enum s3_source source; } cases[] = {
        { "", NULL, NULL, S3_FROM_NOWHERE },
        { "access_key = a\n", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=y", S3_FROM_OPTIONS },
        { "", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=y", S3_FROM_ENVIRONMENT },
        { "", "AWS_ACCESS_KEY_ID=x", NULL, S3_FROM_NOWHERE },
        { "credentials_file = /f\n", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=y", S3_FROM_FILE },
        { "", "AWS_SHARED_CREDENTIALS_FILE=/f", "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://localhost/", S3_FROM_FILE },
        { "", "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://localhost/", NULL, S3_FROM_CONTAINER },
        { "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/x", NULL, S3_FROM_CONTAINER },
        { "credentials = keys\ncredentials_file = /f\n", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=y", S3_FROM_ENVIRONMENT },
        { "credentials = keys\n", "AWS_SHARED_CREDENTIALS_FILE=/f", NULL, S3_FROM_NOWHERE },
        { "credentials = file\naccess_key = a\n", NULL, NULL, S3_FROM_FILE },
        { "credentials = none\naccess_key = a\n", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=y", S3_FROM_NOWHERE },
        { "credentials = instance\naccess_key = a\n", NULL, NULL, S3_FROM_INSTANCE },
        { "credentials = container\n", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=y", S3_FROM_CONTAINER },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set_environment(cases[i].first, cases[i].second);
        struct config *config = configured(cases[i].options);
        if (s3_credentials_source(config) != cases[i].source)
            fail_msg("case %zu: %d", i, s3_credentials_source(config));
        config_free(config);
    }
}

static void what_is_no_place_for_them(void **state)
{
    (void) state;
    static const struct { const char *options, *first, *second, *said; } cases[] = {
        { "credentials = keys\n", NULL, NULL, "access_key" },
        { "credentials = file\n", NULL, NULL, "credentials_file" },
        { "credentials = container\n", NULL, NULL, "AWS_CONTAINER_CREDENTIALS_FULL_URI" },
        { "credentials = container\n", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=v2", NULL, "slash" },
        { "credentials = container\n", "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://10.0.0.1/", NULL, "https" },
        { "credentials = container\n", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/none/such", "/none/such" },
        { "credentials = container\n", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN=a\nb", "line break" },
        { "credentials = instance\n", "AWS_EC2_METADATA_SERVICE_ENDPOINT=ftp://x/", NULL, "credentials" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char message[CONFIG_MESSAGE_MAX] = "";
        const struct backend_ops *ops;
        struct backend *b;
        set_environment(cases[i].first, cases[i].second);
        struct config *config = configured(cases[i].options);
        assert_int_equal(backend_open(config, &ops, &b, message), -EINVAL);
        if (!strstr(message, cases[i].said))
            fail_msg("case %zu: %s", i, message);
        config_free(config);
    }
}

static void urls(void **state)
{
    (void) state;
    static const char *const good[] = {
        "https://credentials.example.org/x", "http://127.0.0.1/", "http://127.9.9.9:80/x", "http://localhost:8080/x?y", "http://[::1]:51679/x",
        "http://169.254.170.2/v2", "http://169.254.170.23/v1/credentials", "http://[fd00:ec2::23]/v1", "HTTP://LOCALHOST", "https://10.0.0.1",
    };
    static const char *const bad[] = {
        "http://10.0.0.1/", "http://169.254.169.254/", "http://127.0.0.1.example.org/", "http://localhost.example.org/", "http://127.0.0.1@evil.example.org/",
        "http://evil.example.org#127.0.0.1", "http://[::2]/", "http://[fd00:ec2::254]/", "ftp://127.0.0.1/", "127.0.0.1", "http://", "http://127.0.0.1:80:80/",
        "http://128.0.0.1/", "http://[::1/", "http://127.0.0.1\\.evil.example.org/", "http://127.1/", "http://[::1]evil.example.org/",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!s3_metadata_url_allowed(good[i]))
            fail_msg("%s is refused", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (s3_metadata_url_allowed(bad[i]))
            fail_msg("%s is allowed", bad[i]);
    }
}

static const char *header_of(const struct transfer_request *q, const char *name)
{
    for (size_t i = 0; i < q->header_count; i++) {
        if (strncasecmp(q->headers[i], name, strlen(name)) == 0 && q->headers[i][strlen(name)] == ':')
            return q->headers[i] + strlen(name) + 2;
    }
    return NULL;
}

/* One question to METADATA and its answer: expected at URL, answered HEAD and BODY. Returns what the answer came to. */
static int step(struct s3_metadata *m, const char *url, const char *head, const char *body, struct s3_credentials *c, uint64_t *lifetime)
{
    struct transfer_request q = { 0 };
    const char *why = NULL;
    assert_int_equal(s3_metadata_ask(m, &q), 0);
    assert_string_equal(q.url, url);
    assert_true(q.direct && q.patience > 0);
    transfer_request_clear(&q);
    int r = s3_metadata_head(m, answer(head), &why);
    if (r == 0)
        r = s3_metadata_answer(m, body, strlen(body), c, lifetime, &why);
    if (r < 0 && r != -EAGAIN)
        assert_non_null(why);
    return r;
}

#define ROOT "http://169.254.169.254"
#define ROLES ROOT "/latest/meta-data/iam/security-credentials/"

static void of_an_instance(void **state)
{
    (void) state;
    struct s3_metadata *m;
    struct s3_credentials c = { 0 };
    uint64_t life = 0;
    char message[CONFIG_MESSAGE_MAX];
    const char *keys = "{\"Code\": \"Success\", \"AccessKeyId\": \"AK\", \"SecretAccessKey\": \"SK\", \"Token\": \"T\", \"Expiration\": \"2026-01-02T03:04:05Z\"}";
    const char *dated = "200\nDate: Fri, 02 Jan 2026 02:04:05 GMT";
    set_environment(NULL, NULL);
    struct config *config = configured("");
    assert_int_equal(s3_metadata_open(config, S3_FROM_INSTANCE, &m, message), 0);
    assert_int_equal(step(m, ROOT "/latest/api/token", "200", "tok\n", &c, &life), AUTH_FURTHER);
    struct transfer_request q = { 0 };
    assert_int_equal(s3_metadata_ask(m, &q), 0);
    assert_string_equal(header_of(&q, "X-aws-ec2-metadata-token"), "tok");
    transfer_request_clear(&q);
    assert_int_equal(step(m, ROLES, "200", "my+role@x\n", &c, &life), AUTH_FURTHER);
    assert_int_equal(step(m, ROLES "my+role@x", dated, keys, &c, &life), 0);
    assert_string_equal(c.user_password, "AK:SK");
    assert_string_equal(c.session_token, "T");
    assert_int_equal(life, 3600); /* by the service's clock */
    s3_credentials_clear(&c);

    /* The next time: its token is good still; then it is not, and is had anew, once. */
    assert_int_equal(step(m, ROLES, "200", "r", &c, &life), AUTH_FURTHER);
    assert_int_equal(step(m, ROLES "r", "401", "", &c, &life), AUTH_FURTHER);
    assert_int_equal(step(m, ROOT "/latest/api/token", "200", "tok2", &c, &life), AUTH_FURTHER);
    assert_int_equal(step(m, ROLES, "401", "", &c, &life), -EACCES);

    /* What makes no sense, or is for later. */
    assert_int_equal(step(m, ROLES, "500", "", &c, &life), -EAGAIN);
    assert_int_equal(step(m, ROLES, "200", "../../x", &c, &life), -EPROTO);
    assert_int_equal(step(m, ROLES, "200", "", &c, &life), -EACCES);
    assert_int_equal(step(m, ROLES, "200", "r", &c, &life), AUTH_FURTHER);
    assert_int_equal(step(m, ROLES "r", "200", "{\"Code\": \"Success\", \"AccessKeyId\": \"A:K\", \"SecretAccessKey\": \"S\"}", &c, &life), -EINVAL);
    assert_int_equal(step(m, ROLES, "200", "r", &c, &life), AUTH_FURTHER);
    assert_int_equal(step(m, ROLES "r", "200", "{\"AccessKeyId\": \"AK\", \"SecretAccessKey\": 5}", &c, &life), -EPROTO);
    assert_null(c.user_password);
    s3_metadata_close(m);
    config_free(config);
}

static void of_a_container(void **state)
{
    (void) state;
    struct s3_metadata *m;
    struct s3_credentials c = { 0 };
    uint64_t life = 7;
    char message[CONFIG_MESSAGE_MAX];
    struct transfer_request q = { 0 };
    set_environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN=Basic abc");
    struct config *config = configured("");
    assert_int_equal(s3_metadata_open(config, S3_FROM_CONTAINER, &m, message), 0);
    assert_int_equal(s3_metadata_ask(m, &q), 0);
    assert_string_equal(header_of(&q, "Authorization"), "Basic abc");
    transfer_request_clear(&q);
    assert_int_equal(step(m, "http://169.254.170.2/v2/credentials/x", "401", "", &c, &life), -EACCES);
    assert_int_equal(step(m, "http://169.254.170.2/v2/credentials/x", "404", "", &c, &life), -EACCES);
    assert_int_equal(step(m, "http://169.254.170.2/v2/credentials/x", "429", "", &c, &life), -EAGAIN);
    assert_int_equal(step(m, "http://169.254.170.2/v2/credentials/x", "200", "{\"AccessKeyId\": \"AK\", \"SecretAccessKey\": \"SK\"}", &c, &life), 0);
    assert_string_equal(c.user_password, "AK:SK");
    assert_null(c.session_token);
    assert_int_equal(life, 0);
    s3_credentials_clear(&c);
    s3_metadata_close(m);
    config_free(config);
    set_environment(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_they_come_from), cmocka_unit_test(what_is_no_place_for_them), cmocka_unit_test(urls),
        cmocka_unit_test(of_an_instance),       cmocka_unit_test(of_a_container),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
