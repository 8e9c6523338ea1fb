# SPDX-License-Identifier: Apache-2.0
"""Clients that are slow, vanish, are many, or send nonsense."""
import os
import random
import socket
import threading
import time

import pytest

from harness import MIB, blob, same
from waiting import wait_until

FUZZ = int(os.environ.get("GCFS_FUZZ", "10000"))


def closed(s):
    """Has the server closed this connection?"""
    s.settimeout(0.01)
    try:
        return s.recv(65536) == b""
    except socket.timeout:
        return False
    except ConnectionError:
        return True


def test_slow_headers(folder, make_api):
    """A byte now and then does not keep a connection for ever."""
    folder.mount()
    api = make_api(folder, request_timeout=2)
    with api.socket() as s:
        s.sendall(b"GET /v2/cache HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        begun = time.monotonic()

        def drip():
            try:
                s.sendall(b"X: y\r\n")
            except OSError:
                return True
            return closed(s)
        wait_until(drip, seconds=15, what="the connection to be closed")
        assert time.monotonic() - begun > 1.5
    wait_until(lambda: api.connections() == 1, what="the connection to be forgotten")


def test_slow_body(folder, make_api):
    folder.mount()
    api = make_api(folder, request_timeout=2)
    with api.socket() as s:
        s.sendall(b"POST /v2/cache/clean HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000\r\n\r\n")

        def drip():
            try:
                s.sendall(b"x")
            except OSError:
                return True
            return closed(s)
        wait_until(drip, seconds=15, what="the connection to be closed")


def test_stalled_reader(folder, make_api):
    """Who takes nothing of a response is disconnected, and holds nobody up meanwhile."""
    content = folder.put("image", blob(64 * MIB, 1))
    folder.mount()
    api = make_api(folder, send_timeout=3)
    api.get("/images/image")
    stalled = []
    for _ in range(20):
        s = api.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b"GET /images/image HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        stalled.append(s)
    wait_until(lambda: api.connections() >= 20, what="all to be connected")
    same(api.get("/images/image").body, content)
    wait_until(lambda: api.connections() == 1, seconds=30, what="the stalled ones to be disconnected")
    for s in stalled:
        s.close()
    assert "glance_cache_api_aborted_total 20" in api.get("/metrics").body.decode()


def test_aborted_downloads(cache, origin, make_api):
    content = origin.put("image", blob(16 * MIB, 2))
    cache.configure(origin).mount()
    api = make_api(cache)
    for i in range(30):
        with api.socket() as s:
            s.sendall(b"GET /images/image HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            s.recv(1 + i * 10000)
    same(api.get("/images/image").body, content)
    wait_until(lambda: api.connections() == 1, what="the others to be forgotten")
    wait_until(lambda: cache.status()["counters"]["open_handles"] == 0, what="the files to be closed")
    assert origin.sent("image") < 3 * len(content)


def test_half_closed(folder, api):
    """A client that has said all it wants may close its side and still gets its answer."""
    content = folder.put("image", blob(8 * MIB, 3))
    answer = api.raw(b"GET /images/image HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head:
        pytest.skip("the library ends a connection whose client has closed its side")
    same(body, content)


def test_waits_for_the_backend_longer_than_the_timeouts(cache, origin, make_api):
    content = origin.put("image", blob(4 * MIB, 4))
    hold = origin.fault("image", hold_from=2 * MIB)
    cache.configure(origin.config(stall_timeout=600)).mount()
    api = make_api(cache, send_timeout=1, request_timeout=1)
    got = []
    reader = threading.Thread(target=lambda: got.append(api.get("/images/image").body))
    reader.start()
    wait_until(lambda: hold.waiting, what="the origin to hold back")
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 3, what="the timeouts to pass")
    hold.release()
    reader.join()
    assert got
    same(got[0], content)


@pytest.mark.deadline(240)
def test_a_thousand_connections(folder, make_api):
    content = folder.put("image", blob(MIB, 5))
    folder.mount()
    api = make_api(folder)
    api.get("/images/image")
    idle = [api.socket() for _ in range(1000)]
    try:
        wait_until(lambda: api.connections() == 1001, what="all to be connected")
        if "asan" not in os.environ.get("GCFS_API_BINARY", "").lower():
            assert api.memory() <= 64 * 1024, api.memory()
        same(api.get("/images/image").body, content)
        for s in idle:
            s.sendall(b"GET /images/image HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=0-9\r\n\r\n")
        for s in idle:
            answer = b""
            while not answer.endswith(content[:10]):
                answer += s.recv(4096)
    finally:
        for s in idle:
            s.close()
    wait_until(lambda: api.connections() == 1, what="all to be forgotten")


def test_more_than_there_may_be(folder, make_api):
    folder.mount()
    api = make_api(folder, max_connections=10)
    many = [api.socket() for _ in range(30)]
    for s in many:
        s.close()

    def room():
        try:
            return api.get("/healthcheck").status == 200
        except ConnectionError:
            return False
    wait_until(room, what="room")


# ---- nonsense

WORDS = [b"GET", b"HEAD", b"PUT", b"POST", b"DELETE", b"BREW", b" ", b"/", b"v1", b"v2", b"cache", b"images", b"cached_images",
         b"queued-images", b"image", b"file", b"nodes", b"clean", b"prune", b"pin", b"..", b"%2e%2e", b"%2f", b"%00", b"%", b"?", b"&",
         b"limit=", b"marker=", b"name=", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"\r\n", b"\n", b"\0", b"\xff\xfe", b"Host:",
         b" 127.0.0.1", b"Range: bytes=", b"0-", b"-5", b"99999999999999999999", b",", b"If-None-Match: ", b'"', b"W/", b"*", b"If-Range: ",
         b"Content-Length: ", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"X-Auth-Token: ", b"x-image-cache-clear-target: ", b"Origin: ",
         b"Sec-Fetch-Site: ", b"A" * 300, b"\x00" * 10, b"5\r\nhello\r\n", b"0\r\n\r\n", b"Connection: close", b"status",
         b"metrics", b"page"]


def nonsense(random_):
    """A request that is nearly right, or not at all."""
    if random_.random() < 0.3:
        return b"".join(random_.choice(WORDS) for _ in range(random_.randrange(1, 60)))
    method = random_.choice(WORDS[:6])
    path = b"".join(random_.choice(WORDS[7:28] + [b"/"] * 12) for _ in range(random_.randrange(0, 9)))
    lines = [method + b" /" + path + b" " + random_.choice([b"HTTP/1.1"] * 8 + WORDS[30:33]), b"Host: 127.0.0.1"]
    for _ in range(random_.randrange(0, 5)):
        lines.append(b"".join(random_.choice(WORDS[37:]) for _ in range(random_.randrange(1, 5))))
    request = bytearray(b"\r\n".join(lines) + b"\r\n\r\n" + random_.choice([b"", b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n"]))
    for _ in range(random_.choice([0, 0, 1, 5])):
        request[random_.randrange(len(request))] = random_.randrange(256)
    return bytes(request)


@pytest.mark.deadline(600)
def test_nonsense(folder, api):
    """Ten thousand requests, most of them wrong: none crashes the server, none leaves the view."""
    content = folder.put("image", blob(100000, 6))
    with open(os.path.join(folder.root, "outside"), "w") as f:
        f.write("not to be had")
    random_ = random.Random(int(os.environ.get("GCFS_SEED", "5")))
    statuses = {}
    for i in range(FUZZ):
        try:
            with api.socket(timeout=10) as s:
                s.sendall(nonsense(random_))
                s.shutdown(socket.SHUT_WR)
                answer = b""
                while part := s.recv(65536):
                    answer += part
                    if len(answer) > 4 * MIB:
                        break
        except ConnectionError:
            continue
        assert b"not to be had" not in answer
        if answer:
            assert answer.startswith(b"HTTP/1.") or answer.startswith(b"<"), answer[:100]
            statuses[answer[9:12]] = statuses.get(answer[9:12], 0) + 1
        if i % 500 == 0:
            assert api.process.poll() is None, api.logged()[-3000:]
    assert api.process.poll() is None, api.logged()[-3000:]
    print(statuses)
    same(api.get("/images/image").body, content)
    assert b"500" not in statuses
