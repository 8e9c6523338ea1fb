/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands. A new one is a line here, and what it prints in print.c or fleet.c. */
#include "config-auto.h"

#include <string.h>

#include "manage/manage.h"

static const struct command COMMANDS[] = {
    {.name = "list-cached", .kind = CACHED, .method = "GET", .path = "/v2/cached_images", .action = "show cached images",
     .help = "List all images currently cached"},
    {.name = "list-queued", .kind = QUEUED, .method = "GET", .path = "/v2/queued_images", .action = "show queued images",
     .help = "List all images currently queued for caching"},
    {.name = "queue-image", .kind = CHANGE, .ids = IDS_PATH, .method = "PUT", .path = "/v2/queued_images/",
     .action = "queue the specified image for caching", .question = "Queue image %s for caching?",
     .done = "Queued image %s for caching", .help = "Queue an image for caching"},
    {.name = "delete-cached-image", .kind = CHANGE, .ids = IDS_PATH, .method = "DELETE", .path = "/v2/cached_images/",
     .action = "delete the specified cached image", .question = "Delete cached image %s?", .done = "Deleted cached image %s",
     .help = "Purges an image from the cache"},
    {.name = "delete-all-cached-images", .kind = CHANGE, .method = "DELETE", .path = "/v2/cached_images",
     .action = "Delete all cached images", .question = "Delete all cached images?", .done = "Deleted %s cached images",
     .number = "num_deleted", .help = "Removes all images from the cache"},
    {.name = "delete-queued-image", .kind = CHANGE, .ids = IDS_PATH, .method = "DELETE", .path = "/v2/queued_images/",
     .action = "delete the specified queued image", .question = "Delete queued image %s?", .done = "Deleted queued image %s",
     .help = "Deletes an image from the cache queue"},
    {.name = "delete-all-queued-images", .kind = CHANGE, .method = "DELETE", .path = "/v2/queued_images",
     .action = "Delete all queued images", .question = "Delete all queued images?", .done = "Deleted %s queued images",
     .number = "num_deleted", .help = "Deletes all images from the cache queue"},
    {.name = "status", .kind = STATE, .method = "GET", .path = "/status?brief=1", .action = "show the status",
     .help = "Show how full the cache is, and whether something is wrong"},
    {.name = "watch", .kind = STATE, .ids = IDS_NUMBER, .method = "GET", .path = "/status?brief=1", .action = "show the status",
     .help = "Show the status every 2, or so many, seconds"},
    {.name = "list-images", .kind = IMAGES, .method = "GET", .path = "/status", .action = "list images",
     .help = "List images with the hosts that have them; --matrix: a column a host"},
    {.name = "list-incomplete", .kind = INCOMPLETE, .method = "GET", .path = "/status", .action = "show incomplete images",
     .help = "List images that are partly here"},
    {.name = "show-queue", .kind = QUEUE, .method = "GET", .path = "/status", .action = "show the queue",
     .help = "List queued images with their state and the last error"},
    {.name = "list-invalid", .kind = INVALID, .method = "GET", .path = "/status", .action = "show what failed",
     .help = "List images that failed, and why"},
    {.name = "show", .kind = SHOW, .ids = IDS_FILTER, .method = "GET", .path = "/status", .action = "show the image",
     .help = "Show what each host has of an image"},
    {.name = "pin", .kind = CHANGE, .ids = IDS_PATH, .method = "PUT", .path = "/v2/cache/", .behind = "/pin",
     .action = "pin the specified image", .done = "Pinned image %s", .help = "Keep an image from being evicted to make room"},
    {.name = "unpin", .kind = CHANGE, .ids = IDS_PATH, .method = "DELETE", .path = "/v2/cache/", .behind = "/pin",
     .action = "unpin the specified image", .done = "Unpinned image %s", .help = "Let a pinned image be evicted again"},
    {.name = "prune", .kind = CHANGE, .method = "POST", .path = "/v2/cache/prune", .action = "prune the cache",
     .question = "Prune the cache?", .done = "Pruned %s images", .number = "total_files_pruned",
     .help = "Evict the least recently used images until the cache is within its limit"},
    {.name = "clean", .kind = CHANGE, .method = "POST", .path = "/v2/cache/clean", .action = "clean the cache",
     .question = "Clean the cache?", .done = "Cleaned", .help = "Remove what failed and what makes no progress"},
};
enum { COMMAND_COUNT = sizeof(COMMANDS) / sizeof(COMMANDS[0]) };

void commands_list(FILE *out)
{
    fprintf(out, "    %-28s%s\n\n", "help <command>", "Output help for one of the commands below");
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "    %-28s%s\n\n", COMMANDS[i].name, COMMANDS[i].help);
}

const struct command *command_find(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(COMMANDS[i].name, name) == 0)
            return &COMMANDS[i];
    }
    return NULL;
}
