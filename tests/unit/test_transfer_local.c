/* SPDX-License-Identifier: Apache-2.0 */
/* Local files as answers: what HTTP would say of them, turns among several, files that change while they are read. */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "transfer_test.h"

enum { SIZE = 5 * 1024 * 1024 + 321 };

static char folder[] = "/tmp/test_transfer_local.XXXXXX";

static char *in_folder(const char *name)
{
    char *path;
    assert_true(asprintf(&path, "%s/%s", folder, name) > 0);
    return path;
}

static void write_file(const char *name, size_t size)
{
    char *path = in_folder(name), *data = test_pattern(0, size);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(data);
    free(path);
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) {
        return -1;
    }
    write_file("image", SIZE);
    write_file("empty", 0);
    char *path = in_folder("folder"), *pipe = in_folder("pipe"), *link = in_folder("link");
    int r = mkdir(path, 0700) || mkfifo(pipe, 0600) || symlink("image", link);
    free(path);
    free(pipe);
    free(link);
    return r ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"image", "empty", "folder", "pipe", "link", "changing", "second"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = in_folder(names[i]);
        remove(path);
        free(path);
    }
    return rmdir(folder);
}

static struct transfer_request get(const char *name)
{
    return (struct transfer_request){.path = in_folder(name)};
}

static struct transfer_request get_range(const char *name, uint64_t first, uint64_t last)
{
    return (struct transfer_request){.path = in_folder(name), .ranged = true, .first = first, .last = last};
}

static struct outcome *expect(struct transfer_request *request, int error, int status)
{
    struct outcome *outcome = test_fetch(request);
    assert_int_equal(outcome->error, error);
    assert_int_equal(outcome->result.status, status);
    assert_int_equal(outcome->heads, 1);
    return outcome;
}

static void test_whole(void **state)
{
    (void)state;
    static const char *const names[] = {"image", "link"};
    for (size_t i = 0; i < 2; i++) {
        struct transfer_request request = get(names[i]);
        struct outcome *outcome = expect(&request, 0, 200);
        assert_int_equal(outcome->head.length, SIZE);
        assert_false(outcome->head.ranged);
        assert_int_equal(outcome->length, SIZE);
        assert_true(test_is_pattern(outcome->data, 0, SIZE));
        outcome_free(outcome);
    }
}

static void test_ranges(void **state)
{
    (void)state;
    static const uint64_t cases[][3] = {/* first, last, what last becomes */
        {0, 0, 0}, {1000, 2000, 2000}, {SIZE - 1, SIZE - 1, SIZE - 1}, {SIZE - 10, UINT64_MAX, SIZE - 1},
        {5, SIZE, SIZE - 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct transfer_request request = get_range("image", cases[i][0], cases[i][1]);
        struct outcome *outcome = expect(&request, 0, 206);
        assert_true(outcome->head.ranged);
        assert_int_equal(outcome->head.first, cases[i][0]);
        assert_int_equal(outcome->head.last, cases[i][2]);
        assert_int_equal(outcome->head.total, SIZE);
        assert_int_equal(outcome->length, cases[i][2] - cases[i][0] + 1);
        assert_true(test_is_pattern(outcome->data, cases[i][0], outcome->length));
        outcome_free(outcome);
    }
}

static void test_unsatisfied(void **state)
{
    (void)state;
    static const char *const names[] = {"image", "empty"};
    for (size_t i = 0; i < 2; i++) {
        uint64_t size = i == 0 ? SIZE : 0;
        struct transfer_request request = get_range(names[i], size, size + 10);
        struct outcome *outcome = expect(&request, 0, 416);
        assert_true(outcome->head.ranged && outcome->head.first > outcome->head.last);
        assert_int_equal(outcome->head.total, size);
        assert_int_equal(outcome->length, 0);
        outcome_free(outcome);
    }
}

static void test_head_and_empty(void **state)
{
    (void)state;
    struct transfer_request request = get("empty");
    struct outcome *outcome = expect(&request, 0, 200);
    assert_int_equal(outcome->head.length, 0);
    outcome_free(outcome);
    request = get("image");
    request.method = "HEAD";
    outcome = expect(&request, 0, 200);
    assert_int_equal(outcome->head.length, SIZE);
    assert_int_equal(outcome->length, 0);
    outcome_free(outcome);
    request = get("image");
    request.method = "POST";
    assert_int_equal(test_start_error(&request), -EINVAL);
    transfer_request_clear(&request);
}

static void test_not_there(void **state)
{
    (void)state;
    static const char *const names[] = {"absent", "folder", "pipe", "image/below", "../../dev/null"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct transfer_request request = get(names[i]);
        struct outcome *outcome = expect(&request, 0, 404);
        assert_int_equal(outcome->length, 0);
        outcome_free(outcome);
    }
}

static void test_not_ours(void **state)
{
    (void)state;
    if (geteuid() == 0) {
        print_message("skipped: root may read every file\n");
        skip();
    }
    char *path = in_folder("empty");
    assert_int_equal(chmod(path, 0), 0);
    struct transfer_request request = get("empty");
    outcome_free(expect(&request, 0, 403));
    assert_int_equal(chmod(path, 0600), 0);
    free(path);
}

/* The value of HEADER of the file NAME; free() it. */
static char *header_of(const char *name, const char *header)
{
    struct transfer_request request = get(name);
    request.method = "HEAD";
    struct outcome *outcome = test_fetch_asking(&request, header);
    char *value = outcome->header;
    outcome->header = NULL;
    outcome_free(outcome);
    assert_non_null(value);
    return value;
}

static int status_with(const char *name, const char *value)
{
    struct transfer_request request = get_range("image", 0, 99);
    assert_int_equal(transfer_request_header(&request, name, value), 0);
    struct outcome *outcome = test_fetch(&request);
    assert_int_equal(outcome->error, 0);
    int status = outcome->result.status;
    outcome_free(outcome);
    return status;
}

static void test_conditions(void **state)
{
    (void)state;
    char *etag = header_of("image", "etag"), *other = header_of("empty", "ETag"), *list;
    assert_true(etag[0] == '"' && etag[strlen(etag) - 1] == '"');
    assert_string_not_equal(etag, other);
    assert_int_equal(status_with("If-Match", etag), 206);
    assert_int_equal(status_with("if-match", other), 412);
    assert_int_equal(status_with("If-Match", "*"), 206);
    assert_true(asprintf(&list, "%s, %s", other, etag) > 0);
    assert_int_equal(status_with("If-Match", list), 206);
    free(list);
    assert_true(asprintf(&list, "W/%s", etag) > 0);
    assert_int_equal(status_with("If-Match", list), 412);
    free(list);
    assert_int_equal(status_with("If-Range", etag), 206);
    assert_int_equal(status_with("If-Range", other), 200);
    free(etag);
    free(other);
}

static void test_modified(void **state)
{
    (void)state;
    char *path = in_folder("image");
    const struct timespec times[2] = {{784111777, 0}, {784111777, 5}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    char *modified = header_of("image", "last-modified");
    assert_string_equal(modified, "Sun, 06 Nov 1994 08:49:37 GMT");
    free(modified);
    free(path);
}

static void test_changes_are_seen(void **state)
{
    (void)state;
    /* A cap leaves time between the head and the last slice. Each change must end it; none may go unnoticed. */
    for (int change = 0; change < 3; change++) {
        write_file("changing", SIZE);
        struct transfer_request request = get("changing");
        request.max_rate = 2 * 1024 * 1024;
        struct outcome *outcome = test_start(&request);
        test_wait_head(outcome);
        char *path = in_folder("changing");
        if (change == 0) {
            assert_int_equal(truncate(path, 1000), 0);
        } else if (change == 1) {
            const struct timespec times[2] = {{1, 0}, {1, 0}};
            assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
        } else {
            write_file("second", SIZE);
            char *second = in_folder("second");
            assert_int_equal(rename(second, path), 0);
            free(second);
        }
        test_wait_outcome(outcome);
        assert_int_equal(outcome->error, -ESTALE);
        assert_true(*outcome->result.message);
        assert_true(outcome->length < SIZE && test_is_pattern(outcome->data, 0, outcome->length));
        outcome_free(outcome);
        free(path);
    }
}

static void test_turns(void **state)
{
    (void)state;
    /* Three at once: by the time one ends, each of the others has had its turns. */
    struct transfer_request requests[3] = {get("image"), get("link"), get("image")};
    struct outcome *outcomes[3];
    test_fetch_all(requests, 3, outcomes);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(outcomes[i]->error, 0);
        assert_int_equal(outcomes[i]->calls, 6);
        assert_int_equal(outcomes[i]->order, 3 * 5 + i);
        assert_true(test_is_pattern(outcomes[i]->data, 0, SIZE));
        outcome_free(outcomes[i]);
    }
}

static void test_cap(void **state)
{
    (void)state;
    struct transfer_request request = get_range("image", 0, 1024 * 1024 - 1);
    request.max_rate = 4 * 1024 * 1024;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    struct outcome *outcome = expect(&request, 0, 206);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_int_equal(outcome->calls, 4);
    int64_t ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
    assert_true(ms >= 180); /* three pauses of 62 ms */
    outcome_free(outcome);
}

static void test_callback_errors(void **state)
{
    (void)state;
    struct transfer_request request = get("image");
    struct outcome *outcome = test_fetch_failing(&request, -EDOM, 0);
    assert_int_equal(outcome->error, -EDOM);
    assert_int_equal(outcome->length, 0);
    outcome_free(outcome);
    request = get("image");
    outcome = test_fetch_failing(&request, 0, -EXDEV);
    assert_int_equal(outcome->error, -EXDEV);
    assert_int_equal(outcome->calls, 1);
    outcome_free(outcome);
}

static void test_perform(void **state)
{
    (void)state;
    struct transfer_request request = get("image");
    struct outcome *outcome = test_perform_outcome(&request);
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->length, SIZE);
    outcome_free(outcome);
}

static void test_stop(void **state)
{
    (void)state;
    struct transfer_request request = get("image");
    request.max_rate = 1; /* would take years */
    struct outcome *outcome = test_start(&request);
    test_wait_head(outcome);
    transfers_stop(test_loop());
    test_wait_outcome(outcome);
    assert_int_equal(outcome->error, -ECANCELED);
    outcome_free(outcome);
}

int main(void)
{
#define IN_LOOP(test) cmocka_unit_test_setup_teardown(test, test_loop_start, test_loop_stop)
    const struct CMUnitTest tests[] = {
        IN_LOOP(test_whole),
        IN_LOOP(test_ranges),
        IN_LOOP(test_unsatisfied),
        IN_LOOP(test_head_and_empty),
        IN_LOOP(test_not_there),
        IN_LOOP(test_not_ours),
        IN_LOOP(test_conditions),
        IN_LOOP(test_modified),
        IN_LOOP(test_changes_are_seen),
        IN_LOOP(test_turns),
        IN_LOOP(test_cap),
        IN_LOOP(test_callback_errors),
        IN_LOOP(test_perform),
        IN_LOOP(test_stop),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
