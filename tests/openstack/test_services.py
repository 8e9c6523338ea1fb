# SPDX-License-Identifier: Apache-2.0
"""The code of nova, cinder and ironic against glance-cache-api and the mount, with a real Keystone and Glance behind them."""
import json
import os
import subprocess
import sys

import pytest

import harness
from harness import MIB, blob, same
from services import run_as
from waiting import wait_until

sys.path.append(os.path.join(harness.TOP, "tests", "api"))
from server import Api  # noqa: E402


@pytest.fixture
def make_server(cache):
    servers = []

    def make(**options):
        servers.append(Api(cache, audit_log=os.path.join(cache.root, "audit"), **options).start())
        return servers[-1]
    yield make
    for server in servers:
        server.close()


@pytest.fixture
def server(cloud, cache, make_server):
    cache.configure(cloud.glance(cache), views="glance nova").mount()
    return make_server(auth="keystone", auth_url=cloud["OS_AUTH_URL"], image_url=cloud["ORIGIN_URL"], direct_url="file")


@pytest.fixture
def work(tmp_path):
    os.chmod(tmp_path, 0o755)
    return str(tmp_path)


def demo(cloud):
    return cloud.token("demo", "demo")


def audited(server, action, times):
    """What was audited, once ACTION was so often: a line comes behind its answer."""
    def actions():
        return [json.loads(line)["action"] for line in open(server.options["audit_log"]).read().splitlines()]
    wait_until(lambda: actions().count(action) >= times, what=f"{times} lines of {action}")
    return actions()


def qcow2(folder, size="64M"):
    path = os.path.join(folder, "made.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, size], check=True, timeout=60)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 7 1M 3M", path], check=True, timeout=60, stdout=subprocess.DEVNULL)
    with open(path, "rb") as f:
        return f.read()


# ---- nova

@pytest.mark.parametrize("who", [("demo", "demo"), ("admin", "admin")])
def test_nova_sees_what_glance_tells(cloud, server, work, made, who):
    """Field by field: nova boots with the image's properties, whoever asks."""
    ident = made(blob(MIB, 61), token=cloud.token(*who), hw_disk_bus="scsi", min_disk=3, os_distro="debian")
    code = """
result = {name: str(value) for name, value in api.get(ctx, V["id"]).items()}
result["meta"] = str(objects.ImageMeta.from_image_ref(ctx, api, V["id"]))
"""
    told = [run_as("nova", code, url=url, token=cloud.token(*who), id=ident, work=work) for url in (server.url, cloud["ORIGIN_URL"])]
    for answer in told:
        for name in ("direct_url", "locations"):  # what we add
            answer.pop(name, None)
    assert told[0] == told[1] and "hw_disk_bus" in told[0]["properties"] and told[0]["min_disk"] == "3"


def test_nova_downloads_and_converts(cloud, cache, server, work, made):
    raw, disk = blob(5 * MIB + 512, 62), qcow2(work)
    idents = {"raw": made(raw, token=demo(cloud)), "qcow2": made(disk, disk_format="qcow2", token=demo(cloud)),
              "lies": made(disk, disk_format="raw", token=demo(cloud)), "iso": cloud.images["ISO"][0]}
    got = run_as("nova", """
for kind in ("raw", "qcow2", "iso"):
    api.download(ctx, V["ids"][kind], dest_path=V["work"] + "/download-" + kind)
    images.fetch_to_raw(ctx, V["ids"][kind], V["work"] + "/base-" + kind)
    result[kind] = [sha(V["work"] + "/download-" + kind), os.path.getsize(V["work"] + "/base-" + kind)]
try:
    images.fetch_to_raw(ctx, V["ids"]["lies"], V["work"] + "/base-lies")
    result["lies"] = os.path.getsize(V["work"] + "/base-lies")
except exception.ImageUnacceptable:
    result["lies"] = "refused"
""", url=server.url, token=demo(cloud), ids=idents, work=work)
    assert got["raw"] == [harness.sha(raw), len(raw)]
    assert got["qcow2"] == [harness.sha(disk), 64 * MIB]
    assert got["iso"][0] == cloud.images["ISO"][2]
    glance = run_as("nova", """
try:
    images.fetch_to_raw(ctx, V["ids"]["lies"], V["work"] + "/base-lies")
    result["lies"] = os.path.getsize(V["work"] + "/base-lies")
except exception.ImageUnacceptable:
    result["lies"] = "refused"
""", url=cloud["ORIGIN_URL"], token=demo(cloud), ids=idents, work=work)
    assert got["lies"] == glance["lies"], "nova finds out with Glance, and not with us"
    assert audited(server, "download", 7).count("download") == 7


@pytest.mark.http1
def test_nova_with_images_of_another_backend(cache, origin, make_server, work):
    """No Glance: what a disk is comes from its first bytes, and nova takes it."""
    origin.put("disk", qcow2(work))
    origin.put("plain", b"\0" * 446 + b"\x80\0\x02\0\x83\0\0\0\x01\0\0\0\xff\x1f\0\0" + b"\0" * 48 + b"\x55\xaa" + blob(4 * MIB - 512, 63))
    cache.configure(origin).mount()
    server = make_server()
    got = run_as("nova", """
for ident in ("disk", "plain"):
    image = api.get(ctx, ident)
    images.fetch_to_raw(ctx, ident, V["work"] + "/base-" + ident)
    result[ident] = [image["disk_format"], os.path.getsize(V["work"] + "/base-" + ident)]
""", url=server.url, token="none", work=work)
    assert got == {"disk": ["qcow2", 64 * MIB], "plain": ["raw", 4 * MIB]}


# ---- nova's disks on nova/

@pytest.mark.http1
def test_nova_boots_from_the_mount(cache, origin, work):
    """A disk whose backing file is the image in nova/: nothing is downloaded but what making it reads; and all of it reads as the image."""
    ident, content = "30000000-0000-4000-8000-000000000300", b"".join(blob(100 * MIB, 640 + i) for i in range(3))
    origin.put(ident, content)
    cache.configure(origin, views="nova").mount()
    os.symlink(cache.path("nova"), os.path.join(work, "_base"))
    got = run_as("nova", """
from nova.virt.libvirt import imagebackend
from nova.virt.libvirt.imagecache import get_cache_fname
nova.conf.CONF.set_override("force_raw_images", False)
def must_not_be_called(*args, **kwargs):
    raise AssertionError("the image was to be downloaded")
disk = V["work"] + "/disk"
for path in (disk, V["work"] + "/disk-2"):
    imagebackend.Qcow2(path=path).cache(fetch_func=must_not_be_called, filename=get_cache_fname(V["id"]), size=1 << 30, context=ctx,
                                        image_id=V["id"])
info = json.loads(__import__("subprocess").check_output(["qemu-img", "info", "--output=json", "-U", disk]))
result = {"backing": info["full-backing-filename"], "size": info["virtual-size"]}
""", work=work, id=ident)
    assert os.path.realpath(got["backing"]).startswith(cache.path("nova")) and got["size"] == 1 << 30
    assert origin.sent(ident) < 2 * MIB, origin.sent(ident)
    subprocess.run(["qemu-img", "convert", "-O", "raw", os.path.join(work, "disk"), os.path.join(work, "raw")], timeout=300, check=True)
    with open(os.path.join(work, "raw"), "rb") as f:
        same(f.read(300 * MIB), content)
        assert not any(f.read(MIB))
    assert origin.sent(ident) < 310 * MIB


@pytest.mark.http1
def test_novas_manager_of_bases_leaves_them_alone(cache, origin, work):
    """It takes them for unused ones and removes them: that has no effect, and no error."""
    names = [f"30000000-0000-4000-8000-00000000000{i}" for i in range(3)]
    for i, name in enumerate(names):
        origin.put(name, blob(MIB, 70 + i))
    cache.configure(origin, views="nova").mount()
    for name in names:
        cache.read(name)
        cache.wait_cached(name)
    os.symlink(cache.path("nova"), os.path.join(work, "_base"))
    got = run_as("nova", """
import logging, time
from nova.virt.libvirt import imagecache as manager_of_bases
lines = []
class Keep(logging.Handler):
    def emit(self, record):
        lines.append([record.levelname, record.getMessage()])
log = logging.getLogger("nova.virt.libvirt.imagecache")
log.addHandler(Keep())
log.setLevel(logging.DEBUG)
nova.conf.CONF.set_override("remove_unused_original_minimum_age_seconds", 0, group="image_cache")
nova.conf.CONF.set_override("remove_unused_resized_minimum_age_seconds", 0, group="image_cache")
objects.BlockDeviceMappingList.bdms_by_instance_uuid = lambda *args: {}  # of no instance, in no database
manager = manager_of_bases.ImageCacheManager()
manager.update(ctx, [])
result = {"lines": lines}
""", work=work)
    assert any("emov" in text for _, text in got["lines"]), "it did not look at them"
    assert not [line for line in got["lines"] if line[0] in ("ERROR", "CRITICAL")], got["lines"]
    assert cache.ls("cached") == names
    assert len(cache.ls("nova")) == 3


# ---- cinder

COPY = """
result["location"] = str(service.get_location(ctx, V["id"]))
image_utils.fetch_verify_image(ctx, service, V["id"], V["work"] + "/volume")
result["sha"] = sha(V["work"] + "/volume")
result["show"] = service.show(ctx, V["id"])["id"]
"""


@pytest.mark.parametrize("cached", [False, True])
def test_cinder_copies_from_the_mount(cloud, cache, server, work, made, cached):
    """With file among its schemes no byte of the image is asked for over HTTP."""
    content = blob(3 * MIB + 77, 65)
    ident = made(content, token=demo(cloud))
    if cached:
        cache.read(ident)
        cache.wait_cached(ident)
    got = run_as("cinder", COPY, url=server.url, token=demo(cloud), id=ident, work=work, schemes=["file"])
    assert got["sha"] == harness.sha(content) and got["show"] == ident
    assert f"file://{cache.image(ident)}" in got["location"]
    assert "download" not in audited(server, "locate", 1)


def test_cinder_copies_over_http(cloud, cache, server, work, made):
    content = blob(2 * MIB + 5, 66)
    ident = made(content, token=demo(cloud))
    got = run_as("cinder", COPY, url=server.url, token=demo(cloud), id=ident, work=work)
    assert got["sha"] == harness.sha(content)
    assert audited(server, "download", 1).count("download") == 1


def test_cinder_may_not_what_glance_refuses(cloud, cache, server, work, made):
    """By Glance's policy for downloads this user gets no bytes: nor does cinder for it, from the mount."""
    ident = made(blob(MIB, 67), token=demo(cloud))
    cache.read(ident)
    with cloud.policy(download_image="role:admin"):
        got = run_as("cinder", """
try:
    image_utils.fetch_verify_image(ctx, service, V["id"], V["work"] + "/volume")
    result["got"] = os.path.getsize(V["work"] + "/volume")
except Exception as e:
    result["refused"] = type(e).__name__
result["location"] = str(service.get_location(ctx, V["id"]))
""", url=server.url, token=demo(cloud), id=ident, work=work, schemes=["file"])
    assert "refused" in got and "file:" not in got["location"]


# ---- ironic

def test_ironic_deploys(cloud, cache, server, work, made):
    content = blob(4 * MIB + 3, 68)
    ident = made(content, token=demo(cloud))
    got = run_as("ironic", """
service = glance_service.GlanceImageService(context=ctx)
result["show"] = service.show(V["id"])["id"]
with open(V["work"] + "/image", "wb") as f:
    service.download(V["id"], f)
result["sha"] = sha(V["work"] + "/image")
""", url=server.url, token=demo(cloud), id=ident, work=work)
    assert got == {"show": ident, "sha": harness.sha(content)}


@pytest.mark.http1
def test_ironic_keeps_its_master_image(cache, origin, make_server, work):
    """Three nodes, one download: the date of the image does not move while it is cached, fetched and evicted."""
    content = blob(2 * MIB, 69)
    origin.put("image", content)
    cache.configure(origin).mount()
    server = make_server()
    got = run_as("ironic", """
from ironic.drivers.modules import image_cache
os.makedirs(V["work"] + "/master")
masters = image_cache.ImageCache(V["work"] + "/master", 1 << 30, 3600)
for node in range(3):
    masters.fetch_image(V["url"] + "/images/image", V["work"] + f"/node-{node}", ctx=ctx, force_raw=False)
    result[node] = sha(V["work"] + f"/node-{node}")
""", url=server.url, work=work)
    assert got == {str(node): harness.sha(content) for node in range(3)}
    assert audited(server, "download", 1).count("download") == 1
