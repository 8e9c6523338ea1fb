# SPDX-License-Identifier: Apache-2.0
"""
Random histories: an origin of one to three endpoints whose images change at any moment, with every choice of what their answers tell, and
readers that go on meanwhile. What a handle got is of exactly one version that the origin had, or it got an error; and so is what is cached.

By hand, as many as there is time for:  GCFS_SEEDS=1000-2000 pytest tests/mount/test_versions_random.py
"""
import base64
import hashlib
import os
import random
import threading

import pytest

from harness import KIB, MIB, sha
from origin import Origin

READERS, HANDLES, OPERATIONS, IMAGES = 3, 5, 16, 3


def seeds():
    given = os.environ.get("GCFS_SEEDS")
    if given is None:
        return range(1, 25)
    first, _, last = given.partition("-")
    return range(int(first), int(last or first) + 1)


class Image:
    """Its versions, and what answers tell of them."""

    def __init__(self, rng, name):
        self.name, self.rng = name, rng
        self.size = rng.choice([300 * KIB, MIB + 1, 3 * MIB + 4321, 6 * MIB])
        self.etag = rng.choice(["strong", "strong of each endpoint", "weak", None, None])
        self.date = rng.choice([True, False])
        self.header = rng.choice([None, None, "right", "wrong"])
        self.sums = rng.choice([None, "right", "right", "wrong"])
        self.ignores_conditions = rng.random() < 0.3
        self.versions = []

    def __repr__(self):
        return (f"{self.name}: {self.size} bytes, etag {self.etag}, date {self.date}, header {self.header}, sums {self.sums},"
                f" {len(self.versions)} versions")

    def another(self):
        """Of the same size, most likely; some begin or end like the one before."""
        fresh = self.rng.randbytes(self.size if self.rng.random() < 0.85 else self.rng.randrange(1, self.size))
        place = self.rng.randrange(0, self.size)
        if self.versions and len(fresh) == len(self.versions[-1]) and self.rng.random() < 0.4:
            old = self.versions[-1]
            fresh = old[:place] + fresh[place:] if self.rng.random() < 0.5 else fresh[:place] + old[place:]
        self.versions.append(fresh)
        return len(self.versions) - 1

    def offer(self, endpoint, server, number):
        content = self.versions[number]
        etag = {"strong": f'"{self.name}-{number}"', "strong of each endpoint": f'"{endpoint}-{number}"',
                "weak": f'W/"{endpoint}-{number}"', None: ""}[self.etag]
        modified = f"Wed, 01 Jan 2025 00:{number // 60:02}:{number % 60:02} GMT" if self.date else ""
        digest = hashlib.sha256(content if self.header == "right" else content + b"x").digest()
        headers = {"Repr-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:"} if self.header else {}
        server.put(self.name, content, etag=etag, modified=modified, headers=headers)  # at once: no answer tells the digest of another


class World:
    def __init__(self, seed, servers, images):
        self.rng, self.servers, self.images = random.Random(seed), servers, images
        self.lock = threading.Lock()
        self.offered = {}
        for image in images:
            number = image.another()
            for endpoint in range(len(servers)):
                self.offer(endpoint, image, number)
        for server in servers:
            self.publish(server)
            self.trouble(server)

    def offer(self, endpoint, image, number):
        image.offer(endpoint, self.servers[endpoint], number)
        self.offered[endpoint, image.name] = number

    def publish(self, server):
        lines = []
        for image in self.images:
            if image.sums is not None:
                content = server.blobs[image.name].content
                lines.append(f"{sha(content if image.sums == 'right' else content[1:])}  {image.name}\n")
        server.put("SHA256SUMS", "".join(lines).encode())

    def trouble(self, server):
        """Answers break off at times."""
        server.clear_faults()
        for image in self.images:
            told = {"ignore_conditions": image.ignores_conditions}
            for drop in (70000, MIB // 2 + 7, 2 * MIB):
                server.fault(image.name, when=self.chance(0.12), drop_after=drop, **told)
            server.fault(image.name, when=self.chance(0.05), no_range=True, **told)
            server.fault(image.name, **told)

    def chance(self, p):
        rng = random.Random(self.rng.random())
        return lambda request: rng.random() < p

    def happens(self):
        """Something at the origin: a new version somewhere, one that spreads, a server that goes or comes back."""
        with self.lock:
            endpoint = self.rng.randrange(len(self.servers))
            server, image, act = self.servers[endpoint], self.rng.choice(self.images), self.rng.random()
            if act < 0.4 and len(image.versions) < 40:
                self.offer(endpoint, image, image.another())
            elif act < 0.6:
                self.offer(endpoint, image, len(image.versions) - 1)
            elif act < 0.75:
                (server.start if server.closing.is_set() else server.stop)()
            elif act < 0.85 and not server.closing.is_set():
                server.stop()  # what is under way breaks off
                server.start()
            self.publish(server)
            self.trouble(server)


def read_some(world, cache, seed, out):
    rng = random.Random(seed)
    for _ in range(HANDLES):
        image = rng.choice(world.images)
        try:
            fd = os.open(cache.image(image.name), os.O_RDONLY)
        except OSError:
            world.happens()
            continue
        pieces, offset, sequential = [], 0, rng.random() < 0.5
        for _ in range(OPERATIONS):
            length = rng.choice([4 * KIB, 64 * KIB, 300 * KIB])
            if not sequential:
                offset = rng.randrange(0, image.size)
            try:
                got = os.pread(fd, length, offset)
                pieces.append((offset, length, got))
                offset = offset + len(got) if got else 0
            except OSError:
                pass
            if rng.random() < 0.15:
                world.happens()
        os.close(fd)
        out.append((image, sequential, pieces))


def is_of(version, offset, got):
    """A read that an error ends may bring some bytes first; the end is where the version ends."""
    return version[offset:offset + len(got)] == got if got else offset >= len(version)


def is_of_one_version(image, pieces):
    return any(all(is_of(version, offset, got) for offset, _, got in pieces) for version in image.versions)


def describe(image, pieces):
    return "\n".join(f"  {offset}+{length}: {len(got)} bytes of versions {[n for n, v in enumerate(image.versions) if is_of(v, offset, got)]}"
                     for offset, length, got in pieces)


@pytest.mark.parametrize("seed", seeds())
def test_one_version(make_cache, seed):
    rng = random.Random(seed)
    servers = [Origin() for _ in range(rng.choice([1, 1, 2, 3]))]
    try:
        world = World(seed, servers, [Image(rng, f"image-{i}") for i in range(IMAGES)])
        cache = make_cache()
        cache.configure({"type": "http", "url": " ".join(s.url for s in servers), "retries": 2, "retry_delay": 5,
                         "checksums": rng.choice(["none", "SHA256SUMS"])},
                        list_ttl=rng.choice([0, 1]), revalidate=rng.choice(["never", "on-open"]), streams=rng.choice([1, 4]),
                        fetch_policy=rng.choice(["demand", "whole"]), passthrough=rng.choice(["auto", "off"]),
                        image_cache_max_size=rng.choice(["10G", "10G", "2M", "500K"])).mount()
        handles = []
        threads = [threading.Thread(target=read_some, args=(world, cache, seed * 1000 + i, handles)) for i in range(READERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for image, sequential, pieces in handles:
            right = is_of_one_version(image, pieces)
            assert right, f"a handle {'in order' if sequential else 'at random'} of {image}\n" + describe(
                image, pieces)
        assert cache.alive()
        cache.unmount()
        for image in world.images:
            path = os.path.join(cache.dir, image.name)
            assert not os.path.exists(path) or open(path, "rb").read() in image.versions, f"a mix is kept of {image}"
    finally:
        for server in servers:
            server.close()
