"""A server for a test: started in a directory of its own, on a free port of the loopback.

    with Server("pulsedb", "--shards", "4") as server:
        server.conn().call("PING")

It dies with the process that started it, is stopped by its process id, and its directory goes with
it (keep_dir=True keeps it, for a second server on the same data: Server(..., dir=first.dir)).
"""
import ctypes
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from resp import Conn, ReplyError

ROOT = pathlib.Path(__file__).resolve().parent.parent
REDIS = "/usr/bin/redis-server"
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def pulsedb_binary():
    """PULSEDB_BIN, or build/pulsedb. A relative one counts from the root of the repository."""
    return str(ROOT / os.environ.get("PULSEDB_BIN", "build/pulsedb"))


def is_sanitized():
    """Whether the program is built with AddressSanitizer, whose memory figures say nothing."""
    return b"__asan_init" in pathlib.Path(pulsedb_binary()).read_bytes()


def free_port():
    """A port that was free a moment ago: below those that the system gives to clients, any of which may be in use
    a moment later, and for each of pytest's processes out of a range of its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 20
    while True:
        with socket.socket() as s:
            port = 10_000 + worker * 1000 + random.SystemRandom().randrange(1000)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """kind is "pulsedb" or "redis". `flags` are appended to the command line."""

    def __init__(self, kind="pulsedb", *flags, dir=None, keep_dir=False, env=None, start_timeout=60.0):
        self.binary = pulsedb_binary() if kind == "pulsedb" else REDIS
        self.kind, self.flags, self.keep_dir = kind, [str(f) for f in flags], keep_dir
        self.owns_dir = dir is None
        self.dir = str(dir or tempfile.mkdtemp(prefix=f"{kind}-test-"))
        self.env, self.start_timeout = env, start_timeout
        self.process = self.port = None

    @property
    def log(self):
        return pathlib.Path(self.dir, "server.log")

    def start(self):
        assert self.process is None, "already started"
        why = None
        for _ in range(5):
            self.port = free_port()
            why = self._start_once()
            if why is None:
                return self
            self.stop()
            if "ddress already in use" not in why:
                break
        raise RuntimeError(f"{self.binary} did not start: {why}")

    def _start_once(self):
        args = [self.binary, "--port", str(self.port), "--dir", self.dir, "--save", "", *self.flags]
        start = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.dir, preexec_fn=die_with_parent,
                                            env={**os.environ, **(self.env or {})})
        deadline = time.monotonic() + self.start_timeout
        while time.monotonic() < deadline:
            if self.process.poll() is None and self._answers(start):
                return None
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        return self.log.read_bytes()[start:].decode(errors="replace")[-4000:] or "no answer to PING"

    def _answers(self, log_from):
        try:
            with Conn(self.port, timeout=1.0) as conn:
                reply = conn.try_call("PING")
                if reply == "PONG" and not self._is_ours(conn):
                    return False
        except OSError:
            return False
        if isinstance(reply, ReplyError) and reply.code == "NOAUTH":
            # Whether it still loads is none of a stranger's business: its log says.
            return b"Ready" in self.log.read_bytes()[log_from:] or "redis" in self.binary
        return reply == "PONG"

    def _is_ours(self, conn):
        """Another server may have taken the port: it answers until ours ends because of it."""
        shown = conn.try_call("INFO", "server")
        return not isinstance(shown, bytes) or b"process_id:%d\r\n" % self.process.pid in shown

    def conn(self, **kwargs):
        """A new raw connection; the caller closes it."""
        return Conn(self.port, **kwargs)

    def kill(self):
        """As a crash would: SIGKILL. The directory stays, so that start() can follow."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self, timeout=60.0):
        """SIGTERM, then SIGKILL if that does not help. Returns the exit status. Idempotent."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process = None
        return status

    def __enter__(self):
        return self.start()

    def close(self):
        self.stop()
        if self.owns_dir and not self.keep_dir:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __exit__(self, *exc):
        self.close()
