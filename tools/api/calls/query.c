/* SPDX-License-Identifier: Apache-2.0 */
/* Filters and orders of image lists. No state. */
#include "config-auto.h"

#include "api/calls/query.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/http/api.h"
#include "image/id.h"

enum { LIMIT_DEFAULT = 25, LIMIT_MAX = 1000 };

static const char *const SORT_KEYS[] = {"name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"};
static const char *const VISIBILITIES[] = {"public", "private", "shared", "community", "all"};
static const char *const MEMBER_STATUSES[] = {"accepted", "pending", "rejected", "all"};

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

#define ONE_OF(text, words) is_one_of(text, words, sizeof(words) / sizeof((words)[0]))

__attribute__((format(printf, 2, 3))) static bool wrong(char error[QUERY_ERROR], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, QUERY_ERROR, format, args);
    va_end(args);
    return false;
}

/* ---- reading it */

static bool read_number(const char *text, size_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno == ERANGE)
        return false;
    *ret = n;
    return true;
}

/* "gte:2026-11-22T05:05:27Z": the operator, "eq" where there is none, and the time behind it. */
static const char *date_operator(const char *value, char operator[8])
{
    const char *colon = strchr(value, ':');
    size_t n = colon != NULL ? (size_t)(colon - value) : 0;
    strcpy(operator, "eq");
    if (n < 2 || n > 3 || value[0] < 'a' || value[0] > 'z')
        return value;
    memcpy(operator, value, n);
    operator[n] = '\0';
    return colon + 1;
}

/* A day, or a time of it: texts of this form sort as the times do. */
static bool date_valid(const char *value)
{
    static const char *const operators[] = {"eq", "neq", "gt", "gte", "lt", "lte"};
    char operator[8];
    int y, mo, d, h = 0, mi = 0, s = 0, end = 0;
    const char *time = date_operator(value, operator);
    if (!ONE_OF(operator, operators))
        return false;
    return sscanf(time, "%4d-%2d-%2d%n", &y, &mo, &d, &end) == 3 && end == 10 &&
           (time[end] == '\0' || sscanf(time + end, "T%2d:%2d:%2d", &h, &mi, &s) == 3);
}

static bool check_filter(const char *key, const char *value, char error[QUERY_ERROR])
{
    size_t n;
    if (strcmp(key, "visibility") == 0 && !ONE_OF(value, VISIBILITIES))
        return wrong(error, "visibility cannot be %.60s", value);
    if (strcmp(key, "member_status") == 0 && !ONE_OF(value, MEMBER_STATUSES))
        return wrong(error, "member_status cannot be %.60s", value);
    if ((strcmp(key, "size_min") == 0 || strcmp(key, "size_max") == 0 || strcmp(key, "min_disk") == 0 || strcmp(key, "min_ram") == 0) &&
        !read_number(value, &n))
        return wrong(error, "%.60s must be a number", key);
    if ((strcmp(key, "created_at") == 0 || strcmp(key, "updated_at") == 0) && !date_valid(value))
        return wrong(error, "%.60s must be a time as gte:2026-11-22T05:05:27Z", key);
    return true;
}

static bool add_key(struct query *q, const char *key, bool descending, char error[QUERY_ERROR])
{
    for (size_t i = 0; i < sizeof(SORT_KEYS) / sizeof(SORT_KEYS[0]); i++) {
        if (strcmp(key, SORT_KEYS[i]) != 0)
            continue;
        if (q->key_count == QUERY_KEYS_MAX)
            return wrong(error, "there are too many keys to sort by, from %.60s on", key);
        q->keys[q->key_count++] = (struct query_key){.key = SORT_KEYS[i], .descending = descending};
        return true;
    }
    return wrong(error, "there is no sorting by %.60s", key);
}

static bool read_direction(const char *text, bool *ret_descending, char error[QUERY_ERROR])
{
    *ret_descending = strcmp(text, "desc") == 0;
    return *ret_descending || strcmp(text, "asc") == 0 || wrong(error, "the direction is asc or desc, not %.60s", text);
}

/* sort=name:asc,size */
static bool read_sort(struct query *q, char *text, char error[QUERY_ERROR])
{
    char *rest = NULL;
    for (char *one = strtok_r(text, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest)) {
        bool descending = true;
        char *colon = strchr(one, ':');
        if (colon != NULL)
            *colon = '\0';
        if ((colon != NULL && !read_direction(colon + 1, &descending, error)) || !add_key(q, one, descending, error))
            return false;
    }
    return true;
}

struct order {
    bool short_form, directions[QUERY_KEYS_MAX]; /* sort=; those of sort_dir= */
    size_t direction_count;
};

static bool take_argument(struct query *q, struct order *o, char *key, char *value, char error[QUERY_ERROR])
{
    static const char *const names[] = {"id", "marker", "name"};
    if (ONE_OF(key, names) && strlen(value) > IMAGE_ID_MAX && strncmp(value, "in:", 3) != 0)
        return wrong(error, "%s is longer than any is", key);
    if (strcmp(key, "limit") == 0) {
        if (!read_number(value, &q->limit))
            return wrong(error, "%s must be a number", key);
        q->limit = q->limit > LIMIT_MAX ? LIMIT_MAX : q->limit;
    } else if (strcmp(key, "marker") == 0) {
        q->marker = value;
    } else if (strcmp(key, "sort") == 0) {
        o->short_form = true;
        return read_sort(q, value, error);
    } else if (strcmp(key, "sort_key") == 0) {
        return add_key(q, value, true, error);
    } else if (strcmp(key, "sort_dir") == 0) {
        if (o->direction_count == QUERY_KEYS_MAX)
            return wrong(error, "there are too many of %s", key);
        return read_direction(value, &o->directions[o->direction_count++], error);
    } else if (q->term_count == QUERY_TERMS_MAX) {
        return wrong(error, "there are too many filters, from %.60s on", key);
    } else {
        q->terms[q->term_count++] = (struct query_term){.key = key, .value = value};
        return check_filter(key, value, error);
    }
    return true;
}

/* sort_dir is one for all keys, or one for each. */
static bool apply_directions(struct query *q, const struct order *o, char error[QUERY_ERROR])
{
    if (o->direction_count > 0 && o->short_form)
        return wrong(error, "%s", "sort goes with neither sort_key nor sort_dir");
    if (o->direction_count > 0 && q->key_count == 0)
        q->keys[q->key_count++] = (struct query_key){.key = "created_at"};
    if (o->direction_count > 1 && o->direction_count != q->key_count)
        return wrong(error, "%s", "sort_dir stands once, or once for each sort_key");
    for (size_t i = 0; o->direction_count > 0 && i < q->key_count; i++)
        q->keys[i].descending = o->directions[o->direction_count == 1 ? 0 : i];
    return true;
}

bool query_parse(const char *text, struct query *ret, char error[QUERY_ERROR])
{
    struct order order = {0};
    char *rest = NULL;
    *ret = (struct query){.limit = LIMIT_DEFAULT, .text = strdup(text)};
    if (ret->text == NULL)
        return wrong(error, "%s", "out of memory");
    for (char *one = strtok_r(ret->text, "&", &rest); one != NULL; one = strtok_r(NULL, "&", &rest)) {
        char *value = strchr(one, '=');
        static char nothing[] = "";
        if (value != NULL)
            *value++ = '\0';
        else
            value = nothing;
        for (char *plus = value; (plus = strchr(plus, '+')) != NULL;)
            *plus = ' ';
        if (!text_decode(one) || !text_decode(value))
            return wrong(error, "%s", "the query holds a % that is not followed by two hexadecimal digits, or a zero byte");
        if (!take_argument(ret, &order, one, value, error))
            return false;
    }
    return apply_directions(ret, &order, error);
}

void query_clear(struct query *q)
{
    free(q->text);
    *q = (struct query){0};
}

/* ---- filters */

/* Is the attribute VALUE, as its kind has it? */
static bool is_value(const json_t *attribute, const char *value)
{
    size_t n;
    if (json_is_string(attribute))
        return strcmp(json_string_value(attribute), value) == 0;
    if (json_is_boolean(attribute))
        return strcasecmp(value, json_is_true(attribute) ? "true" : "false") == 0;
    return json_is_integer(attribute) && read_number(value, &n) && (json_int_t)n == json_integer_value(attribute);
}

/* in:one,"two, too" */
static bool is_in(const json_t *attribute, const char *list)
{
    char one[1024];
    while (*list != '\0') {
        bool quoted = *list == '"';
        list += quoted;
        size_t n = strcspn(list, quoted ? "\"" : ",");
        if (n < sizeof(one)) {
            memcpy(one, list, n);
            one[n] = '\0';
            if (is_value(attribute, one))
                return true;
        }
        list += n;
        list += strcspn(list, ",");
        list += *list == ',';
    }
    return false;
}

static bool passes_date(const json_t *attribute, const char *value)
{
    char operator[8];
    const char *other = date_operator(value, operator), *own = json_string_value(attribute);
    if (own == NULL)
        return false;
    size_t n = strcspn(other, ".Z+"); /* to a second, of Greenwich */
    int c = strncmp(own, other, n > 19 ? 19 : n);
    if (n < 19 && c == 0 && own[n] != '\0' && own[n] != 'Z') /* a day begins at its midnight */
        c = strcmp(own + n, "T00:00:00Z") == 0 ? 0 : 1;
    switch (operator[0]) {
    case 'g':
        return operator[2] == 'e' ? c >= 0 : c > 0;
    case 'l':
        return operator[2] == 'e' ? c <= 0 : c < 0;
    case 'n':
        return c != 0;
    default:
        return c == 0;
    }
}

static bool passes(const struct query_term *t, const json_t *image)
{
    static const char *const lists[] = {"container_format", "disk_format", "id", "name", "status"};
    const json_t *attribute = json_object_get(image, t->key);
    size_t n = 0;
    read_number(t->value, &n);
    if (strcmp(t->key, "size_min") == 0)
        return json_integer_value(json_object_get(image, "size")) >= (json_int_t)n;
    if (strcmp(t->key, "size_max") == 0)
        return json_integer_value(json_object_get(image, "size")) <= (json_int_t)n;
    if (strcmp(t->key, "member_status") == 0) /* of images shared with the caller: as all, while there is no caller */
        return true;
    if (strcmp(t->key, "visibility") == 0 && strcmp(t->value, "all") == 0)
        return true;
    if (strcmp(t->key, "created_at") == 0 || strcmp(t->key, "updated_at") == 0)
        return passes_date(attribute, t->value);
    if (strncmp(t->value, "in:", 3) == 0 && ONE_OF(t->key, lists))
        return is_in(attribute, t->value + 3);
    return is_value(attribute, t->value); /* also a tag, or a property, of which no image here has any */
}

bool query_matches(const struct query *q, const json_t *image)
{
    for (size_t i = 0; i < q->term_count; i++) {
        if (!passes(&q->terms[i], image))
            return false;
    }
    return true;
}

/* ---- order */

static int compare_values(const json_t *a, const json_t *b)
{
    if (json_is_string(a) && json_is_string(b))
        return strcmp(json_string_value(a), json_string_value(b));
    if (json_is_integer(a) && json_is_integer(b))
        return json_integer_value(a) < json_integer_value(b) ? -1 : json_integer_value(a) > json_integer_value(b);
    return (a != NULL && !json_is_null(a)) - (b != NULL && !json_is_null(b)); /* what is not known comes first */
}

int query_compare(const struct query *q, const json_t *a, const json_t *b)
{
    for (size_t i = 0; i < q->key_count; i++) {
        int c = compare_values(json_object_get(a, q->keys[i].key), json_object_get(b, q->keys[i].key));
        if (c != 0)
            return q->keys[i].descending ? -c : c;
    }
    return compare_values(json_object_get(a, "id"), json_object_get(b, "id"));
}
