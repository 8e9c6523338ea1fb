# SPDX-License-Identifier: Apache-2.0
"""Signals, and who has how many connections for how long."""
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from harness import KIB, MIB, blob, descendants, same
from test_auth import secret
from waiting import wait_until


def metric(api, name, **headers):
    return int(re.search(rf"^glance_cache_{name} (\d+)", api.get("/metrics", **headers).body.decode(), re.M)[1])


# ---- signals

def hang_up(api):
    before = api.logged().count("read anew")
    api.process.send_signal(signal.SIGHUP)
    wait_until(lambda: api.logged().count("read anew") > before or api.process.poll() is not None, what="SIGHUP to be heard")
    assert api.process.poll() is None, "SIGHUP ended it"


def test_hup_reads_tokens(folder, make_api):
    folder.mount()
    admin, reader = secret(folder, "admin", "admin-one"), secret(folder, "reader", "reader-one")
    api = make_api(folder, auth="token", admin_token_file=admin, reader_token_file=reader)
    assert api.get("/v2/cache", X_Auth_Token="admin-one").status == 200
    open(admin, "w").write("admin-two\n")
    open(reader, "w").write("reader-two\n")
    hang_up(api)
    for token, status in (("admin-one", 401), ("reader-one", 401), ("admin-two", 200), ("reader-two", 403)):
        assert api.get("/v2/cache", X_Auth_Token=token).status == status, token
    os.unlink(reader)  # one that cannot be read: all stays as it was, and that is said
    open(admin, "w").write("admin-three\n")
    hang_up(api)
    assert api.get("/v2/cache", X_Auth_Token="admin-two").status == 200 and reader in api.logged()
    assert "stays as it was" in api.logged()


def test_hup_without_anything_to_read(folder, api):
    folder.put("image", b"x")
    hang_up(api)
    assert api.get("/images/image").body == b"x"


def certificate(folder, name):
    cert, key = (os.path.join(folder.root, f"{name}.{end}") for end in ("crt", "key"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


class Https:
    """One connection, kept."""

    def __init__(self, port):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 30))
        self.certificate = self.socket.getpeercert(binary_form=True)

    def get(self, path, size):
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        data = b""
        while len(data.partition(b"\r\n\r\n")[2]) < size:
            part = self.socket.recv(65536)
            assert part, data[:500]
            data += part
        return data.partition(b"\r\n\r\n")[2]


def test_hup_reads_the_certificate(folder, make_api):
    """New connections get the new one; one that is there, with a download in its middle, goes on."""
    content = folder.put("image", blob(3 * MIB, 1))
    (cert, key), (new_cert, new_key) = certificate(folder, "first"), certificate(folder, "second")
    os.chmod(key, 0o644)
    folder.mount()
    api = make_api(folder, tls_cert_file=cert, tls_key_file=key)
    wait_until(lambda: "may read the key" in api.logged(), what="the warning about the key")
    old = Https(api.port)
    same(old.get("/images/image", len(content)), content)
    os.replace(new_cert, cert)
    os.replace(new_key, key)
    hang_up(api)
    new = Https(api.port)
    assert new.certificate != old.certificate
    same(new.get("/images/image", len(content)), content)
    same(old.get("/images/image", len(content)), content)
    open(key, "w").write("nonsense")
    hang_up(api)
    assert Https(api.port).certificate == new.certificate
    assert "stays as it was" in api.logged()
    for one in (old, new):
        one.socket.close()


def waits_in_the_file_system(pid):
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            if "fuse" in open(f"/proc/{pid}/task/{task}/wchan").read() or " fuse_" in open(f"/proc/{pid}/task/{task}/stack").read():
                return True
        except OSError:
            pass
    return False


def under_way(mount):
    """How many requests of the kernel the file system has not answered."""
    number = next(line.split()[2].split(":")[1] for line in open("/proc/self/mountinfo") if line.split()[4] == mount)
    path = f"/sys/fs/fuse/connections/{number}/waiting"
    if not os.path.exists(path):
        subprocess.run(["mount", "-t", "fusectl", "fusectl", "/sys/fs/fuse/connections"], check=False, capture_output=True)
    return int(open(path).read())


def stopped_between_requests(mount, pids):
    """Who waits for a request that was taken already cannot be killed until that is answered: this is Linux's rule, and not what is tested."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T" for pid in pids), what="them to stop")
    if under_way(mount) == 0:
        return True
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    return False


@pytest.mark.deadline(120)
def test_term_while_the_cache_hangs(folder, make_api):
    """The process looks at the cache every ten seconds; that a look waits must not keep it from hearing a signal."""
    folder.mount()
    api = make_api(folder, request_timeout=1)
    wait_until(lambda: api.get("/healthcheck").status == 200, what="the cache to be there")
    stopped = [folder.process.pid, *descendants(folder.process.pid)]
    wait_until(lambda: stopped_between_requests(folder.mnt, stopped), what="it to have nothing to do")
    try:
        wait_until(lambda: waits_in_the_file_system(api.process.pid), seconds=40, what="a look at the cache")
        with api.socket() as s:  # and slow clients are still sent away
            s.sendall(b"GET / HTTP/1.1\r\n")
            wait_until(lambda: s.recv(10) == b"", what="a client that says nothing more to be sent away")
        api.process.send_signal(signal.SIGTERM)
        assert api.process.wait(40) == 0
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


# ---- how many

def test_one_address_has_its_share(folder, make_api):
    """A client that opens all it can leaves room for others, and that it was refused is logged and counted."""
    folder.put("image", b"x")
    folder.mount()
    api = make_api(folder, max_connections=8)
    many = [api.socket() for _ in range(8)]
    other = socket.create_connection(("127.0.0.1", api.port), 30, source_address=("127.0.0.2", 0))
    other.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answer = b""
    while part := other.recv(65536):
        answer += part
    assert int(re.search(rb"^glance_cache_api_connections_refused_total (\d+)", answer, re.M)[1]) == 2
    assert api.logged().count("127.0.0.1, which has 6 already") == 1
    for s in many:
        s.close()


def test_a_proxy_has_no_share(folder, make_api):
    folder.mount()
    api = make_api(folder, max_connections=8, max_connections_per_address=1, trusted_proxies="127.0.0.0/30 ::1")
    many = [api.socket() for _ in range(7)]
    wait_until(lambda: api.connections() == 8, what="all to be connected")
    for s in many:
        s.close()


def test_a_full_house_is_told(folder, make_api):
    folder.mount()
    api = make_api(folder, max_connections=8, max_connections_per_address=0)
    many = [api.socket() for _ in range(20)]
    wait_until(lambda: "max_connections = 8 already" in api.logged(), what="the warning")
    for s in many:
        s.close()
    wait_until(lambda: api.connections_by_kernel() == 0, what="the others to go")
    assert metric(api, "api_connections_refused_total") >= 12 and api.logged().count("max_connections = 8") == 1


@pytest.mark.parametrize("words", ["nonsense", "10.0.0.0/33", "10.0.0/8", "::/129", "127.0.0.1/"])
def test_a_wrong_proxy(folder, words):
    from server import Api
    done = Api(folder, trusted_proxies=words).run()
    assert done.returncode == 1 and words in done.stderr


def read_slowly(s, stop, pace):
    """Something, whenever there is some: never silent, never fast."""
    try:
        while not stop.wait(pace) and s.recv(64 * KIB):
            pass
    except OSError:
        pass
    stop.set()


def test_a_slow_reader(folder, make_api):
    """One that takes its answer at less than the least rate is sent away; one that waits for the backend is not concerned."""
    folder.put("image", blob(64 * MIB, 2))
    folder.mount()
    api = make_api(folder, send_timeout=2, send_rate="100M")
    api.get("/images/image")
    s, stop = api.socket(), threading.Event()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
    s.sendall(b"GET /images/image HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    reader = threading.Thread(target=read_slowly, args=(s, stop, 0.01))
    reader.start()
    wait_until(stop.is_set, seconds=40, what="the slow one to be sent away")
    reader.join()
    s.close()
    assert metric(api, "api_connections_slow_total") == 1 and "send_rate" in api.logged()


def test_the_backend_may_be_slow(cache, origin, make_api):
    content = origin.put("image", blob(4 * MIB, 4))
    hold = origin.fault("image", hold_from=2 * MIB)
    cache.configure(origin.config(stall_timeout=600)).mount()
    api = make_api(cache, send_timeout=1, send_rate="1G")
    got = []
    reader = threading.Thread(target=lambda: got.append(api.get("/images/image").body))
    reader.start()
    wait_until(lambda: hold.waiting, what="the origin to hold back")
    looks = []
    wait_until(lambda: looks.append(metric(api, "api_connections_slow_total")) or len(looks) > 100, what="time to pass")
    hold.release()
    reader.join()
    same(got[0], content)


# ---- what a proxy says

@pytest.mark.parametrize("trusted,said,href", [
    ("127.0.0.1", {"X-Forwarded-Proto": "https"}, "https://{host}/v2/"),
    ("127.0.0.0/8", {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "images.example.org"}, "https://images.example.org/v2/"),
    ("127.0.0.1", {"X-Forwarded-Host": "evil.example, images.example.org:8443"}, "http://images.example.org:8443/v2/"),
    ("127.0.0.1", {"X-Forwarded-Proto": "javascript", "X-Forwarded-Host": "a/b?c"}, "http://{host}/v2/"),
    ("192.0.2.0/24", {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "images.example.org"}, "http://{host}/v2/"),
    (None, {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "images.example.org"}, "http://{host}/v2/")])
def test_links_through_a_proxy(folder, make_api, trusted, said, href):
    folder.put("image", b"x")
    folder.mount()
    api = make_api(folder, trusted_proxies=trusted)
    href = href.format(host=f"127.0.0.1:{api.port}")
    for path in ("/versions", "/", "/v2"):
        assert {v["links"][0]["href"] for v in api.ask("GET", path, said).json["versions"]} == {href}
    api.get("/images/image")
    folder.wait_cached("image")
    assert api.ask("GET", "/v2/cache/nodes/image", said).json == [href[:-4]]


def test_no_version_that_is_not_served(api):
    """Clients take a version for what came with it: 2.17 for /locations, 2.12 for stores and imports."""
    listed = {v["id"] for v in api.get("/versions").json["versions"]}
    assert {"v2.0", "v2.7", "v2.9", "v2.14", "v2.16", "v2.18"} <= listed
    assert not listed & {"v2.8", "v2.10", "v2.11", "v2.12", "v2.13", "v2.17"}
    assert json.loads(api.get("/").body)["versions"] == api.get("/versions").json["versions"]
