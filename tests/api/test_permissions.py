# SPDX-License-Identifier: Apache-2.0
"""auth = keystone: who may have an image's bytes is Glance's policy download_image, and how the two services are asked."""
import os
import ssl
import subprocess
import threading

import pytest

from harness import KIB, blob, same
from openstack import OpenStack
from waiting import wait_until

WAYS = [("GET", "/images/image"), ("HEAD", "/images/image"), ("GET", "/v1/images/image"), ("HEAD", "/v1/images/image"),
        ("GET", "/v2/images/image/file"), ("HEAD", "/v2/images/image/file")]


@pytest.fixture
def openstack():
    server = OpenStack()
    server.tokens = {"boss": ("admin", 3600), "member": ("member", 3600), "guest": ("reader", 3600), "nova": ("service", 3600),
                     "old": ("member", -5), "old-admin": ("admin", -5), "old-nova": ("service", -5)}
    server.images = {"image": ("active", {"boss", "member", "guest", "old"}), "empty": ("queued", {"member"})}
    server.downloaders = {"boss", "member", "old"}
    yield server
    server.close()


@pytest.fixture
def api(folder, make_api, openstack):
    folder.content = folder.put("image", blob(100 * KIB, 1))
    folder.put("empty", b"nothing that anybody may have")
    folder.mount()
    return make_api(folder, auth="keystone", auth_url=openstack.url + "/v3", image_url=openstack.url, auth_ttl=0)


@pytest.mark.parametrize("cached", [False, True])
def test_who_may_look_may_not_download(folder, api, cached):
    """A token that Glance shows the record to, and refuses the bytes, gets none here by any way."""
    if cached:
        same(api.get("/images/image", X_Auth_Token="member").body, folder.content)
        folder.wait_cached("image")
    for method, path in WAYS:
        for more in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": "*"}):
            answer = api.ask(method, path, {"X-Auth-Token": "guest", **more})
            assert answer.status == 403 and folder.content[:8] not in answer.body, (method, path, more)
    for method in ("GET", "HEAD"):
        assert api.ask(method, "/auth/images/image", {"X-Auth-Token": "guest"}).status == 403
    assert api.get("/v2/images/image", X_Auth_Token="guest").json["id"] == "image"
    assert folder.ls("cached") == (["image"] if cached else [])  # nor is it fetched for him
    for method, path in WAYS:
        assert api.ask(method, path, {"X-Auth-Token": "member"}).status == 200
    assert api.get("/images/image", X_Auth_Token="member", Range="bytes=5-9").body == folder.content[5:10]


@pytest.mark.parametrize("status,may", [(200, True), (206, True), (416, True), (204, None), (410, False), (300, None), (409, None)])
def test_what_an_answer_means(api, openstack, status, may):
    openstack.file_status = status
    got = api.get("/images/image", X_Auth_Token="member").status
    assert got == {True: 200, False: 404, None: 204 if status == 204 else 503}[may]
    proxy = api.get("/auth/images/image", X_Auth_Token="member").status
    assert proxy == (204 if may else 403 if status in (204, 410) else 503)


def test_a_store_without_ranges(api, openstack, folder):
    """Glance with rbd, Swift or S3 as its store: 400 to a range, and then it is asked for all, and left."""
    openstack.file_status = lambda asked: 400 if asked else 200
    same(api.get("/images/image", X_Auth_Token="member").body, folder.content)
    assert api.get("/images/image", X_Auth_Token="guest").status == 403
    openstack.file_status = 400  # whatever is asked: that is no yes
    assert api.get("/images/image", X_Auth_Token="member").status == 503


def test_a_store_that_is_down(api, openstack, folder):
    """What is cached can be had when only the store behind Glance fails; and not when Glance does."""
    api.get("/images/image", X_Auth_Token="member")
    folder.wait_cached("image")
    openstack.file_status = lambda asked: 503 if asked == "bytes=0-0" else 416
    same(api.get("/images/image", X_Auth_Token="member").body, folder.content)
    assert api.get("/images/image", X_Auth_Token="guest").status == 403
    openstack.file_status = 503
    assert api.get("/images/image", X_Auth_Token="member").status == 503


def test_no_data(api):
    assert api.get("/v2/images/empty/file", X_Auth_Token="member").status == 204


def test_a_token_that_glance_knows_no_more(api, openstack):
    """Revoked, while Keystone's answer is still kept: 401, so that the client gets a new one, and Keystone is asked again."""
    assert api.get("/images/image", X_Auth_Token="member").status == 200
    tokens, openstack.tokens = openstack.tokens, {}
    answer = api.get("/images/image", X_Auth_Token="member")
    assert answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Keystone uri=")
    openstack.tokens = tokens
    before = openstack.count("/v3/auth/tokens")
    assert api.get("/images/image", X_Auth_Token="member").status == 200
    assert openstack.count("/v3/auth/tokens") == before + 1


def together(api, count, path, token):
    """So many requests at once; the statuses, when all are answered."""
    statuses, threads = [], []
    for i in range(count):
        name = token(i) if callable(token) else token
        threads.append(threading.Thread(target=lambda t=name: statuses.append(api.get(path, X_Auth_Token=t).status)))
        threads[-1].start()
    return statuses, threads


def test_one_question_for_many(api, openstack):
    """Clients with the same token and image: Keystone and Glance are asked once each."""
    openstack.hold = threading.Event()
    statuses, threads = together(api, 30, "/images/image", "member")
    wait_until(lambda: api.connections_by_kernel() >= 30, what="all to be connected")
    wait_until(lambda: openstack.count("/v3/auth/tokens") >= 1, what="Keystone to be asked")
    openstack.hold.set()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 30
    # who came while it was asked got that answer; who came later may have asked again, as auth_ttl = 0 wants it
    assert openstack.count("/v3/auth/tokens") == 1


def test_not_too_many_questions(api, openstack):
    """Each with a token of its own: so many are under way at Keystone, and no more."""
    openstack.hold = threading.Event()
    statuses, threads = together(api, 60, "/images/image", lambda i: f"token-{i}")
    wait_until(lambda: openstack.under_way >= 16, what="Keystone to be busy")
    wait_until(lambda: api.connections_by_kernel() >= 60, what="all to be connected")
    openstack.hold.set()
    for thread in threads:
        thread.join()
    assert statuses == [401] * 60 and openstack.most == 16


def test_a_dead_keystone_is_one_warning(api, openstack):
    openstack.broken = True
    for i in range(10):
        assert api.get("/images/image", X_Auth_Token=f"token-{i}").status == 503
    assert sum("warning:" in line and "Keystone" in line for line in api.logged().splitlines()) == 1
    openstack.broken = False
    assert api.get("/images/image", X_Auth_Token="member").status == 200
    wait_until(lambda: "Keystone" in api.logged() and "answers again" in api.logged(), what="the good news")


# ---- what must not be passed on

@pytest.mark.parametrize("byte", [b"\r", b"\x0b", b"\x01", b"\x7f", b"\xe9", b" "])
@pytest.mark.parametrize("name", [b"X-Auth-Token", b"X-Service-Token"])
def test_no_header_of_the_clients(api, openstack, name, byte):
    """A token is visible ASCII: with anything else in it, it would be another header at Keystone."""
    openstack.tokens["aaa"] = ("admin", 3600)
    token = b"aaa" + byte + b"X-Injected: yes" + byte + b"X-Subject-Token: boss"
    head = b"GET /v2/cache HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    if name == b"X-Service-Token":
        head += b"X-Auth-Token: boss\r\n"
    answer = api.raw(head + name + b": " + token + b"\r\n\r\n")
    assert answer.split(b" ", 2)[1] in (b"400", b"401")
    assert not any("X-Injected" in headers for _, headers in openstack.requests)
    assert not any("X-Injected" in str(value) for _, headers in openstack.requests for value in headers.values())


# ---- services that act for a user

@pytest.mark.parametrize("user,service,status", [
    ("old", None, 401), ("old", "nova", 200), ("old", "member", 401), ("old", "old-nova", 401), ("old", "nobody", 401),
    ("member", "nova", 200), ("member", "old-nova", 200), ("nobody", "nova", 401)])
def test_service_token(api, openstack, folder, user, service, status):
    """With a good service token the user's may have expired, here and at Glance."""
    headers = {"X-Auth-Token": user, **({"X-Service-Token": service} if service else {})}
    answer = api.ask("GET", "/v2/images/image/file", headers)
    assert answer.status == status
    if status == 200:
        same(answer.body, folder.content)
        asked = [h for path, h in openstack.requests if path.endswith("/file")]
        assert asked and all(h["X-Service-Token"] == service for h in asked)
        assert api.ask("GET", "/v2/images/image", headers).json["id"] == "image"


def test_service_token_manages(api):
    """The roles that count are the user's."""
    assert api.ask("GET", "/v2/cache", {"X-Auth-Token": "old-admin", "X-Service-Token": "nova"}).status == 200
    assert api.ask("GET", "/v2/cache", {"X-Auth-Token": "old-admin"}).status == 401
    assert api.ask("GET", "/v2/cache", {"X-Auth-Token": "old", "X-Service-Token": "nova"}).status == 403
    assert api.ask("GET", "/v2/cache", {"X-Auth-Token": "member", "X-Service-Token": "boss"}).status == 403


# ---- whom it believes to be Keystone and Glance

def authority(folder, name):
    """A certificate of its own, for 127.0.0.1: (certificate, key)."""
    cert, key = os.path.join(folder, name + ".crt"), os.path.join(folder, name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def system_authorities(tmp_path):
    """(server certificate and key, another authority's, a command that runs a program with the first among the system's own)."""
    known, other = authority(tmp_path, "known"), authority(tmp_path, "other")
    certs = tmp_path / "certs"
    certs.mkdir()
    digest = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", known[0]], check=True, capture_output=True, text=True).stdout.strip()
    (certs / f"{digest}.0").write_bytes(open(known[0], "rb").read())
    os.chmod(tmp_path, 0o755)
    inside = ["unshare", "-m", "sh", "-c", f"mount --bind {certs} /etc/ssl/certs && exec \"$@\"", "sh"]
    if subprocess.run([*inside, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no mount namespace of one's own here")
    return known, other, inside


@pytest.mark.parametrize("which,status", [("other", 503), ("known", 200)])
def test_a_ca_file_replaces_the_systems(folder, openstack, system_authorities, request, which, status):
    """A Keystone whose certificate an authority of the system signed, and auth_ca_file names another one: no token goes there."""
    from server import Api
    known, other, inside = system_authorities
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*known)
    openstack.server.socket = tls.wrap_socket(openstack.server.socket, server_side=True)
    url = openstack.url.replace("http:", "https:")
    folder.put("image", b"x")
    folder.mount()

    class Inside(Api):
        def command(self, *more):
            return [*inside, *super().command(*more)]
    api = Inside(folder, auth="keystone", auth_url=url + "/v3", image_url=url, auth_ca_file={"known": known, "other": other}[which][0])
    request.addfinalizer(api.close)
    api.start()
    assert api.get("/images/image", X_Auth_Token="member").status == status
    if status == 503:
        assert not openstack.asked
    from server import binary
    done = subprocess.run([*inside, binary("GCFS_MANAGE_BINARY", "manage", "glance-cache-manage"), "-H", url, "--ca-file", {"known": known, "other": other}[which][0], "-A", "member", "list-cached"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert ("certificate" in done.stdout + done.stderr) == (which == "other"), done.stdout + done.stderr
