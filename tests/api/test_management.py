# SPDX-License-Identifier: Apache-2.0
"""The management calls of all three generations: codes, bodies, what they do to the view."""
import os
import signal
import time

import pytest

from harness import KIB, MIB, blob, same
from waiting import wait_until

GENERATIONS = [("/cached-images", "/queued-images"), ("/cached_images", "/queued_images"), ("/v1/cached_images", "/v1/queued_images"),
               ("/v2/cached_images", "/v2/queued_images"), ("/v1/cached-images", "/v1/queued-images")]


def cached(folder, api, *names):
    for name in names:
        folder.put(name, blob(100 * KIB, len(name)))
        api.get("/images/" + name)
        folder.wait_cached(name)


def test_versions(api):
    answer = api.get("/versions")
    assert answer.status == 200 and api.get("/").status == 300 and api.get("/v2/").status == 300
    versions = answer.json["versions"]
    assert {v["id"]: v["status"] for v in versions}["v2.14"] == "SUPPORTED"
    assert versions[0]["status"] == "CURRENT" and versions[0]["links"][0]["href"] == api.url + "/v2/"


def test_list(folder, api):
    assert api.get("/v2/cache").json == {"cached_images": [], "queued_images": []}
    before = time.time()
    cached(folder, api, "image")
    [entry] = api.get("/v2/cache").json["cached_images"]
    assert list(entry) == ["image_id", "hits", "last_accessed", "last_modified", "size"]
    assert entry["image_id"] == "image" and entry["size"] == 100 * KIB and entry["hits"] == 0
    assert isinstance(entry["last_accessed"], float) and before - 1 <= entry["last_accessed"] <= time.time()
    assert isinstance(entry["last_modified"], float)


def test_queue_and_delete(folder, api):
    content = folder.put("image", blob(MIB, 1))
    answer = api.put("/v2/cache/image", Content_Length="0", Content_Type="application/octet-stream")
    assert answer.status == 202 and answer.body == b""
    folder.wait_cached("image")
    same(folder.stored("image"), content)
    assert api.put("/v2/cache/image").status == 202
    answer = api.delete("/v2/cache/image")
    assert answer.status == 204 and folder.ls("cached") == []
    assert api.delete("/v2/cache/image").status == 204
    assert api.delete("/v2/cache/nobody").status == 404
    answer = api.put("/v2/cache/nobody")
    assert answer.status == 404 and "Image nobody not found." == answer.message


def test_queued_ones(cache, origin, make_api):
    for name in ("first", "second", "third"):
        origin.put(name, blob(3 * MIB, 2))
    hold = origin.fault("first", hold_from=MIB)
    cache.configure(origin.config(stall_timeout=600), prefetch_concurrency=1).mount()
    api = make_api(cache)
    for name in ("first", "second", "third"):
        assert api.put("/v2/cache/" + name).status == 202
    wait_until(lambda: hold.waiting, what="the first to be held back")
    assert api.get("/v2/cache").json["queued_images"] == ["first", "second", "third"]
    assert api.get("/v2/queued_images").json == {"queued_images": ["first", "second", "third"]}
    assert api.get("/v2/cache/second").json["queued"]["state"] == "queued"
    assert api.delete("/v2/cache/second").status == 204
    assert api.delete("/queued-images/third").json is None
    assert cache.ls("queued") == ["first"]
    state = api.get("/v2/cache/first").json
    assert state["state"] == "incomplete" and set(state["map"]) <= set("0123456789abcdef")
    status = api.get("/status").json
    assert status["incomplete"][0]["map"] and status["queued"][0]["id"] == "first"
    hold.release()
    cache.wait_cached("first")


@pytest.mark.parametrize("target,left", [(None, (0, 0)), ("", (0, 0)), ("both", (0, 0)), ("cache", (0, 1)), ("queue", (1, 0))])
def test_clear(cache, origin, make_api, target, left):
    origin.put("one", blob(100000, 1))
    origin.put("two", blob(3 * MIB, 2))
    hold = origin.fault("two", hold_from=MIB)
    cache.configure(origin.config(stall_timeout=600)).mount()
    api = make_api(cache)
    api.get("/images/one")
    cache.wait_cached("one")
    api.put("/v2/cache/two")
    wait_until(lambda: hold.waiting, what="the second to be held back")
    answer = api.ask("DELETE", "/v2/cache", {} if target is None else {"x-image-cache-clear-target": target})
    assert answer.status == 204 and answer.body == b""
    assert (len(cache.ls("cached")), len(cache.ls("queued"))) == left
    hold.release()


def test_clear_of_nonsense(folder, api):
    cached(folder, api, "image")
    assert api.delete("/v2/cache", x_image_cache_clear_target="nonsense").status == 400
    assert folder.ls("cached") == ["image"]


@pytest.mark.parametrize("cached_path,queued_path", GENERATIONS)
def test_legacy(folder, api, cached_path, queued_path):
    cached(folder, api, "one", "two")
    answer = api.get(cached_path)
    assert answer.status == 200 and sorted(i["image_id"] for i in answer.json["cached_images"]) == ["one", "two"]
    assert api.get(queued_path).json == {"queued_images": []}
    for _ in range(2):
        answer = api.delete(cached_path + "/one")
        assert answer.status == 200 and answer.body == b"null" and folder.ls("cached") == ["two"]
    answer = api.put(queued_path + "/one")
    assert answer.status == 200 and answer.body == b"null"
    folder.wait_cached("one")
    assert api.delete(queued_path + "/one").body == b"null"
    assert api.put(queued_path + "/nobody").status == 404
    assert api.delete(queued_path).json == {"num_deleted": 0}
    answer = api.delete(cached_path)
    assert answer.status == 200 and answer.json == {"num_deleted": 2}
    assert folder.ls("cached") == []


def test_show_and_pin(folder, api):
    folder.put("image", blob(100 * KIB, 1))
    assert api.get("/v2/cache/image").json["state"] == "known"
    cached(folder, api, "image")
    state = api.get("/v2/cache/image").json
    assert state["state"] == "cached" and state["bytes_cached"] == state["size"] == 100 * KIB and not state["pinned"]
    assert state["map"] is None and state["queued"] is None and state["invalid"] is None
    assert api.put("/v2/cache/image/pin").status == 204
    assert api.get("/v2/cache/image").json["pinned"] and folder.xattr("image", "pinned") == "1"
    assert api.delete("/v2/cache/image/pin").status == 204
    assert not api.get("/v2/cache/image").json["pinned"]
    assert api.get("/v2/cache/nobody").status == 404 and api.put("/v2/cache/nobody/pin").status == 404


def test_nodes(folder, api):
    folder.put("image", b"x")
    assert api.get("/v2/cache/nodes/image").json == []
    api.get("/images/image")
    folder.wait_cached("image")
    assert api.get("/v2/cache/nodes/image").json == [api.url]
    assert api.get("/v2/cache/nodes/nobody").status == 404


def test_prune(folder, make_api):
    folder.mount()
    api = make_api(folder)
    for i in range(5):
        cached(folder, api, f"image-{i}")
    api.put("/v2/cache/image-0/pin")
    # the limit is the mount's, which is another one since the server was started
    folder.configure({"type": "file", "path": folder.folder}, list_ttl=0, image_cache_max_size="250K")
    folder.process.send_signal(signal.SIGHUP)
    wait_until(lambda: folder.status()["space"]["limit"] == 250 * KIB, what="the new limit")
    assert len(folder.ls("cached")) == 5
    with open(folder.image("image-1"), "rb"):  # open ones last
        answer = api.post("/v2/cache/prune")
    assert answer.status == 200 and answer.json == {"total_files_pruned": 3, "total_bytes_pruned": 300 * KIB}
    assert folder.ls("cached") == ["image-0", "image-1"]
    assert api.post("/v2/cache/prune").json == {"total_files_pruned": 0, "total_bytes_pruned": 0}


def test_clean(folder, make_api):
    folder.mount()
    api = make_api(folder)
    cached(folder, api, "rotten")
    os.rename(folder.path("cached", "rotten"), folder.path("invalid", "rotten"))
    assert api.get("/v2/cache/rotten").json["invalid"]["reason"]
    answer = api.post("/v2/cache/clean")
    assert answer.status == 200 and answer.body == b"" and folder.ls("invalid") == []


def test_stop_and_forget(cache, origin, make_api):
    origin.put("image", blob(8 * MIB, 1))
    hold = origin.fault("image", hold_from=2 * MIB)
    cache.configure(origin.config(stall_timeout=600)).mount()
    api = make_api(cache)
    api.put("/v2/cache/image")
    wait_until(lambda: hold.waiting, what="the fetch to be held back")
    api.delete("/queued_images/image")
    cache.wait_has("incomplete", "image")
    assert api.delete("/v2/cache/image/incomplete").status == 204
    cache.wait_has("incomplete", "image", False)
    assert api.delete("/v2/cache/image/incomplete").status == 404
    assert api.delete("/v2/cache/image/invalid").status == 404
    hold.release()


def test_images(folder, api):
    for i in range(30):
        folder.put(f"image-{i:02}", b"x" * i)
    first = api.get("/v2/images").json
    assert len(first["images"]) == 25 and first["next"]
    rest = api.get(first["next"]).json
    ids = [i["id"] for i in first["images"] + rest["images"]]
    assert sorted(ids) == [f"image-{i:02}" for i in range(30)] and "next" not in rest
    assert len(api.get("/v2/images?limit=7").json["images"]) == 7
    assert [i["id"] for i in api.get("/v2/images?name=image-03").json["images"]] == ["image-03"]
    # what filters a page filters the next
    [page] = [api.get("/v2/images?visibility=public&limit=7&marker=image-02").json]
    assert page["next"].startswith("/v2/images?visibility=public&limit=7&marker=") and "image-02" not in page["next"]
    assert api.get("/v2/images?os_hidden=True").json["images"] == [] and len(api.get("/v2/images?os_hidden=false").json["images"]) == 25
    for query in ("marker=nobody", "limit=x", "limit=", "limit=%31%3", "limit=" + "1" * 40, "name=%zz", "name=" + "%E2%82%AC" * 100, "id=%0", "marker=image%", "name=%00",
                  "name=" + "x" * 300, "os_hidden=%"):
        assert api.get("/v2/images?" + query).status == 400, query
    assert api.get("/v2/images?name=" + "%E2%82%AC" * 80).json["images"] == []
    one = api.get("/v2/images/image-03").json
    assert one["size"] == 3 and one["status"] == "active" and one["file"] == "/v2/images/image-03/file"
    assert api.get("/v2/images/nobody").status == 404
    assert api.get("/v2/schemas/image").json["name"] == "image" and api.get("/v2/schemas/images").json["name"] == "images"


@pytest.mark.parametrize("method,path,allow", [
    ("PUT", "/v2/cache", "GET, HEAD, DELETE"), ("POST", "/v2/cache", "GET, HEAD, DELETE"),
    ("POST", "/v2/cache/x", "GET, HEAD, PUT, DELETE"),
    ("GET", "/v2/queued_images/x", "PUT, DELETE"), ("PUT", "/cached-images/x", "DELETE"), ("DELETE", "/images/x", "GET, HEAD"),
    ("PUT", "/v2/images/x/file", "GET, HEAD"), ("OPTIONS", "/metrics", "GET, HEAD"), ("BREW", "/", "GET, HEAD")])
def test_methods(api, method, path, allow):
    answer = api.ask(method, path)
    assert answer.status == 405 and answer.headers["Allow"] == allow and answer.message


@pytest.mark.parametrize("path", ["/v3", "/v2/cache/a/b", "/v2/cache/a/pin/b", "/x", "/page/nothing", "/v2/images/a/b", "/v1/cache",
                                  "//v2/cache", "/v2//cache", "/a" * 20])
def test_nothing_there(api, path):
    assert api.get(path).status in (400, 404) and api.get(path).message


def test_bodies(api):
    assert api.ask("GET", "/v2/cache", body=b"{}").status == 400
    assert api.ask("POST", "/v2/cache/clean", body=b"{}").status == 200
    assert api.ask("GET", "/v2/cache", {"Content-Length": str(1 << 20)}, body=b"x" * 1000).status == 413
    chunk = b"%x\r\n" % 50000 + b"x" * 50000 + b"\r\n"
    data = b"POST /v2/cache/clean HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n" + 3 * chunk + b"0\r\n\r\n"
    assert api.raw(data).startswith(b"HTTP/1.1 413")


def test_too_long(api):
    answer = api.get("/" + "x" * 5000)
    assert answer.status == 414 and answer.message
    answer = api.get("/", X="x" * 9000)
    assert answer.status == 431 and answer.message
    assert api.raw(b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")[:12] in (b"HTTP/1.1 414", b"HTTP/1.1 431", b"")
    assert api.get("/v2/cache").status == 200


@pytest.mark.parametrize("path", ["/%", "/%0", "/%zz", "/images/%00", "/v2/cache/a%00b", "/images/%u1234"])
def test_bad_escapes(api, path):
    answer = api.get(path)
    assert answer.status == 400 and "%" in answer.message
