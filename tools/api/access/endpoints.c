/* SPDX-License-Identifier: Apache-2.0 */
/* The list of urls, and which of them is tried first. */
#include "config-auto.h"

#include "api/access/endpoints.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct endpoints {
    pthread_mutex_t lock;
    bool learns;
    char urls[ENDPOINTS_MAX][ENDPOINT_SIZE]; /* protected by lock, as all below */
    unsigned count, first;
};

static bool add(char urls[ENDPOINTS_MAX][ENDPOINT_SIZE], unsigned *count, const char *url)
{
    size_t length = strlen(url);
    while (length > 0 && url[length - 1] == '/')
        length--;
    if (length >= 3 && strncmp(url + length - 3, "/v2", 3) == 0)
        length -= 3;
    while (length > 0 && url[length - 1] == '/')
        length--;
    if (*count == ENDPOINTS_MAX || length >= ENDPOINT_SIZE || strstr(url, "://") == NULL)
        return false;
    memcpy(urls[*count], url, length);
    urls[(*count)++][length] = '\0';
    return true;
}

struct endpoints *endpoints_new(char *const *urls, size_t count)
{
    struct endpoints *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return NULL;
    pthread_mutex_init(&e->lock, NULL);
    e->learns = count == 1 && strcmp(urls[0], "catalog") == 0;
    for (size_t i = 0; !e->learns && i < count; i++)
        add(e->urls, &e->count, urls[i]);
    return e;
}

void endpoints_free(struct endpoints *e)
{
    if (e != NULL)
        pthread_mutex_destroy(&e->lock);
    free(e);
}

bool endpoints_known(struct endpoints *e)
{
    pthread_mutex_lock(&e->lock);
    bool known = e->count > 0;
    pthread_mutex_unlock(&e->lock);
    return known;
}

static bool is_wanted(const json_t *endpoint, const char *region, const char *interface)
{
    const char *of = json_string_value(json_object_get(endpoint, "interface"));
    const char *in = json_string_value(json_object_get(endpoint, "region_id"));
    if (in == NULL)
        in = json_string_value(json_object_get(endpoint, "region"));
    return of != NULL && strcmp(of, interface) == 0 && (region == NULL || (in != NULL && strcmp(in, region) == 0));
}

void endpoints_learn(struct endpoints *e, const json_t *catalogue, const char *region, const char *interface)
{
    char urls[ENDPOINTS_MAX][ENDPOINT_SIZE];
    unsigned count = 0;
    size_t i, k;
    const json_t *service, *endpoint;
    if (!e->learns)
        return;
    memset(urls, 0, sizeof(urls));
    json_array_foreach(catalogue, i, service) {
        const char *type = json_string_value(json_object_get(service, "type"));
        if (type == NULL || strcmp(type, "image") != 0)
            continue;
        json_array_foreach(json_object_get(service, "endpoints"), k, endpoint) {
            const char *url = json_string_value(json_object_get(endpoint, "url"));
            if (url != NULL && strncmp(url, "http", 4) == 0 && is_wanted(endpoint, region, interface))
                add(urls, &count, url);
        }
    }
    pthread_mutex_lock(&e->lock);
    bool changed = count > 0 && (count != e->count || memcmp(urls, e->urls, sizeof(urls)) != 0);
    if (changed) {
        memcpy(e->urls, urls, sizeof(urls));
        e->count = count;
        e->first = 0;
    }
    bool none = e->count == 0;
    pthread_mutex_unlock(&e->lock);
    if (changed)
        log_notice("Keystone's catalogue has Glance at %s%s", urls[0], count > 1 ? " and elsewhere" : "");
    else if (none)
        log_warning("Keystone's catalogue has no image service with the interface %s%s%s for this token: see upstream_interface and upstream_region", interface,
                    region != NULL ? " in region " : "", region != NULL ? region : "");
}

bool endpoints_get(struct endpoints *e, unsigned try, char ret[ENDPOINT_SIZE])
{
    pthread_mutex_lock(&e->lock);
    bool there = try < e->count;
    if (there)
        memcpy(ret, e->urls[(e->first + try) % e->count], ENDPOINT_SIZE);
    pthread_mutex_unlock(&e->lock);
    return there;
}

void endpoints_reached(struct endpoints *e, const char *url)
{
    pthread_mutex_lock(&e->lock);
    for (unsigned i = 0; i < e->count; i++) {
        if (strcmp(e->urls[i], url) == 0)
            e->first = i;
    }
    pthread_mutex_unlock(&e->lock);
}
