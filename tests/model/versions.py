# SPDX-License-Identifier: Apache-2.0
"""The model: which versions of each image the origin ever offered, and what a handle may see of them. Pure."""
import errno
import hashlib
import random

POOL_SIZE = 96 << 20
PAGE = 4096
_pool = None


def pool():
    """Random bytes; a version is a piece of them, and no two pieces that begin at different places have an equal page at the same offset."""
    global _pool
    if _pool is None:
        _pool = random.Random(20).randbytes(POOL_SIZE)
    return _pool


class Failure(AssertionError):
    """CHECK: the name of what does not hold, the same for the same fault."""

    def __init__(self, check, detail):
        super().__init__(f"{check}: {detail}")
        self.check, self.detail = check, detail


class Version:
    """DIGEST: "none" or "right": what is published of it is none or right; "wrong": every digest ever published of it is a wrong one."""

    def __init__(self, number, size, at, digest="none"):
        self.number, self.size, self.at, self.digest = number, size, at, digest
        self._content = None

    @property
    def content(self):
        if self._content is None:
            self._content = memoryview(pool())[self.at:self.at + self.size]
        return self._content

    def sha256(self):
        return hashlib.sha256(self.content).hexdigest()

    def has(self, offset, data):
        return self.content[offset:offset + len(data)] == data

    def __repr__(self):
        return f"version {self.number} ({self.size} bytes)"


class Handle:
    def __init__(self, image, view):
        self.image, self.view = image, view
        self.candidates = None  # versions that agree with all it read
        self.prefix = 0  # bytes read from the start without a gap
        self.readings = 0


def first_difference(content, offset, data):
    for at in range(0, len(data), PAGE):
        piece = data[at:at + PAGE]
        if content[offset + at:offset + at + len(piece)] != piece:
            return offset + at
    return None


class Model:
    def __init__(self):
        self.images = {}  # name: its versions, the newest last
        self.excused = {}  # name, or None for all: why an error is no wonder

    # ---- what the origin does

    def publish(self, name, size, at, digest="none"):
        versions = self.images.setdefault(name, [])
        versions.append(Version(len(versions) + 1, size, at, digest))
        if len(versions) > 1:
            self.excuse(name, "another version was published")
        if digest == "wrong":
            self.excuse(name, "its digest is wrong")
        return versions[-1]

    def versions(self, name):
        return self.images.get(name, [])

    def excuse(self, name, why):
        self.excused.setdefault(name, why)

    def is_excused(self, name):
        return name in self.excused or None in self.excused

    # ---- what a reader gets

    def opened(self, name, view, size):
        if not any(v.size == size for v in self.versions(name)):
            raise Failure("size", f"{view}/{name} was opened with {size} bytes; there were {self.versions(name)}")
        return Handle(name, view)

    def size(self, name, view, size):
        """Of stat(2)."""
        if not any(v.size == size for v in self.versions(name)):
            raise Failure("size", f"{view}/{name} has {size} bytes; there were {self.versions(name)}")

    def got(self, handle, offset, length, data, code, verified=False):
        """LENGTH bytes were asked for at OFFSET; DATA came, and then the error CODE, or the end. VERIFIED: there is room, so that all is
        verified before it ends."""
        before = handle.candidates if handle.candidates is not None else self.versions(handle.image)
        left = [v for v in before if v.has(offset, data)]
        if data and not left:
            raise Failure("bytes", self._explain(handle, offset, data, before))
        if not code and len(data) < length:  # the end
            ended = [v for v in left if offset + len(data) >= v.size or (not data and offset >= v.size)]
            if not ended:
                raise Failure("end", f"{handle.view}/{handle.image} ended at {offset + len(data)}; it may be {left}")
            left = ended
        if data:
            handle.candidates = left
            handle.readings += 1
            if offset <= handle.prefix:
                handle.prefix = max(handle.prefix, offset + len(data))
        if verified and left and all(v.digest == "wrong" and handle.prefix >= v.size > 0 for v in left):
            raise Failure("unverified", f"{handle.view}/{handle.image} was read to its end, and its digest is wrong")

    def _explain(self, handle, offset, data, before):
        if not any(data):
            return f"{handle.view}/{handle.image}: zeros at {offset}, {len(data)} bytes; it may be {before}"
        found = []
        for v in self.versions(handle.image):
            wrong = first_difference(v.content, offset, data)
            found.append(f"{v}: " + ("all of it" if wrong is None else f"up to {wrong}" if wrong > offset else "nothing"))
        return (f"{handle.view}/{handle.image}: {len(data)} bytes at {offset}, after {handle.readings} readings that left {before}: "
                + "; ".join(found))

    def whole(self, name, content, where):
        """A file that is said to be whole."""
        for v in self.versions(name):
            if len(content) == v.size and v.content == content:
                if v.digest == "wrong":
                    raise Failure("cached", f"{where}/{name} is {v}, whose digest is wrong")
                return v
        zeros = sum(not any(content[i:i + 65536]) for i in range(0, len(content), 65536))
        raise Failure("cached", f"{where}/{name} of {len(content)} bytes is none of {self.versions(name)}; "
                                f"{zeros} of its pieces of 64 KiB are zeros")

    # ---- errors

    def failed(self, name, call, code, also=()):
        """CODE may be an answer of CALL on the image NAME."""
        if code in also:
            return
        expected = {errno.EIO, errno.EHOSTUNREACH, errno.ENOENT, errno.EACCES}
        if call.startswith("open"):
            expected.add(errno.ESTALE)  # twice in a row another version, or one that failed verification: Linux looks the name up once more only
        if not self.is_excused(name):
            raise Failure("error", f"{call} of {name}: {errno.errorcode.get(code, code)}, and nothing happened that explains it")
        if code not in expected:
            raise Failure("errno", f"{call} of {name}: {errno.errorcode.get(code, code)}, which no manual names")
