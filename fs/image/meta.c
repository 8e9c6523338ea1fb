/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing versions of an image; what its file says of itself. Stateless. */
#include "config-auto.h"

#include "image/meta.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"

static bool is_weak(const char *etag)
{
    return strncmp(etag, "W/", 2) == 0;
}

/* A proxy on the way may weaken an etag; the version it names stays the same (RFC 9110, 8.8.3.2). */
static const char *without_weakness(const char *etag)
{
    return is_weak(etag) ? etag + 2 : etag;
}

bool image_meta_same_etag(const struct image_meta *a, const struct image_meta *b)
{
    return strcmp(without_weakness(a->etag), without_weakness(b->etag)) == 0;
}

bool image_meta_digest_is_etag(const struct image_meta *meta)
{
    size_t length = strlen(meta->digest.hex);
    const char *etag = meta->etag + (meta->etag[0] == '"');
    return meta->digest.algorithm == DIGEST_MD5 && strncasecmp(etag, meta->digest.hex, length) == 0 &&
           (etag[length] == '\0' || strcmp(etag + length, "\"") == 0);
}

bool image_meta_is_bare(const struct image_meta *meta)
{
    return meta->etag[0] == '\0' && meta->modified[0] == '\0';
}

bool image_meta_same_version(const struct image_meta *a, const struct image_meta *b)
{
    if (a->size != b->size)
        return false;
    /* Digests of different algorithms cannot be compared: they say nothing here. */
    if (a->digest.algorithm != DIGEST_NONE && a->digest.algorithm == b->digest.algorithm)
        return digest_equal(&a->digest, &b->digest);
    if (a->endpoint != b->endpoint)
        return true;
    if (a->etag[0] != '\0' && b->etag[0] != '\0')
        return image_meta_same_etag(a, b);
    if (a->modified[0] != '\0' && b->modified[0] != '\0')
        return strcmp(a->modified, b->modified) == 0;
    return true;
}

bool image_meta_is_evident(const struct image_meta *known, const struct image_meta *told)
{
    if (!image_meta_same_version(known, told))
        return false;
    if (told->id_is_version)
        return true;
    bool etags = known->etag[0] != '\0' && told->etag[0] != '\0';
    if (known->endpoint != told->endpoint)
        return etags && image_meta_strong_etag(known) && image_meta_strong_etag(told) && image_meta_same_etag(known, told);
    if (etags)
        return image_meta_same_etag(known, told);
    if (known->modified[0] != '\0' && told->modified[0] != '\0')
        return strcmp(known->modified, told->modified) == 0;
    return image_meta_is_bare(known) && image_meta_is_bare(told);
}

int64_t image_meta_date(const struct image_meta *meta)
{
    /* RFC 9110, 5.6.7: as it is written today, and the two older ways. */
    static const char *const formats[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"};
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct tm tm = {0};
        const char *end = strptime(meta->modified, formats[i], &tm);
        if (end == NULL || *end != '\0')
            continue;
        time_t seconds = timegm(&tm);
        return seconds <= 0 || seconds > INT64_MAX / NS_PER_S ? 0 : seconds * NS_PER_S;
    }
    return 0;
}

const char *image_meta_strong_etag(const struct image_meta *meta)
{
    return meta->etag[0] == '\0' || is_weak(meta->etag) ? NULL : meta->etag;
}

void image_label_write(const struct image_meta *meta, char *ret, size_t size)
{
    const struct digest *d = &meta->digest;
    snprintf(ret, size, "1 %" PRIu64 " %s %s %s", meta->size, d->algorithm ? digest_algorithm_name(d->algorithm) : "-",
             d->algorithm ? d->hex : "-", meta->etag);
}

int image_label_read(const char *label, struct image_meta *ret)
{
    struct image_meta meta = {.size = 0};
    char algorithm[16], hex[DIGEST_HEX_MAX + 1];
    int version, used = 0;
    if (sscanf(label, "%d %" SCNu64 " %15s %128s %n", &version, &meta.size, algorithm, hex, &used) != 4 || version != 1)
        return -EBADMSG;
    if (strcmp(algorithm, "-") != 0 && digest_set(digest_algorithm_by_name(algorithm), hex, strlen(hex), &meta.digest) < 0)
        return -EBADMSG;
    if (used > 0)
        snprintf(meta.etag, sizeof(meta.etag), "%s", label + used);
    *ret = meta;
    return 0;
}

const char *image_state_name(enum image_state state)
{
    switch (state) {
    case IMAGE_KNOWN:
        return "known";
    case IMAGE_PARTIAL:
        return "partial";
    case IMAGE_COMPLETE:
        return "complete";
    case IMAGE_RETIRED:
        return "retired";
    }
    return "unknown";
}
