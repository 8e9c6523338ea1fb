# SPDX-License-Identifier: Apache-2.0
"""glance-cache-cleaner: empties invalid/, removes what is stalled in incomplete/, finds rotten bytes."""
import errno
import os
import signal
import time

import pytest

from harness import MIB, blob, error_of, same
from tools import FAILED, fill, folder_of_images, on, path_of, report
from waiting import wait_until

SIZE = 4 * MIB


# ---- invalid/

@pytest.fixture
def spoilt(cache):
    """Two images in invalid/, two in cached/."""
    cache.names = folder_of_images(cache, 4)
    fill(cache, cache.names)
    for name in cache.names[:2]:
        os.rename(cache.path("cached", name), cache.path("invalid", name))
    return cache


def test_empties_invalid(spoilt):
    on(spoilt, "cleaner")
    assert spoilt.ls("invalid") == [] and spoilt.ls("cached") == spoilt.names[2:]
    assert os.listdir(os.path.join(spoilt.dir, "invalid")) == []


def test_invalid_dry_run_and_json(spoilt):
    value = report(spoilt, "cleaner", "--dry-run")
    assert spoilt.ls("invalid") == spoilt.names[:2]
    assert value["invalid_count"] == 2 and value["dry_run"] is True
    assert sorted(r["image"] for r in value["invalid_removed"]) == spoilt.names[:2]
    assert all(r["reason"] for r in value["invalid_removed"])
    value = report(spoilt, "cleaner")
    assert value["invalid_count"] == 2 and value["failed_count"] == 0 and spoilt.ls("invalid") == []
    value = report(spoilt, "cleaner")
    assert value["invalid_count"] == 0 and value["invalid_removed"] == []


# ---- incomplete/

def incomplete(cache, origin, name="image"):
    """An image of which a part is here and no more comes. Returns what holds it back."""
    origin.put(name, blob(SIZE, 71))
    hold = origin.fault(name, hold_from=MIB)
    cache.configure(origin.config(stall_timeout=600), fetch_policy="demand", read_ahead_max=0)
    cache.mount()
    same(cache.read(name, MIB // 2), blob(SIZE, 71)[:MIB // 2])
    cache.wait_has("incomplete", name)
    return hold


def progress_age(cache, name):
    return time.time() - float(cache.xattr(name, "last_progress", "incomplete"))


def test_stalled_goes(cache, origin):
    incomplete(cache, origin)
    wait_until(lambda: progress_age(cache, "image") > 1.1, what="time to pass")
    on(cache, "cleaner", "--stall-time", "60")
    assert cache.ls("incomplete") == ["image"]
    done = on(cache, "cleaner", "--stall-time", "1", "--dry-run")
    assert cache.ls("incomplete") == ["image"] and "would be given up" in done.stderr
    value = report(cache, "cleaner", "--stall-time", "1")
    assert value["stalled_count"] == 1 and value["stalled_bytes"] > 0
    assert [r["image"] for r in value["stalled_removed"]] == ["image"]
    wait_until(lambda: cache.ls("incomplete") == [], what="it to go")
    assert os.listdir(os.path.join(cache.dir, "incomplete")) == []


def test_the_time_of_the_configuration(cache, origin):
    incomplete(cache, origin)
    backend = origin.config(stall_timeout=600)
    on(cache, "cleaner")
    assert cache.ls("incomplete") == ["image"]
    cache.configure(backend, image_cache_stall_time=1)
    wait_until(lambda: progress_age(cache, "image") > 1.1, what="time to pass")
    on(cache, "cleaner", "--config-file", cache.conf)
    assert cache.ls("incomplete") == []


def test_being_read_is_not_stalled(cache, origin):
    """However long ago its last byte came: Glance's cleaner deleted live downloads (LP1228256)."""
    incomplete(cache, origin)
    fd = os.open(cache.image("image"), os.O_RDONLY)
    wait_until(lambda: progress_age(cache, "image") > 1.1, what="time to pass")
    on(cache, "cleaner", "--stall-time", "0")
    assert cache.ls("incomplete") == ["image"]
    os.close(fd)
    wait_until(lambda: cache.xattr("image", "open", "incomplete") == "0", what="it to be closed")
    on(cache, "cleaner", "--stall-time", "0")
    assert cache.ls("incomplete") == []


def test_progress_is_not_stalled(cache, origin):
    """A slow download that began long before the stall time and goes on."""
    content = blob(SIZE, 71)
    origin.put("image", content)
    fault = origin.fault("image", drip=(65536, 0.1))
    cache.configure(origin.config(stall_timeout=600), streams=1).mount()
    cache.touch("queued", "image")
    cache.wait_has("incomplete", "image")
    begun = time.monotonic()
    while time.monotonic() - begun < 2.5 and cache.has("incomplete", "image"):
        on(cache, "cleaner", "--stall-time", "1")
    fault.release()
    cache.wait_cached("image", seconds=60)
    same(cache.stored("image"), content)
    assert origin.sent("image") < 2 * SIZE


# ---- cached/

def flip(cache, name, at):
    """One bit in the file of the cache directory; its times stay as they were."""
    path = os.path.join(cache.dir, name)
    state = os.stat(path)
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_a_flipped_bit_is_found_and_healed(cache, origin):
    contents = {f"image-{i}": blob(3 * MIB + i, i) for i in range(4)}
    for name, content in contents.items():
        origin.put(name, content)
    origin.put_sums("SHA256SUMS", contents)
    cache.configure(origin).mount()
    for name in contents:
        cache.read(name)
        cache.wait_cached(name)
    flip(cache, "image-1", 2 * MIB + 17)
    flip(cache, "image-3", 3 * MIB + 2)
    value = report(cache, "cleaner", "--verify", "--dry-run")
    assert value["verified"]["rotten"] == 2 and cache.ls("cached") == sorted(contents)
    value = report(cache, "cleaner", "--verify")
    assert value["verified"] == {"right": 2, "rotten": 2, "without_digest": 0,
                                 "bytes_read": sum(map(len, contents.values()))}
    assert sorted(r["image"] for r in value["rotten"]) == ["image-1", "image-3"]
    assert all("sha256" in r["reason"] for r in value["rotten"])
    assert cache.ls("cached") == ["image-0", "image-2"] and cache.ls("invalid") == ["image-1", "image-3"]
    for name, content in contents.items():
        same(cache.read(name), content)
        cache.wait_cached(name)
        same(cache.stored(name), content)
    assert report(cache, "cleaner", "--verify")["verified"]["right"] == 4


def test_found_although_the_page_cache_has_it(cache, origin):
    """Pages that the kernel keeps of the mount's file do not hide what became of the file."""
    content = blob(MIB, 5)
    origin.put("image", content)
    origin.put_sums("SHA512SUMS", {"image": content})
    cache.configure(origin).mount()
    same(cache.read("image"), content)
    cache.wait_cached("image")
    same(cache.read("image"), content)
    flip(cache, "image", 4096)
    assert report(cache, "cleaner", "--verify")["verified"]["rotten"] == 1


def test_open_while_quarantined(cache, origin):
    content = blob(MIB, 5)
    origin.put("image", content)
    origin.put_sums("SHA256SUMS", {"image": content})
    cache.configure(origin).mount()
    cache.read("image")
    cache.wait_cached("image")
    fd = os.open(cache.image("image"), os.O_RDONLY)
    flip(cache, "image", 5)
    on(cache, "cleaner", "--verify")
    assert cache.ls("invalid") == ["image"]
    assert len(os.pread(fd, MIB, 0)) == MIB
    os.close(fd)
    same(cache.read("image"), content)


def test_without_a_digest(cache):
    fill(cache, folder_of_images(cache, 2))
    value = report(cache, "cleaner", "--verify")
    if value["verified"]["without_digest"] == 2:  # a digest is made up for what came without one, or it is not
        assert value["verified"]["right"] == 0
    assert value["verified"]["rotten"] == 0 and len(cache.ls("cached")) == 2


def verifiable(cache, origin, count, size):
    contents = {f"image-{i}": blob(size, i) for i in range(count)}
    for name, content in contents.items():
        origin.put(name, content)
    origin.put_sums("SHA256SUMS", contents)
    cache.configure(origin).mount()
    fill(cache, contents)
    return sorted(contents)


def test_a_bounded_rate(cache, origin):
    verifiable(cache, origin, 2, 2 * MIB)
    begun = time.monotonic()
    on(cache, "cleaner", "--verify", "--rate", "2M")
    took = time.monotonic() - begun
    assert took > 1.3, f"4 MiB at 2 MiB/s in {took:.2f} s"


def test_verifying_is_no_use_of_an_image(cache, origin):
    """It changes neither the order of eviction nor the hits."""
    names = verifiable(cache, origin, 3, MIB)
    before = {n: (os.stat(cache.path("cached", n)).st_atime_ns, cache.xattr(n, "hits")) for n in names}
    on(cache, "cleaner", "--verify", "--rate", "0")
    wait_until(lambda: all(cache.xattr(n, "open") == "0" for n in names), what="all to be closed")
    assert {n: (os.stat(cache.path("cached", n)).st_atime_ns, cache.xattr(n, "hits")) for n in names} == before


@pytest.mark.parametrize("held", [True, False])
def test_the_file_is_cut_short(cache, origin, held):
    """Found by reading it while it is open or still in memory; found when it is opened, else, and then fetched again at once."""
    verifiable(cache, origin, 1, MIB)
    wait_until(lambda: cache.xattr("image-0", "open") == "0", what="the reader's handle to be closed")
    fd = os.open(cache.image("image-0"), os.O_RDONLY) if held else -1
    os.truncate(os.path.join(cache.dir, "image-0"), MIB // 2)
    value = report(cache, "cleaner", "--verify")
    if held:
        assert value["verified"]["rotten"] == 1 and cache.ls("invalid") == ["image-0"]
        os.close(fd)
    else:
        assert value["verified"]["rotten"] == 1 or "cut short" in cache.logged()
    same(cache.read("image-0"), blob(MIB, 0))
    stored = os.path.join(cache.dir, "image-0")
    wait_until(lambda: os.path.exists(stored) and os.path.getsize(stored) == MIB, what="the new file")
    cache.wait_cached("image-0")
    same(cache.stored("image-0"), blob(MIB, 0))


def test_stopped(cache, origin):
    """A signal ends it in the middle, in order."""
    verifiable(cache, origin, 1, 4 * MIB)
    cleaner = cache.spawn(path_of("glance-cache-cleaner"), "--mount", cache.mnt, "--verify", "--rate", "64K")
    wait_until(lambda: cache.xattr("image-0", "open") == "1", what="it to be at work")
    cleaner.send_signal(signal.SIGINT)
    assert cleaner.wait(20) == FAILED
    assert cache.ls("cached") == ["image-0"]
    assert error_of(os.stat, cache.path("invalid", "image-0")) == errno.ENOENT
