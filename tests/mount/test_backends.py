# SPDX-License-Identifier: Apache-2.0
"""Every kind of backend against the same questions; the answers are tests/BACKENDS.md, written anew with GCFS_WRITE_BACKENDS=1."""
import errno
import hashlib
import json
import os
import subprocess
import sys
import urllib.request

import pytest

from clouds import XML, Store, fault
from harness import MIB, blob, error_of, pread, raw_xattrs, same, sha
from origin import Nginx, Origin
from test_web_servers import Started, apache2, caddy, free_port, lighttpd
from waiting import wait_until

TABLE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "BACKENDS.md")
OLD, NEW = blob(6 * MIB + 9, 61), blob(6 * MIB + 9, 62)
QUESTIONS = ["look-up", "range", "listing", "digest", "change noticed", "resume", "error told"]


class Folder:
    """The backend `file`."""

    def __init__(self, parent):
        self.path = os.path.join(parent, "source")
        os.mkdir(self.path, 0o755)

    def put(self, name, content):
        with open(os.path.join(self.path, ".new"), "wb") as f:
            f.write(content)
        os.rename(os.path.join(self.path, ".new"), os.path.join(self.path, name))

    def config(self):
        return {"type": "file", "path": self.path}

    def end(self):
        pass


class Installed(Folder):
    """A web server of the distribution; KIND makes its command."""

    def __init__(self, parent, kind):
        super().__init__(parent)
        self.port, root = free_port(), os.path.join(parent, "server")
        os.mkdir(root, 0o755)
        self.started, self.puts = Started(kind(self.path, root, self.port), self.port), 0

    def put(self, name, content):
        """Of a date that is long past: Apache calls the etag of a file weak that changed a moment ago."""
        super().put(name, content)
        self.puts += 1
        os.utime(os.path.join(self.path, name), (self.puts * 10 ** 8, self.puts * 10 ** 8))

    def config(self):
        return {"type": "http", "url": f"http://127.0.0.1:{self.port}/{{id}}"}

    def end(self):
        self.started.end()


class Python(Folder):
    """python3 -m http.server, which sends whole files only."""

    def __init__(self, parent):
        super().__init__(parent)
        self.port = free_port()
        self.process = subprocess.Popen([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", self.path, str(self.port)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: error_of(self.ask) == 0, what="the server to listen")

    def ask(self):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{self.port}/").read()

    def config(self):
        return {"type": "http", "url": f"http://127.0.0.1:{self.port}/{{id}}"}

    def end(self):
        self.process.terminate()
        self.process.wait()


class Objects:
    """S3, or one of its relatives that refuses what is Amazon's only; or Swift."""

    def __init__(self, kind):
        self.kind, self.store = kind, Store()
        self.store.rules = [self.refuse, self.list]

    def put(self, name, content):
        self.store.objects["/b/" + name] = content

    def refuse(self, r):
        odd = "x-amz-checksum-mode" in r.headers or "list-type" in r.query or "If-Match" in r.headers
        return (400, fault("InvalidArgument"), XML) if self.kind == "s3 refusing" and odd else None

    def list(self, r):
        if r.key != "/b":
            return None
        found = sorted((key[len("/b/"):], len(content)) for key, content in self.store.objects.items())
        if self.kind == "swift":
            found = [f for f in found if f[0] > r.query.get("marker", "")]
            return 200, json.dumps([{"name": n, "bytes": size, "hash": "0" * 32} for n, size in found]).encode()
        rows = "".join(f"<Contents><Key>{n}</Key><Size>{size}</Size></Contents>" for n, size in found)
        return 200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode(), XML

    def config(self):
        if self.kind == "swift":
            return {"type": "swift", "endpoint": f"http://127.0.0.1:{self.store.port}", "container": "b"}
        return {"type": "s3", "endpoint": f"http://127.0.0.1:{self.store.port}", "bucket": "b", "addressing": "path"}

    def end(self):
        self.store.close()


class Web(Origin):
    def end(self):
        self.close()


class Real(Nginx):
    path = property(lambda self: self.files)

    def end(self):
        self.close()


SERVERS = {
    "file": Folder,
    "http, a server with ranges": lambda parent: Web(),
    "http, nginx": lambda parent: Real(parent=parent),
    "http, Apache": lambda parent: Installed(parent, apache2),
    "http, lighttpd": lambda parent: Installed(parent, lighttpd),
    "http, Caddy": lambda parent: Installed(parent, caddy),
    "http, python3 -m http.server": Python,
    "s3": lambda parent: Objects("s3"),
    "s3 that refuses what is Amazon's": lambda parent: Objects("s3 refusing"),
    "swift": lambda parent: Objects("swift"),
}


def look_up(cache):
    assert os.stat(cache.image("image")).st_size == len(OLD)
    return "yes"


def parts(cache):
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(fd, MIB, 4 * MIB), OLD[4 * MIB:5 * MIB])
    os.close(fd)
    return "in parts" if cache.bytes_cached("image") < 4 * MIB else "in one stream"


def listing(cache):
    assert cache.ls("images") == ["image"]
    return "yes"


def digest(cache):
    same(cache.read("image"), OLD)
    cache.wait_cached("image")
    if "user.glance.os_hash_value" in raw_xattrs(cache.image("image")):
        assert cache.xattr("image", "os_hash_value") == sha(OLD)
        return "SHA256SUMS"
    assert cache.xattr("image", "checksum") == hashlib.md5(OLD).hexdigest()
    return "its etag, an MD5"


def change(cache, server):
    same(cache.read("image"), OLD)
    cache.wait_cached("image")
    server.put("image", NEW)
    server.put("SHA256SUMS", f"{hashlib.sha256(NEW).hexdigest()}  image\n".encode())
    if isinstance(server, (Folder, Real)):  # of another second than the one before, of which it has the size
        os.utime(os.path.join(server.path, "image"), (10 ** 9, 10 ** 9))
    cache.restart()
    same(cache.read("image"), NEW)
    return "yes"


def resume(cache):
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(fd, 2 * MIB, 0), OLD[:2 * MIB])
    os.close(fd)
    before = cache.bytes_cached("image")
    cache.restart()
    assert cache.bytes_cached("image") >= before >= 2 * MIB
    same(cache.read("image"), OLD)
    return "yes"


def missing(cache):
    assert error_of(os.stat, cache.image("nobody")) == errno.ENOENT
    return "ENOENT"


def ask(question, cache, server):
    functions = {"look-up": look_up, "range": parts, "listing": listing, "digest": digest, "resume": resume, "error told": missing}
    return change(cache, server) if question == "change noticed" else functions[question](cache)


def row(name, answers):
    return f"| {name} | {' | '.join(answers)} |\n"


HEAD = ("What each kind of backend does with this program, as tests/mount/test_backends.py finds it.\n\n" + row("backend", QUESTIONS)
        + "|" + "---|" * (len(QUESTIONS) + 1) + "\n")


@pytest.mark.parametrize("name", SERVERS)
def test_a_row(make_cache, name):
    answers = []
    for question in QUESTIONS:
        cache = make_cache()
        server = SERVERS[name](cache.root)
        try:
            server.put("image", OLD)
            server.put("SHA256SUMS", f"{hashlib.sha256(OLD).hexdigest()}  image\n".encode())
            cache.configure({**server.config(), "checksums": "SHA256SUMS"}, fetch_policy="demand", revalidate="on-open", read_ahead_max="128K").mount()
            answers.append(ask(question, cache, server))
            cache.unmount()
        finally:
            server.end()
    if os.environ.get("GCFS_WRITE_BACKENDS"):
        found = open(TABLE).read() if os.path.exists(TABLE) and name != list(SERVERS)[0] else HEAD
        with open(TABLE, "w") as f:
            f.write(found + row(name, answers))
    with open(TABLE) as f:
        assert row(name, answers) in f.read()
