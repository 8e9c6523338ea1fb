# SPDX-License-Identifier: Apache-2.0
"""glance-cache-api with auth = keystone, before a real Keystone and Glance: who may, and the real clients with their own logins."""
import json
import os
import re
import subprocess
import sys

import pytest

import harness
from cloud import sha_of
from harness import MIB, same
from waiting import PATIENCE, wait_until

sys.path.append(os.path.join(harness.TOP, "tests", "api"))
from server import Api, binary  # noqa: E402


@pytest.fixture
def api(cloud, cache):
    """On a mount whose backend is the lab's Glance."""
    cache.configure(cloud.glance(cache)).mount()
    server = Api(cache, auth="keystone", auth_url=cloud["OS_AUTH_URL"], image_url=cloud["ORIGIN_URL"])
    server.start()
    yield server
    server.close()


def demo(cloud):
    return cloud.token("demo", "demo")


def test_an_admin_manages(cloud, cache, api):
    ident, _, digest = cloud.images["QCOW2"]
    admin = {"X_Auth_Token": cloud.token()}
    assert api.get("/v2/cache").status == 401 and api.get("/v2/cache", X_Auth_Token="nonsense").status == 401
    assert api.put("/v2/cache/" + ident, **admin).status == 202
    cache.wait_cached(ident)
    assert [i["image_id"] for i in api.get("/v2/cache", **admin).json["cached_images"]] == [ident]
    assert harness.sha(api.get(f"/v2/images/{ident}/file", **admin).body) == digest
    assert api.delete("/v2/cache/" + ident, **admin).status == 204 and cache.ls("cached") == []


def test_a_member_sees_its_own_images(cloud, cache, api, made):
    """What Glance does not show to the caller is not there; and it may download, not manage."""
    content = harness.blob(MIB + 5, 91)
    own = made(content, token=demo(cloud))
    theirs = made(harness.blob(MIB, 92), visibility="private")
    public = cloud.images["FLOPPY"][0]
    member = {"X_Auth_Token": demo(cloud)}
    for _ in range(2):  # not cached, and cached
        same(api.get("/images/" + own, **member).body, content)
        cache.wait_cached(own)
    assert api.get("/images/" + theirs, X_Auth_Token=cloud.token()).status == 200
    cache.wait_cached(theirs)
    for path in (f"/images/{theirs}", f"/v1/images/{theirs}", f"/v2/images/{theirs}/file", f"/v2/images/{theirs}"):
        assert api.get(path, **member).status == 404, path
    assert api.get("/images/" + public, **member).status == 200
    listed = [i["id"] for i in api.get("/v2/images?limit=1000", **member).json["images"]]
    assert own in listed and public in listed and theirs not in listed
    for method, path in (("GET", "/v2/cache"), ("PUT", "/v2/cache/" + own), ("DELETE", "/v2/cache/" + own), ("GET", "/status"),
                         ("POST", "/v2/cache/prune"), ("DELETE", "/v2/cached_images")):
        assert api.ask(method, path, {"X-Auth-Token": demo(cloud)}).status == 403, path
    assert own in cache.ls("cached")


def test_a_deactivated_image(cloud, cache, api, made):
    ident = made(harness.blob(MIB, 93), token=demo(cloud))
    cloud.deactivate(ident)
    assert api.get("/images/" + ident, X_Auth_Token=demo(cloud)).status == 403


def test_the_policy_for_downloads(cloud, cache, api, made):
    """Who may look at an image and not download it, by Glance's policy, gets no byte here either: cached or not, by any way."""
    content = harness.blob(MIB, 95)
    ident = made(content, token=demo(cloud))
    member, boss = {"X-Auth-Token": demo(cloud)}, {"X-Auth-Token": cloud.token()}

    def at_glance():
        return cloud.http("GET", f"{cloud['ORIGIN_URL']}/v2/images/{ident}/file", headers={"Range": "bytes=0-0"}, token=demo(cloud),
                          expect=(200, 206, 403))[0]
    with cloud.policy(download_image="role:admin"):
        wait_until(lambda: at_glance() == 403, what="Glance to read its policy")
        for round_ in range(2):
            for method, path in (("GET", f"/v2/images/{ident}/file"), ("HEAD", f"/v2/images/{ident}/file"), ("GET", f"/images/{ident}"),
                                 ("GET", f"/v1/images/{ident}"), ("GET", f"/auth/images/{ident}")):
                assert api.ask(method, path, member).status == 403, (round_, method, path)
            assert api.ask("GET", f"/images/{ident}", {**member, "Range": "bytes=0-9"}).status == 403
            assert api.ask("GET", f"/v2/images/{ident}", member).json["id"] == ident
            same(api.ask("GET", f"/images/{ident}", boss).body, content)
            cache.wait_cached(ident)
    wait_until(lambda: at_glance() == 206, what="Glance to read its policy again")
    wait_until(lambda: api.ask("GET", f"/images/{ident}", member).status == 200, what="the refusal to be asked about again")


@pytest.mark.deadline(180)
def test_glanceclient_logs_in(cloud, cache, api, tmp_path):
    """Its own login at Keystone, and its cache commands here."""
    ident, _, digest = cloud.images["ISO"]

    def glance(*arguments):
        return cloud.client("glance", "--os-image-url", api.url, *arguments)
    glance("cache-queue", ident)
    cache.wait_cached(ident)
    assert f"| {ident} | cached |" in glance("cache-list")
    glance("image-download", "--file", str(tmp_path / "got"), ident)
    assert sha_of(tmp_path / "got") == digest
    glance("cache-delete", ident)
    assert cache.ls("cached") == []


@pytest.mark.deadline(180)
def test_openstackclient_finds_by_name(cloud, cache, api, made, tmp_path):
    content = harness.blob(MIB, 94)
    ident = made(content, name="an image's name")

    # an operator's file that leads to this server for images, as the catalogue would
    config = tmp_path / "clouds.yaml"
    auth = {"auth_url": cloud["OS_AUTH_URL"], "username": "admin", "password": cloud["OS_PASSWORD"], "project_name": "admin",
            "user_domain_id": "default", "project_domain_id": "default"}
    config.write_text(json.dumps({"clouds": {"cache": {"auth": auth, "image_endpoint_override": api.url + "/v2"}}}))

    def openstack(*arguments):
        return cloud.client("openstack", "--os-cloud", "cache", *arguments, OS_CLIENT_CONFIG_FILE=str(config))
    assert json.loads(openstack("image", "show", "-f", "json", "an image's name"))["id"] == ident
    openstack("image", "save", "--file", str(tmp_path / "got"), "an image's name")
    same((tmp_path / "got").read_bytes(), content)
    cache.wait_cached(ident)


def manage(cloud, api, *arguments, code=0, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    env.update({k: v for k, v in cloud.env.items() if k.startswith("OS_")}, **more)
    done = subprocess.run([binary("GCFS_MANAGE_BINARY", "tools", "manage", "glance-cache-manage"), "-H", "127.0.0.1", "-p", str(api.port),
                           *arguments], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * PATIENCE,
                          check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_our_client_logs_in(cloud, cache, api):
    """By the environment of an operator, or by a token that is good no more, which it replaces."""
    ident = cloud.images["FLOPPY"][0]
    manage(cloud, api, "-f", "queue-image", ident)
    cache.wait_cached(ident)
    assert re.search(rf"\| {ident} \| 20", manage(cloud, api, "list-cached", OS_AUTH_TOKEN="spoilt"))
    out = manage(cloud, api, "list-cached", code=1, OS_USERNAME="demo", OS_PROJECT_NAME="demo")
    assert out == "Not authorized to make this request.\n"
    out = manage(cloud, api, "list-cached", code=1, OS_PASSWORD="wrong")
    assert "no token from" in out
    manage(cloud, api, "-f", "delete-cached-image", ident)
    wait_until(lambda: cache.ls("cached") == [], what="the image to be evicted")
