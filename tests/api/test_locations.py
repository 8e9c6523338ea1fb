# SPDX-License-Identifier: Apache-2.0
"""direct_url = file: programs of this host are told where an image's file is in the mount, if they may have its bytes."""
import json
import os
import urllib.parse

import pytest

from harness import KIB, blob, same
from openstack import OpenStack
from waiting import wait_until

IDENT = "10000000-0000-4000-8000-000000000001"


@pytest.fixture
def filled(folder):
    folder.content = folder.put(IDENT, blob(300 * KIB, 1))
    folder.put("odd name%?.img", blob(KIB, 2))
    return folder.mount()


@pytest.fixture
def openstack():
    server = OpenStack()
    server.tokens = {"boss": ("admin", 3600), "member": ("member", 3600), "guest": ("reader", 3600), "other": ("member", 3600)}
    server.images = {IDENT: ("active", {"boss", "member", "guest"}), "empty": ("queued", {"member"})}
    server.documents = {IDENT: {"hw_disk_bus": "scsi", "direct_url": "swift://of/Glance", "size": 300 * KIB}}
    server.downloaders = {"boss", "member"}
    yield server
    server.close()


def by_keystone(openstack, **more):
    return {"auth": "keystone", "auth_url": openstack.url + "/v3", "image_url": openstack.url, "auth_ttl": 0, "direct_url": "file", **more}


def where(record):
    """The path of the file; the same by both."""
    url = record["direct_url"]
    assert record["locations"] == [{"url": url, "metadata": {}}]
    parts = urllib.parse.urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("file", "", "", "")
    return urllib.parse.unquote(parts.path)


def test_it_is_the_file(filled, make_api):
    api = make_api(filled, direct_url="file")
    path = where(api.get(f"/v2/images/{IDENT}").json)
    assert path == filled.image(IDENT)
    same(open(path, "rb").read(), filled.content)
    assert [where({"direct_url": one["url"], "locations": [one]}) for one in api.get(f"/v2/images/{IDENT}/locations").json] == [path]
    odd = where(api.get("/v2/images/" + urllib.parse.quote("odd name%?.img", safe="")).json)
    same(open(odd, "rb").read(), blob(KIB, 2))
    plain = api.get(f"/v2/images/{IDENT}").json
    assert plain["id"] == IDENT and plain["size"] == 300 * KIB
    assert api.get("/v2/images/unknown").status == 404
    assert "direct_url" not in api.get("/v2/images").json["images"][0]


def test_not_unless_asked_for(filled, make_api):
    api = make_api(filled)
    assert not {"direct_url", "locations"} & set(api.get(f"/v2/images/{IDENT}").json)
    assert api.get(f"/v2/images/{IDENT}/locations").status == 404


def test_who_may_not_download_is_not_told(filled, make_api, openstack):
    """Where Glance refuses the bytes, no path to them is given; nor a part of what Glance says left out."""
    api = make_api(filled, **by_keystone(openstack))
    for token in ("boss", "member"):
        record = api.get(f"/v2/images/{IDENT}", X_Auth_Token=token).json
        assert where(record) == filled.image(IDENT) and record["hw_disk_bus"] == "scsi"
        assert api.get(f"/v2/images/{IDENT}/locations", X_Auth_Token=token).json[0]["url"] == record["direct_url"]
    assert api.get(f"/v2/images/{IDENT}", X_Auth_Token="guest").json == {"id": IDENT, "status": "active", **openstack.documents[IDENT]}
    assert api.get(f"/v2/images/{IDENT}/locations", X_Auth_Token="guest").status == 403
    for path in (f"/v2/images/{IDENT}", f"/v2/images/{IDENT}/locations"):
        assert api.get(path, X_Auth_Token="other").status == 404
        assert api.get(path).status == 401
    assert "direct_url" not in api.get("/v2/images/empty", X_Auth_Token="member").json
    assert api.get("/v2/images/empty/locations", X_Auth_Token="member").json == []


@pytest.mark.parametrize("client,told", [("127.0.0.9", True), ("::1", True), ("192.0.2.7", False), ("2001:db8::1", False), ("128.0.0.1", False)])
def test_other_hosts_are_not_told(filled, make_api, openstack, client, told):
    api = make_api(filled, **by_keystone(openstack, trusted_proxies="127.0.0.1"))
    headers = {"X_Auth_Token": "member", "X_Forwarded_For": client}
    assert (api.get(f"/v2/images/{IDENT}", **headers).json["direct_url"] != "swift://of/Glance") == told
    assert api.get(f"/v2/images/{IDENT}/locations", **headers).status == (200 if told else 404)


def test_records_that_are_kept(filled, make_api, openstack):
    """What is kept is Glance's word; who may have the bytes is asked for each answer of it."""
    api = make_api(filled, **by_keystone(openstack, document_ttl=3600))
    for _ in range(3):
        assert where(api.get(f"/v2/images/{IDENT}", X_Auth_Token="member").json) == filled.image(IDENT)
    assert openstack.count(f"/v2/images/{IDENT}") - openstack.count(f"/v2/images/{IDENT}/file") == 1
    openstack.downloaders = {"boss"}
    assert api.get(f"/v2/images/{IDENT}", X_Auth_Token="member").json["direct_url"] == "swift://of/Glance"


def test_with_an_upstream(filled, make_api, openstack):
    """Then the record is ours to answer, for clients of this host; the rest goes on to Glance."""
    api = make_api(filled, **by_keystone(openstack, upstream=openstack.url, trusted_proxies="127.0.0.1"))
    assert where(api.get(f"/v2/images/{IDENT}", X_Auth_Token="member").json) == filled.image(IDENT)
    record = api.get(f"/v2/images/{IDENT}", X_Auth_Token="member", X_Forwarded_For="192.0.2.7").json
    assert record["direct_url"] == "swift://of/Glance"
    api.get(f"/v2/images/{IDENT}/locations", X_Auth_Token="member", X_Forwarded_For="192.0.2.7")
    assert openstack.count("/locations") == 1


def test_it_is_audited(filled, make_api, openstack):
    path = os.path.join(filled.root, "audit")
    api = make_api(filled, **by_keystone(openstack, audit_log=path))
    api.get(f"/v2/images/{IDENT}", X_Auth_Token="member")
    wait_until(lambda: open(path).read().endswith("\n"), what="the line, which comes behind the answer")
    lines = [json.loads(line) for line in open(path)]
    assert [(line["action"], line["image"]) for line in lines] == [("locate", IDENT)]
