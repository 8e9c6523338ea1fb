/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of /proc/self/mountinfo, see proc_pid_mountinfo(5). Pure. */
#ifndef GCFS_MOUNTINFO_H
#define GCFS_MOUNTINFO_H

#include <stdbool.h>

struct mountinfo {
    char *point, *source;       /* the path; for our mounts the configuration's */
    char type[64], device[32];  /* device: MAJOR:MINOR */
    bool whole;                 /* its root is the file system's: no bind mount of a part */
    long long owner;            /* of a FUSE mount: the id of the user that mounted it, who answers what is asked there; -1: not known */
};

/* False: LINE is not one of mountinfo, or there is no memory; RET is empty then. Else mountinfo_clear() it. */
bool mountinfo_parse(const char *line, struct mountinfo *ret);
void mountinfo_clear(struct mountinfo *m);
bool mountinfo_is_ours(const struct mountinfo *m); /* a mount of glance-cache-fs */

#endif
