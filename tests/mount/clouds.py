# SPDX-License-Identifier: Apache-2.0
"""Object stores on loopback that answer as those do which people have: each test says what is special about its one."""
import hashlib
import http.server
import threading
import types
import urllib.parse
import xml.sax.saxutils


def fault(code, message="", **elements):
    """A refusal of S3."""
    more = "".join(f"<{name}>{value}</{name}>" for name, value in elements.items())
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>".encode()


class Store:
    """Objects by path, of one bucket or container. `rules` are asked first: each takes a request and gives None or (status, body, headers)."""

    def __init__(self, address="127.0.0.1"):
        self.objects, self.rules, self.log = {}, [], []
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def say(self, status, body=b"", **headers):
                self.send_response_only(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def send_object(self, content):
                etag = f'"{hashlib.md5(content).hexdigest()}"'
                span = self.headers.get("Range")
                if span is None:
                    return self.say(200, content, ETag=etag)
                first, last = span[len("bytes="):].split("-")
                last = min(int(last or len(content) - 1), len(content) - 1)
                return self.say(206, content[int(first):last + 1], ETag=etag, Content_Range=f"bytes {first}-{last}/{len(content)}")

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                self.key = urllib.parse.unquote(url.path)
                request = types.SimpleNamespace(method=self.command, key=self.key, headers=self.headers,
                                                query=dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True)))
                store.log.append(request)
                for rule in store.rules:
                    answer = rule(request)
                    if answer is not None:
                        return self.say(answer[0], answer[1], **(answer[2] if len(answer) > 2 else {}))
                if self.key in store.objects:
                    return self.send_object(store.objects[self.key])
                return self.say(404, fault("NoSuchKey"), Content_Type="application/xml")

            do_HEAD = do_PUT = do_GET

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Server((address, 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def s3(self, bucket="b", host="127.0.0.1", **more):
        return {"type": "s3", "endpoint": f"http://{host}:{self.port}", "bucket": bucket, "addressing": "path", "checksums": "none", **more}

    def asked(self, **wanted):
        """The requests whose attributes are as wanted."""
        return [r for r in list(self.log) if all(getattr(r, name) == value for name, value in wanted.items())]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def listing(keys, encoded=False, late=False, more="", folders=()):
    """ListBucketResult. encoded: as encoding-type=url asks for it; late: which is said behind the keys."""
    def text(key):
        return urllib.parse.quote_plus(key, safe="/") if encoded else xml.sax.saxutils.escape(key)

    told = "<EncodingType>url</EncodingType>" if encoded else ""
    truncated = "true" if more else "false"
    return ("<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>" + ("" if late else told) + f"<IsTruncated>{truncated}</IsTruncated>"
            + "".join(f"<Contents><Key>{text(k)}</Key><Size>5</Size></Contents>" for k in keys)
            + "".join(f"<CommonPrefixes><Prefix>{text(k)}</Prefix></CommonPrefixes>" for k in folders)
            + (more if more != "-" else "") + (told if late else "") + "</ListBucketResult>").encode()


XML = {"Content_Type": "application/xml"}
