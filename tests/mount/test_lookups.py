# SPDX-License-Identifier: Apache-2.0
"""Many look-ups of a server that takes its time: so many are under way and no more, and each user has turns of his own."""
import os
import subprocess
import sys

import pytest

from harness import MIB, blob, same
from waiting import wait_until
from workers import worker_of

MANY = """
import os, sys, threading
threading.stack_size(64 << 10)
folder, count, prefix = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def look(i):
    try:
        os.stat(f"{folder}/{prefix}{i}")
    except OSError as e:
        codes.add(e.errno)
codes = set()
threads = [threading.Thread(target=look, args=(i,)) for i in range(count)]
for t in threads: t.start()
for t in threads: t.join()
print(sorted(codes))
"""


def as_another(cache, code, *args):
    """The same mount, used by a user that is not root."""
    return cache.spawn("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", sys.executable, "-c", code, *args,
                       stdout=subprocess.PIPE, text=True)


def slow(cache, origin, count):
    """Another user looks up COUNT names that get no answer."""
    origin.put("image", blob(MIB))
    fault = origin.fault(when=lambda r: (r.name or "").startswith("slow-"), hold_head=True, status=404)
    cache.configure(origin.config(stall_timeout=600))
    cache.mount("-o", "allow_other")
    process = as_another(cache, MANY, cache.path("images"), count, "slow-")
    wait_until(lambda: fault.waiting >= 32, what="his look-ups to be under way")
    return fault, process


def test_another_user_is_not_held_up(cache, origin):
    fault, process = slow(cache, origin, 300)
    same(cache.read("image"), blob(MIB))
    for i in range(20):
        assert not os.path.exists(cache.image(f"missing-{i}"))
    assert fault.waiting == 32, "more of one user than his share"
    fault.release()
    assert process.communicate(timeout=60)[0].strip() == "[2]"


def test_a_name_that_another_waits_for(cache, origin):
    """Behind the many that he wants there is one that somebody else wants, too: it is looked up with the other's turn."""
    origin.put("wanted-0", blob(MIB))
    fault, process = slow(cache, origin, 40)
    behind = as_another(cache, MANY, cache.path("images"), 1, "wanted-")
    same(cache.read("wanted-0"), blob(MIB))
    assert behind.communicate(timeout=60)[0].strip() == "[]"
    assert fault.waiting == 32
    fault.release()
    process.communicate(timeout=60)


def test_killed_while_waiting(cache, origin):
    """Look-ups that nobody waits for any more are not made."""
    fault, process = slow(cache, origin, 300)
    process.kill()
    process.wait()
    fault.release()
    same(cache.read("image"), blob(MIB))
    wait_until(lambda: fault.waiting == 0, what="those under way to end")
    origin.settle()
    assert len({r.name for r in origin.requests() if (r.name or "").startswith("slow-")}) < 100


@pytest.mark.deadline(120)
def test_memory(cache, origin):
    """A look-up that waits for its answer is small."""
    origin.put("first", b"x")
    fault, process = slow(cache, origin, 33)
    before = cache.memory()
    second = as_another(cache, MANY, cache.path("images"), 1200, "slow-more-")
    wait_until(lambda: len(os.listdir(f"/proc/{second.pid}/task")) > 1200, what="all of them to be asked for")
    assert cache.memory() - before < 16 * 1024, "KiB"
    assert len(os.listdir(f"/proc/{worker_of(cache)}/fd")) < 200
    fault.release()
    process.communicate(timeout=60)
    assert second.communicate(timeout=100)[0].strip() == "[2]"
