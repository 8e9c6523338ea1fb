# SPDX-License-Identifier: Apache-2.0
"""A restart in the middle of a fetch, polite or not: what was here is here, only the holes are fetched."""
import errno
import os
import sqlite3
import time

import pytest

from harness import MIB, PROBE, blob, error_of, pread, read, same
from waiting import wait_until

SIZE = 16 * MIB + 999
CONTENT = blob(SIZE, 31)


def end(cache, how):
    if how == "unmount":
        cache.unmount()
    elif how == "SIGTERM":
        cache.terminate()
    else:
        cache.kill()


def wait_for_checkpoint(cache):
    """Nothing arrives any more: when the catalogue has not been written for a while, it tells what is here."""
    seen = {}

    def steady():
        files = [os.path.join(cache.dir, n) for n in os.listdir(cache.dir) if n.startswith(".catalogue.db")]
        now = tuple(sorted((f, os.stat(f).st_mtime_ns, os.stat(f).st_size) for f in files))
        return time.monotonic() - seen.setdefault(now, time.monotonic()) > 2
    wait_until(steady, what="a checkpoint")


@pytest.mark.parametrize("how", ["unmount", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("streams", [1, 4])
def test_only_the_holes_are_fetched(cache, origin, how, streams):
    origin.put("image", CONTENT)
    hold = origin.fault("image", hold_from=7 * MIB)
    cache.configure(origin.config(stall_timeout=600), fetch_whole_after="64K", streams=streams).mount()
    same(cache.read("image", MIB), CONTENT[:MIB])
    # as far as it goes: nothing more can come, and a checkpoint has been taken since
    wait_until(lambda: cache.bytes_cached("image") >= 6 * MIB, what="what is not held back to be here")
    if how == "SIGKILL":
        wait_for_checkpoint(cache)
    here = cache.bytes_cached("image")
    end(cache, how)
    origin.settle()
    before = origin.sent("image")
    hold.release()
    origin.clear_faults()
    cache.mount()
    assert cache.ls("incomplete") == ["image"]
    kept = cache.bytes_cached("image")
    assert kept >= here - (MIB if how == "SIGKILL" else 0)
    assert os.stat(cache.path("incomplete", "image")).st_blocks * 512 >= kept - 4096
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    same(cache.stored("image"), CONTENT)
    fetched = origin.sent("image") - before
    assert SIZE - kept <= fetched <= SIZE - kept + PROBE, f"{fetched} bytes for holes of {SIZE - kept}"


def test_nothing_is_lost_by_kills_again_and_again(cache, origin):
    """Killed at several places, always in full flow: every byte right in the end, and not much fetched twice."""
    origin.put("image", CONTENT)
    cache.configure(origin.config(stall_timeout=600), fetch_whole_after="64K", streams=2)
    for stop in range(1, 6):
        fault = origin.fault("image", hold_from=stop * 3 * MIB)
        cache.mount()
        same(cache.read("image", 2 * MIB), CONTENT[:2 * MIB])
        wait_until(lambda f=fault: f.waiting, what="the fetch to be held back")
        cache.kill()
        origin.clear_faults()
        origin.settle()
    cache.mount()
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    same(cache.stored("image"), CONTENT)
    assert os.listdir(os.path.join(cache.dir, "incomplete")) == []


def test_kill_without_any_checkpoint(cache, origin):
    origin.put("image", CONTENT)
    cache.configure(origin, fetch_whole_after="64K").mount()
    same(cache.read("image", PROBE), CONTENT[:PROBE])
    cache.kill()
    cache.mount()
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    same(cache.stored("image"), CONTENT)


def test_kill_right_behind_completion(cache, origin):
    for i in range(5):
        origin.put(f"image-{i}", blob(MIB + i, 40 + i))
    cache.configure(origin)
    for i in range(5):
        cache.mount()
        same(cache.read(f"image-{i}"), blob(MIB + i, 40 + i))
        cache.kill()
    cache.mount()
    for i in range(5):
        same(cache.read(f"image-{i}"), blob(MIB + i, 40 + i))
        cache.wait_cached(f"image-{i}")
    assert sorted(n for n in os.listdir(cache.dir) if n.startswith("image")) == [f"image-{i}" for i in range(5)]


def test_with_a_real_server(cache, make_nginx):
    nginx = make_nginx(rate="4m")
    content = nginx.put("image", blob(12 * MIB, 32))
    cache.configure(nginx, fetch_whole_after="64K", streams=2).mount()
    same(cache.read("image", PROBE), content[:PROBE])
    wait_until(lambda: cache.bytes_cached("image") >= 3 * MIB, what="a part to be here")
    cache.unmount()
    before = nginx.sent("image")
    cache.mount()
    kept = cache.bytes_cached("image")
    assert 3 * MIB <= kept < len(content)
    same(cache.read("image"), content)
    cache.wait_cached("image")
    assert nginx.sent("image") - before <= len(content) - kept + PROBE


def test_readers_of_a_killed_mount_get_an_error(cache, origin):
    origin.put("image", CONTENT)
    hold = origin.fault("image", hold_from=MIB)
    cache.configure(origin.config(stall_timeout=600)).mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(fd, MIB // 2), CONTENT[:MIB // 2])
    cache.kill()
    assert error_of(os.pread, fd, 4096, 2 * MIB) in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)
    assert error_of(os.close, fd) in (0, errno.ENOTCONN)
    hold.release()
    cache.mount()
    same(cache.read("image"), CONTENT)


def test_the_image_changed_meanwhile(cache, origin):
    """A partial image of a version that is gone is dropped, not continued."""
    origin.put("image", CONTENT)
    hold = origin.fault("image", hold_from=5 * MIB)
    cache.configure(origin.config(stall_timeout=600), fetch_whole_after="64K").mount()
    same(cache.read("image", MIB), CONTENT[:MIB])
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    cache.unmount()
    origin.clear_faults()
    other = origin.put("image", blob(SIZE, 33))
    cache.mount()
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the image to be readable")
    same(cache.read("image"), other)
    cache.wait_cached("image")
    same(cache.stored("image"), other)


def test_a_lost_partial_file(cache, origin):
    origin.put("image", CONTENT)
    hold = origin.fault("image", hold_from=5 * MIB)
    cache.configure(origin.config(stall_timeout=600), fetch_whole_after="64K").mount()
    same(cache.read("image", MIB), CONTENT[:MIB])
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    cache.unmount()
    origin.clear_faults()
    os.unlink(os.path.join(cache.dir, "incomplete", "image"))
    cache.mount()
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")


@pytest.mark.parametrize("damage", ["gone", "truncated"])
def test_a_lost_complete_file(cache, origin, damage):
    origin.put("image", CONTENT)
    cache.configure(origin).mount()
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    cache.unmount()
    path = os.path.join(cache.dir, "image")
    os.unlink(path) if damage == "gone" else os.truncate(path, SIZE // 2)
    cache.mount()
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the image to be readable")
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    same(read(cache.path("cached", "image")), CONTENT)


def test_a_stray_partial_file_is_not_believed(cache, origin):
    origin.put("image", CONTENT)
    os.makedirs(os.path.join(cache.dir, "incomplete"))
    with open(os.path.join(cache.dir, "incomplete", "image"), "wb") as f:
        f.write(blob(SIZE, 77))
    cache.configure(origin).mount()
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    same(cache.stored("image"), CONTENT)


def test_a_catalogue_of_before(cache, origin):
    """Neither its rows nor their files tell which belong together: what is here is believed, as it was."""
    whole = origin.put("whole", blob(MIB, 5))
    origin.put("image", CONTENT)
    cache.configure(origin, fetch_policy="demand", read_ahead_max=0).mount()
    same(cache.read("whole"), whole)
    cache.wait_cached("whole")
    cache.read("image", 4 * MIB, 8 * MIB)
    cache.unmount()
    with sqlite3.connect(os.path.join(cache.dir, ".catalogue.db")) as db:
        db.execute("UPDATE images SET tag = ''")
    db.close()
    for path in ("whole", "incomplete/image"):
        os.removexattr(os.path.join(cache.dir, path), "user.glance-cache-fs.tag")
    origin.settle()
    before = len(origin.requests())
    cache.mount()
    wait_until(lambda: not cache.status()["adopting"], what="the cache directory to be looked at")
    assert cache.ls("cached") == ["whole"]
    same(cache.read("whole"), whole)
    same(cache.read("image", 4 * MIB, 8 * MIB), CONTENT[8 * MIB:12 * MIB])
    # the kernel may read on behind what it was asked for, and documents of digests are asked for by each worker
    fetched = [r for r in origin.requests()[before:] if r.name in ("whole", "image") and r.sent > 0]
    assert [r for r in fetched if r.name == "whole" or r.range is None or r.range[0] < 12 * MIB] == []
    same(cache.read("image"), CONTENT)
