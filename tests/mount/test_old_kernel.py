# SPDX-License-Identifier: Apache-2.0
"""A kernel before 6.9 (Debian 12's own, 6.1, in an emulated machine): no passthrough, and a worker's death means a fresh mount."""
import glob
import gzip
import os
import platform
import re
import shutil
import subprocess

import pytest

from harness import binary
from waiting import PATIENCE

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs none /dev; mount -t proc none /proc; mount -t sysfs none /sys
insmod /lib/fuse.ko
chmod 755 / /images /cache
dd if=/dev/urandom of=/images/img bs=1M count=8 2>/dev/null
echo "KERNEL $(uname -r)"
until_there() { # COMMAND …: at most 60 s
    i=0
    while ! "$@" >/dev/null 2>&1 && [ $i -lt 600 ]; do usleep 100000; i=$((i+1)); done
}
glance-cache-fs -f /etc/gc.conf /mnt 2>/log &
keeper=$!
until_there grep -q ' /mnt ' /proc/mounts
cmp /mnt/images/img /images/img && echo COLD-RIGHT
cmp /mnt/images/img /images/img && echo WARM-RIGHT
grep '"passthrough"' /mnt/.status
until_there test -e /mnt/cached/img
exec 3</mnt/images/img
for worker in $(pidof glance-cache-fs); do
    [ $worker = $keeper ] || kill -9 $worker
done
until_there grep -q afresh /log
echo 1 >/proc/sys/vm/drop_caches
timeout 30 cat <&3 >/dev/null 2>&1 || echo "OPEN-FILE-ENDS $?"
exec 3<&-
until_there cmp /mnt/images/img /images/img
cmp /mnt/images/img /images/img && echo AFTER-RIGHT
ls /mnt/cached
touch /mnt/queued/img && rm /mnt/cached/img && cmp /mnt/images/img /images/img && echo EVICTED-RIGHT
umount /mnt
wait $keeper
echo "EXIT $?"
cat /log
poweroff -f
"""

CONF = """[DEFAULT]
image_cache_dir = /cache
[backend]
type = file
path = /images
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """Debian 12's kernel and its fuse.ko, unpacked and not installed."""
    if platform.machine() != "x86_64":
        pytest.skip("only for x86_64")
    for tool in ("qemu-system-x86_64", "busybox", "apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    folder = str(tmp_path_factory.mktemp("kernel"))
    depends = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"Depends: (linux-image-(6\.[0-8]|5\.\d+)\.\S+)", depends)
    if found is None:
        pytest.skip("this distribution has no kernel before 6.9")
    if subprocess.run(["apt-get", "download", "-q", found[1]], cwd=folder, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{found[1]} cannot be had")
    subprocess.run(["dpkg-deb", "-x", *glob.glob(folder + "/*.deb"), folder], check=True)
    yield glob.glob(folder + "/boot/vmlinuz-*")[0], glob.glob(folder + "/lib/modules/*/kernel/fs/fuse/fuse.ko")[0]
    shutil.rmtree(folder)


def libraries(program):
    return re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout)


def make_initrd(folder, module):
    root = os.path.join(folder, "root")
    for name in ("bin", "dev", "proc", "sys", "lib", "etc", "cache", "mnt", "images"):
        os.makedirs(os.path.join(root, name))
    for source, name in ((shutil.which("busybox"), "bin/busybox"), (binary(), "bin/glance-cache-fs"), (module, "lib/fuse.ko")):
        shutil.copy(source, os.path.join(root, name))
    for path in libraries(binary()):
        os.makedirs(root + os.path.dirname(path), exist_ok=True)
        shutil.copy(path, root + path)
    for name, text in (("init", INIT), ("etc/gc.conf", CONF), ("etc/passwd", "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"),
                       ("etc/group", "root:x:0:\nnogroup:x:65534:\n")):
        with open(os.path.join(root, name), "w") as f:
            f.write(text)
    os.chmod(os.path.join(root, "init"), 0o755)
    names = "\n".join(os.path.relpath(os.path.join(at, n), root) for at, folders, files in os.walk(root) for n in (*folders, *files))
    archive = subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names.encode(), capture_output=True, check=True).stdout
    path = os.path.join(folder, "initrd.gz")
    with gzip.open(path, "wb", compresslevel=1) as f:
        f.write(archive)
    return path


def test_before_resend_and_passthrough(kernel, tmp_path):
    image, module = kernel
    initrd = make_initrd(str(tmp_path), module)
    said = subprocess.run(["qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-m", "768", "-smp", "2", "-nographic", "-no-reboot", "-nic", "none",
                           "-kernel", image, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1"],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=240 * PATIENCE, check=True).stdout.decode(errors="replace")
    print(said)
    lines = [line.strip() for line in said.splitlines()]
    release = re.search(r"KERNEL (\d+)\.(\d+)", said)
    assert release and (int(release[1]), int(release[2])) < (6, 9)
    for mark in ("COLD-RIGHT", "WARM-RIGHT", "AFTER-RIGHT", "EVICTED-RIGHT", "EXIT 0", "img"):
        assert mark in lines, mark
    assert "the kernel does not offer it (Linux 6.9)" in said
    assert "unmounted and mounted afresh" in said
    # what was open then gives an error, and does not hang (143: ended by timeout)
    ended = re.search(r"OPEN-FILE-ENDS (\d+)", said)
    assert ended and ended[1] not in ("0", "124", "143")
