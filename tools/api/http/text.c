/* SPDX-License-Identifier: Apache-2.0 */
/* Times and ids as text. Pure. */
#include "config-auto.h"

#include <string.h>
#include <time.h>

#include "api/http/api.h"

void text_time(double seconds, char ret[32])
{
    time_t t = (time_t)seconds;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(ret, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void text_encode(const char *id, char *ret)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *id != '\0'; id++) {
        unsigned char c = (unsigned char)*id;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c) != NULL) {
            *ret++ = (char)c;
        } else {
            *ret++ = '%';
            *ret++ = hex[c >> 4];
            *ret++ = hex[c & 15];
        }
    }
    *ret = '\0';
}
