# SPDX-License-Identifier: Apache-2.0
"""glance-cache-status(5), over HTTP: each document of the API, and each metric with its type and labels, the one way and the other."""
import json
import os
import re

import pytest

import contract
from harness import KIB, blob
from test_manage import manage

pytest.importorskip("jsonschema")


@pytest.fixture
def busy(folder, api):
    """One image of each kind: cached, pinned, in the queue, failed."""
    for i, name in enumerate(("cached", "pinned", "failed", "queued")):
        folder.put(name, blob(100 * KIB, i))
    for name in ("cached", "pinned", "failed"):
        api.get(f"/images/{name}")
        folder.wait_cached(name)
    assert api.put("/v2/cache/pinned/pin").status == 204
    os.rename(folder.path("cached", "failed"), folder.path("invalid", "failed"))
    return api


def test_documents(busy):
    kinds = {"/status": "api_status", "/status?brief=1": "api_status", "/v2/cache": "api_cache", "/v2/cached_images": "api_cached_images",
             "/v2/queued_images": "api_queued_images", "/v2/cache/cached": "api_image", "/v2/cache/failed": "api_image", "/healthcheck": "api_health"}
    for path, kind in kinds.items():
        contract.check(kind, busy.get(path).json, always=True)
    contract.check("api_error", busy.get("/v2/cache/never-seen").json, always=True)
    contract.check("api_pruned", busy.post("/v2/cache/prune").json, always=True)
    contract.check("api_deleted", busy.delete("/v2/queued_images").json, always=True)
    image = busy.get("/v2/cache/failed").json
    assert image["image"] == image["image_id"] == "failed" and image["invalid"]["error"]
    for one in busy.get("/status").json["cached"]:
        assert one["image"] == one["id"]
    manage(busy, "--json", "list-cached")
    assert "error" in json.loads(manage(busy, "--json", "--force", "queue-image", "never-seen", code=1).stdout)[0]
    asked = manage(busy, "--json", "queue-image", "queued", answer="y\n")  # what is asked stands elsewhere
    assert json.loads(asked.stdout)[0]["image"] == "queued" and "[y/N]" in asked.stderr


def test_metrics(busy):
    """Each is described, and what is described is there: name, type, labels, text."""
    text = busy.get("/metrics").body.decode()
    there = {}
    for name, told in re.findall(r"^# HELP (\S+) (.*)$", text, re.M):
        series = re.findall(rf"^{name}(?:_bucket|_sum|_count)?(?:{{(.*)}})? \S+$", text, re.M)
        assert series, name
        labels = {label for one in series for label in re.findall(r'(\w+)="', one)} - {"le"}
        there[name] = (re.search(rf"^# TYPE {name} (\S+)$", text, re.M)[1], sorted(labels), told)
    told = {name: (m["type"], m.get("labels", []), m["description"]) for name, m in contract.schema()["x-metrics"].items()}
    assert there == told
