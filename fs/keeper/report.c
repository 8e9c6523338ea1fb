/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --report: each part is the output of a command, since a mount that hangs would hang whoever looks into it, and of the dump of the
 * configuration. All pass through hide(). They lie in a folder of their own until tar(1) has them. One thread.
 */
#include "config-auto.h"

#include "keeper/report.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mountinfo.h"
#include "base/version.h"
#include "config/config.h"
#include "keeper/mountpoint.h"

enum { SECRETS_MAX = 256, SECRET_LEAST = 4, SECRET_FILE_MAX = 65536, PART_MAX = 4 << 20 };

struct report {
    char dir[PATH_MAX];
    struct config *config; /* NULL: it cannot be read */
    char *secrets[SECRETS_MAX];
    size_t secret_count;
};

/* Run by sh, with a time limit each; $M is the mount, $C the cache directory. */
static const struct { const char *name, *command; } parts[] = {
    {"status.json", "cat \"$M/.status\""},
    {"queued.txt", "cd \"$M/queued\" && ls | head -n 200 | while read -r n; do head -c 2000 -- \"./$n\"; done"},
    {"invalid.txt", "cd \"$M/invalid\" && ls | head -n 200 | while read -r n; do head -c 2000 -- \"./$n\"; done"},
    {"attributes.txt", "cd \"$M\" && ls invalid incomplete queued | grep -v : | head -n 100 | while read -r n; do "
                       "getfattr -d -- \"images/$n\" 2>&1; done"},
    {"space.txt", "df -h \"$M\" \"$C\"; df -i \"$C\"; ls -la \"$C\" | head -n 50"},
    {"mounts.txt", "grep -e glance-cache -e \" $C\" /proc/self/mountinfo"},
    {"system.txt", "uname -a; cat /etc/os-release; uptime; free -m; nproc; ulimit -a"},
    {"processes.txt", "ps -eo pid,ppid,user,stat,etime,rss,nlwp,wchan:30,comm | grep -e PID -e glance-cache"},
    {"units.txt", "systemctl status --no-pager -n 0 'glance-cache*'; systemctl list-timers --no-pager 'glance-cache*'"},
    {"log.txt", "journalctl --no-pager -o short-iso -n 200 -t glance-cache-fs -t glance-cache-api -u 'glance-cache*' || "
                "grep glance-cache /var/log/syslog /var/log/messages | tail -n 200"},
    {"kernel.txt", "dmesg | grep -i -e fuse -e 'i/o error' -e oom -e ext4 -e xfs | tail -n 100"},
};

/* ---- what must not be in it */

static void add_secret(struct report *r, const char *text, size_t length)
{
    while (length > 0 && strchr(" \t\r\n\"'", text[length - 1]) != NULL)
        length--;
    while (length > 0 && strchr(" \t\"'", *text) != NULL) {
        text++;
        length--;
    }
    char *copy = length >= SECRET_LEAST && r->secret_count < SECRETS_MAX ? strndup(text, length) : NULL;
    if (copy != NULL)
        r->secrets[r->secret_count++] = copy;
}

/* Each line of a file of secrets, and what stands in it behind a sign. */
static void add_file(struct report *r, const char *path)
{
    char *line = NULL;
    size_t size = 0, total = 0;
    ssize_t n;
    FILE *in = fopen(path, "re");
    while (in != NULL && (n = getline(&line, &size, in)) > 0 && (total += (size_t)n) < SECRET_FILE_MAX) {
        const char *sign = strpbrk(line, "=:");
        add_secret(r, line, (size_t)n);
        if (sign != NULL)
            add_secret(r, sign + 1, strlen(sign + 1));
    }
    if (line != NULL)
        explicit_bzero(line, size);
    free(line);
    if (in != NULL)
        fclose(in);
}

/* The files that the configuration names, and the environment of whoever runs this. */
static void collect_secrets(struct report *r)
{
    static const char *const variables[] = {"OS_PASSWORD", "OS_TOKEN", "OS_AUTH_TOKEN", "OS_APPLICATION_CREDENTIAL_SECRET",
                                            "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"};
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        const char *value = getenv(variables[i]);
        if (value != NULL)
            add_secret(r, value, strlen(value));
    }
    if (r->config == NULL)
        return;
    const struct config *c = r->config;
    const char *const files[] = {c->user_file, c->token_file, c->password_file, c->application_credential_secret_file, c->secret_key_file,
                                 c->credentials_file, c->api.admin_token_file, c->api.reader_token_file, c->api.temp_url_key_file};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (files[i] != NULL)
            add_file(r, files[i]);
    }
}

static void blank(char *text, size_t length)
{
    memset(text, '*', length);
}

/* In place, so that a line keeps its length. */
static void hide(const struct report *r, char *text)
{
    regex_t login;
    regmatch_t match[2];
    for (size_t i = 0; i < r->secret_count; i++) {
        for (char *at = text; (at = strstr(at, r->secrets[i])) != NULL; at += strlen(r->secrets[i]))
            blank(at, strlen(r->secrets[i]));
    }
    if (regcomp(&login, "://([^/@[:space:]\"]+)@", REG_EXTENDED) != 0)
        return;
    for (char *at = text; regexec(&login, at, 2, match, 0) == 0; at += match[0].rm_eo)
        blank(at + match[1].rm_so, (size_t)(match[1].rm_eo - match[1].rm_so));
    regfree(&login);
}

/* ---- the parts */

static int save(const struct report *r, const char *name, char *text, size_t length)
{
    char path[PATH_MAX + 32];
    for (size_t i = 0; i < length; i++)
        text[i] = text[i] == '\0' ? '?' : text[i];
    hide(r, text);
    snprintf(path, sizeof(path), "%s/%s", r->dir, name);
    FILE *out = fopen(path, "we");
    if (out == NULL)
        return -errno;
    bool written = fwrite(text, 1, length, out) == length;
    return fclose(out) == 0 && written ? 0 : -EIO;
}

static int take_command(const struct report *r, const char *name, const char *command)
{
    char *line = NULL, *text = calloc(1, PART_MAX + 1);
    size_t length = 0, n;
    if (text == NULL || asprintf(&line, "exec 2>&1; M=$M C=$C timeout -k 1 10 sh -c '%s' || echo \"(ended with $?)\"", "eval \"$PART\"") < 0) {
        free(text);
        return -ENOMEM;
    }
    setenv("PART", command, 1);
    FILE *in = popen(line, "re");
    free(line);
    while (in != NULL && length < PART_MAX && (n = fread(text + length, 1, PART_MAX - length, in)) > 0)
        length += n;
    int result = in == NULL ? -errno : 0;
    if (in != NULL)
        pclose(in);
    if (result == 0)
        result = save(r, name, text, length);
    free(text);
    return result;
}

static int take_config(const struct report *r, const char *path, const char *message)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL)
        return -ENOMEM;
    fprintf(out, "# glance-cache-fs %s, commit %s; %s\n", PACKAGE_VERSION, version_commit(), path);
    if (r->config != NULL)
        config_dump(r->config, out);
    else
        fprintf(out, "# it cannot be read: %s\n", message);
    int result = fclose(out) == 0 ? save(r, "configuration.txt", text, length) : -ENOMEM;
    free(text);
    return result;
}

static int archive(const struct report *r)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        execlp("tar", "tar", "-C", r->dir, "--owner=0", "--group=0", "--transform=s,^\\.,glance-cache-report,", "-cf", "-", ".", (char *)NULL);
        _exit(127);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static void end(struct report *r)
{
    char path[PATH_MAX + 32];
    for (size_t i = 0; r->dir[0] != '\0' && i < sizeof(parts) / sizeof(parts[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", r->dir, parts[i].name);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/configuration.txt", r->dir);
    if (r->dir[0] != '\0')
        unlink(path);
    if (r->dir[0] != '\0' && rmdir(r->dir) < 0)
        log_errno(-errno, "%s cannot be removed", r->dir);
    for (size_t i = 0; i < r->secret_count; i++) {
        explicit_bzero(r->secrets[i], strlen(r->secrets[i]));
        free(r->secrets[i]);
    }
    config_free(r->config);
}

/* What is mounted at PATH: its source is the configuration. One that another user mounted is not for us to read as root. */
static int find_source(const char *path, struct mountinfo *ret, char **ret_point)
{
    int r = mountpoint_find(path, ret_point, ret);
    if (r < 0)
        return r;
    if (!mountinfo_is_ours(ret)) {
        log_error("%s is no mount of glance-cache-fs%s%s", *ret_point, *ret->type != '\0' ? ", but of type " : "", ret->type);
        return -EINVAL;
    }
    if (geteuid() == 0 && ret->owner > 0) {
        log_error("%s: user %lld mounted it, let that user ask for this", *ret_point, ret->owner);
        return -EPERM;
    }
    return 0;
}

static int collect(struct report *r, const char *point, const char *source, const char *message, const char *parent)
{
    snprintf(r->dir, sizeof(r->dir), "%s/glance-cache-report-XXXXXX", parent != NULL && parent[0] == '/' ? parent : "/tmp");
    if (mkdtemp(r->dir) == NULL) {
        r->dir[0] = '\0';
        return -errno;
    }
    setenv("M", point, 1);
    setenv("C", r->config != NULL ? r->config->image_cache_dir : "/nonexistent", 1);
    collect_secrets(r);
    int result = take_config(r, source, message);
    for (size_t i = 0; result == 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
        result = take_command(r, parts[i].name, parts[i].command);
    return result == 0 ? archive(r) : result;
}

int report_write(const char *path)
{
    struct report r = {0};
    struct mountinfo m = {.point = NULL};
    char *point = NULL, message[CONFIG_MESSAGE_MAX] = "";
    const char *parent = getenv("TMPDIR");
    if (isatty(STDOUT_FILENO)) {
        log_error("it is an archive that is written: glance-cache-fs --report %s >report.tar", path);
        return -EINVAL;
    }
    int result = find_source(path, &m, &point);
    if (result == 0) {
        if (config_load(m.source, &r.config, message) < 0)
            r.config = NULL;
        result = collect(&r, point, m.source, message, parent);
        if (result < 0)
            log_errno(result, "the report cannot be made");
    }
    mountinfo_clear(&m);
    free(point);
    end(&r);
    return result;
}
