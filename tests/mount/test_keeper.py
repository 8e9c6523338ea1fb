# SPDX-License-Identifier: Apache-2.0
"""Keeper and worker: reads survive a worker's death, a reload and an upgrade; passthrough; mount(8), fusermount3, the service manager.

Environment, besides conftest's:
  GCFS_KILLS   how often the worker is killed under load; default 100
  GCFS_ROUNDS  rounds of open, close and restart in the test for leaks; default 1000
"""
import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time

import pytest

from harness import MIB, binary, blob, descendants, is_mounted, pread, read, same
from waiting import PATIENCE, TooLate, wait_until

KILLS = int(os.environ.get("GCFS_KILLS", "100"))
ROUNDS = int(os.environ.get("GCFS_ROUNDS", "1000"))

# Reads MOUNT/NAME in pieces here and there until STOP appears, compares each with FILES/NAME; prints what it saw as JSON.
# cold: each piece is one that nobody of us read before, where there are such.
READER = """
import json, os, random, sys, time
mount, files, stop, seed, *names = sys.argv[1:]
rng, seen = random.Random(int(seed)), {"reads": 0, "longest": 0.0, "errors": []}
while not os.path.exists(stop):
    name = rng.choice(names)
    size = os.path.getsize(os.path.join(files, name))
    length = rng.choice((512, 4096, 65536, 1 << 20))
    offset = rng.randrange(max(1, size - length))
    began = time.monotonic()
    try:
        fd = os.open(os.path.join(mount, name), os.O_RDONLY)
        try:
            for _ in range(rng.choice((1, 1, 8))):
                began = time.monotonic()
                got = os.pread(fd, length, offset)
                seen["longest"] = max(seen["longest"], time.monotonic() - began)
                seen["reads"] += 1
                with open(os.path.join(files, name), "rb") as f:
                    if os.pread(f.fileno(), length, offset) != got:
                        seen["errors"].append(f"{name}: other bytes at {offset}+{length}: {len(got)}")
                offset = rng.randrange(max(1, size - length))
        finally:
            os.close(fd)
    except OSError as e:
        seen["errors"].append(f"{name}: {e!r} after {time.monotonic() - began:.3f} s")
    if len(seen["errors"]) > 20:
        break
print(json.dumps(seen))
"""

# ls, stat and .status, in a loop.
LISTER = """
import json, os, sys
mount, stop, *names = sys.argv[1:]
seen = {"reads": 0, "errors": []}
while not os.path.exists(stop):
    try:
        there = set(os.listdir(os.path.join(mount, "images")))
        if not set(names) <= there:
            seen["errors"].append(f"not listed: {set(names) - there}")
        for name in names:
            os.stat(os.path.join(mount, "images", name))
        for view in ("cached", "incomplete", "queued", "invalid"):
            os.listdir(os.path.join(mount, view))
        fd = os.open(os.path.join(mount, ".status"), os.O_RDONLY)
        json.loads(os.read(fd, 1 << 20))  # in one piece: the next worker writes another one
        os.close(fd)
        seen["reads"] += 1
    except (OSError, ValueError) as e:
        seen["errors"].append(repr(e))
    if len(seen["errors"]) > 20:
        break
print(json.dumps(seen))
"""

# Queues, unqueues, evicts.
MEDDLER = """
import json, os, random, sys, time
mount, stop, seed, *names = sys.argv[1:]
rng, seen = random.Random(int(seed)), {"reads": 0, "errors": []}
while not os.path.exists(stop):
    name = rng.choice(names)
    try:
        if rng.random() < 0.5:
            os.close(os.open(os.path.join(mount, "queued", name), os.O_WRONLY | os.O_CREAT, 0o644))
        else:
            view = rng.choice(("queued", "cached"))
            try:
                os.unlink(os.path.join(mount, view, name))
            except FileNotFoundError:
                pass
        seen["reads"] += 1
        time.sleep(0.02)
    except OSError as e:
        seen["errors"].append(repr(e))
    if len(seen["errors"]) > 20:
        break
print(json.dumps(seen))
"""


def workers(keeper):
    """The processes of workers below KEEPER, the newest last."""
    found = []
    for pid in sorted(descendants(keeper)[1:]):
        try:
            if b"--worker" in open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0"):
                found.append(pid)
        except OSError:
            pass
    return found


def worker_of(cache):
    """The one worker, when there is just one."""
    def one():
        found = workers(cache.process.pid)
        return found[0] if len(found) == 1 else None
    return wait_until(one, what="one worker")


def wait_served(cache, times=1):
    wait_until(lambda: cache.logged().count("serves " + cache.mnt + " now") >= times, what="the next worker to serve")


def service_user():
    """Whom the worker becomes when the configuration does not say."""
    try:
        return pwd.getpwnam("glance").pw_name
    except KeyError:
        return "nobody"


def status_of(pid):
    return dict(line.rstrip("\n").split(":", 1) for line in open(f"/proc/{pid}/status") if ":" in line)


def passthrough(cache):
    return cache.status()["passthrough"]


class Load:
    """Processes that use the mount until stop(); then none of them may have seen an error."""

    def __init__(self, cache):
        self.cache = cache
        self.flag = os.path.join(cache.root, "stop")
        self.processes = []

    def start(self, code, *arguments):
        self.processes.append(self.cache.python(code, *arguments, stdout=subprocess.PIPE, text=True))

    def readers(self, count, files, names, mount=None):
        for i in range(count):
            self.start(READER, mount or self.cache.path("images"), files, self.flag, str(i), *names)

    def lister(self, names):
        self.start(LISTER, self.cache.mnt, self.flag, *names)

    def meddler(self, names):
        self.start(MEDDLER, self.cache.mnt, self.flag, "7", *names)

    def stop(self):
        open(self.flag, "w").close()
        seen = [json.loads(p.communicate(timeout=60 * PATIENCE)[0]) for p in self.processes]
        os.unlink(self.flag)
        errors = [e for s in seen for e in s["errors"]]
        assert not errors, errors[:10]
        assert all(s["reads"] > 0 for s in seen), seen
        return sum(s["reads"] for s in seen), max((s["longest"] for s in seen if "longest" in s), default=0.0)


def check_no_orphans(cache):
    """After the end: every row has its file, every file its row."""
    db = sqlite3.connect(f"file:{cache.dir}/.catalogue.db?mode=ro", uri=True)
    rows = {state: {n for (n,) in db.execute("SELECT name FROM images WHERE state = ?", (state,))} for state in (1, 2)}
    retired = {str(i) for (i,) in db.execute("SELECT id FROM images WHERE state = 3")}
    totals = dict(db.execute("SELECT state, images FROM totals"))
    counts = dict(db.execute("SELECT state, count(*) FROM images GROUP BY state"))
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    assert {s: n for s, n in totals.items() if n} == counts
    here = {n for n in os.listdir(cache.dir) if not n.startswith(".") and os.path.isfile(os.path.join(cache.dir, n))}
    assert here == rows[2]
    assert set(os.listdir(os.path.join(cache.dir, "incomplete"))) == rows[1]
    assert set(os.listdir(os.path.join(cache.dir, ".retired"))) == retired == set(), "evicted images were left behind"


# ---- privileges


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
    os.link(outside, os.path.join(cache.dir, "hard"))
    os.symlink(outside, os.path.join(cache.dir, "soft"))
    origin.put("image", b"content")
    cache.configure(origin).mount()
    same(cache.read("image"), b"content")
    assert os.stat(outside).st_uid == 0 and os.lstat(os.path.join(cache.dir, "soft")).st_uid == 0


# ---- a worker's death


def fill(nginx, count, size, prefix="image"):
    names = [f"{prefix}-{i}" for i in range(count)]
    for i, name in enumerate(names):
        nginx.put(name, blob(size + i * 1234, hash(prefix) % 1000 + i))
    return names


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
    # Of what arrived since the last checkpoint, about a second's worth a kill, each worker leaves nothing to the next.
    again = sum((sent[n] - 1) * os.path.getsize(os.path.join(nginx.files, n)) for n in cold) / len(dead)
    print(f"fetched again: {again / MIB:.1f} MiB a kill")
    assert max(sent[n] for n in warm) <= 1.1
    cache.unmount()
    check_no_orphans(cache)


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
    wait_until(lambda: "mounted afresh" in cache.logged(), what="the mount to be made afresh")
    wait_until(lambda: is_mounted(cache.mnt), what="the mount")
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


# ---- hand-over


def hand_over(cache, how):
    before = cache.logged().count("the hand-over took")
    cache.process.send_signal(how)
    wait_until(lambda: cache.logged().count("the hand-over took") > before, what="the hand-over")


@pytest.mark.deadline(300)
@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGUSR2], ids=["reload", "upgrade"])
def test_hand_over_under_load(cache, make_nginx, how):
    nginx = make_nginx(rate="40m")
    warm = fill(nginx, 2, 4 * MIB, "warm")
    cold = fill(nginx, 6, 16 * MIB, "cold")
    cache.configure(nginx).mount()
    for name in warm:
        cache.read(name)
        cache.wait_cached(name)
    load = Load(cache)
    load.readers(2, nginx.files, warm)
    load.readers(2, nginx.files, cold)
    load.lister(warm + cold)
    first = worker_of(cache)
    for _ in range(10):
        hand_over(cache, how)
        time.sleep(0.3)
    reads, longest = load.stop()
    took = [int(ms) for ms in re.findall(r"hand-over took (\d+) ms", cache.logged())]
    print(f"10 hand-overs, {reads} reads, the longest {longest * 1000:.0f} ms; the hand-overs took {took} ms")
    assert longest < 1.0 * PATIENCE  # tests/bench measures; this is for a hand-over that waits for something
    assert worker_of(cache) != first
    for name in warm + cold:
        same(cache.read(name), open(os.path.join(nginx.files, name), "rb").read())


def test_reload_takes_the_new_configuration(cache, origin):
    origin.put("image", b"content")
    cache.configure(origin, image_cache_max_size="3G").mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    cache.configure(origin, image_cache_max_size="5G")
    hand_over(cache, signal.SIGHUP)
    st = os.statvfs(cache.mnt)
    assert st.f_blocks * st.f_frsize == 5 << 30
    same(os.pread(fd, 100, 0), b"content")
    os.close(fd)


@pytest.mark.parametrize("text", ["[DEFAULT]\nnonsense = 1\n", "not a configuration\n", None], ids=["option", "text", "missing"])
def test_a_wrong_configuration_leaves_the_old_one(cache, origin, text):
    content = origin.put("image", blob(100000, 1))
    cache.configure(origin, image_cache_max_size="3G").mount()
    worker = worker_of(cache)
    good = open(cache.conf).read()
    if text is None:
        os.unlink(cache.conf)
    else:
        with open(cache.conf, "w") as f:
            f.write(text)
    cache.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "stays in force" in cache.logged(), what="the refusal")
    assert worker_of(cache) == worker and cache.conf in cache.logged()
    same(cache.read("image"), content)
    # nor does it matter when a worker dies
    os.kill(worker, signal.SIGKILL)
    wait_served(cache)
    st = os.statvfs(cache.mnt)
    assert st.f_blocks * st.f_frsize == 3 << 30
    with open(cache.conf, "w") as f:
        f.write(good.replace("3G", "4G"))
    hand_over(cache, signal.SIGHUP)
    st = os.statvfs(cache.mnt)
    assert st.f_blocks * st.f_frsize == 4 << 30


def test_a_backend_that_is_wrong_leaves_the_old_one(cache, origin):
    """What only the worker finds out, after it was started."""
    origin.put("image", b"content")
    cache.configure(origin).mount()
    worker = worker_of(cache)
    cache.configure(origin.config(token_file="/nonexistent/token"))
    cache.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "stays in force" in cache.logged(), what="the refusal")
    assert worker_of(cache) == worker and "/nonexistent/token" in cache.logged()
    same(cache.read("image"), b"content")


def test_another_cache_directory_is_refused(cache, origin):
    origin.put("image", b"content")
    cache.configure(origin).mount()
    other = os.path.join(cache.root, "other")
    os.mkdir(other)
    cache.configure(origin, image_cache_dir=other)
    cache.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "stays in force" in cache.logged(), what="the refusal")
    assert os.listdir(other) == []
    same(cache.read("image"), b"content")


def installed(cache, monkeypatch):
    """A copy of the program that can be replaced."""
    path = os.path.join(cache.root, "glance-cache-fs")
    shutil.copy(binary(), path)
    monkeypatch.setenv("GCFS_BINARY", path)
    return path


def install(path, source):
    shutil.copy(source, path + ".new")
    os.chmod(path + ".new", 0o755)
    os.rename(path + ".new", path)


def test_upgrade_takes_the_program_on_disk(cache, origin, monkeypatch):
    content = origin.put("image", blob(MIB, 1))
    path = installed(cache, monkeypatch)
    source = os.environ["GCFS_BINARY"]
    cache.configure(origin).mount()
    same(cache.read("image"), content)
    first = os.stat(f"/proc/{worker_of(cache)}/exe").st_ino
    install(path, source)
    # a worker that dies is replaced by one of the old program, which is known to work
    os.kill(worker_of(cache), signal.SIGKILL)
    wait_served(cache)
    assert os.stat(f"/proc/{worker_of(cache)}/exe").st_ino == first
    hand_over(cache, signal.SIGUSR2)
    assert os.stat(f"/proc/{worker_of(cache)}/exe").st_ino == os.stat(path).st_ino != first
    same(cache.read("image"), content)


def test_an_upgrade_that_does_not_work(cache, origin, monkeypatch):
    content = origin.put("image", blob(MIB, 1))
    path = installed(cache, monkeypatch)
    cache.configure(origin).mount()
    worker = worker_of(cache)
    install(path, "/bin/false")
    cache.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: "stays in force" in cache.logged(), what="the refusal")
    assert worker_of(cache) == worker
    same(cache.read("image"), content)
    os.unlink(path)
    cache.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: cache.logged().count("stays in force") == 2, what="the refusal")
    same(cache.read("image"), content)


def test_signals_in_a_row(cache, origin):
    """As a script that knows no patience sends them; each is heard, none is one too many."""
    content = origin.put("image", blob(MIB, 1))
    cache.configure(origin).mount()
    for i in range(20):
        cache.process.send_signal((signal.SIGHUP, signal.SIGUSR2)[i % 2])
        same(cache.read("image", 4096), content[:4096])
    os.kill(workers(cache.process.pid)[0], signal.SIGKILL)
    cache.process.send_signal(signal.SIGHUP)
    same(cache.read("image"), content)
    wait_until(lambda: len(workers(cache.process.pid)) == 1, what="one worker")


# ---- passthrough


def needs_passthrough(cache):
    state = passthrough(cache)
    if state != "on":
        pytest.skip("no passthrough here: " + state)


def cached(cache, origin, name="image", size=4 * MIB):
    content = origin.put(name, blob(size, 1))
    same(cache.read(name), content)
    cache.wait_cached(name)
    return content


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


def open_files():
    return int(open("/proc/sys/fs/file-nr").read().split()[0])


@pytest.mark.deadline(600)
def test_no_backing_file_leaks(cache, origin):
    """Open, close, restart, many times: neither the keeper nor the kernel holds more files than before."""
    cache.configure(origin, log_level="error").mount()
    for i in range(20):
        cached(cache, origin, f"image-{i}", 100000)
    needs_passthrough(cache)
    rng = random.Random(3)
    keeper = cache.process.pid
    descriptors = len(os.listdir(f"/proc/{keeper}/fd"))
    retired = os.path.join(cache.dir, ".retired")
    before = open_files()
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
    same(cache.read("image-1", 10), blob(100000, 1)[:10])
    wait_until(lambda: len(os.listdir(f"/proc/{keeper}/fd")) == descriptors, what="the keeper's descriptors")
    wait_until(lambda: os.listdir(retired) == [], what="evicted images to go")
    # the kernel's count is of the whole machine and of files that close late; a leak would be one for each image and restart
    wait_until(lambda: open_files() < before + 100, what="the kernel's files to be closed")
    for i in range(20):  # every row could be given back: its file can be evicted and its space is free
        os.unlink(cache.path("cached", f"image-{i}"))
    assert cache.status()["counters"]["open_handles"] == 0


@pytest.fixture
def own_disk(cache):
    """A file system of its own under the cache directory, so that its space tells what is held."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m,mode=755", "tmpfs", cache.dir], check=True)
    yield cache
    cache.close()
    subprocess.run(["umount", cache.dir], check=True)  # busy, if anybody held a file of it


def test_rm_frees_the_space_of_a_passthrough_file(own_disk, origin):
    cache = own_disk
    cache.configure(origin).mount()
    cached(cache, origin, size=32 * MIB)
    needs_passthrough(cache)
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(os.pread(fd, 4096, MIB), blob(32 * MIB, 1)[MIB:MIB + 4096])
    os.unlink(cache.path("cached", "image"))
    same(os.pread(fd, 4096, 2 * MIB), blob(32 * MIB, 1)[2 * MIB:2 * MIB + 4096])

    def used():
        st = os.statvfs(cache.dir)
        return (st.f_blocks - st.f_bfree) * st.f_frsize
    assert used() > 32 * MIB
    os.close(fd)
    wait_until(lambda: used() < 16 * MIB, what="the space to be free")


# ---- mount(8), fusermount3, the service manager


def test_mount_and_umount_by_mount(cache, origin, monkeypatch):
    """mount -t fuse.glance-cache-fs CONFIG DIR; by its path, since the program under test is not installed."""
    if not shutil.which("mount.fuse3"):
        pytest.skip("no mount.fuse3: the package fuse3 is not installed")
    content = origin.put("image", blob(100000, 1))
    cache.configure(origin)
    mount = ["mount", "-t", "fuse." + binary(), "-o", "allow_other,ro,_netdev,nofail", cache.conf, cache.mnt]
    done = subprocess.run(mount, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    try:
        assert done.returncode == 0, done.stderr
        same(cache.read("image"), content)
        line = next(l for l in open("/proc/self/mounts") if cache.mnt in l)
        assert line.split()[0] == cache.conf and line.split()[2] == "fuse.glance-cache-fs"
        assert {"ro", "allow_other", "default_permissions"} <= set(line.split()[3].split(","))
        with pytest.raises(OSError):
            cache.touch("queued", "image")
        again = subprocess.run(mount, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
        assert again.returncode != 0 and "in use" in again.stderr
    finally:
        subprocess.run(["umount", cache.mnt], check=False)
    assert not is_mounted(cache.mnt)


def test_fstab(cache, origin):
    if not shutil.which("mount.fuse3"):
        pytest.skip("no mount.fuse3: the package fuse3 is not installed")
    content = origin.put("image", blob(100000, 1))
    cache.configure(origin)
    fstab = os.path.join(cache.root, "fstab")
    with open(fstab, "w") as f:
        f.write(f"{cache.conf} {cache.mnt} fuse.{binary()} allow_other,_netdev,x-systemd.automount 0 0\n")
    command = ["mount", "-T", fstab, "-a"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    try:
        assert done.returncode == 0, done.stderr
        same(cache.read("image"), content)
    finally:
        subprocess.run(["umount", cache.mnt], check=False)


def test_a_plain_user(cache, origin):
    """By fusermount3; no passthrough, and the worker is that user."""
    if not shutil.which("fusermount3") or not os.stat(shutil.which("fusermount3")).st_mode & 0o4000:
        pytest.skip("no setuid fusermount3")
    if not os.access("/dev/fuse", os.R_OK) or os.stat("/dev/fuse").st_mode & 0o6 != 0o6:
        pytest.skip("/dev/fuse is for root only here")
    content = origin.put("image", blob(MIB, 1))
    cache.configure(origin)
    user = 65534
    for path in (cache.dir, cache.mnt):
        os.chown(path, user, user)
    as_user = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"]
    with open(cache.log, "ab") as log:
        cache.process = subprocess.Popen([*as_user, "setpriv", "--pdeathsig", "KILL", *cache.command()], stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=log)
    wait_until(cache._mounted, what="the mount")

    def run(*command):
        return subprocess.run([*as_user, *command], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True).stdout
    same(run("cat", cache.image("image")), content)
    same(run("cat", cache.image("image")), content)
    assert "not started by root" in json.loads(run("cat", cache.path(".status")))["passthrough"]
    status = status_of(worker_of(cache))
    assert set(status["Uid"].split()) == {str(user)} and int(status["NoNewPrivs"]) == 1
    os.kill(worker_of(cache), signal.SIGKILL)
    same(run("cat", cache.image("image")), content)
    run("fusermount3", "-u", cache.mnt)
    process, cache.process = cache.process, None
    assert process.wait(30) == 0


@pytest.fixture
def manager(monkeypatch):
    """A service manager's socket; messages() gives what came."""
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "notify")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    got = []

    def messages():
        try:
            while True:
                got.append(s.recv(65536).decode())
        except BlockingIOError:
            pass
        return got
    yield messages
    s.close()
    shutil.rmtree(folder)


def test_the_service_manager_is_told(cache, origin, manager):
    origin.put("image", b"content")
    cache.configure(origin).mount()
    wait_until(lambda: any("READY=1" in m for m in manager()), what="READY")
    assert f"MAINPID={cache.process.pid}" in manager()[0] and "STATUS=" in manager()[0]
    count = len(manager())
    hand_over(cache, signal.SIGHUP)
    wait_until(lambda: any("READY=1" in m for m in manager()[count:]), what="READY after RELOADING")
    reloading = manager()[count]
    assert "RELOADING=1" in reloading and re.search(r"MONOTONIC_USEC=\d+", reloading)
    # a refused one ends it, too
    with open(cache.conf, "w") as f:
        f.write("nonsense\n")
    count = len(manager())
    cache.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(manager()) >= count + 2, what="an answer")
    assert "RELOADING=1" in manager()[count] and "READY=1" in manager()[count + 1]
    process, cache.process = cache.process, None
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert any("STOPPING=1" in m for m in manager())


def test_ctrl_c_in_a_terminal(cache, origin):
    """The terminal sends the signal to the whole group: the worker leaves it to the keeper."""
    origin.put("image", b"content")
    cache.configure(origin).mount()
    process, cache.process = cache.process, None
    for pid in descendants(process.pid)[::-1]:
        os.kill(pid, signal.SIGINT)
    assert process.wait(30) == 0
    assert not is_mounted(cache.mnt) and "another one goes on" not in cache.logged()


def test_the_connection_is_aborted(cache, origin):
    """As by /sys/fs/fuse/connections/N/abort, the last means against a mount that hangs: nothing is left mounted."""
    origin.put("image", b"content")
    cache.configure(origin).mount()
    number = os.minor(os.stat(cache.mnt).st_dev)
    path = f"/sys/fs/fuse/connections/{number}/abort"
    if not os.path.exists(path):
        subprocess.run(["mount", "-t", "fusectl", "fusectl", "/sys/fs/fuse/connections"], check=False, capture_output=True)
    if not os.path.exists(path):
        pytest.skip("no fusectl")
    with open(path, "w") as f:
        f.write("1")
    process, cache.process = cache.process, None
    assert process.wait(30) == 0
    assert not is_mounted(cache.mnt)
