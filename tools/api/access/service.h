/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to Keystone and Glance. Any thread; blocks, at most SERVICE_SECONDS (SERVICE_HURRY_SECONDS) for the answer and as long before that for its turn: no
 * more than SERVICE_AT_ONCE questions to one service are under way, so that a crowd of clients is not passed on. Connections are kept and
 * used again. That a service is down is logged once, and once that it answers again. Only here: libcurl.
 */
#ifndef GCFS_API_SERVICE_H
#define GCFS_API_SERVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "api/access/endpoints.h"

enum { SERVICE_SECONDS = 20, SERVICE_HURRY_SECONDS = 4, SERVICE_PAUSE_SECONDS = 15, SERVICE_AT_ONCE = 16, SERVICE_BODY_MAX = 8 * 1024 * 1024 };

struct service;

/* BASE: its url. CA_FILE: the authorities to trust instead of the system's, or NULL. WHAT: its name in the log. All stay the caller's. */
struct service *service_new(const char *what, const char *base, const char *ca_file); /* NULL: no memory */
/* The same, wherever it is: the next one of ENDPOINTS, which stay, is tried when one cannot be connected to. */
struct service *service_new_at(const char *what, struct endpoints *endpoints, const char *ca_file);
void service_free(struct service *s); /* nobody asks any more; NULL is fine */

struct service_question {
    const char *path;
    const char *token;         /* X-Auth-Token; NULL: none */
    const char *service_token; /* X-Service-Token; NULL: none */
    const char *subject;       /* X-Subject-Token; NULL: none */
    const char *request_id;    /* X-OpenStack-Request-ID; NULL: none */
    const char *range;         /* Range; NULL: none */
    bool hurried;              /* something else can be answered: it is not asked at all for SERVICE_PAUSE_SECONDS after it did not answer */
    bool head_only;            /* only the status counts: the body is dropped, and the connection with it when there is much of it */
};

struct service_answer {
    unsigned status;
    char *body; /* NUL behind it; to be freed */
    size_t length;
    char type[96], retry_after[32]; /* headers; "" where there is none */
};

/* Once, while the process has one thread; and at its end. */
void service_set_up(void);
void service_clean_up(void);

/*
 * A GET. 0 and the answer; -EHOSTUNREACH, -ETIMEDOUT, -EAGAIN (too many ask), -EFBIG, -EINVAL (a text that no header may hold), -ENOMEM,
 * -EIO when there is no whole answer.
 */
int service_ask(struct service *s, const struct service_question *q, struct service_answer *ret);

/* May TEXT be sent as a token? Visible ASCII only: a line break in it would be a header of its own. */
bool service_token_valid(const char *text);

#endif
