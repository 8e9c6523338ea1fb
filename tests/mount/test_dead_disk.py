# SPDX-License-Identifier: Apache-2.0
"""The disk of the cache directory is gone, read-only, full or slow to say so: the mount goes on, and what the backend has is read."""
import errno
import os
import shutil
import subprocess

import pytest

from disk import Disk
from harness import KIB, MIB, blob, error_of, is_mounted, same
from waiting import wait_until
from workers import worker_of


def shut_down(disk):
    if shutil.which("xfs_io") is None:
        pytest.skip("xfs_io is not installed (Debian: xfsprogs)")
    subprocess.run(["xfs_io", "-x", "-c", "shutdown", disk.cache.dir], check=True)


def abort(disk):
    device = [line.split()[0] for line in open("/proc/mounts") if line.split()[1] == disk.cache.dir][0]
    subprocess.run(["mount", "-o", "remount,errors=remount-ro", disk.cache.dir], check=True)
    with open(f"/sys/fs/ext4/{os.path.basename(device)}/trigger_fs_error", "w") as f:
        f.write("1")


WAYS = {"XFS shut down": ("xfs", shut_down), "ext4 read-only": ("ext4", abort)}


@pytest.fixture(params=WAYS)
def dying(cache, request):
    """(disk, fail): a cache directory on a disk of its own, and what makes it fail."""
    kind, fail = WAYS[request.param]
    disk = Disk(cache, kind)
    try:
        os.chmod(cache.dir, 0o755)
        yield disk, lambda: fail(disk)
    finally:
        disk.close()


@pytest.mark.parametrize("passthrough, first", [("off", True), ("auto", True), ("off", False)])
def test_the_disk_dies(dying, origin, passthrough, first):
    """
    Nobody gets an error: what is not cached, or only in part, comes straight from the backend; also with a new worker, and when the first
    worker, which the kernel has told what it can, is there no more.
    """
    disk, fail = dying
    cache = disk.cache
    cache.expected = "could not be written to the disk"
    contents = {n: origin.put(n, blob(2 * MIB, ord(n))) for n in "abcdefg"}
    cache.configure(origin, fetch_policy="demand", read_ahead_max=0, passthrough=passthrough).mount()
    same(cache.read("a"), contents["a"])
    cache.touch("queued", "b")
    cache.wait_cached("b")
    same(cache.read("c", 64 * KIB, MIB), contents["c"][MIB:MIB + 64 * KIB])
    keeper = cache.process.pid
    if not first:
        gone = worker_of(cache)
        os.kill(gone, 9)
        wait_until(lambda: worker_of(cache) not in (None, gone), what="another worker")
    handles = [(os.open(cache.image(n), os.O_RDONLY), contents[n]) for n in "bc"]
    fail()
    try:
        for name in "egca":
            same(cache.read(name), contents[name])
        assert cache.ls("images") == sorted(contents)
        for _ in range(2):
            worker = worker_of(cache)
            os.kill(worker, 9)
            wait_until(lambda gone=worker: worker_of(cache) not in (None, gone), what="another worker")
            same(cache.read("f"), contents["f"])
            for handle, content in handles if disk.kind == "ext4" else ():  # what is on a disk that can be read is read on
                same(os.pread(handle, 2 * MIB, 0), content)
    finally:
        for handle, _ in handles:
            os.close(handle)
    assert cache.process.pid == keeper and is_mounted(cache.mnt)
    assert cache.status()["disk"] != "ok" and "served" in cache.logged()
    with open(cache.image("f"), "rb") as f:
        f.read(1)
        assert "not kept" in cache.error("f")


def pull(cache):
    """→ what puts it back."""
    device = [line.split()[0] for line in open("/proc/mounts") if line.split()[1] == cache.dir][0]
    subprocess.run(["umount", "-l", cache.dir], check=True)
    return lambda: subprocess.run(["mount", device, cache.dir], check=True)


def move_away(cache):
    os.rename(cache.dir, cache.dir + ".away")
    os.mkdir(cache.dir, 0o777)
    os.chmod(cache.dir, 0o777)  # the worker could make a cache directory of it

    def back():
        shutil.rmtree(cache.dir)
        os.rename(cache.dir + ".away", cache.dir)
    return back


@pytest.mark.parametrize("how", [pull, move_away])
def test_the_folder_goes_below_us(cache, origin, how):
    """Without any error of the disk: it is noticed, said, and nothing is written into what lies there now; when it is back it is used again."""
    disk = Disk(cache, "ext4") if how is pull else None
    try:
        os.chmod(cache.dir, 0o755)
        contents = {n: origin.put(n, blob(2 * MIB, ord(n))) for n in "abc"}
        cache.configure(origin).mount()
        same(cache.read("a"), contents["a"])
        cache.wait_cached("a")
        keeper = cache.process.pid
        put_back = how(cache)
        wait_until(lambda: cache.status()["disk"] != "ok", what="it to be noticed that the folder is gone")
        assert "is not there any more" in cache.logged()
        for name in "abc":
            same(cache.read(name), contents[name])
        worker = worker_of(cache)
        os.kill(worker, 9)
        wait_until(lambda: worker_of(cache) not in (None, worker), what="another worker")
        same(cache.read("b"), contents["b"])
        assert os.listdir(cache.dir) == []
        meanwhile = os.open(cache.image("b"), os.O_RDONLY)
        put_back()
        wait_until(lambda: cache.status()["disk"] == "ok", seconds=40, what="the folder to be used again")
        # nobody knows its row any more; at the end of what it had been the kernel asks for that, too
        assert error_of(os.pread, meanwhile, 100, 2 * MIB - 50) == errno.EIO
        os.close(meanwhile)
        assert cache.ls("cached") == ["a"]
        same(cache.read("c"), contents["c"])
        cache.wait_cached("c")
        assert cache.process.pid == keeper
    finally:
        if disk is not None:
            disk.close()


def test_without_room_for_the_catalogue(disk_of_quota, origin):
    """A quota that is used up to the last byte: also a worker that cannot open the catalogue serves; when there is room again, images are kept."""
    cache = disk_of_quota
    contents = {n: origin.put(n, blob(2 * MIB, ord(n))) for n in "abcd"}
    cache.configure(origin).mount()
    same(cache.read("a"), contents["a"])
    cache.wait_cached("a")
    ballast = os.path.join(cache.dir, ".ballast")
    with open(ballast, "wb", buffering=0) as f:
        for step in (MIB, 64 * KIB, 4 * KIB):
            try:
                while True:
                    f.write(os.urandom(step))
                    os.fsync(f.fileno())
            except OSError:
                pass
    for name in "bc":
        same(cache.read(name), contents[name])
        worker = worker_of(cache)
        if worker is not None:
            os.kill(worker, 9)
    same(cache.read("b"), contents["b"])
    same(cache.read("a"), contents["a"])
    os.unlink(ballast)
    os.sync()
    wait_until(lambda: cache.status()["disk"] == "ok", seconds=40, what="the disk to be used again")

    def kept():
        same(cache.read("d"), contents["d"])
        return cache.has("cached", "d")
    wait_until(kept, seconds=90, what="an image to be kept again")
    same(cache.stored("d"), contents["d"])
    assert cache.has("cached", "a")


@pytest.fixture
def disk_of_quota(cache):
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
        os.chmod(cache.dir, 0o755)
        yield cache
    finally:
        cache.kill()
        wait_until(lambda: subprocess.run(["umount", cache.dir], check=False, capture_output=True).returncode == 0, what="umount")
