# SPDX-License-Identifier: Apache-2.0
"""Origins of images for the tests, both on loopback.

Origin  a small HTTP/1.1 server that holds images in memory, misbehaves as told (see Fault) and logs every request.
Nginx   the real server over a folder, with an access log that counts the bytes of body it sent.

Both have: put(), url (ending in "{id}"), config() (the [backend] section for it), sent(), requests(), start(), stop().
"""
import base64
import dataclasses
import hashlib
import html
import json
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse

from waiting import wait_until

SLICE = 1 << 16


class Blob:
    """One version of an image as the origin holds it."""

    def __init__(self, content, etag=None, modified="Wed, 01 Jan 2025 00:00:00 GMT", headers=None):
        self.content = bytes(content)
        self.headers = headers or {}  # more of them
        self.etag = f'"{hashlib.sha256(self.content).hexdigest()[:24]}"' if etag is None else etag
        self.modified = modified


@dataclasses.dataclass(eq=False)
class Fault:
    """How to answer the requests it matches. The first fault added that matches and is not used up is taken."""

    name: str = None  # of the image; None: any
    method: str = None
    when: object = None  # a predicate of the Request
    times: int = None  # requests it is good for; None: all
    # what to answer
    status: int = None  # this status, with `body` and `headers`
    body: bytes = b""
    headers: dict = dataclasses.field(default_factory=dict)
    redirect: str = None  # 302 to this url; "{path}" stands for the path asked for
    raw: bytes = None  # these bytes instead of an answer, then the connection closes
    # how to answer what would be right
    range_status: int = None  # this status to whoever says Range; to others the whole image
    no_range: bool = False  # 200 and the whole image whatever Range says
    ignore_conditions: bool = False  # of If-Match and If-Range
    etag: str = None  # instead of the right one; "": none
    modified: str = None
    content_range: str = None  # instead of the right one
    length: object = None  # Content-Length: a number; "none": no length, the close ends it; "chunked"
    content: bytes = None  # another body in place of the image's bytes asked for
    drop_before_head: bool = False
    drop_after: int = None  # close after so many bytes of body
    stall_after: int = None  # say nothing more after so many bytes of body, until release()
    hold_from: int = None  # hold back bytes of the image from this offset on, until release(), or until it is set higher
    hold_head: bool = False  # hold back the whole answer until release()
    drip: tuple = None  # (bytes, seconds): so many bytes, then a pause

    def __post_init__(self):
        self.taken = 0
        self.waiting = 0  # answers that are held back now
        self.released = threading.Event()

    def release(self):
        self.released.set()

    def matches(self, request):
        return ((self.name is None or self.name == request.name)
                and (self.method is None or self.method == request.method)
                and (self.times is None or self.taken < self.times)
                and (self.when is None or self.when(request)))


class Request:
    def __init__(self, method, target, headers, connection):
        self.method, self.target, self.headers, self.connection = method, target, headers, connection
        self.absolute = target.startswith("http://")  # as a proxy is asked
        path = "/" + target.split("/", 3)[3] if self.absolute else target
        self.path = path.split("?", 1)[0]
        self.query = path.split("?", 1)[1] if "?" in path else None
        self.name = None
        self.at = time.monotonic()
        self.status = 0
        self.sent = 0  # bytes of body handed to the socket
        self.all_sent = False  # all of its body goes to the socket, or has gone: the client may know before we do
        self.finished = False
        self.range = None
        m = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        if m:
            self.range = (int(m[1]), int(m[2]) if m[2] else None)

    def __repr__(self):
        return f"<{self.method} {self.target} range={self.range} status={self.status} sent={self.sent}>"


class Gone(Exception):
    """The connection ended, or is to end."""


class Origin:
    def __init__(self, prefix="/img/", tls=None):
        self.prefix = prefix
        self.blobs = {}
        self.faults = []
        self.log = []
        self.lock = threading.Lock()  # of log, faults, connections
        self.listing = "json"  # "json", "html", None: 404, or a function giving (content type, bytes)
        self.basic = self.bearer = None  # "user:password"; a token
        self.tls = tls
        self.port = 0
        self.closing = threading.Event()
        self.connections = set()
        self.accepted = 0
        self.start()

    # ---- for tests

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{self.prefix}{{id}}"

    def config(self, **more):
        return {"type": "http", "url": self.url, **more}

    def put(self, name, content, **version):
        self.blobs[name] = Blob(content, **version)
        return self.blobs[name].content

    def remove(self, name):
        del self.blobs[name]

    def put_sums(self, name, entries):
        """SHA256SUMS or SHA512SUMS of {image: content}."""
        algorithm = name[:-4].lower()
        self.put(name, "".join(f"{hashlib.new(algorithm, c).hexdigest()}  {n}\n" for n, c in entries.items()).encode())

    def fault(self, name=None, **what):
        fault = Fault(name, **what)
        with self.lock:
            self.faults.append(fault)
        return fault

    def clear_faults(self):
        with self.lock:
            faults, self.faults = self.faults, []
        for fault in faults:
            fault.release()

    def requests(self, name=None, method=None):
        with self.lock:
            return [r for r in self.log if (name is None or r.name == name) and (method is None or r.method == method)]

    def sent(self, name=None):
        return sum(r.sent for r in self.requests(name))

    def settle(self):
        wait_until(lambda: all(r.finished for r in self.requests()), what="the origin to be idle")

    def start(self):
        """Listens, on the same port as before."""
        self.closing.clear()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", self.port))
        self.socket.listen(512)
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, args=(self.socket,), daemon=True)
        self.thread.start()

    def stop(self):
        """Refuses connections from here on and drops those there are."""
        self.closing.set()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        self.thread.join(10)
        with self.lock:
            connections = list(self.connections)
        for connection in connections:
            self._drop(connection)
        wait_until(lambda: not self.connections, what="the origin's connections to end")

    def close(self):
        self.clear_faults()
        if not self.closing.is_set():
            self.stop()

    # ---- the server

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SLICE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections.add(connection)
                self.accepted += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    @staticmethod
    def _drop(connection):
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _serve(self, plain):
        connection = plain
        try:
            if self.tls:
                connection = self.tls.wrap_socket(plain, server_side=True)  # which takes the plain one's descriptor
                with self.lock:
                    self.connections.discard(plain)
                    self.connections.add(connection)
            stream = connection.makefile("rb")
            while not self.closing.is_set():
                request = self._read(stream, connection)
                if request is None:
                    break
                try:
                    self._answer(connection, request)
                finally:
                    request.finished = True
        except (Gone, OSError, ValueError):
            pass
        finally:
            self._drop(connection)
            connection.close()
            plain.close()
            with self.lock:
                self.connections -= {plain, connection}

    def _read(self, stream, connection):
        line = stream.readline(65536).decode("latin-1").strip()
        if not line:
            return None
        method, target, _ = line.split(" ", 2)
        headers = {}
        while (line := stream.readline(65536).decode("latin-1").strip()):
            key, _, value = line.partition(":")
            headers[key.strip().lower()] = value.strip()
        request = Request(method, target, headers, connection)
        if request.path.startswith(self.prefix):
            request.name = urllib.parse.unquote(request.path[len(self.prefix):], errors="surrogateescape")
        with self.lock:
            self.log.append(request)
        return request

    def _take(self, request):
        with self.lock:
            for fault in self.faults:
                if fault.matches(request):
                    fault.taken += 1
                    return fault
        return Fault()

    def _refuse(self, request):
        if self.basic is not None:
            want = "Basic " + base64.b64encode(self.basic.encode()).decode()
            if request.headers.get("authorization") != want:
                return {"WWW-Authenticate": 'Basic realm="images"'}
        if self.bearer is not None and request.headers.get("authorization") != "Bearer " + self.bearer:
            return {"WWW-Authenticate": "Bearer"}
        return None

    def _answer(self, connection, request):
        fault = self._take(request)
        if fault.drop_before_head:
            raise Gone
        if fault.hold_head:
            self._hold(connection, fault)
        if fault.raw is not None:
            connection.sendall(fault.raw)
            raise Gone
        if fault.redirect is not None:
            return self._send(connection, request, fault, 302, {"Location": fault.redirect.replace("{path}",
                                                                                                   request.path)}, b"")
        if fault.status is not None:
            return self._send(connection, request, fault, fault.status, fault.headers, fault.body)
        if fault.range_status is not None and request.range is not None:
            return self._send(connection, request, fault, fault.range_status, {}, b"" if fault.range_status == 204 else b"no ranges\n")
        refusal = self._refuse(request)
        if refusal is not None:
            return self._send(connection, request, fault, 401, refusal, b"who are you?\n")
        if request.method not in ("GET", "HEAD"):
            return self._send(connection, request, fault, 405, {"Allow": "GET, HEAD"}, b"")
        if request.name == "" and self.listing is not None:
            kind, body = self._list()
            return self._send(connection, request, fault, 200, {"Content-Type": kind, **fault.headers}, body)
        blob = self.blobs.get(request.name)
        if blob is None:
            return self._send(connection, request, fault, 404, {}, b"no such image\n")
        self._answer_image(connection, request, fault, blob)

    def _answer_image(self, connection, request, fault, blob):
        etag = blob.etag if fault.etag is None else fault.etag
        modified = blob.modified if fault.modified is None else fault.modified
        headers = {"Accept-Ranges": "bytes", **({"ETag": etag} if etag else {}),
                   **({"Last-Modified": modified} if modified else {}), **blob.headers, **fault.headers}
        size, span = len(blob.content), request.range
        if not fault.ignore_conditions:
            none_match, since = (request.headers.get(h) for h in ("if-none-match", "if-modified-since"))
            if etag in (none_match or "").split(", ") if none_match else since is not None and since == modified:
                return self._send(connection, request, fault, 304, headers, b"")
            match = request.headers.get("if-match")
            if match is not None and match != "*" and blob.etag not in [m.strip() for m in match.split(",")]:
                return self._send(connection, request, fault, 412, headers, b"")
            unmodified = request.headers.get("if-unmodified-since")
            if unmodified is not None and match is None and blob.modified and unmodified != blob.modified:
                return self._send(connection, request, fault, 412, headers, b"")
            if_range = request.headers.get("if-range")
            if if_range is not None and if_range not in (blob.etag, blob.modified):
                span = None
        if fault.no_range:
            headers.pop("Accept-Ranges", None)
            span = None
        if span is None:
            return self._send(connection, request, fault, 200, headers, blob.content)
        first, last = span[0], size - 1 if span[1] is None else min(span[1], size - 1)
        if first >= size:
            return self._send(connection, request, fault, 416, {**headers, "Content-Range": f"bytes */{size}"}, b"")
        headers["Content-Range"] = fault.content_range or f"bytes {first}-{last}/{size}"
        self._send(connection, request, fault, 206, headers, memoryview(blob.content)[first:last + 1], first)

    def _send(self, connection, request, fault, status, headers, body, offset=0):
        request.status = status
        if fault.content is not None and status in (200, 206):
            body = fault.content
        headers = dict(headers)
        if fault.length == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        elif fault.length == "none":
            headers["Connection"] = "close"
        else:
            headers["Content-Length"] = len(body) if fault.length is None else fault.length
        head = f"HTTP/1.1 {status} Status\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        connection.sendall(head.encode("latin-1"))
        if request.method != "HEAD" and status not in (204, 304):
            self._send_body(connection, request, fault, memoryview(body), offset)
        if fault.length not in (None, "chunked") or request.headers.get("connection", "").lower() == "close":
            raise Gone

    def _send_body(self, connection, request, fault, body, offset):
        done = 0
        step = min(SLICE, fault.drip[0]) if fault.drip else SLICE
        while True:
            held_from = None if fault.hold_from is None else max(0, fault.hold_from - offset)
            stops = [s for s in (fault.drop_after, fault.stall_after, held_from) if s is not None and s > done]
            if fault.drop_after is not None and done >= fault.drop_after and done < len(body):
                raise Gone
            held = ((fault.stall_after is not None and done >= fault.stall_after)
                    or (held_from is not None and done >= held_from))
            if held and done < len(body) and not fault.released.is_set():
                self._hold(connection, fault)
                continue
            if done >= len(body):
                break
            end = min([len(body), done + step] + stops)
            piece = body[done:end]
            request.all_sent = end == len(body)
            if fault.length == "chunked":
                connection.sendall(b"%x\r\n" % len(piece) + bytes(piece) + b"\r\n")
            else:
                connection.sendall(piece)
            done = end
            with self.lock:
                request.sent = done
            if fault.drip and done < len(body):
                time.sleep(fault.drip[1])
        if fault.length == "chunked":
            connection.sendall(b"0\r\n\r\n")

    def _hold(self, connection, fault):
        """Waits for release(), or a higher hold_from; ends the connection when the origin stops or the client leaves."""
        held_from = fault.hold_from
        with self.lock:
            fault.waiting += 1
        try:
            while not fault.released.wait(0.02) and fault.hold_from == held_from:
                readable, _, _ = select.select([connection], [], [], 0)
                if self.closing.is_set() or (readable and not self._peek(connection)):
                    raise Gone
        finally:
            with self.lock:
                fault.waiting -= 1

    @staticmethod
    def _peek(connection):
        if isinstance(connection, ssl.SSLSocket):
            return True
        return connection.recv(1, socket.MSG_PEEK)

    def _list(self):
        if callable(self.listing):
            return self.listing()
        if self.listing == "json":
            entries = [{"name": n, "type": "file", "mtime": b.modified, "size": len(b.content)} for n,
                       b in sorted(self.blobs.items())]
            return "application/json", json.dumps(entries).encode()
        links = [f'<li><a href="{urllib.parse.quote(n)}">{html.escape(n)}</a></li>\n' for n in sorted(self.blobs)]
        page = f'<html><body><h1>Index</h1><ul>\n<li><a href="../">../</a></li>\n{"".join(links)}</ul></body></html>\n'
        return "text/html; charset=utf-8", page.encode()


class Nginx:
    """nginx over root/files. AUTOINDEX: "json", "html" or None; RATE: bytes a second for each answer, as "512k"."""

    def __init__(self, autoindex="json", rate=None, extra="", parent=None):
        self.root = tempfile.mkdtemp(prefix="nginx.", dir=parent)
        os.chmod(self.root, 0o755)
        self.files = os.path.join(self.root, "files")
        os.makedirs(self.files)
        self.access = os.path.join(self.root, "access.log")
        self.autoindex, self.rate, self.extra = autoindex, rate, extra
        self.process = None
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/img/{{id}}"

    def config(self, **more):
        return {"type": "http", "url": self.url, **more}

    def put(self, name, content):
        """Publishes a file; an old version is replaced by rename."""
        path = os.path.join(os.fsencode(self.files), os.fsencode(name))
        temporary = os.path.join(self.root, "new").encode()
        with open(temporary, "wb") as f:
            f.write(content)
        os.rename(temporary, path)
        return content

    def write_conf(self):
        index = f"autoindex on; autoindex_format {self.autoindex};" if self.autoindex else ""
        rate = f"limit_rate {self.rate};" if self.rate else ""
        path = os.path.join(self.root, "nginx.conf")
        with open(path, "w") as f:
            f.write(f"""
worker_processes 1; pid {self.root}/nginx.pid; error_log {self.root}/error.log; daemon off; user root;
events {{ worker_connections 1024; }}
http {{
  log_format bytes '$status $body_bytes_sent $request_method $request_uri $http_range'; access_log {self.access} bytes;
  sendfile on; tcp_nopush on; keepalive_requests 100000; default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{self.port} backlog=1024;
    location = /busy {{ stub_status; access_log off; }}
    location /img/ {{ alias {self.files}/; {index} {rate} {self.extra} }}
  }}
}}
""")
        return path

    def start(self):
        with open(os.path.join(self.root, "stderr"), "ab") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "nginx", "-c", self.write_conf(), "-p",
                                             self.root,
                                             "-e", os.path.join(self.root, "error.log")], stdout=log, stderr=log)
        wait_until(self._listens, what="nginx to listen")

    def _listens(self):
        if self.process.poll() is not None:
            raise RuntimeError("nginx did not start: " + open(os.path.join(self.root, "error.log")).read()[-2000:])
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def settle(self):
        """Waits until nginx answers nobody but us: all that was sent stands in the log then."""
        def idle():
            with socket.create_connection(("127.0.0.1", self.port), 5) as s:
                s.sendall(b"GET /busy HTTP/1.0\r\n\r\n")
                text = s.makefile("rb").read().decode()
            numbers = re.search(r"Reading: (\d+) Writing: (\d+)", text)
            return int(numbers[1]) == 0 and int(numbers[2]) == 1
        if self.process is not None:
            wait_until(idle, what="nginx to be idle")

    def requests(self, name=None):
        """(status, bytes of body, method, raw path, range) of the answers that have ended."""
        out = []
        try:
            lines = open(self.access, encoding="latin-1").read().splitlines()
        except FileNotFoundError:
            return out
        for line in lines:
            status, sent, method, uri, span = line.split(" ", 4)
            if name is None or urllib.parse.unquote(uri[len("/img/"):], errors="surrogateescape") == name:
                out.append((int(status), int(sent), method, uri, span))
        return out

    def sent(self, name=None):
        self.settle()
        return sum(r[1] for r in self.requests(name) if r[0] in (200, 206))
