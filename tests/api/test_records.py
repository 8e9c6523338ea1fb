# SPDX-License-Identifier: Apache-2.0
"""What /v2/images tells: no list ignores what it was asked for, no attribute is a guess, and Glance's own answers come through as they are."""
import json
import os
import subprocess
import urllib.parse

import pytest

from harness import KIB, MIB, blob, same
from openstack import OpenStack

SIZES = {"a.img": 3, "b.iso": 1, "c": 2, "d": 2}


@pytest.fixture
def images(folder, make_api):
    for i, (name, size) in enumerate(SIZES.items()):
        folder.put(name, blob(size, i + 1))
        os.utime(os.path.join(folder.folder, name), (1_600_000_000 + i * 86_400,) * 2)  # 2020-09-13T12:26:40Z, a day apart
    folder.mount()
    for name in SIZES:  # before anything is listed, which tells no times: an image that is asked for keeps its own
        folder.read(name)
        folder.wait_cached(name)
    return make_api(folder)


def ids(api, query):
    """Over all pages, following the links."""
    found, path = [], "/v2/images?" + query
    while path:
        answer = api.get(path)
        assert answer.status == 200, (query, answer.body)
        found += [i["id"] for i in answer.json["images"]]
        path = answer.json.get("next")
    return found


@pytest.mark.parametrize("query,found", [
    ("image_type=backup&backup_type=daily&instance_uuid=u&limit=200&sort_key=created_at&sort_dir=desc", ""),  # nova, which deletes the rest
    ("owner=somebody", ""), ("tag=a", ""), ("tag=a&tag=b", ""), ("visibility=private", ""), ("visibility=shared&member_status=all", ""),
    ("visibility=public", "a.img b.iso c d"), ("visibility=all", "a.img b.iso c d"), ("status=active", "a.img b.iso c d"), ("status=queued", ""),
    ("container_format=bare", "a.img b.iso c d"), ("container_format=ovf", ""), ("disk_format=iso", "b.iso"), ("disk_format=in:qcow2,iso", "b.iso"),
    ("disk_format=qcow2", ""), ("protected=true", ""), ("protected=False", "a.img b.iso c d"), ("os_hidden=true", ""),
    ("size_min=2", "a.img c d"), ("size_max=2", "b.iso c d"), ("size_min=2&size_max=2", "c d"), ("size=3", "a.img"), ("min_disk=0", "a.img b.iso c d"),
    ("min_ram=1", ""), ("name=in:c,d", "c d"), ("name=in:%22c%22,%22x,y%22", "c"), ("id=d", "d"), ("id=in:d,a.img", "a.img d"), ("name=c&size=3", ""),
    ("hw_disk_bus=virtio", ""), ("checksum=0", ""), ("name=C", "")])
def test_filters(images, query, found):
    assert sorted(ids(images, query)) == found.split()
    if "sort" not in query:
        assert sorted(ids(images, query + "&sort=name:asc")) == found.split()


@pytest.mark.parametrize("query,found", [
    ("sort=name:asc", "a.img b.iso c d"), ("sort=name", "d c b.iso a.img"), ("sort_key=name&sort_dir=asc", "a.img b.iso c d"),
    ("sort=size:desc,name:desc", "a.img d c b.iso"), ("sort_key=size&sort_key=name&sort_dir=asc", "b.iso c d a.img"),
    ("sort_key=size&sort_dir=asc&sort_key=name&sort_dir=desc", "b.iso d c a.img"), ("sort_key=id&sort_dir=desc&size_max=2", "d c b.iso"),
    ("sort_key=created_at&sort_dir=asc", "a.img b.iso c d"), ("sort_dir=desc", "d c b.iso a.img"), ("sort=disk_format:desc,name:asc", "b.iso a.img c d")])
def test_order(images, query, found):
    """Also over pages of every length."""
    for limit in (1, 2, 3, 4, 100):
        assert ids(images, f"{query}&limit={limit}") == found.split(), limit


@pytest.mark.parametrize("operator,found", [
    ("gt:2020-09-14T12:26:40Z", "c d"), ("gte:2020-09-14T12:26:40Z", "b.iso c d"), ("lt:2020-09-14T12:26:40Z", "a.img"),
    ("lte:2020-09-14T12:26:40", "a.img b.iso"), ("eq:2020-09-14T12:26:40Z", "b.iso"), ("neq:2020-09-14T12:26:40Z", "a.img c d"), ("2020-09-14T12:26:40Z", "b.iso"),
    ("gt:2020-09-15", "c d"), ("lt:2020-09-15", "a.img b.iso")])
def test_times(images, operator, found):
    for key in ("created_at", "updated_at"):
        assert sorted(ids(images, f"{key}={urllib.parse.quote(operator)}")) == found.split()


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "sort=nothing", "sort=name:up", "sort_key=owner", "sort_dir=up", "sort=name&sort_dir=asc",
                                   "sort_key=name&sort_key=size&sort_dir=asc&sort_dir=asc&sort_dir=asc", "visibility=secret", "size_min=x",
                                   "created_at=gt:yesterday", "created_at=near:2020-09-14", "marker=nothing", "marker=nothing&sort=name", "name=%zz",
                                   "member_status=x", "&".join(f"p{i}=1" for i in range(100))])
def test_what_cannot_be_asked(images, query):
    answer = images.get("/v2/images?" + query)
    assert answer.status == 400 and answer.message


# ---- attributes

@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Images as qemu-img and others write them: {name: (bytes, disk_format)}."""
    folder = tmp_path_factory.mktemp("kinds")
    disk = bytearray(2 * MIB)
    disk[510:512] = b"\x55\xaa"
    iso = bytearray(disk)
    iso[0x8001:0x8006] = b"CD001"
    gpt = bytearray(MIB)
    gpt[512:520] = b"EFI PART"
    made = {"disk": (bytes(disk), "raw"), "cd": (bytes(iso), "iso"), "gpt": (bytes(gpt), "raw"), "nothing": (blob(MIB, 9), None),
            "lies.raw": (b"QFI\xfb\0\0\0\3" + blob(KIB, 1), "qcow2"), "by-name.qcow2": (blob(KIB, 2), "qcow2"), "short": (b"x", None), "z.img": (b"y" * 99, None)}
    for kind, option in (("qcow2", "qcow2"), ("vmdk", "vmdk"), ("vdi", "vdi"), ("vhdx", "vhdx"), ("vhd", "vpc")):
        path = folder / kind
        done = subprocess.run(["qemu-img", "create", "-q", "-f", option, path, "16M"], check=False) if subprocess.run(
            ["which", "qemu-img"], capture_output=True, check=False).returncode == 0 else None
        if done is not None and done.returncode == 0:
            made[f"made-{kind}"] = (path.read_bytes(), kind)
    return made


def test_disk_format(cache, origin, make_api, kinds):
    """By the first bytes, which come with the look-up; else by the name; else null. It stays when the image is cached, and when it goes."""
    for name, (content, _) in kinds.items():
        origin.put(name, content)
    cache.configure(origin).mount()
    api = make_api(cache)

    def told():
        return {name: api.get(f"/v2/images/{name}").json["disk_format"] for name in kinds}
    wanted = {name: kind for name, (_, kind) in kinds.items()}
    assert told() == wanted
    for name in kinds:
        api.get(f"/images/{name}")
        cache.wait_cached(name)
    assert told() == wanted
    sizes = {name: api.get(f"/v2/images/{name}").json["virtual_size"] for name in kinds}
    assert sizes["disk"] == len(kinds["disk"][0]) and sizes["gpt"] == len(kinds["gpt"][0])
    for kind in ("qcow2", "vmdk", "vdi"):  # of a vhd the geometry, which qemu rounds up; of a vhdx it stands far behind the header
        assert sizes.get(f"made-{kind}", 16 * MIB) == 16 * MIB
    assert 16 * MIB <= sizes.get("made-vhd", 16 * MIB) < 17 * MIB
    assert [sizes[name] for name in ("cd", "nothing", "short", "by-name.qcow2")] == [None] * 4
    assert api.delete("/v2/cache").status == 204
    assert told() == wanted


def test_times_do_not_move(cache, origin, make_api):
    """created_at, updated_at and Last-Modified are the image's: before it is fetched, after, and when it is gone from the cache again."""
    origin.put("image", blob(MIB, 1))
    cache.configure(origin).mount()
    api = make_api(cache)

    def times():
        record, head = api.get("/v2/images/image").json, api.ask("HEAD", "/images/image").headers
        return record["created_at"], record["updated_at"], head["Last-Modified"]
    first = times()
    api.get("/images/image")
    cache.wait_cached("image")
    assert times() == first
    api.delete("/v2/cache/image")
    assert times() == first


def test_if_modified_since(images):
    modified = images.ask("HEAD", "/images/a.img").headers["Last-Modified"]
    for method in ("GET", "HEAD"):
        answer = images.ask(method, "/images/a.img", {"If-Modified-Since": modified})
        assert answer.status == 304 and answer.body == b"" and answer.headers["ETag"] and answer.headers["Last-Modified"] == modified
    for value in ("Thu, 01 Jan 1970 00:00:00 GMT", "nonsense", modified + "x"):
        assert images.ask("GET", "/images/a.img", {"If-Modified-Since": value}).status == 200
    assert images.ask("GET", "/images/a.img", {"If-Modified-Since": modified, "If-None-Match": '"other"'}).status == 200


# ---- when bytes cannot be had

@pytest.mark.parametrize("what", [{}, {"Range": "bytes=1000-"}])
def test_no_answer_without_bytes(cache, origin, make_api, what):
    """A known image whose backend is down: 503 with a reason and when to try again, not 200 and a broken connection."""
    content = origin.put("image", blob(MIB, 1))
    origin.put("other", content)
    cache.configure(origin.config(retries=0)).mount()
    api = make_api(cache)
    cache.ls("images")
    os.stat(cache.image("image"))
    api.get("/images/other")
    cache.wait_cached("other")
    port = origin.port if hasattr(origin, "port") else None
    origin.stop()
    answer = api.ask("GET", "/images/image", what)
    assert answer.status == 503 and int(answer.headers["Retry-After"]) > 0 and "image" in answer.message, port
    same(api.ask("GET", "/images/other", what).body, content[1000:] if what else content)


# ---- keystone: Glance's answers

@pytest.fixture
def openstack():
    server = OpenStack()
    server.tokens = {"boss": ("admin", 3600), "alice": ("member", 3600)}
    server.images = {"image": ("active", {"boss", "alice"}), "theirs": ("active", {"boss"})}
    server.documents = {"image": {"hw_disk_bus": "virtio", "min_disk": 7, "owner": "o", "visibility": "private", "disk_format": "qcow2"}}
    yield server
    server.close()


@pytest.fixture
def relay(folder, make_api, openstack):
    folder.put("image", b"x")
    folder.mount()
    return make_api(folder, auth="keystone", auth_url=openstack.url + "/v3", image_url=openstack.url)


@pytest.mark.parametrize("token", ["alice", "boss"])
def test_admins_see_what_members_see(relay, openstack, token):
    """Glance's own document, with its properties; and its list, by its own filters."""
    assert relay.get("/v2/images/image", X_Auth_Token=token).json == {"id": "image", "status": "active", **openstack.documents["image"]}
    query = "hw_disk_bus=virtio&sort=name%3Aasc&tag=a%20b"
    answer = relay.get("/v2/images?" + query, X_Auth_Token=token).json
    assert answer["query"] == query and {i["id"] for i in answer["images"]} == ({"image", "theirs"} if token == "boss" else {"image"})


@pytest.mark.parametrize("status,seen", [(300, 300), (400, 400), (403, 403), (404, 404), (409, 409), (410, 410), (413, 413), (429, 429), (500, 503), (502, 503),
                                         (503, 503), (504, 503)])
def test_glances_no(relay, openstack, status, seen):
    """Comes through with its words and when to try again; where another try helps it is 503, which clients try again."""
    assert relay.get("/v2/images", X_Auth_Token="alice").status == 200
    openstack.answer = lambda path, headers: (status, json.dumps({"why": "so"}).encode(), {"Retry-After": "17", "Content-Type": "text/x-words"})
    for path in ("/v2/images/image", "/v2/images?limit=1"):
        answer = relay.get(path, X_Auth_Token="alice")
        assert answer.status == seen
        if status < 500:
            assert answer.json == {"why": "so"} and answer.headers["Retry-After"] == "17" and answer.headers["Content-Type"] == "text/x-words"
        else:
            assert answer.message and int(answer.headers["Retry-After"]) > 0


def test_a_token_that_glance_refuses(relay, openstack):
    assert relay.get("/v2/images", X_Auth_Token="alice").status == 200
    openstack.answer = lambda path, headers: (401, {})
    answer = relay.get("/v2/images/image", X_Auth_Token="alice")
    assert answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Keystone uri=")
