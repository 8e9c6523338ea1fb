/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over what lies in the cache directory, in the background after the start: a thread that ends when all is done.
 *
 * First rows and files are made to agree (agree.c). A file without a row is adopted after its size and digest check out: against its own label
 * (we made it, and the catalogue was lost) or, after all of those, against the backend (a Glance cache directory is taken over that way, with hits and
 * times from its cache.db). Until then it is not served; what does not check out goes to invalid/, nothing is deleted. What the backend does
 * not know or does not let us see is left where it is: that says more of the configuration than of the file.
 */
#include "config-auto.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/adopt.h"
#include "engine/agree.h"
#include "engine/evict/claim.h"
#include "engine/images/images.h"
#include "engine/lookup/digests.h"
#include "engine/lookup/lookup.h"
#include "engine/queue.h"

enum { WAIT_MAX_S = 60 };

struct adopted {
    atomic_uint_least64_t files, bytes;
    atomic_bool under_way;
};

struct adoption {
    struct engine *e;
    struct glance_index *glance; /* NULL: none here */
    uint64_t adopted, quarantined;
    uint64_t left, left_bytes; /* that the backend does not know or let us see */
    int refused;               /* why, the last of them */
    unsigned char buffer[256 << 10];
};

static bool stopping(const struct adoption *a)
{
    return atomic_load(&a->e->stopping);
}

/* ---- adopting */

static int hash_file(struct adoption *a, int fd, enum digest_algorithm algorithm, struct digest *ret)
{
    struct digest_stream *stream;
    int r = digest_stream_new(algorithm, &stream);
    ssize_t n = 0;
    for (off_t at = 0; r == 0 && (n = pread(fd, a->buffer, sizeof(a->buffer), at)) > 0; at += n)
        r = stopping(a) ? -ECANCELED : digest_stream_update(stream, a->buffer, (size_t)n);
    if (r == 0)
        r = n < 0 ? -errno : digest_stream_finish(stream, ret);
    digest_stream_free(stream);
    return r;
}

/* 0: the file is what META says; -EBADMSG and WHY: it is not. */
static int check_file(struct adoption *a, const char *name, const struct image_meta *meta, const struct store_file *file, char why[128])
{
    struct digest seen;
    int fd;

    if (file->size != meta->size) {
        snprintf(why, 128, "its size is %" PRIu64 ", expected %" PRIu64, file->size, meta->size);
        return -EBADMSG;
    }
    if (meta->digest.algorithm == DIGEST_NONE)
        return 0;
    int r = store_open_image(a->e->store, STORE_COMPLETE, name, &fd);
    if (r < 0)
        return r;
    r = hash_file(a, fd, meta->digest.algorithm, &seen);
    close(fd);
    if (r == 0 && !digest_equal(&seen, &meta->digest)) {
        snprintf(why, 128, "its %s is %.24s…, expected %.24s…", digest_algorithm_name(seen.algorithm), seen.hex, meta->digest.hex);
        r = -EBADMSG;
    }
    return r;
}

/* A label does not tell which endpoint its etag is of. */
static bool is_version_of(const struct image_meta *label, const struct image_meta *meta)
{
    struct image_meta of_endpoint = *label;
    of_endpoint.endpoint = meta->endpoint;
    return image_meta_same_version(&of_endpoint, meta);
}

/* What the file says of itself. -ENODATA: nothing we can use. */
static int read_label(struct adoption *a, const char *name, struct image_meta *ret)
{
    char label[IMAGE_LABEL_MAX];
    int fd, r = store_open_image(a->e->store, STORE_COMPLETE, name, &fd);
    if (r < 0)
        return r;
    r = store_get_label(fd, label, sizeof(label));
    close(fd);
    return r < 0 || image_label_read(label, ret) < 0 ? -ENODATA : 0;
}

/* Asks the backend; waits while it cannot be reached. -ENOENT, -EACCES, -ECANCELED. */
static int ask_backend(struct adoption *a, const char *name, struct image_row *ret)
{
    for (unsigned pause = 1;; pause = pause * 2 < WAIT_MAX_S ? pause * 2 : WAIT_MAX_S) {
        int r = lookup_name_blocking(a->e, name, ret);
        if (r == 0 || r == -ENOENT || r == -EACCES || r == -ECANCELED)
            return r;
        for (unsigned ms = 0; ms < pause * 1000 && !stopping(a); ms += 100)
            nanosleep(&(struct timespec){.tv_nsec = 100 * NS_PER_MS}, NULL);
        if (stopping(a))
            return -ECANCELED;
    }
}

static void quarantine_file(struct adoption *a, const char *name, const struct store_file *file, const char *why)
{
    char reason[IMAGE_ERROR_MAX + 1];
    struct store_file now;
    struct name_claim claim;
    if (catalogue_is_memory(a->e->catalogue))
        return; /* the disk says little that is for sure now */
    claim_name(a->e->names, &claim, name);
    /* If not, it was fetched while we looked: what lies under the name is not what did not check out. */
    bool same = store_stat(a->e->store, STORE_COMPLETE, name, &now) == 0 && now.inode == file->inode;
    int r = same ? store_quarantine(a->e->store, STORE_COMPLETE, name) : 0;
    claim_end(a->e->names, &claim);
    if (!same)
        return;
    snprintf(reason, sizeof(reason), "a file found in the cache directory: %s", why);
    if (r == 0)
        r = catalogue_invalid_put(a->e->catalogue, name, reason, file->size, clock_now());
    if (r < 0) {
        log_errno(r, "%s: not taken over, and not moved to invalid/: %s", name, why);
        return;
    }
    a->quarantined++;
    log_warning("%s: not taken over, moved to invalid/: %s", name, why);
}

static int read_tag(struct engine *e, const char *name, char ret_tag[IMAGE_TAG_SIZE])
{
    int fd, r = store_open_image(e->store, STORE_COMPLETE, name, &fd);
    if (r < 0)
        return r;
    r = store_get_tag(fd, ret_tag);
    close(fd);
    return r;
}

/* The row becomes complete; hits and times come from Glance's index or the file. */
static int commit(struct adoption *a, const struct image_row *row, const struct image_meta *meta, const struct store_file *file)
{
    struct engine *e = a->e;
    struct glance_row g = {.last_accessed = file->accessed, .last_modified = file->modified};
    char tag[IMAGE_TAG_SIZE];
    int r = read_tag(e, row->name, tag);
    if (r == 0)
        r = catalogue_adopt(e->catalogue, row->row, tag, &meta->digest, clock_now());
    if (r < 0)
        return r == -ESTALE ? -EBUSY : r; /* it is being fetched by now */
    store_remove(e->store, STORE_INVALID, row->name); /* its row went with the adoption */
    if (a->glance != NULL)
        glance_index_find(a->glance, row->name, &g);
    catalogue_set_history(e->catalogue, row->row, g.hits, g.last_accessed, g.last_modified);
    a->adopted++;
    log_info("%s: taken over, %" PRIu64 " bytes, %s", row->name, file->size,
             meta->digest.algorithm ? "verified" : "by its size (no digest is known)");
    return 0;
}

/* A row for a name whose file checked out by its own label. What the backend told is newer than a file that came back after a power cut. */
static int adopt_labelled(struct adoption *a, const char *name, const struct image_meta *meta, const struct store_file *file)
{
    struct image_row row;
    int r = catalogue_find(a->e->catalogue, name, &row);
    if (r == 0 && row.described != 0 && !is_version_of(meta, &row.meta))
        return -ESTALE;
    r = catalogue_learn(a->e->catalogue, name, meta, clock_now(), &row);
    return r < 0 ? r : commit(a, &row, meta, file);
}

static int adopt_by_backend(struct adoption *a, const char *name, const struct store_file *file)
{
    struct image_row row;
    struct glance_row g;
    char why[128];

    int r = ask_backend(a, name, &row);
    if (r == -ENOENT || r == -EACCES) { /* as a wrong project, credential or url would have it: it says nothing of the file */
        a->left++;
        a->left_bytes += file->allocated;
        a->refused = r;
        return 0;
    }
    if (r < 0)
        return r;
    if (row.meta.digest.algorithm == DIGEST_NONE)
        r = published_digest_now(a->e, name, &row.meta.digest);
    if (r < 0 && r != -ENOENT) /* it may be published: not taken over by its size, but looked at again at the next start */
        return r;
    if (row.meta.digest.algorithm == DIGEST_NONE && a->glance != NULL && glance_index_find(a->glance, name, &g) == 0)
        row.meta.digest = g.checksum;
    struct image_meta label;
    r = check_file(a, name, &row.meta, file, why);
    /* By its size alone it is not taken for what it says that it is not. */
    if (r == 0 && row.meta.digest.algorithm == DIGEST_NONE && read_label(a, name, &label) == 0 && !is_version_of(&label, &row.meta)) {
        snprintf(why, sizeof(why), "it is another version than the backend has");
        r = -EBADMSG;
    }
    if (r == -EBADMSG) {
        quarantine_file(a, name, file, why);
        return 0;
    }
    return r < 0 ? r : commit(a, &row, &row.meta, file);
}

/* Is the name in use already, so that its own fetch decides? */
static bool is_busy(struct adoption *a, const char *name)
{
    struct image_row row;
    if (catalogue_find(a->e->catalogue, name, &row) < 0)
        return false;
    struct image *image = image_find(a->e, row.row);
    if (image != NULL)
        image_put(image);
    return row.state == IMAGE_COMPLETE || row.state == IMAGE_PARTIAL || image != NULL;
}

static void tell_failure(const char *name, int r)
{
    if (r != -ECANCELED && r != -EBUSY)
        log_errno(r, "%s: a file in the cache directory could not be taken over", name);
}

/* First those that say themselves what they are: for them the backend need not be there. */
static int adopt_labelled_file(void *context, const char *name, const struct store_file *file)
{
    struct adoption *a = context;
    struct image_meta meta;
    char why[128];

    if (is_busy(a, name) || read_label(a, name, &meta) < 0)
        return stopping(a);
    int r = check_file(a, name, &meta, file, why);
    if (r == 0)
        r = adopt_labelled(a, name, &meta, file);
    if (r == -EBADMSG)
        quarantine_file(a, name, file, why);
    else if (r < 0 && r != -ESTALE) /* -ESTALE: the backend has told of another version meanwhile */
        tell_failure(name, r);
    return stopping(a);
}

static int adopt_other_file(void *context, const char *name, const struct store_file *file)
{
    struct adoption *a = context;
    if (is_busy(a, name))
        return stopping(a);
    int r = adopt_by_backend(a, name, file);
    if (r < 0)
        tell_failure(name, r);
    return stopping(a);
}

/* Those that need the backend. */
static void adopt_others(struct adoption *a)
{
    struct engine *e = a->e;
    store_scan(e->store, STORE_COMPLETE, adopt_other_file, a);
    atomic_store(&e->adopted->files, a->left);
    atomic_store(&e->adopted->bytes, a->left_bytes);
    if (a->left > 0)
        log_warning("%" PRIu64 " files in the cache directory, %" PRIu64 " bytes, are of images that the backend %s: they are left alone and "
                    "not served; are project, credentials and url the right ones? Each start and reload asks again", a->left, a->left_bytes,
                    a->refused == -ENOENT ? "does not have (404)" : "does not let us see (401, 403)");
}

/* ---- all of it */

static void end_adoption(struct adoption *a)
{
    atomic_store(&a->e->adopted->under_way, false);
    free(a);
}

static void adopt(void *context)
{
    struct adoption *a = context;
    struct engine *e = a->e;
    char path[4096];

    if (catalogue_is_memory(e->catalogue)) { /* it does not know what the files are of, but they may */
        store_scan(e->store, STORE_COMPLETE, adopt_labelled_file, a);
        end_adoption(a);
        return;
    }
    agree_all(e);
    prefetch_kick(e);
    if (store_glance_index_path(e->store, e->config->image_cache_sqlite_db, path, sizeof(path)) == 0 &&
        glance_index_open(path, &a->glance) < 0)
        a->glance = NULL;
    store_scan(e->store, STORE_COMPLETE, adopt_labelled_file, a);
    adopt_others(a);
    glance_index_close(a->glance);
    if (a->adopted > 0 || a->quarantined > 0)
        log_notice("took over %" PRIu64 " images that lay in the cache directory, %" PRIu64 " went to invalid/", a->adopted,
                   a->quarantined);
    end_adoption(a);
}

int adopted_new(struct adopted **ret)
{
    struct adopted *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return -ENOMEM;
    *ret = a;
    return 0;
}

void adopted_free(struct adopted *a)
{
    free(a);
}

struct adopted_count adopted_count(struct engine *e)
{
    return (struct adopted_count){.files = atomic_load(&e->adopted->files), .bytes = atomic_load(&e->adopted->bytes),
                                  .under_way = atomic_load(&e->adopted->under_way)};
}

int adopt_start(struct engine *e)
{
    struct adoption *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return -ENOMEM;
    a->e = e;
    if (!catalogue_is_memory(e->catalogue))
        agree_retired(e); /* before anything can be published where their files may still lie */
    atomic_store(&e->adopted->under_way, true);
    int r = tasks_new("adopt", &e->adopt);
    if (r < 0) {
        free(a);
        return r;
    }
    tasks_add(e->adopt, adopt, a);
    return 0;
}
