# SPDX-License-Identifier: Apache-2.0
"""The limits hold inside the mount, without cron: who is evicted, who stays, and what is not kept."""
import os
import signal
import subprocess

import pytest

from disk import Disk, Sampler, allocated
from harness import KIB, MIB, blob, drop_page_cache, pread, same, sha
from tools import fill, folder_of_images, on
from waiting import wait_until
from workers import needs_passthrough

CHUNK = 64 * KIB
STREAMS = 4
READ = """
import hashlib, sys
for path in sys.argv[1:]:
    print(hashlib.sha256(open(path, "rb").read()).hexdigest(), flush=True)
"""


def readers(cache, groups):
    """A process for each group of images, all at once, that reads them one after the other; what they read was right."""
    running = [(names, cache.python(READ, *map(cache.image, names), stdout=subprocess.PIPE, text=True)) for names in groups]
    for names, process in running:
        out = process.communicate(timeout=120)[0].split()
        assert process.returncode == 0 and out == [sha(cache.contents[n]) for n in names], names


def serve(cache, server, count, size, prefix="image"):
    cache.contents = {f"{prefix}-{i:02}": blob(size + i, i + 1) for i in range(count)}
    for name, content in cache.contents.items():
        server.put(name, content)
    return list(cache.contents)


def slack(images):
    """The sum on disk is never above the limit by more than one chunk a stream."""
    return images * STREAMS * CHUNK


# ---- image_cache_max_size

@pytest.mark.deadline(120)
def test_eight_cold_readers(cache, make_nginx):
    """Of images that are open all the time, so that none can make room: some are kept, some go straight through."""
    nginx = make_nginx(rate="8m")
    names = serve(cache, nginx, 8, 6 * MIB)
    limit = 20 * MIB
    cache.configure(nginx.config(), image_cache_max_size=limit, fetch_whole_after="64K", streams=STREAMS).mount()
    with Sampler(lambda: allocated(cache)) as disk:
        readers(cache, [[n] for n in names])
    assert disk.samples > 20 and MIB < disk.worst <= limit + slack(8), f"{disk.worst} of {limit}"
    assert cache.status()["space"]["used"] <= limit
    assert len(cache.ls("cached")) <= 3


@pytest.mark.deadline(120)
def test_eight_readers_of_many(cache, make_nginx):
    """Each reads one image after the other, so that old ones make room."""
    nginx = make_nginx(rate="16m")
    names = serve(cache, nginx, 40, 2 * MIB)
    limit = 24 * MIB
    cache.configure(nginx.config(), image_cache_max_size=limit, fetch_whole_after="64K", streams=STREAMS).mount()
    with Sampler(lambda: allocated(cache)) as disk:
        readers(cache, [names[i::8] for i in range(8)])
    assert 20 * MIB < disk.worst <= limit + slack(8), f"{disk.worst} of {limit}"
    assert cache.status()["counters"]["evictions"] >= 20


def test_many_small_images(cache, origin):
    """All of them come with their look-ups: no request for bytes is ever made."""
    names = serve(cache, origin, 60, 100 * KIB)
    limit = MIB
    cache.configure(origin, image_cache_max_size=limit).mount()
    with Sampler(lambda: allocated(cache)) as disk:
        for name in names:
            same(cache.read(name), cache.contents[name])
        def kept():
            same(cache.read(names[-1]), cache.contents[names[-1]])
            drop_page_cache()
            return cache.has("cached", names[-1])
        # Where the disk is slow there is no room for some: what was read before is not in its place yet, and cannot be evicted.
        wait_until(kept, what="the last one to be kept")
    assert disk.worst <= limit + slack(1), f"{disk.worst} of {limit}"
    assert cache.status()["space"]["used"] <= limit
    assert names[0] not in cache.ls("cached")


def test_larger_than_the_limit(cache, origin):
    """It goes straight through, and nobody is evicted for it."""
    names = serve(cache, origin, 3, MIB)
    large = origin.put("large", blob(9 * MIB, 50))
    cache.configure(origin, image_cache_max_size="8M", fetch_whole_after="64K").mount()
    fill(cache, names)
    same(cache.read("large"), large)
    same(cache.read("large", MIB, 7 * MIB), large[7 * MIB:8 * MIB])
    assert cache.ls("cached") == names and cache.ls("incomplete") == []
    assert allocated(cache) < 4 * MIB


def test_a_limit_of_nothing(cache, origin):
    """Everything goes straight through, as often as it is read."""
    content = origin.put("image", blob(3 * MIB, 51))
    cache.configure(origin, image_cache_max_size="0").mount()
    for _ in range(2):
        same(cache.read("image"), content)
        drop_page_cache()
    assert cache.ls("cached") == cache.ls("incomplete") == [] and allocated(cache) == 0


def test_straight_through_and_back_again(cache, origin):
    """What was dropped behind a reader is not there for another one, although the request that brought it is still under way."""
    large = origin.put("large", blob(32 * MIB, 51))
    hold = origin.fault("large", no_range=True, hold_from=24 * MIB, times=1, when=lambda r: r.range is None)
    origin.fault("large", no_range=True)
    cache.configure(origin.config(stall_timeout=600), image_cache_max_size="8M").mount()
    fd = os.open(cache.image("large"), os.O_RDONLY)
    same(pread(fd, 65536, 20 * MIB), large[20 * MIB:20 * MIB + 65536])
    wait_until(lambda: hold.waiting, what="the one request to be held back")
    back = cache.python("import os, sys, hashlib\nfd = os.open(sys.argv[1], os.O_RDONLY)\nprint('open', flush=True)\n"
                        "print(hashlib.sha256(os.pread(fd, 65536, 1 << 20)).hexdigest())", cache.image("large"),
                        stdout=subprocess.PIPE, text=True)
    assert back.stdout.readline() == "open\n"
    wait_until(lambda: back.poll() is not None or reads_of(back.pid), what="it to read")
    hold.release()
    assert back.communicate(timeout=60)[0].split() == [sha(large[MIB:MIB + 65536])]
    same(pread(fd, 65536, 2 * MIB), large[2 * MIB:2 * MIB + 65536])
    os.close(fd)


def reads_of(pid):
    """Is it inside pread(2)?"""
    try:
        return open(f"/proc/{pid}/syscall").read().split()[0] in ("17", "67")  # x86-64, arm64
    except (OSError, IndexError):
        return False


def test_no_room_beside_pinned_ones(cache, origin):
    names = serve(cache, origin, 3, MIB)
    large = origin.put("large", blob(7 * MIB, 50))
    cache.configure(origin, image_cache_max_size="8M", fetch_whole_after="64K").mount()
    fill(cache, names)
    for name in names:
        pin(cache, name)
    same(cache.read("large"), large)
    assert cache.ls("cached") == names
    wait_until(lambda: allocated(cache) < 4 * MIB, what="its bytes to go")
    assert "large: no room can be made in the cache; it is served straight through" in cache.logged()


def test_evict_inline_no(cache):
    """It grows as Glance's does, until the pruner comes."""
    names = folder_of_images(cache, 8, image_cache_max_size="4M", evict_inline="no")
    fill(cache, names)
    assert cache.ls("cached") == names and cache.status()["space"]["used"] == 8 * MIB
    on(cache, "pruner")
    assert cache.ls("cached") == names[4:]


def test_a_lower_limit(cache):
    """Of a new configuration: from the next fetch on."""
    names = folder_of_images(cache, 9)
    fill(cache, names[:8])
    cache.configure({"type": "file", "path": os.path.join(cache.root, "images")}, image_cache_max_size="4M")
    cache.process.send_signal(signal.SIGHUP)
    wait_until(lambda: cache.status()["space"]["limit"] == 4 * MIB, what="the new limit")
    fill(cache, names[8:])
    assert cache.ls("cached") == names[5:]


def test_a_server_that_sends_whole_images_only(cache, origin):
    """The rest of an image that comes unasked needs its room like any other."""
    for i, name in enumerate(("first", "second")):
        origin.put(name, blob(3 * MIB, 60 + i))
        origin.fault(name, no_range=True)
    cache.configure(origin, image_cache_max_size="4M", min_free=0, list_ttl=600).mount()
    assert cache.ls("images") == ["first", "second"]
    cache.read("second")
    cache.wait_cached("second")
    os.unlink(cache.path("cached", "second"))  # known as it is: no look-up brings its first bytes along
    fd = os.open(cache.image("first"), os.O_RDONLY)  # nor can this one go
    try:
        same(cache.read("first"), blob(3 * MIB, 60))
        cache.wait_cached("first")
        with Sampler(lambda: allocated(cache)) as disk:
            same(cache.read("second"), blob(3 * MIB, 61))
        assert disk.worst <= 4 * MIB and cache.status()["space"]["used"] <= 4 * MIB
        assert cache.ls("cached") == ["first"]
    finally:
        os.close(fd)


@pytest.mark.parametrize("why", ["no ranges", "no version"])
@pytest.mark.parametrize("size", [3, 5, 33])  # MiB: all of it sent ahead of the reader, or not
def test_the_last_reader_leaves_a_stream_that_is_not_kept(cache, origin, why, size):
    """It would wait for the next reader for ever, with its connection."""
    version = {"etag": "", "modified": ""} if why == "no version" else {}
    content = origin.put("x", blob(size * MIB, 62), **version)
    hold = origin.fault("x", no_range=why == "no ranges", hold_from=2 * MIB if size == 3 else None)
    cache.configure(origin.config(stall_timeout=600), image_cache_max_size="1M", read_ahead_max=0).mount()
    fd = os.open(cache.image("x"), os.O_RDONLY)
    same(pread(fd, MIB), content[:MIB])
    os.close(fd)
    origin.settle()
    wait_until(lambda: not cache.status()["fetches"], what="nothing to be fetched")
    hold.release()
    same(cache.read("x"), content)


# ---- min_free

@pytest.mark.parametrize("min_free", ["100M", "40%"])
@pytest.mark.deadline(120)
def test_min_free(cache, origin, min_free):
    disk = Disk(cache, "ext4")
    try:
        st = os.statvfs(cache.dir)
        bytes_free = 100 * MIB if min_free == "100M" else st.f_blocks * st.f_frsize * 40 // 100
        names = serve(cache, origin, 8, 32 * MIB)
        cache.configure(origin, min_free=min_free, fetch_whole_after="64K", streams=STREAMS).mount()
        with Sampler(lambda: -disk.free()) as least:
            readers(cache, [names])
            cache.wait_cached(names[-1])
        assert -least.worst >= bytes_free - slack(1), f"{-least.worst} bytes were free"
        assert -least.worst < bytes_free + 64 * MIB, "the disk was never used"
        assert names[0] not in cache.ls("cached")
    finally:
        disk.close()


# ---- who goes

def limited(cache, count=8, limit=4 * MIB, **options):
    """COUNT images of 1 MiB, four of which fit; those four are cached."""
    names = folder_of_images(cache, count, image_cache_max_size=limit, **options)
    fill(cache, names[:4])
    return names


def test_order_by_reads(cache):
    names = limited(cache)
    cache.read(names[0], 4096)
    cache.read(names[2], 4096)
    fill(cache, names[4:6])
    assert cache.ls("cached") == sorted([names[0], names[2], names[4], names[5]])
    fill(cache, names[6:7])
    assert cache.ls("cached") == sorted([names[2], *names[4:7]])


def test_order_after_a_restart(cache):
    names = limited(cache)
    cache.read(names[0], 4096)
    cache.restart()
    fill(cache, names[4:5])
    assert cache.ls("cached") == [names[0], *names[2:5]]


def test_reads_of_the_kernel_count(cache):
    """An image that was open all the time and read by the kernel itself was used until it was closed."""
    names = limited(cache)
    needs_passthrough(cache)
    fd = os.open(cache.image(names[0]), os.O_RDONLY)
    opened = os.stat(cache.image(names[0])).st_atime_ns
    for name in names[1:4]:
        cache.read(name)
    assert len(os.pread(fd, 65536, 0)) == 65536
    os.close(fd)
    wait_until(lambda: os.stat(cache.image(names[0])).st_atime_ns > opened, what="the access time")
    assert cache.xattr(names[0], "hits") == "1"
    fill(cache, names[4:5])
    assert cache.ls("cached") == [names[0], *names[2:5]]


def test_open_ones_stay(cache):
    names = limited(cache)
    held = [os.open(cache.image(n), os.O_RDONLY) for n in names[:2]]
    fill(cache, names[4:])
    assert cache.ls("cached") == names[:2] + names[6:]
    for i, fd in enumerate(held):
        same(os.pread(fd, 2 * MIB, 0), blob(MIB, i + 1))
        os.close(fd)


def test_unlinked_but_open_ones_count(cache):
    """Their bytes are on the disk until they are closed."""
    names = limited(cache)
    held = [os.open(cache.image(n), os.O_RDONLY) for n in names[:3]]
    for name in names[:3]:
        os.unlink(cache.path("cached", name))
    with Sampler(lambda: allocated(cache)) as disk:
        fill(cache, names[4:7])
    assert cache.ls("cached") == names[6:7]
    assert disk.worst <= 4 * MIB + slack(1)
    st = os.statvfs(cache.mnt)
    assert st.f_bfree * st.f_frsize == 0
    for fd in held:
        os.close(fd)
    wait_until(lambda: cache.status()["space"]["used"] == MIB, what="their bytes to be free")
    fill(cache, names[:3])
    assert cache.ls("cached") == sorted(names[:3] + names[6:7])


def test_what_is_invalid_counts_and_goes_first(cache):
    """Rotten bytes are worth nothing; why they were rotten is still told."""
    names = limited(cache)
    for name in names[:2]:
        os.rename(cache.path("cached", name), cache.path("invalid", name))
    wait_until(lambda: cache.status()["space"]["used"] == 4 * MIB, what="each to be counted once")
    with Sampler(lambda: allocated(cache)) as disk:
        fill(cache, names[4:6])
    assert disk.worst <= 4 * MIB + slack(1), disk.worst
    assert cache.ls("cached") == names[2:6] and os.listdir(os.path.join(cache.dir, "invalid")) == []
    assert cache.ls("invalid") == names[:2] and cache.entry("invalid", names[0])["bytes_kept"] == 0


# ---- pins

def pin(cache, name, value=b"1"):
    os.setxattr(cache.path("cached", name), "user.glance.pinned", value)


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_pins_outlive(cache, how):
    names = limited(cache)
    pin(cache, names[0])
    if how == "restart":
        cache.restart()
    else:
        cache.kill()
        cache.mount()
    assert cache.xattr(names[0], "pinned") == "1" and cache.xattr(names[1], "pinned") == "0"
    fill(cache, names[4:])
    assert cache.ls("cached") == [names[0], *names[5:]]
    pin(cache, names[0], b"0")
    assert cache.xattr(names[0], "pinned", "cached") == "0"
    fill(cache, names[1:2])
    assert names[0] not in cache.ls("cached")


def test_a_pin_before_it_is_cached(cache):
    names = folder_of_images(cache, 8, image_cache_max_size="4M")
    os.setxattr(cache.image(names[0]), "user.glance.pinned", b"1")
    fill(cache, names)
    assert cache.ls("cached") == [names[0], *names[5:]]


def test_removing_the_attribute_unpins(cache):
    names = limited(cache)
    pin(cache, names[0])
    os.removexattr(cache.path("cached", names[0]), "user.glance.pinned")
    assert cache.xattr(names[0], "pinned") == "0"
    fill(cache, names[4:5])
    assert names[0] not in cache.ls("cached")


@pytest.mark.parametrize("value", [b"2", b"yes", b"11", b"-1", b"1x", b"\x00\x00x", b" 1"])
def test_bad_pins_are_refused(cache, value):
    names = limited(cache)
    pin(cache, names[0])
    with pytest.raises(OSError):
        pin(cache, names[0], value)
    assert cache.xattr(names[0], "pinned") == "1"


def test_a_pin_is_of_the_name(cache):
    """A rotten pinned image that is fetched afresh is still pinned; one removed by hand is not."""
    names = limited(cache)
    pin(cache, names[0])
    os.rename(cache.path("cached", names[0]), cache.path("invalid", names[0]))
    fill(cache, names[:1])
    assert cache.xattr(names[0], "pinned") == "1"
    os.unlink(cache.path("cached", names[0]))
    fill(cache, names[:1])
    assert cache.xattr(names[0], "pinned") == "0"
