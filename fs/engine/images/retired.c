/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A retired row is what its file is counted by: it goes after the file. Where that could not be moved to .retired/ it lies under its name
 * still, and is told by its tag.
 */
#include "config-auto.h"

#include <errno.h>
#include <unistd.h>

#include "engine/images/images.h"
#include "engine/images/load.h"
#include "engine/images/retired.h"

int retired_check_place(struct engine *e, enum store_place place, const struct image_row *row)
{
    int fd, r = store_open_image(e->store, place, row->name, &fd);
    if (r < 0)
        return r;
    r = image_check_file(fd, row);
    close(fd);
    return r;
}

static bool is_in_place(struct engine *e, int64_t row)
{
    int fd;
    bool is = store_open_retired(e->store, row, &fd) == 0;
    if (is)
        close(fd);
    return is;
}

/*
 * Retired in the catalogue, but its file did not move away. Not when the file is another version's: one that is complete, or that was
 * published but not committed (a partial row without a partial file).
 */
bool retired_is_left_behind(struct engine *e, const struct image_row *row)
{
    struct image_row live;
    struct store_file file;
    if (is_in_place(e, row->row) || retired_check_place(e, STORE_COMPLETE, row) < 0)
        return false;
    if (catalogue_find(e->catalogue, row->name, &live) < 0)
        return true;
    return live.state == IMAGE_KNOWN ||
           (live.state == IMAGE_PARTIAL && store_stat(e->store, STORE_PARTIAL, row->name, &file) == 0);
}

void retired_reap(struct engine *e, int64_t row)
{
    struct image_row r;
    int error = ledger_handles(e->ledger, row) > 0 ? -EBUSY : catalogue_get(e->catalogue, row, &r);
    if (error == -ENOENT) /* forgotten already, maybe before its file came here; a row's number is never given again */
        store_remove_retired(e->store, row);
    if (error < 0 || r.state != IMAGE_RETIRED)
        return;
    if (image_is_loaded(e, row)) /* somebody reads it just now: its last reference has it come here again */
        return;
    if (store_remove_retired(e->store, row) == 0 && !retired_is_left_behind(e, &r))
        catalogue_forget(e->catalogue, row);
}

void retired_reap_unused(struct engine *e)
{
    int64_t row;
    while (images_take_unused(e, &row))
        retired_reap(e, row);
}
