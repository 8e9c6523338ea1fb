# SPDX-License-Identifier: Apache-2.0
"""Credentials for S3 that a service nearby gives out: the metadata of an instance (version 2), and a container's."""
import datetime
import errno
import json
import os
import threading

import pytest

from clouds import XML, Store, fault
from harness import MIB, blob, error_of, same
from waiting import wait_until

CONTENT = blob(3 * MIB, 43)
ROLES = "/latest/meta-data/iam/security-credentials/"


class Metadata(Store):
    """An instance whose role is "images", and the same keys for containers at /keys. Each answer has another session token, T1, T2 …"""

    def __init__(self):
        super().__init__()
        self.lifetime, self.tokens, self.issued, self.secret = 3600, [], 0, None
        self.versions, self.role, self.keys_status = (1, 2), "images", 200
        self.rules = [self.answer]

    def keys(self):
        self.issued += 1
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.lifetime)
        return json.dumps({"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": f"T{self.issued}",
                           "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()

    def give_token(self, r):
        if 2 not in self.versions:
            return 404, b""
        if r.method != "PUT" or not r.headers.get("X-aws-ec2-metadata-token-ttl-seconds"):
            return 400, b""
        self.tokens.append(f"token-{len(self.tokens)}")
        return 200, self.tokens[-1].encode()

    def answer(self, r):
        if r.key == "/latest/api/token":
            return self.give_token(r)
        if r.key == "/keys":
            return (200, self.keys()) if r.headers.get("Authorization") == self.secret else (401, b"")
        if not r.key.startswith(ROLES):
            return 404, b""
        if 1 not in self.versions and (not self.tokens or r.headers.get("X-aws-ec2-metadata-token") != self.tokens[-1]):
            return 401, b""
        if r.key == ROLES:
            return (200, self.role.encode()) if self.role else (404, b"")
        return (self.keys_status, self.keys() if self.keys_status == 200 else b"") if r.key == ROLES + self.role else (404, b"")


@pytest.fixture
def metadata():
    metadata = Metadata()
    metadata.versions = (2,)
    yield metadata
    metadata.close()


@pytest.fixture
def store(metadata):
    """Takes signed requests with a session token that is not in `ended`."""
    store = Store()
    store.ended, store.refusal = set(), (403, fault("ExpiredToken"), XML)
    store.objects = {f"/b/image-{i}": CONTENT for i in range(8)}
    store.rules = [lambda r: None if "Authorization" in r.headers and r.headers.get("x-amz-security-token") not in store.ended | {None}
                   else store.refusal]
    yield store
    store.close()


def mounted(cache, store, metadata, monkeypatch, kind="instance", **more):
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{metadata.port}/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")  # nobody: such questions go past it
    monkeypatch.setenv("no_proxy", "localhost")
    cache.configure({**store.s3(host="localhost"), "credentials": kind, "retries": 1, "retry_delay": 10, **more}, fetch_policy="demand")
    return cache.mount()


def used(store):
    return [r.headers.get("x-amz-security-token") for r in store.log]


def test_of_an_instance(cache, store, metadata, monkeypatch):
    """A token, the role, its keys; and once for however many wait."""
    metadata.rules.insert(0, lambda r: reached.set() or (held.wait(60) and None) if r.key == "/latest/api/token" else None)
    reached, held = threading.Event(), threading.Event()
    mounted(cache, store, metadata, monkeypatch)
    got = {}
    readers = [threading.Thread(target=lambda n=f"image-{i}": got.update({n: cache.read(n)})) for i in range(8)]
    for reader in readers:
        reader.start()
    assert reached.wait(60)
    held.set()
    for reader in readers:
        reader.join()
    assert all(content == CONTENT for content in got.values()) and len(got) == 8
    assert [(r.method, r.key) for r in metadata.log] == [("PUT", "/latest/api/token"), ("GET", ROLES), ("GET", ROLES + "images")]
    assert set(used(store)) == {"T1"}


def test_renewed_before_they_end(cache, store, metadata, monkeypatch):
    metadata.lifetime = 3
    mounted(cache, store, metadata, monkeypatch)
    fd = os.open(cache.image("image-0"), os.O_RDONLY)

    def others():
        os.stat(cache.image("image-0"))
        error_of(os.stat, cache.image("nobody"))
        return "T2" in used(store)

    wait_until(others, what="other keys to be used")
    same(os.pread(fd, 4096, 2 * MIB), CONTENT[2 * MIB:2 * MIB + 4096])
    os.close(fd)
    assert len(metadata.tokens) == 1  # of metadata, good for hours


@pytest.mark.parametrize("refusal", [(400, fault("ExpiredToken"), XML), (403, fault("InvalidAccessKeyId"), XML)],
                         ids=["token", "key"])
def test_refused_in_the_middle(cache, store, metadata, monkeypatch, refusal):
    """Taken back before their time: others are asked for, and what is read goes on."""
    store.refusal = refusal
    mounted(cache, store, metadata, monkeypatch)
    fd = os.open(cache.image("image-0"), os.O_RDONLY)
    same(os.pread(fd, 4096, 0), CONTENT[:4096])
    store.ended = {"T1"}
    metadata.tokens.append("another, as of an instance that moved")  # 401: the token is had anew, too

    def goes_on():  # keys that came some seconds ago only are not believed to be the reason
        return error_of(os.pread, fd, 4096, 2 * MIB) == 0

    wait_until(goes_on, what="the rest")
    same(os.pread(fd, 4096, 2 * MIB), CONTENT[2 * MIB:2 * MIB + 4096])
    os.close(fd)
    assert used(store)[-1] == "T2" and metadata.issued == 2
    assert len(metadata.asked(method="PUT")) == 2


def test_an_instance_that_knows_no_tokens(cache, store, metadata, monkeypatch):
    metadata.versions = (1,)
    mounted(cache, store, metadata, monkeypatch)
    same(cache.read("image-0"), CONTENT)
    assert "version 1" in cache.logged()


@pytest.mark.parametrize("what, said", [("no role", "no role"), ("switched off", "switched off"), ("nonsense", "no credentials"), ("failed", "role")])
def test_none_to_be_had(cache, store, metadata, monkeypatch, what, said):
    """It is said why; nothing is asked of the store."""
    if what == "no role":
        metadata.role = ""
    elif what == "switched off":
        metadata.rules.insert(0, lambda r: (403, b""))
    else:
        body = b"<html>" if what == "nonsense" else json.dumps({"Code": "AssumeRoleUnauthorizedAccess"}).encode()
        metadata.rules.insert(0, lambda r: (200, body) if r.key == ROLES + "images" else None)
    mounted(cache, store, metadata, monkeypatch)
    assert error_of(os.stat, cache.image("image-0")) not in (0, errno.ENOENT)
    told = wait_until(lambda: [b for b in cache.status()["backend"]["endpoints"] if said in b["last_error"]], what="why, in .status")
    assert told[0]["endpoint"] == f"http://127.0.0.1:{metadata.port}" and said in cache.logged()
    assert not store.log


def test_keys_that_have_ended_are_used(cache, store, metadata, monkeypatch):
    """Metadata that cannot renew them gives out what it has; S3 itself may take it still."""
    metadata.lifetime = -600
    mounted(cache, store, metadata, monkeypatch)
    same(cache.read("image-0"), CONTENT)
    assert "have ended" in cache.logged()


@pytest.mark.parametrize("kind", ["container", "auto"])
def test_of_a_container(cache, store, metadata, monkeypatch, kind):
    """The token in its file is read again whenever keys are asked for: it is replaced there."""
    path = os.path.join(cache.root, "identity-token")
    for secret in ("first", "second"):
        with open(path + ".new", "w") as f:
            f.write(secret)
        os.chmod(path + ".new", 0o644)
        os.rename(path + ".new", path)
        if secret == "first":
            metadata.secret, metadata.lifetime = secret, 2
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{metadata.port}/keys")
            monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path)
            monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "not this one")
            mounted(cache, store, metadata, monkeypatch, kind)
            same(cache.read("image-0"), CONTENT)
    metadata.secret = "second"
    store.ended = {f"T{metadata.issued}"}
    wait_until(lambda: error_of(os.stat, cache.image("image-1")) == 0, what="other keys")
    same(cache.read("image-1"), CONTENT)
    assert metadata.asked(key="/keys")[-1].headers["Authorization"] == "second"
