# SPDX-License-Identifier: Apache-2.0
"""
A site tier: hosts fetch from their site's nodes, these from the origin. Each machine is a network namespace of its own, on one wire:

    origin (nginx)  <--  site-1, site-2 (a mount, and nginx over it)  <--  host-1 … host-8 (a mount; four readers each)
"""
import subprocess

import pytest

import harness
from harness import MIB
from waiting import wait_until
from wire import PORT, Server, Wire


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
            sites.append(serve(f"site-{n}", address, f"""
    location = /images/SHA256SUMS {{ proxy_pass http://{origin_at}:{PORT}; }}
    location /images/ {{ alias {cache.mnt}/images/; }}"""))
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
