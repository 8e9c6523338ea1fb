# SPDX-License-Identifier: Apache-2.0
"""glance-cache-top(1): once, as JSON, on a screen."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios

import contract
from harness import MIB
from tools import fill, folder_of_images, path_of
from waiting import PATIENCE, wait_until

DONE, FAILED, DEGRADED = 0, 1, 2


def top(*arguments):
    return subprocess.run([path_of("glance-cache-top"), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60 * PATIENCE, check=False)


def test_once_and_json(make_cache):
    cache = make_cache()
    fill(cache, folder_of_images(cache, 2))
    with open(cache.path("cached", "image-00"), "rb") as f:
        f.read(1)
        done = top("--mount", cache.mnt, "--once")
        assert done.returncode == DONE and "\nOK\n" in done.stdout and "2 cached" in done.stdout and "1 open handles" in done.stdout
        assert re.search(r"CACHED, BUSIEST.*\nimage-00 +1 .*\nimage-01 +0 ", done.stdout)  # what is open stands first
        done = top("--mount", cache.mnt, "--json")
        value = contract.check("top", json.loads(done.stdout))
    assert done.returncode == DONE and value["troubles"] == [] and value["cache"]["images"]["cached"] == 2
    assert [(i["image"], i["open"], i["size"]) for i in value["busiest"]] == [("image-00", 1, MIB), ("image-01", 0, MIB)]


def test_what_is_wrong(make_cache):
    cache = make_cache()
    fill(cache, folder_of_images(cache, 1))
    os.rename(cache.path("cached", "image-00"), cache.path("invalid", "image-00"))
    done = top("--mount", cache.mnt, "--once")
    assert done.returncode == DEGRADED and "DEGRADED  1 image failed" in done.stdout and "FAILED" in done.stdout


def test_mistakes(tmp_path):
    for arguments, says in (([tmp_path], "more than it takes"), (["--interval", "x"], "not a whole number"), (["--mount", tmp_path], "nothing is mounted"),
                            (["--url", "http://127.0.0.1:9", "--once"], "127.0.0.1"), (["--url", "u", "--mount", tmp_path], "give one of them")):
        done = top(*arguments)
        assert done.returncode == FAILED and says in done.stderr and done.stdout == "", done


def test_on_a_screen(make_cache):
    """Shown, resized, kept while the mount is away, ended by q."""
    cache = make_cache()
    folder_of_images(cache, 1)
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", LC_ALL="C.UTF-8")
        os.execv(path_of("glance-cache-top"), ["glance-cache-top", "--mount", cache.mnt, "--interval", "1"])
    seen = b""

    def shows(text):
        nonlocal seen
        while select.select([fd], [], [], 0)[0]:
            seen += os.read(fd, 65536)
        return text in seen

    try:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        wait_until(lambda: shows(b"Images") and shows(b"q ends"))
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
        os.kill(pid, signal.SIGWINCH)
        wait_until(lambda: shows(b"scroll"))
        cache.unmount()
        wait_until(lambda: shows(b"cannot be looked at"))
        os.write(fd, b"q")
        wait_until(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        pid = 0
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(fd)
