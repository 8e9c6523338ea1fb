# SPDX-License-Identifier: Apache-2.0
"""Descriptors: as many as the system allows, and where they end the error says so and nobody else is blamed."""
import errno
import os
import resource

import pytest

from harness import KIB, blob, error_of, pread, same
from waiting import wait_until
from workers import worker_of


@pytest.fixture
def soft_limit():
    """soft_limit(N): for what is started from here on."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda soft, hard=None: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard or before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def limit_of(pid):
    for line in open(f"/proc/{pid}/limits"):
        if line.startswith("Max open files"):
            return [int(n) for n in line.split()[3:5]]
    raise AssertionError("no limit of open files")


def test_more_images_open_than_a_shell_allows(cache, origin, soft_limit):
    """A shell, cron and mount(8) give 1024; here it is less."""
    count = 300
    for i in range(count):
        origin.put(f"image-{i}", blob(300 * KIB, i))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    cache.configure(origin, passthrough="off")
    soft_limit(200)
    try:
        cache.mount()
    finally:
        soft_limit(hard)
    assert limit_of(worker_of(cache)) == [hard, hard]
    fds = [os.open(cache.image(f"image-{i}"), os.O_RDONLY) for i in range(count)]
    try:
        for i in range(0, count, 7):
            same(pread(fds[i], 4096, 290 * KIB), blob(300 * KIB, i)[290 * KIB:290 * KIB + 4096])
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.http1  # which has a connection for each request
@pytest.mark.parametrize("last", ["file", "connection"])
def test_where_they_end(cache, origin, last):
    """
    Where the look-up's connection stays open there is no descriptor for the file, else none for the connection that brings its bytes. The
    error and the log say so, and neither the backend nor the disk is to blame; once there are some again all goes on.
    """
    names = [f"image-{i}" for i in range(120)]
    content = blob(600 * KIB)
    for name in names:
        origin.put(name, content)
    origin.fault(length="none", when=lambda r: r.range is None or r.range[0] > 0)  # each needs a connection of its own
    if last == "connection":
        origin.fault(headers={"Connection": "close"}, when=lambda r: r.range is not None and r.range[0] == 0)
    cache.configure(origin.config(retries=1, retry_delay=10), passthrough="off", fetch_policy="demand")
    plain = cache.command()
    cache.command = lambda *options: ["bash", "-c", 'ulimit -n 90; exec "$0" "$@"', *plain]
    cache.mount()
    held, codes = [], set()
    for name in names:
        code = error_of(lambda name=name: held.append(os.open(cache.image(name), os.O_RDONLY)))
        if code == 0:
            code = error_of(pread, held[-1], 4096, 500 * KIB)
        codes.add(code)
    for fd in held:
        os.close(fd)
    assert codes <= {0, errno.EMFILE, errno.EIO} and len(codes) > 1, codes
    assert {"file": "Too many open files", "connection": "limit of 90 open files is met"}[last] in cache.logged()
    assert "open files" in cache.logged() and "no memory" not in cache.logged() and "does not take it" not in cache.logged()
    assert "Connection refused" not in cache.logged() and "No route" not in cache.logged()

    def well():
        return error_of(cache.read, "image-119") == 0
    wait_until(well, what="descriptors that were closed to be used again")
    endpoint = cache.status()["backend"]["endpoints"][0]
    assert endpoint["failures_in_a_row"] == 0 and endpoint["last_error"] == ""
