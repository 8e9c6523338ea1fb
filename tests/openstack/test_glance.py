# SPDX-License-Identifier: Apache-2.0
"""Images of a real Glance, through the mount."""
import errno
import json
import os
import uuid

import pytest

import harness
from cloud import sha_of
from harness import MIB, error_of
from waiting import wait_until


@pytest.mark.deadline(180)
def test_images_are_listed_and_read(cloud, cache):
    cache.configure(cloud.glance(cache)).mount()  # the endpoint is Keystone's catalogue's
    listed = cache.ls("images")
    for ident, name, digest in cloud.images.values():
        assert ident in listed
        assert os.stat(cache.image(ident)).st_size == os.path.getsize(cloud.file(name))
        assert sha_of(cache.image(ident)) == digest
        cache.wait_cached(ident)
        assert cache.xattr(ident, "name") == name
        assert cache.xattr(ident, "os_hash_algo") == "sha512"
    assert cache.xattr(cloud["IMAGE_QCOW2"], "disk_format") == "qcow2"
    assert cache.logged().count("verified by sha512") == len(cloud.images)
    assert error_of(os.stat, cache.image("no-such-image")) == errno.ENOENT
    assert error_of(os.stat, cache.image(str(uuid.uuid4()))) == errno.ENOENT


def test_uploaded_by_the_real_client(cloud, cache, tmp_path):
    source = tmp_path / "upload.img"
    source.write_bytes(harness.blob(3 * MIB + 77, seed=61))
    out = cloud.client("glance", "--os-image-url", cloud["ORIGIN_URL"], "image-create", "--name", "über image",
                       "--disk-format", "raw", "--container-format", "bare", "--file", str(source))
    ident = next(line.split("|")[2].strip() for line in out.splitlines() if line.startswith("| id "))
    try:
        cache.configure(cloud.glance(cache)).mount()
        harness.same(cache.read(ident), source.read_bytes())
        assert cache.xattr(ident, "name") == "über image"
    finally:
        cloud.delete_image(ident)


def test_application_credential(cloud, cache):
    secret = cloud.secret(cache, cloud["LAB_APP_CRED_SECRET"], "secret")
    cache.configure({"type": "glance", "auth_url": cloud["OS_AUTH_URL"], "endpoint": cloud["ORIGIN_URL"] + "/v2",
                     "application_credential_id": cloud["LAB_APP_CRED_ID"],
                     "application_credential_secret_file": secret}).mount()
    assert sha_of(cache.image(cloud["IMAGE_ISO"])) == cloud["IMAGE_ISO_SHA256"]


def test_all_from_the_environment(cloud, cache, monkeypatch):
    for name in ("OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME", "OS_USER_DOMAIN_ID", "OS_PROJECT_DOMAIN_ID",
                 "OS_REGION_NAME"):
        monkeypatch.setenv(name, cloud[name])
    cache.configure({"type": "glance"}).mount()
    assert sha_of(cache.image(cloud["IMAGE_FLOPPY"])) == cloud["IMAGE_FLOPPY_SHA256"]


@pytest.fixture
def many(cloud):
    """2,500 rows of active images in Glance's database, without bytes in its store."""
    model = cloud["IMAGE_FLOPPY"]
    columns = [row[1] for row in cloud.database("PRAGMA table_info(images)") if row[1] != "id"]
    copied = ", ".join(columns)
    idents = [f"25000000-0000-4000-8000-{n:012d}" for n in range(2500)]
    for ident in idents[:1]:
        cloud.database("DELETE FROM images WHERE id LIKE '25000000-%'")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2499) "
    cloud.database(f"{numbers} INSERT INTO images (id, {copied}) SELECT printf('25000000-0000-4000-8000-%012d', i), {copied}"
                   " FROM images, n WHERE id = ?", model)
    yield idents
    cloud.database("DELETE FROM images WHERE id LIKE '25000000-%'")


@pytest.mark.deadline(180)
def test_2500_images_come_by_pages(cloud, cache, make_gate, many):
    gate = make_gate(cloud["ORIGIN_URL"])
    cache.configure(cloud.glance(cache, endpoint=gate.url)).mount()
    listed = cache.ls("images")
    assert set(many) <= set(listed)
    assert len(listed) == len(set(listed)) >= 2504
    pages = gate.count("GET", "/v2/images?")
    assert 6 <= pages <= 8
    # The list told all there is to know: neither ls -l nor the attributes ask about each.
    cache.shell("ls -l images >/dev/null; getfattr -d images/25000000-0000-4000-8000-00000000000* >/dev/null")
    assert gate.count("GET") == pages
    assert cache.xattr(many[0], "os_hash_algo") == "sha512"


def test_only_active_images_exist(cloud, cache, made):
    queued, live = made(None, name="queued"), made(harness.blob(200000, 62), name="live")
    cache.configure(cloud.glance(cache)).mount()
    assert error_of(os.stat, cache.image(queued)) == errno.ENOENT
    assert queued not in cache.ls("images") and live in cache.ls("images")
    gone = made(harness.blob(1000, 63))
    cloud.deactivate(gone)
    assert error_of(os.stat, cache.image(gone)) == errno.ENOENT


@pytest.mark.parametrize("how", ["deactivated", "deleted"])
def test_gone_upstream(cloud, cache, made, how):
    """At the next revalidation a cached image goes with the backend's."""
    content = harness.blob(300000, 64)
    ident = made(content)
    cache.configure(cloud.glance(cache), revalidate=1, list_ttl=0).mount()
    harness.same(cache.read(ident), content)
    cache.wait_cached(ident)
    kept = os.open(cache.image(ident), os.O_RDONLY)
    try:
        if how == "deleted":
            cloud.delete_image(ident)
        else:
            cloud.deactivate(ident)
        wait_until(lambda: error_of(harness.read, cache.image(ident)) == errno.ENOENT, what="ENOENT")
        assert not cache.has("cached", ident)
        harness.same(harness.pread(kept), content)  # who had it open goes on reading
    finally:
        os.close(kept)


def test_an_image_of_another_project(cloud, cache, made):
    """Glance says 404 for what one may not see, so that here, too, there is no such image."""
    ident = made(harness.blob(1000, 65), visibility="private")
    cache.configure(cloud.glance(cache, username="demo", project_name="demo")).mount()
    assert error_of(os.stat, cache.image(ident)) == errno.ENOENT
    assert ident not in cache.ls("images")
    assert sha_of(cache.image(cloud["IMAGE_FLOPPY"])) == cloud["IMAGE_FLOPPY_SHA256"]  # a public one


def test_an_image_without_rights(cloud, cache, make_gate):
    """403, as a policy of Glance's answers, is EACCES."""
    gate = make_gate(cloud["ORIGIN_URL"])
    gate.deny = "/v2/images/" + cloud["IMAGE_ISO"]
    cache.configure(cloud.glance(cache, endpoint=gate.url)).mount()
    assert error_of(os.stat, cache.image(cloud["IMAGE_ISO"])) == errno.EACCES
    assert cache.logged().count("answered 403") == 1
    assert gate.count(path=cloud["IMAGE_ISO"]) == 1


def test_a_wrong_checksum_in_glance(cloud, cache, made):
    content = harness.blob(2 * MIB, 66)
    ident = made(content)
    cloud.database("UPDATE images SET os_hash_value = ? WHERE id = ?", "00" * 64, ident)
    cache.configure(cloud.glance(cache)).mount()
    with open(cache.image(ident), "rb", buffering=0) as f:
        got = bytearray()
        with pytest.raises(OSError) as failed:
            while data := f.read(65536):
                got += data
    assert failed.value.errno == errno.EIO
    assert len(got) < len(content)
    cache.wait_has("invalid", ident)
    entry = cache.entry("invalid", ident)
    assert "sha512" in json.dumps(entry)
    assert not cache.has("cached", ident)


# ---- as nova uses images

def test_copies_and_converted_images(cloud, cache, tmp_path):
    ident, name, digest = cloud.images["QCOW2"]
    cache.configure(cloud.glance(cache)).mount()
    cache.shell(f"cp --sparse=always images/{ident} {tmp_path}/copy")
    assert sha_of(tmp_path / "copy") == digest
    cache.shell(f"qemu-img convert -O raw images/{ident} {tmp_path}/raw", timeout=120)
    assert sha_of(tmp_path / "raw") == cloud["IMAGE_ISO_SHA256"]


def test_a_backing_file_on_the_mount(cloud, cache, tmp_path):
    ident, _, _ = cloud.images["QCOW2"]
    cache.configure(cloud.glance(cache)).mount()
    overlay = tmp_path / "overlay.qcow2"
    cache.shell(f"qemu-img create -q -f qcow2 -F qcow2 -b {cache.image(ident)} {overlay}")
    cache.shell(f"qemu-io -f qcow2 -c 'write -P 7 64k 64k' {overlay}")
    cache.shell(f"qemu-img convert -O raw {overlay} {tmp_path}/whole", timeout=120)
    want = bytearray(open(cloud.file("grub-rescue-cdrom.iso"), "rb").read())
    want[65536:131072] = b"\7" * 65536
    harness.same((tmp_path / "whole").read_bytes(), bytes(want))
    assert sha_of(cache.image(ident)) == cloud["IMAGE_QCOW2_SHA256"]
