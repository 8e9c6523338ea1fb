/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread with a list of things to do, in order: for work that waits on the disk and that the caller must not wait for.
 */
#ifndef GCFS_TASKS_H
#define GCFS_TASKS_H

#include <stdint.h>

struct tasks;

typedef void task_fn(void *context);

/* Starts the thread, named NAME (≤ 15 characters) for ps and gdb. -EAGAIN, -ENOMEM. */
int tasks_new(const char *name, struct tasks **ret);
/* Calls TICK(CONTEXT) on the thread about every MS milliseconds, between tasks. Call before the first task, once. */
void tasks_every(struct tasks *t, uint64_t ms, task_fn *tick, void *context);
/* Any thread, never blocks on the task: FN(CONTEXT) is called on the thread after all that was added before. When there is
 * no memory for the entry the process ends: nothing that waits for a task could ever go on. */
void tasks_add(struct tasks *t, task_fn *fn, void *context);
/* Does what is on the list, then ends the thread and frees T. NULL is fine. Not from T's own thread. */
void tasks_finish(struct tasks *t);

#endif
