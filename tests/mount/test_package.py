# SPDX-License-Identifier: Apache-2.0
"""The Debian packages: built from the sources, looked at by lintian, installed, upgraded below a reader and purged on a booted machine."""
import contextlib
import glob
import os
import re
import shutil
import subprocess

import pytest

from harness import MIB, TOP, blob, new_root
from machine import Machine
from waiting import PATIENCE, wait_until

MNT = "/srv/glance"
GLANCES = ("manage", "cleaner", "prefetcher", "pruner")  # names that belong to Debian's glance-api


@pytest.fixture(scope="module")
def packages():
    """{name: path} of the packages, built as a packager would: a clean copy of the sources, dpkg-buildpackage."""
    if shutil.which("dpkg-buildpackage") is None or shutil.which("dh") is None:
        pytest.skip("dpkg-dev and debhelper are not installed")
    root = new_root()
    try:
        yield build(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def build(root):
    source = os.path.join(root, "glance-cache-fs-0.1.0")
    os.mkdir(source)
    listed = subprocess.run(["git", "-C", TOP, "ls-files", "-z"], capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("the sources are no clone")
    for name in listed.stdout.split(b"\0"):
        path = os.path.join(TOP.encode(), name)
        if name and os.path.lexists(path):
            os.makedirs(os.path.join(source.encode(), os.path.dirname(name)), exist_ok=True)
            shutil.copy2(path, os.path.join(source.encode(), name), follow_symlinks=False)
    with open(os.path.join(root, "log"), "wb") as log:
        done = subprocess.run(["dpkg-buildpackage", "-us", "-uc", "-b"], cwd=source, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                              env={**os.environ, "DEB_BUILD_OPTIONS": f"nocheck parallel={os.cpu_count()}"}, check=False)
    assert done.returncode == 0, open(os.path.join(root, "log"), errors="replace").read()[-4000:]
    found = {os.path.basename(path).split("_")[0]: path for path in glob.glob(os.path.join(root, "*.deb")) if "dbgsym" not in path}
    assert set(found) == {"glance-cache-fs", "glance-cache-api"}
    return found


def contents(path):
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], capture_output=True, check=True)
    names = subprocess.run(["tar", "-t"], input=done.stdout, capture_output=True, check=True).stdout.decode().split()
    return {name.lstrip(".") for name in names if not name.endswith("/")}


@pytest.mark.deadline(400)
def test_what_is_in_them(packages):
    """Nothing that glance-api has, nothing of this build, all programs with a manual."""
    all_files = set()
    for path in packages.values():
        files = contents(path)
        assert not all_files & files
        all_files |= files
    for name in GLANCES:
        assert f"/usr/bin/glance-cache-{name}" not in all_files and f"/usr/share/man/man1/glance-cache-{name}.1.gz" not in all_files
        assert f"/usr/bin/glance-cache-fs-{name}" in all_files and f"/usr/libexec/glance-cache-fs/glance-cache-{name}" in all_files
    programs = {os.path.basename(name) for name in all_files if name.startswith("/usr/bin/")}
    manuals = {os.path.basename(name).rsplit(".", 2)[0] for name in all_files if "/man/man" in name}
    assert programs <= manuals and len(programs) == 7
    assert not [name for name in all_files if name.startswith("/usr/local")]


@pytest.mark.deadline(400)
def test_lintian(packages):
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    done = subprocess.run(["lintian", "--allow-root", "--suppress-tags", "initial-upload-closes-no-bugs", *packages.values()], capture_output=True,
                          text=True, timeout=300 * PATIENCE, check=False)
    assert [line for line in done.stdout.splitlines() if re.match("[EW]:", line)] == []


@pytest.fixture(scope="module")
def machine(packages):
    one = Machine()
    try:
        one.prepare(install=False)
        os.mkdir(os.path.join(one.folder, "images"))
        with open(os.path.join(one.folder, "images", "a.img"), "wb") as f:
            f.write(blob(MIB, 1))
        for path in packages.values():
            shutil.copy(path, one.folder)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(one.root, "usr/sbin/policy-rc.d"))  # of a machine that is itself a container: starts and stops nothing
        one.boot()
        yield one
    finally:
        one.close()


def mounted(machine):
    return machine.run("cat", "/proc/self/mountinfo").stdout.count(f" {MNT} ")


def install(machine, packages):
    machine.run("dpkg", "-i", *("/test/" + os.path.basename(path) for path in packages.values()), env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


@pytest.mark.deadline(400)
def test_installed_upgraded_and_purged(machine, packages):
    """Four commands to the first image; an upgrade below a reader; a purge that leaves the images."""
    install(machine, packages)
    assert machine.run("systemctl", "is-active", "glance-cache-fs", check=False).stdout.strip() == "inactive"
    machine.run("sed", "-i", "s|^path = .*|path = /test/images|", "/etc/glance-cache/glance-cache.conf")
    machine.start("glance-cache-fs")
    machine.run("cmp", f"{MNT}/images/a.img", "/test/images/a.img")
    halves = f"exec 3<{MNT}/images/a.img; dd bs=1000 count=1 status=none <&3; read -r go; cat <&3"
    reader = subprocess.Popen(machine.command("sh", "-c", halves), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        first = reader.stdout.read(1000)
        machine.start("glance-cache-api")
        machine.systemctl("enable", "--quiet", "glance-cache-fs", "glance-cache-api", "glance-cache-pruner.timer")
        wait_until(lambda: machine.run("ls", f"{MNT}/cached").stdout.split() == ["a.img"])
        assert machine.run("stat", "-c", "%U %a", "/var/lib/glance/image-cache").stdout.split() == ["glance", "750"]
        keeper = machine.show("glance-cache-fs", "MainPID")
        starts = worker_starts(machine)
        install(machine, packages)  # the same version again goes the way of a newer one
        wait_until(lambda: worker_starts(machine) == starts + 1, what="the hand-over")
        assert machine.show("glance-cache-fs", "MainPID") == keeper and mounted(machine) == 1
        reader.stdin.write(b"go\n")
        reader.stdin.close()
        assert first + reader.stdout.read() == blob(MIB, 1)
        assert machine.run("glance-cache-fs-pruner", "--version").returncode == 0
    finally:
        reader.kill()
        reader.wait()
    machine.run("dpkg", "--purge", "glance-cache-api", "glance-cache-fs")
    assert mounted(machine) == 0
    left = machine.run("find", "/etc/glance-cache", "/etc/default/glance-cache", "/usr/bin/glance-cache-fs", "/srv/glance",
                       "/etc/systemd/system/multi-user.target.wants/glance-cache-fs.service",
                       "/etc/systemd/system/multi-user.target.wants/glance-cache-api.service",
                       "/etc/systemd/system/timers.target.wants/glance-cache-pruner.timer", check=False).stdout.split()
    assert left == []
    assert "a.img" in machine.run("ls", "/var/lib/glance/image-cache").stdout.split()


def worker_starts(machine):
    text = machine.run("cat", f"{MNT}/.status", check=False).stdout
    found = re.search(r'"worker_starts": (\d+)', text)
    return int(found[1]) if found else 0
