/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of the configuration: a file of one's own, and loading text from it. Included once by each program. */
#ifndef TEST_CONFIG_FILE_H
#define TEST_CONFIG_FILE_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"

#define CACHE "[DEFAULT]\nimage_cache_dir = /c\n"
#define FOLDER "[backend]\npath = /srv\n"
#define HTTP "[backend]\ntype = http\n"

static char dir[] = "/tmp/test_config.XXXXXX";
static char path[64];

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/f.conf", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void write_bytes(const char *data, size_t length)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static struct config *load(const char *text)
{
    struct config *config = NULL;
    char message[CONFIG_MESSAGE_MAX] = "";
    write_bytes(text, strlen(text));
    int r = config_load(path, &config, message);
    if (r != 0)
        fail_msg("%s", message);
    return config;
}

#endif
