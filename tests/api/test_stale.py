# SPDX-License-Identifier: Apache-2.0
"""What Glance said is given again: while it is young (document_ttl), and while Glance and Keystone are away (stale_if_error). Never to others than saw it,
never behind a change."""
import threading

import pytest

from harness import KIB, blob
from openstack import OpenStack
from waiting import wait_until

RECORD = {"name": "a name", "hw_disk_bus": "scsi"}


@pytest.fixture
def openstack():
    server = OpenStack()
    server.tokens |= {t: ("member", 3600) for t in ("a", "again", "other-project", "other-roles", "stranger")}
    server.people = {"a": ("ann", "one", ["member"]), "again": ("ann", "one", ["member"]), "other-project": ("ann", "two", ["member"]),
                     "other-roles": ("ann", "one", ["reader"])}
    server.images = {i: ("active", {"a", "again"}) for i in ("mine", "second")}
    server.documents = {"mine": dict(RECORD), "second": dict(RECORD)}
    yield server
    server.close()


@pytest.fixture(params=["upstream", "image_url"])
def make(request, folder, make_api, openstack):
    """With all of Glance behind it, and with Glance only asked."""
    for name in ("mine", "second"):
        folder.put(name, blob(64 * KIB, 1))
    folder.mount()

    def make(**options):
        more = {"upstream": openstack.url} if request.param == "upstream" else {}
        return make_api(folder, auth="keystone", auth_url=openstack.url + "/v3", image_url=openstack.url, **{"token_ttl": 0, "auth_ttl": 0, **more, **options})

    make.relays = request.param == "upstream"
    return make


def show(api, token="a", ident="mine", **headers):
    return api.get(f"/v2/images/{ident}", X_Auth_Token=token, **headers)


def test_young(make, openstack):
    api = make(document_ttl=3600)
    first, second = show(api), show(api)
    assert first.status == second.status == 200 and first.body == second.body and first.json["hw_disk_bus"] == "scsi"
    assert "Age" not in first.headers and int(second.headers["Age"]) >= 0 and "Warning" not in second.headers
    assert second.headers["Content-Type"] == "application/json" and second.headers["X-Openstack-Request-Id"].startswith("req-")
    assert openstack.count("/v2/images/mine") == 1
    openstack.documents["mine"]["name"] = "new"
    assert show(api, "again").json["name"] == "a name", "the same user, project and roles"
    assert show(api, Cache_Control="no-cache").json["name"] == show(api).json["name"] == "new"
    for query in ("?x=1", "/"):
        show(api, ident="mine" + query)
    assert show(api).json["name"] == "new"


@pytest.mark.parametrize("token", ["other-project", "other-roles", "stranger"])
def test_nobody_sees_what_another_was_shown(make, openstack, token):
    api = make(document_ttl=3600, stale_if_error=3600)
    assert show(api).status == 200 and api.get("/v2/images", X_Auth_Token="a").status == 200
    assert api.get("/v2/images/mine/file", X_Auth_Token="a").status == 200
    assert show(api, token).status == 404
    assert api.get("/v2/images", X_Auth_Token=token).json["images"] == []
    openstack.images["mine"] = ("active", set())
    openstack.broken = True
    assert show(api, token).status in (500, 503) and api.get("/v2/images/mine/file", X_Auth_Token=token).status == 503
    assert api.get("/v2/images", X_Auth_Token=token).json["images"] == []
    for nobody in ("", "nonsense"):
        for path in ("/v2/images/mine", "/v2/images", "/v2/images/mine/file"):
            assert api.get(path, X_Auth_Token=nobody).status in (401, 500, 503)


def test_what_is_still_made_is_not_kept(make, openstack):
    openstack.images["mine"] = ("saving", {"a"})
    api = make(document_ttl=3600)
    assert show(api).json["status"] == "saving"
    openstack.images["mine"] = ("active", {"a"})
    assert show(api).json["status"] == "active"
    api.get("/v2/images", X_Auth_Token="a")
    openstack.images["third"] = ("active", {"a"})
    assert "third" in [i["id"] for i in api.get("/v2/images", X_Auth_Token="a").json["images"]], "lists are not given again"


CHANGES = [("PATCH", ""), ("DELETE", ""), ("PUT", "/file"), ("POST", "/actions/deactivate"), ("POST", "/members"), ("DELETE", "/members/p"), ("PUT", "/tags/t"),
           ("POST", "/import"), ("POST", "/locations"), ("PATCH", "/there/is/none"), ("POST", "/members/")]


@pytest.mark.parametrize("method,rest", CHANGES)
@pytest.mark.parametrize("version", ["v2", "v2.9"])
def test_a_change_through_us(folder, make_api, openstack, method, rest, version):
    folder.mount()
    api = make_api(folder, upstream=openstack.url, auth="keystone", auth_url=openstack.url, image_url=openstack.url, document_ttl=3600, stale_if_error=3600)
    for token in ("a", "again"):
        assert show(api, token).json["name"] == show(api, token, "second").json["name"] == "a name"
    openstack.documents["mine"]["name"] = openstack.documents["second"]["name"] = "new"
    assert api.ask(method, f"/{version}/images/mine{rest}", {"X-Auth-Token": "a"}).status == 204
    for token in ("a", "again"):
        assert show(api, token).json["name"] == "new"
    assert show(api, ident="second").json["name"] == ("new" if rest == "/there/is/none" else "a name")


def test_a_change_while_it_is_asked_for(make, openstack):
    """An answer that was on its way when the image was changed is not kept."""
    if not make.relays:
        pytest.skip("changes do not pass here")
    api = make(document_ttl=3600)
    show(api, ident="second")
    openstack.hold = threading.Event()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(show(api)))
    asking.start()
    wait_until(lambda: openstack.count("auth/tokens") >= 2, what="the token to be asked about")
    openstack.hold.set()
    asking.join()
    openstack.hold = None
    assert answers[0].status == 200
    assert api.ask("PATCH", "/v2/images/mine", {"X-Auth-Token": "a"}).status == 204
    openstack.documents["mine"]["name"] = "new"
    assert show(api).json["name"] == "new"


PATHS = ["/v2/images/mine", "/v2/images", "/v2/images?name=x", "/v2/schemas/image"]


@pytest.mark.parametrize("away", ["broken", "gone"])
def test_away(make, folder, openstack, away):
    """A machine can boot: schema, record and bytes of an image that was seen before."""
    api = make(stale_if_error=3600)
    seen = {path: show_path(api, path) for path in PATHS}
    assert all(a.status == 200 and "Age" not in a.headers for a in seen.values())
    assert api.get("/v2/images/mine/file", X_Auth_Token="a").status == 200
    folder.wait_cached("mine")
    if away == "gone":
        openstack.leave()
    else:
        openstack.broken = True
    for path in PATHS:
        if not make.relays and "schemas" in path:
            continue
        answer = show_path(api, path)
        assert answer.status == 200 and answer.body == seen[path].body, path
        assert answer.headers["Warning"].startswith("111 ") and int(answer.headers["Age"]) >= 0
    answer = api.get("/v2/images/mine/file", X_Auth_Token="a")
    assert answer.status == 200 and answer.body == blob(64 * KIB, 1) and answer.headers["Warning"].startswith("111 ")
    assert api.ask("HEAD", "/v2/images/mine/file", {"X-Auth-Token": "a"}).status == 200
    for path in ("/v2/images/second", "/v2/images/second/file", "/v2/images?name=y"):
        answer = show_path(api, path)
        assert answer.status == 503 and answer.headers["Retry-After"] or away == "broken" and answer.status == 500, path
    assert api.ask("DELETE", "/v2/images/mine", {"X-Auth-Token": "a"}).status == (503 if away == "gone" else 500) or not make.relays
    assert show(api, "again").status in (500, 503), "Keystone never said who that is"


def show_path(api, path):
    return api.get(path, X_Auth_Token="a")


def test_silent(make, openstack):
    """Who waits has an answer that can be given: it is not waited for long, and by the next one not at all."""
    api = make(stale_if_error=3600, token_ttl=3600)
    assert show(api).status == 200
    openstack.hold = threading.Event()
    assert show(api).headers["Warning"]
    asked = len(openstack.asked)
    assert show(api).headers["Warning"] and len(openstack.asked) == asked


def test_back_again(make, openstack):
    api = make(stale_if_error=3600)
    assert show(api).status == 200
    openstack.broken = True
    assert show(api).headers["Warning"]
    openstack.broken = False
    openstack.documents["mine"]["name"] = "new"
    assert show(api).json["name"] == "new" and "Warning" not in show(api).headers


def test_off(make, openstack):
    api = make()
    for _ in range(2):
        assert "Age" not in show(api).headers
    assert api.get("/v2/images/mine/file", X_Auth_Token="a").status == 200
    openstack.broken = True
    assert show(api).status in (500, 503) and api.get("/v2/images/mine/file", X_Auth_Token="a").status == 503


def test_a_no_is_remembered(make, openstack):
    """What was withdrawn while Glance was there does not come back when it is away."""
    api = make(stale_if_error=3600)
    assert show(api).status == api.get("/v2/images/mine/file", X_Auth_Token="a").status == 200
    openstack.images["mine"] = ("active", set())
    assert show(api).status == api.get("/v2/images/mine/file", X_Auth_Token="a").status == 404
    openstack.broken = True
    assert show(api).status in (500, 503) and api.get("/v2/images/mine/file", X_Auth_Token="a").status in (404, 503)
    assert show(api, "again").status in (500, 503)


def test_a_token_ends(make, openstack):
    openstack.tokens["a"] = ("member", 2)
    api = make(stale_if_error=3600)
    assert show(api).status == api.get("/v2/images/mine/file", X_Auth_Token="a").status == 200
    openstack.broken = True
    wait_until(lambda: show(api).status in (500, 503), what="the token to end")
    assert api.get("/v2/images/mine/file", X_Auth_Token="a").status == 503


def test_so_long_and_no_longer(make, openstack):
    api = make(stale_if_error=1)
    assert show(api).status == api.get("/v2/images/mine/file", X_Auth_Token="a").status == 200
    openstack.broken = True
    wait_until(lambda: show(api).status in (500, 503), what="the record to be too old")
    wait_until(lambda: api.get("/v2/images/mine/file", X_Auth_Token="a").status == 503, what="the right to be too old")


def test_so_many_bytes(make, openstack):
    api = make(stale_if_error=3600, document_cache_size="64K")
    names = [f"n{i}" for i in range(12)]
    for name in names:
        openstack.images[name] = ("active", {"a"})
        openstack.documents[name] = {"x": "x" * 10 * KIB}
        assert show(api, ident=name).status == 200
    openstack.documents["mine"]["x"] = "x" * 70 * KIB
    assert show(api).status == 200
    openstack.broken = True
    found = [name for name in names if show(api, ident=name).status == 200]
    assert found == names[-6:] and show(api).status in (500, 503)


@pytest.mark.parametrize("name", ["document_ttl", "stale_if_error"])
@pytest.mark.parametrize("auth", ["none", "token"])
def test_only_with_keystone(folder, make_api, name, auth):
    from server import Api
    done = Api(folder, auth=auth, admin_token_file="/nothing", **{name: 5}).run()
    assert done.returncode != 0 and f"{name} needs auth = keystone" in done.stderr
