# SPDX-License-Identifier: Apache-2.0
"""The installed units under a real systemd: readiness, reload, restart, crashes, hardening, timers."""
import json
import os
import re
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from harness import MIB, TOP, blob, same
from machine import Machine
from waiting import wait_until

MNT = "/srv/glance"
JOBS = ("pruner", "cleaner", "verify", "prefetcher")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def steps_of_the_readme():
    """What it says to do after make install: lines of a shell, without the editor."""
    text = open(os.path.join(TOP, "README.md"), encoding="utf-8").read()
    block = re.search(r"^    vi .*glance-cache\.conf.*\n((?:    .*\n)+)", text, re.M)[1]
    return [line.strip() for line in block.splitlines()]


@pytest.fixture(scope="module")
def booted():
    """A machine as the README's steps make it, but for the folder of images and the port; no service is started yet."""
    one = Machine()
    try:
        one.prepare()
        for folder in ("images", "cache"):
            os.mkdir(os.path.join(one.folder, folder))
        one.port = free_port()
        one.boot(f"--bind={one.folder}/cache:/var/lib/glance")
        configure(one)
        for line in steps_of_the_readme():
            if "enable" not in line:
                one.run("sh", "-c", line)
        yield one
    finally:
        one.close()


def configure(machine, limit="10G"):
    machine.write("usr/local/etc/glance-cache/glance-cache.conf",
                  f"[DEFAULT]\nimage_cache_dir = /var/lib/glance/image-cache\nimage_cache_max_size = {limit}\nmin_free = 0\nlist_ttl = 0\n"
                  f"[backend]\ntype = file\npath = /test/images\n[api]\nlisten = 127.0.0.1:{machine.port}\n")


@pytest.fixture
def machine(booted):
    configure(booted)
    yield booted
    booted.systemctl("stop", "glance-cache-api", *(f"glance-cache-{job}.timer" for job in JOBS), "glance-cache-fs")
    booted.systemctl("reset-failed")
    assert mounted(booted) == 0, "stopped, and still mounted"


def mounted(machine):
    """How many mounts there are, one over another."""
    return machine.run("cat", "/proc/self/mountinfo").stdout.count(f" {MNT} ")


def put(machine, name, content):
    with open(os.path.join(machine.folder, "images", name), "wb") as f:
        f.write(content)
    return content


def read(machine, name, folder="images", user="nobody"):
    done = subprocess.run(machine.command("setpriv", "--reuid", user, "--clear-groups", "cat", f"{MNT}/{folder}/{name}"),
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ls(machine, folder):
    return machine.run("ls", f"{MNT}/{folder}").stdout.split()


def wait_cached(machine, name):
    wait_until(lambda: name in ls(machine, "cached"), what=f"{name} to be cached")


def main_pid(machine, unit="glance-cache-fs"):
    return int(machine.show(unit, "MainPID"))


def worker_pid(machine):
    return int(machine.run("cat", f"/proc/{main_pid(machine)}/task/{main_pid(machine)}/children").stdout.split()[-1])


def status(machine):
    return json.loads(machine.run("cat", f"{MNT}/.status").stdout)


READER = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(fd).st_size
want = os.pread(fd, size, 0)
print("begun", flush=True)
for line in sys.stdin:
    got = os.pread(fd, size, 0)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    print("same" if got == want else "different", flush=True)
"""


class Reader:
    """Has an image open, and reads all of it again when asked."""

    def __init__(self, machine, name):
        self.process = subprocess.Popen(machine.command("python3", "-c", READER, f"{MNT}/images/{name}"), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "begun\n", self.process.stderr.read()

    def read(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


KEEPERS = (0, 1, 2, 3, 5, 6, 7, 8, 21)  # CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, KILL, SETGID, SETUID, SETPCAP, SYS_ADMIN


def can_pass_through(folder):
    """From Linux 6.9 on, when the cache does not lie on a file system that is itself over another."""
    kernel = tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups()))
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout.strip()
    return kernel >= (6, 9) and kind in ("ext2/ext3", "xfs", "btrfs", "tmpfs")


def test_the_mount(machine):
    """start returns when it is mounted; everyone sees it, and who does the work may do nothing else."""
    content = put(machine, "image", blob(3 * MIB, 1))
    enable, = (line for line in steps_of_the_readme() if "enable" in line)
    machine.run("sh", "-c", enable)
    machine.systemctl("enable", "--now", *(f"glance-cache-{job}.timer" for job in JOBS))
    assert machine.show("glance-cache-fs", "ActiveState") == "active" and machine.show("glance-cache-fs", "StatusText")
    same(read(machine, "image"), content)
    wait_cached(machine, "image")
    assert "image" in os.listdir(os.path.join(machine.folder, "cache", "image-cache"))
    keeper, worker = machine.status_of(main_pid(machine)), machine.status_of(worker_pid(machine))
    glance = machine.run("id", "-u", "glance").stdout.strip()
    assert worker["Uid"].split() == [glance] * 4 and keeper["Uid"].split() == ["0"] * 4
    assert int(worker["CapEff"], 16) == int(worker["CapPrm"], 16) == int(worker["CapBnd"], 16) == 0
    for process in (keeper, worker):
        assert process["NoNewPrivs"] == "1" and process["Seccomp"] == "2"
    assert int(keeper["CapBnd"], 16) & ~sum(1 << c for c in KEEPERS) == 0
    if can_pass_through(machine.folder):
        assert status(machine)["passthrough"] == "on"
    journal = machine.journal("glance-cache-fs")
    assert not re.search(r"warning|error|denied|not permitted", journal, re.I), journal


def test_reload(machine):
    """A new configuration is in force, and a reader notices nothing."""
    put(machine, "reloaded", blob(3 * MIB, 2))
    machine.start("glance-cache-fs")
    with Reader(machine, "reloaded") as reader:
        keeper, worker = main_pid(machine), worker_pid(machine)
        configure(machine, limit="7G")
        machine.systemctl("reload", "glance-cache-fs")
        wait_until(lambda: status(machine)["space"]["limit"] == 7 << 30, what="the new limit")
        wait_until(lambda: machine.show("glance-cache-fs", "ActiveState") == "active", what="the end of the reload")
        assert main_pid(machine) == keeper and worker_pid(machine) != worker
        assert reader.read() == "same"
        # a wrong one is refused, the old one stays in force
        machine.write("usr/local/etc/glance-cache/glance-cache.conf", "nonsense\n")
        assert machine.run("systemctl", "reload", "glance-cache-fs", check=False).returncode == 1
        wait_until(lambda: "nonsense" in machine.journal("glance-cache-fs") or "glance-cache.conf:1" in machine.journal("glance-cache-fs"),
                   what="the refusal")
        wait_until(lambda: machine.show("glance-cache-fs", "ActiveState") == "active", what="the end of the reload")
        assert reader.read() == "same" and status(machine)["space"]["limit"] == 7 << 30
        configure(machine)


def test_crashes(machine):
    """A killed worker is replaced, and readers go on; a killed keeper is started again by systemd, over its dead mount."""
    content = put(machine, "crashed", blob(3 * MIB, 3))
    machine.start("glance-cache-fs")
    with Reader(machine, "crashed") as reader:
        keeper, worker = main_pid(machine), worker_pid(machine)
        machine.run("sh", "-c", f"kill -KILL {worker}")
        assert reader.read() == "same"
        wait_until(lambda: worker_pid(machine) != worker, what="another worker")
        assert main_pid(machine) == keeper and machine.show("glance-cache-fs", "NRestarts") == "0"
    machine.run("sh", "-c", f"kill -KILL {keeper}")
    wait_until(lambda: main_pid(machine) not in (0, keeper) and machine.show("glance-cache-fs", "ActiveState") == "active", seconds=60,
               what="systemd to start it again")
    same(read(machine, "crashed"), content)
    assert mounted(machine) == 1, "the dead mount is still there below"


def test_restart_under_a_reader(machine):
    """Does not wait for who has an image open; what is opened then is served by the new one."""
    content = put(machine, "restarted", blob(3 * MIB, 4))
    machine.start("glance-cache-fs")
    with Reader(machine, "restarted"):
        keeper = main_pid(machine)
        machine.systemctl("restart", "glance-cache-fs")
        assert main_pid(machine) != keeper and machine.show("glance-cache-fs", "Result") == "success"
        same(read(machine, "restarted"), content)
        assert mounted(machine) == 1


def test_the_jobs(machine):
    """What the timers start does its work, as it is confined; the timers are set."""
    for name in ("first", "second"):
        put(machine, name, blob(MIB, len(name)))
    machine.start("glance-cache-fs")
    read(machine, "first")
    wait_cached(machine, "first")
    machine.run("mv", f"{MNT}/cached/first", f"{MNT}/invalid/")
    machine.run("touch", f"{MNT}/queued/second")
    for job in ("prefetcher", "cleaner", "verify"):
        machine.start(f"glance-cache-{job}.service")
        assert machine.show(f"glance-cache-{job}", "Result") == "success"
    assert ls(machine, "invalid") == ls(machine, "queued") == [] and "second" in ls(machine, "cached")
    machine.write("etc/default/glance-cache", 'PRUNER_OPTIONS="--to 1K"\n')
    machine.start("glance-cache-pruner.service")
    machine.write("etc/default/glance-cache", "")
    assert ls(machine, "cached") == []
    for job in JOBS:
        machine.start(f"glance-cache-{job}.timer")
        assert machine.show(f"glance-cache-{job}.timer", "NextElapseUSecRealtime") not in ("", "n/a")
    machine.systemctl("stop", *(f"glance-cache-{job}.timer" for job in JOBS))
    machine.systemctl("stop", "glance-cache-fs")
    for job in JOBS:  # and without a mount they fail, and say why
        assert machine.run("systemctl", "start", f"glance-cache-{job}.service", check=False).returncode != 0
        assert "nothing is mounted there" in machine.journal(f"glance-cache-{job}")


def test_secrets_of_the_environment(machine):
    """What /etc/default/glance-cache holds for the backend is for the mount only: not for the server that the network talks to."""
    names = ("OS_PASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    machine.write("etc/default/glance-cache", "".join(f"{name}=not-for-all\n" for name in names))
    try:
        machine.start("glance-cache-fs")
        machine.start("glance-cache-api")
        seen = {unit: machine.run("cat", f"/proc/{main_pid(machine, unit)}/environ").stdout for unit in ("glance-cache-fs", "glance-cache-api")}
    finally:
        machine.write("etc/default/glance-cache", "")
    assert all(f"{name}=not-for-all" in seen["glance-cache-fs"] for name in names)
    assert "not-for-all" not in seen["glance-cache-api"]


def test_the_http_server(machine):
    """Ready when it listens; it sees a mount that comes, goes and comes again, and may write to it."""
    def get(path, method="GET"):
        request = urllib.request.Request(f"http://127.0.0.1:{machine.port}{path}", method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()
    content = put(machine, "served", blob(3 * MIB, 5))
    machine.start("glance-cache-api")
    assert get("/healthcheck")[0] == 503
    machine.start("glance-cache-fs")
    wait_until(lambda: get("/healthcheck")[0] == 200, what="the mount to be seen")
    code, body = get("/images/served")
    assert code == 200
    same(body, content)
    wait_cached(machine, "served")
    same(get("/images/served")[1], content)
    assert get("/v2/cache/served", "DELETE")[0] == 204 and "served" not in ls(machine, "cached")
    assert get("/v2/cache/served", "PUT")[0] == 202
    wait_cached(machine, "served")
    machine.systemctl("restart", "glance-cache-fs")
    wait_until(lambda: get("/healthcheck")[0] == 200, what="the new mount to be seen")
    same(get("/images/served")[1], content)
    process = machine.status_of(main_pid(machine, "glance-cache-api"))
    assert process["Uid"].split() == [machine.run("id", "-u", "glance").stdout.strip()] * 4
    assert int(process["CapEff"], 16) == int(process["CapBnd"], 16) == 0 and process["NoNewPrivs"] == "1" and process["Seccomp"] == "2"
    machine.systemctl("stop", "glance-cache-api")
    assert machine.show("glance-cache-api", "Result") == "success"
