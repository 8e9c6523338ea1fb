/* SPDX-License-Identifier: Apache-2.0 */
#include "config-auto.h"

#include "common/troubles.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static void add(json_t *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(json_t *list, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    json_array_append_new(list, json_string(text));
}

json_t *troubles_of(const json_t *status)
{
    json_t *list = json_array();
    const json_t *endpoints = json_object_get(json_object_get(status, "backend"), "endpoints"), *endpoint;
    size_t i, down = 0;
    json_array_foreach(endpoints, i, endpoint) {
        if (strcmp(text_of(endpoint, "state"), "ok") == 0)
            continue;
        down++;
        add(list, "backend %s: %s", text_of(endpoint, "endpoint"),
            text_of(endpoint, "last_error")[0] ? text_of(endpoint, "last_error") : text_of(endpoint, "state"));
    }
    if (down > 0 && down < json_array_size(endpoints))
        add(list, "%zu of %zu endpoints answer", json_array_size(endpoints) - down, json_array_size(endpoints));
    const char *disk = text_of(status, "disk");
    if (disk[0] != '\0' && strcmp(disk, "ok") != 0)
        add(list, "the disk of the cache directory: %s", disk);
    json_int_t left = json_integer_value(json_object_get(json_object_get(status, "left_alone"), "files"));
    if (left > 0)
        add(list, "%" JSON_INTEGER_FORMAT " file%s of the cache directory %s not known to the backend, and left alone", left, left == 1 ? "" : "s",
            left == 1 ? "is" : "are");
    const char *passthrough = json_string_value(json_object_get(status, "passthrough"));
    if (passthrough != NULL && strcmp(passthrough, "on") != 0 && strcmp(passthrough, "off: passthrough = off") != 0) /* as it was wanted */
        add(list, "not passed through: %s", strncmp(passthrough, "off: ", 5) == 0 ? passthrough + 5 : passthrough);
    const char *listing = text_of(json_object_get(status, "backend"), "listing");
    if (listing[0] != '\0' && strcmp(listing, "ok") != 0 && down == 0)
        add(list, "the backend's listing: %s", listing);
    json_int_t invalid = json_integer_value(json_object_get(json_object_get(status, "images"), "invalid"));
    if (invalid > 0)
        add(list, "%" JSON_INTEGER_FORMAT " image%s failed", invalid, invalid == 1 ? "" : "s");
    return list;
}
