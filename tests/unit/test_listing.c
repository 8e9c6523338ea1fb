/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings: pages as real servers print them (of nginx 1.22 and Python 3.11 copied from the wire, the others after
 * their sources), cut in every way, and garbage.
 */
#include "config-auto.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/listing/listing.h"
#include "backends/listing/objects.h"

typedef int new_fn(listing_fn *fn, void *context, struct listing **ret);

static int new_web(listing_fn *fn, void *context, struct listing **ret)
{
    static char sums[] = "SHA256SUMS";
    static char *const not_images[] = { sums, NULL };
    return listing_new_web(false, not_images, fn, context, ret);
}

static int new_web_json(listing_fn *fn, void *context, struct listing **ret)
{
    return listing_new_web(true, NULL, fn, context, ret);
}

struct found {
    char text[8192]; /* "name size\n" of each; "?" for an unknown size */
    size_t count;
    int stop_with;
};

static int note(void *context, const struct listed_image *image)
{
    struct found *f = context;
    assert_true(image_id_valid(image->name));
    size_t used = strlen(f->text);
    if (image->size == IMAGE_SIZE_UNKNOWN)
        snprintf(f->text + used, sizeof(f->text) - used, "%s ?\n", image->name);
    else
        snprintf(f->text + used, sizeof(f->text) - used, "%s %" PRIu64 "\n", image->name, image->size);
    f->count++;
    return f->stop_with;
}

static uint64_t random_state = 88172645463325252u;

static size_t random_below(size_t n) /* xorshift: the same pieces in every run */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t) (random_state % n);
}

/* Feeds pieces of 1 … MOST bytes, each in memory of its own so that reading behind it is seen. */
static int parse(new_fn *make, const char *text, size_t length, size_t most, struct found *ret)
{
    struct listing *l;
    assert_int_equal(make(note, ret, &l), 0);
    int r = 0;
    for (size_t at = 0, n; r == 0 && at < length; at += n) {
        n = most == 1 ? 1 : 1 + random_below(most);
        if (n > length - at)
            n = length - at;
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, text + at, n);
        r = listing_feed(l, copy, n);
        free(copy);
    }
    const char *marker = "untouched";
    if (r == 0)
        r = listing_end(l, &marker);
    assert_string_equal(marker, "untouched");
    listing_free(l);
    return r;
}

static void expect_result(new_fn *make, const char *text, int result, const char *expected)
{
    static const size_t most[] = { 1, 2, 5, 40, 300, SIZE_MAX / 4 };
    for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
        struct found found = { .text = "" };
        assert_int_equal(parse(make, text, strlen(text), most[i], &found), result);
        if (expected)
            assert_string_equal(found.text, expected);
    }
}

static void expect(new_fn *make, const char *text, const char *expected)
{
    expect_result(make, text, 0, expected);
}

/* ---- JSON */

static const char nginx_json[] =
    "[\r\n"
    "{ \"name\":\"fo lder\", \"type\":\"directory\", \"mtime\":\"Sun, 22 Nov 2026 17:45:44 GMT\" },\r\n"
    "{ \"name\":\"%2e%2e\", \"type\":\"file\", \"mtime\":\"Sun, 22 Nov 2026 17:45:44 GMT\", \"size\":6007 },\r\n"
    "{ \"name\":\"a&b<c>\\\".img\", \"type\":\"file\", \"mtime\":\"Sun, 22 Nov 2026 17:45:44 GMT\", \"size\":2007 "
    "},\r\n"
    "{ \"name\":\"bad\xff\xfe.img\", \"type\":\"file\", \"mtime\":\"Sun, 22 Nov 2026 17:45:44 GMT\", \"size\":1 },\r\n"
    "{ \"name\":\"big.raw\", \"type\":\"file\", \"mtime\":\"Sun, 22 Nov 2026 17:45:44 GMT\", \"size\":5368709120 },\r\n"
    "{ \"name\":\"new\\nline\", \"type\":\"file\", \"mtime\":\"Sun, 22 Nov 2026 17:45:44 GMT\", \"size\":1 },\r\n"
    "{ \"name\":\"pipe\", \"type\":\"other\", \"mtime\":\"Sun, 22 Nov 2026 17:45:44 GMT\" },\r\n"
    "{ \"name\":\"x;y=z+w,@!$()[]{}|\\\\^`~.img\", \"type\":\"file\", \"mtime\":\"Sun, 22 Nov 2026 17:45:44 GMT\", "
    "\"size\":10007 },\r\n"
    "{ \"name\":\"\xc3\xbc\xe6\x97\xa5\xe6\x9c\xac.raw\", \"type\":\"file\", \"mtime\":\"Sun, 22 Nov 2026 17:45:44 "
    "GMT\", "
    "\"size\":8007 }\r\n"
    "]";
static const char nginx_json_found[] =
    "%2e%2e 6007\na&b<c>\".img 2007\nbig.raw 5368709120\nx;y=z+w,@!$()[]{}|\\^`~.img 10007\n"
    "\xc3\xbc\xe6\x97\xa5\xe6\x9c\xac.raw 8007\n";

static void test_json_nginx(void **state)
{
    (void) state;
    expect(listing_new_autoindex, nginx_json, nginx_json_found);
    expect(new_web, nginx_json, nginx_json_found);
    expect(new_web_json, nginx_json, nginx_json_found);
}

static void test_json_forms(void **state)
{
    (void) state;
    expect(listing_new_autoindex, "[]", "");
    expect(listing_new_autoindex, " [\r\n]\n\n", "");
    expect(listing_new_autoindex, "[{\"name\":\"a\",\"type\":\"file\"},{\"name\":\"b\",\"type\":\"file\",\"size\":-1}]",
           "a ?\nb ?\n");
    expect(listing_new_autoindex, "[{\"name\":\"a\",\"x\":{\"y\":[1,{\"]\":\"}\\\"\"}]},\"size\":0}]", "a 0\n");
    expect(listing_new_autoindex,
           "[{\"name\":\"f/\",\"size\":4096,\"is_dir\":true},{\"name\":\"c.img\",\"size\":9,\"is_dir\":false}]",
           "c.img 9\n"); /* Caddy's */
    expect(listing_new_autoindex,
           "[{\"name\":\"a\\u0000b\",\"type\":\"file\"},{\"name\":\"..\"},{\"name\":\"a/b\"},{\"name\":\"c\"}]",
           "c ?\n");
    expect(new_web,
           "\n [{\"name\":\"SHA256SUMS\",\"type\":\"file\",\"size\":3},{\"name\":\"a\",\"type\":\"file\",\"size\":4}]",
           "a 4\n");
}

static void test_json_broken(void **state)
{
    (void) state;
    static const char *const texts[] = {
        "",
        " ",
        "[",
        "[{\"name\":\"a\"}",
        "[{\"name\":\"a\"},",
        "[{\"name\":\"a\"",
        "[{\"name\":\"a",
        "{\"error\":\"no\"}",
        "null",
        "[1]",
        "[[]]",
        "[{\"name\":1}]",
        "[{}]",
        "[{\"name\":\"a\"} {\"name\":\"b\"}]",
        "[{\"name\":\"a\"},]",
        "[,]",
        "[]]",
        "[] []",
        "[{\"name\":\"a\",}]",
        "[{\"name\":\"a\"]]",
        "[{\"name\":\"a\",\"size\":99999999999999999999}]",
        "<html></html>",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_result(listing_new_autoindex, texts[i], -EPROTO, NULL);
    expect_result(new_web_json, "<html></html>", -EPROTO, "");
    expect_result(new_web_json, "", -EPROTO, "");
}

static void test_json_limit(void **state)
{
    (void) state;
    static const char start[] = "[{\"name\":\"a\",\"x\":\"", end[] = "\"}]";
    static const size_t around = sizeof(start) + sizeof(end) - 2 - 2; /* of the object: without the brackets */
    size_t size = OBJECTS_PIECE_MAX + 100;
    char *text = malloc(size);
    assert_non_null(text);
    for (size_t over = 0; over < 2; over++) {
        size_t filling = OBJECTS_PIECE_MAX - around + over;
        memcpy(text, start, sizeof(start));
        memset(text + sizeof(start) - 1, 'x', filling);
        memcpy(text + sizeof(start) - 1 + filling, end, sizeof(end));
        expect_result(listing_new_autoindex, text, over ? -EPROTO : 0, over ? "" : "a ?\n");
    }
    free(text);
}

/* ---- pages */

static const char nginx_page[] =
    "<html>\r\n"
    "<head><title>Index of /</title></head>\r\n"
    "<body>\r\n"
    "<h1>Index of /</h1><hr><pre><a href=\"../\">../</a>\r\n"
    "<a href=\"fo%20lder/\">fo lder/</a>"
    "                                           22-Nov-2026 17:45                   -\r\n"
    "<a href=\"%252e%252e\">%2e%2e</a>"
    "                                             22-Nov-2026 17:45                6007\r\n"
    "<a href=\"100%25.img\">100%.img</a>"
    "                                           22-Nov-2026 17:45                5007\r\n"
    "<a href=\"a%26b%3Cc%3E%22.img\">a&amp;b&lt;c&gt;&quot;.img</a>"
    "                                        22-Nov-2026 17:45                2007\r\n"
    "<a href=\"a%3Ab.iso\">a:b.iso</a>"
    "                                            22-Nov-2026 17:45                9007\r\n"
    "<a href=\"bad%FF%FE.img\">bad\xff\xfe.img</a>"
    "                                          22-Nov-2026 17:45                   1\r\n"
    "<a href=\"big.raw\">big.raw</a>"
    "                                            22-Nov-2026 17:45          5368709120\r\n"
    "<a href=\"it%27s.qcow2\">it's.qcow2</a>"
    "                                         22-Nov-2026 17:45                3007\r\n"
    "<a href=\"loooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooong.img\">"
    "loooooooooooooooooooooooooooooooooooooooooooooo..&gt;</a> 22-Nov-2026 17:45               11007\r\n"
    "<a href=\"new%0Aline\">new\n"
    "line</a>                                           22-Nov-2026 17:45                   1\r\n"
    "<a href=\"q%3Fx%23y.img\">q?x#y.img</a>"
    "                                          22-Nov-2026 17:45                4007\r\n"
    "<a href=\"x%3By%3Dz%2Bw%2C%40%21%24%28%29%5B%5D%7B%7D%7C%5C%5E%60~.img\">x;y=z+w,@!$()[]{}|\\^`~.img</a>"
    "                         22-Nov-2026 17:45               10007\r\n"
    "<a href=\"%C3%BC%E6%97%A5%E6%9C%AC.raw\">\xc3\xbc\xe6\x97\xa5\xe6\x9c\xac.raw</a>"
    "                                       22-Nov-2026 17:45                8007\r\n"
    "</pre><hr></body>\r\n"
    "</html>\r\n";
static const char nginx_page_found[] =
    "%2e%2e 6007\n"
    "100%.img 5007\n"
    "a&b<c>\".img 2007\n"
    "a:b.iso 9007\n"
    "bad\xff\xfe.img 1\n"
    "big.raw 5368709120\n"
    "it's.qcow2 3007\n"
    "loooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooong.img 11007\n"
    "q?x#y.img 4007\n"
    "x;y=z+w,@!$()[]{}|\\^`~.img 10007\n"
    "\xc3\xbc\xe6\x97\xa5\xe6\x9c\xac.raw 8007\n";

static const char nginx_rounded_page[] =
    "<html>\r\n"
    "<head><title>Index of /</title></head>\r\n"
    "<body>\r\n"
    "<h1>Index of /</h1><hr><pre><a href=\"../\">../</a>\r\n"
    "<a href=\"folder/\">folder/</a>                                            22-Nov-2026 17:45       -\r\n"
    "<a href=\"big.raw\">big.raw</a>                                            22-Nov-2026 17:45      5G\r\n"
    "<a href=\"k.raw\">k.raw</a>                                              22-Nov-2026 17:45     20K\r\n"
    "<a href=\"mid.raw\">mid.raw</a>                                            22-Nov-2026 17:45      3M\r\n"
    "<a href=\"plain.img\">plain.img</a>                                          22-Nov-2026 17:45    9007\r\n"
    "</pre><hr></body>\r\n"
    "</html>\r\n";

static const char python_page[] =
    "<!DOCTYPE HTML>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<title>Directory listing for /</title>\n"
    "</head>\n"
    "<body>\n"
    "<h1>Directory listing for /</h1>\n"
    "<hr>\n"
    "<ul>\n"
    "<li><a href=\"%252e%252e\">%2e%2e</a></li>\n"
    "<li><a href=\"..%252f\">..%2f</a></li>\n"
    "<li><a href=\".hidden\">.hidden</a></li>\n"
    "<li><a href=\"a%26b%3Cc%3E%22.img\">a&amp;b&lt;c&gt;\".img</a></li>\n"
    "<li><a href=\"fo%20lder/\">fo lder/</a></li>\n"
    "<li><a href=\"link.img\">link.img@</a></li>\n"
    "<li><a href=\"SHA256SUMS\">SHA256SUMS</a></li>\n"
    "<li><a href=\"sp%20ace.img\">sp ace.img</a></li>\n"
    "</ul>\n"
    "<hr>\n"
    "</body>\n"
    "</html>\n";

static void test_page_nginx(void **state)
{
    (void) state;
    expect(listing_new_page, nginx_page, nginx_page_found);
    expect(new_web, nginx_page, nginx_page_found);
    expect(listing_new_page, nginx_rounded_page, "big.raw ?\nk.raw ?\nmid.raw ?\nplain.img 9007\n");
}

static void test_page_python(void **state)
{
    (void) state;
    expect(listing_new_page, python_page, "%2e%2e ?\na&b<c>\".img ?\nlink.img ?\nSHA256SUMS ?\nsp ace.img ?\n");
    expect(new_web, python_page, "%2e%2e ?\na&b<c>\".img ?\nlink.img ?\nsp ace.img ?\n");
}

static void test_page_others(void **state)
{
    (void) state;
    /* Apache, FancyIndexing IconsAreLinks */
    expect(listing_new_page,
           "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n"
           "<html>\n"
           " <body>\n"
           "<pre><img src=\"/icons/blank.gif\" alt=\"Icon \"> <a href=\"?C=N;O=D\">Name</a>  "
           "<a href=\"?C=M;O=A\">Last modified</a><hr><a href=\"/\">"
           "<img src=\"/icons/back.gif\" alt=\"[PARENTDIR]\"></a> <a href=\"/\">Parent Directory</a>    -   \n"
           "<a href=\"x&amp;y.img\"><img src=\"/icons/unknown.gif\" alt=\"[   ]\"></a> "
           "<a href=\"x&amp;y.img\">x&amp;y.img</a>  2026-11-22 17:45  1.2M  \n"
           "<a href=\"z.iso\"><img src=\"/icons/unknown.gif\" alt=\"[   ]\"></a> "
           "<a href=\"z.iso\">z.iso</a>  2026-11-22 17:45  1.2G  \n"
           "<hr></pre>\n"
           "<address>Apache/2.4.62 (Debian) Server at "
           "<a href=\"mailto:admin@example.org\">example.org</a> Port 80</address>\n"
           "</body></html>\n",
           "x&y.img ?\nz.iso ?\n");
    /* lighttpd */
    expect(listing_new_page,
           "<!DOCTYPE html>\n"
           "<html><head><title>Index of /</title><style type=\"text/css\">a { color: "
           "<a href=\"not\"> }</style></head><body><table><tbody>\n"
           "<tr class=\"d\"><td class=\"n\"><a href=\"../\">..</a>/</td><td class=\"m\">&nbsp;</td></tr>\n"
           "<tr><td class=\"n\"><a href=\"a%20b.img\">a b.img</a></td><td class=\"m\">2026-Nov-22 17:45:44</td>"
           "<td class=\"s\">1.0K</td></tr>\n"
           "</tbody></table><script type=\"text/javascript\">if (1</2) document.write('"
           "<a href=\"nor-this\">x</a>');</script></body></html>",
           "a b.img ?\n");
    /* Caddy */
    expect(listing_new_page,
           "<!DOCTYPE html>\n"
           "<html>\n"
           "<body><!-- <a href=\"no\"> -- > --><a href=\"./?sort=name&amp;order=asc\">Name</a><tr class=\"file\">"
           "<td><a href=\"./folder/\"><svg></svg></a></td><td>\n"
           "\t<a href=\"./a:b.img\">\n"
           "<svg width=\"1\"/><span class=\"name\">a:b.img</span></a></td></tr>Served with "
           "<a rel=\"noopener\" href=\"https://caddyserver.com\">x</a></body></html>",
           "a:b.img ?\n");
    /* Go's http.FileServer: no <html> */
    expect(listing_new_page, "<!doctype html>\n<pre>\n<a href=\"x.img\">x.img</a>\n<a href=\"d/\">d/</a>\n</pre>\n",
           "x.img ?\n");
}

static void test_page_links(void **state)
{
    (void) state;
    expect(listing_new_page, "<A HREF=unquoted.img>x</A>", "unquoted.img ?\n");
    expect(listing_new_page, "<a\n class='b > c' title=it's href = 'single.img' >x</a>", "single.img ?\n");
    expect(listing_new_page, "<a data-href=\"no\" href=\" &#x41;&#66;&#xd7;&apos;&bogus; \">x</a>",
           "AB\xc3\x97'&bogus; ?\n");
    expect(listing_new_page, "<a name=\"x\"><a><abbr href=\"no\"><area href=\"no\"></a href=\"no\">", "");
    expect(listing_new_page,
           "<a href=\"a&#0;b\"><a href=\"\"><a href><a href=><a href=\"..\"><a href=\".\"><a href=\"//h/x\"><a "
           "href=\"/x\"><a href=\"x#y\">",
           "");
    expect(listing_new_page,
           "<a href=\"javascript:void(0)\"><a href=\"a%00b\"><a href=\"..%2fx\"><a href=\"a%2Fb\"><a href=\"%2e%2e\">",
           "");
    expect(listing_new_page, "<a href=\"a\">1</a><a href=\"a\">2</a><a href=\"b\">3</a><a href=\"a\">4</a>",
           "a ?\nb ?\na ?\n");
    expect(listing_new_page, "a < b << <3 </> </ x <a href=\"x\">", "x ?\n");
    expect(listing_new_page, "<!--><a href=\"x\"><!---><a href=\"y\"><!-x><a href=\"z\">", "x ?\ny ?\nz ?\n");
    expect(listing_new_page,
           "<a href=\"x\">x</a> 22-Nov-2026 17:45 12 extra\n<a href=\"y\">y</a>\n22-Nov-2026 17:45 12\n", "x ?\ny ?\n");
    expect(listing_new_page,
           "<a href=\"x\">x</a> 22-Nov-2026 17:45 99999999999999999999999\n<a href=\"y\">y</a> 22-Nov-2026 17:45 0<br>",
           "x ?\ny 0\n");
}

static void test_page_broken(void **state)
{
    (void) state;
    static const char *const texts[] = {
        "",
        "not found\n",
        "{\"error\": 1}",
        "<html><body><a href=\"x\">x</a>",
        "<a href=\"x\">x</a><!-- ",
        "<a href=\"x\">x</a",
        "<a href=\"x",
        "<script>",
        "<a href=\"x\"><",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_result(listing_new_page, texts[i], -EPROTO, NULL);
    expect_result(new_web, "", -EPROTO, "");
}

static void test_page_limit(void **state)
{
    (void) state;
    static const char *const starts[] = { "<a title=\"", "<b title=\"", "text ", "<!-- ", "<a href=\"" };
    static const char *const ends[] = { "\">", "\">", "", "-->", "\">" };
    static const int results[] = { -EPROTO, 0, 0, 0, -EPROTO };
    size_t junk = LISTING_PIECE_MAX + 1, size = junk + 200;
    char *text = malloc(size);
    char *filling = malloc(junk + 1);
    assert_non_null(text);
    assert_non_null(filling);
    memset(filling, 'x', junk);
    filling[junk] = '\0';
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        snprintf(text, size, "<b>%s%s%s<a href=\"behind\">", starts[i], filling, ends[i]);
        expect_result(listing_new_page, text, results[i], results[i] ? "" : "behind ?\n");
    }
    filling[LISTING_PIECE_MAX - 1000] = '\0'; /* fits, but is no id */
    snprintf(text, size, "<a href=\"%s\"><a href=\"behind\">", filling);
    expect_result(listing_new_page, text, 0, "behind ?\n");
    free(filling);
    free(text);
}

/* ---- both */

static void test_stop(void **state)
{
    (void) state;
    static const int stops[] = { -ENOSPC, 7 };
    for (size_t i = 0; i < 2; i++) {
        struct found found = { .stop_with = stops[i] };
        assert_int_equal(parse(listing_new_autoindex, nginx_json, sizeof(nginx_json) - 1, 9, &found), stops[i]);
        assert_int_equal(found.count, 1);
        found = (struct found){ .stop_with = stops[i] };
        assert_int_equal(parse(listing_new_page, nginx_page, sizeof(nginx_page) - 1, 9, &found), stops[i]);
        assert_int_equal(found.count, 1);
    }
    struct found last = { .stop_with = -ENOSPC };
    assert_int_equal(parse(listing_new_page, "<a href=x>", 10, 9, &last), -ENOSPC);
}

static int new_placed(listing_fn *fn, void *context, struct listing **ret)
{
    static char first[] = "https://Images.example:8080/my%20images/", second[] = "http://other.example/list/";
    static char *const folders[] = { first, second, NULL };
    int r = listing_new_web(false, NULL, fn, context, ret);
    if (r == 0)
        (*ret)->folders = folders;
    return r;
}

/* IIS, Jetty, Artifactory, h5ai: whole paths and urls, sorts, parents, folders; what lies elsewhere is none of ours. */
static void test_absolute_links(void **state)
{
    (void) state;
    expect(new_placed, "<pre><A HREF=\"/\">[To Parent Directory]</A><br> 1/1/2024  1:00 AM  100000 <A HREF=\"/my%20images/vm.raw\">vm.raw</A><br></pre>",
           "vm.raw ?\n");
    expect(new_placed, "<a href=\"http://images.example:8080/\">up</a><a href=\"http://images.example:8080/my images/a%2bb.img\">x</a>"
                       "<a href=\"//OTHER.example/list/c.img\">x</a><a href=\"https://elsewhere.example/list/no.img\">x</a>",
           "a+b.img ?\nc.img ?\n");
    expect(new_placed, "<a href=\"/list/?C=N;O=D\">Name</a><a href=\"/list/d/\">d/</a><a href=\"/list/d/e.img\">e</a><a href=\"/listing/f.img\">f</a>"
                       "<a href=\"/list/g&amp;h.img\">g</a><a href=\"mailto:x@y\">m</a><a href=\"/list\">l</a><a href=\"i.img\">i</a>",
           "g&h.img ?\ni.img ?\n");
}

/* Samples with bytes changed, cut out and doubled: no result is wrong, but the parsers end, and hold to what they
 * promise. */
static void test_garbage(void **state)
{
    (void) state;
    static const char *const samples[] = { nginx_json, nginx_page, nginx_rounded_page, python_page };
    static new_fn *const makers[] = { listing_new_autoindex, listing_new_page, new_web };
    static const char spice[] = "<>\"'/!-=&;#%\\[]{},: \n\0aA0\xff";
    for (unsigned round = 0; round < 3000; round++) {
        const char *sample = samples[random_below(4)];
        size_t length = strlen(sample);
        char *text = malloc(2 * length);
        assert_non_null(text);
        memcpy(text, sample, length);
        for (size_t n = random_below(20); n > 0; n--) {
            size_t at = random_below(length);
            size_t part = random_below(length - at < 40 ? length - at : 40);
            switch (random_below(3)) {
            case 0:
                text[at] = spice[random_below(sizeof(spice) - 1)];
                break;
            case 1:
                memmove(text + at, text + at + part, length - at - part);
                length -= part;
                break;
            default:
                memmove(text + at + part, text + at, length - at);
                length += part;
                break;
            }
            if (length < 100 || length > 2 * strlen(sample) - 100)
                break;
        }
        struct found found = { .text = "" };
        int r = parse(makers[round % 3], text, length, 1 + random_below(500), &found);
        assert_true(r == 0 || r == -EPROTO);
        free(text);
    }
}

static int count(void *context, const struct listed_image *image)
{
    size_t *n = context;
    assert_int_equal(image->size, 1000000 + *n);
    ++*n;
    return 0;
}

static void test_many(void **state)
{
    (void) state;
    for (unsigned f = 0; f < 2; f++) {
        size_t n = 0;
        struct listing *l;
        assert_int_equal((f ? listing_new_page : listing_new_autoindex)(count, &n, &l), 0);
        assert_int_equal(listing_feed(l, f ? "<html>" : "[", f ? 6 : 1), 0);
        for (unsigned i = 0; i < 100000; i++) {
            char line[256];
            int length = f ? snprintf(line, sizeof(line),
                                      "<a href=\"image-%06u.img\">image-%06u.img</a>                 "
                                      "22-Nov-2026 17:45        %u\r\n",
                                      i, i, 1000000 + i)
                           : snprintf(line, sizeof(line),
                                      "%s{ \"name\":\"image-%06u.img\", \"type\":\"file\", \"mtime\":"
                                      "\"Sun, 22 Nov 2026 17:45:44 GMT\", \"size\":%u }",
                                      i ? ",\r\n" : "", i, 1000000 + i);
            assert_int_equal(listing_feed(l, line, (size_t) length), 0);
        }
        assert_int_equal(listing_feed(l, f ? "</html>" : "]", f ? 7 : 1), 0);
        const char *marker;
        assert_int_equal(listing_end(l, &marker), 0);
        listing_free(l);
        assert_int_equal(n, 100000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_absolute_links),
        cmocka_unit_test(test_json_nginx),  cmocka_unit_test(test_json_forms),  cmocka_unit_test(test_json_broken),
        cmocka_unit_test(test_json_limit),  cmocka_unit_test(test_page_nginx),  cmocka_unit_test(test_page_python),
        cmocka_unit_test(test_page_others), cmocka_unit_test(test_page_links),  cmocka_unit_test(test_page_broken),
        cmocka_unit_test(test_page_limit),  cmocka_unit_test(test_stop),        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests_name("listing", tests, NULL, NULL);
}
