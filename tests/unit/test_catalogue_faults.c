/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue through what goes wrong: SIGKILL at any moment, damage, a newer schema, a full disk, many threads. */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/clock.h"
#include "catalogue/catalogue.h"
#include "image/chunkmap.h"
#include "scratch.h"
#include "store/store.h"

enum { IMAGE_SIZE = 100 * CHUNK_MIN };

/* ---- what must hold at any time */

static int64_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static void check_tables(const char *path)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(ask(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    /* at most one live row a name */
    assert_int_equal(ask(db, "SELECT count(*) FROM (SELECT name FROM images WHERE state < 3"
                             " GROUP BY name HAVING count(*) > 1)"), 0);
    /* a partial row has a map, no other has one */
    assert_int_equal(ask(db, "SELECT count(*) FROM images LEFT JOIN maps USING (id)"
                             " WHERE (state = 1) <> (bits IS NOT NULL)"), 0);
    assert_int_equal(ask(db, "SELECT count(*) FROM maps WHERE id NOT IN (SELECT id FROM images)"), 0);
    assert_int_equal(ask(db, "SELECT count(*) FROM images WHERE (state = 2 AND bytes <> size)"
                             " OR (state = 0 AND bytes <> 0)"), 0);
    /* the totals are those of a full scan */
    assert_int_equal(ask(db, "SELECT count(*) FROM totals t WHERE state < 4"
                             " AND (images <> (SELECT count(*) FROM images WHERE state = t.state)"
                             " OR bytes <> (SELECT coalesce(sum(bytes), 0) FROM images WHERE state = t.state))"), 0);
    assert_int_equal(ask(db, "SELECT images <> (SELECT count(*) FROM queue) FROM totals WHERE state = 4"), 0);
    assert_int_equal(ask(db, "SELECT images <> (SELECT count(*) FROM invalid)"
                             " OR bytes <> (SELECT coalesce(sum(bytes), 0) FROM invalid) FROM totals WHERE state = 5"), 0);
    sqlite3_close(db);
}

/* The bytes of a partial row are those of its map: both were written in one commit. */
static void check_maps(struct catalogue *c)
{
    struct image_row row = { .row = 0 };
    int r;
    while ((r = catalogue_page(c, CATALOGUE_INCOMPLETE, row.row, &row, 1)) > 0) {
        void *bits;
        size_t length;
        struct chunkmap *map;
        assert_int_equal(catalogue_load_map(c, row.row, &bits, &length), 0);
        assert_int_equal(chunkmap_load(row.meta.size, bits, length, &map), 0);
        assert_int_equal(chunkmap_present(map), row.bytes);
        chunkmap_free(map);
        free(bits);
    }
    assert_int_equal(r, 0);
}

/* ---- a stream of work, for children and threads: no assertions of the test, -errno instead */

static int expected(int r)
{
    return r == -ESTALE || r == -ENOENT ? 0 : r;
}

static int checkpoint_one(struct catalogue *c, int64_t row, unsigned *seed)
{
    struct chunkmap *map;
    int r = chunkmap_new(IMAGE_SIZE, &map);
    if (r < 0)
        return r;
    for (int i = 0; i < 10; i++)
        chunkmap_set(map, (unsigned)rand_r(seed) % 100);
    size_t length;
    const void *bits = chunkmap_bits(map, &length);
    r = catalogue_checkpoint(c, row, bits, length, chunkmap_present(map), rand_r(seed));
    chunkmap_free(map);
    return r;
}

static int work_once(struct catalogue *c, unsigned *seed)
{
    char name[16];
    snprintf(name, sizeof name, "image-%d", rand_r(seed) % 20);
    struct image_meta meta = { .size = IMAGE_SIZE };
    struct image_row row;
    struct queue_row queued;
    int64_t generation;
    int r = catalogue_learn(c, name, &meta, rand_r(seed), &row);
    if (r < 0)
        return r;
    switch (rand_r(seed) % 12) {
    case 0:
    case 1:
    case 2:
        return expected(catalogue_begin(c, row.row, "t", rand_r(seed)));
    case 3:
    case 4:
        return expected(checkpoint_one(c, row.row, seed));
    case 5:
        return expected(catalogue_complete(c, row.row, NULL, rand_r(seed)));
    case 6:
        return expected(catalogue_retire(c, row.row, rand_r(seed) & 1, rand_r(seed), NULL));
    case 7:
        r = catalogue_page(c, CATALOGUE_RETIRED, 0, &row, 1);
        return r > 0 ? catalogue_forget(c, row.row) : r;
    case 8:
        return expected(catalogue_reset(c, row.row, IMAGE_COMPLETE));
    case 9:
        return catalogue_queue_add(c, name, rand_r(seed), &queued);
    case 10:
        return catalogue_invalid_put(c, name, "why", 1, rand_r(seed));
    default:
        r = catalogue_listing_begin(c, &generation);
        if (r >= 0)
            r = catalogue_listing_put(c, generation, &(struct listed_image){ .name = name, .size = IMAGE_SIZE }, 1, 1);
        if (r >= 0)
            r = catalogue_listing_end(c, generation, 1);
        return expected(r);
    }
}

/* ---- SIGKILL */

/* Works until killed; a byte for each round whose number is committed. */
static void work_until_killed(const char *path, int progress, unsigned seed)
{
    struct catalogue *c;
    int r = catalogue_open(path, &c);
    int64_t rounds = 0;
    if (r >= 0)
        r = expected(catalogue_note_get(c, "rounds", &rounds));
    while (r >= 0) {
        r = work_once(c, &seed);
        if (r >= 0)
            r = catalogue_note_set(c, "rounds", ++rounds);
        if (r >= 0 && write(progress, "", 1) != 1)
            r = -errno;
    }
    dprintf(STDERR_FILENO, "child: %s\n", strerror(-r));
    _exit(1);
}

static void test_kills(void **state)
{
    const char *path = scratch_path(*state, "c.db");
    unsigned seed = 20240229;
    int64_t done = 0;
    for (int round = 0; round < 30; round++) {
        int progress[2];
        assert_int_equal(pipe(progress), 0);
        pid_t child = fork();
        if (child == 0) {
            close(progress[0]);
            work_until_killed(path, progress[1], seed + (unsigned)round);
        }
        close(progress[1]);
        /* Killed somewhere in what follows so many rounds: the opening, a commit, a checkpoint of the log. */
        char byte;
        for (int wait = rand_r(&seed) % 150; wait > 0 && read(progress[0], &byte, 1) == 1; wait--)
            done++;
        for (volatile int spin = rand_r(&seed) % 300000; spin > 0; spin--)
            ;
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        while (read(progress[0], &byte, 1) == 1)
            done++;
        close(progress[0]);

        struct catalogue *c = NULL;
        assert_int_equal(catalogue_open(path, &c), 0);
        int64_t rounds = 0;
        assert_int_equal(expected(catalogue_note_get(c, "rounds", &rounds)), 0);
        assert_true(rounds >= done); /* what was committed is there */
        done = rounds;
        check_maps(c);
        check_tables(path);
        catalogue_close(c);
    }
    assert_true(done > 100);
}

/* ---- damage */

static void fill(const char *path, int images)
{
    struct catalogue *c = NULL;
    assert_int_equal(catalogue_open(path, &c), 0);
    int64_t generation;
    assert_int_equal(catalogue_listing_begin(c, &generation), 0);
    for (int i = 0; i < images; i++) {
        char name[64];
        snprintf(name, sizeof name, "an-image-with-a-name-of-some-length-%06d", i);
        struct listed_image image = { .name = name, .size = IMAGE_SIZE };
        assert_int_equal(catalogue_listing_put(c, generation, &image, 1, 1), 0);
    }
    assert_int_equal(catalogue_listing_end(c, generation, 1), 0);
    unsigned seed = 1;
    for (int i = 0; i < 100; i++)
        assert_true(work_once(c, &seed) >= 0);
    catalogue_close(c);
}

static void *read_all(const char *path, size_t *ret_length)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    char *data = malloc((size_t)st.st_size + 1);
    assert_non_null(data);
    assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_length = (size_t)st.st_size;
    return data;
}

static void write_at(const char *path, const void *data, size_t length, off_t at, bool truncate)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (truncate ? O_TRUNC : 0), 0640);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, length, at), length);
    close(fd);
}

/* Refused as damaged and left as it is; set aside; a new one in its place works. */
static void check_recovers(struct scratch *s, const char *path)
{
    struct catalogue *c = NULL;
    size_t before, after;
    void *old = read_all(path, &before);
    assert_int_equal(catalogue_open(path, &c), -EBADMSG);
    assert_null(c);
    void *now = read_all(path, &after);
    assert_int_equal(before, after);
    assert_memory_equal(old, now, before);
    free(old);
    free(now);

    struct store *store;
    assert_int_equal(store_open(s->dir, &store), 0);
    assert_string_equal(store_catalogue_path(store), path);
    assert_int_equal(store_set_catalogue_aside(store, clock_now()), 0);
    store_close(store);
    fill(path, 3);
    check_tables(path);
}

static void test_garbage(void **state)
{
    const char *path = scratch_path(*state, ".catalogue.db");
    char garbage[10000];
    unsigned seed = 5;
    for (size_t i = 0; i < sizeof garbage; i++)
        garbage[i] = (char)rand_r(&seed);
    write_at(path, garbage, sizeof garbage, 0, true);
    check_recovers(*state, path);
    write_at(path, "short", 5, 0, true);
    check_recovers(*state, path);
}

/* Its pages; the file is longer by what is put by for a full disk. */
static off_t pages_of(const char *path)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    off_t pages = ask(db, "PRAGMA page_count");
    sqlite3_close(db);
    return pages;
}

static void test_truncated(void **state)
{
    const char *path = scratch_path(*state, ".catalogue.db");
    fill(path, 500);
    assert_int_equal(truncate(path, pages_of(path) / 2 * 4096), 0);
    check_recovers(*state, path);
    fill(path, 500);
    assert_int_equal(truncate(path, pages_of(path) * 4096 - 100), 0);
    check_recovers(*state, path);
}

static void test_every_page(void **state)
{
    const char *path = scratch_path(*state, ".catalogue.db");
    fill(path, 300);
    size_t length;
    char *good = read_all(path, &length), bad[4096];
    memset(bad, 0xa5, sizeof bad);
    assert_true(length > 20 * sizeof bad);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(ask(db, "PRAGMA freelist_count"), 0);
    sqlite3_close(db);
    size_t used = (size_t)pages_of(path) * sizeof bad;
    assert_true(used <= length);
    for (size_t at = 0; at < used; at += sizeof bad) {
        struct catalogue *c = NULL;
        write_at(path, good, length, 0, true);
        write_at(path, bad, sizeof bad, (off_t)at, false);
        assert_int_equal(catalogue_open(path, &c), -EBADMSG);
        assert_null(c);
    }
    free(good);
    check_recovers(*state, path);
}

static void alter(const char *path, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_not_ours(void **state)
{
    const char *path = scratch_path(*state, ".catalogue.db");
    alter(path, "CREATE TABLE images (x)");
    check_recovers(*state, path);
    alter(path, "DROP TABLE queue");
    check_recovers(*state, path);
    alter(path, "DROP INDEX images_lru");
    check_recovers(*state, path);
    alter(path, "DELETE FROM totals");
    check_recovers(*state, path);
}

/* A name that could leave the directory, written by somebody else: an error, nothing worse. */
static void test_evil_name(void **state)
{
    const char *path = scratch_path(*state, ".catalogue.db");
    fill(path, 0);
    alter(path, "INSERT INTO images (name, state) VALUES ('../../etc/passwd', 2)");
    struct catalogue *c;
    struct image_row row;
    assert_int_equal(catalogue_open(path, &c), 0);
    assert_int_equal(catalogue_find(c, "../../etc/passwd", &row), -EBADMSG);
    catalogue_close(c);
}

static void test_newer_schema(void **state)
{
    const char *path = scratch_path(*state, ".catalogue.db");
    fill(path, 3);
    alter(path, "PRAGMA journal_mode = DELETE; PRAGMA user_version = 999");
    struct catalogue *c = NULL;
    size_t before, after;
    void *old = read_all(path, &before);
    assert_int_equal(catalogue_open(path, &c), -EPROTONOSUPPORT);
    assert_null(c);
    void *now = read_all(path, &after);
    assert_int_equal(before, after);
    assert_memory_equal(old, now, before);
    free(old);
    free(now);
}

/* A log whose end is damaged, as after a power cut: the commits before it stand. */
static void test_damaged_log(void **state)
{
    const char *path = scratch_path(*state, "c.db"), *copy = scratch_path(*state, "d.db");
    struct catalogue *c;
    assert_int_equal(catalogue_open(path, &c), 0);
    for (int i = 1; i <= 50; i++)
        assert_int_equal(catalogue_note_set(c, "n", i), 0);
    static const char *const suffixes[] = { "", "-wal" };
    size_t length = 0;
    for (int i = 0; i < 2; i++) {
        char from[PATH_MAX], to[PATH_MAX];
        snprintf(from, sizeof from, "%s%s", path, suffixes[i]);
        snprintf(to, sizeof to, "%s%s", copy, suffixes[i]);
        char *data = read_all(from, &length);
        if (i == 1)
            memset(data + length / 2, 0x5a, 100);
        write_at(to, data, length, 0, true);
        free(data);
    }
    catalogue_close(c);

    int64_t n = 0;
    assert_int_equal(catalogue_open(copy, &c), 0);
    assert_int_equal(catalogue_note_get(c, "n", &n), 0);
    assert_in_range(n, 1, 49);
    assert_int_equal(catalogue_note_set(c, "n", 100), 0);
    catalogue_close(c);
    check_tables(copy);
}

/* ---- a full disk: a small tmpfs in a mount namespace of a child's own */

enum { CHILD_OK = 0, CHILD_SKIP = 77 };

#define CHILD_CHECK(what)                                                    \
    do {                                                                     \
        if (!(what)) {                                                       \
            dprintf(STDERR_FILENO, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
            _exit(1);                                                        \
        }                                                                    \
    } while (0)

static void fill_disk(const char *path)
{
    static const char block[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHILD_CHECK(fd >= 0);
    while (write(fd, block, sizeof block) > 0)
        ;
    CHILD_CHECK(errno == ENOSPC);
    close(fd);
}

static bool tell_kernel(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool told = fd >= 0 && write(fd, text, strlen(text)) > 0;
    close(fd);
    return told;
}

/* As root in a mount namespace; as anybody else, root of a user namespace first. */
static bool own_namespace(void)
{
    if (unshare(CLONE_NEWNS) == 0)
        return true;
    char users[32], groups[32];
    snprintf(users, sizeof users, "0 %u 1", getuid());
    snprintf(groups, sizeof groups, "0 %u 1", getgid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && tell_kernel("/proc/self/setgroups", "deny") &&
           tell_kernel("/proc/self/uid_map", users) && tell_kernel("/proc/self/gid_map", groups);
}

static void run_on_full_disk(const char *dir)
{
    if (!own_namespace())
        _exit(CHILD_SKIP);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("none", dir, "tmpfs", 0, "size=5m,mode=0777") < 0)
        _exit(CHILD_SKIP);
    char path[PATH_MAX], filler[PATH_MAX];
    snprintf(path, sizeof path, "%s/c.db", dir);
    snprintf(filler, sizeof filler, "%s/filler", dir);
    struct catalogue *c;
    CHILD_CHECK(catalogue_open(path, &c) == 0);
    struct image_meta meta = { .size = 1 };
    struct image_row row;
    CHILD_CHECK(catalogue_learn(c, "x", &meta, 1, &row) == 0);
    catalogue_close(c); /* copies the log back: the database has its place */
    CHILD_CHECK(catalogue_open(path, &c) == 0);
    CHILD_CHECK(catalogue_set_pinned(c, row.row, true) == 0);
    fill_disk(filler);

    /* Changing what is there goes on as if nothing were: the log keeps to the blocks that were put by for it. */
    for (int i = 0; i < 3000; i++)
        CHILD_CHECK(catalogue_set_pinned(c, row.row, i & 1) == 0);

    /* So does growing, for a while; then it fails, and says why; what stands is still read. */
    struct image_row found;
    char name[300];
    int r = 0;
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "%0100d", i);
        CHILD_CHECK(catalogue_learn(c, name, &meta, 1, &found) == 0);
    }
    for (int i = 0; i < 10000 && r == 0; i++) {
        snprintf(name, sizeof name, "%0200d", i);
        r = catalogue_learn(c, name, &meta, 1, &found);
    }
    CHILD_CHECK(r == -ENOSPC);
    CHILD_CHECK(catalogue_find(c, name, &found) == -ENOENT);
    CHILD_CHECK(catalogue_find(c, "x", &found) == 0);
    CHILD_CHECK(unlink(filler) == 0);
    CHILD_CHECK(catalogue_learn(c, name, &meta, 1, &found) == 0);
    catalogue_close(c);
    CHILD_CHECK(catalogue_open(path, &c) == 0);
    CHILD_CHECK(catalogue_find(c, name, &found) == 0);
    catalogue_close(c);
    _exit(CHILD_OK);
}

static void test_full_disk(void **state)
{
    struct scratch *s = *state;
    pid_t child = fork();
    if (child == 0)
        run_on_full_disk(s->dir);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CHILD_SKIP) {
        print_message("may not mount a tmpfs here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), CHILD_OK);
}

/* ---- threads */

enum { WRITERS = 4, READERS = 12, ROUNDS = 200 };

struct job {
    struct catalogue *c;
    unsigned seed;
    bool writer;
    int result;
};

static int read_once(struct catalogue *c, unsigned *seed)
{
    struct image_row rows[8];
    struct catalogue_totals totals;
    struct queue_row queued;
    int r = catalogue_page(c, (enum catalogue_view)(rand_r(seed) % 4), 0, rows, 8);
    if (r >= 0)
        r = catalogue_totals(c, &totals);
    if (r >= 0 && totals.known + totals.partial + totals.complete > 20)
        r = -ERANGE; /* there are 20 names */
    if (r >= 0)
        r = catalogue_least_recent(c, 0, 0, rows, 8);
    if (r >= 0)
        r = expected(catalogue_find(c, "image-1", rows));
    if (r >= 0)
        r = expected(catalogue_queue_find(c, "image-1", &queued));
    return r;
}

static void *run_job(void *argument)
{
    struct job *job = argument;
    for (int i = 0; i < ROUNDS && job->result >= 0; i++)
        job->result = job->writer ? work_once(job->c, &job->seed) : read_once(job->c, &job->seed);
    return NULL;
}

static void test_threads(void **state)
{
    const char *path = scratch_path(*state, "c.db");
    struct catalogue *c;
    assert_int_equal(catalogue_open(path, &c), 0);
    pthread_t threads[WRITERS + READERS];
    struct job jobs[WRITERS + READERS];
    for (int i = 0; i < WRITERS + READERS; i++) {
        jobs[i] = (struct job){ .c = c, .seed = (unsigned)i, .writer = i < WRITERS };
        assert_int_equal(pthread_create(&threads[i], NULL, run_job, &jobs[i]), 0);
    }
    for (int i = 0; i < WRITERS + READERS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(jobs[i].result >= 0);
    }
    check_maps(c);
    catalogue_close(c);
    check_tables(path);
}

/* The log is copied back and starts anew: it does not grow with the number of commits. */
static void test_log_stays_small(void **state)
{
    const char *path = scratch_path(*state, "c.db");
    struct catalogue *c;
    assert_int_equal(catalogue_open(path, &c), 0);
    struct image_meta meta = { .size = UINT64_C(1) << 34 };
    struct image_row row;
    assert_int_equal(catalogue_learn(c, "x", &meta, 1, &row), 0);
    assert_int_equal(catalogue_begin(c, row.row, "t", 1), 0);
    size_t length = 32768;
    void *bits = calloc(1, length);
    for (int i = 0; i < 2000; i++) /* 64 MiB in all */
        assert_int_equal(catalogue_checkpoint(c, row.row, bits, length, 0, i), 0);
    free(bits);
    struct stat st;
    assert_int_equal(stat(scratch_path(*state, "c.db-wal"), &st), 0);
    assert_true(st.st_size < 20 << 20);
    catalogue_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(test_kills),
        scratch_test(test_garbage),
        scratch_test(test_truncated),
        scratch_test(test_every_page),
        scratch_test(test_not_ours),
        scratch_test(test_evil_name),
        scratch_test(test_newer_schema),
        scratch_test(test_damaged_log),
        scratch_test(test_full_disk),
        scratch_test(test_threads),
        scratch_test(test_log_stays_small),
    };
    return cmocka_run_group_tests_name("catalogue faults", tests, NULL, NULL);
}
