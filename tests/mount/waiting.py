# SPDX-License-Identifier: Apache-2.0
"""Waiting for an event, with a deadline. Sanitized builds get more time (GCFS_PATIENCE, a factor)."""
import os
import time

PATIENCE = float(os.environ.get("GCFS_PATIENCE", "1"))


class TooLate(AssertionError):
    pass


def wait_until(condition, seconds=20, what="the event"):
    """Returns the first true value of condition()."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TooLate(f"waited {seconds * PATIENCE:.0f} s for {what}")
        time.sleep(0.01)
