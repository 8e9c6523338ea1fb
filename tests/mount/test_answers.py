# SPDX-License-Identifier: Apache-2.0
"""Answers to a question for bytes that bring something else: no byte of it comes to a reader, and none into the cache."""
import errno
import gzip
import os
import sqlite3

import pytest

from harness import KIB, MIB, PROBE, blob, error_of, name_of, same, sha
from waiting import wait_until
from workers import worker_of

SIZE = 3 * MIB + 333
CONTENT = blob(SIZE, 21)
PORTAL = b"<html><body>Please log in.</body></html>\n" * 4000
PARTS = (b"\r\n--x\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 0-9/%d\r\n\r\n" % SIZE + b"0123456789" + b"\r\n--x--\r\n")
HTML = {"Content-Type": "text/html; charset=utf-8"}
LATE = 1 << 20

# In place of the bytes from LATE on; what was read before is of the right ones.
OTHER = {
    "no place": dict(content_range="bytes */*"),
    "no place, of the right size": dict(content_range=f"bytes */{SIZE}"),
    "another range": dict(content_range=f"bytes 64-{64 * KIB}/{SIZE}"),
    "a range of another size": dict(content_range=f"bytes {LATE}-{SIZE - 1}/{SIZE + 1}"),
    "another unit": dict(content_range=f"items {LATE}-{SIZE - 1}/{SIZE}"),
    "a portal": dict(status=200, headers=HTML, body=PORTAL),
    "a portal with the image's etag": dict(status=200, headers={**HTML, "ETag": '"it"'}, body=PORTAL),
    "a portal without a length": dict(status=200, headers=HTML, body=PORTAL, length="none"),
    "a portal of the right length": dict(status=200, headers=HTML, body=(PORTAL * (SIZE // len(PORTAL) + 1))[:SIZE]),
    "a portal, chunked": dict(status=200, headers=HTML, body=PORTAL, length="chunked"),
    "a portal behind a redirect": dict(status=203, headers=HTML, body=PORTAL),
    "several parts": dict(status=206, headers={"Content-Type": "multipart/byteranges; boundary=x", "ETag": '"it"'}, body=PARTS),
    "gzip": dict(headers={"Content-Encoding": "gzip"}, content=gzip.compress(CONTENT)),
    "gzip of all": dict(status=200, headers={"Content-Encoding": "gzip", "ETag": '"it"'}, body=gzip.compress(CONTENT)),
    "gzip without a length": dict(status=200, headers={"Content-Encoding": "gzip", "ETag": '"it"'}, body=gzip.compress(CONTENT), length="none"),
    "another digest": dict(content=blob(SIZE, 22), headers={"X-Glance-Cache-Hash": "sha256=" + sha(blob(SIZE, 22))}),
}


def late(request):
    return request.range is None or request.range[0] >= LATE // 2


def read_until_error(cache, name):
    """What comes before an error is right. Returns the errno; 0: all of it came."""
    with open(cache.image(name), "rb", buffering=0) as f:
        offset = 0
        while True:
            try:
                part = os.pread(f.fileno(), 64 * KIB, offset)
            except OSError as e:
                return e.errno
            same(part, CONTENT[offset:offset + 64 * KIB])
            offset += len(part)
            if not part:
                assert offset == SIZE
                return 0


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "through"])
@pytest.mark.parametrize("what", OTHER)
def test_something_else(cache, origin, what, kept):
    digest = {"X-Glance-Cache-Hash": "sha256=" + sha(CONTENT)} if what == "another digest" else {}
    origin.put("image", CONTENT, etag='"it"', headers=digest)
    odd = origin.fault("image", method="GET", when=late, **OTHER[what])
    cache.configure(origin.config(retries=2, retry_delay=10, stall_timeout=1, stall_rate=1), fetch_policy="demand", read_ahead_max="0",
                    image_cache_max_size="10G" if kept else "1M").mount()
    code = read_until_error(cache, "image")
    assert odd.taken and code in (errno.EIO, errno.ESTALE, errno.EACCES), name_of(code)
    assert not cache.has("cached", "image")
    origin.clear_faults()
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the image to be readable again")
    same(cache.read("image"), CONTENT)
    if kept:
        cache.wait_cached("image")
        same(cache.stored("image"), CONTENT)


@pytest.mark.parametrize("beyond", [1, 100000])
def test_bytes_beyond_the_range(cache, origin, beyond):
    """More than was asked for, and than the head says: they are not looked at."""
    origin.put("image", CONTENT)

    def more(request):
        if late(request) and request.range:
            odd.content = CONTENT[request.range[0]:request.range[1] + 1] + b"x" * beyond
        return late(request)
    odd = origin.fault("image", method="GET", when=more, length="none", drip=(64 * KIB, 0.01))
    cache.configure(origin.config(retries=1, retry_delay=10), fetch_policy="demand", read_ahead_max="0", streams=1).mount()
    worker = worker_of(cache)
    read_until_error(cache, "image")
    assert odd.taken and worker_of(cache) == worker
    origin.clear_faults()
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the image to be readable")
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    same(cache.stored("image"), CONTENT)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "through"])
def test_a_digest_that_is_told_later(cache, origin, kept):
    """Of one version: that is no other one."""
    origin.put("image", CONTENT)
    origin.fault("image", method="GET", when=late, headers={"X-Glance-Cache-Hash": "sha256=" + sha(CONTENT)})
    cache.configure(origin, fetch_policy="demand", read_ahead_max="0", image_cache_max_size="10G" if kept else "1M").mount()
    assert read_until_error(cache, "image") == 0
    if kept:
        cache.wait_cached("image")


def test_why_is_told_before_it_is_written_down(cache, origin):
    """Somebody else holds the catalogue, and nobody has the image open any more: why its read failed is asked for at once."""
    total = 1 << 61
    origin.put("image", CONTENT)
    origin.fault("image", content_range=f"bytes 0-{PROBE - 1}/{total}")
    cache.configure(origin.config(retries=0), image_cache_max_size="64M").mount()
    assert os.stat(cache.image("image")).st_size == total
    other = sqlite3.connect(os.path.join(cache.dir, ".catalogue.db"), isolation_level=None)
    try:
        other.execute("PRAGMA busy_timeout = 20000")
        other.execute("BEGIN IMMEDIATE")
        assert error_of(cache.read, "image", 4096) == errno.EFBIG
        assert other.execute("SELECT error FROM images WHERE name = 'image'").fetchall() == [("",)]
        wait_until(lambda: cache.status()["counters"]["open_handles"] == 0, what="the last close")
        assert "too large" in cache.error("image")
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert "too large" in cache.error("image")
