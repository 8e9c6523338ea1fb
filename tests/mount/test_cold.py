# SPDX-License-Identifier: Apache-2.0
"""The good path, against nginx: every way of reading gives every byte right, and each byte is fetched once."""
import hashlib
import os
import random
import subprocess

import pytest

from harness import KIB, MIB, PROBE, blob, pread, read, same, sha
from waiting import PATIENCE, wait_until

SIZES = [0, 1, 511, 4096, 65535, 65536, 65537, 131072, MIB - 1, MIB, MIB + 1, 5 * MIB + 4097, 17 * MIB + 3]

HASH = """
import hashlib, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
h = hashlib.sha256()
while part := os.read(fd, int(sys.argv[2])):
    h.update(part)
print(h.hexdigest())
"""

RANDOM = """
import os, random, sys
path, want, seed = sys.argv[1], open(sys.argv[2], "rb").read(), int(sys.argv[3])
rng, fd = random.Random(seed), os.open(path, os.O_RDONLY)
for _ in range(300):
    offset = rng.randrange(len(want))
    size = rng.choice((1, 512, 4096, 65536, 200000))
    got = b""
    while len(got) < min(size, len(want) - offset):
        part = os.pread(fd, size - len(got), offset + len(got))
        if not part:
            sys.exit(f"the end at {offset + len(got)}")
        got += part
    if got != want[offset:offset + size]:
        sys.exit(f"wrong bytes at {offset}")
"""

MAPPED = """
import hashlib, mmap, os, sys
with open(sys.argv[1], "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
    if sys.argv[2] == "backwards":
        for o in range(len(m) - 1, 0, -4096 * 7):
            m[o]
    print(hashlib.sha256(m).hexdigest())
"""

DIRECT = """
import hashlib, mmap, os, sys
size, step = os.stat(sys.argv[1]).st_size, int(sys.argv[2])
fd, buffer, h, offset = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, step), hashlib.sha256(), 0
while offset < size:
    n = os.preadv(fd, [buffer], offset)
    if n <= 0:
        sys.exit(f"{n} at {offset}")
    h.update(buffer[:n])
    offset += n
    if n % 4096 and offset < size:
        sys.exit(f"{n} bytes at {offset}")
print(h.hexdigest())
"""


def output(process):
    out, err = process.communicate(timeout=80 * PATIENCE)
    assert process.returncode == 0, err
    return out.strip()


def piped(cache, code, *args):
    return cache.python(code, *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("size", SIZES)
def test_cold_then_warm(cache, nginx, size):
    content = nginx.put("image", blob(size, size))
    cache.configure(nginx).mount()
    assert os.stat(cache.image("image")).st_size == size
    same(cache.read("image"), content)
    cache.wait_cached("image")
    assert nginx.sent("image") == size
    same(cache.stored("image"), content)
    same(cache.read("image"), content)
    cache.restart()
    same(cache.read("image"), content)
    same(read(cache.path("cached", "image")), content)
    assert nginx.sent("image") == size


@pytest.mark.parametrize("step", [512, 1000, 4096, 65536, 3 * MIB])
def test_block_sizes(cache, nginx, step):
    content = nginx.put("image", blob(2 * MIB + 11, 5))
    cache.configure(nginx).mount()
    same(cache.read("image", step=step), content)
    same(cache.read("image", step=step), content)
    cache.wait_cached("image")
    assert nginx.sent("image") == len(content)


def test_the_end_of_the_file(cache, nginx):
    content = nginx.put("image", blob(100001, 6))
    cache.configure(nginx).mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(os.pread(fd, 5000, 100000), content[-1:])
    assert os.pread(fd, 5000, 100001) == b""
    assert os.pread(fd, 5000, 1 << 40) == b""
    same(pread(fd), content)
    os.close(fd)


@pytest.mark.parametrize("order", ["forwards", "backwards", "random"])
def test_pieces_of_a_cold_image(cache, nginx, order):
    content = nginx.put("image", blob(6 * MIB + 777, 7))
    cache.configure(nginx).mount()
    offsets = list(range(0, len(content), 50000))
    if order != "forwards":
        offsets.reverse() if order == "backwards" else random.Random(1).shuffle(offsets)
    fd = os.open(cache.image("image"), os.O_RDONLY)
    for o in offsets:
        same(pread(fd, 50000, o), content[o:o + 50000])
    os.close(fd)
    cache.wait_cached("image")
    assert nginx.sent("image") == len(content)


def test_random_readers_together(cache, nginx, tmp_path):
    content = nginx.put("image", blob(12 * MIB + 5, 8))
    (tmp_path / "want").write_bytes(content)
    cache.configure(nginx).mount()
    for process in [piped(cache, RANDOM, cache.image("image"), tmp_path / "want", i) for i in range(4)]:
        output(process)
    cache.wait_cached("image")
    assert nginx.sent("image") == len(content)


@pytest.mark.parametrize("way", ["forwards", "backwards"])
def test_mmap(cache, nginx, way):
    content = nginx.put("image", blob(5 * MIB + 123, 9))
    cache.configure(nginx).mount()
    assert output(piped(cache, MAPPED, cache.image("image"), way)) == sha(content)
    cache.restart()
    assert output(piped(cache, MAPPED, cache.image("image"), way)) == sha(content)
    cut_off = 3 * MIB if way == "backwards" else 0  # of the background, for who jumps: what was on its way comes once more
    assert len(content) <= nginx.sent("image") <= len(content) + cut_off


@pytest.mark.parametrize("step", [4096, 65536, MIB])
def test_direct(cache, nginx, step):
    content = nginx.put("image", blob(3 * MIB + 4096 + 17, 10))
    cache.configure(nginx).mount()
    assert output(piped(cache, DIRECT, cache.image("image"), step)) == sha(content)
    cache.wait_cached("image")
    assert output(piped(cache, DIRECT, cache.image("image"), step)) == sha(content)
    assert nginx.sent("image") == len(content)


def test_sendfile(cache, nginx, tmp_path):
    content = nginx.put("image", blob(4 * MIB + 9, 11))
    cache.configure(nginx).mount()
    for _ in range(2):
        fd, out = os.open(cache.image("image"), os.O_RDONLY), os.open(tmp_path / "out",
                                                                      os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        while os.sendfile(out, fd, None, MIB):
            pass
        os.close(fd)
        os.close(out)
        same((tmp_path / "out").read_bytes(), content)
        cache.wait_cached("image")
    assert nginx.sent("image") == len(content)


def test_splice_and_copy_file_range(cache, nginx, tmp_path):
    content = nginx.put("image", blob(MIB + 9, 12))
    cache.configure(nginx).mount()
    fd, out = os.open(cache.image("image"), os.O_RDONLY), os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    done = 0
    try:
        while n := os.copy_file_range(fd, out, MIB, done, done):
            done += n
        same((tmp_path / "out").read_bytes(), content)
    except OSError:
        pass  # between two file systems: not on every kernel
    reader, writer = os.pipe()
    got, offset = [], 0
    while n := os.splice(fd, writer, 65536, offset_src=offset):
        offset += n
        while n > 0:
            got.append(os.read(reader, n))
            n -= len(got[-1])
    for x in (fd, out, reader, writer):
        os.close(x)
    same(b"".join(got), content)


def test_sixteen_readers_at_once(cache, nginx):
    content = nginx.put("image", blob(32 * MIB + 1, 13))
    cache.configure(nginx).mount()
    readers = [piped(cache, HASH, cache.image("image"), MIB) for _ in range(16)]
    assert {output(r) for r in readers} == {sha(content)}
    cache.wait_cached("image")
    assert nginx.sent("image") == len(content)


def cached_pages(path):
    """Bytes of PATH in its page cache."""
    done = subprocess.run(["fincore", "--bytes", "--noheadings", "--output", "RES", path], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize("policy", ["whole", "demand"])
def test_memory_is_taken_once(cache, nginx, policy):
    """A long cold read does not lie in memory twice: in the cache file's pages, and only its end in those of the mount's file."""
    content = nginx.put("image", blob(96 * MIB, 17))
    cache.configure(nginx, fetch_policy=policy).mount()
    with open(cache.image("image"), "rb") as f:  # what is cached belongs to the inode while it is open
        digest = hashlib.sha256()
        while part := f.read(MIB):
            digest.update(part)
        assert digest.hexdigest() == sha(content)
        wait_until(lambda: cached_pages(cache.image("image")) <= 40 * MIB, what="the pages to be dropped")
        same(pread(f.fileno(), 5 * MIB, 3 * MIB), content[3 * MIB:8 * MIB])  # again, from the cache file
        f.seek(0)
        assert hashlib.sha256(f.read()).hexdigest() == sha(content)
    assert nginx.sent("image") == len(content)


def test_the_kernel_reads_ahead(cache, nginx):
    nginx.put("image", b"content")
    cache.configure(nginx).mount()
    device = os.stat(cache.mnt).st_dev
    setting = f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"
    if not os.access(setting, os.W_OK):
        pytest.skip("/sys cannot be written to")
    wait_until(lambda: int(open(setting).read()) == 256, what="the setting")


def test_many_images_at_once(cache, nginx):
    for i in range(12):
        nginx.put(f"image-{i}", blob(2 * MIB + i, 100 + i))
    cache.configure(nginx).mount()
    readers = [piped(cache, HASH, cache.image(f"image-{i}"), 65536) for i in range(12)]
    assert [output(r) for r in readers] == [sha(blob(2 * MIB + i, 100 + i)) for i in range(12)]
    wait_until(lambda: len(cache.ls("cached")) == 12, what="all to be cached")
    for i in range(12):
        assert nginx.sent(f"image-{i}") == 2 * MIB + i


def test_the_first_reader_leaving_stops_nothing(cache, nginx):
    content = nginx.put("image", blob(24 * MIB, 14))
    cache.configure(nginx, fetch_whole_after="64K").mount()
    same(cache.read("image", 128 * KIB), content[:128 * KIB])
    cache.wait_cached("image")
    same(cache.stored("image"), content)
    assert nginx.sent("image") == len(content)


def test_a_peek_does_not_fetch_all(cache, nginx):
    content = nginx.put("image", blob(32 * MIB, 15))
    cache.configure(nginx).mount()
    same(cache.read("image", 64 * KIB), content[:64 * KIB])
    assert nginx.sent("image") <= 2 * MIB
    assert cache.xattr("image", "state") == "partial"
    same(cache.read("image", 10 * MIB), content[:10 * MIB])  # more than fetch_whole_after
    cache.wait_cached("image")
    assert nginx.sent("image") == len(content)


def test_on_demand_stays_sparse(cache, nginx):
    content = nginx.put("image", blob(32 * MIB, 16))
    cache.configure(nginx, fetch_policy="demand").mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    for offset in range(0, 32 * MIB, 2 * MIB):
        same(os.pread(fd, 4096, offset), content[offset:offset + 4096])
    os.close(fd)
    assert nginx.sent("image") <= 16 * MIB
    assert cache.ls("cached") == []
    assert os.stat(cache.image("image")).st_blocks * 512 <= 16 * MIB
    assert os.stat(os.path.join(cache.dir, "incomplete", "image")).st_blocks * 512 <= 16 * MIB + MIB
    same(cache.read("image"), content)
    cache.wait_cached("image")
    assert nginx.sent("image") == len(content)


def test_one_trip_to_the_first_byte(cache, origin):
    content = origin.put("image", blob(4 * MIB, 17))
    cache.configure(origin, fetch_policy="demand", read_ahead_max="64K").mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(os.pread(fd, 4096, 0), content[:4096])
    os.close(fd)
    first = origin.requests("image")[0]
    assert first.method == "GET" and first.range == (0, PROBE - 1)
    assert all(r.range and r.range[0] >= PROBE for r in origin.requests("image")[1:]), origin.requests("image")


def test_a_cached_image_needs_no_backend(cache, nginx):
    content = nginx.put("image", blob(2 * MIB, 18))
    cache.configure(nginx).mount()
    same(cache.read("image"), content)
    cache.wait_cached("image")
    nginx.stop()
    same(cache.read("image"), content)
    cache.restart()
    same(cache.read("image"), content)
    assert hashlib.sha256(read(cache.path("cached", "image"))).hexdigest() == sha(content)


def test_read_while_it_completes(cache, origin):
    """A handle opened while the image is fetched goes on when it is complete, and one opened then agrees with it."""
    content = origin.put("image", blob(6 * MIB, 19))
    hold = origin.fault("image", hold_from=3 * MIB)
    cache.configure(origin, fetch_whole_after="64K").mount()
    early = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(early, MIB), content[:MIB])
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    hold.release()
    cache.wait_cached("image")
    late = os.open(cache.image("image"), os.O_RDONLY)
    same(pread(late), content)
    same(pread(early), content)
    assert os.fstat(early).st_ino == os.fstat(late).st_ino
    os.close(early)
    os.close(late)
