/* SPDX-License-Identifier: Apache-2.0 */
/* Handed images: the files, their room, and what makes an image of one. */
#include "config-auto.h"

#include "engine/handed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/evict/claim.h"
#include "engine/evict/space.h"
#include "engine/images/images.h"
#include "engine/lookup/digests.h"
#include "engine/lookup/lookup.h"

enum { ROOM_STEP = 16 << 20, TRIES = 5, HASH_BLOCK = 256 << 10, LOOKING_NICE = 10 };

struct handed {
    struct engine *e;
    uint64_t number;
    char name[IMAGE_ID_MAX + 1];
    int fd;
    atomic_uint refs;   /* the table's, and of who works on it */
    pthread_mutex_t writing; /* one write at a time */
    uint64_t size, room; /* bytes written; counted for it. Protected by writing */
    bool over;           /* it is handed over; protected by the table's lock */
};

struct handed_table {
    pthread_mutex_t lock;
    struct handed *files[HANDED_MAX]; /* being written; protected by lock, as the next */
    uint64_t last;
    struct tasks *looking; /* after they were handed over */
};

int handed_new(struct handed_table **ret)
{
    struct handed_table *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    pthread_mutex_init(&t->lock, NULL);
    t->last = (uint64_t)clock_now() >> 8; /* no number of a worker before us comes again */
    int r = tasks_new("handed", &t->looking);
    if (r < 0) {
        free(t);
        return r;
    }
    *ret = t;
    return 0;
}

static void put(struct handed *h)
{
    if (atomic_fetch_sub(&h->refs, 1) != 1)
        return;
    space_give_back(h->e, h->room, h->room - h->size);
    close(h->fd);
    pthread_mutex_destroy(&h->writing);
    free(h);
}

void handed_finish(struct handed_table *t)
{
    if (t == NULL)
        return;
    tasks_finish(t->looking);
    t->looking = NULL;
    for (int i = 0; i < HANDED_MAX; i++) {
        if (t->files[i] != NULL)
            put(t->files[i]);
        t->files[i] = NULL;
    }
}

void handed_free(struct handed_table *t)
{
    if (t == NULL)
        return;
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- the table */

/* With a reference; NULL. */
static struct handed *find(struct engine *e, const char *name, uint64_t number)
{
    struct handed_table *t = e->handed;
    struct handed *found = NULL;
    pthread_mutex_lock(&t->lock);
    for (int i = 0; i < HANDED_MAX && found == NULL; i++) {
        struct handed *h = t->files[i];
        if (h != NULL && !h->over && (name != NULL ? strcmp(h->name, name) == 0 : h->number == number))
            found = h;
    }
    if (found != NULL)
        atomic_fetch_add(&found->refs, 1);
    pthread_mutex_unlock(&t->lock);
    return found;
}

static int enter(struct handed_table *t, struct handed *h)
{
    int r = -EDQUOT, at = -1;
    pthread_mutex_lock(&t->lock);
    for (int i = 0; i < HANDED_MAX; i++) {
        at = t->files[i] == NULL ? i : at;
        if (t->files[i] != NULL && !t->files[i]->over && strcmp(t->files[i]->name, h->name) == 0)
            r = -EEXIST;
    }
    if (r == -EDQUOT && at >= 0) {
        h->number = ++t->last;
        t->files[at] = h;
        r = 0;
    }
    pthread_mutex_unlock(&t->lock);
    return r;
}

/* The table's reference, when it is there. */
static bool leave(struct handed_table *t, struct handed *h)
{
    bool there = false;
    pthread_mutex_lock(&t->lock);
    for (int i = 0; i < HANDED_MAX; i++) {
        there = there || t->files[i] == h;
        t->files[i] = t->files[i] == h ? NULL : t->files[i];
    }
    pthread_mutex_unlock(&t->lock);
    return there;
}

/* ---- being written */

int engine_hand_begin(struct engine *e, const char *name, uint64_t *ret_number)
{
    struct handed *h = catalogue_is_memory(e->catalogue) ? NULL : calloc(1, sizeof(*h));
    if (h == NULL)
        return catalogue_is_memory(e->catalogue) ? -EROFS : -ENOMEM;
    *h = (struct handed){.e = e, .fd = -1, .refs = 1};
    snprintf(h->name, sizeof(h->name), "%s", name);
    int r = store_new_nameless(e->store, &h->fd);
    if (r < 0) {
        free(h);
        return r;
    }
    pthread_mutex_init(&h->writing, NULL);
    r = enter(e->handed, h);
    if (r < 0)
        put(h);
    else
        *ret_number = h->number;
    return r;
}

int engine_hand_find(struct engine *e, const char *name, uint64_t *ret_number)
{
    struct handed *h = find(e, name, 0);
    if (h == NULL)
        return -ENOENT;
    *ret_number = h->number;
    put(h);
    return 0;
}

int engine_hand_size(struct engine *e, uint64_t number, uint64_t *ret_size)
{
    struct handed *h = find(e, NULL, number);
    if (h == NULL)
        return -ENOENT;
    pthread_mutex_lock(&h->writing);
    *ret_size = h->size;
    pthread_mutex_unlock(&h->writing);
    put(h);
    return 0;
}

static int append(struct handed *h, const char *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(h->fd, bytes + done, size - done, (off_t)(h->size + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    h->size += size;
    space_written(h->e, size);
    return 0;
}

int engine_hand_write(struct engine *e, uint64_t number, const char *bytes, size_t size, uint64_t offset)
{
    struct handed *h = find(e, NULL, number);
    if (h == NULL)
        return -ESTALE;
    pthread_mutex_lock(&h->writing);
    int r = offset != h->size ? -ESPIPE : 0;
    uint64_t step = size > ROOM_STEP ? size : ROOM_STEP;
    if (r == 0 && h->size + size > h->room) {
        r = space_take(e, step) ? 0 : -ENOSPC;
        h->room += r == 0 ? step : 0;
    }
    if (r == 0)
        r = append(h, bytes, size);
    pthread_mutex_unlock(&h->writing);
    put(h);
    return r;
}

void engine_hand_end(struct engine *e, uint64_t number)
{
    struct handed *h = find(e, NULL, number);
    if (h == NULL)
        return;
    if (leave(e->handed, h))
        put(h);
    put(h);
}

/* ---- being looked at */

/* What the backend says of it: it may be that it does not have it whole at once. */
static int describe(struct handed *h, struct image_row *ret)
{
    int r = -ENOENT;
    for (unsigned try = 0; try < TRIES && !atomic_load(&h->e->stopping); try++) {
        r = lookup_name_blocking(h->e, h->name, ret);
        if (r == 0 && ret->meta.digest.algorithm == DIGEST_NONE)
            published_digest_now(h->e, h->name, &ret->meta.digest);
        if (r == 0 && ret->meta.size == h->size && ret->meta.digest.algorithm != DIGEST_NONE)
            return 0;
        if (r == -ECANCELED || r == -EACCES)
            return r;
        for (unsigned ms = 0; try + 1 < TRIES && ms < 200U << try && !atomic_load(&h->e->stopping); ms += 100)
            nanosleep(&(struct timespec){.tv_nsec = 100 * NS_PER_MS}, NULL);
    }
    return r;
}

static int hash(struct handed *h, enum digest_algorithm algorithm, struct digest *ret)
{
    struct digest_stream *stream;
    unsigned char *block = malloc(HASH_BLOCK);
    int r = block == NULL ? -ENOMEM : digest_stream_new(algorithm, &stream);
    if (r < 0) {
        free(block);
        return r;
    }
    ssize_t n = 0;
    for (off_t at = 0; r == 0 && (n = pread(h->fd, block, HASH_BLOCK, at)) > 0; at += n)
        r = atomic_load(&h->e->stopping) ? -ECANCELED : digest_stream_update(stream, block, (size_t)n);
    if (r == 0)
        r = n < 0 ? -errno : digest_stream_finish(stream, ret);
    digest_stream_free(stream);
    free(block);
    return r;
}

/* 0: it is what the backend has; -EBADMSG and WHY: it is not. */
static int verify(struct handed *h, const struct image_meta *meta, char why[128])
{
    struct digest seen;
    if (meta->size != h->size) {
        snprintf(why, 128, "it has %" PRIu64 " bytes, the backend's %" PRIu64, h->size, meta->size);
        return -EBADMSG;
    }
    if (meta->digest.algorithm == DIGEST_NONE) {
        snprintf(why, 128, "the backend gives no digest to verify it by");
        return -EBADMSG;
    }
    int r = hash(h, meta->digest.algorithm, &seen);
    if (r == 0 && !digest_equal(&seen, &meta->digest)) {
        snprintf(why, 128, "its %s is %.24s…, the backend's %.24s…", digest_algorithm_name(seen.algorithm), seen.hex, meta->digest.hex);
        return -EBADMSG;
    }
    return r;
}

/* Is the image in use already, so that its own fetch goes on? */
static bool is_busy(struct engine *e, const struct image_row *row)
{
    struct image_row now;
    struct image *image = image_find(e, row->row);
    if (image != NULL)
        image_put(image);
    return image != NULL || catalogue_get(e->catalogue, row->row, &now) < 0 || now.state != IMAGE_KNOWN;
}

/* While its name is claimed. */
static int place(struct handed *h, const struct image_row *row)
{
    struct engine *e = h->e;
    char label[IMAGE_LABEL_MAX];
    if (is_busy(e, row))
        return -EBUSY;
    image_label_write(&row->meta, label, sizeof(label));
    store_set_label(h->fd, label); /* where it cannot be kept, the backend is asked instead */
    int r = fdatasync(h->fd) < 0 ? -errno : store_name(e->store, h->name, h->fd);
    if (r < 0)
        return r;
    r = catalogue_adopt(e->catalogue, row->row, "", &row->meta.digest, clock_now());
    if (r < 0)
        store_remove(e->store, STORE_COMPLETE, h->name);
    return r == -ESTALE ? -EBUSY : r;
}

static void look(void *context)
{
    struct handed *h = context;
    struct engine *e = h->e;
    struct image_row row;
    struct name_claim claim;
    char why[128] = "";
    setpriority(PRIO_PROCESS, (id_t)gettid(), LOOKING_NICE); /* this thread's: nobody waits for its digests, and uploads and readers want the processors */
    int r = describe(h, &row);
    if (r == 0)
        r = verify(h, &row.meta, why);
    if (r == 0) {
        claim_name(e->names, &claim, h->name);
        r = place(h, &row);
        claim_end(e->names, &claim);
    }
    if (r == 0) {
        teller_name(e->teller, h->name);
        log_info("%s: cached, %" PRIu64 " bytes, kept as it was uploaded, verified by %s", h->name, h->size, digest_algorithm_name(row.meta.digest.algorithm));
    } else if (r == -EBADMSG) {
        log_warning("%s: what was kept of its upload is dropped: %s", h->name, why);
    } else if (r != -EBUSY && r != -ECANCELED) {
        log_notice("%s: what was kept of its upload is dropped: %s", h->name, error_text(r));
    }
    put(h);
}

int engine_hand_over(struct engine *e, const char *name)
{
    struct handed_table *t = e->handed;
    struct handed *h = find(e, name, 0);
    if (h == NULL)
        return -ENOENT;
    pthread_mutex_lock(&t->lock);
    bool first = !h->over;
    h->over = true;
    pthread_mutex_unlock(&t->lock);
    if (first && leave(t, h)) /* its reference goes to the thread */
        tasks_add(t->looking, look, h);
    put(h);
    return first ? 0 : -ENOENT;
}
