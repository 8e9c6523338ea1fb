/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials of the backend that must be had first: one renewal at a time, however many wait for it. On the fetch thread, but where it says otherwise. */
#ifndef GCFS_LOGIN_H
#define GCFS_LOGIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backends/refusal.h"
#include "origin/origin.h"

/* Somebody who waits for a credential. Zeroed but for ready and context. */
struct auth_waiter {
    TAILQ_ENTRY(auth_waiter) link;
    struct auth_waiters *list; /* that it is on; NULL: it does not wait */
    void (*ready)(void *context, int status);
    void *context;
};
TAILQ_HEAD(auth_waiters, auth_waiter);

enum { AUTH_PARKED = 1, AUTH_TRIES = 2 };
/* 0: go ahead; AUTH_PARKED: W->ready is called when there is a credential or none is to be had; -EACCES, -EHOSTUNREACH: none is. */
int auth_wait(struct origin *o, struct auth_waiter *w);
uint64_t auth_pause(const struct origin *o); /* ms until a login is tried again after one that failed; 0: now */
void auth_cancel(struct auth_waiter *w); /* it does not wait any more; fine when it does not */
unsigned auth_credential(struct origin *o); /* that the next request is made with; any thread */
/* A request made with CREDENTIAL was answered with REFUSAL: is it worth another try? *TRIES counts them. Any thread. */
bool auth_again(struct origin *o, const struct refusal *refusal, unsigned credential, unsigned *tries);
int auth_now(struct origin *o); /* another thread; waits for the fetch thread: 0 or why there is none; -ECANCELED */

#endif
