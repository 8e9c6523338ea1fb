/* SPDX-License-Identifier: Apache-2.0 */
/* Published digests: cut anywhere, they say the same; written as sha256sum does, they are read back. */
#include "config-auto.h"

#include "fuzz.h"

#include "backends/listing/sums.h"
#include "image/id.h"

struct told {
    uint64_t hash;
    size_t count;
    char name[IMAGE_ID_MAX + 1]; /* the last one */
    struct digest digest;
};

static int tell(void *context, const char *name, const struct digest *digest)
{
    struct told *told = context;
    assert(image_id_valid(name));
    assert(digest->algorithm != DIGEST_NONE && strlen(digest->hex) == digest_hex_length(digest->algorithm));
    told->count++;
    told->hash = fuzz_hash(told->hash, name, strlen(name) + 1);
    told->hash = fuzz_hash(told->hash, digest->hex, strlen(digest->hex) + 1);
    strcpy(told->name, name);
    told->digest = *digest;
    return 0;
}

static struct told read_sums(enum digest_algorithm algorithm, struct input in, size_t piece)
{
    struct told told = {0};
    struct sums *s;
    assert(sums_new(algorithm, tell, &told, &s) == 0);
    while (in.size > 0) {
        size_t length = in.size < piece ? in.size : piece;
        assert(sums_feed(s, in.data, length) == 0);
        in.data += length;
        in.size -= length;
    }
    assert(sums_end(s) == 0);
    sums_free(s);
    return told;
}

/* As sha256sum(1) writes a line: with a backslash before it when the name holds one. */
static void write_and_read(const struct told *told)
{
    char line[DIGEST_HEX_MAX + 2 * IMAGE_ID_MAX + 8], *to = line;
    bool escape = strchr(told->name, '\\') != NULL;
    to += sprintf(to, "%s%s  ", escape ? "\\" : "", told->digest.hex);
    for (const char *c = told->name; *c; c++) {
        if (*c == '\\')
            *to++ = '\\';
        *to++ = *c;
    }
    *to++ = '\n';
    struct told again = read_sums(told->digest.algorithm, (struct input){(uint8_t *) line, (size_t) (to - line)}, SIZE_MAX);
    assert(again.count == 1 && strcmp(again.name, told->name) == 0 && digest_equal(&again.digest, &told->digest));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    enum digest_algorithm algorithm = size % 2 ? DIGEST_SHA256 : DIGEST_MD5;
    struct told whole = read_sums(algorithm, in, SIZE_MAX), cut = read_sums(algorithm, in, 1 + size % 5);
    assert(whole.count == cut.count && whole.hash == cut.hash);
    if (whole.count > 0)
        write_and_read(&whole);
    return 0;
}
