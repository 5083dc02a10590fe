"""DUMP and RESTORE, both ways between this server and Debian's redis-server; and what a damaged payload does."""
import os
import random
import struct
import time

import pytest

from resp import ReplyError

SYNTAX = ReplyError("ERR syntax error")
NOT_INTEGER = ReplyError("ERR value is not an integer or out of range")
BUSY = ReplyError("BUSYKEY Target key name already exists.")
WRONG = ReplyError("ERR DUMP payload version or checksum are wrong")
BAD = ReplyError("ERR Bad data format")

POLYNOMIAL = 0x95ac9329ac4bc9b5


def crc64(data):
    """As Redis has it, bit by bit: the reference for what the server computes eight bytes at a time."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ POLYNOMIAL if crc & 1 else crc >> 1
    return crc


def payload(body, version=10):
    body += struct.pack("<H", version)
    return body + struct.pack("<Q", crc64(body))


def texts():
    chance = random.Random(7)
    yield from (b"", b"0", b"-1", b"127", b"128", b"-129", b"32768", b"2147483647", b"-2147483648", b"2147483648",
                b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"01", b"+1", b" 1", b"1.5",
                b"hello", b"a\0b\r\n\xff", b"a" * 20, b"a" * 21, b"ab" * 40, b"x" * 1024, b"x" * 1025)
    for size in (1, 63, 64, 1000, 16383, 16384, 70000):
        yield chance.randbytes(size)
        yield bytes(chance.choice(b"abcd") for _ in range(size))
    yield b"pulse" * 300000


def test_the_reference_is_right():
    assert crc64(b"123456789") == 0xe9c6d914c4b8d9ca


def test_what_redis_dumps_is_restored_here(both, redis_ref):
    for text in texts():
        redis_ref.call("SET", "k", text)
        assert both.call("RESTORE", "k", 0, redis_ref.call("DUMP", "k"), "REPLACE") == "OK"
        assert both.call("GET", "k") == text
        assert both.call("OBJECT", "ENCODING", "k") == redis_ref.call("OBJECT", "ENCODING", "k"), text[:50]


def test_what_is_dumped_here_redis_restores(both, redis_ref):
    for text in texts():
        both.call("SET", "k", text)
        assert redis_ref.call("RESTORE", "k", 0, both.call("DUMP", "k"), "REPLACE") == "OK"
        assert redis_ref.call("GET", "k") == text


def test_an_edited_string_is_dumped_as_it_is(both, redis_ref):
    both.call("SET", "k", "12")
    both.call("APPEND", "k", "34")
    assert redis_ref.call("RESTORE", "k", 0, both.call("DUMP", "k")) == "OK"
    assert redis_ref.call("GET", "k") == b"1234"
    both.call("SETRANGE", "k", 100000, "end")
    assert redis_ref.call("RESTORE", "k", 0, both.call("DUMP", "k"), "REPLACE") == "OK"
    assert redis_ref.call("GET", "k") == b"1234" + bytes(100000 - 4) + b"end"


def test_short_strings_are_dumped_to_the_byte(both, redis_ref):
    for text in texts():
        if len(text) > 20:  # longer ones are compressed, by another compressor
            continue
        for conn in both, redis_ref:
            conn.call("SET", "k", text)
        assert both.call("DUMP", "k") == redis_ref.call("DUMP", "k")


def test_a_key_that_is_not_there_has_no_dump(both):
    assert both.call("DUMP", "none") is None


def test_a_dump_says_nothing_of_the_end(both):
    both.call("SET", "k", "v", "EX", 100)
    assert both.call("RESTORE", "copy", 0, both.call("DUMP", "k")) == "OK"
    assert both.call("TTL", "copy") == -1


def test_an_end_is_given_from_now_or_as_an_instant(both):
    dump = payload(b"\0\1v")
    assert both.call("RESTORE", "k", 100000, dump) == "OK"
    assert 99000 < both.call("PTTL", "k") <= 100000
    at = int(time.time() * 1000) + 50000
    assert both.call("RESTORE", "k", at, dump, "REPLACE", "ABSTTL") == "OK"
    assert both.call("PEXPIRETIME", "k") == at


def test_an_end_that_no_clock_can_tell_is_refused(both):
    """Redis wraps it round, and the key is over at once."""
    for name in "RESTORE", "RESTORE-ASKING":
        expected = ReplyError(f"ERR invalid expire time in '{name.lower()}' command")
        assert both.try_call(name, "k", 2 ** 63 - 1, payload(b"\0\1v")) == expected
    assert both.call("RESTORE", "k", 2 ** 63 - 1, payload(b"\0\1v"), "ABSTTL") == "OK"
    assert both.call("PEXPIRETIME", "k") == 2 ** 63 - 1


def test_an_end_that_is_over_leaves_no_key(both):
    dump = payload(b"\0\1v")
    assert both.call("RESTORE", "k", 1, dump, "ABSTTL") == "OK"
    assert both.call("EXISTS", "k") == 0
    both.call("SET", "k", "old")
    assert both.call("RESTORE", "k", 1, dump, "ABSTTL", "REPLACE") == "OK"
    assert both.call("EXISTS", "k") == 0


def test_a_key_that_is_there_is_busy(both):
    both.call("SET", "k", "old", "EX", 100)
    assert both.try_call("RESTORE", "k", 0, payload(b"\0\1v")) == BUSY
    assert both.call("GET", "k") == b"old"
    assert both.call("RESTORE", "k", 0, payload(b"\0\1v"), "replace") == "OK"
    assert both.call("GET", "k") == b"v"
    assert both.call("TTL", "k") == -1


def test_options_are_read_as_redis_reads_them(both, redis_ref):
    good = payload(b"\0\1v")
    calls = [["k", 0, good, *words] for words in (
        ["IDLETIME", 5], ["FREQ", 5], ["IDLETIME", 5, "IDLETIME", 6], ["FREQ", 0, "FREQ", 255, "REPLACE"],
        ["IDLETIME", -1], ["FREQ", -1], ["FREQ", 256], ["IDLETIME", "x"], ["FREQ", "x"], ["IDLETIME"], ["FREQ"],
        ["IDLETIME", 5, "FREQ", 5], ["FREQ", 5, "IDLETIME", 5], ["REPLACE", "REPLACE"], ["ABSTTL"],
        ["NOSUCH"], ["1"])]
    calls += [["k", ttl, good, "REPLACE"] for ttl in (0, 1000, -1, "x", "", "1.5", "9223372036854775808")]
    calls += [["k", 0, bad, "REPLACE"] for bad in ("", "x", good[:-1], good + b"x", payload(b""), payload(b"\0"),
                                                    payload(b"\0\1v", 99), payload(b"\xfe\0"))]
    calls += [["busy", -1, "x"], ["busy", "x", good], ["busy", 0, "x"], ["k", -1, "x"], ["k"], ["k", 0]]
    for conn in both, redis_ref:
        conn.call("SET", "busy", "old")
    for call in calls:
        for name in "RESTORE", "RESTORE-ASKING":
            for conn in both, redis_ref:
                conn.call("DEL", "k")
            assert both.try_call(name, *call) == redis_ref.try_call(name, *call), call
            assert both.call("GET", "k") == redis_ref.call("GET", "k"), call


def test_every_flipped_bit_is_refused_and_changes_nothing(both, redis_ref):
    redis_ref.call("SET", "k", "abcabcabc" * 5)
    for good in redis_ref.call("DUMP", "k"), payload(b"\0\1v", 80), payload(b"\0\xc1\x10\x20", 11):
        both.call("SET", "kept", "old")
        flipped = []
        for bit in range(len(good) * 8):
            data = bytearray(good)
            data[bit // 8] ^= 1 << bit % 8
            flipped.append(bytes(data))
        calls = [("RESTORE", key, 0, data, "REPLACE") for data in flipped for key in ("kept", "new")]
        assert both.pipeline(*calls) == [WRONG] * len(calls)
        assert both.call("GET", "kept") == b"old"
        assert both.call("EXISTS", "new") == 0
        assert both.call("RESTORE", "kept", 0, good, "REPLACE") == "OK"


def test_a_value_that_lies_is_refused(both):
    # The first of them Redis takes: it reads on into what is the payload's end.
    for body in (b"\0\2v", b"\0\x80\xff\xff\xff\xff", b"\0\x81" + b"\xff" * 8,
                 b"\0\xc3\x01\x80\x1f\xff\xff\xff\0", b"\0\xc3\0\x01", b"\0\xc4\0", b"\0\xc3\x05\x1e\0z\xe0\x15\0",
                 b"\0\1vv", b"\x08", b"\xff"):
        assert both.try_call("RESTORE", "k", 0, payload(body)) == BAD, body
    assert both.call("EXISTS", "k") == 0
    assert both.call("RESTORE", "k", 0, payload(b"\0\xc3\x05\x1e\0z\xe0\x14\0")) == "OK"
    assert both.call("GET", "k") == b"z" * 30


NOT_BUILT = [
    (["RPUSH", "k", "a"], "a list (type 18)"),
    (["SADD", "k", "a"], "a set (type 2)"),
    (["SADD", "k", "1"], "a set (type 11)"),
    (["ZADD", "k", "1", "a"], "a sorted set (type 17)"),
    (["HSET", "k", "f", "v"], "a hash (type 16)"),
    (["XADD", "k", "1-1", "f", "v"], "a stream (type 19)"),
]


@pytest.mark.parametrize("make,what", NOT_BUILT, ids=[make[0].lower() for make, _ in NOT_BUILT])
def test_a_type_that_is_not_built_is_refused_by_its_name(both, redis_ref, make, what):
    if not isinstance(both.try_call(*make), ReplyError):
        pytest.skip("it is built by now")
    redis_ref.call(*make)
    expected = ReplyError(f"ERR the payload is {what}, which this version cannot hold yet")
    assert both.try_call("RESTORE", "k", 0, redis_ref.call("DUMP", "k")) == expected


def test_versions_of_redis_and_of_valkey_are_told_apart(both):
    for version in 1, 6, 9, 11, 12, 80:
        assert both.call("RESTORE", "k", 0, payload(b"\0\1v", version), "REPLACE") == "OK"
    for version in 13, 79, 81, 65535:
        assert both.try_call("RESTORE", "k", 0, payload(b"\0\1v", version), "REPLACE") == WRONG
    assert "a hash whose fields end (type 23)" in str(both.try_call("RESTORE", "n", 0, payload(b"\x17\0", 12)))
    assert both.try_call("RESTORE", "n", 0, payload(b"\x17\0", 80)) == BAD  # Valkey has no such type


def test_a_restore_is_a_version_of_its_own(both):
    both.call("SET", "k", "old")
    both.call("RESTORE", "k", 0, payload(b"\0\3new"), "REPLACE")
    assert both.call("HIST", "k", 2)[1::2] == [b"new", b"old"]
    assert b"restore" in repr(both.call("HIST", "k", 1, "WITHMETA")).encode()


def test_what_was_can_be_dumped(both):
    both.call("SET", "k", "old")
    dump = both.call("DUMP", "k")
    time.sleep(0.003)
    both.call("SET", "k", "new")
    born = both.call("HIST", "k", 2)[2]
    assert both.call("AT", born, "DUMP", "k") == dump
    assert both.call("DUMP", "k") != dump


def test_many_values_go_round(both, redis_ref):
    seed = int.from_bytes(os.urandom(4), "little")
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(300):
        size = int(chance.paretovariate(0.6)) % 50000
        text = chance.choice((chance.randbytes, lambda n: bytes(chance.choices(b"ab", k=n)),
                              lambda n: str(chance.randrange(-10 ** (n % 20), 10 ** (n % 20))).encode()))(size)
        both.call("SET", "k", text)
        redis_ref.call("RESTORE", "k", 0, both.call("DUMP", "k"), "REPLACE")
        assert redis_ref.call("GET", "k") == text
        both.call("RESTORE", "back", 0, redis_ref.call("DUMP", "k"), "REPLACE")
        assert both.call("GET", "back") == text
