# SPDX-License-Identifier: Apache-2.0
"""glance-cache-status(5): the schema, the manual page, the sources and what the programs say are one."""
import json
import os
import subprocess
import sys

import pytest

import contract
from harness import KIB, MIB, TOP, blob
from tools import DONE, PARTLY, on, path_of, report
from waiting import wait_until

jsonschema = pytest.importorskip("jsonschema")


def test_page_sources_and_schema_agree():
    done = subprocess.run([sys.executable, os.path.join(TOP, "tests", "contract")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_schema_is_one():
    """By its own rules; and nothing that is described may be anything: a key that is not in it is a mistake."""
    jsonschema.Draft202012Validator.check_schema(contract.schema())
    for name, value in contract.schema()["$defs"].items():
        for one in (value, value.get("items", {})):
            assert "properties" not in one or one["additionalProperties"] is False, name


@pytest.mark.parametrize("spoil", [lambda s: s.pop("space"), lambda s: s.update(new=1), lambda s: s["counters"].update(hits="1"),
                                   lambda s: s["backend"]["endpoints"][0].update(state="fine"), lambda s: s.update(mounted_at=-1)])
def test_what_is_not_so_is_seen(cache, origin, spoil):
    """A key that is missing, new, of another kind, of another value: the check can fail."""
    origin.put("image", blob(10 * KIB, 1))
    cache.configure(origin).mount()
    status = cache.status()
    assert contract.mistakes("status", status) == []
    spoil(status)
    assert contract.mistakes("status", status) != []


@pytest.fixture
def busy(cache, origin):
    """A mount on which something of everything is: cached, pinned, open after its eviction, incomplete, queued, failing, failed."""
    for i, name in enumerate(("cached", "pinned", "evicted", "moved", "partly")):
        origin.put(name, blob(300 * KIB if name != "partly" else 2 * MIB, i))
    cache.configure(origin.config(retries=0), fetch_policy="demand")
    cache.mount()
    for name in ("cached", "pinned", "evicted", "moved"):
        cache.read(name)
        cache.wait_cached(name)
    os.setxattr(cache.path("cached", "pinned"), "user.glance.pinned", b"1")
    os.rename(cache.path("cached", "moved"), cache.path("invalid", "moved"))
    cache.read("partly", 4 * KIB, MIB)
    origin.fault("waits", status=503)
    cache.touch("queued", "waits")
    with open(cache.image("evicted"), "rb"):
        os.unlink(cache.path("cached", "evicted"))
        yield cache


def test_the_mount(busy, origin):
    wait_until(lambda: busy.entry("queued", "waits")["failed_tries"] > 0)
    status = busy.status()
    assert status["space"]["pinned"] > 0 and status["space"]["evicted_but_open"] > 0 and status["images"]["evicted_but_open"] == 1
    assert status["oldest_queued_at"] > 0 and status["open_handles"] == 1
    assert status["counters"]["backend_errors_by_reason"]["server"] > 0
    contract.check("status", status, always=True)
    contract.check("queued", busy.entry("queued", "waits"), always=True)
    contract.check("invalid", busy.entry("invalid", "moved"), always=True)
    fault = origin.fault("partly", hold_from=MIB + 512 * KIB)
    busy.touch("queued", "partly")
    wait_until(lambda: busy.status()["fetches"])
    contract.check("status", busy.status(), always=True)
    fault.release()
    old_and_new = {**busy.entry("invalid", "moved"), **busy.entry("queued", "waits"), **status["backend"]["endpoints"][0]}
    for old, new in (("since", "failed_at"), ("queued", "queued_at"), ("next_try", "next_try_at"), ("last_ok", "last_ok_at")):
        assert old_and_new[old] == old_and_new[new]


def test_the_programs(busy):
    """Each with something to tell; what may be missing is there once."""
    top = subprocess.run([path_of("glance-cache-top"), "--mount", busy.mnt, "--json"], capture_output=True, text=True, check=False)
    value = contract.check("top", json.loads(top.stdout), always=True)
    assert value["busiest"] and value["invalid"] and value["troubles"]
    said = [report(busy, "prefetcher", "cached", "never-seen", code=PARTLY)]
    assert "error" in next(i for i in said[0]["images"] if i["result"] == "failed")
    said += [report(busy, "pruner", "--to", "0M", code=PARTLY), report(busy, "cleaner", "--verify", "--stall-time", "0")]
    assert said[1]["removed"] and said[2]["invalid_removed"] and said[2]["stalled_removed"] and said[2]["verified"]["without_digest"] == 1
    for value in said:
        contract.check(value["program"].removeprefix("glance-cache-"), value, always=True)


@pytest.mark.parametrize("name, lists", [("pruner", ["removed", "failed"]), ("cleaner", ["invalid_removed", "stalled_removed", "rotten", "failed"]),
                                         ("prefetcher", ["images"])])
def test_empty_lists_are_lists(cache, origin, name, lists):
    cache.configure(origin).mount()
    value = json.loads(on(cache, name, "--json", code=DONE).stdout)
    assert [value[key] for key in lists] == [[] for _ in lists]
    contract.check(name, value, always=True)
