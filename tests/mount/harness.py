# SPDX-License-Identifier: Apache-2.0
"""One glance-cache-fs under test: its folders, its configuration, its process, and what a test asks of its mount."""
import contextlib
import ctypes
import errno
import glob
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

import contract
from waiting import PATIENCE, wait_until

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KIB, MIB = 1 << 10, 1 << 20
PROBE = 256 * KIB  # what comes with the answer to a look-up
VIEWS = ("images", "cached", "queued", "incomplete", "invalid", "bootsets")
REFUSED = (errno.EPERM, errno.EROFS)  # what the view says to everything it does not offer
STRANGER = "65533"  # a user whom nothing belongs to: a worker may be nobody
UNREACHABLE = (errno.EIO, errno.EHOSTUNREACH)  # what it says when the backend does not answer

# Words in the log of a program that lives which say that it is broken. libfuse's word that the mount ended while it took a request is none.
SUSPICIOUS = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|[Aa]ssert|\bBUG\b|Segmentation|"
                        r"stack smashing|malloc\(\)|free\(\):|double free|"
                        r"fuse: (?!reading device: Software caused connection abort)|core dumped")


def binary():
    path = os.environ.get("GCFS_BINARY") or os.path.join(TOP, "build", "fs", "glance-cache-fs")
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"no program at {path}: build it, or name it in GCFS_BINARY")
    return path


def for_everybody(path, folder):
    """PATH, where every user can run it; else a copy in FOLDER: the build may lie below somebody's own folder."""
    reachable = ["setpriv", "--reuid", STRANGER, "--regid", STRANGER, "--clear-groups", "test", "-x", path]
    if subprocess.run(reachable, check=False).returncode == 0:
        return path
    copy = os.path.join(folder, os.path.basename(path))
    if not os.path.exists(copy):
        shutil.copy(path, copy)
        os.chmod(copy, 0o755)
    return copy


def program(*arguments):
    """Runs the program to its end (which is at once in the background, or with an error)."""
    return subprocess.run([binary(), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=30 * PATIENCE, check=False)


def blob(size, seed=1):
    """SIZE bytes that no other seed gives and in which no two blocks are equal."""
    return random.Random(seed).randbytes(size)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def same(got, want):
    """Compares bytes without printing megabytes when they differ."""
    if got != want:
        shorter = min(len(got), len(want))
        first = next((i for i in range(0, shorter, 4096) if got[i:i + 4096] != want[i:i + 4096]), shorter)
        raise AssertionError(f"{len(got)} bytes instead of {len(want)}, the first difference in the block at {first}")


def read(path, size=None, offset=0, step=MIB):
    """SIZE bytes from OFFSET (None: to the end), by pread."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return pread(fd, size, offset, step)
    finally:
        os.close(fd)


def pread(fd, size=None, offset=0, step=MIB):
    parts = []
    while size is None or size > 0:
        part = os.pread(fd, step if size is None else min(step, size), offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        size = None if size is None else size - len(part)
    return b"".join(parts)


def error_of(function, *args, **kwargs):
    """The errno a call fails with; 0 when it works."""
    try:
        function(*args, **kwargs)
    except OSError as e:
        return e.errno
    return 0


def name_of(number):
    return errno.errorcode.get(number, str(number))


def refused(function, *args, **kwargs):
    code = error_of(function, *args, **kwargs)
    assert code in REFUSED, f"{name_of(code)} instead of EPERM or EROFS: {function.__name__}{args}"


def raw_xattrs(path):
    return {n: os.getxattr(path, n).decode(errors="surrogateescape") for n in os.listxattr(path)}


def mounts():
    """(mount point, type) of all mounts, without asking any file system."""
    out = []
    for line in open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape"):
        fields = line.split()
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[4])
        out.append((point, fields[fields.index("-") + 1]))
    return out


def is_mounted(point):
    return any(p == os.path.realpath(os.path.dirname(point)) + "/" + os.path.basename(point) for p, _ in mounts())


def mounted_elsewhere(point):
    """Is it in the mount namespace of any process?"""
    for path in glob.glob("/proc/[0-9]*/mountinfo"):
        try:
            if any(line.split()[4].endswith(point) for line in open(path, encoding="utf-8", errors="surrogateescape")):
                return True
        except OSError:
            pass
    return False


def descendants(pid):
    """PID and all below it."""
    out, todo = [], [pid]
    while todo:
        pid = todo.pop()
        out.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                todo += map(int, open(f"/proc/{pid}/task/{task}/children").read().split())
        except OSError:
            pass
    return out


class Cache:
    """A cache directory with a mount point, and the program between them."""

    # Quick enough for tests, slow enough that a busy machine is not taken for a fault.
    DEFAULTS = {"image_cache_max_size": "10G", "min_free": 0, "log_level": "debug"}
    BACKEND = {"retries": 3, "retry_delay": 20, "stall_timeout": 30, "connect_timeout": 5}

    def __init__(self, root):
        self.root = root
        os.chmod(root, 0o755)
        self.dir = os.path.join(root, "cache")
        self.mnt = os.path.join(root, "mnt")
        self.conf = os.path.join(root, "glance-cache.conf")
        self.log = os.path.join(root, "daemon.log")
        os.makedirs(self.dir)
        os.makedirs(self.mnt)
        self.process = None
        self.children = []  # processes of the test
        self.expected = None  # a pattern of suspicious lines that the test provokes

    def be_of_glance(self):
        """The folders that Glance makes in its cache directory: in any other one, files of others are left alone."""
        for place in ("incomplete", "invalid", "queue"):
            os.makedirs(os.path.join(self.dir, place), exist_ok=True)

    # ---- the program

    def configure(self, backend, **options):
        """BACKEND: the [backend] section, or an origin. OPTIONS: of [DEFAULT]."""
        section = backend if isinstance(backend, dict) else backend.config()
        common = self.BACKEND if section.get("type") == "http" else {}
        self.write_conf({"image_cache_dir": self.dir, **self.DEFAULTS, **options}, {**common, **section})
        return self

    def write_conf(self, default, backend):
        lines = ["[DEFAULT]"] + [f"{k} = {v}" for k, v in default.items()]
        lines += ["", "[backend]"] + [f"{k} = {v}" for k, v in backend.items()]
        with open(self.conf, "w") as f:
            f.write("\n".join(lines) + "\n")

    def command(self, *options):
        return [binary(), "-f", *options, self.conf, self.mnt]

    def mount(self, *options):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.command(*options)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._mounted, what="the mount")
        os.stat(self.mnt)
        return self

    def _mounted(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the program ended with {self.process.returncode}:\n{self.logged()[-3000:]}")
        return is_mounted(self.mnt)

    def unmount(self):
        """As an operator does it; the program must end by itself, with exit code 0."""
        def gone():
            done = subprocess.run(["umount", self.mnt], stderr=subprocess.PIPE, text=True)
            return done.returncode == 0 or not is_mounted(self.mnt)
        wait_until(gone, seconds=10, what="umount")
        self._ended()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        self._ended()
        assert not is_mounted(self.mnt)

    def _ended(self):
        process, self.process = self.process, None
        try:
            code = self._wait_for_end(process)
        except subprocess.TimeoutExpired:
            self.process = process
            self.keep_stacks(os.path.join(self.root, "stacks"))
            raise AssertionError(f"the program did not end within {30 * PATIENCE:.0f} s") from None
        assert code == 0, f"the program ended with {code}:\n{self.logged()[-3000:]}"

    def _wait_for_end(self, process):
        """Longer while another mount namespace, made by a test beside this one, has the mount still: the program serves it."""
        for _ in range(9):
            try:
                return process.wait(30 * PATIENCE)
            except subprocess.TimeoutExpired:
                if not mounted_elsewhere(self.mnt):
                    raise
        return process.wait(30 * PATIENCE)

    def restart(self):
        self.unmount()
        self.mount()

    def kill(self):
        """SIGKILL, as a crash or the OOM killer would; what it leaves mounted is taken away."""
        self.kill_and_leave()
        if is_mounted(self.mnt):
            subprocess.run(["umount", "-l", self.mnt], check=False)

    def kill_and_leave(self):
        if self.process is not None:
            for pid in descendants(self.process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
            self.process = None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def run(self, *options):
        """For what should not mount."""
        return program("-f", *options, self.conf, self.mnt)

    def sql(self, statement):
        """Runs STATEMENT on the catalogue; the rows it gives."""
        with contextlib.closing(sqlite3.connect(os.path.join(self.dir, ".catalogue.db"), timeout=60)) as db, db:
            return db.execute(statement).fetchall()

    def logged(self):
        try:
            return open(self.log, encoding="utf-8", errors="replace").read()
        except FileNotFoundError:
            return ""

    def memory(self, field="VmRSS"):
        """KiB of all processes of the program."""
        total = 0
        for pid in descendants(self.process.pid):
            try:
                m = re.search(field + r":\s+(\d+)", open(f"/proc/{pid}/status").read())
                total += int(m[1]) if m else 0
            except OSError:
                pass
        return total

    # ---- processes of the test

    def spawn(self, *command, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)], **options)
        self.children.append(process)
        return process

    def python(self, code, *args, **options):
        """A Python program of its own: what faults pages in must not hold this interpreter's lock."""
        return self.spawn(sys.executable, "-c", code, *args, **options)

    def shell(self, command, check=True, timeout=60):
        """A command line with the mount as its working directory."""
        done = subprocess.run(["bash", "-c", command], cwd=self.mnt, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True,
                              errors="surrogateescape", timeout=timeout * PATIENCE)
        if check:
            assert done.returncode == 0, f"{command}: exit {done.returncode}: {done.stderr}"
        return done

    # ---- the view

    def path(self, *parts):
        return os.path.join(self.mnt, *parts)

    def image(self, name):
        return os.path.join(self.mnt, "images", name)

    def read(self, name, *args, **kwargs):
        return read(self.image(name), *args, **kwargs)

    def ls(self, view):
        return sorted(os.listdir(self.path(view)))

    def ls_some(self, view):
        """What ls prints, also when it ends with an error because the list may not be whole."""
        return self.shell(f"ls -1 {view}", check=False).stdout.splitlines()

    def status(self):
        return contract.check("status", json.loads(read(self.path(".status"))))

    def xattr(self, name, key, view="images"):
        return os.getxattr(self.path(view, name), "user.glance." + key).decode(errors="surrogateescape")

    def error(self, name):
        """Why the image cannot be read; "" when it can."""
        try:
            return self.xattr(name, "error")
        except OSError as e:
            if e.errno != errno.ENODATA:
                raise
            return ""

    def bytes_cached(self, name):
        return int(self.xattr(name, "bytes_cached"))

    def entry(self, view, name):
        """The one JSON line of queued/ and invalid/."""
        text = read(self.path(view, name)).decode()
        assert text.endswith("\n") and text.count("\n") == 1, f"not one line: {text!r}"
        value = json.loads(text)
        assert isinstance(value, dict)
        return contract.check(view, value)

    def has(self, view, name):
        return os.path.lexists(self.path(view, name))

    def wait_has(self, view, name, there=True, seconds=20):
        wait_until(lambda: self.has(view, name) == there, seconds, f"{view}/{name} to {'appear' if there else 'go'}")

    def wait_cached(self, name, seconds=30):
        self.wait_has("cached", name, True, seconds)

    def touch(self, view, name):
        """As touch(1) makes a file."""
        os.close(os.open(self.path(view, name), os.O_WRONLY | os.O_CREAT, 0o644))

    def snapshot(self, place=""):
        """{path: (size, digest)} of the regular files in the cache directory."""
        out = {}
        for folder, _, names in os.walk(os.path.join(self.dir, place)):
            for n in names:
                path = os.path.join(folder, n)
                out[os.path.relpath(path, self.dir)] = (os.path.getsize(path), sha(open(path, "rb").read()))
        return out

    def stored(self, name):
        return open(os.path.join(self.dir, name), "rb").read()

    # ---- the end

    def unmount_all(self):
        """Also what a test mounted, or the program where it should not have."""
        for point, _ in reversed(mounts()):
            if point.startswith(os.path.realpath(self.root) + "/"):
                subprocess.run(["umount", "-l", point], check=False)

    def keep_stacks(self, path):
        """Where each thread of the program is: in the kernel, and by gdb, where there is one."""
        with open(path, "ab") as out:
            for pid in descendants(self.process.pid):
                for task in sorted(glob.glob(f"/proc/{pid}/task/*")):
                    for name in ("comm", "wchan", "stack"):
                        try:
                            out.write(f"{task} {name}: ".encode() + open(os.path.join(task, name), "rb").read() + b"\n")
                        except OSError:
                            pass
                out.flush()
                if shutil.which("gdb"):
                    subprocess.run(["gdb", "-batch", "-p", str(pid), "-ex", "thread apply all bt"], stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=out, timeout=60, check=False)

    def give_up(self, artefacts=None):
        """Ends a program that hangs, so that whoever waits for it gets an error; keeps its stacks."""
        if artefacts and self.process is not None:
            os.makedirs(artefacts, exist_ok=True)
            self.keep_stacks(os.path.join(artefacts, "stacks"))
        self.kill()

    def close(self, in_order=True):
        """Leaves nothing behind. Raises when the program did not end as it should, or logged something suspicious."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdout, child.stderr):
                if stream:
                    stream.close()
        trouble = []
        try:
            if self.process is not None and self.process.poll() is not None:
                trouble.append(f"the program had ended with {self.process.returncode}")
            elif self.process is not None and in_order:
                self.unmount()
        except AssertionError as e:
            trouble.append(str(e))
        finally:
            self.kill()
        for line in self.logged().splitlines():
            if SUSPICIOUS.search(line) and not (self.expected and re.search(self.expected, line)):
                trouble.append("suspicious: " + line)
        if trouble:
            raise AssertionError("\n".join(trouble[:20]))


libc = ctypes.CDLL(None, use_errno=True)


def new_root():
    return tempfile.mkdtemp(prefix="gcfs-test.", dir=os.environ.get("GCFS_TEST_TMP"))


def drop_page_cache():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("1")
    time.sleep(0)
