/* SPDX-License-Identifier: Apache-2.0 */
/* A boot that ended: counted, and merged into the set of its name. No state, no lock. */
#include "config-auto.h"

#include "engine/bootset/learn.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"

/* A boot that reads less than a quarter of the set is none: somebody looked at the image. */
enum { LEAST = 256 << 10, PEEK = 4 };

struct work {
    struct bootset set, boot, merged;
    char text[BOOTSET_TEXT_MAX + 1];
};

int learn_load(struct store *store, const char *name, struct bootset *ret)
{
    char *text = malloc(BOOTSET_TEXT_MAX);
    size_t length = 0;
    unsigned line = 0;
    int r = text == NULL ? -ENOMEM : store_read_bootset(store, name, text, BOOTSET_TEXT_MAX, &length);
    if (r == 0 && (r = bootset_parse(text, length, ret, &line)) < 0)
        log_warning("%s: its boot set cannot be used: line %u is none; the next boot makes it anew", name, line);
    free(text);
    return r;
}

static int save(struct store *store, const char *name, const struct bootset *set, char text[BOOTSET_TEXT_MAX + 1])
{
    return store_write_bootset(store, name, text, bootset_print(set, text));
}

int learn_save(struct store *store, const char *name, const struct bootset *set)
{
    char *text = malloc(BOOTSET_TEXT_MAX + 1);
    int r = text == NULL ? -ENOMEM : save(store, name, set, text);
    free(text);
    return r;
}

static void count_replayed(struct ledger *ledger, const struct trace *trace, const struct chunkmap *replayed)
{
    uint64_t chunks = replayed == NULL ? 0 : chunkmap_chunks(replayed), chunk = replayed == NULL ? 0 : chunkmap_chunk_size(replayed);
    uint64_t read = 0, unread = 0;
    for (uint64_t c = replayed == NULL ? 0 : chunkmap_next_present(replayed, 0); c < chunks; c = chunkmap_next_present(replayed, c + 1))
        *(trace_has(trace, c * chunk) ? &read : &unread) += chunk;
    ledger_count(ledger, COUNT_REPLAYED_READ, read);
    ledger_count(ledger, COUNT_REPLAYED_UNREAD, unread);
    ledger_count(ledger, COUNT_REPLAYS, read + unread > 0);
}

/* What is written then is in w->merged. */
static bool merge(struct store *store, const char *name, uint64_t size, const struct chunkmap *replayed, struct work *w)
{
    if (learn_load(store, name, &w->set) < 0) {
        w->merged = w->boot;
        return true;
    }
    bootset_fit(&w->set, size);
    if (bootset_bytes(&w->boot) * PEEK < bootset_bytes(&w->set))
        return false;
    return bootset_merge(&w->set, &w->boot, replayed, &w->merged) == 0;
}

bool learn_boot(struct store *store, struct ledger *ledger, const char *name, const struct trace *trace, const struct chunkmap *replayed,
                uint64_t limit)
{
    struct work *w = malloc(sizeof(*w));
    bool written = false;
    count_replayed(ledger, trace, replayed);
    if (w != NULL && trace_bytes(trace) >= LEAST && trace_set(trace, &w->boot) == 0 && !bootset_is_copy(&w->boot) &&
        merge(store, name, w->boot.size, replayed, w)) {
        bootset_fit(&w->merged, w->boot.size);
        bootset_cut(&w->merged, limit);
        int r = save(store, name, &w->merged, w->text);
        written = r == 0;
        if (r < 0)
            log_errno(r, "%s: its boot set could not be written", name);
        else
            log_debug("%s: a boot was learned: %llu bytes read, %llu in its set", name, (unsigned long long)trace_bytes(trace),
                      (unsigned long long)bootset_bytes(&w->merged));
        ledger_count(ledger, COUNT_BOOTS, written);
    }
    free(w);
    return written;
}
