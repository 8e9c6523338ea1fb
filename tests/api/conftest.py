# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a mounted cache (those of tests/mount) and the HTTP server on it.

Of the environment, beside what tests/mount/conftest.py names:
  GCFS_API_BINARY     glance-cache-api; default build/tools/api/glance-cache-api
  GCFS_MANAGE_BINARY  glance-cache-manage; default build/tools/manage/glance-cache-manage
"""
import importlib.util
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
MOUNT = os.path.join(os.path.dirname(HERE), "mount")
sys.path.insert(0, MOUNT)
_spec = importlib.util.spec_from_file_location("mount_conftest", os.path.join(MOUNT, "conftest.py"))
_mount = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_mount)

pytest_configure = _mount.pytest_configure
pytest_runtest_makereport = _mount.pytest_runtest_makereport
make_cache, cache, origin, make_nginx, nginx = (_mount.make_cache, _mount.cache, _mount.origin, _mount.make_nginx,
                                                _mount.nginx)

from server import Api  # noqa: E402  (the path is set above)


@pytest.fixture
def make_api(make_cache, request):
    """make_api(cache, **options of [api]) → a running server; all are ended before the caches are."""
    servers = []

    def make(on, **options):
        servers.append(Api(on, **options))
        return servers[-1].start()

    yield make
    trouble = []
    for server in servers:
        try:
            server.close()
        except AssertionError as e:
            trouble.append(str(e))
        if trouble or getattr(request.node, "failed", False):
            server.keep(_mount.artefacts_of(request))
    if trouble:
        pytest.fail("\n".join(trouble), pytrace=False)


@pytest.fixture
def folder(cache):
    """A mounted cache of a folder of images."""
    cache.folder = os.path.join(cache.root, "images")
    os.makedirs(cache.folder)
    cache.configure({"type": "file", "path": cache.folder}, list_ttl=0)

    def put(name, content):
        new = os.path.join(cache.folder, ".new")
        with open(new, "wb") as f:
            f.write(content)
        os.rename(new, os.path.join(cache.folder, name))
        return content

    cache.put = put
    return cache


@pytest.fixture
def api(folder, make_api):
    """A server with auth = none on a mounted cache of a folder."""
    folder.mount()
    return make_api(folder)
