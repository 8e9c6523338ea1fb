# SPDX-License-Identifier: Apache-2.0
"""A backend that is logged in to first, by a small Keystone with one Glance image: what its outages do to readers."""
import datetime
import errno
import http.server
import json
import os
import threading

import pytest

from harness import MIB, blob, error_of, same
from waiting import wait_until

CONTENT = blob(4 * MIB, 161)


class Cloud:
    """Keystone and Glance on one port. `up`: Keystone answers; `lifetime`: seconds of its tokens; `logins`: that were asked for."""

    def __init__(self):
        self.up, self.lifetime, self.logins, self.valid = True, 3600, 0, set()
        self.while_down = {}  # headers
        cloud = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def say(self, status, body=b"", **headers):
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                cloud.logins += 1
                if cloud.up:
                    self.say(201, cloud.token(), X_Subject_Token=cloud.name())
                else:
                    self.say(503, **cloud.while_down)

            def do_GET(self):
                if self.headers.get("X-Auth-Token") not in cloud.valid:
                    self.say(401)
                elif self.path == "/v2/images/image/file":
                    first, last = map(int, self.headers["Range"][len("bytes="):].split("-"))
                    last = min(last, len(CONTENT) - 1)
                    self.say(206, CONTENT[first:last + 1], Content_Range=f"bytes {first}-{last}/{len(CONTENT)}")
                elif self.path == "/v2/images/image":
                    self.say(200, json.dumps({"id": "image", "status": "active", "size": len(CONTENT)}).encode())
                else:
                    self.say(404)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def name(self):
        self.valid.add(f"token-{self.logins}")
        return f"token-{self.logins}"

    def token(self):
        now, form = datetime.datetime.now(datetime.timezone.utc), "%Y-%m-%dT%H:%M:%S.000000Z"
        return json.dumps({"token": {
            "issued_at": now.strftime(form), "expires_at": (now + datetime.timedelta(seconds=self.lifetime)).strftime(form),
            "catalog": [{"type": "image", "endpoints": [{"interface": "public", "region": "R", "url": self.url}]}]}}).encode()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def cloud(cache):
    cloud = Cloud()
    password = os.path.join(cache.root, "password")
    with open(password, "w") as f:
        f.write("secret\n")
    cloud.config = {"type": "glance", "auth_url": cloud.url + "/v3", "username": "u", "password_file": password, "project_name": "p"}
    yield cloud
    cloud.close()


def begin(cache, cloud, **options):
    """Mounted, with a first byte read; then Keystone is away and no token is good any more. Returns a descriptor."""
    cache.configure({**cloud.config, **options}, fetch_policy="demand", read_ahead_max="128K").mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(os.pread(fd, 4096, 0), CONTENT[:4096])
    cloud.up = False
    return fd


@pytest.mark.parametrize("headers", [{}, {"Retry_After": "3600"}], ids=["", "for an hour, it says"])
def test_keystone_is_away_for_a_while(cache, cloud, headers):
    """A read waits through its retries for the login, as for the bytes."""
    cloud.lifetime, cloud.while_down = 1, headers
    fd = begin(cache, cloud, retries=4, retry_delay=10)
    wait_until(lambda: error_of(os.stat, cache.image("nobody")) == errno.EHOSTUNREACH, what="the token to end, and no other to be had")
    logins, got = cloud.logins, []
    reader = threading.Thread(target=lambda: got.append(error_of(os.pread, fd, 4096, 2 * MIB) or os.pread(fd, 4096, 2 * MIB)))
    reader.start()
    wait_until(lambda: cloud.logins > logins or got, what="another login to be tried for the read")
    assert not got
    cloud.up, cloud.lifetime = True, 3600
    reader.join(60)
    assert got[0] == CONTENT[2 * MIB:2 * MIB + 4096]
    os.close(fd)


def test_keystone_stays_away(cache, cloud):
    """An error when the retries are used up, which says why; the next read asks again."""
    cloud.lifetime = 1
    fd = begin(cache, cloud, retries=0)
    wait_until(lambda: error_of(os.stat, cache.image("nobody")) == errno.EHOSTUNREACH, what="the token to end, and no other to be had")
    assert error_of(os.pread, fd, 4096, 2 * MIB) == errno.EIO
    assert "credential" in wait_until(lambda: cache.error("image"), what=".error")
    cloud.up, cloud.lifetime = True, 3600
    wait_until(lambda: error_of(os.pread, fd, 4096, 2 * MIB) == 0, what="the bytes")
    same(os.pread(fd, 4096, 3 * MIB), CONTENT[3 * MIB:3 * MIB + 4096])
    os.close(fd)


@pytest.mark.parametrize("length, works", [(MIB, True), (MIB + 1, False)])
def test_the_length_of_an_answer(cache, cloud, length, works):
    """Of a login's answer so much is held in memory, and no more."""
    token = cloud.token
    cloud.token = lambda: token().ljust(length)
    cache.configure({**cloud.config, "retries": 0}, fetch_policy="demand").mount()
    code = error_of(os.stat, cache.image("image"))
    assert (code == 0) == works, code
    assert works or code == errno.EHOSTUNREACH
