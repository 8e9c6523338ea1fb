/* SPDX-License-Identifier: Apache-2.0 */
/* How the state of an image changes; what is to be done then is left in effects. Lock held, nobody called. */
#include "config-auto.h"

#include <errno.h>

#include "image/image.h"

/* Its file is none that has what was shown of it, if anything was. */
static void forget_shown(struct image *image)
{
    image->shown_elsewhere = image->shown_elsewhere || image->shown > 0;
    image->shown = 0;
}

static void count(struct image *image, int64_t unwritten, int64_t reserved, struct effects *fx)
{
    image->unwritten += unwritten;
    fx->unwritten += unwritten;
    fx->reserved += reserved;
}

void image_begun_locked(struct image *image, struct image_file *file, struct chunkmap *map, uint64_t reserved, int64_t now, struct effects *fx)
{
    uint64_t here = chunkmap_present(map);
    image->file = file;
    image->map = map;
    image->outlook = 0; /* of another map, maybe at the same address */
    image->state = IMAGE_PARTIAL;
    image->shown = here;
    image->verified = false;
    image->written = 0;
    image->disk_failed = false;
    image->fetched += here;
    image->last_progress = now;
    count(image, (int64_t)here - (int64_t)reserved, -(int64_t)reserved, fx);
    image_take_ready_locked(image, 0, fx);
}

struct span image_arrived_locked(struct image *image, struct claim *claim, uint64_t length, int64_t now, struct effects *fx)
{
    uint64_t chunk = chunkmap_chunk_size(image->map), from = claim->pos;
    claim->pos += length;
    struct span whole = {from / chunk, claim->pos == image->meta.size ? chunkmap_chunks(image->map) : claim->pos / chunk};
    for (uint64_t c = whole.first; c < whole.end; c++)
        chunkmap_set(image->map, c);
    image->shown = claim->pos > image->shown ? claim->pos : image->shown;
    image->fetched += length;
    image->last_progress = now;
    if (!image->through)
        fx->reserved -= (int64_t)length;
    image_hide_tail_locked(image, fx); /* nobody asks for what the kernel has */
    image_take_ready_locked(image, 0, fx);
    return whole;
}

void image_verified_locked(struct image *image, struct effects *fx)
{
    image->verified = true;
    image_take_ready_locked(image, 0, fx);
}

/* Its file stops to be a partial one. */
static void untrack(struct image *image, struct effects *fx)
{
    fx->track = image->track;
    image->track = NULL;
}

void image_completed_locked(struct image *image, struct effects *fx)
{
    count(image, -image->unwritten, 0, fx);
    if (image->state == IMAGE_PARTIAL)
        image->state = IMAGE_COMPLETE;
    image->hands = HANDS_NONE;
    image->whole = false;
    image->error[0] = '\0';
    untrack(image, fx);
    fx->map = image->map;
    image->map = NULL;
    image_take_ready_locked(image, 0, fx);
    image_take_wholes_locked(image, 0, fx);
}

void image_found_locked(struct image *image, struct image_file *file, const struct image_meta *meta, bool complete, struct effects *fx)
{
    image->file = file;
    image->meta = *meta;
    image->state = complete && !image->row_retired ? IMAGE_COMPLETE : IMAGE_RETIRED;
    image_take_ready_locked(image, 0, fx);
}

void image_reset_locked(struct image *image, struct effects *fx)
{
    count(image, -image->unwritten, 0, fx);
    fx->file = image->file;
    fx->map = image->map;
    image->file = NULL;
    image->map = NULL;
    chunkmap_free(image->ahead);
    image->ahead = NULL;
    image->state = IMAGE_KNOWN;
    image->through = false;
    image->hashed = 0;
    image->verified = false;
    image->whole = false;
    forget_shown(image);
    untrack(image, fx);
}

void image_passed_locked(struct image *image, struct image_file *file, struct chunkmap *map, const char *why, struct effects *fx)
{
    count(image, -image->unwritten, 0, fx);
    fx->file = image->file;
    fx->map = image->map;
    image->file = file;
    image->map = map;
    image->state = IMAGE_PARTIAL;
    image->through = true;
    image->whole = false;
    image->hashed = 0;
    image->verified = false;
    image->written = 0;
    forget_shown(image);
    untrack(image, fx);
    image_set_error_locked(image, "not kept: %s", why);
}

/* One that is being published has all of its file; one that was loaded before its file was found and taken over has none yet. */
void image_retired_locked(struct image *image)
{
    image->row_retired = true;
    if (image->state == IMAGE_COMPLETE || image->hands == HANDS_FINISH)
        image->state = IMAGE_RETIRED;
}

void image_died_locked(struct image *image, int death, struct effects *fx)
{
    image->dead = -EIO;
    image->death = death;
    image->whole = false;
    untrack(image, fx);
    waiters_take_all(&image->waiters, -EIO, &fx->woken);
}

void image_failed_locked(struct image *image, int status, struct effects *fx)
{
    image->whole = false;
    image->failure = 0;
    waiters_take_all(&image->waiters, status, &fx->woken);
    waiters_take_all(&image->wholes, status, &fx->woken);
}
