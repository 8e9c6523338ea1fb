/* SPDX-License-Identifier: Apache-2.0 */
/* The urls of the backend `http`, as its configuration gives them: "https://user:pw@host/images/{id}". Pure; any
 * thread. */
#ifndef GCFS_HTTP_URL_H
#define GCFS_HTTP_URL_H

#include <stdbool.h>

struct http_url {
    char *url;           /* without userinfo */
    char *name;          /* for people: without userinfo and query, either of which may hold a secret */
    char *user_password; /* of the userinfo, unescaped: "user:password"; NULL */
};

/*
 * Takes TEXT apart. With PLACE_FOR_ID the url gets "/{id}" appended when it has no "{id}"; without, "{id}" is refused.
 * -ENOMEM; -EINVAL with *ret_why: what is wrong and what to do, without the text itself.
 */
int http_url_parse(const char *text, bool place_for_id, struct http_url *ret, const char **ret_why);
void http_url_clear(struct http_url *u); /* frees the members; secrets are wiped */

/* The url of ID: "{id}" replaced by ID, escaped as one path segment. free() it; NULL: no memory. */
char *http_url_of(const struct http_url *u, const char *id);

/* The url up to "{id}", when that is a folder and nothing follows: what is listed unless list_url says another. *ret is
 * freed with free(). -ENOTSUP: it is none; -ENOMEM. */
int http_url_folder(const struct http_url *u, char **ret);

/* Do both lead to the same scheme, host and port (as spelt)? What was given for the one may be sent to the other. */
bool http_url_same_server(const struct http_url *a, const struct http_url *b);

#endif
