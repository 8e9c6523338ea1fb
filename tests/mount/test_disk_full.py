# SPDX-License-Identifier: Apache-2.0
"""A cache directory on a full disk: readers get the right bytes or an error, and the mount lives."""
import errno
import os
import shutil
import subprocess

import pytest

from harness import MIB, blob, error_of, name_of, same
from waiting import wait_until


@pytest.fixture
def small_disk(cache):
    """8 MiB of tmpfs as the cache directory."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "gcfs-test", cache.dir], check=True)
    yield cache
    cache.kill()
    subprocess.run(["umount", "-l", cache.dir], check=True)


@pytest.mark.deadline(15)
def test_larger_than_the_disk(small_disk, origin):
    content = origin.put("large", blob(20 * MIB, 1))
    origin.put("small", blob(MIB, 2))
    small_disk.configure(origin).mount()
    try:
        same(small_disk.read("large"), content)
    except OSError as e:
        assert e.errno in (errno.EIO, errno.ENOSPC), name_of(e.errno)
    assert "large" not in small_disk.ls("cached")
    assert "no room" in small_disk.logged() or "space" in small_disk.logged().lower()
    small_disk.status()
    small_disk.shell("rm -f incomplete/*")
    wait_until(lambda: error_of(small_disk.read, "small") == 0, what="the small image")
    same(small_disk.read("small"), blob(MIB, 2))
    small_disk.wait_cached("small")


def test_filled_by_others(small_disk, origin):
    content = origin.put("image", blob(4 * MIB, 3))
    small_disk.configure(origin).mount()
    with open(os.path.join(small_disk.dir, ".ballast"), "wb") as f:
        try:
            while True:
                f.write(b"x" * 65536)
                f.flush()
        except OSError:
            pass
    try:
        same(small_disk.read("image"), content)
    except OSError as e:
        assert e.errno in (errno.EIO, errno.ENOSPC), name_of(e.errno)
    try:
        os.unlink(os.path.join(small_disk.dir, ".ballast"))
    except FileNotFoundError:
        pass
    wait_until(lambda: error_of(small_disk.read, "image") == 0, what="the image, with room again")
    same(small_disk.read("image"), content)
    small_disk.wait_cached("image")


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
