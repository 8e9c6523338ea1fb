# SPDX-License-Identifier: Apache-2.0
"""Who may do what in the mount: the options of the mount and of the configuration, as other users meet them."""
import grp
import os
import pwd
import stat
import subprocess
import sys

import pytest

from harness import KIB, VIEWS, blob, error_of, refused, same
from waiting import wait_until
from workers import service_user

SIZE = 200 * KIB
STRANGER, GROUP = 12345, 23456
# What a stranger may not, and root may; each is put back by what follows.
CHANGES = {
    "rm": "rm cached/small",
    "touch": "touch queued/large",
    "mv": "mv cached/small invalid/",
    "pin": "setfattr -n user.glance.pinned -v 1 images/small",
}
LOOKS = {
    "cat": "cat images/small",
    "ls": "ls images cached",
    "stat": "stat images/large",
    "status": "cat .status",
    "attributes": "getfattr -n user.glance.state images/small",
}


def as_user(cache, command, uid=STRANGER, gid=STRANGER, groups=()):
    who = ["setpriv", "--reuid", str(uid), "--regid", str(gid), *(["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"])]
    return subprocess.run([*who, "sh", "-c", f"cd {cache.mnt} && {command}"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                          check=False)


@pytest.fixture
def shared(cache, origin):
    origin.put("small", blob(SIZE, 1))
    origin.put("large", blob(SIZE, 2))

    def mount(*options, **config):
        cache.configure(origin, **config).mount(*options)
        same(cache.read("small"), blob(SIZE, 1))
        cache.wait_cached("small")
        return cache
    return mount


@pytest.mark.parametrize("options", ["allow_root", "ro,allow_root", "allow_root,default_permissions"])
@pytest.mark.parametrize("what", [*CHANGES, *LOOKS])
def test_allow_root_is_for_root(shared, options, what):
    cache = shared("-o", options)
    command = {**CHANGES, **LOOKS}[what]
    done = as_user(cache, command)
    assert done.returncode != 0, done.stdout
    assert cache.ls("cached") == ["small"] and cache.ls("queued") == [] and cache.xattr("small", "pinned") == "0"
    if not options.startswith("ro"):
        cache.shell(command)


def test_allow_root_holds_for_the_next_worker(shared):
    cache = shared("-o", "allow_root")
    os.kill(cache.process.pid, 1)  # SIGHUP
    wait_until(lambda: "serves" in cache.logged(), what="the next worker")
    assert as_user(cache, "rm cached/small").returncode != 0
    assert as_user(cache, "cat images/small").returncode != 0


def test_both_are_refused(cache, origin):
    cache.configure(origin)
    done = cache.run("-o", "allow_other,allow_root")
    assert done.returncode == 1 and "allow_root" in done.stderr


def test_what_only_libfuse_knows_is_refused(cache, origin):
    """Options of its high-level interface would have no effect."""
    cache.configure(origin)
    for option in ("umask=0777", "uid=0", "noforget", "modules=subdir"):
        done = cache.run("-o", option)
        assert done.returncode == 1 and option.split("=")[0] in done.stderr, done.stderr


@pytest.mark.parametrize("what", CHANGES)
def test_allow_other_is_for_reading(shared, what):
    cache = shared("-o", "allow_other")
    assert as_user(cache, CHANGES[what]).returncode != 0
    assert as_user(cache, "cat images/small").stdout == blob(SIZE, 1)
    assert cache.ls("cached") == ["small"] and cache.ls("queued") == [] and cache.xattr("small", "pinned") == "0"


@pytest.mark.parametrize("what", CHANGES)
def test_the_owner_may(shared, what):
    """As the HTTP server does it, which runs as the user whom the files belong to."""
    cache = shared("-o", "allow_other")
    owner = pwd.getpwnam(service_user())
    done = as_user(cache, CHANGES[what], owner.pw_uid, owner.pw_gid)
    assert done.returncode == 0, done.stderr
    if what == "pin":
        assert cache.xattr("small", "pinned") == "1"
        assert as_user(cache, "setfattr -x user.glance.pinned images/small", owner.pw_uid, owner.pw_gid).returncode == 0


WRITE = "import os, sys\ntry: os.open(sys.argv[1], os.O_RDWR)\nexcept OSError as e: print(e.errno)"


def test_nobody_writes_into_an_image(shared):
    cache = shared("-o", "allow_other")
    owner = pwd.getpwnam(service_user())
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
        refused(os.open, cache.image("small"), flags)
    refused(os.truncate, cache.image("small"), 0)
    done = as_user(cache, f"{sys.executable} -c '{WRITE}' images/small", owner.pw_uid, owner.pw_gid)
    assert done.stdout.decode().strip() == "1", done  # EPERM
    same(cache.read("small"), blob(SIZE, 1))


@pytest.mark.parametrize("mode", ["0444", "0440", "0400"])
def test_view_mode(shared, mode):
    cache = shared("-o", "allow_other", view_mode=mode, view_group=GROUP)
    bits = {"0444": 0o777, "0440": 0o770, "0400": 0o700}[mode]
    paths = [cache.mnt, cache.path(".status"), cache.image("small"), *map(cache.path, VIEWS)]
    cache.touch("queued", "large")
    for path in paths:
        state = os.stat(path)
        assert stat.S_IMODE(state.st_mode) & ~bits == 0 and state.st_gid == GROUP, path
    for what in LOOKS.values():
        assert (as_user(cache, what).returncode == 0) == (mode == "0444"), what
        assert (as_user(cache, what, groups=[GROUP]).returncode == 0) == (mode != "0400"), what
    assert as_user(cache, CHANGES["rm"], groups=[GROUP]).returncode != 0
    owner = pwd.getpwnam(service_user())
    assert as_user(cache, CHANGES["pin"], owner.pw_uid, owner.pw_gid).returncode == 0
    assert error_of(cache.read, "large") == 0


def test_view_group_by_name_and_mistakes(cache, origin):
    name = grp.getgrall()[3]
    cache.configure(origin, view_group=name.gr_name).mount()
    assert os.stat(cache.mnt).st_gid == name.gr_gid
    cache.unmount()
    cache.configure(origin, view_group="no-such-group")
    done = cache.run()
    assert done.returncode == 1 and "view_group = no-such-group: there is no such group" in done.stderr
    cache.configure(origin, view_mode="0666")
    done = cache.run()
    assert done.returncode == 1 and "0440" in done.stderr


MANY = """
import errno, os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
fds = []
try:
    while len(fds) < 3000:
        fds.append(os.open(sys.argv[1], os.O_RDONLY))
    print("all", len(fds), flush=True)
except OSError as e:
    print(errno.errorcode[e.errno], len(fds), flush=True)
sys.stdin.read()
"""


def many(cache, path):
    """Somebody who opens PATH as often as he can. Says where that ended, and waits for the end of its input."""
    return cache.spawn("setpriv", "--reuid", str(STRANGER), "--regid", str(STRANGER), "--clear-groups", sys.executable, "-c", MANY,
                       cache.path(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.mark.parametrize("path", [".status", "invalid/small"])
def test_one_user_does_not_take_all_handles_of_documents(shared, path):
    """Their texts are kept while they are open."""
    cache = shared("-o", "allow_other")
    if path == "invalid/small":
        os.rename(cache.path("cached", "small"), cache.path("invalid", "small"))
    greedy = many(cache, path)
    assert greedy.stdout.readline().decode().split() == ["EMFILE", "1024"]
    assert cache.status()["counters"]["open_handles"] == 0
    assert as_user(cache, f"cat {path}", STRANGER + 1).returncode == 0
    assert as_user(cache, f"cat {path}").returncode != 0
    greedy.stdin.close()
    greedy.wait(60)
    wait_until(lambda: as_user(cache, f"cat {path}").returncode == 0, what="the handles to be given back")


@pytest.mark.http1
@pytest.mark.parametrize("passthrough", ["auto", "off"])
def test_one_user_does_not_take_all_handles_of_images(shared, cache, passthrough):
    """Each may take a descriptor of the worker; also when another worker goes on."""
    command = cache.command
    cache.command = lambda *options: ["prlimit", "--nofile=1000:1000", *command(*options)]
    shared("-o", "allow_other", passthrough=passthrough)
    greedy = many(cache, "images/small")
    assert greedy.stdout.readline().decode().split() == ["EMFILE", "500"]
    with open(cache.image("small"), "rb") as kept:  # root has no bound
        assert as_user(cache, "cat images/small", STRANGER + 1).stdout == kept.read()
    os.kill(cache.process.pid, 1)  # SIGHUP
    wait_until(lambda: "serves" in cache.logged(), what="the next worker")
    assert as_user(cache, "cat images/small").returncode != 0
    assert as_user(cache, "cat images/small", STRANGER + 1).stdout == blob(SIZE, 1)
    greedy.stdin.close()
    greedy.wait(60)
    wait_until(lambda: as_user(cache, "cat images/small").returncode == 0, what="the handles to be given back")
    wait_until(lambda: cache.status()["counters"]["open_handles"] == 0, what="all to be closed")
