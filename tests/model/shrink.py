# SPDX-License-Identifier: Apache-2.0
"""Makes a history that fails as short as it goes (delta debugging), as long as the same check fails."""
import copy
import time

PLAIN = {"fetch_policy": "whole", "fetch_whole_after": "8M", "streams": 1, "read_ahead_max": "8M", "revalidate": "never", "passthrough": "off"}


def shrink(history, fails, seconds=120, say=lambda _: None):
    """FAILS(history): does it still fail in the same way? What is returned does."""
    end = time.monotonic() + seconds
    best, step = copy.deepcopy(history), max(1, len(history["acts"]) // 2)
    tried = set()

    def better(candidate):
        key = repr(candidate["acts"]) + repr(candidate["setup"])
        if key in tried or time.monotonic() > end:
            return False
        tried.add(key)
        return fails(candidate)

    while time.monotonic() < end:
        shorter = _without(best, step, better)
        if len(shorter["acts"]) < len(best["acts"]):
            best = shorter
            say(f"{len(best['acts'])} acts")
        elif step > 1:
            step //= 2
        else:
            break
    for key, value in PLAIN.items():
        candidate = copy.deepcopy(best)
        if candidate["setup"]["options"].get(key) not in (None, value):
            candidate["setup"]["options"][key] = value
            if better(candidate):
                best = candidate
    return best


def _without(history, step, better):
    """STEP acts at a time are left out, where it still fails without them; from the end, where the least hangs on them."""
    best = history
    at = len(best["acts"])
    while at > 0:
        candidate = copy.deepcopy(best)
        del candidate["acts"][max(0, at - step):at]
        if len(candidate["acts"]) < len(best["acts"]) and better(candidate):
            best = candidate
        at -= step
    return best
