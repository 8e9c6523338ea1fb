/* SPDX-License-Identifier: Apache-2.0 */
/* What the head of Glance's answer tells. No state but the exchange's. */
#include "config-auto.h"

#include "api/relay/private.h"

#include <string.h>

unsigned exchange_status(const struct exchange *x)
{
    return x->status;
}

bool exchange_header(const struct exchange *x, size_t *position, const char **ret_name, const char **ret_value)
{
    if (*position >= x->head_length)
        return false;
    *ret_name = x->head + *position;
    *ret_value = *ret_name + strlen(*ret_name) + 1;
    *position += strlen(*ret_name) + strlen(*ret_value) + 2;
    return true;
}

int64_t exchange_length(const struct exchange *x)
{
    curl_off_t length = -1;
    curl_easy_getinfo(x->lane.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return (int64_t)length;
}

const char *exchange_rest(const struct exchange *x, const char *url)
{
    return upstream_rest(x->base, url);
}

const char *exchange_why(const struct exchange *x)
{
    return x->why;
}
