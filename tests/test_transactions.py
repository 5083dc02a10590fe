"""MULTI, EXEC, DISCARD, WATCH and UNWATCH as a client sees them; one EXEC is one instant of the past."""
import random
import threading
import time

import pytest

from resp import Closed, Conn, ReplyError
from waiting import eventually, pass_instant

ABORTED = ReplyError("EXECABORT Transaction discarded because of previous errors.")
WRONG_TYPE = ReplyError("ERR value is not an integer or out of range")
KEYS = [f"key:{i}" for i in range(64)]  # over most of the 64 shards


def run(conn, *commands):
    """MULTI, the commands, EXEC: what EXEC says."""
    replies = conn.pipeline(("MULTI",), *commands, ("EXEC",))
    assert replies[:-1] == ["OK"] + ["QUEUED"] * len(commands)
    return replies[-1]


def stamp(conn, key):
    row = conn.call("HIST", key, 1, "WITHMETA")[0]
    return (row if isinstance(row, dict) else dict(zip(row[::2], row[1::2])))[b"stamp"]


# MULTI, EXEC, DISCARD

def test_queued_commands_run_in_order_at_exec(both):
    assert both.call("MULTI") == "OK"
    for call in (["SET", "a", "1"], ["INCR", "a"], ["GET", "a"], ["GET", "none"], ["DEL", "a"], ["EXISTS", "a"]):
        assert both.call(*call) == "QUEUED"
    assert both.call("EXEC") == ["OK", 2, b"2", None, 1, 0]


def test_nothing_is_done_before_exec(pulse, other):
    pulse.call("MULTI")
    pulse.call("SET", "a", "1")
    assert other.call("GET", "a") is None
    assert pulse.call("EXEC") == ["OK"]
    assert other.call("GET", "a") == b"1"


def test_an_empty_transaction_is_an_empty_array(both):
    assert run(both) == []


def test_discard_drops_what_was_queued(both):
    both.call("MULTI")
    both.call("SET", "a", "1")
    assert both.call("DISCARD") == "OK"
    assert both.call("GET", "a") is None
    assert both.try_call("EXEC") == ReplyError("ERR EXEC without MULTI")


def test_words_out_of_place_are_refused_as_redis_does(pulse, redis_ref):
    for calls in ([["EXEC"]], [["DISCARD"]], [["MULTI"], ["MULTI"], ["SET", "a", "1"], ["EXEC"]],
                  [["MULTI"], ["WATCH", "a"], ["SET", "a", "2"], ["EXEC"]],
                  [["MULTI", "x"], ["EXEC"]], [["WATCH"], ["UNWATCH", "x"]], [["MULTI"], ["DISCARD", "x"], ["EXEC"]],
                  [["MULTI"], ["NOSUCH"], ["GET", "a"], ["EXEC"]], [["MULTI"], ["GET"], ["EXEC"], ["GET", "a"]],
                  [["MULTI"], ["NOSUCH"], ["DISCARD"], ["MULTI"], ["GET", "a"], ["EXEC"]],
                  [["MULTI"], ["UNWATCH"], ["EXEC"]], [["MULTI"], ["RESET"], ["EXEC"]],
                  [["MULTI"], ["CLIENT", "NOSUCH"], ["EXEC"]], [["MULTI"], ["CONFIG"], ["EXEC"]],
                  [["MULTI"], ["SET", "a", "1", "NONSENSE"], ["PING"], ["EXEC"]],
                  [["MULTI"], ["SELECT", "99"], ["SELECT", "3"], ["SET", "b", "x"], ["EXEC"], ["GET", "b"]]):
        assert pulse.pipeline(*calls) == redis_ref.pipeline(*calls), calls


@pytest.mark.parametrize("words", [["EXEC", "x"]])
def test_an_exec_that_is_refused_ends_the_transaction_as_in_redis(pulse, redis_ref, words):
    calls = ["MULTI"], ["SET", "a", "1"], words, ["GET", "a"], ["EXEC"]
    assert pulse.pipeline(*calls) == redis_ref.pipeline(*calls)


def test_an_error_while_queueing_aborts_the_whole_transaction(pulse):
    for bad in (["NOSUCH"], ["GET"], ["OBJECT", "NOSUCH"], ["SET", "a"]):
        pulse.call("MULTI")
        pulse.call("SET", "a", "1")
        assert isinstance(pulse.try_call(*bad), ReplyError)
        assert pulse.call("SET", "b", "1") == "QUEUED"
        assert pulse.try_call("EXEC") == ABORTED
        assert pulse.call("EXISTS", "a", "b") == 0
        assert pulse.try_call("EXEC") == ReplyError("ERR EXEC without MULTI")


def test_an_error_while_running_is_that_commands_reply_alone(both):
    both.call("SET", "word", "x")
    assert run(both, ("SET", "a", "1"), ("INCR", "word"), ("SET", "b", "2")) == ["OK", WRONG_TYPE, "OK"]
    assert both.call("MGET", "a", "b", "word") == [b"1", b"2", b"x"]


def test_a_transaction_may_change_databases_and_stays_where_it_ended(pulse, other):
    assert run(pulse, ("SET", "k", "zero"), ("SELECT", 5), ("SET", "k", "five"), ("SELECT", 2), ("GET", "k")) == \
        ["OK", "OK", "OK", "OK", None]
    pulse.call("SET", "here", "2")
    other.call("SELECT", 2)
    assert other.call("GET", "here") == b"2"
    other.call("SELECT", 5)
    assert other.call("GET", "k") == b"five"


def test_a_transaction_moves_keys_between_databases(pulse):
    pulse.call("SET", "k", "v")
    assert run(pulse, ("MOVE", "k", 1), ("EXISTS", "k"), ("SELECT", 1), ("GET", "k"), ("COPY", "k", "k", "DB", 0),
               ("SELECT", 0), ("GET", "k")) == [1, 0, "OK", b"v", 1, "OK", b"v"]


def test_a_flush_inside_a_transaction_takes_what_was_written_before_it(pulse):
    pulse.call("SET", "old", "1")
    assert run(pulse, ("SET", "a", "1"), ("FLUSHALL",), ("SET", "b", "1"), ("DBSIZE",), ("KEYS", "*")) == \
        ["OK", "OK", "OK", 1, [b"b"]]
    assert pulse.call("KEYS", "*") == [b"b"]


def test_databases_can_be_swapped_inside_a_transaction(pulse):
    assert run(pulse, ("SET", "k", "zero"), ("SWAPDB", 0, 1), ("EXISTS", "k"), ("SELECT", 1), ("GET", "k")) == \
        ["OK", "OK", 0, "OK", b"zero"]


def test_a_key_that_expires_inside_a_transaction_is_gone_for_its_next_command(pulse):
    assert run(pulse, ("SET", "k", "v"), ("PEXPIREAT", "k", 1), ("EXISTS", "k"), ("GET", "k")) == ["OK", 1, 0, None]


def test_resp3_types_stand_inside_the_reply_of_exec(pulse, pulse_port):
    with Conn(pulse_port, protocol=3) as conn:
        got = run(conn, ("SET", "a", "1"), ("CONFIG", "GET", "port"), ("GET", "none"), ("HISTORY", "PINS"),
                  ("COMMAND", "INFO", "nosuch"))
        assert got[0] == "OK" and isinstance(got[1], dict) and got[2:] == [None, {}, [None]]


def test_the_protocol_may_change_inside_a_transaction(pulse, redis_ref):
    for conn in (pulse, redis_ref):
        conn.call("MULTI")
        conn.call("HELLO", 3)
        conn.call("CONFIG", "GET", "port")
    ours, theirs = pulse.call("EXEC"), redis_ref.call("EXEC")
    assert [type(reply) for reply in ours] == [type(reply) for reply in theirs]


def test_a_closed_connection_takes_its_queue_with_it(pulse, pulse_port):
    with Conn(pulse_port) as conn:
        conn.call("MULTI")
        conn.call("SET", "a", "1")
    assert pulse.call("GET", "a") is None


def test_quit_inside_a_transaction_closes_without_running_it(pulse, pulse_port):
    with Conn(pulse_port) as conn:
        conn.call("MULTI")
        conn.call("SET", "a", "1")
        conn.try_call("QUIT")
        assert conn.closed()
    assert pulse.call("GET", "a") is None


def test_a_thousand_commands_in_one_pipeline_are_one_transaction(pulse):
    assert run(pulse, *[("INCR", "n")] * 1000) == list(range(1, 1001))
    assert len(pulse.call("HIST", "n", 100)) == 2, "one stamp, so one version"


def test_binary_words_are_queued_whole(pulse):
    value = bytes(range(256)) * 10
    assert run(pulse, ("SET", b"\x00\r\n", value), ("GET", b"\x00\r\n")) == ["OK", value]


# The queue's bounds

def test_a_queue_that_grows_too_large_is_refused_and_the_connection_lives(pulse_server):
    with pulse_server().conn(timeout=30) as conn:
        conn.call("MULTI")
        chunk = b"x" * 8_000_000
        for i in range(9):
            reply = conn.try_call("SET", f"k{i}", chunk)
            if reply != "QUEUED":
                break
        assert isinstance(reply, ReplyError) and "transaction is too large" in str(reply)
        assert i == 8
        assert conn.try_call("EXEC") == ABORTED
        assert conn.call("DBSIZE") == 0
        assert run(conn, ("SET", "k", "v")) == ["OK"]


def test_too_many_watched_keys_are_refused(pulse):
    names = [f"w{i}" for i in range(1000)]
    for i in range(65):
        assert pulse.call("WATCH", *[f"{name}:{i}" for name in names]) == "OK"
    assert isinstance(pulse.try_call("WATCH", *names), ReplyError)
    assert run(pulse, ("PING",)) == ["PONG"]


# WATCH

CHANGES = [["SET", "k", "1"], ["SET", "k", "2"], ["DEL", "k"], ["INCR", "k"], ["APPEND", "k", "x"], ["EXPIRE", "k", "100"],
           ["RENAME", "k", "l"], ["RENAME", "l", "k"], ["FLUSHDB"], ["FLUSHALL"], ["SWAPDB", "0", "1"], ["GETDEL", "k"],
           ["MSET", "k", "1"], ["COPY", "l", "k", "REPLACE"], ["MOVE", "k", "1"], ["SETRANGE", "k", "0", "9"],
           ["GETEX", "k", "EX", "100"], ["PEXPIREAT", "k", "1"]]


@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_a_change_of_a_watched_key_stops_exec(both, other, change):
    both.call("MSET", "k", "1", "l", "2")
    both.call("WATCH", "x", "k")
    other.call(*change)
    assert run(both, ("SET", "done", "1")) is None
    assert both.call("EXISTS", "done") == 0
    assert run(both, ("SET", "done", "1")) == ["OK"], "a failed EXEC forgets the watched keys"


@pytest.mark.parametrize("nothing", [["GET", "k"], ["SET", "l", "3"], ["SET", "k", "2", "NX"], ["PERSIST", "k"],
                                     ["DEL", "none"], ["TTL", "k"], ["EXPIRE", "none", "1"], ["INCR", "word"],
                                     ["TOUCH", "k"], ["HIST", "k"], ["REVERT", "k", "now"], ["HISTORY", "INFO", "k"],
                                     ["SETNX", "k", "2"], ["AT", "now", "GET", "k"]], ids=" ".join)
def test_what_does_not_change_the_key_lets_exec_through(pulse, other, nothing):
    pulse.call("MSET", "k", "1", "l", "2", "word", "x")
    pulse.call("WATCH", "k", "word")
    other.try_call(*nothing)
    assert run(pulse, ("SET", "done", "1")) == ["OK"]


def test_ones_own_change_counts_too(pulse):
    pulse.call("WATCH", "k")
    pulse.call("SET", "k", "1")
    assert run(pulse, ("PING",)) is None


def test_a_watched_key_that_is_not_there_may_not_come_to_be(pulse, other):
    pulse.call("WATCH", "k")
    other.call("SET", "k", "1")
    assert run(pulse, ("PING",)) is None


def test_a_watched_key_that_came_and_went_has_changed(pulse, other):
    pulse.call("WATCH", "k")
    other.call("SET", "k", "1")
    other.call("DEL", "k")
    assert run(pulse, ("PING",)) is None


def test_a_watched_key_that_was_reverted_has_changed(pulse, other):
    pulse.call("SET", "k", "1")
    at = stamp(pulse, "k")
    pulse.call("SET", "k", "2")
    pulse.call("WATCH", "k")
    other.call("REVERT", "k", at)
    assert run(pulse, ("PING",)) is None


def test_a_watched_key_is_that_of_its_database(pulse, other):
    pulse.call("SELECT", 1)
    pulse.call("WATCH", "k")
    pulse.call("SELECT", 0)
    other.call("SET", "k", "1")
    assert run(pulse, ("PING",)) == ["PONG"]
    pulse.call("SELECT", 1)
    pulse.call("WATCH", "k")
    pulse.call("SELECT", 0)
    other.call("SELECT", 1)
    other.call("SET", "k", "1")
    assert run(pulse, ("PING",)) is None


def test_an_expiry_of_a_watched_key_stops_exec(pulse):
    pulse.call("SET", "k", "1", "PX", "500")
    pulse.call("WATCH", "k")
    pass_instant(pulse, pulse.call("PEXPIRETIME", "k"))
    assert run(pulse, ("PING",)) is None


def test_an_expiry_stops_exec_also_when_the_key_was_swept_away_already(pulse):
    pulse.call("SET", "k", "1", "PX", "500")
    pulse.call("WATCH", "k")
    assert eventually(lambda: pulse.call("DBSIZE") == 0)
    assert run(pulse, ("PING",)) is None


def test_a_key_that_had_expired_before_it_was_watched_lets_exec_through(pulse):
    pulse.call("SET", "k", "1", "PX", "5")
    time.sleep(0.01)
    pulse.call("WATCH", "k")
    time.sleep(0.2)
    assert run(pulse, ("PING",)) == ["PONG"]


@pytest.mark.parametrize("forget", [["UNWATCH"], ["DISCARD"], ["RESET"], ["EXEC"]], ids=" ".join)
def test_watched_keys_are_forgotten(pulse, other, forget):
    pulse.call("WATCH", "k")
    if forget != ["UNWATCH"] and forget != ["RESET"]:
        pulse.call("MULTI")
    pulse.call(*forget)
    other.call("SET", "k", "1")
    assert run(pulse, ("PING",)) == ["PONG"]


def test_an_unwatch_inside_multi_comes_too_late(pulse, other):
    pulse.call("WATCH", "k")
    pulse.call("MULTI")
    pulse.call("UNWATCH")
    other.call("SET", "k", "1")
    assert pulse.call("EXEC") is None


def test_the_null_of_a_stopped_exec_is_an_array_in_resp2_and_a_null_in_resp3(pulse, other, pulse_port):
    for protocol, expected in ((2, b"*-1\r\n"), (3, b"_\r\n")):
        with Conn(pulse_port, protocol=protocol) as conn:
            conn.call("WATCH", "k")
            other.call("INCR", "k")
            conn.call("MULTI")
            conn.send("EXEC")
            assert conn.socket.recv(100) == expected


def test_optimistic_counters_lose_no_increment(pulse, pulse_port):
    """Four clients, each read, compute, write under WATCH, over keys of different shards."""
    def count(left):
        with Conn(pulse_port) as conn:
            while left:
                conn.call("WATCH", "c:1", "c:2")
                one, two = (int(word or 0) for word in conn.call("MGET", "c:1", "c:2"))
                if run(conn, ("SET", "c:1", one + 1), ("SET", "c:2", two + 2)) is not None:
                    left -= 1

    threads = [threading.Thread(target=count, args=(50,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pulse.call("MGET", "c:1", "c:2") == [b"200", b"400"]


# All or nothing, now and in the past

def test_others_see_all_of_a_transaction_over_many_shards_or_nothing(pulse, other):
    for i in range(100):
        pulse.send_raw(b"")
        commands = [("MULTI",), *[("SET", key, i) for key in KEYS], ("EXEC",)]
        for command in commands:
            pulse.send(*command)
        assert len(set(other.call("MGET", *KEYS))) == 1
        for _ in commands:
            pulse.read()


def test_all_keys_of_a_transaction_have_one_stamp_over_shards_and_databases(pulse):
    run(pulse, *[("SET", key, "1") for key in KEYS], ("SELECT", 3), *[("SET", key, "1") for key in KEYS])
    stamps = {stamp(pulse, key) for key in KEYS}
    pulse.call("SELECT", 0)
    stamps |= {stamp(pulse, key) for key in KEYS}
    assert len(stamps) == 1


def test_no_instant_of_the_past_shows_a_part_of_a_transaction(pulse, pulse_port):
    """While one client writes transactions, another notes instants; all are looked at afterwards."""
    stop, instants = threading.Event(), []

    def note():
        with Conn(pulse_port) as conn:
            while not stop.is_set():
                seconds, micros = conn.call("TIME")
                instants.append(int(seconds) * 1_000_000 + int(micros))

    run(pulse, *[("SET", key, -1) for key in KEYS])
    thread = threading.Thread(target=note)
    thread.start()
    for i in range(100):
        run(pulse, *[("SET", key, i) for key in KEYS])
    stop.set()
    thread.join()
    for at in instants[::max(1, len(instants) // 200)]:
        assert len(set(pulse.call("AT", at, "MGET", *KEYS))) == 1, at
    for row in pulse.call("HIST", KEYS[0], 50, "WITHMETA"):
        at = dict(zip(row[::2], row[1::2]))
        assert set(pulse.call("AT", at[b"stamp"], "MGET", *KEYS)) == {at[b"value"]}
        assert set(pulse.call("AT", at[b"stamp"] - 1, "MGET", *KEYS)) == {b"%d" % (int(at[b"value"]) - 1)}


def test_an_exec_reads_its_own_writes_at_now(pulse):
    assert run(pulse, ("SET", "k", "1"), ("GET", "k"), ("STRLEN", "k"))[1:] == [b"1", 1]


def test_what_a_transaction_undoes_itself_is_no_version(pulse):
    run(pulse, ("SET", "tx:undone", "1"), ("DEL", "tx:undone"))
    assert b"1" not in pulse.call("HIST", "tx:undone")


# CLIENT REPLY

def test_replies_that_are_off_do_not_stop_a_transaction(pulse, other):
    pulse.send("CLIENT", "REPLY", "OFF")
    for command in (["MULTI"], ["SET", "a", "1"], ["INCR", "a"], ["EXEC"]):
        pulse.send(*command)
    assert pulse.quiet()
    assert pulse.call("CLIENT", "REPLY", "ON") == "OK"
    assert other.call("GET", "a") == b"2"
    assert run(pulse, ("GET", "a")) == [b"2"]


def raw_replies(conn, *calls):
    """The bytes that answer the calls, up to those of a last ECHO."""
    for call in (*calls, ("ECHO", "the end")):
        conn.send(*call)
    got = b""
    while not got.endswith(b"$7\r\nthe end\r\n"):
        got += conn.socket.recv(1 << 16)
    return got


def test_a_skipped_reply_inside_multi_is_as_in_redis(pulse, redis_ref):
    calls = [("MULTI",), ("SET", "a", "1"), ("CLIENT", "REPLY", "SKIP"), ("SET", "b", "1"), ("EXEC",), ("PING",), ("TIME", "x")]
    assert raw_replies(pulse, *calls) == raw_replies(redis_ref, *calls)


def test_replies_switched_off_inside_multi_keep_the_connection_in_step(pulse):
    """Redis sends the head of EXEC's array and a part of it here."""
    assert raw_replies(pulse, ("MULTI",), ("SET", "a", "1"), ("CLIENT", "REPLY", "OFF"), ("GET", "a"), ("EXEC",), ("PING",),
                       ("CLIENT", "REPLY", "ON")) == b"+OK\r\n" + b"+QUEUED\r\n" * 3 + b"+OK\r\n$7\r\nthe end\r\n"


# What the server says about transactions

def test_client_list_tells_how_many_commands_are_queued(pulse, other):
    me = pulse.call("CLIENT", "ID")

    def seen():
        line = other.call("CLIENT", "LIST", "ID", me).split()
        return dict(word.split(b"=", 1) for word in line)

    assert seen()[b"multi"] == b"-1"
    pulse.call("WATCH", "a", "b")
    pulse.call("MULTI")
    pulse.call("PING")
    pulse.call("PING")
    fields = seen()
    assert fields[b"multi"] == b"2" and b"x" in fields[b"flags"]
    pulse.call("DISCARD")
    assert seen()[b"multi"] == b"-1"


def test_commands_that_may_not_be_queued_are_refused(pulse, redis_ref):
    for call in (["SAVE"], ["SHUTDOWN", "NOSAVE"], ["MONITOR"], ["SUBSCRIBE", "c"], ["AUTH", "x"], ["WAIT", "0", "0"]):
        got = []
        for conn in (pulse, redis_ref):
            conn.call("MULTI")
            got.append(conn.try_call(*call) == "QUEUED")
            conn.call("DISCARD")
        known = pulse.call("COMMAND", "INFO", call[0])[0] is not None
        assert got[0] == got[1] or not known, call


def test_a_client_killed_between_multi_and_exec_has_done_nothing(pulse, pulse_port):
    with Conn(pulse_port) as conn:
        me = conn.call("CLIENT", "ID")
        conn.call("MULTI")
        conn.call("SET", "a", "1")
        pulse.call("CLIENT", "KILL", "ID", me)
        with pytest.raises((Closed, OSError)):
            conn.call("EXEC")
    assert pulse.call("GET", "a") is None


# MULTI ROLLBACK

def run_rollback(conn, *commands):
    replies = conn.pipeline(("MULTI", "ROLLBACK"), *commands, ("EXEC",))
    assert replies[:-1] == ["OK"] + ["QUEUED"] * len(commands)
    return replies[-1]


def test_with_rollback_a_transaction_without_errors_is_any_other(pulse, other):
    assert run_rollback(pulse, ("SET", "a", "1"), ("INCR", "a"), ("GET", "none")) == ["OK", 2, None]
    assert other.call("GET", "a") == b"2"
    assert run_rollback(pulse) == []


def test_with_rollback_a_command_that_fails_undoes_all_and_is_named(both, other):
    both.call("SET", "a", "before")
    both.call("SET", "word", "x")
    past = other.call("HIST", "a")
    answer = run_rollback(both, ("SET", "a", "1"), ("SET", "b", "x"), ("SELECT", "3"), ("SET", "c", "1"), ("SELECT", "0"),
                          ("INCR", "word"), ("SET", "c", "2"))
    assert answer == ReplyError("EXECABORT Transaction rolled back, as command 6 of 7 failed: " + str(WRONG_TYPE))
    assert other.call("MGET", "a", "b", "c", "word") == [b"before", None, None, b"x"]
    assert other.call("HIST", "a") == past
    assert other.call("EXISTS", "c") == 0
    both.call("SET", "here", "1")  # it is in the database that it was in
    assert other.call("GET", "here") == b"1"


def test_without_rollback_a_command_that_fails_undoes_nothing(both):
    both.call("SET", "word", "x")
    assert run(both, ("SET", "a", "1"), ("INCR", "word"), ("SET", "b", "2")) == ["OK", WRONG_TYPE, "OK"]
    assert both.call("MGET", "a", "b") == [b"1", b"2"]


def test_a_rollback_leaves_no_trace_in_present_or_past(pulse_server):
    """Many transactions that fail at their end, among others that do not, on few keys; then a kill and a start."""
    server = pulse_server()
    dice = random.Random(7)
    names = [f"k:{i}" for i in range(8)]

    def write():
        name, other_name = dice.sample(names, 2)
        return dice.choice((
            ("SET", name, dice.choice(("7", "x" * dice.randrange(3000)))), ("SET", name, "v", "PX", "100000"),
            ("DEL", name, other_name), ("APPEND", name, "y" * dice.randrange(100)),
            ("SETRANGE", name, str(dice.randrange(2000)), "here"), ("PEXPIRE", name, "200000"), ("PERSIST", name),
            ("COPY", name, other_name, "REPLACE"), ("MSET", name, "1", other_name, "2"), ("GETDEL", name),
            ("MOVE", name, "1"), ("SETEX", name, "1000", "z")))

    def everything(conn):
        seen = [sorted(conn.call("KEYS", "*")), conn.call("DBSIZE")]
        for db in (0, 1):
            conn.call("SELECT", db)
            seen += [(conn.call("GET", name), conn.call("PEXPIRETIME", name), conn.call("HIST", name, 100, "WITHMETA"))
                     for name in names]
        conn.call("SELECT", 0)
        return seen

    with server.conn() as conn:
        conn.call("SET", "word", "x")
        for _ in range(150):
            run(conn, *(write() for _ in range(dice.randrange(4))))
            before = everything(conn)
            answer = run_rollback(conn, *(write() for _ in range(dice.randrange(1, 12))), ("INCR", "word"))
            assert answer.code == "EXECABORT"
            assert everything(conn) == before
        expected = everything(conn)
    server.kill()
    server.start()
    with server.conn() as conn:
        assert everything(conn) == expected


def test_nobody_sees_a_part_of_what_is_rolled_back(pulse, pulse_port):
    pulse.call("MSET", *(word for key in KEYS for word in (key, "0")), "word", "x")
    stop, wrong = threading.Event(), []

    def look():
        with Conn(pulse_port) as conn:
            while not stop.is_set():
                seen = {*conn.call("MGET", *KEYS), conn.call("GET", KEYS[-1])}
                if seen != {b"0"}:
                    wrong.append(seen)

    looker = threading.Thread(target=look)
    looker.start()
    for i in range(200):
        assert run_rollback(pulse, *(("SET", key, str(i + 1)) for key in KEYS), ("INCR", "word")).code == "EXECABORT"
    stop.set()
    looker.join()
    assert wrong == []


def test_what_cannot_be_undone_is_refused_when_it_is_queued(pulse):
    for words in (["FLUSHDB"], ["FLUSHALL"], ["SWAPDB", "0", "1"], ["UNFLUSH"], ["HISTORY", "PURGE", "a"],
                  ["CONFIG", "SET", "timeout", "0"], ["CLIENT", "SETNAME", "x"]):
        assert pulse.call("MULTI", "ROLLBACK") == "OK"
        refusal = pulse.try_call(*words)
        assert isinstance(refusal, ReplyError) and "cannot be undone" in str(refusal), words
        assert pulse.try_call("EXEC") == ABORTED
    assert pulse.pipeline(("MULTI",), ("CLIENT", "SETNAME", "x"), ("EXEC",))[-1] == ["OK"]  # the next one is plain again
