# SPDX-License-Identifier: Apache-2.0
"""The power goes: states of the disk that one recorded history may leave, each mounted anew and read."""
import os
import random
import shutil
import subprocess

from harness import Cache, is_mounted, new_root
from quiet import check_log, check_rows, check_store
from recording import States, mount_loop
from versions import Failure

PIECE = 1 << 16


def cuts(rng, records, begun, count):
    """COUNT records after which the power goes, in order: any that came after the byte BEGUN of the log, and those around flushes twice as often."""
    from_here = [n for n, r in enumerate(records) if r[4] > begun]
    around = [n for n in from_here if records[n][0] == "F" or (n + 1 < len(records) and records[n + 1][0] == "F")]
    return sorted(rng.choice(around if around and rng.random() < 0.4 else from_here) for _ in range(count)) if from_here else []


def chooser(rng):
    """Which of the writes that were not flushed are on the disk: none, all, or each with some chance."""
    share = rng.choice((0, 0.1, 0.5, 0.5, 0.9, 1))
    return lambda: rng.random() < share


class PowerCut:
    def __init__(self, run, rng=None):
        self.run, self.recording, self.cloud, self.model = run, run.recording, run.cloud, run.model
        self.rng = rng or random.Random(run.history["seed"] ^ 0x5ca1ab1e)
        self.tried = 0

    def explore(self, count):
        """Raises Failure for the first state that is not right."""
        self.recording.stop()
        states = States(self.recording, self.recording.folder)
        path = os.path.join(self.recording.folder, "state")
        begun = self.run.marks[0][0] if self.run.marks else 0
        self.model.excuse(None, "the power was cut")
        try:
            for cut in cuts(self.rng, states.records, begun, count):
                taken, of = states.make(cut, chooser(self.rng), path)
                self.tried += 1
                where = (f"after record {cut} of {len(states.records)} (act {self._act(states.records[cut][4])}), "
                         f"with {taken} of the {of} writes since the last flush")
                self._try(path, where)
        finally:
            states.close()

    def _act(self, position):
        return next((number for length, number in self.run.marks if length >= position), "of the end")

    def _try(self, path, where):
        cache, before = Cache(new_root()), self.run.cache
        self.run.cache = cache
        try:
            self._start(cache, path)
            self._check(cache)
        except Failure as e:
            raise Failure("cut-" + e.check.removeprefix("cut-"), f"{e.detail}\n  the power went {where}") from None
        finally:
            self._end(cache)
            self.run.cache = before

    def _start(self, cache, path):
        mount_loop(path, cache.dir)
        for endpoint in self.cloud.endpoints:
            if endpoint.is_up():
                endpoint.stop()
        backend = {**self.run.setup["backend"], "retries": 0, "retry_delay": 1}
        cache.write_conf({"image_cache_dir": cache.dir, "min_free": 0, "log_level": "debug", **self.run.setup["options"],
                          "fetch_policy": "demand"}, {**self.cloud.config(), **backend})
        try:
            cache.mount("-o", "allow_other")
        except (RuntimeError, AssertionError) as e:
            raise Failure("mount", str(e)) from None

    def _check(self, cache):
        """First what the disk holds, while nobody can be asked; then all of it."""
        from quiet import Quiet
        quiet = Quiet(self.run)
        for name in self.model.images:
            self._islands(name)
        for agent in self.run.agents:
            agent.submit(lambda *_: None, "close_all")
        self.run.wait_idle()
        self.run.handles = {}
        self.cloud.heal()
        quiet.read_all()
        quiet.settle()
        self.run.wait_idle()
        cache.unmount()
        check_log(cache)
        check_rows(cache)
        check_store(self.model, cache)

    def _islands(self, name):
        """All pieces that are here are of one version."""
        self.run.do_open(0, "p", name)
        seen = self.run.handles["p"][1]
        if seen is None:
            return

        def read(_, message, data):
            done = 0
            for offset, length in message.get("pieces", []):
                self.model.got(seen, offset, length, data[done:done + length], 0)
                done += length
        self.run.submit(0, read, "islands", True, handle="p", step=PIECE)

    def _end(self, cache):
        cache.kill()
        if is_mounted(cache.dir):
            subprocess.run(["umount", cache.dir], check=False)
        cache.unmount_all()
        shutil.rmtree(cache.root, ignore_errors=True)
