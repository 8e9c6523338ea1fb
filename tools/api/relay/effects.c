/* SPDX-License-Identifier: Apache-2.0 */
/* Which calls change an image, by method and path; those of /v2 and of each /v2.N. */
#include "config-auto.h"

#include "api/relay/effects.h"

#include <errno.h>
#include <string.h>

#include "api/access/auth.h"
#include "api/access/documents.h"
#include "api/cache/mount.h"
#include "base/log.h"
#include "image/id.h"

/* REST: behind /v2/images/ID/; "*" stands for any one segment. */
static const struct effect {
    const char *method, *rest, *action;
    bool evicts;
} EFFECTS[] = {
    {"PATCH", "", "update", false},
    {"DELETE", "", "remove", true},
    {"PUT", "file", "upload", true},
    {"PUT", "stage", "stage", false},
    {"POST", "import", "import", false},
    {"POST", "actions/deactivate", "deactivate", true},
    {"POST", "actions/reactivate", "reactivate", false},
    {"POST", "members", "share", false},
    {"PUT", "members/*", "share", false},
    {"DELETE", "members/*", "unshare", false},
    {"PUT", "tags/*", "tag", false},
    {"DELETE", "tags/*", "untag", false},
    {"POST", "locations", "locate", false},
};

static bool fits(const struct request *r, const char *rest)
{
    unsigned i = 3;
    for (const char *c = rest; *c != '\0'; i++) {
        size_t n = strcspn(c, "/");
        if (i >= r->segment_count || (*c != '*' && (strlen(r->segments[i]) != n || strncmp(c, r->segments[i], n) != 0)))
            return false;
        c += n + (c[n] == '/');
    }
    return i == r->segment_count;
}

static bool is_version_2(const char *segment)
{
    return strncmp(segment, "v2", 2) == 0 && (segment[2] == '\0' || segment[2] == '.');
}

static const struct effect *find(const struct request *r)
{
    if (r->wrong != NULL || r->segment_count < 3 || !is_version_2(r->segments[0]) || strcmp(r->segments[1], "images") != 0)
        return NULL;
    for (size_t i = 0; i < sizeof(EFFECTS) / sizeof(EFFECTS[0]); i++) {
        if (request_is(r, EFFECTS[i].method) && fits(r, EFFECTS[i].rest))
            return &EFFECTS[i];
    }
    return NULL;
}

void effects_name(struct request *r)
{
    const struct effect *e = find(r);
    if (e != NULL) {
        r->action = e->action;
        r->id = r->segments[2];
    } else if (request_is(r, "POST") && r->segment_count == 2 && is_version_2(r->segments[0]) && strcmp(r->segments[1], "images") == 0) {
        r->action = "create";
    }
}

bool effects_is_upload(const struct request *r)
{
    const struct effect *e = find(r);
    return e != NULL && strcmp(e->action, "upload") == 0;
}

static void evict(const struct request *r, enum mount_folder folder)
{
    int error = mount_remove(r->api->mount, folder, r->id);
    if (error < 0 && error != -ENOENT)
        log_warning("cannot evict image %s after its change at Glance (%s): %s; what the cache has of it is of before, evict it by hand", r->id,
                    r->action, error_text(error));
    else if (error == 0)
        log_info("evicted %s: %s at Glance", r->id, r->action);
}

void effects_apply(struct request *r)
{
    const struct effect *e = find(r);
    if (!request_is(r, "GET") && !request_is(r, "HEAD") && !request_is(r, "OPTIONS"))
        documents_forget(r->api->documents, e != NULL ? r->id : NULL);
    if (e == NULL || !image_id_valid(r->id))
        return;
    auth_forget_image(r->api->auth, r->id);
    if (!e->evicts)
        return;
    evict(r, FOLDER_QUEUED);
    evict(r, FOLDER_INCOMPLETE);
    evict(r, FOLDER_CACHED);
}
