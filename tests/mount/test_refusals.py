# SPDX-License-Identifier: Apache-2.0
"""What is asked for on top and a server refuses: asked once more without, remembered, said once and shown in .status."""
import errno
import hashlib
import json

import pytest

from clouds import XML, Store, fault, listing
from harness import MIB, blob, error_of, same

CONTENT = blob(3 * MIB, 31)


@pytest.fixture
def store():
    store = Store()
    yield store
    store.close()


def refused(cache):
    return cache.status()["backend"]["endpoints"][0]["refuses"]


@pytest.mark.parametrize("status", [400, 501])
def test_a_header_of_another_kind_of_s3(cache, store, status):
    store.objects = {"/b/one": CONTENT, "/b/two": CONTENT[:MIB]}
    store.rules = [lambda r: (status, fault("InvalidArgument"), XML) if "x-amz-checksum-mode" in r.headers else None]
    cache.configure(store.s3(retries=0)).mount()
    same(cache.read("one"), CONTENT)
    same(cache.read("two"), CONTENT[:MIB])
    assert len([r for r in store.log if "x-amz-checksum-mode" in r.headers]) == 1
    assert cache.logged().count("x-amz-checksum-mode") == 1
    assert refused(cache) == ["x-amz-checksum-mode"]


def test_what_is_refused_for_another_reason(cache, store):
    """The header is no reason when it is refused without it as well."""
    store.objects = {"/b/one": CONTENT}
    store.rules = [lambda r: (400, fault("InvalidRequest"), XML) if r.key == "/b/odd" else None]
    cache.configure(store.s3(retries=0)).mount()
    assert error_of(cache.read, "odd") != 0
    same(cache.read("one"), CONTENT)
    assert "x-amz-checksum-mode" in [h.lower() for h in store.asked(key="/b/one")[0].headers]
    assert refused(cache) == []


@pytest.mark.parametrize("kind", ["s3", "http", "swift"])
def test_conditions(cache, store, kind):
    """Parts are had all the same, and not in one stream."""
    store.objects = {"/b/one": CONTENT}
    store.rules = [lambda r: (400, b"", {}) if "If-Match" in r.headers or "If-Range" in r.headers else None]
    config = {"s3": store.s3(), "http": {"type": "http", "url": f"http://127.0.0.1:{store.port}/b/{{id}}", "checksums": "none"},
              "swift": {"type": "swift", "endpoint": f"http://127.0.0.1:{store.port}", "container": "b", "checksums": "none"}}[kind]
    cache.configure({**config, "retries": 0}).mount()
    same(cache.read("one"), CONTENT)
    assert all("Range" in r.headers for r in store.asked(key="/b/one"))
    assert refused(cache) == ["If-Match and If-Range"]


KEYS = ["a b", "c+d", "e%20f", "g&h", "käse", "vm.raw"]
LISTERS = {
    "without encoding-type": lambda q: "encoding-type" in q,
    "V1 only": lambda q: "list-type" in q,
    "pages of its own": lambda q: "max-keys" in q,
    "neither": lambda q: "list-type" in q or "encoding-type" in q,
}


@pytest.mark.parametrize("kind", LISTERS)
def test_a_listing_of_s3(cache, store, kind):
    def answer(r):
        if r.key != "/b":
            return None
        if LISTERS[kind](r.query):
            return 400, fault("NotImplemented"), XML
        return 200, listing(KEYS, encoded="encoding-type" in r.query), XML

    store.rules = [answer]
    cache.configure(store.s3(retries=0)).mount()
    assert cache.ls("images") == sorted(KEYS)
    assert refused(cache) != []
    before = len(store.log)
    cache.restart()
    assert cache.ls("images") == sorted(KEYS)
    assert len(store.log) <= 2 * before


@pytest.mark.parametrize("status", [400, 412])
def test_a_limit_of_pages(cache, store, status):
    names = [f"vm{n:04}" for n in range(2500)]

    def answer(r):
        if r.key != "/b":
            return None
        limit = int(r.query.get("limit", 700))
        if limit > 700:
            return status, b"Maximum limit is 700"
        after = [n for n in names if n > r.query.get("marker", "")][:limit]
        return (200 if after else 204), json.dumps([{"name": n, "bytes": 5, "hash": hashlib.md5(b"12345").hexdigest()} for n in after]
                                                   ).encode() if after else b""

    store.rules = [answer]
    cache.configure({"type": "swift", "endpoint": f"http://127.0.0.1:{store.port}", "container": "b", "retries": 0}).mount()
    assert cache.ls("images") == names
    assert refused(cache) == ["a limit of pages"]
    assert len([r for r in store.log if "limit" in r.query]) == 1


def test_a_listing_that_is_refused_whatever_is_asked(cache, store):
    store.rules = [lambda r: (400, fault("InvalidRequest"), XML) if r.key == "/b" else None]
    cache.configure(store.s3(retries=0)).mount()
    assert error_of(cache.ls, "images") == errno.EIO
    assert refused(cache) == []
    assert len(store.log) < 16
