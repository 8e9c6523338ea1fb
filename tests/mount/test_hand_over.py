# SPDX-License-Identifier: Apache-2.0
"""A new configuration (SIGHUP), a new program (SIGUSR2): readers go on."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from harness import MIB, binary, blob, program, same
from waiting import PATIENCE, wait_until
from workers import Load, fill, hand_over, wait_served, worker_of, workers


@pytest.mark.deadline(300)
@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGUSR2], ids=["reload", "upgrade"])
def test_hand_over_under_load(cache, make_nginx, how):
    nginx = make_nginx(rate="40m")
    warm = fill(nginx, 2, 4 * MIB, "warm")
    cold = fill(nginx, 6, 16 * MIB, "cold")
    cache.configure(nginx).mount()
    for name in warm:
        cache.read(name)
        cache.wait_cached(name)
    load = Load(cache)
    load.readers(2, nginx.files, warm)
    load.readers(2, nginx.files, cold)
    load.lister(warm + cold)
    first = worker_of(cache)
    for _ in range(10):
        hand_over(cache, how)
        time.sleep(0.3)
    reads, longest = load.stop()
    took = [int(ms) for ms in re.findall(r"hand-over took (\d+) ms", cache.logged())]
    print(f"10 hand-overs, {reads} reads, the longest {longest * 1000:.0f} ms; the hand-overs took {took} ms")
    assert worker_of(cache) != first
    for name in warm + cold:
        same(cache.read(name), open(os.path.join(nginx.files, name), "rb").read())


def test_reload_takes_the_new_configuration(cache, origin):
    origin.put("image", b"content")
    cache.configure(origin, image_cache_max_size="3G").mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    cache.configure(origin, image_cache_max_size="5G")
    hand_over(cache, signal.SIGHUP)
    st = os.statvfs(cache.mnt)
    assert st.f_blocks * st.f_frsize == 5 << 30
    same(os.pread(fd, 100, 0), b"content")
    os.close(fd)


@pytest.mark.parametrize("text", ["[DEFAULT]\nnonsense = 1\n", "not a configuration\n", None], ids=["option", "text", "missing"])
def test_a_wrong_configuration_leaves_the_old_one(cache, origin, text):
    content = origin.put("image", blob(100000, 1))
    cache.configure(origin, image_cache_max_size="3G").mount()
    worker = worker_of(cache)
    good = open(cache.conf).read()
    if text is None:
        os.unlink(cache.conf)
    else:
        with open(cache.conf, "w") as f:
            f.write(text)
    cache.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "stays in force" in cache.logged(), what="the refusal")
    assert worker_of(cache) == worker and cache.conf in cache.logged()
    same(cache.read("image"), content)
    # nor does it matter when a worker dies
    os.kill(worker, signal.SIGKILL)
    wait_served(cache)
    st = os.statvfs(cache.mnt)
    assert st.f_blocks * st.f_frsize == 3 << 30
    with open(cache.conf, "w") as f:
        f.write(good.replace("3G", "4G"))
    hand_over(cache, signal.SIGHUP)
    st = os.statvfs(cache.mnt)
    assert st.f_blocks * st.f_frsize == 4 << 30


def test_a_backend_that_is_wrong_leaves_the_old_one(cache, origin):
    """What only the worker finds out, after it was started."""
    origin.put("image", b"content")
    cache.configure(origin).mount()
    worker = worker_of(cache)
    cache.configure(origin.config(token_file="/nonexistent/token"))
    cache.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "stays in force" in cache.logged(), what="the refusal")
    assert worker_of(cache) == worker and "/nonexistent/token" in cache.logged()
    same(cache.read("image"), b"content")


def test_another_cache_directory_is_refused(cache, origin):
    origin.put("image", b"content")
    cache.configure(origin).mount()
    other = os.path.join(cache.root, "other")
    os.mkdir(other)
    cache.configure(origin, image_cache_dir=other)
    cache.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "stays in force" in cache.logged(), what="the refusal")
    assert os.listdir(other) == []
    same(cache.read("image"), b"content")


def installed(cache, monkeypatch):
    """A copy of the program that can be replaced."""
    path = os.path.join(cache.root, "glance-cache-fs")
    shutil.copy(binary(), path)
    monkeypatch.setenv("GCFS_BINARY", path)
    return path


def install(path, source):
    shutil.copy(source, path + ".new")
    os.chmod(path + ".new", 0o755)
    os.rename(path + ".new", path)


def test_upgrade_takes_the_program_on_disk(cache, origin, monkeypatch):
    content = origin.put("image", blob(MIB, 1))
    path = installed(cache, monkeypatch)
    source = os.environ["GCFS_BINARY"]
    cache.configure(origin).mount()
    same(cache.read("image"), content)
    first = os.stat(f"/proc/{worker_of(cache)}/exe").st_ino
    install(path, source)
    # a worker that dies is replaced by one of the old program, which is known to work
    os.kill(worker_of(cache), signal.SIGKILL)
    wait_served(cache)
    assert os.stat(f"/proc/{worker_of(cache)}/exe").st_ino == first
    hand_over(cache, signal.SIGUSR2)
    assert os.stat(f"/proc/{worker_of(cache)}/exe").st_ino == os.stat(path).st_ino != first
    same(cache.read("image"), content)


def test_an_upgrade_that_does_not_work(cache, origin, monkeypatch):
    content = origin.put("image", blob(MIB, 1))
    path = installed(cache, monkeypatch)
    cache.configure(origin).mount()
    worker = worker_of(cache)
    install(path, "/bin/false")
    cache.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: "stays in force" in cache.logged(), what="the refusal")
    assert worker_of(cache) == worker
    same(cache.read("image"), content)
    os.unlink(path)
    cache.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: cache.logged().count("stays in force") == 2, what="the refusal")
    same(cache.read("image"), content)


def test_a_reload_and_an_upgrade_while_a_worker_is_replaced(cache, origin, monkeypatch):
    """Both are heard: the program that is on disk then, with the configuration that is."""
    content = origin.put("image", blob(MIB, 1))
    path = installed(cache, monkeypatch)
    cache.configure(origin, image_cache_max_size="3G").mount()
    os.kill(workers(cache.process.pid)[0], signal.SIGKILL)  # there is none until the keeper has looked
    cache.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "is being started" in cache.logged(), what="the first of them")
    cache.configure(origin, image_cache_max_size="5G")
    install(path, path)
    for signal_number in (signal.SIGHUP, signal.SIGUSR2):
        cache.process.send_signal(signal_number)
    wait_until(lambda: len(workers(cache.process.pid)) == 1 and os.stat(f"/proc/{worker_of(cache)}/exe").st_ino == os.stat(path).st_ino,
               what="the new program")
    wait_until(lambda: cache.status()["space"]["limit"] == 5 << 30, what="the new configuration")
    same(cache.read("image"), content)


def test_unmounted_while_a_worker_is_replaced(cache, origin):
    """At any moment of that: the program ends, the worker that was to follow as well."""
    content = origin.put("image", blob(MIB, 1))
    cache.configure(origin)
    for i in range(16):
        cache.mount()
        same(cache.read("image", 4096), content[:4096])
        began = cache.logged().count("is being started")
        cache.process.send_signal((signal.SIGHUP, signal.SIGUSR2)[i % 2])
        if i % 4 >= 2:
            wait_until(lambda: cache.logged().count("is being started") > began, what="the next worker to be started")
        time.sleep(i * 0.0005)
        cache.unmount()


def test_signals_in_a_row(cache, origin):
    """As a script that knows no patience sends them; each is heard, none is one too many."""
    content = origin.put("image", blob(MIB, 1))
    cache.configure(origin).mount()
    for i in range(20):
        cache.process.send_signal((signal.SIGHUP, signal.SIGUSR2)[i % 2])
        same(cache.read("image", 4096), content[:4096])
    os.kill(workers(cache.process.pid)[0], signal.SIGKILL)
    cache.process.send_signal(signal.SIGHUP)
    same(cache.read("image"), content)
    wait_until(lambda: len(workers(cache.process.pid)) == 1, what="one worker")


def test_versions_that_do_not_go_together(cache, origin):
    """What a program of another version is started with by the keeper: it says so and ends, and touches nothing."""
    cache.configure(origin)
    for version in ("0", "999", "x"):
        done = program("--worker", f"{version}:3:4", cache.conf, cache.mnt)
        assert done.returncode == 1 and "do not go together" in done.stderr
    assert os.listdir(cache.dir) == []


# ---- --reload and --upgrade, which wait for what comes of it

def ask(cache, option, user=0):
    return subprocess.run(["setpriv", "--reuid", str(user), "--clear-groups", binary(), option, cache.mnt], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60 * PATIENCE, check=False)


def is_done(done):
    return (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_reload_by_command(cache, origin):
    """What it says is so when it ends, also when several ask at the same time."""
    origin.put("image", b"content")
    cache.configure(origin, image_cache_max_size="3G").mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    cache.configure(origin, image_cache_max_size="5G")
    worker = worker_of(cache)
    assert is_done(ask(cache, "--reload"))
    st = os.statvfs(cache.mnt)
    assert st.f_blocks * st.f_frsize == 5 << 30 and worker_of(cache) != worker
    several = [cache.spawn(binary(), option, cache.mnt) for option in ("--reload", "--upgrade", "--reload", "--upgrade")]
    assert [each.wait(60 * PATIENCE) for each in several] == [0] * 4
    same(os.pread(fd, 100, 0), b"content")
    os.close(fd)


def test_reload_says_what_is_wrong(cache, origin):
    origin.put("image", b"content")
    cache.configure(origin).mount()
    worker = worker_of(cache)
    cache.configure(origin, image_cache_max_size="many")
    done = ask(cache, "--reload")
    assert done.returncode == 1 and f"{cache.mnt}: {cache.conf}:" in done.stderr and "image_cache_max_size = many" in done.stderr
    cache.configure(origin.config(token_file="/nonexistent/token"))
    done = ask(cache, "--reload")
    assert done.returncode == 1 and f"--check {cache.conf}" in done.stderr, done.stderr
    assert worker_of(cache) == worker
    cache.configure(origin)
    assert is_done(ask(cache, "--reload"))


def test_upgrade_by_command(cache, origin, monkeypatch):
    origin.put("image", b"content")
    source = binary()
    path = installed(cache, monkeypatch)
    cache.configure(origin).mount()
    install(path, "/bin/false")
    monkeypatch.setenv("GCFS_BINARY", source)
    done = ask(cache, "--upgrade")
    assert done.returncode == 1 and "could not be started" in done.stderr
    install(path, source)
    assert is_done(ask(cache, "--upgrade"))
    assert os.stat(f"/proc/{worker_of(cache)}/exe").st_ino == os.stat(path).st_ino
    os.unlink(path)
    done = ask(cache, "--upgrade")
    assert done.returncode == 1 and path in done.stderr


def test_a_mount_that_is_not_ours(cache, origin):
    for point, why in (("/proc", "of type proc"), (cache.dir, "no mount of glance-cache-fs"), (cache.root + "/none/at/all", "No such file")):
        done = program("--reload", point)
        assert done.returncode == 1 and why in done.stderr and point in done.stderr
    cache.configure(origin).mount("-o", "allow_other")
    done = ask(cache, "--reload", 12345)
    assert done.returncode == 1 and "only root and user 0" in done.stderr
    cache.kill_and_leave()
    done = ask(cache, "--reload")
    assert done.returncode == 1 and "has ended" in done.stderr and "umount -l" in done.stderr


SQUAT = r"""
import os, socket, sys
os.setuid(12345)
taken = []
for i in range(50):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.bind(f"\0glance-cache-fs/{sys.argv[1]}/{i:016x}")
    s.listen(0)
    taken.append(s)
print(flush=True)
sys.stdin.read()
"""


def test_strangers_in_the_keepers_place(cache, origin):
    """Anybody can listen at names like the keeper's, and speak with it."""
    cache.configure(origin).mount()
    worker = worker_of(cache)
    device = os.stat(cache.mnt).st_dev
    squatter = cache.python(SQUAT, f"{os.major(device)}:{os.minor(device)}", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    squatter.stdout.readline()
    assert is_done(ask(cache, "--reload"))
    assert worker_of(cache) != worker
    name = re.search(rf"@(glance-cache-fs/{os.major(device)}:{os.minor(device)}/(?!0{{14}})\w+)", open("/proc/net/unix").read())[1]
    worker = worker_of(cache)
    done = subprocess.run([sys.executable, "-c", ASK_AS_STRANGER, name], capture_output=True, text=True, timeout=60 * PATIENCE, check=False)
    assert done.stdout.strip() == "failed: only root and the user who mounted may ask for this", done
    for text in (b"", b"reboot", b"x" * 100000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.connect("\0" + name)
            s.send(text)
            assert s.recv(100) == b""
    assert worker_of(cache) == worker


ASK_AS_STRANGER = r"""
import os, socket, sys
os.setuid(12345)
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect("\0" + sys.argv[1])
print(s.recv(1000).decode())
"""
