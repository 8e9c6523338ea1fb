# SPDX-License-Identifier: Apache-2.0
"""Small file systems in a file, for cache directories whose disk is full; images too large for a test's memory."""
import os
import shutil
import subprocess
import threading

import pytest

from harness import MIB, is_mounted
from waiting import wait_until

MAKE = {"ext4": ["mkfs.ext4", "-q", "-F", "-m", "0"], "xfs": ["mkfs.xfs", "-q", "-f"]}
SIZES = {"ext4": 300 * MIB, "xfs": 320 * MIB}  # XFS: not below 300 MiB
PAGE = 4096


class Disk:
    """A file system of its own as the cache directory of CACHE."""

    def __init__(self, cache, kind, size=None):
        self.cache, self.kind = cache, kind
        self.file = os.path.join(cache.root, "disk")
        self.ballast = os.path.join(cache.dir, ".ballast")
        self.made = False
        make = MAKE[kind]
        if shutil.which(make[0]) is None:
            pytest.skip(f"{make[0]} is not installed (Debian: {'xfsprogs' if kind == 'xfs' else 'e2fsprogs'})")
        with open(self.file, "wb") as f:
            f.truncate(size or SIZES[kind])
        subprocess.run([*make, self.file], check=True)
        done = subprocess.run(["mount", "-o", "loop", self.file, cache.dir], capture_output=True, text=True, check=False)
        if done.returncode != 0 and not self.can_be_mounted():
            pytest.skip(f"no {kind} in a file can be mounted here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        self.made = True

    def can_be_mounted(self):
        known = open("/proc/filesystems").read().split()
        return os.path.exists("/dev/loop-control") and self.kind in known

    def close(self):
        """The program first. The loop device goes with the mount."""
        if self.made:
            self.cache.kill()
            subprocess.run(["umount", self.cache.dir], check=False)
            if is_mounted(self.cache.dir):
                subprocess.run(["umount", "-l", self.cache.dir], check=True)

    # ---- others on the same disk

    def free(self):
        st = os.statvfs(self.cache.dir)
        return st.f_bavail * st.f_frsize

    def fill(self, leave=0):
        """Somebody else takes all that is free but LEAVE bytes."""
        fd = os.open(self.ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            step = 64 * MIB
            while step >= PAGE and self.free() > leave:
                step = min(step, (self.free() - leave) // PAGE * PAGE) or PAGE
                try:
                    os.posix_fallocate(fd, os.fstat(fd).st_size, step)
                except OSError:
                    step //= 2
        finally:
            os.close(fd)

    def give_back(self, wait=True):
        """WAIT: until it is free, when nobody else takes it meanwhile."""
        size = os.stat(self.ballast).st_blocks * 512
        os.unlink(self.ballast)
        if wait:
            wait_until(lambda: self.free() >= size - 8 * MIB, what="the disk to be free again")  # XFS frees it later


def allocated(cache):
    """Bytes that images take on the disk, whole ones and parts, and those that are evicted and still open."""
    files = {}  # by inode: a file may be moved while we look
    for folder, _, names in os.walk(cache.dir):
        for name in names:
            if name.startswith((".catalogue", ".lock", ".ballast")):
                continue
            try:
                st = os.stat(os.path.join(folder, name))
                files[st.st_ino] = st.st_blocks * 512
            except FileNotFoundError:
                pass
    return sum(files.values())


class Sampler(threading.Thread):
    """Looks again and again, until the end of the with block; worst: the largest value seen."""

    def __init__(self, look):
        super().__init__(daemon=True)
        self.look, self.worst, self.samples, self.ended = look, None, 0, threading.Event()

    def run(self):
        while not self.ended.wait(0.002):
            value = self.look()
            self.worst = value if self.worst is None else max(self.worst, value)
            self.samples += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def write_large(path, size):
    """SIZE bytes in which no two pages are equal, in a second a gigabyte."""
    block = bytearray(os.urandom(MIB))
    with open(path, "wb") as f:
        for number in range(size // MIB):
            for page in range(0, MIB, PAGE):
                block[page:page + 8] = (number * MIB + page).to_bytes(8, "little")
            f.write(block)


def same_as_file(path, want, step=MIB):
    """Reads PATH from its start to its end and compares it with the file WANT on the way. Returns the bytes read."""
    done = 0
    with open(path, "rb", buffering=0) as a, open(want, "rb", buffering=0) as b:
        while True:
            got = a.read(step)
            if not got:
                break
            assert got == b.read(len(got)), f"wrong bytes in [{done}, {done + len(got)})"
            done += len(got)
    assert done == os.path.getsize(want), f"the end at {done} of {os.path.getsize(want)}"
    return done
