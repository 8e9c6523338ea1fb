# SPDX-License-Identifier: Apache-2.0
"""Who downloaded and who changed what: a line each, in a file or in the log."""
import json
import os
import re
import signal
import socket
import stat

import pytest

import contract
from harness import KIB, MIB, blob
from openstack import OpenStack
from test_auth import secret
from waiting import wait_until

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
MINE = "req-11111111-2222-4333-8444-555555555555"


@pytest.fixture
def openstack():
    server = OpenStack()
    server.tokens = {"boss": ("admin", 3600), "alice": ("member", 3600), "guest": ("reader", 3600)}
    server.images = {"image": ("active", {"boss", "alice", "guest"})}
    server.downloaders = {"boss", "alice"}
    yield server
    server.close()


@pytest.fixture
def audit(folder):
    folder.content = folder.put("image", blob(100 * KIB, 1))
    folder.mount()
    path = os.path.join(folder.root, "audit.log")

    class Audit:
        def __init__(self):
            self.path, self.seen = path, 0

        def lines(self, count):
            """The COUNT lines since the last call: a line is written when its request has ended, a moment after its answer."""
            wait_until(lambda: os.path.exists(path) and len(open(path).read().splitlines()) >= self.seen + count, what=f"{count} lines")
            text = open(path).read()
            assert text.endswith("\n")
            new = [json.loads(line) for line in text.splitlines()[self.seen:]]
            self.seen += len(new)
            for line in new:
                contract.check("audit", line)
            assert len(new) == count, new
            return new
    return Audit()


def test_keystone(folder, make_api, openstack, audit):
    api = make_api(folder, auth="keystone", auth_url=openstack.url + "/v3", image_url=openstack.url, audit_log=audit.path)
    api.get("/v2/images/image/file", X_Auth_Token="alice", X_OpenStack_Request_ID=MINE)
    line, = audit.lines(1)
    assert line["time"].endswith("Z") and {k: v for k, v in line.items() if k != "time"} == {
        "action": "download", "status": 200, "whole": True, "image": "image", "bytes": len(folder.content), "user": "Alice",
        "user_id": "Alice-id", "project": "project", "project_id": "p-id", "address": "127.0.0.1", "request_id": MINE}
    folder.wait_cached("image")
    for method, path, action, status in (("GET", "/images/image", "download", 200), ("GET", "/auth/images/image", "authorize", 204),
                                         ("PUT", "/v2/cache/image", "queue", 202), ("PUT", "/v2/cache/image/pin", "pin", 204),
                                         ("DELETE", "/v2/cache/image/pin", "unpin", 204), ("DELETE", "/v2/cache/image", "delete", 204),
                                         ("PUT", "/v2/queued_images/image", "queue", 200), ("DELETE", "/v2/cached_images", "clear cached", 200),
                                         ("DELETE", "/v2/cache", "clear", 204), ("POST", "/v2/cache/clean", "clean", 200),
                                         ("POST", "/v2/cache/prune", "prune", 200)):
        assert api.ask(method, path, {"X-Auth-Token": "boss"}).status == status, (method, path)
        line, = audit.lines(1)
        assert (line["action"], line["status"], line["user"]) == (action, status, "Boss")
        assert line.get("image") == ("image" if "/image" in path else None)
    # what was refused, too; what only looks is no line
    for token, method, path, status in (("guest", "GET", "/images/image", 403), ("alice", "DELETE", "/v2/cache/image", 403),
                                        (None, "DELETE", "/v2/cache", 401), ("nobody", "GET", "/images/image", 401)):
        api.ask("GET", "/v2/images/image", {"X-Auth-Token": "alice"})
        api.ask("HEAD", "/images/image", {"X-Auth-Token": "alice"})
        assert api.ask(method, path, {"X-Auth-Token": token} if token else {}).status == status
        line, = audit.lines(1)
        assert line["status"] == status and line.get("user") == (token.title() if token in openstack.tokens else None) and "bytes" not in line
    assert "boss" not in api.logged()
    assert stat.S_IMODE(os.stat(audit.path).st_mode) & 0o007 == 0


def test_request_ids(folder, make_api, openstack, audit):
    """The client's goes through to Glance and comes back; what is none is not passed on."""
    api = make_api(folder, auth="keystone", auth_url=openstack.url + "/v3", image_url=openstack.url)
    assert api.get("/images/image", X_Auth_Token="alice", X_OpenStack_Request_ID=MINE).headers["X-Openstack-Request-Id"] == MINE
    assert [h["X-OpenStack-Request-ID"] for path, h in openstack.requests if path.endswith("/file")] == [MINE]
    ids = [api.get(path, **headers).headers["X-Openstack-Request-Id"] for path in ("/versions", "/nothing", "/v2/cache")
           for headers in ({}, {"X_OpenStack_Request_ID": "req-x"}, {"X_OpenStack_Request_ID": MINE + '"}'})]
    assert all(re.fullmatch("req-" + UUID, one) for one in ids) and len(set(ids)) == len(ids)


def test_the_log(folder, make_api, audit):
    """Without a file the lines go to the log; a token is all that is known of who shows it."""
    api = make_api(folder, auth="token", admin_token_file=secret(folder, "admin", "one"), reader_token_file=secret(folder, "reader", "two"))

    def lines():
        return [json.loads(line.partition("audit: ")[2]) for line in api.logged().splitlines() if "audit: " in line]
    api.get("/images/image", X_Auth_Token="two")
    api.ask("PUT", "/v2/cache/image", {"X-Auth-Token": "one"})
    api.ask("PUT", "/v2/cache/no%0Aaudit:%20%7B%7D", {"X-Auth-Token": "one"})
    wait_until(lambda: len(lines()) >= 3, what="the lines")
    found = sorted(lines(), key=lambda line: line["status"])  # each is written a moment after its answer
    assert [(line["action"], line["user"], line["status"]) for line in found] == [
        ("download", "reader token", 200), ("queue", "admin token", 202), ("queue", "admin token", 404)]
    assert found[2]["image"] == "no\naudit: {}"


def test_what_was_sent(cache, origin, make_api):
    """Who leaves before the end: the bytes that he got."""
    origin.put("image", blob(32 * MIB, 2))
    cache.configure(origin).mount()
    path = os.path.join(cache.root, "audit.log")
    api = make_api(cache, audit_log=path)
    with api.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b"GET /images/image HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        s.recv(1000)
    api.get("/images/image", Range="bytes=10-19")
    wait_until(lambda: len(open(path).read().splitlines()) == 2, what="the lines")
    left, part = sorted((json.loads(line) for line in open(path)), key=lambda line: line["whole"])
    assert left["whole"] is False and left["status"] == 200 and 0 < left["bytes"] < 32 * MIB
    assert part["whole"] is True and part["status"] == 206 and part["bytes"] == 10


@pytest.mark.parametrize("trusted,said,address", [
    ("127.0.0.1", "192.0.2.7", "192.0.2.7"), ("127.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7"), ("127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
    ("127.0.0.0/8 192.0.2.0/24", "198.51.100.1, 192.0.2.7", "198.51.100.1"), ("127.0.0.1", "nonsense", "127.0.0.1"),
    ("127.0.0.1", "192.0.2.7, nonsense", "127.0.0.1"), (None, "192.0.2.7", "127.0.0.1")])
def test_through_a_proxy(folder, make_api, audit, trusted, said, address):
    api = make_api(folder, audit_log=audit.path, trusted_proxies=trusted)
    api.get("/images/image", X_Forwarded_For=said)
    assert audit.lines(1)[0]["address"] == address


def test_rotation(folder, make_api, audit):
    """SIGHUP opens the file anew; until then lines go to the one that was moved away."""
    api = make_api(folder, audit_log=audit.path)
    api.get("/images/image")
    audit.lines(1)
    os.rename(audit.path, audit.path + ".1")
    api.process.send_signal(signal.SIGHUP)
    wait_until(lambda: os.path.exists(audit.path), what="the new file")
    api.get("/images/image")
    wait_until(lambda: len(open(audit.path).read().splitlines()) == 1, what="the line")
    assert len(open(audit.path + ".1").read().splitlines()) == 1


def test_a_file_that_cannot_be_opened(folder):
    from server import Api
    folder.mount()
    done = Api(folder, audit_log="/nonexistent/audit.log").run()
    assert done.returncode == 1 and "audit_log = /nonexistent/audit.log" in done.stderr


def test_a_full_disk(folder, make_api):
    """The request goes on, and the log has the line."""
    folder.put("image", b"x")
    folder.mount()
    api = make_api(folder, audit_log="/dev/full")
    assert api.get("/images/image").body == b"x" and api.get("/images/image").body == b"x"
    wait_until(lambda: "cannot write to audit_log" in api.logged(), what="the error")
    assert api.logged().count("cannot write to audit_log") == 1 and '"action": "download"' in api.logged()
