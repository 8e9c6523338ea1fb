# SPDX-License-Identifier: Apache-2.0
"""The programs that use the mount (GCFS_TOOLS: their folder; else beside the one of GCFS_BINARY), and images made quickly."""
import json
import os
import subprocess

import contract
from harness import MIB, SUSPICIOUS, blob, binary
from waiting import PATIENCE

DONE, FAILED, PARTLY = 0, 1, 2  # exit codes
NAMES = ("glance-cache-pruner", "glance-cache-cleaner", "glance-cache-prefetcher")


def path_of(name):
    folder = os.environ.get("GCFS_TOOLS") or os.path.join(os.path.dirname(os.path.dirname(binary())), "tools")
    path = os.path.join(folder, name)
    assert os.access(path, os.X_OK), f"no program at {path}: build it, or name its folder in GCFS_TOOLS"
    return path


def tool(name, *arguments, code=None, timeout=60, **options):
    """Runs glance-cache-NAME to its end."""
    done = subprocess.run([path_of("glance-cache-" + name), *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="surrogateescape", timeout=timeout * PATIENCE, check=False,
                          **options)
    assert not SUSPICIOUS.search(done.stderr), done.stderr
    assert code is None or done.returncode == code, f"exit {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def on(cache, name, *arguments, code=DONE, **options):
    """The same on the mount of CACHE."""
    return tool(name, "--mount", cache.mnt, *arguments, code=code, **options)


def report(cache, name, *arguments, **options):
    """Its JSON report."""
    done = on(cache, name, "--json", *arguments, **options)
    value = json.loads(done.stdout)
    assert value["program"] == "glance-cache-" + name and value["mount"] == os.path.realpath(cache.mnt)
    assert value["exit"] == done.returncode
    return contract.check(name, value)


def folder_of_images(cache, count, size=MIB, **options):
    """A file backend of COUNT images, image-00 and so on, mounted; nothing is read yet. Returns their names."""
    folder = os.path.join(cache.root, "images")
    os.makedirs(folder, exist_ok=True)
    names = [f"image-{i:02}" for i in range(count)]
    for i, name in enumerate(names):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(blob(size, i + 1))
    cache.configure({"type": "file", "path": folder}, **options)
    cache.mount()
    return names


def fill(cache, names):
    """Reads them in this order, so that the first is used longest ago."""
    for name in names:
        cache.read(name)
        cache.wait_cached(name)
