/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: for each kind of mistake, the one line that the operator gets. */
#include "config-auto.h"

#include "config_file.h"

/* Loading fails, and the message is EXPECTED, in which "F" at the start stands for the file. */
static void expect_error_bytes(const char *data, size_t length, const char *expected)
{
    struct config *untouched = (void *)path, *config = untouched;
    char message[CONFIG_MESSAGE_MAX] = "", whole[1024];
    write_bytes(data, length);
    assert_int_equal(config_load(path, &config, message), -EINVAL);
    assert_ptr_equal(config, untouched);
    snprintf(whole, sizeof whole, "%s%s", path, expected + 1);
    assert_string_equal(message, whole);
}

static void expect_error(const char *text, const char *expected)
{
    expect_error_bytes(text, strlen(text), expected);
}

/* ---- mistakes in a value */

static void numbers_have_bounds(void **state)
{
    size_t count;
    const struct config_option *options = config_options(&count);
    static const char needed[] = "\nauth = keystone\nauth_url = http://k\nimage_url = http://g\n"; /* by some of [api] */
    (void)state;
    for (size_t i = 0; i < count; i++) {
        const struct config_option *o = &options[i];
        char text[512];
        if (o->unit == NULL)
            continue;
        for (int way = 0; way < 4; way++) {
            uint64_t value = way == 0 ? o->min : way == 1 ? o->max : way == 2 ? o->max + 1 : o->min - 1;
            snprintf(text, sizeof text, CACHE FOLDER "[%s]\n%s = %ju%s", o->section, o->name, (uintmax_t)value,
                     strcmp(o->section, "api") == 0 ? needed : "\n");
            struct config *c = NULL;
            char message[CONFIG_MESSAGE_MAX] = "";
            write_bytes(text, strlen(text));
            assert_int_equal(config_load(path, &c, message), way < 2 ? 0 : -EINVAL); /* 0 - 1 is too large for all */
            if (way < 2)
                assert_true(*(uint64_t *)(void *)((char *)c + o->offset) == value);
            else
                assert_non_null(strstr(message, ":6: "));
            config_free(c);
        }
    }
}

static void wrong_numbers_are_explained(void **state)
{
    static const char *const wrong[] = {
        "99", "0", "-1", "four", "4 # of them", "4.5", "0x4", "4K", "99999999999999999999"};
    char text[128], expected[256];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(text, sizeof text, CACHE "streams = %s\n" FOLDER, wrong[i]);
        snprintf(expected, sizeof expected, "F:3: streams = %s: expected a number from 1 to 32 (connections)",
                 wrong[i]);
        expect_error(text, expected);
    }
    expect_error(
        CACHE "image_cache_max_size = 10X\n",
        "F:3: image_cache_max_size = 10X: expected a size from 0 to 1048576T (bytes; K, M, G or T may follow)");
    expect_error(CACHE "background_rate = 2T\n",
                 "F:3: background_rate = 2T: expected a size from 0 to 1T (bytes per second; K, M, G or T may follow)");
}

static void wrong_words_are_explained(void **state)
{
    (void)state;
    expect_error(CACHE "fetch_policy = lazy\n", "F:3: fetch_policy = lazy: expected one of whole, demand");
    expect_error(CACHE "log_level = INFO\n",
                 "F:3: log_level = INFO: expected one of error, warning, notice, info, debug");
    expect_error(CACHE "[backend]\ntype = https\n", "F:4: type = https: expected one of file, http, glance, swift, s3");
    expect_error(CACHE "[backend]\ninsecure = maybe\n", "F:4: insecure = maybe: expected yes or no");
    expect_error(
        CACHE "[backend]\nchecksums = A # the best\n",
        "F:4: checksums = A # the best: expected words, separated by blanks or each on an indented line, none of them "
        "beginning with #");
    expect_error(CACHE FOLDER "checksums = A none\n", "F:5: checksums: \"none\" must stand alone");
}

static void wrong_paths_are_explained(void **state)
{
    (void)state;
    expect_error("[DEFAULT]\nimage_cache_dir = cache\n", "F:2: image_cache_dir = cache: expected an absolute path");
    expect_error("[DEFAULT]\nimage_cache_dir = \"/c\"\n",
                 "F:2: image_cache_dir = \"/c\": write the value without quotation marks");
    expect_error(CACHE "[backend]\npath = ~/images\n", "F:4: path = ~/images: expected an absolute path");
    expect_error(
        CACHE "image_cache_sqlite_db = /x/cache.db\n" FOLDER,
        "F:3: image_cache_sqlite_db = /x/cache.db: expected the name of a file in image_cache_dir, without a /");
    expect_error(CACHE "image_cache_sqlite_db = ..\n" FOLDER,
                 "F:3: image_cache_sqlite_db = ..: expected the name of a file in image_cache_dir, without a /");
    expect_error(CACHE FOLDER "checksums = A sums/B\n",
                 "F:5: checksums = sums/B: expected names of files beside the images, without a /");
}

static void the_images_are_not_in_the_cache(void **state)
{
    (void)state;
    expect_error(CACHE "[backend]\npath = /c\n",
                 "F:4: path = /c is in image_cache_dir, which holds only the cache: name another folder");
    expect_error("[DEFAULT]\nimage_cache_dir = /c/\n[backend]\npath = /c/incomplete\n",
                 "F:4: path = /c/incomplete is in image_cache_dir, which holds only the cache: name another folder");
    expect_error("[DEFAULT]\nimage_cache_dir = /c//\n[backend]\npath = /c\n",
                 "F:4: path = /c is in image_cache_dir, which holds only the cache: name another folder");
    config_free(load(CACHE "[backend]\npath = /c2\n"));
    config_free(load("[DEFAULT]\nimage_cache_dir = /srv/cache\n" FOLDER));
}

static void wrong_urls_are_explained(void **state)
{
    static const char *const wrong[] = {"ftp://a/", "a/b", "http:/a", "http://", "https:///x", "http://?x", "{id}"};
    char text[128], expected[256];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(text, sizeof text, CACHE HTTP "url = http://good/{id} %s\n", wrong[i]);
        snprintf(expected, sizeof expected,
                 "F:5: url = %s: expected a url that begins with http:// or https:// and a host", wrong[i]);
        expect_error(text, expected);
    }
    expect_error(CACHE HTTP "url = http://a/{image}\n",
                 "F:5: url = http://a/{image}: expected {id} where the image's id stands, and no other braces");
    expect_error(CACHE HTTP "url = http://a/{id\n",
                 "F:5: url = http://a/{id: expected {id} where the image's id stands, and no other braces");
    expect_error(CACHE HTTP "url = http://a/id}\n",
                 "F:5: url = http://a/id}: expected {id} where the image's id stands, and no other braces");
    expect_error(CACHE HTTP "url = http://a\nlist_url = no\n",
                 "F:6: list_url = no: expected a url that begins with http:// or https:// and a host");
}

static void passwords_do_not_belong_here(void **state)
{
    (void)state;
    expect_error(
        CACHE HTTP "url = http://a/{id}\n  https://user:secret@b/{id}\n",
        "F:5: url holds a user or password: put user:password on the one line of a file that only the service may "
        "read, and name it with user_file");
    expect_error(
        CACHE HTTP "url = http://a/{id}\nlist_url = https://user@b/\n",
        "F:6: list_url holds a user or password: put user:password on the one line of a file that only the service "
        "may read, and name it with user_file");
    expect_error(CACHE HTTP "url = http://a/{id}\nproxy = user:secret@squid:3128\n",
                 "F:6: proxy holds a user or password: set it in the service's environment instead, as https_proxy");
    config_free(load(CACHE HTTP "url = http://a/x@y/{id}\n"));
    expect_error(CACHE HTTP "url = http://a/{id}\nuser_file = /u\ntoken_file = /t\n",
                 "F:7: user_file and token_file exclude each other: remove one of the two");
    expect_error(CACHE HTTP "url = http://a/{id}\nclient_key_file = /k\n",
                 "F:6: client_key_file needs client_cert_file: add the certificate that belongs to the key");
}

static void control_characters_are_refused(void **state)
{
    (void)state;
    expect_error("[DEFAULT]\nimage_cache_dir = /c\x1b[2J\n",
                 "F:2: the value of image_cache_dir holds a control character: type it anew");
    expect_error(
        "[DEFAULT]\rimage_cache_dir = /c\r[backend]\rpath = /srv\r",
        "F: option image_cache_dir is missing: add \"image_cache_dir = /var/lib/glance/image-cache\" to section "
        "[DEFAULT]");
    expect_error("[DEFAULT]\nstrea\x07ms = 1\n",
                 "F:2: unknown option \"strea?ms\" in section [DEFAULT]: the nearest is streams");
}

/* ---- mistakes in the file */

static void unknown_options_name_the_nearest(void **state)
{
    static const struct {
        const char *wrong, *nearest;
    } pairs[] = {
        {"strems", "streams"},
        {"stream", "streams"},
        {"image-cache-max-size", "image_cache_max_size"},
        {"IMAGE_CACHE_STALL_TIME", "image_cache_stall_time"},
        {"image_cache_maxsize", "image_cache_max_size"},
        {"listttl", "list_ttl"},
        {"tokenfile", "token_file in [backend]"},
        {"urls", "url in [backend]"},
        {"a_very_long_name_of_an_option_that_is_longer_than_all_that_there_are", NULL},
    };
    char text[256], expected[256];
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        snprintf(text, sizeof text, CACHE "%s = 1\n", pairs[i].wrong);
        snprintf(expected, sizeof expected, "F:3: unknown option \"%s\" in section [DEFAULT]: the nearest is %s",
                 pairs[i].wrong, pairs[i].nearest);
        if (pairs[i].nearest != NULL)
            expect_error(text, expected);
    }
    struct config *c;
    char message[CONFIG_MESSAGE_MAX];
    assert_int_equal(config_load(path, &c, message), -EINVAL); /* the last, in the file still */
    expect_error(CACHE "[backend]\nurl http://a/\n",
                 "F:4: unknown option \"url http\" in section [backend]: the nearest is url");
}

static void misplaced_options_name_their_section(void **state)
{
    (void)state;
    expect_error(CACHE "url = http://a/\n",
                 "F:3: option url belongs in section [backend], not in [DEFAULT]: move the line there");
    expect_error("[backend]\nstreams = 3\n",
                 "F:2: option streams belongs in section [DEFAULT], not in [backend]: move the line there");
    expect_error("image_cache_dir = /c\n[DEFAULT]\n",
                 "F:1: \"image_cache_dir\" stands before any section: put [DEFAULT] or [backend] on a line above it");
}

static void unknown_sections_name_the_known(void **state)
{
    (void)state;
    expect_error(CACHE "\n[backnd]\npath = /srv\n", "F:4: unknown section [backnd]: there are [DEFAULT] and [backend] and [api]");
    expect_error(CACHE "[empty]", "F:3: unknown section [empty]: there are [DEFAULT] and [backend] and [api]");
    expect_error("[default]\n", "F:1: unknown section [default]: there are [DEFAULT] and [backend] and [api]");
    expect_error("[]\n", "F:1: unknown section []: there are [DEFAULT] and [backend] and [api]");
}

static void options_are_given_once(void **state)
{
    (void)state;
    expect_error(CACHE "streams = 3\nstreams = 3\n",
                 "F:4: option streams is already given in line 3: remove one of the two");
    expect_error(CACHE HTTP "url = http://a\n[DEFAULT]\n[backend]\nurl = http://b\n",
                 "F:8: option url is already given in line 5: remove one of the two");
}

static void missing_options_are_named(void **state)
{
    (void)state;
    static const char no_dir[] = "F: option image_cache_dir is missing: add \"image_cache_dir = "
                                 "/var/lib/glance/image-cache\" to section [DEFAULT]";
    expect_error("", no_dir);
    expect_error("\n\n# nothing\n", no_dir);
    expect_error(FOLDER, no_dir);
    expect_error(CACHE,
                 "F: type = file (the default) needs option path: add \"path = /srv/images\" to section [backend]");
    expect_error(CACHE "[backend]\ntype = file\n",
                 "F:4: type = file needs option path: add \"path = /srv/images\" to section [backend]");
    expect_error(
        CACHE "[backend]\nurl = http://a/\n",
        "F: type = file (the default) needs option path: add \"path = /srv/images\" to section [backend], or \"type = "
        "http\" for the url that is there");
    expect_error(CACHE HTTP,
                 "F:4: type = http needs option url: add \"url = https://images.example.org/{id}\" to section "
                 "[backend]");
}

static void values_are_not_empty(void **state)
{
    (void)state;
    expect_error("[DEFAULT]\nimage_cache_dir =\n",
                 "F:2: option image_cache_dir has no value: write one behind the =, or remove the line");
    expect_error(CACHE HTTP "url =\n", "F:5: option url has no value: write one behind the =, or remove the line");
    expect_error(CACHE FOLDER "checksums = ; all\n",
                 "F:5: option checksums has no value: write one behind the =, or remove the line");
}

static void indented_options_are_not_swallowed(void **state)
{
    (void)state;
    expect_error("[DEFAULT]\n  image_cache_dir = /c\n  streams = 3\n",
                 "F:3: an indented line continues the option above it, here image_cache_dir: remove the blanks before "
                 "\"streams = 3\"");
    expect_error(
        CACHE HTTP "url = http://a/\n\n  list_url = none\n",
        "F:7: an indented line continues the option above it, here url: remove the blanks before \"list_url = none\"");
    expect_error(CACHE HTTP "url = http://a/\n  [DEFAULT]\n",
                 "F:5: url = [DEFAULT]: expected a url that begins with http:// or https:// and a host");
}

static void lines_that_are_nothing_are_refused(void **state)
{
    static const char what[] = "neither [section], name = value nor a comment (#): correct or remove the line";
    char expected[128];
    (void)state;
    snprintf(expected, sizeof expected, "F:3: %s", what);
    expect_error(CACHE "streams\nstrems = 3\n", expected); /* the first mistake is the one told */
    expect_error(CACHE "[backend\npath = /srv\n", expected);
    snprintf(expected, sizeof expected, "F:2: %s", what);
    expect_error("#\n<html>\n", expected);
    expect_error("[DEFAULT]\n= 5\n", expected);
}

static void over_long_lines_are_refused(void **state)
{
    char text[4096];
    int room = 197 - (int)strlen("image_cache_dir = ");
    (void)state;
    snprintf(text, sizeof text, "[DEFAULT]\nimage_cache_dir = /%0*d\n" FOLDER, room - 1, 7);
    struct config *c = load(text);
    assert_int_equal(strlen(c->image_cache_dir), room);
    config_free(c);
    snprintf(text, sizeof text, "[DEFAULT]\nimage_cache_dir = /%0*d\r\n" FOLDER, room - 1, 7);
    config_free(load(text));
    snprintf(text, sizeof text, "%s[DEFAULT]\nimage_cache_dir = /%0*d", FOLDER, room - 1, 7);
    config_free(load(text)); /* and no line end */
    snprintf(text, sizeof text, "[DEFAULT]\nimage_cache_dir = /%0*d\n" FOLDER, room, 7);
    expect_error(text,
                 "F:2: the line is longer than 197 bytes, the most there can be: put words of a list on indented lines "
                 "of their own, or shorten it");
    snprintf(text, sizeof text, "# %03000d\n" CACHE " ; %0300d\nstrems = 1\n", 7, 7);
    expect_error(text, "F:5: unknown option \"strems\" in section [DEFAULT]: the nearest is streams");
}

static void other_kinds_of_files_are_refused(void **state)
{
    static const char nul[] = "[DEFAULT]\nimage_cache_dir = /c\0d\n", utf16[] = "\xff\xfe[\0D\0";
    char bytes[4096];
    (void)state;
    expect_error_bytes(nul, sizeof nul - 1,
                       "F:2: this is not a text file (it holds a NUL byte): save it as plain text, in UTF-8");
    expect_error_bytes(utf16, sizeof utf16 - 1,
                       "F:1: this is not a text file (it holds a NUL byte): save it as plain text, in UTF-8");
    memset(bytes, 'x', sizeof bytes);
    expect_error_bytes(
        bytes, sizeof bytes,
        "F:1: the line is longer than 197 bytes, the most there can be: put words of a list on indented lines "
        "of their own, or shorten it");
}

static void random_bytes_do_no_harm(void **state)
{
    static const char pieces[][24] = {
        "[", "]", "=", "\n",   "\n",   " ",         "\t",          "url", "[backend]\n",  "[DEFAULT]\n", "http://a",
        ";", "#", ":", "none", "\r\n", "checksums", "path = /p\n", "1K",  "\xef\xbb\xbf", "{id}"};
    char text[512];
    (void)state;
    srandom(7);
    for (int round = 0; round < 3000; round++) {
        struct config *c;
        char message[CONFIG_MESSAGE_MAX];
        text[0] = '\0';
        for (long n = random() % 24; n > 0; n--)
            strcat(text, pieces[(size_t)random() % (sizeof pieces / sizeof pieces[0])]);
        write_bytes(text, strlen(text));
        if (config_load(path, &c, message) == 0)
            config_free(c);
        else
            assert_null(strchr(message, '\n'));
    }
}

static void unreadable_files_are_explained(void **state)
{
    struct config *c = (void *)path;
    char message[CONFIG_MESSAGE_MAX], expected[512];
    (void)state;
    assert_int_equal(config_load("/nonexistent/f.conf", &c, message), -ENOENT);
    assert_string_equal(
        message, "/nonexistent/f.conf: the configuration cannot be read: No such file or directory: write it, or "
                 "name another; glance-cache.conf(5) describes it");
    assert_int_equal(config_load(dir, &c, message), -EISDIR);
    snprintf(expected, sizeof expected, "%s: the configuration cannot be read: Is a directory: name the file inside it",
             dir);
    assert_string_equal(message, expected);
    assert_ptr_equal(c, path);
    if (geteuid() == 0)
        return; /* root may read everything */
    write_bytes("", 0);
    assert_int_equal(chmod(path, 0), 0);
    assert_int_equal(config_load(path, &c, message), -EACCES);
    unlink(path);
}

static void a_long_path_leaves_room_for_the_message(void **state)
{
    struct config *c;
    char longest[4096], message[CONFIG_MESSAGE_MAX];
    (void)state;
    write_bytes("[DEFAULT]\nstrems = 1\n", 21);
    snprintf(longest, sizeof longest, "%s/", dir);
    while (strlen(longest) < 1000)
        strcat(longest, "./");
    strcat(longest, "f.conf");
    assert_int_equal(config_load(longest, &c, message), -EINVAL);
    assert_non_null(strstr(message, ":2: unknown option \"strems\" in section [DEFAULT]: the nearest is streams"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(wrong_numbers_are_explained),
        cmocka_unit_test(wrong_words_are_explained),
        cmocka_unit_test(wrong_paths_are_explained),
        cmocka_unit_test(the_images_are_not_in_the_cache),
        cmocka_unit_test(wrong_urls_are_explained),
        cmocka_unit_test(passwords_do_not_belong_here),
        cmocka_unit_test(control_characters_are_refused),
        cmocka_unit_test(unknown_options_name_the_nearest),
        cmocka_unit_test(misplaced_options_name_their_section),
        cmocka_unit_test(unknown_sections_name_the_known),
        cmocka_unit_test(options_are_given_once),
        cmocka_unit_test(missing_options_are_named),
        cmocka_unit_test(values_are_not_empty),
        cmocka_unit_test(indented_options_are_not_swallowed),
        cmocka_unit_test(lines_that_are_nothing_are_refused),
        cmocka_unit_test(over_long_lines_are_refused),
        cmocka_unit_test(other_kinds_of_files_are_refused),
        cmocka_unit_test(random_bytes_do_no_harm),
        cmocka_unit_test(unreadable_files_are_explained),
        cmocka_unit_test(a_long_path_leaves_room_for_the_message),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
