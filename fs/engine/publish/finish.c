/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to a complete image: the digest follows the contiguous prefix on the hash thread; the sync thread makes bytes durable
 * before the map says that they are here, and publishes what is whole and verified.
 *
 * Order on disk: data, fdatasync, then map. Complete: verify, fdatasync, rename into place, sync the directory, then commit.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/private.h"

enum { HASH_STEP = 1 << 20, HASH_TURN = 64 << 20, HASH_BUFFER = 256 << 10 };

/* ---- hashing */

/* Starts over when the image does. */
static int open_digest(struct image *image, uint64_t hashed, enum digest_algorithm algorithm)
{
    if (hashed == 0) {
        digest_stream_free(image->digest);
        image->digest = NULL;
        return digest_stream_new(algorithm, &image->digest);
    }
    return image->digest == NULL ? -EIO : 0;
}

/* Reads [FROM, TO) through the digest. */
static int hash_bytes(struct image *image, int fd, uint64_t from, uint64_t to)
{
    static unsigned char buffer[HASH_BUFFER]; /* the hash thread's */
    while (from < to && !atomic_load(&image->engine->stopping)) {
        uint64_t want = to - from < HASH_BUFFER ? to - from : HASH_BUFFER;
        ssize_t n = pread(fd, buffer, want, (off_t)from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        int r = digest_stream_update(image->digest, buffer, (size_t)n);
        if (r < 0)
            return r;
        from += (uint64_t)n;
    }
    return from < to ? -ECANCELED : 0;
}

/* A turn of the hash thread: up to HASH_TURN bytes. 1: there is more at once; 0: no more for now; negative errno. */
static int hash_turn(struct image *image)
{
    pthread_mutex_lock(&image->lock);
    bool partial = image->state == IMAGE_PARTIAL && image->dead == 0 && !image->through;
    uint64_t from = image->hashed, prefix = partial ? chunkmap_prefix(image->map) : 0;
    struct image_file *file = partial ? image_file_ref(image->file) : NULL;
    enum digest_algorithm algorithm = image->meta.digest.algorithm;
    pthread_mutex_unlock(&image->lock);
    if (!partial)
        return 0;

    uint64_t to = prefix - from > HASH_TURN ? from + HASH_TURN : prefix;
    int r = open_digest(image, from, algorithm);
    if (r == 0)
        r = hash_bytes(image, file->fd, from, to);
    pthread_mutex_lock(&image->lock);
    bool same = image->file == file; /* else it was dropped meanwhile and begins anew */
    if (r == 0 && same)
        image->hashed = to;
    pthread_mutex_unlock(&image->lock);
    image_file_put(file);
    return r < 0 ? r : to < prefix;
}

static void hash_task(void *context)
{
    struct image *image = context;
    int r = hash_turn(image);
    if (r < 0 && r != -ECANCELED)
        log_errno(r, "%s: hashing what arrived failed; it starts over at the end", image->name);
    pthread_mutex_lock(&image->lock);
    if (r < 0)
        image->hashed = 0;
    image->hashing = false;
    if (r == 1)
        finish_hash_locked(image);
    pthread_mutex_unlock(&image->lock);
    image_put(image);
}

void finish_hash_locked(struct image *image)
{
    if (image->hashing || image->finishing || image->through || !image->digest_settled || image->meta.digest.algorithm == DIGEST_NONE)
        return;
    if (image->state != IMAGE_PARTIAL || chunkmap_prefix(image->map) - image->hashed < HASH_STEP)
        return;
    image->hashing = true;
    tasks_add(image->engine->hash, hash_task, image_ref(image));
}

/* ---- the version */

/* Learned from the first answer for bytes: which version this is. */
void finish_write_version(struct image *image)
{
    pthread_mutex_lock(&image->lock);
    bool needed = image->described == 0 && (image->meta.etag[0] != '\0' || image->meta.modified[0] != '\0');
    struct image_meta meta = image->meta;
    image->described = needed ? clock_now() : image->described;
    pthread_mutex_unlock(&image->lock);
    int r = needed ? catalogue_describe(image->engine->catalogue, image->row, &meta, clock_now()) : 0;
    if (r < 0 && r != -ESTALE)
        log_errno(r, "%s: which version it is could not be written to the catalogue", image->name);
}

/* ---- publishing */

static void publish_failed(void *context)
{
    struct image *image = context;
    pthread_mutex_lock(&image->lock);
    image->finishing = false;
    image->unfinished_at = clock_monotonic();
    pthread_mutex_unlock(&image->lock);
    fetch_fail(image, -EIO, "it could not be moved into place in the cache directory");
    image_put(image);
}

/* What the file itself says it is, for the day the catalogue is lost. */
static void label_file(const struct image *image, int fd)
{
    char label[IMAGE_LABEL_MAX];
    image_label_write(&image->meta, label, sizeof(label));
    store_set_label(fd, label); /* where it cannot be kept, the backend is asked instead */
}

/* On the fetch thread: what the disk did not take may read back as anything. It is served without the disk then. */
static void leave_disk(void *context)
{
    struct image *image = context;
    pthread_mutex_lock(&image->lock);
    bool failed = image->disk_failed && !image->finishing && image->state == IMAGE_PARTIAL && image->dead == 0;
    pthread_mutex_unlock(&image->lock);
    if (failed && !image->stopping)
        through_start(image, "the disk did not take its bytes");
    fetch_schedule(image->engine);
    image_put(image);
}

/*
 * Bytes of IMAGE on the disk. Linux tells of a failure once, drops what it could not write, and says that all is well the next time: after
 * a failure nothing of the file is believed any more.
 */
static int sync_data(struct image *image, int fd)
{
    int r = fdatasync(fd) < 0 ? -errno : 0;
    if (r < 0)
        log_errno(r, "%s: its bytes could not be written to the disk; they are dropped", image->name);
    pthread_mutex_lock(&image->lock);
    image->disk_failed = image->disk_failed || r < 0;
    if (r < 0)
        image_untrack_locked(image); /* nor does the next worker believe it */
    r = image->disk_failed ? -EIO : 0;
    pthread_mutex_unlock(&image->lock);
    return r;
}

/* After sync_data() failed; DONE: its publishing ended with that. */
static void forsake_disk(struct image *image, bool done)
{
    pthread_mutex_lock(&image->lock);
    if (done)
        image->finishing = false;
    pthread_mutex_unlock(&image->lock);
    if (!engine_post(image->engine, leave_disk, image_ref(image)))
        image_put(image);
}

/* While its name is claimed: the file of the image before it has gone. */
static int place_file(struct image *image, int fd)
{
    struct engine *e = image->engine;
    int r = store_publish(e->store, image->name, fd);
    if (r < 0) {
        log_errno(r, "%s: renaming it into place", image->name);
    } else {
        r = catalogue_complete(e->catalogue, image->row, &image->meta.digest, clock_now());
        if (r < 0)
            log_errno(r, "%s: committing it to the catalogue", image->name);
    }
    if (r < 0) {
        store_unpublish(e->store, image->name, fd);
        return r;
    }
    store_remove(e->store, STORE_INVALID, image->name);
    return 0;
}

static int publish_file(struct image *image, int fd)
{
    struct engine *e = image->engine;
    finish_write_version(image);
    label_file(image, fd);
    int r = sync_data(image, fd);
    if (r < 0) {
        forsake_disk(image, true);
        return -ECANCELED;
    }
    struct claim claim;
    claim_name(e, &claim, image->name);
    r = place_file(image, fd);
    claim_end(e, &claim);
    return r;
}

static void tell_done(const struct image *image, uint64_t fetched, int64_t began)
{
    double seconds = began ? (double)(clock_monotonic() - began) / (double)NS_PER_S : 0;
    const char *how = image->meta.digest.algorithm ? digest_algorithm_name(image->meta.digest.algorithm) : NULL;
    log_info("%s: cached, %llu bytes, %llu of them fetched in %.1f s, %s%s", image->name, (unsigned long long)image->meta.size,
             (unsigned long long)fetched, seconds, how ? "verified by " : "no digest is known to verify it by", how ? how : "");
}

static void publish(void *context)
{
    struct image *image = context;
    struct engine *e = image->engine;
    struct waiters ready = TAILQ_HEAD_INITIALIZER(ready);

    int r = publish_file(image, image->file->fd); /* nobody takes the file away while it is finishing */
    if (r < 0) {
        if (r == -ECANCELED || /* leave_disk() goes on */ !engine_post(e, publish_failed, image))
            image_put(image);
        return;
    }
    pthread_mutex_lock(&image->lock);
    space_count(image, -image->unwritten, 0);
    if (image->state == IMAGE_PARTIAL) /* else it was evicted since the commit */
        image->state = IMAGE_COMPLETE;
    bool dirty = image->dirty; /* there is nothing left to checkpoint: evicting it must not wait for that */
    image->dirty = false;
    image->finishing = false;
    image->whole = false;
    image->error[0] = '\0';
    image_untrack_locked(image);
    chunkmap_free(image->map);
    image->map = NULL;
    uint64_t fetched = image->fetched;
    int64_t began = image->fetch_began;
    image_take_ready_locked(image, 0, &ready);
    pthread_mutex_unlock(&image->lock);
    wake_all(&ready);
    ledger_count(e->ledger, COUNT_FETCHES_DONE, 1);
    tell_done(image, fetched, began);
    if (began != 0)
        ledger_count_fetch(e->ledger, (double)(clock_monotonic() - began) / (double)NS_PER_S);
    prefetch_done(image, 0);
    fetch_visit(image);
    if (dirty)
        image_put(image); /* the reference that came with being dirty */
    image_put(image);
}

/* ---- verifying */

/* On the rows thread: the file to invalid/, a new row for the name, and one fresh try. */
static void set_invalid(void *context)
{
    struct image *image = context;
    struct engine *e = image->engine;
    struct invalid_row before;
    bool again = catalogue_invalid_find(e->catalogue, image->name, &before) == -ENOENT;

    int r = catalogue_retire(e->catalogue, image->row, false, clock_now(), NULL);
    if (r == 0)
        r = store_quarantine(e->store, STORE_PARTIAL, image->name);
    if (r == 0 && !again && strcmp(before.reason, image->error) == 0) /* it stands there since the first time */
        r = catalogue_invalid_set_bytes(e->catalogue, image->name, image->meta.size);
    else if (r == 0)
        r = catalogue_invalid_put(e->catalogue, image->name, image->error, image->meta.size, clock_now());
    if (r < 0)
        log_errno(r, "%s: the image that failed verification could not be put into invalid/", image->name);
    engine_tell_name(e, image->name);
    prefetch_done(image, -EBADMSG);
    if (again && !atomic_load(&e->stopping) && !prefetch_is_under_way(e, image->name)) {
        log_notice("%s: fetching it once more from the start", image->name);
        prefetch_start(e, image->name, 0, 0);
    }
    image_put(image);
}

static void mismatch(struct image *image, const struct digest *seen)
{
    struct engine *e = image->engine;
    struct waiters all = TAILQ_HEAD_INITIALIZER(all);

    pthread_mutex_lock(&image->lock);
    image->dead = -EIO;
    image_untrack_locked(image);
    image->finishing = false;
    image->whole = false;
    image_set_error_locked(image, "verification failed: %s is %.24s…, expected %.24s…",
                           digest_algorithm_name(seen->algorithm), seen->hex, image->meta.digest.hex);
    image_take_ready_locked(image, -EIO, &all);
    pthread_mutex_unlock(&image->lock);
    log_error("%s: %s; it goes to invalid/ and its readers get an error", image->name, image->error);
    ledger_count(e->ledger, COUNT_VERIFY_FAILED, 1);
    published_distrust(e);
    tasks_add(e->rows, set_invalid, image_ref(image));
    wake_all(&all);
    fetch_visit(image);
}

static bool is_guess(const struct image *image)
{
    return image->engine->ops->etag_may_be_md5 && image_meta_digest_is_etag(&image->meta);
}

/* Its etag looks like an MD5 and is none: it is judged by the digest that is published, or else by none. */
static int forget_guess(struct image *image)
{
    struct engine *e = image->engine;
    const struct digest none = {.algorithm = DIGEST_NONE};
    int r = catalogue_set_digest(e->catalogue, image->row, &none);
    if (r < 0 && r != -ENOENT)
        return log_errno(r, "%s: that its etag is no MD5 could not be written to the catalogue", image->name);
    log_notice("%s: its etag %.40s looks like the MD5 of its bytes and is not; it is not verified by that", image->name, image->meta.etag);
    pthread_mutex_lock(&image->lock);
    image->meta.digest = none;
    image->digest_settled = true; /* what is published had been asked for before */
    image->finishing = false;
    fetch_visit_locked(image);
    pthread_mutex_unlock(&image->lock);
    return 0;
}

/* On the hash thread: the rest of the digest, a turn at a time, for others wait for theirs; then the comparison. */
static void verify(void *context)
{
    struct image *image = context;
    struct waiters ready = TAILQ_HEAD_INITIALIZER(ready);
    struct digest seen;

    int r = hash_turn(image);
    if (r == 1) {
        tasks_add(image->engine->hash, verify, image);
        return;
    }
    if (r == 0)
        r = image->digest == NULL ? -EIO : digest_stream_finish(image->digest, &seen);
    digest_stream_free(image->digest);
    image->digest = NULL;
    pthread_mutex_lock(&image->lock);
    image->hashed = 0;
    pthread_mutex_unlock(&image->lock);
    if (r == -ECANCELED) { /* we end; the next worker verifies it, and its readers wait for that */
        image_put(image);
        return;
    }
    if (r < 0) {
        log_errno(r, "%s: reading it back to verify it", image->name);
        if (!engine_post(image->engine, publish_failed, image))
            image_put(image);
        return;
    }
    if (!digest_equal(&seen, &image->meta.digest)) {
        if (!is_guess(image))
            mismatch(image, &seen);
        else if (forget_guess(image) < 0 && !engine_post(image->engine, publish_failed, image_ref(image)))
            image_put(image);
        image_put(image);
        return;
    }
    pthread_mutex_lock(&image->lock);
    image->verified = true;
    image_take_ready_locked(image, 0, &ready);
    pthread_mutex_unlock(&image->lock);
    wake_all(&ready);
    tasks_add(image->engine->sync, publish, image);
}

void finish_start(struct image *image)
{
    struct engine *e = image->engine;
    image->wants_room = false;
    image_ref(image);
    if (image->meta.digest.algorithm == DIGEST_NONE)
        tasks_add(e->sync, publish, image);
    else
        tasks_add(e->hash, verify, image);
}

/* ---- checkpoints */

/* A map whose bytes are on the disk, on its way to the catalogue. Holds the reference that came with being dirty. */
struct map_write {
    struct image *image;
    struct image_file *file; /* that the map is of */
    struct chunkmap *map;
};

/*
 * On the rows thread, as everything that gives a row another file: the map of a file that was dropped meanwhile must not become that of
 * the next one.
 */
static void commit_map(void *context)
{
    struct map_write *w = context;
    struct image *image = w->image;
    size_t length;
    const void *bits = chunkmap_bits(w->map, &length);
    int r = 0;

    pthread_mutex_lock(&image->lock);
    bool same = image->file == w->file && image->state == IMAGE_PARTIAL;
    pthread_mutex_unlock(&image->lock);
    if (same) {
        finish_write_version(image);
        r = catalogue_checkpoint(image->engine->catalogue, image->row, bits, length, chunkmap_present(w->map), clock_now());
    }
    if (r < 0 && r != -ESTALE)
        log_errno(r, "%s: a checkpoint failed; what arrived since the last one would be fetched again after a restart", image->name);
    pthread_mutex_lock(&image->lock);
    if (same && r == 0 && image->file == w->file && image->state == IMAGE_PARTIAL) { /* else it counts as cached by now */
        space_count(image, -(int64_t)(chunkmap_present(w->map) - image->written), 0);
        image->written = chunkmap_present(w->map);
    } else if (r < 0 && r != -ESTALE) {
        image_dirty_locked(image);
    }
    pthread_mutex_unlock(&image->lock);
    image_file_put(w->file);
    chunkmap_free(w->map);
    image_put(image);
    free(w);
}

/* On the sync thread: data, then the map. */
static void checkpoint(struct image *image)
{
    struct map_write w = {.image = image};

    pthread_mutex_lock(&image->lock);
    bool dirty = image->dirty && !image->finishing;
    bool partial = image->state == IMAGE_PARTIAL && !image->through && image->dead == 0;
    if (dirty && partial && chunkmap_copy(image->map, &w.map) == 0)
        w.file = image_file_ref(image->file);
    if (dirty)
        image->dirty = false;
    pthread_mutex_unlock(&image->lock);
    if (!dirty)
        return;
    int r = w.map == NULL ? -ENOMEM : sync_data(image, w.file->fd);
    struct map_write *task = r < 0 ? NULL : malloc(sizeof(*task));
    if (task != NULL) {
        *task = w;
        tasks_add(image->engine->rows, commit_map, task);
        return;
    }
    if (r == -EIO)
        forsake_disk(image, false);
    image_file_put(w.file);
    chunkmap_free(w.map);
    image_put(image); /* the reference that came with being dirty */
}

/* Images that are in memory, with a reference each: the table may not stay locked while the disk works. free() it. */
static struct image **all_images(struct engine *e, size_t *ret_count)
{
    size_t n = 0;
    struct image *image, *next;
    pthread_mutex_lock(&e->lock);
    struct image **list = calloc(HASH_COUNT(e->images) + 1, sizeof(struct image *));
    if (list != NULL) {
        HASH_ITER(hh, e->images, image, next) {
            list[n++] = image_ref(image);
        }
    }
    pthread_mutex_unlock(&e->lock);
    *ret_count = n;
    return list;
}

static void checkpoint_images(struct engine *e)
{
    size_t n;
    struct image **list = all_images(e, &n);
    for (size_t i = 0; i < n; i++) {
        checkpoint(list[i]);
        image_put(list[i]);
    }
    free(list);
}

void finish_checkpoint_all(struct engine *e)
{
    checkpoint_images(e);
    touches_flush(e->touches, e->catalogue);
}

/* What was on its way to be published stays partial, with all its chunks; the next start goes on from there. */
void finish_checkpoint_last(struct engine *e)
{
    size_t n;
    struct image **list = all_images(e, &n);
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&list[i]->lock);
        list[i]->finishing = false;
        pthread_mutex_unlock(&list[i]->lock);
        image_put(list[i]);
    }
    free(list);
    checkpoint_images(e);
    touches_flush(e->touches, e->catalogue);
}
