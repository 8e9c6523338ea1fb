/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's socket, for `glance-cache-fs --reload` and `--upgrade`: a request is answered when it was carried out, or could not be.
 *
 * It is an abstract one, "glance-cache-fs/MAJOR:MINOR/RANDOM" of the mount's device: whoever wants to be asked in the keeper's place cannot
 * take the name before it, and who asks believes only a socket of root's or of the user that mounted. Others than these are turned away.
 *
 * One message each way, texts, understood by every version: "reload" or "upgrade"; "done" or "failed: REASON". No answer: the keeper ended.
 */
#ifndef GCFS_CONTROL_H
#define GCFS_CONTROL_H

#include <stdbool.h>

/* ---- the keeper's end; one thread, nothing blocks */

struct control;

int control_new(struct control **ret);
void control_free(struct control *c); /* NULL is fine, here and below: then nobody asks */
/* Listens for DEVICE (MAJOR:MINOR), from now on or already. -errno: nobody can ask. */
int control_listen(struct control *c, const char *device);
/* To be polled for reading; -1. */
int control_fd(const struct control *c);
/* What came. 1: somebody asks for another worker, with the program on disk (*ret_program) or the configuration; call again. 0: no more. */
int control_serve(struct control *c, bool *ret_program);
/* What all asked for who asked for that is being done. */
void control_begun(struct control *c, bool program);
/* It was done, or (WHY) not: they are told. */
void control_ended(struct control *c, const char *why);

/* ---- the other end */

/* Asks the keeper of the mount at POINT and waits for its answer. Logs what went wrong; -errno then. */
int control_ask(const char *point, bool program);

#endif
