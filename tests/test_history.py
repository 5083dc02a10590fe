"""Time travel as a client sees it: TIMETRAVEL.md, word by word."""
import datetime
import os
import threading
import time

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from resp import Conn, ReplyError
from waiting import eventually, pass_instant

READ_ONLY = ReplyError("ERR AT runs read-only commands")
LOOKS_BACK = ReplyError("ERR this connection looks at the past and only reads: AT OFF brings it back")
BAD_INSTANT = ReplyError("ERR invalid instant: Unix milliseconds, -5m, 2026-11-23T05:41:00Z, @name or now")
SYNTAX = ReplyError("ERR syntax error")
WRONG_COUNT = "ERR wrong number of arguments for '{}' command"


def now_us(conn):
    """The server's time in microseconds: all that was answered lies before it, all to come after it."""
    seconds, micros = conn.call("TIME")
    return int(seconds) * 1_000_000 + int(micros)


def rows(conn, key, *options):
    """HIST WITHMETA as a list of dicts with text keys, in either protocol."""
    reply = conn.call("HIST", key, *options, "WITHMETA")
    maps = [row if isinstance(row, dict) else dict(zip(row[::2], row[1::2])) for row in reply]
    return [{name.decode(): value for name, value in row.items()} for row in maps]


def stamp(conn, key):
    return rows(conn, key, 1)[0]["stamp"]


def pairs(flat):
    return list(zip(flat[::2], flat[1::2]))


def values(conn, key, *options):
    """What HIST shows, without the times."""
    return conn.call("HIST", key, *options)[1::2]


def as_dict(reply):
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))


def steps(conn, key, *words):
    """Sets `key` to each word in turn, a millisecond and more apart; the times between, in us."""
    times = []
    for word in words:
        conn.call("SET", key, word)
        times.append(now_us(conn))
        time.sleep(0.002)
    return times


@pytest.fixture
def pulse_port(pulse_server):
    """A server of its own for every test: FLUSHALL would not empty the past."""
    return pulse_server().port


@pytest.fixture
def pulse(pulse_port):
    with Conn(pulse_port) as conn:
        yield conn


# The lines of SPEC.md section 2 that exist so far, as they stand there

def test_the_lines_of_the_specification_work_as_written(pulse):
    assert pulse.call("PING") == "PONG"
    assert pulse.call("PING", "message") == b"message"
    assert pulse.call("SET", "key", "value") == "OK"
    assert pulse.call("SET", "key", "value", "EX", "100") == "OK"
    assert pulse.call("SET", "key", "value", "PX", "100000") == "OK"
    assert pulse.call("GET", "key") == b"value"
    before = int(time.time() * 1000)
    time.sleep(0.002)
    assert pulse.call("EXPIRE", "key", "50") == 1
    assert pulse.call("TTL", "key") in (49, 50)
    assert pulse.call("DEL", "key", "nokey") == 1
    assert pulse.call("TTL", "key") == -2
    assert pulse.call("GETAT", "key", before) == b"value"
    assert pulse.call("GETAT", "key", before - 3_600_000) is None
    pulse.call("SET", "counter", "1")
    for _ in range(2):
        time.sleep(0.002)
        pulse.call("INCR", "counter")
    flat = pulse.call("HIST", "counter", "2")
    assert flat[1::2] == [b"3", b"2"]
    assert all(isinstance(ts, int) and abs(ts - time.time() * 1000) < 10_000 for ts in flat[::2])
    assert flat[0] > flat[2]


# GETAT

def test_a_key_can_be_read_as_it_was(pulse):
    before = now_us(pulse)
    first, second = steps(pulse, "price", "10", "12")
    pulse.call("DEL", "price")
    assert pulse.call("GETAT", "price", before) is None
    assert pulse.call("GETAT", "price", first) == b"10"
    assert pulse.call("GETAT", "price", second) == b"12"
    assert pulse.call("GETAT", "price", "now") is None


def test_the_past_of_a_key_that_never_was_is_null_in_either_protocol(both):
    assert both.call("GETAT", "none", "now") is None
    assert both.call("GETAT", "none", "-1s") is None
    assert both.call("HIST", "none") == []
    assert both.call("HIST", "none", "WITHMETA") == []


@pytest.mark.parametrize("value", [b"", b"\x00\xff\r\n", b"12", b"-9223372036854775808", b"x" * 44, b"x" * 45,
                                   b"y" * 16_383, b"y" * 20_000, b"z" * 3_000_000], ids=lambda v: str(len(v)))
def test_every_kind_of_value_comes_back_byte_for_byte(pulse, value):
    pulse.call("SET", "k", value)
    then = now_us(pulse)
    pulse.call("SET", "k", "short")
    pulse.call("DEL", "k")
    assert pulse.call("GETAT", "k", then) == value
    assert pulse.call("HIST", "k")[1::2] == [None, b"short", value]
    assert pulse.call("AT", then, "STRLEN", "k") == len(value)
    assert pulse.call("REVERT", "k", then) == 1
    assert pulse.call("GET", "k") == value


def test_changes_inside_a_long_value_are_undone_by_reading_back(pulse):
    base = b"a" * 50_000
    pulse.call("SET", "k", base)
    times = [now_us(pulse)]
    model = [base]
    for i in range(20):
        if i % 2:
            pulse.call("APPEND", "k", b"tail%d" % i)
            model.append(model[-1] + b"tail%d" % i)
        else:
            pulse.call("SETRANGE", "k", i * 100, b"<%d>" % i)
            now = model[-1]
            model.append(now[:i * 100] + b"<%d>" % i + now[i * 100 + len(b"<%d>" % i):])
        times.append(now_us(pulse))
    assert [pulse.call("GETAT", "k", t) for t in times] == model


def test_a_read_at_the_time_of_an_expiry_finds_nothing_and_just_before_the_value(pulse):
    pulse.call("SET", "k", "v", "PX", "500")
    due = pulse.call("PEXPIRETIME", "k")
    pass_instant(pulse, due)
    assert pulse.call("GETAT", "k", due * 1000) is None
    assert pulse.call("GETAT", "k", due * 1000 - 1) == b"v"
    ts, value = pairs(pulse.call("HIST", "k"))[0]
    assert (ts, value) == (due, None)


def test_what_hist_prints_can_be_asked_of_getat(pulse):
    for i in range(50):
        pulse.call("SET", "k", i)
        if i % 7 == 0:
            time.sleep(0.001)
    shown = pairs(pulse.call("HIST", "k", 100))
    assert [int(value) for _, value in shown] == list(range(49, -1, -1))
    time.sleep(0.002)
    last_of_ms = {}
    for ts, value in shown:
        last_of_ms.setdefault(ts, value)
    for ts, value in last_of_ms.items():
        assert pulse.call("GETAT", "k", ts) == value
    for row in rows(pulse, "k", 100):
        assert pulse.call("GETAT", "k", row["stamp"]) == row["value"], "nanoseconds are exact"


def test_the_nanosecond_before_a_stamp_is_the_version_before(pulse):
    steps(pulse, "k", "a", "b")
    newest = stamp(pulse, "k")
    assert pulse.call("GETAT", "k", newest) == b"b"
    assert pulse.call("GETAT", "k", newest - 1) == b"a"


# Instants

def test_every_form_of_an_instant_is_understood(pulse):
    pulse.call("SET", "k", "old")
    at = stamp(pulse, "k")
    time.sleep(1)
    pulse.call("SET", "k", "new")
    pulse.call("HISTORY", "PIN", "deploy", at)

    def so_long_ago():  # a tenth of the second between them
        return f"-{now_us(pulse) // 1000 - at // 1_000_000 - 100}ms"

    exact = datetime.datetime.fromtimestamp(at // 1_000_000_000, datetime.timezone.utc)
    plus2 = (exact + datetime.timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S")
    minus = (exact - datetime.timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{at % 1_000_000_000:09d}"
    for form in (at, at // 1000 + 1, at // 1_000_000, so_long_ago, "@deploy",
                 exact.strftime("%Y-%m-%dT%H:%M:%S.") + fraction + "Z",
                 exact.strftime("%Y-%m-%dt%H:%M:%S.") + fraction + "z",
                 f"{plus2}.{fraction}+02:00", f"{minus}.{fraction}-05:30"):
        form = form() if callable(form) else form
        assert pulse.call("GETAT", "k", form) == b"old", form
    for form in ("now", "NOW", "-0s", "9999999999999", "9223372036854775807", "2200-01-01T00:00:00Z"):
        assert pulse.call("GETAT", "k", form) == b"new", form
    for form in ("-90s", "-10m", "-2h", "-7d", "-250000ms", "1", "2001-01-01T00:00:00Z"):
        reply = pulse.try_call("GETAT", "k", form)
        assert reply is None or isinstance(reply, ReplyError) and reply.code == "NOHISTORY", form
    assert pulse.call("HISTORY", "UNPIN", "deploy") == 1


@pytest.mark.parametrize("word", ["", "-", "-5", "-5x", "5m", "yesterday", "1.5", "-1.5s", "+1", "0x10", " 1",
                                  "12345678901234567890", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z",
                                  "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T24:00:00Z",
                                  "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+0200", "@"])
def test_what_is_no_instant_is_refused_everywhere(pulse, word):
    for call in (("GETAT", "k", word), ("AT", word, "GET", "k"), ("AT", word), ("HIST", "k", "FROM", word),
                 ("HIST", "k", "TO", word), ("DIFF", "k", word, "now"), ("DIFF", "k", "now", word),
                 ("DIFF", "MATCH", "*", word, "now"), ("REVERT", "k", word), ("REVERT", "MATCH", "*", word),
                 ("HISTORY", "PIN", "p", word)):
        assert pulse.try_call(*call) == BAD_INSTANT, call


def test_a_restore_point_that_is_not_there_is_named_as_such(pulse):
    reply = pulse.try_call("GETAT", "k", "@nosuch")
    assert reply == ReplyError("ERR there is no restore point of that name: see HISTORY PINS")


# HIST

def test_hist_shows_ten_versions_unless_asked_for_more(pulse):
    for i in range(15):
        pulse.call("SET", "k", i)
    assert values(pulse, "k") == [b"%d" % i for i in range(14, 4, -1)]
    assert values(pulse, "k", 3) == [b"14", b"13", b"12"]
    assert len(values(pulse, "k", 1000)) == 15
    assert values(pulse, "k", "COUNT", 2) == [b"14", b"13"]


def test_hist_of_no_versions_is_empty(both):
    both.call("SET", "k", "v")
    assert both.call("HIST", "k", 0) == both.call("HIST", "k", "COUNT", 0) == []


@pytest.mark.parametrize("words", [["-1"], ["x"], ["COUNT", "-1"], ["COUNT", "x"], ["COUNT"], ["FROM"], ["TO"],
                                   ["NONSENSE"], ["1", "2"], ["WITHMETA", "1"]])
def test_hist_refuses_what_it_does_not_know(pulse, words):
    assert isinstance(pulse.try_call("HIST", "k", *words), ReplyError)


def test_hist_shows_a_deletion_as_null_and_a_new_birth_after_it(both):
    both.call("SET", "k", "1")
    both.call("DEL", "k")
    both.call("SET", "k", "2")
    flat = both.call("HIST", "k")
    assert flat[1::2] == [b"2", None, b"1"]
    assert all(isinstance(ts, int) for ts in flat[::2])
    assert flat[::2] == sorted(flat[::2], reverse=True)


def test_hist_is_cut_by_from_and_to(pulse):
    steps(pulse, "k", *"abcde")
    at = {row["value"]: row["stamp"] for row in rows(pulse, "k")}
    assert values(pulse, "k", "FROM", at[b"b"], "TO", at[b"d"]) == [b"d", b"c", b"b"]
    assert values(pulse, "k", "FROM", at[b"b"] + 1) == [b"e", b"d", b"c"]
    assert values(pulse, "k", "TO", at[b"b"] - 1) == [b"a"]
    assert values(pulse, "k", "FROM", at[b"b"], "COUNT", 1, "TO", at[b"d"]) == [b"d"]
    assert values(pulse, "k", "FROM", at[b"b"] // 1_000_000, "TO", at[b"d"] // 1_000_000) == [b"d", b"c", b"b"]
    assert values(pulse, "k", "FROM", at[b"d"], "TO", at[b"b"]) == []
    assert values(pulse, "k", 1, "FROM", at[b"a"]) == [b"e"]


def test_hist_withmeta_tells_stamp_time_operation_and_client(both):
    both.call("CLIENT", "SETNAME", "tester")
    both.call("SET", "k", "1")
    both.call("INCR", "k")
    both.call("DEL", "k")
    reply = both.call("HIST", "k", "WITHMETA")
    assert [type(row) for row in reply] == ([dict] * 3 if isinstance(reply[0], dict) else [list] * 3)
    for row in map(as_dict, reply):
        assert list(row) == [b"stamp", b"ts", b"op", b"client", b"value"]
    found = rows(both, "k")
    assert [(row["op"].lower(), row["client"], row["value"]) for row in found] == \
        [(b"del", b"tester", None), (b"incr", b"tester", b"2"), (b"set", b"tester", b"1")]
    for row in found:
        assert row["ts"] == row["stamp"] // 1_000_000
    assert [row["stamp"] for row in found] == sorted({row["stamp"] for row in found}, reverse=True)


def test_hist_withmeta_names_a_client_without_a_name_by_its_address(pulse):
    pulse.call("SET", "k", "1")
    me = dict(word.split(b"=", 1) for word in pulse.call("CLIENT", "INFO").split())
    assert rows(pulse, "k")[0]["client"] == me[b"addr"]


def test_hist_withmeta_says_that_an_expiry_was_one(pulse):
    pulse.call("SET", "k", "v", "PX", "20")
    pass_instant(pulse, now_us(pulse) // 1000 + 20)
    row = rows(pulse, "k")[0]
    assert (row["op"], row["value"]) == (b"expired", None)
    assert pulse.call("GET", "k") is None
    assert eventually(lambda: pulse.call("DBSIZE") == 0)
    assert rows(pulse, "k")[0]["op"] == b"expired", "also after the deletion itself"


def test_a_change_of_the_expiry_alone_is_a_version(pulse):
    pulse.call("SET", "k", "v")
    then = now_us(pulse)
    pulse.call("EXPIRE", "k", "100")
    assert values(pulse, "k") == [b"v", b"v"]
    assert [row["op"].lower() for row in rows(pulse, "k")] == [b"expire", b"set"]
    assert pulse.call("AT", then, "TTL", "k") == -1


def test_what_changes_nothing_makes_no_version(pulse):
    pulse.call("SET", "k", "v")
    for call in (("SET", "k", "w", "NX"), ("PERSIST", "k"), ("SETNX", "k", "w"), ("GET", "k"), ("EXISTS", "k"),
                 ("SETRANGE", "k", "0", ""), ("RENAME", "k", "k"), ("INCR", "k")):
        pulse.try_call(*call)
        assert values(pulse, "k") == [b"v"], call


def test_a_renamed_key_leaves_its_past_under_its_old_name(pulse):
    pulse.call("SET", "old", "v")
    then = now_us(pulse)
    pulse.call("RENAME", "old", "new")
    assert values(pulse, "old") == [None, b"v"]
    assert values(pulse, "new") == [b"v"]
    assert pulse.call("GETAT", "old", then) == b"v"
    assert pulse.call("GETAT", "new", then) is None
    assert stamp(pulse, "old") == stamp(pulse, "new")


def test_databases_have_pasts_of_their_own(pulse):
    pulse.call("SET", "k", "zero")
    pulse.call("SELECT", 1)
    pulse.call("SET", "k", "one")
    then = now_us(pulse)
    assert pulse.call("MOVE", "k", 2) == 1
    assert values(pulse, "k") == [None, b"one"]
    assert pulse.call("GETAT", "k", then) == b"one"
    pulse.call("SELECT", 2)
    assert values(pulse, "k") == [b"one"]
    assert pulse.call("GETAT", "k", then) is None
    pulse.call("SELECT", 0)
    assert values(pulse, "k") == [b"zero"]


# AT instant command

def fill(conn):
    conn.call("MSET", "s", "hello", "n", "42", "b", b"\x00\xff" * 40, "user:1", "a", "user:2", "b")
    conn.call("SET", "t", "v", "PX", "500000")
    return now_us(conn)


def spoil(conn):
    for key in ("s", "n", "b", "t"):
        conn.call("SET", key, "other than before")
    conn.call("DEL", "user:1", "user:2")
    conn.call("MSET", *[word for i in range(50) for word in (f"later:{i}", "x")])


READS = ["GET s", "GET n", "GET none", "GETRANGE s 1 3", "GETRANGE b 0 -1", "SUBSTR s 0 1", "STRLEN s", "STRLEN none",
         "MGET s n none user:1", "EXISTS s s user:1 none later:1", "TTL s", "TTL none", "TTL t", "PTTL s",
         "EXPIRETIME t", "EXPIRETIME s", "PEXPIRETIME t", "PEXPIRETIME none", "TYPE s", "TYPE none", "TYPE user:1",
         "DBSIZE", "OBJECT ENCODING s", "OBJECT ENCODING n", "OBJECT ENCODING b", "LCS s user:1", "TOUCH s none",
         "HIST s", "HIST s 1"]


@pytest.mark.parametrize("read", READS)
def test_at_answers_as_the_read_did_then(both, read):
    then = fill(both)
    expected = both.call(*read.split())
    spoil(both)
    assert both.call("AT", then, *read.split()) == expected
    both.call("AT", then)
    assert both.call(*read.split()) == expected
    both.call("AT", "OFF")
    both.call("MULTI")
    both.call("AT", then, *read.split())
    assert both.call("EXEC") == [expected]


def test_errors_of_a_read_are_the_same_in_the_past(pulse):
    then = fill(pulse)
    spoil(pulse)
    for read in (["GETRANGE", "s", "x", "1"], ["SCAN", "x"], ["SCAN", "0", "COUNT", "0"], ["OBJECT", "ENCODING", "none"],
                 ["GET"], ["NOSUCH"], ["OBJECT", "NOSUCH"], ["LCS", "s", "n", "LEN", "IDX"], ["SCAN", "0", "NONSENSE"]):
        assert pulse.try_call("AT", then, *read) == pulse.try_call(*read), read


def test_pttl_in_the_past_counts_from_then(pulse):
    then = fill(pulse)
    due = pulse.call("PEXPIRETIME", "t")
    spoil(pulse)
    assert pulse.call("AT", then, "PTTL", "t") == due - then // 1000


def test_keys_scan_and_randomkey_walk_over_the_past(pulse):
    then = fill(pulse)
    names = {b"s", b"n", b"b", b"t", b"user:1", b"user:2"}
    spoil(pulse)
    assert set(pulse.call("AT", then, "KEYS", "*")) == names
    assert sorted(pulse.call("AT", then, "KEYS", "user:*")) == [b"user:1", b"user:2"]
    found, cursor = [], b"0"
    while True:
        cursor, some = pulse.call("AT", then, "SCAN", cursor, "COUNT", 1)
        found += some
        if cursor == b"0":
            break
    assert sorted(found) == sorted(names)
    assert pulse.call("AT", then, "SCAN", 0, "MATCH", "user:*", "COUNT", 1000)[0] == b"0"
    assert pulse.call("AT", then, "SCAN", 0, "TYPE", "hash", "COUNT", 1000) == [b"0", []]
    seen = {pulse.call("AT", then, "RANDOMKEY") for _ in range(100)}
    assert seen <= names and len(seen) > 1


def test_randomkey_of_an_empty_past_is_null(pulse):
    then = now_us(pulse)
    fill(pulse)
    assert pulse.call("AT", then, "RANDOMKEY") is None
    assert pulse.call("AT", then, "KEYS", "*") == []
    assert pulse.call("AT", then, "DBSIZE") == 0


def test_dbsize_in_the_past_does_not_count_what_had_expired(pulse):
    pulse.call("SET", "a", "1", "PX", "500")
    pulse.call("SET", "b", "1")
    before = now_us(pulse)
    pass_instant(pulse, before // 1000 + 500)
    after = now_us(pulse)
    assert pulse.call("AT", before, "DBSIZE") == 2
    assert pulse.call("AT", after, "DBSIZE") == 1
    assert pulse.call("AT", after, "KEYS", "*") == [b"b"]


def test_at_runs_every_read_only_command_and_no_other(pulse):
    then = now_us(pulse)
    skip = {b"at", b"subscribe"}
    for info in pulse.call("COMMAND"):
        for name, arity, flags in [info[:3]] + [sub[:3] for sub in info[9]]:
            if name in skip or (info[9] and name == info[0]):
                continue
            words = name.split(b"|") + [b"1"] * (abs(arity) - len(name.split(b"|")))
            reply = pulse.try_call("AT", then, *words)
            if "readonly" in flags or b"readonly" in flags:
                assert reply != READ_ONLY, name
            elif pulse.try_call("COMMAND", "GETKEYS", *words) != ReplyError("ERR Invalid command specified"):
                assert reply == READ_ONLY, name
    assert pulse.call("AT", "now", "DBSIZE") == 0, "none of them wrote"


def test_at_does_not_run_at_but_getat_keeps_its_own_instant(pulse):
    first, second = steps(pulse, "k", "1", "2")
    assert pulse.try_call("AT", second, "AT", first, "GET", "k") == READ_ONLY
    assert pulse.call("AT", second, "GETAT", "k", first) == b"1"


def test_an_at_reads_all_keys_at_one_instant_while_others_write(pulse, other):
    keys = [f"k{i}" for i in range(8)]
    for round_ in range(200):
        other.send("MSET", *[word for key in keys for word in (key, round_)])
        if round_ % 4 == 0:
            got = pulse.call("AT", "now", "MGET", *keys)
            assert len(set(got)) == 1
    for _ in range(200):
        assert other.read() == "OK"


def test_reading_at_a_past_instant_gives_the_same_answer_for_ever(pulse):
    then = fill(pulse)
    time.sleep(0.002)
    first = pulse.call("AT", then, "MGET", "s", "n", "b", "t")
    for _ in range(20):
        spoil(pulse)
        assert pulse.call("AT", then, "MGET", "s", "n", "b", "t") == first


# AT instant ... AT OFF

def test_a_connection_in_the_past_reads_it_until_off(pulse, other):
    first, second = steps(pulse, "k", "1", "2")
    assert pulse.call("AT", first) == "OK"
    assert pulse.call("GET", "k") == b"1"
    assert other.call("GET", "k") == b"2", "others are not concerned"
    assert pulse.call("AT", second, "GET", "k") == b"2", "a single AT goes before"
    assert pulse.call("GET", "k") == b"1"
    assert pulse.call("AT", "OFF") == "OK"
    assert pulse.call("GET", "k") == b"2"
    assert pulse.call("AT", "off") == "OK", "twice does no harm"


def test_a_connection_in_the_past_refuses_every_write(pulse, other):
    then = fill(pulse)
    pulse.call("AT", then)
    for call in (["SET", "k", "v"], ["DEL", "s"], ["INCR", "n"], ["EXPIRE", "s", "1"], ["FLUSHALL"], ["FLUSHDB"],
                 ["REVERT", "s", "now"], ["UNFLUSH"], ["HISTORY", "PURGE", "s"], ["RENAME", "s", "z"], ["SWAPDB", "0", "1"],
                 ["GETDEL", "s"], ["GETEX", "s"], ["MOVE", "s", "1"], ["COPY", "s", "z"]):
        assert pulse.try_call(*call) == LOOKS_BACK, call
    pulse.call("MULTI")
    assert pulse.try_call("SET", "k", "v") == LOOKS_BACK
    assert pulse.try_call("EXEC").code == "EXECABORT"
    assert other.call("DBSIZE") == 6
    assert pulse.call("PING") == "PONG"
    pulse.call("AT", "OFF")
    assert pulse.call("SET", "k", "v") == "OK"


def test_a_connection_in_the_past_can_change_the_database_and_ask_for_transactions(pulse):
    pulse.call("SELECT", 1)
    pulse.call("SET", "k", "one")
    then = now_us(pulse)
    pulse.call("SET", "k", "later")
    pulse.call("SELECT", 0)
    pulse.call("AT", then)
    assert pulse.call("GET", "k") is None
    pulse.call("SELECT", 1)
    assert pulse.call("GET", "k") == b"one"
    pulse.call("MULTI")
    pulse.call("GET", "k")
    pulse.call("DBSIZE")
    pulse.call("AT", "now", "GET", "k")
    assert pulse.call("EXEC") == [b"one", 1, b"later"]


def test_reset_brings_a_connection_back_from_the_past(pulse):
    first, _ = steps(pulse, "k", "1", "2")
    pulse.call("AT", first)
    assert pulse.call("RESET") == "RESET"
    assert pulse.call("GET", "k") == b"2"


def test_an_instant_of_a_connection_does_not_move_on(pulse, other):
    other.call("SET", "k", "1")
    pulse.call("AT", "now")
    time.sleep(0.002)
    other.call("SET", "k", "2")
    assert pulse.call("GET", "k") == b"1"


# DIFF

def test_diff_of_a_string_is_one_row_without_an_element(both):
    none = now_us(both)
    both.call("SET", "k", "1")
    one = now_us(both)
    both.call("SET", "k", "2")
    two = now_us(both)
    both.call("DEL", "k")
    assert both.call("DIFF", "k", one, two) == [[None, b"1", b"2"]]
    assert both.call("DIFF", "k", two, one) == [[None, b"2", b"1"]]
    assert both.call("DIFF", "k", none, one) == [[None, None, b"1"]]
    assert both.call("DIFF", "k", two, "now") == [[None, b"2", None]]
    assert both.call("DIFF", "k", none, "now") == []
    assert both.call("DIFF", "k", one, one) == []
    assert both.call("DIFF", "none", one, two) == []


def test_diff_match_tells_what_was_added_changed_and_removed(both):
    both.call("MSET", "u:same", "1", "u:changed", "1", "u:gone", "1", "x:gone", "1")
    then = now_us(both)
    both.call("SET", "u:same", "2")
    both.call("SET", "u:same", "1")
    both.call("MSET", "u:changed", "2", "u:new", "1", "x:new", "1")
    both.call("DEL", "u:gone", "x:gone")
    rows_ = sorted(map(tuple, both.call("DIFF", "MATCH", "u:*", then, "now")))
    assert rows_ == [(b"u:changed", b"changed"), (b"u:gone", b"removed"), (b"u:new", b"added")]
    back = sorted(map(tuple, both.call("DIFF", "MATCH", "u:*", "now", then)))
    assert back == [(b"u:changed", b"changed"), (b"u:gone", b"added"), (b"u:new", b"removed")]
    assert len(both.call("DIFF", "MATCH", "*", then, "now")) == 5
    assert both.call("DIFF", "MATCH", "nosuch*", then, "now") == []


def test_diff_match_can_be_read_in_pages(pulse):
    pulse.call("MSET", *[word for i in range(300) for word in (f"k{i}", "1")])
    then = now_us(pulse)
    pulse.call("DEL", *[f"k{i}" for i in range(0, 300, 3)])
    pulse.call("MSET", *[word for i in range(1, 300, 3) for word in (f"k{i}", "2")])
    pulse.call("MSET", *[word for i in range(50) for word in (f"new{i}", "2")])
    found, cursor, pages = [], b"0", 0
    while True:
        cursor, some = pulse.call("DIFF", "MATCH", "*", then, "now", "CURSOR", cursor, "COUNT", 20)
        found += map(tuple, some)
        pages += 1
        if cursor == b"0":
            break
    assert pages > 3
    assert sorted(found) == sorted(map(tuple, pulse.call("DIFF", "MATCH", "*", then, "now")))
    assert len(found) == len(set(found)) == 250


@pytest.mark.parametrize("words", [["k", "now"], ["k"], ["MATCH", "*", "now"], ["MATCH", "*", "now", "now", "X"],
                                   ["MATCH", "*", "now", "now", "COUNT", "0"], ["k", "now", "now", "now", "now"],
                                   ["MATCH", "*", "now", "now", "COUNT"], ["MATCH", "*", "now", "now", "CURSOR", "x"]])
def test_diff_refuses_what_it_does_not_know(pulse, words):
    assert isinstance(pulse.try_call("DIFF", *words), ReplyError)


# REVERT

def test_revert_puts_a_key_back_and_keeps_the_past(pulse):
    none = now_us(pulse)
    first, second = steps(pulse, "k", "1", "2")
    assert pulse.call("REVERT", "k", first) == 1
    assert pulse.call("GET", "k") == b"1"
    assert values(pulse, "k") == [b"1", b"2", b"1"]
    assert rows(pulse, "k", 1)[0]["op"].lower() == b"revert"
    assert pulse.call("GETAT", "k", second) == b"2"
    assert pulse.call("REVERT", "k", first) == 0, "it is so already"
    assert pulse.call("REVERT", "k", none) == 1
    assert pulse.call("EXISTS", "k") == 0
    assert pulse.call("REVERT", "k", none) == 0
    assert pulse.call("REVERT", "k", second) == 1
    assert pulse.call("GET", "k") == b"2"


def test_revert_to_now_changes_nothing_and_makes_no_version(pulse):
    steps(pulse, "k", "1", "2")
    for instant in ("now", "9999999999999", "-0s"):
        assert pulse.call("REVERT", "k", instant) == 0
        assert pulse.call("REVERT", "MATCH", "*", instant) == 0
    assert values(pulse, "k") == [b"2", b"1"]


def test_a_revert_brings_the_expiry_back_as_it_was(pulse):
    pulse.call("SET", "k", "v", "PX", "500000")
    due = pulse.call("PEXPIRETIME", "k")
    then = now_us(pulse)
    pulse.call("PERSIST", "k")
    assert pulse.call("REVERT", "k", then) == 1
    assert pulse.call("PEXPIRETIME", "k") == due
    pulse.call("SET", "k", "w")
    assert pulse.call("REVERT", "k", then) == 1
    assert (pulse.call("GET", "k"), pulse.call("PEXPIRETIME", "k")) == (b"v", due)


def test_a_revert_takes_an_expiry_away_that_was_not_there(pulse):
    pulse.call("SET", "k", "v")
    then = now_us(pulse)
    pulse.call("EXPIRE", "k", "100")
    assert pulse.call("REVERT", "k", then) == 1
    assert pulse.call("TTL", "k") == -1


def test_a_revert_to_a_time_to_live_that_is_over_deletes(pulse):
    pulse.call("SET", "k", "v", "PX", "500")
    then = now_us(pulse)
    pulse.call("SET", "k", "w")
    pass_instant(pulse, then // 1000 + 500)
    assert pulse.call("REVERT", "k", then) == 1
    assert pulse.call("EXISTS", "k") == 0
    assert pulse.call("REVERT", "k", then) == 0


def test_a_reverted_key_expires_when_it_is_due(pulse):
    pulse.call("SET", "k", "v", "PX", "500")
    then = now_us(pulse)
    pulse.call("SET", "k", "w")
    assert pulse.call("REVERT", "k", then) == 1
    pass_instant(pulse, then // 1000 + 500)
    assert pulse.call("EXISTS", "k") == 0
    assert eventually(lambda: pulse.call("DBSIZE") == 0)


def test_revert_match_is_one_transaction_over_all_keys(pulse, pulse_port):
    pulse.call("MSET", *[word for i in range(100) for word in (f"u:{i}", "old")], "x", "old")
    then = now_us(pulse)
    pulse.call("MSET", *[word for i in range(50) for word in (f"u:{i}", "new")], "x", "new")
    pulse.call("DEL", "u:98", "u:99")
    pulse.call("SET", "u:added", "1")
    assert pulse.call("REVERT", "MATCH", "u:*", then, "DRYRUN") == 53
    assert pulse.call("GET", "u:1") == b"new", "a dry run changes nothing"
    assert pulse.call("REVERT", "MATCH", "u:*", then) == 53
    assert pulse.call("GET", "x") == b"new"
    assert pulse.call("EXISTS", "u:added") == 0
    assert set(pulse.call("MGET", *[f"u:{i}" for i in range(100)])) == {b"old"}
    assert len({stamp(pulse, f"u:{i}") for i in (*range(50), 98, 99, "added")}) == 1
    assert pulse.call("REVERT", "MATCH", "u:*", then, "DRYRUN") == 0
    assert pulse.call("REVERT", "MATCH", "u:*", then) == 0
    with Conn(pulse_port) as conn:
        at = stamp(conn, "u:1")
        assert set(conn.call("AT", at - 1, "MGET", "u:1", "u:49")) == {b"new"}
        assert conn.call("AT", at - 1, "EXISTS", "u:added", "u:98", "u:99") == 1


@pytest.mark.parametrize("words", [["k"], ["k", "now", "now"], ["MATCH", "*", "now", "NONSENSE"],
                                   ["MATCH", "*", "now", "DRYRUN", "more"]])
def test_revert_refuses_what_it_does_not_know(pulse, words):
    assert isinstance(pulse.try_call("REVERT", *words), ReplyError)


def test_a_key_named_match_can_be_compared_and_reverted(pulse):
    first, second = steps(pulse, "MATCH", "1", "2")
    assert pulse.call("DIFF", "MATCH", first, second) == [[None, b"1", b"2"]]
    assert pulse.call("REVERT", "MATCH", first) == 1
    assert pulse.call("GET", "MATCH") == b"1"


# UNFLUSH

@pytest.mark.parametrize("flush", [["FLUSHALL"], ["FLUSHDB"], ["FLUSHALL", "SYNC"], ["FLUSHDB", "ASYNC"]])
def test_unflush_brings_everything_back(pulse, flush):
    pulse.call("MSET", *[word for i in range(1000) for word in (f"k{i}", i)])
    pulse.call("SET", "t", "v", "PX", "500000")
    due = pulse.call("PEXPIRETIME", "t")
    then = now_us(pulse)
    pulse.call(*flush)
    assert pulse.call("DBSIZE") == 0
    assert pulse.call("GETAT", "k1", then) == b"1"
    assert values(pulse, "k1") == [None, b"1"]
    assert pulse.call("UNFLUSH") == 1001
    assert pulse.call("DBSIZE") == 1001
    assert pulse.call("MGET", "k0", "k999") == [b"0", b"999"]
    assert pulse.call("PEXPIRETIME", "t") == due
    assert values(pulse, "k1") == [b"1", None, b"1"]
    assert pulse.call("GETAT", "k1", then) == b"1"


def test_what_was_written_after_the_flush_wins_over_what_comes_back(pulse):
    pulse.call("MSET", "a", "old", "b", "old")
    pulse.call("FLUSHALL")
    pulse.call("MSET", "a", "new", "c", "new")
    between = now_us(pulse)
    pulse.call("UNFLUSH")
    assert pulse.call("MGET", "a", "b", "c") == [b"new", b"old", b"new"]
    assert pulse.call("DBSIZE") == 3
    assert pulse.call("AT", between, "MGET", "a", "b", "c") == [b"new", None, b"new"]


def test_unflush_without_a_flush_is_an_error(pulse_server):
    with pulse_server().conn() as conn:
        refused = ReplyError("ERR there is no flush that can still be undone")
        assert conn.try_call("UNFLUSH") == refused
        conn.call("SET", "k", "v")
        assert conn.try_call("UNFLUSH") == refused
        conn.call("FLUSHALL")
        assert conn.call("UNFLUSH") == 1
        assert conn.try_call("UNFLUSH") == refused
        assert conn.call("GET", "k") == b"v"


def test_unflush_undoes_flushall_in_every_database(pulse_server):
    with pulse_server().conn() as conn:
        for db in (0, 3, 15):
            conn.call("SELECT", db)
            conn.call("SET", "k", db)
        conn.call("FLUSHALL")
        assert conn.call("UNFLUSH") == 3
        for db in (0, 3, 15):
            conn.call("SELECT", db)
            assert conn.call("GET", "k") == b"%d" % db


def test_two_flushes_are_undone_whole_or_not_at_all(pulse_server):
    with pulse_server().conn() as conn:
        names = [f"k{i}" for i in range(100)]
        conn.call("MSET", *[word for name in names for word in (name, "first")])
        conn.call("FLUSHALL")
        conn.call("SET", "{k0}second", "1")
        conn.call("FLUSHALL")
        assert conn.call("UNFLUSH") == 1
        assert conn.call("KEYS", "*") == [b"{k0}second"]
        conn.try_call("UNFLUSH")
        assert conn.call("EXISTS", *names) in (0, 100)


def test_keys_that_expired_while_flushed_do_not_come_back(pulse):
    pulse.call("SET", "short", "v", "PX", "500")
    pulse.call("SET", "long", "v")
    pulse.call("FLUSHALL")
    pass_instant(pulse, now_us(pulse) // 1000 + 500)
    pulse.call("UNFLUSH")
    assert pulse.call("GET", "short") is None
    assert pulse.call("KEYS", "*") == [b"long"]
    assert eventually(lambda: pulse.call("DBSIZE") == 1)


def test_a_flush_is_a_deletion_in_every_keys_history(pulse):
    pulse.call("SET", "k", "v")
    pulse.call("FLUSHALL")
    pulse.call("SET", "k", "w")
    assert values(pulse, "k") == [b"w", None, b"v"]
    assert [row["value"] for row in rows(pulse, "k")] == [b"w", None, b"v"]


# HISTORY

def test_history_info_tells_what_is_kept_of_a_key(both):
    for i in range(5):
        both.call("SET", "k", i)
    info = as_dict(both.call("HISTORY", "INFO", "k"))
    assert set(info) == {b"versions", b"bytes", b"known-since", b"rule"}
    assert info[b"versions"] == 5 and info[b"bytes"] > 0 and info[b"rule"] == b"history-memory"
    none = as_dict(both.call("HISTORY", "INFO", "none"))
    assert none[b"versions"] == 0 and none[b"bytes"] == 0


def test_history_stats_adds_up_over_databases_rules_and_shards(pulse_server):
    for protocol in (2, 3):
        with pulse_server().conn(protocol=protocol) as conn:
            for db in (0, 1):
                conn.call("SELECT", db)
                for i in range(10):
                    conn.call("SET", "k", i)
            stats = {name.decode(): value for name, value in as_dict(conn.call("HISTORY", "STATS")).items()}
            assert stats["versions"] == 18, "those that were superseded"
            assert as_dict(stats["databases"]) == {b"db0": 9, b"db1": 9}
            assert as_dict(stats["rules"]) == {b"history-memory": 18}
            assert len(stats["shards"]) == 64
            assert sum(shard[2] for shard in stats["shards"]) == 18
            assert stats["bytes"] > 0 and stats["budget"] >= 64 << 20 and stats["horizon"] == 0


def test_a_purged_key_has_no_past_and_keeps_its_present(pulse):
    first, second = steps(pulse, "k", "secret", "public")
    assert pulse.call("HISTORY", "PURGE", "k") == "OK"
    assert pulse.call("GET", "k") == b"public"
    assert b"secret" not in values(pulse, "k", 100)
    assert pulse.try_call("GETAT", "k", first).code == "NOHISTORY"
    assert pulse.try_call("DIFF", "k", first, "now").code == "NOHISTORY"
    assert pulse.try_call("REVERT", "k", first).code == "NOHISTORY"
    assert pulse.try_call("AT", first, "GET", "k").code == "NOHISTORY"
    assert pulse.try_call("AT", first, "MGET", "k", "other").code == "NOHISTORY"
    assert pulse.try_call("AT", first, "KEYS", "*").code == "NOHISTORY"
    pulse.call("SET", "k", "later")
    assert pulse.call("GETAT", "k", "now") == b"later"
    assert values(pulse, "k")[0] == b"later"


def test_a_deleted_key_can_be_purged(pulse):
    pulse.call("SET", "k", "secret")
    then = now_us(pulse)
    pulse.call("DEL", "k")
    assert pulse.call("HISTORY", "PURGE", "k") == "OK"
    assert b"secret" not in pulse.call("HIST", "k")
    assert pulse.try_call("GETAT", "k", then).code == "NOHISTORY"
    assert pulse.call("GET", "k") is None


def test_a_key_flushed_away_can_be_purged(pulse):
    pulse.call("SET", "k", "secret")
    then = now_us(pulse)
    pulse.call("FLUSHALL")
    assert pulse.call("HISTORY", "PURGE", "k") == "OK"
    assert b"secret" not in pulse.call("HIST", "k")
    reply = pulse.try_call("GETAT", "k", then)
    assert reply != b"secret"
    pulse.try_call("UNFLUSH")
    assert pulse.try_call("GETAT", "k", then) != b"secret"


def test_a_pin_names_an_instant_until_it_is_unpinned(both):
    both.call("SET", "k", "1")
    assert both.call("HISTORY", "PIN", "deploy") == "OK"
    time.sleep(0.002)
    both.call("SET", "k", "2")
    assert both.call("GETAT", "k", "@deploy") == b"1"
    assert both.call("DIFF", "k", "@deploy", "now") == [[None, b"1", b"2"]]
    pins = as_dict(both.call("HISTORY", "PINS"))
    assert set(pins) == {b"deploy"} and abs(pins[b"deploy"] - time.time() * 1000) < 5000
    assert both.call("REVERT", "MATCH", "*", "@deploy") == 1
    assert both.call("GET", "k") == b"1"
    assert both.call("HISTORY", "UNPIN", "deploy") == 1
    assert both.call("HISTORY", "UNPIN", "deploy") == 0
    assert isinstance(both.try_call("GETAT", "k", "@deploy"), ReplyError)
    assert as_dict(both.call("HISTORY", "PINS")) == {}


def test_a_pin_can_be_moved_and_must_have_a_name(pulse):
    first, second = steps(pulse, "k", "1", "2")
    pulse.call("HISTORY", "PIN", "p", first)
    pulse.call("HISTORY", "PIN", "p", second)
    assert pulse.call("GETAT", "k", "@p") == b"2"
    assert len(as_dict(pulse.call("HISTORY", "PINS"))) == 1
    pulse.call("HISTORY", "UNPIN", "p")
    for name in ("", "x" * 129):
        assert isinstance(pulse.try_call("HISTORY", "PIN", name), ReplyError)


def test_history_help_names_every_subcommand(pulse):
    lines = b"\n".join(word.encode() if isinstance(word, str) else word for word in pulse.call("HISTORY", "HELP"))
    for info in pulse.call("COMMAND", "INFO", "history")[0][9]:
        assert info[0].split(b"|")[1].upper() in lines


def test_history_needs_a_subcommand_that_it_knows(pulse):
    assert str(pulse.try_call("HISTORY")) == WRONG_COUNT.format("history")
    assert str(pulse.try_call("HISTORY", "NOSUCH")) == "ERR unknown subcommand 'NOSUCH'. Try HISTORY HELP."


# Settings

def test_without_history_the_past_is_an_error_and_the_present_is_not(pulse_server):
    with pulse_server().conn() as conn:
        conn.call("SET", "k", "1")
        assert conn.call("CONFIG", "SET", "history", "no") == "OK"
        conn.call("SET", "k", "2")
        then = now_us(conn)
        conn.call("SET", "k", "3")
        conn.call("SET", "gone", "1")
        present = now_us(conn)
        conn.call("DEL", "gone")
        assert conn.try_call("GETAT", "k", then).code == "NOHISTORY"
        assert conn.try_call("GETAT", "gone", present).code == "NOHISTORY"
        assert conn.call("GETAT", "k", "now") == b"3"
        assert conn.call("AT", "now", "GET", "k") == b"3"
        assert values(conn, "k") in ([b"3"], [])
        assert as_dict(conn.call("HISTORY", "INFO", "k"))[b"rule"] == b"history no"
        assert conn.call("CONFIG", "SET", "history", "yes") == "OK"
        conn.call("SET", "k", "4")
        back = now_us(conn)
        conn.call("SET", "k", "5")
        assert conn.call("GETAT", "k", back) == b"4"
        assert conn.try_call("GETAT", "k", then).code == "NOHISTORY"


def test_excluded_keys_have_no_past(pulse_server):
    with pulse_server().conn() as conn:
        assert conn.call("CONFIG", "SET", "history-exclude", "cache:* tmp?") == "OK"
        for key in ("cache:1", "tmp1", "kept"):
            conn.call("SET", key, "1")
        then = now_us(conn)
        for key in ("cache:1", "tmp1", "kept"):
            conn.call("SET", key, "2")
        for key in ("cache:1", "tmp1"):
            assert conn.try_call("GETAT", key, then).code == "NOHISTORY"
            assert b"1" not in values(conn, key)
            assert conn.call("GETAT", key, "now") == b"2"
            assert as_dict(conn.call("HISTORY", "INFO", key))[b"rule"].startswith(b"history-exclude")
        assert conn.call("GETAT", "kept", then) == b"1"
        conn.call("DEL", "cache:1")
        assert conn.try_call("GETAT", "cache:1", then).code == "NOHISTORY"
        assert conn.call("GETAT", "cache:1", "now") is None


def test_history_max_versions_caps_what_is_answered(pulse_server):
    with pulse_server().conn() as conn:
        times = steps(conn, "k", *range(10))
        assert conn.call("CONFIG", "SET", "history-max-versions", "3") == "OK"
        assert values(conn, "k", 100) == [b"9", b"8", b"7"]
        assert conn.call("GETAT", "k", times[7]) == b"7"
        assert conn.try_call("GETAT", "k", times[6]).code == "NOHISTORY"
        assert conn.call("CONFIG", "SET", "history-max-versions", "0") == "OK"
        assert conn.call("GETAT", "k", times[0]) == b"0"


def is_no_history(reply):
    return isinstance(reply, ReplyError) and reply.code == "NOHISTORY"


def overrun(conn, rounds=40):
    """Writes far more past than a tiny budget holds; the times, each with the value of k then."""
    model = []
    for i in range(rounds):
        conn.call("SET", "k", b"%d" % i * 200)
        conn.pipeline(*[("SET", f"filler:{j}", b"%d" % i * 500) for j in range(32)])
        model.append((now_us(conn), b"%d" % i * 200))
    return model


def within(conn, budget):
    """HISTORY STATS once the past is within its budget, and twice in a row the same."""
    seen = [None, None]

    def rests():
        seen.append(as_dict(conn.call("HISTORY", "STATS")))
        return seen[-1] == seen[-2] and seen[-1][b"bytes"] <= budget

    time.sleep(0.2)
    assert eventually(rests), seen[-1]
    return seen[-1]


def test_with_a_tiny_budget_the_past_is_right_or_an_error_and_right_after_the_horizon(pulse_server):
    with pulse_server("--shards", "2").conn() as conn:
        conn.call("CONFIG", "SET", "history-memory", "200kb")
        conn.call("SET", "still", "v")
        conn.call("SET", "deleted", "v")
        conn.call("DEL", "deleted")
        model = overrun(conn)
        stats = within(conn, 200 << 10)
        horizon = stats[b"horizon"]
        assert horizon > 0, "something was dropped"
        dropped = 0
        for at, value in model:
            for reply in (conn.try_call("GETAT", "k", at), conn.try_call("AT", at, "GET", "k")):
                if isinstance(reply, ReplyError):
                    assert reply.code == "NOHISTORY" and at < horizon * 1000
                    dropped += 1
                else:
                    assert reply == value
            keys = conn.try_call("AT", at, "KEYS", "*")
            if isinstance(keys, ReplyError):
                assert keys.code == "NOHISTORY" and at < horizon * 1000
            else:
                assert len(keys) == 34
            assert conn.call("GETAT", "still", at) == b"v"
        assert dropped > 0
        reply = conn.try_call("GETAT", "k", model[0][0])
        assert reply.code == "NOHISTORY"
        since = [int(word) for word in str(reply).replace(":", " ").split() if word.isdigit()]
        assert since, f"{reply} says since when the past is known"
        assert isinstance(conn.call("GETAT", "k", since[-1]), bytes)
        assert conn.try_call("REVERT", "k", model[0][0]).code == "NOHISTORY"
        assert conn.try_call("REVERT", "MATCH", "*", model[0][0]).code == "NOHISTORY"
        assert conn.try_call("DIFF", "k", model[0][0], "now").code == "NOHISTORY"
        assert conn.try_call("DIFF", "MATCH", "*", model[0][0], "now").code == "NOHISTORY"
        assert conn.try_call("HISTORY", "PIN", "p", model[0][0]).code == "NOHISTORY"
        assert conn.call("GET", "k") == model[-1][1], "nothing was put back in part"


def test_no_history_inside_a_transaction_is_that_commands_error_alone(pulse_server):
    with pulse_server("--shards", "2").conn() as conn:
        conn.call("CONFIG", "SET", "history-memory", "200kb")
        model = overrun(conn)
        within(conn, 200 << 10)
        conn.call("MULTI")
        conn.call("SET", "a", "1")
        conn.call("AT", model[0][0], "MGET", "a", "k")
        conn.call("REVERT", "MATCH", "*", model[0][0])
        conn.call("GET", "a")
        replies = conn.call("EXEC")
        assert replies[0] == "OK" and replies[3] == b"1"
        assert [reply.code for reply in replies[1:3]] == ["NOHISTORY"] * 2


def test_a_pin_that_would_break_the_budget_is_dropped_whole(pulse_server):
    with pulse_server("--shards", "2").conn() as conn:
        conn.call("SET", "k", "pinned")
        conn.call("CONFIG", "SET", "history-memory", "200kb")
        assert conn.call("HISTORY", "PIN", "p") == "OK"
        overrun(conn)
        assert eventually(lambda: as_dict(conn.call("HISTORY", "PINS")) == {})
        assert isinstance(conn.try_call("GETAT", "k", "@p"), ReplyError)


def test_a_dropped_pin_is_told_in_the_log(pulse_server):
    server = pulse_server("--shards", "2")
    with server.conn() as conn:
        conn.call("CONFIG", "SET", "history-memory", "200kb")
        conn.call("HISTORY", "PIN", "deploy")
        overrun(conn)
        assert eventually(lambda: "deploy" in server.log.read_text())




@pytest.mark.parametrize("size", [5_000, 200_000])
def test_large_values_keep_to_the_budget_too(pulse_server, size):
    with pulse_server("--shards", "1").conn() as conn:
        conn.call("CONFIG", "SET", "history-memory", "1mb")
        for i in range(10_000_000 // size):
            conn.call("SET", "k", b"%d" % (i % 10) * size)
        assert eventually(lambda: as_dict(conn.call("HISTORY", "STATS"))[b"bytes"] <= 1 << 20)


def test_history_window_forgets_what_is_older_in_a_quiet_shard_too(pulse_server):
    with pulse_server("--shards", "1").conn() as conn:
        conn.call("CONFIG", "SET", "history-window", "100ms")
        first, _ = steps(conn, "k", "1", "2")
        assert eventually(lambda: is_no_history(conn.try_call("GETAT", "k", first)))


def test_history_window_forgets_what_is_older(pulse_server):
    with pulse_server("--shards", "1").conn() as conn:
        conn.call("CONFIG", "SET", "history-window", "100ms")
        model = overrun(conn, 10)
        assert eventually(lambda: is_no_history(conn.try_call("GETAT", "k", model[0][0])))


# Inside MULTI

def test_all_of_time_travel_works_inside_a_transaction(both):
    first, second = steps(both, "k", "1", "2")
    both.call("SET", "u:1", "x")
    both.call("MULTI")
    for call in (["SET", "k", "3"], ["GETAT", "k", first], ["HIST", "k", "2"], ["AT", first, "GET", "k"],
                 ["DIFF", "k", first, second], ["GETAT", "k", "now"], ["REVERT", "k", first], ["GET", "k"],
                 ["REVERT", "MATCH", "u:*", first, "DRYRUN"], ["DIFF", "MATCH", "u:*", first, second],
                 ["AT", first], ["AT", first, "SET", "k", "x"], ["AT", first, "DBSIZE"]):
        assert both.call(*call) == "QUEUED"
    got = both.call("EXEC")
    assert got[0] == "OK"
    assert got[1] == b"1"
    assert got[3] == b"1"
    assert got[4] == [[None, b"1", b"2"]]
    assert got[6:9] == [1, b"1", 1]
    assert got[9] == []
    assert isinstance(got[10], ReplyError) and got[11] == READ_ONLY
    assert got[12] == 1
    assert both.call("GET", "k") == b"1"


def test_a_transaction_that_ends_where_it_began_leaves_one_version_or_none(pulse):
    pulse.call("SET", "k", "1")
    pulse.call("MULTI")
    pulse.call("SET", "k", "2")
    pulse.call("SET", "k", "3")
    pulse.call("EXEC")
    assert values(pulse, "k") == [b"3", b"1"], "what lasted no time is not shown"


def test_pins_and_purges_work_inside_a_transaction(pulse):
    pulse.call("SET", "k", "1")
    pulse.call("MULTI")
    pulse.call("HISTORY", "PIN", "p")
    pulse.call("SET", "k", "2")
    pulse.call("HISTORY", "PINS")
    pulse.call("HISTORY", "INFO", "k")
    pulse.call("HISTORY", "STATS")
    pulse.call("HISTORY", "PURGE", "none")
    pulse.call("HISTORY", "UNPIN", "p")
    replies = pulse.call("EXEC")
    assert not any(isinstance(reply, ReplyError) for reply in replies), replies
    assert replies[0] == "OK" and replies[6] == 1


def test_a_flush_and_its_undoing_inside_transactions(pulse):
    pulse.call("MSET", "a", "1", "b", "2")
    pulse.call("MULTI")
    pulse.call("FLUSHALL")
    pulse.call("SET", "c", "3")
    pulse.call("EXEC")
    assert pulse.call("KEYS", "*") == [b"c"]
    pulse.call("MULTI")
    pulse.call("UNFLUSH")
    pulse.call("DBSIZE")
    assert pulse.call("EXEC") == [2, 3]
    assert pulse.call("MGET", "a", "b", "c") == [b"1", b"2", b"3"]


def test_the_clients_name_and_the_key_may_hold_any_byte(pulse):
    key = b"\x00\xff\r\n"
    pulse.call("SET", key, "1")
    then = now_us(pulse)
    pulse.call("DEL", key)
    assert pulse.call("GETAT", key, then) == b"1"
    assert pulse.call("AT", then, "KEYS", "*") == [key]
    assert pulse.call("DIFF", "MATCH", "*", then, "now") == [[key, b"removed"]]
    assert pulse.call("REVERT", "MATCH", "*", then) == 1


# Edges

def test_a_flush_can_be_undone_by_revert_too(pulse):
    pulse.call("MSET", *[word for i in range(100) for word in (f"k{i}", i)])
    then = now_us(pulse)
    pulse.call("FLUSHALL")
    pulse.call("SET", "new", "1")
    assert pulse.call("REVERT", "k7", then) == 1
    assert pulse.call("KEYS", "k*") == [b"k7"]
    assert pulse.call("REVERT", "MATCH", "*", then) == 100
    assert pulse.call("DBSIZE") == 100 and pulse.call("GET", "k99") == b"99"


def test_what_was_before_a_swap_of_databases_is_not_claimed_to_be_known(pulse):
    pulse.call("SET", "k", "zero")
    then = now_us(pulse)
    pulse.call("SWAPDB", 0, 1)
    assert pulse.try_call("GETAT", "k", then).code == "NOHISTORY"
    assert pulse.try_call("AT", then, "KEYS", "*").code == "NOHISTORY"
    assert pulse.call("GETAT", "k", "now") is None
    pulse.call("SELECT", 1)
    assert pulse.call("GETAT", "k", "now") == b"zero"
    after = now_us(pulse)
    pulse.call("SET", "k", "one")
    assert pulse.call("GETAT", "k", after) == b"zero"
    assert pulse.try_call("GETAT", "k", then).code == "NOHISTORY"


@pytest.mark.parametrize("again", [True, False])
def test_a_time_of_exclusion_stays_unknown_after_the_exclusion_ends(pulse, again):
    pulse.call("CONFIG", "SET", "history-exclude", "x*")
    pulse.call("SET", "x", "1")
    excluded = now_us(pulse)
    pulse.call("DEL", "x")
    pulse.call("CONFIG", "SET", "history-exclude", "")
    if again:
        pulse.call("SET", "x", "3")
    assert same_key(pulse.try_call("GETAT", "x", excluded), b"1")


@pytest.mark.parametrize("read", [["GET", "x"], ["EXISTS", "x", "y"], ["MGET", "y", "x"], ["PEXPIRETIME", "x"], ["STRLEN", "x"]])
def test_a_read_of_an_excluded_keys_past_is_right_or_an_error(pulse, read):
    pulse.call("CONFIG", "SET", "history-exclude", "x*")
    pulse.call("MSET", "x", "1", "y", "1")
    then, expected = now_us(pulse), pulse.call(*read)
    for change in (["SET", "x", "longer", "EX", "10"], ["DEL", "x"], ["SET", "x", "longer"], ["DEL", "x"]):
        pulse.call(*change)
        assert same_key(pulse.try_call("AT", then, *read), expected), change


@pytest.mark.parametrize("walk, answer", [
    (["AT", "then", "KEYS", "*"], [b"y"]), (["AT", "then", "SCAN", "0"], [b"0", [b"y"]]), (["AT", "then", "DBSIZE"], 1),
    (["DIFF", "MATCH", "*", "then", "now"], []), (["REVERT", "MATCH", "*", "then", "DRYRUN"], 0)])
def test_a_walk_over_the_past_leaves_excluded_keys_out(pulse, walk, answer):
    pulse.call("CONFIG", "SET", "history-exclude", "x*")
    pulse.call("MSET", "x", "1", "y", "1")
    then = now_us(pulse)
    pulse.call("DEL", "x")
    assert pulse.call(*[then if word == "then" else word for word in walk]) == answer


def test_a_key_that_is_no_longer_excluded_gets_a_past_again(pulse):
    pulse.call("CONFIG", "SET", "history-exclude", "x*")
    pulse.call("SET", "x", "1")
    pulse.call("CONFIG", "SET", "history-exclude", "")
    pulse.call("DEL", "x")
    pulse.call("SET", "x", "3")
    then = now_us(pulse)
    pulse.call("SET", "x", "4")
    assert pulse.call("GETAT", "x", then) == b"3"


def test_a_past_from_before_the_exclusion_is_right_or_an_error(pulse):
    pulse.call("SET", "x", "1")
    before = now_us(pulse)
    pulse.call("CONFIG", "SET", "history-exclude", "x*")
    pulse.call("SET", "x", "2")
    between = now_us(pulse)
    pulse.call("SET", "x", "3")
    pulse.call("SET", "x", "4")
    for at, expected in ((before, b"1"), (between, b"2")):
        reply = pulse.try_call("GETAT", "x", at)
        assert same_key(reply, expected), (at, reply)
        reply = pulse.try_call("AT", at, "KEYS", "*")
        assert same_key(reply, [b"x"]), (at, reply)


def test_a_coarse_resolution_is_right_at_the_ends_of_its_intervals(pulse):
    pulse.call("CONFIG", "SET", "history-resolution", "50ms")
    model = []
    for i in range(300):
        before = now_us(pulse)
        pulse.call("SET", "k", i)
        model.append((before // 50_000, now_us(pulse) // 50_000, i))
        time.sleep(0.001)
    assert len(pulse.call("HIST", "k", 1000)) // 2 < 100, "most were thinned out"
    for interval in range(model[0][1], model[-1][0]):
        at_most = [i for before, _, i in model if before <= interval]
        at_least = [i for _, after, i in model if after <= interval]
        shown = int(pulse.call("GETAT", "k", (interval + 1) * 50_000 - 1))
        assert at_least[-1] <= shown <= at_most[-1]


def test_a_pin_keeps_its_instant_over_the_window(pulse_server):
    with pulse_server("--shards", "1").conn() as conn:
        conn.call("SET", "k", "pinned")
        conn.call("SET", "gone", "1")
        conn.call("HISTORY", "PIN", "p")
        time.sleep(0.002)
        conn.call("DEL", "gone")
        conn.call("CONFIG", "SET", "history-window", "50ms")
        overrun(conn, 10)
        time.sleep(0.4)
        assert conn.call("GETAT", "k", "@p") == b"pinned"
        assert sorted(conn.call("AT", "@p", "KEYS", "*")) == [b"gone", b"k"]
        conn.call("HISTORY", "UNPIN", "p")


@pytest.mark.parametrize("cursor", [1, 2 ** 47, 2 ** 48, 2 ** 48 + 1, 2 ** 62, 2 ** 63 - 1])
def test_any_cursor_is_answered(pulse, cursor):
    pulse.call("MSET", "a", "1", "b", "2")
    then = now_us(pulse)
    for call in (["DIFF", "MATCH", "*", then, "now", "CURSOR", cursor], ["AT", then, "SCAN", cursor], ["SCAN", cursor]):
        reply = pulse.try_call(*call)
        assert isinstance(reply, (list, ReplyError)), call
    assert pulse.call("PING") == "PONG"


def test_limits_of_the_number_range_are_answered(pulse):
    steps(pulse, "k", "1", "2")
    big = 2 ** 63 - 1
    assert values(pulse, "k", big) == values(pulse, "k", "COUNT", big) == [b"2", b"1"]
    assert values(pulse, "k", "FROM", "0", "TO", big) == [b"2", b"1"]
    assert pulse.call("HIST", "k", "FROM", big) in ([], pulse.call("HIST", "k", 1))
    assert len(pulse.call("DIFF", "MATCH", "*", "0", "now", "COUNT", big)) == 2


def test_keys_of_commands_of_time_travel_are_named(pulse):
    for words, keys in ((["AT", "now", "MGET", "a", "b"], [b"a", b"b"]), (["AT", "-5m", "GET", "a"], [b"a"]),
                        (["GETAT", "a", "now"], [b"a"]), (["HIST", "a"], [b"a"]), (["DIFF", "a", "-5m", "now"], [b"a"]),
                        (["REVERT", "a", "-5m"], [b"a"]), (["HISTORY", "INFO", "a"], [b"a"]),
                        (["HISTORY", "PURGE", "a"], [b"a"])):
        assert pulse.call("COMMAND", "GETKEYS", *words) == keys, words
    for words in (["AT", "now", "DBSIZE"], ["AT", "now"], ["AT", "OFF"], ["DIFF", "MATCH", "a", "-5m", "now"],
                  ["REVERT", "MATCH", "a", "-5m"]):
        assert isinstance(pulse.try_call("COMMAND", "GETKEYS", *words), ReplyError), words


def test_an_expired_key_that_is_written_again_shows_its_end_between(pulse):
    pulse.call("SET", "k", "1", "PX", "500")
    due = pulse.call("PEXPIRETIME", "k")
    pass_instant(pulse, due)
    pulse.call("INCR", "k")
    assert values(pulse, "k") == [b"1", None, b"1"]
    assert pulse.call("HIST", "k")[2] == due
    assert [row["op"].lower() for row in rows(pulse, "k")] == [b"incr", b"expired", b"set"]


def test_a_revert_wakes_no_expiry_of_a_later_life(pulse):
    pulse.call("SET", "k", "forever")
    then = now_us(pulse)
    pulse.call("PEXPIRE", "k", 500)
    pulse.call("REVERT", "k", then)
    pass_instant(pulse, now_us(pulse) // 1000 + 600)
    assert pulse.call("GET", "k") == b"forever"


def test_many_clients_travel_while_others_write(pulse, pulse_port):
    """Writers add one to both of two keys at once; at every instant both are equal, and they never go back."""
    stop, wrong = threading.Event(), []

    def write():
        with Conn(pulse_port) as conn:
            while not stop.is_set():
                conn.pipeline(("MULTI",), ("INCR", "x"), ("INCR", "y"), ("EXEC",))

    def travel():
        with Conn(pulse_port) as conn:
            while not stop.is_set():
                at = now_us(conn)
                pairs_ = [conn.call("AT", at, "MGET", "x", "y"), conn.call("AT", at - 5000, "MGET", "x", "y")]
                if any(x != y for x, y in pairs_) or int(pairs_[1][0] or 0) > int(pairs_[0][0] or 0):
                    wrong.append((at, pairs_))
                if conn.call("AT", at, "MGET", "x", "y") != pairs_[0]:
                    wrong.append((at, "changed", pairs_[0]))

    threads = [threading.Thread(target=f) for f in (write, write, travel, travel)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]


# The laws of TIMETRAVEL.md, over random commands, against a model that copies everything at each step

KEYS = ("a", "b", "u:1", "u:2", "n")
LONG = 10_000_000_000_000  # an expiry far away, in ms

class Long(bytes):
    """A long value that is short to read where hypothesis prints it."""

    def __repr__(self):
        return f"Long({bytes(self[:1])} * {len(self)})"


KEY, DB = st.sampled_from(KEYS), st.sampled_from((0, 1))
WORD = st.one_of(st.binary(max_size=6), st.integers(-99, 99).map(lambda n: b"%d" % n),
                 st.builds(lambda c, n: Long(bytes([c]) * n), st.integers(65, 90), st.sampled_from((40, 700, 3000, 40_000))))
SHOT = st.integers(0, 10_000)
WRITE = st.one_of(st.tuples(st.just("SET"), KEY, WORD), st.tuples(st.just("DEL"), KEY))


def alive(state, ms):
    """What of a copied database is there at that time: key -> (value, expiry)."""
    return {key: (value, due) for key, (value, due) in state.items() if not due or due > ms}


def same_key(reply, expected):
    return reply == expected or isinstance(reply, ReplyError) and reply.code == "NOHISTORY"


class Laws(RuleBasedStateMachine):
    port, forgetful = None, False

    def __init__(self):
        super().__init__()
        self.conn = Conn(self.port)
        self.conn.call("FLUSHALL")
        self.dbs = {0: {}, 1: {}}
        self.flushed = None  # the databases that the last flush emptied, as they were
        self.shots = []
        self.db = 0

    def teardown(self):
        self.conn.close()

    def call(self, db, *words):
        if db != self.db:
            self.conn.call("SELECT", db)
            self.db = db
        return self.conn.try_call(*words)

    def horizon(self):
        return as_dict(self.conn.call("HISTORY", "STATS"))[b"horizon"] * 1000

    def asked(self, us, reply, expected, what):
        """Laws 1, 4 and 5: right, or NOHISTORY before the horizon."""
        if isinstance(reply, ReplyError) and reply.code == "NOHISTORY":
            assert self.forgetful and us < self.horizon(), f"{what}: {reply}"
            return False
        assert reply == expected, f"{what}: {reply!r}, not {expected!r}"
        return True

    def shot(self, i):
        """One of the copies, newer ones more often than old ones."""
        return self.shots[-1 - min(i % 25, len(self.shots) - 1)] if i % 2 else self.shots[i % len(self.shots)]

    @invariant()
    def everything_is_copied_and_the_present_is_as_the_model_says(self):
        us = now_us(self.conn)
        for db in (0, 1):
            model = self.dbs[db] = alive(self.dbs[db], us // 1000)
            assert self.call(db, "MGET", *KEYS) == [model.get(key, (None,))[0] for key in KEYS]
            for key in KEYS:
                assert self.call(db, "PEXPIRETIME", key) == (model[key][1] or -1 if key in model else -2)
        self.shots.append((us, {db: dict(model) for db, model in self.dbs.items()}))
        n = len(self.shots)
        self.ask(n % 2, self.shots[n * n // 3 % n if n % 5 else -1], mode=n % 3 == 0)
        self.compare(n % 2, self.shots[n * 3 // 7 % n], self.shots[n * n // 5 % n])

    # Writes

    @rule(db=DB, key=KEY, value=WORD, expires=st.booleans())
    def set(self, db, key, value, expires):
        assert self.call(db, "SET", key, value, *(["PXAT", LONG] if expires else [])) == "OK"
        self.dbs[db][key] = (value, LONG if expires else 0)

    @rule(db=DB, values_=st.dictionaries(KEY, WORD, min_size=1))
    def mset(self, db, values_):
        self.call(db, "MSET", *[word for pair in values_.items() for word in pair])
        self.dbs[db].update({key: (value, 0) for key, value in values_.items()})

    @rule(db=DB, key=KEY, value=WORD)
    def append(self, db, key, value):
        before, due = self.dbs[db].get(key, (b"", 0))
        self.call(db, "APPEND", key, value)
        self.dbs[db][key] = (before + value, due)

    @rule(db=DB, key=KEY, offset=st.sampled_from((0, 3, 900, 5000)), value=WORD)
    def setrange(self, db, key, offset, value):
        before, due = self.dbs[db].get(key, (b"", 0))
        self.call(db, "SETRANGE", key, offset, value)
        if value:
            padded = before.ljust(offset, b"\0")
            self.dbs[db][key] = (padded[:offset] + value + padded[offset + len(value):], due)

    @rule(db=DB, key=KEY, by=st.integers(-5, 5))
    def incrby(self, db, key, by):
        reply = self.call(db, "INCRBY", key, by)
        if isinstance(reply, int):
            self.dbs[db][key] = (b"%d" % reply, self.dbs[db].get(key, (b"", 0))[1])

    @rule(db=DB, keys=st.lists(KEY, min_size=1))
    def delete(self, db, keys):
        there = {key for key in keys if key in self.dbs[db]}
        assert self.call(db, "DEL", *keys) == len(there)
        for key in there:
            del self.dbs[db][key]

    @rule(db=DB, key=KEY)
    def getdel(self, db, key):
        assert self.call(db, "GETDEL", key) == self.dbs[db].pop(key, (None,))[0]

    @rule(db=DB, key=KEY, how=st.sampled_from(("PEXPIREAT", "PERSIST", "past")))
    def expiry(self, db, key, how):
        state = self.dbs[db]
        self.call(db, *(["PERSIST", key] if how == "PERSIST" else ["PEXPIREAT", key, 1 if how == "past" else LONG]))
        if key in state:
            state[key] = (state[key][0], LONG if how == "PEXPIREAT" else 0)
            if how == "past":
                del state[key]

    @rule(db=DB, key=KEY)
    def expires_soon(self, db, key):
        due = now_us(self.conn) // 1000 + 4
        if self.call(db, "PEXPIREAT", key, due) != 1 or key not in self.dbs[db]:
            return
        us = now_us(self.conn)
        self.dbs[db][key] = (self.dbs[db][key][0], due)
        self.shots.append((us, {db: dict(model) for db, model in self.dbs.items()}))
        time.sleep(0.006)
        assert self.call(db, "EXISTS", key) == 0
        del self.dbs[db][key]

    @rule(db=DB, key=KEY, to=KEY)
    def rename(self, db, key, to):
        state = self.dbs[db]
        assert (self.call(db, "RENAME", key, to) == "OK") == (key in state)
        if key in state and key != to:
            state[to] = state.pop(key)

    @rule(db=DB, key=KEY, to=KEY, todb=DB)
    def copy(self, db, key, to, todb):
        if (db, key) == (todb, to):
            return
        state = self.dbs[db]
        assert self.call(db, "COPY", key, to, "DB", todb, "REPLACE") == (key in state)
        if key in state:
            self.dbs[todb][to] = state[key]

    @rule(db=DB, key=KEY)
    def move(self, db, key):
        done = self.call(db, "MOVE", key, 1 - db)
        assert done == (key in self.dbs[db] and key not in self.dbs[1 - db])
        if done:
            self.dbs[1 - db][key] = self.dbs[db].pop(key)

    @rule(db=DB, writes=st.lists(WRITE, min_size=2, max_size=5))
    def transaction(self, db, writes):
        """Law 6: no instant shows a part of it."""
        before = [self.dbs[db].get(key, (None,))[0] for key in KEYS]
        self.call(db, "MULTI")
        for word, key, *value in writes:
            self.conn.call(word, key, *value)
            self.dbs[db].pop(key, None)
            if value:
                self.dbs[db][key] = (value[0], 0)
        self.conn.call("EXEC")
        after = [self.dbs[db].get(key, (None,))[0] for key in KEYS]
        stamps = {stamp(self.conn, key) for word, key, *value in writes if key in self.dbs[db]}
        assert len(stamps) <= 1
        for at in stamps:
            for us, expected in ((at - 1, before), (at, after)):
                self.asked(us // 1000, self.conn.try_call("AT", us, "MGET", *KEYS), expected, "MGET around EXEC")

    @precondition(lambda self: any(self.dbs.values()))
    @rule(db=st.sampled_from((0, 1, None)))
    def flush(self, db):
        dbs = [0, 1] if db is None else [db]
        if not any(self.dbs[one] for one in dbs):
            return
        self.call(db or 0, "FLUSHALL" if db is None else "FLUSHDB")
        self.flushed = {one: self.dbs[one] for one in dbs if self.dbs[one]}
        for one in dbs:
            self.dbs[one] = {}

    @precondition(lambda self: self.flushed and not self.forgetful)
    @rule()
    def unflush(self):
        self.call(0, "UNFLUSH")
        for db, saved in self.flushed.items():
            self.dbs[db] = {**saved, **self.dbs[db]}
        self.flushed = None

    # Back to the past

    @rule(db=DB, key=KEY, shot=SHOT)
    def revert(self, db, key, shot):
        """Law 2."""
        us, dbs = self.shot(shot)
        then = alive(dbs[db], us // 1000).get(key)
        then = then and alive({key: then}, now_us(self.conn) // 1000).get(key)
        if not self.asked(us, self.call(db, "REVERT", key, us), then != self.dbs[db].get(key), f"REVERT {key}"):
            return
        self.dbs[db].pop(key, None)
        if then:
            self.dbs[db][key] = then
        if self.forgetful:  # what is dropped in between is no longer known
            return
        known = self.call(db, "HIST", key, 100)
        assert self.call(db, "REVERT", key, us) == self.call(db, "REVERT", key, "now") == 0
        assert self.call(db, "HIST", key, 100) == known, "no version without a change"

    @rule(db=DB, prefix=st.sampled_from(("", "u:")), shot=SHOT)
    def revert_match(self, db, prefix, shot):
        us, dbs = self.shot(shot)
        then = alive(alive(dbs[db], us // 1000), now_us(self.conn) // 1000)
        keys = [key for key in KEYS if key.startswith(prefix)]
        changes = sum(then.get(key) != self.dbs[db].get(key) for key in keys)
        call = "REVERT", "MATCH", prefix + "*", us
        if not self.asked(us, self.call(db, *call, "DRYRUN"), changes, "REVERT MATCH DRYRUN"):
            return
        if not self.asked(us, self.call(db, *call), changes, "REVERT MATCH"):
            return
        for key in keys:
            self.dbs[db].pop(key, None)
            if key in then:
                self.dbs[db][key] = then[key]

    # Questions

    @rule(db=DB, shot=SHOT, mode=st.booleans())
    def every_read_is_as_it_was(self, db, shot, mode):
        self.ask(db, self.shot(shot), mode)

    def ask(self, db, shot, mode):
        """Law 1."""
        us, dbs = shot
        ms = us // 1000
        then = alive(dbs[db], ms)
        questions = [(["MGET", *KEYS], [then.get(key, (None,))[0] for key in KEYS]),
                     (["EXISTS", *KEYS], len(then)), (["DBSIZE"], len(then))]
        for key in KEYS:
            value, due = then.get(key, (None, 0))
            questions += [(["GET", key], value), (["STRLEN", key], len(value or b"")),
                          (["GETRANGE", key, -3, -1], (value or b"")[-3:]),
                          (["TYPE", key], "none" if value is None else "string"),
                          (["PEXPIRETIME", key], -2 if value is None else due or -1),
                          (["PTTL", key], -2 if value is None else due - ms if due else -1)]
        self.call(db, "PING")
        if mode:
            self.conn.call("AT", us)
        for question, expected in questions:
            reply = self.conn.try_call(*([] if mode else ["AT", us]), *question)
            self.asked(us, reply, expected, f"AT {us} {question}")
        keys = self.conn.try_call(*([] if mode else ["AT", us]), "KEYS", "*")
        names = sorted(key.encode() for key in then)
        self.asked(us, sorted(keys) if isinstance(keys, list) else keys, names, f"AT {us} KEYS")
        found, cursor = [], b"0"
        while True:
            reply = self.conn.try_call(*([] if mode else ["AT", us]), "SCAN", cursor, "COUNT", 2)
            if isinstance(reply, ReplyError):
                self.asked(us, reply, names, f"AT {us} SCAN")
                break
            cursor, some = reply
            found += some
            if cursor == b"0":
                self.asked(us, sorted(found), names, f"AT {us} SCAN")
                break
        if mode:
            self.conn.call("AT", "OFF")
        for key in KEYS:
            self.asked(us, self.conn.try_call("GETAT", key, us), then.get(key, (None,))[0], f"GETAT {key} {us}")

    @rule(db=DB, one=SHOT, other=SHOT)
    def a_diff_leads_from_one_state_to_the_other(self, db, one, other):
        self.compare(db, self.shot(one), self.shot(other))

    def compare(self, db, one, other):
        """Law 3."""
        (us, dbs), (us_to, dbs_to) = one, other
        before, after = alive(dbs[db], us // 1000), alive(dbs_to[db], us_to // 1000)
        oldest, differing = min(us, us_to), []
        for key in KEYS:
            old, new = before.get(key, (None,))[0], after.get(key, (None,))[0]
            reply = self.call(db, "DIFF", key, us, us_to)
            self.asked(oldest, reply, [] if old == new else [[None, old, new]], f"DIFF {key} {us} {us_to}")
            if old != new:
                differing.append([key.encode(), b"added" if old is None else b"removed" if new is None else b"changed"])
        reply = self.call(db, "DIFF", "MATCH", "*", us, us_to)
        self.asked(oldest, sorted(reply) if isinstance(reply, list) else reply, sorted(differing), "DIFF MATCH")

    @rule(db=DB, key=KEY)
    def hist_shows_every_state_that_was(self, db, key):
        self.call(db, "PING")
        versions = rows(self.conn, key, 1000)
        stamps = [row["stamp"] for row in versions]
        assert stamps == sorted(set(stamps), reverse=True)
        for us, dbs in self.shots:
            expected = alive(dbs[db], us // 1000).get(key, (None,))[0]
            shown = next((row["value"] for row in versions if row["stamp"] <= us * 1000), None)
            if shown != expected:
                assert self.forgetful and us < self.horizon(), f"HIST {key} at {us}: {shown!r}, not {expected!r}"


class ForgetfulLaws(Laws):
    """The same with a budget that holds only the last few steps."""
    forgetful = True

    @rule(db=DB)
    def much_is_written(self, db):
        value = b"%d" % len(self.shots)
        self.call(db, "PING")
        self.conn.pipeline(*[("SET", key, value * (900 // len(value))) for key in KEYS for _ in range(40)])
        self.dbs[db].update({key: (value * (900 // len(value)), 0) for key in KEYS})


def prove(laws, port, examples):
    laws = type(laws.__name__, (laws,), {"port": port})
    factor = 10 if os.environ.get("PULSEDB_LONG") else 1
    run_state_machine_as_test(laws, settings=settings(
        max_examples=examples * factor, stateful_step_count=30, deadline=None, database=None,
        suppress_health_check=list(HealthCheck)))


def test_the_laws_of_time_travel_hold_over_random_commands(pulse_server):
    prove(Laws, pulse_server().port, 20)


def test_the_laws_of_time_travel_hold_where_the_past_is_being_dropped(pulse_server):
    prove(ForgetfulLaws, pulse_server("--shards", "1", "--history-memory", "200kb").port, 20)
