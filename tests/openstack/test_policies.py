# SPDX-License-Identifier: Apache-2.0
"""Who may, by Glance's policy: a matrix of policies and people, each asked of Glance and of us, cached and not, by every way to an image's bytes; and
Glance that goes away in the middle of each call."""
import json
import os
import sys
import threading

import pytest

import harness
from harness import MIB
from people import everyone
from waiting import PATIENCE, wait_until

sys.path.append(os.path.join(harness.TOP, "tests", "api"))
from server import Api  # noqa: E402

OWN = "project_id:%(project_id)s or project_id:%(member_id)s or \"community\":%(visibility)s or \"public\":%(visibility)s or \"shared\":%(visibility)s"
POLICIES = {
    # What `enforce_new_defaults` makes of them.
    "new defaults": {"get_image": f"role:admin or (role:reader and ({OWN})) or (role:member and ({OWN}))",
                     "download_image": "role:admin or (role:member and (project_id:%(project_id)s or project_id:%(member_id)s))"},
    "downloads are the admins'": {"get_image": "@", "download_image": "role:admin"},
    "nobody looks": {"get_image": "!", "download_image": "!"},
}
CONTENT = harness.blob(MIB + 3, 97)


@pytest.fixture(scope="module")
def people(cloud):
    return everyone(cloud)


@pytest.fixture(params=["upstream", "image_url"])
def make_api(request, cloud, cache):
    cache.configure(cloud.glance(cache), list_ttl=0).mount()

    def make(url, **options):
        api = Api(cache, auth="keystone", auth_url=cloud["OS_AUTH_URL"], **{request.param: url}, **options)
        api.start()
        request.addfinalizer(api.close)
        return api
    make.passes = request.param == "upstream"
    return make


@pytest.mark.parametrize("policy", POLICIES)
def test_who_may(cloud, cache, made, people, make_api, policy):
    ident = made(CONTENT, token=people["member"])
    api = make_api(cloud["ORIGIN_URL"], auth_ttl=0)
    for cached in (False, True):
        if cached:
            cache.read(ident)
            cache.wait_cached(ident)
        with cloud.policy(**POLICIES[policy]):
            for who, token in people.items():
                told = {"X-Auth-Token": token} if token else {}
                for path in (f"/v2/images/{ident}", f"/v2/images/{ident}/file"):
                    theirs, _, _ = cloud.http("GET", cloud["ORIGIN_URL"] + path, headers=told, token=None, expect=range(200, 600))
                    assert api.ask("GET", path, told).status == theirs, (policy, who, path, cached)
                may = theirs == 200
                if path.endswith("/file"):
                    for method, way, more in (("GET", "/images/" + ident, {}), ("GET", "/v1/images/" + ident, {}), ("HEAD", path, {}), ("GET", path, {"Range": "bytes=1-2"})):
                        answer = api.ask(method, way, {**told, **more})
                        assert (answer.status in (200, 206)) == may, (policy, who, method, way, cached)
                        assert may or CONTENT[1:3] != answer.body
                    assert (api.get("/auth/images/" + ident, **({"X_Auth_Token": token} if token else {})).status == 204) == may


def expired(cloud):
    """A token that ends soon, by the Keystone whose tokens do."""
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "demo", "domain": {"id": "default"}, "password": cloud["OS_PASSWORD"]}}},
                     "scope": {"project": {"name": "demo", "domain": {"id": "default"}}}}}
    _, head, _ = cloud.http("POST", cloud["KEYSTONE_SHORT_URL"] + "/auth/tokens", json.dumps(body).encode(), {"Content-Type": "application/json"}, token=None)
    return head["X-Subject-Token"]


def test_an_expired_token(cloud, cache, made, people, make_api):
    """By itself it is good no more, with a service's it is; kept answers and verdicts do not outlive it."""
    if not make_api.passes:
        pytest.skip("it takes as long again")
    ident, token = made(CONTENT, token=people["member"]), expired(cloud)
    api = make_api(cloud["ORIGIN_URL"], document_ttl=300, stale_if_error=3600)
    paths = (f"/v2/images/{ident}", f"/v2/images/{ident}/file")
    for path in paths:
        assert api.get(path, X_Auth_Token=token).status == 200
    wait_until(lambda: all(api.get(path, X_Auth_Token=token).status == 401 for path in paths), seconds=60, what="the token to end")
    for path in paths:
        both = {"X-Auth-Token": token, "X-Service-Token": people["service"]}
        theirs, _, _ = cloud.http("GET", cloud["ORIGIN_URL"] + path, headers=both, token=None, expect=range(200, 600))
        assert theirs == api.ask("GET", path, both).status == 200
        assert api.ask("GET", path, {"X-Auth-Token": token, "X-Service-Token": people["other"]}).status == 401


CALLS = [("GET", "/v2/images/{id}"), ("GET", "/v2/images"), ("GET", "/versions"), ("GET", "/v2/schemas/image"), ("POST", "/v2/images"), ("PATCH", "/v2/images/{other}"),
         ("DELETE", "/v2/images/{other}/tags/x"), ("PUT", "/v2/images/{other}/file"), ("GET", "/v2/images/{id}/members"), ("GET", "/v2/images/{other}/file")]


def test_glance_ends_in_the_middle_of_each_call(cloud, cache, made, people, make_api, make_gate):
    """What is cached goes on, nothing hangs, and the client sees 503."""
    token, gate = people["member"], make_gate(cloud["ORIGIN_URL"])
    ident, other = made(CONTENT, token=token), made(None, token=token)
    if not make_api.passes:
        pytest.skip("calls do not pass here")
    api = make_api(gate.url, stale_if_error=3600)
    told = {"X-Auth-Token": token}
    assert api.get(f"/v2/images/{ident}/file", X_Auth_Token=token).body == CONTENT
    cache.wait_cached(ident)
    for method, path in CALLS:
        path = path.replace("{id}", ident).replace("{other}", other)
        gate.delay, answers = 3600, []
        ask = threading.Thread(target=lambda m=method, p=path, a=answers: a.append(api.ask(m, p, {**told, "Cache-Control": "no-cache"}, b"x" if m in ("POST", "PUT", "PATCH") else None)))
        ask.start()
        wait_until(lambda: gate.sockets or not ask.is_alive(), what="Glance to be asked")
        gate.shut()
        ask.join(60 * PATIENCE)
        assert answers and answers[0].status in (200, 503), (method, path)
        assert answers[0].status == 503 or answers[0].headers["Warning"]
        same = api.get(f"/v2/images/{ident}/file", X_Auth_Token=token)
        assert same.status == 200 and same.body == CONTENT, (method, path)
        gate.delay = 0
        gate.open()
        wait_until(lambda: api.get("/v2/tasks").status == 401, what="Glance to be there again")
