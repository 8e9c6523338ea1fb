# SPDX-License-Identifier: Apache-2.0
"""A cache directory on a full disk: readers get the right bytes or an error, and the mount lives."""
import errno
import os
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
