/* SPDX-License-Identifier: Apache-2.0 */
/* Reading images again to see whether their bytes are still right. One thread. */
#ifndef GCFS_VERIFY_H
#define GCFS_VERIFY_H

#include <stdint.h>

#include "common/find_mount.h"
#include "image/digest.h"

/* What several images are read with. */
struct verifier {
    const struct cache_mount *mount;
    int cached;    /* the folder */
    uint64_t rate; /* bytes a second; 0: as fast as it goes */
    uint64_t bytes; /* read so far */
    int64_t began, due, drawn; /* monotonic; `due`: when the rate has caught up with what was read */
    uint64_t images, images_done; /* for the progress: how many there are, and how many were looked at */
    unsigned char *buffer;
};

/* IMAGES is how many there are to come. -ENOMEM. */
int verifier_begin(struct verifier *v, const struct cache_mount *mount, int cached, uint64_t rate, uint64_t images);
void verifier_end(struct verifier *v);

enum verify_result { VERIFY_RIGHT, VERIFY_ROTTEN, VERIFY_NO_DIGEST, VERIFY_GONE };

struct verified {
    enum verify_result result;
    uint64_t inode; /* of what was read */
    char why[256];  /* with VERIFY_ROTTEN */
};

/*
 * Reads cached/NAME to its end and compares its digest with the one that the mount tells. What the page cache of the mount holds of it is
 * dropped first, so that the bytes come from the file; reading does not count as use of the image where we may ask for that (O_NOATIME).
 * -EINTR: a signal asks us to end; or why it could not be looked at (nothing is known of it then).
 */
int verify_image(struct verifier *v, const char *name, struct verified *ret);

#endif
