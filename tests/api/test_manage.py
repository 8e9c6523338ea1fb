# SPDX-License-Identifier: Apache-2.0
"""glance-cache-manage: tables, prompts, exit codes, several hosts."""
import http.server
import json
import os
import socket
import subprocess
import threading

import pytest

import contract
from harness import KIB, blob
from server import binary
from waiting import PATIENCE


def manage(api, *arguments, code=0, answer=None, hosts=None, environment=None):
    where = hosts if hosts is not None else ["--host", "127.0.0.1", "--port", str(api.port)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OS_") and k != "GLANCE_CACHE_HOSTS"}
    done = subprocess.run([binary("GCFS_MANAGE_BINARY", "tools", "manage", "glance-cache-manage"), *where, *arguments], input=answer or "",
                          capture_output=True, text=True, timeout=60 * PATIENCE, env={**clean, **(environment or {})}, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    if "--json" in arguments and done.stdout:
        contract.check("manage", json.loads(done.stdout))
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


def test_a_host_that_takes_no_connection(api):
    """Its queue is full: --timeout ends the wait, and the host has its row."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        while not waiting or waiting[-1].connect_ex(full.getsockname()) == 0:
            waiting.append(socket.socket())
            waiting[-1].settimeout(0.2)
        url = f"127.0.0.1:{full.getsockname()[1]}"
        done = manage(api, "--timeout", "1", "list-cached", code=1, hosts=["-H", url])
        for one in waiting:
            one.close()
    assert "Timeout" in done.stderr + done.stdout, done


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
    manage(api, code=1)
    manage(api, "--nonsense", code=1)
    for port in ("x", "0", "65536", "-1"):
        assert "1 to 65535" in manage(api, "list-cached", hosts=["-p", port], code=1).stderr
    assert "must have a name" in manage(api, "list-cached", hosts=["-H", ""], code=1).stderr
    assert "--help" in manage(api, "--nonsense", code=1).stderr
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
    done = manage(api, "-f", "queue-image", "image", hosts=hosts, code=2)
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and rows[1][3].strip() == rows[2][3].strip() == "Queued image image for caching"
    assert "connect" in rows[3][3].lower()
    folder.wait_cached("image")
    done = manage(api, "list-cached", hosts=hosts, code=2)
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
    good, bad = json.loads(manage(api, "--json", "list-cached", hosts=hosts, code=2).stdout)
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


# ---- fleets

def cells(text):
    """Tables of TEXT, a list of cells a line."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_status_of_each_host(folder, api, image):
    """Also of one that is down; below, why."""
    api.get("/images/image")
    folder.wait_cached("image")
    environment = {"GLANCE_CACHE_HOSTS": f"127.0.0.1:{api.port}, 127.0.0.1:1"}
    done = manage(api, "status", hosts=[], environment=environment, code=2)
    rows = cells(done.stdout)
    assert [(row[0], row[3], row[7]) for row in rows[1:]] == [(f"127.0.0.1:{api.port}", "1", "ok"), ("127.0.0.1:1", "-", "down"), ("all", "1", "1 of 2")]
    assert "127.0.0.1:1: Failed to connect" in done.stdout
    assert max(map(len, done.stdout.splitlines()[:7])) <= 100
    os.rename(folder.path("cached", "image"), folder.path("invalid", "image"))
    done = manage(api, "status")
    assert cells(done.stdout)[1][7] == "degraded" and f"127.0.0.1: 1 image failed" in done.stdout


def test_which_hosts_have_what(folder, api):
    for name in ("a", "b", "c", "bad"):
        folder.put(name, blob(100 * KIB, 1))
        if name != "b":
            api.get("/images/" + name)
            folder.wait_cached(name)
    os.rename(folder.path("cached", "bad"), folder.path("invalid", "bad"))
    hosts = ["-H", f"127.0.0.1:{api.port},127.0.0.1:1"]
    done = manage(api, "list-images", "--matrix", hosts=hosts, code=2)
    assert cells(done.stdout) == [["ID", "Size", "Cached on", "12"], ["a", "100 KiB", "1 of 2", "*?"], ["bad", "-", "0 of 2", "!?"],
                                  ["c", "100 KiB", "1 of 2", "*?"]]
    assert [row[0] for row in cells(manage(api, "list-images").stdout)] == ["ID", "a", "bad", "c"]
    assert [row[0] for row in cells(manage(api, "list-invalid").stdout)] == ["ID", "bad"]
    assert manage(api, "list-incomplete").stdout == "No incomplete images.\n"
    assert manage(api, "show-queue").stdout == "No queued images.\n"
    rows = cells(manage(api, "show", "a", "bad", "nobody").stdout)
    assert [(row[1], row[2]) for row in rows[1:]] == [("a", "cached"), ("bad", "failed"), ("nobody", "not here")]
    assert "specify the ID" in manage(api, "show", code=1).stdout


@pytest.mark.parametrize("text, names", [
    ("node-[1-3]:1", ["node-1:1", "node-2:1", "node-3:1"]), ("n[08-10,2]:1", ["n08:1", "n09:1", "n10:1", "n2:1"]),
    ("a:1,b:1", ["a:1", "b:1"]), ("r[1-2]n[1-2]:1", ["r1n1:1", "r1n2:1", "r2n1:1", "r2n2:1"]), ("[::1]:1", ["[::1]:1"]),
    ("@", ["x:1", "y-1:1", "y-2:1"])])
def test_names_of_hosts(tmp_path, text, names):
    (tmp_path / "hosts").write_text("x:1  # the first\n\n# none\ny-[1-2]:1\n")
    hosts = ["-H", f"@{tmp_path}/hosts" if text == "@" else text, "--timeout", "2"]
    done = manage(None, "--json", "status", hosts=hosts, code=1)
    assert [answer["host"] for answer in json.loads(done.stdout)] == names


@pytest.mark.parametrize("text", ["node-[5-1]", "node-[1-]", "@/nowhere", "@/dev/null", "n[1-99999]", "[-1]"])
def test_names_that_are_none(text):
    assert "argument -H/--host:" in manage(None, "status", hosts=["-H", text], code=1).stderr


def test_a_long_failure_fits_the_terminal(folder, api, image):
    """And stands below as a whole."""
    done = manage(api, "-f", "queue-image", "image", hosts=["-H", f"127.0.0.1:{api.port},127.0.0.1:1"], code=2)
    assert max(map(len, done.stdout.splitlines())) <= 80 and "--host and --port say where" in done.stderr


def test_a_token_from_a_file(folder, make_api, tmp_path):
    from test_auth import secret
    folder.mount()
    api = make_api(folder, auth="token", admin_token_file=secret(folder, "admin", "admin-secret"),
                   reader_token_file=secret(folder, "reader", "reader-secret"))
    (tmp_path / "token").write_text("admin-secret\n")
    assert manage(api, "list-cached", "--token-file", tmp_path / "token").stdout == "No cached images.\n"
    done = manage(api, "list-cached", "-A", "reader-secret", code=1)
    assert "may not manage" in done.stderr  # the server's own words, beside Glance's
    manage(api, "list-cached", "--token-file", tmp_path / "none", code=1)
