# SPDX-License-Identifier: Apache-2.0
"""Clients without tokens of OpenStack: a token as a password, and signed links as Ironic makes them for Swift."""
import base64
import datetime
import hashlib
import hmac
import os
import signal
import time

import pytest

from harness import KIB, blob, same
from test_auth import secret
from waiting import wait_until

FAR = 4_000_000_000


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_a_token_as_the_password(folder, make_api):
    """Whoever the user: for Ironic's http images, and Glance's http store."""
    content = folder.put("image", blob(100 * KIB, 1))
    folder.mount()
    api = make_api(folder, auth="token", admin_token_file=secret(folder, "admin", "admin:secret"), reader_token_file=secret(folder, "reader", "reader"))
    for user in ("", "ironic", "admin"):
        same(api.ask("GET", "/images/image", basic(user, "reader")).body, content)
        assert api.ask("GET", "/v2/cache", basic(user, "reader")).status == 403
        assert api.ask("GET", "/v2/cache", basic(user, "admin:secret")).status == 200
    for headers in (basic("reader", ""), basic("reader", "wrong"), {"Authorization": "Basic"}, {"Authorization": "Basic !!!"},
                    {"Authorization": "Basic " + base64.b64encode(b"reader").decode()}, {"Authorization": "basic reader"},
                    {"Authorization": "Digest username=reader"}, {**basic("x", "reader"), "X-Auth-Token": "wrong"}):
        assert api.ask("GET", "/images/image", headers).status == 401, headers
    assert "admin:secret" not in api.logged()


# ---- signed links

@pytest.fixture
def links(folder, make_api):
    folder.content = folder.put("image", blob(100 * KIB, 1))
    folder.put("other", b"another")
    folder.mount()
    folder.key_file = secret(folder, "key", "a key")
    return make_api(folder, auth="token", admin_token_file=secret(folder, "admin", "x"), temp_url_key_file=folder.key_file)


def link(path, method="GET", expires=FAR, key="a key", how=hashlib.sha256, prefix=None):
    """As swiftclient.utils.generate_temp_url() makes it."""
    signed = path if prefix is None else "prefix:" + path.rpartition("/")[0] + "/" + prefix
    text = "\n".join([method, str(expires), signed])
    end = "" if prefix is None else f"&temp_url_prefix={prefix}"
    return f"{path}?temp_url_sig={hmac.new(key.encode(), text.encode(), how).hexdigest()}&temp_url_expires={expires}{end}"


PATH = "/v1/AUTH_ironic/images/image"


@pytest.mark.parametrize("how", [hashlib.sha1, hashlib.sha256, hashlib.sha512])
def test_a_signed_link(folder, links, how):
    """For GET and HEAD, ranges too, and nothing else."""
    good = link(PATH, how=how)
    same(links.get(good).body, folder.content)
    assert links.get(good, Range="bytes=5-9").body == folder.content[5:10]
    head = links.ask("HEAD", good)
    assert head.status == 200 and int(head.headers["Content-Length"]) == len(folder.content)
    assert links.ask("HEAD", link(PATH, "HEAD", how=how)).status == 200 and links.get(link(PATH, "HEAD", how=how)).status == 401
    for method in ("PUT", "POST", "DELETE"):
        assert links.ask(method, good).status == 405
    assert links.get("/images/image").status == 401  # without it


def test_times_of_links(folder, links):
    iso = datetime.datetime.fromtimestamp(FAR, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    same(links.get(link(PATH).replace(f"temp_url_expires={FAR}", f"temp_url_expires={iso}")).body, folder.content)
    answer = links.get(link(PATH, expires=int(time.time()) - 1))
    assert answer.status == 401 and "expired" in answer.message
    assert links.get(link(PATH, expires=0)).status == 401


def test_prefixes(folder, links):
    same(links.get(link(PATH, prefix="im")).body, folder.content)
    same(links.get(link(PATH, prefix="")).body, folder.content)
    assert links.get(link(PATH, prefix="ot")).status == 401
    wide = link(PATH, prefix="im")
    assert links.get(wide.replace("/image?", "/other?")).status == 401
    assert links.get(wide.replace("prefix=im", "prefix=")).status == 401
    assert links.get(link(PATH).replace("image?", "image?temp_url_prefix=im&")).status == 401  # one that was not signed


@pytest.mark.parametrize("change", [
    lambda good: good.replace("/image?", "/other?"), lambda good: good.replace("AUTH_ironic", "AUTH_other"), lambda good: good.replace("/images/", "/others/"),
    lambda good: good.replace(str(FAR), str(FAR + 1)), lambda good: good.partition("?")[0], lambda good: good.partition("&")[0],
    lambda good: good.replace("sig=", "sig=0"), lambda good: good + "&temp_url_ip_range=127.0.0.1", lambda good: link(PATH, key="another key"),
    lambda good: link(PATH, how=hashlib.md5), lambda good: good.replace("temp_url_sig=", "temp_url_sig=" + "0" * 64 + "&x="),
    lambda good: good.replace(str(FAR), "soon"), lambda good: link(PATH, expires="-1")])
def test_what_is_not_signed(links, change):
    answer = links.get(change(link(PATH)))
    assert answer.status == 401 and b"another" not in answer.body
    assert links.get(link(PATH)).status == 200


def test_no_key_no_links(folder, make_api):
    folder.put("image", b"x")
    folder.mount()
    api = make_api(folder, auth="token", admin_token_file=secret(folder, "admin", "x"))
    assert api.get(link(PATH)).status == 404 and api.get(link(PATH, key="")).status == 404


def test_a_new_key(folder, links):
    with open(folder.key_file, "w") as f:
        f.write("another key\n")
    links.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "read anew" in links.logged(), what="SIGHUP to be heard")
    assert links.get(link(PATH)).status == 401 and links.get(link(PATH, key="another key")).status == 200
    os.unlink(folder.key_file)
    links.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "stays as it was" in links.logged(), what="SIGHUP to be heard")
    assert links.get(link(PATH, key="another key")).status == 200
    wait_until(lambda: '"user": "signed link"' in links.logged(), what="the audit")
