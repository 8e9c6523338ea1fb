# SPDX-License-Identifier: Apache-2.0
"""The machine on a real mount: an answer that is broken on purpose is found, shrunk, and kept as a history that fails alone; nothing is left."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest
from harness import binary, mounts
from waiting import PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))
KNOWN = os.path.join(HERE, "known")

# Serves one byte in so many otherwise than the model says, from the middle of an image on.
BREAK = """
import sys
sys.path[:0] = [{here!r}, {mount!r}]
import cloud
offer = cloud.Endpoint.offer
def broken(self, name, version, *how):
    offer(self, name, version, *how)
    content = bytearray(self.blobs[name].content)
    if len(content) > 1000:
        content[len(content) // 2] ^= 1
    self.blobs[name].content, self.blobs[name].headers = bytes(content), {{}}
cloud.Endpoint.publish_sum = lambda *_: None
cloud.Endpoint.offer = broken
sys.argv = ["run", *sys.argv[1:]]
exec(compile(open({run!r}).read().replace("__file__", repr({run!r})), {run!r}, "exec"))
"""


def run(*arguments, code=None, **more):
    done = subprocess.run([sys.executable, *code, *map(str, arguments)] if code else [os.path.join(HERE, "run"), *map(str, arguments)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400 * PATIENCE, check=False, **more)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(autouse=True)
def room(monkeypatch):
    """A folder for what the machine makes; it leaves nothing there."""
    folder = tempfile.mkdtemp(prefix="gcfs-machine.", dir=os.environ.get("GCFS_TEST_TMP"))
    os.chmod(folder, 0o755)
    monkeypatch.setenv("GCFS_TEST_TMP", folder)
    yield folder
    left = os.listdir(folder), [p for p, _ in mounts() if p.startswith(folder)]
    subprocess.run(["umount", "-l", *left[1]], check=False) if left[1] else None
    shutil.rmtree(folder, ignore_errors=True)
    assert left == ([], [])


def test_a_wrong_byte_is_found_and_shrunk(tmp_path):
    broken = ["-c", BREAK.format(here=HERE, mount=os.path.join(os.path.dirname(HERE), "mount"), run=os.path.join(HERE, "run"))]
    done = run("--seed", 5, "--histories", 20, "--acts", "evictions", "--kept", tmp_path, code=broken)
    assert done.returncode == 1 and re.search(r"FAILED: the history of seed \d+: bytes: ", done.stdout), done.stdout
    kept = [p for p in tmp_path.iterdir() if p.suffix == ".json"]
    assert len(kept) == 1
    history = json.loads(kept[0].read_text())
    assert len(history["acts"]) <= 3 and history["acts"][0]["do"] == "publish", history["acts"]
    again = run("--replay", kept[0], code=broken)
    assert again.returncode == 1 and "bytes: " in again.stdout
    assert run("--replay", kept[0]).returncode == 0


def test_an_error_without_a_reason_is_found(tmp_path):
    """The digest that is published is a wrong one, and the history does not say so."""
    path, publish = tmp_path / "h.json", {"do": "publish", "image": "b", "size": 5000, "at": 0, "endpoints": [0], "etag": "strong", "dated": True}
    setup = {"endpoints": 1, "options": {}, "backend": {"retries": 0, "retry_delay": 10, "stall_timeout": 30, "connect_timeout": 5}}
    for digest, code in (("header", 0), ("wrong-header", 0)):
        acts = [{**publish, "digest": digest}, {"do": "open", "agent": 1, "handle": 1, "image": "b"},
                {"do": "read", "handle": 1, "offset": 0, "length": 4096}]
        path.write_text(json.dumps({"seed": 1, "setup": setup, "acts": acts}))
        assert run("--replay", path).returncode == code
    lie = ["-c", BREAK.format(here=HERE, mount=os.path.join(os.path.dirname(HERE), "mount"), run=os.path.join(HERE, "run")).replace(
        "    content = bytearray", "    self.blobs[name].headers = {'X-Glance-Cache-Hash': 'sha256=' + 64 * '0'}\n    return\n    content = bytearray")]
    path.write_text(path.read_text().replace("wrong-header", "header"))
    done = run("--replay", path, code=lie)
    assert done.returncode == 1 and "\nerror: read of b: EIO, and nothing happened that explains it" in done.stdout, done.stdout


def test_it_ends_in_order_when_it_is_told_to(tmp_path):
    with subprocess.Popen([os.path.join(HERE, "run"), "--minutes", "5", "--seed", "1", "--kept", str(tmp_path)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout.readline().startswith("seed 1, ")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60 * PATIENCE)
    assert process.returncode != 0


@pytest.mark.parametrize("name", sorted(n for n in (os.listdir(KNOWN) if os.path.isdir(KNOWN) else []) if n.endswith(".json")))
def test_what_was_found_once(name):
    """Histories that failed on a program of before."""
    done = run("--replay", os.path.join(KNOWN, name))
    assert done.returncode == 0, f"{binary()}: {done.stdout[-3000:]}"
