/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials, region and clock of signatures, see s3_identity.h. */
#include "config-auto.h"

#include "backends/s3_identity.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "backends/refusal.h"
#include "backends/s3_credentials.h"
#include "backends/s3_metadata.h"
#include "backends/setting.h"
#include "backends/token.h"
#include "base/clock.h"
#include "base/log.h"

enum {
    LOOK_PAUSE_S = 5,  /* between two looks at the files */
    SKEW_MIN_S = 60,   /* a clock that is less wrong is no reason to be refused: services allow a quarter of an hour */
};

/* Of the empty body that every request here has. */
static const char empty_sha256[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct s3_identity {
    const struct config *config;
    const char *path; /* the file that credentials come from and may change in; NULL */
    struct s3_metadata *metadata;          /* who gives them out; NULL: nobody. The fetch thread's */
    struct token *life;                    /* of those that were given out; NULL */
    unsigned endpoints;
    pthread_mutex_t lock;
    struct s3_credentials credentials;     /* protected by lock */
    struct stamp stamp;                    /* protected by lock: of the file when it was read */
    int64_t looked;                        /* protected by lock; monotonic */
    time_t skew;                           /* protected by lock: seconds that the service's clock is ahead of ours */
    char (*regions)[S3_REGION_MAX];        /* protected by lock; one an endpoint */
};

/* ---- open and close */

static struct stamp stamp_of(const char *path)
{
    struct stat st;
    if (!path || stat(path, &st) < 0)
        return (struct stamp){ 0 };
    return (struct stamp){ .device = st.st_dev, .inode = st.st_ino, .size = st.st_size, .changed = st.st_mtim };
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

/* Credentials that are given out are asked for when they are needed. */
static int open_metadata(struct s3_identity *s, char *message)
{
    enum s3_source source = s3_credentials_source(s->config);
    if (source != S3_FROM_CONTAINER && source != S3_FROM_INSTANCE)
        return 0;
    if (token_new(&s->life) < 0)
        return setting_no_memory(message);
    return s3_metadata_open(s->config, source, &s->metadata, message);
}

int s3_identity_open(const struct config *config, const char *region, unsigned endpoints, struct s3_identity **ret,
                     char message[CONFIG_MESSAGE_MAX])
{
    struct s3_identity *s = calloc(1, sizeof(*s));
    if (!s)
        return setting_no_memory(message);
    pthread_mutex_init(&s->lock, NULL);
    s->config = config;
    s->endpoints = endpoints;
    s->path = s3_credentials_path(config);
    s->stamp = stamp_of(s->path);
    s->looked = clock_monotonic();
    s->regions = calloc(endpoints, sizeof(*s->regions));
    int r = s->regions ? s3_credentials_read(config, &s->credentials, message) : setting_no_memory(message);
    if (r == 0)
        r = open_metadata(s, message);
    if (r == 0 && strlen(region) >= S3_REGION_MAX)
        r = setting_refuse(config, message, "region", "is longer than any region's name");
    if (r < 0) {
        s3_identity_close(s);
        return r;
    }
    for (unsigned i = 0; i < endpoints; i++)
        strcpy(s->regions[i], region);
    *ret = s;
    return 0;
}

void s3_identity_close(struct s3_identity *s)
{
    if (!s)
        return;
    s3_credentials_clear(&s->credentials);
    s3_metadata_close(s->metadata);
    token_free(s->life);
    pthread_mutex_destroy(&s->lock);
    free(s->regions);
    free(s);
}

/* ---- credentials that are rotated in their file */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/*
 * A file that is the one that was read has nothing new. One that is being written, or makes no sense, leaves us with what we have. Returns
 * whether there is something new.
 */
static bool read_again(struct s3_identity *s)
{
    char message[CONFIG_MESSAGE_MAX];
    struct s3_credentials fresh = { 0 };
    struct stamp stamp = stamp_of(s->path);
    pthread_mutex_lock(&s->lock);
    bool same = same_stamp(&stamp, &s->stamp);
    pthread_mutex_unlock(&s->lock);
    if (same)
        return false;
    int r = s3_credentials_read(s->config, &fresh, message);
    if (r < 0) {
        log_warning("%s; the credentials that were read before are used", message);
        return false;
    }
    pthread_mutex_lock(&s->lock);
    bool changed = !same_text(s->credentials.user_password, fresh.user_password) || !same_text(s->credentials.session_token, fresh.session_token);
    struct s3_credentials old = s->credentials;
    s->credentials = fresh;
    s->stamp = stamp;
    pthread_mutex_unlock(&s->lock);
    s3_credentials_clear(&old);
    return changed;
}

static void look_at_file(struct s3_identity *s)
{
    int64_t now = clock_monotonic();
    if (!s->path)
        return;
    pthread_mutex_lock(&s->lock);
    bool due = now - s->looked >= LOOK_PAUSE_S * NS_PER_S;
    struct stamp before = s->stamp;
    if (due)
        s->looked = now;
    pthread_mutex_unlock(&s->lock);
    if (!due)
        return;
    struct stamp stamp = stamp_of(s->path);
    if (stamp.inode != 0 && !same_stamp(&stamp, &before) && read_again(s))
        log_notice("%s changed: its credentials are used from now on", s->path);
}

/* ---- credentials that are given out */

enum auth_need s3_identity_need(struct s3_identity *s)
{
    return s->metadata ? token_need(s->life) : AUTH_NONE;
}

const char *s3_identity_asks(const struct s3_identity *s)
{
    return s->metadata ? s3_metadata_name(s->metadata) : NULL;
}

const char *s3_identity_hint(const struct s3_identity *s)
{
    return s->metadata ? s3_metadata_hint(s->metadata) : NULL;
}

int s3_identity_ask(struct s3_identity *s, struct transfer_request *request)
{
    return s3_metadata_ask(s->metadata, request);
}

int s3_identity_head(struct s3_identity *s, const struct transfer_head *head, const char **ret_why)
{
    return s3_metadata_head(s->metadata, head, ret_why);
}

int s3_identity_answer(struct s3_identity *s, const void *body, size_t length, const char **ret_why)
{
    struct s3_credentials fresh = { 0 };
    uint64_t lifetime = 0;
    int r = s3_metadata_answer(s->metadata, body, length, &fresh, &lifetime, ret_why);
    if (r != 0)
        return r;
    pthread_mutex_lock(&s->lock);
    struct s3_credentials old = s->credentials;
    s->credentials = fresh;
    pthread_mutex_unlock(&s->lock);
    s3_credentials_clear(&old);
    return token_set(s->life, "", lifetime, NULL); /* the token room keeps its life only */
}

unsigned s3_identity_number(struct s3_identity *s)
{
    return s->metadata ? token_number(s->life) : 0;
}

bool s3_identity_refused(struct s3_identity *s, unsigned number, int status, const char *code)
{
    static const char *const ended[] = { "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId", "" /* HEAD's */ };
    if (!s->metadata || (status != 400 && status != 401 && status != 403))
        return false;
    for (size_t i = 0; i < sizeof(ended) / sizeof(ended[0]); i++) {
        if (strcmp(code, ended[i]) == 0 && (*code || status != 400))
            return token_refused(s->life, number);
    }
    return false;
}

/* ---- signing */

static int add_date(struct transfer_request *q, time_t skew)
{
    char text[32];
    time_t now = time(NULL) + skew;
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &tm);
    return transfer_request_header(q, "X-Amz-Date", text);
}

int s3_identity_sign(struct s3_identity *s, unsigned endpoint, struct transfer_request *q)
{
    look_at_file(s);
    pthread_mutex_lock(&s->lock);
    time_t skew = s->skew;
    bool sign = s->credentials.user_password;
    int r = 0;
    if (sign) {
        q->user_password = strdup(s->credentials.user_password);
        if (asprintf(&q->aws_sigv4, "aws:amz:%s:s3", s->regions[endpoint]) < 0)
            q->aws_sigv4 = NULL;
        r = q->user_password && q->aws_sigv4 ? 0 : -ENOMEM;
    }
    if (r == 0 && sign && s->credentials.session_token)
        r = transfer_request_header(q, "x-amz-security-token", s->credentials.session_token);
    pthread_mutex_unlock(&s->lock);
    if (r == 0 && sign)
        r = transfer_request_header(q, "x-amz-content-sha256", empty_sha256);
    if (r == 0 && sign && skew != 0)
        r = add_date(q, skew);
    if (r == 0 && s->config->request_payer)
        r = transfer_request_header(q, "x-amz-request-payer", "requester");
    return r;
}

void s3_identity_region(struct s3_identity *s, unsigned endpoint, char ret[S3_REGION_MAX])
{
    pthread_mutex_lock(&s->lock);
    strcpy(ret, s->regions[endpoint]);
    pthread_mutex_unlock(&s->lock);
}

/* ---- learning */

static bool is_region(const char *text)
{
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char) text[i]) && text[i] != '-')
            return false;
    }
    return length > 0 && length < S3_REGION_MAX;
}

/* Amazon says it in a header, others in the refusal. */
static bool learn_region(struct s3_identity *s, unsigned endpoint, const struct transfer_result *result, char *why, size_t size)
{
    char region[S3_REGION_MAX] = "";
    const char *header = transfer_head_get(result->head, "x-amz-bucket-region");
    if (header && strlen(header) < sizeof(region))
        strcpy(region, header);
    else if (!header)
        refusal_element(result->document, "Region", region, sizeof(region));
    if (!is_region(region))
        return false;
    pthread_mutex_lock(&s->lock);
    bool other = strcmp(region, s->regions[endpoint]) != 0;
    strcpy(s->regions[endpoint], region);
    pthread_mutex_unlock(&s->lock);
    if (other)
        snprintf(why, size, "says that its bucket is in the region %s: requests are signed for that (set region)", region);
    return other;
}

static bool learn_time(struct s3_identity *s, const struct transfer_result *result, char *why, size_t size)
{
    char code[64] = "";
    refusal_element(result->document, "Code", code, sizeof(code));
    const char *date = transfer_head_get(result->head, "Date");
    struct tm tm = { 0 };
    const char *end = date ? strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm) : NULL;
    if (!end || *end || (*code && strcmp(code, "RequestTimeTooSkewed") != 0))
        return false;
    time_t skew = timegm(&tm) - time(NULL);
    pthread_mutex_lock(&s->lock);
    bool other = labs((long) (skew - s->skew)) >= SKEW_MIN_S;
    if (other)
        s->skew = skew;
    pthread_mutex_unlock(&s->lock);
    if (other)
        snprintf(why, size, "has a clock that is %ld s %s ours: its time is used for signatures; set the clock of one of both", labs((long) skew),
                 skew > 0 ? "ahead of" : "behind");
    return other;
}

bool s3_identity_learn(struct s3_identity *s, unsigned endpoint, const struct transfer_result *result, char *why, size_t size)
{
    int status = result->status;
    pthread_mutex_lock(&s->lock);
    bool sign = s->credentials.user_password;
    pthread_mutex_unlock(&s->lock);
    if (!sign || !result->head || (status != 301 && status != 307 && status != 400 && status != 401 && status != 403))
        return false;
    if (learn_region(s, endpoint, result, why, size) || (status == 403 && learn_time(s, result, why, size)))
        return true;
    if (status < 400 || !s->path || !read_again(s))
        return false;
    snprintf(why, size, "refused the credentials: others were found in %.80s", s->path);
    return true;
}
