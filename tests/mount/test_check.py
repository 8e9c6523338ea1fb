# SPDX-License-Identifier: Apache-2.0
"""glance-cache-fs --check: all mistakes at once, what a good configuration comes to, and --online, which asks the backend."""
import glob
import os
import signal
import subprocess

import pytest

from harness import KIB, binary, blob, program
from waiting import wait_until

MISTAKES = """[DEFAULT]
image_cache_max_size = lots
imagecache_dir = /x
nonsense line
[nosection]
foo = 1
bar = 2
[backend]
type = htp
url = ftp://host/{idd}
retries = -1
[api]
bogus = 1
auth = token
"""


@pytest.fixture
def check(cache, tmp_path):
    """check(*options) of the cache's configuration: what it ended with; nothing is left in its TMPDIR."""
    folder = tmp_path / "tmp"
    folder.mkdir()

    def run(*options):
        done = subprocess.run([binary(), "--check", *options, cache.conf], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                              env={**os.environ, "TMPDIR": str(folder)}, check=False)
        assert os.listdir(folder) == [] and os.listdir(cache.dir) == []
        return done
    run.folder = folder
    return run


def test_all_mistakes_at_once(cache):
    with open(cache.conf, "w") as f:
        f.write(MISTAKES)
    done = program("--check", cache.conf)
    lines = [line.split(cache.conf, 1)[1] for line in done.stderr.splitlines() if cache.conf in line]
    assert done.returncode == 1 and done.stdout == ""
    assert [line.split(":")[1] for line in lines if line[1].isdigit()] == ["2", "3", "4", "5", "9", "11", "13", "10", "10", "14"]
    told = "\n".join(lines)
    for words in ("image_cache_max_size = lots", "nearest is image_cache_dir", "neither [section]", "unknown section [nosection]", "type = htp",
                  "image_cache_dir is missing", "begins with http://", "{id} where", "needs option admin_token_file", '"bogus"'):
        assert words in told, words
    assert "needs option path" not in told and "foo" not in told  # what follows from another mistake is none
    assert done.stderr.splitlines()[-1].endswith("11 mistakes")


def test_one_mistake_is_one_line(cache):
    """And a mount says the first, as before."""
    with open(cache.conf, "w") as f:
        f.write(MISTAKES)
    assert len(cache.run().stderr.splitlines()) == 1
    cache.configure({"type": "file", "path": "/"}, image_cache_max_size="lots")
    done = program("--check", cache.conf)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


def test_only_what_is_near_is_suggested(cache):
    cache.configure({"type": "file", "path": "/", "bogus": 1, "pathh": 1})
    told = program("--check", cache.conf).stderr
    assert '"bogus" in section [backend]: correct or remove' in told and "the nearest is path" in told


def test_what_it_comes_to(cache, check, origin):
    cache.configure(origin, image_cache_max_size="4G")
    done = check()
    assert done.returncode == 0 and done.stderr == "" and done.stdout.startswith(f"ok: http, 1 endpoint; cache of 4G in {cache.dir} on ")
    assert "passthrough" in done.stdout and len(done.stdout.splitlines()) == 1
    assert origin.requests() == []  # only --online asks


def test_online(cache, check, origin):
    for name in ("a.img", "b.img"):
        origin.put(name, blob(300 * KIB, 1))
    cache.configure(origin)
    done = check("--online")
    assert done.returncode == 0 and done.stderr == "", done
    assert "\nok: the backend lists 2 images; a.img, the first, can be had (307200 bytes)\n" in done.stdout
    assert origin.requests("a.img")
    done = subprocess.run([binary(), "--check", cache.conf, "--online"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "lists 2 images" in done.stdout


def test_online_without_a_listing(cache, check, origin):
    """A server that lists nothing is asked for an image that nobody has."""
    cache.configure(origin.config(list_url="none"))
    done = check("--online")
    assert done.returncode == 0 and "lists 0 images; asked for an image that nobody has, it says so" in done.stdout
    origin.stop()
    done = check("--online")
    assert done.returncode == 1 and "ok: the backend" not in done.stdout and origin.url in done.stderr
    origin.start()


@pytest.mark.parametrize("status, told", [(403, "cannot be had: Permission denied"), (500, "cannot be listed")])
def test_online_what_is_wrong(cache, check, origin, status, told):
    """Not the listing, not the image: which, and why."""
    origin.put("a.img", blob(300 * KIB, 1))
    origin.fault(None, status=status)
    cache.configure(origin.config(retries=0))
    done = check("--online")
    assert done.returncode == 1 and "ok: the backend" not in done.stdout and (told in done.stderr), done
    origin.clear_faults()
    origin.fault("a.img", status=status)
    done = check("--online")
    assert done.returncode == 1 and "ok: the backend" not in done.stdout and "a.img cannot be had" in done.stderr, done


def test_online_given_up(cache, check, origin):
    """Ctrl-C leaves nothing behind."""
    origin.put("a.img", blob(300 * KIB, 1))
    hold = origin.fault("a.img", hold_head=True)
    cache.configure(origin)
    process = cache.spawn(binary(), "--check", cache.conf, "--online", env={**os.environ, "TMPDIR": str(check.folder)})
    wait_until(lambda: hold.waiting, what="the question")
    assert glob.glob(str(check.folder / "glance-cache-check-*"))
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 1
    assert os.listdir(check.folder) == []
    hold.release()
