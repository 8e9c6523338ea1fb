# SPDX-License-Identifier: Apache-2.0
"""nginx as in conf/glance-cache-api.nginx, with Keystone: what is asked about is what is sent."""
import os
import re
import shutil
import subprocess

import pytest

from harness import TOP
from openstack import OpenStack
from server import free_port
from waiting import wait_until

NAMES = ["a", "a?b.img", "a%41.img", "aA.img", "My image.img", "a#b", "a+b", "a&b=c", "%", "a;b"]


@pytest.fixture
def openstack():
    server = OpenStack()
    yield server
    server.close()


@pytest.fixture
def site(folder, make_api, openstack, tmp_path):
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    for name in NAMES:
        folder.put(name, b"of " + name.encode())
    folder.mount("-o", "allow_other")
    for name in NAMES:
        folder.read(name)
        folder.wait_cached(name)
    api = make_api(folder, auth="keystone", auth_url=openstack.url + "/v3", image_url=openstack.url, auth_ttl=0)
    port = free_port()
    text = open(os.path.join(TOP, "conf", "glance-cache-api.nginx")).read()
    text = text.replace("127.0.0.1:9292", f"127.0.0.1:{api.port}").replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    text = re.sub(r"^ *ssl_.*\n", "", text, flags=re.M).replace("/srv/glance", folder.mnt)
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; daemon off; worker_processes 1; user root;\n"
                    f"events {{ }}\nhttp {{ access_log off; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;\n"
                    f"fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n{text}}}\n")
    nginx = folder.spawn("nginx", "-c", conf, "-p", tmp_path, stderr=subprocess.DEVNULL)
    own, api.port = api.port, port

    def up():
        assert nginx.poll() is None, "nginx ended: " + (tmp_path / "error.log").read_text()
        try:
            return api.get("/healthcheck").status == 200
        except ConnectionError:
            return False
    try:
        wait_until(up, what="nginx")
        yield api
    finally:
        api.port = own
        nginx.terminate()
        nginx.wait()


def encoded(name):
    return "".join(c if c.isalnum() or c in "-._~" else "%%%02X" % ord(c) for c in name)


def test_ids_are_decoded_once(site, openstack):
    """Whoever may have one image gets that one, whatever its name decodes to when it is decoded again, and no other."""
    for i, mine in enumerate(NAMES):
        token = f"token-{i}"  # a no is remembered for some seconds
        openstack.tokens[token] = ("member", 3600)
        openstack.images = {mine: ("active", {token})}
        for name in NAMES:
            for path in (f"/images/{encoded(name)}", f"/v2/images/{encoded(name)}/file", f"/v1/images/{encoded(name)}"):
                answer = site.get(path, X_Auth_Token=token)
                if name == mine:
                    assert (answer.status, answer.body) == (200, b"of " + name.encode()), path
                else:
                    assert answer.status in (403, 404) and b"of " not in answer.body, (mine, path, answer.body)
