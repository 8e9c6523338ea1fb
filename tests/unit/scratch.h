/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of a test's own, under $TMPDIR. Include after cmocka.h. */
#ifndef GCFS_TEST_SCRATCH_H
#define GCFS_TEST_SCRATCH_H

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scratch {
    char dir[PATH_MAX];
    char *paths[64]; /* what scratch_path() returned */
    int used;
};

static inline int scratch_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int scratch_setup(void **state)
{
    struct scratch *s = calloc(1, sizeof *s);
    if (!s)
        return -1;
    const char *tmp = getenv("TMPDIR");
    snprintf(s->dir, sizeof s->dir, "%s/gcfs-test-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (!mkdtemp(s->dir)) {
        free(s);
        return -1;
    }
    *state = s;
    return 0;
}

static inline int scratch_teardown(void **state)
{
    struct scratch *s = *state;
    nftw(s->dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    for (int i = 0; i < s->used; i++)
        free(s->paths[i]);
    free(s);
    return 0;
}

/* <dir>/NAME, until the test ends; up to 64 of them. */
static inline const char *scratch_path(struct scratch *s, const char *name)
{
    assert_true(s->used < 64);
    assert_true(asprintf(&s->paths[s->used], "%s/%s", s->dir, name) > 0);
    return s->paths[s->used++];
}

#define scratch_test(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

#endif
