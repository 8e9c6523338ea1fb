/* SPDX-License-Identifier: Apache-2.0 */
/* Calls about boot sets. No state. */
#include "config-auto.h"

#include <errno.h>

#include "api/cache/mount.h"
#include "api/http/api.h"

/* GET /v2/cache/ID/bootset: its text, as in the mount. */
enum MHD_Result bootset_show(struct request *r)
{
    char *text;
    size_t length;
    int error = mount_bootset(r->api->mount, r->id, &text, &length);
    if (error == -ENOENT)
        return reply_error(r, 404, "Image %s has no boot set.", r->id);
    return error < 0 ? reply_errno(r, error, "read the boot set of image") : reply_text(r, 200, "text/x-glance-cache-bootset", text, length);
}

/* DELETE /v2/cache/ID/bootset */
enum MHD_Result bootset_forget(struct request *r)
{
    int error = mount_remove(r->api->mount, FOLDER_BOOTSETS, r->id);
    if (error == -ENOENT)
        return reply_error(r, 404, "Image %s has no boot set.", r->id);
    return error < 0 ? reply_errno(r, error, "forget the boot set of image") : reply_empty(r, 204);
}
