# SPDX-License-Identifier: Apache-2.0
"""An inode is one version of an image: its bytes never change, whatever the backend, the cache directory and the clock do meanwhile."""
import errno
import os
import signal
import sqlite3
import threading

import pytest

from harness import KIB, MIB, blob, drop_page_cache, error_of, pread, same
from waiting import wait_until
from workers import worker_of, workers

HEAD = 256 * KIB  # what comes with a look-up


def another_inode(cache, name, old):
    """The number of the inode, once it is not OLD's any more: the backend has been asked and the name given to the new version."""
    def new():
        number = os.stat(cache.image(name)).st_ino
        return number if number != old else None
    return wait_until(new, what="the new version")


def test_what_went_through_changes(cache, origin):
    """The kernel keeps pages of the old version; they must not be shown for the new one."""
    old, new = blob(4 * MIB, 1), blob(4 * MIB, 2)
    origin.put("x", old)
    cache.configure(origin, image_cache_max_size="1M", list_ttl=0).mount()
    same(cache.read("x", MIB), old[:MIB])
    inode = os.stat(cache.image("x")).st_ino
    origin.put("x", new)
    another_inode(cache, "x", inode)
    same(cache.read("x"), new)


def test_what_was_dropped_changes(cache, origin):
    old, new = blob(4 * MIB, 1), blob(4 * MIB, 2)
    origin.put("x", old)
    cache.configure(origin, list_ttl=0, fetch_policy="demand", read_ahead_max="0").mount()
    same(cache.read("x", MIB), old[:MIB])
    inode = os.stat(cache.image("x")).st_ino
    os.unlink(cache.path("incomplete", "x"))
    origin.put("x", new)
    another_inode(cache, "x", inode)
    same(cache.read("x"), new)
    cache.wait_cached("x")
    same(cache.stored("x"), new)


def test_a_listing_tells_of_the_change(cache, origin):
    """The first bytes came with the look-up of the old version."""
    old, new = blob(3 * MIB, 1), blob(3 * MIB + 5000, 2)
    origin.put("x", old)
    cache.configure(origin, list_ttl=1).mount()
    inode = os.stat(cache.image("x")).st_ino
    origin.put("x", new)

    def listed():
        cache.ls("images")
        return os.stat(cache.image("x")).st_size == len(new)
    wait_until(listed, what="the listing with the new size")
    assert os.stat(cache.image("x")).st_ino != inode
    same(cache.read("x"), new)
    cache.wait_cached("x")
    same(cache.stored("x"), new)


def test_behind_the_window_without_ranges(cache, origin):
    """A large image goes through; the server sends it from the start; a second reader wants what was dropped again."""
    size = 48 * MIB
    content = origin.put("big", blob(size, 5), etag="")
    held = origin.fault("big", hold_from=40 * MIB, no_range=True)
    cache.configure(origin, image_cache_max_size="16M", fetch_whole_after="1G").mount()
    fd = os.open(cache.image("big"), os.O_RDONLY)
    try:
        same(os.pread(fd, 4096, 30 * MIB), content[30 * MIB:30 * MIB + 4096])
        got = []

        def second():
            got.append(os.pread(fd, 4096, 5 * MIB))
        reader = threading.Thread(target=second)
        reader.start()
        origin.clear_faults()
        held.release()
        reader.join()
        same(got[0], content[5 * MIB:5 * MIB + 4096])
    finally:
        os.close(fd)


# ---- a file that is taken over while it is in use


@pytest.fixture
def found(cache, origin):
    """An image whose file lies in the cache directory, with its digest at an origin that does not tell it yet."""
    content = origin.put("x", blob(12 * MIB, 7))
    origin.put_sums("SHA256SUMS", {"x": content})
    sums = origin.fault("SHA256SUMS", hold_head=True)
    cache.be_of_glance()
    with open(os.path.join(cache.dir, "x"), "wb") as f:
        f.write(content)
    cache.configure(origin.config(checksums="SHA256SUMS"), fetch_policy="demand", passthrough="off").mount()
    return content, sums


def test_taken_over_under_an_open_handle(cache, origin, found):
    content, sums = found
    fd = os.open(cache.image("x"), os.O_RDONLY)
    try:
        sums.release()
        wait_until(lambda: "taken over" in cache.logged(), what="the take-over")
        same(os.pread(fd, 4096, 5 * MIB), content[5 * MIB:5 * MIB + 4096])
        assert cache.ls("cached") == ["x"]
        assert not [r for r in origin.requests("x") if r.range and r.range[0] >= MIB]
        os.unlink(cache.path("cached", "x"))
        same(os.pread(fd, 4096, 9 * MIB), content[9 * MIB:9 * MIB + 4096])
    finally:
        os.close(fd)


def test_not_taken_over_while_it_is_fetched(cache, found):
    """Its own fetch goes on; the file that was found is replaced by it."""
    content, sums = found
    fd = os.open(cache.image("x"), os.O_RDONLY)
    try:
        same(os.pread(fd, 4096, 0), content[:4096])
        wait_until(lambda: cache.has("incomplete", "x"), what="the fetch to begin")
        sums.release()
        same(pread(fd), content)
        cache.wait_cached("x")
        os.unlink(cache.path("cached", "x"))
        drop_page_cache()
        same(os.pread(fd, 4096, 9 * MIB), content[9 * MIB:9 * MIB + 4096])
    finally:
        os.close(fd)


# ---- the cache directory is not as it was left


def test_a_partial_file_cut_short(cache, origin):
    content = origin.put("x", blob(8 * MIB, 3))
    cache.configure(origin, fetch_policy="demand", read_ahead_max="0").mount()
    same(cache.read("x", 4 * MIB), content[:4 * MIB])
    cache.unmount()
    os.truncate(os.path.join(cache.dir, "incomplete", "x"), MIB)
    cache.mount()
    same(cache.read("x"), content)


def test_a_whole_file_cut_short_under_a_handle(cache, origin):
    """An error, no end: the kernel would believe that of the inode, also when the image is whole again."""
    content = origin.put("x", blob(MIB, 4))
    cache.configure(origin, passthrough="off").mount()
    same(cache.read("x"), content)
    cache.wait_cached("x")
    fd = os.open(cache.image("x"), os.O_RDONLY)
    try:
        os.truncate(os.path.join(cache.dir, "x"), MIB // 2)
        drop_page_cache()
        assert error_of(pread, fd) == errno.EIO
    finally:
        os.close(fd)
    wait_until(lambda: cache.xattr("x", "open") == "0", what="the handle to be closed")
    same(cache.read("x"), content)


def test_a_file_without_its_label_s_digest(cache, origin):
    """The catalogue is lost, and a byte of a file flipped meanwhile: not taken over by its size."""
    content = origin.put("x", blob(2 * MIB, 3))
    origin.put_sums("SHA256SUMS", {"x": content})
    cache.configure(origin).mount()
    cache.read("x")
    cache.wait_cached("x")
    cache.unmount()
    for name in os.listdir(cache.dir):
        if name.startswith(".catalogue"):
            os.unlink(os.path.join(cache.dir, name))
    with open(os.path.join(cache.dir, "x"), "r+b") as f:
        f.seek(MIB)
        f.write(b"rotten")
    origin.remove("SHA256SUMS")
    cache.mount()
    cache.wait_has("invalid", "x")
    assert not cache.has("cached", "x")
    same(cache.read("x"), content)


def test_killed_between_publishing_and_its_commit(cache, origin):
    """The old version is evicted and still open: its file is not taken for the new one's, nor the other way round."""
    old, new = blob(4 * MIB, 1), blob(4 * MIB, 2)
    origin.put("x", old)
    cache.configure(origin, list_ttl=0, fetch_policy="demand", passthrough="off").mount()
    cache.read("x")
    cache.wait_cached("x")
    fd = os.open(cache.image("x"), os.O_RDONLY)
    try:
        same(os.pread(fd, 4096, 0), old[:4096])
        os.unlink(cache.path("cached", "x"))
        origin.put("x", new)
        wait_until(lambda: error_of(cache.read, "x", MIB) == 0 and cache.read("x", 10) == new[:10], what="the new version")
        os.kill(cache.process.pid, signal.SIGSTOP)
        os.kill(worker_of(cache), signal.SIGKILL)
        # as a worker leaves it that dies between the rename and the commit
        place = os.path.join(cache.dir, "incomplete", "x")
        with open(place, "wb") as f:
            f.write(new)
        os.rename(place, os.path.join(cache.dir, "x"))
        os.kill(cache.process.pid, signal.SIGCONT)
        wait_until(lambda: len(workers(cache.process.pid)) == 1, what="the next worker")
        drop_page_cache()
        same(pread(fd), old)
        wait_until(lambda: error_of(cache.read, "x") == 0, what="the new version")
        same(cache.read("x"), new)
    finally:
        os.close(fd)


def test_rm_against_completion(cache, origin):
    """The last bytes, the digest and rm come together, in whatever order: what is cached then is right, and the worker lives."""
    cache.configure(origin.config(checksums="SHA256SUMS"), fetch_whole_after="64K").mount()
    for i in range(25):
        content = origin.put(f"x{i}", blob(MIB, i))
        origin.put_sums("SHA256SUMS", {f"x{n}": blob(MIB, n) for n in range(i + 1)})
        reader = cache.spawn("cat", cache.image(f"x{i}"), stdout=-3)
        evicted = 0
        while reader.poll() is None and evicted < 2 * i:  # each time the reader begins anew
            try:
                os.unlink(cache.path("incomplete", f"x{i}"))
                evicted += 1
            except OSError:
                pass
        reader.wait()
        cache.touch("queued", f"x{i}")
        cache.wait_cached(f"x{i}")
        same(cache.stored(f"x{i}"), content)
    assert cache.status()["counters"]["worker_starts"] == 1


def test_the_catalogue_agrees(cache, origin):
    """A name has one live row, however often its version changed."""
    cache.configure(origin, list_ttl=0, image_cache_max_size="1M").mount()
    inode = None
    for i in range(5):
        origin.put("x", blob(2 * MIB, i))
        inode = another_inode(cache, "x", inode)
        same(cache.read("x", HEAD), blob(2 * MIB, i)[:HEAD])
    cache.unmount()
    db = sqlite3.connect(f"file:{cache.dir}/.catalogue.db?mode=ro", uri=True)
    assert db.execute("SELECT count(*) FROM images WHERE name = 'x' AND state < 3").fetchone() == (1,)
    db.close()


def test_the_times_of_versions_that_follow_at_once(cache, origin):
    """They change while they are fetched: a web server over the mount tells versions apart by the second."""
    old, new = blob(4 * MIB, 1), blob(4 * MIB, 2)
    names = [f"x{n}" for n in range(5)]
    for name in names:
        origin.put(name, old, modified="")
    cache.configure(origin.config(retries=0), list_ttl=0, fetch_policy="demand", read_ahead_max="0").mount()
    for name in names:
        with open(cache.image(name), "rb", buffering=0) as f:
            same(os.pread(f.fileno(), 4096, 0), old[:4096])
            before = os.fstat(f.fileno()).st_mtime
            origin.put(name, new, modified="")
            assert error_of(os.pread, f.fileno(), 4096, 3 * MIB) == errno.EIO
        wait_until(lambda: error_of(cache.read, name, 4096) == 0, what="the next version")
        same(cache.read(name), new)
        assert int(os.stat(cache.image(name)).st_mtime) > int(before)
