/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom the worker becomes when root started us, and how it loses everything else.
 */
#ifndef GCFS_PRIVILEGES_H
#define GCFS_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include "config/config.h"

struct service_user {
    uid_t uid;
    gid_t gid;
    char name[64]; /* for messages */
};

/*
 * `user` and `group` of CONFIG, by name or number; without them glance if there is such a user, else nobody. Not
 * started by root: the user we are. -EINVAL with MESSAGE.
 */
int service_user_find(const struct config *config, struct service_user *ret, char message[CONFIG_MESSAGE_MAX]);
/* The group that the files of the mount belong to: view_group, or the one of this process. -EINVAL: there is none of that name. */
int view_group_find(const struct config *config, gid_t *ret, char message[CONFIG_MESSAGE_MAX]);

/*
 * Becomes USER when root, gives up all capabilities and the way back (no_new_privs), switches core dumps off, and has
 * the kernel kill us when the process that started us dies. Before any thread starts. The reason of a failure is
 * logged.
 */
int privileges_drop(const struct service_user *user);

/*
 * Makes DIR, the folders in it, and the regular files in those the user's, as far as they are not; nothing else is
 * followed or touched. By root only, else nothing happens. The reason of a failure is logged.
 */
int cache_directory_give(const char *dir, const struct service_user *user);

#endif
