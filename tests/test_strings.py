"""Strings as a client sees them."""
import time

import pytest

from resp import Conn, ReplyError

WRONG_SYNTAX = ReplyError("ERR syntax error")
NOT_INTEGER = ReplyError("ERR value is not an integer or out of range")
NOT_FLOAT = ReplyError("ERR value is not a valid float")
TOO_LONG = ReplyError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")


def ended(command):
    return ReplyError(f"ERR invalid expire time in '{command}' command")


@pytest.fixture
def other(pulse, pulse_port):
    with Conn(pulse_port) as conn:
        yield conn


def changes_nothing_watched(pulse, other, key, *command):
    """Whether a transaction that watches `key` goes through although `command` came between."""
    pulse.call("WATCH", key)
    other.try_call(*command)
    pulse.call("MULTI")
    pulse.call("PING")
    return pulse.call("EXEC") is not None


# SET

def test_what_is_set_can_be_got(pulse):
    for value in (b"", b"foo", b"\x00\xff\r\n", b"x" * 63, b"x" * 1024, b"x" * 1025, b"x" * 100_000, b"10", b"-1",
                  b"01", b"+1", b" 1", b"-0", b"9223372036854775807", b"9223372036854775808"):
        assert pulse.call("SET", "k", value) == "OK"
        assert pulse.call("GET", "k") == value
        assert pulse.call("STRLEN", "k") == len(value)


def test_a_missing_key_reads_as_null(pulse):
    assert pulse.call("GET", "none") is None
    assert pulse.call("STRLEN", "none") == 0


def test_set_nx_sets_only_a_key_that_does_not_exist(pulse):
    assert pulse.call("SET", "k", "1", "NX") == "OK"
    assert pulse.call("SET", "k", "2", "NX") is None
    assert pulse.call("GET", "k") == b"1"


def test_set_xx_sets_only_a_key_that_exists(pulse):
    assert pulse.call("SET", "k", "1", "XX") is None
    assert pulse.call("EXISTS", "k") == 0
    pulse.call("SET", "k", "1")
    assert pulse.call("SET", "k", "2", "xx") == "OK"
    assert pulse.call("GET", "k") == b"2"


def test_set_get_answers_the_old_value_whether_it_sets_or_not(pulse):
    assert pulse.call("SET", "k", "1", "GET") is None
    assert pulse.call("SET", "k", "2", "GET") == b"1"
    assert pulse.call("SET", "k", "3", "NX", "GET") == b"2"
    assert pulse.call("GET", "k") == b"2"
    assert pulse.call("SET", "none", "3", "XX", "GET") is None
    assert pulse.call("EXISTS", "none") == 0


@pytest.mark.parametrize("value", [b"short", b"y" * 900, b"y" * 20_000])
def test_set_get_answers_old_bytes_of_any_size(pulse, value):
    pulse.call("SET", "k", value)
    assert pulse.call("SET", "k", b"n" * 20_000, "GET") == value
    assert pulse.call("GETSET", "k", b"m") == b"n" * 20_000


def test_set_takes_the_time_to_live_away_unless_told_to_keep_it(pulse):
    pulse.call("SET", "k", "1", "EX", 100)
    pulse.call("SET", "k", "2", "KEEPTTL")
    assert 98 <= pulse.call("TTL", "k") <= 100
    pulse.call("SET", "k", "3")
    assert pulse.call("TTL", "k") == -1
    assert pulse.call("SET", "new", "1", "KEEPTTL") == "OK"
    assert pulse.call("TTL", "new") == -1


def test_set_takes_an_end_in_four_forms(pulse):
    now = time.time()
    for option, number in (("EX", 100), ("PX", 100_000), ("EXAT", int(now) + 100), ("PXAT", int(now * 1000) + 100_000)):
        assert pulse.call("SET", "k", "v", option, number) == "OK"
        assert 97_000 <= pulse.call("PTTL", "k") <= 100_000


def test_a_key_set_to_end_in_the_past_is_gone(pulse):
    assert pulse.call("SET", "k", "v", "PXAT", 1) == "OK"
    assert pulse.call("GET", "k") is None


def test_the_last_of_a_repeated_option_counts(pulse):
    assert pulse.call("SET", "k", "v", "EX", 10, "EX", 2000) == "OK"
    assert pulse.call("TTL", "k") > 1990
    assert pulse.call("SET", "k", "v", "KEEPTTL", "KEEPTTL") == "OK"


@pytest.mark.parametrize("options", [
    "NX XX", "XX NX", "EX 10 PX 10", "EX 10 KEEPTTL", "KEEPTTL EX 10", "EX", "PERSIST", "FOO", "EX abc NX XX", "EX 0 FOO"])
def test_set_refuses_options_that_do_not_go_together(pulse, options):
    assert pulse.try_call("SET", "k", "v", *options.split()) == WRONG_SYNTAX
    assert pulse.call("EXISTS", "k") == 0


@pytest.mark.parametrize("option, number", [
    ("EX", 0), ("EX", -1), ("PX", 0), ("EXAT", 0), ("PXAT", -5), ("EX", 9223372036854775), ("EX", 9223372036854776),
    ("EXAT", 9223372036854776), ("PX", 9223372036854775807), ("EX", -9223372036854775808)])
def test_set_refuses_an_impossible_end(pulse, option, number):
    assert pulse.try_call("SET", "k", "v", option, number) == ended("set")
    assert pulse.call("EXISTS", "k") == 0


@pytest.mark.parametrize("number", ["abc", "", "1.5", " 1", "01", "9223372036854775808"])
def test_set_refuses_an_end_that_is_no_number(pulse, number):
    assert pulse.try_call("SET", "k", "v", "EX", number) == NOT_INTEGER


def test_the_latest_end_is_the_largest_number(pulse):
    assert pulse.call("SET", "k", "v", "PXAT", 9223372036854775807) == "OK"
    assert pulse.call("PEXPIRETIME", "k") == 9223372036854775807
    assert pulse.call("EXPIRETIME", "k") == 9223372036854776


def test_the_older_forms_of_set(pulse):
    assert pulse.call("SETNX", "a", "1") == 1
    assert pulse.call("SETNX", "a", "2") == 0
    assert pulse.call("SETEX", "b", 100, "v") == "OK"
    assert pulse.call("PSETEX", "c", 100_000, "v") == "OK"
    assert 98 <= pulse.call("TTL", "b") <= 100
    assert 98 <= pulse.call("TTL", "c") <= 100
    assert pulse.call("GETSET", "b", "w") == b"v"
    assert pulse.call("TTL", "b") == -1
    assert pulse.call("GETSET", "d", "w") is None
    assert pulse.try_call("SETEX", "k", 0, "v") == ended("setex")
    assert pulse.try_call("PSETEX", "k", -1, "v") == ended("psetex")
    assert pulse.try_call("SETEX", "k", "abc", "v") == NOT_INTEGER


def test_mset_sets_all_and_the_last_of_a_key_named_twice(pulse):
    assert pulse.call("MSET", "a", "1", "b", "2", "a", "3", "c", b"z" * 70_000) == "OK"
    assert pulse.call("MGET", "a", "none", "b", "a", "c") == [b"3", None, b"2", b"3", b"z" * 70_000]
    assert pulse.try_call("MSET", "a", "1", "b") == ReplyError("ERR wrong number of arguments for 'mset' command")


def test_msetnx_sets_all_or_nothing(pulse):
    assert pulse.call("MSETNX", "a", "1", "b", "2") == 1
    assert pulse.call("MSETNX", "c", "1", "b", "3") == 0
    assert pulse.call("EXISTS", "c") == 0


def test_mset_takes_times_to_live_away(pulse):
    pulse.call("SET", "a", "1", "EX", 100)
    pulse.call("MSET", "a", "2")
    assert pulse.call("TTL", "a") == -1


# GET and its sisters

def test_getdel_answers_and_deletes(pulse):
    pulse.call("SET", "k", b"v" * 20_000)
    assert pulse.call("GETDEL", "k") == b"v" * 20_000
    assert pulse.call("EXISTS", "k") == 0
    assert pulse.call("GETDEL", "k") is None


def test_getex_changes_the_end(pulse):
    pulse.call("SET", "k", "v")
    assert pulse.call("GETEX", "k") == b"v"
    assert pulse.call("TTL", "k") == -1
    assert pulse.call("GETEX", "k", "EX", 100) == b"v"
    assert 98 <= pulse.call("TTL", "k") <= 100
    assert pulse.call("GETEX", "k", "PERSIST") == b"v"
    assert pulse.call("TTL", "k") == -1
    assert pulse.call("GETEX", "k", "PXAT", 1) == b"v"
    assert pulse.call("EXISTS", "k") == 0


def test_getex_looks_for_the_key_before_it_looks_at_the_time(pulse):
    assert pulse.call("GETEX", "none", "EX", 0) is None
    assert pulse.call("GETEX", "none", "EX", "abc") is None
    assert pulse.try_call("GETEX", "none", "EX", 0, "FOO") == WRONG_SYNTAX
    pulse.call("SET", "k", "v")
    assert pulse.try_call("GETEX", "k", "EX", 0) == ended("getex")
    assert pulse.try_call("GETEX", "k", "PERSIST", "EX", 10) == WRONG_SYNTAX
    assert pulse.try_call("GETEX", "k", "KEEPTTL") == WRONG_SYNTAX


@pytest.mark.parametrize("start, end, part", [
    (0, -1, b"Hello"), (1, 3, b"ell"), (-3, -1, b"llo"), (0, 100, b"Hello"), (5, 10, b""), (3, 1, b""), (-1, -3, b""),
    (-100, -50, b"H"), (0, -6, b"H"), (0, -9223372036854775808, b"H"), (-9223372036854775808, 9223372036854775807, b"Hello")])
@pytest.mark.parametrize("command", ["GETRANGE", "SUBSTR"])
def test_a_range_counts_from_either_end(pulse, command, start, end, part):
    pulse.call("SET", "k", "Hello")
    assert pulse.call(command, "k", start, end) == part


def test_a_range_of_other_things_than_short_texts(pulse):
    pulse.call("SET", "n", "-12345")
    assert pulse.call("GETRANGE", "n", 0, 2) == b"-12"
    pulse.call("SET", "empty", "")
    assert pulse.call("GETRANGE", "empty", 0, -1) == b""
    assert pulse.call("GETRANGE", "none", 0, -1) == b""
    pulse.call("SET", "big", bytes(range(256)) * 1000)
    assert pulse.call("GETRANGE", "big", 255, 100_000) == (bytes(range(256)) * 1000)[255:100_001]
    assert pulse.try_call("GETRANGE", "none", "a", 1) == NOT_INTEGER


# Counters

def test_a_counter_counts_from_zero(pulse):
    assert pulse.call("INCR", "n") == 1
    assert pulse.call("INCRBY", "n", 41) == 42
    assert pulse.call("DECR", "n") == 41
    assert pulse.call("DECRBY", "n", 50) == -9
    assert pulse.call("GET", "n") == b"-9"


def test_a_counter_keeps_its_time_to_live(pulse):
    pulse.call("SET", "n", "1", "EX", 100)
    pulse.call("INCR", "n")
    assert 98 <= pulse.call("TTL", "n") <= 100
    pulse.call("INCRBYFLOAT", "n", "0.5")
    assert 98 <= pulse.call("TTL", "n") <= 100


def test_an_overflow_changes_nothing(pulse):
    pulse.call("SET", "n", 9223372036854775807)
    assert pulse.try_call("INCR", "n") == ReplyError("ERR increment or decrement would overflow")
    assert pulse.try_call("DECRBY", "n", -9223372036854775808) == ReplyError("ERR decrement would overflow")
    assert pulse.call("GET", "n") == b"9223372036854775807"


@pytest.mark.parametrize("value", ["", "abc", "1.5", " 1", "01", "-0", "+1", "9223372036854775808"])
def test_only_a_canonical_number_counts(pulse, value):
    pulse.call("SET", "n", value)
    assert pulse.try_call("INCR", "n") == NOT_INTEGER
    assert pulse.try_call("INCRBY", "fresh", value) == NOT_INTEGER


def test_a_number_put_together_counts(pulse):
    pulse.call("APPEND", "n", "1")
    pulse.call("APPEND", "n", "2")
    assert pulse.call("INCR", "n") == 13


@pytest.mark.parametrize("value, increment, result", [
    ("10.50", "0.1", b"10.6"), ("5.0e3", "2.0e2", b"5200"), ("3", "0", b"3"), ("1.5", "-1.5", b"0"),
    ("5", "17.000000000000001", b"22.000000000000001"), ("1", "0x1p3", b"9"), ("0", "1e10", b"10000000000")])
def test_fractions_add_up(pulse, value, increment, result):
    pulse.call("SET", "f", value)
    assert pulse.call("INCRBYFLOAT", "f", increment) == result
    assert pulse.call("GET", "f") == result


def test_a_fraction_of_thousands_of_digits_can_be_added_to(pulse):
    long = pulse.call("INCRBYFLOAT", "f", "1e4000")
    assert len(long) == 4000 or len(long) == 4001
    assert pulse.call("INCRBYFLOAT", "f", "0") == long


def test_what_is_no_fraction_is_refused(pulse):
    pulse.call("SET", "f", "1.5")
    for wrong in ("abc", "", " 1", "1 ", "nan"):
        assert pulse.try_call("INCRBYFLOAT", "f", wrong) == NOT_FLOAT
    assert pulse.try_call("INCRBYFLOAT", "f", "inf") == ReplyError("ERR increment would produce NaN or Infinity")
    assert pulse.call("GET", "f") == b"1.5"


# APPEND, SETRANGE

def test_append_adds_at_the_end(pulse):
    assert pulse.call("APPEND", "k", "Hello") == 5
    assert pulse.call("APPEND", "k", " World") == 11
    assert pulse.call("APPEND", "k", "") == 11
    assert pulse.call("GET", "k") == b"Hello World"
    assert pulse.call("APPEND", "empty", "") == 0
    assert pulse.call("EXISTS", "empty") == 1


def test_a_string_grows_by_many_appends(pulse):
    whole = b""
    for i in range(500):
        whole += b"%d," % i * (i % 7)
        assert pulse.call("APPEND", "k", b"%d," % i * (i % 7)) == len(whole)
    assert pulse.call("GET", "k") == whole


def test_setrange_overwrites_and_fills_up_with_zeros(pulse):
    pulse.call("SET", "k", "Hello World")
    assert pulse.call("SETRANGE", "k", 6, "Redis") == 11
    assert pulse.call("GET", "k") == b"Hello Redis"
    assert pulse.call("SETRANGE", "n", 5, "x") == 6
    assert pulse.call("GET", "n") == b"\x00\x00\x00\x00\x00x"
    pulse.call("SET", "i", 12345)
    assert pulse.call("SETRANGE", "i", 1, "99") == 5
    assert pulse.call("INCR", "i") == 19946
    assert pulse.call("SETRANGE", "big", 50_000, "end") == 50_003
    assert pulse.call("GET", "big") == bytes(50_000) + b"end"


def test_setrange_of_nothing_creates_and_changes_nothing(pulse):
    assert pulse.call("SETRANGE", "k", 5, "") == 0
    assert pulse.call("EXISTS", "k") == 0
    pulse.call("SET", "k", "abc")
    assert pulse.call("SETRANGE", "k", 9223372036854775807, "") == 3


def test_edits_keep_the_time_to_live(pulse):
    pulse.call("SET", "k", "abc", "EX", 100)
    pulse.call("APPEND", "k", "d")
    pulse.call("SETRANGE", "k", 0, "x")
    assert 98 <= pulse.call("TTL", "k") <= 100


def test_a_string_cannot_grow_past_the_limit(pulse):
    pulse.call("SET", "k", "abc")
    for offset in (536870912, 4294967296, 9223372036854775807):
        assert pulse.try_call("SETRANGE", "k", offset, "x") == TOO_LONG
        assert pulse.try_call("SETRANGE", "none", offset, "x") == TOO_LONG
    assert pulse.try_call("SETRANGE", "k", -1, "x") == ReplyError("ERR offset is out of range")
    assert pulse.try_call("SETRANGE", "k", "abc", "x") == NOT_INTEGER
    assert pulse.call("GET", "k") == b"abc"
    assert pulse.call("EXISTS", "none") == 0


# LCS

def test_lcs_finds_what_two_strings_share(pulse):
    pulse.call("MSET", "a", "ohmytext", "b", "mynewtext")
    assert pulse.call("LCS", "a", "b") == b"mytext"
    assert pulse.call("LCS", "a", "b", "LEN") == 6
    assert pulse.call("LCS", "a", "b", "IDX") == [b"matches", [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], b"len", 6]
    assert pulse.call("LCS", "a", "b", "IDX", "MINMATCHLEN", 4, "WITHMATCHLEN") == [
        b"matches", [[[4, 7], [5, 8], 4]], b"len", 6]
    assert pulse.call("LCS", "a", "a", "IDX", "MINMATCHLEN", -5) == [b"matches", [[[0, 7], [0, 7]]], b"len", 8]


def test_lcs_answers_a_map_in_resp3(pulse, other):
    pulse.call("MSET", "a", "ohmytext", "b", "mynewtext")
    other.call("HELLO", 3)
    assert other.call("LCS", "a", "b", "IDX", "MINMATCHLEN", 3) == {b"matches": [[[4, 7], [5, 8]]], b"len": 6}


def test_lcs_takes_a_missing_key_for_an_empty_string(pulse):
    pulse.call("SET", "a", 12345)
    assert pulse.call("LCS", "a", "none") == b""
    assert pulse.call("LCS", "none", "a", "IDX") == [b"matches", [], b"len", 0]
    assert pulse.call("LCS", "a", "a") == b"12345"


def test_lcs_refuses_what_makes_no_sense(pulse):
    assert pulse.try_call("LCS", "a", "b", "LEN", "IDX") == ReplyError(
        "ERR If you want both the length and indexes, please just use IDX.")
    assert pulse.try_call("LCS", "a", "b", "FOO") == WRONG_SYNTAX
    assert pulse.try_call("LCS", "a", "b", "MINMATCHLEN") == WRONG_SYNTAX
    assert pulse.try_call("LCS", "a", "b", "MINMATCHLEN", "x") == NOT_INTEGER


def test_lcs_bounds_its_table(pulse):
    pulse.call("MSET", "a", b"a" * 12_000, "b", b"b" * 12_000)
    for options in ((), ("LEN",), ("IDX",)):
        assert pulse.try_call("LCS", "a", "b", *options) == ReplyError(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")


# What counts as a change

@pytest.mark.parametrize("command", [
    "SET k v2 NX", "SET none v XX", "SETNX k v2", "MSETNX k v2 b 1", "GETEX k", "GETEX k PERSIST", "SETRANGE k 0 ",
    "INCR k", "INCRBYFLOAT k x", "GET k", "SET k v FOO"])
def test_a_command_that_changes_nothing_breaks_no_watch(pulse, other, command):
    pulse.call("SET", "k", "v")
    assert changes_nothing_watched(pulse, other, "k", *command.split(" "))


@pytest.mark.parametrize("command", [
    "SET k v", "SET k v KEEPTTL", "SET k v GET", "GETSET k v", "MSET a 1 k v", "GETEX k EX 100", "GETDEL k", "APPEND k ",
    "SETRANGE k 0 v", "SETEX k 100 v"])
def test_a_command_that_writes_breaks_a_watch_even_if_the_value_stays(pulse, other, command):
    pulse.call("SET", "k", "v")
    assert not changes_nothing_watched(pulse, other, "k", *command.split(" "))


def test_adding_nothing_to_a_counter_breaks_a_watch(pulse, other):
    pulse.call("SET", "n", 5)
    assert not changes_nothing_watched(pulse, other, "n", "INCRBY", "n", 0)
    assert not changes_nothing_watched(pulse, other, "n", "INCRBYFLOAT", "n", 0)
