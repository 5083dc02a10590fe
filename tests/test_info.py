"""INFO, and the commands that look at the server as a whole."""
import time

import pytest

from resp import Verbatim


def parse(text):
    return dict(line.split(":", 1) for line in text.decode().split("\r\n")
                if line and not line.startswith("#"))


def sections(text):
    return [line[2:] for line in text.decode().split("\r\n") if line.startswith("# ")]


USUAL = ["Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules",
         "Errorstats", "Cluster", "Keyspace"]


def test_sections_come_as_redis_has_them(pulse):
    assert sections(pulse.call("INFO")) == USUAL + ["PulseDB"]
    assert sections(pulse.call("INFO", "default")) == USUAL + ["PulseDB"]
    assert {"Commandstats", "Latencystats"} <= set(sections(pulse.call("INFO", "everything")))
    assert sections(pulse.call("INFO", "cpu", "MEMORY")) == ["Memory", "CPU"]
    assert pulse.call("INFO", "nosuch") == b""


def test_every_field_of_redis_is_there(pulse, redis_ref):
    ours, theirs = parse(pulse.call("INFO")), parse(redis_ref.call("INFO"))
    missing = set(theirs) - set(ours)
    assert not {name for name in missing if not name.startswith("errorstat_")}


def test_identity(pulse):
    info = parse(pulse.call("INFO", "server", "replication"))
    assert info["redis_version"] == "7.2.4" and info["redis_mode"] == "standalone"
    assert info["pulsedb_version"] and len(info["run_id"]) == 40
    assert info["role"] == "master" and info["connected_slaves"] == "0"
    text = pulse.call("INFO", "everything").decode()
    for name in ("valkey_version", "dragonfly_version", "server_name"):
        assert name + ":" not in text


def test_own_section_has_the_promised_fields(pulse):
    info = parse(pulse.call("INFO", "pulsedb"))
    assert set("history_versions history_bytes history_horizon_ms last_stamp functions_loaded "
               "functions_calls functions_errors streams_dedup_entries journal_mode "
               "journal_last_seq journal_ack_p99_us".split()) <= set(info)


def test_info_is_verbatim_in_resp3(pulse_session):
    with pulse_session.conn(protocol=3) as conn:
        text = conn.call("INFO", "cluster")
        assert isinstance(text, Verbatim) and text.format == "txt"


def test_the_keyspace_is_counted(pulse):
    pulse.call("SET", "a", 1)
    pulse.call("SET", "b", 1, "EX", 1000)
    pulse.call("SELECT", 2)
    pulse.call("SET", "c", 1)
    info = parse(pulse.call("INFO", "keyspace"))
    pulse.call("SELECT", 0)
    assert info["db0"].startswith("keys=2,expires=1,avg_ttl=")
    assert info["db2"].startswith("keys=1,expires=0,avg_ttl=")
    assert pulse.call("DBSIZE") == 2


def test_counters_count(pulse):
    before = parse(pulse.call("INFO", "stats"))
    pulse.call("SET", "a", 1)
    pulse.call("GET", "a")
    pulse.call("GET", "nosuch")
    pulse.try_call("NOSUCH")
    after = parse(pulse.call("INFO", "stats"))
    grown = {name: int(after[name]) - int(before[name])
             for name in ("keyspace_hits", "keyspace_misses", "total_error_replies")}
    assert grown == {"keyspace_hits": 1, "keyspace_misses": 1, "total_error_replies": 1}
    assert int(after["total_commands_processed"]) >= int(before["total_commands_processed"]) + 4


def test_flushes_empty_one_or_all_databases(pulse):
    pulse.call("SET", "a", 1)
    pulse.call("SELECT", 1)
    pulse.call("SET", "b", 1)
    assert pulse.call("FLUSHDB", "ASYNC") == "OK"
    pulse.call("SELECT", 0)
    assert pulse.call("DBSIZE") == 1
    assert pulse.call("FLUSHALL", "SYNC") == "OK"
    assert pulse.call("DBSIZE") == 0
    assert str(pulse.try_call("FLUSHALL", "foo")) == "ERR syntax error"


def test_databases_change_places(pulse):
    pulse.call("SET", "a", "zero")
    assert pulse.call("SWAPDB", 0, 1) == "OK"
    assert pulse.call("GET", "a") is None
    pulse.call("SELECT", 1)
    assert pulse.call("GET", "a") == b"zero"
    pulse.call("SELECT", 0)
    assert str(pulse.try_call("SWAPDB", "x", 1)) == "ERR invalid first DB index"
    assert str(pulse.try_call("SWAPDB", 1, "x")) == "ERR invalid second DB index"
    assert str(pulse.try_call("SWAPDB", 1, 99)) == "ERR DB index is out of range"


def test_time_is_now(pulse):
    seconds, micros = map(int, pulse.call("TIME"))
    assert abs(seconds + micros / 1e6 - time.time()) < 5


@pytest.mark.parametrize("value, encoding", [
    ("12", b"int"), ("-5", b"int"), ("012", b"embstr"), ("x" * 44, b"embstr"), ("x" * 45, b"raw"),
    ("x" * 100000, b"raw"), ("", b"embstr"),
])
def test_encodings_have_redis_names(pulse, redis_ref, value, encoding):
    for conn in (pulse, redis_ref):
        conn.call("SET", "a", value)
        assert conn.call("OBJECT", "ENCODING", "a") == encoding


def test_objects_that_are_not_there(pulse):
    for sub in ("ENCODING", "REFCOUNT", "IDLETIME", "FREQ"):
        assert pulse.call("OBJECT", sub, "nosuch") is None
    assert pulse.call("MEMORY", "USAGE", "nosuch") is None
    pulse.call("SET", "a", 1)
    assert pulse.try_call("OBJECT", "FREQ", "a").code == "ERR"
    begun = time.monotonic()
    pulse.call("SET", "a", 1)
    idle = pulse.call("OBJECT", "IDLETIME", "a")
    assert 0 <= idle <= time.monotonic() - begun


def test_memory_of_a_key_grows_with_it(pulse):
    pulse.call("SET", "a", "x")
    small = pulse.call("MEMORY", "USAGE", "a")
    pulse.call("SET", "a", "x" * 10000)
    assert pulse.call("MEMORY", "USAGE", "a", "SAMPLES", 0) > small + 9000
    assert str(pulse.try_call("MEMORY", "USAGE", "a", "SAMPLES", -1)) == "ERR syntax error"
    assert dict(zip(*[iter(pulse.call("MEMORY", "STATS"))] * 2))[b"keys.count"] == 1
    assert pulse.call("MEMORY", "PURGE") == "OK"
    assert pulse.call("MEMORY", "DOCTOR")


def test_debug_is_locked_unless_allowed(pulse, pulse_server):
    assert str(pulse.try_call("DEBUG", "SLEEP", 0)).startswith("ERR DEBUG command not allowed.")
    with pulse_server("--enable-debug-command", "local").conn() as conn:
        assert conn.call("DEBUG", "SLEEP", "0.01") == "OK"
        assert str(conn.try_call("DEBUG", "OBJECT", "nosuch")) == "ERR no such key"
        conn.call("SET", "a", 1)
        assert "encoding:int" in conn.call("DEBUG", "OBJECT", "a")
        assert conn.try_call("DEBUG", "NOSUCH").code == "ERR"


def test_there_are_no_replicas_and_no_modules(pulse):
    assert pulse.call("ROLE") == [b"master", 0, []]
    assert pulse.call("MODULE", "LIST") == []
    assert pulse.call("WAIT", 0, 0) == 0
    assert str(pulse.try_call("WAIT", 0, -1)) == "ERR timeout is negative"
    assert str(pulse.try_call("WAIT", "x", "x")) == "ERR value is not an integer or out of range"
    assert abs(pulse.call("LASTSAVE") - time.time()) < 3600


def test_shutdown_ends_the_server(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        assert str(conn.try_call("SHUTDOWN", "ABORT")) == "ERR No shutdown in progress."
        assert str(conn.try_call("SHUTDOWN", "SAVE", "NOSAVE")) == "ERR syntax error"
        conn.send("SHUTDOWN", "NOSAVE")
        assert conn.closed(10)
    assert server.process.wait(10) == 0
