# SPDX-License-Identifier: Apache-2.0
"""Keystone and Glance, as far as glance-cache-api asks them: one server on loopback."""
import datetime
import http.server
import json
import threading
import urllib.parse


class OpenStack:
    def __init__(self):
        self.tokens = {}  # token → (role, seconds to live)
        self.images = {}  # id → (status, tokens that see it)
        self.downloaders = None  # tokens that may download; None: who sees an image
        self.documents = {}  # id → what is in its record beside id and status
        self.file_status = None  # of all answers to …/file, or a function of the Range header
        self.asked = []  # paths
        self.requests = []  # (path, headers)
        self.broken = False
        self.gone = False
        self.catalog = []
        self.people = {}  # token → (user, project, roles), where it is not a user of its own with the one role
        self.hold = None  # an event that answers to …/file and validations wait for
        self.under_way = self.most = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def parse_request(self):
                self.close_connection = True
                return not outer.gone and super().parse_request()

            def do_GET(self):
                with outer.lock:
                    outer.asked.append(self.path)
                    outer.requests.append((self.path, self.headers))
                    outer.under_way += 1
                    outer.most = max(outer.most, outer.under_way)
                if outer.hold:
                    outer.hold.wait()
                status, document, *more = outer.answer(self.path, self.headers)
                body = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                for name, value in (more[0] if more else {}).items():
                    self.send_header(name, value)
                self.end_headers()
                with outer.lock:
                    outer.under_way -= 1
                try:
                    self.wfile.write(body if status != 204 else b"")
                except OSError:
                    self.close_connection = True

            def do_change(self):
                """Any change is granted; what it does is the test's to say."""
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                with outer.lock:
                    outer.asked.append(f"{self.command} {self.path}")
                status = 500 if outer.broken else 204
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()

            do_PATCH = do_DELETE = do_POST = do_PUT = do_change

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, request, address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def leave(self):
        """As one that was killed."""
        self.gone = True
        self.server.shutdown()
        self.server.socket.close()

    def close(self):
        if self.gone:
            return
        if self.hold:
            self.hold.set()
        self.server.shutdown()
        self.server.server_close()

    def count(self, part):
        with self.lock:
            return sum(part in path for path in self.asked)

    def alive(self, token):
        return token in self.tokens and self.tokens[token][1] > 0

    def answer(self, path, headers):
        token, service = headers["X-Auth-Token"], headers["X-Service-Token"]
        path, _, query = path.partition("?")
        if self.broken:
            return 500, {}
        if path == "/v3/auth/tokens":
            return self.validate(token, headers["X-Subject-Token"], "allow_expired=1" in query)
        if not (self.alive(token) or (token in self.tokens and service and self.alive(service))):
            return 401, {"error": {"code": 401}}
        ident = urllib.parse.unquote(path[len("/v2/images/"):].removesuffix("/file"))
        status, seers = self.images.get(ident, (None, ()))
        if path.startswith("/v2/schemas/"):
            return 200, {"name": path}
        if path == "/v2/images":
            return 200, {"images": [{"id": i} for i, (_, seers) in self.images.items() if token in seers], "query": query}
        if not path.startswith("/v2/images/"):
            return 404, {}
        if token not in seers:
            return 404, {}
        return self.file(token, status, headers["Range"]) if path.endswith("/file") else (
            200, {"id": ident, "status": status, **self.documents.get(ident, {})})

    def validate(self, token, subject, expired_too):
        role, _ = self.tokens.get(token, (None, 0))
        if not self.alive(token) or (subject != token and role not in ("admin", "service")):
            return 401, {"error": {"code": 401}}
        if subject not in self.tokens or not (self.alive(subject) or expired_too):
            return 404, {"error": {"code": 404}}
        role, seconds = self.tokens[subject]
        user, project, roles = self.people.get(subject, (subject.title(), "project", [role]))
        ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        return 200, {"token": {"catalog": self.catalog, "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%S.000000Z"), "roles": [{"name": r} for r in roles],
                               "user": {"id": user + "-id", "name": user}, "project": {"id": "p-id" if project == "project" else project, "name": project}}}

    def file(self, token, status, asked_range):
        if status == "queued":
            return 204, {}
        if (status == "deactivated" and self.tokens[token][0] != "admin") or token not in (self.downloaders or {token}):
            return 403, b"You are not authorized to complete download_image action."
        forced = self.file_status(asked_range) if callable(self.file_status) else self.file_status
        if forced == 200:
            return 200, bytes(4 << 20)  # all of it, ranges being unknown
        if forced:
            return forced, {}
        if asked_range == "bytes=0-0":
            return 206, b"x", {"Content-Range": "bytes 0-0/100"}
        return 416, {}
