/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the kernel what to forget, never from inside a handler, where it would deadlock. To drop pages can take as long as a read of one
 * of them waits here: the kernel holds a page that is being read. So nothing of ours ever waits for that but what it is for:
 *
 *   names   one thread; a folder is held for as long as one of its own handlers works, and never over the network (see forget_name())
 *   behind  one thread for what a sequential reader leaves behind; it may be stuck, then what comes on top of BEHIND_MAX is left to the kernel
 *   a tail  a thread of its own each, since readers of that image wait for it, see image_held_locked()
 *
 * The lock is a leaf: held only to count.
 */
#include "config-auto.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tasks.h"
#include "engine/images/teller.h"
#include "image/id.h"

enum { BEHIND_MAX = 256, STACK_BYTES = 128 * 1024 };

struct teller {
    struct kernel_notify kernel;
    struct tasks *names, *behind;
    struct tasks *told; /* says what is done: a thread that spoke with the kernel has no descriptors to wake another one by */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned pending; /* drops on `behind`; protected by lock */
    unsigned tails;   /* threads; protected by lock */
};

struct word {
    struct teller *teller;
    int64_t row;
    uint64_t offset, length;
    void (*done)(void *context);
    void *context;
    char name[IMAGE_ID_MAX + 1];
};

int teller_new(const struct kernel_notify *kernel, struct teller **ret)
{
    struct teller *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    t->kernel = *kernel;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->ended, NULL);
    int r = tasks_new("teller", &t->names);
    if (r == 0)
        r = tasks_new("behind", &t->behind);
    if (r == 0)
        r = tasks_new("told", &t->told);
    if (r < 0) {
        teller_finish(t);
        return r;
    }
    *ret = t;
    return 0;
}

void teller_finish(struct teller *t)
{
    if (t == NULL)
        return;
    t->kernel.stop(t->kernel.context); /* nobody waits any more until it is heard */
    tasks_finish(t->names);
    tasks_finish(t->behind);
    pthread_mutex_lock(&t->lock);
    while (t->tails > 0)
        pthread_cond_wait(&t->ended, &t->lock);
    pthread_mutex_unlock(&t->lock);
    tasks_finish(t->told);
    pthread_cond_destroy(&t->ended);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static void tell_name(void *context)
{
    struct word *word = context;
    word->teller->kernel.forget_name(word->teller->kernel.context, word->name);
    free(word);
}

void teller_name(struct teller *t, const char *name)
{
    struct word *word = calloc(1, sizeof(*word));
    if (word == NULL)
        return; /* the entry ends by itself after its time-out */
    word->teller = t;
    snprintf(word->name, sizeof(word->name), "%s", name);
    tasks_add(t->names, tell_name, word);
}

static void forget(const struct word *word)
{
    const struct kernel_notify *n = &word->teller->kernel;
    n->forget_bytes(n->context, word->row, word->offset, word->length);
}

static void tell_behind(void *context)
{
    struct word *word = context;
    forget(word);
    pthread_mutex_lock(&word->teller->lock);
    word->teller->pending--;
    pthread_mutex_unlock(&word->teller->lock);
    free(word);
}

void teller_behind(struct teller *t, int64_t row, uint64_t offset, uint64_t length)
{
    pthread_mutex_lock(&t->lock);
    bool room = t->pending < BEHIND_MAX;
    struct word *word = room ? calloc(1, sizeof(*word)) : NULL;
    if (word != NULL)
        t->pending++;
    pthread_mutex_unlock(&t->lock);
    if (word == NULL)
        return;
    *word = (struct word){.teller = t, .row = row, .offset = offset, .length = length};
    tasks_add(t->behind, tell_behind, word);
}

static void say_done(void *context)
{
    struct word *word = context;
    word->done(word->context);
    free(word);
}

static void tell_tail(void *context)
{
    struct word *word = context;
    forget(word);
    tasks_add(word->teller->told, say_done, word);
}

static void *tail_thread(void *context)
{
    struct teller *t = ((struct word *)context)->teller;
    tell_tail(context);
    pthread_mutex_lock(&t->lock);
    t->tails--;
    pthread_cond_signal(&t->ended);
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

static int start_thread(struct word *word)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int r = pthread_create(&thread, &attributes, tail_thread, word);
    pthread_attr_destroy(&attributes);
    return -r;
}

int teller_tail(struct teller *t, int64_t row, uint64_t offset, uint64_t length, void (*done)(void *context), void *context)
{
    struct word *word = calloc(1, sizeof(*word));
    if (word == NULL)
        return -ENOMEM;
    *word = (struct word){.teller = t, .row = row, .offset = offset, .length = length, .done = done, .context = context};
    pthread_mutex_lock(&t->lock);
    t->tails++;
    pthread_mutex_unlock(&t->lock);
    if (start_thread(word) == 0)
        return 0;
    pthread_mutex_lock(&t->lock);
    t->tails--;
    pthread_mutex_unlock(&t->lock);
    tasks_add(t->names, tell_tail, word); /* no thread is to be had: later than it could be, but done */
    return 0;
}
