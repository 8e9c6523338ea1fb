/* SPDX-License-Identifier: Apache-2.0 */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "image/image.h"

enum { FINISH_PAUSE_S = 5 }; /* after publishing failed */

/*
 *             file   map    who waits for bytes
 *   known     -      -      somebody, until it is begun
 *   partial   here   here   somebody
 *   complete  here   -      nobody
 *   retired   here   while it is being published still   as partial, then nobody
 *
 * Nobody waits for what is dead. What is being verified and published is all here, is nobody's claim, and is kept.
 */
void image_check_locked(const struct image *image)
{
    bool partial = image->state == IMAGE_PARTIAL, finishing = image->hands == HANDS_FINISH;
    const struct claim *c;
    assert((image->map != NULL) == (partial || (image->state == IMAGE_RETIRED && finishing)));
    assert((image->file != NULL) == (image->state != IMAGE_KNOWN) || (image->state == IMAGE_RETIRED && image->dead != 0));
    assert(TAILQ_EMPTY(&image->waiters) || (image->dead == 0 && image->state != IMAGE_COMPLETE));
    assert(!finishing || (chunkmap_full(image->map) && TAILQ_EMPTY(&image->claims)));
    assert(!image->through || (partial && !image->verified && !finishing && image->unwritten == 0));
    assert(image->hiding != NULL || image->given == NULL);
    TAILQ_FOREACH(c, &image->claims, link) {
        assert(c->start <= c->pos && c->pos <= c->end && c->end <= image->meta.size);
    }
}

void image_unlock(struct image *image)
{
    image_check_locked(image);
    pthread_mutex_unlock(&image->lock);
}

void image_claim_locked(struct image *image, struct claim *claim)
{
    const struct claim *c;
    TAILQ_FOREACH(c, &image->claims, link) {
        assert(claim->end <= c->start || claim->start >= c->end);
    }
    TAILQ_INSERT_TAIL(&image->claims, claim, link);
}

static const struct claim *claim_with(const struct image *image, uint64_t offset)
{
    const struct claim *r;
    TAILQ_FOREACH(r, &image->claims, link) {
        if (r->start <= offset && offset < r->pos)
            return r;
    }
    return NULL;
}

bool image_available_locked(const struct image *image, uint64_t offset, uint64_t length)
{
    if (image->map == NULL)
        return image->state == IMAGE_COMPLETE || image->state == IMAGE_RETIRED;
    uint64_t chunk = chunkmap_chunk_size(image->map), end = offset + length;
    while (offset < end) {
        const struct claim *r;
        if (chunkmap_test(image->map, offset / chunk))
            offset = (offset / chunk + 1) * chunk;
        else if ((r = claim_with(image, offset)) != NULL)
            offset = r->pos;
        else
            return false;
    }
    return true;
}

uint64_t image_present_locked(const struct image *image)
{
    if (image->state == IMAGE_COMPLETE || (image->state == IMAGE_RETIRED && image->file != NULL))
        return image->meta.size;
    if (image->through)
        return 0;
    return image->map == NULL ? 0 : chunkmap_present(image->map);
}

bool image_may_finish_locked(const struct image *image)
{
    if (image->state != IMAGE_PARTIAL || image->dead != 0 || image->through || image->hands != HANDS_NONE)
        return false;
    if (!image->digest_settled || !chunkmap_full(image->map) || !TAILQ_EMPTY(&image->claims))
        return false;
    bool failed = image->unfinished_at != 0 && clock_monotonic() - image->unfinished_at < FINISH_PAUSE_S * NS_PER_S;
    return !failed || !TAILQ_EMPTY(&image->wholes) || !TAILQ_EMPTY(&image->waiters);
}

void image_set_error_locked(struct image *image, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(image->error, sizeof(image->error), format, args);
    va_end(args);
}

bool image_wants_all_locked(const struct image *image)
{
    return image->whole || !TAILQ_EMPTY(&image->wholes);
}

void image_take_wholes_locked(struct image *image, int status, struct effects *fx)
{
    waiters_take_all(&image->wholes, status, &fx->woken);
}

/* Of one that is dead only when its row is replaced: who asks for its name before that would find the dead one again. */
int image_whole_status_locked(const struct image *image)
{
    if (image->hands == HANDS_FINISH)
        return 1;
    if (image->dead != 0)
        return !image->row_retired ? 1 : image->death == DEATH_ROTTEN ? -EBADMSG : -ESTALE;
    if (image->through)
        return -ENOSPC;
    return image->state == IMAGE_COMPLETE ? 0 : image->state == IMAGE_RETIRED ? -ESTALE : 1;
}
