# SPDX-License-Identifier: Apache-2.0
"""Carries a history out on a real mount, and holds each answer against the model."""
import ctypes
import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import time

from agents import OTHER_USER, wait_any
from cloud import SUMS, Cloud
from disk import Disk, allocated
from harness import KIB, MIB, SUSPICIOUS, Cache, new_root
from recording import Recording
from tools import path_of
from versions import Failure, Model
from waiting import PATIENCE
from workers import workers

LOCAL = 20 * PATIENCE  # seconds in which a call ends that asks nobody but us
DEATH = 10 * PATIENCE  # in which a killed reader is gone
PAUSE = 10
CHUNK = 64 * KIB
CUT = {errno.ENOTCONN, errno.ECONNABORTED, errno.EBADF, errno.EIO}  # when the mount goes
DENIED = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EBUSY, errno.EMFILE}
TOOLS = {"prune": ("glance-cache-pruner", ("--to", "0")), "clean": ("glance-cache-cleaner", ()),
         "verify": ("glance-cache-cleaner", ("--verify",)), "prefetch": ("glance-cache-prefetcher", ())}
CONTROL = struct.Struct("qiiiii4x")  # struct control in shim.c
libc = ctypes.CDLL(None, use_errno=True)


def longest(setup):
    """Seconds that one call on an image may take with this configuration (glance-cache.conf(5), retry_delay): each try stalls or connects for
    as long as it may, at each endpoint, and no pause is longer than 10 s; a look-up and the read behind it. Besides, the machine is loaded."""
    b = setup["backend"]
    once = (b["retries"] + 1) * (setup["endpoints"] * (b["connect_timeout"] + b["stall_timeout"]) + PAUSE)
    return 2 * once + LOCAL


class Run:
    def __init__(self, history, server, tools):
        """TOOLS: the folder of what was compiled for the test, shim.so and recorder."""
        self.history, self.server, self.helpers = history, server, tools
        self.setup = history["setup"]
        self.model = Model()
        self.cloud = self.cache = self.disk = self.recording = None
        self.agents, self.handles, self.jobs = [], {}, []
        self.faults = []
        self.repeats = {}  # image, or None for all: how often it may have to be fetched once more
        self.mount_went = False
        self.limit = self.setup["options"].get("image_cache_max_size")
        self.bound = longest(self.setup)
        self.answers = 0
        self.control = {"seconds": 0, "write": 0, "sync": 0, "metadata": 0, "read": 0, "folders": 0}
        self.fresh = True  # nobody asked the origin for anything yet
        self.dying = []  # (pid, call) of readers that were killed, and wait for another's look-up
        self.marks = []  # (length of the recording, number of the act), after each act

    # ---- its beginning and its end

    def begin(self):
        self.cloud = Cloud(self.setup["endpoints"], self.model)
        self.cloud.calm = not self.setup.get("faults")
        self.cache = Cache(new_root())
        kind = self.setup.get("disk")
        if kind and kind.startswith("recorded-"):
            self.recording = Recording(self.cache, kind[len("recorded-"):], self.helpers)
        elif kind:
            self.disk = Disk(self.cache, kind)
        if self.setup.get("shim"):
            self._write_control()
        self.configure({})
        self.mount()
        for number in range(4):
            self.agents.append(self.server.agent(OTHER_USER if number == 3 else 0))

    def configure(self, changed):
        self.setup["options"].update(changed)
        self.cache.write_conf({"image_cache_dir": self.cache.dir, "min_free": 0, "log_level": "debug", **self.setup["options"]},
                              {**self.cloud.config(), **self.setup["backend"]})

    def mount(self):
        before = dict(os.environ)
        if self.setup.get("shim"):
            os.environ.update(LD_PRELOAD=os.path.join(self.helpers, "shim.so"), SHIM_CONTROL=os.path.join(self.cache.root, "control"),
                              SHIM_FOLDER=os.path.realpath(self.cache.dir))
        try:
            self.cache.mount("-o", "allow_other")
        except (RuntimeError, AssertionError) as e:
            raise Failure("mount", str(e)) from None
        finally:
            for name in ("LD_PRELOAD", "SHIM_CONTROL", "SHIM_FOLDER"):
                os.environ.pop(name, None)
            os.environ.update(before)

    def _write_control(self):
        path = os.path.join(self.cache.root, "control")
        with open(path, "r+b" if os.path.exists(path) else "wb") as f:
            f.write(CONTROL.pack(*self.control.values()))

    def close(self):
        """Leaves nothing behind, however it ended."""
        for agent in self.agents:
            agent.kill()
        if self.cloud:
            self.cloud.close()
        for process, _, _ in self.jobs:
            process.kill()
            process.wait()
        if self.cache:
            self.cache.kill()
            for agent in self.agents:
                self._gone(agent, LOCAL)
                agent.connection.close()
            for part in (self.disk, self.recording):
                if part:
                    part.close()
            self.cache.unmount_all()
            shutil.rmtree(self.cache.root, ignore_errors=True)

    # ---- answers

    def pump(self, timeout):
        """Takes the answers that come within TIMEOUT seconds; true when there was one."""
        busy = [a for a in self.agents if a.queue]
        said = wait_any(busy, timeout) if busy else []
        for agent in said:
            if not agent.receive():
                self._lost(agent)
        now = time.monotonic()
        for agent in self.agents:
            if agent.queue and now - agent.since > agent.queue[0][0].get("within", self.bound):
                self._overdue(agent)
        for job in list(self.jobs):
            self._look_at(job, now)
        if not self.cache.alive():
            raise Failure("ended", f"the program ended with {self.cache.process.returncode}:\n{self.cache.logged()[-2000:]}")
        return bool(said)

    def _look_at(self, job, now):
        process, since, name = job
        if process.poll() is not None:
            text = process.communicate()[1]
            self.jobs.remove(job)
            if SUSPICIOUS.search(text) or process.returncode < 0:
                raise Failure("tool", f"{name} ended with {process.returncode}: {text[-2000:]}")
        elif now - since > 4 * self.bound:
            raise Failure("hang", f"{name} did not end")

    def _overdue(self, agent):
        call = agent.queue[0][0]
        where = self._stack(agent.pid)
        agent.kill()
        if not self._gone(agent, DEATH):
            raise Failure("unkillable", f"{call} is in state {agent.state()} after SIGKILL: {where}")
        raise Failure("hang", f"{call} did not end within {self.bound:.0f} s: {where}")

    @staticmethod
    def _stack(pid):
        try:
            return " < ".join(line.split()[-1].split("+")[0] for line in open(f"/proc/{pid}/stack"))
        except OSError:
            return "no stack"

    @staticmethod
    def _gone(agent, seconds):
        end = time.monotonic() + seconds
        while agent.state() not in ("", "Z") and time.monotonic() < end:
            time.sleep(0.005)
        return agent.state() in ("", "Z")

    def _lost(self, agent):
        """A signal ended it: ours, or SIGBUS from a mapping."""
        call, done = agent.queue[0]
        agent.queue = []
        if not agent.doomed:
            if call["call"] != "map":
                raise Failure("reader", f"a reader ended in {call}")
            done(call, {"errno": errno.EIO, "done": True, "offset": call["offset"]}, b"")
        self._replace(agent)

    def _replace(self, agent):
        """Another process in its place; its handles went with it."""
        agent.connection.close()
        number = self.agents.index(agent)
        self.agents[number] = self.server.agent(agent.user)
        self.handles = {k: h for k, h in self.handles.items() if h[0] != number}

    def wait_idle(self, agents=None):
        while any(a.queue for a in (agents or self.agents)):
            if agents:
                agents = [a for a in agents if a in self.agents]
            self.pump(0.05)

    def submit(self, number, done, call, wait=False, **what):
        agent = self.agents[number]

        def answered(asked, message, data):
            self.answers += 1
            done(asked, message, data)
        agent.submit(answered, call, **what)
        if wait:
            self.wait_idle([agent])

    def checked(self, name, call, code, also=()):
        if code and not self.mount_went:
            self.model.failed(name, call, code, also)

    # ---- the whole

    def go(self):
        """Raises Failure."""
        from quiet import Quiet
        self.begin()
        for number, act in enumerate(self.history["acts"]):
            self.fresh = self.fresh and act["do"] in ("publish", "fault")
            getattr(self, "do_" + act["do"].replace("-", "_"))(**{k: v for k, v in act.items() if k != "do"})
            self.pump(0)
            self.look()
            if self.recording:
                self.marks.append((self.recording.length(), number))
        Quiet(self).go()

    def look(self):
        """What must hold at any moment."""
        if self.limit and not self.disk and self.setup["options"].get("evict_inline", "yes") == "yes" and not self.relaxed():
            used, slack = allocated(self.cache), len(self.model.images) * 4 * CHUNK + MIB // 2
            if used > self.limit + slack:
                raise Failure("limit", f"{used} bytes on the disk, {self.limit} are allowed")

    def relaxed(self):
        return any(self.control.values())

    # ---- acts: images

    def do_publish(self, image, **how):
        if how.get("digest") == "wrong-file" and not (self.cloud.calm and self.fresh):
            how["digest"] = "none"  # the file may be known as it was, and the image go unverified
        self.cloud.publish(image, **how)
        self._again(image)
        if self.limit is not None or self.disk:
            self._again(None)

    def do_publish_late(self, image):
        if image in self.cloud.current:
            self.cloud.publish_late(image)

    def do_withdraw(self, image, endpoint):
        self.model.excuse(image, "it was withdrawn")
        self.cloud.withdraw(image, endpoint)
        self._again(image)

    def _again(self, image=None):
        """IMAGE, or all, may have to be fetched anew. What the origin does not tell apart cannot be gone on with then."""
        for name in self.cloud.untold & ({image} if image else self.cloud.untold):
            self.model.excuse(name, "its versions are not told apart, and it was interrupted")
        self.repeats[image] = self.repeats.get(image, 0) + 1

    # ---- acts: endpoints

    def do_fault(self, endpoint, **what):
        if set(what) - {"name", "times", "when", "drip"}:
            self.model.excuse(None, "an endpoint misbehaved")
        self.faults.append(self.cloud.endpoints[endpoint].misbehave(**what))
        self._again()

    def do_heal(self, endpoint):
        self.cloud.endpoints[endpoint].clear_faults()

    def do_down(self, endpoint):
        self.model.excuse(None, "an endpoint was down")
        self._again()
        if self.cloud.endpoints[endpoint].is_up():
            self.cloud.endpoints[endpoint].stop()

    def do_up(self, endpoint):
        if not self.cloud.endpoints[endpoint].is_up():
            self.cloud.endpoints[endpoint].start()

    # ---- acts: readers

    def do_open(self, agent, handle, image, view="images", direct=False, wait=True):
        self.handles[handle] = (agent, None, direct)

        def done(_, message, __):
            also = (errno.ENOENT,) if view != "images" or not self.model.versions(image) else ()
            self.checked(image, f"open in {view}/", message["errno"], also)
            if not message["errno"]:
                self.handles[handle] = (agent, self.model.opened(image, view, message["size"]), direct)
        self.submit(agent, done, "open", wait, handle=handle, path=self.cache.path(view, image), direct=direct)

    def _reader(self, handle):
        return self.handles[handle][0] if handle in self.handles else None

    def _got(self, handle, offset, length, data, code):
        seen = self.handles.get(handle, (0, None, 0))[1]
        if seen is None:
            return  # it could not be opened
        self.model.got(seen, offset, length, data, code, self._verified())
        self.checked(seen.image, "read", code)

    def _verified(self):
        return self.limit is None and not self.disk and not self.recording and not self.setup.get("shim")

    def do_read(self, handle, offset, length, wait=True):
        agent = self._reader(handle)
        if agent is None:
            return
        direct = self.handles[handle][2]
        if direct:
            offset, length = offset // 4096 * 4096, (length + 4095) // 4096 * 4096
        self.submit(agent, lambda _, m, data: m.get("lost") or self._got(handle, offset, length, data, m["errno"]), "read", wait,
                    handle=handle, offset=offset, length=length, direct=direct)

    def do_stream(self, handle, step, pause=0, wait=False):
        agent = self._reader(handle)
        if agent is None:
            return

        direct = self.handles[handle][2]

        def done(_, message, data):
            if message.get("lost"):
                return
            if message.get("done"):
                self._got(handle, message.get("end", 0), 1, b"", message["errno"])
            else:
                self._got(handle, message["part"], len(data), data, 0)
        self.submit(agent, done, "stream", wait, handle=handle, step=(step + 4095) // 4096 * 4096 if direct else step, pause=pause, direct=direct)

    def do_map(self, handle, offset, length, wait=True):
        agent = self._reader(handle)
        if agent is None:
            return
        self.submit(agent, lambda _, m, data: m.get("lost") or self._got(handle, m.get("offset", 0), len(data), data, m["errno"]), "map",
                    wait, handle=handle, offset=offset, length=length)

    def do_close(self, handle):
        agent = self._reader(handle)
        if agent is not None:
            self.submit(agent, lambda *_: None, "close", handle=handle)

    def do_kill_reader(self, agent):
        """It must be gone at once, whatever it waits for."""
        victim = self.agents[agent]
        where = self._stack(victim.pid)
        call = victim.queue[0][0] if victim.queue else None
        victim.kill()
        if not self._gone(victim, 0.2 if self._shares_a_look_up(victim) else DEATH):
            if not self._shares_a_look_up(victim):
                raise Failure("unkillable", f"{call} is in state {victim.state()} after SIGKILL: {where}")
            self.dying.append((victim.pid, call))
        victim.queue = []
        self._replace(victim)

    def _shares_a_look_up(self, victim):
        """Who looks a name up that somebody looks up already waits inside Linux, which lets no signal through there (d_alloc_parallel). He
        must be gone when the first is answered; quiet.py looks."""
        return "d_alloc_parallel" in self._stack(victim.pid)

    # ---- acts: the view

    def do_stat(self, agent, image, view="images", wait=True):
        def done(_, message, __):
            also = (errno.ENOENT,) if view != "images" or not self.model.versions(image) else ()
            self.checked(image, f"stat in {view}/", message["errno"], also)
            if not message["errno"] and view in ("images", "cached", "incomplete"):
                self.model.size(image, view, message["size"])
        self.submit(agent, done, "stat", wait, path=self.cache.path(view, image))

    def do_ls(self, agent, view="images", wait=True):
        def done(_, message, __):
            if message["errno"]:
                self.checked(None, f"ls {view}/", message["errno"], self._denied())
            elif extra := set(message["names"]) - set(self.model.images) - {SUMS, "SHA512SUMS"}:
                raise Failure("names", f"{view}/ shows {extra}")
        self.submit(agent, done, "ls", wait, path=self.cache.path(view))

    def do_status(self, agent, wait=True):
        def done(_, message, data):
            self.checked(None, "read of .status", message["errno"], self._denied())
            try:
                if not message["errno"]:
                    json.loads(data)
            except ValueError as e:
                raise Failure("status", f"{e}: {data[:300]!r}") from None
        self.submit(agent, done, "text", wait, path=self.cache.path(".status"))

    def _denied(self):
        return DENIED if self.setup.get("shim") or self.disk else ()

    def _manage(self, image, call, *also):
        def done(_, message, __):
            self.checked(image, call, message["errno"], {errno.ENOENT, errno.EBUSY, *also, *self._denied()})
        return done

    def do_touch(self, agent, image, wait=True):
        self.submit(agent, self._manage(image, "touch"), "touch", wait, path=self.cache.path("queued", image))

    def do_rm(self, agent, image, view="cached", wait=True):
        self._again(image)
        self.submit(agent, self._manage(image, f"rm {view}/"), "rm", wait, path=self.cache.path(view, image))

    def do_mv(self, agent, image, wait=True):
        self._again(image)
        self.submit(agent, self._manage(image, "mv to invalid/", errno.EEXIST), "mv", wait, path=self.cache.path("cached", image),
                    to=self.cache.path("invalid", image))

    def do_pin(self, agent, image, on=True, wait=True):
        self.submit(agent, self._manage(image, "pin"), "pin", wait, path=self.cache.path("images", image), on=on)

    def do_tool(self, name):
        program, arguments = TOOLS[name]
        self._again()
        process = self.cache.spawn(path_of(program), "--mount", self.cache.mnt, *arguments, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        self.jobs.append((process, time.monotonic(), program))

    # ---- acts: the program

    def _wait(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise Failure("hang", f"waited for {what}: {self.cache.logged()[-1500:]}")
            if not self.pump(0.005):
                time.sleep(0.005)

    def dead_disk(self):
        """A worker that cannot open its catalogue is given up after eight tries, and the mount with it."""
        return {errno.EIO, errno.EROFS} & set(self.control.values())

    def do_hup(self, options):
        self.configure(options)
        self._hand_over(signal.SIGHUP)

    def do_upgrade(self):
        self._hand_over(signal.SIGUSR2)

    def _hand_over(self, how):
        if self.dead_disk():
            return
        self._again()
        before = self.cache.logged().count("serves " + self.cache.mnt + " now")  # also when the old one dies before it has handed over
        self.cache.process.send_signal(how)
        self._wait(lambda: self.cache.logged().count("serves " + self.cache.mnt + " now") > before, self.bound, "the hand-over")

    def do_kill_worker(self):
        if self.dead_disk():
            return
        self._again()
        for pid in workers(self.cache.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def do_kill_keeper(self):
        """And a new start. What was open is lost."""
        if self.dead_disk():
            return
        self._again()
        self.mount_went = True
        for process, _, _ in self.jobs:
            process.kill()
            process.communicate()
        self.jobs = []
        self.cache.kill()
        for number in range(len(self.agents)):
            self.agents[number].submit(lambda *_: None, "close_all")
        end = time.monotonic() + LOCAL
        while any(a.queue for a in self.agents):
            for agent in wait_any([a for a in self.agents if a.queue], 0.05):
                if not agent.receive():
                    self._lost(agent)
            if time.monotonic() > end:
                stuck = next(a for a in self.agents if a.queue)
                raise Failure("unkillable", f"{stuck.queue[0][0]} goes on without a mount: {self._stack(stuck.pid)}")
        self.handles = {}
        self.mount_went = False
        self.mount()

    # ---- acts: the machine

    def do_disk(self, **codes):
        """The errno of each kind of call from now on; none: it is well again."""
        if any(code in (errno.EIO, errno.EROFS) for code in codes.values()):
            self.model.excuse(None, "the disk failed")
        self._again()
        self.control.update(write=0, sync=0, metadata=0, read=0, folders=0)
        self.control.update(codes)
        self._write_control()

    def do_clock(self, seconds):
        self._again()
        self.control["seconds"] += seconds
        self._write_control()

    def do_fill(self, leave):
        self._again()
        if self.disk:
            self.disk.fill(leave)

    def do_give_back(self):
        if self.disk and os.path.exists(self.disk.ballast):
            self.disk.give_back(wait=False)

    def do_sync(self):
        """Somebody on the host syncs the cache's file system."""
        fd = os.open(self.cache.dir, os.O_RDONLY)
        libc.syncfs(fd)
        os.close(fd)

    def do_wait(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not self.pump(min(left, 0.05)):
                time.sleep(min(0.01, max(0, end - time.monotonic())))

    def do_settle(self):
        self.wait_idle()
