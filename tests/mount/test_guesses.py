# SPDX-License-Identifier: Apache-2.0
"""Which digest an image is judged by: what is published, what a header says, what an etag looks like. And what has none to be judged by."""
import errno
import hashlib
import os

import pytest

from harness import MIB, blob, error_of, pread, same, sha
from waiting import wait_until

CONTENT = blob(12 * MIB + 77, 71)
NO_MD5 = f'"{hashlib.md5(b"the parts, or the cipher").hexdigest()}"'


def s3(origin, **more):
    return {"type": "s3", "endpoint": f"http://127.0.0.1:{origin.port}", "bucket": "img", "addressing": "path", **more}


def digest_shown(cache, name="image"):
    try:
        return cache.xattr(name, "checksum")
    except OSError as e:
        assert e.errno == errno.ENODATA
        return None


@pytest.mark.parametrize("checksums", ["none", "SHA256SUMS"])
def test_an_etag_that_is_no_md5(cache, origin, checksums):
    """It is read to its end, kept, and told once; and it stays so when the backend is asked again."""
    origin.put("image", CONTENT, etag=NO_MD5)
    cache.configure(s3(origin, checksums=checksums), revalidate="on-open").mount()
    for _ in range(2):
        same(cache.read("image"), CONTENT)
        cache.wait_cached("image")
        assert digest_shown(cache) is None
    cache.restart()
    same(cache.read("image"), CONTENT)
    assert cache.ls("cached") == ["image"] and cache.ls("invalid") == []
    assert cache.logged().count("is not verified by that") == 1
    assert origin.sent("image") < len(CONTENT) + MIB  # fetched once


def test_an_etag_that_is_an_md5(cache, origin):
    origin.put("image", CONTENT, etag=f'"{hashlib.md5(CONTENT).hexdigest()}"')
    cache.configure(s3(origin)).mount()
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    assert digest_shown(cache) == hashlib.md5(CONTENT).hexdigest()


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_a_published_digest_alone_decides(cache, origin, right):
    etag = NO_MD5 if right else f'"{hashlib.md5(CONTENT).hexdigest()}"'
    origin.put("image", CONTENT, etag=etag)
    origin.put_sums("SHA256SUMS", {"image": CONTENT if right else CONTENT[:-1]})
    cache.configure(s3(origin, checksums="SHA256SUMS")).mount()
    if right:
        same(cache.read("image"), CONTENT)
        cache.wait_cached("image")
        assert cache.xattr("image", "os_hash_value") == sha(CONTENT)
    else:
        assert error_of(cache.read, "image") == errno.EIO
        cache.wait_has("invalid", "image")


def test_a_header_does_not_replace_what_is_published(cache, origin):
    """The row comes from a listing, the published digest is known before the first answer for bytes."""
    origin.put("image", CONTENT)
    origin.put_sums("SHA256SUMS", {"image": CONTENT})
    hold = origin.fault("image", hold_head=True, headers={"Content-MD5": hashlib.md5(CONTENT).hexdigest()}, times=1)
    origin.fault("image", headers={"Content-MD5": hashlib.md5(CONTENT).hexdigest()})
    cache.configure(origin.config(checksums="SHA256SUMS")).mount()
    assert cache.ls("images") == ["image"]
    reader = cache.spawn("cat", cache.image("image"), stdout=-3)

    def settled():
        try:
            return cache.xattr("image", "os_hash_value")
        except OSError:
            return None
    wait_until(lambda: hold.waiting and settled(), what="the published digest")
    hold.release()
    assert reader.wait(60) == 0
    cache.wait_cached("image")
    assert settled() == sha(CONTENT)


def test_broken_off_behind_the_hash(cache, origin):
    """Neither etag nor date, and each answer tells a digest of another kind than the published one that the hash follows."""
    origin.put("image", CONTENT, etag="", modified="")
    origin.put_sums("SHA256SUMS", {"image": CONTENT})
    header = {"Content-MD5": hashlib.md5(CONTENT).hexdigest()}
    held = origin.fault("image", headers=header, hold_from=8 * MIB, times=4)
    origin.fault("image", headers=header)
    cache.configure(origin.config(checksums="SHA256SUMS", retry_delay=10, stall_timeout=600), fetch_whole_after="64K").mount()
    assert cache.ls("images") == ["image"]
    reader = cache.spawn("cat", cache.image("image"), stdout=-3)
    wait_until(lambda: held.waiting, what="the fetch to be held back")
    origin.stop()
    origin.clear_faults()
    origin.fault("image", headers=header)
    origin.start()
    assert reader.wait(60) == 0
    cache.wait_cached("image")
    assert cache.ls("invalid") == []


def test_an_empty_image_that_could_not_be_published(cache, origin):
    """Nobody reads it, so that opening it must be enough to have that tried again."""
    origin.put("empty", b"")
    cache.configure(origin).mount()
    place = os.path.join(cache.dir, "empty")
    os.mkdir(place)
    open(os.path.join(place, "in the way"), "w").close()
    assert cache.read("empty") == b""
    wait_until(lambda: "could not be moved into place" in cache.logged(), what="publishing to fail")
    os.unlink(os.path.join(place, "in the way"))
    os.rmdir(place)
    assert cache.read("empty") == b""
    cache.wait_cached("empty")
