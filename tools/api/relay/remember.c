/* SPDX-License-Identifier: Apache-2.0 */
/* The paths whose answers are kept, and an answer gathered as it passes. */
#include "config-auto.h"

#include "api/relay/remember.h"

#include <stdlib.h>
#include <string.h>

#include "api/access/auth.h"

static bool is(const struct request *r, unsigned i, const char *name)
{
    return r->segment_count > i && strcmp(r->segments[i], name) == 0;
}

static bool is_version_2(const struct request *r)
{
    return r->segment_count > 0 && strncmp(r->segments[0], "v2", 2) == 0 && (r->segments[0][2] == '\0' || r->segments[0][2] == '.');
}

/* The versions, which all may see. */
static bool is_public(const struct request *r)
{
    return r->segment_count == 0 || (r->segment_count == 1 && (is(r, 0, "versions") || is_version_2(r)));
}

/* False: it is not one that is kept. What clients ask before they boot an image; no tasks, no metadata definitions. */
static bool whose(const struct request *r, const char **ret_image)
{
    *ret_image = "";
    if (is_public(r))
        return true;
    if (!is_version_2(r) || r->folder)
        return false;
    if (is(r, 1, "schemas") || is(r, 1, "info"))
        return true;
    if (!is(r, 1, "images"))
        return false;
    *ret_image = r->segment_count >= 3 ? r->segments[2] : NULL;
    return r->segment_count <= 3 || (r->segment_count == 4 && (is(r, 3, "locations") || is(r, 3, "members"))) ||
           (r->segment_count == 5 && is(r, 3, "members"));
}

void remember_begin(struct memory *m, struct request *r)
{
    *m = (struct memory){.on = false};
    if (!documents_on(r->api->documents) || !request_is(r, "GET") || r->wrong != NULL || !whose(r, &m->image) ||
        request_header(r, "Content-Length") != NULL || request_header(r, "Transfer-Encoding") != NULL)
        return;
    if (!is_public(r) && !auth_identify(r))
        return; /* Glance says why not */
    m->on = verdict_key(is_public(r) ? "" : r->who.scope, r->uri, m->key);
    m->before = m->on && documents_has(r->api->documents, m->key);
    m->asked = documents_ask(r->api->documents);
}

bool remember_find(const struct memory *m, const struct request *r, enum document_age age, struct document *ret)
{
    return m->on && m->before && !(age == DOCUMENT_YOUNG && document_wanted_anew(r)) && documents_get(r->api->documents, m->key, age, ret);
}

void remember_head(struct memory *m, struct request *r, unsigned status, const char *type, bool encoded)
{
    if (m->on && status >= 400 && status < 500 && status != 429)
        documents_drop(r->api->documents, m->key);
    m->on = m->on && (status == 200 || status == 300) && !encoded && strlen(type) < sizeof(m->answer.type);
    if (!m->on)
        return;
    m->answer.status = status;
    strcpy(m->answer.type, type);
}

void remember_piece(struct memory *m, const char *bytes, size_t length)
{
    if (!m->on)
        return;
    m->on = length <= DOCUMENT_BYTES_MAX - m->answer.length;
    if (m->on && m->answer.length + length > m->room) {
        size_t room = 2 * (m->answer.length + length) + 4096;
        char *larger = realloc(m->answer.body, room);
        m->on = larger != NULL;
        m->answer.body = larger != NULL ? larger : m->answer.body;
        m->room = larger != NULL ? room : m->room;
    }
    if (!m->on)
        return;
    memcpy(m->answer.body + m->answer.length, bytes, length);
    m->answer.length += length;
}

void remember_whole(struct memory *m, struct request *r)
{
    if (m->on && m->answer.length > 0)
        documents_put(r->api->documents, m->key, m->image, m->asked, &m->answer);
    m->on = false;
}

void remember_end(struct memory *m)
{
    free(m->answer.body);
    *m = (struct memory){.on = false};
}
