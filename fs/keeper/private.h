/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper's files share. One thread; no lock. */
#ifndef GCFS_KEEPER_PRIVATE_H
#define GCFS_KEEPER_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/config.h"
#include "keeper/backing.h"
#include "keeper/control.h"
#include "keeper/deaths.h"
#include "keeper/mount.h"
#include "keeper/mountpoint.h"
#include "process/arrivals.h"
#include "process/command_line.h"
#include "process/ledger.h"
#include "process/privileges.h"

/*
 * What a worker is started from: the program and the configuration as they were when they were last asked for. A worker
 * that dies is replaced from the same, whatever lies on disk by now.
 */
struct edition {
    unsigned refs;
    int program_fd;
    int config_fd; /* a copy in memory */
    struct config *config;
};

/*
 * A worker's process.
 *
 *   NONE ──spawn──> STARTING ──PREPARED──> PREPARED ──GO sent──> GOING ──READY──> SERVING ──STOP sent──> STOPPING ──dies──> NONE
 */
enum child_state { CHILD_NONE, CHILD_STARTING, CHILD_PREPARED, CHILD_GOING, CHILD_SERVING, CHILD_STOPPING };

struct child {
    enum child_state state;
    pid_t pid;
    int control_fd;        /* -1: none */
    int backing_fd;        /* -1: none */
    struct edition *edition;
    int64_t since;         /* monotonic; when it was told to go */
    int64_t kill_at;       /* monotonic; STOPPING: when patience ends; 0: never */
    uint64_t answers;      /* the ledger's count when it was told to go */
    bool served;           /* it came as far as SERVING */
    int64_t gone_at;       /* monotonic; when its end of the control socket was found closed; 0: not yet */
};

enum { KEEPER_GHOSTS = 16 };

struct keeper {
    const struct command_line *line;
    char *config_path, *program_path, *path; /* absolute; path: the mount point */
    char oom_score[16];                      /* of who started us: the workers' */
    int ready_fd;                            /* -1: nobody waits for us */
    int signal_fd, lock_fd;
    int mounts_fd;                           /* changes of what is mounted; -1: nobody tells */
    char device[32];                         /* the mount's; "": not known */
    int64_t absent_at;                       /* monotonic; when it is said that the mount is not there; 0: it is */
    bool absent_said;

    struct mount *mount;
    int fuse_fd, ledger_fd, arrivals_fd;
    struct ledger *ledger;
    struct backings *backings;
    bool unmounted; /* from outside */
    bool told_go;   /* a worker was, on this mount */

    struct edition *edition;   /* in force: a worker of it served */
    struct edition *asked;     /* that is to follow, by hand; NULL: none */
    struct control *control;   /* NULL: nobody can ask but by a signal */
    struct child current;      /* the one that serves, or did last */
    struct child next;         /* the one that is to follow */
    bool again_config;         /* asked for another one, with the configuration on disk, while one was under way */
    bool again_program;        /* or with the program on disk */

    pid_t ghosts[KEEPER_GHOSTS]; /* dead workers that the kernel does not let go yet; 0: none */

    struct deaths deaths;
    int64_t restart_at;                  /* monotonic */
    int64_t handed_over_at;              /* monotonic; 0: no hand-over is under way */
    bool afresh;                         /* the next worker gets a new mount */
    bool ready, ending;
    int exit_code;
};

/* ---- start.c; reasons of failures are logged */

/* All that can be wrong is looked at; nothing is changed yet. */
int keeper_set_up(struct keeper *k);
/* The lock on the cache directory, whose files become the worker's, and the mount. */
int keeper_mount_first(struct keeper *k);
/* The mount, from k->mount made by mount_new(), with what belongs to it; and its end. */
int keeper_put_up(struct keeper *k);
void keeper_take_down(struct keeper *k);

/* ---- succession.c */

/* What there is to do after an event: a worker started, told to go, or told to stop for the next. */
void keeper_advance(struct keeper *k);
void keeper_start_next(struct keeper *k, struct edition *edition); /* when there is none */
void keeper_now_serving(struct keeper *k); /* the current one began to */
/* What was asked for came to nothing: it is said WHY, and the service manager is told that all is as it was. */
void keeper_not_replaced(struct keeper *k, const char *why);
/* Ends all; the mount goes, and keeper_run() returns EXIT_CODE. */
void keeper_give_up(struct keeper *k, int exit_code);

/* ---- absence.c */

void absence_watch(struct keeper *k);
void absence_look(struct keeper *k); /* something was mounted or unmounted */
void absence_say(struct keeper *k);  /* when k->absent_at has come */

/* ---- edition.c */

struct edition *edition_ref(struct edition *e);
void edition_unref(struct edition *e); /* NULL is fine */
/*
 * The program at PROGRAM_PATH and the configuration at CONFIG_PATH as they are now. The reason of a failure is logged.
 */
int edition_new(const char *program_path, const char *config_path, struct edition **ret);
/* The same with the program of E, or with its configuration, in place of those on disk. */
int edition_reload(const struct edition *e, const char *config_path, struct edition **ret);
int edition_upgrade(const struct edition *e, const char *program_path, struct edition **ret);

/* ---- child.c */

/* Starts a worker of EDITION, which comes as far as PREPARED by itself. Logs why not. */
int child_spawn(struct keeper *k, struct edition *edition, struct child *ret);
/* GO, on the mount as it is. Logs why not. */
int child_go(struct keeper *k, struct child *c);
void child_stop(struct child *c, bool hand_over, int64_t patience_ms); /* 0: for ever */
void child_kill(struct child *c);
/* A message came; moves on. Returns whether the state changed. */
bool child_hear(struct child *c);
void child_forget(struct child *c); /* it has been waited for */

#endif
