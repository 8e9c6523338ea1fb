# SPDX-License-Identifier: Apache-2.0
"""The view: what each folder shows, what touch, rm and mv do there, and that nothing else has an effect."""
import errno
import json
import os
import shutil
import stat
import subprocess
import time

import pytest

from harness import KIB, MIB, PROBE, STRANGER, VIEWS, blob, error_of, name_of, raw_xattrs, read, refused, same, sha
from waiting import wait_until

SMALL, LARGE = 200 * KIB + 17, 3 * MIB + 5


@pytest.fixture
def served(cache, origin):
    """Two images: `small` (cached) and `large` (not read yet)."""
    origin.put("small", blob(SMALL, 1))
    origin.put("large", blob(LARGE, 2))
    cache.configure(origin).mount()
    same(cache.read("small"), blob(SMALL, 1))
    cache.wait_cached("small")
    return cache


def test_root(served):
    assert set(os.listdir(served.mnt)) - {".status"} == set(VIEWS)
    for view in VIEWS:
        assert stat.S_ISDIR(os.stat(served.path(view)).st_mode)
    assert stat.S_ISREG(os.stat(served.path(".status")).st_mode)


def test_images_lists_what_the_backend_has(served):
    assert served.ls("images") == ["large", "small"]
    lines = served.shell("ls -l images").stdout
    assert str(SMALL) in lines and str(LARGE) in lines


def test_listing_entries_agree_with_stat(served):
    for view in ("images", "cached"):
        with os.scandir(served.path(view)) as entries:
            for e in entries:
                assert e.is_file(follow_symlinks=False)
                assert e.inode() == os.stat(e.path).st_ino


def test_stat_before_and_after(served):
    cold, warm = os.stat(served.image("large")), os.stat(served.image("small"))
    assert cold.st_size == LARGE and warm.st_size == SMALL
    assert warm.st_blocks * 512 >= SMALL
    assert cold.st_blocks * 512 <= PROBE  # at most what the look-up brought
    assert abs(warm.st_atime - time.time()) < 120
    assert warm.st_mode & 0o022 == 0
    assert stat.S_ISREG(warm.st_mode) and warm.st_nlink >= 1


def test_cached_is_the_same_inode(served):
    a, b = os.stat(served.image("small")), os.stat(served.path("cached", "small"))
    assert (a.st_ino, a.st_dev, a.st_size) == (b.st_ino, b.st_dev, b.st_size)
    assert served.ls("cached") == ["small"]
    same(read(served.path("cached", "small")), blob(SMALL, 1))


def test_cached_never_asks_the_backend(served, origin):
    before = len(origin.requests())
    assert error_of(os.stat, served.path("cached", "large")) == errno.ENOENT
    assert error_of(os.open, served.path("cached", "nobody"), os.O_RDONLY) == errno.ENOENT
    same(read(served.path("cached", "small")), blob(SMALL, 1))
    assert len(origin.requests()) == before


def test_unknown_names_are_enoent(served):
    assert error_of(os.stat, served.image("nobody")) == errno.ENOENT
    for view in VIEWS[1:]:
        assert error_of(os.stat, served.path(view, "nobody")) == errno.ENOENT
        assert error_of(os.unlink, served.path(view, "nobody")) == errno.ENOENT
    assert error_of(os.stat, served.path("nowhere")) == errno.ENOENT


def test_atime_follows_reads(served):
    before = os.stat(served.image("small")).st_atime_ns
    wait_until(lambda: time.time_ns() > before + 20_000_000, what="the clock")
    served.read("small")
    wait_until(lambda: os.stat(served.image("small")).st_atime_ns > before, what="a later atime")


def test_hits_are_counted(served):
    before = int(served.xattr("small", "hits"))
    for _ in range(3):
        served.read("small")
    wait_until(lambda: int(served.xattr("small", "hits")) == before + 3, what="3 more hits")


def test_hits_and_atime_survive_a_restart(served):
    for _ in range(3):
        served.read("small")
    wait_until(lambda: int(served.xattr("small", "hits")) >= 3, what="3 hits")
    hits, atime = int(served.xattr("small", "hits")), os.stat(served.image("small")).st_atime
    served.restart()
    assert int(served.xattr("small", "hits")) == hits
    assert abs(os.stat(served.image("small")).st_atime - atime) < 1


def test_attributes(served):
    attributes = raw_xattrs(served.image("small"))
    for key in ("hits", "state", "bytes_cached"):
        assert "user.glance." + key in attributes, attributes
    assert attributes["user.glance.state"] == "complete"
    assert attributes["user.glance.bytes_cached"] == str(SMALL)
    assert attributes["user.glance.etag"].strip('"')
    assert served.xattr("large", "state") in ("known", "partial")
    assert raw_xattrs(served.path("cached", "small")) == attributes
    assert error_of(os.getxattr, served.image("small"), "user.other") == errno.ENODATA
    assert error_of(os.getxattr, served.image("small"), "security.selinux") in (errno.ENODATA, errno.EOPNOTSUPP)


def test_getfattr(served):
    text = served.shell("getfattr -d -m - cached/small").stdout
    assert 'user.glance.state="complete"' in text


def test_open_handles_are_counted(served):
    assert served.xattr("small", "open") == "0"
    fd = os.open(served.image("small"), os.O_RDONLY)
    assert served.xattr("small", "open") == "1"
    os.close(fd)
    wait_until(lambda: served.xattr("small", "open") == "0", what="the handle to be given back")


def test_pinned_can_be_set(served):
    path = served.image("small")
    for value in (b"1", b"0", b"1"):
        os.setxattr(path, "user.glance.pinned", value)
        assert os.getxattr(path, "user.glance.pinned") == value
    assert error_of(os.setxattr, path, "user.glance.pinned", b"perhaps") == errno.EINVAL
    served.restart()
    assert os.getxattr(path, "user.glance.pinned") == b"1"


def test_other_attributes_cannot_be_set(served):
    path = served.image("small")
    for key in ("hits", "state", "etag", "checksum"):
        refused(os.setxattr, path, "user.glance." + key, b"7")
        refused(os.removexattr, path, "user.glance." + key)
    assert error_of(os.setxattr, path, "user.mine", b"1") in (errno.EPERM, errno.EROFS, errno.EOPNOTSUPP)


def everywhere(cache):
    yield from (cache.image("small"), cache.image("large"), cache.path("cached", "small"), cache.path(".status"))


def test_nothing_can_be_written(served):
    for path in everywhere(served):
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND,
                      os.O_WRONLY | os.O_CREAT):
            refused(os.open, path, flags)
        refused(os.truncate, path, 0)
        refused(os.chmod, path, 0o777)
        refused(os.chown, path, 1, 1)
    refused(os.utime, served.path(".status"))
    same(served.read("small"), blob(SMALL, 1))


def test_a_touch_is_borne(served):
    """Programs that touch the files they use (nova, of the bases of its disks) go on; the times stay those of the image's version."""
    for path in (served.image("small"), served.path("cached", "small")):
        before = os.stat(path)
        os.utime(path)
        os.utime(path, (1, 1))
        subprocess.run(["touch", "-c", "-d", "2001-01-01", path], check=True, timeout=60)
        after = os.stat(path)
        assert after.st_mtime_ns == before.st_mtime_ns and after.st_ctime_ns == before.st_ctime_ns
        refused(os.truncate, path, 0)
    same(served.read("small"), blob(SMALL, 1))


def test_nothing_can_be_made(served):
    for view in VIEWS:
        refused(os.mkdir, served.path(view, "folder"))
        refused(os.symlink, "x", served.path(view, "link"))
        refused(os.mkfifo, served.path(view, "pipe"))
        refused(os.link, served.image("small"), served.path(view, "hard"))
        refused(os.rmdir, served.path(view))
        refused(os.rename, served.path(view), served.path("other"))
        refused(os.chmod, served.path(view), 0o777)
        if view not in ("queued", "bootsets"):
            refused(os.open, served.path(view, "made"), os.O_WRONLY | os.O_CREAT)
    refused(os.open, served.path("made"), os.O_WRONLY | os.O_CREAT)
    refused(os.mkdir, served.path("made"))
    assert set(os.listdir(served.mnt)) - {".status"} == set(VIEWS)


def test_what_cannot_be_removed(served):
    refused(os.unlink, served.image("small"))
    refused(os.unlink, served.image("large"))
    refused(os.unlink, served.path(".status"))
    assert served.ls("images") == ["large", "small"] and served.ls("cached") == ["small"]


def test_what_cannot_be_moved(served):
    for a, b in (("images/small", "images/other"), ("images/small", "cached/other"), ("images/small", "invalid/small"),
                 ("cached/small", "cached/other"), ("cached/small", "images/other"), ("cached/small", "queued/small"),
                 ("cached/small", "invalid/other"), ("cached/small", "small"), (".status", "invalid/.status")):
        refused(os.rename, served.path(a), served.path(b))
    assert served.ls("cached") == ["small"] and served.ls("invalid") == []


def test_rm_evicts(served, origin):
    inode = os.stat(served.image("small")).st_ino
    os.unlink(served.path("cached", "small"))
    assert served.ls("cached") == []
    wait_until(lambda: not os.path.exists(os.path.join(served.dir, "small")), what="the file to go")
    wait_until(lambda: os.stat(served.image("small")).st_ino != inode, what="a new inode")
    assert served.xattr("small", "state") in ("known", "partial")
    before = origin.sent("small")
    same(served.read("small"), blob(SMALL, 1))
    assert origin.sent("small") > before
    served.wait_cached("small")


def test_an_open_handle_survives_eviction(served, origin):
    fd = os.open(served.image("small"), os.O_RDONLY)
    os.unlink(served.path("cached", "small"))
    origin.put("small", blob(SMALL, 9), etag='"other"')
    before = origin.sent("small")
    parts = [os.pread(fd, 4096, o) for o in range(0, SMALL, 4096)]
    same(b"".join(parts), blob(SMALL, 1))
    assert origin.sent("small") == before
    wait_until(lambda: error_of(served.read, "small") == 0, what="the new version to be readable")
    same(served.read("small"), blob(SMALL, 9))
    os.close(fd)
    served.wait_cached("small")
    wait_until(lambda: not [n for n in os.listdir(os.path.join(served.dir, ".retired"))], what="the old file to go")


def test_rm_with_the_shell(served):
    served.shell("rm cached/small && ls cached")
    assert served.ls("cached") == []


def test_mv_to_invalid_quarantines(served, origin):
    os.rename(served.path("cached", "small"), served.path("invalid", "small"))
    assert served.ls("cached") == [] and served.ls("invalid") == ["small"]
    served.entry("invalid", "small")
    assert os.path.getsize(os.path.join(served.dir, "invalid", "small")) == SMALL
    assert not os.path.exists(os.path.join(served.dir, "small"))
    before = origin.sent("small")
    same(served.read("small"), blob(SMALL, 1))
    assert origin.sent("small") >= before + SMALL
    served.wait_cached("small")


def test_mv_with_the_shell_then_rm(served):
    served.shell("mv cached/small invalid/")
    assert served.ls("invalid") == ["small"]
    served.restart()
    assert served.ls("invalid") == ["small"]
    served.shell("rm invalid/small")
    assert served.ls("invalid") == []
    assert not os.path.exists(os.path.join(served.dir, "invalid", "small"))


def test_incomplete(cache, origin):
    origin.put("big", blob(8 * MIB, 3))
    hold = origin.fault("big", hold_from=2 * MIB)
    cache.configure(origin, fetch_whole_after="64K", streams=1).mount()
    same(cache.read("big", MIB), blob(8 * MIB, 3)[:MIB])
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    assert cache.ls("incomplete") == ["big"] and cache.ls("cached") == []
    state = wait_until(lambda: (s := os.stat(cache.path("incomplete", "big"))).st_blocks * 512 >= MIB and s,
                       what="blocks")
    assert state.st_size == 8 * MIB and state.st_blocks * 512 <= 3 * MIB
    assert abs(float(cache.xattr("big", "last_progress")) - time.time()) < 120
    assert cache.xattr("big", "state") == "partial"
    same(read(cache.path("incomplete", "big"), MIB), blob(8 * MIB, 3)[:MIB])
    refused(os.open, cache.path("incomplete", "big"), os.O_WRONLY)
    hold.release()
    cache.wait_cached("big")
    assert cache.ls("incomplete") == []
    same(cache.read("big"), blob(8 * MIB, 3))


def test_rm_incomplete_stops_the_fetch(cache, origin):
    origin.put("big", blob(8 * MIB, 3))
    hold = origin.fault("big", hold_from=2 * MIB)
    cache.configure(origin, fetch_whole_after="64K").mount()
    cache.read("big", MIB)
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    os.unlink(cache.path("incomplete", "big"))
    wait_until(lambda: hold.waiting == 0, what="the fetch to stop")
    assert cache.ls("incomplete") == [] and cache.ls("images") == ["big"]
    wait_until(lambda: os.listdir(os.path.join(cache.dir, "incomplete")) == [], what="the bytes to go")
    origin.clear_faults()
    same(cache.read("big"), blob(8 * MIB, 3))
    cache.wait_cached("big")


def test_status(served):
    status = served.status()
    assert isinstance(status, dict)
    text = json.dumps(status)
    assert str(SMALL) in text and str(10 << 30) in text, text
    served.shell("cat .status | python3 -m json.tool")


def test_df(served):
    space = os.statvfs(served.mnt)
    assert space.f_blocks * space.f_frsize == 10 << 30
    used = (space.f_blocks - space.f_bfree) * space.f_frsize
    assert SMALL <= used <= SMALL + 4 * MIB
    assert space.f_bavail <= space.f_bfree
    assert served.shell("df --output=ipcent .").stdout.split()[-1] == "-"  # 100 % would be an alarm
    assert "10G" in served.shell("df -h .").stdout


def test_df_shows_eviction(served):
    os.unlink(served.path("cached", "small"))

    def used():
        space = os.statvfs(served.mnt)
        return (space.f_blocks - space.f_bfree) * space.f_frsize
    wait_until(lambda: used() < SMALL, what="df to tell less")


def test_du(served):
    used = int(served.shell("du -s --block-size=1 cached").stdout.split()[0])
    assert SMALL <= used <= SMALL + 256 * KIB
    assert int(served.shell("du --apparent-size -b images/large").stdout.split()[0]) == LARGE


def test_find(served):
    assert served.shell("find . -type f -name small").stdout.split() == ["./images/small", "./cached/small"] or \
        set(served.shell("find . -type f -name small").stdout.split()) == {"./images/small", "./cached/small"}
    assert served.shell("find cached -type f -amin -5").stdout.split() == ["cached/small"]
    assert served.shell("find cached -atime +30 -delete").stdout == "" and served.ls("cached") == ["small"]
    served.shell("find cached -type f -size +10k -delete")
    assert served.ls("cached") == []


def test_cp(served):
    target = os.path.join(served.root, "copy")
    for name, size, seed in (("small", SMALL, 1), ("large", LARGE, 2)):
        served.shell(f"cp images/{name} {target}")
        same(read(target), blob(size, seed))
    served.shell(f"cp -a images/. {target}.all/")
    same(read(target + ".all/large"), blob(LARGE, 2))
    assert served.shell(f"cp {target} images/large", check=False).returncode != 0


def test_rsync(served):
    served.shell(f"rsync -a images/ {served.root}/there/")
    same(read(f"{served.root}/there/large"), blob(LARGE, 2))
    wait_until(lambda: served.ls("cached") == ["large", "small"], what="both to be cached")
    served.shell(f"rsync -a --checksum --delete images/ {served.root}/there/")


def test_tar_and_sha256sum(served):
    assert served.shell("sha256sum images/large").stdout.split()[0] == sha(blob(LARGE, 2))
    served.shell("tar cf - images | tar xOf - images/small | cmp - cached/small")


def test_cat_and_dd(served):
    assert served.shell("cat images/large | sha256sum").stdout.split()[0] == sha(blob(LARGE, 2))
    assert served.shell("dd if=images/large bs=3k status=none | sha256sum").stdout.split()[0] == sha(blob(LARGE, 2))


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed (Debian: qemu-utils)")
def test_qemu_img(cache, origin, tmp_path):
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 0x5a 1M 3M", disk], check=True, stdout=subprocess.DEVNULL)
    origin.put("disk", disk.read_bytes())
    cache.configure(origin).mount()
    info = json.loads(cache.shell("qemu-img info -U --output=json images/disk").stdout)
    assert info["format"] == "qcow2" and info["virtual-size"] == 64 * MIB
    cache.shell(f"qemu-img compare -U images/disk {disk}")
    cache.shell(f"qemu-img create -q -f qcow2 -F qcow2 -b {cache.image('disk')} {cache.root}/overlay.qcow2")
    cache.shell(f"qemu-io -c 'read -P 0x5a 2M 1M' -c 'write 2M 64k' {cache.root}/overlay.qcow2")


def test_modes_and_owners(served):
    for path in [served.mnt] + [served.path(v) for v in VIEWS] + [served.path(".status"), served.image("small")]:
        assert os.stat(path).st_mode & 0o022 == 0, path


def test_another_user(cache, origin):
    origin.put("small", blob(SMALL, 1))
    cache.configure(origin).mount()
    as_stranger = ["setpriv", "--reuid", STRANGER, "--regid", STRANGER, "--clear-groups"]
    assert subprocess.run([*as_stranger, "ls", cache.mnt], capture_output=True, check=False).returncode != 0
    cache.unmount()
    cache.mount("-o", "allow_other")
    done = subprocess.run([*as_stranger, "cat", cache.image("small")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    same(done.stdout, blob(SMALL, 1))
    cache.wait_cached("small")
    assert subprocess.run([*as_stranger, "rm", "-f", cache.path("cached", "small")], capture_output=True,
                          check=False).returncode != 0
    assert subprocess.run([*as_stranger, "touch", cache.path("queued", "small")], capture_output=True,
                          check=False).returncode != 0
    assert cache.ls("cached") == ["small"]


def test_seek_data_and_hole_do_not_lie(cache, origin):
    """cp and qemu-img ask for holes: a file not fetched yet must not look like one."""
    origin.put("big", blob(4 * MIB, 3))
    cache.configure(origin).mount()
    fd = os.open(cache.image("big"), os.O_RDONLY)
    try:
        assert os.lseek(fd, 0, os.SEEK_DATA) == 0
        assert os.lseek(fd, 0, os.SEEK_HOLE) == 4 * MIB
    except OSError as e:
        assert e.errno in (errno.EINVAL, errno.EOPNOTSUPP), name_of(e.errno)
    finally:
        os.close(fd)
    cache.shell(f"cp --sparse=always images/big {cache.root}/copy")
    same(read(cache.root + "/copy"), blob(4 * MIB, 3))
