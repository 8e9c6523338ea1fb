/* SPDX-License-Identifier: Apache-2.0 */
/* Who may move the file of a name. */
#ifndef GCFS_ENGINE_EVICT_CLAIM_H
#define GCFS_ENGINE_EVICT_CLAIM_H

#include <sys/queue.h>

struct names;
int names_new(struct names **ret); /* -ENOMEM */
void names_free(struct names *n);  /* NULL is fine */

/* A name whose file is being moved. */
struct name_claim {
    TAILQ_ENTRY(name_claim) link;
    const char *name; /* stays until the end */
};

void claim_name(struct names *n, struct name_claim *claim, const char *name); /* waits for another who has it */
void claim_end(struct names *n, struct name_claim *claim);

#endif
