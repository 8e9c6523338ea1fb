# SPDX-License-Identifier: Apache-2.0
"""glance-cache-manage: tables, prompts, exit codes, several hosts."""
import http.server
import json
import os
import subprocess
import threading

import pytest

from harness import KIB, blob
from server import binary
from waiting import PATIENCE


def manage(api, *arguments, code=0, answer=None, hosts=None, environment=None):
    where = hosts if hosts is not None else ["--host", "127.0.0.1", "--port", str(api.port)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    done = subprocess.run([binary("GCFS_MANAGE_BINARY", "tools", "manage", "glance-cache-manage"), *where, *arguments], input=answer or "",
                          capture_output=True, text=True, timeout=60 * PATIENCE, env={**clean, **(environment or {})}, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture
def image(folder):
    return folder.put("image", blob(100 * KIB, 1))


def test_lists(folder, api, image):
    assert manage(api, "list-cached").stdout == "No cached images.\n"
    assert manage(api, "list-queued").stdout == "No queued images.\n"
    manage(api, "--force", "queue-image", "image")
    folder.wait_cached("image")
    lines = manage(api, "list-cached").stdout.splitlines()
    assert lines[0] == "Found 1 cached images..."
    assert lines[2].split("|")[1:-1] == ["   ID  ", "    Last Accessed (UTC)     ", "    Last Modified (UTC)     ", "   Size ", " Hits "]
    assert lines[4].startswith("| image | 20") and lines[4].endswith("| 102400 |    0 |")
    assert lines[1] == lines[3] == lines[5] and len(lines) == 6


@pytest.mark.parametrize("answer,done", [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("what\n", False)])
def test_prompts(folder, api, image, answer, done):
    out = manage(api, "queue-image", "image", answer=answer).stdout
    assert out == "Queue image image for caching? [y/N] "
    if done:
        folder.wait_cached("image")
    else:
        assert folder.ls("cached") == folder.ls("queued") == []


@pytest.mark.parametrize("command,question", [
    (["delete-cached-image", "image"], "Delete cached image image?"), (["delete-all-cached-images"], "Delete all cached images?"),
    (["delete-queued-image", "image"], "Delete queued image image?"), (["delete-all-queued-images"], "Delete all queued images?")])
def test_deleting(folder, api, image, command, question):
    api.get("/images/image")
    folder.wait_cached("image")
    assert manage(api, *command, answer="n\n").stdout == question + " [y/N] "
    assert folder.ls("cached") == ["image"]
    manage(api, *command, code=1)  # nobody answers
    assert folder.ls("cached") == ["image"]
    manage(api, *command, answer="y\n")
    assert folder.ls("cached") == ([] if "cached" in command[0] else ["image"])


def test_verbose(folder, api, image):
    out = manage(api, "-v", "-f", "queue-image", "image").stdout
    assert out.startswith("Queued image image for caching\nCompleted in 0.")
    folder.wait_cached("image")
    assert "Deleted 1 cached images\n" in manage(api, "-vf", "delete-all-cached-images").stdout


def test_mistakes(api):
    assert "\"x\" is not a valid command" in manage(api, "x", code=1).stdout
    assert "Please specify the ID" in manage(api, "-f", "queue-image", code=1).stdout
    assert "Image nobody not found." in manage(api, "-f", "queue-image", "nobody", code=1).stdout
    manage(api, code=2)
    manage(api, "--nonsense", code=2)
    for port in ("x", "0", "65536", "-1"):
        assert "1 to 65535" in manage(api, "list-cached", hosts=["-p", port], code=2).stderr
    assert "must have a name" in manage(api, "list-cached", hosts=["-H", ""], code=2).stderr
    assert "--help" in manage(api, "--nonsense", code=2).stderr
    out = manage(api, "list-cached", hosts=["-H", "127.0.0.1:1"], code=1).stdout
    assert "Failed to show cached images. Got error:" in out and "--host and --port say where" in out
    assert "list-cached" in manage(api, "help").stdout and "queue-image <IMAGE_ID>" in manage(api, "help", "queue-image").stdout
    assert "glance-cache-manage" in manage(api, "--version").stdout


def test_not_a_cache(origin):
    out = manage(None, "list-cached", hosts=["-H", origin.url.rstrip("/")], code=1).stdout
    assert "Cache management middleware not enabled on host" in out


def test_ours(folder, api, image):
    api.get("/images/image")
    folder.wait_cached("image")
    manage(api, "pin", "image")
    assert folder.xattr("image", "pinned") == "1"
    manage(api, "unpin", "image")
    assert folder.xattr("image", "pinned") == "0"
    assert "Pruned 0 images" in manage(api, "-fv", "prune").stdout
    manage(api, "-f", "clean")
    lines = manage(api, "status").stdout.splitlines()
    assert lines[1].split("|")[1].strip() == "Host" and lines[3].split("|")[4].strip() == "1"


def test_several_hosts(folder, api, image):
    hosts = ["-H", f"127.0.0.1:{api.port}", "-H", f"http://localhost:{api.port}/", "-H", "127.0.0.1:1"]
    done = manage(api, "-f", "queue-image", "image", hosts=hosts, code=1)
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and rows[1][3].strip() == rows[2][3].strip() == "Queued image image for caching"
    assert "connect" in rows[3][3].lower()
    folder.wait_cached("image")
    done = manage(api, "list-cached", hosts=hosts, code=1)
    assert "Found 2 cached images..." in done.stdout and "127.0.0.1:1: " in done.stderr
    assert manage(api, "list-cached", hosts=hosts[:4]).stdout.count("| image |") == 2


class Slow(http.server.ThreadingHTTPServer):
    """A cache without images that answers when three have asked, and a Keystone."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.three, self.tokens, self.asked = threading.Barrier(3, timeout=20 * PATIENCE), 0, []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


class Answers(http.server.BaseHTTPRequestHandler):
    def reply(self, status, document, **headers):
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tokens += 1
        self.reply(201, {}, **{"X-Subject-Token": "new"})

    def do_GET(self):
        token = self.headers["X-Auth-Token"]
        self.server.asked.append(token)
        self.server.three.wait()
        self.reply(*((200, {"cached_images": []}) if token == "new" else (401, {"error": {"message": "not valid"}})))

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("token, asked", [(None, ["new"] * 3), ("old", ["old"] * 3 + ["new"] * 3)])
def test_hosts_are_asked_at_once(token, asked):
    """With one token for all of them, and once more when one that was given is refused."""
    with Slow() as server:
        try:
            hosts = ["-H", f"127.0.0.1:{server.server_port}"] * 3
            environment = {"OS_AUTH_URL": f"http://127.0.0.1:{server.server_port}/v3", "OS_USERNAME": "me", "OS_PASSWORD": "secret"}
            done = manage(None, *(["-A", token] if token else []), "--json", "list-cached", hosts=hosts, environment=environment)
            assert [answer["ok"] for answer in json.loads(done.stdout)] == [True] * 3
            assert server.tokens == 1 and server.asked == asked
        finally:
            server.shutdown()


def test_json(folder, api, image):
    api.get("/images/image")
    folder.wait_cached("image")
    hosts = ["-H", f"127.0.0.1:{api.port}", "-H", "127.0.0.1:1"]
    good, bad = json.loads(manage(api, "--json", "list-cached", hosts=hosts, code=1).stdout)
    assert good["ok"] and good["result"]["cached_images"][0]["image_id"] == "image"
    assert not bad["ok"] and bad["error"] and bad["status"] == 0


def test_tokens(folder, make_api):
    from test_auth import secret
    folder.mount()
    api = make_api(folder, auth="token", admin_token_file=secret(folder, "admin", "admin-secret"),
                   reader_token_file=secret(folder, "reader", "reader-secret"))
    assert "needs a token" in manage(api, "list-cached", code=1).stdout
    assert manage(api, "list-cached", "-A", "reader-secret", code=1).stdout == "Not authorized to make this request.\n"
    assert manage(api, "list-cached", "--os-auth-token", "admin-secret").stdout == "No cached images.\n"
    assert manage(api, "list-cached", environment={"OS_AUTH_TOKEN": "admin-secret"}).stdout == "No cached images.\n"
