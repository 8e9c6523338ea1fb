# SPDX-License-Identifier: Apache-2.0
"""Whom the worker becomes, and what it cannot reach then."""
import errno
import os
import re
import signal
import stat

import pytest

from harness import MIB, blob, error_of, same
from workers import service_user, status_of, wait_served, worker_of


def test_the_worker_is_nobody(cache, origin):
    content = origin.put("image", blob(100000, 1))
    cache.configure(origin).mount()
    same(cache.read("image"), content)
    cache.wait_cached("image")
    status = status_of(worker_of(cache))
    uid = int(status["Uid"].split()[0])
    assert uid != 0 and len(set(status["Uid"].split())) == 1
    assert int(status["Gid"].split()[0]) != 0 and len(set(status["Gid"].split())) == 1 and "0" not in status["Groups"].split()
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert int(status["NoNewPrivs"]) == 1
    assert re.search(r"Max core file size\s+0\s+0", open(f"/proc/{worker_of(cache)}/limits").read())
    assert os.stat(f"/proc/{worker_of(cache)}/mem").st_uid == 0  # not dumpable: not even its own user looks into it
    assert "Seccomp" not in status or int(status_of(cache.process.pid)["Uid"].split()[0]) == 0
    cache.unmount()
    for folder, folders, files in os.walk(cache.dir):
        for name in folders + files:
            assert os.lstat(os.path.join(folder, name)).st_uid == uid, os.path.join(folder, name)
    assert os.stat(cache.dir).st_uid == uid


def test_the_keeper_is_the_last_to_be_killed(cache, origin):
    """When memory is short the kernel takes a worker first: it can be replaced, and each is as likely as who started us."""
    def score(pid):
        return int(open(f"/proc/{pid}/oom_score_adj").read())
    origin.put("image", b"content")
    cache.configure(origin).mount()
    ours, keeper = score("self"), score(cache.process.pid)
    for _ in range(2):
        assert score(worker_of(cache)) == ours and score(cache.process.pid) == keeper
        os.kill(worker_of(cache), signal.SIGKILL)
        same(cache.read("image"), b"content")
    if keeper == ours != -900:
        pytest.skip("the workers keep the score of who started us; the keeper's own cannot be lowered here (no CAP_SYS_RESOURCE)")
    assert keeper == -900


def test_a_user_of_the_configuration(cache, origin):
    content = origin.put("image", blob(100000, 1))
    cache.configure(origin, user="12345", group="23456").mount()
    same(cache.read("image"), content)
    status = status_of(worker_of(cache))
    assert set(status["Uid"].split()) == {"12345"} and set(status["Gid"].split()) == {"23456"}
    assert os.stat(cache.dir).st_uid == 12345 and os.stat(cache.dir).st_gid == 23456


def test_a_user_that_does_not_exist(cache, origin):
    cache.configure(origin, user="nobody-of-this-name")
    done = cache.run()
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "nobody-of-this-name" in done.stderr and cache.conf in done.stderr
    assert os.listdir(cache.dir) == []


def test_what_the_user_cannot_reach(cache):
    folder = os.path.join(cache.root, "secret")
    os.mkdir(folder, 0o700)
    cache.configure({"type": "file", "path": folder})
    done = cache.run()
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and folder in done.stderr and service_user() in done.stderr
    assert os.listdir(cache.dir) == []


def test_a_secret_only_root_can_read(cache, origin):
    content = origin.put("image", blob(100000, 1))
    origin.basic = "me:secret"
    path = os.path.join(cache.root, "user")
    with open(path, "w") as f:
        f.write("me:secret\n")
    os.chmod(path, 0o600)
    cache.configure(origin.config(user_file=path)).mount()
    same(cache.read("image"), content)
    os.kill(worker_of(cache), signal.SIGKILL)
    wait_served(cache)
    assert cache.ls("images") == ["image"]


def test_foreign_links_are_left_alone(cache, origin):
    """Files of others that were linked into the cache directory do not become the worker's."""
    outside = os.path.join(cache.root, "outside")
    open(outside, "w").close()
    cache.be_of_glance()
    os.link(outside, os.path.join(cache.dir, "hard"))
    os.symlink(outside, os.path.join(cache.dir, "soft"))
    origin.put("image", b"content")
    cache.configure(origin).mount()
    same(cache.read("image"), b"content")
    assert os.stat(outside).st_uid == 0 and os.lstat(os.path.join(cache.dir, "soft")).st_uid == 0


@pytest.mark.parametrize("kind", ["linked", "symlink", "fifo"])
def test_a_lock_that_is_none(cache, origin, kind):
    """The folder is another user's, who may have put anything there: root writes into a file of its own only."""
    lock, other = os.path.join(cache.dir, ".lock"), os.path.join(cache.root, "other")
    with open(other, "w") as f:
        f.write("what root must not lose")
    if kind == "linked":
        os.link(other, lock)
    elif kind == "symlink":
        os.symlink(other, lock)
    else:
        os.mkfifo(lock)
    cache.configure(origin)
    done = cache.run()
    assert done.returncode != 0 and ".lock" in done.stderr and "remove it" in done.stderr
    assert open(other).read() == "what root must not lose"
    os.unlink(lock)
    cache.mount()


def test_a_worker_cannot_end_its_keeper(cache, origin):
    """By the memory they share: what it holds may be cut short by nobody, and the configuration, which root reads, not be changed."""
    origin.put("image", blob(MIB, 1))
    cache.configure(origin).mount()
    same(cache.read("image"), blob(MIB, 1))
    shared = 0
    for pid in (cache.process.pid, worker_of(cache)):
        for n in os.listdir(f"/proc/{pid}/fd"):
            try:
                link = os.readlink(f"/proc/{pid}/fd/{n}")
            except FileNotFoundError:
                continue
            if not link.startswith("/memfd:glance-cache"):
                continue
            shared += 1
            fd = os.open(f"/proc/{pid}/fd/{n}", os.O_RDWR)
            assert error_of(os.ftruncate, fd, 0) == errno.EPERM, link
            assert error_of(os.ftruncate, fd, 1 << 30) == errno.EPERM, link
            if "conf" in link:
                assert error_of(os.pwrite, fd, b"[DEFAULT]", 0) == errno.EPERM
            os.close(fd)
    assert shared >= 5
    os.kill(worker_of(cache), signal.SIGKILL)
    wait_served(cache)
    assert cache.alive()
    same(cache.read("image"), blob(MIB, 1))


@pytest.mark.http1
def test_the_files_of_the_cache(cache, origin):
    """Others read images by the mount, where view_mode says who may; not by the cache directory."""
    names = ("whole", "part", "bad")
    for i, name in enumerate(names):
        origin.put(name, blob(300000, i))
    umask = os.umask(0)
    try:
        cache.configure(origin, fetch_policy="demand", read_ahead_max=0).mount()
    finally:
        os.umask(umask)
    for name in ("whole", "bad"):
        cache.read(name)
        cache.wait_cached(name)
    os.rename(cache.path("cached", "bad"), cache.path("invalid", "bad"))
    cache.read("part", 4096)
    cache.wait_has("incomplete", "part")
    for path in ("whole", "incomplete/part", "invalid/bad", ".catalogue.db", ".catalogue.db-wal", ".catalogue.db-shm", ".lock"):
        assert stat.S_IMODE(os.stat(os.path.join(cache.dir, path)).st_mode) == 0o640, path
    for folder in ("incomplete", "invalid", ".retired"):
        assert stat.S_IMODE(os.stat(os.path.join(cache.dir, folder)).st_mode) == 0o750, folder
