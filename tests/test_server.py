"""What a client sees of the connection itself: bytes in any pieces, limits, refusals, the end."""
import os
import pathlib
import signal
import socket
import stat
import subprocess
import time

import pytest

from resp import Closed, Conn, ReplyError, encode
from server import is_sanitized
from waiting import eventually


def resident_kib(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def outer_address():
    """An address of this host that is not the loopback's, or None. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            address = s.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith(("127.", "0.")) else address


# Bytes in, replies out

def test_ten_thousand_commands_in_one_pipeline_are_answered_in_order(pulse):
    replies = pulse.pipeline(*[("INCR", "n")] * 10_000)
    assert replies == list(range(1, 10_001))


def test_a_command_may_arrive_byte_by_byte(pulse):
    for byte in encode("SET", "key", "a\r\nb") + b"GET key\r\n":
        pulse.send_raw(bytes([byte]))
    assert pulse.read() == "OK"
    assert pulse.read() == b"a\r\nb"


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_pipeline_may_be_cut_anywhere(pulse, cut):
    data = b"".join(encode("SET", f"key{i}", "v" * i) + encode("GET", f"key{i}") for i in range(50))
    for at in range(0, len(data), cut):
        pulse.send_raw(data[at:at + cut])
    for i in range(50):
        assert pulse.read() == "OK"
        assert pulse.read() == b"v" * i


def test_inline_commands_and_empty_lines_mix_with_arrays(pulse):
    pulse.send_raw(b'\r\nSET k "a b"\r\n*0\r\n' + encode("GET", "k") + b"\r\n\r\nPING\r\n")
    assert [pulse.read() for _ in range(3)] == ["OK", b"a b", "PONG"]
    assert pulse.quiet()


def test_a_value_of_64_megabytes_comes_back_whole(pulse):
    pulse.socket.settimeout(60)
    value = os.urandom(1 << 20) * 64
    assert pulse.call("SET", "big", value) == "OK"
    assert pulse.call("GET", "big") == value
    assert pulse.pipeline(("GET", "big"), ("STRLEN", "big"), ("PING",))[1:] == [64 << 20, "PONG"]


def test_many_connections_with_pipelines_do_not_mix(pulse_port):
    conns = [Conn(pulse_port) for _ in range(60)]
    for i, conn in enumerate(conns):
        conn.send_raw(b"".join(encode("ECHO", f"{i}:{n}") for n in range(400)))
    for i, conn in enumerate(conns):
        assert [conn.read() for _ in range(400)] == [b"%d:%d" % (i, n) for n in range(400)]
        conn.close()


def test_what_came_before_a_malformed_request_is_answered_then_the_connection_ends(pulse_port):
    with Conn(pulse_port) as conn:
        conn.send_raw(encode("PING") + b"*1\r\n!3\r\nabc\r\n" + encode("SET", "after", "1"))
        assert conn.read() == "PONG"
        assert conn.read() == ReplyError("ERR Protocol error: expected '$', got '!'")
        assert conn.closed()
    with Conn(pulse_port) as conn:
        assert conn.call("EXISTS", "after") == 0


def test_a_half_closed_client_still_gets_its_answers(pulse_port):
    with Conn(pulse_port) as conn:
        conn.send_raw(encode("PING") * 1000)
        conn.socket.shutdown(socket.SHUT_WR)
        assert [conn.read() for _ in range(1000)] == ["PONG"] * 1000
        assert conn.closed()


def test_quit_answers_and_closes_and_runs_nothing_after(pulse_port):
    with Conn(pulse_port) as conn:
        conn.send_raw(encode("QUIT") + encode("SET", "after_quit", "1"))
        assert conn.read() == "OK"
        assert conn.closed()
    with Conn(pulse_port) as conn:
        assert conn.call("EXISTS", "after_quit") == 0


@pytest.mark.parametrize("line", [b"POST / HTTP/1.1\r\n", b"post /x\r\n", b"Host: localhost:6380\r\n"])
def test_a_browser_is_cut_off_and_its_commands_are_not_run(pulse_port, line):
    with Conn(pulse_port) as conn:
        conn.send_raw(line + b"Content-Length: 30\r\n\r\nSET stolen 1\r\n")
        with pytest.raises(Closed):
            conn.read()
    with Conn(pulse_port) as conn:
        assert conn.call("EXISTS", "stolen") == 0


# Limits

def test_a_client_that_never_reads_does_not_grow_the_server(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        conn.call("SET", "v", "x" * 10_000)
        before = resident_kib(server)
        request = encode("GET", "v") * 1000
        conn.socket.settimeout(1)
        sent = 0
        with pytest.raises(socket.timeout):
            while sent < 200 << 20:
                sent += conn.socket.send(request)
        assert resident_kib(server) - before < 20 * 1024
        with server.conn() as other:
            assert other.call("PING") == "PONG"
        # and once it reads, it gets everything that it sent whole
        conn.socket.settimeout(30)
        for _ in range(sent // len(encode("GET", "v"))):
            assert len(conn.read()) == 10_000


def test_large_replies_that_wait_are_bounded_too(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        conn.call("SET", "v", "x" * 1_000_000)
        before = resident_kib(server)
        conn.send_raw(encode("GET", "v") * 500)
        time.sleep(0.5)
        assert resident_kib(server) - before < 20 * 1024
        assert sum(len(conn.read()) for _ in range(500)) == 500_000_000


@pytest.mark.skipif(is_sanitized(), reason="AddressSanitizer keeps what is freed")
def test_idle_connections_are_cheap(pulse_server):
    server = pulse_server(env={"MALLOC_CONF": "thp:default"})  # huge pages come two MiB at a time
    with server.conn() as probe:
        probe.call("PING")
        before = resident_kib(server)
        conns = [Conn(server.port) for _ in range(1000)]
        for conn in conns:
            assert conn.call("ECHO", "v" * 5000) == b"v" * 5000
        grown = resident_kib(server) - before
        assert f"connected_clients:{len(conns) + 1}" in probe.call("INFO", "clients").decode()
        assert grown < 2.5 * 1000, f"{grown} KiB for 1000 connections"
        for conn in conns:
            conn.close()
        assert eventually(lambda: "connected_clients:1\r" in probe.call("INFO", "clients").decode())


def test_maxclients_refuses_and_lets_in_again(pulse_server):
    server = pulse_server("--maxclients", "3")
    conns = [server.conn()]
    # The one that asked whether it has started may not have gone yet: its place must not come free further on.
    assert eventually(lambda: "connected_clients:1\r" in conns[0].call("INFO", "clients").decode())

    def fill():
        conns.append(server.conn())
        return conns[-1]

    while len(conns) < 20:
        try:
            fill().call("PING")
        except (ReplyError, OSError):
            break
    last = conns.pop()
    last.close()
    with server.conn() as refused:
        assert refused.read() == ReplyError("ERR max number of clients reached")
        assert refused.closed()
    assert "rejected_connections:0" not in conns[0].call("INFO", "stats").decode()
    conns.pop().close()

    def comes_in():
        with server.conn() as conn:
            return conn.try_call("PING") == "PONG"

    assert eventually(comes_in)


def test_a_query_longer_than_its_limit_closes(pulse_server):
    server = pulse_server("--client-query-buffer-limit", "1mb")
    with server.conn() as conn:
        with pytest.raises(ConnectionError):
            conn.socket.settimeout(60)
            conn.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$50000000\r\n")
            for _ in range(700):  # 46 MB: less than the value, so nothing else can end it
                conn.send_raw(b"x" * 65536)
            conn.read()  # what the system's buffers have taken is no answer
    with server.conn() as conn:
        assert conn.call("PING") == "PONG"


def test_idle_clients_are_closed_after_timeout(pulse_server):
    server = pulse_server("--timeout", "1")
    with server.conn() as conn:
        conn.call("PING")
        assert conn.closed()


# Before AUTH

def test_before_auth_little_is_allowed(pulse_server):
    server = pulse_server("--requirepass", "secret")
    with server.conn() as conn:
        conn.send_raw(b"*11\r\n")
        assert conn.read() == ReplyError("ERR Protocol error: unauthenticated multibulk length")
        assert conn.closed()
    with server.conn() as conn:
        conn.send_raw(b"*2\r\n$3\r\nGET\r\n$20000\r\n")
        assert conn.read() == ReplyError("ERR Protocol error: unauthenticated bulk length")
        assert conn.closed()


def test_auth_and_a_large_command_fit_one_pipeline(pulse_server):
    server = pulse_server("--requirepass", "secret")
    with server.conn() as conn:
        value = "v" * 40_000
        replies = conn.pipeline(("AUTH", "secret"), ("SET", "k", value), ("GET", "k"))
        assert replies == ["OK", "OK", value.encode()]


def test_refusals_that_nobody_reads_close(pulse_server):
    server = pulse_server("--requirepass", "secret")
    with server.conn() as conn:
        conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(OSError):
            for _ in range(10_000):
                conn.send_raw(encode("GET", "k") * 1000)


def test_who_does_not_authenticate_is_closed(pulse_server):
    server = pulse_server("--requirepass", "secret")
    with server.conn() as silent, server.conn() as known:
        known.call("AUTH", "secret")
        assert silent.closed(60)
        assert known.call("PING") == "PONG"


# Other clients

def test_client_kill_closes_another_connection(pulse_port):
    with Conn(pulse_port) as victim, Conn(pulse_port) as killer:
        number = victim.call("CLIENT", "ID")
        assert killer.call("CLIENT", "KILL", "ID", number) == 1
        assert victim.closed()
        assert killer.call("CLIENT", "KILL", "ID", number) == 0


def test_client_kill_of_oneself_answers_first(pulse_port):
    with Conn(pulse_port) as conn:
        assert conn.call("CLIENT", "KILL", "ID", conn.call("CLIENT", "ID"), "SKIPME", "no") == 1
        assert conn.closed()


def test_client_pause_holds_and_lets_go(pulse_port):
    with Conn(pulse_port) as conn, Conn(pulse_port) as other:
        conn.call("SET", "k", "1")
        other.call("CLIENT", "PAUSE", "10000", "WRITE")
        conn.send("INCR", "k")
        assert conn.quiet(0.3)
        assert other.call("GET", "k") == b"1"
        other.call("CLIENT", "UNPAUSE")
        assert conn.read() == 2


def test_client_pause_ends_by_itself(pulse_port):
    with Conn(pulse_port) as conn, Conn(pulse_port) as other:
        start = time.monotonic()
        other.call("CLIENT", "PAUSE", "300")
        assert conn.call("PING") == "PONG"
        assert 0.25 < time.monotonic() - start < 9


def test_connections_are_spread_over_the_loops(pulse_server):
    server = pulse_server("--threads", "4")
    conns = [server.conn() for _ in range(40)]
    assert all(conn.call("PING") == "PONG" for conn in conns)
    for conn in conns:
        conn.close()


# Where it listens

def test_protected_mode_lets_nobody_in_from_outside(pulse_server):
    address = outer_address()
    if not address:
        pytest.skip("this host has no address but the loopback's")
    server = pulse_server("--bind", "0.0.0.0")
    with Conn(server.port, host=address) as conn:
        reply = conn.read()
        assert reply.code == "DENIED" and "protected mode" in str(reply)
        assert conn.closed()
    with server.conn() as conn:
        conn.call("CONFIG", "SET", "requirepass", "secret")
    with Conn(server.port, host=address) as conn:
        assert conn.try_call("PING").code == "NOAUTH"
        assert conn.call("AUTH", "secret") == "OK"


def test_a_unix_socket_is_for_whom_unixsocketperm_says(pulse_server, tmp_path):
    path, shared = tmp_path / "own.sock", tmp_path / "shared.sock"
    first = pulse_server("--unixsocket", path)
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    with Conn(path=str(path)) as conn:
        assert conn.call("PING") == "PONG"
        assert f"addr={str(path)[:61]}:0" in conn.call("CLIENT", "INFO").decode()
    pulse_server("--unixsocket", shared, "--unixsocketperm", "770")
    assert stat.S_IMODE(shared.stat().st_mode) == 0o770
    assert first.stop() == 0
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(pulse_server, tmp_path):
    path = tmp_path / "p.sock"
    server = pulse_server("--unixsocket", path)
    with pytest.raises(RuntimeError, match="another server listens"):
        pulse_server("--unixsocket", path)
    server.kill()
    assert path.exists()
    pulse_server("--unixsocket", path)
    with Conn(path=str(path)) as conn:
        assert conn.call("PING") == "PONG"


def test_port_and_bind_can_change_while_it_runs(pulse_server):
    server = pulse_server()
    with server.conn() as conn, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        reply = conn.try_call("CONFIG", "SET", "port", taken.getsockname()[1])
        assert isinstance(reply, ReplyError)
        with server.conn() as still:
            assert still.call("PING") == "PONG"
        conn.call("CONFIG", "SET", "bind", "*")
        with server.conn() as wide:
            assert wide.call("PING") == "PONG"
        conn.call("CONFIG", "SET", "port", "0")
        with pytest.raises(OSError):
            server.conn()
        conn.call("CONFIG", "SET", "port", server.port, "bind", "127.0.0.1")
        with server.conn() as back:
            assert back.call("PING") == "PONG"


def test_a_taken_port_is_said_plainly(pulse_server, tmp_path):
    server = pulse_server()
    run = subprocess.run([server.binary, "--port", str(server.port), "--dir", str(tmp_path)],
                         capture_output=True, timeout=60)
    assert run.returncode == 1
    assert b"Address already in use" in run.stderr and b"--port" in run.stderr


# The process

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_order_when_told(pulse_server, number):
    server = pulse_server()
    with server.conn() as conn:
        conn.call("SET", "k", "v")
        os.kill(server.process.pid, number)
        assert server.process.wait(60) == 0
        assert conn.closed()


def test_shutdown_stops_it(pulse_server):
    server = pulse_server()
    with server.conn() as conn:
        conn.send("SHUTDOWN", "NOSAVE")
        assert conn.closed()
    assert server.process.wait(60) == 0


def test_it_can_start_no_program(pulse_server):
    server = pulse_server()
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    if fields["Seccomp"] == "0":
        assert b"__asan" in pathlib.Path(server.binary).read_bytes() or \
            b"__tsan" in pathlib.Path(server.binary).read_bytes()
        pytest.skip("a build with sanitizers")
    assert fields["Seccomp"] == "2"
    assert fields["NoNewPrivs"] == "1"
    for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir():
        assert "Seccomp:\t2" in (task / "status").read_text()


def test_an_idle_server_rests(pulse_server):
    server = pulse_server()

    def ticks():
        fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    for _ in range(5):  # what a start leaves to be done may take a while on a busy machine
        before = ticks()
        time.sleep(3)
        used = (ticks() - before) / os.sysconf("SC_CLK_TCK")
        if used / 3 < 0.02:
            break
    assert used / 3 < 0.02, f"{used:.3f} s of processor time in 3 s"


def test_sighup_reopens_the_log(pulse_server, tmp_path):
    log = tmp_path / "pulse.log"
    server = pulse_server("--logfile", log)
    assert eventually(log.exists)
    log.rename(tmp_path / "old.log")
    os.kill(server.process.pid, signal.SIGHUP)
    assert eventually(log.exists)
    with server.conn() as conn:
        assert conn.call("PING") == "PONG"


def test_a_service_manager_hears_of_ready_and_stopping(pulse_server, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(60)
        server = pulse_server(env={"NOTIFY_SOCKET": path})
        assert manager.recv(100) == b"READY=1"
        assert server.stop() == 0
        assert manager.recv(100) == b"STOPPING=1"


def test_the_pidfile_lives_as_long_as_the_server(pulse_server, tmp_path):
    path = tmp_path / "pid"
    server = pulse_server("--pidfile", path)
    assert int(path.read_text()) == server.process.pid
    assert server.stop() == 0
    assert not path.exists()


def test_a_pidfile_that_cannot_be_written_is_only_a_warning(pulse_server):
    server = pulse_server("--pidfile", "/nosuch/pid")
    assert "/nosuch/pid" in server.log.read_text()
    assert server.stop() == 0


def test_help_and_version_need_no_server(pulse_session):
    for flag, word in (("--help", b"Usage"), ("--version", b"PulseDB")):
        run = subprocess.run([pulse_session.binary, flag], capture_output=True, timeout=60)
        assert run.returncode == 0 and word in run.stdout
