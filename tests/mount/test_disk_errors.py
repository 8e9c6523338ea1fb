# SPDX-License-Identifier: Apache-2.0
"""A disk that does not take what was written: Linux tells of it once, and says the next time that all is well."""
import os
import shutil
import subprocess

import pytest

from harness import MIB, binary, blob, drop_page_cache, same
from waiting import wait_until

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
/* Fails once for each time that the file $FAIL_SYNC is made. */
int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (unlink(getenv("FAIL_SYNC")) == 0) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}
"""


@pytest.fixture
def bad_disk(cache, monkeypatch):
    """fail() → the worker's next fdatasync(2) of image bytes fails."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    if "san.so" in subprocess.run(["ldd", binary()], capture_output=True, text=True, check=True).stdout:
        pytest.skip("a sanitizer's library wants to be the first")
    folder = os.path.join(cache.root, "shim")
    os.mkdir(folder)
    os.chmod(folder, 0o777)  # the worker is another user
    with open(os.path.join(folder, "shim.c"), "w") as f:
        f.write(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder + "/shim.so", folder + "/shim.c", "-ldl"], check=True)
    flag = os.path.join(folder, "fail")
    monkeypatch.setenv("LD_PRELOAD", folder + "/shim.so")
    monkeypatch.setenv("FAIL_SYNC", flag)

    def fail():
        with open(flag, "w"):
            pass
        return lambda: not os.path.exists(flag)
    return fail


def test_a_checkpoint_fails(cache, origin, bad_disk):
    """What is here is not believed any more: it is read from the backend again, and not kept."""
    content = origin.put("x", blob(16 * MIB, 1))
    cache.configure(origin, fetch_policy="demand", passthrough="off", read_ahead_max="0").mount()
    cache.expected = "could not be written to the disk"
    fd = os.open(cache.image("x"), os.O_RDONLY)
    try:
        same(os.pread(fd, MIB, 0), content[:MIB])
        failed = bad_disk()
        same(os.pread(fd, MIB, 4 * MIB), content[4 * MIB:5 * MIB])
        wait_until(failed, what="the checkpoint")
        wait_until(lambda: "the disk did not take" in cache.error("x"), what="the disk to be left alone")
        drop_page_cache()
        before = origin.sent("x")
        same(os.pread(fd, MIB, 0), content[:MIB])
        assert origin.sent("x") > before
        same(os.pread(fd, 4 * MIB, 12 * MIB), content[12 * MIB:])
    finally:
        os.close(fd)
    assert cache.ls("cached") == [] and cache.ls("incomplete") == []
    assert not os.path.exists(os.path.join(cache.dir, "incomplete", "x"))


def test_publishing_fails(cache, origin, bad_disk):
    """All of it is here, and the disk fails at the last moment: it is not cached, readers get the right bytes."""
    content = origin.put("x", blob(2 * MIB, 1))
    cache.configure(origin, passthrough="off").mount()
    cache.expected = "could not be written to the disk"
    failed = bad_disk()
    same(cache.read("x"), content)
    cache.touch("queued", "x")
    wait_until(failed, what="the sync")
    wait_until(lambda: "the disk did not take" in cache.error("x"), what="the disk to be left alone")
    assert cache.ls("cached") == []
    drop_page_cache()
    same(cache.read("x"), content)
    cache.restart()
    same(cache.read("x"), content)
    cache.wait_cached("x")
    same(cache.stored("x"), content)
