/* SPDX-License-Identifier: Apache-2.0 */
/* One question a peer, each on a thread of its own: one that is down must not hold up those behind it. */
#include "config-auto.h"

#include "api/calls/nodes.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/access/service.h"
#include "image/id.h"

struct nodes {
    const struct config_api *config;
    struct service **peers; /* as many as config->peer_count */
};

struct nodes *nodes_new(const struct config_api *config)
{
    struct nodes *n = calloc(1, sizeof(*n));
    if (n == NULL)
        return NULL;
    n->config = config;
    n->peers = calloc(config->peer_count + 1, sizeof(*n->peers));
    for (size_t i = 0; n->peers != NULL && i < config->peer_count; i++) {
        n->peers[i] = service_new("the cache", config->peers[i], config->auth_ca_file);
        if (n->peers[i] == NULL)
            break;
    }
    if (n->peers == NULL || (config->peer_count > 0 && n->peers[config->peer_count - 1] == NULL)) {
        nodes_free(n);
        return NULL;
    }
    return n;
}

void nodes_free(struct nodes *n)
{
    if (n == NULL)
        return;
    for (size_t i = 0; n->peers != NULL && i < n->config->peer_count; i++)
        service_free(n->peers[i]);
    free(n->peers);
    free(n);
}

struct question {
    struct service *peer;
    const struct service_question *text;
    pthread_t thread;
    bool started, has_it;
};

static void *ask(void *context)
{
    struct question *q = context;
    struct service_answer a;
    if (service_ask(q->peer, q->text, &a) < 0)
        return NULL;
    json_t *document = a.status == 200 ? json_loads(a.body, 0, NULL) : NULL;
    const char *state = json_string_value(json_object_get(document, "state"));
    q->has_it = state != NULL && strcmp(state, "cached") == 0;
    json_decref(document);
    free(a.body);
    return NULL;
}

void nodes_ask(struct nodes *n, const struct request *r, const char *id, json_t *urls)
{
    size_t count = n->config->peer_count;
    char encoded[3 * IMAGE_ID_MAX + 1], path[sizeof(encoded) + 16];
    struct question *all = calloc(count + 1, sizeof(*all));
    if (all == NULL || !image_id_valid(id)) {
        free(all);
        return;
    }
    text_encode(id, encoded);
    snprintf(path, sizeof(path), "/v2/cache/%s", encoded);
    struct service_question text = {
        .path = path, .token = r->who.token, .service_token = r->who.service, .request_id = r->request_id, .hurried = true};
    for (size_t i = 0; i < count; i++) {
        all[i] = (struct question){.peer = n->peers[i], .text = &text};
        all[i].started = pthread_create(&all[i].thread, NULL, ask, &all[i]) == 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (all[i].started)
            pthread_join(all[i].thread, NULL);
        if (all[i].has_it)
            json_array_append_new(urls, json_string(n->config->peers[i]));
    }
    free(all);
}
