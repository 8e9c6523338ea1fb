# SPDX-License-Identifier: Apache-2.0
"""background_rate holds back what nobody waits for, and nothing else. At the rate of these tests an image would take ten minutes."""
import os
import threading

import pytest

from harness import KIB, MIB, blob, pread, same
from waiting import wait_until

SIZE = 40 * MIB
RATE = {"background_rate": "64K"}
CONTENT = blob(SIZE, 31)

pytestmark = pytest.mark.deadline(60)  # not a tenth of what the rate would take


def prefetching(cache, name="image"):
    """Queues it, and waits until its fetch has begun."""
    cache.touch("queued", name)
    wait_until(lambda: cache.has("incomplete", name) and cache.bytes_cached(name) > 0, what="the prefetch")


@pytest.mark.parametrize("policy", ["whole", "demand"])
def test_a_reader(cache, origin, policy):
    """The whole is fetched because of him: he does not get the speed of the background."""
    origin.put("image", CONTENT)
    options = {} if policy == "whole" else {"fetch_policy": "demand"}
    cache.configure(origin, **RATE, **options).mount()
    same(cache.read("image"), CONTENT)


def test_who_joins_a_prefetch(cache, origin):
    origin.put("image", CONTENT)
    cache.configure(origin, **RATE).mount()
    prefetching(cache)
    same(cache.read("image", 64 * KIB, 300 * KIB), CONTENT[300 * KIB:364 * KIB])
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")


def test_several_at_once_and_later(cache, origin):
    """Each gets what he waits for, wherever it lies in what is claimed already."""
    origin.put("image", CONTENT)
    cache.configure(origin, **RATE).mount()
    prefetching(cache)
    errors = []

    def reader(first):
        fd = os.open(cache.image("image"), os.O_RDONLY)
        try:
            for offset in range(first, first + 8 * MIB, 256 * KIB):
                same(pread(fd, 4096, offset), CONTENT[offset:offset + 4096])
        except BaseException as e:  # pylint: disable=broad-except
            errors.append(e)
        finally:
            os.close(fd)
    threads = [threading.Thread(target=reader, args=(first,)) for first in (0, 8 * MIB, 8 * MIB, 24 * MIB, SIZE - 8 * MIB)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors
    same(cache.read("image", MIB, 20 * MIB), CONTENT[20 * MIB:21 * MIB])


def test_the_end_waits_for_the_digest(cache, origin):
    """Who waits for the end of an image waits for all of it."""
    origin.put("image", CONTENT)
    origin.put_sums("SHA256SUMS", {"image": CONTENT})
    cache.configure(origin, **RATE).mount()
    prefetching(cache)
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")


def test_nobody_waits(cache, origin):
    """Only then the rate holds: another image is read meanwhile, this one is not done."""
    origin.put("image", CONTENT)
    origin.put("other", blob(SIZE, 32))
    cache.configure(origin, **RATE).mount()
    prefetching(cache)
    same(cache.read("other"), blob(SIZE, 32))
    cache.wait_cached("other")
    assert cache.bytes_cached("image") < SIZE // 2
    assert cache.ls("cached") == ["other"]


def test_a_folder(cache):
    """The same for images that are files."""
    folder = os.path.join(cache.root, "images")
    os.mkdir(folder)
    os.chmod(folder, 0o755)
    with open(os.path.join(folder, "image"), "wb") as f:
        f.write(CONTENT)
    cache.configure({"type": "file", "path": folder}, **RATE).mount()
    prefetching(cache)
    same(cache.read("image"), CONTENT)
