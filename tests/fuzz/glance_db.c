/* SPDX-License-Identifier: Apache-2.0 */
/* Glance's index of a cache that is taken over: a damaged file is an error or gives rows that make sense, and is not written. */
#include "config-auto.h"

#include "fuzz.h"

#include <fcntl.h>
#include <limits.h>

#include "base/log.h"
#include "catalogue/catalogue.h"

static char path[PATH_MAX];

static void clean_up(void)
{
    unlink(path);
}

static void write_file(const uint8_t *data, size_t size)
{
    if (!*path) { /* SQLite asks for a name of its own: a memfd has none */
        const char *tmp = getenv("TMPDIR");
        snprintf(path, sizeof(path), "%s/gcfs-fuzz-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        int fd = mkstemp(path);
        assert(fd >= 0);
        close(fd);
        atexit(clean_up);
        log_set_level(LOG_EMERG);
    }
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert(fd >= 0 && write(fd, data, size) == (ssize_t) size);
    close(fd);
}

static void find(struct glance_index *g, const char *name)
{
    struct glance_row row;
    if (glance_index_find(g, name, &row) != 0)
        return;
    assert(row.size <= INT64_MAX && row.hits <= INT64_MAX && row.last_accessed >= 0 && row.last_modified >= 0);
    assert(row.checksum.algorithm == DIGEST_NONE || strlen(row.checksum.hex) == digest_hex_length(DIGEST_MD5));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct glance_index *g = NULL;
    write_file(data, size);
    int r = glance_index_open(path, &g);
    assert((r == 0) == (g != NULL) && r <= 0);
    if (g) {
        find(g, "a");
        find(g, "b");
        find(g, "image-1");
        glance_index_close(g);
    }
    return 0;
}
