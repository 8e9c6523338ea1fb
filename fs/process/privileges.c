/* SPDX-License-Identifier: Apache-2.0 */
/* Users, capabilities, and who owns the cache directory. No state, no lock. */
#include "config-auto.h"

#include "process/privileges.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

/* ---- finding the user */

/* "123" → 123. False: not a number. */
static bool parse_number(const char *text, unsigned *ret)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || value >= UINT32_MAX)
        return false;
    *ret = (unsigned)value;
    return true;
}

static int refuse(const struct config *config, const char *option, const char *value, char *message)
{
    snprintf(message, CONFIG_MESSAGE_MAX, "%s: %s = %.80s: there is no such %s on this machine: make it, or name another",
             config_where(config, "DEFAULT", option), option, value, strcmp(option, "user") == 0 ? "user" : "group");
    return -EINVAL;
}

static const struct passwd *default_user(void)
{
    const struct passwd *p = getpwnam("glance");
    return p != NULL ? p : getpwnam("nobody");
}

static int find_user(const struct config *config, struct service_user *user, char *message)
{
    const struct passwd *p = config->user != NULL ? getpwnam(config->user) : default_user();
    unsigned number;
    if (p == NULL && config->user != NULL && parse_number(config->user, &number) && (p = getpwuid(number)) == NULL) {
        user->uid = number; /* a number need not be anybody's */
        user->gid = number;
        snprintf(user->name, sizeof(user->name), "%s", config->user);
        return 0;
    }
    if (p == NULL)
        return refuse(config, "user", config->user != NULL ? config->user : "nobody", message);
    user->uid = p->pw_uid;
    user->gid = p->pw_gid;
    snprintf(user->name, sizeof(user->name), "%s", p->pw_name);
    return 0;
}

/* NAME, the value of OPTION; NULL: *ret stays as it is. */
static int find_group(const struct config *config, const char *option, const char *name, gid_t *ret, char *message)
{
    unsigned number;
    if (name == NULL)
        return 0;
    const struct group *g = getgrnam(name);
    if (g == NULL && !parse_number(name, &number))
        return refuse(config, option, name, message);
    *ret = g != NULL ? g->gr_gid : number;
    return 0;
}

int view_group_find(const struct config *config, gid_t *ret, char message[CONFIG_MESSAGE_MAX])
{
    gid_t group = getegid();
    int r = find_group(config, "view_group", config->view_group, &group, message);
    if (r == 0)
        *ret = group;
    return r;
}

int service_user_find(const struct config *config, struct service_user *ret, char message[CONFIG_MESSAGE_MAX])
{
    struct service_user user = {.uid = geteuid(), .gid = getegid()};
    const struct passwd *me = geteuid() != 0 ? getpwuid(geteuid()) : NULL;
    snprintf(user.name, sizeof(user.name), "%s", me != NULL ? me->pw_name : "this user");
    if (geteuid() == 0) {
        int r = find_user(config, &user, message);
        if (r == 0)
            r = find_group(config, "group", config->group, &user.gid, message);
        if (r < 0)
            return r;
    }
    *ret = user;
    return 0;
}

/* ---- becoming it */

/* Also what a later execve(2) could give back. */
static void drop_bounding_set(void)
{
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
        prctl(PR_CAPBSET_DROP, capability);
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static int become(const struct service_user *user)
{
    drop_bounding_set();
    if (initgroups(user->name, user->gid) < 0 && setgroups(1, &user->gid) < 0)
        return -errno;
    if (setresgid(user->gid, user->gid, user->gid) < 0 || setresuid(user->uid, user->uid, user->uid) < 0)
        return -errno;
    return 0;
}

int privileges_drop(const struct service_user *user)
{
    static const struct rlimit no_core = {0, 0};
    int r = geteuid() == 0 && user->uid != 0 ? become(user) : 0;
    if (r == 0)
        r = drop_capabilities();
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = -errno;
    /* Passwords and tokens are in memory. */
    if (r == 0 && (setrlimit(RLIMIT_CORE, &no_core) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0))
        r = -errno;
    /* After the change of the user, which clears it. */
    if (r == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        r = -errno;
    return r < 0 ? log_errno(r, "the privileges of user %s cannot be taken on", user->name) : 0;
}

/* ---- the cache directory */

static bool is_given(const struct stat *st, const struct service_user *user)
{
    return st->st_uid == user->uid && st->st_gid == user->gid;
}

static int give_folder(int dir, bool with_folders, const struct service_user *user);

/* What the cache has in its own folder, as far as it is hidden or a folder. Others' are left alone. */
static bool is_ours(const char *name, bool folder)
{
    static const char *const folders[] = {"incomplete", "invalid", "queue", ".retired", ".bootsets"};
    if (!folder)
        return name[0] != '.' || strncmp(name, ".catalogue.db", strlen(".catalogue.db")) == 0 || strcmp(name, ".lock") == 0;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        if (strcmp(name, folders[i]) == 0)
            return true;
    }
    return false;
}

/* What FD, opened by its path only, is of. A file with a second name may be another's file that somebody linked here: it is left alone. */
static int give_opened(int fd, const char *name, bool with_folders, const struct service_user *user)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (with_folders && !is_ours(name, S_ISDIR(st.st_mode)))
        return 0;
    if (S_ISREG(st.st_mode) && st.st_nlink == 1 && !is_given(&st, user))
        return fchownat(fd, "", user->uid, user->gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
    if (!S_ISDIR(st.st_mode) || !with_folders)
        return 0;
    int folder = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return -errno;
    return give_folder(folder, false, user); /* takes it */
}

/* NAME in DIR, a folder that another may change meanwhile: what is looked at is what is given. */
static int give_entry(int dir, const char *name, bool with_folders, const struct service_user *user)
{
    int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = give_opened(fd, name, with_folders, user);
    close(fd);
    return r;
}

static int give_folder(int fd, bool with_folders, const struct service_user *user)
{
    struct stat st;
    struct dirent *entry;
    int r = 0;
    if (fstat(fd, &st) < 0 || (!is_given(&st, user) && fchown(fd, user->uid, user->gid) < 0))
        r = -errno;
    DIR *stream = r == 0 ? fdopendir(fd) : NULL;
    if (stream == NULL) {
        r = r < 0 ? r : -errno;
        close(fd);
        return r;
    }
    while (r == 0 && (errno = 0, entry = readdir(stream)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = give_entry(fd, entry->d_name, with_folders, user);
    }
    if (r == 0 && errno != 0)
        r = -errno;
    closedir(stream);
    return r;
}

int cache_directory_give(const char *dir, const struct service_user *user)
{
    if (geteuid() != 0)
        return 0;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : give_folder(fd, true, user);
    return r < 0 ? log_errno(r, "the cache directory %s cannot be given to user %s", dir, user->name) : 0;
}
