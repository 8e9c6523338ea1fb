# SPDX-License-Identifier: Apache-2.0
"""mount(8), fstab, fusermount3, the service manager, and ends from outside."""
import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from harness import MIB, binary, blob, descendants, error_of, for_everybody, is_mounted, same
from waiting import PATIENCE, wait_until
from workers import hand_over, status_of, worker_of


def test_mount_and_umount_by_mount(cache, origin, monkeypatch):
    """mount -t fuse.glance-cache-fs CONFIG DIR; by its path, since the program under test is not installed."""
    if not shutil.which("mount.fuse3"):
        pytest.skip("no mount.fuse3: the package fuse3 is not installed")
    content = origin.put("image", blob(100000, 1))
    cache.configure(origin)
    mount = ["mount", "-t", "fuse." + binary(), "-o", "allow_other,ro,_netdev,nofail", cache.conf, cache.mnt]
    done = subprocess.run(mount, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    try:
        assert done.returncode == 0, done.stderr
        same(cache.read("image"), content)
        line = next(l for l in open("/proc/self/mounts") if cache.mnt in l)
        assert line.split()[0] == cache.conf and line.split()[2] == "fuse.glance-cache-fs"
        assert {"ro", "allow_other", "default_permissions"} <= set(line.split()[3].split(","))
        with pytest.raises(OSError):
            cache.touch("queued", "image")
        again = subprocess.run(mount, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
        assert again.returncode != 0 and "in use" in again.stderr
    finally:
        subprocess.run(["umount", cache.mnt], check=False)
    assert not is_mounted(cache.mnt)


@pytest.mark.parametrize("name", ["images", "a,b\\c d"])
def test_read_only_and_a_given_name(cache, origin, name):
    """-o ro: images are read and fetched, the view cannot be changed; fsname is what mount(8) and df show instead of the configuration."""
    content = origin.put("image", blob(MIB, 1))
    escaped = name.replace("\\", "\\\\").replace(",", "\\,")
    cache.configure(origin).mount("-o", f"ro,fsname={escaped}")
    line = next(l for l in open("/proc/self/mountinfo") if cache.mnt in l)
    assert line.split(" - ")[1].split()[1] == name.replace("\\", "\\134").replace(" ", "\\040")
    assert "ro" in line.split()[5].split(",")
    same(cache.read("image"), content)
    cache.wait_cached("image")
    for call in (lambda: cache.touch("queued", "image"), lambda: os.unlink(cache.path("cached", "image")),
                 lambda: os.rename(cache.path("cached", "image"), cache.path("invalid", "image")),
                 lambda: os.setxattr(cache.image("image"), "user.glance.pinned", b"1")):
        assert error_of(call) == errno.EROFS
    os.kill(worker_of(cache), signal.SIGKILL)
    same(cache.read("image"), content)
    assert cache.ls("cached") == ["image"]


def test_fstab(cache, origin):
    if not shutil.which("mount.fuse3"):
        pytest.skip("no mount.fuse3: the package fuse3 is not installed")
    content = origin.put("image", blob(100000, 1))
    cache.configure(origin)
    fstab = os.path.join(cache.root, "fstab")
    with open(fstab, "w") as f:
        f.write(f"{cache.conf} {cache.mnt} fuse.{binary()} allow_other,_netdev,x-systemd.automount 0 0\n")
    command = ["mount", "-T", fstab, "-a"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    try:
        assert done.returncode == 0, done.stderr
        same(cache.read("image"), content)
    finally:
        subprocess.run(["umount", cache.mnt], check=False)


@pytest.fixture
def device_for_all():
    """/dev/fuse as udev makes it: everybody may open it."""
    mode = os.stat("/dev/fuse").st_mode & 0o777
    os.chmod("/dev/fuse", 0o666)
    yield
    os.chmod("/dev/fuse", mode)


@pytest.mark.usefixtures("device_for_all")
def test_a_plain_user(cache, origin):
    """By fusermount3; no passthrough, and the worker is that user."""
    if not shutil.which("fusermount3") or not os.stat(shutil.which("fusermount3")).st_mode & 0o4000:
        pytest.skip("no setuid fusermount3")
    content = origin.put("image", blob(MIB, 1))
    cache.configure(origin)
    user = 65534
    for path in (cache.dir, cache.mnt):
        os.chown(path, user, user)
    program = for_everybody(binary(), cache.root)
    as_user = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"]
    with open(cache.log, "ab") as log:
        cache.process = subprocess.Popen([*as_user, "setpriv", "--pdeathsig", "KILL", program, *cache.command()[1:]], stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=log)
    wait_until(cache._mounted, what="the mount")

    def run(*command):
        return subprocess.run([*as_user, *command], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True).stdout
    same(run("cat", cache.image("image")), content)
    same(run("cat", cache.image("image")), content)
    assert "not started by root" in json.loads(run("cat", cache.path(".status")))["passthrough"]
    status = status_of(worker_of(cache))
    assert set(status["Uid"].split()) == {str(user)} and int(status["NoNewPrivs"]) == 1
    os.kill(worker_of(cache), signal.SIGKILL)
    same(run("cat", cache.image("image")), content)
    run("fusermount3", "-u", cache.mnt)
    process, cache.process = cache.process, None
    assert process.wait(30) == 0


@pytest.fixture
def manager(monkeypatch):
    """A service manager's socket; messages() gives what came."""
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "notify")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    got = []

    def messages():
        try:
            while True:
                got.append(s.recv(65536).decode())
        except BlockingIOError:
            pass
        return got
    yield messages
    s.close()
    shutil.rmtree(folder)


def test_the_service_manager_is_told(cache, origin, manager):
    origin.put("image", b"content")
    cache.configure(origin).mount()
    wait_until(lambda: any("READY=1" in m for m in manager()), what="READY")
    assert f"MAINPID={cache.process.pid}" in manager()[0] and "STATUS=" in manager()[0]
    count = len(manager())
    hand_over(cache, signal.SIGHUP)
    wait_until(lambda: any("READY=1" in m for m in manager()[count:]), what="READY after RELOADING")
    reloading = manager()[count]
    assert "RELOADING=1" in reloading and re.search(r"MONOTONIC_USEC=\d+", reloading)
    # a refused one ends it, too
    with open(cache.conf, "w") as f:
        f.write("nonsense\n")
    count = len(manager())
    cache.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(manager()) >= count + 2, what="an answer")
    assert "RELOADING=1" in manager()[count] and "READY=1" in manager()[count + 1]
    process, cache.process = cache.process, None
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert any("STOPPING=1" in m for m in manager())


def test_ctrl_c_in_a_terminal(cache, origin):
    """The terminal sends the signal to the whole group: the worker leaves it to the keeper."""
    origin.put("image", b"content")
    cache.configure(origin).mount()
    process, cache.process = cache.process, None
    for pid in descendants(process.pid)[::-1]:
        os.kill(pid, signal.SIGINT)
    assert process.wait(30) == 0
    assert not is_mounted(cache.mnt) and "another one goes on" not in cache.logged()


def test_the_connection_is_aborted(cache, origin):
    """As by /sys/fs/fuse/connections/N/abort, the last means against a mount that hangs: nothing is left mounted."""
    origin.put("image", b"content")
    cache.configure(origin).mount()
    number = os.minor(os.stat(cache.mnt).st_dev)
    path = f"/sys/fs/fuse/connections/{number}/abort"
    if not os.path.exists(path):
        subprocess.run(["mount", "-t", "fusectl", "fusectl", "/sys/fs/fuse/connections"], check=False, capture_output=True)
    if not os.path.exists(path):
        pytest.skip("no fusectl")
    with open(path, "w") as f:
        f.write("1")
    process, cache.process = cache.process, None
    assert process.wait(30) == 0
    assert not is_mounted(cache.mnt)


ELSEWHERE = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0 and libc.mount(None, b"/", None, 0x44000, None) == 0  # CLONE_NEWNS; MS_REC | MS_PRIVATE
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.http1
@pytest.mark.parametrize("why", ["another mount namespace", "an open file"])
def test_unmounted_and_in_use(cache, origin, why):
    """It is served on, and said why the program does not end; it ends with the last who uses it."""
    origin.put("image", blob(MIB, 1))
    cache.configure(origin).mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    elsewhere = cache.python(ELSEWHERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE) if why != "an open file" else None
    if elsewhere is not None:
        elsewhere.stdout.readline()
        os.close(fd)
        subprocess.run(["umount", cache.mnt], check=True)
    else:
        subprocess.run(["umount", "-l", cache.mnt], check=True)
    wait_until(lambda: "is unmounted, and served on" in cache.logged(), what="it to be said")
    if elsewhere is None:
        assert os.pread(fd, 100, MIB - 50) == blob(MIB, 1)[-50:]
        os.close(fd)
    else:
        elsewhere.stdin.close()
    assert cache.process.wait(60 * PATIENCE) == 0
    cache.process = None
    assert cache.logged().count("is unmounted, and served on") == 1
