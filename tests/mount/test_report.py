# SPDX-License-Identifier: Apache-2.0
"""glance-cache-fs --report: what there is to know for whoever helps, and no secret in it."""
import io
import os
import signal
import subprocess
import tarfile

import pytest

from harness import KIB, binary, blob, descendants

# Kinds of secrets, each unlike any other text, and where they stand.
FILES = {"user_file": "aladdin:Xopen-sesame-1X", "ca_file": None}
PASSWORD, ADMIN, READER, LINKS, ENVIRONMENT, URL = ("Xsecret-%sX" % w for w in ("pass", "admin", "reader", "links", "environment", "url"))


def report(mnt, folder, **environment):
    done = subprocess.run([binary(), "--report", mnt], stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
                          env={**os.environ, "TMPDIR": str(folder), **environment}, check=False)
    assert os.listdir(folder) == []
    return done


def contents(done):
    assert done.returncode == 0, done.stderr
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        return {m.name.rsplit("/", 1)[1]: tar.extractfile(m).read().decode(errors="replace") for m in tar if m.isfile()}


@pytest.fixture
def secret(cache, origin):
    """A mount whose configuration names files with secrets."""
    def put(name, text):
        path = os.path.join(cache.root, name)
        with open(path, "w") as f:
            f.write(text + "\n")
        os.chmod(path, 0o600)
        return path
    origin.put("image", blob(100 * KIB, 1))
    cache.configure(origin.config(user_file=put("user", f"aladdin:{PASSWORD}")))
    with open(cache.conf, "a") as f:
        f.write(f"\n[api]\nauth = token\nadmin_token_file = {put('admin', ADMIN)}\nreader_token_file = {put('reader', READER)}\n"
                f"temp_url_key_file = {put('links', LINKS)}\n# a note: https://me:{URL}@host/\n")
    cache.mount()
    return cache


def test_what_is_in_it(secret, tmp_path):
    secret.read("image")
    secret.wait_cached("image")
    os.rename(secret.path("cached", "image"), secret.path("invalid", "image"))
    files = contents(report(secret.mnt, tmp_path))
    assert {"configuration.txt", "status.json", "queued.txt", "invalid.txt", "attributes.txt", "space.txt", "mounts.txt", "system.txt", "processes.txt",
            "log.txt"} <= set(files)
    assert f"image_cache_dir = {secret.dir}" in files["configuration.txt"] and "commit" in files["configuration.txt"]
    assert '"hits"' in files["status.json"] and '"image"' in files["invalid.txt"] and "user.glance" in files["attributes.txt"]
    assert secret.mnt in files["mounts.txt"] and "Linux" in files["system.txt"] and "glance-cache-fs" in files["processes.txt"]


def test_no_secret_is_in_it(secret, tmp_path, origin):
    """Also where one got into a text that is copied: an image of the name of a password fails."""
    for name in (PASSWORD, ADMIN, READER, LINKS, ENVIRONMENT):
        origin.put(name, blob(10 * KIB, 1))
        secret.read(name)
        secret.wait_cached(name)
        os.rename(secret.path("cached", name), secret.path("invalid", name))
    origin.put("shown", blob(10 * KIB, 1))
    secret.read("shown")
    secret.wait_cached("shown")
    os.rename(secret.path("cached", "shown"), secret.path("invalid", "shown"))
    files = contents(report(secret.mnt, tmp_path, OS_PASSWORD=ENVIRONMENT))
    everything = "\n".join(files.values())
    for text in (PASSWORD, ADMIN, READER, LINKS, ENVIRONMENT, URL):
        assert text not in everything
    assert "shown" in files["invalid.txt"] and "*" * len(ADMIN) in files["invalid.txt"]


def test_not_into_a_terminal_not_of_another_mount(cache, tmp_path):
    done = report(str(tmp_path), tmp_path)
    assert done.returncode == 1 and done.stdout == b"" and str(tmp_path).encode() in done.stderr
    done = report("/proc", tmp_path)
    assert done.returncode == 1 and done.stdout == b""
    leader, follower = os.openpty()
    done = subprocess.run([binary(), "--report", "/proc"], stdout=follower, stderr=subprocess.PIPE, text=True, check=False)
    os.close(follower)
    os.close(leader)
    assert done.returncode == 1 and ">report.tar" in done.stderr


def test_a_mount_that_is_dead(secret, tmp_path):
    """What can be told is told; nobody waits for the rest."""
    for pid in descendants(secret.process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    secret.process.wait()
    files = contents(report(secret.mnt, tmp_path))
    assert "not connected" in files["status.json"] and "image_cache_dir" in files["configuration.txt"]
    secret.process = None
    subprocess.run(["umount", "-l", secret.mnt], check=False)
