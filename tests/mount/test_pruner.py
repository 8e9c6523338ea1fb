# SPDX-License-Identifier: Apache-2.0
"""glance-cache-pruner: least recently used first, down to the limit; never what is pinned; what is open last."""
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest

from harness import MIB, blob, pread, same
from tools import DONE, FAILED, PARTLY, fill, folder_of_images, on, path_of, report, tool
from waiting import wait_until

COUNT = 8


@pytest.fixture
def filled(cache):
    """Eight images of 1 MiB, read one after the other."""
    cache.names = folder_of_images(cache, COUNT)
    fill(cache, cache.names)
    return cache


def accessed(cache, name):
    return os.stat(cache.path("cached", name)).st_atime_ns


def read_again(cache, name):
    before = accessed(cache, name)
    cache.read(name, 4096)
    wait_until(lambda: accessed(cache, name) > before, what="the access time")


def test_nothing_to_do(filled):
    done = on(filled, "pruner")
    assert "nothing to prune" in done.stderr and done.stdout == ""
    assert filled.ls("cached") == filled.names
    value = report(filled, "pruner")
    assert value["images_removed"] == 0 and value["used_before"] == COUNT * MIB and value["bytes_over"] == 0


def test_least_recently_used_first(filled):
    on(filled, "pruner", "--to", "5M")
    assert filled.ls("cached") == filled.names[3:]


def test_order_by_reads(filled):
    for name in (filled.names[0], filled.names[2]):
        read_again(filled, name)
    on(filled, "pruner", "--to", "5M")
    assert filled.ls("cached") == sorted([filled.names[0], filled.names[2], *filled.names[5:]])
    on(filled, "pruner", "--to", "1M")
    assert filled.ls("cached") == [filled.names[2]]


@pytest.mark.parametrize("to, left", [("0", 0), ("0M", 0), ("1048576", 1), ("1M", 1), ("1 MiB", 1), ("2097151", 1),
                                      ("8M", 8), ("100%", 8), ("0%", 0)])
def test_to(filled, to, left):
    on(filled, "pruner", "--to", to)
    assert len(filled.ls("cached")) == left


def test_to_a_part_of_the_limit(cache):
    names = folder_of_images(cache, COUNT, image_cache_max_size="16M")
    fill(cache, names)
    on(cache, "pruner", "--to", "25%")
    assert cache.ls("cached") == names[4:]


def test_the_limit_of_another_configuration(filled):
    """An operator lowers the limit and prunes, before the mount knows."""
    filled.configure({"type": "file", "path": os.path.join(filled.root, "images")}, image_cache_max_size="3M")
    tool("pruner", "--config-file", filled.conf, code=DONE)
    assert filled.ls("cached") == filled.names[5:]


@pytest.mark.parametrize("size", ["5", "80", "1048575"])
def test_a_unit_that_was_forgotten(filled, size):
    """`--to 5` for 5G or 5% would empty the cache."""
    done = on(filled, "pruner", "--to", size, code=FAILED)
    assert f"--to {size} would be {size} bytes" in done.stderr and "as in" in done.stderr
    assert filled.ls("cached") == sorted(filled.names)


def test_it_first_says_on_which_mount(filled):
    for name in ("pruner", "cleaner", "prefetcher"):
        done = on(filled, name)
        assert done.stderr.splitlines()[0] == f"glance-cache-{name}: on {os.path.realpath(filled.mnt)}"
        assert on(filled, name, "-q").stderr == ""


def test_pinned_stay(filled):
    for name in filled.names[:2]:
        os.setxattr(filled.path("cached", name), "user.glance.pinned", b"1")
    on(filled, "pruner", "--to", "4M")
    assert filled.ls("cached") == sorted(filled.names[:2] + filled.names[6:])
    done = on(filled, "pruner", "--to", "1M", code=PARTLY)
    assert filled.ls("cached") == filled.names[:2]
    assert "2 images are pinned" in done.stderr
    value = report(filled, "pruner", "--to", "1M", code=PARTLY)
    assert value["kept"]["pinned"] == 2 and value["bytes_over"] == MIB and value["removed"] == []


def test_many_pinned(cache):
    """Most of the oldest are pinned, so that one look is not enough."""
    names = folder_of_images(cache, 40, size=65536)
    fill(cache, names)
    for name in names[:30]:
        os.setxattr(cache.path("cached", name), "user.glance.pinned", b"1")
    on(cache, "pruner", "--to", 35 * 65536)
    assert cache.ls("cached") == names[:30] + names[35:]


def test_open_ones_last(filled):
    held = [os.open(filled.path("cached", n), os.O_RDONLY) for n in filled.names[:2]]
    on(filled, "pruner", "--to", "3M")
    assert filled.ls("cached") == filled.names[:2] + filled.names[7:]
    value = report(filled, "pruner", "--to", "0")
    assert filled.ls("cached") == [] and value["open_removed"] == 2 and value["images_removed"] == 3
    for i, fd in enumerate(held):  # who reads goes on reading
        same(os.pread(fd, 2 * MIB, 0), blob(MIB, i + 1))
        os.close(fd)


def test_what_is_evicted_but_open_is_no_reason_to_remove_more(filled):
    """Its bytes come free when it is closed; others need not go for them, however often the pruner runs."""
    held = [os.open(filled.path("cached", n), os.O_RDONLY) for n in filled.names[:4]]
    for name in filled.names[:4]:
        os.unlink(filled.path("cached", name))
    for _ in range(3):
        on(filled, "pruner", "--to", "4M")
        assert filled.ls("cached") == filled.names[4:]
    for fd in held:
        os.close(fd)


def test_incomplete_ones_count(cache, origin):
    """They are not pruned, but what they take has to be made room for."""
    for i in range(4):
        origin.put(f"image-{i}", blob(MIB, i))
    origin.put("large", blob(8 * MIB, 9))
    hold = origin.fault("large", hold_from=2 * MIB)
    cache.configure(origin.config(stall_timeout=600), fetch_policy="demand", read_ahead_max=0).mount()
    fill(cache, [f"image-{i}" for i in range(4)])
    fd = os.open(cache.image("large"), os.O_RDONLY)
    same(pread(fd, MIB), blob(8 * MIB, 9)[:MIB])
    wait_until(lambda: os.stat(cache.path("incomplete", "large")).st_blocks >= 2048, what="a MiB to be here")
    value = report(cache, "pruner", "--to", "4M")
    assert value["used_before"] >= 5 * MIB and 1 <= value["images_removed"] <= 2
    assert "image-0" not in cache.ls("cached") and "image-3" in cache.ls("cached") and cache.ls("incomplete") == ["large"]
    os.close(fd)
    hold.release()


def test_dry_run(filled):
    done = on(filled, "pruner", "--to", "5M", "--dry-run", "-v")
    assert filled.ls("cached") == filled.names
    for name in filled.names[:3]:
        assert f"{name}: would be removed" in done.stderr
    value = report(filled, "pruner", "--to", "5M", "--dry-run")
    assert value["dry_run"] is True
    assert [r["image"] for r in value["removed"]] == filled.names[:3]
    held = os.open(filled.path("cached", filled.names[0]), os.O_RDONLY)
    value = report(filled, "pruner", "--to", "0", "-n")
    assert value["images_removed"] == COUNT and value["open_removed"] == 1
    assert sorted(r["image"] for r in value["removed"]) == filled.names
    assert value["removed"][-1]["image"] == filled.names[0]
    os.close(held)
    assert filled.ls("cached") == filled.names


def test_json(filled):
    times = {n: accessed(filled, n) for n in filled.names}
    value = report(filled, "pruner", "--to", "6M")
    assert value["dry_run"] is False and value["target"] == 6 * MIB and value["limit"] == 10 << 30
    assert value["used_before"] == 8 * MIB and value["images_removed"] == 2 and value["bytes_removed"] == 2 * MIB
    assert value["kept"] == {"pinned": 0, "read_again": 0, "failed": 0}
    assert [r["image"] for r in value["removed"]] == filled.names[:2]
    for r in value["removed"]:
        assert r["bytes"] == MIB and abs(r["last_accessed"] - times[r["image"]] / 1e9) < 1e-3


def test_two_at_once(filled):
    """They do not remove more together than one would."""
    both = [filled.spawn(path_of("glance-cache-pruner"), "--mount", filled.mnt, "--to", "4M", stderr=subprocess.DEVNULL)
            for _ in range(2)]
    assert [p.wait(60) for p in both] == [DONE, DONE]
    assert filled.ls("cached") == filled.names[4:]


def test_others_remove_meanwhile(filled):
    """rm in a loop beside it: no error, and never more left than was asked for."""
    other = filled.spawn("bash", "-c", "rm -f cached/image-00 cached/image-01; rm -f cached/image-0[23]", cwd=filled.mnt)
    on(filled, "pruner", "--to", "2M")
    assert other.wait(60) == 0
    assert len(filled.ls("cached")) <= 2


def test_read_between_listing_and_removal(cache):
    """The pruner is held up in the middle, since nobody reads what it logs; an image further down its list is read then."""
    names = folder_of_images(cache, 120, size=4096)
    fill(cache, names)
    log, end = os.pipe()
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)
    pruner = cache.spawn(path_of("glance-cache-pruner"), "--mount", cache.mnt, "--to", "0", "-v", stderr=end)
    os.close(end)
    wait_until(lambda: struct.unpack("i", fcntl.ioctl(log, termios.FIONREAD, b"0000"))[0] > 3900, what="the log to be full")
    read_again(cache, names[110])
    text = b"".join(iter(lambda: os.read(log, 65536), b"")).decode()
    os.close(log)
    assert pruner.wait(60) == PARTLY, text
    assert cache.ls("cached") == [names[110]]
    assert "1 were read meanwhile" in text


def test_quiet_and_verbose(filled):
    assert on(filled, "pruner", "--to", "7M", "--quiet").stderr == ""
    assert f"{filled.names[1]}: removed" in on(filled, "pruner", "--to", "6M", "-v").stderr
    filled.configure({"type": "file", "path": os.path.join(filled.root, "images")}, log_level="warning")
    assert on(filled, "pruner", "--to", "5M").stderr == ""
    assert filled.ls("cached") == filled.names[3:]


def test_interval(filled):
    daemon = filled.spawn(path_of("glance-cache-pruner"), "--mount", filled.mnt, "--to", "4M", "--interval", "1", "--json",
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    wait_until(lambda: filled.ls("cached") == filled.names[4:], what="the first run")
    fill(filled, filled.names[:2])
    wait_until(lambda: filled.ls("cached") == sorted(filled.names[:2] + filled.names[6:]), what="a later run")
    daemon.terminate()
    assert daemon.wait(20) == DONE
    lines = daemon.stdout.read().splitlines()
    assert len(lines) >= 2 and all(line.startswith('{"program"') for line in lines)


def test_interval_sighup_and_ready(filled):
    """A service manager hears READY; SIGHUP has it work at once."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(os.path.join(filled.root, "notify"))
    listener.settimeout(30)
    daemon = filled.spawn(path_of("glance-cache-pruner"), "--mount", filled.mnt, "--to", "4M", "--interval", "3600",
                          stderr=subprocess.DEVNULL, env={**os.environ, "NOTIFY_SOCKET": os.path.join(filled.root, "notify")})
    said = b""
    while b"STATUS=The last run" not in said:
        said += listener.recv(4096) + b"\n"
    assert b"READY=1" in said and filled.ls("cached") == filled.names[4:]
    fill(filled, filled.names[:1])
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: len(filled.ls("cached")) == 4, what="the run that SIGHUP asks for")
    daemon.terminate()
    assert daemon.wait(20) == DONE
    while b"STOPPING=1" not in said:
        said += listener.recv(4096) + b"\n"
    listener.close()


def test_sighup_while_it_is_at_work(filled):
    """It has the next run begin at once: the one under way may have read its configuration before."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(os.path.join(filled.root, "notify"))
    listener.settimeout(30)
    cached = os.open(filled.path("cached"), os.O_RDONLY)
    fcntl.flock(cached, fcntl.LOCK_EX)  # as another pruner does, so that this one waits
    daemon = filled.spawn(path_of("glance-cache-pruner"), "--mount", filled.mnt, "--to", "4M", "--interval", "3600", stderr=subprocess.PIPE,
                          text=True, env={**os.environ, "NOTIFY_SOCKET": os.path.join(filled.root, "notify")})
    while "another pruner" not in daemon.stderr.readline():
        assert daemon.poll() is None
    daemon.send_signal(signal.SIGHUP)
    os.close(cached)
    said = b""
    while said.count(b"STATUS=The last run") < 2:
        said += listener.recv(4096) + b"\n"
    daemon.terminate()
    daemon.communicate()
    assert daemon.returncode == DONE
    listener.close()


@pytest.mark.parametrize("name", ["pruner", "cleaner", "prefetcher"])
def test_the_mount_goes_between_two_runs(filled, name):
    """Missing at the start it would be an error; later it is logged, and worked on again when it is back."""
    log = os.path.join(filled.root, "daemon")
    with open(log, "wb") as out:
        daemon = filled.spawn(path_of("glance-cache-" + name), "--mount", filled.mnt, "--interval", "1", "--json", stdout=subprocess.PIPE,
                              stderr=out, text=True)
    assert json.loads(daemon.stdout.readline())["exit"] == DONE
    filled.unmount()
    wait_until(lambda: "is mounted" in open(log).read() and filled.mnt in open(log).read(), what="it to be missed")
    assert daemon.poll() is None
    filled.mount()
    if name == "cleaner":
        os.rename(filled.path("cached", filled.names[0]), filled.path("invalid", filled.names[0]))
    while not (report := json.loads(daemon.stdout.readline()))["exit"] == DONE or name == "cleaner" and report["invalid_count"] == 0:
        pass
    daemon.terminate()
    assert daemon.wait(20) == DONE


def test_find_as_a_pruner(filled):
    """Nothing but find(1): what was not read for a minute goes."""
    minute_ago = time.time() - 60
    assert all(accessed(filled, n) / 1e9 > minute_ago for n in filled.names)
    filled.shell("find cached/ -type f -amin +1 -delete")
    assert filled.ls("cached") == filled.names
    filled.shell(f"find cached/ -type f ! -neweraa cached/{filled.names[2]} -delete")
    assert filled.ls("cached") == filled.names[3:]


# ---- which mount

def one_line(done, *words):
    assert done.returncode == FAILED and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n"), f"not one line: {done.stderr!r}"
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["pruner", "cleaner", "prefetcher"])
def test_no_mount(cache, name):
    cache.configure({"type": "file", "path": cache.root})
    one_line(tool(name, "--mount", cache.mnt), cache.mnt, "nothing is mounted")
    one_line(tool(name, "--mount", cache.root + "/nowhere"), cache.root + "/nowhere")
    one_line(tool(name, "--mount", "/proc"), "/proc", "proc", "not a glance-cache-fs")
    one_line(tool(name, "--config-file", cache.conf), cache.conf, "mounted")
    one_line(tool(name, "--config-file", cache.root + "/nowhere.conf"), "nowhere.conf")
    one_line(tool(name, "--interval", "5", "--mount", cache.mnt), cache.mnt)



def test_found_by_its_configuration(filled, make_cache):
    other = make_cache()
    folder_of_images(other, 1)
    one_line(tool("pruner"), "more than one", "--mount")
    tool("pruner", "--config-file", filled.conf, "--to", "6M", code=DONE)
    assert filled.ls("cached") == filled.names[2:]
    link = os.path.join(filled.root, "link.conf")
    os.symlink(filled.conf, link)
    tool("pruner", "--config-file", link, "--to", "5M", code=DONE)
    copy = os.path.join(filled.root, "copy.conf")  # another file of the same cache directory
    with open(copy, "w") as f:
        f.write(open(filled.conf).read())
    tool("pruner", "--config-file", copy, "--to", "4M", code=DONE)
    assert filled.ls("cached") == filled.names[4:]


def test_a_wrong_configuration(filled):
    with open(filled.conf, "a") as f:
        f.write("nonsense = 5\n")
    one_line(tool("pruner", "--mount", filled.mnt, "--config-file", filled.conf), filled.conf, "nonsense")
    assert filled.ls("cached") == filled.names


@pytest.mark.parametrize("arguments", [["--frobnicate"], ["--to"], ["--to", "much"], ["--to", "101%"], ["--to", "-5"],
                                       ["--to", "%"], ["--to", ""], ["--interval", "0"], ["--interval", "soon"],
                                       ["--mount"], ["operand"]])
def test_command_lines(filled, arguments):
    done = tool("pruner", *arguments, code=FAILED)
    assert done.stdout == "" and 1 <= done.stderr.count("\n") <= 2
    assert filled.ls("cached") == filled.names


def test_a_mount_that_does_not_answer(filled):
    """Its program was killed and the mount was left behind."""
    point = os.path.join(filled.root, "dead")
    os.makedirs(point)
    code = ("import ctypes, os, sys\n"
            "fd = os.open('/dev/fuse', os.O_RDWR)\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "data = f'fd={fd},rootmode=40000,user_id=0,group_id=0'.encode()\n"
            "sys.exit(libc.mount(b'x', sys.argv[1].encode(), b'fuse.glance-cache-fs', 0, data))\n")
    assert subprocess.run(["python3", "-c", code, point]).returncode == 0
    try:
        one_line(tool("pruner", "--mount", point), point, "does not answer")
    finally:
        subprocess.run(["umount", "-l", point], check=True)


NO_ATTRIBUTE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
/* lgetxattr(2) of the attribute in $UNREADABLE fails. */
ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size)
{
    ssize_t (*real)(const char *, const char *, void *, size_t) = dlsym(RTLD_NEXT, "lgetxattr");
    if (strcmp(name, getenv("UNREADABLE")) == 0) {
        errno = EIO;
        return -1;
    }
    return real(path, name, value, size);
}
"""


@pytest.mark.parametrize("name", ["pinned", "open"])
def test_what_cannot_be_read_is_no_no(filled, shim, monkeypatch, name):
    """Whether an image is pinned or open cannot be told: it stays, and that is a failure."""
    shim(NO_ATTRIBUTE)
    monkeypatch.setenv("UNREADABLE", f"user.glance.{name}")
    done = on(filled, "pruner", "--to", "1M", code=PARTLY)
    assert filled.ls("cached") == filled.names and "stays" in done.stderr and "Input/output error" in done.stderr
