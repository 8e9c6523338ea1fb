# SPDX-License-Identifier: Apache-2.0
"""A gate before a service: a reverse proxy on loopback that logs requests and, as told, breaks things on the way."""
import http.client
import socket
import socketserver
import threading
import time
import urllib.parse

from waiting import wait_until

SLICE = 1 << 16


class Gate:
    """http://127.0.0.1:PORT in front of TARGET, an http url without a path."""

    def __init__(self, target):
        parts = urllib.parse.urlsplit(target)
        self.host, self.to = parts.hostname, parts.port or 80
        self.lock = threading.Lock()
        self.log = []  # (method, path, status)
        self.spoil_tokens = None  # a function of the request's token: is it to be spoilt?
        self.tokens = set()  # that were seen
        self.hold_after = None  # bytes of body after which answers to …/file wait for release()
        self.cut = False  # they break off then, instead of going on
        self.held = 0
        self.released = threading.Event()
        self.delay = 0  # seconds before each answer
        self.deny = None  # a path that is answered 403
        self.add = {}  # path: {header: value} that its answers get besides their own
        self.sockets = set()
        self.server = None
        self.port = 0
        self.open()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    # ---- open and closed

    def open(self):
        gate = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with gate.lock:
                    gate.sockets.add(self.request)
                try:
                    gate.serve(self.request)
                except (OSError, http.client.HTTPException, ValueError):
                    pass
                finally:
                    with gate.lock:
                        gate.sockets.discard(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True
            block_on_close = False
            request_queue_size = 128

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def shut(self):
        """As a service that was stopped: connections break, new ones are refused."""
        if self.server is None:
            return
        self.server.shutdown()
        self.server.server_close()
        self.server = None
        with self.lock:
            for s in self.sockets:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.released.set()
        self.shut()

    # ---- for tests

    def count(self, method=None, path=None, status=None):
        with self.lock:
            return sum((method is None or m == method) and (path is None or path in p) and (status is None or s == status)
                       for m, p, s in self.log)

    def wait_count(self, n, **which):
        wait_until(lambda: self.count(**which) >= n, what=f"{n} requests {which}")

    def forget(self):
        with self.lock:
            self.log.clear()

    # ---- a connection

    def serve(self, client):
        reader = client.makefile("rb")
        while True:
            line = reader.readline()
            if not line:
                return
            method, path, _ = line.decode("latin-1").split(" ", 2)
            headers = http.client.parse_headers(reader)
            body = reader.read(int(headers.get("Content-Length", 0)))
            token = headers.get("X-Auth-Token")
            if token:
                self.tokens.add(token)
            if token and self.spoil_tokens and self.spoil_tokens(token):
                headers.replace_header("X-Auth-Token", "spoilt")
            if self.delay:
                time.sleep(self.delay)
            if self.deny and path.startswith(self.deny):
                with self.lock:
                    self.log.append((method, path, 403))
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                continue
            if not self.forward(client, method, path, headers, body):
                return

    def forward(self, client, method, path, headers, body):
        upstream = http.client.HTTPConnection(self.host, self.to, timeout=60)
        try:
            upstream.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in ("connection", "expect"):
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            with self.lock:
                self.log.append((method, path, answer.status))
            return self.answer(client, method, path, answer)
        finally:
            upstream.close()

    def answer(self, client, method, path, answer):
        length = answer.getheader("Content-Length")
        bodiless = method == "HEAD" or answer.status in (204, 304)
        keep = length is not None or bodiless
        head = f"HTTP/1.1 {answer.status} {answer.reason}\r\n"
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "keep-alive"):
                head += f"{name}: {value}\r\n"
        for name, value in self.add.get(path, {}).items():
            head += f"{name}: {value}\r\n"
        client.sendall((head + f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n").encode("latin-1"))
        sent = 0
        while not bodiless:
            data = answer.read(SLICE)
            if not data:
                break
            client.sendall(data)
            sent += len(data)
            if self.hold_after is not None and path.endswith("/file") and sent >= self.hold_after:
                with self.lock:
                    self.held += 1
                self.released.wait()
                if self.cut:
                    return False
        return keep
