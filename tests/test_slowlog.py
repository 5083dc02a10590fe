"""SLOWLOG: what is kept of slow commands, held against redis-server."""
import time

import pytest

from resp import Conn, ReplyError
from server import Server

FLAGS = ("--slowlog-log-slower-than", "0", "--enable-debug-command", "yes")


@pytest.fixture(scope="module")
def ours():
    with Server("pulsedb", *FLAGS) as server:
        yield server


@pytest.fixture(scope="module")
def theirs():
    with Server("redis", *FLAGS) as server:
        yield server


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def log(request, ours):
    """A connection to a server that logs every command; its log is empty."""
    with ours.conn(protocol=request.param) as conn:
        conn.call("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "128")
        conn.call("SLOWLOG", "RESET")
        yield conn


def words(entry):
    return [w.decode() for w in entry[3]]


def logged(conn, *calls):
    """The words that are kept of these calls, oldest first."""
    conn.call("SLOWLOG", "RESET")
    for call in calls:
        conn.try_call(*call)
    entries = conn.call("SLOWLOG", "GET", "-1")
    return [words(e) for e in reversed(entries) if words(e)[:2] != ["SLOWLOG", "RESET"]]


CALLS = [
    ("SET", "k", "v"),
    ("GET", "k"),
    ("INCR", "k"),
    ("SET", "k"),
    ("NOSUCH", "a"),
    ("PING", "x" * 128),
    ("PING", "x" * 129),
    ("PING", b"\0\xff binary"[:1] + b"y" * 1000),
    ("MGET", *["k"] * 31),
    ("MGET", *["k"] * 32),
    ("MGET", *["k"] * 100),
    ("MULTI",), ("SET", "a", "b"), ("GET", "a"), ("EXEC",),
    ("AUTH", "secret"), ("AUTH", "user", "secret"),
    ("HELLO", "2", "AUTH", "user", "secret"),
    ("HELLO", "2", "SETNAME", "me"),
    ("HELLO", "2", "AUTH", "user", "secret", "SETNAME", "me"),
    ("CONFIG", "SET", "masterauth", "secret"),
    ("CONFIG", "SET", "masteruser", "someone"),
    ("config", "set", "REQUIREPASS", ""),
    ("CONFIG", "SET", "maxmemory", "0", "masterauth", "secret"),
    ("CONFIG", "SET", "maxmemory", "0", "timeout", "0"),
    ("CONFIG", "GET", "requirepass"),
]


def test_entries_hold_what_redis_keeps(ours, theirs):
    with ours.conn() as a, theirs.conn() as b:
        assert logged(a, *CALLS) == logged(b, *CALLS)


@pytest.mark.parametrize("call", [
    ("ACL", "SETUSER", "bob", "on", ">secret"),
    ("ACL", "SETUSER", "secret"),
    ("MIGRATE", "127.0.0.1", "1", "k", "0", "10", "AUTH", "secret"),
    ("MIGRATE", "127.0.0.1", "1", "k", "0", "10", "AUTH2", "user", "secret"),
])
def test_no_secret_of_a_command_is_kept(log, theirs, call):
    kept = logged(log, call)
    assert not any("secret" in word for entry in kept for word in entry)
    if kept:  # it is a command here
        with theirs.conn() as reference:
            assert kept == logged(reference, call)


def test_an_entry_has_six_fields(log):
    log.call("CLIENT", "SETNAME", "me")
    log.call("SLOWLOG", "RESET")
    before = int(time.time())
    log.call("PING")
    ping, reset = log.call("SLOWLOG", "GET")
    assert len(ping) == 6 and words(ping) == ["PING"] and words(reset) == ["SLOWLOG", "RESET"]
    assert ping[0] == reset[0] + 1
    assert before - 1 <= ping[1] <= time.time() + 1
    assert isinstance(ping[2], int) and ping[2] >= 0
    address = dict(f.split("=", 1) for f in log.call("CLIENT", "INFO").decode().split() if "=" in f)["addr"]
    assert ping[4].decode() == address and ping[5] == b"me"


def test_only_what_is_slow_is_kept(log):
    log.call("CONFIG", "SET", "slowlog-log-slower-than", "20000")
    log.call("SLOWLOG", "RESET")
    log.call("PING")
    log.call("DEBUG", "SLEEP", "0.03")
    (entry,) = log.call("SLOWLOG", "GET")
    assert words(entry) == ["DEBUG", "SLEEP", "0.03"] and entry[2] >= 30_000


def test_minus_one_keeps_nothing(log):
    log.call("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    log.call("SLOWLOG", "RESET")
    log.call("DEBUG", "SLEEP", "0.01")
    assert log.call("SLOWLOG", "LEN") == 0


def test_ids_go_on_after_a_reset(log):
    log.call("PING")
    first = log.call("SLOWLOG", "GET", "1")[0][0]
    log.call("SLOWLOG", "RESET")
    log.call("PING")
    assert log.call("SLOWLOG", "GET", "1")[0][0] > first


def test_the_log_has_a_length(log):
    log.call("CONFIG", "SET", "slowlog-max-len", "5")
    for i in range(20):
        log.call("ECHO", str(i))
    assert log.call("SLOWLOG", "LEN") == 5
    log.call("CONFIG", "SET", "slowlog-max-len", "2")
    assert len(log.call("SLOWLOG", "GET", "-1")) == 2
    log.call("CONFIG", "SET", "slowlog-max-len", "0")
    assert log.call("SLOWLOG", "GET") == [] and log.call("SLOWLOG", "LEN") == 0


def test_get_shows_ten_or_as_many_as_asked(log):
    for _ in range(15):
        log.call("PING")
    assert len(log.call("SLOWLOG", "GET")) == 10
    assert len(log.call("SLOWLOG", "GET", "3")) == 3
    assert log.call("SLOWLOG", "GET", "0") == []
    assert len(log.call("SLOWLOG", "GET", "-1")) > 15


@pytest.mark.parametrize("call", [("GET", "-2"), ("GET", "a"), ("GET", "1", "2"), ("LEN", "x"), ("NOSUCH",), ()])
def test_errors_are_those_of_redis(log, theirs, call):
    with theirs.conn() as reference:
        assert log.try_call("SLOWLOG", *call) == reference.try_call("SLOWLOG", *call)


@pytest.mark.parametrize("name,value", [("slowlog-log-slower-than", "-2"), ("slowlog-max-len", "-1")])
def test_bounds_are_those_of_redis(log, theirs, name, value):
    with theirs.conn() as reference:
        reply = log.try_call("CONFIG", "SET", name, value)
        assert isinstance(reply, ReplyError) and reply == reference.try_call("CONFIG", "SET", name, value)


def test_help_names_the_subcommands(log):
    text = "\n".join(log.call("SLOWLOG", "HELP"))
    assert text.startswith("SLOWLOG <subcommand>") and all(w in text for w in ("GET", "LEN", "RESET", "HELP"))


def test_many_clients_at_once(log, ours):
    conns = [Conn(ours.port) for _ in range(8)]
    for conn in conns:
        conn.send_raw(b"*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n" * 200)
    for conn in conns:
        assert [conn.read() for _ in range(200)] == [b"x"] * 200
        conn.close()
    entries = log.call("SLOWLOG", "GET", "-1")
    assert len(entries) == 128
    ids = [e[0] for e in entries]
    assert ids == sorted(ids, reverse=True) and len(set(ids)) == 128
