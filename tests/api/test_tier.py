# SPDX-License-Identifier: Apache-2.0
"""glance-cache-api of one node is the backend of the next: bytes cross each tier once, also while digests settle in between."""
import hashlib
import os

import pytest

from harness import MIB, blob, pread, same
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
