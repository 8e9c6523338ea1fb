/* SPDX-License-Identifier: Apache-2.0 */
/* A stream into a file: gathered to whole folios, or as far as somebody waits; what fails is not counted. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/writer.h"

enum { FOLIO = WRITER_FOLIO, MOST = 8 * FOLIO };

struct stream {
    struct writer writer;
    uint64_t start, pos, end;
    unsigned writes, odd; /* odd: that ended at no folio's end and not at the stream's */
};

static void written(void *context, uint64_t length)
{
    struct stream *s = context;
    s->pos += length;
    s->writes++;
    s->odd += s->pos % FOLIO != 0 && s->pos != s->end;
}

static int new_file(void)
{
    char path[] = "/tmp/gcfs-writer-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

static struct stream begin(int fd, uint64_t start, uint64_t end, struct stream *self)
{
    struct stream s = {.writer = {.fd = fd, .written = written, .context = self}, .start = start, .pos = start, .end = end};
    s.writer.buffer = malloc(FOLIO);
    assert_non_null(s.writer.buffer);
    return s;
}

static unsigned char byte_at(uint64_t offset)
{
    return (unsigned char)(offset * 2654435761u >> 7);
}

static int put(struct stream *s, size_t length)
{
    unsigned char *bytes = malloc(length + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = byte_at(s->pos + s->writer.gathered + i);
    int r = writer_put(&s->writer, s->pos, s->end, bytes, length);
    free(bytes);
    return r;
}

static void expect_content(const struct stream *s)
{
    unsigned char *bytes = malloc(MOST);
    assert_non_null(bytes);
    assert_int_equal(pread(s->writer.fd, bytes, s->pos - s->start, (off_t)s->start), s->pos - s->start);
    for (uint64_t i = 0; i < s->pos - s->start; i++) {
        if (bytes[i] != byte_at(s->start + i))
            fail_msg("byte %llu is wrong", (unsigned long long)(s->start + i));
    }
    free(bytes);
}

static void finish(struct stream *s)
{
    expect_content(s);
    free(s->writer.buffer);
    close(s->writer.fd);
}

static void what_nobody_waits_for_is_gathered(void **state)
{
    struct stream s = begin(new_file(), 0, 2 * FOLIO + 10, &s);
    (void)state;
    assert_int_equal(put(&s, FOLIO - 1), 0);
    assert_int_equal(s.pos, 0);
    assert_int_equal(s.writer.gathered, FOLIO - 1);
    assert_int_equal(put(&s, 2), 0); /* the folio is full: it is written, the rest is gathered */
    assert_int_equal(s.pos, FOLIO);
    assert_int_equal(s.writer.gathered, 1);
    assert_int_equal(put(&s, FOLIO - 1), 0);
    assert_int_equal(s.pos, 2 * FOLIO);
    assert_int_equal(put(&s, 10), 0); /* the end of the stream is the end of its last piece */
    assert_int_equal(s.pos, s.end);
    assert_int_equal(s.writer.gathered, 0);
    assert_int_equal(s.writes, 3);
    finish(&s);
}

static void the_first_part_goes_to_who_waits(void **state)
{
    struct stream s = begin(new_file(), 100, 3 * FOLIO, &s);
    (void)state;
    assert_int_equal(put(&s, 1000), 0);
    assert_int_equal(writer_flush(&s.writer, s.pos, s.end, 0), 0);
    assert_int_equal(s.pos, 100);
    assert_int_equal(writer_flush(&s.writer, s.pos, s.end, 300), 0);
    assert_int_equal(s.pos, 400);
    assert_int_equal(s.writer.gathered, 700);
    assert_int_equal(put(&s, 50), 0);
    assert_int_equal(writer_flush(&s.writer, s.pos, s.end, s.writer.gathered), 0);
    assert_int_equal(s.pos, 1150);
    assert_int_equal(put(&s, (size_t)(3 * FOLIO - 1150)), 0); /* from the middle of a folio to the end, at once */
    assert_int_equal(s.pos, s.end);
    finish(&s);
}

static void without_a_buffer_it_is_written_as_it_comes(void **state)
{
    struct stream s = begin(new_file(), 0, FOLIO, &s);
    (void)state;
    free(s.writer.buffer);
    s.writer.buffer = NULL;
    assert_int_equal(put(&s, 5), 0);
    assert_int_equal(s.pos, 5);
    assert_int_equal(put(&s, 0), 0);
    assert_int_equal(s.writes, 1);
    finish(&s);
}

static void what_the_disk_does_not_take_is_not_counted(void **state)
{
    struct stream s = begin(open("/dev/full", O_WRONLY | O_CLOEXEC), 0, 2 * FOLIO, &s);
    (void)state;
    assert_true(s.writer.fd >= 0);
    assert_int_equal(put(&s, 10), 0); /* not tried yet */
    assert_int_equal(writer_flush(&s.writer, s.pos, s.end, 5), -ENOSPC);
    assert_int_equal(s.writer.gathered, 0);
    assert_int_equal(put(&s, FOLIO + 3), -ENOSPC);
    assert_int_equal(s.pos, 0);
    assert_int_equal(s.writes, 0);
    free(s.writer.buffer);
    close(s.writer.fd);
}

/* Pieces of any length, from any offset: all bytes are where they belong, and but for the last no write ends within a folio. */
static void any_pieces(void **state)
{
    uint32_t seed = 1;
    (void)state;
    for (int round = 0; round < 40; round++) {
        seed = seed * 1103515245 + 12345;
        struct stream s = begin(new_file(), (seed >> 8) % (2 * FOLIO), 0, &s);
        s.end = s.start + (seed >> 3) % (4 * FOLIO) + 1;
        while (s.pos + s.writer.gathered < s.end) {
            seed = seed * 1103515245 + 12345;
            uint64_t left = s.end - s.pos - s.writer.gathered, piece = (seed >> 8) % (seed % 3 == 0 ? 2 * FOLIO : 20000) + 1;
            assert_int_equal(put(&s, (size_t)(piece < left ? piece : left)), 0);
        }
        assert_int_equal(s.pos, s.end);
        assert_int_equal(s.odd, 0);
        finish(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_waits_for_is_gathered),
        cmocka_unit_test(the_first_part_goes_to_who_waits),
        cmocka_unit_test(without_a_buffer_it_is_written_as_it_comes),
        cmocka_unit_test(what_the_disk_does_not_take_is_not_counted),
        cmocka_unit_test(any_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
