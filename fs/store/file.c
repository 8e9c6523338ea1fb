/* SPDX-License-Identifier: Apache-2.0 */
/* An open file of the store, with its references. */
#include "config-auto.h"

#include <stdlib.h>
#include <unistd.h>

#include "store/file.h"

struct image_file *image_file_new(int fd)
{
    struct image_file *file = malloc(sizeof(*file));
    if (file == NULL) {
        close(fd);
        return NULL;
    }
    file->fd = fd;
    atomic_init(&file->refs, 1);
    return file;
}

struct image_file *image_file_ref(struct image_file *file)
{
    atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
    return file;
}

void image_file_put(struct image_file *file)
{
    if (file != NULL && atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) == 1) {
        close(file->fd);
        free(file);
    }
}

int image_file_fd(const struct image_file *file)
{
    return file->fd;
}
