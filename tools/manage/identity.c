/* SPDX-License-Identifier: Apache-2.0 */
/* A token for a user's name and password, from Keystone's v3 API. */
#include "config-auto.h"

#include <stdlib.h>
#include <string.h>

#include "manage/manage.h"

bool identity_can(const struct options *o)
{
    bool noauth = o->strategy != NULL && strcmp(o->strategy, "noauth") == 0;
    return !noauth && o->auth_url != NULL && o->username != NULL && o->password != NULL;
}

static const char *or(const char *a, const char *b)
{
    return a != NULL ? a : b;
}

static json_t *scope(const struct options *o)
{
    if (o->project_id != NULL)
        return json_pack("{s:{s:s}}", "project", "id", o->project_id);
    if (o->project_name == NULL)
        return NULL;
    return json_pack("{s:{s:s, s:{s:s}}}", "project", "name", o->project_name, "domain", "id", or(o->project_domain_id, o->domain_id));
}

static char *request_body(const struct options *o)
{
    json_t *auth = json_pack("{s:{s:[s], s:{s:{s:s, s:{s:s}, s:s}}}}", "identity", "methods", "password", "password", "user", "name",
                             o->username, "domain", "id", or(o->user_domain_id, o->domain_id), "password", o->password);
    json_t *where = scope(o);
    if (auth != NULL && where != NULL)
        json_object_set(auth, "scope", where);
    json_decref(where);
    json_t *document = json_pack("{s:o}", "auth", auth);
    char *text = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;
    json_decref(document);
    return text;
}

bool identity_get(struct options *o, char *why, size_t size)
{
    struct answer answer;
    char *subject = NULL, *body = request_body(o), *base = strdup(o->auth_url);
    bool got = false;
    if (body != NULL && base != NULL) {
        size_t length = strlen(base);
        while (length > 0 && base[length - 1] == '/')
            base[--length] = '\0';
        bool v3 = strstr(base, "/v3") != NULL;
        client_ask(o, "POST", base, v3 ? "/auth/tokens" : "/v3/auth/tokens", NULL, body, &answer, &subject);
        got = answer.ok && subject != NULL;
        if (!got)
            snprintf(why, size, "no token from %s: %s", base, answer.ok ? "none in the answer" : answer.message);
        answer_clear(&answer);
        explicit_bzero(body, strlen(body));
    } else {
        snprintf(why, size, "out of memory");
    }
    free(body);
    free(base);
    if (got) {
        free(o->own_token);
        o->own_token = subject;
    } else {
        free(subject);
    }
    return got;
}
