/* SPDX-License-Identifier: Apache-2.0 */
/* What an image needs next: the table of image/due.c, a row a test; and how its state changes. */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "image/due.h"

#define MIB (UINT64_C(1) << 20)
#define SIZE (8 * MIB)
#define NOW (1000 * NS_PER_S)

static struct image image;
static struct effects fx;
static struct waiter reader, whole, dropper;
static bool replays;

static void put_here(uint64_t bytes)
{
    for (uint64_t c = 0; c * chunkmap_chunk_size(image.map) < bytes; c++)
        chunkmap_set(image.map, c);
}

/* Known, nobody wants it. */
static int begin(void **state)
{
    (void)state;
    memset(&image, 0, sizeof(image));
    memset(&reader, 0, sizeof(reader));
    memset(&whole, 0, sizeof(whole));
    memset(&dropper, 0, sizeof(dropper));
    pthread_mutex_init(&image.lock, NULL);
    TAILQ_INIT(&image.claims);
    TAILQ_INIT(&image.waiters);
    TAILQ_INIT(&image.wholes);
    fx = (struct effects){0};
    TAILQ_INIT(&fx.woken);
    image.meta.size = SIZE;
    replays = false;
    image.meta.digest.algorithm = DIGEST_SHA256;
    return 0;
}

static int end(void **state)
{
    (void)state;
    chunkmap_free(image.map);
    pthread_mutex_destroy(&image.lock);
    return 0;
}

static void make_partial(uint64_t here)
{
    static char file; /* never looked into */
    image.state = IMAGE_PARTIAL;
    image.file = (struct image_file *)&file;
    image.digest_settled = true;
    assert_int_equal(chunkmap_new(SIZE, &image.map), 0);
    put_here(here);
}

static void make_complete(void)
{
    make_partial(SIZE);
    chunkmap_free(image.map);
    image.map = NULL;
    image.state = IMAGE_COMPLETE;
}

static void read_at(uint64_t offset, uint64_t length)
{
    reader.offset = offset;
    reader.length = length;
    TAILQ_INSERT_TAIL(&image.waiters, &reader, link);
}

static void want_whole(void)
{
    TAILQ_INSERT_TAIL(&image.wholes, &whole, link);
}

static unsigned due(void)
{
    image_check_locked(&image);
    unsigned d = image_due_locked(&image, NOW, replays, &fx);
    image_check_locked(&image);
    return d;
}

static void nothing_of_a_known_one_that_nobody_wants(void **state)
{
    (void)state;
    assert_int_equal(due(), 0);
}

static void a_known_one_is_begun_for_whoever_wants_it(void **state)
{
    (void)state;
    read_at(0, MIB);
    assert_int_equal(due(), DUE_BEGIN | DUE_FETCH);
    TAILQ_REMOVE(&image.waiters, &reader, link);
    assert_int_equal(due(), 0);
    replays = true;
    assert_int_equal(due(), DUE_BEGIN | DUE_FETCH);
    replays = false;
    want_whole();
    assert_int_equal(due(), DUE_BEGIN | DUE_FETCH);
    image.hands = HANDS_BEGIN; /* as who begins it says */
    assert_int_equal(due(), 0);
}

static void a_partial_one_is_fetched_on(void **state)
{
    (void)state;
    make_partial(0);
    assert_int_equal(due(), DUE_FETCH);
}

static void its_digest_is_asked_for_once(void **state)
{
    (void)state;
    make_partial(4 * MIB);
    image.digest_settled = false;
    assert_int_equal(due(), DUE_FETCH | DUE_DIGEST);
    assert_int_equal(due(), DUE_FETCH);
}

static void the_digest_follows_a_mib_behind(void **state)
{
    (void)state;
    make_partial(MIB - CHUNK_MIN);
    assert_int_equal(due(), DUE_FETCH);
    put_here(MIB);
    assert_true(image_hash_due_locked(&image));
    assert_int_equal(due(), DUE_FETCH | DUE_HASH);
    assert_true(image.hashing);
    assert_int_equal(due(), DUE_FETCH); /* it does already */
    image.hashing = false;
    image.hashed = MIB;
    assert_int_equal(due(), DUE_FETCH);
    image.meta.digest.algorithm = DIGEST_NONE;
    image.hashed = 0;
    assert_int_equal(due(), DUE_FETCH);
}

static void what_is_all_here_is_finished_once(void **state)
{
    (void)state;
    make_partial(SIZE);
    image.hashed = SIZE;
    want_whole();
    assert_int_equal(due(), DUE_FINISH);
    assert_int_equal(image.hands, HANDS_FINISH);
    assert_int_equal(due(), 0);
    assert_true(TAILQ_EMPTY(&fx.woken)); /* it is not told before it is published */
}

static void not_while_its_digest_or_a_request_is_open(void **state)
{
    struct claim claim = {.start = SIZE - MIB, .pos = SIZE, .end = SIZE};
    (void)state;
    make_partial(SIZE);
    image.hashed = SIZE;
    image.digest_settled = false;
    image.digest_asked = true;
    assert_int_equal(due(), DUE_FETCH);
    image.digest_settled = true;
    image_claim_locked(&image, &claim);
    assert_int_equal(due(), DUE_FETCH);
    TAILQ_REMOVE(&image.claims, &claim, link);
    assert_int_equal(due(), DUE_FINISH);
}

static void one_that_could_not_be_published_waits_unless_somebody_does(void **state)
{
    (void)state;
    make_partial(SIZE);
    image.hashed = SIZE;
    image.whole = true;
    image.unfinished_at = clock_monotonic();
    assert_int_equal(due(), DUE_FETCH);
    assert_false(image.whole);
    read_at(0, MIB);
    assert_int_equal(due(), DUE_FINISH);
}

static void a_failure_comes_first(void **state)
{
    EFFECTS(told);
    (void)state;
    make_partial(SIZE);
    image.hashed = SIZE;
    read_at(0, MIB);
    want_whole();
    image.failure = -EIO;
    assert_int_equal(due(), DUE_FAIL);
    image_failed_locked(&image, -EIO, &told);
    assert_int_equal(reader.status, -EIO);
    assert_int_equal(whole.status, -EIO);
    assert_ptr_equal(TAILQ_FIRST(&told.woken), &reader);
    assert_true(TAILQ_EMPTY(&image.waiters) && TAILQ_EMPTY(&image.wholes));
    assert_int_equal(due(), DUE_FINISH); /* what is here stays */
}

static void a_dead_one_is_replaced_then_left(void **state)
{
    EFFECTS(told);
    (void)state;
    make_partial(2 * MIB);
    image.hashed = 2 * MIB;
    read_at(0, MIB);
    want_whole();
    image_died_locked(&image, DEATH_CHANGED, &told);
    assert_int_equal(reader.status, -EIO);
    assert_int_equal(due(), DUE_REPLACE);
    assert_int_equal(due(), DUE_LEAVE); /* somebody is at it */
    assert_true(TAILQ_EMPTY(&fx.woken)); /* who asks for the name now would find this one again */
    image.row_retired = true;
    image.hands = HANDS_NONE;
    assert_int_equal(due(), DUE_LEAVE);
    assert_ptr_equal(TAILQ_FIRST(&fx.woken), &whole);
    assert_int_equal(whole.status, -ESTALE);
}

static void a_rotten_one_is_fetched_once_more(void **state)
{
    EFFECTS(told);
    (void)state;
    make_partial(SIZE);
    want_whole();
    image_died_locked(&image, DEATH_ROTTEN, &told);
    assert_int_equal(due(), DUE_REPLACE);
    image.again = image.row_retired = true;
    image.hands = HANDS_NONE;
    assert_int_equal(due(), DUE_LEAVE | DUE_AGAIN);
    assert_int_equal(whole.status, -EBADMSG);
    assert_int_equal(due(), DUE_LEAVE);
}

static void bytes_are_dropped_for_who_asks(void **state)
{
    (void)state;
    make_partial(SIZE);
    image.hashed = SIZE;
    image.dropper = &dropper;
    assert_int_equal(due(), DUE_DROP);
    assert_int_equal(image.hands, HANDS_DROP);
    assert_int_equal(due(), 0);
    assert_ptr_equal(image.dropper, &dropper); /* he is told at the end */
}

static void nothing_is_dropped_of_what_is_being_made_or_finished(void **state)
{
    static const struct { enum image_hands hands; int status; } rows[] = {{HANDS_FINISH, -EBUSY}, {HANDS_BEGIN, -EBUSY}, {HANDS_REPLACE, -ENOENT}};
    (void)state;
    make_partial(SIZE);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        image.hands = rows[i].hands;
        image.dropper = &dropper;
        due();
        assert_null(image.dropper);
        assert_ptr_equal(TAILQ_FIRST(&fx.woken), &dropper);
        assert_int_equal(dropper.status, rows[i].status);
        fx = (struct effects){0};
    TAILQ_INIT(&fx.woken);
    }
}

static void who_does_not_mind_has_it_evicted_once_it_is_whole(void **state)
{
    (void)state;
    make_partial(SIZE);
    image.hands = HANDS_FINISH;
    image.dropper = &dropper;
    image.drop_any = true;
    assert_int_equal(due(), 0);
    assert_int_equal(dropper.status, 0);
    assert_ptr_equal(TAILQ_FIRST(&fx.woken), &dropper);
    chunkmap_free(image.map);
    image.map = NULL;
    image.state = IMAGE_COMPLETE;
    image.hands = HANDS_NONE;
    assert_int_equal(due(), DUE_LEAVE | DUE_EVICT);
    assert_int_equal(due(), DUE_LEAVE);
}

static void nothing_is_dropped_of_what_is_whole(void **state)
{
    (void)state;
    make_complete();
    image.dropper = &dropper;
    assert_int_equal(due(), DUE_LEAVE);
    assert_int_equal(dropper.status, -ENOENT);
}

static void what_the_disk_did_not_take_goes_straight_through(void **state)
{
    (void)state;
    make_partial(SIZE);
    image.hashed = SIZE;
    image.disk_failed = true;
    image.hands = HANDS_FINISH; /* its publishing finds out itself */
    assert_int_equal(due(), 0);
    image.hands = HANDS_NONE;
    assert_int_equal(due(), DUE_PASS);
}

static void a_prefetch_of_what_goes_straight_through_ends(void **state)
{
    (void)state;
    make_partial(0);
    image.through = true;
    image.through_since = NOW;
    image.whole = true;
    want_whole();
    assert_int_equal(due(), DUE_TRIM | DUE_FETCH);
    assert_int_equal(whole.status, -ENOSPC);
    assert_ptr_equal(TAILQ_FIRST(&fx.woken), &whole);
    assert_false(image.whole);
}

static void it_is_tried_the_normal_way_after_a_while(void **state)
{
    struct claim claim = {.end = MIB};
    (void)state;
    make_partial(0);
    image.through = true;
    image.through_since = NOW - THROUGH_PAUSE_S * NS_PER_S;
    image_claim_locked(&image, &claim);
    assert_int_equal(due(), DUE_TRIM | DUE_FETCH);
    TAILQ_REMOVE(&image.claims, &claim, link);
    assert_int_equal(due(), DUE_TRIM | DUE_FETCH | DUE_KEEP);
}

static void who_wants_all_of_a_whole_one_has_it(void **state)
{
    (void)state;
    make_complete();
    want_whole();
    assert_int_equal(due(), DUE_LEAVE);
    assert_int_equal(whole.status, 0);
    assert_ptr_equal(TAILQ_FIRST(&fx.woken), &whole);
}

static void of_an_evicted_one_he_is_told_so(void **state)
{
    (void)state;
    make_complete();
    image.state = IMAGE_RETIRED;
    want_whole();
    assert_int_equal(due(), DUE_LEAVE);
    assert_int_equal(whole.status, -ESTALE);
}

static void bytes_are_here_with_their_chunk_or_their_request(void **state)
{
    struct claim claim = {.start = 2 * MIB, .pos = 2 * MIB + 1000, .end = 3 * MIB};
    (void)state;
    make_partial(MIB);
    image_claim_locked(&image, &claim);
    assert_true(image_available_locked(&image, 0, MIB));
    assert_false(image_available_locked(&image, 0, MIB + 1));
    assert_true(image_available_locked(&image, 2 * MIB + 10, 990));
    assert_false(image_available_locked(&image, 2 * MIB + 10, 991));
    assert_int_equal(image_present_locked(&image), MIB);
    image.through = true;
    assert_int_equal(image_present_locked(&image), 0);
    TAILQ_REMOVE(&image.claims, &claim, link);
}

static void what_arrives_is_given_to_who_waits_for_it(void **state)
{
    struct claim claim = {.start = MIB, .pos = MIB, .end = 2 * MIB};
    EFFECTS(done);
    (void)state;
    make_partial(MIB);
    image.digest_settled = true;
    image.meta.digest.algorithm = DIGEST_NONE;
    image_claim_locked(&image, &claim);
    read_at(MIB - 10, 20);
    struct span chunks = image_arrived_locked(&image, &claim, 10, 1, &done);
    assert_int_equal(chunks.first, MIB / CHUNK_MIN);
    assert_int_equal(chunks.end, MIB / CHUNK_MIN); /* none is whole yet, and the reader has his bytes all the same */
    assert_ptr_equal(TAILQ_FIRST(&done.woken), &reader);
    assert_int_equal(done.reserved, -10);
    chunks = image_arrived_locked(&image, &claim, CHUNK_MIN, 1, &done);
    assert_int_equal(chunks.end, MIB / CHUNK_MIN + 1);
    assert_true(chunkmap_test(image.map, MIB / CHUNK_MIN));
    assert_int_equal(image.shown, MIB + 10 + CHUNK_MIN);
    TAILQ_REMOVE(&image.claims, &claim, link);
}

static void the_end_waits_for_the_digest(void **state)
{
    struct claim claim = {.start = SIZE - MIB, .pos = SIZE - MIB, .end = SIZE};
    EFFECTS(arrived);
    EFFECTS(verified);
    (void)state;
    make_partial(SIZE - MIB);
    image_claim_locked(&image, &claim);
    read_at(SIZE - 100, 100);
    image_arrived_locked(&image, &claim, MIB, 1, &arrived);
    assert_true(TAILQ_EMPTY(&arrived.woken));
    assert_true(chunkmap_full(image.map) && image.whole);
    TAILQ_REMOVE(&image.claims, &claim, link);
    image_verified_locked(&image, &verified);
    assert_ptr_equal(TAILQ_FIRST(&verified.woken), &reader);
}

static void one_that_is_dropped_has_nothing_left(void **state)
{
    EFFECTS(done);
    (void)state;
    make_partial(2 * MIB);
    struct chunkmap *map = image.map;
    image.unwritten = 5;
    image.shown = 100;
    image.track = (struct track *)&image;
    image_reset_locked(&image, &done);
    image_check_locked(&image);
    assert_int_equal(image.state, IMAGE_KNOWN);
    assert_true(image.shown_elsewhere && image.shown == 0);
    assert_ptr_equal(done.map, map);
    assert_ptr_equal(done.track, &image);
    assert_int_equal(done.unwritten, -5);
    assert_int_equal(image.unwritten, 0);
    chunkmap_free(map);
}

static void one_that_was_evicted_while_it_was_published_stays_so(void **state)
{
    EFFECTS(done);
    (void)state;
    make_partial(SIZE);
    image.hands = HANDS_FINISH;
    want_whole();
    image_retired_locked(&image);
    image_check_locked(&image);
    image_completed_locked(&image, &done);
    image_check_locked(&image);
    assert_int_equal(image.state, IMAGE_RETIRED);
    assert_int_equal(image.hands, HANDS_NONE);
    assert_int_equal(whole.status, 0);
    chunkmap_free(done.map);
}

int main(void)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        ROW(nothing_of_a_known_one_that_nobody_wants),
        ROW(a_known_one_is_begun_for_whoever_wants_it),
        ROW(a_partial_one_is_fetched_on),
        ROW(its_digest_is_asked_for_once),
        ROW(the_digest_follows_a_mib_behind),
        ROW(what_is_all_here_is_finished_once),
        ROW(not_while_its_digest_or_a_request_is_open),
        ROW(one_that_could_not_be_published_waits_unless_somebody_does),
        ROW(a_failure_comes_first),
        ROW(a_dead_one_is_replaced_then_left),
        ROW(a_rotten_one_is_fetched_once_more),
        ROW(bytes_are_dropped_for_who_asks),
        ROW(nothing_is_dropped_of_what_is_being_made_or_finished),
        ROW(who_does_not_mind_has_it_evicted_once_it_is_whole),
        ROW(nothing_is_dropped_of_what_is_whole),
        ROW(what_the_disk_did_not_take_goes_straight_through),
        ROW(a_prefetch_of_what_goes_straight_through_ends),
        ROW(it_is_tried_the_normal_way_after_a_while),
        ROW(who_wants_all_of_a_whole_one_has_it),
        ROW(of_an_evicted_one_he_is_told_so),
        ROW(bytes_are_here_with_their_chunk_or_their_request),
        ROW(what_arrives_is_given_to_who_waits_for_it),
        ROW(the_end_waits_for_the_digest),
        ROW(one_that_is_dropped_has_nothing_left),
        ROW(one_that_was_evicted_while_it_was_published_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
