# SPDX-License-Identifier: Apache-2.0
"""A disk that does not take what was written: Linux tells of it once, and says the next time that all is well. And memory that is dear."""
import errno
import os

import pytest

from disk import Disk
from harness import MIB, blob, drop_page_cache, error_of, same, sha
from waiting import wait_until

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
/* Fails once for each time that the file $FAIL_SYNC is made; with ".folder" behind it: where a folder is synced. */
int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (unlink(getenv("FAIL_SYNC")) == 0) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}
int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    char path[4096];
    struct stat st;
    snprintf(path, sizeof(path), "%s.folder", getenv("FAIL_SYNC"));
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && unlink(path) == 0) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}
"""

STUCK_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* While the file $STUCK is there nothing is removed or moved. */
static int stuck(void)
{
    errno = EIO;
    return access(getenv("STUCK"), F_OK) == 0;
}
int unlinkat(int folder, const char *name, int flags)
{
    int (*real)(int, const char *, int) = (int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat");
    return stuck() ? -1 : real(folder, name, flags);
}
int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    int (*real)(int, const char *, int, const char *) = (int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");
    return stuck() ? -1 : real(from_folder, from, to_folder, to);
}
"""

SLOW_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
/* As where memory is dear: what is longer than 64 KiB takes 5 ms of the processor, in every second 2 MiB. */
static ssize_t slow(const char *name, int fd, const void *bytes, size_t length, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, name);
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    int dear = length > 65536 && offset % (4 << 20) < 2 << 20;
    for (long long began = t.tv_sec * 1000000000LL + t.tv_nsec, now = began; dear && now - began < 5000000;) {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        now = t.tv_sec * 1000000000LL + t.tv_nsec;
    }
    return real(fd, bytes, length, offset);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return slow("pwrite", fd, bytes, length, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) { return slow("pwrite64", fd, bytes, length, offset); }
/* $POPULATED: a line for each time, with what came of it. */
int madvise(void *at, size_t length, int advice)
{
    int (*real)(void *, size_t, int) = (int (*)(void *, size_t, int))dlsym(RTLD_NEXT, "madvise");
    int r = real(at, length, advice);
    if (advice == MADV_POPULATE_WRITE && length == 1) { /* not the memory of the catalogue's log */
        int log = open(getenv("POPULATED"), O_WRONLY | O_APPEND | O_CLOEXEC);
        if (write(log, r == 0 ? "done\n" : "failed\n", r == 0 ? 5 : 7) < 0)
            abort();
        close(log);
    }
    return r;
}
"""


@pytest.fixture
def bad_disk(shim, monkeypatch):
    """fail() → the worker's next fdatasync(2) of image bytes fails."""
    flag = os.path.join(shim(SHIM), "fail")
    monkeypatch.setenv("FAIL_SYNC", flag)

    def fail(what=""):
        with open(flag + what, "w"):
            pass
        return lambda: not os.path.exists(flag + what)
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


@pytest.mark.http1
def test_what_cannot_be_removed_goes_later(cache, origin, shim, monkeypatch):
    """Files that the disk does not let go count as long as they are there, and go when it lets them."""
    stuck = os.path.join(shim(STUCK_SHIM), "stuck")
    monkeypatch.setenv("STUCK", stuck)
    contents = {name: origin.put(name, blob(300000 + i, i)) for i, name in enumerate(("open", "closed", "bad", "partial"))}
    cache.configure(origin, fetch_policy="demand", read_ahead_max="0").mount()
    cache.expected = "could not be moved away"
    for name in ("open", "closed", "bad"):
        same(cache.read(name), contents[name])
        cache.wait_cached(name)
    same(cache.read("partial", 4096), contents["partial"][:4096])
    cache.wait_has("incomplete", "partial")
    os.rename(cache.path("cached", "bad"), cache.path("invalid", "bad"))
    fd = os.open(cache.image("open"), os.O_RDONLY)
    os.unlink(cache.path("cached", "open"))
    with open(stuck, "w"):
        os.close(fd)
    os.unlink(cache.path("cached", "closed"))
    assert error_of(os.unlink, cache.path("incomplete", "partial")) == errno.EIO
    assert error_of(os.unlink, cache.path("invalid", "bad")) == errno.EIO and cache.ls("invalid") == ["bad"]
    wait_until(lambda: cache.status()["counters"]["open_handles"] == 0, what="the last close")
    assert cache.status()["space"]["used"] >= sum(len(contents[name]) for name in ("open", "closed", "bad"))
    os.unlink(stuck)

    def left():
        return sorted(n for folder in ("", "incomplete", "invalid", ".retired") for n in os.listdir(os.path.join(cache.dir, folder))
                      if os.path.isfile(os.path.join(cache.dir, folder, n)) and not n.startswith((".catalogue", ".lock")))
    wait_until(lambda: left() == ["bad"], what="the files to go")
    os.unlink(cache.path("invalid", "bad"))
    assert left() == [] and cache.status()["space"]["used"] == 0
    for name, content in contents.items():
        same(cache.read(name), content)


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


def test_the_folder_could_not_be_synced(cache, origin, bad_disk):
    """What was to be published is where a partial image is looked for: nothing of it is fetched again."""
    content = origin.put("x", blob(2 * MIB, 1))
    cache.configure(origin, passthrough="off").mount()
    failed = bad_disk(".folder")
    same(cache.read("x"), content)  # it is whole; whoever asked for more would have it published again at once
    wait_until(failed, what="the sync of the folder")
    wait_until(lambda: "could not be moved into place" in cache.error("x"), what="publishing to fail")
    assert cache.ls("cached") == [] and not os.path.exists(os.path.join(cache.dir, "x"))
    wait_until(lambda: cache.status()["counters"]["open_handles"] == 0, what="its last close")
    drop_page_cache()
    before = origin.sent("x")
    same(cache.read("x"), content)
    cache.touch("queued", "x")
    cache.wait_cached("x")
    same(cache.stored("x"), content)
    assert origin.sent("x") == before


def test_memory_is_dear(cache, origin, shim, monkeypatch):
    """Some is found ahead of the writer then, and every byte is right, also of an image whose fetch is given up there."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("it is not done with one processor")
    content, other = origin.put("x", blob(48 * MIB, 1)), origin.put("y", blob(48 * MIB, 2))
    log = os.path.join(shim(SLOW_SHIM), "populated")
    with open(log, "w"):
        os.chmod(log, 0o666)
    monkeypatch.setenv("POPULATED", log)
    cache.configure(origin).mount()
    same(cache.read("x"), content)
    cache.wait_cached("x")
    same(cache.stored("x"), content)
    said = open(log).read().split()
    assert len(said) <= 12 and said.count("done") >= 2, said
    with open(cache.image("y"), "rb", buffering=0) as f:
        same(f.read(16 * MIB), other[:16 * MIB])
        wait_until(lambda: len(open(log).read().split()) > len(said), what="memory to be found for another image")
    cache.restart()
    drop_page_cache()
    same(cache.read("y"), other)
    cache.wait_cached("y")
    same(cache.stored("y"), other)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.deadline(120)
def test_memory_is_dear_and_the_disk_fills(cache, origin, shim, monkeypatch, kind):
    """No memory is found for what has no place on the disk: an error there, no signal; readers get every byte, and nothing is kept."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("it is not done with one processor")
    content, small = origin.put("x", blob(48 * MIB, 3)), origin.put("small", blob(4 * MIB, 4))
    hold = origin.fault("x", hold_from=12 * MIB)
    disk = Disk(cache, kind)
    try:
        log = os.path.join(shim(SLOW_SHIM), "populated")
        with open(log, "w"):
            os.chmod(log, 0o666)
        monkeypatch.setenv("POPULATED", log)
        cache.configure(origin.config(stall_timeout=600), evict_inline="no", fetch_whole_after="64K").mount()
        reader = cache.spawn("sha256sum", cache.image("x"), stdout=-1, text=True)
        wait_until(lambda: hold.waiting >= 1 and "done" in open(log).read(), what="the fetch to be held back, with memory found ahead of it")
        disk.fill(leave=6 * MIB)
        hold.release()
        assert reader.communicate()[0].split()[0] == sha(content)
        assert cache.ls("cached") == []
        disk.give_back()
        same(cache.read("small"), small)
        cache.wait_cached("small")
        same(cache.stored("small"), small)
    finally:
        hold.release()
        disk.close()
