"""Debian's redis-cli (hiredis inside) and redis-benchmark against PulseDB, as people use them: on a terminal
with hints and HELP, and in scripts. What a redis-server shows there is the measure."""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

import pytest

CLI, BENCHMARK = (shutil.which(name, path="/usr/bin") for name in ("redis-cli", "redis-benchmark"))
pytestmark = pytest.mark.skipif(not CLI, reason="redis-cli is not installed (Debian: redis-tools)")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
DRAWN = re.compile(rb"\r\x1b\[\d+C")  # the cursor is put into the line: the end of drawing it


class Terminal:
    """redis-cli on a terminal of 300 columns: what is typed, and what it shows for it."""

    def __init__(self, port, home, *flags):
        self.pid, self.tty = pty.fork()
        if self.pid == 0:
            # Before redis-cli looks: one that finds no size asks the terminal, and waits for an answer.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 300, 0, 0))
            env = {**os.environ, "HOME": str(home), "TERM": "xterm", "REDISCLI_HISTFILE": "/dev/null"}
            os.execve(CLI, [CLI, "-p", str(port), *flags], env)
        self.wait_for(f"127.0.0.1:{port}> ")

    def wait_for(self, text, seconds=60.0):
        """Reads until `text` is shown; all that came since the last call, without colours."""
        deadline, raw = time.monotonic() + seconds, b""
        while True:
            plain = CONTROL.sub("", raw.decode(errors="replace"))
            if text in plain:
                return plain
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come up in {plain!r}"
            if select.select([self.tty], [], [], left)[0]:
                try:
                    raw += os.read(self.tty, 65536)
                except OSError:
                    raise AssertionError(f"redis-cli ended: {plain!r}") from None

    def settle(self, seconds=0.15):
        """What is shown until nothing more comes for a while."""
        raw = b""
        while select.select([self.tty], [], [], seconds)[0]:
            raw += os.read(self.tty, 65536)
        return CONTROL.sub("", raw.decode(errors="replace"))

    def typed(self, keys):
        """Types keys: what is shown until the line has been drawn anew for each of them."""
        os.write(self.tty, keys)
        deadline, raw = time.monotonic() + 60, b""
        while len(DRAWN.findall(raw)) < len(keys):
            assert select.select([self.tty], [], [], max(0, deadline - time.monotonic()))[0], raw
            raw += os.read(self.tty, 65536)
        return CONTROL.sub("", raw.decode(errors="replace"))

    def hint(self, text):
        """What the line shows after `text`; the line is cleared again."""
        shown = self.typed(text.encode())
        self.typed(b"\x15")  # Ctrl-U
        line = [part for part in shown.split("\r") if "> " + text in part][-1]
        return line.split("> " + text, 1)[1].strip()

    def enter(self, line):
        """Types a line: what is shown for it, up to the next prompt."""
        os.write(self.tty, line.encode() + b"\r")
        shown, deadline = "", time.monotonic() + 60
        while not re.search(r"\n.*> \r?$", shown, re.S):
            assert time.monotonic() < deadline, shown
            shown += self.settle(0.02)
        return shown.split("\n", 1)[-1]

    def close(self):
        os.close(self.tty)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def terminal(pulse, pulse_port, tmp_path):
    term = Terminal(pulse_port, tmp_path)
    yield term
    term.close()


@pytest.fixture
def terminal_of_redis(redis_ref, redis_session, tmp_path):
    term = Terminal(redis_session.port, tmp_path)
    yield term
    term.close()


def run_cli(port, *words, stdin=None, flags=()):
    done = subprocess.run([CLI, "-p", str(port), *flags, *map(str, words)], input=stdin, capture_output=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


# On a terminal

@pytest.mark.parametrize("typed", ["SET ", "set ", "SET key ", "SET key value ", "GET ", "EXPIRE ", "MSET ", "GETEX k ",
                                   "SCAN ", "CLIENT LIST ", "OBJECT ENCODING ", "CONFIG SET ", "COPY a ", "HELLO ",
                                   "SET key value EX ", "INCRBYFLOAT ", "GETRANGE k "])
def test_hints_come_up_as_with_redis_server(terminal, terminal_of_redis, typed):
    expected = terminal_of_redis.hint(typed)
    assert expected, "redis-server gives one"
    assert terminal.hint(typed) == expected


def test_commands_of_our_own_have_hints_too(terminal):
    assert terminal.hint("GETAT ") == "key instant"
    assert terminal.hint("HIST k ").startswith("[limit]")
    assert "DRYRUN" in terminal.hint("REVERT ")
    assert "name" in terminal.hint("HISTORY PIN ")


def test_help_shows_a_commands_synopsis_summary_since_and_group(terminal, terminal_of_redis):
    for name in ("SET", "GET", "EXPIRE", "CLIENT LIST"):
        ours, theirs = ([line.strip() for line in term.enter(f"HELP {name}").splitlines() if line.strip()]
                        for term in (terminal, terminal_of_redis))
        assert ours[0] == theirs[0], "the synopsis"
        assert ours[1].startswith("summary: ")
        assert ours[2:4] == theirs[2:4], "since and group"
    shown = terminal.enter("HELP GETAT")
    assert "GETAT key instant" in shown and "Reads a string as it was at an instant." in shown


def test_help_of_a_group_lists_its_commands(terminal):
    shown = terminal.enter("HELP @string")
    for name in ("SET", "GET", "MSET", "APPEND", "GETRANGE"):
        assert f"  {name} " in shown, name


def test_tab_completes_names_of_commands(terminal):
    os.write(terminal.tty, b"GETA\t")
    terminal.wait_for("GETAT")


def test_replies_are_shown_as_with_redis_server(terminal, terminal_of_redis):
    for line in ("SET a 1", "GET a", "GET none", "INCR a", "MGET a none", "NOSUCH", "EXPIRE a 100", "KEYS *", "DEL a b",
                 'SET b "x\\x00y\\n"', "GET b", "SCAN 0", "MULTI", "SET c 1", "GET c", "EXEC", "MULTI", "NOSUCH", "EXEC",
                 "MULTI", "DISCARD", "SELECT 3", "SELECT 99", "SET", "SELECT 0", "PING", "PING hello"):
        ours, theirs = (re.sub(r"127\.0\.0\.1:\d+", "HOST", term.enter(line)) for term in (terminal, terminal_of_redis))
        assert ours == theirs, line


def test_the_prompt_shows_transactions_and_databases(terminal):
    assert "(TX)>" in terminal.enter("MULTI")
    assert "(TX)>" not in terminal.enter("EXEC")
    assert "[5]>" in terminal.enter("SELECT 5")


def test_hist_is_shown_as_in_the_specification(terminal):
    terminal.enter("SET spec:counter 2")
    terminal.enter("INCR spec:counter")
    lines = terminal.enter("HIST spec:counter 5").splitlines()
    assert re.fullmatch(r"1\) \(integer\) \d{13}", lines[0])
    assert lines[1] == '2) "3"'
    assert re.fullmatch(r"3\) \(integer\) \d{13}", lines[2])
    assert lines[3] == '4) "2"'


# In scripts

@pytest.mark.parametrize("flags", [[], ["-3"], ["-n", "2"], ["--no-raw"], ["--csv"], ["--json"], ["-r", "3"]], ids=" ".join)
def test_output_in_scripts_is_that_of_redis_server(pulse, pulse_port, redis_ref, redis_session, flags):
    for words in (["SET", "a", "1"], ["GET", "a"], ["GET", "none"], ["MGET", "a", "none"], ["INCR", "a"], ["NOSUCH"],
                  ["TTL", "a"], ["CONFIG", "GET", "databases"], ["SCAN", "0"], ["ECHO", "\u00fc"]):
        assert run_cli(pulse_port, *words, flags=flags) == run_cli(redis_session.port, *words, flags=flags), words


def test_binary_input_and_output_pass_unchanged(pulse, pulse_port):
    value = bytes(range(256)) * 100
    assert run_cli(pulse_port, "-x", "SET", "bin", stdin=value)[1] == b"OK\n"
    assert run_cli(pulse_port, "GET", "bin")[1] == value + b"\n"


def test_pipe_mode_loads_many_commands(pulse, pulse_port):
    data = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nv\r\n" % (len(k), k) for k in (b"p%d" % i for i in range(20_000)))
    code, out, err = run_cli(pulse_port, stdin=data, flags=["--pipe"])
    assert code == 0 and b"errors: 0, replies: 20000" in out, (out, err)
    assert pulse.call("DBSIZE") == 20_000


def test_scan_mode_lists_all_keys(pulse, pulse_port):
    pulse.call("MSET", *[word for i in range(1000) for word in (f"s{i}", "x")])
    out = run_cli(pulse_port, flags=["--scan"])[1].split()
    assert sorted(out) == sorted(b"s%d" % i for i in range(1000))
    assert sorted(run_cli(pulse_port, flags=["--scan", "--pattern", "s99*"])[1].split()) == \
        sorted([b"s99"] + [b"s99%d" % i for i in range(10)])


@pytest.mark.parametrize("mode", ["--bigkeys", "--memkeys"])
def test_sampling_modes_find_the_biggest_key(pulse, pulse_port, mode):
    pulse.call("MSET", "small", "x", "biggest", "x" * 10_000)
    code, out, err = run_cli(pulse_port, flags=[mode])
    assert code == 0 and b"Biggest string found" in out and b'"biggest"' in out, (out, err)


def test_stat_mode_shows_keys_and_clients(pulse, pulse_port):
    pulse.call("MSET", "a", "1", "b", "2")
    process = subprocess.Popen(["stdbuf", "-oL", CLI, "-p", str(pulse_port), "--stat", "-i", "0.1"], stdout=subprocess.PIPE)
    deadline, out, lines = time.monotonic() + 60, b"", []
    try:
        while len(lines) < 2 and select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            out += chunk
            lines = [line.split() for line in out.splitlines(True) if line[:1].isdigit() and line.endswith(b"\n")]
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert len(lines) >= 2 and lines[0][0] == b"2", out


def test_latency_mode_measures(pulse_port):
    code, out, err = run_cli(pulse_port, flags=["--latency", "--raw", "-i", "1"])
    assert code == 0 and len(out.split()) >= 4, (out, err)


# redis-benchmark

@pytest.mark.parametrize("flags", [[], ["-P", "16"], ["--threads", "2"], ["-d", "2000"]], ids=" ".join)
def test_redis_benchmark_runs_without_an_error(pulse, pulse_port, flags):
    done = subprocess.run([BENCHMARK, "-p", str(pulse_port), "-t", "ping,set,get,incr,mset", "-q", "-n", "20000", *flags],
                          capture_output=True, timeout=120)
    out = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    assert done.returncode == 0 and "rror" not in out and "WARNING" not in out, out
    for name in ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"):
        assert re.search(re.escape(name) + r": [0-9.]+ requests per second", out), name
    assert pulse.call("GET", "counter:__rand_int__") == b"20000"
