# SPDX-License-Identifier: Apache-2.0
"""Histories: what is set up, and the acts in their order; made from a seed, kept as JSON with one act a line."""
import errno
import json
import random

from harness import KIB, MIB
from versions import POOL_SIZE

IMAGES = ("debian.qcow2", "b", "größe 3.img")
NOTHING = "nothing"  # which no endpoint ever has
SIZES = (1, 4095, 4096, 65536, 100000, 256 * KIB, 256 * KIB + 1, 700000, MIB, 3 * MIB + 5, 5 * MIB)
DRIPS = ((65536, 0.004), (16384, 0.003), (65536, 0.02))


class Maker:
    """One history. Each takes only some of the kinds of acts (swarm testing), so that each kind is met in many surroundings."""

    def __init__(self, seed, only=None):
        self.rng, self.seed = random.Random(seed), seed
        self.acts, self.handle, self.open = [], 0, []
        self.sizes = {}
        self.only = only
        chance = {"faults": 0.45, "down": 0.25, "versions": 0.6, "kills": 0.3, "keeper": 0.12, "limits": 0.25, "evictions": 0.5,
                  "shim": 0.2, "disk": 0.06, "queue": 0.35, "handover": 0.2, "hold": 0.12, "tools": 0.2, "digests": 0.5, "bare": 0.3,
                  "slow": 0.6, "power": 0.0}
        self.kinds = {k for k, p in chance.items() if self.rng.random() < p}
        if only is not None:
            self.kinds = {k for k in self.kinds if k in only or k in ("slow", "digests", "bare")} | {k for k in only if k in ("power",)}
        if "power" in self.kinds:
            self.kinds -= {"shim", "disk", "keeper", "hold", "faults", "down"}
        if "hold" in self.kinds:
            self.kinds -= {"keeper", "power", "disk"}
        if "disk" in self.kinds:
            self.kinds -= {"shim"}

    def pick(self, *choices):
        return self.rng.choice(choices)

    def chance(self, p):
        return self.rng.random() < p

    def act(self, do, **what):
        if "hold" in self.kinds and do in ("touch", "rm", "mv", "pin"):
            what["wait"] = False
        self.acts.append({"do": do, **what})

    # ---- what it stands on

    def setup(self):
        failing = self.kinds & {"faults", "down"}
        self.endpoints = self.pick(1, 2, 2, 3) if failing or self.chance(0.3) else 1
        options = {"fetch_policy": self.pick("whole", "whole", "demand"), "fetch_whole_after": self.pick("64K", "64K", "1M", "8M"),
                   "streams": self.pick(1, 2, 4), "read_ahead_max": self.pick("0", "256K", "8M"),
                   "revalidate": self.pick("never", "on-open", "1"), "list_ttl": self.pick(0, 1), "prefetch_tries": 2,
                   "prefetch_retry_delay": self.pick(0, 1), "passthrough": self.pick("auto", "off")}
        if "limits" in self.kinds:
            options["image_cache_max_size"] = self.pick(0, MIB, 4 * MIB, 8 * MIB)
        if self.chance(0.05):
            options["cache_ttl"] = 1
        quick = "faults" in self.kinds and "hold" not in self.kinds
        backend = {"retries": self.pick(0, 1, 2) if failing else 2, "retry_delay": 10, "stall_timeout": 1 if quick else 30,
                   "connect_timeout": 2 if failing else 10}
        out = {"endpoints": self.endpoints, "options": options, "backend": backend, "faults": bool(failing)}
        if "shim" in self.kinds:
            out["shim"] = True
        if "disk" in self.kinds:
            out["disk"] = self.pick("ext4", "xfs")
        if "power" in self.kinds:
            out["disk"] = self.pick("recorded-ext4", "recorded-ext4", "recorded-xfs")
            options["fetch_policy"] = self.pick("demand", "demand", "whole")
        return out

    # ---- acts

    def waits(self):
        return "hold" not in self.kinds and self.chance(0.6)

    def image(self):
        return self.pick(*IMAGES) if not self.chance(0.03) else NOTHING

    def size(self, image):
        if image in self.sizes and self.chance(0.7):
            return self.sizes[image]
        if self.chance(0.02):
            return 0
        large = "power" not in self.kinds and "disk" not in self.kinds and self.chance(0.06)
        return self.pick(18 * MIB + 77, 24 * MIB) if large else self.pick(*SIZES)

    def publish(self, image=None, everywhere=False):
        image = image or self.pick(*IMAGES)
        size = self.size(image)
        self.sizes[image] = size
        bare = "bare" in self.kinds and self.chance(0.5)
        digest = "none"
        if "digests" in self.kinds:
            digest = self.pick("none", "file", "header", "header", "late", "wrong-header", "wrong-file") if not bare else \
                self.pick("none", "none", "header", "late")
        if digest.startswith("wrong") and ("power" in self.kinds or self.chance(0.5)):
            digest = "header"
        if size == 0 and digest.endswith("header"):
            digest = "none"  # the answer to a range of nothing is 416, whose headers are not the image's
        lags = not everywhere and not digest.startswith("wrong") and self.endpoints > 1 and self.chance(0.4)
        where = [self.rng.randrange(self.endpoints)] if lags else list(range(self.endpoints))
        self.act("publish", image=image, size=size, at=self.rng.randrange(POOL_SIZE - size), endpoints=where,
                 etag="none" if bare else self.pick("strong", "strong", "weak", "none"), dated=not bare and self.chance(0.7), digest=digest)

    def read_some(self):
        if not self.open or self.chance(0.3):
            self.open_one()
        handle, image = self.rng.choice(self.open)
        size = max(1, self.sizes.get(image, 1))
        how = self.pick("read", "read", "read", "stream", "stream", "map", "tail")
        if how == "stream":
            self.act("stream", handle=handle, step=self.pick(4096, 65536, 65536, MIB) if size < 2 * MIB else self.pick(65536, 200000, MIB),
                     pause=self.pick(0, 0, 0.001, 0.004), wait=self.waits())
        elif how == "tail":
            self.act("read", handle=handle, offset=max(0, size - 4096), length=4096, wait=self.waits())
        else:
            self.act(how, handle=handle, offset=self.rng.randrange(size), length=self.pick(1, 512, 4096, 65536, 300000, MIB),
                     wait=self.waits())

    def open_one(self):
        self.handle += 1
        image = self.image()
        view = "cached" if self.chance(0.12) else "images"
        self.act("open", agent=self.rng.randrange(1, 4), handle=self.handle, image=image, view=view, direct=self.chance(0.15),
                 wait="hold" not in self.kinds)
        self.open.append((self.handle, image))

    def close_one(self):
        if self.open:
            handle, _ = self.open.pop(self.rng.randrange(len(self.open)))
            self.act("close", handle=handle)

    def fault(self):
        number, image = self.rng.randrange(self.endpoints), self.pick(*IMAGES, None)
        what = self.pick(
            {"status": 404}, {"status": 403}, {"status": 500}, {"status": 503, "retry_after": 1}, {"status": 429}, {"status": 429, "retry_after": self.pick(1, 1, 3600)},
            {"status": 400, "when": "ranged"}, {"status": 416, "when": "rest"}, {"no_range": True}, {"no_range": True, "when": "rest"},
            {"drop_before_head": True}, {"drop_after": self.pick(0, 1000, 65536, 300000)}, {"stall_after": self.pick(0, 70000)},
            {"ignore_conditions": True}, {"length": "none", "drop_after": 100000}, {"length": "chunked"}, {"length": 1000, "when": "ranged"},
            {"content": "short", "when": "ranged"}, {"status": 500, "when": "listing"}, {"hold_head": True, "when": "listing"}, {"status": 500, "when": "sums"},
            {"drip": self.pick(*DRIPS)}, {"etag": ""}, {"modified": ""}, {"raw": "garbage\r\n\r\n"}, {"content_range": "bytes 0-0/7", "when": "rest"})
        if what.get("when") in ("listing", "sums"):
            image = None
        times = self.pick(1, 1, 2, 3, None)
        if what.get("hold_head") or "stall_after" in what:
            times = self.pick(1, 2)
        self.act("fault", endpoint=number, name=image, times=times, **what)

    def manage(self):
        image = self.pick(*IMAGES)
        how = self.pick("rm", "rm", "rm", "rm-incomplete", "rm-incomplete", "mv", "pin")
        agent = 0
        if how == "rm":
            self.act("rm", agent=agent, image=image, view="cached")
        elif how == "rm-incomplete":
            self.act("rm", agent=agent, image=image, view=self.pick("incomplete", "incomplete", "queued", "invalid"))
        elif how == "mv":
            self.act("mv", agent=agent, image=image)
        else:
            self.act("pin", agent=agent, image=image, on=self.chance(0.6))

    def shim(self):
        how = self.pick("disk", "disk", "well", "clock")
        if how == "disk":
            self.act("disk", **self.pick({"write": errno.ENOSPC}, {"write": errno.EDQUOT}, {"write": errno.EIO}, {"sync": errno.EIO},
                                         {"metadata": errno.EROFS, "write": errno.EROFS, "sync": errno.EROFS}, {"read": errno.EIO},
                                         {"metadata": errno.ENOSPC}, {"folders": errno.EIO}))
        elif how == "well":
            self.act("disk")
        else:
            self.act("clock", seconds=self.pick(-86400 * 400, -3600, -5, 5, 3600, 86400 * 400))

    def one(self):
        """An act of a kind that this history takes, or two that belong together."""
        many = [(self.read_some, 10), (self.open_one, 2), (self.close_one, 2), (self.look, 2), (lambda: self.pause(), 1.5)]
        more = {"versions": (self.publish, 2), "faults": (self.fault, 2.5), "evictions": (self.manage, 3), "shim": (self.shim, 2),
                "kills": (lambda: self.act("kill_worker") if self.chance(0.6) else self.kill_reader(), 1),
                "keeper": (self.kill_keeper, 0.5), "handover": (self.hand_over, 0.8),
                "queue": (lambda: self.act("touch", agent=0, image=self.image()), 2),
                "tools": (lambda: self.act("tool", name=self.pick("prune", "clean", "verify", "prefetch")), 0.8),
                "down": (self.updown, 2), "hold": (self.hold, 2), "disk": (self.disk, 2), "power": (self.before_power, 3),
                "digests": (lambda: self.act("publish_late", image=self.pick(*IMAGES)), 0.6)}
        many += [v for k, v in more.items() if k in self.kinds]
        self.rng.choices([m[0] for m in many], [m[1] for m in many])[0]()

    def look(self):
        how = self.pick("stat", "stat", "ls", "ls-view", "status")
        agent, wait = self.rng.randrange(1, 4), self.waits()
        if how == "stat":
            self.act("stat", agent=agent, image=self.image(), wait=wait)
        elif how == "status":
            self.act("status", agent=agent, wait=wait)
        else:
            self.act("ls", agent=agent, view="images" if how == "ls" else self.pick("cached", "incomplete", "queued", "invalid"), wait=wait)

    def pause(self):
        self.act("wait", seconds=self.pick(0.002, 0.01, 0.03, 0.1, 0.1) if not self.chance(0.08) else 1.2)

    def kill_reader(self):
        number = self.rng.randrange(1, 4)
        gone = {a["handle"] for a in self.acts if a["do"] == "open" and a["agent"] == number}
        self.open = [o for o in self.open if o[0] not in gone]
        self.act("kill_reader", agent=number)

    def kill_keeper(self):
        self.act("kill_keeper")
        self.open = []

    def hand_over(self):
        if self.chance(0.4):
            self.act("upgrade")
        else:
            self.act("hup", options={"streams": self.pick(1, 4), "fetch_policy": self.pick("whole", "demand")})

    def updown(self):
        self.act(self.pick("down", "down", "up"), endpoint=self.rng.randrange(self.endpoints))

    def hold(self):
        """A server that says nothing; meanwhile others look, and an image goes."""
        image, other = self.rng.sample(IMAGES, 2)
        self.act("fault", endpoint=self.rng.randrange(self.endpoints), name=image, times=self.pick(1, 3), hold_head=True)
        self.act("stat", agent=1, image=image, wait=False)
        self.act("wait", seconds=0.05)
        if self.chance(0.7):
            self.act("rm", agent=0, image=other, view=self.pick("cached", "cached", "incomplete"))
            self.act("wait", seconds=0.05)
        self.act("stat", agent=2, image=self.image(), wait=False)
        if self.chance(0.6):
            self.act("wait", seconds=0.05)
            self.kill_reader_number(2)

    def kill_reader_number(self, number):
        gone = {a["handle"] for a in self.acts if a["do"] == "open" and a["agent"] == number}
        self.open = [o for o in self.open if o[0] not in gone]
        self.act("kill_reader", agent=number)

    def disk(self):
        if self.chance(0.6):
            self.act("fill", leave=self.pick(0, 4096, MIB, 4 * MIB))
        else:
            self.act("give_back")

    def part(self, image, agent=1):
        """A piece of it is read, and is on the disk a second later."""
        self.handle += 1
        self.act("open", agent=agent, handle=self.handle, image=image, view="images", direct=False, wait=True)
        self.open.append((self.handle, image))
        self.act("read", handle=self.handle, offset=self.rng.randrange(max(1, self.sizes.get(image, 1))),
                 length=self.pick(65536, 300000, MIB), wait=True)

    def before_power(self):
        """Something is on the disk for good, and something else takes its place."""
        image = self.pick(*IMAGES)
        if self.chance(0.7):
            self.part(image)
        self.act("wait", seconds=self.pick(0.1, 1.2))
        if self.chance(0.8):
            self.act("sync")
        how = self.pick("rm", "rm", "publish", "none")
        if how == "rm":
            self.act("rm", agent=0, image=image, view=self.pick("incomplete", "incomplete", "cached"))
        elif how == "publish":
            self.publish(image)
        self.part(image)
        self.act("wait", seconds=self.pick(0.1, 1.2))

    def mirrors(self):
        """Endpoints with different versions, and the first goes while it is read."""
        image = self.pick(*IMAGES)
        size = self.pick(5 * MIB, 9 * MIB)
        self.sizes[image] = size
        how = self.pick("none", "header", "header", "file")
        tag, dated = self.pick("strong", "none"), self.chance(0.5)
        for number in range(self.endpoints):
            self.act("publish", image=image, size=size, at=self.rng.randrange(POOL_SIZE - size), endpoints=[number], etag=tag, dated=dated,
                     digest=how)
        self.act("fault", endpoint=0, name=image, times=None, drip=[65536, 0.004])
        self.handle += 1
        self.act("open", agent=1, handle=self.handle, image=image, view="images", direct=False, wait=True)
        self.open.append((self.handle, image))
        self.act("stream", handle=self.handle, step=65536, pause=0, wait=False)
        self.act("wait", seconds=self.pick(0.02, 0.06, 0.12))
        self.act("down", endpoint=0)

    def replaced(self):
        """Another version of the same size, with nothing that tells, while it is read."""
        image = self.pick(*IMAGES)
        size = self.pick(3 * MIB + 5, 5 * MIB)
        self.sizes[image] = size
        for number in range(2):
            self.act("publish", image=image, size=size, at=self.rng.randrange(POOL_SIZE - size), endpoints=list(range(self.endpoints)),
                     etag="none", dated=False, digest="none")
            if number == 0:
                self.act("fault", endpoint=0, name=image, times=None, drip=[65536, 0.004])
                self.handle += 1
                self.act("open", agent=2, handle=self.handle, image=image, view="images", direct=False, wait=True)
                self.open.append((self.handle, image))
                self.act("stream", handle=self.handle, step=65536, pause=self.pick(0, 0.002), wait=False)
                self.act("wait", seconds=self.pick(0.02, 0.06))
        if self.chance(0.5):
            self.act("read", handle=self.handle, offset=size - 70000, length=70000, wait=True)

    def make(self):
        setup = self.setup()
        for image in IMAGES[:self.pick(1, 2, 3, 3)]:
            self.publish(image, everywhere=True)
        for image in IMAGES:
            if image not in self.sizes:
                self.publish(image, everywhere=True)
        if "slow" in self.kinds:
            for number in range(self.endpoints):
                self.act("fault", endpoint=number, name=None, times=None, when="image", drip=list(self.pick(*DRIPS)))
        if "down" in self.kinds and self.endpoints > 1 and self.chance(0.4):
            self.mirrors()
        elif "bare" in self.kinds and "versions" in self.kinds and self.chance(0.3):
            self.replaced()
        if "power" in self.kinds:
            self.before_power()
        for _ in range(self.pick(6, 10, 16, 25)):
            self.one()
        return {"seed": self.seed, "kinds": sorted(self.kinds), "setup": setup, "acts": self.acts}


def make(seed, only=None):
    return Maker(seed, only).make()


def dump(history, file):
    head = {k: v for k, v in history.items() if k != "acts"}
    text = json.dumps(head, ensure_ascii=False)[:-1] + ', "acts": [\n'
    file.write(text + ",\n".join("  " + json.dumps(a, ensure_ascii=False) for a in history["acts"]) + "\n]}\n")


def load(file):
    return json.load(file)
