# SPDX-License-Identifier: Apache-2.0
"""Workers below their keeper: which there are, and programs that use the mount meanwhile and see no error."""
import json
import os
import pwd
import sqlite3
import subprocess

import pytest

from harness import MIB, blob, descendants, same
from waiting import PATIENCE, wait_until

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


def is_stopped(pid):
    """Are all its threads? Those that run when SIGSTOP is sent go on for a moment."""
    states = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="utf-8") as f:
            states.append(f.read().rpartition(")")[2].split()[0])
    return set(states) == {"T"}


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
    """TIMES workers after the first. If that was killed before the keeper had heard of it, the second is the first it tells of."""
    def told():
        log = cache.logged()
        killed, mounted = log.find("another one goes on in its place"), log.find(cache.mnt + " is mounted")
        return log.count("serves " + cache.mnt + " now") + (0 <= killed < mounted) >= times
    wait_until(told, what="the next worker to serve")


def wait_answered(cache):
    """The newest worker serves, and has answered something."""
    def told():
        found = workers(cache.process.pid)
        log = cache.logged()
        return found and (f"worker {found[-1]} serves {cache.mnt} now" in log or "another one goes on in its place" not in log)
    wait_until(told, what="the newest worker to serve")
    cache.status()


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
    totals = {state: (n, size) for state, n, size in db.execute("SELECT state, images, bytes FROM totals")}
    counts = {s: (0, 0) for s in totals}
    for state, n, size in db.execute("SELECT state, count(*), sum(bytes) FROM images GROUP BY state UNION ALL SELECT 4, count(*), 0 FROM queue "
                                     "UNION ALL SELECT 5, count(*), coalesce(sum(bytes), 0) FROM invalid "
                                     "UNION ALL SELECT 6, count(*), coalesce(sum(bytes), 0) FROM images WHERE pinned <> 0 AND state IN (1, 2)"):
        if state in totals:
            counts[state] = (n, size)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    assert totals == counts, f"totals {totals} of the rows {counts}"
    here = {n for n in os.listdir(cache.dir) if not n.startswith(".") and os.path.isfile(os.path.join(cache.dir, n))}
    assert here == rows[2]
    assert set(os.listdir(os.path.join(cache.dir, "incomplete"))) == rows[1]
    assert set(os.listdir(os.path.join(cache.dir, ".retired"))) == retired == set(), "evicted images were left behind"


def fill(nginx, count, size, prefix="image"):
    names = [f"{prefix}-{i}" for i in range(count)]
    for i, name in enumerate(names):
        nginx.put(name, blob(size + i * 1234, hash(prefix) % 1000 + i))
    return names


def hand_over(cache, how):
    before = cache.logged().count("the hand-over took")
    cache.process.send_signal(how)
    wait_until(lambda: cache.logged().count("the hand-over took") > before, what="the hand-over")


def needs_passthrough(cache):
    state = passthrough(cache)
    if state != "on":
        pytest.skip("no passthrough here: " + state)


def cached(cache, origin, name="image", size=4 * MIB):
    content = origin.put(name, blob(size, 1))
    same(cache.read(name), content)
    cache.wait_cached(name)
    return content
