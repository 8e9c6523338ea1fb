/* SPDX-License-Identifier: Apache-2.0 */
/* Refusals in words, see refusal.h. */
#include "config-auto.h"

#include "backends/refusal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "transfer/transfer.h"

/* Where the code alone does not tell what to do. */
static const struct { const char *code, *text; } known[] = {
    { "InvalidObjectState", "it is archived: restore it, or move it to another storage class" },
    { "ExpiredToken", "the session has ended: renew the credentials" },
    { "InvalidAccessKeyId", "the service does not know access_key" },
    { "SignatureDoesNotMatch", "the secret key is wrong, or something between changes requests" },
    { "AuthorizationHeaderMalformed", "set region to the bucket's" },
    { "PermanentRedirect", "the bucket is elsewhere: set region, or endpoint" },
    { "RequestTimeTooSkewed", "set the clock" },
    { "NoSuchBucket", "there is no such bucket" },
    { "SlowDown", "the service asks for fewer requests" },
};

bool refusal_element(const char *document, const char *name, char *ret, size_t size)
{
    char tag[64];
    int length = snprintf(tag, sizeof(tag), "<%s>", name);
    const char *start = length > 0 && (size_t) length < sizeof(tag) ? strstr(document, tag) : NULL;
    const char *end = start ? strchr(start + length, '<') : NULL;
    if (!end || (size_t) (end - start - length) >= size)
        return false;
    for (const char *c = start + length; c < end; c++) {
        if (!isgraph((unsigned char) *c))
            return false;
    }
    memcpy(ret, start + length, (size_t) (end - start - length));
    ret[end - start - length] = '\0';
    return true;
}

void refusal_note(const struct transfer_result *result, struct refusal *ret)
{
    *ret = (struct refusal){ .status = result->status };
    refusal_element(result->document, "Code", ret->code, sizeof(ret->code));
}

void refusal_text(int status, const char *document, char *ret, size_t size)
{
    char code[64] = "";
    const char *text = NULL;
    refusal_element(document, "Code", code, sizeof(code));
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(code, known[i].code) == 0)
            text = known[i].text;
    }
    if (strcasestr(document, "server side encryption") || strcasestr(document, "server-side encryption"))
        text = "it is encrypted with a key of its owner (SSE-C), which cannot be given: store it otherwise";
    snprintf(ret, size, "the backend answered %d%s%s%s%s%s", status, *code ? " (" : "", code, text ? ": " : "", text ? text : "", *code ? ")" : "");
}
