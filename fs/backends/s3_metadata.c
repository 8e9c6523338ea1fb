/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials from a service nearby, see s3_metadata.h.
 *
 *     instance:   token (PUT) ──> name of the role ──> its keys     401 to one of the latter: the token ended, once more from the start
 *     container:  the keys
 */
#include "config-auto.h"

#include "backends/s3_metadata.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/setting.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

#define ROLES "/latest/meta-data/iam/security-credentials/"
#define TOKEN_LIFE_S 21600
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

enum { PATIENCE_S = 5, ENDED_LIFE_S = 60, ROLE_MAX = 128 };

enum step { STEP_TOKEN, STEP_ROLE, STEP_KEYS };

struct s3_metadata {
    bool instance;
    char *url; /* instance: its root, without a slash at the end; container: of the keys */
    const char *token_file;
    char *secret; /* container: sent as Authorization; NULL */
    char *token;  /* instance: NULL, none was had or it is over */
    int64_t token_ends; /* monotonic */
    bool no_tokens;     /* instance: it knows version 1 only */
    /* the login under way: */
    enum step step;
    char role[ROLE_MAX + 1];
    bool renewed; /* its token was refused once */
    int status;
    time_t now; /* of the service, when it answered */
};

/* ---- open and close */

void s3_metadata_close(struct s3_metadata *m)
{
    if (!m)
        return;
    secret_free(m->secret);
    secret_free(m->token);
    free(m->url);
    free(m);
}

static bool is_loopback(const char *host)
{
    unsigned a, b, c, d;
    int end = 0;
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (sscanf(host, "%3u.%3u.%3u.%3u%n", &a, &b, &c, &d, &end) == 4 && host[end] == '\0' && a == 127 && b < 256 && c < 256 && d < 256);
}

bool s3_metadata_url_allowed(const char *url)
{
    static const char *const known[] = { "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]" };
    if (strncasecmp(url, "https://", 8) == 0)
        return true;
    if (strncasecmp(url, "http://", 7) != 0)
        return false;
    char host[64] = "";
    const char *start = url + 7;
    size_t authority = strcspn(start, "/?#"), length = *start == '[' ? strcspn(start, "]") + 1 : strcspn(start, ":/?#");
    if (length >= sizeof(host) || length > authority || memchr(start, '@', authority) || memchr(start, '\\', authority) ||
        (length < authority && (start[length] != ':' || strspn(start + length + 1, "0123456789") != authority - length - 1)))
        return false;
    memcpy(host, start, length);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcasecmp(host, known[i]) == 0)
            return true;
    }
    return is_loopback(host);
}

static int open_instance(const struct config *config, struct s3_metadata *m, char *message)
{
    const char *mode = setting_text(NULL, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv4");
    const char *usual = strcasecmp(mode, "IPv6") == 0 ? "http://[fd00:ec2::254]" : "http://169.254.169.254";
    return setting_url(config, "credentials", setting_text(NULL, "AWS_EC2_METADATA_SERVICE_ENDPOINT", usual), &m->url, message);
}

static int open_container(const struct config *config, struct s3_metadata *m, char *message)
{
    const char *relative = setting_text(NULL, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", NULL);
    const char *full = setting_text(NULL, "AWS_CONTAINER_CREDENTIALS_FULL_URI", NULL);
    const char *secret = setting_text(NULL, "AWS_CONTAINER_AUTHORIZATION_TOKEN", NULL);
    if (!relative && !full)
        return setting_refuse(config, message, "credentials", "is container, but neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor "
                              "AWS_CONTAINER_CREDENTIALS_FULL_URI is in the environment");
    if (relative && *relative != '/')
        return setting_refuse(config, message, "credentials", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI must begin with a slash");
    if (!relative && !s3_metadata_url_allowed(full))
        return setting_refuse(config, message, "credentials", "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http on this machine or at "
                              "169.254.170.2 or 169.254.170.23");
    if (asprintf(&m->url, "%s%s", relative ? "http://169.254.170.2" : "", relative ? relative : full) < 0) {
        m->url = NULL;
        return setting_no_memory(message);
    }
    m->token_file = setting_text(NULL, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", NULL);
    if (m->token_file)
        return setting_secret_file(config, "credentials", m->token_file, &m->secret, message);
    if (secret && strpbrk(secret, "\r\n"))
        return setting_refuse(config, message, "credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN holds a line break");
    return secret && !(m->secret = strdup(secret)) ? setting_no_memory(message) : 0;
}

int s3_metadata_open(const struct config *config, enum s3_source source, struct s3_metadata **ret, char message[CONFIG_MESSAGE_MAX])
{
    struct s3_metadata *m = calloc(1, sizeof(*m));
    if (!m)
        return setting_no_memory(message);
    m->instance = source == S3_FROM_INSTANCE;
    m->step = m->instance ? STEP_TOKEN : STEP_KEYS;
    int r = m->instance ? open_instance(config, m, message) : open_container(config, m, message);
    if (r < 0) {
        s3_metadata_close(m);
        return r;
    }
    *ret = m;
    return 0;
}

const char *s3_metadata_name(const struct s3_metadata *m)
{
    return m->url;
}

const char *s3_metadata_hint(const struct s3_metadata *m)
{
    return m->instance ? "is this an instance of EC2? In a container its hop limit must be 2" : "see AWS_CONTAINER_CREDENTIALS_…";
}

/* ---- the questions */

/* Such a token is replaced in its file. One that cannot be read now leaves us with what was read before. */
static void read_token_file(struct s3_metadata *m)
{
    char *fresh = NULL;
    int r = m->token_file ? secret_read(m->token_file, &fresh) : -ENOENT;
    if (r == 0) {
        secret_free(m->secret);
        m->secret = fresh;
    } else if (m->token_file) {
        log_warning("%s: %s; the token that was read before is used", m->token_file, secret_error(r));
    }
}

static int ask_container(struct s3_metadata *m, struct transfer_request *q)
{
    read_token_file(m);
    q->url = strdup(m->url);
    int r = q->url ? 0 : -ENOMEM;
    if (r == 0 && m->secret)
        r = transfer_request_header(q, "Authorization", m->secret);
    return r;
}

static void forget_token(struct s3_metadata *m)
{
    secret_free(m->token);
    m->token = NULL;
}

static int ask_instance(struct s3_metadata *m, struct transfer_request *q)
{
    if (m->token && clock_monotonic() >= m->token_ends)
        forget_token(m);
    if (!m->token && !m->no_tokens)
        m->step = STEP_TOKEN;
    else if (m->step == STEP_TOKEN)
        m->step = STEP_ROLE;
    const char *path = m->step == STEP_TOKEN ? "/latest/api/token" : ROLES;
    if (asprintf(&q->url, "%s%s%s", m->url, path, m->step == STEP_KEYS ? m->role : "") < 0) {
        q->url = NULL;
        return -ENOMEM;
    }
    if (m->step != STEP_TOKEN)
        return m->token ? transfer_request_header(q, "X-aws-ec2-metadata-token", m->token) : 0;
    q->method = "PUT";
    q->body = strdup("");
    return q->body ? transfer_request_header(q, "X-aws-ec2-metadata-token-ttl-seconds", TEXT(TOKEN_LIFE_S)) : -ENOMEM;
}

int s3_metadata_ask(struct s3_metadata *m, struct transfer_request *request)
{
    struct transfer_request q = { .direct = true, .patience = PATIENCE_S };
    int r = m->instance ? ask_instance(m, &q) : ask_container(m, &q);
    if (r < 0) {
        transfer_request_clear(&q);
        return r;
    }
    *request = q;
    return 0;
}

/* ---- the answers */

static const char *refused(const struct s3_metadata *m, int status)
{
    if (!m->instance)
        return "it refuses to give credentials out: see AWS_CONTAINER_AUTHORIZATION_TOKEN or its file";
    if (status == 404 && m->step == STEP_ROLE)
        return "this instance has no role: give it one that may read the bucket";
    if (status == 403 && m->step == STEP_TOKEN)
        return "its metadata is switched off, or not meant for this machine";
    return "it refuses to give credentials out: it does not answer as the metadata of an instance";
}

/* A token that ended, or a service of before there were tokens, is no failure: it goes on with another question. */
static bool goes_on(const struct s3_metadata *m)
{
    bool ended = m->status == 401 && m->step != STEP_TOKEN && m->token && !m->renewed;
    bool older = m->step == STEP_TOKEN && (m->status == 404 || m->status == 405 || m->status == 501);
    return m->instance && (ended || older);
}

int s3_metadata_head(struct s3_metadata *m, const struct transfer_head *head, const char **ret_why)
{
    struct tm tm = { 0 };
    const char *date = transfer_head_get(head, "Date");
    m->now = date && strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm) ? timegm(&tm) : time(NULL);
    m->status = head->status;
    int r = goes_on(m) ? 0 : backend_status_error(head->status);
    if (r == 0 || r == -EAGAIN)
        return r;
    *ret_why = refused(m, head->status);
    m->renewed = false;
    if (m->instance)
        m->step = STEP_TOKEN;
    return r == -EACCES || r == -ENOENT ? -EACCES : -EPROTO; /* no image is missing */
}

/* The one line of BODY, LENGTH bytes, without what ends it. NULL: it is none, or no memory. */
static char *line_of(const void *body, size_t length)
{
    char *text = length <= 4096 ? strndup(body, length) : NULL;
    if (!text)
        return NULL;
    text[strcspn(text, "\r\n")] = '\0';
    for (const char *c = text; *c; c++) {
        if (*c <= ' ' || *c > '~') {
            secret_free(text);
            return NULL;
        }
    }
    return text;
}

static int take_token(struct s3_metadata *m, const void *body, size_t length, const char **ret_why)
{
    if (m->status >= 400) {
        m->no_tokens = true;
        log_notice("%s gives out no tokens: asked without, as version 1 of instance metadata has it", m->url);
        m->step = STEP_ROLE;
        return AUTH_FURTHER;
    }
    char *token = line_of(body, length);
    if (!token || !*token) {
        secret_free(token);
        *ret_why = "it answers no token: it is not the metadata of an instance";
        return -EPROTO;
    }
    forget_token(m);
    m->token = token;
    m->token_ends = clock_monotonic() + (TOKEN_LIFE_S - TOKEN_LIFE_S / 10) * NS_PER_S;
    m->step = STEP_ROLE;
    return AUTH_FURTHER;
}

static int take_role(struct s3_metadata *m, const void *body, size_t length, const char **ret_why)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-";
    char *role = line_of(body, length);
    bool good = role && *role && strlen(role) <= ROLE_MAX && role[strspn(role, name)] == '\0';
    if (good)
        strcpy(m->role, role);
    free(role);
    if (!good) {
        *ret_why = length == 0 ? "this instance has no role: give it one that may read the bucket" : "it answers no name of a role";
        return length == 0 ? -EACCES : -EPROTO;
    }
    m->step = STEP_KEYS;
    return AUTH_FURTHER;
}

/* Credentials whose end is past are used all the same, a while: when nobody can renew them, S3 may take them longer, too. */
static uint64_t life_of(const struct s3_metadata *m, const char *expiration)
{
    struct tm tm = { 0 };
    const char *end = expiration ? strptime(expiration, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (!end)
        return 0;
    time_t left = timegm(&tm) - m->now;
    if (left <= 0)
        log_warning("%s gives out credentials that have ended: they are used until it has others", m->url);
    return left > 0 ? (uint64_t) left : ENDED_LIFE_S;
}

static int take_keys(const struct s3_metadata *m, const void *body, size_t length, struct s3_credentials *ret, uint64_t *ret_lifetime,
                     const char **ret_why)
{
    const char *code = "Success", *key = NULL, *secret = NULL, *token = NULL, *expiration = NULL;
    json_t *root = json_loadb(body, length, 0, NULL);
    int r = -EPROTO;
    *ret_why = "its answer holds no credentials";
    if (root && json_unpack(root, "{s?s, s?s, s?s, s?s, s?s}", "Code", &code, "AccessKeyId", &key, "SecretAccessKey", &secret, "Token", &token,
                            "Expiration", &expiration) == 0) {
        if (strcasecmp(code, "Success") != 0)
            *ret_why = "it cannot give credentials out now: may its role be assumed?";
        else if (key && secret && *key && *secret && (r = s3_credentials_make(key, secret, token, ret)) == 0)
            *ret_lifetime = life_of(m, expiration);
    }
    json_decref(root);
    if (r == 0)
        *ret_why = NULL;
    return r;
}

int s3_metadata_answer(struct s3_metadata *m, const void *body, size_t length, struct s3_credentials *ret, uint64_t *ret_lifetime,
                       const char **ret_why)
{
    const void *bytes = body ? body : "";
    if (m->instance && m->status == 401) {
        forget_token(m);
        m->renewed = true;
        m->step = STEP_TOKEN;
        return AUTH_FURTHER;
    }
    if (m->instance && m->step == STEP_TOKEN)
        return take_token(m, bytes, length, ret_why);
    if (m->instance && m->step == STEP_ROLE)
        return take_role(m, bytes, length, ret_why);
    m->renewed = false;
    if (m->instance)
        m->step = STEP_TOKEN;
    return take_keys(m, bytes, length, ret, ret_lifetime, ret_why);
}
