/* SPDX-License-Identifier: Apache-2.0 */
/* Listings and logins of a server that is broken or means harm: whatever comes and however long, the memory for it is bounded. */
#include "config-auto.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/keystone.h"
#include "backends/listing/pages.h"

enum { BODY = 32 << 20, STEP = 16384, LOGIN = 1 << 20, MIB = 1 << 20, ALLOWED = 16 * MIB };

/* ---- memory: the most that was in use since the last reset */

static size_t status_kib(const char *field)
{
    char line[256];
    size_t value = 0;
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, field, strlen(field)) == 0)
            value = strtoul(line + strlen(field) + 1, NULL, 10);
    fclose(f);
    return value;
}

static size_t reset_peak(void)
{
    malloc_trim(0);
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f || fputs("5", f) < 0 || fclose(f) != 0) {
        print_message("the peak of memory cannot be reset here\n");
        skip();
    }
    return status_kib("VmRSS");
}

static void check_peak(size_t before, const char *what)
{
    size_t more = (status_kib("VmHWM") - before) * 1024;
    if (more > ALLOWED)
        fail_msg("%s took %zu MiB", what, more / MIB);
}

/* ---- bodies: a start, then pieces without end; "%u" in a piece is a number that counts up */

struct body {
    const char *start, *piece;
};

static int ignore(void *context, const struct listed_image *image)
{
    (void)context;
    (void)image;
    return 0;
}

static size_t fill(char *to, size_t room, const char *piece, unsigned *number)
{
    size_t n = 0;
    while (room - n > strlen(piece) + 16) {
        const char *at = strstr(piece, "%u");
        n += at ? (size_t)sprintf(to + n, "%.*s%u%s", (int)(at - piece), piece, (*number)++, at + 2) : (size_t)sprintf(to + n, "%s", piece);
    }
    return n;
}

static void feed(struct listing *l, const struct body *body)
{
    char *text = malloc(STEP);
    unsigned number = 0;
    const char *marker;
    assert_non_null(text);
    int r = listing_feed(l, body->start, strlen(body->start));
    for (size_t fed = 0; fed < BODY && r == 0; fed += STEP)
        r = listing_feed(l, text, fill(text, STEP, body->piece, &number));
    if (r == 0)
        listing_end(l, &marker);
    listing_free(l);
    free(text);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SKIP_WITH_SANITIZER() do { print_message("a sanitizer keeps memory that was freed\n"); skip(); } while (0)
#else
#define SKIP_WITH_SANITIZER() (void)0
#endif

typedef struct listing *make_fn(void);

static void check_bodies(make_fn *make, const struct body *bodies, size_t n)
{
    SKIP_WITH_SANITIZER();
    for (size_t i = 0; i < n; i++) {
        char what[200];
        size_t before = reset_peak();
        feed(make(), &bodies[i]);
        snprintf(what, sizeof what, "%.60s %.60s…", bodies[i].start, bodies[i].piece);
        check_peak(before, what);
    }
}
#define CHECK(make, bodies) check_bodies(make, bodies, sizeof(bodies) / sizeof((bodies)[0]))

static struct listing *made(int r, struct listing *l)
{
    assert_int_equal(r, 0);
    return l;
}

static struct listing *swift(void)
{
    struct listing *l;
    int r = listing_new_swift("", false, NULL, ignore, NULL, &l);
    return made(r, l);
}

static struct listing *glance(void)
{
    struct listing *l;
    int r = listing_new_glance(ignore, NULL, &l);
    return made(r, l);
}

static struct listing *s3(void)
{
    struct listing *l;
    int r = listing_new_s3("", NULL, ignore, NULL, &l);
    return made(r, l);
}

static struct listing *autoindex(void)
{
    struct listing *l;
    int r = listing_new_autoindex(ignore, NULL, &l);
    return made(r, l);
}

static struct listing *page(void)
{
    struct listing *l;
    int r = listing_new_page(ignore, NULL, &l);
    return made(r, l);
}

static void test_arrays(void **state)
{
    (void)state;
    static const struct body bodies[] = {
        { "[", "{}," },
        { "[", "[]," },
        { "[", "1," },
        { "[", "{\"name\":\"i%u\"}," },
        { "[{\"name\":\"i\",\"x\":[", "{}," },
        { "[{\"name\":\"i\",\"x\":[", "[]," },
        { "[{\"name\":\"i\",", "\"%u\":1," },
        { "[{\"name\":\"i\",\"x\":\"", "xxxxxxxxxxxxxxxx" },
        { "[{\"name\":\"i\",\"x\":", "[" },
        { "", "   " },
    };
    CHECK(swift, bodies);
    CHECK(autoindex, bodies);
}

static void test_glance(void **state)
{
    (void)state;
    static const struct body bodies[] = {
        { "{\"images\":[", "{}," },
        { "{\"images\":[", "{\"id\":\"i%u\"}," },
        { "{\"images\":[{\"id\":\"i\",\"x\":[", "{}," },
        { "{\"images\":[{\"id\":\"i\",\"x\":{", "\"%u\":{}," },
        { "{\"x\":[", "{}," },
        { "{\"x\":\"", "xxxxxxxxxxxxxxxx" },
        { "{", "\"a%u\":[]," },
        { "{\"images\" ", "   " },
        { "", "{\"images\":" },
    };
    CHECK(glance, bodies);
}

static void test_s3(void **state)
{
    (void)state;
    static const struct body bodies[] = {
        { "<ListBucketResult>", "<a>" },
        { "<ListBucketResult>", "<a%u/>" },
        { "<ListBucketResult><a ", "b%u=\"\" " },
        { "<ListBucketResult><!--", "xxxxxxxxxxxxxxxx" },
        { "<ListBucketResult><", "xxxxxxxxxxxxxxxx" },
        { "<ListBucketResult><a b=\"", "xxxxxxxxxxxxxxxx" },
        { "<ListBucketResult><Contents><Key>", "xxxxxxxxxxxxxxxx" },
        { "<ListBucketResult>", "<Contents><Key>i%u</Key></Contents>" },
        { "<ListBucketResult><x>", "xxxxxxxxxxxxxxxx" },
        { "<ListBucketResult>", "<a xmlns:n%u=\"u\"/>" },
    };
    CHECK(s3, bodies);
}

static void test_page(void **state)
{
    (void)state;
    static const struct body bodies[] = {
        { "<html><a href=\"", "xxxxxxxxxxxxxxxx" },
        { "<html>", "<a href=\"i%u\">i</a>" },
        { "<html><a ", "b%u " },
        { "<html><!--", "xxxxxxxxxxxxxxxx" },
        { "<html><script>", "xxxxxxxxxxxxxxxx" },
        { "<html>", "<a>" },
        { "<html><a href=\"i\">", "xxxxxxxxxxxxxxxx" },
    };
    CHECK(page, bodies);
}

static void test_keystone(void **state)
{
    (void)state;
    SKIP_WITH_SANITIZER();
    static const struct body bodies[] = {
        { "{\"token\":{\"catalog\":[", "{}," },
        { "{\"token\":{\"catalog\":[", "[]," },
        { "{\"token\":{", "\"%u\":1," },
        { "{\"token\":{\"catalog\":[", "{\"type\":\"image\",\"endpoints\":[{}]}," },
        { "{\"token\":{\"x\":\"", "xxxxxxxxxxxxxxxx" },
    };
    static const char ends[][5] = { "{}]}}", "[]]}}", "\"\":1}", "{}]}}", "x\"}}" };
    char *text = malloc(LOGIN + 16);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        unsigned number = 0;
        uint64_t lifetime;
        const char *why = NULL;
        char *url = NULL;
        size_t n = strlen(strcpy(text, bodies[i].start));
        n += fill(text + n, LOGIN - n, bodies[i].piece, &number);
        memcpy(text + n, ends[i], strnlen(ends[i], 5));
        n += strnlen(ends[i], 5);
        if (i == 2)
            text[n++] = '}';
        size_t before = reset_peak();
        keystone_answer(text, n, "image", "public", NULL, &lifetime, &url, &why);
        free(url);
        check_peak(before, bodies[i].piece);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays), cmocka_unit_test(test_glance),   cmocka_unit_test(test_s3),
        cmocka_unit_test(test_page),   cmocka_unit_test(test_keystone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
