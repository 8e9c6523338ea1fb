# SPDX-License-Identifier: Apache-2.0
"""A disk that is recorded: a file system on a loop device over the recorder (recorder.c), and the states a power cut may leave it in."""
import os
import shutil
import struct
import subprocess
import tempfile

import pytest

from disk import MAKE
from harness import MIB, is_mounted
from waiting import wait_until

SIZES = {"ext4": 64 * MIB, "xfs": 300 * MIB}
RECORD = struct.Struct("IIQ")
OPTIONS = {"ext4": ["-E", "nodiscard"], "xfs": ["-K"]}


def mount_loop(file, point):
    subprocess.run(["mount", "-o", "loop", file, point], check=True, capture_output=True, text=True)


def place():
    """Where large, short-lived files lie: in memory, where there is some."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 2 << 30 else None


class Recording:
    """A recorded file system as the cache directory of CACHE."""

    def __init__(self, cache, kind, helpers):
        self.cache, self.kind, self.process = cache, kind, None
        if shutil.which(MAKE[kind][0]) is None:
            pytest.skip(f"{MAKE[kind][0]} is not installed")
        self.folder = tempfile.mkdtemp(prefix="gcfs-record.", dir=place())
        self.first, self.disk, self.log = (os.path.join(self.folder, n) for n in ("first", "disk", "log"))
        self.point = os.path.join(cache.root, "recorder")
        os.mkdir(self.point)
        with open(self.disk, "wb") as f:
            f.truncate(SIZES[kind])
        subprocess.run([*MAKE[kind], *OPTIONS[kind], self.disk], check=True, capture_output=True)
        copy(self.disk, self.first)
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", os.path.join(helpers, "recorder"), self.disk, self.log,
                                         self.point], stdin=subprocess.DEVNULL)
        wait_until(lambda: is_mounted(self.point), what="the recorder")
        mount_loop(os.path.join(self.point, "disk"), cache.dir)

    def length(self):
        return os.path.getsize(self.log)

    def stop(self):
        """The record stays."""
        if self.process is None:
            return
        self.cache.kill()
        for point in (self.cache.dir, self.point):
            if is_mounted(point) and subprocess.run(["umount", point], check=False).returncode:
                subprocess.run(["umount", "-l", point], check=False)
        self.process.wait(20)
        self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def copy(source, target):
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)


def records(path):
    """(kind, offset on the disk, position of the bytes in the log, length, end of the record) of each."""
    out, size = [], os.path.getsize(path)
    with open(path, "rb") as f:
        at = 0
        while at + RECORD.size <= size:
            f.seek(at)
            kind, length, offset = RECORD.unpack(f.read(RECORD.size))
            if at + RECORD.size + length > size:
                break
            out.append((chr(kind), offset, at + RECORD.size, length, at + RECORD.size + length))
            at += RECORD.size + length
    return out


class States:
    """What the disk may hold when the power goes: all up to the last flush that was told to it, and any of the writes since."""

    def __init__(self, recording, folder):
        self.records = records(recording.log)
        self.base, self.done = os.path.join(folder, "base"), 0
        copy(recording.first, self.base)
        self.log = open(recording.log, "rb")

    def close(self):
        self.log.close()

    def _write(self, file, numbers):
        for n in numbers:
            _, offset, at, length, _ = self.records[n]
            self.log.seek(at)
            file.seek(offset)
            file.write(self.log.read(length))

    def make(self, cut, choose, path):
        """The state after the record CUT, which may not decrease from one call to the next, of the writes since the last flush those that
        choose() wants. Returns how many were taken, of how many."""
        flush = max((n for n in range(cut) if self.records[n][0] == "F"), default=-1)
        with open(self.base, "r+b") as f:
            self._write(f, (n for n in range(self.done, flush + 1) if self.records[n][0] == "W"))
        self.done = max(self.done, flush + 1)
        copy(self.base, path)
        since = [n for n in range(flush + 1, cut + 1) if self.records[n][0] == "W"]
        taken = [n for n in since if choose()]
        with open(path, "r+b") as f:
            self._write(f, taken)
        return len(taken), len(since)
