# SPDX-License-Identifier: Apache-2.0
"""A disk that is stuck at a step of ours: others go on meanwhile, and what happens in between leads to no error and leaves nothing behind."""
import errno
import os
import signal
import threading

import pytest

from harness import MIB, blob, drop_page_cache, same, sha
from waiting import wait_until
from workers import hand_over

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* While there is a file $STUCK with the name of STEP in it; $STUCK.here says that somebody waits. */
static void pass(const char *step)
{
    char here[PATH_MAX], text[32];
    snprintf(here, sizeof(here), "%s.here", getenv("STUCK"));
    for (;;) {
        FILE *f = fopen(getenv("STUCK"), "re");
        int held = f != NULL && fgets(text, sizeof(text), f) != NULL && strcmp(text, step) == 0;
        if (f != NULL)
            fclose(f);
        if (!held)
            return;
        fclose(fopen(here, "we"));
        usleep(1000);
    }
}

static int is_below(int fd, const char *folder)
{
    char link[64], path[PATH_MAX] = "";
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof(path) - 2) > 0 && strstr(strcat(path, "/"), folder) != NULL;
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (is_below(fd, "/incomplete/"))
        pass("sync");
    return real(fd);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    int (*real)(int, const char *, int, const char *) = (int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");
    if (is_below(to_dir, "/.retired/"))
        pass("retire");
    return real(from_dir, from, to_dir, to);
}

static ssize_t read_at(const char *name, int fd, void *to, size_t length, off_t offset)
{
    ssize_t (*real)(int, void *, size_t, off_t) = (ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, name);
    char thread[16] = "";
    prctl(PR_GET_NAME, thread);
    if (strcmp(thread, "hash") == 0)
        pass("hash");
    return real(fd, to, length, offset);
}
ssize_t pread(int fd, void *to, size_t length, off_t offset) { return read_at("pread", fd, to, length, offset); }
ssize_t pread64(int fd, void *to, size_t length, off_t offset) { return read_at("pread64", fd, to, length, offset); }
"""


class Stuck:
    """hold(step), go_on(); here(): somebody has come there."""

    def __init__(self, path):
        self.path = path

    def hold(self, step):
        with open(self.path + ".new", "w") as f:
            f.write(step)
        os.chmod(self.path + ".new", 0o644)
        os.rename(self.path + ".new", self.path)

    def go_on(self):
        if os.path.exists(self.path):
            os.unlink(self.path)

    def here(self):
        return os.path.exists(self.path + ".here")


@pytest.fixture
def stuck(shim, monkeypatch):
    stuck = Stuck(os.path.join(shim(SHIM), "stuck"))
    monkeypatch.setenv("STUCK", stuck.path)
    yield stuck
    stuck.go_on()


class Task(threading.Thread):
    """Calls FN beside the test. done(): its result, or its error."""

    def __init__(self, fn, *arguments):
        super().__init__(daemon=True)
        self.fn, self.arguments, self.result, self.error = fn, arguments, None, None
        self.start()

    def run(self):
        try:
            self.result = self.fn(*self.arguments)
        except OSError as e:
            self.error = e

    def done(self):
        wait_until(lambda: not self.is_alive(), seconds=60, what=str(self.fn))
        if self.error is not None:
            raise self.error
        return self.result


def test_the_sync_of_an_image(cache, origin, stuck):
    """While its bytes do not reach the disk all of it is read, and others are; to drop it has to wait, and says so."""
    x, y = origin.put("x", blob(4 * MIB, 1)), origin.put("y", blob(4 * MIB, 2))
    cache.configure(origin).mount()
    stuck.hold("sync")
    cache.touch("queued", "x")
    wait_until(stuck.here, what="the sync of the first image")
    same(cache.read("x"), x)
    same(cache.read("y"), y)
    assert cache.ls("cached") == [] and "x" in cache.ls("incomplete")
    with pytest.raises(OSError) as error:
        os.unlink(cache.path("incomplete", "x"))
    assert error.value.errno == errno.EBUSY
    same(cache.read("x"), x)
    stuck.go_on()
    for name in ("x", "y"):
        cache.wait_cached(name)
        os.unlink(cache.path("cached", name))
    assert cache.ls("cached") == []


def test_an_eviction_and_a_handle_of_a_former_worker(cache, origin, stuck):
    """Evicted in the catalogue, and its file not moved yet: who has it open since before a hand-over reads on."""
    content = origin.put("x", blob(4 * MIB, 1))
    cache.configure(origin, passthrough="off").mount()
    cache.read("x")
    cache.wait_cached("x")
    fd = os.open(cache.image("x"), os.O_RDONLY)
    try:
        hand_over(cache, signal.SIGHUP)
        drop_page_cache()
        stuck.hold("retire")
        evicting = Task(os.unlink, cache.path("cached", "x"))
        wait_until(stuck.here, what="the eviction")
        reading = Task(os.pread, fd, MIB, MIB)
        same(reading.done(), content[MIB:2 * MIB])
        stuck.go_on()
        evicting.done()
        drop_page_cache()
        same(os.pread(fd, MIB, 2 * MIB), content[2 * MIB:3 * MIB])
    finally:
        os.close(fd)
    wait_until(lambda: os.listdir(os.path.join(cache.dir, ".retired")) == [], what="its file to go")


def test_an_eviction_and_the_last_close(cache, origin, stuck):
    """The last handle is closed before the file has moved: it is not left behind where nobody counts it."""
    origin.put("x", blob(4 * MIB, 1))
    cache.configure(origin, passthrough="off").mount()
    cache.read("x")
    cache.wait_cached("x")
    wait_until(lambda: cache.xattr("x", "open") == "0", what="the reader's handle to be closed")
    fd = os.open(cache.image("x"), os.O_RDONLY)
    stuck.hold("retire")
    evicting = Task(os.unlink, cache.path("cached", "x"))
    wait_until(stuck.here, what="the eviction")
    os.close(fd)
    wait_until(lambda: cache.status()["counters"]["open_handles"] == 0, what="the handle to be closed")
    stuck.go_on()
    evicting.done()
    wait_until(lambda: os.listdir(os.path.join(cache.dir, ".retired")) == [], what="its file to go")
    wait_until(lambda: cache.status()["space"]["used"] == 0, what="its room to be counted as free")


def test_a_hand_over_while_an_image_is_verified(cache, origin, stuck):
    """Its readers wait for the verdict of the next worker; nothing failed."""
    content = origin.put("x", blob(8 * MIB, 1))
    origin.put_sums("SHA256SUMS", {"x": content})
    cache.configure(origin).mount()
    for _ in range(4):
        stuck.hold("hash")
        reader = cache.spawn("bash", "-c", f"set -o pipefail; dd if={cache.image('x')} bs=64K iflag=direct status=none | sha256sum", stdout=-1,
                             text=True)
        wait_until(stuck.here, what="the hash thread")
        wait_until(lambda: int(cache.xattr("x", "bytes_cached")) == 8 * MIB, what="all of its bytes")
        os.unlink(stuck.path + ".here")
        started = cache.logged().count("is being started")
        cache.process.send_signal(signal.SIGHUP)
        wait_until(lambda: cache.logged().count("is being started") > started, what="the hand-over")
        stuck.go_on()
        out, _ = reader.communicate()
        assert reader.returncode == 0 and out.split()[0] == sha(content)
        cache.wait_cached("x")
        os.unlink(cache.path("cached", "x"))
    assert "could not be moved" not in cache.logged()
    assert cache.status()["counters"]["fetches_failed"] == 0
