# SPDX-License-Identifier: Apache-2.0
"""Files of digests beside the images that are long: the end of an image waits for its own line, and what did not change is not read again."""
import errno
import threading

import pytest

from harness import MIB, blob, error_of, same, sha
from waiting import wait_until

SUMS = "SHA256SUMS"


def sums(entries, filler=0):
    """The file for ENTRIES, then FILLER lines of other images."""
    lines = [f"{sha(content)}  {name}\n" for name, content in entries.items()]
    lines += [f"{i:064x}  other-{i}\n" for i in range(filler)]
    return "".join(lines).encode()


def reader(cache, name, result):
    def read():
        result.append(cache.read(name))
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def test_the_end_of_an_image_waits_for_its_line_only(cache, origin):
    first, last = origin.put("first", blob(2 * MIB, 1)), origin.put("last", blob(2 * MIB, 2))
    text = sums({"first": first}, filler=20000) + sums({"last": last})
    origin.put(SUMS, text)
    held = origin.fault(SUMS, hold_from=len(text) // 2)
    cache.configure(origin, list_ttl=3600).mount()
    got_first, got_last = [], []
    try:
        reader(cache, "first", got_first)
        wait_until(lambda: got_first, what="the image whose line came")
        same(got_first[0], first)
        cache.wait_cached("first")
        wait_until(lambda: held.waiting == 1, what="the rest of the file to be held back")
        waiting = reader(cache, "last", got_last)
        wait_until(lambda: cache.bytes_cached("last") == len(last), what="all of the other image")
        assert not got_last
    finally:
        held.release()
    waiting.join(60)
    same(got_last[0], last)
    cache.wait_cached("last")


@pytest.mark.parametrize("validator", ["etag", "date"])
def test_a_file_that_did_not_change_is_not_sent_again(cache, origin, validator):
    images = {f"i{i}": origin.put(f"i{i}", blob(MIB, i)) for i in range(3)}
    origin.put(SUMS, sums(images))
    said = {"Date": "Thu, 02 Jan 2025 00:00:00 GMT"}
    origin.fault(SUMS, headers=said, **({"etag": ""} if validator == "date" else {}))
    cache.configure(origin, list_ttl=0).mount()
    for name, content in images.items():
        same(cache.read(name), content)
        cache.wait_cached(name)
        assert cache.xattr(name, "os_hash_value") == sha(content)
    asked = origin.requests(SUMS)
    assert [r.status for r in asked] == [200, 304, 304]
    assert sum(r.sent for r in asked) == len(sums(images))


def test_a_file_changed_within_the_second_of_its_date_is_read_again(cache, origin):
    images = {f"i{i}": origin.put(f"i{i}", blob(MIB, i)) for i in range(2)}
    said = {"Date": "Wed, 01 Jan 2025 00:00:01 GMT"}
    origin.put(SUMS, sums({"i0": images["i0"]}))
    origin.fault(SUMS, headers=said, etag="")
    cache.configure(origin, list_ttl=0).mount()
    same(cache.read("i0"), images["i0"])
    cache.wait_cached("i0")
    origin.put(SUMS, sums({"i0": images["i0"], "i1": b"something else"}))
    assert error_of(cache.read, "i1") == errno.EIO


def test_a_file_that_changed_is_taken(cache, origin):
    images = {f"i{i}": origin.put(f"i{i}", blob(MIB, i)) for i in range(3)}
    origin.put(SUMS, sums({"i0": images["i0"], "i2": b"something else"}))
    cache.configure(origin, list_ttl=0).mount()
    same(cache.read("i0"), images["i0"])
    cache.wait_cached("i0")
    origin.put(SUMS, sums({"i0": images["i0"], "i1": b"something else"}))
    assert error_of(cache.read, "i1") == errno.EIO
    same(cache.read("i2"), images["i2"])  # its line is gone
    cache.wait_cached("i2")
    assert [r.status for r in origin.requests(SUMS)][:2] == [200, 200]
