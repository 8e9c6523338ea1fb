# SPDX-License-Identifier: Apache-2.0
"""Boot sets: what is read of an image that is not here is recorded, and asked for ahead when it is opened again and is not here."""
import os
import random
import signal
import threading

import pytest

from harness import KIB, MIB, blob, error_of, pread, same
from waiting import wait_until
from workers import worker_of

SIZE = 64 * MIB
KILLS = int(os.environ.get("GCFS_KILLS", 12))
PLACES = [((i // 2 * 7919) % 940 // 3 * 3 + i % 2) * 64 * KIB for i in range(60)]  # pairs, in no order and far from each other


def boot(cache, name, content, places=PLACES, length=4 * KIB):
    """As a guest does it: one handle, reads here and there."""
    fd = os.open(cache.image(name), os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    try:
        for place in places:
            same(pread(fd, length, place), content[place:place + length])
    finally:
        os.close(fd)


def boots(cache):
    return cache.status()["bootsets"]


def learned(cache, n=1):
    wait_until(lambda: boots(cache)["boots"] >= n, what=f"{n} boots to be learned")


def forget(cache, name):
    os.remove(cache.path("incomplete", name))


def set_up(cache, origin, **options):
    content = origin.put("x", blob(SIZE))
    cache.configure(origin, **{"fetch_policy": "demand", "bootset_quiet": 0, **options}).mount()
    return content


def blocks_of(requests):
    """64 KiB blocks that were asked for."""
    blocks = set()
    for r in requests:
        if r.range:
            blocks |= set(range(r.range[0] // (64 * KIB), r.range[1] // (64 * KIB) + 1))
    return blocks


def test_the_second_boot_finds_what_the_first_one_read(cache, origin):
    content = set_up(cache, origin)
    boot(cache, "x", content)
    learned(cache)
    forget(cache, "x")
    before = len(origin.requests("x"))
    with open(cache.image("x"), "rb", buffering=0) as image:
        same(image.read(4 * KIB), content[:4 * KIB])
        want = {p // (64 * KIB) for p in PLACES}
        wait_until(lambda: want <= blocks_of(origin.requests("x")[before:]) and origin.settle() is None, what="the replay")
        asked = origin.requests("x")[before:]
        boot(cache, "x", content)
        assert len(origin.requests("x")) == before + len(asked), "what the first boot read was asked for again"
    assert sum(r.sent for r in asked) <= 1.1 * (len(want) + 4) * 64 * KIB  # and the first bytes that come with the look-up
    learned(cache, 2)
    wait_until(lambda: boots(cache)["replays"] == 1, what="the replay to be counted")
    assert boots(cache)["sets"] == 1 and boots(cache)["replayed_not_read"] <= 4 * 64 * KIB


def teach(cache, origin, **options):
    """The content of x, of which a boot was learned and nothing is here any more."""
    content = set_up(cache, origin, **options)
    boot(cache, "x", content)
    learned(cache)
    forget(cache, "x")
    return content


def text(cache, name="x"):
    return open(cache.path("bootsets", name)).read()


def blocks_of_text(content):
    lines = [line.split(",") for line in content.splitlines()[1:] if not line.startswith("#")]
    return {b for first, count, _, _ in lines for b in range(int(first), int(first) + int(count))}


def test_the_view_shows_a_set_and_takes_one(cache, origin):
    content = teach(cache, origin)
    assert cache.ls("bootsets") == ["x"]
    shown = text(cache)
    assert blocks_of_text(shown) == {p // (64 * KIB) for p in PLACES}
    assert os.stat(cache.path("bootsets", "x")).st_size == len(shown) <= 16 * KIB
    assert cache.xattr("x", "bootset").startswith(f"bytes={len(PLACES) * 64 * KIB} spans=")
    os.remove(cache.path("bootsets", "x"))
    assert cache.ls("bootsets") == [] and boots(cache)["sets"] == 0
    cache.shell(f"printf '# by hand\\nbootset 1 {SIZE} 1 1\\n500,8,0,1\\n' > bootsets/x")
    assert blocks_of_text(text(cache)) == set(range(500, 508)) and boots(cache)["sets"] == 1
    with open(cache.image("x"), "rb", buffering=0) as image:
        same(image.read(4 * KIB), content[:4 * KIB])
        wait_until(lambda: set(range(500, 508)) <= blocks_of(origin.requests("x")), what="the replay")


def test_what_is_no_set_is_refused_and_changes_nothing(cache, origin):
    teach(cache, origin)
    before = text(cache)
    for wrong in ("nonsense\\n", f"bootset 1 {SIZE} 1 2\\n0,4,0,1\\n3,1,0,1\\n", f"bootset 1 {SIZE} 1 1\\n0,1,0,1\\nmore\\n"):
        assert "Invalid argument" in cache.shell(f"printf '{wrong}' > bootsets/x", check=False).stderr
    assert "Invalid argument" in cache.shell("printf nonsense | dd of=bootsets/x status=none", check=False).stderr
    assert cache.shell("head -c 100000 /dev/zero | tr '\\0' '#' > bootsets/x", check=False).returncode != 0
    assert text(cache) == before
    assert "line 3" in cache.logged() and "no boot set" in cache.logged()
    assert cache.shell("touch bootsets/nobody-knows-it", check=False).returncode != 0
    assert cache.shell("touch bootsets/x && mkdir bootsets/y", check=False).returncode != 0
    assert text(cache) == before


def test_a_set_outlives_the_program_and_the_image(cache, origin):
    teach(cache, origin)
    before = text(cache)
    cache.restart()
    assert text(cache) == before and boots(cache)["sets"] == 1
    cache.kill()
    cache.mount()
    assert text(cache) == before
    with open(os.path.join(cache.dir, ".bootsets", "x"), "w") as f:
        f.write(before[:len(before) // 2])  # no disk does that, but a person may
    boot(cache, "x", origin.blobs["x"].content)
    learned(cache)
    assert blocks_of_text(text(cache)) == {p // (64 * KIB) for p in PLACES}


def test_a_look_at_an_image_changes_no_set_and_a_copy_makes_none(cache, origin):
    content = teach(cache, origin)
    before = text(cache)
    boot(cache, "x", content, PLACES[:8])
    origin.put("y", blob(40 * MIB, 2))
    with open(cache.image("y"), "rb", buffering=0) as image:
        for _ in range(30):
            image.read(MIB)
    cache.unmount()  # ends both
    cache.mount()
    assert text(cache) == before and cache.ls("bootsets") == ["x"]


def test_what_is_replayed_in_vain_fades(cache, origin):
    content = teach(cache, origin)
    places = PLACES[:40] + [p + 32 * KIB for p in range(50 * MIB, 51 * MIB, 128 * KIB)]
    for n in (2, 3):
        fd = os.open(cache.image("x"), os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        pread(fd, KIB, 0)
        cold = blocks_of_text(text(cache))
        wait_until(lambda: cold <= blocks_of(origin.requests("x")) and origin.settle() is None, what="the replay")
        boot(cache, "x", content, places)
        os.close(fd)
        learned(cache, n)
        forget(cache, "x")
    assert blocks_of_text(text(cache)) == {p // (64 * KIB) for p in places} | {0}


def test_nothing_is_replayed_for_who_does_not_read_or_has_closed_it(cache, origin):
    content = teach(cache, origin)
    before = len(origin.requests("x"))
    with open(cache.image("x"), "rb", buffering=0):
        cache.status()
    gate = origin.fault("x", hold_from=64 * KIB)  # whatever is beyond the first block does not come
    with open(cache.image("x"), "rb", buffering=0) as image:
        same(image.read(4 * KIB), content[:4 * KIB])
        wait_until(lambda: gate.waiting > 0, what="the replay")
    gate.release()
    origin.settle()
    assert len(origin.requests("x")) - before <= 12, "it went on after the last handle was closed"


def test_without_bootset_max_nothing_is_recorded(cache, origin):
    content = set_up(cache, origin, bootset_max=0)
    boot(cache, "x", content)
    cache.unmount()
    cache.mount()
    assert cache.ls("bootsets") == [] and not os.path.exists(os.path.join(cache.dir, ".bootsets"))


def test_an_image_that_is_still_in_memory_is_replayed_at_the_next_boot(cache, origin):
    """Somebody else has it open all the time."""
    content = set_up(cache, origin, bootset_quiet=1)
    beside = os.open(cache.image("x"), os.O_RDONLY)
    boot(cache, "x", content)
    learned(cache)
    forget(cache, "x")
    before = len(origin.requests("x"))
    with open(cache.image("x"), "rb", buffering=0) as image:
        same(image.read(4 * KIB), content[:4 * KIB])
        want = {p // (64 * KIB) for p in PLACES}
        wait_until(lambda: want <= blocks_of(origin.requests("x")[before:]), what="the replay")
    os.close(beside)


def test_kills_of_the_worker_while_a_boot_is_recorded_and_replayed(cache, origin):
    """A worker may die at any request: no wrong byte, no error, no half set; what is learned later is as if nothing had been."""
    content = teach(cache, origin)
    rng = random.Random(5)
    for _ in range(KILLS):
        failed = []

        def guest():
            try:
                boot(cache, "x", content)
            except BaseException as e:
                failed.append(e)
        thread = threading.Thread(target=guest)
        asked, when = len(origin.requests("x")), rng.randrange(12)
        thread.start()
        wait_until(lambda: len(origin.requests("x")) >= asked + when or not thread.is_alive(), what="the replay to be under way")
        os.kill(worker_of(cache), signal.SIGKILL)
        thread.join(60)
        assert not thread.is_alive() and not failed, failed
        wait_until(lambda: cache.has("incomplete", "x"), what="the view")
        forget(cache, "x")
    assert blocks_of_text(text(cache)) >= {p // (64 * KIB) for p in PLACES}
    n = boots(cache)["boots"]
    boot(cache, "x", content)
    learned(cache, n + 1)
    assert os.listdir(os.path.join(cache.dir, ".bootsets")) == ["x"]


def test_what_somebody_drops_is_not_replayed_again(cache, origin):
    """rm incomplete/ID stops the fetch, also while it is open and its boot set was under way."""
    content = teach(cache, origin)
    gate = origin.fault("x", hold_from=64 * KIB)
    with open(cache.image("x"), "rb", buffering=0) as image:
        same(image.read(4 * KIB), content[:4 * KIB])
        wait_until(lambda: gate.waiting > 0, what="the replay")
        forget(cache, "x")
        gate.release()
        origin.clear_faults()
        before = len(origin.requests("x"))
        same(pread(image.fileno(), 4 * KIB, 40 * MIB), content[40 * MIB:40 * MIB + 4 * KIB])
        origin.settle()
        assert len(origin.requests("x")) <= before + 2, "the set was asked for again"


@pytest.mark.http1  # it is about the disk
@pytest.mark.parametrize("what", ["noise", "empty", "folder", "link", "huge"])
def test_a_damaged_set(cache, origin, what):
    """Whatever lies in its place: the image is read as without a set, the worker lives, and what is not ours stays."""
    content = set_up(cache, origin)
    boot(cache, "x", content)
    learned(cache)
    forget(cache, "x")
    cache.unmount()
    path = os.path.join(cache.dir, ".bootsets", "x")
    elsewhere = os.path.join(cache.root, "elsewhere")
    os.unlink(path)
    if what == "folder":
        os.mkdir(path)
    else:
        with open(elsewhere if what == "link" else path, "wb") as f:
            f.write({"noise": blob(5000, 3), "empty": b"", "huge": b"0,1,1,1\n" * (1 << 20), "link": b"0,1,1,1\n"}[what])
    if what == "link":
        os.symlink(elsewhere, path)
    cache.mount()
    same(cache.read("x"), content)
    cache.wait_cached("x")
    assert error_of(lambda: open(cache.path("bootsets", "x"), encoding="latin-1").read()) != 0
    assert what != "link" or open(elsewhere, "rb").read() == b"0,1,1,1\n"
    assert cache.status()["counters"]["worker_starts"] == 1
