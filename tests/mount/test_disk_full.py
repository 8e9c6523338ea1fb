# SPDX-License-Identifier: Apache-2.0
"""A cache directory on a disk that is too small or filled by others: every reader gets every byte, and the mount lives."""
import os
import shutil
import subprocess
import threading
import time

import pytest

from disk import Disk, same_as_file, write_large
from harness import MIB, blob, read, same, sha
from waiting import wait_until


@pytest.fixture(params=["ext4", "xfs"])
def disk(request, cache):
    """A small file system as the cache directory."""
    disk = Disk(cache, request.param)
    yield disk
    disk.close()


class Reader(threading.Thread):
    """Reads an image beside the test. result(): its bytes, or what went wrong."""

    def __init__(self, cache, name):
        super().__init__(daemon=True)
        self.cache, self.name_of_image, self.bytes, self.error = cache, name, None, None
        self.start()

    def run(self):
        try:
            self.bytes = read(self.cache.image(self.name_of_image))
        except OSError as e:
            self.error = e

    def result(self):
        wait_until(lambda: not self.is_alive(), seconds=60, what="the reader")
        if self.error is not None:
            raise self.error
        return self.bytes


def caches_again(disk, origin):
    """A small image finds its place."""
    cache = disk.cache
    content = origin.put("small", blob(MIB, 2))
    same(cache.read("small"), content)
    cache.wait_cached("small")
    same(cache.stored("small"), content)


def is_not_kept(cache, name):
    assert name not in cache.ls("cached")
    wait_until(lambda: not os.path.exists(os.path.join(cache.dir, "incomplete", name)), what="its bytes to go")


@pytest.mark.parametrize("evict, size", [("yes", 1024 * MIB), ("no", 400 * MIB)])
@pytest.mark.deadline(120)
def test_an_image_larger_than_the_disk(disk, nginx, evict, size):
    """A gigabyte through 300 MiB: all of it right, none of it kept. Without evict_inline the disk is found full in the middle."""
    cache = disk.cache
    large = os.path.join(nginx.files, "large")
    write_large(large, size)
    cache.configure(nginx.config(), evict_inline=evict).mount()
    free = disk.free()
    assert same_as_file(cache.image("large"), large) == size
    is_not_kept(cache, "large")
    assert "served straight through" in cache.logged()
    wait_until(lambda: disk.free() > free - 8 * MIB, what="the space to be free")
    assert nginx.sent("large") < size * 2
    caches_again(disk, nginx)


@pytest.mark.deadline(120)
def test_the_limit_is_larger_than_the_disk_is_free(disk, origin):
    """The disk is full before the fetch begins; nothing in the cache could make room."""
    cache = disk.cache
    content = origin.put("image", blob(24 * MIB, 3))
    cache.configure(origin).mount()
    disk.fill()
    same(cache.read("image"), content)
    is_not_kept(cache, "image")
    same(cache.read("image", MIB, 20 * MIB), content[20 * MIB:21 * MIB])
    disk.give_back()
    caches_again(disk, origin)


@pytest.mark.parametrize("evict", ["yes", "no"])
@pytest.mark.deadline(120)
def test_filled_by_others_in_the_middle(disk, origin, evict):
    """What was asked for while there was room finds none when it comes."""
    cache = disk.cache
    content = origin.put("image", blob(24 * MIB, 4))
    hold = origin.fault("image", hold_from=8 * MIB)
    cache.configure(origin.config(stall_timeout=600), evict_inline=evict, fetch_whole_after="64K").mount()
    readers = [Reader(cache, "image") for _ in range(3)]
    wait_until(lambda: hold.waiting >= 1, what="a stream to be held back")
    disk.fill()
    hold.release()
    for reader in readers:
        same(reader.result(), content)
    is_not_kept(cache, "image")
    disk.give_back()
    caches_again(disk, origin)


@pytest.mark.deadline(120)
def test_filled_again_and_again(disk, origin):
    """Whenever it comes: before the file is made, in its middle, at its end."""
    cache = disk.cache
    contents = {f"image-{i}": origin.put(f"image-{i}", blob(4 * MIB + i, 10 + i)) for i in range(12)}
    origin.put_sums("SHA256SUMS", contents)
    cache.configure(origin, fetch_whole_after="64K").mount()
    for i, (name, content) in enumerate(contents.items()):
        disk.fill(leave=i * MIB // 2)
        same(cache.read(name), content)
        same(cache.read(name, 4096, 4 * MIB - 4096), content[4 * MIB - 4096:4 * MIB])
        for other in cache.ls("cached"):
            same(cache.stored(other), contents[other])
        disk.give_back()
    caches_again(disk, origin)


@pytest.mark.deadline(120)
def test_evicting_on_a_disk_without_a_free_byte(disk, origin):
    """Old images make room although not even the catalogue can grow; rm works."""
    cache = disk.cache
    contents = {f"image-{i}": origin.put(f"image-{i}", blob(8 * MIB, 30 + i)) for i in range(4)}
    cache.configure(origin).mount()
    for name in list(contents)[:3]:
        same(cache.read(name), contents[name])
        cache.wait_cached(name)
    disk.fill()
    same(cache.read("image-3"), contents["image-3"])
    cache.wait_cached("image-3")
    assert "image-0" not in cache.ls("cached") and {"image-2", "image-3"} <= set(cache.ls("cached"))
    disk.fill()
    before = disk.free()
    os.unlink(cache.path("cached", "image-2"))
    wait_until(lambda: disk.free() >= before + 7 * MIB, what="the space to be free")
    assert "image-2" not in cache.ls("cached")


@pytest.mark.parametrize("evict", ["yes", "no"])
@pytest.mark.deadline(240)
def test_readers_while_others_fill_and_empty_the_disk(disk, nginx, evict):
    """Six of them, over and over, while all room goes and comes back again and again."""
    cache = disk.cache
    contents = {f"image-{i:02}": nginx.put(f"image-{i:02}", blob((1 + i % 5) * 3 * MIB + i, 50 + i)) for i in range(18)}
    nginx.put("SHA256SUMS", "".join(f"{sha(c)}  {n}\n" for n, c in contents.items()).encode())
    cache.configure(nginx, evict_inline=evict, fetch_whole_after="64K").mount()
    code = ("import hashlib, os, random, sys\n"
            "stop, names = sys.argv[2], sys.argv[3:]\n"
            "random.Random(int(sys.argv[1])).shuffle(names)\n"
            "over = False\n"
            "while not over:\n"
            "    over = os.path.exists(stop)\n"
            "    for path in names:\n"
            "        print(path.rsplit('/', 1)[1], hashlib.sha256(open(path, 'rb').read()).hexdigest(), flush=True)\n")
    stop = os.path.join(cache.root, "stop")
    running = [cache.python(code, i, stop, *map(cache.image, contents), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for i in range(6)]
    for rounds in range(12):
        disk.fill(leave=rounds % 4 * 5 * MIB)
        time.sleep(0.02)
        disk.give_back(wait=False)
    open(stop, "w").close()
    for process in running:
        out, err = process.communicate()
        assert process.returncode == 0, err
        read_by_it = set(tuple(line.split()) for line in out.splitlines())
        assert read_by_it == {(n, sha(c)) for n, c in contents.items()}
    for name in cache.ls("cached"):
        same(cache.stored(name), contents[name])
    caches_again(disk, nginx)


@pytest.fixture
def quota(cache):
    """A disk with room for all, of which the cache directory may use 24 MiB. Btrfs: its quotas are in every kernel that has it."""
    if not shutil.which("mkfs.btrfs"):
        pytest.skip("no mkfs.btrfs: the package btrfs-progs is not installed")
    disk = os.path.join(cache.root, "disk")
    with open(disk, "wb") as f:
        f.truncate(256 * MIB)
    subprocess.run(["mkfs.btrfs", "-q", disk], stdout=subprocess.DEVNULL, check=True)
    done = subprocess.run(["mount", "-o", "loop", disk, cache.dir], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a btrfs cannot be mounted here: {done.stderr.strip()}")
    try:
        for command in (["quota", "enable"], ["qgroup", "limit", "24M"]):
            done = subprocess.run(["btrfs", *command, cache.dir], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"no quotas of btrfs here: {done.stderr.strip()}")
        yield cache
    finally:
        cache.kill()
        subprocess.run(["umount", cache.dir], check=True)


def test_quota(quota, origin):
    """The quota is used up, not the disk: the image is served without being kept, and says so."""
    content = origin.put("large", blob(40 * MIB, 4))
    origin.put("small", blob(MIB, 5))
    quota.configure(origin).mount()
    same(quota.read("large"), content)
    assert "quota" in quota.error("large")
    assert quota.ls("cached") == []
    assert os.statvfs(quota.dir).f_bavail * os.statvfs(quota.dir).f_frsize > 40 * MIB, "the disk is not full"
    wait_until(lambda: quota.ls("incomplete") == [], what="the bytes that were kept so far to go")
    same(quota.read("small"), blob(MIB, 5))
    quota.wait_cached("small")
