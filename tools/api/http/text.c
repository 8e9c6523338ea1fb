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

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool text_decode(char *text)
{
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        int c = (unsigned char)*in;
        if (c == '%') {
            int high = nibble(in[1]), low = high < 0 ? -1 : nibble(in[2]);
            if (low < 0 || (high == 0 && low == 0))
                return false;
            c = high << 4 | low;
            in += 2;
        }
        *out++ = (char)c;
    }
    *out = '\0';
    return true;
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
