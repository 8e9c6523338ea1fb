# SPDX-License-Identifier: Apache-2.0
"""Programs that others wrote. One that is not installed is skipped."""
import os
import shutil
import subprocess
import tempfile

import pytest

from harness import MIB, blob, same
from waiting import PATIENCE, wait_until

ID = "10000000-0000-4000-8000-000000000002"
NOBODY = "20000000-0000-4000-8000-000000000404"


def run(*command, code=0, text=None, **environment):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    with tempfile.TemporaryDirectory() as home:  # glanceclient keeps the server's schemas there
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60 * PATIENCE,
                              env={**clean, "HOME": home, **environment}, check=False)
    if code is not None:
        assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def image(folder):
    return folder.put(ID, blob(3 * MIB, 1))


def test_glanceclient(folder, api, image, tmp_path):
    def glance(*arguments, **options):
        return run("glance", "--os-image-url", api.url, "--os-auth-token", "any", *arguments, **options)
    assert "| ID | State |" in glance("cache-list")
    glance("cache-queue", ID)
    folder.wait_cached(ID)
    assert f"| {ID} | cached |" in glance("cache-list")
    glance("image-download", "--file", str(tmp_path / "got"), ID)
    same((tmp_path / "got").read_bytes(), image)
    glance("cache-delete", ID)
    assert folder.ls("cached") == []
    assert f"Image {NOBODY} not found" in glance("cache-queue", NOBODY, code=None)
    assert f"Image {NOBODY} not found" in glance("cache-delete", NOBODY, code=None)
    for target in ("both", "cache", "queue"):
        api.get("/images/" + ID)
        folder.wait_cached(ID)
        glance("cache-clear", "--target", target)
        assert folder.ls("cached") == ([ID] if target == "queue" else [])
    assert ID in glance("image-show", ID) and ID in glance("image-list")
    # it makes its options of the schema that it got here, and keeps it: nothing may be missing that Glance's has
    options = glance("help", "image-create", HOME=str(tmp_path))
    assert all(f"--{name} " in options for name in ("id", "name", "visibility", "disk-format", "container-format", "min-disk", "owner"))


def test_openstackclient(folder, api, image, tmp_path):
    def openstack(*arguments):
        return run("openstack", "--os-auth-type", "admin_token", "--os-endpoint", api.url + "/v2", "--os-token", "any", *arguments)
    assert ID in openstack("image", "list") and ID in openstack("image", "show", ID)
    openstack("image", "save", "--file", str(tmp_path / "got"), ID)
    same((tmp_path / "got").read_bytes(), image)


def test_openstackclients_cached_image(folder, api, image):
    """openstack cached image list|queue|delete|clear: the client itself where it has them (from 6.4 on)."""
    def openstack(*arguments, **options):
        return run("openstack", "--os-auth-type", "admin_token", "--os-endpoint", api.url + "/v2", "--os-token", "any", "cached", "image",
                   *arguments, **options)
    if "is not an openstack command" in openstack("list", code=None):
        pytest.skip("this openstack client has no 'cached image' yet; the next test sends what one of version 6.4 does")
    openstack("queue", ID)
    folder.wait_cached(ID)
    assert f"| {ID} | cached |" in openstack("list")
    assert "Failed to queue 1 of 1 images" in openstack("queue", NOBODY, code=1)
    assert "Failed to delete 1 of 1 images" in openstack("delete", NOBODY, code=1)
    openstack("delete", ID)
    assert folder.ls("cached") == []
    for option, left in (("--queue", [ID]), ("--cache", []), (None, [])):
        api.get("/images/" + ID)
        folder.wait_cached(ID)
        openstack("clear", *([option] if option else []))
        assert folder.ls("cached") == left


def test_what_openstackclient_sends(folder, api, image):
    """
    The requests of openstack cached image list|queue|delete|clear as version 6.4 with openstacksdk 1.5 sent them, and what it takes from
    the answers: any answer that it does not expect here ends it with an error.
    """
    headers = {"User-Agent": "openstacksdk/1.5.0 keystoneauth1/5.0.0 python-requests/2.28.1 CPython/3.11.2", "X-Auth-Token": "any",
               "Accept-Encoding": "gzip, deflate", "Connection": "keep-alive"}

    def send(method, path, **more):
        answer = api.ask(method, path, {**headers, "Accept": "*/*", **{k.replace("_", "-"): v for k, v in more.items()}})
        assert "Transfer-Encoding" not in answer.headers and "Content-Encoding" not in answer.headers
        return answer

    def discover():
        """keystoneauth looks for the endpoint's versions, and goes by a self link's."""
        answer = send("GET", "/v2", Accept="application/json")
        assert answer.status == 300
        newest = answer.json["versions"][0]
        assert newest["status"] == "CURRENT" and newest["links"][0] == {"rel": "self", "href": api.url + "/v2/"}
        assert tuple(map(int, newest["id"][1:].split("."))) >= (2, 14)

    def find(name):
        """Image.find(): by id, then by name, then among the hidden ones. None: the client says that there is no such image."""
        answer = send("GET", "/v2/images/" + name)
        if answer.status == 200:
            return answer.json["id"]
        assert answer.status == 404
        found = []
        for query in ("name=" + name, "os_hidden=True"):
            answer = send("GET", "/v2/images?" + query, Accept="application/json")
            assert answer.status == 200 and "next" not in answer.json
            found += [i["id"] for i in answer.json["images"] if name in (i["id"], i["name"])]
        return found[0] if found else None

    def cached():
        """list: both times must be numbers; a queued one is an id."""
        discover()
        state = send("GET", "/v2/cache").json
        for entry in state["cached_images"]:
            assert all(isinstance(entry[k], (int, float)) for k in ("last_accessed", "last_modified", "size", "hits"))
        assert all(isinstance(i, str) for i in state["queued_images"])
        return [i["image_id"] for i in state["cached_images"]]

    assert cached() == []
    assert find(NOBODY) is None
    # queue
    discover()
    assert send("PUT", "/v2/cache/" + find(ID), Content_Length="0").status == 202
    folder.wait_cached(ID)
    assert cached() == [ID]
    # delete
    answer = send("DELETE", "/v2/cache/" + find(ID), Content_Length="0", Accept="")
    assert answer.status == 204 and cached() == []
    # clear --queue, --cache, and both
    for target, left in (("queue", [ID]), ("cache", []), (None, [])):
        api.get("/images/" + ID)
        folder.wait_cached(ID)
        target = {} if target is None else {"x_image_cache_clear_target": target}
        assert send("DELETE", "/v2/cache", Content_Length="0", **target).status == 204
        assert cached() == left


def test_glances_glance_cache_manage(folder, api, image):
    from test_manage import manage
    host, port = "127.0.0.1", str(api.port)

    def theirs(*arguments, **options):
        return run("glance-cache-manage", "--host", host, "--port", port, "--os-auth-token", "any", *arguments, **options)
    if "site-packages" not in (out := theirs("help")) and "OS_AUTH_TOKEN OS_AUTH_TOKEN" not in out and "[-S STRATEGY]" not in out:
        pytest.skip("the glance-cache-manage on the path is not Glance's")
    assert theirs("list-cached") == "No cached images.\n"
    theirs("--force", "queue-image", ID)
    folder.wait_cached(ID)
    api.get("/images/" + ID)
    wait_until(lambda: api.get("/v2/cache").json["cached_images"][0]["hits"] == 1, what="the hit")
    assert theirs("list-cached") == manage(api, "list-cached").stdout
    assert theirs("list-queued") == manage(api, "list-queued").stdout == "No queued images.\n"
    assert theirs("-v", "--force", "delete-cached-image", ID).startswith(f"Deleted cached image {ID}\n")
    assert "Deleted 0 cached images" in theirs("-v", "--force", "delete-all-cached-images")
    assert theirs("list-cached") == "No cached images.\n"


def test_curl_resumes(folder, api, image, tmp_path):
    (tmp_path / "got").write_bytes(image[:1000000])
    run("curl", "-sSf", "-C", "-", "-o", str(tmp_path / "got"), f"{api.url}/images/{ID}")
    same((tmp_path / "got").read_bytes(), image)


def test_wget(folder, api, image, tmp_path):
    run("wget", "-q", "-O", str(tmp_path / "got"), f"{api.url}/images/{ID}")
    same((tmp_path / "got").read_bytes(), image)


def test_promtool(folder, api, image):
    api.get("/images/" + ID)
    folder.wait_cached(ID)
    text = api.get("/metrics").body.decode()
    assert "glance_cache_images 1\n" in text and 'fetch_seconds_bucket{le="+Inf"} 1\n' in text
    assert f"glance_cache_api_sent_bytes_total {len(image)}\n" in text
    assert run("promtool", "check", "metrics", text=text) == ""


def test_another_cache_behind_it(folder, api, image, make_cache):
    """A cache whose backend is this server: a tier."""
    leaf = make_cache()
    leaf.configure({"type": "http", "url": api.url + "/images/{id}", "list_url": "none", "checksums": "none"}).mount()
    same(leaf.read(ID), image)
    leaf.wait_cached(ID)
    assert folder.ls("cached") == [ID]
