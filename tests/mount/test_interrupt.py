# SPDX-License-Identifier: Apache-2.0
"""A blocked read can be interrupted, at once, and the mount lives."""
import os
import signal
import subprocess

import pytest

from harness import KIB, MIB, blob, same
from waiting import PATIENCE, wait_until

SIZE = 4 * MIB

COMMANDS = {
    "cat": "cat {}",
    "dd": "dd if={} bs=1M of=/dev/null status=none",
    "dd far": "dd if={} bs=64k skip=40 count=1 of=/dev/null status=none",
    "direct": "dd if={} bs=64k skip=40 count=1 iflag=direct of=/dev/null status=none",
    "cp": "cp {} /dev/null",
    "mmap": "python3 -c \"import mmap; f = open('{}', 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); m[3000000]\"",
}


@pytest.fixture
def held(cache, origin):
    origin.put("image", blob(SIZE, 1))
    origin.put("other", blob(SIZE, 2))
    cache.configure(origin.config(stall_timeout=600)).mount()
    cache.hold = origin.fault("image", hold_from=MIB)
    return cache


def block(cache, command):
    process = cache.spawn("bash", "-c", "exec " + command.format(cache.image("image")), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL)
    wait_until(lambda: cache.hold.waiting, what="the origin to hold back")
    return process


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("command", COMMANDS)
def test_interrupted(held, command, sent):
    if command == "mmap" and sent != signal.SIGKILL:
        pytest.skip("a page fault ends with fatal signals only, and Python handles this one itself")
    process = block(held, COMMANDS[command])
    process.send_signal(sent)
    process.wait(5 * PATIENCE)
    assert process.returncode != 0
    same(held.read("other"), blob(SIZE, 2))
    held.hold.release()
    same(held.read("image"), blob(SIZE, 1))
    held.wait_cached("image")


def test_one_of_many(held):
    """The others go on waiting, and get their bytes."""
    readers = [block(held, "sha256sum {}") for _ in range(8)]
    for r in readers[:4]:
        r.send_signal(signal.SIGINT)
    for r in readers[:4]:
        r.wait(5 * PATIENCE)
    assert all(r.poll() is None for r in readers[4:])
    held.hold.release()
    assert [r.wait(30 * PATIENCE) for r in readers[4:]] == [0] * 4


def test_again_and_again(held):
    for _ in range(30):
        process = block(held, "dd if={} bs=64k skip=30 of=/dev/null status=none")
        process.send_signal(signal.SIGTERM)
        process.wait(5 * PATIENCE)
    held.hold.release()
    same(held.read("image"), blob(SIZE, 1))


def test_a_blocked_look_up(cache, origin):
    origin.put("image", blob(SIZE, 1))
    origin.put("other", blob(SIZE, 2))
    cache.configure(origin.config(stall_timeout=600)).mount()
    cache.hold = origin.fault("image", hold_head=True)
    process = block(cache, "stat {}")
    process.send_signal(signal.SIGINT)
    process.wait(5 * PATIENCE)
    same(cache.read("other"), blob(SIZE, 2))
    cache.hold.release()
    same(cache.read("image"), blob(SIZE, 1))


def test_a_blocked_touch_and_ls(cache, origin):
    origin.put("image", blob(SIZE, 1))
    cache.configure(origin.config(stall_timeout=600)).mount()
    for name, command in (("image", f"touch {cache.path('queued', 'image')}"), ("", f"ls {cache.path('images')}")):
        cache.hold = origin.fault(name, hold_head=True)
        process = block(cache, command)
        process.send_signal(signal.SIGINT)
        process.wait(5 * PATIENCE)
        origin.clear_faults()
    same(cache.read("image"), blob(SIZE, 1))
    assert cache.ls("images") == ["image"]


def test_others_are_served_while_many_wait(held):
    """Hundreds of reads that wait cost no thread each: the view answers all the same."""
    code = ("import os, sys, threading\n"
            "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
            "def f(i):\n"
            "    assert len(os.pread(fd, 512, 2000000 + i * 1500)) == 512\n"
            "ts = [threading.Thread(target=f, args=(i,)) for i in range(300)]\n"
            "[t.start() for t in ts]\n"
            "[t.join() for t in ts]\n")
    readers = [held.python(code, held.image("image")) for _ in range(2)]
    wait_until(lambda: held.hold.waiting, what="the origin to hold back")
    same(held.read("other"), blob(SIZE, 2))
    assert held.ls("images") == ["image", "other"]
    same(held.read("image", 64 * KIB), blob(SIZE, 1)[:64 * KIB])
    held.status()
    assert os.stat(held.image("image")).st_size == SIZE
    held.hold.release()
    assert [r.wait(30 * PATIENCE) for r in readers] == [0, 0]
