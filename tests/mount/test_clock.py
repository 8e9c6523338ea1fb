# SPDX-License-Identifier: Apache-2.0
"""The clock of the machine is set while images are cached and queued: nothing expires for it, nothing stays for ever, nothing waits for ever."""
import os
import struct
import time

import pytest

from harness import MIB, blob, same
from waiting import wait_until

HOUR, YEAR = 3600, 365 * 86400

# The wall clock differs from the machine's by the nanoseconds that stand in the file $GCFS_TEST_CLOCK.
SHIM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *offset;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("GCFS_TEST_CLOCK");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        offset = at;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    if (syscall(SYS_clock_gettime, id, t) < 0)
        return -1;
    if (id == CLOCK_REALTIME && offset != NULL) {
        int64_t now = t->tv_sec * INT64_C(1000000000) + t->tv_nsec + *offset;
        t->tv_sec = now / INT64_C(1000000000);
        t->tv_nsec = now % INT64_C(1000000000);
    }
    return 0;
}
"""


@pytest.fixture
def clock(shim, monkeypatch):
    """clock(SECONDS): from now on the program's wall clock is so far ahead of the machine's."""
    path = os.path.join(shim(SHIM), "offset")

    def turn(seconds):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(fd, struct.pack("=q", seconds * 10**9), 0)
        os.close(fd)
    turn(0)
    monkeypatch.setenv("GCFS_TEST_CLOCK", path)
    return turn


def cached(cache, origin, name, seed):
    content = origin.put(name, blob(2 * MIB, seed))
    same(cache.read(name), content)
    cache.wait_cached(name)
    return content


def accessed(cache, name):
    return os.stat(cache.path("cached", name)).st_atime


@pytest.mark.parametrize("step", [6 * HOUR, 2 * YEAR])
def test_set_forward_nothing_expires(cache, origin, clock, step):
    """But what is old enough without that does, which shows that it was looked for."""
    cache.configure(origin, cache_ttl=100).mount()
    for i, name in enumerate(("a", "b", "old", "older")):
        cached(cache, origin, name, i)
    os.setxattr(cache.image("old"), "user.glance.pinned", b"1")
    cache.unmount()
    cache.sql("UPDATE images SET last_accessed = last_accessed - 86400000000000 WHERE name IN ('old', 'older')")
    cache.mount()
    cache.wait_has("cached", "older", there=False, seconds=60)
    clock(step)
    os.setxattr(cache.image("old"), "user.glance.pinned", b"0")
    cache.wait_has("cached", "old", there=False, seconds=60)
    assert cache.ls("cached") == ["a", "b"]
    wait_until(lambda: accessed(cache, "a") > time.time() + step - HOUR, what="the age to follow")


@pytest.mark.parametrize("step", [6 * HOUR, 2 * YEAR])
def test_set_back_the_oldest_goes_first(cache, origin, clock, step):
    cache.configure(origin, image_cache_max_size="5M").mount()
    cached(cache, origin, "old", 1)
    clock(-step)
    wait_until(lambda: accessed(cache, "old") < time.time() - step + HOUR, what="the age to follow")
    cached(cache, origin, "new", 2)
    cached(cache, origin, "next", 3)
    assert cache.ls("cached") == ["new", "next"]


@pytest.mark.parametrize("at_once", [True, False], ids=["at_once", "later"])
def test_started_with_a_clock_ahead(cache, origin, clock, at_once):
    """Until the machine has asked for the time: what was read meanwhile is not for ever, and keeps its order."""
    clock(10 * YEAR)
    cache.configure(origin, image_cache_max_size="5M").mount()
    cached(cache, origin, "first", 1)
    cached(cache, origin, "second", 2)
    cache.unmount()
    clock(0)
    cache.mount()
    if not at_once:
        wait_until(lambda: accessed(cache, "second") <= time.time() + HOUR, what="the time to be taken back")
        assert accessed(cache, "first") < accessed(cache, "second")
    cached(cache, origin, "third", 3)
    cached(cache, origin, "fourth", 4)
    assert cache.ls("cached") == ["fourth", "third"]


def test_started_with_a_clock_far_ahead_nothing_expires_at_once(cache, origin, clock):
    cache.configure(origin, cache_ttl=3600).mount()
    cached(cache, origin, "a", 1)
    seen = wait_until(lambda: cache.sql("SELECT value FROM notes WHERE key = 'clock_seen'"), what="the clock to be noted")
    cache.unmount()
    clock(2 * YEAR)
    cache.mount()
    wait_until(lambda: cache.sql("SELECT value FROM notes WHERE key = 'clock_seen'") > seen, what="the first look at the clock")
    cached(cache, origin, "b", 2)  # on the thread that had looked for what expired
    assert cache.ls("cached") == ["a", "b"]


@pytest.mark.parametrize("ahead", [6 * HOUR, 10 * YEAR])
def test_set_back_a_queued_image_is_tried_again(cache, origin, clock, ahead):
    content = origin.put("a", blob(2 * MIB, 1))
    fault = origin.fault("a", status=500)
    clock(ahead)
    cache.configure(origin.config(retries=0), prefetch_retry_delay=HOUR).mount()
    cache.touch("queued", "a")
    wait_until(lambda: cache.entry("queued", "a")["failed_tries"] > 0, what="the first failure")
    fault.times = 0
    clock(0)
    cache.wait_cached("a")
    same(cache.read("a"), content)
