/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to Glance, passed on as they come. An exchange is one request and its answer, worked by the thread of the client's connection: what
 * it takes and gives is a piece of the body at a time, so that who is slow, client or Glance, slows the other. A bounded buffer is all that is
 * held. Time counts only while Glance is waited for: upstream_timeout without a byte taken or given ends the exchange; there is no limit for all
 * of it. A client that leaves while it is waited for Glance ends it, too.
 *
 * Connections to Glance are kept for requests that change nothing, and used again. The functions of an exchange belong to one thread; they
 * block. Here, beside access/service: libcurl.
 */
#ifndef GCFS_API_UPSTREAM_H
#define GCFS_API_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "api/access/endpoints.h"
#include "config/config.h"

struct upstream;
struct exchange;

struct upstream *upstream_new(const struct config_api *config, struct endpoints *glance); /* which stay; NULL: no memory */
void upstream_free(struct upstream *u);                         /* all exchanges have ended; NULL is fine */

enum { UPSTREAM_HURRY_SECONDS = 4, UPSTREAM_PAUSE_SECONDS = 15 };
bool upstream_is_away(struct upstream *u); /* it did not answer, UPSTREAM_PAUSE_SECONDS ago or less */

enum { EXCHANGE_NO_BODY = -2, EXCHANGE_CHUNKED = -1 };

struct exchange_request {
    const char *method;
    const char *uri;  /* with the query, from its '/' on; sent as it is */
    int64_t length;   /* of the body in bytes, or one of the above */
    bool expects;     /* the body is sent only when Glance wants it */
    bool hurried;     /* something else can be answered: it is waited for no longer than UPSTREAM_HURRY_SECONDS */
    int client;       /* the client's socket; -1: is not watched */
};

/* U, and the texts of REQUEST, stay. 0, or -ENOMEM, -EMFILE, -ENODEV: it is not known where Glance is. */
int exchange_new(struct upstream *u, const struct exchange_request *request, struct exchange **ret);
/* Before the first of the functions below: -ENOMEM. The texts are copied. A VALUE of NULL: the library adds none of its own. */
int exchange_add_header(struct exchange *x, const char *name, const char *value);
void exchange_free(struct exchange *x); /* one that is not over is cut; NULL is fine */

/*
 * All below return 0 or more, or -errno: -ECONNABORTED the client has left, -ETIMEDOUT, -ECONNREFUSED, -EPROTO, -EIO Glance did not do its part
 * (exchange_why()), -ENOMEM. After an error the same is returned again.
 */

/* Connects and sends the head. 1: the body is wanted now; 0: there is an answer before it. */
int exchange_begin(struct exchange *x);
/* Sends a piece of the body. What comes after the answer is dropped. */
int exchange_send(struct exchange *x, const char *bytes, size_t length);
/* The body ended, or there is none: waits for the head of the answer. */
int exchange_head(struct exchange *x);
/* Up to SIZE bytes of the answer's body; 0: its end. */
ssize_t exchange_read(struct exchange *x, char *buffer, size_t size);

/* Of the answer, once its head is here. */
unsigned exchange_status(const struct exchange *x);
int64_t exchange_length(const struct exchange *x); /* of the body; -1: is not told */
/* The headers one by one; false: no more. Begin with *POSITION = 0. The texts stay the exchange's. */
bool exchange_header(const struct exchange *x, size_t *position, const char **ret_name, const char **ret_value);

const char *exchange_why(const struct exchange *x); /* a text for log and client */

/* Where Glance's own URLs, as in Location, begin: the rest of URL behind that, or NULL when it is another server's. */
const char *exchange_rest(const struct exchange *x, const char *url);

#endif
