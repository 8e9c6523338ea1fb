# SPDX-License-Identifier: Apache-2.0
"""Listings and checksum files of web servers as they are: real ones where they are installed, pages as others make them."""
import hashlib
import os
import shutil
import socket
import subprocess
import sys

import pytest

from harness import MIB, blob, same, sha
from waiting import wait_until

CONTENT = blob(MIB + 5, 51)
NAMES = ["a+b.img", "k & l.img", "käse.img", "with space.img", "vm.raw"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def nginx(folder, root, port):
    with open(f"{root}/nginx.conf", "w") as f:
        f.write(f"daemon off; pid {root}/nginx.pid; error_log stderr; events {{}}\nhttp {{ access_log off; client_body_temp_path {root}/t1; "
                f"proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3; uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;\n"
                f"server {{ listen 127.0.0.1:{port}; root {folder}; autoindex on; }} }}\n")
    return ["nginx", "-c", f"{root}/nginx.conf"]


def apache2(folder, root, port):
    modules = "/usr/lib/apache2/modules"
    loaded = "".join(f"LoadModule {n}_module {modules}/mod_{n}.so\n" for n in ("mpm_event", "authz_core", "dir", "autoindex", "mime"))
    with open(f"{root}/apache.conf", "w") as f:
        f.write(f"ServerRoot {root}\nServerName localhost\nPidFile {root}/apache.pid\nListen 127.0.0.1:{port}\nErrorLog {root}/apache.log\n{loaded}"
                f"TypesConfig /dev/null\nDocumentRoot {folder}\n<Directory {folder}>\nOptions Indexes\nRequire all granted\n"
                "IndexOptions FancyIndexing HTMLTable\n</Directory>\n")
    return ["apache2", "-DFOREGROUND", "-f", f"{root}/apache.conf"]


def lighttpd(folder, root, port):
    """It tells neither etag nor date of files whose type it does not know."""
    with open(f"{root}/lighttpd.conf", "w") as f:
        f.write(f'server.modules = ("mod_dirlisting")\nserver.document-root = "{folder}"\nserver.port = {port}\nserver.bind = "127.0.0.1"\n'
                'dir-listing.activate = "enable"\nserver.stat-cache-engine = "disable"\nmimetype.assign = ("" => "application/x-raw-disk-image")\n')
    return ["lighttpd", "-D", "-f", f"{root}/lighttpd.conf"]


def python(folder, root, port):
    return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", folder, str(port)]


def darkhttpd(folder, root, port):
    return ["darkhttpd", folder, "--addr", "127.0.0.1", "--port", str(port)]


def caddy(folder, root, port):
    with open(f"{root}/Caddyfile", "w") as f:
        f.write(f"{{\nadmin off\nauto_https off\nstorage file_system {root}/data\n}}\nhttp://127.0.0.1:{port} {{\nroot * {folder}\nfile_server browse\n}}\n")
    return ["caddy", "run", "--config", f"{root}/Caddyfile", "--adapter", "caddyfile"]


def webfsd(folder, root, port):
    return ["webfsd", "-F", "-i", "127.0.0.1", "-p", str(port), "-r", folder]


def mini_httpd(folder, root, port):
    return ["mini_httpd", "-D", "-h", "127.0.0.1", "-p", str(port), "-d", folder, "-i", f"{root}/pid", "-u", "root"]


class Started:
    """COMMAND, a server that listens on PORT; the test is skipped where it is not installed."""

    def __init__(self, command, port):
        path = os.environ["PATH"] + ":/usr/sbin"
        if shutil.which(command[0], path=path) is None:
            pytest.skip(f"{command[0]} is not installed")
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, env={**os.environ, "PATH": path})
        try:
            wait_until(lambda: self.process.poll() is not None or self.listens(port), what="the server to listen")
            assert self.process.poll() is None, "it ended"
        except BaseException:
            self.end()
            raise

    @staticmethod
    def listens(port):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    def end(self):
        self.process.terminate()
        self.process.wait()


@pytest.mark.parametrize("server", [nginx, apache2, lighttpd, python, darkhttpd, caddy, webfsd, mini_httpd], ids=lambda f: f.__name__)
def test_a_real_server(cache, server):
    folder, root = os.path.join(cache.root, "www"), os.path.join(cache.root, "server")
    os.mkdir(folder, 0o755)
    os.mkdir(root, 0o755)
    port = free_port()
    started = Started(server(folder, root, port), port)
    for name in NAMES:
        with open(os.path.join(folder, name), "wb") as f:
            f.write(CONTENT)
    if server is not mini_httpd:  # whose pages have it as any other name
        os.mkdir(os.path.join(folder, "folder"))
    with open(os.path.join(folder, "CHECKSUM"), "w") as f:
        f.writelines(f"SHA256 ({name}) = {sha(CONTENT)}\n" for name in NAMES)
    try:
        cache.configure({"type": "http", "url": f"http://127.0.0.1:{port}/{{id}}", "checksums": "CHECKSUM"}).mount()
        assert cache.ls("images") == sorted(NAMES)
        for name in NAMES:
            same(cache.read(name), CONTENT)
            cache.wait_cached(name)
            assert cache.xattr(name, "os_hash_value") == sha(CONTENT)
    finally:
        started.end()


PAGES = {
    "IIS": '<pre><A HREF="/">[To Parent Directory]</A><br><br> 1/1/2024  1:00 AM  100000 <A HREF="/img/vm.raw">vm.raw</A><br></pre>',
    "h5ai": '<table><tr><td><a href="..">Parent</a><tr><td class="fb-n"><a href="/img/vm.raw">vm.raw</a><td>1 MB</table>',
    "Nexus": '<a href="../">Parent</a><table><tr><td><a href="{origin}/img/vm.raw">vm.raw</a></td></tr>'
             '<tr><td><a href="http://elsewhere.test/img/no.raw">no.raw</a></td></tr></table>',
    "Jetty": '<table class="listing"><thead><tr><th><a href="/img/?C=N&amp;O=D">Name</a></th></tr></thead>'
             '<tr><td class="name"><a href="{origin}/img/vm.raw">vm.raw&nbsp;</a></td></tr></table>',
    "Artifactory": '<a href="../">../</a>\n<a href="vm.raw">vm.raw</a>   01-Jan-2024 10:00  1.00 MB\n',
}


@pytest.mark.parametrize("kind", PAGES)
def test_a_page(cache, origin, kind):
    origin.put("vm.raw", CONTENT)
    base = origin.url.removesuffix("/img/{id}")
    origin.listing = lambda: ("text/html", f"<html><body>{PAGES[kind].replace('{origin}', base)}</body></html>".encode())
    cache.configure(origin.config(checksums="none")).mount()
    assert cache.ls("images") == ["vm.raw"]
    same(cache.read("vm.raw"), CONTENT)


SIGNED = ("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# vm.raw: {size} bytes\nSHA256 (vm.raw) = {digest}\n"
          "-----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCAAdFiEE\n-----END PGP SIGNATURE-----\n")
SUMS = {"CHECKSUM": SIGNED, "Fedora-41-CHECKSUM": SIGNED, "vm.raw.CHECKSUM": "SHA256 (vm.raw) = {digest}\n",
        "vm.raw.sha256": "{digest}  vm.raw\n", "sha256sum.txt": "{digest} *vm.raw\n", "checksums.txt": "{digest}  vm.raw\n"}


@pytest.mark.parametrize("name", SUMS)
def test_a_checksum_file(cache, origin, name):
    origin.put("vm.raw", CONTENT)
    origin.put(name, SUMS[name].format(size=len(CONTENT), digest=hashlib.sha256(CONTENT).hexdigest()).encode())
    cache.configure(origin.config(checksums=name)).mount()
    same(cache.read("vm.raw"), CONTENT)
    cache.wait_cached("vm.raw")
    assert cache.xattr("vm.raw", "os_hash_value") == sha(CONTENT)
    assert cache.ls("images") == ["vm.raw"]
