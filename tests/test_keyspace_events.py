"""Keyspace notifications: for every command that writes, the same words in the same order as redis-server; each
expiry told soon; nothing told that is not asked for."""
import pytest

from resp import Conn, ReplyError
from waiting import pass_instant

EVERYTHING = "KEAmn"

# Calls, in the order in which they are made; a key "dump" is prepared for RESTORE as {dump}.
CALLS = [
    "SET s 1", "SET s 2", "SET s 3 NX", "SET t 3 NX", "SET t 4 XX", "SET missing 4 XX", "SET s 5 EX 100", "SET s 6 PX 100000",
    "SET s 7 KEEPTTL", "SET s 8 GET", "SET new-by-get 8 GET", "SET s 9 EXAT 99999999999", "SET s 9 PXAT 99999999999999",
    "SETNX s 1", "SETNX u 1", "SETEX s 100 v", "SETEX v 100 v", "PSETEX s 100000 v", "GETSET s w", "GETSET x w",
    "MSET a 1 b 2 a 3", "MSETNX a 1 zz 2", "MSETNX c 1 d 2",
    "APPEND a tail", "APPEND e tail", "APPEND e ''", "SETRANGE a 1 xyz", "SETRANGE f 5 xyz", "SETRANGE g 0 ''",
    "INCR n", "INCR n", "DECR n", "INCRBY n 5", "DECRBY n 2", "DECRBY m 2", "INCRBYFLOAT n 1.5", "INCRBYFLOAT o 1.5", "INCR a",
    "SETEX n 100 5", "INCR n", "APPEND n 1", "SETRANGE n 0 2",
    "GETDEL o", "GETDEL o", "GETEX n", "GETEX n EX 100", "GETEX n PX 100000", "GETEX n PERSIST", "GETEX n PERSIST",
    "GETEX n EXAT 1", "GETEX missing EX 1",
    "EXPIRE a 100", "PEXPIRE a 100000", "EXPIREAT a 99999999999", "PEXPIREAT a 99999999999999", "EXPIRE a 100 NX",
    "EXPIRE missing 100", "PERSIST a", "PERSIST a", "PERSIST missing", "EXPIRE a 0", "SET a 1", "EXPIREAT a 1",
    "SET a 1", "PEXPIRE a -1", "SET a 1", "PEXPIREAT a 1",
    "RENAME b b2", "RENAME b2 c", "RENAME missing x", "RENAME c c", "RENAMENX c d", "RENAMENX c c2", "SET c 1",
    "COPY c c3", "COPY c c3", "COPY c c3 REPLACE", "COPY missing c3", "COPY c c DB 1", "COPY c3 c DB 1 REPLACE",
    "MOVE c3 1", "MOVE c3 1", "MOVE c 1", "SET k 1 EX 100", "RENAME k l", "COPY l l2", "MOVE l 1",
    "DEL c", "DEL c missing d", "UNLINK l2 missing", "UNLINK missing",
    "RESTORE r 0 {dump}", "RESTORE r 0 {dump}", "RESTORE r 0 {dump} REPLACE", "RESTORE r 5000 {dump} REPLACE",
    "RESTORE r 1 {dump} REPLACE ABSTTL", "RESTORE r2 1 {dump} ABSTTL", "RESTORE r3 99999999999999 {dump} ABSTTL",
    "GET missing", "MGET missing e missing2", "STRLEN missing", "GETRANGE missing 0 1", "SUBSTR missing 0 1", "TYPE missing",
    "TTL missing", "PTTL missing", "EXPIRETIME missing", "PEXPIRETIME missing", "EXISTS missing e missing", "TOUCH missing",
    "DUMP missing", "OBJECT ENCODING missing", "LCS missing missing2", "SORT missing", "MEMORY USAGE missing",
    "SELECT 3", "SET in3 1", "DEL in3", "SELECT 0", "SWAPDB 0 2", "FLUSHDB", "SET a 1", "FLUSHALL", "FLUSHALL",
    "MULTI", "SET a 1", "PUBLISH between x", "INCR a", "GET missing", "DEL a", "PUBLISH after x", "EXEC",
]


def words_of(call, dump):
    return [dump if word == "{dump}" else "" if word == "''" else word for word in call.split()]


class Heard:
    """What a connection that is subscribed to everything has heard since last asked."""

    def __init__(self, port):
        self.conn, self.control = Conn(port), Conn(port)
        self.conn.call("PSUBSCRIBE", "*")

    def take(self):
        self.control.call("PUBLISH", "enough", "")
        heard = []
        while (message := self.conn.read())[2] != b"enough":
            heard.append(message[2:])
        return heard

    def close(self):
        self.conn.close()
        self.control.close()


@pytest.fixture
def heard(pulse_server, redis_ref, redis_session):
    """(connection, what is heard there) for a server with two loops, and for redis-server; all classes are on."""
    server = pulse_server("--threads", "2", "--notify-keyspace-events", EVERYTHING)
    redis_ref.call("CONFIG", "SET", "notify-keyspace-events", EVERYTHING)
    both = [(server.conn(), Heard(server.port)), (redis_ref, Heard(redis_session.port))]
    yield both
    redis_ref.call("CONFIG", "SET", "notify-keyspace-events", "")
    for conn, listener in both:
        listener.close()
    both[0][0].close()


def dump_of(conn):
    conn.call("SET", "dumped", "value")
    dump = conn.call("DUMP", "dumped")
    conn.call("DEL", "dumped")
    return dump


def test_every_write_is_told_in_the_words_of_redis(heard):
    dump = dump_of(heard[1][0])
    for _, listener in heard:
        listener.take()
    for call in CALLS:
        replies, told = [], []
        for conn, listener in heard:
            replies.append(conn.try_call(*words_of(call, dump)))
            told.append(listener.take())
        if isinstance(replies[0], ReplyError) and "unknown command" in str(replies[0]):
            continue  # not built yet
        assert told[0] == told[1], call


def test_a_key_that_is_over_and_is_written_anew_is_told_as_expired_first(pulse_server):
    server = pulse_server("--notify-keyspace-events", "K$gxn", "--enable-debug-command", "yes")
    with server.conn() as conn:
        listener = Heard(server.port)
        conn.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        conn.call("SET", "k", "1", "PX", "1")
        seconds, micros = map(int, conn.call("TIME"))
        pass_instant(conn, seconds * 1000 + micros // 1000 + 1)
        conn.call("SET", "k", "2")
        assert [event for _, event in listener.take()] == [b"new", b"set", b"expire", b"expired", b"new", b"set"]
        listener.close()


def test_each_expiry_is_told_once_by_itself(pulse_server):
    server = pulse_server("--threads", "4", "--notify-keyspace-events", "Ex")
    with server.conn() as conn, server.conn(protocol=3) as listener:
        listener.call("SUBSCRIBE", "__keyevent@0__:expired", "__keyevent@0__:set")
        listener.read()
        conn.pipeline(*[("SET", f"k{i}", "v", "PX", 1 + i % 50) for i in range(300)])
        keys = [listener.read()[2] for _ in range(300)]
        assert sorted(keys) == sorted(b"k%d" % i for i in range(300))
        conn.call("PUBLISH", "__keyevent@0__:set", "end")
        assert listener.read()[2] == b"end"


@pytest.mark.parametrize("flags, told", [
    ("", []), ("A", []), ("K", []), ("E", []), ("m", []), ("K$", ["K set"]), ("E$", ["E set"]), ("Kg", ["K expire", "K del"]),
    ("KEn", ["K new", "E new"]), ("Em", ["E keymiss"]), ("Klshzxetd", []),
    ("EA", ["E set", "E expire", "E del"]), ("KE$g", ["K set", "E set", "K expire", "E expire", "K del", "E del"]),
])
def test_only_the_classes_that_are_asked_for_are_told(pulse, pulse_port, flags, told):
    listener = Heard(pulse_port)
    pulse.call("CONFIG", "SET", "notify-keyspace-events", flags)
    pulse.call("SET", "k", "v", "EX", "100")
    pulse.call("DEL", "k")
    pulse.call("GET", "k")
    pulse.call("CONFIG", "SET", "notify-keyspace-events", "")
    pulse.call("SET", "k", "v")
    shown = []
    for channel, payload in listener.take():
        kind, _, rest = channel.decode().partition("@0__:")
        shown.append("K " + payload.decode() if kind == "__keyspace" else "E " + rest)
    listener.close()
    assert shown == told


@pytest.mark.parametrize("flags", ["", "K", "E", "KE", "KEA", "AKE", "g$lshzxetdKE", "KEg$lshzxetd", "KEg$lshzxet", "Km",
                                   "mEK", "KKK", "Ex", "gxE", "KEAm", "q", "KE x", "a"])
def test_the_setting_is_shown_as_redis_shows_it(pulse, redis_ref, flags):
    shown = []
    for conn in (pulse, redis_ref):
        conn.call("CONFIG", "SET", "notify-keyspace-events", "")
        changed = conn.try_call("CONFIG", "SET", "notify-keyspace-events", flags)
        shown.append((changed, conn.call("CONFIG", "GET", "notify-keyspace-events")))
        conn.call("CONFIG", "SET", "notify-keyspace-events", "")
    assert shown[0] == shown[1]


def test_new_keys_and_all_classes_go_together(pulse):
    """redis-server 7.0 forgets to show the n beside an A, and REWRITE with it."""
    pulse.call("CONFIG", "SET", "notify-keyspace-events", "nKEA")
    assert pulse.call("CONFIG", "GET", "notify-keyspace-events")[1] == b"AKEn"
    pulse.call("CONFIG", "SET", "notify-keyspace-events", "")


def test_a_transaction_is_told_whole_and_in_order_among_its_messages(pulse_server):
    server = pulse_server("--threads", "2", "--notify-keyspace-events", "K$g")
    with server.conn() as conn:
        listener = Heard(server.port)
        conn.call("MULTI")
        for call in ("SET a 1", "PUBLISH p between", "SET b 1", "DEL a"):
            conn.call(*call.split())
        assert listener.take() == []
        conn.call("EXEC")
        assert [payload for _, payload in listener.take()] == [b"set", b"between", b"set", b"del"]
        listener.close()


def test_nothing_is_told_while_the_data_is_loaded(pulse_server):
    first = pulse_server("--notify-keyspace-events", "KEA", keep_dir=True)
    with first.conn() as conn:
        for i in range(100):
            conn.call("SET", f"k{i}", "v", "EX", "1000")
    assert first.stop() == 0
    second = pulse_server("--notify-keyspace-events", "KEA", dir=first.dir)
    with second.conn() as conn:
        listener = Heard(second.port)
        assert conn.call("DBSIZE") == 100
        conn.call("DEL", "k1")
        assert [payload for _, payload in listener.take()] == [b"del", b"k1"]
        listener.close()


def test_under_always_a_change_is_heard_after_its_sync(pulse_server):
    server = pulse_server("--threads", "2", "--appendfsync", "always", "--notify-keyspace-events", "KEA")
    with server.conn() as conn:
        listener = Heard(server.port)
        for i in range(50):
            conn.call("SET", f"k{i}", "v")
            conn.call("INCR", "n")
        assert len(listener.take()) == 200
        listener.close()


def test_config_set_inside_a_transaction_turns_them_on(pulse, pulse_port):
    listener = Heard(pulse_port)
    pulse.call("MULTI")
    pulse.call("SET", "a", "1")
    pulse.call("CONFIG", "SET", "notify-keyspace-events", "K$")
    pulse.call("SET", "b", "1")
    assert pulse.call("EXEC") == ["OK", "OK", "OK"]
    assert [b"__keyspace@0__:b", b"set"] in listener.take()
    pulse.call("CONFIG", "SET", "notify-keyspace-events", "")
    listener.close()
