# SPDX-License-Identifier: Apache-2.0
"""Glance's own image cache in glance/ of the mount: its drivers, and a glance-api that serves from there."""
import json
import os
import re
import signal
import subprocess
import sys

import pytest

import harness
from harness import MIB, blob, same
from services import run_as
from waiting import PATIENCE, wait_until

sys.path.append(os.path.join(harness.TOP, "tests", "api"))
from server import free_port  # noqa: E402

IDS = [f"40000000-0000-4000-8000-00000000000{i}" for i in range(3)]
SIZE = 2 * MIB + 99


@pytest.fixture
def view(cache, origin):
    for i, ident in enumerate(IDS):
        origin.put(ident, blob(SIZE, i))
    cache.configure(origin, views="glance").mount()
    return cache


@pytest.mark.http1
@pytest.mark.parametrize("driver", ["sqlite", "xattr"])
def test_a_driver(view, origin, driver):
    """All that Glance asks of one. The images count as cached, and are fetched once when they are read; what is deleted is evicted and stays."""
    got = run_as("glance", """
ids = V["ids"]
result["driver"] = type(images.driver).__module__
result["cached"] = [images.is_cached(i) for i in ids + ["00000000-dead-4000-8000-000000000000"]]
def read(ident):
    digest = hashlib.sha256()
    with images.open_for_read(ident) as f:
        while part := f.read(65536):
            digest.update(part)
    return digest.hexdigest()
result["read"] = [read(ids[0]), read(ids[0])]
if V["driver"] == "xattr":  # ours, of opens that found it whole
    while images.driver.get_hit_count(ids[0]) == 0:
        read(ids[0])
    result["hits"] = images.driver.get_hit_count(ids[0])
result["listed"] = sorted(one["image_id"] for one in images.get_cached_images())
result["size"] = images.get_cache_size()
result["queued"] = [images.queue_image(ids[1]), images.is_queued(ids[1]), images.get_queued_images()]
result["kept"] = images.cache_image_iter(ids[1], iter([b"other bytes"]), None)
images.delete_cached_image(ids[0])
result["still"] = images.is_cached(ids[0])
images.clean()
result["pruned"] = images.prune()
result["deleted"] = images.delete_all_cached_images()
result["after"] = [images.is_cached(i) for i in ids] + [read(ids[2])]
""", view=view.path("glance"), driver=driver, ids=IDS)
    assert got["driver"].endswith(driver), "Glance went over to another one"
    assert got["cached"] == [True] * 3 + [False]
    assert got["read"] == [harness.sha(blob(SIZE, 0))] * 2
    if driver == "xattr":
        assert got["hits"] >= 1 and set(IDS) <= set(got["listed"])
    assert got["size"] >= 3 * SIZE  # the drivers add up what images take when they are whole
    assert got["queued"] == [False, False, []] and got["kept"] is False  # it is cached: nothing to be done
    assert got["still"] and got["pruned"] == [0, 0] and got["deleted"] >= 3
    assert got["after"] == [True] * 3 + [harness.sha(blob(SIZE, 2))]
    assert origin.sent(IDS[0]) == SIZE and origin.sent(IDS[1]) < SIZE
    assert view.ls("glance/incomplete") == view.ls("glance/invalid") == []


@pytest.mark.http1
@pytest.mark.parametrize("driver", ["sqlite", "xattr"])
def test_what_glance_downloads_itself_is_not_kept_for_an_image(view, driver):
    """An image of Glance's that the backend has not: Glance serves it, tries to keep it, and it does not become one of the cache's."""
    got = run_as("glance", """
chunks = list(images.cache_tee_iter(V["id"], iter([b"some", b"bytes"]), None))
result = {"chunks": b"".join(chunks).decode(), "cached": images.is_cached(V["id"])}
""", view=view.path("glance"), driver=driver, id="00000000-dead-4000-8000-000000000000")
    assert got == {"chunks": "somebytes", "cached": False}
    assert view.ls("images") == IDS and view.ls("glance/incomplete") == []


# ---- a glance-api of its own

class GlanceApi:
    """As the lab's peer, with another cache."""

    def __init__(self, cloud, folder, cache_dir, driver):
        self.port, self.log = free_port(), os.path.join(folder, "glance-api.log")
        conf = open(cloud["PEER_CONF"]).read()
        conf = re.sub(r"^bind_port = .*", f"bind_port = {self.port}", conf, flags=re.M)
        conf = re.sub(r"^public_endpoint = .*", f"public_endpoint = http://127.0.0.1:{self.port}", conf, flags=re.M)
        conf = re.sub(r"^image_cache_dir = .*", f"image_cache_dir = {cache_dir}", conf, flags=re.M)
        conf = re.sub(r"^image_cache_driver = .*", f"image_cache_driver = {driver}", conf, flags=re.M)
        path = os.path.join(folder, "glance-api.conf")
        with open(path, "w") as f:
            f.write(conf)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "PYTHON"))}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "glance-api", "--config-file", path], env=env, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)
        wait_until(self.answers, seconds=60, what="glance-api to answer")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def answers(self):
        assert self.process.poll() is None, open(self.log).read()[-3000:]
        with open("/proc/net/tcp", encoding="ascii") as f:
            return f":{self.port:04X} 00000000:0000 0A" in f.read()

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(30 * PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


@pytest.fixture
def make_glance(cloud, tmp_path):
    running = []

    def make(cache_dir, driver):
        running.append(GlanceApi(cloud, str(tmp_path), cache_dir, driver))
        return running[-1]
    yield make
    for one in running:
        one.close()


@pytest.mark.parametrize("driver", ["sqlite", "xattr"])
def test_glance_api_serves_from_the_mount(cloud, cache, make_gate, made, make_glance, driver):
    """Cold with one fetch, warm while the store is down; its own database, policy and Keystone as ever."""
    content, demo = blob(5 * MIB + 1, 81), cloud.token("demo", "demo")
    ident, later = made(content, token=demo), made(blob(MIB, 82), token=demo)
    gate = make_gate(cloud["ORIGIN_URL"])
    cache.configure(cloud.glance(cache, endpoint=gate.url), views="glance").mount()
    glance = make_glance(cache.path("glance"), driver)

    def get(image, status=200):
        got, _, body = cloud.http("GET", f"{glance.url}/v2/images/{image}/file", token=demo, expect=range(100, 600))
        assert got == status, (got, body[:300], open(glance.log).read()[-2000:])
        return body
    for _ in range(3):
        same(get(ident), content)
    cache.wait_cached(ident)
    asked = [status for _, path, status in gate.log if path.endswith("/file") and ident in path]
    fetched = cache.status()["counters"]["bytes_fetched"]
    assert fetched <= len(content), f"{fetched} bytes in {len(asked)} requests: some of them were fetched twice"
    gate.close()
    store = os.path.join(cloud.folder, "glance", "store")
    os.rename(store, store + "-down")
    try:
        for _ in range(2):
            same(get(ident), content)
        assert cloud.http("GET", f"{glance.url}/v2/images/{later}/file", token=demo, expect=range(100, 600))[0] != 200
    finally:
        os.rename(store + "-down", store)
    assert cache.ls("cached") == [ident] and cache.ls("glance/incomplete") == []


@pytest.mark.parametrize("driver", ["sqlite", "xattr"])
def test_its_calls_for_the_cache(cloud, cache, made, make_glance, driver):
    """The clients' cache-list, cache-queue and cache-delete at that glance-api."""
    content = blob(MIB, 83)
    ident = made(content, token=cloud.token("demo", "demo"))
    cache.configure(cloud.glance(cache), views="glance").mount()
    glance = make_glance(cache.path("glance"), driver)
    cloud.http("GET", f"{glance.url}/v2/images/{ident}/file", token=cloud.token("demo", "demo"))
    cache.wait_cached(ident)
    _, _, body = cloud.http("GET", glance.url + "/v2/cache")
    listed = [one["image_id"] for one in json.loads(body)["cached_images"]]
    assert listed == [] if driver == "sqlite" else ident in listed
    assert cloud.http("PUT", f"{glance.url}/v2/cache/{ident}", b"")[0] == 202
    assert cloud.http("DELETE", f"{glance.url}/v2/cache/{ident}")[0] == 204
    cache.wait_has("cached", ident, there=False)
    status, _, body = cloud.http("GET", f"{glance.url}/v2/images/{ident}/file", token=cloud.token("demo", "demo"))
    same(body, content)
