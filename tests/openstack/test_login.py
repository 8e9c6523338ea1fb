# SPDX-License-Identifier: Apache-2.0
"""Tokens: had, shared, renewed, refused; and a Keystone or a Glance that is not there."""
import errno
import os
import threading
import time

import pytest

import harness
from cloud import sha_of
from harness import MIB, UNREACHABLE, error_of
from waiting import wait_until

LOGIN = {"method": "POST", "path": "/auth/tokens"}


def gates(cloud, cache, make_gate, **more):
    """Gates before Keystone and Glance, and a configuration that leads through them."""
    keystone, glance = make_gate(cloud["OS_AUTH_URL"]), make_gate(cloud["ORIGIN_URL"])
    cache.configure(cloud.glance(cache, auth_url=keystone.url, endpoint=glance.url, **more))
    return keystone, glance


def in_threads(n, function):
    results = [None] * n

    def run(i):
        results[i] = function()
    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


def test_one_login_however_many_wait(cloud, cache, make_gate, made):
    idents = [made(harness.blob(150000, 70 + n)) for n in range(6)]
    keystone, _ = gates(cloud, cache, make_gate)
    keystone.delay = 0.5
    cache.mount()
    jobs = list(idents) * 5
    sizes = in_threads(len(jobs), lambda: len(harness.read(cache.image(jobs.pop()))))
    assert sizes == [150000] * 30
    assert keystone.count(**LOGIN) == 1


@pytest.mark.deadline(180)
def test_a_token_that_ends_while_an_image_is_read(cloud, cache, make_gate):
    keystone, glance = gates(cloud, cache, make_gate, stall_timeout=60)
    ident, _, digest = cloud.images["RANDOM"]
    glance.hold_after = 8 * MIB  # of each answer, so that the reader is in the middle of it
    glance.cut = True            # and has to ask for the rest
    cache.mount()
    results = []
    reader = threading.Thread(target=lambda: results.append(sha_of(cache.image(ident))))
    reader.start()
    wait_until(lambda: glance.held > 0, what="the first bytes")
    had = time.monotonic()
    wait_until(lambda: time.monotonic() - had > 5.2)  # a token younger than that is not renewed for a 401
    ended = set(glance.tokens)
    glance.spoil_tokens = lambda token: token in ended
    glance.hold_after = None
    glance.released.set()
    reader.join()
    assert results == [digest]
    assert len(ended) == 1 and glance.count(status=401) >= 1
    assert keystone.count(**LOGIN) == 2


@pytest.mark.deadline(180)
def test_a_token_that_lives_for_seconds(cloud, cache, make_gate):
    """A real end of a real token, in the middle of a long read: it is known beforehand, and nothing is asked with it any more."""
    keystone, glance = make_gate(cloud["KEYSTONE_SHORT_URL"]), make_gate(cloud["ORIGIN_URL"])
    cache.configure(cloud.glance(cache, auth_url=keystone.url, endpoint=glance.url, stall_timeout=120))
    ident, _, digest = cloud.images["RANDOM"]
    glance.hold_after = 8 * MIB
    glance.cut = True
    cache.mount()
    results = []
    reader = threading.Thread(target=lambda: results.append(sha_of(cache.image(ident))))
    reader.start()
    wait_until(lambda: glance.held > 0, what="the first bytes")
    first = set(glance.tokens)
    assert len(first) == 1
    url = f"{cloud['ORIGIN_URL']}/v2/images/{ident}"
    wait_until(lambda: cloud.http("GET", url, token=next(iter(first)), expect=(200, 401))[0] == 401, seconds=60, what="its end")
    glance.hold_after = None
    glance.released.set()
    reader.join()
    assert results == [digest]
    assert keystone.count(**LOGIN) >= 2 and glance.tokens - first
    assert glance.count(status=401) <= 1  # none, unless the login itself took longer than the margin
    cache.wait_cached(ident)


def test_keystone_goes_while_the_token_is_good(cloud, cache, make_gate):
    keystone, _ = gates(cloud, cache, make_gate)
    cache.mount()
    assert sha_of(cache.image(cloud["IMAGE_FLOPPY"])) == cloud["IMAGE_FLOPPY_SHA256"]
    keystone.shut()
    assert sha_of(cache.image(cloud["IMAGE_ISO"])) == cloud["IMAGE_ISO_SHA256"]
    assert cloud["IMAGE_QCOW2"] in cache.ls("images")


def test_keystone_is_not_there_at_the_start(cloud, cache, make_gate):
    keystone, _ = gates(cloud, cache, make_gate)
    keystone.shut()
    cache.mount()
    assert error_of(os.stat, cache.image(cloud["IMAGE_FLOPPY"])) in UNREACHABLE
    endpoints = cache.status()["backend"]["endpoints"]
    assert endpoints[-1]["endpoint"] == keystone.url + "/v3" and endpoints[-1]["state"] == "failing"
    keystone.open()
    wait_until(lambda: error_of(os.stat, cache.image(cloud["IMAGE_FLOPPY"])) == 0, what="Keystone to be asked again")
    assert sha_of(cache.image(cloud["IMAGE_FLOPPY"])) == cloud["IMAGE_FLOPPY_SHA256"]
    assert "answers again" in cache.logged()


def test_wrong_credentials(cloud, cache, make_gate):
    keystone, glance = gates(cloud, cache, make_gate, password_file=cloud.secret(cache, "not-the-secret", "wrong"))
    cache.mount()
    for ident, _, _ in list(cloud.images.values()) * 5:
        assert error_of(os.stat, cache.image(ident)) == errno.EACCES
    in_threads(20, lambda: error_of(os.stat, cache.image(cloud["IMAGE_ISO"])))
    assert keystone.count(**LOGIN) == 1
    assert glance.count() == 0
    told = [line for line in cache.logged().splitlines() if "credentials" in line]
    assert len(told) == 1 and "username" in told[0], told
    assert "not-the-secret" not in cache.logged()


def test_secrets_are_nowhere_to_be_seen(cloud, cache):
    cache.configure(cloud.glance(cache), log_level="debug").mount("-d")
    assert sha_of(cache.image(cloud["IMAGE_FLOPPY"])) == cloud["IMAGE_FLOPPY_SHA256"]
    secret = cloud["OS_PASSWORD"]
    seen = [cache.logged(), harness.read(cache.path(".status")).decode()]
    for pid in harness.descendants(cache.process.pid):
        seen += [open(f"/proc/{pid}/cmdline").read()]
    dump = harness.program("--dump-config", cache.conf)
    seen += [dump.stdout, dump.stderr]
    for text in seen:
        assert secret not in text and "gAAAA" not in text


@pytest.mark.deadline(240)
def test_glance_is_restarted_while_an_image_is_read(cloud, cache, make_gate):
    ident, _, digest = cloud.images["RANDOM"]
    gate = make_gate(cloud["ORIGIN_URL"])
    gate.hold_after = 4 * MIB
    cache.configure(cloud.glance(cache, endpoint=gate.url, retries=20, stall_timeout=60)).mount()
    results = []
    reader = threading.Thread(target=lambda: results.append(sha_of(cache.image(ident))))
    reader.start()
    wait_until(lambda: gate.held > 0, what="the first bytes")
    cloud.stop("glance-origin")
    gate.shut()
    gate.hold_after = None
    gate.released.set()
    cloud.start()
    gate.open()
    reader.join()
    assert results == [digest]
    cache.wait_cached(ident)


@pytest.mark.deadline(120)
def test_a_dead_endpoint_is_passed_over(cloud, cache, make_gate):
    """Two endpoints, the first dead: it is tried again later, not on each request; once it answers it is used again."""
    dead, alive = make_gate(cloud["ORIGIN_URL"]), make_gate(cloud["ORIGIN_URL"])
    dead.shut()
    cache.configure(cloud.glance(cache, endpoint=f"{dead.url} {alive.url}")).mount()
    for ident, _, digest in cloud.images.values():
        assert sha_of(cache.image(ident)) == digest
    endpoints = {e["endpoint"]: e for e in cache.status()["backend"]["endpoints"]}
    assert endpoints[alive.url]["state"] == "ok"
    assert endpoints[dead.url]["state"] == "failing"
    assert endpoints[dead.url]["failures_in_a_row"] <= 4
    dead.open()
    wait_until(lambda: error_of(os.stat, cache.image(f"no-such-{time.monotonic()}")) == errno.ENOENT
               and dead.count() > 0, what="the first endpoint to be asked again")
