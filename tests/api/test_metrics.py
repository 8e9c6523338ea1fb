# SPDX-License-Identifier: Apache-2.0
"""/metrics: what alerts and the dashboard of conf/prometheus need, and that these ask for nothing that is not there."""
import glob
import json
import os
import re
import shutil
import subprocess

import pytest

from harness import KIB, TOP, blob
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
