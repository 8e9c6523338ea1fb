/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend `s3`: the objects of one bucket. Requests are signed (Signature Version 4) by libcurl, which wants the query sorted
 * and, before 8.x, x-amz-content-sha256 sent by its caller.
 *
 * What changes after open() is who we are (s3_identity.h) and what the servers refuse (abilities.h).
 */
#include "config-auto.h"

#include "backends/backend.h"
#include "backends/object.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/head_digest.h"
#include "backends/listing/pages.h"
#include "backends/s3_identity.h"
#include "backends/setting.h"

enum { PAGE = 1000 }; /* keys; the most that S3 sends */

struct backend {
    struct objects objects; /* the first */
    const char *prefix; /* of the keys; "" */
    char **buckets;     /* urls without a slash at the end, one an endpoint */
    unsigned bucket_count;
    const char *region; /* of the configuration */
    struct s3_identity *identity;
};

static object_fn ask_for;
static object_fn ask_about;

/* ---- open and close */

static void s3_close(struct backend *b)
{
    for (unsigned i = 0; b->buckets && i < b->bucket_count; i++)
        free(b->buckets[i]);
    free(b->buckets);
    s3_identity_close(b->identity);
    abilities_free(b->objects.abilities);
    free(b);
}

/* https://bucket.host or https://host/bucket. */
static char *bucket_url(const char *endpoint, const char *bucket, bool virtual)
{
    char *url = NULL, *escaped = transfer_escape(bucket);
    const char *host = strstr(endpoint, "://") + 3;
    int r = -1;
    if (escaped && virtual)
        r = asprintf(&url, "%.*s%s.%s", (int) (host - endpoint), endpoint, escaped, host);
    else if (escaped)
        r = asprintf(&url, "%s/%s", endpoint, escaped);
    free(escaped);
    return r < 0 ? NULL : url;
}

static int add_bucket(struct backend *b, const char *endpoint, char *message)
{
    const struct config *config = b->objects.config;
    char *url;
    int r = setting_url(config, "endpoint", endpoint, &url, message);
    if (r < 0)
        return r;
    bool amazon = strstr(url, ".amazonaws.com");
    bool virtual = config->addressing == ADDRESSING_VIRTUAL || (config->addressing == ADDRESSING_AUTO && amazon);
    b->buckets[b->bucket_count] = bucket_url(url, config->bucket, virtual);
    free(url);
    return b->buckets[b->bucket_count++] ? 0 : setting_no_memory(message);
}

static int read_endpoints(struct backend *b, const char *region, char *message)
{
    const struct config *config = b->objects.config;
    const char *variable = getenv("AWS_ENDPOINT_URL");
    b->buckets = calloc(config->endpoint_count + 1, sizeof(*b->buckets));
    if (!b->buckets)
        return setting_no_memory(message);
    int r = 0;
    for (size_t i = 0; i < config->endpoint_count && r == 0; i++)
        r = add_bucket(b, config->endpoints[i], message);
    if (r < 0 || config->endpoint_count > 0)
        return r;
    if (variable && *variable)
        return add_bucket(b, variable, message);
    char *amazon;
    if (asprintf(&amazon, "https://s3.%s.amazonaws.com", region) < 0)
        return setting_no_memory(message);
    r = add_bucket(b, amazon, message);
    free(amazon);
    return r;
}

/* libcurl takes such parts of a path for steps when it signs the request, and some servers take them for that, too. */
static bool has_steps(const char *prefix)
{
    for (const char *part = prefix; *part; part += strcspn(part, "/"), part += *part == '/') {
        size_t length = strcspn(part, "/");
        if ((length == 1 || length == 2) && strncmp(part, "..", length) == 0)
            return true;
    }
    return false;
}

static int read_settings(struct backend *b, char *message)
{
    const struct config *config = b->objects.config;
    const char *region = setting_text(config->region, "AWS_REGION", setting_text(NULL, "AWS_DEFAULT_REGION", "us-east-1"));
    if (!config->bucket || !*config->bucket || strchr(config->bucket, '/'))
        return setting_refuse(config, message, "bucket", "must be the name of the bucket that holds the images");
    if (strpbrk(region, ": /"))
        return setting_refuse(config, message, "region", "must be a name such as us-east-1");
    if (has_steps(b->prefix))
        return setting_refuse(config, message, "prefix", "has a part that is . or ..; such keys cannot be asked for");
    int r = read_endpoints(b, region, message);
    if (r == 0)
        r = backend_check_sums_names(config, message);
    if (r == 0)
        r = s3_identity_open(config, region, b->bucket_count, &b->identity, message);
    b->region = region;
    return r;
}

static int s3_open(const struct config *config, struct backend **ret, char message[CONFIG_MESSAGE_MAX])
{
    struct backend *b = calloc(1, sizeof(*b));
    if (!b)
        return setting_no_memory(message);
    b->objects = (struct objects){.config = config, .ask = ask_for, .ask_about = ask_about};
    b->prefix = config->prefix ? config->prefix : "";
    int r = read_settings(b, message);
    if (r == 0 && abilities_new(b->bucket_count, &b->objects.abilities) < 0)
        r = setting_no_memory(message);
    if (r < 0) {
        s3_close(b);
        return r;
    }
    *ret = b;
    return 0;
}

static unsigned s3_endpoints(const struct backend *b)
{
    return b->bucket_count;
}

static const char *s3_endpoint_name(const struct backend *b, unsigned endpoint)
{
    assert(endpoint < b->bucket_count);
    return b->buckets[endpoint];
}

/* ---- requests */

/* A copy of TEXT with NEW in place of the first OLD; NULL: no memory. */
static char *replaced(const char *text, const char *old, const char *new)
{
    const char *at = strstr(text, old);
    char *copy = NULL;
    if (!at)
        return strdup(text);
    return asprintf(&copy, "%.*s%s%s", (int) (at - text), text, new, at + strlen(old)) < 0 ? NULL : copy;
}

/* The url of the bucket. Amazon's hosts name their region, which may have been learned to be another. NULL: no memory. */
static char *bucket_at(struct backend *b, unsigned endpoint)
{
    char region[S3_REGION_MAX], old[S3_REGION_MAX + 32], new[S3_REGION_MAX + 32];
    s3_identity_region(b->identity, endpoint, region);
    if (strcmp(region, b->region) == 0)
        return strdup(b->buckets[endpoint]);
    snprintf(old, sizeof(old), "s3.%.63s.amazonaws.com", b->region);
    snprintf(new, sizeof(new), "s3.%.63s.amazonaws.com", region);
    return replaced(b->buckets[endpoint], old, new);
}

/* A signed request for URL, which it takes over; NULL: no memory. */
static int ask(struct backend *b, unsigned endpoint, char *url, struct transfer_request *request)
{
    struct transfer_request q = { .url = url };
    int r = url ? s3_identity_sign(b->identity, endpoint, &q) : -ENOMEM;
    if (r < 0) {
        transfer_request_clear(&q);
        return r;
    }
    *request = q;
    return 0;
}

static int ask_for(struct backend *b, unsigned endpoint, const char *id, struct transfer_request *request)
{
    assert(endpoint < b->bucket_count);
    char *path = backend_object_path(b->prefix, id), *bucket = bucket_at(b, endpoint), *url = NULL;
    if (path && bucket && asprintf(&url, "%s/%s", bucket, path) < 0)
        url = NULL;
    free(path);
    free(bucket);
    return ask(b, endpoint, url, request);
}

/* Also for the checksums that the service keeps, where it has any: it sends them with whole objects only. */
static int ask_about(struct backend *b, unsigned endpoint, const char *id, struct transfer_request *request)
{
    int r = ask_for(b, endpoint, id, request);
    if (r == 0 && abilities_ask(b->objects.abilities, endpoint, ABILITY_CHECKSUM_MODE, &request->extras) &&
        (r = transfer_request_header(request, "x-amz-checksum-mode", "ENABLED")) < 0)
        transfer_request_clear(request);
    return r;
}

/* The checksum of the whole; one of a multipart upload's parts ("…-3") is none. */
static struct digest checksum_of(const struct transfer_head *head)
{
    static const struct { const char *name; enum digest_algorithm algorithm; } headers[] = {
        { "x-amz-checksum-sha256", DIGEST_SHA256 },
        { "x-amz-checksum-sha1", DIGEST_SHA1 },
    };
    struct digest digest = { .algorithm = DIGEST_NONE };
    const char *type = transfer_head_get(head, "x-amz-checksum-type");
    bool whole = head->status == 200 || (head->ranged && head->first == 0 && head->total == head->last + 1);
    if (!whole || (type && strcmp(type, "COMPOSITE") == 0))
        return digest;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]) && digest.algorithm == DIGEST_NONE; i++) {
        const char *value = transfer_head_get(head, headers[i].name);
        if (value)
            digest_set_base64(headers[i].algorithm, value, strlen(value), &digest);
    }
    return digest;
}

/* An etag is the MD5 of what was put in one piece, unless it was encrypted with a key of its owner or made otherwise: a guess. */
static bool etag_is_md5(const struct transfer_head *head)
{
    const char *encryption = transfer_head_get(head, "x-amz-server-side-encryption");
    return (!encryption || strcmp(encryption, "AES256") == 0) && !transfer_head_get(head, "x-goog-hash") &&
           !transfer_head_get(head, "x-amz-server-side-encryption-customer-algorithm");
}

static int s3_described(struct backend *b, unsigned endpoint, const char *id, const struct transfer_head *head,
                        const void *body, size_t length, struct image_meta *ret)
{
    (void) b, (void) id, (void) body, (void) length;
    struct image_meta meta;
    int r = backend_meta_from_head(head, endpoint, &meta);
    if (r < 0)
        return r;
    if (head->status != 416)
        meta.digest = checksum_of(head);
    if (head->status != 416 && meta.digest.algorithm == DIGEST_NONE)
        meta.digest = head_digest(head);
    if (head->status != 416 && meta.digest.algorithm == DIGEST_NONE && etag_is_md5(head))
        meta.digest = backend_etag_md5(meta.etag);
    *ret = meta;
    return 0;
}

/* ---- the listing, and digests beside the images */

/* MARKER as a parameter of the query: V2's token, or the key behind which a server goes on that knows V1 only. NULL: no memory. */
static char *continuation(const char *marker)
{
    bool key = marker && strncmp(marker, LISTING_S3_KEY, strlen(LISTING_S3_KEY)) == 0;
    char *text = NULL, *escaped = transfer_escape(marker ? marker + (key ? strlen(LISTING_S3_KEY) : 0) : "");
    if (escaped && asprintf(&text, "%s%s%s", !marker ? "" : key ? "marker=" : "continuation-token=", escaped, marker ? "&" : "") < 0)
        text = NULL;
    free(escaped);
    return text;
}

/* The query's parts in the order of their names, as the signature has them. */
static char *list_query(struct backend *b, unsigned endpoint, const char *marker, unsigned *extras)
{
    char *from = continuation(marker), *prefix = transfer_escape(b->prefix), *query = NULL, limit[32] = "";
    bool key = marker && strncmp(marker, LISTING_S3_KEY, strlen(LISTING_S3_KEY)) == 0;
    bool encoded = abilities_ask(b->objects.abilities, endpoint, ABILITY_URL_ENCODING, extras);
    bool v2 = !key && abilities_ask(b->objects.abilities, endpoint, ABILITY_LIST_V2, extras);
    if (abilities_ask(b->objects.abilities, endpoint, ABILITY_PAGE_LIMIT, extras))
        snprintf(limit, sizeof(limit), "max-keys=%d&", PAGE);
    if (!from || !prefix ||
        asprintf(&query, "%sdelimiter=%%2F&%s%s%s%sprefix=%s", key ? "" : from, encoded ? "encoding-type=url&" : "",
                 v2 ? "list-type=2&" : "", key ? from : "", limit, prefix) < 0)
        query = NULL;
    free(from);
    free(prefix);
    return query;
}

static int s3_list(struct backend *b, unsigned endpoint, const char *marker, struct transfer_request *request)
{
    assert(endpoint < b->bucket_count);
    unsigned extras = 0;
    char *bucket = bucket_at(b, endpoint), *query = list_query(b, endpoint, marker, &extras), *url = NULL;
    if (!query || !bucket || asprintf(&url, "%s%s?%s", bucket, strchr(strstr(bucket, "://") + 3, '/') ? "" : "/", query) < 0)
        url = NULL;
    free(query);
    free(bucket);
    int r = ask(b, endpoint, url, request);
    if (r == 0)
        request->extras = extras;
    return r;
}

static int s3_listing(struct backend *b, const struct transfer_head *head, listing_fn *fn, void *context,
                      struct listing **ret)
{
    int r = backend_status_error(head->status);
    if (r < 0)
        return r == -ENOENT ? -ENOTSUP : r; /* no bucket yet is no listing, not an empty one */
    return listing_new_s3(b->prefix, b->objects.config->checksum_files, fn, context, ret);
}

static int s3_document(struct backend *b, unsigned endpoint, const char *name, struct transfer_request *request)
{
    return ask_for(b, endpoint, name, request);
}

/* ---- what a server refuses */

static bool s3_otherwise(struct backend *b, unsigned endpoint, unsigned extras, const struct transfer_result *result, char *why)
{
    return s3_identity_learn(b->identity, endpoint, result, why, BACKEND_WHY_MAX) ||
           object_otherwise(b, endpoint, extras, result, why);
}

/* ---- credentials that are given out */

static enum auth_need s3_auth_needed(struct backend *b)
{
    return s3_identity_need(b->identity);
}

static const char *s3_auth_name(const struct backend *b)
{
    return s3_identity_asks(b->identity);
}

static const char *s3_auth_hint(const struct backend *b)
{
    return s3_identity_hint(b->identity);
}

static int s3_auth(struct backend *b, struct transfer_request *request)
{
    return s3_identity_ask(b->identity, request);
}

static int s3_auth_head(struct backend *b, const struct transfer_head *head, const char **ret_why)
{
    return s3_identity_head(b->identity, head, ret_why);
}

static int s3_authorised(struct backend *b, const void *body, size_t length, const char **ret_why)
{
    return s3_identity_answer(b->identity, body, length, ret_why);
}

static unsigned s3_credential(struct backend *b)
{
    return s3_identity_number(b->identity);
}

static bool s3_refused(struct backend *b, unsigned credential, int status, const char *code)
{
    return s3_identity_refused(b->identity, credential, status, code);
}

const struct backend_ops backend_s3 = {
    .type = "s3",
    .etag_may_be_md5 = true,
    .describe_has_bytes = true,
    .open = s3_open,
    .close = s3_close,
    .endpoints = s3_endpoints,
    .endpoint_name = s3_endpoint_name,
    .describe = object_describe,
    .described = s3_described,
    .describe_again = object_describe_again,
    .otherwise = s3_otherwise,
    .refuses = object_refuses,
    .bytes = object_bytes,
    .list = s3_list,
    .listing = s3_listing,
    .document = s3_document,
    .digests = object_digests,
    .auth_needed = s3_auth_needed,
    .auth_name = s3_auth_name,
    .auth_hint = s3_auth_hint,
    .auth = s3_auth,
    .auth_head = s3_auth_head,
    .authorised = s3_authorised,
    .credential = s3_credential,
    .refused = s3_refused,
};
