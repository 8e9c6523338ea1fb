# SPDX-License-Identifier: Apache-2.0
"""
A machine with the programs installed and a real systemd as its init: a container of systemd-nspawn whose root is an overlay over this
machine's, so that nothing of it lasts. The network is this machine's. Needs root, systemd-nspawn and overlayfs.
"""
import contextlib
import os
import re
import shutil
import signal
import subprocess

import pytest

from harness import binary, mounts, new_root
from waiting import PATIENCE, wait_until

TARGET = "[Unit]\nDescription=As much as services need\nRequires=sysinit.target\nAfter=sysinit.target\nAllowIsolate=yes\n"


def own_cgroups():
    """The folders of the hierarchies that systemd works with: its own, version 1 (by name) or 2."""
    places = {}
    for line in open("/proc/self/mountinfo"):
        left, right = line.split(" - ")
        point, kind, options = left.split()[4], right.split()[0], right.split()[2]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options):
            places["" if kind == "cgroup2" else "name=systemd"] = point
    for line in open("/proc/self/cgroup"):
        _, names, path = line.rstrip("\n").split(":", 2)
        if names in places:
            yield os.path.join(places[names], path.lstrip("/"))


class Machine:
    def __init__(self):
        for program in ("systemd-nspawn", "systemctl", "nsenter"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed")
        self.tree = os.path.dirname(os.path.dirname(binary()))
        if not os.path.exists(os.path.join(self.tree, "conf", "Makefile")):
            pytest.skip("the programs were not built in a tree with a Makefile")
        self.folder = new_root()  # shared with the container, as /test
        os.chmod(self.folder, 0o755)
        self.over = os.path.join(self.folder, "over")
        self.root = os.path.join(self.over, "root")
        self.cgroups = []
        self.process = self.leader = None

    # ---- its root

    def prepare(self, install=True):
        """An overlay, with the programs installed by make install unless INSTALL says no. What is written lies in memory: not on an overlay of another."""
        os.makedirs(self.over)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", self.over], check=True)
        for name in ("upper", "work", "root"):
            os.mkdir(os.path.join(self.over, name))
        done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                               f"lowerdir=/,upperdir={self.over}/upper,workdir={self.over}/work", self.root],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no overlay over this machine's root: {done.stderr.strip()}")
        if install:
            done = subprocess.run(["make", "-s", "-C", self.tree, "install", f"DESTDIR={self.root}"], capture_output=True, text=True,
                                  check=False)
            assert done.returncode == 0, done.stderr
        units = os.path.join(self.root, "etc", "systemd", "system")
        shutil.rmtree(units, ignore_errors=True)  # what this machine starts is not wanted there
        self.write("etc/systemd/system/test.target", TARGET)
        self.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        os.makedirs(os.path.join(self.root, "test"), exist_ok=True)

    def write(self, path, text, mode=0o644):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, mode), "w") as f:
            f.write(text)

    # ---- on and off

    def boot(self, *options):
        name = f"gcfs-test-{os.getpid()}"
        for parent in own_cgroups():
            self.cgroups.append(os.path.join(parent, name))
            os.mkdir(self.cgroups[-1])

        def enter():
            for cgroup in self.cgroups:
                with open(os.path.join(cgroup, "cgroup.procs"), "w") as f:
                    f.write("0")
        with open(os.path.join(self.folder, "console"), "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "systemd-nspawn", "--quiet", f"--directory={self.root}", f"--machine={name}",
                 "--register=no", "--keep-unit", "--console=pipe", "--capability=all", "--bind=/dev/fuse", f"--bind={self.folder}:/test",
                 *options, "--boot", "--", "--unit=test.target"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=enter)
        wait_until(self._booted, seconds=60, what="systemd to be up")

    def _booted(self):
        if self.process.poll() is not None:
            console = open(os.path.join(self.folder, "console"), errors="replace").read()
            pytest.skip(f"systemd-nspawn does not work here: {console.strip()[-300:]}")
        children = open(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read().split()
        for child in map(int, children):
            with contextlib.suppress(OSError):
                if open(f"/proc/{child}/comm").read().strip() == "systemd":
                    self.leader = child
        if self.leader is None:
            return False
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)  # halts the container
            try:
                self.process.wait(60 * PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for cgroup in self.cgroups:
            self._remove_cgroup(cgroup)
        for point, _ in reversed(mounts()):
            if point.startswith(os.path.realpath(self.folder) + "/"):
                subprocess.run(["umount", "-l", point], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _remove_cgroup(cgroup):
        """With all below it; kills what a container that did not end left there."""
        folders = [folder for folder, _, _ in os.walk(cgroup, topdown=False)]
        for folder in folders:
            with contextlib.suppress(OSError):
                for pid in open(os.path.join(folder, "cgroup.procs")).read().split():
                    os.kill(int(pid), signal.SIGKILL)

        def gone():
            for folder in folders:
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            return not os.path.exists(cgroup)
        wait_until(gone, what="the container's control groups to be empty")

    # ---- in it

    def command(self, *command):
        return ["nsenter", "--target", str(self.leader), "--all", "--", *map(str, command)]

    def run(self, *command, check=True, **options):
        done = subprocess.run(self.command(*command), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=120 * PATIENCE, check=False, **options)
        assert not check or done.returncode == 0, f"{command}: exit {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def systemctl(self, *command, **options):
        return self.run("systemctl", "--no-pager", *command, **options).stdout

    def show(self, unit, name):
        return self.systemctl("show", "--value", "-p", name, unit).strip()

    def journal(self, unit):
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit).stdout

    def start(self, unit):
        """A start that fails says why."""
        done = self.run("systemctl", "start", unit, check=False)
        assert done.returncode == 0, done.stderr + self.systemctl("status", unit, check=False) + self.journal(unit)[-3000:]

    def status_of(self, pid):
        """/proc/PID/status of a process there, by its number there."""
        text = self.run("cat", f"/proc/{pid}/status").stdout
        return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.M))
