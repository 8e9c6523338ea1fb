# SPDX-License-Identifier: Apache-2.0
"""/metrics: what alerts and the dashboard of conf/prometheus need, and that these ask for nothing that is not there."""
import glob
import json
import os
import re
import shutil
import subprocess

import pytest

from harness import KIB, MIB, TOP, blob
from waiting import wait_until

PROMETHEUS = os.path.join(TOP, "conf", "prometheus")


def metrics(api):
    """{name with labels: value}"""
    text = api.get("/metrics").body.decode()
    return {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:\{[^\n]*\})?) ([-+.eE0-9]+|NaN|\+Inf)$", text, re.M)}


def promtool(*command, **options):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_healthy(folder, api):
    folder.put("image", blob(100 * KIB, 1))
    api.get("/images/image")
    folder.wait_cached("image")
    m = metrics(api)
    assert m['glance_cache_images{state="cached"}'] == m["glance_cache_images"] == 1 and m['glance_cache_images{state="invalid"}'] == 0
    up, = [value for name, value in m.items() if name.startswith("glance_cache_backend_up{")]
    assert up == 1 and m["glance_cache_disk_ok"] == 1 and m["glance_cache_troubles"] == 0
    status = folder.status()
    assert m["glance_cache_passthrough"] == (status["passthrough"] == "on")
    assert f'glance_cache_build_info{{version="{status["version"]}",backend="file"}}' in m
    assert m["process_resident_memory_bytes"] > 1e6 and m["process_open_fds"] > 3 and m["process_start_time_seconds"] > 1.7e9


def test_what_is_wrong_is_counted(folder, api):
    """A backend that is gone, an image that failed: each is seen, and counted among the troubles."""
    folder.put("bad", blob(100 * KIB, 1))
    api.get("/images/bad")
    folder.wait_cached("bad")
    os.rename(folder.path("cached", "bad"), folder.path("invalid", "bad"))
    m = metrics(api)
    assert m['glance_cache_images{state="invalid"}'] == 1 and m["glance_cache_troubles"] == 1


def test_a_dead_backend(make_cache, make_api, origin):
    """Its endpoint goes to 0 with the first request that fails, and back."""
    origin.put("image", blob(100 * KIB, 1))
    cache = make_cache()
    cache.configure(origin.config(retries=0, stall_timeout=1))
    cache.mount()
    api = make_api(cache)

    def up():
        return [value for name, value in metrics(api).items() if name.startswith("glance_cache_backend_up{")]

    api.get("/images/image")
    assert up() == [1]
    origin.fault("other", status=503)
    api.get("/images/other")
    wait_until(lambda: up() == [0])
    name, = [name for name in metrics(api) if name.startswith("glance_cache_backend_last_error_timestamp_seconds{")]
    assert metrics(api)[name] > 1.7e9 and "endpoint=" in name


def test_rules():
    promtool("check", "rules", os.path.join(PROMETHEUS, "glance-cache.rules.yml"))
    promtool("test", "rules", "glance-cache.rules.test.yml", cwd=PROMETHEUS)


def names_in(expression):
    expression = re.sub(r'"[^"]*"', "", expression)
    return {re.sub(r"_bucket$", "", name) for name in re.findall(r"\b(?:glance_cache|process)_[a-z_]+", expression)}


@pytest.mark.parametrize("path", sorted(os.path.basename(p) for p in glob.glob(os.path.join(PROMETHEUS, "*")) if ".test." not in p))
def test_every_query_asks_for_what_there_is(folder, api, path):
    """And for labels that exist: state, endpoint, instance (Prometheus' own)."""
    text = open(os.path.join(PROMETHEUS, path)).read()
    if path.endswith(".json"):
        expressions = [t["expr"] for p in json.loads(text)["panels"] for t in p["targets"]]
        expressions.append(json.loads(text)["templating"]["list"][1]["query"]["query"].replace(", instance", ""))
    else:
        expressions = re.findall(r"^ +expr: (.*)$", text, re.M)
    there = set(re.findall(r"^# TYPE (\S+)", api.get("/metrics").body.decode(), re.M))
    asked = set().union(*map(names_in, expressions))
    assert len(expressions) >= 10 and asked - there == set()


# ---- what alerts and capacity planning need

def test_what_may_not_go(folder, api):
    """Pinned, evicted but open, evicted, spared: in bytes."""
    for i, name in enumerate(("pinned", "open", "gone")):
        folder.put(name, blob(100 * KIB * (i + 1), i))
        api.get(f"/images/{name}")
        folder.wait_cached(name)
    assert api.put("/v2/cache/pinned/pin").status == 204
    with open(folder.image("open"), "rb"):
        for name in ("open", "gone"):
            os.unlink(folder.path("cached", name))
        m = metrics(api)
        assert m["glance_cache_pinned_bytes"] == 100 * KIB and m["glance_cache_images_pinned"] == 1
        assert m["glance_cache_evicted_but_open_bytes"] == 200 * KIB
        assert m["glance_cache_evicted_bytes_total"] == 500 * KIB
        assert m["glance_cache_hit_bytes_total"] == 200 * KIB  # the open that is held
        assert m["glance_cache_cached_bytes"] == 100 * KIB
    wait_until(lambda: metrics(api)["glance_cache_evicted_but_open_bytes"] == 0)
    assert api.delete("/v2/cache/pinned/pin").status == 204
    assert metrics(api)["glance_cache_pinned_bytes"] == 0
    assert api.put("/v2/cache/pinned/pin").status == 204
    os.unlink(folder.path("cached", "pinned"))
    assert metrics(api)["glance_cache_pinned_bytes"] == 0


@pytest.fixture
def behind(make_cache, make_api, origin):
    """(cache, api) on an origin that fails at once."""
    cache = make_cache()
    cache.configure(origin.config(retries=0, stall_timeout=1), fetch_policy="demand")
    cache.mount()
    return cache, make_api(cache)


def test_what_readers_wait(origin, behind):
    """A read that waits is cold; one whose bytes are here is prefetched; histograms add up."""
    cache, api = behind
    origin.put("image", blob(MIB, 1))
    first = cache.read("image", 4 * KIB, 512 * KIB)
    m = metrics(api)
    assert len(first) == 4 * KIB
    assert m['glance_cache_read_seconds_count{kind="cold"}'] >= 1 and m["glance_cache_backend_first_byte_seconds_count"] >= 1
    for name in ("glance_cache_read_seconds", "glance_cache_backend_first_byte_seconds", "glance_cache_fetch_seconds"):
        for labels in {re.sub(r'(,?)le="[^"]*"', "", k[len(name) + 7:]) for k in m if k.startswith(name + "_bucket")}:
            label = labels.strip("{},")
            classes = [v for k, v in m.items() if k.startswith(name + "_bucket{" + label)]
            whole = "{" + label + "}" if label else ""
            assert classes == sorted(classes) and classes[-1] == m[f"{name}_count{whole}"]
            assert m[f"{name}_sum{whole}"] >= 0
    before = m['glance_cache_read_seconds_count{kind="prefetched"}']
    fd = os.open(cache.image("image"), os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # so that it is asked of the mount once more
        os.pread(fd, 4 * KIB, 512 * KIB)
    finally:
        os.close(fd)
    assert metrics(api)['glance_cache_read_seconds_count{kind="prefetched"}'] > before


@pytest.mark.parametrize("fault, reason", [({"status": 503}, "server"), ({"status": 403}, "refused"), ({"raw": b""}, "broken")])
def test_failures_have_a_reason(origin, behind, fault, reason):
    cache, api = behind
    origin.put("image", blob(100 * KIB, 1))
    origin.fault("image", **fault)
    assert api.get("/images/image").status >= 500
    wait_until(lambda: metrics(api)[f'glance_cache_backend_failures_total{{reason="{reason}"}}'] >= 1)
    m = metrics(api)
    assert sum(v for k, v in m.items() if k.startswith("glance_cache_backend_failures_total{")) == m["glance_cache_backend_errors_total"]


def test_an_unreachable_backend(make_cache, make_api, origin):
    cache = make_cache()
    cache.configure({**origin.config(retries=0), "url": "http://127.0.0.1:9/{id}", "list_url": "none"})
    cache.mount()
    api = make_api(cache)
    assert api.get("/images/image").status == 503
    assert metrics(api)['glance_cache_backend_failures_total{reason="unreachable"}'] >= 1


def test_the_oldest_in_the_queue(origin, behind):
    """Since when the head of the queue waits; 0 when nothing does."""
    cache, api = behind
    assert metrics(api)["glance_cache_oldest_queued_timestamp_seconds"] == 0
    origin.fault("first", status=503)
    origin.fault("second", status=503)
    for name in ("first", "second"):
        cache.touch("queued", name)
    since = {name: cache.entry("queued", name)["queued"] for name in ("first", "second")}
    assert metrics(api)["glance_cache_oldest_queued_timestamp_seconds"] == since["first"] <= since["second"]
    os.unlink(cache.path("queued", "first"))
    assert metrics(api)["glance_cache_oldest_queued_timestamp_seconds"] == since["second"]
    os.unlink(cache.path("queued", "second"))
    assert metrics(api)["glance_cache_oldest_queued_timestamp_seconds"] == 0
