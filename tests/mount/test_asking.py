# SPDX-License-Identifier: Apache-2.0
"""Who waits for bytes that nobody asked for is looked for only when that may have changed: each change that leaves somebody waiting is seen."""
import concurrent.futures
import errno
import mmap
import os

import pytest

from harness import KIB, MIB, blob, error_of, same
from waiting import PATIENCE, wait_until

SIZE, APART, AT_ONCE = 48 * MIB, 2 * MIB, 8
PLACES = range(APART, SIZE - APART, APART)


def read_page(path, offset):
    """Past the page cache, so that each reader waits for his own page."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        page = mmap.mmap(-1, 4 * KIB)
        return page[:os.preadv(fd, [page], offset)]
    finally:
        os.close(fd)


def give_up(cache):
    """Has what is here of the image dropped, as soon as its file is made: until then it is busy."""
    wait_until(lambda: error_of(os.unlink, cache.path("incomplete", "image")) != errno.EBUSY, what="its file to be made")


@pytest.fixture
def held(cache, origin):
    """An image of which only what lies ahead of all PLACES is answered. (its content, the fault, how to begin a reader at a place)"""
    content = origin.put("image", blob(SIZE, 1))
    fault = origin.fault("image", when=lambda r: r.range is not None and r.range[0] >= APART, hold_head=True)
    cache.configure(origin.config(stall_timeout=600), fetch_policy="demand", read_ahead_max=0).mount()
    same(cache.read("image", 4 * KIB), content[:4 * KIB])
    pool = concurrent.futures.ThreadPoolExecutor(len(PLACES))
    readers = {}

    def begin(place):
        readers[place] = pool.submit(read_page, cache.image("image"), place)
    try:
        yield content, fault, readers, begin
    finally:
        origin.clear_faults()
        cache.kill()  # whoever still waits gets an error
        pool.shutdown()


def all_right(content, readers):
    for place, reader in readers.items():
        same(reader.result(timeout=60 * PATIENCE), content[place:place + 4 * KIB])


def test_who_comes_while_others_wait(held):
    """Nothing else changes than that he is there; and with all requests for readers in use, his turn comes when one of them ends."""
    content, fault, readers, begin = held
    for number, place in enumerate(PLACES, 1):
        begin(place)
        wait_until(lambda number=number: fault.waiting == min(number, AT_ONCE), what=f"reader {number} to be asked for")
    fault.release()
    all_right(content, readers)


@pytest.mark.parametrize("count", [1, AT_ONCE, len(PLACES)])
def test_whose_requests_are_given_up(cache, origin, held, count):
    """Those who wait stay, what was asked for them is not any more, and of the new file as much is here as of the old one: nothing."""
    content, fault, readers, begin = held
    give_up(cache)
    for place in PLACES[:count]:
        begin(place)
    wait_until(lambda: fault.waiting == min(count, AT_ONCE), what="the readers to be asked for")
    before = len(origin.requests("image"))
    give_up(cache)
    wait_until(lambda: len(origin.requests("image")) >= before + min(count, AT_ONCE), what="the readers to be asked for again")
    fault.release()
    all_right(content, readers)


def test_whose_connections_break_off(cache, origin, held):
    content, fault, readers, begin = held
    for place in PLACES:
        begin(place)
    wait_until(lambda: fault.waiting == AT_ONCE, what="the readers to be asked for")
    origin.stop()
    fault.release()
    origin.start()
    all_right(content, readers)
