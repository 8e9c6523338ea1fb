# SPDX-License-Identifier: Apache-2.0
"""A proxy that does CONNECT, as https goes through one, and remembers whom it was asked for and by whom."""
import base64
import socket
import socketserver
import threading


def pump(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Tunnel:
    """Every CONNECT is led to SERVER, (host, port), whatever host it names; only with USER, "name:password", if that is set."""

    def __init__(self, server, user=None):
        self.asked = []
        self.refused = 0
        tunnel = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                method, target, _ = self.rfile.readline().decode().split()
                headers = {}
                while line := self.rfile.readline().decode().strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                wanted = user and "Basic " + base64.b64encode(user.encode()).decode()
                if wanted and headers.get("proxy-authorization") != wanted:
                    tunnel.refused += 1
                    self.wfile.write(b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
                    return
                tunnel.asked.append((method, target))
                with socket.create_connection(server) as far:
                    self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                    back = threading.Thread(target=pump, args=(far, self.connection), daemon=True)
                    back.start()
                    pump(self.connection, far)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
