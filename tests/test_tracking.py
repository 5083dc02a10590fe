"""CLIENT TRACKING: what a client that keeps copies is told. Where it can be asked, redis-server is the reference."""
import random
import re
import threading

import pytest

from resp import Conn, Push, ReplyError
from server import Server
from waiting import eventually

INVALIDATE = b"invalidate"


@pytest.fixture
def loops(pulse_server):
    return pulse_server("--threads", "4")


def pushes(conn):
    """All pushes until the answer to a call of its own, one that leaves CLIENT CACHING as it is."""
    conn.send("CLIENT", "GETREDIR")
    got = []
    while isinstance(reply := conn.read(), Push):
        got.append(list(reply))
    assert isinstance(reply, int) or reply == "QUEUED"
    return got


def told(conn, count):
    """So many pushes, however long they take."""
    got = [conn.read() for _ in range(count)]
    assert all(isinstance(push, Push) for push in got)
    return [list(push) for push in got]


def keys_told(conn):
    return [push[1] for push in pushes(conn)]


# ---- asking for it ----

OPTIONS = """
TRACKING | TRACKING x | TRACKING on foo | TRACKING on REDIRECT | TRACKING on REDIRECT 0 | TRACKING on REDIRECT -1
TRACKING on REDIRECT abc | TRACKING on redirect 999999 | TRACKING on prefix a | TRACKING ON OPTIN OPTOUT
TRACKING ON BCAST OPTIN | TRACKING ON BCAST PREFIX a PREFIX ab | TRACKING OFF PREFIX a | TRACKING OFF nope
TRACKING ON PREFIX | CACHING | CACHING yes | CACHING x | CACHING yes no | TRACKINGINFO x | GETREDIR x | GETREDIR
TRACKINGINFO | TRACKING ON | GETREDIR | CACHING yes | CACHING no | CACHING maybe | TRACKINGINFO | TRACKING ON BCAST
TRACKING ON OPTIN | TRACKINGINFO | CACHING yes | TRACKINGINFO | TRACKINGINFO | CACHING no | TRACKING ON OPTOUT
TRACKING ON NOLOOP | TRACKINGINFO | TRACKING OFF | TRACKINGINFO | TRACKING ON OPTOUT NOLOOP | CACHING no
TRACKINGINFO | TRACKING ON OPTIN | TRACKING ON | TRACKINGINFO | TRACKING OFF | TRACKING ON BCAST | TRACKINGINFO
TRACKING ON BCAST PREFIX foo | TRACKING ON BCAST | TRACKING ON | TRACKING OFF | GETREDIR
TRACKING ON BCAST PREFIX foo PREFIX bar PREFIX zz | TRACKINGINFO | TRACKING ON BCAST PREFIX fo
TRACKING ON BCAST PREFIX foo | TRACKING ON BCAST PREFIX abc NOLOOP | TRACKINGINFO | TRACKING OFF | TRACKINGINFO
"""


@pytest.mark.parametrize("protocol", [2, 3])
def test_options_are_taken_and_refused_as_in_redis(pulse_port, redis_session, protocol):
    with Conn(pulse_port, protocol=protocol) as ours, redis_session.conn(protocol=protocol) as theirs:
        for words in re.split(r"[|\n]", OPTIONS.strip()):
            call = ["CLIENT", *words.split()]
            assert ours.try_call(*call) == theirs.try_call(*call), call


def test_a_redirection_is_shown(pulse_port):
    with Conn(pulse_port) as a, Conn(pulse_port) as b:
        mine, other = a.call("CLIENT", "ID"), b.call("CLIENT", "ID")
        assert a.call("CLIENT", "TRACKING", "ON", "REDIRECT", other) == "OK"
        assert a.call("CLIENT", "GETREDIR") == other
        assert a.call("CLIENT", "TRACKINGINFO")[3] == other
        line = b.call("CLIENT", "LIST", "ID", mine)
        assert b" flags=t " in line and b" redir=%d " % other in line
        assert isinstance(a.try_call("CLIENT", "TRACKING", "ON", "REDIRECT", other, "REDIRECT", mine), ReplyError)
        assert a.call("CLIENT", "TRACKING", "ON", "REDIRECT", mine) == "OK"
        a.call("RESET")
        assert a.call("CLIENT", "GETREDIR") == -1
        assert b" redir=-1 " in b.call("CLIENT", "LIST", "ID", mine)


# ---- being told ----

def run_script(server, steps):
    """Runs (client, words...) on three RESP3 clients; returns all answers and, after each step, all pushes."""
    clients = [server.conn(protocol=3) for _ in range(3)]
    clients[0].call("FLUSHALL")
    log = []
    for who, *words in steps:
        clients[who].send(*words)
        while isinstance(reply := clients[who].read(), Push):
            log.append((who, "before", list(reply)))
        log.append((who, words[0], reply))
        log += [(i, "told", push) for i, client in enumerate(clients) for push in pushes(client)]
    for client in clients:
        client.close()
    return log


SCRIPTS = {
    "default": [(0, "CLIENT", "TRACKING", "ON"), (0, "GET", "a"), (0, "MGET", "a", "b", "c"), (1, "SET", "a", 1),
                (1, "SET", "a", 2), (0, "GET", "a"), (0, "SET", "a", 3), (1, "MSET", "b", 1, "c", 2),
                (0, "STRLEN", "a"), (1, "APPEND", "a", "x"), (0, "TTL", "a"), (1, "EXPIRE", "a", 100),
                (0, "EXISTS", "a", "q"), (1, "DEL", "a"), (1, "SET", "q", 1), (0, "GET", "n"), (1, "DEL", "n"),
                (0, "GETRANGE", "q", 0, 1), (1, "SETRANGE", "q", 100, "x"), (0, "TYPE", "q"), (1, "RENAME", "q", "r"),
                (0, "GET", "r"), (1, "SELECT", 1), (1, "SET", "r", "elsewhere"), (0, "INCR", "num"), (1, "INCR", "num")],
    "two readers": [(0, "CLIENT", "TRACKING", "ON"), (1, "CLIENT", "TRACKING", "ON"), (0, "GET", "a"), (1, "GET", "a"),
                    (2, "SET", "a", 1), (1, "GET", "a"), (1, "SET", "a", 2), (1, "CLIENT", "TRACKING", "OFF"),
                    (0, "GET", "a"), (2, "SET", "a", 3), (0, "GET", "a"), (0, "RESET"), (2, "SET", "a", 4)],
    "noloop": [(0, "CLIENT", "TRACKING", "ON", "NOLOOP"), (0, "GET", "a"), (0, "SET", "a", 1), (1, "SET", "a", 2),
               (0, "GET", "a"), (1, "SET", "a", 2)],
    "optin": [(0, "CLIENT", "TRACKING", "ON", "OPTIN"), (0, "GET", "a"), (1, "SET", "a", 1),
              (0, "CLIENT", "CACHING", "YES"), (0, "GET", "a"), (0, "GET", "b"), (1, "MSET", "a", 1, "b", 1),
              (0, "CLIENT", "CACHING", "YES"), (0, "CLIENT", "ID"), (0, "GET", "a"), (1, "SET", "a", 1),
              (0, "CLIENT", "CACHING", "YES"), (0, "PING"), (0, "GET", "a"), (1, "SET", "a", 1),
              (0, "CLIENT", "CACHING", "YES"), (0, "NOSUCH"), (0, "GET", "a"), (1, "SET", "a", 1),
              (0, "CLIENT", "CACHING", "YES"), (0, "MULTI"), (0, "GET", "a"), (0, "GET", "b"), (0, "EXEC"),
              (0, "GET", "c"), (1, "MSET", "a", 1, "b", 1, "c", 1),
              (0, "MULTI"), (0, "CLIENT", "CACHING", "YES"), (0, "GET", "a"), (0, "GET", "b"), (0, "EXEC"),
              (0, "GET", "c"), (1, "MSET", "a", 1, "b", 1, "c", 1)],
    "optout": [(0, "CLIENT", "TRACKING", "ON", "OPTOUT"), (0, "GET", "a"), (0, "CLIENT", "CACHING", "NO"),
               (0, "GET", "b"), (0, "GET", "c"), (1, "MSET", "a", 1, "b", 1, "c", 1)],
    "multi": [(0, "CLIENT", "TRACKING", "ON"), (0, "MULTI"), (0, "GET", "a"), (0, "SET", "b", 1), (0, "EXEC"),
              (0, "GET", "b"), (1, "MULTI"), (1, "SET", "a", 1), (1, "SET", "b", 1), (1, "EXEC"),
              (1, "MULTI"), (1, "CLIENT", "TRACKING", "ON"), (1, "GET", "a"), (1, "EXEC"), (0, "SET", "a", 1)],
    "bcast": [(0, "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a", "PREFIX", "b"), (1, "SET", "a1", 1),
              (1, "SET", "c", 1), (1, "MSET", "b2", 1, "a2", 1, "a1", 1, "c", 1), (0, "SET", "b", 1),
              (1, "FLUSHALL"), (1, "CLIENT", "TRACKING", "ON", "BCAST", "NOLOOP"), (1, "SET", "a", 1),
              (0, "SET", "c", 1), (0, "CLIENT", "TRACKING", "OFF"), (0, "SET", "a", 1), (0, "SET", "", "no name")],
    "flush": [(0, "CLIENT", "TRACKING", "ON"), (1, "CLIENT", "TRACKING", "ON", "NOLOOP"), (0, "GET", "a"),
              (2, "SET", "a", 1), (2, "FLUSHDB"), (1, "SET", "x", 1), (1, "FLUSHALL"), (0, "SET", "a", 1)],
    "errors": [(0, "CLIENT", "TRACKING", "ON"), (0, "GETRANGE", "a", "x", 1), (0, "GET", "b", "c"),
               (1, "MSET", "a", 1, "b", 1), (1, "SET", "e", "text"), (0, "GET", "e"), (1, "INCR", "e")],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_who_is_told_what_as_in_redis(pulse_session, redis_session, name):
    steps = SCRIPTS[name]
    ours, theirs = run_script(pulse_session, steps), run_script(redis_session, steps)
    for mine, reference in zip(ours, theirs):
        if mine[1] == "CLIENT" and isinstance(mine[2], int):
            continue  # CLIENT ID
        assert mine == reference, (ours, theirs)
    assert len(ours) == len(theirs), (ours, theirs)


def test_two_databases_that_change_places_are_forgotten(pulse, pulse_port):
    with Conn(pulse_port, protocol=3) as conn:
        conn.call("CLIENT", "TRACKING", "ON")
        conn.call("GET", "a")
        pulse.call("SWAPDB", 0, 1)
        assert told(conn, 1) == [[INVALIDATE, None]]
        pulse.call("SWAPDB", 0, 1)
        assert told(conn, 1) == [[INVALIDATE, None]]


def test_what_expires_is_told(pulse, pulse_port):
    with Conn(pulse_port, protocol=3) as conn, Conn(pulse_port, protocol=3) as broadcast:
        pulse.call("SET", "a", 1, "PX", 30)
        conn.call("CLIENT", "TRACKING", "ON", "NOLOOP")
        conn.call("GET", "a")
        broadcast.call("CLIENT", "TRACKING", "ON", "BCAST", "NOLOOP")
        assert told(conn, 1) == [[INVALIDATE, [b"a"]]]
        assert [INVALIDATE, [b"a"]] in told(broadcast, 1)


def test_reads_of_the_past_are_not_tracked(pulse, pulse_port):
    pulse.call("SET", "a", 1)
    with Conn(pulse_port, protocol=3) as conn:
        conn.call("CLIENT", "TRACKING", "ON")
        conn.call("GETAT", "a", "-1ms")
        conn.call("AT", "-1ms", "GET", "a")
        conn.call("AT", "-1ms")
        conn.call("GET", "a")
        conn.call("AT", "OFF")
        pulse.call("SET", "a", 2)
        assert pushes(conn) == []
        conn.call("HIST", "a")
        pulse.call("SET", "a", 3)
        assert told(conn, 1) == [[INVALIDATE, [b"a"]]]


def test_a_resp2_client_without_a_redirection_is_told_nothing(pulse, other):
    other.call("CLIENT", "TRACKING", "ON")
    other.call("GET", "a")
    pulse.call("SET", "a", 1)
    assert other.pipeline(("PING",), ("PING",)) == ["PONG", "PONG"]


def test_word_is_redirected_to_another_loop_and_its_loss_is_told(loops):
    with loops.conn() as writer:
        targets = [loops.conn(protocol=3) for _ in range(4)]
        readers = [loops.conn(protocol=3) for _ in range(4)]
        for i, (reader, target) in enumerate(zip(readers, targets)):
            reader.call("CLIENT", "TRACKING", "ON", "REDIRECT", target.call("CLIENT", "ID"))
            reader.call("GET", f"key{i}")
        for i, target in enumerate(targets):
            writer.call("SET", f"key{i}", 1)
            assert told(target, 1) == [[INVALIDATE, [b"key%d" % i]]]
        ids = [target.call("CLIENT", "ID") for target in targets]
        for target in targets:
            target.close()
        assert eventually(lambda: writer.call("CLIENT", "LIST").count(b"\n") == 5)
        for i, reader in enumerate(readers):
            reader.call("GET", f"key{i}")
            writer.call("SET", f"key{i}", 2)
            assert told(reader, 1) == [[b"tracking-redir-broken", ids[i]]]
            assert b"broken_redirect" in reader.call("CLIENT", "TRACKINGINFO")[b"flags"]
            assert b" flags=tR " in reader.call("CLIENT", "INFO")
            reader.close()


def test_no_answer_is_newer_than_what_was_told_before_it(loops):
    caches = [Cache(loops, broadcast=i == 2) for i in range(3)]
    stop, failures = threading.Event(), []

    def write():
        with loops.conn(timeout=60.0) as conn:
            for i in range(1500):
                conn.pipeline(("MULTI",), ("SET", "k:left", i), ("SET", "right", i), ("EXEC",))
        stop.set()

    def read(cache):
        while not stop.is_set():
            cache.read([b"k:left"])
            for question in (("GET", "right"), ("MGET", "right", "other")):
                answer = cache.answer(*question)
                right = int((answer[0] if question[0] == "MGET" else answer) or 0)
                left = int(cache.values.get(b"k:left") or right)
                if left < right:
                    failures.append((question, left, right))

    threads = [threading.Thread(target=write)] + [threading.Thread(target=read, args=(cache,)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:10]
    for cache in caches:
        cache.conn.close()


# ---- figures and bounds ----

def test_the_table_is_bounded_and_info_counts(pulse_server):
    server = pulse_server("--tracking-table-max-keys", "50")
    with server.conn(protocol=3) as conn, server.conn() as other:
        def figures():
            info = other.call("INFO").decode()
            return [int(re.search(rf"{name}:(\d+)", info)[1]) for name in
                    ("tracking_clients", "tracking_total_keys", "tracking_total_items", "tracking_total_prefixes")]

        assert figures() == [0, 0, 0, 0]
        conn.call("CLIENT", "TRACKING", "ON")
        for i in range(80):
            conn.send("GET", f"k{i}")
        forgotten = set()
        answers = 0
        while answers < 80 or len(forgotten) < 30:
            reply = conn.read()
            if isinstance(reply, Push):
                forgotten.update(reply[1])
            else:
                answers += 1
        assert len(forgotten) == 30
        assert figures() == [1, 50, 50, 0]
        other.call("CONFIG", "SET", "tracking-table-max-keys", 10)
        assert len(told(conn, 40)) == 40
        assert figures() == [1, 10, 10, 0]
        other.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a", "PREFIX", "b")
        assert figures()[0::3] == [2, 2]
        other.call("CLIENT", "TRACKING", "OFF")
        conn.call("FLUSHALL")
        assert figures() == [1, 0, 0, 0]


def test_prefixes_of_one_client_are_bounded(pulse_port):
    with Conn(pulse_port) as conn:
        words = [word for i in range(1024) for word in ("PREFIX", f"{i:06}")]
        assert conn.call("CLIENT", "TRACKING", "ON", "BCAST", *words) == "OK"
        assert isinstance(conn.try_call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "x"), ReplyError)


def test_who_does_not_read_its_invalidations_is_closed_and_others_go_on(pulse_server):
    server = pulse_server("--threads", "2")
    with server.conn(protocol=3) as deaf, server.conn() as writer:
        deaf.call("CLIENT", "TRACKING", "ON", "BCAST")
        deaf_id = deaf.call("CLIENT", "ID")
        name = "k" * 20_000
        for _ in range(60):
            if not writer.call("CLIENT", "LIST", "ID", deaf_id):
                break
            writer.pipeline(*[("SET", name, i) for i in range(100)])
        assert eventually(lambda: not writer.call("CLIENT", "LIST", "ID", deaf_id))


# ---- coherence ----

class Cache:
    """A client that keeps what it has read until it is told that it has changed."""

    def __init__(self, server, broadcast):
        self.conn = server.conn(protocol=3, timeout=60.0)
        self.values = {}
        self.hits = self.misses = 0
        words = ["BCAST", "PREFIX", "k"] if broadcast else []
        self.conn.call("CLIENT", "TRACKING", "ON", *words)

    def heard(self, push):
        if push[1] is None:
            self.values.clear()
        for name in push[1] or []:
            self.values.pop(name, None)

    def answer(self, *words):
        """What comes before the answer is older than it, what comes after it is not."""
        self.conn.send(*words)
        while isinstance(reply := self.conn.read(), Push):
            self.heard(reply)
        return reply

    def read(self, names):
        missing = [name for name in names if name not in self.values]
        self.hits += len(names) - len(missing)
        self.misses += len(missing)
        if len(missing) == 1:
            self.values[missing[0]] = self.answer("GET", missing[0])
        elif missing:
            self.values.update(zip(missing, self.answer("MGET", *missing)))


def write_at_random(conn, chance, names):
    some = chance.sample(names, 3)
    value = chance.randrange(1 << 60)
    kind = chance.randrange(100)
    if kind < 50:
        conn.call("SET", some[0], value)
    elif kind < 60:
        conn.call("MSET", *[word for name in some for word in (name, value)])
    elif kind < 70:
        conn.call("DEL", some[0])
    elif kind < 75:
        conn.call("SET", some[0], value, "PX", chance.randrange(1, 20))
    elif kind < 80:
        conn.pipeline(("MULTI",), ("SET", some[0], value), ("DEL", some[1]), ("EXEC",))
    elif kind < 85:
        conn.pipeline(*[("SET", name, "x" * chance.randrange(2000)) for name in some])
    elif kind < 98:
        conn.pipeline(("SET", some[0], 1), ("INCR", some[0]), ("INCR", some[0]))
    else:
        conn.call(*chance.choice([("FLUSHDB",), ("SWAPDB", 0, 1), ("FLUSHALL",), ("UNFLUSH",)]))


@pytest.mark.parametrize("flags", [(), ("--appendfsync", "always"), ("--tracking-table-max-keys", "10")], ids=str)
def test_at_rest_every_copy_is_what_the_server_has(pulse_server, flags):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    server = pulse_server("--threads", "4", *flags)
    names = [b"k%d" % i for i in range(40)]
    caches = [Cache(server, broadcast=i % 4 == 3) for i in range(8)]
    failures = []

    def guarded(run):
        try:
            run()
        except Exception as e:  # shown by the test itself
            failures.append(e)

    def keep_reading(cache, chance):
        for _ in range(600):
            cache.read(chance.sample(names, chance.randrange(1, 4)))
            if chance.random() < 0.05:  # of its own
                cache.answer("SET", chance.choice(names), chance.randrange(1 << 60))

    def keep_writing(chance):
        with server.conn(timeout=60.0) as conn:
            for _ in range(300):
                try:
                    write_at_random(conn, chance, names)
                except ReplyError:  # UNFLUSH without a flush
                    pass

    threads = [threading.Thread(target=guarded, args=(lambda c=cache, i=i: keep_reading(c, random.Random(seed + i)),))
               for i, cache in enumerate(caches)]
    threads += [threading.Thread(target=guarded, args=(lambda i=i: keep_writing(random.Random(seed - i)),))
                for i in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures

    with server.conn() as conn:
        def differing():
            """Copies that the server does not have so. What it has to say is heard in a moment."""
            truth = dict(zip(names, conn.call("MGET", *names)))
            for cache in caches:
                assert cache.answer("PING") == "PONG"
            return [(name, value, truth[name]) for cache in caches for name, value in cache.values.items()
                    if value != truth[name]]

        assert eventually(lambda: not differing()), differing()
    assert sum(cache.hits for cache in caches) > 0
    for cache in caches:
        cache.conn.close()
