/* SPDX-License-Identifier: Apache-2.0 */
/* Boot sets of another node: who is asked for an image and has learned how it boots says so, and hands that on. */
#ifndef GCFS_ENGINE_LOOKUP_TAUGHT_H
#define GCFS_ENGINE_LOOKUP_TAUGHT_H

#include "engine/images/shared.h"

#define TAUGHT_HEADER "X-Glance-Cache-Bootset" /* there is one */
#define TAUGHT_WANT "X-Glance-Cache-Want"      /* "bootset": this instead of bytes */
#define TAUGHT_TYPE "text/x-glance-cache-bootset"

/* ENDPOINT has a boot set of NAME: it is asked for, unless there is one here. On the rows thread. */
void taught_ask(struct engine *e, const char *name, unsigned endpoint);

#endif
