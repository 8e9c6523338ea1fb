# SPDX-License-Identifier: Apache-2.0
"""The further folders of the mount (option views): glance/, for Glance's own cache, and nova/, for nova's base images."""
import errno
import fcntl
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from harness import KIB, MIB, VIEWS, blob, error_of, refused, same
from waiting import wait_until
from workers import wait_served, worker_of

IDS = [f"10000000-0000-4000-8000-00000000000{i}" for i in range(1, 4)]
SIZE = 3 * MIB + 17
OPTIONS = {"image_cache_max_size": "10G", "fetch_policy": "demand"}


def hashed(name):
    return hashlib.sha1(name.encode()).hexdigest()


@pytest.fixture
def views(cache, origin):
    for i, name in enumerate(IDS):
        origin.put(name, blob(SIZE, i))
    cache.configure(origin, views="glance nova", **OPTIONS).mount()
    return cache


def database(cache, mode="delete"):
    db = sqlite3.connect(cache.path("glance", "cache.db"), timeout=30, isolation_level=None)
    assert db.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0] == mode
    db.execute("CREATE TABLE IF NOT EXISTS t (x INTEGER PRIMARY KEY, y BLOB)")
    return db


def kill_worker(cache, times=1):
    os.kill(worker_of(cache), signal.SIGKILL)
    wait_served(cache, times)


# ---- which there are

def test_none_unless_asked_for(cache, origin):
    origin.put(IDS[0], blob(SIZE, 0))
    cache.configure(origin).mount()
    assert sorted(os.listdir(cache.mnt)) == sorted([*VIEWS, ".status"])
    for path in ("glance", "nova", f"glance/{IDS[0]}", f"nova/{hashed(IDS[0])}"):
        assert error_of(os.stat, cache.path(path)) == errno.ENOENT
    assert error_of(os.getxattr, cache.image(IDS[0]), "user.hits") == errno.ENODATA
    assert not os.path.exists(os.path.join(cache.dir, ".glance"))


@pytest.mark.parametrize("asked", ["glance", "nova"])
def test_one_of_them(cache, origin, asked):
    cache.configure(origin, views=asked).mount()
    assert sorted(os.listdir(cache.mnt)) == sorted([*VIEWS, ".status", asked])


def test_an_unknown_one_is_refused(cache, origin):
    cache.configure(origin, views="glance cinder")
    done = cache.run()
    assert done.returncode != 0 and "views" in done.stderr and "one of glance, nova" in done.stderr


def test_switched_on_and_off(cache, origin):
    """By a new configuration of a mount that stands; what was written there is there again when it comes back."""
    origin.put(IDS[0], blob(SIZE, 0))
    for i, views in enumerate(("none", "glance", "nova", "glance nova")):
        cache.configure(origin, views=views)
        if i == 0:
            cache.mount()
        else:
            os.kill(cache.process.pid, signal.SIGHUP)
            wait_served(cache, i)
        for folder in ("glance", "nova"):
            wait_until(lambda folder=folder, views=views: cache.has("", folder) == (folder in views), what=f"{folder}/ to be there, or not")
        if views == "glance":
            with open(cache.path("glance/kept"), "w") as f:
                f.write("text")
    assert open(cache.path("glance/kept")).read() == "text"
    same(open(cache.path("nova", hashed(IDS[0])), "rb").read(), blob(SIZE, 0))


def test_what_the_folders_hold(views):
    assert views.ls("glance") == sorted([*IDS, "incomplete", "invalid", "queue"])
    assert views.ls("nova") == sorted(map(hashed, IDS))
    assert [views.ls(f"glance/{room}") for room in ("incomplete", "invalid", "queue")] == [[], [], []]
    for folder in ("", "glance", "nova", "glance/queue"):
        with os.scandir(views.path(folder)) as entries:
            for e in entries:
                assert e.inode() == os.stat(e.path).st_ino, e.path
                assert e.is_dir() == os.path.isdir(e.path)
    assert os.stat(views.path("glance")).st_nlink == 5


# ---- glance/

def test_an_image_is_fetched_once_and_is_the_same_file(views, origin):
    same(open(views.path("glance", IDS[0]), "rb").read(), blob(SIZE, 0))
    views.wait_cached(IDS[0])
    assert origin.sent(IDS[0]) == SIZE
    assert os.stat(views.path("glance", IDS[0])).st_ino == os.stat(views.image(IDS[0])).st_ino
    origin.stop()
    same(open(views.path("glance", IDS[0]), "rb").read(), blob(SIZE, 0))
    assert error_of(os.stat, views.path("glance", "unknown")) in (errno.ENOENT, errno.EHOSTUNREACH)


def test_rm_evicts_and_the_name_stays(views, origin):
    path = views.path("glance", IDS[0])
    os.unlink(path)  # nothing of it is here
    assert os.path.exists(path) and not views.has("cached", IDS[0])
    with open(path, "rb") as f:
        same(f.read(4096), blob(SIZE, 0)[:4096])
    assert views.has("incomplete", IDS[0])
    os.unlink(path)
    assert os.path.exists(path)
    views.wait_has("incomplete", IDS[0], there=False)
    same(views.read(IDS[0]), blob(SIZE, 0))
    views.wait_cached(IDS[0])
    before = os.stat(path).st_ino
    os.unlink(path)
    views.wait_has("cached", IDS[0], there=False)
    assert os.stat(path).st_size == SIZE and os.stat(path).st_ino != before
    assert IDS[0] in views.ls("glance")
    same(open(path, "rb").read(), blob(SIZE, 0))


def test_rm_at_any_moment(views, origin):
    """Of what is coming, becoming complete or complete: never refused, and what was here goes."""
    path = views.path("glance", IDS[0])
    for _ in range(30):
        assert open(path, "rb").read(4096) == blob(SIZE, 0)[:4096]
        same(open(path, "rb").read(), blob(SIZE, 0))
        os.unlink(path)
        wait_until(lambda: IDS[0] not in views.ls("cached") and IDS[0] not in views.ls("incomplete"), what="it to be gone")
    assert os.path.exists(path)


def test_the_queue_is_the_queue(views, origin):
    views.touch("glance/queue", IDS[1])
    views.wait_cached(IDS[1])
    wait_until(lambda: views.ls("glance/queue") == [], what="the queue to be empty")
    views.sql("SELECT 1")
    origin.stop()
    views.touch("glance/queue", "later")
    assert views.ls("queued") == views.ls("glance/queue") == ["later"]
    os.unlink(views.path("glance/queue/later"))
    assert views.ls("queued") == []


def test_hits_as_the_xattr_driver_keeps_them(views):
    path = views.path("glance", IDS[0])
    assert os.getxattr(path, "user.hits") == b"0"
    same(open(path, "rb").read(), blob(SIZE, 0))
    views.wait_cached(IDS[0])
    same(open(path, "rb").read(), blob(SIZE, 0))
    hits = int(os.getxattr(path, "user.hits"))
    assert hits == int(views.xattr(IDS[0], "hits")) > 0
    os.setxattr(path, "user.hits", str(hits + 1).encode())
    assert int(os.getxattr(path, "user.hits")) == hits, "an open is counted twice"
    assert "user.hits" not in os.listxattr(path)
    refused(os.setxattr, path, "user.other", b"1")
    with open(views.path("glance/checkme"), "wb") as f:
        f.write(b"XXX")
    os.setxattr(views.path("glance/checkme"), "user.hits", b"1")
    os.unlink(views.path("glance/checkme"))
    assert "checkme" not in views.ls("glance")


def test_utime(views):
    before = os.stat(views.path("glance", IDS[0]))
    os.utime(views.path("glance", IDS[0]))
    os.utime(views.path("nova", hashed(IDS[0])), (1, 1))
    assert os.stat(views.path("glance", IDS[0])).st_mtime == before.st_mtime


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "wal"])
def test_a_database_in_it(views, mode):
    db = database(views, mode)
    for i in range(20):
        db.execute("INSERT INTO t (y) VALUES (randomblob(?))", (i * 1000,))
    other = database(views, mode)
    assert other.execute("SELECT count(*) FROM t").fetchone() == (20,)
    other.execute("BEGIN IMMEDIATE")
    db.execute("PRAGMA busy_timeout = 0")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        db.execute("INSERT INTO t (y) VALUES (1)")
    other.execute("ROLLBACK")
    db.execute("DELETE FROM t WHERE x > 10")
    db.execute("VACUUM")
    other.close()
    db.close()
    views.restart()
    db = database(views, mode)
    assert db.execute("SELECT count(*) FROM t").fetchone() == (10,)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    assert os.path.exists(os.path.join(views.dir, ".glance", "cache.db"))
    assert "cache.db" in views.ls("glance")


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_over_a_workers_death(views, mode):
    """With a transaction under way, and open files of the worker before."""
    db = database(views, mode)
    with open(views.path("glance/lock"), "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        for i in range(3):
            db.execute("BEGIN")
            db.execute("INSERT INTO t (y) VALUES (randomblob(100000))")
            kill_worker(views, i + 1)
            db.execute("INSERT INTO t (y) VALUES (randomblob(100000))")
            db.execute("COMMIT")
            lock.write("x" * 5000)
            lock.flush()
            os.fsync(lock.fileno())
    assert db.execute("SELECT count(*), sum(length(y)) FROM t").fetchone() == (6, 600000)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    assert open(views.path("glance/lock")).read() == "x" * 15000


def test_what_is_synced_outlives_a_kill_of_all(views):
    db = database(views)
    db.execute("INSERT INTO t (y) VALUES (1)")
    db.close()
    with open(views.path("glance/incomplete/half"), "wb") as f:
        f.write(b"12345")
        f.flush()
        os.fsync(f.fileno())
    fd = os.open(views.path("glance/incomplete"), os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    views.kill()
    views.mount()
    assert open(views.path("glance/incomplete/half"), "rb").read() == b"12345"
    db = database(views)
    assert db.execute("SELECT y FROM t").fetchall() == [(1,)]
    db.close()


def test_files_of_its_own(views):
    one, other = views.path("glance/incomplete/one"), views.path("glance/invalid/one")
    with open(one, "w+b") as f:
        f.write(blob(2 * MIB, 9))
        f.seek(MIB)
        same(f.read(), blob(2 * MIB, 9)[MIB:])
        os.ftruncate(f.fileno(), 1000)
        f.seek(0, os.SEEK_END)
        f.write(b"end")
    assert os.stat(one).st_size == 1003
    with open(one, "ab") as f:
        f.write(b"+")
    os.utime(one, (7, 9))
    assert os.stat(one).st_mtime == 9
    os.setxattr(one, "user.error", b"broken")
    os.rename(one, other)
    assert os.getxattr(other, "user.error") == b"broken"
    assert views.ls("glance/incomplete") == [] and views.ls("glance/invalid") == ["one"]
    same(open(other, "rb").read(), blob(2 * MIB, 9)[:1000] + b"end+")
    assert views.ls("invalid") == [], "what Glance threw away is none of the cache's images"
    with open(other, "wb"):
        pass
    assert os.stat(other).st_size == 0
    os.unlink(other)
    assert error_of(os.stat, other) == errno.ENOENT


def test_no_image_is_made_of_them(views):
    """What Glance downloaded by itself is let go: the image comes from the backend, verified."""
    with open(views.path("glance/incomplete", IDS[0]), "wb") as f:
        f.write(b"something else")
    os.rename(views.path("glance/incomplete", IDS[0]), views.path("glance", IDS[0]))
    assert views.ls("glance/incomplete") == []
    same(open(views.path("glance", IDS[0]), "rb").read(), blob(SIZE, 0))
    with open(views.path("glance/incomplete/foreign"), "wb") as f:
        f.write(b"no image of the backend")
    refused(os.rename, views.path("glance/incomplete/foreign"), views.path("glance/foreign"))
    assert views.ls("glance/incomplete") == ["foreign"]
    assert "foreign" not in views.ls("images") and "foreign" not in views.ls("glance")


@pytest.mark.parametrize("path", [f"glance/{IDS[0]}", f"nova/{hashed(IDS[0])}"])
def test_images_are_not_written(views, path):
    refused(open, views.path(path), "r+b")
    refused(os.truncate, views.path(path), 0)
    refused(os.chmod, views.path(path), 0o600)
    refused(os.rename, views.path(path), views.path("invalid", os.path.basename(path)))
    refused(os.rename, views.path(path), views.path("glance/invalid/x")) if path.startswith("nova") else None
    same(open(views.path(path), "rb").read(), blob(SIZE, 0))


@pytest.mark.parametrize("path", ["glance", "glance/queue", "glance/incomplete", "nova"])
def test_folders_stay(views, path):
    refused(os.rmdir, views.path(path))
    refused(os.mkdir, views.path(path, "folder"))
    refused(os.symlink, "/etc/passwd", views.path(path, "link"))
    refused(os.rename, views.path(path), views.path("elsewhere"))
    assert error_of(os.mkdir, views.path(path)) == errno.EEXIST
    if path == "nova":
        refused(os.open, views.path(path, "swap_1"), os.O_CREAT | os.O_WRONLY)


def test_links_in_its_place_are_not_followed(views):
    """Whoever can write in the cache directory is the cache's owner; but a backup restored carelessly is no way out either."""
    place = os.path.join(views.dir, ".glance")
    os.symlink("/etc/passwd", os.path.join(place, "link"))
    assert "link" not in views.ls("glance")
    assert error_of(os.stat, views.path("glance/link")) == errno.ENOENT
    assert error_of(os.open, views.path("glance/link"), os.O_CREAT | os.O_WRONLY) != 0
    os.unlink(os.path.join(place, "link"))


def test_bounds(views):
    with open(views.path("glance/incomplete/large"), "wb") as f:
        os.ftruncate(f.fileno(), (1 << 30) - 4096)
        assert error_of(os.ftruncate, f.fileno(), (1 << 30) + 1) == errno.ENOSPC
        assert error_of(os.pwrite, f.fileno(), b"x" * 8192, (1 << 30) - 4096) == errno.ENOSPC
        assert error_of(os.pwrite, f.fileno(), b"x", 1 << 60) == errno.ENOSPC
    with open(views.path("glance/more"), "wb") as f:
        assert error_of(os.pwrite, f.fileno(), b"x" * 8192, 0) == errno.ENOSPC
        os.unlink(views.path("glance/incomplete/large"))
        assert os.pwrite(f.fileno(), b"x" * 8192, 0) == 8192
    for i in range(1024):
        os.close(os.open(views.path("glance/invalid", str(i)), os.O_CREAT | os.O_WRONLY))
    assert error_of(os.open, views.path("glance/invalid/over"), os.O_CREAT | os.O_WRONLY) == errno.EDQUOT
    assert len(views.ls("glance/invalid")) == 1024
    for i in range(1024):
        os.unlink(views.path("glance/invalid", str(i)))
    assert views.ls("glance/invalid") == []


def test_strangers_write_nothing(cache, origin):
    origin.put(IDS[0], blob(SIZE, 0))
    cache.configure(origin, views="glance nova").mount("-o", "allow_other")
    database(cache).close()
    script = f"""
        cat glance/{IDS[0]} nova/{hashed(IDS[0])} > /dev/null && ls glance nova > /dev/null || exit 9
        for name in glance/new glance/cache.db glance/incomplete/x glance/queue/x nova/x; do
            (echo x >> $name) 2> /dev/null && exit 1
        done
        rm -f glance/{IDS[0]} 2> /dev/null && exit 2
        rm -f glance/cache.db 2> /dev/null && exit 3
        mv glance/cache.db glance/gone 2> /dev/null && exit 4
        rm -f nova/{hashed(IDS[0])} || exit 5
        exit 0"""
    done = subprocess.run(["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "sh", "-c", script], cwd=cache.mnt,
                          stdin=subprocess.DEVNULL, timeout=120, check=False)
    assert done.returncode == 0
    cache.wait_cached(IDS[0])
    assert cache.ls("nova") == [hashed(IDS[0])]


def test_a_stranger_with_many_open_files(cache, origin):
    """More than are kept open for one user: each of them is read all the same, and the owner's, too."""
    cache.configure(origin, views="glance").mount("-o", "allow_other")
    with open(cache.path("glance/file"), "w") as f:
        f.write("text")
    code = "import os, sys; fds = [os.open(sys.argv[1], os.O_RDONLY) for _ in range(700)]; " \
           "print({os.pread(fd, 100, 0) for fd in fds}, flush=True); sys.stdin.read()"
    greedy = cache.spawn("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", sys.executable, "-c", code, cache.path("glance/file"),
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert greedy.stdout.readline() == "{b'text'}\n"
    worker = worker_of(cache)
    held = [link for link in map(lambda fd: os.path.join(f"/proc/{worker}/fd", fd), os.listdir(f"/proc/{worker}/fd"))
            if os.readlink(link).endswith("/.glance/file")]
    assert len(held) <= 256
    with open(cache.path("glance/file"), "a") as f:
        f.write(" and more")
    assert open(cache.path("glance/file")).read() == "text and more"
    greedy.communicate()


# ---- nova/

def test_an_image_by_its_hash(views, origin):
    path = views.path("nova", hashed(IDS[1]))
    assert os.stat(path).st_ino == os.stat(views.image(IDS[1])).st_ino
    with open(path, "rb") as f:
        same(os.pread(f.fileno(), 4096, 2 * MIB), blob(SIZE, 1)[2 * MIB:2 * MIB + 4096])
    os.unlink(path)
    same(open(path, "rb").read(), blob(SIZE, 1))
    views.wait_cached(IDS[1])
    os.unlink(views.path("cached", IDS[1]))  # its row is another one now
    same(open(path, "rb").read(), blob(SIZE, 1))
    for name in ("unknown", hashed("unknown"), hashed(IDS[0]).upper() + "0", hashed(IDS[0])[:-1], IDS[0], ".."):
        assert name == ".." or error_of(os.stat, views.path("nova", name)) == errno.ENOENT, name


def test_a_hash_is_found_before_anything_was_listed(views, origin):
    """Nobody said the id, and no listing was made: one is, for it."""
    assert views.sql("SELECT count(*) FROM images") == [(0,)]
    same(open(views.path("nova", hashed(IDS[2])), "rb").read(), blob(SIZE, 2))
    origin.put("another", blob(SIZE, 7))
    os.stat(views.image("another"))  # known, and in no listing yet
    same(open(views.path("nova", hashed("another")), "rb").read(), blob(SIZE, 7))


def test_hashes_are_in_an_index(views):
    os.stat(views.path("nova", hashed(IDS[0])))
    wait_until(lambda: views.sql("SELECT count(*) FROM images WHERE hash IS NULL") == [(0,)], what="all names to be indexed")
    plan = views.sql("EXPLAIN QUERY PLAN SELECT id FROM images WHERE hash = 7 AND state < 3")
    assert "images_hash" in plan[0][3]


def test_many_names_of_a_catalogue_of_before(cache, origin):
    """Rows that were made without the view are indexed when it is asked for, some thousands in a transaction; and new ones of a name that is known."""
    origin.put(IDS[0], blob(SIZE, 0))
    cache.configure(origin).mount()
    same(cache.read(IDS[0]), blob(SIZE, 0))
    cache.wait_cached(IDS[0])
    cache.unmount()
    cache.sql("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 40000) INSERT INTO images (name, state, size, created, described)"
              " SELECT 'image-' || x, 0, 10, 1, 1 FROM c")
    cache.configure(origin, views="nova").mount()
    same(open(cache.path("nova", hashed(IDS[0])), "rb").read(), blob(SIZE, 0))
    wait_until(lambda: cache.sql("SELECT count(*) FROM images WHERE hash IS NULL") == [(0,)], what="all names to be indexed")
    os.unlink(cache.path("cached", IDS[0]))
    assert cache.sql("SELECT count(*) FROM images WHERE hash IS NULL") != [(0,)]
    same(open(cache.path("nova", hashed(IDS[0])), "rb").read(), blob(SIZE, 0))


def test_an_image_of_a_size_that_no_listing_tells(cache, nginx):
    """A plain index page names images and says nothing of them: the size is looked up before the name is answered."""
    nginx.put("image", blob(300 * KIB, 3))
    cache.configure({**nginx.config(), "list_url": nginx.config()["url"].replace("{id}", "")}, views="nova").mount()
    assert os.stat(cache.path("nova", hashed("image"))).st_size == 300 * KIB
