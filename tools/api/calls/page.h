/* SPDX-License-Identifier: Apache-2.0 */
/* The files of page/, as page/embed writes them into page_files.c when the program is built. */
#ifndef GCFS_API_PAGE_H
#define GCFS_API_PAGE_H

#include <stddef.h>

struct page_entry {
    const char *name, *type;
    const unsigned char *bytes;
    size_t length;
};

extern const struct page_entry PAGE_FILES[]; /* ends with a NULL name */

#endif
