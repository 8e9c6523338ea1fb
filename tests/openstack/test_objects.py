# SPDX-License-Identifier: Apache-2.0
"""Images that are objects: of a real Swift by its own API (Keystone's tokens and TempAuth), and by S3's."""
import base64
import errno
import hashlib
import json
import os
import re
import time

import pytest

import harness
from cloud import sha_of
from harness import MIB, error_of
from waiting import wait_until

ODD = ["plain.img", "a b", "plus+sign", "per%cent", "%2F", "über-€-日本", "semi;colon&amp=x?y#z", "quote'\"s", "~tilde*(!)"]


@pytest.fixture(params=["swift", "tempauth", "s3"])
def store(request, cloud):
    """One of the ways to a container: (name, configuration, put(container, name, content, headers))."""
    if request.param == "tempauth":
        url, token = cloud.tempauth_login()
    else:
        url, token = cloud["SWIFT_URL"], cloud.token()

    def put(container, name, content, headers=None):
        cloud.put_object(container, name, content, headers, url, token)

    def config(cache, container, **more):
        option = "bucket" if request.param == "s3" else "container"
        return {**getattr(cloud, request.param)(cache), option: container, **more}
    return request.param, config, put


def test_images_are_listed_and_read(cloud, cache, store):
    kind, config, put = store
    if kind == "tempauth":
        for _, name, _ in list(cloud.images.values())[:3]:
            put("images", name, open(cloud.file(name), "rb").read())
    cache.configure(config(cache, "images")).mount()
    listed = cache.ls("images")
    for _, name, digest in list(cloud.images.values())[:3]:
        assert name in listed
        assert sha_of(cache.image(name)) == digest
        cache.wait_cached(name)
    assert cache.logged().count("verified by md5") == 3
    assert error_of(os.stat, cache.image("no-such-image")) == errno.ENOENT


def test_the_end_of_a_listed_image_first(cloud, cache, store):
    """Listed with its size, but never looked up: the first answer for bytes is not of its first ones."""
    _, config, put = store
    content = harness.blob(4 * MIB + 123, 79)
    put("listed", "x.img", content)
    cache.configure(config(cache, "listed")).mount()
    assert cache.ls("images") == ["x.img"]
    harness.same(cache.read("x.img", 1000, 3 * MIB + 4321), content[3 * MIB + 4321:][:1000])
    harness.same(cache.read("x.img"), content)


def test_odd_names(cache, store):
    _, config, put = store
    contents = {name: harness.blob(1000 + 7 * n, seed=80 + n) for n, name in enumerate(ODD)}
    for name, content in contents.items():
        put("odd", "deep folder+/" + name, content)
    put("odd", "deep folder+/further/down", b"not an image")
    put("odd", "outside", b"not behind the prefix")
    cache.configure(config(cache, "odd", prefix="deep folder+/")).mount()
    assert cache.ls("images") == sorted(ODD)
    for name, content in contents.items():
        harness.same(cache.read(name), content)
        cache.wait_cached(name)
    assert cache.logged().count("verified by md5") == len(ODD)


@pytest.mark.deadline(240)
def test_2500_objects_come_by_pages(cache, store, cloud):
    kind, config, put = store
    url = cloud.tempauth_login()[0] if kind == "tempauth" else cloud["SWIFT_URL"]
    put("many", "first", b"x")
    names = [f"m-{n:04d}" for n in range(2500)]
    cloud.list_objects(url.rsplit("/", 1)[1], "many", names, size=4)
    put("many", "m-2499", b"2499")
    cache.configure(config(cache, "many")).mount()
    assert cache.ls("images") == ["first"] + names
    assert os.stat(cache.image("m-2499")).st_size == 4
    assert cache.read("m-2499") == b"2499"


def segments(put, container, sizes, seed):
    parts = [harness.blob(size, seed + n) for n, size in enumerate(sizes)]
    for n, part in enumerate(parts):
        put(container, f"large/{n:04d}", part)
    return parts


def test_static_large_objects(cloud, cache, store):
    kind, config, put = store
    parts = segments(put, "segments", [2 * MIB, 3 * MIB + 5, 777777], 90)
    manifest = [{"path": f"/segments/large/{n:04d}", "size_bytes": len(part)} for n, part in enumerate(parts)]
    url, token = cloud.tempauth_login() if kind == "tempauth" else (cloud["SWIFT_URL"], cloud.token())
    cloud.http("PUT", f"{url}/large", b"", token=token)
    cloud.http("PUT", f"{url}/large/slo.img?multipart-manifest=put", json.dumps(manifest).encode(), token=token)
    cache.configure(config(cache, "large")).mount()
    assert "slo.img" in cache.ls("images")
    harness.same(cache.read("slo.img"), b"".join(parts))
    cache.wait_cached("slo.img")
    assert "no digest is known" in cache.logged()  # its etag is not an MD5


def test_dynamic_large_objects(cloud, cache, store):
    kind, config, put = store
    if kind == "s3":
        pytest.skip("S3's API shows the manifest of a dynamic large object as an empty object")
    parts = segments(put, "segments", [2 * MIB, 3 * MIB + 5, 777777], 90)
    put("large", "dlo.img", b"", {"X-Object-Manifest": "segments/large/"})
    cache.configure(config(cache, "large")).mount()
    harness.same(cache.read("dlo.img"), b"".join(parts))


def test_the_real_client_s_large_objects(cloud, cache, tmp_path):
    source = tmp_path / "big.img"
    source.write_bytes(harness.blob(5 * MIB + 1, 95))
    cloud.client("swift", "--auth-version", "3", "upload", "client", str(source), "--object-name", "big.img", "--use-slo",
                 "--segment-size", str(MIB))
    cache.configure(cloud.swift(cache, container="client")).mount()
    harness.same(cache.read("big.img"), source.read_bytes())


def test_checksums_beside_the_objects(cache, store):
    _, config, put = store
    good, bad = harness.blob(400000, 96), harness.blob(400000, 97)
    put("summed", "good.img", good)
    put("summed", "bad.img", bad)
    put("summed", "SHA256SUMS", f"{harness.sha(good)}  good.img\n{harness.sha(good)}  bad.img\n".encode())
    cache.configure(config(cache, "summed")).mount()
    assert cache.ls("images") == ["bad.img", "good.img"]
    harness.same(cache.read("good.img"), good)


@pytest.mark.deadline(180)
def test_checksums_and_a_token_that_ended(cloud, cache, make_gate):
    """That nobody believes our token does not mean that nothing is published: an image that does not match is not read to its end."""
    content = harness.blob(3 * MIB, 94)
    manifest = [{"path": f"/segments/large/{n:04d}", "size_bytes": len(part)}
                for n, part in enumerate(segments(cloud.put_object, "segments", [MIB, 2 * MIB], 93))]
    cloud.http("PUT", f"{cloud['SWIFT_URL']}/believed", b"", token=cloud.token())
    for name in ("first.img", "bad.img"):  # their etags are no MD5
        cloud.http("PUT", f"{cloud['SWIFT_URL']}/believed/{name}?multipart-manifest=put", json.dumps(manifest).encode(), token=cloud.token())
    cloud.put_object("believed", "SHA256SUMS", f"{harness.sha(content)}  bad.img\n".encode())
    gate = make_gate(cloud["SWIFT_URL"].split("/v1/")[0])
    endpoint = gate.url + "/v1/" + cloud["SWIFT_URL"].split("/v1/")[1]
    cache.configure(cloud.swift(cache, container="believed", endpoint=endpoint)).mount()
    assert cache.ls("images") == ["bad.img", "first.img"]
    had = time.monotonic()
    wait_until(lambda: time.monotonic() - had > 5.2)  # a token younger than that is not renewed for a 401
    ended = set(gate.tokens)
    assert len(ended) == 1
    gate.spoil_tokens = lambda token: token in ended
    assert error_of(cache.read, "bad.img") == errno.EIO
    assert gate.count(status=401) >= 1 and gate.tokens - ended
    wait_until(lambda: "bad.img" in cache.ls("invalid"), what="the verdict")
    assert len(cache.read("first.img")) == len(content)


def test_a_changed_object(cache, store):
    """Another version under the same name is never mixed with the first."""
    _, config, put = store
    first, second = harness.blob(20 * MIB, 98), harness.blob(20 * MIB, 99)
    put("changing", "x.img", first)
    cache.configure(config(cache, "changing"), list_ttl=0, fetch_policy="demand").mount()
    fd = os.open(cache.image("x.img"), os.O_RDONLY)
    try:
        harness.same(os.pread(fd, 65536, 0), first[:65536])
        put("changing", "x.img", second)
        assert error_of(os.pread, fd, 65536, 15 * MIB) == errno.EIO
    finally:
        os.close(fd)
    wait_until(lambda: error_of(cache.read, "x.img") == 0, what="the new version to be readable")
    harness.same(cache.read("x.img"), second)


def test_without_rights(cloud, cache, make_cache):
    """Another project's container is EACCES, not ENOENT; one line in the log says so of images, and one of the listing."""
    cache.configure(cloud.swift(cache, username="demo", project_name="demo", endpoint=cloud["SWIFT_URL"])).mount()
    for _ in range(5):
        assert error_of(os.stat, cache.image(cloud["IMAGE_ISO_NAME"])) == errno.EACCES
    assert error_of(os.listdir, cache.path("images")) == errno.EACCES
    told = [line for line in cache.logged().splitlines() if "answered 403" in line]
    assert len(told) == 2 and len([line for line in told if "images/ shows" in line]) == 1, told


def test_wrong_keys(cloud, cache, make_gate):
    """One line in the log, and no storm of retries."""
    gate = make_gate(cloud["S3_URL"])
    cache.configure(cloud.s3(cache, endpoint=gate.url, secret_key_file=cloud.secret(cache, "wrong", "wrong-key"))).mount()
    for name in ("a", "b", "c"):
        assert error_of(os.stat, cache.image(name)) == errno.EACCES
    told = [line for line in cache.logged().splitlines() if "403" in line]
    assert len(told) == 1 and re.search("key|credentials", told[0]), cache.logged()
    assert gate.count() <= 6  # each of them once more without a range, which some servers refuse by 403


def test_a_wrong_key_of_tempauth(cloud, cache, make_gate):
    gate = make_gate(cloud["SWIFT_TEMPAUTH_URL"])
    wrong = cloud.secret(cache, "not-the-secret", "wrong-key")
    cache.configure(cloud.tempauth(cache, auth_url=gate.url + "/auth/v1.0", password_file=wrong)).mount()
    for name in ("a", "b", "c"):
        assert error_of(os.stat, cache.image(name)) == errno.EACCES
    told = [line for line in cache.logged().splitlines() if "credentials" in line]
    assert len(told) == 1, told
    assert gate.count() == 1
    assert "not-the-secret" not in cache.logged()


def test_the_bucket_in_the_host_s_name(cloud, cache):
    """images.localhost, as Amazon has it: also with names that the signature must have escaped."""
    contents = {name: harness.blob(1000 + 7 * n, seed=100 + n) for n, name in enumerate(ODD)}
    for name, content in contents.items():
        cloud.put_object("virtual", name, content)
    cache.configure(cloud.s3(cache, endpoint=cloud["S3_VIRTUAL_URL"], addressing="virtual", bucket="virtual")).mount()
    assert cache.ls("images") == sorted(ODD)
    for name, content in contents.items():
        harness.same(cache.read(name), content)
        cache.wait_cached(name)


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_the_checksum_that_s3_may_send(cloud, cache, make_gate, right):
    """Swift keeps none: the gate adds it, as Amazon sends it with a whole object."""
    content = harness.blob(100_000, 120)
    cloud.put_object("checksums", "x.img", content)
    gate = make_gate(cloud["S3_URL"])
    digest = hashlib.sha256(content if right else b"another").digest()
    gate.add["/checksums/x.img"] = {"x-amz-checksum-sha256": base64.b64encode(digest).decode()}
    cache.configure(cloud.s3(cache, endpoint=gate.url, bucket="checksums")).mount()
    if right:
        harness.same(cache.read("x.img"), content)
        cache.wait_cached("x.img")
        assert cache.xattr("x.img", "os_hash_value") == digest.hex()
        assert "verified by sha256" in cache.logged()
    else:
        assert error_of(cache.read, "x.img") == errno.EIO
        cache.wait_has("invalid", "x.img")
        assert "sha256" in cache.entry("invalid", "x.img")["reason"]
        assert not cache.has("cached", "x.img")


def test_shared_credentials_and_environment(cloud, make_cache, monkeypatch):
    section = f"[lab]\naws_access_key_id = {cloud['S3_ACCESS_KEY']}\naws_secret_access_key = {cloud['S3_SECRET_KEY']}"
    plain = {"type": "s3", "bucket": "images", "region": cloud["S3_REGION"]}
    cache = make_cache()
    path = cloud.secret(cache, section, "credentials")
    cache.configure({**plain, "endpoint": cloud["S3_URL"], "credentials_file": path, "profile": "lab"}).mount()
    assert sha_of(cache.image(cloud["IMAGE_FLOPPY_NAME"])) == cloud["IMAGE_FLOPPY_SHA256"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", cloud["S3_ACCESS_KEY"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", cloud["S3_SECRET_KEY"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud["S3_URL"])
    cache = make_cache().configure(plain).mount()
    assert sha_of(cache.image(cloud["IMAGE_FLOPPY_NAME"])) == cloud["IMAGE_FLOPPY_SHA256"]
