/* SPDX-License-Identifier: Apache-2.0 */
/* glance-cache-pruner(1): the command line. */
#include "config-auto.h"

#include <stdio.h>
#include <string.h>

#include "pruner/prune.h"

static struct prune_target to;

static int take_to(const char *value)
{
    char digits[8];
    size_t length = strlen(value);
    to.given = true;
    if (length == 0 || value[length - 1] != '%')
        return tool_take_size("to", value, &to.value);
    to.percent = true;
    if (length > sizeof(digits))
        length = sizeof(digits);
    snprintf(digits, sizeof(digits), "%.*s", (int)length - 1, value);
    return tool_take_number("to", digits, 0, 100, &to.value);
}

static int take_option(const char *name, const char *value)
{
    (void)name; /* it has one only */
    return take_to(value);
}

static enum tool_exit run(struct tool_run *tool_run)
{
    struct pruned pruned;
    int r = prune_run(tool_run, &to, &pruned);
    return r < 0 ? TOOL_FAILED : pruned.over > 0 || pruned.failed > 0 ? TOOL_PARTLY : TOOL_DONE;
}

int main(int argc, char **argv)
{
    static const struct tool_option options[] = {
        {"to", "SIZE|PERCENT", "down to so many bytes, or to this part of the limit, as 8G\nor 80%; else down to the limit"},
    };
    static const char *const lists[] = {"removed", "failed", NULL};
    static const struct tool pruner = {
        .name = "glance-cache-pruner",
        .operands = "",
        .purpose = "Removes the least recently used images from the cache until it is at or below its\n"
                   "limit (image_cache_max_size) and min_free is free. Pinned images stay, open ones go last.",
        .exits = "Exit status: 0 the cache is at or below the target; 1 nothing could be done, or a signal\n"
                 "came; 2 it is still above, the log says why.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .lists = lists,
        .take_option = take_option,
        .run = run,
    };
    return tool_main(argc, argv, &pruner);
}
