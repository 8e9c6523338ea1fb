# SPDX-License-Identifier: Apache-2.0
"""Where upstream is: one url or several, or Keystone's catalogue; and that it is not this server itself."""
import hashlib
import json

import pytest

from harness import KIB, MIB, blob
from openstack import OpenStack
from server import Api, free_port
from test_relay import Upstream, head_of


@pytest.fixture
def glances():
    servers = [Upstream(), Upstream()]
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def openstack():
    server = OpenStack()
    server.tokens["a"] = ("member", 3600)
    yield server
    server.close()


def started(folder, request, **options):
    """make(url of itself) gives what depends on it."""
    api = Api(folder, **options)
    request.addfinalizer(api.close)
    return api


@pytest.mark.parametrize("method,path", [("GET", "/v2/images"), ("GET", "/versions"), ("POST", "/v2/images"), ("PUT", "/v2/images/x/file")])
def test_its_own_upstream(folder, request, method, path):
    folder.mount()
    api = started(folder, request)
    api.options["upstream"] = api.url
    api.start()
    answer = api.ask(method, path, body=b"x" * 100 * KIB if method == "PUT" else b"{}" if method == "POST" else None)
    assert answer.status == 508 and "come back to where it was" in answer.message
    assert api.get("/healthcheck").status == 200


def test_in_a_circle(folder, request):
    folder.mount()
    first, second = started(folder, request), started(folder, request)
    first.options["upstream"], second.options["upstream"] = second.url + "/v2/", first.url
    first.start()
    second.start()
    for api in (first, second):
        assert api.get("/v2/images").status == 508


def test_asks_itself(folder, request, openstack):
    folder.put("mine", blob(64 * KIB, 1))
    folder.mount()
    api = started(folder, request, auth="keystone", auth_url=openstack.url)
    api.options["image_url"] = api.url
    api.start()
    assert api.get("/v2/images/mine/file", X_Auth_Token="a").status == 503
    assert api.get("/v2/images/mine", X_Auth_Token="a").status == 503
    assert "status 508" in api.logged()


def test_the_way_is_told(folder, make_api, glances):
    folder.mount()
    api = make_api(folder, upstream=glances[0].url)
    for sent in (None, "1.0 one, 1.1 two"):
        api.ask("GET", "/v2/x", {"Via": sent} if sent else {})
        told = glances[0].seen[-1][2].get_all("Via")
        assert len(told) == 1 and told[0].startswith(f"{sent}, 1.1 glance-cache-api-" if sent else "1.1 glance-cache-api-")


def closed_port():
    return f"http://127.0.0.1:{free_port()}"


def test_the_next_is_asked(folder, make_api, glances):
    folder.mount()
    one, two = glances
    api = make_api(folder, upstream=f"{closed_port()} {one.url}/image/v2 {two.url}")
    body = blob(3 * MIB, 4)
    assert api.ask("PUT", "/v2/images/new/file", body=body).status == 200
    assert one.seen[0][1] == "/image/v2/images/new/file" and one.seen[0][3:] == (len(body), hashlib.sha256(body).hexdigest())
    with api.socket() as s:
        s.sendall(b"PUT /v2/images/new/file HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert head_of(s)[0] == b"HTTP/1.1 100 Continue"
        s.sendall(b"3\r\nabc\r\n0\r\n\r\n")
        assert head_of(s)[0].startswith(b"HTTP/1.1 200")
    one.answers["POST", "/image/v2/images"] = lambda h: h.reply(201, b"{}", [("Location", one.url + "/image/v2/images/1")])
    assert api.ask("POST", "/v2/images", body=b"{}").headers["Location"] == api.url + "/v2/images/1"
    one.server.shutdown()
    one.server.socket.close()
    for _ in range(2):
        assert api.ask("PUT", "/v2/images/new/file", body=body).status == 200
    assert [s[1] for s in two.seen] == ["/v2/images/new/file"] * 2
    assert api.get("/v2/tasks").status == 200


def test_none_is_there(folder, make_api):
    folder.mount()
    api = make_api(folder, upstream=f"{closed_port()} {closed_port()}")
    for _ in range(2):
        answer = api.get("/v2/images")
        assert answer.status == 503 and answer.headers["Retry-After"] and "does not answer" in answer.message


def test_an_answer_is_not_asked_for_twice(folder, make_api, glances):
    """Who has begun may have done it."""
    folder.mount()
    one, two = glances
    one.answers["POST", "/v2/images"] = lambda h: setattr(h, "close_connection", True)
    assert make_api(folder, upstream=f"{one.url} {two.url}").ask("POST", "/v2/images", body=b"{}").status == 503
    assert len(one.seen) == 1 and not two.seen


# ---- the catalogue

def service(kind, *endpoints):
    return {"type": kind, "name": "x", "endpoints": [{"interface": i, "region": r, "region_id": r, "url": u, "id": "i"} for i, r, u in endpoints]}


def catalogue(one, two):
    return [service("compute", ("public", "A", "http://127.0.0.1:1")), {"type": "image"}, {}, 7,
            service("image", ("internal", "A", two.url + "/"), ("public", "B", two.url), ("public", "A", one.url + "/image"), ("admin", "A", "ftp://x"))]


@pytest.mark.parametrize("options,which,path", [({"upstream_region": "A"}, 0, "/image/v2/tasks"), ({"upstream_interface": "internal"}, 1, "/v2/tasks"),
                                                ({"upstream_region": "B"}, 1, "/v2/tasks")])
def test_from_the_catalogue(folder, make_api, glances, openstack, options, which, path):
    folder.mount()
    openstack.catalog = catalogue(*glances)
    api = make_api(folder, upstream="catalog", auth="keystone", auth_url=openstack.url, **options)
    answer = api.get("/v2/tasks")
    assert answer.status == 503 and "not known yet where Glance is" in answer.message
    assert api.get("/v2/tasks", X_Auth_Token="wrong").status == 503
    assert api.get("/v2/tasks", X_Auth_Token="a").status == 200
    assert [s[1] for s in glances[which].seen] == [path] and not glances[1 - which].seen
    assert api.get("/v2/tasks").status == 200


def test_the_catalogue_changes(folder, make_api, glances, openstack):
    one, two = glances
    folder.mount()
    openstack.catalog = [service("image", ("public", "A", one.url))]
    api = make_api(folder, upstream="catalog", auth="keystone", auth_url=openstack.url, token_ttl=0)
    assert api.get("/v2/tasks", X_Auth_Token="a").status == 200 and len(one.seen) == 1
    openstack.catalog = [service("image", ("public", "A", two.url))]
    api.get("/v2/images/x/file", X_Auth_Token="a")
    before = len(one.seen)
    assert api.get("/v2/tasks", X_Auth_Token="a").status == 200 and len(one.seen) == before and two.seen
    openstack.catalog = []
    api.get("/v2/images/x/file", X_Auth_Token="a")
    assert api.get("/v2/tasks", X_Auth_Token="a").status == 200, "a token without a catalogue says nothing"


def test_permission_is_asked_of_upstream(folder, make_api, openstack):
    """Without image_url."""
    folder.put("mine", blob(64 * KIB, 1))
    folder.mount()
    openstack.images["mine"] = ("active", {"a"})
    openstack.tokens["b"] = ("member", 3600)
    openstack.catalog = [service("image", ("public", "A", openstack.url))]
    for upstream in (openstack.url, "catalog"):
        api = make_api(folder, upstream=upstream, auth="keystone", auth_url=openstack.url)
        assert api.get("/v2/images/mine/file", X_Auth_Token="a").body == blob(64 * KIB, 1)
        assert api.get("/v2/images/mine/file", X_Auth_Token="b").status == 404


@pytest.mark.parametrize("options,why", [({"upstream": "catalog"}, "needs auth = keystone"), ({"upstream": "http://a ftp://b"}, "ftp://b"),
                                         ({"upstream": "http://u:p@a"}, "without a password"), ({"auth": "keystone", "auth_url": "http://k"}, "image_url")])
def test_what_cannot_be(folder, options, why):
    done = Api(folder, **options).run()
    assert done.returncode != 0 and why in done.stderr


# ---- headers

def test_headers_have_a_bound(folder, make_api, glances):
    """Of requests, and of Glance's answers."""
    folder.mount()
    one = glances[0]
    api = make_api(folder, upstream=one.url)
    assert api.get("/v2/x", X_Auth_Token="t" * 6 * KIB).status == 200 and len(one.seen[-1][2]["X-Auth-Token"]) == 6 * KIB
    assert api.ask("GET", "/v2/x", {f"X-OpenStack-{i}": "x" * KIB for i in range(12)}).status == 431
    one.answers["GET", "/v2/x"] = lambda h: h.reply(200, b"x", [(f"X-{i}", "x" * 4 * KIB) for i in range(30)])
    answer = api.get("/v2/x")
    assert answer.status == 503 and answer.headers["Retry-After"]
    one.answers["GET", "/v2/x"] = lambda h: h.reply(200, b"x", [("X-Openstack-Request-Id", "y" * KIB)])
    assert len(api.get("/v2/x").headers["X-Openstack-Request-Id"]) == KIB


def test_json(folder, make_api, glances):
    """The list of versions of the second, when the first is away."""
    folder.mount()
    versions = {"versions": [{"id": "v2.1", "links": [{"rel": "self", "href": "http://elsewhere/v2/"}]}]}
    glances[0].answers["GET", "/versions"] = lambda h: h.reply(200, json.dumps(versions).encode(), [("Content-Type", "application/json")])
    api = make_api(folder, upstream=f"{closed_port()} {glances[0].url}")
    assert api.get("/versions").json["versions"][0]["links"][0]["href"] == api.url + "/v2/"
