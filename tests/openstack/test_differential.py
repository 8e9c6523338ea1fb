# SPDX-License-Identifier: Apache-2.0
"""The same requests to Glance and, passed on, to us: status, body and the headers that count are equal, but for what is named here. Requests that change
something are made on twins, one for each side."""
import http.client
import json
import os
import re
import sys

import pytest

import harness
from people import everyone

sys.path.append(os.path.join(harness.TOP, "tests", "api"))
from server import Api  # noqa: E402

COUNT = ("Content-Type", "Location", "WWW-Authenticate", "Allow", "Retry-After", "OpenStack-image-import-methods", "OpenStack-image-store-ids", "Vary")
PATCH = "application/openstack-images-v2.1-json-patch"
CONTENT = harness.blob(300 * 1024 + 7, 5)
TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NEVER = "99999999-9999-4999-8999-999999999999"

# Ways in which we differ on purpose: (method, path) to what is compared, of ("status", "body", "headers").
NAMED = [
    (r"GET /v2/images/[^/]+%2F/file$", (), "an encoded slash is one of the id here, and the path's there"),
    (r"HEAD /v2/images/[^/]+/file$", (), "HEAD of an image's bytes is answered, not 405"),
    (r"GET /v2/images/[^/]+/file$", ("status", "bytes"), "errors of downloads are ours, as JSON; bytes are the same"),
    (r"\S+ /v2/images/[^/]+/file range", ("status", "bytes"), "ranges come from the cache"),
    (r"\S+ (/v[12])?/(cached|queued)_images", (), "the cache's own calls are ours"),
    (r"\S+ /v2/cache(/|$)", (), "the cache's own calls are ours"),
    (r"\S+ /(healthcheck|metrics|status|page|auth|favicon.ico|images)(/|$)", (), "our own paths"),
    (r"GET /v1/images/", (), "downloads by the path of Glance's first API"),
]


def compared(what):
    for pattern, parts, _ in NAMED:
        if re.match(pattern, what):
            return parts
    return "status", "body", "headers"


def talk(port, method, path, headers, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


# ---- the requests: (who, method, path, headers, body); {id} is a twin, {member} the other tenant's project

def odd_ids():
    return [NEVER, "nothing", NEVER.upper(), "a" * 300, "..", "%2e%2e", "%zz", "a%00b", "%C3%A4", "a%2Fb", "{id}%20", "{id}%2F", "-", "{id}{id}", "0"]


def reads():
    for path in ("/", "/versions", "/v2", "/v2/", "/v2.9", "/v2.99/images", "/v3", "/v1", "/x", "//v2/images", "/v2//images", "/v2/images/", "/v2/images//",
                 "/v2/a/b/c/d/e/f/g/h/i/j", "/%zz"):
        yield "member", "GET", path, {}, None
    for kind in ("image", "images", "member", "members", "task", "tasks", "nothing", "metadefs/namespace", "metadefs/tags"):
        yield "member", "GET", f"/v2/schemas/{kind}", {}, None
    for path in ("info/import", "info/stores", "info/stores/detail", "info/usage", "tasks", "tasks/" + NEVER, "metadefs/namespaces", "metadefs/namespaces/OS::None",
                 "metadefs/resource_types", "stores/x/{id}"):
        yield "member", "GET", f"/v2/{path}", {}, None
    for query in ("limit=0", "limit=1", "limit=-1", "limit=x", "limit=1000000", "marker=" + NEVER, "marker=x", "sort_key=nonsense", "sort_key=name&sort_dir=desc", "sort_dir=up",
                  "sort=name:asc,size:desc", "sort=name:up", "sort=created_at", "name=in:a,b", "id=in:{id}", "status=active", "status=x", "visibility=public", "visibility=all",
                  "visibility=x", "size_min=1&size_max=10", "size_min=x", "owner={member}", "tag=a&tag=b", "os_hidden=true", "os_hidden=x", "member_status=all", "member_status=x",
                  "created_at=gt:2020-01-01T00:00:00Z", "created_at=lt:x", "updated_at=neq:2020-01-01T00:00:00Z", "disk_format=raw", "container_format=in:bare,ovf", "checksum=x",
                  "image_type=backup&backup_type=daily&instance_uuid=u&limit=200&sort_key=created_at&sort_dir=desc", "hw_disk_bus=scsi", "name=%C3%A4", "name=a%2Bb", "name=a+b",
                  "name=", "protected=true", "protected=x", "x" * 300 + "=1", "&&&", "name", "=", "%zz=1", "sort_key=" + "&sort_key=".join(["name"] * 9)):
        yield "member", "GET", f"/v2/images?{query}&name=gcfs-twin" if query.startswith(("limit", "sort")) and "marker" not in query else f"/v2/images?{query}", {}, None
    for rest in ("", "/", "/members", "/members/x", "/members/{member}", "/locations", "/tasks", "/tags", "/tags/x", "/nothing", "/actions", "/import", "/stage"):
        yield "member", "GET", "/v2/images/{id}" + rest, {}, None
    for ident in odd_ids():
        for rest in ("", "/members", "/file"):
            yield "member", "GET", f"/v2/images/{ident}{rest}", {}, None


def others():
    for who in ("other", "reader", "admin", "service", "nonsense", "nobody"):
        for path in ("/v2/images/{id}", "/v2/images/{id}/file", "/v2/images?name=gcfs-twin", "/v2/images/{id}/members", "/v2/schemas/image", "/v2/info/import"):
            yield who, "GET", path, {}, None
        yield who, "PATCH", "/v2/images/{id}", {"Content-Type": PATCH}, b'[{"op": "add", "path": "/x", "value": "1"}]'
        yield who, "DELETE", "/v2/images/{id}/tags/none", {}, None
        yield who, "POST", "/v2/images", {"Content-Type": "application/json"}, b"nonsense"


def methods():
    for path in ("/v2/images", "/v2/images/{id}", "/v2/images/{id}/file", "/v2/images/{id}/members", "/v2/schemas/image", "/versions", "/v2/images/{id}/tags/a"):
        for method in ("OPTIONS", "HEAD", "PUT", "POST", "PATCH", "DELETE", "PROPFIND"):
            if (method, path) in (("DELETE", "/v2/images/{id}"), ("PUT", "/v2/images/{id}/tags/a"), ("DELETE", "/v2/images/{id}/tags/a"), ("PUT", "/v2/images/{id}/file")):
                continue
            yield "member", method, path, {}, b"" if method in ("PUT", "POST", "PATCH") else None
    yield "member", "GET", "/v2/images/{id}", {"Accept": "text/html"}, None
    yield "member", "GET", "/v2/images/{id}", {"Accept": "application/json", "Accept-Language": "de"}, None
    yield "member", "GET", "/v2/images/nothing", {"Accept": "text/plain"}, None
    yield "member", "GET", "/v2/images/{id}", {"X-Roles": "admin", "X-Identity-Status": "Confirmed", "X-Project-Id": "x"}, None
    yield "nobody", "GET", "/v2/images/{id}", {"X-Roles": "admin", "X-Identity-Status": "Confirmed", "X-Project-Id": "x", "X-User-Id": "x"}, None


def changes():
    plain, patch = {"Content-Type": "application/json"}, {"Content-Type": PATCH}
    for body in (b"", b"nonsense", b"{}", b"[]", b'{"name": 7}', b'{"nonsense_": {"a": 1}}', b'{"disk_format": "x"}', b'{"id": "x"}', b'{"name": "' + b"x" * 300 + b'"}',
                 b'{"min_disk": -1}', b'{"visibility": "public"}', b'{"name": "gcfs-made", "disk_format": "raw", "container_format": "bare", "hw": "\xc3\xa4"}',
                 b'{"status": "active"}', b"\xff\xfe", b"null", b"7"):
        yield "member", "POST", "/v2/images", plain, body
    yield "member", "POST", "/v2/images", {}, b"{}"
    for body in (b"", b"nonsense", b"{}", b"[]", b"[7]", b'[{"op": "x"}]', b'[{"op": "add", "path": "/a", "value": "1"}]', b'[{"op": "replace", "path": "/a", "value": "2"}]',
                 b'[{"op": "remove", "path": "/a"}]', b'[{"op": "remove", "path": "/a"}]', b'[{"op": "replace", "path": "/status", "value": "queued"}]',
                 b'[{"op": "replace", "path": "/id", "value": "1"}]', b'[{"op": "replace", "path": "/name", "value": "gcfs-twin"}]', b'[{"op": "add", "path": "a"}]',
                 b'[{"op": "replace", "path": "/tags", "value": ["x", "y"]}]', b'[{"op": "add", "path": "/locations/-", "value": {"url": "file:///etc/passwd", "metadata": {}}}]'):
        yield "member", "PATCH", "/v2/images/{id}", patch, body
    yield "member", "PATCH", "/v2/images/{id}", plain, b"[]"
    yield "member", "PATCH", f"/v2/images/{NEVER}", patch, b"[]"
    for method, path, body in (("PUT", "/v2/images/{id}/tags/a", b""), ("DELETE", "/v2/images/{id}/tags/a", None), ("DELETE", "/v2/images/{id}/tags/a", None),
                               ("PUT", "/v2/images/{id}/tags/" + "x" * 300, b""), ("POST", "/v2/images/{id}/members", b'{"member": "{member}"}'),
                               ("PATCH", "/v2/images/{id}", b'[{"op": "replace", "path": "/visibility", "value": "shared"}]'),
                               ("POST", "/v2/images/{id}/members", b'{"member": "{member}"}'), ("POST", "/v2/images/{id}/members", b'{"member": "{member}"}'),
                               ("POST", "/v2/images/{id}/members", b"nonsense"), ("GET", "/v2/images/{id}/members", None), ("GET", "/v2/images/{id}/members/{member}", None),
                               ("PUT", "/v2/images/{id}/members/{member}", b'{"status": "accepted"}'), ("PUT", "/v2/images/{id}/members/{member}", b'{"status": "x"}'),
                               ("DELETE", "/v2/images/{id}/members/{member}", None), ("DELETE", "/v2/images/{id}/members/{member}", None),
                               ("POST", "/v2/images/{id}/import", b'{"method": {"name": "nonsense"}}'), ("POST", "/v2/images/{id}/import", b"{}"),
                               ("PUT", "/v2/images/{id}/stage", b"x"), ("DELETE", "/v2/stores/x/{id}", None), ("POST", "/v2/tasks", b"{}"),
                               ("POST", "/v2/metadefs/namespaces", b'{"namespace": "x"}'), ("DELETE", "/v2/metadefs/namespaces/x", None),
                               ("POST", "/v2/images/{id}/locations", b'{"url": "file:///x"}')):
        yield "member", method, path, patch if method == "PATCH" else plain, body
    for who in ("member", "admin"):
        for action in ("deactivate", "nonsense", "reactivate"):
            yield who, "POST", f"/v2/images/{{id}}/actions/{action}", {}, b""
    stream = {"Content-Type": "application/octet-stream"}
    for path, headers, body in (("/v2/images/{id}/file", stream, b"again"), ("/v2/images/{id}/file", plain, b"x"), (f"/v2/images/{NEVER}/file", stream, b"x" * 100000),
                                ("/v2/images/{queued}/file", plain, b"x"), ("/v2/images/{queued}/file", stream, CONTENT)):
        yield "member", "PUT", path, headers, body
    for ident in ("{queued}", "{id}"):
        yield "member", "GET", f"/v2/images/{ident}/file", {}, None
        yield "member", "GET", f"/v2/images/{ident}", {}, None
    yield "member", "GET", "/v2/images/{id}/file", {"Range": "bytes=5-99"}, None
    yield "member", "GET", "/v2/images/{id}/file", {"Range": "bytes=99999999-"}, None
    for ident in ("{queued}", "{id}", "{id}", NEVER, "nothing"):
        yield "member", "DELETE", f"/v2/images/{ident}", {}, None
        yield "member", "GET", f"/v2/images/{ident}", {}, None


@pytest.fixture(scope="module")
def people(cloud):
    return everyone(cloud)


@pytest.fixture
def sides(cloud, cache, people, request):
    """{side: (port, what stands for {id} and {queued})}, of Glance and of us."""
    cache.configure(cloud.glance(cache), list_ttl=0).mount()
    api = Api(cache, auth="keystone", auth_url=cloud["OS_AUTH_URL"], upstream=cloud["ORIGIN_URL"])
    api.start()
    request.addfinalizer(api.close)
    idents, found = [], {}
    for side, port in (("glance", int(cloud["ORIGIN_URL"].rsplit(":", 1)[1])), ("us", api.port)):
        mine = [cloud.make_image(content, name="gcfs-twin", token=people["member"], hw_disk_bus="scsi") for content in (CONTENT, None)]
        idents += mine
        found[side] = (port, {"{id}": mine[0], "{queued}": mine[1], "{member}": cloud["LAB_PROJECT_ID"]})
    yield found
    for ident in idents:
        cloud.delete_image(ident)
    for record in json.loads(cloud.http("GET", cloud["ORIGIN_URL"] + "/v2/images?name=gcfs-made&limit=100")[2])["images"]:
        cloud.delete_image(record["id"])


def fill(text, names):
    for name, value in names.items():
        text = text.replace(name if isinstance(text, str) else name.encode(), value if isinstance(text, str) else value.encode())
    return text


def normal(data, port, names, own):
    """Without what differs between two requests for the same."""
    data = TIME.sub(b"TIME", data)
    for name, value in names.items():
        data = data.replace(value.encode(), name.encode()).replace(value.upper().encode(), name.encode())
    data = re.sub(rb"http://(127\.0\.0\.1|localhost):%d" % port, b"URL", data)
    data = re.sub(rb"req-[0-9a-f-]{36}", b"REQ", data)
    for ident in own:
        data = data.replace(ident, b"NEW")
    return data


def is_list(path):
    """Whose answer has the twins of both sides, and so is the same."""
    return re.match(r"/+v2/+images/*(\?|$)", path) and "{id}" not in path


def run(side, port, names, people, who, method, path, headers, body):
    told = dict(headers)
    if people[who] is not None:
        told["X-Auth-Token"] = people[who]
    status, head, data = talk(port, method, fill(path, names), told, None if body is None else fill(body, names))
    own = re.findall(rb'"id": "([0-9a-f-]{36})"', data) if method == "POST" and path == "/v2/images" and status == 201 else []
    return {"status": status, "bytes": data if status in (200, 206) else b"", "body": normal(data, port, {} if is_list(path) and method == "GET" else names, own),
            "headers": {n: normal((head[n] or "").encode(), port, names, own) for n in COUNT}}


@pytest.mark.parametrize("part", ["reads", "others", "methods", "changes"])
def test_the_same(cloud, sides, people, part):
    wrong, requests = [], list(globals()[part]())
    for who, method, path, headers, body in requests:
        got = {side: run(side, port, names, people, who, method, path, headers, body) for side, (port, names) in sides.items()}
        what = f"{method} {path.split('?')[0]}" + (" range" if "Range" in headers else "")
        for key in compared(what.replace("{id}", NEVER).replace("{queued}", NEVER)):
            if got["glance"][key] != got["us"][key]:
                wrong.append(f"{who} {method} {path} {body!r:.60}: {key}\n    Glance {got['glance'][key]!r:.300}\n    us     {got['us'][key]!r:.300}")
    assert not wrong, f"{len(wrong)} of {len(requests)} differ:\n" + "\n".join(wrong[:20])


def test_there_are_enough():
    assert sum(len(list(globals()[part]())) for part in ("reads", "others", "methods", "changes")) > 200
