/* SPDX-License-Identifier: Apache-2.0 */
/* What read-ahead brought and nobody has read: a bit a chunk. Protected by image->lock. */
#include "config-auto.h"

#include "image/ahead.h"

void image_ahead_mark_locked(struct image *image, uint64_t first, uint64_t end)
{
    if (image->ahead == NULL && chunkmap_new(image->meta.size, &image->ahead) < 0)
        return;
    uint64_t chunk = chunkmap_chunk_size(image->ahead), chunks = chunkmap_chunks(image->ahead);
    for (uint64_t c = first / chunk; c * chunk < end && c < chunks; c++)
        chunkmap_set(image->ahead, c);
}

void image_ahead_read_locked(struct image *image, uint64_t offset, uint64_t length)
{
    if (image->ahead == NULL || chunkmap_present(image->ahead) == 0)
        return;
    uint64_t chunk = chunkmap_chunk_size(image->ahead);
    for (uint64_t c = offset / chunk; c * chunk < offset + length; c++)
        chunkmap_clear(image->ahead, c);
}

uint64_t image_ahead_unread_locked(const struct image *image)
{
    return image->ahead == NULL ? 0 : chunkmap_present(image->ahead);
}

uint64_t image_ahead_most_locked(const struct image *image)
{
    uint64_t near = image->worth * AHEAD_ANSWERS;
    return (near > AHEAD_FREE ? near : AHEAD_FREE) + image->asked / AHEAD_SHARE;
}
