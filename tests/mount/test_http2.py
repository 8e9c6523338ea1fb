# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 over TLS: many requests share a connection, and a server may end a stream, or a connection between streams, whenever it likes."""
import errno
import os
import socket
import ssl
import struct
import threading

import pytest

import http2
from harness import KIB, MIB, blob, error_of, same
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.skipif(not http2.speaks_http2(), reason="this nginx has no HTTP/2")

NAMES = ("a", "b", "c", "d")
SIZE = 24 * MIB


def in_parallel(*functions):
    """Calls them all at once; raises what the first one raised that did not return."""
    errors = []

    def call(function):
        try:
            function()
        except BaseException as e:  # pylint: disable=broad-except
            errors.append(e)
    threads = [threading.Thread(target=call, args=(f,)) for f in functions]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def failures(cache):
    return [b["failures_in_a_row"] for b in cache.status()["backend"]["endpoints"]], cache.status()["counters"]["backend_errors"]


def use_it(cache, contents):
    """Reads all images at once while names are listed and looked up: streams beside each other, begun and ended in any order."""
    def look():
        for i in range(40):
            assert sorted(os.listdir(cache.path("images"))) == sorted(contents)
            assert error_of(os.stat, cache.image(f"missing-{i}")) == 2
    same_image = [lambda name=name: same(cache.read(name), contents[name]) for name in contents]
    in_parallel(look, look, *same_image)
    for name in contents:
        cache.wait_cached(name)


@pytest.mark.parametrize("extra", ["", "keepalive_requests 10;", "http2_max_concurrent_streams 1;"],
                         ids=["as it comes", "GOAWAY after ten", "one stream at a time"])
def test_many_at_once(cache, make_nginx, extra):
    """No call fails, and nothing is held against the server: it does what the protocol lets it do."""
    web = make_nginx(http2.Http2Nginx, tls_extra=extra)
    contents = {name: web.put(name, blob(SIZE, i)) for i, name in enumerate(NAMES)}
    cache.configure(web, list_ttl=0).mount()
    use_it(cache, contents)
    assert failures(cache) == ([0], 0)
    assert "libcurl" not in cache.logged()


@pytest.fixture
def front(make_cache):
    server = http2.Http2Origin()
    yield server
    server.close()


def test_it_is_http2(cache, front):
    """The tests that run over this origin run over HTTP/2."""
    content = front.put("image", blob(MIB))
    cache.configure(front).mount()
    same(cache.read("image"), content)
    cache.unmount()
    front.stop()
    assert front.access and {protocol for protocol, _ in front.access} == {"HTTP/2.0"}


def test_a_stream_is_reset_in_the_middle(cache, front):
    """The connection and its other streams go on; what came is kept and the rest asked for. It is no failure of the server."""
    content, other = front.put("image", blob(SIZE)), front.put("other", blob(SIZE, 2))
    front.fault("image", drop_after=MIB, times=5)
    cache.configure(front, list_ttl=3600).mount()
    in_parallel(lambda: same(cache.read("image"), content), lambda: same(cache.read("other"), other))
    cache.wait_cached("image")
    assert failures(cache) == ([0], 0)
    assert front.sent("image") <= SIZE + 5 * MIB
    assert front.sent("other") <= SIZE + 256 * KIB


def test_a_server_that_only_resets(cache, front):
    """It ends: a server that never brings anything has failed."""
    front.put("image", blob(SIZE))
    cache.configure(front.config(retries=1)).mount()
    size = os.stat(cache.image("image")).st_size
    front.fault("image", drop_after=0)
    assert size == SIZE
    assert error_of(cache.read, "image", MIB, 8 * MIB) == 5
    assert failures(cache)[1] > 0
    front.clear_faults()
    same(cache.read("image", MIB, 8 * MIB), blob(SIZE)[8 * MIB:9 * MIB])


# ---- a server that refuses before it answers

NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM = 0, 2, 7, 11
HEADERS, RST_STREAM, SETTINGS, GOAWAY = 1, 3, 4, 7


def frame(kind, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, 0]) + struct.pack(">I", stream) + payload


class Moody:
    """HTTP/2 over TLS: hands connections on to ORIGIN, an nginx that speaks it without TLS, but the first TIMES requests are refused.
    HOW: "stream" with RST_STREAM, "connection" with GOAWAY, "close" by an end of the connection without a word."""

    def __init__(self, port, how, code, times):
        self.upstream, self.how, self.code, self.left = port, how, code, times
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(http2.certificate() + "/ca.pem", http2.certificate() + "/ca.key")
        self.context.set_alpn_protocols(["h2"])
        self.lock = threading.Lock()
        self.refused = 0
        self.open = set()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def config(self, **more):
        return {"type": "http", "url": f"https://127.0.0.1:{self.port}/img/{{id}}", "ca_file": http2.certificate() + "/ca.pem", **more}

    def _accept(self):
        while True:
            try:
                plain, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain):
        try:
            with self.context.wrap_socket(plain, server_side=True) as client:
                with self.lock:
                    self.open.add(client)
                if self._wants_to_refuse():
                    self._refuse(client)
                else:
                    self._hand_on(client)
                with self.lock:
                    self.open.discard(client)
        except OSError:
            pass

    def _wants_to_refuse(self):
        with self.lock:
            self.left -= 1
            return self.left >= 0

    def _refuse(self, client):
        stream = client.makefile("rb")
        assert stream.read(24).startswith(b"PRI * HTTP/2.0")
        client.sendall(frame(SETTINGS, 0))
        number = self._next_request(stream)
        with self.lock:
            self.refused += 1
        if self.how == "stream":  # the first one; the next one makes it a connection to be left
            client.sendall(frame(RST_STREAM, number, struct.pack(">I", self.code)))
            self._next_request(stream)
            client.sendall(frame(GOAWAY, 0, struct.pack(">II", number, NO_ERROR)))
        elif self.how == "connection":
            client.sendall(frame(GOAWAY, 0, struct.pack(">II", 0, self.code)))
        client.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _next_request(stream):
        while True:
            head = stream.read(9)
            if len(head) < 9:
                raise OSError("the client left")
            stream.read(int.from_bytes(head[:3], "big"))
            if head[3] == HEADERS:
                return int.from_bytes(head[5:], "big")

    def _hand_on(self, client):
        with socket.create_connection(("127.0.0.1", self.upstream)) as server:
            def back():
                try:
                    while data := server.recv(1 << 16):
                        client.sendall(data)
                    client.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            thread = threading.Thread(target=back, daemon=True)
            thread.start()
            try:
                while data := client.recv(1 << 16):
                    server.sendall(data)
            finally:
                server.shutdown(socket.SHUT_RDWR)
                thread.join()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with self.lock:
            clients = list(self.open)
        for client in clients:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join(10 * PATIENCE)


@pytest.mark.parametrize("how, code", [("stream", REFUSED_STREAM), ("stream", ENHANCE_YOUR_CALM), ("stream", INTERNAL_ERROR),
                                       ("connection", NO_ERROR), ("connection", ENHANCE_YOUR_CALM), ("close", 0)])
def test_refused_before_the_answer(cache, make_nginx, how, code):
    """The request is made again, whoever made it: a look-up, a listing, bytes."""
    web = make_nginx(http2.Http2Nginx)
    content = web.put("image", blob(4 * MIB))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        plain = s.getsockname()[1]
    web.stop()
    web.tls_extra = f"listen 127.0.0.1:{plain} http2;"
    web.start()
    moody = Moody(plain, how, code, 1)
    try:
        cache.configure(moody).mount()
        same(cache.read("image"), content)
        with moody.lock:
            moody.left = 0
        assert cache.ls("images") == ["image"]
        assert moody.refused == 1
    finally:
        cache.unmount()
        moody.close()


@pytest.mark.parametrize("origin", ["h2"], indirect=True)
@pytest.mark.http1  # not once more
def test_an_answer_that_is_refused_is_over_at_the_server(cache, origin):
    """As one is that is given up: what is not of the version that is read is not sent to its end, nor kept open for ever."""
    old = origin.put("image", blob(8 * MIB, 1))
    cache.configure(origin.config(retries=0), fetch_policy="demand", read_ahead_max=0, list_ttl=600, passthrough="off").mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    try:
        same(os.pread(fd, 4096, 0), old[:4096])
        origin.put("image", blob(8 * MIB, 2))
        hold = origin.fault("image", hold_from=64 * KIB, when=lambda r: r.range is not None and r.range[0] >= 3 * MIB)
        assert error_of(os.pread, fd, 4096, 5 * MIB) == errno.EIO
        wait_until(lambda: hold.taken and all(r.finished for r in origin.requests("image")), what="the server to know")
    finally:
        os.close(fd)
