# SPDX-License-Identifier: Apache-2.0
"""The status page, in a real browser where there is one. Screenshots go to the artefacts."""
import json
import os
import re
import shutil
import subprocess
import threading

import pytest

from harness import KIB, MIB, TOP, blob
from waiting import PATIENCE, wait_until

ARTEFACTS = os.environ.get("GCFS_ARTEFACTS") or os.path.join(TOP, "build", "test-artefacts")
ID = "10000000-0000-4000-8000-000000000002"


def chromium(*arguments, profile):
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("chromium is not installed")
    return subprocess.run([program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
                           f"--user-data-dir={profile}", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60 * PATIENCE, check=False)


def test_files(api):
    answer = api.get("/", Accept="text/html,application/xhtml+xml")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and answer.headers["X-Frame-Options"] == "DENY"
    page = answer.body.decode()
    assert "<script>" not in page and " style=" not in page and " onclick=" not in page
    for path in re.findall(r'(?:href|src)="([^"]+)"', page):
        if path.startswith("#"):
            continue
        assert path.startswith("/") and not path.startswith("//"), "the page asks only this server"
        assert api.get(path).status == 200, path
    assert "http" not in re.sub(r"http://www\.w3\.org/2000/svg", "", api.get("/page/page.js").body.decode())
    assert api.get("/page/../main.c").status == 404 and api.get("/page/%2e%2e").status == 404


@pytest.mark.deadline(240)
def test_in_a_browser(cache, origin, make_api, tmp_path):
    """What it shows of a fetch under way, at the width of a desk and of a phone."""
    origin.put("debian-12-generic-amd64.qcow2", blob(300 * KIB, 1))
    origin.put(ID, blob(24 * MIB, 2))
    origin.put("<img src=x onerror=alert(1)>", blob(10 * KIB, 3))
    hold = origin.fault(ID, hold_from=9 * MIB)
    cache.configure(origin.config(stall_timeout=600)).mount()
    api = make_api(cache)
    for name in ("debian-12-generic-amd64.qcow2", "%3Cimg%20src=x%20onerror=alert(1)%3E"):
        assert api.get("/images/" + name).status == 200
    cache.wait_cached("debian-12-generic-amd64.qcow2")
    assert api.put("/v2/cache/debian-12-generic-amd64.qcow2/pin").status == 204
    reader = threading.Thread(target=lambda: api.get("/images/" + ID))
    reader.start()
    try:
        wait_until(lambda: hold.waiting and cache.bytes_cached(ID) > 4 * MIB, what="the fetch to be under way")
        os.makedirs(ARTEFACTS, exist_ok=True)
        for name, size in (("desk", "1280,1600"), ("phone", "500,2300")):
            shot = os.path.join(ARTEFACTS, f"status-page-{name}.png")
            done = chromium("--virtual-time-budget=5000", f"--window-size={size}", f"--screenshot={shot}", api.url + "/",
                            profile=tmp_path / "profile")
            assert os.path.getsize(shot) > 10000, done.stderr
        page = chromium("--virtual-time-budget=5000", "--dump-dom", api.url + "/", profile=tmp_path / "profile").stdout
    finally:
        hold.release()
        reader.join()
    assert "Unpin" in page and "&lt;img src=x onerror=alert(1)&gt;" in page and "<img" not in page
    bar = re.search(rf'aria-valuenow="(\d+)" data-id="{ID}"', page)
    assert bar and 10 < int(bar[1]) < 90, "the bar of the fetch"
    assert re.search(r'<svg class="map".*?<rect', page), "the map of what is here"
    # and once it is whole, it is among the cached
    cache.wait_cached(ID)
    page = chromium("--virtual-time-budget=5000", "--dump-dom", api.url + "/", profile=tmp_path / "profile").stdout
    assert "Nothing is being fetched." in page and f"Evict {ID}" in page


def test_the_page_asks_for_a_token(folder, make_api, tmp_path):
    from test_auth import secret
    folder.mount()
    api = make_api(folder, auth="token", admin_token_file=secret(folder, "admin", "admin-secret"))
    page = chromium("--virtual-time-budget=3000", "--dump-dom", api.url + "/", profile=tmp_path / "profile").stdout
    assert "A token is needed to see the cache." in page and re.search(r'<div id="content" hidden', page)


def test_behind_nginx(folder, make_api, tmp_path):
    """The example in conf/: nginx asks who may, and sends the bytes from the mount."""
    from server import free_port
    from test_auth import secret
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    content = folder.put("image", blob(3 * MIB, 4))
    folder.mount("-o", "allow_other")
    api = make_api(folder, auth="token", admin_token_file=secret(folder, "admin", "admin-secret"))
    port = free_port()
    text = open(os.path.join(TOP, "conf", "nginx.conf.example")).read()
    text = text.replace("127.0.0.1:9292", f"127.0.0.1:{api.port}").replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    text = re.sub(r"^ *ssl_.*\n", "", text, flags=re.M).replace("/var/lib/glance/images/images", folder.path("images"))
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; daemon off; worker_processes 1; user root;\n"
                    f"events {{ }}\nhttp {{ access_log off; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;\n"
                    f"fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n{text}}}\n")
    nginx = folder.spawn("nginx", "-c", conf, "-p", tmp_path, stderr=subprocess.DEVNULL)
    api.port, own = port, api.port
    try:
        def up():
            assert nginx.poll() is None, "nginx ended: " + (tmp_path / "error.log").read_text()
            try:
                return api.get("/healthcheck").status == 200
            except ConnectionError:
                return False
        wait_until(up, what="nginx")
        for path in ("/images/image", "/v2/images/image/file", "/v1/images/image"):
            assert api.get(path).status == 401
            answer = api.get(path, X_Auth_Token="admin-secret")
            assert answer.status == 200 and answer.body == content
        assert api.get("/v2/cache").status == 401
        assert json.loads(api.get("/v2/cache", X_Auth_Token="admin-secret").body)["cached_images"]
        for path in ("/images/..", "/images/%2e%2e/.status", "/images/.hidden"):
            assert api.get(path, X_Auth_Token="admin-secret").status in (400, 404), path
    finally:
        api.port = own
        nginx.terminate()
        nginx.wait()
