/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads the configuration: inih splits the file into lines, sections and options; the table says what each may be; then
 * the defaults come in, and the rules that span options are checked. The first mistake ends the loading and is the
 * message, unless each is to be told.
 *
 * inih (as built by Debian) has a line buffer of 200 bytes, cuts longer lines without a word and reports neither line
 * numbers nor sections to its handler. The reader it is given here therefore hands over whole lines only, counts them
 * and looks at section headers. The handler runs while the line that the reader gave last is parsed.
 *
 * State: a struct parser on the stack of config_load(); no lock.
 */
#include "config-auto.h"

#include "config/config.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/log.h"
#include "config/check.h"
#include "config/value.h"

struct parser {
    FILE *file;
    struct config *config;
    struct config_mistakes *mistakes;
    int error;     /* negative errno: the message is made, nothing more is read */
    int line;      /* the last one read, from 1 */
    int error_line;
    bool indented;                    /* that line began with a blank, */
    const struct config_option *last; /* and this option stands above it in the same section: the line continues it */
};

/* ---- messages */

/* A mistake in the line read last. Returns 0, which tells inih the same; 1 where the reading goes on. */
__attribute__((format(printf, 2, 3))) static int fail_line(struct parser *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    p->error = config_mistake(p->mistakes, p->config->path, p->line, format, args);
    va_end(args);
    p->error_line = p->line;
    return p->error == 0;
}

/* ---- finding options */

static bool is_section(const char *name)
{
    size_t count;
    const struct config_option *options = config_options(&count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(options[i].section, name) == 0)
            return true;
    }
    return false;
}

enum { DISTANCE_MAX_LENGTH = 48 };

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* How many letters must be put in, taken out or changed (Levenshtein), case and '-' for '_' being free. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[DISTANCE_MAX_LENGTH + 1];
    size_t length = strnlen(b, DISTANCE_MAX_LENGTH);
    for (unsigned j = 0; j <= length; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1] != '\0' && i <= DISTANCE_MAX_LENGTH; i++) {
        unsigned diagonal = row[0];
        int letter = a[i - 1] == '-' ? '_' : tolower((unsigned char)a[i - 1]);
        row[0] = i;
        for (unsigned j = 1; j <= length; j++) {
            unsigned replaced = diagonal + (letter != b[j - 1]);
            diagonal = row[j];
            row[j] = min3(replaced, row[j] + 1, row[j - 1] + 1);
        }
    }
    return row[length];
}

/* The option whose name is nearest to NAME; among equals, one of SECTION. NULL: none is near. */
static const struct config_option *nearest_option(const char *section, const char *name)
{
    size_t count;
    const struct config_option *options = config_options(&count), *best = &options[0];
    unsigned best_distance = UINT32_MAX;
    char word[DISTANCE_MAX_LENGTH + 1]; /* the first: behind it stands what a forgotten = belongs before */
    snprintf(word, sizeof word, "%.*s", (int)strcspn(name, " \t"), name);
    for (size_t i = 0; i < count; i++) {
        unsigned d = distance(word, options[i].name) * 2 + (strcmp(options[i].section, section) != 0);
        if (d < best_distance) {
            best_distance = d;
            best = &options[i];
        }
    }
    return best_distance / 2 <= (strlen(word) + 1) / 2 ? best : NULL;
}

/* ---- lines */

static int fail_nothing(struct parser *p)
{
    return fail_line(p, "neither [section], name = value nor a comment (#): correct or remove the line");
}

/* "[name]": only sections of the table. A header without its ']' is left to inih. */
static int check_section(struct parser *p, const char *header)
{
    char name[64], known[64] = "";
    size_t length = strcspn(header + 1, "]");
    if (header[1 + length] != ']')
        return 0;
    snprintf(name, sizeof name, "%.*s", (int)length, header + 1);
    if (is_section(name))
        return 0;
    size_t count;
    const struct config_option *options = config_options(&count);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(options[i].section, options[i - 1].section) != 0) {
            size_t used = strlen(known);
            snprintf(known + used, sizeof known - used, "%s[%s]", i == 0 ? "" : " and ", options[i].section);
        }
    }
    fail_line(p, "unknown section [%s]: there are %s", name, known);
    return p->error;
}

/* One line of at most SIZE - 3 bytes and its end, of a line that is only a comment perhaps less. Returns its length; 0
 * at the end of the file, and after a mistake. */
static size_t read_whole_line(struct parser *p, char *line, int size)
{
    size_t length = 0, limit = (size_t)size - 3;
    bool begun = false, comment = false;
    int c;
    while ((c = getc_unlocked(p->file)) != EOF && c != '\n') {
        if (!begun && !isspace(c)) {
            begun = true;
            comment = c == '#' || c == ';';
        }
        if (c == '\0') {
            fail_line(p, "this is not a text file (it holds a NUL byte): save it as plain text, in UTF-8");
            return 0;
        }
        if (length < limit) {
            line[length++] = (char)c;
        } else if (!comment && c != '\r') {
            fail_line(p,
                      "the line is longer than %zu bytes, the most there can be: put words of a list on indented lines "
                      "of their own, or shorten it",
                      limit);
            return 0;
        }
    }
    if (c == EOF && ferror_unlocked(p->file)) {
        p->error = -EIO;
        snprintf(p->mistakes->message, CONFIG_MESSAGE_MAX, "%.200s: cannot be read: %s", p->config->path, error_text(-EIO));
        return 0;
    }
    if (c == EOF && length == 0)
        return 0;
    line[length++] = '\n';
    line[length] = '\0';
    return length;
}

/* Would inih find nothing in the line from START on? */
static bool is_nothing(const struct parser *p, const char *start)
{
    if (*start == '\0' || *start == '#' || *start == ';' || (p->indented && p->last != NULL))
        return false;
    return *start == '[' ? strchr(start, ']') == NULL : strpbrk(start, "=:") == NULL;
}

/* inih's reader: the next line, looked at before inih gets it. */
static char *read_line(char *line, int size, void *context)
{
    struct parser *p = context;
    if (p->error < 0)
        return NULL;
    p->line++;
    if (read_whole_line(p, line, size) == 0)
        return NULL;
    const char *start = line;
    if (p->line == 1 && strncmp(start, "\xef\xbb\xbf", 3) == 0)
        start += 3;
    p->indented = isspace((unsigned char)*start);
    while (isspace((unsigned char)*start))
        start++;
    if (p->mistakes->fn != NULL && is_nothing(p, start)) {
        fail_nothing(p);
        line[0] = '\n'; /* inih would tell of the first one only */
        line[1] = '\0';
        return line;
    }
    if (*start == '[' && !(p->indented && p->last != NULL)) {
        p->last = NULL;
        if (check_section(p, start) < 0)
            return NULL;
    }
    return line;
}

/* Does an indented line look like an option of its own? */
static bool looks_like_option(const char *text)
{
    char name[64];
    size_t length = strcspn(text, "=: \t");
    if (text[length + strspn(text + length, " \t")] != '=' || length >= sizeof name)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)length, text);
    return config_option(NULL, name) != NULL;
}

static int set_value(struct parser *p, const struct config_option *option, const char *value)
{
    char wanted[160];
    for (const char *c = value; *c != '\0'; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
            return fail_line(p, "the value of %s holds a control character: type it anew", option->name);
    }
    if (*value == '"' || *value == '\'')
        return fail_line(p, "%s = %.80s: write the value without quotation marks", option->name, value);
    int r = config_value_set(p->config, option, value);
    if (r == -ENOMEM) {
        p->error = config_message_memory(p->mistakes->message);
        return 0;
    }
    if (r < 0) {
        config_value_describe(option, wanted, sizeof wanted);
        return fail_line(p, "%s = %.80s: expected %s", option->name, value, wanted);
    }
    return 1;
}

/* Where the reading goes on after a mistake, OPTION has its default, and nothing more is said of it. */
static int take_value(struct parser *p, const struct config_option *option, const char *value)
{
    unsigned before = p->mistakes->count;
    size_t i = config_option_index(option);
    int r = *value != '\0' ? set_value(p, option, value)
                           : fail_line(p, "option %s has no value: write one behind the =, or remove the line", option->name);
    if (p->mistakes->wrong != NULL && p->mistakes->count > before) {
        p->mistakes->wrong[i] = true;
        free(p->config->where[i]);
        p->config->where[i] = NULL;
    }
    return r;
}

static int continue_value(struct parser *p, const char *value)
{
    if (p->last->type != CONFIG_WORDS || looks_like_option(value))
        return fail_line(p,
                         "an indented line continues the option above it, here %s: remove the blanks before \"%.40s\"",
                         p->last->name, value);
    return take_value(p, p->last, value);
}

static int fail_unknown(struct parser *p, const char *section, const char *name)
{
    const struct config_option *other = config_option(NULL, name);
    if (other != NULL)
        return fail_line(p, "option %s belongs in section [%s], not in [%s]: move the line there", name, other->section,
                         section);
    other = nearest_option(section, name);
    if (other == NULL)
        return fail_line(p, "unknown option \"%.60s\" in section [%s]: correct or remove the line; glance-cache.conf(5) describes them all", name, section);
    return fail_line(p, "unknown option \"%.60s\" in section [%s]: the nearest is %s%s%s%s", name, section, other->name,
                     strcmp(other->section, section) != 0 ? " in [" : "",
                     strcmp(other->section, section) != 0 ? other->section : "",
                     strcmp(other->section, section) != 0 ? "]" : "");
}

/* inih's handler: 1 to go on, 0 for a mistake. */
static int handle(void *context, const char *section, const char *name, const char *value)
{
    struct parser *p = context;
    if (p->indented && p->last != NULL)
        return continue_value(p, value);
    if (*name == '\0')
        return fail_nothing(p);
    if (*section == '\0')
        return fail_line(p, "\"%.60s\" stands before any section: put [DEFAULT] or [backend] on a line above it", name);
    if (p->mistakes->fn != NULL && !is_section(section)) /* which was told at its header */
        return 1;
    const struct config_option *option = config_option(section, name);
    if (option == NULL)
        return fail_unknown(p, section, name);
    char **where = &p->config->where[config_option_index(option)];
    if (*where != NULL)
        return fail_line(p, "option %s is already given in line %s: remove one of the two", name,
                         strrchr(*where, ':') + 1);
    if (asprintf(where, "%s:%d", p->config->path, p->line) < 0) {
        *where = NULL;
        p->error = config_message_memory(p->mistakes->message);
        return 0;
    }
    p->last = option;
    if (*value == '\0' && option->type == CONFIG_WORDS)
        return 1; /* words may follow on indented lines */
    return take_value(p, option, value);
}

/* Reads all lines of FILE into CONFIG. */
static int parse(FILE *file, struct config *config, struct config_mistakes *m)
{
    struct parser p = {.file = file, .config = config, .mistakes = m};
    int r = ini_parse_stream(read_line, &p, handle, &p);
    if (r == -2) /* in a build of inih that allocates its buffer */
        return config_message_memory(m->message);
    /* inih found a line that is neither, before the mistake found here: it goes on reading after one. */
    if (r > 0 && (p.error == 0 || r < p.error_line)) {
        p.line = r;
        fail_nothing(&p);
    }
    return p.error;
}

/* ---- the whole */

static struct config *new_config(const char *path)
{
    size_t count;
    config_options(&count);
    struct config *config = calloc(1, sizeof *config);
    if (config == NULL)
        return NULL;
    config->path = strdup(path);
    config->where = calloc(count, sizeof *config->where);
    if (config->path == NULL || config->where == NULL) {
        config_free(config);
        return NULL;
    }
    return config;
}

static int fail_open(const char *path, int error, char *message)
{
    const char *advice = error == -ENOENT   ? "write it, or name another; glance-cache.conf(5) describes it"
                         : error == -EACCES ? "let this user read it"
                         : error == -EISDIR ? "name the file inside it"
                                            : "name another file, or mend this one";
    snprintf(message, CONFIG_MESSAGE_MAX, "%.200s: the configuration cannot be read: %s: %s", path, error_text(error),
             advice);
    return error;
}

/* fopen() opens directories too, and reading them fails later and less clearly. */
static int open_file(const char *path, FILE **ret, char *message)
{
    struct stat st;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return fail_open(path, -errno, message);
    if (fstat(fileno(file), &st) == 0 && S_ISDIR(st.st_mode)) {
        fclose(file);
        return fail_open(path, -EISDIR, message);
    }
    *ret = file;
    return 0;
}

static int load(const char *from, const char *path, struct config_mistakes *m, struct config **ret)
{
    FILE *file = NULL;
    int r = open_file(from, &file, m->message);
    if (r < 0)
        return r;
    struct config *config = new_config(path);
    r = config != NULL ? parse(file, config, m) : config_message_memory(m->message);
    fclose(file);
    if (r == 0)
        r = config_check(config, m);
    if (r == 0 && m->count > 0)
        r = -EINVAL;
    if (r < 0) {
        config_free(config);
        return r;
    }
    *ret = config;
    return 0;
}

int config_load_copy(const char *from, const char *path, struct config **ret, char message[CONFIG_MESSAGE_MAX])
{
    struct config_mistakes m = {.message = message};
    return load(from, path, &m, ret);
}

int config_load_telling(const char *path, config_mistake_fn *fn, void *context, struct config **ret, char message[CONFIG_MESSAGE_MAX])
{
    size_t count;
    config_options(&count);
    struct config_mistakes m = {.message = message, .fn = fn, .context = context, .wrong = calloc(count, sizeof(bool))};
    if (m.wrong == NULL)
        return config_message_memory(message);
    int r = load(path, path, &m, ret);
    if (r < 0 && m.count == 0) /* it cannot be read */
        fn(context, message);
    free(m.wrong);
    return r;
}

int config_load(const char *path, struct config **ret, char message[CONFIG_MESSAGE_MAX])
{
    return config_load_copy(path, path, ret, message);
}

/* ---- the end */

void config_free(struct config *config)
{
    size_t count;
    const struct config_option *options = config_options(&count);
    if (config == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        config_value_clear(config, &options[i]);
        if (options[i].type == CONFIG_WORDS) {
            size_t *words;
            free(*config_words(config, &options[i], &words));
        }
        if (config->where != NULL)
            free(config->where[i]);
    }
    free(config->where);
    free(config->path);
    free(config);
}
