/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes that users set or ask for: of all there are, only `pinned` changes anything, and to yes or no only. */
#include "config-auto.h"

#include "fuzz.h"

#include <errno.h>
#include <limits.h>

#include "catalogue/catalogue.h"
#include "view/view.h"

static char folder[PATH_MAX - 32];
static struct view view;
static int64_t image;

static void clean_up(void)
{
    char path[PATH_MAX];
    catalogue_close(view.catalogue);
    for (const char *const *end = (const char *const[]){"", "-wal", "-shm", NULL}; *end; end++) {
        snprintf(path, sizeof(path), "%s/c.db%s", folder, *end);
        unlink(path);
    }
    rmdir(folder);
}

static void set_up(void)
{
    const char *tmp = getenv("TMPDIR");
    char path[PATH_MAX];
    struct image_row row;
    struct image_meta meta = {.size = 5};
    snprintf(folder, sizeof(folder), "%s/gcfs-fuzz-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    assert(mkdtemp(folder));
    atexit(clean_up);
    snprintf(path, sizeof(path), "%s/c.db", folder);
    assert(catalogue_open(path, &view.catalogue) == 0 && catalogue_learn(view.catalogue, "a", &meta, 1, &row) == 0);
    image = row.row;
}

static bool is_pinned(void)
{
    struct image_row row;
    assert(catalogue_get(view.catalogue, image, &row) == 0);
    return row.pinned;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!view.catalogue)
        set_up();
    struct input in = {data, size};
    char *name = fuzz_line(&in), *value = malloc(in.size + 1);
    uint64_t node = size % 5 == 4 ? size : node_make(KIND_IMAGE, image);
    bool before = is_pinned(), is_node = node == node_make(KIND_IMAGE, image);
    assert(value);
    memcpy(value, in.data, in.size);
    value = realloc(value, in.size > 0 ? in.size : 1);
    int r = view_setxattr(&view, node, name, value, in.size);
    assert(r <= 0);
    if (r == 0)
        assert(is_node && strcmp(name, "user.glance.pinned") == 0 && is_pinned() == (in.size > 0 && *value == '1'));
    else
        assert(is_pinned() == before);
    free(value);
    free(name);
    return 0;
}
