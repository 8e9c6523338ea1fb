/* SPDX-License-Identifier: Apache-2.0 */
/* Memory found ahead of a writer: only where writing proves dear, every second block, within what will be written, before it is written and
 * not for ever in vain. */
#include "config-auto.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "scratch.h"
#include "store/prefault.h"

#define BLOCK ((uint64_t)PREFAULT_BLOCK)
#define PIECE (512u << 10)

enum { CHEAP = 100 << 10, DEAR = 5 << 20 }; /* ns for a piece */

struct file {
    int fd;
    uint64_t blocks;
    struct prefault *prefault;
    uint64_t ahead;
};

static struct file begin(void **state, uint64_t blocks)
{
    struct file f = {.blocks = blocks};
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        skip(); /* it does nothing there */
    f.fd = open(scratch_path(*state, "sparse"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(f.fd >= 0);
    assert_int_equal(ftruncate(f.fd, (off_t)(blocks * BLOCK)), 0);
    assert_int_equal(prefault_new(&f.prefault), 0);
    return f;
}

static void wrote(struct file *f, uint64_t offset, int64_t ns, uint64_t end)
{
    prefault_wrote(f->prefault, &f->ahead, f->fd, offset, PIECE, ns, end);
}

/* Is any page of BLOCK in memory? */
static bool resident(const struct file *f, uint64_t block)
{
    long page = sysconf(_SC_PAGESIZE);
    size_t pages = (size_t)(BLOCK / (uint64_t)page);
    unsigned char *in = malloc(pages);
    void *at = mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, f->fd, (off_t)(block * BLOCK));
    assert_non_null(in);
    assert_ptr_not_equal(at, MAP_FAILED);
    assert_int_equal(mincore(at, BLOCK, in), 0);
    bool any = false;
    for (size_t i = 0; i < pages; i++)
        any |= in[i] & 1;
    munmap(at, BLOCK);
    free(in);
    return any;
}

/* Waits for what is under way, looks that exactly the blocks of EXPECTED ('x': in memory) are, all zeros, and ends. */
static void end(struct file *f, const char *expected)
{
    static unsigned char bytes[PREFAULT_BLOCK], zeros[PREFAULT_BLOCK];
    prefault_free(f->prefault);
    for (uint64_t b = 0; expected[b] != '\0'; b++)
        assert_int_equal(resident(f, b), expected[b] == 'x');
    for (uint64_t b = 0; b < f->blocks; b++) {
        assert_int_equal(pread(f->fd, bytes, BLOCK, (off_t)(b * BLOCK)), BLOCK);
        assert_memory_equal(bytes, zeros, BLOCK);
    }
    struct stat st;
    assert_int_equal(fstat(f->fd, &st), 0);
    assert_int_equal(st.st_size, f->blocks * BLOCK);
    close(f->fd);
}

static void nothing_while_writing_is_cheap(void **state)
{
    struct file f = begin(state, 8);
    for (uint64_t at = 0; at < 8 * BLOCK; at += PIECE)
        wrote(&f, at, CHEAP, 8 * BLOCK);
    assert_int_equal(f.ahead, 0);
    end(&f, "........");
}

static void every_second_block_where_it_is_dear(void **state)
{
    struct file f = begin(state, 10);
    wrote(&f, 0, DEAR, 10 * BLOCK);
    assert_int_equal(f.ahead, 4 * BLOCK);
    wrote(&f, PIECE, DEAR, 10 * BLOCK); /* these are asked for already */
    assert_int_equal(f.ahead, 4 * BLOCK);
    end(&f, ".x.x......");
}

static void not_the_block_that_is_being_written(void **state)
{
    struct file f = begin(state, 10);
    wrote(&f, 3 * BLOCK, DEAR, 10 * BLOCK);
    end(&f, ".....x....");
}

static void not_beyond_what_will_be_written(void **state)
{
    struct file f = begin(state, 8);
    wrote(&f, 0, DEAR, 2 * BLOCK - 1);
    assert_int_equal(f.ahead, 0);
    wrote(&f, 0, DEAR, 2 * BLOCK);
    assert_int_equal(f.ahead, 2 * BLOCK);
    end(&f, ".x......");
}

static void a_short_write_tells_nothing(void **state)
{
    struct file f = begin(state, 4);
    prefault_wrote(f.prefault, &f.ahead, f.fd, 0, 64 << 10, DEAR, 4 * BLOCK);
    assert_int_equal(f.ahead, 0);
    end(&f, "....");
}

/* Asks for blocks 1 and 3, writes the first of them as often as it takes to judge. */
static struct file touched(void **state, int64_t ns)
{
    struct file f = begin(state, 12);
    wrote(&f, 0, DEAR, 12 * BLOCK);
    for (int i = 0; i < 100; i++)
        wrote(&f, BLOCK + PIECE, ns, 12 * BLOCK);
    while (!resident(&f, 1) || !resident(&f, 3))
        usleep(1000);
    return f;
}

static void it_goes_on_while_it_helps(void **state)
{
    struct file f = touched(state, CHEAP);
    while (f.ahead < 8 * BLOCK) { /* the thread may not have counted yet what it has done */
        usleep(1000);
        wrote(&f, 4 * BLOCK, DEAR, 12 * BLOCK);
    }
    end(&f, ".x.x.x.x....");
}

static void it_is_given_up_when_it_does_not_help(void **state)
{
    struct file f = touched(state, DEAR);
    wrote(&f, 4 * BLOCK, DEAR, 12 * BLOCK);
    assert_int_equal(f.ahead, 4 * BLOCK);
    end(&f, ".x.x........");
}

static void a_block_is_touched_before_it_is_written_or_not_at_all(void **state)
{
    enum { BLOCKS = 64 };
    char expected[BLOCKS + 1] = "";
    struct file f = begin(state, BLOCKS);
    for (uint64_t b = 0; b < BLOCKS; b += 2) {
        wrote(&f, b * BLOCK, DEAR, BLOCKS * BLOCK);
        prefault_before(f.prefault, f.ahead, f.fd, (b + 1) * BLOCK, PIECE);
        expected[b] = '.';
        expected[b + 1] = resident(&f, b + 1) ? 'x' : '.';
    }
    end(&f, expected);
}

static void it_waits_for_no_other_block(void **state)
{
    struct file f = begin(state, 12);
    wrote(&f, 0, DEAR, 12 * BLOCK);
    prefault_before(f.prefault, f.ahead, f.fd, 0, PIECE);
    prefault_before(f.prefault, f.ahead, f.fd, 2 * BLOCK, PIECE);
    prefault_before(f.prefault, f.ahead, f.fd + 1, BLOCK, PIECE);
    prefault_before(f.prefault, f.ahead, f.fd, 11 * BLOCK, PIECE);
    end(&f, ".x.x........");
}

static void a_file_that_cannot_be_mapped(void **state)
{
    struct file f = begin(state, 1);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    prefault_wrote(f.prefault, &f.ahead, pipes[1], 0, PIECE, DEAR, 8 * BLOCK);
    uint64_t ahead = f.ahead;
    prefault_wrote(f.prefault, &ahead, -1, 8 * BLOCK, PIECE, DEAR, 99 * BLOCK); /* no descriptor to be had */
    assert_int_equal(ahead, f.ahead);
    end(&f, ".");
    close(pipes[0]);
    close(pipes[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(nothing_while_writing_is_cheap), scratch_test(every_second_block_where_it_is_dear),
        scratch_test(not_the_block_that_is_being_written), scratch_test(not_beyond_what_will_be_written),
        scratch_test(a_short_write_tells_nothing), scratch_test(it_goes_on_while_it_helps),
        scratch_test(it_is_given_up_when_it_does_not_help), scratch_test(a_block_is_touched_before_it_is_written_or_not_at_all),
        scratch_test(it_waits_for_no_other_block), scratch_test(a_file_that_cannot_be_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
