/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backends glance, swift and s3: logging in, what they ask, and what they make of heads. Answers are given as the text of their
 * heads, read by the transfer room's own code, and as bodies recorded from running services. No network.
 */
#include "config-auto.h"

#include "config_file.h"
#include "recorded.h"

#include "answer.h"
#include "backends/backend.h"
#include "backends/keystone.h"
#include "backends/s3_credentials.h"
#include "backends/token.h"

/* ---- answers and questions */

static void put_file(const char *name, const char *text)
{
    char file_name[128];
    snprintf(file_name, sizeof(file_name), "%s/%s", dir, name);
    int fd = open(file_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void drop_file(const char *name)
{
    char file_name[128];
    snprintf(file_name, sizeof(file_name), "%s/%s", dir, name);
    unlink(file_name);
}

static void clear_environment(void)
{
    static const char *const names[] = {
        "OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME", "OS_PROJECT_ID", "OS_USER_DOMAIN_ID", "OS_REGION_NAME",
        "OS_USER_DOMAIN_NAME", "OS_PROJECT_DOMAIN_ID", "OS_PROJECT_DOMAIN_NAME", "OS_APPLICATION_CREDENTIAL_ID", "OS_INTERFACE",
        "OS_APPLICATION_CREDENTIAL_SECRET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION",
        "AWS_DEFAULT_REGION", "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE", "AWS_ENDPOINT_URL",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
}

/* A configuration whose section [backend] is SECTION; @ in it is the test's folder. */
static struct config *configured(const char *section)
{
    char text[2000];
    size_t length = (size_t) snprintf(text, sizeof(text), "%s[backend]\n", CACHE);
    for (const char *c = section; *c; c++) {
        if (c[0] == '@')
            length += (size_t) snprintf(text + length, sizeof(text) - length, "%s", dir);
        else
            text[length++] = *c;
    }
    text[length] = '\0';
    return load(text);
}

struct opened {
    struct config *config;
    const struct backend_ops *ops;
    struct backend *b;
};

static struct opened opened(const char *section)
{
    struct opened o = { .config = configured(section) };
    char message[CONFIG_MESSAGE_MAX] = "";
    if (backend_open(o.config, &o.ops, &o.b, message) < 0)
        fail_msg("%s", message);
    return o;
}

static void closed(struct opened *o)
{
    o->ops->close(o->b);
    config_free(o->config);
}

static void expect_refused(const char *section, const char *hint)
{
    struct config *config = configured(section);
    const struct backend_ops *ops;
    struct backend *b;
    char message[CONFIG_MESSAGE_MAX] = "";
    assert_int_equal(backend_open(config, &ops, &b, message), -EINVAL);
    if (!strstr(message, hint))
        fail_msg("\"%s\" is not in: %s", hint, message);
    config_free(config);
}

static const char *header_of(const struct transfer_request *q, const char *name)
{
    return transfer_request_find(q, name);
}

/* ---- Keystone */

#define KEYSTONE "type = glance\nauth_url = http://k:5000\nusername = glance\nproject_name = service\npassword_file = @/password\n"

static void keystone_asks(void **state)
{
    (void) state;
    clear_environment();
    put_file("password", "se\"cret\n");
    struct config *config = configured(KEYSTONE "project_domain_name = Prod\n");
    struct keystone_login login;
    char message[CONFIG_MESSAGE_MAX];
    struct transfer_request q = { 0 };
    assert_int_equal(keystone_login_open(config, &login, message), 0);
    assert_int_equal(keystone_ask(&login, &q), 0);
    assert_string_equal(q.url, "http://k:5000/v3/auth/tokens");
    assert_string_equal(q.method, "POST");
    static const char password[] =
        "{\"auth\":{\"identity\":{\"methods\":[\"password\"],\"password\":{\"user\":{\"name\":\"glance\",\"password\":"
        "\"se\\\"cret\",\"domain\":{\"id\":\"default\"}}}},\"scope\":{\"project\":{\"name\":\"service\",\"domain\":{\"name\":"
        "\"Prod\"}}}}}";
    assert_int_equal(q.body_length, strlen(password));
    assert_memory_equal(q.body, password, q.body_length);
    transfer_request_clear(&q);
    keystone_login_clear(&login);
    config_free(config);

    /* All of it from the environment. */
    setenv("OS_AUTH_URL", "http://k:5000/v3/", 1);
    setenv("OS_APPLICATION_CREDENTIAL_ID", "1afa", 1);
    setenv("OS_APPLICATION_CREDENTIAL_SECRET", "2EXV", 1);
    config = configured("type = glance\n");
    assert_int_equal(keystone_login_open(config, &login, message), 0);
    assert_int_equal(keystone_ask(&login, &q), 0);
    assert_string_equal(q.url, "http://k:5000/v3/auth/tokens");
    static const char credential[] = "{\"auth\":{\"identity\":{\"methods\":[\"application_credential\"],\"application_credential\":"
                                     "{\"id\":\"1afa\",\"secret\":\"2EXV\"}}}}";
    assert_int_equal(q.body_length, strlen(credential));
    assert_memory_equal(q.body, credential, q.body_length);
    transfer_request_clear(&q);
    keystone_login_clear(&login);
    config_free(config);
    clear_environment();
    drop_file("password");
}

static void keystone_is_refused(void **state)
{
    (void) state;
    clear_environment();
    put_file("password", "x\n");
    expect_refused("type = glance\n", "auth_url");
    expect_refused("type = glance\nauth_url = k:5000\n", "http://");
    expect_refused("type = glance\nauth_url = http://k/v3?x=1\n", "auth_url");
    expect_refused("type = glance\nauth_url = http://k/v3\n", "username");
    expect_refused("type = glance\nauth_url = http://k/v3\nusername = u\n", "project_name");
    expect_refused("type = glance\nauth_url = http://k/v3\nusername = u\nproject_id = p\n", "password_file");
    expect_refused("type = glance\nauth_url = http://k/v3\nusername = u\nproject_id = p\npassword_file = @/none\n", "cannot be read");
    expect_refused("type = glance\nauth_url = http://k/v3\napplication_credential_id = c\n", "application_credential_secret_file");
    expect_refused("type = swift\ncontainer = a/b\nauth_url = http://k/auth/v1.0\n", "container");
    expect_refused("type = swift\ncontainer = c\nauth_url = http://k/auth/v1.0\n", "username");
    drop_file("password");
}

static void keystone_answers(void **state)
{
    (void) state;
    char *text = recorded("keystone-token.json"), *url = NULL;
    const char *why = NULL;
    uint64_t lifetime = 0;
    size_t length = strlen(text);
    assert_int_equal(keystone_answer(text, length, "image", "public", NULL, &lifetime, &url, &why), 0);
    assert_int_equal(lifetime, 4 * 3600);
    assert_string_equal(url, "http://127.0.0.1:19292");
    free(url);
    assert_int_equal(keystone_answer(text, length, "object-store", "internal", "RegionOne", &lifetime, &url, &why), 0);
    assert_non_null(strstr(url, "/v1/AUTH_"));
    free(url);
    url = NULL;
    assert_int_equal(keystone_answer(text, length, NULL, "public", NULL, &lifetime, &url, &why), 0);
    assert_null(url);
    assert_int_equal(keystone_answer(text, length, "image", "public", "RegionTwo", &lifetime, &url, &why), -ENXIO);
    assert_non_null(strstr(why, "region"));
    assert_int_equal(keystone_answer(text, length, "volume", "public", NULL, &lifetime, &url, &why), -ENXIO);
    assert_int_equal(keystone_answer(text, length / 2, "image", "public", NULL, &lifetime, &url, &why), -EPROTO);
    assert_int_equal(keystone_answer("", 0, "image", "public", NULL, &lifetime, &url, &why), -EPROTO);
    assert_int_equal(keystone_answer("{\"token\": 1}", 12, NULL, "public", NULL, &lifetime, &url, &why), -EPROTO);
    free(text);
}

/* ---- tokens */

static void a_token_is_renewed_and_refused(void **state)
{
    (void) state;
    struct token *t;
    struct transfer_request q = { 0 };
    assert_int_equal(token_new(&t), 0);
    assert_int_equal(token_need(t), AUTH_NOW);
    assert_int_equal(token_number(t), 0);
    assert_int_equal(token_send(t, &q), -EAGAIN);
    assert_int_equal(token_set(t, "one", 3600, "http://s"), 0);
    assert_int_equal(token_need(t), AUTH_NONE);
    assert_int_equal(token_number(t), 1);
    assert_int_equal(token_send(t, &q), 0);
    assert_string_equal(header_of(&q, "X-Auth-Token"), "one");
    transfer_request_clear(&q);

    assert_false(token_refused(t, 1)); /* fresh: the next one would not do either */
    assert_int_equal(token_need(t), AUTH_NONE);
    assert_true(token_refused(t, 0)); /* made before there was one */
    assert_int_equal(token_set(t, "two", 0, NULL), 0);
    assert_true(token_refused(t, 1)); /* another one is there since */
    assert_int_equal(token_need(t), AUTH_NONE);
    assert_null(token_url(t));
    token_free(t);
}

/* ---- glance */

static void login_glance(struct opened *o, const char *body)
{
    struct transfer_request q = { 0 };
    const char *why = NULL;
    assert_int_equal(o->ops->auth_needed(o->b), AUTH_NOW);
    assert_int_equal(o->ops->auth(o->b, &q), 0);
    transfer_request_clear(&q);
    assert_int_equal(o->ops->auth_head(o->b, answer("201\nX-Subject-Token: gAAAA"), &why), 0);
    assert_int_equal(o->ops->authorised(o->b, body, strlen(body), &why), 0);
    assert_int_equal(o->ops->auth_needed(o->b), AUTH_NONE);
}

static void glance_asks(void **state)
{
    (void) state;
    clear_environment();
    put_file("password", "x\n");
    struct opened o = opened(KEYSTONE);
    char *token = recorded("keystone-token.json"), *image = recorded("glance-image.json");
    struct transfer_request q = { 0 };
    struct image_meta meta = { 0 };
    assert_int_equal(o.ops->endpoints(o.b), 1);
    assert_string_equal(o.ops->endpoint_name(o.b, 0), "image of http://k:5000/v3");
    assert_int_equal(o.ops->describe(o.b, 0, "a", 100, &q), -EAGAIN);
    login_glance(&o, token);
    assert_int_equal(o.ops->describe(o.b, 0, "a/b c", 100, &q), 0);
    assert_string_equal(q.url, "http://127.0.0.1:19292/v2/images/a%2Fb%20c");
    assert_string_equal(header_of(&q, "X-Auth-Token"), "gAAAA");
    transfer_request_clear(&q);
    assert_int_equal(o.ops->described(o.b, 0, "a", answer("200"), image, strlen(image), &meta), 0);
    assert_int_equal(meta.size, 5111808);
    assert_int_equal(o.ops->described(o.b, 0, "a", answer("404"), "", 0, &meta), -ENOENT);
    assert_int_equal(o.ops->described(o.b, 0, "a", answer("401"), "", 0, &meta), -EACCES);
    assert_int_equal(o.ops->described(o.b, 0, "a", answer("300"), "{}", 2, &meta), -EPROTO);
    assert_int_equal(o.ops->bytes(o.b, 0, "a", &meta, 5, 9, &q), 0);
    assert_string_equal(q.url, "http://127.0.0.1:19292/v2/images/a/file");
    assert_true(q.ranged && q.first == 5 && q.last == 9);
    transfer_request_clear(&q);
    assert_int_equal(o.ops->list(o.b, 0, "x&y", &q), 0);
    assert_non_null(strstr(q.url, "/v2/images?status=active&sort_key=id&sort_dir=asc&limit=500&marker=x%26y"));
    transfer_request_clear(&q);
    free(token);
    free(image);
    closed(&o);

    o = opened("type = glance\nendpoint = http://a:9292/v2/\n  http://b:9292\n"); /* open to everyone */
    assert_int_equal(o.ops->endpoints(o.b), 2);
    assert_int_equal(o.ops->auth_needed(o.b), AUTH_NONE);
    assert_int_equal(o.ops->describe(o.b, 0, "i", 100, &q), 0);
    assert_string_equal(q.url, "http://a:9292/v2/images/i");
    assert_null(header_of(&q, "X-Auth-Token"));
    transfer_request_clear(&q);
    closed(&o);
    drop_file("password");
}

static void a_login_fails(void **state)
{
    (void) state;
    put_file("password", "x\n");
    struct opened o = opened(KEYSTONE);
    struct transfer_request q = { 0 };
    static const struct { const char *head, *body; int head_error, error; } cases[] = {
        { "401", "", -EACCES, 0 },
        { "404", "", -EPROTO, 0 },
        { "300", "", -EPROTO, 0 },
        { "503", "", -EAGAIN, 0 },
        { "201", "", -EPROTO, 0 },
        { "201\nX-Subject-Token: a\rb", "", -EPROTO, 0 }, /* no request could be made with it */
        { "201\nX-Subject-Token: x", "<html>", 0, -EPROTO },
        { "201\nX-Subject-Token: x", "{\"token\": {\"catalog\": []}}", 0, -ENXIO },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *why = NULL;
        assert_int_equal(o.ops->auth(o.b, &q), 0);
        transfer_request_clear(&q);
        assert_int_equal(o.ops->auth_head(o.b, answer(cases[i].head), &why), cases[i].head_error);
        if (cases[i].head_error == 0)
            assert_int_equal(o.ops->authorised(o.b, cases[i].body, strlen(cases[i].body), &why), cases[i].error);
        if (cases[i].head_error != -EAGAIN)
            assert_non_null(why);
        assert_int_equal(o.ops->auth_needed(o.b), AUTH_NOW);
        assert_int_equal(o.ops->credential(o.b), 0);
    }
    closed(&o);
    drop_file("password");
}

/* ---- swift */

static void swift_asks(void **state)
{
    (void) state;
    clear_environment();
    put_file("password", "key\n");
    struct opened o = opened("type = swift\ncontainer = my images\nprefix = a b/c/\nauth_url = http://s/auth/v1.0\n"
                             "username = test:tester\npassword_file = @/password\n");
    struct transfer_request q = { 0 };
    struct image_meta meta;
    const char *why = NULL;
    assert_int_equal(o.ops->auth(o.b, &q), 0);
    assert_string_equal(q.url, "http://s/auth/v1.0");
    assert_string_equal(header_of(&q, "X-Auth-User"), "test:tester");
    assert_string_equal(header_of(&q, "X-Auth-Key"), "key");
    transfer_request_clear(&q);
    assert_int_equal(o.ops->auth_head(o.b, answer("200\nX-Storage-Url: http://s/v1/T\nX-Auth-Token: tk\nX-Auth-Token-Expires: 86399"), &why), 0);
    assert_int_equal(o.ops->authorised(o.b, "", 0, &why), 0);
    assert_int_equal(o.ops->describe(o.b, 0, "x+y", 100, &q), 0);
    assert_string_equal(q.url, "http://s/v1/T/my%20images/a%20b/c/x%2By");
    assert_string_equal(header_of(&q, "X-Auth-Token"), "tk");
    transfer_request_clear(&q);
    assert_int_equal(o.ops->describe(o.b, 0, "SHA256SUMS", 100, &q), -ENOENT);

    static const char plain[] = "206\nContent-Range: bytes 0-3/7\nEtag: a8bfa7e0d8842937c6fd0d67204abce8";
    assert_int_equal(o.ops->described(o.b, 0, "x", answer(plain), NULL, 0, &meta), 0);
    assert_int_equal(meta.digest.algorithm, DIGEST_MD5);
    static const char *const large[] = {
        "206\nContent-Range: bytes 0-3/7\nEtag: \"a8bfa7e0d8842937c6fd0d67204abce8\"\nX-Static-Large-Object: True",
        "206\nContent-Range: bytes 0-3/7\nEtag: \"a8bfa7e0d8842937c6fd0d67204abce8\"\nX-Object-Manifest: images/x",
    };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(o.ops->described(o.b, 0, "x", answer(large[i]), NULL, 0, &meta), 0);
        assert_int_equal(meta.size, 7);
        assert_int_equal(meta.digest.algorithm, DIGEST_NONE);
    }
    assert_int_equal(o.ops->bytes(o.b, 0, "x", &meta, 0, 9, &q), 0);
    assert_string_equal(header_of(&q, "If-Match"), "\"a8bfa7e0d8842937c6fd0d67204abce8\"");
    transfer_request_clear(&q);
    assert_int_equal(o.ops->list(o.b, 0, NULL, &q), 0);
    assert_string_equal(q.url, "http://s/v1/T/my%20images?format=json&delimiter=%2F&limit=2000&prefix=a%20b%2Fc%2F&marker=");
    transfer_request_clear(&q);
    closed(&o);
    drop_file("password");
}

/* ---- s3 */

static void s3_asks(void **state)
{
    (void) state;
    clear_environment();
    put_file("secret", "sk\n");
    struct opened o = opened("type = s3\nbucket = images\nendpoint = http://s:1/\nregion = eu-1\naccess_key = ak\n"
                             "secret_key_file = @/secret\nprefix = p/\n");
    struct transfer_request q = { 0 };
    struct image_meta meta;
    assert_int_equal(o.ops->describe(o.b, 0, "a+ %\xc3\xbc", 100, &q), 0);
    assert_string_equal(q.url, "http://s:1/images/p/a%2B%20%25%C3%BC");
    assert_string_equal(q.user_password, "ak:sk");
    assert_string_equal(q.aws_sigv4, "aws:amz:eu-1:s3");
    assert_non_null(header_of(&q, "x-amz-content-sha256"));
    transfer_request_clear(&q);
    assert_int_equal(o.ops->list(o.b, 0, "a=b", &q), 0);
    assert_string_equal(q.url, "http://s:1/images?continuation-token=a%3Db&delimiter=%2F&encoding-type=url&list-type=2&max-keys=1000&prefix=p%2F");
    transfer_request_clear(&q);

    static const struct { const char *head; enum digest_algorithm algorithm; } cases[] = {
        { "ETag: \"a8bfa7e0d8842937c6fd0d67204abce8\"", DIGEST_MD5 },
        { "ETag: \"a8bfa7e0d8842937c6fd0d67204abce8-2\"", DIGEST_NONE },
        { "ETag: \"a8bfa7e0d8842937c6fd0d67204abce8\"\nx-amz-server-side-encryption: AES256", DIGEST_MD5 },
        { "ETag: \"a8bfa7e0d8842937c6fd0d67204abce8\"\nx-amz-server-side-encryption: aws:kms", DIGEST_NONE },
        { "ETag: \"x\"\nx-amz-checksum-sha256: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", DIGEST_SHA256 },
        { "x-amz-checksum-sha256: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=-3", DIGEST_NONE },
        { "x-amz-checksum-type: COMPOSITE\nx-amz-checksum-sha256: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", DIGEST_NONE },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[400];
        snprintf(text, sizeof(text), "206\nContent-Range: bytes 0-6/7\n%s", cases[i].head);
        assert_int_equal(o.ops->described(o.b, 0, "x", answer(text), NULL, 0, &meta), 0);
        assert_int_equal(meta.digest.algorithm, cases[i].algorithm);
    }
    closed(&o);

    o = opened("type = s3\nbucket = images\n"); /* unsigned, of Amazon */
    assert_string_equal(o.ops->endpoint_name(o.b, 0), "https://images.s3.us-east-1.amazonaws.com");
    assert_int_equal(o.ops->bytes(o.b, 0, "x", &meta, 0, 1, &q), 0);
    assert_string_equal(q.url, "https://images.s3.us-east-1.amazonaws.com/x");
    assert_null(q.aws_sigv4);
    transfer_request_clear(&q);
    assert_int_equal(o.ops->list(o.b, 0, NULL, &q), 0);
    assert_string_equal(q.url, "https://images.s3.us-east-1.amazonaws.com/?delimiter=%2F&encoding-type=url&list-type=2&max-keys=1000&prefix=");
    transfer_request_clear(&q);
    closed(&o);
    drop_file("secret");
}

static void s3_finds_its_key(void **state)
{
    (void) state;
    struct s3_credentials c = { 0 };
    char message[CONFIG_MESSAGE_MAX];
    clear_environment();
    put_file("credentials", "[default]\naws_access_key_id = AK\naws_secret_access_key = SK=;x/+\n\n[half]\naws_access_key_id = AK\n\n"
                            "[temporary]\naws_access_key_id=T\naws_secret_access_key=S\naws_session_token=tok==\n");
    struct config *config = configured("type = s3\nbucket = b\ncredentials_file = @/credentials\nprofile = temporary\n");
    assert_int_equal(s3_credentials_read(config, &c, message), 0);
    assert_string_equal(c.user_password, "T:S");
    assert_string_equal(c.session_token, "tok==");
    s3_credentials_clear(&c);
    config_free(config);

    /* Tokens of the security token service are long, and another client's nested settings are no names of ours. */
    char token[1500], text[2000];
    memset(token, '=', sizeof(token));
    token[sizeof(token) - 1] = '\0';
    snprintf(text, sizeof(text), "[ default ]\r\n  aws_access_key_id = T ; of today\r\n  aws_secret_access_key: S;#\r\ns3 =\n"
             "  aws_access_key_id = no\naws_session_token = %s\n", token);
    put_file("credentials", text);
    config = configured("type = s3\nbucket = b\ncredentials_file = @/credentials\n");
    assert_int_equal(s3_credentials_read(config, &c, message), 0);
    assert_string_equal(c.user_password, "T:S;#");
    assert_string_equal(c.session_token, token);
    s3_credentials_clear(&c);
    config_free(config);
    put_file("credentials", "[default]\naws_access_key_id\n");
    expect_refused("type = s3\nbucket = b\ncredentials_file = @/credentials\n", "cannot be read");
    expect_refused("type = s3\nbucket = b\nprefix = a/../b/\n", "prefix");
    expect_refused("type = s3\nbucket = b\nprefix = ./\n", "prefix");
    put_file("credentials", "[half]\naws_access_key_id = AK\n");

    config = configured("type = s3\nbucket = b\n");
    assert_int_equal(s3_credentials_read(config, &c, message), 0);
    assert_null(c.user_password);
    setenv("AWS_ACCESS_KEY_ID", "EK", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "ES", 1);
    assert_int_equal(s3_credentials_read(config, &c, message), 0);
    assert_string_equal(c.user_password, "EK:ES");
    s3_credentials_clear(&c);
    config_free(config);
    clear_environment();

    expect_refused("type = s3\nbucket = b\ncredentials_file = @/credentials\nprofile = half\n", "aws_secret_access_key");
    expect_refused("type = s3\nbucket = b\ncredentials_file = @/credentials\nprofile = none\n", "profile");
    expect_refused("type = s3\nbucket = b\ncredentials_file = @/missing\n", "cannot be read");
    expect_refused("type = s3\nbucket = b\naccess_key = a\n", "secret_key_file");
    expect_refused("type = s3\nbucket = b\naccess_key = a:b\n", "access_key");
    drop_file("credentials");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keystone_asks),    cmocka_unit_test(keystone_is_refused),
        cmocka_unit_test(keystone_answers), cmocka_unit_test(a_token_is_renewed_and_refused),
        cmocka_unit_test(glance_asks),      cmocka_unit_test(a_login_fails),
        cmocka_unit_test(swift_asks),       cmocka_unit_test(s3_asks),
        cmocka_unit_test(s3_finds_its_key),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
