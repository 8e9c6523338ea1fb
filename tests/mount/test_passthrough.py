# SPDX-License-Identifier: Apache-2.0
"""The kernel reads cached images by itself; one mode an inode; no file is held longer than needed.

Environment, besides conftest's:
  GCFS_ROUNDS  rounds of open, close and restart in the test for leaks; default 1000
"""
import os
import random
import signal
import subprocess

import pytest

from harness import MIB, blob, pread, same
from waiting import PATIENCE, wait_until
from workers import cached, check_no_orphans, needs_passthrough, passthrough, status_of, wait_served, worker_of, workers

ROUNDS = int(os.environ.get("GCFS_ROUNDS", "1000"))


def test_reads_while_no_worker_lives(cache, origin):
    cache.configure(origin).mount()
    content = cached(cache, origin)
    needs_passthrough(cache)
    fd = os.open(cache.image("image"), os.O_RDONLY)
    keeper, worker = cache.process, worker_of(cache)
    os.kill(keeper.pid, signal.SIGSTOP)  # it would start another one
    try:
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: status_of(worker)["State"].strip()[0] == "Z", what="the worker to die")
        same(pread(fd), content)
    finally:
        os.kill(keeper.pid, signal.SIGCONT)
    wait_served(cache)
    same(cache.read("image"), content)
    os.close(fd)


def test_passthrough_off(cache, origin):
    cache.configure(origin, passthrough="off").mount()
    content = cached(cache, origin)
    assert passthrough(cache).startswith("off")
    fd = os.open(cache.image("image"), os.O_RDONLY)
    os.kill(worker_of(cache), signal.SIGKILL)
    same(pread(fd), content)
    os.close(fd)


def test_one_mode_an_inode(cache, origin):
    """Open from when it was not complete, and opened again since; and the reverse, over restarts of the worker."""
    content = origin.put("image", blob(4 * MIB, 1))
    cache.configure(origin).mount()
    early = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(early), content)
    cache.wait_cached("image")
    late = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(late), content)
    os.kill(worker_of(cache), signal.SIGKILL)
    again = os.open(cache.image("image"), os.O_RDONLY)
    for fd in (early, late, again):
        same(pread(fd), content)
        os.close(fd)
    fd = os.open(cache.image("image"), os.O_RDONLY | os.O_DIRECT)  # nobody has it open: passthrough now, where there is any
    os.kill(worker_of(cache), signal.SIGKILL)
    other = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(other), content)
    os.unlink(cache.path("cached", "image"))
    same(pread(other), content)
    fresh = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(fresh), content)
    assert os.fstat(fresh).st_ino != os.fstat(other).st_ino
    for fd in (fd, other, fresh):
        os.close(fd)
    cache.wait_cached("image")
    cache.unmount()
    check_no_orphans(cache)


@pytest.fixture
def own_disk(cache):
    """A file system of its own under the cache directory, so that its space tells what is held."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m,mode=755", "tmpfs", cache.dir], check=True)
    yield cache
    cache.close()
    subprocess.run(["umount", cache.dir], check=True)  # busy, if anybody held a file of it


def used(cache):
    """Bytes on the disk below the cache directory, those of files without a name included."""
    st = os.statvfs(cache.dir)
    return (st.f_blocks - st.f_bfree) * st.f_frsize


@pytest.mark.deadline(600)
def test_no_backing_file_leaks(own_disk, origin):
    """Open, close, restart, many times: neither the keeper nor the kernel holds more files than before."""
    cache = own_disk
    cache.configure(origin, log_level="error").mount()
    for i in range(20):
        cached(cache, origin, f"image-{i}", MIB)
    needs_passthrough(cache)
    rng = random.Random(3)
    keeper = cache.process.pid
    descriptors = len(os.listdir(f"/proc/{keeper}/fd"))
    retired = os.path.join(cache.dir, ".retired")
    held = []
    for i in range(ROUNDS):
        held.append(os.open(cache.image(f"image-{rng.randrange(20)}"), os.O_RDONLY))
        if len(held) > 5:
            os.close(held.pop(rng.randrange(len(held))))
        if i % 50 == 49:
            found = workers(keeper)
            if found and rng.random() < 0.7:
                os.kill(found[0], signal.SIGKILL)
            else:
                os.kill(keeper, signal.SIGHUP)
        if i % 97 == 96:
            os.unlink(cache.path("cached", "image-7"))
            cache.read("image-7")
            cache.wait_cached("image-7")
    for fd in held:
        os.close(fd)
    worker_of(cache)
    # whatever a worker that was killed had not passed on goes with the next
    os.kill(worker_of(cache), signal.SIGKILL)
    same(cache.read("image-1", 10), blob(MIB, 1)[:10])
    wait_until(lambda: len(os.listdir(f"/proc/{keeper}/fd")) == descriptors, what="the keeper's descriptors")
    wait_until(lambda: os.listdir(retired) == [], what="evicted images to go")
    for i in range(20):
        os.unlink(cache.path("cached", f"image-{i}"))
    wait_until(lambda: used(cache) < 10 * MIB, what="the space of all 20 images to be free: the kernel holds none of them")
    assert cache.status()["counters"]["open_handles"] == 0


def test_rm_frees_the_space_of_a_passthrough_file(own_disk, origin):
    cache = own_disk
    cache.configure(origin).mount()
    cached(cache, origin, size=32 * MIB)
    needs_passthrough(cache)
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(os.pread(fd, 4096, MIB), blob(32 * MIB, 1)[MIB:MIB + 4096])
    os.unlink(cache.path("cached", "image"))
    same(os.pread(fd, 4096, 2 * MIB), blob(32 * MIB, 1)[2 * MIB:2 * MIB + 4096])
    assert used(cache) > 32 * MIB
    os.close(fd)
    wait_until(lambda: used(cache) < 16 * MIB, what="the space to be free")


# Opens and closes IMAGE until it did so TIMES, all at once with others; prints the errors.
OPENER = """
import os, sys
errors = []
for _ in range(int(sys.argv[2])):
    try:
        os.close(os.open(sys.argv[1], os.O_RDONLY))
    except OSError as e:
        errors.append(repr(e))
print(errors[:3])
"""


@pytest.fixture
def stacked(cache):
    """The cache directory on overlayfs, which the kernel takes no backing file from."""
    over = os.path.join(cache.root, "over")
    os.mkdir(over)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", over], check=True)
    for folder in ("lower", "upper", "work"):
        os.mkdir(os.path.join(over, folder))
    done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={over}/lower,upperdir={over}/upper,workdir={over}/work",
                           cache.dir], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no overlayfs here: {done.stderr.strip()}")
    return cache


def test_refused_while_several_open(stacked, origin):
    """The kernel refuses the first who opens; those who came at the same moment get caching mode with him."""
    cache = stacked
    cache.configure(origin).mount()
    content = cached(cache, origin)
    openers = [cache.python(OPENER, cache.image("image"), "300", stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert [o.communicate()[0].strip() for o in openers] == ["[]"] * 6
    if passthrough(cache) == "on":
        pytest.skip("the kernel takes files of overlayfs")
    assert "stacked" in passthrough(cache)
    same(cache.read("image"), content)
    wait_until(lambda: cache.status()["counters"]["open_handles"] == 0, what="no handle to be left")


# A worker that asked the kernel to send again what was left waits, before it reads it, until the file `go` is there.
SLOW_TO_READ = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <unistd.h>
ssize_t write(int fd, const void *bytes, size_t size)
{
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    ssize_t n = real(fd, bytes, size);
    const struct fuse_out_header *out = bytes;
    if (size == sizeof(*out) && out->unique == 0 && out->error == 7) { /* FUSE_NOTIFY_RESEND */
        close(open(getenv("GCFS_TEST_ASKED"), O_CREAT | O_CLOEXEC, 0600));
        while (access(getenv("GCFS_TEST_GO"), F_OK) != 0)
            usleep(1000);
    }
    return n;
}
"""


def sleeping(pid):
    """Where in the kernel the threads of PID wait."""
    return [open(f"/proc/{pid}/task/{thread}/wchan").read() for thread in os.listdir(f"/proc/{pid}/task")]


def test_who_opened_is_killed_with_the_worker(cache, origin, shim, monkeypatch):
    """The worker dies between entering an OPEN and answering it, the program before the next one reads it again: nobody has the image open."""
    folder = shim(SLOW_TO_READ)
    monkeypatch.setenv("GCFS_TEST_ASKED", folder + "/asked")
    monkeypatch.setenv("GCFS_TEST_GO", folder + "/go")
    cache.configure(origin).mount()
    monkeypatch.delenv("LD_PRELOAD")
    cached(cache, origin)
    needs_passthrough(cache)
    before, worker = workers(cache.process.pid), worker_of(cache)
    cache.process.send_signal(signal.SIGSTOP)  # the worker enters the handle, and waits for the keeper's id of the file
    opener = cache.python("import os, sys; os.open(sys.argv[1], os.O_RDONLY)", cache.image("image"))
    wait_until(lambda: any("wait_for_more_packets" in place for place in sleeping(worker)), what="the worker to wait for the keeper")
    os.kill(worker, signal.SIGKILL)
    cache.process.send_signal(signal.SIGCONT)
    wait_until(lambda: os.path.exists(folder + "/asked"), what="the next worker to ask for what was left")
    opener.kill()
    opener.wait(20 * PATIENCE)
    open(folder + "/go", "w").close()
    wait_until(lambda: cache.status()["counters"]["open_handles"] == 0, what="no handle to be left")
    assert before != workers(cache.process.pid)
    os.unlink(cache.path("cached", "image"))
    assert os.listdir(os.path.join(cache.dir, ".retired")) == []
