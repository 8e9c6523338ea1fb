# SPDX-License-Identifier: Apache-2.0
"""The origin of a history: endpoints that have each its own versions, validators, digests and moods."""
import calendar
import json
import time

from harness import sha
from origin import Blob, Origin

SUMS = "SHA256SUMS"
BEGINNING = calendar.timegm((2025, 1, 1, 0, 0, 0))
WHEN = {
    "ranged": lambda r: r.range is not None,
    "rest": lambda r: r.range is not None and r.range[0] > 0,
    "first": lambda r: r.range is not None and r.range[0] == 0,
    "whole": lambda r: r.range is None and r.name not in ("", SUMS, "SHA512SUMS"),
    "listing": lambda r: r.name == "",
    "image": lambda r: r.name not in ("", SUMS, "SHA512SUMS"),
    "sums": lambda r: r.name in (SUMS, "SHA512SUMS"),
}


def date(number):
    """Of the version NUMBER; a day apart."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(BEGINNING + 86400 * number))


class Endpoint(Origin):
    def __init__(self):
        self.sums = {}  # image: digest, as in the file beside the images
        super().__init__()
        self.listing = self._listing

    def _listing(self):
        entries = [{"name": n, "type": "file", "size": len(b.content), **({"mtime": b.modified} if b.modified else {})}
                   for n, b in sorted(self.blobs.items())]
        return "application/json", json.dumps(entries).encode()

    def offer(self, name, version, etag, dated, headers):
        tag = {"strong": f'"{name.encode().hex()}-{version.number}"', "weak": f'W/"{version.number}"', "none": ""}[etag]
        self.blobs[name] = Blob(version.content, etag=tag, modified=date(version.number) if dated else "", headers=headers)

    def publish_sum(self, name, digest):
        if digest is None:
            self.sums.pop(name, None)
        else:
            self.sums[name] = digest
        self.put(SUMS, "".join(f"{d}  {n}\n" for n, d in sorted(self.sums.items())).encode())

    def misbehave(self, when=None, retry_after=None, **what):
        if retry_after is not None:
            what["headers"] = {"Retry-After": str(retry_after)}
        for text in ("raw", "content"):
            if text in what:
                what[text] = what[text].encode()
        if "drip" in what:
            what["drip"] = tuple(what["drip"])
        return self.fault(when=WHEN[when] if when else None, **what)

    def is_up(self):
        return not self.closing.is_set()


class Cloud:
    def __init__(self, count, model):
        self.model = model
        self.endpoints = [Endpoint() for _ in range(count)]
        self.in_the_file = set()  # numbers of versions whose wrong digest only the file beside the images tells, which soon tells of the next
        self.untold = set()  # images of which a version was ever offered with nothing that tells it from others
        self.current = {}  # image: (version, how it is offered), the newest

    def config(self):
        return {"type": "http", "url": " ".join(e.url for e in self.endpoints), "checksums": SUMS}

    def publish(self, image, size, at, endpoints, etag="strong", dated=True, digest="none"):
        """DIGEST: "none"; "file", "header": published with it; "wrong-file", "wrong-header": a wrong one; "late": not yet."""
        wrong = digest.startswith("wrong")
        for old in self.model.versions(image):
            old.digest = "none" if old.digest == "wrong" and old.number in self.in_the_file else old.digest
        version = self.model.publish(image, size, at, "wrong" if wrong else "right" if digest != "none" else "none")
        if digest == "wrong-file":
            self.in_the_file.add(version.number)
        said = sha(b"something else") if wrong else version.sha256()
        if etag != "strong" and not dated:
            self.untold.add(image)
        headers = {"X-Glance-Cache-Hash": "sha256=" + said} if digest.endswith("header") else {}
        self.current[image] = (version, (etag, dated, headers), said if digest.endswith("file") else None)
        for number in endpoints:
            self._offer(self.endpoints[number], image)
        return version

    def _offer(self, endpoint, image):
        version, how, said = self.current[image]
        if said is not None or image in endpoint.sums:
            endpoint.publish_sum(image, said)
        endpoint.offer(image, version, *how)

    def publish_late(self, image):
        """The digest of what is there now, at all endpoints, and the same version everywhere."""
        version, how, _ = self.current[image]
        if version.digest == "wrong":
            return
        self.current[image] = (version, how, version.sha256())
        for endpoint in self.endpoints:
            endpoint.publish_sum(image, version.sha256())

    def withdraw(self, image, number):
        self.endpoints[number].blobs.pop(image, None)

    def heal(self):
        """All is well everywhere, and every endpoint has the newest version of every image."""
        for endpoint in self.endpoints:
            endpoint.clear_faults()
            if not endpoint.is_up():
                endpoint.start()
            for image in self.current:
                self._offer(endpoint, image)

    def sent(self, image):
        return sum(e.sent(image) for e in self.endpoints)

    def requests(self, image=None):
        return [r for e in self.endpoints for r in e.requests(image)]

    def close(self):
        for endpoint in self.endpoints:
            endpoint.close()
