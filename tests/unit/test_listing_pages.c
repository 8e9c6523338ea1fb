/* SPDX-License-Identifier: Apache-2.0 */
/* Listings that come in pages: Glance's, Swift's and S3's, as recorded from running services, and made-up ones. */
#include "config-auto.h"

#include "recorded.h"

#include <errno.h>

#include "backends/listing/pages.h"

struct told {
    unsigned count;
    char names[64][IMAGE_ID_MAX + 1];
    uint64_t sizes[64];
    struct image_meta metas[64];
    bool has_meta[64];
    int result; /* of the callback */
};

static int take(void *context, const struct listed_image *image)
{
    struct told *t = context;
    assert_true(t->count < 64);
    snprintf(t->names[t->count], sizeof(t->names[0]), "%s", image->name);
    t->sizes[t->count] = image->size;
    t->has_meta[t->count] = image->meta != NULL;
    if (image->meta)
        t->metas[t->count] = *image->meta;
    t->count++;
    return t->result;
}

/* Feeds TEXT in pieces of STEP bytes, ends and frees the parser. *ret_marker: free() it. */
static int run(struct listing *l, const char *text, size_t step, char **ret_marker)
{
    const char *marker = NULL;
    size_t length = strlen(text);
    int r = 0;
    for (size_t at = 0; at < length && r == 0; at += step)
        r = listing_feed(l, text + at, length - at < step ? length - at : step);
    if (r == 0)
        r = listing_end(l, &marker);
    *ret_marker = r == 1 ? strdup(marker) : NULL;
    listing_free(l);
    return r;
}

/* ---- Glance */

static int run_glance(const char *text, size_t step, struct told *t, char **ret_marker)
{
    struct listing *l;
    assert_int_equal(listing_new_glance(take, t, &l), 0);
    return run(l, text, step, ret_marker);
}

static void glance_recorded(void **state)
{
    (void) state;
    char *text = recorded("glance-images.json"), *marker;
    for (size_t step = 1; step < 5000; step = step * 7 + 1) {
        struct told t = { 0 };
        assert_int_equal(run_glance(text, step, &t, &marker), 1);
        assert_string_equal(marker, "10000000-0000-4000-8000-000000000003");
        free(marker);
        assert_int_equal(t.count, 3);
        assert_string_equal(t.names[0], "10000000-0000-4000-8000-000000000001");
        assert_int_equal(t.sizes[0], 5081088);
        assert_true(t.has_meta[0]);
        assert_string_equal(t.metas[0].title, "grub-rescue-cdrom.iso");
        assert_string_equal(t.metas[0].disk_format, "iso");
        assert_int_equal(t.metas[0].digest.algorithm, DIGEST_SHA512);
    }
    free(text);
}

static void glance_image_recorded(void **state)
{
    (void) state;
    char *text = recorded("glance-image.json");
    json_t *image = json_loads(text, 0, NULL);
    struct image_meta meta;
    assert_int_equal(glance_image(image, &meta), 0);
    assert_int_equal(meta.size, 5111808);
    assert_int_equal(meta.digest.algorithm, DIGEST_SHA512);
    assert_string_equal(meta.title, "grub-rescue.qcow2");
    assert_string_equal(meta.disk_format, "qcow2");
    assert_string_equal(meta.etag, "");

    /* without a multihash, the MD5; with one of an algorithm that is not known, too */
    json_object_set_new(image, "os_hash_algo", json_string("whirlpool"));
    assert_int_equal(glance_image(image, &meta), 0);
    assert_int_equal(meta.digest.algorithm, DIGEST_MD5);
    assert_string_equal(meta.digest.hex, "298b62d5f94057977cade3a64a24ce9b");
    json_object_set_new(image, "checksum", json_null());
    assert_int_equal(glance_image(image, &meta), 0);
    assert_int_equal(meta.digest.algorithm, DIGEST_NONE);

    static const char *const gone[] = { "queued", "saving", "importing", "deactivated", "deleted", "killed", "pending_delete" };
    for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++) {
        json_object_set_new(image, "status", json_string(gone[i]));
        assert_int_equal(glance_image(image, &meta), -ENOENT);
    }
    json_object_set_new(image, "status", json_string("active"));
    json_object_set_new(image, "size", json_null());
    assert_int_equal(glance_image(image, &meta), -EPROTO);
    json_object_set_new(image, "size", json_integer(-1));
    assert_int_equal(glance_image(image, &meta), -EPROTO);
    json_decref(image);
    free(text);
}

static void glance_long_name(void **state)
{
    (void) state;
    char euros[400] = "a";
    for (int i = 0; i < 100; i++)
        strcat(euros, "€");
    json_t *image = json_pack("{s:s, s:i, s:s}", "status", "active", "size", 1, "name", euros);
    struct image_meta meta;
    assert_int_equal(glance_image(image, &meta), 0);
    assert_int_equal(strlen(meta.title), 253); /* 1 + 84 × 3: cut between characters */
    json_decref(image);
}

static void glance_made_up(void **state)
{
    (void) state;
    static const struct { const char *text; int result; unsigned count; } cases[] = {
        { "{\"images\": []}", 0, 0 },
        { "{\"images\": [{\"id\": \"a\", \"status\": \"active\", \"size\": 3}]}", 0, 1 },
        { "{\"images\": [{\"id\": \"a\", \"status\": \"queued\", \"size\": null}]}", 0, 0 },
        { "{\"images\": [{\"id\": \"../a\", \"status\": \"active\", \"size\": 3}]}", 0, 0 },
        { "{\"images\": [{\"status\": \"active\", \"size\": 3}]}", -EPROTO, 0 },
        { "{\"images\": [], \"next\": \"/v2/images?marker=x\"}", -EPROTO, 0 }, /* would never end */
        { "{\"images\": {}}", -EPROTO, 0 },
        { "[]", -EPROTO, 0 },
        { "", -EPROTO, 0 },
        { "{\"images\": [", -EPROTO, 0 },
        { "<html></html>", -EPROTO, 0 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct told t = { 0 };
        char *marker;
        assert_int_equal(run_glance(cases[i].text, 3, &t, &marker), cases[i].result);
        assert_int_equal(t.count, cases[i].count);
        free(marker);
    }
    struct told t = { .result = -ENOSPC };
    char *marker;
    assert_int_equal(run_glance(cases[1].text, 100, &t, &marker), -ENOSPC);
}

/* ---- Swift */

static char sums_name[] = "SHA256SUMS";
static char *const sums[] = { sums_name, NULL };

static int run_swift(const char *prefix, bool no_content, const char *text, struct told *t, char **ret_marker)
{
    struct listing *l;
    assert_int_equal(listing_new_swift(prefix, no_content, sums, take, t, &l), 0);
    return run(l, text, 5, ret_marker);
}

static void swift_recorded(void **state)
{
    (void) state;
    char *text = recorded("swift-container.json"), *marker;
    struct told t = { 0 };
    assert_int_equal(run_swift("", false, text, &t, &marker), 1);
    assert_string_equal(marker, "grub-rescue-floppy.img");
    free(marker);
    assert_int_equal(t.count, 2);
    assert_string_equal(t.names[0], "grub-rescue-cdrom.iso");
    assert_int_equal(t.sizes[0], 5081088);
    assert_false(t.has_meta[0]);
    t.count = 0;
    assert_int_equal(run_swift("grub-", false, text, &t, &marker), 1);
    free(marker);
    assert_string_equal(t.names[1], "rescue-floppy.img");
    free(text);
}

static void swift_made_up(void **state)
{
    (void) state;
    struct told t = { 0 };
    char *marker;
    assert_int_equal(run_swift("i/", false,
                               "[{\"subdir\": \"i/deep/\"}, {\"name\": \"i/a b+%\", \"bytes\": 7}, {\"name\": \"i/x/y\", \"bytes\": 7},"
                               "{\"name\": \"i/dlo\", \"bytes\": 0}, {\"name\": \"other\", \"bytes\": 7}, {\"name\": \"i/\", "
                               "\"bytes\": 0}, {\"name\": \"i/SHA256SUMS\", \"bytes\": 70}]", &t, &marker), 1);
    assert_string_equal(marker, "i/SHA256SUMS"); /* images or not: however few came, there may be more */
    free(marker);
    assert_int_equal(t.count, 2);
    assert_string_equal(t.names[0], "a b+%");
    assert_string_equal(t.names[1], "dlo");
    assert_true(t.sizes[1] == IMAGE_SIZE_UNKNOWN);
    assert_int_equal(run_swift("", false, "[{\"subdir\": \"z/\"}]", &t, &marker), 1);
    assert_string_equal(marker, "z/");
    free(marker);
    assert_int_equal(run_swift("", false, "[]", &t, &marker), 0);
    assert_int_equal(run_swift("", true, "", &t, &marker), 0);
    assert_int_equal(run_swift("", false, "", &t, &marker), -EPROTO);
    assert_int_equal(run_swift("", false, "{}", &t, &marker), -EPROTO);
    assert_int_equal(run_swift("", false, "[{}]", &t, &marker), -EPROTO);
    assert_int_equal(run_swift("", false, "[{\"name\": \"a\"}", &t, &marker), -EPROTO);
}

/* ---- S3 */

static int run_s3(const char *prefix, size_t step, const char *text, struct told *t, char **ret_marker)
{
    struct listing *l;
    assert_int_equal(listing_new_s3(prefix, sums, take, t, &l), 0);
    return run(l, text, step, ret_marker);
}

static void s3_recorded(void **state)
{
    (void) state;
    char *text = recorded("s3-bucket.xml"), *marker;
    for (size_t step = 1; step < 2000; step = step * 5 + 1) {
        struct told t = { 0 };
        assert_int_equal(run_s3("", step, text, &t, &marker), 1);
        assert_string_equal(marker, "Z3J1Yi1yZXNjdWUtZmxvcHB5LmltZw==");
        free(marker);
        assert_int_equal(t.count, 2);
        assert_string_equal(t.names[1], "grub-rescue-floppy.img");
        assert_int_equal(t.sizes[1], 1296384);
    }
    free(text);
}

#define CONTENTS(key, size) "<Contents><Key>" key "</Key><Size>" size "</Size></Contents>"
#define RESULT(inner) "<ListBucketResult>" inner "</ListBucketResult>"

static void s3_made_up(void **state)
{
    (void) state;
    char *marker;
    struct told t = { 0 };
    assert_int_equal(run_s3("i/", 7,
                            RESULT("<Prefix>i/</Prefix><CommonPrefixes><Prefix>i/deep/</Prefix></CommonPrefixes>"
                                   CONTENTS("i/a &amp; b+%&lt;", "7") CONTENTS("i/\xc3\xbc", "8") CONTENTS("i/x/y", "1")
                                   CONTENTS("other", "1") CONTENTS("i/", "0") CONTENTS("i/odd", "-1")
                                   CONTENTS("i/SHA256SUMS", "1") "<Contents><Owner><Key>i/owner</Key></Owner></Contents>"
                                   "<IsTruncated>false</IsTruncated>"), &t, &marker), 0);
    assert_int_equal(t.count, 3);
    assert_string_equal(t.names[0], "\xc3\xbc");
    assert_int_equal(t.sizes[0], 8);
    assert_true(t.sizes[1] == IMAGE_SIZE_UNKNOWN);
    assert_string_equal(t.names[2], "a & b+%<"); /* told when it is known that it is not encoded */

    for (int late = 0; late < 2; late++) {
        static const char encoded[] = "<EncodingType>url</EncodingType>";
        char text[600];
        snprintf(text, sizeof(text), RESULT("%s" CONTENTS("a%%01b", "1") CONTENTS("c+d%%2Be", "2") CONTENTS("f%%00g", "3") CONTENTS("h", "4")
                                            "<NextMarker>i+j</NextMarker><IsTruncated>true</IsTruncated>%s"),
                 late ? "" : encoded, late ? encoded : "");
        t = (struct told){ 0 };
        assert_int_equal(run_s3("", 5, text, &t, &marker), 1);
        assert_string_equal(marker, LISTING_S3_KEY "i j");
        free(marker);
        bool found = false;
        for (size_t i = 0; i < t.count; i++)
            found = found || strcmp(t.names[i], "c d+e") == 0;
        assert_true(found);
    }
    t = (struct told){ 0 };
    assert_int_equal(run_s3("", 5, RESULT("<IsTruncated>true</IsTruncated>" CONTENTS("a", "1") "<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>"),
                            &t, &marker), 1);
    assert_string_equal(marker, LISTING_S3_KEY "b/");
    free(marker);

    static const char *const bad[] = {
        "",
        "<Error><Code>AccessDenied</Code></Error>",
        "<ListBucketResult>",
        RESULT("<IsTruncated>true</IsTruncated>"), /* and no way to go on */
        RESULT("</x>"),
        "[]",
        "<!DOCTYPE x [<!ENTITY a \"aaaa\">]>" RESULT(CONTENTS("&a;", "1")),
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(run_s3("", 1, bad[i], &t, &marker), -EPROTO);

    char *longer = malloc(20000);
    strcpy(longer, "<ListBucketResult><Contents><Key>");
    memset(longer + strlen(longer), 'k', 10000);
    strcpy(longer + 33 + 10000, "</Key></Contents></ListBucketResult>");
    assert_int_equal(run_s3("", 1000, longer, &t, &marker), -EPROTO);
    free(longer);

    t = (struct told){ .result = -ENOSPC };
    assert_int_equal(run_s3("", 100, RESULT(CONTENTS("a", "1")), &t, &marker), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(glance_recorded), cmocka_unit_test(glance_image_recorded), cmocka_unit_test(glance_long_name),
        cmocka_unit_test(glance_made_up),  cmocka_unit_test(swift_recorded),        cmocka_unit_test(swift_made_up),
        cmocka_unit_test(s3_recorded),     cmocka_unit_test(s3_made_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
