# SPDX-License-Identifier: Apache-2.0
"""Readers: processes that make the calls on the mount, so that a call that never comes back, or that a signal ends, takes only its own
process with it. They are forked from a server that has one thread; each does one call at a time, in the order it is told.

A message is one line of JSON; an answer with bytes has their number in "bytes", and they follow."""
import ctypes
import errno
import json
import mmap
import os
import select
import signal
import socket
import sys
import time
import traceback

OTHER_USER = 1099  # of nobody else
STEP = 1 << 20


def send(connection, message, data=b""):
    message["bytes"] = len(data)
    connection.sendall(json.dumps(message).encode() + b"\n" + data)


# ---- what a reader does

class Calls:
    """One method a call; each gives (message, bytes). An OSError is an answer, too."""

    def __init__(self, connection):
        self.connection, self.handles, self.running = connection, {}, None
        self.sizes = {}  # as they were opened: fstat(2) asks about the name's row, which may be another version's by now

    def open(self, handle, path, direct=False):
        self.close(handle)
        self.handles[handle] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_DIRECT if direct else 0))
        self.sizes[handle] = os.fstat(self.handles[handle]).st_size
        return {"size": self.sizes[handle]}, b""

    def close(self, handle):
        fd = self.handles.pop(handle, None)
        if fd is not None:
            os.close(fd)
        return {}, b""

    def close_all(self):
        for handle in list(self.handles):
            self.close(handle)
        return {}, b""

    def _piece(self, handle, offset, length, direct=False):
        if not direct:
            return os.pread(self.handles[handle], length, offset)
        with mmap.mmap(-1, length) as room:
            n = os.preadv(self.handles[handle], [room], offset)
            return room[:n]

    def read(self, handle, offset, length, direct=False):
        """Goes on where a call was short, to the end or to an error."""
        parts, code, end = [], 0, offset + length
        while offset < end:
            try:
                part = self._piece(handle, offset, min(STEP, end - offset), direct)
            except OSError as e:
                code = e.errno
                break
            if not part:
                break
            parts.append(part)
            offset += len(part)
            if direct and offset % 4096:
                break  # the end: there is no aligned call behind it
        return {"errno": code}, b"".join(parts)

    def stream(self, handle, step, pause, direct=False):
        """From the start to the end, or to an error, in calls of STEP bytes; an answer for each."""
        offset, code = 0, 0
        while True:
            try:
                part = self._piece(handle, offset, step, direct)
            except OSError as e:
                code = e.errno
                break
            if not part:
                break
            send(self.connection, {"id": self.running, "part": offset}, part)
            offset += len(part)
            if direct and offset % 4096:
                break
            if pause:
                time.sleep(pause)
        return {"errno": code, "end": offset}, b""

    def islands(self, handle, step):
        """What can be read of the whole, in pieces of STEP bytes."""
        size, pieces, parts = self.sizes[handle], [], []
        for offset in range(0, size, step):
            try:
                part = os.pread(self.handles[handle], step, offset)
            except OSError:
                continue
            pieces.append((offset, len(part)))
            parts.append(part)
        return {"pieces": pieces}, b"".join(parts)

    def map(self, handle, offset, length):
        """By mmap(2). What cannot be had is SIGBUS: the reader ends by it."""
        size = self.sizes[handle]
        offset -= offset % mmap.ALLOCATIONGRANULARITY
        length = min(length, size - offset)
        if length <= 0:
            return {"errno": 0, "offset": offset}, b""
        with mmap.mmap(self.handles[handle], length, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset) as view:
            return {"errno": 0, "offset": offset}, view[:]

    def stat(self, path):
        return {"size": os.stat(path).st_size}, b""

    def ls(self, path):
        return {"names": sorted(os.listdir(path))}, b""

    def text(self, path):
        fd = os.open(path, os.O_RDONLY)
        try:
            return {}, os.read(fd, 1 << 20)
        finally:
            os.close(fd)

    def touch(self, path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
        return {}, b""

    def rm(self, path):
        os.unlink(path)
        return {}, b""

    def mv(self, path, to):
        os.rename(path, to)
        return {}, b""

    def pin(self, path, on):
        os.setxattr(path, "user.glance.pinned", b"1" if on else b"0")
        return {}, b""

    def xattr(self, path, key):
        return {"value": os.getxattr(path, key).decode(errors="replace")}, b""


def serve(connection, user):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    calls = Calls(connection)
    for line in connection.makefile("rb"):
        message = json.loads(line)
        calls.running, name = message.pop("id"), message.pop("call")
        try:
            answer, data = getattr(calls, name)(**message)
        except OSError as e:
            answer, data = {"errno": e.errno}, b""
        except KeyError:
            answer, data = {"errno": errno.EBADF, "lost": True}, b""  # the handle was never opened
        send(connection, {"errno": 0, **answer, "id": calls.running, "done": True}, data)


# ---- the server

def fork_server(control):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    while True:
        message, fds, _, _ = socket.recv_fds(control, 64, 1)
        if not message:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            try:
                control.close()
                serve(socket.socket(fileno=fds[0]), int(message))
            except (BrokenPipeError, ConnectionResetError):
                pass
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        os.close(fds[0])
        control.sendall(b"%d\n" % pid)


class Server:
    """Made before the process has a second thread."""

    def __init__(self):
        self.control, there = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self.control.close()
            fork_server(there)
        there.close()

    def agent(self, user=0):
        here, there = socket.socketpair()
        socket.send_fds(self.control, [b"%d" % user], [there.fileno()])
        there.close()
        pid = int(self.control.makefile("r").readline())
        return Agent(pid, here, user)

    def close(self):
        self.control.close()
        os.waitpid(self.pid, 0)


class Agent:
    def __init__(self, pid, connection, user):
        self.pid, self.connection, self.user = pid, connection, user
        self.buffer = bytearray()
        self.queue = []  # (message, what to do with its answers); the first is under way
        self.since = 0.0  # when it was last heard of with something under way
        self.number = 0
        self.doomed = False  # a signal was sent that nothing survives

    def submit(self, done, call, **what):
        self.queue.append(({"call": call, **what}, done))
        if len(self.queue) == 1:
            self._next()

    def _next(self):
        self.number += 1
        self.since = time.monotonic()
        message = {**self.queue[0][0], "id": self.number}
        try:
            self.connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass  # it is gone; receive() will tell

    def receive(self):
        """The next bytes of the connection. False: the process is gone."""
        try:
            data = self.connection.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            return False
        self.buffer += data
        self.since = time.monotonic()
        while (end := self.buffer.find(b"\n")) >= 0:
            message = json.loads(self.buffer[:end])
            if len(self.buffer) < end + 1 + message["bytes"]:
                break
            payload = bytes(self.buffer[end + 1:end + 1 + message["bytes"]])
            del self.buffer[:end + 1 + message["bytes"]]
            call, done = self.queue[0]
            if message.get("done"):
                self.queue.pop(0)
                if self.queue:
                    self._next()
            done(call, message, payload)
        return True

    def state(self):
        """The letter of ps; "" when it is gone."""
        try:
            return open(f"/proc/{self.pid}/stat").read().rpartition(")")[2].split()[0]
        except OSError:
            return ""

    def kill(self):
        self.doomed = True
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def wait_any(agents, timeout):
    """Those of AGENTS that have something to say."""
    waiting = {a.connection: a for a in agents}
    return [waiting[c] for c in select.select(list(waiting), [], [], timeout)[0]]


if __name__ == "__main__":
    sys.exit("this is a part of tests/model/run")
