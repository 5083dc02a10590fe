"""Redis' files: what Debian's redis-server wrote is imported, and what SAVE RDB writes it reads."""
import pathlib
import random
import struct
import subprocess
import time

import pytest

from resp import ReplyError
from server import Server, pulsedb_binary
from test_dump import crc64

REDIS_VERSION = b"0010"  # what Debian's 7.0.15 reads at most; ours say 0011, which 7.2 reads


def texts():
    chance = random.Random(3)
    for i in range(2000):
        kind = i % 4
        if kind == 0:
            yield b"%d" % chance.randrange(-10 ** (i % 19), 10 ** (i % 19) + 1)
        elif kind == 1:
            yield chance.randbytes(i % 300)
        elif kind == 2:
            yield bytes(chance.choice(b"ab") for _ in range(i % 500))
        else:
            yield b"%032d" % i
    yield b""
    yield b"long " * 200000
    yield chance.randbytes(300000)


LATER = int(time.time()) * 1000 + 3600000


def fill(conn):
    for db in 0, 9:
        conn.call("SELECT", db)
        for i, text in enumerate(texts()):
            conn.call("SET", "key:%d" % i, text, *(["PXAT", LATER + i] if i % 5 == 0 else []))
    conn.call("SELECT", 9)
    conn.call("SET", b"\0\r\n\xff name", "v")
    conn.call("SET", "12345", "a name that is a number")
    conn.call("SELECT", 0)


def content(conn):
    """What fill made, as it is there."""
    found = {}
    for db in 0, 9:
        conn.call("SELECT", db)
        names = conn.call("KEYS", "*")
        for name, value, end in zip(names, conn.call("MGET", *names),
                                    conn.pipeline(*(("PEXPIRETIME", name) for name in names))):
            found[db, name] = value, end
    conn.call("SELECT", 0)
    return found


def as_version_10(data):
    """The same file for Redis 7.0: with strings only, the versions differ in nothing but their number."""
    assert data[:9] == b"REDIS0011"
    data = b"REDIS" + REDIS_VERSION + data[9:-8]
    return data + struct.pack("<Q", crc64(data))


@pytest.fixture
def imports(pulse_server):
    """Starts a server that imports `path`, on an empty directory."""
    return lambda path, *flags: pulse_server("--import", path, *flags)


def refusal(path, tmp_path):
    """What the program says when it does not start."""
    run = subprocess.run([pulsedb_binary(), "--port", "0", "--dir", tmp_path, "--import", path], capture_output=True,
                         timeout=120, cwd=tmp_path)
    assert run.returncode not in (0, None) and run.returncode > 0
    return (run.stdout + run.stderr).decode(errors="replace")


def aof_command(*words):
    words = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def wait(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


# --- RDB ---

@pytest.mark.parametrize("compress", ["yes", "no"])
def test_a_dump_of_redis_is_imported(imports, compress):
    with Server("redis", "--rdbcompression", compress) as redis, redis.conn() as theirs:
        fill(theirs)
        theirs.call("SAVE")
        expected = content(theirs)
        assert len(expected) > 4000
        with imports(pathlib.Path(redis.dir, "dump.rdb")).conn() as ours:
            assert content(ours) == expected


def test_a_key_whose_time_is_over_is_left_out(imports):
    with Server("redis", "--enable-debug-command", "yes") as redis, redis.conn() as theirs:
        theirs.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        theirs.call("MSET", "stays", "v", "goes", "v")
        theirs.call("PEXPIRE", "goes", 50)
        theirs.call("SAVE")
        time.sleep(0.06)
        with imports(pathlib.Path(redis.dir, "dump.rdb")).conn() as ours:
            assert ours.call("KEYS", "*") == [b"stays"]


def test_functions_are_passed_over(imports):
    with Server("redis") as redis, redis.conn() as theirs:
        theirs.call("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)")
        theirs.call("SET", "k", "v")
        theirs.call("SAVE")
        with imports(pathlib.Path(redis.dir, "dump.rdb")).conn() as ours:
            assert ours.call("GET", "k") == b"v"


@pytest.mark.parametrize("call,what", [
    (["HSET", "h", "f", "v"], "key 'h' is a hash (type 16), which this version cannot hold yet"),
    (["RPUSH", "l", "a"], "key 'l' is a list (type 18), which this version cannot hold yet"),
    (["XADD", "x", "*", "f", "v"], "key 'x' is a stream (type 19), which this version cannot hold yet"),
], ids=lambda value: value[0] if isinstance(value, list) else "")
def test_a_type_that_is_not_built_is_refused_by_its_name(pulse, tmp_path, call, what):
    if not isinstance(pulse.try_call(*call), ReplyError):
        pytest.skip("it is built by now")
    with Server("redis") as redis, redis.conn() as theirs:
        theirs.call("SET", "k", "v")
        theirs.call(*call)
        theirs.call("SAVE")
        assert what in refusal(pathlib.Path(redis.dir, "dump.rdb"), tmp_path)


def test_a_damaged_dump_is_refused(tmp_path):
    with Server("redis") as redis, redis.conn() as theirs:
        theirs.call("SET", "k", "value")
        theirs.call("SAVE")
        data = bytearray(pathlib.Path(redis.dir, "dump.rdb").read_bytes())
    data[data.index(b"value")] ^= 1
    path = tmp_path / "damaged.rdb"
    path.write_bytes(data)
    assert "the checksum is another" in refusal(path, tmp_path / "..")
    path.write_bytes(data[:-20])
    assert "the data ends too early" in refusal(path, tmp_path / "..")


def test_redis_reads_what_save_rdb_writes(pulse_server, tmp_path):
    server = pulse_server()
    with server.conn() as ours:
        fill(ours)
        assert ours.call("SAVE", "RDB", "out.rdb") == "OK"
        expected = content(ours)
    (tmp_path / "dump.rdb").write_bytes(as_version_10(pathlib.Path(server.dir, "out.rdb").read_bytes()))
    with Server("redis", dir=tmp_path) as redis, redis.conn() as theirs:
        assert content(theirs) == expected
    check = subprocess.run(["redis-check-rdb", tmp_path / "dump.rdb"], capture_output=True)
    assert check.returncode == 0, check.stdout


def test_what_save_rdb_writes_is_imported(pulse_server, imports):
    server = pulse_server()
    with server.conn() as ours:
        fill(ours)
        ours.call("SAVE", "RDB", "out.rdb")
        expected = content(ours)
    with imports(pathlib.Path(server.dir, "out.rdb")).conn() as again:
        assert content(again) == expected


# --- AOF ---

@pytest.fixture
def redis_aof():
    servers = []

    def start(*flags):
        # The last one of a flag counts: Server says --appendonly no.
        servers.append(Server("redis", "--appendonly", "yes", "--appendfsync", "always", *flags).start())
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def write_of_all_sorts(conn):
    conn.call("MSET", "a", 1, "b", 2, "c", 3)
    conn.call("INCRBY", "a", 41)
    conn.call("APPEND", "b", "xyz")
    conn.call("SETRANGE", "b", 10, "end")
    conn.call("INCRBYFLOAT", "f", "1.5")
    conn.call("SET", "t", "v", "PXAT", LATER)
    conn.call("SET", "u", "v", "EX", 5000)
    conn.call("PERSIST", "u")
    conn.call("GETDEL", "c")
    conn.call("RENAME", "a", "renamed")
    conn.call("COPY", "b", "copied")
    conn.call("MOVE", "copied", 9)
    conn.pipeline(("MULTI",), ("SET", "m1", "1"), ("SET", "m2", "2"), ("EXEC",))
    conn.call("SELECT", 9)
    conn.call("SET", "nine", "9")
    conn.call("SELECT", 0)
    conn.call("SWAPDB", 0, 9)
    conn.call("SETEX", "after", 4000, "the swap")


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_an_append_only_directory_is_imported(imports, redis_aof, preamble):
    redis = redis_aof("--aof-use-rdb-preamble", preamble, "--aof-timestamp-enabled", "yes")
    with redis.conn() as theirs:
        write_of_all_sorts(theirs)
        theirs.call("BGREWRITEAOF")
        wait(lambda: b"aof_rewrite_in_progress:0" in theirs.call("INFO", "persistence"))
        theirs.call("SET", "late", "v")
        theirs.call("INCR", "late2")
        expected = content(theirs)
    redis.stop()
    for path in (pathlib.Path(redis.dir), pathlib.Path(redis.dir, "appendonlydir"),
                 pathlib.Path(redis.dir, "appendonlydir", "appendonly.aof.manifest")):
        with imports(path).conn() as ours:
            assert content(ours) == expected


def test_a_transaction_that_was_cut_off_is_left_out(imports, redis_aof):
    redis = redis_aof()
    with redis.conn() as theirs:
        theirs.call("SET", "k", "v")
        theirs.pipeline(("MULTI",), ("SET", "m1", "1"), ("SET", "m2", "2"), ("EXEC",))
    redis.stop()
    log = pathlib.Path(redis.dir, "appendonlydir", "appendonly.aof.1.incr.aof")
    log.write_bytes(log.read_bytes()[:-3])
    with imports(redis.dir).conn() as ours:
        assert sorted(ours.call("KEYS", "*")) == [b"k"]


def test_a_broken_middle_is_refused(tmp_path, redis_aof):
    redis = redis_aof()
    with redis.conn() as theirs:
        theirs.call("SET", "k", "v")
        theirs.call("SET", "l", "v")
    redis.stop()
    log = pathlib.Path(redis.dir, "appendonlydir", "appendonly.aof.1.incr.aof")
    log.write_bytes(log.read_bytes().replace(b"$1\r\nk", b"$2\r\nk"))
    said = refusal(redis.dir, tmp_path)
    assert "appendonly.aof.1.incr.aof" in said and "offset" in said


def test_what_was_alive_when_a_command_came_is_alive_for_it(imports, tmp_path):
    """INCR of a key whose time is over by now must not make one without an end."""
    path = tmp_path / "old.aof"
    path.write_bytes(aof_command("SELECT", "0") + aof_command("SET", "n", "5", "PXAT", "1700000000000") +
                     aof_command("INCR", "n") + aof_command("APPEND", "n", "x") + aof_command("SET", "stays", "v"))
    with imports(path).conn() as ours:
        assert ours.call("MGET", "n", "stays") == [None, b"v"]
        assert ours.call("KEYS", "*") == [b"stays"]


# --- whole, or not at all ---

def found_in(path):
    return sorted(entry.name for entry in path.iterdir() if entry.name not in ("LOCK", "server.log"))


def ends(path, *flags):
    """Starts the program on a directory where it does not get far; what it says."""
    run = subprocess.run([pulsedb_binary(), "--port", "0", "--dir", path, *flags], capture_output=True, timeout=120)
    assert run.returncode > 0
    return (run.stdout + run.stderr).decode(errors="replace")


GOOD = b"".join(aof_command("SET", "k%d" % i, "v%d" % i) for i in range(20000))


@pytest.mark.parametrize("end", [
    aof_command("NO-SUCH-COMMAND", "k"),
    aof_command("INCR", "k1"),
    b"*3\r\n$3\r\nSET\r\n$1\r\nab\r\n$1\r\nv\r\n" + aof_command("SET", "k", "v"),
    b"\0" * 64,
], ids=["unknown", "refused", "broken", "zeros"])
@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_an_import_that_fails_late_leaves_nothing(pulse_server, tmp_path, end, appendonly):
    bad, good, to = tmp_path / "bad.aof", tmp_path / "good.aof", tmp_path / "to"
    bad.write_bytes(GOOD + end)
    good.write_bytes(GOOD)
    to.mkdir()
    ends(to, "--import", bad, "--appendonly", appendonly)
    assert found_in(to) == []
    server = pulse_server("--import", good, "--appendonly", appendonly, dir=to)
    with server.conn() as conn:
        assert conn.call("DBSIZE") == 20000
    server.kill()
    with pulse_server("--appendonly", appendonly, dir=to).conn() as conn:
        assert conn.call("DBSIZE") == 20000 and conn.call("GET", "k19999") == b"v19999"


def test_an_import_that_fails_leaves_an_empty_database_as_it_was(pulse_server, tmp_path):
    bad, good, to = tmp_path / "bad.aof", tmp_path / "good.aof", tmp_path / "to"
    bad.write_bytes(GOOD + aof_command("INCR", "k1"))
    good.write_bytes(GOOD)
    to.mkdir()
    server = pulse_server(dir=to)
    with server.conn() as conn:
        conn.call("SET", "old", "v")
        conn.call("DEL", "old")
    server.stop()
    before = {name: (to / name).read_bytes() for name in found_in(to)}
    ends(to, "--import", bad)
    assert {name: (to / name).read_bytes() for name in found_in(to)} == before
    with pulse_server("--import", good, dir=to).conn() as conn:
        assert conn.call("DBSIZE") == 20000
        assert [row[1] for row in zip(*[iter(conn.call("HIST", "old", 9))] * 2)] == [None, b"v"]


def begin_to_import(path, to, *flags):
    return subprocess.Popen([pulsedb_binary(), "--port", "0", "--dir", to, "--import", path, *flags],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_an_import_that_was_killed_is_no_database(pulse_server, tmp_path):
    good = tmp_path / "good.aof"
    good.write_bytes(GOOD)
    for i in range(12):
        to = tmp_path / str(i)
        to.mkdir()
        process = begin_to_import(good, to)
        time.sleep(0.01 * i)
        process.kill()
        process.wait()
        if "UNFINISHED" in found_in(to):
            assert "did not finish" in ends(to)
            continue
        new = "MANIFEST" not in found_in(to)
        assert not new or found_in(to) in ([], ["UNFINISHED.tmp"])
        with pulse_server(dir=to).conn() as conn:
            assert conn.call("DBSIZE") == (0 if new else 20000)


def test_an_import_whose_snapshot_was_cut_off_refuses_to_start(tmp_path):
    good, to = tmp_path / "good.aof", tmp_path / "to"
    good.write_bytes(GOOD)
    to.mkdir()
    process = begin_to_import(good, to, "--snapshot-rate", "1kb")
    wait(lambda: any(name.endswith(".snap") for name in found_in(to)))
    process.kill()
    process.wait()
    before = found_in(to)
    assert "MANIFEST" in before and "UNFINISHED" in before
    assert "did not finish" in ends(to)
    assert "did not finish" in ends(to, "--import", good)
    other = tmp_path / "other"
    assert "did not finish" in ends(other, "--restore-to", "-1ms", "--restore-from", to)
    for words in [to], ["repair", to, "--to", tmp_path / "repaired"]:
        check = subprocess.run([pulsedb_binary() + "-check", *words], capture_output=True, text=True, timeout=120)
        assert check.returncode > 1 and "did not finish" in check.stdout + check.stderr
    assert found_in(to) == before
