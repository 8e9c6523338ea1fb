/* SPDX-License-Identifier: Apache-2.0 */
/* Rows and files that do not agree: at the start, and after the disk refused something. Both block on the disk, and end early when the engine stops. */
#ifndef GCFS_ENGINE_AGREE_H
#define GCFS_ENGINE_AGREE_H

struct engine;

void agree_retired(struct engine *e); /* retired rows; before anything can be published where their files may still lie */
void agree_all(struct engine *e);     /* all others, files that no row has, and Glance's queue. On the adopt thread */
/* Each second, on the rows thread: what the disk did not let go when it went is tried once more. */
void agree_tick(struct engine *e);

#endif
