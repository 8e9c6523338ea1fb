# SPDX-License-Identifier: Apache-2.0
"""tests/layers and tests/circles name what is put wrong on purpose."""
import os
import shutil
import subprocess

import pytest

from harness import TOP


@pytest.fixture
def house(tmp_path):
    """A copy of what tests/layers reads."""
    for name in ("fs", "tools"):
        shutil.copytree(os.path.join(TOP, name), tmp_path / name, ignore=shutil.ignore_patterns("*.o", ".deps"))
    (tmp_path / "doc").mkdir()
    shutil.copy(os.path.join(TOP, "doc", "DESIGN.md"), tmp_path / "doc")
    return tmp_path


def layers(house):
    return subprocess.run([os.path.join(TOP, "tests", "layers"), str(house)], capture_output=True, text=True, check=False)


def test_the_house_as_it_stands(house):
    done = layers(house)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path,line,says", [
    ("fs/base/log.c", '#include "store/store.h"', "fs/base may not know fs/store"),
    ("fs/store/store.c", '#include "catalogue/catalogue.h"', "fs/store may not know fs/catalogue"),
    ("fs/view/view.c", '#include "catalogue/private.h"', '"catalogue/private.h" is private to fs/catalogue'),
    ("fs/engine/engine.c", "#include <sqlite3.h>", "<sqlite3.h> is not for fs/engine"),
    ("fs/image/id.c", '#include "meta.h"', '"meta.h": write the folder, too'),
    ("tools/common/folder.c", '#include "store/store.h"', "a tool may not know fs/store"),
    ("tools/api/http/range.c", '#include "api/calls/page.h"', "tools/api/http may not know tools/api/calls"),
])
def test_a_wrong_include_is_named(house, path, line, says):
    with open(house / path, "a") as f:
        f.write(line + "\n")
    done = layers(house)
    assert done.returncode == 1
    assert f"{path}:" in done.stdout and says in done.stdout


def test_a_folder_on_no_floor_is_named(house):
    (house / "fs" / "attic").mkdir()
    (house / "fs" / "attic" / "old.c").write_text("int old;\n")
    done = layers(house)
    assert done.returncode == 1 and "fs/attic stands on no floor" in done.stdout


@pytest.mark.parametrize("last,returns,says", [("one", 1, ["fs/a/one", "fs/b/two", "fs/c/three", "calls one"]), ("none", 0, [])])
def test_a_loop_of_calls_is_named(tmp_path, last, returns, says):
    for folder, name, calls in (("a", "one", "two"), ("b", "two", "three"), ("c", "three", last)):
        os.makedirs(tmp_path / "fs" / folder)
        source = tmp_path / "fs" / folder / f"{name}.c"
        source.write_text(f"extern int {calls}(void);\nint {name}(void);\nint {name}(void) {{ return {calls}(); }}\n")
        subprocess.run(["cc", "-c", "-o", str(source)[:-2] + ".o", str(source)], check=True)
    done = subprocess.run([os.path.join(TOP, "tests", "circles"), str(tmp_path), str(tmp_path)], capture_output=True, text=True, check=False)
    text = "\n".join(line for line in done.stdout.splitlines() if "take it off the list" not in line)
    assert all(word in text for word in says), done.stdout
    assert ("stands in a loop" in text) == bool(returns)
