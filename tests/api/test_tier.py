# SPDX-License-Identifier: Apache-2.0
"""glance-cache-api of one node is the backend of the next: bytes cross each tier once, also while digests settle in between."""
import hashlib
import os

import pytest

from harness import MIB, blob, error_of, pread, same
from waiting import wait_until

SIZE = 24 * MIB + 4321


@pytest.fixture
def tiers(make_cache, make_api, origin):
    """tiers(): the far tier on the origin, a server on it, the near tier on that → (far, api, near), both mounted."""
    def make():
        far, near = make_cache(), make_cache()
        far.configure(origin, list_ttl=1).mount()
        api = make_api(far)
        near.configure({"type": "http", "url": api.url + "/images/{id}"}, list_ttl=1).mount()
        return far, api, near
    return make


@pytest.mark.parametrize("sums", ["no sums", "SHA256SUMS"])
def test_cold(tiers, origin, sums):
    """The far tier learns the digest only while the near one fetches already: the image stays the same version."""
    content = origin.put("image", blob(SIZE, 171))
    if sums == "SHA256SUMS":
        origin.put_sums("SHA256SUMS", {"image": content})
    hold = origin.fault("image", hold_from=8 * MIB)
    far, api, near = tiers()
    etag = api.ask("HEAD", "/images/image").headers["ETag"]
    readers = [near.spawn("sha256sum", near.image("image"), stdout=-1, text=True) for _ in range(4)]
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    hold.release()
    assert {r.communicate()[0].split(" ")[0] for r in readers} == {hashlib.sha256(content).hexdigest()}
    for tier in (far, near):
        tier.wait_cached("image")
        same(tier.stored("image"), content)
    assert api.ask("HEAD", "/images/image").headers["ETag"] == etag
    assert origin.sent("image") == SIZE
    if sums == "SHA256SUMS":
        assert far.xattr("image", "os_hash_value") == hashlib.sha256(content).hexdigest()


def test_another_version_at_the_origin(tiers, origin):
    """The near tier takes the new version, and an old handle never gets a mix."""
    old, new = blob(SIZE, 172), blob(SIZE, 173)
    origin.put("image", old)
    far, api, near = tiers()
    hold = origin.fault("image", hold_from=8 * MIB)
    fd = os.open(near.image("image"), os.O_RDONLY)
    same(pread(fd, 4096), old[:4096])
    wait_until(lambda: pread(fd, MIB, MIB) == old[MIB:2 * MIB], what="more of the old version")
    origin.put("image", new)
    hold.release()

    def read_new():
        try:
            return near.read("image") == new
        except OSError:
            return False
    wait_until(read_new, what="the new version")
    try:
        same(pread(fd), old)
    except OSError:
        pass
    os.close(fd)
    near.wait_cached("image")
    same(near.stored("image"), new)


def test_the_far_tier_goes(tiers, origin):
    """What the near tier has goes on being served; what it has not is unreachable, not absent."""
    content = origin.put("image", blob(SIZE, 174))
    origin.put("other", b"other")
    far, api, near = tiers()
    same(near.read("image"), content)
    near.wait_cached("image")
    api.close()
    same(near.read("image"), content)
    with pytest.raises(OSError) as e:
        near.read("other")
    assert not isinstance(e.value, FileNotFoundError)


@pytest.mark.parametrize("origin_says", [dict(etag=""), dict(etag="", modified="")], ids=["a date", "nothing"])
@pytest.mark.parametrize("changes", [False, True], ids=["stays", "changes"])
def test_versions_are_told_apart(tiers, origin, origin_says, changes):
    """Also where the origin has no etag: the server always hands a version on, which stays as long as the bytes do."""
    old, new = blob(SIZE, 181), blob(SIZE, 182)
    origin.put("image", old, **origin_says)
    hold = origin.fault("image", hold_from=8 * MIB)
    far, api, near = tiers()
    first = api.ask("HEAD", "/images/image").headers
    fd = os.open(near.image("image"), os.O_RDONLY)
    try:
        same(pread(fd, MIB), old[:MIB])
        wait_until(lambda: hold.waiting, what="the fetch to be held back")
        assert api.ask("HEAD", "/images/image").headers["ETag"] == first["ETag"]
        assert api.ask("HEAD", "/images/image").headers["Last-Modified"] == first["Last-Modified"]
        if changes:
            origin.stop()
            origin.clear_faults()
            origin.put("image", new, **{**origin_says, **({"modified": "Thu, 02 Jan 2025 00:00:00 GMT"} if origin_says.get(
                "modified") != "" else {})})
            origin.start()
        hold.release()
        offset = MIB
        while changes or offset < SIZE:
            try:
                part = os.pread(fd, 65536, offset)
            except OSError:
                assert changes
                break
            assert part, "the end of a version that is gone"
            same(part, old[offset:offset + len(part)])
            offset += len(part)
    finally:
        os.close(fd)
    content = new if changes else old
    wait_until(lambda: error_of(near.read, "image") == 0 and near.read("image", 10) == content[:10], what="the image")
    same(near.read("image"), content)
    near.wait_cached("image")
    same(near.stored("image"), content)
    etag = api.ask("HEAD", "/images/image").headers["ETag"]
    assert (etag == first["ETag"]) != changes


def sets_of(cache):
    return cache.ls("bootsets")


def test_a_boot_set_goes_to_the_next_tier(tiers, origin):
    """Taught by what another host read: the first boot here is as the second there."""
    content = origin.put("image", blob(SIZE, 176))
    far, api, near = tiers()
    far.xattr("image", "state")
    taught = f"bootset 1 {SIZE} 3 3\n100,4,0,3\n300,2,1,3\n370,1,2,2\n"
    with open(far.path("bootsets", "image"), "w") as f:
        f.write(taught)
    answer = api.get("/v2/cache/image/bootset")
    assert answer.status == 200 and answer.body.decode() == taught
    with open(near.image("image"), "rb", buffering=0) as image:
        same(image.read(4096), content[:4096])
        places = [100, 101, 102, 103, 300, 301, 370]
        wait_until(lambda: sets_of(near) == ["image"], what="the set to come")
        wait_until(lambda: near.bytes_cached("image") >= len(places) * 65536, what="the replay")
        assert near.path("bootsets", "image") and open(near.path("bootsets", "image")).read() == taught
        for place in places:
            same(pread(image.fileno(), 4096, place * 65536), content[place * 65536:place * 65536 + 4096])
    assert api.delete("/v2/cache/image/bootset").status == 204 and sets_of(far) == []
    assert api.get("/v2/cache/image/bootset").status == 404 and api.delete("/v2/cache/image/bootset").status == 404
    assert sets_of(near) == ["image"]


def test_what_another_node_says_is_a_boot_set_is_not_believed(make_cache, origin):
    """Headers are anybody's: nothing but a set that parses is kept, and reads go on."""
    content = origin.put("image", blob(SIZE, 177), headers={"X-Glance-Cache-Bootset": "yes"})
    wants = []

    def answer(kind, body, **more):
        return origin.fault("image", when=lambda r: "x-glance-cache-want" in r.headers and (wants.append(kind) or True), times=1, status=200,
                            headers={"Content-Type": kind}, body=body, **more)
    wrong = [("application/octet-stream", b"bootset 1 10 1 0\n"), ("text/x-glance-cache-bootset", b"nonsense\n"),
             ("text/x-glance-cache-bootset", b"#" * 100000)]
    for n, (kind, body) in enumerate(wrong):
        answer(kind, body)
        cache = make_cache().configure(origin, list_ttl=1).mount()
        same(cache.read("image", 4096, 65536), content[65536:65536 + 4096])
        wait_until(lambda: len(wants) == n + 1, what="the set to be asked for")
        origin.settle()
        cache.unmount()
        cache.mount()
        assert sets_of(cache) == [] and cache.status()["bootsets"]["sets"] == 0
        cache.unmount()
