# SPDX-License-Identifier: Apache-2.0
"""glance-cache-api with `upstream` as the one url of a real Glance: uploads and changes through it, and its own client with it as the endpoint."""
import hashlib
import http.client
import json
import os
import subprocess
import sys

import pytest

import harness
from harness import MIB

sys.path.append(os.path.join(harness.TOP, "tests", "api"))
from server import Api  # noqa: E402

PIECE = harness.blob(MIB, 61)


@pytest.fixture
def api(cloud, cache):
    cache.configure(cloud.glance(cache)).mount()
    server = Api(cache, auth="keystone", auth_url=cloud["OS_AUTH_URL"], image_url=cloud["ORIGIN_URL"], upstream=cloud["ORIGIN_URL"])
    server.start()
    yield server
    server.close()


def upload(api, ident, token, pieces):
    """Chunked, as glanceclient does."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=300)
    try:
        connection.request("PUT", f"/v2/images/{ident}/file", pieces, {"X-Auth-Token": token, "Content-Type": "application/octet-stream"},
                           encode_chunked=True)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def download(api, ident, token):
    connection, digest, length = http.client.HTTPConnection("127.0.0.1", api.port, timeout=300), hashlib.sha256(), 0
    try:
        connection.request("GET", f"/v2/images/{ident}/file", headers={"X-Auth-Token": token})
        answer = connection.getresponse()
        while part := answer.read(MIB):
            digest.update(part)
            length += len(part)
        return answer.status, length, digest.hexdigest()
    finally:
        connection.close()


def test_the_life_of_an_image(cloud, cache, api):
    token, count = cloud.token("demo", "demo"), 200
    told = {"X-Auth-Token": token, "Content-Type": "application/json"}
    record = {"name": "through", "disk_format": "raw", "container_format": "bare", "hw_disk_bus": "scsi"}
    answer = api.ask("POST", "/v2/images", told, json.dumps(record).encode())
    assert answer.status == 201, answer.body
    ident = answer.json["id"]
    try:
        assert answer.headers["Location"] == f"{api.url}/v2/images/{ident}" and answer.headers["X-Openstack-Request-Id"].startswith("req-")
        assert api.get(f"/v2/images/{ident}", X_Auth_Token=token).json["status"] == "queued"
        before = api.memory()
        assert upload(api, ident, token, (PIECE for _ in range(count))) == (204, b"")
        assert api.memory() < before + 8 * 1024
        shown = api.get(f"/v2/images/{ident}", X_Auth_Token=token).json
        assert shown == json.loads(cloud_ask(cloud, "GET", f"/v2/images/{ident}", {"X-Auth-Token": token})[1]) and shown["size"] == count * MIB and shown["hw_disk_bus"] == "scsi"
        expected = hashlib.sha256(PIECE * count).hexdigest()
        assert download(api, ident, token) == (200, count * MIB, expected)
        cache.wait_cached(ident)
        patch = [{"op": "replace", "path": "/name", "value": "another"}]
        answer = api.ask("PATCH", f"/v2/images/{ident}", {**told, "Content-Type": "application/openstack-images-v2.1-json-patch"}, json.dumps(patch).encode())
        assert answer.status == 200 and answer.json["name"] == "another" and ident in cache.ls("cached")
        listed = api.get("/v2/images?name=another&sort=created_at:desc", X_Auth_Token=token).json["images"]
        assert ident in [i["id"] for i in listed]
        assert api.delete(f"/v2/images/{ident}", X_Auth_Token=token).status == 204
        assert ident not in cache.ls("cached")
        assert api.get(f"/v2/images/{ident}/file", X_Auth_Token=token).status == 404
    finally:
        cloud.delete_image(ident)


def cloud_ask(cloud, method, path, headers, body=None):
    """Straight to Glance."""
    connection = http.client.HTTPConnection(cloud["ORIGIN_URL"].split("://")[1].rstrip("/"), timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_versions_and_refusals_are_glances(cloud, api):
    theirs = json.loads(cloud_ask(cloud, "GET", "/versions", {})[1])["versions"]
    ours = api.get("/versions").json["versions"]
    assert [v["id"] for v in ours] == [v["id"] for v in theirs] and {v["links"][0]["href"] for v in ours} == {api.url + "/v2/"}
    token = cloud.token("demo", "demo")
    for method, path, status in (("GET", "/v2/images", 401), ("POST", "/v2/images", 401)):
        assert api.ask(method, path, body=b"{}" if method == "POST" else None).status == status
    for method, path, body in (("POST", "/v2/images", b'{"nonsense'), ("GET", "/v2/images?sort_key=nonsense", None), ("GET", "/v2/images/nothing", None),
                               ("DELETE", "/v2/images/nothing", None), ("PUT", "/v2/images/nothing/file", b"x"), ("POST", "/v2/schemas/image", b"{}"),
                               ("PATCH", "/v2/images/nothing", b"[]"), ("GET", "/v2/there/is/none", None)):
        told = {"X-Auth-Token": token, "Content-Type": "application/json"}
        answer = api.ask(method, path, {**told, "X-Roles": "admin", "X-Identity-Status": "Confirmed"}, body)
        assert answer.status >= 400 and (answer.status, answer.body) == cloud_ask(cloud, method, path, told, body), (method, path)
    forged = {"X-Roles": "admin", "X_Roles": "admin", "X-Identity-Status": "Confirmed", "X-Project-Id": "p", "X-User-Id": "u"}
    assert api.ask("GET", "/v2/images", forged).status == 401


def test_glances_own_client(cloud, cache, api):
    """create with its data, show, download, delete: with this server as the only endpoint."""
    source = os.path.join(cache.root, "source")
    with open(source, "wb") as f:
        f.write(PIECE * 3)

    def client(*args):
        done = subprocess.run(["glance", "--os-image-url", api.url, "--os-auth-token", token, *args], capture_output=True, text=True, timeout=120,
                              check=False, env={**os.environ, "OS_AUTH_URL": cloud["OS_AUTH_URL"]})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    token = cloud.token("demo", "demo")
    made = client("image-create", "--name", "client", "--disk-format", "raw", "--container-format", "bare", "--file", source)
    ident = next(line.split("|")[2].strip() for line in made.splitlines() if line.startswith("| id "))
    try:
        assert "active" in client("image-show", ident)
        back = os.path.join(cache.root, "back")
        client("image-download", ident, "--file", back)
        assert open(back, "rb").read() == PIECE * 3
        assert ident in client("image-list")
        client("member-list", "--image-id", ident)
        client("image-delete", ident)
        assert ident not in client("image-list")
    finally:
        cloud.delete_image(ident)
