/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is an answer for bytes of the version that is fetched? Nobody may get bytes of two, and many a reader never comes to the end, where a
 * digest would tell. All of this happens on the fetch thread.
 *
 * An answer counts when it says so itself, see backend_version(). One from another endpoint that does not is a STRANGER: the next one is
 * asked. One from the endpoint that described the image that says otherwise, or says nothing any more, means that the image changed.
 *
 * Where answers cannot say it (a bare image: no etag, no date) the image is UNPROVEN. It comes as one stream, and when that breaks off, the
 * next one begins at the first byte and is compared with all that came before it: the image is what one answer had, from its first byte
 * to its last. That is how a fetch goes on from another endpoint, too, and behind a balancer whose servers give etags of their own.
 * It needs all bytes that anybody was shown: they are there while the image was begun here, came without a gap and is kept.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backends/head_digest.h"
#include "base/log.h"
#include "engine/fetch/private.h"
#include "engine/fetch/version.h"

enum { COMPARED = 64 << 10, UNSTEADY_S = 60, UNSTEADY_FOR_S = 600 };

static int say(struct range *range, int error, const char *why)
{
    snprintf(range->why, sizeof(range->why), "%s", why);
    return error;
}

/* ---- the first answer for bytes of a row that only a listing told of names its version */

/* What HEAD says of the image, as if as many of its first bytes had come with it: what it says of its own bytes only is not taken for the whole. */
static int describe(struct range *range, const struct transfer_head *head, struct image_meta *ret)
{
    struct image *image = range->image;
    struct engine *e = image->engine;
    struct transfer_head from_start = *head; /* which bytes came was looked at already */
    if (from_start.ranged && from_start.first <= from_start.last) {
        from_start.last -= from_start.first;
        from_start.first = 0;
    }
    return e->ops->described(e->backend, range->endpoint, image->name, &from_start, NULL, 0, ret);
}

/*
 * The validators of HEAD are those of the image from now on. A digest that is known already stays, and so does its absence once the hash has
 * begun: a published one is worth more than what a header says, and the hash follows one of them only.
 */
int version_adopt(struct range *range, const struct transfer_head *head)
{
    struct image *image = range->image;
    struct image_meta meta;
    if (!image->engine->ops->describe_has_bytes)
        return 0;
    int r = describe(range, head, &meta);
    if (r < 0)
        return r;
    if (meta.size == IMAGE_SIZE_UNKNOWN)
        meta.size = image->meta.size;
    if (meta.size != image->meta.size)
        return say(range, -ESTALE, "its size is not what it was said to be");
    image_lock(image);
    bool settled = image->meta.digest.algorithm != DIGEST_NONE || image->hashing || image->hashed > 0;
    if (settled || meta.digest.algorithm == DIGEST_NONE)
        meta.digest = image->meta.digest;
    else
        image->tail_shown = image->tail_shown || image->digest_settled; /* until now nothing held it back */
    image->meta = meta;
    image->described = 0; /* not in the catalogue yet */
    image_unlock(image);
    image->version_known = image->version_told = true;
    return 0;
}

/* ---- names whose versions come and go: a balancer with servers that differ, most likely */

void version_changed(struct engine *e, const char *name)
{
    struct unsteady *entry = &e->fetch->unsteady[0];
    int64_t now = clock_monotonic();
    for (int i = 0; i < UNSTEADY; i++) {
        struct unsteady *u = &e->fetch->unsteady[i];
        if (strcmp(u->name, name) == 0) {
            entry = u;
            break;
        }
        if (u->at < entry->at)
            entry = u;
    }
    bool again = strcmp(entry->name, name) == 0 && now - entry->at < UNSTEADY_S * NS_PER_S;
    entry->changes = again ? entry->changes + 1 : 1;
    entry->at = now;
    snprintf(entry->name, sizeof(entry->name), "%s", name);
}

static bool is_unsteady(const struct engine *e, const char *name)
{
    for (int i = 0; i < UNSTEADY; i++) {
        const struct unsteady *u = &e->fetch->unsteady[i];
        if (u->changes > 1 && strcmp(u->name, name) == 0)
            return clock_monotonic() - u->at < UNSTEADY_FOR_S * NS_PER_S;
    }
    return false;
}

/* ---- one stream */

static bool is_bare(const struct image *image)
{
    return !image->engine->ops->ids_are_versions && image_meta_is_bare(&image->meta);
}

bool version_may_go_on(const struct image *image)
{
    return !image->unproven || (!image->shown_elsewhere && (image->shown == 0 || !image->through));
}

/* Are all bytes that anybody was shown in the file, from the first on without a gap? */
static bool can_compare(struct image *image)
{
    if (image->shown_elsewhere || (image->through && image->shown > 0))
        return false;
    image_lock(image);
    uint64_t here = chunkmap_prefix(image->map);
    const struct claim *c = TAILQ_FIRST(&image->claims);
    while (c != NULL) {
        bool longer = c->start <= here && c->pos > here;
        here = longer ? c->pos : here;
        c = longer ? TAILQ_FIRST(&image->claims) : TAILQ_NEXT(c, link);
    }
    bool all = here >= image->shown;
    image_unlock(image);
    return all;
}

/* From here on IMAGE comes as one stream, if that can be done: -ENOTSUP has its ranges stopped. Else ERROR. */
static int turn_to_stream(struct range *range, int error)
{
    struct image *image = range->image;
    if (image->unproven || !can_compare(image))
        return error;
    log_info("%s: %s; it is fetched as one stream, and what is here is compared with it", image->name,
             range->why[0] ? range->why : "its answers do not say which version they are of");
    image->unproven = true;
    return -ENOTSUP;
}

/* It may be an endpoint that lags behind, and the next does not. */
static int differs(struct range *range)
{
    struct image *image = range->image;
    bool here = range->endpoint == image->meta.endpoint;
    image->stranger = image->stranger || !here;
    return say(range, here ? -ESTALE : VERSION_STRANGER, "its bytes are not those that came before");
}

int version_compare(struct range *range, const unsigned char *bytes, size_t length)
{
    static unsigned char here[COMPARED]; /* the fetch thread's */
    uint64_t offset = range->claim.pos - range->skip;
    while (range->image->unproven && length > 0) {
        size_t n = length < sizeof(here) ? length : sizeof(here);
        ssize_t got = pread(range->file->fd, here, n, (off_t)offset);
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        if (memcmp(here, bytes, (size_t)got) != 0)
            return differs(range);
        bytes += got;
        length -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

void version_begin(struct image *image)
{
    bool bare = is_bare(image) && image->version_known;
    if (bare || (!image->shown_elsewhere && is_unsteady(image->engine, image->name)))
        image->unproven = true;
}

void version_place_locked(struct range *range)
{
    struct image *image = range->image;
    if (!image->unproven)
        return;
    range->stream = true;
    range->claim.start = chunkmap_prefix(image->map);
    range->claim.pos = image->shown > range->claim.start ? image->shown : range->claim.start;
}

/* ---- the answer's head */

/* Does HEAD say that it is of the version, in one way or another? Remembers a digest of another kind than ours, to compare the next with. */
static enum version_verdict judge(struct range *range, const struct transfer_head *head)
{
    struct image *image = range->image;
    image_lock(image); /* the lister settles the digest */
    struct image_meta known = image->meta;
    bool verified = image->digest_settled && known.digest.algorithm != DIGEST_NONE && !image->through;
    image_unlock(image);
    if (image->unproven) /* its bytes are compared; but a digest may say otherwise at once */
        known.etag[0] = known.modified[0] = '\0';
    enum version_verdict verdict = backend_version(head, &known, range->endpoint);
    struct digest own = head_digest(head);
    bool comparable = own.algorithm != DIGEST_NONE && own.algorithm == image->told.algorithm;
    if (comparable && !digest_equal(&own, &image->told))
        return VERSION_OTHER;
    if (verdict == VERSION_UNTOLD && (comparable || image->unproven))
        verdict = VERSION_SAME;
    if (verdict == VERSION_UNTOLD && image->engine->ops->ids_are_versions && (range->endpoint == image->meta.endpoint || verified))
        verdict = VERSION_SAME;
    if (verdict == VERSION_SAME)
        image->told = own.algorithm != DIGEST_NONE ? own : image->told;
    return verdict;
}

/* An endpoint that may have another version. When the one that described the image was asked in vain, it may go on from here. */
static int strange(struct range *range, bool other_size)
{
    struct image *image = range->image;
    image->stranger = true;
    bool asked = (image->tried & 1u << image->meta.endpoint) != 0;
    say(range, 0, "this endpoint may have another version");
    return asked && !other_size ? turn_to_stream(range, VERSION_STRANGER) : VERSION_STRANGER;
}

int version_check(struct range *range, const struct transfer_head *head, int error)
{
    struct image *image = range->image;
    bool here = range->endpoint == image->meta.endpoint;
    if (error < 0)
        return error == -ESTALE && !here && image->version_known ? strange(range, true) : error;
    if (!image->version_known) {
        int r = version_adopt(range, head);
        return r == 0 && is_bare(image) ? turn_to_stream(range, -ESTALE) : r;
    }
    enum version_verdict verdict = judge(range, head);
    if (verdict == VERSION_SAME)
        return image->unproven && range->claim.pos == 0 ? version_adopt(range, head) : 0;
    if (!here)
        return strange(range, false);
    if (verdict == VERSION_OTHER)
        return say(range, -ESTALE, "the answer says that it is another version");
    say(range, 0, "the answer does not say any more which version it is of");
    return turn_to_stream(range, -ESTALE);
}
