# SPDX-License-Identifier: Apache-2.0
"""A second program on the same cache directory, and a clean end."""
import os
import signal
import subprocess

import pytest

from harness import MIB, blob, descendants, is_mounted, pread, program, same
from waiting import wait_until


def test_a_second_instance(cache, make_cache, origin):
    content = origin.put("image", blob(MIB, 1))
    cache.configure(origin).mount()
    same(cache.read("image"), content)
    cache.wait_cached("image")
    before = cache.snapshot()
    second = make_cache()
    second.dir = cache.dir
    second.configure(origin)
    done = second.run()
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and cache.dir in done.stderr, done.stderr
    assert any(str(pid) in done.stderr for pid in descendants(cache.process.pid)), done.stderr
    assert not is_mounted(second.mnt)
    assert {k: v for k, v in cache.snapshot().items() if not k.startswith(".catalogue")} == \
        {k: v for k, v in before.items() if not k.startswith(".catalogue")}
    same(cache.read("image"), content)
    cache.unmount()
    second.mount()
    same(second.read("image"), content)


def test_the_same_mount_point_twice(cache, make_cache, origin):
    """A second cache over the first's mount point, by mistake: refused or stacked, but neither is harmed."""
    content = origin.put("image", blob(MIB, 1))
    cache.configure(origin).mount()
    same(cache.read("image"), content)
    done = cache.run()
    assert done.returncode == 1
    same(cache.read("image"), content)


def test_after_a_crash_the_lock_is_free(cache, origin):
    content = origin.put("image", blob(MIB, 1))
    cache.configure(origin).mount()
    same(cache.read("image"), content)
    cache.kill()
    cache.mount()
    same(cache.read("image"), content)


def test_a_stale_mount_is_cleaned_up(cache, origin):
    """"Transport endpoint is not connected", as a crash leaves it behind."""
    content = origin.put("image", blob(MIB, 1))
    cache.configure(origin).mount()
    for pid in descendants(cache.process.pid):
        os.kill(pid, signal.SIGKILL)
    cache.process.wait()
    cache.process = None
    assert is_mounted(cache.mnt)
    done = program(cache.conf, cache.mnt)
    try:
        if done.returncode != 0:
            pytest.skip("needs the keeper: a stale mount is not cleaned up yet")
        same(cache.read("image"), content)
    finally:
        for _ in range(2):
            subprocess.run(["umount", cache.mnt], stderr=subprocess.DEVNULL, check=False)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_in_order(cache, origin, how):
    origin.put("image", blob(4 * MIB, 1))
    hold = origin.fault("image", hold_from=2 * MIB)
    cache.configure(origin.config(stall_timeout=600), fetch_whole_after="64K").mount()
    cache.read("image", MIB)
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    process, cache.process = cache.process, None
    process.send_signal(how)
    assert process.wait(30) == 0
    assert not is_mounted(cache.mnt)
    assert not os.path.exists(os.path.join(cache.dir, ".catalogue.db-wal")) or \
        os.path.getsize(os.path.join(cache.dir, ".catalogue.db-wal")) == 0, "the catalogue was not checkpointed"


def test_unmount_with_a_reader_waiting(cache, origin):
    """umount says busy; umount -l lets the reader go on until it closes."""
    content = origin.put("image", blob(2 * MIB, 1))
    cache.configure(origin.config(stall_timeout=600)).mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    assert subprocess.run(["umount", cache.mnt], capture_output=True, check=False).returncode != 0
    subprocess.run(["umount", "-l", cache.mnt], check=True)
    same(pread(fd), content)
    os.close(fd)
    process, cache.process = cache.process, None
    assert process.wait(30) == 0


def test_nothing_is_left_in_the_cache_directory(cache, origin):
    for i in range(5):
        origin.put(f"image-{i}", blob(100000, i))
    cache.configure(origin).mount()
    for i in range(5):
        cache.read(f"image-{i}")
        cache.wait_cached(f"image-{i}")
    for i in range(5):
        os.unlink(cache.path("cached", f"image-{i}"))
    cache.unmount()
    left = sorted(cache.snapshot())
    assert [n for n in left if not n.startswith(".catalogue.db")] in ([".lock"], []), left
