# SPDX-License-Identifier: Apache-2.0
"""Machines on one wire: network namespaces on a bridge, and nginx on one of them."""
import os
import subprocess

from waiting import wait_until

PORT = 8080


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)


class Wire:
    """A bridge in a namespace; add() makes a machine on it."""

    def __init__(self):
        self.prefix = f"gcfs{os.getpid()}"
        self.machines = []
        try:
            self.add_namespace("wire")
            self.run("wire", "ip", "link", "add", "name", "wire0", "type", "bridge")
            self.run("wire", "ip", "link", "set", "dev", "wire0", "up")
        except subprocess.CalledProcessError:
            self.close()
            raise

    def namespace(self, name):
        return f"{self.prefix}-{name}"

    def add_namespace(self, name):
        ip("netns", "add", self.namespace(name))
        self.machines.append(name)

    def inside(self, name):
        """What runs a command in there: its network only, so that mounts are seen by all."""
        return ["nsenter", f"--net=/run/netns/{self.namespace(name)}"]

    def run(self, name, *command):
        subprocess.run([*self.inside(name), *command], check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def add(self, name):
        """Returns its address."""
        number = len(self.machines)
        self.add_namespace(name)
        address = f"10.213.0.{number}"
        # Not by ip -n, which wants to change how mounts propagate, and cannot in a chroot.
        self.run(name, "ip", "link", "add", "name", "eth0", "type", "veth", "peer", "name", f"port{number}", "netns", self.namespace("wire"))
        self.run("wire", "ip", "link", "set", "dev", f"port{number}", "master", "wire0", "up")
        for link in ("lo", "eth0"):
            self.run(name, "ip", "link", "set", "dev", link, "up")
        self.run(name, "ip", "addr", "add", f"{address}/24", "dev", "eth0")
        return address

    def close(self):
        for name in self.machines:
            subprocess.run(["ip", "netns", "del", self.namespace(name)], check=False, capture_output=True)


class Server:
    """nginx on a machine of the wire, with an access log."""

    def __init__(self, wire, machine, address, root, locations):
        self.root, self.url = root, f"http://{address}:{PORT}/images/{{id}}"
        self.access = os.path.join(root, "access.log")
        conf = os.path.join(root, "nginx.conf")
        with open(conf, "w") as f:
            f.write(f"""
worker_processes 2; pid {root}/nginx.pid; error_log {root}/error.log; daemon off; user root;
events {{ worker_connections 1024; }}
http {{
  log_format bytes '$status $body_bytes_sent $request_uri'; access_log {self.access} bytes;
  sendfile on; aio threads; keepalive_requests 100000; default_type application/octet-stream;
  client_body_temp_path {root}; proxy_temp_path {root};
  server {{ listen {address}:{PORT} backlog=1024; {locations} }}
}}
""")
        with open(os.path.join(root, "stderr"), "ab") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *wire.inside(machine), "nginx", "-c", conf, "-p", root,
                                             "-e", os.path.join(root, "error.log")], stdout=log, stderr=log)
        wait_until(lambda: os.path.exists(os.path.join(root, "nginx.pid")), what="nginx to start")

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def sent(self, name):
        """Bytes of body of the answers that have ended."""
        lines = [line.split() for line in open(self.access)]
        return sum(int(n) for status, n, uri in lines if uri == f"/images/{name}" and status in ("200", "206"))
