/* SPDX-License-Identifier: Apache-2.0 */
/* What a link of an index page names. Pure; any thread. */
#ifndef GCFS_LISTING_HREF_H
#define GCFS_LISTING_HREF_H

/*
 * What HREF, as it stands in the page, names when that is one thing in the page's own folder: an id, in HREF's own bytes, which it changes. A
 * link relative to the page, or a whole path or url that lies in one of FOLDERS (see struct listing). NULL: something else.
 */
const char *listing_href_id(char *href, char *const *folders);

#endif
