/* SPDX-License-Identifier: Apache-2.0 */
/* What a statement met that does not go away by itself: kept, the first of it, and told once. No lock. */
#include "config-auto.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "catalogue/private.h"

void catalogue_watch(struct catalogue *c, int fd)
{
    atomic_store(&c->trouble_fd, fd);
}

int catalogue_trouble(struct catalogue *c)
{
    return atomic_load(&c->trouble);
}

/* What goes away by itself: another process holds it, memory is short, the disk is full for now. */
static bool passes(int error)
{
    return error == -EBUSY || error == -EINTR || error == -ENOMEM || error == -ENOSPC || error == -EMFILE || error == -ENFILE;
}

void cat_note_error(struct catalogue *c, int error)
{
    if (c && !passes(error)) /* NULL: Glance's index */
        cat_note_trouble(c, error);
}

void cat_note_trouble(struct catalogue *c, int error)
{
    int none = 0, fd = atomic_load(&c->trouble_fd);
    if (atomic_compare_exchange_strong(&c->trouble, &none, error) && fd >= 0)
        eventfd_write(fd, 1);
}

void catalogue_give_up(struct catalogue *c, int error)
{
    cat_note_trouble(c, error);
}
