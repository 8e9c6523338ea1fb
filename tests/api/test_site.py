# SPDX-License-Identifier: Apache-2.0
"""
A site tier made of this project alone: hosts fetch from their site's nodes over HTTP, these from the origin. Each machine is a network
namespace of its own, on one wire:

    origin (nginx)  <--  site-1, site-2 (a mount, and glance-cache-api over it)  <--  host-1 … host-8 (a mount; four readers each)
"""
import base64
import errno
import hashlib
import os
import subprocess

import pytest

import harness
from harness import MIB
from server import Api
from waiting import wait_until
from wire import PORT, Server, Wire

TOKEN = "a-reader-s-token"


class SiteApi(Api):
    """glance-cache-api on a machine of the wire."""

    def __init__(self, inside, cache, **options):
        self.inside = inside
        super().__init__(cache, **options)

    def command(self, *more):
        return [*self.inside, *super().command(*more)]


class Site:
    def __init__(self, make_cache, wire, root, header):
        """HEADER: of the origin's answers, as nginx's configuration has it."""
        self.make_cache, self.wire, self.root, self.header = make_cache, wire, root, header
        self.origin, self.nodes, self.apis, self.hosts = None, [], [], []

    def on(self, machine, cache):
        plain = cache.command
        cache.command = lambda *options: [*self.wire.inside(machine), *plain(*options)]
        return cache

    def build(self, host_count):
        files, root = os.path.join(self.root, "files"), os.path.join(self.root, "origin")
        os.makedirs(root)
        self.origin = Server(self.wire, "origin", self.wire.add("origin"), root,
                             f"location /images/ {{ alias {files}/; add_header {self.header}; }}")
        urls = []
        for n in (1, 2):
            address = self.wire.add(f"site-{n}")
            node = self.on(f"site-{n}", self.make_cache())
            node.configure({"type": "http", "url": self.origin.url, "list_url": "none", "checksums": "none"}).mount()
            secret = os.path.join(node.root, "token")
            with open(secret, "w") as f:
                f.write(TOKEN)
            admin = os.path.join(node.root, "admin-token")
            with open(admin, "w") as f:
                f.write("an-admin-s-token")
            api = SiteApi(self.wire.inside(f"site-{n}"), node, listen=f"{address}:{PORT}", auth="token", admin_token_file=admin,
                          reader_token_file=secret)
            self.nodes.append(node)
            self.apis.append(api)
            api.start()
            urls.append(f"http://{address}:{PORT}/images/{{id}}")
        for n in range(1, host_count + 1):
            self.wire.add(f"host-{n}")
            host = self.on(f"host-{n}", self.make_cache())
            secret = os.path.join(host.root, "token")
            with open(secret, "w") as f:
                f.write(TOKEN)
            host.configure({"type": "http", "url": " ".join(urls), "list_url": "none", "token_file": secret}).mount()
            self.hosts.append(host)
        return self


@pytest.fixture
def site(make_cache, tmp_path):
    """site(content, hosts): the whole of it, with the image x.img."""
    made, wire = [], None

    def build(content, host_count, header=None):
        nonlocal wire
        try:
            wire = Wire()
        except subprocess.CalledProcessError as e:
            pytest.skip(f"no network namespaces here: {e.stderr.strip()}")
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "x.img").write_bytes(content)
        digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
        made.append(Site(make_cache, wire, str(tmp_path), header or f'Repr-Digest "sha-512=:{digest}:"'))
        return made[0].build(host_count)

    yield build
    trouble = []
    for s in made:
        for api in s.apis:
            try:
                api.close()
            except AssertionError as e:
                trouble.append(str(e))
        if s.origin:
            s.origin.stop()
    if wire:
        wire.close()
    if trouble:
        pytest.fail("\n".join(trouble), pytrace=False)


def sums(processes):
    out = [p.communicate(timeout=240)[0].split(" ")[0] for p in processes]
    assert all(p.returncode == 0 for p in processes)
    return out


@pytest.mark.deadline(300)
def test_the_origin_sends_an_image_once(site):
    content = harness.blob(32 * MIB + 4321, seed=51)
    s = site(content, 8)
    readers = [h.spawn("sha256sum", h.image("x.img"), stdout=subprocess.PIPE, text=True) for h in s.hosts for _ in range(4)]
    assert sums(readers) == [harness.sha(content)] * 32
    for host in s.hosts:
        host.wait_cached("x.img")
        assert host.xattr("x.img", "os_hash_value") == hashlib.sha512(content).hexdigest()
        assert host.logged().count("verified by sha512") == 1  # end to end
    s.origin.stop()
    assert s.origin.sent("x.img") == len(content)
    assert s.nodes[1].status()["counters"]["bytes_fetched"] == 0


@pytest.mark.deadline(180)
def test_an_md5_is_handed_on(site):
    content = harness.blob(3 * MIB + 5, seed=54)
    s = site(content, 1, f'Content-MD5 "{hashlib.md5(content).hexdigest()}"')
    harness.same(s.hosts[0].read("x.img"), content)
    s.hosts[0].wait_cached("x.img")
    assert s.hosts[0].logged().count("verified by md5") == 1


@pytest.mark.deadline(180)
def test_a_rotten_byte_at_a_site_s_node_is_noticed(site):
    content = harness.blob(6 * MIB + 7, seed=55)
    s = site(content, 2)
    node, host = s.nodes[0], s.hosts[0]
    harness.same(node.read("x.img"), content)
    node.wait_cached("x.img")
    with open(os.path.join(node.dir, "x.img"), "r+b") as f:
        f.seek(3 * MIB)
        f.write(bytes([content[3 * MIB] ^ 1]))
    with open(host.image("x.img"), "rb", buffering=0) as f:
        got = bytearray()
        with pytest.raises(OSError) as failed:
            while data := f.read(65536):
                got += data
    assert failed.value.errno == errno.EIO
    assert len(got) < len(content)
    host.wait_has("invalid", "x.img")
    assert "sha512" in host.entry("invalid", "x.img")["reason"]
    assert not host.has("cached", "x.img")
    os.rename(node.path("cached", "x.img"), node.path("invalid", "x.img"))  # as glance-cache-cleaner --verify would
    wait_until(lambda: harness.error_of(host.read, "x.img") == 0, what="the site to have it right")
    harness.same(host.read("x.img"), content)
    harness.same(s.hosts[1].read("x.img"), content)
