/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends whose images are objects, each at an address of its own: what they do alike, given how a request for one object is made. The struct
 * backend of such a one begins with a struct objects; these functions stand in its table of operations as they are.
 */
#ifndef GCFS_BACKENDS_OBJECT_H
#define GCFS_BACKENDS_OBJECT_H

#include "backends/abilities.h"
#include "backends/backend.h"

/* Fills REQUEST for all of the object NAME. -ENOMEM. */
typedef int object_fn(struct backend *b, unsigned endpoint, const char *name, struct transfer_request *request);

struct objects {
    const struct config *config;
    struct abilities *abilities; /* what a server refuses; one an endpoint */
    object_fn *ask;
    object_fn *ask_about; /* the same, when it is described; NULL: as any */
};

int object_describe(struct backend *b, unsigned endpoint, const char *id, uint64_t probe, struct transfer_request *request);
int object_describe_again(struct backend *b, unsigned endpoint, const char *id, struct transfer_request *request); /* HEAD */
int object_bytes(struct backend *b, unsigned endpoint, const char *id, const struct image_meta *meta, uint64_t first, uint64_t last,
                 struct transfer_request *request);
int object_digests(struct backend *b, unsigned endpoint, unsigned n, struct transfer_request *request, const char **ret_name,
                   enum digest_algorithm *ret_algorithm);
bool object_otherwise(struct backend *b, unsigned endpoint, unsigned extras, const struct transfer_result *result, char *why);
const char *object_refuses(struct backend *b, unsigned endpoint, unsigned *n);

#endif
