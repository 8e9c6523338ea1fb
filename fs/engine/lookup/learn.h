/* SPDX-License-Identifier: Apache-2.0 */
/* What a look-up brought, into the catalogue. On the rows thread; blocks on the disk. */
#ifndef GCFS_ENGINE_LOOKUP_LEARN_H
#define GCFS_ENGINE_LOOKUP_LEARN_H

#include "engine/private.h"

int learn_found(struct lookup *l); /* the backend has it, as l->meta says; l->body may become a probe. 0, or what the catalogue said */
void learn_gone(struct lookup *l); /* the backend does not have it: a row without bytes goes */

#endif
