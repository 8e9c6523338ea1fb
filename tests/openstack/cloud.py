# SPDX-License-Identifier: Apache-2.0
"""The lab as tests use it: where its services are, its images, and its clients."""
import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import harness
from waiting import wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
UP, DOWN = os.path.join(HERE, "lab", "up"), os.path.join(HERE, "lab", "down")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

LIST_OBJECTS = """
import glob, sys, time
from swift.common.utils import Timestamp
from swift.container.backend import ContainerBroker
folder, account, container, size = sys.argv[1:]
brokers = [ContainerBroker(path) for path in glob.glob(folder + "/*/*/*/*.db")]
broker, = [b for b in brokers if (b.get_info()["account"], b.get_info()["container"]) == (account, container)]
now = Timestamp(time.time()).internal
broker.merge_items([{"name": name, "created_at": now, "size": int(size), "content_type": "application/octet-stream", "etag": "0" * 32,
                     "deleted": 0, "storage_policy_index": broker.storage_policy_index} for name in sys.stdin.read().split()])
"""


class Cloud:
    def __init__(self, folder):
        self.folder = folder
        text = open(os.path.join(folder, "env")).read()
        self.env = {k: shlex.split(v)[0] if v else "" for k, v in re.findall(r"^export (\w+)=(.*)$", text, re.M)}
        self.tokens = {}
        self.images = {n: (self.env[f"IMAGE_{n}"], self.env[f"IMAGE_{n}_NAME"], self.env[f"IMAGE_{n}_SHA256"])
                       for n in ("ISO", "FLOPPY", "QCOW2", "RANDOM")}

    def __getitem__(self, name):
        return self.env[name]

    def file(self, name):
        """The local copy of an image."""
        return os.path.join(self.folder, "images", name)

    # ---- the configuration of the cache

    def secret(self, cache, text, name="password"):
        path = os.path.join(cache.root, name)
        with open(path, "w") as f:
            f.write(text + "\n")
        os.chmod(path, 0o600)
        return path

    def keystone(self, cache, **more):
        return {"auth_url": self["OS_AUTH_URL"], "username": "admin", "project_name": "admin",
                "password_file": self.secret(cache, self["OS_PASSWORD"]), **more}

    def glance(self, cache, **more):
        return {"type": "glance", **harness.Cache.BACKEND, **self.keystone(cache), **more}

    def swift(self, cache, **more):
        return {"type": "swift", "container": "images", **harness.Cache.BACKEND, **self.keystone(cache), **more}

    def tempauth(self, cache, **more):
        return {"type": "swift", "container": "images", **harness.Cache.BACKEND, "auth_url": self["SWIFT_TEMPAUTH_URL"],
                "username": self["SWIFT_TEMPAUTH_USER"],
                "password_file": self.secret(cache, self["SWIFT_TEMPAUTH_KEY"]), **more}

    def s3(self, cache, **more):
        return {"type": "s3", "bucket": "images", **harness.Cache.BACKEND, "endpoint": self["S3_URL"],
                "access_key": self["S3_ACCESS_KEY"],
                "secret_key_file": self.secret(cache, self["S3_SECRET_KEY"], "secret-key"), **more}

    # ---- clients

    def token(self, user="admin", project="admin"):
        if (user, project) not in self.tokens:
            body = {"auth": {"identity": {"methods": ["password"], "password": {"user": {
                "name": user, "domain": {"id": "default"}, "password": self["OS_PASSWORD"]}}},
                "scope": {"project": {"name": project, "domain": {"id": "default"}}}}}
            _, headers, _ = self.http("POST", self["OS_AUTH_URL"] + "/auth/tokens", json.dumps(body).encode(),
                                      {"Content-Type": "application/json"}, token=None)
            self.tokens[user, project] = headers["X-Subject-Token"]
        return self.tokens[user, project]

    def http(self, method, url, body=None, headers=None, token=True, expect=range(200, 300)):
        headers = dict(headers or {})
        if token:
            headers["X-Auth-Token"] = token if isinstance(token, str) else self.token()
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        try:
            with DIRECT.open(request, timeout=120) as answer:
                status, head, data = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as e:
            status, head, data = e.code, e.headers, e.read()
        assert status in expect, f"{method} {url}: {status} {data[:300]}"
        return status, head, data

    def client(self, *command, **more):
        """A client of OpenStack as an operator runs it."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "PYTHON"))}
        env["HOME"] = self.folder  # the clients keep schemas there
        env.update({k: v for k, v in self.env.items() if k.startswith("OS_") or k == "no_proxy"}, **more)
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
        return done.stdout

    def make_image(self, content, name="made", disk_format="raw", token=True, **properties):
        """A new image of Glance. CONTENT: bytes, or None for one that stays queued."""
        base = self["ORIGIN_URL"] + "/v2/images"
        record = {"name": name, "disk_format": disk_format, "container_format": "bare", **properties}
        _, _, answer = self.http("POST", base, json.dumps(record).encode(), {"Content-Type": "application/json"}, token)
        ident = json.loads(answer)["id"]
        if content is not None:
            self.http("PUT", f"{base}/{ident}/file", content, {"Content-Type": "application/octet-stream"}, token)
        return ident

    def delete_image(self, ident):
        self.http("DELETE", f"{self['ORIGIN_URL']}/v2/images/{ident}", expect=(204, 404))

    def deactivate(self, ident):
        self.http("POST", f"{self['ORIGIN_URL']}/v2/images/{ident}/actions/deactivate", b"")

    @contextlib.contextmanager
    def policy(self, **rules):
        """Glance's policy, for a while: what differs from its own. It reads the file anew when it changes; afterwards these
        rules are for everybody who sees the image, as its own are for the lab's users."""
        path = os.path.join(self.folder, "etc", "glance", "policy.yaml")

        def write(document):
            with open(path + ".new", "w") as f:
                json.dump(document, f)
            os.replace(path + ".new", path)
        write(rules)
        try:
            yield
        finally:
            write({name: "@" for name in rules})

    def database(self, statement, *values):
        """Glance's database, behind its back."""
        with sqlite3.connect(os.path.join(self.folder, "glance", "glance.db"), timeout=30) as db:
            return db.execute(statement, values).fetchall()

    def put_object(self, container, name, content, headers=None, url=None, token=True):
        url = url or self["SWIFT_URL"]
        self.http("PUT", f"{url}/{container}", b"", token=token)
        self.http("PUT", f"{url}/{container}/{urllib.parse.quote(name)}", content,
                  {"Content-Type": "application/octet-stream", **(headers or {})}, token)

    def list_objects(self, account, container, names, size):
        """Objects that only the container's database knows: to be listed, not to be read. By Swift's own code."""
        subprocess.run(["/usr/bin/python3", "-c", LIST_OBJECTS, os.path.join(self.folder, "swift", "node", "d1", "containers"), account,
                        container, str(size)], input="\n".join(names), text=True, timeout=120, check=True)

    def tempauth_login(self):
        _, head, _ = self.http("GET", self["SWIFT_TEMPAUTH_URL"], None,
                               {"X-Auth-User": self["SWIFT_TEMPAUTH_USER"], "X-Auth-Key": self["SWIFT_TEMPAUTH_KEY"]}, None)
        return head["X-Storage-Url"], head["X-Auth-Token"]

    # ---- services

    def stop(self, service):
        """One service, by its pid file."""
        path = os.path.join(self.folder, "pid", service)
        pid = int(open(path).readline())
        os.killpg(pid, signal.SIGTERM)

        def gone():
            try:
                os.killpg(pid, 0)
            except ProcessLookupError:
                return True
            return False
        try:
            wait_until(gone, 20, f"{service} to end")
        except AssertionError:
            os.killpg(pid, signal.SIGKILL)
        os.unlink(path)

    def start(self):
        """What does not run."""
        with open(os.path.join(self.folder, "log", "again.log"), "ab") as log:
            subprocess.run(["bash", UP, self.folder], env={**os.environ, "LAB_SKIP_INSTALL": "1", "LAB_SKIP_IMAGES": "1"},
                           stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=300, check=True)


def sha_of(path, step=1 << 20):
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        while data := f.read(step):
            digest.update(data)
    return digest.hexdigest()


def timed(function, *args):
    begun = time.monotonic()
    function(*args)
    return time.monotonic() - begun
