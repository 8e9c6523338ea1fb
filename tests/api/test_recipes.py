# SPDX-License-Identifier: Apache-2.0
"""The split of conf/openstack as it is shipped, by real HAProxy and nginx: reads of bytes to us, the rest to Glance, and Glance for all when we are down."""
import configparser
import glob
import hashlib
import os
import re
import shutil
import subprocess

import pytest

from harness import KIB, MIB, TOP, blob
from server import free_port
from test_relay import Upstream
from waiting import wait_until

CONF = os.path.join(TOP, "conf", "openstack")
MINE = blob(MIB, 1)


def shipped(name, ports):
    text = open(os.path.join(CONF, name)).read()
    for address, port in ports.items():
        assert address in text
        text = re.sub(re.escape(address) + r"\b", f"127.0.0.1:{port}", text)
    return text


def haproxy(folder, tmp_path, ports):
    conf = tmp_path / "haproxy.cfg"
    conf.write_text("global\n    maxconn 100\ndefaults\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n" + shipped("split.haproxy", ports))
    checked = subprocess.run(["haproxy", "-c", "-f", conf], capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0 and "WARNING" not in checked.stderr.upper(), checked.stdout + checked.stderr
    return folder.spawn("haproxy", "-db", "-f", conf, stderr=subprocess.DEVNULL)


def nginx(folder, tmp_path, ports):
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; daemon off; worker_processes 1; user root;\nevents {{ }}\n"
                    f"http {{ access_log off; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p; fastcgi_temp_path {tmp_path}/f;\n"
                    f"uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n{shipped('split.nginx', ports)}}}\n")
    return folder.spawn("nginx", "-c", conf, "-p", tmp_path, stderr=subprocess.DEVNULL)


PROXIES = {"haproxy": haproxy, "nginx": nginx}


@pytest.fixture(params=PROXIES)
def split(request, folder, make_api, tmp_path):
    """(api as clients see it, Glance, the server behind)"""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    glance = Upstream()
    for path in ("/v2/images/mine/file", "/v2/images/theirs/file"):
        glance.answers["GET", path] = lambda h: h.reply(200, b"Glance's bytes")
    folder.put("mine", MINE)
    folder.mount()
    api, front = make_api(folder), free_port()
    proxy = PROXIES[request.param](folder, tmp_path, {"127.0.0.1:9292": front, "127.0.0.1:9393": api.port, "glance.internal:9292": glance.port})

    class Front(type(api)):
        def __init__(self):
            self.port, self.options = front, {}

    def up():
        assert proxy.poll() is None, "the proxy ended"
        try:
            return Front().get("/v2/images/mine/file").body == MINE
        except ConnectionError:
            return False
    try:
        wait_until(up, what="the proxy")
        glance.seen.clear()
        yield Front(), glance, api
    finally:
        proxy.terminate()
        proxy.wait()
        glance.close()


def test_reads_are_ours_and_the_rest_is_glances(split):
    front, glance, _ = split
    assert front.get("/v2/images/mine/file").body == MINE
    part = front.get("/v2/images/mine/file", Range="bytes=5-9")
    assert part.status == 206 and part.body == MINE[5:10]
    assert not glance.seen
    for method, path in (("GET", "/v2/images"), ("GET", "/v2/images/mine"), ("GET", "/versions"), ("POST", "/v2/images"), ("PATCH", "/v2/images/mine"),
                         ("DELETE", "/v2/images/mine"), ("PUT", "/v2/images/mine/members/p"), ("GET", "/v2/images/mine/locations"), ("GET", "/v2/images?name=a%2Fb"),
                         ("GET", "/v2/images/mine/file/more"), ("POST", "/v2/images/mine/file")):
        assert front.ask(method, path, {"X-Auth-Token": "t" * 3 * KIB}, b"{}" if method in ("POST", "PUT", "PATCH") else None).body == b"Glance's", (method, path)
        assert glance.seen[-1][:2] == (method, path) and glance.seen[-1][2]["X-Auth-Token"] == "t" * 3 * KIB


def test_an_upload(split):
    front, glance, _ = split
    body = blob(32 * MIB, 2)
    assert front.ask("PUT", "/v2/images/new/file", body=body).status == 200
    assert glance.seen[-1][3:] == (len(body), hashlib.sha256(body).hexdigest())


def test_glance_when_we_are_down(split):
    front, glance, api = split
    api.close()
    for _ in range(3):
        answer = front.get("/v2/images/mine/file")
        assert answer.status == 200 and answer.body == b"Glance's bytes"
    api.start()
    wait_until(lambda: front.get("/v2/images/mine/file").body == MINE, what="us again")


def test_glance_when_the_cache_is_not_mounted(split, folder):
    front, glance, _ = split
    folder.unmount()
    wait_until(lambda: front.get("/v2/images/mine/file").body == b"Glance's bytes", what="Glance to be asked")
    folder.mount()
    wait_until(lambda: front.get("/v2/images/mine/file").body == MINE, what="us again")


def test_glance_is_down(split):
    """What is cached is still read."""
    front, glance, _ = split
    glance.server.shutdown()
    glance.server.socket.close()
    assert front.get("/v2/images/mine/file").body == MINE
    assert front.get("/v2/images").status in (502, 503)


# ---- overrides

def test_overrides():
    """What each says is the same, and is read as what it is."""
    yaml = pytest.importorskip("yaml")
    found = {}
    for name in ("nova-compute.conf", "cinder-volume.conf"):
        parser = configparser.ConfigParser()
        parser.read(os.path.join(CONF, name))
        found[name] = {s: dict(parser[s]) for s in ("glance", "DEFAULT") if s in parser and parser[s]}
    assert found["nova-compute.conf"]["glance"] == {"endpoint_override": "http://127.0.0.1:9292", "num_retries": "3"}
    ansible = yaml.safe_load(open(os.path.join(CONF, "openstack-ansible.yml")))
    assert {k: str(v) for k, v in ansible["nova_nova_conf_overrides"]["glance"].items()} == found["nova-compute.conf"]["glance"]
    assert {k: str(v) for k, v in ansible["cinder_cinder_conf_overrides"]["DEFAULT"].items()} == found["cinder-volume.conf"]["DEFAULT"]
    volumes = yaml.safe_load(open(os.path.join(CONF, "kolla-globals.yml")))
    assert all(v == ["/srv/glance:/srv/glance:rslave"] and k.endswith("_extra_volumes") for k, v in volumes.items())


def test_real_nova_and_cinder_read_them():
    for module, name, shown in (("nova.conf", "nova-compute.conf", "nova.conf.CONF.glance.endpoint_override"),
                                ("cinder.common.config", "cinder-volume.conf", "cinder.common.config.CONF.glance_api_servers[0]")):
        there = subprocess.run(["/usr/bin/python3", "-c", f"import {module}"], capture_output=True, timeout=120, check=False)
        if there.returncode != 0:
            pytest.skip(f"there is no {module.split('.', maxsplit=1)[0]} here")
        code = f"import {module}; {shown.split('.CONF', maxsplit=1)[0]}.CONF(['--config-file', {os.path.join(CONF, name)!r}], default_config_files=[]); print({shown})"
        done = subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True, timeout=120, check=False)
        assert done.stdout.strip() == "http://127.0.0.1:9292", done.stderr


def test_all_are_shipped_and_described():
    listed = open(os.path.join(TOP, "conf", "Makefile.am")).read()
    guide = open(os.path.join(TOP, "doc", "OPENSTACK.md")).read()
    for path in glob.glob(os.path.join(CONF, "*")):
        assert "openstack/" + os.path.basename(path) in listed and os.path.basename(path) in guide, path
