/* SPDX-License-Identifier: Apache-2.0 */
/* glance-cache-top: what it says of a document, and what it makes of counters. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "common/progress.h"
#include "common/troubles.h"
#include "top/draw.h"

static json_t *look_of(const char *cache, const char *rest)
{
    char text[4096];
    snprintf(text, sizeof(text), "{\"where\": \"/srv/glance\", \"time\": 2000.0, \"cache\": {%s} %s}", cache, rest);
    json_t *look = json_loads(text, 0, NULL);
    assert_non_null(look);
    return look;
}

static bool has(const struct drawing *d, const char *text)
{
    for (size_t i = 0; i < d->count; i++) {
        if (strstr(d->line[i].text, text) != NULL)
            return true;
    }
    return false;
}

static void test_troubles(void **state)
{
    (void)state;
    static const struct { const char *cache, *says; } all[] = {
        {"\"passthrough\": \"on\"", NULL},
        {"\"backend\": {\"endpoints\": [{\"endpoint\": \"http://a\", \"state\": \"ok\"}], \"listing\": \"ok\"}", NULL},
        {"\"backend\": {\"endpoints\": [{\"endpoint\": \"http://a\", \"state\": \"failing\", \"last_error\": \"refused\"}]}", "backend http://a: refused"},
        {"\"backend\": {\"endpoints\": [{\"endpoint\": \"http://a\", \"state\": \"failing\", \"last_error\": \"\"}]}", "backend http://a: failing"},
        {"\"passthrough\": \"off: the kernel is older than Linux 6.9\"", "not passed through: the kernel is older than Linux 6.9"},
        {"\"images\": {\"invalid\": 1}", "1 image failed"},
        {"\"images\": {\"invalid\": 3}", "3 images failed"},
        {"\"backend\": {\"endpoints\": [], \"listing\": \"Permission denied\"}", "the backend's listing: Permission denied"},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        json_t *look = look_of(all[i].cache, ""), *troubles = troubles_of(json_object_get(look, "cache"));
        assert_int_equal(json_array_size(troubles), all[i].says != NULL);
        if (all[i].says != NULL)
            assert_string_equal(json_string_value(json_array_get(troubles, 0)), all[i].says);
        json_decref(troubles);
        json_decref(look);
    }
}

/* Whatever the document holds: lines of text within the width. */
static void test_widths(void **state)
{
    (void)state;
    static struct drawing d;
    struct samples samples = {0};
    json_t *look = look_of("\"version\": \"1\", \"fetches\": [{\"image\": \"windows-server-2022-datacenter-de-de.qcow2\", \"size\": 1000, "
                           "\"bytes_cached\": 450, \"bytes_per_second\": 10, \"for\": \"prefetch\"}], \"backend\": {\"endpoints\": 7}",
                           ", \"busiest\": [{\"image\": \"b\\u00fcro\\u0007\", \"hits\": 5, \"size\": 1048576, \"open\": 2, \"pinned\": true}, 17], "
                           "\"invalid\": [{\"image\": \"x\", \"reason\": \"verification failed\"}]");
    for (size_t columns = 1; columns < 700; columns += columns < 130 ? 1 : 57) {
        draw(look, &samples, columns, &d);
        for (size_t i = 0; i < d.count; i++) {
            size_t used, length = strlen(d.line[i].text);
            assert_int_equal(format_fitting(d.line[i].text, length, SIZE_MAX, &used), length);
            assert_true(used <= (columns < 40 ? 40 : columns));
            assert_null(strchr(d.line[i].text, '\a'));
        }
    }
    draw(look, &samples, 100, &d);
    assert_true(has(&d, "prefetch   45 %"));
    assert_true(has(&d, "55 s")); /* left */
    assert_true(has(&d, "b\u00fcro?"));
    assert_true(has(&d, "verification failed"));
    draw(look, &samples, 70, &d);
    assert_true(has(&d, "windo~.qcow2")); /* both ends */
    json_decref(look);
}

static json_t *counters(int hits, int misses, int fetched)
{
    return json_pack("{s:{s:i, s:i, s:i}}", "counters", "hits", hits, "misses", misses, "bytes_fetched", fetched);
}

static void add(struct samples *s, int hits, int misses, int fetched, int64_t seconds)
{
    json_t *status = counters(hits, misses, fetched);
    samples_add(s, status, seconds * NS_PER_S);
    json_decref(status);
}

static void test_samples(void **state)
{
    (void)state;
    static struct samples s;
    struct sample over;
    int64_t ns;
    assert_false(samples_over(&s, 60, &over, &ns));
    add(&s, 100, 10, 0, 1000);
    assert_false(samples_over(&s, 60, &over, &ns));
    for (int i = 1; i <= 200; i++) /* every 2 s, one hit and 10 bytes each */
        add(&s, 100 + i, 10, 10 * i, 1000 + 2 * i);
    assert_true(samples_over(&s, 60, &over, &ns));
    assert_in_range(ns, 60 * NS_PER_S, 64 * NS_PER_S);
    assert_int_equal(over.hits, ns / NS_PER_S / 2);
    assert_int_equal(over.bytes_fetched, 10 * over.hits);
    assert_int_equal(over.misses, 0);
    assert_true(samples_over(&s, 3600, &over, &ns)); /* as far as it goes */
    assert_int_equal(over.hits, 200);
    for (int i = 0; i < 5000; i++) /* the ring goes round */
        add(&s, 300 + i, 10, 2000, 1400 + 4 * i);
    assert_true(samples_over(&s, 3600, &over, &ns));
    assert_in_range(ns, 3600 * NS_PER_S, 3604 * NS_PER_S);
    add(&s, 1, 0, 0, 30000); /* another mount */
    assert_false(samples_over(&s, 60, &over, &ns));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_troubles),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
