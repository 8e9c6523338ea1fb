# SPDX-License-Identifier: Apache-2.0
"""Servers that misbehave: what can be had is had byte for byte; the rest is an error that says why; the mount lives."""
import errno
import os
import ssl
import subprocess

import pytest

from harness import KIB, MIB, PROBE, UNREACHABLE, blob, error_of, name_of, same, sha
from origin import Origin
from tunnel import Tunnel
from waiting import wait_until

SIZE = 3 * MIB + 333
CONTENT = blob(SIZE, 21)

# Faults that must not be felt: the image is read whole and right.
SURVIVED = {
    "no Range support": dict(no_range=True),
    "no Range support, no length": dict(no_range=True, length="none", method="GET"),  # HEAD tells it
    "no Range support, chunked": dict(no_range=True, length="chunked", method="GET"),
    "no HEAD": dict(method="HEAD", status=405, headers={"Allow": "GET"}),
    "chunked ranges": dict(length="chunked"),
    "ranges without a length": dict(length="none"),
    "no etag": dict(etag="", ignore_conditions=True),
    "no etag, no date": dict(etag="", modified="", ignore_conditions=True),
    "a weak etag": dict(etag='W/"weak"', ignore_conditions=True),
    "a very long etag": dict(etag='"' + "x" * 4000 + '"', ignore_conditions=True),
    "500 twice": dict(status=500, times=2),
    "502 once": dict(status=502, times=1),
    "503 with Retry-After, twice": dict(status=503, headers={"Retry-After": "1"}, times=2),
    "503 with a date in Retry-After": dict(status=503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"},
                                           times=2),
    "429 once": dict(status=429, headers={"Retry-After": "1"}, times=1),
    "408 once": dict(status=408, times=1),
    "closed before an answer, twice": dict(drop_before_head=True, times=2),
    "dropped after the head": dict(drop_after=0, times=2),
    "dropped after 1 byte": dict(drop_after=1, times=2),
    "dropped after 100,000 bytes, twice": dict(drop_after=100000, times=2),
    "every answer dropped after 400,000 bytes": dict(drop_after=400000),
    "chunked and dropped": dict(drop_after=200000, length="chunked", times=2),
    "stalled": dict(stall_after=150000, times=2),
    "stalled before the head": dict(hold_head=True, times=1),
    "stalled at once": dict(stall_after=0, times=1),
    "drips": dict(drip=(700 * KIB, 0.05)),
    "not HTTP, once": dict(raw=b"SSH-2.0-OpenSSH_9.2\r\n", times=1),
    "half a head, once": dict(raw=b"HTTP/1.1 206 Partial Content\r\nContent-Le", times=1),
}


def after_probe(request):
    return request.range is None or request.range[0] > 0


def configure(cache, origin, **options):
    # stalls are noticed after 1 s; a look-up is tried three times
    return cache.configure(origin.config(retries=5, retry_delay=10, stall_timeout=1, stall_rate=1),
                           fetch_whole_after="64K", **options)


@pytest.mark.parametrize("what", SURVIVED)
@pytest.mark.parametrize("streams", [1, 4])
def test_survived(cache, origin, what, streams):
    origin.put("image", CONTENT)
    origin.fault("image", **SURVIVED[what])
    configure(cache, origin, streams=streams).mount()
    assert os.stat(cache.image("image")).st_size == SIZE
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    same(cache.stored("image"), CONTENT)


@pytest.mark.parametrize("what", [w for w in SURVIVED if "times" in SURVIVED[w]])
def test_survived_in_the_middle(cache, origin, what):
    """The same behind the first answer: only what is missing is asked for again."""
    origin.put("image", CONTENT)
    fault = origin.fault("image", when=after_probe, **SURVIVED[what])
    configure(cache, origin).mount()
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    assert fault.taken > 0
    assert origin.sent("image") <= SIZE + 64 * KIB * 8


@pytest.mark.parametrize("how", ["a drop", "a stall"])
def test_no_range_support_and(cache, origin, how):
    """From the start again, for want of anything better."""
    origin.put("image", CONTENT)
    fault = dict(drop_after=MIB) if how == "a drop" else dict(stall_after=MIB)
    origin.fault("image", no_range=True, times=2, **fault)
    origin.fault("image", no_range=True)
    configure(cache, origin).mount()
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    same(cache.stored("image"), CONTENT)


def test_no_range_support_and_a_reader_at_the_end(cache, origin):
    origin.put("image", CONTENT)
    origin.fault("image", no_range=True)
    configure(cache, origin).mount()
    fd = os.open(cache.image("image"), os.O_RDONLY)
    same(os.pread(fd, 4096, SIZE - 4096), CONTENT[-4096:])
    same(os.pread(fd, 4096, 0), CONTENT[:4096])
    os.close(fd)
    cache.wait_cached("image")
    assert origin.sent("image") <= 2 * SIZE + 512 * KIB  # what was on its way when one of them was given up


@pytest.mark.parametrize("what", ["too long", "too short", "absurd"])
def test_a_wrong_length(cache, origin, what):
    """Every answer to a range claims another length than it has: never a wrong byte, and no end before the end."""
    origin.put("image", CONTENT)
    length = {"too long": 100000, "too short": 1000, "absurd": 1 << 62}[what]
    origin.fault("image", length=length, when=after_probe, times=2)
    configure(cache, origin).mount()
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")


@pytest.mark.parametrize("length", ["none", "chunked"])
def test_a_size_that_nobody_tells(cache, origin, length):
    """No Content-Length, no Content-Range, no HEAD: read right or not at all, and never shown as absent."""
    origin.put("image", CONTENT)
    origin.fault("image", method="HEAD", status=405)
    origin.fault("image", no_range=True, length=length)
    configure(cache, origin).mount()
    try:
        same(cache.read("image"), CONTENT)
    except OSError as e:
        assert e.errno in UNREACHABLE, name_of(e.errno)
        assert "image" in cache.logged()


def unreadable(cache, name, offset=0):
    """Reads until the error; what came before it must be right. Returns the errno."""
    try:
        fd = os.open(cache.image(name), os.O_RDONLY)
    except OSError as e:
        return e.errno
    try:
        while True:
            part = os.pread(fd, 64 * KIB, offset)
            assert part, f"the end of the file at {offset}"
            same(part, CONTENT[offset:offset + len(part)])
            offset += len(part)
    except OSError as e:
        return e.errno
    finally:
        os.close(fd)


NOT_HAD = {
    "500": dict(status=500),
    "503": dict(status=503),
    "403": dict(status=403),
    "401": dict(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}),
    "400": dict(status=400),
    "418": dict(status=418),
    "204": dict(status=204),
    "300": dict(status=300),
    "304": dict(status=304),
    "closed before an answer": dict(drop_before_head=True),
    "dropped at once": dict(drop_after=0),
    "stalled": dict(stall_after=0),
    "another range than asked for": dict(content_range=f"bytes 5-{64 * KIB + 4}/{SIZE}"),
    "a range beyond the end": dict(content_range=f"bytes {SIZE}-{SIZE + 10}/{SIZE}"),
    "nonsense in Content-Range": dict(content_range="bytes lots"),
    "a redirect to itself": dict(redirect="{path}"),
    "a redirect to a file": dict(redirect="file:///etc/passwd"),
    "a redirect nowhere": dict(redirect="http://127.0.0.1:9/"),
    "not HTTP": dict(raw=b"220 ready\r\n"),
    "an endless head": dict(raw=b"HTTP/1.1 206 OK\r\n" + b"X-Pad: " + b"y" * 2000000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("when", ["from the start", "in the middle"])
@pytest.mark.parametrize("what", NOT_HAD)
def test_not_had(cache, origin, what, when):
    """An error (never ENOENT) after the tries, the reason where a person looks, and then it works again."""
    origin.put("image", CONTENT)
    origin.put("other", blob(100000, 22))
    fault = dict(NOT_HAD[what])
    if when == "in the middle":
        fault["when"] = after_probe
        if "content_range" in fault and fault["content_range"].startswith("bytes 5-"):
            fault["content_range"] = f"bytes 64-{64 * KIB}/{SIZE}"
    origin.fault("image", **fault)
    cache.configure(origin.config(retries=2, retry_delay=10, stall_timeout=1, stall_rate=1),
                    fetch_whole_after="64K").mount()
    code = unreadable(cache, "image")
    denied = (errno.EACCES, errno.EPERM) if what in ("403", "401") else ()
    allowed = UNREACHABLE + denied + (errno.ELOOP, errno.ETIMEDOUT, errno.EPROTO)
    assert code in allowed, name_of(code)
    assert "image" in cache.logged()
    same(cache.read("other"), blob(100000, 22))
    assert "image" not in cache.ls("cached")
    if when == "in the middle":
        wait_until(lambda: cache.error("image"), what="the reason in .error")
    cache.status()
    origin.clear_faults()
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the image to be readable again")
    same(cache.read("image"), CONTENT)
    cache.wait_cached("image")
    assert "image" not in cache.ls("invalid")


def test_the_reason_is_in_status(cache, origin):
    origin.put("image", CONTENT)
    origin.fault("image", when=after_probe, status=500)
    cache.configure(origin.config(retries=1, retry_delay=10)).mount()
    assert unreadable(cache, "image") == errno.EIO
    assert "500" in str(wait_until(lambda: cache.error("image"), what=".error"))
    assert "500" in str(cache.status())
    lines = [l for l in cache.logged().splitlines() if "500" in l and "image" in l]
    assert lines and len(lines) < 60, f"{len(lines)} lines in the log"


@pytest.mark.parametrize("status", [404, 410])
def test_no_such_image(cache, origin, status):
    origin.put("image", CONTENT)
    origin.fault("gone", status=status)
    cache.configure(origin).mount()
    assert error_of(os.stat, cache.image("gone")) == errno.ENOENT
    assert error_of(os.open, cache.image("gone"), os.O_RDONLY) == errno.ENOENT
    assert "gone" not in cache.ls("images")
    same(cache.read("image"), CONTENT)


def test_an_image_that_appears(cache, origin):
    cache.configure(origin, list_ttl=1).mount()
    assert error_of(os.stat, cache.image("image")) == errno.ENOENT
    origin.put("image", CONTENT)
    wait_until(lambda: error_of(os.stat, cache.image("image")) == 0, what="the image to be seen")
    same(cache.read("image"), CONTENT)


def test_the_backend_is_asked_again_only_where_it_may_help(cache, origin):
    origin.fault("denied", status=403)
    origin.fault("gone", status=404)
    origin.put("denied", b"x")
    cache.configure(origin.config(retries=5, retry_delay=10)).mount()
    assert error_of(cache.read, "denied") not in (0, errno.ENOENT)
    assert error_of(cache.read, "gone") == errno.ENOENT
    assert len(origin.requests("denied")) <= 3 and len(origin.requests("gone")) <= 3


def test_retry_after_is_honoured(cache, origin):
    origin.put("image", b"small")
    origin.fault("image", status=503, headers={"Retry-After": "2"}, times=1)
    cache.configure(origin.config(retries=3, retry_delay=10)).mount()
    same(cache.read("image"), b"small")
    first, second = origin.requests("image")[:2]
    assert second.at - first.at >= 1.9


def test_retry_after_holds_up_no_look_up_of_what_is_known(cache, origin):
    """A row that is due to be looked up again, a cached image to be revalidated: served as they are. The rest is an error soon."""
    origin.put("known", CONTENT)
    content = origin.put("cached", blob(MIB, 25))
    cache.configure(origin.config(), fetch_whole_after="64K", list_ttl=1, revalidate="on-open").mount()
    assert os.stat(cache.image("known")).st_size == SIZE
    same(cache.read("cached"), content)
    cache.wait_cached("cached")
    origin.fault(None, status=503, headers={"Retry-After": "600"})
    asked = len(origin.requests())

    def served():
        assert os.stat(cache.image("known")).st_size == SIZE
        same(cache.read("cached"), content)
        return {r.name for r in origin.requests()[asked:]} >= {"known", "cached"}
    wait_until(served, what="both to be asked about, and served all the same")
    assert error_of(os.stat, cache.image("unknown")) in UNREACHABLE


def test_redirect(cache, origin, make_cache):
    elsewhere = Origin(prefix="/mirror/")
    try:
        elsewhere.put("image", CONTENT)
        origin.basic = "alice:secret"
        secret = os.path.join(cache.root, "user")
        open(secret, "w").write("alice:secret\n")
        origin.fault("image", redirect=f"http://localhost:{elsewhere.port}/mirror/image")
        cache.configure(origin.config(user_file=secret)).mount()
        same(cache.read("image"), CONTENT)
        cache.wait_cached("image")
        leaked = [r for r in elsewhere.requests("image") if "authorization" in r.headers]
        assert not leaked, "credentials went to another host"
        assert elsewhere.sent("image") == SIZE
    finally:
        elsewhere.close()


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_credentials(cache, origin, kind):
    origin.put("image", CONTENT)
    secret = os.path.join(cache.root, "secret")
    value = "alice:s3cr3t pass:word" if kind == "basic" else "t0ken.with-chars_~+/=="
    open(secret, "w").write(value + "\n")
    setattr(origin, kind, value)
    cache.configure(origin.config(**{"user_file" if kind == "basic" else "token_file": secret})).mount()
    same(cache.read("image"), CONTENT)
    assert cache.ls("images") == ["image"]
    assert "s3cr3t" not in cache.logged() and "t0ken" not in cache.logged()
    assert "s3cr3t" not in str(cache.status()) and "t0ken" not in str(cache.status())


def test_wrong_credentials(cache, origin):
    origin.put("image", CONTENT)
    origin.bearer = "right"
    secret = os.path.join(cache.root, "secret")
    open(secret, "w").write("wr0ng\n")
    cache.configure(origin.config(token_file=secret)).mount()
    code = error_of(cache.read, "image")
    assert code in UNREACHABLE + (errno.EACCES, errno.EPERM), name_of(code)
    assert "wr0ng" not in cache.logged()
    assert "401" in cache.logged()


@pytest.mark.parametrize("first", ["refused", "500", "stalled", "drops"])
def test_several_urls(cache, origin, first):
    """Tried in turn: the second is as good as the first."""
    second = Origin()
    try:
        for server in (origin, second):
            server.put("image", CONTENT)
        if first == "refused":
            origin.stop()
        else:
            origin.fault(None, **{"500": dict(status=500), "stalled": dict(stall_after=70000),
                                  "drops": dict(drop_after=70000)}[first])
        cache.configure(origin.config(url=f"{origin.url} {second.url}", retries=3, retry_delay=10, stall_timeout=1,
                                      stall_rate=1)).mount()
        same(cache.read("image"), CONTENT)
        cache.wait_cached("image")
    finally:
        second.close()


def test_urls_with_different_versions_are_not_mixed(cache, origin):
    """Whether two servers have the same bytes only a digest can tell: with one, no reader reaches the end of a mix."""
    second = Origin()
    try:
        origin.put("image", CONTENT)
        second.put("image", blob(SIZE, 99))
        for server in (origin, second):
            server.put_sums("SHA256SUMS", {"image": CONTENT})
        origin.fault("image", when=after_probe, status=500)
        cache.configure(origin.config(url=f"{origin.url} {second.url}", retries=1, retry_delay=10)).mount()
        assert error_of(cache.read, "image") == errno.EIO
        assert cache.ls("cached") == []
    finally:
        second.close()


def test_a_proxy(cache, origin):
    """An origin that is asked with absolute urls, as a proxy is; the host itself cannot be resolved."""
    origin.put("image", CONTENT)
    cache.configure(origin.config(url="http://images.invalid/img/{id}",
                                  proxy=f"http://127.0.0.1:{origin.port}")).mount()
    same(cache.read("image"), CONTENT)
    assert origin.requests("image") and all(r.absolute for r in origin.requests("image"))


def test_a_proxy_of_the_environment(cache, origin, monkeypatch):
    """http_proxy of the service; a host in no_proxy is asked without it; the configuration's proxy goes before it."""
    origin.put("image", CONTENT)
    direct = Origin()
    try:
        direct.put("image", CONTENT)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{origin.port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        cache.configure(origin.config(url=f"http://images.invalid/img/{{id}} {direct.url}")).mount()
        same(cache.read("image"), CONTENT)
        assert origin.requests("image") and all(r.absolute for r in origin.requests("image"))
        assert direct.requests("image") == []
        cache.wait_cached("image")
        os.unlink(cache.path("cached", "image"))
        origin.stop()
        same(cache.read("image"), CONTENT)
        assert direct.requests("image") and not any(r.absolute for r in direct.requests("image"))
    finally:
        direct.close()


def certificate(folder, name):
    """A key and the certificate of its own authority, where the worker's user can read it."""
    key, path = os.path.join(folder, name + ".key"), os.path.join(folder, name + ".pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-keyout", key, "-out", path, "-subj", "/CN=127.0.0.1",
                    "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True)
    os.chmod(key, 0o644)
    return path, key


@pytest.fixture
def secure(cache):
    """An origin with TLS."""
    path, key = certificate(cache.root, "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    server = Origin(tls=context)
    server.certificate = path
    yield server
    server.close()


@pytest.mark.parametrize("trust", ["ca_file", "insecure", "none"])
def test_tls(cache, secure, trust):
    secure.put("image", CONTENT)
    more = {"ca_file": {"ca_file": secure.certificate}, "insecure": {"insecure": "yes"}, "none": {}}[trust]
    cache.configure(secure.config(**more)).mount()
    if trust == "none":
        code = error_of(cache.read, "image")
        assert code not in (0, errno.ENOENT), name_of(code)
        assert "certificate" in cache.logged().lower()
    else:
        same(cache.read("image"), CONTENT)
        cache.wait_cached("image")


@pytest.mark.parametrize("how", ["configuration", "environment", "wrong password"])
def test_https_through_a_proxy(cache, secure, monkeypatch, how):
    """The proxy sees a host and a port, and its own user; the certificate is the server's."""
    content = secure.put("image", CONTENT)
    user = None if how == "configuration" else "cache:p%40ss"
    with Tunnel(("127.0.0.1", secure.port), user and "cache:p@ss") as tunnel:
        proxy = f"http://{user + '@' if user else ''}127.0.0.1:{tunnel.port}"
        more = {"proxy": proxy} if how == "configuration" else {}
        if how != "configuration":
            monkeypatch.setenv("https_proxy", proxy if how == "environment" else proxy.replace("p%40ss", "secret-but-wrong"))
        cache.configure(secure.config(ca_file=secure.certificate, retries=0, **more)).mount()
        if how == "wrong password":
            assert error_of(cache.read, "image") in (errno.EACCES, *UNREACHABLE)
            assert tunnel.refused and not tunnel.asked and not secure.requests("image")
            assert "secret-but-wrong" not in cache.logged() and "407" in cache.logged()
            return
        same(cache.read("image"), content)
        cache.wait_cached("image")
        assert tunnel.asked and set(tunnel.asked) == {("CONNECT", f"127.0.0.1:{secure.port}")}


@pytest.mark.parametrize("client", ["its own", "another one", "none"])
def test_a_client_certificate(cache, secure, client):
    """A server that wants one: had by who has the right one; else an error that is in the log."""
    content = secure.put("image", CONTENT)
    mine, key = certificate(cache.root, "client")
    other, other_key = certificate(cache.root, "other")
    secure.tls.verify_mode = ssl.CERT_REQUIRED
    secure.tls.load_verify_locations(mine)
    pair = {"its own": (mine, key), "another one": (other, other_key), "none": None}[client]
    more = {} if pair is None else {"client_cert_file": pair[0], "client_key_file": pair[1]}
    cache.configure(secure.config(ca_file=secure.certificate, retries=0, **more)).mount()
    if client == "its own":
        same(cache.read("image"), content)
        return
    code = error_of(cache.read, "image")
    assert code in UNREACHABLE, name_of(code)
    assert secure.sent("image") == 0 and "image" in cache.logged()


def test_an_image_larger_than_it_said(cache, origin):
    """The listing and the probe disagree with what comes: the size of the file stays what was told."""
    origin.put("image", CONTENT)
    origin.fault("image", when=after_probe, content_range=f"bytes 65536-131071/{SIZE + 5}", times=1)
    configure(cache, origin).mount()
    try:
        got = cache.read("image")
    except OSError:
        got = None
    assert got in (None, CONTENT)
    wait_until(lambda: error_of(cache.read, "image") == 0, what="the image to be readable")
    same(cache.read("image"), CONTENT)


def test_all_streams_fail_at_once(cache, origin):
    """More streams than retries, and the server is away for longer than one of them: that they all fail is one try."""
    content = origin.put("image", blob(64 * MIB, 23))
    fault = origin.fault("image", stall_after=MIB // 2, when=after_probe)
    cache.configure(origin.config(retries=6, retry_delay=50, stall_timeout=600), fetch_whole_after="64K",
                    streams=8).mount()
    reader = cache.spawn("sha256sum", cache.image("image"), stdout=-1, text=True)
    wait_until(lambda: fault.waiting >= 8, what="more streams than retries to be held back")
    origin.stop()
    wait_until(lambda: cache.logged().count("asking again in") >= 3 or reader.poll() is not None,
               what="some tries while it is away")
    origin.clear_faults()
    origin.start()
    assert reader.communicate()[0].split()[0] == sha(content)
    cache.wait_cached("image")
    same(cache.stored("image"), content)


def test_background_rate(cache, origin):
    """A cap on background work leaves what a reader waits for alone."""
    content = origin.put("image", blob(8 * MIB, 24))
    cache.configure(origin, fetch_whole_after="64K", background_rate="256K", read_ahead_max="128K").mount()
    same(cache.read("image", MIB), content[:MIB])
    assert cache.ls("cached") == []
    same(cache.read("image", 64 * KIB, 7 * MIB), content[7 * MIB:7 * MIB + 64 * KIB])


def test_a_size_that_no_memory_holds(cache, origin):
    """No room in the cache, and a chunk alone would be larger than what is kept of an image that goes straight through."""
    total = 1 << 61
    origin.put("image", CONTENT)
    origin.fault("image", content_range=f"bytes 0-{PROBE - 1}/{total}", when=lambda r: not after_probe(r))
    origin.fault("image", stall_after=MIB)
    origin.put("small", b"small")
    cache.configure(origin.config(retries=0, stall_timeout=600), image_cache_max_size="64M").mount()
    assert os.stat(cache.image("image")).st_size == total
    assert error_of(cache.read, "image", 4096) == errno.EFBIG
    assert "too large" in cache.error("image")
    assert len(origin.requests("image")) == 1
    same(cache.read("small"), b"small")
