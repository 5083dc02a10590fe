"""WAIT and WAITAOF, CLIENT UNBLOCK, and what stands behind a command that waits. How waiters for keys are called is
src/server/block_test.c's."""
import pytest

from resp import Conn, ReplyError, encode
from waiting import eventually


def blocked(conn):
    text = conn.call("INFO", "clients").decode()
    return int(next(line for line in text.splitlines() if line.startswith("blocked_clients:")).split(":")[1])


def send(conn, *calls):
    conn.send_raw(b"".join(encode(*call) for call in calls))


def test_wait_answers_that_no_replica_has_it_when_its_time_is_over(pulse, redis_ref):
    for words in (["WAIT", "0", "0"], ["WAIT", "1", "20"], ["WAIT", "-1", "5"], ["WAIT", "x", "1"], ["WAIT", "1", "x"],
                  ["WAIT", "1", "-1"], ["WAIT", "1"]):
        assert pulse.try_call(*words) == redis_ref.try_call(*words), words


def test_wait_in_a_transaction_does_not_wait(both):
    assert both.pipeline(("MULTI",), ("WAIT", "1", "0"), ("PING",), ("EXEC",))[-1] == [0, "PONG"]


def test_what_follows_a_command_that_waits_is_answered_after_it(both, other):
    both.call("SET", "k", "before")
    send(both, ("WAIT", "1", "60000"), ("GET", "k"), ("PING",))
    eventually(lambda: blocked(other) == 1)
    other.call("SET", "k", "after")
    line = next(line for line in other.call("CLIENT", "LIST").decode().splitlines() if " cmd=client" not in line and "flags=b" in line)
    ident = dict(pair.split("=", 1) for pair in line.split())["id"]
    assert other.call("CLIENT", "UNBLOCK", ident) == 1
    assert [both.read() for _ in range(3)] == [0, b"after", "PONG"]
    assert blocked(other) == 0
    assert other.call("CLIENT", "UNBLOCK", ident) == 0


def test_unblock_with_an_error_is_an_error(both, other):
    ident = both.call("CLIENT", "ID")
    send(both, ("WAIT", "1", "0"), ("PING",))
    eventually(lambda: blocked(other) == 1)
    assert other.call("CLIENT", "UNBLOCK", ident, "ERROR") == 1
    assert both.read() == ReplyError("UNBLOCKED client unblocked via CLIENT UNBLOCK")
    assert both.read() == "PONG"


def test_a_peer_that_closes_while_it_waits_is_gone(pulse_port, other):
    with Conn(pulse_port) as conn:
        send(conn, ("WAIT", "1", "0"))
        eventually(lambda: blocked(other) == 1)
    eventually(lambda: blocked(other) == 0)


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_waitaof_answers_when_the_log_is_on_the_disk(pulse_server, policy):
    server = pulse_server("--appendfsync", policy)
    with server.conn() as conn:
        conn.call("SET", "k", "v")
        assert conn.call("WAITAOF", "1", "0", "0") == [1, 0]
        assert conn.call("WAITAOF", "0", "0", "0") in ([0, 0], [1, 0])
        for i in range(5):
            conn.call("SET", "k", i)
            assert conn.pipeline(("WAITAOF", "1", "0", "60000"), ("GET", "k")) == [[1, 0], b"%d" % i]
        conn.call("SET", "k", "last")
        assert conn.call("WAITAOF", "1", "1", "10")[1] == 0  # there are no replicas
        assert conn.pipeline(("MULTI",), ("WAITAOF", "1", "1", "0"), ("EXEC",))[-1][0][1] == 0


def test_waitaof_without_a_log_is_refused(pulse_server):
    server = pulse_server("--appendonly", "no")
    with server.conn() as conn:
        refusal = ReplyError("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")
        assert conn.try_call("WAITAOF", "1", "0", "0") == refusal
        assert conn.call("WAITAOF", "0", "0", "0") == [0, 0]
        assert conn.call("WAITAOF", "0", "1", "10") == [0, 0]


@pytest.mark.parametrize("words,error", [
    (["2", "0", "0"], None), (["-1", "0", "0"], None), (["x", "0", "0"], None),
    (["1", "-1", "0"], None), (["1", "0", "-1"], "ERR timeout is negative"), (["1", "0", "x"], None)])
def test_what_waitaof_does_not_understand_is_refused(pulse, words, error):
    refusal = pulse.try_call("WAITAOF", *words)
    assert isinstance(refusal, ReplyError) and (error is None or str(refusal) == error)


def test_many_wait_and_each_ends_in_its_time(pulse_server):
    server = pulse_server("--threads", "4")
    conns = [server.conn() for _ in range(200)]
    for i, conn in enumerate(conns):
        send(conn, ("WAIT", "1", str(1 + i * 7 % 100)))
    for conn in conns:
        assert conn.read() == 0
        conn.close()
    with server.conn() as conn:
        assert blocked(conn) == 0
