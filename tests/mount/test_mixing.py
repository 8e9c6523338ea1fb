# SPDX-License-Identifier: Apache-2.0
"""Nobody gets bytes of two versions: what the answers say of theirs decides, and where they say nothing, the bytes themselves."""
import errno
import os
import signal
import threading

import pytest

from harness import KIB, MIB, blob, error_of, name_of, pread, same, sha
from origin import Origin
from waiting import wait_until
from workers import is_stopped, wait_served, worker_of

SIZE = 24 * MIB + 100
OLD, NEW = blob(SIZE, 61), blob(SIZE, 62)
BARE = dict(etag="", modified="")
BLOCK = 64 * KIB


@pytest.fixture
def two(origin):
    """Two urls of one image, of which the second may have another version."""
    second = Origin()
    yield origin, second
    second.close()


def after_probe(request):
    return request.range is not None and request.range[0] > 0


def one_version(fd, versions=(OLD, NEW), start=0):
    """Reads to the end; what came is of one version all along, or it ends with an error. Returns what came, and the errno."""
    got, code, offset = bytearray(), 0, start
    while not code:
        try:
            part = os.pread(fd, BLOCK, offset)
        except OSError as e:
            code = e.errno
            break
        if not part:
            break
        got += part
        offset += len(part)
    assert any(v[start:start + len(got)] == got for v in versions), "a mix"
    assert code in (0, errno.EIO, errno.ESTALE), name_of(code)
    return bytes(got), code


def held_reader(cache, origin, hold_from=8 * MIB):
    """A handle that has read the first MiB of OLD, and is held back behind HOLD_FROM."""
    hold = origin.fault("image", hold_from=hold_from)
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(fd, MIB), OLD[:MIB])
    return fd, hold


def readable_again(cache, content):
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the image to be readable again")
    same(cache.read("image"), content)


def digest_of(content):
    return {"X-Glance-Cache-Hash": "sha256=" + sha(content)}


# ---- another endpoint

SAYS = {
    "nothing": (BARE, {}),
    "another etag": ({}, {}),
    "another digest": ({}, True),
    "the same date": (dict(etag=""), {}),
}


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "through"])
@pytest.mark.parametrize("says", SAYS)
def test_another_version_at_another_endpoint(cache, two, kept, says):
    """The first goes in the middle; the second has other bytes of the same size, and a digest is known."""
    first, second = two
    validators, digests = SAYS[says]
    for server, content in zip(two, (OLD, NEW)):
        server.put("image", content, **validators)
        server.put_sums("SHA256SUMS", {"image": OLD})
        server.fault("image", headers=digest_of(content) if digests else {})
    cache.configure(first.config(url=f"{first.url} {second.url}", retries=2, retry_delay=10, checksums="SHA256SUMS"),
                    fetch_policy="demand", image_cache_max_size="10G" if kept else "1M").mount()
    with open(cache.image("image"), "rb", buffering=0) as f:
        same(pread(f.fileno(), MIB), OLD[:MIB])
        first.stop()
        for offset in (20 * MIB, 12 * MIB, 16 * MIB):  # as a guest does it: never to the end
            try:
                same(os.pread(f.fileno(), BLOCK, offset), OLD[offset:offset + BLOCK])
            except OSError as e:
                assert e.errno in (errno.EIO, errno.ESTALE), name_of(e.errno)
        got, code = one_version(f.fileno(), (OLD,))
        assert code and len(got) < SIZE


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "through"])
@pytest.mark.parametrize("says", ["the same etag", "the same digest"])
def test_the_same_version_at_another_endpoint(cache, two, kept, says):
    first, second = two
    for number, server in enumerate(two):
        server.put("image", OLD, **({} if says == "the same etag" else dict(etag=f'"node-{number}"')))
        server.fault("image", headers=digest_of(OLD) if says == "the same digest" else {})
    cache.configure(first.config(url=f"{first.url} {second.url}", retries=2, retry_delay=10),
                    fetch_policy="demand", image_cache_max_size="10G" if kept else "1M").mount()
    with open(cache.image("image"), "rb", buffering=0) as f:
        same(pread(f.fileno(), MIB), OLD[:MIB])
        first.stop()
        same(os.pread(f.fileno(), BLOCK, 20 * MIB), OLD[20 * MIB:20 * MIB + BLOCK])
        same(pread(f.fileno()), OLD)


def test_a_mirror_with_etags_of_its_own(cache, two):
    """A reader goes on, as what he got is compared with what the mirror has."""
    first, second = two
    first.put("image", OLD, etag='"a"')
    second.put("image", OLD, etag='"b"')
    cache.configure(first.config(url=f"{first.url} {second.url}", retries=2, retry_delay=10), streams=1,
                    fetch_policy="demand").mount()
    fd, hold = held_reader(cache, first)
    first.stop()
    first.clear_faults()
    same(pread(fd), OLD)
    os.close(fd)
    cache.wait_cached("image")
    same(cache.stored("image"), OLD)
    assert cache.xattr("image", "etag") == '"b"'  # it is what that one had


def test_the_first_endpoint_does_not_come_back(cache, two):
    """The second has another version, and its own etag: the old handle gets an error, a new one all of what the second has."""
    first, second = two
    first.put("image", OLD)
    second.put("image", NEW)
    cache.configure(first.config(url=f"{first.url} {second.url}", retries=2, retry_delay=10), fetch_policy="demand").mount()
    with open(cache.image("image"), "rb", buffering=0) as f:
        same(pread(f.fileno(), MIB), OLD[:MIB])
        first.stop()
        assert one_version(f.fileno(), (OLD,))[1]
        readable_again(cache, NEW)
        assert one_version(f.fileno(), (OLD,))[1]
    cache.wait_cached("image")
    same(cache.stored("image"), NEW)


def test_an_endpoint_with_another_version_is_not_said_to_fail(cache, two):
    first, second = two
    first.put("image", OLD)
    second.put("image", NEW)
    cache.configure(first.config(url=f"{first.url} {second.url}", retries=3, retry_delay=10)).mount()
    fault = first.fault("image", when=after_probe, drop_after=100 * KIB, times=1)
    same(cache.read("image"), OLD)
    assert fault.taken
    assert [e["failures_in_a_row"] for e in cache.status()["backend"]["endpoints"]] == [0, 0]


# ---- one endpoint that says nothing

@pytest.mark.parametrize("streams", [1, 4])
@pytest.mark.parametrize("checksums", ["none", "SHA256SUMS"])
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_changed_where_nothing_tells(cache, origin, streams, checksums, ranges):
    """Neither etag nor date: a fetch that breaks off is not gone on with in another version."""
    origin.put("image", OLD, **BARE)
    origin.put_sums("SHA256SUMS", {"image": OLD})
    cache.configure(origin.config(retries=3, retry_delay=10, stall_timeout=600, checksums=checksums), streams=streams).mount()
    if not ranges:
        origin.fault("image", no_range=True, hold_from=8 * MIB)
    fd, hold = held_reader(cache, origin)
    wait_until(lambda: any(f.waiting for f in origin.faults), what="the fetch to be held back")
    origin.stop()
    origin.clear_faults()
    origin.put("image", NEW, **BARE)
    origin.put_sums("SHA256SUMS", {"image": NEW})
    origin.start()
    assert one_version(fd)[1]
    for offset in (2 * MIB, 20 * MIB):  # nor after the error
        try:
            same(os.pread(fd, BLOCK, offset), OLD[offset:offset + BLOCK])
        except OSError:
            pass
    os.close(fd)
    readable_again(cache, NEW)
    cache.wait_cached("image")
    same(cache.stored("image"), NEW)


def test_broken_off_where_nothing_tells(cache, origin):
    """The same bytes: what came before is compared, and the reader notices nothing."""
    origin.put("image", OLD, **BARE)
    faults = [origin.fault("image", when=lambda r: r.range is None, drop_after=n * MIB + 12345, times=1) for n in (5, 9)]
    cache.configure(origin.config(retries=3, retry_delay=10)).mount()
    same(cache.read("image"), OLD)
    assert all(f.taken == 1 for f in faults)
    cache.wait_cached("image")
    same(cache.stored("image"), OLD)


def test_answers_that_come_at_once(cache, origin):
    """The first has the image come as one stream: nothing is taken of the others, which lie behind holes, and the reader notices nothing."""
    origin.put("image", OLD, **BARE)
    hold = origin.fault("image", method="GET", hold_head=True)
    cache.configure(origin.config(retry_delay=10, stall_timeout=600), fetch_whole_after="64K").mount()
    assert cache.ls("images") == ["image"]
    reader = cache.spawn("cat", cache.image("image"), stdout=-1)
    wait_until(lambda: hold.waiting > 2, what="several requests to be held back")
    asked, worker = origin.requests("image", "GET"), worker_of(cache)
    os.kill(worker, signal.SIGSTOP)
    try:
        wait_until(lambda: is_stopped(worker), what="the worker to be stopped")
        hold.release()
        wait_until(lambda: all(r.sent for r in asked), what="the answers to be sent")
    finally:
        os.kill(worker, signal.SIGCONT)
    same(reader.communicate(timeout=60)[0], OLD)
    cache.wait_cached("image")
    same(cache.stored("image"), OLD)


def test_the_tail_of_another_version(cache, origin):
    """Both begin alike; then it is all of the new one, and so is what the cache keeps."""
    new = OLD[:8 * MIB] + NEW[8 * MIB:]
    origin.put("image", OLD, **BARE)
    cache.configure(origin.config(retries=3, retry_delay=10, stall_timeout=600)).mount()
    fd, hold = held_reader(cache, origin, 4 * MIB + 777)
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    origin.stop()
    origin.clear_faults()
    origin.put("image", new, **BARE)
    origin.start()
    got, code = one_version(fd, (OLD, new))
    os.close(fd)
    assert code == 0 and got == new
    cache.wait_cached("image")
    same(cache.stored("image"), new)


def test_readers_all_over_where_nothing_tells(cache, origin):
    """One stream serves them all: ranges would be of any version."""
    origin.put("image", OLD, **BARE)
    cache.configure(origin, fetch_policy="demand", streams=8).mount()
    with open(cache.image("image"), "rb", buffering=0) as f:
        for offset in (20 * MIB, 3 * MIB, SIZE - 5000, 11 * MIB):
            same(os.pread(f.fileno(), 4096, offset), OLD[offset:offset + 4096])
    assert [r for r in origin.requests("image", "GET") if r.range and r.range[0] > 0] == []
    assert len([r for r in origin.requests("image", "GET") if r.range is None]) == 1


def test_straight_through_where_nothing_tells(cache, origin):
    """As one stream; what it brought is not brought again, as that could be another version."""
    origin.put("image", OLD, **BARE)
    cache.configure(origin.config(retries=2, retry_delay=10), image_cache_max_size="1M").mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    try:
        same(pread(fd), OLD)
        origin.put("image", NEW, **BARE)
        one_version(fd, (OLD,))  # pages of the kernel's, and maybe an error
    finally:
        os.close(fd)
    readable_again(cache, NEW)


@pytest.mark.parametrize("validators", [BARE, {}], ids=["bare", "etag"])
def test_the_stream_ends_with_its_last_reader(cache, origin, validators):
    """It waits for its readers, and not for ever."""
    origin.put("image", OLD, **validators)
    origin.fault("image", no_range=True)
    cache.configure(origin.config(stall_timeout=600), image_cache_max_size="1M").mount()
    same(cache.read("image", MIB), OLD[:MIB])
    origin.settle()
    assert origin.sent("image") < SIZE


def test_opened_again_where_nothing_tells(cache, origin):
    """The kernel keeps no pages of what was passed through, as nobody can say whether they are of the version that is there now."""
    origin.put("image", OLD, **BARE)
    cache.configure(origin, image_cache_max_size="1M").mount()
    same(cache.read("image", 2 * MIB), OLD[:2 * MIB])
    origin.put("image", NEW, **BARE)
    readable_again(cache, NEW)


@pytest.mark.parametrize("how", ["restart", "worker"])
def test_begun_anew_after_a_restart(cache, origin, how):
    """What a fetch that was cut off has left is of no known version."""
    origin.put("image", OLD, **BARE)
    cache.configure(origin.config(stall_timeout=600), list_ttl=0).mount()
    fd, hold = held_reader(cache, origin)
    wait_until(lambda: hold.waiting and cache.bytes_cached("image") > 4 * MIB, what="the fetch to be held back")
    if how == "restart":
        os.close(fd)
        origin.stop()
        origin.clear_faults()
        origin.put("image", NEW, **BARE)
        origin.start()
        cache.restart()
    else:
        origin.stop()
        origin.clear_faults()
        origin.put("image", NEW, **BARE)
        origin.start()
        os.kill(worker_of(cache), signal.SIGKILL)
        wait_served(cache)
        one_version(fd, (OLD,))
        os.close(fd)
    readable_again(cache, NEW)
    cache.wait_cached("image")
    same(cache.stored("image"), NEW)


# ---- one endpoint that says something else each time

@pytest.mark.parametrize("conditions", [True, False], ids=["conditions", "no conditions"])
def test_a_balancer_whose_servers_have_etags_of_their_own(cache, origin, conditions):
    """An error at first, as it looks as if the image changed; then one stream is asked for and read whole."""
    content = origin.put("image", OLD)
    turns = [0]

    def turn(request):
        turns[0] += 1
        origin.blobs["image"].etag = f'"node-{turns[0] % 3}"'
        return False
    origin.fault("image", when=turn)
    if not conditions:
        origin.fault("image", ignore_conditions=True)
    cache.configure(origin.config(retries=2, retry_delay=10), list_ttl=0).mount()
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the image to be readable")
    same(cache.read("image"), content)
    cache.wait_cached("image")


def test_an_answer_without_the_etag_it_had(cache, origin):
    """It may be of any version: no part of it is put beside what is here."""
    origin.put("image", OLD)
    cache.configure(origin.config(retries=2, retry_delay=10), fetch_policy="demand").mount()
    with open(cache.image("image"), "rb", buffering=0) as f:
        same(pread(f.fileno(), MIB), OLD[:MIB])
        same(os.pread(f.fileno(), BLOCK, 16 * MIB), OLD[16 * MIB:16 * MIB + BLOCK])
        origin.put("image", NEW, **BARE)
        origin.fault("image", ignore_conditions=True)
        assert one_version(f.fileno(), (OLD,), 18 * MIB)[1]
    readable_again(cache, NEW)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "through"])
def test_an_answer_with_another_digest(cache, origin, kept):
    """Its etag is the same: what contradicts is not taken, whatever the rest says."""
    origin.put("image", OLD, etag='"x"')
    origin.fault("image", headers=digest_of(OLD))
    cache.configure(origin.config(retries=2, retry_delay=10), fetch_policy="demand",
                    image_cache_max_size="10G" if kept else "1M").mount()
    with open(cache.image("image"), "rb", buffering=0) as f:
        same(pread(f.fileno(), MIB), OLD[:MIB])
        origin.clear_faults()
        origin.put("image", NEW, etag='"x"')
        origin.fault("image", headers=digest_of(NEW))
        assert one_version(f.fileno(), (OLD,), 16 * MIB)[1]
    readable_again(cache, NEW)


# ---- looked up at another endpoint

def test_a_look_up_that_ends_after_the_image_was_opened(cache, two):
    """What it brought of the other endpoint's version is not put in front of what the handle is of."""
    first, second = two
    first.put("image", OLD, etag='"a"')
    second.put("image", NEW, etag='"b"')
    held = second.fault("image", hold_head=True, times=1)
    cache.configure(first.config(url=f"{first.url} {second.url}", retries=2, retry_delay=10), list_ttl=0, fetch_policy="demand").mount()
    path = os.open(cache.image("image"), os.O_PATH)  # looked up at the first, and not open yet
    refused = first.fault("image", status=503, times=1)

    def look_up():
        while not held.taken:  # the kernel has the name for a second
            error_of(os.stat, cache.image("image"))
    again = threading.Thread(target=look_up)
    again.start()
    try:
        wait_until(lambda: held.waiting, what="the second look-up to reach the second endpoint")
        fd = os.open(f"/proc/self/fd/{path}", os.O_RDONLY)  # as the kernel has it, without a look-up
        held.release()
        again.join()
        assert refused.taken == 1
        one_version(fd)
        os.close(fd)
    finally:
        held.taken = 1
        held.release()
        again.join()
        os.close(path)
    readable_again(cache, cache.read("image"))


@pytest.mark.parametrize("validators, same_inode", [
    (({}, {}), True), ((dict(etag='"a"'), dict(etag='"b"')), False), ((dict(etag='W/"a"'), dict(etag='W/"a"')), False),
    ((dict(etag=""), dict(etag="")), False), ((BARE, BARE), False), (({}, BARE), False), ((BARE, {}), False),
], ids=["equal etags", "etags of their own", "weak etags", "dates", "nothing", "an etag, then nothing", "nothing, then an etag"])
def test_looked_up_at_another_endpoint(cache, two, validators, same_inode):
    """An inode is of one version, and the kernel may have pages of it: it stays where the answer says that it is that version."""
    for server, told in zip(two, validators):
        server.put("image", OLD, **told)
    first, second = two
    cache.configure(first.config(url=f"{first.url} {second.url}", retries=0), list_ttl=0, revalidate="never",
                    image_cache_max_size="1M").mount()
    before = os.stat(cache.image("image")).st_ino
    same(cache.read("image"), OLD)
    first.stop()

    def looked_up():
        found = os.stat(cache.image("image")).st_ino
        return second.requests("image") and found
    assert (wait_until(looked_up, what="a look-up at the second endpoint") == before) == same_inode
    same(cache.read("image"), OLD)


@pytest.mark.http1
@pytest.mark.parametrize("how", ["rm", "rm while it is open", "restart", "room"])
def test_bytes_that_go_where_nothing_tells(cache, origin, how):
    """
    What is fetched of it later may be another version, and nobody could say so: it is another inode, of another time. Programs over the mount
    tell versions apart by these, and somebody may have fetched one half from there before.
    """
    origin.put("image", OLD, **BARE)
    cache.configure(origin, fetch_policy="demand", read_ahead_max=0, image_cache_max_size="40M", list_ttl=600).mount()
    cache.ls("images")
    with open(cache.image("image"), "rb") as opened:
        same(opened.read(MIB), OLD[:MIB])
        before = os.stat(cache.image("image"))
        if how == "rm while it is open":
            os.unlink(cache.path("incomplete", "image"))
            origin.put("image", NEW, **BARE)
            one_version(opened.fileno(), (OLD,), MIB)
    cache.wait_has("incomplete", "image", how != "rm while it is open")
    origin.put("image", NEW, **BARE)
    if how == "rm":
        wait_until(lambda: error_of(os.unlink, cache.path("incomplete", "image")) == 0, what="the bytes to go")
    elif how == "restart":
        cache.restart()
    elif how == "room":
        origin.put("other", blob(40 * MIB, 1))
        wait_until(lambda: cache.status()["counters"]["open_handles"] == 0, what="the last close")
        with open(cache.image("other"), "rb") as other:
            while other.read(MIB):
                pass
        wait_until(lambda: not cache.has("incomplete", "image"), what="the bytes to go")
    same(cache.read("image"), NEW)
    after = os.stat(cache.image("image"))
    assert after.st_ino != before.st_ino and int(after.st_mtime) != int(before.st_mtime)
