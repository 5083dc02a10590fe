"""INFO commandstats, errorstats and latencystats."""
import re

import pytest

from resp import Conn, ReplyError


def stats(conn, section):
    """What a section says: name -> dict of its fields, as text."""
    found = {}
    for line in conn.call("INFO", section).decode().split("\r\n"):
        if ":" in line:
            name, fields = line.split(":", 1)
            found[name] = dict(f.split("=", 1) for f in fields.split(",") if f)
    return found


def counts(conn, name):
    s = stats(conn, "commandstats").get("cmdstat_" + name)
    return s and tuple(int(s[f]) for f in ("calls", "rejected_calls", "failed_calls"))


@pytest.fixture(params=["pulse", "redis_ref"])
def server(request):
    conn = request.getfixturevalue(request.param)
    conn.call("CONFIG", "RESETSTAT")
    return conn


def test_calls_rejections_and_failures_are_told_apart(server):
    server.call("SET", "k", "text")
    server.try_call("SET", "k")
    server.try_call("INCR", "k")
    assert counts(server, "set") == (1, 1, 0)
    assert counts(server, "incr") == (1, 0, 1)
    assert counts(server, "get") is None


def test_a_subcommand_has_a_line_of_its_own(server):
    server.call("CLIENT", "LIST")
    server.try_call("CLIENT")
    server.try_call("CLIENT", "NOSUCH")
    server.try_call("NOSUCH")
    assert counts(server, "client|list") == (1, 0, 0)
    assert counts(server, "client") == (0, 1, 0)
    assert counts(server, "nosuch") is None


def test_commands_inside_multi_count_as_if_sent_alone(server):
    server.call("SET", "k", "text")
    for words in ("MULTI",), ("SET", "a", "1"), ("INCR", "k"), ("GET", "a"):
        server.call(*words)
    server.call("EXEC")
    assert counts(server, "set") == (2, 0, 0)
    assert counts(server, "incr") == (1, 0, 1)
    assert counts(server, "get") == (1, 0, 0)
    assert counts(server, "multi") == (1, 0, 0)
    assert counts(server, "exec") == (1, 0, 0)
    assert stats(server, "errorstats") == {"errorstat_ERR": {"count": "1"}}


def test_what_multi_refuses_is_rejected(server):
    server.call("MULTI")
    server.try_call("SET", "k")
    server.try_call("EXEC")
    assert counts(server, "set") == (0, 1, 0)
    assert counts(server, "exec") == (1, 0, 1)
    assert stats(server, "errorstats") == {"errorstat_ERR": {"count": "1"},
                                           "errorstat_EXECABORT": {"count": "1"}}


def test_errors_are_counted_by_their_first_word(server):
    for _ in range(3):
        server.try_call("NOSUCH")
    server.try_call("HELLO", "9")
    server.try_call("AUTH", "nobody", "nothing")
    assert stats(server, "errorstats") == {"errorstat_ERR": {"count": "3"}, "errorstat_NOPROTO": {"count": "1"},
                                           "errorstat_WRONGPASS": {"count": "1"}}


def test_what_is_not_resp_is_an_error_too(pulse, pulse_port):
    pulse.call("CONFIG", "RESETSTAT")
    with Conn(pulse_port) as bad:
        bad.send_raw(b"*1\r\nx\r\n")
        assert isinstance(bad.read(), ReplyError)
    assert stats(pulse, "errorstats") == {"errorstat_ERR": {"count": "1"}}


def test_lines_look_as_redis_writes_them(server):
    server.call("SET", "k", "v")
    text = server.call("INFO", "commandstats").decode()
    assert re.search(r"^# Commandstats\r\n", text)
    assert re.search(r"\ncmdstat_set:calls=1,usec=\d+,usec_per_call=\d+\.\d\d,rejected_calls=0,failed_calls=0\r\n", text)
    text = server.call("INFO", "latencystats").decode()
    assert re.search(r"\nlatency_percentiles_usec_set:p50=\d+\.\d{3},p99=\d+\.\d{3},p99\.9=\d+\.\d{3}\r\n", text)


def test_resetstat_lets_it_begin_again(server):
    server.call("SET", "k", "v")
    server.try_call("NOSUCH")
    server.call("CONFIG", "RESETSTAT")
    assert counts(server, "set") is None
    assert stats(server, "errorstats") == {}
    server.call("SET", "k", "v")
    assert counts(server, "set") == (1, 0, 0)


def test_the_calls_of_all_clients_are_summed(pulse, pulse_port):
    pulse.call("CONFIG", "RESETSTAT")
    conns = [Conn(pulse_port) for _ in range(16)]  # on every loop
    for conn in conns:
        conn.pipeline(*[("ECHO", "x")] * 50)
    assert counts(pulse, "echo") == (16 * 50, 0, 0)
    for conn in conns:
        conn.close()


def test_a_slow_command_shows_in_its_time(pulse_server):
    with pulse_server("--enable-debug-command", "yes").conn() as conn:
        conn.call("DEBUG", "SLEEP", "0.02")
        line = stats(conn, "commandstats")["cmdstat_debug"]
        assert int(line["usec"]) >= 20_000 and float(line["usec_per_call"]) >= 20_000
        assert float(stats(conn, "latencystats")["latency_percentiles_usec_debug"]["p50"]) >= 18_000


def test_which_percentiles_is_a_setting(server):
    server.call("SET", "k", "v")
    name = "latency-tracking-info-percentiles"
    before = server.call("CONFIG", "GET", name)
    try:
        server.call("CONFIG", "SET", name, "0 99.99 100")
        assert list(stats(server, "latencystats")["latency_percentiles_usec_set"]) == ["p0", "p99.99", "p100"]
        for bad in "a", "101", "-1", "50 x":
            assert isinstance(server.try_call("CONFIG", "SET", name, bad), ReplyError)
        server.call("CONFIG", "SET", name, "")
        assert stats(server, "latencystats")["latency_percentiles_usec_set"] == {}
        server.call("CONFIG", "SET", "latency-tracking", "no")
        assert stats(server, "latencystats") == {}
    finally:
        server.call("CONFIG", "SET", "latency-tracking", "yes")
        server.call("CONFIG", "SET", name, "50 99 99.9")
    assert server.call("CONFIG", "GET", name) == before


def test_percentiles_are_in_order(pulse):
    pulse.pipeline(*[("SET", "k", "v")] * 500)
    p = stats(pulse, "latencystats")["latency_percentiles_usec_set"]
    assert 0 < float(p["p50"]) <= float(p["p99"]) <= float(p["p99.9"])


def test_a_queued_command_is_not_a_call(server):
    server.call("MULTI")
    server.call("SET", "k", "v")
    server.call("DISCARD")
    assert counts(server, "set") is None
    assert counts(server, "discard") == (1, 0, 0)
