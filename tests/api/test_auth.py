# SPDX-License-Identifier: Apache-2.0
"""Who may: the three kinds of auth, DNS rebinding, cross-site requests, TLS."""
import os
import ssl
import subprocess
import urllib.request

import pytest

from harness import KIB, blob, same
from openstack import OpenStack

MANAGEMENT = [("GET", "/v2/cache"), ("DELETE", "/v2/cache"), ("PUT", "/v2/cache/image"), ("DELETE", "/v2/cache/image"),
              ("GET", "/v2/cache/image"), ("PUT", "/v2/cache/image/pin"), ("POST", "/v2/cache/prune"), ("POST", "/v2/cache/clean"),
              ("GET", "/v2/cache/nodes/image"), ("GET", "/cached-images"), ("DELETE", "/v1/cached_images"),
              ("PUT", "/v2/queued_images/image"), ("DELETE", "/v2/cache/image/incomplete")]
WATCHING = [("GET", "/status")]  # for who sees all images
READING = [("GET", "/images/image"), ("HEAD", "/v2/images/image/file"), ("GET", "/v2/images"), ("GET", "/v2/images/image"),
           ("GET", "/v1/images/image"), ("GET", "/auth/images/image")]
OPEN = ["/", "/versions", "/healthcheck", "/page/page.js"]


def secret(folder, name, text):
    path = os.path.join(folder.root, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
        f.write(text + "\n")
    return path


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:9292"])
def test_none_is_for_loopback(folder, make_api, listen):
    from server import Api
    done = Api(folder, listen=listen).run()
    assert done.returncode == 1 and "auth = none" in done.stderr


def test_token(folder, make_api):
    folder.put("image", blob(100 * KIB, 1))
    folder.mount()
    api = make_api(folder, auth="token", admin_token_file=secret(folder, "admin", "admin-secret"),
                   reader_token_file=secret(folder, "reader", "reader-secret"))
    for path in OPEN:
        assert api.get(path).status in (200, 300), path
    for method, path in MANAGEMENT + WATCHING + READING + [("GET", "/metrics")]:
        for headers in ({}, {"X-Auth-Token": "wrong"}, {"X-Auth-Token": "admin-secre"}, {"X-Auth-Token": "admin-secretx"},
                        {"Authorization": "Basic admin-secret"}, {"X-Auth-Token": ""}):
            answer = api.ask(method, path, headers)
            assert answer.status == 401 and answer.headers["WWW-Authenticate"], (method, path)
    for method, path in MANAGEMENT:
        assert api.ask(method, path, {"X-Auth-Token": "reader-secret"}).status == 403, (method, path)
    for method, path in READING + WATCHING:
        for headers in ({"X-Auth-Token": "reader-secret"}, {"Authorization": "Bearer reader-secret"}, {"X-Auth-Token": "admin-secret"}):
            assert api.ask(method, path, headers).status in (200, 204), (method, path)
    for method, path in MANAGEMENT:
        assert api.ask(method, path, {"X-Auth-Token": "admin-secret"}).status in (200, 202, 204, 404, 409), (method, path)
    assert api.get("/metrics", X_Auth_Token="reader-secret").status == 200
    for token, may in (("reader-secret", False), ("admin-secret", True)):
        assert api.get("/status", X_Auth_Token=token).json["may_manage"] is may
    assert "admin-secret" not in api.logged() and "reader-secret" not in api.logged()


def test_public_metrics(folder, make_api):
    folder.mount()
    api = make_api(folder, auth="token", admin_token_file=secret(folder, "admin", "x"), public_metrics="yes")
    assert api.get("/metrics").status == 200 and api.get("/status").status == 401


def test_token_file_missing(folder):
    from server import Api
    done = Api(folder, auth="token", admin_token_file="/nonexistent").run()
    assert done.returncode == 1 and "/nonexistent" in done.stderr
    done = Api(folder, auth="token").run()
    assert done.returncode == 1 and "admin_token_file" in done.stderr


@pytest.fixture
def openstack():
    server = OpenStack()
    yield server
    server.close()


def keystone(folder, make_api, openstack, **options):
    return make_api(folder, auth="keystone", auth_url=openstack.url + "/v3", image_url=openstack.url, **options)


def test_keystone(folder, make_api, openstack):
    content = folder.put("image", blob(100 * KIB, 1))
    folder.put("other", b"another tenant's")
    folder.mount()
    openstack.tokens = {"boss": ("admin", 3600), "alice": ("member", 3600), "bob": ("member", 3600), "old": ("admin", -5)}
    openstack.images = {"image": ("active", {"alice", "boss"}), "other": ("active", {"bob", "boss"}), "off": ("deactivated", {"alice"})}
    api = keystone(folder, make_api, openstack)
    for path in OPEN:
        assert api.get(path).status in (200, 300)
    for method, path in MANAGEMENT + WATCHING + READING:
        for token in (None, "nobody", "old"):
            answer = api.ask(method, path, {} if token is None else {"X-Auth-Token": token})
            assert answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Keystone uri="), (method, path)
    for method, path in MANAGEMENT + WATCHING:
        assert api.ask(method, path, {"X-Auth-Token": "alice"}).status == 403, (method, path)
    for method, path in MANAGEMENT + WATCHING:
        assert api.ask(method, path, {"X-Auth-Token": "boss"}).status in (200, 202, 204, 404, 409), (method, path)
    same(api.get("/images/image", X_Auth_Token="alice").body, content)
    for path in ("/images/other", "/v1/images/other", "/v2/images/other/file", "/v2/images/other", "/images/nobody"):
        assert api.get(path, X_Auth_Token="alice").status == 404, path
    assert api.get("/auth/images/other", X_Auth_Token="alice").status == 403
    assert api.get("/auth/images/image", X_Auth_Token="alice").status == 204
    assert api.get("/images/off", X_Auth_Token="alice").status == 403
    assert [i["id"] for i in api.get("/v2/images", X_Auth_Token="bob").json["images"]] == ["other"]
    assert "alice" not in api.logged() and "boss" not in api.logged()


def test_keystone_verdicts_are_kept(folder, make_api, openstack):
    folder.put("image", b"x")
    folder.mount()
    openstack.tokens = {"alice": ("member", 3600)}
    openstack.images = {"image": ("active", {"alice"})}
    api = keystone(folder, make_api, openstack)
    for _ in range(5):
        assert api.get("/images/image", X_Auth_Token="alice").status == 200
    assert sorted(openstack.asked) == ["/v2/images/image/file", "/v3/auth/tokens"]
    # and are good while nobody answers; what is not known is then 503, not 404
    openstack.broken = True
    assert api.get("/images/image", X_Auth_Token="alice").status == 200
    assert api.get("/images/other", X_Auth_Token="alice").status == 503
    assert api.get("/images/image", X_Auth_Token="bob").status == 503


def test_keystone_gone(folder, make_api):
    folder.mount()
    api = make_api(folder, auth="keystone", auth_url="http://127.0.0.1:1/v3", image_url="http://127.0.0.1:1")
    assert api.get("/v2/cache", X_Auth_Token="x").status == 503


# ---- browsers

@pytest.mark.parametrize("host,good", [("127.0.0.1", True), ("localhost:9292", True), ("[::1]:80", True), ("images.example.org", True),
                                       ("evil.example", False), ("evil.example:9292", False), ("127.0.0.1.evil.example", False)])
def test_rebinding(folder, make_api, host, good):
    folder.mount()
    api = make_api(folder, server_names="images.example.org")
    for method, path in MANAGEMENT + WATCHING + READING + [("GET", "/"), ("GET", "/metrics")]:
        status = api.ask(method, path, {"Host": host}).status
        assert (status != 403) if good else (status == 403), (method, path)


def test_cross_site(folder, api):
    folder.put("image", blob(100 * KIB, 1))
    api.get("/images/image")
    folder.wait_cached("image")
    foreign = [{"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"},
               {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
               {"Origin": "http://evil.example", "X-Glance-Cache": "page"}, {"Origin": "http://127.0.0.1:1"}]
    for method, path in MANAGEMENT + WATCHING + READING:
        for headers in foreign:
            answer = api.ask(method, path, headers)
            assert answer.status == 403 and "Access-Control-Allow-Origin" not in answer.headers, (method, path, headers)
    assert folder.ls("cached") == ["image"]
    own = {"Origin": api.url, "Sec-Fetch-Site": "same-origin"}
    assert api.ask("DELETE", "/v2/cache/image", own).status == 403  # without the header that pages cannot send across sites
    assert api.ask("GET", "/v2/cache", own).status == 200
    assert api.ask("DELETE", "/v2/cache/image", {**own, "X-Glance-Cache": "page"}).status == 204
    # a link from elsewhere leads to the page, and to nothing else
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
    assert api.ask("GET", "/", link).status == 200 and api.ask("GET", "/status", link).status == 403


def test_tls(folder, make_api):
    content = folder.put("image", blob(3000 * KIB, 1))
    cert, key = os.path.join(folder.root, "cert.pem"), os.path.join(folder.root, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True,
                   capture_output=True)
    folder.mount()
    api = make_api(folder, tls_cert_file=cert, tls_key_file=key)
    context = ssl.create_default_context(cafile=cert)
    for _ in range(2):
        with urllib.request.urlopen(f"https://127.0.0.1:{api.port}/images/image", context=context) as answer:
            same(answer.read(), content)
    with pytest.raises((ConnectionError, OSError, Exception)):
        api.get("/versions")
