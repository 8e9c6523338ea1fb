/* SPDX-License-Identifier: Apache-2.0 */
/* Answers given as the text of their heads, read by the transfer room's own code. */
#ifndef GCFS_TESTS_ANSWER_H
#define GCFS_TESTS_ANSWER_H

#include <stdlib.h>
#include <string.h>

#include "transfer/private.h"

static struct transfer answering;

/* The head of the answer TEXT: "206", then its headers, a line each. Valid until the next call. */
static const struct transfer_head *answer(const char *text)
{
    transfer_headers_reset(&answering.headers);
    answering.head = (struct transfer_head){ .status = atoi(text), .transfer = &answering };
    for (const char *line = strchr(text, '\n'); line; line = strchr(line, '\n')) {
        line++;
        transfer_headers_add(&answering.headers, line, strcspn(line, "\n"));
    }
    transfer_head_fill(&answering.head, &answering.headers);
    return &answering.head;
}

#endif
