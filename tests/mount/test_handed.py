# SPDX-License-Identifier: Apache-2.0
"""Images that are handed in by who uploads them to the backend (.handed/): they count when the backend says that they are what it has, and nothing is
left of one that does not."""
import errno
import os
import signal

import pytest

from harness import KIB, MIB, VIEWS, blob, error_of, same
from waiting import wait_until
from workers import worker_of

SIZE = 3 * MIB + 5
SUMS = "SHA256SUMS"


class Handed:
    """One that is being written."""

    def __init__(self, cache, name):
        self.cache, self.name = cache, name
        self.fd = os.open(cache.path(".handed", name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, content):
        for at in range(0, len(content), 300 * KIB):
            os.write(self.fd, content[at:at + 300 * KIB])
        return self

    def over(self, to=None):
        os.rename(self.cache.path(".handed", self.name), self.cache.path("cached", to or self.name))

    def close(self):
        os.close(self.fd)


def hand(cache, name, content):
    one = Handed(cache, name).write(content)
    one.over()
    one.close()


def publish(origin, images):
    origin.put_sums(SUMS, images)
    for name, content in images.items():
        origin.put(name, content)


@pytest.fixture
def mounted(cache, origin):
    cache.configure(origin, list_ttl=0).mount()
    return cache


def files(cache):
    return [name for name in cache.snapshot() if not name.startswith(".")]


def used(cache):
    return cache.status()["space"]["used"]


def test_kept(mounted, origin):
    """Nothing but its first bytes, which come with the look-up, was asked for."""
    content = blob(SIZE, 1)
    publish(origin, {"new": content})
    hand(mounted, "new", content)
    mounted.wait_cached("new")
    same(mounted.read("new"), content)
    assert mounted.status()["counters"]["bytes_fetched"] == 0
    assert used(mounted) >= SIZE and mounted.ls("incomplete") == mounted.ls("invalid") == []
    mounted.restart()
    same(mounted.read("new"), content)
    assert mounted.status()["counters"]["bytes_fetched"] == 0
    os.unlink(mounted.path("cached", "new"))
    same(mounted.read("new"), content)


def test_the_backend_has_it_a_little_later(mounted, origin):
    content = blob(SIZE, 1)
    hand(mounted, "late", content)
    wait_until(lambda: origin.requests("late"), what="the backend to be asked")
    publish(origin, {"late": content})
    mounted.wait_cached("late")
    same(mounted.read("late"), content)


WRONG = {"other bytes": blob(SIZE, 2), "longer": blob(SIZE, 1) + b"x", "shorter": blob(SIZE, 1)[:-1], "nothing": None}


@pytest.mark.parametrize("what", WRONG)
def test_dropped(mounted, origin, what):
    content = blob(SIZE, 1)
    if WRONG[what] is not None:
        publish(origin, {"new": WRONG[what]})
    hand(mounted, "new", content)
    wait_until(lambda: "what was kept of its upload is dropped" in mounted.logged(), what="it to be dropped")
    assert not mounted.has("cached", "new") and mounted.ls("invalid") == [] and files(mounted) == []
    wait_until(lambda: used(mounted) == 0, what="its room to be free")
    if WRONG[what] is not None:
        same(mounted.read("new"), WRONG[what])


def test_no_digest(mounted, origin):
    origin.put("new", blob(SIZE, 1))
    hand(mounted, "new", blob(SIZE, 1))
    wait_until(lambda: "what was kept of its upload is dropped" in mounted.logged(), what="it to be dropped")
    assert not mounted.has("cached", "new")


@pytest.mark.parametrize("how", ["closed", "killed", "the worker dies", "unmounted"])
def test_half_of_one(mounted, origin, how):
    publish(origin, {"new": blob(SIZE, 1)})
    if how == "killed":
        child = mounted.spawn("sh", "-c", 'exec 3>"$1"; head -c 2000000 /dev/zero >&3; echo; exec sleep 600', "sh", mounted.path(".handed", "new"), stdout=-1)
        child.stdout.read(1)
        child.send_signal(signal.SIGKILL)
        child.wait()
    else:
        one = Handed(mounted, "new").write(blob(2 * MIB, 1))
        if how == "the worker dies":
            os.kill(worker_of(mounted), signal.SIGKILL)
            wait_until(lambda: error_of(os.write, one.fd, b"x") == errno.ESTALE, what="the new worker")
            assert error_of(one.over) == errno.ENOENT
        one.close()
        if how == "unmounted":
            mounted.restart()
    wait_until(lambda: used(mounted) == 0, what="its room to be free")
    assert not mounted.has(".handed", "new") and not mounted.has("cached", "new") and files(mounted) == []
    hand(mounted, "new", blob(SIZE, 1))
    mounted.wait_cached("new")


def test_what_is_refused(mounted, origin):
    one = Handed(mounted, "new").write(b"12345")
    path = mounted.path(".handed", "new")
    assert os.stat(path).st_size == 5 and os.stat(path).st_mode & 0o777 == 0o600
    assert error_of(os.open, path, os.O_RDONLY) == errno.EPERM and error_of(os.open, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) == errno.EEXIST
    assert error_of(os.pwrite, one.fd, b"x", 0) == errno.ESPIPE and error_of(os.pwrite, one.fd, b"x", 6) == errno.ESPIPE
    assert error_of(os.truncate, path, 0) == errno.EPERM and error_of(os.unlink, path) == errno.EPERM
    for to in (("cached", "other"), ("images", "new"), ("invalid", "new"), (".handed", "other")):
        assert error_of(os.rename, path, mounted.path(*to)) == errno.EPERM, to
    for name in (".x", "cache.db", "a" * 256):
        assert error_of(Handed, mounted, name) is not None
    more = [Handed(mounted, f"n{i}") for i in range(7)]
    assert error_of(Handed, mounted, "too-many") == errno.EDQUOT
    for each in [one, *more]:
        each.close()
    assert ".handed" not in os.listdir(mounted.mnt) and os.listdir(mounted.path(".handed")) == []
    Handed(mounted, "new").close()


def test_room_is_made_and_is_not_taken_beyond_the_limit(cache, origin):
    images = {f"old{i}": blob(6 * MIB, i) for i in range(3)} | {"new": blob(8 * MIB, 9)}
    publish(origin, images)
    cache.configure(origin, list_ttl=0, image_cache_max_size=30 * MIB).mount()
    for name in images:
        if name != "new":
            cache.read(name)
            cache.wait_cached(name)
    hand(cache, "new", images["new"])
    cache.wait_cached("new")
    wait_until(lambda: used(cache) <= 30 * MIB, what="the limit to hold")
    assert "old0" not in cache.ls("cached") and "old2" in cache.ls("cached"), "the one used longest ago goes"
    one = Handed(cache, "huge")
    with pytest.raises(OSError) as caught:
        for _ in range(40):
            one.write(blob(MIB, 1))
    assert caught.value.errno == errno.ENOSPC
    one.close()
    wait_until(lambda: used(cache) <= 30 * MIB, what="its room to be free")


def test_a_reader_was_first(mounted, origin):
    """Who reads the image meanwhile has it fetched: what was handed is of no use then."""
    content = blob(SIZE, 1)
    publish(origin, {"new": content})
    one = Handed(mounted, "new").write(content)
    same(mounted.read("new"), content)
    mounted.wait_cached("new")
    one.over()
    one.close()
    hand(mounted, "new", content)
    same(mounted.read("new"), content)
    assert mounted.ls("cached") == ["new"]


def test_only_the_owner(cache, origin):
    cache.configure(origin).mount("-o", "allow_other")
    done = cache.spawn("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "sh", "-c", f"echo > {cache.path('.handed', 'new')}", stderr=-1)
    assert b"Permission denied" in done.communicate(timeout=60)[1] and done.returncode != 0


def test_views_are_as_before(mounted):
    assert sorted(os.listdir(mounted.mnt)) == sorted([".status", *VIEWS])
