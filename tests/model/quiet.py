# SPDX-License-Identifier: Apache-2.0
"""The end of a history: everything is well again and nobody reads. Then view, catalogue, folder and memory agree."""
import json
import os
import time

from disk import allocated
from harness import KIB, MIB, PROBE, SUSPICIOUS, descendants
from versions import Failure
from waiting import PATIENCE
from workers import check_no_orphans, workers

RECOVERY = 30 * PATIENCE  # seconds in which what was wrong is forgotten once it is well


def store_of(cache, name):
    with open(os.path.join(cache.dir, name), "rb") as f:
        return f.read()


def check_store(model, cache):
    """Every whole image in the folder is one version."""
    for name in os.listdir(cache.dir):
        path = os.path.join(cache.dir, name)
        if os.path.isfile(path) and not name.startswith(".") and name in model.images:
            model.whole(name, store_of(cache, name), "the cache directory")


def check_rows(cache):
    try:
        check_no_orphans(cache)
    except AssertionError as e:
        raise Failure("rows", f"catalogue and folder differ: {e}") from None


def check_log(cache):
    for line in cache.logged().splitlines():
        if SUSPICIOUS.search(line):
            raise Failure("log", line)


class Quiet:
    def __init__(self, run):
        self.run, self.cache, self.model, self.cloud = run, run.cache, run.model, run.cloud

    def go(self):
        self.calm_down()
        self.read_all()
        self.settle()
        self.compare()
        self.explain_traffic()
        self.end()

    def calm_down(self):
        run = self.run
        run.control.update(dict.fromkeys(run.control, 0))
        if run.setup.get("shim"):
            run._write_control()
        run.do_give_back()
        self.cloud.heal()
        run.wait_idle()
        for agent in run.agents:
            agent.submit(lambda *_: None, "close_all")
        run.wait_idle()
        run.handles = {}
        for pid, call in run.dying:
            run._wait(lambda p=pid: not os.path.exists(f"/proc/{p}"), run.bound, f"the reader that was killed in {call} to go")
        run._wait(lambda: not run.jobs, 4 * run.bound, "the tools")

    def _status(self):
        answer = {}
        def done(_, message, data):
            if not message["errno"]:
                answer.update(json.loads(data))
        self.run.submit(0, done, "text", True, path=self.cache.path(".status"))
        return answer

    def settle(self):
        """Nothing is open, fetched or queued any more."""
        last, end = {}, time.monotonic() + RECOVERY + self.run.bound
        while True:
            last = self._status()
            if last and not last["counters"]["open_handles"] and not last["fetches"] and not last["adopting"] \
                    and last.get("disk", "ok") == "ok" and not last["images"]["queued"] \
                    and not last["images"]["evicted_but_open"]:
                return
            if time.monotonic() > end:
                what = {k: last.get(k) for k in ("fetches", "images", "adopting")}
                raise Failure("quiet", f"it does not come to rest: {what}, {last['counters']['open_handles']} handles; "
                                       f"queued: {os.listdir(self.cache.path('queued'))}")
            time.sleep(0.01)

    def read_all(self):
        """Every image can be read to its end again, unless its digest is wrong; each attempt by a new open."""
        for name in self.model.images:
            version = self.cloud.current[name][0]
            end = time.monotonic() + RECOVERY
            while (code := self._read(name)) and version.digest != "wrong":
                if time.monotonic() > end:
                    raise Failure("recovery", f"images/{name}: errno {code}, though all is well again: {self._error(name)}")
                time.sleep(0.05)

    def _read(self, name):
        """0, or the errno."""
        result = []

        def read(_, message, data):
            result.append(message["errno"])
            if not message["errno"] and "q" in self.run.handles and self.run.handles["q"][1]:
                seen = self.run.handles["q"][1]
                self.model.got(seen, 0, len(data) + 1, data, 0)
        before = dict(self.model.excused)
        self.model.excuse(name, "it is tried again")
        self.run.do_open(0, "q", name)
        self.run.submit(0, read, "read", True, handle="q", offset=0, length=1 << 30)
        self.run.do_close("q")
        self.model.excused = before
        if name not in before and None not in before and result[0]:
            raise Failure("error", f"the last read of {name}: errno {result[0]}, and nothing happened that explains it")
        return result[0] if result else 5

    def _error(self, name):
        try:
            return self.cache.error(name)
        except OSError as e:
            return str(e)

    # ---- what agrees

    def compare(self):
        """What is being published when all is fetched may still be on its way."""
        end = time.monotonic() + RECOVERY
        while (differs := self._differs()) is not None:
            if time.monotonic() > end:
                raise Failure(*differs)
            time.sleep(0.02)
        images, status = self._views(), self._status()
        here, partial = images["cached"], images["incomplete"]
        for name in images["cached"]:
            if name in self.model.images:
                self.model.whole(name, store_of(self.cache, name), "the cache directory")
        used, disk = status["space"]["used"], allocated(self.cache)
        # what arrived in the last second before the disk failed is on it, and in no map
        if not self.run.setup.get("shim") and disk > used + len(here | partial | images["invalid"]) * (64 * KIB + 4096) + MIB // 4:
            raise Failure("space", f"{disk} bytes on the disk, .status says {used}")
        self.descriptors()

    def _views(self):
        try:
            return {view: set(os.listdir(self.cache.path(view))) for view in ("cached", "incomplete", "queued", "invalid")}
        except OSError as e:
            raise Failure("errno", f"ls of a view: {e}, alive: {self.cache.alive()}: {self.cache.logged()[-1500:]}") from None

    def _differs(self):
        """What does not agree, as the arguments of a Failure, or None."""
        counted, images = self._status()["images"], self._views()
        for view, names in images.items():
            if counted[view] != len(names):
                return "counts", f"{view}/ shows {names}, .status counts {counted[view]}"
        here = {n for n in os.listdir(self.cache.dir) if not n.startswith(".") and os.path.isfile(os.path.join(self.cache.dir, n))}
        if here != images["cached"]:
            return "folder", f"cached/ shows {images['cached']}, the folder holds {here}"
        partial = set(os.listdir(os.path.join(self.cache.dir, "incomplete")))
        if partial != images["incomplete"]:
            return "folder", f"incomplete/ shows {images['incomplete']}, the folder holds {partial}"
        return None

    def descriptors(self):
        """No image's file is open, and nothing that is gone."""
        end = time.monotonic() + RECOVERY
        while found := self._open_files():
            if time.monotonic() > end:
                raise Failure("descriptors", f"still open: {found}")
            time.sleep(0.02)

    def _open_files(self):
        out = []
        for pid in descendants(self.cache.process.pid):
            try:
                for fd in os.listdir(f"/proc/{pid}/fd"):
                    path = os.readlink(f"/proc/{pid}/fd/{fd}")
                    relative = os.path.relpath(path, os.path.realpath(self.cache.dir))
                    if path.startswith(os.path.realpath(self.cache.dir) + "/") and not relative.startswith((".catalogue", ".lock")) \
                            and not os.path.isdir(path) and relative != "queue":
                        out.append(f"{pid}: {path}")
            except OSError:
                pass
        if len(workers(self.cache.process.pid)) != 1:
            out.append(f"workers: {workers(self.cache.process.pid)}")
        return out

    def explain_traffic(self):
        """No byte was sent that neither a reader nor a fetch can explain; where images go straight through, readers explain any number."""
        run = self.run
        if run.limit or run.disk or run.setup.get("shim") or run.setup.get("recorded"):
            return
        for name, versions in self.model.images.items():
            largest = max(v.size for v in versions)
            taken = sum(f.taken for f in run.faults if f.name in (None, name))
            times = 1 + len(versions) + run.repeats.get(name, 0) + run.repeats.get(None, 0) + taken
            requests = self.cloud.requests(name)
            probes = sum(1 for r in requests if r.range is not None and r.range == (0, PROBE - 1))
            allowed, sent = times * (largest + 2 * MIB) + probes * PROBE, self.cloud.sent(name)
            if sent > allowed:
                raise Failure("traffic", f"{sent} bytes of {name} were sent by {len(requests)} requests; {allowed} can be explained")

    def end(self):
        try:
            self.cache.unmount()
        except AssertionError as e:
            raise Failure("unmount", str(e)) from None
        check_log(self.cache)
        check_rows(self.cache)
        check_store(self.model, self.cache)
