# SPDX-License-Identifier: Apache-2.0
"""Files that move while others of their name come: evicted and published at once, left behind, come back after a power cut."""
import os
import shutil
import sqlite3

import pytest

from harness import KIB, MIB, blob, drop_page_cache, error_of, same
from waiting import wait_until
from workers import worker_of

SLOW = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* Nothing is moved to the folder $SLOW_TO before $SLOW_FLAG.go is there; $SLOW_FLAG.waits says that something is to be. */
int renameat(int a, const char *from, int b, const char *to)
{
    int (*real)(int, const char *, int, const char *) = (int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");
    char link[64], folder[4096] = "", flag[4096];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", b);
    ssize_t n = readlink(link, folder, sizeof(folder) - 1);
    folder[n > 0 ? n : 0] = '\0';
    if (strstr(folder, getenv("SLOW_TO")) != NULL) {
        snprintf(flag, sizeof(flag), "%s.waits", getenv("SLOW_FLAG"));
        close(open(flag, O_WRONLY | O_CREAT, 0666));
        snprintf(flag, sizeof(flag), "%s.go", getenv("SLOW_FLAG"));
        while (access(flag, F_OK) < 0)
            usleep(5000);
    }
    return real(a, from, b, to);
}
"""


@pytest.mark.parametrize("how", ["rm", "mv"])
def test_published_while_the_old_file_moves_away(cache, origin, shim, monkeypatch, how):
    """The file that goes is the one that was meant, and the old handle keeps its bytes."""
    flag = os.path.join(shim(SLOW), "flag")
    monkeypatch.setenv("SLOW_FLAG", flag)
    monkeypatch.setenv("SLOW_TO", "/.retired" if how == "rm" else "/invalid")
    old = origin.put("x", blob(MIB, 1))
    cache.configure(origin, passthrough="off").mount()
    same(cache.read("x"), old)
    cache.wait_cached("x")
    handle = os.open(cache.image("x"), os.O_RDONLY)
    try:
        new = origin.put("x", blob(MIB, 2))
        removing = cache.spawn("rm", cache.path("cached", "x")) if how == "rm" else \
            cache.spawn("mv", cache.path("cached", "x"), cache.path("invalid", "x"))
        wait_until(lambda: os.path.exists(flag + ".waits"), what="the old file to be moved")

        def is_new():
            try:
                return cache.read("x") == new
            except OSError:
                return False
        wait_until(is_new, what="the new version to be read")
        waits = iter(range(100))  # it is not published while the other moves: seen so often it is none that just goes on
        wait_until(lambda: cache.has("cached", "x") or (any(f["verifying"] for f in cache.status()["fetches"]) and next(waits) == 99),
                   what="the new version to be whole")
        with open(flag + ".go", "w"):
            pass
        assert removing.wait(30) == 0
        cache.wait_cached("x")
        same(cache.stored("x"), new)
        same(cache.read("x"), new)
        if how == "rm":
            os.kill(worker_of(cache), 9)
            drop_page_cache()
            same(os.pread(handle, MIB, 0), old)
    finally:
        os.close(handle)


@pytest.mark.deadline(120)
@pytest.mark.parametrize("then", ["the same handle", "another"])
def test_the_bytes_cannot_be_dropped(cache, origin, then):
    """Somebody else holds the catalogue for too long: what the catalogue has stays true, and is read on."""
    content = origin.put("x", blob(8 * MIB, 1))
    cache.configure(origin, fetch_policy="demand", read_ahead_max=0).mount()
    handle = os.open(cache.image("x"), os.O_RDONLY)
    try:
        same(os.pread(handle, 64 * KIB, 0), content[:64 * KIB])
        other = sqlite3.connect(os.path.join(cache.dir, ".catalogue.db"), isolation_level=None)
        other.execute("PRAGMA busy_timeout = 20000")
        other.execute("BEGIN IMMEDIATE")
        assert error_of(os.unlink, cache.path("incomplete", "x")) != 0
        other.execute("ROLLBACK")
        other.close()
        assert cache.ls("incomplete") == ["x"]
        if then == "another":
            os.close(handle)
            handle = os.open(cache.image("x"), os.O_RDONLY)
        same(os.pread(handle, 64 * KIB, 4 * MIB), content[4 * MIB:4 * MIB + 64 * KIB])
        os.unlink(cache.path("incomplete", "x"))
        same(os.pread(handle, 64 * KIB, 6 * MIB), content[6 * MIB:6 * MIB + 64 * KIB])
        same(cache.read("x"), content)
    finally:
        os.close(handle)


@pytest.mark.parametrize("place", ["incomplete/x", ".retired/1", ".retired/2"])
def test_left_behind(cache, origin, place):
    """Killed before a file was removed, or that did not reach the disk: it takes no room for ever."""
    content = origin.put("x", blob(2 * MIB, 1))
    origin.put("y", blob(MIB, 2))
    cache.configure(origin, fetch_policy="demand", read_ahead_max=0).mount()
    cache.read("x", 64 * KIB, MIB)
    cache.read("y", 64 * KIB)
    os.unlink(cache.path("incomplete", "x"))
    cache.kill()
    path = os.path.join(cache.dir, place)
    with open(path, "wb") as f:
        f.write(blob(2 * MIB, 7))
    shutil.chown(path, os.stat(cache.dir).st_uid, os.stat(cache.dir).st_gid)
    cache.mount()
    wait_until(lambda: not os.path.exists(path), what="what was left to go")
    same(cache.read("x"), content)


@pytest.mark.parametrize("size", [300 * KIB, 310 * KIB])
def test_an_old_file_comes_back(cache, origin, size):
    """Its removal did not reach the disk, what was learned since did: that counts."""
    old = origin.put("x", blob(300 * KIB, 1))
    cache.configure(origin, list_ttl=1).mount()
    same(cache.read("x"), old)
    cache.wait_cached("x")
    os.link(os.path.join(cache.dir, "x"), os.path.join(cache.root, "kept"))
    new = origin.put("x", blob(size, 2))
    os.unlink(cache.path("cached", "x"))
    wait_until(lambda: error_of(os.stat, cache.image("x")) == 0 and cache.xattr("x", "etag") == origin.blobs["x"].etag,
               what="the new version to be known")
    cache.kill()
    os.rename(os.path.join(cache.root, "kept"), os.path.join(cache.dir, "x"))
    cache.mount()
    wait_until(lambda: not cache.status()["adopting"], what="the cache directory to be looked at")
    assert "x" not in cache.ls("cached")
    same(cache.read("x"), new)
    cache.wait_cached("x")
    same(cache.stored("x"), new)
