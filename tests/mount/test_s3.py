# SPDX-License-Identifier: Apache-2.0
"""S3 as services speak it."""
import datetime
import os

import pytest

from clouds import XML, Store, fault, listing
from harness import MIB, blob, error_of, same
from waiting import wait_until

ODD = ["a\x01b", "a b", "c+d", "e%20f", "g%2Bh", "käse", "vm.raw"]
SHOWN = sorted(ODD)


@pytest.fixture
def store():
    store = Store()
    yield store
    store.close()


@pytest.mark.parametrize("late", [False, True], ids=["said before the keys", "said behind them"])
def test_keys_of_any_bytes(cache, store, late):
    store.rules = [lambda r: (200, listing(ODD, True, late), XML) if r.key == "/b" and r.query.get("encoding-type") == "url" else None]
    store.objects = {f"/b/{key}": b"12345" for key in ODD}
    cache.configure(store.s3()).mount()
    assert cache.ls("images") == [n for n in SHOWN if "\x01" not in n]
    for name in cache.ls("images"):
        assert cache.read(name) == b"12345"


def test_a_service_that_does_not_encode(cache, store):
    keys = ODD[1:]
    store.rules = [lambda r: (200, listing(keys), XML) if r.key == "/b" else None]
    cache.configure(store.s3()).mount()
    assert cache.ls("images") == sorted(keys)


@pytest.mark.parametrize("marker", ["NextMarker", "none"])
@pytest.mark.parametrize("encoded", [False, True], ids=["", "encoded"])
def test_a_listing_of_version_1(cache, store, marker, encoded):
    """A service that takes list-type=2 for nothing: pages go on behind a key, the next marker or else the last key or folder."""
    keys = sorted(f"vm {n:02}+" for n in range(25))

    def answer(r):
        if r.key != "/b":
            return None
        after = [k for k in keys if k > r.query.get("marker", "")]
        if not after:
            return 200, listing([], encoded), XML
        page, rest = after[:10], after[10:]
        told = page[-1].replace("+", "%2B").replace(" ", "+") if encoded else page[-1]
        more = (f"<NextMarker>{told}</NextMarker>" if marker == "NextMarker" else "-") if rest else ""
        return 200, listing(page, encoded, more=more), XML

    store.rules = [answer]
    cache.configure(store.s3()).mount()
    assert cache.ls("images") == keys
    assert len(store.log) == 3


CONTENT = blob(3 * MIB, 41)


def write_credentials(cache, key="A", secret="B", token="T1"):
    path = os.path.join(cache.root, "credentials")
    with open(path + ".new", "w") as f:
        f.write(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\naws_session_token = {token}\n")
    os.chmod(path + ".new", 0o644)
    os.rename(path + ".new", path)
    return path


def signed(cache, store, **more):
    return {**store.s3(**more), "credentials_file": write_credentials(cache), "retries": 0}


@pytest.mark.parametrize("status", [400, 403])
def test_credentials_rotated_in_their_file(cache, store, status):
    store.objects = {"/b/one": CONTENT, "/b/two": CONTENT}
    good = ["T1"]
    store.rules = [lambda r: None if r.headers.get("x-amz-security-token") in good else (status, fault("ExpiredToken"), XML)]
    cache.configure(signed(cache, store), fetch_policy="demand").mount()
    fd = os.open(cache.image("one"), os.O_RDONLY)
    same(os.pread(fd, 4096, 0), CONTENT[:4096])
    write_credentials(cache, token="T2")
    good[0] = "T2"
    same(os.pread(fd, 4096, 2 * MIB), CONTENT[2 * MIB:2 * MIB + 4096])  # in the middle of an image
    same(cache.read("two"), CONTENT)
    os.close(fd)
    assert len([r for r in store.log[1:] if r.headers.get("x-amz-security-token") == "T2"]) > 1


def test_credentials_that_ended(cache, store):
    """There are no others: it is said what the matter is."""
    store.rules = [lambda r: (400, fault("ExpiredToken"), XML)]
    cache.configure(signed(cache, store)).mount()
    assert error_of(os.stat, cache.image("one")) != 0
    assert "ExpiredToken: the session has ended" in wait_until(cache.logged, what="the log")


def region_of(request):
    return request.headers["Authorization"].split("Credential=")[1].split("/")[2]


@pytest.mark.parametrize("way", ["header 301", "header 400", "element", "listing"])
def test_the_region_is_learned(cache, store, way):
    content = b"12345" if way == "listing" else CONTENT
    store.objects = {"/b/one": content}
    said = {"header 301": (301, fault("PermanentRedirect"), {**XML, "x_amz_bucket_region": "eu-1"}),
            "header 400": (400, b"", {"x_amz_bucket_region": "eu-1"}),
            "element": (400, fault("AuthorizationHeaderMalformed", Region="eu-1"), XML),
            "listing": (400, fault("AuthorizationHeaderMalformed", Region="eu-1"), XML)}[way]

    def answer(r):
        if region_of(r) != "eu-1":
            return said
        return (200, listing(["one"]), XML) if r.key == "/b" else None

    store.rules = [answer]
    cache.configure(signed(cache, store)).mount()
    if way == "listing":
        assert cache.ls("images") == ["one"]
    same(cache.read("one"), content)
    assert len([r for r in store.log if region_of(r) == "us-east-1"]) == 1
    assert cache.logged().count("region eu-1") == 1


def test_a_clock_that_is_wrong(cache, store):
    """The service's time is used: here it is two hours ahead."""
    store.objects = {"/b/one": CONTENT}

    def ahead():
        return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=2)

    def answer(r):
        when = datetime.datetime.strptime(r.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        if abs((ahead() - when).total_seconds()) < 900:
            return None
        return 403, fault("RequestTimeTooSkewed"), {**XML, "Date": ahead().strftime("%a, %d %b %Y %H:%M:%S GMT")}

    store.rules = [answer]
    cache.configure(signed(cache, store)).mount()
    same(cache.read("one"), CONTENT)
    assert "clock" in cache.logged()


def test_sent_to_the_host_that_has_the_bucket(cache, store):
    """Signed anew for it; but nothing of ours is told to a stranger."""
    other = Store()
    other.objects = {"/b/one": CONTENT, "/b/two": CONTENT}
    store.rules = [lambda r: (307, b"", {"Location": f"http://{'else.localhost' if r.key == '/b/one' else '127.0.0.1'}:{other.port}{r.key}"})
                   if r.key in ("/b/one", "/b/two") else None]
    cache.configure(signed(cache, store, host="localhost")).mount()
    same(cache.read("one"), CONTENT)
    assert all("Authorization" in r.headers and r.headers["Host"].startswith("else.localhost") for r in other.asked(key="/b/one"))
    same(cache.read("two"), CONTENT)
    assert other.asked(key="/b/two") and all("Authorization" not in r.headers and "x-amz-security-token" not in r.headers for r in other.asked(key="/b/two"))
    other.close()


@pytest.mark.parametrize("code, said", [("InvalidObjectState", "archived"), ("InvalidRequest", "SSE-C")])
def test_objects_that_cannot_be_had(cache, store, code, said):
    store.rules = [lambda r: (403 if code == "InvalidObjectState" else 400, fault(code, "Server Side Encryption" if said == "SSE-C" else ""), XML)]
    cache.configure(signed(cache, store)).mount()
    assert error_of(os.stat, cache.image("one")) != 0
    assert said in wait_until(lambda: said in cache.logged() and cache.logged(), what="the reason in the log")


def test_the_requester_pays(cache, store):
    store.objects = {"/b/one": CONTENT}
    store.rules = [lambda r: None if r.headers.get("x-amz-request-payer") == "requester" else (403, fault("AccessDenied"), XML)]
    cache.configure(signed(cache, store, request_payer="yes")).mount()
    same(cache.read("one"), CONTENT)
