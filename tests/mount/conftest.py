# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a cache, origins, and a watchdog that ends a hanging program, so that its test fails instead of hanging.

Needs root (mount, umount) and these of the environment, all optional:
  GCFS_BINARY     the program under test; default build/fs/glance-cache-fs
  GCFS_ARTEFACTS  folder for the logs of failed tests; default build/test-artefacts
  GCFS_PATIENCE   factor on all deadlines, for sanitized builds
  GCFS_TEST_TMP   where temporary folders are made
  GCFS_HTTP2      "heart": fewer tests run over HTTP/2 as well
"""
import os
import re
import shutil
import signal
import subprocess
import threading

import pytest

import harness
import http2
from origin import Nginx, Origin
from waiting import PATIENCE

ARTEFACTS = os.environ.get("GCFS_ARTEFACTS") or os.path.join(harness.TOP, "build", "test-artefacts")


def pytest_configure(config):
    os.umask(0o022)  # others must reach what the tests make
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # mkfs, nginx
    config.addinivalue_line("markers", "deadline(seconds): the program is ended when the test takes longer; default 90")
    config.addinivalue_line("markers", "http1: about what HTTP/1.1 alone does; not run over HTTP/2 as well")
    # As a background job of a script inherits it, and so would our children.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Whatever asks an origin runs over HTTPS with HTTP/2 as well; with GCFS_HTTP2=heart what is fetched, broken off, changed, verified and listed.
HEART = ("test_cold", "test_faults", "test_versions", "test_verify", "test_changed", "test_listing")


def pytest_generate_tests(metafunc):
    heart_only = os.environ.get("GCFS_HTTP2") == "heart" and metafunc.module.__name__ not in HEART
    if heart_only or metafunc.definition.get_closest_marker("http1") or not http2.speaks_http2():
        return
    for server in ("origin", "nginx"):
        if server in metafunc.fixturenames:
            metafunc.parametrize(server, ["1.1", "h2"], indirect=True)
            return


def pytest_unconfigure():
    http2.remove_certificate()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        item.failed = True


def artefacts_of(request):
    return os.path.join(ARTEFACTS, re.sub(r"[^\w.-]+", "_", request.node.name)[:100])


def keep(request, cache):
    folder = artefacts_of(request)
    os.makedirs(folder, exist_ok=True)
    for path in (cache.log, cache.conf, os.path.join(cache.root, "stacks")):
        if os.path.exists(path):
            shutil.copy(path, os.path.join(folder, os.path.basename(cache.root) + "." + os.path.basename(path)))


@pytest.fixture
def make_cache(request):
    """make_cache() → a Cache; all of them are unmounted and removed at the end."""
    caches = []
    marker = request.node.get_closest_marker("deadline")
    seconds = (marker.args[0] if marker else 90) * PATIENCE
    late = threading.Event()

    def bark():
        late.set()
        for cache in caches:
            cache.give_up(artefacts_of(request))

    def make():
        cache = harness.Cache(harness.new_root())
        caches.append(cache)
        return cache

    watchdog = threading.Timer(seconds, bark)
    watchdog.daemon = True
    watchdog.start()
    yield make
    trouble = []
    for cache in reversed(caches):
        try:
            cache.close(in_order=not getattr(request.node, "failed", False))
        except AssertionError as e:
            trouble.append(str(e))
    watchdog.cancel()
    if late.is_set():
        trouble.append(f"longer than {seconds:.0f} s: the program was ended")
    for cache in caches:
        if trouble or getattr(request.node, "failed", False):
            keep(request, cache)
        cache.unmount_all()
        shutil.rmtree(cache.root, ignore_errors=True)
    if trouble:
        pytest.fail("\n".join(trouble), pytrace=False)


@pytest.fixture
def cache(make_cache):
    return make_cache()


@pytest.fixture
def origin(request, make_cache):
    """A faulty origin. It goes before the caches do, so that nothing is held back any more when they end."""
    server = http2.Http2Origin() if getattr(request, "param", "1.1") == "h2" else Origin()
    yield server
    server.close()


@pytest.fixture
def make_nginx(make_cache):
    servers = []

    def make(kind=Nginx, **options):
        servers.append(kind(parent=os.environ.get("GCFS_TEST_TMP"), **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def nginx(request, make_nginx):
    return make_nginx(http2.Http2Nginx if getattr(request, "param", "1.1") == "h2" else Nginx)


@pytest.fixture
def shim(cache, monkeypatch):
    """shim(source) → a folder everybody may write to; what is mounted after that runs with SOURCE before its libraries."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    if "san.so" in subprocess.run(["ldd", harness.binary()], capture_output=True, text=True, check=True).stdout:
        pytest.skip("a sanitizer's library wants to be the first")

    def load(source):
        folder = os.path.join(cache.root, "shim")
        os.mkdir(folder)
        os.chmod(folder, 0o777)  # the worker is another user
        with open(os.path.join(folder, "shim.c"), "w") as f:
            f.write(source)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", folder + "/shim.so", folder + "/shim.c", "-ldl"], check=True)
        monkeypatch.setenv("LD_PRELOAD", folder + "/shim.so")
        return folder
    return load
