# SPDX-License-Identifier: Apache-2.0
"""Downloads: bytes, ranges, conditions, errors."""
import hashlib
import http.client
import threading

import pytest

from harness import MIB, blob, same, sha
from waiting import wait_until

PATHS = ["/v2/images/{}/file", "/images/{}", "/v1/images/{}"]


@pytest.mark.parametrize("path", PATHS)
def test_cold_and_warm(folder, api, path):
    content = folder.put("image", blob(3 * MIB + 7, 1))
    for _ in range(2):
        answer = api.get(path.format("image"))
        assert answer.status == 200 and answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Length"] == str(len(content)) and answer.headers["Accept-Ranges"] == "bytes"
        same(answer.body, content)
        folder.wait_cached("image")


@pytest.mark.parametrize("name,path", [("a b", "a%20b"), ("%2f", "%252f"), ("ü", "%C3%BC"), ("a;b,c=d&e", "a;b,c=d&e"),
                                       ("versions", "versions"), ("~", "~")])
def test_odd_ids(folder, api, name, path):
    content = folder.put(name, name.encode() * 100)
    same(api.get("/images/" + path).body, content)
    assert api.get("/v2/images/" + path).json["id"] == name
    assert api.put("/v2/cache/" + path).status == 202
    assert api.get("/v2/cache/" + path).json["image_id"] == name


@pytest.mark.parametrize("size", [0, 1])
def test_small(folder, api, size):
    content = folder.put("image", b"x" * size)
    same(api.get("/images/image").body, content)
    assert api.ask("HEAD", "/images/image").headers["Content-Length"] == str(size)
    assert api.get("/images/image", Range="bytes=0-0").status == (206 if size else 416)


def test_ranges(folder, api):
    content = folder.put("image", blob(MIB, 2))
    size = len(content)
    for warm in (False, True):
        for value, first, last in (("0-0", 0, 0), ("0-1023", 0, 1023), (f"{size - 5}-", size - 5, size - 1), ("-7", size - 7, size - 1),
                                   (f"1000-{10 * size}", 1000, size - 1), (f"-{2 * size}", 0, size - 1)):
            answer = api.get("/v2/images/image/file", Range="bytes=" + value)
            assert answer.status == 206, value
            assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
            same(answer.body, content[first:last + 1])
        for value in (f"{size}-", "-0"):
            answer = api.get("/images/image", Range="bytes=" + value)
            assert answer.status == 416 and answer.headers["Content-Range"] == f"bytes */{size}" and answer.message
        for value in ("bytes=0-1,5-6", "bytes=5-2", "lines=1-2", "bytes=x", "bytes=0-1, 5000000-"):
            answer = api.get("/images/image", Range=value)
            assert answer.status == 200, value
            same(answer.body, content)
        if not warm:
            folder.wait_cached("image")


def test_conditions(folder, api):
    content = blob(MIB, 3)
    folder.put("SHA256SUMS", f"{sha(content)}  image\n".encode())
    folder.put("image", content)
    etag = api.get("/images/image").headers["ETag"]
    folder.wait_cached("image")
    assert folder.xattr("image", "os_hash_value") == sha(content)
    answer = api.get("/images/image")
    assert answer.headers["ETag"] == etag == folder.xattr("image", "etag")
    assert answer.headers["X-Glance-Cache-Hash"] == f"sha256={sha(content)}"
    for value in (etag, "W/" + etag, f'"x", {etag}', "*"):
        answer = api.get("/images/image", If_None_Match=value)
        assert answer.status == 304 and answer.body == b"" and answer.headers["ETag"] == etag
    assert api.get("/images/image", If_None_Match='"x"').status == 200
    assert api.get("/images/image", If_Range=etag, Range="bytes=0-9").status == 206
    for value in ('"x"', "W/" + etag, "Sun, 22 Nov 2026 05:05:32 GMT"):
        assert api.get("/images/image", If_Range=value, Range="bytes=0-9").status == 200


def test_the_etag_stays(cache, origin, make_api):
    """Also while digests become known: who fetches in parts would take another tag for another version."""
    content = blob(20 * MIB, 6)
    origin.put("image", content)
    origin.put("SHA256SUMS", f"{sha(content)}  image\n".encode())
    cache.configure(origin.config(), fetch_policy="demand").mount()
    api = make_api(cache)
    tags = [api.get("/images/image", Range="bytes=0-9").headers["ETag"]]
    wait_until(lambda: "X-Glance-Cache-Hash" in api.ask("HEAD", "/images/image").headers, what="the digest")
    tags.append(api.get("/images/image", Range="bytes=10-19").headers["ETag"])
    same(api.get("/images/image").body, content)
    cache.wait_cached("image")
    tags.append(api.get("/images/image").headers["ETag"])
    assert len(set(tags)) == 1 and tags[0], tags


def test_md5_where_known(cache, origin, make_api):
    content = blob(MIB, 4)
    origin.put("image", content)
    origin.put("MD5SUMS", f"{hashlib.md5(content).hexdigest()}  image\n".encode())
    cache.configure(origin.config(checksums="MD5SUMS")).mount()
    api = make_api(cache)
    api.get("/v2/images/image/file")
    cache.wait_cached("image")
    answer = api.get("/v2/images/image/file")
    assert answer.headers["Content-MD5"] == hashlib.md5(content).hexdigest()
    assert api.get("/v2/images/image").json["checksum"] == hashlib.md5(content).hexdigest()


def test_head_opens_nothing(folder, api):
    folder.put("image", blob(MIB, 5))
    answer = api.ask("HEAD", "/v2/images/image/file")
    assert answer.status == 200 and answer.headers["Content-Length"] == str(MIB) and answer.body == b""
    assert api.ask("HEAD", "/images/image", {"Range": "bytes=0-9"}).headers["Content-Length"] == "10"
    assert folder.ls("cached") == [] and folder.ls("incomplete") == []
    assert folder.status()["counters"]["misses"] == 0


def test_not_there(api):
    for path in PATHS:
        answer = api.get(path.format("nobody"))
        assert answer.status == 404 and "nobody" in answer.message


@pytest.mark.parametrize("id", ["..", "%2e%2e", ".status", "%2e%2e%2f.status", "a%2fb", "..%2f..%2fetc%2fpasswd", "incomplete", "%0a",
                                "x" * 256, "%2fetc%2fpasswd"])
def test_ids_that_are_none(folder, api, id):
    for path in PATHS:
        assert api.get(path.format(id)).status == 404
    for method, path in (("GET", "/v2/cache/"), ("PUT", "/v2/cache/"), ("DELETE", "/v2/cache/"), ("PUT", "/v2/queued_images/")):
        assert api.ask(method, path + id).status == 404, (method, path)
    assert api.delete("/v2/cached_images/" + id).json is None
    assert api.ask("PUT", f"/v2/cache/{id}/pin").status == 404


def test_unreachable_is_not_unknown(cache, origin, make_api):
    content = origin.put("cached", blob(MIB, 6))
    cache.configure(origin.config(retries=0, retry_delay=10)).mount()
    api = make_api(cache)
    same(api.get("/images/cached").body, content)
    cache.wait_cached("cached")
    origin.stop()
    answer = api.get("/images/other")
    assert answer.status == 503 and answer.headers["Retry-After"] and answer.message
    same(api.get("/images/cached").body, content)
    origin.start()
    wait_until(lambda: api.get("/images/other").status == 404, what="the origin to be asked again")


def test_nothing_mounted(folder, make_api):
    api = make_api(folder)
    for path in ("/images/image", "/v2/cache", "/healthcheck", "/v2/images/image", "/status"):
        answer = api.get(path)
        assert answer.status == 503 and "not mounted" in answer.message, path
    assert "\nglance_cache_up 0\n" in api.get("/metrics").body.decode()
    folder.mount()
    assert api.get("/healthcheck").json == {"status": "ok"}


def test_streams_while_fetched(cache, origin, make_api):
    content = origin.put("image", blob(8 * MIB, 7))
    hold = origin.fault("image", hold_from=6 * MIB)
    cache.configure(origin.config(stall_timeout=600), fetch_whole_after="0").mount()
    api = make_api(cache)
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
    connection.request("GET", "/images/image")
    response = connection.getresponse()
    same(response.read(4 * MIB), content[:4 * MIB])
    wait_until(lambda: hold.waiting, what="the origin to hold back")
    # others are served meanwhile
    assert api.get("/healthcheck").status == 200 and api.get("/v2/cache").status == 200
    hold.release()
    same(response.read(), content[4 * MIB:])
    connection.close()
    assert origin.sent("image") < 1.2 * len(content)


def test_ends_short_when_bytes_cannot_be_had(cache, origin, make_api):
    origin.put("image", blob(8 * MIB, 8))
    origin.fault("image", when=lambda r: r.range is not None and r.range[0] > 0, status=500)
    cache.configure(origin.config(retries=0, retry_delay=10), fetch_policy="demand").mount()
    api = make_api(cache)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        api.get("/images/image")
    assert api.get("/healthcheck").status == 200


def test_one_fetch_for_many_clients(cache, origin, make_api):
    content = origin.put("image", blob(8 * MIB, 9))
    cache.configure(origin).mount()
    api = make_api(cache)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(api.get("/images/image").body)) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(answers) == 20
    for a in answers:
        same(a, content)
    assert origin.sent("image") < 1.1 * len(content)


def test_hits_are_counted_once(folder, api):
    folder.put("image", blob(MIB, 10))
    api.get("/images/image")
    folder.wait_cached("image")
    for _ in range(3):
        api.get("/images/image")
    assert [i["hits"] for i in api.get("/v2/cache").json["cached_images"]] == [3]
