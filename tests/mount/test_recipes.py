# SPDX-License-Identifier: Apache-2.0
"""The RPM's spec and the container's recipe: they parse, name what there is, and what the container runs does what it says."""
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request

import pytest

from harness import KIB, TOP, blob, is_mounted
from test_conf import PROGRAMS, program
from waiting import wait_until

SPEC = os.path.join(TOP, "rpm", "glance-cache-fs.spec")


def text_of(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


def test_the_spec_parses():
    if shutil.which("rpmspec") is None:
        pytest.skip("rpmspec is not installed")
    done = subprocess.run(["rpmspec", "-P", SPEC], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    names = subprocess.run(["rpmspec", "-q", "--qf", "%{name} %{version}\\n", SPEC], capture_output=True, text=True, check=True).stdout.split("\n")
    version = re.search(r"AC_INIT\(\[glance-cache-fs\], \[([^]]+)\]", text_of("configure.ac"))[1]
    assert {f"glance-cache-fs {version}", f"glance-cache-api {version}"} <= set(names)


def test_the_spec_has_all_that_is_installed():
    """Each program, unit and manual is in %files, under the name it has there."""
    spec = text_of("rpm", "glance-cache-fs.spec")
    files = [line.split("/", 1)[1] for line in spec[spec.index("%files\n"):].splitlines() if line.startswith("%{_")]
    shared = re.search(r"%global shared (.*)", spec)[1].split()
    names = [f"glance-cache-fs-{n[13:]}" if n[13:] in shared else n for n in PROGRAMS]
    names += [os.path.basename(p).removesuffix(".in") for p in glob.glob(os.path.join(TOP, "conf", "systemd", "*.in"))]
    names += [f"man{p[-1]}/" + os.path.basename(p) for p in glob.glob(os.path.join(TOP, "doc", "*.8"))]
    for name in names:
        assert any(re.fullmatch(re.escape(f).replace("\\*", "[^/]*"), name) for f in files), name


def test_the_build_wants_what_configure_wants():
    """Every library that configure looks for by pkg-config is one that the RPM is built with, and the container."""
    wanted = set(re.findall(r"^GCFS_NEED\(\[\w+\], \[([a-z0-9-]+)", text_of("configure.ac"), re.M))
    told = set(re.findall(r"pkgconfig\(([^)]+)\)", text_of("rpm", "glance-cache-fs.spec")))
    assert len(wanted) > 5 and wanted - told == set()
    build = re.search(r'^build="([^"]*)"', text_of("tests", "install-deps"), re.M)[1].split()
    missing = [package for package in build if package not in text_of("container", "Containerfile") and package != "gcc"]
    assert missing == []


def test_what_the_container_runs(cache, origin, tmp_path):
    """container/run: the mount and the server; a signal ends both, and unmounts."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("glance-cache-fs", "glance-cache-api"):
        (programs / name).symlink_to(program(name))
    origin.put("image", blob(100 * KIB, 1))
    cache.configure(origin)

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with open(cache.conf, "a") as f:
        f.write(f"[api]\nlisten = 127.0.0.1:{port}\n")
    process = cache.spawn(os.path.join(TOP, "container", "run"), cache.conf, cache.mnt, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"})

    def served():
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/images/image", timeout=10).read()
        except OSError:
            return None
    assert wait_until(served) == blob(100 * KIB, 1)
    assert is_mounted(cache.mnt)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert not is_mounted(cache.mnt)
