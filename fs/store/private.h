/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share: its folders, and small steps in them. */
#ifndef GCFS_STORE_PRIVATE_H
#define GCFS_STORE_PRIVATE_H

#include <stdatomic.h>

#include "store/store.h"

#define CATALOGUE_NAME ".catalogue.db"

enum { PLACES = STORE_QUEUE + 1, ROW_NAME_SIZE = 24 };

struct store {
    char *dir; /* absolute */
    char *catalogue_path;
    int places[PLACES]; /* descriptors of directories; STORE_COMPLETE: the cache directory itself */
    int retired;
    bool keeps_tags; /* the file system has attributes of files */
    atomic_bool left; /* see store_left_files() */
};

/* All of them block on the disk. 0 or negative errno. DIR: a folder's descriptor; NAME: a file in it. */
int store_stat_at(int dir, const char *name, struct store_file *ret); /* -ENOENT; -EINVAL: no regular file */
int store_move_at(int from_dir, const char *from, int to_dir, const char *to); /* replaces what lies there; -ENOENT */
int store_remove_at(int dir, const char *name); /* 0, too, when there is none */

void store_row_name(int64_t row, char name[ROW_NAME_SIZE]); /* of its file in .retired/ */

#endif
