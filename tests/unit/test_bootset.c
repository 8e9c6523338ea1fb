/* SPDX-License-Identifier: Apache-2.0 */
/* Boot sets against a model that has a number for each block: recorded, merged, cut, printed and read back. */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/bootset/replay.h"
#include "image/bootset.h"
#include "image/trace.h"

enum { BLOCKS = 3000, SECOND = 10 };

static uint64_t random_state = 88172645463325252u;

static uint64_t any(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

struct model { unsigned boots[BLOCKS], at[BLOCKS]; };

/* What SET says of each block; no block twice. */
static void spread(const struct bootset *set, struct model *ret)
{
    memset(ret, 0, sizeof(*ret));
    assert_true(set->count <= BOOTSET_SPANS_MAX);
    for (size_t i = 0; i < set->count; i++) {
        const struct bootspan *s = &set->span[i];
        assert_true(s->end > s->first && s->first % BOOT_BLOCK == 0 && s->end % BOOT_BLOCK == 0 && s->boots > 0);
        for (uint64_t b = s->first / BOOT_BLOCK; b < s->end / BOOT_BLOCK; b++) {
            assert_true(b < BLOCKS);
            assert_int_equal(ret->boots[b], 0);
            ret->boots[b] = s->boots;
            ret->at[b] = s->at;
        }
    }
}

/* A boot of READS reads somewhere, and which blocks it read. */
static void boot(unsigned reads, struct bootset *ret, bool read[BLOCKS])
{
    struct trace *t;
    assert_int_equal(trace_new(BLOCKS * (uint64_t)BOOT_BLOCK, UINT64_MAX, 0, &t), 0);
    memset(read, 0, BLOCKS * sizeof(*read));
    for (unsigned i = 0; i < reads; i++) {
        uint64_t offset = any((BLOCKS - 8) * (uint64_t)BOOT_BLOCK), length = 1 + any(3 * BOOT_BLOCK);
        trace_note(t, offset, length, (int64_t)i * NS_PER_S / 20);
        for (uint64_t b = offset / BOOT_BLOCK; b * BOOT_BLOCK < offset + length; b++)
            read[b] = true;
    }
    for (uint64_t b = 0; b < BLOCKS; b++)
        assert_int_equal(trace_has(t, b * BOOT_BLOCK), read[b]);
    assert_int_equal(trace_set(t, ret), 0);
    trace_free(t);
}

static void what_is_recorded_is_what_was_read(void **state)
{
    (void)state;
    static bool read[BLOCKS];
    static struct bootset set;
    static struct model m;
    for (unsigned round = 0; round < 60; round++) {
        boot((unsigned)any(round % 2 ? 3000 : 300), &set, read);
        spread(&set, &m);
        bool exact = true;
        for (unsigned b = 0; b < BLOCKS; b++) {
            assert_true(!read[b] || m.boots[b] == 1); /* nothing is left out; with too many spans small gaps are taken along */
            exact = exact && (m.boots[b] > 0) == read[b];
        }
        assert_true(exact || set.count > BOOTSET_SPANS_MAX / 4);
    }
}

static void order_is_that_of_the_reads(void **state)
{
    (void)state;
    static struct bootset set;
    struct trace *t;
    assert_int_equal(trace_new(BLOCKS * (uint64_t)BOOT_BLOCK, UINT64_MAX, 0, &t), 0);
    for (uint64_t i = 0; i < 20; i++)
        trace_note(t, (i * 7 % 20) * 100 * BOOT_BLOCK + 5, 10, (int64_t)i * NS_PER_S);
    trace_note(t, 5, 10, 30 * NS_PER_S); /* not for the first time */
    assert_true(trace_grown_at(t) == 19 * NS_PER_S);
    assert_int_equal(trace_set(t, &set), 0);
    assert_int_equal(set.count, 20);
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(set.span[i].first, (i * 7 % 20) * 100 * BOOT_BLOCK);
        assert_int_equal(set.span[i].at, i * SECOND);
    }
    trace_free(t);
}

static void a_trace_holds_so_much(void **state)
{
    (void)state;
    static struct bootset set;
    struct trace *t;
    assert_int_equal(trace_new(BLOCKS * (uint64_t)BOOT_BLOCK, 10 * BOOT_BLOCK, 0, &t), 0);
    trace_note(t, 0, 8 * BOOT_BLOCK, 0);
    assert_false(trace_is_full(t));
    trace_note(t, 100 * BOOT_BLOCK, 8 * BOOT_BLOCK, 0);
    assert_true(trace_is_full(t));
    assert_int_equal(trace_bytes(t), 10 * BOOT_BLOCK);
    assert_int_equal(trace_set(t, &set), 0);
    assert_int_equal(bootset_bytes(&set), 10 * BOOT_BLOCK);
    trace_free(t);
    assert_int_equal(trace_new(UINT64_C(1) << 50, UINT64_MAX, 0, &t), 0);
    for (uint64_t i = 0; i < 4 * TRACE_SPANS_MAX && !trace_is_full(t); i++)
        trace_note(t, i << 34, 1, 0);
    assert_int_equal(trace_set(t, &set), 0);
    assert_true(set.count <= BOOTSET_SPANS_MAX);
    trace_free(t);
}

static void merging_counts_block_by_block(void **state)
{
    (void)state;
    static bool read[BLOCKS], read2[BLOCKS];
    static struct bootset set, next, merged;
    static struct model m, old, new;
    for (unsigned round = 0; round < 40; round++) {
        struct chunkmap *replayed;
        assert_int_equal(chunkmap_new(BLOCKS * (uint64_t)BOOT_BLOCK, &replayed), 0);
        boot(20, &set, read);
        for (unsigned boots = 1; boots < 12; boots++) {
            boot(20 + (unsigned)any(10), &next, read2);
            for (unsigned i = 0; i < BLOCKS; i++)
                any(3) == 0 ? chunkmap_set(replayed, i) : chunkmap_clear(replayed, i);
            spread(&set, &old);
            spread(&next, &new);
            assert_int_equal(bootset_merge(&set, &next, boots % 4 ? replayed : NULL, &merged), 0);
            spread(&merged, &m);
            for (unsigned b = 0; b < BLOCKS; b++) {
                bool in_vain = boots % 4 && chunkmap_test(replayed, b);
                unsigned want = read2[b] ? old.boots[b] + 1 : in_vain ? old.boots[b] / 2 : old.boots[b];
                if (want > BOOTSET_BOOTS_MAX)
                    want = BOOTSET_BOOTS_MAX;
                if (merged.count < BOOTSET_SPANS_MAX / 2)
                    assert_int_equal(m.boots[b], want);
                else
                    assert_true(want == 0 || m.boots[b] > 0);
            }
            set = merged;
        }
        chunkmap_free(replayed);
    }
    next.size++;
    assert_int_equal(bootset_merge(&set, &next, NULL, &merged), -EINVAL);
}

static void what_most_boots_read_comes_first(void **state)
{
    (void)state;
    static struct bootset usual, odd, merged;
    struct bootspan seldom = {.first = 0, .end = BOOT_BLOCK, .at = 1}, often = {.first = 10 * BOOT_BLOCK, .end = 11 * BOOT_BLOCK, .at = 99};
    assert_int_equal(bootset_of(BLOCKS * (uint64_t)BOOT_BLOCK, &often, 1, &usual), 0);
    struct bootspan both[] = {seldom, often};
    assert_int_equal(bootset_of(BLOCKS * (uint64_t)BOOT_BLOCK, both, 2, &odd), 0);
    assert_int_equal(bootset_merge(&usual, &usual, NULL, &merged), 0);
    usual = merged;
    assert_int_equal(bootset_merge(&usual, &odd, NULL, &merged), 0);
    assert_int_equal(merged.count, 2);
    assert_int_equal(merged.span[0].first, often.first);
    assert_int_equal(merged.boots, 3);
}

static void texts_are_read_back(void **state)
{
    (void)state;
    static bool read[BLOCKS];
    static struct bootset set, again;
    static char text[BOOTSET_TEXT_MAX + 1];
    unsigned line;
    for (unsigned round = 0; round < 100; round++) {
        boot((unsigned)any(1500), &set, read);
        size_t length = bootset_print(&set, text);
        assert_int_equal(length, strlen(text));
        assert_true(length <= BOOTSET_TEXT_MAX);
        assert_int_equal(bootset_parse(text, length, &again, &line), 0);
        assert_true(again.size == set.size && again.boots == set.boots && again.count == set.count);
        assert_memory_equal(again.span, set.span, set.count * sizeof(set.span[0]));
        if (set.count > 0)
            assert_int_equal(bootset_parse(text, length - 1 - any(length - 1), &again, &line), -EBADMSG);
    }
}

static void the_longest_text_fits(void **state)
{
    (void)state;
    static struct bootset set, again;
    static char text[BOOTSET_TEXT_MAX + 1];
    unsigned line;
    for (unsigned bits = 50; bits <= 62; bits += 12) {
        uint64_t size = UINT64_C(1) << bits, step = size / BOOTSET_SPANS_MAX;
        set.size = size;
        set.boots = BOOTSET_BOOTS_MAX;
        set.count = BOOTSET_SPANS_MAX;
        for (size_t i = 0; i < set.count; i++)
            set.span[i] = (struct bootspan){i * step, i * step + step / 2, BOOTSET_TIME_MAX, BOOTSET_BOOTS_MAX};
        size_t length = bootset_print(&set, text);
        assert_true(length <= BOOTSET_TEXT_MAX);
        assert_int_equal(bootset_parse(text, length, &again, &line), 0);
        assert_true(bits == 62 || again.count == set.count);
    }
}

static void what_is_no_text(void **state)
{
    (void)state;
    static const struct { const char *text; unsigned line; } wrong[] = {
        {"", 1}, {"bootset 2 65536 1 0\n", 1}, {"bootset 1 65536 1 1\n", 2}, {"bootset 1 65536 1 0\n0,1,0,1\n", 2},
        {"bootset 1 65536 1 1\n0,0,0,1\n", 2}, {"bootset 1 65536 1 1\n0,1,0,0\n", 2}, {"bootset 1 65536 1 1\n1,1,0,1\n", 2},
        {"# a\nbootset 1 262144 1 2\n# b\n0,2,0,1\n1,1,0,1\n", 5}, {"bootset 1 65536 1 513\n", 1}, {"bootset 1 65536 1 1\n0,1,0\n", 2},
        {"bootset 1 65536 1 1\n-1,1,0,1\n", 2}, {"bootset 1 65536 1 1\n0,18446744073709551617,0,1\n", 2},
        {"bootset 1 65536 1 1\n0,1,0,1", 2}, {"bootset 1 99999999999999999999 1 0\n", 1},
    };
    struct bootset set = {.count = 77};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        unsigned line = 0;
        assert_int_equal(bootset_parse(wrong[i].text, strlen(wrong[i].text), &set, &line), -EBADMSG);
        assert_int_equal(line, wrong[i].line);
        assert_int_equal(set.count, 77);
    }
    static char large[BOOTSET_TEXT_MAX + 2];
    unsigned line;
    memset(large, '#', sizeof(large));
    assert_int_equal(bootset_parse(large, sizeof(large), &set, &line), -EFBIG);
    const char *good = "# by hand\nbootset 1 100000 1 1\n# the end is short\n1,1,4,1\n# so\n";
    assert_int_equal(bootset_parse(good, strlen(good), &set, &line), 0);
    assert_int_equal(set.span[0].end, 2 * BOOT_BLOCK);
}

static void fit_and_cut(void **state)
{
    (void)state;
    static bool read[BLOCKS];
    static struct bootset set, before;
    static struct model m, old;
    boot(200, &before, read);
    for (size_t i = 0; i < before.count; i++)
        before.span[i].boots = 5;
    spread(&before, &old);
    set = before;
    bootset_fit(&set, 1000 * (uint64_t)BOOT_BLOCK - 3);
    spread(&set, &m);
    for (unsigned b = 0; b < BLOCKS; b++)
        assert_int_equal(m.boots[b], b < 1000 && old.boots[b] ? 1 : 0);
    for (uint64_t blocks = 0; blocks < 500; blocks += 7) {
        set = before;
        uint64_t all = bootset_bytes(&set), limit = blocks * BOOT_BLOCK + 5;
        bootset_cut(&set, limit);
        assert_int_equal(bootset_bytes(&set), all < limit ? all : blocks * BOOT_BLOCK);
        spread(&set, &m);
    }
}

static void a_copy_is_no_boot(void **state)
{
    (void)state;
    static bool read[BLOCKS];
    static struct bootset set;
    struct bootspan run = {.first = 0, .end = 1000 * BOOT_BLOCK};
    assert_int_equal(bootset_of(BLOCKS * (uint64_t)BOOT_BLOCK, &run, 1, &set), 0);
    assert_true(bootset_is_copy(&set));
    boot(300, &set, read);
    assert_false(bootset_is_copy(&set));
    set.count = 0;
    assert_false(bootset_is_copy(&set));
}

/* All of the set is given, in about its order; what lies near by within a window is one span. */
static void a_replay_goes_through_all_of_it_once(void **state)
{
    (void)state;
    static bool read[BLOCKS], given[BLOCKS];
    static struct bootset set;
    static struct replay r;
    for (unsigned round = 0; round < 100; round++) {
        uint64_t window = (1 + any(200)) * BOOT_BLOCK, gap = any(3) * BOOT_BLOCK, spans = 0;
        struct bootspan s;
        boot((unsigned)any(250), &set, read);
        memset(given, 0, sizeof(given));
        replay_begin(&r, &set);
        while (replay_next(&r, window, gap, &s)) {
            uint64_t end = any(2) ? s.end : s.first + BOOT_BLOCK; /* as far as a request goes */
            for (uint64_t b = s.first / BOOT_BLOCK; b < end / BOOT_BLOCK; b++)
                given[b] = true;
            replay_pass(&r, end);
            spans++;
        }
        for (unsigned b = 0; b < BLOCKS; b++)
            assert_true(given[b] || !read[b]);
        assert_false(replay_next(&r, window, gap, &s));
        assert_true(spans > 0 || set.count == 0);
    }
}

static void what_lies_near_by_is_asked_for_together(void **state)
{
    (void)state;
    static struct bootset set;
    static struct replay r;
    struct bootspan s, spans[] = {
        {.first = 9 * BOOT_BLOCK, .end = 10 * BOOT_BLOCK, .at = 0}, {.first = 500 * BOOT_BLOCK, .end = 501 * BOOT_BLOCK, .at = 1},
        {.first = 7 * BOOT_BLOCK, .end = 8 * BOOT_BLOCK, .at = 2}, {.first = 0, .end = BOOT_BLOCK, .at = 3},
    };
    assert_int_equal(bootset_of(BLOCKS * (uint64_t)BOOT_BLOCK, spans, 4, &set), 0);
    replay_begin(&r, &set);
    assert_true(replay_next(&r, 3 * BOOT_BLOCK, BOOT_BLOCK, &s)); /* a window of three */
    assert_true(s.first == 7 * BOOT_BLOCK && s.end == 10 * BOOT_BLOCK);
    replay_pass(&r, s.end);
    assert_true(replay_next(&r, 3 * BOOT_BLOCK, BOOT_BLOCK, &s) && s.first == 500 * BOOT_BLOCK);
    replay_pass(&r, s.end);
    assert_true(replay_next(&r, 3 * BOOT_BLOCK, BOOT_BLOCK, &s) && s.first == 0);
    replay_pass(&r, s.end);
    assert_false(replay_next(&r, 3 * BOOT_BLOCK, BOOT_BLOCK, &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_recorded_is_what_was_read), cmocka_unit_test(order_is_that_of_the_reads), cmocka_unit_test(a_trace_holds_so_much),
        cmocka_unit_test(merging_counts_block_by_block), cmocka_unit_test(what_most_boots_read_comes_first), cmocka_unit_test(texts_are_read_back),
        cmocka_unit_test(the_longest_text_fits), cmocka_unit_test(what_is_no_text), cmocka_unit_test(fit_and_cut), cmocka_unit_test(a_copy_is_no_boot),
        cmocka_unit_test(a_replay_goes_through_all_of_it_once), cmocka_unit_test(what_lies_near_by_is_asked_for_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
