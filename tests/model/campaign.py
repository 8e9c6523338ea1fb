# SPDX-License-Identifier: Apache-2.0
"""Runs histories one after the other, shrinks the one that fails, and counts."""
import os
import subprocess
import sys
import time
import traceback

import history as histories
from agents import Server
from driver import Run
from harness import binary
from powercut import PowerCut
from shrink import shrink
from versions import Failure, pool
from waiting import TooLate

SLOW = 20  # seconds; a history takes a fraction of one, if nothing stalls
FLAGS = ["-O1", "-Wall", "-Wextra"]


def compile_helpers(folder):
    """shim.so and recorder, in FOLDER."""
    here = os.path.dirname(os.path.abspath(__file__))
    fuse = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=True).stdout.split()
    cc = os.environ.get("CC", "cc").split()
    subprocess.run([*cc, *FLAGS, "-shared", "-fPIC", "-o", os.path.join(folder, "shim.so"), os.path.join(here, "shim.c"), "-ldl"], check=True)
    subprocess.run([*cc, *FLAGS, "-o", os.path.join(folder, "recorder"), os.path.join(here, "recorder.c"), *fuse], check=True)


def sanitized():
    return "san.so" in subprocess.run(["ldd", binary()], capture_output=True, text=True, check=True).stdout


class Campaign:
    def __init__(self, folder, kept, power=0, shrink=True):
        pool()  # before the fork, so that it is there once
        self.server = Server()  # before there is a thread
        self.folder, self.kept, self.power, self.shrinks = folder, kept, power, shrink
        self.shimmed = not sanitized()
        self.log = ""
        self.answers = self.states = self.done = self.failed = 0
        compile_helpers(folder)

    def close(self):
        self.server.close()

    def carry_out(self, history):
        """None, or the Failure."""
        run, cut = Run(history, self.server, self.folder), None
        try:
            run.go()
            if run.recording:
                cut = PowerCut(run)
                cut.explore(self.power or history.get("states", 50))
        except Failure as e:
            self._keep_log(run)
            return e
        except TooLate as e:
            self._keep_log(run)
            return Failure("wait", str(e))
        finally:
            self.answers += run.answers
            self.states += cut.tried if cut else 0
            try:
                run.close()
            except Exception:
                traceback.print_exc()
        return None

    def _keep_log(self, run):
        self.log = run.cache.logged() if run.cache else ""

    def go(self, seed, until, count=None, only=None, keep_going=False):
        """From SEED on, until the time UNTIL or COUNT of them are done. 1 when one failed."""
        only = ["power", *(only or ["versions", "evictions", "limits", "kills", "queue"])] if self.power else only
        print(f"seed {seed}, {binary()}", flush=True)
        began, told = time.monotonic(), time.monotonic()
        while time.monotonic() < until and (count is None or self.done < count):
            history = histories.make(seed + self.done, only)
            if not self.shimmed and history["setup"].get("shim"):
                history["setup"].pop("shim")
                history["acts"] = [a for a in history["acts"] if a["do"] not in ("disk", "clock")]
            if self.power:
                history["states"] = self.power
            before = time.monotonic()
            failure = self.carry_out(history)
            self.done += 1
            if time.monotonic() - before > SLOW:
                print(f"seed {history['seed']} took {time.monotonic() - before:.0f} s", flush=True)
            if failure is not None:
                self.failed += 1
                self.report(history, failure)
                if not keep_going:
                    break
            if time.monotonic() - told > 30:
                told = time.monotonic()
                self.say(told - began)
        self.say(time.monotonic() - began)
        return 1 if self.failed else 0

    def say(self, seconds):
        states = f", {self.states} states after a power cut" if self.power else ""
        print(f"{self.done} histories{states}, {self.answers} answers, {self.failed} failed, in {seconds:.0f} s", flush=True)

    def report(self, history, failure):
        print(f"FAILED: the history of seed {history['seed']}: {failure}", flush=True)
        log = self.log
        if self.shrinks:
            found = [failure]

            def fails(candidate):
                again = self.carry_out(candidate)
                same = again is not None and again.check == failure.check
                if same:
                    found.append(again)
                return same
            history = shrink(history, lambda h: any(fails(h) for _ in range(2)), say=lambda text: print("  shrunk to " + text, flush=True))
            failure = found[-1]
        os.makedirs(self.kept, exist_ok=True)
        path = os.path.join(self.kept, f"{history['seed']}-{failure.check}.json")
        with open(path, "w") as f:
            histories.dump(history, f)
        with open(path[:-5] + ".log", "w") as f:
            f.write(log)
        print(f"It is {failure}\ntests/model/run --replay {path}, which is:")
        histories.dump(history, sys.stdout)
        sys.stdout.flush()

    def replay(self, history):
        failure = self.carry_out(history)
        print(self.log[-20000:] if failure else "", end="")
        print(failure or "nothing failed")
        return 1 if failure else 0
