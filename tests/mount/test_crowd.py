# SPDX-License-Identifier: Apache-2.0
"""Servers that take so many requests at once and no more: asked by so many, and what one request meets is no matter of the others."""
import errno
import os
import threading

import pytest

from harness import KIB, MIB, blob, error_of, pread, same
from waiting import wait_until

pytestmark = pytest.mark.http1  # over HTTP/2 there is one connection for all of them

SIZE = 12 * MIB + 11
CONTENT = blob(SIZE, 71)
TELLS = {"503": dict(status=503), "429 for two seconds": dict(status=429, headers={"Retry-After": "2"}), "509": dict(status=509),
         "closes": dict(drop_before_head=True)}


def limit(origin, most, **how):
    """ORIGIN answers no more than MOST requests at a time, slowly; what is beyond is refused as HOW tells."""
    def beyond(request):
        return sum(not r.finished and not r.all_sent for r in origin.log if r is not request) >= most  # its lock is held
    fault = origin.fault(when=beyond, **how)
    origin.fault(when=lambda r: r.range is None or r.range[0] > 0, drip=(128 * KIB, 0.01))
    return fault


def is_well(cache):
    """The backend, and all that was fetched. The server knows a moment later than who reads it that a request is over: it may refuse the next."""
    status = cache.status()
    return ([e["state"] for e in status["backend"]["endpoints"]], status["counters"]["fetches_failed"]) == (["ok"], 0)


@pytest.mark.parametrize("most, how", [*[(1, how) for how in TELLS], (3, "503")])
def test_so_many_at_once(cache, origin, most, how):
    content = blob(most * SIZE, 73)
    origin.put("image", content)
    fault = limit(origin, most, **TELLS[how])
    cache.configure(origin.config(retries=5, retry_delay=10), streams=8, fetch_whole_after=0).mount()
    reader, got = threading.Thread(target=lambda: got.append(cache.read("image"))), []
    reader.start()
    wait_until(lambda: fault.taken or not reader.is_alive(), what="one too many")
    told = wait_until(lambda: cache.status()["backend"]["endpoints"][0]["refuses"] or not reader.is_alive(), what="it to be told")
    reader.join()
    same(got[0], content)
    cache.wait_cached("image")
    assert told is True or told[0].startswith("more than")
    assert cache.logged().count("requests at once") == 1 and is_well(cache)


def test_a_name_is_looked_up_meanwhile(cache, origin):
    """Where there is one connection for all, a look-up has its turn before the next bytes."""
    origin.put("image", CONTENT)
    origin.put("other", CONTENT[:MIB])
    limit(origin, 1, status=503)
    cache.configure(origin.config(retries=3, retry_delay=10000), streams=4, fetch_whole_after=0).mount()
    reader, got = threading.Thread(target=lambda: got.append(cache.read("image"))), []
    reader.start()
    wait_until(lambda: len(origin.requests("image")) > 2 or not reader.is_alive(), what="the fetch to be under way")
    assert os.stat(cache.image("other")).st_size == MIB
    assert reader.is_alive()
    reader.join()
    same(got[0], CONTENT)
    assert is_well(cache)


def test_two_images_take_turns(cache, origin):
    for name in ("one", "two", "three"):
        origin.put(name, CONTENT[:6 * MIB])
    limit(origin, 1, status=503)
    cache.configure(origin.config(retries=5, retry_delay=100), fetch_whole_after=0).mount()
    for name in ("one", "two", "three"):
        os.stat(cache.image(name))
    got = {}
    readers = [threading.Thread(target=lambda n=name: got.update({n: cache.read(n)})) for name in ("one", "two", "three")]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert all(got.get(name) == CONTENT[:6 * MIB] for name in ("one", "two", "three"))
    assert cache.status()["counters"]["fetches_failed"] == 0


@pytest.mark.parametrize("how", [dict(status=500), dict(status=503)], ids=["500", "503"])
def test_a_part_that_cannot_be_had(cache, origin, how):
    """Its reader gets an error; who reads elsewhere in the image never notices."""
    content = blob(24 * MIB, 72)
    origin.put("image", content)
    bad = origin.fault("image", when=lambda r: r.range is not None and r.range[0] >= 16 * MIB, **how)
    slow = origin.fault("image", when=lambda r: r.range is not None and 0 < r.range[0] < 16 * MIB, drip=(32 * KIB, 0.02))
    cache.configure(origin.config(retries=2, retry_delay=10), fetch_policy="demand", read_ahead_max="4M").mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    errors, stop = [], threading.Event()

    def elsewhere():
        offset = 0
        while offset < 16 * MIB and not stop.is_set():
            errors.append(error_of(lambda: same(os.pread(fd, 64 * KIB, offset), content[offset:offset + 64 * KIB])))
            offset += 64 * KIB

    reader = threading.Thread(target=elsewhere)
    reader.start()
    wait_until(lambda: slow.taken and len(errors) > 8, what="a stream to be under way")
    assert error_of(pread, fd, 64 * KIB, 20 * MIB) == errno.EIO
    assert bad.taken >= 3 and reader.is_alive()
    so_far = len(errors)
    wait_until(lambda: len(errors) > so_far + 16, what="more bytes")
    stop.set()
    reader.join()
    assert set(errors) == {0}
    origin.faults.remove(bad)
    wait_until(lambda: error_of(pread, fd, 64 * KIB, 20 * MIB) == 0, what="the part, of a server that is well again")
    os.close(fd)
