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
from waiting import wait_until

ARTEFACTS = os.environ.get("GCFS_ARTEFACTS") or os.path.join(TOP, "build", "test-artefacts")
ID = "10000000-0000-4000-8000-000000000002"


@pytest.fixture
def browser(make_cache, tmp_path):
    """Gone before the caches are. The page must not have said anything on the browser's console."""
    from browser import Browser
    one = Browser(tmp_path / "profile", tmp_path / "browser.log")
    yield one
    one.close()
    assert not one.trouble, one.trouble


def shown(name):
    return os.path.join(ARTEFACTS, f"status-page-{name}.png")


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


BAR = f"document.querySelector('[role=progressbar][data-id=\"{ID}\"]')"


@pytest.mark.deadline(240)
def test_a_live_fetch(cache, origin, make_api, browser):
    """What the page shows of a fetch under way, at the width of a desk and of a phone; its bar moves by itself."""
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
        browser.go(api.url + "/")
        browser.wait(BAR, "the bar")
        before = int(browser.eval(BAR + ".getAttribute('aria-valuenow')"))
        assert 10 < before < 50
        assert browser.eval("document.querySelectorAll('svg.map rect').length") >= 1, "the map of what is here"
        for name, size in (("desk", (1280, 900, False)), ("phone", (390, 844, True))):
            browser.width(*size)
            for dark in (False, True):
                browser.dark(dark)
                browser.shot(shown(name + ("-dark" if dark else "")))
            assert browser.eval("document.documentElement.scrollWidth <= innerWidth"), f"{name}: no scrolling to the side"
        assert "<img src=x onerror=alert(1)>" in browser.text() and browser.eval("document.querySelectorAll('img').length") == 0
        # the bar is one and the same, and moves: nothing is loaded again
        browser.eval(BAR + ".mark = window.mark = 'the same'")
        hold.hold_from = 18 * MIB
        browser.wait(f"+{BAR}.getAttribute('aria-valuenow') > {before}", "the bar to move")
        browser.wait(f"parseFloat({BAR}.firstElementChild.style.width) == +{BAR}.getAttribute('aria-valuenow')", "its width")
        assert browser.eval(BAR + ".mark") == browser.eval("window.mark") == "the same"
    finally:
        hold.release()
        reader.join()
    # and once it is whole, it is among the cached
    cache.wait_cached(ID)
    browser.wait(f"document.querySelector('[aria-label=\"Evict {ID}\"]')", "the image to be among the cached")
    assert "Nothing is being fetched." in browser.text() and browser.eval("!" + BAR)


def press(browser, label, key, then):
    """Comes to what is called LABEL by Tab, where the focus can be seen, and presses KEY; now the focus is on what is called THEN."""
    browser.tab_to(label)
    assert browser.outlined(), f"the focus on {label} is not to be seen"
    browser.key(key)
    browser.wait(f"document.activeElement.getAttribute('aria-label') === {json.dumps(then)}", f"the focus on {then}")


@pytest.mark.deadline(240)
@pytest.mark.parametrize("width,key", [((1280, 900, False), "Enter"), ((390, 844, True), "Space")], ids=["desk", "phone"])
def test_by_keyboard(folder, api, browser, width, key):
    """Queues, pins, unpins and evicts, with Tab and one key, and never loses its place."""
    for name in ("one", "two", "three"):
        folder.put(name, blob(100 * KIB, len(name)))
    browser.width(*width)
    browser.go(api.url + "/")
    browser.wait("!document.getElementById('content').hidden", "the status")
    browser.key("Tab")
    assert browser.focused() == "To the content"
    # the form: an id, and Enter there or the button
    for name in ("one", "two", "three"):
        browser.tab_to("Image id")
        browser.type(name)
        if name == "one":
            browser.key("Enter")
        else:
            browser.tab_to("Queue")
            browser.key(key)
        folder.wait_cached(name)
        browser.wait(f"document.querySelector('[aria-label=\"Evict {name}\"]')", name + " to be shown as cached")
    press(browser, "Pin one", key, "Unpin one")
    assert folder.xattr("one", "pinned") == "1"
    browser.key(key)
    browser.wait("document.activeElement.getAttribute('aria-label') === 'Pin one'", "the focus on the same button, which now pins")
    wait_until(lambda: folder.xattr("one", "pinned") == "0", what="the image to be unpinned")
    # evicting asks first; Escape is no
    press(browser, "Evict two", key, "Sure? Evict two")
    browser.shot(shown("sure-" + ("phone" if width[2] else "desk")))
    browser.key("Escape")
    browser.wait("document.activeElement.getAttribute('aria-label') === 'Evict two'", "the question to be withdrawn")
    browser.key(key)
    browser.wait("document.activeElement.getAttribute('aria-label') === 'Sure? Evict two'", "the question")
    assert folder.ls("cached") == ["one", "three", "two"]
    browser.key(key)
    folder.wait_has("cached", "two", False)
    # its button has gone, and the focus is on one that is there
    browser.wait("!document.querySelector('[aria-label$=\"Evict two\"]')", "the row to go")
    assert re.match("Evict (one|three)|Pin (one|three)", browser.focused())
    press(browser, "Evict one", key, "Sure? Evict one")
    browser.key(key)
    press(browser, "Evict three", key, "Sure? Evict three")
    browser.key(key)
    browser.wait("document.getElementById('cached').innerText.includes('Nothing is cached yet.')", "the last row to go")
    assert folder.ls("cached") == [] and browser.focused() == "Cached"
    # what cannot be done is said
    browser.tab_to("Image id", most=200)
    browser.type("nobody")
    browser.key("Enter")
    browser.wait("document.getElementById('message').innerText.includes('Image nobody not found.')", "the reason")
    browser.trouble.clear()  # the browser notes the status 404


def test_by_token(folder, make_api, browser):
    """An admin manages; a reader looks on; a wrong token is refused. The token is asked for, and kept in the tab."""
    from test_auth import secret
    folder.put("image", blob(100 * KIB, 1))
    folder.mount()
    api = make_api(folder, auth="token", admin_token_file=secret(folder, "admin", "admin-secret"),
                   reader_token_file=secret(folder, "reader", "reader-secret"))
    api.get("/images/image", X_Auth_Token="reader-secret")
    folder.wait_cached("image")
    seen = "!document.getElementById('content').hidden"
    browser.go(api.url + "/")
    browser.wait("document.body.innerText.includes('A token is needed to see the cache.')", "the question for a token")
    assert not browser.eval(seen)
    browser.tab_to("Token")
    browser.type("wrong")
    browser.key("Enter")
    browser.wait("document.getElementById('state').innerText.includes('not, or no longer, good')", "the refusal")
    for token, may in (("reader-secret", False), ("admin-secret", True)):
        browser.eval("sessionStorage.clear()")
        browser.go(api.url + "/")
        browser.wait("!document.getElementById('login').hidden", "the question for a token")
        browser.tab_to("Token")
        browser.type(token)
        browser.key("Enter")
        browser.wait(seen, "the status")
        assert "image" in browser.text()
        for what in ("[aria-label=\"Evict image\"]", "#queue-id"):
            assert browser.eval(f"document.querySelector('{what}').checkVisibility()") == may, (token, what)
    browser.shot(shown("admin"))
    press(browser, "Evict image", "Enter", "Sure? Evict image")
    browser.key("Enter")
    folder.wait_has("cached", "image", False)
    browser.trouble.clear()  # the browser notes each status 401


def test_server_gone(folder, make_api, browser):
    """The page says so, and goes on when there is one again."""
    folder.mount()
    api = make_api(folder)
    browser.go(api.url + "/")
    browser.wait("!document.getElementById('content').hidden", "the status")
    api.close()
    browser.wait("document.getElementById('state').innerText.includes('does not answer')", "the page to say so")
    api.start()
    browser.wait("document.getElementById('state').innerText.includes('mounted')", "the status")
    browser.trouble.clear()  # the browser notes each connection that was refused


@pytest.mark.deadline(240)
def test_what_is_wrong_stands_above_all(cache, origin, make_api, browser):
    """A backend that fails, an image that failed: in the banner and in the title; one press tries the image again."""
    origin.put("good", blob(100 * KIB, 1))
    cache.configure(origin.config(retries=0)).mount()
    api = make_api(cache)
    api.get("/images/good")
    cache.wait_cached("good")
    browser.go(api.url + "/")
    browser.wait("document.title.endsWith(' · ok')", "a title that says that all is well")
    assert browser.eval("document.getElementById('banner').hidden")
    os.rename(cache.path("cached", "good"), cache.path("invalid", "good"))
    fault = origin.fault(status=503)
    api.get("/images/other")
    browser.wait("document.getElementById('banner').innerText.includes('the backend answered 503')", "the backend in the banner")
    browser.wait("document.getElementById('banner').innerText.includes('1 image failed')", "the image in the banner")
    assert "503" in browser.eval("document.title") or "failed" in browser.eval("document.title")
    top = "document.getElementById('%s').getBoundingClientRect().top"
    assert browser.eval(f"{top % 'banner'} < {top % 'cached'} && {top % 'invalid'} < {top % 'cached'} && {top % 'backend'} < {top % 'cached'}")
    browser.shot(shown("degraded"))
    origin.clear_faults()
    assert fault.taken > 0
    browser.tab_to("Retry good")
    browser.key("Enter")
    cache.wait_cached("good")
    browser.wait("document.activeElement.id === 'fetch-title'", "the focus to go on where the image is now")
    browser.wait("document.getElementById('banner').hidden && document.title.endsWith(' · ok')", "the banner to go")


@pytest.mark.deadline(240)
def test_many_images(folder, api, browser):
    """A page of them at a time, those used last first; found by a part of the name, in another order."""
    names = [f"image-{i:03}" for i in range(120)]
    for i, name in enumerate(names):
        folder.put(name, blob(KIB * (i + 1), i))
        api.get("/images/" + name)
    wait_until(lambda: len(folder.ls("cached")) == len(names), what="all of them to be cached")
    browser.go(api.url + "/")
    rows = "[...document.querySelectorAll('#cached tbody td.id')].map((e) => e.textContent)"
    browser.wait(rows + ".length === 50", "the first page")
    assert browser.eval(rows + "[0]") == names[-1]
    browser.tab_to("Next", most=200)
    browser.key("Enter")
    browser.wait(rows + f"[0] === '{names[-51]}'", "the second page")
    browser.eval("(e => { e.value = 'GE-04'; e.dispatchEvent(new Event('input')); })(document.getElementById('cached-filter'))")
    browser.wait(rows + ".join() === " + json.dumps(",".join(sorted((n for n in names if "ge-04" in n), reverse=True))), "what was looked for")
    browser.eval("(e => { e.value = 'id'; e.dispatchEvent(new Event('input')); })(document.getElementById('cached-sort'))")
    browser.wait(rows + "[0] === 'image-040'", "the other order")
    # what the backend has is offered
    browser.tab_to("Image id", most=300)
    browser.wait("document.querySelectorAll('#available option').length === 120", "the offer")


def test_each_column_has_a_head(folder, api, browser):
    """Also that of the buttons: axe-core finds nothing else, light and dark, narrow and wide."""
    folder.put("image", blob(10 * KIB, 1))
    folder.put("bad", blob(10 * KIB, 2))
    for name in ("image", "bad"):
        folder.read(name)
        folder.wait_cached(name)
    os.rename(folder.path("cached", "bad"), folder.path("invalid", "bad"))
    browser.go(api.url + "/")
    browser.wait("document.querySelectorAll('th').length >= 8", "both tables")
    assert browser.eval("[...document.querySelectorAll('th')].every((h) => h.innerText.trim() !== '')")


def test_what_did_not_change_is_not_sent_again(folder, api):
    """A page that asks with the tag of what it has gets a few bytes, until something happens."""
    for i in range(40):
        folder.put(f"image-{i:02}", blob(10 * KIB, i))
        folder.read(f"image-{i:02}")
    wait_until(lambda: folder.status()["images"]["cached"] == 40)
    tags = set()

    def settled():
        tags.add(api.get("/status").headers["ETag"])
        return api.get("/status").headers["ETag"] in tags
    wait_until(settled)
    first = api.get("/status")
    again = api.get("/status", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"]) and len(first.body) > 4000
    assert sum(len(k) + len(v) + 4 for k, v in again.headers.items()) < 1000
    assert api.put("/v2/cache/image-07/pin").status == 204
    after = api.get("/status", If_None_Match=first.headers["ETag"])
    assert after.status == 200 and after.headers["ETag"] != first.headers["ETag"] and after.json["cache"]["images"]["pinned"] == 1
    folder.read("image-08", 1)
    wait_until(lambda: api.get("/status", If_None_Match=after.headers["ETag"]).status == 200)


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
    text = open(os.path.join(TOP, "conf", "glance-cache-api.nginx")).read()
    text = text.replace("127.0.0.1:9292", f"127.0.0.1:{api.port}").replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    text = re.sub(r"^ *ssl_.*\n", "", text, flags=re.M).replace("/srv/glance", folder.mnt)
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
