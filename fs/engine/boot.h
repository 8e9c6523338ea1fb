/* SPDX-License-Identifier: Apache-2.0 */
/* Images that are opened are recorded and replayed; see bootset/boots.h. */
#ifndef GCFS_ENGINE_BOOT_H
#define GCFS_ENGINE_BOOT_H

#include "engine/images/image.h"

void boot_record(struct image *image); /* somebody opened it: who begins to read what is not here may be booting. Blocks on the disk */

#endif
