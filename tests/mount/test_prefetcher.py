# SPDX-License-Identifier: Apache-2.0
"""glance-cache-prefetcher: all that is queued, the result of each, and whether all went well."""
import os
import pty
import re
import select
import signal
import subprocess

import pytest

from harness import KIB, MIB, blob, same
from tools import DONE, FAILED, PARTLY, on, path_of, report, tool
from waiting import wait_until

SIZE = 2 * MIB


def serve(cache, origin, count, size=SIZE, **options):
    names = [f"image-{i:02}" for i in range(count)]
    for i, name in enumerate(names):
        origin.put(name, blob(size, i + 1))
    cache.configure(origin.config(retries=0, retry_delay=10), prefetch_retry_delay=600, **options)
    return names


def breaks(origin, name):
    """What lies behind its first bytes cannot be had."""
    return origin.fault(name, when=lambda r: r.range is None or r.range[1] is None or r.range[1] >= MIB, status=500)


def test_nothing_queued(cache, origin):
    serve(cache, origin, 1)
    cache.mount()
    assert "nothing is queued" in on(cache, "prefetcher").stderr
    value = report(cache, "prefetcher")
    assert value["cached_count"] == 0 and value["failed_count"] == 0


def test_twenty_of_which_two_fail(cache, origin):
    names = serve(cache, origin, 20)
    bad = [names[4], names[13]]
    for name in bad:
        breaks(origin, name)
    hold = origin.fault(None, hold_from=MIB, when=lambda r: r.name.startswith("image"))
    cache.mount()
    for name in names:
        cache.touch("queued", name)
    prefetcher = cache.spawn(path_of("glance-cache-prefetcher"), "--mount", cache.mnt, stderr=subprocess.PIPE, text=True)
    assert [line.split(": ")[1] for line in (prefetcher.stderr.readline(), prefetcher.stderr.readline())] == [
        f"on {os.path.realpath(cache.mnt)}\n", "fetching 20 images\n"]
    hold.release()
    text = prefetcher.communicate(timeout=60)[1]
    assert prefetcher.returncode == PARTLY, text
    assert cache.ls("cached") == sorted(set(names) - set(bad))
    for name in names:
        wanted = r"failed: .*500" if name in bad else r"cached, 2\.0 MiB"
        assert len(re.findall(rf"{name}: {wanted}", text)) == 1, text
    assert "18 of 20 images are cached, 2 failed" in text
    assert not re.search(r"\033", text)


def test_tried_at_once_when_it_waits(cache, origin):
    """What failed before and is to be tried again much later is tried now."""
    name, = serve(cache, origin, 1)
    breaks(origin, name)
    cache.mount()
    cache.touch("queued", name)
    wait_until(lambda: cache.entry("queued", name)["state"] == "waiting to try again", what="it to fail")
    value = report(cache, "prefetcher", code=PARTLY)
    assert value["failed_count"] == 1 and "500" in value["images"][0]["error"]
    origin.clear_faults()
    value = report(cache, "prefetcher")
    assert value["cached_count"] == 1 and value["images"][0]["result"] == "cached"
    assert value["images"][0]["bytes"] == SIZE
    assert cache.ls("queued") == [] and cache.ls("cached") == [name]


def test_ids(cache, origin):
    names = serve(cache, origin, 4)
    cache.mount()
    cache.read(names[0])
    cache.wait_cached(names[0])
    done = on(cache, "prefetcher", names[0], names[1], names[2])
    assert cache.ls("cached") == names[:3]
    assert "3 of 3 images are cached" in done.stderr
    done = on(cache, "prefetcher", names[3], "nobody", "../etc/passwd", ".status", code=PARTLY)
    assert cache.ls("cached") == names
    assert "nobody: failed: the backend has no such image" in done.stderr
    assert "1 of 4 images are cached, 3 failed" in done.stderr


def test_a_wrong_digest(cache, origin):
    names = serve(cache, origin, 2)
    origin.put_sums("SHA256SUMS", {names[0]: b"something else", names[1]: blob(SIZE, 2)})
    cache.mount()
    value = report(cache, "prefetcher", *names, code=PARTLY)
    assert {i["image"]: i["result"] for i in value["images"]} == {names[0]: "failed", names[1]: "cached"}


def test_the_backend_is_down(cache, origin):
    name, = serve(cache, origin, 1)
    cache.mount()
    origin.stop()
    value = report(cache, "prefetcher", name, code=PARTLY)
    assert value["images"][0]["result"] == "failed"
    assert cache.ls("queued") == [name]  # not forgotten
    origin.start()
    report(cache, "prefetcher")
    assert cache.ls("cached") == [name]


def test_taken_off_meanwhile(cache, origin):
    names = serve(cache, origin, 2)
    hold = origin.fault(names[0], hold_from=MIB)
    cache.mount()
    for name in names:
        cache.touch("queued", name)
    prefetcher = cache.spawn(path_of("glance-cache-prefetcher"), "--mount", cache.mnt, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: hold.waiting and cache.has("cached", names[1]), what="one to be under way, the other to be here")
    os.unlink(cache.path("queued", names[0]))
    text = prefetcher.communicate(timeout=60)[1]
    assert prefetcher.returncode == PARTLY and f"{names[0]}: failed: it was taken off the queue" in text, text
    hold.release()


def test_jobs(cache, origin):
    """So many at a time, whatever the configuration says."""
    names = serve(cache, origin, 6, prefetch_concurrency=1)
    hold = origin.fault(None, hold_from=MIB, when=lambda r: r.name.startswith("image"))
    cache.mount()
    for name in names:
        cache.touch("queued", name)
    prefetcher = cache.spawn(path_of("glance-cache-prefetcher"), "--mount", cache.mnt, "--jobs", "6", stderr=subprocess.PIPE,
                             text=True)
    wait_until(lambda: len(cache.ls("incomplete")) == 6 and hold.waiting >= 6, what="six to be under way")
    hold.release()
    text = prefetcher.communicate(timeout=60)[1]
    assert prefetcher.returncode == DONE, text
    assert cache.ls("cached") == names
    for i, name in enumerate(names):
        same(cache.stored(name), blob(SIZE, i + 1))
        assert origin.sent(name) == SIZE  # single flight


def test_jobs_and_a_failure(cache, origin):
    names = serve(cache, origin, 4)
    breaks(origin, names[1])
    cache.mount()
    value = report(cache, "prefetcher", "--jobs", "2", *names, code=PARTLY)
    assert value["cached_count"] == 3 and value["failed_count"] == 1


def test_a_signal_ends_it(cache, origin):
    """The file system goes on."""
    for jobs in ([], ["--jobs", "2"]):
        names = serve(cache, origin, 2)
        hold = origin.fault(None, hold_from=MIB, when=lambda r: r.name.startswith("image"))
        cache.mount()
        prefetcher = cache.spawn(path_of("glance-cache-prefetcher"), "--mount", cache.mnt, *jobs, *names, stderr=subprocess.PIPE,
                                 text=True)
        wait_until(lambda: hold.waiting >= 2, what="both to be under way")
        prefetcher.send_signal(signal.SIGINT)
        text = prefetcher.communicate(timeout=30)[1]
        assert prefetcher.returncode == FAILED and "stopped before the end" in text, text
        hold.release()
        wait_until(lambda: cache.ls("cached") == names, what="both to be cached")
        origin.clear_faults()
        for name in names:
            os.unlink(cache.path("cached", name))
        cache.unmount()


def test_dry_run(cache, origin):
    names = serve(cache, origin, 3)
    hold = origin.fault(None, hold_from=0, when=lambda r: r.range is None or r.range[0] > 0)
    cache.mount()
    for name in names[:2]:
        cache.touch("queued", name)
    value = report(cache, "prefetcher", "--dry-run")
    assert sorted(i["image"] for i in value["images"]) == names[:2]
    assert "would be fetched" in on(cache, "prefetcher", "-n", names[2]).stderr
    assert cache.ls("queued") == names[:2]
    hold.release()


def test_interval(cache, origin):
    names = serve(cache, origin, 2)
    cache.mount()
    daemon = cache.spawn(path_of("glance-cache-prefetcher"), "--mount", cache.mnt, "--interval", "1", stderr=subprocess.PIPE,
                         text=True)
    cache.touch("queued", names[0])
    cache.wait_cached(names[0])
    cache.touch("queued", names[1])
    cache.wait_cached(names[1])
    daemon.terminate()
    daemon.communicate(timeout=20)
    assert daemon.returncode == DONE


def test_on_a_terminal(cache, origin):
    """A line for each image under way that changes in place, and in the end the results only."""
    names = serve(cache, origin, 3)
    hold = origin.fault(None, hold_from=MIB, when=lambda r: r.name.startswith("image"))
    cache.mount()
    leader, follower = pty.openpty()
    subprocess.run(["stty", "rows", "24", "cols", "120"], stdin=follower, check=True)
    prefetcher = cache.spawn(path_of("glance-cache-prefetcher"), "--mount", cache.mnt, *names, stderr=follower,
                             env={**os.environ, "TERM": "xterm"})
    os.close(follower)
    text = b""

    def read_more():
        nonlocal text
        if select.select([leader], [], [], 0.05)[0]:
            try:
                text += os.read(leader, 65536)
            except OSError:
                return True
        return False

    wait_until(lambda: read_more() or all(re.search(rb"%s +\[#+-+\] +\d+ %%" % n.encode(), text) for n in names),
               what="the lines")
    assert re.search(rb"0 of 3 images; \d\.\d MiB of 6\.0 MiB, \d+ %", text)  # the sum
    hold.release()
    wait_until(read_more, what="the end")
    assert prefetcher.wait(20) == DONE
    os.close(leader)
    assert b"\033[" in text
    assert screen(text) == [*(f"glance-cache-prefetcher: {n}: cached, 2.0 MiB" for n in names),
                            "glance-cache-prefetcher: 3 of 3 images are cached, 0 failed"]


def screen(text):
    """What stands on the terminal in the end, the order of the results and the times aside."""
    lines, row = [""], 0
    for part in re.findall(rb"\033\[(\d*)([AJK])|(\r?\n)|(\r)|([^\r\n\033]+)", text):
        number, letter, newline, _, plain = part
        if letter == b"A":
            row -= int(number or 1)
        elif letter == b"J":
            lines[row:] = [""]
        elif newline:
            row += 1
            if row == len(lines):
                lines.append("")
        elif plain:
            lines[row] = plain.decode()
    lines = [re.sub(r"(MiB|failed),? in .*", r"\1", line) for line in lines if line and not re.search(": (fetching|on) ", line)]
    return sorted(lines[:-1]) + lines[-1:]


def test_command_lines(cache, origin):
    serve(cache, origin, 1)
    cache.mount()
    for arguments in (["--jobs", "0"], ["--jobs", "many"], ["--frobnicate"]):
        tool("prefetcher", "--mount", cache.mnt, *arguments, code=FAILED)


def test_more_than_fits(cache, origin):
    """The first are evicted for the last: what is here at the end counts."""
    names = serve(cache, origin, 6)
    size = len(origin.blobs[names[0]].content)
    cache.configure(origin.config(), image_cache_max_size=2 * size + size // 2, prefetch_concurrency=1)
    cache.mount()
    value = report(cache, "prefetcher", *names, code=PARTLY)
    here = cache.ls("cached")
    assert value["cached_count"] == len(here) < len(names)
    assert sorted(i["image"] for i in value["images"] if i["result"] == "cached") == here
    assert any("does not fit" in i.get("error", "") for i in value["images"])


# ---- which images

@pytest.fixture
def listed(cache, origin):
    """Images of two families, and one whose name looks like a pattern."""
    for i, name in enumerate(("debian-12.img", "debian-13.img", "ubuntu-24.04.img", "odd[1].img")):
        origin.put(name, blob(100 * KIB, i))
    cache.configure(origin, prefetch_tries=1)
    cache.mount()
    return cache


@pytest.mark.parametrize("asked, got", [
    (["debian*"], ["debian-12.img", "debian-13.img"]), (["debian*", "debian-12.img"], ["debian-12.img", "debian-13.img"]),
    (["*-1[23].img"], ["debian-12.img", "debian-13.img"]), (["ubuntu-24.0?.img"], ["ubuntu-24.04.img"]), (["odd[1].img"], ["odd[1].img"]),
    (["--all"], ["debian-12.img", "debian-13.img", "odd[1].img", "ubuntu-24.04.img"])])
def test_patterns(listed, asked, got):
    value = report(listed, "prefetcher", *asked)
    assert sorted(i["image"] for i in value["images"]) == got == listed.ls("cached")


def test_a_pattern_that_matches_nothing(listed):
    done = on(listed, "prefetcher", "fedora*", code=FAILED)
    assert "no image of the backend matches 'fedora*'" in done.stderr and listed.ls("cached") == []


@pytest.mark.parametrize("standard", [False, True])
def test_of_a_file(listed, tmp_path, standard):
    """A name or pattern a line."""
    path = tmp_path / "list"
    path.write_text("# for the night\n\n  debian-12.img \nubuntu*\r\n")
    with open(path) as f:
        done = subprocess.run([path_of("glance-cache-prefetcher"), "--mount", listed.mnt, "--file", "-" if standard else str(path)],
                              stdin=f, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == DONE, done.stderr
    assert listed.ls("cached") == ["debian-12.img", "ubuntu-24.04.img"]


def test_of_an_empty_file(listed, tmp_path):
    """Nothing, and not all that is queued."""
    (tmp_path / "list").write_text("# nothing\n")
    assert report(listed, "prefetcher", "--file", tmp_path / "list")["images"] == []
    done = on(listed, "prefetcher", "--file", tmp_path / "none", code=FAILED)
    assert "none" in done.stderr and "No such file" in done.stderr


def test_did_you_mean(listed):
    done = on(listed, "prefetcher", "debian-12.imgg", "nothing-like-it-at-all", code=PARTLY)
    assert "debian-12.imgg: failed: the backend has no such image; did you mean debian-12.img?" in done.stderr
    assert "nothing-like-it-at-all: failed: the backend has no such image\n" in done.stderr
