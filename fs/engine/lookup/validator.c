/* SPDX-License-Identifier: Apache-2.0 */
/* Which version of a document was read last, by the headers of its answer. */
#include "config-auto.h"

#include "engine/lookup/validator.h"

#include <string.h>
#include <time.h>

static time_t http_time(const char *text)
{
    struct tm tm = {0};
    const char *end = text == NULL ? NULL : strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    return end == NULL || *end != '\0' ? (time_t)-1 : timegm(&tm);
}

/* A date counts only when the file was a little older than the answer: dates are of seconds, and it may change twice in one. */
void validator_note(struct document_validator *v, unsigned endpoint, const struct transfer_head *head)
{
    const char *etag = transfer_head_get(head, "ETag"), *modified = transfer_head_get(head, "Last-Modified");
    time_t changed = http_time(modified), answered = http_time(transfer_head_get(head, "Date"));
    *v = (struct document_validator){.endpoint = endpoint};
    if (etag != NULL && strlen(etag) < sizeof(v->etag))
        strcpy(v->etag, etag);
    if (changed != (time_t)-1 && answered != (time_t)-1 && answered - changed >= 2 && strlen(modified) < sizeof(v->modified))
        strcpy(v->modified, modified);
}

int validator_ask(const struct document_validator *v, unsigned endpoint, struct transfer_request *request)
{
    if (v->endpoint != endpoint)
        return 0;
    if (v->etag[0] != '\0')
        return transfer_request_header(request, "If-None-Match", v->etag);
    return v->modified[0] == '\0' ? 0 : transfer_request_header(request, "If-Modified-Since", v->modified);
}
