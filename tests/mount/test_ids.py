# SPDX-License-Identifier: Apache-2.0
"""Image ids: every legal name arrives at the backend as it is, every illegal one is ENOENT before it gets anywhere."""
import errno
import os
import re
import urllib.parse

import pytest

from harness import blob, error_of, name_of, same
from waiting import wait_until

LEGAL = [
    "10000000-0000-4000-8000-000000000001", "a b", " lead and trail ", "%2e%2e", "%2f", "%00", "100%", "a?b=c", "a#b",
    "a&b", "a=b;c", "a+b", "Ünïcode-Bild.qcow2", "画像", "'; DROP TABLE images; --", "\"quoted\"", "back\\slash", "{id}",
    "[1-3]", "*", "-rf", "~root", "$HOME`id`", "<script>", "a:b@c", "x,y", "semi;colon", "|pipe", "!", "trailing.", "a..b",
    "a%0d%0aHost: evil", "http:example", "x" * 255, "é" * 127, "x..",
]
ILLEGAL = ["...", ".hidden", "a\nb", "a\rb", "a\tb", "\x01", "a\x7fb", "x\x1b[31m", "incomplete", "invalid", "queue"]
TOO_LONG = "x" * 256


def ident(name):
    return urllib.parse.quote(name, safe="")[:24]


@pytest.mark.parametrize("name", LEGAL, ids=ident)
def test_legal_from_nginx(cache, nginx, name):
    content = nginx.put(name, blob(70000, len(name)))
    cache.configure(nginx).mount()
    same(cache.read(name), content)
    cache.wait_cached(name)
    assert cache.ls("cached") == [name]
    assert name in cache.ls("images")
    same(open(os.path.join(cache.dir, name), "rb").read(), content)
    assert nginx.sent(name) == len(content)
    os.unlink(cache.path("cached", name))
    assert cache.ls("cached") == []
    cache.touch("queued", name)
    cache.wait_cached(name)
    cache.restart()
    same(cache.read(name), content)


def test_legal_names_together(cache, nginx):
    """All at once: none is taken for another, and ls shows each as it is."""
    for i, name in enumerate(LEGAL):
        nginx.put(name, blob(5000 + i, i))
    cache.configure(nginx).mount()
    assert cache.ls("images") == sorted(LEGAL)
    for i, name in enumerate(LEGAL):
        same(cache.read(name), blob(5000 + i, i))
    wait_until(lambda: cache.ls("cached") == sorted(LEGAL), what="all to be cached")
    assert cache.shell("ls -b images | wc -l").stdout.strip() == str(len(LEGAL))


@pytest.mark.parametrize("name", LEGAL, ids=ident)
def test_escaped_right(cache, origin, name):
    origin.put(name, b"content")
    cache.configure(origin).mount()
    same(cache.read(name), b"content")
    for request in origin.requests(name):
        assert request.query is None
        assert re.fullmatch(r"/img/(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+", request.target), request.target
    assert all(r.name in (name, "", "SHA256SUMS", "SHA512SUMS") for r in origin.requests()), origin.requests()


def test_not_utf8(cache, origin):
    name = os.fsdecode(b"latin-\xe9\xff")
    origin.put(name, b"content")
    cache.configure(origin).mount()
    same(cache.read(name), b"content")
    cache.wait_cached(name)
    assert cache.ls("cached") == [name]
    cache.status()
    cache.restart()
    same(cache.read(name), b"content")


@pytest.mark.parametrize("name", ILLEGAL + [TOO_LONG], ids=ident)
def test_illegal(cache, origin, name):
    origin.put(name, b"must not be seen")
    origin.put("good", b"seen")
    cache.configure(origin).mount()
    allowed = (errno.ENOENT, errno.ENAMETOOLONG) if name == TOO_LONG else (errno.ENOENT,)
    for view in ("images", "cached", "incomplete", "invalid", "queued"):
        code = error_of(os.stat, cache.path(view, name))
        assert code in allowed, f"{view}: {name_of(code)}"
        assert error_of(os.unlink, cache.path(view, name)) in allowed + (errno.EPERM, errno.EROFS)
    code = error_of(cache.touch, "queued", name)
    assert code in allowed + (errno.EPERM, errno.EROFS, errno.EINVAL), name_of(code)
    assert [r for r in origin.requests() if r.name == name] == []
    assert cache.ls("images") == ["good"]
    assert cache.ls("queued") == []
    same(cache.read("good"), b"seen")
    outside = {"incomplete", "invalid", "queue", "good"}
    assert {n for n in os.listdir(cache.dir) if not n.startswith(".")} <= outside


def test_dots_and_slashes_stay_inside(cache, origin):
    """".." and "a/b" are the kernel's business: they must end inside the mount, and reach no backend."""
    origin.put("good", b"seen")
    cache.configure(origin).mount()
    assert sorted(os.listdir(cache.path("images", ".."))) == sorted(os.listdir(cache.mnt))
    assert error_of(os.stat, cache.image("../nobody")) == errno.ENOENT
    assert error_of(os.stat, cache.image("a/b")) == errno.ENOENT
    same(cache.read("../images/good"), b"seen")
    assert error_of(os.stat, cache.image("good/b")) == errno.ENOTDIR
    assert all(".." not in r.target for r in origin.requests())


def test_names_of_the_cache_directory(cache, origin):
    """An image called as a file of the cache is no way into it."""
    for name in ("cache.db", "cache.db-wal", "lost+found", "images", "cached", "queued"):
        origin.put(name, b"an image")
    cache.configure(origin).mount()
    for name in ("images", "cached", "queued"):
        same(cache.read(name), b"an image")
        cache.wait_cached(name)
    assert error_of(os.stat, cache.image("cache.db")) == errno.ENOENT
    for name in (".catalogue.db", ".lock", ".retired", ".status"):
        assert error_of(os.stat, cache.image(name)) == errno.ENOENT
        assert error_of(os.unlink, cache.path("cached", name)) != 0
    assert cache.ls("cached") == ["cached", "images", "queued"]
