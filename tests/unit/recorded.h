/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of what services answer: bodies recorded from real ones, in the folder recorded/. Included once by each program. */
#ifndef TEST_RECORDED_H
#define TEST_RECORDED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* free() it. */
static char *recorded(const char *name)
{
    char file_name[4096], *text = NULL;
    size_t size = 0;
    const char *srcdir = getenv("srcdir"); /* of this folder, as automake gives it */
    snprintf(file_name, sizeof file_name, "%s/recorded/%s", srcdir != NULL ? srcdir : ".", name);
    FILE *file = fopen(file_name, "re");
    if (file == NULL || getdelim(&text, &size, '\0', file) < 0)
        fail_msg("cannot read %s", file_name);
    fclose(file);
    return text;
}

#endif
