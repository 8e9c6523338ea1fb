# SPDX-License-Identifier: Apache-2.0
"""Configurations and command lines: a wrong one is one line (file, line, what to do), exit 1, and nothing changed."""
import os
import re
import subprocess

import pytest

from harness import blob, is_mounted, program, same
from waiting import wait_until


def tree(root):
    return sorted((p, n, os.path.getsize(os.path.join(p, n))) for p, _,
                  names in os.walk(root) for n in names if n != "glance-cache.conf")


def refuses(cache, text, *words, line=None):
    with open(cache.conf, "w") as f:
        f.write(text)
    before = tree(cache.root)
    done = cache.run()
    assert done.returncode == 1, done
    assert done.stderr.endswith("\n") and done.stderr.count("\n") == 1, f"not one line: {done.stderr!r}"
    assert done.stdout == ""
    where = cache.conf if line is None else f"{cache.conf}:{line}"
    assert where in done.stderr, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert tree(cache.root) == before
    assert not is_mounted(cache.mnt)
    return done.stderr


def default(cache):
    return f"[DEFAULT]\nimage_cache_dir = {cache.dir}\n"


def backend(cache):
    return f"[backend]\ntype = file\npath = {cache.root}\n"


VALUES = {  # a line of [DEFAULT], what the message names
    "a size": ("image_cache_max_size = much", "image_cache_max_size"),
    "a negative size": ("image_cache_max_size = -5", "image_cache_max_size"),
    "a size out of range": ("image_cache_max_size = 99999999999T", "image_cache_max_size"),
    "seconds": ("image_cache_stall_time = soon", "image_cache_stall_time"),
    "a count below its bound": ("streams = 0", "streams"),
    "a count above its bound": ("streams = 33", "streams"),
    "a choice": ("fetch_policy = sometimes", "fetch_policy"),
    "a level": ("log_level = loud", "log_level"),
    "a misspelt key": ("image_cache_maxsize = 5G", "image_cache_max_size"),
    "a misspelt key, again": ("stream = 5", "streams"),
    "an unknown key": ("frobnicate = 5", "frobnicate"),
    "an empty value": ("fetch_whole_after =", "fetch_whole_after"),
    "a key given twice": ("image_cache_dir = /tmp", "image_cache_dir"),
}


@pytest.mark.parametrize("what", VALUES)
def test_values(cache, what):
    line, word = VALUES[what]
    refuses(cache, default(cache) + line + "\n" + backend(cache), word, line=3)


BACKENDS = {
    "an unknown type": ("type = ftp", "ftp"),
    "http without a url": ("type = http", "url"),
    "an unknown key": ("type = http\nurl = http://127.0.0.1/\nurls = x", "url"),
    "a url that is none": ("type = http\nurl = not a url", "url"),
    "too many urls": ("type = http\nurl = " + "\n  ".join(f"http://127.0.0.{i}/{{id}}" for i in range(1, 18)), "more than the 16"),
    "too many endpoints": ("type = glance\nendpoint = " + "\n  ".join(f"http://127.0.0.{i}" for i in range(1, 18)), "more than the 16"),
    "a scheme": ("type = http\nurl = gopher://127.0.0.1/{id}", "gopher"),
    "a boolean": ("type = http\nurl = http://127.0.0.1/{id}\ninsecure = perhaps", "insecure"),
    "a missing token file": ("type = http\nurl = http://127.0.0.1/{id}\ntoken_file = /nonexistent/token",
                             "/nonexistent/token"),
    "a missing CA file": ("type = http\nurl = https://127.0.0.1/{id}\nca_file = /nonexistent/ca", "/nonexistent/ca"),
    "a missing folder": ("type = file\npath = /nonexistent/images", "/nonexistent/images"),
    "no folder": ("type = file", "path"),
}


@pytest.mark.parametrize("what", BACKENDS)
def test_backends(cache, what):
    lines, word = BACKENDS[what]
    refuses(cache, default(cache) + "[backend]\n" + lines + "\n", word)


def test_no_cache_directory(cache):
    refuses(cache, backend(cache), "image_cache_dir")
    refuses(cache, "[DEFAULT]\nimage_cache_dir = /nonexistent/cache\n" + backend(cache), "/nonexistent/cache", line=2)
    open(os.path.join(cache.root, "file"), "w").close()
    refuses(cache, f"[DEFAULT]\nimage_cache_dir = {cache.root}/file\n" + backend(cache), f"{cache.root}/file", line=2)


def test_not_an_ini_file(cache):
    refuses(cache, default(cache) + "just words\n" + backend(cache), line=3)
    refuses(cache, default(cache) + "[nowhere]\nx = 1\n" + backend(cache), "nowhere")
    refuses(cache, "\0\1\2binary\n")


def test_empty(cache):
    refuses(cache, "", "image_cache_dir")


def test_a_missing_file(cache):
    done = cache.run()
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and cache.conf in done.stderr


def test_mount_points(cache, tmp_path):
    cache.configure({"type": "file", "path": cache.root})
    for point in (os.path.join(cache.root, "nowhere"), cache.conf):
        done = program("-f", cache.conf, point)
        assert done.returncode == 1, done
        assert point in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert os.listdir(cache.dir) == []


@pytest.mark.parametrize("arguments", [[], ["one"], ["a", "b", "c"], ["--frobnicate"], ["-o"]])
def test_command_lines(arguments):
    done = program(*arguments)
    assert done.returncode == 1 and done.stdout == ""
    assert 0 < len(done.stderr.splitlines()) <= 3, done.stderr


def test_help_and_version():
    for option, words in (("--help", ("CONFIG", "MOUNTPOINT", "--check")),
                          ("--help-config", ("image_cache_dir", "image_cache_max_size = 10G\n", "fetch_whole_after", "checksums", "min_free = 5%"))):
        done = program(option)
        assert done.returncode == 0 and done.stderr == ""
        for word in words:
            assert word in done.stdout, word
    done = program("--version")
    assert done.returncode == 0
    assert re.search(r"^glance-cache-fs .* \d+\.\d+\.\d+, commit ", done.stdout)


def dump(conf):
    done = program("--dump-config", conf)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_dump_config(cache):
    """What is dumped reads back to the same, and is what was said."""
    cache.configure({"type": "http", "url": "http://127.0.0.1:1/{id}"}, image_cache_max_size="3G", streams=7)
    text = dump(cache.conf)
    assert re.search(r"^image_cache_max_size = (3G|3221225472)$", text, re.M) and re.search(r"^streams = 7$", text,
                                                                                            re.M)
    with open(cache.conf, "w") as f:
        f.write(text)
    assert dump(cache.conf) == text
    assert os.listdir(cache.dir) == [] and not is_mounted(cache.mnt)


@pytest.mark.http1  # the configuration is its own
def test_comments_blanks_and_suffixes(cache, origin):
    origin.put("image", b"content")
    with open(cache.conf, "w") as f:
        f.write(f"# a comment\n; another\n\n[DEFAULT]\n  image_cache_dir={cache.dir}  \n"
                "image_cache_max_size = 2 GiB\n\n"
                f"[backend]\ntype = http\nurl = {origin.url}\ninsecure = off\n")
    cache.mount()
    assert os.statvfs(cache.mnt).f_blocks * os.statvfs(cache.mnt).f_frsize == 2 << 30
    same(cache.read("image"), b"content")


def test_a_url_without_a_place_for_the_id(cache, origin):
    origin.put("image", b"content")
    cache.configure(origin.config(url=origin.url.replace("/{id}", ""))).mount()
    same(cache.read("image"), b"content")
    assert cache.ls("images") == ["image"]


def test_in_the_background(cache, origin):
    """Without -f: returns when the mount is there, and goes on in the background."""
    content = origin.put("image", blob(100000, 1))
    cache.configure(origin)
    done = program(cache.conf, cache.mnt)
    try:
        assert done.returncode == 0, done.stderr
        assert is_mounted(cache.mnt)
        same(cache.read("image"), content)
    finally:
        subprocess.run(["umount", cache.mnt], check=False)

    def unlocked():
        return subprocess.run(["flock", "-n", os.path.join(cache.dir, ".lock"), "true"], check=False).returncode == 0
    wait_until(unlocked, what="the program to end")


def test_in_the_background_with_an_error(cache):
    with open(cache.conf, "w") as f:
        f.write("[DEFAULT]\n")
    done = program(cache.conf, cache.mnt)
    assert done.returncode == 1 and done.stderr.count("\n") == 1


def test_as_mount_calls_it(cache, origin):
    """mount -t fuse.TYPE runs "PROGRAM CONFIG MOUNTPOINT -o rw,…": options may come last."""
    origin.put("image", b"content")
    cache.configure(origin)
    done = program(cache.conf, cache.mnt, "-o", "rw,nosuid,nodev,allow_other")
    try:
        assert done.returncode == 0, done.stderr
        same(cache.read("image"), b"content")
    finally:
        subprocess.run(["umount", cache.mnt], check=False)


def test_an_unknown_mount_option(cache, origin):
    cache.configure(origin)
    done = cache.run("-o", "frobnicate")
    assert done.returncode == 1 and "frobnicate" in done.stderr
    assert os.listdir(cache.dir) == []
