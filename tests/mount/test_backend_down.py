# SPDX-License-Identifier: Apache-2.0
"""A backend that is down at the start, goes down, comes back: never "no such image"; what is cached is served."""
import errno
import hashlib
import os

import pytest

from harness import MIB, UNREACHABLE, blob, error_of, name_of, pread, same
from waiting import wait_until

CONTENT = blob(2 * MIB, 101)
QUICK = dict(retries=1, retry_delay=10, connect_timeout=2)


def test_down_at_the_start(cache, origin):
    origin.put("image", CONTENT)
    cache.configure(origin.config(**QUICK), list_ttl=1)
    origin.stop()
    cache.mount()
    for call in (os.stat, lambda p: os.open(p, os.O_RDONLY), lambda p: os.getxattr(p, "user.glance.state")):
        code = error_of(call, cache.image("image"))
        assert code in UNREACHABLE, name_of(code)
    code = error_of(cache.ls, "images")
    assert code in (0,) + UNREACHABLE, name_of(code)
    for view in ("cached", "queued", "incomplete", "invalid"):
        assert cache.ls(view) == []
    cache.status()
    os.statvfs(cache.mnt)
    assert "refused" in cache.logged().lower()
    origin.start()
    wait_until(lambda: error_of(os.stat, cache.image("image")) == 0, what="the image to be seen")
    same(cache.read("image"), CONTENT)
    wait_until(lambda: error_of(cache.ls, "images") == 0 and cache.ls("images") == ["image"], what="the listing")
    cache.wait_cached("image")


def test_what_is_cached_is_served(cache, origin):
    origin.put("image", CONTENT)
    origin.put("other", CONTENT)
    cache.configure(origin.config(**QUICK), list_ttl=1).mount()
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    assert cache.ls("images") == ["image", "other"]
    origin.stop()
    cache.restart()
    same(cache.read("image"), CONTENT)
    assert cache.ls("cached") == ["image"]
    assert "image" in cache.ls_some("images")
    code = error_of(cache.read, "other")
    assert code in UNREACHABLE, name_of(code)
    cache.shell("ls -l images cached; du -s cached; df .", check=False)
    health = str(cache.status()).lower()
    assert "refused" in health or "down" in health or "unreachable" in health or "false" in health, health
    origin.start()
    wait_until(lambda: error_of(cache.read, "other") == 0, what="the other image")
    same(cache.read("other"), CONTENT)


def test_goes_down_in_the_middle_and_comes_back(cache, origin):
    content = origin.put("image", blob(8 * MIB, 102))
    hold = origin.fault("image", hold_from=3 * MIB)
    cache.configure(origin.config(retries=1, retry_delay=10, stall_timeout=600), fetch_whole_after="64K").mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(fd, MIB), content[:MIB])
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    origin.stop()
    code = error_of(os.pread, fd, 4096, 6 * MIB)
    assert code in UNREACHABLE, name_of(code)
    same(os.pread(fd, 4096, 0), content[:4096])
    assert cache.error("image")
    assert "image" in cache.ls("incomplete")
    origin.clear_faults()
    origin.start()
    wait_until(lambda: error_of(os.pread, fd, 4096, 6 * MIB) == 0, what="the bytes")
    same(pread(fd), content)
    os.close(fd)
    cache.wait_cached("image")
    assert cache.error("image") == ""


def test_a_short_outage_is_not_felt(cache, origin):
    content = origin.put("image", blob(8 * MIB, 103))
    hold = origin.fault("image", hold_from=3 * MIB)
    cache.configure(origin.config(retries=10, retry_delay=100, stall_timeout=600), fetch_whole_after="64K").mount()
    reader = cache.spawn("sha256sum", cache.image("image"), stdout=-1, text=True)
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    origin.stop()
    wait_until(lambda: "refused" in cache.logged().lower(), what="a try while it is down")
    origin.clear_faults()
    origin.start()
    out = reader.communicate()[0]
    assert reader.returncode == 0
    assert out.split()[0] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/{id}", "http://no-such-host.invalid/{id}", "http://[::1]:9/{id}"])
def test_nobody_there(cache, url):
    cache.configure({"type": "http", "url": url, **QUICK}).mount()
    code = error_of(os.stat, cache.image("image"))
    assert code in UNREACHABLE, name_of(code)
    cache.status()


def test_a_server_that_accepts_and_says_nothing(cache, origin):
    origin.put("image", CONTENT)
    origin.fault(None, hold_head=True)
    cache.configure(origin.config(retries=1, retry_delay=10, stall_timeout=1)).mount()
    code = error_of(os.stat, cache.image("image"))
    assert code in UNREACHABLE + (errno.ETIMEDOUT,), name_of(code)
    origin.clear_faults()
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the image")
    same(cache.read("image"), CONTENT)
