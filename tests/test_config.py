"""CONFIG, the configuration file, the environment and flags."""
import os
import pathlib
import shutil
import subprocess

import pytest

from resp import ReplyError
from server import pulsedb_binary

FAILED = "ERR CONFIG SET failed (possibly related to argument '%s') - %s"


def refused(conn, *pairs):
    return str(conn.try_call("CONFIG", "SET", *pairs))


def get(conn, name):
    return conn.call("CONFIG", "GET", name)[1].decode()


def start_and_fail(*args, env=None):
    """Starts the program and returns what it says before it ends with an error."""
    if not os.access(pulsedb_binary(), os.X_OK):
        pytest.skip("not built")
    done = subprocess.run([pulsedb_binary(), *args], stdin=subprocess.DEVNULL, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, **(env or {})})
    assert done.returncode not in (0, -6, -11), done
    return done.stdout.decode(errors="replace")


def test_get_takes_several_patterns_and_names_each_setting_once(pulse):
    reply = pulse.call("CONFIG", "GET", "maxmemory", "MAXMEMORY", "port*", "slave-priority")
    names = reply[::2]
    assert sorted(names) == [b"maxmemory", b"port", b"slave-priority"]
    assert dict(zip(names, reply[1::2]))[b"slave-priority"] == b"100"
    assert pulse.call("CONFIG", "GET", "nosuch") == []


def test_get_is_a_map_in_resp3(pulse_session):
    with pulse_session.conn(protocol=3) as conn:
        assert conn.call("CONFIG", "GET", "databases") == {b"databases": b"16"}


@pytest.mark.parametrize("pairs, text", [
    (("databases", "3"), FAILED % ("databases", "can't set immutable config")),
    (("maxclients", "x"), FAILED % ("maxclients", "argument couldn't be parsed into an integer")),
    (("maxclients", "0"), FAILED % ("maxclients", "argument must be between 1 and 4294967295 inclusive")),
    (("maxmemory", "x"), FAILED % ("maxmemory", "argument must be a memory value")),
    (("appendonly", "foo"), FAILED % ("appendonly", "argument must be 'yes' or 'no'")),
    (("maxmemory", "1mb", "maxmemory", "2mb"), FAILED % ("maxmemory", "duplicate parameter")),
    (("save", "900"), FAILED % ("save", "Invalid save parameters")),
    (("dir", "/nosuch"), FAILED % ("dir", "can't set protected config")),
    (("nosuch", "1"), "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
])
def test_set_says_what_is_wrong_in_redis_words(pulse, pairs, text):
    assert refused(pulse, *pairs) == text


def test_set_is_all_or_nothing(pulse):
    before = get(pulse, "timeout")
    assert "'maxclients'" in refused(pulse, "timeout", "77", "maxclients", "x")
    assert get(pulse, "timeout") == before
    assert pulse.call("CONFIG", "SET", "timeout", "77", "tcp-keepalive", "60") == "OK"
    assert (get(pulse, "timeout"), get(pulse, "tcp-keepalive")) == ("77", "60")
    pulse.call("CONFIG", "SET", "timeout", before, "tcp-keepalive", "300")


def test_sizes_are_shown_in_bytes(pulse):
    pulse.call("CONFIG", "SET", "maxmemory", "100mb")
    assert get(pulse, "maxmemory") == str(100 << 20)
    pulse.call("CONFIG", "SET", "maxmemory", "0")


def test_lists_round_trip(pulse):
    pulse.call("CONFIG", "SET", "save", "900 1 300 10")
    assert get(pulse, "save") == "900 1 300 10"
    pulse.call("CONFIG", "SET", "save", "")
    assert get(pulse, "save") == ""
    pulse.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 9")
    assert get(pulse, "client-output-buffer-limit").endswith("pubsub 1048576 0 9")
    pulse.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")


def test_rewrite_needs_a_file(pulse):
    with pytest.raises(ReplyError, match="ERR The server is running without a config file"):
        pulse.call("CONFIG", "REWRITE")


def test_resetstat_lets_counters_begin_at_zero(pulse):
    pulse.call("SET", "a", 1)
    pulse.call("GET", "a")
    assert pulse.call("CONFIG", "RESETSTAT") == "OK"
    assert b"keyspace_hits:0\r\n" in pulse.call("INFO", "stats")


def server_with_file(pulse_server, tmp_path, text):
    """Started on a file; the harness' own flags still say where it listens."""
    path = tmp_path / "test.conf"
    path.write_text(text)
    # The file must be the first argument, the harness puts its flags first: include does the same.
    return pulse_server("--include", str(path)), path


def test_a_file_that_is_included_by_a_flag_counts(pulse_server, tmp_path):
    if pulsedb_binary().endswith("redis-server"):
        pytest.skip("ours")
    server, _ = server_with_file(pulse_server, tmp_path, "timeout 123\nmaxmemory 1gb\n")
    with server.conn() as conn:
        assert get(conn, "timeout") == "123"
        assert get(conn, "maxmemory") == str(1 << 30)


def test_the_environment_names_settings(pulse_server):
    if pulsedb_binary().endswith("redis-server"):
        pytest.skip("ours")
    server = pulse_server("--tcp-keepalive", "50",
                          env={"PULSEDB_TIMEOUT": "42", "PULSEDB_TCP_KEEPALIVE": "40"})
    with server.conn() as conn:
        assert get(conn, "timeout") == "42"
        assert get(conn, "tcp-keepalive") == "50", "a flag wins"


@pytest.mark.parametrize("line, text", [
    ("port x", "argument couldn't be parsed into an integer"),
    ("nosuchthing 1", "unknown setting 'nosuchthing'"),
    ('save "1', "Unbalanced quotes in configuration line"),
])
def test_a_wrong_line_is_fatal_and_named(tmp_path, line, text):
    if pulsedb_binary().endswith("redis-server"):
        pytest.skip("ours")
    path = tmp_path / "test.conf"
    path.write_text("# fine\ntimeout 1\n" + line + "\n")
    said = start_and_fail(str(path))
    assert f"{path}:3: " in said and text in said


def test_an_unknown_flag_is_fatal():
    if pulsedb_binary().endswith("redis-server"):
        pytest.skip("ours")
    assert "nosuchthing" in start_and_fail("--nosuchthing", "1")


@pytest.mark.skipif(not os.access("/etc/redis/redis.conf", os.R_OK), reason="no Debian redis.conf")
def test_debians_redis_conf_loads(pulse_server, tmp_path):
    if pulsedb_binary().endswith("redis-server"):
        pytest.skip("ours")
    path = tmp_path / "redis.conf"
    shutil.copy("/etc/redis/redis.conf", path)
    text = path.read_text().replace("/var/log/redis/redis-server.log", str(tmp_path / "log"))
    path.write_text("\n".join(l for l in text.split("\n") if not l.startswith("port ")))
    server = pulse_server("--include", str(path), "--logfile", "")
    with server.conn() as conn:
        assert get(conn, "databases") == "16"
        assert get(conn, "hash-max-ziplist-entries") == "512"


def test_rewrite_keeps_comments_and_order(tmp_path):
    """Through a server that was started on the file itself."""
    from server import free_port, die_with_parent
    from resp import Conn
    import time
    if not os.access(pulsedb_binary(), os.X_OK):
        pytest.skip("not built")
    port = free_port()
    path = pathlib.Path(tmp_path, "own.conf")
    path.write_text(f"# mine\nport {port}\n\n# the end\nsave \"\"\nappendonly no\n"
                    f"dir {tmp_path}\ntimeout 5\n")
    process = subprocess.Popen([pulsedb_binary(), str(path)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               preexec_fn=die_with_parent)
    try:
        for _ in range(1200):
            try:
                conn = Conn(port)
                break
            except OSError:
                time.sleep(0.05)
        conn.call("CONFIG", "SET", "timeout", "6", "maxmemory", "5mb")
        assert conn.call("CONFIG", "REWRITE") == "OK"
        lines = path.read_text().split("\n")
        assert lines[:4] == ["# mine", f"port {port}", "", "# the end"]
        assert "timeout 6" in lines and "timeout 5" not in lines
        at = lines.index("# Generated by CONFIG REWRITE")
        assert any(line.startswith("maxmemory 5") for line in lines[at:])
        conn.close()
    finally:
        process.terminate()
        process.wait(60)
