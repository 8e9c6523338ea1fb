/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Downloads: from the file of the mount straight to the socket. What is not in the cache yet is fetched while it is sent: the thread of
 * the connection waits in sendfile(2). Bytes that cannot be had end the connection before the promised length.
 */
#include "config-auto.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/access/auth.h"
#include "api/access/signing.h"
#include "api/cache/mount.h"
#include "api/http/api.h"
#include "api/http/range.h"
#include "base/log.h"

enum { FACTS = FACT_DIGEST | FACT_ETAG, ETAG_MAX = 512, DATE_MAX = 40 };

/*
 * The backend's where it gives one, else the mount's own version: there always is one, or who fetches from here could not tell versions apart.
 * Not the digest: it may become known, or a better one, while an image is fetched, and another tag is another version. The time is in it as
 * another node may give the same number to another version.
 */
static void make_etag(const struct facts *f, char etag[ETAG_MAX])
{
    char own[80];
    snprintf(own, sizeof(own), "%" PRIu64 "-%" PRIu64 "-%" PRIx64, f->version, f->size, (uint64_t)f->dated);
    if (!etag_make(f->etag, etag, ETAG_MAX))
        etag_make(own, etag, ETAG_MAX);
}

/* The time of the version, as a web server over the mount sends it, too: an image may come from both in turn. */
static void make_date(const struct facts *f, char date[DATE_MAX])
{
    time_t seconds = (time_t)(f->dated / 1000000000);
    struct tm parts;
    date[0] = '\0';
    if (gmtime_r(&seconds, &parts) != NULL)
        strftime(date, DATE_MAX, "%a, %d %b %Y %H:%M:%S GMT", &parts);
}

static void add_version(struct MHD_Response *response, const struct facts *f, const char *etag)
{
    char date[DATE_MAX];
    make_date(f, date);
    MHD_add_response_header(response, "ETag", etag);
    if (date[0] != '\0')
        MHD_add_response_header(response, "Last-Modified", date);
}

static enum MHD_Result not_modified(struct request *r, const struct facts *f, const char *etag)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    if (response != NULL)
        add_version(response, f, etag);
    return reply_queue(r, 304, response);
}

static enum MHD_Result unsatisfiable(struct request *r, uint64_t size)
{
    char text[64];
    static const char line[] = "{\"error\": {\"code\": 416, \"title\": \"Range Not Satisfiable\", \"message\": \"no byte of the range is "
                               "in the image\"}}\n";
    struct MHD_Response *response = MHD_create_response_from_buffer(sizeof(line) - 1, (void *)line, MHD_RESPMEM_PERSISTENT);
    snprintf(text, sizeof(text), "bytes */%" PRIu64, size);
    if (response != NULL) {
        MHD_add_response_header(response, "Content-Range", text);
        MHD_add_response_header(response, "Content-Type", "application/json");
    }
    return reply_queue(r, 416, response);
}

struct part {
    bool whole;
    uint64_t first, length;
};

/* False: nothing of the range is there. */
static bool choose_part(const struct request *r, const struct facts *f, const char *etag, struct part *ret)
{
    char date[DATE_MAX];
    uint64_t first, last, size = f->size;
    const char *if_range = request_header(r, "If-Range");
    *ret = (struct part){.whole = true, .length = size};
    make_date(f, date);
    if (if_range != NULL && !etag_same(if_range, etag) && (date[0] == '\0' || strcmp(if_range, date) != 0))
        return true;
    switch (range_parse(request_header(r, "Range"), size, &first, &last)) {
    case RANGE_UNSATISFIABLE:
        return false;
    case RANGE_ONE:
        *ret = (struct part){.first = first, .length = last - first + 1};
        return true;
    case RANGE_NONE:
    case RANGE_SEVERAL:
        break;
    }
    return true;
}

static void add_headers(struct MHD_Response *response, const struct facts *f, const char *etag, const struct part *part)
{
    char text[192];
    MHD_add_response_header(response, "Content-Type", "application/octet-stream");
    MHD_add_response_header(response, "Accept-Ranges", "bytes");
    MHD_add_response_header(response, "Cache-Control", "private, no-cache");
    add_version(response, f, etag);
    if (f->checksum[0] != '\0')
        MHD_add_response_header(response, "Content-MD5", f->checksum);
    if (f->hash_algo[0] != '\0' && f->hash_value[0] != '\0') {
        snprintf(text, sizeof(text), "%s=%s", f->hash_algo, f->hash_value);
        MHD_add_response_header(response, "X-Glance-Cache-Hash", text);
    }
    if (!part->whole) {
        snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, part->first, part->first + part->length - 1, f->size);
        MHD_add_response_header(response, "Content-Range", text);
    }
}

static ssize_t no_bytes(void *context, uint64_t position, char *buffer, size_t size)
{
    (void)context, (void)position, (void)buffer, (void)size;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* For HEAD, and for an empty image: a length without an open file, which would count as a read. */
static struct MHD_Response *without_bytes(const struct part *part)
{
    if (part->length == 0)
        return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    return MHD_create_response_from_callback(part->length, 1024, no_bytes, NULL, NULL);
}

/* Takes FD, which may be -1 for HEAD. */
static enum MHD_Result answer(struct request *r, const struct facts *f, int fd)
{
    char etag[ETAG_MAX];
    struct part part;
    make_etag(f, etag);
    bool fits = choose_part(r, f, etag, &part);
    if (!fits || (fd >= 0 && part.length == 0)) {
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    if (!fits)
        return unsatisfiable(r, f->size);
    struct MHD_Response *response =
        fd >= 0 ? MHD_create_response_from_fd_at_offset64(part.length, fd, part.first) : without_bytes(&part);
    if (response == NULL) {
        if (fd >= 0)
            close(fd);
        return MHD_NO;
    }
    if (fd >= 0)
        r->download = part.length;
    add_headers(response, f, etag, &part);
    if (part.first == 0 && mount_has_bootset(r->api->mount, r->id)) /* told once, with what is asked for first */
        MHD_add_response_header(response, "X-Glance-Cache-Bootset", "yes");
    return reply_queue(r, part.whole ? 200 : 206, response);
}

/*
 * Asks for the first byte that was asked for: an answer that promises bytes is sent when there are some, so that a backend that is down is
 * 503 with a reason, and not 200 with a connection that breaks. It also is when the backend tells the etag of an image that only a listing told of.
 */
static int wait_for_bytes(struct request *r, int fd, uint64_t size)
{
    char byte;
    uint64_t first, last;
    if (range_parse(request_header(r, "Range"), size, &first, &last) != RANGE_ONE)
        first = 0;
    return pread(fd, &byte, 1, (off_t)first) < 0 ? -errno : 0;
}

/* Why the bytes cannot be had, as the mount tells it of the image. */
static enum MHD_Result no_bytes_to_send(struct request *r, int error, const struct facts *f)
{
    if (f->error[0] == '\0')
        return reply_errno(r, error, "read image");
    return reply_error(r, 503, "cannot read image %s: %s", r->id, f->error);
}

/* If-Modified-Since, which counts where there is no If-None-Match. */
static bool is_as_before(const struct request *r, const struct facts *f)
{
    struct tm parts = {0};
    const char *since = request_header(r, "If-Modified-Since");
    const char *end = since != NULL ? strptime(since, "%a, %d %b %Y %H:%M:%S GMT", &parts) : NULL;
    return end != NULL && *end == '\0' && f->dated > 0 && (int64_t)(f->dated / 1000000000) <= (int64_t)timegm(&parts);
}

/* The answer to a HEAD, or to a condition that holds: without opening the image, which would count as a read. False: it is to be sent. */
static bool answer_closed(struct request *r, enum MHD_Result *ret)
{
    char etag[ETAG_MAX];
    struct facts f;
    const char *condition = request_header(r, "If-None-Match"), *since = request_header(r, "If-Modified-Since");
    bool head = request_is(r, "HEAD");
    if (!head && condition == NULL && since == NULL)
        return false;
    int error = mount_facts(r->api->mount, FOLDER_IMAGES, r->id, FACTS, &f);
    if (error < 0) {
        *ret = reply_errno(r, error, "look up image");
        return true;
    }
    make_etag(&f, etag);
    bool same = condition != NULL ? etag_listed(condition, etag) : is_as_before(r, &f);
    if (!same && !head)
        return false;
    *ret = same ? not_modified(r, &f, etag) : answer(r, &f, -1);
    return true;
}

/* Who fetches from here has no boot set of it yet: ours, in place of bytes. */
static enum MHD_Result send_bootset(struct request *r)
{
    char *text;
    size_t length;
    int error = mount_bootset(r->api->mount, r->id, &text, &length);
    return error < 0 ? reply_errno(r, error, "read the boot set of image") : reply_text(r, 200, "text/x-glance-cache-bootset", text, length);
}

/* The caller may have it. */
static enum MHD_Result send_image(struct request *r)
{
    struct facts f;
    int fd = -1;
    enum MHD_Result result;
    const char *want = request_header(r, "X-Glance-Cache-Want");
    if (want != NULL && strcmp(want, "bootset") == 0)
        return send_bootset(r);
    if (answer_closed(r, &result))
        return result;
    int error = mount_open(r->api->mount, r->id, &fd);
    if (error == 0)
        error = mount_facts_of(fd, 0, &f);
    if (error < 0) {
        if (fd >= 0)
            close(fd);
        return reply_errno(r, error, "open image");
    }
    int read_error = wait_for_bytes(r, fd, f.size);
    error = mount_facts_of(fd, read_error < 0 ? FACT_STATE : FACTS, &f);
    if (read_error < 0 || error < 0) {
        close(fd);
        return read_error < 0 ? no_bytes_to_send(r, read_error, &f) : reply_errno(r, error, "open image");
    }
    return answer(r, &f, fd);
}

enum MHD_Result download_image(struct request *r)
{
    unsigned status;
    char message[512];
    if (!auth_downloads(r, r->id, &status, message, sizeof(message)))
        return status == 204 ? reply_empty(r, 204) : reply_error(r, status, "%s", message);
    return send_image(r);
}

/* GET /v1/ACCOUNT/CONTAINER/ID?temp_url_sig=… */
enum MHD_Result download_signed(struct request *r)
{
    if (!signing_has_key(r->api->signing))
        return reply_error(r, 404, "there is nothing at this path");
    const char *why = signing_refuses(r->api->signing, r);
    if (why != NULL)
        return reply_error(r, 401, "%s", why);
    snprintf(r->who.user, sizeof(r->who.user), "signed link");
    return send_image(r);
}

/* For a proxy's auth_request: may the caller have this image? */
enum MHD_Result download_auth(struct request *r)
{
    unsigned status;
    char message[512];
    if (!auth_downloads(r, r->id, &status, message, sizeof(message))) /* proxies know 401 and 403 only */
        return reply_error(r, status == 204 || status == 404 ? 403 : status, "%s", message);
    return reply_empty(r, 204);
}
