# SPDX-License-Identifier: Apache-2.0
"""Programs that copy: whatever they make of a file's blocks, holes and times, they get the bytes, and see a file that does not change."""
import email.utils
import os
import shutil
import stat
import time

import pytest

from harness import KIB, MIB, blob, read, same
from waiting import wait_until

SIZE = 5 * MIB + 4097
COPIERS = {
    "tar": "tar -cf - -C images image | tar -xOf - image > {to}",
    "tar -S": "tar -S -cf - -C images image | tar -xOf - image > {to}",
    "tar -S, by reading": "tar -S --hole-detection=raw -cf - -C images image | tar -xOf - image > {to}",
    "tar -S, the folder": "tar -S -cf - images | tar -xOf - images/image > {to}",
    "bsdtar": "bsdtar -cf - -C images image | tar -xOf - image > {to}",
    "cp": "cp images/image {to}",
    "cp --sparse=auto": "cp --sparse=auto images/image {to}",
    "cp --sparse=always": "cp --sparse=always images/image {to}",
    "rsync": "rsync images/image {to}",
    "rsync -S": "rsync -S images/image {to}",
    "dd": "dd if=images/image of={to} bs=64k conv=sparse status=none",
    "qemu-img convert": "qemu-img convert -U -f raw -O raw images/image {to} && truncate -s {size} {to}",
    "cat": "cat images/image > {to}",
}
# An image with holes of its own, as many have.
CONTENT = blob(MIB, 1) + bytes(MIB) + blob(2 * MIB, 2) + bytes(SIZE - 4 * MIB - 512) + blob(512, 3)


def put_cold(cache, origin):
    cache.configure(origin).mount()


def put_half(cache, origin):
    cache.configure(origin, fetch_policy="demand").mount()
    cache.read("image", 700 * KIB, 2 * MIB)
    assert cache.xattr("image", "state") == "partial"


def put_warm(cache, origin):
    cache.configure(origin).mount()
    cache.read("image")
    cache.wait_cached("image")


def put_through(cache, origin):
    cache.configure(origin, image_cache_max_size="1M").mount()
    cache.read("image", MIB)
    assert "served straight through" in cache.logged()


STATES = {"cold": put_cold, "half": put_half, "warm": put_warm, "through": put_through}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("copier", COPIERS)
def test_copied_whole(cache, origin, state, copier):
    if not shutil.which(copier.split()[0]):
        pytest.skip(f"{copier.split()[0]} is not installed")
    origin.put("image", CONTENT)
    STATES[state](cache, origin)
    to = os.path.join(cache.root, "copy")
    cache.shell(COPIERS[copier].format(to=to, size=SIZE))
    same(read(to), CONTENT)


@pytest.mark.parametrize("state", STATES)
def test_no_file_looks_like_a_hole(cache, origin, state):
    origin.put("image", CONTENT)
    STATES[state](cache, origin)
    fd = os.open(cache.image("image"), os.O_RDONLY)
    try:
        assert os.fstat(fd).st_blocks > 0
        for at in (0, MIB + 5, SIZE - 1):
            assert os.lseek(fd, at, os.SEEK_DATA) == at
            assert os.lseek(fd, at, os.SEEK_HOLE) == SIZE
    finally:
        os.close(fd)


def test_evicted_and_open_is_no_hole(cache, origin):
    origin.put("image", CONTENT)
    put_warm(cache, origin)
    fd = os.open(cache.image("image"), os.O_RDONLY)
    os.unlink(cache.path("cached", "image"))
    wait_until(lambda: cache.status()["images"]["evicted_but_open"] == 1, what="the eviction")
    assert os.fstat(fd).st_blocks * 512 >= SIZE
    assert os.lseek(fd, MIB, os.SEEK_HOLE) == SIZE
    os.close(fd)


def test_documents_are_no_holes(cache, origin):
    """.status and what lies in queued/ and invalid/ have bytes, too."""
    origin.put("image", CONTENT)
    hold = origin.fault("image", hold_from=MIB)
    cache.configure(origin).mount()
    cache.touch("queued", "image")
    origin.put("other", blob(MIB, 5))
    cache.read("other")
    cache.wait_cached("other")
    os.rename(cache.path("cached", "other"), cache.path("invalid", "other"))
    for path in (".status", "queued/image", "invalid/other"):
        assert os.stat(cache.path(path)).st_blocks > 0, path
    got = cache.shell("tar -S -cf - invalid | tar -xOf - invalid/other").stdout
    assert "quarantined" in got and "\0" not in got
    hold.release()


# ---- times

DATE = "Mon, 01 Jan 2024 00:00:00 GMT"
WHEN = email.utils.parsedate_to_datetime(DATE).timestamp()


def times(path):
    state = os.stat(path)
    return state.st_mtime_ns, state.st_ctime_ns


def test_times_are_of_the_version(cache, origin):
    """From the first look to the eviction and after it, and under a new worker, also for who asks past what the kernel keeps."""
    origin.put("image", CONTENT, modified=DATE)
    hold = origin.fault("image", hold_from=2 * MIB)
    cache.configure(origin, fetch_whole_after="64K", streams=1).mount()
    want = (int(WHEN * 1e9),) * 2
    assert times(cache.image("image")) == want
    fd = os.open(cache.image("image"), os.O_RDONLY)
    os.pread(fd, MIB, 0)
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    assert times(cache.image("image")) == times(cache.path("incomplete", "image")) == want
    hold.release()
    cache.wait_cached("image")
    assert times(cache.path("cached", "image")) == times(cache.image("image")) == times(fd) == want
    os.close(fd)
    os.unlink(cache.path("cached", "image"))
    wait_until(lambda: cache.xattr("image", "state") != "complete", what="the new row")
    assert times(cache.image("image")) == want
    cache.restart()
    assert times(cache.image("image")) == want


@pytest.mark.parametrize("modified", ["", "yesterday", "Mon, 01 Jan 9999 00:00:00 GMT", "Thu, 01 Jan 1960 00:00:00 GMT"])
def test_without_a_date_times_are_of_the_row(cache, origin, modified):
    origin.put("image", CONTENT, modified=modified)
    cache.configure(origin).mount()
    before = times(cache.image("image"))
    assert abs(before[0] / 1e9 - time.time()) < 120
    cache.read("image")
    cache.wait_cached("image")
    assert times(cache.image("image")) == times(cache.path("cached", "image")) == before


def test_a_listed_image_keeps_its_times(cache, origin):
    """The listing shows it before anything told its date."""
    origin.put("image", CONTENT, modified=DATE)
    cache.configure(origin).mount()
    cache.ls("images")
    before = times(cache.image("image"))
    cache.read("image")
    cache.wait_cached("image")
    assert times(cache.image("image")) == before
    os.unlink(cache.path("cached", "image"))
    wait_until(lambda: cache.xattr("image", "state") != "complete", what="the new row")
    assert times(cache.image("image")) == before


def test_another_version_has_times_of_its_own(cache, origin):
    origin.put("image", CONTENT, modified=DATE)
    cache.configure(origin, revalidate="on-open").mount()
    cache.read("image")
    cache.wait_cached("image")
    origin.put("image", blob(SIZE, 9), modified="Tue, 02 Jan 2024 00:00:00 GMT")
    same(cache.read("image"), blob(SIZE, 9))
    assert times(cache.image("image"))[0] == int((WHEN + 86400) * 1e9)


def test_tar_sees_no_change(cache, origin):
    origin.put("image", CONTENT, modified=DATE)
    origin.fault("image", drip=(64 * KIB, 0.02), when=lambda r: r.range and r.range[0] > 0)
    cache.configure(origin).mount()
    done = cache.shell("tar -cf - images | tar -xOf - images/image | cmp - <(cat images/image)", check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_rsync_after_an_eviction_copies_nothing(cache, origin):
    origin.put("image", CONTENT, modified=DATE)
    put_warm(cache, origin)
    cache.shell(f"rsync -a images/ {cache.root}/there/")
    os.unlink(cache.path("cached", "image"))
    wait_until(lambda: cache.xattr("image", "state") != "complete", what="the new row")
    assert "\nimage" not in cache.shell(f"rsync -ai images/ {cache.root}/there/").stdout
    assert stat.S_ISREG(os.stat(f"{cache.root}/there/image").st_mode)


def test_progress_is_told_beside_the_file(cache, origin):
    origin.put("image", CONTENT, modified=DATE)
    hold = origin.fault("image", hold_from=MIB)
    cache.configure(origin, streams=1).mount()
    cache.read("image", 512 * KIB)
    first = wait_until(lambda: float(cache.xattr("image", "last_progress", "incomplete")), what="progress")
    assert abs(first - time.time()) < 120
    hold.release()
    cache.read("image")
    cache.wait_cached("image")
    assert float(cache.xattr("image", "last_progress")) >= first
