# SPDX-License-Identifier: Apache-2.0
"""The model itself: a wrong answer of each kind is caught, a right one is not."""
import errno
import io
import random

import history as histories
import pytest
import recording
from powercut import chooser, cuts
from shrink import shrink
from versions import Failure, Model

SIZE = 300000


@pytest.fixture
def model():
    m = Model()
    m.publish("x", SIZE, 1000)
    return m


def caught(check, call, *arguments, **more):
    with pytest.raises(Failure) as e:
        call(*arguments, **more)
    assert e.value.check == check, e.value


def content(model, number=0):
    return bytes(model.versions("x")[number].content)


def test_right_answers(model):
    handle = model.opened("x", "images", SIZE)
    model.got(handle, 0, SIZE, content(model), 0)
    model.got(handle, 5, 100, content(model)[5:105], 0)
    model.got(handle, SIZE - 10, 100, content(model)[-10:], 0)
    model.got(handle, SIZE, 100, b"", 0)
    model.got(handle, 0, 100, content(model)[:50], errno.EIO)


def test_one_wrong_byte(model):
    handle = model.opened("x", "images", SIZE)
    for at in (0, 1, SIZE // 2, SIZE - 1):
        wrong = bytearray(content(model))
        wrong[at] ^= 1
        caught("bytes", model.got, handle, 0, SIZE, bytes(wrong), 0)


def test_a_hole(model):
    handle = model.opened("x", "images", SIZE)
    caught("bytes", model.got, handle, 65536, 4096, bytes(4096), 0)


def test_a_mix_of_versions(model):
    model.publish("x", SIZE, 2000)
    handle = model.opened("x", "images", SIZE)
    old, new = content(model, 0), content(model, 1)
    caught("bytes", model.got, model.opened("x", "images", SIZE), 0, SIZE, old[:100000] + new[100000:], 0)
    model.got(handle, 0, 4096, old[:4096], 0)
    caught("bytes", model.got, handle, 4096, 4096, new[4096:8192], 0)
    model.got(model.opened("x", "images", SIZE), 4096, 4096, new[4096:8192], 0)


def test_bytes_of_another_place(model):
    handle = model.opened("x", "images", SIZE)
    caught("bytes", model.got, handle, 0, 4096, content(model)[4096:8192], 0)


def test_an_early_end(model):
    handle = model.opened("x", "images", SIZE)
    caught("end", model.got, handle, 0, SIZE, content(model)[:-1], 0)
    caught("end", model.got, handle, 4096, 10, b"", 0)


def test_too_many_bytes(model):
    handle = model.opened("x", "images", SIZE)
    caught("bytes", model.got, handle, 0, SIZE + 1, content(model) + b"\0", 0)


def test_a_wrong_size(model):
    caught("size", model.opened, "x", "images", SIZE + 1)
    caught("size", model.size, "x", "images", 0)


def test_the_end_of_what_does_not_match(model):
    model.publish("x", SIZE, 5000, digest="wrong")
    bad = content(model, 1)
    handle = model.opened("x", "images", SIZE)
    model.got(handle, SIZE - 100, 100, bad[-100:], 0, verified=True)  # a peek
    model.got(handle, 0, SIZE, bad[:-1], errno.EIO, verified=True)
    caught("unverified", model.got, handle, SIZE - 1, 1, bad[-1:], 0, verified=True)
    caught("cached", model.whole, "x", bad, "cached")


def test_what_is_cached(model):
    model.publish("x", SIZE, 2000)
    old, new = content(model, 0), content(model, 1)
    assert model.whole("x", new, "cached").number == 2
    caught("cached", model.whole, "x", old[:65536] + new[65536:], "cached")
    caught("cached", model.whole, "x", old[:-65536] + bytes(65536), "cached")
    caught("cached", model.whole, "x", old[:-1], "cached")


def test_errors(model):
    caught("error", model.failed, "x", "read", errno.EIO)
    model.failed("x", "stat", errno.ENOENT, also=(errno.ENOENT,))
    model.excuse("x", "it was down")
    model.failed("x", "read", errno.EIO)
    caught("errno", model.failed, "x", "read", errno.ESTALE)
    caught("error", model.failed, "y", "read", errno.EIO)
    model.excuse(None, "everything was down")
    model.failed("y", "read", errno.EHOSTUNREACH)


# ---- histories

def test_a_seed_makes_one_history():
    made = [histories.make(seed) for seed in range(300)]
    assert made[:50] == [histories.make(seed) for seed in range(50)]
    assert len({repr(h["acts"]) for h in made}) == 300
    file = io.StringIO()
    histories.dump(made[7], file)
    file.seek(0)
    assert histories.load(file) == made[7]
    acts = {a["do"] for h in made for a in h["acts"]}
    assert acts >= {"open", "read", "stream", "map", "close", "stat", "ls", "status", "touch", "rm", "mv", "pin", "tool", "hup", "upgrade",
                    "kill_worker", "kill_keeper", "kill_reader", "disk", "clock", "fill", "publish", "publish_late", "fault", "down", "wait"}


def test_a_history_is_shrunk():
    history = histories.make(3)
    history["acts"] = [{"do": "wait", "seconds": n} for n in range(40)]
    tried = []

    def fails(candidate):
        tried.append(candidate)
        seconds = [a["seconds"] for a in candidate["acts"]]
        return 7 in seconds and 31 in seconds
    assert [a["seconds"] for a in shrink(history, fails)["acts"]] == [7, 31]
    assert len(tried) < 120 and len(history["acts"]) == 40


# ---- power cuts

class Recorded:
    """A disk of 16 bytes, and what was written to it."""

    def __init__(self, folder, log):
        self.first, self.log = str(folder / "first"), str(folder / "log")
        with open(self.first, "wb") as f:
            f.write(bytes(16))
        with open(self.log, "wb") as f:
            for kind, offset, data in log:
                f.write(recording.RECORD.pack(ord(kind), len(data), offset) + data)


LOG = [("W", 0, b"a"), ("W", 1, b"b"), ("F", 0, b""), ("W", 2, b"c"), ("W", 0, b"A"), ("F", 0, b""), ("W", 3, b"d"), ("W", 4, b"e")]


@pytest.mark.parametrize("cut,chosen,expected", [
    (1, False, b""), (1, True, b"ab"), (2, False, b""), (3, False, b"ab"), (3, True, b"abc"), (4, True, b"Abc"), (4, [False, True], b"Ab"),
    (4, [True, False], b"abc"), (5, False, b"ab"), (6, False, b"Abc"), (7, [False, True], b"Abc\0e"), (7, [True, False], b"Abcd")])
def test_what_a_power_cut_leaves(tmp_path, cut, chosen, expected):
    """All up to the last flush that had come before, of the later writes any."""
    states, path = recording.States(Recorded(tmp_path, LOG), str(tmp_path)), str(tmp_path / "state")
    choices = iter(chosen) if isinstance(chosen, list) else None
    states.make(cut, lambda: next(choices) if choices else chosen, path)
    states.close()
    assert open(path, "rb").read() == expected.ljust(16, b"\0")


def test_states_in_turn(tmp_path):
    """A later state does not know which writes an earlier one took."""
    states, path = recording.States(Recorded(tmp_path, LOG), str(tmp_path)), str(tmp_path / "state")
    for cut, choose, expected in ((1, True, b"ab"), (3, False, b"ab"), (4, True, b"Abc"), (5, False, b"ab"), (7, False, b"Abc")):
        states.make(cut, lambda taken=choose: taken, path)
        assert open(path, "rb").read() == expected.ljust(16, b"\0")
    states.close()


def test_cuts_come_in_order():
    rng = random.Random(1)
    found = [("F" if n % 5 == 4 else "W", 0, 0, 10, 26 * (n + 1)) for n in range(100)]
    for _ in range(20):
        chosen = cuts(rng, found, 26 * 50, 30)
        assert chosen == sorted(chosen) and len(chosen) == 30 and chosen[0] >= 50
    assert {chooser(rng)() for _ in range(200)} == {True, False}
