# SPDX-License-Identifier: Apache-2.0
"""What is installed beside the programs: configuration, units, cron, fstab, nginx, completion, manuals."""
import errno
import glob
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from harness import KIB, MIB, TOP, binary, blob, error_of, is_mounted, same
from tools import NAMES, folder_of_images, path_of
from waiting import wait_until

CONF = os.path.join(TOP, "conf")
DOC = os.path.join(TOP, "doc")
OVER_HTTP = ("glance-cache-api", "glance-cache-manage")
PROGRAMS = ("glance-cache-fs", *NAMES, "glance-cache-top", *OVER_HTTP)


def run(*command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, **options)


def program(name):
    if name in OVER_HTTP:
        kind = name.rsplit("-", 1)[1]
        return os.environ.get(f"GCFS_{kind.upper()}_BINARY") or os.path.join(os.path.dirname(os.path.dirname(binary())), "tools", kind, name)
    return binary() if name == "glance-cache-fs" else path_of(name)


def needs(command):
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")


@pytest.fixture
def bin_dir(tmp_path):
    """All programs in one folder, under their names."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).symlink_to(program(name))
    return str(folder)


def filled_in(path, bin_dir, etc="/etc"):
    text = open(os.path.join(CONF, path + ".in")).read()
    return text.replace("@bindir@", bin_dir).replace("@sysconfdir@", etc)


# ---- the programs

@pytest.mark.parametrize("name", PROGRAMS)
def test_version_and_help(name):
    said = {run(program(name), option).stdout for option in ("--version", "-V")}
    assert len(said) == 1 and re.fullmatch(rf"{name} \(glance-cache-fs\) \d+\.\d+\.\d+, commit (unknown|[0-9a-f]{{7,40}}(-dirty)?)\n", said.pop())
    for option in ("--help", "-h"):
        done = run(program(name), option)
        assert done.returncode == 0 and done.stderr == "" and done.stdout.startswith(f"Usage: {name} ")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 110 and len(lines) <= 80
    assert {"-v", "-d", "-h", "-V"} <= set(re.findall(r"(?<![\w-])-[a-zA-Z]\b", done.stdout)) | ({"-d"} if "--debug" in done.stdout else set())


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("wrong", [["--nonsense"], ["-Z"], ["a", "b", "c", "d"]])
def test_a_mistake_on_the_command_line(name, wrong):
    """The same in all: 1, nothing done, what is wrong, and where more stands. `Some failed` is 2 and nothing else."""
    if name.endswith("prefetcher") and wrong[0] == "a" or name.endswith("manage") and wrong[0] == "a":
        pytest.skip("it takes names")
    done = run(program(name), *wrong)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.endswith(f"Try {name} --help.\n"), done
    assert len(done.stderr.splitlines()) == 2 and wrong[0].lstrip("-") in done.stderr or name == "glance-cache-fs"


def test_options_of_the_configuration_by_themselves():
    done = run(program("glance-cache-fs"), "--help-config")
    assert done.returncode == 0 and "image_cache_max_size = 10G" in done.stdout and "[backend]" in done.stdout


def options_of(name):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", run(program(name), "--help").stdout))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_manual_has_every_option(name):
    path, = glob.glob(os.path.join(DOC, name + ".[18]"))
    text = open(path).read()
    documented = {"--" + o for o in re.findall(r"Fl -([a-z][a-z-]+)", text)} | {
        "--" + o for line in re.findall(r"^\.It Fl .*", text, re.M) for o in re.findall(r" -([a-z][a-z-]+)", line)}
    assert options_of(name) == documented


@pytest.mark.parametrize("page", sorted(os.path.basename(p) for p in glob.glob(os.path.join(DOC, "*.[158]"))))
def test_manuals(page):
    path = os.path.join(DOC, page)
    if shutil.which("mandoc"):
        done = run("mandoc", "-T", "lint", "-W", "warning", path)
        assert done.stdout + done.stderr == ""
    elif shutil.which("man"):
        done = run("man", "--warnings", "-l", path, env={**os.environ, "MAN_KEEP_FORMATTING": "1"})
        assert done.returncode == 0 and done.stderr == ""
    else:
        pytest.skip("neither mandoc nor man is installed")


@pytest.mark.parametrize("name", PROGRAMS)
def test_there_is_a_manual(name):
    assert glob.glob(os.path.join(DOC, name + ".[18]")) != []


# ---- the configuration

def test_the_sample_has_every_option():
    """In the order of the table, with the defaults."""
    def names(text, pattern):
        return re.findall(pattern, text, re.M)
    sample = open(os.path.join(CONF, "glance-cache.conf")).read()
    help_text = run(binary(), "--help-config").stdout
    table = names(help_text, r"^    ([a-z0-9_]+)(?: = | \(|$)")
    assert len(table) > 20 and names(sample, r"^#?([a-z0-9_]+) = ") == table
    for name, default in names(help_text, r"^    ([a-z0-9_]+) = (.*?)(?: \([a-z ]+\))?$"):
        assert re.search(rf"^#?{name} = {re.escape(default)}$", sample, re.M), name


# ---- units

UNITS = sorted(os.path.basename(p)[:-3] for p in glob.glob(os.path.join(CONF, "systemd", "*.in")))


@pytest.fixture
def units(tmp_path, bin_dir):
    folder = tmp_path / "units"
    folder.mkdir()
    for name in UNITS:
        (folder / name).write_text(filled_in(os.path.join("systemd", name), bin_dir))
    return folder


def test_units_are_right(units):
    needs("systemd-analyze")
    done = run("systemd-analyze", "verify", "--man=no", *(str(units / n) for n in UNITS))
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "glance-cache" in line]
    assert done.returncode == 0 and ours == [], done.stdout + done.stderr


def test_units_are_complete():
    names = {n.rsplit(".", 1)[0] for n in UNITS}
    assert {"glance-cache-fs", "glance-cache-pruner", "glance-cache-cleaner", "glance-cache-prefetcher"} <= names
    for name in names - {"glance-cache-fs", "glance-cache-api"}:
        assert {name + ".service", name + ".timer"} <= set(UNITS)
    built = open(os.path.join(CONF, "Makefile.am")).read()
    assert all("systemd/" + n in built for n in UNITS)


def test_the_mount_is_seen_by_all():
    """None of the options that give a service a mount namespace of its own."""
    text = open(os.path.join(CONF, "systemd", "glance-cache-fs.service.in")).read()
    own = (r"Private(Tmp|Devices|Mounts|Network|Users)|Protect(System|Home|KernelTunables|KernelModules|KernelLogs|ControlGroups|"
           r"Clock|Proc)|ProcSubset|ReadOnlyPaths|ReadWritePaths|InaccessiblePaths|TemporaryFileSystem|Bind(ReadOnly)?Paths|"
           r"Root(Directory|Image)|DynamicUser|MountFlags|(State|Cache|Logs|Runtime|Configuration)Directory")
    assert not re.search(rf"^({own})=", text, re.M)


@pytest.mark.parametrize("unit, worst", [("glance-cache-fs", 5.0), ("glance-cache-api", 3.0), ("glance-cache-pruner", 3.0),
                                         ("glance-cache-cleaner", 3.0),                                         ("glance-cache-verify", 3.0), ("glance-cache-prefetcher", 3.0)])
def test_units_are_hardened(units, unit, worst):
    needs("systemd-analyze")
    done = run("systemd-analyze", "security", "--offline=yes", str(units / (unit + ".service")))
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    if found is None:
        pytest.skip("this systemd-analyze cannot look at a unit that is not loaded")
    assert float(found[1]) <= worst, done.stdout


# ---- cron

def test_cron(cache, bin_dir):
    """Each line has a time, a user and a command, and the commands do their work."""
    folder_of_images(cache, 2)
    cache.read("image-00")
    cache.wait_cached("image-00")
    lines = [line for line in filled_in("glance-cache.cron", bin_dir).splitlines() if line and line[0] != "#"]
    jobs = [line for line in lines if not re.match(r"[A-Z]+=", line)]
    assert len(jobs) == 4
    seen = set()
    for job in jobs:
        *when, user, command = job.split(None, 6)
        assert len(when) == 5 and all(re.fullmatch(r"[0-9*/,-]+", w) for w in when) and user == "root"
        seen.add(os.path.basename(command.split()[0]))
        done = run("sh", "-c", f"{command} --mount {cache.mnt}")
        assert done.returncode == 0 and done.stdout + done.stderr == "", done
    assert seen == set(NAMES)
    assert cache.ls("cached") == ["image-00"]


# ---- fstab

def test_fstab(cache, bin_dir):
    needs("mount.fuse3")
    folder = os.path.join(cache.root, "images")
    os.makedirs(folder)
    open(os.path.join(folder, "image"), "wb").write(b"content")
    os.makedirs(os.path.join(cache.root, "glance-cache"))
    cache.conf = os.path.join(cache.root, "glance-cache", "glance-cache.conf")
    cache.configure({"type": "file", "path": folder})
    text = filled_in("glance-cache.fstab", bin_dir, cache.root).replace("/srv/glance", cache.mnt)
    line, = (line.split() for line in text.splitlines() if line[0] != "#")
    assert len(line) == 6 and line[2] == "fuse.glance-cache-fs" and "allow_other" in line[3]
    # As mount(8) calls it, which would look in the system's PATH.
    done = run("mount.fuse3", line[0], line[1], "-o", line[3], "-t", line[2],
               env={**os.environ, "PATH": bin_dir + ":" + os.environ["PATH"]})
    assert done.returncode == 0, done.stderr
    try:
        same(cache.read("image"), b"content")
    finally:
        run("umount", cache.mnt)
    wait_until(lambda: not is_mounted(cache.mnt), what="the unmount")
    lock = os.path.join(cache.dir, ".lock")
    wait_until(lambda: run("flock", "-n", lock, "true").returncode == 0, what="the program to end")


# ---- nginx

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def make_site(make_cache, request):
    """make_site(cache) → the url of nginx with our site, over that mount and glance-cache-api on it."""
    yield from sites_of(request)


def sites_of(request):
    processes = []

    def make(cache):
        needs("nginx")
        port, behind = free_port(), free_port()
        conf = os.path.join(cache.root, "api.conf")
        with open(conf, "w") as f:
            f.write(open(cache.conf).read() + f"\n[api]\nlisten = 127.0.0.1:{behind}\nmount = {cache.mnt}\n")
        with open(os.path.join(cache.root, "api.log"), "wb") as log:
            processes.append(cache.spawn(program("glance-cache-api"), "--config-file", conf, stdout=log, stderr=log))
        text = filled_in("glance-cache.nginx", "/usr/bin").replace("listen 127.0.0.1:9293", f"listen 127.0.0.1:{port}")
        text = text.replace("127.0.0.1:9292", f"127.0.0.1:{behind}").replace("/srv/glance", cache.mnt)
        processes.append(start_nginx(cache, text))
        wait_until(lambda: all(map(listens, (port, behind))) or any(p.poll() is not None for p in processes), what="nginx and the api")
        assert all(p.poll() is None for p in processes), open(os.path.join(cache.root, "api.log")).read()
        return f"http://127.0.0.1:{port}"
    yield make
    for process in reversed(processes):
        process.terminate()
        process.wait(20)


def start_nginx(cache, text):
    path = os.path.join(cache.root, "nginx.conf")
    with open(path, "w") as f:
        f.write(f"user root; worker_processes 1; daemon off; pid {cache.root}/nginx.pid; error_log {cache.root}/error.log;\n"
                f"events {{ }}\nhttp {{ access_log off;\n{text}\n}}\n")
    done = run("nginx", "-t", "-c", path)
    assert done.returncode == 0, done.stderr
    return cache.spawn("nginx", "-c", path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def site(cache, make_site):
    """nginx with our site, over a mount with three images."""
    cache.names = folder_of_images(cache, 3, 3 * MIB + 17)
    return make_site(cache)


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return answer.status, answer.headers, answer.read()


def test_nginx(site, cache):
    content = blob(3 * MIB + 17, 2)
    status, headers, body = get(site + "/images/image-01")  # cold
    assert status == 200 and headers["Content-Type"] == "application/octet-stream"
    same(body, content)
    cache.wait_cached("image-01")
    same(get(site + "/images/image-01")[2], content)
    status, headers, body = get(site + "/images/image-01", Range=f"bytes={MIB}-{2 * MIB - 1}")
    assert status == 206 and headers["Content-Range"] == f"bytes {MIB}-{2 * MIB - 1}/{len(content)}"
    same(body, content[MIB:2 * MIB])
    status, headers, _ = get(site + "/images/image-02", Range=f"bytes=-{KIB}")  # cold, its end
    assert status == 206
    assert {e["name"] for e in json.loads(get(site + "/images/")[2])} == set(cache.names)
    for url, code in (("/images/nobody", 404), ("/", 404), ("/.status", 404), ("/images/../cached/", 404)):
        with pytest.raises(urllib.error.HTTPError) as e:
            get(site + url)
        assert e.value.code == code
    with pytest.raises(urllib.error.HTTPError) as e:
        urllib.request.urlopen(urllib.request.Request(site + "/images/image-01", method="DELETE"), timeout=30)
    assert e.value.code in (403, 405)


def test_nginx_as_the_backend_of_another_host(site, cache, make_cache):
    other = make_cache()
    other.configure({"type": "http", "url": site + "/images/{id}"}).mount()
    assert other.ls("images") == cache.names
    same(other.read("image-00"), blob(3 * MIB + 17, 1))
    other.wait_cached("image-00")


@pytest.mark.parametrize("changes", [False, True], ids=["stays", "changes"])
@pytest.mark.parametrize("etag", [None, ""], ids=["etag", "no etag"])
@pytest.mark.parametrize("modified", ["Wed, 01 Jan 2025 00:00:00 GMT", ""], ids=["date", "no date"])
def test_nginx_tells_versions_apart(cache, make_cache, make_site, origin, etag, modified, changes):
    """A host fetches while the node does, first from the api, then from nginx: one version, whatever the origin tells of it."""
    old, new = blob(16 * MIB, 61), blob(16 * MIB, 62)
    origin.put("image", old, etag=etag, modified=modified)
    hold = origin.fault("image", hold_from=6 * MIB)
    site = make_site(cache.configure(origin, list_ttl=0).mount())
    other = make_cache().configure({"type": "http", "url": site + "/images/{id}", "retry_delay": 10, "list_url": "none"}, list_ttl=0,
                                   fetch_policy="demand").mount()
    fd = os.open(other.image("image"), os.O_RDONLY)
    try:
        same(os.pread(fd, MIB, 0), old[:MIB])
        wait_until(lambda: hold.waiting, what="the node's fetch to be held back")
        origin.clear_faults()
        cache.read("image")
        cache.wait_cached("image")  # from here on nginx sends it
        same(os.pread(fd, MIB, 12 * MIB), old[12 * MIB:13 * MIB])
        if changes:
            origin.put("image", new, etag=etag, modified=modified and "Thu, 02 Jan 2025 00:00:00 GMT")
            os.unlink(cache.path("cached", "image"))
        for offset in range(0, 16 * MIB, 64 * KIB):
            try:
                same(os.pread(fd, 64 * KIB, offset), old[offset:offset + 64 * KIB])
            except OSError as e:
                assert changes and e.errno in (errno.EIO, errno.ESTALE)
                break
    finally:
        os.close(fd)
    if changes:  # a node that was not asked to look again serves what it knows to be there for a moment
        wait_until(lambda: error_of(other.read, "image") == 0 and other.read("image", 10) == new[:10], what="the new version")
    same(other.read("image"), new if changes else old)


def test_nginx_says_that_it_cannot(cache, make_cache, make_site, origin):
    """A node whose origin is down has not lost an image: no host throws its copy away."""
    content = origin.put("image", blob(3 * MIB, 63))
    site = make_site(cache.configure(origin.config(retries=0, retry_delay=10), list_ttl=0).mount())
    other = make_cache().configure({"type": "http", "url": site + "/images/{id}", "list_url": "none", "retries": 0},
                                   revalidate="on-open").mount()
    same(other.read("image"), content)
    other.wait_cached("image")
    cache.wait_cached("image")
    origin.stop()
    os.unlink(cache.path("cached", "image"))
    with pytest.raises((urllib.error.HTTPError, http.client.IncompleteRead)) as e:
        get(site + "/images/image")
    assert getattr(e.value, "code", 503) >= 500
    same(other.read("image"), content)
    assert other.ls("cached") == ["image"]


def test_nginx_does_not_wait_for_what_is_cold(cache, make_site, origin):
    """Its one worker serves others while the backend does not answer."""
    origin.put("warm", blob(MIB, 1))
    origin.put("cold", blob(MIB, 2))
    site = make_site(cache.configure(origin.config(stall_timeout=600)).mount())
    cache.read("warm")
    cache.wait_cached("warm")
    hold = origin.fault("cold", hold_head=True)
    waiting = cache.python("import sys, urllib.request; urllib.request.urlopen(sys.argv[1]).read()", site + "/images/cold")
    wait_until(lambda: hold.waiting, what="the backend to be asked")
    same(get(site + "/images/warm")[2], blob(MIB, 1))
    assert waiting.poll() is None
    hold.release()
    assert waiting.wait(60) == 0


# ---- completion

def complete(bin_dir, *words):
    """What bash offers for the last word."""
    script = f"""
        PATH={bin_dir}:$PATH
        source {CONF}/completion/glance-cache
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        compopt() {{ :; }}
        _glance_cache "$1" "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
        [ ${{#COMPREPLY[@]}} -eq 0 ] || printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = run("bash", "-c", script, "bash", *words)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.splitlines()


def zsh(bin_dir, *words):
    """What zsh offers for the last word."""
    script = f"""
        PATH={bin_dir}:$PATH
        compadd() {{ while [[ $1 != -- ]]; do shift; done; shift; print -rl -- "$@" }}
        _files() {{ print FILES }}
        _hosts() {{ print HOSTS }}
        words=("$@") CURRENT=$#
        source {CONF}/completion/glance-cache.zsh
    """
    done = run("zsh", "-f", "-c", script, "zsh", *words)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith(words[-1])]


def fish(bin_dir, *words):
    """What fish offers for the last word."""
    line = " ".join(words)
    done = run("fish", "-N", "-c", f"set PATH {bin_dir} $PATH; source {CONF}/completion/glance-cache.fish; complete -C '{line}'",
               env={**os.environ, "HOME": bin_dir, "XDG_CONFIG_HOME": bin_dir})
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("offers", [zsh, fish])
def test_other_shells_offer_the_same(cache, bin_dir, offers):
    """Options, mounts, images, commands: as bash does."""
    needs(offers.__name__)
    folder_of_images(cache, 2)
    for name in PROGRAMS:
        assert {o for o in offers(bin_dir, name, "--") if o.startswith("--")} == options_of(name), name
    assert offers(bin_dir, "glance-cache-pruner", "--vers") == ["--version"]
    assert os.path.realpath(cache.mnt) in [m.rstrip("/") for m in offers(bin_dir, "glance-cache-pruner", "--mount", cache.mnt)]
    assert offers(bin_dir, "glance-cache-prefetcher", "--mount", cache.mnt, "image-") == ["image-00", "image-01"]
    assert set(offers(bin_dir, "glance-cache-manage", "l")) == set(complete(bin_dir, "glance-cache-manage", "l")) >= {"list-cached", "list-invalid"}
    assert offers(bin_dir, "glance-cache-pruner", "--interval", "") == []


def test_completion_is_registered(bin_dir):
    done = run("bash", "-c", f"source {CONF}/completion/glance-cache && complete -p")
    for name in PROGRAMS:
        assert re.search(rf"-F _glance_cache {name}$", done.stdout, re.M)


@pytest.mark.parametrize("name", PROGRAMS)
def test_completion_of_options(bin_dir, name):
    offered = complete(bin_dir, name, "--")
    assert set(offered) == options_of(name)
    assert complete(bin_dir, name, "--vers") == ["--version"]


def test_completion_of_values(cache, bin_dir):
    folder_of_images(cache, 2)
    mounts = complete(bin_dir, "glance-cache-pruner", "--mount", "")
    assert os.path.realpath(cache.mnt) in mounts
    assert complete(bin_dir, "glance-cache-prefetcher", "--mount", cache.mnt, "image-") == ["image-00", "image-01"]
    assert cache.conf in complete(bin_dir, "glance-cache-cleaner", "--config-file", cache.root + "/")
    assert complete(bin_dir, "glance-cache-pruner", "--interval", "") == []


# ---- make install

def test_install(tmp_path):
    """Everything goes where the options say, and an edited configuration is left alone."""
    tree = os.path.dirname(os.path.dirname(binary()))
    if not os.path.exists(os.path.join(tree, "conf", "Makefile")):
        pytest.skip("the programs were not built in a tree with a Makefile")
    units, completions = tmp_path / "units", tmp_path / "completions"
    command = ["make", "-s", "-C", os.path.join(tree, "conf"), "install", f"prefix={tmp_path}/usr", f"sysconfdir={tmp_path}/etc",
               f"systemdsystemunitdir={units}", f"bashcompletiondir={completions}", f"zshcompletiondir={tmp_path}/zsh",
               f"fishcompletiondir={tmp_path}/fish", f"docdir={tmp_path}/doc"]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(units)) == UNITS
    assert not any("@" in line for name in UNITS for line in open(units / name) if not line.startswith("SystemCallFilter"))
    assert set(PROGRAMS) <= set(os.listdir(completions))
    assert os.listdir(tmp_path / "zsh") == ["_glance-cache"] and {name + ".fish" for name in PROGRAMS} == set(os.listdir(tmp_path / "fish"))
    examples = set(os.listdir(tmp_path / "doc" / "examples"))
    assert {"glance-cache.cron", "glance-cache.fstab", "glance-cache.nginx", "glance-cache-api.nginx"} <= examples
    conf = tmp_path / "etc" / "glance-cache" / "glance-cache.conf"
    assert conf.read_text() == open(os.path.join(CONF, "glance-cache.conf")).read()
    conf.write_text("# mine\n")
    assert run(*command).returncode == 0 and conf.read_text() == "# mine\n"


@pytest.mark.parametrize("script", ["tools/quickstart", "tests/run"])
def test_a_path_with_a_blank(tmp_path, script):
    """Refused before anything is installed or built, with the reason."""
    copy = tmp_path / "a clone" / script
    os.makedirs(copy.parent)
    shutil.copy(os.path.join(TOP, script), copy)
    done = run("bash", copy)
    assert done.returncode == 1 and "move the clone to a path without blanks" in done.stderr and f"{tmp_path}/a clone" in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == "" and os.listdir(tmp_path / "a clone") == [script.split("/", 1)[0]]


@pytest.mark.parametrize("umask", ["077", "027"])
def test_install_under_a_strict_umask(tmp_path, umask):
    """Every folder can be passed and every file be read by everybody; a folder that is there keeps its mode."""
    tree = os.path.dirname(os.path.dirname(binary()))
    if not os.path.exists(os.path.join(tree, "conf", "Makefile")):
        pytest.skip("the programs were not built in a tree with a Makefile")
    there = tmp_path / "root" / "usr" / "local" / "share"
    os.makedirs(there)
    there.chmod(0o2775)
    done = run("bash", "-c", f"umask {umask}; exec make -s -C '{tree}' install DESTDIR='{tmp_path}/root'")
    assert done.returncode == 0, done.stderr
    assert there.stat().st_mode & 0o7777 == 0o2775
    closed = [path for folder, folders, files in os.walk(tmp_path / "root") for path in (os.path.join(folder, n) for n in folders + files)
              if not os.path.islink(path) and os.stat(path).st_mode & 0o044 != 0o044]
    closed += [folder for folder, _, _ in os.walk(tmp_path / "root") if os.stat(folder).st_mode & 0o011 != 0o011]
    assert closed == []


def test_the_guide_names_what_there_is():
    """Options and metrics that doc/OPERATORS.md speaks of."""
    text = open(os.path.join(DOC, "OPERATORS.md")).read()
    table = open(os.path.join(TOP, "fs", "config", "options.c")).read()
    schema = open(os.path.join(CONF, "glance-cache.schema.json")).read()
    options = set(re.findall(r"`([a-z]+_[a-z_]+)(?: = [^`]*)?`", text)) - {"allow_other", "download_image", "left_alone", "rule_files"}
    assert len(options) > 8
    for option in options:
        assert option.startswith("glance_cache_") or re.search(rf"\b{option}\b", table) or f'"{option}"' in schema, option
    names = set(re.findall(r"glance_cache_([a-z_]+)", text))
    assert len(names) > 1
    metrics = open(os.path.join(TOP, "tools", "api", "calls", "metrics.c")).read()
    for name in names:
        assert f'"{name}"' in metrics or f'"{name}{{' in metrics, name


# ---- what is built, and installed

@pytest.mark.parametrize("name", PROGRAMS)
def test_hardened(name):
    """Against exploits: a position of its own for each start, nothing to write where functions are looked up, guarded stacks and copies."""
    needs("readelf")
    path = program(name)
    head, symbols = run("readelf", "-hldW", path).stdout, run("readelf", "-sW", path).stdout
    assert "DYN (Position-Independent Executable file)" in head and "GNU_RELRO" in head and "BIND_NOW" in head
    assert re.search(r"GNU_STACK .* RW ", head) and "__stack_chk_fail" in symbols
    if "san.so" not in run("ldd", path).stdout and "__asan" not in symbols:
        assert re.search(r"__\w+_chk@", symbols), "built without FORTIFY"


@pytest.mark.parametrize("own", [True, False])
def test_glances_programs_are_not_overwritten(tmp_path, own):
    """make install where Debian's glance-api is: refused, with what to do; unless that is wanted. Ours may be replaced."""
    build = os.path.dirname(os.path.dirname(binary()))
    if not os.path.exists(os.path.join(build, "fs", "Makefile")):
        pytest.skip("the program was not built here")
    bindir = tmp_path / "bin"
    bindir.mkdir()
    glances = bindir / "glance-cache-manage"
    glances.write_bytes(b"\x7fELF of before" if own else b"#!/usr/bin/python3\nprint('Glance')\n")

    def install(*more):
        return run("make", "-C", build + "/fs", "install-exec-local", f"bindir={bindir}", "DESTDIR=", *more)
    done = install()
    assert (done.returncode == 0) == own
    if not own:
        assert str(glances) in done.stderr and "dpkg-divert" in done.stderr and "REPLACE_GLANCE=yes" in done.stderr
        assert install("REPLACE_GLANCE=yes").returncode == 0
