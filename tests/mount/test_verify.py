# SPDX-License-Identifier: Apache-2.0
"""Images with a published digest: no reader reaches the end of a wrong one, and what was wrong can be found out."""
import base64
import errno
import hashlib
import os
import signal
import subprocess

import pytest

from harness import KIB, MIB, blob, drop_page_cache, error_of, name_of, same, sha
from waiting import wait_until
from workers import wait_served, worker_of

SIZE = 3 * MIB + 77
RIGHT, WRONG = blob(SIZE, 61), blob(SIZE, 61)[:-5] + b"WRONG"


def read_to_the_end(path):
    """(bytes that came, errno that ended them, 0 at the end of the file)."""
    fd, got = os.open(path, os.O_RDONLY), 0
    try:
        while part := os.pread(fd, 64 * KIB, got):
            got += len(part)
        return got, 0
    except OSError as e:
        return got, e.errno
    finally:
        os.close(fd)


@pytest.mark.parametrize("document", ["SHA256SUMS", "SHA512SUMS"])
def test_right(cache, nginx, document):
    algorithm = document[:-4].lower()
    nginx.put("image", RIGHT)
    value = hashlib.new(algorithm, RIGHT).hexdigest()
    nginx.put(document, f"{'0' * len(value)}  other\n# a comment\n{value} *image\n".encode())
    cache.configure(nginx).mount()
    same(cache.read("image"), RIGHT)
    cache.wait_cached("image")
    assert cache.xattr("image", "os_hash_algo") == algorithm
    assert cache.xattr("image", "os_hash_value") == value
    assert nginx.sent("image") == SIZE
    cache.restart()
    assert cache.xattr("image", "os_hash_value") == value
    same(cache.read("image"), RIGHT)


def test_the_strongest_digest_counts(cache, origin):
    origin.put("image", RIGHT)
    origin.put_sums("SHA256SUMS", {"image": RIGHT})
    origin.put_sums("SHA512SUMS", {"image": RIGHT})
    cache.configure(origin).mount()
    same(cache.read("image"), RIGHT)
    cache.wait_cached("image")
    assert cache.xattr("image", "os_hash_algo") == "sha512"


@pytest.mark.parametrize("header,value", [
    ("X-Glance-Cache-Hash", lambda c: "sha256=" + sha(c)), ("Content-MD5", lambda c: hashlib.md5(c).hexdigest()),
    ("Repr-Digest", lambda c: "sha-256=:" + base64.b64encode(hashlib.sha256(c).digest()).decode() + ":")])
@pytest.mark.parametrize("right", [True, False])
def test_a_header_of_a_part_tells(cache, origin, header, value, right):
    """Of an image that only the listing told of, asked for somewhere in its middle first: the digest of the whole is in every answer."""
    origin.put("image", RIGHT if right else WRONG, headers={header: value(RIGHT)})
    cache.configure(origin, list_ttl=600, fetch_policy="demand", read_ahead_max=0).mount()
    assert cache.ls("images") == ["image"]
    same(cache.read("image", 4 * KIB, MIB), RIGHT[MIB:MIB + 4 * KIB])
    assert origin.requests("image")[0].range[0] > 0
    if right:
        same(cache.read("image"), RIGHT)
        cache.wait_cached("image")
        wait_until(lambda: "verified by " in cache.logged(), what="that to be told")
        return
    got, code = read_to_the_end(cache.image("image"))
    assert got < SIZE and code == errno.EIO, f"{got} of {SIZE} bytes, {name_of(code)}"
    assert cache.ls("cached") == []


def test_the_md5_of_the_last_part_is_not_that_of_the_image(cache, origin):
    """In base64, it is of the body that it comes with."""
    origin.put("image", RIGHT)
    last = RIGHT[2 * MIB:]
    fault = origin.fault("image", when=lambda r: r.range is not None and r.range[0] >= 2 * MIB, headers={
        "Content-MD5": base64.b64encode(hashlib.md5(last).digest()).decode()})
    cache.configure(origin, list_ttl=600, fetch_policy="demand", read_ahead_max=0).mount()
    assert cache.ls("images") == ["image"]
    same(cache.read("image", None, 2 * MIB), last)
    assert fault.taken > 0
    same(cache.read("image"), RIGHT)
    cache.wait_cached("image")


def test_another_document(cache, origin):
    origin.put("image", RIGHT)
    origin.put("CHECKSUM.SHA256", f"SHA256 (image) = {sha(RIGHT)}\n".encode())
    cache.configure(origin.config(checksums="CHECKSUM.SHA256")).mount()
    same(cache.read("image"), RIGHT)
    cache.wait_cached("image")
    assert cache.xattr("image", "os_hash_value") == sha(RIGHT)


def test_none_are_asked_for(cache, origin):
    origin.put("image", RIGHT)
    origin.put_sums("SHA256SUMS", {"image": WRONG})
    cache.configure(origin.config(checksums="none")).mount()
    same(cache.read("image"), RIGHT)
    cache.wait_cached("image")
    assert origin.requests("SHA256SUMS") == []


@pytest.mark.parametrize("wrong", ["at the end", "at the start", "throughout"])
def test_wrong(cache, origin, wrong):
    served = {"at the end": WRONG, "at the start": b"WRONG" + RIGHT[5:], "throughout": blob(SIZE, 62)}[wrong]
    origin.put("image", served)
    origin.put_sums("SHA256SUMS", {"image": RIGHT})
    cache.configure(origin.config(retry_delay=10)).mount()
    got, code = read_to_the_end(cache.image("image"))
    assert code == errno.EIO, name_of(code)
    assert got < SIZE
    cache.wait_has("invalid", "image")
    entry = str(cache.entry("invalid", "image"))
    assert "sha256" in entry.lower() or "digest" in entry or "checksum" in entry, entry
    assert "image" not in cache.ls("cached")
    assert error_of(cache.read, "image") == errno.EIO
    assert cache.error("image")
    assert origin.sent("image") <= 8 * SIZE, "fetched again and again"
    assert "image" in cache.logged()
    done = cache.shell(f"cp images/image {cache.root}/copy", check=False)
    assert done.returncode != 0
    # the publisher mends it
    origin.put("image", RIGHT)
    os.unlink(cache.path("invalid", "image"))
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the right image to be readable")
    same(cache.read("image"), RIGHT)
    cache.wait_cached("image")
    assert cache.ls("invalid") == []


def test_wrong_survives_a_restart(cache, origin):
    origin.put("image", WRONG)
    origin.put_sums("SHA256SUMS", {"image": RIGHT})
    cache.configure(origin.config(retry_delay=10)).mount()
    assert read_to_the_end(cache.image("image"))[1] == errno.EIO
    cache.wait_has("invalid", "image")
    before = cache.entry("invalid", "image")
    cache.restart()
    assert cache.entry("invalid", "image") == before
    assert cache.ls("cached") == []


def test_wrong_once(cache, origin):
    """One fresh try: a fault of the way there is not held against the image."""
    origin.put_sums("SHA256SUMS", {"image": RIGHT})
    origin.put("image", WRONG, etag='"same"')
    cache.configure(origin.config(retry_delay=10), streams=1)
    swapped = []

    def swap(request):
        """The second time the last byte is asked for, the content is right."""
        last = request.range is None or request.range[1] is None or request.range[1] >= SIZE - 1
        swapped.append(last)
        if swapped.count(True) == 2:
            origin.put("image", RIGHT, etag='"same"')
        return False
    origin.fault("image", when=swap)
    cache.mount()
    read_to_the_end(cache.image("image"))
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the fresh try")
    same(cache.read("image"), RIGHT)
    cache.wait_cached("image")


def test_sixteen_readers_of_a_wrong_image(cache, origin):
    origin.put("image", WRONG)
    origin.put_sums("SHA256SUMS", {"image": RIGHT})
    cache.configure(origin.config(retry_delay=10)).mount()
    readers = [cache.spawn("cat", cache.image("image"), stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL) for _ in range(16)]
    assert all(r.wait() != 0 for r in readers)
    assert origin.sent("image") <= 8 * SIZE


def test_documents_that_cannot_be_had(cache, origin):
    """Without its document an image is served unverified, as from a server that has none."""
    origin.put("image", RIGHT)
    origin.fault("SHA256SUMS", status=403)
    origin.fault("SHA512SUMS", status=404)
    cache.configure(origin).mount()
    same(cache.read("image"), RIGHT)
    cache.wait_cached("image")


def test_a_huge_document(cache, origin):
    lines = [f"{i:064x}  other-{i}\n" for i in range(50000)]
    origin.put("image", RIGHT)
    origin.put("SHA256SUMS", ("".join(lines) + f"{sha(RIGHT)}  image\n").encode())
    cache.configure(origin).mount()
    same(cache.read("image"), RIGHT)
    cache.wait_cached("image")
    assert cache.xattr("image", "os_hash_value") == sha(RIGHT)


def test_resumed_and_verified(cache, origin):
    """The digest covers what was here before the restart as well."""
    origin.put("image", WRONG)
    origin.put_sums("SHA256SUMS", {"image": RIGHT})
    hold = origin.fault("image", hold_from=2 * MIB)
    cache.configure(origin.config(retry_delay=10, stall_timeout=600), fetch_whole_after="64K").mount()
    cache.read("image", MIB)
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    cache.unmount()
    origin.clear_faults()
    cache.mount()
    got, code = read_to_the_end(cache.image("image"))
    assert code == errno.EIO and got < SIZE
    origin.put("image", RIGHT)
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the right image to be readable")
    same(cache.read("image"), RIGHT)


@pytest.mark.parametrize("then", ["at once", "a worker dies", "its bytes are dropped"])
@pytest.mark.parametrize("peek", [4 * KIB, 512 * KIB])
def test_a_peek_at_the_end(cache, origin, peek, then):
    """The end is shown to who only looks at it; who reads all the rest does not find it in the page cache, but waits for the digest."""
    content = blob(24 * MIB + 5, 62)
    wrong = content[:-5] + b"WRONG"
    size = len(wrong)
    origin.put("image", wrong)
    origin.put_sums("SHA256SUMS", {"image": content})
    cache.configure(origin.config(retry_delay=10)).mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(os.pread(fd, peek, size - peek), wrong[-peek:])
    if then == "a worker dies":
        os.kill(worker_of(cache), signal.SIGKILL)
        wait_served(cache)
    elif then == "its bytes are dropped":
        os.unlink(cache.path("incomplete", "image"))
    got, code = 0, 0
    try:
        while part := os.pread(fd, 64 * KIB, got):
            same(part, wrong[got:got + len(part)])
            got += len(part)
    except OSError as e:
        code = e.errno
    os.close(fd)
    assert code == errno.EIO and got < size
    assert cache.ls("cached") == []


@pytest.mark.parametrize("who", ["a reader", "the queue"])
def test_a_publishing_that_fails_once(cache, origin, who):
    """It is verified again, and in its place, when somebody comes back to it; nothing of the failed try is in the way."""
    content = origin.put("image", blob(3 * MIB, 44))
    origin.put_sums("SHA256SUMS", {"image": content})
    cache.configure(origin, prefetch_retry_delay=1, prefetch_tries=1 if who == "a reader" else 30).mount()
    in_its_way = os.path.join(cache.dir, "image")
    os.mkdir(in_its_way)
    cache.touch("queued", "image")
    with open(cache.image("image"), "rb"):  # it stays in memory
        wait_until(lambda: cache.logged().count("could not be moved") >= (1 if who == "a reader" else 3), what="the failure")
        same(cache.read("image"), content)
        os.rmdir(in_its_way)

        def come_back():
            if who == "a reader":
                drop_page_cache()
                same(cache.read("image"), content)
            return cache.has("cached", "image")
        wait_until(come_back, what="the image to be cached")
    same(cache.stored("image"), content)
    assert cache.ls("queued") == []
