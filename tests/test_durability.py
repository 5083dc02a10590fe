"""What is on disk: what survives a stop and a crash, what a start refuses, and what snapshots promise.

A server is killed with SIGKILL and started again on its directory. That shows what a killed process loses, which
is nothing that was answered. What a power cut loses is shown by the simulation (cmd/pulsedb-sim)."""
import pathlib
import random
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from resp import Conn, ReplyError, encode
from server import Server, free_port, pulsedb_binary

LATER = int(time.time()) * 1000 + 3_600_000
SYNTAX = ReplyError("ERR syntax error")


def now_us(conn):
    """The server's time in microseconds: all that was answered lies before it, all to come after it."""
    seconds, micros = conn.call("TIME")
    return int(seconds) * 1_000_000 + int(micros)


def rows(conn, key, count=1000):
    return [dict(zip(row[::2], row[1::2])) for row in conn.call("HIST", key, count, "WITHMETA")]


def info(conn, section="persistence"):
    lines = conn.call("INFO", section).decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


def wait(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def is_ready(port):
    try:
        with Conn(port) as conn:
            return conn.try_call("PING") == "PONG"
    except OSError:
        return False


def snapshot(conn):
    """BGSAVE, and until it is done."""
    done = int(info(conn)["rdb_saves"])
    assert conn.call("BGSAVE") == "Background saving started"
    wait(lambda: int(info(conn)["rdb_saves"]) > done)


# --- the files ---

def logs(server):
    """Paths of the log's files, in their order."""
    return sorted(pathlib.Path(server.dir).glob("log.*.plog"), key=lambda path: int(path.name.split(".")[1]))


def bases(server):
    return sorted(path.name for path in pathlib.Path(server.dir).glob("base.*.snap"))


def bases_of(server):
    return [pathlib.Path(server.dir, name) for name in bases(server)]


def frames(path):
    """(offset, size) of the frames of a log: each begins with its magic, at an offset divisible by 8."""
    data = path.read_bytes().rstrip(b"\0")
    begins = [at for at in range(0, len(data), 8) if data[at:at + 4] == b"PLF1"]
    return [(at, end - at) for at, end in zip(begins, [*begins[1:], len(data)])]


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def files(directory):
    """Everything in it but what the tests' own log of the server says."""
    return {path.name: path.read_bytes() for path in pathlib.Path(directory).iterdir() if path.name != "server.log"}


def refusal(server):
    """What a server says that does not start; it has to have changed nothing."""
    before = files(server.dir)
    with pytest.raises(RuntimeError) as why:
        server.start()
    assert files(server.dir) == before
    return str(why.value)


def said(server):
    return server.log.read_text()


# --- what survives ---

# Strings of every encoding: numbers, short, long, and such as were changed in place.
VALUES = {b"int": b"12345", b"negative": b"-9223372036854775808", b"zeros": b"007", b"empty": b"", b"binary": b"\0\r\n\xff",
          b"embedded": b"x" * 44, b"raw": b"x" * 45, b"page": b"y" * 16_383, b"large": b"z" * 3_000_000}


def write_of_all_sorts(conn):
    """Present and past of every sort. Returns instants (us) from between the steps."""
    instants = [now_us(conn)]

    def step():
        time.sleep(0.002)
        instants.append(now_us(conn))
        time.sleep(0.002)

    for name, value in VALUES.items():
        conn.call("SET", name, value)
    conn.call("CLIENT", "SETNAME", "ada")
    conn.call("MSET", "a", "1", "b", "2", "c", "3", "secret", "before")
    step()
    conn.call("INCRBY", "a", 41)
    conn.call("APPEND", "b", "xyz" * 30)
    conn.call("SETRANGE", "b", 1000, "far")
    conn.call("SETRANGE", "large", 2_000_000, "changed in place")
    conn.call("SET", "dies", "soon", "PXAT", LATER)
    conn.call("SET", "dies:never", "v", "EX", 5000)
    conn.call("PERSIST", "dies:never")
    conn.call("SET", "secret", "after")
    step()
    conn.call("HISTORY", "PIN", "here")
    conn.call("DEL", "c")
    conn.call("SET", "gone", "v", "PX", 1)
    conn.call("RENAME", "int", "renamed")
    conn.call("HISTORY", "PURGE", "secret")
    step()
    conn.call("SELECT", 3)
    conn.call("MSET", "three", "3", "tres", "III")
    step()
    conn.call("SET", "three", "drei")
    conn.call("FLUSHDB")
    step()
    conn.call("SET", "between", "v")
    conn.call("UNFLUSH")
    conn.call("DEL", "tres")
    step()
    conn.call("SELECT", 4)
    conn.call("MSET", "four", "4", "vier", "IV")
    conn.call("SWAPDB", 4, 5)
    conn.call("SET", "four", "anew")
    step()
    conn.call("SELECT", 6)
    conn.call("SET", "flushed", "for good")
    conn.call("FLUSHDB")
    conn.call("SELECT", 0)
    conn.call("HISTORY", "PIN", "gone again")
    conn.call("HISTORY", "UNPIN", "gone again")
    conn.pipeline(("MULTI",), ("SET", "m1", "one"), ("SET", "m2", "one"), ("INCR", "a"), ("EXEC",))
    step()
    time.sleep(0.01)
    assert conn.call("EXISTS", "gone") == 0
    return instants


NAMES = [*VALUES, b"a", b"b", b"c", b"secret", b"dies", b"dies:never", b"gone", b"renamed", b"three", b"tres", b"between",
         b"four", b"vier", b"flushed", b"m1", b"m2"]


def everything(conn, instants):
    """All that a client can see of present and past, errors included."""
    seen = {"pins": conn.call("HISTORY", "PINS")}
    for db in range(8):
        conn.call("SELECT", db)
        seen[db, "keys"] = sorted(conn.call("KEYS", "*"))
        wait(lambda: conn.call("DBSIZE") == len(seen[db, "keys"]))  # it counts what is over and not yet removed
        for instant in instants:
            reply = conn.try_call("AT", instant, "KEYS", "*")
            seen[db, "keys", instant] = reply if isinstance(reply, ReplyError) else sorted(reply)
        for name in NAMES:
            seen[db, name] = conn.call("GET", name), conn.call("PEXPIRETIME", name), rows(conn, name)
            seen[db, name, "at"] = [conn.try_call("GETAT", name, instant) for instant in instants]
            seen[db, name, "ttl"] = [conn.try_call("AT", instant, "PEXPIRETIME", name) for instant in instants]
    conn.call("SELECT", 0)
    return seen


def unlike(seen, expected):
    """What everything() saw otherwise than before, and how: {} is right."""
    return {what: (seen.get(what), expected.get(what)) for what in {*seen, *expected} if seen.get(what) != expected.get(what)}


def present(seen):
    """Of what everything() has seen: keys, values, ends."""
    return {what: value if what[1] == "keys" else value[:2] for what, value in seen.items()
            if isinstance(what, tuple) and len(what) == 2}


def kill(server):
    server.kill()


def stop(server):
    assert server.stop() == 0


@pytest.mark.parametrize("end", [kill, stop])
@pytest.mark.parametrize("flags,before", [
    (["--appendfsync", "everysec"], []),
    (["--appendfsync", "always"], []),
    (["--appendfsync", "no"], []),
    (["--threads", "1"], ["SAVE"]),
    (["--appendonly", "no"], ["SAVE"]),
    (["--appendonly", "no"], ["CONFIG", "SET", "appendonly", "yes"]),
], ids=["everysec", "always", "no", "snapshot", "snapshot alone", "log turned on"])
def test_present_and_past_survive(pulse_server, end, flags, before):
    server = pulse_server(*flags)
    with server.conn() as conn:
        instants = write_of_all_sorts(conn)
        if before:
            assert conn.call(*before) == "OK"
            if before[0] == "CONFIG":
                wait(lambda: info(conn)["aof_enabled"] == "1")
        expected = everything(conn, instants)
    assert [row[b"op"] for row in expected[0, b"a"][2]] == [b"incr", b"incrby", b"mset"]
    assert {row[b"client"] for row in expected[0, b"a"][2]} == {b"ada"}
    assert expected[3, b"three"][0] == b"drei" and expected[5, b"vier"][0] == b"IV"
    end(server)
    server.start()
    with server.conn() as conn:
        assert unlike(everything(conn, instants), expected) == {}
    # And a second time: what was taken up is as safe as what was written.
    end(server)
    server.start()
    with server.conn() as conn:
        assert unlike(everything(conn, instants), expected) == {}


@pytest.mark.parametrize("end", [kill, stop])
def test_what_follows_a_snapshot_is_in_the_log(pulse_server, end):
    server = pulse_server()
    with server.conn() as conn:
        instants = write_of_all_sorts(conn)
        conn.call("SAVE")
        conn.call("FLUSHALL")
        instants += write_of_all_sorts(conn)
        conn.call("FLUSHALL")
        assert conn.call("UNFLUSH") > 10
        expected = everything(conn, instants)
    end(server)
    server.start()
    with server.conn() as conn:
        assert unlike(everything(conn, instants), expected) == {}


def test_writing_goes_on_while_a_snapshot_is_made_and_nothing_is_missing(pulse_server):
    server = pulse_server("--snapshot-rate", "1mb")
    with server.conn() as conn, server.conn() as other, server.conn() as seventh:
        seventh.call("SELECT", 7)
        for i in range(100):
            conn.call("SET", "filler:%d" % i, random.Random(i).randbytes(15_000))
        instants = write_of_all_sorts(conn)
        conn.call("BGSAVE")
        rounds = 0
        while info(other)["rdb_bgsave_in_progress"] == "1":
            conn.pipeline(("INCR", "a"), ("APPEND", "b", "x"), ("SET", "new:%d" % rounds, "v"), ("DEL", "filler:%d" % rounds))
            seventh.pipeline(("INCR", "three"), ("FLUSHDB",), ("UNFLUSH",), ("SET", "four", rounds), ("SWAPDB", 6, 7))
            rounds += 1
            time.sleep(0.01 if rounds > 20 else 0)  # what is written is read again, many times over
        assert rounds > 3 and info(other)["rdb_last_bgsave_status"] == "ok"
        expected = everything(conn, instants)
    kill(server)
    server.start()
    with server.conn() as conn:
        assert unlike(everything(conn, instants), expected) == {}


def test_what_is_over_when_the_server_comes_back_is_over(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        conn.call("SET", "k", "v", "PX", 300)
        born = rows(conn, "k")[-1][b"stamp"]
    kill(server)
    time.sleep(0.35)
    server.start()
    with server.conn() as conn:
        assert conn.call("GET", "k") is None
        assert conn.call("GETAT", "k", born) == b"v"
        gone, was = rows(conn, "k")
        assert (gone[b"value"], gone[b"op"], was[b"stamp"]) == (None, b"expired", born)
        assert 299 <= gone[b"ts"] - was[b"ts"] <= 301


def test_with_history_persist_no_the_past_is_not_known_and_never_wrong(pulse_server):
    server = pulse_server("--history-persist", "no")
    with server.conn() as conn:
        instants = write_of_all_sorts(conn)
        before = everything(conn, instants)
        conn.call("SAVE")
    stop(server)
    assert not [name for name in bases(server) if "past" in name]
    server.start()
    with server.conn() as conn:
        after = everything(conn, instants)
    assert present(after) == present(before)
    unknown = known = 0
    for what, value in after.items():
        if len(what) == 3 and what[2] in ("at", "ttl"):
            for was, now in zip(before[what], value):
                if isinstance(now, ReplyError):
                    assert now.code == "NOHISTORY"
                    unknown += 1
                else:
                    assert now == was
                    known += 1
    assert unknown and known
    assert after[0, b"a"][2] == before[0, b"a"][2][:1]


def test_a_key_older_than_the_snapshot_keeps_its_instant_without_its_past(pulse_server):
    server = pulse_server("--history-persist", "no")
    with server.conn() as conn:
        conn.call("SET", "k", "1")
        first = rows(conn, "k")[0][b"stamp"]
        time.sleep(0.002)
        conn.call("SET", "k", "2")
        second = rows(conn, "k")[0][b"stamp"]
        conn.call("SAVE")
        time.sleep(0.002)
        conn.call("SET", "k", "3")
        expected = rows(conn, "k")[:2]
    kill(server)
    server.start()
    with server.conn() as conn:
        assert rows(conn, "k") == expected
        assert conn.call("GETAT", "k", second) == b"2"
        assert conn.try_call("GETAT", "k", first).code == "NOHISTORY"


def test_stamps_after_a_restart_are_later_than_those_before(pulse_server):
    server = pulse_server()
    for i in range(4):
        with server.conn() as conn:
            conn.call("SET", "k", i)
        kill(server)
        server.start()
    with server.conn() as conn:
        stamps = [row[b"stamp"] for row in rows(conn, "k")]
        assert stamps == sorted(set(stamps), reverse=True) and len(stamps) == 4
        assert conn.call("HIST", "k")[1::2] == [b"3", b"2", b"1", b"0"]


# --- a crash in the middle of work ---

class Writer(threading.Thread):
    """Works until the server is gone; `answered` is the last number that was acknowledged."""

    def __init__(self, server, name):
        super().__init__(daemon=True)
        self.server, self.name, self.answered = server, name, 0
        self.start()

    def run(self):
        try:
            with self.server.conn() as conn:
                conn.call("CLIENT", "SETNAME", self.name)
                while True:
                    self.work(conn)
                    self.answered += 1
        except OSError:
            pass


class Counter(Writer):
    def work(self, conn):
        conn.call("INCR", self.name)


class Transfers(Writer):
    def work(self, conn):
        conn.send_raw(encode("MULTI") + b"".join(encode("SET", f"{self.name}:{i}", self.answered + 1) for i in range(20)) +
                      encode("EXEC"))
        assert [conn.read() for _ in range(22)][-1] == ["OK"] * 20


@pytest.mark.parametrize("policy", ["everysec", "always", "no"])
def test_the_plug_is_pulled_and_the_versions_from_before_are_there(pulse_server, policy):
    server = pulse_server("--appendfsync", policy)
    for cycle in range(3):
        counters = [Counter(server, "counter:%d:%d" % (cycle, i)) for i in range(3)]
        multis = [Transfers(server, "multi:%d:%d" % (cycle, i)) for i in range(2)]
        with server.conn() as conn:
            wait(lambda: all(writer.answered > 20 for writer in counters + multis))
            conn.call("BGSAVE")
            wait(lambda: all(writer.answered > 60 for writer in counters + multis))
        kill(server)
        for writer in counters + multis:
            writer.join()
        server.start()
        with server.conn() as conn:
            for writer in counters:
                past = rows(conn, writer.name, 100_000)
                values = [int(row[b"value"]) for row in past]
                assert values == list(range(values[0], 0, -1))
                assert writer.answered <= values[0] <= writer.answered + 1
                assert {row[b"client"] for row in past} == {writer.name.encode()}
            for writer in multis:
                values = {int(value) for value in conn.call("MGET", *(f"{writer.name}:{i}" for i in range(20)))}
                assert len(values) == 1, "half a transaction"
                assert writer.answered <= values.pop() <= writer.answered + 1


def torn(pulse_server, *flags):
    """A server that was killed, whose log ends in the frame of a MULTI over many shards."""
    server = pulse_server(*flags)
    with server.conn() as conn:
        for i in range(20):
            conn.call("SET", "whole:%d" % i, i)
        conn.pipeline(("MULTI",), *(("SET", "part:%d" % i, "p" * 100) for i in range(50)), ("EXEC",))
    kill(server)
    path = logs(server)[-1]
    return server, path, frames(path)


@pytest.mark.parametrize("how", ["cut in the header", "cut in the middle", "a hole", "a flipped byte", "a byte short"])
def test_a_torn_end_is_cut_off_and_said_so(pulse_server, how):
    server, path, found = torn(pulse_server)
    data = bytearray(path.read_bytes())
    # The frame of the MULTI; it may be followed by one that only moves the cut.
    at, size = next(frame for frame in found if b"p" * 100 in data[frame[0]:frame[0] + frame[1]])
    keep = {"cut in the header": 20, "cut in the middle": size // 2, "a byte short": size - 1}.get(how)
    if keep is not None:
        data[at + keep:] = bytes(len(data) - at - keep)
    elif how == "a hole":
        data[at + size // 3:at + size // 2] = bytes(size // 2 - size // 3)
    else:
        data[at + size // 2] ^= 1
    path.write_bytes(data)
    server.start()
    with server.conn() as conn:
        assert sorted(conn.call("KEYS", "*")) == sorted(b"whole:%d" % i for i in range(20))
        assert int(info(conn)["log_torn_bytes"]) > 0
        conn.call("SET", "goes", "on")
    assert "The log ended in a torn write that was never acknowledged" in said(server)
    assert pathlib.Path(server.dir, path.name.replace(".plog", ".torn")).stat().st_size > 0
    kill(server)
    server.start()
    with server.conn() as conn:
        assert conn.call("DBSIZE") == 21 and info(conn)["log_torn_bytes"] == "0"


# --- damage, and who may use a directory ---

def a_hundred(conn):
    for i in range(100):
        conn.call("SET", "k:%d" % i, "value %d" % i)


def a_value(path):
    """Flips a bit in a value in the middle of a log. Where its frame begins."""
    where = path.read_bytes().index(b"value 50")
    flip(path, where)
    return max(at for at, size in frames(path) if at < where)


def test_a_flipped_byte_in_a_log_that_was_closed_in_order_is_refused(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        a_hundred(conn)
    stop(server)
    path = logs(server)[-1]
    at = a_value(path)
    why = refusal(server)
    assert path.name in why and str(at) in why and "pulsedb-check repair" in why, why


def test_a_flipped_byte_before_what_is_known_to_be_durable_is_refused_after_a_crash_too(pulse_server):
    server = pulse_server("--appendfsync", "always")
    with server.conn() as conn:
        a_hundred(conn)
    kill(server)
    path = logs(server)[-1]
    a_value(path)
    assert path.name in refusal(server)


@pytest.mark.parametrize("past", [False, True], ids=["keys", "past"])
def test_a_flipped_byte_in_a_snapshot_is_refused(pulse_server, past):
    server = pulse_server()
    with server.conn() as conn:
        a_hundred(conn)
        a_hundred(conn)
        conn.call("SAVE")
    kill(server)
    path = next(pathlib.Path(server.dir, name) for name in bases(server) if ("past" in name) == past)
    flip(path, path.stat().st_size // 2)
    assert path.name in refusal(server)


@pytest.mark.parametrize("kind", ["log.*.plog", "base.*.keys.snap", "base.*.past.snap"])
def test_a_missing_file_is_refused_by_its_name(pulse_server, kind):
    server = pulse_server()
    with server.conn() as conn:
        a_hundred(conn)
        conn.call("SAVE")
        conn.call("SET", "after", "v")
    stop(server)
    path = next(pathlib.Path(server.dir).glob(kind))
    path.unlink()
    assert path.name in refusal(server)


def test_logs_without_a_manifest_are_no_new_directory(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        conn.call("SET", "k", "v")
    stop(server)
    pathlib.Path(server.dir, "MANIFEST").unlink()
    assert "MANIFEST" in refusal(server)


def test_a_damaged_manifest_is_refused(pulse_server):
    server = pulse_server()
    stop(server)
    flip(pathlib.Path(server.dir, "MANIFEST"), 60)
    assert "MANIFEST is damaged" in refusal(server)


def test_a_newer_format_is_refused_and_both_versions_are_named(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        a_hundred(conn)
    stop(server)
    path = pathlib.Path(server.dir, "MANIFEST")
    text = path.read_bytes()
    path.write_bytes(re.sub(rb"^pulsedb-manifest \d+ \S+", b"pulsedb-manifest 99 7.5.0", text))
    why = refusal(server)
    assert "format 99, written by PulseDB 7.5.0" in why and "nothing was changed" in why
    own = subprocess.run([pulsedb_binary(), "--version"], capture_output=True, text=True).stdout.strip()
    assert own in why
    path.write_bytes(text)
    server.start()
    with server.conn() as conn:
        assert conn.call("DBSIZE") == 100


def test_a_second_server_on_the_directory_is_refused(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        conn.call("SET", "k", "v")
        second = subprocess.run([pulsedb_binary(), "--port", str(free_port()), "--dir", server.dir], capture_output=True,
                                text=True, timeout=120)
        assert second.returncode == 1
        assert "another server uses the directory" in second.stderr and "--dir" in second.stderr
        conn.call("SET", "k", "w")
    kill(server)
    server.start()  # a killed server leaves no lock behind
    with server.conn() as conn:
        assert conn.call("HIST", "k")[1::2] == [b"w", b"v"]


def test_the_directory_keeps_the_number_of_shards_it_was_made_with(pulse_server):
    server = pulse_server("--shards", "4")
    with server.conn() as conn:
        instants = write_of_all_sorts(conn)
        expected = everything(conn, instants)
    stop(server)
    again = pulse_server("--shards", "256", dir=server.dir)
    with again.conn() as conn:
        assert unlike(everything(conn, instants), expected) == {}
    assert "keeps the number of shards" in said(again)


def test_more_databases_than_there_may_be_are_refused(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        conn.call("SELECT", 9)
        conn.call("SET", "k", "v")
    stop(server)
    fewer = Server("pulsedb", "--databases", "4", dir=server.dir)
    assert "there is data in database 9: start with a higher setting of databases" in refusal(fewer)


# --- copies ---

def test_a_copy_of_a_running_server_is_a_backup_once_pulsedb_check_finds_it_whole(pulse_server, tmp_path):
    check = pathlib.Path(pulsedb_binary()).with_name("pulsedb-check")
    if not check.exists():
        pytest.skip("pulsedb-check is not built")
    server = pulse_server()
    with server.conn() as conn:
        instants = write_of_all_sorts(conn)
        conn.call("SELECT", 0)
        expected = rows(conn, "b")
        writer = Counter(server, "counter")
        wait(lambda: writer.answered > 50)
        conn.call("SAVE")
        for copy in (tmp_path / str(i) for i in range(20)):
            before = writer.answered
            copy.mkdir()
            for path in [pathlib.Path(server.dir, "MANIFEST"), *bases_of(server), *logs(server)]:
                shutil.copy(path, copy)
            if subprocess.run([check, copy, "--load"], capture_output=True, timeout=120).returncode in (0, 1):
                break
        else:
            pytest.fail("twenty copies, and none is whole")
    kill(server)
    writer.join()
    with pulse_server(dir=copy).conn() as conn:
        past = [int(row[b"value"]) for row in rows(conn, "counter", 1_000_000)]
        assert past == list(range(past[0], 0, -1)) and before <= past[0]
        assert rows(conn, "b") == expected


# --- to an instant ---

def restore(server, instant, to, *flags):
    """Runs --restore-to on the server's directory; what the program says."""
    return subprocess.run([pulsedb_binary(), "--restore-to", str(instant), "--restore-from", server.dir, "--dir", str(to),
                           *flags], capture_output=True, text=True, timeout=120)


def test_the_database_is_restored_to_an_instant(pulse_server, tmp_path):
    server = pulse_server()
    with server.conn() as conn:
        before = now_us(conn)
        instants = write_of_all_sorts(conn)
        expected = everything(conn, instants)
        then = now_us(conn)
        for i in range(10):
            conn.call("INCR", "a")
            conn.call("SET", "later:%d" % i, "v")
        conn.call("FLUSHALL")
    stop(server)
    untouched = files(server.dir)
    run = restore(server, then, tmp_path / "new")
    assert run.returncode == 0, run.stderr
    assert "Restored" in run.stdout and files(server.dir) == untouched
    restored = pulse_server(dir=tmp_path / "new")
    with restored.conn() as conn:
        assert everything(conn, [before, *instants]) == {**expected, **{
            what: value for what, value in everything(conn, [before, *instants]).items() if len(what) == 3}}
        assert unlike(everything(conn, instants), expected) == {}
        conn.call("SET", "goes", "on")
    kill(restored)
    restored.start()
    with restored.conn() as conn:
        assert conn.call("GET", "goes") == b"on"
        assert [row[b"stamp"] for row in rows(conn, "a")] == [row[b"stamp"] for row in expected[0, b"a"][2]]


def test_an_instant_between_two_commands_has_the_first_of_them(pulse_server, tmp_path):
    server = pulse_server("--appendfsync", "always")
    with server.conn() as conn:
        for i in range(10):
            conn.call("SET", "k", i)
        stamps = {row[b"value"]: row[b"stamp"] for row in rows(conn, "k")}
    kill(server)  # a server that was killed can be restored from as well
    assert restore(server, stamps[b"6"], tmp_path / "at").returncode == 0
    assert restore(server, stamps[b"6"] - 1, tmp_path / "before").returncode == 0
    with pulse_server(dir=tmp_path / "at").conn() as conn:
        assert conn.call("HIST", "k", 20)[1::2] == [b"%d" % i for i in range(6, -1, -1)]
    with pulse_server(dir=tmp_path / "before").conn() as conn:
        assert conn.call("GET", "k") == b"5"


def test_an_instant_before_the_snapshot_is_refused(pulse_server, tmp_path):
    server = pulse_server()
    with server.conn() as conn:
        conn.call("SET", "k", "1")
        then = now_us(conn)
        time.sleep(0.002)
        conn.call("SET", "k", "2")
        conn.call("SAVE")
    stop(server)
    run = restore(server, then, tmp_path / "new")
    assert run.returncode == 1 and "the snapshot there is younger than that instant" in run.stderr


def test_what_restoring_needs_is_said(pulse_server, tmp_path):
    server, other = pulse_server(), pulse_server()
    with other.conn() as conn:
        conn.call("SET", "k", "mine")
    stop(server)
    stop(other)
    before = files(other.dir)
    run = restore(server, "-1ms", other.dir)
    assert run.returncode == 1 and "holds a database already" in run.stderr
    assert files(other.dir) == before
    run = restore(server, "yesterday", tmp_path / "a")
    assert run.returncode == 1 and "takes an instant" in run.stderr
    run = restore(other, "-1h", tmp_path / "c")
    assert run.returncode == 1 and "begins after that instant, or is empty" in run.stderr
    run = subprocess.run([pulsedb_binary(), "--restore-to", "-1s"], capture_output=True, text=True, cwd=server.dir, timeout=120)
    assert run.returncode == 1 and "name it with --dir" in run.stderr
    (tmp_path / "empty").mkdir()
    run = subprocess.run([pulsedb_binary(), "--restore-to", "-1s", "--restore-from", tmp_path / "empty", "--dir",
                          tmp_path / "b"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 1 and "there is no database in the directory" in run.stderr


def test_a_restore_that_was_cut_off_refuses_to_start(pulse_server, tmp_path):
    server = pulse_server()
    with server.conn() as conn:
        conn.pipeline(*(("SET", "k%d" % i, "v") for i in range(20000)))
    stop(server)
    new = tmp_path / "new"
    process = subprocess.Popen([pulsedb_binary(), "--restore-to", "-1ms", "--restore-from", server.dir, "--dir", new,
                                "--snapshot-rate", "1kb"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait(lambda: list(new.glob("base.*.snap")))
    process.kill()
    process.wait()
    run = subprocess.run([pulsedb_binary(), "--port", "0", "--dir", new], capture_output=True, text=True, timeout=120)
    assert run.returncode > 0 and "did not finish" in run.stderr
    run = restore(server, "-1ms", new)
    assert run.returncode > 0 and "did not finish" in run.stderr


# --- snapshots by command ---

@pytest.fixture
def ours(pulse_server):
    with pulse_server().conn() as conn:
        yield conn


@pytest.mark.parametrize("words", [["BGSAVE"], ["BGSAVE", "SCHEDULE"], ["BGREWRITEAOF"], ["SAVE"], ["BGSAVE", "NOW"], ["LASTSAVE", "x"],
                                   ["BGREWRITEAOF", "x"]], ids=" ".join)
def test_snapshots_are_asked_for_as_in_redis(ours, redis_ref, words):
    ours_says, theirs = ours.try_call(*words), redis_ref.try_call(*words)
    assert ours_says == theirs
    wait(lambda: info(redis_ref)["rdb_bgsave_in_progress"] == info(redis_ref)["aof_rewrite_in_progress"] == "0")


def test_lastsave_moves_on_with_a_snapshot(ours):
    before = ours.call("LASTSAVE")
    assert abs(before - time.time()) < 10
    wait(lambda: time.time() >= before + 1)
    ours.call("SAVE")
    assert ours.call("LASTSAVE") > before
    assert int(info(ours)["rdb_last_save_time"]) == ours.call("LASTSAVE")


def test_only_one_snapshot_at_a_time(pulse_server):
    server = pulse_server("--snapshot-rate", "1mb")
    with server.conn() as conn:
        for i in range(50):
            conn.call("SET", "k:%d" % i, random.Random(i).randbytes(60_000))  # for 3 s
        conn.call("BGSAVE")
        busy = ReplyError("ERR Background save already in progress")
        assert conn.try_call("BGSAVE") == busy
        assert conn.try_call("SAVE") == busy
        shown = info(conn)
        assert shown["rdb_bgsave_in_progress"] == "1" and shown["aof_rewrite_in_progress"] == "0"
        wait(lambda: int(info(conn)["rdb_current_bgsave_time_sec"]) >= 0)
        assert int(shown["current_save_keys_processed"]) <= int(shown["current_save_keys_total"]) <= 50
        assert conn.call("BGSAVE", "SCHEDULE") == "Background saving scheduled"
        assert conn.call("BGREWRITEAOF") == "Background append only file rewriting scheduled"
        conn.call("CONFIG", "SET", "snapshot-rate", "0")
        wait(lambda: info(conn)["rdb_saves"] == "2" and info(conn)["rdb_bgsave_in_progress"] == "0")
        assert info(conn)["rdb_last_bgsave_status"] == "ok"


def test_a_rewrite_is_shown_as_one(pulse_server):
    server = pulse_server("--snapshot-rate", "1mb")
    with server.conn() as conn:
        for i in range(200):  # for 20 s
            conn.call("SET", "k:%d" % i, random.Random(i).randbytes(100_000))
        conn.call("BGREWRITEAOF")
        shown = info(conn)
        assert shown["rdb_bgsave_in_progress"] == "0" and shown["aof_rewrite_in_progress"] == "1"
        assert conn.try_call("BGREWRITEAOF") == ReplyError("ERR Background append only file rewriting already in progress")
    begun = time.monotonic()
    stop(server)  # does not wait for it
    assert time.monotonic() - begun < 10
    server.start()
    with server.conn() as conn:
        assert conn.call("DBSIZE") == 200


def test_info_has_redis_fields(ours, redis_ref):
    redis_ref.call("CONFIG", "SET", "appendonly", "yes")
    try:
        wait(lambda: info(redis_ref)["aof_rewrite_in_progress"] == "0")
        assert set(info(redis_ref)) <= set(info(ours))
    finally:
        redis_ref.call("CONFIG", "SET", "appendonly", "no")


def test_info_counts_what_the_last_snapshot_has_not(ours):
    for i in range(10):
        ours.call("SET", "k", i)
    assert info(ours)["rdb_changes_since_last_save"] == "10"
    ours.call("SAVE")
    shown = info(ours)
    assert shown["rdb_changes_since_last_save"] == "0" and shown["rdb_saves"] == "1"
    assert int(shown["aof_base_size"]) > 0 and int(shown["aof_current_size"]) >= int(shown["aof_base_size"])
    assert shown["aof_enabled"] == "1" and shown["log_state"] == "logging" and shown["aof_last_write_status"] == "ok"


def test_info_tells_what_was_loaded(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        a_hundred(conn)
        conn.call("SAVE")
        conn.call("SET", "after", "v")
    kill(server)
    server.start()
    with server.conn() as conn:
        shown = info(conn)
        assert shown["rdb_last_load_keys_loaded"] == "101" and shown["loading"] == "0"
        assert int(shown["log_replayed_records"]) >= 1
    assert re.search(r"Loaded keys=101 ", said(server))


@pytest.mark.parametrize("name", ["", ".rdb", "dump", "dump.txt", "../x.rdb", "/tmp/x.rdb", "a/b.rdb", "a\nb.rdb", ".hidden.rdb", "x" * 300 + ".rdb"])
def test_save_rdb_writes_beside_our_files_and_nowhere_else(pulse_server, name):
    server = pulse_server()
    with server.conn() as conn:
        before = sorted(path.name for path in pathlib.Path(server.dir).iterdir())
        reply = conn.try_call("SAVE", "RDB", name)
        assert str(reply).startswith("ERR SAVE RDB takes the name of a file in the data directory")
        assert sorted(path.name for path in pathlib.Path(server.dir).iterdir()) == before


def test_save_rdb_writes_a_file_and_makes_no_snapshot(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        conn.call("SET", "k", "v")
        assert conn.try_call("SAVE", "RBD", "x.rdb") == conn.try_call("SAVE", "RDB") == SYNTAX
        for _ in range(2):  # the second one replaces the first
            assert conn.call("SAVE", "RDB", "x.rdb") == "OK"
        assert pathlib.Path(server.dir, "x.rdb").read_bytes()[:9] == b"REDIS0011"
        assert info(conn)["rdb_saves"] == "0" and not bases(server)


# --- snapshots by rules ---

def test_a_save_rule_makes_a_snapshot(pulse_server):
    server = pulse_server("--appendonly", "no", "--save", "1 5")
    with server.conn() as conn:
        for i in range(5):
            conn.call("SET", "k", i)
        wait(lambda: int(info(conn)["rdb_saves"]) >= 1)
    assert 'for="a save rule"' in said(server)
    kill(server)
    server.start()
    with server.conn() as conn:
        assert conn.call("HIST", "k")[1::2] == [b"4", b"3", b"2", b"1", b"0"]


def test_the_rules_of_redis_count_only_when_there_is_no_log(pulse_server):
    rules = b"3600 1 300 100 60 10000"
    for flags, saves in (["--appendonly", "no"], True), ([], False):
        # Server says --save "" first; the setting's own default is asked for by giving the file nothing.
        port = free_port()
        with Server("pulsedb", *flags) as server:
            server.stop()
            process = subprocess.Popen([pulsedb_binary(), "--port", str(port), "--dir", server.dir, *flags],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                wait(lambda: is_ready(port))
                with Conn(port) as conn:
                    assert conn.call("CONFIG", "GET", "save")[1] == rules
                    conn.call("SET", "k", "v")
            finally:
                process.terminate()
                out = process.communicate(timeout=60)[0].decode()
            # With rules and without a log a stop makes a last snapshot.
            assert ("Saving a last snapshot" in out) == saves


@pytest.mark.parametrize("rules", ["1", "x y", "0 1", "1 -1", " ".join(["1 1"] * 17)])
def test_a_save_rule_that_makes_no_sense_is_refused(ours, rules):
    reply = ours.try_call("CONFIG", "SET", "save", rules)
    assert isinstance(reply, ReplyError) and "Invalid save parameters" in str(reply)
    assert ours.call("CONFIG", "GET", "save")[1] == b""


def test_a_log_that_has_grown_makes_a_snapshot_and_goes(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        conn.call("SET", "first", "v")
        first = logs(server)[0]
        conn.call("CONFIG", "SET", "snapshot-log-bytes", "1mb")
        value = random.Random(1).randbytes(1_000_000)
        for i in range(80):
            conn.call("SET", "k:%d" % (i % 4), value)
        wait(lambda: not first.exists())
        wait(lambda: info(conn)["rdb_bgsave_in_progress"] == "0")
    assert 'for="the log\'s growth"' in said(server)
    kill(server)
    server.start()
    with server.conn() as conn:
        assert conn.call("DBSIZE") == 5 and conn.call("GET", "k:3") == value


def test_only_one_base_stays(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        for i in range(3):
            conn.call("SET", "k", i)
            snapshot(conn)
            assert len(bases(server)) == 2
    stop(server)
    server.start()
    with server.conn() as conn:
        snapshot(conn)
    assert [path.name for path in logs(server)] == [logs(server)[-1].name], "a log from before the snapshot is left"


# --- with appendonly no ---

def test_without_a_log_only_a_snapshot_is_kept(pulse_server):
    server = pulse_server("--appendonly", "no")
    with server.conn() as conn:
        conn.call("SET", "k", "saved")
        conn.call("SAVE")
        conn.call("SET", "k", "not saved")
        assert info(conn)["aof_enabled"] == "0" and info(conn)["log_state"] == "off"
    kill(server)
    server.start()
    with server.conn() as conn:
        assert conn.call("HIST", "k")[1::2] == [b"saved"]


@pytest.mark.parametrize("rules,words,kept", [("", ["SAVE"], True), ("", [], False), ("3600 1", [], True),
                                              ("3600 1", ["NOSAVE"], False), ("", ["NOSAVE"], False)],
                         ids=lambda value: str(value))
def test_shutdown_saves_as_it_is_told(pulse_server, rules, words, kept):
    server = pulse_server("--appendonly", "no", "--save", rules)
    with server.conn() as conn:
        conn.call("SET", "k", "v")
        conn.send("SHUTDOWN", *words)
        assert conn.closed()
    assert server.process.wait(60) == 0
    server.stop()
    server.start()
    with server.conn() as conn:
        assert conn.call("EXISTS", "k") == kept


def test_with_a_log_shutdown_nosave_loses_nothing(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        conn.call("SET", "k", "v")
        conn.send("SHUTDOWN", "NOSAVE")
        assert conn.closed()
    assert server.process.wait(60) == 0
    server.stop()
    server.start()
    with server.conn() as conn:
        assert conn.call("GET", "k") == b"v"


# --- settings while it runs ---

def test_the_log_can_be_turned_off_and_on(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        conn.call("SET", "k", "logged")
        conn.call("CONFIG", "SET", "appendonly", "no")
        wait(lambda: info(conn)["aof_enabled"] == "0")
        conn.call("SET", "k", "not logged")
    kill(server)
    server.start()
    with server.conn() as conn:
        assert conn.call("HIST", "k")[1::2] == [b"logged"]
        conn.call("CONFIG", "SET", "appendonly", "no")
        wait(lambda: info(conn)["aof_enabled"] == "0")
        conn.call("SET", "k", "while it was off")
        conn.call("CONFIG", "SET", "appendonly", "yes")
        conn.call("SET", "k", "while it was turned on")
        wait(lambda: info(conn)["aof_enabled"] == "1")
        conn.call("SET", "k", "on again")
        expected = rows(conn, "k")
        assert [row[b"value"] for row in expected] == [b"on again", b"while it was turned on", b"while it was off", b"logged"]
    kill(server)
    server.start()
    with server.conn() as conn:
        assert rows(conn, "k") == expected


def test_the_policy_can_be_changed_and_holds_from_the_next_answer(pulse_server):
    server = pulse_server()
    with server.conn() as conn, server.conn() as reader:
        for i, policy in enumerate(["always", "no", "everysec", "always"]):
            assert conn.call("CONFIG", "SET", "appendfsync", policy) == "OK"
            for j in range(20):
                conn.call("SET", "k", "%s %d %d" % (policy, i, j))
                if policy == "always":
                    shown = reader.call("HIST", "k", 1, "WITHMETA")[0]
                    assert int(info(reader)["log_durable_us"]) >= shown[1] // 1000
        expected = rows(conn, "k")
    kill(server)
    server.start()
    with server.conn() as conn:
        assert len(expected) == 80 and rows(conn, "k") == expected


@pytest.mark.parametrize("policy", ["everysec", "no"])
def test_what_is_answered_is_written_and_everysec_makes_it_durable_by_itself(pulse_server, policy):
    with pulse_server("--appendfsync", policy).conn() as conn:
        for i in range(20):
            conn.call("SET", "k", i)
            stamp = rows(conn, "k")[0][b"stamp"] // 1000
            assert int(info(conn)["log_written_us"]) >= stamp
        if policy == "everysec":
            wait(lambda: int(info(conn)["log_durable_us"]) >= stamp)


@pytest.mark.parametrize("busy", ["a snapshot runs", "the log is turned on"])
def test_what_is_set_last_about_the_log_comes_true(pulse_server, busy):
    server = pulse_server("--appendonly", "no", "--snapshot-rate", "1mb")
    with server.conn() as conn:
        for i in range(50):
            conn.call("SET", "k:%d" % i, b"v" * 10_000)
        if busy == "a snapshot runs":
            conn.call("BGSAVE")
            conn.call("CONFIG", "SET", "appendonly", "yes")
            wait(lambda: info(conn)["aof_enabled"] == "1")
        else:
            conn.call("CONFIG", "SET", "appendonly", "yes")
            conn.call("CONFIG", "SET", "appendonly", "no")
            wait(lambda: info(conn)["rdb_bgsave_in_progress"] == info(conn)["aof_enabled"] == "0")


# --- loading ---

def answers_from_the_start(server):
    """Starts it and asks from the first moment on: what PING, GET, SET and INFO say until it is ready."""
    port, seen = free_port(), []
    process = subprocess.Popen([server.binary, "--port", str(port), "--dir", server.dir, "--save", ""], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                with Conn(port) as conn:
                    while True:
                        replies = conn.pipeline(("PING",), ("GET", "k:1"), ("SET", "x", "y"), ("INFO", "persistence"),
                                                ("SAVE",), ("MULTI",), ("GET", "k:1"), ("EXEC",))
                        if replies[0] == "PONG":
                            return seen
                        seen.append(replies)
            except ConnectionError:
                assert process.poll() is None
    finally:
        process.terminate()
        process.wait(60)
    raise AssertionError("it is never ready")


def test_while_it_loads_it_says_so(pulse_server):
    loading = ReplyError("LOADING PulseDB is loading the dataset in memory")
    server = pulse_server()
    with server.conn(timeout=30) as conn:
        instants = []
        for value in "v", "w":
            conn.call("MSET", *(word for i in range(100_000) for word in ("k:%d" % i, value)))
            instants.append(now_us(conn))
            time.sleep(0.002)
    for _ in range(4):
        with server.conn(timeout=30) as conn:
            for instant in instants * 3:  # one short command, 100,000 records
                conn.call("REVERT", "MATCH", "k:*", instant)
        stop(server)
        seen = answers_from_the_start(server)
        server.start()
        if len(seen) > 1:
            break
    else:
        pytest.skip("this machine loads faster than can be seen")
    for ping, get, set, shown, save, multi, queued, exec in seen[:-1]:
        assert ping == get == set == save == loading
        assert b"loading:1\r\n" in shown and b"loading_loaded_perc:" in shown
        assert multi == "OK" and queued == loading and exec.code == "EXECABORT"


def test_a_server_that_is_killed_while_it_loads_starts_again(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        instants = write_of_all_sorts(conn)
        expected = everything(conn, instants)
    kill(server)
    for i in range(6):
        process = subprocess.Popen([server.binary, "--port", "0", "--dir", server.dir], stdout=subprocess.DEVNULL)
        time.sleep(0.01 * i)
        process.kill()
        process.wait()
    server.start()
    with server.conn() as conn:
        assert unlike(everything(conn, instants), expected) == {}


# --- a full disk ---

# A disk of 48 MB that ends with the shell: a tmpfs in a mount namespace of its own, three quarters of it filled.
SMALL_DISK = """
mount -t tmpfs -o size=48m none "$1" || exit 77
head -c 36000000 /dev/zero > "$1/filler"
start() { "$2" --port "$3" --dir "$1" --save '' >/dev/null & }
start "$@"
while read -r word; do
    case $word in
    free) rm "$1/filler" ;;
    fill) cat /dev/zero > "$1/filler" 2>/dev/null ;;
    crash) kill -9 $!; wait $!; start "$@" ;;
    esac
    echo done
done
kill $!
wait $!
"""


@pytest.fixture
def small_disk(tmp_path):
    port = free_port()
    shell = subprocess.Popen(["unshare", "-rm", "sh", "-c", SMALL_DISK, "sh", tmp_path, pulsedb_binary(), str(port)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def tell(word):
        shell.stdin.write(word + "\n")
        shell.stdin.flush()
        assert shell.stdout.readline() == "done\n"

    wait(lambda: shell.poll() is not None or is_ready(port))
    if shell.poll() is not None:
        pytest.skip("no disk of one's own can be made here")
    yield port, tell
    shell.stdin.close()
    shell.wait(60)
    shell.stdout.close()


def arrives(conn, gives_up=lambda: False):
    """The next reply, however long it takes; None if there is none when `gives_up`."""
    for _ in range(100):
        try:
            return conn.read()
        except socket.timeout:
            if gives_up():
                return None
    raise AssertionError("no reply")


@pytest.mark.parametrize("policy", ["everysec", "always"])
def test_a_full_disk_refuses_writes_answers_reads_and_loses_nothing(small_disk, policy):
    port, tell = small_disk
    full = ReplyError("MISCONF Errors writing to the log: No space left on device. Reads go on; writes come back by "
                      "themselves once there is space")
    with Conn(port) as reader, Conn(port, timeout=0.2) as writer:
        reader.call("CONFIG", "SET", "appendfsync", policy)
        reader.call("SET", "before", "v")
        written = 0
        while reader.try_call("DEL", "nothing") == 0:
            writer.send("SET", "k:%d" % written, b"v" * 100_000)
            if arrives(writer, lambda: reader.try_call("DEL", "nothing") != 0) is None:
                break
            written += 1
        assert 50 < written < 240
        # The write that met the full disk has no answer yet. All later ones have one at once; reads have theirs.
        assert reader.call("GET", "before") == b"v" and reader.call("STRLEN", "k:0") == 100_000
        assert reader.try_call("SET", "x", "y") == reader.try_call("DEL", "before") == full
        assert [str(reply)[:9] for reply in reader.pipeline(("MULTI",), ("SET", "x", "y"), ("EXEC",))] == [
            "OK", "MISCONF E", "EXECABORT"]
        shown = info(reader)
        assert shown["log_state"] == "refusing" and shown["aof_last_write_status"] == "err"
        tell("free")
        assert arrives(writer) == "OK"
        wait(lambda: info(reader)["log_state"] == "logging")
        assert reader.call("SET", "after", "v") == "OK" and info(reader)["aof_last_write_status"] == "ok"
    tell("crash")
    wait(lambda: is_ready(port))
    with Conn(port) as conn:
        assert conn.call("DBSIZE") == written + 3
        assert conn.call("STRLEN", "k:%d" % written) == 100_000
        assert conn.call("EXISTS", "x") == 0


@pytest.mark.parametrize("policy", ["everysec", "always"])
def test_a_start_on_a_full_disk_answers_reads_and_takes_writes_once_there_is_space(small_disk, policy):
    port, tell = small_disk
    full = ReplyError("MISCONF Errors writing to the log: No space left on device. Reads go on; writes come back by "
                      "themselves once there is space")
    with Conn(port) as conn:
        conn.call("CONFIG", "SET", "appendfsync", policy)
        for i in range(30):
            assert conn.call("SET", "k:%d" % i, b"v" * 100_000) == "OK"
    tell("fill")
    for _ in range(3):  # however often
        tell("crash")
        wait(lambda: is_ready(port))
        with Conn(port) as conn:
            conn.call("CONFIG", "SET", "appendfsync", policy)
            shown = info(conn)
            assert shown["log_state"] == "refusing" and shown["aof_last_write_status"] == "err"
            assert conn.try_call("SET", "x", "y") == conn.try_call("DEL", "k:0") == full
            assert conn.call("DBSIZE") == 30 and conn.call("STRLEN", "k:29") == 100_000
            assert conn.call("GET", "x") is None
    tell("free")
    with Conn(port) as conn:
        wait(lambda: info(conn)["log_state"] == "logging")
        assert info(conn)["aof_last_write_status"] == "ok"
        assert conn.call("SET", "after", "v") == "OK"
    tell("crash")
    wait(lambda: is_ready(port))
    with Conn(port) as conn:
        assert conn.call("DBSIZE") == 31 and conn.call("STRLEN", "k:29") == 100_000
        assert info(conn)["log_state"] == "logging"
