# SPDX-License-Identifier: Apache-2.0
"""Reads survive the death of the worker; after that of the keeper the next start recovers by itself.

Environment, besides conftest's:
  GCFS_KILLS   how often the worker is killed under load; default 100
"""
import hashlib
import os
import random
import signal
import subprocess
import threading
import time

import pytest

from harness import MIB, blob, is_mounted, pread, same
from waiting import PATIENCE, wait_until
from workers import Load, check_no_orphans, fill, status_of, wait_answered, wait_served, worker_of, workers

KILLS = int(os.environ.get("GCFS_KILLS", "100"))


def test_killed_before_it_serves(cache, origin):
    """The very first worker, between the mount and its first answer: another one goes on, and who started us learns nothing of it."""
    origin.put("image", b"content")
    cache.configure(origin)
    for _ in range(5):
        before = cache.logged().count(" is mounted")
        with open(cache.log, "ab") as log:
            process = cache.process = cache.spawn(*cache.command(), stdout=log, stderr=log)
        while not is_mounted(cache.mnt) and process.poll() is None:
            pass
        os.kill(workers(process.pid)[0], signal.SIGKILL)
        wait_until(lambda: cache.logged().count(" is mounted") > before, what="the mount to be served")
        same(cache.read("image"), b"content")
        cache.unmount()
    assert "was killed by signal 9" in cache.logged()


def test_killed_before_anything_is_mounted(cache, origin):
    """While it reads its configuration, in which it would find a mistake: it is tried until the kill comes first."""
    cache.configure({**origin.config(), "token_file": cache.root})
    said = ""
    for _ in range(200):
        process = cache.spawn(*cache.command(), stderr=subprocess.PIPE, text=True)
        while not (found := workers(process.pid)) and process.poll() is None:
            pass
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        said = process.communicate()[1]
        assert process.returncode == 1 and said.count("\n") == 1 and not is_mounted(cache.mnt)
        if "killed by signal 9" in said:
            return
        assert "token_file" in said
    pytest.fail("the kill never came first: " + said)


LONG_READER = """import hashlib, sys
with open(sys.argv[1], "rb", buffering=0) as f:
    for step in 1 << 20, 300000:
        f.seek(0)
        digest = hashlib.sha256()
        while part := f.read(step):
            digest.update(part)
        print(digest.hexdigest())
"""


def test_kills_behind_long_readers(cache, make_nginx):
    """Images so long that what a reader leaves behind is dropped, and that it reads again from the start."""
    nginx = make_nginx(rate="40m")
    content = nginx.put("image", blob(160 * MIB, 3))
    expected = hashlib.sha256(content).hexdigest().encode()
    cache.configure(nginx).mount()
    readers = [cache.python(LONG_READER, cache.image("image"), stdout=subprocess.PIPE) for _ in range(4)]
    rng, dead = random.Random(7), set()
    while len(dead) < 12 and any(r.poll() is None for r in readers):
        time.sleep(rng.uniform(0.05, 0.4))
        pid = worker_of(cache)
        os.kill(pid, signal.SIGKILL)
        dead.add(pid)
    assert [r.communicate()[0].split() for r in readers] == [[expected, expected]] * 4
    assert len(dead) >= 3
    cache.wait_cached("image")
    same(cache.stored("image"), content)
    assert nginx.sent("image") <= 1.3 * len(content)


@pytest.mark.deadline(600)
def test_kills_under_load(cache, make_nginx):
    """SIGKILL at random moments under cold and warm readers, ls, touch, rm and a prefetch: nobody notices, nothing is left over."""
    nginx = make_nginx(rate="40m")
    warm = fill(nginx, 2, 4 * MIB, "warm")
    cold = fill(nginx, 12, 12 * MIB, "cold")
    moved = fill(nginx, 6, 2 * MIB, "moved")
    cache.configure(nginx, image_cache_max_size="1G").mount()
    for name in warm:
        cache.read(name)
        cache.wait_cached(name)
    load = Load(cache)
    load.readers(1, nginx.files, warm)
    load.readers(2, nginx.files, cold)
    load.readers(1, nginx.files, moved)
    load.lister(warm + cold + moved)
    load.meddler(moved)
    for name in cold[-2:]:
        cache.touch("queued", name)
    rng = random.Random(5)
    dead = set()
    while len(dead) < KILLS and cache.alive():
        if rng.random() < 0.75:
            wait_answered(cache)  # else the keeper gives up: it may be one of many in a row that answered nothing
        time.sleep(rng.uniform(0.0, 0.4))
        found = [pid for pid in workers(cache.process.pid) if pid not in dead]
        if found:
            os.kill(found[0], signal.SIGKILL)
            dead.add(found[0])
    reads, longest = load.stop()
    assert cache.alive()
    for name in warm + cold:
        same(cache.read(name), open(os.path.join(nginx.files, name), "rb").read())
        cache.touch("queued", name)  # the kernel may have had all of it, and the last worker little
    wait_until(lambda: cache.ls("queued") == [], 60, "the queue to empty")
    for name in warm + cold:
        same(cache.stored(name), open(os.path.join(nginx.files, name), "rb").read())
    assert set(cache.ls("incomplete")) <= set(moved)
    sent = {name: nginx.sent(name) / os.path.getsize(os.path.join(nginx.files, name)) for name in warm + cold}
    print(f"{len(dead)} kills, {reads} reads, the longest {longest * 1000:.0f} ms; bytes from the origin, as multiples of the size: "
          f"warm {max(sent[n] for n in warm):.2f}, cold {sum(sent[n] for n in cold) / len(cold):.2f} (worst {max(sent[n] for n in cold):.2f})")
    # What is asked for again is what was on its way when a worker died, and what of a chunk was here: so much a kill, however long
    # the machine takes for what is between two of them. An image that began anew would be 12 MiB.
    again = sum((sent[n] - 1) * os.path.getsize(os.path.join(nginx.files, n)) for n in cold) / len(dead)
    print(f"fetched again: {again / MIB:.2f} MiB a kill")
    assert max(sent[n] for n in warm) <= 1.1
    assert again <= MIB
    cache.unmount()
    check_no_orphans(cache)


def test_more_partial_images_than_are_kept_track_of(cache, origin):
    """The arrivals have room for 128: the others go by the catalogue's maps, and every byte is right."""
    names = [f"image-{n}" for n in range(150)]
    for n, name in enumerate(names):
        origin.put(name, blob(MIB, n))
    cache.configure(origin, fetch_policy="demand", read_ahead_max="0").mount()
    handles = [os.open(cache.image(name), os.O_RDONLY) for name in names]
    for n, fd in enumerate(handles):
        same(os.pread(fd, MIB // 4, MIB // 4), blob(MIB, n)[MIB // 4:MIB // 2])
    first = worker_of(cache)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: workers(cache.process.pid) not in ([], [first]), what="the next worker")
    for n, fd in enumerate(handles):
        same(os.pread(fd, MIB, 0), blob(MIB, n))
        os.close(fd)


def test_a_blocked_read_survives(cache, origin):
    content = origin.put("image", blob(4 * MIB, 1))
    hold = origin.fault("image", hold_from=2 * MIB)
    cache.configure(origin.config(stall_timeout=600)).mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(os.pread(fd, 4096, 0), content[:4096])
    result = []
    reader = threading.Thread(target=lambda: result.append(os.pread(fd, 65536, 3 * MIB)))
    reader.start()
    wait_until(lambda: hold.waiting, what="the read to reach the origin")
    os.kill(worker_of(cache), signal.SIGKILL)
    wait_served(cache)
    assert not result
    hold.release()
    origin.clear_faults()
    reader.join(30 * PATIENCE)
    same(result[0], content[3 * MIB:3 * MIB + 65536])
    os.close(fd)


# No byte of a partial image becomes durable while the file $NO_CHECKPOINT is there: fdatasync(2) does not return.
NO_CHECKPOINT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int fdatasync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    char link[64], path[4096];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = 0;
    while (strstr(path, "/incomplete/") != NULL && access(getenv("NO_CHECKPOINT"), F_OK) == 0)
        usleep(1000);
    return real(fd);
}
"""


def test_before_the_first_checkpoint(cache, origin, shim, monkeypatch):
    """An image that only the listing told of: what was fetched since its first answer is gone on with, whatever of it is durable."""
    content = origin.put("image", blob(4 * MIB, 1))
    hold = origin.fault("image", hold_from=2 * MIB)
    flag = os.path.join(shim(NO_CHECKPOINT), "flag")
    monkeypatch.setenv("NO_CHECKPOINT", flag)
    open(flag, "w").close()
    cache.configure(origin.config(stall_timeout=600), fetch_whole_after="64K").mount()
    try:
        assert cache.ls("images") == ["image"]
        fd = os.open(cache.image("image"), os.O_RDONLY)
        assert origin.requests("image") == []
        same(os.pread(fd, MIB, 0), content[:MIB])
        wait_until(lambda: cache.sql("SELECT etag FROM images")[0][0], what="the version to be in the catalogue")
        before = len(origin.requests("image"))  # two at a time: the one from the start may come second
        os.kill(worker_of(cache), signal.SIGKILL)
        wait_served(cache)
        hold.release()
        origin.clear_faults()
        same(pread(fd), content)
        assert all(r.range[0] > 0 for r in origin.requests("image")[before:])
        os.close(fd)
    finally:
        os.unlink(flag)


def test_open_files_and_folders_survive(cache, origin):
    content = origin.put("image", blob(MIB, 1))
    for i in range(300):
        origin.put(f"other-{i:03}", b"x")
    cache.configure(origin).mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(os.pread(fd, 4096, 0), content[:4096])
    inode = os.fstat(fd).st_ino
    with os.scandir(cache.path("images")) as entries:
        names = [next(entries).name for _ in range(5)]
        os.kill(worker_of(cache), signal.SIGKILL)
        names += [e.name for e in entries]
    assert len(names) == 301 and len(set(names)) == 301
    same(pread(fd), content)
    assert os.fstat(fd).st_ino == inode == os.stat(cache.image("image")).st_ino
    assert int(os.getxattr(fd, "user.glance.open")) == 1
    os.close(fd)
    wait_until(lambda: int(cache.xattr("image", "open")) == 0, what="the handle to go")


def test_dies_again_and_again(cache, origin):
    """The catalogue cannot be opened any more: after some tries it is unmounted, and the last line says so."""
    origin.put("image", b"content")
    cache.configure(origin).mount()
    same(cache.read("image"), b"content")
    worker = worker_of(cache)
    os.kill(worker, signal.SIGSTOP)
    for end in ("", "-wal", "-shm"):
        path = os.path.join(cache.dir, ".catalogue.db" + end)
        if os.path.exists(path):
            os.rename(path, path + ".moved")
    os.mkdir(os.path.join(cache.dir, ".catalogue.db"))
    os.kill(worker, signal.SIGKILL)
    process, cache.process = cache.process, None
    assert process.wait(60 * PATIENCE) == 1
    assert not is_mounted(cache.mnt)
    last = cache.logged().rstrip("\n").rsplit("\n", 1)[-1]
    assert cache.mnt in last and "unmounted" in last and "in a row" in last


def test_a_damaged_catalogue_in_the_middle(cache, origin):
    """What the kernel knows by the old catalogue's rows is gone with it: the mount is made afresh."""
    content = origin.put("image", blob(MIB, 1))
    cache.configure(origin).mount()
    same(cache.read("image"), content)
    cache.wait_cached("image")
    worker = worker_of(cache)
    os.kill(worker, signal.SIGSTOP)
    path = os.path.join(cache.dir, ".catalogue.db")
    for end in ("-wal", "-shm"):
        if os.path.exists(path + end):
            os.unlink(path + end)
    with open(path, "r+b") as f:
        f.write(b"this is not a database" * 100)
    os.kill(worker, signal.SIGKILL)
    # It is said before the old mount goes.
    wait_until(lambda: f"serves {cache.mnt} now" in cache.logged().partition("mounted afresh")[2], what="the mount to be made afresh, and served")
    same(cache.read("image"), content)


# ---- the keeper's death


def test_the_keeper_is_killed(cache, origin):
    content = origin.put("image", blob(2 * MIB, 1))
    hold = origin.fault("image", hold_from=MIB)
    cache.configure(origin.config(stall_timeout=600), fetch_whole_after="64K").mount()
    same(cache.read("image", 65536), content[:65536])
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    worker = worker_of(cache)
    cache.process.kill()
    cache.process.wait()
    cache.process = None
    wait_until(lambda: not os.path.exists(f"/proc/{worker}") or status_of(worker)["State"].strip()[0] == "Z", what="the worker to die, too")
    assert is_mounted(cache.mnt)
    with pytest.raises(OSError):
        os.listdir(cache.mnt)
    hold.release()
    origin.clear_faults()
    logged = len(cache.logged())
    with open(cache.log, "ab") as log:
        cache.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *cache.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_until(lambda: "is mounted" in cache.logged()[logged:], what="the mount")
    same(cache.read("image"), content)
    assert sum(p == os.path.realpath(cache.mnt) for p, _ in __import__("harness").mounts()) == 1
    cache.unmount()
    check_no_orphans(cache)


def test_documents_do_not_share_a_handle(cache, origin):
    """One opened under a worker that died, one under the next: each reads its own, and ends by itself."""
    origin.put("image", blob(4 * MIB, 1))
    hold = origin.fault("image", hold_from=MIB)
    cache.configure(origin.config(stall_timeout=600)).mount()
    cache.touch("queued", "image")
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    early = os.open(cache.path(".status"), os.O_RDONLY)
    assert b"limit" in os.pread(early, 1 << 16, 0)
    os.kill(worker_of(cache), signal.SIGKILL)
    wait_served(cache)
    late = os.open(cache.path("queued", "image"), os.O_RDONLY)
    text = os.pread(late, 4096, 0)
    assert b"limit" in os.pread(early, 1 << 16, 0)
    os.close(early)
    assert os.pread(late, 4096, 5) == text[5:] != b""
    os.close(late)


def test_an_open_right_after_a_kill(cache, origin):
    """What a dying thread still takes is not lost: the next worker is asked again."""
    content = origin.put("image", b"content")
    cache.configure(origin, passthrough="off").mount()
    for _ in range(60):
        os.kill(worker_of(cache), signal.SIGKILL)
        same(cache.read("image"), content)
