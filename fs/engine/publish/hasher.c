/* SPDX-License-Identifier: Apache-2.0 */
/* On the hash thread: the digest of an image follows the contiguous prefix of what is here. */
#include "config-auto.h"

#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/images/images.h"
#include "engine/publish/private.h"
#include "image/due.h"

enum { HASH_TURN = 64 << 20, HASH_BUFFER = 256 << 10 };

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
int hasher_turn(struct image *image)
{
    image_lock(image);
    bool partial = image->state == IMAGE_PARTIAL && image->dead == 0 && !image->through;
    uint64_t from = image->hashed, prefix = partial ? chunkmap_prefix(image->map) : 0;
    struct image_file *file = partial ? image_file_ref(image->file) : NULL;
    enum digest_algorithm algorithm = image->meta.digest.algorithm;
    image_unlock(image);
    if (!partial)
        return 0;

    uint64_t to = prefix - from > HASH_TURN ? from + HASH_TURN : prefix;
    int r = open_digest(image, from, algorithm);
    if (r == 0)
        r = hash_bytes(image, file->fd, from, to);
    image_lock(image);
    bool same = image->file == file; /* else it was dropped meanwhile and begins anew */
    if (r == 0 && same)
        image->hashed = to;
    image_unlock(image);
    image_file_put(file);
    return r < 0 ? r : to < prefix;
}

static void hash_task(void *context)
{
    struct image *image = context;
    int r = hasher_turn(image);
    if (r < 0 && r != -ECANCELED)
        log_errno(r, "%s: hashing what arrived failed; it starts over at the end", image->name);
    image_lock(image);
    if (r < 0)
        image->hashed = 0;
    image->hashing = r == 1 && image_hash_due_locked(image);
    bool more = image->hashing;
    image_unlock(image);
    if (more)
        hasher_follow(image);
    image_put(image);
}

void hasher_follow(struct image *image)
{
    tasks_add(image->engine->hash, hash_task, image_ref(image));
}
