/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings: the calls that every parser shares, and the choice between the two that a plain web server needs.
 *
 * struct web is a parser that first waits for a byte that is not blank, then makes the parser that reads the rest.
 * No lock: a parser belongs to one thread.
 */
#include "config-auto.h"

#include "backends/listing/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/listing/sums.h"

int listing_feed(struct listing *l, const void *data, size_t length)
{
    return length > 0 ? l->feed(l, data, length) : 0;
}

int listing_end(struct listing *l, const char **ret_marker)
{
    return l->end(l, ret_marker);
}

void listing_free(struct listing *l)
{
    if (l)
        l->free(l);
}

struct web {
    struct listing base;
    bool json;
    char *const *not_images;
    struct listing *inner; /* NULL: nothing but blanks came yet */
};

static int web_image(void *context, const struct listed_image *image)
{
    struct web *w = context;
    return sums_named(w->not_images, image->name) ? 0 : w->base.fn(w->base.context, image);
}

static int web_feed(struct listing *l, const void *data, size_t length)
{
    struct web *w = (struct web *) l;
    if (!w->inner) {
        const char *text = data;
        size_t blanks = 0;
        while (blanks < length && strchr(" \t\r\n", text[blanks]) && text[blanks])
            blanks++;
        if (blanks == length)
            return 0;
        int r = w->json || text[blanks] == '[' ? listing_new_autoindex(web_image, w, &w->inner)
                                               : listing_new_page(web_image, w, &w->inner);
        if (r < 0)
            return r;
        w->inner->folders = w->base.folders;
    }
    return listing_feed(w->inner, data, length);
}

static int web_end(struct listing *l, const char **ret_marker)
{
    struct web *w = (struct web *) l;
    return w->inner ? listing_end(w->inner, ret_marker) : -EPROTO;
}

static void web_free(struct listing *l)
{
    struct web *w = (struct web *) l;
    listing_free(w->inner);
    free(w);
}

int listing_new_web(bool json, char *const *not_images, listing_fn *fn, void *context, struct listing **ret)
{
    struct web *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->base = (struct listing){ web_feed, web_end, web_free, fn, context, NULL };
    w->json = json;
    w->not_images = not_images;
    *ret = &w->base;
    return 0;
}
