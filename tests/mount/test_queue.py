# SPDX-License-Identifier: Apache-2.0
"""The queue: touch and the image is fetched, in order, across restarts; failures are tried again and then told."""
import errno
import os
import time

import pytest

from harness import KIB, MIB, UNREACHABLE, blob, error_of, name_of, refused, same
from waiting import wait_until

SIZE = 2 * MIB + 5
SOON = dict(prefetch_tries=3, prefetch_retry_delay=1)


def first_requests(origin):
    """Names in the order in which bytes beyond a look-up's were first asked for."""
    out = []
    for r in origin.requests(method="GET"):
        if r.name and (r.range is None or r.range[0] > 0) and r.name not in out and not r.name.endswith("SUMS"):
            out.append(r.name)
    return out


def test_touch_fetches(cache, nginx):
    content = nginx.put("image", blob(SIZE, 71))
    cache.configure(nginx).mount()
    cache.shell("touch queued/image")
    cache.wait_cached("image")
    wait_until(lambda: cache.ls("queued") == [], what="the entry to go")
    assert nginx.sent("image") == SIZE
    same(cache.read("image"), content)
    assert nginx.sent("image") == SIZE
    assert cache.ls("invalid") == [] and cache.ls("incomplete") == []


def test_an_entry(cache, origin):
    origin.put("image", blob(SIZE, 71))
    hold = origin.fault("image", hold_from=MIB)
    cache.configure(origin.config(stall_timeout=600)).mount()
    cache.touch("queued", "image")
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    assert cache.ls("queued") == ["image"]
    entry = cache.entry("queued", "image")
    assert entry, "an empty document"
    state = os.stat(cache.path("queued", "image"))
    assert abs(state.st_mtime - time.time()) < 60
    queued = state.st_mtime_ns
    cache.shell("touch queued/image")  # a second time: nothing
    assert os.stat(cache.path("queued", "image")).st_mtime_ns == queued
    refused(os.truncate, cache.path("queued", "image"), 5)
    refused(os.rename, cache.path("queued", "image"), cache.path("queued", "other"))
    hold.release()
    cache.wait_cached("image")


def test_rm_takes_it_off(cache, origin):
    for name in ("first", "second"):
        origin.put(name, blob(SIZE, 71))
    hold = origin.fault("first", hold_from=MIB)
    cache.configure(origin.config(stall_timeout=600), prefetch_concurrency=1).mount()
    cache.touch("queued", "first")
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    cache.touch("queued", "second")
    assert cache.ls("queued") == ["first", "second"]
    os.unlink(cache.path("queued", "second"))
    assert cache.ls("queued") == ["first"]
    hold.release()
    cache.wait_cached("first")
    cache.restart()
    assert cache.ls("queued") == [] and cache.ls("cached") == ["first"]
    assert first_requests(origin) == ["first"]


def test_rm_of_one_under_way(cache, origin):
    origin.put("image", blob(SIZE, 71))
    hold = origin.fault("image", hold_from=MIB)
    cache.configure(origin.config(stall_timeout=600)).mount()
    cache.touch("queued", "image")
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    os.unlink(cache.path("queued", "image"))
    assert cache.ls("queued") == []
    cache.restart()
    assert cache.ls("queued") == []
    origin.clear_faults()
    same(cache.read("image"), blob(SIZE, 71))


def test_rm_during_its_look_up(cache, origin):
    """Queued while the backend was away, taken off while it is asked again: neither fetched nor told to have failed."""
    for name in ("image", "gone", "next"):
        origin.put(name, blob(SIZE, 71))
    cache.configure(origin.config(retries=0, retry_delay=10, stall_timeout=600), **SOON).mount()
    origin.stop()
    for name in ("image", "gone"):
        cache.touch("queued", name)
    holds = [origin.fault("image", hold_head=True), origin.fault("gone", status=404, hold_head=True)]
    origin.start()
    wait_until(lambda: all(h.waiting for h in holds), what="the look-ups to be held back")
    for name in ("image", "gone"):
        os.unlink(cache.path("queued", name))
    origin.clear_faults()
    wait_until(lambda: "image" in cache.ls("images"), what="the look-up to end")
    cache.touch("queued", "next")
    cache.wait_cached("next")
    assert cache.ls("cached") == ["next"] and cache.ls("queued") == [] and cache.ls("invalid") == []
    assert first_requests(origin) == ["next"]


def test_unknown_is_enoent_at_once(cache, origin):
    cache.configure(origin).mount()
    assert error_of(cache.touch, "queued", "nobody") == errno.ENOENT
    assert cache.ls("queued") == []
    assert cache.shell("touch queued/nobody", check=False).returncode != 0


@pytest.mark.parametrize("what", ["there", "unknown"])
def test_a_backend_that_takes_long(cache, origin, what):
    """The kernel has queued/ locked while a name is made there: it is accepted, and looked up later. Nobody waits for the server's answer."""
    for name in ("slow", "slower", "cached"):
        origin.put(name, blob(SIZE, 71))
    cache.configure(origin.config(stall_timeout=600), **SOON).mount()
    cache.read("cached")
    cache.wait_cached("cached")
    status = {} if what == "there" else {"status": 404}
    holds = [origin.fault(name, hold_head=True, **status) for name in ("slow", "slower")]
    touching = [cache.spawn("touch", cache.path("queued", name)) for name in ("slow", "slower")]
    wait_until(lambda: any(h.waiting for h in holds), what="a look-up to be held back")
    cache.touch("queued", "cached")  # by somebody else
    assert [t.wait(60) for t in touching] == [0, 0]
    assert cache.ls("queued") == ["slow", "slower"]
    for hold in holds:
        hold.release()
    wait_until(lambda: cache.ls("queued") == [], what="the queue to empty")
    expected = ["cached", "slow", "slower"] if what == "there" else ["cached"]
    assert sorted(cache.ls("cached")) == expected
    assert sorted(cache.ls("invalid")) == ([] if what == "there" else ["slow", "slower"])


def test_cached_already(cache, origin):
    origin.put("image", blob(SIZE, 71))
    cache.configure(origin).mount()
    cache.read("image")
    cache.wait_cached("image")
    before = origin.sent("image")
    cache.shell("touch queued/image")
    wait_until(lambda: cache.ls("queued") == [], what="no entry")
    assert origin.sent("image") == before and cache.ls("cached") == ["image"]


def test_order(cache, origin):
    names = ["c", "a", "e", "b", "d"]
    for n in ["block", *names]:
        origin.put(n, blob(SIZE, ord(n[0])))
    hold = origin.fault("block", hold_from=MIB)
    cache.configure(origin.config(stall_timeout=600), prefetch_concurrency=1).mount()
    cache.touch("queued", "block")
    wait_until(lambda: hold.waiting, what="the first to be held back")
    for n in names:
        cache.touch("queued", n)
    assert cache.shell("ls -tr queued").stdout.split() == ["block", *names]
    hold.release()
    wait_until(lambda: cache.ls("cached") == sorted(["block", *names]), what="all to be cached")
    assert first_requests(origin) == ["block", *names]


def test_concurrency(cache, origin):
    for i in range(6):
        origin.put(f"image-{i}", blob(SIZE, i))
    hold = origin.fault(None, hold_from=MIB, when=lambda r: r.name.startswith("image"))
    cache.configure(origin.config(stall_timeout=600), prefetch_concurrency=3).mount()
    for i in range(6):
        cache.touch("queued", f"image-{i}")
    wait_until(lambda: len(first_requests(origin)) >= 3 and hold.waiting >= 3, what="three under way")
    assert sorted(first_requests(origin)) == ["image-0", "image-1", "image-2"]
    hold.release()
    wait_until(lambda: len(cache.ls("cached")) == 6, what="all to be cached")


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_survives(cache, origin, how):
    for i in range(4):
        origin.put(f"image-{i}", blob(SIZE, i))
    hold = origin.fault(None, hold_from=MIB, when=lambda r: r.name.startswith("image"))
    cache.configure(origin.config(stall_timeout=600), prefetch_concurrency=2).mount()
    for i in (2, 0, 3, 1):
        cache.touch("queued", f"image-{i}")
    times = {n: os.stat(cache.path("queued", n)).st_mtime_ns for n in cache.ls("queued")}
    if how == "restart":
        cache.restart()
    else:
        cache.kill()
        cache.mount()
    assert cache.ls("queued") == [f"image-{i}" for i in range(4)]
    assert {n: os.stat(cache.path("queued", n)).st_mtime_ns for n in cache.ls("queued")} == times
    hold.release()
    wait_until(lambda: len(cache.ls("cached")) == 4, what="all to be cached")
    wait_until(lambda: cache.ls("queued") == [], what="the queue to be empty")
    for i in range(4):
        same(cache.stored(f"image-{i}"), blob(SIZE, i))


def test_accepted_while_the_backend_is_down(cache, origin):
    origin.put("image", blob(SIZE, 71))
    cache.configure(origin.config(retries=1, retry_delay=10), **SOON).mount()
    origin.stop()
    cache.touch("queued", "image")
    assert "image" in cache.ls("queued")
    origin.start()
    cache.wait_cached("image", seconds=60)
    assert cache.ls("queued") == [] and cache.ls("invalid") == []


def test_failure_is_tried_again_and_then_told(cache, origin):
    origin.put("image", blob(SIZE, 71))
    origin.put("good", blob(SIZE, 72))
    fault = origin.fault("image", when=lambda r: r.range is None or r.range[0] > 0, status=500)
    cache.configure(origin.config(retries=0, retry_delay=10), **SOON).mount()
    cache.touch("queued", "image")
    cache.touch("queued", "good")
    cache.wait_cached("good")
    cache.wait_has("invalid", "image", seconds=60)
    assert fault.taken >= 2
    assert cache.ls("queued") == []
    assert "500" in str(cache.entry("invalid", "image"))
    # a person mends it and asks again
    origin.clear_faults()
    os.unlink(cache.path("invalid", "image"))
    cache.touch("queued", "image")
    cache.wait_cached("image")
    assert cache.ls("invalid") == []


def test_a_failure_that_passes(cache, origin):
    origin.put("image", blob(SIZE, 71))
    origin.fault("image", when=lambda r: r.range is None or r.range[0] > 0, status=500, times=2)
    cache.configure(origin.config(retries=0, retry_delay=10), **SOON).mount()
    cache.touch("queued", "image")
    cache.wait_cached("image", seconds=60)
    assert cache.ls("invalid") == [] and cache.ls("queued") == []


def test_wrong_digest(cache, origin):
    origin.put("image", blob(SIZE, 71))
    origin.put_sums("SHA256SUMS", {"image": blob(SIZE, 72)})
    cache.configure(origin.config(retry_delay=10), **SOON).mount()
    cache.touch("queued", "image")
    cache.wait_has("invalid", "image", seconds=60)
    assert cache.ls("cached") == []
    wait_until(lambda: cache.ls("queued") == [], seconds=60, what="the queue to give up")
    kept = os.path.getsize(os.path.join(cache.dir, "invalid", "image"))
    assert cache.entry("invalid", "image")["bytes_kept"] == kept == SIZE
    assert cache.status()["space"]["used"] >= SIZE


def test_an_image_that_cannot_be_kept(cache, origin):
    """One that is too large for the cache, and open, ends like any that fails: its place is for others."""
    origin.put("large", blob(8 * MIB, 71))
    small = origin.put("small", blob(300 * KIB, 72))
    cache.configure(origin, **SOON, image_cache_max_size="4M", min_free=0, prefetch_concurrency=1).mount()
    fd = os.open(cache.image("large"), os.O_RDONLY)
    try:
        os.pread(fd, MIB, 0)
        wait_until(lambda: "not kept" in cache.error("large"), what="the image to go straight through")
        cache.touch("queued", "large")
        cache.touch("queued", "small")
        cache.wait_cached("small")
        same(cache.stored("small"), small)
        cache.wait_has("invalid", "large", seconds=60)
        assert cache.ls("queued") == [] and "not kept" in cache.entry("invalid", "large")["reason"]
    finally:
        os.close(fd)


def test_gone_before_its_turn(cache, origin):
    for n in ("first", "second"):
        origin.put(n, blob(SIZE, 71))
    hold = origin.fault("first", hold_from=MIB)
    cache.configure(origin.config(stall_timeout=600, retries=0, retry_delay=10), **SOON, prefetch_concurrency=1).mount()
    cache.touch("queued", "first")
    wait_until(lambda: hold.waiting, what="the first to be held back")
    cache.touch("queued", "second")
    origin.remove("second")
    hold.release()
    cache.wait_cached("first")
    wait_until(lambda: "second" not in cache.ls("queued"), seconds=60, what="the entry to go")
    assert "second" not in cache.ls("cached")


def test_a_reader_and_the_queue_fetch_once(cache, nginx):
    content = nginx.put("image", blob(16 * MIB, 73))
    cache.configure(nginx).mount()
    cache.touch("queued", "image")
    same(cache.read("image"), content)
    cache.wait_cached("image")
    assert nginx.sent("image") == len(content)


def test_a_reader_goes_before_the_queue(cache, origin):
    """Prefetches that fill every place do not keep a reader waiting."""
    for i in range(8):
        origin.put(f"image-{i}", blob(SIZE, i))
    content = origin.put("wanted", blob(SIZE, 74))
    hold = origin.fault(None, stall_after=MIB, when=lambda r: r.name.startswith("image"))
    cache.configure(origin.config(stall_timeout=600)).mount()
    for i in range(8):
        cache.touch("queued", f"image-{i}")
    wait_until(lambda: hold.waiting >= 4, what="the queue to be busy")
    same(cache.read("wanted"), content)
    cache.wait_cached("wanted")
    hold.release()


def test_many(cache, origin):
    for i in range(300):
        origin.put(f"image-{i:03}", blob(1000 + i, i))
    cache.configure(origin, prefetch_concurrency=8).mount()
    cache.shell("cd images && for i in *; do echo ../queued/$i; done | xargs touch")
    wait_until(lambda: len(cache.ls("cached")) == 300, seconds=60, what="all to be cached")
    assert cache.ls("queued") == []
    for i in range(0, 300, 37):
        same(cache.read(f"image-{i:03}"), blob(1000 + i, i))


def test_refused_by_the_backend(cache, origin):
    origin.put("image", b"x")
    origin.fault("image", status=403)
    cache.configure(origin.config(retries=0, retry_delay=10)).mount()
    code = error_of(cache.touch, "queued", "image")
    assert code in (0, errno.EACCES, errno.EPERM) + UNREACHABLE, name_of(code)
