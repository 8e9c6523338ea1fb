/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets from files. No state, no lock. What is read is wiped from every buffer it was in. */
#include "config-auto.h"

#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

enum { SECRET_MAX_LENGTH = 65536 }; /* bytes; tokens of some services are several KiB */

void secret_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

const char *secret_error(int error)
{
    if (error == -ENODATA)
        return "is empty; it must hold one line";
    if (error == -EINVAL)
        return "must be a regular file that holds one line of text";
    return strerror(-error);
}

/* Reads all of FD, at most SIZE bytes. */
static ssize_t read_all(int fd, char *to, size_t size)
{
    size_t length = 0;
    while (length < size) {
        ssize_t n = read(fd, to + length, size - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        length += (size_t) n;
    }
    return (ssize_t) length;
}

/* Is it one line, and which? */
static int one_line(const char *text, size_t length, char **ret)
{
    if (length > 0 && text[length - 1] == '\n')
        length--;
    if (length > 0 && text[length - 1] == '\r')
        length--;
    if (length == 0)
        return -ENODATA;
    if (length >= SECRET_MAX_LENGTH)
        return -EINVAL;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char) text[i];
        if (c < 0x20 || c == 0x7f)
            return -EINVAL;
    }
    char *line = strndup(text, length);
    if (!line)
        return -ENOMEM;
    *ret = line;
    return 0;
}

static int read_open(int fd, const char *path, char **ret)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    char *buffer = malloc(SECRET_MAX_LENGTH);
    if (!buffer)
        return -ENOMEM;
    ssize_t length = read_all(fd, buffer, SECRET_MAX_LENGTH);
    int r = length < 0 ? (int) length : one_line(buffer, (size_t) length, ret);
    explicit_bzero(buffer, SECRET_MAX_LENGTH);
    free(buffer);
    if (r == 0 && (st.st_mode & S_IROTH))
        log_warning("%s holds a secret and everyone on this machine may read it: chmod o-rwx it", path);
    return r;
}

int secret_read(const char *path, char **ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a pipe without a writer must not hang us */
    if (fd < 0)
        return -errno;
    int r = read_open(fd, path, ret);
    close(fd);
    return r;
}
