# SPDX-License-Identifier: Apache-2.0
"""Each command in README.md and the guides is run here, or stands below with what runs it instead. Names in them become those of this test."""
import os
import re
import subprocess

import pytest

from harness import KIB, TOP, binary as fs_binary, blob
from server import binary
from tools import path_of
from waiting import PATIENCE, wait_until

DOCUMENTS = ("README.md", "doc/OPERATORS.md", "doc/FLEET.md", "doc/PERFORMANCE.md")
IMAGES = ("jammy.img", "noble.img", "debian-12.qcow2", "ID")
# Lines that are no commands: of a configuration, of a drawing.
NO_COMMAND = re.compile(r"\[[A-Za-z]+\]|[a-z_]+ = |(site node|each host|host|origin) {2,}|libinih-dev")
# What another test runs, or a person: a pattern, and who.
ELSEWHERE = (
    (r"tools/quickstart|tests/run|autoreconf|apt(-get)? install|\./configure|make && make install|dpkg-buildpackage", "tests/fresh"),
    (r"systemctl |systemd-sysusers|install -d", "mount/test_systemd.py, mount/test_package.py"),
    (r"vi |xdg-open ", "a person"),
    (r"make bench", "too long for a test; its parts: test_the_figures"),
    (r"glance --os-image-url", "api/test_clients.py"),
    (r"mount -t fuse.glance-cache-fs|glance-cache-fs /etc", "mount/test_mounting.py"),
    (r"glance-cache-api --mount", "the fixture of this test"),
)
ENDLESS = r"glance-cache-manage watch"  # ended by a signal
# Those that end otherwise than with 0 here, and are right: 2 where passthrough is off, 1 where there is no error.
ENDS = ((ENDLESS, {124}), (r"glance-cache-top", {0, 2}), (r"getfattr -n user.glance.error", {1}))


def commands():
    out = []
    for name in DOCUMENTS:
        with open(os.path.join(TOP, name), encoding="utf-8") as f:
            text = f.read()
        lines = re.findall(r"^    (?! )(.*)$", text, re.M)
        lines += re.findall(r"`((?:glance-cache-[a-z]+|getfattr|setfattr|jq|find) [^`]+)`", text)
        for line in lines:
            line = re.sub(r"\s+#.*$", "", line).replace("\\|", "|")
            if not NO_COMMAND.match(line) and (name, line) not in out:
                out.append((name, line))
    return out


def elsewhere(line):
    return any(re.match(pattern, line) for pattern, _ in ELSEWHERE)


def test_there_are_some():
    lines = [line for _, line in commands()]
    assert len(lines) > 40 and len([line for line in lines if not elsewhere(line)]) > 25


@pytest.fixture
def place(folder, make_api, tmp_path):
    """run(line) with the programs in PATH, the mount and the server in the names of the documents."""
    for i, name in enumerate(IMAGES):
        folder.put(name, blob(20 * KIB, i))
    folder.mount()
    api = make_api(folder)
    for name in IMAGES:
        folder.read(name)
        folder.wait_cached(name)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("pruner", "cleaner", "prefetcher", "top"):
        (programs / f"glance-cache-{name}").symlink_to(path_of(f"glance-cache-{name}"))
    (programs / "glance-cache-fs").symlink_to(fs_binary())
    (programs / "glance-cache-manage").symlink_to(binary("GCFS_MANAGE_BINARY", "tools", "manage", "glance-cache-manage"))
    here = f"127.0.0.1:{api.port}"

    def run(line):
        names = {"/etc/glance-cache/glance-cache.conf": folder.conf, "/srv/glance": folder.mnt, "/mnt/images": folder.mnt,
                 "http://127.0.0.1:9292": api.url, "node-[01-40]": here, "-H node-1 -H node-2": f"-H {here} -H localhost:{api.port}",
                 "--online FILE": f"--online {folder.conf}", "tests/bench": os.path.join(TOP, "tests", "bench")}
        line = re.sub("|".join(map(re.escape, names)), lambda m: names[m[0]], line)
        line = re.sub(r"(glance-cache-(?:pruner|cleaner|prefetcher|top)\b)(?! --mount)", rf"\1 --mount {folder.mnt}", line)
        if re.match(ENDLESS, line):
            line = "timeout -s INT 1 " + line
        if "--file -" in line:
            line = f"ls {folder.mnt}/images | " + line
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "GLANCE_CACHE_HOSTS": here, "TERM": "dumb"}
        return subprocess.run(["bash", "-c", line], cwd=folder.mnt if re.match(r"getfattr|setfattr|find|rm|jq", line) else tmp_path, env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * PATIENCE, check=False)
    run.folder = folder
    return run


def test_each_is_run(place):
    """One after the other on one cache, which is filled anew where a command emptied it."""
    wrong = []
    for name, line in commands():
        if elsewhere(line):
            continue
        done = place(line)
        if done.returncode not in next((ends for pattern, ends in ENDS if re.match(pattern, line)), {0}):
            wrong.append(f"{name}: {line}: exit {done.returncode}: {done.stdout[-200:]}{done.stderr[-400:]}")
        for image in IMAGES:
            place.folder.read(image)
            wait_until(lambda image=image: place.folder.has("cached", image))
    assert not wrong, "\n".join(wrong)


def test_the_figures():
    """The table and the plot are of doc/bench.json; the pictures are there."""
    done = subprocess.run([os.path.join(TOP, "tests", "bench", "figures")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as f:
        for path in re.findall(r"\]\((doc/[^)#]+)", f.read()):
            assert os.path.exists(os.path.join(TOP, path)), path
