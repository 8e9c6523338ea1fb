# SPDX-License-Identifier: Apache-2.0
"""What the programs say in JSON keeps to conf/glance-cache.schema.json: the harness has each document that tests get looked at here.

A document of some kind is looked at twice a second at most: tests ask for .status in a loop. Programs of another build than this tree's are left
alone, for the schema is not theirs, and so is everything where python3-jsonschema is not installed (test_contract.py then says so).
"""
import functools
import json
import os
import time

try:
    import jsonschema
except ImportError:
    jsonschema = None

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAUSE = 0.5  # seconds
_last = {}


@functools.cache
def schema():
    with open(os.path.join(TOP, "conf", "glance-cache.schema.json"), encoding="utf-8") as f:
        return json.load(f)


@functools.cache
def validator(kind):
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema()["$defs"]})


@functools.cache
def is_ours():
    path = os.environ.get("GCFS_BINARY")
    return jsonschema is not None and (not path or os.path.realpath(path).startswith(TOP + os.sep))


def mistakes(kind, value):
    """What of VALUE is not as the schema has KIND, a line each."""
    return [f"{kind}: {'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in validator(kind).iter_errors(value)]


def check(kind, value, always=False):
    """Fails when VALUE is none of KIND. Returns VALUE."""
    now = time.monotonic()
    if is_ours() and (always or now - _last.get(kind, 0) >= PAUSE):
        _last[kind] = now
        wrong = mistakes(kind, value)
        assert not wrong, "not as conf/glance-cache.schema.json has it: " + "; ".join(wrong[:5])
    return value
