# SPDX-License-Identifier: Apache-2.0
"""The file backend: a folder of images, no server."""
import errno
import os

import pytest

from harness import MIB, UNREACHABLE, blob, error_of, name_of, pread, same, sha
from waiting import wait_until


@pytest.fixture
def folder(cache):
    path = os.path.join(cache.root, "images")
    os.makedirs(path)
    cache.folder = path
    cache.section = {"type": "file", "path": path}
    cache.configure(cache.section)
    return cache


def put(cache, name, content):
    with open(os.path.join(cache.folder, ".new"), "wb") as f:
        f.write(content)
    os.rename(os.path.join(cache.folder, ".new"), os.path.join(cache.folder, name))
    return content


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 9 * MIB + 1])
def test_cold_then_warm(folder, size):
    content = put(folder, "image", blob(size, size))
    folder.mount()
    assert folder.ls("images") == ["image"]
    assert os.stat(folder.image("image")).st_size == size
    same(folder.read("image"), content)
    folder.wait_cached("image")
    same(folder.stored("image"), content)
    os.unlink(os.path.join(folder.folder, "image"))
    folder.restart()
    same(folder.read("image"), content)


def test_it_is_the_default(cache):
    path = os.path.join(cache.root, "images")
    os.makedirs(path)
    open(os.path.join(path, "image"), "wb").write(b"content")
    with open(cache.conf, "w") as f:
        f.write(f"[DEFAULT]\nimage_cache_dir = {cache.dir}\n[backend]\npath = {path}\n")
    cache.mount()
    same(cache.read("image"), b"content")


def test_what_is_listed(folder):
    for name in ("a", "b c", "%2e", "ü"):
        put(folder, name, name.encode())
    put(folder, ".hidden", b"x")
    os.makedirs(os.path.join(folder.folder, "subfolder"))
    os.mkfifo(os.path.join(folder.folder, "pipe"))
    folder.mount()
    assert folder.ls("images") == sorted(["a", "b c", "%2e", "ü"])
    for name in ("a", "b c", "%2e", "ü"):
        same(folder.read(name), name.encode())
    for name in (".hidden", "subfolder", "pipe", "..", "nobody"):
        if name != "..":
            assert error_of(os.stat, folder.image(name)) == errno.ENOENT, name
    assert error_of(folder.touch, "queued", "nobody") == errno.ENOENT


def test_links(folder):
    """A link to a file is an image; one that leads nowhere is none."""
    put(folder, "image", b"content")
    os.symlink("image", os.path.join(folder.folder, "link"))
    os.symlink("nowhere", os.path.join(folder.folder, "broken"))
    folder.mount()
    same(folder.read("link"), b"content")
    assert error_of(os.stat, folder.image("broken")) == errno.ENOENT


def test_queue(folder):
    content = put(folder, "image", blob(5 * MIB, 1))
    folder.mount()
    folder.shell("touch queued/image")
    folder.wait_cached("image")
    same(folder.stored("image"), content)


@pytest.mark.parametrize("right", [True, False])
def test_verified(folder, right):
    content = put(folder, "image", blob(3 * MIB, 2))
    put(folder, "SHA256SUMS", f"{sha(content if right else b'other')}  image\n".encode())
    folder.mount()
    if right:
        same(folder.read("image"), content)
        folder.wait_cached("image")
        assert folder.xattr("image", "os_hash_value") == sha(content)
    else:
        assert error_of(folder.read, "image") == errno.EIO
        folder.wait_has("invalid", "image")


def test_changed_in_the_middle(folder):
    old = put(folder, "image", blob(24 * MIB, 3))
    folder.configure(folder.section, fetch_policy="demand").mount()
    fd = os.open(folder.image("image"), os.O_RDONLY)
    same(pread(fd, MIB), old[:MIB])
    new = put(folder, "image", blob(24 * MIB, 4))
    try:
        same(pread(fd, 4096, 20 * MIB), old[20 * MIB:20 * MIB + 4096])
    except OSError as e:
        assert e.errno in (errno.EIO, errno.ESTALE), name_of(e.errno)
    os.close(fd)
    wait_until(lambda: error_of(folder.read, "image") == 0, what="the new version to be readable")
    same(folder.read("image"), new)
    folder.wait_cached("image")


def test_cut_short_in_the_middle(folder):
    old = put(folder, "image", blob(24 * MIB, 3))
    folder.configure(folder.section, fetch_policy="demand").mount()
    fd = os.open(folder.image("image"), os.O_RDONLY)
    same(pread(fd, MIB), old[:MIB])
    os.truncate(os.path.join(folder.folder, "image"), 2 * MIB)
    code = error_of(pread, fd, 4096, 20 * MIB)
    assert code in (errno.EIO, errno.ESTALE), name_of(code)
    os.close(fd)
    wait_until(lambda: error_of(folder.read, "image") == 0, what="the new version to be readable")
    same(folder.read("image"), old[:2 * MIB])


def test_the_folder_goes_away_and_comes_back(folder):
    """An unmounted share: nothing is said to be gone for good, and what is cached is served."""
    content = put(folder, "image", blob(MIB, 5))
    put(folder, "other", blob(MIB, 6))
    folder.configure(folder.section, list_ttl=1).mount()
    same(folder.read("image"), content)
    folder.wait_cached("image")
    os.rename(folder.folder, folder.folder + ".away")
    same(folder.read("image"), content)
    folder.status()
    assert error_of(folder.read, "other") in UNREACHABLE + (errno.ENOENT,)
    os.rename(folder.folder + ".away", folder.folder)
    wait_until(lambda: error_of(folder.read, "other") == 0, what="the other image")


def test_many(folder):
    for i in range(500):
        put(folder, f"image-{i:03}", b"x" * i)
    folder.mount()
    assert len(folder.ls("images")) == 500
    assert folder.shell("ls -l images | awk '{s += $5} END {print s}'").stdout.strip() == str(sum(range(500)))
    folder.shell("tar cf /dev/null images && cat images/* | wc -c")
    wait_until(lambda: len(folder.ls("cached")) == 500, what="all to be cached")
