# SPDX-License-Identifier: Apache-2.0
"""What a stranger does to glance-cache-api: each mistake is answered by one line that says what to do."""
import os
import shutil
import socket
import subprocess

import pytest

from harness import KIB, blob, for_everybody, new_root
from server import Api, binary
from waiting import PATIENCE, wait_until


def as_nobody(command):
    return ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", *command]


@pytest.fixture
def run():
    """run(*arguments): to its end, as nobody."""
    root = new_root()
    os.chmod(root, 0o755)
    program = for_everybody(binary("GCFS_API_BINARY", "tools", "api", "glance-cache-api"), root)

    def to_its_end(*arguments):
        return subprocess.run(as_nobody([program, *arguments]), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=30 * PATIENCE, check=False)
    yield to_its_end
    shutil.rmtree(root)


class Nobodys(Api):
    """A server that runs as nobody."""

    def says(self, words):
        """At its start, soon after it listens."""
        wait_until(lambda: words in self.logged(), what=f"the server to say: {words}")

    def command(self, *more):
        program, *arguments = super().command(*more)
        return as_nobody([for_everybody(program, self.cache.root), *arguments])


@pytest.fixture
def nobodys(folder, request):
    """nobodys(**options) → a running server of nobody's."""
    servers = []

    def make(**options):
        servers.append(Nobodys(folder, **options))
        return servers[-1].start()
    yield make
    for server in servers:
        server.close()


@pytest.mark.parametrize("arguments,words", [(["--nonsense"], ["--nonsense", "--help"]), (["x"], ["'x'", "--help"]),
                                             (["--config-file"], ["--config-file", "--help"])])
def test_command_line(run, arguments, words):
    done = run(*arguments)
    assert done.returncode == 1 and done.stdout == "" and all(w in done.stderr for w in words), done.stderr


def test_no_configuration(run):
    done = run("--config-file", "/nonexistent")
    assert done.returncode == 1 and "/nonexistent" in done.stderr and "glance-cache.conf(5)" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("options,words", [
    ({"mount": None}, ["no glance-cache-fs with the configuration", "--mount"]),
    ({"listen": "127.0.0.1"}, ["address:port"]), ({"listen": "nosuch.invalid:80"}, ["nosuch.invalid"]),
    ({"listen": "127.0.0.1:80"}, ["below 1024", "nginx"]),
    ({"listen": "192.0.2.77:9292", "auth": "token", "admin_token_file": "TOKEN"}, ["no such address"]),
    ({"auth": "token", "admin_token_file": "/nonexistent"}, ["/nonexistent", "does not start"]),
    ({"auth": "keystone"}, ["auth_url = https"]), ({"auth": "nonsense"}, ["none, token, keystone"]),
    ({"tls_cert_file": "TOKEN"}, ["tls_key_file", "PEM"])])
def test_configuration(folder, options, words):
    token = os.path.join(folder.root, "token")
    with open(token, "w") as f:
        f.write("secret\n")
    os.chown(token, 65534, -1)
    os.chmod(token, 0o600)
    done = Nobodys(folder, **{k: token if v == "TOKEN" else v for k, v in options.items()}).run()
    if "below 1024" in words and done.returncode != 1:
        pytest.skip("here a plain user may listen on port 80")
    lines = [line for line in done.stderr.splitlines() if " http: " not in line]  # the library's, with --debug
    assert done.returncode == 1 and len(lines) == 1 and all(w in lines[0] for w in words), done.stderr


def test_port_in_use(folder):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        done = Nobodys(folder, listen=f"127.0.0.1:{s.getsockname()[1]}").run()
    assert done.returncode == 1 and "another program listens there already" in done.stderr


def test_says_what_is_wrong_with_the_mount(folder, nobodys):
    """Which may come later; so the server starts, and says what clients get until then."""
    folder.put("image", blob(KIB, 1))
    nobodys().says("no cache is mounted at")
    folder.mount()
    api = nobodys()
    api.says("another user's: clients get 502 until it is mounted with -o allow_other")
    answer = api.get("/images/image")
    assert answer.status == 502 and " :" not in answer.message
    assert "cannot open image image: permission denied" in api.logged()


def test_finds_the_mount(folder, make_api):
    """Of its configuration, without being told."""
    folder.mount()
    api = make_api(folder, mount=None)
    assert api.get("/healthcheck").status == 200
    folder.unmount()  # which nothing of the server's holds up
    assert api.get("/healthcheck").status == 503


def test_says_when_it_may_not_manage(folder, nobodys):
    folder.put("image", blob(KIB, 1))
    folder.write_conf({"image_cache_dir": folder.dir, **folder.DEFAULTS, "user": "daemon"}, {"type": "file", "path": folder.folder})
    folder.mount("-o", "allow_other")
    api = nobodys()
    api.says("not manage it: run as the user who owns the folders there")
    assert api.get("/images/image").status == 200
    folder.wait_cached("image")
    for method, path in (("PUT", "/v2/cache/image"), ("DELETE", "/v2/cache/image"), ("DELETE", "/v2/cache")):
        answer = api.ask(method, path)
        assert answer.status == 502 and "does not let this server change anything" in answer.message and " :" not in answer.message
    assert "run this server as the user who owns the folders" in api.logged()


def test_says_nothing_when_all_is_well(folder, nobodys):
    folder.write_conf({"image_cache_dir": folder.dir, **folder.DEFAULTS, "user": "nobody"}, {"type": "file", "path": folder.folder})
    folder.mount("-o", "allow_other")
    api = nobodys()
    api.close()
    assert api.logged().splitlines() == [f"glance-cache-api: listening on {api.options['listen']}", "glance-cache-api: ending"]


def test_a_plain_folder_is_no_cache(folder, make_api):
    """With the names of a cache below it, where the cache is not mounted: nothing is given from it, and nothing in it is changed."""
    for name in ("images", "cached", "queued", "incomplete", "invalid"):
        os.mkdir(os.path.join(folder.mnt, name))
        with open(os.path.join(folder.mnt, name, "image"), "w") as f:
            f.write("{}")
    with open(os.path.join(folder.mnt, ".status"), "w") as f:
        f.write('{"space": {"used": 100, "limit": 1}}')
    api = make_api(folder)
    before = sorted((path, sorted(files)) for path, _, files in os.walk(folder.mnt))
    for method, path in (("GET", "/images/image"), ("HEAD", "/images/image"), ("GET", "/images/other"), ("GET", "/v2/images"), ("GET", "/v2/cache"),
                         ("GET", "/status"), ("GET", "/healthcheck"), ("GET", "/v2/cache/image"), ("PUT", "/v2/cache/other"),
                         ("DELETE", "/v2/cache/image"), ("DELETE", "/v2/cache"), ("DELETE", "/v2/cache/image/invalid"),
                         ("DELETE", "/v2/cache/image/incomplete"), ("PUT", "/v2/cache/image/pin"), ("POST", "/v2/cache/prune"),
                         ("POST", "/v2/cache/clean"), ("DELETE", "/v2/cached_images"), ("PUT", "/v2/queued_images/other"),
                         ("DELETE", "/v2/queued_images/image")):
        assert api.ask(method, path).status == 503, (method, path)
    assert sorted((path, sorted(files)) for path, _, files in os.walk(folder.mnt)) == before
    assert "glance_cache_up 0" in api.get("/metrics").body.decode()


def test_what_lies_below_the_mount(folder, make_api):
    """A copy of a cache at the mount point shows when the cache is unmounted, also to a server that knows the cache."""
    folder.put("image", b"of the cache")
    os.mkdir(os.path.join(folder.mnt, "images"))
    os.mkdir(os.path.join(folder.mnt, "cached"))
    for name in ("images", "cached"):
        with open(os.path.join(folder.mnt, name, "image"), "w") as f:
            f.write("of the folder")
    folder.mount()
    api = make_api(folder)
    assert api.get("/images/image").body == b"of the cache"
    folder.unmount()
    for method, path in (("GET", "/images/image"), ("DELETE", "/v2/cache/image")):
        assert api.ask(method, path).status == 503
    assert os.listdir(os.path.join(folder.mnt, "cached")) == ["image"]


def test_a_cache_that_is_not_mounted_is_said_once(folder, make_api):
    """A restart under load would be a flood of lines."""
    folder.mount()
    api = make_api(folder)
    api.debug = False
    folder.unmount()
    for path in ("/images/x", "/v2/cache", "/v2/images/y/file", "/healthcheck") * 5:
        assert api.get(path).status == 503
    assert api.logged().count("no cache is mounted at") == 1
    folder.mount()
    assert api.get("/healthcheck").status == 200
