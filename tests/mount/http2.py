# SPDX-License-Identifier: Apache-2.0
"""The origins of the tests over HTTPS and HTTP/2, as nearly every public server of images is.

Http2Origin  an Origin behind an nginx that speaks HTTP/2 to the cache and passes on what comes as it comes, faults included.
Http2Nginx   nginx over a folder.
"""
import functools
import os
import re
import shutil
import socket
import subprocess
import tempfile

from origin import Nginx, Origin
from waiting import wait_until


@functools.cache
def certificate():
    """A folder with ca.pem and ca.key for 127.0.0.1, for as long as the tests run."""
    folder = tempfile.mkdtemp(prefix="gcfs-ca.", dir=os.environ.get("GCFS_TEST_TMP"))
    os.chmod(folder, 0o755)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-keyout", folder + "/ca.key", "-out", folder + "/ca.pem", "-subj", "/CN=127.0.0.1",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    os.chmod(folder + "/ca.pem", 0o644)
    return folder


def remove_certificate():
    if certificate.cache_info().currsize:
        shutil.rmtree(certificate(), ignore_errors=True)


@functools.cache
def speaks_http2():
    done = subprocess.run(["nginx", "-V"], stderr=subprocess.PIPE, text=True, check=False) if shutil.which("nginx") else None
    return done is not None and "http_v2_module" in done.stderr


def tls_lines(folder, port, extra):
    """Of a server block; "http2 on" is of nginx 1.25.1 and later, which calls the older way deprecated and still takes it."""
    return (f"listen 127.0.0.1:{port} ssl http2 backlog=1024; ssl_certificate {folder}/ca.pem; "
            f"ssl_certificate_key {folder}/ca.key; ssl_protocols TLSv1.2 TLSv1.3; {extra}")


class Http2Origin(Origin):
    """EXTRA: of nginx's server block."""

    def __init__(self, extra="", **options):
        self.front = None
        self.extra = extra
        self.folder = tempfile.mkdtemp(prefix="front.", dir=os.environ.get("GCFS_TEST_TMP"))
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.front_port = s.getsockname()[1]
        super().__init__(**options)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.front_port}{self.prefix}{{id}}"

    @property
    def access(self):
        """(protocol, status) of each answer that ended."""
        try:
            return [tuple(line.split()) for line in open(self.folder + "/access.log", encoding="latin-1")]
        except FileNotFoundError:
            return []

    def config(self, **more):
        return {**super().config(), "ca_file": certificate() + "/ca.pem", **more}

    def start(self):
        super().start()
        with open(self.folder + "/nginx.conf", "w") as f:
            f.write(f"""
worker_processes 1; pid {self.folder}/nginx.pid; error_log {self.folder}/error.log; daemon off; user root;
events {{ worker_connections 2048; }}
http {{
  log_format line '$server_protocol $status'; access_log {self.folder}/access.log line;
  client_body_temp_path {self.folder}/t1; proxy_temp_path {self.folder}/t2; fastcgi_temp_path {self.folder}/t3;
  uwsgi_temp_path {self.folder}/t4; scgi_temp_path {self.folder}/t5;
  merge_slashes off; keepalive_requests 100000; server_tokens off; large_client_header_buffers 8 64k;
  server {{
    {tls_lines(certificate(), self.front_port, self.extra)}
    location / {{
      proxy_pass http://127.0.0.1:{self.port}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 1h; proxy_send_timeout 1h; proxy_next_upstream off;
      proxy_buffer_size 64k; proxy_buffers 4 64k; proxy_pass_header Server; proxy_pass_header Date;
    }}
  }}
}}
""")
        with open(self.folder + "/stderr", "ab") as log:
            self.front = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "nginx", "-c", self.folder + "/nginx.conf", "-p",
                                           self.folder, "-e", self.folder + "/error.log"], stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log)
        wait_until(self._front_listens, what="nginx to listen")

    def _front_listens(self):
        if self.front.poll() is not None:
            raise RuntimeError("nginx did not start: " + open(self.folder + "/error.log").read()[-2000:])
        try:
            socket.create_connection(("127.0.0.1", self.front_port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.front is not None:
            self.front.terminate()  # at once, with the connections it has
            self.front.wait()
            self.front = None
        super().stop()

    def close(self):
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Http2Nginx(Nginx):
    """TLS_EXTRA: of the server block."""

    def __init__(self, tls_extra="", **options):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.tls_port = s.getsockname()[1]
        self.tls_extra = tls_extra
        super().__init__(**options)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.tls_port}/img/{{id}}"

    def config(self, **more):
        return {**super().config(), "ca_file": certificate() + "/ca.pem", **more}

    def write_conf(self):
        path = super().write_conf()
        with open(path) as f:
            text = f.read()
        line = re.search(r"listen 127\.0\.0\.1:\d+ backlog=1024;", text)[0]
        with open(path, "w") as f:
            f.write(text.replace(line, line + "\n    " + tls_lines(certificate(), self.tls_port, self.tls_extra)))
        return path
