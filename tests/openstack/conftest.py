# SPDX-License-Identifier: Apache-2.0
"""
The mount tests' fixtures, and a lab: a real Keystone, Glance and Swift on loopback.

  GCFS_LAB      the folder of a lab that runs already (lab/up FOLDER); it is used and left running. Else one is made and ended
  GCFS_LAB_KEEP a folder for the lab made here, to be kept: the next run starts it faster

Where the packages of the lab cannot be had, its tests are skipped, and say why. Whatever else keeps it from starting is a failure.
"""
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
MOUNT = os.path.join(os.path.dirname(HERE), "mount")
sys.path[:0] = [HERE, MOUNT]

FULL_ENVIRONMENT = dict(os.environ)  # for apt, which may need a proxy
for variable in [v for v in os.environ if v.startswith(("OS_", "AWS_", "ST_")) or v.lower().endswith("_proxy")]:
    del os.environ[variable]  # the program under test takes credentials from there
os.environ["no_proxy"] = "127.0.0.1,localhost"

spec = importlib.util.spec_from_file_location("mount_fixtures", os.path.join(MOUNT, "conftest.py"))
mount_fixtures = importlib.util.module_from_spec(spec)
sys.modules["mount_fixtures"] = mount_fixtures
spec.loader.exec_module(mount_fixtures)
globals().update({n: v for n, v in vars(mount_fixtures).items() if not n.startswith("__")})

from cloud import Cloud, DOWN, UP  # noqa: E402
from gate import Gate  # noqa: E402

UNAVAILABLE = []  # why there is no lab, once that is known


def bring_up(folder):
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(["bash", UP, folder], env=FULL_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                              timeout=1800, check=False)
        log.seek(0)
        lines = [line for line in log.read().splitlines() if line.strip()]
    last = lines[-1] if lines else f"lab/up ended with {done.returncode}"
    if done.returncode == 77:
        UNAVAILABLE.append(f"no OpenStack here: {last}")
        pytest.skip(UNAVAILABLE[0])
    assert done.returncode == 0, "\n".join(lines[-20:])


@pytest.fixture(scope="session")
def cloud():
    if UNAVAILABLE:
        pytest.skip(UNAVAILABLE[0])
    ready = os.environ.get("GCFS_LAB")
    if ready:
        yield Cloud(ready)
        return
    if os.geteuid() != 0:
        pytest.skip("the lab needs root, to install its packages")
    if not shutil.which("apt-get"):
        pytest.skip("the lab is made of Debian packages, and there is no apt-get")
    kept = os.environ.get("GCFS_LAB_KEEP")
    folder = kept or tempfile.mkdtemp(prefix="gcfs-lab.", dir=os.environ.get("GCFS_TEST_TMP"))
    os.makedirs(folder, exist_ok=True)
    try:
        bring_up(folder)
        yield Cloud(folder)
    finally:
        subprocess.run(["bash", DOWN, folder] + ([] if kept else ["--purge"]), stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=False)


@pytest.fixture
def make_gate(make_cache):
    """make_gate(url): a gate before a service. Gone before the caches are unmounted."""
    gates = []

    def make(target):
        gates.append(Gate(target))
        return gates[-1]

    yield make
    for gate in gates:
        gate.close()


@pytest.fixture
def made(cloud):
    """made(…) as Cloud.make_image(); the images go at the end."""
    idents = []

    def make(*args, **kwargs):
        idents.append(cloud.make_image(*args, **kwargs))
        return idents[-1]

    yield make
    for ident in idents:
        cloud.delete_image(ident)
