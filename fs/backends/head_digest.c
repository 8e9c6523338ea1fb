/* SPDX-License-Identifier: Apache-2.0 */
/* Digests in headers. Pure; no state, no lock. What does not parse is passed over: it is a help, not a duty, of the
 * server. */
#include "config-auto.h"

#include "backends/head_digest.h"

#include <errno.h>
#include <string.h>

enum { DIGEST_BYTES_MAX = DIGEST_HEX_MAX / 2, NAME_MAX_LENGTH = 15 };

static int base64_value(char c)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int) (at - alphabet) : -1;
}

int digest_set_base64(enum digest_algorithm algorithm, const char *text, size_t length, struct digest *ret)
{
    static const char hex_digits[] = "0123456789abcdef";
    char hex[DIGEST_HEX_MAX];
    size_t hex_length = 0;
    unsigned bits = 0, bit_count = 0;
    while (length > 0 && text[length - 1] == '=')
        length--;
    for (size_t i = 0; i < length; i++) {
        int value = base64_value(text[i]);
        if (value < 0)
            return -EINVAL;
        bits = bits << 6 | (unsigned) value;
        bit_count += 6;
        if (bit_count < 8)
            continue;
        bit_count -= 8;
        if (hex_length == sizeof(hex))
            return -EINVAL;
        hex[hex_length++] = hex_digits[bits >> bit_count >> 4 & 15];
        hex[hex_length++] = hex_digits[bits >> bit_count & 15];
    }
    return digest_set(algorithm, hex, hex_length, ret);
}

static void take_stronger(struct digest *best, const struct digest *other)
{
    if (other->algorithm > best->algorithm) /* the enum is in the order of strength */
        *best = *other;
}

static enum digest_algorithm algorithm_of(const char *name, size_t length)
{
    char text[NAME_MAX_LENGTH + 1];
    if (length == 0 || length > NAME_MAX_LENGTH)
        return DIGEST_NONE;
    memcpy(text, name, length);
    text[length] = '\0';
    return digest_algorithm_by_name(text);
}

/* One member "name=value" of a list; the value in base64, as such or as a byte sequence of RFC 8941 (":…:"). */
static void take_member(const char *member, size_t length, struct digest *best)
{
    const char *equals = memchr(member, '=', length);
    if (!equals)
        return;
    const char *value = equals + 1, *end = member + length;
    const char *parameters = memchr(value, ';', (size_t) (end - value));
    if (parameters)
        end = parameters;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (end - value >= 2 && *value == ':' && end[-1] == ':') {
        value++;
        end--;
    }
    struct digest digest;
    enum digest_algorithm algorithm = algorithm_of(member, (size_t) (equals - member));
    if (algorithm != DIGEST_NONE && digest_set_base64(algorithm, value, (size_t) (end - value), &digest) == 0)
        take_stronger(best, &digest);
}

static void take_list(const char *list, struct digest *best)
{
    while (list && *list) {
        list += strspn(list, ", \t");
        size_t length = strcspn(list, ",");
        take_member(list, length, best);
        list += length;
    }
}

static void take_cache_hash(const char *text, struct digest *best)
{
    const char *equals = text ? strchr(text, '=') : NULL;
    if (!equals)
        return;
    struct digest digest;
    enum digest_algorithm algorithm = algorithm_of(text, (size_t) (equals - text));
    if (digest_set(algorithm, equals + 1, strlen(equals + 1), &digest) == 0)
        take_stronger(best, &digest);
}

static bool is_whole(const struct transfer_head *head)
{
    return head->status == 200 ||
           (head->ranged && head->first == 0 && head->last < UINT64_MAX && head->total == head->last + 1);
}

static void take_content_md5(const struct transfer_head *head, const char *text, struct digest *best)
{
    struct digest digest;
    size_t length = text ? strlen(text) : 0;
    if (length > 0 && (digest_set(DIGEST_MD5, text, length, &digest) == 0 ||
                       (is_whole(head) && digest_set_base64(DIGEST_MD5, text, length, &digest) == 0)))
        take_stronger(best, &digest);
}

struct digest head_digest(const struct transfer_head *head)
{
    struct digest best = { .algorithm = DIGEST_NONE };
    take_list(transfer_head_get(head, "Repr-Digest"), &best);
    take_list(transfer_head_get(head, "Digest"), &best);
    take_cache_hash(transfer_head_get(head, "X-Glance-Cache-Hash"), &best);
    take_content_md5(head, transfer_head_get(head, "Content-MD5"), &best);
    return best;
}
