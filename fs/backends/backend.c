/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the backends share: the meaning of HTTP's statuses and validators, objects' paths, checksum files.
 * Pure; no state, no lock.
 */
#include "config-auto.h"

#include "backends/backend.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "backends/head_digest.h"
#include "backends/listing/sums.h"
int backend_status_error(int status)
{
    if (status >= 200 && status < 300)
        return 0;
    if (status >= 500 && status < 600)
        return -EAGAIN;
    switch (status) {
    case 404:
    case 410:
        return -ENOENT;
    case 401:
    case 403:
        return -EACCES;
    case 408:
    case 425:
    case 429:
        return -EAGAIN;
    case 412:
        return -ESTALE;
    default:
        return -EPROTO;
    }
}

bool backend_may_refuse_range(int status)
{
    return status == 204 || status == 400 || status == 403 || status == 416 || status == 501;
}

/* Copies the header when it is there and fits; one that does not fit cannot be compared or sent back, so it is none. */
static void copy_header(const struct transfer_head *head, const char *name, char *to, size_t size)
{
    const char *value = transfer_head_get(head, name);
    size_t length = value ? strlen(value) : 0;
    if (length >= size)
        length = 0;
    if (length > 0)
        memcpy(to, value, length);
    to[length] = '\0';
}

int backend_meta_from_head(const struct transfer_head *head, unsigned endpoint, struct image_meta *ret)
{
    struct image_meta meta = { .size = IMAGE_SIZE_UNKNOWN, .endpoint = endpoint };
    bool empty = head->ranged && head->first > head->last && head->total == 0;
    if (head->status == 416) { /* its other headers are those of an error page */
        if (empty)
            meta.size = 0;
        *ret = meta;
        return 0;
    }
    if (head->status == 200) {
        if (head->length != TRANSFER_LENGTH_UNKNOWN)
            meta.size = head->length;
    } else if (head->status == 206) {
        if (!head->ranged || head->first != 0 || head->first > head->last)
            return -EPROTO;
        if (head->total != TRANSFER_LENGTH_UNKNOWN)
            meta.size = head->total;
    } else {
        int r = backend_status_error(head->status);
        return r < 0 ? r : -EPROTO; /* 204: there is an image, and no data of it */
    }
    copy_header(head, "ETag", meta.etag, sizeof(meta.etag));
    copy_header(head, "Last-Modified", meta.modified, sizeof(meta.modified));
    *ret = meta;
    return 0;
}

enum version_verdict backend_version(const struct transfer_head *head, const struct image_meta *meta, unsigned endpoint)
{
    struct digest own = head_digest(head);
    bool comparable = own.algorithm != DIGEST_NONE && own.algorithm == meta->digest.algorithm;
    if (comparable && !digest_equal(&own, &meta->digest))
        return VERSION_OTHER;
    struct image_meta told = { .size = meta->size };
    copy_header(head, "ETag", told.etag, sizeof(told.etag));
    copy_header(head, "Last-Modified", told.modified, sizeof(told.modified));
    bool same_etag = *told.etag && *meta->etag && image_meta_same_etag(&told, meta);
    if (endpoint != meta->endpoint) {
        same_etag = same_etag && image_meta_strong_etag(&told) && image_meta_strong_etag(meta);
        return same_etag || comparable ? VERSION_SAME : VERSION_UNTOLD;
    }
    if (*told.etag && *meta->etag)
        return same_etag ? VERSION_SAME : VERSION_OTHER;
    if (*told.modified && *meta->modified)
        return strcmp(told.modified, meta->modified) == 0 ? VERSION_SAME : VERSION_OTHER;
    return comparable ? VERSION_SAME : VERSION_UNTOLD;
}

static bool is_other_size(const struct image_meta *meta, uint64_t size)
{
    return size != TRANSFER_LENGTH_UNKNOWN && meta->size != IMAGE_SIZE_UNKNOWN && size != meta->size;
}

/*
 * An encoding is never asked for. One that is made on the way is of no length that is known before, and its bytes are not the image's; a file that
 * is stored encoded has one, and is compared with what was said of it.
 */
static bool is_encoded_on_the_way(const struct transfer_head *head)
{
    const char *encoding = transfer_head_get(head, "Content-Encoding");
    return encoding && strcasecmp(encoding, "identity") != 0 && head->length == TRANSFER_LENGTH_UNKNOWN;
}

int backend_check_bytes(const struct transfer_head *head, const struct image_meta *meta, uint64_t first, uint64_t *ret_offset)
{
    /* The bytes asked for were there: a server that has none of them has another version, whether it tells its size or
     * not. */
    if (head->status == 416 && meta->size != IMAGE_SIZE_UNKNOWN && first < meta->size)
        return head->ranged && head->total == meta->size ? -EPROTO : -ESTALE;
    if (head->status != 200 && head->status != 206) {
        int r = backend_status_error(head->status);
        return r < 0 ? r : -EPROTO;
    }
    uint64_t size = head->status == 200 ? head->length : head->ranged ? head->total : TRANSFER_LENGTH_UNKNOWN;
    if (is_other_size(meta, size))
        return -ESTALE;
    if (is_encoded_on_the_way(head))
        return -EPROTO;
    if (head->status == 200) {
        *ret_offset = 0;
        return 0;
    }
    if (!head->ranged || head->first != first || head->first > head->last)
        return -EPROTO;
    if (head->length != TRANSFER_LENGTH_UNKNOWN && head->length != head->last - head->first + 1) /* it is not the part that it says it is */
        return -EPROTO;
    *ret_offset = first;
    return 0;
}

int backend_add_condition(struct transfer_request *request, struct abilities *abilities, unsigned endpoint, const struct image_meta *meta)
{
    const char *etag = image_meta_strong_etag(meta);
    bool has = etag || *meta->modified;
    if (endpoint != meta->endpoint || !has || !abilities_ask(abilities, endpoint, ABILITY_CONDITION, &request->extras))
        return 0;
    if (etag)
        return transfer_request_header(request, "If-Match", etag);
    return transfer_request_header(request, "If-Range", meta->modified);
}

void backend_ask_first(struct transfer_request *request, uint64_t probe)
{
    request->ranged = true;
    request->first = 0;
    request->last = probe > 0 ? probe - 1 : 0;
}

int backend_ask_part(struct transfer_request *request, struct abilities *abilities, unsigned endpoint, const struct image_meta *meta, uint64_t first,
                     uint64_t last)
{
    assert(first <= last);
    int r = backend_add_condition(request, abilities, endpoint, meta);
    if (r < 0) {
        transfer_request_clear(request);
        return r;
    }
    request->ranged = true;
    request->first = first;
    request->last = last;
    return 0;
}

/* ---- objects */

char *backend_object_path(const char *prefix, const char *id)
{
    char *path = strdup("");
    while (path && *prefix) {
        size_t length = strcspn(prefix, "/");
        char *segment = strndup(prefix, length), *escaped = segment ? transfer_escape(segment) : NULL, *longer = NULL;
        if (!escaped || asprintf(&longer, "%s%s%s", path, length > 0 ? escaped : "", prefix[length] ? "/" : "") < 0)
            longer = NULL;
        free(segment);
        free(escaped);
        free(path);
        path = longer;
        prefix += length + (prefix[length] == '/');
    }
    char *escaped = transfer_escape(id), *whole = NULL;
    if (!path || !escaped || asprintf(&whole, "%s%s", path, escaped) < 0)
        whole = NULL;
    free(path);
    free(escaped);
    return whole;
}

struct digest backend_etag_md5(const char *etag)
{
    struct digest digest = { .algorithm = DIGEST_NONE };
    size_t length = strlen(etag);
    if (length >= 2 && etag[0] == '"' && etag[length - 1] == '"') {
        etag++;
        length -= 2;
    }
    digest_set(DIGEST_MD5, etag, length, &digest); /* leaves it alone when it is none */
    return digest;
}

/* ---- checksum files */

enum digest_algorithm backend_sums_algorithm(const char *name)
{
    for (int algorithm = DIGEST_SHA512; algorithm > DIGEST_NONE; algorithm--) {
        if (strcasestr(name, digest_algorithm_name((enum digest_algorithm) algorithm)))
            return (enum digest_algorithm) algorithm;
    }
    return DIGEST_NONE;
}

/* Does NAME tell an algorithm that there is not? */
static bool is_of_another_kind(const char *name)
{
    static const char *const kinds[] = { "B2SUM", "BLAKE", "SHA224", "SHA3-", "CRC32" };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcasestr(name, kinds[i]))
            return true;
    }
    return false;
}

int backend_check_sums_names(const struct config *config, char message[CONFIG_MESSAGE_MAX])
{
    const char *keyring = config->checksum_keyring;
    if (keyring && access(keyring, R_OK) < 0) {
        snprintf(message, CONFIG_MESSAGE_MAX, "%s: checksum_keyring: %.200s cannot be read: %s", config_where(config, "backend", "checksum_keyring"),
                 keyring, strerror(errno));
        return -EINVAL;
    }
    for (size_t i = 0; i < config->checksum_file_count; i++) {
        const char *name = config->checksum_files[i];
        if (*name && !strchr(name, '/') && !is_of_another_kind(name))
            continue;
        snprintf(message, CONFIG_MESSAGE_MAX,
                 "%s: checksums: \"%.100s\" must be the name of a file beside the images, of one of MD5, SHA1, SHA256, SHA384, SHA512, "
                 "such as SHA256SUMS or CHECKSUM", config_where(config, "backend", "checksums"), name);
        return -EINVAL;
    }
    return 0;
}

bool backend_is_sums(const struct config *config, const char *id)
{
    return sums_named(config->checksum_files, id);
}
