# SPDX-License-Identifier: Apache-2.0
"""An upload that passes is kept (keep_uploads): the image is warm where it was made, when the backend says that it has the same. Client and Glance do not
wait for the cache."""
import os
import signal
import threading

import pytest

from harness import KIB, MIB, blob
from openstack import OpenStack
from test_relay import Upstream, head_of
from waiting import PATIENCE, wait_until
from workers import workers

SIZE = 5 * MIB + 3
SUMS = "SHA256SUMS"
CONTENT = blob(SIZE, 1)


class Store(Upstream):
    """A Glance whose store is ORIGIN: what it gets is there when it answers. `spoil` changes it before."""

    def __init__(self, origin):
        super().__init__()
        self.origin, self.images, self.status = origin, {}, 204
        self.spoil = lambda content: content
        self.body = b""
        outer = self
        handler = self.server.RequestHandlerClass
        exactly = handler.exactly

        def keep(h, size):
            piece = exactly(h, size)
            outer.body += piece
            return piece

        handler.exactly = keep
        self.answers["PUT", "/v2/images/new/file"] = self.take

    def take(self, h):
        if self.status < 300:
            self.images["new"] = self.spoil(self.body)
            self.origin.put_sums(SUMS, self.images)
            self.origin.put("new", self.images["new"])
        h.reply(self.status)


@pytest.fixture
def glance(origin):
    server = Store(origin)
    yield server
    server.close()


@pytest.fixture
def mounted(cache, origin):
    cache.configure(origin, list_ttl=0).mount()
    return cache


@pytest.fixture
def api(mounted, make_api, glance):
    return make_api(mounted, upstream=glance.url)


def upload(api, content=CONTENT, chunked=False, path="/v2/images/new/file", **headers):
    with api.socket(60) as s:
        how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(content)}"
        more = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
        s.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\n{how}\r\n{more}\r\n".encode())
        for at in range(0, len(content), 99 * KIB):
            piece = content[at:at + 99 * KIB]
            s.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        s.sendall(b"0\r\n\r\n" if chunked else b"")
        return int(head_of(s)[0].split()[1])


def used(cache):
    return cache.status()["space"]["used"]


def nothing_is_left(cache):
    wait_until(lambda: used(cache) == 0 and cache.ls("cached") == cache.ls("incomplete") == cache.ls("invalid") == [], what="nothing to be left")
    assert [n for n in cache.snapshot() if not n.startswith(".")] == []


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("version", ["v2", "v2.9"])
def test_kept(api, mounted, glance, chunked, version):
    glance.answers["PUT", f"/{version}/images/new/file"] = glance.take
    assert upload(api, chunked=chunked, path=f"/{version}/images/new/file") == 204
    mounted.wait_cached("new")
    assert api.get("/v2/images/new/file").body == CONTENT
    assert mounted.status()["counters"]["bytes_fetched"] == 0
    assert "kept as it was uploaded" in mounted.logged()


@pytest.mark.parametrize("spoil", [lambda c: c[:-1] + b"?", lambda c: c + b"?", lambda c: c[:-1]])
def test_glance_has_something_else(api, mounted, glance, spoil):
    glance.spoil = spoil
    assert upload(api) == 204
    wait_until(lambda: "what was kept of its upload is dropped" in mounted.logged(), what="it to be dropped")
    nothing_is_left(mounted)
    assert api.get("/v2/images/new/file").body == spoil(CONTENT)


@pytest.mark.parametrize("status", [400, 401, 403, 409, 413, 500, 503])
def test_glance_refuses(api, mounted, glance, status):
    glance.status = status
    assert upload(api) == status
    nothing_is_left(mounted)


@pytest.mark.parametrize("chunked", [False, True])
def test_the_client_leaves(api, mounted, glance, chunked):
    with api.socket() as s:
        how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE}"
        s.sendall(f"PUT /v2/images/new/file HTTP/1.1\r\nHost: localhost\r\n{how}\r\n\r\n".encode())
        s.sendall(b"%x\r\n" % SIZE * chunked + CONTENT[:3 * MIB])
        wait_until(lambda: used(mounted) > 0, what="it to be kept")
    nothing_is_left(mounted)


def test_glance_ends(api, mounted, glance):
    glance.answers["PUT", "/v2/images/new/file"] = lambda h: setattr(h, "close_connection", True)
    assert upload(api) == 503
    nothing_is_left(mounted)


def test_there_is_no_room(cache, origin, make_api, glance):
    cache.configure(origin, list_ttl=0, image_cache_max_size=4 * MIB).mount()
    assert upload(make_api(cache, upstream=glance.url)) == 204
    nothing_is_left(cache)


def test_the_cache_hangs(api, mounted, glance):
    """As a dead disk would have it: the upload goes on."""
    everyone = [mounted.process.pid, *workers(mounted.process.pid)]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    done = []
    try:
        thread = threading.Thread(target=lambda: done.append(upload(api)), daemon=True)
        thread.start()
        wait_until(lambda: glance.seen and glance.seen[-1][3] == SIZE, what="Glance to have it")
    finally:
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)
    thread.join(60 * PATIENCE)
    assert done == [204]


def test_off(mounted, make_api, glance):
    assert upload(make_api(mounted, upstream=glance.url, keep_uploads="no")) == 204
    assert used(mounted) == 0 and mounted.ls("cached") == []


@pytest.mark.parametrize("auth,token,kept", [("keystone", "a", True), ("keystone", "nonsense", False), ("keystone", None, False), ("token", "t", False)])
def test_bytes_of_just_anybody(mounted, make_api, glance, tmp_path, auth, token, kept):
    """They must not drive out what is cached, before Glance refuses them."""
    openstack = OpenStack()
    openstack.tokens["a"] = ("member", 3600)
    (tmp_path / "token").write_text("t\n")
    holding = threading.Event()
    glance.answers["PUT", "/v2/images/new/file"] = lambda h: (holding.set(), glance.go.wait(60 * PATIENCE), h.reply(401))
    try:
        options = {"auth_url": openstack.url, "image_url": openstack.url} if auth == "keystone" else {"admin_token_file": str(tmp_path / "token")}
        api = make_api(mounted, upstream=glance.url, auth=auth, **options)
        thread = threading.Thread(target=lambda: upload(api, **({"X_Auth_Token": token} if token else {})), daemon=True)
        thread.start()
        assert holding.wait(60 * PATIENCE)
        if kept:
            wait_until(lambda: used(mounted) > 0, what="it to be kept")
        else:
            assert used(mounted) == 0
        glance.go.set()
        thread.join(60 * PATIENCE)
        nothing_is_left(mounted)
    finally:
        openstack.close()


def test_many_at_once(api, mounted, glance, origin):
    """More than can be kept at the same time: all pass, and what is kept is right."""
    statuses, names = [], [f"n{i}" for i in range(12)]
    origin.put_sums(SUMS, {name: CONTENT for name in names})
    for name in names:
        origin.put(name, CONTENT)
        glance.answers["PUT", f"/v2/images/{name}/file"] = lambda h: h.reply(204)
    threads = [threading.Thread(target=lambda n=n: statuses.append(upload(api, path=f"/v2/images/{n}/file"))) for n in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60 * PATIENCE)
    assert statuses == [204] * 12
    wait_until(lambda: mounted.ls("cached"), what="some to be kept")
    for name in names:
        assert api.get(f"/v2/images/{name}/file").body == CONTENT
