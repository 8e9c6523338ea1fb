/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The web servers that tests of transfers ask: two of them, alike; to a client they are two hosts. What the paths do:
 *   /plain          ORIGIN_PLAIN bytes of test_pattern(), with ranges
 *   /empty          nothing, with status 200
 *   /chunked        "hello world" without a length, and a trailer
 *   /early          interim answers before the real one
 *   /short          less than was said            /no-answer      hangs up
 *   /half-head      hangs up amid the headers     /garbage        is no HTTP
 *   /stall          says no more after 16 bytes   /silence        says nothing
 *   /many-headers   more headers than are kept
 *   /headers?H      the header lines H, "&" between them, "+" for a blank; "status=N" first, when it is not to be 200
 *   /hop?N          N redirects, then /plain      /big-redirect   a redirect with a body of a mebibyte
 *   /elsewhere?S    status S, to /plain of the other server
 *   /post           the body that was sent        /see-other      303, to /plain
 */
#ifndef GCFS_TEST_TRANSFER_ORIGIN_H
#define GCFS_TEST_TRANSFER_ORIGIN_H

#include "http_server.h"
#include "transfer/transfer.h"

enum { ORIGIN_PLAIN = 3 * 1024 * 1024 + 17 };

extern struct http_server *origin, *other_origin;

/* setup and teardown of a test: both servers, and the loop of transfer_test.h. */
int origin_start(void **state);
int origin_stop(void **state);
struct transfer_request origin_get(const char *path);

#endif
