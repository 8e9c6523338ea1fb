# SPDX-License-Identifier: Apache-2.0
"""cache_ttl: what nobody used for so long goes. revalidate: is what is cached still what the backend has?"""
import errno
import os
import subprocess
import time

import pytest

from harness import KIB, MIB, blob, error_of, name_of, same
from tools import fill, folder_of_images
from waiting import wait_until

TTL = 2
OLD, NEW = blob(2 * MIB, 1), blob(2 * MIB + 5, 2)


# ---- cache_ttl

def test_unused_goes_and_used_stays(cache):
    """Read again and again, open, pinned: those stay."""
    names = folder_of_images(cache, 4, cache_ttl=TTL)
    read, held, pinned, unused = names
    fill(cache, names)
    os.setxattr(cache.path("cached", pinned), "user.glance.pinned", b"1")
    fd = os.open(cache.path("cached", held), os.O_RDONLY)
    last = os.stat(cache.path("cached", unused)).st_atime

    def gone():
        cache.read(read, 4096)
        return not cache.has("cached", unused)
    wait_until(gone, what="the unused one to go")
    assert time.time() - last >= TTL
    assert cache.ls("cached") == [read, held, pinned]
    os.close(fd)
    closed = time.time()
    cache.wait_has("cached", held, there=False)
    assert time.time() - closed >= TTL - 0.1, "it was in use until it was closed"
    cache.wait_has("cached", read, there=False)
    assert cache.ls("cached") == [pinned]
    same(cache.read(unused), blob(MIB, 4))


def test_none_by_default(cache):
    names = folder_of_images(cache, 1)
    assert "cache_ttl" not in open(cache.conf).read()
    fill(cache, names)
    assert cache.status()["images"]["cached"] == 1 and cache.ls("cached") == names


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_ttl_goes_on_over_a_restart(cache, how):
    names = folder_of_images(cache, 1, cache_ttl=TTL)
    fill(cache, names)
    if how == "restart":
        cache.restart()
    else:
        cache.kill()
        cache.mount()
    cache.wait_has("cached", names[0], there=False)


# ---- revalidate

def serve(cache, origin, revalidate, **options):
    origin.put("image", OLD)
    cache.configure(origin.config(retries=1, retry_delay=10), revalidate=revalidate, **options).mount()
    same(cache.read("image"), OLD)
    cache.wait_cached("image")
    origin.settle()


def test_on_open_and_unchanged(cache, origin):
    """Each open asks, and nothing is fetched again."""
    serve(cache, origin, "on-open")
    sent, asked = origin.sent(), len(origin.requests("image"))
    for i in range(1, 4):
        same(cache.read("image"), OLD)
        assert len(origin.requests("image")) == asked + i
    origin.settle()
    assert origin.sent() - sent <= 4 * KIB
    assert cache.xattr("image", "hits") == "3"


@pytest.mark.parametrize("how", ["another etag", "another size", "only the date tells"])
def test_on_open_and_changed(cache, origin, how):
    """The next open gets the new version; who has the old one open goes on with it."""
    tag = {"etag": ""} if how == "only the date tells" else {}
    origin.put("image", OLD, **tag)
    cache.configure(origin.config(retries=1, retry_delay=10), revalidate="on-open").mount()
    same(cache.read("image"), OLD)
    cache.wait_cached("image")
    old = os.open(cache.image("image"), os.O_RDONLY)
    new = NEW if how == "another size" else NEW[:len(OLD)]
    origin.put("image", new, modified="Thu, 02 Jan 2025 00:00:00 GMT", **tag)
    same(cache.read("image"), new)
    cache.wait_cached("image")
    same(cache.stored("image"), new)
    same(os.pread(old, len(OLD) + 1, 0), OLD)
    os.close(old)
    assert os.stat(cache.image("image")).st_size == len(new)


def test_a_pin_goes_to_the_new_version(cache, origin):
    serve(cache, origin, "on-open")
    os.setxattr(cache.path("cached", "image"), "user.glance.pinned", b"1")
    origin.put("image", NEW)
    same(cache.read("image"), NEW)
    assert cache.xattr("image", "pinned") == "1"


def test_on_open_and_gone(cache, origin):
    serve(cache, origin, "on-open")
    old = os.open(cache.image("image"), os.O_RDONLY)
    origin.remove("image")
    for view in ("cached", "images", "images"):
        code = error_of(os.open, cache.path(view, "image"), os.O_RDONLY)
        assert code == errno.ENOENT, name_of(code)
    assert cache.ls("cached") == [] and not os.path.exists(os.path.join(cache.dir, "image"))
    same(os.pread(old, len(OLD), 0), OLD)
    os.close(old)


@pytest.mark.parametrize("how", ["refused", "500", "403"])
def test_on_open_and_unreachable(cache, origin, how):
    serve(cache, origin, "on-open")
    if how == "refused":
        origin.stop()
    else:
        origin.fault("image", status=int(how))
    for _ in range(2):
        same(cache.read("image"), OLD)
    assert cache.ls("cached") == ["image"]
    if how == "refused":
        origin.start()
    origin.clear_faults()
    origin.put("image", NEW)
    wait_until(lambda: cache.read("image") == NEW, what="the new version, as soon as it can be asked for")


def test_a_backend_that_fails_is_not_asked_at_each_open(cache, origin):
    """Who opens what is cached does not wait for retries."""
    serve(cache, origin, "on-open")
    origin.fault("image", status=503)
    asked = len(origin.requests("image"))
    for _ in range(30):
        same(cache.read("image", 4096), OLD[:4096])
    assert len(origin.requests("image")) - asked < 10


def test_never(cache, origin):
    serve(cache, origin, "never")
    asked = len(origin.requests("image"))
    origin.put("image", NEW)
    for _ in range(3):
        same(cache.read("image"), OLD)
    assert len(origin.requests("image")) == asked


def test_every_so_many_seconds(cache, origin):
    serve(cache, origin, 3600)
    asked = len(origin.requests("image"))
    origin.put("image", NEW)
    for _ in range(3):
        same(cache.read("image"), OLD)
    assert len(origin.requests("image")) == asked
    cache.unmount()
    cache.configure(origin.config(retries=1, retry_delay=10), revalidate=1).mount()
    wait_until(lambda: cache.read("image") == NEW, what="the new version")
    cache.wait_cached("image")
    assert len(origin.requests("image")) <= asked + 10


def test_many_open_at_once(cache, origin):
    """One question at a time for all of them, and none of them fetches anything."""
    serve(cache, origin, "on-open")
    sent = origin.sent("image")
    hold = origin.fault("image", hold_head=True)
    code = "import os, sys; sys.stdout.write(str(len(os.pread(os.open(sys.argv[1], os.O_RDONLY), 9, 0))))"
    opening = [cache.python(code, cache.image("image"), stdout=subprocess.PIPE, text=True) for _ in range(8)]
    wait_until(lambda: hold.waiting, what="the question")
    assert hold.waiting == 1
    hold.release()
    for process in opening:
        assert process.communicate(timeout=60)[0] == "9"
    assert origin.sent("image") - sent <= 4 * KIB
