"""LATENCY: events, their history, histograms of commands; held against redis-server."""
import time

import pytest

from resp import ReplyError, Verbatim
from server import Server

FLAGS = ("--latency-monitor-threshold", "50", "--enable-debug-command", "yes")


@pytest.fixture(scope="module")
def ours():
    with Server("pulsedb", *FLAGS, "--appendonly", "no") as server:
        yield server


@pytest.fixture(scope="module")
def theirs():
    with Server("redis", *FLAGS) as server:
        yield server


@pytest.fixture(params=[("ours", 2), ("ours", 3), ("theirs", 2), ("theirs", 3)],
                ids=["pulsedb-resp2", "pulsedb-resp3", "redis-resp2", "redis-resp3"])
def server(request):
    name, protocol = request.param
    with request.getfixturevalue(name).conn(protocol=protocol) as conn:
        conn.call("CONFIG", "SET", "latency-monitor-threshold", "50")
        conn.call("LATENCY", "RESET")
        conn.call("CONFIG", "RESETSTAT")
        yield conn


def pairs(reply):
    """A map of either protocol."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))


def latest(conn):
    """LATENCY LATEST; what a busy machine may add to it is left out."""
    return [e for e in conn.call("LATENCY", "LATEST") if e[0] == b"command"]


def test_a_slow_command_is_an_event(server):
    assert latest(server) == []
    before = int(time.time())
    server.call("DEBUG", "SLEEP", "0.07")
    ((name, second, last, longest),) = latest(server)
    assert name == b"command" and before - 1 <= second <= time.time() + 1
    assert 70 <= last == longest
    assert server.call("LATENCY", "HISTORY", "command") == [[second, last]]


def test_only_what_reaches_the_threshold_is_kept(server):
    server.call("PING")
    server.call("CONFIG", "SET", "latency-monitor-threshold", "500")
    server.call("DEBUG", "SLEEP", "0.07")
    assert latest(server) == []
    server.call("CONFIG", "SET", "latency-monitor-threshold", "0")
    server.call("DEBUG", "SLEEP", "0.07")
    assert latest(server) == []


def test_reset_forgets_and_says_how_many(server):
    server.call("DEBUG", "SLEEP", "0.07")
    assert server.call("LATENCY", "RESET", "nosuch") == 0
    assert server.call("LATENCY", "RESET", "fast-command", "command") == 1
    assert server.call("LATENCY", "HISTORY", "command") == []
    server.call("DEBUG", "SLEEP", "0.07")
    assert server.call("LATENCY", "RESET") == 1
    assert latest(server) == []


def test_history_of_what_there_is_not_is_empty(server):
    assert server.call("LATENCY", "HISTORY", "nosuch") == []
    assert server.call("LATENCY", "HISTORY", "expire-cycle") == []


def test_graph_draws_the_samples(server):
    server.call("DEBUG", "SLEEP", "0.07")
    ms = latest(server)[0][2]
    lines = server.call("LATENCY", "GRAPH", "command").decode().split("\n")
    assert lines[0] == f"command - high {ms} ms, low {ms} ms (all time high {ms} ms)"
    assert lines[1] == "-" * 80
    assert [line.strip() for line in lines[2:6]] == ["", "", "", "_"]
    age = "".join(line.strip() for line in lines[6:])
    assert age[-1] == "s" and age[:-1].isdigit()
    assert server.try_call("LATENCY", "GRAPH", "nosuch") == \
        ReplyError("ERR No samples available for event 'nosuch'")


def test_histogram_counts_calls_cumulatively(server):
    for _ in range(5):
        server.call("SET", "k", "v")
    server.call("DEBUG", "SLEEP", "0.07")
    histogram = pairs(server.call("LATENCY", "HISTOGRAM", "set", "nosuch", "debug", "get"))
    assert list(histogram) == [b"set", b"debug"]
    of_set = pairs(histogram[b"set"])
    assert of_set[b"calls"] == 5
    buckets = pairs(of_set[b"histogram_usec"])
    assert list(buckets) == sorted(buckets) and list(buckets.values()) == sorted(buckets.values())
    assert list(buckets.values())[-1] == 5
    of_sleep = pairs(pairs(histogram[b"debug"])[b"histogram_usec"])
    assert set(of_sleep.values()) == {1} and min(of_sleep) in (135266, 270532, 541065)
    assert b"config|resetstat" in pairs(server.call("LATENCY", "HISTOGRAM"))


def test_histogram_of_a_container_is_that_of_its_subcommands(server):
    server.call("CLIENT", "ID")
    server.call("CLIENT", "LIST")
    assert set(pairs(server.call("LATENCY", "HISTOGRAM", "client"))) == {b"client|id", b"client|list"}


def test_histogram_bounds_are_those_of_redis(ours, theirs):
    def bounds(server):
        with server.conn(protocol=3) as conn:
            conn.call("CONFIG", "RESETSTAT")
            for _ in range(300):
                conn.call("PING")
            for seconds in ("0.0001", "0.001", "0.01", "0.03"):
                conn.call("DEBUG", "SLEEP", seconds)
            return {b for h in conn.call("LATENCY", "HISTOGRAM").values() for b in h[b"histogram_usec"]}

    known = [((1024 << i) + (8 << i) - 1) // 1000 for i in range(36)]
    assert bounds(theirs) <= set(known)  # else the formula is wrong
    assert bounds(ours) <= set(known)


def test_doctor_answers_in_words(server):
    server.call("DEBUG", "SLEEP", "0.07")
    text = server.call("LATENCY", "DOCTOR")
    assert b"command" in text and len(text.split()) > 10
    assert isinstance(text, Verbatim) or server.call("PING") == "PONG"


def test_doctor_says_when_nothing_is_watched(ours):
    with ours.conn() as conn:
        conn.call("LATENCY", "RESET")
        conn.call("CONFIG", "SET", "latency-monitor-threshold", "0")
        assert b"latency-monitor-threshold" in conn.call("LATENCY", "DOCTOR")


@pytest.mark.parametrize("call", [("NOSUCH",), (), ("HISTORY",), ("LATEST", "x"), ("GRAPH",)])
def test_errors_are_those_of_redis(ours, theirs, call):
    with ours.conn() as a, theirs.conn() as b:
        assert a.try_call("LATENCY", *call) == b.try_call("LATENCY", *call)


def test_a_slow_command_inside_multi_is_an_event(server):
    server.call("MULTI")
    server.call("PING")
    assert server.call("DEBUG", "SLEEP", "0.07") == "QUEUED"
    server.call("EXEC")
    assert [e[0] for e in latest(server)] == [b"command"]


def test_help_names_the_subcommands(server):
    text = "\n".join(server.call("LATENCY", "HELP"))
    for word in "DOCTOR", "GRAPH", "HISTORY", "LATEST", "RESET", "HISTOGRAM", "HELP":
        assert word in text
