# SPDX-License-Identifier: Apache-2.0
"""With `upstream`, what is not ours goes to Glance and back as it came: any method, any length, both ways at the pace of the slower side; and
what changes an image there has changed it here when the client hears of it."""
import http.client
import hashlib
import http.server
import json
import os
import select
import socket
import threading

import pytest

from harness import KIB, MIB, blob
from openstack import OpenStack
from waiting import PATIENCE, wait_until

REQUEST_ID = "req-01234567-89ab-cdef-0123-456789abcdef"


class Upstream:
    """A Glance that records what it gets. `answers` has functions of the handler, by (method, path)."""

    def __init__(self):
        self.seen = []  # (method, path, headers, length, sha256)
        self.answers = {}
        self.cut = threading.Event()  # a client's end was seen in the middle
        self.begun = threading.Event()  # the head of an upload is here
        self.holding = threading.Event()
        self.go = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60 * PATIENCE

            def handle_expect_100(self):
                return True  # when the body is read

            def pieces(self):
                if self.headers["Expect"]:
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                if self.headers["Transfer-Encoding"] == "chunked":
                    while size := int(self.rfile.readline() or b"z", 16):
                        yield self.exactly(size)
                        self.rfile.readline()
                    self.rfile.readline()
                    return
                left = int(self.headers["Content-Length"] or 0)
                while left:
                    yield self.exactly(min(left, 256 * KIB))
                    left -= min(left, 256 * KIB)

            def exactly(self, size):
                piece = self.rfile.read(size)
                if len(piece) < size:
                    raise ConnectionResetError
                return piece

            def reply(self, status=200, body=b"", headers=()):
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def any(self):
                try:
                    if self.command == "PUT":
                        outer.begun.set()
                    early = outer.answers.get((self.command, self.path, "head"))
                    if early:
                        outer.seen.append((self.command, self.path, self.headers, None, None))
                        self.close_connection = True
                        return early(self)
                    digest, length = hashlib.sha256(), 0
                    for piece in self.pieces():
                        digest.update(piece)
                        length += len(piece)
                    outer.seen.append((self.command, self.path, self.headers, length, digest.hexdigest()))
                    outer.answers.get((self.command, self.path), lambda h: h.reply(200, b"Glance's"))(self)
                except (OSError, ValueError):
                    outer.cut.set()
                    self.close_connection = True

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = any

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def glance():
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def api(folder, make_api, glance):
    folder.put("mine", blob(1 * MIB, 1))
    folder.mount()
    return make_api(folder, upstream=glance.url)


def head_of(s):
    """Up to the blank line, and what came behind it."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = s.recv(65536)
        assert part, got
        got += part
    return got.split(b"\r\n\r\n", 1)


@pytest.mark.parametrize("method,path", [
    ("GET", "/v2/images"), ("GET", "/v2/images?limit=2&name=a%2Fb%20c&x=%C3%A4"), ("GET", "/v2/images/mine"), ("GET", "/v2/schemas/image"),
    ("POST", "/v2/images"), ("PATCH", "/v2/images/mine"), ("DELETE", "/v2/images/mine/tags/a"), ("PUT", "/v2/images/mine/members/p"),
    ("GET", "/v2/tasks"), ("GET", "/v2.9/images"), ("OPTIONS", "/v2/images"), ("GET", "/v2/info/import"), ("GET", "/v2/images/mine/locations"),
    ("GET", "/v2/metadefs/namespaces/OS::Compute%2FX/objects/a"), ("GET", "/v2/../v2/x"), ("GET", "/v2//images"), ("GET", "/v2/images/"),
    ("HEAD", "/v2/images/mine"), ("PUT", "/v2/images/mine/file"), ("GET", "/v3/there/is/none")])
def test_what_is_not_ours_goes_as_it_came(api, glance, method, path):
    answer = api.ask(method, path)
    assert answer.status == 200 and answer.body == (b"" if method == "HEAD" else b"Glance's")
    assert [s[:2] for s in glance.seen] == [(method, path)]


def test_what_is_ours_stays_ours(api, glance):
    assert api.get("/v2/images/mine/file").body == api.get("/images/mine").body == blob(1 * MIB, 1)
    assert api.ask("HEAD", "/v2/images/mine/file").status == 200
    for path, status in {"/v2/cache": 200, "/cached_images": 200, "/v1/queued_images": 200, "/status": 200, "/metrics": 200, "/healthcheck": 200,
                         "/v2/cache/nothing": 404, "/page/nothing": 404, "/auth/images/mine": 204, "/v2/images/nothing/file": 404}.items():
        assert api.get(path).status == status, path
    assert b"<html" in api.get("/", Accept="text/html").body
    assert api.ask("PATCH", "/v2/cache/mine").status == 405 and api.ask("DELETE", "/images/mine").status == 405
    assert not glance.seen


def test_pages_of_other_sites_are_kept_out_unless_glance_lets_them(api, glance):
    page = {"Origin": "https://other.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    assert api.ask("DELETE", "/v2/images/mine", page).status == 403
    assert api.ask("DELETE", "/v2/images/mine", {"Host": "rebound.example"}).status == 403
    assert not glance.seen
    assert api.ask("OPTIONS", "/v2/images/mine", {**page, "Access-Control-Request-Method": "DELETE"}).status == 200
    assert api.ask("DELETE", "/v2/images/mine", {**page, "X-Auth-Token": "t"}).status == 200
    assert [s[0] for s in glance.seen] == ["OPTIONS", "DELETE"] and glance.seen[1][2]["Origin"] == page["Origin"]


def test_request_headers(api, glance):
    sent = {"X-Auth-Token": "t", "X-Service-Token": "s", "Content-Type": "application/openstack-images-v2.1-json-patch", "Accept": "a/b",
            "Accept-Encoding": "br", "User-Agent": "nova", "x-image-meta-store": "m", "x-openstack-base-image-ref": "b",
            "x-openstack-image-size": "5", "If-None-Match": "e", "X-OpenStack-Request-ID": REQUEST_ID}
    forged = {n: "admin" for n in (
        "X-Roles", "x-roles", "X_Roles", "X-Role", "X-User-Id", "X-User-Name", "X-User", "X-Project-Id", "X-Tenant", "X-Tenant-Id", "X-Identity-Status",
        "X-Service-Identity-Status", "X-Service-Roles", "X-Service-Catalog", "X-Domain-Id", "X-Is-Admin-Project", "OpenStack-System-Scope",
        "X_Auth_Token", "Forwarded", "X-Forwarded-For", "X-Real-IP", "Keep-Alive", "Proxy-Authorization", "TE", "Upgrade", "X-Image-Dropped")}
    api.ask("PATCH", "/v2/images/mine", {**sent, **forged, "Connection": "close, x-image-dropped"}, b"[]")
    (_, _, got, length, _), = glance.seen
    assert {n: got[n] for n in sent} == sent and length == 2
    assert got["X-Forwarded-For"] == "127.0.0.1" and got["X-Forwarded-Proto"] == "http" and got["X-Forwarded-Host"] == f"127.0.0.1:{api.port}"
    allowed = {n.lower() for n in sent} | {"host", "content-length", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via"}
    assert not {n.lower() for n in got} - allowed
    assert got["Host"] == f"127.0.0.1:{glance.port}"


def test_no_header_is_made_up(api, glance):
    """Glance tells errors as a page where an Accept asks for anything."""
    assert api.get("/v2/tasks").status == 200
    (_, _, got, _, _), = glance.seen
    assert {n.lower() for n in got} == {"host", "x-openstack-request-id", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via"}


def test_forwarded_by_a_trusted_proxy(folder, make_api, glance):
    folder.mount()
    api = make_api(folder, upstream=glance.url + "/v2/", trusted_proxies="127.0.0.1")
    api.get("/v2/tasks", X_Forwarded_For="192.0.2.1", X_Forwarded_Proto="https", X_Forwarded_Host="images.example")
    (_, path, got, _, _), = glance.seen
    assert path == "/v2/tasks" and got["X-Forwarded-For"] == "192.0.2.1, 127.0.0.1"
    assert got["X-Forwarded-Proto"] == "https" and got["X-Forwarded-Host"] == "images.example"


@pytest.mark.parametrize("status", [200, 201, 202, 300, 400, 401, 403, 404, 405, 409, 410, 413, 429, 500, 503])
def test_answers_come_as_they_are(api, glance, status):
    headers = [("Content-Type", "x/y"), ("OpenStack-image-import-methods", "web-download"), ("OpenStack-image-store-ids", "a,b"), ("Retry-After", "17"),
               ("X-Openstack-Request-Id", "req-glances"), ("WWW-Authenticate", "Keystone uri='x'"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    glance.answers["POST", "/v2/images"] = lambda h: h.reply(status, b"why, and how", [*headers, ("Keep-Alive", "timeout=5"), ("Proxy-Authenticate", "x")])
    answer = api.ask("POST", "/v2/images", {"X-OpenStack-Request-ID": REQUEST_ID}, b"{}")
    assert answer.status == status and answer.body == b"why, and how"
    got = answer.headers.items()
    assert all(pair in got for pair in headers)
    assert answer.headers.get_all("X-Openstack-Request-Id") == ["req-glances"] and len(answer.headers.get_all("Date")) == 1
    assert "Keep-Alive" not in answer.headers and "Proxy-Authenticate" not in answer.headers


def test_answers_without_a_body(api, glance):
    glance.answers["DELETE", "/v2/x"] = lambda h: h.reply(204)
    assert api.delete("/v2/x").status == 204
    glance.answers["HEAD", "/v2/x"] = lambda h: h.reply(200, b"12345")
    answer = api.ask("HEAD", "/v2/x")
    assert answer.headers["Content-Length"] == "5" and answer.body == b""


# KiB that a body of 256 MiB may cost; AddressSanitizer keeps what was freed.
MORE = (8 if "asan" not in os.environ.get("GCFS_API_BINARY", "").lower() else 200) * 1024


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload(api, glance, chunked):
    api.get("/v2/tasks")
    before, digest = api.memory(), hashlib.sha256()
    piece = blob(1 * MIB, 7)
    with api.socket(120) as s:
        how = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (256 * MIB)
        s.sendall(b"PUT /v2/images/new/file HTTP/1.1\r\nHost: localhost\r\n" + how + b"\r\n\r\n")
        for _ in range(256):
            s.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            digest.update(piece)
        s.sendall(b"0\r\n\r\n" if chunked else b"")
        assert head_of(s)[0].startswith(b"HTTP/1.1 200")
    assert glance.seen[1][3:] == (256 * MIB, digest.hexdigest())
    assert glance.seen[1][2]["Expect"] is None
    assert api.memory() < before + MORE


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_answer_at_the_pace_of_its_reader(api, glance, chunked):
    """While nobody reads, Glance must wait, and nothing grows."""
    piece = blob(1 * MIB, 8)

    def send(h):
        h.send_response(200)
        h.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(256 * MIB))))
        h.end_headers()
        for _ in range(256):
            whole = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
            if not select.select([], [h.connection], [], 0)[1]:
                glance.holding.set()
            h.wfile.write(whole)
        h.wfile.write(b"0\r\n\r\n" if chunked else b"")

    api.get("/v2/tasks")
    before = api.memory()
    glance.answers["GET", "/v2/large"] = send
    with api.socket(120) as s:
        s.sendall(b"GET /v2/large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert glance.holding.wait(60 * PATIENCE)
        assert api.memory() < before + MORE
        with s.makefile("rb") as f:
            head = []
            while (line := f.readline()) != b"\r\n":
                head.append(line)
            digest, length = hashlib.sha256(), 0
            while True:
                if chunked:
                    size = int(f.readline(), 16)
                    part = f.read(size)
                    f.readline()
                else:
                    part = f.read(1 * MIB)
                if not part:
                    break
                digest.update(part)
                length += len(part)
    assert length == 256 * MIB and digest.digest() == hashlib.sha256(piece * 256).digest()
    assert api.memory() < before + MORE


def test_continue_is_glances_to_say(api, glance):
    glance.answers["PUT", "/v2/images/no/file", "head"] = lambda h: h.reply(401, b"no token", [("WWW-Authenticate", "Keystone")])
    with api.socket() as s:
        s.sendall(b"PUT /v2/images/no/file HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\nExpect: 100-continue\r\n\r\n")
        head, _ = head_of(s)
        assert head.startswith(b"HTTP/1.1 401") and b"WWW-Authenticate: Keystone" in head
    with api.socket() as s:
        s.sendall(b"PUT /v2/images/yes/file HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        head, _ = head_of(s)
        assert head == b"HTTP/1.1 100 Continue"
        s.sendall(b"12345")
        assert head_of(s)[0].startswith(b"HTTP/1.1 200")
    assert glance.seen[-1][3:] == (5, hashlib.sha256(b"12345").hexdigest()) and glance.seen[-1][2]["Expect"] == "100-continue"


def test_a_refusal_in_the_middle_of_an_upload(api, glance):
    glance.answers["PUT", "/v2/images/no/file", "head"] = lambda h: (h.rfile.read(64 * KIB), h.reply(413, b"over quota"), h.rfile.read())
    answer = api.ask("PUT", "/v2/images/no/file", body=bytes(8 * MIB))
    assert answer.status == 413 and answer.body == b"over quota"


@pytest.mark.parametrize("when", ["upload", "chunked upload", "wait", "answer"])
def test_a_client_that_leaves_cuts_the_request_to_glance(api, glance, when):
    def hold(h):
        glance.holding.set()
        glance.go.wait(60 * PATIENCE)
        assert h.connection.recv(1) == b""  # the end; by then it is not only that the server went
        glance.cut.set()

    def flood(h):
        h.send_response(200)
        h.send_header("Content-Length", str(1 << 40))
        h.end_headers()
        while True:
            h.wfile.write(bytes(MIB))
            glance.holding.set()

    path = "/v2/images/x/file"
    with api.socket() as s:
        if when == "wait":
            glance.answers["PUT", path] = hold
            s.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
            assert glance.holding.wait(60 * PATIENCE)
        elif when == "answer":
            glance.answers["GET", "/v2/x"] = flood
            s.sendall(b"GET /v2/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert glance.holding.wait(60 * PATIENCE)
        else:
            how = "Transfer-Encoding: chunked" if when != "upload" else "Content-Length: 1000000"
            s.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\n{how}\r\n\r\n".encode() + (b"1000\r\n" if when != "upload" else b"") + bytes(100))
            assert glance.begun.wait(60 * PATIENCE)
    glance.go.set()
    assert glance.cut.wait(60 * PATIENCE)
    wait_until(lambda: api.connections() == 1, what="the connection to go")
    assert not [m for m, p, *_ in glance.seen if m == "PUT" and when != "wait"], "half an upload was taken for a whole one"


@pytest.mark.parametrize("size", [None, 1, 4 * MIB])
def test_glance_is_away(folder, make_api, size):
    body = bytes(size) if size else None
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        folder.mount()
        api = make_api(folder, upstream=f"http://127.0.0.1:{s.getsockname()[1]}")
        for _ in range(2):
            answer = api.ask("GET" if body is None else "PUT", "/v2/images/x/file" if body else "/v2/images", body=body)
            assert answer.status == 503 and int(answer.headers["Retry-After"]) > 0
            assert "image service does not answer" in answer.message and "connect" in answer.message.lower()
        assert api.logged().count("does not answer: ") == 1
        assert api.get("/healthcheck").status == 200


def test_glance_ends_without_an_answer_and_is_silent(folder, make_api, glance):
    folder.mount()
    api = make_api(folder, upstream=glance.url, upstream_timeout=1)
    glance.answers["POST", "/v2/x"] = lambda h: setattr(h, "close_connection", True)
    answer = api.ask("POST", "/v2/x", body=b"x")
    assert answer.status == 503 and answer.headers["Retry-After"] and "image service" in answer.message
    glance.answers["GET", "/v2/x"] = lambda h: glance.go.wait(60 * PATIENCE)
    answer = api.get("/v2/x")
    assert answer.status == 503 and "upstream_timeout" in answer.message
    for status in (502, 504):
        glance.answers["GET", "/v2/gateway"] = lambda h, status=status: h.reply(status, b"the proxy's")
        answer = api.get("/v2/gateway")
        assert answer.status == 503 and answer.headers["Retry-After"] and answer.body == b"the proxy's"


def test_silent_in_the_middle(folder, make_api, glance):
    """What was begun cannot be 503 any more: it ends, so that the client knows."""
    def half(h):
        h.send_response(200)
        h.send_header("Content-Length", "1000000")
        h.end_headers()
        h.wfile.write(bytes(300 * KIB))
        h.wfile.flush()
        glance.go.wait(60 * PATIENCE)

    folder.mount()
    api = make_api(folder, upstream=glance.url, upstream_timeout=1)
    glance.answers["GET", "/v2/half"] = half
    with pytest.raises(Exception, match="IncompleteRead"):
        api.get("/v2/half")
    assert api.get("/v2/whole").status == 200


def test_an_answer_that_is_cut_is_cut_here(api, glance):
    def half(h, *how):
        h.send_response(200)
        h.send_header(*how)
        h.end_headers()
        h.wfile.write(b"100000\r\n" + bytes(300 * KIB))  # more than is held
        h.close_connection = True

    for i, how in enumerate([("Content-Length", "1000000"), ("Transfer-Encoding", "chunked")]):
        glance.answers["GET", f"/v2/half{i}"] = lambda h, how=how: half(h, *how)
        with pytest.raises(Exception, match="IncompleteRead"):
            api.get(f"/v2/half{i}")
    assert api.get("/v2/whole").status == 200


def test_links_lead_to_us(folder, make_api, glance):
    folder.mount()
    versions = {"versions": [{"id": "v2.17", "status": "CURRENT", "links": [{"rel": "self", "href": f"{glance.url}/image/v2/"}]},
                             {"id": "v2.1", "status": "SUPPORTED", "links": [{"rel": "self", "href": "https://cloud.example/image/v2/"}]}]}
    api = make_api(folder, upstream=glance.url + "/image/")
    for path, status in {"/versions": 200, "/": 300, "/v2": 300}.items():
        glance.answers["GET", "/image" + path] = lambda h, status=status: h.reply(status, json.dumps(versions).encode(), [("Content-Type", "application/json")])
        answer = api.get(path)
        assert answer.status == status and answer.headers["Content-Type"] == "application/json"
        assert [v["id"] for v in answer.json["versions"]] == ["v2.17", "v2.1"]
        assert {v["links"][0]["href"] for v in answer.json["versions"]} == {api.url + "/v2/"}
    for there, here in {f"{glance.url}/image/v2/images/1": f"{api.url}/v2/images/1", "/v2/images/1": "/v2/images/1",
                        "https://cloud.example/image/v2/images/1": "https://cloud.example/image/v2/images/1",
                        f"{glance.url}/other": f"{glance.url}/other"}.items():
        glance.answers["POST", "/image/v2/images"] = lambda h, there=there: h.reply(201, b"{}", [("Location", there)])
        assert api.ask("POST", "/v2/images", body=b"{}").headers["Location"] == here


# ---- what a change there changes here

CHANGES = [("DELETE", "", 204, True), ("PUT", "/file", 204, True), ("POST", "/actions/deactivate", 204, True), ("PATCH", "", 200, False),
           ("POST", "/actions/reactivate", 204, False), ("PUT", "/members/p", 200, False), ("DELETE", "", 403, False), ("DELETE", "", 503, False),
           ("PUT", "/file", 409, False), ("DELETE", "/tags/t", 204, False)]


@pytest.mark.parametrize("version", ["v2", "v2.9"])
@pytest.mark.parametrize("method,rest,status,evicts", CHANGES)
def test_bytes_go_with_the_change(folder, make_api, glance, version, method, rest, status, evicts):
    folder.put("mine", blob(1 * MIB, 1))
    folder.put("other", blob(1 * MIB, 2))
    folder.mount()
    api = make_api(folder, upstream=glance.url)
    for name in ("mine", "other"):
        folder.read(name)
        folder.wait_cached(name)
    glance.answers[method, f"/{version}/images/mine{rest}"] = lambda h: h.reply(status, b"" if status == 204 else b"{}")
    assert api.ask(method, f"/{version}/images/mine{rest}", body=b"x" if method == "PUT" else None).status == status
    assert os.path.exists(os.path.join(folder.mnt, "cached", "mine")) != evicts
    assert os.path.exists(os.path.join(folder.mnt, "cached", "other"))


@pytest.mark.parametrize("how", ["no answer", "half an answer", "the client leaves"])
def test_bytes_go_when_nobody_knows_whether_it_was_done(api, folder, glance, how):
    folder.read("mine")
    folder.wait_cached("mine")

    def answer(h):
        glance.holding.set()
        if how == "half an answer":
            h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        elif how == "the client leaves":
            glance.go.wait(60 * PATIENCE)
        h.close_connection = True

    glance.answers["DELETE", "/v2/images/mine"] = answer
    if how == "the client leaves":
        with api.socket() as s:
            s.sendall(b"DELETE /v2/images/mine HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert glance.holding.wait(60 * PATIENCE)
    else:
        try:
            assert api.delete("/v2/images/mine").status == 503
        except http.client.IncompleteRead:  # its head was on its way already when it broke off
            assert how == "half an answer"
    folder.wait_has("cached", "mine", False)


@pytest.mark.parametrize("method,rest", sorted({c[:2] for c in CHANGES}))
def test_verdicts_go_with_the_change(folder, make_api, glance, method, rest):
    """Who was let in before is asked about anew, each caller, and only for that image."""
    openstack = OpenStack()
    try:
        openstack.tokens |= {"a": ("member", 3600), "b": ("member", 3600)}
        for name in ("mine", "other"):
            folder.put(name, blob(64 * KIB, 1))
            openstack.images[name] = ("active", {"a", "b"})
        folder.mount()
        api = make_api(folder, upstream=glance.url, auth="keystone", auth_url=openstack.url + "/v3", image_url=openstack.url, auth_ttl=3600)
        for token in ("a", "b"):
            for name in ("mine", "other"):
                assert api.get(f"/v2/images/{name}/file", X_Auth_Token=token).status == 200
        openstack.images["mine"] = openstack.images["other"] = ("active", set())
        assert api.get("/v2/images/mine/file", X_Auth_Token="b").status == 200
        assert api.ask(method, f"/v2/images/mine{rest}", {"X-Auth-Token": "a"}).status == 200
        for token in ("a", "b"):
            assert api.get("/v2/images/mine/file", X_Auth_Token=token).status == 404
            assert api.get("/v2/images/other/file", X_Auth_Token=token).status == 200
    finally:
        openstack.close()
