/* SPDX-License-Identifier: Apache-2.0 */
/* An open file of the store: closed with its last user, whatever becomes of its name meanwhile. Any thread; no lock. */
#ifndef GCFS_STORE_FILE_H
#define GCFS_STORE_FILE_H

#include <stdatomic.h>

struct image_file {
    int fd;
    atomic_uint refs;
};

struct image_file *image_file_new(int fd); /* takes FD; on no memory closes it and returns NULL */
struct image_file *image_file_ref(struct image_file *file);
void image_file_put(struct image_file *file); /* NULL is fine; the last one closes it */
int image_file_fd(const struct image_file *file);

#endif
