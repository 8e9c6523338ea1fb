/* SPDX-License-Identifier: Apache-2.0 */
/* Servers that do not send parts of an image. On the fetch thread. */
#ifndef GCFS_ENGINE_FETCH_WHOLE_H
#define GCFS_ENGINE_FETCH_WHOLE_H

#include "engine/fetch/request.h"

/* Is HEAD maybe the answer of such a server? Then it is to be asked for all. Notes, too, that parts are sent. */
bool whole_is_suspected(struct range *range, const struct transfer_head *head);
void whole_proved(struct range *range);                    /* all of it came instead of a part, or where a part was refused */
bool whole_was_refused(struct image *image, int status);   /* it was answered STATUS: was it asked for all, and in vain as well? */

#endif
