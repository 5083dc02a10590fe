"""MONITOR: every command that runs, as it was asked. Where it can be asked, redis-server is the reference."""
import re
import threading

import pytest

from resp import Conn, ReplyError
from waiting import eventually

LINE = re.compile(r"(\d{10,}\.\d{6}) \[(\d+) (\S+)\] (.*)", re.S)


def lines_until(monitor, word):
    """What is shown up to the command with this word: (database, source, words)."""
    got = []
    while True:
        line = monitor.read()
        assert isinstance(line, str), line
        match = LINE.fullmatch(line)
        assert match, line
        if word in line:
            return got
        got.append(match.groups()[1:])


CALLS = [
    ("set", "a", b"b\"\\\n\r\t\a\b\x00\xff \xc3\xa9"), ("GET", "a"), ("get", "x", "y"), ("nosuch",), ("INCR", "a"),
    ("SELECT", "3"), ("MULTI",), ("SET", "q", "1"), ("GET", "q"), ("EXEC",), ("MULTI",), ("GET", "q"), ("DISCARD",),
    ("MULTI",), ("nosuch",), ("EXEC",), ("WATCH", "a"), ("AUTH", "pw"), ("AUTH", "u", "pw"),
    ("HELLO", "3", "AUTH", "u", "p"), ("HELLO", "2", "AUTH", "default", "p", "SETNAME", "n"), ("HELLO", "2"),
    ("CONFIG", "SET", "requirepass", ""), ("CLIENT", "LIST"), ("CLIENT", "SETNAME", "x"), ("CLIENT", "ID"),
    ("CLIENT", "TRACKING", "ON"), ("CLIENT", "TRACKING", "OFF"), ("COMMAND", "COUNT"), ("INFO", "foo"), ("PING",),
    ("ECHO", ""), ("RESET",), ("OBJECT", "HELP"), ("KEYS", "*"), ("SCAN", "0"), ("SET", "k", "v", "EX", "100"),
    ("MGET", "a", "b"), ("DEL", "a"), ("FLUSHALL",),
]


@pytest.mark.parametrize("protocol", [2, 3])
def test_commands_are_shown_as_in_redis(pulse_session, redis_session, protocol):
    seen = []
    for server in (pulse_session, redis_session):
        with server.conn(protocol=protocol) as monitor, server.conn() as conn:
            address = b"%s:%d" % (conn.socket.getsockname()[0].encode(), conn.socket.getsockname()[1])
            assert monitor.call("MONITOR") == "OK"
            for call in CALLS:
                conn.try_call(*call)
            conn.call("ECHO", "the end")
            got = lines_until(monitor, "the end")
            assert {source for _, source, _ in got} == {address.decode()}
            seen.append([(db, words) for db, _, words in got])
    assert seen[0] == seen[1]


def test_a_monitor_may_not_touch_keys_and_ends_by_reset(pulse_session, redis_session):
    calls = [("MONITOR",), ("GET", "a"), ("SET", "a", 1), ("KEYS", "*"), ("DBSIZE",)]
    for server in (pulse_session, redis_session):
        with server.conn() as monitor, server.conn() as other:
            assert monitor.call("MONITOR") == "OK"
            assert b" flags=O " in other.call("CLIENT", "LIST", "ID", other.call("CLIENT", "ID") - 1)
            shown = b""
            for call in calls:
                monitor.send(*call)
            monitor.send("RESET")
            while shown != "RESET":
                shown = monitor.read()
                if isinstance(shown, ReplyError):
                    assert str(shown) == "ERR Replica can't interact with the keyspace"
            other.call("PING")
            assert monitor.call("GET", "nothing") is None
            assert monitor.call("MULTI") == "OK"
            assert monitor.call("MONITOR") == "QUEUED"
            assert [str(e) for e in monitor.call("EXEC")] == ["ERR MONITOR isn't allowed for DENY BLOCKING client"]


def test_a_unix_socket_is_shown_by_its_path(pulse_server, tmp_path):
    path = str(tmp_path / "p.sock")
    server = pulse_server("--unixsocket", path)
    with server.conn() as monitor, Conn(path=path) as conn:
        monitor.call("MONITOR")
        conn.call("GET", "a")
        assert re.fullmatch(rf'\d+\.\d+ \[0 unix:{re.escape(path)}\] "GET" "a"', monitor.read())


def test_commands_of_all_loops_are_shown_each_in_its_order(pulse_server):
    server = pulse_server("--threads", "4")
    monitors = [server.conn(timeout=60.0) for _ in range(3)]
    for monitor in monitors:
        monitor.call("MONITOR")

    def run(name):
        with server.conn(timeout=60.0) as conn:
            for at in range(0, 200, 10):
                conn.pipeline(*[("SET", f"{name}-{i}", i) for i in range(at, at + 10)])

    threads = [threading.Thread(target=run, args=(f"w{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for monitor in monitors:
        order = {f"w{n}": [] for n in range(6)}
        for _ in range(6 * 200):
            name, number = re.search(r'"SET" "(w\d)-(\d+)"', monitor.read()).groups()
            order[name].append(int(number))
        assert all(numbers == list(range(200)) for numbers in order.values())
        monitor.close()


def test_a_monitor_that_does_not_read_is_closed_and_others_go_on(pulse_server):
    server = pulse_server("--threads", "2")
    with server.conn() as deaf, server.conn() as writer:
        deaf_id = deaf.call("CLIENT", "ID")
        deaf.call("MONITOR")
        value = "v" * 100_000
        for _ in range(60):
            if not writer.call("CLIENT", "LIST", "ID", deaf_id):
                break
            writer.pipeline(*[("SET", "k", value) for _ in range(20)])
        assert eventually(lambda: not writer.call("CLIENT", "LIST", "ID", deaf_id))
        assert writer.call("SET", "k", 1) == "OK"


def test_a_long_command_is_cut(pulse, pulse_port):
    with Conn(pulse_port) as monitor:
        monitor.call("MONITOR")
        pulse.call("SET", "k", b"\0" * 3_000_000)
        line = monitor.read()
        assert len(line) < 1_100_000 and line.endswith("more bytes, 0 more arguments)")
        pulse.call("MSET", *["w"] * 600_000)
        assert len(monitor.read()) < 1_100_000
        pulse.call("PING")
        assert monitor.read().endswith('"PING"')
