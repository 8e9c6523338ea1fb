# SPDX-License-Identifier: Apache-2.0
"""Listings of many images, and of ever new ones: what is remembered of them has bounds."""
import json
import os

from harness import blob, same
from waiting import wait_until

MANY = 3000


def listing(names):
    return lambda: ("application/json", json.dumps([{"name": n, "type": "file", "size": 1000} for n in names]).encode())


def known(cache):
    return cache.sql("SELECT count(*) FROM images WHERE state = 0")[0][0]


def test_images_that_are_gone_are_forgotten(cache, origin):
    """Ids that come and go, as those of snapshots do."""
    kept = origin.put("round-0-0", blob(1000, 1))
    cache.configure(origin, list_ttl=0).mount()
    same(cache.read("round-0-0"), kept)
    cache.wait_cached("round-0-0")
    for turn in range(6):
        names = [f"round-{turn}-{i}" for i in range(MANY)]
        origin.listing = listing(names)
        assert set(cache.ls("images")) == set(names) | {"round-0-0"}
        if turn == 0:
            os.setxattr(cache.image("round-0-1"), "user.glance.pinned", b"1")
    # Those of the last two listings, and one that is pinned.
    wait_until(lambda: known(cache) == 2 * MANY + 1, what="the others to be forgotten")
    assert cache.sql("SELECT pinned FROM images WHERE name = 'round-0-1'") == [(1,)]
    same(cache.read("round-0-0"), kept)


def test_of_a_listing_without_end_a_part_is_taken(cache, origin):
    names = [f"image-{i:04}" for i in range(500)]
    origin.listing = listing(names)
    last = origin.put(names[-1], blob(1000, 1))
    cache.configure(origin, list_max=100).mount()
    assert cache.ls("images") == names[:100]
    assert "more than list_max images" in cache.logged()
    same(cache.read(names[-1]), last)


def test_listings_that_break_off_leave_a_bounded_number(cache, origin):
    """Each names others, and none ends."""
    turns = iter(range(10**6))

    def broken():
        turn = next(turns)
        kind, text = listing([f"round-{turn}-{i}" for i in range(1000)])()
        return kind, text[:-1]
    origin.listing = broken
    cache.configure(origin.config(retries=0), list_max=1100, list_ttl=0).mount()
    wait_until(lambda: cache.ls_some("images") and "are forgotten" in cache.logged(), seconds=120, what="too many to be known")
    wait_until(lambda: cache.ls_some("images") and known(cache) <= 3300, seconds=60, what="those that broke off to be forgotten")
