/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl's handles: the multi handle and the share of a loop, and its pool of easy handles.
 *
 * An easy handle belongs to one transfer from begin to end, then goes back to the pool, reset: connections, names and
 * TLS sessions are the loop's and stay. libcurl frees the receive buffer of a handle when its transfer ends. Everything
 * runs on the loop's thread; no lock.
 */
#include "config-auto.h"

#include "transfer/private.h"

#include <errno.h>

static void global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

int transfer_http_open(struct transfers *t)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    t->multi = curl_multi_init();
    t->share = curl_share_init();
    if (!t->multi || !t->share) {
        return -ENOMEM;
    }
    /* No lock functions: all handles of this share are used by one thread. */
    if (curl_share_setopt(t->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK ||
        curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, 64L) != CURLM_OK ||
        curl_multi_setopt(t->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX) != CURLM_OK) {
        return -EIO;
    }
    return 0;
}

void transfer_http_close(struct transfers *t)
{
    while (t->idle_count > 0) {
        curl_easy_cleanup(t->idle[--t->idle_count]);
    }
    curl_multi_cleanup(t->multi);
    if (t->share) {
        curl_share_cleanup(t->share);
    }
}

CURL *transfer_handle_take(struct transfers *t)
{
    return t->idle_count > 0 ? t->idle[--t->idle_count] : curl_easy_init();
}

/*
 * A handle whose connection went on with the streams of others keeps its receive buffer, whose size libcurl then refuses to change: such
 * a one would receive in small pieces for ever, and is not kept.
 */
void transfer_handle_give_back(struct transfers *t, CURL *easy)
{
    curl_easy_reset(easy); /* now, so that it holds no secrets and no pointers while it waits */
    if (t->idle_count < TRANSFER_IDLE_HANDLES &&
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)TRANSFER_RECEIVE_MAX) == CURLE_OK) {
        t->idle[t->idle_count++] = easy;
    } else {
        curl_easy_cleanup(easy);
    }
}

int transfers_set_up(void) { return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -ENOMEM; }

void transfers_clean_up(void) { curl_global_cleanup(); }
