"""maxmemory-clients: one budget for the buffers of all clients, and the limits of one client's."""
import time

import pytest

from resp import Conn, ReplyError
from waiting import eventually

MB = 1024 * 1024


def info(conn, name):
    for line in conn.call("INFO").decode().split("\r\n"):
        if line.startswith(name + ":"):
            return int(line.split(":")[1])
    raise KeyError(name)


def lines(conn):
    return {int(f["id"]): f for f in (dict(p.split("=", 1) for p in line.split(" "))
                                      for line in conn.call("CLIENT", "LIST").decode().splitlines())}


@pytest.fixture
def small(pulse_server):
    return pulse_server("--maxmemory-clients", "8mb", "--threads", "2")


def unfinished(conn, size):
    """Sends so much of a command that has more to come; a buffer may be twice as large as what is in it."""
    try:
        conn.send_raw(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (64 * MB) + b"x" * size)
    except ConnectionError:
        pass


def gone(conn):
    try:
        return conn.closed()
    except ConnectionError:
        return True


def test_the_largest_is_closed_first(small):
    with small.conn() as me, small.conn() as modest, small.conn() as large:
        unfinished(modest, 1 * MB)
        assert eventually(lambda: any(int(c["qbuf"]) >= 1 * MB for c in lines(me).values()))
        unfinished(large, 7 * MB)
        assert eventually(lambda: info(me, "evicted_clients") == 1)
        assert gone(large)
        assert me.call("PING") == "PONG" and len(lines(me)) == 2
        assert "maxmemory-clients" in small.log.read_text()


def test_many_small_ones_add_up(small):
    with small.conn() as me:
        conns = [small.conn() for _ in range(16)]
        for conn in conns:
            unfinished(conn, 1 * MB)
        assert eventually(lambda: info(me, "evicted_clients") >= 6)
        assert eventually(lambda: sum(int(c["qbuf"]) + int(c["qbuf-free"]) for c in lines(me).values()) <= 9 * MB)
        assert me.call("PING") == "PONG" and len(lines(me)) > 1
        for conn in conns:
            conn.close()


def test_answers_that_nobody_reads_count(small):
    with small.conn() as me:
        me.call("SET", "big", "x" * 900_000)
        conns = [small.conn() for _ in range(16)]
        for conn in conns:
            conn.send_raw(b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n" * 8)
        assert eventually(lambda: info(me, "evicted_clients") > 0)
        assert eventually(lambda: sum(int(c["omem"]) for c in lines(me).values()) <= 9 * MB)
        for conn in conns:
            conn.close()


def test_what_multi_has_queued_counts(small):
    with small.conn() as me, small.conn() as queuer:
        queuer.call("MULTI")
        for _ in range(30):
            try:
                queuer.call("SET", "k", "x" * 512 * 1024)
            except ConnectionError:
                break
        assert eventually(lambda: info(me, "evicted_clients") == 1)
        assert gone(queuer)


def test_no_evict_protects(small):
    with small.conn() as me, small.conn() as safe:
        safe.call("CLIENT", "NO-EVICT", "ON")
        unfinished(safe, 12 * MB)
        assert eventually(lambda: any(int(c["qbuf"]) >= 12 * MB for c in lines(me).values()))
        with small.conn() as other:  # what is protected takes no room from others
            unfinished(other, 2 * MB)
            assert eventually(lambda: any(2 * MB <= int(c["qbuf"]) < 12 * MB for c in lines(me).values()))
            assert info(me, "evicted_clients") == 0
            safe_id = next(i for i, c in lines(me).items() if int(c["qbuf"]) >= 12 * MB)
            assert lines(me)[safe_id]["flags"] == "e"


def test_a_lower_budget_counts_at_once(pulse_server):
    server = pulse_server("--threads", "2")
    with server.conn() as me, server.conn() as large:
        unfinished(large, 4 * MB)
        assert eventually(lambda: any(int(c["qbuf"]) >= 4 * MB for c in lines(me).values()))
        assert info(me, "evicted_clients") == 0
        me.call("CONFIG", "SET", "maxmemory-clients", "1mb")
        assert eventually(lambda: info(me, "evicted_clients") == 1)
        assert gone(large)
        me.call("CONFIG", "RESETSTAT")
        assert info(me, "evicted_clients") == 0


def test_a_percentage_is_of_maxmemory(pulse_server):
    server = pulse_server("--maxmemory", "100mb", "--maxmemory-clients", "10%")
    with server.conn() as me, server.conn() as large:
        unfinished(large, 1 * MB)
        assert eventually(lambda: any(int(c["qbuf"]) >= 1 * MB for c in lines(me).values()))
        with server.conn() as larger:
            unfinished(larger, 11 * MB)
            assert eventually(lambda: info(me, "evicted_clients") == 1)
            assert gone(larger)


def test_clients_that_have_gone_are_not_counted(small):
    with small.conn() as me:
        for _ in range(8):
            with small.conn() as conn:
                unfinished(conn, 3 * MB)
                assert eventually(lambda: any(int(c["qbuf"]) >= 3 * MB for c in lines(me).values()))
            assert eventually(lambda: len(lines(me)) == 1)
        assert info(me, "evicted_clients") == 0


@pytest.mark.parametrize("value", ["101%", "-1", "x", "10%%"])
def test_bad_values_are_refused_as_by_redis(pulse, redis_ref, value):
    reply = pulse.try_call("CONFIG", "SET", "maxmemory-clients", value)
    assert isinstance(reply, ReplyError) and reply == redis_ref.try_call("CONFIG", "SET", "maxmemory-clients", value)


@pytest.mark.parametrize("value", ["0", "10%", "100%", "1gb"])
def test_values_are_shown_as_by_redis(pulse_server, redis_ref, value):
    with pulse_server().conn() as conn:
        shown = []
        for server in conn, redis_ref:
            server.call("CONFIG", "SET", "maxmemory-clients", value)
            shown.append(server.call("CONFIG", "GET", "maxmemory-clients"))
            server.call("CONFIG", "SET", "maxmemory-clients", "0")
        assert shown[0] == shown[1]


def test_the_soft_limit_of_output_waits_its_seconds(pulse_server):
    server = pulse_server("--client-output-buffer-limit", "normal 0 512kb 1")
    with server.conn() as me, server.conn() as deaf:
        me.call("SET", "big", "x" * 900_000)
        deaf.send_raw(b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n" * 16)
        assert eventually(lambda: info(me, "client_output_buffer_limit_disconnections") == 1)
        assert len(lines(me)) == 1


def test_the_soft_limit_can_change_while_it_runs(pulse_server):
    server = pulse_server()
    with server.conn() as me, server.conn() as deaf:
        me.call("SET", "big", "x" * 900_000)
        deaf.send_raw(b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n" * 16)
        assert eventually(lambda: any(int(c["omem"]) > 512 * 1024 for c in lines(me).values()))
        time.sleep(1.5)
        assert info(me, "client_output_buffer_limit_disconnections") == 0
        me.call("CONFIG", "SET", "client-output-buffer-limit", "normal 0 512kb 1")
        assert eventually(lambda: info(me, "client_output_buffer_limit_disconnections") == 1)
