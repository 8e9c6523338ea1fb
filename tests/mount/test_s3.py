# SPDX-License-Identifier: Apache-2.0
"""S3 as services speak it."""
import pytest

from clouds import XML, Store, listing

ODD = ["a\x01b", "a b", "c+d", "e%20f", "g%2Bh", "käse", "vm.raw"]
SHOWN = sorted(ODD)


@pytest.fixture
def store():
    store = Store()
    yield store
    store.close()


@pytest.mark.parametrize("late", [False, True], ids=["said before the keys", "said behind them"])
def test_keys_of_any_bytes(cache, store, late):
    store.rules = [lambda r: (200, listing(ODD, True, late), XML) if r.key == "/b" and r.query.get("encoding-type") == "url" else None]
    store.objects = {f"/b/{key}": b"12345" for key in ODD}
    cache.configure(store.s3()).mount()
    assert cache.ls("images") == [n for n in SHOWN if "\x01" not in n]
    for name in cache.ls("images"):
        assert cache.read(name) == b"12345"


def test_a_service_that_does_not_encode(cache, store):
    keys = ODD[1:]
    store.rules = [lambda r: (200, listing(keys), XML) if r.key == "/b" else None]
    cache.configure(store.s3()).mount()
    assert cache.ls("images") == sorted(keys)


@pytest.mark.parametrize("marker", ["NextMarker", "none"])
@pytest.mark.parametrize("encoded", [False, True], ids=["", "encoded"])
def test_a_listing_of_version_1(cache, store, marker, encoded):
    """A service that takes list-type=2 for nothing: pages go on behind a key, the next marker or else the last key or folder."""
    keys = sorted(f"vm {n:02}+" for n in range(25))

    def answer(r):
        if r.key != "/b":
            return None
        after = [k for k in keys if k > r.query.get("marker", "")]
        if not after:
            return 200, listing([], encoded), XML
        page, rest = after[:10], after[10:]
        told = page[-1].replace("+", "%2B").replace(" ", "+") if encoded else page[-1]
        more = (f"<NextMarker>{told}</NextMarker>" if marker == "NextMarker" else "-") if rest else ""
        return 200, listing(page, encoded, more=more), XML

    store.rules = [answer]
    cache.configure(store.s3()).mount()
    assert cache.ls("images") == keys
    assert len(store.log) == 3
