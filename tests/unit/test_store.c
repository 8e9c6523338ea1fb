/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the cache directory: where they go, and what is refused. */
#include "config-auto.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "scratch.h"
#include "store/store.h"

static struct store *open_in(struct scratch *s)
{
    struct store *store = NULL;
    assert_int_equal(store_open(s->dir, &store), 0);
    return store;
}

static bool is_there(struct scratch *s, const char *name)
{
    return access(scratch_path(s, name), F_OK) == 0;
}

static void write_file(struct scratch *s, const char *name, const char *text)
{
    int fd = open(scratch_path(s, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void check_text(int fd, const char *text)
{
    char buffer[64] = "";
    assert_int_equal(pread(fd, buffer, sizeof buffer - 1, 0), strlen(text));
    assert_string_equal(buffer, text);
    close(fd);
}

static void test_open(void **state)
{
    struct scratch *s = *state;
    struct store *store = NULL;
    assert_int_equal(store_open(scratch_path(s, "none"), &store), -ENOENT);
    write_file(s, "file", "");
    assert_int_equal(store_open(scratch_path(s, "file"), &store), -ENOTDIR);
    assert_null(store);

    store = open_in(s);
    static const char *const folders[] = { "incomplete", "invalid", "queue", ".retired" };
    for (size_t i = 0; i < 4; i++) {
        struct stat st;
        assert_int_equal(stat(scratch_path(s, folders[i]), &st), 0);
        assert_true(S_ISDIR(st.st_mode));
        assert_int_equal(st.st_mode & 0027, 0);
    }
    assert_string_equal(store_catalogue_path(store), scratch_path(s, ".catalogue.db"));
    char path[PATH_MAX];
    assert_int_equal(store_glance_index_path(store, "cache.db", path, sizeof path), 0);
    assert_string_equal(path, scratch_path(s, "cache.db"));
    assert_int_equal(store_glance_index_path(store, "cache.db", path, strlen(path)), -ENAMETOOLONG);
    assert_int_equal(store_glance_index_path(store, "../cache.db", path, sizeof path), -EINVAL);
    assert_int_equal(store_glance_index_path(store, "", path, sizeof path), -EINVAL);
    assert_int_equal(store_glance_index_path(store, "..", path, sizeof path), -EINVAL);
    store_close(store);
    store_close(open_in(s));
    store_close(NULL);

    /* A folder that leads elsewhere is not followed. */
    assert_int_equal(rmdir(scratch_path(s, "invalid")), 0);
    assert_int_equal(symlink("/tmp", scratch_path(s, "invalid")), 0);
    assert_int_equal(store_open(s->dir, &store), -ENOTDIR);
}

/* A path given relative to the working directory stays true after chdir(). */
static void test_relative(void **state)
{
    struct scratch *s = *state;
    int cwd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct store *store = NULL;
    assert_int_equal(chdir(s->dir), 0);
    assert_int_equal(store_open(".", &store), 0);
    assert_int_equal(fchdir(cwd), 0);
    close(cwd);
    assert_string_equal(store_catalogue_path(store), scratch_path(s, ".catalogue.db"));
    store_close(store);
}

static void test_lock(void **state)
{
    struct scratch *s = *state;
    int fd = -1, second = -1, pid = 0;
    assert_int_equal(store_lock(scratch_path(s, "none"), &fd, &pid), -ENOENT);
    assert_int_equal(store_lock(s->dir, &fd, &pid), 0);
    assert_int_equal(store_lock(s->dir, &second, &pid), -EWOULDBLOCK);
    assert_int_equal(pid, getpid());
    assert_int_equal(second, -1);

    /* A child that inherited it keeps it when we close ours. */
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        close(gate[1]);
        _exit(read(gate[0], &byte, 1) != 0);
    }
    close(gate[0]);
    close(fd);
    assert_int_equal(store_lock(s->dir, &fd, &pid), -EWOULDBLOCK);
    close(gate[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(store_lock(s->dir, &fd, &pid), 0);
    close(fd);
}

static void test_life(void **state)
{
    struct scratch *s = *state;
    struct store *store = open_in(s);
    int fd = -1, other = -1;
    struct store_file file;
    assert_int_equal(store_open_image(store, STORE_COMPLETE, "x", &fd), -ENOENT);
    assert_int_equal(store_stat(store, STORE_PARTIAL, "x", &file), -ENOENT);
    assert_int_equal(store_publish(store, "x", -1), -ENOENT);
    assert_int_equal(store_retire(store, STORE_COMPLETE, "x", 1), -ENOENT);
    assert_int_equal(store_quarantine(store, STORE_COMPLETE, "x"), -ENOENT);
    assert_int_equal(store_remove(store, STORE_COMPLETE, "x"), 0);
    assert_int_equal(fd, -1);

    int64_t before = clock_now() - NS_PER_S;
    assert_int_equal(store_create_partial(store, "x", UINT64_C(1) << 30, "", &fd), 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(store_stat(store, STORE_PARTIAL, "x", &file), 0);
    assert_int_equal(file.size, 1 << 30);
    assert_true(file.allocated < 65536);
    assert_true(file.modified > before);
    assert_int_equal(pwrite(fd, "old", 3, 0), 3);
    assert_int_equal(store_create_partial(store, "x", 5, "", &other), 0);
    close(fd);
    assert_int_equal(pwrite(other, "hello", 5, 0), 5);
    close(other);
    assert_int_equal(store_open_image(store, STORE_PARTIAL, "x", &fd), 0);
    assert_int_equal(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
    check_text(fd, "hello");

    assert_int_equal(store_publish(store, "x", -1), 0);
    assert_false(is_there(s, "incomplete/x"));
    assert_int_equal(store_open_image(store, STORE_COMPLETE, "x", &fd), 0);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(store_publish(store, "x", fd), 0); /* by a try before this one */
    assert_int_equal(store_publish(store, "x", -1), -ENOENT);
    check_text(fd, "hello");

    assert_int_equal(store_retire(store, STORE_COMPLETE, "x", INT64_MAX), 0);
    assert_true(is_there(s, ".retired/9223372036854775807"));
    assert_int_equal(store_open_retired(store, INT64_MAX, &fd), 0);
    check_text(fd, "hello");
    assert_int_equal(store_remove_retired(store, INT64_MAX), 0);
    assert_int_equal(store_remove_retired(store, INT64_MAX), 0);
    assert_int_equal(store_open_retired(store, INT64_MAX, &fd), -ENOENT);

    write_file(s, "y", "new");
    write_file(s, "invalid/y", "old");
    assert_int_equal(store_quarantine(store, STORE_COMPLETE, "y"), 0);
    assert_int_equal(store_open_image(store, STORE_INVALID, "y", &fd), 0);
    check_text(fd, "new");
    assert_int_equal(store_remove(store, STORE_INVALID, "y"), 0);
    assert_false(is_there(s, "invalid/y"));
    store_close(store);
}

static void test_too_big(void **state)
{
    struct store *store = open_in(*state);
    int fd = -1;
    assert_int_equal(store_create_partial(store, "x", UINT64_MAX, "", &fd), -EFBIG);
    int r = store_create_partial(store, "x", INT64_MAX, "", &fd);
    if (r == 0) { /* tmpfs holds that much, in name */
        close(fd);
    } else {
        assert_int_equal(r, -EFBIG);
        assert_int_equal(fd, -1);
        assert_false(is_there(*state, "incomplete/x"));
    }
    store_close(store);
}

static void test_not_files(void **state)
{
    struct scratch *s = *state;
    struct store *store = open_in(s);
    struct store_file file;
    int fd = -1;
    write_file(s, "secret", "");
    assert_int_equal(mkdir(scratch_path(s, "folder"), 0700), 0);
    assert_int_equal(symlink("secret", scratch_path(s, "link")), 0);
    assert_int_equal(mkfifo(scratch_path(s, "fifo"), 0600), 0);
    assert_int_equal(mkfifo(scratch_path(s, "incomplete/fifo"), 0600), 0);
    assert_int_equal(mkdir(scratch_path(s, "incomplete/folder"), 0700), 0);
    assert_int_equal(store_open_image(store, STORE_COMPLETE, "folder", &fd), -EINVAL);
    assert_int_equal(store_open_image(store, STORE_COMPLETE, "link", &fd), -EINVAL);
    assert_int_equal(store_open_image(store, STORE_COMPLETE, "fifo", &fd), -EINVAL);
    assert_int_equal(store_open_image(store, STORE_PARTIAL, "fifo", &fd), -EINVAL);
    assert_int_equal(store_open_image(store, STORE_PARTIAL, "folder", &fd), -EINVAL);
    assert_int_equal(store_stat(store, STORE_COMPLETE, "link", &file), -EINVAL);
    assert_int_equal(fd, -1);
    store_close(store);
}

struct seen {
    char names[512];
    uint64_t bytes;
    int64_t rows;
    int stop_with;
};

static int see(void *context, const char *name, const struct store_file *file)
{
    struct seen *seen = context;
    strcat(strcat(seen->names, name), ";");
    seen->bytes += file->size;
    return seen->stop_with;
}

static int see_row(void *context, int64_t row)
{
    struct seen *seen = context;
    seen->rows += row;
    return seen->stop_with;
}

static void test_scan(void **state)
{
    struct scratch *s = *state;
    struct store *store = open_in(s);
    static const char *const ignored[] = { ".catalogue.db", ".lock", "cache.db", "cache.db-journal", ".tmp", "a\nb" };
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        write_file(s, ignored[i], "1");
    assert_int_equal(symlink("cache.db", scratch_path(s, "link")), 0);
    assert_int_equal(mkdir(scratch_path(s, "folder"), 0700), 0);
    write_file(s, "an image.qcow2", "22");
    struct seen seen = { 0 };
    assert_int_equal(store_scan(store, STORE_COMPLETE, see, &seen), 0);
    assert_string_equal(seen.names, "an image.qcow2;");
    assert_int_equal(seen.bytes, 2);
    assert_int_equal(store_scan(store, STORE_COMPLETE, see, &seen), 0);
    assert_int_equal(seen.bytes, 4);

    write_file(s, "queue/1", "");
    write_file(s, "queue/2", "");
    seen = (struct seen){ .stop_with = -ECANCELED };
    assert_int_equal(store_scan(store, STORE_QUEUE, see, &seen), -ECANCELED);
    assert_int_equal(strlen(seen.names), 2);
    seen = (struct seen){ .stop_with = 7 };
    assert_int_equal(store_scan(store, STORE_QUEUE, see, &seen), 7);

    static const char *const retired[] = { "20", "1", "-4", "07", "3x", "99999999999999999999", "0" };
    for (size_t i = 0; i < sizeof retired / sizeof retired[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, ".retired/%s", retired[i]);
        write_file(s, name, "");
    }
    seen = (struct seen){ 0 };
    assert_int_equal(store_scan_retired(store, see_row, &seen), 0);
    assert_int_equal(seen.rows, 21);
    store_close(store);
}

static int count_damaged(struct scratch *s)
{
    int n = 0;
    DIR *dir = opendir(s->dir);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        n += strstr(entry->d_name, ".damaged-") != NULL;
    closedir(dir);
    return n;
}

static void test_set_aside(void **state)
{
    struct scratch *s = *state;
    struct store *store = open_in(s);
    int64_t now = INT64_C(1700000000) * NS_PER_S;
    write_file(s, ".catalogue.db", "db");
    write_file(s, ".catalogue.db-wal", "wal");
    write_file(s, ".catalogue.db-shm", "shm");
    assert_int_equal(store_set_catalogue_aside(store, now), 0);
    assert_false(is_there(s, ".catalogue.db") || is_there(s, ".catalogue.db-wal") || is_there(s, ".catalogue.db-shm"));
    assert_true(is_there(s, ".catalogue.db.damaged-20231114T221320Z"));
    assert_true(is_there(s, ".catalogue.db.damaged-20231114T221320Z-wal"));
    assert_int_equal(store_set_catalogue_aside(store, now), 0);

    /* A second one within the second, then more: three stay, the oldest goes with its log. */
    write_file(s, ".catalogue.db", "db");
    assert_int_equal(store_set_catalogue_aside(store, now), 0);
    assert_true(is_there(s, ".catalogue.db.damaged-20231114T221320Z.1"));
    assert_int_equal(count_damaged(s), 4);
    for (int i = 1; i <= 2; i++) {
        write_file(s, ".catalogue.db", "db");
        assert_int_equal(store_set_catalogue_aside(store, now + i * NS_PER_S), 0);
    }
    assert_int_equal(count_damaged(s), 3);
    assert_false(is_there(s, ".catalogue.db.damaged-20231114T221320Z"));
    assert_true(is_there(s, ".catalogue.db.damaged-20231114T221322Z"));
    store_close(store);
}

static void test_space(void **state)
{
    struct store *store = open_in(*state);
    uint64_t total = 0, available = 0;
    assert_int_equal(store_space(store, &total, &available), 0);
    assert_true(total > 0 && available <= total);
    store_close(store);
}

static void test_labels(void **state)
{
    struct store *store = open_in(*state);
    int fd;
    char text[32] = "untouched";
    assert_int_equal(store_create_partial(store, "x", 1, "", &fd), 0);
    int r = store_get_label(fd, text, sizeof text);
    if (r == -ENOTSUP) {
        print_message("no extended attributes on this file system\n");
        close(fd);
        store_close(store);
        skip();
    }
    assert_int_equal(r, -ENODATA);
    assert_int_equal(store_set_label(fd, "sha256:12"), 0);
    assert_int_equal(store_get_label(fd, text, 9), -ERANGE);
    assert_string_equal(text, "untouched");
    assert_int_equal(store_get_label(fd, text, 10), 0);
    assert_string_equal(text, "sha256:12");
    close(fd);

    /* It stays with the file, and a descriptor for reading is enough to write it. */
    assert_int_equal(store_publish(store, "x", -1), 0);
    assert_int_equal(store_open_image(store, STORE_COMPLETE, "x", &fd), 0);
    assert_int_equal(store_get_label(fd, text, sizeof text), 0);
    assert_int_equal(store_set_label(fd, ""), 0);
    assert_int_equal(store_get_label(fd, text, sizeof text), 0);
    assert_string_equal(text, "");
    close(fd);
    store_close(store);
}

/* The disk is gone: an error that a reader may get, not that of a descriptor. */
static void test_lost(void **state)
{
    const struct scratch *s = *state;
    struct store *store;
    int fd = -1;
    assert_int_equal(store_open_lost(s->dir, &store), 0);
    assert_int_equal(store_open_image(store, STORE_COMPLETE, "image", &fd), -EIO);
    assert_int_equal(store_open_image(store, STORE_PARTIAL, "image", &fd), -EIO);
    assert_int_equal(store_open_retired(store, 1, &fd), -EIO);
    assert_int_equal(fd, -1);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(test_open),
        scratch_test(test_relative),
        scratch_test(test_lock),
        scratch_test(test_life),
        scratch_test(test_too_big),
        scratch_test(test_not_files),
        scratch_test(test_scan),
        scratch_test(test_set_aside),
        scratch_test(test_space),
        scratch_test(test_labels),
        scratch_test(test_lost),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
