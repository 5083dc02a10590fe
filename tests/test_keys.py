"""Keys of any type: their names, their ends, finding them."""
import time

import pytest

from resp import Conn, ReplyError
from waiting import pass_instant

WRONG_SYNTAX = ReplyError("ERR syntax error")
NOT_INTEGER = ReplyError("ERR value is not an integer or out of range")
SAME = ReplyError("ERR source and destination objects are the same")
NO_SUCH_DB = ReplyError("ERR DB index is out of range")
LATEST = 9223372036854775807


@pytest.fixture
def other(pulse, pulse_port):
    with Conn(pulse_port) as conn:
        yield conn


def test_an_unknown_command_is_named_as_far_as_redis_shows_it(pulse, redis_ref):
    for call in (["NOSUCH"], ["NOSUCH", "a", "b"], ["NOSUCH", "\0a", "x" * 300], ["N" * 200, "x" * 200, "y"],
                 ["NOSUCH", "x" * 124, "y", "z"], ["NOSUCH", "", "a\r\nb", "\xff"]):
        assert pulse.try_call(*call) == redis_ref.try_call(*call), call


def test_a_database_that_is_no_int_is_refused_in_redis_words(pulse, redis_ref):
    for number in "-1", "16", "2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "01", "x":
        for call in ["SELECT", number], ["MOVE", "k", number], ["COPY", "a", "b", "DB", number], ["SWAPDB", 0, number]:
            assert pulse.try_call(*call) == redis_ref.try_call(*call), call


# DEL, EXISTS, TYPE

def test_del_counts_what_it_deleted(pulse):
    pulse.call("MSET", "a", 1, "b", 2, "c", 3)
    assert pulse.call("DEL", "a", "none", "a", "b") == 2
    assert pulse.call("UNLINK", "c", "c") == 1
    assert pulse.call("EXISTS", "a", "b", "c") == 0


def test_exists_and_touch_count_a_key_as_often_as_it_is_named(pulse):
    pulse.call("SET", "k", "v")
    assert pulse.call("EXISTS", "k", "k", "none") == 2
    assert pulse.call("TOUCH", "k", "k", "none") == 2


def test_type_names_the_type(pulse):
    pulse.call("SET", "k", "v")
    assert pulse.call("TYPE", "k") == "string"
    assert pulse.call("TYPE", "none") == "none"


# Ends

def test_a_key_ends_when_its_time_is_over(pulse):
    pulse.call("SET", "k", "v", "PX", 500)
    assert pulse.call("GET", "k") == b"v"
    pass_instant(pulse, pulse.call("PEXPIRETIME", "k"))
    assert pulse.call("GET", "k") is None
    assert pulse.call("TTL", "k") == -2
    assert pulse.call("KEYS", "*") == []


def test_an_end_is_told_in_four_forms(pulse):
    now = int(time.time())
    pulse.call("SET", "k", "v")
    assert pulse.call("EXPIREAT", "k", now + 1000) == 1
    assert pulse.call("EXPIRETIME", "k") == now + 1000
    assert pulse.call("PEXPIRETIME", "k") == (now + 1000) * 1000
    assert 998 <= pulse.call("TTL", "k") <= 1000
    assert 998_000 <= pulse.call("PTTL", "k") <= 1_000_000
    for command in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"):
        assert pulse.call(command, "none") == -2
        pulse.call("SET", "lasting", "v")
        assert pulse.call(command, "lasting") == -1


def test_an_end_is_set_in_four_forms(pulse):
    now = int(time.time())
    for command, number in (("EXPIRE", 100), ("PEXPIRE", 100_000), ("EXPIREAT", now + 100), ("PEXPIREAT", (now + 100) * 1000)):
        pulse.call("SET", "k", "v")
        assert pulse.call(command, "k", number) == 1
        assert 97 <= pulse.call("TTL", "k") <= 100
        assert pulse.call(command, "none", number) == 0


def test_seconds_are_rounded_to_the_nearest(pulse):
    pulse.call("SET", "k", "v", "PXAT", 99_999_999_999_499)
    assert pulse.call("EXPIRETIME", "k") == 99_999_999_999
    pulse.call("SET", "k", "v", "PXAT", 99_999_999_999_500)
    assert pulse.call("EXPIRETIME", "k") == 100_000_000_000
    pulse.call("PEXPIREAT", "k", LATEST)
    assert pulse.call("EXPIRETIME", "k") == 9223372036854776


@pytest.mark.parametrize("command, number", [
    ("EXPIRE", 0), ("EXPIRE", -1), ("PEXPIRE", -100), ("EXPIREAT", 0), ("PEXPIREAT", 1), ("PEXPIREAT", -LATEST - 1)])
def test_an_end_in_the_past_deletes_the_key(pulse, command, number):
    pulse.call("SET", "k", "v")
    assert pulse.call(command, "k", number) == 1
    assert pulse.call("EXISTS", "k") == 0


def test_conditions_on_the_old_end(pulse):
    pulse.call("SET", "k", "v")
    assert pulse.call("EXPIRE", "k", 100, "XX") == 0
    assert pulse.call("EXPIRE", "k", 100, "GT") == 0  # no end is the latest of all
    assert pulse.call("EXPIRE", "k", 100, "LT") == 1
    assert pulse.call("EXPIRE", "k", 200, "NX") == 0
    assert pulse.call("EXPIRE", "k", 200, "LT") == 0
    assert pulse.call("EXPIRE", "k", 200, "xx", "gt") == 1
    assert pulse.call("EXPIRE", "k", 50, "GT") == 0
    assert 198 <= pulse.call("TTL", "k") <= 200
    assert pulse.call("EXPIRE", "k", -1, "GT") == 0
    assert pulse.call("EXPIRE", "k", -1, "LT") == 1
    assert pulse.call("EXISTS", "k") == 0


def test_expire_says_what_is_wrong_in_order(pulse):
    incompatible = ReplyError("ERR NX and XX, GT or LT options at the same time are not compatible")
    assert pulse.try_call("EXPIRE", "k", "abc", "FOO") == ReplyError("ERR Unsupported option FOO")
    assert pulse.try_call("EXPIRE", "k", 10, b"a\0b") == ReplyError("ERR Unsupported option a")
    assert pulse.try_call("EXPIRE", "k", 10, b"a\r\nb") == ReplyError("ERR Unsupported option a  b")
    for options in (("NX", "XX"), ("NX", "GT"), ("LT", "NX")):
        assert pulse.try_call("EXPIRE", "k", "abc", *options) == incompatible
    assert pulse.try_call("EXPIRE", "k", 10, "GT", "LT") == ReplyError(
        "ERR GT and LT options at the same time are not compatible")
    for wrong in ("abc", "", "1.5", " 1"):
        assert pulse.try_call("EXPIRE", "none", wrong) == NOT_INTEGER


@pytest.mark.parametrize("command, number", [
    ("EXPIRE", 9223372036854776), ("EXPIRE", -9223372036854776), ("EXPIRE", 9223372036854775), ("PEXPIRE", LATEST),
    ("EXPIREAT", 9223372036854776), ("EXPIRE", -LATEST - 1)])
def test_an_end_that_no_clock_can_show_is_refused(pulse, command, number):
    pulse.call("SET", "k", "v")
    error = ReplyError(f"ERR invalid expire time in '{command.lower()}' command")
    assert pulse.try_call(command, "k", number) == error
    assert pulse.try_call(command, "none", number) == error
    assert pulse.call("TTL", "k") == -1


def test_persist_takes_the_end_away(pulse):
    pulse.call("SET", "k", "v", "EX", 100)
    assert pulse.call("PERSIST", "k") == 1
    assert pulse.call("PERSIST", "k") == 0
    assert pulse.call("PERSIST", "none") == 0
    assert pulse.call("TTL", "k") == -1


# Finding

def test_keys_lists_names_that_match(pulse):
    names = {b"one", b"two", b"three", b"four", b"five", b"\x00\xff", b""}
    for name in names:
        pulse.call("SET", name, "v")
    assert set(pulse.call("KEYS", "*")) == names
    assert sorted(pulse.call("KEYS", "*o*")) == [b"four", b"one", b"two"]
    assert sorted(pulse.call("KEYS", "t[hw]*")) == [b"three", b"two"]
    assert pulse.call("KEYS", "") == [b""]
    assert pulse.call("KEYS", "none") == []


def test_keys_lists_thousands_of_names_once_each(pulse):
    names = [b"key:%d:%s" % (i, b"x" * (i % 50)) for i in range(5000)]
    pulse.call("MSET", *[word for name in names for word in (name, b"v")])
    assert sorted(pulse.call("KEYS", "*")) == sorted(names)


def scan_all(conn, *options):
    found, cursor, rounds = [], b"0", 0
    while rounds == 0 or cursor != b"0":
        cursor, names = conn.call("SCAN", cursor, *options)
        found += names
        rounds += 1
        assert rounds < 100_000
    return found


@pytest.mark.parametrize("count", [1, 7, 100, 5000, LATEST])
def test_a_scan_finds_every_key(pulse, count):
    names = [b"key:%d" % i for i in range(1000)]
    pulse.call("MSET", *[word for name in names for word in (name, b"v")])
    assert set(scan_all(pulse, "COUNT", count)) == set(names)


def test_a_scan_finds_what_is_there_from_beginning_to_end(pulse):
    stay = {b"stay:%d" % i for i in range(500)}
    for name in stay:
        pulse.call("SET", name, "v")
    found, cursor, i = set(), b"0", 0
    while i == 0 or cursor != b"0":
        cursor, names = pulse.call("SCAN", cursor, "COUNT", 5)
        found |= set(names)
        for n in range(20):
            pulse.call("SET", f"come:{i}:{n}", "v")
            pulse.call("DEL", f"come:{i - 3}:{n}")
        i += 1
    assert stay <= found


def test_a_scan_filters_by_pattern_and_type(pulse):
    pulse.call("MSET", "a1", 1, "a2", 2, "b1", 3)
    assert sorted(scan_all(pulse, "MATCH", "a*")) == [b"a1", b"a2"]
    assert sorted(scan_all(pulse, "TYPE", "STRING", "MATCH", "*1")) == [b"a1", b"b1"]
    assert scan_all(pulse, "TYPE", "hash") == []
    assert scan_all(pulse, "TYPE", "nosuchtype") == []
    assert scan_all(pulse, "MATCH", "") == []


def test_a_scan_does_not_show_what_is_over(pulse):
    pulse.call("SET", "k", "v", "PXAT", 1)
    assert pulse.call("SCAN", 0, "COUNT", 1000) == [b"0", []]


@pytest.mark.parametrize("cursor", [b"abc", b" 0", b"0 ", b"\t0", b"1x", b"18446744073709551616", b"9" * 100])
def test_a_cursor_that_is_no_number_is_refused(pulse, cursor):
    assert pulse.try_call("SCAN", cursor) == ReplyError("ERR invalid cursor")
    assert pulse.try_call("SCAN", cursor, "FOO") == ReplyError("ERR invalid cursor")


@pytest.mark.parametrize("cursor", [b"", b"+0", b"-0", b"00", b"0\0x"])
def test_a_cursor_may_be_written_strangely(pulse, cursor):
    pulse.call("SET", "k", "v")
    assert pulse.call("SCAN", cursor, "COUNT", 1000) == [b"0", [b"k"]]


def test_a_cursor_from_nowhere_is_taken(pulse):
    for cursor in (1, 12345, 2**47, 2**63, 2**64 - 1, -1):
        assert isinstance(pulse.call("SCAN", cursor), list)


def test_scan_says_what_is_wrong_with_its_options(pulse):
    for options in (("FOO",), ("MATCH",), ("COUNT", 0), ("COUNT", -1), ("COUNT",), ("COUNT", 0, "FOO")):
        assert pulse.try_call("SCAN", 0, *options) == WRONG_SYNTAX
    assert pulse.try_call("SCAN", 0, "COUNT", "abc") == NOT_INTEGER


def test_randomkey_names_a_key(pulse):
    assert pulse.call("RANDOMKEY") is None
    pulse.call("MSET", "a", 1, "b", 2)
    assert {pulse.call("RANDOMKEY") for _ in range(200)} == {b"a", b"b"}


# Moving

@pytest.mark.parametrize("value", [b"17", b"text", b"x" * 5000])
def test_rename_takes_value_and_end_along(pulse, value):
    pulse.call("SET", "a", value, "EX", 100)
    pulse.call("SET", "b", "old")
    assert pulse.call("RENAME", "a", "b") == "OK"
    assert pulse.call("GET", "b") == value
    assert 98 <= pulse.call("TTL", "b") <= 100
    assert pulse.call("EXISTS", "a") == 0


def test_a_renamed_key_has_no_end_when_it_had_none(pulse):
    pulse.call("SET", "a", "1")
    pulse.call("SET", "b", "2", "EX", 100)
    pulse.call("RENAME", "a", "b")
    assert pulse.call("TTL", "b") == -1


def test_an_edited_string_can_be_renamed_and_copied(pulse):
    pulse.call("SETRANGE", "a", 3000, "end")
    assert pulse.call("COPY", "a", "b") == 1
    pulse.call("APPEND", "a", "!")
    assert pulse.call("RENAME", "a", "c") == "OK"
    assert pulse.call("GET", "b") == bytes(3000) + b"end"
    assert pulse.call("GET", "c") == bytes(3000) + b"end!"


def test_rename_needs_a_key(pulse):
    for command in ("RENAME", "RENAMENX"):
        assert pulse.try_call(command, "none", "b") == ReplyError("ERR no such key")
        assert pulse.try_call(command, "none", "none") == ReplyError("ERR no such key")


def test_a_key_can_be_renamed_to_itself(pulse):
    pulse.call("SET", "a", "1")
    assert pulse.call("RENAME", "a", "a") == "OK"
    assert pulse.call("RENAMENX", "a", "a") == 0
    assert pulse.call("GET", "a") == b"1"


def test_renamenx_overwrites_nothing(pulse):
    pulse.call("MSET", "a", "1", "b", "2")
    assert pulse.call("RENAMENX", "a", "b") == 0
    assert pulse.call("RENAMENX", "a", "c") == 1
    assert pulse.call("MGET", "a", "b", "c") == [None, b"2", b"1"]


def test_copy_makes_a_second_one(pulse):
    pulse.call("SET", "a", "1", "EX", 100)
    assert pulse.call("COPY", "a", "b") == 1
    pulse.call("SET", "a", "2")
    assert pulse.call("GET", "b") == b"1"
    assert 98 <= pulse.call("TTL", "b") <= 100
    assert pulse.call("COPY", "a", "b") == 0
    assert pulse.call("COPY", "a", "b", "REPLACE") == 1
    assert pulse.call("GET", "b") == b"2"
    assert pulse.call("TTL", "b") == -1
    assert pulse.call("COPY", "none", "c") == 0


def test_copy_reaches_other_databases(pulse):
    pulse.call("SET", "a", "1")
    assert pulse.call("COPY", "a", "a", "DB", 3) == 1
    assert pulse.call("COPY", "a", "a", "DB", 3) == 0
    assert pulse.call("COPY", "a", "a", "REPLACE", "DB", 3) == 1
    pulse.call("SELECT", 3)
    assert pulse.call("GET", "a") == b"1"


def test_copy_says_what_is_wrong(pulse):
    pulse.call("SET", "a", "1")
    out_of_range = ReplyError("ERR value is out of range, value must between -2147483648 and 2147483647")
    assert pulse.try_call("COPY", "a", "a") == SAME
    assert pulse.try_call("COPY", "none", "none", "DB", 0) == SAME
    assert pulse.try_call("COPY", "a", "a", "DB", 99) == NO_SUCH_DB
    assert pulse.try_call("COPY", "a", "a", "DB", -1) == NO_SUCH_DB
    assert pulse.try_call("COPY", "a", "a", "DB", "abc") == NOT_INTEGER
    assert pulse.try_call("COPY", "a", "a", "DB", 2**31) == out_of_range
    assert pulse.try_call("COPY", "a", "b", "DB") == WRONG_SYNTAX
    assert pulse.try_call("COPY", "a", "b", "FOO") == WRONG_SYNTAX


def test_move_takes_a_key_to_another_database(pulse):
    pulse.call("SET", "k", "v", "EX", 100)
    assert pulse.call("MOVE", "k", 1) == 1
    assert pulse.call("MOVE", "k", 1) == 0
    assert pulse.call("EXISTS", "k") == 0
    pulse.call("SET", "k", "w")
    assert pulse.call("MOVE", "k", 1) == 0  # there is one already
    pulse.call("SELECT", 1)
    assert pulse.call("GET", "k") == b"v"
    assert 98 <= pulse.call("TTL", "k") <= 100


def test_move_says_what_is_wrong(pulse):
    assert pulse.try_call("MOVE", "none", 0) == SAME
    assert pulse.try_call("MOVE", "none", 99) == NO_SUCH_DB
    assert pulse.try_call("MOVE", "none", -1) == NO_SUCH_DB
    assert pulse.try_call("MOVE", "none", "abc") == NOT_INTEGER
    assert pulse.try_call("MOVE", "none", 2**31) == ReplyError(
        "ERR value is out of range, value must between -2147483648 and 2147483647")


# What counts as a change

def unbroken(pulse, other, key, *command):
    pulse.call("WATCH", key)
    other.try_call(*command)
    pulse.call("MULTI")
    pulse.call("PING")
    return pulse.call("EXEC") is not None


@pytest.mark.parametrize("command", [
    "DEL none", "RENAME k k", "RENAMENX k l", "COPY k l", "COPY l k", "PERSIST k", "EXPIRE k 100 XX", "EXPIRE k abc",
    "TOUCH k", "EXISTS k", "MOVE k 0", "COPY k other"])
def test_a_command_that_changes_nothing_breaks_no_watch(pulse, other, command):
    pulse.call("MSET", "k", "v", "l", "v")
    assert unbroken(pulse, other, "k", *command.split())


@pytest.mark.parametrize("command", [
    "DEL k", "UNLINK k", "RENAME k other", "RENAME l k", "COPY l k REPLACE", "EXPIRE k 100", "EXPIRE k -1", "MOVE k 1"])
def test_a_command_that_changes_the_key_breaks_a_watch(pulse, other, command):
    pulse.call("MSET", "k", "v", "l", "v")
    assert not unbroken(pulse, other, "k", *command.split())


def test_setting_the_same_end_again_breaks_a_watch(pulse, other):
    pulse.call("SET", "k", "v", "PXAT", 9999999999999)
    assert not unbroken(pulse, other, "k", "PEXPIREAT", "k", 9999999999999)
    assert not unbroken(pulse, other, "k", "PERSIST", "k")
