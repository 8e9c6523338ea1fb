# SPDX-License-Identifier: Apache-2.0
"""An image that changes at the backend while it is fetched: never a mix of two versions."""
import errno
import os

import pytest

from harness import KIB, MIB, blob, error_of, name_of, pread, same
from waiting import wait_until

SIZE = 8 * MIB + 100
OLD, NEW = blob(SIZE, 51), blob(SIZE, 52)

WAYS = {
    "another etag": {},
    "another size": dict(size=SIZE + 12345),
    "smaller": dict(size=3 * MIB),
    "the server ignores conditions": dict(fault=dict(ignore_conditions=True)),
    "only the date tells": dict(etag=""),
    "only the date tells, conditions ignored": dict(etag="", fault=dict(ignore_conditions=True)),
    "a weak etag": dict(etag=('W/"old"', 'W/"new"')),
    "no Range support any more": dict(fault=dict(no_range=True)),
}


@pytest.mark.parametrize("streams", [1, 4])
@pytest.mark.parametrize("way", WAYS)
def test_changed_in_the_middle(cache, origin, way, streams):
    what = WAYS[way]
    old_tag, new_tag = what["etag"] if isinstance(what.get("etag"), tuple) else (what.get("etag"),) * 2
    new = blob(what["size"], 52) if "size" in what else NEW
    origin.put("image", OLD, etag=old_tag)
    hold = origin.fault("image", hold_from=3 * MIB)
    cache.configure(origin.config(retries=3, retry_delay=10, stall_timeout=600), fetch_whole_after="64K",
                    streams=streams).mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(fd, MIB), OLD[:MIB])
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    # the server is restarted with the new version: what is under way breaks off
    origin.stop()
    origin.clear_faults()
    origin.put("image", new, etag=new_tag, modified="Thu, 02 Jan 2025 00:00:00 GMT")
    if "fault" in what:
        origin.fault("image", **what["fault"])
    origin.start()
    offset, code = MIB, 0
    while offset < SIZE and not code:
        try:
            part = os.pread(fd, 64 * KIB, offset)
            assert part, f"the end of the old file at {offset}"
            same(part, OLD[offset:offset + len(part)])
            offset += len(part)
        except OSError as e:
            code = e.errno
    assert code in (errno.EIO, errno.ESTALE), f"the old handle: {name_of(code)} at {offset}"
    for again in (MIB // 2, SIZE - 5000):
        try:
            same(os.pread(fd, 4096, again), OLD[again:again + 4096])
        except OSError:
            pass
    os.close(fd)
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the new version to be readable")
    same(cache.read("image"), new)
    assert os.stat(cache.image("image")).st_size == len(new)
    cache.wait_cached("image")
    same(cache.stored("image"), new)
    wait_until(lambda: os.listdir(os.path.join(cache.dir, "incomplete")) == [], what="the old bytes to go")


def test_replaced_under_nginx(cache, make_nginx):
    nginx = make_nginx(rate="512k")
    nginx.put("image", OLD)
    cache.configure(nginx.config(retry_delay=10), fetch_whole_after="64K", streams=1).mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(fd, MIB), OLD[:MIB])
    # what is under way goes on with the old file (nginx has it open); the restart breaks it off
    nginx.put("image", NEW)
    os.utime(os.path.join(nginx.files, "image"), (1_800_000_000, 1_800_000_000))
    nginx.stop()
    nginx.rate = None
    nginx.start()
    try:
        got = pread(fd, None, MIB)
        assert got == OLD[MIB:], "a mix of two versions"
    except OSError as e:
        assert e.errno in (errno.EIO, errno.ESTALE), name_of(e.errno)
    os.close(fd)
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the new version to be readable")
    same(cache.read("image"), NEW)
    cache.wait_cached("image")
    same(cache.stored("image"), NEW)


def test_gone_in_the_middle(cache, origin):
    """Deleted at the backend while it is fetched: an error, not an end, and the name is gone."""
    origin.put("image", OLD)
    hold = origin.fault("image", hold_from=3 * MIB)
    cache.configure(origin.config(retries=2, retry_delay=10, stall_timeout=600), fetch_whole_after="64K",
                    list_ttl=1).mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(fd, MIB), OLD[:MIB])
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    origin.stop()
    origin.clear_faults()
    origin.remove("image")
    origin.start()
    code = error_of(pread, fd, None, MIB)
    assert code in (errno.EIO, errno.ESTALE, errno.ENOENT), name_of(code)
    os.close(fd)
    assert "image" not in cache.ls("cached")


def test_a_complete_image_stays(cache, origin):
    """What is cached is served as it is; evicting it gets the new version."""
    origin.put("image", OLD)
    cache.configure(origin, list_ttl=1).mount()
    same(cache.read("image"), OLD)
    cache.wait_cached("image")
    origin.put("image", NEW)
    same(cache.read("image"), OLD)
    os.unlink(cache.path("cached", "image"))
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the new version to be readable")
    same(cache.read("image"), NEW)
    cache.wait_cached("image")


@pytest.mark.parametrize("size", [SIZE, SIZE + 4096 * 3 + 1, MIB])
def test_changed_between_look_up_and_read(cache, origin, size):
    origin.put("image", OLD)
    cache.configure(origin.config(retry_delay=10)).mount()
    assert os.stat(cache.image("image")).st_size == SIZE
    new = origin.put("image", blob(size, 53))
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the new version to be readable")
    same(cache.read("image"), new)
    cache.wait_cached("image")
