/* SPDX-License-Identifier: Apache-2.0 */
/* An image from its row: opens what the row says is here. What the disk does not have makes it known again. Takes no lock. */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/bootset/boots.h"
#include "engine/images/load.h"

void image_free(struct image *image)
{
    assert(TAILQ_EMPTY(&image->claims) && TAILQ_EMPTY(&image->waiters) && TAILQ_EMPTY(&image->wholes) && image->track == NULL);
    image_file_put(image->file);
    chunkmap_free(image->map);
    chunkmap_free(image->given);
    chunkmap_free(image->ahead);
    boot_put(image->boot);
    digest_stream_free(image->digest);
    pthread_mutex_destroy(&image->lock);
    free(image->grave);
    free(image);
}

int image_check_file(int fd, const struct image_row *row)
{
    char tag[IMAGE_TAG_SIZE];
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    int r = store_get_tag(fd, tag);
    if (r < 0)
        return r;
    if (strcmp(tag, row->tag) != 0 && (tag[0] != '\0' || row->state == IMAGE_PARTIAL))
        return -ESTALE;
    return (uint64_t)st.st_size == row->meta.size ? 0 : -EBADMSG;
}

int image_check_opened(int r, int fd, const struct image_row *row)
{
    if (r == 0 && (r = image_check_file(fd, row)) < 0)
        close(fd);
    return r;
}

static int load_partial(struct engine *e, const struct image_row *row, struct image *image, int *ret_fd)
{
    void *bits = NULL;
    size_t length = 0;
    int r = store_open_image(e->store, STORE_PARTIAL, row->name, ret_fd);
    if (r < 0)
        return r;
    r = catalogue_load_map(e->catalogue, row->row, &bits, &length);
    if (r == 0)
        r = chunkmap_load(row->meta.size, bits, length, &image->map);
    else if (r == -ENOENT)
        r = chunkmap_new(row->meta.size, &image->map);
    free(bits);
    if (r == 0)
        r = image_check_file(*ret_fd, row);
    if (r < 0) {
        close(*ret_fd);
        chunkmap_free(image->map); /* it would say that bytes are here */
        image->map = NULL;
    }
    return r;
}

bool image_row_is_bare(const struct engine *e, const struct image_row *row)
{
    return !e->ops->ids_are_versions && image_meta_is_bare(&row->meta);
}

/*
 * Nobody can say that what is here and what would come are of one version. Whoever has some of it gets an error with the next; where nobody has
 * it open there is a new row for what comes, as programs beside us know versions by our number and time (-ESTALE: look the name up again).
 */
static int begin_anew(struct engine *e, struct image_row *row, struct image *image)
{
    bool open = ledger_handles(e->ledger, row->row) > 0;
    int r = open ? catalogue_reset_file(e->catalogue, row) : catalogue_replace_partial(e->catalogue, row, false, clock_now());
    if (r < 0 || !open)
        return r == -ESTALE ? -EAGAIN : r < 0 ? r : -ESTALE;
    row->state = IMAGE_KNOWN;
    image->shown_elsewhere = true;
    log_info("%s: the backend does not tell its versions apart; what is here of it cannot be gone on with", row->name);
    return 0;
}

/* Opens what the row says is here. What the row says but the disk does not have makes the image known again. -EAGAIN: another has found that,
 * too, and the row has another file by now. */
static int load_file(struct engine *e, struct image_row *row, struct image *image)
{
    int fd = -1, r = 0;
    switch (row->state) {
    case IMAGE_KNOWN:
        return 0;
    case IMAGE_PARTIAL:
        if (image_row_is_bare(e, row))
            return begin_anew(e, row, image);
        r = load_partial(e, row, image, &fd);
        break;
    case IMAGE_COMPLETE:
        r = store_open_image(e->store, STORE_COMPLETE, row->name, &fd);
        r = image_check_opened(r, fd, row);
        break;
    case IMAGE_RETIRED:
        r = store_open_retired(e->store, row->row, &fd);
        r = image_check_opened(r, fd, row);
        if (r == -ENOENT || r == -EBADMSG || r == -ESTALE) {
            image->dead = -EIO;
            return 0;
        }
        break;
    }
    if ((r == -ENOENT || r == -EBADMSG || r == -ESTALE) && row->state != IMAGE_RETIRED) {
        log_warning("%s: its file or chunk map is gone, cut short, damaged or another's; it will be fetched again", row->name);
        r = catalogue_reset_file(e->catalogue, row);
        row->state = IMAGE_KNOWN; /* also if the catalogue could not be told: it is told before it gets another file */
        return r == -ESTALE ? -EAGAIN : 0;
    }
    if (r == -ENOMEM || r == -EMFILE || r == -ENFILE || (r < 0 && row->state == IMAGE_RETIRED))
        return r;
    if (r < 0) { /* the disk does not give it: it comes from the backend, as if it was not here */
        log_errno(r, "%s: what the cache directory has of it", row->name);
        row->state = IMAGE_KNOWN;
        return 0;
    }
    image->file = image_file_new(fd);
    return image->file == NULL ? -ENOMEM : 0;
}

int image_new(struct engine *e, struct image_row *row, struct image **ret)
{
    struct image *image = calloc(1, sizeof(*image));
    struct grave *grave = calloc(1, sizeof(*grave));
    if (image == NULL || grave == NULL) {
        free(image);
        free(grave);
        return -ENOMEM;
    }
    image->grave = grave;
    pthread_mutex_init(&image->lock, NULL);
    TAILQ_INIT(&image->claims);
    TAILQ_INIT(&image->waiters);
    TAILQ_INIT(&image->wholes);
    image->engine = e;
    image->row = row->row;
    image->version_known = row->described != 0 || !image_meta_is_bare(&row->meta) || !e->ops->describe_has_bytes;
    image->shown_elsewhere = row->state == IMAGE_PARTIAL || ledger_handles(e->ledger, row->row) > 0;
    memcpy(image->name, row->name, sizeof(image->name));
    int r = load_file(e, row, image);
    if (r < 0) {
        image_free(image);
        return r;
    }
    image->state = row->state;
    image->row_retired = row->state == IMAGE_RETIRED;
    image->meta = row->meta;
    image->tail_shown = row->state != IMAGE_COMPLETE && row->meta.size > HOLD_SLACK; /* a smaller one never is */
    image->described = row->described;
    image->last_progress = row->last_modified;
    image->written = row->bytes;
    bool known = row->meta.digest.algorithm != DIGEST_NONE && !(e->ops->etag_may_be_md5 && image_meta_digest_is_etag(&row->meta));
    image->digest_settled = known || e->ops->digests == NULL;
    memcpy(image->error, row->error, sizeof(image->error));
    *ret = image;
    return 0;
}
