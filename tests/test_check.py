"""pulsedb-check: what it says of whole, torn and damaged directories, what it saves, and how it ends.

Directories are made by servers that are stopped or killed; damage is done to copies of them."""
import datetime
import os
import pathlib
import random
import re
import shutil
import subprocess
import threading

import pytest

from conftest import start_pulsedb
from server import pulsedb_binary

CHECK = str(pathlib.Path(pulsedb_binary()).with_name("pulsedb-check"))
WHOLE, TORN, DAMAGED, UNREADABLE, NEWER, USAGE = 0, 1, 2, 3, 4, 64

pytestmark = pytest.mark.skipif(not os.access(CHECK, os.X_OK), reason=f"{CHECK} is not built")


def check(*words):
    done = subprocess.run([CHECK, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=120)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    assert done.returncode in (WHOLE, TORN, DAMAGED, UNREADABLE, NEWER, USAGE), done.stderr
    return done


def start(pulse_server, dir, *flags):
    return pulse_server("--appendonly", "yes", "--appendfsync", "always", "--shards", "4", *flags,
                        dir=dir, keep_dir=True)


def fill(conn, base):
    """Some keys; with `base` a snapshot, and some more changes after it."""
    for i in range(100):
        conn.call("SET", f"key:{i}", f"first {i}")
    conn.call("SET", "large", "x" * 100_000)
    conn.call("APPEND", "key:1", " and more")
    if not base:
        return
    conn.call("SAVE")
    for i in range(50):
        conn.call("SET", f"key:{i}", f"second {i}")
    conn.call("DEL", "key:60")
    conn.call("SET", "a\0b\n\"", b"\xff", "EX", "100000")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function: made("killed", base=True) is a directory that nobody else changes."""
    known = {}

    def make(how, base):
        if (how, base) not in known:
            dir = tmp_path_factory.mktemp(how)
            server = start_pulsedb("--appendonly", "yes", "--appendfsync", "always",
                                            "--shards", "4", dir=dir, keep_dir=True)
            with server.conn() as conn:
                fill(conn, base)
            server.stop() if how == "stopped" else server.kill()
            known[how, base] = dir
        return known[how, base]

    return make


@pytest.fixture
def copy(made, tmp_path):
    """A function: a copy of such a directory, to be damaged."""
    def make(how="killed", base=True, name="copy"):
        return pathlib.Path(shutil.copytree(made(how, base), tmp_path / name))
    return make


def flip(path, at, bit=1):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))


def only(dir, pattern):
    found, = dir.glob(pattern)
    return found


def last_log(dir):
    return max(dir.glob("log.*.plog"), key=lambda path: int(path.name.split(".")[1]))


def frames(path):
    """The log's frames as describe tells them: (offset, number)."""
    text = check("describe", path).stdout
    return [(int(at), int(seq)) for at, seq in re.findall(r"^  (\d+): frame (\d+)", text, re.M)]


def keys_of(pulse_server, dir):
    """What a server shows that starts on the directory."""
    server = start(pulse_server, dir)
    with server.conn() as conn:
        keys = {key: conn.call("GET", key) for key in conn.call("KEYS", "*")}
    assert server.stop() == 0
    return keys


# ---- verify ----

@pytest.mark.parametrize("base", [False, True])
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_whole_directory_is_whole(made, how, base):
    done = check(made(how, base))
    assert done.returncode == WHOLE, done.stdout
    assert done.stderr == ""
    assert "Whole." in done.stdout
    assert "shards      4" in done.stdout
    assert ("generation 1" in done.stdout) == base
    assert ("stopped in order" in done.stdout) and ("not stopped in order" in done.stdout) == (how == "killed")
    assert re.search(r"log\.\d+\.plog  frames \d+ to \d+, 20\d\d-\S+Z to 20\d\d-\S+Z", done.stdout)


def test_load_tells_how_many_keys_there_are(made):
    assert "loaded      101 keys" in check("verify", made("killed", True), "--load").stdout


def test_verify_changes_nothing(made):
    dir = made("killed", True)
    before = {path.name: path.read_bytes() for path in dir.iterdir()}
    for words in (["verify", dir, "--load"], ["log", dir], ["describe", dir]):
        check(*words)
    assert {path.name: path.read_bytes() for path in dir.iterdir()} == before


def test_a_running_server_is_seen_and_not_disturbed(pulse_server, tmp_path):
    server = start(pulse_server, tmp_path)
    stop = threading.Event()

    def write():
        with server.conn() as conn:
            n = 0
            while not stop.is_set():
                conn.pipeline(*[("SET", f"k{(n + i) % 1000}", "v" * 50) for i in range(50)])
                n += 50

    def save():
        with server.conn() as conn:
            while not stop.is_set():
                conn.try_call("SAVE")

    threads = [threading.Thread(target=work) for work in (write, save)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            done = check(tmp_path)
            assert done.returncode == WHOLE, done.stdout + done.stderr
            assert "a server is using it" in done.stdout
        assert check("log", tmp_path, "--limit", "3").returncode == WHOLE
        for words in (["repair", tmp_path, "--to", tmp_path / "new"], ["export", tmp_path, tmp_path / "x.rdb"]):
            done = check(*words)
            assert done.returncode == UNREADABLE and "a server is using" in done.stderr
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert server.stop() == 0
    assert check(tmp_path).returncode == WHOLE


def test_a_torn_end_is_no_damage(copy):
    dir = copy()
    log = last_log(dir)
    at, _ = frames(log)[-1]
    flip(log, at + 50)
    done = check(dir)
    assert done.returncode == TORN
    assert f"from {log.name} offset {at} on" in done.stdout
    assert "never\n              acknowledged" in done.stdout


def test_damage_in_the_middle_of_the_log_is_named(copy):
    dir = copy()
    log = last_log(dir)
    places = frames(log)
    at, _ = places[-30]
    flip(log, at + 50)
    done = check(dir)
    assert done.returncode == DAMAGED
    assert f"{log.name} is damaged at offset {at}" in done.stdout
    assert "pulsedb-check repair DIR --to NEWDIR" in done.stdout


def test_loss_at_the_end_of_a_log_that_was_closed_in_order_is_damage(copy):
    dir = copy("stopped")
    log = last_log(dir)
    at, _ = frames(log)[-1]
    os.truncate(log, at)
    assert check(dir).returncode == DAMAGED


@pytest.mark.parametrize("file", ["base.1.keys.snap", "base.1.past.snap"])
def test_damage_in_a_snapshot_is_named(copy, file):
    dir = copy()
    flip(dir / file, (dir / file).stat().st_size // 2)
    done = check(dir)
    assert done.returncode == DAMAGED
    assert file in done.stdout.split("\n\n")[1] and "at byte" in done.stdout


@pytest.mark.parametrize("file", ["MANIFEST", "base.1.keys.snap", "log.1.plog"])
def test_a_missing_file_is_damage(copy, file):
    dir = copy()
    (dir / file).unlink()
    assert check(dir).returncode == DAMAGED


def test_what_is_not_ours_is_said_to_be_so(tmp_path):
    done = check(tmp_path)
    assert done.returncode == UNREADABLE and "holds no database" in done.stderr
    done = check(tmp_path / "nothing")
    assert done.returncode == UNREADABLE and "No such file" in done.stderr
    (tmp_path / "f").write_text("hello")
    assert check("describe", tmp_path / "f").returncode == UNREADABLE
    assert check("rdb", tmp_path / "f").returncode == UNREADABLE


def test_a_newer_version_is_named(copy, tmp_path):
    dir = copy()
    text = (dir / "MANIFEST").read_text()
    (dir / "MANIFEST").write_text(text.replace("pulsedb-manifest 1 ", "pulsedb-manifest 7 "))
    for words in ([dir], ["log", dir], ["repair", dir, "--to", tmp_path / "new"], ["export", dir, tmp_path / "x.rdb"]):
        done = check(*words)
        assert done.returncode == NEWER
        assert "has format 7" in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("words", [
    [], ["verify"], ["--frob"], ["log", "d", "--limit", "x"], ["log", "d", "--from", "yesterday"], ["log", "d", "--to"],
    ["export", "d"], ["repair", "d"], ["verify", "d", "e"], ["describe", "d", "--at", "1"], ["rdb"],
])
def test_wrong_usage_is_told(words):
    done = check(*words)
    assert done.returncode == USAGE
    assert "pulsedb-check --help" in done.stderr


def test_help_names_every_command():
    done = check("--help")
    assert done.returncode == WHOLE
    for word in ("verify", "log", "describe", "repair", "export", "rdb", "Exit codes"):
        assert word in done.stdout
    assert check("--version").stdout.startswith("pulsedb-check ")


# ---- log ----

def test_the_log_is_listed_in_the_order_of_time(made):
    done = check("log", made("killed", True), "--list")
    assert done.returncode == WHOLE, done.stderr
    lines = done.stdout.splitlines()
    stamps = [int(line.split()[1]) for line in lines]
    assert stamps == sorted(stamps) and len(lines) == 52
    assert 'db0 set "key:0" "second 0"  by set "127.0.0.1:' in lines[0]
    assert 'db0 delete "key:60"  by del' in lines[-2]
    assert r'db0 set "a\x00b\n\"" "\xff" expires 20' in lines[-1]
    when = datetime.datetime.fromisoformat(lines[0].split()[0].replace("Z", "+00:00"))
    assert abs(when.timestamp() - stamps[0] / 1e9) < 0.001


def test_the_log_can_be_searched(made):
    dir = made("killed", True)
    lines = check("log", dir).stdout.splitlines()
    stamps = [line.split()[1] for line in lines]
    assert len(check("log", dir, "--key", "key:1?").stdout.splitlines()) == 10
    assert check("log", dir, "--limit", "7").stdout.splitlines() == lines[:7]
    assert check("log", dir, "--from", stamps[10], "--to", stamps[20]).stdout.splitlines() == lines[10:21]
    assert check("log", dir, "--from", lines[40].split()[0], "--limit", "2").stdout.splitlines() == lines[40:42]
    assert check("log", dir, "--from", "-1ms").stdout == ""


def test_every_kind_of_change_is_listed(pulse_server, tmp_path):
    server = start(pulse_server, tmp_path)
    with server.conn() as conn:
        conn.call("SET", "long", "x" * 5000)
        conn.call("SETRANGE", "long", 2, "ab")
        conn.call("APPEND", "long", "yz")
        conn.call("EXPIRE", "long", 1000)
        conn.call("PERSIST", "long")
        conn.call("SET", "n", "-12")
        conn.call("SWAPDB", 0, 1)
        conn.call("FLUSHDB")
        conn.call("HISTORY", "PIN", "here")
        conn.call("HISTORY", "UNPIN", "here")
        conn.call("HISTORY", "PURGE", "n")
    server.kill()
    text = check("log", tmp_path).stdout
    for words in (" 5000 bytes", ' splice "long" at 2 "ab" 2 bytes', ' splice "long" at 5000 "yz" 2 bytes',
                  ' expire "long" expires 20', ' expire "long" never expires', ' set "n" "-12"',
                  " db0 swap with db1", " db0 flush", ' pin "here" at 20', ' unpin "here"', ' purge "n"'):
        assert words in text, words
    assert text.count(" flush ") == 1 and text.count(" swap ") == 1  # though every shard has it


def test_the_log_is_listed_up_to_the_damage(copy):
    dir = copy()
    log = last_log(dir)
    at, _ = frames(log)[-30]
    flip(log, at + 50)
    done = check("log", dir)
    assert done.returncode == DAMAGED
    assert len(done.stdout.splitlines()) == 52 - 30
    assert "is damaged at offset" in done.stderr


# ---- describe ----

def test_files_describe_themselves(made):
    dir = made("killed", True)
    done = check("describe", dir)
    assert done.returncode == WHOLE, done.stdout
    for words in ("a manifest", "a snapshot", "older versions", "a log", "seed", "frames,"):
        assert words in done.stdout
    text = check("describe", dir / "base.1.keys.snap").stdout
    assert re.search(r"^  64: section 0, store, shard 0", text, re.M)
    assert re.search(r"^  keys     \d+ sections?, \d+ rows", text, re.M)
    assert len(frames(last_log(dir))) > 50


def test_a_damaged_file_describes_what_is_whole(copy):
    dir = copy()
    flip(dir / "base.1.keys.snap", 300)
    text = check("describe", dir / "base.1.keys.snap").stdout
    assert "DAMAGED" in text and "trailer" in text
    log = last_log(dir)
    places = frames(log)
    flip(log, places[5][0] + 45)
    done = check("describe", log)
    assert done.returncode == DAMAGED
    assert f"  {places[5][0]}: DAMAGED" in done.stdout
    assert len(frames(log)) == len(places) - 1
    flip(log, 10)
    done = check("describe", log)
    assert done.returncode == DAMAGED and "header is damaged" in done.stdout


# ---- repair ----

def repair(dir, expected):
    new = dir.with_name(dir.name + ".new")
    before = {path.name: path.read_bytes() for path in dir.iterdir()}
    done = check("repair", dir, "--to", new)
    assert done.returncode == expected, done.stdout + done.stderr
    assert {path.name: path.read_bytes() for path in dir.iterdir()} == before
    assert check(new, "--load").returncode == WHOLE
    return new, done.stdout


@pytest.mark.parametrize("base", [False, True])
def test_a_copy_of_what_is_whole_is_whole(copy, pulse_server, base):
    dir = copy("killed", base)
    new, text = repair(dir, WHOLE)
    assert "Nothing that was acknowledged is lost." in text
    if base:
        for file in dir.glob("base.*"):
            assert (new / file.name).read_bytes() == file.read_bytes()
    assert keys_of(pulse_server, new) == keys_of(pulse_server, dir)


def test_repair_refuses_a_directory_that_holds_something(copy, tmp_path):
    dir = copy()
    done = check("repair", dir, "--to", dir)
    assert done.returncode == USAGE and "not empty" in done.stderr
    (tmp_path / "empty").mkdir()
    assert check("repair", dir, "--to", tmp_path / "empty").returncode == WHOLE


def test_repair_saves_the_log_up_to_the_damage(copy, pulse_server):
    dir = copy()
    whole = keys_of(pulse_server, copy(name="other"))
    log = last_log(dir)
    at, _ = frames(log)[-30]
    flip(log, at + 50)
    new, text = repair(dir, DAMAGED)
    assert f"{log.name}, offset {at}: a frame is missing that had been durable" in text
    assert "29 whole frames with 29 changes" in text
    assert re.search(r"LOST      all changes after 20\S+Z up to 20\S+Z", text)
    keys = keys_of(pulse_server, new)
    assert keys[b"key:0"] == whole[b"key:0"] == b"second 0"
    assert keys[b"key:49"] == b"first 49" and whole[b"key:49"] == b"second 49"
    assert keys[b"key:99"] == whole[b"key:99"] and b"key:60" in keys


def test_repair_leaves_out_a_torn_end(copy):
    dir = copy()
    log = last_log(dir)
    at, _ = frames(log)[-1]
    flip(log, at + 50)
    _, text = repair(dir, TORN)
    assert "never acknowledged" in text


def test_repair_of_a_log_that_is_torn_from_the_start_is_empty(pulse_server, tmp_path):
    (tmp_path / "copy").mkdir()
    server = start(pulse_server, tmp_path / "copy")
    with server.conn() as conn:
        conn.call("SET", "k", "v")
    server.kill()
    flip(last_log(tmp_path / "copy"), 64 + 60)
    new, text = repair(tmp_path / "copy", TORN)
    assert keys_of(pulse_server, new) == {}


def test_repair_saves_the_whole_sections_of_a_snapshot(copy, pulse_server):
    dir = copy()
    whole = keys_of(pulse_server, copy(name="other"))
    text = check("describe", dir / "base.1.keys.snap").stdout
    at, rows = re.search(r"^  (\d+): section \d+, keys, shard \d+, (\d+) rows", text, re.M).groups()
    flip(dir / "base.1.keys.snap", int(at) + 40)
    new, said = repair(dir, DAMAGED)
    assert f"LOST      {rows} keys, 0 older versions" in said
    keys = keys_of(pulse_server, new)
    assert len(whole) - int(rows) <= len(keys) < len(whole)
    assert {key: whole[key] for key in keys if key != b"key:60"} == \
        {key: value for key, value in keys.items() if key != b"key:60"}
    assert all(keys[b"key:%d" % i] == b"second %d" % i for i in range(50))  # from the log


def test_repair_without_a_snapshot_takes_what_the_log_has(copy, pulse_server):
    dir = copy()
    whole = keys_of(pulse_server, copy(name="other"))
    (dir / "base.1.keys.snap").unlink()
    new, text = repair(dir, DAMAGED)
    assert "base        LOST" in text
    keys = keys_of(pulse_server, new)
    assert keys == whole  # here the log reaches back to its first frame


def test_repair_without_the_end_of_a_snapshot(copy, pulse_server):
    dir = copy()
    size = (dir / "base.1.keys.snap").stat().st_size
    os.truncate(dir / "base.1.keys.snap", size - 30)
    new, _ = repair(dir, DAMAGED)
    assert keys_of(pulse_server, new) == keys_of(pulse_server, copy(name="other"))


@pytest.mark.parametrize("line", [1, 2, 3, 4])
def test_repair_rebuilds_a_damaged_manifest(copy, pulse_server, line):
    dir = copy()
    lines = (dir / "MANIFEST").read_text().splitlines(keepends=True)
    lines[line] = re.sub(r"([0-9a-f])$", lambda m: "1" if m[1] == "0" else "0", lines[line].rstrip("\n")) + "\n"
    (dir / "MANIFEST").write_text("".join(lines))
    new, text = repair(dir, DAMAGED if line == 1 else WHOLE)
    assert "manifest    was damaged" in text
    assert ("rehashed" in text) == (line == 1)  # seed and shards are told nowhere else
    assert keys_of(pulse_server, new) == keys_of(pulse_server, copy(name="other"))


def test_repair_does_not_believe_a_damaged_seed(copy, pulse_server):
    dir = copy()
    at = (dir / "MANIFEST").read_bytes().index(b" seed ") + 8
    flip(dir / "MANIFEST", at)
    new, text = repair(dir, DAMAGED)
    assert "rehashed" in text and "LOST      the versions that were older" in text
    assert keys_of(pulse_server, new) == keys_of(pulse_server, copy(name="other"))


@pytest.mark.parametrize("base", [False, True])
def test_repair_without_a_manifest_keeps_every_key(copy, pulse_server, base):
    dir = copy("killed", base)
    (dir / "MANIFEST").unlink()
    new, text = repair(dir, DAMAGED if base else WHOLE)
    assert "manifest    was missing" in text and "rehashed" in text
    assert keys_of(pulse_server, new) == keys_of(pulse_server, copy("killed", base, "other"))


def test_repair_of_nothing_says_so(tmp_path):
    done = check("repair", tmp_path, "--to", tmp_path / "new")
    assert done.returncode == UNREADABLE and "holds no database" in done.stderr


# ---- RDB ----

def test_export_writes_a_file_that_verifies(made, tmp_path):
    rdb = tmp_path / "x.rdb"
    done = check("export", made("killed", True), rdb)
    assert done.returncode == WHOLE, done.stderr
    assert "101 keys" in done.stdout
    assert rdb.read_bytes().startswith(b"REDIS0011")
    done = check("rdb", rdb)
    assert done.returncode == WHOLE
    assert "db0  101 keys, 1 with an expiry" in done.stdout and "version 11" in done.stdout


def test_export_shows_an_instant(made, tmp_path):
    dir, rdb = made("killed", True), tmp_path / "x.rdb"
    stamps = [line.split()[1] for line in check("log", dir).stdout.splitlines()]
    check("export", dir, rdb, "--at", stamps[20])
    data = rdb.read_bytes()
    assert b"second 20" in data and b"second 21" not in data and b"first 21" in data
    base = re.search(r"taken (\S+) to", check(dir).stdout)[1]
    done = check("export", dir, rdb, "--at", base)  # the past of the snapshot itself
    assert done.returncode == WHOLE, done.stderr
    assert b"second" not in rdb.read_bytes() and b"first 60" in rdb.read_bytes()
    done = check("export", dir, rdb, "--at", "@nowhere")
    assert done.returncode == UNREADABLE and "no restore point" in done.stderr


def test_export_takes_a_restore_point(pulse_server, tmp_path):
    server = start(pulse_server, tmp_path)
    with server.conn() as conn:
        conn.call("SET", "k", "before")
        conn.call("HISTORY", "PIN", "there")
        conn.call("SET", "k", "after")
    server.stop()
    done = check("export", tmp_path, tmp_path / "x.rdb", "--at", "@there")
    assert done.returncode == WHOLE, done.stderr
    assert b"before" in (tmp_path / "x.rdb").read_bytes()


def test_a_damaged_rdb_file_is_damaged(made, tmp_path):
    rdb = tmp_path / "x.rdb"
    check("export", made("killed", True), rdb)
    flip(rdb, 100)
    done = check("rdb", rdb)
    assert done.returncode in (DAMAGED, NEWER)
    os.truncate(rdb, 500)
    assert check("rdb", rdb).returncode == DAMAGED


def test_redis_own_file_verifies(redis_ref, redis_session):
    redis_ref.call("SET", "k", "v")
    redis_ref.call("SAVE")
    done = check("rdb", pathlib.Path(redis_session.dir, "dump.rdb"))
    assert done.returncode == WHOLE
    assert "db0  1 key, 0 with an expiry" in done.stdout


# ---- any damage ----

@pytest.mark.parametrize("seed", range(int(os.environ.get("PULSEDB_LONG", "0")) * 180 + 20))
def test_no_damage_is_too_much(copy, seed):
    print("seed", seed)
    chance = random.Random(seed)
    dir = copy(chance.choice(["stopped", "killed"]), chance.random() < 0.7)
    files = sorted(path for path in dir.iterdir() if path.suffix in (".plog", ".snap") or path.name == "MANIFEST")
    for path in chance.choices(files, k=chance.randrange(1, 4)):
        if not path.exists():
            continue
        used = len(path.read_bytes().rstrip(b"\0"))
        what = chance.randrange(4)
        if what == 0:
            path.unlink()
        elif what == 1:
            os.truncate(path, chance.randrange(used + 1))
        else:
            for _ in range(what):
                if used and path.stat().st_size == 0:
                    break
                flip(path, chance.randrange(used), 1 << chance.randrange(8))
    first = check(dir)
    for words in (["verify", dir, "--load"], ["log", dir], ["describe", dir], *(["describe", path] for path in files),
                  ["export", dir, dir / "x.rdb"]):
        check(*words)
    new = dir.with_name("new")
    done = check("repair", dir, "--to", new)
    if first.returncode in (WHOLE, TORN):
        assert done.returncode == first.returncode
    if "a server will start on it" in done.stdout:
        assert check(new, "--load").returncode == WHOLE
