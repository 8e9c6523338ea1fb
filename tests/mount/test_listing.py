# SPDX-License-Identifier: Apache-2.0
"""ls images/: listings of several servers, large ones, and backends that cannot list."""
import errno
import os
import sqlite3
import subprocess

import pytest

from harness import MIB, blob, error_of, name_of, same, sha
from waiting import PATIENCE, wait_until

PAGES = {
    "apache": ('text/html;charset=UTF-8', """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /img</title></head><body><h1>Index of /img</h1><table>
<tr><th valign="top"><img src="/icons/blank.gif" alt="[ICO]"></th><th><a href="?C=N;O=D">Name</a></th></tr>
<tr><td valign="top"><img src="/icons/back.gif" alt="[PARENTDIR]"></td><td><a href="/">Parent Directory</a></td></tr>
<tr><td><img src="/icons/unknown.gif" alt="[   ]"></td><td><a href="a%20b.img">a b.img</a></td><td> 10M</td></tr>
<tr><td valign="top"><img src="/icons/folder.gif" alt="[DIR]"></td><td><a href="folder/">folder/</a></td></tr>
<tr><td valign="top"><img src="/icons/unknown.gif" alt="[   ]"></td><td><a href="x&amp;y.img">x&amp;y.img</a></td></tr>
</table></body></html>"""),
    "lighttpd": ('text/html', """<table><tr class="d"><td class="n"><a href="../">..</a>/</td></tr>
<tr><td class="n"><a href="a%20b.img">a b.img</a></td><td class="m">2025-Jan-01</td></tr>
<tr><td class="n"><a href="x&amp;y.img">x&amp;y.img</a></td></tr></table>"""),
    "python": ('text/html; charset=utf-8', """<ul>
<li><a href="a%20b.img">a b.img</a></li>
<li><a href="x%26y.img">x&amp;y.img</a></li>
<li><a href="folder/">folder/</a></li>
</ul>"""),
    "caddy": ('text/html; charset=utf-8',
              """<tr class="file"><td></td><td><a href="./a%20b.img"><span class="name">a b.img</span></a></td></tr>
<tr class="file"><td></td><td><a href='./x&amp;y.img'><span class="name">x&amp;y.img</span></a></td></tr>
<a href="https://caddyserver.com">Caddy</a>"""),
}


@pytest.mark.parametrize("autoindex", ["json", "html"])
def test_nginx(cache, make_nginx, autoindex):
    nginx = make_nginx(autoindex=autoindex)
    names = ["a", "b c", "d&e", "f'g", "h<i>", "ü", "100%25", "x" * 200]
    for i, n in enumerate(names):
        nginx.put(n, blob(1000 + i, i))
    os.makedirs(os.path.join(nginx.files, "folder"))
    nginx.put(".hidden", b"x")
    cache.configure(nginx).mount()
    assert cache.ls("images") == sorted(names)
    for i, n in enumerate(names):
        assert os.stat(cache.image(n)).st_size == 1000 + i
        same(cache.read(n), blob(1000 + i, i))


@pytest.mark.parametrize("server", PAGES)
def test_pages(cache, origin, server):
    origin.put("a b.img", b"one")
    origin.put("x&y.img", b"another")
    origin.listing = lambda: (PAGES[server][0], PAGES[server][1].encode())
    cache.configure(origin).mount()
    assert cache.ls("images") == ["a b.img", "x&y.img"]
    assert cache.shell("ls -l images | awk 'NR > 1 {print $5}'").stdout.split() == ["3", "7"]


def test_sizes_come_with_the_listing(cache, origin):
    """ls -l of a listing that tells sizes asks for no image."""
    for i in range(20):
        origin.put(f"image-{i}", blob(1000 + i, i))
    cache.configure(origin).mount()
    cache.ls("images")
    cache.shell("ls -l images")
    assert [r for r in origin.requests() if r.name.startswith("image")] == []


def test_new_and_gone(cache, origin):
    for n in ("a", "b", "c"):
        origin.put(n, n.encode() * 100000)
    cache.configure(origin, list_ttl=1).mount()
    assert cache.ls("images") == ["a", "b", "c"]
    cache.read("b")
    cache.wait_cached("b")
    origin.remove("a")
    origin.remove("b")
    origin.put("d", b"d")
    wait_until(lambda: cache.ls("images") == ["b", "c", "d"], what="the new listing, and what is cached")
    wait_until(lambda: error_of(os.stat, cache.image("a")) == errno.ENOENT, what="the name to go")
    same(cache.read("b"), b"b" * 100000)


@pytest.mark.http1
def test_replaced_while_it_is_listed(cache, origin):
    """An image that is evicted, and one of which there is a new version: a listing that is under way names each of them once."""
    names = [f"{i:03}-{'x' * 200}" for i in range(300)]  # more than one answer to getdents(2)
    for n in names:
        origin.put(n, b"1")
    cache.configure(origin, list_ttl=600, revalidate="on-open").mount()
    read = names[:2]
    for n in read:
        same(cache.read(n), b"1")
        cache.wait_cached(n)
    with os.scandir(cache.path("images")) as listing:
        seen = [next(listing).name]
        os.unlink(cache.path("cached", read[0]))
        origin.put(read[1], b"22")
        same(cache.read(read[1]), b"22")
        seen += [entry.name for entry in listing]
    assert sorted(seen) == names


def test_the_listing_is_kept_for_its_time(cache, origin):
    origin.put("a", b"a")
    cache.configure(origin, list_ttl=600).mount()
    for _ in range(20):
        assert cache.ls("images") == ["a"]
    assert len([r for r in origin.requests("")]) == 1


def test_the_clock_was_set_back(cache, origin):
    """A host that starts with a clock in the future, until it asks for the time: what was listed then is not for ever."""
    origin.put("a", b"a")
    cache.configure(origin, list_ttl=600, revalidate="600").mount()
    assert cache.ls("images") == ["a"]
    same(cache.read("a"), b"a")
    cache.wait_cached("a")
    cache.unmount()
    with sqlite3.connect(os.path.join(cache.dir, ".catalogue.db")) as db:
        assert db.execute("UPDATE listing SET ended_at = ended_at + 86400000000000").rowcount == 1
        assert db.execute("UPDATE images SET described = described + 86400000000000").rowcount == 1
    db.close()
    origin.remove("a")
    origin.put("b", b"b")
    cache.mount()
    assert "b" in cache.ls("images")
    assert error_of(cache.read, "a") == errno.ENOENT


def test_a_backend_that_cannot_list(cache, origin):
    origin.put("a", b"content")
    cache.configure(origin.config(list_url="none")).mount()
    assert cache.ls("images") == []
    same(cache.read("a"), b"content")
    assert cache.ls("images") == ["a"]
    assert origin.requests("") == []


def test_list_url(cache, origin):
    origin.put("a", b"content")
    origin.put("list", b'[{"name": "a", "type": "file", "mtime": "", "size": 7}, {"name": "d", "type": "directory"}]')
    cache.configure(origin.config(list_url=f"http://127.0.0.1:{origin.port}/img/list")).mount()
    assert "a" in cache.ls("images") and "d" not in cache.ls("images")


BROKEN = {
    "500": dict(status=500),
    "403": dict(status=403),
    "404": dict(status=404),
    "cut off": dict(drop_after=30),
    "not JSON": dict(content=b'[{"name": "a", "type": "fi'),
    "another document": dict(content=b'{"error": "maintenance"}'),
    "nothing": dict(content=b""),
    "binary": dict(content=bytes(range(256)) * 50),
    "deeply nested": dict(content=b"[" * 100000),
    "a huge name": dict(content=b'[{"name": "' + b"x" * 3000000 + b'", "type": "file", "size": 1}]'),
    "a negative size": dict(content=b'[{"name": "a", "type": "file", "size": -1}]'),
    "an absurd size": dict(content=b'[{"name": "a", "type": "file", "size": 99999999999999999999999}]'),
    "types mixed up": dict(content=b'[{"name": 5, "type": "file", "size": "1"}, 7, null, []]'),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.http1  # what a document holds; and each waits for some seconds
def test_broken_listings(cache, origin, what):
    """What is cached is shown all the same; an error is told, not a wrong list."""
    origin.put("kept", blob(100000, 1))
    cache.configure(origin.config(retries=1, retry_delay=10, stall_timeout=2), list_ttl=1).mount()
    cache.read("kept")
    cache.wait_cached("kept")
    origin.fault("", **BROKEN[what])
    cache.restart()
    code = error_of(cache.ls, "images")
    assert code in (0, errno.EIO, errno.EHOSTUNREACH, errno.EACCES), name_of(code)
    assert "kept" in cache.ls_some("images")
    assert cache.ls("cached") == ["kept"]
    same(cache.read("kept"), blob(100000, 1))
    cache.shell("ls -l cached")
    origin.clear_faults()
    origin.put("new", b"new")
    if what not in ("500", "not JSON"):  # those two wait until the failure is some seconds ago
        cache.restart()
    wait_until(lambda: error_of(cache.ls, "images") == 0 and cache.ls("images") == ["kept", "new"],
               what="the listing to be right")


SAID = {
    "401": (dict(status=401), errno.EACCES, ("401", "check the credentials")),
    "500": (dict(status=500), errno.EIO, ("500", "the server's own log")),
    "410": (dict(status=410), errno.EIO, ("410", "check the address")),
    "nonsense": (dict(content=b'[{"name": "a", "type": "fi'), errno.EIO, ("cannot be understood", "check the address")),
    "gone": (None, errno.EHOSTUNREACH, ("whether the server runs",)),
}


@pytest.mark.parametrize("what", SAID)
def test_why_there_is_no_listing(cache, origin, what):
    """The error tells a refusal from silence and from nonsense, the log what was asked, what came of it and what to do."""
    fault, code, texts = SAID[what]
    if fault is None:
        origin.stop()
    else:
        origin.fault("", **fault)
    cache.configure(origin.config(retries=0, retry_delay=10, stall_timeout=2)).mount()
    assert name_of(error_of(cache.ls, "images")) == name_of(code)
    warning = [line for line in cache.logged().splitlines() if "could not be listed" in line][0]
    assert all(text in warning for text in ("/img/", *texts)), warning


def s3_page(token):
    return (f"<?xml version='1.0'?><ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
            "<Contents><Key>a</Key><Size>5</Size></Contents></ListBucketResult>").encode()


@pytest.mark.parametrize("tokens", ["1", "12", "123"])
def test_a_listing_without_an_end(cache, origin, tokens):
    """A server that leads from page to page in a circle: an error, and what it told is shown."""
    for token, after in zip(tokens, tokens[1:] + tokens[0]):
        origin.fault(None, when=lambda r, token=token: f"continuation-token={token}" in (r.query or ""), status=200, body=s3_page(after))
    origin.fault(None, when=lambda r: "list-type" in (r.query or ""), status=200, body=s3_page(tokens[0]))
    cache.configure({"type": "s3", "endpoint": f"http://127.0.0.1:{origin.port}", "bucket": "b", "region": "r", "addressing": "path"}).mount()
    assert error_of(cache.ls, "images") in (0, errno.EIO, errno.EHOSTUNREACH)
    wait_until(lambda: "no end" in cache.logged(), what="the reason in the log")
    assert len(origin.requests()) < 20


def test_the_end_of_an_image_waits_for_no_listing(cache, origin):
    """Its digest is had while the listing hangs."""
    content = origin.put("image", blob(MIB, 5))
    origin.put_sums("SHA256SUMS", {"image": content})
    hold = origin.fault("", hold_head=True)
    cache.configure(origin.config(stall_timeout=600)).mount()
    lister = cache.spawn("ls", cache.path("images"), stdout=-1, text=True)
    wait_until(lambda: hold.waiting, what="the listing to hang")
    same(cache.read("image"), content)
    assert lister.poll() is None
    hold.release()
    assert lister.communicate()[0] == "image\n"
    assert cache.xattr("image", "os_hash_value") == sha(content)


def test_large(cache, origin):
    """Every name once, with its inode, through a small buffer and while others list."""
    names = [f"image-{i:05}" for i in range(20000)]
    body = ("[" + ",".join(f'{{"name":"{n}","type":"file","mtime":"x","size":{i + 1}}}' for i,
                           n in enumerate(names)) + "]").encode()
    origin.listing = lambda: ("application/json", body)
    cache.configure(origin).mount()
    listers = [cache.spawn("bash", "-c", f"ls -f {cache.mnt}/images | wc -l", stdout=-1, text=True) for _ in range(3)]
    with os.scandir(cache.path("images")) as entries:
        found = {e.name: e.inode() for e in entries}
    assert sorted(found) == names and len(set(found.values())) == len(names)
    for lister in listers:
        assert int(lister.communicate()[0]) - len(names) in (0, 2)
    assert os.stat(cache.image("image-12345")).st_size == 12346
    assert cache.shell("find images -name 'image-1999*' | wc -l").stdout.strip() == "10"


def test_while_it_changes(cache, origin):
    """Images evicted and fetched while ls runs: what stays is shown exactly once."""
    for i in range(400):
        origin.put(f"image-{i:03}", b"x" * (i + 1))
    cache.configure(origin).mount()
    cache.shell("cat images/image-0* > /dev/null")
    wait_until(lambda: len(cache.ls("cached")) == 100, what="a quarter to be cached")
    descriptor = os.open(cache.path("cached"), os.O_RDONLY | os.O_DIRECTORY)
    remover = cache.spawn("bash", "-c", f"rm {cache.mnt}/cached/image-00*")
    for _ in range(20):
        found = os.listdir(cache.path("cached"))
        assert len(found) == len(set(found))
        assert set(f"image-{i:03}" for i in range(10, 100)) <= set(found)
    assert remover.wait() == 0
    os.close(descriptor)
    assert len(cache.ls("cached")) == 90


@pytest.mark.parametrize("status", [400, 412, 429])
@pytest.mark.http1
def test_why_it_cannot_be_listed(cache, origin, status):
    """The log and .status tell what was asked and what was answered, not what that is called here."""
    origin.put("image", b"image")
    origin.fault("", status=status)
    cache.configure(origin).mount()
    assert cache.ls_some("images") == []
    said = cache.status()["backend"]["endpoints"][0]["last_error"]
    assert "listing" in said and str(status) in said
    assert said in cache.logged() and "Stale file handle" not in cache.logged() and "Protocol error" not in cache.logged()
    assert cache.read("image") == b"image"


def test_ls_waits_for_no_look_up(cache, origin):
    """Linux would wait for the answer where a name is listed that somebody looks up, and no signal ends that."""
    for name in ("slow", "other"):
        origin.put(name, blob(1000, 1))
    hold = origin.fault("slow", hold_head=True)
    cache.configure(origin.config(stall_timeout=600), list_ttl=0).mount()
    stat = cache.spawn("stat", cache.image("slow"), stdout=subprocess.DEVNULL)
    wait_until(lambda: hold.waiting, what="the look-up to be held back")
    for how in ("-1", "-U"):
        ls = cache.spawn("ls", how, cache.path("images"), stdout=subprocess.PIPE, text=True)
        assert sorted(ls.communicate(timeout=20 * PATIENCE)[0].split()) == ["other", "slow"]
    assert stat.poll() is None and hold.waiting
    hold.release()
    assert stat.wait(20 * PATIENCE) == 0
    assert cache.ls("images") == ["other", "slow"]
