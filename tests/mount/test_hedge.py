# SPDX-License-Identifier: Apache-2.0
"""Requests that get stuck: one that is later than others like it is asked a second time, and nobody waits for the first."""
import os
import random

import pytest

from harness import KIB, MIB, blob, same
from origin import Origin

pytestmark = pytest.mark.deadline(30)  # not until the stall is noticed, which is an hour here

SIZE = 64 * MIB
CONTENT = blob(SIZE, 75)
PART = 64 * KIB


PLACES = random.Random(75).sample(range(8, SIZE // MIB * 4), 240)


def reads(cache, places):
    fd = os.open(cache.image("image"), os.O_RDONLY)
    for place in places:
        same(os.pread(fd, PART, place * MIB // 4), CONTENT[place * MIB // 4:place * MIB // 4 + PART])
    os.close(fd)


@pytest.mark.parametrize("how", ["no head", "no more bytes"])
@pytest.mark.parametrize("servers", [1, 2])
def test_a_stuck_request(cache, origin, servers, how):
    other = Origin() if servers == 2 else origin
    for server in {origin, other}:
        server.put("image", CONTENT)
    urls = origin.url if other is origin else f"{origin.url} {other.url}"
    cache.configure({**origin.config(), "url": urls, "stall_timeout": 3600, "checksums": "none"}, fetch_policy="demand", read_ahead_max=0).mount()
    reads(cache, PLACES[:150])  # what is usual is known now
    seen = [0]

    def one_in_forty(request):
        seen[0] += request.range is not None and request.range[0] > 0
        return seen[0] % 40 == 39
    stuck = origin.fault("image", when=one_in_forty, **({"hold_head": True} if how == "no head" else {"stall_after": 5000}))
    before = len(origin.requests()) + (len(other.requests()) if other is not origin else 0)
    try:
        reads(cache, PLACES[150:])
        assert stuck.taken >= 2
        after = len(origin.requests()) + (len(other.requests()) if other is not origin else 0)
        assert after - before <= 90 + 2 * stuck.taken + 4  # and what is only slow on this machine is asked twice in bounds
        assert cache.status()["counters"]["backend_errors"] == 0
    finally:
        stuck.release()
        if other is not origin:
            other.close()
