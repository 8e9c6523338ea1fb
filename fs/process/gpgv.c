/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpgv(1), run. It reads what is verified, and writes what was signed, by files in memory, which are its descriptors 0, 1, 2 and 3: there is no
 * folder that both could write in. No state, no lock.
 */
#include "config-auto.h"

#include "process/gpgv.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXT, OUTPUT, MESSAGES, SIGNATURE, FILES };

static void close_all(int fds[FILES])
{
    for (int i = 0; i < FILES; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

/* Above the numbers that they get in gpgv, so that none is put in the place of another. */
static int make_file(const void *bytes, size_t length)
{
    int low = memfd_create("gpgv", MFD_CLOEXEC), fd = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, FILES);
    int r = fd < 0 ? -errno : 0;
    if (low >= 0)
        close(low);
    if (r == 0 && length > 0 && pwrite(fd, bytes, length, 0) != (ssize_t) length)
        r = -ENOSPC;
    if (r < 0 && fd >= 0)
        close(fd);
    return r < 0 ? r : fd;
}

static int read_all(int fd, char **ret, size_t *ret_length)
{
    off_t length = lseek(fd, 0, SEEK_END);
    char *text = length >= 0 ? malloc((size_t) length + 1) : NULL;
    if (!text)
        return -ENOMEM;
    ssize_t n = pread(fd, text, (size_t) length, 0);
    if (n != length) {
        free(text);
        return -EIO;
    }
    text[length] = '\0';
    *ret = text;
    *ret_length = (size_t) length;
    return 0;
}

/* gpgv's exit status, or a negative errno. */
static int run(const char *keyring, int fds[FILES], bool detached)
{
    const char *clear[] = { "gpgv", "--keyring", keyring, "--output", "-", "--", "/dev/fd/0", NULL };
    const char *apart[] = { "gpgv", "--keyring", keyring, "--", "/dev/fd/3", "/dev/fd/0", NULL };
    static const char *const environment[] = { "PATH=/usr/bin:/bin:/usr/local/bin", "LC_ALL=C", "GNUPGHOME=/nonexistent", NULL };
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status, r = posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < (detached ? FILES : SIGNATURE) && r == 0; i++)
        r = posix_spawn_file_actions_adddup2(&actions, fds[i], i);
    if (r == 0)
        r = posix_spawnp(&pid, "gpgv", &actions, NULL, (char *const *) (uintptr_t) (detached ? apart : clear), (char *const *) (uintptr_t) environment);
    posix_spawn_file_actions_destroy(&actions);
    if (r != 0)
        return -r;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* The last line of what it said, without its name. */
static void say(int fd, char why[GPGV_WHY_MAX])
{
    char *text = NULL;
    size_t length = 0;
    snprintf(why, GPGV_WHY_MAX, "gpgv does not say why");
    if (read_all(fd, &text, &length) < 0)
        return;
    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
    const char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    if (strncmp(line, "gpgv: ", 6) == 0)
        line += 6;
    if (*line)
        snprintf(why, GPGV_WHY_MAX, "%s", line);
    free(text);
    for (char *c = why; *c; c++) {
        if (*c < ' ' || *c > '~')
            *c = '?';
    }
}

static int result(const void *text, size_t length, bool detached, int fds[FILES], char **ret_text, size_t *ret_length)
{
    if (!detached)
        return read_all(fds[OUTPUT], ret_text, ret_length);
    char *copy = malloc(length + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, text, length);
    copy[length] = '\0';
    *ret_text = copy;
    *ret_length = length;
    return 0;
}

int gpgv_verify(const char *keyring, const void *text, size_t length, const void *signature, size_t signature_length, char **ret_text,
                size_t *ret_length, char why[GPGV_WHY_MAX])
{
    const bool detached = signature;
    int fds[FILES] = { make_file(text, length), make_file("", 0), make_file("", 0), detached ? make_file(signature, signature_length) : -1 };
    int r = 0;
    for (int i = 0; i < (detached ? FILES : SIGNATURE) && r == 0; i++)
        r = fds[i] < 0 ? fds[i] : 0;
    if (r == 0)
        r = run(keyring, fds, detached);
    if (r > 0) {
        say(fds[MESSAGES], why);
        r = -EBADMSG;
    } else if (r == 0) {
        r = result(text, length, detached, fds, ret_text, ret_length);
    }
    close_all(fds);
    return r;
}
