# SPDX-License-Identifier: Apache-2.0
"""Servers that do not send parts of an image, in all the ways that they say so: one stream from the start serves everybody."""
import errno
import json
import threading

import pytest

from harness import KIB, MIB, blob, error_of, pread, read, same
from waiting import wait_until

SIZE = 12 * MIB + 4097
CONTENT = blob(SIZE)
REFUSALS = [400, 403, 416, 501, 204]
GLANCE_ID = "aaaaaaaa-0000-4000-8000-000000000001"


def is_well(cache):
    status = cache.status()
    return [b["failures_in_a_row"] for b in status["backend"]["endpoints"]] == [0] and status["counters"]["backend_errors"] == 0


@pytest.mark.parametrize("status", REFUSALS)
def test_http(cache, origin, status):
    """Looked up, read from its middle and its end by several at once, cached; said once; the backend is well."""
    origin.put("image", CONTENT)
    origin.put("another", CONTENT)
    origin.fault(range_status=status)
    cache.configure(origin).mount()
    ends, threads = [], []
    for offset in (0, SIZE // 2, SIZE - 100 * KIB, 3 * MIB):
        threads.append(threading.Thread(target=lambda o=offset: ends.append((o, cache.read("image", 64 * KIB, o)))))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(ends) == 4 and all(got == CONTENT[o:o + 64 * KIB] for o, got in ends)
    cache.wait_cached("image")
    same(cache.read("another"), CONTENT)
    cache.wait_cached("another")
    assert cache.logged().count("does not send parts") == 1
    assert is_well(cache)
    whole = [r for r in origin.requests("image", "GET") if r.range is None]
    assert sum(r.sent for r in whole if r.sent > SIZE // 2) <= SIZE + 256 * KIB


class Service:
    """What Glance answers: a document of the image, and its bytes at /file, where only the origin's faults are of interest."""

    def __init__(self, origin):
        self.origin = origin
        origin.prefix = "/v2/images/"
        record = {"id": GLANCE_ID, "status": "active", "size": SIZE, "visibility": "public", "disk_format": "raw"}
        origin.put(GLANCE_ID, json.dumps(record).encode())
        origin.put(GLANCE_ID + "/file", CONTENT, etag="", modified=None)

    def config(self, **more):
        return {"type": "glance", "endpoint": f"http://127.0.0.1:{self.origin.port}", "retries": 2, "retry_delay": 10, **more}


@pytest.mark.parametrize("status", REFUSALS)
def test_glance(cache, origin, status):
    """Its stores for Ceph, S3, Swift and HTTP do not do ranges."""
    service = Service(origin)
    origin.fault(GLANCE_ID + "/file", range_status=status)
    cache.configure(service).mount()
    same(cache.read(GLANCE_ID), CONTENT)
    cache.wait_cached(GLANCE_ID)
    assert is_well(cache)
    assert len([r for r in origin.requests(GLANCE_ID + "/file") if r.range is None]) == 1


def test_queued(cache, origin):
    service = Service(origin)
    origin.fault(GLANCE_ID + "/file", range_status=400)
    cache.configure(service).mount()
    cache.touch("queued", GLANCE_ID)
    cache.wait_cached(GLANCE_ID)
    same(cache.read(GLANCE_ID), CONTENT)


def test_it_breaks_off(cache, origin):
    """What came stays; the stream begins anew and passes over it."""
    origin.put("image", CONTENT)
    origin.fault("image", when=lambda r: r.range is None, drop_after=5 * MIB, times=1)
    origin.fault("image", range_status=400)
    cache.configure(origin).mount()
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")


@pytest.mark.parametrize("status", [400, 403, 501])
def test_refused_anyhow(cache, origin, status):
    """An error that names the status; once that is over, it is read, in parts again."""
    origin.put("image", CONTENT)
    origin.put("other", CONTENT)
    cache.configure(origin.config(retries=1, retry_delay=10)).mount()
    with open(cache.image("image"), "rb", buffering=0) as f:
        fault = origin.fault("image", status=status)
        assert error_of(pread, f.fileno(), MIB, 4 * MIB) == errno.EIO
        assert str(status) in cache.error("image")
        same(cache.read("other", MIB, 4 * MIB), CONTENT[4 * MIB:5 * MIB])
        with origin.lock:
            origin.faults.remove(fault)
        count = len(origin.requests("image"))
        same(pread(f.fileno(), MIB, 4 * MIB), CONTENT[4 * MIB:5 * MIB])
        assert all(r.range is not None for r in origin.requests("image")[count:])


def test_a_bad_name_is_no_sick_backend(cache, origin):
    """400 for one name: an error for that one, at once, and the backend goes on being well."""
    origin.put("image", CONTENT)
    origin.fault("odd", status=400)
    cache.configure(origin).mount()
    assert error_of(read, cache.image("odd")) == errno.EIO
    assert "400" in cache.logged()
    assert is_well(cache)
    assert len(origin.requests("odd")) == 2
    same(cache.read("image"), CONTENT)


def test_changed_while_it_is_doubted(cache, origin):
    """The answer to the request for all is held to the version as any other is."""
    origin.put("image", CONTENT)
    cache.configure(origin).mount()
    with open(cache.image("image"), "rb", buffering=0) as f:
        origin.put("image", blob(SIZE, 2))
        origin.fault("image", range_status=416)
        assert error_of(pread, f.fileno(), MIB, 4 * MIB) == errno.EIO
    wait_until(lambda: error_of(cache.read, "image", 1) == 0, what="the new version")
    same(cache.read("image"), blob(SIZE, 2))
