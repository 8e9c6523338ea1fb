/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call that is Glance's: passed on and answered by pieces, on the thread of its connection, which blocks on Glance. What libmicrohttpd tells
 * of the request comes here in order: its head, its body, its end; then relay_free().
 */
#ifndef GCFS_API_RELAY_H
#define GCFS_API_RELAY_H

#include "api/http/api.h"

/*
 * The headers are here. MHD_YES: the body may come; or r->refused is set, and the answer was given before it. MHD_NO: the connection is to be
 * closed.
 */
enum MHD_Result relay_begin(struct request *r, int client_fd);
/* A piece of the body. */
enum MHD_Result relay_piece(struct request *r, const char *bytes, size_t length);
/* The body has ended: gives the answer. */
enum MHD_Result relay_answer(struct request *r);
/* The request, which is still there, has ended, however; it is cut at Glance when it is not over there. NULL is fine. */
void relay_free(struct relayed *relayed);

/* The silence that counts is the client's, not that of a call which waited for others. */
void relay_restart_timeout(struct request *r);

#endif
