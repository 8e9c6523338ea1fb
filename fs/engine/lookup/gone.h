/* SPDX-License-Identifier: Apache-2.0 */
/* Images that the backend does not have any more. */
#ifndef GCFS_ENGINE_LOOKUP_GONE_H
#define GCFS_ENGINE_LOOKUP_GONE_H

#include "engine/images/shared.h"

int gone_new(struct gone **ret); /* -ENOMEM */
void gone_free(struct gone *g);  /* NULL is fine */

void gone_after_listing(struct engine *e); /* any thread: one ended */
void gone_tick(struct engine *e);          /* on the rows thread */

#endif
