# SPDX-License-Identifier: Apache-2.0
"""Programs that look for the mount believe root's, their own user's and the cache directory's owner's: anybody may mount something that says
it is a glance-cache-fs of any configuration."""
import os
import shutil
import subprocess

import pytest

from harness import binary, for_everybody
from test_mounting import device_for_all  # noqa: F401  (a fixture)
from tools import folder_of_images, tool
from waiting import wait_until

USER = 65534
AS_USER = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"]


def mounted():
    """{mount point: id of the user} of the mounts of our type."""
    lines = [line.split() for line in open("/proc/self/mountinfo") if " fuse.glance-cache-fs " in line]
    return {line[4]: line[-1].partition("user_id=")[2].partition(",")[0] for line in lines}


@pytest.fixture
def strangers(device_for_all, make_cache):  # noqa: F811
    """strangers(*options) → a mount of another user's, of a folder with one image."""
    if not shutil.which("fusermount3") or not os.stat(shutil.which("fusermount3")).st_mode & 0o4000:
        pytest.skip("no setuid fusermount3")
    mounts = []

    def make(*options):
        cache = make_cache()
        folder = os.path.join(cache.root, "images")
        os.makedirs(folder)
        with open(os.path.join(folder, "image"), "wb") as f:
            f.write(b"a stranger's")
        cache.configure({"type": "file", "path": folder})
        for path in (cache.dir, cache.mnt):
            os.chown(path, USER, USER)
        command = [*AS_USER, "setpriv", "--pdeathsig", "KILL", for_everybody(binary(), cache.root), *cache.command(*options)[1:]]
        with open(cache.log, "ab") as log:
            cache.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        point = os.path.realpath(cache.mnt)
        wait_until(lambda: point in mounted() or cache.process.poll() is not None, what="the mount")
        assert cache.process.poll() is None, cache.logged()
        mounts.append(cache)
        return cache
    yield make
    for cache in mounts:
        subprocess.run([*AS_USER, "fusermount3", "-u", cache.mnt], stdin=subprocess.DEVNULL, check=False, timeout=30)
        process, cache.process = cache.process, None
        process.wait(30)


@pytest.mark.parametrize("program", ["pruner", "cleaner", "prefetcher"])
def test_a_strangers_mount_beside_ours(cache, strangers, program):
    """It does not make ours ambiguous."""
    folder_of_images(cache, 1)
    strangers()
    done = tool(program, "--config-file", cache.conf, code=0)
    assert "more than one" not in done.stderr
    if [point for point, user in mounted().items() if user == "0"] == [os.path.realpath(cache.mnt)]:  # no other tests' mounts
        tool(program, code=0)


def test_a_strangers_mount_with_our_name(cache, strangers):
    """Ours is not there, and one says it is of our configuration: there is no mount. By name it may be used."""
    cache.configure({"type": "file", "path": cache.dir})
    foreign = strangers("-o", "fsname=" + cache.conf)
    done = tool("pruner", "--config-file", cache.conf, code=1)
    assert "no glance-cache-fs with the configuration" in done.stderr
    assert f"{os.path.realpath(foreign.mnt)} is a mount of user {USER}" in done.stderr


def test_a_source_that_is_no_file(cache, strangers):
    """Opening it would wait for ever."""
    fifo = os.path.join(cache.root, "fifo")
    os.mkfifo(fifo, 0o666)
    folder_of_images(cache, 1)
    strangers("-o", "fsname=" + fifo)
    tool("pruner", "--config-file", cache.conf, code=0, timeout=20)


def test_the_owner_of_the_cache_directory(strangers):
    """A mount of the user whom the cache belongs to is that of the configuration, for root, too: it is found, and then refuses root."""
    own = strangers()
    done = tool("pruner", "--config-file", own.conf, code=1)
    assert "run as the user that mounted it" in done.stderr
    program = for_everybody(os.path.join(os.environ.get("GCFS_TOOLS") or os.path.join(os.path.dirname(os.path.dirname(binary())), "tools"),
                                         "glance-cache-pruner"), own.root)
    subprocess.run([*AS_USER, program, "--config-file", own.conf], stdin=subprocess.DEVNULL, timeout=60, check=True)
