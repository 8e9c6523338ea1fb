# SPDX-License-Identifier: Apache-2.0
"""
A site tier: hosts fetch from their site's nodes, these from the origin. Each machine is a network namespace of its own, on one wire:

    origin (nginx)  <--  site-1, site-2 (a mount, and nginx over it)  <--  host-1 … host-8 (a mount; four readers each)
"""
import os
import subprocess

import pytest

import harness
from harness import MIB
from waiting import wait_until

PORT = 8080


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)


class Wire:
    """A bridge in a namespace; add() makes a machine on it."""

    def __init__(self):
        self.prefix = f"gcfs{os.getpid()}"
        self.machines = []
        try:
            self.add_namespace("wire")
            self.run("wire", "ip", "link", "add", "name", "wire0", "type", "bridge")
            self.run("wire", "ip", "link", "set", "dev", "wire0", "up")
        except subprocess.CalledProcessError:
            self.close()
            raise

    def namespace(self, name):
        return f"{self.prefix}-{name}"

    def add_namespace(self, name):
        ip("netns", "add", self.namespace(name))
        self.machines.append(name)

    def inside(self, name):
        """What runs a command in there: its network only, so that mounts are seen by all."""
        return ["nsenter", f"--net=/run/netns/{self.namespace(name)}"]

    def run(self, name, *command):
        subprocess.run([*self.inside(name), *command], check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def add(self, name):
        """Returns its address."""
        number = len(self.machines)
        self.add_namespace(name)
        address = f"10.213.0.{number}"
        ip("-n", self.namespace(name), "link", "add", "name", "eth0", "type", "veth", "peer", "name", f"port{number}", "netns",
           self.namespace("wire"))
        ip("-n", self.namespace("wire"), "link", "set", "dev", f"port{number}", "master", "wire0", "up")
        for link in ("lo", "eth0"):
            ip("-n", self.namespace(name), "link", "set", "dev", link, "up")
        ip("-n", self.namespace(name), "addr", "add", f"{address}/24", "dev", "eth0")
        return address

    def close(self):
        for name in self.machines:
            subprocess.run(["ip", "netns", "del", self.namespace(name)], check=False, capture_output=True)


class Server:
    """nginx on a machine of the wire, with an access log."""

    def __init__(self, wire, machine, address, root, locations):
        self.root, self.url = root, f"http://{address}:{PORT}/images/{{id}}"
        self.access = os.path.join(root, "access.log")
        conf = os.path.join(root, "nginx.conf")
        with open(conf, "w") as f:
            f.write(f"""
worker_processes 2; pid {root}/nginx.pid; error_log {root}/error.log; daemon off; user root;
events {{ worker_connections 1024; }}
http {{
  log_format bytes '$status $body_bytes_sent $request_uri'; access_log {self.access} bytes;
  sendfile on; aio threads; keepalive_requests 100000; default_type application/octet-stream;
  client_body_temp_path {root}; proxy_temp_path {root};
  server {{ listen {address}:{PORT} backlog=1024; {locations} }}
}}
""")
        with open(os.path.join(root, "stderr"), "ab") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *wire.inside(machine), "nginx", "-c", conf, "-p", root,
                                             "-e", os.path.join(root, "error.log")], stdout=log, stderr=log)
        wait_until(lambda: os.path.exists(os.path.join(root, "nginx.pid")), what="nginx to start")

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def sent(self, name):
        """Bytes of body of the answers that have ended."""
        lines = [line.split() for line in open(self.access)]
        return sum(int(n) for status, n, uri in lines if uri == f"/images/{name}" and status in ("200", "206"))


@pytest.fixture
def site(make_cache, tmp_path):
    """site(content, hosts): the whole of it; → (origin, [site servers], [hosts])."""
    wire, servers = None, []

    def build(content, host_count):
        nonlocal wire
        try:
            wire = Wire()
        except subprocess.CalledProcessError as e:
            pytest.skip(f"no network namespaces here: {e.stderr.strip()}")

        def on(machine, cache):
            plain = cache.command
            cache.command = lambda *options: [*wire.inside(machine), *plain(*options)]
            return cache

        def serve(machine, address, locations):
            root = tmp_path / machine
            root.mkdir()
            servers.append(Server(wire, machine, address, str(root), locations))
            return servers[-1]

        files = tmp_path / "files"
        files.mkdir()
        (files / "x.img").write_bytes(content)
        (files / "SHA256SUMS").write_text(f"{harness.sha(content)}  x.img\n")
        origin_at = wire.add("origin")
        origin = serve("origin", origin_at, f"location /images/ {{ alias {files}/; }}")
        sites = []
        for n in (1, 2):
            address = wire.add(f"site-{n}")
            cache = on(f"site-{n}", make_cache()).configure({"type": "http", "url": origin.url, "list_url": "none"}).mount()
            # The mount's dates tell when something was cached here: they are no version of the image.
            sites.append(serve(f"site-{n}", address, f"""
    location = /images/SHA256SUMS {{ proxy_pass http://{origin_at}:{PORT}; }}
    location /images/ {{ alias {cache.mnt}/images/; etag off; if_modified_since off; add_header Last-Modified ""; }}"""))
        urls = " ".join(s.url for s in sites)
        hosts = []
        for n in range(1, host_count + 1):
            wire.add(f"host-{n}")
            hosts.append(on(f"host-{n}", make_cache()).configure({"type": "http", "url": urls, "list_url": "none"}).mount())
        return origin, sites, hosts

    yield build
    for server in servers:
        server.stop()
    if wire:
        wire.close()


def readers(hosts, each, name="x.img"):
    return [h.spawn("sha256sum", h.image(name), stdout=subprocess.PIPE, text=True) for h in hosts for _ in range(each)]


def sums(processes):
    out = [p.communicate(timeout=120)[0].split(" ")[0] for p in processes]
    assert all(p.returncode == 0 for p in processes)
    return out


@pytest.mark.deadline(240)
def test_the_origin_sends_an_image_once(site):
    content = harness.blob(32 * MIB + 4321, seed=51)
    origin, sites, hosts = site(content, 8)
    assert sums(readers(hosts, 4)) == [harness.sha(content)] * 32
    for host in hosts:
        host.wait_cached("x.img")
        assert host.xattr("x.img", "os_hash_value") == harness.sha(content)  # verified end to end
    for server in sites:
        server.stop()
    wait_until(lambda: origin.sent("x.img") >= len(content), what="the origin's log")
    assert origin.sent("x.img") == len(content)
    assert sites[0].sent("x.img") == 8 * len(content)
    assert sites[1].sent("x.img") == 0


@pytest.mark.deadline(240)
def test_a_site_node_goes(site):
    content = harness.blob(64 * MIB + 4321, seed=52)
    origin, sites, hosts = site(content, 3)
    started = readers(hosts, 2)
    wait_until(lambda: any(h.has("incomplete", "x.img") for h in hosts), what="the first bytes")
    sites[0].stop()
    assert sums(started) == [harness.sha(content)] * 6
    assert origin.sent("x.img") <= 2 * len(content)
