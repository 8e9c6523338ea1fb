# SPDX-License-Identifier: Apache-2.0
"""A server that says "come back in an hour" and is well again in a moment: nobody waits for longer than the manual says."""
import os
import threading

import pytest

from harness import KIB, MIB, blob, error_of, pread, same
from waiting import wait_until

SIZE = 8 * MIB
CONTENT = blob(SIZE, 41)
HOUR = dict(status=503, headers={"Retry-After": "3600"})

pytestmark = pytest.mark.deadline(80)  # not an hour


def beyond_the_probe(request):
    return request.range is None or request.range[0] > 0


@pytest.mark.parametrize("status", [503, 429])
def test_a_reader(cache, origin, status):
    origin.put("image", CONTENT)
    origin.fault("image", when=beyond_the_probe, times=1, **{**HOUR, "status": status})
    cache.configure(origin).mount()
    same(cache.read("image"), CONTENT)


def test_it_ends_with_an_error(cache, origin):
    """A server that stays like that: EIO after the tries, and another reader tries again."""
    origin.put("image", CONTENT)
    fault = origin.fault("image", when=beyond_the_probe, **HOUR)
    cache.configure(origin.config(retries=1)).mount()
    assert error_of(cache.read, "image", MIB, 4 * MIB) == 5
    with origin.lock:
        origin.faults.remove(fault)
    same(cache.read("image", MIB, 4 * MIB), CONTENT[4 * MIB:5 * MIB])


def test_an_answer_frees_those_who_wait(cache, origin):
    """Many images wait; one request that is answered says that the server is well, for all of them."""
    names = [f"image-{i}" for i in range(6)]
    for name in names:
        origin.put(name, CONTENT)
    origin.put("other", CONTENT)
    faults = [origin.fault(name, when=beyond_the_probe, times=1, **HOUR) for name in names]
    cache.configure(origin).mount()
    errors = []

    def reader(name):
        try:
            same(cache.read(name), CONTENT)
        except BaseException as e:  # pylint: disable=broad-except
            errors.append(e)
    threads = [threading.Thread(target=reader, args=(name,)) for name in names]
    for t in threads:
        t.start()
    wait_until(lambda: all(f.taken for f in faults), what="all of them to be told to wait")
    same(cache.read("other"), CONTENT)
    for t in threads:
        t.join()
    assert not errors, errors


def test_a_name_and_a_listing(cache, origin):
    """Said at once where a person waits, and right again with the next question."""
    origin.put("image", CONTENT)
    origin.fault(times=2, **HOUR)
    cache.configure(origin).mount()
    wait_until(lambda: error_of(os.stat, cache.image("image")) == 0, seconds=40, what="the image")
    wait_until(lambda: cache.ls_some("images") == ["image"], seconds=40, what="the listing")


def test_a_new_version(cache, origin):
    """A cached image is asked about again soon, and not when the hour is over."""
    origin.put("image", CONTENT)
    cache.configure(origin, revalidate="on-open").mount()
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    fault = origin.fault("image", times=1, **HOUR)
    same(cache.read("image", 64 * KIB), CONTENT[:64 * KIB])
    new = origin.put("image", blob(SIZE, 42))
    wait_until(lambda: fault.taken and cache.read("image", 64 * KIB) == new[:64 * KIB], seconds=40, what="the new version")


def test_others_are_answered_meanwhile(cache, origin):
    """An image whose requests alone fail is not asked for again with each answer that another one gets."""
    origin.put("image", CONTENT)
    for i in range(30):
        origin.put(f"other-{i}", blob(MIB, i))
    fault = origin.fault("image", when=beyond_the_probe, status=503, headers={"Retry-After": "1"})
    cache.configure(origin.config(retry_delay=2000, retries=3)).mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    try:
        reader = threading.Thread(target=lambda: error_of(pread, fd, MIB, 4 * MIB))
        reader.start()
        wait_until(lambda: fault.taken, what="the first failure")
        for i in range(30):
            same(cache.read(f"other-{i}"), blob(MIB, i))
        origin.clear_faults()
        reader.join()
    finally:
        os.close(fd)
    assert fault.taken <= 4
