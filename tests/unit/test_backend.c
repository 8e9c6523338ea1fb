/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends: what they ask, and what they make of answers. No network.
 */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "answer.h"
#include "backends/backend.h"
#include "backends/listing/listing.h"
#include "base/secret.h"

#define MD5_HEX "a8bfa7e0d8842937c6fd0d67204abce8"

/* ---- a folder and a configuration for those that need them */

struct fixture {
    char folder[64];
    char message[CONFIG_MESSAGE_MAX];
    struct config *config;
    const struct backend_ops *ops;
    struct backend *backend;
};

static const char *path_in(const struct fixture *f, const char *name)
{
    static char path[600];
    snprintf(path, sizeof(path), "%s/%s", f->folder, name);
    return path;
}

static void write_file(const struct fixture *f, const char *name, mode_t mode, const char *text)
{
    FILE *file = fopen(path_in(f, name), "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path_in(f, name), mode), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    strcpy(f->folder, "/tmp/test_backend.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    assert_int_equal(mkdir(path_in(f, "cache"), 0700), 0);
    *state = f;
    return 0;
}

static void close_backend(struct fixture *f)
{
    if (f->backend)
        f->ops->close(f->backend);
    f->backend = NULL;
    config_free(f->config);
    f->config = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close_backend(f);
    transfer_headers_clear(&answering.headers);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* Opens the backend of a configuration whose [backend] section is BACKEND. */
static int open_backend(struct fixture *f, const char *backend)
{
    close_backend(f);
    char text[4000];
    snprintf(text, sizeof(text), "[DEFAULT]\nimage_cache_dir = %s/cache\n[backend]\n%s", f->folder, backend);
    write_file(f, "conf", 0600, text);
    f->message[0] = '\0';
    if (config_load(path_in(f, "conf"), &f->config, f->message) < 0)
        fail_msg("%s", f->message);
    return backend_open(f->config, &f->ops, &f->backend, f->message);
}

static void must_open(struct fixture *f, const char *backend)
{
    if (open_backend(f, backend) < 0)
        fail_msg("%s", f->message);
}

static void must_refuse(struct fixture *f, const char *backend, unsigned line, const char *says)
{
    char where[128];
    assert_int_equal(open_backend(f, backend), -EINVAL);
    snprintf(where, sizeof(where), "%s/conf:%u: ", f->folder, line);
    if (strncmp(f->message, where, strlen(where)) != 0 || !strstr(f->message, says))
        fail_msg("message: %s", f->message);
    assert_null(f->backend);
}

static void expect_header(const struct transfer_request *q, const char *name, const char *value)
{
    const char *found = transfer_request_find(q, name);
    if (value) {
        assert_non_null(found);
        assert_string_equal(found, value);
    } else {
        assert_null(found);
    }
}

/* ---- http */

static void test_http_requests(void **state)
{
    struct fixture *f = *state;
    must_open(f, "type = http\nurl = http://h/i http://k:81/{id}\n");
    assert_string_equal(f->ops->type, "http");
    assert_int_equal(f->ops->endpoints(f->backend), 2);
    assert_string_equal(f->ops->endpoint_name(f->backend, 0), "http://h/i");

    struct transfer_request q;
    assert_int_equal(f->ops->describe(f->backend, 1, "a b", 65536, &q), 0);
    assert_string_equal(q.url, "http://k:81/a%20b");
    assert_true(q.ranged && q.first == 0 && q.last == 65535 && !q.method && !q.user_password && q.header_count == 0);
    transfer_request_clear(&q);

    assert_int_equal(f->ops->describe_again(f->backend, 0, "a", &q), 0);
    assert_string_equal(q.method, "HEAD");
    assert_false(q.ranged);
    transfer_request_clear(&q);
    assert_int_equal(f->ops->describe(f->backend, 0, "SHA256SUMS", 65536, &q), -ENOENT);

    struct image_meta meta;
    static const char text[] =
        "206\nContent-Range: bytes 0-3/1000\nETag: \"v1\"\nLast-Modified: M1\nContent-MD5: " MD5_HEX;
    assert_int_equal(f->ops->described(f->backend, 1, "a", answer(text), "", 0, &meta), 0);
    assert_int_equal(meta.size, 1000);
    assert_int_equal(meta.digest.algorithm, DIGEST_MD5);
    assert_int_equal(f->ops->bytes(f->backend, 1, "a", &meta, 10, 20, &q), 0);
    assert_true(q.ranged && q.first == 10 && q.last == 20);
    expect_header(&q, "If-Match", "\"v1\"");
    expect_header(&q, "If-Range", NULL);
    transfer_request_clear(&q);
    assert_int_equal(f->ops->bytes(f->backend, 0, "a", &meta, 10, 20, &q),
                     0); /* another server: its etag is not known */
    assert_int_equal(q.header_count, 0);
    transfer_request_clear(&q);
    strcpy(meta.etag, "W/\"v1\"");
    assert_int_equal(f->ops->bytes(f->backend, 1, "a", &meta, 10, 20, &q), 0);
    expect_header(&q, "If-Match", NULL);
    expect_header(&q, "If-Range", "M1");
    transfer_request_clear(&q);
}

static void test_digests(void **state)
{
    struct fixture *f = *state;
    char text[800], expected[600];
    static const struct { const char *name; enum digest_algorithm algorithm; } names[] = {
        { "SHA256SUMS", DIGEST_SHA256 },
        { "sha1sum.txt", DIGEST_SHA1 },
        { "MD5SUMS", DIGEST_MD5 },
        { "x.SHA512", DIGEST_SHA512 },
    };
    assert_int_equal(mkdir(path_in(f, "images"), 0700), 0);
    for (unsigned http = 0; http < 2; http++) {
        snprintf(text, sizeof(text), "type = %s\n%s%s%s\nchecksums = SHA256SUMS sha1sum.txt MD5SUMS x.SHA512\n",
                 http ? "http" : "file", http ? "url = http://h/i/{id}?k=s" : "path = ", http ? "" : f->folder,
                 http ? "" : "/images");
        must_open(f, text);
        struct transfer_request q;
        const char *name;
        enum digest_algorithm algorithm;
        for (unsigned n = 0; n < 4; n++) {
            assert_int_equal(f->ops->digests(f->backend, 0, n, &q, &name, &algorithm), 0);
            snprintf(expected, sizeof(expected), "%s/i%s/%s%s", http ? "http://h" : f->folder, http ? "" : "mages",
                     names[n].name, http ? "?k=s" : "");
            assert_string_equal(http ? q.url : q.path, expected);
            assert_false(q.ranged);
            assert_string_equal(name, names[n].name);
            assert_int_equal(algorithm, names[n].algorithm);
            transfer_request_clear(&q);
        }
        assert_int_equal(f->ops->digests(f->backend, 0, 4, &q, &name, &algorithm), -ENOENT);
    }
    must_open(f, "type = http\nurl = http://h/\nchecksums = none\n");
    struct transfer_request q;
    const char *name;
    enum digest_algorithm algorithm;
    assert_int_equal(f->ops->digests(f->backend, 0, 0, &q, &name, &algorithm), -ENOENT);
}

static void test_http_credentials(void **state)
{
    struct fixture *f = *state;
    struct transfer_request q;
    char text[800];

    write_file(f, "user", 0600, "me:pass:word\n");
    snprintf(text, sizeof(text), "type = http\nurl = https://h/\nuser_file = %s\n", path_in(f, "user"));
    must_open(f, text);
    assert_int_equal(f->ops->bytes(f->backend, 0, "a", &(struct image_meta){ 0 }, 0, 0, &q), 0);
    assert_string_equal(q.user_password, "me:pass:word");
    transfer_request_clear(&q);

    write_file(f, "token", 0600, "abc.def\r\n");
    snprintf(text, sizeof(text), "type = http\nurl = https://h/\ntoken_file = %s\n", path_in(f, "token"));
    must_open(f, text);
    assert_int_equal(f->ops->list(f->backend, 0, NULL, &q), 0);
    assert_null(q.user_password);
    expect_header(&q, "Authorization", "Bearer abc.def");
    transfer_request_clear(&q);

    static const struct { const char *name, *text, *says; } bad[] = {
        { "missing", NULL, "No such file" },
        { "empty", "", "is empty" },
        { "blank", "\n", "is empty" },
        { "two", "a:b\nc:d\n", "one line" },
        { "colon", "no-colon\n", "user:password" },
        { "cache", NULL, "regular file" },
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (bad[i].text)
            write_file(f, bad[i].name, 0600, bad[i].text);
        snprintf(text, sizeof(text), "type = http\nurl = https://h/\nuser_file = %s\n", path_in(f, bad[i].name));
        must_refuse(f, text, 6, bad[i].says);
        assert_null(strstr(f->message, "no-colon"));
    }
    if (geteuid() != 0) {
        write_file(f, "closed", 0, "a:b\n");
        snprintf(text, sizeof(text), "type = http\nurl = https://h/\nuser_file = %s\n", path_in(f, "closed"));
        must_refuse(f, text, 6, "Permission denied");
    }
}

/* A file that everyone may read is used, with a warning. */
static void test_secret_mode(void **state)
{
    struct fixture *f = *state;
    static const struct { mode_t mode; bool warns; } cases[] = { { 0600, false }, { 0640, false }, { 0644, true } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file(f, "secret", cases[i].mode, "hush");
        char path[600], *secret;
        snprintf(path, sizeof(path), "%s", path_in(f, "secret"));
        int saved = dup(STDERR_FILENO), log = open(path_in(f, "log"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(saved >= 0 && log >= 0 && dup2(log, STDERR_FILENO) >= 0);
        int r = secret_read(path, &secret);
        fflush(stderr);
        dup2(saved, STDERR_FILENO);
        close(saved);
        char line[1000] = "";
        assert_true(pread(log, line, sizeof(line) - 1, 0) >= 0);
        close(log);
        assert_int_equal(r, 0);
        assert_string_equal(secret, "hush");
        assert_int_equal(strstr(line, path) != NULL, cases[i].warns);
        assert_null(strstr(line, "hush"));
        secret_free(secret);
    }
}

static int note(void *context, const struct listed_image *image)
{
    char *found = context;
    sprintf(found + strlen(found), "%s %" PRIu64 "\n", image->name, image->size);
    return 0;
}

static void expect_list_url(struct fixture *f, const char *backend, unsigned endpoint, const char *url)
{
    struct transfer_request q;
    must_open(f, backend);
    int r = f->ops->list(f->backend, endpoint, NULL, &q);
    assert_int_equal(r, url ? 0 : -ENOTSUP);
    if (!url)
        return;
    assert_string_equal(q.url, url);
    assert_false(q.ranged);
    transfer_request_clear(&q);
}

static void test_http_list(void **state)
{
    struct fixture *f = *state;
    expect_list_url(f, "type = http\nurl = http://h/i http://k/{id}\n", 1, "http://k/");
    expect_list_url(f, "type = http\nurl = http://h/i\nlist_url = http://l/x?y=1\n", 0, "http://l/x?y=1");
    expect_list_url(f, "type = http\nurl = http://h/i\nlist_url = none\n", 0, NULL);
    expect_list_url(f, "type = http\nurl = http://h/{id}/raw\n", 0, NULL);

    must_open(f, "type = http\nurl = http://h/i\n");
    static const struct { const char *head, *body, *found; } good[] = {
        { "200\nContent-Type: application/json", "[{\"name\":\"a\",\"type\":\"file\",\"size\":1}]", "a 1\n" },
        { "200\nContent-Type: application/json; charset=utf-8",
          "[{\"name\":\"SHA512SUMS\",\"type\":\"file\",\"size\":1}]", "" },
        { "200\nContent-Type: application/octet-stream", "\r\n[{\"name\":\"a\",\"type\":\"file\",\"size\":1}]",
          "a 1\n" },
        { "200\nContent-Type: text/html", "<a href=a>a</a> 22-Nov-2026 17:45 1\n<a href=SHA256SUMS>", "a 1\n" },
        { "200", "<a href=a>a</a> 22-Nov-2026 17:45 1\n", "a 1\n" },
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct listing *l;
        const char *marker;
        char found[200] = "";
        assert_int_equal(f->ops->listing(f->backend, answer(good[i].head), note, found, &l), 0);
        assert_int_equal(listing_feed(l, good[i].body, strlen(good[i].body)), 0);
        assert_int_equal(listing_end(l, &marker), 0);
        listing_free(l);
        assert_string_equal(found, good[i].found);
    }
    static const struct { const char *head; int error; } bad[] = {
        { "403", -ENOTSUP },
        { "404", -ENOTSUP },
        { "405", -ENOTSUP },
        { "401", -EACCES },
        { "503", -EAGAIN },
        { "204", -EPROTO },
        { "206\nContent-Range: bytes 0-1/5", -EPROTO },
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct listing *l;
        assert_int_equal(f->ops->listing(f->backend, answer(bad[i].head), note, NULL, &l), bad[i].error);
    }
}

static void expect_credentials(struct fixture *f, unsigned endpoint, const char *of_bytes, const char *of_list)
{
    struct transfer_request q;
    assert_int_equal(f->ops->bytes(f->backend, endpoint, "a", &(struct image_meta){ 0 }, 0, 0, &q), 0);
    assert_null(strchr(q.url, '@'));
    assert_null(strchr(f->ops->endpoint_name(f->backend, endpoint), '@'));
    assert_string_equal(q.user_password, of_bytes);
    transfer_request_clear(&q);
    assert_int_equal(f->ops->list(f->backend, endpoint, NULL, &q), 0);
    assert_null(strchr(q.url, '@'));
    if (of_list)
        assert_string_equal(q.user_password, of_list);
    else
        assert_null(q.user_password);
    transfer_request_clear(&q);
}

/* Credentials in a url go to its own server only. A configuration read from a file may refuse them: they are put in
 * here. */
static void test_http_userinfo(void **state)
{
    struct fixture *f = *state;
    static const char *const list_urls[] = { NULL, "http://h:80/list", "http://h:801/list", "http://h",
                                             "http://x:y@l/" };
    static const char *const of_list[][2] = {
        { "u:p", "v:q" }, { "u:p", NULL }, { NULL, NULL }, { NULL, NULL }, { "x:y", "x:y" },
    };
    for (size_t i = 0; i < sizeof(list_urls) / sizeof(list_urls[0]); i++) {
        must_open(f, "type = http\nurl = http://h/ http://k/\n");
        f->ops->close(f->backend);
        f->backend = NULL;
        free(f->config->urls[0]);
        free(f->config->urls[1]);
        f->config->urls[0] = strdup("http://u:p@h:80/");
        f->config->urls[1] = strdup("http://v:q@k/");
        if (list_urls[i])
            f->config->list_url = strdup(list_urls[i]);
        assert_int_equal(backend_open(f->config, &f->ops, &f->backend, f->message), 0);
        expect_credentials(f, 0, "u:p", of_list[i][0]);
        expect_credentials(f, 1, "v:q", of_list[i][1]);
    }
}

static void test_http_refused(void **state)
{
    struct fixture *f = *state;
    must_refuse(f, "type = http\nurl = http://h/ http://k/{id}/{id}\n", 5, "url 2 of 2 has more than one {id}");
    must_refuse(f, "type = http\nurl = http://h/\nlist_url = http://h/{id}\n", 6, "cannot hold {id}");
    must_refuse(f, "type = http\nurl = http://h/\nchecksums = SHA256SUMS B2SUMS\n", 6, "\"B2SUMS\"");
}

/* ---- file */

static void test_file_requests(void **state)
{
    struct fixture *f = *state;
    char text[800], expected[600];
    snprintf(text, sizeof(text), "type = file\npath = %s/images\n", f->folder);
    must_refuse(f, text, 5, "No such file");
    assert_int_equal(mkdir(path_in(f, "images"), 0700), 0);
    must_open(f, text);
    assert_string_equal(f->ops->type, "file");
    assert_int_equal(f->ops->endpoints(f->backend), 1);
    assert_string_equal(f->ops->endpoint_name(f->backend, 0), path_in(f, "images"));
    snprintf(expected, sizeof(expected), "%s/images/a%%2f b", f->folder);

    struct transfer_request q;
    assert_int_equal(f->ops->describe(f->backend, 0, "a%2f b", 65536, &q), 0);
    assert_string_equal(q.path, expected);
    assert_true(!q.url && q.ranged && q.first == 0 && q.last == 65535);
    transfer_request_clear(&q);
    assert_int_equal(f->ops->describe(f->backend, 0, "SHA512SUMS", 65536, &q), -ENOENT);

    struct image_meta meta;
    assert_int_equal(
        f->ops->described(f->backend, 0, "a", answer("206\nContent-Range: bytes 0-3/9\nETag: \"1-2-3\""), "", 0, &meta),
        0);
    assert_int_equal(meta.size, 9);
    assert_int_equal(f->ops->bytes(f->backend, 0, "a%2f b", &meta, 4, 8, &q), 0);
    assert_string_equal(q.path, expected);
    assert_true(q.ranged && q.first == 4 && q.last == 8);
    expect_header(&q, "If-Match", "\"1-2-3\"");
    transfer_request_clear(&q);
    assert_int_equal(f->ops->described(f->backend, 0, "a", answer("404"), "", 0, &meta), -ENOENT);
}

static void test_file_list(void **state)
{
    struct fixture *f = *state;
    char text[800];
    assert_int_equal(mkdir(path_in(f, "images"), 0700), 0);
    assert_int_equal(mkdir(path_in(f, "images/folder"), 0700), 0);
    assert_int_equal(mkfifo(path_in(f, "images/pipe"), 0600), 0);
    write_file(f, "images/SHA256SUMS", 0600, "x");
    write_file(f, "images/.hidden", 0600, "x");
    write_file(f, "images/odd\nname", 0600, "x");
    assert_int_equal(symlink("nowhere", path_in(f, "images/dangling")), 0);
    assert_int_equal(symlink("folder", path_in(f, "images/to-folder")), 0);
    snprintf(text, sizeof(text), "type = file\npath = %s/images\n", f->folder);
    must_open(f, text);
    char found[500] = "";
    assert_int_equal(f->ops->list_here(f->backend, note, found), 0);
    assert_string_equal(found, "");
    write_file(f, "images/a.img", 0600, "1234567");
    assert_int_equal(f->ops->list_here(f->backend, note, found), 0);
    assert_string_equal(found, "a.img 7\n");
    found[0] = '\0';
    assert_int_equal(unlink(path_in(f, "images/a.img")), 0);
    write_file(f, "target", 0600, "12345");
    assert_int_equal(symlink("../target", path_in(f, "images/link.img")), 0); /* of the file's size, not the link's */
    assert_int_equal(f->ops->list_here(f->backend, note, found), 0);
    assert_string_equal(found, "link.img 5\n");
}

static void test_file_refused(void **state)
{
    struct fixture *f = *state;
    char text[800];
    write_file(f, "plain", 0600, "x");
    snprintf(text, sizeof(text), "type = file\npath = %s/plain\n", f->folder);
    must_refuse(f, text, 5, "not a folder");
    assert_int_equal(symlink("cache", path_in(f, "link")), 0);
    snprintf(text, sizeof(text), "type = file\npath = %s/link\n", f->folder);
    must_refuse(f, text, 5, "is the cache itself");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_http_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_digests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_http_credentials, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secret_mode, setup, teardown),
        cmocka_unit_test_setup_teardown(test_http_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_http_userinfo, setup, teardown),
        cmocka_unit_test_setup_teardown(test_http_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_refused, setup, teardown),
    };
    return cmocka_run_group_tests_name("backend", tests, NULL, NULL);
}
