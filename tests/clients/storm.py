#!/usr/bin/python3
"""storm.py: many connections that do at random what is hard to get right together, and a look at the server after it.

    storm.py --port P --seconds S --clients N --seed X
    storm.py --server BIN ...        starts the server itself, and reads what it said of itself

They end each other's connections, subscribe, watch, run transactions, track few keys, block, pause, monitor, break off
in the middle of a command and come back. It fails when the server dies, when a reply is not RESP, when a new connection
cannot PING, SET and GET afterwards, or when the server does not go back to few clients."""
import argparse
import collections
import os
import pathlib
import random
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from resp import Conn, ProtocolError, ReplyError, encode  # noqa: E402
from server import die_with_parent, free_port  # noqa: E402
from waiting import eventually  # noqa: E402

KEYS = [f"k{i}" for i in range(6)]
CHANNELS = [f"c{i}" for i in range(4)]
OF_SANITIZERS = ("AddressSanitizer", "ThreadSanitizer", "LeakSanitizer", "runtime error", "Assertion", "ASSERTION", "assertion failed", "BUG REPORT")
FEW_CLIENTS = 3
WAIT_SECONDS = 60


class Client:
    """A connection that never waits: it sends, and takes apart what has come."""

    def __init__(self, storm):
        self.storm, self.port = storm, storm.port
        self.connect()

    def connect(self):
        while True:
            self.conn = Conn(self.port, timeout=WAIT_SECONDS)
            try:
                self.id = self.conn.call("CLIENT", "ID")
                break
            except ConnectionError:  # ended by another client: a server that has died refuses the next one
                self.storm.count["closed by the server"] += 1
        self.conn.socket.setblocking(False)
        self.out = bytearray()
        if self.storm.random.random() < 0.5:
            self.send("HELLO", 3)

    def send(self, *words):
        self.send_raw(encode(*words))

    def send_raw(self, data):
        self.out += data
        self.flush()

    def flush(self):
        try:
            while self.out:
                del self.out[:self.conn.socket.send(self.out)]
        except BlockingIOError:
            pass
        except OSError:
            self.broken("broken by the server")

    def broken(self, how):
        self.storm.count[how] += 1
        self.conn.close()
        self.connect()

    def take(self):
        """Reads what is there. What is not RESP raises ProtocolError."""
        try:
            data = self.conn.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.broken("closed by the server")
            return
        self.conn.buffer += data
        while self.conn.at < len(self.conn.buffer):
            start = self.conn.at
            try:
                reply = self.conn.read()
            except BlockingIOError:  # the rest is still on its way
                self.conn.at = start
                return
            except OSError:
                self.broken("closed by the server")
                return
            self.storm.took(reply)
        del self.conn.buffer[:self.conn.at]
        self.conn.at = 0

    def leave(self, abruptly):
        if abruptly:
            self.conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.conn.close()


class Storm:
    def __init__(self, port, clients, seed):
        self.port, self.random = port, random.Random(seed)
        self.count, self.errors = collections.Counter(), collections.Counter()
        self.replies = 0
        self.operations = self.known_operations()
        self.clients = [Client(self) for _ in range(clients)]

    def took(self, reply):
        self.replies += 1
        if isinstance(reply, ReplyError):
            self.errors[reply.code] += 1

    # What a client may do: a name, how often, and the commands that the server must know for it.
    def known_operations(self):
        wanted = [("strings", 30, []), ("transaction", 12, ["MULTI"]), ("watch", 6, ["WATCH"]), ("discard", 4, ["DISCARD"]), ("half_command", 3, []),
                  ("reconnect", 3, []), ("reset_by_peer", 3, []), ("kill", 4, ["CLIENT KILL"]), ("subscribe", 8, ["SUBSCRIBE"]),
                  ("unsubscribe", 8, ["UNSUBSCRIBE"]), ("publish", 12, ["PUBLISH"]), ("tracking", 8, ["CLIENT TRACKING"]),
                  ("blocking", 6, ["BLPOP"]), ("push", 6, ["LPUSH"]), ("stream", 4, ["XADD"]), ("wait", 2, ["WAIT"]), ("waitaof", 2, ["WAITAOF"]),
                  ("unblock", 5, ["CLIENT UNBLOCK"]), ("pause", 1, ["CLIENT PAUSE"]), ("monitor", 1, ["MONITOR"]), ("id", 6, ["CLIENT ID"]),
                  ("reset", 3, ["RESET"]), ("flush", 1, ["FLUSHALL"]), ("expire", 4, ["PEXPIRE"]), ("pipeline", 6, [])]
        with Conn(self.port) as conn:
            def knows(command):
                reply = conn.try_call("COMMAND", "INFO", command.lower().replace(" ", "|"))
                return not isinstance(reply, ReplyError) and reply[0] is not None
            known = [(name, often) for name, often, needs in wanted if all(map(knows, needs))]
            self.unknown = sorted({name for name, _, _ in wanted} - {name for name, _ in known})
        return known

    def key(self):
        return self.random.choice(KEYS)

    def some_id(self):
        """The id of a connection that lives, or has lived."""
        return max(1, self.random.choice(self.clients).id - (self.random.random() < 0.1))

    def strings(self, client):
        client.send(*self.random.choice([("GET", self.key()), ("SET", self.key(), self.random.randrange(1000)), ("MGET", *KEYS), ("DEL", self.key()),
                                         ("INCR", self.key()), ("SET", self.key(), "x" * self.random.randrange(5000))]))

    def pipeline(self, client):
        client.send_raw(b"".join(encode("SET", self.key(), i) + encode("GET", self.key()) for i in range(self.random.randrange(200))))

    def expire(self, client):
        client.send("PEXPIRE", self.key(), self.random.randrange(20))

    def transaction(self, client):
        client.send("MULTI")
        for _ in range(self.random.randrange(5)):
            self.strings(client)
        if self.random.random() < 0.2:
            client.send("NOSUCH")
        if self.random.random() < 0.8:
            client.send("EXEC")

    def watch(self, client):
        client.send("WATCH", self.key(), self.key())
        if self.random.random() < 0.3:
            client.send("UNWATCH")

    def discard(self, client):
        client.send("DISCARD")

    def subscribe(self, client):
        client.send(*self.random.choice([("SUBSCRIBE", *self.random.sample(CHANNELS, 2)), ("PSUBSCRIBE", self.random.choice(["c*", "c[01]", "__key*"])),
                                         ("SSUBSCRIBE", self.random.choice(CHANNELS))]))

    def unsubscribe(self, client):
        client.send(self.random.choice(["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"]), *self.random.choice([[], [self.random.choice(CHANNELS)]]))

    def publish(self, client):
        client.send(self.random.choice(["PUBLISH", "PUBLISH", "SPUBLISH"]), self.random.choice(CHANNELS), "m" * self.random.randrange(300))

    def tracking(self, client):
        options = self.random.choice([[], ["NOLOOP"], ["BCAST"], ["BCAST", "PREFIX", "k1"], ["OPTIN"], ["OPTOUT"], ["REDIRECT", self.some_id()]])
        client.send("CLIENT", "TRACKING", *self.random.choice([["ON", *options], ["OFF"]]))
        if self.random.random() < 0.3:
            client.send("CLIENT", "CACHING", self.random.choice(["YES", "NO"]))
        client.send("GET", self.key())

    def blocking(self, client):
        client.send(*self.random.choice([("BLPOP", "l1", "l2", 0.05), ("BRPOP", "l2", 0), ("BLMOVE", "l1", "l2", "LEFT", "RIGHT", 0.1)]))

    def push(self, client):
        client.send("LPUSH", self.random.choice(["l1", "l2"]), "x")

    def stream(self, client):
        client.send(*self.random.choice([("XADD", "s", "MAXLEN", 50, "*", "f", "v"), ("XREAD", "BLOCK", 50, "STREAMS", "s", "$"),
                                         ("XREAD", "BLOCK", 0, "STREAMS", "s", "$")]))

    def wait(self, client):
        client.send("WAIT", self.random.randrange(2), 20)

    def waitaof(self, client):
        client.send("WAITAOF", 0, 0, 20)

    def unblock(self, client):
        client.send("CLIENT", "UNBLOCK", self.some_id(), self.random.choice(["TIMEOUT", "ERROR"]))

    def pause(self, client):
        client.send("CLIENT", "PAUSE", 1, self.random.choice(["ALL", "WRITE"]))

    def monitor(self, client):
        client.send("MONITOR")

    def id(self, client):
        client.send("CLIENT", "ID")

    def kill(self, client):
        client.send("CLIENT", "KILL", "ID", self.some_id())

    def reset(self, client):
        client.send("RESET")

    def flush(self, client):
        client.send("FLUSHALL")

    def half_command(self, client):
        """The beginning of one; the next operation goes on in it, or another connection takes its place."""
        whole = encode("SET", self.key(), "y" * 100)
        client.send_raw(whole[:self.random.randrange(1, len(whole))])
        self.reconnect(client)

    def reconnect(self, client):
        client.leave(abruptly=False)
        client.connect()

    def reset_by_peer(self, client):
        client.leave(abruptly=True)
        client.connect()

    def run(self, seconds):
        names, often = zip(*self.operations)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for client in self.random.sample(self.clients, max(1, len(self.clients) // 3)):
                if len(client.out) > 1 << 20:  # blocked for good: somebody else may have better luck
                    self.reset_by_peer(client)
                name = self.random.choices(names, often)[0]
                self.count[name] += 1
                getattr(self, name)(client)
            by_socket = {client.conn.socket: client for client in self.clients}
            waiting_to_send = [client.conn.socket for client in self.clients if client.out]
            readable, writable, _ = select.select(list(by_socket), waiting_to_send, [], 0.001)
            for one in writable:
                by_socket[one].flush()
            for one in readable:
                if by_socket[one].conn.socket is one:
                    by_socket[one].take()
        for client in self.clients:
            client.leave(abruptly=self.random.random() < 0.5)


def connected_clients(port):
    with Conn(port, timeout=WAIT_SECONDS) as conn:
        text = conn.call("INFO", "clients").decode()
    return int(dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)["connected_clients"])


def look_after(port):
    """What is wrong with the server, if anything."""
    with Conn(port, timeout=WAIT_SECONDS) as conn:
        conn.call("FLUSHALL")
        seen = [conn.call("PING"), conn.call("SET", "after", "storm"), conn.call("GET", "after")]
        if seen != ["PONG", "OK", b"storm"]:
            return f"a new connection got {seen}"
    if not eventually(lambda: connected_clients(port) <= FEW_CLIENTS, WAIT_SECONDS):
        return f"{connected_clients(port)} clients are still connected"
    return None


class OwnServer:
    """The server that --server names, on a free port and in a directory of its own."""

    def __init__(self, binary):
        self.folder = tempfile.TemporaryDirectory(prefix="storm-")
        self.log = pathlib.Path(self.folder.name, "server.log")
        self.port = free_port()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([os.path.abspath(binary), "--port", str(self.port), "--dir", self.folder.name, "--save", ""],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        eventually(lambda: self.process.poll() is not None or self.answers(), WAIT_SECONDS)

    def answers(self):
        try:
            with Conn(self.port, timeout=1) as conn:
                return conn.try_call("PING") == "PONG"
        except OSError:
            return False

    def stop(self):
        """What is wrong with how it ended or with what it said, if anything."""
        died = self.process.poll()
        if died is None:
            self.process.terminate()
        try:
            status = self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = f"nothing {WAIT_SECONDS} s after SIGTERM, and was killed ({self.process.wait()})"
        said = self.log.read_text(errors="replace")
        found = [word for word in OF_SANITIZERS if word in said]
        self.folder.cleanup()
        if died is not None or status != 0 or found:
            return f"the server ended with {status}{', by itself' if died is not None else ''}; its log has {found or 'no alarm'}:\n{said[-6000:]}"
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int)
    parser.add_argument("--server", help="a program to start and stop")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    args = parser.parse_args()
    if bool(args.port) == bool(args.server):
        parser.error("either --port or --server")
    print(f"seed {args.seed}", flush=True)
    server = OwnServer(args.server) if args.server else None
    port = server.port if server else args.port
    storm, problems = None, []
    try:
        storm = Storm(port, args.clients, args.seed)
        storm.run(args.seconds)
        problems.append(look_after(port))
    except ProtocolError as error:
        problems.append(f"a reply is malformed: {error}")
    except (OSError, ValueError) as error:
        problems.append(f"the server does not answer: {type(error).__name__}: {error}")
    if server:
        problems.append(server.stop())
    if storm:
        print(f"{storm.replies} replies; not known to the server: {', '.join(storm.unknown) or 'nothing'}")
        print("operations: " + ", ".join(f"{name} {number}" for name, number in sorted(storm.count.items())))
        print("errors: " + ", ".join(f"{code} {number}" for code, number in storm.errors.most_common(12)))
    for problem in filter(None, problems):
        print(f"storm: {problem}")
    return 1 if any(problems) else 0


if __name__ == "__main__":
    sys.exit(main())
