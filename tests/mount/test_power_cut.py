# SPDX-License-Identifier: Apache-2.0
"""The power goes: what the disk holds then is older here than there. Started on a copy of the disk as it was at a chosen moment."""
import os
import shutil
import sqlite3
import subprocess

import pytest

from disk import Disk
from harness import MIB, blob, same
from waiting import wait_until


WITHOUT_ATTRIBUTES = r"""
#include <errno.h>
#include <sys/types.h>
int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
    (void)fd, (void)name, (void)value, (void)size, (void)flags;
    errno = ENOTSUP;
    return -1;
}
"""


@pytest.fixture(params=["ext4", "xfs", "ext4-without-attributes"])
def disk(cache, request, shim):
    """The cache directory on a disk of its own; one of them keeps no attributes of files."""
    kind, _, without = request.param.partition("-")
    d = Disk(cache, kind)
    try:
        if without:
            shim(WITHOUT_ATTRIBUTES)
        os.chmod(cache.dir, 0o755)
        yield d
    finally:
        d.close()


def synced(disk):
    subprocess.run(["sync", "-f", disk.cache.dir], check=True)


def of_row(cache, name, column):
    """As the catalogue has it."""
    with sqlite3.connect(f"file:{cache.dir}/.catalogue.db?mode=ro", uri=True) as db:
        rows = db.execute(f"SELECT {column} FROM images WHERE name = ? AND state < 3", (name,)).fetchall()
    db.close()
    return rows[0][0] if rows else None


def wait_synced(cache, name, size):
    """Until SIZE bytes of NAME or more are in its map, which they are after they were synced."""
    wait_until(lambda: (of_row(cache, name, "bytes") or 0) >= size, what=f"{size} bytes of {name} to be on the disk")


def cut(disk):
    """The power goes now, comes back, and the program is started."""
    cache, copy = disk.cache, os.path.join(disk.cache.root, "cut")
    shutil.copyfile(disk.file, copy)
    cache.kill()
    wait_until(lambda: subprocess.run(["umount", cache.dir], check=False, capture_output=True).returncode == 0, what="umount")
    disk.made = False
    subprocess.run(["mount", "-o", "loop", copy, cache.dir], check=True)
    disk.made = True
    cache.mount()
    wait_until(lambda: not cache.status()["adopting"], what="the cache directory to be looked at")


def test_the_file_was_replaced(disk, origin):
    """Its bytes were dropped and others fetched: the disk has the new file, and of the catalogue the map of the old one."""
    cache = disk.cache
    content = origin.put("x", blob(40 * MIB, 1))
    cache.configure(origin, fetch_policy="demand", read_ahead_max=0).mount()
    same(cache.read("x", 4 * MIB, 8 * MIB), content[8 * MIB:12 * MIB])
    wait_synced(cache, "x", 4 * MIB)
    synced(disk)
    os.unlink(cache.path("incomplete", "x"))
    same(cache.read("x", MIB, 24 * MIB), content[24 * MIB:25 * MIB])
    wait_synced(cache, "x", MIB)
    cut(disk)
    same(cache.read("x", 4 * MIB, 8 * MIB), content[8 * MIB:12 * MIB])
    same(cache.read("x"), content)
    cache.touch("queued", "x")
    cache.wait_cached("x")
    same(cache.stored("x"), content)


def test_the_version_was_replaced(disk, origin):
    """The disk has the file of the new version, and of the catalogue the row of the old one, with its map."""
    cache = disk.cache
    origin.put("x", blob(40 * MIB, 1))
    cache.configure(origin, fetch_policy="demand", read_ahead_max=0, list_ttl=0).mount()
    cache.read("x", 4 * MIB, 8 * MIB)
    wait_synced(cache, "x", 4 * MIB)
    synced(disk)
    content = origin.put("x", blob(40 * MIB, 2))
    wait_until(lambda: read_or_none(cache, "x", MIB, 24 * MIB) == content[24 * MIB:25 * MIB], what="the new version to be read")
    wait_synced(cache, "x", MIB)
    cut(disk)
    wait_until(lambda: read_or_none(cache, "x", 4 * MIB, 8 * MIB) == content[8 * MIB:12 * MIB], what="the new version to be read")
    same(cache.read("x"), content)


def read_or_none(cache, *args):
    try:
        return cache.read(*args)
    except OSError:
        return None


def test_the_whole_file_was_replaced(disk, origin):
    """A new version was published: what the program tells of an image is of the version that it gives."""
    cache = disk.cache
    origin.put("x", blob(MIB, 1), etag='"one"')
    cache.configure(origin, passthrough="off").mount()
    cache.read("x")
    cache.wait_cached("x")
    synced(disk)
    content = origin.put("x", blob(MIB, 2), etag='"two"')
    os.unlink(cache.path("cached", "x"))
    wait_until(lambda: read_or_none(cache, "x") == content, what="the new version to be read")
    cache.wait_cached("x")
    cut(disk)
    wait_until(lambda: read_or_none(cache, "x") == content, what="the new version to be read")
    assert cache.xattr("x", "etag") == '"two"'
    cache.wait_cached("x")
    same(cache.stored("x"), content)
    assert cache.xattr("x", "etag") == '"two"'


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_what_glance_committed_is_there(disk, origin, mode):
    """Its index in glance/ is an SQLite database like any other: what was committed, durably, outlives the power; what was not leaves no trace."""
    cache = disk.cache
    cache.configure(origin, views="glance").mount()
    db = sqlite3.connect(cache.path("glance", "cache.db"), isolation_level=None)
    db.execute(f"PRAGMA journal_mode = {mode}")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE t (x INTEGER PRIMARY KEY, y BLOB)")
    for i in range(5):
        db.execute("INSERT INTO t VALUES (?, randomblob(5000))", (i,))
    db.execute("BEGIN")
    db.execute("INSERT INTO t VALUES (100, randomblob(3000000))")
    cut(disk)  # while a transaction is under way
    try:
        db.close()
    except sqlite3.Error:
        pass  # its files are of a mount that is gone
    db = sqlite3.connect(cache.path("glance", "cache.db"))
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.execute("SELECT x FROM t ORDER BY x").fetchall() == [(i,) for i in range(5)]
    db.close()
