/* SPDX-License-Identifier: Apache-2.0 */
/* The lines, and where they go. State: the file. */
#include "config-auto.h"

#include "api/http/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "base/log.h"

struct audit {
    const char *path; /* NULL: to the log */
    pthread_rwlock_t lock;
    int fd;                 /* protected by lock; -1: none */
    atomic_llong complained; /* when a line could not be written, and that was logged, last */
};

static int open_file(const char *path, int *ret_fd)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return log_errno(-errno, "cannot open audit_log = %s", path);
    *ret_fd = fd;
    return 0;
}

int audit_new(const char *path, struct audit **ret)
{
    struct audit *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return -ENOMEM;
    a->path = path;
    a->fd = -1;
    int r = path != NULL ? open_file(path, &a->fd) : 0;
    if (r < 0) {
        free(a);
        return r;
    }
    pthread_rwlock_init(&a->lock, NULL);
    *ret = a;
    return 0;
}

void audit_free(struct audit *a)
{
    if (a == NULL)
        return;
    if (a->fd >= 0)
        close(a->fd);
    pthread_rwlock_destroy(&a->lock);
    free(a);
}

int audit_reopen(struct audit *a)
{
    int fd = -1, r = a->path != NULL ? open_file(a->path, &fd) : 0;
    if (r < 0 || fd < 0)
        return r;
    pthread_rwlock_wrlock(&a->lock);
    int old = a->fd;
    a->fd = fd;
    pthread_rwlock_unlock(&a->lock);
    close(old);
    return 0;
}

static void set_text(json_t *line, const char *key, const char *value)
{
    if (value != NULL && value[0] != '\0')
        json_object_set_new(line, key, json_text(value));
}

/* In one line, a line break behind it; NULL: no memory. */
static char *line_of(const struct request *r, uint64_t sent, bool whole)
{
    char when[32];
    text_time((double)time(NULL), when);
    json_t *line = json_pack("{s:s, s:s, s:i, s:b}", "time", when, "action", r->action, "status", (int)r->status, "whole", whole);
    if (line == NULL)
        return NULL;
    set_text(line, "image", r->id);
    if (r->download > 0)
        json_object_set_new(line, "bytes", json_integer((json_int_t)sent));
    set_text(line, "user", r->who.user);
    set_text(line, "user_id", r->who.user_id);
    set_text(line, "project", r->who.project);
    set_text(line, "project_id", r->who.project_id);
    set_text(line, "address", r->client);
    set_text(line, "request_id", r->request_id);
    char *text = json_dumps(line, JSON_PRESERVE_ORDER);
    json_decref(line);
    char *longer = text != NULL ? realloc(text, strlen(text) + 2) : NULL;
    if (longer == NULL)
        free(text);
    else
        strcat(longer, "\n");
    return longer;
}

void audit_write(struct audit *a, const struct request *r, uint64_t sent, bool whole)
{
    char *line = line_of(r, sent, whole);
    if (line == NULL)
        return;
    size_t length = strlen(line);
    if (a->path == NULL) {
        line[length - 1] = '\0';
        log_info("audit: %s", line);
        free(line);
        return;
    }
    pthread_rwlock_rdlock(&a->lock);
    ssize_t n = write(a->fd, line, length);
    int error = n < 0 ? -errno : n < (ssize_t)length ? -ENOSPC : 0;
    pthread_rwlock_unlock(&a->lock);
    long long now = clock_monotonic(), before = atomic_load(&a->complained);
    if (error < 0 && (before == 0 || now - before > 60 * NS_PER_S) && atomic_compare_exchange_strong(&a->complained, &before, now))
        log_error("cannot write to audit_log = %s: %s; this line was to be written: %s", a->path, error_text(error), line);
    free(line);
}
