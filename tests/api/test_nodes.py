# SPDX-License-Identifier: Apache-2.0
"""Which hosts have an image: this one, and its peers."""
import os
import socket

import pytest

from harness import blob
from openstack import OpenStack
from server import free_port
from test_auth import secret


@pytest.fixture
def hosts(make_cache):
    """Two mounted caches of one folder of images."""
    caches = [make_cache(), make_cache()]
    shared = os.path.join(caches[0].root, "images")
    os.makedirs(shared)
    for name in ("both", "here", "there", "nowhere"):
        with open(os.path.join(shared, name), "wb") as f:
            f.write(blob(1000, 1))
    for cache, names in zip(caches, (("both", "here"), ("both", "there"))):
        cache.configure({"type": "file", "path": shared}).mount()
        for name in names:
            cache.read(name)
            cache.wait_cached(name)
    return caches


def ask(api, token=None):
    headers = {"X-Auth-Token": token} if token else {}
    return {name: api.ask("GET", f"/v2/cache/nodes/{name}", headers).json for name in ("both", "here", "there", "nowhere")}


def test_peers(hosts, make_api):
    """One that is down is left out."""
    there = make_api(hosts[1])
    dead = f"http://127.0.0.1:{free_port()}"
    here = make_api(hosts[0], peers=f"{dead} {there.url}")
    assert ask(here) == {"both": [here.url, there.url], "here": [here.url], "there": [there.url], "nowhere": []}
    assert here.get("/v2/cache/nodes/unheard-of").status == 404
    assert ask(there) == {"both": [there.url], "here": [], "there": [there.url], "nowhere": []}
    there.close()
    assert ask(here) == {"both": [here.url], "here": [here.url], "there": [], "nowhere": []}


def test_a_peer_that_says_nothing(hosts, make_api):
    """It accepts a connection, or does not even that: the answer names the others."""
    there = make_api(hosts[1])
    with socket.create_server(("127.0.0.1", 0)) as mute:
        here = make_api(hosts[0], peers=f"http://127.0.0.1:{mute.getsockname()[1]} {there.url}")
        assert here.ask("GET", "/v2/cache/nodes/both").json == [here.url, there.url]


@pytest.mark.parametrize("same", [True, False])
def test_peers_with_tokens(hosts, make_api, same):
    """The caller's token is shown to them, and what it is good for there is theirs to say."""
    there = make_api(hosts[1], auth="token", admin_token_file=secret(hosts[1], "admin", "one" if same else "two"))
    here = make_api(hosts[0], auth="token", admin_token_file=secret(hosts[0], "admin", "one"), peers=there.url,
                    worker_self_reference_url="http://host-1:9292")
    assert ask(here, "one") == {"both": ["http://host-1:9292", *([there.url] if same else [])], "here": ["http://host-1:9292"],
                                "there": [there.url] if same else [], "nowhere": []}


def test_peers_with_keystone(hosts, make_api, request):
    openstack = OpenStack()
    request.addfinalizer(openstack.close)
    openstack.tokens = {"boss": ("admin", 3600), "alice": ("member", 3600)}
    options = {"auth": "keystone", "auth_url": openstack.url + "/v3", "image_url": openstack.url}
    there = make_api(hosts[1], **options)
    here = make_api(hosts[0], **options, peers=there.url)
    assert ask(here, "boss")["both"] == [here.url, there.url]
    assert here.get("/v2/cache/nodes/both", X_Auth_Token="alice").status == 403
