"""By what CLIENT LIST and CLIENT KILL choose connections."""
import contextlib

import pytest

from resp import ReplyError
from server import Server
from waiting import eventually


@pytest.fixture(scope="module", params=["pulsedb", "redis"])
def server(request):
    with Server(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def ours():
    with Server("pulsedb") as server:
        yield server


@contextlib.contextmanager
def crowd(server):
    """Three named connections beside the one that asks."""
    with contextlib.ExitStack() as stack:
        me, *others = [stack.enter_context(server.conn()) for _ in range(4)]
        for name, conn in zip("abc", others):
            conn.call("CLIENT", "SETNAME", name)
        yield me, others


def fields(line):
    return dict(part.split("=", 1) for part in line.decode().split(" "))


def names(conn, *words):
    """Of those listed, sorted: which loop takes a connection in first is left to chance."""
    return sorted(fields(line)["name"] for line in conn.call("CLIENT", "LIST", *words).splitlines())


def address(conn):
    return "%s:%d" % conn.socket.getsockname()


def closed(conn):
    return eventually(conn.closed)


def test_list_by_type_and_id(server):
    with crowd(server) as (me, others):
        assert names(me, "TYPE", "normal") == ["", "a", "b", "c"]
        for nobody in "master", "replica", "slave", "pubsub":
            assert names(me, "TYPE", nobody) == []
        ids = [conn.call("CLIENT", "ID") for conn in others]
        lines = me.call("CLIENT", "LIST", "ID", ids[2], ids[0], 999999).splitlines()
        assert [fields(line)["name"] for line in lines] == ["c", "a"]


@pytest.mark.parametrize("filters", [
    lambda conn: ("ID", conn.call("CLIENT", "ID")),
    lambda conn: ("ADDR", address(conn)),
    lambda conn: ("ID", conn.call("CLIENT", "ID"), "ADDR", address(conn), "USER", "default", "TYPE", "normal"),
    lambda conn: ("id", conn.call("CLIENT", "ID"), "skipme", "no"),
])
def test_kill_one(server, filters):
    with crowd(server) as (me, others):
        assert me.call("CLIENT", "KILL", *filters(others[1])) == 1
        assert closed(others[1])
        assert eventually(lambda: names(me) == ["", "a", "c"])


def test_kill_by_old_form(server):
    with crowd(server) as (me, others):
        assert me.call("CLIENT", "KILL", address(others[0])) == "OK"
        assert closed(others[0])
        assert str(me.try_call("CLIENT", "KILL", "1.2.3.4:5")) == "ERR No such client"
        assert me.call("CLIENT", "KILL", address(me)) == "OK"
        assert closed(me)


@pytest.mark.parametrize("words,count", [
    (("TYPE", "normal"), 3), (("USER", "default"), 3), (("TYPE", "pubsub"), 0), (("TYPE", "master"), 0),
    (("USER", "default", "SKIPME", "yes"), 3), (("LADDR", "{port}"), 3), (("LADDR", "1.2.3.4:5"), 0),
    (("ID", "999999"), 0), (("TYPE", "normal", "ADDR", "1.2.3.4:5"), 0),
])
def test_kill_many_but_not_oneself(server, words, count):
    with crowd(server) as (me, others):
        words = [w.format(port=f"127.0.0.1:{server.port}") for w in words]
        assert me.call("CLIENT", "KILL", *words) == count
        assert me.call("PING") == "PONG"
        assert eventually(lambda: len(names(me)) == 4 - count)


def test_skipme_no_includes_oneself(server):
    with crowd(server) as (me, others):
        assert me.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no") == 4
        assert closed(me) and all(closed(conn) for conn in others)


@pytest.mark.parametrize("words", [
    ("LIST", "TYPE"), ("LIST", "TYPE", "x"), ("LIST", "ID"), ("LIST", "ID", "x"), ("LIST", "NOSUCH", "x"),
    ("KILL",), ("KILL", "ID"), ("KILL", "ID", "x"), ("KILL", "ID", "0"), ("KILL", "ID", "-1"), ("KILL", "TYPE", "x"),
    ("KILL", "USER", "x"), ("KILL", "SKIPME", "x"), ("KILL", "NOSUCH", "x"), ("KILL", "ADDR", "x", "ID"),
    ("KILL", "USER", "default", "SKIPME"),
])
def test_errors_are_those_of_redis(ours, redis_ref, words):
    with ours.conn() as conn:
        reply = conn.try_call("CLIENT", *words)
        assert isinstance(reply, ReplyError) and reply == redis_ref.try_call("CLIENT", *words)


# What Redis 7.0 has not, and Redis 7.2 to Valkey 9 have.

def test_list_by_what_valkey_knows(ours):
    with crowd(ours) as (me, (a, b, c)):
        b.call("SELECT", 5)
        b.call("CLIENT", "NO-TOUCH", "ON")
        c.call("CLIENT", "SETINFO", "LIB-NAME", "lib")
        c.call("CLIENT", "SETINFO", "LIB-VER", "1.2")
        for words, expected in [
            (("NAME", "b"), ["b"]), (("NOT-NAME", "b"), ["", "a", "c"]),
            (("DB", "5"), ["b"]), (("NOT-DB", "5"), ["", "a", "c"]),
            (("FLAGS", "T"), ["b"]), (("NOT-FLAGS", "T"), ["", "a", "c"]), (("FLAGS", "TN"), []),
            (("LIB-NAME", "lib", "LIB-VER", "1.2"), ["c"]), (("NOT-LIB-NAME", "lib"), ["", "a", "b"]),
            (("IP", "127.0.0.1"), ["", "a", "b", "c"]), (("NOT-IP", "127.0.0.1"), []), (("IP", "127.0.0"), []),
            (("ADDR", address(a)), ["a"]), (("NOT-ADDR", address(a)), ["", "b", "c"]),
            (("TYPE", "normal", "NOT-NAME", "a", "SKIPME", "yes"), ["b", "c"]),
            (("NOT-TYPE", "normal"), []), (("NOT-USER", "default"), []),
            (("NOT-ID", str(a.call("CLIENT", "ID")), str(b.call("CLIENT", "ID")), "NAME", "c"), ["c"]),
            (("NAME", "a", "NAME", "b"), ["b"]), (("MAXAGE", "3600"), []), (("IDLE", "3600"), []),
        ]:
            assert names(me, *words) == expected, words


def test_kill_by_what_valkey_knows(ours):
    with crowd(ours) as (me, (a, b, c)):
        assert me.call("CLIENT", "KILL", "ID", a.call("CLIENT", "ID"), b.call("CLIENT", "ID")) == 2
        assert closed(a) and closed(b)
        assert me.call("CLIENT", "KILL", "NOT-NAME", "c") == 0
        assert me.call("CLIENT", "KILL", "NAME", "c", "MAXAGE", "3600") == 0
        assert me.call("CLIENT", "KILL", "NAME", "c") == 1
        assert closed(c)


@pytest.mark.parametrize("words,text", [
    (("MAXAGE", "x"), "ERR maxage is not an integer or out of range"),
    (("MAXAGE", "0"), "ERR maxage should be greater than 0"),
    (("NOT-MAXAGE", "1"), "ERR syntax error"), (("NOT-", "1"), "ERR syntax error"),
    (("IDLE", "0"), "ERR idle should be greater than 0"),
    (("DB", "x"), "ERR DB index is out of range"),
])
def test_errors_of_what_valkey_knows(ours, words, text):
    with ours.conn() as conn:
        for sub in "LIST", "KILL":
            assert str(conn.try_call("CLIENT", sub, *words)) == text
