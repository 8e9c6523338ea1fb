# SPDX-License-Identifier: Apache-2.0
"""Taking over the cache directory of a Glance API server, and rebuilding a damaged catalogue."""
import os
import random
import signal
import sqlite3
import time

import pytest

from harness import MIB, PROBE, binary, blob, error_of, is_mounted, program, same
from waiting import wait_until

IDS = [f"10000000-0000-4000-8000-00000000000{i}" for i in range(1, 8)]
SCHEMA = """CREATE TABLE cached_images (
    image_id TEXT PRIMARY KEY, last_accessed REAL DEFAULT 0.0, last_modified REAL DEFAULT 0.0, size INTEGER DEFAULT 0,
    hits INTEGER DEFAULT 0, checksum TEXT)"""


@pytest.fixture
def glance(cache, origin):
    """A cache directory as Glance leaves it: 1-3 cached, 4 queued, 5 incomplete, 6 invalid, 7 of a wrong size."""
    for i, name in enumerate(IDS):
        origin.put(name, blob(MIB + i, 80 + i))
    for folder in ("incomplete", "invalid", "queue"):
        os.makedirs(os.path.join(cache.dir, folder), 0o750)
    for i in range(3):
        write(cache, IDS[i], blob(MIB + i, 80 + i))
    write(cache, f"queue/{IDS[3]}", b"")
    write(cache, f"incomplete/{IDS[4]}", blob(MIB, 84)[:300000])
    write(cache, f"invalid/{IDS[5]}", b"rotten")
    write(cache, IDS[6], blob(MIB + 6, 86)[:-1000])
    db = sqlite3.connect(os.path.join(cache.dir, "cache.db"))
    db.execute(SCHEMA)
    for i, hits, accessed in ((0, 17, time.time() - 100), (1, 2, time.time() - 40 * 86400)):
        db.execute("INSERT INTO cached_images VALUES (?, ?, ?, ?, ?, NULL)",
                   (IDS[i], accessed, accessed - 1000.25, MIB + i, hits))
    db.commit()
    db.close()
    cache.rows = {0: 17, 1: 2}
    return cache.configure(origin)


def write(cache, path, content):
    with open(os.path.join(cache.dir, path), "wb") as f:
        f.write(content)


def test_taken_over(glance, origin):
    glance.mount()
    wait_until(lambda: set(IDS[:4]) <= set(glance.ls("cached")),
               what="the images to be adopted and the queue to be worked off")
    for i in range(4):
        same(glance.read(IDS[i]), blob(MIB + i, 80 + i))
    for i in range(3):
        assert origin.sent(IDS[i]) <= PROBE, "bytes that were here were fetched"
    assert int(glance.xattr(IDS[0], "hits")) - glance.rows[0] in (0, 1)
    assert abs(float(glance.xattr(IDS[1], "last_progress")) - (time.time() - 40 * 86400 - 1000)) < 120
    assert glance.ls("invalid") == [IDS[5], IDS[6]]
    assert glance.ls("queued") == []


def test_times_and_eviction_by_find(glance):
    glance.mount()
    wait_until(lambda: set(IDS[:3]) <= set(glance.ls("cached")), what="the images to be adopted")
    glance.shell("find cached -atime +30 -delete")
    assert IDS[1] not in glance.ls("cached") and IDS[0] in glance.ls("cached")


def test_a_wrong_size_is_not_believed(glance, origin):
    glance.mount()
    wait_until(lambda: set(IDS[:3]) <= set(glance.ls("cached")), what="the images to be adopted")
    same(glance.read(IDS[6]), blob(MIB + 6, 86))
    same(glance.read(IDS[4]), blob(MIB + 4, 84))
    glance.wait_cached(IDS[6])
    same(glance.stored(IDS[6]), blob(MIB + 6, 86))


def test_a_wrong_digest_is_not_believed(glance, origin):
    write(glance, IDS[2], blob(MIB + 2, 99))
    origin.put_sums("SHA256SUMS", {n: origin.blobs[n].content for n in IDS})
    glance.mount()
    wait_until(lambda: set(IDS[:2]) <= set(glance.ls("cached")), what="the images to be adopted")
    wait_until(lambda: error_of(glance.read, IDS[2]) == 0, what="the image to be readable")
    same(glance.read(IDS[2]), blob(MIB + 2, 82))


def test_fetched_while_it_waits_to_be_taken_over(cache, origin):
    """A file of another version lies there and the backend is down; then a reader is as fast as the take-over. His is not thrown away."""
    content = origin.put("x", blob(3 * MIB, 90))
    cache.be_of_glance()
    write(cache, "x", blob(MIB, 91))
    origin.stop()
    cache.configure(origin.config(retries=0)).mount()
    assert error_of(cache.read, "x") != 0
    assert cache.status()["adopting"]
    origin.start()
    wait_until(lambda: error_of(cache.read, "x") == 0, what="the image to be readable")
    cache.wait_cached("x")
    wait_until(lambda: not cache.status()["adopting"], seconds=60, what="the end of the take-over")
    same(cache.stored("x"), content)
    for name in cache.ls("invalid"):
        assert cache.entry("invalid", name)["bytes_kept"] == MIB == os.path.getsize(os.path.join(cache.dir, "invalid", name))


def test_its_own_rotten_file_goes(glance):
    """Glance keeps what failed, although a later try succeeded: nobody could see it, or remove it."""
    rotten = os.path.join(glance.dir, "invalid", IDS[0])
    write(glance, f"invalid/{IDS[0]}", b"rotten")
    glance.mount()
    wait_until(lambda: set(IDS[:3]) <= set(glance.ls("cached")), what="the images to be adopted")
    wait_until(lambda: not os.path.exists(rotten), what="the file to go")
    assert IDS[0] not in glance.ls("invalid")


def test_only_once(glance):
    """What was evicted since is not brought back by the old index."""
    glance.mount()
    wait_until(lambda: set(IDS[:4]) <= set(glance.ls("cached")), what="the images to be adopted")
    hits = glance.xattr(IDS[0], "hits")
    os.unlink(glance.path("cached", IDS[1]))
    glance.restart()
    assert IDS[1] not in glance.ls("cached") and glance.ls("queued") == []
    assert glance.xattr(IDS[0], "hits") == hits


def test_the_backend_is_down(glance, origin):
    """The mount comes up at once; nothing is thrown away."""
    origin.stop()
    glance.mount()
    for i in range(3):
        assert os.path.getsize(os.path.join(glance.dir, IDS[i])) == MIB + i
    origin.start()
    wait_until(lambda: set(IDS[:4]) <= set(glance.ls("cached")), seconds=60, what="the images to be adopted")
    same(glance.read(IDS[0]), blob(MIB, 80))


@pytest.mark.parametrize("index", ["missing", "garbage", "another schema"])
def test_without_a_good_index(glance, origin, index):
    path = os.path.join(glance.dir, "cache.db")
    os.unlink(path)
    if index == "garbage":
        write(glance, "cache.db", b"this is no database" * 1000)
    elif index == "another schema":
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE something (x)")
        db.commit()
        db.close()
    glance.mount()
    wait_until(lambda: set(IDS[:3]) <= set(glance.ls("cached")), what="the images to be adopted")
    same(glance.read(IDS[0]), blob(MIB, 80))


# ---- a damaged catalogue


@pytest.fixture
def filled(cache, origin):
    """Unmounted, with `whole` complete and `part` partial."""
    origin.put("whole", blob(2 * MIB, 90))
    origin.put("part", blob(8 * MIB, 91))
    hold = origin.fault("part", hold_from=3 * MIB)
    cache.configure(origin.config(stall_timeout=600), fetch_whole_after="64K").mount()
    cache.read("whole")
    cache.wait_cached("whole")
    cache.read("part", MIB)
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    cache.unmount()
    origin.clear_faults()
    origin.settle()
    return cache


def damage(cache, how):
    path = os.path.join(cache.dir, ".catalogue.db")
    size = os.path.getsize(path)
    if how == "gone":
        os.unlink(path)
    elif how == "empty":
        os.truncate(path, 0)
    elif how == "cut in half":
        with open(path, "rb") as f:  # what follows its pages is only put by for a full disk
            pages = int.from_bytes(f.read(32)[28:], "big")
        os.truncate(path, pages // 2 * 4096)
    elif how == "garbage":
        write(cache, ".catalogue.db", random.Random(1).randbytes(size))
    elif how == "a broken page":
        with open(path, "r+b") as f:
            for offset in range(4096, size, 4096):
                f.seek(offset)
                f.write(b"\xa5" * 200)
    elif how == "a text file":
        write(cache, ".catalogue.db", b"hello\n")


@pytest.mark.parametrize("how", ["gone", "empty", "cut in half", "garbage", "a broken page", "a text file"])
def test_damaged_catalogue(filled, origin, how):
    damage(filled, how)
    before = origin.sent("whole")
    filled.mount()
    wait_until(lambda: "whole" in filled.ls("cached"), what="the image to be adopted")
    same(filled.read("whole"), blob(2 * MIB, 90))
    assert origin.sent("whole") - before <= PROBE
    same(filled.read("part"), blob(8 * MIB, 91))
    filled.wait_cached("part")
    if how not in ("gone", "empty"):
        assert [n for n in os.listdir(filled.dir) if n.startswith(".catalogue.db.damaged")]
        assert "damaged" in filled.logged()
    filled.restart()
    assert filled.ls("cached") == ["part", "whole"]


def test_a_newer_catalogue_is_left_alone(filled):
    db = sqlite3.connect(os.path.join(filled.dir, ".catalogue.db"))
    db.execute("PRAGMA user_version = 9999")
    db.commit()
    db.close()
    done = filled.run()
    assert done.returncode == 1 and done.stderr.count("\n") >= 1
    assert ".catalogue.db" in done.stderr or "newer" in done.stderr
    db = sqlite3.connect(os.path.join(filled.dir, ".catalogue.db"))
    assert db.execute("PRAGMA user_version").fetchone() == (9999,)
    db.close()


def test_a_lost_catalogue_and_rotten_bytes(cache, origin):
    """Without a row, a file is held against the digest it was verified by."""
    content = origin.put("image", blob(2 * MIB, 90))
    origin.put_sums("SHA256SUMS", {"image": content})
    cache.configure(origin).mount()
    cache.read("image")
    cache.wait_cached("image")
    cache.unmount()
    damage(cache, "gone")
    with open(os.path.join(cache.dir, "image"), "r+b") as f:
        f.seek(MIB)
        f.write(b"rotten")
    hold = origin.fault("image", hold_from=MIB)  # with the whole image in its place, what was said of the rotten one goes
    cache.mount()
    wait_until(lambda: cache.ls("invalid") == ["image"], what="the rotten file to be found")
    hold.release()
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the image to be readable")
    same(cache.read("image"), content)


def stuff(cache, rows):
    """ROWS more images in the catalogue, of about 650 bytes each. Returns how large it is then."""
    path = os.path.join(cache.dir, ".catalogue.db")
    with sqlite3.connect(path) as db:
        db.execute("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?)"
                   " INSERT INTO images (name, state, size, created, listed0, listed1, described, title, error)"
                   " SELECT printf('other-%08d', x), 0, 1000000, 1, 2, 0, 1, printf('%0250d', x), printf('%0250d', x) FROM c", (rows,))
    db.execute("PRAGMA wal_checkpoint(truncate)")
    db.close()
    return os.path.getsize(path)


@pytest.mark.parametrize("size", ["too large to be looked through at the start", "damaged while it is in use"])
def test_damage_that_is_met_later(cache, origin, size):
    """It is set aside, and the images come back by themselves, with the mount made afresh."""
    content = origin.put("image", blob(300000, 1))
    cache.configure(origin).mount()
    same(cache.read("image"), content)
    cache.wait_cached("image")
    cache.unmount()
    large = size.startswith("too large")
    length = stuff(cache, 130000 if large else 30000)
    assert large == (length > 64 * MIB)

    def damage():
        with open(os.path.join(cache.dir, ".catalogue.db"), "r+b") as f:
            f.seek(length // 8192 * 4096)
            f.write(bytes(1 << 20))
    if large:
        damage()
    cache.mount()
    if not large:
        wait_until(lambda: not cache.status()["adopting"], what="the cache directory to be looked at")
        damage()
    error_of(os.listdir, cache.path("images"))
    wait_until(lambda: any(".damaged-" in n for n in os.listdir(cache.dir)), what="the catalogue to be set aside")
    wait_until(lambda: "mounted afresh" in cache.logged() and is_mounted(cache.mnt), what="the mount to be made afresh")
    cache.wait_cached("image")
    before = origin.sent("image")
    same(cache.read("image"), content)
    assert origin.sent("image") == before
    assert cache.ls("images") == ["image"]


@pytest.mark.parametrize("status", [404, 403, 401])
@pytest.mark.parametrize("clean", [False, True])
def test_the_backend_knows_none_of_it(cache, origin, status, clean):
    """A typo in the url, another project, an old password: nothing is moved or deleted, all is taken over once it is put right."""
    names = [f"image-{i}" for i in range(4)]
    cache.be_of_glance()
    for i, name in enumerate(names):
        write(cache, name, origin.put(name, blob(MIB + i, 60 + i)))
    origin.put_sums("SHA256SUMS", {n: origin.blobs[n].content for n in names})
    wrong = origin.fault(status=status)
    cache.configure(origin).mount()
    wait_until(lambda: not cache.status()["adopting"], what="the files to be looked at")
    left = cache.status()["left_alone"]
    assert left["files"] == 4 and left["bytes"] >= 4 * MIB
    assert cache.ls("invalid") == [] and cache.ls("cached") == []
    assert cache.logged().count("are left alone") == 1
    if clean:
        tool = next(p for p in (os.path.join(os.path.dirname(binary()), *up, "glance-cache-cleaner") for up in ((), ("..", "tools"))) if os.path.exists(p))
        done = cache.spawn(tool, "--mount", cache.mnt)
        assert done.wait(60) == 0
    for name in names:
        same(cache.stored(name), origin.blobs[name].content)
    origin.faults.remove(wrong)
    before = len(origin.requests())
    cache.process.send_signal(signal.SIGHUP)
    wait_until(lambda: cache.ls("cached") == names, what="the images to be taken over")
    assert cache.status()["left_alone"]["files"] == 0
    assert all(r.sent <= PROBE for r in origin.requests()[before:] if r.name in names), "they were fetched anew"


@pytest.mark.parametrize("how", ["mount", "--check"])
@pytest.mark.parametrize("inside", ["disk.qcow2", "vm-1/disk.qcow2", "queue/disk.qcow2"])
def test_a_folder_of_others_is_refused(cache, origin, how, inside):
    """Nothing in it changes hands, its mode or its place; the text says what lies there, and what to do."""
    path = os.path.join(cache.dir, inside)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if inside.startswith("queue/"):
        with open(os.path.join(cache.dir, "notes.txt"), "w"):
            pass
    with open(path, "wb") as f:
        f.write(b"golden master")
    os.chown(path, 1234, 1234)
    os.chmod(path, 0o600)
    cache.configure(origin)
    before = sorted(os.listdir(cache.dir))
    done = cache.run() if how == "mount" else program("--check", cache.conf)
    assert done.returncode != 0
    assert cache.dir in done.stderr and cache.conf in done.stderr and "name an empty folder" in done.stderr
    st = os.stat(path)
    assert (st.st_uid, st.st_gid, st.st_mode & 0o777) == (1234, 1234, 0o600)
    assert sorted(os.listdir(cache.dir)) == before


def test_a_folder_of_others_within(cache, origin):
    """Somebody keeps his own below a cache directory: it stays his."""
    cache.configure(origin).mount()
    cache.unmount()
    path = os.path.join(cache.dir, "mine", "file")
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as f:
        f.write(b"mine")
    os.chown(path, 1234, 1234)
    cache.mount()
    wait_until(lambda: not cache.status()["adopting"], what="the files to be looked at")
    assert os.stat(path).st_uid == 1234 and open(path).read() == "mine"


LOG_FAULTS = {
    "random": lambda path: overwrite(path, os.urandom(os.path.getsize(path))),
    "random in the middle": lambda path: overwrite(path, os.urandom(5000), os.path.getsize(path) // 3),
    "zeros": lambda path: overwrite(path, bytes(os.path.getsize(path))),
    "cut short": lambda path: os.truncate(path, os.path.getsize(path) * 2 // 3 + 7),
    "longer": lambda path: overwrite(path, os.urandom(70000), os.path.getsize(path)),
    "empty": lambda path: os.truncate(path, 0),
    "gone": os.unlink,
    "a folder": lambda path: (os.unlink(path), os.mkdir(path)),
    "a link": lambda path: (os.rename(path, path + ".x"), os.symlink(path + ".x", path)),
    "another's": lambda path: (os.chown(path, 0, 0), os.chmod(path, 0o600)),
    "mode 0": lambda path: os.chmod(path, 0),
}


def overwrite(path, data, offset=0):
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(data)


@pytest.mark.http1
@pytest.mark.parametrize("end, how", [*(("-wal", how) for how in LOG_FAULTS), *(("-shm", how) for how in ("random", "cut short", "a folder", "mode 0"))])
def test_damaged_log(cache, origin, end, how):
    """What was committed last stands beside the catalogue when all processes are killed: no byte is wrong, and no whole image is fetched again."""
    contents = {name: origin.put(name, blob(MIB + i, i)) for i, name in enumerate(("one", "two", "part"))}
    cache.configure(origin, fetch_policy="demand", read_ahead_max=0).mount()
    for name in ("one", "two"):
        same(cache.read(name), contents[name])
        cache.wait_cached(name)
    os.setxattr(cache.image("one"), "user.glance.pinned", b"1")
    same(cache.read("part", 4096), contents["part"][:4096])
    cache.kill()
    path = os.path.join(cache.dir, ".catalogue.db" + end)
    LOG_FAULTS[how](path)
    before = origin.sent("one") + origin.sent("two")
    cache.mount()
    wait_until(lambda: cache.ls("cached") == ["one", "two"], what="what is whole to be believed")
    for name in contents:
        same(cache.read(name), contents[name])
    assert origin.sent("one") + origin.sent("two") - before <= 2 * PROBE
    cache.restart()
    for name in contents:
        same(cache.read(name), contents[name])
