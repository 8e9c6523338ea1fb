/* SPDX-License-Identifier: Apache-2.0 */
/* Values of options: one branch for each enum config_type, in each function. Stateless. */
#include "config-auto.h"

#include "config/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char blanks[] = " \t\r\n\v\f";

static void *member(const struct config *config, const struct config_option *option)
{
    return (char *)(uintptr_t)config + option->offset;
}

char **config_string(const struct config *config, const struct config_option *option)
{
    return member(config, option);
}

char ***config_words(const struct config *config, const struct config_option *option, size_t **ret_count)
{
    *ret_count = (size_t *)((char *)(uintptr_t)config + option->count_offset);
    return member(config, option);
}

/* The digits at the start of TEXT; *ret_end is what follows. */
static int parse_digits(const char *text, uint64_t *ret, const char **ret_end)
{
    uint64_t value = 0;
    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    for (; isdigit((unsigned char)*text); text++) {
        if (__builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (uint64_t)(unsigned char)*text - '0', &value))
            return -ERANGE;
    }
    *ret = value;
    *ret_end = text;
    return 0;
}

int config_parse_size(const char *text, uint64_t *ret)
{
    static const char suffixes[] = "KMGT";
    uint64_t value;
    int r = parse_digits(text, &value, &text);
    if (r < 0)
        return r;
    text += strspn(text, blanks);
    const char *suffix = *text != '\0' ? strchr(suffixes, toupper((unsigned char)*text)) : NULL;
    unsigned shift = 0;
    if (suffix != NULL) {
        shift = (unsigned)(suffix - suffixes + 1) * 10;
        text++;
        if (strcasecmp(text, "iB") == 0)
            text++;
    }
    if (strcasecmp(text, "B") == 0)
        text++;
    if (*text != '\0')
        return -EINVAL;
    if (value > UINT64_MAX >> shift)
        return -ERANGE;
    *ret = value << shift;
    return 0;
}

static int parse_number(const char *text, uint64_t *ret)
{
    uint64_t value;
    const char *end;
    int r = parse_digits(text, &value, &end);
    if (r < 0)
        return r;
    if (*end != '\0')
        return -EINVAL;
    *ret = value;
    return 0;
}

static int set_number(const struct config_option *option, const char *text, uint64_t *number)
{
    uint64_t value;
    int r = option->type == CONFIG_SIZE ? config_parse_size(text, &value) : parse_number(text, &value);
    if (r < 0 || value < option->min || value > option->max)
        return -EINVAL;
    *number = value;
    return 0;
}

/* A size, or a percentage. */
static int set_share(const struct config_option *option, const char *text, uint64_t *share)
{
    uint64_t percent;
    const char *end;
    if (parse_digits(text, &percent, &end) == 0 && strcmp(end + strspn(end, blanks), "%") == 0) {
        if (percent > 100)
            return -EINVAL;
        *share = CONFIG_PERCENT | percent;
        return 0;
    }
    uint64_t size;
    if (config_parse_size(text, &size) < 0 || size < option->min || size > option->max)
        return -EINVAL;
    *share = size;
    return 0;
}

static int set_interval(const struct config_option *option, const char *text, uint64_t *seconds)
{
    if (strcmp(text, "never") == 0)
        *seconds = CONFIG_NEVER;
    else if (strcmp(text, "on-open") == 0)
        *seconds = 0;
    else
        return set_number(option, text, seconds);
    return 0;
}

static int set_bool(const char *text, bool *value)
{
    static const char *const words[][2] = {{"no", "yes"}, {"false", "true"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (int is = 0; is < 2; is++) {
            if (strcasecmp(text, words[i][is]) == 0) {
                *value = is;
                return 0;
            }
        }
    }
    return -EINVAL;
}

static int set_string(const char *text, char **string)
{
    char *copy = strdup(text);
    if (copy == NULL)
        return -ENOMEM;
    free(*string);
    *string = copy;
    return 0;
}

static int choice_index(const struct config_option *option, const char *text)
{
    for (int i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(text, option->choices[i]) == 0)
            return i;
    }
    return -EINVAL;
}

static int add_word(char ***words, size_t *count, const char *word, size_t length)
{
    char **more = reallocarray(*words, *count + 2, sizeof *more);
    if (more == NULL)
        return -ENOMEM;
    *words = more;
    more[*count] = strndup(word, length);
    if (more[*count] == NULL)
        return -ENOMEM;
    more[++*count] = NULL;
    return 0;
}

static int add_words(const struct config_option *option, const char *text, char ***words, size_t *count)
{
    for (text += strspn(text, blanks); *text != '\0'; text += strspn(text, blanks)) {
        size_t length = strcspn(text, blanks);
        if (*text == ';') /* a comment, which inih cuts off but from indented lines */
            break;
        if (*text == '#') /* meant as a comment, and one at the start of an indented line */
            return -EINVAL;
        int r = add_word(words, count, text, length);
        if (r == 0 && option->choices != NULL)
            r = choice_index(option, (*words)[*count - 1]);
        if (r < 0)
            return r;
        text += length;
    }
    return 0;
}

int config_value_set(struct config *config, const struct config_option *option, const char *text)
{
    size_t *count;
    int r;
    switch (option->type) {
    case CONFIG_SIZE:
    case CONFIG_SECONDS:
    case CONFIG_MILLISECONDS:
    case CONFIG_COUNT:
        return set_number(option, text, member(config, option));
    case CONFIG_SHARE:
        return set_share(option, text, member(config, option));
    case CONFIG_INTERVAL:
        return set_interval(option, text, member(config, option));
    case CONFIG_BOOL:
        return set_bool(text, member(config, option));
    case CONFIG_ENUM:
        r = choice_index(option, text);
        if (r < 0)
            return r;
        *(int *)member(config, option) = r;
        return 0;
    case CONFIG_CHOICE:
        r = choice_index(option, text);
        return r < 0 ? r : set_string(text, member(config, option));
    case CONFIG_PATH:
        return text[0] == '/' ? set_string(text, member(config, option)) : -EINVAL;
    case CONFIG_STRING:
        return set_string(text, member(config, option));
    case CONFIG_WORDS: {
        char ***words = config_words(config, option, &count);
        return add_words(option, text, words, count);
    }
    }
    return -EINVAL;
}

void config_value_clear(struct config *config, const struct config_option *option)
{
    if (option->type == CONFIG_WORDS) {
        size_t *count;
        char ***words = config_words(config, option, &count);
        for (size_t i = 0; i < *count; i++)
            free((*words)[i]);
        *count = 0;
        if (*words != NULL)
            (*words)[0] = NULL;
    } else if (option->type == CONFIG_STRING || option->type == CONFIG_PATH || option->type == CONFIG_CHOICE) {
        char **string = config_string(config, option);
        free(*string);
        *string = NULL;
    }
}

bool config_value_missing(const struct config *config, const struct config_option *option)
{
    size_t *count;
    switch (option->type) {
    case CONFIG_STRING:
    case CONFIG_PATH:
    case CONFIG_CHOICE:
        return *config_string(config, option) == NULL;
    case CONFIG_WORDS:
        config_words(config, option, &count);
        return *count == 0 && option->fallback == NULL;
    default:
        return false;
    }
}

static void print_words(char *const *words, size_t count, FILE *out)
{
    if (count == 0)
        fputs("none", out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s%s", i == 0 ? "" : "\n    ", words[i]);
}

/* "64K", "10G", "1000": the largest suffix that says it exactly. */
static void format_size(uint64_t size, char *text, size_t text_size)
{
    static const char suffixes[] = "KMGT";
    size_t n = 0;
    while (size != 0 && size % 1024 == 0 && n < sizeof suffixes - 1) {
        size /= 1024;
        n++;
    }
    snprintf(text, text_size, "%" PRIu64 "%.1s", size, n == 0 ? "" : &suffixes[n - 1]);
}

static void print_size(uint64_t size, FILE *out)
{
    char text[24];
    format_size(size, text, sizeof text);
    fputs(text, out);
}

static void print_special(uint64_t value, enum config_type type, FILE *out)
{
    if (type == CONFIG_INTERVAL && value == CONFIG_NEVER)
        fputs("never", out);
    else if (type == CONFIG_INTERVAL && value == 0)
        fputs("on-open", out);
    else if (type == CONFIG_SHARE && (value & CONFIG_PERCENT) != 0)
        fprintf(out, "%" PRIu64 "%%", value & ~CONFIG_PERCENT);
    else if (type == CONFIG_SHARE)
        print_size(value, out);
    else
        fprintf(out, "%" PRIu64, value);
}

void config_value_print(const struct config *config, const struct config_option *option, FILE *out)
{
    size_t *count;
    switch (option->type) {
    case CONFIG_SIZE:
        print_size(*(uint64_t *)member(config, option), out);
        break;
    case CONFIG_SECONDS:
    case CONFIG_MILLISECONDS:
    case CONFIG_COUNT:
        fprintf(out, "%" PRIu64, *(uint64_t *)member(config, option));
        break;
    case CONFIG_SHARE:
    case CONFIG_INTERVAL:
        print_special(*(uint64_t *)member(config, option), option->type, out);
        break;
    case CONFIG_BOOL:
        fputs(*(bool *)member(config, option) ? "yes" : "no", out);
        break;
    case CONFIG_ENUM:
        fputs(option->choices[*(int *)member(config, option)], out);
        break;
    case CONFIG_STRING:
    case CONFIG_PATH:
    case CONFIG_CHOICE:
        fputs(*config_string(config, option), out);
        break;
    case CONFIG_WORDS: {
        char ***words = config_words(config, option, &count);
        print_words(*words, *count, out);
        break;
    }
    }
}

static void describe_choices(const struct config_option *option, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "one of");
    for (size_t i = 0; option->choices[i] != NULL && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s %s", i == 0 ? "" : ",", option->choices[i]);
}

void config_value_describe(const struct config_option *option, char *text, size_t size)
{
    char min[24], max[24];
    switch (option->type) {
    case CONFIG_SIZE:
        format_size(option->min, min, sizeof min);
        format_size(option->max, max, sizeof max);
        snprintf(text, size, "a size from %s to %s (%s; K, M, G or T may follow)", min, max, option->unit);
        break;
    case CONFIG_SECONDS:
    case CONFIG_MILLISECONDS:
    case CONFIG_COUNT:
        snprintf(text, size, "a number from %" PRIu64 " to %" PRIu64 " (%s)", option->min, option->max, option->unit);
        break;
    case CONFIG_SHARE:
        snprintf(text, size, "a size (%s; K, M, G or T may follow) or a percentage such as 5%%", option->unit);
        break;
    case CONFIG_INTERVAL:
        snprintf(text, size, "never, on-open, or a number from %" PRIu64 " to %" PRIu64 " (%s)", option->min, option->max,
                 option->unit);
        break;
    case CONFIG_BOOL:
        snprintf(text, size, "yes or no");
        break;
    case CONFIG_CHOICE:
    case CONFIG_ENUM:
        describe_choices(option, text, size);
        break;
    case CONFIG_PATH:
        snprintf(text, size, "an absolute path");
        break;
    case CONFIG_STRING:
        snprintf(text, size, "text");
        break;
    case CONFIG_WORDS:
        if (option->choices != NULL) {
            describe_choices(option, text, size);
            break;
        }
        snprintf(text, size, "words, separated by blanks or each on an indented line, none of them beginning with #");
        break;
    }
}
