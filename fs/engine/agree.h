/* SPDX-License-Identifier: Apache-2.0 */
/* At the start: rows and files that do not agree. Both block on the disk, and end early when the engine stops. */
#ifndef GCFS_ENGINE_AGREE_H
#define GCFS_ENGINE_AGREE_H

struct engine;

void agree_retired(struct engine *e); /* retired rows; before anything can be published where their files may still lie */
void agree_all(struct engine *e);     /* all others, files that no row has, and Glance's queue. On the adopt thread */

#endif
