/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: what is accepted. The files of this repository that repeat the table of options (the sample file,
 * the man page) are compared with it; with --sample, the program prints the sample file as it should be.
 */
#include "config-auto.h"

#include "config_file.h"

/* ---- what is accepted */

static void the_least_gives_the_defaults(void **state)
{
    struct config *c = load(CACHE FOLDER);
    (void)state;
    assert_string_equal(c->path, path);
    assert_string_equal(c->image_cache_dir, "/c");
    assert_true(c->image_cache_max_size == 10737418240);
    assert_int_equal(c->image_cache_stall_time, 86400);
    assert_string_equal(c->image_cache_sqlite_db, "cache.db");
    assert_string_equal(c->log_level, "info");
    assert_int_equal(c->fetch_policy, FETCH_WHOLE);
    assert_int_equal(c->fetch_whole_after, 8 << 20);
    assert_int_equal(c->streams, 4);
    assert_int_equal(c->read_ahead_max, 8 << 20);
    assert_int_equal(c->prefetch_concurrency, 4);
    assert_int_equal(c->background_rate, 0);
    assert_int_equal(c->list_ttl, 60);
    assert_int_equal(c->list_max, 1000000);
    assert_string_equal(c->type, "file");
    assert_string_equal(c->directory, "/srv");
    assert_non_null(c->urls);
    assert_null(c->urls[0]);
    assert_int_equal(c->url_count, 0);
    assert_null(c->list_url);
    assert_int_equal(c->checksum_file_count, 2);
    assert_string_equal(c->checksum_files[0], "SHA512SUMS");
    assert_string_equal(c->checksum_files[1], "SHA256SUMS");
    assert_null(c->checksum_files[2]);
    assert_null(c->user_file);
    assert_null(c->token_file);
    assert_null(c->ca_file);
    assert_null(c->client_cert_file);
    assert_null(c->client_key_file);
    assert_false(c->insecure);
    assert_null(c->proxy);
    assert_int_equal(c->connect_timeout, 10);
    assert_int_equal(c->stall_timeout, 30);
    assert_int_equal(c->stall_rate, 1024);
    assert_int_equal(c->retries, 6);
    assert_int_equal(c->retry_delay, 250);
    config_free(c);
}

static const char everything[] = "[DEFAULT]\n"
                                 "image_cache_dir = /var/cache/a b\n"
                                 "image_cache_max_size = 1T\n"
                                 "image_cache_stall_time=0\n"
                                 "image_cache_sqlite_db : other.db\n"
                                 "log_level = debug\n"
                                 "fetch_policy = demand\n"
                                 "fetch_whole_after = 0\n"
                                 "streams = 32\n"
                                 "read_ahead_max = 1 MiB\n"
                                 "prefetch_concurrency = 64\n"
                                 "background_rate = 100M\n"
                                 "list_ttl = 1\n"
                                 "\n"
                                 "[backend]\n"
                                 "type = http\n"
                                 "path = /srv/images\n"
                                 "url = http://a/{id} HTTPS://b:8443/images/{id}.img\n"
                                 "    http://[::1]:80\n"
                                 "list_url = none\n"
                                 "checksums = MD5SUMS\n"
                                 "token_file = /t\n"
                                 "ca_file = /ca\n"
                                 "client_cert_file = /cert\n"
                                 "client_key_file = /key\n"
                                 "insecure = yes\n"
                                 "proxy = http://squid:3128\n"
                                 "connect_timeout = 1\n"
                                 "stall_timeout = 3600\n"
                                 "stall_rate = 1K\n"
                                 "retries = 0\n"
                                 "retry_delay = 1\n";

static void expect_everything(const struct config *c)
{
    assert_string_equal(c->image_cache_dir, "/var/cache/a b");
    assert_true(c->image_cache_max_size == UINT64_C(1) << 40);
    assert_int_equal(c->image_cache_stall_time, 0);
    assert_string_equal(c->image_cache_sqlite_db, "other.db");
    assert_string_equal(c->log_level, "debug");
    assert_int_equal(c->fetch_policy, FETCH_DEMAND);
    assert_int_equal(c->fetch_whole_after, 0);
    assert_int_equal(c->streams, 32);
    assert_int_equal(c->read_ahead_max, 1 << 20);
    assert_int_equal(c->prefetch_concurrency, 64);
    assert_int_equal(c->background_rate, 100 << 20);
    assert_int_equal(c->list_ttl, 1);
    assert_string_equal(c->type, "http");
    assert_string_equal(c->directory, "/srv/images");
    assert_int_equal(c->url_count, 3);
    assert_string_equal(c->urls[0], "http://a/{id}");
    assert_string_equal(c->urls[1], "HTTPS://b:8443/images/{id}.img");
    assert_string_equal(c->urls[2], "http://[::1]:80");
    assert_null(c->urls[3]);
    assert_string_equal(c->list_url, "none");
    assert_int_equal(c->checksum_file_count, 1);
    assert_string_equal(c->checksum_files[0], "MD5SUMS");
    assert_null(c->user_file);
    assert_string_equal(c->token_file, "/t");
    assert_string_equal(c->ca_file, "/ca");
    assert_string_equal(c->client_cert_file, "/cert");
    assert_string_equal(c->client_key_file, "/key");
    assert_true(c->insecure);
    assert_string_equal(c->proxy, "http://squid:3128");
    assert_int_equal(c->connect_timeout, 1);
    assert_int_equal(c->stall_timeout, 3600);
    assert_int_equal(c->stall_rate, 1024);
    assert_int_equal(c->retries, 0);
    assert_int_equal(c->retry_delay, 1);
}

static void everything_can_be_set(void **state)
{
    struct config *c = load(everything);
    (void)state;
    expect_everything(c);
    config_free(c);
}

static void windows_line_ends_and_bom_are_fine(void **state)
{
    char text[2 * sizeof everything + 4] = "\xef\xbb\xbf", *out = text + 3;
    (void)state;
    for (const char *in = everything; *in != '\0'; in++) {
        if (*in == '\n')
            *out++ = '\r';
        *out++ = *in;
    }
    *out = '\0';
    struct config *c = load(text);
    expect_everything(c);
    config_free(c);
    c = load("\xef\xbb\xbf  [DEFAULT]\nimage_cache_dir = /c\n" FOLDER);
    config_free(c);
}

static void comments_and_blanks_are_passed_over(void **state)
{
    struct config *c = load("# one\n; two\n\n   \n[DEFAULT] ; here\n  # indented\nimage_cache_dir = /c ; inline\n\n"
                            "streams = 7 ;x\n  ; indented\n[backend]\n\n path = /srv\n[DEFAULT]\nlist_ttl = 9");
    (void)state;
    assert_string_equal(c->image_cache_dir, "/c");
    assert_int_equal(c->streams, 7);
    assert_string_equal(c->directory, "/srv");
    assert_int_equal(c->list_ttl, 9); /* a section may come twice, and the last line lack its end */
    config_free(c);
}

static void urls_may_stand_on_lines_of_their_own(void **state)
{
    struct config *c =
        load(CACHE HTTP "url =\n  http://a/{id}\n\n  # the far one\n\thttp://b/{id} http://c/{id} ; inline\n"
                        "checksums = A\n  B\n");
    (void)state;
    assert_int_equal(c->url_count, 3);
    assert_string_equal(c->urls[0], "http://a/{id}");
    assert_string_equal(c->urls[1], "http://b/{id}");
    assert_string_equal(c->urls[2], "http://c/{id}");
    assert_int_equal(c->checksum_file_count, 2);
    assert_string_equal(c->checksum_files[1], "B");
    assert_null(c->checksum_files[2]);
    config_free(c);
}

static void none_empties_the_checksums(void **state)
{
    struct config *c = load(CACHE FOLDER "checksums = none\n");
    (void)state;
    assert_int_equal(c->checksum_file_count, 0);
    assert_null(c->checksum_files[0]);
    config_free(c);
}

static void booleans_have_many_words(void **state)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off",   "on",
                                        "0",  "1",   "No",    "YES",  "False", "True"};
    char text[128];
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        snprintf(text, sizeof text, CACHE FOLDER "insecure = %s\n", words[i]);
        struct config *c = load(text);
        assert_int_equal(c->insecure, i % 2);
        config_free(c);
    }
}

static void where_names_file_and_line(void **state)
{
    struct config *c = load(CACHE "\n" FOLDER), handmade = {.path = NULL};
    char expected[128];
    (void)state;
    snprintf(expected, sizeof expected, "%s:2", path);
    assert_string_equal(config_where(c, "DEFAULT", "image_cache_dir"), expected);
    snprintf(expected, sizeof expected, "%s:5", path);
    assert_string_equal(config_where(c, "backend", "path"), expected);
    assert_string_equal(config_where(c, "backend", "url"), path);
    config_free(c);
    assert_string_equal(config_where(&handmade, "backend", "url"), "the configuration");
    config_free(NULL);
}

static void sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t value;
    } good[] = {
        {"0", 0},
        {"4096", 4096},
        {"1K", 1024},
        {"1k", 1024},
        {"1KB", 1024},
        {"1KiB", 1024},
        {"512 MiB", 512 << 20},
        {"3\tG", UINT64_C(3) << 30},
        {"2T", UINT64_C(2) << 40},
        {"2tib", UINT64_C(2) << 40},
        {"7B", 7},
        {"7 b", 7},
        {"007", 7},
        {"18446744073709551615", UINT64_MAX},
        {"16777215T", UINT64_C(16777215) << 40},
    };
    static const char *const bad[] = {"",   " 1",   "-1",  "+1",  "1.5G",  "G",   "1X",  "1GG", "1 G B", "1iB",
                                      "1P", "0x10", "1G ", "1Gi", "1,000", "1e6", "ten", "1BB", "1KBi"};
    static const char *const large[] = {"18446744073709551616", "16777216T", "99999999999999999999999",
                                        "18014398509481984K"};
    uint64_t value = 42;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(config_parse_size(good[i].text, &value), 0);
        assert_true(value == good[i].value);
    }
    value = 42;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(config_parse_size(bad[i], &value), -EINVAL);
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
        assert_int_equal(config_parse_size(large[i], &value), -ERANGE);
    assert_int_equal(value, 42);
}

/* ---- the texts made from the table */

/* What PRINT writes for CONFIG; free() it. */
static char *printed(const struct config *config)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    if (config != NULL)
        config_dump(config, out);
    else
        config_dump_sample(out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void a_dump_loads_to_the_same(void **state)
{
    static const char *const texts[] = {everything, CACHE FOLDER,
                                        CACHE HTTP "url = http://a\nchecksums = none\nuser_file = /u\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct config *c = load(texts[i]);
        char *first = printed(c);
        config_free(c);
        c = load(first);
        if (texts[i] == everything)
            expect_everything(c);
        char *second = printed(c);
        config_free(c);
        assert_string_equal(first, second);
        free(first);
        free(second);
    }
}

/* A file of the repository; free() it. */
static char *read_source(const char *name)
{
    char file_name[4096], *text = NULL;
    size_t size = 0;
    const char *srcdir = getenv("srcdir"); /* of this folder, as automake gives it */
    snprintf(file_name, sizeof file_name, "%s/../../%s", srcdir != NULL ? srcdir : ".", name);
    FILE *file = fopen(file_name, "re");
    if (file == NULL || getdelim(&text, &size, '\0', file) < 0)
        fail_msg("cannot read %s", file_name);
    fclose(file);
    return text;
}

static void the_sample_is_what_the_table_says(void **state)
{
    char *sample = printed(NULL), *file = read_source("conf/glance-cache.conf");
    (void)state;
    if (strcmp(sample, file) != 0)
        fail_msg("conf/glance-cache.conf is not what the table says: write it anew with test_config --sample");
    struct config *c = load(sample);
    assert_string_equal(c->type, "file");
    config_free(c);
    free(sample);
    free(file);
}

/* Taking the comment sign from any option of the sample leaves a file that loads. */
static void each_line_of_the_sample_is_good(void **state)
{
    char *sample = printed(NULL);
    size_t count;
    const struct config_option *options = config_options(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        char line[128], section[64];
        snprintf(section, sizeof section, "[%s]\n", options[i].section);
        snprintf(line, sizeof line, "\n#%s = ", options[i].name);
        char *from = strstr(sample, section);
        assert_non_null(from);
        char *at = strstr(from, line);
        if (strstr(options[i].name, "_key_file") != NULL || at == NULL)
            continue; /* not without its certificate; not a comment */
        char *copy = strdup(sample);
        assert_non_null(copy);
        copy[at + 1 - sample] = ' ';
        copy[at - sample] = '\n';
        memmove(copy + (at - sample) + 1, copy + (at - sample) + 2, strlen(copy + (at - sample) + 2) + 1);
        struct config *c = load(copy);
        assert_non_null(strrchr(config_where(c, options[i].section, options[i].name), ':'));
        config_free(c);
        free(copy);
    }
    free(sample);
}

/* In the man page an option is an item of its own, with its default on the line behind it. */
static void the_man_page_names_every_option(void **state)
{
    char *page = read_source("doc/glance-cache.conf.5");
    size_t count;
    const struct config_option *options = config_options(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        char item[160];
        if (options[i].fallback != NULL)
            snprintf(item, sizeof item, "\n.It Ic %s No = Ar value Pq default : Li %s\n", options[i].name,
                     options[i].fallback);
        else
            snprintf(item, sizeof item, "\n.It Ic %s No = Ar value", options[i].name);
        if (strstr(page, item) == NULL)
            fail_msg("doc/glance-cache.conf.5 lacks%s", item);
    }
    free(page);
}

static void the_table_is_sound(void **state)
{
    size_t count;
    const struct config_option *options = config_options(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        const struct config_option *o = &options[i];
        bool number = o->type == CONFIG_SIZE || o->type == CONFIG_SECONDS || o->type == CONFIG_MILLISECONDS ||
                      o->type == CONFIG_COUNT || o->type == CONFIG_SHARE || o->type == CONFIG_INTERVAL;
        assert_int_equal(number, o->unit != NULL);
        assert_true(number ? o->min < o->max : o->min == 0 && o->max == 0);
        assert_true((o->fallback == NULL) != (o->example == NULL));
        assert_true(o->type == CONFIG_WORDS || (o->type == CONFIG_CHOICE || o->type == CONFIG_ENUM) == (o->choices != NULL));
        assert_int_equal(o->type == CONFIG_WORDS, o->count_offset != 0);
        assert_true(strlen(o->text) > 10 && o->text[strlen(o->text) - 1] == '.');
        assert_true(o->offset < sizeof(struct config));
        for (size_t j = 0; j < i; j++) {
            assert_true(strcmp(options[j].name, o->name) != 0 || strcmp(options[j].section, o->section) != 0);
            assert_true(options[j].offset != o->offset);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--sample") == 0) {
        config_dump_sample(stdout);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_gives_the_defaults),
        cmocka_unit_test(everything_can_be_set),
        cmocka_unit_test(windows_line_ends_and_bom_are_fine),
        cmocka_unit_test(comments_and_blanks_are_passed_over),
        cmocka_unit_test(urls_may_stand_on_lines_of_their_own),
        cmocka_unit_test(none_empties_the_checksums),
        cmocka_unit_test(booleans_have_many_words),
        cmocka_unit_test(where_names_file_and_line),
        cmocka_unit_test(sizes),
        cmocka_unit_test(a_dump_loads_to_the_same),
        cmocka_unit_test(the_sample_is_what_the_table_says),
        cmocka_unit_test(each_line_of_the_sample_is_good),
        cmocka_unit_test(the_man_page_names_every_option),
        cmocka_unit_test(the_table_is_sound),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
