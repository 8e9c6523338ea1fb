# SPDX-License-Identifier: Apache-2.0
"""One glance-cache-api under test, and requests to it."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess

import contract
from harness import SUSPICIOUS, TOP
from waiting import PATIENCE, wait_until


def binary(variable, *path):
    name = os.environ.get(variable) or os.path.join(TOP, "build", *path)
    if not os.access(name, os.X_OK):
        raise RuntimeError(f"no program at {name}: build it, or name it in {variable}")
    return name


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Answer:
    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        """Of an error: one JSON line."""
        text = self.body.decode()
        assert text.endswith("\n") and text.count("\n") == 1, f"not one line: {text!r}"
        error = json.loads(text)["error"]
        assert error["code"] == self.status and error["title"]
        return error["message"]


# What is answered with 200: by path.
DOCUMENTS = ((r"/status(\?.*)?$", "api_status"), (r"/v2/cache$", "api_cache"), (r"(/v[12])?/cached[-_]images$", "api_cached_images"),
             (r"(/v[12])?/queued[-_]images$", "api_queued_images"), (r"/healthcheck$", "api_health"), (r"/v2/cache/prune$", "api_pruned"),
             (r"/v2/cache/(?!nodes/)[^/]+$", "api_image"))


def keeps_to_contract(path, answer):
    """Has what ours says in JSON looked at (contract.py); bytes of images, pages and what is broken on purpose are none of it."""
    if (answer.headers.get("Content-Type") or "").split(";")[0] != "application/json" or not answer.body.startswith(b"{"):
        return
    try:
        value = json.loads(answer.body)
    except ValueError:
        return
    if answer.status >= 400 and isinstance(value.get("error"), dict):
        contract.check("api_error", value)
    kind = next((kind for pattern, kind in DOCUMENTS if re.match(pattern, path)), None)
    if answer.status == 200 and kind == "api_cached_images" and "num_deleted" in value or kind == "api_queued_images" and "num_deleted" in value:
        kind = "api_deleted"
    if answer.status == 200 and kind is not None:
        contract.check(kind, value)


class Api:
    def __init__(self, cache, **options):
        self.cache = cache
        self.port = free_port()
        self.conf = os.path.join(cache.root, f"api-{self.port}.conf")
        self.log = os.path.join(cache.root, f"api-{self.port}.log")
        self.debug = True
        options = {"mount": cache.mnt, "listen": f"127.0.0.1:{self.port}", **options}
        self.options = {k: v for k, v in options.items() if v is not None}
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def write_conf(self):
        with open(self.conf, "w") as f:
            f.write(open(self.cache.conf).read() + "\n[api]\n")
            f.writelines(f"{k} = {v}\n" for k, v in self.options.items())

    def command(self, *more):
        return [binary("GCFS_API_BINARY", "tools", "api", "glance-cache-api"), *(["--debug"] if self.debug else []),
                "--config-file", self.conf, *more]

    def start(self):
        self.write_conf()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.command()],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: "listening on" in self.logged() or self.process.poll() is not None, what="the server to listen")
        assert self.process.poll() is None, self.logged()
        return self

    def run(self):
        """For what should not start."""
        self.write_conf()
        return subprocess.run(self.command(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30 * PATIENCE,
                              check=False)

    def logged(self):
        try:
            return open(self.log, encoding="utf-8", errors="replace").read()
        except FileNotFoundError:
            return ""

    def keep(self, artefacts):
        os.makedirs(artefacts, exist_ok=True)
        for path in (self.log, self.conf):
            if os.path.exists(path):
                shutil.copy(path, artefacts)

    def memory(self, field="Rss"):
        """KiB."""
        text = open(f"/proc/{self.process.pid}/smaps_rollup").read()
        return int(re.search(rf"^{field}:\s+(\d+)", text, re.M)[1])

    def connections(self):
        return int(re.search(r"^glance_cache_api_connections (\d+)", self.get("/metrics").body.decode(), re.M)[1])

    def connections_by_kernel(self):
        """Clients, also where the server says nothing to who has no token."""
        line = f"{int.from_bytes(socket.inet_aton('127.0.0.1'), 'little'):08X}:{self.port:04X}"
        return sum(text.split()[1] == line and text.split()[3] == "01" for text in open("/proc/net/tcp").readlines()[1:])

    # ---- requests

    def ask(self, method, path, headers=None, body=None, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout * PATIENCE)
        upstream = self.options.get("upstream")  # whose answers are not ours
        try:
            connection.putrequest(method, path, skip_accept_encoding=True, skip_host="Host" in (headers or {}))
            headers = dict(headers or {})
            if body is not None and "Content-Length" not in headers:
                headers["Content-Length"] = str(len(body))
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            answer = Answer(response, response.read())
        finally:
            connection.close()
        if not upstream and method != "HEAD":
            keeps_to_contract(path, answer)
        return answer

    def get(self, path, **headers):
        return self.ask("GET", path, {k.replace("_", "-"): v for k, v in headers.items()})

    def put(self, path, **headers):
        return self.ask("PUT", path, {k.replace("_", "-"): v for k, v in headers.items()})

    def post(self, path, **headers):
        return self.ask("POST", path, {k.replace("_", "-"): v for k, v in headers.items()})

    def delete(self, path, **headers):
        return self.ask("DELETE", path, {k.replace("_", "-"): v for k, v in headers.items()})

    def socket(self, timeout=30):
        return socket.create_connection(("127.0.0.1", self.port), timeout * PATIENCE)

    def raw(self, data, timeout=30):
        """Sends bytes; all that comes back until the server closes."""
        with self.socket(timeout) as s:
            parts = []
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has closed already: what it said first is there to be read
            try:
                while part := s.recv(65536):
                    parts.append(part)
            except ConnectionResetError:
                pass
            return b"".join(parts)

    # ---- the end

    def close(self):
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(30 * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("the server did not end within 30 s") from None
        assert code == 0, f"the server ended with {code}:\n{self.logged()[-3000:]}"
        trouble = [line for line in self.logged().splitlines() if SUSPICIOUS.search(line)]
        assert not trouble, "suspicious: " + "\n".join(trouble[:20])
