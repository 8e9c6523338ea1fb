# SPDX-License-Identifier: Apache-2.0
"""checksum_keyring: files of digests count when a key of ours signed them, and else as none."""
import hashlib
import os
import shutil
import subprocess

import pytest

from harness import MIB, blob, raw_xattrs, same, sha
from waiting import wait_until

CONTENT = blob(MIB + 7, 81)

pytestmark = [pytest.mark.http1,  # what a document holds
              pytest.mark.skipif(not shutil.which("gpg") or not shutil.which("gpgv"), reason="gpg or gpgv is not installed")]


class Keys:
    def __init__(self, folder):
        self.folder = str(folder)
        self.home = os.path.join(self.folder, "home")
        os.mkdir(self.home, 0o700)
        for who in ("ours", "theirs"):
            self.gpg("--passphrase", "", "--quick-generate-key", f"{who}@example.org", "ed25519", "sign", "never")
        self.ring = os.path.join(self.folder, "ring.gpg")
        with open(self.ring, "wb") as f:
            f.write(self.gpg("--export", "ours@example.org"))

    def gpg(self, *options, text=b""):
        return subprocess.run(["gpg", "--batch", "--quiet", "--homedir", self.home, *options], input=text, check=True, stdout=subprocess.PIPE).stdout

    def sign(self, text, how, who="ours"):
        return self.gpg("-u", f"{who}@example.org", *how, text=text)

    def close(self):
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for above in (folder, folder.parent):
        os.chmod(above, 0o755)
    keys = Keys(folder)
    yield keys
    keys.close()


@pytest.fixture
def ring(cache, keys):
    path = os.path.join(cache.root, "ring.gpg")
    shutil.copy(keys.ring, path)
    os.chmod(path, 0o644)
    return path


def sums(content=CONTENT):
    return f"{hashlib.sha256(content).hexdigest()}  vm.raw\n".encode()


GOOD = {"beside it": lambda k: {"SHA256SUMS": sums(), "SHA256SUMS.gpg": k.sign(sums(), ["--detach-sign"])},
        "beside it, armored": lambda k: {"SHA256SUMS": sums(), "SHA256SUMS.asc": k.sign(sums(), ["--armor", "--detach-sign"])},
        "as the kernel's": lambda k: {"SHA256SUMS": sums(), "SHA256SUMS.sign": k.sign(sums(), ["--armor", "--detach-sign"])},
        "in clear": lambda k: {"SHA256SUMS": k.sign(sums(), ["--clearsign"])}}
BAD = {"not signed": lambda k: {"SHA256SUMS": sums()},
       "by a stranger": lambda k: {"SHA256SUMS": sums(), "SHA256SUMS.gpg": k.sign(sums(), ["--detach-sign"], "theirs")},
       "in clear, by a stranger": lambda k: {"SHA256SUMS": k.sign(sums(), ["--clearsign"], "theirs")},
       "of another text": lambda k: {"SHA256SUMS": sums(), "SHA256SUMS.gpg": k.sign(sums(b""), ["--detach-sign"])},
       "changed since": lambda k: {"SHA256SUMS": k.sign(sums(), ["--clearsign"]).replace(b"vm.raw", b"vm.rew")},
       "no signature": lambda k: {"SHA256SUMS": sums(), "SHA256SUMS.gpg": b"<html>not found</html>"}}


def mounted(cache, origin, ring, files):
    origin.put("vm.raw", CONTENT)
    for name, content in files.items():
        origin.put(name, content)
    cache.configure(origin.config(checksums="SHA256SUMS", checksum_keyring=ring)).mount()


@pytest.mark.parametrize("how", GOOD)
def test_signed(cache, origin, keys, ring, how):
    mounted(cache, origin, ring, GOOD[how](keys))
    same(cache.read("vm.raw"), CONTENT)
    cache.wait_cached("vm.raw")
    assert cache.xattr("vm.raw", "os_hash_value") == sha(CONTENT)
    assert cache.status()["backend"]["checksums"] == "ok"
    assert cache.ls("images") == ["vm.raw"]


@pytest.mark.parametrize("how", BAD)
def test_not_signed(cache, origin, keys, ring, how):
    """The image is there as one of which nothing is published; it is said why."""
    mounted(cache, origin, ring, BAD[how](keys))
    same(cache.read("vm.raw"), CONTENT)
    cache.wait_cached("vm.raw")
    assert "user.glance.os_hash_value" not in raw_xattrs(cache.image("vm.raw"))
    said = cache.status()["backend"]["checksums"]
    assert "SHA256SUMS" in said and "signed" in said and cache.logged().count(said) == 1


def test_nothing_around_what_is_signed_counts(cache, origin, keys, ring):
    """A line before the signed text names another digest."""
    other = f"SHA256 (vm.raw) = {hashlib.sha256(b'other').hexdigest()}\n".encode()
    mounted(cache, origin, ring, {"SHA256SUMS": keys.sign(sums(), ["--clearsign"]) + other})
    same(cache.read("vm.raw"), CONTENT)
    cache.wait_cached("vm.raw")


def test_what_is_signed_is_compared(cache, origin, keys, ring):
    text = sums(b"other")
    mounted(cache, origin, ring, {"SHA256SUMS": text, "SHA256SUMS.gpg": keys.sign(text, ["--detach-sign"])})
    with pytest.raises(OSError):
        cache.read("vm.raw")
    wait_until(lambda: cache.ls("invalid") == ["vm.raw"], what="the image to be found wrong")


def test_a_signature_that_comes_later(cache, origin, keys, ring):
    """It is asked for again though the file of digests did not change."""
    mounted(cache, origin, ring, {"SHA256SUMS": sums()})
    origin.put("other", CONTENT)
    same(cache.read("vm.raw"), CONTENT)
    cache.wait_cached("vm.raw")
    text = sums() + sums().replace(b"vm.raw", b"other")
    origin.put("SHA256SUMS", text)
    origin.put("SHA256SUMS.gpg", keys.sign(text, ["--detach-sign"]))
    cache.restart()
    same(cache.read("other"), CONTENT)
    cache.wait_cached("other")
    assert cache.xattr("other", "os_hash_value") == sha(CONTENT)
    assert cache.status()["backend"]["checksums"] == "ok"
