# SPDX-License-Identifier: Apache-2.0
"""What the kernel is told to forget: nobody waits for that who has nothing to do with it, and a tail counts as hidden when it is."""
import errno
import os
import signal
import subprocess
import threading

import pytest

from harness import KIB, MIB, PROBE, blob, error_of, pread, same
from waiting import PATIENCE, wait_until
from workers import wait_served, worker_of

SIZE, LARGE = 300 * KIB, 40 * MIB
NAMES = [f"image-{i}" for i in range(8)]


@pytest.fixture
def served(cache, origin):
    """Small images, the first of them cached; and a large one that is not what SHA256SUMS says."""
    origin.put_sums("SHA256SUMS", {"wrong": blob(LARGE, 72), "stuck": blob(LARGE, 80)})
    origin.put("wrong", blob(LARGE, 71))
    for i, name in enumerate(NAMES):
        origin.put(name, blob(SIZE, i))
    cache.configure(origin).mount()
    cache.read(NAMES[0])
    cache.wait_cached(NAMES[0])
    return cache


def park_lookup(cache, origin, name="slow"):
    origin.put(name, blob(SIZE, 99))
    fault = origin.fault(name, hold_head=True)
    cache.spawn("stat", cache.image(name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: fault.waiting, what="the look-up to wait")
    return fault


def park_listing(cache, origin):
    listed, go = threading.Event(), threading.Event()

    def listing():
        listed.set()
        go.wait(60 * PATIENCE)
        return "application/json", b"[]"
    origin.listing = listing
    cache.spawn("ls", cache.path("images"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert listed.wait(20 * PATIENCE)

    class Fault:
        release = go.set
    return Fault


def evict_by_hand(cache, origin):
    os.unlink(cache.path("cached", NAMES[0]))


def quarantine(cache, origin):
    os.rename(cache.path("cached", NAMES[0]), cache.path("invalid", NAMES[0]))


def fetch_another_version(cache, origin):
    """A fetch that finds that the image changed."""
    def swap(request):
        if request.range and request.range[0] > 0:
            origin.put("turns", blob(2 * MIB, 51))
        return False
    origin.put("turns", blob(2 * MIB, 50))
    origin.fault("turns", when=swap)
    assert error_of(cache.read, "turns") == errno.EIO
    wait_until(lambda: error_of(cache.read, "turns") == 0, what="the new version")


def make_room(cache, origin):
    """Fetches more than the cache holds."""
    for i in range(4):
        origin.put(f"large-{i}", blob(3 * MIB, 60 + i))
        cache.read(f"large-{i}")
        wait_until(lambda: cache.ls("incomplete") == [], what="it to be cached")
    assert NAMES[0] not in cache.ls("cached")


def look_up(cache, name):
    """A look-up in a process of its own: done within the deadline, else it is told in which state its process hangs."""
    process = cache.spawn("stat", "-c", "%s", cache.image(name), stdout=subprocess.PIPE)
    try:
        assert process.wait(10 * PATIENCE) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        try:
            process.wait(2 * PATIENCE)
            state = "killed"
        except subprocess.TimeoutExpired:
            state = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()[0]
        raise AssertionError(f"the look-up of {name} hangs, after SIGKILL: {state}") from None
    assert int(process.stdout.read()) == SIZE


@pytest.mark.parametrize("parked", [park_lookup, park_listing])
@pytest.mark.parametrize("change", [evict_by_hand, quarantine, fetch_another_version, make_room])
def test_nobody_waits_for_who_is_parked(served, origin, parked, change):
    """In state D, beyond SIGKILL, for as long as the backend does not answer somebody else."""
    if change is make_room:
        served.unmount()
        served.configure(origin, image_cache_max_size="10M").mount()
    if parked is park_listing:  # known before, since the listing does not come
        for name in NAMES:
            os.stat(served.image(name))
    fault = parked(served, origin)
    try:
        change(served, origin)
        for name in NAMES[1:4]:
            look_up(served, name)
        ls = served.spawn("ls", served.path("cached"), stdout=subprocess.DEVNULL)
        assert ls.wait(10 * PATIENCE) == 0
    finally:
        fault.release()


def test_the_name_leads_to_the_new_row_at_once(served, origin):
    """Though the kernel may keep it for a second: what is opened is the image as it is now."""
    os.unlink(served.path("cached", NAMES[0]))
    before = origin.sent(NAMES[0])
    same(served.read(NAMES[0]), blob(SIZE, 0))
    assert origin.sent(NAMES[0]) >= before + SIZE - PROBE
    served.wait_cached(NAMES[0])
    assert not served.has("incomplete", NAMES[0])
    os.unlink(served.path("cached", NAMES[0]))
    assert not served.has("cached", NAMES[0])


# ---- tails

def read_paced(fd, size):
    """All of it in order, each byte as soon as it is here. What could be read."""
    got = 0
    try:
        while got < size:
            part = os.pread(fd, MIB, got)
            if not part:
                break
            got += len(part)
    except OSError as e:
        assert e.errno == errno.EIO
    return got


def stuck_telling(cache, origin):
    """A tail of another image that cannot be dropped: a page of it is being read, which waits for the rest."""
    name = "stuck"
    origin.put(name, blob(LARGE, 80))
    fd = os.open(cache.image(name), os.O_RDONLY)
    os.pread(fd, 4 * KIB, LARGE - 4 * KIB)  # it peeks
    hold = origin.fault(name, hold_from=30 * MIB, when=lambda r: r.range and r.range[0] < LARGE - MIB)
    cache.python("import os, sys; fd = os.open(sys.argv[1], os.O_RDONLY); os.pread(fd, 1 << 30, 0)", cache.image(name))
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    # Nearly all of it is under way: this one waits for the digest, with the pages of the tail locked.
    cache.python("import os, sys; fd = os.open(sys.argv[1], os.O_RDONLY); os.pread(fd, 4096, int(sys.argv[2]))", cache.image(name),
                 LARGE - 40 * KIB)
    return fd, hold


def drop_an_image(cache, origin):
    """What held up all telling: a name of images/, while a look-up is parked there."""
    fault = park_lookup(cache, origin)
    os.unlink(cache.path("cached", NAMES[0]))
    return None, fault


@pytest.mark.parametrize("busy", [None, drop_an_image, stuck_telling])
def test_nobody_reaches_the_end_of_a_wrong_image(served, origin, busy):
    held = busy(served, origin) if busy else (None, None)
    origin.fault("wrong", drip=(64 * KIB, 0.002), when=lambda r: r.range and r.range[1] and r.range[1] - r.range[0] > 64 * KIB)
    fd = os.open(served.image("wrong"), os.O_RDONLY)
    try:
        same(os.pread(fd, 64 * KIB, LARGE - 64 * KIB), blob(LARGE, 71)[-64 * KIB:])  # as a guest's kernel does
        assert read_paced(fd, LARGE) < LARGE
        assert served.error("wrong") or served.has("invalid", "wrong")
    finally:
        if held[1] is not None:
            held[1].release()
        for f in (fd, held[0]):
            if f is not None:
                os.close(f)


def test_who_reads_the_tail_while_it_is_hidden_gets_it(served, origin):
    """A reader of the very pages that are to be dropped, and others behind them: all get their bytes when the digest matches."""
    fd, hold = stuck_telling(served, origin)
    hold.release()
    same(pread(fd, 4 * MIB, LARGE - 4 * MIB), blob(LARGE, 80)[-4 * MIB:])
    served.wait_cached("stuck")
    os.close(fd)
    same(served.read("stuck"), blob(LARGE, 80))


def test_a_worker_that_died_while_it_hid_a_tail(served, origin):
    hold = origin.fault("wrong", hold_from=30 * MIB, when=lambda r: r.range and r.range[0] < LARGE - MIB)
    fd = os.open(served.image("wrong"), os.O_RDONLY)
    same(os.pread(fd, 64 * KIB, LARGE - 64 * KIB), blob(LARGE, 71)[-64 * KIB:])
    got = []
    reader = threading.Thread(target=lambda: got.append(read_paced(fd, LARGE)))
    reader.start()
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    os.kill(worker_of(served), signal.SIGKILL)
    wait_served(served)
    hold.release()
    reader.join(20 * PATIENCE)
    assert got and got[0] < LARGE
    os.close(fd)


@pytest.mark.http1
@pytest.mark.parametrize("ends", ["by itself", "by a signal"])
def test_who_would_make_a_name_in_images(served, origin, ends):
    """
    Linux has the folder locked for who opens a name to make it, until that was looked up: others wait for him, but no longer than for any
    look-up of a name, and not for what he waits for when he is killed.
    """
    served.configure(origin.config(stall_timeout=1, retries=0)) if ends == "by itself" else None
    served.restart()
    origin.put("slow", blob(SIZE, 99))
    fault = origin.fault("slow", hold_head=True)
    maker = served.spawn("touch", served.image("slow"), stderr=subprocess.DEVNULL)
    wait_until(lambda: fault.waiting, what="the look-up to wait")
    other = served.spawn("cat", served.image(NAMES[3]), stdout=subprocess.PIPE)
    assert served.status()["counters"] and served.ls("cached") == [NAMES[0]]  # what is outside that folder goes on
    if ends == "by a signal":
        maker.kill()
    same(other.communicate(timeout=60 * PATIENCE)[0], blob(SIZE, 3))
    assert maker.wait(60 * PATIENCE) != 0
    fault.release()
    assert error_of(os.stat, served.image("slow")) == 0
