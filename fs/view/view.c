/* SPDX-License-Identifier: Apache-2.0 */
/* The folders of the view: names, attributes, listings, and what touch, rm and mv do. No state of its own. */
#include "config-auto.h"

#include "view/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "image/id.h"

enum { PAGE = 64, COOKIE_DOT = 1, COOKIE_DOTDOT = 2, COOKIE_ROWS = 3 };

/* How long the kernel may keep what it saw. A name that is another image by now is looked up again when it is opened; bytes on their way change all the time. */
static const double KEEP = 1.0, KEEP_NOT = 0.0;

static const struct fixed { const char *name; uint64_t node; mode_t mode; } FIXED[] = {
    {"images", NODE_IMAGES, S_IFDIR | 0555},         {"cached", NODE_CACHED, S_IFDIR | 0755},
    {"queued", NODE_QUEUED, S_IFDIR | 0755},         {"incomplete", NODE_INCOMPLETE, S_IFDIR | 0755},
    {"invalid", NODE_INVALID, S_IFDIR | 0755},       {".status", NODE_STATUS, S_IFREG | 0444},
};
enum { FIXED_COUNT = sizeof(FIXED) / sizeof(FIXED[0]) };

/* ---- attributes */

static struct timespec to_timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
}

static blkcnt_t blocks_of(uint64_t bytes)
{
    return (blkcnt_t)(bytes / 512 + (bytes % 512 != 0));
}

static void fill(const struct view *v, uint64_t node, mode_t mode, uint64_t size, struct stat *st)
{
    *st = (struct stat){.st_ino = node, .st_mode = mode & (S_IFMT | v->mask), .st_nlink = S_ISDIR(mode) ? 2 : 1, .st_uid = v->uid, .st_gid = v->gid,
                        .st_size = (off_t)size, .st_blocks = blocks_of(size), .st_blksize = 128 * 1024};
}

static void fill_times(struct stat *st, int64_t accessed, int64_t modified, int64_t changed)
{
    st->st_atim = to_timespec(accessed);
    st->st_mtim = to_timespec(modified);
    st->st_ctim = to_timespec(changed);
}

/* The time of the mount: what reads a folder twice (tar, rsync) must not see it change each time. */
static void folder_times(const struct view *v, struct stat *st)
{
    int64_t mounted = engine_mounted_at(v->engine);
    fill_times(st, mounted, mounted, mounted);
}

static void image_entry(const struct view *v, struct image_row *row, struct view_entry *ret)
{
    engine_refresh(v->engine, row);
    ret->node = node_make(KIND_IMAGE, row->row);
    uint64_t size = row->meta.size == IMAGE_SIZE_UNKNOWN ? 0 : row->meta.size;
    fill(v, ret->node, S_IFREG | 0644, size, &ret->attr); /* to be written by its owner: pins are, the bytes never */
    /* The bytes that are here. But a file without any block is one large hole to tar, which would read none of it. */
    ret->attr.st_blocks = blocks_of(row->bytes > 0 || size == 0 ? row->bytes : 1);
    /* Bytes of an inode never change, and so do its times not: whoever copies it must not see it move while it is fetched. */
    fill_times(&ret->attr, row->last_accessed ? row->last_accessed : row->created, row->created, row->created);
    ret->entry_timeout = KEEP;
    ret->attr_timeout = row->state == IMAGE_PARTIAL ? KEEP_NOT : KEEP;
    if (row->meta.size == IMAGE_SIZE_UNKNOWN) /* known from a listing without sizes: to be looked up before it is shown */
        ret->entry_timeout = KEEP_NOT;
}

static void document_entry(const struct view *v, uint64_t node, int64_t when, struct view_entry *ret)
{
    char *text;
    size_t length = 0;
    if (view_document(v, node, &text, &length) == 0)
        free(text);
    ret->node = node;
    fill(v, node, S_IFREG | 0444, length, &ret->attr);
    fill_times(&ret->attr, when, when, when);
    ret->entry_timeout = ret->attr_timeout = KEEP_NOT;
}

static void fixed_entry(const struct view *v, const struct fixed *f, struct view_entry *ret)
{
    if (f->node == NODE_STATUS) {
        document_entry(v, f->node, clock_now(), ret);
        return;
    }
    ret->node = f->node;
    fill(v, f->node, f->mode, 0, &ret->attr);
    folder_times(v, &ret->attr);
    ret->entry_timeout = 3600;
    ret->attr_timeout = KEEP;
}

/* What touch made for an image that is cached already: it can be stat'ed and closed, and is in no listing. */
static void not_queued_entry(const struct view *v, int64_t row, struct view_entry *ret)
{
    ret->node = node_make(KIND_NOT_QUEUED, row);
    fill(v, ret->node, S_IFREG | 0644, 0, &ret->attr);
    fill_times(&ret->attr, clock_now(), clock_now(), clock_now());
    ret->entry_timeout = ret->attr_timeout = KEEP_NOT;
}

static void queued_entry(const struct view *v, const struct queue_row *row, struct view_entry *ret)
{
    document_entry(v, node_make(KIND_QUEUED, row->row), row->queued, ret);
    ret->attr.st_mode = S_IFREG | (0644 & v->mask);
}

static int root_attr(const struct view *v, struct stat *ret)
{
    fill(v, NODE_ROOT, S_IFDIR | 0555, 0, ret);
    ret->st_nlink = 2 + FIXED_COUNT - 1;
    folder_times(v, ret);
    return 0;
}

static int fixed_attr(const struct view *v, uint64_t node, struct stat *ret)
{
    struct view_entry entry;
    if (node == NODE_ROOT)
        return root_attr(v, ret);
    for (int i = 0; i < FIXED_COUNT; i++) {
        if (FIXED[i].node == node) {
            fixed_entry(v, &FIXED[i], &entry);
            *ret = entry.attr;
            return 0;
        }
    }
    return -ESTALE;
}

int view_getattr(const struct view *v, uint64_t node, struct stat *ret, double *ret_timeout)
{
    struct view_entry entry = {.attr_timeout = KEEP_NOT};
    struct image_row image;
    struct queue_row queued;
    struct invalid_row invalid;
    int r = 0;

    switch (node_kind(node)) {
    case KIND_FIXED:
        r = fixed_attr(v, node, &entry.attr);
        break;
    case KIND_IMAGE:
        r = catalogue_get(v->catalogue, node_row(node), &image);
        if (r == 0)
            image_entry(v, &image, &entry);
        break;
    case KIND_QUEUED:
        r = catalogue_queue_get(v->catalogue, node_row(node), &queued);
        if (r == 0)
            queued_entry(v, &queued, &entry);
        else if (r == -ENOENT) { /* done since it was touched */
            not_queued_entry(v, node_row(node), &entry);
            entry.attr.st_ino = node;
            r = 0;
        }
        break;
    case KIND_INVALID:
        r = catalogue_invalid_get(v->catalogue, node_row(node), &invalid);
        if (r == 0)
            document_entry(v, node, invalid.when, &entry);
        break;
    case KIND_NOT_QUEUED:
        not_queued_entry(v, node_row(node), &entry);
        break;
    }
    if (r < 0)
        return r == -ENOENT ? -ESTALE : r;
    *ret = entry.attr;
    *ret_timeout = entry.attr_timeout;
    return 0;
}

/* ---- names */

static int lookup_root(const struct view *v, const char *name, struct view_entry *ret)
{
    for (int i = 0; i < FIXED_COUNT; i++) {
        if (strcmp(FIXED[i].name, name) == 0) {
            fixed_entry(v, &FIXED[i], ret);
            return 0;
        }
    }
    return -ENOENT;
}

static int lookup_state(const struct view *v, const char *name, enum image_state state, struct view_entry *ret)
{
    struct image_row row;
    int r = catalogue_find(v->catalogue, name, &row);
    if (r == 0 && row.state != state)
        return -ENOENT;
    if (r == 0)
        image_entry(v, &row, ret);
    return r;
}

static int lookup_queued(const struct view *v, const char *name, struct view_entry *ret)
{
    struct queue_row row;
    int r = catalogue_queue_find(v->catalogue, name, &row);
    if (r == 0)
        queued_entry(v, &row, ret);
    return r;
}

static int lookup_invalid(const struct view *v, const char *name, struct view_entry *ret)
{
    struct invalid_row row;
    int r = catalogue_invalid_find(v->catalogue, name, &row);
    if (r == 0)
        document_entry(v, node_make(KIND_INVALID, row.row), row.when, ret);
    return r;
}

int view_lookup(const struct view *v, uint64_t parent, const char *name, struct waiter *w, struct view_entry *ret)
{
    struct image_row row;
    int r;

    if (parent == NODE_ROOT)
        return lookup_root(v, name, ret);
    if (!image_id_valid(name))
        return -ENOENT;
    switch (parent) {
    case NODE_IMAGES:
        r = engine_lookup(v->engine, name, w, &row);
        if (r == 0)
            image_entry(v, &row, ret);
        return r;
    case NODE_CACHED:
        return lookup_state(v, name, IMAGE_COMPLETE, ret);
    case NODE_INCOMPLETE:
        return lookup_state(v, name, IMAGE_PARTIAL, ret);
    case NODE_QUEUED:
        return lookup_queued(v, name, ret);
    case NODE_INVALID:
        return lookup_invalid(v, name, ret);
    default:
        return -ENOTDIR;
    }
}

int view_lookup_result(const struct view *v, const char *name, int status, struct view_entry *ret)
{
    struct image_row row;
    int r = engine_lookup_result(v->engine, name, status, &row);
    if (r == 0)
        image_entry(v, &row, ret);
    return r;
}

/* ---- listings */

int view_list_ready(const struct view *v, uint64_t folder, struct waiter *w)
{
    return folder == NODE_IMAGES ? engine_list(v->engine, w) : 0;
}

static int list_root(const struct view *v, uint64_t cookie, bool attributes, view_emit_fn *emit, void *context)
{
    for (uint64_t i = cookie < COOKIE_ROWS ? 0 : cookie - COOKIE_ROWS + 1; i < FIXED_COUNT; i++) {
        struct view_entry entry = {.node = FIXED[i].node, .attr = {.st_ino = FIXED[i].node, .st_mode = FIXED[i].mode}};
        if (attributes)
            fixed_entry(v, &FIXED[i], &entry);
        if (!emit(context, FIXED[i].name, &entry, i + COOKIE_ROWS))
            break;
    }
    return 0;
}

static int list_images(const struct view *v, enum catalogue_view which, int64_t after, bool attributes, view_emit_fn *emit, void *context)
{
    struct image_row *rows = malloc(PAGE * sizeof(*rows));
    int n;
    if (rows == NULL)
        return -ENOMEM;
    while ((n = catalogue_page(v->catalogue, which, after, rows, PAGE)) > 0) {
        for (int i = 0; i < n; i++) {
            struct image_row *row = &rows[i];
            uint64_t node = node_make(KIND_IMAGE, row->row);
            struct view_entry entry = {.node = node, .attr = {.st_ino = node, .st_mode = S_IFREG | 0444}};
            if (attributes && row->meta.size != IMAGE_SIZE_UNKNOWN)
                image_entry(v, row, &entry);
            else if (attributes)
                entry.node = 0; /* the kernel looks it up when somebody wants to know */
            if (!emit(context, row->name, &entry, (uint64_t)row->row + COOKIE_ROWS)) {
                free(rows);
                return 0;
            }
            after = row->row;
        }
    }
    free(rows);
    if (n == 0 && which == CATALOGUE_IMAGES)
        n = engine_list_status(v->engine);
    return n;
}

static int list_queued(const struct view *v, int64_t after, bool attributes, view_emit_fn *emit, void *context)
{
    struct queue_row *rows = malloc(PAGE * sizeof(*rows));
    int n;
    bool more = true;
    if (rows == NULL)
        return -ENOMEM;
    while (more && (n = catalogue_queue_page(v->catalogue, after, rows, PAGE)) > 0) {
        for (int i = 0; i < n && more; i++) {
            uint64_t node = node_make(KIND_QUEUED, rows[i].row);
            struct view_entry entry = {.node = node, .attr = {.st_ino = node, .st_mode = S_IFREG | 0644}};
            if (attributes)
                queued_entry(v, &rows[i], &entry);
            more = emit(context, rows[i].name, &entry, (uint64_t)rows[i].row + COOKIE_ROWS);
            after = rows[i].row;
        }
    }
    free(rows);
    return more && n < 0 ? n : 0;
}

static int list_invalid(const struct view *v, int64_t after, bool attributes, view_emit_fn *emit, void *context)
{
    struct invalid_row *rows = malloc(PAGE * sizeof(*rows));
    int n;
    bool more = true;
    if (rows == NULL)
        return -ENOMEM;
    while (more && (n = catalogue_invalid_page(v->catalogue, after, rows, PAGE)) > 0) {
        for (int i = 0; i < n && more; i++) {
            uint64_t node = node_make(KIND_INVALID, rows[i].row);
            struct view_entry entry = {.node = node, .attr = {.st_ino = node, .st_mode = S_IFREG | 0444}};
            if (attributes)
                document_entry(v, node, rows[i].when, &entry);
            more = emit(context, rows[i].name, &entry, (uint64_t)rows[i].row + COOKIE_ROWS);
            after = rows[i].row;
        }
    }
    free(rows);
    return more && n < 0 ? n : 0;
}

/* "." and "..", which are the root's business as well as ours; false: no room. */
static bool list_dots(const struct view *v, uint64_t folder, uint64_t cookie, view_emit_fn *emit, void *context)
{
    struct view_entry dot = {.node = folder, .attr = {.st_ino = folder, .st_mode = S_IFDIR}};
    struct view_entry up = {.node = NODE_ROOT, .attr = {.st_ino = NODE_ROOT, .st_mode = S_IFDIR}};
    (void)v;
    return (cookie >= COOKIE_DOT || emit(context, ".", &dot, COOKIE_DOT)) &&
           (cookie >= COOKIE_DOTDOT || emit(context, "..", &up, COOKIE_DOTDOT));
}

int view_list(const struct view *v, uint64_t folder, uint64_t cookie, bool attributes, view_emit_fn *emit, void *context)
{
    if (!list_dots(v, folder, cookie, emit, context))
        return 0;
    int64_t after = cookie < COOKIE_ROWS ? 0 : (int64_t)(cookie - COOKIE_ROWS);
    switch (folder) {
    case NODE_ROOT:
        return list_root(v, cookie, attributes, emit, context);
    case NODE_IMAGES:
        return list_images(v, CATALOGUE_IMAGES, after, attributes, emit, context);
    case NODE_CACHED:
        return list_images(v, CATALOGUE_CACHED, after, attributes, emit, context);
    case NODE_INCOMPLETE:
        return list_images(v, CATALOGUE_INCOMPLETE, after, attributes, emit, context);
    case NODE_QUEUED:
        return list_queued(v, after, attributes, emit, context);
    case NODE_INVALID:
        return list_invalid(v, after, attributes, emit, context);
    default:
        return -ENOTDIR;
    }
}

int view_statvfs(const struct view *v, struct statvfs *ret)
{
    enum { BLOCK = 4096 };
    struct engine_space space;
    int r = engine_space(v->engine, &space);
    if (r < 0)
        return r;
    uint64_t left = space.used < space.limit ? space.limit - space.used : 0;
    *ret = (struct statvfs){
        .f_bsize = BLOCK, .f_frsize = BLOCK, .f_namemax = IMAGE_ID_MAX,
        .f_blocks = space.limit / BLOCK, .f_bfree = left / BLOCK, .f_bavail = left / BLOCK,
        /* No f_files: there is no number of inodes to run out of, and with none free it would be an alarm. */
    };
    return 0;
}

/* ---- changing */

/* queued/NAME exists now, or need not. */
static int created(const struct view *v, const char *name, int r, const struct queue_row *queued, struct view_entry *ret)
{
    struct image_row row;
    if (r == 0) {
        queued_entry(v, queued, ret);
        return 0;
    }
    if (r < 0)
        return r;
    r = catalogue_find(v->catalogue, name, &row);
    if (r == 0)
        not_queued_entry(v, row.row, ret);
    return r;
}

int view_create(const struct view *v, uint64_t parent, const char *name, struct waiter *w, struct view_entry *ret)
{
    struct queue_row queued;
    if (parent != NODE_QUEUED)
        return -EPERM;
    if (!image_id_valid(name))
        return -ENOENT;
    int r = engine_queue(v->engine, name, w, &queued);
    return r == ENGINE_PARKED ? r : created(v, name, r == ENGINE_CACHED ? 1 : r, &queued, ret);
}

int view_create_result(const struct view *v, const char *name, int status, struct view_entry *ret)
{
    struct queue_row queued;
    int r = engine_queue_result(v->engine, name, status, &queued);
    return created(v, name, r == ENGINE_CACHED ? 1 : r, &queued, ret);
}

int view_unlink(const struct view *v, uint64_t parent, const char *name, struct waiter *w)
{
    switch (parent) {
    case NODE_CACHED:
        return engine_evict(v->engine, name);
    case NODE_QUEUED:
        return engine_unqueue(v->engine, name);
    case NODE_INCOMPLETE:
        return engine_drop(v->engine, name, w);
    case NODE_INVALID:
        return engine_forget_invalid(v->engine, name);
    default:
        return -EPERM;
    }
}

int view_rename(const struct view *v, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name)
{
    if (parent != NODE_CACHED || new_parent != NODE_INVALID || strcmp(name, new_name) != 0)
        return -EPERM;
    return engine_quarantine(v->engine, name, "quarantined by hand (moved to invalid/)");
}
