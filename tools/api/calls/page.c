/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the status page, compiled in. No state. */
#include "config-auto.h"

#include "api/calls/page.h"

#include <stdio.h>
#include <string.h>

#include "api/http/api.h"

enum MHD_Result page_file(struct request *r)
{
    const char *name = r->segment_count == 2 ? r->segments[1] : r->segment_count == 1 ? "icon.svg" : "index.html";
    char etag[40];
    for (const struct page_entry *p = PAGE_FILES; p->name != NULL; p++) {
        if (strcmp(p->name, name) != 0)
            continue;
        snprintf(etag, sizeof(etag), "\"" PACKAGE_VERSION "-%zx\"", p->length);
        return reply_static(r, p->type, p->bytes, p->length, etag);
    }
    return reply_error(r, 404, "there is nothing at this path");
}
